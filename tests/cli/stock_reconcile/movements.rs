//! A shop that sells while it is compared.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Stock, key};
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![nothing_is_repaired_that_only_moves];

/// Orders that each shopper places. An order is bought, and paid or returned: two movements.
const ORDERS: u64 = 1_700;
const SHOPPERS: u64 = 4;
const PRODUCTS: u64 = 5;

/// What the shop's application does in Redis first: a unit less, and a reservation.
const RESERVE: &str = "redis.call('DECR', KEYS[1]); redis.call('HSET', KEYS[2], ARGV[1], '1'); return 1";
/// What it does in Redis last: the unit is back, and the reservation gone.
const RELEASE: &str =
    "if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then redis.call('INCR', KEYS[1]) end; return 1";

/// What it does in Redis once an order is paid.
const FORGET: &str = "redis.call('DEL', KEYS[2]); return 1";

/// Places orders, and pays or returns them.
fn shop_around(stock: &Stock<'_>, shopper: u64, returned: &AtomicU64, moved: &AtomicU64) {
    let mut connection = stock.redis.connect(0);
    for order in 0..ORDERS {
        let product = format!("P{}", (order * 7 + shopper * 3) % PRODUCTS);
        let order_no = format!("{shopper}-{order}");
        let (stock_key, reservation) = (key(&product), format!("reservation:tokyo:{order_no}"));
        let mut script = |script: &str| {
            let mut command = redis::cmd("EVAL");
            command.arg(script).arg(2).arg(&stock_key).arg(&reservation).arg(&product);
            command.query::<i64>(&mut connection).unwrap();
        };
        let change = |by: &str| {
            format!(
                "UPDATE stock SET quantity = quantity {by}
                     WHERE product_id = (SELECT id FROM products WHERE product_code = '{product}')"
            )
        };
        script(RESERVE);
        moved.fetch_add(1, Ordering::Relaxed);
        let placed = Order {
            mall: stock.mall,
            order_no: &order_no,
            status: "PAYMENT_WAIT",
            paid_at: None,
            ..Order::default()
        };
        let insert = placed.insert();
        let insert = insert.trim_end().trim_end_matches("RETURNING id");
        stock.shop.execute(&format!("BEGIN; {insert}; {}; COMMIT", change("- 1")));
        let of_order = format!("WHERE order_no = '{order_no}'");
        if (order + shopper).is_multiple_of(2) {
            stock.shop.execute(&format!("UPDATE orders SET status = 'PAID' {of_order}"));
            script(FORGET);
        } else {
            let cancelled = "status = 'ORDER_CANCELLED', cancelled_at = '2026-11-19T16:00:00+00:00'";
            stock.shop.execute(&format!(
                "BEGIN; UPDATE orders SET {cancelled} {of_order}; {}; COMMIT",
                change("+ 1")
            ));
            script(RELEASE);
            returned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn nothing_is_repaired_that_only_moves(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    // Longer than a shopper takes from one step to the next, on a machine that has other work.
    stock.configure_settling("3s", "");
    for product in 0..PRODUCTS {
        stock.product(&format!("P{product}"), 100_000);
        stock.set(&format!("P{product}"), 100_000);
    }
    stock.product("WRONG", 10);
    stock.set("WRONG", 8);
    let (returned, moved) = (AtomicU64::new(0), AtomicU64::new(0));
    // Orders that are placed during one comparison.
    let (runs, most) = std::thread::scope(|scope| {
        let shoppers: Vec<_> = (0..SHOPPERS)
            .map(|shopper| {
                scope.spawn({
                    let (stock, returned, moved) = (&stock, &returned, &moved);
                    move || shop_around(stock, shopper, returned, moved)
                })
            })
            .collect();
        let (mut runs, mut most) = (0, 0);
        while !shoppers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let before = moved.load(Ordering::Relaxed);
            stock.reconcile(&[]).run().succeeds();
            most = most.max(moved.load(Ordering::Relaxed) - before);
            runs += 1;
        }
        (runs, most)
    });
    assert!(most > 10, "it was compared while it moved: in {runs} runs at most {most} orders were placed");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["WRONG 10 8 RESERVATION_LEAKED 10 REPAIRED"], "after {runs} runs");
    let bought = ORDERS * SHOPPERS - returned.load(Ordering::Relaxed);
    let left: u64 =
        (0..PRODUCTS).map(|product| stock.quantity(&format!("P{product}")).parse::<u64>().unwrap()).sum();
    assert_eq!(left, PRODUCTS * 100_000 - bought);
    for product in 0..PRODUCTS {
        let code = format!("P{product}");
        assert_eq!(stock.get(&code).unwrap(), stock.quantity(&code), "{code}");
    }
}
