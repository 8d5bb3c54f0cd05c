//! Claiming: which events may be published now, and which run has them.
//!
//! A run that publishes an event has a row in `outbox_claims` for it. An event may be claimed if every event of its aggregate
//! that waits before it is claimed together with it: none is in another hand, pauses, or was passed by. So the events of an
//! aggregate are always in one hand, the earliest first.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::db::{Db, FromRow, Kind, StoredText, StoredTime};
use crate::values;

use super::envelope::{MAX_HEADERS_BYTES, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, StoredEvent};

/// Before every event: what others wrote past the CHECKs may have any number.
pub(super) const BEGINNING: i64 = i64::MIN;
/// Events that are looked at in one step, whether they can be claimed or not.
pub(super) const LOOKED_AT: i64 = 1000;
/// The most bytes of payloads that a run holds at once.
const MAX_CLAIMED_BYTES: i64 = 8 * 1024 * 1024;
/// On SQLite whoever marks a row reads and writes all of it. One that is larger than this is left where it is.
const MAX_TOUCHED_BYTES: i64 = 16 * 1024 * 1024;
/// The clocks of two hosts may differ by this much.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);
/// The number of the lock on PostgreSQL under which events are claimed, from this program's name.
const CLAIM_LOCK: i64 = 0x6261_7463_6865_7674;

/// An event that waits: it is neither published nor given up. In the words of `outbox_events_waiting`.
pub(super) const WAITS: &str = "published_at IS NULL AND dead_at IS NULL";

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

/// How many events wait, and until when the first of those that pause.
#[derive(Debug, FromRow)]
pub(super) struct Backlog {
    pub(super) waiting: i64,
    next_at: Option<StoredTime>,
}

impl Backlog {
    /// When the next event is offered again; `None` if none pauses.
    pub(super) fn next_at(&self) -> Option<DateTime<Utc>> {
        self.next_at.as_ref().and_then(StoredTime::at)
    }
}

/// What waits now.
pub(super) async fn backlog(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<Backlog> {
    let sql = format!(
        "SELECT COUNT(*) AS waiting, MIN(CASE WHEN next_attempt_at > $1 THEN next_attempt_at END) AS next_at
         FROM outbox_events WHERE {WAITS}"
    );
    Ok(db.fetch_one(&sql, values![now]).await?)
}

/// Whether one of the events that wait longest was not taken although nothing said that it is at fault.
pub(super) async fn is_any_in_doubt(db: &mut Db) -> anyhow::Result<bool> {
    let sql = format!(
        "SELECT id FROM (SELECT id, attempts, next_attempt_at FROM outbox_events WHERE {WAITS} ORDER BY id LIMIT 10000) oldest
         WHERE attempts = 0 AND next_attempt_at IS NOT NULL LIMIT 1"
    );
    Ok(db.fetch_optional::<(i64,)>(&sql, values![]).await?.is_some())
}

/// Whether one of the newest events was published at this time or later.
pub(super) async fn is_any_published_since(db: &mut Db, time: DateTime<Utc>) -> anyhow::Result<bool> {
    let sql = format!(
        "SELECT id FROM (SELECT id, published_at FROM outbox_events ORDER BY id DESC LIMIT 10000) newest
         WHERE published_at >= $1 AND {} LIMIT 1",
        db.is_time("published_at")
    );
    Ok(db.fetch_optional::<(i64,)>(&sql, values![time]).await?.is_some())
}

/// How many other runs publish that began before this one.
pub(super) async fn count_earlier_runs(db: &mut Db, run: i64) -> anyhow::Result<i64> {
    let sql = "SELECT COUNT(*) FROM batch_execution WHERE job = 'events publish' AND status = 'RUNNING' AND id < $1";
    let (count,): (i64,) = db.fetch_one(sql, values![run]).await?;
    Ok(count)
}

/// Claims of runs that do not run any more.
const ABANDONED: &str = "run_id NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')";

/// Whether a dead run holds any event.
pub(super) async fn is_any_abandoned(db: &mut Db) -> anyhow::Result<bool> {
    let sql = format!("SELECT outbox_id FROM outbox_claims WHERE {ABANDONED} LIMIT 1");
    Ok(db.fetch_optional::<(i64,)>(&sql, values![]).await?.is_some())
}

/// Releases the events that dead runs held, in the transaction that is open. They may have been published, with nobody left to
/// note it: they are again.
pub(super) async fn reclaim(db: &mut Db) -> anyhow::Result<u64> {
    // Two at once would lock the same rows in different orders.
    lock_claims(db).await?;
    Ok(db.execute(&format!("DELETE FROM outbox_claims WHERE {ABANDONED}"), values![]).await?)
}

/// Waits until nobody else claims, until the end of the transaction that is open. SQLite has one writer anyway.
async fn lock_claims(db: &mut Db) -> anyhow::Result<()> {
    if db.kind() == Kind::Postgres {
        db.execute("SELECT pg_advisory_xact_lock($1)", values![CLAIM_LOCK]).await?;
    }
    Ok(())
}

/// The events that a run looks at next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// After this one.
    pub(super) after: i64,
    /// Up to this one.
    pub(super) until: i64,
    /// At most so many are claimed.
    pub(super) most: i64,
}

/// An event that waits, and whether it may be offered now.
#[derive(Debug, FromRow)]
struct Waiting {
    id: i64,
    aggregate_type: Option<StoredText>,
    aggregate_id: Option<StoredText>,
    payload_bytes: i64,
    /// Another run has it, or it pauses.
    is_held: bool,
}

impl Waiting {
    /// What it is about. All whose name cannot be read are taken for one: they are given up anyway.
    fn aggregate(&self) -> (Option<&str>, Option<&str>) {
        (
            self.aggregate_type.as_ref().map(StoredText::shown),
            self.aggregate_id.as_ref().map(StoredText::shown),
        )
    }
}

/// Claims events for a run, in the transaction that is open. `longest` is the longest pause that this program makes: one beyond
/// it was written by a clock that has been set back since, and does not count.
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
    let waiting = look(db, page, now, longest).await?;
    let mut held = passed_by(db, page, &waiting).await?;
    let is_end = i64::try_from(waiting.len())? < LOOKED_AT;
    let mut claim =
        Claim { position: waiting.last().map(|last| last.id).filter(|_| !is_end), ..Claim::default() };
    let (mut ids, mut claimed_bytes, mut last) = (Vec::new(), 0, page.after);
    for event in &waiting {
        let aggregate = event.aggregate();
        if event.is_held {
            held.insert(aggregate);
        } else if !held.contains(&aggregate) {
            if db.kind() == Kind::Sqlite && event.payload_bytes > MAX_TOUCHED_BYTES {
                claim.untouchable.push((event.id, event.payload_bytes));
                held.insert(aggregate);
            } else {
                let is_too_much =
                    claimed_bytes > 0 && claimed_bytes + event.payload_bytes > MAX_CLAIMED_BYTES;
                if is_too_much || i64::try_from(ids.len())? >= page.most {
                    claim.position = Some(last);
                    break;
                }
                ids.push(event.id);
                claimed_bytes += event.payload_bytes;
            }
        }
        last = event.id;
    }
    if !ids.is_empty() {
        claim.events = take(db, run, &ids).await?;
        claim.events.sort_by_key(|event| event.id);
    }
    Ok(claim)
}

/// The first `$4` events that wait after `$1` and up to `$5`, and which of them are held at `$2`; no pause reaches beyond `$3`.
pub(super) const PAGE: &str = "
    SELECT e.id,
           CASE WHEN OCTET_LENGTH(e.aggregate_type) <= 200 THEN e.aggregate_type END AS aggregate_type,
           CASE WHEN OCTET_LENGTH(e.aggregate_id) <= 200 THEN e.aggregate_id END AS aggregate_id,
           CAST(OCTET_LENGTH(e.payload) AS BIGINT) AS payload_bytes,
           c.run_id IS NOT NULL OR COALESCE(e.next_attempt_at > $2 AND e.next_attempt_at <= $3, FALSE) AS is_held
    FROM outbox_events e LEFT JOIN outbox_claims c ON c.outbox_id = e.id
    WHERE e.published_at IS NULL AND e.dead_at IS NULL AND e.id > $1 AND e.id <= $5
    ORDER BY e.id LIMIT $4";

async fn look(
    db: &mut Db,
    page: Page,
    now: DateTime<Utc>,
    longest: Duration,
) -> anyhow::Result<Vec<Waiting>> {
    let latest = TimeDelta::from_std(longest)
        .ok()
        .and_then(|longest| now.checked_add_signed(longest)?.checked_add_signed(CLOCK_SKEW));
    let values = values![page.after, now, latest.unwrap_or(now), LOOKED_AT, page.until];
    Ok(db.fetch_all(PAGE, values).await?)
}

/// Those of the events `$2`, a list, before which another one of their aggregate waits, up to `$1`. It asks for the first of the
/// aggregate, in the words of the index by aggregate: with others, or the number as a condition, PostgreSQL takes the index of
/// all events that wait as long as it has no statistics, and reads all that this run has published.
pub(super) fn passed_by_sql(db: &Db) -> String {
    format!(
        "SELECT e.id FROM outbox_events e
         WHERE e.id IN {}
           AND (SELECT b.id FROM outbox_events b
                WHERE b.aggregate_type = e.aggregate_type AND b.aggregate_id = e.aggregate_id
                  AND COALESCE(b.published_at, b.dead_at) IS NULL
                ORDER BY b.id LIMIT 1) <= $1",
        db.numbers("$2")
    )
}

/// The aggregates of which an event waits before the page. When the run went by it was held, and may be free by now, or it was
/// not there yet: what follows it on this page would overtake it.
async fn passed_by<'w>(
    db: &mut Db,
    page: Page,
    waiting: &'w [Waiting],
) -> anyhow::Result<HashSet<(Option<&'w str>, Option<&'w str>)>> {
    if page.after == BEGINNING {
        return Ok(HashSet::new());
    }
    let mut seen = HashSet::new();
    let firsts: Vec<i64> =
        waiting.iter().filter(|event| seen.insert(event.aggregate())).map(|event| event.id).collect();
    let sql = passed_by_sql(db);
    let behind: Vec<(i64,)> = db.fetch_all(&sql, values![page.after, json!(firsts)]).await?;
    let behind: HashSet<i64> = behind.into_iter().map(|(id,)| id).collect();
    Ok(waiting.iter().filter(|event| behind.contains(&event.id)).map(Waiting::aggregate).collect())
}

async fn take(db: &mut Db, run: i64, ids: &[i64]) -> anyhow::Result<Vec<StoredEvent>> {
    let numbers = db.numbers("$1");
    let insert =
        format!("INSERT INTO outbox_claims (outbox_id, run_id) SELECT value, $2 FROM {numbers} AS ids");
    db.execute(&insert, values![json!(ids), run]).await?;
    let within = |column: &str, most| {
        format!("CASE WHEN OCTET_LENGTH({column}) <= {most} THEN {column} END AS {column}")
    };
    let sql = format!(
        "SELECT id, {}, {}, {}, {}, {}, {}, occurred_at, attempts,
                next_attempt_at IS NOT NULL AS was_refused,
                CAST(OCTET_LENGTH(payload) AS BIGINT) AS payload_bytes
         FROM outbox_events WHERE id IN {numbers}",
        within("event_id", MAX_NAME_BYTES),
        within("aggregate_type", MAX_NAME_BYTES),
        within("aggregate_id", MAX_NAME_BYTES),
        within("event_type", MAX_NAME_BYTES),
        within("payload", MAX_PAYLOAD_BYTES),
        within("headers", MAX_HEADERS_BYTES),
    );
    Ok(db.fetch_all(&sql, values![json!(ids)]).await?)
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

/// Writes what became of a run's events, in the transaction that is open: of all that were published in one statement. None
/// of them is claimed afterwards. What the run does not hold any more is left alone.
pub(super) async fn settle(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    fates: &[(i64, Fate)],
) -> anyhow::Result<()> {
    let held: Vec<(i64,)> =
        db.fetch_all("DELETE FROM outbox_claims WHERE run_id = $1 RETURNING outbox_id", values![run]).await?;
    let held: HashSet<i64> = held.into_iter().map(|(id,)| id).collect();
    let fates: Vec<&(i64, Fate)> = fates.iter().filter(|(id, _)| held.contains(id)).collect();
    let published: Vec<i64> =
        fates.iter().filter(|(_, fate)| *fate == Fate::Published).map(|(id, _)| *id).collect();
    if !published.is_empty() {
        let sql = format!(
            "UPDATE outbox_events SET published_at = $2, next_attempt_at = NULL, last_error = NULL WHERE id IN {}",
            db.numbers("$1")
        );
        db.execute(&sql, values![json!(published), now]).await?;
    }
    for (id, fate) in fates {
        let (again_at, dead_at, is_attempt, reason) = match fate {
            Fate::Published | Fate::Untouched => continue,
            Fate::Again { at, is_attempt, reason } => (Some(*at), None, *is_attempt, reason),
            Fate::Dead { is_attempt, reason } => (None, Some(now), *is_attempt, reason),
        };
        db.execute(
            "UPDATE outbox_events
             SET next_attempt_at = $2, dead_at = $3, attempts = attempts + $4, last_error = $5
             WHERE id = $1",
            // PostgreSQL has no NUL in a text.
            values![*id, again_at, dead_at, i64::from(is_attempt), reason.replace('\0', "␀")],
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
