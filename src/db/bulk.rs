//! Bulk loads: COPY on PostgreSQL, one prepared statement over a JSON array on SQLite.
//!
//! On SQLite a statement a row costs a round trip to the driver's thread each; one statement that reads the rows
//! from a JSON array moves the loop into the database, as COPY does.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use sqlx::{Arguments, AssertSqlSafe};

use super::{Conn, Db, DbError, Kind};

/// Rows on their way into a table, in the form the database loads fastest. Values are pushed column by column in
/// the order given to [`Bulk::new`]; [`Bulk::end_row`] closes a row. The caller bounds how many rows it holds.
pub struct Bulk {
    kind: Kind,
    table: &'static str,
    columns: &'static [&'static str],
    buffer: String,
    column: usize,
    rows: usize,
}

impl Bulk {
    /// An empty load into `columns` of `table`.
    pub fn new(db: &Db, table: &'static str, columns: &'static [&'static str]) -> Self {
        Self { kind: db.kind(), table, columns, buffer: String::new(), column: 0, rows: 0 }
    }

    /// How many rows are waiting.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row is waiting.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a BIGINT.
    pub fn int(&mut self, value: impl Into<Option<i64>>) {
        match value.into() {
            Some(value) => {
                self.separate();
                // Writing to a String cannot fail.
                let _ = write!(self.buffer, "{value}");
            }
            None => self.null(),
        }
    }

    /// Adds a BOOLEAN.
    pub fn boolean(&mut self, value: bool) {
        self.separate();
        self.buffer.push_str(match (self.kind, value) {
            (Kind::Sqlite, true) => "1",
            (Kind::Sqlite, false) => "0",
            (Kind::Postgres, true) => "t",
            (Kind::Postgres, false) => "f",
        });
    }

    /// Adds a TEXT.
    pub fn text<'t>(&mut self, value: impl Into<Option<&'t str>>) {
        let Some(value) = value.into() else { return self.null() };
        self.separate();
        match self.kind {
            Kind::Sqlite => push_json_string(&mut self.buffer, value),
            Kind::Postgres => push_copy_text(&mut self.buffer, value),
        }
    }

    /// Adds an instant, in the very form the driver writes single values in, so that both sort together.
    pub fn time(&mut self, value: impl Into<Option<DateTime<Utc>>>) {
        match value.into() {
            Some(value) => self.plain(&value.to_rfc3339_opts(SecondsFormat::AutoSi, false)),
            None => self.null(),
        }
    }

    /// Adds a day.
    pub fn date(&mut self, value: impl Into<Option<NaiveDate>>) {
        match value.into() {
            Some(value) => self.plain(&value.to_string()),
            None => self.null(),
        }
    }

    /// Closes the row.
    pub fn end_row(&mut self) {
        debug_assert_eq!(self.column, self.columns.len(), "a row of {} is incomplete", self.table);
        self.buffer.push(match self.kind {
            Kind::Sqlite => ']',
            Kind::Postgres => '\n',
        });
        self.column = 0;
        self.rows += 1;
    }

    /// A text that needs no escaping on either side.
    fn plain(&mut self, value: &str) {
        self.separate();
        match self.kind {
            Kind::Sqlite => {
                self.buffer.push('"');
                self.buffer.push_str(value);
                self.buffer.push('"');
            }
            Kind::Postgres => self.buffer.push_str(value),
        }
    }

    fn null(&mut self) {
        self.separate();
        self.buffer.push_str(match self.kind {
            Kind::Sqlite => "null",
            Kind::Postgres => "\\N",
        });
    }

    /// What stands before the next value: a row's opening or the separator.
    fn separate(&mut self) {
        match (self.kind, self.column) {
            (Kind::Sqlite, 0) => self.buffer.push_str(if self.rows == 0 { "[" } else { ",[" }),
            (Kind::Sqlite, _) => self.buffer.push(','),
            (Kind::Postgres, 0) => {}
            (Kind::Postgres, _) => self.buffer.push('\t'),
        }
        self.column += 1;
    }
}

impl Db {
    /// Loads the rows and leaves `bulk` empty for the next ones. Gives the number of rows loaded.
    pub async fn load(&mut self, bulk: &mut Bulk) -> Result<u64, DbError> {
        if bulk.is_empty() {
            return Ok(0);
        }
        let columns = bulk.columns.join(", ");
        let loaded = match &mut self.conn {
            Conn::Sqlite(connection) => {
                let mut sql = format!("INSERT INTO {} ({columns}) SELECT ", bulk.table);
                for position in 0..bulk.columns.len() {
                    let _ = write!(sql, "{}value ->> {position}", if position == 0 { "" } else { ", " });
                }
                sql.push_str(" FROM json_each($1)");
                let rows = format!("[{}]", bulk.buffer);
                let mut arguments = sqlx::sqlite::SqliteArguments::default();
                arguments.add(rows).map_err(|error| DbError::argument(&error))?;
                let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await;
                done.map(|done| done.rows_affected())
            }
            Conn::Postgres(connection) => {
                let statement = format!("COPY {} ({columns}) FROM STDIN", bulk.table);
                async {
                    let mut copy = connection.copy_in_raw(&statement).await?;
                    copy.send(bulk.buffer.as_bytes()).await?;
                    copy.finish().await
                }
                .await
            }
        };
        bulk.buffer.clear();
        bulk.rows = 0;
        bulk.column = 0;
        loaded.map_err(|error| DbError::query(&error, &format!("load {}", bulk.table)))
    }
}

/// COPY's text format (PostgreSQL's manual, "COPY", File Formats).
fn push_copy_text(buffer: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '\t', '\n', '\r']) {
        let mut characters = part.chars();
        match characters.next_back() {
            Some(special @ ('\\' | '\t' | '\n' | '\r')) => {
                buffer.push_str(characters.as_str());
                buffer.push_str(match special {
                    '\\' => "\\\\",
                    '\t' => "\\t",
                    '\n' => "\\n",
                    _ => "\\r",
                });
            }
            _ => buffer.push_str(part),
        }
    }
}

/// A JSON string (RFC 8259 section 7).
fn push_json_string(buffer: &mut String, value: &str) {
    buffer.push('"');
    for character in value.chars() {
        match character {
            '"' => buffer.push_str("\\\""),
            '\\' => buffer.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(buffer, "\\u{:04x}", u32::from(control));
            }
            other => buffer.push(other),
        }
    }
    buffer.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_text_escapes_what_separates_rows_and_columns() {
        let mut buffer = String::new();
        push_copy_text(&mut buffer, "a\tb\\N\r\n商品\\");
        assert_eq!(buffer, "a\\tb\\\\N\\r\\n商品\\\\");
    }

    #[test]
    fn json_strings_survive_a_parser() {
        let hostile = "\"quoted\" \\ \u{1} \n 雪 \u{1F600}";
        let mut buffer = String::new();
        push_json_string(&mut buffer, hostile);
        assert_eq!(serde_json::from_str::<String>(&buffer).expect("valid JSON"), hostile);
    }
}
