//! What the end of a run's work means: its status, its exit code, and the message.

use std::time::Duration;

use crate::config::SkipLimit;
use crate::db::DbError;
use crate::failure::{self, Failure, one_line};
use crate::mask::Redactor;
use crate::period::format_duration;

use super::exit::ExitCode;
use super::history::{Counts, Status};
use super::interruption::Interruption;

/// How a run is judged.
#[derive(Clone)]
pub(super) struct Verdict {
    /// Its final status.
    pub(super) status: Status,
    /// Its exit code.
    pub(super) code: ExitCode,
    /// What went wrong, in one line; none for a success.
    pub(super) message: Option<String>,
    /// What went wrong in general, if the message names a place or a time.
    pub(super) symptom: Option<String>,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// When running it again helps.
    pub(super) retry_once: Option<String>,
    /// The flags with which running it again helps.
    pub(super) retry_with: Option<String>,
    /// The run that has taken over: nothing is left to repeat.
    pub(super) successor: Option<i64>,
}

/// What a run is judged by, apart from its result.
pub(super) struct Terms<'a> {
    /// How many items may fail.
    pub(super) skip_limit: Option<SkipLimit>,
    /// Whether a partial success exits 0.
    pub(super) allow_partial: bool,
    /// The deadline it had.
    pub(super) deadline: Duration,
    /// Knows the secrets.
    pub(super) redactor: &'a Redactor,
}

impl Verdict {
    /// A verdict about which there is nothing more to say.
    pub(super) fn new(status: Status, code: ExitCode, message: Option<String>) -> Self {
        let (symptom, hint, retry_once, retry_with, successor) = (None, None, None, None, None);
        Self { status, code, message, symptom, hint, retry_once, retry_with, successor }
    }

    /// Judges the result of the work and the items it counted.
    pub(super) fn of(result: anyhow::Result<()>, counts: Counts, terms: &Terms<'_>) -> Self {
        match result {
            Ok(()) if counts.skipped + counts.failed == 0 => {
                Self::new(Status::Completed, ExitCode::Completed, None)
            }
            Ok(()) => Self::of_failed_items(counts, terms),
            Err(error) => Self::of_error(&error, terms),
        }
    }

    /// Some items were given up on: a partial success, unless too many failed or nothing succeeded.
    fn of_failed_items(counts: Counts, terms: &Terms<'_>) -> Self {
        let given_up = counts.skipped + counts.failed;
        let of = format!("{given_up} of {} items failed", counts.read.max(given_up));
        let failed = |message| Self::new(Status::Failed, ExitCode::Failed, Some(message));
        if let Some(limit) = terms.skip_limit.filter(|limit| limit.is_exceeded(given_up, counts.read)) {
            return failed(format!("{of}, more than the skip limit of {limit}"));
        }
        if counts.written == 0 && given_up >= counts.read {
            return failed(of);
        }
        let code = if terms.allow_partial { ExitCode::Completed } else { ExitCode::Partial };
        Self::new(Status::Partial, code, Some(of))
    }

    fn of_error(error: &anyhow::Error, terms: &Terms<'_>) -> Self {
        let status = match error.chain().find_map(|cause| cause.downcast_ref::<Interruption>()) {
            Some(Interruption::Stopped(_)) => Status::Stopped,
            Some(Interruption::TimedOut) => Status::TimedOut,
            Some(Interruption::LeaseLost) => Status::Crashed,
            None => Status::Failed,
        };
        let mut message = terms.redactor.redact(&one_line(error));
        if status == Status::TimedOut {
            message = format!("{message} ({})", format_duration(terms.deadline));
        }
        Self {
            symptom: failure::symptom(error).map(str::to_owned),
            hint: hint(error).map(str::to_owned),
            retry_once: retry_once(error).map(str::to_owned),
            retry_with: retry_with(error, terms.deadline),
            ..Self::new(status, ExitCode::of(error), Some(message))
        }
    }
}

/// The flags with which to try again what had this deadline.
pub(super) fn retry_with(error: &anyhow::Error, deadline: Duration) -> Option<String> {
    if ExitCode::of(error) == ExitCode::TimedOut {
        // With the same deadline it would most likely end in the same way.
        let longer = deadline.saturating_mul(2).max(Duration::from_mins(1));
        return Some(format!("--timeout {}", format_duration(longer)));
    }
    failure::retry_with(error).map(str::to_owned)
}

/// What to do about an error: what it carries, or what the database's error knows.
pub(super) fn hint(error: &anyhow::Error) -> Option<&str> {
    let of_database = || error.chain().find_map(|cause| cause.downcast_ref::<DbError>()?.hint());
    failure::hint(error).or_else(of_database)
}

/// When running it again helps: what the error carries, or what the database's error knows, or once a disk has room.
pub(super) fn retry_once(error: &anyhow::Error) -> Option<&str> {
    let of_database = || error.chain().find_map(|cause| cause.downcast_ref::<DbError>()?.retry_once());
    let of_disk = || failure::is_disk_full(error).then_some("once there is room");
    failure::retry_once(error).or_else(of_database).or_else(of_disk)
}

/// The code that tells more about a command with several runs: a stop above all, then what trying again cannot fix,
/// then what it can, then a partial success.
pub fn worse(first: ExitCode, second: ExitCode) -> ExitCode {
    let rank = |code: ExitCode| match code {
        ExitCode::Interrupted | ExitCode::Terminated => 7,
        ExitCode::Refused | ExitCode::Configuration | ExitCode::Usage => 6,
        ExitCode::Failed | ExitCode::BadInput => 5,
        ExitCode::TimedOut => 4,
        ExitCode::TryLater => 3,
        ExitCode::Partial => 2,
        ExitCode::Completed => 0,
    };
    if rank(second) > rank(first) { second } else { first }
}

/// A panic is a bug of ours; it fails the run like any error instead of ending the process without a row.
pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Failure::failed(format!("bug in batchctl: {message}"))
        .hint("please report it with the output of `runs show`")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(
        result: anyhow::Result<()>,
        counts: Counts,
        skip_limit: Option<SkipLimit>,
    ) -> (Status, ExitCode) {
        let redactor = Redactor::default();
        let terms =
            Terms { skip_limit, allow_partial: false, deadline: Duration::from_secs(1), redactor: &redactor };
        let verdict = Verdict::of(result, counts, &terms);
        (verdict.status, verdict.code)
    }

    #[test]
    fn failed_items_are_partial_up_to_the_limit_and_a_failure_past_it() {
        let counts = Counts { read: 100, written: 98, skipped: 1, failed: 1 };
        assert_eq!(verdict(Ok(()), counts, None), (Status::Partial, ExitCode::Partial));
        assert_eq!(verdict(Ok(()), counts, Some(SkipLimit::Count(2))), (Status::Partial, ExitCode::Partial));
        assert_eq!(verdict(Ok(()), counts, Some(SkipLimit::Count(1))), (Status::Failed, ExitCode::Failed));
        assert_eq!(
            verdict(Ok(()), counts, Some(SkipLimit::Percent(1.0))),
            (Status::Failed, ExitCode::Failed)
        );
    }

    #[test]
    fn nothing_but_failed_items_is_a_failure() {
        let unchanged = Counts { read: 10, failed: 1, ..Counts::default() };
        assert_eq!(verdict(Ok(()), unchanged, None), (Status::Partial, ExitCode::Partial));
        let counts = Counts { read: 2, failed: 2, ..Counts::default() };
        assert_eq!(verdict(Ok(()), counts, None), (Status::Failed, ExitCode::Failed));
    }

    #[test]
    fn the_code_of_several_runs_is_the_one_that_says_most() {
        assert_eq!(worse(ExitCode::Partial, ExitCode::TryLater), ExitCode::TryLater);
        assert_eq!(worse(ExitCode::Failed, ExitCode::TryLater), ExitCode::Failed);
        assert_eq!(worse(ExitCode::Failed, ExitCode::Terminated), ExitCode::Terminated);
    }
}
