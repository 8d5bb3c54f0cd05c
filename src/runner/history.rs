//! The history: every run is a row of `batch_execution`, written here and nowhere else.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Bulk, Db, DbError, Problems, StoredText, Value};
use crate::{bulk_row, values};

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
    dismissed_by, dismissed_reason";

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

/// One run by its number.
pub async fn find(db: &mut Db, id: i64) -> Result<Option<Execution>, DbError> {
    let sql = format!("SELECT {EXECUTION_COLUMNS} FROM batch_execution WHERE id = $1");
    db.fetch_optional(&sql, values![id]).await
}

/// The last run of an instance that started: it decides whether the instance is complete and where to resume. One that
/// was refused, or failed before it started, has no epoch and does not count.
pub async fn last_attempt(db: &mut Db, job: &str, instance_key: &str) -> Result<Option<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND instance_key = $2 AND epoch > 0 ORDER BY id DESC LIMIT 1"
    );
    db.fetch_optional(&sql, values![job, instance_key]).await
}

/// The numbers of all runs of an instance.
pub async fn runs_of(db: &mut Db, job: &str, instance_key: &str) -> Result<Vec<i64>, DbError> {
    let sql = "SELECT id FROM batch_execution WHERE job = $1 AND instance_key = $2 ORDER BY id";
    let ids: Vec<(i64,)> = db.fetch_all(sql, values![job, instance_key]).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// The last run of an instance that has stored a checkpoint, however it ended.
pub async fn last_with_checkpoint(
    db: &mut Db,
    job: &str,
    instance_key: &str,
) -> Result<Option<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND instance_key = $2 AND checkpoint IS NOT NULL ORDER BY id DESC LIMIT 1"
    );
    db.fetch_optional(&sql, values![job, instance_key]).await
}

/// The last runs of a job that have stored a checkpoint, however they ended, of the instances whose keys begin like this; the
/// newest first.
pub async fn with_checkpoint_lately(
    db: &mut Db,
    job: &str,
    key_prefix: &str,
    most: i64,
) -> Result<Vec<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND checkpoint IS NOT NULL AND SUBSTR(instance_key, 1, LENGTH($2)) = $2
         ORDER BY id DESC LIMIT $3"
    );
    db.fetch_all(&sql, values![job, key_prefix, most]).await
}

/// The last run of the same instance that started before this one.
pub async fn attempt_before(db: &mut Db, run: &Execution) -> Result<Option<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND instance_key = $2 AND epoch > 0 AND id < $3 ORDER BY id DESC LIMIT 1"
    );
    db.fetch_optional(&sql, values![&run.job, &run.instance_key, run.id]).await
}

/// The number of the next attempt at an instance, counting those that failed before they started, but not refused
/// ones. A sweep that follows a success starts again at 1.
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
        Some((attempt, _)) => attempt.saturating_add(1),
        None => 1,
    })
}

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

/// What a run that completed has done.
#[derive(Debug, Clone, Copy)]
pub struct Done<'w> {
    /// The items that it was limited to; `None` if it did all.
    pub limited_to: Option<&'w BTreeSet<String>>,
    /// The items that an earlier run gave up on and this one skipped silently.
    pub still_open: &'w [String],
}

/// Marks the failures of an instance's earlier attempts as resolved, because the run `by` has done these items. A
/// sweep has no key that shows what it covers: one that was limited to items or by its arguments resolves only those.
pub async fn resolve_errors(
    db: &mut Db,
    by: &Execution,
    done: &Done<'_>,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let (sql, values) = resolve_statement(db, by, done, now);
    db.execute(&sql, values).await
}

fn resolve_statement(db: &Db, by: &Execution, done: &Done<'_>, now: DateTime<Utc>) -> (String, Vec<Value>) {
    let mut sql = format!(
        "UPDATE batch_error_log SET resolved_at = $1
         WHERE resolved_at IS NULL AND item_key NOT IN {} AND execution_id IN (
             SELECT id FROM batch_execution WHERE job = $2 AND instance_key = $3 AND id < $4
                 AND (items_failed > 0 OR items_skipped > 0)",
        db.elements("$5")
    );
    let mut values = values![now, &by.job, &by.instance_key, by.id, json!(done.still_open)];
    let is_sweep = by.instance_key.is_empty();
    if is_sweep && by.command_line != by.job {
        values.push((&by.command_line).into());
        sql.push_str(&format!(" AND command_line = ${}", values.len()));
    }
    sql.push(')');
    if let Some(items) = done.limited_to.filter(|_| is_sweep) {
        values.push(json!(items).into());
        // Inside COALESCE it is not a join, in which PostgreSQL would compare each with each, but a lookup in a hash.
        let items = db.elements(&format!("${}", values.len()));
        sql.push_str(&format!(" AND COALESCE(item_key IN {items}, FALSE)"));
    }
    (sql, values)
}

/// Which of these items were given up on in this phase by runs of the job's other instances, and have not been done
/// since. A further run of the same instance, if that has a key, reports them again: the instance is not complete.
pub async fn noted_items(
    db: &mut Db,
    run: &Execution,
    phase: &str,
    keys: &[&str],
) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = db
        .fetch_all(&noted_sql(db), values![&run.job, run.id, &run.instance_key, phase, json!(keys)])
        .await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Looks the items up one by one, by construction: in a join, a planner without statistics reads all errors of the job's
/// runs and compares each with each item. COUNT instead of EXISTS, which would be such a join again; no index serves a
/// condition inside COALESCE, which leaves the one of the item.
fn noted_sql(db: &Db) -> String {
    format!(
        "SELECT item.value FROM {} AS item
         WHERE (SELECT COUNT(*) FROM batch_error_log e
                JOIN batch_execution x ON x.id = e.execution_id
                WHERE e.item_key = item.value AND e.resolved_at IS NULL AND e.phase = $4
                  AND COALESCE(x.job = $1 AND x.id < $2 AND (x.instance_key = '' OR x.instance_key <> $3)
                               AND (x.items_failed > 0 OR x.items_skipped > 0), FALSE)) > 0",
        db.elements("$5")
    )
}

/// Marks the failures of one run as resolved: its retry has succeeded.
pub async fn resolve_errors_of(db: &mut Db, run: i64, now: DateTime<Utc>) -> Result<u64, DbError> {
    db.execute(
        "UPDATE batch_error_log SET resolved_at = $1 WHERE execution_id = $2 AND resolved_at IS NULL",
        values![now, run],
    )
    .await
}

/// The durations of a job's last successes, with the items that they read, newest first, without the run itself: of all
/// of them, or of those under one exclusion key.
pub async fn last_durations(
    db: &mut Db,
    job: &str,
    exclusion_key: Option<&str>,
    before: i64,
    most: i64,
) -> Result<Vec<(i64, i64)>, DbError> {
    db.fetch_all(
        "SELECT duration_ms, items_read FROM batch_execution
             WHERE job = $1 AND status = 'COMPLETED' AND id < $2 AND duration_ms IS NOT NULL
               AND ($3 IS NULL OR exclusion_key = $3)
             ORDER BY id DESC LIMIT $4",
        values![job, before, exclusion_key, most],
    )
    .await
}

/// A failed or skipped item, on its way into `batch_error_log`.
#[derive(Debug, Clone, crate::db::FromRow, serde::Serialize)]
pub struct ItemError {
    /// The item's key: a mall's code, a file's line.
    pub item_key: String,
    /// The step that failed.
    pub phase: String,
    /// SKIPPED or FAILED.
    pub kind: String,
    /// The kind of error.
    pub error_class: String,
    /// The error in one line.
    pub message: String,
}

bulk_row! {
    /// A row for each item that failed or was skipped.
    struct ErrorRow<'e> => "batch_error_log" {
        execution_id: i64,
        item_key: &'e str,
        phase: &'e str,
        kind: &'e str,
        error_class: &'e str,
        message: &'e str,
        created_at: DateTime<Utc>,
    }
}

/// Writes item errors of a run.
pub async fn insert_errors(
    db: &mut Db,
    run: i64,
    errors: &[ItemError],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let mut rows = Bulk::new(db);
    for error in errors {
        rows.push(&ErrorRow {
            execution_id: run,
            item_key: &error.item_key,
            phase: &error.phase,
            kind: &error.kind,
            error_class: &error.error_class,
            message: &error.message,
            created_at: now,
        });
    }
    db.load(&mut rows).await?;
    Ok(())
}

/// The items that a retry of a run is limited to: those that failed, if the run did all the others. A run that ended
/// before its work was done may have left out any item, so its retry does all of them.
pub async fn items_to_retry(db: &mut Db, run: i64) -> Result<Option<BTreeSet<String>>, DbError> {
    let is_partial = find(db, run).await?.is_some_and(|run| run.is(Status::Partial));
    if !is_partial {
        return Ok(None);
    }
    let items: BTreeSet<String> = open_items(db, run).await?.into_iter().collect();
    Ok(Some(items).filter(|items| !items.is_empty()))
}

/// Why an item failed in a job's newest run for an instance, whichever malls that named, if it is not resolved: the run
/// and the message.
pub async fn open_item_error(
    db: &mut Db,
    job: &str,
    instance: &str,
    item: &str,
) -> Result<Option<(i64, String)>, DbError> {
    let found: Option<(i64, StoredText)> = db
        .fetch_optional(
            "SELECT runs.id, errors.message
             FROM batch_execution runs
             JOIN batch_error_log errors ON errors.execution_id = runs.id
             WHERE runs.job = $1 AND (runs.instance_key = $2 OR runs.instance_key LIKE $3)
               AND errors.item_key = $4 AND errors.kind = 'FAILED' AND errors.resolved_at IS NULL
             ORDER BY runs.id DESC, errors.id DESC LIMIT 1",
            values![job, instance, format!("{instance} mall=%"), item],
        )
        .await?;
    Ok(found.map(|(run, message)| (run, message.shown().to_owned())))
}

/// The keys of a run's items that failed and are not resolved.
pub async fn open_items(db: &mut Db, run: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(StoredText,)> = db
        .fetch_all(
            "SELECT DISTINCT item_key FROM batch_error_log WHERE execution_id = $1 AND resolved_at IS NULL ORDER BY item_key",
            values![run],
        )
        .await?;
    Ok(rows.into_iter().map(|(key,)| key.shown().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};
    use crate::runner::testing::execution;

    on_both_databases![
        what_is_inserted_is_found_as_it_was,
        the_last_attempt_is_the_last_that_started,
        attempts_are_counted_without_refused_ones,
        only_the_holder_of_the_epoch_ends_a_run_and_only_once,
        a_retry_is_limited_to_what_failed_of_a_run_that_did_the_rest,
        what_a_later_attempt_has_done_is_resolved,
        a_sweep_resolves_only_what_it_covers,
        an_item_is_known_from_runs_of_other_instances,
        an_item_that_was_given_up_on_is_found_by_its_key,
        what_a_sweep_was_limited_to_is_not_compared_with_each_error,
        what_a_run_resolves_is_found_by_the_runs_before_it,
        the_last_durations_are_those_of_successes_under_the_key,
    ];

    /// Adds a run of `a job 2026-11-19` with this status and returns its id.
    async fn run(db: &mut TestDb, status: Status, attempt: i64, epoch: i64) -> i64 {
        let status = status.word().to_owned();
        db.run(&Execution { attempt, status, epoch, ..execution("a job", "2026-11-19") }).await
    }

    async fn note(db: &mut TestDb, run: i64, keys: &[&str]) {
        let errors: Vec<ItemError> = keys
            .iter()
            .map(|key| ItemError {
                item_key: (*key).to_owned(),
                phase: "load".to_owned(),
                kind: "FAILED".to_owned(),
                error_class: "FAILED".to_owned(),
                message: "is bad".to_owned(),
            })
            .collect();
        insert_errors(db, run, &errors, now()).await.unwrap();
        db.sql(&format!("UPDATE batch_execution SET items_failed = {} WHERE id = {run}", keys.len())).await;
    }

    /// Runs with an open error each, of which the planner knows nothing.
    async fn open_errors(db: &mut TestDb) {
        db.completed_runs(4_000).await;
        let errors = "batch_error_log (execution_id, item_key, phase, kind, error_class, message, created_at)
                      SELECT n, 'item ' || n, 'load', 'FAILED', 'FAILED', 'is bad', '2026-11-19T00:00:00+00:00'";
        db.fill(4_000, errors).await;
    }

    async fn an_item_that_was_given_up_on_is_found_by_its_key(db: &mut TestDb) {
        open_errors(db).await;
        let sql = noted_sql(db);
        let values = || values!["a job", 5_000, "", "load", json!(["item 1", "item 2"])];
        assert_eq!(db.found_by("e", &sql, values()).await, ["item_key"]);
        assert_eq!(db.found_by("x", &sql, values()).await, ["id"]);
    }

    async fn what_a_sweep_was_limited_to_is_not_compared_with_each_error(db: &mut TestDb) {
        open_errors(db).await;
        let items: BTreeSet<String> = (1..=4_000).map(|number| format!("item {number}")).collect();
        let done = Done { limited_to: Some(&items), still_open: &[] };
        let by = Execution { id: 5_000, ..execution("a job", "") };
        let (sql, values) = resolve_statement(db, &by, &done, now());
        assert!(!db.compares_all_pairs(&sql, values).await);
    }

    async fn what_a_run_resolves_is_found_by_the_runs_before_it(db: &mut TestDb) {
        open_errors(db).await;
        db.sql("UPDATE batch_execution SET instance_key = ''").await;
        let by = Execution { id: 5_000, ..execution("a job", "") };
        let (sql, values) = resolve_statement(db, &by, &Done { limited_to: None, still_open: &[] }, now());
        assert_eq!(db.found_by("batch_error_log", &sql, values).await, ["execution_id"]);
    }

    async fn what_is_inserted_is_found_as_it_was(db: &mut TestDb) {
        let whole = Execution {
            ended_at: Some(now()),
            exclusion_key: Some("a key".to_owned()),
            retry_of: Some(7),
            items_read: i64::MAX,
            checkpoint: Some("{\"page\":\"雪\"}".to_owned()),
            duration_ms: Some(1),
            peak_memory_bytes: Some(2),
            cpu_time_ms: Some(3),
            exit_code: Some(143),
            error_class: Some("STOPPED".to_owned()),
            error_message: Some("stopped\nby SIGTERM".to_owned()),
            ..execution("a job", "2026-11-19")
        };
        for execution in [execution("a job", ""), whole] {
            let id = db.run(&execution).await;
            let expected = serde_json::to_value(Execution { id, ..execution }).unwrap();
            let found = find(db, id).await.unwrap().unwrap();
            assert_eq!(serde_json::to_value(found).unwrap(), expected);
        }
        assert!(find(db, 3).await.unwrap().is_none());
    }

    async fn the_last_attempt_is_the_last_that_started(db: &mut TestDb) {
        let last = async |db: &mut TestDb| {
            last_attempt(db, "a job", "2026-11-19").await.unwrap().map(|execution| execution.id)
        };
        assert_eq!(last(db).await, None);
        run(db, Status::Completed, 1, 1).await;
        let second = run(db, Status::Crashed, 2, 2).await;
        // Refused, and failed before it started.
        run(db, Status::Refused, 3, 0).await;
        run(db, Status::Failed, 3, 0).await;
        db.run(&execution("another job", "2026-11-19")).await;
        db.run(&execution("a job", "2026-11-20")).await;
        assert_eq!(last(db).await, Some(second));
    }

    async fn attempts_are_counted_without_refused_ones(db: &mut TestDb) {
        let mut next = Vec::new();
        for (status, attempt, epoch) in [
            (Status::Failed, 1, 1),
            (Status::Refused, 2, 0),
            (Status::Failed, 2, 0),
            (Status::Completed, 3, 2),
        ] {
            next.push(next_attempt(db, "a job", "2026-11-19").await.unwrap());
            run(db, status, attempt, epoch).await;
        }
        next.push(next_attempt(db, "a job", "2026-11-19").await.unwrap());
        assert_eq!(next, [1, 2, 2, 3, 4]);
        // A sweep that follows a success starts again at 1.
        let sweep = execution("a job", "");
        db.run(&Execution { status: Status::Failed.word().to_owned(), ..sweep.clone() }).await;
        assert_eq!(next_attempt(db, "a job", "").await.unwrap(), 2);
        db.run(&Execution { status: Status::Completed.word().to_owned(), attempt: 2, ..sweep }).await;
        assert_eq!(next_attempt(db, "a job", "").await.unwrap(), 1);
    }

    async fn only_the_holder_of_the_epoch_ends_a_run_and_only_once(db: &mut TestDb) {
        let checkpoint = Some("\"page 7\"".to_owned());
        let id = db.run(&Execution { epoch: 3, checkpoint, ..execution("a job", "") }).await;
        let ending = Ending {
            status: Status::Partial,
            ended_at: now(),
            duration_ms: 10,
            peak_memory_bytes: 20,
            cpu_time_ms: 30,
            exit_code: 3,
            error_class: None,
            error_message: None,
            counts: Counts { read: 4, written: 2, skipped: 1, failed: 1 },
            discards_checkpoint: true,
        };
        assert!(!finish(db, id, 2, &ending).await.unwrap());
        assert!(finish(db, id, 3, &ending).await.unwrap());
        assert!(!finish(db, id, 3, &Ending { status: Status::Failed, ..ending }).await.unwrap());
        let found = find(db, id).await.unwrap().unwrap();
        assert!(found.is(Status::Partial));
        assert_eq!((found.ended_at, found.exit_code, found.checkpoint), (Some(now()), Some(3), None));
        assert_eq!(
            [found.items_read, found.items_written, found.items_skipped, found.items_failed],
            [4, 2, 1, 1]
        );
    }

    async fn a_retry_is_limited_to_what_failed_of_a_run_that_did_the_rest(db: &mut TestDb) {
        for (status, limited_to) in [
            (Status::Partial, Some(BTreeSet::from(["a".to_owned(), "b".to_owned()]))),
            (Status::Failed, None),
            (Status::Stopped, None),
        ] {
            let id = run(db, status, 1, 1).await;
            note(db, id, &["b", "a", "b"]).await;
            assert_eq!(items_to_retry(db, id).await.unwrap(), limited_to);
            resolve_errors_of(db, id, now()).await.unwrap();
            assert_eq!(items_to_retry(db, id).await.unwrap(), None);
        }
    }

    async fn what_a_later_attempt_has_done_is_resolved(db: &mut TestDb) {
        let first = run(db, Status::Partial, 1, 1).await;
        note(db, first, &["a", "b", "c"]).await;
        let other = db.run(&execution("a job", "2026-11-20")).await;
        note(db, other, &["a"]).await;
        let second = run(db, Status::Partial, 2, 2).await;
        let by = find(db, second).await.unwrap().unwrap();
        let done = Done { limited_to: None, still_open: &["b".to_owned()] };
        assert_eq!(resolve_errors(db, &by, &done, now()).await.unwrap(), 2);
        assert_eq!(open_items(db, first).await.unwrap(), ["b"]);
        assert_eq!(open_items(db, other).await.unwrap(), ["a"], "of another day");
    }

    async fn a_sweep_resolves_only_what_it_covers(db: &mut TestDb) {
        let failed = async |db: &mut TestDb, line: &str, key: &str| {
            let sweep = Execution { command_line: line.to_owned(), ..execution("a job", "") };
            let id = db.run(&sweep).await;
            note(db, id, &[key]).await;
            id
        };
        let all = failed(db, "a job", "seoul").await;
        let tokyo = failed(db, "a job --mall tokyo", "tokyo").await;
        let by = async |db: &mut TestDb, line: &str, items: Option<&[&str]>| {
            let sweep = Execution { command_line: line.to_owned(), ..execution("a job", "") };
            let id = db.run(&sweep).await;
            let by = find(db, id).await.unwrap().unwrap();
            let items = items.map(|items| items.iter().map(|item| (*item).to_owned()).collect());
            let done = Done { limited_to: items.as_ref(), still_open: &[] };
            resolve_errors(db, &by, &done, now()).await.unwrap();
            let mut open = Vec::new();
            for run in [all, tokyo] {
                open.extend(open_items(db, run).await.unwrap());
            }
            open
        };
        assert_eq!(by(db, "a job --mall busan", None).await, ["seoul", "tokyo"]);
        assert_eq!(by(db, "a job", Some(&["busan"])).await, ["seoul", "tokyo"]);
        assert_eq!(by(db, "a job --mall tokyo", None).await, ["seoul"]);
        assert_eq!(by(db, "a job", None).await, [""; 0]);
    }

    async fn an_item_is_known_from_runs_of_other_instances(db: &mut TestDb) {
        let other = db.run(&execution("a job", "2026-11-18")).await;
        note(db, other, &["a", "b"]).await;
        let same = run(db, Status::Partial, 1, 1).await;
        note(db, same, &["c"]).await;
        let id = run(db, Status::Running, 2, 2).await;
        let this = find(db, id).await.unwrap().unwrap();
        let mut noted = noted_items(db, &this, "load", &["a", "b", "c", "d"]).await.unwrap();
        noted.sort();
        assert_eq!(noted, ["a", "b"]);
        assert_eq!(noted_items(db, &this, "check", &["a"]).await.unwrap(), [""; 0]);
        resolve_errors_of(db, other, now()).await.unwrap();
        assert_eq!(noted_items(db, &this, "load", &["a"]).await.unwrap(), [""; 0]);
    }

    async fn the_last_durations_are_those_of_successes_under_the_key(db: &mut TestDb) {
        for (duration, key, status) in [
            (1, "tokyo", Status::Completed),
            (2, "osaka", Status::Completed),
            (3, "tokyo", Status::Failed),
            (4, "tokyo", Status::Completed),
            (5, "tokyo", Status::Completed),
        ] {
            db.run(&Execution {
                status: status.word().to_owned(),
                duration_ms: Some(duration),
                items_read: 10 * duration,
                exclusion_key: Some(key.to_owned()),
                ..execution("a job", "2026-11-19")
            })
            .await;
        }
        assert_eq!(last_durations(db, "a job", None, 6, 3).await.unwrap(), [(5, 50), (4, 40), (2, 20)]);
        assert_eq!(last_durations(db, "a job", Some("tokyo"), 5, 9).await.unwrap(), [(4, 40), (1, 10)]);
        assert_eq!(last_durations(db, "another job", None, 6, 9).await.unwrap(), [(0, 0); 0]);
    }
}
