//! Quiet in cron: nothing at all on success, at most 20 lines on failure; JSON lines for containers; a summary for
//! a person.

use serde_json::Value;

use super::{BACKFILL, NIGHTLY, TradingShop, runs};
use crate::support::on_both_databases;

on_both_databases![
    a_success_prints_nothing_without_a_terminal,
    a_failure_reports_what_failed_how_to_look_and_how_to_retry,
    a_backfill_in_which_every_day_fails_prints_at_most_twenty_lines,
    a_run_of_many_failed_items_prints_at_most_twenty_lines,
    requests_that_fail_again_print_at_most_twenty_lines,
    every_line_of_the_json_log_is_an_object,
    a_person_sees_a_summary,
    a_person_sees_one_line_for_a_long_backfill,
];

/// A month in which the fixture's days lie.
const MONTH: [&str; 6] = ["report", "daily-sales", "--from", "2026-10-21", "--to", "2026-11-19"];

fn a_success_prints_nothing_without_a_terminal(shop: &TradingShop) {
    let day = ["report", "daily-sales", "--date", "yesterday", "--format", "csv", "--out", "reports"];
    let commands: [&[&str]; 8] = [
        &NIGHTLY,
        &NIGHTLY,
        &day,
        &["report", "daily-sales", "--rerun"],
        &MONTH,
        &["runs", "request-retry", "1", "--reason", "again"],
        &["runs", "process-requests"],
        &["runs", "purge"],
    ];
    for command in commands {
        shop.batchctl(command).run().succeeds().is_silent();
    }
}

fn a_failure_reports_what_failed_how_to_look_and_how_to_retry(shop: &TradingShop) {
    shop.only_mars();
    let ran = shop.batchctl(NIGHTLY).run().exits(1);
    let took = ran.stderr.split(", exit 1, ").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    assert_eq!(
        ran.stderr,
        format!(
            "error: report daily-sales 2026-11-19 failed (run 1, exit 1, {took}): 1 of 1 items failed\n  \
             mars: mall `mars` has the time zone `Mars/Base`, which does not exist\n  \
             data:  nothing was changed\n  \
             hint: {}\n  \
             look:  {}\n  \
             retry: {}\n",
            shop.command("dev", "mall add mars --time-zone ZONE"),
            shop.command("dev", "runs show 1"),
            shop.command("dev", "runs retry 1")
        )
    );
    assert_eq!(ran.stdout, "");
}

fn a_backfill_in_which_every_day_fails_prints_at_most_twenty_lines(shop: &TradingShop) {
    shop.only_mars();
    let ran = shop.batchctl(MONTH).run().exits(1);
    assert!(ran.stderr.lines().count() <= 20, "{}", ran.stderr);
    let ran = ran
        .says("error: report daily-sales 2026-10-21, 2026-10-22, 2026-10-23 and 27 more failed (30 runs from 1 on, exit 1): ")
        .says("look:  cd ")
        .says("batchctl --env dev runs retry 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30\n");
    // One cause is told once.
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    assert_eq!(runs(shop).len(), 30);
}

fn a_run_of_many_failed_items_prints_at_most_twenty_lines(shop: &TradingShop) {
    for number in 0..40 {
        shop.mall(&format!("mars-{number:02}"), "Mars/Base", "JPY");
    }
    let ran = shop.batchctl(NIGHTLY).run().exits(3).says("40 of 42 items failed").says("mars-00: ");
    assert!(ran.stderr.lines().count() <= 20, "{}", ran.stderr);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE execution_id = 1"), "40");
}

fn requests_that_fail_again_print_at_most_twenty_lines(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(MONTH).run().exits(1);
    for run in 1..=8 {
        shop.batchctl(["runs", "request-retry", &run.to_string(), "--reason", "again"]).run().succeeds();
    }
    let ran = shop.batchctl(["runs", "process-requests"]).run();
    assert!(ran.stderr.lines().count() <= 20, "{}", ran.stderr);
    assert_eq!(
        shop.sql("SELECT status, exit_code, COUNT(*) FROM batch_retry_request GROUP BY status, exit_code"),
        [["FAILED", "1", "8"]]
    );
    assert_eq!(
        shop.scalar("SELECT message FROM batch_retry_request WHERE id = 1").split(", ").next().unwrap(),
        "`runs retry 1` exited 1: error: report daily-sales 2026-10-21 failed (run 32"
    );
}

fn every_line_of_the_json_log_is_an_object(shop: &TradingShop) {
    let json = |arguments: &[&str]| {
        let ran = shop.batchctl(["--log-format", "json"].iter().chain(arguments)).run();
        assert_eq!(ran.stdout, "");
        let parsed = |line: &str| -> Value {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(value["time"].is_string() && value["level"].is_string() && value["message"].is_string());
            value
        };
        let lines: Vec<Value> = ran.stderr.lines().map(parsed).collect();
        (ran.code, lines)
    };
    let ended = |lines: &[Value]| -> Vec<Value> {
        lines
            .iter()
            .filter(|line| line["message"] == "run ended")
            .map(|line| line["status"].clone())
            .collect()
    };

    let (code, lines) = json(&BACKFILL);
    assert_eq!(
        (code, ended(&lines)),
        (Some(0), vec!["COMPLETED".into(), "COMPLETED".into(), "COMPLETED".into()])
    );

    shop.only_mars();
    let (code, lines) = json(&NIGHTLY);
    assert_eq!((code, ended(&lines)), (Some(1), vec!["FAILED".into()]));
    let error = lines.iter().find(|line| line["level"] == "error").unwrap();
    assert!(error["message"].as_str().unwrap().contains("report daily-sales 2026-11-19 failed"), "{error}");
    assert!(
        error["hints"]
            .as_array()
            .unwrap()
            .contains(&format!("retry: {}", shop.command("dev", "runs retry 4")).into())
    );

    let (code, lines) = json(&["report", "daily-sales", "--date", "2026-99-99"]);
    assert_eq!((code, lines.len()), (Some(2), 1));
}

fn a_person_sees_a_summary(shop: &TradingShop) {
    let screen = shop.batchctl(NIGHTLY).run_on_terminal("").succeeds().screen();
    assert!(screen.contains("report daily-sales 2026-11-19: reported 2 malls (run 1, "), "{screen}");
    assert!(screen.contains("42,000"), "the report itself:\n{screen}");
    let screen = shop.batchctl(NIGHTLY).run_on_terminal("").succeeds().screen();
    assert!(screen.contains("report daily-sales 2026-11-19: already completed by run 1"), "{screen}");
}

fn a_person_sees_one_line_for_a_long_backfill(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).run().succeeds();
    let month = MONTH.into_iter().chain(["--format", "csv", "--out", "reports"]);
    let screen = shop.batchctl(month).run_on_terminal("").succeeds().screen();
    assert!(screen.contains("report daily-sales: 29 completed, 1 already completed"), "{screen}");
    assert!(screen.lines().filter(|line| line.contains("daily-sales: ")).count() == 1, "{screen}");
}
