//! How a run is recorded: its row at its start, and how it ended.

use chrono::{DateTime, Utc};

use crate::db::{Db, DbError};
use crate::values;

use super::{Execution, Status};

/// Inserts a row and returns its id. `seal` proves that its command line is ours.
pub async fn insert(db: &mut Db, row: &Execution, seal: Option<&str>) -> Result<i64, DbError> {
    let (id,): (i64,) = db
        .fetch_one(
            "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, ended_at,
                 heartbeat_at, lease_expires_at, exclusion_key, epoch, host, pid, pid_started_ticks, boot_id, retry_of,
                 items_read, items_written, items_skipped, items_failed, checkpoint, duration_ms, peak_memory_bytes,
                 cpu_time_ms, exit_code, error_class, error_message, version, environment, title, command_seal)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                 $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)
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
                row.title.clone(),
                seal,
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
    /// The exit code it contributes.
    pub exit_code: i64,
    /// The kind of its error.
    pub error_class: Option<String>,
    /// Its error.
    pub error_message: Option<String>,
    /// What it said of its work, a sentence a line.
    pub summary: Option<String>,
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

/// The counts of a run up to its checkpoint, as they are stored; `None` without a checkpoint. Waits for a commit of the run
/// that is on its way.
pub async fn counts_at_checkpoint(db: &mut Db, id: i64) -> Result<Option<Counts>, DbError> {
    let sql = format!(
        "SELECT items_read, items_written, items_skipped, items_failed FROM batch_execution
         WHERE id = $1 AND checkpoint IS NOT NULL {}",
        db.pick("", "FOR UPDATE")
    );
    let found: Option<(i64, i64, i64, i64)> = db.fetch_optional(&sql, values![id]).await?;
    let count = |items: i64| u64::try_from(items).unwrap_or(0);
    Ok(found.map(|(read, written, skipped, failed)| Counts {
        read: count(read),
        written: count(written),
        skipped: count(skipped),
        failed: count(failed),
    }))
}

/// Writes how a run ended, unless another process has already ended it. Returns whether this run still owned the row.
pub async fn finish(db: &mut Db, id: i64, epoch: i64, ending: &Ending) -> Result<bool, DbError> {
    let checkpoint = if ending.discards_checkpoint { "NULL" } else { "checkpoint" };
    let rows = db
        .execute(
            &format!(
                "UPDATE batch_execution
             SET status = $1, ended_at = $2, duration_ms = $3, peak_memory_bytes = $4, cpu_time_ms = $5, exit_code = $6,
                 error_class = $7, error_message = $8, items_read = $9, items_written = $10, items_skipped = $11,
                 items_failed = $12, summary = $13, checkpoint = {checkpoint}
             WHERE id = $14 AND epoch = $15 AND status = 'RUNNING'"
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
                ending.summary.clone(),
                id,
                epoch,
            ],
        )
        .await?;
    Ok(rows == 1)
}
