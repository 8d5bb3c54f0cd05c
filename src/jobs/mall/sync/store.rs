//! Stores a page's records in the shop's tables, in the transaction of the page.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::clients::cafe24::records::{Member, Order, Refund};
use crate::db::{Bulk, Db, Kind};
use crate::shop::malls::Mall;
use crate::shop::orders;
use crate::shop::upsert::{MATCH_COLUMNS, SourceTime, Upsert, UpsertCounts};
use crate::values;

use super::Domain;
use super::source::Page;

const STAGED_MEMBERS: &str = "staged_members";
const STAGED_REFUNDS: &str = "staged_refunds";

const MEMBER_COLUMNS: &[&str] = &[
    "line_count",
    "mall_id",
    "member_code",
    "status",
    "name",
    "email",
    "phone",
    "signed_up_at",
    "source_updated_at",
];
const REFUND_COLUMNS: &[&str] =
    &["line_count", "mall_id", "refund_key", "order_no", "line_key", "currency", "amount", "refunded_at"];

/// The condition on members who withdrew or requested erasure: they are never updated.
const GONE: &str = "t.status = 'WITHDRAWN' OR t.erasure_requested_at IS NOT NULL";

const FIND_ORDERS: &str = "
    UPDATE staged_refunds AS s SET order_id = t.id
    FROM orders AS t WHERE t.mall_id = s.mall_id AND t.order_no = s.order_no";
const FIND_PRODUCTS: &str = "
    UPDATE staged_refunds AS s SET product_code = t.product_code
    FROM order_items AS t WHERE t.order_id = s.order_id AND t.line_key = s.line_key";
/// Makes PostgreSQL look up a page's few records one by one, however large the tables are: for up to about 100,000 rows
/// it would choose to scan a whole table to find a thousand rows, and keep that plan while the table grows.
const LOOK_UP_ONE_BY_ONE: &str = "
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off";

/// Creates the staging tables of a domain, once per connection. Only those, because at each commit PostgreSQL empties
/// every one that exists, used or not.
pub(super) async fn prepare(db: &mut Db, domain: Domain) -> anyhow::Result<()> {
    let (time, emptied) = db.pick(("TEXT", ""), ("TIMESTAMPTZ", "ON COMMIT DELETE ROWS"));
    if domain == Domain::Member {
        let sql = format!(
            "CREATE TEMP TABLE IF NOT EXISTS {STAGED_MEMBERS} (
                 line_count BIGINT, mall_id BIGINT, member_code TEXT, status TEXT, name TEXT, email TEXT, phone TEXT,
                 signed_up_at {time}, source_updated_at {time}, {MATCH_COLUMNS}) {emptied}"
        );
        return Ok(db.script(&sql).await?);
    }
    orders::prepare(db).await?;
    if domain == Domain::Sales {
        let sql = format!(
            "CREATE TEMP TABLE IF NOT EXISTS {STAGED_REFUNDS} (
                 line_count BIGINT, mall_id BIGINT, refund_key TEXT, order_no TEXT, line_key TEXT, currency TEXT,
                 amount BIGINT, refunded_at {time}, {MATCH_COLUMNS}, order_id BIGINT, product_code TEXT) {emptied}"
        );
        db.script(&sql).await?;
    }
    Ok(())
}

/// Removes from a page the refunds that match neither an order of the page nor a stored one. Returns the keys of their
/// rows in the error log, and what is wrong.
pub(super) async fn remove_unmatched_refunds(
    db: &mut Db,
    mall: &Mall,
    page: &mut Page,
) -> anyhow::Result<Vec<(String, String)>> {
    if page.refunds.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<&str> = page.refunds.iter().map(|refund| refund.order_number.as_str()).collect();
    let sql = format!(
        "SELECT order_no, currency FROM orders WHERE mall_id = $1 AND order_no IN {}",
        db.elements("$2")
    );
    let stored: Vec<(String, String)> = db.fetch_all(&sql, values![mall.id, json!(numbers)]).await?;
    let mut currencies: HashMap<String, String> = stored.into_iter().collect();
    // The page's own orders are stored before its refunds.
    currencies.extend(page.orders.iter().map(|order| (order.number.clone(), order.currency.clone())));
    let mut unmatched = Vec::new();
    page.refunds.retain(|refund| {
        let problem = match currencies.get(&refund.order_number) {
            Some(currency) if *currency == refund.currency => return true,
            Some(currency) => format!("is in {}, its order in {currency}", refund.currency),
            None => format!("the shop does not return its order `{}`", refund.order_number),
        };
        unmatched.push((format!("refund {}", refund.code), problem));
        false
    });
    Ok(unmatched)
}

/// Stores a page and returns how its records compare with the stored ones. Of two records the one that the shop returned
/// later wins, whichever run requested it.
pub(super) async fn store(
    db: &mut Db,
    mall: &Mall,
    page: &Page,
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    lock(db, mall).await?;
    let as_of = page.as_of.unwrap_or(now);
    let mut outcome = UpsertCounts::default();
    if !page.members.is_empty() {
        outcome.add(store_members(db, mall, &page.members, as_of, now).await?);
    }
    if !page.orders.is_empty() {
        outcome.add(store_orders(db, mall, &page.orders, as_of, now).await?);
    }
    if !page.refunds.is_empty() {
        outcome.add(store_refunds(db, mall, &page.refunds, now).await?);
    }
    Ok(outcome)
}

/// Locks the mall, because two domains of a mall write the same orders, perhaps from two processes. On SQLite the
/// transaction already holds the only write lock.
async fn lock(db: &mut Db, mall: &Mall) -> anyhow::Result<()> {
    if db.kind() == Kind::Postgres {
        db.execute("SELECT id FROM malls WHERE id = $1 FOR NO KEY UPDATE", values![mall.id]).await?;
        db.script(LOOK_UP_ONE_BY_ONE).await?;
    }
    Ok(())
}

/// The last record of each key: a page that shifted during the read can contain one twice.
fn last_of_each<'r, T>(records: &'r [T], key: impl Fn(&'r T) -> &'r str) -> Vec<&'r T> {
    let places: HashMap<&str, usize> =
        records.iter().enumerate().map(|(place, record)| (key(record), place)).collect();
    let is_last = |place: usize, record| places.get(key(record)) == Some(&place);
    records
        .iter()
        .enumerate()
        .filter(|(place, record)| is_last(*place, record))
        .map(|(_, record)| record)
        .collect()
}

async fn store_members(
    db: &mut Db,
    mall: &Mall,
    members: &[Member],
    as_of: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    let mut rows = Bulk::new(db, STAGED_MEMBERS, MEMBER_COLUMNS);
    for member in last_of_each(members, |member| &member.code) {
        rows.int(1);
        rows.int(mall.id);
        rows.text(member.code.as_str());
        rows.text("ACTIVE");
        rows.text(member.name.as_deref());
        rows.text(member.email.as_deref());
        rows.text(member.phone.as_deref());
        rows.time(member.signed_up_at);
        rows.time(as_of);
        rows.end_row();
    }
    db.load(&mut rows).await?;
    let upsert = Upsert {
        table: "members",
        staging: STAGED_MEMBERS,
        key: vec!["mall_id", "member_code"],
        columns: MEMBER_COLUMNS[3..].to_vec(),
        // Cafe24 returns no status: an existing member keeps theirs.
        replaced: MEMBER_COLUMNS[4..8].to_vec(),
        source_time: SourceTime::AsOf,
        kept: Some(GONE),
        uses_staged_ids: false,
    };
    let outcome = upsert.store(db, now).await?;
    empty(db, &[STAGED_MEMBERS]).await?;
    Ok(outcome)
}

async fn store_orders(
    db: &mut Db,
    mall: &Mall,
    page: &[Order],
    as_of: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    let mut rows = Bulk::new(db, orders::STAGED, orders::COLUMNS);
    let mut lines = Bulk::new(db, orders::STAGED_LINES, orders::LINE_COLUMNS);
    for (order, ordinal) in last_of_each(page, |order| &order.number).into_iter().zip(1..) {
        rows.int(ordinal);
        rows.int(mall.id);
        rows.text(order.number.as_str());
        rows.text(order.member_code.as_deref());
        rows.text(order.status);
        rows.text(order.currency.as_str());
        rows.int(order.total_amount);
        rows.int(order.discount_amount);
        rows.int(order.shipping_amount);
        rows.int(0);
        rows.text(order.payment_method.as_deref());
        rows.time(order.ordered_at);
        rows.time(order.paid_at);
        rows.time(order.cancelled_at);
        rows.text(None);
        rows.time(as_of);
        rows.int(i64::try_from(order.lines.len()).unwrap_or(i64::MAX));
        rows.end_row();
        for line in &order.lines {
            lines.int(ordinal);
            lines.text(line.key.as_str());
            lines.text(line.product_code.as_str());
            lines.text(line.product_name.as_str());
            lines.int(line.quantity);
            lines.int(line.unit_price_amount);
            lines.int(line.discount_amount);
            lines.int(0);
            lines.int(line.line_amount);
            lines.end_row();
        }
    }
    db.load(&mut rows).await?;
    db.load(&mut lines).await?;
    let mut outcome = orders::store(db, SourceTime::AsOf, now).await?;
    empty(db, &[orders::STAGED, orders::STAGED_LINES]).await?;
    // An order is one record here, however many lines it has.
    outcome.written_lines = outcome.new + outcome.changed;
    Ok(outcome)
}

async fn store_refunds(
    db: &mut Db,
    mall: &Mall,
    refunds: &[Refund],
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    let mut rows = Bulk::new(db, STAGED_REFUNDS, REFUND_COLUMNS);
    for refund in last_of_each(refunds, |refund| &refund.code) {
        rows.int(1);
        rows.int(mall.id);
        rows.text(refund.code.as_str());
        rows.text(refund.order_number.as_str());
        rows.text(refund.line_key.as_deref());
        rows.text(refund.currency.as_str());
        rows.int(refund.amount);
        rows.time(refund.refunded_at);
        rows.end_row();
    }
    db.load(&mut rows).await?;
    db.execute_unprepared(FIND_ORDERS).await?;
    db.execute_unprepared(FIND_PRODUCTS).await?;
    let upsert = Upsert {
        table: "refunds",
        staging: STAGED_REFUNDS,
        key: vec!["order_id", "refund_key"],
        columns: vec!["mall_id", "product_code", "currency", "amount", "refunded_at"],
        replaced: vec!["product_code", "currency", "amount", "refunded_at"],
        source_time: SourceTime::Unknown,
        kept: None,
        uses_staged_ids: false,
    };
    let outcome = upsert.store(db, now).await?;
    empty(db, &[STAGED_REFUNDS]).await?;
    Ok(outcome)
}

/// Empties staging tables after their use: SQLite's keep their rows, PostgreSQL's are emptied by the commit.
async fn empty(db: &mut Db, tables: &[&str]) -> anyhow::Result<()> {
    if db.kind() == Kind::Sqlite {
        for table in tables {
            db.execute(&format!("DELETE FROM {table}"), values![]).await?;
        }
    }
    Ok(())
}
