//! What a section chooses among a few words: how a file is written, and what stands for what it does not say.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holdings {
    /// Everything of the days from that of its first line on, up to its export.
    Period,
}

/// What a `"` in a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quotes {
    /// It encloses a field.
    #[default]
    Enclose,
    /// It is a character like any other.
    Text,
    /// It encloses a field on each line that can be read so, and is text on each that can be read only without.
    Auto,
}

impl From<bool> for Quotes {
    fn from(encloses: bool) -> Self {
        if encloses { Self::Enclose } else { Self::Text }
    }
}

impl<'de> Deserialize<'de> for Quotes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfQuotes;
        impl Visitor<'_> for OfQuotes {
            type Value = Quotes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true, false or \"auto\"")
            }

            fn visit_bool<E: de::Error>(self, encloses: bool) -> Result<Quotes, E> {
                Ok(encloses.into())
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Quotes, E> {
                match word {
                    "auto" => Ok(Quotes::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(OfQuotes)
    }
}

/// What to do about headers that occur more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateHeaders {
    /// The first one counts.
    First,
}

/// The payment day of a paid order that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaidWithoutTime {
    /// The line is bad.
    #[default]
    Refuse,
    /// When it was ordered.
    OrderedAt,
    /// When it was last changed.
    UpdatedAt,
}

/// The day of a cancellation that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledWithoutTime {
    /// When the order was last changed.
    #[default]
    UpdatedAt,
    /// When it was paid, else when it was ordered.
    PaidAt,
    /// When it was ordered.
    OrderedAt,
    /// The line is bad.
    Refuse,
}

/// What was paid back of an order whose money went back, if no amount says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundedWithoutAmount {
    /// All of it.
    #[default]
    Total,
    /// The line is bad.
    Refuse,
    /// Nothing that an order's file knows.
    Keep,
}

/// What becomes of an order of which more was paid back than it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundedAboveTotal {
    /// The line is bad.
    #[default]
    Refuse,
    /// It was paid back.
    Keep,
}
