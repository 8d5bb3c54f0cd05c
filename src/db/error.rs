//! What a database error means for a run: whether trying again later can help, or what has to be fixed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::error::ErrorKind;
use sqlx::postgres::PgConnectOptions;

use crate::failure::FailureKind;

/// What can be done about a database error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbErrorKind {
    /// The server is unreachable, starting, stopping or busy: trying later may work.
    Unreachable,
    /// Wrong address, user, password or file: the configuration has to change.
    Configuration,
    /// A table is missing: the schema does not exist.
    MissingTable,
    /// The statement broke a constraint of the schema.
    Constraint,
    /// It can be read and not written: a standby that was not promoted, most likely.
    ReadOnly,
    /// The disk or the database's space is used up.
    Full,
    /// Anything else; most likely a bug.
    Other,
}

impl From<DbErrorKind> for FailureKind {
    fn from(kind: DbErrorKind) -> Self {
        match kind {
            // A full disk passes, and is nobody's fault who starts a job.
            DbErrorKind::Unreachable | DbErrorKind::Full | DbErrorKind::ReadOnly => Self::TryLater,
            DbErrorKind::Configuration | DbErrorKind::MissingTable => Self::Configuration,
            DbErrorKind::Constraint | DbErrorKind::Other => Self::Failed,
        }
    }
}

/// A database error on one line, without passwords and without repeating its cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DbError {
    kind: DbErrorKind,
    message: String,
    hint: Option<String>,
    retry_once: Option<&'static str>,
    is_busy: bool,
    is_conflict: bool,
}

/// Where a database is: without user and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server {
        /// The server's host, or the folder of its socket, and its port; empty if the URL makes no sense.
        address: String,
        /// The database's name.
        database: String,
        /// Settings of the session, such as a `search_path`, which chooses among the schemas of the database.
        options: String,
    },
}

impl Place {
    /// The place of a database URL.
    pub fn of(url: &str) -> Self {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.trim_start_matches("//").split('?').next().unwrap_or(path);
            return Self::File(PathBuf::from(path));
        }
        let Ok(parsed) = url.parse::<PgConnectOptions>() else {
            let nothing = String::new;
            return Self::Server { address: nothing(), database: nothing(), options: nothing() };
        };
        let host = match parsed.get_socket() {
            Some(socket) => socket.to_string_lossy().into_owned(),
            None => parsed.get_host().to_owned(),
        };
        Self::Server {
            address: format!("{host}:{}", parsed.get_port()),
            database: parsed.get_database().unwrap_or(parsed.get_username()).to_owned(),
            options: parsed.get_options().unwrap_or_default().to_owned(),
        }
    }

    /// The same for readers who may be in another folder.
    #[must_use]
    pub fn absolute(&self) -> Self {
        match self {
            Self::File(path) => Self::File(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            Self::Server { .. } => self.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "the SQLite file `{}`", path.display()),
            Self::Server { address, .. } if address.is_empty() => formatter.write_str("PostgreSQL"),
            Self::Server { address, database, options } if options.is_empty() => {
                write!(formatter, "PostgreSQL at `{address}/{database}`")
            }
            Self::Server { address, database, options } => {
                write!(formatter, "PostgreSQL at `{address}/{database}` with `{options}`")
            }
        }
    }
}

/// With less free space than this a disk is full: a page of a table and one of the log need more.
const FULL_BELOW_BYTES: u64 = 64 * 1024;
const MAKE_ROOM: &str =
    "make room there, then run the same command again: it resumes where the last commit ended";
const ROOM: &str = "once there is room";
const CHECK_DISK: &str = "check the disk, its quota and `ulimit -f`, then run the same command again: it resumes where the \
                          last commit ended";
const WAIT_FOR_THE_PRIMARY: &str = "it may be a standby after a failover: wait until it is promoted, or point \
                                    BATCHCTL_DATABASE_URL at the primary";
const VERIFY: &str = "off this machine TLS with a verified certificate is required: add `?sslrootcert=FILE` for an \
                      authority that the system does not know, or, if everything on the way is trusted, \
                      `?sslmode=require` (TLS, unverified)";
const NO_TLS: &str = "off this machine TLS is required: switch it on at the server (`ssl = on` in postgresql.conf), or, if \
                      everything on the way is trusted, write `?sslmode=disable`";
const FIND_LONG_TRANSACTION: &str = "nothing was changed; `SELECT pid, usename, application_name, xact_start, query FROM \
                                     pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start` shows the oldest \
                                     transaction: once it has ended, run `batchctl db migrate` again";
const CHECK_PERMISSIONS: &str =
    "check who may write the file and its folder, and whether their disk is mounted read-only";

impl DbError {
    /// What can be done about it.
    pub fn kind(&self) -> DbErrorKind {
        self.kind
    }

    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// When running it again helps, if that is known.
    pub fn retry_once(&self) -> Option<&'static str> {
        self.retry_once
    }

    /// Whether the database is there, but others keep it from answering: locks, a deadlock, its own time limits.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether the transaction failed because of what others wrote meanwhile, and succeeds if it starts over.
    pub(super) fn is_conflict(&self) -> bool {
        self.is_conflict
    }

    fn new(kind: DbErrorKind, message: String) -> Self {
        Self { kind, message, hint: None, retry_once: None, is_busy: false, is_conflict: false }
    }

    pub(super) fn connecting(error: &sqlx::Error, place: &Place) -> Self {
        let kind = match classify(error) {
            DbErrorKind::Full => return Self::full(error, place),
            _ if is_about_encryption(error) => DbErrorKind::Configuration,
            // Any other reason to refuse a connection has to do with the URL.
            DbErrorKind::Other => DbErrorKind::Configuration,
            kind => kind,
        };
        Self {
            hint: is_about_encryption(error).then(|| {
                let has_none = describe(error).contains("does not support TLS");
                if has_none { NO_TLS } else { VERIFY }.to_owned()
            }),
            ..Self::new(kind, format!("failed to connect to {place}: {}", describe(error)))
        }
    }

    /// A SQLite file that should be there and is not, or has lost its contents.
    pub fn lost_file(file: &Path, problem: &str) -> Self {
        Self::new(DbErrorKind::Configuration, format!("{} {problem}", Place::File(file.to_owned())))
    }

    /// A step that was given up on because no answer came: `what` it was.
    pub fn unanswered(what: &str) -> Self {
        Self::new(DbErrorKind::Unreachable, format!("failed to {what}: the database does not answer"))
    }

    pub(super) fn silent(place: &Place, waited: Duration) -> Self {
        let message = format!("failed to connect to {place}: no answer in {} s", waited.as_secs());
        Self::new(DbErrorKind::Unreachable, message)
    }

    pub(super) fn query(error: &sqlx::Error, sql: &str, place: &Place) -> Self {
        let kind = classify(error);
        let message = match kind {
            _ if is_read_only(error) => return Self::read_only(kind, error, place),
            DbErrorKind::Unreachable if is_busy(error) => return Self::busy(error, place),
            DbErrorKind::Unreachable => format!("lost the connection to the database: {}", describe(error)),
            DbErrorKind::Full => return Self::full(error, place),
            // The statement's first words show which step failed; values are never part of it.
            _ => format!("{} (in `{}`)", describe(error), opening(sql)),
        };
        Self::new(kind, message)
    }

    /// A row that another program wrote, whose column holds what the schema does not mean.
    pub(super) fn row(column: &str, key: Option<&str>, problem: &str, sql: &str) -> Self {
        let row = key.map_or_else(|| "a row".to_owned(), |key| format!("the row with {key}"));
        let message = format!("{row} has a `{column}` that {problem} (in `{}`)", opening(sql));
        Self::new(DbErrorKind::Other, message)
    }

    /// Others keep it from answering. On SQLite that may be any program, which only the operating system knows.
    fn busy(error: &sqlx::Error, place: &Place) -> Self {
        let place = place.absolute();
        let hint = match &place {
            Place::File(path) => shlex::try_quote(&path.to_string_lossy())
                .ok()
                .map(|path| format!("another program holds its lock: `fuser {path}` shows who has it open")),
            Place::Server { .. } => None,
        };
        let message = format!("{place} is busy: {}", describe(error));
        Self {
            hint,
            retry_once: Some("once it is free"),
            is_busy: true,
            is_conflict: is_conflict(error),
            ..Self::new(DbErrorKind::Unreachable, message)
        }
    }

    fn read_only(kind: DbErrorKind, error: &sqlx::Error, place: &Place) -> Self {
        let hint = match place {
            Place::File(_) => CHECK_PERMISSIONS,
            Place::Server { .. } => WAIT_FOR_THE_PRIMARY,
        };
        let message = format!("{} is read-only: {}", place.absolute(), describe(error));
        Self {
            hint: Some(hint.to_owned()),
            retry_once: Some("once it can be written"),
            ..Self::new(kind, message)
        }
    }

    /// No room, or a disk that fails: named, because the database's own words are `disk I/O error`.
    fn full(error: &sqlx::Error, place: &Place) -> Self {
        let code = code_of(error);
        let disk = || format!("the disk that holds {}", place.absolute());
        let (what, hint, once) = match place {
            Place::Server { .. } if code.as_deref() == Some(OUT_OF_MEMORY) => {
                (format!("{place} is out of memory"), None, "once it has memory again")
            }
            Place::Server { .. } => (format!("the disk of {place} is full"), Some(MAKE_ROOM), ROOM),
            Place::File(path) if is_sqlite_full(code.as_deref()) || has_no_room(path) => {
                (format!("{} is full", disk()), Some(MAKE_ROOM), ROOM)
            }
            Place::File(_) => {
                (format!("{} is failing", disk()), Some(CHECK_DISK), "once the disk works again")
            }
        };
        let message = format!("{what}: {}", describe(error));
        Self {
            hint: hint.map(str::to_owned),
            retry_once: Some(once),
            ..Self::new(DbErrorKind::Full, message)
        }
    }

    pub(super) fn argument(error: &sqlx::error::BoxDynError) -> Self {
        Self::new(DbErrorKind::Other, format!("failed to encode a value: {error}"))
    }

    pub(super) fn migration(error: &sqlx::migrate::MigrateError, place: &Place) -> Self {
        use sqlx::migrate::MigrateError;
        let kind = match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                match classify(error) {
                    DbErrorKind::Full => return Self::full(error, place),
                    _ if code_of(error).as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                        return Self::locked_table(error);
                    }
                    kind => kind,
                }
            }
            _ => DbErrorKind::Configuration,
        };
        Self::new(kind, format!("failed to migrate the database: {error}"))
    }

    /// A migration that would have kept every writer of a table waiting behind a transaction that does not end.
    fn locked_table(error: &sqlx::Error) -> Self {
        let message = format!(
            "failed to migrate the database: another transaction holds a table for too long: {}",
            describe(error)
        );
        Self {
            hint: Some(FIND_LONG_TRANSACTION.to_owned()),
            retry_once: Some("once that transaction has ended"),
            is_busy: true,
            ..Self::new(DbErrorKind::Unreachable, message)
        }
    }
}

/// `53200` is `out_of_memory`; `53100`, `disk_full`.
const OUT_OF_MEMORY: &str = "53200";
const READ_ONLY: &str = "25006";
const LOCK_NOT_AVAILABLE: &str = "55P03";

fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

/// `SQLITE_FULL`: the file could not grow.
fn is_sqlite_full(code: Option<&str>) -> bool {
    code.and_then(|code| code.parse::<i64>().ok()).is_some_and(|code| code & 0xff == 13)
}

/// Whether the disk that holds a file is full: `SQLITE_IOERR` is also what its log's index gets from a full disk.
fn has_no_room(file: &Path) -> bool {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    rustix::fs::statvfs(folder)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW_BYTES)
}

/// Whether no encrypted connection came about as it was wanted. The driver reports what is wrong with a certificate as a
/// failure of the network.
fn is_about_encryption(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            matches!(cause, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_)))
        }
        _ => false,
    }
}

fn classify(error: &sqlx::Error) -> DbErrorKind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            DbErrorKind::Unreachable
        }
        sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) | sqlx::Error::InvalidArgument(_) => {
            DbErrorKind::Configuration
        }
        sqlx::Error::Database(error) => match (error.kind(), error.code().as_deref()) {
            (
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation,
                _,
            ) => DbErrorKind::Constraint,
            (_, Some(code)) => classify_code(code, error.message()),
            (_, None) => DbErrorKind::Other,
        },
        _ => DbErrorKind::Other,
    }
}

/// `25006` is `read_only_sql_transaction`; 8, `SQLITE_READONLY`.
fn is_read_only(error: &sqlx::Error) -> bool {
    let Some(code) = code_of(error) else { return false };
    code == READ_ONLY || (code.len() < 5 && code.parse::<i64>().is_ok_and(|code| code & 0xff == 8))
}

/// Whether the database is reachable but locked or overloaded.
fn is_busy(error: &sqlx::Error) -> bool {
    matches!(
        code_of(error).as_deref(),
        Some("5" | "6" | "261" | "262" | "517" | "55P03" | "57014" | "40001" | "40P01")
    )
}

/// `40001` is `serialization_failure`; `40P01`, `deadlock_detected`.
fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("40001" | "40P01"))
}

/// PostgreSQL's SQLSTATE (five characters, appendix A of its manual) or SQLite's extended result code, whose
/// low byte is the primary one (sqlite.org/rescode.html).
fn classify_code(code: &str, message: &str) -> DbErrorKind {
    match code {
        // Connection exceptions; shut down by an administrator or a crash; starting up; too many connections;
        // deadlock or serialisation failure, which a second attempt resolves; the server's own limits on waiting for a
        // lock, on idling in a transaction and on a statement's time.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "40001" | "40P01" | "55P03" | "25P03" | "57014" => {
            return DbErrorKind::Unreachable;
        }
        "28000" | "28P01" | "3D000" | "3F000" | "42501" => return DbErrorKind::Configuration,
        READ_ONLY => return DbErrorKind::ReadOnly,
        "42P01" => return DbErrorKind::MissingTable,
        "53100" | "53200" => return DbErrorKind::Full,
        code if code.len() == 5 => {
            return if code.starts_with("08") { DbErrorKind::Unreachable } else { DbErrorKind::Other };
        }
        _ => {}
    }
    match code.parse::<i64>().map(|code| code & 0xff) {
        Ok(1) if message.starts_with("no such table") => DbErrorKind::MissingTable,
        Ok(5 | 6) => DbErrorKind::Unreachable,
        Ok(8 | 14 | 23 | 26 | 11) => DbErrorKind::Configuration,
        // SQLITE_FULL; SQLITE_IOERR, which a full disk or a lost volume also causes.
        Ok(10 | 13) => DbErrorKind::Full,
        // SQLITE_CONSTRAINT of a trigger, which checks what a CHECK cannot.
        Ok(19) => DbErrorKind::Constraint,
        _ => DbErrorKind::Other,
    }
}

/// Only the driver's message: its display adds a source line, and its causes repeat it.
pub(super) fn describe(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => error.to_string(),
        other => other.to_string(),
    };
    // One error of the driver inside another.
    text.trim_start_matches("error with configuration: ").replace('\n', " ")
}

/// The first words of a statement, on one line.
fn opening(sql: &str) -> String {
    const WORDS: usize = 6;
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.flat_map(str::split_whitespace).take(WORDS).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Kind;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::failure::RESUMES;

    on_both_databases![
        a_full_disk_is_named_with_what_to_do,
        a_database_that_others_lock_is_named_with_how_to_find_them,
        a_database_that_can_only_be_read_is_named_with_what_to_do,
    ];

    async fn a_database_that_others_lock_is_named_with_how_to_find_them(db: &mut TestDb) {
        let context = db.context();
        let place = Place::of(context.config.database_url());
        let mut other = db.another().await;
        other.script(db.pick("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE batch_execution")).await.unwrap();
        let error = match db.kind() {
            Kind::Sqlite => {
                db.limit_lock_wait(Some(Duration::from_millis(1))).await.unwrap();
                db.script("BEGIN IMMEDIATE").await.unwrap_err()
            }
            Kind::Postgres => {
                db.script("SET lock_timeout = 1").await.unwrap();
                let waited = db.script("BEGIN; LOCK TABLE batch_execution").await.unwrap_err();
                db.script("ROLLBACK").await.unwrap();
                db.script("RESET lock_timeout").await.unwrap();
                waited
            }
        };
        other.script("ROLLBACK").await.unwrap();
        let (why, hint) = match &place {
            Place::File(path) => (
                "database is locked",
                Some(format!(
                    "another program holds its lock: `fuser {}` shows who has it open",
                    path.display()
                )),
            ),
            Place::Server { .. } => ("canceling statement due to lock timeout", None),
        };
        let told = (error.kind(), error.is_busy(), error.to_string(), error.hint().map(str::to_owned));
        assert_eq!(told, (DbErrorKind::Unreachable, true, format!("{place} is busy: {why}"), hint));
    }

    async fn a_database_that_can_only_be_read_is_named_with_what_to_do(db: &mut TestDb) {
        let context = db.context();
        let place = Place::of(context.config.database_url());
        let (only_read, write) = db.pick(
            ("PRAGMA query_only = TRUE", "PRAGMA query_only = FALSE"),
            ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
        );
        db.script(only_read).await.unwrap();
        let error = db.execute("DELETE FROM malls", vec![]).await.unwrap_err();
        db.script(write).await.unwrap();
        let (kind, why, hint) = match db.kind() {
            Kind::Sqlite => {
                (DbErrorKind::Configuration, "attempt to write a readonly database", CHECK_PERMISSIONS)
            }
            Kind::Postgres => (
                DbErrorKind::ReadOnly,
                "cannot execute DELETE in a read-only transaction",
                WAIT_FOR_THE_PRIMARY,
            ),
        };
        let told = (error.kind(), error.to_string(), error.hint());
        assert_eq!(told, (kind, format!("{place} is read-only: {why}"), Some(hint)));
    }

    async fn a_full_disk_is_named_with_what_to_do(db: &mut TestDb) {
        let context = db.context();
        let url = context.config.database_url();
        let (fill, told) = match db.kind() {
            Kind::Sqlite => {
                // A file that may not grow fails like one on a full disk.
                db.script("CREATE TABLE heap (content BLOB); PRAGMA max_page_count = 1").await.unwrap();
                let file = url.strip_prefix("sqlite:").unwrap();
                (
                    "INSERT INTO heap VALUES (zeroblob(1000000))",
                    format!("the disk that holds the SQLite file `{file}` is full: database or disk is full"),
                )
            }
            // The server's own code and words, from which a client learns of it.
            Kind::Postgres => (
                "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
                format!("the disk of {} is full: could not extend file", Place::of(url)),
            ),
        };
        // A start that runs again by itself leaves this out.
        assert!(MAKE_ROOM.ends_with(RESUMES) && CHECK_DISK.ends_with(RESUMES));
        let error = db.script(fill).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string(), error.hint()),
            (DbErrorKind::Full, told, Some(MAKE_ROOM))
        );
    }

    #[test]
    fn a_place_has_no_user_and_no_password() {
        let shown = |url| Place::of(url).to_string();
        assert_eq!(shown("sqlite:data/batchctl.db?mode=rwc"), "the SQLite file `data/batchctl.db`");
        assert_eq!(shown("sqlite:///srv/batchctl.db"), "the SQLite file `/srv/batchctl.db`");
        assert_eq!(
            shown("postgres://me:hunter2@db.example:6432/shop"),
            "PostgreSQL at `db.example:6432/shop`"
        );
        assert_eq!(shown("postgres://me:hunter2@/shop"), "PostgreSQL");
    }
}
