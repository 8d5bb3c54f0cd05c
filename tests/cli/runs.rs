//! `runs`: the history of all runs, retrying what failed, and deleting old runs.

use rustix::process::Signal;
use serde_json::Value;

use crate::runner::{BACKFILL, NIGHTLY, TradingShop, reported_days, results, runs};
use crate::support::{Database, Sandbox, on_both_databases};

on_both_databases![
    a_successful_run_leaves_a_complete_row,
    a_failed_item_leaves_a_row,
    a_run_that_fails_before_its_instances_are_known_leaves_a_row,
    wrong_usage_leaves_no_row,
    runs_are_listed_by_job_status_and_start,
    a_day_of_idle_runs_hides_nothing_that_matters,
    a_run_is_shown_with_everything_known_about_it,
    the_failed_items_of_a_run_are_shown,
    an_unknown_run_is_wrong_usage,
    a_completed_run_has_nothing_to_retry,
    a_retry_of_a_crashed_run_does_its_own_day_whatever_today_is,
    a_retry_of_a_partial_run_repeats_only_what_failed,
    a_retry_of_a_failed_run_that_succeeded_since_has_nothing_to_do,
    a_stored_line_that_does_not_start_the_runs_job_is_not_run,
    a_stored_line_uses_only_files_that_batchctl_stored_with_it,
    a_dismissed_failure_is_closed,
    a_retry_of_process_requests_does_what_failed_in_it,
    a_request_that_cannot_be_done_fails_by_name,
    a_retry_repeats_what_was_asked_for,
    a_retry_can_be_given_other_flags,
    requests_are_run_and_recorded,
    a_request_from_an_admin_tool_is_run,
    a_request_for_an_unknown_run_fails_alone,
    a_request_claimed_by_a_killed_run_is_run_by_the_next,
    a_request_run_but_not_recorded_by_a_killed_run_is_recorded_by_the_next,
    a_request_that_has_to_wait_stays_open,
    a_request_for_a_running_instance_does_not_hold_up_the_others,
    a_run_requested_twice_or_needlessly_is_run_once,
    a_purge_keeps_ninety_days_running_runs_and_last_successes,
    a_purge_also_deletes_what_belongs_to_the_runs,
    a_purge_keeps_requested_runs_and_the_success_of_each_day,
    a_purge_keeps_the_requested_number_of_days,
    a_purge_goes_in_bounded_chunks,
];

fn a_successful_run_leaves_a_complete_row(shop: &TradingShop) {
    shop.batchctl(["report", "daily-sales", "--date", "yesterday"]).run().succeeds();
    let run = json(shop, &["runs", "show", "1", "--format", "json"]);

    let facts = [
        ("id", Value::from(1)),
        ("job", "report daily-sales".into()),
        ("instance_key", "2026-11-19".into()),
        ("command_line", "report daily-sales --date 2026-11-19".into()),
        ("attempt", 1.into()),
        ("status", "COMPLETED".into()),
        ("started_at", "2026-11-19T16:00:00Z".into()),
        ("ended_at", "2026-11-19T16:00:00Z".into()),
        ("exclusion_key", "report daily-sales 2026-11-19".into()),
        ("epoch", 1.into()),
        ("retry_of", Value::Null),
        ("items_read", 2.into()),
        ("items_written", 2.into()),
        ("items_skipped", 0.into()),
        ("items_failed", 0.into()),
        ("checkpoint", Value::Null),
        ("exit_code", 0.into()),
        ("error_class", Value::Null),
        ("error_message", Value::Null),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("environment", "dev".into()),
        ("settled_by", Value::Null),
        ("dismissed_at", Value::Null),
        ("dismissed_by", Value::Null),
        ("dismissed_reason", Value::Null),
        ("summary", "reported 2 malls".into()),
    ];
    for (name, expected) in &facts {
        assert_eq!(run[name], *expected, "{name}");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(run["host"], host);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(run["boot_id"].as_str().unwrap().starts_with(boot.trim()), "{}", run["boot_id"]);
    for (name, least, most) in [
        ("pid", 2, i64::from(u32::MAX)),
        ("pid_started_ticks", 1, i64::MAX),
        ("duration_ms", 0, 60_000),
        ("cpu_time_ms", 0, 60_000),
        // A debug build maps some tens of megabytes.
        ("peak_memory_bytes", 1 << 20, 1 << 30),
    ] {
        let value = run[name].as_i64().unwrap();
        assert!((least..most).contains(&value), "{name}: {value}");
    }
    // Heartbeats use the machine's clock, not the rehearsal's.
    let instant = |name: &str| chrono::DateTime::parse_from_rfc3339(run[name].as_str().unwrap()).unwrap();
    assert_eq!((instant("lease_expires_at") - instant("heartbeat_at")).num_seconds(), 60);
    assert_eq!(run.as_object().unwrap().len(), facts.len() + 10, "a column is not checked here");
}

fn a_failed_item_leaves_a_row(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl(NIGHTLY).run().exits(3);
    assert_eq!(
        shop.sql(
            "SELECT execution_id, item_key, phase, kind, error_class, message, created_at, resolved_at FROM batch_error_log"
        ),
        [[
            "1",
            "mars",
            "mall",
            "FAILED",
            "CONFIGURATION",
            "mall `mars` has the time zone `Mars/Base`, which does not exist",
            "2026-11-19T16:00:00+00:00",
            "NULL"
        ]]
    );
    assert_eq!(
        shop.sql("SELECT status, exit_code, items_read, items_written, items_failed, error_class, error_message FROM batch_execution"),
        [["PARTIAL", "3", "3", "2", "1", "PARTIAL", "1 of 3 items failed"]]
    );
}

fn a_run_that_fails_before_its_instances_are_known_leaves_a_row(shop: &TradingShop) {
    // A folder that cannot be created: a file is in its place.
    shop.write("reports", "");
    shop.batchctl(["report", "daily-sales", "--format", "csv", "--out", "reports"])
        .run()
        .exits(1)
        .says("failed to write to the folder");
    let line = format!("report daily-sales --format csv --out '{}'", shop.path("reports").display());
    assert_eq!(
        shop.sql("SELECT instance_key, status, exit_code, command_line FROM batch_execution"),
        [["", "FAILED", "1", &line]]
    );

    // A retry of a rerun that never came to it has to be one: it replaces figures that are stored already.
    std::fs::remove_file(shop.path("reports")).unwrap();
    shop.batchctl(NIGHTLY).run().succeeds();
    shop.write("reports", "");
    let rerun = ["report", "daily-sales", "--rerun", "--format", "csv", "--out", "reports"];
    shop.batchctl(rerun).run().exits(1);
    std::fs::remove_file(shop.path("reports")).unwrap();
    let failed = shop.scalar("SELECT MAX(id) FROM batch_execution");
    shop.batchctl(["runs", "retry", &failed]).run().succeeds();
    let attempts =
        "SELECT MAX(attempt) FROM batch_execution WHERE instance_key <> '' AND status = 'COMPLETED'";
    assert_eq!(shop.scalar(attempts), "2");
}

fn wrong_usage_leaves_no_row(shop: &TradingShop) {
    shop.batchctl(["report", "daily-sales", "--date", "tomorrow"]).run().exits(2);
    shop.batchctl(["report", "daily-sales", "--mall", "nowhere"]).run().exits(2);
    assert_eq!(runs(shop), Vec::<Vec<String>>::new());
}

/// What a command prints, as JSON.
#[track_caller]
fn json(sandbox: &Sandbox, command: &[&str]) -> Value {
    let ran = sandbox.batchctl(command).run().succeeds();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

/// The ids of the runs that `runs list` lists with these filters.
#[track_caller]
fn listed(sandbox: &Sandbox, filters: &[&str]) -> Vec<i64> {
    let command: Vec<&str> = ["runs", "list", "--format", "json"].iter().chain(filters).copied().collect();
    let list = json(sandbox, &command);
    list.as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect()
}

fn runs_are_listed_by_job_status_and_start(shop: &TradingShop) {
    assert_eq!(shop.batchctl(["runs", "list"]).run().succeeds().stdout, "no runs\n");
    shop.batchctl(NIGHTLY).now("2026-11-18T01:00:00+09:00").run().succeeds();
    shop.batchctl(["runs", "purge"]).now("2026-11-18T04:15:00+09:00").run().succeeds();
    shop.only_mars();
    shop.batchctl(NIGHTLY).now("2026-11-19T01:00:00+09:00").run().exits(1);
    shop.batchctl(NIGHTLY).run().exits(1);

    assert_eq!(listed(shop, &[]), [4, 3, 2, 1]);
    assert_eq!(listed(shop, &["--job", "report daily-sales"]), [4, 3, 1]);
    assert_eq!(listed(shop, &["--status", "FAILED"]), [4, 3]);
    assert_eq!(listed(shop, &["--status", "failed", "--limit", "1"]), [4]);
    assert_eq!(listed(shop, &["--since", "yesterday"]), [4, 3]);
    assert_eq!(listed(shop, &["--since", "2026-11-20"]), [4]);
    assert_eq!(listed(shop, &["--since", "2h"]), [4]);
    assert_eq!(listed(shop, &["--since", "2026-11-17T19:00:00Z"]), [4, 3, 2]);
    assert_eq!(
        listed(shop, &["--job", "report daily-sales", "--status", "COMPLETED", "--since", "-7d"]),
        [1]
    );
    assert_eq!(listed(shop, &["--job", "report"]), [4, 3, 1], "a group");
    assert_eq!(listed(shop, &["--job", "mail flush"]), Vec::<i64>::new());
    for wrong in ["report daily", "repor", "no such job"] {
        let list = shop.batchctl(["runs", "list", "--job", wrong]);
        list.run().exits(2).says(&format!("`{wrong}` is not a job or a group of jobs"));
    }
    assert_eq!(listed(shop, &["--instance", "2026-11-18"]), [3]);
    assert_eq!(listed(shop, &["--instance", "11-1", "--status", "failed"]), [4, 3]);
    assert_eq!(listed(shop, &["--instance", "%"]), Vec::<i64>::new());
    assert_eq!(listed(shop, &["--status", "failed,completed", "--job", "report daily-sales"]), [4, 3, 1]);
    shop.batchctl(["runs", "list", "--since", "soon"]).run().exits(2).says("--since: `soon` is not a date");
    shop.batchctl(["runs", "list", "--status", "FINE"]).run().exits(2);

    let table = shop.batchctl(["runs", "list", "--limit", "2"]).run().succeeds().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines[0].starts_with(&["!", "report", "daily-sales", "failed", "2", "times,"]), "{table}");
    assert!(lines[2].starts_with(&["Run", "Job", "Instance", "Status"]), "{table}");
    let rows: Vec<_> =
        lines.iter().filter(|line| line.first().is_some_and(|id| id.parse::<i64>().is_ok())).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with(&["4", "report", "daily-sales", "2026-11-19", "!", "FAILED"]), "{table}");
}

/// A day of two five-minute jobs, and three things that matter.
fn a_day_of_idle_runs_hides_nothing_that_matters(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).run().succeeds();
    shop.only_mars();
    shop.batchctl(BACKFILL).run().exits(1);
    let instants = shop.series(288);
    let time = match shop.database() {
        Database::Sqlite => {
            "strftime('%Y-%m-%dT%H:%M:%S+00:00', '2026-11-19T15:00:00', '+' || (5 * n) || ' minutes')"
        }
        Database::Postgres => "TIMESTAMPTZ '2026-11-19T15:00:00+00:00' + n * INTERVAL '5 minutes'",
    };
    for job in ["mail flush", "runs process-requests"] {
        shop.execute(&format!(
            "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
                 lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
                 items_skipped, items_failed, duration_ms, exit_code, version, environment)
             SELECT '{job}', '', '{job}', 1, 'COMPLETED', {time}, {time}, {time}, 0, 'h', 1, 1, 'b', 0, 0, 0, 0, 5, 0,
                 '0.1.0', 'dev' FROM {instants}"
        ));
    }

    let screen = shop.batchctl(["runs", "list"]).run_on_terminal("").succeeds().screen();

    let shown: Vec<&str> = screen.lines().collect();
    assert!(shown.len() <= 24, "{screen}");
    assert!(shown[0].starts_with("! report daily-sales failed 3 times, open since "), "{screen}");
    for run in ["2026-11-16", "2026-11-17", "2026-11-18"] {
        assert!(shown.iter().any(|line| line.contains(run) && line.contains("! FAILED")), "{run}: {screen}");
    }
    assert!(screen.contains("2026-11-19  COMPLETED"), "{screen}");
    let folded = "and 576 runs that found nothing to do (--all): mail flush 288, the last 2026-11-21 00:00:00 JST; \
                  runs process-requests 288";
    assert!(screen.contains(folded), "{screen}");
    let all = shop.batchctl(["runs", "list", "--all", "--limit", "600"]).run().succeeds().stdout;
    assert_eq!(all.matches("mail flush").count(), 288);
    assert_eq!(listed(shop, &["--limit", "600"]).len(), 580, "a program gets them all");
}

fn a_run_is_shown_with_everything_known_about_it(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl(NIGHTLY).run().exits(3);
    let shown = shop.batchctl(["runs", "show", "1"]).run().succeeds().stdout;
    for line in [
        "run           1\n",
        "job           report daily-sales 2026-11-19\n",
        "status        PARTIAL\n",
        "started       2026-11-19 16:00:00Z (01:00:00 JST)\n",
        "exit code     3\n",
        "error         1 of 3 items failed\n",
        "items         3 read, 2 written, 1 failed\n",
        "lease         report daily-sales 2026-11-19 (epoch 1)\n",
        "command       batchctl --env dev report daily-sales --date 2026-11-19\n",
        "open items    1 (inspect: batchctl --env dev runs errors 1; retry: batchctl --env dev runs retry 1)\n",
    ] {
        assert!(shown.contains(line), "no `{line}` in:\n{shown}");
    }
}

fn the_failed_items_of_a_run_are_shown(shop: &TradingShop) {
    for code in ["mars", "phobos", "venus"] {
        shop.mall(code, "Mars/Base", "JPY");
    }
    shop.batchctl(NIGHTLY).run().exits(3);
    let line =
        |code| format!("FAILED {code}: mall `{code}` has the time zone `Mars/Base`, which does not exist\n");
    assert_eq!(
        shop.batchctl(["runs", "errors", "1"]).run().succeeds().stdout,
        ["mars", "phobos", "venus"].map(line).concat()
    );
    assert_eq!(
        shop.batchctl(["runs", "errors", "1", "--limit", "1"]).run().succeeds().stdout,
        format!("{}2 more: add --limit 3\n", line("mars"))
    );
    let rows = json(shop, &["runs", "errors", "1", "--format", "json"]);
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!((&rows[0]["item_key"], &rows[0]["resolved_at"]), (&"mars".into(), &Value::Null));

    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo'");
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    shop.batchctl(["runs", "errors", "1"]).run().succeeds().prints("which does not exist (resolved)\n");
    assert_eq!(
        shop.batchctl(["runs", "errors", "2"]).run().succeeds().stdout,
        "run 2 has no failed or skipped items\n"
    );
}

fn an_unknown_run_is_wrong_usage(sandbox: &Sandbox) {
    for command in [
        &["runs", "show", "99"][..],
        &["runs", "errors", "99"],
        &["runs", "retry", "99"],
        &["runs", "request-retry", "99", "--reason", "x"],
    ] {
        let ran = sandbox.batchctl(command).run().exits(2);
        let list = sandbox.command("dev", "runs list");
        assert_eq!(ran.stderr, format!("error: there is no run 99\n  hint: {list}\n"));
    }
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM batch_retry_request"), "0");
}

fn a_completed_run_has_nothing_to_retry(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).run().succeeds();
    let ran = shop.batchctl(["--verbose", "runs", "retry", "1"]).run().succeeds();
    assert_eq!(ran.stderr, "run 1 completed: nothing to retry\n");
    assert_eq!(runs(shop).len(), 1);

    shop.batchctl(["runs", "retry", "1", "--rerun"]).run().succeeds().is_silent();
    assert_eq!(runs(shop)[1], ["2026-11-19", "2", "COMPLETED", "0"]);
}

fn a_retry_of_a_crashed_run_does_its_own_day_whatever_today_is(shop: &TradingShop) {
    let yesterday = ["report", "daily-sales", "--date", "yesterday"];
    shop.batchctl(yesterday).failpoint("in-chunk=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(
        shop.scalar("SELECT command_line FROM batch_execution"),
        "report daily-sales --date 2026-11-19"
    );

    shop.batchctl(["runs", "retry", "1"]).now("2026-12-24T01:00:00+09:00").run().succeeds().is_silent();

    assert_eq!(
        shop.sql("SELECT instance_key, attempt, status, retry_of FROM batch_execution ORDER BY id"),
        [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "COMPLETED", "1"]]
    );
    assert_eq!(reported_days(shop), [["2026-11-19", "2"]]);
}

fn a_retry_of_a_partial_run_repeats_only_what_failed(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl(NIGHTLY).run().exits(3);
    shop.bring_mars_home();
    shop.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();
    assert_eq!(
        shop.sql("SELECT code, execution_id FROM daily_sales JOIN malls ON id = mall_id ORDER BY code"),
        [["mars", "2"], ["seoul", "1"], ["tokyo", "1"]]
    );
    assert_eq!(
        shop.sql(
            "SELECT attempt, status, retry_of, items_read, items_written FROM batch_execution WHERE id = 2"
        ),
        [["2", "COMPLETED", "1", "1", "1"]]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
}

fn a_retry_of_a_failed_run_that_succeeded_since_has_nothing_to_do(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    shop.bring_mars_home();
    shop.batchctl(NIGHTLY).run().succeeds();
    let ran = shop.batchctl(["--verbose", "runs", "retry", "1"]).run().succeeds();
    assert_eq!(ran.stderr, "report daily-sales 2026-11-19 was completed by run 2 since: nothing to retry\n");
    assert_eq!(runs(shop).len(), 2);
}

fn a_dismissed_failure_is_closed(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    shop.batchctl(["runs", "request-retry", "1", "--reason", "x"]).run().succeeds();
    assert_eq!(listed(shop, &["--open"]), [1]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_incident WHERE closed_at IS NULL"), "1");
    // Whoever repeats it right now would report to a run that is closed.
    shop.execute("UPDATE batch_retry_request SET status = 'RUNNING'");
    let early = shop.batchctl(["runs", "dismiss", "1", "--reason", "x"]).run().exits(75);
    early.says("a retry of run 1 is running right now").says("hint: if it fails too, dismiss the run then");
    assert_eq!(listed(shop, &["--open"]), [1]);
    shop.execute("UPDATE batch_retry_request SET status = 'PENDING'");
    shop.batchctl(["runs", "dismiss", "1", "--reason", " "]).run().exits(2).says("--reason is empty");

    shop.batchctl(["runs", "dismiss", "1", "--reason", "Mars was sold", "--by", "Hana"]).run().succeeds();

    shop.batchctl(["runs", "dismiss", "1", "--reason", "again"]).run().exits(2).says("is already dismissed");
    assert_eq!(listed(shop, &["--open"]), [0; 0]);
    assert_eq!(listed(shop, &[]), [1], "it stays in the history");
    let shown = shop.batchctl(["runs", "show", "1"]).run().succeeds().stdout;
    assert!(shown.contains("by Hana: Mars was sold"), "{shown}");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_incident WHERE closed_at IS NULL"), "0");
    assert_eq!(
        shop.sql("SELECT status, message FROM batch_retry_request"),
        [["DONE", "dismissed: Mars was sold"]]
    );
    shop.bring_mars_home();
    shop.batchctl(NIGHTLY).run().succeeds();
    shop.batchctl(["runs", "dismiss", "2", "--reason", "x"]).run().exits(2).says("run 2 completed");
}

/// Write access to the history must not be a way to start any command as the operator who retries a run.
fn a_stored_line_that_does_not_start_the_runs_job_is_not_run(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl(NIGHTLY).run().exits(3);
    let lines = [
        ("db migrate", 77),
        ("mail purge --keep-days 1", 77),
        ("runs retry 1", 77),
        // A secret was masked: what is left means something else.
        ("report daily-sales --date 2026-11-19 --out ''***''", 77),
        ("no-such-job", 1),
        ("", 1),
    ];
    for (line, code) in lines {
        shop.execute(&format!("UPDATE batch_execution SET command_line = '{line}'"));
        let before = shop.dump();
        shop.batchctl(["runs", "retry", "1"]).run().exits(code);
        assert_eq!(shop.dump(), before, "{line}");
    }
}

/// Nor to have any file of the machine read or written by that operator.
fn a_stored_line_uses_only_files_that_batchctl_stored_with_it(shop: &TradingShop) {
    let outside = tempfile::tempdir().unwrap();
    let (out, key) = (outside.path().join("out"), "a key of this test, 32 bytes long");
    let out = out.to_str().unwrap();
    shop.open_on_mars();
    let words: Vec<&str> = NIGHTLY.into_iter().chain(["--format", "csv", "--out", out]).collect();
    shop.batchctl(&words).env("BATCHCTL_SECRET_KEY", key).run().exits(3);
    std::fs::remove_dir_all(out).unwrap();
    shop.bring_mars_home();
    let retry = || shop.batchctl(["runs", "retry", "1", "--rerun"]).env("BATCHCTL_SECRET_KEY", key);
    // What batchctl stored itself may be anywhere.
    retry().run().succeeds();
    assert!(std::path::Path::new(out).exists());

    let elsewhere = outside.path().join("elsewhere");
    let line = format!("report daily-sales --date 2026-11-19 --format csv --out {}", elsewhere.display());
    shop.execute(&format!("UPDATE batch_execution SET command_line = '{line}'"));
    retry().run().exits(77).says("nothing proves that batchctl stored it").says("runs show 1");
    assert!(!elsewhere.exists());
    // The settings beside the data are not data: an error would quote them.
    shop.write(".env.other", "DB_PASSWORD=hunter2\n");
    let reading = "data import --kind orders --mall tokyo .env.other";
    shop.execute(&format!("UPDATE batch_execution SET job = 'data import', command_line = '{reading}'"));
    retry().run().exits(77).says("names the file `").never_shows("hunter2");
    shop.execute("UPDATE batch_execution SET job = 'report daily-sales'");
    // Nor is anything mailed to whom a stranger wants it sent.
    let mailed = "report daily-sales --date 2026-11-19 --format csv --mail-to attacker@example.com";
    shop.execute(&format!("UPDATE batch_execution SET command_line = '{mailed}'"));
    retry().run().exits(77).says("mails something to `attacker@example.com`");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "0");
    shop.execute(&format!("UPDATE batch_execution SET command_line = '{line}'"));
    // Typed by the operator, and in batchctl's own folder, it is used.
    let typed = ["runs", "retry", "1", "--rerun", "--", "--out", out];
    shop.batchctl(typed).env("BATCHCTL_SECRET_KEY", key).run().succeeds();
    let typed = ["runs", "retry", "1", "--rerun", "--", &format!("--out={out}=1")];
    shop.batchctl(typed).env("BATCHCTL_SECRET_KEY", key).run().succeeds();
    shop.execute("UPDATE batch_execution SET command_line = 'report daily-sales --date 2026-11-19 --format csv --out here'");
    retry().run().succeeds();
    assert!(shop.path("here").exists());
    let escape = "UPDATE batch_execution SET command_line = 'report daily-sales --date 2026-11-19 --format csv --out ../up'";
    shop.execute(escape);
    retry().run().exits(77);
    // Without a key nothing proves a line in a database that other users write.
    shop.execute(&format!("UPDATE batch_execution SET command_line = '{line}'"));
    let without = shop.batchctl(["runs", "retry", "1", "--rerun"]).run();
    if shop.database() == Database::Postgres {
        without.exits(77);
        assert!(!elsewhere.exists());
    }
}

fn a_retry_repeats_what_was_asked_for(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl([
        "report",
        "daily-sales",
        "--date",
        "yesterday",
        "--format",
        "csv",
        "--out",
        "reports",
        "--dry-run",
    ])
    .run()
    .succeeds();
    shop.batchctl([
        "report",
        "daily-sales",
        "--date",
        "yesterday",
        "--format",
        "csv",
        "--out",
        "reports",
        "--rerun",
    ])
    .run()
    .exits(3);
    // Options of that one command are not repeated; what it was asked for is, from any folder.
    let reports = shop.path("reports");
    assert_eq!(
        shop.scalar("SELECT command_line FROM batch_execution"),
        format!("report daily-sales --date 2026-11-19 --format csv --out '{}'", reports.display())
    );
    std::fs::remove_dir_all(shop.path("reports")).unwrap();
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'mars'");
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert!(shop.path("reports/daily-sales-2026-11-19.csv").exists());
}

fn a_retry_can_be_given_other_flags(shop: &TradingShop) {
    let day = ["report", "daily-sales", "--date", "2026-11-19"];
    shop.batchctl(day.into_iter().chain(["--timeout", "0ms"])).run().exits(124);
    let retry = |flags: &[&str]| shop.batchctl(["runs", "retry", "1", "--"].iter().chain(flags)).run();
    // To ignore what was asked for would be worse than to refuse it.
    let before = shop.dump();
    for (flags, reason) in [
        (&["--dry-run"][..], "--dry-run cannot be added to a run's command: a retry does not have it"),
        (&["--rerun"], "--rerun cannot be added to a run's command: write it before the `--`"),
        (&["--env", "prod"], "--env cannot be added to a run's command: write it before the `--`"),
        (&["--timeuot", "1m"], "unexpected argument '--timeuot' found"),
        (&["--timeout", "soon"], "invalid value 'soon' for '--timeout <DURATION>'"),
    ] {
        retry(flags).exits(2).says(reason);
        assert_eq!(shop.dump(), before, "{flags:?}");
    }
    retry(&["--timeout", "1m"]).succeeds();
    assert_eq!(results(shop), shop.undisturbed(&day));
    let line = "SELECT command_line FROM batch_execution ORDER BY id DESC LIMIT 1";
    assert_eq!(shop.scalar(line), "report daily-sales --date 2026-11-19 --timeout 1m");
}

fn requests_are_run_and_recorded(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(BACKFILL).run().exits(1);
    shop.bring_mars_home();
    for run in ["1", "3"] {
        shop.batchctl(["runs", "request-retry", run, "--reason", "Mars came home", "--by", "Hana"])
            .run()
            .succeeds()
            .is_silent();
    }
    assert_eq!(
        shop.sql("SELECT execution_id, reason, requested_by, status FROM batch_retry_request ORDER BY id"),
        [["1", "Mars came home", "Hana", "PENDING"], ["3", "Mars came home", "Hana", "PENDING"]]
    );

    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();

    assert_eq!(
        shop.sql("SELECT status, exit_code, claimed_by, message FROM batch_retry_request ORDER BY id"),
        [["DONE", "0", "4", "`runs retry 1` exited 0"], ["DONE", "0", "4", "`runs retry 3` exited 0"]]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request WHERE processed_at IS NULL"), "0");
    assert_eq!(
        shop.sql("SELECT job, instance_key, status, retry_of FROM batch_execution WHERE id > 3 ORDER BY id"),
        [
            ["runs process-requests", "", "COMPLETED", "NULL"],
            ["report daily-sales", "2026-11-16", "COMPLETED", "1"],
            ["report daily-sales", "2026-11-18", "COMPLETED", "3"],
        ]
    );
    shop.batchctl(["--verbose", "runs", "process-requests"]).run().succeeds().says("no requests");
}

fn a_retry_of_process_requests_does_what_failed_in_it(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    shop.batchctl(["runs", "request-retry", "1", "--reason", "x"]).run().succeeds();
    shop.batchctl(["runs", "process-requests"]).run().exits(1);
    let processor = shop.scalar("SELECT id FROM batch_execution WHERE job = 'runs process-requests'");

    // It fails again: nothing was settled by asking.
    shop.batchctl(["runs", "retry", &processor]).run().exits(1);
    assert_eq!(shop.sql("SELECT status FROM batch_retry_request"), [["FAILED"]]);

    shop.bring_mars_home();
    let processor = shop.scalar("SELECT MAX(id) FROM batch_execution WHERE job = 'runs process-requests'");
    shop.batchctl(["runs", "retry", &processor]).run().succeeds();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["DONE", "0"]]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM daily_sales"), "1");
}

fn a_request_that_cannot_be_done_fails_by_name(shop: &TradingShop) {
    shop.batchctl(["runs", "process-requests"]).run().succeeds();
    for run in ["1", "-1"] {
        shop.execute(&format!(
            "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at)
             VALUES ({run}, 'x', 'admin tool', '2026-11-20T00:00:00+00:00')"
        ));
    }
    shop.batchctl(["runs", "process-requests"]).run().exits(1);
    let messages = shop.sql("SELECT status, message FROM batch_retry_request ORDER BY id");
    assert!(messages[0][1].contains("is retried by hand"), "{messages:?}");
    assert!(messages[1][1].contains("there is no run -1"), "{messages:?}");
    assert!(messages.iter().all(|request| request[0] == "FAILED"), "{messages:?}");
}

fn a_request_from_an_admin_tool_is_run(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("in-chunk=kill").run().is_killed_by(Signal::KILL);
    // As in the README.
    shop.execute(
        "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at)
         VALUES (1, 'red in the dashboard', 'admin tool', '2026-11-20T00:00:00+00:00')",
    );
    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["DONE", "0"]]);
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

fn a_request_for_an_unknown_run_fails_alone(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("in-chunk=kill").run().is_killed_by(Signal::KILL);
    for run in [99, 1] {
        shop.execute(&format!(
            "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at)
             VALUES ({run}, 'x', 'admin tool', '2026-11-20T00:00:00+00:00')"
        ));
    }
    shop.batchctl(["runs", "process-requests"])
        .run()
        .exits(3)
        .says("request 1: `runs retry 99` exited 2: error: there is no run 99");
    let list = shop.command("dev", "runs list");
    let unknown = format!("`runs retry 99` exited 2: error: there is no run 99; hint: {list}");
    assert_eq!(
        shop.sql("SELECT status, exit_code, message FROM batch_retry_request ORDER BY id"),
        [["FAILED", "2", &unknown], ["DONE", "0", "`runs retry 1` exited 0"]]
    );
}

fn a_request_claimed_by_a_killed_run_is_run_by_the_next(shop: &TradingShop) {
    // After the first chunk: the claim.
    assert_request_survives(shop, "after-chunk@1=kill");
}

fn a_request_run_but_not_recorded_by_a_killed_run_is_recorded_by_the_next(shop: &TradingShop) {
    // In the second chunk: the result. The retried job has only one chunk.
    assert_request_survives(shop, "in-chunk@2=kill");
}

fn a_request_that_has_to_wait_stays_open(shop: &TradingShop) {
    shop.batchctl(["runs", "purge"]).failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
    let mut other = shop.batchctl(["runs", "purge"]).hold_at("after-lease");
    other.wait_until_reached();
    shop.batchctl(["runs", "request-retry", "1", "--reason", "it died"]).run().succeeds();

    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["PENDING", "75"]]);

    other.release().wait().succeeds();
    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["DONE", "0"]]);
}

fn a_request_for_a_running_instance_does_not_hold_up_the_others(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(BACKFILL).run().exits(1);
    shop.bring_mars_home();
    let mut at_work = shop.batchctl(["runs", "retry", "1"]).hold_at("after-lease");
    at_work.wait_until_reached();
    for run in ["1", "3"] {
        shop.batchctl(["runs", "request-retry", run, "--reason", "Mars came home"]).run().succeeds();
    }
    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(
        shop.sql("SELECT execution_id, status FROM batch_retry_request ORDER BY id"),
        [["1", "PENDING"], ["3", "DONE"]]
    );
    at_work.release().wait().succeeds();
}

fn a_run_requested_twice_or_needlessly_is_run_once(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    shop.bring_mars_home();
    for _ in 0..2 {
        shop.batchctl(["runs", "request-retry", "1", "--reason", "Mars came home"]).run().succeeds();
    }
    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    // That success is run 3: there is nothing in it to retry.
    shop.batchctl(["runs", "request-retry", "3", "--reason", "to be sure"]).run().succeeds();
    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    assert_eq!(
        shop.sql("SELECT execution_id, status FROM batch_retry_request ORDER BY id"),
        [["1", "DONE"], ["1", "DONE"], ["3", "DONE"]]
    );
    assert_eq!(
        shop.sql("SELECT instance_key, attempt, status FROM batch_execution WHERE job = 'report daily-sales' ORDER BY id"),
        [["2026-11-19", "1", "FAILED"], ["2026-11-19", "2", "COMPLETED"]]
    );
}

#[track_caller]
fn assert_request_survives(shop: &TradingShop, failpoint: &str) {
    shop.only_mars();
    shop.batchctl(NIGHTLY).run().exits(1);
    shop.bring_mars_home();
    shop.batchctl(["runs", "request-retry", "1", "--reason", "x"]).run().succeeds();
    shop.batchctl(["runs", "process-requests"]).failpoint(failpoint).run().is_killed_by(Signal::KILL);
    assert_eq!(shop.sql("SELECT status, claimed_by FROM batch_retry_request"), [["RUNNING", "2"]]);

    shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();

    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["DONE", "0"]]);
    assert_eq!(
        shop.scalar(
            "SELECT COUNT(*) FROM batch_execution WHERE job = 'report daily-sales' AND status = 'COMPLETED'"
        ),
        "1"
    );
    assert_eq!(shop.scalar("SELECT status FROM batch_execution WHERE id = 2"), "CRASHED");
}

/// A run of the past.
fn insert_run(sandbox: &Sandbox, job: &str, status: &str, started_at: &str) -> i64 {
    let id = sandbox.scalar(&format!(
        "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
             lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
             items_skipped, items_failed, duration_ms, exit_code, version, environment)
         VALUES ('{job}', '', '{job}', 1, '{status}', '{started_at}', '{started_at}', '{started_at}', 1, 'elsewhere',
             1, 1, 'b', 0, 0, 0, 0, 5, 0, '0', 'dev') RETURNING id"
    ));
    id.parse().unwrap()
}

/// Ninety days and a second before the sandbox's now.
const OLD: &str = "2026-08-21T15:59:59+00:00";
const YOUNG: &str = "2026-08-21T16:00:01+00:00";

/// The ids of the remaining runs, without the purge's own.
fn left(sandbox: &Sandbox) -> Vec<String> {
    sandbox.sql("SELECT id FROM batch_execution WHERE job <> 'runs purge' ORDER BY id").concat()
}

fn a_purge_keeps_ninety_days_running_runs_and_last_successes(sandbox: &Sandbox) {
    for (job, status, started_at) in [
        ("a b", "COMPLETED", OLD),   // 1: a later one succeeded
        ("a b", "COMPLETED", OLD),   // 2: the last success, however old
        ("a b", "FAILED", OLD),      // 3
        ("a b", "RUNNING", OLD),     // 4: running, or not known to be dead
        ("a b", "FAILED", YOUNG),    // 5
        ("c d", "COMPLETED", OLD),   // 6: a younger one succeeded
        ("c d", "COMPLETED", YOUNG), // 7
        ("e f", "CRASHED", OLD),     // 8: never succeeded
        ("e f", "REFUSED", OLD),     // 9
    ] {
        insert_run(sandbox, job, status, started_at);
    }
    let ran =
        sandbox.batchctl(["--verbose", "runs", "purge"]).run().succeeds().says("runs purge: purged 5 runs");
    drop(ran);
    assert_eq!(left(sandbox), ["2", "4", "5", "7"]);
    sandbox.batchctl(["--verbose", "runs", "purge"]).run().succeeds().says("nothing to purge");
    assert_eq!(left(sandbox), ["2", "4", "5", "7"]);
}

fn a_purge_also_deletes_what_belongs_to_the_runs(sandbox: &Sandbox) {
    for (started_at, closed_at) in [(OLD, OLD), (YOUNG, YOUNG)] {
        let run = insert_run(sandbox, "a b", "FAILED", started_at);
        sandbox.execute(&format!(
            "INSERT INTO batch_error_log (execution_id, item_key, phase, kind, error_class, message, created_at)
             VALUES ({run}, 'x', 'x', 'FAILED', 'x', 'x', '{started_at}');
             INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, status)
             VALUES ({run}, 'x', 'x', '{started_at}', 'DONE');
             INSERT INTO batch_incident (job, kind, severity, opened_at, closed_at, occurrences, first_execution_id, last_execution_id)
             VALUES ('a b', 'FAILURE', 'low', '{closed_at}', '{closed_at}', 1, {run}, {run});
             INSERT INTO batch_alert (incident_id, channel, message, created_at, attempts, next_attempt_at)
             VALUES ({run}, 'x', '{{}}', '{closed_at}', 0, '{closed_at}');
             INSERT INTO batch_lease (exclusion_key, execution_id, epoch, updated_at)
             VALUES ('a b {run}', {run}, 1, '{closed_at}')"
        ));
    }
    sandbox.batchctl(["runs", "purge"]).run().succeeds();
    for (table, column) in [
        ("batch_error_log", "execution_id"),
        ("batch_retry_request", "execution_id"),
        ("batch_incident", "first_execution_id"),
        ("batch_alert", "incident_id"),
    ] {
        assert_eq!(sandbox.sql(&format!("SELECT {column} FROM {table}")), [["2"]], "{table}");
    }
    let leases = "SELECT exclusion_key FROM batch_lease WHERE exclusion_key LIKE 'a b%'";
    assert_eq!(sandbox.sql(leases), [["a b 2"]]);
}

fn a_purge_keeps_requested_runs_and_the_success_of_each_day(sandbox: &Sandbox) {
    let asked = insert_run(sandbox, "a b", "FAILED", OLD);
    sandbox.batchctl(["runs", "request-retry", &asked.to_string(), "--reason", "x"]).run().succeeds();
    for day in ["2026-01-01", "2026-01-02"] {
        let run = insert_run(sandbox, "a b", "COMPLETED", OLD);
        sandbox.execute(&format!("UPDATE batch_execution SET instance_key = '{day}' WHERE id = {run}"));
    }
    sandbox.batchctl(["runs", "purge"]).run().succeeds();
    let kept = "SELECT status, instance_key FROM batch_execution WHERE job = 'a b' ORDER BY id";
    assert_eq!(sandbox.sql(kept), [["FAILED", ""], ["COMPLETED", "2026-01-01"], ["COMPLETED", "2026-01-02"]]);
}

fn a_purge_keeps_the_requested_number_of_days(sandbox: &Sandbox) {
    insert_run(sandbox, "a b", "FAILED", "2026-11-18T15:59:59+00:00");
    insert_run(sandbox, "a b", "FAILED", "2026-11-18T16:00:01+00:00");
    sandbox.batchctl(["runs", "purge", "--keep-days", "1"]).run().succeeds();
    assert_eq!(left(sandbox), ["2"]);
    assert_eq!(
        sandbox.scalar("SELECT command_line FROM batch_execution WHERE job = 'runs purge'"),
        "runs purge --keep-days 1"
    );
}

fn a_purge_goes_in_bounded_chunks(sandbox: &Sandbox) {
    let first = insert_run(sandbox, "a b", "FAILED", OLD);
    sandbox.execute(&format!(
        "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
             lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
             items_skipped, items_failed, version, environment)
         WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)
         SELECT job, instance_key, command_line, attempt, status, started_at, heartbeat_at, lease_expires_at, epoch,
             host, pid, pid_started_ticks, boot_id, items_read, items_written, items_skipped, items_failed, version,
             environment
         FROM batch_execution CROSS JOIN number WHERE id = {first}"
    ));
    let count = || sandbox.scalar("SELECT COUNT(*) FROM batch_execution WHERE job = 'a b'");
    assert_eq!(count(), "2500");

    sandbox.batchctl(["runs", "purge"]).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(count(), "1500", "a chunk is a thousand runs");

    sandbox.batchctl(["runs", "purge"]).run().succeeds().is_silent();
    assert_eq!(count(), "0");
    assert_eq!(
        sandbox.sql("SELECT status, items_written FROM batch_execution WHERE id = (SELECT MAX(id) FROM batch_execution)"),
        [["COMPLETED", "1500"]]
    );
}
