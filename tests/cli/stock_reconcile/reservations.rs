//! What orders have reserved: it is no difference, unless nobody needs it any more.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::{Stock, key};
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![
    what_orders_have_reserved_is_no_difference,
    what_orders_have_reserved_puts_no_mall_in_doubt,
    redis_has_too_much_if_it_has_as_much_as_the_database_and_something_is_reserved,
    a_reservation_that_comes_and_goes_makes_no_difference,
    an_orphaned_reservation_is_given_back_once,
    whoever_has_read_an_orphaned_reservation_does_not_hide_it,
    a_reservation_that_somebody_has_touched_since_is_kept,
    an_order_that_is_placed_before_the_repair_keeps_its_units,
    a_reservation_that_changes_before_the_repair_is_left_alone,
    a_time_after_which_live_orders_would_be_robbed_is_refused,
    a_reservation_that_is_too_large_is_not_read_and_nothing_is_guessed,
];

/// An order that has reserved units of a product in Redis, which has so much less than the database.
fn reserve(stock: &Stock<'_>, order: &str, product: &str, units: i64) {
    stock.redis.command::<()>(&["HSET", &format!("reservation:tokyo:{order}"), product, &units.to_string()]);
}

fn cancelled<'o>(stock: &Stock<'_>, order_no: &'o str, cancelled_at: &'o str) -> Order<'o> {
    let mall = stock.mall;
    let cancelled_at = Some(cancelled_at);
    Order { mall, order_no, status: "ORDER_CANCELLED", paid_at: None, cancelled_at, ..Order::default() }
}

fn what_orders_have_reserved_is_no_difference(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    // An order that is about to be placed, one that was cancelled a moment ago, and one whose release waits.
    stock.product("NEW", 10);
    stock.set("NEW", 8);
    reserve(&stock, "A-1", "NEW", 2);
    stock.product("CANCELLED", 10);
    stock.set("CANCELLED", 9);
    reserve(&stock, "A-2", "CANCELLED", 1);
    shop.order(cancelled(&stock, "A-2", "2026-11-20T00:59:00+09:00"));
    stock.product("WAITS", 10);
    stock.set("WAITS", 7);
    reserve(&stock, "A-3", "WAITS", 3);
    let order = shop.order(cancelled(&stock, "A-3", "2026-11-18T00:00:00+09:00"));
    shop.execute(&format!(
        "INSERT INTO stock_releases (order_id, mall_id, order_no, state, attempts, due_at, created_at, updated_at)
         VALUES ({order}, {}, 'A-3', 'WAITING', 0, {at}, {at}, {at})",
        stock.mall.id,
        at = "'2026-11-19T16:00:00+00:00'"
    ));
    // The database has counted this one: its reservation explains nothing.
    stock.product("PAID", 10);
    stock.set("PAID", 9);
    reserve(&stock, "A-4", "PAID", 1);
    shop.order(Order { mall: stock.mall, order_no: "A-4", ..Order::default() });
    // One that is missing besides what is reserved of it.
    stock.product("BOTH", 10);
    stock.set("BOTH", 5);
    reserve(&stock, "A-1", "BOTH", 2);
    // Reservations that are none.
    stock.redis.command::<()>(&["SET", "reservation:tokyo:A-5", "x"]);
    reserve(&stock, "A-6", "BOTH", -7);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(
        stock.differences(),
        ["BOTH 10 5 RESERVATION_LEAKED 8 REPAIRED", "PAID 10 9 RESERVATION_LEAKED 10 REPAIRED"]
    );
    assert_eq!(
        ["NEW", "CANCELLED", "WAITS", "BOTH"].map(|code| stock.get(code).unwrap_or_default()),
        ["8", "9", "7", "8"]
    );
}

fn what_orders_have_reserved_puts_no_mall_in_doubt(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    for number in 1..=30 {
        let code = format!("P{number:02}");
        stock.product(&code, 10);
        stock.set(&code, 9);
        reserve(&stock, &format!("A-{number}"), &code, 1);
    }
    stock.reconcile(&["--dry-run"]).run().succeeds().prints("no differences");
    stock.reconcile(&["--verbose"]).run().succeeds().says("compared 30 products: no differences");
    // What is left besides is what counts: up to 20 of them are believed.
    for number in 1..=20 {
        stock.set(&format!("P{number:02}"), 8);
    }
    stock.reconcile(&["--dry-run"]).run().succeeds().prints("Redis becomes 9");
    stock.set("P21", 8);
    stock
        .reconcile(&[])
        .run()
        .exits(1)
        .says("21 of 30 products compared differ, 0 of them without a key; nothing was repaired");
    assert_eq!((stock.get("P21").unwrap().as_str(), stock.differences().len()), ("8", 0));
    stock.reconcile(&["--accept-all"]).run().succeeds();
    assert_eq!((stock.get("P21").unwrap().as_str(), stock.differences().len()), ("9", 21));
}

fn redis_has_too_much_if_it_has_as_much_as_the_database_and_something_is_reserved(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    for (code, number) in [("SAME", 10), ("LESS", 9), ("RIGHT", 6), ("COUNTED", 10), ("ORPHANED", 10)] {
        stock.product(code, 10);
        stock.set(code, number);
    }
    for code in ["SAME", "LESS", "RIGHT", "GONE"] {
        reserve(&stock, "A-1", code, 4);
    }
    // One that the database has counted, and one that nobody needs any more.
    reserve(&stock, "A-2", "COUNTED", 4);
    shop.order(Order { mall: stock.mall, order_no: "A-2", ..Order::default() });
    reserve(&stock, "A-3", "ORPHANED", 4);
    age(&stock, "A-3", 7200);
    let shown = stock.reconcile(&["--dry-run", "--source", "redis"]).run().succeeds().stdout;
    for (code, becomes) in [("SAME", "the database becomes 14"), ("LESS", "the database becomes 13")] {
        assert!(shown.lines().any(|line| line.contains(code) && line.contains(becomes)), "{shown}");
    }
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(
        stock.differences(),
        ["LESS 10 9 LATE_DECREMENT 6 REPAIRED", "SAME 10 10 LATE_DECREMENT 6 REPAIRED"]
    );
    let now = ["SAME", "LESS", "RIGHT", "COUNTED", "ORPHANED"].map(|code| stock.get(code).unwrap());
    assert_eq!(now, ["6", "6", "6", "10", "10"]);
    stock.reconcile(&["--verbose"]).run().succeeds().says("compared 5 products: no differences");
}

/// Reservations that there are at a time: enough that each outlives its reading.
const ALIVE: u64 = 2_000;

fn a_reservation_that_comes_and_goes_makes_no_difference(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.configure_settling("1s", "");
    stock.product("BUSY", 10);
    stock.set("BUSY", 10);
    // Whenever it is looked at, other orders have a unit each; the numbers are the same again each time.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = stock.redis.connect(0);
            let mut order = 0;
            while !is_over.load(Ordering::Relaxed) {
                let [last, next] = [order, order + ALIVE].map(|order| format!("reservation:tokyo:A-{order}"));
                let mut script = redis::cmd("EVAL");
                script.arg("redis.call('HSET', KEYS[2], 'BUSY', '1'); redis.call('DEL', KEYS[1]); return 1");
                script.arg(2).arg(last).arg(next).query::<i64>(&mut connection).unwrap();
                order += 1;
            }
        });
        let ran = stock.reconcile(&["--verbose"]).run();
        is_over.store(true, Ordering::Relaxed);
        // Where the machine is too busy to read any of them in time, nothing seems to be reserved: no difference either.
        ran.succeeds().says("compared 1 product: no differences");
    });
    assert_eq!((stock.get("BUSY").unwrap().as_str(), stock.differences().len()), ("10", 0));
}

fn an_orphaned_reservation_is_given_back_once(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("OLD", 10);
    stock.set("OLD", 6);
    // Cancelled long ago, and never given back.
    reserve(&stock, "A-1", "OLD", 3);
    reserve(&stock, "A-1", "OTHER", 1);
    shop.order(cancelled(&stock, "A-1", "2026-11-19T00:00:00+09:00"));
    // Never placed.
    reserve(&stock, "A-2", "OLD", 1);
    age(&stock, "A-2", 3600);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["OLD 10 6 RESERVATION_LEAKED 10 REPAIRED"]);
    assert_eq!(stock.get("OLD").unwrap(), "10");
    // Whoever gives them back now gives back nothing.
    let left: Vec<String> = stock.redis.command(&["HGETALL", "reservation:tokyo:A-1"]);
    assert_eq!(left, ["OTHER", "1"]);
    assert_eq!(stock.redis.command::<i64>(&["EXISTS", "reservation:tokyo:A-2"]), 0);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences().len(), 1);
}

/// Lets so many seconds pass since a reservation was last touched.
fn age(stock: &Stock<'_>, order: &str, seconds: u32) {
    let mut connection = stock.redis.connect(0);
    let key = format!("reservation:tokyo:{order}");
    let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
    let mut restore = redis::cmd("RESTORE");
    restore.arg(&key).arg(0).arg(dump).arg("REPLACE").arg("IDLETIME").arg(seconds);
    restore.query::<()>(&mut connection).unwrap();
}

/// A product of which an order has reserved two units two hours ago and was never placed.
fn orphaned(stock: &Stock<'_>) {
    stock.product("OLD", 10);
    stock.set("OLD", 8);
    reserve(stock, "A-1", "OLD", 2);
    age(stock, "A-1", 7200);
}

fn whoever_has_read_an_orphaned_reservation_does_not_hide_it(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    orphaned(&stock);
    for _ in 0..2 {
        stock.reconcile(&["--dry-run"]).run().succeeds().prints("Redis becomes 10");
    }
    assert_eq!(stock.get("OLD").unwrap(), "8");
    let idle: u64 = stock.redis.command(&["OBJECT", "IDLETIME", "reservation:tokyo:A-1"]);
    assert!(idle < 3600, "Redis itself does not know it any more");
    stock.reconcile(&[]).failpoint("reconcile-planned=kill").run().is_killed_by(Signal::KILL);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("OLD").unwrap(), "10");
    assert_eq!(stock.differences(), ["OLD 10 8 RESERVATION_LEAKED 10 REPAIRED"]);
    // What is gone is forgotten.
    stock.set("OLD", 9);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_reservation_reads"), "0");
}

fn a_reservation_that_somebody_has_touched_since_is_kept(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    orphaned(&stock);
    stock.reconcile(&["--dry-run"]).run().succeeds().prints("Redis becomes 10");
    // The customer is back, three seconds after we have read the reservation.
    shop.execute(&format!(
        "UPDATE stock_reservation_reads SET read_at = {}",
        match shop.database() {
            crate::support::Database::Sqlite => "STRFTIME('%Y-%m-%dT%H:%M:%S+00:00', read_at, '-10 seconds')",
            crate::support::Database::Postgres => "read_at - INTERVAL '10 seconds'",
        }
    ));
    reserve(&stock, "A-1", "OLD", 2);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("OLD").unwrap(), "8");
    assert_eq!(stock.differences().len(), 0);
    // And gone again for longer than anybody takes.
    age(&stock, "A-1", 3601);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("OLD").unwrap(), "10");
}

fn an_order_that_is_placed_before_the_repair_keeps_its_units(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    orphaned(&stock);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    shop.execute("UPDATE stock SET quantity = 8");
    shop.order(Order {
        mall: stock.mall,
        order_no: "A-1",
        status: "PAYMENT_WAIT",
        paid_at: None,
        ..Order::default()
    });
    held.release().wait().succeeds();
    assert_eq!((stock.get("OLD").unwrap().as_str(), stock.quantity("OLD").as_str()), ("8", "8"));
    assert_eq!(stock.differences(), ["OLD 10 8 RESERVATION_LEAKED 10 MOVED"]);
    let left: Vec<String> = stock.redis.command(&["HGETALL", "reservation:tokyo:A-1"]);
    assert_eq!(left, ["OLD", "2"]);
    stock.reconcile(&["--verbose"]).run().succeeds().says("no differences");
}

fn a_reservation_that_changes_before_the_repair_is_left_alone(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    orphaned(&stock);
    let reservation = "reservation:tokyo:A-1";
    for change in [
        // Paid by an order that the database has counted before; another number of units; another program's key.
        &["DEL", reservation][..],
        &["HSET", reservation, "OLD", "1"],
        &["SET", reservation, "x"],
    ] {
        let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
        held.wait_until_reached();
        stock.redis.command::<()>(change);
        held.release().wait().succeeds();
        assert_eq!(stock.get("OLD").unwrap(), "8", "{change:?}");
        assert_eq!(
            shop.scalar("SELECT repair FROM stock_differences ORDER BY id DESC LIMIT 1"),
            "MOVED",
            "{change:?}"
        );
        stock.redis.command::<()>(&["DEL", reservation]);
        reserve(&stock, "A-1", "OLD", 2);
        age(&stock, "A-1", 7200);
    }
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("OLD").unwrap(), "10");
}

fn a_time_after_which_live_orders_would_be_robbed_is_refused(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("NEW", 10);
    stock.set("NEW", 8);
    reserve(&stock, "A-1", "NEW", 2);
    for length in ["0s", "300000000d"] {
        stock.configure(&format!("leaked_after = \"{length}\""));
        stock.reconcile(&[]).run().exits(78).says("leaked_after");
    }
    stock.configure_settling("0s", "");
    stock.reconcile(&[]).run().exits(78).says("`stock.reconcile.settle` is not from");
    assert_eq!(stock.get("NEW").unwrap(), "8");
    assert_eq!(stock.redis.command::<i64>(&["EXISTS", "reservation:tokyo:A-1"]), 1);
}

fn a_reservation_that_is_too_large_is_not_read_and_nothing_is_guessed(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 8);
    stock.set("GONE", 1);
    let script = "redis.call('HSET', KEYS[1], 'P1', '2', ARGV[1], string.rep('x', 60000000)); return 1";
    for (order, field) in [("A-1", "P2"), ("A-2", "P3"), ("A-3", "P4")] {
        stock.redis.command::<i64>(&["EVAL", script, "1", &format!("reservation:tokyo:{order}"), field]);
    }
    // Names that no row can have.
    let script = "redis.call('SET', KEYS[1] .. string.rep('x', 60000000), '1'); return 1";
    for prefix in ["stock:tokyo:a", "stock:tokyo:b", "reservation:tokyo:a"] {
        stock.redis.command::<i64>(&["EVAL", script, "1", prefix]);
    }
    stock
        .reconcile(&[])
        .run()
        .exits(3)
        .says("the reservation `reservation:tokyo:A-1` is larger than an order's")
        .says("tokyo/P1: Redis has 8")
        .says("a reservation of its mall cannot be read")
        .never_shows("xxxxx");
    assert_eq!((stock.get("P1").unwrap().as_str(), stock.get("GONE")), ("8", None));
    let peak: u64 =
        shop.scalar("SELECT peak_memory_bytes FROM batch_execution WHERE id = 1").parse().unwrap();
    assert!(peak < 100_000_000, "{peak} bytes");
    for order in ["A-1", "A-2", "A-3"] {
        stock.redis.command::<()>(&["DEL", &format!("reservation:tokyo:{order}")]);
    }
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.redis.command::<Option<String>>(&["GET", &key("P1")]).unwrap(), "10");
}
