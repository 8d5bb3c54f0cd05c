//! Failures for a cause that passes: the runner requests the retry itself, says when, and tells the end.

use rustix::process::Signal;
use serde_json::json;

use super::{Shops, member};
use crate::support::{Answer, Batchctl, Webhook, on_both_databases};

on_both_databases![
    a_shop_that_is_down_for_an_hour_is_tried_again_by_itself,
    after_the_last_retry_the_failure_is_final_and_told,
    a_permanent_failure_is_not_tried_again,
    a_job_that_comes_round_within_the_hour_is_not_tried_again,
    the_retries_of_a_job_can_be_set,
    a_persons_request_goes_first_and_both_end,
    a_person_who_was_faster_leaves_nothing_to_retry,
    failed_items_are_tried_again_too,
    of_two_malls_the_one_that_was_down_comes_back_by_itself,
    a_retry_whose_processor_was_killed_is_done_once,
    a_dead_host_in_the_middle_of_a_retry_loses_nothing,
    a_start_that_was_lost_has_all_its_retries_when_it_is_made_up_for,
];

const OPS: &str = "[alerts]\ndev_channel = \"ops\"\n[[alerts.channel]]\nname = \"ops\"\nkind = \"webhook\"\n\
                   url_variable = \"OPS_URL\"\n";

/// The shop does not answer this often.
fn is_down(shops: &Shops, times: i64) {
    shops.faults(json!([{ "path": "admin", "fault": "status", "status": 503, "times": times }]));
}

/// A mall with a member whose shop is down.
fn down(shops: &Shops) -> Webhook {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    is_down(shops, -1);
    let ops = Webhook::start();
    for _ in 0..20 {
        ops.answer(Answer::Http(200, Vec::new(), String::new()));
    }
    ops
}

fn sync(shops: &Shops, ops: &Webhook) -> Batchctl {
    shops.sync("member").env("OPS_URL", ops.url("/"))
}

fn process(shops: &Shops, ops: &Webhook) -> Batchctl {
    shops.batchctl(["runs", "process-requests"]).env("OPS_URL", ops.url("/"))
}

/// Lets the pause of the waiting requests pass.
fn let_pause_pass(shops: &Shops) {
    shops.execute(
        "UPDATE batch_retry_request SET due_at = '2026-01-01T00:00:00+00:00' WHERE status = 'PENDING' AND due_at IS NOT NULL",
    );
}

/// Exit code 3 starts nothing in Kubernetes, and a CronJob that retried it would do the good mall again.
fn of_two_malls_the_one_that_was_down_comes_back_by_itself(shops: &Shops) {
    let ops = down(shops);
    shops.cafe24.configure(shops, OPS);
    shops.open("second");
    shops.control("second", "data", json!({ "members": [member("lee02", "2026-11-19T10:00:00+09:00")] }));
    let sync = ["mall", "sync", "--domain", "member"];

    let ran = shops.batchctl(sync).env("OPS_URL", ops.url("/")).run().exits(3);

    ran.says("mall sync demo member 2026-11-19 failed").says("next:  it will be tried again at 20");
    assert_eq!(shops.sql("SELECT member_code FROM members"), [["lee02"]]);
    is_down(shops, 0);
    let_pause_pass(shops);
    let calls = shops.cafe24.log("second")["summary"]["calls"].clone();
    process(shops, &ops).run().succeeds().is_silent();

    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["kim01"], ["lee02"]]);
    assert_eq!(shops.cafe24.log("second")["summary"]["calls"], calls, "the good mall is not read again");
    assert_eq!(
        shops.sql("SELECT instance_key, status FROM batch_execution WHERE job = 'mall sync' ORDER BY id DESC LIMIT 1"),
        [["demo member 2026-11-19", "COMPLETED"]]
    );
    assert_eq!(requests(shops).len(), 1);
    assert_eq!(requests(shops)[0][2], "DONE");
}

fn a_start_that_was_lost_has_all_its_retries_when_it_is_made_up_for(shops: &Shops) {
    let ops = down(shops);
    sync(shops, &ops).env("BATCHCTL_DATABASE_URL", "postgres://shop@127.0.0.1:1/shop").run().exits(75);
    process(shops, &ops).run();
    let waiting = "SELECT attempt FROM batch_retry_request WHERE status = 'PENDING'";
    assert_eq!(shops.sql(waiting), [["1"]], "the first attempt was made now: {:?}", requests(shops));
    for next in ["2", "3"] {
        let_pause_pass(shops);
        process(shops, &ops).run();
        assert_eq!(shops.sql(waiting), [[next]]);
    }
    let_pause_pass(shops);
    is_down(shops, 0);
    process(shops, &ops).run().succeeds();
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM members"), "1");
}

/// Run, attempt and status of the requests.
fn requests(shops: &Shops) -> Vec<Vec<String>> {
    shops.sql("SELECT execution_id, attempt, status FROM batch_retry_request ORDER BY id")
}

/// The minutes from the last sign of life of any run, by the machine's clock, to when the last request falls due.
fn pause(shops: &Shops) -> i64 {
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    let ended = shops.scalar("SELECT MAX(heartbeat_at) FROM batch_execution");
    let due = shops.scalar("SELECT due_at FROM batch_retry_request ORDER BY id DESC LIMIT 1");
    (at(&due) - at(&ended)).num_minutes()
}

/// Kind, status and error of the alerts.
fn told(ops: &Webhook) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    ops.requests()
        .iter()
        .map(|request| request.json())
        .map(|alert| (text(&alert["kind"]), alert["details"].to_string()))
        .collect()
}

fn a_shop_that_is_down_for_an_hour_is_tried_again_by_itself(shops: &Shops) {
    shops.cafe24.configure(shops, OPS);
    let ops = down(shops);

    sync(shops, &ops).run().exits(75).says("next:  it will be tried again at 20").says("(retry 1 of 3)");

    assert_eq!(requests(shops), [["1", "1", "PENDING"]]);
    assert!((8..=11).contains(&pause(shops)), "{}", pause(shops));
    process(shops, &ops).run().succeeds().is_silent();
    assert_eq!(requests(shops), [["1", "1", "PENDING"]], "it is not due yet");
    for (attempt, minutes) in [(1, 17..=22), (2, 35..=44)] {
        let_pause_pass(shops);
        process(shops, &ops).run().succeeds().is_silent();
        let waiting = requests(shops).pop().unwrap();
        assert_eq!(waiting[1..], [(attempt + 1).to_string(), "PENDING".to_owned()]);
        assert!(minutes.contains(&pause(shops)), "{}", pause(shops));
    }
    is_down(shops, 0);
    let_pause_pass(shops);
    process(shops, &ops).run().succeeds().is_silent();

    assert_eq!(shops.members(), "1");
    let statuses: Vec<String> = requests(shops).into_iter().map(|row| row[2].clone()).collect();
    assert_eq!(statuses, ["DONE", "DONE", "DONE"]);
    let [failure, recovery] = told(&ops).try_into().unwrap();
    assert_eq!(failure.0, "failure");
    assert!(failure.1.contains("it will be tried again at 20"), "{failure:?}");
    assert_eq!(recovery.0, "recovery");
}

fn after_the_last_retry_the_failure_is_final_and_told(shops: &Shops) {
    shops.cafe24.configure(shops, &format!("{OPS}[jobs.\"mall sync\"]\nretries = 2\nretry_pause = \"1m\"\n"));
    let ops = down(shops);
    sync(shops, &ops).run().exits(75).says("(retry 1 of 2)");
    for _ in 0..2 {
        let_pause_pass(shops);
        process(shops, &ops).run().succeeds().is_silent();
    }
    assert!(requests(shops).iter().all(|request| request[2] == "DONE"), "{:?}", requests(shops));
    let_pause_pass(shops);
    process(shops, &ops).run().succeeds().is_silent();
    assert_eq!(shops.runs().iter().filter(|run| run[2] == "FAILED").count(), 3);
    let [first, last] = told(&ops).try_into().unwrap();
    assert!(first.1.contains("it will be tried again"), "{first:?}");
    assert!(last.1.contains("given up after 2 retries"), "{last:?}");
}

fn a_permanent_failure_is_not_tried_again(shops: &Shops) {
    shops.control("demo", "settings", json!({ "revoked": true }));
    shops.sync("member").run().exits(1);
    assert_eq!(requests(shops), [[""; 3]; 0]);
}

fn a_job_that_comes_round_within_the_hour_is_not_tried_again(shops: &Shops) {
    shops.cafe24.configure(shops, "[jobs.\"mall sync\"]\nschedule = \"*/30 * * * *\"\n");
    let ops = down(shops);
    let ran = sync(shops, &ops).run().exits(75);
    assert!(!ran.stderr.contains("next:"), "{}", ran.stderr);
    assert_eq!(requests(shops), [[""; 3]; 0]);
}

fn the_retries_of_a_job_can_be_set(shops: &Shops) {
    shops.cafe24.configure(shops, "[jobs.\"mall sync\"]\nretries = 0\n");
    let ops = down(shops);
    sync(shops, &ops).run().exits(75);
    assert_eq!(requests(shops), [[""; 3]; 0]);
    shops.cafe24.configure(shops, "[jobs.\"mall sync\"]\nretries = 1\nretry_pause = \"3h\"\n");
    sync(shops, &ops).run().exits(75);
    assert_eq!(requests(shops), [["2", "1", "PENDING"]]);
    assert!((160..=199).contains(&pause(shops)), "{}", pause(shops));
}

fn a_persons_request_goes_first_and_both_end(shops: &Shops) {
    let ops = down(shops);
    sync(shops, &ops).run().exits(75);
    shops.batchctl(["runs", "request-retry", "1", "--reason", "the shop is back"]).run().succeeds();
    // The runner's is older and due too: it must not stand before a person's.
    let_pause_pass(shops);
    process(shops, &ops).run().succeeds();
    let [own, persons, next] = requests(shops).try_into().unwrap();
    assert_eq!((own[2].as_str(), persons[2].as_str()), ("DONE", "PENDING"), "a person's request stays open");
    assert_eq!(next[1..], ["2", "PENDING"]);
    let order =
        "SELECT attempt FROM batch_retry_request WHERE processed_at IS NOT NULL ORDER BY processed_at";
    assert_eq!(shops.sql(order), [["NULL"], ["1"]], "the person's went first");
    is_down(shops, 0);
    let_pause_pass(shops);
    process(shops, &ops).run().succeeds();
    assert!(requests(shops).iter().all(|request| request[2] == "DONE"), "{:?}", requests(shops));
    assert_eq!(shops.members(), "1");
}

fn a_person_who_was_faster_leaves_nothing_to_retry(shops: &Shops) {
    let ops = down(shops);
    sync(shops, &ops).run().exits(75);
    is_down(shops, 0);
    shops.batchctl(["runs", "retry", "1"]).run().succeeds();
    let_pause_pass(shops);
    process(shops, &ops).run().succeeds().is_silent();
    assert_eq!(requests(shops), [["1", "1", "DONE"]]);
    assert_eq!(shops.runs().iter().filter(|run| run[2] == "COMPLETED" && !run[0].is_empty()).count(), 1);
}

fn failed_items_are_tried_again_too(shops: &Shops) {
    shops.open("second");
    shops.control(
        "demo",
        "faults",
        json!({ "rules": [{ "path": "token", "fault": "status", "status": 503, "times": -1 }] }),
    );
    shops
        .batchctl(["mall", "token", "refresh", "--all"])
        .run()
        .exits(3)
        .says("next:  it will be tried again at");
    assert_eq!(requests(shops), [["1", "1", "PENDING"]]);
    is_down(shops, 0);
    let_pause_pass(shops);
    shops.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(requests(shops), [["1", "1", "DONE"]]);
    assert_eq!(shops.open_errors(), [[""; 2]; 0]);
}

fn a_retry_whose_processor_was_killed_is_done_once(shops: &Shops) {
    let ops = down(shops);
    sync(shops, &ops).run().exits(75);
    is_down(shops, 0);
    for failpoint in ["after-chunk=kill", "after-chunk@2=kill"] {
        let_pause_pass(shops);
        process(shops, &ops).failpoint(failpoint).run().is_killed_by(Signal::KILL);
        assert_eq!(requests(shops), [["1", "1", "RUNNING"]]);
    }
    process(shops, &ops).run().succeeds().is_silent();
    assert_eq!(requests(shops), [["1", "1", "DONE"]]);
    assert_eq!(shops.members(), "1");
    assert_eq!(shops.runs().iter().filter(|run| run[2] == "COMPLETED" && !run[0].is_empty()).count(), 1);
}

fn a_dead_host_in_the_middle_of_a_retry_loses_nothing(shops: &Shops) {
    let ops = down(shops);
    sync(shops, &ops).run().exits(75);
    is_down(shops, 0);
    let_pause_pass(shops);
    // The retry itself is killed at its own commit, and its processor with it.
    process(shops, &ops).failpoint("in-chunk@2=kill").run();
    process(shops, &ops).run();
    process(shops, &ops).run().succeeds().is_silent();
    assert!(requests(shops).iter().all(|request| request[2] == "DONE"), "{:?}", requests(shops));
    assert_eq!(shops.members(), "1");
}
