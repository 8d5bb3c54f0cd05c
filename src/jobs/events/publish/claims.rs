//! Claiming: which events may be published now, and whose row is which run's.
//!
//! An event belongs to the run in `claimed_by`. It may be claimed if none of its aggregate before it is claimed, by whichever
//! run, or waits for its next attempt: so the events of an aggregate are always in one hand, the earliest first.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::db::{Db, Kind};
use crate::values;

use super::envelope::{MAX_HEADERS_BYTES, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, StoredEvent};

/// The most bytes of payloads that a run holds at once.
const MAX_CLAIMED_BYTES: i64 = 8 * 1024 * 1024;
/// On SQLite whoever claims a row reads and writes all of it. One that is larger than this is left where it is.
const MAX_TOUCHED_BYTES: i64 = 16 * 1024 * 1024;
/// The number of the lock on PostgreSQL under which events are claimed, from this program's name.
const CLAIM_LOCK: i64 = 0x6261_7463_6865_7674;

/// An event that waits: it is neither published nor given up. In the words of the indexes.
pub(super) const WAITS: &str = "published_at IS NULL AND dead_at IS NULL";
/// One of them that may hold up others.
const MAY_BLOCK: &str =
    "published_at IS NULL AND dead_at IS NULL AND (claimed_by IS NOT NULL OR next_attempt_at IS NOT NULL)";

/// What a claim found, in the order of the ids.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// The claimed rows.
    pub(super) events: Vec<StoredEvent>,
    /// Rows that are too large to be touched, with their bytes.
    pub(super) untouchable: Vec<(i64, i64)>,
    /// Up to where the table has been looked at; `None` if that is its end.
    pub(super) position: Option<i64>,
}

/// The last event that waits.
pub(super) async fn last_waiting(db: &mut Db) -> anyhow::Result<Option<i64>> {
    let sql = format!("SELECT id FROM outbox_events WHERE {WAITS} ORDER BY id DESC LIMIT 1");
    Ok(db.fetch_optional::<(i64,)>(&sql, values![]).await?.map(|(id,)| id))
}

/// Whether any event up to this one waits.
pub(super) async fn is_any_waiting(db: &mut Db, until: i64) -> anyhow::Result<bool> {
    let sql = format!("SELECT id FROM outbox_events WHERE {WAITS} AND id <= $1 ORDER BY id LIMIT 1");
    Ok(db.fetch_optional::<(i64,)>(&sql, values![until]).await?.is_some())
}

/// How many events wait.
pub(super) async fn count_waiting(db: &mut Db) -> anyhow::Result<i64> {
    let (count,): (i64,) =
        db.fetch_one(&format!("SELECT COUNT(*) FROM outbox_events WHERE {WAITS}"), values![]).await?;
    Ok(count)
}

/// Whether a dead run holds any event.
pub(super) async fn is_any_abandoned(db: &mut Db) -> anyhow::Result<bool> {
    let sql = format!("SELECT id FROM outbox_events WHERE {} LIMIT 1", abandoned());
    Ok(db.fetch_optional::<(i64,)>(&sql, values![]).await?.is_some())
}

/// Releases the events that dead runs held, in the transaction that is open. They may have been published, with nobody left to
/// note it: they are again.
pub(super) async fn reclaim(db: &mut Db) -> anyhow::Result<u64> {
    // Two at once would lock the same rows in different orders.
    lock_claims(db).await?;
    let sql = format!("UPDATE outbox_events SET claimed_by = NULL WHERE {}", abandoned());
    Ok(db.execute(&sql, values![]).await?)
}

/// Waits until nobody else claims, until the end of the transaction that is open. SQLite has one writer anyway.
async fn lock_claims(db: &mut Db) -> anyhow::Result<()> {
    if db.kind() == Kind::Postgres {
        db.execute("SELECT pg_advisory_xact_lock($1)", values![CLAIM_LOCK]).await?;
    }
    Ok(())
}

fn abandoned() -> String {
    format!(
        "{MAY_BLOCK} AND claimed_by IS NOT NULL
         AND claimed_by NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')"
    )
}

/// The events that a run looks at next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// After this one.
    pub(super) after: i64,
    /// Up to this one.
    pub(super) until: i64,
    /// At most so many.
    pub(super) most: i64,
}

/// Claims a page of events for a run, in the transaction that is open. `longest` is the longest pause that this program makes:
/// one beyond it was written by a clock that has been set back since, and does not count.
///
/// One process claims at a time. Of two at once, one would not see what the other is about to claim, and take the events
/// behind it.
pub(super) async fn claim(
    db: &mut Db,
    run: i64,
    page: Page,
    now: DateTime<Utc>,
    longest: Duration,
) -> anyhow::Result<Claim> {
    lock_claims(db).await?;
    let candidates = candidates(db, page, now, longest).await?;
    let is_end = i64::try_from(candidates.len())? < page.most;
    let mut claim = Claim::default();
    let (mut ids, mut claimed_bytes, mut last) = (Vec::new(), 0, None);
    for (id, bytes) in candidates {
        if db.kind() == Kind::Sqlite && bytes > MAX_TOUCHED_BYTES {
            claim.untouchable.push((id, bytes));
        } else if claimed_bytes > 0 && claimed_bytes + bytes > MAX_CLAIMED_BYTES {
            claim.position = last;
            break;
        } else {
            ids.push(id);
            claimed_bytes += bytes;
        }
        last = Some(id);
    }
    if !is_end {
        claim.position = last;
    }
    if !ids.is_empty() {
        claim.events = take(db, run, &ids).await?;
        claim.events.sort_by_key(|event| event.id);
    }
    Ok(claim)
}

/// The first `$4` events after `$1` and up to `$5` that nothing holds up at `$2`; no pause reaches beyond `$3`.
///
/// Not NOT EXISTS, of which PostgreSQL makes a join that compares each event with all that hold up anything.
pub(super) const CANDIDATES: &str = "
    SELECT e.id, CAST(OCTET_LENGTH(e.payload) AS BIGINT) FROM outbox_events e
    WHERE e.published_at IS NULL AND e.dead_at IS NULL AND e.id > $1 AND e.id <= $5
      AND (SELECT b.id FROM outbox_events b
           WHERE b.aggregate_type = e.aggregate_type AND b.aggregate_id = e.aggregate_id AND b.id <= e.id
             AND b.published_at IS NULL AND b.dead_at IS NULL
             AND (b.claimed_by IS NOT NULL OR b.next_attempt_at IS NOT NULL)
             AND (b.claimed_by IS NOT NULL OR (b.next_attempt_at > $2 AND b.next_attempt_at <= $3))
           LIMIT 1) IS NULL
    ORDER BY e.id LIMIT $4";

/// The events of a page that nothing holds up, with the bytes of their payloads.
async fn candidates(
    db: &mut Db,
    page: Page,
    now: DateTime<Utc>,
    longest: Duration,
) -> anyhow::Result<Vec<(i64, i64)>> {
    let latest = TimeDelta::from_std(longest).ok().and_then(|longest| now.checked_add_signed(longest));
    Ok(db
        .fetch_all(CANDIDATES, values![page.after, now, latest.unwrap_or(now), page.most, page.until])
        .await?)
}

async fn take(db: &mut Db, run: i64, ids: &[i64]) -> anyhow::Result<Vec<StoredEvent>> {
    let within = |column: &str, most| {
        format!("CASE WHEN OCTET_LENGTH({column}) <= {most} THEN {column} END AS {column}")
    };
    let sql = format!(
        "UPDATE outbox_events SET claimed_by = $1 WHERE id IN {}
         RETURNING id, {}, {}, {}, {}, {}, {}, occurred_at, attempts,
                   next_attempt_at IS NOT NULL AS was_refused,
                   CAST(OCTET_LENGTH(payload) AS BIGINT) AS payload_bytes",
        db.numbers("$2"),
        within("event_id", MAX_NAME_BYTES),
        within("aggregate_type", MAX_NAME_BYTES),
        within("aggregate_id", MAX_NAME_BYTES),
        within("event_type", MAX_NAME_BYTES),
        within("payload", MAX_PAYLOAD_BYTES),
        within("headers", MAX_HEADERS_BYTES),
    );
    Ok(db.fetch_all(&sql, values![run, json!(ids)]).await?)
}

// ---------------------------------------------------------------- what became of them

/// What became of a claimed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is published.
    Published,
    /// It was refused, and is offered again at this time.
    Again { at: DateTime<Utc>, is_attempt: bool, reason: String },
    /// It is given up.
    Dead { is_attempt: bool, reason: String },
    /// It was not offered: it waits as before.
    Untouched,
}

/// Writes what became of a run's events, in the transaction that is open: of all that were published, and of all that were
/// not offered, in one statement. What the run does not hold any more is left alone.
pub(super) async fn settle(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    fates: &[(i64, Fate)],
) -> anyhow::Result<()> {
    let ids = |wanted: &Fate| -> Vec<i64> {
        fates.iter().filter(|(_, fate)| fate == wanted).map(|(id, _)| *id).collect()
    };
    let numbers = db.numbers("$2");
    let published = ids(&Fate::Published);
    if !published.is_empty() {
        let sql = format!(
            "UPDATE outbox_events
             SET published_at = $3, claimed_by = NULL, next_attempt_at = NULL, last_error = NULL
             WHERE id IN {numbers} AND claimed_by = $1"
        );
        db.execute(&sql, values![run, json!(published), now]).await?;
    }
    let untouched = ids(&Fate::Untouched);
    if !untouched.is_empty() {
        let sql =
            format!("UPDATE outbox_events SET claimed_by = NULL WHERE id IN {numbers} AND claimed_by = $1");
        db.execute(&sql, values![run, json!(untouched)]).await?;
    }
    for (id, fate) in fates {
        let (again_at, dead_at, is_attempt, reason) = match fate {
            Fate::Published | Fate::Untouched => continue,
            Fate::Again { at, is_attempt, reason } => (Some(*at), None, *is_attempt, reason),
            Fate::Dead { is_attempt, reason } => (None, Some(now), *is_attempt, reason),
        };
        db.execute(
            "UPDATE outbox_events
             SET claimed_by = NULL, next_attempt_at = $3, dead_at = $4, attempts = attempts + $5, last_error = $6
             WHERE id = $2 AND claimed_by = $1",
            // PostgreSQL has no NUL in a text.
            values![run, *id, again_at, dead_at, i64::from(is_attempt), reason.replace('\0', "␀")],
        )
        .await?;
    }
    Ok(())
}

/// The same, unless the run has been taken over: a process that was frozen past its lease writes nothing.
pub(super) async fn settle_if_running(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    fates: &[(i64, Fate)],
) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT id FROM batch_execution WHERE id = $1 AND status = 'RUNNING' {}",
        db.pick("", "FOR UPDATE")
    );
    match db.fetch_optional::<(i64,)>(&sql, values![run]).await? {
        Some(_) => settle(db, run, now, fates).await,
        None => Ok(()),
    }
}
