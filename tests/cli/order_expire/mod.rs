//! `order expire`: an order that was not paid in time is cancelled with all that belongs to it, or not at all.

mod breaker;
mod customers;
mod hostile_redis;
mod locks;
mod payments;
mod recovery;
mod reopened;
mod reservations;
mod story;
mod wrong_redis;

use std::ops::Deref;

use crate::support::{Arranged, Batchctl, Customers, Database, Line, Order, Sandbox};

/// Half an hour ago, by the clock of a sandbox.
const BEFORE: &str = "2026-11-20T00:30:00+09:00";

/// A shop with the mall `tokyo`, whose application keeps its orders in this database.
struct Store(Customers);

impl Arranged for Store {
    fn on(database: Database) -> Self {
        let shop = Customers::on(database);
        shop.execute("UPDATE malls SET platform = 'app'");
        Self(shop)
    }
}

impl Deref for Store {
    type Target = Customers;

    fn deref(&self) -> &Customers {
        &self.0
    }
}

impl Store {
    /// Adds a product with so many pieces in stock; `None` for one of which no stock is kept.
    fn product(&self, code: &str, stock: Option<i64>) {
        let mall = self.mall.id;
        self.execute(&format!(
            "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({mall}, '{code}', '{code}', 'ON_SALE', 'JPY', 1000, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')"
        ));
        if let Some(quantity) = stock {
            self.execute(&format!(
                "INSERT INTO stock (product_id, quantity, updated_at)
                 SELECT id, {quantity}, '2026-01-01T00:00:00+00:00' FROM products WHERE product_code = '{code}'"
            ));
        }
    }

    /// An order of a member that waits for its payment since half an hour ago.
    fn waiting<'a>(&self, order_no: &'a str, member: Option<&'a str>, lines: &'a [Line<'a>]) -> Order<'a> {
        Order {
            mall: self.mall,
            order_no,
            member,
            status: "PAYMENT_WAIT",
            ordered_at: BEFORE,
            paid_at: None,
            updated_at: BEFORE,
            lines,
            ..Order::default()
        }
    }

    /// Orders `A1` to `An` that wait for their payment, each second another one, of the members `M1` to `Mn`: two pieces of
    /// `P1` and one of `P2` each.
    fn many_waiting(&self, count: usize) {
        let (mall, series) = (self.mall.id, self.series(count));
        let at = match self.database() {
            Database::Sqlite => {
                "strftime('%Y-%m-%dT%H:%M:%S+00:00', '2026-11-19 15:00:00', '+' || n || ' seconds')"
            }
            Database::Postgres => "TIMESTAMPTZ '2026-11-19 15:00:00+00' + n * INTERVAL '1 second'",
        };
        self.execute(&format!(
            "INSERT INTO orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount,
                                 shipping_amount, tax_amount, ordered_at, created_at, updated_at)
             SELECT {mall}, 'A' || n, 'M' || n, 'PAYMENT_WAIT', 'JPY', 3000, 0, 0, 0, {at}, {at}, {at} FROM {series}"
        ));
        for (product, quantity) in [("P1", 2), ("P2", 1)] {
            self.execute(&format!(
                "INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount,
                                          discount_amount, tax_amount, line_amount)
                 SELECT id, '{product}', '{product}', '{product}', {quantity}, 1000, 0, 0, {quantity} * 1000
                 FROM orders WHERE status = 'PAYMENT_WAIT'"
            ));
        }
    }

    /// `order expire`, which many orders without a payment do not stop.
    fn expire(&self) -> Batchctl {
        self.batchctl(["order", "expire", "--accept-silence"])
    }

    /// What is left of a product.
    fn stock(&self, code: &str) -> String {
        self.scalar(&format!(
            "SELECT quantity FROM stock JOIN products ON id = product_id WHERE product_code = '{code}'"
        ))
    }

    fn count(&self, table: &str) -> usize {
        self.scalar(&format!("SELECT COUNT(*) FROM {table}")).parse().expect("a count is a number")
    }

    /// Each order, whether it was cancelled, and how many events and notifications there are of it: what has to be the same
    /// however often a run was killed.
    fn outcome(&self) -> Vec<Vec<String>> {
        self.sql(
            "SELECT order_no, status, cancelled_at, cancel_reason,
                    (SELECT COUNT(*) FROM outbox_events WHERE aggregate_id = order_no),
                    (SELECT COUNT(*) FROM notifications WHERE dedup_key = 'order-expired:1/' || order_no)
             FROM orders ORDER BY id",
        )
    }

    /// What the last run said of its work.
    fn summary(&self) -> String {
        self.scalar("SELECT summary FROM batch_execution ORDER BY id DESC LIMIT 1")
    }
}

/// Whether no order is both paid and cancelled, and stock, events and notices are those of the cancelled ones, to the unit.
/// Both products had `stock` pieces. Returns how many were cancelled.
#[track_caller]
fn assert_adds_up(store: &Store, stock: usize) -> usize {
    let both = "SELECT COUNT(*) FROM orders
                WHERE (paid_at IS NOT NULL OR status = 'PAID'
                       OR EXISTS (SELECT 1 FROM payments WHERE order_id = orders.id AND payments.paid_at IS NOT NULL))
                AND (cancelled_at IS NOT NULL OR status = 'ORDER_CANCELLED')";
    assert_eq!(store.scalar(both), "0", "an order is both paid and cancelled");
    let cancelled = store.count("orders WHERE status = 'ORDER_CANCELLED' AND cancelled_at IS NOT NULL");
    assert_eq!(store.stock("P1"), (stock + 2 * cancelled).to_string());
    assert_eq!(store.stock("P2"), (stock + cancelled).to_string());
    let told = "FROM orders WHERE status = 'ORDER_CANCELLED' AND";
    for (kind, expected) in [("order.cancelled", 1), ("order.expiration.notification", 1)] {
        let of_order = format!(
            "(SELECT COUNT(*) FROM outbox_events WHERE event_type = '{kind}' AND aggregate_id = order_no)"
        );
        assert_eq!(store.scalar(&format!("SELECT COUNT(*) {told} {of_order} <> {expected}")), "0", "{kind}");
    }
    assert_eq!(store.count("outbox_events"), 2 * cancelled);
    assert_eq!(store.count("notifications"), cancelled);
    cancelled
}

/// The names of the runs' ends, oldest first.
fn ends(sandbox: &Sandbox) -> Vec<String> {
    sandbox.sql("SELECT status FROM batch_execution ORDER BY id").concat()
}
