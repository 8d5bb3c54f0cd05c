//! A folder, a database and a scrubbed environment for one test.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use tempfile::TempDir;

use super::database::{Database, Place, Session};
use super::process::Batchctl;
use super::variable;

/// The clock of every process in a sandbox, unless the test sets another: one in the morning in Tokyo, when the nightly
/// report of 2026-11-19 runs.
pub(crate) const NOW: &str = "2026-11-20T01:00:00+09:00";

/// What `on_both_databases!` can pass to a test.
pub(crate) trait Arranged {
    /// Makes one on this database, with the schema in it.
    fn on(database: Database) -> Self;
}

/// A working directory and an empty, migrated database, stamped `dev`. Both are removed at the end of the test.
pub(crate) struct Sandbox {
    database: Database,
    // Before the folder, so that connections close before the file is removed.
    session: Mutex<Option<Session>>,
    place: Place,
    folder: TempDir,
    processes: AtomicU32,
}

impl Arranged for Sandbox {
    fn on(database: Database) -> Self {
        Self::of_environment(database, "dev")
    }
}

/// The program under test, under a name for this run: another build in the same target folder replaces the file with
/// the usual name, perhaps by one without failpoints.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folders = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in std::fs::read_dir(folders).expect("cargo created the folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("run-").and_then(|pid| pid.parse::<u32>().ok());
            let is_left = |pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
            if pid.is_some_and(is_left) {
                // Another run may sweep at the same time.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        // Its own name stays `batchctl`, which usage messages show.
        let program = folders.join(format!("run-{}", std::process::id())).join("batchctl");
        std::fs::create_dir_all(program.parent().expect("it is in a folder")).expect("a folder can be made");
        // A link, because a copy could still be open for writing when another thread starts it.
        std::fs::hard_link(env!("CARGO_BIN_EXE_batchctl"), &program).expect("a file can be linked");
        program
    })
}

impl Sandbox {
    /// One on SQLite, for a test that has nothing to do with databases.
    pub(crate) fn new() -> Self {
        Self::on(Database::Sqlite)
    }

    /// One whose database is stamped with this environment.
    pub(crate) fn of_environment(database: Database, environment: &str) -> Self {
        Self::at(database, |folder| Place::migrated(database, folder, environment))
    }

    /// One whose database is empty: no file, or no tables.
    pub(crate) fn without_schema(database: Database) -> Self {
        Self::at(database, |folder| Place::new(database, folder))
    }

    fn at(database: Database, place: impl FnOnce(&Path) -> Place) -> Self {
        // With a space, as folders of users have.
        let folder =
            tempfile::Builder::new().prefix("batchctl test ").tempdir().expect("a folder can be made");
        std::fs::create_dir(folder.path().join("work")).expect("a folder can be made");
        std::fs::create_dir(folder.path().join("processes")).expect("a folder can be made");
        let place = place(&folder.path().join("work"));
        Self { database, session: Mutex::new(None), place, folder, processes: AtomicU32::new(0) }
    }

    /// Which database this test runs on.
    pub(crate) fn database(&self) -> Database {
        self.database
    }

    /// What `BATCHCTL_DATABASE_URL` is in this sandbox.
    pub(crate) fn database_url(&self) -> &str {
        self.place.url()
    }

    /// A URL with which this kind of database refuses everybody: a wrong password, no such folder.
    pub(crate) fn refused_database_url(&self) -> String {
        match self.database() {
            Database::Sqlite => "sqlite:/nowhere/batchctl.db".to_owned(),
            Database::Postgres => {
                let (_, server) = self.database_url().rsplit_once('@').expect("a user in the URL");
                format!("postgres://with_password:hunter2@{server}")
            }
        }
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Deletes what is noted of databases that could not be used.
    pub(crate) fn forget_outages(&self) {
        for entry in std::fs::read_dir(self.path("")).expect("it is there").flatten() {
            if entry.file_name().to_string_lossy().ends_with(".outage.json") {
                std::fs::remove_file(entry.path()).expect("it is ours");
            }
        }
    }

    /// A command as messages quote it, to be typed in any folder.
    pub(crate) fn command(&self, environment: &str, words: &str) -> String {
        let folder = self.path("").canonicalize().expect("it is there");
        let folder = folder.to_str().expect("a test's folder has a plain name");
        let folder = shlex::try_quote(folder).expect("it holds no NUL");
        format!("cd {folder} && batchctl --env {environment} {words}")
    }

    /// Writes a file in the working directory.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is below the folder")).expect("folders can be made");
        std::fs::write(path, content).expect("a file can be written");
        self.date(name, NOW);
    }

    /// Sets when a file was last written: by the sandbox's clock, unless a test is about other times.
    #[track_caller]
    pub(crate) fn date(&self, name: &str, instant: &str) {
        let instant: DateTime<Utc> = instant.parse().expect("an instant");
        let file = std::fs::File::options().write(true).open(self.path(name)).expect("it is there");
        file.set_modified(instant.into()).expect("a file has a time");
    }

    /// Reads a text file of the working directory.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A batchctl to run here, with only `PATH` from the caller's environment: the sandbox's database, clock and home, no
    /// terminal, nothing on stdin.
    pub(crate) fn batchctl<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Batchctl {
        let number = self.processes.fetch_add(1, Ordering::Relaxed);
        let arguments: Vec<String> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut command = Command::new(program());
        command
            .args(&arguments)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", variable("PATH").unwrap_or_default())
            .env("HOME", self.path(""))
            .env("BATCHCTL_DATABASE_URL", self.place.url())
            .env("BATCHCTL_NOW", NOW);
        Batchctl::new(command, arguments, self.folder.path().join("processes").join(number.to_string()))
    }

    /// A line that somebody types into a shell, where `batchctl` is a command and the variables are those of
    /// [`Sandbox::batchctl`].
    pub(crate) fn typed(&self, line: &str) -> Batchctl {
        let programs = program().parent().expect("it is in a folder").display().to_string();
        let path = format!("{programs}:{}", variable("PATH").unwrap_or_default());
        self.batchctl([line]).through_shell("eval \"$2\"").env("PATH", path)
    }

    /// The same in another folder.
    pub(crate) fn typed_elsewhere(&self, line: &str) -> Batchctl {
        let elsewhere = self.folder.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).expect("a folder can be made");
        self.typed(line).in_folder(&elsewhere)
    }

    /// Runs SQL and returns its rows, each value as text: a NULL as `NULL`, a boolean as `1` or `0`, an instant as
    /// `2026-11-19T15:00:00+00:00`, the same on both databases. Specify an order: without one they differ.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.with_session(|session| session.run(sql))
    }

    /// Runs statements whose rows do not matter.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.sql(sql);
    }

    /// Runs statements that the database refuses, and returns its message.
    #[track_caller]
    pub(crate) fn refuses(&self, sql: &str) -> String {
        self.with_session(|session| match session.try_run(sql) {
            Err(error) => error.to_string(),
            Ok(rows) => panic!("`{sql}` was not refused: {rows:?}"),
        })
    }

    /// The numbers from 1, as rows `n` of a FROM clause.
    pub(crate) fn series(&self, most: usize) -> String {
        match self.database() {
            Database::Sqlite => format!(
                "(WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {most}) SELECT n FROM series)"
            ),
            Database::Postgres => format!("generate_series(1, {most}) AS series(n)"),
        }
    }

    /// The value of a query that has one row with one column.
    #[track_caller]
    pub(crate) fn scalar(&self, sql: &str) -> String {
        let rows = self.sql(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => panic!("not one value: {rows:?}\nin: {sql}"),
        }
    }

    /// Every row of every table, to compare before and after; empty if there is no database yet.
    pub(crate) fn dump(&self) -> String {
        if matches!(&self.place, Place::Sqlite(file) if !Path::new(file).exists()) {
            return String::new();
        }
        self.with_session(|session| {
            let mut dump = String::new();
            for table in session.tables() {
                let mut rows = session.run(&format!("SELECT * FROM {table}"));
                rows.sort();
                for row in rows {
                    writeln!(dump, "{table}: {}", row.join(" | ")).expect("a string takes all");
                }
            }
            dump
        })
    }

    fn with_session<T>(&self, work: impl FnOnce(&mut Session) -> T) -> T {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        work(session.get_or_insert_with(|| self.place.connect()))
    }
}
