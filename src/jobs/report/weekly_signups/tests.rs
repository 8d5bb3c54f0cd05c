//! Who is counted in which week. What is disclosed about the counts is tested in `disclosure`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{AwaitedColumns, Computation, count, disclose, replace_mall};
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::shop::testing::{Mall, Member};

on_both_databases![
    the_counts_match_an_independent_calculation,
    a_member_under_an_erasure_request_is_not_counted,
    a_week_begins_on_monday_of_the_malls_own_zone,
    a_week_with_a_clock_change_is_complete,
    a_week_without_signups_is_zeros,
    who_leaves_or_confirms_after_the_week_changes_nothing,
];

/// Counts a week of every mall, by its Monday.
async fn reported(db: &mut TestDb, week: &str) {
    let week: NaiveDate = week.parse().unwrap();
    let computation = Computation { run: 1, now: now(), min_cell: 5, awaited: AwaitedColumns::default() };
    for mall in db.malls().await {
        let told = disclose(count(db, week, &mall).await.unwrap(), computation.min_cell);
        replace_mall(db, week, &mall, &told, &computation).await.unwrap();
    }
}

/// week, mall, sign-ups, active, unconfirmed, withdrawn.
async fn stored(db: &mut TestDb) -> Vec<String> {
    db.lines(
        "SELECT week_day, code, signups, active, unconfirmed, withdrawn
         FROM weekly_signups JOIN malls ON malls.id = mall_id",
    )
    .await
}

/// week, mall, channel or "other", sign-ups, active, unconfirmed, withdrawn.
async fn groups(db: &mut TestDb) -> Vec<String> {
    db.lines(
        "SELECT week_day, code, CASE WHEN is_other THEN 'other' ELSE channel END, signups, active, unconfirmed, withdrawn
         FROM weekly_signups_by_channel JOIN malls ON malls.id = mall_id",
    )
    .await
}

/// Adds this many active members who signed up on the web.
async fn members(db: &mut TestDb, mall: Mall, prefix: &str, count: usize, signed_up_at: &str) {
    for number in 0..count {
        let code = format!("{prefix}-{number}");
        db.member(Member { mall, code: &code, channel: Some("web"), signed_up_at, ..Member::default() })
            .await;
    }
}

/// Wednesday noon in Tokyo.
const WEDNESDAY: &str = "2026-11-18T12:00:00+09:00";

async fn the_counts_match_an_independent_calculation(db: &mut TestDb) {
    let statuses = ["ACTIVE", "UNCONFIRMED", "WITHDRAWN"];
    let channels = ["web", "アプリ", ""];
    let mut rng = fastrand::Rng::with_seed(5);
    let (from, to): (DateTime<Utc>, DateTime<Utc>) =
        ("2026-11-15T00:00:00Z".parse().unwrap(), "2026-11-23T12:00:00Z".parse().unwrap());
    let mut whole: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
    let mut by_channel: BTreeMap<(&str, &str), [i64; 4]> = BTreeMap::new();
    for (code, zone) in [("tokyo", "Asia/Tokyo"), ("paris", "Europe/Paris")] {
        let (mall, time_zone) = (db.mall(code, zone, "JPY").await, zone.parse::<Tz>().unwrap());
        let mut rows = Vec::new();
        for number in 0..300 {
            let at = from + TimeDelta::minutes(rng.i64(0..(to - from).num_minutes()));
            let (status, channel) = (rng.usize(0..3), channels[rng.usize(0..3)]);
            let text = at.to_rfc3339_opts(SecondsFormat::Secs, false);
            rows.push(format!(
                "({}, 'm{number}', '{}', '{channel}', '{text}', '{text}', '{text}')",
                mall.id, statuses[status]
            ));
            let day = at.with_timezone(&time_zone).date_naive();
            if !("2026-11-16".parse().unwrap()..="2026-11-22".parse().unwrap()).contains(&day) {
                continue;
            }
            for sums in [whole.entry(code).or_default(), by_channel.entry((code, channel)).or_default()] {
                sums[0] += 1;
                sums[1 + status] += 1;
            }
        }
        db.sql(&format!(
            "INSERT INTO members (mall_id, member_code, status, channel, signed_up_at, created_at, updated_at)
             VALUES {}",
            rows.join(", ")
        ))
        .await;
    }
    assert!(by_channel.values().flatten().all(|count| *count >= 5), "every count is large: {by_channel:?}");
    reported(db, "2026-11-16").await;
    let text = |counts: &[i64; 4]| counts.map(|count| count.to_string()).join(" ");
    let mut expected: Vec<String> =
        whole.iter().map(|(code, counts)| format!("2026-11-16 {code} {}", text(counts))).collect();
    expected.sort();
    assert_eq!(stored(db).await, expected);
    let mut expected: Vec<String> = by_channel
        .iter()
        .map(|((code, channel), counts)| format!("2026-11-16 {code} {channel} {}", text(counts)))
        .collect();
    expected.sort();
    assert_eq!(groups(db).await, expected);
}

async fn a_member_under_an_erasure_request_is_not_counted(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    members(db, tokyo, "a", 12, WEDNESDAY).await;
    db.sql("UPDATE members SET erasure_requested_at = signed_up_at WHERE member_code IN ('a-0', 'a-1')")
        .await;
    reported(db, "2026-11-16").await;
    assert_eq!(stored(db).await, ["2026-11-16 tokyo 10 10 0 0"]);
}

async fn a_week_begins_on_monday_of_the_malls_own_zone(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    members(db, tokyo, "before", 5, "2026-11-15T23:59:59+09:00").await;
    members(db, tokyo, "first", 6, "2026-11-16T00:00:00+09:00").await;
    members(db, tokyo, "last", 7, "2026-11-22T23:59:59+09:00").await;
    members(db, tokyo, "after", 8, "2026-11-23T00:00:00+09:00").await;
    reported(db, "2026-11-16").await;
    reported(db, "2026-11-09").await;
    assert_eq!(stored(db).await, ["2026-11-09 tokyo 5 5 0 0", "2026-11-16 tokyo 13 13 0 0"]);
}

async fn a_week_with_a_clock_change_is_complete(db: &mut TestDb) {
    // On 1 November 2026, a Sunday, New York's clocks go back; on 8 March, a Sunday too, forward.
    let mall = db.mall("new-york", "America/New_York", "USD").await;
    members(db, mall, "a", 5, "2026-10-26T00:00:00-04:00").await;
    members(db, mall, "b", 6, "2026-11-01T23:59:59-05:00").await;
    members(db, mall, "c", 50, "2026-11-02T00:00:00-05:00").await;
    members(db, mall, "d", 7, "2026-03-08T23:59:59-04:00").await;
    members(db, mall, "e", 51, "2026-03-09T00:00:00-04:00").await;
    reported(db, "2026-10-26").await;
    reported(db, "2026-03-02").await;
    assert_eq!(stored(db).await, ["2026-03-02 new-york 7 7 0 0", "2026-10-26 new-york 11 11 0 0"]);
}

async fn a_week_without_signups_is_zeros(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    reported(db, "2026-11-16").await;
    assert_eq!(stored(db).await, ["2026-11-16 tokyo 0 0 0 0"]);
    assert_eq!(groups(db).await.len(), 0);
}

async fn who_leaves_or_confirms_after_the_week_changes_nothing(db: &mut TestDb) {
    let mall = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    members(db, mall, "stays", 12, WEDNESDAY).await;
    let signed_up = Member { mall, signed_up_at: WEDNESDAY, channel: Some("web"), ..Member::default() };
    for number in 0..6 {
        let (left, waits) = (format!("left-{number}"), format!("waits-{number}"));
        let withdrawn_at = Some("2026-11-22T23:59:59+09:00");
        db.member(Member { code: &left, status: "WITHDRAWN", withdrawn_at, ..signed_up }).await;
        db.member(Member { code: &waits, status: "UNCONFIRMED", ..signed_up }).await;
    }
    reported(db, "2026-11-16").await;
    let at_first = stored(db).await;
    assert_eq!(at_first, ["2026-11-16 tokyo 24 12 6 6"]);
    db.sql(
        "UPDATE members SET status = 'WITHDRAWN', withdrawn_at = '2026-11-22T15:00:00+00:00'
         WHERE member_code IN ('stays-0', 'stays-1', 'stays-2')",
    )
    .await;
    db.sql(
        "UPDATE members SET status = 'ACTIVE', confirmed_at = '2026-11-22T15:00:00+00:00'
         WHERE member_code IN ('waits-0', 'waits-1')",
    )
    .await;
    reported(db, "2026-11-16").await;
    assert_eq!(stored(db).await, at_first);
}
