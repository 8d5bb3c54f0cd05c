//! The history: every run is a row of `batch_execution`, written here and nowhere else.

mod attempts;
mod item_errors;
mod recording;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

pub use attempts::{
    attempt_before, find, last_attempt, last_durations, last_with_checkpoint, next_attempt, runs_of,
    with_checkpoint_lately,
};
pub use item_errors::{
    Done, ItemError, insert_errors, is_made_good, items_to_retry, noted_items, open_item_error, open_items,
    resolve_errors, resolve_errors_of,
};
pub use recording::{Counts, Ending, bigint, counts_at_checkpoint, finish, insert};

use crate::db::Problems;

use super::exit::ExitCode;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Running.
    Running,
    /// Done.
    Completed,
    /// Done, but some items failed.
    Partial,
    /// Failed.
    Failed,
    /// Ended by a signal.
    Stopped,
    /// Ended by its deadline.
    TimedOut,
    /// Its process died or froze; found by the next start.
    Crashed,
    /// Refused: another run held the lease, or a guard refused it.
    Refused,
}

impl Status {
    /// The value in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Partial => "PARTIAL",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
            Self::TimedOut => "TIMED_OUT",
            Self::Crashed => "CRASHED",
            Self::Refused => "REFUSED",
        }
    }
}

/// A row of `batch_execution`, whatever it holds: a run of the past that cannot be read keeps no other from starting.
#[derive(Debug, Clone, crate::db::FromRow, serde::Serialize)]
pub struct Execution {
    /// The run's number.
    pub id: i64,
    /// The job's name.
    pub job: String,
    /// The instance's key; empty for a sweeping job.
    pub instance_key: String,
    /// The command line that repeats it.
    pub command_line: String,
    /// The attempt number at the instance, from 1.
    pub attempt: i64,
    /// See [`Status`].
    pub status: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its last sign of life, by the database's clock.
    pub heartbeat_at: DateTime<Utc>,
    /// Until when it holds its lease without another sign of life.
    pub lease_expires_at: DateTime<Utc>,
    /// The exclusion key it holds; none for shared jobs.
    pub exclusion_key: Option<String>,
    /// Its epoch under that key, which each takeover increments.
    pub epoch: i64,
    /// Its host.
    pub host: String,
    /// Its process number there.
    pub pid: i64,
    /// When that process started, in ticks since the boot.
    pub pid_started_ticks: i64,
    /// The boot and the PID namespace.
    pub boot_id: String,
    /// The run whose failed items it does again.
    pub retry_of: Option<i64>,
    /// Items read.
    pub items_read: i64,
    /// Items written.
    pub items_written: i64,
    /// Items given up on.
    pub items_skipped: i64,
    /// Items that failed.
    pub items_failed: i64,
    /// Where the last committed chunk ended, as JSON in the job's own format.
    pub checkpoint: Option<String>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// The largest resident set of its process so far.
    pub peak_memory_bytes: Option<i64>,
    /// The CPU time that its process used during the run, including other lanes.
    pub cpu_time_ms: Option<i64>,
    /// The exit code this run contributed.
    pub exit_code: Option<i64>,
    /// The kind of its error.
    pub error_class: Option<String>,
    /// Its error in one line.
    pub error_message: Option<String>,
    /// The program's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// What people call the instance, where its key means nothing to them.
    pub title: Option<String>,
    /// The run that made its failure good.
    pub settled_by: Option<i64>,
    /// When a person said that nobody will repeat it.
    pub dismissed_at: Option<DateTime<Utc>>,
    /// Who did.
    pub dismissed_by: Option<String>,
    /// Why.
    pub dismissed_reason: Option<String>,
    /// What it said of its work at its end, a sentence a line.
    pub summary: Option<String>,
    /// What cannot be read of its row.
    #[row(problems)]
    #[serde(skip_serializing_if = "Problems::is_empty")]
    pub problems: Problems,
}

/// The columns of [`Execution`], for queries here and in `runs`.
pub const EXECUTION_COLUMNS: &str = "id, job, instance_key, command_line, attempt, status, started_at, ended_at, \
    heartbeat_at, lease_expires_at, exclusion_key, epoch, host, pid, pid_started_ticks, boot_id, retry_of, \
    items_read, items_written, items_skipped, items_failed, checkpoint, duration_ms, peak_memory_bytes, \
    cpu_time_ms, exit_code, error_class, error_message, version, environment, title, settled_by, dismissed_at, \
    dismissed_by, dismissed_reason, summary";

impl Execution {
    /// Whether it has the status.
    pub fn is(&self, status: Status) -> bool {
        self.status == status.word()
    }

    /// Whether its work is not done and the next start goes on with it; it may be running.
    pub fn is_unfinished(&self) -> bool {
        [Status::Running, Status::Crashed, Status::Stopped, Status::TimedOut]
            .iter()
            .any(|status| self.is(*status))
    }

    /// The same, ended the moment it began.
    #[must_use]
    pub(super) fn ended_at_once(self, status: Status, code: ExitCode, message: String) -> Self {
        Self {
            status: status.word().to_owned(),
            ended_at: Some(self.started_at),
            duration_ms: Some(0),
            exit_code: Some(i64::from(code.number())),
            error_class: Some(code.class().to_owned()),
            error_message: Some(message),
            ..self
        }
    }

    /// The job and its instance, for display.
    pub fn label(&self) -> String {
        label(&self.job, self.title.as_deref().unwrap_or(&self.instance_key))
    }
}

/// A job and its instance, by title or key, for display.
pub fn label(job: &str, instance: &str) -> String {
    if instance.is_empty() { job.to_owned() } else { format!("{job} {instance}") }
}
