//! The text encodings of our users' files, for reading and writing.
//!
//! Spreadsheets in Japan and Korea read and write files in legacy encodings. On reading, an invalid byte is an error
//! with its line; on writing, a character that the encoding does not have is an error that names it. Nothing is ever
//! replaced by `?`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, EUC_KR, Encoding, SHIFT_JIS, UTF_8};

/// The byte order mark some programs put before UTF-8 text.
const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";
/// Bytes per read: large enough that the calls cost nothing, small enough to stay in the processor's cache.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest character of any of our encodings.
const MAX_SEQUENCE_BYTES: usize = 4;

/// A text encoding a file can be read from and written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, clap::ValueEnum)]
pub enum TextEncoding {
    /// UTF-8
    #[default]
    #[serde(rename = "utf-8", alias = "utf8")]
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// UTF-8 with a byte order mark, which Excel needs to recognise it
    #[serde(rename = "utf-8-bom", alias = "utf8-bom")]
    #[value(name = "utf-8-bom", alias = "utf8-bom")]
    Utf8Bom,
    /// Shift JIS as Windows encodes it (code page 932)
    #[serde(rename = "shift_jis", alias = "shift-jis", alias = "sjis", alias = "cp932")]
    #[value(name = "shift_jis", aliases = ["shift-jis", "sjis", "cp932"])]
    ShiftJis,
    /// EUC-KR as Windows encodes it (code page 949)
    #[serde(rename = "euc-kr", alias = "euckr", alias = "cp949")]
    #[value(name = "euc-kr", aliases = ["euckr", "cp949"])]
    EucKr,
}

/// A character that does not exist in the encoding asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{character}` (U+{code:04X}) does not exist in {encoding}", code = u32::from(*character))]
pub struct UnmappableCharacter {
    /// The character that cannot be written.
    pub character: char,
    /// The encoding that does not have it.
    pub encoding: TextEncoding,
}

impl TextEncoding {
    /// Those that differ in how text is read: a byte order mark is dropped under both names of UTF-8.
    pub const DISTINCT: [Self; 3] = [Self::Utf8, Self::ShiftJis, Self::EucKr];

    /// The name in a media type's `charset`, as IANA registers it.
    pub fn charset(self) -> &'static str {
        match self {
            Self::Utf8 | Self::Utf8Bom => "utf-8",
            Self::ShiftJis => "shift_jis",
            Self::EucKr => "euc-kr",
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Bom => "utf-8-bom",
            Self::ShiftJis => "shift_jis",
            Self::EucKr => "euc-kr",
        }
    }

    /// What a file in this encoding starts with, before any text.
    pub fn byte_order_mark(self) -> &'static [u8] {
        if self == Self::Utf8Bom { UTF8_BOM } else { b"" }
    }

    /// Appends the text's bytes; on an error the bytes before the character may have been appended.
    pub fn encode_into(self, text: &str, bytes: &mut Vec<u8>) -> Result<(), UnmappableCharacter> {
        let Some(legacy) = self.legacy() else {
            bytes.extend_from_slice(text.as_bytes());
            return Ok(());
        };
        if text.is_ascii() {
            bytes.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        // The encoder writes `¥` as a backslash and `−` as `－`, as browsers must. That loses data silently, so only
        // what reads back as the same text counts as written.
        let reads_back = |part: &str, encoded: &[u8], had_errors: bool| {
            !had_errors
                && legacy
                    .decode_without_bom_handling_and_without_replacement(encoded)
                    .is_some_and(|decoded| decoded == part)
        };
        let (encoded, _, had_errors) = legacy.encode(text);
        if reads_back(text, &encoded, had_errors) {
            bytes.extend_from_slice(&encoded);
            return Ok(());
        }
        for character in text.chars() {
            let mut buffer = [0; MAX_SEQUENCE_BYTES];
            let part: &str = character.encode_utf8(&mut buffer);
            let (encoded, _, had_errors): (Cow<'_, [u8]>, _, _) = legacy.encode(part);
            if !reads_back(part, &encoded, had_errors) {
                return Err(UnmappableCharacter { character, encoding: self });
            }
            bytes.extend_from_slice(&encoded);
        }
        Ok(())
    }

    fn legacy(self) -> Option<&'static Encoding> {
        match self {
            Self::Utf8 | Self::Utf8Bom => None,
            Self::ShiftJis => Some(SHIFT_JIS),
            Self::EucKr => Some(EUC_KR),
        }
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// The encoding that a file's first bytes announce, if any: `UTF-16` or `UTF-8`.
pub fn encoding_by_byte_order_mark(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        [0xEF, 0xBB, 0xBF, ..] => Some("UTF-8"),
        _ => None,
    }
}

/// Bytes that are not text in the file's declared encoding. The inner error of [`DecodingReader`]'s
/// [`io::ErrorKind::InvalidData`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedText {
    /// The line, counted from 1.
    pub line: u64,
    /// The encoding in which the file was read.
    pub encoding: TextEncoding,
    /// The bytes that do not form a character, one to four.
    pub bytes: Vec<u8>,
    /// What the file's first bytes announce instead: `UTF-16` or `UTF-8`.
    pub looks_like: Option<&'static str>,
}

impl fmt::Display for MalformedText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.bytes.len() == 1 { "byte" } else { "bytes" };
        write!(formatter, "line {} is not valid {} ({noun}", self.line, self.encoding)?;
        for byte in &self.bytes {
            write!(formatter, " 0x{byte:02X}")?;
        }
        match self.looks_like {
            Some("UTF-16") => formatter.write_str("): the file looks like UTF-16; save it as UTF-8"),
            Some(name) => write!(formatter, "): the file looks like {name}"),
            None => formatter.write_str(")"),
        }
    }
}

impl std::error::Error for MalformedText {}

/// The encodings in which all of these bytes are text, `utf-8` for both of its names. `is_whole` is false for the beginning
/// of a file, which may end inside a character.
pub fn encodings_of(mut bytes: impl Read, is_whole: bool) -> io::Result<Vec<TextEncoding>> {
    let mut fitting: Vec<(TextEncoding, Decoder)> = TextEncoding::DISTINCT
        .iter()
        .map(|encoding| {
            let encoding_rs = encoding.legacy().unwrap_or(UTF_8);
            (*encoding, encoding_rs.new_decoder_without_bom_handling())
        })
        .collect();
    let mut input = vec![0; CHUNK_BYTES];
    // Each byte becomes at most three; a character may have begun in the chunk before.
    let mut output = vec![0; (CHUNK_BYTES + MAX_SEQUENCE_BYTES) * 3];
    loop {
        let count = match bytes.read(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let is_end = count == 0;
        // No text holds a NUL; UTF-16 does, after every character of ASCII.
        if input[..count].contains(&0) {
            return Ok(Vec::new());
        }
        if is_end && !is_whole {
            break;
        }
        fitting.retain_mut(|(_, decoder)| {
            let (result, ..) =
                decoder.decode_to_utf8_without_replacement(&input[..count], &mut output, is_end);
            result == DecoderResult::InputEmpty
        });
        if is_end || fitting.is_empty() {
            break;
        }
    }
    let fitting: Vec<TextEncoding> = fitting.into_iter().map(|(encoding, _)| encoding).collect();
    // Text in an older encoding is practically never valid UTF-8, but UTF-8 often is text in an older one.
    Ok(if fitting.contains(&TextEncoding::Utf8) { vec![TextEncoding::Utf8] } else { fitting })
}

/// The encoding that a file's byte order mark names, else the first of these in which all of it is text, if there is one.
pub fn first_fitting<R: Read>(
    open: impl Fn() -> io::Result<R>,
    candidates: &[TextEncoding],
) -> io::Result<Option<TextEncoding>> {
    let mut start = Vec::new();
    open()?.take(UTF8_BOM.len() as u64).read_to_end(&mut start)?;
    if start == UTF8_BOM {
        return Ok(Some(TextEncoding::Utf8));
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    for candidate in candidates {
        let mut reader = DecodingReader::new(open()?, *candidate);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Some(*candidate)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// Reads a file in any of our encodings as UTF-8, in bounded memory.
///
/// Drops a UTF-8 byte order mark. At bytes that are not text it first returns everything before them, then fails
/// with [`MalformedText`] and keeps failing.
pub struct DecodingReader<R> {
    inner: R,
    encoding: TextEncoding,
    /// Absent for UTF-8, which is checked in place.
    decoder: Option<Decoder>,
    /// Bytes as read; those from `input_start` are still to be decoded.
    input: Vec<u8>,
    input_start: usize,
    input_end: usize,
    /// Text from the decoder, and how much of it the caller has read.
    output: Vec<u8>,
    output_start: usize,
    output_end: usize,
    /// The last bytes passed to the decoder: a bad sequence may have started in the chunk before.
    recent: Vec<u8>,
    lines_before: u64,
    started: bool,
    at_end: bool,
    /// The decoder has finished and must not be called again.
    finished: bool,
    failure: Option<MalformedText>,
}

impl<R: Read> DecodingReader<R> {
    /// Wraps a reader of bytes in the given encoding.
    pub fn new(inner: R, encoding: TextEncoding) -> Self {
        let decoder = encoding.legacy().map(Encoding::new_decoder_without_bom_handling);
        // Each byte of the old encodings becomes at most three of UTF-8.
        let output_bytes = if decoder.is_some() { CHUNK_BYTES * 3 } else { 0 };
        Self {
            inner,
            encoding,
            decoder,
            input: vec![0; CHUNK_BYTES],
            input_start: 0,
            input_end: 0,
            output: vec![0; output_bytes],
            output_start: 0,
            output_end: 0,
            recent: Vec::with_capacity(MAX_SEQUENCE_BYTES),
            lines_before: 0,
            started: false,
            at_end: false,
            finished: false,
            failure: None,
        }
    }

    /// The wrapped reader, which may have been read further than what has been decoded.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The wrapped reader.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Reads more bytes after those still waiting.
    fn fill(&mut self) -> io::Result<()> {
        self.input.copy_within(self.input_start..self.input_end, 0);
        self.input_end -= self.input_start;
        self.input_start = 0;
        loop {
            match self.inner.read(&mut self.input[self.input_end..]) {
                Ok(count) => {
                    self.at_end = count == 0;
                    self.input_end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks at the first bytes: the mark of this encoding is dropped; the mark of another is an error at once, which
    /// would otherwise come later and be harder to understand.
    fn start(&mut self) -> io::Result<()> {
        while self.input_end < UTF8_BOM.len() && !self.at_end {
            self.fill()?;
        }
        self.started = true;
        let start = &self.input[..self.input_end];
        match encoding_by_byte_order_mark(start) {
            Some("UTF-8") if self.decoder.is_none() => self.input_start = UTF8_BOM.len(),
            Some("UTF-8") => self.fail(UTF8_BOM.to_vec(), Some("UTF-8")),
            Some(other) => self.fail(start[..2].to_vec(), Some(other)),
            None => {}
        }
        Ok(())
    }

    fn fail(&mut self, bytes: Vec<u8>, looks_like: Option<&'static str>) {
        let line = self.lines_before + 1;
        self.failure = Some(MalformedText { line, encoding: self.encoding, bytes, looks_like });
    }

    /// Decodes what has been read; leaves text in the output, a failure, or neither if more bytes are needed.
    fn decode(&mut self) {
        let input = &self.input[self.input_start..self.input_end];
        let Some(decoder) = &mut self.decoder else {
            let (valid, bad) = match std::str::from_utf8(input) {
                Ok(_) => (input.len(), None),
                Err(error) => {
                    let valid = error.valid_up_to();
                    let bad = match error.error_len() {
                        Some(length) => Some(&input[valid..valid + length]),
                        None => self.at_end.then_some(&input[valid..]),
                    };
                    (valid, bad.map(<[u8]>::to_vec))
                }
            };
            self.lines_before += count_lines(&input[..valid]);
            // The valid bytes are handed out from where they are; the input is not refilled before that.
            (self.output_start, self.output_end) = (self.input_start, self.input_start + valid);
            self.input_start += valid;
            self.finished = self.at_end && bad.is_none();
            if let Some(bytes) = bad {
                self.fail(bytes, None);
            }
            return;
        };
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(input, &mut self.output, self.at_end);
        (self.output_start, self.output_end) = (0, written);
        self.lines_before += count_lines(&self.output[..written]);
        self.input_start += read;
        self.recent.extend_from_slice(&input[read.saturating_sub(2 * MAX_SEQUENCE_BYTES)..read]);
        self.finished = self.at_end && result == DecoderResult::InputEmpty;
        if let DecoderResult::Malformed(length, after) = result {
            let end = self.recent.len().saturating_sub(usize::from(after));
            let bytes = self.recent[end.saturating_sub(usize::from(length))..end].to_vec();
            self.fail(bytes, None);
        }
        let surplus = self.recent.len().saturating_sub(2 * MAX_SEQUENCE_BYTES);
        self.recent.drain(..surplus);
    }
}

/// Counts line ends in a chunk; the compiler turns this into vector instructions.
fn count_lines(text: &[u8]) -> u64 {
    // Counted in bytes as wide as the data, 255 at a time, which is what makes it fast.
    text.chunks(usize::from(u8::MAX))
        .map(|part| u64::from(part.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>()))
        .sum()
}

impl<R: Read> Read for DecodingReader<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        if !self.started {
            self.start()?;
        }
        while self.output_start == self.output_end {
            if let Some(failure) = &self.failure {
                return Err(io::Error::new(io::ErrorKind::InvalidData, failure.clone()));
            }
            if self.finished {
                return Ok(0);
            }
            if self.input_start == self.input_end && !self.at_end {
                self.fill()?;
            }
            self.decode();
            let wants_more = self.output_start == self.output_end && self.failure.is_none() && !self.finished;
            if wants_more {
                self.fill()?;
            }
        }
        let ready = if self.encoding.legacy().is_none() { &self.input } else { &self.output };
        let ready = &ready[self.output_start..self.output_end];
        let count = ready.len().min(target.len());
        target[..count].copy_from_slice(&ready[..count]);
        self.output_start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte per call, so that every boundary falls inside a character once.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            target[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn decode(bytes: &[u8], encoding: TextEncoding) -> (String, Option<String>) {
        let read = |reader: &mut dyn Read| {
            let mut text = Vec::new();
            let error = reader.read_to_end(&mut text).err();
            if let Some(error) = &error {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(error.get_ref().unwrap().is::<MalformedText>());
            }
            (String::from_utf8(text).unwrap(), error.map(|error| error.to_string()))
        };
        let at_once = read(&mut DecodingReader::new(bytes, encoding));
        let trickled = read(&mut DecodingReader::new(Trickle(bytes), encoding));
        assert_eq!(at_once, trickled);
        at_once
    }

    fn encode(text: &str, encoding: TextEncoding) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        encoding.encode_into(text, &mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn text_reads_back_in_every_encoding() {
        let cases = [
            (TextEncoding::Utf8, "日本語, 한국어, €\r\n🎁"),
            (TextEncoding::Utf8Bom, "日本語, 한국어, €\r\n🎁"),
            (TextEncoding::ShiftJis, "名称,ﾊﾝｶｸ,髙橋①\r\n～￥＼表"),
            (TextEncoding::EucKr, "이름,똠방각하,뷁\r\n漢字"),
        ];
        for (encoding, text) in cases {
            let long = text.repeat(20_000);
            for text in ["", "plain", text, &long] {
                let mut bytes = encoding.byte_order_mark().to_vec();
                encoding.encode_into(text, &mut bytes).unwrap();
                assert_eq!(decode(&bytes, encoding), (text.to_owned(), None), "{encoding}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped_under_both_names_of_utf_8() {
        for encoding in [TextEncoding::Utf8, TextEncoding::Utf8Bom] {
            assert_eq!(decode(b"\xEF\xBB\xBFid", encoding), ("id".to_owned(), None));
            assert_eq!(decode(b"id", encoding), ("id".to_owned(), None));
            assert_eq!(decode(b"\xEF\xBB\xBF", encoding), (String::new(), None));
        }
    }

    #[test]
    fn a_character_the_encoding_lacks_is_named() {
        let cases = [
            (TextEncoding::ShiftJis, "가격", "`가` (U+AC00) does not exist in shift_jis"),
            (TextEncoding::ShiftJis, "値段🎁", "`🎁` (U+1F381) does not exist in shift_jis"),
            (TextEncoding::EucKr, "🎁", "`🎁` (U+1F381) does not exist in euc-kr"),
            // These have look-alikes the encoder would quietly write instead.
            (TextEncoding::ShiftJis, "\u{a5}100", "`\u{a5}` (U+00A5) does not exist in shift_jis"),
            (TextEncoding::ShiftJis, "a\u{203e}", "`\u{203e}` (U+203E) does not exist in shift_jis"),
            (TextEncoding::ShiftJis, "\u{2212}5", "`\u{2212}` (U+2212) does not exist in shift_jis"),
            (TextEncoding::ShiftJis, "10\u{301c}20", "`\u{301c}` (U+301C) does not exist in shift_jis"),
        ];
        for (encoding, text, message) in cases {
            assert_eq!(encode(text, encoding).unwrap_err(), message);
        }
    }

    #[test]
    fn malformed_text_is_reported_with_its_line_after_all_text_before_it() {
        let cases: [(&[u8], TextEncoding, &str, &str); 8] = [
            (b"a\nb\xFFc", TextEncoding::Utf8, "a\nb", "line 2 is not valid utf-8 (byte 0xFF)"),
            (b"a\xE3\x81", TextEncoding::Utf8, "a", "line 1 is not valid utf-8 (bytes 0xE3 0x81)"),
            (b"\xE3\x81\n", TextEncoding::Utf8, "", "line 1 is not valid utf-8 (bytes 0xE3 0x81)"),
            (b"a\n\n\x82\x20", TextEncoding::ShiftJis, "a\n\n", "line 3 is not valid shift_jis (byte 0x82)"),
            (b"a\n\xFF", TextEncoding::ShiftJis, "a\n", "line 2 is not valid shift_jis (byte 0xFF)"),
            (b"ok\x82", TextEncoding::ShiftJis, "ok", "line 1 is not valid shift_jis (byte 0x82)"),
            (b"\xB0\xA1\xFF\xFF", TextEncoding::EucKr, "가", "line 1 is not valid euc-kr (byte 0xFF)"),
            (b"\xB0", TextEncoding::EucKr, "", "line 1 is not valid euc-kr (byte 0xB0)"),
        ];
        for (bytes, encoding, before, message) in cases {
            assert_eq!(
                decode(bytes, encoding),
                (before.to_owned(), Some(message.to_owned())),
                "{bytes:02X?}"
            );
        }
    }

    #[test]
    fn a_line_is_counted_across_chunks() {
        let mut bytes = "한글\n".repeat(100_000).into_bytes();
        bytes.push(0xC0);
        let (text, error) = decode(&bytes, TextEncoding::Utf8);
        assert_eq!(text.len(), bytes.len() - 1);
        assert!(error.unwrap().starts_with("line 100001 is not valid utf-8 (byte 0xC0)"));
    }

    #[test]
    fn a_byte_order_mark_of_another_encoding_is_reported() {
        let utf16 =
            "line 1 is not valid euc-kr (bytes 0xFF 0xFE): the file looks like UTF-16; save it as UTF-8";
        assert_eq!(decode(b"\xFF\xFEi\0", TextEncoding::EucKr).1.unwrap(), utf16);
        let utf8 = "line 1 is not valid shift_jis (bytes 0xEF 0xBB 0xBF): the file looks like UTF-8";
        assert_eq!(decode(b"\xEF\xBB\xBFid", TextEncoding::ShiftJis).1.unwrap(), utf8);
    }

    fn encodings(bytes: &[u8]) -> Vec<TextEncoding> {
        let whole = encodings_of(bytes, true).unwrap();
        assert_eq!(encodings_of(Trickle(bytes), true).unwrap(), whole);
        whole
    }

    #[test]
    fn the_encodings_in_which_bytes_are_text_are_found() {
        use TextEncoding::{EucKr, ShiftJis, Utf8};
        let japanese = encode("注文,ソーダ\n", ShiftJis).unwrap();
        let korean = encode("회원,이름\n", EucKr).unwrap();
        // Neither `ソ` nor `ー` exists in EUC-KR; after `원` Shift_JIS expects another byte than a comma.
        assert_eq!(encodings(&japanese), [ShiftJis]);
        assert_eq!(encodings(&korean), [EucKr]);
        assert_eq!(encodings(&japanese.repeat(50_000)), [ShiftJis]);
        // A few characters may be text in both.
        assert_eq!(encodings(&encode("注文", ShiftJis).unwrap()), [ShiftJis, EucKr]);
        assert_eq!(encodings("注文,ソーダ 회원".as_bytes()), [Utf8]);
        assert_eq!(encodings(b"Caf\xE9,1\n"), []);
        assert_eq!(encodings(b"a\0\xFF"), []);
        assert_eq!(encodings(&[&japanese[..], b"\xFF"].concat()), []);
    }

    #[test]
    fn the_beginning_of_a_file_may_end_inside_a_character() {
        use TextEncoding::{ShiftJis, Utf8};
        for (text, encoding) in [("ソーダ", ShiftJis), ("회원", Utf8)] {
            let bytes = encode(text, encoding).unwrap();
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(encodings_of(cut, false).unwrap(), [encoding]);
            assert!(!encodings(cut).contains(&encoding), "{encoding}");
        }
    }
}
