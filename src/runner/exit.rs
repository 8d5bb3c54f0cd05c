//! The exit codes: a frozen interface, in one table.

use crate::config::ConfigError;
use crate::db::DbError;
use crate::failure::{Failure, FailureKind};

use super::interruption::{Interruption, StopSignal};

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Completed, nothing to do, or already completed.
    Completed,
    /// Failed; running it again unchanged will not help.
    Failed,
    /// Wrong usage; clap uses it too.
    Usage,
    /// Finished, some items failed.
    Partial,
    /// Bad input data (file, template).
    BadInput,
    /// Try again later: already running, database or outside system unreachable.
    TryLater,
    /// Refused by a guard.
    Refused,
    /// Bad configuration.
    Configuration,
    /// Deadline passed.
    TimedOut,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl ExitCode {
    /// Every code, in the order of the table in the README.
    pub const ALL: [Self; 11] = [
        Self::Completed,
        Self::Failed,
        Self::Usage,
        Self::Partial,
        Self::BadInput,
        Self::TryLater,
        Self::Refused,
        Self::Configuration,
        Self::TimedOut,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number the process exits with.
    pub fn number(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::BadInput => 65,
            Self::TryLater => 75,
            Self::Refused => 77,
            Self::Configuration => 78,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Whether a stop signal ended the command.
    pub fn is_stop(self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }

    /// The exit code of an error: that of the first cause that has one.
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.kind.into());
        }
        if let Some(error) = cause.downcast_ref::<DbError>() {
            return Some(FailureKind::from(error.kind()).into());
        }
        if let Some(interruption) = cause.downcast_ref::<Interruption>() {
            return Some(interruption.exit_code());
        }
        cause.downcast_ref::<ConfigError>().map(|_| Self::Configuration)
    }

    /// The history's error class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Usage => "USAGE",
            Self::Partial => "PARTIAL",
            Self::BadInput => "BAD_INPUT",
            Self::TryLater => "TRY_LATER",
            Self::Refused => "REFUSED",
            Self::Configuration => "CONFIGURATION",
            Self::TimedOut => "TIMED_OUT",
            Self::Interrupted => "INTERRUPTED",
            Self::Terminated => "TERMINATED",
        }
    }
}

impl From<FailureKind> for ExitCode {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed => Self::Failed,
            FailureKind::Usage => Self::Usage,
            FailureKind::BadInput => Self::BadInput,
            FailureKind::TryLater => Self::TryLater,
            FailureKind::Refused => Self::Refused,
            FailureKind::Configuration => Self::Configuration,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

impl Interruption {
    /// The exit code this ends with.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Stopped(signal) => signal.exit_code(),
            Self::TimedOut => ExitCode::TimedOut,
            Self::LeaseLost => ExitCode::Failed,
        }
    }
}

impl StopSignal {
    /// 130 or 143.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::Interrupted,
            Self::Terminate => ExitCode::Terminated,
        }
    }
}
