//! An order that expired and was opened again by its application can expire again, and what it has reserved is its own until
//! then.

use super::Store;
use crate::support::redis::{Redis, free_port};
use crate::support::{Batchctl, Line, on_both_databases};

on_both_databases![
    an_order_that_was_opened_again_expires_again,
    what_an_order_has_reserved_that_was_opened_again_is_left_to_it,
    the_number_of_a_deleted_order_in_a_new_one_loses_no_unit,
];

const TWO: [Line; 1] =
    [Line { key: None, product: "P1", name: "Tea", quantity: 2, unit_price: 1000, discount: 0, tax: 0 }];

/// A product with 10 pieces, in the database and in Redis.
fn stocked(store: &Store, redis: &Redis) {
    store.product("P1", Some(10));
    redis.command::<()>(&["SET", "stock:tokyo:P1", "10"]);
}

fn reserve(redis: &Redis, order_no: &str) {
    redis.command::<i64>(&["DECRBY", "stock:tokyo:P1", "2"]);
    redis.command::<()>(&["HSET", &format!("reservation:tokyo:{order_no}"), "P1", "2"]);
}

/// What an application does that lets a customer pay after all.
fn open_again(store: &Store, order_no: &str) {
    store.execute(&format!(
        "UPDATE orders SET status = 'PAYMENT_WAIT', cancelled_at = NULL, cancel_reason = NULL WHERE order_no = '{order_no}'"
    ));
    store.execute("UPDATE stock SET quantity = quantity - 2");
}

fn in_redis(redis: &Redis) -> (i64, Vec<String>) {
    (redis.command(&["GET", "stock:tokyo:P1"]), redis.command(&["KEYS", "reservation:*"]))
}

fn expire(store: &Store, url: &str) -> Batchctl {
    store.expire().env("BATCHCTL_REDIS_URL", url)
}

fn an_order_that_was_opened_again_expires_again(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    stocked(store, &redis);
    store.order(store.waiting("A1", None, &TWO));
    reserve(&redis, "A1");
    expire(store, &redis.url()).run().succeeds();
    assert_eq!((store.stock("P1"), in_redis(&redis)), ("12".to_owned(), (10, vec![])));
    open_again(store, "A1");
    reserve(&redis, "A1");
    expire(store, &redis.url()).now("2026-11-20T01:20:00+09:00").run().succeeds();
    assert_eq!((store.stock("P1"), in_redis(&redis)), ("12".to_owned(), (10, vec![])));
    assert_eq!(
        store.sql("SELECT order_no, state, units, created_at FROM stock_releases"),
        [["A1", "RELEASED", "2", "2026-11-19T16:20:00+00:00"]]
    );
}

fn what_an_order_has_reserved_that_was_opened_again_is_left_to_it(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    stocked(store, &redis);
    for number in ["A1", "A2"] {
        store.order(store.waiting(number, None, &TWO));
        reserve(&redis, number);
    }
    let down = format!("redis://127.0.0.1:{}", free_port());
    expire(store, &down).run().exits(75);
    assert_eq!(store.count("stock_releases WHERE state = 'WAITING'"), 2);
    open_again(store, "A1");
    store.execute(
        "UPDATE orders SET status = 'PAID', paid_at = '2026-11-19T16:00:00+00:00' WHERE order_no = 'A1'",
    );
    expire(store, &redis.url()).run().succeeds();
    assert_eq!(in_redis(&redis), (8, vec!["reservation:tokyo:A1".to_owned()]), "those of A1 are sold");
    assert_eq!(store.summary(), "released 1 reservation (2 units), 1 order was opened again");
    assert_eq!(store.sql("SELECT order_no, state FROM stock_releases"), [["A2", "RELEASED"]]);
}

/// SQLite gives the ID of the newest order to the next one, once it was deleted.
fn the_number_of_a_deleted_order_in_a_new_one_loses_no_unit(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    stocked(store, &redis);
    store.order(store.waiting("A1", None, &TWO));
    reserve(&redis, "A1");
    let down = format!("redis://127.0.0.1:{}", free_port());
    expire(store, &down).run().exits(75);
    store.execute("DELETE FROM order_items");
    store.execute("DELETE FROM orders");
    let id = store.order(store.waiting("B1", None, &TWO));
    store.execute(&format!("UPDATE stock_releases SET order_id = {id}"));
    reserve(&redis, "B1");
    expire(store, &redis.url()).run().succeeds();
    assert_eq!((in_redis(&redis), store.stock("P1")), ((10, vec![]), "14".to_owned()));
    assert_eq!(store.count("stock_releases WHERE state = 'RELEASED' AND units = 2"), 2);
}
