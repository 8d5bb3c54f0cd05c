//! Whatever way a server fails in, the result is right or the error is right, and nothing is half-written.

use serde_json::{Value, json};

use super::{Shops, member};
use crate::support::cafe24::{CLIENT_SECRET, set_tokens};
use crate::support::on_both_databases;

on_both_databases![
    temporary_errors_are_waited_out,
    a_connection_that_breaks_sometimes_is_opened_again,
    a_server_that_stays_down_means_try_later,
    an_invalid_answer_ends_in_the_right_error,
    an_endless_body_is_not_read_to_its_end,
    a_redirect_is_not_followed,
    a_refused_call_names_itself_and_its_reason,
    a_slow_body_is_read_to_its_end,
    a_compressed_answer_is_read,
    what_was_stored_before_a_fault_stays_and_is_not_asked_for_again,
    requests_are_traced_without_secrets,
];

/// 3,500 members: four pages.
fn some(shops: &Shops) {
    shops.generate(json!({ "members": {
        "count": 3_500, "from": "2026-11-19T00:00:00+09:00", "same_second": 3, "step_seconds": 1
    } }));
}

#[expect(clippy::needless_pass_by_value, reason = "`json!` is written in its place")]
fn fault(kind: &str, times: i64, more: Value) -> Value {
    let mut rule = json!({ "path": "customersprivacy", "fault": kind, "after": 1, "times": times });
    if let (Some(rule), Some(more)) = (rule.as_object_mut(), more.as_object()) {
        rule.extend(more.clone());
    }
    rule
}

fn temporary_errors_are_waited_out(shops: &Shops) {
    some(shops);
    shops.faults(json!([
        fault("status", 1, json!({ "status": 429 })),
        fault("status", 2, json!({ "status": 500 })),
        fault("status", 1, json!({ "status": 503, "headers": { "Retry-After": "0" } })),
    ]));

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "3500");
    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "COMPLETED", "0"]]);
}

fn a_connection_that_breaks_sometimes_is_opened_again(shops: &Shops) {
    some(shops);
    for kind in ["cut", "reset", "html", "garbage", "empty", "lost"] {
        shops.faults(json!([fault(kind, 2, json!({}))]));
        shops.batchctl(["mall", "sync", "--domain", "member", "--rerun"]).run().succeeds().is_silent();
        assert_eq!(shops.members(), "3500", "{kind}");
    }
}

fn a_server_that_stays_down_means_try_later(shops: &Shops) {
    some(shops);
    for (kind, more) in [
        ("status", json!({ "status": 503 })),
        ("status", json!({ "status": 429 })),
        ("cut", json!({})),
        ("reset", json!({})),
    ] {
        let mut rule = fault(kind, -1, more);
        rule["after"] = 0.into();
        shops.faults(json!([rule]));
        let ran = shops.sync("member").run().exits(75);
        ran.says("Cafe24").says("customersprivacy").says("runs retry");
    }
}

fn an_invalid_answer_ends_in_the_right_error(shops: &Shops) {
    some(shops);
    for (kind, says) in [("html", "html"), ("garbage", "JSON"), ("empty", "the answer is empty")] {
        shops.faults(json!([fault(kind, -1, json!({}))]));
        let ran = shops.sync("member").run().exits(75);
        ran.says("customersprivacy").says(says).never_shows("kim");
    }
}

fn an_endless_body_is_not_read_to_its_end(shops: &Shops) {
    shops.faults(json!([{ "path": "customersprivacy", "fault": "huge", "times": -1 }]));
    shops.sync("member").run().exits(1).says("32 MiB");
}

fn a_redirect_is_not_followed(shops: &Shops) {
    let elsewhere = "http://127.0.0.1:9/api";
    shops.faults(
        json!([{ "path": "customersprivacy", "fault": "redirect", "location": elsewhere, "times": -1 }]),
    );
    shops.sync("member").run().exits(1).says("customersprivacy").says("302");
}

fn a_refused_call_names_itself_and_its_reason(shops: &Shops) {
    let body = json!({ "error": { "code": "422", "message": "Invalid [start_date].", "more_info": {} } });
    shops.faults(
        json!([{ "path": "customersprivacy", "fault": "status", "status": 422, "body": body, "times": -1 }]),
    );
    shops
        .sync("member")
        .run()
        .exits(1)
        .says("Cafe24")
        .says("customersprivacy")
        .says("422")
        .says("Invalid [start_date].");
    assert_eq!(shops.calls().len(), 1, "a permanent refusal is not tried again");
}

fn a_slow_body_is_read_to_its_end(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.faults(json!([{ "path": "customersprivacy", "fault": "drip", "bytes_per_second": 2000 }]));
    shops.sync("member").run().succeeds().is_silent();
    assert_eq!(shops.members(), "1");
}

fn a_compressed_answer_is_read(shops: &Shops) {
    some(shops);
    shops.control("demo", "settings", json!({ "gzip": true }));
    shops.sync("member").run().succeeds().is_silent();
    assert_eq!(shops.members(), "3500");
    assert_eq!(shops.counted("packed"), 5, "four pages and their total");
}

fn what_was_stored_before_a_fault_stays_and_is_not_asked_for_again(shops: &Shops) {
    some(shops);
    let mut rule = fault("status", -1, json!({ "status": 422 }));
    rule["after"] = 2.into();
    shops.faults(json!([rule]));
    shops.sync("member").run().exits(1);
    // Two pages, of which the second begins with the second at which the first ended.
    assert_eq!(shops.members(), "1998");
    let before = shops.calls();

    shops.faults(json!([]));
    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "3500");
    let after = shops.calls()[before.len()..].to_vec();
    assert_eq!(after[0]["query"], before[2]["query"], "it continues with the page that failed");
}

fn requests_are_traced_without_secrets(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    let tokens = shops.cafe24.tokens("demo");
    set_tokens(shops, "demo", &tokens);
    shops.control("demo", "when", json!({ "path": "customersprivacy", "after": 1, "expire": true }));
    let ran = shops.batchctl(["-vv", "mall", "sync", "--domain", "member"]).run().succeeds();
    let ran = ran.says("GET").says("customersprivacy").says("200");
    ["access_token", "refresh_token"]
        .iter()
        .fold(ran, |ran, token| ran.never_shows(tokens[token].as_str().expect("a token")))
        .never_shows(CLIENT_SECRET);
}
