//! One connection to SQLite or PostgreSQL, and the few methods that every job's SQL goes through.
//!
//! This is the only module that names a driver. It is not a query builder: each job writes plain SQL that runs
//! on both databases, next to the struct of its row; [`Db::pick`] is for the rare statement that must differ.
//! One [`Db`] is one connection; concurrent tasks each open their own from the context.

mod bulk;
mod decode;
mod encryption;
mod error;
mod migrate;
mod problems;
mod stored;
#[cfg(test)]
pub(crate) mod testing;
mod transaction;
mod value;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection};

pub use batchctl_derive::FromRow;
pub use bulk::{Bulk, BulkColumn, BulkRow, BulkValue, ColumnType, RowEncoder};
pub use encryption::{Encryption, encryption};
pub use error::{DbError, DbErrorKind, Place};
pub use migrate::{Readiness, latest_version};
pub use problems::{Instead, Problems};
pub use sqlx::FromRow;
pub use stored::{StoredKey, StoredText, StoredTime};
pub use value::Value;

/// How long to wait for a connection before the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a writer waits for another process's transaction on SQLite.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often PostgreSQL checks whether the client is still there, so that the query of a run that was stopped or
/// passed its deadline ends soon.
const CLIENT_CHECK_INTERVAL_MS: &str = "5000";

/// A row that can be read from either database; derived by `#[derive(FromRow)]`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Which of the two databases a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The embedded default: one file.
    Sqlite,
    /// Production.
    Postgres,
}

impl Kind {
    /// Reads the database's kind from its URL's scheme; the configuration has checked that it is one of ours.
    pub fn of(url: &str) -> Self {
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::Postgres }
    }

    /// The database's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

#[expect(clippy::disallowed_types, reason = "this is the only place that names a driver")]
enum Conn {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

/// One open connection.
pub struct Db {
    /// First, so that it is dropped first.
    _interrupt: Interrupt,
    conn: Conn,
    place: Place,
    in_transaction: bool,
}

/// Interrupts SQLite's current statement when the connection is dropped. Statements run on a separate thread and
/// would hold the file's lock until they finish, even if the run passed its deadline long ago.
#[derive(Default)]
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// SQLite's virtual machine checks after this many instructions: often enough for a deadline, rarely enough to cost
    /// nothing.
    const INSTRUCTIONS: i32 = 100_000;

    #[expect(clippy::disallowed_types, reason = "this is the only place that names a driver")]
    async fn watch(connection: &mut sqlx::SqliteConnection) -> Result<Self, sqlx::Error> {
        let interrupt = Self::default();
        let is_dropped = Arc::clone(&interrupt.0);
        let goes_on = move || !is_dropped.load(Ordering::Relaxed);
        connection.lock_handle().await?.set_progress_handler(Self::INSTRUCTIONS, goes_on);
        Ok(interrupt)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs one driver call on the open connection: the two arms differ only in types.
macro_rules! on_connection {
    ($db:expr, $sql:expr, $values:expr, |$connection:ident, $statement:ident| $call:expr) => {
        match &mut $db.conn {
            Conn::Sqlite($connection) => {
                let $statement = (AssertSqlSafe($sql.to_owned()), sqlite_arguments($values)?);
                $call
            }
            Conn::Postgres($connection) => {
                let $statement = (AssertSqlSafe($sql.to_owned()), postgres_arguments($values)?);
                $call
            }
        }
    };
}

#[expect(clippy::disallowed_methods, reason = "this is the only place that calls a driver")]
impl Db {
    /// Opens a connection. A SQLite file that does not exist is created only if `create` is set.
    pub async fn connect(url: &str, create: bool) -> Result<Self, DbError> {
        let place = Place::of(url);
        let connecting = async {
            Ok::<_, sqlx::Error>(match Kind::of(url) {
                Kind::Sqlite => {
                    let options = sqlite_options(url)?.create_if_missing(create);
                    if create {
                        create_privately(&options);
                    }
                    let mut connection = options.connect().await?;
                    (Interrupt::watch(&mut connection).await?, Conn::Sqlite(connection))
                }
                Kind::Postgres => {
                    (Interrupt::default(), Conn::Postgres(postgres_options(url)?.connect().await?))
                }
            })
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok((interrupt, conn))) => {
                Ok(Self { _interrupt: interrupt, conn, place, in_transaction: false })
            }
            Ok(Err(error)) => Err(DbError::connecting(&error, &place)),
            Err(_) => Err(DbError::silent(&place, CONNECT_TIMEOUT)),
        }
    }

    /// Which database this is.
    pub fn kind(&self) -> Kind {
        match self.conn {
            Conn::Sqlite(_) => Kind::Sqlite,
            Conn::Postgres(_) => Kind::Postgres,
        }
    }

    /// The one of two values that suits this database, for a statement that cannot be the same on both.
    pub fn pick<T>(&self, sqlite: T, postgres: T) -> T {
        match self.kind() {
            Kind::Sqlite => sqlite,
            Kind::Postgres => postgres,
        }
    }

    /// The elements of a JSON array, bound to `placeholder` as [`Value::Json`], as a subquery with the one column
    /// `value`: how a statement takes a list.
    pub fn elements(&self, placeholder: &str) -> String {
        let function = self.pick("json_each", "jsonb_array_elements_text");
        format!("(SELECT value FROM {function}({placeholder}))")
    }

    /// Like [`Self::elements`], for numbers.
    pub fn numbers(&self, placeholder: &str) -> String {
        match self.kind() {
            Kind::Sqlite => self.elements(placeholder),
            Kind::Postgres => {
                format!("(SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text({placeholder}))")
            }
        }
    }

    /// The condition that a column is empty, or holds a time that exists and is in UTC, as this program writes it or with a
    /// `Z`. On SQLite any program can have written any text, and only these compare as the times that they are. The day is
    /// that of the whole second: SQLite rounds the last half millisecond of a day up to the next one.
    pub fn is_time(&self, column: &str) -> String {
        // Without IS NULL, which SQLite leaves out of a query for a column that is never NULL, and then does not recognise
        // the index with the same words.
        match self.kind() {
            Kind::Sqlite => format!(
                "CASE ({column} GLOB '????-??-??T??:??:??*+00:00' OR {column} GLOB '????-??-??T??:??:??*Z') \
                 WHEN TRUE THEN COALESCE(DATE(SUBSTR({column}, 1, 19), '+0 days') = SUBSTR({column}, 1, 10) \
                 AND DATE({column}) > '', FALSE) AND \
                 LENGTH(CAST({column} AS BLOB)) = LENGTH({column}) WHEN FALSE THEN FALSE ELSE TRUE END"
            ),
            Kind::Postgres => "TRUE".to_owned(),
        }
    }

    /// The same of a day.
    pub fn is_day(&self, column: &str) -> String {
        match self.kind() {
            Kind::Sqlite => format!(
                "CASE {column} GLOB '????-??-??' WHEN TRUE THEN COALESCE(DATE({column}, '+0 days') = {column}, FALSE) \
                 WHEN FALSE THEN FALSE ELSE TRUE END"
            ),
            Kind::Postgres => "TRUE".to_owned(),
        }
    }

    /// A position in a text that rows are ordered by, bound to `placeholder` as a [`StoredKey`].
    pub fn stored_key(&self, placeholder: &str) -> String {
        match self.kind() {
            Kind::Sqlite => format!("CAST({placeholder} AS TEXT)"),
            Kind::Postgres => placeholder.to_owned(),
        }
    }

    /// A text to order rows by, by its bytes on both databases: PostgreSQL would order it by the rules of its locale.
    pub fn by_bytes(&self, text: &str) -> String {
        match self.kind() {
            Kind::Sqlite => text.to_owned(),
            Kind::Postgres => format!("{text} COLLATE \"C\""),
        }
    }

    /// A row's own number as the last of a position, as in `(due_at, id) > ($1, {})`. SQLite seeks to such a position only
    /// if the number's comparison names a collation, and reads all rows of the same `due_at` otherwise; its index ends
    /// before the number, which SQLite adds by itself.
    pub fn row_number(&self, placeholder: &str) -> String {
        match self.kind() {
            Kind::Sqlite => format!("{placeholder} COLLATE BINARY"),
            Kind::Postgres => placeholder.to_owned(),
        }
    }

    /// Whether a transaction was left open, for example because a run's future was dropped in the middle of one. Such a
    /// connection must not be used again.
    pub fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// All rows of a query whose result is known to be small; large results are read in bounded pages.
    pub async fn fetch_all<T: Row>(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<T>, DbError> {
        let place = &self.place;
        let mut all = Vec::new();
        match &mut self.conn {
            Conn::Sqlite(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), sqlite_arguments(values)?);
                let mut rows = query.fetch(connection);
                while let Some(row) = next(&mut rows, sql, place).await? {
                    all.push(decode::sqlite(&row, sql, place)?);
                }
            }
            Conn::Postgres(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), postgres_arguments(values)?);
                let mut rows = query.fetch(connection);
                while let Some(row) = next(&mut rows, sql, place).await? {
                    all.push(decode::postgres(&row, sql, place)?);
                }
            }
        }
        Ok(all)
    }

    /// The single row of a query that always has one.
    pub async fn fetch_one<T: Row>(&mut self, sql: &str, values: Vec<Value>) -> Result<T, DbError> {
        let row = self.fetch_optional(sql, values).await?;
        row.ok_or_else(|| DbError::query(&sqlx::Error::RowNotFound, sql, &self.place))
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<T: Row>(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<T>, DbError> {
        let place = &self.place;
        let failed = |error| DbError::query(&error, sql, place);
        match &mut self.conn {
            Conn::Sqlite(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), sqlite_arguments(values)?);
                let row = query.fetch_optional(connection).await.map_err(failed)?;
                row.map(|row| decode::sqlite(&row, sql, place)).transpose()
            }
            Conn::Postgres(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), postgres_arguments(values)?);
                let row = query.fetch_optional(connection).await.map_err(failed)?;
                row.map(|row| decode::postgres(&row, sql, place)).transpose()
            }
        }
    }

    /// Runs a statement and returns the number of rows it affected.
    pub async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<u64, DbError> {
        let rows = on_connection!(self, sql, values, |connection, statement| {
            sqlx::query_with(statement.0, statement.1)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
        });
        rows.map_err(|error| DbError::query(&error, sql, &self.place))
    }

    /// Runs statements that take no values, such as `BEGIN` or the definition of a temporary table.
    pub async fn script(&mut self, sql: &str) -> Result<(), DbError> {
        self.execute_unprepared(sql).await.map(drop)
    }

    /// Runs a statement that takes no values, planned for the tables as they are now, and returns the number of rows it
    /// affected. PostgreSQL keeps the plan of [`Self::execute`] as long as the connection lives, and a plan made for an
    /// empty table scans the whole table again with each chunk that fills it.
    pub async fn execute_unprepared(&mut self, sql: &str) -> Result<u64, DbError> {
        let statements = AssertSqlSafe(sql.to_owned());
        let done = match &mut self.conn {
            Conn::Sqlite(connection) => {
                sqlx::raw_sql(statements).execute(connection).await.map(|done| done.rows_affected())
            }
            Conn::Postgres(connection) => {
                sqlx::raw_sql(statements).execute(connection).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|error| DbError::query(&error, sql, &self.place))
    }

    /// On SQLite, how long a statement waits for the file's lock; `None` is as long as usual. PostgreSQL locks rows, and
    /// its server ends a connection that keeps them without working.
    pub async fn limit_lock_wait(&mut self, limit: Option<Duration>) -> Result<(), DbError> {
        if self.kind() == Kind::Postgres {
            return Ok(());
        }
        let wait = limit.unwrap_or(SQLITE_BUSY_TIMEOUT).as_millis();
        self.script(&format!("PRAGMA busy_timeout = {wait}")).await.map(drop)
    }

    /// Has PostgreSQL look rows up by an index wherever it can, on this connection: for work on a few rows at a time, for
    /// which a hash or merge join, or a scan, reads a large table completely each time.
    pub async fn plan_by_index(&mut self) -> Result<(), DbError> {
        if self.kind() == Kind::Postgres {
            self.script("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off")
                .await?;
        }
        Ok(())
    }

    /// Has PostgreSQL analyse those of the tables that it never has, as after a dump was restored. Without statistics, each
    /// page of a job that reads in pages sorts all that is left.
    pub async fn analyze_unknown(&mut self, tables: &[&'static str]) -> Result<(), DbError> {
        for table in tables {
            self.take_missing_statistics(table, 1).await?;
        }
        Ok(())
    }

    /// Has PostgreSQL analyse a table of which it knows fewer rows than this: one that was never analysed, or one that has
    /// outgrown what is known of it. Until then it plans for a handful of rows. SQLite plans by the indexes.
    pub async fn take_missing_statistics(&mut self, table: &'static str, rows: i64) -> Result<(), DbError> {
        if self.kind() == Kind::Sqlite {
            return Ok(());
        }
        // -1 if the table was never analysed (0 before PostgreSQL 14), 0 if that was while it was empty.
        let sql = "SELECT reltuples < $1 FROM pg_class WHERE oid = to_regclass($2)";
        let (is_missing,): (bool,) = self.fetch_one(sql, crate::values![rows, table]).await?;
        if is_missing {
            // A warning, not an error, if the table belongs to somebody else. Whoever builds an index or vacuums keeps us from
            // it, for hours perhaps: then the job goes without.
            let sql = format!("SET LOCAL lock_timeout = '200ms'; ANALYZE {table}");
            match self.script(&sql).await {
                Err(error) if error.is_busy() => {}
                analyzed => analyzed?,
            }
        }
        Ok(())
    }

    /// The time by the one clock that all hosts share: the server's on PostgreSQL, the machine's on SQLite. Leases use it,
    /// so hosts whose clocks differ agree, and a fixed `BATCHCTL_NOW` does not affect them.
    #[expect(clippy::disallowed_methods, reason = "an embedded database has the machine's clock")]
    pub async fn server_time(&mut self) -> Result<DateTime<Utc>, DbError> {
        match self.kind() {
            Kind::Sqlite => Ok(crate::clock::machine_time()),
            Kind::Postgres => {
                let (time,): (DateTime<Utc>,) = self.fetch_one("SELECT clock_timestamp()", vec![]).await?;
                Ok(time)
            }
        }
    }

    /// Closes the connection cleanly.
    pub async fn close(self) {
        // The work is committed, so an error here loses nothing.
        drop(match self.conn {
            Conn::Sqlite(connection) => connection.close().await,
            Conn::Postgres(connection) => connection.close().await,
        });
    }
}

/// The next row of a result.
async fn next<R>(
    rows: &mut (impl Stream<Item = Result<R, sqlx::Error>> + Unpin),
    sql: &str,
    place: &Place,
) -> Result<Option<R>, DbError> {
    rows.try_next().await.map_err(|error| DbError::query(&error, sql, place))
}

/// The file of a SQLite URL; `None` for any other.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let options = sqlite_options(url).ok().filter(|_| Kind::of(url) == Kind::Sqlite)?;
    Some(options.get_filename().to_owned())
}

/// Creates a file that only its owner may read: it will hold customers' addresses. SQLite itself would let everybody
/// read it, and gives its log and index the permissions of the file. Where it fails, SQLite says why.
fn create_privately(options: &SqliteConnectOptions) {
    let file = options.get_filename();
    let is_in_memory = file.as_os_str().is_empty() || file.to_string_lossy().starts_with("file:");
    if !is_in_memory {
        drop(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file));
    }
}

/// What the driver does not understand in a database URL, such as an unknown `sslmode`, or a certificate's file that it
/// would not find.
pub fn url_problem(url: &str) -> Option<String> {
    let problem = match Kind::of(url) {
        Kind::Sqlite => sqlite_options(url).err(),
        Kind::Postgres => postgres_options(url).err(),
    };
    problem.map(|problem| error::describe(&problem)).or_else(|| encryption::missing_file(url))
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(url
        .parse::<SqliteConnectOptions>()?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging())
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(encryption::encrypted(url)?
        .application_name("batchctl")
        .options([
            ("timezone", "UTC"),
            ("client_connection_check_interval", CLIENT_CHECK_INTERVAL_MS),
            // Our statements are short. Compiling one takes longer than running it, and a server without statistics of a
            // table misjudges it as long each time: `mall sync` of 20,000 orders into new tables took 26 s instead of 11.
            ("jit", "off"),
        ])
        .disable_statement_logging())
}

fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, DbError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Time(value) => arguments.add(value),
            Value::Date(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Json(value) => arguments.add(value),
        }
        .map_err(|error| DbError::argument(&error))?;
    }
    Ok(arguments)
}

fn postgres_arguments(values: Vec<Value>) -> Result<PgArguments, DbError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Time(value) => arguments.add(value),
            Value::Date(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Json(value) => arguments.add(value),
        }
        .map_err(|error| DbError::argument(&error))?;
    }
    Ok(arguments)
}
