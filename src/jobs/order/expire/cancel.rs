//! The transaction: orders are cancelled, their stock is given back, and whoever has to know of it is told. All of an order,
//! or nothing of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use lettre::message::Mailbox;
use serde_json::{Value as Json, json};

use super::REASON;
use super::{events, releases};
use crate::config::StockKeys;
use crate::db::{Db, FromRow, Kind, Problems, StoredKey};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::mail::queue::{TemplatedMail, enqueue_templated};
use crate::outbox;
use crate::shop::malls::Mall;
use crate::shop::notifications::{NewPush, enqueue_pushes};
use crate::shop::with_lines::line_order;
use crate::values;

/// The text of a notification, and the template of a mail.
const KIND: &str = "order-expired";
/// No order has more pieces of anything: a larger number is a mistake, and given back it would be sold. A reservation has no
/// more digits either (`release.lua`).
const MOST_UNITS: i64 = 999_999_999;
/// An order that has been due for so long, and is still locked, is not just being paid: runs are ten minutes apart.
const STUCK_AFTER: TimeDelta = TimeDelta::minutes(30);

/// What the orders of a chunk share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) mall: &'a Mall,
    pub(super) time_zone: Tz,
    /// When they are cancelled.
    pub(super) now: DateTime<Utc>,
    /// They were ordered up to then.
    pub(super) until: DateTime<Utc>,
    /// Where customers can order again.
    pub(super) shop_url: Option<&'a str>,
    /// What the keys are called by which orders reserve what they contain in Redis; `None` if there is no Redis.
    pub(super) reservations: Option<&'a StockKeys>,
}

/// An order that waits for its payment.
#[derive(Debug, Clone, FromRow)]
#[expect(clippy::struct_field_names, reason = "the columns' own names")]
pub(super) struct Order {
    pub(super) id: i64,
    pub(super) order_no: String,
    pub(super) member_code: Option<String>,
    pub(super) currency: String,
    pub(super) total_amount: i64,
    pub(super) ordered_at: DateTime<Utc>,
    /// The same as it is stored.
    pub(super) position: StoredKey,
    #[row(problems)]
    pub(super) problems: Problems,
}

/// An order to cancel, and who is told.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) order: Order,
    pub(super) customer: Customer,
}

/// How the customer of an order is told. A guest is not.
#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    /// By a notification of the app.
    pub(super) is_notified: bool,
    pub(super) mailbox: Option<Mailbox>,
    pub(super) name: Option<String>,
    pub(super) locale: Locale,
}

/// What becomes of orders whose stock others have locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockedStock {
    /// It is waited for, for a moment.
    Wait,
    /// They are left to the next run.
    PassOver,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cancelled {
    pub(super) orders: u64,
    /// The lines of these orders.
    pub(super) lines: u64,
    /// Those whose product has a stock, to which their units were given back.
    pub(super) returned_lines: u64,
    pub(super) units: i64,
    pub(super) pushes: u64,
    pub(super) mails: u64,
    /// Orders that were left, because others have locked them or their stock.
    pub(super) passed_over: u64,
}

impl std::ops::AddAssign for Cancelled {
    fn add_assign(&mut self, more: Self) {
        self.orders += more.orders;
        self.lines += more.lines;
        self.returned_lines += more.returned_lines;
        self.units = self.units.saturating_add(more.units);
        self.pushes += more.pushes;
        self.mails += more.mails;
        self.passed_over += more.passed_over;
    }
}

/// A line of an order.
#[derive(Debug, FromRow)]
pub(super) struct Line {
    order_id: i64,
    pub(super) product_code: String,
    pub(super) product_name: String,
    pub(super) quantity: i64,
    pub(super) unit_price_amount: i64,
    #[row(problems)]
    problems: Problems,
}

/// Orders with a line that cannot be given back: none of the chunk was cancelled.
#[derive(Debug)]
pub(super) struct BadLines(pub(super) BTreeMap<i64, Failure>);

impl fmt::Display for BadLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the lines of {} orders cannot be used", self.0.len())
    }
}

impl std::error::Error for BadLines {}

/// Cancels those of the orders that still wait for their payment. Fails with [`BadLines`] if one has lines that cannot be
/// given back, or told of; the others can be tried again without it. Returns also which orders were left, because others have
/// locked them or their stock, though they have been due for long.
pub(super) async fn expire(
    db: &mut Db,
    terms: &Terms<'_>,
    candidates: &[Candidate],
    locked_stock: LockedStock,
) -> anyhow::Result<(Cancelled, Vec<i64>)> {
    let ids: Vec<i64> = candidates.iter().map(|candidate| candidate.order.id).collect();
    let ours = lock(db, terms, &ids, locked_stock).await?;
    let (candidates, others): (Vec<&Candidate>, Vec<&Candidate>) =
        candidates.iter().partition(|candidate| ours.contains(&candidate.order.id));
    let passed_over = others.len() as u64;
    let is_stuck = |candidate: &&&Candidate| candidate.order.ordered_at < terms.until - STUCK_AFTER;
    let stuck = others.iter().filter(is_stuck).map(|candidate| candidate.order.id).collect();

    let cancelled = cancel(db, terms, &ours).await?;
    let candidates: Vec<&Candidate> =
        candidates.into_iter().filter(|candidate| cancelled.contains(&candidate.order.id)).collect();
    let lines = lines_of(db, &cancelled).await?;
    check_events(terms, &candidates, &lines)?;
    let returned = give_back(db, terms, &lines).await?;
    let of = |candidate: &Candidate| lines.get(&candidate.order.id).map_or(&[][..], Vec::as_slice);

    let written: Vec<_> = candidates.iter().flat_map(|one| events::of(terms, &one.order, of(one))).collect();
    outbox::write(db, &written, terms.now).await?;
    if let Some(keys) = terms.reservations {
        let orders = candidates.iter().map(|one| (one.order.id, one.order.order_no.as_str()));
        releases::note(db, terms.mall, keys, orders, terms.now).await?;
    }
    let pushes: Vec<NewPush> = candidates
        .iter()
        .filter(|candidate| candidate.customer.is_notified)
        .filter_map(|candidate| push(terms, &candidate.order, of(candidate)))
        .collect();
    let mails: Vec<TemplatedMail> =
        candidates.iter().filter_map(|candidate| mail(terms, candidate, of(candidate))).collect();
    let done = Cancelled {
        orders: candidates.len() as u64,
        lines: lines.values().map(|lines| lines.len() as u64).sum(),
        returned_lines: returned.lines,
        units: returned.units,
        pushes: enqueue_pushes(db, &pushes, terms.now).await?,
        mails: enqueue_templated(db, &mails, terms.now).await?,
        passed_over,
    };
    Ok((done, stuck))
}

/// Checks that other systems can be told of the orders.
fn check_events(
    terms: &Terms<'_>,
    candidates: &[&Candidate],
    lines: &BTreeMap<i64, Vec<Line>>,
) -> Result<(), BadLines> {
    let mut bad = BTreeMap::new();
    for Candidate { order, .. } in candidates {
        if let Err(failure) = events::check(terms, order, lines.get(&order.id).map_or(&[], Vec::as_slice)) {
            bad.insert(order.id, failure);
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(BadLines(bad)) }
}

// ---------------------------------------------------------------- the orders

/// Locks those of these orders that nobody else has locked, and returns them. One that another program has locked is about to
/// be paid, most likely: it is left to the next run, so that nobody waits for us and we for nobody. SQLite has one writer, and
/// this is it.
async fn lock(
    db: &mut Db,
    terms: &Terms<'_>,
    orders: &[i64],
    locked_stock: LockedStock,
) -> anyhow::Result<Vec<i64>> {
    if db.kind() == Kind::Sqlite {
        return Ok(orders.to_vec());
    }
    db.execute(LIMIT_LOCK_WAIT, values![]).await?;
    let locked: Vec<(i64,)> = db.fetch_all(&lock_sql(db), values![json!(orders)]).await?;
    let mut locked: Vec<i64> = locked.into_iter().map(|(id,)| id).collect();
    if locked_stock == LockedStock::PassOver {
        let left = with_locked_stock(db, terms, &locked).await?;
        locked.retain(|id| !left.contains(id));
    }
    Ok(locked)
}

/// Has PostgreSQL wait for a lock for a moment only, in this transaction: the payments of its orders wait as long. The server
/// may be set to less.
const LIMIT_LOCK_WAIT: &str = "SELECT set_config('lock_timeout', '200ms', TRUE)
     WHERE CAST(current_setting('lock_timeout') AS INTERVAL) NOT BETWEEN INTERVAL '1 ms' AND INTERVAL '200 ms'";

/// In the strongest mode: whoever adds a payment to an order shares its row by the foreign key, which a weaker lock would not
/// see. What was added before is committed then, and seen by the next statement.
pub(super) fn lock_sql(db: &Db) -> String {
    format!(
        "SELECT waiting.id FROM orders waiting WHERE waiting.id {} ORDER BY waiting.id {}",
        among(db, "$1"),
        db.pick("", "FOR UPDATE SKIP LOCKED")
    )
}

/// Those of these orders of which a product's stock is locked by others. All other stock of theirs is locked by us then.
async fn with_locked_stock(db: &mut Db, terms: &Terms<'_>, orders: &[i64]) -> anyhow::Result<BTreeSet<i64>> {
    let lines: Vec<Line> = db.fetch_all(&lines_sql(db), values![json!(orders)]).await?;
    let codes: BTreeSet<&str> = lines.iter().map(|line| line.product_code.as_str()).collect();
    let ours = stocked(db, terms, &codes, StockLock::SkipLocked).await?;
    let all = stocked(db, terms, &codes, StockLock::None).await?;
    let locked: BTreeSet<&str> =
        all.iter().filter(|one| !ours.contains(one)).map(|(_, code)| code.as_str()).collect();
    let is_locked = |line: &&Line| locked.contains(line.product_code.as_str());
    Ok(lines.iter().filter(is_locked).map(|line| line.order_id).collect())
}

/// Cancels those of these orders, which are locked, that are not paid, and returns them.
async fn cancel(db: &mut Db, terms: &Terms<'_>, ids: &[i64]) -> anyhow::Result<Vec<i64>> {
    let cancelled: Vec<(i64,)> =
        db.fetch_all(&cancel_sql(db), values![json!(ids), terms.until, terms.now]).await?;
    Ok(cancelled.into_iter().map(|(id,)| id).collect())
}

pub(super) fn cancel_sql(db: &Db) -> String {
    format!(
        "UPDATE orders SET status = 'ORDER_CANCELLED', cancelled_at = $3, cancel_reason = '{REASON}', updated_at = $3
         WHERE id IN ({})
           AND status = 'PAYMENT_WAIT' AND paid_at IS NULL AND source_updated_at IS NULL AND ordered_at <= $2
           AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_id = orders.id AND p.paid_at IS NOT NULL)
         RETURNING id",
        lock_sql(db)
    )
}

/// The lines of these orders, by order, in their order.
async fn lines_of(db: &mut Db, orders: &[i64]) -> anyhow::Result<BTreeMap<i64, Vec<Line>>> {
    let rows: Vec<Line> = db.fetch_all(&lines_sql(db), values![json!(orders)]).await?;
    let mut lines: BTreeMap<i64, Vec<Line>> = BTreeMap::new();
    let mut bad = BTreeMap::new();
    for line in rows {
        if let Err(failure) = line.check() {
            bad.entry(line.order_id).or_insert(failure);
        }
        lines.entry(line.order_id).or_default().push(line);
    }
    if bad.is_empty() { Ok(lines) } else { Err(BadLines(bad).into()) }
}

pub(super) fn lines_sql(db: &Db) -> String {
    format!(
        "SELECT order_id, product_code, product_name, quantity, unit_price_amount FROM order_items
         WHERE order_id {} ORDER BY order_id, {}",
        among(db, "$1"),
        line_order(db, "line_key")
    )
}

impl Line {
    fn check(&self) -> Result<(), Failure> {
        self.problems.check()?;
        if (0..=MOST_UNITS).contains(&self.quantity) {
            return Ok(());
        }
        Err(Failure::bad_input(format!(
            "the line of the product `{}` has the quantity {}, which cannot be given back",
            self.product_code, self.quantity
        )))
    }
}

// ---------------------------------------------------------------- the stock

#[derive(Debug, Default)]
struct Returned {
    lines: u64,
    units: i64,
}

/// Gives the units of these lines back to the stock of their products. A product without a stock row is not counted here,
/// which is no error.
async fn give_back(
    db: &mut Db,
    terms: &Terms<'_>,
    lines: &BTreeMap<i64, Vec<Line>>,
) -> anyhow::Result<Returned> {
    let mut by_product: HashMap<&str, Returned> = HashMap::new();
    for line in lines.values().flatten() {
        let product = by_product.entry(&line.product_code).or_default();
        product.lines += 1;
        // A chunk of lines of at most a billion each is far from what fits.
        product.units += line.quantity;
    }
    let codes = by_product.keys().copied().collect();
    let stocked = stocked(db, terms, &codes, StockLock::Wait).await?;
    let mut total = Returned::default();
    let mut units = serde_json::Map::new();
    for (product_id, code) in &stocked {
        let Some(back) = by_product.get(code.as_str()) else { continue };
        total.lines += back.lines;
        total.units += back.units;
        units.insert(product_id.to_string(), json!(back.units));
    }
    if !units.is_empty() {
        let products: Vec<i64> = stocked.iter().map(|(product_id, _)| *product_id).collect();
        let values = values![Json::from(units), json!(products), terms.now];
        db.execute(&give_back_sql(db), values).await?;
    }
    Ok(total)
}

/// How rows of stock are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StockLock {
    /// Not at all.
    None,
    /// As soon as others have let go of them.
    Wait,
    /// Those that nobody else has locked, and only they are found.
    SkipLocked,
}

/// Which of these products have a stock, by their number and code.
async fn stocked(
    db: &mut Db,
    terms: &Terms<'_>,
    codes: &BTreeSet<&str>,
    lock: StockLock,
) -> anyhow::Result<Vec<(i64, String)>> {
    Ok(db.fetch_all(&stocked_sql(db, lock), values![terms.mall.id, json!(codes)]).await?)
}

/// The rows are locked in one order: whoever locks several of them in the same order never waits for us while we wait for
/// them. Each product is looked up, by construction: a planner without statistics reads all products of the mall.
pub(super) fn stocked_sql(db: &Db, lock: StockLock) -> String {
    let lock = match lock {
        StockLock::None => "",
        StockLock::Wait => "FOR NO KEY UPDATE OF s",
        StockLock::SkipLocked => "FOR NO KEY UPDATE OF s SKIP LOCKED",
    };
    match db.kind() {
        Kind::Sqlite => format!(
            "SELECT s.product_id, p.product_code FROM products p JOIN stock s ON s.product_id = p.id
             WHERE p.mall_id = $1 AND p.product_code IN {} ORDER BY s.product_id",
            db.elements("$2")
        ),
        Kind::Postgres => format!(
            "SELECT s.product_id, code.value AS product_code
             FROM jsonb_array_elements_text($2) AS code
             CROSS JOIN LATERAL (SELECT p.id FROM products p
                                 WHERE p.mall_id = $1 AND p.product_code = code.value OFFSET 0) AS product
             JOIN stock s ON s.product_id = product.id
             ORDER BY s.product_id {lock}"
        ),
    }
}

/// $1 is an object of the units of each product, $2 the list of the products.
pub(super) fn give_back_sql(db: &Db) -> String {
    format!(
        "UPDATE stock SET quantity = quantity + CAST($1 ->> CAST(product_id AS TEXT) AS BIGINT), updated_at = $3
         WHERE product_id {}",
        among(db, "$2")
    )
}

/// The condition that a number is in a list of the rows' own numbers, which looks them up, by construction: of a join with
/// the list, a planner without statistics may read the table, and the list for each of its rows.
pub(super) fn among(db: &Db, placeholder: &str) -> String {
    let numbers = db.numbers(placeholder);
    db.pick(format!("IN {numbers}"), format!("= ANY (ARRAY{numbers})"))
}

// ---------------------------------------------------------------- the customer

fn dedup_key(terms: &Terms<'_>, order: &Order) -> String {
    terms.mall.notice_key(KIND, &order.order_no)
}

fn push(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> Option<NewPush> {
    Some(NewPush {
        mall_id: terms.mall.id,
        member_code: order.member_code.clone()?,
        kind: KIND,
        data: json!({
            "order_number": order.order_no,
            "ordered_at": local(terms, order.ordered_at),
            "cancelled_at": local(terms, terms.now),
            "amount": order.total_amount,
            "currency": order.currency,
            "items": lines.len(),
            "first_item": lines.first().map(|line| &line.product_name),
        }),
        dedup_key: dedup_key(terms, order),
    })
}

fn mail(terms: &Terms<'_>, candidate: &Candidate, lines: &[Line]) -> Option<TemplatedMail> {
    let Candidate { order, customer } = candidate;
    let items: Vec<Json> = lines
        .iter()
        .map(|line| {
            json!({
                "name": line.product_name, "quantity": line.quantity, "unit_price_amount": line.unit_price_amount,
                "currency": order.currency,
            })
        })
        .collect();
    Some(TemplatedMail {
        kind: KIND,
        locale: customer.locale,
        recipient: customer.mailbox.as_ref()?.email.to_string(),
        member: (terms.mall.id, order.member_code.clone()?),
        data: json!({
            "member_name": customer.name,
            "order_number": order.order_no,
            "ordered_at": local(terms, order.ordered_at),
            "cancelled_at": local(terms, terms.now),
            "amount": order.total_amount,
            "currency": order.currency,
            "items": items,
            "shop_url": terms.shop_url,
        }),
        dedup_key: dedup_key(terms, order),
    })
}

/// A time as the mall's customers read it.
fn local(terms: &Terms<'_>, at: DateTime<Utc>) -> String {
    at.with_timezone(&terms.time_zone).to_rfc3339()
}
