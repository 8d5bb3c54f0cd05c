//! Reads a file's records: decoding, quotes, line numbers, and faults of the file itself.
//!
//! A fault of the file (a wrong encoding, a quote out of place, a line with too many fields) ends the import whatever the
//! skip limit, because nobody knows what the rest of such a file means.

use std::io::{self, Read};
use std::path::Path;

use csv_core::ReadRecordResult;
use sha2::{Digest, Sha256};

use crate::config::Quotes;
use crate::failure::Failure;
use crate::text_encoding::{DecodingReader, MalformedText, TextEncoding, encodings_of, first_fitting};

use super::container::{Content, Opened, Wanted};
use super::foreign::refuse_foreign;

/// No shop's export has more columns; a file that does is something else.
const MAX_COLUMNS: usize = 2_000;
/// Bytes of decoded text that are split at a time: they stay in the processor's cache.
const BUFFER_BYTES: usize = 64 * 1024;
/// No line of an export is longer; an unclosed quote would read the rest of the file into memory.
const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// How much of a file is tried in other encodings, from the place on where it turned out not to be in its own: enough for
/// almost every file as a whole, and read in a fraction of a second.
const TRIED_BYTES: u64 = 64 * 1024 * 1024;

/// A file and its format.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Where it is.
    pub(super) content: Content,
    /// The encoding of its text.
    pub(super) encoding: TextEncoding,
    /// The delimiter between fields.
    pub(super) delimiter: u8,
    /// What a `"` means.
    pub(super) quotes: Quotes,
}

impl Source {
    /// What messages call it.
    pub(super) fn path(&self) -> &Path {
        self.content.shown()
    }

    /// The file's name without its folder, as in item keys and messages.
    pub(super) fn name(&self) -> String {
        self.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Opens the file and reads its header.
    pub(super) fn open(&self) -> Result<(Reader, Vec<String>), Failure> {
        let mut file = self.content.open()?;
        refuse_foreign(self.path(), &mut file)?;
        let mut reader = Reader::new(file, self);
        let mut header = Record::default();
        if !reader.next_record(&mut header)? {
            return Err(Failure::bad_input(format!(
                "`{}` is empty: it has no header",
                self.path().display()
            )));
        }
        if header.len() > MAX_COLUMNS {
            return Err(Failure::bad_input(format!(
                "`{}` has {} columns, more than {MAX_COLUMNS}",
                self.path().display(),
                header.len()
            ))
            .hint("check that the first line is the header, and that the delimiter is right"));
        }
        let names: Vec<String> = (0..header.len()).map(|place| header.field(place).to_owned()).collect();
        reader.width = names.len();
        Ok((reader, names))
    }
}

/// The encoding of a file: that of its byte order mark, else the first of these in which all of it is text. If there is
/// none, reading in the first one says what is wrong.
pub(super) fn encoding_of(
    content: &Content,
    candidates: &[TextEncoding],
    wanted: &Wanted,
) -> Result<TextEncoding, Failure> {
    let first = match candidates {
        [] => return Ok(TextEncoding::Utf8),
        [only] => return Ok(*only),
        [first, ..] => *first,
    };
    content.open()?;
    let fitting = first_fitting(|| content.open_while(wanted).map_err(io::Error::other), candidates);
    Ok(fitting.map_err(|error| unreadable(content.shown(), &error))?.unwrap_or(first))
}

/// A file that could be opened and not be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::bad_input(format!("failed to read `{}`: {error}", path.display()))
}

fn hexadecimal(hash: Sha256) -> String {
    hex::encode(hash.finalize())
}

/// Hashes what is read.
struct Hashing {
    file: Opened,
    hash: Sha256,
    bytes: u64,
}

impl Hashing {
    fn new(file: Opened) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0 }
    }
}

impl Read for Hashing {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(target)?;
        self.hash.update(&target[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// One record: its fields, those that a mapping derived from them, and the line it starts on. Reused, so that reading
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Record {
    text: String,
    ends: Vec<usize>,
    line: u64,
    /// The derived fields as ranges of the text; their places follow those of the file's own.
    derived: Vec<(usize, usize)>,
    /// What could not be derived, and why.
    pub(super) problems: Vec<String>,
    /// The rule that leaves the line out.
    pub(super) skipped_by: Option<usize>,
}

impl Record {
    /// The line it starts on, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// How many fields it has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field without surrounding blanks, including ideographic ones; empty if there is none.
    pub(super) fn field(&self, place: usize) -> &str {
        let Some(end) = self.ends.get(place).copied() else {
            let derived = self.derived.get(place - self.ends.len());
            return derived.map_or("", |(start, end)| trimmed(&self.text[*start..*end]));
        };
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        trimmed(&self.text[start..end])
    }

    /// Forgets the derived fields.
    pub(super) fn clear_derived(&mut self) {
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        self.derived.clear();
        self.problems.clear();
        self.skipped_by = None;
    }

    /// Derives a field that is the same as another.
    pub(super) fn derive_same(&mut self, place: usize) {
        self.derive_part(place, 0, self.field(place).len());
    }

    /// Derives a field that is a part of another.
    pub(super) fn derive_part(&mut self, place: usize, start: usize, end: usize) {
        let field = self.field(place);
        // Where it is in the text: an empty one may be anywhere.
        let offset = field.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let range = if start == end { (0, 0) } else { (offset + start, offset + end) };
        self.derived.push(range);
    }

    /// Derives a field with a text of its own.
    pub(super) fn derive_text(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.derived.push((start, self.text.len()));
    }

    /// Derives a field from all of these that are not empty, with a text in between.
    pub(super) fn derive_joined(&mut self, places: &[usize], separator: &str) {
        let mut joined = String::new();
        for field in places.iter().map(|place| self.field(*place)).filter(|field| !field.is_empty()) {
            if !joined.is_empty() {
                joined.push_str(separator);
            }
            joined.push_str(field);
        }
        self.derive_text(&joined);
    }
}

fn trimmed(text: &str) -> &str {
    // Most fields are plain: checking both ends is cheaper than trimming.
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || !byte.is_ascii();
    if text.as_bytes().first().is_some_and(is_blank) || text.as_bytes().last().is_some_and(is_blank) {
        // No-break spaces and marks without width come along when a cell is copied from a web page.
        let is_blank = |character: char| {
            character.is_whitespace() || matches!(character, '\u{200b}' | '\u{2060}' | '\u{feff}')
        };
        text.trim_matches(is_blank)
    } else {
        text
    }
}

/// Reads a file's records.
pub(super) struct Reader {
    content: Content,
    source: DecodingReader<Hashing>,
    delimiter: u8,
    quotes: Quotes,
    /// Reads records in which a `"` encloses a field.
    quoting: csv_core::Reader,
    /// Reads records in which it is a character like any other.
    plain: csv_core::Reader,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// Line ends that were skipped between records and not counted by either.
    skipped_lines: u64,
    /// Buffers of the record being read.
    output: Vec<u8>,
    ends: Vec<usize>,
    /// The number of fields of the header and so of every record; 0 before it is read.
    width: usize,
}

impl Reader {
    fn new(file: Opened, source: &Source) -> Self {
        let core =
            |quoting| csv_core::ReaderBuilder::new().delimiter(source.delimiter).quoting(quoting).build();
        Self {
            content: source.content.clone(),
            source: DecodingReader::new(Hashing::new(file), source.encoding),
            delimiter: source.delimiter,
            quotes: source.quotes,
            quoting: core(true),
            plain: core(false),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            at_end: false,
            skipped_lines: 0,
            output: vec![0; 1024],
            ends: vec![0; 64],
            width: 0,
        }
    }

    /// Reads the next record; false at the end.
    pub(super) fn next_record(&mut self, record: &mut Record) -> Result<bool, Failure> {
        if !self.skip_line_ends()? {
            return Ok(false);
        }
        record.line = self.line();
        let (mut output_length, mut field_count) = (0, 0);
        let mut is_closed = false;
        let encloses = self.encloses()?;
        let mut quotes = QuoteState::default();
        loop {
            if self.start == self.end && !self.at_end {
                self.fill()?;
            }
            let at_end = self.start == self.end;
            if at_end && is_closed {
                // A line end closes any record except one inside quotes.
                return Err(self.fault(record.line, "the file ends inside a quoted field of this line: it is truncated, or a quote is not closed"));
            }
            let input = if at_end { b"\n".as_slice() } else { &self.buffer[self.start..self.end] };
            is_closed = at_end;
            let core = if encloses { &mut self.quoting } else { &mut self.plain };
            let (result, read, written, fields) =
                core.read_record(input, &mut self.output[output_length..], &mut self.ends[field_count..]);
            if encloses && !quotes.follow(&input[..read], self.delimiter) {
                return Err(self.stray_quote(record.line));
            }
            if !at_end {
                self.start += read;
            }
            output_length += written;
            field_count += fields;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < MAX_RECORD_BYTES => {
                    is_closed = false;
                    self.output.resize(self.output.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_RECORD_BYTES => {
                    is_closed = false;
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(
                        self.fault(record.line, "the line is longer than 1 MiB: a quote is not closed")
                    );
                }
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.take_over(record, output_length, field_count)?;
        self.check(record)?;
        let has_lines = encloses && self.width > 0 && record.text.contains(['\n', '\r']);
        if has_lines && has_swallowed(record, char::from(self.delimiter)) {
            return Err(self.swallowed_lines(record));
        }
        Ok(true)
    }

    /// The line that is read next, counted from 1.
    fn line(&self) -> u64 {
        // Both begin at 1.
        self.quoting.line() + self.plain.line() - 1 + self.skipped_lines
    }

    /// Whether a `"` encloses a field in the next record.
    fn encloses(&mut self) -> Result<bool, Failure> {
        match self.quotes {
            Quotes::Enclose => Ok(true),
            Quotes::Text => Ok(false),
            Quotes::Auto => {
                self.buffer_line()?;
                let line = &self.buffer[self.start..self.end];
                let line = line.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
                Ok(!line.contains(&b'"') || self.is_read_with_quotes(line))
            }
        }
    }

    /// Whether a line that has quotes can be read as enclosing fields, or cannot be read without that either.
    fn is_read_with_quotes(&self, line: &[u8]) -> bool {
        let has_width = |fields: usize| self.width == 0 || fields == self.width;
        let mut quotes = QuoteState::default();
        let mut fields = 1;
        let is_well_formed = line.chunks(1).all(|byte| {
            fields += usize::from(byte[0] == self.delimiter && quotes != QuoteState::Quoted);
            quotes.follow(byte, self.delimiter)
        });
        let without = line.split(|byte| *byte == self.delimiter).count();
        (is_well_formed && quotes != QuoteState::Quoted && has_width(fields)) || !has_width(without)
    }

    /// Reads until the buffer holds the whole next line, or as much as a line may have.
    fn buffer_line(&mut self) -> Result<(), Failure> {
        let mut seen = self.start;
        while !self.buffer[seen..self.end].iter().any(|byte| matches!(byte, b'\n' | b'\r'))
            && !self.at_end
            && self.end - self.start < MAX_RECORD_BYTES
        {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            seen = self.end;
            if self.buffer.len() - self.end < BUFFER_BYTES {
                self.buffer.resize(self.end + BUFFER_BYTES, 0);
            }
            self.read_more()?;
        }
        Ok(())
    }

    fn stray_quote(&self, line: u64) -> Failure {
        self.fault(line, "there is text after a closing quote").hint(
            "write a `\"` in a field as `\"\"`, and the field in quotes; if the platform does not quote fields at all, set \
             quotes = false for such files in batchctl.toml",
        )
    }

    fn swallowed_lines(&self, record: &Record) -> Failure {
        let last = record.line + record.text.matches('\n').count() as u64;
        let problem =
            format!("a quoted field goes on to line {last}, over what looks like lines of their own");
        self.fault(record.line, &problem).hint(
            "a field begins with a `\"` that is not closed: write it as `\"\"`, and the field in quotes; if the platform does \
             not quote fields at all, set quotes = false for such files in batchctl.toml",
        )
    }

    /// Moves to the first byte of the next record; false at the end.
    fn skip_line_ends(&mut self) -> Result<bool, Failure> {
        loop {
            while self.start < self.end && matches!(self.buffer[self.start], b'\n' | b'\r') {
                self.skipped_lines += u64::from(self.buffer[self.start] == b'\n');
                self.start += 1;
            }
            if self.start < self.end {
                return Ok(true);
            }
            if self.at_end {
                return Ok(false);
            }
            self.fill()?;
        }
    }

    fn take_over(&self, record: &mut Record, length: usize, fields: usize) -> Result<(), Failure> {
        let text = std::str::from_utf8(&self.output[..length])
            .map_err(|_| self.fault(record.line, "the delimiter is part of a character"))?;
        record.text.clear();
        record.text.push_str(text);
        record.ends.clear();
        record.ends.extend_from_slice(&self.ends[..fields]);
        record.clear_derived();
        Ok(())
    }

    fn check(&self, record: &Record) -> Result<(), Failure> {
        if record.text.as_bytes().contains(&0) {
            let problem = if self.width == 0 {
                "there are NUL characters: the file looks like UTF-16; save it as UTF-8"
            } else {
                "there is a NUL character: the file is damaged, or has another encoding"
            };
            return Err(self.fault(record.line, problem));
        }
        if self.width == 0 || record.len() == self.width {
            return Ok(());
        }
        let is_last = self.at_end && self.start == self.end;
        let (found, wanted) = (record.len(), self.width);
        let problem = match found < wanted {
            true if is_last => format!("the last line has {found} of {wanted} fields: the file is truncated"),
            true => format!("the line has {found} fields, the header has {wanted}"),
            false => format!(
                "the line has {found} fields, the header has {wanted}: quote fields that contain the delimiter"
            ),
        };
        Err(self.fault(record.line, &problem))
    }

    fn fill(&mut self) -> Result<(), Failure> {
        self.start = 0;
        self.end = 0;
        self.read_more()
    }

    /// Reads behind what the buffer holds.
    fn read_more(&mut self) -> Result<(), Failure> {
        match self.source.read(&mut self.buffer[self.end..]) {
            Ok(count) => {
                self.end += count;
                self.at_end = count == 0;
                Ok(())
            }
            Err(error) => match error.get_ref().and_then(|cause| cause.downcast_ref::<MalformedText>()) {
                Some(malformed) => Err(self.malformed(malformed)),
                None => Err(unreadable(self.content.shown(), &error)),
            },
        }
    }

    fn malformed(&self, malformed: &MalformedText) -> Failure {
        let failure =
            Failure::bad_input(format!("failed to read `{}`: {malformed}", self.content.shown().display()));
        match self.fitting_encodings() {
            Ok(fitting) if malformed.looks_like != Some("UTF-16") => with_encoding(failure, &fitting),
            // What the message says is all that is known.
            _ => failure,
        }
    }

    /// The encodings in which the file can be read, up to what was read of it and some way beyond.
    fn fitting_encodings(&self) -> io::Result<Vec<TextEncoding>> {
        let file = self.content.open().map_err(io::Error::other)?;
        let tried = self.source.get_ref().bytes + TRIED_BYTES;
        let is_whole = file.length()? <= tried;
        encodings_of(file.take(tried), is_whole)
    }

    fn fault(&self, line: u64, problem: &str) -> Failure {
        Failure::bad_input(format!(
            "failed to read `{}`: line {line}: {problem}",
            self.content.shown().display()
        ))
    }

    /// The SHA-256 of everything that was read, in hexadecimal: of the whole file at its end.
    pub(super) fn into_hash(self) -> String {
        hexadecimal(self.source.into_inner().hash)
    }
}

/// Where a record that is read with quotes has come to. `csv_core` reads `"a"b` as `ab`; no program writes that, so that a
/// quote which is followed by text was not meant to close a field, or not meant to open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum QuoteState {
    /// At the beginning of a field.
    #[default]
    Start,
    /// In a field without quotes.
    Plain,
    /// In a quoted field.
    Quoted,
    /// After a quote in a quoted field: it closes the field, or is the first of two that stand for one.
    Closing,
    /// After blanks that follow a closing quote.
    Closed,
}

impl QuoteState {
    /// Goes on over further bytes; false if there is text after a closing quote.
    fn follow(&mut self, bytes: &[u8], delimiter: u8) -> bool {
        let is_plain = !matches!(self, Self::Quoted | Self::Closing | Self::Closed);
        if is_plain && !bytes.contains(&b'"') {
            // Most records have no quotes; what matters is how the piece ends.
            *self = match bytes.last() {
                None => *self,
                Some(last) if *last == delimiter || matches!(last, b'\n' | b'\r') => Self::Start,
                Some(_) => Self::Plain,
            };
            return true;
        }
        for byte in bytes {
            *self = match (*self, *byte) {
                (Self::Quoted, b'"') => Self::Closing,
                (Self::Start | Self::Closing, b'"') | (Self::Quoted, _) => Self::Quoted,
                (_, byte) if byte == delimiter || matches!(byte, b'\n' | b'\r') => Self::Start,
                (Self::Closing | Self::Closed, b' ') => Self::Closed,
                (Self::Closing | Self::Closed, _) => return false,
                (Self::Start | Self::Plain, _) => Self::Plain,
            };
        }
        true
    }
}

/// Whether a quoted field of a record contains whole lines of the file: its lines have just as many fields as that takes, and
/// most of them begin as those of the record do. A note of several lines has not.
fn has_swallowed(record: &Record, delimiter: char) -> bool {
    (0..record.len()).any(|place| {
        let field = record.field(place);
        let lines: Vec<&str> = field.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        let [first, between @ .., last] = lines.as_slice() else { return false };
        let first: Vec<&str> = first.split(delimiter).collect();
        let last: Vec<&str> = last.split(delimiter).collect();
        let width = record.len();
        let are_lines = first.len() == width - place
            && last.len() == place + 1
            && between.iter().all(|line| line.split(delimiter).count() == width);
        if !are_lines {
            return false;
        }
        let own = |place: usize| record.field(place);
        let after = first[1..].iter().enumerate().map(|(at, text)| (*text, own(place + 1 + at)));
        let before = last[..place].iter().enumerate().map(|(at, text)| (*text, own(at)));
        let (alike, other): (Vec<_>, Vec<_>) = after
            .chain(before)
            .filter(|(text, own)| !text.trim().is_empty() && !own.is_empty())
            .partition(|(text, own)| begins_with(text) == begins_with(own));
        alike.len() > other.len()
    })
}

/// What a field begins with: a digit, a letter, or another character.
fn begins_with(text: &str) -> (bool, bool) {
    let first = text.trim_start().chars().next();
    (first.is_some_and(char::is_numeric), first.is_some_and(char::is_alphabetic))
}

/// Advises on the encoding of a file that can be read in these.
fn with_encoding(failure: Failure, fitting: &[TextEncoding]) -> Failure {
    let listed = |encodings: &[TextEncoding], and: &str| {
        encodings.iter().map(|encoding| encoding.name()).collect::<Vec<_>>().join(and)
    };
    match fitting {
        [] => failure.hint(format!(
            "the file cannot be read in any encoding that we know ({}): it is damaged, or in another one; save it as UTF-8",
            listed(&TextEncoding::DISTINCT, ", ")
        )),
        [only] => {
            let flag = format!("--encoding {only}");
            failure
                .hint(format!(
                    "the file can be read as {only}: add {flag}; if such files always are {only}, set \
                     `encoding = \"{only}\"` for their kind in batchctl.toml"
                ))
                .retry_with(flag)
        }
        several => failure.hint(format!(
            "the file can be read as {}: add --encoding with the one that it was written in",
            listed(several, " or ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records after the header as `line: field|field`, or the fault without the folder.
    fn read(content: &[u8]) -> Vec<String> {
        read_with(Quotes::Enclose, content)
    }

    fn read_with(quotes: Quotes, content: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.csv");
        std::fs::write(&path, content).unwrap();
        let source =
            Source { content: Content::of(&path), encoding: TextEncoding::Utf8, delimiter: b',', quotes };
        let folder = format!("{}/", directory.path().display());
        let mut read = Vec::new();
        let mut reading = || -> Result<(), Failure> {
            let (mut reader, _) = source.open()?;
            let mut record = Record::default();
            while reader.next_record(&mut record)? {
                let fields: Vec<&str> = (0..record.len()).map(|place| record.field(place)).collect();
                read.push(format!("{}: {}", record.line(), fields.join("|")));
            }
            assert_eq!(reader.into_hash(), hex::encode(Sha256::digest(content)));
            Ok(())
        };
        if let Err(fault) = reading() {
            read.push(fault.message.replace(&folder, ""));
        }
        read
    }

    #[test]
    fn records_know_their_lines_whatever_the_line_ends() {
        assert_eq!(read(b"a,b\r\n1,2\r\n\r\n\n3,\"x\ny\"\r\n5,6"), ["2: 1|2", "5: 3|x\ny", "7: 5|6"]);
        assert_eq!(read("a,b\n\u{3000}商 品\u{3000}, 2 \n".as_bytes()), ["2: 商 品|2"]);
    }

    #[test]
    fn a_truncated_file_is_detected() {
        assert_eq!(
            read(b"a,b\n1,2\n3,\"x\n"),
            [
                "2: 1|2",
                "failed to read `file.csv`: line 3: the file ends inside a quoted field of this line: it is truncated, or a quote is not closed"
            ]
        );
        assert_eq!(
            read(b"a,b\n1,2\n3"),
            [
                "2: 1|2",
                "failed to read `file.csv`: line 3: the last line has 1 of 2 fields: the file is truncated"
            ]
        );
        assert_eq!(read(b"a,b\n3,\"x\""), ["2: 3|x"]);
    }

    #[test]
    fn text_after_a_closing_quote_is_refused() {
        let stray = "there is text after a closing quote";
        for (content, line) in [
            // The first field is meant to begin with a quote: it would go on to the one of the next line.
            ("a,b,c\n1,\"x,3\n4,\"y\",6\n", 2),
            ("a,b,c\n0,0,0\n1,\"1\"00,3\n", 3),
            ("a,b,c\n1,2,\"x\" y\n", 2),
            ("a,b,\"c\"d\n", 1),
        ] {
            let read = read(content.as_bytes());
            let fault = format!("failed to read `file.csv`: line {line}: {stray}");
            assert_eq!(read.last(), Some(&fault), "{content}");
        }
        assert_eq!(
            read(b"a,b,c\n1,\"x\" ,\"\"\n2,27\" TV,\"27\"\" \"\"TV\"\r\n3,\"\"\"\",\"\"\"x\""),
            ["2: 1|x|", "3: 2|27\" TV|27\" \"TV", "4: 3|\"|\"x"]
        );
    }

    /// A field that begins with a stray quote ends at the next one, and what is between them was orders.
    #[test]
    fn a_quoted_field_that_contains_lines_of_the_file_is_refused() {
        let swallowed = |content: &str| {
            let last = read(content.as_bytes()).pop().unwrap_or_default();
            last.ends_with("over what looks like lines of their own")
        };
        assert!(swallowed("no,name,amount\n1,\"mug,100\n2,dish,200\n3,27\",300\n"));
        assert!(swallowed("name,no,amount\n\"mug,1,100\r\n27\",2,200\r\n"));
        assert!(swallowed("no,amount,name\n1,100,\"mug\n\n2,200,27\"\n"));
        for note in ["one, two\nthree", "one\ntwo, three, four\nfive", "a,b\n,c", "1,100\nand so on"] {
            let content = format!("no,note,amount\n1,\"{note}\",100\n2,x,200\n");
            assert_eq!(read(content.as_bytes()).len(), 2, "{note}: {:?}", read(content.as_bytes()));
        }
    }

    #[test]
    fn quotes_that_may_be_text_enclose_a_field_only_where_the_line_can_be_read_so() {
        let auto = |content: &str| read_with(Quotes::Auto, content.as_bytes());
        assert_eq!(
            auto("a,b,c\n1,\"x,3\n4,\"y, z\",6\n7,27\"TV,9\n10,\"two\nlines\",12\n13,\"q\",\"15\n"),
            ["2: 1|\"x|3", "3: 4|y, z|6", "4: 7|27\"TV|9", "5: 10|two\nlines|12", "7: 13|\"q\"|\"15"]
        );
        assert_eq!(auto("a,b\n\"x,1\n27\",2")[..], ["2: \"x|1", "3: 27\"|2"]);
        // A line longer than the buffer, and one that no reading makes sense of.
        let long = "x".repeat(3 * BUFFER_BYTES);
        assert_eq!(
            auto(&format!("a,b\n\"{long},1\n2,\"3\"")),
            [format!("2: \"{long}|1"), "3: 2|3".to_owned()]
        );
        assert!(auto("a,b\n1,\"x\"y,3\n")[0].contains("line 2: there is text after a closing quote"));
    }

    #[test]
    fn blanks_that_cannot_be_seen_are_not_part_of_a_field() {
        assert_eq!(read("a,b\n1\u{a0},\u{feff}2\u{200b}\u{2003}\n".as_bytes()), ["2: 1|2"]);
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        assert_eq!(read(b""), ["`file.csv` is empty: it has no header"]);
        assert_eq!(
            read(b"a,b\n1,2,3\n4,5\n"),
            [
                "failed to read `file.csv`: line 2: the line has 3 fields, the header has 2: quote fields that contain the delimiter"
            ]
        );
        assert!(read(b"a,b\n1,\0\n")[0].contains("line 2: there is a NUL character"));
        assert!(read(b"a\0,\0b\0\n")[0].contains("UTF-16"));
        assert!(read(b"a,b\n1,\x82\n")[0].contains("line 2 is not valid utf-8"));
        let open_quote = [b"a,b\n\"".as_slice(), &vec![b'x'; 3 * MAX_RECORD_BYTES]].concat();
        assert!(read(&open_quote)[0].contains("line 2: the line is longer than 1 MiB"));
    }
}
