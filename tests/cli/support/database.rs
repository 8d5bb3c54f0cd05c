//! Direct access to a test's database, with SQL and results as text, the same on SQLite and PostgreSQL.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use batchctl::db::Db;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::as_text::{postgres_row, sqlite_row};
use super::{NOW, variable};

/// The URL of a PostgreSQL for tests; `scripts/test` starts one and sets it.
const POSTGRES_URL: &str = "BATCHCTL_TEST_POSTGRES_URL";

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// Whether tests can run on it. Without PostgreSQL its tests are skipped with a notice; in CI that is a failure.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test program would swallow a notice that is `eprint`ed"
    )]
    pub(crate) fn is_available(self) -> bool {
        static NOTICE: std::sync::Once = std::sync::Once::new();
        if self == Self::Sqlite || variable(POSTGRES_URL).is_some() {
            return true;
        }
        assert!(
            variable("CI").is_none(),
            "{POSTGRES_URL} is not set, and CI skips no test: use scripts/test"
        );
        NOTICE.call_once(|| {
            let notice = "note: the PostgreSQL half of the tests is skipped: use scripts/test";
            writeln!(std::io::stderr(), "{notice} ({POSTGRES_URL} is not set)").expect("stderr is there");
        });
        false
    }
}

/// A database for one test, removed with it.
pub(super) enum Place {
    /// A file, created by its first user.
    Sqlite(PathBuf),
    /// A database of the server at `url`.
    Postgres { url: String, name: String },
}

impl Place {
    /// One without tables.
    pub(super) fn new(database: Database, folder: &Path) -> Self {
        match database {
            Database::Sqlite => Self::on_sqlite(folder),
            Database::Postgres => Self::on_postgres("template1"),
        }
    }

    /// One with our tables and nothing in them, stamped with this environment.
    pub(super) fn migrated(database: Database, folder: &Path, environment: &str) -> Self {
        let place = match database {
            Database::Sqlite => {
                let place = Self::on_sqlite(folder);
                std::fs::write(folder.join(SQLITE_FILE), sqlite_template()).expect("a file can be written");
                place
            }
            Database::Postgres => Self::on_postgres(postgres_template()),
        };
        if environment != ENVIRONMENT {
            place.connect().run(&format!("UPDATE batch_environment SET name = '{environment}'"));
        }
        place
    }

    fn on_sqlite(folder: &Path) -> Self {
        Self::Sqlite(folder.join(SQLITE_FILE))
    }

    fn on_postgres(template: &str) -> Self {
        let (url, name) = create_database(template);
        Self::Postgres { url, name }
    }

    /// What `BATCHCTL_DATABASE_URL` is set to. The file is relative to the working directory, as by default.
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Sqlite(_) => "sqlite:batchctl.db",
            Self::Postgres { url, .. } => url,
        }
    }

    pub(super) fn connect(&self) -> Session {
        match self {
            Self::Sqlite(file) => Session::on_sqlite(file),
            Self::Postgres { url, .. } => Session::on_postgres(url),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Postgres { name, .. } = self {
            // A process that the test left behind may still be connected.
            let done = Session::on_postgres(server()).try_run(&format!("DROP DATABASE {name} WITH (FORCE)"));
            if let Err(error) = done
                && !std::thread::panicking()
            {
                panic!("failed to drop {name}: {error}");
            }
        }
    }
}

/// The name of a sandbox's SQLite file.
const SQLITE_FILE: &str = "batchctl.db";
/// What the templates are stamped with.
const ENVIRONMENT: &str = "dev";

/// A migrated SQLite file, created once.
fn sqlite_template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join(SQLITE_FILE);
        migrate(&format!("sqlite:{}", file.display()));
        assert!(!file.with_extension("db-wal").exists(), "the last to leave writes the log into the file");
        std::fs::read(file).expect("the file was made")
    })
}

/// The name of a migrated database on the server, created once; the sweep of the next run removes it.
fn postgres_template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let (url, name) = create_database("template1");
        migrate(&url);
        name
    })
}

/// Makes a copy of a database on the server, and returns its URL and its name.
fn create_database(template: &str) -> (String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("batchctl_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    // Copying files costs a third of what making the tables does.
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
    Session::on_postgres(server()).run(&create);
    let mut url = url::Url::parse(server()).expect("BATCHCTL_TEST_POSTGRES_URL is a URL");
    url.set_path(&name);
    (url.into(), name)
}

/// Creates the tables as `db migrate` does.
fn migrate(url: &str) {
    runtime()
        .block_on(async {
            let mut db = Db::connect(url, true).await?;
            db.migrate(ENVIRONMENT, NOW.parse()?).await?;
            db.close().await;
            anyhow::Ok(())
        })
        .expect("the migrations apply");
}

/// The URL of the PostgreSQL server, swept of what dead test runs left. A database names its run by the process id,
/// so runs that share a server have to be on one host.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| {
        let url = variable(POSTGRES_URL).expect("asked before: is_available");
        let mut session = Session::on_postgres(&url);
        for row in
            session.run("SELECT datname FROM pg_database WHERE datname ~ '^batchctl_test_[0-9]+_[0-9]+$'")
        {
            let pid = row[0].split('_').nth(2).and_then(|pid| pid.parse::<u32>().ok());
            // One with our own pid belongs to an earlier process: this one has not created any yet.
            let is_left = |pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
            if pid.is_some_and(is_left) {
                session.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", row[0]));
            }
        }
        url
    })
}

/// One connection, and the runtime it lives in.
pub(super) struct Session {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

#[expect(clippy::disallowed_types, reason = "a test looks at the database without the program under test")]
enum Connection {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

#[expect(clippy::disallowed_methods, reason = "a test looks at the database without the program under test")]
impl Session {
    pub(super) fn on_sqlite(file: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(30))
            .disable_statement_logging();
        let runtime = runtime();
        let connection = runtime.block_on(options.connect()).expect("the SQLite file can be opened");
        Self { runtime, connection: Connection::Sqlite(connection) }
    }

    pub(super) fn on_postgres(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("BATCHCTL_TEST_POSTGRES_URL is a PostgreSQL URL");
        // Messages are compared with their English text; instants are read in UTC.
        let options = options.options([("timezone", "UTC"), ("client_min_messages", "warning")]);
        let runtime = runtime();
        let connecting = options.disable_statement_logging();
        let connection = runtime.block_on(connecting.connect()).expect("the PostgreSQL server answers");
        Self { runtime, connection: Connection::Postgres(connection) }
    }

    /// Runs statements and returns all rows as text.
    #[track_caller]
    pub(super) fn run(&mut self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
    }

    pub(super) fn try_run(&mut self, sql: &str) -> Result<Vec<Vec<String>>, sqlx::Error> {
        // `raw_sql` speaks PostgreSQL's simple protocol, whose values are all text; SQLite converts on demand.
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                let rows = self.runtime.block_on(statement.fetch_all(connection))?;
                Ok(rows.iter().map(sqlite_row).collect())
            }
            Connection::Postgres(connection) => {
                let rows = self.runtime.block_on(statement.fetch_all(connection))?;
                Ok(rows.iter().map(postgres_row).collect())
            }
        }
    }

    /// The tables, by name.
    pub(super) fn tables(&mut self) -> Vec<String> {
        let sql = match self.connection {
            Connection::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            }
            Connection::Postgres(_) => "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
        };
        let mut tables = self.run(sql).concat();
        tables.sort();
        tables
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}
