//! Reads a row, or says which row cannot be read and why.
//!
//! PostgreSQL's times reach further than a calendar: `infinity`, and years of six digits. The driver computes with them
//! and panics, so they are looked for before it sees them. On SQLite any program can have put any text into a column.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, ColumnIndex, Decode, FromRow, Row as _, Type, TypeInfo, ValueRef};

use super::DbError;
use super::error::Place;
use crate::printable::{escaped, shortened};

/// How much of a row's key is shown.
const KEY_CHARACTERS: usize = 60;
/// What a column is called that tells rows apart, best first; `…` is any beginning.
const KEYS: [&str; 5] = ["id", "…_id", "…_code", "…_number", "…_key"];
/// Times outside these years are mistakes, and arithmetic with them overflows.
pub(super) const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// A row of PostgreSQL.
pub(super) fn postgres<T: for<'r> FromRow<'r, PgRow>>(
    row: &PgRow,
    sql: &str,
    place: &Place,
) -> Result<T, DbError> {
    refuse_impossible_times(row, sql)?;
    T::from_row(row).map_err(|error| unreadable(&error, row, sql, place))
}

/// A row of SQLite.
pub(super) fn sqlite<T: for<'r> FromRow<'r, SqliteRow>>(
    row: &SqliteRow,
    sql: &str,
    place: &Place,
) -> Result<T, DbError> {
    T::from_row(row).map_err(|error| unreadable(&error, row, sql, place))
}

/// The error of a row that does not hold what its columns promise. Its values are not shown: they may be anybody's.
fn unreadable<R>(error: &sqlx::Error, row: &R, sql: &str, place: &Place) -> DbError
where
    R: sqlx::Row,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    usize: ColumnIndex<R>,
{
    match error {
        sqlx::Error::ColumnDecode { index, source } => {
            let column = index.trim_matches('"');
            // By number, where a tuple is read.
            let column = column
                .parse()
                .ok()
                .and_then(|index: usize| row.columns().get(index))
                .map_or(column, Column::name);
            let problem = format!("cannot be read: {source}");
            DbError::row(column, key_of(row).as_deref(), &problem, sql)
        }
        error => DbError::query(error, sql, place),
    }
}

/// Refuses a time or a day that is not in the calendar.
fn refuse_impossible_times(row: &PgRow, sql: &str) -> Result<(), DbError> {
    for (index, column) in row.columns().iter().enumerate() {
        let is_time = match column.type_info().name() {
            "TIMESTAMPTZ" | "TIMESTAMP" => true,
            "DATE" => false,
            _ => continue,
        };
        let Ok(value) = row.try_get_raw(index) else { continue };
        if value.is_null() || value.format() != PgValueFormat::Binary {
            continue;
        }
        let bytes = value.as_bytes().unwrap_or_default();
        let is_possible = if is_time {
            bytes.try_into().is_ok_and(|bytes| is_possible_time(i64::from_be_bytes(bytes)))
        } else {
            bytes.try_into().is_ok_and(|bytes| is_possible_day(i32::from_be_bytes(bytes)))
        };
        if !is_possible {
            let problem = "is not between the years 1 and 9999, such as `infinity`";
            return Err(DbError::row(column.name(), key_of(row).as_deref(), problem, sql));
        }
    }
    Ok(())
}

/// Whether microseconds since 2000 (PostgreSQL's manual, 8.5) are a time of the calendar.
fn is_possible_time(microseconds: i64) -> bool {
    use chrono::Datelike as _;
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default().and_time(chrono::NaiveTime::MIN);
    let time: Option<DateTime<Utc>> =
        epoch.checked_add_signed(TimeDelta::microseconds(microseconds)).map(|time| time.and_utc());
    time.is_some_and(|time| YEARS.contains(&time.year()))
}

/// Whether days since 2000 are a day of the calendar.
fn is_possible_day(days: i32) -> bool {
    use chrono::Datelike as _;
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
    epoch.checked_add_signed(TimeDelta::days(days.into())).is_some_and(|day| YEARS.contains(&day.year()))
}

/// What tells the row apart, as `id 17`, if it has such a column.
fn key_of<R>(row: &R) -> Option<String>
where
    R: sqlx::Row,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    usize: ColumnIndex<R>,
{
    let is_named = |name: &str, key: &str| match key.strip_prefix('…') {
        Some(end) => name.ends_with(end),
        None => name == key,
    };
    let find = |key: &&str| row.columns().iter().find(|column| is_named(column.name(), key));
    let column = KEYS.iter().find_map(find)?;
    let number = row.try_get::<i64, _>(column.ordinal()).map(|number| number.to_string());
    let value = number.or_else(|_| row.try_get::<String, _>(column.ordinal())).ok()?;
    Some(format!("{} {}", column.name(), shortened(&escaped(&value), KEY_CHARACTERS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::db::{DbErrorKind, Kind};
    use crate::values;

    on_both_databases![
        a_value_that_cannot_be_read_is_named_with_its_row,
        a_time_that_no_calendar_has_is_an_error_and_a_far_one_is_not,
        the_schema_takes_no_time_that_no_calendar_has,
    ];

    async fn a_value_that_cannot_be_read_is_named_with_its_row(db: &mut TestDb) {
        let sql = db.pick(
            "SELECT 17 AS id, '2026-02-30T00:00:00+00:00' AS due_at",
            "SELECT CAST(17 AS BIGINT) AS id, CAST('infinity' AS TIMESTAMPTZ) AS due_at",
        );
        let error = db.fetch_all::<(i64, DateTime<Utc>)>(sql, vec![]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the row with id 17 has a `due_at` that "), "{text}");
        assert_eq!(error.kind(), DbErrorKind::Other);
        // The connection is as good as before.
        let (one,): (i64,) = db.fetch_one("SELECT CAST($1 AS BIGINT)", values![1]).await.unwrap();
        assert_eq!(one, 1);
    }

    async fn a_time_that_no_calendar_has_is_an_error_and_a_far_one_is_not(db: &mut TestDb) {
        if db.kind() == Kind::Sqlite {
            // Here a time is a text, which is read as it is.
            let far = "SELECT '9999-12-31T23:59:59.999999+00:00'";
            assert!(db.fetch_one::<(DateTime<Utc>,)>(far, vec![]).await.is_ok());
            assert!(db.fetch_one::<(DateTime<Utc>,)>("SELECT 'infinity'", vec![]).await.is_err());
            return;
        }
        for time in [
            "infinity",
            "-infinity",
            "294276-12-31T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "0001-12-31T00:00:00Z BC",
        ] {
            let sql = format!("SELECT CAST('{time}' AS TIMESTAMPTZ)");
            assert!(db.fetch_optional::<(DateTime<Utc>,)>(&sql, vec![]).await.is_err(), "{time}");
        }
        for day in ["infinity", "-infinity", "5874897-12-31", "10000-01-01", "0001-12-31 BC"] {
            let sql = format!("SELECT CAST('{day}' AS DATE)");
            assert!(db.fetch_one::<(NaiveDate,)>(&sql, vec![]).await.is_err(), "{day}");
        }
        let sql = "SELECT CAST('0001-01-01T00:00:00Z' AS TIMESTAMPTZ), CAST('9999-12-31' AS DATE), CAST(NULL AS DATE)";
        let (first, last, none): (DateTime<Utc>, NaiveDate, Option<NaiveDate>) =
            db.fetch_one(sql, vec![]).await.unwrap();
        assert_eq!(
            (first.to_rfc3339(), last.to_string(), none),
            ("0001-01-01T00:00:00+00:00".into(), "9999-12-31".into(), None)
        );
    }

    /// On SQLite a text is whatever it is; there the error above is all there is.
    async fn the_schema_takes_no_time_that_no_calendar_has(db: &mut TestDb) {
        if db.kind() == Kind::Sqlite {
            return;
        }
        let unchecked = "SELECT columns.table_name || '.' || columns.column_name FROM information_schema.columns
             JOIN information_schema.tables USING (table_schema, table_name)
             WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
               AND data_type IN ('date', 'timestamp with time zone') AND table_name NOT LIKE '\\_%'
               AND NOT EXISTS (SELECT 1 FROM pg_constraint
                               WHERE conrelid = to_regclass(columns.table_name) AND contype = 'c'
                                 AND conname = columns.table_name || '_' || columns.column_name || '_is_in_calendar')
             ORDER BY 1";
        let unchecked: Vec<(String,)> = db.fetch_all(unchecked, vec![]).await.unwrap();
        assert_eq!(unchecked, Vec::<(String,)>::new(), "give them a CHECK as 0013_hostile_rows.sql does");
        // Each of them says what it is named for.
        let rules = "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                     WHERE connamespace = CAST(current_schema() AS regnamespace) AND conname LIKE '%_is_in_calendar'";
        let rules: Vec<(String,)> = db.fetch_all(rules, vec![]).await.unwrap();
        assert!(rules.len() > 50, "{}", rules.len());
        for (rule,) in &rules {
            let has_bounds = rule.contains(">= '0001-01-01") && rule.contains("<= '9999-12-31");
            assert!(has_bounds, "{rule}");
        }
        for time in ["infinity", "-infinity", "10000-01-01T00:00:00Z"] {
            let sql = format!(
                "INSERT INTO batch_lease (exclusion_key, epoch, updated_at) VALUES ('a', 1, '{time}')"
            );
            let error = db.execute(&sql, vec![]).await.unwrap_err();
            assert_eq!(error.kind(), DbErrorKind::Constraint, "{error}");
        }
    }
}
