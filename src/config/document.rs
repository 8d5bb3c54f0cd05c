//! Finds keys and their lines in the text of `batchctl.toml`, so that an error fits on one line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::section::DURATION;
use crate::spelling::nearest;

/// The text and its parsed shape.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    tree: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Parses `text`; `file` is its name in errors.
    pub(super) fn parse(file: &'a str, text: &'a str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(tree) => Ok(Self { file, text, tree: tree.into_inner() }),
            Err(error) => {
                let line = line_at(text, error.span().map_or(0, |span| span.start));
                let problem = plain(error.message().replace('\n', ", "));
                Err(ConfigError::File { file: file.to_owned(), line, problem })
            }
        }
    }

    /// An error about the value or key at `path`.
    pub(super) fn error_at(&self, path: &[&str], problem: impl Into<String>) -> ConfigError {
        let offset = find(&self.tree, path).map_or(0, |span| span.start);
        ConfigError::File {
            file: self.file.to_owned(),
            line: line_at(self.text, offset),
            problem: problem.into(),
        }
    }

    /// serde's error in our words: which key, in which section, and what to write.
    pub(super) fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let path = place_of(&self.tree, &span).unwrap_or_default();
        let problem = match backticked(error.message()) {
            Some((field, expected)) if error.message().starts_with("unknown field") => {
                let section = path.split_last().map_or(&[][..], |(_, parents)| parents);
                unknown_key(field, &section.join("."), &expected)
            }
            _ if path.is_empty() => plain(without_values(error.message())),
            _ => format!("`{}`: {}", path.join("."), plain(without_values(error.message()))),
        };
        ConfigError::File { file: self.file.to_owned(), line: line_at(self.text, span.start), problem }
    }
}

/// The error for a key that a section does not have; the section is empty for the file itself.
pub(super) fn unknown_key(key: &str, section: &str, known: &[&str]) -> String {
    let section = if section.is_empty() { String::new() } else { format!(" in `{section}`") };
    format!("unknown key `{key}`{section}{}", advice_or_list(key, known))
}

/// The known name that was meant, or all of them.
pub(super) fn advice_or_list(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(known) => format!(": did you mean `{known}`?"),
        None if known.is_empty() => String::new(),
        None => format!(": known are {}", known.join(", ")),
    }
}

/// The line of a byte, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The first name in backticks, and those after it.
fn backticked(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut names = message.split('`').skip(1).step_by(2);
    Some((names.next()?, names.collect()))
}

/// serde quotes a string of the wrong type or an unknown value; somebody may have put a secret there.
fn without_values(message: &str) -> String {
    let message = message.replace('\n', ", ");
    if let Some(at) = message.find("string \"")
        && let Some(end) = message.rfind("\", expected")
    {
        return format!("{}{}", &message[..at + "string".len()], &message[end + 1..]);
    }
    if message.contains("://")
        && let Some(end) = message.find(", expected")
    {
        return format!("unknown value{}", &message[end..]);
    }
    message
}

/// What to write where a text belongs.
const TEXT: &str = "write a text in quotes";

/// The parser's terms in words for somebody who knows neither TOML nor Rust: what to write.
fn plain(message: String) -> String {
    if message.starts_with("key with no value") {
        return "the key has no value: write `key = value`".to_owned();
    }
    // The parser's own word for a value that is to be one of several names.
    if message == "wanted string or table" {
        return TEXT.to_owned();
    }
    if let Some((found, known)) = unknown_value(&message) {
        return format!("{found} is not known: write {known}");
    }
    match message.rsplit_once(", expected ") {
        Some((_, "f32" | "f64")) => return "write a number, without quotes".to_owned(),
        Some((_, "a boolean")) => return "write true or false, without quotes".to_owned(),
        Some((_, "a string")) => return TEXT.to_owned(),
        Some((_, "a sequence")) => return "write a list, such as [\"a\", \"b\"]".to_owned(),
        Some((_, DURATION)) => return format!("write {DURATION}"),
        _ => {}
    }
    let Some((found, "u8" | "u16" | "u32" | "u64" | "usize" | "i64")) = message.rsplit_once(", expected ")
    else {
        return message;
    };
    let words = if found.starts_with("invalid type: string") {
        "write a whole number, without quotes"
    } else if found.contains("integer `-") {
        "write a whole number that is not negative"
    } else if found.contains("integer `") {
        "the number is too large"
    } else {
        "write a whole number"
    };
    words.to_owned()
}

/// A value that is none of those that there are: what was found, and all that can be written.
fn unknown_value(message: &str) -> Option<(&str, String)> {
    let (found, expected) = message.split_once(", expected ")?;
    let value = found.strip_prefix("unknown variant ").or_else(|| found.strip_prefix("unknown value"))?;
    let known: Vec<String> =
        expected.split('`').skip(1).step_by(2).map(|name| format!("\"{name}\"")).collect();
    let (last, others) = known.split_last()?;
    let known = if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) };
    // A value that may be a secret was taken out before.
    Some((if value.is_empty() { "the value" } else { value }, known))
}

/// A key as TOML writes it.
fn written(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}

/// The span of the key at `path`; elements of arrays are numbers from 0.
fn find(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (key, rest) = path.split_first()?;
    let (found, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    find_in(value, rest).or_else(|| Some(found.span()))
}

fn find_in(value: &Spanned<DeValue<'_>>, path: &[&str]) -> Option<Range<usize>> {
    let (key, rest) = path.split_first()?;
    match value.get_ref() {
        DeValue::Table(table) => find(table, path),
        DeValue::Array(array) => {
            let element = array.get(key.parse::<usize>().ok()?)?;
            find_in(element, rest).or_else(|| Some(element.span()))
        }
        _ => None,
    }
}

/// The path of the key or value at `span`: the narrowest that contains it.
fn place_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let mut best = None;
    visit_table(table, &mut Vec::new(), span, &mut best);
    best.map(|(_, path)| path)
}

/// The width of the narrowest place so far, and its path.
type Best = Option<(usize, Vec<String>)>;

fn visit_table(table: &DeTable<'_>, path: &mut Vec<String>, span: &Range<usize>, best: &mut Best) {
    for (key, value) in table {
        path.push(written(key.get_ref()));
        consider(&key.span(), path, span, best);
        visit_value(value, path, span, best);
        path.pop();
    }
}

fn visit_value(value: &Spanned<DeValue<'_>>, path: &mut Vec<String>, span: &Range<usize>, best: &mut Best) {
    consider(&value.span(), path, span, best);
    match value.get_ref() {
        DeValue::Table(table) => visit_table(table, path, span, best),
        DeValue::Array(array) => {
            for element in array {
                visit_value(element, path, span, best);
            }
        }
        _ => {}
    }
}

fn consider(candidate: &Range<usize>, path: &[String], span: &Range<usize>, best: &mut Best) {
    let holds = candidate.start <= span.start && span.end <= candidate.end;
    if holds && best.as_ref().is_none_or(|(width, _)| candidate.len() < *width) {
        *best = Some((candidate.len(), path.to_vec()));
    }
}
