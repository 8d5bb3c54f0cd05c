//! What was read is what the shop has, whatever the order of its lists, and whatever its pages leave out.

use serde_json::{Value, json};

use super::{Shops, member, order, refund};
use crate::support::on_both_databases;

on_both_databases![
    records_of_one_second_are_complete_in_whatever_order_they_come,
    a_sorted_list_takes_a_call_a_page_and_one_for_its_total,
    an_empty_or_short_page_is_not_the_end,
    refunds_which_the_shop_does_not_count_are_complete_too,
    pages_shorter_than_asked_for_are_read_to_the_end,
    a_shop_whose_lists_stay_empty_is_no_success,
    a_difference_that_stays_is_partial_and_read_again_by_a_retry,
    a_checkpoint_of_another_version_starts_over,
    a_date_that_cannot_be_read_hides_no_record_of_a_crowded_second,
    a_shop_that_repeats_a_page_is_not_asked_for_ever,
    a_wrong_count_is_said_and_takes_nothing_away,
    a_count_that_is_not_a_count_is_quoted,
];

/// Trade in which many records share a second: more than a page of 100 where `is_crowded`.
fn crowd(shops: &Shops, is_crowded: bool) {
    shops.control("demo", "settings", json!({ "shuffle": true }));
    let (same, orders) = if is_crowded { (181, 543) } else { (7, 1_706) };
    shops.generate(json!({
        "members": { "count": 1_900, "from": "2026-11-19T00:00:00+09:00", "same_second": same, "step_seconds": 1 },
        "orders": {
            "count": orders, "from": "2026-11-19T01:00:00+09:00", "same_second": same, "step_seconds": 1, "items": 1,
            "paid": true, "members": 500
        }
    }));
}

fn records_of_one_second_are_complete_in_whatever_order_they_come(shops: &Shops) {
    for (is_crowded, orders) in [(true, 543), (false, 1_706 + 543)] {
        crowd(shops, is_crowded);
        for sort in ["asc", "desc"] {
            shops.control("demo", "settings", json!({ "sort": sort }));
            for table in ["order_items", "orders", "members"] {
                shops.execute(&format!("DELETE FROM {table}"));
            }
            let sync = ["mall", "sync", "--mall", "demo", "--page-size", "100", "--rerun"];
            shops.batchctl(sync).run().succeeds().is_silent();

            assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), orders.to_string(), "{sort}");
            assert_eq!(shops.members(), if is_crowded { "1900" } else { "3800" }, "{sort}");
        }
    }
}

fn a_sorted_list_takes_a_call_a_page_and_one_for_its_total(shops: &Shops) {
    crowd(shops, false);

    let sync = ["mall", "sync", "--domain", "order", "--page-size", "100"];
    shops.batchctl(sync).run().succeeds().is_silent();

    let calls = shops.calls();
    assert!(calls.len() <= 20, "{} calls", calls.len());
    let counts =
        calls.iter().filter(|call| call["path"].as_str().is_some_and(|path| path.ends_with("/count")));
    assert_eq!(counts.count(), 1);
    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution"), "1706");
}

fn an_empty_or_short_page_is_not_the_end(shops: &Shops) {
    crowd(shops, false);
    for (fault, after) in
        [("empty_page", 0), ("short_page", 0), ("empty_page", 3), ("short_page", 3), ("short_page", 18)]
    {
        shops.execute("DELETE FROM members");
        shops.faults(json!([{ "path": "customersprivacy?", "fault": fault, "after": after }]));

        let sync = ["mall", "sync", "--domain", "member", "--page-size", "100", "--rerun"];
        shops.batchctl(sync).run().succeeds().is_silent();

        assert_eq!(shops.members(), "1900", "{fault} after {after}");
    }
}

fn refunds_which_the_shop_does_not_count_are_complete_too(shops: &Shops) {
    let day = "2026-11-19T10:00:00+09:00";
    let numbers: Vec<String> = (1..=95).map(|number| format!("20261101-{number:07}")).collect();
    let orders: Vec<Value> =
        numbers.iter().map(|number| order(number, "kim01", "2026-11-01T10:00:00+09:00", 1_000)).collect();
    let refunds: Vec<Value> =
        numbers.iter().map(|number| refund(&format!("C{number}"), number, day, 10)).collect();
    shops.data(json!({ "orders": orders, "refunds": refunds }));
    shops.control("demo", "settings", json!({ "shuffle": true }));
    for (fault, after) in [("empty_page", 0), ("short_page", 0), ("empty_page", 2), ("short_page", 2)] {
        shops.execute("DELETE FROM refunds");
        shops.faults(json!([{ "path": "refunds?", "fault": fault, "after": after }]));

        let sync = ["mall", "sync", "--domain", "sales", "--page-size", "10", "--rerun"];
        shops.batchctl(sync).run().succeeds().is_silent();

        assert_eq!(shops.scalar("SELECT COUNT(*) FROM refunds"), "95", "{fault} after {after}");
    }
}

fn pages_shorter_than_asked_for_are_read_to_the_end(shops: &Shops) {
    crowd(shops, true);
    shops.control("demo", "settings", json!({ "page_rows_max": 90 }));

    shops.sync("order").run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM orders"), "543");
}

fn a_shop_whose_lists_stay_empty_is_no_success(shops: &Shops) {
    crowd(shops, false);
    shops.faults(json!([{ "path": "customersprivacy?", "fault": "empty_page", "times": -1 }]));

    shops.sync("member").run().exits(75).says("the shop counts 1900 members from 2026-11-19T00:00:00+09:00");

    assert!(shops.calls().len() < 20, "{} calls", shops.calls().len());
    shops.faults(json!([]));
    shops.sync("member").run().succeeds().is_silent();
    assert_eq!(shops.members(), "1900");
}

fn a_difference_that_stays_is_partial_and_read_again_by_a_retry(shops: &Shops) {
    crowd(shops, false);
    let body = json!({ "count": 1_901 });
    shops.faults(json!([{ "path": "customersprivacy/count", "fault": "status", "status": 200, "body": body,
        "times": -1 }]));

    let sync = ["mall", "sync", "--domain", "member", "--page-size", "1000"];
    shops.batchctl(sync).run().exits(3).says("the shop counts 1901 members");

    assert_eq!(shops.members(), "1900", "what is listed is stored");
    assert!(!shops.open_errors().is_empty());
    shops.faults(json!([]));
    shops.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();
    assert!(shops.open_errors().is_empty());
    assert_eq!(shops.runs()[1], ["demo member 2026-11-19", "2", "COMPLETED", "0"]);
}

fn a_checkpoint_of_another_version_starts_over(shops: &Shops) {
    crowd(shops, false);
    let sync = ["mall", "sync", "--domain", "member", "--page-size", "100"];
    shops.batchctl(sync).failpoint("after-chunk@3=kill").run().is_killed_by(rustix::process::Signal::KILL);
    let old = r#"{"list":0,"cursor":{"walk":{"from":"2026-11-18T15:00:01Z","seen":[]}},"read":300}"#;
    shops.execute(&format!("UPDATE batch_execution SET checkpoint = '{old}'"));

    shops.batchctl(sync).run().succeeds().is_silent();

    assert_eq!(shops.members(), "1900");
    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution WHERE status = 'COMPLETED'"), "1900");
}

fn a_date_that_cannot_be_read_hides_no_record_of_a_crowded_second(shops: &Shops) {
    let broken = [Value::from("garbage"), Value::Null];
    for (sort, bad) in [("desc", 6), ("asc", 6), ("desc", 1)] {
        let mall = format!("{sort}{bad}");
        shops.open(&mall);
        shops.control(&mall, "settings", json!({ "sort": sort, "shuffle": true }));
        let mut members = Vec::new();
        for second in 0..6 {
            let at = format!("2026-11-19T{:02}:17:31+09:00", second * 4);
            members.extend((0..60).map(|number| member(&format!("u{second}{number:02}"), &at)));
            if second < bad {
                members[second * 60 + 30]["created_date"] = broken[second % 2].clone();
                members[second * 60 + 30]["_at"] = at.into();
            }
        }
        shops.control(&mall, "data", json!({ "members": members }));

        let sync = ["mall", "sync", "--mall", &mall, "--domain", "member", "--page-size", "50", "-v"];
        let ran = shops.batchctl(sync).run().exits(3);

        let stored = 360 - bad;
        ran.says(&format!("{stored} members: {stored} new"))
            .says("`created_date`")
            .never_shows("the shop counts");
        let code = format!("mall_id = (SELECT id FROM malls WHERE code = '{mall}')");
        assert_eq!(shops.scalar(&format!("SELECT COUNT(*) FROM members WHERE {code}")), stored.to_string());
        let counts = "SELECT items_read, items_written, items_skipped, items_failed FROM batch_execution
                      ORDER BY id DESC LIMIT 1";
        let expected = [360, stored, bad, 0].map(|count| count.to_string());
        assert_eq!(shops.sql(counts), [expected]);
        let calls = shops.cafe24.log(&mall)["requests"].as_array().map_or(0, Vec::len);
        assert!(calls < 100, "{calls} calls");
    }
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM batch_retry_request"), "0", "a retry would find the same");
}

fn a_shop_that_repeats_a_page_is_not_asked_for_ever(shops: &Shops) {
    let day = "2026-11-19T12:00:00+09:00";
    let numbers: Vec<String> = (0..20).map(|number| format!("20261119-{number:07}")).collect();
    let orders = numbers.iter().map(|number| order(number, "kim01", day, 1_000));
    let refunds = numbers.iter().map(|number| refund(&format!("C{number}"), number, day, 10));
    let members = (0..20).map(|number| member(&format!("u{number}"), day));
    shops.data(json!({
        "orders": orders.collect::<Vec<_>>(), "refunds": refunds.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>()
    }));
    let whole_day = "from 2026-11-19T00:00:00+09:00 to 2026-11-19T23:59:59+09:00";
    for (list, domain, table, says) in [
        (
            "customersprivacy",
            "member",
            "members",
            format!("the shop counts 20 members {whole_day}, but lists 10"),
        ),
        ("orders", "order", "orders", format!("the shop counts 20 orders {whole_day}, but lists 10")),
        (
            "refunds",
            "sales",
            "refunds",
            format!("the shop lists 10 refunds {whole_day}, but that is not all of them"),
        ),
    ] {
        shops
            .faults(json!([{ "path": format!("{list}?"), "fault": "repeat_page", "after": 1, "times": -1 }]));
        let before = shops.calls().len();

        let sync = ["mall", "sync", "--domain", domain, "--page-size", "10", "-v"];
        let ran = shops.batchctl(sync).run().exits(3);

        let ran = ran.says(&says);
        assert_eq!(shops.scalar(&format!("SELECT COUNT(*) FROM {table}")), "10", "{list}");
        let calls = shops.calls().len() - before;
        assert!(calls < 300, "{calls} calls for {list}");
        if domain == "sales" {
            ran.says("30 orders and refunds: 20 new, 10 unchanged");
        } else {
            ran.says(&format!("10 {table}: 10 new")).says("10 records are stored");
        }
    }
}

fn a_wrong_count_is_said_and_takes_nothing_away(shops: &Shops) {
    crowd(shops, false);
    for counted in [0, 1_899, 9_001, u64::MAX] {
        shops.faults(json!([{ "path": "customersprivacy/count", "fault": "status", "status": 200,
            "body": { "count": counted }, "times": -1 }]));
        let before = shops.calls().len();

        let sync = ["mall", "sync", "--domain", "member", "--page-size", "100", "--rerun"];
        let ran = shops.batchctl(sync).run().exits(3);

        ran.says(&format!("the shop counts {counted} members from 2026-11-19T00:00:00+09:00"))
            .says("but lists 1900")
            .says("1,900 records are stored");
        assert_eq!(shops.members(), "1900");
        let last = "SELECT items_read, items_failed FROM batch_execution ORDER BY id DESC LIMIT 1";
        assert_eq!(shops.sql(last), [["1900", "1"]], "{counted}");
        let calls = shops.calls().len() - before;
        assert!(calls < 300, "{calls} calls for a count of {counted}");
    }
}

fn a_count_that_is_not_a_count_is_quoted(shops: &Shops) {
    crowd(shops, false);
    for (counted, shown) in
        [(json!(-1), "-1"), (json!(3000.0), "3000.0"), (json!(null), "null"), (json!("all"), "\"all\"")]
    {
        shops.faults(json!([{ "path": "customersprivacy/count", "fault": "status", "status": 200,
            "body": { "count": counted }, "times": -1 }]));

        let sync = ["mall", "sync", "--domain", "member", "--rerun"];
        shops.batchctl(sync).run().exits(1).says(&format!("`count` is {shown}, which is not a count"));
    }
}
