//! A database that cannot be used: people are told once, cron once, and what was lost is run when it is back.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use batchctl::digest::fingerprint;
use rustix::process::{Signal, geteuid};

use super::{NIGHTLY, TradingShop};
use crate::support::{
    Answer, Arranged, Batchctl, Database, Webhook, can_mount, eventually, on_both_databases, run_on,
};

on_both_databases![
    a_night_without_a_database_is_told_once_and_done_when_it_is_back,
    days_lost_to_a_wrong_password_are_done_when_a_person_has_changed_it,
    a_night_is_made_up_for_by_the_days_that_it_was_at_the_malls,
    an_outage_of_one_database_is_not_ended_by_another,
    starts_of_one_business_day_are_made_up_for_by_the_days_of_each,
    each_database_makes_up_for_its_own_starts,
    a_person_and_a_log_collector_see_every_start,
    a_channel_that_could_not_be_told_is_told_by_the_next_start,
    a_recovery_that_was_refused_is_told_by_the_next_command,
    a_slow_channel_loses_no_start,
    an_outage_that_another_start_is_ending_is_left_alone,
    a_process_that_was_killed_while_it_ended_an_outage_loses_no_start,
    what_nothing_makes_up_for_is_printed_each_time_and_listed_at_the_end,
    a_snapshot_that_was_lost_is_taken_on_its_own_day_or_not_at_all,
    a_database_that_can_only_be_read_is_told_once_and_caught_up,
    what_is_caught_up_can_be_set,
    a_file_that_nobody_can_read_does_not_stop_anything,
    a_file_that_cannot_be_written_there_is_in_a_folder_of_our_own,
    an_outage_that_can_be_noted_nowhere_is_told_by_each_start,
    a_full_disk_that_holds_database_and_configuration_is_told_once_and_caught_up,
];

const OPS: &str = "[alerts]\ndev_channel = \"ops\"\n[[alerts.channel]]\nname = \"ops\"\nkind = \"webhook\"\n\
                   url_variable = \"OPS_URL\"\n";
/// Nobody listens there: only root may.
const DOWN: &str = "postgres://shop:hunter2@127.0.0.1:1/shop";

fn ops(shop: &TradingShop, more: &str) -> Webhook {
    shop.write("batchctl.toml", format!("{OPS}{more}"));
    let ops = Webhook::start();
    for _ in 0..20 {
        ops.answer(Answer::Http(200, Vec::new(), String::new()));
    }
    ops
}

/// The file in which the outage of `DOWN` is noted.
fn file() -> String {
    format!(".batchctl-dev.{}.outage.json", fingerprint("PostgreSQL at `127.0.0.1:1/shop`"))
}

/// A command at this time of 20 November.
fn at(shop: &TradingShop, ops: &Webhook, time: &str, command: &[&str]) -> Batchctl {
    shop.batchctl(command)
        .env("OPS_URL", ops.url("/"))
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .now(&format!("2026-11-20T{time}:00+09:00"))
}

/// The same without a database.
fn lost(shop: &TradingShop, ops: &Webhook, time: &str, command: &[&str]) -> Batchctl {
    at(shop, ops, time, command).env("BATCHCTL_DATABASE_URL", DOWN)
}

fn reported(shop: &TradingShop) -> Vec<String> {
    shop.sql("SELECT DISTINCT business_day FROM daily_sales ORDER BY 1").concat()
}

fn titles(ops: &Webhook) -> Vec<String> {
    ops.requests()
        .iter()
        .map(|request| request.json()["title"].as_str().unwrap_or_default().to_owned())
        .collect()
}

const FLUSH: [&str; 2] = ["mail", "flush"];
const CANCELLATIONS: [&str; 2] = ["report", "daily-cancellations"];
const PROCESS: [&str; 2] = ["runs", "process-requests"];

fn a_night_without_a_database_is_told_once_and_done_when_it_is_back(shop: &TradingShop) {
    let ops = ops(shop, "");
    lost(shop, &ops, "00:35", &FLUSH)
        .run()
        .exits(75)
        .says("failed to connect to PostgreSQL")
        .never_shows("hunter2");
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75).is_silent();
    lost(shop, &ops, "01:05", &FLUSH).run().exits(75).is_silent();
    lost(shop, &ops, "02:00", &CANCELLATIONS).run().exits(75).is_silent();
    lost(shop, &ops, "02:05", &PROCESS).run().exits(75).is_silent();
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"]);
    // A start that was killed while it wrote.
    shop.write(&format!(".{}.x1y2z3", file()), "{");
    let told = ops.requests()[0].json().to_string();
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains(&shop.command("dev", "db check")), "{told}");

    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();

    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(shop.scalar("SELECT COUNT(DISTINCT business_day) FROM daily_cancellations"), "1");
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
    assert!(!shop.path(&file()).exists() && !shop.path(&format!(".{}.x1y2z3", file())).exists());
    // Each lost start has left its row; those of the five-minute jobs were not caught up.
    assert_eq!(
        shop.sql("SELECT job, error_class FROM batch_execution WHERE instance_key = '' AND status = 'FAILED' ORDER BY id"),
        [
            ["mail flush", "TRY_LATER"],
            ["report daily-sales", "TRY_LATER"],
            ["report daily-cancellations", "TRY_LATER"],
            ["runs process-requests", "TRY_LATER"],
        ]
    );
    let caught_up = "SELECT DISTINCT job FROM batch_execution WHERE status = 'COMPLETED' AND retry_of IS NOT NULL ORDER BY 1";
    assert_eq!(shop.sql(caught_up).concat(), ["report daily-cancellations", "report daily-sales"]);
    at(shop, &ops, "02:15", &PROCESS).run().succeeds().is_silent();
    assert_eq!(titles(&ops).len(), 2);
}

fn days_lost_to_a_wrong_password_are_done_when_a_person_has_changed_it(shop: &TradingShop) {
    let ops = ops(shop, "");
    let wrong = shop.refused_database_url();
    let night = |day: &str| {
        let start = shop.batchctl(NIGHTLY).env("OPS_URL", ops.url("/")).env("BATCHCTL_DATABASE_URL", &wrong);
        start.now(&format!("2026-11-{day}T01:00:00+09:00")).run().exits(78)
    };
    night("18").says("hint: correct BATCHCTL_DATABASE_URL").never_shows("hunter2");
    night("19").is_silent();
    night("20").is_silent();
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"]);
    at(shop, &ops, "09:00", &PROCESS).run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-17", "2026-11-18", "2026-11-19"]);
}

/// At half past midnight in Tokyo it is the day before in UTC, and in Honolulu half past five of that day.
fn a_night_is_made_up_for_by_the_days_that_it_was_at_the_malls(shop: &TradingShop) {
    let ops = ops(shop, "");
    shop.mall("honolulu", "Pacific/Honolulu", "USD");
    let zone = |command: Batchctl| command.env("BATCHCTL_TZ", "UTC");
    zone(lost(shop, &ops, "00:30", &NIGHTLY)).run().exits(75);
    zone(lost(shop, &ops, "00:30", &["report", "daily-cancellations", "--mall", "tokyo"])).run().exits(75);
    let back = shop.batchctl(PROCESS).env("OPS_URL", ops.url("/")).now("2026-11-23T12:00:00Z");
    zone(back).run().succeeds().is_silent();
    // And for Honolulu, where it was the 19th, the 18th.
    assert_eq!(reported(shop), ["2026-11-18", "2026-11-19"]);
    assert_eq!(
        shop.sql("SELECT DISTINCT business_day FROM daily_cancellations").concat(),
        ["2026-11-19"],
        "only Tokyo's day"
    );
    assert_eq!(
        shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'FAILED' AND settled_by IS NULL"),
        "0"
    );
}

fn an_outage_of_one_database_is_not_ended_by_another(shop: &TradingShop) {
    let ops = ops(shop, "");
    // From then on the database is known, and no other address is taken for a correction of its own.
    at(shop, &ops, "00:50", &CANCELLATIONS).run().succeeds();
    let other = TradingShop::on(shop.database());
    let (url, code) = match shop.database() {
        Database::Sqlite => {
            shop.execute("BEGIN IMMEDIATE");
            (format!("sqlite:{}", other.path("batchctl.db").display()), 75)
        }
        Database::Postgres => (other.database_url().to_owned(), 78),
    };
    let own = match shop.database() {
        Database::Sqlite => shop.database_url().to_owned(),
        Database::Postgres => shop.refused_database_url(),
    };
    at(shop, &ops, "01:00", &NIGHTLY).env("BATCHCTL_DATABASE_URL", own).run().exits(code);
    at(shop, &ops, "01:05", &PROCESS).env("BATCHCTL_DATABASE_URL", &url).run().succeeds().is_silent();
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"]);
    assert_eq!(other.scalar("SELECT COUNT(*) FROM batch_retry_request"), "0");

    if shop.database() == Database::Sqlite {
        shop.execute("ROLLBACK");
    }
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
}

fn starts_of_one_business_day_are_made_up_for_by_the_days_of_each(shop: &TradingShop) {
    let ops = ops(shop, "");
    // Half past nine in the morning in Tokyo, and half past one of the next night.
    for at in ["2026-11-19T00:30:00Z", "2026-11-19T16:30:00Z"] {
        let start = lost(shop, &ops, "00:00", &NIGHTLY).env("BATCHCTL_TZ", "UTC").now(at);
        start.run().exits(75);
    }
    let back = at(shop, &ops, "00:00", &PROCESS).env("BATCHCTL_TZ", "UTC").now("2026-11-19T17:00:00Z");
    back.run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-18", "2026-11-19"]);
}

/// As where a loop over the databases of all tenants finds their server down.
fn each_database_makes_up_for_its_own_starts(shop: &TradingShop) {
    let ops = ops(shop, "");
    let start =
        |url: &str| at(shop, &ops, "01:00", &NIGHTLY).env("BATCHCTL_DATABASE_URL", url).run().exits(75);
    start(DOWN).says("next:  it runs by itself");
    start("postgres://shop@127.0.0.1:1/second").says("next:  it runs by itself");
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"; 2]);
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    // Both addresses were corrected, to the same database: its night is done once.
    assert_eq!(reported(shop), ["2026-11-19"]);
    let reports =
        "SELECT COUNT(*) FROM batch_execution WHERE job = 'report daily-sales' AND status = 'COMPLETED'";
    assert_eq!(shop.scalar(reports), "1");
    assert_eq!(titles(&ops)[2..], ["the database is back (dev)"; 2]);
}

fn a_person_and_a_log_collector_see_every_start(shop: &TradingShop) {
    let ops = ops(shop, "");
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75);
    for flag in [&["--verbose"][..], &["--log-format", "json"]] {
        let command = [flag, &NIGHTLY].concat();
        lost(shop, &ops, "01:05", &command).run().exits(75).says("failed to connect to PostgreSQL");
    }
    // Looking is not starting.
    lost(shop, &ops, "01:05", &["runs", "list"]).run().exits(75).says("failed to connect to PostgreSQL");
    assert_eq!(titles(&ops).len(), 1);
}

fn a_channel_that_could_not_be_told_is_told_by_the_next_start(shop: &TradingShop) {
    let ops = Webhook::start();
    shop.write("batchctl.toml", OPS);
    for status in [503, 200, 200] {
        ops.answer(Answer::Http(status, Vec::new(), String::new()));
    }
    for time in ["01:00", "01:05", "01:10"] {
        lost(shop, &ops, time, &NIGHTLY).run().exits(75);
    }
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"; 2], "the first was refused");
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    assert_eq!(titles(&ops)[2..], ["the database is back (dev)"]);
}

fn a_recovery_that_was_refused_is_told_by_the_next_command(shop: &TradingShop) {
    let ops = Webhook::start();
    shop.write("batchctl.toml", OPS);
    for status in [200, 503, 200] {
        ops.answer(Answer::Http(status, Vec::new(), String::new()));
    }
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75);
    at(shop, &ops, "02:10", &FLUSH).run().succeeds();
    assert!(shop.path(&file()).exists(), "its end is still to be told");
    at(shop, &ops, "02:15", &FLUSH).run().succeeds();
    at(shop, &ops, "02:20", &FLUSH).run().succeeds();
    let back = "the database is back (dev)";
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", back, back]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request"), "1", "it is requested once");
}

fn a_slow_channel_loses_no_start(shop: &TradingShop) {
    let ops = Webhook::start();
    shop.write("batchctl.toml", OPS);
    ops.answer(Answer::Silence);
    let days: Vec<String> = (1..=10).map(|day| format!("2026-10-{day:02}")).collect();
    let starts: Vec<_> = days
        .iter()
        .map(|day| lost(shop, &ops, "01:00", &["report", "daily-sales", "--date", day]).spawn())
        .collect();
    let noted = || {
        let text = std::fs::read_to_string(shop.path(&file())).unwrap_or_default();
        days.iter().all(|day| text.contains(day))
    };
    eventually(noted, "all starts are noted, although the channel has not answered");
    drop(starts);
}

fn an_outage_that_another_start_is_ending_is_left_alone(shop: &TradingShop) {
    let ops = ops(shop, "");
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75);
    let mut first = at(shop, &ops, "02:10", &FLUSH).hold_at("outage-left");
    first.wait_until_reached();
    at(shop, &ops, "02:10", &["runs", "purge"]).run().succeeds().is_silent();
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"], "it is for the first to tell");
    // Lost while it ended: for whoever comes next.
    lost(shop, &ops, "02:10", &CANCELLATIONS).run().exits(75).is_silent();
    first.release().wait().succeeds().is_silent();
    assert!(shop.path(&file()).exists());
    at(shop, &ops, "02:15", &PROCESS).run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(shop.scalar("SELECT COUNT(DISTINCT business_day) FROM daily_cancellations"), "1");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request"), "2");
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
}

fn a_process_that_was_killed_while_it_ended_an_outage_loses_no_start(shop: &TradingShop) {
    let ops = ops(shop, "");
    for (point, command) in [("outage-claimed", NIGHTLY), ("outage-left", CANCELLATIONS)] {
        lost(shop, &ops, "01:00", &command).run().exits(75);
        let ending = at(shop, &ops, "02:10", &FLUSH).failpoint(&format!("{point}=kill"));
        ending.run().is_killed_by(Signal::KILL);
        // As long as it may be at it, it is left alone.
        at(shop, &ops, "02:10", &FLUSH).run().succeeds().is_silent();
        let mut noted: serde_json::Value = serde_json::from_str(&shop.read(&file())).unwrap();
        noted["ending_until"] = "2026-11-20T00:00:00Z".into();
        shop.write(&file(), noted.to_string());
        at(shop, &ops, "02:15", &PROCESS).run().succeeds().is_silent();
        assert!(!shop.path(&file()).exists());
    }
    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(shop.scalar("SELECT COUNT(DISTINCT business_day) FROM daily_cancellations"), "1");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request"), "2", "each is requested once");
    assert_eq!(titles(&ops)[3..], ["the database is back (dev)"]);
}

fn what_nothing_makes_up_for_is_printed_each_time_and_listed_at_the_end(shop: &TradingShop) {
    let ops = ops(shop, "[jobs.\"report daily-sales\"]\ncatch_up = false\n");
    let import = ["data", "import", "--kind", "orders", "orders.csv"];
    let next = "next:  nothing makes up for it: type the command when the database is back\n";
    lost(shop, &ops, "00:35", &FLUSH)
        .run()
        .exits(75)
        .says("next:  its next start does what this one would have done; without a terminal, further starts");
    for command in [&import[..], &import, &NIGHTLY] {
        lost(shop, &ops, "01:00", command).run().exits(75).says("failed to connect to PostgreSQL").says(next);
    }
    lost(shop, &ops, "01:00", &CANCELLATIONS).run().exits(75).is_silent();
    lost(shop, &ops, "01:05", &FLUSH).run().exits(75).is_silent();
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    let told = ops.requests()[1].json()["text"].as_str().unwrap().to_owned();
    let (_, told) = told.split_once("6 starts failed\n").expect(&told);
    let file = shop.path("").canonicalize().unwrap().join("orders.csv");
    let commands = [
        format!("data import --kind orders -- '{}'", file.display()),
        "report daily-sales --date 2026-11-19".to_owned(),
    ]
    .map(|words| shop.command("dev", &words));
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "`runs process-requests` does what was lost: report daily-cancellations",
            "not made up for; type what is still wanted:",
            &commands[0],
            &commands[1],
        ]
    );
    assert_eq!(reported(shop).len(), 0);
    shop.typed_elsewhere(&commands[1]).run().succeeds();
    assert_eq!(reported(shop), ["2026-11-19"]);
}

fn a_snapshot_that_was_lost_is_taken_on_its_own_day_or_not_at_all(shop: &TradingShop) {
    let ops = ops(shop, "");
    let refresh = ["stats", "refresh"];
    lost(shop, &ops, "01:00", &refresh)
        .now("2026-11-19T01:00:00+09:00")
        .run()
        .exits(75)
        .says("when the database is back, if that is before 2026-11-20 00:00")
        .says("stats refresh --date 2026-11-19  # once");
    lost(shop, &ops, "01:00", &refresh).run().exits(75).is_silent();
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    let taken = "SELECT DISTINCT snapshot_day, is_reconstructed FROM statistics_snapshots ORDER BY 1";
    assert_eq!(shop.sql(taken), [["2026-11-20", "0"]]);
    let told = ops.requests()[1].json()["text"].as_str().unwrap().to_owned();
    let command = shop.command("dev", "stats refresh --date 2026-11-19 --reconstruct");
    assert!(told.contains("does what was lost: stats refresh\n"), "{told}");
    let last = told.lines().last().unwrap_or_default().to_owned();
    assert_eq!(last, format!("{command}  # all that can still be done of it"), "{told}");
    shop.typed_elsewhere(&last).run().succeeds();
    assert_eq!(shop.sql(taken), [["2026-11-19", "1"], ["2026-11-20", "0"]]);
    // All that could still be done of it is done.
    assert_eq!(
        shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE settled_by IS NULL AND status = 'FAILED'"),
        "0"
    );
}

fn a_database_that_can_only_be_read_is_told_once_and_caught_up(shop: &TradingShop) {
    let ops = ops(shop, "");
    let name = shop.scalar(match shop.database() {
        Database::Sqlite => "SELECT 'batchctl.db'",
        Database::Postgres => "SELECT current_database()",
    });
    let (url, code, place, hint) = match shop.database() {
        Database::Sqlite => (
            "sqlite:batchctl.db?mode=ro",
            78,
            "the SQLite file `/",
            "hint: check who may write the file and its folder",
        ),
        Database::Postgres => {
            shop.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
            (shop.database_url(), 75, "PostgreSQL at `", "hint: it may be a standby after a failover: wait")
        }
    };
    let start =
        |time, command| at(shop, &ops, time, command).env("BATCHCTL_DATABASE_URL", url).run().exits(code);
    start("01:00", &NIGHTLY)
        .says(place)
        .says(&format!("{name}` is read-only: "))
        .says("data:  nothing was changed\n")
        .says(hint)
        .says("next:  it runs by itself when the database is back");
    start("01:05", &FLUSH).is_silent();
    start("02:00", &CANCELLATIONS).is_silent();
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"]);
    if shop.database() == Database::Postgres {
        shop.execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only"));
    }
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(shop.scalar("SELECT COUNT(DISTINCT business_day) FROM daily_cancellations"), "1");
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
}

#[test]
fn a_sqlite_file_that_another_program_locks_is_named_and_the_start_caught_up() {
    run_on(Database::Sqlite, |shop: &TradingShop| {
        let ops = ops(shop, "");
        shop.execute("BEGIN IMMEDIATE");
        let file = shop.path("").canonicalize().unwrap().join("batchctl.db").display().to_string();
        at(shop, &ops, "01:00", &NIGHTLY)
            .run()
            .exits(75)
            .says(&format!("the SQLite file `{file}` is busy: database is locked\n"))
            .says("data:  nothing was changed\n")
            .says(&format!("hint: another program holds its lock: `fuser '{file}'` shows who has it open\n"))
            .says("next:  it runs by itself when the database is back")
            .says("  # once it is free\n");
        shop.execute("ROLLBACK");
        at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
        assert_eq!(reported(shop), ["2026-11-19"]);
        assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
    });
}

fn what_is_caught_up_can_be_set(shop: &TradingShop) {
    let ops = ops(
        shop,
        "[jobs.\"report daily-sales\"]\ncatch_up = false\n[jobs.\"runs purge\"]\ncatch_up = true\n",
    );
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75);
    lost(shop, &ops, "01:00", &["runs", "purge"]).run().exits(75);
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    assert_eq!(
        shop.sql("SELECT job FROM batch_execution WHERE status = 'COMPLETED' AND retry_of IS NOT NULL")
            .concat(),
        ["runs purge"]
    );
}

fn a_file_that_nobody_can_read_does_not_stop_anything(shop: &TradingShop) {
    let ops = ops(shop, "");
    shop.write(&file(), "{\"since\":");
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75).says("failed to connect to PostgreSQL");
    assert_eq!(titles(&ops).len(), 1);
    shop.write(&file(), "nonsense");
    at(shop, &ops, "02:10", &NIGHTLY).run().succeeds();
    assert_eq!(reported(shop), ["2026-11-19"]);
}

/// Where the outage is noted if the folder of the configuration takes no file.
fn own_file(shop: &TradingShop) -> PathBuf {
    let folder = shop.path("").canonicalize().unwrap();
    let own = PathBuf::from(format!("/var/tmp/batchctl-{}", geteuid().as_raw()));
    own.join(fingerprint(folder.as_os_str().as_encoded_bytes())).join(file())
}

fn a_file_that_cannot_be_written_there_is_in_a_folder_of_our_own(shop: &TradingShop) {
    let ops = ops(shop, "");
    // A folder in the place of the file: whoever runs the tests may be root, whom no mode stops.
    std::fs::create_dir(shop.path(&file())).unwrap();
    lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75).never_shows("failed to note");
    assert!(own_file(shop).is_file());
    lost(shop, &ops, "01:05", &NIGHTLY).run().exits(75).is_silent();
    std::fs::remove_dir(shop.path(&file())).unwrap();
    at(shop, &ops, "02:10", &PROCESS).run().succeeds().is_silent();
    assert_eq!(reported(shop), ["2026-11-19"]);
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
    assert!(!own_file(shop).parent().unwrap().exists());
}

fn an_outage_that_can_be_noted_nowhere_is_told_by_each_start(shop: &TradingShop) {
    let ops = ops(shop, "");
    std::fs::create_dir(shop.path(&file())).unwrap();
    let own = own_file(shop);
    DirBuilder::new().recursive(true).mode(0o700).create(&own).unwrap();
    for _ in 0..2 {
        let ran = lost(shop, &ops, "01:00", &NIGHTLY).run().exits(75);
        ran.says("failed to note the outage: ").says("failed to connect to PostgreSQL");
    }
    assert_eq!(titles(&ops), ["the database cannot be used (dev)"; 2]);
    std::fs::remove_dir_all(own.parent().unwrap()).unwrap();
    at(shop, &ops, "02:10", &NIGHTLY).run().succeeds();
    assert_eq!(titles(&ops).len(), 2);
}

/// Two starts on a small file system without any room, which holds the configuration and on SQLite the database; then it
/// has room again. `/var/tmp` is another one.
const ON_A_FULL_DISK: &str = r#"
    mount -t tmpfs -o size=16m tmpfs /var/tmp && mount -t tmpfs -o size=16m tmpfs disk || exit 1
    cp batchctl.toml batchctl.db* disk/ 2>/dev/null
    cd disk || exit 1
    program=$1
    start() {
        name=$1; shift
        BATCHCTL_NOW=2026-11-20T0$name:00+09:00 "$@" > ../$name.out 2>&1
        echo $? >> ../$name.out
    }
    # Before each of them: a process that ends may give room back.
    for time in 1:00 1:05; do
        head -c 32m /dev/zero >> filler 2>/dev/null && exit 1
        start $time "$@"
    done
    rm filler
    export BATCHCTL_DATABASE_URL="$REPAIRED_URL"
    start 2:10 "$program" runs process-requests
    start 2:15 "$program" --verbose report daily-sales
    find /var/tmp . -name '*outage*' > ../left.out
"#;

fn a_full_disk_that_holds_database_and_configuration_is_told_once_and_caught_up(shop: &TradingShop) {
    if !can_mount() {
        return;
    }
    let ops = ops(shop, "");
    std::fs::create_dir(shop.path("disk")).unwrap();
    let (now, later) = match shop.database() {
        Database::Sqlite => ("sqlite:batchctl.db", "sqlite:batchctl.db"),
        Database::Postgres => (DOWN, shop.database_url()),
    };
    at(shop, &ops, "01:00", &NIGHTLY)
        .env("BATCHCTL_DATABASE_URL", now)
        .env("REPAIRED_URL", later)
        .through_shell(&format!(
            "exec unshare -m sh -c '{}' sh \"$@\"",
            ON_A_FULL_DISK.replace('\'', "'\\''")
        ))
        .run()
        .succeeds();
    let first = shop.read("1:00.out");
    assert!(first.contains("error: report daily-sales") && !first.contains("failed to note"), "{first}");
    assert!(
        shop.database() == Database::Postgres || first.contains("data:  nothing was changed\n"),
        "{first}"
    );
    let code = first.lines().last().unwrap_or_default();
    // SQLite may find room for a day's figures in the log that the first start left.
    let again = shop.read("1:05.out");
    let may_succeed = shop.database() == Database::Sqlite;
    assert!(again == format!("{code}\n") || (may_succeed && again == "0\n"), "{again}\n{first}");
    assert_eq!(shop.read("2:10.out"), "0\n");
    assert!(shop.read("2:15.out").contains("2026-11-19: already completed"), "{}", shop.read("2:15.out"));
    assert_eq!(shop.read("left.out"), "");
    assert_eq!(titles(&ops), ["the database cannot be used (dev)", "the database is back (dev)"]);
}
