//! The operators' commands: list, show, replay, purge.

use super::{consumed, counts, event, into_files, publish, purge};
use crate::support::{Sandbox, on_both_databases};

on_both_databases![
    a_list_is_newest_first_and_filtered,
    an_event_is_shown_with_everything_known_about_it,
    an_event_is_replayed_with_its_id_and_in_its_place,
    one_wrong_number_changes_nothing,
    many_events_are_replayed_by_filter,
    old_published_events_are_purged_and_others_never,
];

const THEN: &str = "2026-11-19T01:00:00+00:00";

fn set(sandbox: &Sandbox, id: &str, change: &str) {
    sandbox.execute(&format!("UPDATE outbox_events SET {change} WHERE id = {id}"));
}

/// The numbers in the first column of a list.
fn listed(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let ran = sandbox.batchctl(["events", "list"].iter().chain(arguments)).run().succeeds();
    let first = ran.stdout.lines().filter_map(|line| line.split_whitespace().next());
    first.filter(|word| word.parse::<u32>().is_ok()).map(str::to_owned).collect()
}

fn a_list_is_newest_first_and_filtered(sandbox: &Sandbox) {
    sandbox.batchctl(["events", "list"]).run().succeeds().prints("no events");
    for order in ["1", "2", "2", "3"] {
        event(sandbox, order, "{}");
    }
    set(sandbox, "1", &format!("published_at = '{THEN}', created_at = '{THEN}'"));
    set(sandbox, "2", &format!("dead_at = '{THEN}', attempts = 8, last_error = 'HTTP 422: no\u{1b}[31m'"));
    set(sandbox, "3", &format!("next_attempt_at = '{THEN}', attempts = 1, event_type = 'order.cancelled'"));
    assert_eq!(listed(sandbox, &[]), ["4", "3", "2", "1"]);
    assert_eq!(listed(sandbox, &["--state", "waiting"]), ["4", "3"]);
    assert_eq!(listed(sandbox, &["--state", "retry"]), ["3"]);
    assert_eq!(listed(sandbox, &["--state", "published"]), ["1"]);
    assert_eq!(listed(sandbox, &["--state", "dead"]), ["2"]);
    assert_eq!(listed(sandbox, &["--event-type", "order.cancelled"]), ["3"]);
    assert_eq!(listed(sandbox, &["--aggregate-type", "order", "--aggregate-id", "2"]), ["3", "2"]);
    assert_eq!(listed(sandbox, &["--until", "2026-11-20"]), ["1"]);
    assert_eq!(listed(sandbox, &["--limit", "2", "--before", "4"]), ["3", "2"]);
    sandbox.batchctl(["events", "list", "--limit", "1"]).run().succeeds().prints("--before 4 lists the next");
    let all = sandbox.batchctl(["events", "list"]).run().succeeds();
    all.prints("order 2").prints("dead").never_shows("\u{1b}");
    let json = sandbox.batchctl(["events", "list", "--format", "json", "--state", "dead"]).run().succeeds();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json[0]["id"], &json[0]["attempts"]), (&2.into(), &8.into()));
    sandbox.batchctl(["events", "list", "--aggregate-id", "2"]).run().exits(2);
}

fn an_event_is_shown_with_everything_known_about_it(sandbox: &Sandbox) {
    let id = event(sandbox, "1", "{\"name\": \"山田 花子\"}");
    set(
        sandbox,
        &id,
        &format!(
            "dead_at = '{THEN}', attempts = 8, last_error = 'HTTP 422: no', headers = '{{\"a\": \"b\"}}'"
        ),
    );
    let event_id = sandbox.scalar("SELECT event_id FROM outbox_events");
    let show = |arguments: &[&str]| sandbox.batchctl(["events", "show"].iter().chain(arguments)).run();
    for key in [id.as_str(), event_id.as_str(), &event_id.to_uppercase()] {
        show(&[key])
            .succeeds()
            .prints("type          order.paid")
            .prints("about         order 1")
            .prints("state         dead")
            .prints("given up      2026-11-19 10:00:00 JST")
            .prints("last error    HTTP 422: no")
            .prints(&event_id)
            .never_shows("花子");
    }
    show(&[&id, "--full"])
        .succeeds()
        .prints("{\"name\": \"山田 花子\"}")
        .prints("headers       {\"a\": \"b\"}");
    show(&["99"]).exits(1).says("there is no event 99");
    show(&["nothing"]).exits(1).says("there is no event nothing");
}

fn an_event_is_replayed_with_its_id_and_in_its_place(sandbox: &Sandbox) {
    into_files(sandbox);
    for number in 1..=3 {
        event(sandbox, "1", &format!("{{\"n\": {number}}}"));
    }
    set(sandbox, "2", &format!("dead_at = '{THEN}', attempts = 8, last_error = 'HTTP 422'"));
    publish(sandbox).run().succeeds();
    event(sandbox, "1", "{\"n\": 4}");
    sandbox.batchctl(["-v", "events", "replay", "2", "3"]).run().succeeds().says("Replayed 2 events");
    assert_eq!(
        sandbox.sql("SELECT published_at, dead_at, attempts, next_attempt_at, last_error FROM outbox_events WHERE id = 2"),
        [["NULL", "NULL", "0", "NULL", "NULL"]]
    );
    publish(sandbox).run().succeeds();
    let log = consumed(sandbox);
    let numbers: Vec<i64> = log.iter().map(|event| event["payload"]["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 2, 3, 4]);
    assert_eq!(log[1], log[3], "the same event has the same id");
}

fn one_wrong_number_changes_nothing(sandbox: &Sandbox) {
    for _ in 0..3 {
        event(sandbox, "1", "{}");
    }
    set(sandbox, "1", &format!("published_at = '{THEN}'"));
    sandbox.execute("INSERT INTO outbox_claims (outbox_id, run_id) VALUES (3, 7)");
    let before = sandbox.sql("SELECT * FROM outbox_events ORDER BY id");
    let replay = |ids: &[&str]| sandbox.batchctl(["events", "replay"].iter().chain(ids)).run();
    replay(&["1", "99"]).exits(1).says("there is no event 99; nothing was changed");
    replay(&["1", "2"]).exits(1).says("event 2 is already waiting to be published; nothing was changed");
    replay(&["1", "3"]).exits(75).says("event 3 is being published by run 7; nothing was changed");
    replay(&[]).exits(2);
    replay(&["1", "--event-type", "a"]).exits(2).says("filters go with --dead or --published");
    replay(&["--published"]).exits(2).says("--published needs a filter");
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events ORDER BY id"), before);
}

fn many_events_are_replayed_by_filter(sandbox: &Sandbox) {
    let series = sandbox.series(1_200);
    sandbox.execute(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload, dead_at)
         SELECT 'order', CAST(n AS TEXT), CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, '{{}}', '{THEN}' FROM {series}"
    ));
    let replay =
        |arguments: &[&str]| sandbox.batchctl(["events", "replay"].iter().chain(arguments)).run().succeeds();
    replay(&["--dead", "--event-type", "a", "--dry-run"]).prints("Would replay 600 events");
    assert_eq!(counts(sandbox), ["0", "0"]);
    replay(&["--dead", "--event-type", "a"]).prints("Replayed 600 events");
    assert_eq!(counts(sandbox), ["0", "600"]);
    replay(&["--dead"]).prints("Replayed 600 events");
    replay(&["--dead"]).prints("Nothing to replay");
    sandbox.execute(&format!("UPDATE outbox_events SET published_at = '{THEN}'"));
    replay(&["--published", "--aggregate-type", "order", "--aggregate-id", "17"]).prints("Replayed 1 event");
    assert_eq!(counts(sandbox), ["1199", "1"]);
}

fn old_published_events_are_purged_and_others_never(sandbox: &Sandbox) {
    let old = "2026-10-20T00:00:00+00:00";
    for (published, dead) in [
        (Some(old), None),
        (None, Some(old)),
        (None, None),
        (Some(THEN), None),
        (Some(old), None),
        (Some(old), None),
    ] {
        let id = event(sandbox, "1", "{}");
        let time = |at: Option<&str>| at.map_or("NULL".to_owned(), |at| format!("'{at}'"));
        let (published, dead) = (time(published), time(dead));
        set(sandbox, &id, &format!("published_at = {published}, dead_at = {dead}, created_at = '{old}'"));
    }
    let left = || sandbox.sql("SELECT id FROM outbox_events ORDER BY id").concat();
    sandbox
        .batchctl(["-v", "events", "purge", "--keep-days", "31"])
        .run()
        .succeeds()
        .says("nothing to purge");
    assert_eq!(left().len(), 6);
    purge(sandbox).run().succeeds().says("purged 2 events");
    // Not the newest, whose number SQLite would give to another one.
    assert_eq!(left(), ["2", "3", "4", "6"]);
}
