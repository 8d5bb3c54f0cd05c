//! What others keep locked is left to the next run, and keeps nothing else from being done. Only PostgreSQL locks single rows.

use super::Store;
use crate::support::redis::Redis;
use crate::support::{Database, Line, Order, run_on};

const TEA: [Line; 1] =
    [Line { key: None, product: "P1", name: "Tea", quantity: 1, unit_price: 1000, discount: 0, tax: 0 }];
const CUP: [Line; 1] =
    [Line { key: None, product: "P2", name: "Cup", quantity: 1, unit_price: 1000, discount: 0, tax: 0 }];

/// Locks the stock of a product, as an import does that takes its time, until `COMMIT`.
fn lock_stock(store: &Store, code: &str) {
    store.execute("BEGIN");
    store.execute(&format!(
        "UPDATE stock SET quantity = quantity WHERE product_id = (SELECT id FROM products WHERE product_code = '{code}')"
    ));
}

fn waiting(store: &Store) -> Vec<String> {
    store.sql("SELECT order_no FROM orders WHERE status = 'PAYMENT_WAIT' ORDER BY id").concat()
}

#[test]
fn stock_that_others_keep_locked_keeps_no_other_order_from_expiring() {
    run_on(Database::Postgres, |store: &Store| {
        let Some(redis) = Redis::start() else { return };
        store.product("P1", Some(10));
        store.product("P2", Some(10));
        for number in 1..=30 {
            store.order(store.waiting(&format!("tea-{number}"), None, &TEA));
            store.order(store.waiting(&format!("cup-{number}"), None, &CUP));
        }
        let osaka = store.0.mall("osaka", "Asia/Tokyo", "JPY");
        store.execute("UPDATE malls SET platform = 'app'");
        store.order(Order { mall: osaka, ..store.waiting("osaka-1", None, &TEA) });
        redis.command::<()>(&["HSET", "reservation:osaka:osaka-1", "P1", "1"]);
        redis.command::<()>(&["MSET", "stock:osaka:P1", "4", "stock:tokyo:P1", "10"]);
        let expire = || {
            let words = ["order", "expire", "--accept-silence", "--chunk-size", "2"];
            store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url())
        };
        lock_stock(store, "P1");
        // It does not wait for the import to end, with the orders of its chunk locked, whose payments would wait too.
        expire().run().succeeds();
        let left = waiting(store);
        assert_eq!(left.len(), 30);
        assert!(left.iter().all(|number| number.starts_with("tea")), "{left:?}");
        assert_eq!((store.stock("P1"), store.stock("P2")), ("10".to_owned(), "40".to_owned()));
        assert_eq!(
            redis.command::<i64>(&["GET", "stock:osaka:P1"]),
            5,
            "reservations are given back all the same"
        );
        assert!(
            store.summary().contains("; left 30 orders that others have locked; released 1 "),
            "{}",
            store.summary()
        );
        // They do not stay locked in silence for long.
        let ran = expire().now("2026-11-20T01:10:00+09:00").run().exits(75);
        ran.says("30 orders that have been due for more than 30 minutes are left to the next run: other transactions have locked")
            .says("pg_stat_activity");
        store.execute("COMMIT");
        expire().run().succeeds();
        assert_eq!((waiting(store).len(), store.stock("P1")), (0, "40".to_owned()));
        assert_eq!(store.count("outbox_events"), 2 * 61);
    });
}

#[test]
fn locked_stock_of_one_mall_takes_no_place_under_a_limit() {
    run_on(Database::Postgres, |store: &Store| {
        store.product("P1", Some(10));
        for number in 1..=4 {
            store.order(store.waiting(&format!("tea-{number}"), None, &TEA));
        }
        let aa = store.0.mall("aa", "Asia/Tokyo", "JPY");
        store.execute("UPDATE malls SET platform = 'app'");
        for number in 1..=4 {
            store.order(Order { mall: aa, ..store.waiting(&format!("cup-{number}"), None, &CUP) });
        }
        let expire = |limit: &str| {
            let words = ["order", "expire", "--accept-silence", "--chunk-size", "3", "--limit", limit];
            store.batchctl(words).now("2026-11-20T01:10:00+09:00").run()
        };
        lock_stock(store, "P1");
        // Each order that is locked is counted once, and tried again at the end.
        expire("3").succeeds();
        assert_eq!(waiting(store), ["tea-1", "tea-2", "tea-3", "tea-4", "cup-4"]);
        expire("8").exits(75).says("4 orders that have been due for more than 30 minutes are left");
        assert_eq!(waiting(store), ["tea-1", "tea-2", "tea-3", "tea-4"]);
        store.execute("COMMIT");
        expire("2").succeeds();
        assert_eq!(
            (waiting(store), store.stock("P1")),
            (vec!["tea-3".to_owned(), "tea-4".to_owned()], "12".to_owned())
        );
    });
}

#[test]
fn an_order_that_fails_beside_locked_stock_fails_alone() {
    run_on(Database::Postgres, |store: &Store| {
        store.product("P1", Some(10));
        store.product("P2", Some(10));
        store.product("full", Some(i64::MAX));
        let full = [Line { product: "full", ..CUP[0] }];
        store.order(store.waiting("locked", None, &TEA));
        store.order(store.waiting("full", None, &full));
        store.order(store.waiting("good", None, &CUP));
        lock_stock(store, "P1");
        store.expire().run().exits(3).says("tokyo/full: ");
        assert_eq!(waiting(store), ["locked", "full"]);
        assert_eq!(store.stock("P2"), "11");
        store.execute("COMMIT");
        store.expire().run().exits(3);
        assert_eq!(waiting(store), ["full"]);
    });
}
