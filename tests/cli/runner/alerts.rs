//! Alerts: one per incident, routed by severity, stored until they are delivered, and without effect on a job's result.

use serde_json::{Value, json};

use super::{BACKFILL, NIGHTLY, TradingShop, runs};
use crate::support::{Answer, Batchctl, Webhook, on_both_databases};

on_both_databases![
    the_alert_of_runs_that_failed_alike_retries_them_all,
    a_failure_is_posted_to_slack_and_to_a_webhook,
    an_alert_of_a_run_on_a_terminal_names_the_folder,
    only_high_and_critical_failures_mention_somebody,
    in_prod_the_severity_chooses_the_channels,
    outside_prod_only_the_dev_channel_is_alerted,
    without_a_dev_channel_nothing_is_sent_outside_prod,
    slack_gets_data_without_its_special_characters,
    a_failure_is_alerted_once_and_its_repeats_are_counted,
    an_unrepaired_failure_does_not_hide_those_of_later_nights,
    the_recovery_says_how_many_failures_there_were,
    a_backfill_of_failures_is_one_incident_until_every_day_is_fixed,
    a_partial_success_a_timeout_and_a_crash_are_alerted_and_a_stop_is_not,
    an_answer_of_500_keeps_the_alert_for_later,
    an_answer_of_429_keeps_the_alert_as_long_as_it_says,
    a_hostile_answer_of_429_does_not_affect_the_job,
    an_answer_that_is_not_slacks_ok_keeps_the_alert,
    a_refused_connection_keeps_the_alert_for_later,
    a_server_that_never_answers_keeps_the_alert_for_later,
    a_webhook_that_is_not_set_keeps_the_alert_for_later,
    a_run_slower_than_usual_is_alerted_and_so_is_its_recovery,
    a_run_is_not_slow_against_fewer_than_five_successes,
];

/// Two chat channels and a webhook, routed by severity.
const CHANNELS: &str = r#"
[alerts]
dev_channel = "dev"
slow_floor = "0ms"

[alerts.routes]
medium = ["ops"]
high = ["ops"]
critical = ["ops", "on-call"]

[[alerts.channel]]
name = "ops"
kind = "slack"
url_variable = "OPS_URL"
mention = "<!subteam^S123>"

[[alerts.channel]]
name = "on-call"
kind = "webhook"
url_variable = "ON_CALL_URL"

[[alerts.channel]]
name = "dev"
kind = "slack"
url_variable = "DEV_URL"
mention = "<@U456>"
"#;

/// A Slack that accepts every message of a test.
fn slack() -> Webhook {
    let slack = Webhook::start();
    for _ in 0..20 {
        slack.answer(ok());
    }
    slack
}

fn ok() -> Answer {
    Answer::Http(200, Vec::new(), "ok".to_owned())
}

/// The channels' configuration, with a severity for the job.
fn configure(shop: &TradingShop, severity: &str) {
    shop.write(
        "batchctl.toml",
        format!("{CHANNELS}\n[jobs.\"report daily-sales\"]\nseverity = \"{severity}\"\n"),
    );
}

/// Turns the sandbox's database into that of prod.
fn into_prod(shop: &TradingShop) {
    shop.execute("UPDATE batch_environment SET name = 'prod'");
}

/// A command in prod, where the clock is the machine's.
fn in_prod(shop: &TradingShop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["--env", "prod"].iter().chain(arguments)).real_clock()
}

/// A day that is over whatever the machine's clock says.
const LONG_AGO: [&str; 4] = ["report", "daily-sales", "--date", "2024-03-05"];

/// The texts of the messages that arrived.
fn texts(slack: &Webhook) -> Vec<String> {
    slack.requests().iter().map(|request| request.json()["text"].as_str().unwrap().to_owned()).collect()
}

/// Alerts that are not delivered: the channel, the number of attempts, and why not.
fn kept(shop: &TradingShop) -> Vec<Vec<String>> {
    shop.sql("SELECT channel, attempts, last_error FROM batch_alert WHERE delivered_at IS NULL ORDER BY id")
}

/// Makes what is kept due at once.
fn let_time_pass(shop: &TradingShop) {
    shop.execute("UPDATE batch_alert SET next_attempt_at = created_at WHERE delivered_at IS NULL");
}

fn the_alert_of_runs_that_failed_alike_retries_them_all(shop: &TradingShop) {
    shop.write("batchctl.toml", CHANNELS);
    shop.only_mars();
    let slack = slack();
    let days = ["report", "daily-sales", "--from", "2026-11-18", "--to", "2026-11-19"];
    let ran = shop.batchctl(days).env("DEV_URL", slack.url("/")).run().exits(1);
    ran.says("runs retry 1 2");
    let told: Vec<String> = slack.requests().iter().map(|request| request.json().to_string()).collect();
    assert!(told.len() == 1 && told[0].contains("runs retry 1 2"), "{told:?}");
}

fn a_failure_is_posted_to_slack_and_to_a_webhook(shop: &TradingShop) {
    let (ops, on_call) = (slack(), Webhook::start());
    into_prod(shop);
    configure(shop, "critical");
    shop.only_mars();
    in_prod(shop, &LONG_AGO)
        .env("OPS_URL", ops.url("/services/T1/B1/ops"))
        .env("ON_CALL_URL", on_call.url("/hook"))
        .run()
        .exits(1);

    let [run] = shop.sql("SELECT host FROM batch_execution").try_into().unwrap();
    let host = &run[0];
    let look = shop.command("prod", "runs show 1");
    let retry = shop.command("prod", "runs retry 1");
    let hint = format!("hint: {}", shop.command("prod", "mall add mars --time-zone ZONE"));
    // As Slack wants it.
    let escaped = |command: &str| command.replace('&', "&amp;");
    let [request] = ops.requests().try_into().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/services/T1/B1/ops"));
    assert_eq!(
        request.json(),
        json!({
            "text": "<!subteam^S123> report daily-sales 2024-03-05 FAILED (prod)",
            "blocks": [
                { "type": "header",
                  "text": { "type": "plain_text", "text": "report daily-sales 2024-03-05 FAILED (prod)" } },
                { "type": "section",
                  "text": { "type": "mrkdwn", "text": format!(
                      "<!subteam^S123> 1 of 1 items failed\nmars: mall `mars` has the time zone \
                       `Mars/Base`, which does not exist\nnothing was changed\n{}\nrun 1 on {host}, severity critical\n\
                       {}\n{}", escaped(&hint), escaped(&look), escaped(&retry)) } },
            ],
            "unfurl_links": false,
        })
    );

    let [request] = on_call.requests().try_into().unwrap();
    assert_eq!(request.header("content-type"), Some("application/json"));
    let mut document = request.json();
    assert!(document.as_object_mut().unwrap().remove("at").is_some_and(|at| at.is_string()));
    assert_eq!(
        document,
        json!({
            "kind": "failure", "title": "report daily-sales 2024-03-05 FAILED (prod)", "job": "report daily-sales",
            "instance": "2024-03-05", "run": 1, "status": "FAILED", "severity": "critical", "environment": "prod",
            "host": host, "error": "1 of 1 items failed", "details": ["mars: mall `mars` has the time zone `Mars/Base`, which does not exist", "nothing was changed", hint],
            "occurrences": 1, "commands": [look, retry],
        })
    );
    assert_eq!(kept(shop), Vec::<Vec<String>>::new());
}

fn an_alert_of_a_run_on_a_terminal_names_the_folder(shop: &TradingShop) {
    let dev = Webhook::start();
    dev.answer(Answer::Http(200, Vec::new(), "ok".to_owned()));
    shop.write("batchctl.toml", CHANNELS);
    shop.only_mars();
    shop.batchctl(NIGHTLY).env("DEV_URL", dev.url("/")).run_on_terminal("");
    let hint = format!("hint: {}", shop.command("dev", "mall add mars --time-zone ZONE"));
    let [request] = dev.requests().try_into().unwrap();
    let sent = request.json()["blocks"][1]["text"]["text"].as_str().unwrap().to_owned();
    assert!(sent.contains(&hint.replace('&', "&amp;")), "{sent}");
}

fn only_high_and_critical_failures_mention_somebody(shop: &TradingShop) {
    let ops = slack();
    into_prod(shop);
    shop.only_mars();
    for severity in ["medium", "high"] {
        configure(shop, severity);
        in_prod(shop, &LONG_AGO).env("OPS_URL", ops.url("/")).run().exits(1);
        shop.execute("DELETE FROM batch_incident");
    }
    shop.bring_mars_home();
    configure(shop, "high");
    shop.execute("UPDATE malls SET time_zone = 'Mars/Base' WHERE code = 'mars'");
    in_prod(shop, &LONG_AGO).env("OPS_URL", ops.url("/")).run().exits(1);
    shop.bring_mars_home();
    in_prod(shop, &LONG_AGO).env("OPS_URL", ops.url("/")).run().succeeds();
    assert_eq!(
        texts(&ops),
        [
            "report daily-sales 2024-03-05 FAILED (prod)",
            "<!subteam^S123> report daily-sales 2024-03-05 FAILED (prod)",
            "<!subteam^S123> report daily-sales 2024-03-05 FAILED (prod)",
            "report daily-sales 2024-03-05 recovered after one failure (prod)",
        ]
    );
}

fn in_prod_the_severity_chooses_the_channels(shop: &TradingShop) {
    into_prod(shop);
    shop.only_mars();
    for (severity, expected) in [("low", [0, 0]), ("medium", [1, 0]), ("high", [1, 0]), ("critical", [1, 1])]
    {
        let (ops, on_call, dev) = (slack(), Webhook::start(), slack());
        configure(shop, severity);
        in_prod(shop, &LONG_AGO)
            .env("OPS_URL", ops.url("/"))
            .env("ON_CALL_URL", on_call.url("/"))
            .env("DEV_URL", dev.url("/"))
            .run()
            .exits(1);
        assert_eq!([ops.requests().len(), on_call.requests().len()], expected, "{severity}");
        assert_eq!(dev.requests().len(), 0);
        shop.execute("DELETE FROM batch_incident");
    }
}

fn outside_prod_only_the_dev_channel_is_alerted(shop: &TradingShop) {
    let (ops, dev) = (slack(), slack());
    configure(shop, "critical");
    shop.only_mars();
    shop.batchctl(NIGHTLY)
        .env("OPS_URL", ops.url("/"))
        .env("ON_CALL_URL", ops.url("/"))
        .env("DEV_URL", dev.url("/"))
        .run()
        .exits(1);
    assert_eq!(texts(&dev), ["<@U456> report daily-sales 2026-11-19 FAILED (dev)"]);
    assert_eq!(ops.requests().len(), 0);
}

fn without_a_dev_channel_nothing_is_sent_outside_prod(shop: &TradingShop) {
    let ops = slack();
    let channels = CHANNELS.replace("dev_channel = \"dev\"\n", "");
    shop.write("batchctl.toml", channels);
    shop.only_mars();
    shop.batchctl(NIGHTLY)
        .env("OPS_URL", ops.url("/"))
        .env("ON_CALL_URL", ops.url("/"))
        .env("DEV_URL", ops.url("/"))
        .run()
        .exits(1);
    assert_eq!(ops.requests().len(), 0);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_alert"), "0");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_incident"), "1", "it is an incident all the same");
}

fn slack_gets_data_without_its_special_characters(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    shop.mall("<!channel>&co", "Mars/Base", "JPY");
    shop.batchctl(["report", "daily-sales", "--mall", "<!channel>&co"])
        .env("DEV_URL", dev.url("/"))
        .run()
        .exits(1);
    let [text] = texts(&dev).try_into().unwrap();
    assert_eq!(text, "report daily-sales 2026-11-19 mall=&lt;!channel&gt;&amp;co FAILED (dev)");
}

/// With the dev channel's URL.
fn told(command: Batchctl, dev: &Webhook) -> Batchctl {
    command.env("DEV_URL", dev.url("/services/dev"))
}

fn a_failure_is_alerted_once_and_its_repeats_are_counted(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    shop.only_mars();
    for _ in 0..3 {
        told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    }
    assert_eq!(texts(&dev), ["report daily-sales 2026-11-19 FAILED (dev)"]);
    assert_eq!(
        shop.sql("SELECT kind, severity, occurrences, first_execution_id, last_execution_id, closed_at FROM batch_incident"),
        [["FAILURE", "medium", "3", "1", "3", "NULL"]]
    );
}

fn an_unrepaired_failure_does_not_hide_those_of_later_nights(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    shop.only_mars();
    told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    // In the same night everything that fails has one cause.
    told(shop.batchctl(BACKFILL), &dev).run().exits(1);
    assert_eq!(texts(&dev).len(), 1);

    shop.execute("UPDATE batch_incident SET opened_at = '2026-01-01T00:00:00+00:00'");
    let next = || told(shop.batchctl(NIGHTLY), &dev).now("2026-11-21T01:00:00+09:00");
    next().run().exits(1);
    next().run().exits(1);
    told(shop.batchctl(NIGHTLY), &dev).run().exits(1);

    assert_eq!(
        texts(&dev),
        ["report daily-sales 2026-11-19 FAILED (dev)", "report daily-sales 2026-11-20 FAILED (dev)"],
        "each day once"
    );
}

fn the_recovery_says_how_many_failures_there_were(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    shop.only_mars();
    for _ in 0..3 {
        told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    }
    shop.bring_mars_home();
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds().is_silent();
    assert_eq!(texts(&dev)[1..], ["report daily-sales recovered after 3 failures (dev)"]);
    assert_eq!(
        shop.sql("SELECT occurrences, last_execution_id, closed_at IS NULL FROM batch_incident"),
        [["3", "4", "0"]]
    );
    // A success without an incident is not alerted.
    told(shop.batchctl(["report", "daily-sales", "--rerun"]), &dev).run().succeeds();
    assert_eq!(dev.requests().len(), 2);
}

fn a_backfill_of_failures_is_one_incident_until_every_day_is_fixed(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    shop.only_mars();
    told(shop.batchctl(BACKFILL), &dev).run().exits(1);
    assert_eq!(texts(&dev), ["report daily-sales 2026-11-16 FAILED (dev)"]);
    assert_eq!(shop.scalar("SELECT occurrences FROM batch_incident"), "3");

    shop.bring_mars_home();
    for day in ["2026-11-16", "2026-11-19", "2026-11-18"] {
        told(shop.batchctl(["report", "daily-sales", "--date", day]), &dev).run().succeeds();
        assert_eq!(dev.requests().len(), 1, "after {day} another day is still not fixed");
    }
    told(shop.batchctl(["runs", "retry", "2"]), &dev).run().succeeds();
    assert_eq!(texts(&dev)[1..], ["report daily-sales recovered after 3 failures (dev)"]);
}

fn a_partial_success_a_timeout_and_a_crash_are_alerted_and_a_stop_is_not(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "medium");
    let mut held = told(shop.batchctl(["--verbose", "report", "daily-sales"]), &dev).hold_at("after-lease");
    held.wait_until_reached();
    held.process().signal(rustix::process::Signal::TERM);
    super::wait_until_said(held.process(), "Stopping");
    held.release().wait().exits(143);
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds();
    assert_eq!(dev.requests().len(), 0);

    shop.batchctl(["report", "daily-sales", "--rerun"]).failpoint("in-chunk=kill").run();
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds();
    assert_eq!(
        texts(&dev),
        [
            "report daily-sales 2026-11-19 CRASHED (dev)",
            "report daily-sales 2026-11-19 recovered after one failure (dev)",
        ]
    );

    shop.open_on_mars();
    told(shop.batchctl(["report", "daily-sales", "--rerun"]), &dev).run().exits(3);
    assert_eq!(texts(&dev)[2..], ["report daily-sales 2026-11-19 PARTIAL (dev)"]);
    shop.bring_mars_home();
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds();
    assert_eq!(texts(&dev)[3..], ["report daily-sales 2026-11-19 recovered after one failure (dev)"]);
}

/// A failure whose alert gets this answer; then a later command, which delivers it.
#[track_caller]
fn assert_is_kept_and_sent_later(shop: &TradingShop, answer: Answer, error: &str) {
    let dev = Webhook::start();
    dev.answer(answer);
    configure(shop, "medium");
    shop.only_mars();
    let ran = told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    assert!(!ran.stderr.contains("alert"), "cron is not told: {}", ran.stderr);
    assert_eq!(kept(shop), [["dev", "1", error]]);

    // Not before its time.
    told(shop.batchctl(["runs", "purge"]), &dev).run().succeeds().is_silent();
    assert_eq!(dev.requests().len(), 1);
    assert_eq!(kept(shop), [["dev", "1", error]]);

    let_time_pass(shop);
    dev.answer(ok());
    told(shop.batchctl(["runs", "purge"]), &dev).run().succeeds().is_silent();
    assert_eq!(kept(shop), Vec::<Vec<String>>::new());
    assert_eq!(texts(&dev), ["report daily-sales 2026-11-19 FAILED (dev)"; 2]);
    let_time_pass(shop);
    told(shop.batchctl(["runs", "purge"]), &dev).run().succeeds();
    assert_eq!(dev.requests().len(), 2, "delivered once");
}

/// Seconds between two attempts to send an alert.
fn pause(shop: &TradingShop) -> i64 {
    let row = &shop.sql("SELECT created_at, next_attempt_at FROM batch_alert")[0];
    let [created, next] = [&row[0], &row[1]].map(|text| chrono::DateTime::parse_from_rfc3339(text).unwrap());
    (next - created).num_seconds()
}

fn an_answer_of_500_keeps_the_alert_for_later(shop: &TradingShop) {
    let answer = Answer::Http(500, Vec::new(), "rollup_error".to_owned());
    assert_is_kept_and_sent_later(shop, answer, "HTTP 500: rollup_error");
}

fn an_answer_of_429_keeps_the_alert_as_long_as_it_says(shop: &TradingShop) {
    let dev = Webhook::start();
    dev.answer(Answer::Http(429, vec![("Retry-After", "1800".to_owned())], "ratelimited".to_owned()));
    configure(shop, "medium");
    shop.only_mars();
    told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    assert_eq!(kept(shop), [["dev", "1", "HTTP 429: ratelimited"]]);
    let pause = pause(shop);
    assert!((1800..1860).contains(&pause), "{pause}");
    let_time_pass(shop);
    dev.answer(ok());
    // A run that fails too sends what is due.
    told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
    assert_eq!(kept(shop), Vec::<Vec<String>>::new());
}

fn a_hostile_answer_of_429_does_not_affect_the_job(shop: &TradingShop) {
    configure(shop, "medium");
    shop.only_mars();
    for wait in ["18446744073709551615", "99999999999999", "315360000"] {
        let dev = Webhook::start();
        // An endless error page; only its beginning is read.
        let page = "go away\n".repeat(1 << 20);
        dev.answer(Answer::Http(429, vec![("Retry-After", wait.to_owned())], page));
        told(shop.batchctl(NIGHTLY), &dev).run().exits(1);
        let pause = pause(shop);
        assert!((6 * 3600..6 * 3600 + 60).contains(&pause), "{pause}");
        assert_eq!(kept(shop)[0][2].lines().count(), 1);
        shop.execute("DELETE FROM batch_incident");
        shop.execute("DELETE FROM batch_alert");
    }
}

fn an_answer_that_is_not_slacks_ok_keeps_the_alert(shop: &TradingShop) {
    let answer = Answer::Http(200, Vec::new(), "<html>sign in</html>".to_owned());
    assert_is_kept_and_sent_later(shop, answer, "the answer was not Slack's `ok`");
}

fn a_refused_connection_keeps_the_alert_for_later(shop: &TradingShop) {
    // Nobody listens there: only root may.
    let port = 1;
    configure(shop, "medium");
    shop.only_mars();
    shop.batchctl(NIGHTLY).env("DEV_URL", format!("http://127.0.0.1:{port}/services/dev")).run().exits(1);
    assert_eq!(kept(shop), [["dev", "1", "failed to connect: Connection refused"]]);
    let_time_pass(shop);
    let dev = slack();
    told(shop.batchctl(["runs", "purge"]), &dev).run().succeeds();
    assert_eq!(texts(&dev), ["report daily-sales 2026-11-19 FAILED (dev)"]);
}

fn a_server_that_never_answers_keeps_the_alert_for_later(shop: &TradingShop) {
    assert_is_kept_and_sent_later(shop, Answer::Silence, "no answer in time");
}

fn a_webhook_that_is_not_set_keeps_the_alert_for_later(shop: &TradingShop) {
    configure(shop, "medium");
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    let [alert] = kept(shop).try_into().unwrap();
    assert_eq!(alert[..2], ["dev", "1"]);
    assert!(alert[2].contains("variable `DEV_URL` is not set"), "{}", alert[2]);
    let_time_pass(shop);
    let dev = slack();
    told(shop.batchctl(["runs", "purge"]), &dev).run().succeeds();
    assert_eq!(dev.requests().len(), 1);
}

/// Successes of the past, each with this duration.
fn insert_successes(shop: &TradingShop, count: u32, duration_ms: i64) {
    for number in 0..count {
        shop.execute(&format!(
            "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
                 lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
                 items_skipped, items_failed, duration_ms, exit_code, version, environment)
             VALUES ('report daily-sales', '2026-01-{:02}', 'report daily-sales', 1, 'COMPLETED',
                 '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', 1, 'h', 1, 1,
                 'b', 1000, 1000, 0, 0, {duration_ms}, 0, '0', 'dev')",
            number + 1
        ));
    }
}

fn a_run_slower_than_usual_is_alerted_and_so_is_its_recovery(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "high");
    insert_successes(shop, 5, 0);
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds().is_silent();
    let [text] = texts(&dev).try_into().unwrap();
    assert!(text.starts_with("<@U456> report daily-sales 2026-11-19 took "), "{text}");
    assert!(text.ends_with("ms, usually 0s (dev)"), "{text}");
    assert_eq!(runs(shop)[5], ["2026-11-19", "1", "COMPLETED", "0"]);

    // A second slow one is only counted. The first one's own time must not raise the usual duration.
    shop.execute("UPDATE batch_execution SET duration_ms = 0");
    told(shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]), &dev).run().succeeds();
    assert_eq!(shop.sql("SELECT kind, occurrences FROM batch_incident"), [["SLOW", "2"]]);
    assert_eq!(dev.requests().len(), 1);

    shop.execute("UPDATE batch_execution SET duration_ms = 3600000");
    told(shop.batchctl(["report", "daily-sales", "--date", "2026-11-17"]), &dev).run().succeeds();
    assert_eq!(texts(&dev)[1..], ["report daily-sales is as fast as usual again (dev)"]);
    let document: Value =
        serde_json::from_str(&shop.scalar("SELECT message FROM batch_alert WHERE id = 2")).unwrap();
    assert_eq!((document["kind"].as_str(), document["occurrences"].as_i64()), (Some("recovery"), Some(2)));
}

fn a_run_is_not_slow_against_fewer_than_five_successes(shop: &TradingShop) {
    let dev = slack();
    configure(shop, "high");
    insert_successes(shop, 4, 0);
    told(shop.batchctl(NIGHTLY), &dev).run().succeeds().is_silent();
    assert_eq!(dev.requests().len(), 0);
}
