//! The statements stay linear on tables of which the planner knows nothing. What they find is tested through the program.

use serde_json::json;

use super::{JOINED, cover_sql, items_sql, page_sql};
use crate::db::testing::{TestDb, at, now, on_both_databases};
use crate::values;

on_both_databases![
    a_page_of_carts_begins_where_the_last_one_ended,
    what_a_cart_contains_is_found_by_the_cart_and_what_was_bought_by_its_member,
    the_other_carts_are_found_by_their_members,
];

/// Members of a mall with a cart and an order of each.
async fn customers(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let day = "'2026-11-19T00:00:00+00:00'";
    for rows in [
        "members (mall_id, member_code, status, email, signed_up_at, created_at, updated_at)
         SELECT 1, 'M' || n, 'ACTIVE', 'a@example.jp', {day}, {day}, {day}",
        "mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
         SELECT 1, 'M' || n, 'MARKETING', TRUE, {day}, {day}",
        "products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
         SELECT 1, 'P' || n, 'Product', 'ON_SALE', 'JPY', 1080, {day}, {day}",
        "orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount, shipping_amount,
             tax_amount, ordered_at, paid_at, created_at, updated_at)
         SELECT 1, 'A' || n, 'M' || n, 'PAID', 'JPY', 1080, 0, 0, 0, {day}, {day}, {day}, {day}",
        "order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount, discount_amount,
             tax_amount, line_amount)
         SELECT n, '1', 'P' || n, 'Product', 1, 1080, 0, 0, 1080",
        "carts (mall_id, cart_key, member_code, currency, last_activity_at, created_at, updated_at)
         SELECT 1, 'C' || n, 'M' || n, 'JPY', {day}, {day}, {day}",
        "cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount, is_purchased)
         SELECT n, '1', 'P' || n, 'Product', 1, 1080, FALSE",
        "cart_reminders (cart_id, outcome, created_at) SELECT n, 'MAILED', {day}",
    ] {
        db.fill(4_000, &rows.replace("{day}", day)).await;
    }
}

/// The ledger's key is the cart's number, which SQLite takes for the row's own.
fn reminder_key(db: &TestDb) -> &'static str {
    db.pick("id", "cart_id")
}

async fn a_page_of_carts_begins_where_the_last_one_ended(db: &mut TestDb) {
    customers(db).await;
    let sql = page_sql(db);
    let values = || values![1, at("2026-11-12T00:00:00Z"), at("2026-11-19T00:00:00Z"), 2_000, true, 250];
    // With statistics of some tables a planner chooses other plans than without any.
    for tables in [&[][..], &JOINED] {
        db.analyze_unknown(tables).await.unwrap();
        assert_eq!(db.found_by("c", &sql, values()).await, ["mall_id, last_activity_at, id"]);
        assert_eq!(db.found_by("m", &sql, values()).await, ["mall_id, member_code"]);
        assert_eq!(db.found_by("k", &sql, values()).await, ["mall_id, member_code, purpose"]);
        assert_eq!(db.found_by("r", &sql, values()).await, [reminder_key(db)]);
    }
}

async fn what_a_cart_contains_is_found_by_the_cart_and_what_was_bought_by_its_member(db: &mut TestDb) {
    customers(db).await;
    let sql = items_sql(db);
    let values = || values![json!([1, 2, 3])];
    // Paid orders, of which SQLite's index also tells that they are paid, and those that wait for their payment.
    let paid = db.pick("mall_id, member_code, paid_at", "mall_id, member_code");
    assert_eq!(db.found_by("o", &sql, values()).await, [paid, "member_code"]);
    assert_eq!(db.found_by("i", &sql, values()).await, ["order_id"]);
    assert_eq!(db.found_by("l", &sql, values()).await, ["cart_id"]);
    assert_eq!(db.found_by("t", &sql, values()).await, ["mall_id, product_code"]);
}

async fn the_other_carts_are_found_by_their_members(db: &mut TestDb) {
    customers(db).await;
    let sql = cover_sql(db);
    let values = || values![1, json!(["M1", "M2"]), now(), at("2026-11-12T00:00:00Z"), now()];
    assert_eq!(db.found_by("o", &sql, values()).await, ["member_code"]);
    assert_eq!(db.found_by("r", &sql, values()).await, [reminder_key(db)]);
}
