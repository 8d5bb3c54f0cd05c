//! Payments that fail are not customers who change their minds.

use super::Store;
use crate::support::{Line, Order, Ran, on_both_databases};

on_both_databases![
    orders_are_left_alone_while_no_payment_arrives_where_many_do,
    a_shop_that_is_hardly_ever_paid_has_no_silence,
    orders_that_expire_in_small_numbers_add_up,
    the_numbers_can_be_set,
    a_silent_mall_keeps_no_other_from_its_work,
    a_dry_run_counts_orders_and_units_and_changes_nothing,
];

/// Paid orders: so many, one each minute before this instant.
fn paid(store: &Store, count: usize, until: &str) {
    let (mall, series) = (store.mall.id, store.series(count));
    let at = match store.database() {
        crate::support::Database::Sqlite => {
            format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', '{until}', '-' || n || ' minutes')")
        }
        crate::support::Database::Postgres => format!("TIMESTAMPTZ '{until}+00' - n * INTERVAL '1 minute'"),
    };
    store.execute(&format!(
        "INSERT INTO orders (mall_id, order_no, status, currency, total_amount, discount_amount, shipping_amount,
                             tax_amount, ordered_at, paid_at, created_at, updated_at)
         SELECT {mall}, 'paid-{until}-' || n, 'PAID', 'JPY', 1000, 0, 0, 0, {at}, {at}, {at}, {at} FROM {series}"
    ));
}

fn expire(store: &Store) -> Ran {
    store.batchctl(["order", "expire"]).run()
}

fn cancelled(store: &Store) -> usize {
    store.count("orders WHERE status = 'ORDER_CANCELLED'")
}

fn orders_are_left_alone_while_no_payment_arrives_where_many_do(store: &Store) {
    store.many_waiting(51);
    // The last one came an hour and a minute ago.
    paid(store, 50, "2026-11-19 15:00:00");
    let ran = expire(store).exits(1);
    ran.says("where usually many are paid and now none is: ")
        .says("mall `tokyo` (more than 50 unpaid orders, none paid since 2026-11-20 00:00 JST)")
        .says("order expire --mall tokyo --accept-silence")
        .says("nothing was changed");
    assert_eq!((cancelled(store), store.count("outbox_events"), store.count("notifications")), (0, 0, 0));
    assert_eq!(super::ends(store), ["FAILED"]);
    // One payment is enough to see that payments work.
    paid(store, 1, "2026-11-19 15:40:00");
    expire(store).succeeds();
    assert_eq!(cancelled(store), 51);
}

fn a_shop_that_is_hardly_ever_paid_has_no_silence(store: &Store) {
    store.many_waiting(60);
    paid(store, 49, "2026-11-19 14:00:00");
    // More than a week ago.
    paid(store, 500, "2026-11-10 00:00:00");
    expire(store).succeeds();
    assert_eq!(cancelled(store), 60);
}

fn orders_that_expire_in_small_numbers_add_up(store: &Store) {
    paid(store, 500, "2026-11-19 15:00:00");
    for round in 0..6 {
        for number in 0..10 {
            store.order(store.waiting(&format!("{round}-{number}"), None, &[]));
        }
        let ran = expire(store);
        // Ten, twenty, … fifty, and the eleventh of the last ten is one too many.
        if round < 5 {
            ran.succeeds()
        } else {
            ran.exits(1).says("mall `tokyo` (more than 50 unpaid orders, ")
        };
    }
    assert_eq!(cancelled(store), 50);
    // Whoever knows that customers really did not pay says so.
    store.expire().run().succeeds();
    assert_eq!(cancelled(store), 60);
}

fn the_numbers_can_be_set(store: &Store) {
    store.configure("[order_expire]\nbreaker_orders = 3\nbreaker_silence = '10m'\n");
    paid(store, 3, "2026-11-19 15:50:00");
    store.many_waiting(3);
    expire(store).succeeds();
    store.order(Order { ordered_at: "2026-11-20T00:54:00+09:00", ..store.waiting("one-more", None, &[]) });
    expire(store).exits(1).says("none paid since 2026-11-20 00:50 JST");
    store.configure("[order_expire]\nbreaker_orders = 0\n");
    expire(store).exits(78).says("order_expire.breaker_orders");
}

fn a_dry_run_counts_orders_and_units_and_changes_nothing(store: &Store) {
    let osaka = store.0.mall("osaka", "Asia/Tokyo", "JPY");
    store.execute("UPDATE malls SET platform = 'app'");
    let dry_run = |more: &[&str]| {
        let before = store.dump();
        let ran = store.batchctl(["order", "expire", "--dry-run"].iter().chain(more)).run();
        assert_eq!(store.dump(), before);
        ran
    };
    dry_run(&[]).succeeds().prints("no order would be cancelled\n");
    store.product("P1", Some(1000));
    store.product("P2", Some(1000));
    store.many_waiting(60);
    // Of a product that has no stock, whose units go nowhere.
    store.order(Order {
        mall: osaka,
        ..store.waiting("1", None, &[Line { product: "P9", quantity: 5, ..Line::default() }])
    });
    dry_run(&[])
        .succeeds()
        .prints("mall `tokyo`: 60 orders would be cancelled, and 180 units given back\n")
        .prints("mall `osaka`: 1 order would be cancelled, and 0 units given back\n");
    // The oldest of all malls.
    dry_run(&["--limit", "2"])
        .succeeds()
        .prints("mall `tokyo`: 2 orders would be")
        .never_shows("mall `osaka`:");
    dry_run(&["--mall", "osaka"]).succeeds().never_shows("tokyo");
    paid(store, 50, "2026-11-19 15:00:00");
    let silent = "mall `tokyo` (more than 50 unpaid orders";
    dry_run(&[]).exits(1).prints("mall `osaka`: 1 order").says(silent).never_shows("mall `tokyo`: 60");
    dry_run(&["--accept-silence"]).succeeds().prints("mall `tokyo`: 60 orders").never_shows(silent);
    store.expire().run().succeeds();
    assert_eq!(
        (cancelled(store), store.summary().contains("(180 units)")),
        (61, true),
        "{}",
        store.summary()
    );
}

fn a_silent_mall_keeps_no_other_from_its_work(store: &Store) {
    store.many_waiting(51);
    paid(store, 50, "2026-11-19 14:00:00");
    let osaka = store.0.mall("osaka", "Asia/Tokyo", "JPY");
    store.execute("UPDATE malls SET platform = 'app'");
    store.order(Order { mall: osaka, ..store.waiting("1", None, &[]) });
    let ran = expire(store).exits(1);
    ran.says("mall `tokyo`").says("cancelled 1 order").never_shows("`osaka`");
    assert_eq!(
        store.sql("SELECT mall_id FROM orders WHERE status = 'ORDER_CANCELLED'"),
        [[osaka.id.to_string()]]
    );
}
