//! Rows that can be read whatever other programs put into them.
//!
//! A struct with a field `#[row(problems)] problems: Problems` never fails the query that it is read by. A value that is
//! none of its column's kind, SQLite's bytes that are not UTF-8 or a day that no month has, is replaced by what is nearest
//! to it, and noted: the row is its own item, which fails by name, and the rows beside it are done.

use std::fmt;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use serde::{Serialize, Serializer};
use sqlx::{Column as _, ColumnIndex, Decode, Type};

use super::StoredText;
use super::decode::YEARS;
use crate::failure::Failure;
use crate::printable::{escaped, shortened};

/// The longest text that is kept: pages of hundreds of rows are in memory at once.
const LONGEST_TEXT: usize = 1024 * 1024;
/// How much of a longer one is kept, to be shown.
const SHOWN_OF_LONG: usize = 200;
/// How much is shown of what is not a time.
const SHOWN_CHARACTERS: usize = 40;

/// What cannot be read of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    column: String,
    text: String,
}

impl Problems {
    /// Whether the row holds what its columns promise.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this column is one that cannot be read.
    pub fn include(&self, column: &str) -> bool {
        self.0.iter().any(|problem| problem.column == column)
    }

    /// Whether a column other than this one cannot be read.
    pub fn include_other_than(&self, column: &str) -> bool {
        self.0.iter().any(|problem| problem.column != column)
    }

    /// The error of an item whose row cannot be read.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_empty() { Ok(()) } else { Err(Failure::bad_input(self.to_string())) }
    }

    /// The value of a column; if it cannot be read, what is nearest to it. What the derived code calls.
    pub fn read<'r, T, R>(&mut self, row: &'r R, column: &str) -> sqlx::Result<T>
    where
        R: sqlx::Row,
        T: Instead + Decode<'r, R::Database> + Type<R::Database>,
        StoredText: Decode<'r, R::Database>,
        for<'c> &'c str: ColumnIndex<R>,
    {
        let error = match row.try_get::<T, _>(column) {
            Ok(value) if value.is_sound() => return Ok(value),
            Ok(_) => None,
            Err(error @ sqlx::Error::ColumnDecode { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let raw = row.try_get_raw(column)?;
        let stored = StoredText::decode(raw).map_err(sqlx::Error::Decode)?;
        let Some(value) = T::instead(stored.shown()) else {
            return Err(error.unwrap_or(sqlx::Error::RowNotFound));
        };
        let origin = row.column(column).origin();
        let (table, name) = match origin.table_column() {
            Some(stored) => (format!(" of `{}`", stored.table), stored.name.to_string()),
            None => (String::new(), column.to_owned()),
        };
        let text = format!("the column `{name}`{table} holds {}", T::problem(stored.shown()));
        self.0.push(Problem { column: column.to_owned(), text });
        Ok(value)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|problem| problem.text.as_str()).collect();
        formatter.write_str(&texts.join("; "))
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|problem| &problem.text))
    }
}

/// What stands in for a value that cannot be read.
pub trait Instead: Sized {
    /// What is nearest to what is stored; `None` if the database itself keeps such values out.
    fn instead(stored: &str) -> Option<Self>;

    /// What is stored, as the end of a sentence. A text may be anybody's name and is not shown.
    fn problem(stored: &str) -> String;

    /// Whether a value that could be read can be worked with.
    fn is_sound(&self) -> bool {
        true
    }
}

impl Instead for String {
    fn instead(stored: &str) -> Option<Self> {
        let kept = if stored.len() > LONGEST_TEXT { SHOWN_OF_LONG } else { LONGEST_TEXT };
        Some(shortened(stored, kept).into_owned())
    }

    fn problem(stored: &str) -> String {
        match stored.len() {
            bytes if bytes > LONGEST_TEXT => format!("a text of {} MiB", bytes / LONGEST_TEXT),
            _ => "a text that is not UTF-8".to_owned(),
        }
    }

    fn is_sound(&self) -> bool {
        self.len() <= LONGEST_TEXT
    }
}

impl Instead for DateTime<Utc> {
    fn instead(_: &str) -> Option<Self> {
        Some(Self::UNIX_EPOCH)
    }

    fn problem(stored: &str) -> String {
        format!("`{}`, which is not a time", shortened(&escaped(stored), SHOWN_CHARACTERS))
    }

    fn is_sound(&self) -> bool {
        YEARS.contains(&self.year())
    }
}

impl Instead for NaiveDate {
    fn instead(_: &str) -> Option<Self> {
        Some(Self::default())
    }

    fn problem(stored: &str) -> String {
        format!("`{}`, which is not a day", shortened(&escaped(stored), SHOWN_CHARACTERS))
    }

    fn is_sound(&self) -> bool {
        YEARS.contains(&self.year())
    }
}

impl<T: Instead> Instead for Option<T> {
    fn instead(stored: &str) -> Option<Self> {
        T::instead(stored).map(Some)
    }

    fn problem(stored: &str) -> String {
        T::problem(stored)
    }

    fn is_sound(&self) -> bool {
        self.as_ref().is_none_or(T::is_sound)
    }
}

/// Kinds that the tables hold by themselves: they are STRICT on SQLite.
macro_rules! kept_by_the_tables {
    ($($kind:ty),*) => {$(
        impl Instead for $kind {
            fn instead(_: &str) -> Option<Self> {
                None
            }

            fn problem(_: &str) -> String {
                "a value of another kind".to_owned()
            }
        }
    )*};
}
kept_by_the_tables!(i64, bool);
