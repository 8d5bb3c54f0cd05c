//! Reservations that are not where they are looked for: the mall was renamed, its keys were, or Redis is another one.

use rustix::process::Signal;

use super::Store;
use crate::support::redis::{Redis, free_port, run};
use crate::support::{Batchctl, Line, on_both_databases};

on_both_databases![
    a_mall_that_is_renamed_meanwhile_gets_its_reservations_back,
    keys_that_are_called_otherwise_meanwhile_are_found,
    a_key_that_has_become_another_malls_is_left_alone,
    another_database_of_redis_gets_nothing_and_loses_nothing,
    a_mall_that_was_renamed_before_is_missed_in_redis,
    a_mall_of_which_redis_has_nothing_is_accepted_once,
    orders_without_reservations_are_no_failure,
    a_copy_of_the_stock_without_reservations_is_not_believed,
    what_was_given_back_before_a_kill_is_believed,
    what_one_redis_may_have_given_back_is_not_believed_of_another,
    a_mall_that_is_kept_elsewhere_by_now_has_a_way_out,
    one_mall_in_doubt_leaves_the_others,
    nobody_is_told_twice_because_a_mall_was_renamed,
];

const TWO: [Line; 1] =
    [Line { key: None, product: "P1", name: "Tea", quantity: 2, unit_price: 1000, discount: 0, tax: 0 }];

/// A product with 100 pieces here and in Redis, and so many orders of two of them each that wait and have reserved them.
fn reserved(store: &Store, redis: &Redis, orders: usize) {
    store.product("P1", Some(100));
    redis.command::<()>(&["SET", "stock:tokyo:P1", "100"]);
    reserve(store, redis, 1..=orders);
}

fn reserve(store: &Store, redis: &Redis, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        let number = format!("A{number}");
        store.order(store.waiting(&number, None, &TWO));
        redis.command::<()>(&["HSET", &format!("reservation:tokyo:{number}"), "P1", "2"]);
    }
}

fn expire(store: &Store, redis: &Redis) -> Batchctl {
    store.expire().env("BATCHCTL_REDIS_URL", redis.url())
}

/// The orders expire while Redis is down.
fn expired(store: &Store) {
    let down = format!("redis://127.0.0.1:{}", free_port());
    store.expire().env("BATCHCTL_REDIS_URL", down).run().exits(75);
}

fn rename(store: &Store) {
    store.execute("UPDATE malls SET code = 'osaka' WHERE code = 'tokyo'");
}

fn waiting(store: &Store) -> usize {
    store.count("stock_releases WHERE state = 'WAITING'")
}

/// What is left of the product, and how many reservations there are.
fn in_redis(redis: &Redis) -> (i64, usize) {
    let keys: Vec<String> = redis.command(&["KEYS", "*reserv*"]);
    (redis.command(&["GET", "stock:tokyo:P1"]), keys.len())
}

fn a_mall_that_is_renamed_meanwhile_gets_its_reservations_back(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 12);
    expired(store);
    rename(store);
    expire(store, &redis).run().succeeds();
    assert_eq!((in_redis(&redis), waiting(store)), ((124, 0), 0));
    assert_eq!(store.summary(), "released 12 reservations (24 units)");
}

fn keys_that_are_called_otherwise_meanwhile_are_found(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 3);
    expired(store);
    store.configure(
        "[stock.redis]\nstock = 'left:{mall}:{product}'\nreservation = 'reserved:{mall}:{order}'\n",
    );
    // The application has renamed one of its reservations, and the stock.
    redis.command::<()>(&["RENAME", "reservation:tokyo:A2", "reserved:tokyo:A2"]);
    redis.command::<()>(&["RENAME", "stock:tokyo:P1", "left:tokyo:P1"]);
    expire(store, &redis).run().succeeds();
    assert_eq!(redis.command::<Vec<String>>(&["KEYS", "*"]), ["left:tokyo:P1"]);
    assert_eq!((redis.command::<i64>(&["GET", "left:tokyo:P1"]), waiting(store)), (106, 0));
}

fn a_key_that_has_become_another_malls_is_left_alone(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 1);
    expired(store);
    rename(store);
    let other = store.0.mall("tokyo", "Asia/Tokyo", "JPY");
    store.execute(&format!("UPDATE malls SET platform = 'app' WHERE id = {}", other.id));
    expire(store, &redis)
        .run()
        .exits(1)
        .says("osaka/A1: the reservation `reservation:tokyo:A1` of an order of mall `osaka` may be one of mall `tokyo` by now");
    assert_eq!((in_redis(&redis), waiting(store)), ((100, 1), 1));
}

fn another_database_of_redis_gets_nothing_and_loses_nothing(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 3);
    let wrong = format!("{}/3", redis.url());
    let ran = store.expire().env("BATCHCTL_REDIS_URL", &wrong).run().exits(1);
    ran.says(&format!("because none is in Redis at `127.0.0.1:{}/3`", redis.port()))
        .says("mall `tokyo` (3 reservations, and no product's stock either)")
        .says("the number at its end is that of its database")
        .says("BATCHCTL_REDIS_URL")
        .says("order expire --mall tokyo --accept-missing");
    assert_eq!(store.count("orders WHERE status = 'ORDER_CANCELLED'"), 3);
    assert!(store.summary().ends_with("; 3 reservations left to the next run"), "{}", store.summary());
    assert_eq!(
        store
            .sql(
                "SELECT state, attempts, units, asked_redis, COUNT(*) FROM stock_releases GROUP BY 1, 2, 3, 4"
            )
            .len(),
        1
    );
    // It is told again as long as it is so, and heals by itself.
    store.expire().env("BATCHCTL_REDIS_URL", &wrong).run().exits(1);
    assert_eq!(waiting(store), 3);
    expire(store, &redis).run().succeeds();
    assert_eq!((in_redis(&redis), waiting(store)), ((106, 0), 0));
}

fn a_mall_that_was_renamed_before_is_missed_in_redis(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 3);
    expire(store, &redis).run().succeeds();
    reserve(store, &redis, 4..=6);
    rename(store);
    expire(store, &redis).run().exits(1).says("mall `osaka` (3 reservations, and no product's stock either)");
    // The application knows of the new name, but not in the reservations that were there before.
    redis.command::<()>(&["SET", "stock:osaka:P1", "200"]);
    expire(store, &redis)
        .run()
        .exits(1)
        .says("mall `osaka` (3 reservations, where keys were called something else when one was last found)");
    assert_eq!((in_redis(&redis), waiting(store)), ((106, 3), 3));
    // With the keys as they are called they are found, whatever they were taken to be called when their orders expired.
    store.configure(
        "[stock.redis]\nreservation = 'reservation:tokyo:{order}'\nstock = 'stock:tokyo:{product}'\n",
    );
    expire(store, &redis).run().succeeds();
    assert_eq!((in_redis(&redis).1, waiting(store)), (0, 0));
    let both: Vec<i64> = redis.command(&["MGET", "stock:tokyo:P1", "stock:osaka:P1"]);
    assert_eq!(both, [112, 200]);
}

fn a_mall_of_which_redis_has_nothing_is_accepted_once(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    store.product("P1", Some(100));
    store.order(store.waiting("A1", None, &TWO));
    expire(store, &redis).run().exits(1).says("mall `tokyo` (1 reservation, and no product's stock either)");
    store
        .batchctl(["order", "expire", "--accept-silence", "--accept-missing"])
        .env("BATCHCTL_REDIS_URL", redis.url())
        .run()
        .succeeds();
    assert_eq!(store.sql("SELECT state, units FROM stock_releases"), [["RELEASED", "NULL"]]);
    // From then on nothing is expected there, until one is found.
    store.order(store.waiting("A2", None, &TWO));
    expire(store, &redis).run().succeeds().is_silent();
    redis.command::<()>(&["SET", "stock:tokyo:P1", "100"]);
    reserve(store, &redis, 3..=3);
    expire(store, &redis).now("2026-11-20T01:05:00+09:00").run().succeeds();
    assert_eq!((in_redis(&redis), waiting(store)), ((102, 0), 0));
    store.order(store.waiting("A4", None, &TWO));
    let wrong = format!("{}/3", redis.url());
    let later = store.expire().env("BATCHCTL_REDIS_URL", &wrong).now("2026-11-20T01:10:00+09:00");
    later.run().exits(1).says("mall `tokyo` (1 reservation, and no product's stock either)");
}

fn orders_without_reservations_are_no_failure(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    store.product("P1", Some(100));
    redis.command::<()>(&["SET", "stock:tokyo:P1", "100"]);
    for number in 1..=30 {
        store.order(store.waiting(&format!("A{number}"), None, &TWO));
    }
    expire(store, &redis).run().succeeds().is_silent();
    assert_eq!((in_redis(&redis), waiting(store)), ((100, 0), 0));
    assert!(store.summary().ends_with("; 30 orders had no reservation"), "{}", store.summary());
}

fn a_copy_of_the_stock_without_reservations_is_not_believed(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 12);
    expire(store, &redis).run().succeeds();
    reserve(store, &redis, 13..=24);
    let wrong = format!("{}/3", redis.url());
    run::<()>(&mut redis.connect(3), &["SET", "stock:tokyo:P1", "100"]).unwrap();
    let ran = store.expire().env("BATCHCTL_REDIS_URL", &wrong).run().exits(1);
    ran.says("mall `tokyo` (12 reservations, where usually most are)");
    assert_eq!(waiting(store), 12);
    expire(store, &redis).run().succeeds();
    assert_eq!((in_redis(&redis), waiting(store)), ((148, 0), 0));
}

fn what_was_given_back_before_a_kill_is_believed(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 12);
    expire(store, &redis).run().succeeds();
    reserve(store, &redis, 13..=24);
    expire(store, &redis).failpoint("released=kill").run().is_killed_by(Signal::KILL);
    assert_eq!((in_redis(&redis), waiting(store)), ((148, 0), 12));
    expire(store, &redis).run().succeeds().is_silent();
    assert_eq!((in_redis(&redis), waiting(store)), ((148, 0), 0));
}

fn what_one_redis_may_have_given_back_is_not_believed_of_another(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 12);
    expire(store, &redis).run().succeeds();
    reserve(store, &redis, 13..=24);
    // Killed before it has heard whether they were given back, which they were not.
    expire(store, &redis).failpoint("releases-noted=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(waiting(store), 12);
    let other = Redis::start().unwrap();
    other.command::<()>(&["SET", "stock:tokyo:P1", "124"]);
    let ran = expire(store, &other).run().exits(1);
    ran.says("12 reservations, where usually most are");
    assert_eq!(waiting(store), 12);
    expire(store, &redis).run().succeeds();
    assert_eq!((in_redis(&redis), waiting(store)), ((148, 0), 0));
}

fn a_mall_that_is_kept_elsewhere_by_now_has_a_way_out(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 2);
    expired(store);
    redis.command::<()>(&["FLUSHDB"]);
    store.execute("UPDATE malls SET platform = 'cafe24' WHERE code = 'tokyo'");
    let ran = expire(store, &redis).run().exits(1);
    ran.says("order expire --accept-missing");
    let words = ["order", "expire", "--accept-missing"];
    store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url()).run().succeeds();
    assert_eq!(waiting(store), 0);
    expire(store, &redis).run().succeeds();
}

fn one_mall_in_doubt_leaves_the_others(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 3);
    let other = store.0.mall("osaka", "Asia/Tokyo", "JPY");
    store.execute(&format!("UPDATE malls SET platform = 'app' WHERE id = {}", other.id));
    store.order(crate::support::Order { mall: other, ..store.waiting("B1", None, &TWO) });
    expire(store, &redis).run().exits(1).says("mall `osaka` (1 reservation, and no product's stock either)");
    assert_eq!((in_redis(&redis), waiting(store)), ((106, 0), 1));
    let accepting = |mall: &str| {
        let words = ["order", "expire", "--accept-silence", "--accept-missing", "--mall", mall];
        store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url()).run()
    };
    // Nobody has accepted anything for this one.
    accepting("tokyo").exits(1);
    assert_eq!(waiting(store), 1);
    accepting("osaka").succeeds();
    assert_eq!(waiting(store), 0);
}

fn nobody_is_told_twice_because_a_mall_was_renamed(store: &Store) {
    store.member("M1");
    store.order(store.waiting("A1", Some("M1"), &[]));
    store.expire().run().succeeds();
    rename(store);
    store.execute("UPDATE orders SET status = 'PAYMENT_WAIT', cancelled_at = NULL, cancel_reason = NULL");
    store.expire().run().succeeds();
    assert_eq!(store.count("outbox_events WHERE event_type = 'order.cancelled'"), 2);
    assert_eq!(store.sql("SELECT dedup_key FROM notifications"), [["order-expired:1/A1"]]);
}
