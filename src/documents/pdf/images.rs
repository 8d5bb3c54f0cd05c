//! Reads a logo into the form that a PDF stores.

use std::io::Cursor;
use std::path::Path;

use anyhow::Context as _;

use crate::failure::Failure;
use crate::files::read_regular;

/// The largest picture, in bytes of its file.
const MAX_FILE: u64 = 8_000_000;
/// The largest picture, in bytes of its pixels.
const MAX_PIXELS: usize = 64_000_000;

/// A picture.
pub(super) struct Logo {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Eight bits each of red, green and blue, or of grey; for a JPEG, the file itself.
    pub(super) pixels: Vec<u8>,
    /// The opacity of each pixel; none if all are opaque.
    pub(super) opacity: Option<Vec<u8>>,
    pub(super) is_grey: bool,
    pub(super) is_jpeg: bool,
}

/// Reads a PNG or JPEG file.
pub(super) fn read_logo(path: &Path) -> anyhow::Result<Logo> {
    let read = || {
        let bytes = read_regular(path, MAX_FILE)?;
        if bytes.starts_with(b"\x89PNG") {
            png(&bytes)
        } else if bytes.starts_with(b"\xff\xd8") {
            jpeg(bytes)
        } else {
            anyhow::bail!("it is neither PNG nor JPEG")
        }
    };
    read().map_err(|error| {
        Failure::bad_input(format!("failed to read the logo `{}`: {error:#}", path.display()))
            .hint("correct logo.file in style.toml")
            .into()
    })
}

fn png(bytes: &[u8]) -> anyhow::Result<Logo> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_limits(png::Limits { bytes: MAX_PIXELS });
    let mut reader = decoder.read_info().context("not a PNG")?;
    let size = reader.output_buffer_size().filter(|size| *size <= MAX_PIXELS);
    let mut buffer = vec![0; size.context("it is too large")?];
    let info = reader.next_frame(&mut buffer).context("a damaged PNG")?;
    buffer.truncate(info.buffer_size());
    let samples = info.color_type.samples();
    let has_opacity = samples.is_multiple_of(2);
    let (mut pixels, mut opacity) = (Vec::new(), Vec::new());
    for pixel in buffer.chunks_exact(samples) {
        let (colour, alpha) = if has_opacity { pixel.split_at(samples - 1) } else { (pixel, &[][..]) };
        pixels.extend(colour);
        opacity.extend(alpha);
    }
    Ok(Logo {
        width: info.width,
        height: info.height,
        pixels,
        opacity: has_opacity.then_some(opacity),
        is_grey: samples < 3,
        is_jpeg: false,
    })
}

/// Finds the size and the number of components of a JPEG (ITU T.81, B.2.2). A PDF holds the file unchanged.
fn jpeg(bytes: Vec<u8>) -> anyhow::Result<Logo> {
    let mut at = 2;
    loop {
        let segment = bytes.get(at..).filter(|rest| rest.len() >= 10).context("a damaged JPEG")?;
        anyhow::ensure!(segment[0] == 0xff, "a damaged JPEG");
        let length = |from: usize| u16::from_be_bytes([segment[from], segment[from + 1]]);
        match segment[1] {
            // A frame header, except for the coding methods that PDF readers need not support.
            0xc0..=0xc2 => {
                let components = segment[9];
                anyhow::ensure!(matches!(components, 1 | 3), "a JPEG in CMYK: convert it to RGB");
                let (width, height) = (u32::from(length(7)), u32::from(length(5)));
                anyhow::ensure!(width > 0 && height > 0, "a damaged JPEG");
                return Ok(Logo {
                    width,
                    height,
                    pixels: bytes,
                    opacity: None,
                    is_grey: components == 1,
                    is_jpeg: true,
                });
            }
            0xff => at += 1,
            _ => at += 2 + usize::from(length(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_is_split_into_colours_and_opacity() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(png::ColorType::Rgba);
        encoder.write_header().unwrap().write_image_data(&[1, 2, 3, 255, 4, 5, 6, 0]).unwrap();
        let logo = png(&bytes).unwrap();
        assert_eq!((logo.width, logo.height, logo.is_grey), (2, 1, false));
        assert_eq!((logo.pixels, logo.opacity), (vec![1, 2, 3, 4, 5, 6], Some(vec![255, 0])));
    }

    #[test]
    fn a_jpeg_tells_its_size() {
        let header = |components: u8| {
            let mut bytes = b"\xff\xd8\xff\xe0\x00\x04JF\xff\xc0\x00\x11\x08\x00\x20\x00\x40".to_vec();
            bytes.extend([components, 0, 0, 0]);
            bytes
        };
        let logo = jpeg(header(3)).unwrap();
        assert_eq!((logo.width, logo.height, logo.is_grey), (64, 32, false));
        assert_eq!(jpeg(header(4)).err().unwrap().to_string(), "a JPEG in CMYK: convert it to RGB");
        assert_eq!(jpeg(b"\xff\xd8\xff\xc0".to_vec()).err().unwrap().to_string(), "a damaged JPEG");
    }

    #[test]
    fn another_kind_of_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logo.svg");
        std::fs::write(&path, "<svg/>").unwrap();
        let error = read_logo(&path).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("failed to read the logo `{}`: it is neither PNG nor JPEG", path.display())
        );
    }
}
