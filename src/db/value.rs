//! A value bound to a placeholder, and the `values!` list that statements take.

use chrono::{DateTime, NaiveDate, Utc};

/// A value bound to a placeholder. A NULL keeps its type, which PostgreSQL needs to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// BOOLEAN; 0 or 1 on SQLite.
    Bool(Option<bool>),
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// An instant in UTC.
    Time(Option<DateTime<Utc>>),
    /// A local day.
    Date(Option<NaiveDate>),
    /// Raw bytes: BYTEA on PostgreSQL, BLOB on SQLite.
    Bytes(Option<Vec<u8>>),
    /// A JSON document (JSONB on PostgreSQL, text on SQLite).
    Json(Option<serde_json::Value>),
}

/// Implements the conversions from a Rust type and from an optional one.
macro_rules! value_from {
    ($($variant:ident: $type:ty),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self { Self::$variant(Some(value)) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { Self::$variant(value) }
        }
    )*};
}
value_from!(Bool: bool, Int: i64, Text: String, Time: DateTime<Utc>, Date: NaiveDate, Bytes: Vec<u8>, Json: serde_json::Value);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

/// The list of values for a statement's placeholders: `values![day, mall.id, None::<i64>]`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}
