//! What the lists of queues have in common: which rows are meant, a page of them by their numbers, and how others' texts and
//! times are read and shown.

use chrono_tz::Tz;

use crate::db::{StoredTime, Value};
use crate::period::shown_instant;

/// The most characters of a text in a list: others may write megabytes.
const SHOWN_CHARACTERS: u32 = 1_000;

/// Conditions of a statement, and their values.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Selection {
    /// A condition on a value, which stands where the `?` are, if there is a value.
    pub(super) fn with(mut self, condition: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            let place = self.place(value);
            self.conditions.push(condition.replace('?', &place));
        }
        self
    }

    /// A condition without a value, if there is one.
    pub(super) fn only(mut self, condition: Option<&str>) -> Self {
        self.conditions.extend(condition.map(str::to_owned));
        self
    }

    /// Binds a further value and returns its placeholder.
    pub(super) fn place(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// All conditions.
    pub(super) fn clause(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }
}

/// How many rows to ask for: one more than are shown, to know whether there are more.
pub(super) fn with_one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// Drops the row that is not shown; whether there was one.
pub(super) fn drop_one_more<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let are_more = rows.len() > most;
    rows.truncate(most);
    are_more
}

/// The beginning of a text column, however long it is.
pub(super) fn beginning(column: &str) -> String {
    format!("SUBSTR({column}, 1, {SHOWN_CHARACTERS}) AS {column}")
}

/// A time as shown to people; one that does not exist as it is stored.
pub(super) fn shown_time(at: &StoredTime, time_zone: Tz) -> String {
    match at {
        StoredTime::At(at) => shown_instant(*at, time_zone),
        StoredTime::NotTime(text) => format!("{text} (not a time)"),
    }
}
