//! Tokens that expire, are needed twice at once, are lost or refused, while malls are synchronised.

use rustix::process::Signal;
use serde_json::json;

use super::{Shops, member};
use crate::support::{Answer, Webhook, eventually, on_both_databases};

on_both_databases![
    a_token_that_expires_during_a_run_is_refreshed,
    two_processes_that_need_a_new_token_use_one_refresh_token,
    a_refresh_whose_answer_is_lost_stops_the_mall_with_one_clear_alert,
    an_app_that_was_removed_stops_the_mall_and_is_not_asked_again,
    a_run_killed_in_a_refresh_leaves_the_mall_to_the_next,
    a_run_stopped_in_a_refresh_stores_the_new_tokens,
    a_clock_that_is_hours_from_the_servers_refreshes_once,
    a_refusal_that_is_not_oauths_leaves_the_tokens_as_they_are,
    a_truncated_answer_does_not_reveal_its_tokens,
];

fn some(shops: &Shops) {
    shops.generate(json!({ "members": {
        "count": 3_500, "from": "2026-11-19T00:00:00+09:00", "same_second": 3, "step_seconds": 1
    } }));
}

fn a_token_that_expires_during_a_run_is_refreshed(shops: &Shops) {
    some(shops);
    shops.control("demo", "when", json!({ "path": "customersprivacy", "after": 2, "expire": true }));

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "3500");
    assert_eq!((shops.counted("refreshes"), shops.counted("refused_refreshes")), (1, 0));
    let stored = shops.dump();
    assert!(!stored.contains("at2-") && !stored.contains("rt2-"), "tokens are encrypted at rest");
}

fn two_processes_that_need_a_new_token_use_one_refresh_token(shops: &Shops) {
    some(shops);
    shops.control("demo", "expire", json!({}));
    shops.faults(json!([{ "path": "admin", "fault": "hold", "times": 2 }]));
    let running = ["member", "order"].map(|domain| shops.sync(domain).spawn());
    eventually(|| shops.counted("held") == 2, "both call with the expired token");

    shops.control("demo", "release", json!({}));

    for running in running {
        running.wait().succeeds().is_silent();
    }
    assert_eq!((shops.counted("refreshes"), shops.counted("refused_refreshes")), (1, 0));
    assert_eq!(shops.members(), "3500");
}

/// Sends alerts to the test's own chat service.
fn with_alerts(shops: &Shops) -> Webhook {
    let webhook = Webhook::start();
    webhook.answer(Answer::status(200));
    let toml = format!(
        "{}\n[alerts]\ndev_channel = \"ops\"\n\n[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl_variable = \"OPS_URL\"\n",
        shops.read("batchctl.toml")
    );
    shops.write("batchctl.toml", toml);
    webhook
}

fn a_refresh_whose_answer_is_lost_stops_the_mall_with_one_clear_alert(shops: &Shops) {
    let webhook = with_alerts(shops);
    some(shops);
    shops.control("demo", "expire", json!({}));
    shops.faults(json!([{ "path": "oauth/token", "fault": "lost", "times": 1 }]));
    let sync = |domain| shops.sync(domain).env("OPS_URL", webhook.url("/hook"));

    let ran = sync("member").run().exits(1);

    ran.says("demo").says("mall token authorize demo");
    let refreshes = shops.counted("refreshes") + shops.counted("refused_refreshes");
    sync("member").run().exits(1).says("mall token authorize demo");
    sync("order").run().exits(1).says("mall token authorize demo");
    assert_eq!(
        shops.counted("refreshes") + shops.counted("refused_refreshes"),
        refreshes,
        "a dead token is not tried again"
    );
    let alerts = webhook.requests();
    assert_eq!(alerts.len(), 1, "one alert per incident: {alerts:?}");
    assert!(alerts[0].json().to_string().contains("mall token authorize demo"), "{:?}", alerts[0].json());
}

fn an_app_that_was_removed_stops_the_mall_and_is_not_asked_again(shops: &Shops) {
    let webhook = with_alerts(shops);
    some(shops);
    shops.control(
        "demo",
        "when",
        json!({ "path": "customersprivacy", "after": 2, "settings": { "revoked": true } }),
    );

    let sync = || shops.sync("member").env("OPS_URL", webhook.url("/hook"));
    sync().run().exits(1).says("mall token authorize demo");

    assert_eq!(shops.runs(), [["demo member 2026-11-19", "1", "FAILED", "1"]]);
    assert!(shops.calls().len() <= 5, "a refused app is not asked again and again");
    shops.batchctl(["mall", "token", "status"]).run().succeeds().prints("rejected");
    sync().run().exits(1);
    let alerts = webhook.requests();
    assert_eq!(alerts.len(), 1, "one alert per incident: {alerts:?}");
    assert!(alerts[0].json().to_string().contains("mall token authorize demo"), "{:?}", alerts[0].json());
}

fn a_run_killed_in_a_refresh_leaves_the_mall_to_the_next(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.control("demo", "expire", json!({}));
    // The server has not processed the call yet: the refresh token is still valid.
    shops.faults(json!([{ "path": "oauth/token", "fault": "hold", "undone": true }]));
    let mut running = shops.sync("member").spawn();
    eventually(|| shops.counted("held") == 1, "it refreshes");
    running.signal(Signal::KILL);
    running.wait().is_killed_by(Signal::KILL);
    assert_ne!(shops.scalar("SELECT claimed_by FROM api_tokens"), "NULL", "a claim is left behind");

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "1");
    assert_eq!((shops.counted("refreshes"), shops.counted("refused_refreshes")), (1, 0));
    shops.control("demo", "release", json!({}));
}

fn a_run_stopped_in_a_refresh_stores_the_new_tokens(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.control("demo", "expire", json!({}));
    shops.faults(json!([{ "path": "oauth/token", "fault": "hold" }]));
    let mut running = shops.sync("member").spawn();
    eventually(|| shops.counted("held") == 1, "it refreshes");
    running.signal(Signal::TERM);
    eventually(|| shops.runs()[0][2] == "STOPPED", "the run has ended");
    shops.control("demo", "release", json!({}));
    running.wait().exits(143);

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!((shops.counted("refreshes"), shops.counted("refused_refreshes")), (1, 0));
    assert_eq!(shops.members(), "1");
}

fn a_clock_that_is_hours_from_the_servers_refreshes_once(shops: &Shops) {
    some(shops);
    for clock in [-3 * 3600, 3 * 3600] {
        let before = shops.counted("refreshes");
        shops.control("demo", "settings", json!({ "clock": clock }));
        shops.control("demo", "expire", json!({}));
        shops.batchctl(["mall", "sync", "--domain", "member", "--rerun"]).run().succeeds().is_silent();
        assert_eq!(shops.counted("refreshes") - before, 1);
        let soon = crate::support::machine_time() + chrono::TimeDelta::minutes(125);
        let ends: chrono::DateTime<chrono::Utc> =
            shops.scalar("SELECT access_expires_at FROM api_tokens").replace(' ', "T").parse().unwrap();
        assert!(ends < soon, "{ends}");
    }
}

fn a_refusal_that_is_not_oauths_leaves_the_tokens_as_they_are(shops: &Shops) {
    shops.data(json!({ "members": [member("kim01", "2026-11-19T10:00:00+09:00")] }));
    shops.control("demo", "expire", json!({}));
    for rule in [
        json!({ "path": "oauth/token", "fault": "html", "status": 403 }),
        json!({ "path": "oauth/token", "fault": "status", "status": 400 }),
    ] {
        shops.faults(json!([rule]));
        shops.sync("member").run().exits(1);
        assert_eq!(shops.scalar("SELECT rejected_at FROM api_tokens"), "NULL");
    }

    shops.sync("member").run().succeeds().is_silent();

    assert_eq!(shops.members(), "1");
}

fn a_truncated_answer_does_not_reveal_its_tokens(shops: &Shops) {
    shops.control("demo", "expire", json!({}));
    let body = "{\"access_token\":\"canary-token\",\"refresh_tok";
    shops.faults(
        json!([{ "path": "oauth/token", "fault": "status", "status": 200, "body": body, "times": -1 }]),
    );
    let ran = shops.batchctl(["mall", "sync", "--domain", "member", "-vv"]).run();
    ran.exits(75).says("JSON that breaks off").never_shows("canary");
    assert!(!shops.dump().contains("canary"));
}
