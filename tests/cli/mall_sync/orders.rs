//! Orders and sales: complete, in narrowing windows, and correct for the daily report.

use serde_json::{Value, json};

use super::{Shops, order, refund};
use crate::support::on_both_databases;

on_both_databases![
    orders_are_stored_with_their_lines,
    more_orders_in_a_window_than_the_service_lists_are_complete,
    the_oldest_first_is_complete_too,
    a_long_period_is_asked_for_in_windows_of_three_months,
    a_guests_order_is_kept,
    an_order_older_than_the_stored_one_does_not_overwrite_it,
    sales_are_payments_cancellations_and_refunds_whenever_they_were_ordered,
    a_refund_that_is_not_completed_does_not_count_yet,
    a_refund_with_date_and_amount_that_is_not_completed_is_named,
    the_daily_report_is_computed_from_synchronised_data,
    the_shop_of_an_account_is_requested,
    an_order_that_is_in_several_lists_counts_once,
];

fn orders_are_stored_with_their_lines(shops: &Shops) {
    let mut big = order("20261119-0000001", "kim01", "2026-11-19T10:05:06+09:00", 30_000);
    big["initial_order_amount"]["order_price_amount"] = "32500.00".into();
    big["initial_order_amount"]["shipping_fee"] = "2500.00".into();
    big["items"] = json!([
        { "order_item_code": "20261119-0000001-01", "product_code": "A", "product_name": "사과", "quantity": 2,
          "product_price": "15000.00", "option_price": "500.00", "additional_discount_price": "500.00",
          "order_status": "N40" },
        { "order_item_code": "20261119-0000001-02", "product_code": "B", "product_name": "배", "quantity": 1,
          "product_price": "2000.00", "order_status": "N30" }
    ]);
    shops.data(json!({ "orders": [big] }));

    shops.sync("order").run().succeeds().is_silent();

    assert_eq!(
        shops.sql(
            "SELECT order_no, member_code, status, currency, total_amount, discount_amount, shipping_amount,
                 payment_method FROM orders"
        ),
        [["20261119-0000001", "kim01", "SHIPPED", "KRW", "30000", "5000", "2500", "card"]]
    );
    assert_eq!(
        shops.sql(
            "SELECT line_key, product_code, product_name, quantity, unit_price_amount, discount_amount, line_amount
             FROM order_items ORDER BY line_key"
        ),
        [
            ["20261119-0000001-01", "A", "사과", "2", "15500", "500", "30500"],
            ["20261119-0000001-02", "B", "배", "1", "2000", "0", "2000"],
        ]
    );
}

/// More than an offset of 15,000 and a page of 1,000 reach, two orders in each second.
fn many(shops: &Shops) {
    shops.generate(json!({ "orders": {
        "count": 16_500, "from": "2026-11-19T00:00:00+09:00", "same_second": 2, "step_seconds": 3, "items": 1,
        "paid": true, "members": 500
    } }));
}

fn more_orders_in_a_window_than_the_service_lists_are_complete(shops: &Shops) {
    many(shops);

    shops.sync("order").run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), "16500");
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM order_items"), "16500");
    let calls = shops.calls();
    assert!(calls.iter().all(|call| call["status"] == 200), "no call is refused: {calls:?}");
    assert!(calls.len() <= 19, "{} calls", calls.len());
}

fn the_oldest_first_is_complete_too(shops: &Shops) {
    shops.control("demo", "settings", json!({ "sort": "asc" }));
    many(shops);

    shops.sync("order").run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), "16500");
}

fn a_long_period_is_asked_for_in_windows_of_three_months(shops: &Shops) {
    shops.generate(json!({ "orders": {
        "count": 400, "from": "2025-10-01T12:00:00+09:00", "same_second": 1, "step_seconds": 86_400, "items": 1,
        "paid": true, "members": 500
    } }));

    let asked = ["mall", "sync", "--domain", "order", "--from", "2025-10-01", "--to", "2026-11-04"];
    shops.batchctl(asked).run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), "400");
    assert_eq!(shops.calls().len(), 10, "a page and a total for each window");
}

fn a_guests_order_is_kept(shops: &Shops) {
    shops.data(json!({ "orders": [order("20261119-0000001", "", "2026-11-19T10:00:00+09:00", 1_000)] }));

    shops.sync("order").run().succeeds().is_silent();

    assert_eq!(shops.sql("SELECT order_no, member_code FROM orders"), [["20261119-0000001", "NULL"]]);
}

fn an_order_older_than_the_stored_one_does_not_overwrite_it(shops: &Shops) {
    shops.data(json!({ "orders": [order("20261119-0000001", "kim01", "2026-11-19T10:00:00+09:00", 1_000)] }));
    shops.sync("order").run().succeeds();
    shops.execute("UPDATE orders SET source_updated_at = '2099-01-01T00:00:00+00:00', total_amount = 7");

    let said = shops.batchctl(["-v", "mall", "sync", "--domain", "order", "--rerun"]).run().succeeds();

    said.says("1 order: 1 kept because newer or withdrawn");
    assert_eq!(shops.scalar("SELECT total_amount FROM orders"), "7");
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM order_items"), "1");
}

/// Ordered long ago and paid yesterday; paid long ago and cancelled yesterday; and paid back yesterday in part.
fn trade(shops: &Shops) {
    let paid = |number: &str, at: &str| {
        let mut order = order(number, "kim01", "2026-06-01T10:00:00+09:00", 30_000);
        order["payment_date"] = at.into();
        order
    };
    let mut cancelled = paid("20260601-0000002", "2026-06-01T10:00:00+09:00");
    cancelled["canceled"] = "T".into();
    cancelled["cancel_date"] = "2026-11-19T09:00:00+09:00".into();
    cancelled["items"][0]["order_status"] = "C40".into();
    shops.data(json!({
        "orders": [
            paid("20260601-0000001", "2026-11-19T11:00:00+09:00"),
            cancelled,
            paid("20260601-0000003", "2026-06-01T12:00:00+09:00"),
            paid("20260601-0000004", "2026-06-01T13:00:00+09:00"),
        ],
        "refunds": [
            refund("C20261119-0000001", "20260601-0000002", "2026-11-19T10:00:00+09:00", 30_000),
            refund("C20261119-0000002", "20260601-0000003", "2026-11-19T12:00:00+09:00", 9_800),
        ]
    }));
}

fn sales_are_payments_cancellations_and_refunds_whenever_they_were_ordered(shops: &Shops) {
    trade(shops);

    shops.sync("sales").run().succeeds().is_silent();

    assert_eq!(
        shops.sql("SELECT order_no, status FROM orders ORDER BY order_no"),
        [["20260601-0000001", "PAID"], ["20260601-0000002", "ORDER_CANCELLED"], ["20260601-0000003", "PAID"],],
        "orders to which nothing happened are not requested"
    );
    assert_eq!(
        shops.sql(
            "SELECT r.refund_key, o.order_no, r.amount, r.product_code FROM refunds r
             JOIN orders o ON o.id = r.order_id ORDER BY r.refund_key"
        ),
        [
            ["C20261119-0000001", "20260601-0000002", "30000", "P000000M"],
            ["C20261119-0000002", "20260601-0000003", "9800", "P000000M"],
        ]
    );
}

fn a_refund_that_is_not_completed_does_not_count_yet(shops: &Shops) {
    shops.data(json!({ "orders": [order("20260601-0000001", "kim01", "2026-06-01T10:00:00+09:00", 1_000)] }));
    let day = "2026-11-19T10:00:00+09:00";
    let mut waiting = refund("C20261119-0000001", "20260601-0000001", day, 1_000);
    waiting["status"] = "F".into();
    waiting["refund_date"] = Value::Null;
    waiting["_at"] = json!({ "refund_date": day });
    shops.data(json!({ "refunds": [waiting] }));

    shops.sync("sales").run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM refunds"), "0");
}

fn a_refund_with_date_and_amount_that_is_not_completed_is_named(shops: &Shops) {
    shops.data(json!({ "orders": [order("20260601-0000001", "kim01", "2026-06-01T10:00:00+09:00", 1_000)] }));
    let day = "2026-11-19T10:00:00+09:00";
    let mut unclear = refund("C20261119-0000001", "20260601-0000001", day, 1_000);
    unclear["status"] = "M".into();
    shops.data(json!({ "refunds": [unclear, refund("C20261119-0000002", "20260601-0000001", day, 500)] }));

    shops.sync("sales").run().exits(3).says("refund C20261119-0000001: `status` is `M` and not `T`");

    assert_eq!(shops.scalar("SELECT SUM(amount) FROM refunds"), "500");
    assert_eq!(shops.scalar("SELECT items_skipped FROM batch_execution"), "1");
}

fn the_daily_report_is_computed_from_synchronised_data(shops: &Shops) {
    trade(shops);
    shops.batchctl(["mall", "sync", "--mall", "demo"]).run().succeeds().is_silent();

    let report = shops.batchctl(["report", "daily-sales", "--format", "json"]).run().succeeds();

    let report: Value = serde_json::from_str(&report.stdout).expect("it is JSON");
    let text = report.to_string();
    assert_eq!(
        shops.sql("SELECT orders, gross_amount, cancelled_orders, refunds, refunded_amount, net_amount FROM daily_sales"),
        [["1", "30000", "1", "2", "39800", "-9800"]],
        "{text}"
    );
}

fn the_shop_of_an_account_is_requested(shops: &Shops) {
    shops
        .batchctl([
            "mall",
            "add",
            "demo-en",
            "--platform",
            "cafe24",
            "--account",
            "demo",
            "--shop-no",
            "2",
            "--currency",
            "USD",
        ])
        .run()
        .succeeds();

    shops.batchctl(["mall", "sync", "--mall", "demo-en", "--domain", "order"]).run().succeeds().is_silent();

    assert_eq!(shops.calls()[0]["query"]["shop_no"], "2");
}

fn an_order_that_is_in_several_lists_counts_once(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let mut cancelled = order("20261119-0000001", "kim01", day, 1_000);
    cancelled["canceled"] = "T".into();
    cancelled["cancel_date"] = "2026-11-19T11:00:00+09:00".into();
    let before = order("20261101-0000002", "kim01", "2026-11-01T10:00:00+09:00", 2_000);
    let refunds = [
        refund("C1", "20261119-0000001", "2026-11-19T12:00:00+09:00", 1_000),
        refund("C2", "20261101-0000002", "2026-11-19T12:00:01+09:00", 500),
    ];
    shops.data(json!({ "orders": [cancelled, before], "refunds": refunds }));

    let ran = shops.batchctl(["mall", "sync", "--domain", "sales", "-v"]).run().succeeds();

    ran.says("4 orders and refunds: 4 new");
    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution"), "4");

    // Dates out of order have the refunds read in pieces, and the orders of each page again.
    let number = |refund: usize| format!("20261101-1{refund:06}");
    let mut refunds: Vec<Value> = (0..60)
        .map(|place| refund(&format!("P{place}"), &number(place), "2026-11-18T12:00:00+09:00", 10))
        .collect();
    for (place, shown) in [(10, "2026-11-18T01:00:00+09:00"), (40, "2026-11-18T20:00:00+09:00")] {
        refunds[place]["_at"] = refunds[place]["refund_date"].take();
        refunds[place]["refund_date"] = shown.into();
    }
    let orders = (0..60).map(|place| order(&number(place), "kim01", "2026-11-01T10:00:00+09:00", 2_000));
    shops.data(json!({ "orders": orders.collect::<Vec<_>>(), "refunds": refunds }));
    let day = "2026-11-18";
    let sync = ["mall", "sync", "--domain", "sales", "--from", day, "--to", day, "--page-size", "20", "-v"];
    shops.batchctl(sync).run().succeeds().says("120 orders and refunds: 120 new");
    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution ORDER BY id DESC LIMIT 1"), "120");
}
