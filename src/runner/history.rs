//! The history: every run is a row of `batch_execution`, written here and nowhere else.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Bulk, Db, DbError};
use crate::values;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// At work.
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
    /// Its process died or stood still; found by the next start.
    Crashed,
    /// Turned away.
    Refused,
}

impl Status {
    /// The word in the table.
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

/// A row of `batch_execution`.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
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
    /// Its epoch under that key: each take-over raises it.
    pub epoch: i64,
    /// Its host.
    pub host: String,
    /// Its process number there.
    pub pid: i64,
    /// When that process started, in ticks since the boot.
    pub pid_started_ticks: i64,
    /// The boot and the process name space.
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
    /// Where the last committed chunk ended, as JSON of the job's own.
    pub checkpoint: Option<String>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// The largest resident set of its process so far.
    pub peak_memory_bytes: Option<i64>,
    /// The CPU time that its process used meanwhile, for lanes beside it too.
    pub cpu_time_ms: Option<i64>,
    /// What its process exited with on its account.
    pub exit_code: Option<i64>,
    /// The kind of its error.
    pub error_class: Option<String>,
    /// Its error in one line.
    pub error_message: Option<String>,
    /// The program's version.
    pub version: String,
    /// The environment.
    pub environment: String,
}

/// The columns of [`Execution`], for queries here and in `runs`.
pub const EXECUTION_COLUMNS: &str = "id, job, instance_key, command_line, attempt, status, started_at, ended_at, \
    heartbeat_at, lease_expires_at, exclusion_key, epoch, host, pid, pid_started_ticks, boot_id, retry_of, \
    items_read, items_written, items_skipped, items_failed, checkpoint, duration_ms, peak_memory_bytes, \
    cpu_time_ms, exit_code, error_class, error_message, version, environment";

impl Execution {
    /// Whether it has the status.
    pub fn is(&self, status: Status) -> bool {
        self.status == status.word()
    }

    /// The job and its instance, as people speak of it.
    pub fn label(&self) -> String {
        label(&self.job, &self.instance_key)
    }
}

/// A job and its instance, as people speak of it.
pub fn label(job: &str, instance_key: &str) -> String {
    if instance_key.is_empty() { job.to_owned() } else { format!("{job} {instance_key}") }
}

/// One run by its number.
pub async fn find(db: &mut Db, id: i64) -> Result<Option<Execution>, DbError> {
    let sql = format!("SELECT {EXECUTION_COLUMNS} FROM batch_execution WHERE id = $1");
    db.fetch_optional(&sql, values![id]).await
}

/// The last run of an instance that began: it decides whether the instance is complete, and from where to go on. One
/// that was turned away, or failed on its way there, holds no epoch and says nothing of either.
pub async fn last_attempt(db: &mut Db, job: &str, instance_key: &str) -> Result<Option<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND instance_key = $2 AND epoch > 0 ORDER BY id DESC LIMIT 1"
    );
    db.fetch_optional(&sql, values![job, instance_key]).await
}

/// The number of the next attempt at an instance, those that failed on their way there counted, but not those that
/// were turned away. Each sweep that follows a success is a new beginning.
pub async fn next_attempt(db: &mut Db, job: &str, instance_key: &str) -> Result<i64, DbError> {
    let last: Option<(i64, String)> = db
        .fetch_optional(
            "SELECT attempt, status FROM batch_execution
             WHERE job = $1 AND instance_key = $2 AND status <> 'REFUSED' ORDER BY id DESC LIMIT 1",
            values![job, instance_key],
        )
        .await?;
    Ok(match last {
        Some((_, status)) if instance_key.is_empty() && status == Status::Completed.word() => 1,
        Some((attempt, _)) => attempt + 1,
        None => 1,
    })
}

/// Inserts a row and gives its number.
pub async fn insert(db: &mut Db, row: &Execution) -> Result<i64, DbError> {
    let (id,): (i64,) = db
        .fetch_one(
            "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, ended_at,
                 heartbeat_at, lease_expires_at, exclusion_key, epoch, host, pid, pid_started_ticks, boot_id, retry_of,
                 items_read, items_written, items_skipped, items_failed, checkpoint, duration_ms, peak_memory_bytes,
                 cpu_time_ms, exit_code, error_class, error_message, version, environment)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                 $22, $23, $24, $25, $26, $27, $28, $29)
             RETURNING id",
            values![
                &row.job,
                &row.instance_key,
                &row.command_line,
                row.attempt,
                &row.status,
                row.started_at,
                row.ended_at,
                row.heartbeat_at,
                row.lease_expires_at,
                row.exclusion_key.clone(),
                row.epoch,
                &row.host,
                row.pid,
                row.pid_started_ticks,
                &row.boot_id,
                row.retry_of,
                row.items_read,
                row.items_written,
                row.items_skipped,
                row.items_failed,
                row.checkpoint.clone(),
                row.duration_ms,
                row.peak_memory_bytes,
                row.cpu_time_ms,
                row.exit_code,
                row.error_class.clone(),
                row.error_message.clone(),
                &row.version,
                &row.environment,
            ],
        )
        .await?;
    Ok(id)
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Its final status.
    pub status: Status,
    /// When, by the context's clock.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// The largest resident set.
    pub peak_memory_bytes: i64,
    /// The CPU time.
    pub cpu_time_ms: i64,
    /// The exit code on its account.
    pub exit_code: i64,
    /// The kind of its error.
    pub error_class: Option<String>,
    /// Its error.
    pub error_message: Option<String>,
    /// Items read, written, skipped, failed.
    pub counts: Counts,
    /// Whether the next attempt starts over instead of resuming.
    pub discards_checkpoint: bool,
}

/// The items of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items read.
    pub read: u64,
    /// Items written.
    pub written: u64,
    /// Items given up on.
    pub skipped: u64,
    /// Items that failed.
    pub failed: u64,
}

/// A count for a BIGINT column.
pub fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Writes how a run ended, unless somebody has ended it already. Gives whether it was still ours to end.
pub async fn finish(db: &mut Db, id: i64, epoch: i64, ending: &Ending) -> Result<bool, DbError> {
    let checkpoint = if ending.discards_checkpoint { "NULL" } else { "checkpoint" };
    let rows = db
        .execute(
            &format!(
                "UPDATE batch_execution
             SET status = $1, ended_at = $2, duration_ms = $3, peak_memory_bytes = $4, cpu_time_ms = $5, exit_code = $6,
                 error_class = $7, error_message = $8, items_read = $9, items_written = $10, items_skipped = $11,
                 items_failed = $12, checkpoint = {checkpoint}
             WHERE id = $13 AND epoch = $14 AND status = 'RUNNING'"
            ),
            values![
                ending.status.word(),
                ending.ended_at,
                ending.duration_ms,
                ending.peak_memory_bytes,
                ending.cpu_time_ms,
                ending.exit_code,
                ending.error_class.clone(),
                ending.error_message.clone(),
                bigint(ending.counts.read),
                bigint(ending.counts.written),
                bigint(ending.counts.skipped),
                bigint(ending.counts.failed),
                id,
                epoch,
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Marks the failures of an instance's earlier attempts as resolved, but for items that are still open: the run `by`
/// has done them.
pub async fn resolve_errors(
    db: &mut Db,
    by: &Execution,
    still_open: &[String],
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let sql = format!(
        "UPDATE batch_error_log SET resolved_at = $1
         WHERE resolved_at IS NULL AND execution_id IN (
             SELECT id FROM batch_execution WHERE job = $2 AND instance_key = $3 AND id < $4
                 AND (items_failed > 0 OR items_skipped > 0))
           AND item_key NOT IN {}",
        db.elements("$5")
    );
    db.execute(&sql, values![now, &by.job, &by.instance_key, by.id, json!(still_open)]).await
}

/// Which of these items runs of other instances of the job gave up on in this phase, and nobody has done since. A run
/// of the same instance that has a key says it once more: the instance is not complete.
pub async fn noted_items(
    db: &mut Db,
    run: &Execution,
    phase: &str,
    keys: &[&str],
) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT DISTINCT e.item_key FROM batch_execution x
         JOIN batch_error_log e ON e.execution_id = x.id
         WHERE x.job = $1 AND x.id < $2 AND (x.instance_key = '' OR x.instance_key <> $3)
           AND (x.items_failed > 0 OR x.items_skipped > 0)
           AND e.resolved_at IS NULL AND e.phase = $4 AND e.item_key IN {}",
        db.elements("$5")
    );
    let rows: Vec<(String,)> =
        db.fetch_all(&sql, values![&run.job, run.id, &run.instance_key, phase, json!(keys)]).await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Marks the failures of one run as resolved: its retry has succeeded.
pub async fn resolve_errors_of(db: &mut Db, run: i64, now: DateTime<Utc>) -> Result<u64, DbError> {
    db.execute(
        "UPDATE batch_error_log SET resolved_at = $1 WHERE execution_id = $2 AND resolved_at IS NULL",
        values![now, run],
    )
    .await
}

/// The durations of a job's last successes, newest first, without the run itself: of all of them, or of those under
/// one exclusion key.
pub async fn last_durations(
    db: &mut Db,
    job: &str,
    exclusion_key: Option<&str>,
    before: i64,
    most: i64,
) -> Result<Vec<i64>, DbError> {
    let rows: Vec<(i64,)> = db
        .fetch_all(
            "SELECT duration_ms FROM batch_execution
             WHERE job = $1 AND status = 'COMPLETED' AND id < $2 AND duration_ms IS NOT NULL
               AND ($3 IS NULL OR exclusion_key = $3)
             ORDER BY id DESC LIMIT $4",
            values![job, before, exclusion_key, most],
        )
        .await?;
    Ok(rows.into_iter().map(|(duration,)| duration).collect())
}

/// A failed or skipped item, on its way into `batch_error_log`.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct ItemError {
    /// The item's key: a mall's code, a file's line.
    pub item_key: String,
    /// Which step.
    pub phase: String,
    /// SKIPPED or FAILED.
    pub kind: String,
    /// The kind of error.
    pub error_class: String,
    /// The error in one line.
    pub message: String,
}

/// Writes item errors of a run.
pub async fn insert_errors(
    db: &mut Db,
    run: i64,
    errors: &[ItemError],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    const COLUMNS: &[&str] =
        &["execution_id", "item_key", "phase", "kind", "error_class", "message", "created_at"];
    let mut rows = Bulk::new(db, "batch_error_log", COLUMNS);
    for error in errors {
        rows.int(run);
        rows.text(error.item_key.as_str());
        rows.text(error.phase.as_str());
        rows.text(error.kind.as_str());
        rows.text(error.error_class.as_str());
        rows.text(error.message.as_str());
        rows.time(now);
        rows.end_row();
    }
    db.load(&mut rows).await?;
    Ok(())
}

/// The items that a retry of a run is limited to: those that failed, if the run did all the others. A run that
/// ended before its work did may have left out any item, so its retry does all.
pub async fn items_to_retry(db: &mut Db, run: i64) -> Result<Option<Vec<String>>, DbError> {
    let is_partial = find(db, run).await?.is_some_and(|run| run.is(Status::Partial));
    if !is_partial {
        return Ok(None);
    }
    Ok(Some(open_items(db, run).await?).filter(|items| !items.is_empty()))
}

/// The keys of a run's items that failed and are not resolved.
pub async fn open_items(db: &mut Db, run: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = db
        .fetch_all(
            "SELECT DISTINCT item_key FROM batch_error_log WHERE execution_id = $1 AND resolved_at IS NULL ORDER BY item_key",
            values![run],
        )
        .await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}
