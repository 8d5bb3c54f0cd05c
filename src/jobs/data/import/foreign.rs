//! Recognises files that are something else than text: a workbook, a packed file, the page of a shop that wants a log-in.
//!
//! Their first bytes say so. Read as CSV, they would be called a wrong encoding or a header without our columns, and
//! whoever follows that advice gets nowhere.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::failure::Failure;

/// How much of the file's beginning and end is looked at. The names of what a ZIP archive contains are at its end; those of
/// a workbook of a thousand sheets fit in there.
const LOOKED_AT_BYTES: u64 = 64 * 1024;

/// What a file is instead of CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Foreign {
    Workbook,
    OldWorkbook,
    OpenDocument,
    Zip,
    Gzip,
    Pdf,
    WebPage,
}

impl Foreign {
    /// What it is, and what to do about it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Workbook => ("an Excel workbook", "save it as CSV (UTF-8) in Excel, and import that file"),
            Self::OldWorkbook => (
                "an Excel workbook (.xls, or one with a password)",
                "save it as CSV (UTF-8) in Excel, and import that file",
            ),
            Self::OpenDocument => {
                ("an OpenDocument spreadsheet", "save it as CSV (UTF-8) in LibreOffice, and import that file")
            }
            // Only what is packed twice gets here.
            Self::Zip => (
                "a ZIP archive within another packed file",
                "unpack it, and import the CSV file that it contains",
            ),
            Self::Gzip => (
                "packed with gzip within another packed file",
                "unpack it with gunzip, and import the CSV file",
            ),
            Self::Pdf => ("a PDF document", "export the data as CSV"),
            Self::WebPage => (
                "a web page (HTML)",
                "the download has most likely failed or needs a log-in: download the file again",
            ),
        }
    }
}

/// How a file that may hold a CSV file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    /// As a stream.
    Gzip,
    /// As the members of an archive.
    Zip,
}

/// How a file is packed, if it is; it is left at its beginning.
pub(super) fn packed(file: &mut (impl Read + Seek)) -> io::Result<Option<Packed>> {
    Ok(match recognise(file)? {
        Some(Foreign::Gzip) => Some(Packed::Gzip),
        Some(Foreign::Zip) => Some(Packed::Zip),
        _ => None,
    })
}

/// Refuses a file that is not text, and leaves it at its beginning otherwise.
pub(super) fn refuse_foreign(path: &Path, file: &mut (impl Read + Seek)) -> Result<(), Failure> {
    let found = recognise(file).map_err(|error| super::reader::unreadable(path, &error))?;
    let Some(foreign) = found else { return Ok(()) };
    let (what, advice) = foreign.words();
    Err(Failure::bad_input(format!("`{}` is {what}, not a CSV file", path.display())).hint(advice))
}

fn recognise(file: &mut (impl Read + Seek)) -> io::Result<Option<Foreign>> {
    let start = part_from(file, SeekFrom::Start(0))?;
    let found = match start.as_slice() {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(kind_of_zip(file, &start)?),
        [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, ..] => Some(Foreign::OldWorkbook),
        [0x1F, 0x8B, ..] => Some(Foreign::Gzip),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(Foreign::Pdf),
        _ => is_web_page(&start).then_some(Foreign::WebPage),
    };
    file.rewind()?;
    Ok(found)
}

/// The bytes from there on, as many as are looked at.
fn part_from(file: &mut (impl Read + Seek), from: SeekFrom) -> io::Result<Vec<u8>> {
    file.seek(from)?;
    let mut part = Vec::new();
    file.take(LOOKED_AT_BYTES).read_to_end(&mut part)?;
    Ok(part)
}

/// Workbooks are ZIP archives too: their files' names, which are not packed, tell them apart.
fn kind_of_zip(file: &mut (impl Read + Seek), start: &[u8]) -> io::Result<Foreign> {
    let length = file.seek(SeekFrom::End(0))?;
    let end = part_from(file, SeekFrom::Start(length.saturating_sub(LOOKED_AT_BYTES)))?;
    let names = |name: &[u8]| [start, &end].iter().any(|part| part.windows(name.len()).any(|at| at == name));
    Ok(if names(b"xl/workbook") {
        Foreign::Workbook
    } else if names(b"application/vnd.oasis.opendocument.spreadsheet") {
        Foreign::OpenDocument
    } else {
        Foreign::Zip
    })
}

/// What a shop answers to whoever has to log in first, or a report that it calls `.xls` or `.csv`.
fn is_web_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    [b"<!doctype html".as_slice(), b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn recognised(content: &[u8]) -> Option<Foreign> {
        let mut file = Cursor::new(content);
        let found = recognise(&mut file).unwrap();
        assert_eq!(file.position(), 0, "the file is read from its beginning");
        found
    }

    /// A ZIP archive with a file of this name, whose packed content is longer than what is looked at.
    fn zip(name: &str) -> Vec<u8> {
        [b"PK\x03\x04".as_slice(), &vec![7; 200_000], b"PK\x01\x02", name.as_bytes(), b"PK\x05\x06"].concat()
    }

    #[test]
    fn what_is_not_text_is_recognised_by_its_bytes() {
        let cases = [
            (zip("xl/workbook.xml"), Foreign::Workbook),
            (zip("orders.csv"), Foreign::Zip),
            (b"PK\x05\x06\0\0".to_vec(), Foreign::Zip),
            (
                b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet".to_vec(),
                Foreign::OpenDocument,
            ),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0".to_vec(), Foreign::OldWorkbook),
            (b"\x1F\x8B\x08\0".to_vec(), Foreign::Gzip),
            (b"%PDF-1.7\n".to_vec(), Foreign::Pdf),
            (b"<!DOCTYPE html>\n<html>".to_vec(), Foreign::WebPage),
            (b"\xEF\xBB\xBF\r\n\t <HTML lang=\"ja\">".to_vec(), Foreign::WebPage),
        ];
        for (content, foreign) in cases {
            assert_eq!(recognised(&content), Some(foreign));
        }
    }

    #[test]
    fn text_is_text_whatever_its_columns_are_called() {
        for text in ["", "\n", "PK,name\n1,a\n", "html,<html>\n", "%PDF,a\n", "<p>,a\n", "\u{feff}注文番号\n"]
        {
            assert_eq!(recognised(text.as_bytes()), None, "{text:?}");
        }
    }
}
