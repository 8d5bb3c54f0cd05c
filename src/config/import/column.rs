//! What one of our columns is made of.

use std::fmt;

use regex_lite::Regex;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::OneOrMore;
use super::check::time_format_problem;

/// What one of our columns is made of: in the file, a header, a list of headers of which the first that is not empty counts,
/// or a table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the table")]
pub struct ImportColumn {
    /// Headers, of which the first that is not empty counts.
    pub from: OneOrMore<String>,
    /// The value on every line.
    pub constant: Option<String>,
    /// Joins all headers that are not empty with this.
    pub join: Option<String>,
    /// What to cut out of the text: the regular expression's first group, or `replace`.
    pub pattern: Option<String>,
    /// What the text becomes, with `$1` for the pattern's groups.
    pub replace: Option<String>,
    /// Whether a text that the pattern does not match is taken as it is.
    pub or_whole: bool,
    /// Characters that are dropped at the beginning.
    pub strip: Option<String>,
    /// The ways in which its times are written.
    pub time_format: OneOrMore<String>,
    /// The value of an empty field.
    pub default: Option<String>,
    /// Whether a file without the headers is fine.
    pub optional: bool,
    /// Headers whose amounts are added.
    pub add: OneOrMore<String>,
    /// Headers whose amounts are subtracted.
    pub subtract: OneOrMore<String>,
    /// `order`: the amounts of all lines of an order are added up.
    pub per: Option<Per>,
    /// The header for each of whose values an amount counts once within its order.
    pub once_per: Option<String>,
    /// Whether the amount follows from the others of its order, with those of `add` and `subtract` on top.
    pub computed: bool,
    /// Of the words that the lines of an order have, the first of these counts.
    pub first_of: OneOrMore<String>,
    /// Whether the value is the line's place within its record.
    pub position: bool,
}

/// What a column's amounts are added up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each order.
    Order,
}

impl ImportColumn {
    /// A column that is just in the file, under another name.
    pub fn named(header: &str) -> Self {
        Self { from: OneOrMore(vec![header.to_owned()]), ..Self::default() }
    }

    /// The header, if the column is just that.
    pub fn plain(&self) -> Option<&str> {
        match self.from.as_ref() {
            [header] if *self == Self::named(header) => Some(header),
            _ => None,
        }
    }

    /// Every header that it reads.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let amounts = self.from.iter().chain(self.add.iter()).chain(self.subtract.iter());
        amounts.chain(&self.once_per).map(String::as_str)
    }

    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        let is_sum = !self.add.is_empty() || !self.subtract.is_empty();
        // What is computed may have amounts on top.
        let is_read = !self.from.is_empty() || (is_sum && !self.computed);
        let sources = [self.constant.is_some(), self.computed, self.position, is_read];
        match sources.iter().filter(|is_there| **is_there).count() {
            0 => return wrong("from", "is missing: name the header, or write `constant`"),
            1 => {}
            _ => {
                let problem =
                    "has several sources: keep one of `from`, `constant`, `computed` and `position`";
                return wrong("from", problem);
            }
        }
        if self.headers().any(|header| header.trim().is_empty()) {
            return wrong("from", "has an empty header");
        }
        if let Some(problem) = time_format_problem(&self.time_format) {
            return Some(("time_format", problem));
        }
        if self.join.is_some() && self.from.len() < 2 {
            return wrong("join", "joins several headers: write `from = [\"…\", \"…\"]`");
        }
        if is_sum && (self.join.is_some() || self.pattern.is_some()) {
            return wrong("add", "adds amounts, which are neither joined nor cut");
        }
        if is_sum && self.default.is_some() && self.from.is_empty() {
            return wrong("default", "is for an empty `from`, which the sum does not have");
        }
        if self.once_per.is_some() && self.per.is_some() {
            return wrong(
                "once_per",
                "and `per` exclude each other: the one counts some lines, the other all",
            );
        }
        match (&self.pattern, &self.replace) {
            (None, Some(_)) => wrong("replace", "needs a `pattern`"),
            (None, None) if self.or_whole => wrong("or_whole", "needs a `pattern`"),
            (Some(pattern), replace) => match Regex::new(pattern) {
                Err(error) => Some(("pattern", format!("`{pattern}` is not a regular expression: {error}"))),
                Ok(regex) => {
                    let problem = replace.as_deref().and_then(|replace| unknown_group(replace, &regex))?;
                    Some(("replace", problem))
                }
            },
            (None, None) => None,
        }
    }
}

/// A group that `replace` refers to and that the pattern does not have: it would be replaced by nothing. In `$1x` that is
/// the group of the name `1x`.
fn unknown_group(replace: &str, regex: &Regex) -> Option<String> {
    let groups = regex.captures_len() - 1;
    let mut rest = replace;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        rest = after;
        let name = if let Some(braced) = after.strip_prefix('{') {
            braced.split_once('}')?.0
        } else {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            &after[..after.find(|c| !is_of_name(c)).unwrap_or(after.len())]
        };
        let is_known = match name.parse::<usize>() {
            Ok(number) => number <= groups,
            Err(_) => name.is_empty() || regex.capture_names().flatten().any(|known| known == name),
        };
        if !is_known {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let advice = match name.split_at(digits) {
                ("", _) | (_, "") => format!("the pattern has {groups}"),
                (number, text) => {
                    format!("write `${{{number}}}{text}` for the group {number} and a text after it")
                }
            };
            return Some(format!("`${name}` is not a group: {advice}"));
        }
    }
    None
}

impl<'de> Deserialize<'de> for ImportColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfColumn;
        impl<'de> Visitor<'de> for OfColumn {
            type Value = ImportColumn;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a header in quotes, a list of headers, or a table such as { constant = \"JPY\" }",
                )
            }

            fn visit_str<E: de::Error>(self, header: &str) -> Result<ImportColumn, E> {
                Ok(ImportColumn::named(header))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ImportColumn, A::Error> {
                let mut column = ImportColumn::default();
                while let Some(header) = list.next_element()? {
                    column.from.0.push(header);
                }
                Ok(column)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImportColumn, A::Error> {
                // The derived one: `remote` keeps it beside the trait's.
                ImportColumn::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(OfColumn)
    }
}
