//! Reservations in Redis, given back after the transaction that cancelled their orders, and wrote a row for each that says
//! so. What fails is done by a later run: giving back twice is the same as once.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::cancel::among;
use super::missing::{Accepted, Seen, settle_missing};
use crate::backoff::{Backoff, Jitter};
use crate::bulk_row;
use crate::clients::redis::{Invocation, Redis, RedisTrouble, Reply};
use crate::config::StockKeys;
use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, Kind, Problems};
use crate::failure::Failure;
use crate::printable::escaped;
use crate::runner::{Run, failpoint};
use crate::shop::malls::{APP, Mall, all_malls};
use crate::shop::stock_keys;
use crate::values;
use crate::wording::counted;

/// What fails if a reservation cannot be given back.
const PHASE: &str = "release";
/// Gives back one reservation.
const RELEASE: &str = include_str!("release.lua");
/// Reservations of one exchange with Redis, and of one commit: some milliseconds, between whose scripts others get their
/// turn.
const BATCH: i64 = 200;
/// When a reservation whose keys hold something else is tried again, until somebody has corrected them. The first time in
/// the next run.
const PAUSES: Backoff = Backoff {
    first: std::time::Duration::from_mins(9),
    factor: 2,
    longest: std::time::Duration::from_hours(1),
    jitter: Jitter::None,
};
/// The most reservations that rest and are looked at.
const MOST_RESTING: i64 = 1000;
/// How long a row is kept once its reservation was given back.
const KEPT_DAYS: i64 = 30;
/// The most old rows that are deleted in one commit.
const DELETED: u64 = 1000;

bulk_row! {
    /// A reservation to give back.
    pub(super) struct NewRelease<'r> => "stock_releases" {
        order_id: i64,
        mall_id: i64,
        order_no: &'r str,
        state: &'static str,
        attempts: i64,
        due_at: DateTime<Utc>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        reservation_key: &'r str,
        stock_before: &'r str,
        stock_after: &'r str,
    }
}

/// Notes that the reservations of these orders of a mall are to be given back, and what their keys are called. In the
/// transaction that cancels them.
pub(super) async fn note(
    db: &mut Db,
    mall: &Mall,
    keys: &StockKeys,
    orders: impl Iterator<Item = (i64, &str)>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut rows = Bulk::new(db);
    let mut numbers = Vec::new();
    let (stock_before, stock_after) = keys.stock_of(&mall.code);
    for (order_id, order_no) in orders {
        numbers.push(order_no);
        rows.push(&NewRelease {
            order_id,
            mall_id: mall.id,
            order_no,
            state: "WAITING",
            attempts: 0,
            due_at: now,
            created_at: now,
            updated_at: now,
            reservation_key: &keys.reservation_of(&mall.code, order_no),
            stock_before: &stock_before,
            stock_after: &stock_after,
        });
    }
    // One that expired before and was opened again has a row of that time.
    db.execute(&forget_sql(db), values![mall.id, json!(numbers)]).await?;
    db.load(&mut rows).await?;
    Ok(())
}

/// Each number is looked up, by construction: a planner without statistics reads all rows of the mall.
pub(super) fn forget_sql(db: &Db) -> String {
    match db.kind() {
        Kind::Sqlite => {
            let numbers = db.elements("$2");
            format!("DELETE FROM stock_releases WHERE mall_id = $1 AND order_no IN {numbers}")
        }
        Kind::Postgres => "DELETE FROM stock_releases WHERE id = ANY (ARRAY(
                 SELECT found.id FROM jsonb_array_elements_text($2) AS number
                 CROSS JOIN LATERAL (SELECT r.id FROM stock_releases r
                                     WHERE r.mall_id = $1 AND r.order_no = number.value OFFSET 0) AS found))"
            .to_owned(),
    }
}

/// Refuses to cancel orders whose reservations nobody would give back: Redis is in use, and this command does not know where.
pub(super) async fn refuse_forgotten_redis(cx: &Context, db: &mut Db) -> anyhow::Result<()> {
    if let Some(server) = cx.redis() {
        server.check()?;
        return stock_keys::refuse_shared(&cx.config.stock().redis, db).await;
    }
    let (because, hint) = if cx.config.has_table("stock.redis") {
        let because = "`[stock.redis]` in batchctl.toml says how reservations are kept there";
        (
            because,
            "set it, so that the reservations of the orders are given back; if stock is no longer kept in Redis, remove the table",
        )
    } else if count_waiting(db).await? > 0 {
        let because = "reservations of cancelled orders wait to be given back there";
        (
            because,
            "set it, so that they are given back; if stock is no longer kept in Redis: `DELETE FROM stock_releases WHERE state = 'WAITING'`",
        )
    } else {
        return Ok(());
    };
    Err(Failure::configuration(format!("BATCHCTL_REDIS_URL is not set, but {because}"))
        .hint(hint)
        .retry_once("once it is set")
        .into())
}

// ---------------------------------------------------------------- giving back

/// What was given back.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) reservations: u64,
    units: i64,
    /// Orders that had no reservation, or had it given back already.
    pub(super) gone: u64,
    /// Orders that were opened again: what is reserved is theirs.
    reopened: u64,
    /// Products without a stock in Redis.
    without_stock: u64,
    /// Why some still wait that are due.
    pub(super) trouble: Option<Failure>,
    /// How many still wait.
    waiting: u64,
    /// What Redis knew of the malls that were asked about, by their numbers.
    pub(super) malls: BTreeMap<i64, Seen>,
}

impl Released {
    /// The end of the summary; `None` if there was nothing to give back.
    pub(super) fn sentence(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.reservations > 0 {
            let reservations = counted(self.reservations, "reservation", "reservations");
            parts.push(format!("released {reservations} ({})", counted(self.units, "unit", "units")));
        }
        if self.gone > 0 {
            parts.push(format!("{} had no reservation", counted(self.gone, "order", "orders")));
        }
        if self.reopened > 0 {
            parts.push(format!("{} opened again", counted(self.reopened, "order was", "orders were")));
        }
        if self.without_stock > 0 {
            let products = counted(self.without_stock, "product", "products");
            parts.push(format!("{products} without a stock in Redis"));
        }
        if self.trouble.is_some() {
            parts.push(format!(
                "{} left to the next run",
                counted(self.waiting, "reservation", "reservations")
            ));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Gives back the reservations that are due, those of earlier runs too. If Redis cannot be used, or is not to be believed, the
/// rest waits.
pub(super) async fn release(run: &mut Run<'_>, accepted: &Accepted) -> anyhow::Result<Released> {
    let mut released = Released::default();
    let Some(server) = run.cx.redis() else { return Ok(released) };
    let now = run.cx.now();
    // Whoever retries has corrected something, and does not wait for the pause to be over.
    let until = if run.retry_items().is_some() { now + pause(u32::MAX) } else { now };
    let resting = resting(run.db, until).await?;
    run.skip_items_once(&resting, PHASE, "BAD_INPUT").await?;
    if !resting.is_empty() {
        // Between two attempts nothing has recovered.
        run.leave_failures_open();
    }
    if !next_page(run.db, until, i64::MIN).await?.is_empty() {
        match server.connect().await {
            Ok(mut redis) => {
                release_pages(run, &mut redis, until, &mut released).await?;
                if released.trouble.is_none()
                    && let Err(error) = settle_missing(run, &mut redis, accepted, &mut released).await
                {
                    // What was given back stands.
                    released.trouble = Some(error.downcast::<Failure>()?);
                }
            }
            Err(failure) => released.trouble = Some(failure),
        }
    }
    if released.trouble.is_some() {
        released.waiting = count_waiting(run.db).await?;
    } else if released.reservations + released.gone > 0 {
        let before = now - TimeDelta::days(KEPT_DAYS);
        while run.chunk(None::<&str>, async |db| delete_old(db, before).await).await? == DELETED {}
    }
    Ok(released)
}

/// Gives back what is due, page by page. Each page is read just before Redis is asked: an order may be opened again at any
/// time.
async fn release_pages(
    run: &mut Run<'_>,
    redis: &mut Redis,
    until: DateTime<Utc>,
    released: &mut Released,
) -> anyhow::Result<()> {
    let layout = Layout::of(run.cx, run.db).await?;
    let mut after = i64::MIN;
    while released.trouble.is_none() {
        let page = next_page(run.db, until, after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let unasked: Vec<i64> =
            page.iter().filter(|one| one.asked_redis.is_none()).map(|one| one.id).collect();
        if !unasked.is_empty() {
            let name = redis.name();
            run.chunk(None::<&str>, async |db| note_asked(db, &unasked, Some(&name)).await).await?;
        }
        failpoint::reach(&run.cx.config, "releases-noted");
        let attempts = exchange(&layout, redis, page, released).await;
        failpoint::reach(&run.cx.config, "released");
        for attempt in &attempts {
            if let End::Failed(failure) = &attempt.end {
                run.fail_part(&attempt.release.key(), PHASE, &failure.clone().into());
            }
        }
        let now = run.cx.now();
        run.chunk(None::<&str>, async |db| store(db, &attempts, now).await).await?;
    }
    Ok(())
}

/// A reservation that waits.
#[derive(Debug, FromRow)]
struct Release {
    id: i64,
    order_no: String,
    attempts: i64,
    mall_id: i64,
    mall_code: String,
    /// Whether the orders of its mall are kept in this database.
    is_own: bool,
    /// What its key was called when the order was cancelled, and what stands before and after a product in that of its stock.
    reservation_key: Option<String>,
    stock_before: Option<String>,
    stock_after: Option<String>,
    /// The Redis that may have given it back already, for a run that did not hear its answer. What another one lacks says
    /// nothing about it.
    asked_redis: Option<String>,
    /// Of the order that has this number now; `None` if there is none.
    order_status: Option<String>,
    #[row(problems)]
    problems: Problems,
}

impl Release {
    /// The item's key in the history: that of its order.
    fn key(&self) -> String {
        format!("{}/{}", self.mall_code, self.order_no)
    }

    /// Whether the reservation is that of an order which was opened again: what it holds is going to be paid.
    fn is_reopened(&self) -> bool {
        self.order_status.as_deref().is_some_and(|status| status != "ORDER_CANCELLED")
    }
}

/// What keys are called.
struct Layout<'c> {
    keys: &'c StockKeys,
    /// The number of each mall whose orders are kept here, with what stands before and after an order in its reservations.
    malls: Vec<(i64, String, (String, String))>,
}

impl<'c> Layout<'c> {
    async fn of(cx: &'c Context, db: &mut Db) -> anyhow::Result<Self> {
        let keys = &cx.config.stock().redis;
        let own = all_malls(db).await?.into_iter().filter(|mall| mall.platform == APP);
        let malls = own.map(|mall| (mall.id, mall.code.clone(), keys.reservations_of(&mall.code))).collect();
        Ok(Self { keys, malls })
    }

    /// What gives a reservation back: it is at the key of when its order was cancelled, or at that of now. Refuses a key that
    /// has become another mall's.
    fn invocation(&self, release: &Release) -> Result<Invocation, Failure> {
        let (before, after) = self.keys.stock_of(&release.mall_code);
        let now = self.keys.reservation_of(&release.mall_code, &release.order_no);
        let Some(then) = release.reservation_key.clone().filter(|then| *then != now) else {
            return Ok(Invocation { keys: vec![now], arguments: vec![before, after] });
        };
        let is_other = |(id, _, (before, after)): &&(i64, String, (String, String))| {
            *id != release.mall_id && then.starts_with(before.as_str()) && then.ends_with(after.as_str())
        };
        if let Some((_, other, _)) = self.malls.iter().find(is_other) {
            return Err(Failure::bad_input(format!(
                "the reservation `{}` of an order of mall `{}` may be one of mall `{other}` by now",
                escaped(&then),
                release.mall_code
            ))
            .hint(format!(
                "give it back by hand if it is there, then `DELETE FROM stock_releases WHERE id = {}`",
                release.id
            )));
        }
        let stock = |part: &Option<String>, now: &str| part.clone().unwrap_or_else(|| now.to_owned());
        let [then_before, then_after] =
            [stock(&release.stock_before, &before), stock(&release.stock_after, &after)];
        Ok(Invocation { keys: vec![then, now], arguments: vec![then_before, then_after, before, after] })
    }
}

/// One whose next attempt is yet to come.
#[derive(Debug, FromRow)]
struct Resting {
    #[row(flatten)]
    release: Release,
    last_error: Option<String>,
}

/// An attempt to give a reservation back.
struct Attempt {
    release: Release,
    end: End,
}

/// How it has ended.
enum End {
    /// So many units were given back.
    Released(i64),
    /// Redis has no such reservation.
    Missing,
    /// The reservation was left alone: it is that of an order which is not cancelled any more.
    Reopened,
    /// Redis has refused it, as it would any other.
    Refused,
    Failed(Failure),
}

/// Has Redis give back the reservations of a page, and returns what is known to have happened. What Redis itself has not
/// done costs no reservation an attempt.
async fn exchange(
    layout: &Layout<'_>,
    redis: &mut Redis,
    page: Vec<Release>,
    released: &mut Released,
) -> Vec<Attempt> {
    let mut attempts = Vec::with_capacity(page.len());
    let (mut asked, mut invocations) = (Vec::with_capacity(page.len()), Vec::with_capacity(page.len()));
    for release in page {
        match release.problems.check().and_then(|()| layout.invocation(&release)) {
            Ok(_) if release.is_reopened() => {
                released.reopened += 1;
                attempts.push(Attempt { release, end: End::Reopened });
            }
            Ok(invocation) => {
                asked.push(release);
                invocations.push(invocation);
            }
            Err(failure) => attempts.push(Attempt { release, end: End::Failed(failure) }),
        }
    }
    let replies = match redis.run_each(RELEASE, &invocations).await {
        Ok(replies) => replies,
        Err(failure) => {
            released.trouble = Some(failure);
            return attempts;
        }
    };
    let name = redis.name();
    for (release, reply) in asked.into_iter().zip(replies) {
        let end = match reply {
            Ok(reply) => {
                let Some(end) = released.note(&name, &release, &reply) else {
                    // What it has done nobody knows.
                    released.trouble = Some(redis.strange());
                    continue;
                };
                end
            }
            Err(RedisTrouble::Script(problem)) => {
                End::Failed(Failure::bad_input(format!("Redis says: {}", escaped(&problem))))
            }
            Err(RedisTrouble::Server(failure)) => {
                released.trouble = Some(failure);
                End::Refused
            }
        };
        attempts.push(Attempt { release, end });
    }
    attempts
}

/// The most units that a script gives back for an order: 10,000 products of nine digits each.
const MOST_RELEASED: i64 = 9_999_999_990_000;

impl Released {
    /// Counts what the script has done; `None` if it never returns this.
    fn note(&mut self, redis: &str, release: &Release, reply: &Reply) -> Option<End> {
        let seen =
            self.malls.entry(release.mall_id).or_insert_with(|| Seen::of(&release.mall_code, release.is_own));
        let parts = if let Reply::List(parts) = reply { parts.as_slice() } else { &[] };
        Some(match parts {
            [Reply::Text(word), Reply::Int(units), Reply::Int(without_stock)]
                if word == "RELEASED" && (0..=MOST_RELEASED).contains(units) && *without_stock >= 0 =>
            {
                seen.found += 1;
                self.reservations += 1;
                self.units = self.units.saturating_add(*units);
                self.without_stock =
                    self.without_stock.saturating_add(u64::try_from(*without_stock).unwrap_or(0));
                End::Released(*units)
            }
            [Reply::Text(word)] if word == "GONE" => {
                let is_asked_before = release.asked_redis.as_deref() == Some(redis);
                *(if is_asked_before { &mut seen.given_back_perhaps } else { &mut seen.missing }) += 1;
                End::Missing
            }
            [Reply::Text(word), Reply::Text(key), Reply::Text(problem)] if word == "BAD" => {
                seen.found += 1;
                let problem = format!("the key `{}` of Redis {}", escaped(key), escaped(problem));
                let hint =
                    "correct it in Redis: a later run gives the reservation back, and `runs retry` at once";
                End::Failed(Failure::bad_input(problem).hint(hint))
            }
            _ => return None,
        })
    }
}

// ---------------------------------------------------------------- the rows

/// The next reservations that wait and are due. What is not a time is due.
async fn next_page(db: &mut Db, until: DateTime<Utc>, after: i64) -> anyhow::Result<Vec<Release>> {
    Ok(db.fetch_all(&page_sql(db), values![until, after, BATCH]).await?)
}

pub(super) fn page_sql(db: &Db) -> String {
    format!(
        "SELECT r.id, r.order_no, r.attempts, r.mall_id, m.code AS mall_code, r.reservation_key, r.stock_before,
                r.stock_after, r.asked_redis, m.platform = 'app' AS is_own,
                (SELECT o.status FROM orders o WHERE o.mall_id = r.mall_id AND o.order_no = r.order_no) AS order_status
         FROM stock_releases r JOIN malls m ON m.id = r.mall_id
         WHERE r.state = 'WAITING' AND r.id > $2 AND (r.due_at <= $1 OR NOT {})
         ORDER BY r.id LIMIT $3",
        db.is_time("r.due_at")
    )
}

/// Those that rest until somebody has corrected their keys, each with what is wrong: they are still open, and were told of
/// when they failed.
async fn resting(db: &mut Db, until: DateTime<Utc>) -> anyhow::Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT r.id, r.order_no, r.attempts, r.mall_id, m.code AS mall_code, r.reservation_key, r.stock_before,
                r.stock_after, r.asked_redis, m.platform = 'app' AS is_own, NULL AS order_status, r.last_error
         FROM stock_releases r JOIN malls m ON m.id = r.mall_id
         WHERE r.state = 'WAITING' AND r.attempts > 0 AND r.due_at > $1 AND {} ORDER BY r.id LIMIT $2",
        db.is_time("r.due_at")
    );
    let rows: Vec<Resting> = db.fetch_all(&sql, values![until, MOST_RESTING]).await?;
    Ok(rows
        .into_iter()
        .map(|Resting { release, last_error }| (release.key(), last_error.unwrap_or_default()))
        .collect())
}

async fn count_waiting(db: &mut Db) -> anyhow::Result<u64> {
    let sql = "SELECT COUNT(*) FROM stock_releases WHERE state = 'WAITING'";
    let (waiting,): (i64,) = db.fetch_one(sql, values![]).await?;
    Ok(u64::try_from(waiting).unwrap_or(0))
}

/// Notes of these rows which Redis may have given their reservations back though nobody knows its answer; `None` if that is
/// known.
async fn note_asked(db: &mut Db, rows: &[i64], redis: Option<&str>) -> anyhow::Result<()> {
    let sql = format!(
        "UPDATE stock_releases SET asked_redis = $2 WHERE id {} AND state = 'WAITING'",
        among(db, "$1")
    );
    db.execute(&sql, values![json!(rows), redis]).await?;
    Ok(())
}

/// Notes how the attempts have ended.
async fn store(db: &mut Db, ended: &[Attempt], now: DateTime<Utc>) -> anyhow::Result<()> {
    let (mut done, mut units_of, mut reopened) = (Vec::new(), serde_json::Map::new(), Vec::new());
    let (mut missing, mut untouched) = (Vec::new(), Vec::new());
    for Attempt { release, end } in ended {
        match end {
            End::Released(units) => {
                done.push(release.id);
                units_of.insert(release.id.to_string(), json!(units));
            }
            End::Missing => missing.push(release.id),
            End::Reopened => reopened.push(release.id),
            End::Refused => {}
            End::Failed(failure) => {
                let attempts = release.attempts.saturating_add(1);
                let due_at = now + pause(u32::try_from(attempts).unwrap_or(u32::MAX));
                let sql = "UPDATE stock_releases
                           SET attempts = $2, due_at = $3, last_error = $4, updated_at = $5, is_missing = FALSE
                           WHERE id = $1 AND state = 'WAITING'";
                db.execute(sql, values![release.id, attempts, due_at, &failure.message, now]).await?;
            }
        }
        if matches!(end, End::Missing | End::Refused | End::Failed(_)) && release.asked_redis.is_none() {
            untouched.push(release.id);
        }
    }
    if !done.is_empty() {
        let values = values![serde_json::Value::from(units_of), json!(done), now];
        db.execute(&done_sql(db), values).await?;
    }
    if !missing.is_empty() {
        let sql = format!(
            "UPDATE stock_releases SET is_missing = TRUE WHERE id {} AND state = 'WAITING'",
            among(db, "$1")
        );
        db.execute(&sql, values![json!(missing)]).await?;
    }
    if !untouched.is_empty() {
        note_asked(db, &untouched, None).await?;
    }
    if !reopened.is_empty() {
        let sql = format!("DELETE FROM stock_releases WHERE id {} AND state = 'WAITING'", among(db, "$1"));
        db.execute(&sql, values![json!(reopened)]).await?;
    }
    Ok(())
}

/// $1 is an object of the units of each row, $2 the list of the rows.
pub(super) fn done_sql(db: &Db) -> String {
    format!(
        "UPDATE stock_releases SET state = 'RELEASED', attempts = attempts + 1, last_error = NULL, updated_at = $3,
                                   units = CAST($1 ->> CAST(id AS TEXT) AS BIGINT), is_missing = FALSE
         WHERE id {} AND state = 'WAITING'",
        among(db, "$2")
    )
}

/// Deletes the first of the rows that were done before then, and returns how many.
async fn delete_old(db: &mut Db, before: DateTime<Utc>) -> anyhow::Result<u64> {
    let sql = "DELETE FROM stock_releases WHERE id IN
                   (SELECT id FROM stock_releases WHERE state = 'RELEASED' AND updated_at < $1
                    ORDER BY updated_at LIMIT $2)";
    Ok(db.execute(sql, values![before, DELETED.cast_signed()]).await?)
}

/// How long a reservation waits after so many failed attempts.
fn pause(attempts: u32) -> TimeDelta {
    TimeDelta::from_std(PAUSES.pause(attempts)).unwrap_or(TimeDelta::hours(1))
}
