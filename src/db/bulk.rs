//! Bulk loads: COPY on PostgreSQL, one prepared statement over a JSON array on SQLite.
//!
//! On SQLite one statement per row costs a round trip to the driver's thread each time; one statement that reads the
//! rows from a JSON array moves the loop into the database, as COPY does.

use std::borrow::Cow;
use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use sqlx::{Arguments, AssertSqlSafe};

use super::{Conn, Db, DbError, Kind};

/// Rows on their way into a table, in the form the database loads fastest. Values are pushed column by column in
/// the order given to [`Bulk::new`]; [`Bulk::end_row`] closes a row. The caller bounds how many rows it holds.
pub struct Bulk {
    kind: Kind,
    table: &'static str,
    columns: Cow<'static, [&'static str]>,
    buffer: String,
    column: usize,
    rows: usize,
}

impl Bulk {
    /// An empty load into `columns` of `table`.
    pub fn new(db: &Db, table: &'static str, columns: impl Into<Cow<'static, [&'static str]>>) -> Self {
        Self::for_database(db.kind(), table, columns)
    }

    /// An empty load that is filled without the connection, for example by a thread that reads a file.
    pub fn for_database(
        kind: Kind,
        table: &'static str,
        columns: impl Into<Cow<'static, [&'static str]>>,
    ) -> Self {
        Self { kind, table, columns: columns.into(), buffer: String::new(), column: 0, rows: 0 }
    }

    /// How many rows are waiting.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// How many bytes the waiting rows take.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
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

    /// Adds an instant in exactly the form in which the driver writes single values, so that both sort together.
    pub fn time(&mut self, value: impl Into<Option<DateTime<Utc>>>) {
        match value.into() {
            Some(value) => {
                self.separate();
                let quote = if self.kind == Kind::Sqlite { "\"" } else { "" };
                self.buffer.push_str(quote);
                push_time(&mut self.buffer, value);
                self.buffer.push_str(quote);
            }
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

    /// Adds a text that needs no escaping in either format.
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

    /// Writes what comes before the next value: a row's opening or the separator.
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
    /// Loads the rows and leaves `bulk` empty for the next ones. Returns the number of rows loaded.
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

/// A JSON string (RFC 8259 section 7). What needs no escape is copied in runs.
fn push_json_string(buffer: &mut String, value: &str) {
    buffer.push('"');
    let mut copied = 0;
    for (place, byte) in value.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        // These bytes are single-byte characters, so the slices end between characters.
        buffer.push_str(&value[copied..place]);
        copied = place + 1;
        match byte {
            b'"' => buffer.push_str("\\\""),
            b'\\' => buffer.push_str("\\\\"),
            control => {
                let _ = write!(buffer, "\\u{control:04x}");
            }
        }
    }
    buffer.push_str(&value[copied..]);
    buffer.push('"');
}

/// An instant as RFC 3339 with the offset `+00:00` and as many decimals as it needs: 0, 3, 6 or 9. The same text as
/// chrono's `to_rfc3339_opts(AutoSi)`, which takes five times as long; an import writes millions.
fn push_time(buffer: &mut String, value: DateTime<Utc>) {
    let (date, time) = (value.date_naive(), value.time());
    let nanosecond = time.nanosecond();
    let Some(year) =
        u32::try_from(date.year()).ok().filter(|year| *year <= 9999 && nanosecond < 1_000_000_000)
    else {
        buffer.push_str(&value.to_rfc3339_opts(SecondsFormat::AutoSi, false));
        return;
    };
    push_digits(buffer, year, 4);
    for (separator, number) in [
        ('-', date.month()),
        ('-', date.day()),
        ('T', time.hour()),
        (':', time.minute()),
        (':', time.second()),
    ] {
        buffer.push(separator);
        push_digits(buffer, number, 2);
    }
    if nanosecond != 0 {
        buffer.push('.');
        match nanosecond {
            _ if nanosecond % 1_000_000 == 0 => push_digits(buffer, nanosecond / 1_000_000, 3),
            _ if nanosecond % 1_000 == 0 => push_digits(buffer, nanosecond / 1_000, 6),
            _ => push_digits(buffer, nanosecond, 9),
        }
    }
    buffer.push_str("+00:00");
}

/// A number with leading zeros.
fn push_digits(buffer: &mut String, number: u32, digits: u32) {
    for place in (0..digits).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        buffer.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
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
    fn an_instant_is_written_as_the_driver_writes_it() {
        for seconds in [0, 951_782_399, 1_795_132_799, 253_402_300_799, 253_402_300_800, -62_200_000_000] {
            for nanoseconds in [0, 5_000_000, 120_000, 999_999_000, 7, 1_500_000_000] {
                // A leap second is only one at the end of a minute.
                let Some(time) = DateTime::from_timestamp(seconds, nanoseconds) else { continue };
                let mut buffer = String::new();
                push_time(&mut buffer, time);
                assert_eq!(buffer, time.to_rfc3339_opts(SecondsFormat::AutoSi, false));
            }
        }
    }

    #[test]
    fn json_strings_survive_a_parser() {
        let hostile = "\"quoted\" \\ \u{1} \n 雪 \u{1F600}";
        let mut buffer = String::new();
        push_json_string(&mut buffer, hostile);
        assert_eq!(serde_json::from_str::<String>(&buffer).expect("valid JSON"), hostile);
    }
}
