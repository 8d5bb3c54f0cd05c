//! Looks at a file without reading all of it: its beginning, and some places further on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};

use crate::failure::Failure;
use crate::text_encoding::{TextEncoding, encodings_of};

use super::super::container::{Content, Opened};
use super::super::foreign::refuse_foreign;
use super::super::reader::{Record, Source, unreadable};

/// How much is read of the beginning, and of each place further on.
const BEGINNING_BYTES: u64 = 4 * 1024 * 1024;
const PLACE_BYTES: u64 = 256 * 1024;
/// How many places further on are looked at, evenly spaced.
const PLACES: u64 = 8;
/// How many lines of the beginning are tried.
pub(super) const LINES: usize = 10_000;
/// The delimiters that are tried.
const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// What is known of a file from some of its bytes.
pub(super) struct Sample {
    /// The sampled lines with the header, as a file of its own.
    file: Content,
    /// The places further on, each with the header.
    places: Vec<Content>,
    /// The encodings in which all that was read is text.
    pub(super) encodings: Vec<TextEncoding>,
    /// Whether all of the file was read.
    pub(super) is_whole: bool,
    /// How many lines are UTF-8 and hardly anything else, although they may have been read in another encoding.
    pub(super) utf8_lines: usize,
}

/// A line that ends with the sample is left out: it may be cut.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[], |end| &bytes[..=end])
}

/// Whether a line has letters of East Asia in UTF-8. In an older encoding hardly any text has such bytes by accident.
fn is_utf8(line: &[u8]) -> bool {
    const FIRST_OF_THREE_BYTES: char = '\u{800}';
    std::str::from_utf8(line)
        .is_ok_and(|line| line.chars().any(|character| character >= FIRST_OF_THREE_BYTES))
}

fn temporary(parts: &[&[u8]]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    for part in parts {
        file.write_all(part)?;
    }
    file.flush()?;
    Ok(file)
}

impl Sample {
    /// Reads some of a file.
    pub(super) fn of(content: &Content) -> Result<Self, Failure> {
        let mut file = content.open()?;
        refuse_foreign(content.shown(), &mut file)?;
        Self::read(content, file).map_err(|error| unreadable(content.shown(), &error))
    }

    fn read(content: &Content, mut file: Opened) -> io::Result<Self> {
        let length = file.length()?;
        let mut beginning = Vec::new();
        Read::by_ref(&mut file).take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
        let is_whole = beginning.len() as u64 >= length;
        let beginning = match whole_lines(&beginning) {
            // A line that goes on behind it is kept: reading it says that it is too long.
            [] => &beginning[..],
            lines if !is_whole => lines,
            _ => &beginning[..],
        };
        let is_cut = !is_whole && !beginning.ends_with(b"\n");
        let header_end =
            beginning.iter().position(|byte| *byte == b'\n').map_or(beginning.len(), |end| end + 1);
        let header = &beginning[..header_end];
        let mut all = beginning.to_vec();
        let mut places = Vec::new();
        for place in 1..=PLACES {
            let start = length / (PLACES + 1) * place;
            if is_whole || start < BEGINNING_BYTES {
                continue;
            }
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            Read::by_ref(&mut file).take(PLACE_BYTES).read_to_end(&mut bytes)?;
            let begin = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            let lines = whole_lines(&bytes[begin..]);
            all.extend_from_slice(lines);
            places.push(content.part(temporary(&[header, lines])?));
        }
        Ok(Self {
            encodings: encodings_of(&all[..], !is_cut)?,
            utf8_lines: all.split(|byte| *byte == b'\n').filter(|line| is_utf8(line)).count(),
            file: content.part(temporary(&[beginning])?),
            places,
            is_whole,
        })
    }

    /// Whether each line of the beginning has as many fields as the header.
    pub(super) fn can_be_read(&self, encoding: TextEncoding, delimiter: char, quotes: bool) -> bool {
        let source = self.source(encoding, u8::try_from(delimiter).unwrap_or(b','), quotes);
        let Ok((mut reader, header)) = source.open() else { return false };
        let mut record = Record::default();
        for _ in 0..LINES {
            match reader.next_record(&mut record) {
                Ok(true) if record.len() <= header.len() => {}
                Ok(false) => return true,
                Ok(true) | Err(_) => return false,
            }
        }
        true
    }

    /// The lines of the beginning, as a file.
    pub(super) fn source(&self, encoding: TextEncoding, delimiter: u8, quotes: bool) -> Source {
        Source { content: self.file.clone(), encoding, delimiter, quotes: quotes.into() }
    }

    /// The delimiter that makes the most of the header, if any is there.
    pub(super) fn delimiter(&self, encoding: TextEncoding) -> Option<char> {
        let width = |delimiter: char| {
            let source = self.source(encoding, u8::try_from(delimiter).unwrap_or(b','), true);
            source.open().map_or(0, |(_, header)| header.len())
        };
        DELIMITERS
            .into_iter()
            .map(|delimiter| (width(delimiter), delimiter))
            .max_by_key(|(width, delimiter)| {
                // The first of those that make as many.
                (*width, DELIMITERS.iter().rev().position(|one| one == delimiter))
            })
            .filter(|(width, _)| *width > 1)
            .map(|(_, delimiter)| delimiter)
    }

    /// Calls `see` with each line of the sample; from its places further on those that can be read.
    pub(super) fn lines(&self, source: &Source, mut see: impl FnMut(&mut Record)) -> Result<(), Failure> {
        let mut record = Record::default();
        let (mut reader, _) = source.open()?;
        for _ in 0..LINES {
            if !reader.next_record(&mut record)? {
                break;
            }
            see(&mut record);
        }
        for place in &self.places {
            let source = Source { content: place.clone(), ..source.clone() };
            let Ok((mut reader, _)) = source.open() else { continue };
            // It may begin inside a quoted field, and is of no use then.
            while let Ok(true) = reader.next_record(&mut record) {
                see(&mut record);
            }
        }
        Ok(())
    }
}
