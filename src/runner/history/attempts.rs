//! What the history holds of an instance and of a job: the runs before this one.

use crate::db::{Db, DbError};
use crate::values;

use super::{EXECUTION_COLUMNS, Execution, Status};

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

/// The last runs of a job that have stored a checkpoint with this text or without the key that it begins with, however they
/// ended, of the instances whose keys begin like this; the newest first.
pub async fn with_checkpoint_lately(
    db: &mut Db,
    job: &str,
    key_prefix: &str,
    (key, value): (&str, &str),
    most: i64,
) -> Result<Vec<Execution>, DbError> {
    let position = db.pick("INSTR", "STRPOS");
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND checkpoint IS NOT NULL AND SUBSTR(instance_key, 1, LENGTH($2)) = $2
             AND ({position}(checkpoint, $3) > 0 OR {position}(checkpoint, $4) = 0)
         ORDER BY id DESC LIMIT $5"
    );
    let key = format!("\"{key}\":");
    let pair = format!("{key}{}", serde_json::Value::from(value));
    db.fetch_all(&sql, values![job, key_prefix, pair, key, most]).await
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
