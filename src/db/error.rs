//! What a database error means for a run: whether trying again later can help, or what has to be fixed.

use std::time::Duration;

use sqlx::error::ErrorKind;

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
    /// The disk or the database's space is used up.
    Full,
    /// Anything else; most likely a bug.
    Other,
}

impl From<DbErrorKind> for FailureKind {
    fn from(kind: DbErrorKind) -> Self {
        match kind {
            DbErrorKind::Unreachable => Self::TryLater,
            DbErrorKind::Configuration | DbErrorKind::MissingTable => Self::Configuration,
            DbErrorKind::Constraint | DbErrorKind::Full | DbErrorKind::Other => Self::Failed,
        }
    }
}

/// A database error on one line, without passwords and without repeating its cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DbError {
    kind: DbErrorKind,
    message: String,
}

impl DbError {
    /// What can be done about it.
    pub fn kind(&self) -> DbErrorKind {
        self.kind
    }

    pub(super) fn connecting(error: &sqlx::Error, url: &str) -> Self {
        let place = place(url);
        let kind = match classify(error) {
            // Any other reason to refuse a connection has to do with the URL.
            DbErrorKind::Other => DbErrorKind::Configuration,
            kind => kind,
        };
        Self { kind, message: format!("failed to connect to {place}: {}", describe(error)) }
    }

    pub(super) fn silent(url: &str, waited: Duration) -> Self {
        let place = place(url);
        let message = format!("failed to connect to {place}: no answer in {} s", waited.as_secs());
        Self { kind: DbErrorKind::Unreachable, message }
    }

    pub(super) fn query(error: &sqlx::Error, sql: &str) -> Self {
        let kind = classify(error);
        let message = match kind {
            DbErrorKind::Unreachable if is_busy(error) => {
                format!("the database is busy: {}", describe(error))
            }
            DbErrorKind::Unreachable => format!("lost the connection to the database: {}", describe(error)),
            DbErrorKind::Full => format!("the database's disk is full or failing: {}", describe(error)),
            // The statement's first words show which step failed; values are never part of it.
            _ => format!("{} (in `{}`)", describe(error), opening(sql)),
        };
        Self { kind, message }
    }

    pub(super) fn argument(error: &sqlx::error::BoxDynError) -> Self {
        Self { kind: DbErrorKind::Other, message: format!("failed to encode a value: {error}") }
    }

    pub(super) fn migration(error: &sqlx::migrate::MigrateError) -> Self {
        let kind = match error {
            sqlx::migrate::MigrateError::Execute(error) => classify(error),
            _ => DbErrorKind::Configuration,
        };
        Self { kind, message: format!("failed to migrate the database: {error}") }
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

/// Whether the database is reachable but locked or overloaded.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    matches!(code.as_deref(), Some("5" | "6" | "261" | "262" | "517" | "55P03" | "57014" | "40001" | "40P01"))
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
        "28000" | "28P01" | "3D000" | "3F000" | "42501" | "25006" => return DbErrorKind::Configuration,
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
        _ => DbErrorKind::Other,
    }
}

/// Only the driver's message: its display adds a source line, and its causes repeat it.
fn describe(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => error.to_string(),
        other => other.to_string(),
    };
    text.replace('\n', " ")
}

/// Where the database is, without user and password.
pub fn place(url: &str) -> String {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return format!(
            "the SQLite file `{}`",
            path.trim_start_matches("//").split('?').next().unwrap_or(path)
        );
    }
    match url::Url::parse(url) {
        Ok(url) => format!(
            "PostgreSQL at `{}:{}{}`",
            url.host_str().unwrap_or("localhost"),
            url.port().unwrap_or(5432),
            url.path()
        ),
        Err(_) => "PostgreSQL".to_owned(),
    }
}

/// The first words of a statement, on one line.
fn opening(sql: &str) -> String {
    const WORDS: usize = 6;
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.flat_map(str::split_whitespace).take(WORDS).collect::<Vec<_>>().join(" ")
}
