//! `kill -9` on any page: the next start continues after the last stored page, and requests no stored page again.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Shops, member, order, refund};
use crate::support::{Database, eventually, on_both_databases};

on_both_databases![
    killed_in_a_page_it_continues_with_that_page,
    killed_after_a_page_it_continues_with_the_next,
    killed_after_the_last_page_it_requests_nothing_more,
    killed_at_ten_random_moments_it_is_finally_complete,
    killed_between_two_lists_of_the_sales_it_continues_with_the_second,
    killed_after_its_last_page_it_keeps_the_rows_of_unusable_records,
    a_start_after_a_kill_in_the_sales_reads_no_finished_domain_again,
    stopped_by_a_signal_it_continues_where_it_stopped,
    a_stop_does_not_wait_for_a_slow_server,
];

const MEMBERS: usize = 12_000;

fn many(shops: &Shops) {
    shops.generate(json!({ "members": {
        "count": MEMBERS, "from": "2026-11-19T00:00:00+09:00", "same_second": 250, "step_seconds": 1
    } }));
}

/// What each call requested.
fn asked(shops: &Shops) -> Vec<Value> {
    shops.calls().into_iter().map(|call| json!([call["path"], call["query"]])).collect()
}

/// Kills at the `page`-th pass of a failpoint, at which `stored` pages are committed, and starts again.
#[track_caller]
fn assert_goes_on(shops: &Shops, point: &str, stored: usize) {
    many(shops);
    shops.sync("member").failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
    let before = asked(shops);
    let next = before.get(stored).cloned();

    shops.sync("member").run().succeeds().is_silent();

    let after = asked(shops)[before.len()..].to_vec();
    for page in &before[..stored] {
        assert!(!after.contains(page), "a stored page is requested again: {page}");
    }
    assert!(next.is_none() || after.first() == next.as_ref(), "it continues with the next page");
    assert_eq!(shops.members(), MEMBERS.to_string());
    assert_eq!(
        shops.runs(),
        [
            ["demo member 2026-11-19", "1", "CRASHED", "NULL"],
            ["demo member 2026-11-19", "2", "COMPLETED", "0"]
        ]
    );
}

fn killed_in_a_page_it_continues_with_that_page(shops: &Shops) {
    assert_goes_on(shops, "in-chunk@4", 3);
}

fn killed_after_a_page_it_continues_with_the_next(shops: &Shops) {
    assert_goes_on(shops, "after-chunk@10", 10);
}

fn killed_after_the_last_page_it_requests_nothing_more(shops: &Shops) {
    many(shops);
    shops.sync("member").failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
    let before = asked(shops).len();

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(asked(shops).len(), before);
    assert_eq!(shops.members(), MEMBERS.to_string());
}

/// Where the last commit of a killed run ended: what the next one has to request.
fn checkpoint(shops: &Shops) -> Option<Value> {
    let sql = "SELECT checkpoint FROM batch_execution WHERE checkpoint IS NOT NULL ORDER BY id DESC";
    let stored = shops.sql(sql).into_iter().flatten().next()?;
    Some(serde_json::from_str::<Value>(&stored).expect("a checkpoint is JSON")["cursor"].clone())
}

/// Whether a call requests the page of a checkpoint.
fn is_of(call: &Value, cursor: &Value) -> bool {
    let spans = cursor["stage"]["walk"]["spans"].as_array().expect("it is walked");
    let last = spans.last().and_then(|span| span["last"].as_str()).expect("a walk has a part to read");
    let last: chrono::DateTime<chrono::Utc> = last.parse().expect("a time");
    let korean = last + chrono::TimeDelta::hours(9);
    call["query"]["end_date"] == korean.format("%Y-%m-%d %H:%M:%S").to_string().as_str()
}

fn killed_at_ten_random_moments_it_is_finally_complete(shops: &Shops) {
    many(shops);
    // Slow enough to be hit both within a page and between two, and small pages: it never ends before the kill.
    shops.faults(json!([{ "path": "customersprivacy", "fault": "slow", "seconds": 0.02, "times": -1 }]));
    let sync = ["mall", "sync", "--domain", "member", "--page-size", "260"];
    let mut calls = 0;
    let mut reached: Option<Value> = None;
    for turn in 0..10 {
        let mut running = shops.batchctl(sync).spawn();
        // A fourth call is made once the first page is stored: one page waits to be stored, and one waits to be queued.
        let wanted = calls + if turn == 0 { 4 } else { 1 + i64::from(fastrand::u8(0..3)) };
        eventually(|| shops.counted("calls") >= wanted, "enough calls are made");
        let pid = running.pid();
        running.signal(Signal::KILL);
        running.wait().is_killed_by(Signal::KILL);
        // PostgreSQL may still be at its last commit.
        let connections =
            format!("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name LIKE 'batchctl {pid}.%'");
        if shops.database() == Database::Postgres {
            eventually(|| shops.scalar(&connections) == "0", "its connections are closed");
        }
        if let Some(cursor) = &reached {
            let first = &shops.calls()[usize::try_from(calls).expect("a count")];
            assert!(is_of(first, cursor), "it continues after the last stored page: {first} after {cursor}");
        }
        calls = shops.counted("calls");
        reached = checkpoint(shops);
        assert!(reached.is_some(), "a stored page leaves a checkpoint");
    }

    shops.batchctl(sync).run().succeeds().is_silent();

    assert_eq!(shops.members(), MEMBERS.to_string());
    assert_eq!(shops.scalar("SELECT COUNT(DISTINCT member_code) FROM members"), MEMBERS.to_string());
    assert_eq!(shops.runs().len(), 11);
}

fn killed_after_its_last_page_it_keeps_the_rows_of_unusable_records(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({
        "orders": [order("20261101-0000001", "kim01", "2026-11-01T10:00:00+09:00", 1_000)],
        "refunds": [refund("C1", "20261101-0000001", day, 10), refund("C2", "20261101-0000009", day, 10)]
    }));
    shops.sync("sales").failpoint("after-chunk@3=kill").run().is_killed_by(Signal::KILL);

    shops.sync("sales").run().exits(3);

    let open = shops.open_errors();
    assert_eq!(open, [["refund C2", "the shop does not return its order `20261101-0000009`"]]);
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM refunds"), "1");
}

fn killed_between_two_lists_of_the_sales_it_continues_with_the_second(shops: &Shops) {
    shops.sync("sales").failpoint("after-chunk@1=kill").run().is_killed_by(Signal::KILL);
    let before = asked(shops).len();

    shops.sync("sales").run().succeeds().is_silent();

    let after = asked(shops)[before..].to_vec();
    let kinds: Vec<&Value> = after.iter().map(|call| &call[1]["date_type"]).collect();
    // A page each, and whether it was all.
    assert_eq!(kinds, ["cancel_date", "cancel_date", "refund_date", "refund_date"]);
}

fn a_start_after_a_kill_in_the_sales_reads_no_finished_domain_again(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({
        "members": [member("kim01", day), { "_at": day, "member_id": "lee02" }],
        "orders": [order("20261119-0000001", "kim01", day, 1_000)]
    }));
    // A period that is over, with a domain that ended PARTIAL, and one that is not over.
    // Of the former, it is noted too that its members and its orders have come.
    for (to, in_the_sales) in [("2026-11-19", "after-chunk@5=kill"), ("2026-11-20", "after-chunk@3=kill")] {
        let sync = ["mall", "sync", "--mall", "demo", "--from", "2026-11-19", "--to", to];
        shops.batchctl(sync).failpoint(in_the_sales).run().is_killed_by(Signal::KILL);
        let before = shops.calls().len();

        shops.batchctl(sync).run().exits(3);

        let after = shops.calls()[before..].to_vec();
        let of = |call: &Value, text: &str| call.to_string().contains(text);
        let members = after.iter().filter(|call| of(call, "customersprivacy")).count();
        let is_by_key = after.iter().any(|call| of(call, "customersprivacy/lee02"));
        assert_eq!((members, is_by_key), (1, true), "{after:?}");
        assert!(!after.iter().any(|call| of(call, "order_date")), "{after:?}");
        assert!(!after.iter().any(|call| of(call, "pay_date")), "{after:?}");
    }
}

fn stopped_by_a_signal_it_continues_where_it_stopped(shops: &Shops) {
    many(shops);
    let mut held = shops.sync("member").hold_at("in-chunk@3");
    held.wait_until_reached();
    held.process().signal(Signal::TERM);
    held.release().wait().exits(143);
    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "STOPPED", "143"]]);
    let stored = asked(shops)[..3].to_vec();
    let before = asked(shops).len();

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), MEMBERS.to_string());
    assert!(asked(shops)[before..].iter().all(|page| !stored.contains(page)));
}

fn a_stop_does_not_wait_for_a_slow_server(shops: &Shops) {
    shops.faults(json!([{ "path": "customersprivacy", "fault": "hold", "times": -1 }]));
    let mut running = shops.sync("member").spawn();
    eventually(|| shops.counted("held") == 1, "the server holds a call");

    running.signal(Signal::TERM);

    running.wait().exits(143);
    shops.control("demo", "release", json!({}));
    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "STOPPED", "143"]]);
}
