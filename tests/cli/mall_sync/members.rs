//! Members: all of them, each once, whatever the server's limits and the sign-ups and withdrawals in the meantime.

use serde_json::json;

use super::{Shops, member};
use crate::support::on_both_databases;

on_both_databases![
    yesterdays_members_are_stored,
    twenty_thousand_members_are_each_stored_once_while_new_ones_sign_up,
    a_list_may_begin_with_the_oldest_or_the_newest,
    a_second_with_more_members_than_a_page_is_read_completely,
    members_that_disappear_while_they_are_paged_hide_nobody,
    a_second_sync_changes_nothing_and_asks_nothing,
    only_a_member_that_changed_is_updated,
    a_record_older_than_the_stored_one_does_not_overwrite_it,
    a_period_that_was_not_over_is_synchronised_again,
];

fn yesterdays_members_are_stored(shops: &Shops) {
    shops.data(json!({ "members": [
        member("before", "2026-11-18T23:59:59+09:00"),
        member("first", "2026-11-19T00:00:00+09:00"),
        member("last", "2026-11-19T23:59:59+09:00"),
        member("after", "2026-11-20T00:00:00+09:00"),
    ] }));

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(
        shops.sql("SELECT member_code, status, email, name, phone FROM members ORDER BY signed_up_at"),
        [
            ["first", "ACTIVE", "first@example.com", "이름 first", "010-0000-0000"],
            ["last", "ACTIVE", "last@example.com", "이름 last", "010-0000-0000"],
        ]
    );
    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "COMPLETED", "0"]]);
    assert_eq!(
        shops.scalar("SELECT command_line FROM batch_execution"),
        "mall sync --mall demo --domain member --from 2026-11-19 --to 2026-11-19"
    );
    let calls = shops.calls();
    assert_eq!(calls.len(), 2, "a page that is not full is the last if there are no more: {calls:?}");
    assert_eq!(calls[0]["version"], "2026-03-01");
    assert!(calls[0]["user_agent"].as_str().is_some_and(|agent| agent.starts_with("batchctl/")));
}

/// 20,000 members, 300 in each second, so that every boundary of pages falls into a second.
fn many(shops: &Shops) {
    shops.generate(json!({ "members": {
        "count": 20_000, "from": "2026-11-19T00:00:00+09:00", "same_second": 300, "step_seconds": 1
    } }));
}

fn twenty_thousand_members_are_each_stored_once_while_new_ones_sign_up(shops: &Shops) {
    many(shops);
    for (after, number) in (1..=12).zip(0..) {
        shops.control(
            "demo",
            "when",
            json!({ "path": "customersprivacy", "after": after, "data": { "members": [
            member(&format!("new{number}"), "2026-11-19T23:00:00+09:00")
        ] } }),
        );
    }

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.scalar("SELECT COUNT(*) FROM members WHERE member_code NOT LIKE 'new%'"), "20000");
    assert_eq!(shops.scalar("SELECT COUNT(*) FROM members WHERE member_code LIKE 'new%'"), "12");
    let calls = shops.calls();
    assert!(calls.iter().all(|call| call["status"] == 200), "no call is refused: {calls:?}");
    // Each page contains a second of 300 members that the page before had begun.
    assert!(calls.len() <= 40, "{} calls", calls.len());
}

fn a_list_may_begin_with_the_oldest_or_the_newest(shops: &Shops) {
    shops.control("demo", "settings", json!({ "sort": "asc" }));
    many(shops);

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "20000");
    assert_eq!(shops.scalar("SELECT items_read FROM batch_execution"), "20000");
}

fn a_second_with_more_members_than_a_page_is_read_completely(shops: &Shops) {
    shops.generate(json!({ "members": {
        "count": 12_000, "from": "2026-11-19T00:00:00+09:00", "same_second": 2_500, "step_seconds": 1
    } }));

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "12000");
}

fn members_that_disappear_while_they_are_paged_hide_nobody(shops: &Shops) {
    shops.control("demo", "settings", json!({ "sort": "asc" }));
    shops.generate(json!({ "members": {
        "count": 3_000, "from": "2026-11-19T00:00:00+09:00", "same_second": 1, "step_seconds": 1
    } }));
    let gone: Vec<String> = (1..=40).map(|number| format!("m{number:07}")).collect();
    shops.control(
        "demo",
        "when",
        json!({ "path": "customersprivacy", "after": 2, "delete": { "members": gone } }),
    );

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(
        shops.scalar("SELECT COUNT(*) FROM members WHERE member_code > 'm0000040'"),
        "2960",
        "everybody who is still there is stored"
    );
}

fn a_second_sync_changes_nothing_and_asks_nothing(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.sync("member").run().succeeds();
    let stored = shops.sql("SELECT * FROM members");

    let said =
        shops.batchctl(["-v", "mall", "sync", "--mall", "demo", "--domain", "member"]).run().succeeds();

    said.says("demo member 2026-11-19: already completed by run 1");
    assert_eq!(shops.calls().len(), 2);

    shops.batchctl(["mall", "sync", "--domain", "MEMBER", "--rerun"]).run().succeeds().is_silent();
    assert_eq!(shops.sql("SELECT * FROM members"), stored, "an unchanged row is not touched");
    assert_eq!(shops.runs()[1], ["demo member 2026-11-19", "2", "COMPLETED", "0"]);
}

fn only_a_member_that_changed_is_updated(shops: &Shops) {
    let created = "2026-11-19T10:00:00+09:00";
    shops.data(json!({ "members": [member("kim01", created), member("lee02", created)] }));
    shops.sync("member").run().succeeds();
    let mut changed = member("kim01", created);
    changed["email"] = "new@example.com".into();
    shops.data(json!({ "members": [changed] }));

    let said = shops
        .batchctl(["-v", "mall", "sync", "--domain", "member", "--rerun"])
        .now("2026-11-20T02:00:00+09:00")
        .run()
        .succeeds();

    said.says("2 members: 1 changed, 1 unchanged");
    assert_eq!(
        shops.sql("SELECT member_code, email FROM members ORDER BY member_code"),
        [["kim01", "new@example.com"], ["lee02", "lee02@example.com"]]
    );
}

fn a_record_older_than_the_stored_one_does_not_overwrite_it(shops: &Shops) {
    shops.write(
        "members.csv",
        "mall,member_code,status,signed_up_at,email,updated_at\n\
         demo,kim01,ACTIVE,2026-11-19T10:00:00+09:00,newest@example.com,2099-01-01T00:00:00+09:00\n",
    );
    shops.batchctl(["data", "import", "--kind", "members", "members.csv"]).run().succeeds();
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));

    let said = shops.batchctl(["-v", "mall", "sync", "--domain", "member"]).run().succeeds();

    said.says("1 member: 1 kept because newer or withdrawn");
    assert_eq!(shops.scalar("SELECT email FROM members"), "newest@example.com");
}

fn a_period_that_was_not_over_is_synchronised_again(shops: &Shops) {
    shops.data(json!({ "members": [member("early", "2026-11-20T00:30:00+09:00")] }));
    let today = ["mall", "sync", "--domain", "member", "--from", "2026-11-20", "--to", "2026-11-20"];
    shops.batchctl(today).run().succeeds();
    shops.data(json!({ "members": [member("late", "2026-11-20T20:00:00+09:00")] }));

    shops.batchctl(today).now("2026-11-21T00:05:00+09:00").run().succeeds().is_silent();
    assert_eq!(shops.members(), "2");

    let again = [&["-v"], &today[..]].concat();
    let said = shops.batchctl(again).now("2026-11-21T00:10:00+09:00").run().succeeds();
    said.says("already completed by run 2");
}
