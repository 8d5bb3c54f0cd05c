//! A failure that knows what it means to the caller: its exit code and what to do about it.
//!
//! Most errors are plain `anyhow` errors and exit 1. This type is for those where the exit code must say more:
//! bad input, a wrong configuration, a refusal, or "try again later".

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::printable::shortened;

/// An error may quote endless data; a row or a mail holds a screenful of it.
pub const MAX_ERROR_CHARACTERS: usize = 2_000;

/// The kind of a failure; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Running it again unchanged will not help.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A file or template holds bad data.
    BadInput,
    /// An outside system is unreachable or busy.
    TryLater,
    /// A guard refused.
    Refused,
    /// The configuration is wrong.
    Configuration,
}

/// A failure with its kind and, if something can be done about it, a hint.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What failed, on what and why, in one line.
    pub message: String,
    /// What failed in general, without the place and the time that the message names: what has the same symptom is told
    /// once.
    pub symptom: Option<Box<str>>,
    /// What to do about it.
    pub hint: Option<String>,
    /// When running it again helps, as the end of a sentence: `once Cafe24 answers again`.
    pub retry_once: Option<Box<str>>,
    /// The flags with which running it again helps: `--delimiter ';'`.
    pub retry_with: Option<Box<str>>,
    /// What it was made of.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            symptom: None,
            hint: None,
            retry_once: None,
            retry_with: None,
            cause: None,
        }
    }

    /// What another error, whose text it has, means to the caller.
    pub fn of(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        let failure = Self::new(kind, cause.to_string());
        Self { cause: Some(Arc::new(cause)), ..failure }
    }

    /// A plain failure that carries a hint.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, message)
    }

    /// The command line is wrong in a way that clap could not see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// A file or template holds bad data.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(FailureKind::BadInput, message)
    }

    /// An outside system is unreachable or busy.
    pub fn try_later(message: impl Into<String>) -> Self {
        Self::new(FailureKind::TryLater, message)
    }

    /// A guard refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    /// The configuration is wrong.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Configuration, message)
    }

    /// The same failure in other words.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Says what failed in general, where the message names a place or a time.
    #[must_use]
    pub fn symptom(mut self, symptom: impl Into<String>) -> Self {
        self.symptom = Some(symptom.into().into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when running it again helps, as the end of a sentence: `once Cafe24 answers again`.
    #[must_use]
    pub fn retry_once(mut self, condition: impl Into<String>) -> Self {
        self.retry_once = Some(condition.into().into());
        self
    }

    /// Names the flags with which running it again helps: `--delimiter ';'`.
    #[must_use]
    pub fn retry_with(mut self, flags: impl Into<String>) -> Self {
        self.retry_with = Some(flags.into().into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// What a command does that is run again after it lost the database.
pub const RESUMES: &str = "run the same command again: it resumes where the last commit ended";

/// What to do about a disk, a quota or a limit that a file has reached.
const MAKE_ROOM: &str =
    "make room there (or raise the quota, or `ulimit -f`), then run the same command again";

/// The hint that an error carries anywhere in its chain, or the only one there is for a full disk.
pub fn hint(error: &anyhow::Error) -> Option<&str> {
    let carried = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.hint.as_deref());
    carried.or_else(|| is_disk_full(error).then_some(MAKE_ROOM))
}

/// Whether a file could not be written for want of room.
pub fn is_disk_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    kinds.map(std::io::Error::kind).any(|kind| matches!(kind, StorageFull | QuotaExceeded | FileTooLarge))
}

/// What failed in general, if the error says so anywhere in its chain.
pub fn symptom(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.symptom.as_deref())
}

/// The flags with which running it again helps, if the error names them anywhere in its chain.
pub fn retry_with(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.retry_with.as_deref())
}

/// When running it again helps, if the error says so anywhere in its chain.
pub fn retry_once(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.retry_once.as_deref())
}

/// Whether the error only means that the reader of our output has seen enough (`batchctl runs list | head`).
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// The error's chain on one line, each cause once: drivers repeat their causes in their own text.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let text = without_error_numbers(&text).replace(['\n', '\r'], " ");
    shortened(&text, MAX_ERROR_CHARACTERS).into_owned()
}

/// The text without the numbers that the standard library adds to the operating system's words: `No space left on device
/// (os error 28)`.
pub fn without_error_numbers(text: &str) -> Cow<'_, str> {
    const NUMBER: &str = " (os error ";
    if !text.contains(NUMBER) {
        return text.into();
    }
    let mut parts = text.split(NUMBER);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kept.push_str(rest),
            // Somebody else's words.
            _ => {
                kept.push_str(NUMBER);
                kept.push_str(part);
            }
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_repeated_is_printed_once() {
        let error = anyhow::anyhow!("connection refused")
            .context("failed to open it: connection refused")
            .context("failed to report");
        assert_eq!(one_line(&error), "failed to report: failed to open it: connection refused");
    }

    #[test]
    fn the_numbers_of_the_operating_systems_errors_are_left_out() {
        let full = std::io::Error::from_raw_os_error(28);
        let own = format!("failed to write `a`: {full}; failed to write `b`: {full}");
        assert_eq!(
            one_line(&anyhow::anyhow!(own).context("failed to report")),
            "failed to report: failed to write `a`: No space left on device; failed to write `b`: No space left on device"
        );
        let error = anyhow::Error::new(full).context("failed to write `a.csv`");
        assert_eq!(one_line(&error), "failed to write `a.csv`: No space left on device");
        for text in ["a (os error x) b", "a (os error 28", "(os error 28)"] {
            assert_eq!(without_error_numbers(text), text);
        }
    }

    #[test]
    fn a_full_disk_has_a_hint_of_its_own() {
        let full = |kind| anyhow::Error::new(std::io::Error::from(kind)).context("failed to write `a.csv`");
        assert_eq!(hint(&full(std::io::ErrorKind::StorageFull)), Some(MAKE_ROOM));
        assert_eq!(hint(&full(std::io::ErrorKind::PermissionDenied)), None);
    }

    #[test]
    fn a_hint_is_found_below_a_context() {
        let error =
            anyhow::Error::new(Failure::bad_input("line 3").hint("fix it")).context("failed to import");
        assert_eq!(hint(&error), Some("fix it"));
    }
}
