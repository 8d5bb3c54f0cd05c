//! What lines with certain values mean.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::OneOrMore;

/// What lines with certain values mean.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportRule {
    /// What the summary calls it.
    pub name: Option<String>,
    /// Headers and the words that each of them may have: `*` is any, an empty one is an empty field.
    pub when: BTreeMap<String, OneOrMore<String>>,
    /// Our columns and their values on such lines.
    pub set: BTreeMap<String, String>,
    /// Leaves out such lines, or their whole records. Beside `set`, a record stays of which no other line is left.
    pub skip: Option<Skip>,
    /// Whether a file without one of the headers is fine; then the rule never applies.
    pub optional: bool,
}

/// What a rule leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The record if only its own columns read the rule's headers, else the line.
    Either,
    /// The line.
    Line,
    /// The whole record.
    Order,
}

impl ImportRule {
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        if self.when.is_empty() {
            return Some(("when", "is missing: name the headers and their words".to_owned()));
        }
        if self.set.is_empty() && self.skip.is_none() {
            return Some(("when", "needs either `set` or `skip`".to_owned()));
        }
        if !self.set.is_empty() && self.skip.is_some_and(|skip| skip != Skip::Line) {
            let problem =
                "beside `set` has to be \"line\": an order of which no line is left becomes what `set` says";
            return Some(("skip", problem.to_owned()));
        }
        let (header, _) = self.when.iter().find(|(_, words)| words.is_empty())?;
        Some(("when", format!("`{header}` has no words: `*` is any, `\"\"` is an empty field")))
    }
}

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfSkip;
        impl Visitor<'_> for OfSkip {
            type Value = Skip;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"line\", \"order\" or true")
            }

            fn visit_bool<E: de::Error>(self, skips: bool) -> Result<Skip, E> {
                if skips {
                    Ok(Skip::Either)
                } else {
                    Err(E::invalid_value(de::Unexpected::Bool(false), &self))
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Skip, E> {
                match word {
                    "line" => Ok(Skip::Line),
                    "order" => Ok(Skip::Order),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(OfSkip)
    }
}
