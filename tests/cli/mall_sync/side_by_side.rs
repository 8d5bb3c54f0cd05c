//! Many malls in one command: a failure of one does not affect the others.

use rustix::process::Signal;
use serde_json::json;

use super::{Shops, member};
use crate::support::{eventually, on_both_databases};

on_both_databases![
    one_malls_failure_does_not_affect_the_others,
    an_unreachable_mall_does_not_affect_the_others_even_in_sequence,
    a_mall_with_an_unknown_time_zone_does_not_affect_the_others,
    when_all_fail_the_command_fails,
    a_stop_ends_all_malls,
    the_next_command_repeats_only_what_failed,
    a_terminal_shows_a_line_for_each_mall,
];

/// Three malls with a member each.
fn three(shops: &Shops) {
    for mall in ["second", "third"] {
        shops.open(mall);
    }
    for mall in ["demo", "second", "third"] {
        shops.control(mall, "data", json!({ "members": [member(mall, "2026-11-19T10:00:00+09:00")] }));
    }
}

fn one_malls_failure_does_not_affect_the_others(shops: &Shops) {
    three(shops);
    shops.control("second", "settings", json!({ "revoked": true }));

    let ran = shops.batchctl(["mall", "sync", "--domain", "member"]).run().exits(3);

    ran.says("mall sync second member 2026-11-19 failed").says("runs retry");
    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["demo"], ["third"]]);
    assert_eq!(
        shops.sql("SELECT instance_key, status FROM batch_execution ORDER BY instance_key"),
        [
            ["demo member 2026-11-19", "COMPLETED"],
            ["second member 2026-11-19", "FAILED"],
            ["third member 2026-11-19", "COMPLETED"]
        ]
    );
    shops.batchctl(["mall", "sync", "--domain", "member", "--allow-partial"]).run().succeeds();
}

fn an_unreachable_mall_does_not_affect_the_others_even_in_sequence(shops: &Shops) {
    three(shops);
    shops.control("demo", "faults", json!({ "rules": [{ "path": "admin", "fault": "reset", "times": -1 }] }));

    shops.batchctl(["mall", "sync", "--domain", "member", "--concurrency", "1"]).run().exits(3);

    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["second"], ["third"]]);
}

fn a_mall_with_an_unknown_time_zone_does_not_affect_the_others(shops: &Shops) {
    three(shops);
    shops.execute("UPDATE malls SET time_zone = 'Asia/Tokio' WHERE code = 'second'");

    let ran = shops.batchctl(["mall", "sync", "--domain", "member"]).run().exits(3);

    ran.says("mall sync second member").says("Asia/Tokio");
    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["demo"], ["third"]]);
}

fn when_all_fail_the_command_fails(shops: &Shops) {
    three(shops);
    for mall in ["demo", "second", "third"] {
        shops.control(
            mall,
            "faults",
            json!({ "rules": [{ "path": "admin", "fault": "reset", "times": -1 }] }),
        );
    }

    let ran = shops.batchctl(["mall", "sync"]).run().exits(75);

    assert!(ran.stderr.lines().count() <= 20, "cron's mail is short: {}", ran.stderr);
    assert_eq!(shops.members(), "0");
}

fn a_stop_ends_all_malls(shops: &Shops) {
    three(shops);
    for mall in ["demo", "second", "third"] {
        shops.control(
            mall,
            "faults",
            json!({ "rules": [{ "path": "admin", "fault": "hold", "times": -1 }] }),
        );
    }
    let mut running = shops.batchctl(["mall", "sync"]).spawn();
    let held = |mall: &str| shops.summary(mall)["held"] == 1;
    eventually(|| ["demo", "second", "third"].into_iter().all(held), "all three are at work");

    running.signal(Signal::TERM);

    running.wait().exits(143);
    for mall in ["demo", "second", "third"] {
        shops.control(mall, "release", json!({}));
    }
    assert_eq!(
        shops.sql("SELECT status, COUNT(*) FROM batch_execution GROUP BY status"),
        [["STOPPED", "3"]],
        "no further domain was started"
    );
}

fn the_next_command_repeats_only_what_failed(shops: &Shops) {
    three(shops);
    shops.control(
        "second",
        "faults",
        json!({ "rules": [{ "path": "admin", "fault": "status", "status": 422 }] }),
    );
    shops.batchctl(["mall", "sync", "--domain", "member"]).run().exits(3);
    let before = shops.calls().len();

    shops.batchctl(["mall", "sync", "--domain", "member"]).run().succeeds().is_silent();

    assert_eq!(shops.members(), "3");
    assert_eq!(shops.calls().len(), before, "what was complete is not requested again");
    assert_eq!(
        shops
            .sql("SELECT attempt, status FROM batch_execution WHERE instance_key LIKE 'second%' ORDER BY id"),
        [["1", "FAILED"], ["2", "COMPLETED"]]
    );
}

fn a_terminal_shows_a_line_for_each_mall(shops: &Shops) {
    three(shops);
    for mall in ["demo", "second", "third"] {
        shops.control(
            mall,
            "generate",
            json!({ "members": {
            "count": 30, "from": "2026-11-19T11:00:00+09:00", "same_second": 1, "step_seconds": 1
        } }),
        );
        let slow = json!([{ "path": "customersprivacy", "fault": "slow", "seconds": 0.4, "times": -1 }]);
        shops.control(mall, "faults", json!({ "rules": slow }));
    }

    let ran = shops
        .batchctl(["mall", "sync", "--domain", "member", "--page-size", "10"])
        .run_on_terminal("")
        .succeeds();

    for mall in ["demo", "second", "third"] {
        let line = format!("mall sync {mall} member 2026-11-19: 31 members: 31 new");
        assert!(ran.stdout.contains(&line), "{line} in\n{}", ran.stdout);
        let bar = ran.stdout.lines().any(|line| {
            line.contains(&format!("{mall} member 2026-11-19"))
                && line.contains("/31")
                && line.contains(" left")
        });
        assert!(bar, "a bar for {mall} with its end and the time left in\n{}", ran.stdout);
    }
    assert_eq!(
        shops.calls()[0]["path"],
        "/api/v2/admin/customersprivacy/count",
        "a bar needs to know its end"
    );
}
