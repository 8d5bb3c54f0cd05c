//! Values of both databases as text, the same on both. The steps' own tests in `src/` also read their database through
//! this file.

use chrono::{DateTime, FixedOffset, SecondsFormat};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, TypeInfo, ValueRef};

/// What a NULL looks like in a result.
const NULL: &str = "NULL";

/// SQLite turns any value into text; bytes are shown as PostgreSQL shows them.
pub(crate) fn sqlite_row(row: &SqliteRow) -> Vec<String> {
    let value = |index| {
        let raw = row.try_get_raw(index).expect("the column is there");
        if raw.is_null() {
            return NULL.to_owned();
        }
        if raw.type_info().name() == "BLOB" {
            let bytes: Vec<u8> = row.try_get_unchecked(index).expect("a blob is bytes");
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return format!("\\x{}", digits.concat());
        }
        row.try_get_unchecked(index).expect("any other value has a text")
    };
    (0..row.len()).map(value).collect()
}

/// As SQLite would have it: a boolean as 1 or 0, an instant as RFC 3339 in UTC.
pub(crate) fn postgres_row(row: &PgRow) -> Vec<String> {
    let value = |index| {
        let value = row.try_get_raw(index).expect("the column is there");
        if value.is_null() {
            return NULL.to_owned();
        }
        let text = value.as_str().expect("the simple protocol sends text");
        match row.column(index).type_info().name() {
            "BOOL" => if text == "t" { "1" } else { "0" }.to_owned(),
            "TIMESTAMPTZ" => {
                let instant = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
                instant_text(instant.unwrap_or_else(|error| panic!("{text}: {error}")))
            }
            _ => text.to_owned(),
        }
    };
    (0..row.len()).map(value).collect()
}

/// An instant as sqlx writes it to SQLite, which PostgreSQL can also read.
pub(crate) fn instant_text(instant: DateTime<FixedOffset>) -> String {
    instant.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
