//! Bulk loads: COPY on PostgreSQL, one prepared statement over a JSON array on SQLite.
//!
//! A COPY is two messages in a row, the rows and their end, and over TCP the second one waits for the acknowledgement of
//! the first, which the server delays by 40 ms (RFC 1122 section 4.2.3.2): the driver leaves Nagle's algorithm on. So what
//! fits is loaded by one statement with an array for each column, which is one message.
//!
//! On SQLite one statement per row costs a round trip to the driver's thread each time; one statement that reads the
//! rows from a JSON array moves the loop into the database, as COPY does.
//!
//! A row is a struct declared by [`bulk_row!`](crate::bulk_row), which names each column once: the struct's field, the
//! column of the load and that of the staging table come from it, and a value of another type does not compile.

use std::borrow::Cow;
use std::fmt::Write;
use std::marker::PhantomData;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use sqlx::{Arguments, AssertSqlSafe};

use super::{Conn, Db, DbError, Kind};

/// Rows of up to this many bytes are loaded by one statement on PostgreSQL. COPY is faster for more of them, but its wait
/// costs as much as a MiB.
const MAX_ONE_STATEMENT: usize = 1024 * 1024;

/// A row to be loaded into a table. Declared by [`bulk_row!`](crate::bulk_row), except where the columns are known
/// only as data.
pub trait BulkRow {
    /// The same row without its lifetime: what a [`Bulk`] holds, whatever the texts of each row are borrowed from.
    type Owned: BulkRow + 'static;
    /// The table.
    const TABLE: &'static str;

    /// The columns, in the order in which [`Self::encode`] writes their values.
    fn columns() -> Vec<BulkColumn>;

    /// Writes the values.
    fn encode(&self, row: &mut RowEncoder<'_>);
}

/// A column of a bulk load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkColumn {
    /// Its name.
    pub name: &'static str,
    /// The type of its values.
    pub column_type: ColumnType,
    /// Whether a value can be missing.
    pub is_nullable: bool,
}

impl BulkColumn {
    /// A column for values of a type.
    pub const fn of<T: BulkValue>(name: &'static str) -> Self {
        Self { name, column_type: T::TYPE, is_nullable: T::IS_NULLABLE }
    }

    /// As in a table definition: name and type.
    pub fn definition(&self, kind: Kind) -> String {
        format!("{} {}", self.name, self.column_type.sql(kind))
    }
}

/// The types that a bulk load supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// An instant.
    Time,
    /// A calendar day.
    Day,
}

impl ColumnType {
    /// Its name in SQL. SQLite keeps times as text.
    pub fn sql(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Int, _) | (Self::Bool, Kind::Sqlite) => "BIGINT",
            (Self::Bool, Kind::Postgres) => "BOOLEAN",
            (Self::Text, _) | (Self::Time | Self::Day, Kind::Sqlite) => "TEXT",
            (Self::Time, Kind::Postgres) => "TIMESTAMPTZ",
            (Self::Day, Kind::Postgres) => "DATE",
        }
    }
}

/// A value of a bulk load.
pub trait BulkValue {
    /// The type of its column.
    const TYPE: ColumnType;
    /// Whether it can be missing.
    const IS_NULLABLE: bool = false;

    /// Writes it as the row's next value.
    fn encode(&self, row: &mut RowEncoder<'_>);
}

impl BulkValue for i64 {
    const TYPE: ColumnType = ColumnType::Int;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        row.separate();
        // Writing to a String cannot fail.
        let _ = write!(row.buffer, "{self}");
    }
}

impl BulkValue for bool {
    const TYPE: ColumnType = ColumnType::Bool;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        row.separate();
        row.buffer.push_str(match (row.kind, self) {
            (Kind::Sqlite, true) => "1",
            (Kind::Sqlite, false) => "0",
            (Kind::Postgres, true) => "t",
            (Kind::Postgres, false) => "f",
        });
    }
}

impl BulkValue for &str {
    const TYPE: ColumnType = ColumnType::Text;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        row.separate();
        match row.kind {
            Kind::Sqlite => push_json_string(row.buffer, self),
            Kind::Postgres => push_copy_text(row.buffer, self),
        }
    }
}

/// In exactly the form in which the driver writes single values, so that both sort together.
impl BulkValue for DateTime<Utc> {
    const TYPE: ColumnType = ColumnType::Time;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        row.plain(|buffer| push_time(buffer, *self));
    }
}

impl BulkValue for NaiveDate {
    const TYPE: ColumnType = ColumnType::Day;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        row.plain(|buffer| {
            let _ = write!(buffer, "{self}");
        });
    }
}

impl<T: BulkValue> BulkValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const IS_NULLABLE: bool = true;

    fn encode(&self, row: &mut RowEncoder<'_>) {
        match self {
            Some(value) => value.encode(row),
            None => row.null(),
        }
    }
}

/// Where a row's values are written, in the form the database loads fastest.
pub struct RowEncoder<'b> {
    kind: Kind,
    buffer: &'b mut String,
    values: usize,
}

impl RowEncoder<'_> {
    /// A text that needs no escaping on either side.
    fn plain(&mut self, write: impl FnOnce(&mut String)) {
        self.separate();
        match self.kind {
            Kind::Sqlite => {
                self.buffer.push('"');
                write(self.buffer);
                self.buffer.push('"');
            }
            Kind::Postgres => write(self.buffer),
        }
    }

    fn null(&mut self) {
        self.separate();
        self.buffer.push_str(match self.kind {
            Kind::Sqlite => "null",
            Kind::Postgres => "\\N",
        });
    }

    fn separate(&mut self) {
        if self.values > 0 {
            self.buffer.push(match self.kind {
                Kind::Sqlite => ',',
                Kind::Postgres => '\t',
            });
        }
        self.values += 1;
    }
}

/// Rows waiting to be loaded. The caller bounds how many it holds.
pub struct Bulk<R> {
    kind: Kind,
    columns: Vec<BulkColumn>,
    buffer: String,
    rows: usize,
    row: PhantomData<fn(R)>,
}

impl<R: BulkRow> Bulk<R> {
    /// An empty load.
    pub fn new(db: &Db) -> Self {
        Self::for_database(db.kind())
    }

    /// An empty load that is filled away from the connection, for example by a thread that reads a file.
    pub fn for_database(kind: Kind) -> Self {
        Self { kind, columns: R::columns(), buffer: String::new(), rows: 0, row: PhantomData }
    }

    /// Adds a row.
    pub fn push<Row: BulkRow<Owned = R>>(&mut self, row: &Row) {
        if self.kind == Kind::Sqlite {
            self.buffer.push_str(if self.rows == 0 { "[" } else { ",[" });
        }
        let mut encoder = RowEncoder { kind: self.kind, buffer: &mut self.buffer, values: 0 };
        row.encode(&mut encoder);
        debug_assert_eq!(encoder.values, self.columns.len(), "a row of {} is incomplete", R::TABLE);
        self.buffer.push(match self.kind {
            Kind::Sqlite => ']',
            Kind::Postgres => '\n',
        });
        self.rows += 1;
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
}

/// Declares a row of a bulk load: a struct whose fields are the columns of `table`, and no column is named twice.
///
/// ```
/// # use chrono::{DateTime, Utc};
/// batchctl::bulk_row! {
///     /// An article that a member was sent.
///     struct Delivery => "article_deliveries" {
///         member_id: i64,
///         article_id: i64,
///         created_at: DateTime<Utc>,
///     }
/// }
/// ```
///
/// A column that can be NULL is an `Option`. A row that borrows its texts has one lifetime: `struct Name<'r> => …`.
#[macro_export]
macro_rules! bulk_row {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident<$life:lifetime> => $table:literal { $($fields:tt)* }) => {
        $crate::bulk_row! {
            @row [$(#[$meta])*] [$visibility] $name [<$life>] [$name<'static>] $table { $($fields)* }
        }
    };
    ($(#[$meta:meta])* $visibility:vis struct $name:ident => $table:literal { $($fields:tt)* }) => {
        $crate::bulk_row! { @row [$(#[$meta])*] [$visibility] $name [] [$name] $table { $($fields)* } }
    };
    (@row [$($meta:tt)*] [$visibility:vis] $name:ident [$($life:tt)*] [$owned:ty] $table:literal {
        $($(#[$field_meta:meta])* $column:ident: $type:ty),+ $(,)?
    }) => {
        $($meta)*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $visibility struct $name $($life)* {
            $($(#[$field_meta])* $visibility $column: $type,)+
        }

        impl $($life)* $crate::db::BulkRow for $name $($life)* {
            type Owned = $owned;
            const TABLE: &'static str = $table;

            fn columns() -> Vec<$crate::db::BulkColumn> {
                vec![$($crate::db::BulkColumn::of::<$type>(stringify!($column))),+]
            }

            fn encode(&self, row: &mut $crate::db::RowEncoder<'_>) {
                $($crate::db::BulkValue::encode(&self.$column, row);)+
            }
        }
    };
}

/// Names columns of a row that [`bulk_row!`](crate::bulk_row) declares; a name that is not one does not compile.
///
/// ```
/// batchctl::bulk_row! {
///     /// A price as a shop gives it.
///     struct Price => "prices" { product_code: i64, price_amount: i64 }
/// }
/// assert_eq!(batchctl::columns![Price: price_amount], &["price_amount"]);
/// ```
#[macro_export]
macro_rules! columns {
    ($row:ident: $($column:ident),+ $(,)?) => {{
        const _: fn(&$row) = |row| {
            $(let _ = &row.$column;)+
        };
        const COLUMNS: &[&str] = &[$(stringify!($column)),+];
        COLUMNS
    }};
}

impl Db {
    /// Creates the staging table of a row, once per connection, with `more` columns that rows do not fill. On
    /// PostgreSQL each commit empties it: its rows are staged and used in one transaction.
    pub async fn create_staging<R: BulkRow>(&mut self, more: &str) -> Result<(), DbError> {
        self.create_temporary::<R>(more, self.pick("", "ON COMMIT DELETE ROWS")).await
    }

    /// The same for rows that are staged outside a transaction and used in one afterwards.
    pub async fn create_lasting_staging<R: BulkRow>(&mut self, more: &str) -> Result<(), DbError> {
        self.create_temporary::<R>(more, "").await
    }

    async fn create_temporary<R: BulkRow>(&mut self, more: &str, emptied: &str) -> Result<(), DbError> {
        let kind = self.kind();
        let columns: Vec<String> = R::columns().iter().map(|column| column.definition(kind)).collect();
        let columns = columns.join(", ");
        self.script(&format!("CREATE TEMP TABLE IF NOT EXISTS {} ({columns}, {more}) {emptied}", R::TABLE))
            .await
    }

    /// Loads the rows of a chunk into their staging table, replacing those of the previous chunk.
    pub async fn stage<R: BulkRow>(&mut self, bulk: &mut Bulk<R>) -> Result<(), DbError> {
        let empty = self.pick("DELETE FROM", "TRUNCATE");
        self.script(&format!("{empty} {}", R::TABLE)).await?;
        self.load(bulk).await.map(drop)
    }

    /// Loads the rows and leaves `bulk` empty for the next ones. Returns the number of rows loaded.
    pub async fn load<R: BulkRow>(&mut self, bulk: &mut Bulk<R>) -> Result<u64, DbError> {
        if bulk.is_empty() {
            return Ok(0);
        }
        let loaded = self.load_encoded(R::TABLE, &bulk.columns, &bulk.buffer, IfThere::Fail).await;
        bulk.buffer.clear();
        bulk.rows = 0;
        loaded.map_err(|error| DbError::query(&error, &format!("load {}", R::TABLE), &self.place))
    }

    /// Loads those of the rows of which no unique key is taken, by rows that are there or by others of the load, and leaves
    /// `bulk` empty for the next ones. Returns how many were loaded. A program that writes the same keys at the same time is
    /// waited for.
    pub async fn load_new<R: BulkRow>(&mut self, bulk: &mut Bulk<R>) -> Result<u64, DbError> {
        if bulk.is_empty() {
            return Ok(0);
        }
        let loaded = self.load_encoded(R::TABLE, &bulk.columns, &bulk.buffer, IfThere::PassOver).await;
        bulk.buffer.clear();
        bulk.rows = 0;
        loaded.map_err(|error| DbError::query(&error, &format!("load {}", R::TABLE), &self.place))
    }

    async fn load_encoded(
        &mut self,
        table: &str,
        columns: &[BulkColumn],
        rows: &str,
        if_there: IfThere,
    ) -> Result<u64, sqlx::Error> {
        let on_conflict = match if_there {
            IfThere::Fail => "",
            IfThere::PassOver => "ON CONFLICT DO NOTHING",
        };
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        match &mut self.conn {
            Conn::Sqlite(connection) => {
                let values: Vec<String> =
                    (0..columns.len()).map(|place| format!("value ->> {place}")).collect();
                // Not json_each, whose rows are texts again: each would be parsed once more, and searched from its beginning for
                // each column.
                // WHERE, because SQLite would take the ON of a conflict for that of a join.
                let sql = format!(
                    "INSERT INTO {table} ({names}) SELECT {} FROM jsonb_each($1) WHERE TRUE {on_conflict}",
                    values.join(", ")
                );
                let mut arguments = sqlx::sqlite::SqliteArguments::default();
                arguments.add(format!("[{rows}]")).map_err(sqlx::Error::Encode)?;
                let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await?;
                Ok(done.rows_affected())
            }
            // COPY knows no conflicts.
            Conn::Postgres(connection)
                if rows.len() <= MAX_ONE_STATEMENT || if_there == IfThere::PassOver =>
            {
                let sql = format!("INSERT INTO {table} ({names}) {} {on_conflict}", unnest(columns));
                let mut arguments = sqlx::postgres::PgArguments::default();
                for values in columns_of(rows, columns.len()) {
                    arguments.add(values).map_err(sqlx::Error::Encode)?;
                }
                let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await?;
                Ok(done.rows_affected())
            }
            Conn::Postgres(connection) => {
                let mut copy = connection.copy_in_raw(&format!("COPY {table} ({names}) FROM STDIN")).await?;
                copy.send(rows.as_bytes()).await?;
                copy.finish().await
            }
        }
    }
}

/// What becomes of a row whose unique key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfThere {
    /// No row is loaded.
    Fail,
    /// The others are loaded.
    PassOver,
}

/// The rows of an array of texts for each column, each value as its column's type.
fn unnest(columns: &[BulkColumn]) -> String {
    let list = |item: &dyn Fn(usize, &BulkColumn) -> String| {
        columns.iter().enumerate().map(|(place, column)| item(place, column)).collect::<Vec<_>>().join(", ")
    };
    let values =
        list(&|place, column| format!("CAST(c{place} AS {})", column.column_type.sql(Kind::Postgres)));
    let arrays = list(&|place, _| format!("CAST(${} AS TEXT[])", place + 1));
    let names = list(&|place, _| format!("c{place}"));
    format!("SELECT {values} FROM unnest({arrays}) AS r({names})")
}

/// The values of each column of rows in COPY's text format.
fn columns_of(rows: &str, columns: usize) -> Vec<Vec<Option<Cow<'_, str>>>> {
    let mut values: Vec<Vec<Option<Cow<'_, str>>>> = vec![Vec::new(); columns];
    for row in rows.lines() {
        for (column, value) in values.iter_mut().zip(row.split('\t')) {
            column.push(pull_copy_text(value));
        }
    }
    values
}

/// A value in COPY's text format, as [`push_copy_text`] writes it; `None` for a NULL.
fn pull_copy_text(value: &str) -> Option<Cow<'_, str>> {
    if value == "\\N" {
        return None;
    }
    if !value.contains('\\') {
        return Some(Cow::Borrowed(value));
    }
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    Some(Cow::Owned(text))
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
    use crate::db::testing::{TestDb, at, on_both_databases};
    use crate::values;

    bulk_row! {
        /// A value of each type, present and missing.
        struct Sample<'s> => "staged_samples" {
            number: i64,
            is_good: bool,
            name: &'s str,
            at: DateTime<Utc>,
            day: NaiveDate,
            note: Option<&'s str>,
            amount: Option<i64>,
            is_bad: Option<bool>,
            ended_at: Option<DateTime<Utc>>,
            due_day: Option<NaiveDate>,
        }
    }

    /// What both databases return for a [`Sample`].
    type Stored = (
        i64,
        bool,
        String,
        DateTime<Utc>,
        NaiveDate,
        Option<String>,
        Option<i64>,
        Option<bool>,
        Option<DateTime<Utc>>,
        Option<NaiveDate>,
    );

    fn sample(number: i64, name: &str) -> Sample<'_> {
        let (at, day) = (at("2026-11-19T15:00:00.000001Z"), NaiveDate::from_ymd_opt(2028, 2, 29).unwrap());
        Sample {
            number,
            is_good: true,
            name,
            at,
            day,
            note: None,
            amount: None,
            is_bad: None,
            ended_at: None,
            due_day: None,
        }
    }

    on_both_databases![
        what_is_loaded_is_read_as_it_was,
        many_rows_are_loaded_as_few_are,
        a_small_load_is_one_statement_and_a_large_one_a_copy,
        staged_rows_replace_the_previous_ones,
        a_load_that_breaks_a_rule_leaves_nothing_and_the_load_can_be_used_again,
    ];

    async fn what_is_loaded_is_read_as_it_was(db: &mut TestDb) {
        db.create_lasting_staging::<Sample>("id BIGINT").await.unwrap();
        let hostile = "\"quoted\" \\N \\. \t tab\r\n, 'x' {} 雪 \u{1F600} \u{1}";
        let whole = Sample {
            number: i64::MIN,
            is_good: false,
            note: Some(""),
            amount: Some(i64::MAX),
            is_bad: Some(true),
            ended_at: Some(at("1999-12-31T23:59:59Z")),
            due_day: NaiveDate::from_ymd_opt(1999, 12, 31),
            ..sample(0, hostile)
        };
        let mut rows = Bulk::new(db);
        rows.push(&sample(1, "\\N"));
        rows.push(&whole);
        assert_eq!((rows.len(), rows.is_empty()), (2, false));
        assert_eq!(db.load(&mut rows).await.unwrap(), 2);
        assert_eq!((rows.len(), rows.is_empty(), rows.bytes()), (0, true, 0));
        assert_eq!(db.load(&mut rows).await.unwrap(), 0);

        let names = Sample::columns().iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM staged_samples ORDER BY number");
        let stored: Vec<Stored> = db.fetch_all(&sql, values![]).await.unwrap();
        let expected = [whole, sample(1, "\\N")].map(|row| {
            let Sample { number, is_good, name, at, day, note, amount, is_bad, ended_at, due_day } = row;
            let note = note.map(str::to_owned);
            (number, is_good, name.to_owned(), at, day, note, amount, is_bad, ended_at, due_day)
        });
        assert_eq!(stored, expected);
        // An instant sorts and compares with one that the driver wrote.
        let same = "SELECT COUNT(*) FROM staged_samples WHERE at = $1 AND ended_at < $1";
        assert_eq!(db.fetch_one::<(i64,)>(same, values![expected[0].3]).await.unwrap(), (1,));
    }

    async fn many_rows_are_loaded_as_few_are(db: &mut TestDb) {
        db.create_lasting_staging::<Sample>("id BIGINT").await.unwrap();
        let hostile = "\\N \\. \\t \t tab\r\n, 'x' {1,NULL} 雪\\";
        for least in [1, MAX_ONE_STATEMENT + 1] {
            let mut rows = Bulk::new(db);
            while rows.bytes() < least {
                rows.push(&Sample { note: Some(hostile), ..sample(1, hostile) });
            }
            let pushed = rows.len() as u64;
            assert_eq!(db.load(&mut rows).await.unwrap(), pushed);
        }
        let sql = "SELECT DISTINCT name, note, amount IS NULL FROM staged_samples";
        let stored: Vec<(String, Option<String>, bool)> = db.fetch_all(sql, values![]).await.unwrap();
        assert_eq!(stored, [(hostile.to_owned(), Some(hostile.to_owned()), true)]);
    }

    /// A COPY would wait for the acknowledgement of its rows: `scripts/bench/mall-sync` measures that.
    async fn a_small_load_is_one_statement_and_a_large_one_a_copy(db: &mut TestDb) {
        let by = db.pick("by TEXT DEFAULT 'INSERT'", "by TEXT DEFAULT current_query()");
        db.create_lasting_staging::<Sample>(by).await.unwrap();
        for (least, statement) in [(1, "INSERT"), (MAX_ONE_STATEMENT + 1, db.pick("INSERT", "COPY"))] {
            let mut rows = Bulk::new(db);
            while rows.bytes() < least {
                rows.push(&sample(1, "name"));
            }
            db.stage(&mut rows).await.unwrap();
            let words = "SELECT DISTINCT SUBSTR(by, 1, LENGTH($1)) FROM staged_samples";
            let (word,): (String,) = db.fetch_one(words, values![statement]).await.unwrap();
            assert_eq!(word, statement);
        }
    }

    async fn staged_rows_replace_the_previous_ones(db: &mut TestDb) {
        db.create_staging::<Sample>("id BIGINT DEFAULT 7").await.unwrap();
        let mut rows = Bulk::new(db);
        for names in [["a", "b"].as_slice(), &["c"], &[]] {
            for name in names {
                rows.push(&sample(1, name));
            }
            let staged = db.transaction(async |db| {
                db.stage(&mut rows).await?;
                let sql = "SELECT name, id FROM staged_samples ORDER BY name";
                Ok(db.fetch_all::<(String, i64)>(sql, values![]).await?)
            });
            let expected: Vec<_> = names.iter().map(|name| ((*name).to_owned(), 7)).collect();
            assert_eq!(staged.await.unwrap(), expected);
        }
    }

    async fn a_load_that_breaks_a_rule_leaves_nothing_and_the_load_can_be_used_again(db: &mut TestDb) {
        db.create_lasting_staging::<Sample>("UNIQUE (number)").await.unwrap();
        let mut rows = Bulk::new(db);
        for name in ["a", "b"] {
            rows.push(&sample(1, name));
        }
        let error = db.load(&mut rows).await.unwrap_err();
        assert_eq!(error.kind(), crate::db::DbErrorKind::Constraint);
        assert!(error.to_string().contains("load staged_samples"), "{error}");
        rows.push(&sample(1, "c"));
        assert_eq!(db.load(&mut rows).await.unwrap(), 1);
        assert_eq!(db.sql("SELECT name FROM staged_samples").await, [["c"]]);
    }

    #[test]
    fn columns_are_named_once_and_typed_for_each_database() {
        let definitions = |kind| {
            let columns = Sample::columns();
            columns.iter().map(|column| column.definition(kind)).collect::<Vec<_>>()
        };
        assert_eq!(
            definitions(Kind::Sqlite)[..5],
            ["number BIGINT", "is_good BIGINT", "name TEXT", "at TEXT", "day TEXT"]
        );
        assert_eq!(
            definitions(Kind::Postgres)[5..],
            ["note TEXT", "amount BIGINT", "is_bad BOOLEAN", "ended_at TIMESTAMPTZ", "due_day DATE"]
        );
        let is_nullable: Vec<bool> = Sample::columns().iter().map(|column| column.is_nullable).collect();
        assert_eq!(is_nullable, [[false; 5], [true; 5]].concat());
        assert_eq!(columns![Sample: day, name], ["day", "name"]);
    }

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
                // A leap second exists only at the end of a minute.
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
