//! A table as a file: its header in the platform's words, and how the platform writes fields.

use std::collections::HashMap;

use encoding_rs::{EUC_KR, SHIFT_JIS};

/// When a field is in quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// If it holds a delimiter, a quote or a line break.
    WhenNeeded,
    /// Always.
    Always,
    /// Never: a quote is an ordinary character, and a field can hold neither delimiters nor line breaks.
    Never,
}

/// How the bytes of a file are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-8 after a byte order mark.
    Utf8Bom,
    /// Windows code page 932, which Japanese platforms call `Shift_JIS`.
    Cp932,
    /// Windows code page 949, which Korean platforms call EUC-KR.
    Cp949,
}

impl Encoding {
    /// A text as it can be read from the file again: what the encoding lacks is a question mark, as platforms write it.
    pub(super) fn text(self, text: &str) -> String {
        let table = match self {
            Self::Utf8 | Self::Utf8Bom => return text.to_owned(),
            Self::Cp932 => SHIFT_JIS,
            Self::Cp949 => EUC_KR,
        };
        if !table.encode(text).2 {
            return text.to_owned();
        }
        let kept = |letter: char| {
            let (_, _, lacks) = table.encode(letter.encode_utf8(&mut [0; 4]));
            if lacks { '?' } else { letter }
        };
        text.chars().map(kept).collect()
    }

    fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf8Bom => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            Self::Cp932 => SHIFT_JIS.encode(text).0.into_owned(),
            Self::Cp949 => EUC_KR.encode(text).0.into_owned(),
        }
    }
}

/// The form of a file.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Between fields.
    pub(super) delimiter: &'static str,
    /// After each line.
    pub(super) line_end: &'static str,
    /// When a field is in quotes.
    pub(super) quotes: Quotes,
    /// The encoding.
    pub(super) encoding: Encoding,
}

/// A table with a header.
pub(super) struct Sheet {
    header: Vec<String>,
    places: HashMap<String, usize>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// An empty one. Of a name that occurs twice, cells go into the first column.
    pub(super) fn new(header: &str) -> Self {
        let header = names(header);
        let mut places = HashMap::new();
        for (place, name) in header.iter().enumerate() {
            places.entry(name.clone()).or_insert(place);
        }
        Self { header, places, rows: Vec::new() }
    }

    /// Adds a row; cells that are not named are empty.
    #[track_caller]
    pub(super) fn add<'c>(&mut self, cells: impl IntoIterator<Item = (&'c str, String)>) {
        let mut row = vec![String::new(); self.header.len()];
        for (name, text) in cells {
            let place = self.places.get(name).unwrap_or_else(|| panic!("no column is named `{name}`"));
            row[*place] = text;
        }
        self.rows.push(row);
    }

    /// The file.
    pub(super) fn file(&self, form: Form) -> Vec<u8> {
        let lines = std::iter::once(&self.header).chain(&self.rows);
        let mut text = String::new();
        for line in lines {
            let fields: Vec<String> =
                line.iter().map(|field| form.field(&form.encoding.text(field))).collect();
            text.push_str(&fields.join(form.delimiter));
            text.push_str(form.line_end);
        }
        form.encoding.bytes(&text)
    }
}

impl Form {
    fn field(self, text: &str) -> String {
        let is_special = text.contains([',', '"', '\n', '\r', '\t']) || text.contains(self.delimiter);
        match self.quotes {
            Quotes::Never => {
                let breaks = ['\n', '\r', '\t'];
                text.replace(self.delimiter, " ").replace(breaks, " ")
            }
            Quotes::WhenNeeded if !is_special => text.to_owned(),
            _ => format!("\"{}\"", text.replace('"', "\"\"")),
        }
    }
}

/// The names of a header: `a,b{c|d}e` is `a`, `bce`, `bde`. Braces nest.
fn names(header: &str) -> Vec<String> {
    split(header, ',').into_iter().flat_map(expanded).collect()
}

/// The parts of a text between separators that are not in braces.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if letter == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn expanded(name: &str) -> Vec<String> {
    let Some(open) = name.find('{') else { return vec![name.to_owned()] };
    let mut depth = 0;
    let close = name[open..]
        .char_indices()
        .find(|(_, letter)| {
            depth += match letter {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        })
        .map(|(at, _)| open + at)
        .expect("braces are closed");
    let (before, after) = (&name[..open], &name[close + 1..]);
    let choices = split(&name[open + 1..close], '|').into_iter().flat_map(expanded);
    choices.flat_map(|choice| expanded(&format!("{before}{choice}{after}"))).collect()
}
