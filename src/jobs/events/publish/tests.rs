//! Which events are claimed, by whom and in which order, and what is written of them.

use std::time::Duration;

use super::claims::{Claim, Fate, PAGE, Page, claim, is_any_abandoned, passed_by_sql, reclaim, settle};
use super::*;
use crate::db::Kind;
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::runner::history::Status;
use crate::values;

on_both_databases![
    events_are_claimed_in_their_order,
    an_aggregate_is_in_one_hand,
    what_was_passed_by_is_not_overtaken,
    an_aggregate_waits_for_the_first_that_was_refused_and_the_others_do_not,
    a_pause_that_no_clock_of_ours_made_holds_up_nobody,
    what_dead_runs_held_is_free_again,
    what_a_run_does_not_hold_it_does_not_settle,
    a_claim_holds_no_more_than_a_few_megabytes,
    events_are_found_by_indexes,
    claiming_waits_for_another_ones_claim,
];

const HOUR: Duration = Duration::from_hours(1);

/// Adds an event of each of these aggregates, in this order, numbered from 1.
async fn events(db: &mut TestDb, aggregates: &[&str]) {
    for aggregate in aggregates {
        db.sql(&format!(
            "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
             VALUES ('order', '{aggregate}', 'order.paid', '{{}}')"
        ))
        .await;
    }
}

async fn claimed(db: &mut Db, run: i64, most: i64) -> Claim {
    db.transaction(async |db| claim(db, run, first(most), now(), HOUR).await).await.unwrap()
}

/// The first events of the table.
fn first(most: i64) -> Page {
    Page { after: 0, until: i64::MAX, most }
}

fn ids(claim: &Claim) -> Vec<i64> {
    claim.events.iter().map(|event| event.id).collect()
}

async fn settled(db: &mut Db, run: i64, fates: &[(i64, Fate)]) {
    db.transaction(async |db| settle(db, run, now(), fates).await).await.unwrap();
}

fn again(at: DateTime<Utc>) -> Fate {
    Fate::Again { at, is_attempt: true, reason: "HTTP 422".to_owned() }
}

async fn events_are_claimed_in_their_order(db: &mut TestDb) {
    events(db, &["a", "b", "a", "c", "a"]).await;
    let first = claimed(db, 1, 3).await;
    assert_eq!((ids(&first), first.position), (vec![1, 2, 3], Some(3)));
    // What follows of `a` waits for what is being published.
    let second = claimed(db, 2, 3).await;
    assert_eq!((ids(&second), second.position), (vec![4], None));
    settled(db, 1, &[(1, Fate::Published), (2, Fate::Published), (3, Fate::Published)]).await;
    assert_eq!(ids(&claimed(db, 2, 3).await), [5]);
    let state = "SELECT id, published_at FROM outbox_events ORDER BY id";
    let at = "2026-11-19T16:00:00+00:00";
    assert_eq!(db.sql(state).await, [["1", at], ["2", at], ["3", at], ["4", "NULL"], ["5", "NULL"]]);
    let claims = "SELECT outbox_id, run_id FROM outbox_claims ORDER BY outbox_id";
    assert_eq!(db.sql(claims).await, [["4", "2"], ["5", "2"]]);
}

async fn an_aggregate_is_in_one_hand(db: &mut TestDb) {
    events(db, &["a", "a", "b", "b"]).await;
    assert_eq!(ids(&claimed(db, 1, 1).await), [1]);
    assert_eq!(ids(&claimed(db, 2, 10).await), [3, 4]);
    assert_eq!(ids(&claimed(db, 1, 10).await), Vec::<i64>::new());
    // Of another kind of thing with the same id.
    db.sql("UPDATE outbox_events SET aggregate_type = 'product' WHERE id = 2").await;
    assert_eq!(ids(&claimed(db, 2, 10).await), [2]);
}

/// Whatever makes an event free that a run went by: those behind it stay behind it.
async fn what_was_passed_by_is_not_overtaken(db: &mut TestDb) {
    events(db, &["a", "b", "c", "a", "b", "d"]).await;
    let pause = now() + TimeDelta::minutes(1);
    claimed(db, 7, 1).await;
    settled(db, 7, &[(1, again(pause))]).await;
    claimed(db, 8, 1).await;
    let rest = |after| Page { after, ..first(10) };
    let page = db.transaction(async |db| claim(db, 1, rest(0), now(), HOUR).await).await.unwrap();
    assert_eq!(ids(&page), [3, 6], "1 pauses, and 2 is in another hand");
    settled(db, 1, &[(3, Fate::Untouched), (6, Fate::Untouched)]).await;
    // Both are free by now.
    settled(db, 8, &[(2, Fate::Untouched)]).await;
    let page = db.transaction(async |db| claim(db, 1, rest(2), pause, HOUR).await).await.unwrap();
    assert_eq!(ids(&page), [3, 6], "behind 1 and 2");
    settled(db, 1, &[(3, Fate::Published), (6, Fate::Published)]).await;
    let page = db.transaction(async |db| claim(db, 1, rest(0), pause, HOUR).await).await.unwrap();
    assert_eq!(ids(&page), [1, 2, 4, 5]);
}

async fn an_aggregate_waits_for_the_first_that_was_refused_and_the_others_do_not(db: &mut TestDb) {
    events(db, &["a", "b", "a", "b"]).await;
    claimed(db, 1, 2).await;
    let later = now() + TimeDelta::minutes(1);
    settled(db, 1, &[(1, again(later)), (2, Fate::Published)]).await;
    assert_eq!(ids(&claimed(db, 1, 10).await), [4]);
    let claim = db.transaction(async |db| claim(db, 1, first(10), later, HOUR).await).await.unwrap();
    assert_eq!(ids(&claim), [1, 3]);
    let dead = Fate::Dead { is_attempt: true, reason: "HTTP 422\0".to_owned() };
    settled(db, 1, &[(1, dead), (3, Fate::Untouched), (4, Fate::Published)]).await;
    // It holds up nobody any more.
    assert_eq!(ids(&claimed(db, 1, 10).await), [3]);
    let row = "SELECT attempts, next_attempt_at, dead_at, last_error FROM outbox_events WHERE id = 1";
    assert_eq!(db.sql(row).await, [["2", "NULL", "2026-11-19T16:00:00+00:00", "HTTP 422␀"]]);
}

async fn a_pause_that_no_clock_of_ours_made_holds_up_nobody(db: &mut TestDb) {
    events(db, &["a", "b"]).await;
    let times =
        ["9999-12-31T00:00:00+00:00", "2026-11-19T17:05:00.000001+00:00", "2026-11-19T16:00:00+00:00"];
    for time in times {
        db.sql("DELETE FROM outbox_claims").await;
        db.sql(&format!("UPDATE outbox_events SET next_attempt_at = '{time}'")).await;
        assert_eq!(ids(&claimed(db, 1, 10).await), [1, 2], "{time}");
    }
    db.sql("DELETE FROM outbox_claims").await;
    // That of an hour, by a clock that is ahead.
    db.sql("UPDATE outbox_events SET next_attempt_at = '2026-11-19T17:05:00+00:00'").await;
    assert_eq!(ids(&claimed(db, 1, 10).await), Vec::<i64>::new());
    if db.kind() == Kind::Sqlite {
        for bad in ["'infinity'", "''", "CAST(x'ff' AS TEXT)", "'2026-02-30T00:00:00+00:00'"] {
            db.sql("DELETE FROM outbox_claims").await;
            db.sql(&format!("UPDATE outbox_events SET next_attempt_at = {bad}")).await;
            assert_eq!(ids(&claimed(db, 1, 10).await), [1, 2], "{bad}");
        }
    }
}

async fn what_dead_runs_held_is_free_again(db: &mut TestDb) {
    let running = db.run_that_is(Status::Running).await;
    let crashed = db.run_that_is(Status::Crashed).await;
    events(db, &["a", "b", "c"]).await;
    for (id, run) in [(1, running), (2, crashed), (3, 4711)] {
        db.sql(&format!("INSERT INTO outbox_claims (outbox_id, run_id) VALUES ({id}, {run})")).await;
    }
    assert!(is_any_abandoned(db).await.unwrap());
    // One of them was held by no run at all.
    assert_eq!(reclaim(db).await.unwrap(), 2);
    assert!(!is_any_abandoned(db).await.unwrap());
    assert_eq!(db.sql("SELECT outbox_id FROM outbox_claims").await.concat(), ["1"]);
}

async fn what_a_run_does_not_hold_it_does_not_settle(db: &mut TestDb) {
    events(db, &["a", "b", "c"]).await;
    claimed(db, 1, 10).await;
    let before = db.dump().await;
    let dead = Fate::Dead { is_attempt: true, reason: "late".to_owned() };
    settled(db, 2, &[(1, Fate::Published), (2, dead), (3, Fate::Untouched)]).await;
    assert_eq!(db.dump().await, before);
}

async fn a_claim_holds_no_more_than_a_few_megabytes(db: &mut TestDb) {
    let aggregates: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    events(db, &aggregates.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let large = "x".repeat(1_000_000);
    db.sql(&format!("UPDATE outbox_events SET payload = '{{\"a\":\"{large}\"}}'")).await;
    let (mut position, mut all) = (Some(0), Vec::new());
    while let Some(after) = position {
        let claim = db
            .transaction(async |db| claim(db, 1, Page { after, ..first(1000) }, now(), HOUR).await)
            .await
            .unwrap();
        assert!(claim.events.len() <= 8, "{}", claim.events.len());
        all.extend(ids(&claim));
        position = claim.position;
    }
    assert_eq!(all, (1..=20).collect::<Vec<_>>());
}

async fn events_are_found_by_indexes(db: &mut TestDb) {
    let rows = "outbox_events (aggregate_type, aggregate_id, event_type, payload)
                SELECT 'order', CAST(n % 1000 AS TEXT), 'order.paid', '{}'";
    // So many that the index of all events that wait is the smaller one by a level.
    db.fill(60_000, rows).await;
    db.plan_by_index().await.unwrap();
    are_found_by_indexes(db, "of a new table nothing is known").await;
    db.sql("UPDATE outbox_events SET published_at = '2026-11-19T00:00:00+00:00' WHERE id <= 59000").await;
    are_found_by_indexes(db, "nor once most are published").await;
    db.sql("ANALYZE outbox_events").await;
    are_found_by_indexes(db, "nearly all are published").await;
    db.sql("UPDATE outbox_events SET published_at = '2026-11-19T00:00:00+00:00'").await;
    db.sql("ANALYZE outbox_events").await;
    db.sql(&format!("INSERT INTO {}", rows.replace("n % 1000", "id % 1000") + " FROM outbox_events")).await;
    are_found_by_indexes(db, "all were published when it was analysed").await;
}

async fn are_found_by_indexes(db: &mut TestDb, case: &str) {
    let values = values![0, now(), now(), 1000, i64::MAX];
    assert_eq!(db.found_by("e", PAGE, values).await, ["id"], "{case}");
    let sql = passed_by_sql(db);
    let values = || values![9000, serde_json::json!([9001, 9002, 9003])];
    assert_eq!(db.found_by("e", &sql, values()).await, ["id"], "{case}");
    assert_eq!(db.found_by("b", &sql, values()).await, ["aggregate_type, aggregate_id"], "{case}");
}

/// Of two at once the second would not see what the first is about to claim, and would take the events behind it.
async fn claiming_waits_for_another_ones_claim(db: &mut TestDb) {
    events(db, &["a", "a"]).await;
    let mut other = db.another().await;
    let first = async {
        db.transaction(async |db| {
            let claim = claim(db, 1, first(1), now(), HOUR).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(claim)
        })
        .await
        .unwrap()
    };
    let second = async {
        // Once the first has begun.
        tokio::time::sleep(Duration::from_millis(50)).await;
        claimed(&mut other, 2, 10).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((ids(&first), ids(&second)), (vec![1], vec![]));
}
