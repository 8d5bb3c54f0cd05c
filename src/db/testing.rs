//! A database for tests of steps and queries, in process and next to their code: a few milliseconds each.
//!
//! `on_both_databases![a_step_does_something]` makes `async fn a_step_does_something(db: &mut TestDb)` a test on
//! SQLite and one on PostgreSQL. [`TestDb`] is an open connection to a migrated, empty database of the test's own: on
//! SQLite a copy of a file that was migrated once, on PostgreSQL a schema that the process's tests reuse, emptied each
//! time.

#[path = "../../tests/cli/support/as_text.rs"]
pub(crate) mod as_text;

use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::as_text::{postgres_row, sqlite_row};
use super::{Conn, Db, Kind, Value};
use crate::config::{Config, LoadOptions};
use crate::context::Context;
use crate::mask::Redactor;
use crate::output::{LogFormat, Output};
use crate::values;

/// The address of a PostgreSQL for tests; `scripts/test` starts one and sets it.
const POSTGRES_URL: &str = "BATCHCTL_TEST_POSTGRES_URL";

/// The time on the clock, the same as in the tests of the program: one in the morning in Tokyo, when the nightly
/// report of 2026-11-19 runs.
pub(crate) const NOW: &str = "2026-11-20T01:00:00+09:00";

/// [`NOW`] as an instant.
pub(crate) fn now() -> DateTime<Utc> {
    at(NOW)
}

/// An instant in RFC 3339.
#[track_caller]
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// Makes each of these functions a test on SQLite and one on PostgreSQL.
///
/// It takes names, and not the functions themselves, because rustfmt does not format what is inside a macro; a
/// function that is missing from the list is unused, which the lints refuse.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                $crate::db::testing::run_on($crate::db::Kind::Sqlite, super::$name).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::db::testing::run_on($crate::db::Kind::Postgres, super::$name).await;
            }
        }
    )+};
}
pub(crate) use on_both_databases;

/// Runs a test on a database, if that database is available.
pub(crate) async fn run_on(kind: Kind, test: impl AsyncFnOnce(&mut TestDb)) {
    if kind == Kind::Postgres && postgres_url().is_none() {
        return;
    }
    let mut db = TestDb::on(kind).await;
    test(&mut db).await;
    db.close().await;
}

/// The PostgreSQL server for tests. Without one its tests are skipped with a notice; in CI that is a failure.
#[expect(clippy::disallowed_methods, reason = "the test program would swallow a notice that is `eprint`ed")]
fn postgres_url() -> Option<String> {
    static NOTICE: Once = Once::new();
    let variables = LoadOptions::from_process(None, false).unwrap().process_env;
    let value = |name| variables.get(name).filter(|value| !value.is_empty());
    let url = value(POSTGRES_URL).cloned();
    if url.is_none() {
        assert!(value("CI").is_none(), "{POSTGRES_URL} is not set, and CI skips no test: use scripts/test");
        NOTICE.call_once(|| {
            let notice = "note: the PostgreSQL half of the tests is skipped: use scripts/test";
            writeln!(std::io::stderr(), "{notice} ({POSTGRES_URL} is not set)").unwrap();
        });
    }
    url
}

/// A migrated, empty database stamped `dev`, and a connection to it. Both go away with the test.
pub(crate) struct TestDb {
    db: Db,
    /// Contains the file on SQLite; otherwise only the working directory of [`Self::context`].
    folder: TempDir,
    schema: Option<Schema>,
}

impl Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl DerefMut for TestDb {
    fn deref_mut(&mut self) -> &mut Db {
        &mut self.db
    }
}

impl TestDb {
    async fn on(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        match kind {
            Kind::Sqlite => {
                std::fs::write(folder.path().join(FILE), sqlite_template().await).unwrap();
                Self { db: sqlite(folder.path()).await, folder, schema: None }
            }
            Kind::Postgres => {
                let (schema, db) = Schema::take().await;
                Self { db, folder, schema: Some(schema) }
            }
        }
    }

    /// Another empty database of the same kind.
    pub(crate) async fn fresh(&self) -> Self {
        Self::on(self.kind()).await
    }

    /// A database of the same kind that has only the migrations before this one, for a test of what it does to rows: they
    /// are there before `migrate` does the rest.
    pub(crate) async fn before_migration(&self, version: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (schema, mut db) = match self.kind() {
            Kind::Sqlite => (None, sqlite(folder.path()).await),
            Kind::Postgres => {
                let (schema, db) = Schema::create().await;
                (Some(schema), db)
            }
        };
        db.migrate_before(version).await;
        Self { db, folder, schema }
    }

    /// A second connection, for a test of what happens concurrently.
    pub(crate) async fn another(&self) -> Db {
        match &self.schema {
            None => sqlite(self.folder.path()).await,
            Some(schema) => Db::connect(&schema.url(), false).await.unwrap(),
        }
    }

    /// A context over this database, with its clock at [`NOW`] and an empty working directory.
    pub(crate) fn context(&self) -> Context {
        let url = self.schema.as_ref().map_or_else(|| sqlite_url(self.folder.path()), Schema::url);
        let variables = [("BATCHCTL_DATABASE_URL", url), ("BATCHCTL_NOW", NOW.to_owned())];
        let config = Config::load(LoadOptions {
            env_flag: None,
            working_dir: self.folder.path().to_owned(),
            process_env: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            full_paths: false,
        });
        Context::new(config.unwrap(), Output::new(LogFormat::Text, 0, true, Redactor::default()))
    }

    /// Runs SQL and returns its rows, each value as text: a NULL as `NULL`, a boolean as `1` or `0`, an instant as
    /// `2026-11-19T15:00:00+00:00`, alike on both databases. State an order: without one they differ.
    #[expect(clippy::disallowed_methods, reason = "part of the only place that calls a driver")]
    pub(crate) async fn sql(&mut self, sql: &str) -> Vec<Vec<String>> {
        let rows = match &mut self.db.conn {
            Conn::Sqlite(connection) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await;
                rows.map(|rows| rows.iter().map(sqlite_row).collect())
            }
            Conn::Postgres(connection) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await;
                rows.map(|rows| rows.iter().map(postgres_row).collect())
            }
        };
        rows.unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
    }

    /// The rows of a query, one line each, in byte order: the two databases sort texts differently.
    pub(crate) async fn lines(&mut self, sql: &str) -> Vec<String> {
        let mut lines: Vec<String> = self.sql(sql).await.into_iter().map(|row| row.join(" ")).collect();
        lines.sort();
        lines
    }

    /// The value of a query that has one row with one column.
    pub(crate) async fn scalar(&mut self, sql: &str) -> String {
        let rows = self.sql(sql).await;
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => panic!("not one value: {rows:?}\nin: {sql}"),
        }
    }

    /// The columns by which a statement finds the rows of a table, known by its alias: `mall_id, member_code`, and
    /// nothing where the table is read in full. One text for each way in which the statement reads it. Fill the table
    /// first: a planner reads a few rows in full, whatever its indexes.
    pub(crate) async fn found_by(&mut self, alias: &str, sql: &str, values: Vec<Value>) -> Vec<String> {
        let mut found = match self.kind() {
            Kind::Sqlite => {
                let steps = self.sqlite_plan(sql, values).await;
                steps.iter().filter_map(|(_, _, _, step)| found_in_step(step, alias)).collect()
            }
            Kind::Postgres => {
                let mut found = Vec::new();
                find_in_plan(&self.postgres_plan(sql, values).await, alias, &mut found);
                found
            }
        };
        found.sort();
        found.dedup();
        found
    }

    /// Whether a statement compares each row of a table with each of another one.
    pub(crate) async fn compares_all_pairs(&mut self, sql: &str, values: Vec<Value>) -> bool {
        match self.kind() {
            Kind::Sqlite => has_inner_scan(&self.sqlite_plan(sql, values).await),
            Kind::Postgres => has_pairwise_join(&self.postgres_plan(sql, values).await),
        }
    }

    async fn sqlite_plan(&mut self, sql: &str, values: Vec<Value>) -> Vec<Step> {
        self.fetch_all(&format!("EXPLAIN QUERY PLAN {sql}"), values).await.unwrap()
    }

    async fn postgres_plan(&mut self, sql: &str, values: Vec<Value>) -> Json {
        let explain = format!("EXPLAIN (FORMAT JSON) {sql}");
        let (mut plans,): (Json,) = self.fetch_one(&explain, values).await.unwrap();
        plans[0]["Plan"].take()
    }

    /// Inserts rows by one statement: what follows INSERT INTO, with expressions in `n`, which counts from 1. PostgreSQL
    /// knows nothing of the table afterwards, as of one that is new, and takes no statistics of it by itself.
    pub(crate) async fn fill(&mut self, count: u32, rows: &str) {
        if self.kind() == Kind::Postgres {
            let table = rows.split([' ', '(']).next().expect("a table");
            // An earlier test may have had the same table, and the server may have analysed it. Only a superuser may.
            let forget = format!(
                "ALTER TABLE {table} SET (autovacuum_enabled = FALSE);
                 DELETE FROM pg_statistic WHERE starelid = to_regclass('{table}');
                 UPDATE pg_class SET relpages = 0, reltuples = -1
                 WHERE oid = to_regclass('{table}')
                    OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass('{table}'))"
            );
            self.db.script(&forget).await.unwrap();
        }
        let series = format!("SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}");
        self.sql(&format!("WITH RECURSIVE series (n) AS ({series}) INSERT INTO {rows} FROM series")).await;
    }

    /// Every row of every table, to compare before and after.
    pub(crate) async fn dump(&mut self) -> Vec<String> {
        let tables = self.pick(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
        );
        let mut dump = Vec::new();
        for table in self.sql(tables).await.concat() {
            let rows = self.sql(&format!("SELECT * FROM {table}")).await;
            dump.extend(rows.iter().map(|row| format!("{table}: {}", row.join(" | "))));
        }
        dump.sort();
        dump
    }

    /// Closes the connection before another test may have the schema.
    pub(crate) async fn close(self) {
        self.db.close().await;
    }
}

// ---------------------------------------------------------------- plans

/// A step of SQLite's plan: its number, that of the step it belongs to, nothing, and what it does.
type Step = (i64, i64, i64, String);

/// `SCAN o`, or `SEARCH o USING INDEX carts_member (member_code=?)`.
fn found_in_step(step: &str, alias: &str) -> Option<String> {
    let mut words = step.split(' ');
    match (words.next()?, words.next()?) {
        ("SCAN", name) if name == alias => Some(String::new()),
        ("SEARCH", name) if name == alias => Some(columns_of(step.split_once(" (")?.1)),
        _ => None,
    }
}

/// A plan is a tree. What finds the rows of a bitmap is a step below the one that names the table.
fn find_in_plan(plan: &Json, alias: &str, found: &mut Vec<String>) {
    let steps = plan["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    let kind = plan["Node Type"].as_str().unwrap_or_default();
    // A second table of the same alias is `o_1`.
    let name = plan["Alias"].as_str().unwrap_or_default();
    let is_alias = name.strip_prefix(alias).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('_').is_some_and(|number| number.parse::<u32>().is_ok())
    });
    if is_alias && kind != "ModifyTable" {
        let condition = match kind {
            "Bitmap Heap Scan" => &steps[0]["Index Cond"],
            _ => &plan["Index Cond"],
        };
        found.push(condition.as_str().map(columns_of).unwrap_or_default());
    }
    for step in steps {
        find_in_plan(step, alias, found);
    }
}

/// The columns of `mall_id=? AND (due_at,rowid)>(?,?))`, or of `((mall_id = 1) AND (ROW(due_at, id) > ROW($2, $3)))`.
fn columns_of(conditions: &str) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for condition in conditions.split(" AND ") {
        let start = condition.trim_start_matches('(').trim_start_matches("ROW(");
        let end = start.find([')', '=', '<', '>']).unwrap_or(start.len());
        for column in start[..end].split(',').filter_map(|column| column.split_whitespace().next()) {
            let column = if column == "rowid" { "id" } else { column };
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    columns.join(", ")
}

/// Whether a table or a subquery is read in full inside of another one: within a join, all but the outermost are found by
/// an index.
fn has_inner_scan(steps: &[Step]) -> bool {
    steps.iter().enumerate().any(|(index, (_, parent, _, step))| {
        step.starts_with("SCAN ")
            && steps[..index].iter().any(|(_, other, _, outer)| {
                other == parent && (outer.starts_with("SCAN ") || outer.starts_with("SEARCH "))
            })
    })
}

/// Whether a condition of a join is tried on each pair of rows.
fn has_pairwise_join(plan: &Json) -> bool {
    let is_pairwise = plan["Node Type"] == "Nested Loop" && !plan["Join Filter"].is_null();
    is_pairwise || plan["Plans"].as_array().is_some_and(|steps| steps.iter().any(has_pairwise_join))
}

// ---------------------------------------------------------------- SQLite

const FILE: &str = "batchctl.db";

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(FILE).display())
}

/// A connection that does not wait for the disk: no test outlives a loss of power.
async fn sqlite(folder: &Path) -> Db {
    let mut db = Db::connect(&sqlite_url(folder), true).await.unwrap();
    db.script("PRAGMA synchronous = OFF").await.unwrap();
    db
}

/// A migrated file, created once per process.
async fn sqlite_template() -> &'static [u8] {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(async || {
            let folder = tempfile::tempdir().unwrap();
            let mut db = sqlite(folder.path()).await;
            db.migrate("dev", now()).await.unwrap();
            // The last to leave writes the log into the file.
            db.close().await;
            std::fs::read(folder.path().join(FILE)).unwrap()
        })
        .await
}

// ---------------------------------------------------------------- PostgreSQL

/// Leaves a schema as it was migrated. A table that refers to another one was created after it, so it is emptied
/// first.
const EMPTY_SCHEMA: &str = "
    DO $$
    DECLARE
        found RECORD;
    BEGIN
        FOR found IN
            SELECT relname FROM pg_class
            WHERE relnamespace = CAST(current_schema() AS regnamespace) AND relkind = 'r'
                AND relname NOT IN ('_sqlx_migrations', 'batch_environment')
            -- Last, because triggers of the others write it.
            ORDER BY relname = 'sales_changes', oid DESC
        LOOP
            EXECUTE format('DELETE FROM %I', found.relname);
        END LOOP;
        FOR found IN
            SELECT CAST(oid AS regclass) AS name FROM pg_class
            WHERE relnamespace = CAST(current_schema() AS regnamespace) AND relkind = 'S'
        LOOP
            PERFORM setval(found.name, 1, FALSE);
        END LOOP;
    END $$";

/// A schema that a test has to itself while it runs. The process's tests reuse a few of them, since emptying one is
/// many times as fast as creating it; the next test run drops them.
struct Schema(String);

/// The names of the schemas that no test is using.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Schema {
    async fn take() -> (Self, Db) {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(schema) = free.map(Self) {
            let mut db = Db::connect(&schema.url(), false).await.unwrap();
            db.script(EMPTY_SCHEMA).await.unwrap();
            return (schema, db);
        }
        let (schema, mut db) = Self::create().await;
        db.migrate("dev", now()).await.unwrap();
        (schema, db)
    }

    /// An empty one, which has to be migrated by the end.
    async fn create() -> (Self, Db) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = Self(format!("batchctl_test_{}_steps_{number}", std::process::id()));
        let mut db = Db::connect(&schema.url(), false).await.unwrap();
        db.script(&format!("CREATE SCHEMA {}", schema.0)).await.unwrap();
        (schema, db)
    }

    fn url(&self) -> String {
        let server = postgres_url().expect("asked before: run_on");
        let separator = if server.contains('?') { '&' } else { '?' };
        format!("{server}{separator}options[search_path]={}", self.0)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A test that failed may have left anything.
        if !std::thread::panicking() {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.0));
        }
    }
}

/// Drops what dead test processes have left on the server. A schema names its process, so those that share a server
/// have to be on one host.
async fn sweep() {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    SWEPT
        .get_or_init(async || {
            let mut db = Db::connect(&postgres_url().expect("asked before: run_on"), false).await.unwrap();
            let sql =
                "SELECT nspname FROM pg_namespace WHERE nspname ~ '^batchctl_test_[0-9]+_steps_[0-9]+$'";
            let schemas: Vec<(String,)> = db.fetch_all(sql, values![]).await.unwrap();
            for (schema,) in schemas {
                let pid = schema.split('_').nth(2).and_then(|pid| pid.parse::<u32>().ok());
                // One with our own number is of an earlier process: this one has not made any yet.
                let is_left = |pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
                if pid.is_some_and(is_left) {
                    db.script(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await.unwrap();
                }
            }
            db.close().await;
        })
        .await;
}

on_both_databases![a_test_starts_with_an_empty_database, a_second_connection_sees_what_was_committed];

const ADD_MALL: &str =
    "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
     VALUES ('tokyo', 'Tokyo', 'file', 'Asia/Tokyo', 'JPY', TRUE, $1, $1)";

async fn a_test_starts_with_an_empty_database(db: &mut TestDb) {
    // On PostgreSQL the second one gets the schema of the first one, or of a test that has just ended.
    for _ in 0..2 {
        let mut test = db.fresh().await;
        test.execute(ADD_MALL, values![now()]).await.unwrap();
        let found = test.sql("SELECT id, code, created_at FROM malls").await;
        assert_eq!(found, [["1", "tokyo", "2026-11-19T16:00:00+00:00"]]);
        assert_eq!(test.scalar("SELECT name FROM batch_environment").await, "dev");
        test.close().await;
    }
    assert_eq!(db.scalar("SELECT COUNT(*) FROM malls").await, "0", "each has its own");
}

async fn a_second_connection_sees_what_was_committed(db: &mut TestDb) {
    let mut other = db.another().await;
    other.script("BEGIN").await.unwrap();
    other.execute(ADD_MALL, values![now()]).await.unwrap();
    assert_eq!(db.scalar("SELECT COUNT(*) FROM malls").await, "0");
    other.script("COMMIT").await.unwrap();
    assert_eq!(db.scalar("SELECT COUNT(*) FROM malls").await, "1");
    other.close().await;
}

#[test]
fn the_examples_in_the_documentation_are_in_the_tree() {
    let tests = [
        include_str!("../jobs/report/daily_cancellations/tests.rs"),
        include_str!("../../tests/cli/report_daily_cancellations.rs"),
    ];
    let examples: Vec<&str> = include_str!("../../docs/testing.md")
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .collect();
    assert_eq!(examples.len(), 2);
    for part in examples.iter().flat_map(|example| example.split("\n\n")) {
        assert!(tests.iter().any(|test| test.contains(part.trim_end())), "{part}");
    }
}
