//! The charts of a mail as one picture. A point is a pixel of the mail.

use super::FontFolders;
use super::chart::ChartLook;
use super::fonts::Fonts;
use super::raster::Pixels;
use super::scene::Colour;
use super::sheet::{Sheet, Type};
use crate::documents::Chart;
use crate::documents::picture::Picture;
use crate::locale::Locale;

/// Pixels of the picture for one of a mail.
const SCALE: u16 = 2;
const WIDTH: u16 = 534;
const SIDES: f32 = 8.0;
const TOP: f32 = 16.0;
const BOTTOM: f32 = 14.0;
const BETWEEN_CHARTS: f32 = 28.0;
const INK: Colour = Colour { red: 0x1f, green: 0x29, blue: 0x33 };
const MUTED: Colour = Colour { red: 0x61, green: 0x6e, blue: 0x7c };
const HAIRLINE: Colour = Colour { red: 0xe4, green: 0xe7, blue: 0xeb };
const OTHER_DAYS: Colour = Colour { red: 0x9f, green: 0xb3, blue: 0xc8 };
const THE_DAY: Colour = Colour { red: 0x1f, green: 0x5f, blue: 0x99 };
const LOSS: Colour = Colour { red: 0xc2, green: 0x70, blue: 0x3d };

/// Draws the charts, one below the other.
pub(in crate::documents) fn draw(
    charts: &[Chart],
    locale: Locale,
    folders: FontFolders,
) -> anyhow::Result<Picture> {
    let label = Type::regular(11.0, MUTED);
    let look = ChartLook {
        height: 130.0,
        title: Type::bold(13.0, INK),
        unit: label,
        title_gap: 18.0,
        label,
        last_label: Type::bold(11.0, INK),
        axis_gap: 8.0,
        label_gaps: (7.0, 4.0),
        line: (1.0, HAIRLINE),
        zero_line: (1.0, MUTED),
        series: &[OTHER_DAYS],
        loss: LOSS,
        last_bar: THE_DAY,
    };
    let mut fonts = Fonts::new(locale, &[], folders)?;
    let mut sheet = Sheet { fonts: &mut fonts, marks: Vec::new() };
    let mut y = TOP;
    for (index, chart) in charts.iter().enumerate() {
        if index > 0 {
            y += BETWEEN_CHARTS;
        }
        look.draw(&mut sheet, chart, locale, y, (SIDES, f32::from(WIDTH) - SIDES))?;
        y += look.height_of(chart);
    }
    let marks = sheet.marks;
    let height = whole(y + BOTTOM);
    let scale = usize::from(SCALE);
    let mut pixels = Pixels::new(usize::from(WIDTH) * scale, usize::from(height) * scale, f32::from(SCALE));
    pixels.draw(&marks, &fonts)?;
    Ok(Picture {
        width: WIDTH.into(),
        height: height.into(),
        bytes: pixels.into_png()?,
        missing: fonts.missing(),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates; nobody has a hundred malls"
)]
fn whole(height: f32) -> u16 {
    height.round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::sample;

    /// The size of a PNG, and its pixels as red, green and blue.
    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    fn count(pixels: &[u8], colour: Colour) -> usize {
        let wanted = [colour.red, colour.green, colour.blue];
        pixels.chunks_exact(3).filter(|pixel| *pixel == wanted).count()
    }

    #[test]
    fn the_last_day_stands_out_and_the_same_figures_make_the_same_picture() {
        let mut charts = sample::sales(Locale::Ja, 0).charts;
        charts.retain(|chart| chart.series.len() == 1);
        let picture = draw(&charts, Locale::Ja, FontFolders::default()).unwrap();
        assert_eq!(picture.missing, [] as [char; 0]);
        let (width, height, pixels) = decoded(&picture.bytes);
        assert_eq!((width, height), (2 * picture.width, 2 * picture.height));
        // Two charts of 27 bars of equal width: the last day has fewer pixels than the others, and none has zero.
        let [last, others, losses] = [THE_DAY, OTHER_DAYS, LOSS].map(|colour| count(&pixels, colour));
        assert!(last > 1_000 && others > 10 * last && losses > 100, "{last} {others} {losses}");
        // There is text: pixels in its colour.
        assert!(count(&pixels, INK) > 100, "{}", count(&pixels, INK));
        assert_eq!(draw(&charts, Locale::Ja, FontFolders::default()).unwrap(), picture);
    }
}
