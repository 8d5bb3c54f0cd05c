//! Unusable records: each is a row of the error log, and the rest is stored.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Shops, member, order, refund};
use crate::support::on_both_databases;

on_both_databases![
    a_bad_record_is_one_row_and_the_rest_is_stored,
    a_retry_requests_only_the_records_that_were_bad,
    a_retry_requests_the_whole_key_however_long,
    an_order_that_the_shop_does_not_return_stays_open,
    a_retry_of_a_key_with_a_comma_requests_no_other_record,
    past_the_skip_limit_the_run_fails_and_the_next_one_starts_over,
    only_bad_records_are_a_failure_until_they_are_fixed,
    past_a_percentage_the_run_fails_until_the_records_are_fixed,
    a_failure_from_bad_records_is_over_once_they_are_fixed,
    killed_after_the_last_page_bad_records_are_a_partial_success_and_can_be_retried,
    a_percentage_of_bad_records_is_checked_against_all_that_were_read,
    a_refund_of_an_order_the_shop_does_not_return_is_one_row,
    a_bad_record_counts_once_however_often_it_is_read,
    a_record_without_a_key_is_described_by_its_neighbours,
    hostile_text_is_stored_unchanged,
];

fn a_bad_record_is_one_row_and_the_rest_is_stored(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let mut dateless = member("dateless", day);
    dateless["created_date"] = "soon".into();
    dateless["_at"] = day.into();
    shops.data(json!({ "members": [
        member("kim01", day), dateless, member("lee02", day), { "_at": day, "_raw": 17 },
        { "_at": day, "member_id": "", "created_date": day }
    ] }));

    let ran = shops.sync("member").run().exits(3);

    ran.says("3 of 5 items failed").says("member dateless: `created_date`: `soon` is not a time");
    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["kim01"], ["lee02"]]);
    let errors = shops.open_errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "PARTIAL", "3"]]);
    shops
        .batchctl(["runs", "show", "1"])
        .run()
        .succeeds()
        .prints("5 read, 2 written, 0 failed, 3 skipped because of their data");
}

fn an_order_that_the_shop_does_not_return_stays_open(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let mut broken = order("20261119-0000002", "kim01", day, 2_000);
    broken["currency"] = "WON".into();
    shops.data(json!({ "orders": [order("20261119-0000001", "kim01", day, 1_000), broken] }));
    shops.sync("order").run().exits(3);
    shops.faults(json!([{ "path": "orders", "fault": "empty_page" }]));

    shops
        .batchctl(["runs", "retry", "1"])
        .run()
        .exits(1)
        .says("order 20261119-0000002: the shop does not return it");

    let open = shops.open_errors();
    assert!(open.iter().all(|error| error[0].contains("20261119-0000002")), "{open:?}");
}

fn a_retry_requests_only_the_records_that_were_bad(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let broken = |mut order: Value| {
        order["currency"] = "WON".into();
        order
    };
    shops.data(json!({ "orders": [
        order("20261119-0000001", "kim01", day, 1_000),
        broken(order("20261119-0000002", "kim01", day, 2_000)),
    ] }));
    shops.sync("order").run().exits(3);
    shops.data(json!({ "orders": [order("20261119-0000002", "kim01", day, 2_000)] }));
    let before = shops.calls().len();

    shops.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();

    let calls = shops.calls()[before..].to_vec();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["query"]["order_id"], "20261119-0000002");
    assert_eq!(shops.scalar("SELECT SUM(total_amount) FROM orders"), "3000");
    assert!(shops.open_errors().is_empty(), "the error is resolved");
    assert_eq!(shops.runs()[1], ["demo order 2026-11-19", "2", "COMPLETED", "0"]);
}

fn a_retry_requests_the_whole_key_however_long(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let number = format!("20261119-{}", "7".repeat(90));
    let mut broken = order(&number, "kim01", day, 2_000);
    broken["currency"] = "WON".into();
    shops.data(json!({ "orders": [order("20261119-0000001", "kim01", day, 1_000), broken] }));
    shops.sync("order").run().exits(3);
    shops.data(json!({ "orders": [order(&number, "kim01", day, 2_000)] }));

    shops.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT SUM(total_amount) FROM orders"), "3000");
}

fn a_retry_of_a_key_with_a_comma_requests_no_other_record(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({ "orders": [order("1", "kim01", day, 1_000), order("8,9", "kim01", day, 2_000)] }));
    shops.sync("order").run().exits(3).says("order 8,9: `order_id`: `8,9` contains a comma");

    shops.batchctl(["runs", "retry", "1"]).run().exits(3);

    let open = shops.sql("SELECT DISTINCT item_key FROM batch_error_log WHERE resolved_at IS NULL");
    assert_eq!(open, [["order 8,9"]], "it is still open");
    let asked = shops.calls().iter().any(|call| call["query"]["order_id"].is_string());
    assert!(!asked, "neither 8 nor 9 is requested");
}

/// 250 members, of whom this many in the middle are bad.
fn some(shops: &Shops, bad: usize) {
    let at = |number: usize| format!("2026-11-19T10:{:02}:{:02}+09:00", number / 60, number % 60);
    let members: Vec<Value> = (0..250)
        .map(|number| {
            let mut member = member(&format!("m{number:03}"), &at(number));
            if (100..100 + bad).contains(&number) {
                member["created_date"] = "soon".into();
                member["_at"] = at(number).into();
            }
            member
        })
        .collect();
    shops.data(json!({ "members": members }));
}

fn past_the_skip_limit_the_run_fails_and_the_next_one_starts_over(shops: &Shops) {
    some(shops, 5);
    let limited = ["mall", "sync", "--domain", "member", "--page-size", "50", "--skip-limit", "4"];

    shops.batchctl(limited).run().exits(1).says("5 records cannot be used, more than the skip limit of 4");

    let stored: usize = shops.members().parse().expect("a count");
    assert!((50..250).contains(&stored), "{stored}: what was good before stays");
    assert_eq!(shops.open_errors().len(), 5);

    some(shops, 0);
    shops.batchctl(limited).run().succeeds().is_silent();
    assert_eq!(shops.members(), "250");
    assert!(shops.open_errors().is_empty());
}

fn only_bad_records_are_a_failure_until_they_are_fixed(shops: &Shops) {
    shops.data(json!({ "members": [{ "_at": "2026-11-19T10:00:00+09:00", "member_id": "kim01" }] }));
    shops.sync("member").run().exits(1).says("1 of 1 items failed");
    shops.sync("member").run().exits(1).says("1 of 1 items failed");

    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "1");
    assert!(shops.open_errors().is_empty());
}

fn past_a_percentage_the_run_fails_until_the_records_are_fixed(shops: &Shops) {
    some(shops, 5);
    let limited = ["mall", "sync", "--domain", "member", "--page-size", "50", "--skip-limit", "1%"];
    shops.batchctl(limited).run().exits(1).says("5 of 250 items failed, more than the skip limit of 1%");

    some(shops, 0);
    shops.batchctl(limited).run().succeeds().is_silent();

    assert_eq!(shops.members(), "250");
    assert!(shops.open_errors().is_empty());
}

fn a_failure_from_bad_records_is_over_once_they_are_fixed(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({ "members": [{ "_at": day, "member_id": "kim01" }] }));
    shops.sync("member").run().exits(1);
    shops.data(json!({ "members": [member("kim01", day)] }));

    shops.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();

    assert_eq!(shops.members(), "1");
    assert!(shops.open_errors().is_empty());
}

/// Many members on several pages, one of them without a date, and a kill after the last page.
fn kill_after_the_last_page(shops: &Shops, options: &[&str]) {
    shops.generate(json!({ "members": {
        "count": 2_500, "from": "2026-11-19T00:00:00+09:00", "same_second": 250, "step_seconds": 1
    } }));
    shops.data(json!({ "members": [{ "_at": "2026-11-19T10:00:00+09:00", "member_id": "kim01" }] }));
    let command = [&["mall", "sync", "--mall", "demo", "--domain", "member"], options].concat();
    shops.batchctl(command).failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
}

fn killed_after_the_last_page_bad_records_are_a_partial_success_and_can_be_retried(shops: &Shops) {
    kill_after_the_last_page(shops, &[]);

    shops.sync("member").run().exits(3).says("1 of 2501 items failed");

    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution WHERE status = 'PARTIAL'"), "2501");
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.batchctl(["runs", "retry", "2"]).run().succeeds().is_silent();
    assert_eq!(shops.members(), "2501");
    assert!(shops.open_errors().is_empty());
}

fn a_percentage_of_bad_records_is_checked_against_all_that_were_read(shops: &Shops) {
    kill_after_the_last_page(shops, &["--skip-limit", "1%"]);

    let command = ["mall", "sync", "--mall", "demo", "--domain", "member", "--skip-limit", "1%"];
    shops.batchctl(command).run().exits(3).says("1 of 2501 items failed");
}

fn a_bad_record_counts_once_however_often_it_is_read(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    // Paid and cancelled on one day: they are in two lists.
    let orders: Vec<Value> = (1..=4)
        .map(|number| {
            let mut order = order(&format!("20261119-000000{number}"), "kim01", day, 1_000);
            order["canceled"] = "T".into();
            order["cancel_date"] = day.into();
            if number <= 3 {
                order["currency"] = "WON".into();
            }
            order
        })
        .collect();
    shops.data(json!({ "orders": orders }));
    shops.batchctl(["mall", "sync", "--domain", "sales", "--skip-limit", "3"]).run().exits(3);
    assert_eq!(shops.scalar("SELECT items_skipped FROM batch_execution"), "3");
    assert_eq!(shops.open_errors().len(), 3);

    // A wrong total has the whole list read again, in pieces.
    some(shops, 5);
    shops.data(json!({ "members": [{ "_at": "2026-11-19T10:00:00+09:00", "_raw": 17 }] }));
    shops.faults(json!([{ "path": "customersprivacy/count", "fault": "status", "status": 200,
        "body": { "count": 260 }, "times": 2 }]));
    shops
        .batchctl(["mall", "sync", "--domain", "member", "--page-size", "50", "--skip-limit", "6"])
        .run()
        .exits(3);
    assert_eq!(
        shops.sql("SELECT items_read, items_skipped, items_failed FROM batch_execution WHERE id = 2"),
        [["251", "6", "0"]]
    );
    assert_eq!(shops.open_errors().len(), 9);
}

fn a_record_without_a_key_is_described_by_its_neighbours(shops: &Shops) {
    let at = |second: u32| format!("2026-11-19T10:00:0{second}+09:00");
    let nameless = json!({ "_at": at(2), "member_id": "", "created_date": at(2) });
    shops.data(json!({ "members": [member("kim01", &at(1)), nameless, member("lee02", &at(3))] }));

    shops.sync("member").run().exits(3);

    let [[key, message]] = <[[String; 2]; 1]>::try_from(
        shops
            .open_errors()
            .into_iter()
            .map(|row| <[String; 2]>::try_from(row).expect("two columns"))
            .collect::<Vec<_>>(),
    )
    .expect("one row");
    assert!(key.starts_with("member without `member_id` ("), "{key}");
    assert_eq!(
        message,
        "`member_id` is missing; its `created_date` is 2026-11-19T10:00:02+09:00, listed between `lee02` and `kim01`"
    );
}

fn a_refund_of_an_order_the_shop_does_not_return_is_one_row(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    shops.data(json!({
        "orders": [order("20261119-0000001", "kim01", "2026-11-01T10:00:00+09:00", 1_000)],
        "refunds": [refund("C1", "20261119-0000001", day, 10), refund("C2", "20261119-0000009", day, 10)]
    }));

    shops.sync("sales").run().exits(3);

    assert_eq!(shops.open_errors(), [["refund C2", "the shop does not return its order `20261119-0000009`"]]);
    assert_eq!(shops.sql("SELECT refund_key FROM refunds"), [["C1"]]);
}

fn hostile_text_is_stored_unchanged(shops: &Shops) {
    let name = "Robert'); DROP TABLE members;-- \\N \t\u{1b}[31m 雪 \u{1F600} \\";
    let mut hostile = member("m'; --", "2026-11-19T10:00:00+09:00");
    hostile["name"] = name.into();
    shops.data(json!({ "members": [hostile] }));

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.sql("SELECT member_code, name FROM members"), [["m'; --", name]]);
}
