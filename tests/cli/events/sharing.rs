//! Several processes at once, and processes that die: nothing is lost, nothing overtakes another event of its aggregate, and
//! what is sent twice has the same id. What a consumer reads decides.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::{by_aggregate, consumed, counts, event, into_files, publish};
use crate::support::{Database, Sandbox, eventually, on_both_databases, run_on};

on_both_databases![
    a_process_that_is_killed_at_any_stage_loses_nothing,
    several_processes_at_once_keep_the_order_of_each_aggregate,
    of_several_processes_some_are_killed_again_and_again,
    a_stop_ends_after_the_chunk_and_the_next_run_goes_on,
    a_run_publishes_what_was_there_when_it_began,
];

/// Writes events of so many aggregates in turn, numbered within each from 0.
fn fill(sandbox: &Sandbox, aggregates: usize, each: usize) {
    let series = sandbox.series(aggregates * each);
    sandbox.execute(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         SELECT 'order', CAST((n - 1) % {aggregates} AS TEXT), 'order.changed',
                '{{\"n\": ' || CAST((n - 1) / {aggregates} AS TEXT) || '}}'
         FROM {series}"
    ));
}

/// What a consumer has to find.
fn complete(aggregates: usize, each: usize) -> BTreeMap<String, Vec<i64>> {
    let numbers: Vec<i64> = (0..i64::try_from(each).unwrap()).collect();
    (0..aggregates).map(|aggregate| (aggregate.to_string(), numbers.clone())).collect()
}

fn a_process_that_is_killed_at_any_stage_loses_nothing(sandbox: &Sandbox) {
    into_files(sandbox);
    // The first chunk claims, the second settles.
    for (point, is_sent_twice) in [
        ("in-chunk@1", false),
        ("at-commit@1", false),
        ("after-chunk@1", false),
        ("events-claimed", false),
        ("events-sent", true),
        ("in-chunk@2", true),
        ("at-commit@2", true),
        ("after-chunk@2", false),
    ] {
        fill(sandbox, 3, 4);
        publish(sandbox).failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        publish(sandbox).run().succeeds();
        let log = consumed(sandbox);
        assert_eq!(by_aggregate(&log), complete(3, 4), "{point}");
        assert_eq!(log.len(), if is_sent_twice { 24 } else { 12 }, "{point}");
        assert_eq!(counts(sandbox), ["12", "0"], "{point}");
        sandbox.execute("DELETE FROM outbox_events");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

fn several_processes_at_once_keep_the_order_of_each_aggregate(sandbox: &Sandbox) {
    into_files(sandbox);
    let (aggregates, each) = (37, 100);
    fill(sandbox, aggregates, each);
    // Some of them find only what is held up by others.
    let running: Vec<_> = (0..4).map(|_| publish(sandbox).spawn()).collect();
    for running in running {
        running.wait().succeeds();
    }
    publish(sandbox).run().succeeds();
    let log = consumed(sandbox);
    assert_eq!(by_aggregate(&log), complete(aggregates, each));
    assert_eq!(log.len(), aggregates * each, "nobody died: nothing is sent twice");
}

fn of_several_processes_some_are_killed_again_and_again(sandbox: &Sandbox) {
    into_files(sandbox);
    let (aggregates, each) = (50, 100);
    fill(sandbox, aggregates, each);
    let mut rounds = 0;
    while counts(sandbox) != [(aggregates * each).to_string(), "0".to_owned()] {
        rounds += 1;
        assert!(rounds < 50, "{:?}", counts(sandbox));
        // Each round a process dies in the middle of its work, at another place.
        let points = ["events-claimed", "events-sent", "in-chunk@2", "at-commit@3", "in-chunk@4"];
        let point = points[rounds % points.len()];
        let limited = |limit: &str| sandbox.batchctl(["events", "publish", "--limit", limit]);
        let killed = limited("700").failpoint(&format!("{point}=kill")).spawn();
        let others = [limited("150").spawn(), limited("250").spawn()];
        for other in others {
            other.wait().succeeds();
        }
        drop(killed.wait());
    }
    let log = consumed(sandbox);
    assert_eq!(by_aggregate(&log), complete(aggregates, each));
    assert!(log.len() > aggregates * each, "something was sent twice, or the test shows nothing");
}

fn a_stop_ends_after_the_chunk_and_the_next_run_goes_on(sandbox: &Sandbox) {
    into_files(sandbox);
    fill(sandbox, 10, 300);
    let mut held = publish(sandbox).hold_at("events-sent");
    held.wait_until_reached();
    held.process().signal(Signal::TERM);
    held.release().wait().exits(143);
    let published = counts(sandbox);
    assert_eq!(published[0], "1000", "what was sent is marked: {published:?}");
    publish(sandbox).run().succeeds();
    let log = consumed(sandbox);
    assert_eq!((by_aggregate(&log), log.len()), (complete(10, 300), 3000));
}

/// It would never end while others write.
fn a_run_publishes_what_was_there_when_it_began(sandbox: &Sandbox) {
    into_files(sandbox);
    fill(sandbox, 2, 2);
    let mut held = publish(sandbox).hold_at("events-sent");
    held.wait_until_reached();
    event(sandbox, "0", "{\"n\": 2}");
    held.release().wait().succeeds();
    assert_eq!(counts(sandbox), ["4", "1"]);
    publish(sandbox).run().succeeds();
    assert_eq!(counts(sandbox), ["5", "0"]);
}

/// A process that is frozen past its lease, and wakes up after another one has published what it held.
#[test]
fn a_late_owner_marks_nothing_and_what_it_sends_is_known() {
    run_on(Database::Postgres, |sandbox: &Sandbox| {
        into_files(sandbox);
        fill(sandbox, 3, 4);
        let mut frozen = publish(sandbox).failpoint("events-claimed=stop").spawn();
        let stat = format!("/proc/{}/stat", frozen.pid());
        eventually(|| std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")), "it is frozen");
        // Until its lease expires nobody touches what it holds.
        publish(sandbox).run().succeeds();
        assert_eq!(consumed(sandbox).len(), 0);
        sandbox.execute("UPDATE batch_execution SET lease_expires_at = '2026-01-01T00:00:00+00:00' WHERE status = 'RUNNING'");
        publish(sandbox).run().succeeds();
        event(sandbox, "0", "{\"n\": 4}");
        publish(sandbox).run().succeeds();
        let before = sandbox.sql("SELECT * FROM outbox_events ORDER BY id");
        frozen.signal(Signal::CONT);
        frozen.wait().exits(1);
        assert_eq!(sandbox.sql("SELECT * FROM outbox_events ORDER BY id"), before);
        let log = consumed(sandbox);
        let mut expected = complete(3, 4);
        expected.get_mut("0").unwrap().push(4);
        assert_eq!((by_aggregate(&log), log.len()), (expected, 25));
    });
}
