//! What goes wrong on the way: the run is killed, Redis is down, slow, read-only, or refuses us.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Stock;
use crate::support::redis::{Answer, Redis, Way, fake, slow_way_to};
use crate::support::{Shop, eventually, on_both_databases};

on_both_databases![
    whatever_is_killed_each_difference_is_repaired_and_told_once,
    a_stock_that_moves_before_its_repair_is_repaired_by_as_many_units,
    a_key_that_appears_before_its_repair_is_not_overwritten,
    a_redis_that_is_down_changes_nothing,
    what_is_no_redis_changes_nothing,
    a_redis_that_is_killed_in_the_middle_is_compared_anew,
    a_replica_takes_no_repair,
    a_wrong_password_is_told,
    a_slow_redis_is_waited_for,
    a_redis_that_takes_two_seconds_a_command_is_given_up_at_the_deadline,
    a_deadline_in_the_middle_of_a_repair_leaves_its_plan,
    two_runs_at_once_repair_once,
    a_stop_is_heard_while_a_difference_settles,
    a_plan_is_settled_by_the_very_key_that_it_was_for,
];

fn whatever_is_killed_each_difference_is_repaired_and_told_once(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    // Plan, outcome and end are a commit each.
    for point in [
        "in-chunk",
        "at-commit",
        "reconcile-planned",
        "reconcile-repaired",
        "in-chunk@2",
        "at-commit@2",
        "in-chunk@3",
        "at-commit@3",
    ] {
        for table in ["stock_differences", "stock_reconciliations", "outbox_events"] {
            shop.execute(&format!("DELETE FROM {table}"));
        }
        stock.set("P1", 7);
        stock.reconcile(&[]).failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        stock.reconcile(&[]).run().succeeds();
        assert_eq!(stock.get("P1").unwrap(), "10", "{point}");
        assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"], "{point}");
        let events = stock.events();
        assert_eq!(events.len(), 1, "{point}");
        assert_eq!((&events[0]["differences"], &events[0]["repaired"]), (&1.into(), &1.into()), "{point}");
    }
}

fn a_stock_that_moves_before_its_repair_is_repaired_by_as_many_units(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    // Somebody buys two.
    stock.set("P1", 5);
    shop.execute("UPDATE stock SET quantity = 8");
    held.release().wait().succeeds();
    assert_eq!((stock.get("P1").unwrap().as_str(), stock.quantity("P1").as_str()), ("8", "8"));
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
    // Somebody corrects it by hand: then nothing is left to do.
    stock.set("P1", 6);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    stock.set("P1", 8);
    held.release().wait().succeeds();
    assert_eq!(stock.get("P1").unwrap(), "8");
    assert_eq!(stock.differences()[1], "P1 8 6 RESERVATION_LEAKED 8 MOVED");
}

fn a_key_that_appears_before_its_repair_is_not_overwritten(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("GONE", 4);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    stock.set("P1", 9);
    stock.set("GONE", 5);
    held.release().wait().succeeds();
    assert_eq!([stock.get("P1").unwrap(), stock.get("GONE").unwrap()], ["9", "5"]);
    assert!(stock.differences().iter().all(|row| row.ends_with("MOVED")), "{:?}", stock.differences());
}

fn a_redis_that_is_down_changes_nothing(shop: &Shop) {
    let Some(mut stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.redis.kill();
    stock.reconcile(&[]).run().exits(75).says("does not answer");
    assert_eq!(stock.differences().len(), 0);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_reconciliations"), "0");
}

fn what_is_no_redis_changes_nothing(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    let port = fake(|words| (words[0] == "EVALSHA").then(|| Answer::Bytes(b":7\r\n".to_vec())));
    let url = format!("redis://127.0.0.1:{port}");
    let ran = stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", url).run().exits(75);
    ran.says("Redis gave an answer that its script does not return");
    assert_eq!(stock.differences().len(), 0);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_reconciliations"), "0");
}

fn a_redis_that_is_killed_in_the_middle_is_compared_anew(shop: &Shop) {
    let Some(mut stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    stock.redis.restart();
    // The script is gone with the server, or the connection is.
    held.release().wait().exits(75);
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 PLANNED"]);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(
        stock.differences(),
        ["P1 10 7 RESERVATION_LEAKED 10 UNKNOWN", "P1 10 NULL MISSING_IN_REDIS 10 REPAIRED"]
    );
    assert_eq!(stock.get("P1").unwrap(), "10");
}

fn a_replica_takes_no_repair(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let port = stock.redis.port().to_string();
    let Some(replica) = Redis::start_with(&["--replicaof", "127.0.0.1", &port]) else { return };
    let mut connection = replica.connect(0);
    let mut stored = || redis::cmd("GET").arg(super::key("P1")).query::<Option<String>>(&mut connection);
    eventually(|| stored().is_ok_and(|stored| stored.is_some()), "the replica has the stock");
    stock
        .reconcile(&[])
        .env("BATCHCTL_REDIS_URL", replica.url())
        .run()
        .exits(75)
        .says("is a read-only replica");
    assert_eq!(stock.get("P1").unwrap(), "7");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
}

fn a_wrong_password_is_told(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    let Some(closed) = Redis::start_with(&["--requirepass", "right"]) else { return };
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", closed.port());
    let ran = stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", url("hunter2")).run().exits(78);
    ran.says("refuses the login").never_shows("hunter2");
    stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", url("right")).run().succeeds();
}

fn a_slow_redis_is_waited_for(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let slow = slow_way_to(stock.redis.port(), Duration::from_millis(100));
    stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", format!("redis://127.0.0.1:{slow}")).run().succeeds();
    assert_eq!(stock.get("P1").unwrap(), "10");
    // Longer than an exchange may take.
    let silent = slow_way_to(stock.redis.port(), Duration::from_mins(1));
    stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", format!("redis://127.0.0.1:{silent}")).run().exits(75);
}

/// How long a command takes there: far less than an exchange may, and far more than a comparison has room for.
const SLOW: Duration = Duration::from_secs(2);

fn a_redis_that_takes_two_seconds_a_command_is_given_up_at_the_deadline(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let slow = slow_way_to(stock.redis.port(), SLOW);
    let begun = Instant::now();
    let ran = stock
        .reconcile(&["--timeout", "5s"])
        .env("BATCHCTL_REDIS_URL", format!("redis://127.0.0.1:{slow}"))
        .run()
        .exits(124);
    let took = begun.elapsed();
    ran.says("timed out (run").says("the deadline passed (5s)");
    // Ten looks of two exchanges each would take forty seconds.
    assert!((5..20).contains(&took.as_secs()), "{took:?}");
    assert_eq!(stock.get("P1").unwrap(), "7");
    assert_eq!((stock.differences().len(), stock.events().len()), (0, 0));
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_reconciliations"), "0");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
}

fn a_deadline_in_the_middle_of_a_repair_leaves_its_plan(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let way = Way::to(stock.redis.port());
    // A repair is two commands, so that whenever its plan is reached the time is up before its answer comes.
    let mut held = stock
        .reconcile(&["--timeout", "4s"])
        .env("BATCHCTL_REDIS_URL", format!("redis://127.0.0.1:{}", way.port))
        .hold_at("reconcile-planned");
    held.wait_until_reached();
    way.slow_down(SLOW);
    held.release().wait().exits(124);
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 PLANNED"]);
    assert_eq!(stock.events().len(), 0);
    // The next run finds out what became of it: it is repaired and told once, whether Redis had heard of it or not.
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("P1").unwrap(), "10");
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
    assert_eq!(stock.events().len(), 1);
}

fn two_runs_at_once_repair_once(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.set("P1", 7);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    stock.reconcile(&[]).run().exits(75);
    held.release().wait().succeeds();
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
}

fn a_stop_is_heard_while_a_difference_settles(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    stock.configure_settling("5m", "");
    let mut running = stock.reconcile(&[]).real_clock().spawn();
    // It has asked Redis, and asks nothing more: it waits for the next look.
    let waits = |client: &str| client.contains("cmd=evalsha") && !client.contains(" idle=0 ");
    let is_paused = || stock.redis.command::<String>(&["CLIENT", "LIST"]).lines().any(waits);
    eventually(is_paused, "the next look is waited for");
    running.signal(Signal::TERM);
    let stopped = Instant::now();
    running.wait().exits(143);
    // A look is half a minute after the last one, and the grace 25 s.
    assert!(stopped.elapsed() < Duration::from_secs(15), "after {:?}", stopped.elapsed());
}

fn a_plan_is_settled_by_the_very_key_that_it_was_for(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let long = "x".repeat(1500);
    let codes = ["\0", "a\\0", long.as_str()];
    for code in codes {
        stock.set(code, 1);
    }
    stock.reconcile(&[]).failpoint("reconcile-planned=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_differences WHERE repair = 'PLANNED'"), "3");
    // Nothing was deleted yet: the first of these finds that out.
    stock.redis.command::<()>(&["SET", &super::key("a\\0"), "2"]);
    stock.reconcile(&[]).run().succeeds();
    let ends = "SELECT repair, COUNT(*) FROM stock_differences GROUP BY repair ORDER BY repair";
    assert_eq!(shop.sql(ends), [["REPAIRED", "3"], ["UNKNOWN", "1"]]);
    for code in codes {
        assert_eq!(stock.get(code), None, "{code:?}");
    }
}
