//! Events as lines of files, and rows that are none.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{consumed, counts, event, into_files, publish};
use crate::support::{Arranged, Database, Sandbox, can_mount, on_both_databases};

on_both_databases![
    events_become_lines_and_are_marked,
    without_a_sink_events_wait,
    no_more_are_published_than_asked_for,
    a_folder_that_cannot_be_written_costs_no_event_anything,
    a_dry_run_and_a_run_without_events_create_nothing,
    a_line_that_was_cut_off_is_replaced_by_whole_ones,
];

fn events_become_lines_and_are_marked(sandbox: &Sandbox) {
    into_files(sandbox);
    publish(sandbox).run().succeeds().is_silent();
    sandbox.execute(
        "INSERT INTO outbox_events (event_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at)
         VALUES ('018f4c00-0000-4000-8000-000000000000', 'order', '주문-1', 'order.paid', '{\"n\": 1.10,
             \"b\": [true]}', '{\"trace\": \"00-4b\"}', '9999-12-31T23:59:59.5+00:00')",
    );
    event(sandbox, "2", "{}");
    publish(sandbox).run().succeeds().is_silent();
    let log = consumed(sandbox);
    assert_eq!(
        log[0],
        json!({
            "event_id": "018f4c00-0000-4000-8000-000000000000", "event_type": "order.paid", "aggregate_type": "order",
            "aggregate_id": "주문-1", "occurred_at": "9999-12-31T23:59:59.500Z", "headers": { "trace": "00-4b" },
            "payload": { "n": 1.1, "b": [true] },
        })
    );
    assert!(sandbox.read("out/events/events-00000001.ndjson").contains("\"n\": 1.10, "), "as it was written");
    let marked = "SELECT DISTINCT published_at, attempts, last_error FROM outbox_events";
    assert_eq!(sandbox.sql(marked), [["2026-11-19T16:00:00+00:00", "0", "NULL"]]);
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM outbox_claims"), "0");
    publish(sandbox).env("RUST_BACKTRACE", "0").run().succeeds();
    sandbox.batchctl(["-v", "events", "publish"]).run().succeeds().says("nothing to publish");
    assert_eq!(consumed(sandbox).len(), 2);
    let mode = sandbox.path("out/events/events-00000001.ndjson").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "they are nobody else's");
}

fn without_a_sink_events_wait(sandbox: &Sandbox) {
    publish(sandbox).run().succeeds().is_silent();
    event(sandbox, "1", "{}");
    let ran = publish(sandbox).run().exits(78);
    ran.says("1 event waits, and `events.sink` does not say where they go").says("hint: add [events]");
    assert_eq!(counts(sandbox), ["0", "1"]);
    into_files(sandbox);
    publish(sandbox).run().succeeds();
    assert_eq!(counts(sandbox), ["1", "0"]);
}

fn no_more_are_published_than_asked_for(sandbox: &Sandbox) {
    into_files(sandbox);
    for number in 1..=5 {
        event(sandbox, "1", &format!("{{\"n\": {number}}}"));
    }
    for expected in [2, 4, 5, 5] {
        sandbox.batchctl(["events", "publish", "--limit", "2"]).run().succeeds();
        let numbers: Vec<i64> =
            consumed(sandbox).iter().map(|event| event["payload"]["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (1..=expected).collect::<Vec<i64>>());
    }
    sandbox.batchctl(["events", "publish", "--limit", "0"]).run().exits(2);
}

fn a_dry_run_and_a_run_without_events_create_nothing(sandbox: &Sandbox) {
    into_files(sandbox);
    publish(sandbox).run().succeeds();
    assert!(!sandbox.path("out").exists());
    event(sandbox, "1", "{}");
    sandbox.batchctl(["events", "publish", "--dry-run"]).run().succeeds();
    assert!(!sandbox.path("out").exists());
    publish(sandbox).run().succeeds();
    assert_eq!(consumed(sandbox).len(), 1);
}

fn a_folder_that_cannot_be_written_costs_no_event_anything(sandbox: &Sandbox) {
    into_files(sandbox);
    event(sandbox, "1", "{}");
    sandbox.write("out", "a file where a folder should be");
    publish(sandbox).run().exits(78).says("cannot be written to");
    std::fs::remove_file(sandbox.path("out")).unwrap();
    // A folder in the place of the file.
    std::fs::create_dir_all(sandbox.path("out/events/events-00000001.ndjson")).unwrap();
    publish(sandbox).run().exits(78).says("events-00000001.ndjson").says("the events stay in the outbox");
    assert_eq!(counts(sandbox), ["0", "1"]);
    assert_eq!(sandbox.scalar("SELECT attempts FROM outbox_events"), "0");
    std::fs::remove_dir(sandbox.path("out/events/events-00000001.ndjson")).unwrap();
    publish(sandbox).run().succeeds();
    assert_eq!(counts(sandbox), ["1", "0"]);
}

fn a_line_that_was_cut_off_is_replaced_by_whole_ones(sandbox: &Sandbox) {
    into_files(sandbox);
    event(sandbox, "1", "{\"n\": 1}");
    publish(sandbox).run().succeeds();
    let whole = sandbox.read("out/events/events-00000001.ndjson");
    sandbox.write("out/events/events-00000001.ndjson", format!("{whole}{{\"event_id\": \"018f"));
    event(sandbox, "1", "{\"n\": 2}");
    publish(sandbox).run().succeeds();
    assert!(sandbox.read("out/events/events-00000001.ndjson").starts_with(&whole));
    let numbers: Vec<i64> =
        consumed(sandbox).iter().map(|event| event["payload"]["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
}

/// Publishes onto a small file system, then gives it room and publishes again.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=64k tmpfs out || exit 1
    "$@" 2> full.err; echo $? > full.code
    cat out/events/*.ndjson > full.ndjson
    mount -o remount,size=8m out || exit 1
    "$@" || exit 1
    cat out/events/*.ndjson > all.ndjson
"#;

#[test]
fn a_disk_that_is_full_costs_no_event_anything() {
    if !can_mount() {
        return;
    }
    let sandbox = Sandbox::new();
    into_files(&sandbox);
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let text = "x".repeat(5_000);
    for number in 0..100 {
        event(&sandbox, &(number % 7).to_string(), &format!("{{\"n\": {number}, \"text\": \"{text}\"}}"));
    }
    let script = format!("exec unshare -m sh -c '{ON_A_SMALL_DISK}' sh \"$@\"");
    publish(&sandbox).through_shell(&script).run().succeeds();
    assert_eq!(sandbox.read("full.code").trim(), "75");
    assert!(sandbox.read("full.err").contains("No space left on device"), "{}", sandbox.read("full.err"));
    let full = sandbox.read("full.ndjson");
    assert!(full.is_empty() || full.ends_with('\n'), "no half line is left");
    let all = sandbox.read("all.ndjson");
    let events: Vec<serde_json::Value> =
        all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<i64> = events.iter().map(|event| event["payload"]["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<i64>>());
    assert_eq!(sandbox.sql("SELECT DISTINCT attempts FROM outbox_events"), [["0"]]);
}

// ---------------------------------------------------------------- rows that are none

/// Sets a column of an event to what the table's CHECKs keep out.
fn spoil(sandbox: &Sandbox, id: &str, column: &str, value: &str) {
    sandbox.execute(&format!(
        "PRAGMA ignore_check_constraints = ON;
         UPDATE outbox_events SET {column} = {value} WHERE id = {id};
         PRAGMA ignore_check_constraints = OFF"
    ));
}

#[test]
fn an_event_that_cannot_be_read_is_given_up_by_itself_and_its_aggregate_goes_on() {
    // Only SQLite can be told to take such rows.
    let sandbox = Sandbox::on(Database::Sqlite);
    into_files(&sandbox);
    let megabytes = format!("'{{\"a\":\"{}\"}}'", "x".repeat(5_000_000));
    for (column, value, problem) in [
        ("payload", "'{\"n\":'", "payload: it is not JSON"),
        ("payload", "'{}' || char(0)", "payload: it is not JSON"),
        ("payload", "CAST(x'7b2261223a22ff227d' AS TEXT)", "payload: the text is not UTF-8"),
        ("payload", "'[1]'", "payload: it is not a JSON object"),
        ("payload", megabytes.as_str(), "payload: too large: 5000008 bytes"),
        ("headers", "'{\"a\": 1}'", "headers: its values are not all texts"),
        ("headers", "CAST(x'ff' AS TEXT)", "headers: the text is not UTF-8"),
        ("aggregate_id", "CAST(x'31ff' AS TEXT)", "aggregate_id: the text is not UTF-8"),
        ("aggregate_id", "''", "aggregate_id: it is empty"),
        ("event_type", "'a' || char(0)", "event_type: it contains a NUL"),
        ("event_type", "replace(hex(zeroblob(500)), '00', 'long')", "event_type: it is missing or too long"),
        ("event_id", "'7'", "event_id: it is not a UUID"),
        (
            "occurred_at",
            "'2026-02-30T00:00:00+00:00'",
            "occurred_at: `2026-02-30T00:00:00+00:00` is not a time",
        ),
        ("attempts", "-1", "attempts: -1 is not a count"),
        ("attempts", "9223372036854775807", "attempts: 9223372036854775807 is not a count"),
    ] {
        let spoilt = event(&sandbox, "1", "{\"n\": 1}");
        event(&sandbox, "1", "{\"n\": 2}");
        event(&sandbox, "2", "{\"n\": 3}");
        spoil(&sandbox, &spoilt, column, value);
        let ran = publish(&sandbox).run().exits(3);

        ran.says(&format!("event {spoilt}: given up")).says(&format!(": {problem}"));
        let numbers: Vec<i64> =
            consumed(&sandbox).iter().map(|event| event["payload"]["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, [2, 3], "{column} = {value:.60}");
        publish(&sandbox).run().succeeds().is_silent();
        let state = "SELECT dead_at FROM outbox_events WHERE published_at IS NULL";
        assert_eq!(sandbox.sql(state), [["2026-11-19T16:00:00+00:00"]], "{problem}");
        sandbox.execute("DELETE FROM outbox_events");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

#[test]
fn an_event_may_have_any_number() {
    let sandbox = Sandbox::on(Database::Sqlite);
    into_files(&sandbox);
    let first = event(&sandbox, "1", "{\"n\": 1}");
    event(&sandbox, "1", "{\"n\": 2}");
    spoil(&sandbox, &first, "id", "-5");
    publish(&sandbox).run().succeeds();
    let numbers: Vec<Value> = consumed(&sandbox).iter().map(|event| event["payload"]["n"].clone()).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn an_event_that_is_too_large_to_be_touched_is_named_once_and_holds_up_its_own_alone() {
    let sandbox = Sandbox::on(Database::Sqlite);
    into_files(&sandbox);
    let huge = event(&sandbox, "1", "{}");
    event(&sandbox, "2", "{\"n\": 1}");
    event(&sandbox, "1", "{\"n\": 3}");
    spoil(&sandbox, &huge, "payload", "CAST(zeroblob(20000000) AS TEXT)");
    publish(&sandbox)
        .run()
        .exits(3)
        .says(&format!("event {huge}: payload: 20000000 bytes: too large to process"));
    publish(&sandbox).run().succeeds().is_silent();
    assert_eq!(consumed(&sandbox).len(), 1);
    // Once it is shorter, it goes.
    sandbox.execute(&format!("UPDATE outbox_events SET payload = '{{\"n\": 2}}' WHERE id = {huge}"));
    publish(&sandbox).run().succeeds();
    let numbers: Vec<Value> = consumed(&sandbox).iter().map(|event| event["payload"]["n"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3]);
}
