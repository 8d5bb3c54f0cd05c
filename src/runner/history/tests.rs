//! Tests of the history on both databases.

use std::collections::BTreeSet;

use serde_json::json;

use super::item_errors::{noted_sql, resolve_statement};
use super::*;
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::runner::testing::execution;
use crate::values;

on_both_databases![
    what_is_inserted_is_found_as_it_was,
    the_last_attempt_is_the_last_that_started,
    attempts_are_counted_without_refused_ones,
    only_the_holder_of_the_epoch_ends_a_run_and_only_once,
    a_retry_is_limited_to_what_failed_of_a_run_that_did_the_rest,
    what_a_later_attempt_has_done_is_resolved,
    a_sweep_resolves_only_what_it_covers,
    an_item_is_known_from_runs_of_other_instances,
    an_item_that_was_given_up_on_is_found_by_its_key,
    what_a_sweep_was_limited_to_is_not_compared_with_each_error,
    what_a_run_resolves_is_found_by_the_runs_before_it,
    the_last_durations_are_those_of_successes_under_the_key,
    runs_with_another_text_in_their_checkpoints_hide_none,
];

/// Adds a run of `a job 2026-11-19` with this status and returns its id.
async fn run(db: &mut TestDb, status: Status, attempt: i64, epoch: i64) -> i64 {
    let status = status.word().to_owned();
    db.run(&Execution { attempt, status, epoch, ..execution("a job", "2026-11-19") }).await
}

async fn note(db: &mut TestDb, run: i64, keys: &[&str]) {
    let errors: Vec<ItemError> = keys
        .iter()
        .map(|key| ItemError {
            item_key: (*key).to_owned(),
            phase: "load".to_owned(),
            kind: "FAILED".to_owned(),
            error_class: "FAILED".to_owned(),
            message: "is bad".to_owned(),
        })
        .collect();
    insert_errors(db, run, &errors, now()).await.unwrap();
    db.sql(&format!("UPDATE batch_execution SET items_failed = {} WHERE id = {run}", keys.len())).await;
}

/// Runs with an open error each, of which the planner knows nothing.
async fn open_errors(db: &mut TestDb) {
    db.completed_runs(4_000).await;
    let errors = "batch_error_log (execution_id, item_key, phase, kind, error_class, message, created_at)
                  SELECT n, 'item ' || n, 'load', 'FAILED', 'FAILED', 'is bad', '2026-11-19T00:00:00+00:00'";
    db.fill(4_000, errors).await;
}

async fn an_item_that_was_given_up_on_is_found_by_its_key(db: &mut TestDb) {
    open_errors(db).await;
    let sql = noted_sql(db);
    let values = || values!["a job", 5_000, "", "load", json!(["item 1", "item 2"])];
    assert_eq!(db.found_by("e", &sql, values()).await, ["item_key"]);
    assert_eq!(db.found_by("x", &sql, values()).await, ["id"]);
}

async fn what_a_sweep_was_limited_to_is_not_compared_with_each_error(db: &mut TestDb) {
    open_errors(db).await;
    let items: BTreeSet<String> = (1..=4_000).map(|number| format!("item {number}")).collect();
    let done = Done { limited_to: Some(&items), still_open: &[] };
    let by = Execution { id: 5_000, ..execution("a job", "") };
    let (sql, values) = resolve_statement(db, &by, &done, now());
    assert!(!db.compares_all_pairs(&sql, values).await);
}

async fn what_a_run_resolves_is_found_by_the_runs_before_it(db: &mut TestDb) {
    open_errors(db).await;
    db.sql("UPDATE batch_execution SET instance_key = ''").await;
    let by = Execution { id: 5_000, ..execution("a job", "") };
    let (sql, values) = resolve_statement(db, &by, &Done { limited_to: None, still_open: &[] }, now());
    assert_eq!(db.found_by("batch_error_log", &sql, values).await, ["execution_id"]);
}

async fn what_is_inserted_is_found_as_it_was(db: &mut TestDb) {
    let whole = Execution {
        ended_at: Some(now()),
        exclusion_key: Some("a key".to_owned()),
        retry_of: Some(7),
        items_read: i64::MAX,
        checkpoint: Some("{\"page\":\"雪\"}".to_owned()),
        duration_ms: Some(1),
        peak_memory_bytes: Some(2),
        cpu_time_ms: Some(3),
        exit_code: Some(143),
        error_class: Some("STOPPED".to_owned()),
        error_message: Some("stopped\nby SIGTERM".to_owned()),
        ..execution("a job", "2026-11-19")
    };
    for execution in [execution("a job", ""), whole] {
        let id = db.run(&execution).await;
        let expected = serde_json::to_value(Execution { id, ..execution }).unwrap();
        let found = find(db, id).await.unwrap().unwrap();
        assert_eq!(serde_json::to_value(found).unwrap(), expected);
    }
    assert!(find(db, 3).await.unwrap().is_none());
}

async fn the_last_attempt_is_the_last_that_started(db: &mut TestDb) {
    let last = async |db: &mut TestDb| {
        last_attempt(db, "a job", "2026-11-19").await.unwrap().map(|execution| execution.id)
    };
    assert_eq!(last(db).await, None);
    run(db, Status::Completed, 1, 1).await;
    let second = run(db, Status::Crashed, 2, 2).await;
    // Refused, and failed before it started.
    run(db, Status::Refused, 3, 0).await;
    run(db, Status::Failed, 3, 0).await;
    db.run(&execution("another job", "2026-11-19")).await;
    db.run(&execution("a job", "2026-11-20")).await;
    assert_eq!(last(db).await, Some(second));
}

async fn attempts_are_counted_without_refused_ones(db: &mut TestDb) {
    let mut next = Vec::new();
    for (status, attempt, epoch) in
        [(Status::Failed, 1, 1), (Status::Refused, 2, 0), (Status::Failed, 2, 0), (Status::Completed, 3, 2)]
    {
        next.push(next_attempt(db, "a job", "2026-11-19").await.unwrap());
        run(db, status, attempt, epoch).await;
    }
    next.push(next_attempt(db, "a job", "2026-11-19").await.unwrap());
    assert_eq!(next, [1, 2, 2, 3, 4]);
    // A sweep that follows a success starts again at 1.
    let sweep = execution("a job", "");
    db.run(&Execution { status: Status::Failed.word().to_owned(), ..sweep.clone() }).await;
    assert_eq!(next_attempt(db, "a job", "").await.unwrap(), 2);
    db.run(&Execution { status: Status::Completed.word().to_owned(), attempt: 2, ..sweep }).await;
    assert_eq!(next_attempt(db, "a job", "").await.unwrap(), 1);
}

async fn only_the_holder_of_the_epoch_ends_a_run_and_only_once(db: &mut TestDb) {
    let checkpoint = Some("\"page 7\"".to_owned());
    let id = db.run(&Execution { epoch: 3, checkpoint, ..execution("a job", "") }).await;
    let ending = Ending {
        status: Status::Partial,
        ended_at: now(),
        duration_ms: 10,
        peak_memory_bytes: 20,
        cpu_time_ms: 30,
        exit_code: 3,
        error_class: None,
        error_message: None,
        summary: None,
        counts: Counts { read: 4, written: 2, skipped: 1, failed: 1 },
        discards_checkpoint: true,
    };
    assert!(!finish(db, id, 2, &ending).await.unwrap());
    assert!(finish(db, id, 3, &ending).await.unwrap());
    assert!(!finish(db, id, 3, &Ending { status: Status::Failed, ..ending }).await.unwrap());
    let found = find(db, id).await.unwrap().unwrap();
    assert!(found.is(Status::Partial));
    assert_eq!((found.ended_at, found.exit_code, found.checkpoint), (Some(now()), Some(3), None));
    assert_eq!(
        [found.items_read, found.items_written, found.items_skipped, found.items_failed],
        [4, 2, 1, 1]
    );
}

async fn a_retry_is_limited_to_what_failed_of_a_run_that_did_the_rest(db: &mut TestDb) {
    for (status, limited_to) in [
        (Status::Partial, Some(BTreeSet::from(["a".to_owned(), "b".to_owned()]))),
        (Status::Failed, None),
        (Status::Stopped, None),
    ] {
        let id = run(db, status, 1, 1).await;
        note(db, id, &["b", "a", "b"]).await;
        assert_eq!(items_to_retry(db, id).await.unwrap(), limited_to);
        resolve_errors_of(db, id, now()).await.unwrap();
        let nothing_is_left = limited_to.map(|_| BTreeSet::new());
        assert_eq!(items_to_retry(db, id).await.unwrap(), nothing_is_left);
        let made_good = find(db, id).await.unwrap().unwrap();
        assert_eq!(is_made_good(db, &made_good).await.unwrap(), status == Status::Partial);
    }
    // One that failed as a whole in part, such as a delivery, has noted no item.
    let id = run(db, Status::Partial, 1, 1).await;
    assert_eq!(items_to_retry(db, id).await.unwrap(), None);
    let without_items = find(db, id).await.unwrap().unwrap();
    assert!(!is_made_good(db, &without_items).await.unwrap());
}

async fn what_a_later_attempt_has_done_is_resolved(db: &mut TestDb) {
    let first = run(db, Status::Partial, 1, 1).await;
    note(db, first, &["a", "b", "c"]).await;
    let other = db.run(&execution("a job", "2026-11-20")).await;
    note(db, other, &["a"]).await;
    let second = run(db, Status::Partial, 2, 2).await;
    let by = find(db, second).await.unwrap().unwrap();
    let done = Done { limited_to: None, still_open: &["b".to_owned()] };
    assert_eq!(resolve_errors(db, &by, &done, now()).await.unwrap(), 2);
    assert_eq!(open_items(db, first).await.unwrap(), ["b"]);
    assert_eq!(open_items(db, other).await.unwrap(), ["a"], "of another day");
}

async fn a_sweep_resolves_only_what_it_covers(db: &mut TestDb) {
    let failed = async |db: &mut TestDb, line: &str, key: &str| {
        let sweep = Execution { command_line: line.to_owned(), ..execution("a job", "") };
        let id = db.run(&sweep).await;
        note(db, id, &[key]).await;
        id
    };
    let all = failed(db, "a job", "seoul").await;
    let tokyo = failed(db, "a job --mall tokyo", "tokyo").await;
    let by = async |db: &mut TestDb, line: &str, items: Option<&[&str]>| {
        let sweep = Execution { command_line: line.to_owned(), ..execution("a job", "") };
        let id = db.run(&sweep).await;
        let by = find(db, id).await.unwrap().unwrap();
        let items = items.map(|items| items.iter().map(|item| (*item).to_owned()).collect());
        let done = Done { limited_to: items.as_ref(), still_open: &[] };
        resolve_errors(db, &by, &done, now()).await.unwrap();
        let mut open = Vec::new();
        for run in [all, tokyo] {
            open.extend(open_items(db, run).await.unwrap());
        }
        open
    };
    assert_eq!(by(db, "a job --mall busan", None).await, ["seoul", "tokyo"]);
    assert_eq!(by(db, "a job", Some(&["busan"])).await, ["seoul", "tokyo"]);
    assert_eq!(by(db, "a job --mall tokyo", None).await, ["seoul"]);
    assert_eq!(by(db, "a job", None).await, [""; 0]);
}

async fn an_item_is_known_from_runs_of_other_instances(db: &mut TestDb) {
    let other = db.run(&execution("a job", "2026-11-18")).await;
    note(db, other, &["a", "b"]).await;
    let same = run(db, Status::Partial, 1, 1).await;
    note(db, same, &["c"]).await;
    let id = run(db, Status::Running, 2, 2).await;
    let this = find(db, id).await.unwrap().unwrap();
    let mut noted = noted_items(db, &this, "load", &["a", "b", "c", "d"]).await.unwrap();
    noted.sort();
    assert_eq!(noted, ["a", "b"]);
    assert_eq!(noted_items(db, &this, "check", &["a"]).await.unwrap(), [""; 0]);
    resolve_errors_of(db, other, now()).await.unwrap();
    assert_eq!(noted_items(db, &this, "load", &["a"]).await.unwrap(), [""; 0]);
}

async fn the_last_durations_are_those_of_successes_under_the_key(db: &mut TestDb) {
    for (duration, key, status) in [
        (1, "tokyo", Status::Completed),
        (2, "osaka", Status::Completed),
        (3, "tokyo", Status::Failed),
        (4, "tokyo", Status::Completed),
        (5, "tokyo", Status::Completed),
    ] {
        db.run(&Execution {
            status: status.word().to_owned(),
            duration_ms: Some(duration),
            items_read: 10 * duration,
            exclusion_key: Some(key.to_owned()),
            ..execution("a job", "2026-11-19")
        })
        .await;
    }
    assert_eq!(last_durations(db, "a job", None, 6, 3).await.unwrap(), [(5, 50), (4, 40), (2, 20)]);
    assert_eq!(last_durations(db, "a job", Some("tokyo"), 5, 9).await.unwrap(), [(4, 40), (1, 10)]);
    assert_eq!(last_durations(db, "another job", None, 6, 9).await.unwrap(), [(0, 0); 0]);
}

async fn runs_with_another_text_in_their_checkpoints_hide_none(db: &mut TestDb) {
    let run = |key: &str, checkpoint: Option<serde_json::Value>| Execution {
        checkpoint: checkpoint.map(|checkpoint| checkpoint.to_string()),
        ..execution("a job", key)
    };
    let of = |origin: &str| Some(json!({ "lines": 1, "origin": origin }));
    let own = db.run(&run("orders 1", of("a \"b\""))).await;
    let older = db.run(&run("orders 2", Some(json!({ "lines": 1 })))).await;
    for other in ["a", "a \"b\"c", "%"] {
        db.run(&run("orders 3", of(other))).await;
    }
    db.run(&run("products 1", of("a \"b\""))).await;
    db.run(&run("orders 4", None)).await;
    let found = with_checkpoint_lately(db, "a job", "orders ", ("origin", "a \"b\""), 2).await.unwrap();
    assert_eq!(found.iter().map(|run| run.id).collect::<Vec<_>>(), [older, own]);
}
