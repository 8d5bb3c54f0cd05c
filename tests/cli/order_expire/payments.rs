//! An order is paid at the moment at which it expires: it is one or the other, never both.

use super::{Store, assert_adds_up, ends};
use crate::support::{Database, Line, Order, machine_time, on_both_databases, run_on};

on_both_databases![
    a_thousand_orders_are_paid_while_they_expire,
    a_payment_after_the_cancellation_finds_the_order_cancelled,
    two_runs_at_once_cancel_each_order_once,
    an_order_is_cancelled_at_the_time_of_its_own_chunk,
];

const ONE: [Line; 1] =
    [Line { key: None, product: "P1", name: "Tea", quantity: 1, unit_price: 1000, discount: 0, tax: 0 }];

/// What an application does, and which rows it then knows to be paid.
pub(super) fn pay(condition: &str) -> String {
    format!(
        "UPDATE orders SET status = 'PAID', paid_at = '2026-11-19T16:00:00+00:00', updated_at = '2026-11-19T16:00:00+00:00'
         WHERE {condition} AND status = 'PAYMENT_WAIT' RETURNING id"
    )
}

/// A payment of an order, as a row.
fn payment(order: &str) -> String {
    let at = "'2026-11-19T16:00:00+00:00'";
    format!(
        "INSERT INTO payments (order_id, payment_key, method, status, currency, amount, paid_at, created_at, updated_at)
         VALUES ({order}, 'K', 'card', 'DONE', 'JPY', 1000, {at}, {at}, {at})"
    )
}

/// What an application does that notes the payment before it changes the order: both or neither. Whether it was paid.
fn pay_by_row(store: &Store, order: &str) -> bool {
    store.execute(match store.database() {
        Database::Sqlite => "BEGIN IMMEDIATE",
        Database::Postgres => "BEGIN",
    });
    store.execute(&payment(order));
    let is_paid = !store.sql(&pay(&format!("id = {order}"))).is_empty();
    store.execute(if is_paid { "COMMIT" } else { "ROLLBACK" });
    is_paid
}

fn a_thousand_orders_are_paid_while_they_expire(store: &Store) {
    const ORDERS: usize = 1_000;
    store.product("P1", Some(50));
    store.product("P2", Some(50));
    store.many_waiting(ORDERS);
    // They have not been due for long: of one that a slow payment holds until the end nobody has to hear yet.
    let words = ["order", "expire", "--accept-silence", "--chunk-size", "10", "--older-than", "40m"];
    let mut expiring = store.batchctl(words).hold_at("after-chunk");
    expiring.wait_until_reached();
    let expiring = expiring.release();
    let mut paid = 0;
    // From the newest to the oldest, over another connection; the run comes the other way.
    for id in (1..=ORDERS).rev() {
        paid += match id % 2 {
            0 => store.sql(&pay(&format!("id = {id}"))).len(),
            _ => usize::from(pay_by_row(store, &id.to_string())),
        };
    }
    expiring.wait().succeeds();

    let cancelled = assert_adds_up(store, 50);
    assert_eq!(store.count("orders WHERE status = 'PAID' AND paid_at IS NOT NULL"), paid);
    assert_eq!(
        store
            .count("outbox_events WHERE aggregate_id IN (SELECT order_no FROM orders WHERE status = 'PAID')"),
        0
    );
    // What was locked by its payment when the run came by is left to the next one.
    assert_eq!(paid + cancelled + store.count("orders WHERE status = 'PAYMENT_WAIT'"), ORDERS);
    assert!(paid > 0 && cancelled > 0, "{paid} were paid, {cancelled} cancelled: neither met the other");
    store.expire().run().succeeds();
    assert_eq!(assert_adds_up(store, 50) + paid, ORDERS);
}

/// Only PostgreSQL locks single rows.
#[test]
fn an_order_that_is_being_paid_is_left_to_its_payment() {
    run_on(Database::Postgres, |store: &Store| {
        store.product("P1", Some(10));
        let paying = store.order(store.waiting("paying", None, &ONE));
        store.order(store.waiting("unpaid", None, &ONE));
        store.execute("BEGIN");
        store.execute(&pay(&format!("id = {paying}")));
        // It does not wait for the payment, which may take long.
        store.expire().run().succeeds();
        store.execute("COMMIT");
        assert_eq!(
            store.sql("SELECT order_no, status, cancelled_at IS NULL FROM orders ORDER BY id"),
            [["paying", "PAID", "1"], ["unpaid", "ORDER_CANCELLED", "0"]]
        );
        assert_eq!(store.stock("P1"), "11");
        // One whose payment was called off is cancelled by the next run.
        let id = store.order(store.waiting("called-off", None, &ONE));
        store.execute("BEGIN");
        store.execute(&pay(&format!("id = {id}")));
        store.expire().run().succeeds();
        store.execute("ROLLBACK");
        store.expire().run().succeeds();
        assert_eq!(store.scalar(&format!("SELECT status FROM orders WHERE id = {id}")), "ORDER_CANCELLED");
        assert_eq!(store.stock("P1"), "12");
    });
}

/// A payment is a row of its own, which locks its order's row only as a foreign key does.
#[test]
fn an_order_whose_payment_is_being_added_is_left_to_it() {
    run_on(Database::Postgres, |store: &Store| {
        store.product("P1", Some(10));
        let paying = store.order(store.waiting("paying", None, &ONE)).to_string();
        store.order(store.waiting("unpaid", None, &ONE));
        store.execute("BEGIN");
        store.execute(&payment(&paying));
        store.expire().run().succeeds();
        assert_eq!(
            store.summary(),
            "cancelled 1 order; gave back the stock of 1 of 1 line (1 unit); queued 0 notices; left 1 order that others have locked"
        );
        store.execute("COMMIT");
        let orders = "SELECT order_no, status, cancelled_at IS NULL FROM orders ORDER BY id";
        assert_eq!(store.sql(orders), [["paying", "PAYMENT_WAIT", "1"], ["unpaid", "ORDER_CANCELLED", "0"]]);
        assert_eq!(store.stock("P1"), "11");
        // Its payment is seen from now on.
        store.expire().run().succeeds();
        assert_eq!(store.sql(orders)[0], ["paying", "PAYMENT_WAIT", "1"]);
        // One whose payment was called off expires with the next run.
        let id = store.order(store.waiting("called-off", None, &ONE)).to_string();
        store.execute("BEGIN");
        store.execute(&payment(&id));
        store.expire().run().succeeds();
        store.execute("ROLLBACK");
        store.expire().run().succeeds();
        assert_eq!(store.scalar(&format!("SELECT status FROM orders WHERE id = {id}")), "ORDER_CANCELLED");
        assert_eq!(store.stock("P1"), "12");
    });
}

fn an_order_is_cancelled_at_the_time_of_its_own_chunk(store: &Store) {
    store.product("P1", Some(10));
    let before = (machine_time() - chrono::TimeDelta::hours(1)).to_rfc3339();
    for number in ["A1", "A2"] {
        store.order(Order { ordered_at: &before, updated_at: &before, ..store.waiting(number, None, &ONE) });
    }
    let words = ["order", "expire", "--accept-silence", "--chunk-size", "1"];
    let mut held = store.batchctl(words).real_clock().hold_at("after-chunk");
    held.wait_until_reached();
    let between = machine_time().to_rfc3339();
    held.release().wait().succeeds();
    for column in ["orders WHERE cancelled_at", "stock WHERE updated_at", "outbox_events WHERE occurred_at"] {
        let count = store.count(&format!("{column} > '{between}'"));
        let expected = if column.starts_with("outbox") { 2 } else { 1 };
        assert_eq!(count, expected, "{column} is that of the run's beginning");
    }
}

fn a_payment_after_the_cancellation_finds_the_order_cancelled(store: &Store) {
    store.product("P1", Some(10));
    let id = store.order(store.waiting("A1", None, &ONE));
    let mut expiring = store.expire().hold_at("in-chunk");
    expiring.wait_until_reached();
    // The order is cancelled, but not committed: the payment waits.
    let paid = std::thread::scope(|scope| {
        let payment = scope.spawn(|| store.sql(&pay(&format!("id = {id}"))));
        let expiring = expiring.release();
        let paid = payment.join().unwrap();
        expiring.wait().succeeds();
        paid
    });
    assert_eq!(paid.len(), 0, "the application sees that nothing was changed");
    assert_eq!(store.sql("SELECT status, paid_at FROM orders"), [["ORDER_CANCELLED", "NULL"]]);
    assert_eq!(store.stock("P1"), "11");
}

fn two_runs_at_once_cancel_each_order_once(store: &Store) {
    store.product("P1", Some(0));
    store.product("P2", Some(0));
    store.many_waiting(40);
    let mut first = store.expire().hold_at("after-chunk");
    first.wait_until_reached();
    store.expire().run().exits(75).says("already running");
    first.release().wait().succeeds();
    assert_eq!(assert_adds_up(store, 0), 40);
    assert_eq!(ends(store), ["COMPLETED", "REFUSED"]);
}
