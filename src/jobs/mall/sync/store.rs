//! Stores a page's records in the shop's tables, in the transaction of the page.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::clients::cafe24::records::{Member, Order, OrderLine, Refund};
use crate::db::{Bulk, Db, Kind, StoredText};
use crate::shop::malls::Mall;
use crate::shop::orders::{Orders, StagedLine, StagedOrder};
use crate::shop::refunds::give_way;
use crate::shop::upsert::{MATCH_COLUMNS, SourceTime, Upsert, UpsertCounts};
use crate::{bulk_row, columns, values};

use super::Domain;
use super::source::Page;

bulk_row! {
    /// A member of a page.
    struct StagedMember<'p> => "staged_members" {
        mall_id: i64,
        member_code: &'p str,
        status: &'static str,
        name: Option<&'p str>,
        email: Option<&'p str>,
        phone: Option<&'p str>,
        signed_up_at: DateTime<Utc>,
        source_updated_at: DateTime<Utc>,
    }
}

bulk_row! {
    /// A refund of a page. Its order and, through the line, its product are looked up once it is staged.
    struct StagedRefund<'p> => "staged_refunds" {
        mall_id: i64,
        refund_key: &'p str,
        order_no: &'p str,
        line_key: Option<&'p str>,
        currency: &'p str,
        amount: i64,
        refunded_at: DateTime<Utc>,
    }
}

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
    if domain == Domain::Member {
        return Ok(db.create_staging::<StagedMember>(MATCH_COLUMNS).await?);
    }
    Orders::prepare(db).await?;
    if domain == Domain::Sales {
        let looked_up = format!("order_id BIGINT, product_code TEXT, {MATCH_COLUMNS}");
        db.create_staging::<StagedRefund>(&looked_up).await?;
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
    let sql = currencies_sql(db);
    let stored: Vec<(String, Option<StoredText>)> =
        db.fetch_all(&sql, values![mall.id, json!(numbers)]).await?;
    let mut currencies: HashMap<String, String> = stored
        .into_iter()
        .filter_map(|(number, currency)| Some((number, currency?.shown().to_owned())))
        .collect();
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

/// The currencies of stored orders, looked up one by one, by construction: in a join, a planner without statistics reads
/// all orders of the mall for each number.
fn currencies_sql(db: &Db) -> String {
    format!(
        "SELECT wanted.value,
                (SELECT o.currency FROM orders o WHERE o.mall_id = $1 AND o.order_no = wanted.value) AS currency
         FROM {} AS wanted",
        db.elements("$2")
    )
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
    let mut rows = Bulk::new(db);
    for member in last_of_each(members, |member| &member.code) {
        rows.push(&StagedMember {
            mall_id: mall.id,
            member_code: &member.code,
            status: "ACTIVE",
            name: member.name.as_deref(),
            email: member.email.as_deref(),
            phone: member.phone.as_deref(),
            signed_up_at: member.signed_up_at,
            source_updated_at: as_of,
        });
    }
    db.stage(&mut rows).await?;
    let key = columns![StagedMember: mall_id, member_code];
    let members = Upsert { kept: Some(GONE), ..Upsert::of::<StagedMember>("members", key) }
        .later_by(SourceTime::AsOf)
        // Cafe24 returns no status: an existing member keeps theirs.
        .only_inserted(columns![StagedMember: status]);
    members.store(db, now).await
}

async fn store_orders(
    db: &mut Db,
    mall: &Mall,
    page: &[Order],
    as_of: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    let mut orders = Orders::new(db.kind());
    for order in last_of_each(page, |order| &order.number) {
        orders.push(&staged_order(order, mall, as_of), order.lines.iter().map(staged_line));
    }
    orders.stage(db).await?;
    let mut outcome = Orders::store(db, SourceTime::AsOf, now).await?;
    // An order is one record here, however many lines it has.
    outcome.written_lines = outcome.new + outcome.changed;
    Ok(outcome)
}

fn staged_order<'p>(order: &'p Order, mall: &Mall, as_of: DateTime<Utc>) -> StagedOrder<'p> {
    StagedOrder {
        mall_id: mall.id,
        order_no: &order.number,
        member_code: order.member_code.as_deref(),
        status: order.status,
        currency: &order.currency,
        total_amount: order.total_amount,
        discount_amount: order.discount_amount,
        shipping_amount: order.shipping_amount,
        tax_amount: 0,
        fee_amount: 0,
        payment_method: order.payment_method.as_deref(),
        ordered_at: order.ordered_at,
        paid_at: order.paid_at,
        cancelled_at: order.cancelled_at,
        cancel_reason: None,
        source_updated_at: Some(as_of),
    }
}

fn staged_line(line: &OrderLine) -> StagedLine<'_> {
    StagedLine {
        line_key: &line.key,
        product_code: &line.product_code,
        product_name: &line.product_name,
        quantity: line.quantity,
        unit_price_amount: line.unit_price_amount,
        discount_amount: line.discount_amount,
        tax_amount: 0,
        line_amount: line.line_amount,
    }
}

async fn store_refunds(
    db: &mut Db,
    mall: &Mall,
    refunds: &[Refund],
    now: DateTime<Utc>,
) -> anyhow::Result<UpsertCounts> {
    let mut rows = Bulk::new(db);
    for refund in last_of_each(refunds, |refund| &refund.code) {
        rows.push(&StagedRefund {
            mall_id: mall.id,
            refund_key: &refund.code,
            order_no: &refund.order_number,
            line_key: refund.line_key.as_deref(),
            currency: &refund.currency,
            amount: refund.amount,
            refunded_at: refund.refunded_at,
        });
    }
    db.stage(&mut rows).await?;
    db.execute_unprepared(FIND_ORDERS).await?;
    db.execute_unprepared(FIND_PRODUCTS).await?;
    let refunds = Upsert::of::<StagedRefund>("refunds", &["order_id", "refund_key"])
        .not_stored(columns![StagedRefund: order_no, line_key])
        .only_inserted(columns![StagedRefund: mall_id])
        .looked_up(&["product_code"]);
    let outcome = refunds.store(db, now).await?;
    // The mall may have been imported before.
    db.execute(&give_way("staged_refunds"), values![]).await?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, at, now, on_both_databases};

    on_both_databases![
        the_currency_of_a_stored_order_is_found_by_its_number,
        a_record_that_did_not_change_is_not_touched,
        of_two_records_the_newer_one_wins,
        a_member_who_left_or_requested_erasure_is_not_updated,
        an_order_whose_lines_changed_has_the_new_ones,
        of_a_record_that_is_twice_on_a_page_the_last_counts,
        a_refund_finds_its_order_and_its_product,
        a_refund_that_matches_no_order_is_removed,
        a_first_load_does_not_read_the_whole_mall_for_each_record,
    ];

    const LATER: &str = "2026-11-21T00:00:00Z";

    fn member(code: &str, email: &str) -> Member {
        Member {
            code: code.to_owned(),
            name: Some("이름".to_owned()),
            email: Some(email.to_owned()),
            phone: None,
            signed_up_at: at("2026-11-19T01:00:00Z"),
        }
    }

    /// A paid order of one line for each product.
    fn order(number: &str, products: &[&str]) -> Order {
        let lines = products.iter().map(|product| OrderLine {
            key: format!("{number}-{product}"),
            product_code: (*product).to_owned(),
            product_name: (*product).to_owned(),
            quantity: 1,
            unit_price_amount: 1_000,
            discount_amount: 0,
            line_amount: 1_000,
        });
        Order {
            number: number.to_owned(),
            member_code: None,
            status: "PAID",
            currency: "KRW".to_owned(),
            total_amount: 1_000,
            discount_amount: 0,
            shipping_amount: 0,
            payment_method: None,
            ordered_at: at("2026-11-19T01:00:00Z"),
            paid_at: Some(at("2026-11-19T01:00:00Z")),
            cancelled_at: None,
            lines: lines.collect(),
        }
    }

    fn refund(code: &str, order: &str, line_key: Option<&str>) -> Refund {
        Refund {
            code: code.to_owned(),
            order_number: order.to_owned(),
            line_key: line_key.map(str::to_owned),
            currency: "KRW".to_owned(),
            amount: 500,
            refunded_at: at("2026-11-19T02:00:00Z"),
        }
    }

    async fn seoul(db: &mut TestDb) -> Mall {
        db.mall("seoul", "Asia/Seoul", "KRW").await;
        for domain in [Domain::Member, Domain::Order, Domain::Sales] {
            prepare(db, domain).await.unwrap();
        }
        db.malls().await.remove(0)
    }

    /// Stores a page as its chunk does. Returns how many records are new, changed, unchanged and stale.
    async fn stored(db: &mut TestDb, mall: &Mall, page: Page, now: &str) -> [i64; 4] {
        let storing = db.transaction(async |db| store(db, mall, &page, at(now)).await);
        let UpsertCounts { new, changed, unchanged, stale, .. } = storing.await.unwrap();
        [new, changed, unchanged, stale]
    }

    fn of_members<const N: usize>(members: [Member; N]) -> Page {
        Page { members: members.into(), ..Page::default() }
    }

    fn of_orders<const N: usize>(orders: [Order; N]) -> Page {
        Page { orders: orders.into(), ..Page::default() }
    }

    async fn a_record_that_did_not_change_is_not_touched(db: &mut TestDb) {
        let mall = seoul(db).await;
        let members = || of_members([member("kim", "kim@example.com"), member("lee", "lee@example.com")]);
        let orders = || of_orders([order("1", &["A", "B"]), order("2", &["A"])]);
        let first = now().to_rfc3339();
        assert_eq!(stored(db, &mall, members(), &first).await, [2, 0, 0, 0]);
        assert_eq!(stored(db, &mall, orders(), &first).await, [2, 0, 0, 0]);
        let before = db.dump().await;
        assert_eq!(stored(db, &mall, members(), LATER).await, [0, 0, 2, 0]);
        assert_eq!(stored(db, &mall, orders(), LATER).await, [0, 0, 2, 0]);
        assert_eq!(db.dump().await, before);
        let changed = of_members([member("kim", "new@example.com"), member("lee", "lee@example.com")]);
        assert_eq!(stored(db, &mall, changed, LATER).await, [0, 1, 1, 0]);
        assert_eq!(
            db.sql("SELECT member_code, email, updated_at FROM members ORDER BY member_code").await,
            [
                ["kim", "new@example.com", "2026-11-21T00:00:00+00:00"],
                ["lee", "lee@example.com", "2026-11-19T16:00:00+00:00"]
            ]
        );
    }

    async fn of_two_records_the_newer_one_wins(db: &mut TestDb) {
        let mall = seoul(db).await;
        let page =
            |email: &str, as_of: &str| Page { as_of: Some(at(as_of)), ..of_members([member("kim", email)]) };
        let newer = page("newer@example.com", "2026-11-20T02:00:00Z");
        let older = page("older@example.com", "2026-11-20T01:00:00Z");
        assert_eq!(stored(db, &mall, newer, LATER).await, [1, 0, 0, 0]);
        assert_eq!(stored(db, &mall, older, LATER).await, [0, 0, 0, 1]);
        assert_eq!(
            db.sql("SELECT email, source_updated_at FROM members").await,
            [["newer@example.com", "2026-11-20T02:00:00+00:00"]]
        );
    }

    async fn a_member_who_left_or_requested_erasure_is_not_updated(db: &mut TestDb) {
        let mall = seoul(db).await;
        let members = || ["left", "forgotten", "here"].map(|code| member(code, "a@example.com"));
        stored(db, &mall, of_members(members()), "2026-11-20T00:00:00Z").await;
        db.sql("UPDATE members SET email = NULL, name = NULL").await;
        db.sql("UPDATE members SET status = 'WITHDRAWN' WHERE member_code = 'left'").await;
        db.sql("UPDATE members SET erasure_requested_at = signed_up_at WHERE member_code = 'forgotten'")
            .await;
        assert_eq!(stored(db, &mall, of_members(members()), LATER).await, [0, 1, 0, 2]);
        assert_eq!(
            db.sql("SELECT member_code, status, email, name FROM members ORDER BY member_code").await,
            [
                ["forgotten", "ACTIVE", "NULL", "NULL"],
                ["here", "ACTIVE", "a@example.com", "이름"],
                ["left", "WITHDRAWN", "NULL", "NULL"],
            ]
        );
    }

    async fn an_order_whose_lines_changed_has_the_new_ones(db: &mut TestDb) {
        let mall = seoul(db).await;
        stored(db, &mall, of_orders([order("1", &["A", "B"]), order("2", &["A"])]), LATER).await;
        let lines =
            "SELECT order_no, line_key, product_name FROM order_items JOIN orders ON orders.id = order_id";
        let mut renamed = order("2", &["A"]);
        renamed.lines[0].product_name = "배".to_owned();
        assert_eq!(
            stored(db, &mall, of_orders([order("1", &["B", "C"]), renamed]), LATER).await,
            [0, 2, 0, 0]
        );
        assert_eq!(db.lines(lines).await, ["1 1-B B", "1 1-C C", "2 2-A 배"]);
        assert_eq!(stored(db, &mall, of_orders([order("1", &["B"])]), LATER).await, [0, 1, 0, 0]);
        assert_eq!(db.lines(lines).await, ["1 1-B B", "2 2-A 배"]);
    }

    async fn of_a_record_that_is_twice_on_a_page_the_last_counts(db: &mut TestDb) {
        let mall = seoul(db).await;
        let page = of_members([member("kim", "first@example.com"), member("kim", "last@example.com")]);
        assert_eq!(stored(db, &mall, page, LATER).await, [1, 0, 0, 0]);
        assert_eq!(db.sql("SELECT email FROM members").await, [["last@example.com"]]);
        let page = of_orders([order("1", &["A"]), order("2", &["A"]), order("1", &["B"])]);
        assert_eq!(stored(db, &mall, page, LATER).await, [2, 0, 0, 0]);
        let lines = "SELECT order_no, product_code FROM order_items JOIN orders ON orders.id = order_id";
        assert_eq!(db.lines(lines).await, ["1 B", "2 A"]);
    }

    async fn a_refund_finds_its_order_and_its_product(db: &mut TestDb) {
        let mall = seoul(db).await;
        stored(db, &mall, of_orders([order("1", &["A", "B"])]), LATER).await;
        let refunds = || vec![refund("R1", "1", Some("1-B")), refund("R2", "2", None)];
        // The page's own order is stored first.
        let page = || Page { refunds: refunds(), ..of_orders([order("2", &["A"])]) };
        assert_eq!(stored(db, &mall, page(), LATER).await, [3, 0, 0, 0]);
        assert_eq!(stored(db, &mall, page(), LATER).await, [0, 0, 3, 0]);
        let sql =
            "SELECT refund_key, order_no, product_code, refunds.mall_id = orders.mall_id, amount, refunded_at
                   FROM refunds JOIN orders ON orders.id = order_id";
        assert_eq!(
            db.lines(sql).await,
            ["R1 1 B 1 500 2026-11-19T02:00:00+00:00", "R2 2 NULL 1 500 2026-11-19T02:00:00+00:00"]
        );
        let more = Refund { amount: 600, ..refund("R1", "1", Some("1-B")) };
        let page = Page { refunds: vec![more], ..Page::default() };
        assert_eq!(stored(db, &mall, page, LATER).await, [0, 1, 0, 0]);
        assert_eq!(
            db.sql("SELECT refund_key, amount FROM refunds ORDER BY 1").await,
            [["R1", "600"], ["R2", "500"]]
        );
    }

    async fn the_currency_of_a_stored_order_is_found_by_its_number(db: &mut TestDb) {
        seoul(db).await;
        let day = "'2026-11-19T00:00:00+00:00'";
        let orders =
            "orders (mall_id, order_no, status, currency, total_amount, discount_amount, shipping_amount,
                          tax_amount, ordered_at, created_at, updated_at)
                      SELECT 1, 'A' || n, 'PAID', 'KRW', 1080, 0, 0, 0, {day}, {day}, {day}";
        db.fill(4_000, &orders.replace("{day}", day)).await;
        let sql = currencies_sql(db);
        assert_eq!(db.found_by("o", &sql, values![1, json!(["A1", "A2"])]).await, ["mall_id, order_no"]);
    }

    async fn a_refund_that_matches_no_order_is_removed(db: &mut TestDb) {
        let mall = seoul(db).await;
        stored(db, &mall, of_orders([order("1", &["A"])]), LATER).await;
        let in_dollars = Refund { currency: "USD".to_owned(), ..refund("R2", "1", None) };
        let mut page = Page {
            refunds: vec![
                refund("R1", "1", None),
                in_dollars,
                refund("R3", "9", None),
                refund("R4", "2", None),
            ],
            ..of_orders([order("2", &["A"])])
        };
        let unmatched = remove_unmatched_refunds(db, &mall, &mut page).await.unwrap();
        let expected = [
            ("refund R2", "is in USD, its order in KRW"),
            ("refund R3", "the shop does not return its order `9`"),
        ];
        assert_eq!(unmatched, expected.map(|(key, problem)| (key.to_owned(), problem.to_owned())));
        let left: Vec<&str> = page.refunds.iter().map(|refund| refund.code.as_str()).collect();
        assert_eq!(left, ["R1", "R4"]);
    }

    async fn a_first_load_does_not_read_the_whole_mall_for_each_record(db: &mut TestDb) {
        const PAGE: i64 = 200;
        let mall = seoul(db).await;
        for number in 0..4 {
            let keys = (0..PAGE).map(|place| format!("{number}-{place}"));
            let members = keys.clone().map(|key| member(&key, "a@example.com")).collect();
            let orders = keys.map(|key| order(&key, &["tea"])).collect();
            let page = Page { members, orders, ..Page::default() };
            assert_eq!(stored(db, &mall, page, LATER).await, [2 * PAGE, 0, 0, 0]);
        }
        if db.kind() == Kind::Sqlite {
            return;
        }
        let keys = (0..PAGE).map(|place| format!("4-{place}"));
        let members = keys.clone().map(|key| member(&key, "a@example.com")).collect();
        let page =
            Page { members, orders: keys.map(|key| order(&key, &["tea"])).collect(), ..Page::default() };
        let reading = db.transaction(async |db| {
            store(db, &mall, &page, at(LATER)).await?;
            let sql = "SELECT CAST(relname AS TEXT), seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
                       WHERE schemaname = CURRENT_SCHEMA AND relname IN ('members', 'orders') ORDER BY relname";
            anyhow::Ok(db.fetch_all::<(String, i64)>(sql, values![]).await?)
        });
        let read = reading.await.unwrap();
        // Once through a small table is a good plan; once for each record of the page would be 160,000 rows.
        assert!(read.iter().all(|(_, rows)| *rows < 100 * PAGE), "{read:?}");
    }
}
