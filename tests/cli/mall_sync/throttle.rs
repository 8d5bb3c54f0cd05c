//! Throttles are obeyed before they have to be enforced.

use rustix::process::Signal;
use serde_json::json;

use super::Shops;
use crate::support::{eventually, on_both_databases};

on_both_databases![
    no_call_is_made_while_the_mall_is_blocked,
    a_block_outlives_the_process_that_learned_of_it,
    a_block_that_one_process_learns_of_stops_another_at_once,
    the_bucket_does_not_overflow,
    calls_stay_below_the_rate_that_counts_as_abuse,
    processes_of_one_mall_share_its_rate,
    a_block_that_is_too_long_to_wait_for_is_reported,
];

/// 100 members per page: 20 pages.
fn some(shops: &Shops) -> [&'static str; 6] {
    shops.generate(json!({ "members": {
        "count": 1_900, "from": "2026-11-19T00:00:00+09:00", "same_second": 3, "step_seconds": 1
    } }));
    ["mall", "sync", "--domain", "member", "--page-size", "100"]
}

fn no_call_is_made_while_the_mall_is_blocked(shops: &Shops) {
    let sync = some(shops);
    for kind in ["call", "time"] {
        shops.control(
            "demo",
            "settings",
            json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0,
                "usage_block": { "after": 4, "seconds": 2, "kind": kind } }),
        );
        shops.batchctl([&sync[..], &["--rerun"]].concat()).run().succeeds().is_silent();
    }
    assert_eq!(shops.counted("blocked_calls"), 0);
    assert_eq!(shops.members(), "1900");
}

fn a_block_outlives_the_process_that_learned_of_it(shops: &Shops) {
    let sync = some(shops);
    shops.control(
        "demo",
        "settings",
        json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0,
            "usage_block": { "after": 1, "seconds": 3, "kind": "call" } }),
    );
    shops.batchctl(sync).failpoint("after-chunk=kill").run().is_killed_by(Signal::KILL);

    shops.batchctl(sync).run().succeeds().is_silent();

    assert_eq!(shops.counted("blocked_calls"), 0);
    assert_eq!(shops.members(), "1900");
}

fn a_block_that_one_process_learns_of_stops_another_at_once(shops: &Shops) {
    let sync = some(shops);
    shops.faults(json!([{ "path": "customersprivacy", "fault": "hold" }]));
    let one = shops.batchctl(sync).spawn();
    eventually(|| shops.counted("held") == 1, "one is at work");
    shops.control(
        "demo",
        "settings",
        json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0,
            "usage_block": { "after": 1, "seconds": 3, "kind": "call" } }),
    );
    let other = shops.sync("order").spawn();
    eventually(|| shops.scalar("SELECT COUNT(*) FROM api_blocks") == "1", "the other learns of a block");

    shops.control("demo", "release", json!({}));

    one.wait().succeeds().is_silent();
    other.wait().succeeds().is_silent();
    assert_eq!(shops.counted("blocked_calls"), 0);
    assert_eq!(shops.members(), "1900");
}

fn the_bucket_does_not_overflow(shops: &Shops) {
    let sync = some(shops);
    shops.control("demo", "settings", json!({ "throttle": "real", "bucket": 10, "drain": 2.0 }));

    shops.batchctl(sync).run().succeeds().is_silent();

    assert_eq!(shops.counted("too_many"), 0);
    assert_eq!(shops.members(), "1900");
}

fn calls_stay_below_the_rate_that_counts_as_abuse(shops: &Shops) {
    let sync = some(shops);
    shops.control("demo", "settings", json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0 }));
    shops.write("batchctl.toml", shops.read("batchctl.toml").replace("calls_per_second = 0", ""));

    shops.batchctl(sync).run().succeeds().is_silent();

    assert_eq!(shops.counted("abuse"), 0);
    assert_eq!(shops.members(), "1900");
}

fn processes_of_one_mall_share_its_rate(shops: &Shops) {
    shops.generate(json!({
        "members": { "count": 900, "from": "2026-11-19T00:00:00+09:00", "step_seconds": 1 },
        "orders": { "count": 900, "from": "2026-11-19T00:00:00+09:00", "step_seconds": 1, "items": 1, "paid": true }
    }));
    shops.control("demo", "settings", json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0 }));
    shops.write("batchctl.toml", shops.read("batchctl.toml").replace("calls_per_second = 0", ""));

    let running = ["member", "order", "sales"]
        .map(|domain| shops.batchctl(["mall", "sync", "--domain", domain, "--page-size", "100"]).spawn());
    for running in running {
        running.wait().succeeds().is_silent();
    }

    assert!(shops.counted("calls") > 30, "{} calls", shops.counted("calls"));
    assert_eq!(shops.counted("abuse"), 0);
}

fn a_block_that_is_too_long_to_wait_for_is_reported(shops: &Shops) {
    let sync = some(shops);
    shops.control(
        "demo",
        "settings",
        json!({ "throttle": "real", "bucket": 1000, "drain": 1000.0,
            "usage_block": { "after": 2, "seconds": 7200, "kind": "call" } }),
    );

    shops.batchctl(sync).run().exits(75).says("Cafe24").says("2h");
    let calls = shops.calls().len();
    shops.batchctl(sync).run().exits(75);

    assert_eq!(shops.calls().len(), calls, "the next command knows of the block");
    assert_eq!(shops.counted("blocked_calls"), 0);
}
