//! The statements stay linear on tables of which the planner knows nothing. What they do is tested through the program.

use serde_json::json;

use super::cancel::{StockLock, cancel_sql, give_back_sql, lines_sql, lock_sql, stocked_sql};
use super::preview::preview_sql;
use super::releases;
use super::{READ, first_place, members_sql, page_sql};
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::values;

on_both_databases![
    a_page_of_orders_begins_where_the_last_one_ended,
    a_chunk_is_found_by_its_keys,
    a_dry_run_looks_up_lines_and_products,
    reservations_that_wait_are_found_by_their_numbers,
];

/// Paid orders of a mall, and as many that wait, with products and members.
async fn orders(db: &mut TestDb) {
    // As the job's connection does.
    db.plan_by_index().await.unwrap();
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let day = "'2026-11-19T00:00:00+00:00'";
    for rows in [
        "members (mall_id, member_code, status, email, signed_up_at, created_at, updated_at)
         SELECT 1, 'M' || n, 'ACTIVE', 'a@example.jp', {day}, {day}, {day}",
        "products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
         SELECT 1, 'P' || n, 'Product', 'ON_SALE', 'JPY', 1080, {day}, {day}",
        "stock (product_id, quantity, updated_at) SELECT n, 10, {day}",
        "orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount, shipping_amount,
             tax_amount, ordered_at, paid_at, created_at, updated_at)
         SELECT 1, 'A' || n, 'M' || n, 'PAID', 'JPY', 1080, 0, 0, 0, {day}, {day}, {day}, {day}",
        "orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount, shipping_amount,
             tax_amount, ordered_at, created_at, updated_at)
         SELECT 1, 'B' || n, 'M' || n, 'PAYMENT_WAIT', 'JPY', 1080, 0, 0, 0, {day}, {day}, {day}",
        "order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount, discount_amount,
             tax_amount, line_amount)
         SELECT n, '1', 'P' || n, 'Product', 1, 1080, 0, 0, 1080",
        "payments (order_id, payment_key, method, status, currency, amount, paid_at, created_at, updated_at)
         SELECT n, 'K', 'card', 'DONE', 'JPY', 1080, {day}, {day}, {day}",
    ] {
        db.fill(4_000, &rows.replace("{day}", day)).await;
    }
}

async fn a_page_of_orders_begins_where_the_last_one_ended(db: &mut TestDb) {
    orders(db).await;
    let sql = page_sql(db);
    let (time, id) = first_place(db);
    let first = || values![1, now(), &time, id, 100];
    let later = || values![1, now(), "2026-11-19T00:00:00+00:00", 6_000, 100];
    // With statistics of some tables a planner chooses other plans than without any.
    for tables in [&[][..], &READ] {
        db.analyze_unknown(tables).await.unwrap();
        for values in [first(), later()] {
            assert_eq!(db.found_by("o", &sql, values.clone()).await, ["mall_id, ordered_at, id"]);
            assert_eq!(db.found_by("p", &sql, values).await, ["order_id"]);
        }
        let members = members_sql(db);
        let codes = values![1, json!(["M1", "M2"])];
        assert_eq!(db.found_by("m", &members, codes).await, ["mall_id, member_code"]);
    }
}

async fn a_chunk_is_found_by_its_keys(db: &mut TestDb) {
    orders(db).await;
    for tables in [&[][..], &READ] {
        db.analyze_unknown(tables).await.unwrap();
        let sql = cancel_sql(db);
        let values = || values![json!([4001, 4002]), now(), now()];
        assert_eq!(db.found_by("waiting", &sql, values()).await, ["id"]);
        assert_eq!(db.found_by("p", &sql, values()).await, ["order_id"]);
        let sql = lock_sql(db);
        assert_eq!(db.found_by("waiting", &sql, values![json!([4001, 4002])]).await, ["id"]);
        let sql = lines_sql(db);
        assert_eq!(db.found_by("order_items", &sql, values![json!([1, 2])]).await, ["order_id"]);
        let product = db.pick("id", "product_id");
        for lock in [StockLock::None, StockLock::Wait, StockLock::SkipLocked] {
            let sql = stocked_sql(db, lock);
            let values = || values![1, json!(["P1", "P2"])];
            assert_eq!(db.found_by("p", &sql, values()).await, ["mall_id, product_code"]);
            assert_eq!(db.found_by("s", &sql, values()).await, [product]);
        }
        let sql = give_back_sql(db);
        let values = values![json!({ "1": 2 }), json!([1]), now()];
        assert_eq!(db.found_by("stock", &sql, values).await, [product]);
    }
}

async fn a_dry_run_looks_up_lines_and_products(db: &mut TestDb) {
    orders(db).await;
    let sql = preview_sql(db);
    let values = || values![json!([1]), now(), i64::MAX];
    for tables in [&[][..], &READ] {
        db.analyze_unknown(tables).await.unwrap();
        assert_eq!(db.found_by("i", &sql, values()).await, ["order_id"]);
        assert_eq!(db.found_by("product", &sql, values()).await, ["mall_id, product_code"]);
        assert_eq!(db.found_by("s", &sql, values()).await, [db.pick("id", "product_id")]);
    }
}

async fn reservations_that_wait_are_found_by_their_numbers(db: &mut TestDb) {
    orders(db).await;
    let day = "'2026-11-19T00:00:00+00:00'";
    let rows = "stock_releases (order_id, mall_id, order_no, state, attempts, due_at, created_at, updated_at)
                SELECT n, 1, 'A' || n, 'WAITING', 0, {day}, {day}, {day}";
    db.fill(4_000, &rows.replace("{day}", day)).await;
    for tables in [&[][..], &["stock_releases"], &["stock_releases", "orders"]] {
        db.analyze_unknown(tables).await.unwrap();
        let sql = releases::page_sql(db);
        assert_eq!(db.found_by("r", &sql, values![now(), 2_000, 200]).await, ["id"]);
        assert_eq!(db.found_by("o", &sql, values![now(), 2_000, 200]).await, ["mall_id, order_no"]);
        let sql = releases::forget_sql(db);
        let values = values![1, json!(["A1", "A2"])];
        let alias = db.pick("stock_releases", "r");
        assert_eq!(db.found_by(alias, &sql, values).await, ["mall_id, order_no"]);
        let sql = releases::done_sql(db);
        let done = values![json!({ "1": 2 }), json!([1]), now()];
        assert_eq!(db.found_by("stock_releases", &sql, done).await, ["id"]);
    }
}
