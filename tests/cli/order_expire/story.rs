//! What becomes of an order that was not paid, and which orders are left alone.

use serde_json::{Value, json};

use super::{BEFORE, Store};
use crate::support::{Database, Line, Order, Sandbox, on_both_databases};

on_both_databases![
    an_unpaid_order_is_cancelled_with_all_that_belongs_to_it,
    what_is_paid_young_or_of_another_system_is_left_alone,
    a_mall_of_another_system_is_refused_by_name,
    a_product_without_a_stock_is_counted_and_no_error,
    a_limit_and_a_size_of_chunks_are_kept_to,
    a_limit_takes_the_oldest_orders_of_all_malls,
    the_lines_of_an_order_are_told_in_their_order,
    what_cannot_be_read_of_an_order_whose_payment_has_come_is_no_failure,
    the_day_has_a_cancellation_more,
    an_order_that_cannot_be_cancelled_keeps_no_other_from_it,
    a_retry_does_just_what_failed,
    an_order_that_no_event_can_tell_of_is_named_and_left,
    a_notice_that_another_program_has_queued_is_not_queued_again,
];

const LINES: [Line; 3] = [
    Line { key: Some("1"), product: "P1", name: "Tea", quantity: 2, unit_price: 500, discount: 0, tax: 0 },
    Line { key: Some("2"), product: "P2", name: "Cup", quantity: 1, unit_price: 1000, discount: 0, tax: 0 },
    // The same product once more.
    Line { key: Some("3"), product: "P1", name: "Tea", quantity: 1, unit_price: 500, discount: 0, tax: 0 },
];

fn an_unpaid_order_is_cancelled_with_all_that_belongs_to_it(store: &Store) {
    store.member("M1");
    store.product("P1", Some(10));
    store.product("P2", Some(0));
    store.order(Order { total: 2500, ..store.waiting("A1", Some("M1"), &LINES) });

    store.expire().run().succeeds().is_silent();

    assert_eq!(
        store.sql("SELECT order_no, status, paid_at, cancelled_at, cancel_reason, updated_at FROM orders"),
        [[
            "A1",
            "ORDER_CANCELLED",
            "NULL",
            "2026-11-19T16:00:00+00:00",
            "PAYMENT_TIMEOUT",
            "2026-11-19T16:00:00+00:00"
        ]]
    );
    assert_eq!((store.stock("P1"), store.stock("P2")), ("13".to_owned(), "1".to_owned()));
    let events = store
        .sql("SELECT aggregate_type, aggregate_id, event_type, occurred_at FROM outbox_events ORDER BY id");
    assert_eq!(
        events,
        [
            ["order", "A1", "order.cancelled", "2026-11-19T16:00:00+00:00"],
            ["order", "A1", "order.expiration.notification", "2026-11-19T16:00:00+00:00"],
        ]
    );
    let payloads: Vec<Value> = store
        .sql("SELECT payload FROM outbox_events ORDER BY id")
        .concat()
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let common = |mut more: Value| {
        more["mall"] = json!("tokyo");
        more["order_no"] = json!("A1");
        more["member_code"] = json!("M1");
        more["ordered_at"] = json!("2026-11-19T15:30:00.000000Z");
        more["currency"] = json!("JPY");
        more["total_amount"] = json!(2500);
        more
    };
    let cancelled = common(json!({
        "reason": "PAYMENT_TIMEOUT",
        "cancelled_at": "2026-11-19T16:00:00.000000Z",
        "items": [
            { "product_code": "P1", "quantity": 2 },
            { "product_code": "P2", "quantity": 1 },
            { "product_code": "P1", "quantity": 1 },
        ],
    }));
    let notification = common(json!({
        "reason": "PAYMENT_TIMEOUT",
        "expired_at": "2026-11-19T16:00:00.000000Z",
    }));
    assert_eq!(payloads, [cancelled, notification]);
    assert_eq!(
        store.sql("SELECT member_code, channel, kind, dedup_key, due_at, status FROM notifications"),
        [["M1", "PUSH", "order-expired", "order-expired:1/A1", "2026-11-19T16:00:00+00:00", "QUEUED"]]
    );
    let data: Value = serde_json::from_str(&store.scalar("SELECT data FROM notifications")).unwrap();
    assert_eq!(
        data,
        json!({
            "order_number": "A1", "ordered_at": "2026-11-20T00:30:00+09:00", "cancelled_at": "2026-11-20T01:00:00+09:00",
            "amount": 2500, "currency": "JPY", "items": 3, "first_item": "Tea",
        })
    );
    assert_eq!(store.count("mails"), 0, "mails are queued only where that is configured");
    assert_eq!(
        store.summary(),
        "cancelled 1 order; gave back the stock of 3 of 3 lines (4 units); queued 1 notice"
    );
    assert_eq!(
        store.sql("SELECT items_read, items_written, items_failed FROM batch_execution"),
        [["1", "1", "0"]]
    );

    let before = store.outcome();
    store.expire().run().succeeds().is_silent();
    assert_eq!(
        (store.outcome(), store.stock("P1")),
        (before, "13".to_owned()),
        "a second run changes nothing"
    );
    assert_eq!(store.summary(), "no order to cancel");
}

fn what_is_paid_young_or_of_another_system_is_left_alone(store: &Store) {
    let cafe24 = store.0.mall("cafe24", "Asia/Seoul", "KRW");
    store.execute("UPDATE malls SET platform = 'cafe24' WHERE code = 'cafe24'");
    let files = store.0.mall("files", "Asia/Tokyo", "JPY");
    store.execute("UPDATE malls SET platform = 'csv' WHERE code = 'files'");
    let closed = store.0.mall("closed", "Asia/Tokyo", "JPY");
    store.execute("UPDATE malls SET platform = 'app', is_active = FALSE WHERE code = 'closed'");
    for mall in [cafe24, files, closed] {
        store.order(Order { mall, ..store.waiting("1", None, &[]) });
    }
    store.order(Order { status: "PAID", paid_at: Some(BEFORE), ..store.waiting("paid", None, &[]) });
    // Another program has noted the payment, and not the status yet.
    store.order(Order { paid_at: Some(BEFORE), ..store.waiting("being-paid", None, &[]) });
    let id = store.order(store.waiting("with-payment", None, &[]));
    store.execute(&format!(
        "INSERT INTO payments (order_id, payment_key, method, status, currency, amount, paid_at, created_at, updated_at)
         VALUES ({id}, 'K', 'card', 'DONE', 'JPY', 1000, '2026-11-19T15:31:00+00:00', '2026-11-19T15:31:00+00:00',
                 '2026-11-19T15:31:00+00:00')"
    ));
    // It was synchronised, before somebody gave its mall another platform.
    let id = store.order(store.waiting("copy", None, &[]));
    store.execute(&format!("UPDATE orders SET source_updated_at = ordered_at WHERE id = {id}"));
    // A second younger than five minutes, and exactly as old.
    store.order(Order { ordered_at: "2026-11-20T00:55:01+09:00", ..store.waiting("young", None, &[]) });
    store.order(Order { ordered_at: "2026-11-20T00:55:00+09:00", ..store.waiting("due", None, &[]) });

    store.expire().run().succeeds();

    let cancelled = store.sql("SELECT order_no FROM orders WHERE status = 'ORDER_CANCELLED'");
    assert_eq!(cancelled, [["due"]]);
    assert_eq!(store.count("outbox_events"), 2);
    store.batchctl(["order", "expire", "--accept-silence", "--older-than", "4m58s"]).run().succeeds();
    let cancelled =
        store.sql("SELECT order_no FROM orders WHERE status = 'ORDER_CANCELLED' ORDER BY order_no");
    assert_eq!(cancelled, [["due"], ["young"]]);
}

fn a_mall_of_another_system_is_refused_by_name(store: &Store) {
    let cafe24 = store.0.mall("seoul", "Asia/Seoul", "KRW");
    store.execute("UPDATE malls SET platform = 'cafe24' WHERE code = 'seoul'");
    store.order(Order { mall: cafe24, ..store.waiting("1", None, &[]) });
    let ran = store.batchctl(["order", "expire", "--mall", "tokyo,seoul"]).run().exits(77);
    ran.says("the orders of mall `seoul` are copies from `cafe24`: only that system may cancel them")
        .says("mall add seoul --platform app");
    assert_eq!(store.sql("SELECT status FROM orders"), [["PAYMENT_WAIT"]]);
    store.batchctl(["mall", "add", "seoul", "--platform", "app"]).run().succeeds();
    store.batchctl(["order", "expire", "--mall", "seoul"]).run().succeeds();
    assert_eq!(store.sql("SELECT status FROM orders"), [["ORDER_CANCELLED"]]);
}

#[test]
fn an_age_of_nothing_is_refused() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    for age in ["0", "0s", "0h0m0s", "-5m", "soon"] {
        sandbox
            .batchctl(["order", "expire", &format!("--older-than={age}")])
            .run()
            .exits(2)
            .says("--older-than");
    }
    sandbox
        .batchctl(["order", "expire", "--older-than", "0s"])
        .run()
        .exits(2)
        .says("orders need some time to be paid: write at least 1s, such as 5m");
    sandbox.batchctl(["order", "expire", "--limit", "0"]).run().exits(2);
    assert_eq!(sandbox.dump(), "", "not even a database is made");
    sandbox.batchctl(["order", "expire", "--older-than", "99999999h"]).run().exits(2).says("too long");
}

fn a_product_without_a_stock_is_counted_and_no_error(store: &Store) {
    store.product("P1", Some(10));
    store.product("P2", None);
    let lines = [
        Line { product: "P1", ..Line::default() },
        Line { product: "P2", quantity: 3, ..Line::default() },
        Line { product: "unknown", ..Line::default() },
    ];
    store.order(store.waiting("A1", None, &lines));
    // The same code in another mall is another product.
    let osaka = store.0.mall("osaka", "Asia/Tokyo", "JPY");
    store.execute(&format!("UPDATE products SET mall_id = {} WHERE product_code = 'P2'", osaka.id));
    store.execute(
        "INSERT INTO stock (product_id, quantity, updated_at)
         SELECT id, 5, '2026-01-01T00:00:00+00:00' FROM products WHERE product_code = 'P2'",
    );
    store.expire().run().succeeds();
    assert_eq!((store.stock("P1"), store.stock("P2")), ("11".to_owned(), "5".to_owned()));
    assert_eq!(
        store.summary(),
        "cancelled 1 order; gave back the stock of 1 of 3 lines (1 unit); queued 0 notices"
    );
}

fn a_limit_and_a_size_of_chunks_are_kept_to(store: &Store) {
    store.product("P1", Some(0));
    store.product("P2", Some(0));
    store.many_waiting(25);
    let expire = |more: &[&str]| {
        let words = ["order", "expire", "--accept-silence", "--chunk-size", "4"].iter().chain(more);
        store.batchctl(words).run().succeeds();
        store.sql("SELECT order_no FROM orders WHERE status = 'ORDER_CANCELLED' ORDER BY id").len()
    };
    assert_eq!(expire(&["--limit", "10"]), 10);
    let newest = "SELECT MAX(id) FROM orders WHERE status = 'ORDER_CANCELLED'";
    assert_eq!(store.scalar(newest), "10", "the oldest come first");
    assert_eq!(expire(&["--limit", "3"]), 13);
    assert_eq!(expire(&[]), 25);
    super::assert_adds_up(store, 0);
}

fn a_limit_takes_the_oldest_orders_of_all_malls(store: &Store) {
    let young = store.0.mall("aa", "Asia/Tokyo", "JPY");
    store.execute("UPDATE malls SET platform = 'app'");
    let at = |minute: usize| format!("2026-11-20T00:{minute:02}:00+09:00");
    // Those of the mall that comes first are younger in each pair; one cannot be cancelled, and takes nobody's place.
    for pair in 0..8 {
        let (old, new) = (at(2 * pair), at(2 * pair + 1));
        let number = format!("{pair}");
        store.order(Order { mall: young, ordered_at: &new, ..store.waiting(&number, None, &[]) });
        let id = store.order(Order { ordered_at: &old, ..store.waiting(&number, None, &[]) });
        if pair == 1 {
            store.execute(&format!("UPDATE orders SET currency = 'gold' WHERE id = {id}"));
        }
    }
    let expire = |limit: &str| {
        let words = ["order", "expire", "--accept-silence", "--chunk-size", "3", "--limit", limit];
        store.batchctl(words).run()
    };
    let cancelled = || {
        let sql = "SELECT code, order_no FROM orders JOIN malls ON malls.id = mall_id
                   WHERE status = 'ORDER_CANCELLED' ORDER BY ordered_at";
        store.sql(sql).into_iter().map(|row| row.join("/")).collect::<Vec<_>>()
    };
    expire("1").succeeds();
    assert_eq!(cancelled(), ["tokyo/0"]);
    expire("8").exits(3).says("tokyo/1: the column `currency`");
    let oldest = ["tokyo/0", "aa/0", "aa/1", "tokyo/2", "aa/2", "tokyo/3", "aa/3", "tokyo/4", "aa/4"];
    assert_eq!(cancelled(), oldest);
    expire("100").exits(3);
    assert_eq!(cancelled().len(), 15);
    assert_eq!(store.count("outbox_events"), 30);
}

/// By number where they have one, else by bytes; PostgreSQL would order them by its locale, and 10 comes before 2 as a text.
fn the_lines_of_an_order_are_told_in_their_order(store: &Store) {
    store.member("M1");
    let line = |key| Line { key: Some(key), product: key, name: key, ..Line::default() };
    let keys = ["A_1", "10", "b", "A1", "2", "010", "B", "00", "99999999999999999999"];
    let lines = keys.map(line);
    store.order(store.waiting("A1", Some("M1"), &lines));
    store.expire().run().succeeds();
    let payload = store.scalar("SELECT payload FROM outbox_events WHERE event_type = 'order.cancelled'");
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let told: Vec<&str> = payload["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["product_code"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["00", "2", "010", "10", "99999999999999999999", "A1", "A_1", "B", "b"]);
    let data: Value = serde_json::from_str(&store.scalar("SELECT data FROM notifications")).unwrap();
    assert_eq!(data["first_item"], "00");
}

/// It does not expire, so that nothing of it matters here.
fn what_cannot_be_read_of_an_order_whose_payment_has_come_is_no_failure(store: &Store) {
    store.order(store.waiting("unpaid", None, &[]));
    let id = store.order(store.waiting("paid", None, &[]));
    store.execute(&format!("UPDATE orders SET currency = 'gold' WHERE id = {id}"));
    store.execute(&format!(
        "INSERT INTO payments (order_id, payment_key, method, status, currency, amount, paid_at, created_at, updated_at)
         VALUES ({id}, 'K', 'card', 'DONE', 'JPY', 1000, '2026-11-19T15:31:00+00:00', '2026-11-19T15:31:00+00:00',
                 '2026-11-19T15:31:00+00:00')"
    ));
    store.expire().run().succeeds().is_silent();
    assert_eq!(
        store.sql("SELECT items_read, items_written, items_failed FROM batch_execution"),
        [["1", "1", "0"]]
    );
    let waiting = store.sql("SELECT order_no FROM orders WHERE status = 'PAYMENT_WAIT'");
    assert_eq!(waiting, [["paid"]]);
}

fn the_day_has_a_cancellation_more(store: &Store) {
    let report = |more: &[&str]| {
        let words = ["report", "daily-cancellations", "--date", "2026-11-20"].iter().chain(more);
        store.batchctl(words).now("2026-11-21T02:00:00+09:00").run().succeeds();
        store.sql("SELECT cancelled_orders, cancelled_amount FROM daily_cancellations")
    };
    assert_eq!(report(&[]), [["0", "0"]]);
    store.order(Order { total: 700, ..store.waiting("A1", None, &[]) });
    store.expire().run().succeeds();
    assert_eq!(
        store.sql("SELECT subject, changed_hour FROM sales_changes"),
        [["CANCELLATION", "2026-11-19T16:00:00+00:00"]],
        "the trigger has noted that figures are stale"
    );
    assert_eq!(report(&["--rerun"]), [["1", "700"]]);
    let reasons = store.sql("SELECT reason, cancelled_orders FROM daily_cancellations_by_reason");
    assert_eq!(reasons, [["PAYMENT_TIMEOUT", "1"]]);
}

fn an_order_that_cannot_be_cancelled_keeps_no_other_from_it(store: &Store) {
    store.product("P1", Some(10));
    store.product("full", Some(i64::MAX - 1));
    let one = [Line { product: "P1", ..Line::default() }];
    let negative = [Line { product: "P1", quantity: -3, ..Line::default() }];
    let huge = [Line { product: "P1", quantity: 5_000_000_000, ..Line::default() }];
    let too_many = [Line { product: "full", quantity: 5, ..Line::default() }];
    let long = "x".repeat(300);
    store.order(store.waiting("good-1", None, &one));
    store.order(store.waiting("negative", None, &negative));
    store.order(store.waiting("huge", None, &huge));
    store.order(store.waiting("too-many", None, &too_many));
    store.order(store.waiting(&long, None, &one));
    let nonsense = store.order(store.waiting("nonsense", None, &one));
    store.execute(&format!("UPDATE orders SET currency = 'gold' WHERE id = {nonsense}"));
    // As some applications write it: on SQLite it sorts behind the form of ours.
    store.execute(&format!("UPDATE orders SET ordered_at = '2026-11-19T15:30:00Z' WHERE id = {nonsense}"));
    store.order(store.waiting("good-2", None, &one));

    let ran = store.expire().run().exits(3);

    ran.says("tokyo/negative: the line of the product `P1` has the quantity -3, which cannot be given back")
        .says("tokyo/huge: the line of the product `P1` has the quantity 5000000000")
        .says("tokyo/nonsense: the column `currency` of `orders` holds `gold`, which is not a currency")
        .says("its number has 300 bytes, more than the 200 of an event's")
        .says("tokyo/too-many: ");
    let cancelled = store.sql("SELECT order_no FROM orders WHERE status = 'ORDER_CANCELLED' ORDER BY id");
    assert_eq!(cancelled, [["good-1"], ["good-2"]]);
    assert_eq!(store.stock("P1"), "12");
    assert_eq!(store.count("outbox_events"), 4);
    let failed = store.sql("SELECT item_key FROM batch_error_log WHERE kind = 'FAILED'");
    assert_eq!(failed.len(), 5, "{failed:?}");
}

fn an_order_that_no_event_can_tell_of_is_named_and_left(store: &Store) {
    store.product("P1", Some(10));
    let one = [Line { product: "P1", ..Line::default() }];
    let large = store.order(store.waiting("large", None, &[]));
    store.execute(&format!(
        "INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount,
                                  discount_amount, tax_amount, line_amount)
         SELECT {large}, CAST(n AS TEXT), '{}', 'Tea', 1, 0, 0, 0, 0 FROM {}",
        "x".repeat(600),
        store.series(2000)
    ));
    store.order(store.waiting("", None, &one));
    store.order(store.waiting("good", None, &one));
    let ran = store.expire().run().exits(3);
    ran.says("tokyo/large: other systems cannot be told of the order: its event would have 12")
        .says("tokyo/: other systems cannot be told of the order: it has no number")
        .says("cancel it in the application that keeps it");
    let cancelled = store.sql("SELECT order_no FROM orders WHERE status = 'ORDER_CANCELLED'");
    assert_eq!((cancelled, store.stock("P1")), (vec![vec!["good".to_owned()]], "11".to_owned()));
}

fn a_notice_that_another_program_has_queued_is_not_queued_again(store: &Store) {
    store.member("M1");
    for number in ["A1", "A2"] {
        store.order(store.waiting(number, Some("M1"), &[]));
    }
    store.execute(&format!(
        "INSERT INTO notifications (mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at)
         VALUES ({}, 'M1', 'PUSH', 'own', '{{}}', 'order-expired:1/A1', '2026-11-19T15:00:00+00:00',
                 '2026-11-19T15:00:00+00:00')",
        store.mall.id
    ));
    store.expire().run().succeeds();
    assert!(store.summary().ends_with("queued 1 notice"), "{}", store.summary());
    let kinds = store.sql("SELECT dedup_key, kind FROM notifications ORDER BY dedup_key");
    assert_eq!(kinds, [["order-expired:1/A1", "own"], ["order-expired:1/A2", "order-expired"]]);
}

fn a_retry_does_just_what_failed(store: &Store) {
    store.product("P1", Some(10));
    let one = [Line { product: "P1", ..Line::default() }];
    let negative = [Line { product: "P1", quantity: -3, ..Line::default() }];
    store.order(store.waiting("good", None, &one));
    let id = store.order(store.waiting("bad", None, &negative));
    store.expire().run().exits(3);
    store.execute(&format!("UPDATE order_items SET quantity = 3 WHERE order_id = {id}"));
    store.order(store.waiting("later", None, &one));
    store.batchctl(["runs", "retry", "1"]).run().succeeds();
    let waiting = store.sql("SELECT order_no FROM orders WHERE status = 'PAYMENT_WAIT'");
    assert_eq!(waiting, [["later"]]);
    assert_eq!(store.stock("P1"), "14");
}
