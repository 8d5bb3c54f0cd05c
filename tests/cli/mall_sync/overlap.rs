//! One mall and domain never runs twice at once; different ones run in parallel.

use serde_json::json;

use super::{Shops, member, order};
use crate::support::{eventually, on_both_databases};

on_both_databases![
    of_the_same_command_twice_one_runs_and_one_exits_75,
    of_two_commands_for_all_domains_one_does_them_all,
    two_periods_of_one_mall_never_run_at_once,
    those_who_wait_for_a_run_that_ends_partial_do_not_repeat_it,
    a_take_over_of_one_mall_does_not_affect_the_others,
    two_domains_of_one_mall_run_in_parallel_and_store_an_order_once,
    an_earlier_answer_does_not_overwrite_a_later_one,
    different_malls_run_in_parallel,
];

fn of_the_same_command_twice_one_runs_and_one_exits_75(shops: &Shops) {
    // After its commit: inside it SQLite lets nobody else write.
    let mut held = shops.sync("member").hold_at("after-chunk");
    held.wait_until_reached();

    let ran = shops.batchctl(["mall", "sync", "--domain", "member", "--on-overlap", "fail"]).run().exits(75);

    ran.says("mall sync demo member 2026-11-19 is already running").says("run 1 holds it");
    held.release().wait().succeeds();
    assert_eq!(shops.calls().len(), 2, "a refused run does not call the shop");
}

fn of_two_commands_for_all_domains_one_does_them_all(shops: &Shops) {
    let everything = ["mall", "sync", "--mall", "demo"];
    // While it reads its members, and then its orders, when the members are already complete.
    for (point, domain) in [("after-chunk@1", "member"), ("after-lease@2", "order")] {
        let mut held = shops.batchctl([&everything[..], &["--rerun"]].concat()).hold_at(point);
        held.wait_until_reached();

        let ran = shops.batchctl([&everything[..], &["--on-overlap", "fail"]].concat()).run().exits(75);

        ran.says(&format!("mall sync demo {domain} 2026-11-19 is already running"));
        held.release().wait().succeeds();
    }
    assert_eq!(
        shops.sql("SELECT status, COUNT(*) FROM batch_execution GROUP BY status ORDER BY status"),
        [["COMPLETED", "6"], ["REFUSED", "2"]]
    );
}

fn two_periods_of_one_mall_never_run_at_once(shops: &Shops) {
    shops.faults(json!([{ "path": "customersprivacy", "fault": "hold", "times": 1 }]));
    let first = shops.sync("member").spawn();
    eventually(|| shops.counted("held") == 1, "the first is running");
    let other = ["mall", "sync", "--domain", "member", "--from", "2026-11-01", "--to", "2026-11-18"];
    let later = [&other[..], &["--on-overlap", "fail"]].concat();
    shops.batchctl(later).run().exits(75).says("run 1 holds it");

    let mut second = shops.batchctl(["-v"].iter().chain(&other)).spawn();
    eventually(|| second.so_far().stderr.contains("waiting for run 1"), "the second waits");
    assert_eq!(shops.calls().len(), 1);
    assert!(!second.has_ended());
    shops.control("demo", "release", json!({}));

    first.wait().succeeds();
    second.wait().succeeds();
    assert_eq!(shops.calls().len(), 4);
}

fn those_who_wait_for_a_run_that_ends_partial_do_not_repeat_it(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({ "members": [member("kim01", day), { "_at": day, "member_id": "lee02" }] }));
    shops.faults(json!([{ "path": "customersprivacy", "fault": "hold", "times": 1 }]));
    let first = shops.sync("member").spawn();
    eventually(|| shops.counted("held") == 1, "the first is running");
    let mut waiting = [(); 2].map(|()| shops.batchctl(["-v", "mall", "sync", "--domain", "member"]).spawn());
    for waiting in &mut waiting {
        eventually(|| waiting.so_far().stderr.contains("waiting for run 1"), "it waits");
    }

    shops.control("demo", "release", json!({}));

    first.wait().exits(3);
    for waiting in waiting {
        waiting.wait().exits(3).says("was partly done by the run that it waited for").says("runs retry 1");
    }
    assert_eq!(shops.calls().len(), 2, "a page and its total");
    assert_eq!(shops.runs().len(), 1);
}

fn a_take_over_of_one_mall_does_not_affect_the_others(shops: &Shops) {
    shops.open("second");
    for mall in ["demo", "second"] {
        shops.control(mall, "data", json!({ "members": [member(mall, "2026-11-19T10:00:00+09:00")] }));
        shops.control(mall, "faults", json!({ "rules": [{ "path": "customersprivacy", "fault": "hold" }] }));
    }
    let first = shops.batchctl(["mall", "sync", "--domain", "member"]).spawn();
    let held = |mall: &str| shops.summary(mall)["held"] == 1;
    eventually(|| ["demo", "second"].into_iter().all(held), "both wait for their shop");
    shops.execute(
        "UPDATE batch_execution SET lease_expires_at = '2020-01-01T00:00:00+00:00' WHERE instance_key LIKE 'demo %'",
    );

    shops.sync("member").run().succeeds();
    for mall in ["demo", "second"] {
        shops.control(mall, "release", json!({}));
    }

    first.wait().exits(1).says("another one took over");
    assert_eq!(
        shops.sql("SELECT instance_key, status FROM batch_execution ORDER BY instance_key, id"),
        [
            ["demo member 2026-11-19", "CRASHED"],
            ["demo member 2026-11-19", "COMPLETED"],
            ["second member 2026-11-19", "COMPLETED"]
        ]
    );
}

fn two_domains_of_one_mall_run_in_parallel_and_store_an_order_once(shops: &Shops) {
    let orders: Vec<_> = (1..=900)
        .map(|number| order(&format!("20261119-{number:07}"), "kim01", "2026-11-19T10:00:00+09:00", number))
        .collect();
    shops.data(json!({ "orders": orders }));
    shops.faults(json!([{ "path": "orders", "fault": "hold", "times": 2 }]));

    let running = ["order", "sales"].map(|domain| shops.sync(domain).spawn());
    eventually(|| shops.counted("held") == 2, "both are running");
    shops.control("demo", "release", json!({}));

    for running in running {
        running.wait().succeeds().is_silent();
    }
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), "900");
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM order_items"), "900");
}

fn an_earlier_answer_does_not_overwrite_a_later_one(shops: &Shops) {
    let mut changed = order("20261119-0000001", "kim01", "2026-11-19T10:00:00+09:00", 1_000);
    shops.data(json!({ "orders": [changed] }));
    shops.faults(json!([{ "path": "order_date", "fault": "hold" }]));
    // Its answer is created now, and arrives when the other run is done.
    let earlier = shops.sync("order").spawn();
    eventually(|| shops.counted("held") == 1, "the earlier answer is made");
    changed["items"][0]["order_status"] = "N40".into();
    shops.data(json!({ "orders": [changed] }));
    // The server's clock has whole seconds.
    let made = crate::support::machine_time().timestamp();
    eventually(|| crate::support::machine_time().timestamp() > made + 1, "its clock advances");

    shops.sync("sales").run().succeeds();
    assert_eq!(shops.scalar("SELECT status FROM orders"), "DELIVERED");
    shops.control("demo", "release", json!({}));
    earlier.wait().succeeds();

    assert_eq!(shops.scalar("SELECT status FROM orders"), "DELIVERED");
}

fn different_malls_run_in_parallel(shops: &Shops) {
    for mall in ["second", "third"] {
        shops.open(mall);
    }
    for mall in ["demo", "second", "third"] {
        shops.control(mall, "data", json!({ "members": [member(mall, "2026-11-19T10:00:00+09:00")] }));
        shops.control(mall, "faults", json!({ "rules": [{ "path": "customersprivacy", "fault": "hold" }] }));
    }

    let running = shops.batchctl(["mall", "sync", "--domain", "member"]).spawn();
    let held = |mall: &str| shops.summary(mall)["held"] == 1;
    eventually(|| ["demo", "second", "third"].into_iter().all(held), "all three wait for their shop at once");
    for mall in ["demo", "second", "third"] {
        shops.control(mall, "release", json!({}));
    }

    running.wait().succeeds().is_silent();
    assert_eq!(shops.members(), "3");
}
