//! Columns that other programs write. What this program could not have written, SQLite's bytes that are not UTF-8 or a time
//! that does not exist, is a problem of its row: a column of one of these types never fails a whole query.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Postgres, Sqlite, Type};

use super::{Instead, Value};

/// A text as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredText {
    /// A text.
    Text(String),
    /// Bytes that are not UTF-8, with U+FFFD in the place of those that are not.
    NotText(String),
}

impl StoredText {
    /// The text, or what is wrong with it.
    pub fn read(self) -> Result<String, &'static str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::NotText(_) => Err("the text is not UTF-8"),
        }
    }

    /// The text for people.
    pub fn shown(&self) -> &str {
        match self {
            Self::Text(text) | Self::NotText(text) => text,
        }
    }
}

impl Serialize for StoredText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl Type<Sqlite> for StoredText {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }

    fn compatible(stored: &SqliteTypeInfo) -> bool {
        <String as Type<Sqlite>>::compatible(stored)
    }
}

impl<'r> Decode<'r, Sqlite> for StoredText {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let bytes = <Vec<u8> as Decode<Sqlite>>::decode(value)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::NotText(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        })
    }
}

impl Type<Postgres> for StoredText {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }

    fn compatible(stored: &PgTypeInfo) -> bool {
        <String as Type<Postgres>>::compatible(stored)
    }
}

impl<'r> Decode<'r, Postgres> for StoredText {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        // The server has checked it.
        <String as Decode<Postgres>>::decode(value).map(Self::Text)
    }
}

/// A text that rows are ordered by, byte for byte as it is stored: where the next page begins, also after a row whose text
/// is none. See [`super::Db::stored_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKey {
    /// On SQLite.
    Bytes(Vec<u8>),
    /// On PostgreSQL.
    Text(String),
}

impl StoredKey {
    /// Before the first row.
    pub fn first() -> Self {
        Self::Text(String::new())
    }
}

impl From<&StoredKey> for Value {
    fn from(key: &StoredKey) -> Self {
        match key {
            StoredKey::Bytes(bytes) => bytes.clone().into(),
            StoredKey::Text(text) => text.into(),
        }
    }
}

impl Instead for StoredKey {
    fn instead(_: &str) -> Option<Self> {
        None
    }

    fn problem(_: &str) -> String {
        "a value of another kind".to_owned()
    }
}

impl Type<Sqlite> for StoredKey {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl<'r> Decode<'r, Sqlite> for StoredKey {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <Vec<u8> as Decode<Sqlite>>::decode(value).map(Self::Bytes)
    }
}

impl Type<Postgres> for StoredKey {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }

    fn compatible(stored: &PgTypeInfo) -> bool {
        <String as Type<Postgres>>::compatible(stored)
    }
}

impl<'r> Decode<'r, Postgres> for StoredKey {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <String as Decode<Postgres>>::decode(value).map(Self::Text)
    }
}

/// An instant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredTime {
    /// An instant.
    At(DateTime<Utc>),
    /// Something else: a day that no month has, `infinity`.
    NotTime(String),
}

impl StoredTime {
    /// The instant, or what is wrong with it.
    pub fn read(&self) -> Result<DateTime<Utc>, String> {
        match self {
            Self::At(at) => Ok(*at),
            Self::NotTime(text) => Err(format!("`{text}` is not a time")),
        }
    }

    /// The instant, if it is one.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        self.read().ok()
    }
}

impl Serialize for StoredTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(at) => at.serialize(serializer),
            Self::NotTime(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for StoredTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(formatter),
            Self::NotTime(text) => formatter.write_str(text),
        }
    }
}

impl Type<Sqlite> for StoredTime {
    fn type_info() -> SqliteTypeInfo {
        <DateTime<Utc> as Type<Sqlite>>::type_info()
    }

    fn compatible(stored: &SqliteTypeInfo) -> bool {
        <String as Type<Sqlite>>::compatible(stored) || <DateTime<Utc> as Type<Sqlite>>::compatible(stored)
    }
}

impl<'r> Decode<'r, Sqlite> for StoredTime {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(match <StoredText as Decode<Sqlite>>::decode(value)? {
            StoredText::Text(text) => parsed(&text).map_or(Self::NotTime(text), Self::At),
            StoredText::NotText(shown) => Self::NotTime(shown),
        })
    }
}

/// A time as this program writes it, or as SQLite's own functions do.
fn parsed(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%F %T%.f").ok().map(|at| at.and_utc())
}

impl Type<Postgres> for StoredTime {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }

    fn compatible(stored: &PgTypeInfo) -> bool {
        <DateTime<Utc> as Type<Postgres>>::compatible(stored)
    }
}

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts microseconds, in seconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800;

impl<'r> Decode<'r, Postgres> for StoredTime {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return <DateTime<Utc> as Decode<Postgres>>::decode(value).map(Self::At);
        }
        // Not as the driver does, which panics on an instant that it cannot represent.
        let microseconds = <i64 as Decode<Postgres>>::decode(value)?;
        let epoch = DateTime::from_timestamp(POSTGRES_EPOCH, 0);
        Ok(match (microseconds, epoch) {
            (i64::MAX, _) => Self::NotTime("infinity".to_owned()),
            (i64::MIN, _) => Self::NotTime("-infinity".to_owned()),
            (_, Some(epoch)) => match epoch.checked_add_signed(TimeDelta::microseconds(microseconds)) {
                Some(at) => Self::At(at),
                None => Self::NotTime(format!("2000-01-01 + {microseconds} µs")),
            },
            (_, None) => Self::NotTime(microseconds.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, at, on_both_databases};
    use crate::db::{Db, Kind};
    use crate::values;

    on_both_databases![a_value_that_is_none_fails_only_itself, a_value_is_read_as_it_is];

    async fn times(db: &mut Db, sql: &str) -> Vec<StoredTime> {
        db.fetch_all::<(StoredTime,)>(sql, values![]).await.unwrap().into_iter().map(|(time,)| time).collect()
    }

    async fn a_value_that_is_none_fails_only_itself(db: &mut TestDb) {
        let not_time = |text: &str| StoredTime::NotTime(text.to_owned());
        // PostgreSQL holds only times, and our tables only those of the calendar.
        if db.kind() == Kind::Sqlite {
            let sql = "SELECT * FROM (VALUES ('2026-02-30T00:00:00+00:00'), ('2026-11-20T24:00:00+00:00'),
                                             (CAST(x'ff' AS TEXT)))";
            let found = ["2026-02-30T00:00:00+00:00", "2026-11-20T24:00:00+00:00", "\u{fffd}"];
            assert_eq!(times(db, sql).await, found.map(not_time));
        }
        let text = db.pick("SELECT CAST(x'61ff62' AS TEXT)", "SELECT CAST('a' AS TEXT)");
        let (text,): (StoredText,) = db.fetch_one(text, values![]).await.unwrap();
        let expected = db.pick((Err("the text is not UTF-8"), "a\u{fffd}b"), (Ok("a".to_owned()), "a"));
        assert_eq!((text.clone().read(), text.shown()), expected);
    }

    async fn a_value_is_read_as_it_is(db: &mut TestDb) {
        let given = at("2026-11-20T10:00:00.123456Z");
        let (time, text, none): (StoredTime, StoredText, Option<StoredText>) = db
            .fetch_one("SELECT $1, CAST($2 AS TEXT), CAST(NULL AS TEXT)", values![given, "雪"])
            .await
            .unwrap();
        assert_eq!((time, text, none), (StoredTime::At(given), StoredText::Text("雪".to_owned()), None));
    }
}
