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
    /// Those that too many runs died over, with what is said of them: they failed, or are held if they may have arrived.
    pub(super) failed: Vec<(i64, String)>,
}

/// Reclaims the mails that dead runs held. A mail that one of them was sending may have arrived: it becomes UNKNOWN,
/// and depending on the configuration it is sent again or waits for a person.
///
/// One of these mails may be what the process died of, by its size or its template: a take-over counts, and from then on
/// such a mail is sent alone. One whose runs go on dying is not sent for ever.
pub(super) async fn recover(db: &mut Db, now: DateTime<Utc>, rule: OnUnknown) -> anyhow::Result<Recovered> {
    let abandoned = "claimed_by IS NOT NULL AND claimed_by NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')";
    // A run that ended by itself, and could not even release its mails, died of none of them. Nor did a run die of a mail
    // that the server had already answered, and that it only kept until it knew what the answer meant.
    let take_overs = "take_overs + CASE WHEN untaken_by = claimed_by AND status <> 'SENDING' THEN 0
                                        WHEN EXISTS (SELECT 1 FROM batch_execution
                                                     WHERE batch_execution.id = mails.claimed_by
                                                       AND batch_execution.status <> 'CRASHED') THEN 0 ELSE 1 END";
    let given_up = |status: &str, change: &str, more: &str| {
        format!(
            "UPDATE mails SET claimed_by = NULL, {change}, take_overs = {take_overs},
                 last_reply = CAST({take_overs} AS TEXT) || ' runs died while they held this mail, the last one was run '
                              || CAST(claimed_by AS TEXT) || '{more}'
             WHERE {abandoned} AND status IN ({status}) AND {take_overs} >= $1
             RETURNING id, last_reply"
        )
    };
    // One that may have arrived is held, however little of this try is known.
    let held = given_up("'UNKNOWN'", "is_held = TRUE", "; an earlier attempt may have arrived");
    let mut failed: Vec<(i64, String)> = db.fetch_all(&held, values![MAX_TAKE_OVERS]).await?;
    let given_up = given_up("'QUEUED', 'RETRY'", "status = 'FAILED', ended_at = $2", "");
    failed.extend(db.fetch_all::<(i64, String)>(&given_up, values![MAX_TAKE_OVERS, now]).await?);
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
             unknown_attempts = unknown_attempts + 1, take_overs = {take_overs}, is_held = ($2 OR unknown_attempts >= 1 OR {take_overs} >= $3),
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
