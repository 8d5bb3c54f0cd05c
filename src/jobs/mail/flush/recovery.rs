//! What becomes of the mails that dead runs held, and of those that `runs retry` is about.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::config::OnUnknown;
use crate::db::Db;
use crate::mail::queue::AS_NEW;
use crate::values;

/// A mail that this many processes died over is probably the cause: it fails, or waits for a person if it may have arrived.
pub(super) const MAX_TAKE_OVERS: i64 = 3;

/// What became of the mails that dead runs held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Those that were being sent and may have arrived, and whether they wait for a person.
    pub(super) unknown: Vec<(i64, bool)>,
    /// Those that too many runs died over, with what is said of them.
    pub(super) failed: Vec<(i64, String)>,
}

/// Reclaims the mails that dead runs held. A mail that one of them was sending may have arrived: it becomes UNKNOWN,
/// and depending on the configuration it is sent again or waits for a person.
///
/// One of these mails may be what the process died of, by its size or its template: a take-over counts, and from then on
/// such a mail is sent alone, after all others. One whose runs go on dying is not tried for ever.
pub(super) async fn recover(db: &mut Db, now: DateTime<Utc>, rule: OnUnknown) -> anyhow::Result<Recovered> {
    let abandoned = "claimed_by IS NOT NULL AND claimed_by NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')";
    // A run that ended by itself, and could not even release its mails, died of none of them.
    let take_overs = "take_overs + CASE WHEN EXISTS (SELECT 1 FROM batch_execution
                                                     WHERE batch_execution.id = mails.claimed_by
                                                       AND batch_execution.status <> 'CRASHED') THEN 0 ELSE 1 END";
    let failed = db
        .fetch_all(
            &format!(
                "UPDATE mails SET claimed_by = NULL, status = 'FAILED', ended_at = $1, take_overs = {take_overs},
                     last_reply = CAST({take_overs} AS TEXT) || ' runs died while they held this mail, the last one was run '
                                  || CAST(claimed_by AS TEXT)
                 WHERE {abandoned} AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') AND {take_overs} >= $2
                 RETURNING id, last_reply"
            ),
            values![now, MAX_TAKE_OVERS],
        )
        .await?;
    db.execute(
        &format!(
            "UPDATE mails SET claimed_by = NULL, take_overs = {take_overs}
             WHERE {abandoned} AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')"
        ),
        values![],
    )
    .await?;
    let is_unknown = format!(
        "UPDATE mails SET claimed_by = NULL, status = 'UNKNOWN', due_at = $1,
             unknown_attempts = unknown_attempts + 1, take_overs = {take_overs}, is_held = ($2 OR {take_overs} >= $3),
             last_reply = 'run ' || CAST(claimed_by AS TEXT) || ' ended while it was sending'
         WHERE {abandoned} AND status = 'SENDING'
         RETURNING id, is_held"
    );
    let unknown = db.fetch_all(&is_unknown, values![now, rule == OnUnknown::Hold, MAX_TAKE_OVERS]).await?;
    Ok(Recovered { unknown, failed })
}

/// Requeues failed mails of an earlier run.
pub(super) async fn requeue_failed(db: &mut Db, ids: &[i64], now: DateTime<Utc>) -> anyhow::Result<u64> {
    let sql = format!(
        "UPDATE mails SET {AS_NEW} WHERE (status = 'FAILED' OR (status = 'UNKNOWN' AND is_held)) AND id IN {}",
        db.numbers("$2")
    );
    Ok(db.execute(&sql, values![now, json!(ids)]).await?)
}
