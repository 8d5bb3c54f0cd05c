//! The items that runs gave up on: rows of `batch_error_log`, open until a later run has done them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Bulk, Db, DbError, StoredText, Value};
use crate::{bulk_row, values};

use super::{Execution, Status, find};

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

pub(super) fn resolve_statement(
    db: &Db,
    by: &Execution,
    done: &Done<'_>,
    now: DateTime<Utc>,
) -> (String, Vec<Value>) {
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

/// Marks the failures of one run as resolved: its retry has succeeded.
pub async fn resolve_errors_of(db: &mut Db, run: i64, now: DateTime<Utc>) -> Result<u64, DbError> {
    db.execute(
        "UPDATE batch_error_log SET resolved_at = $1 WHERE execution_id = $2 AND resolved_at IS NULL",
        values![now, run],
    )
    .await
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
pub(super) fn noted_sql(db: &Db) -> String {
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

/// The items that a retry of a run is limited to: those that failed, if the run did all the others, and have not been done
/// since. A run that ended before its work was done may have left out any item, so its retry does all of them; so does that of
/// a run which has noted none.
pub async fn items_to_retry(db: &mut Db, run: i64) -> Result<Option<BTreeSet<String>>, DbError> {
    let is_partial = find(db, run).await?.is_some_and(|run| run.is(Status::Partial));
    if !is_partial || !has_items(db, run).await? {
        return Ok(None);
    }
    Ok(Some(open_items(db, run).await?.into_iter().collect()))
}

/// Whether all that failed in a run has been done since: each of its items, or the whole run by another one.
pub async fn is_made_good(db: &mut Db, run: &Execution) -> Result<bool, DbError> {
    let is_known = run.settled_by.is_some() || (run.is(Status::Partial) && has_items(db, run.id).await?);
    Ok(is_known && open_items(db, run.id).await?.is_empty())
}

/// Whether a run has noted items that failed, whatever has become of them.
async fn has_items(db: &mut Db, run: i64) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM batch_error_log WHERE execution_id = $1)";
    let (has_items,): (bool,) = db.fetch_one(sql, values![run]).await?;
    Ok(has_items)
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
