//! No overlap across processes: one of many runs, the others are told its holder, and nobody waits for nothing.

use std::thread;

use super::{BACKFILL, NIGHTLY, TradingShop, crowd, reported_days, results, runs, wait_until_said};
use crate::support::{Arranged, Database, Running, Sandbox, on_both_databases, run_on};

on_both_databases![
    while_a_run_is_active_two_hundred_starts_are_refused_and_told_its_holder,
    of_two_hundred_starts_at_once_exactly_one_runs,
    a_nightly_run_is_not_held_up_by_a_backfill_of_other_days,
    a_nightly_run_waits_for_a_backfill_of_its_own_day,
    a_backfill_waits_for_a_nightly_run_of_one_of_its_days,
    a_run_waits_no_longer_than_it_was_told,
    a_run_waits_no_longer_than_its_deadline,
    two_reports_of_one_day_exclude_each_other_whatever_malls_they_name,
    a_sweep_that_finds_the_lease_taken_leaves_at_once,
    requests_are_processed_by_one_run_at_a_time,
];

const IMPATIENT: [&str; 4] = ["report", "daily-sales", "--on-overlap", "fail"];

fn while_a_run_is_active_two_hundred_starts_are_refused_and_told_its_holder(shop: &TradingShop) {
    let _crowd = crowd();
    let mut holder = shop.batchctl(NIGHTLY).hold_at("after-lease");
    holder.wait_until_reached();
    let pid = holder.process().pid();
    let host = shop.scalar("SELECT host FROM batch_execution");

    let turned_away: Vec<Running> = (0..200).map(|_| shop.batchctl(IMPATIENT).spawn()).collect();
    for process in turned_away {
        process.wait().exits(75).says("report daily-sales 2026-11-19 is already running").says(&format!(
            "run 1 holds it: report daily-sales 2026-11-19, process {pid} on {host}, since 2026-11-20 01:00:00 JST"
        ));
    }
    holder.release().wait().succeeds().is_silent();

    assert_eq!(
        shop.sql("SELECT status, exit_code, COUNT(*) FROM batch_execution GROUP BY status, exit_code ORDER BY status"),
        [["COMPLETED", "0", "1"], ["REFUSED", "75", "200"]]
    );
    assert_eq!(
        shop.sql("SELECT DISTINCT error_class, error_message, exclusion_key FROM batch_execution WHERE status = 'REFUSED'"),
        [[
            "TRY_LATER".to_owned(),
            format!(
                "already running; run 1 holds it: report daily-sales 2026-11-19, process {pid} on {host}, \
                 since 2026-11-20 01:00:00 JST"
            ),
            "NULL".to_owned(),
        ]]
    );
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

fn of_two_hundred_starts_at_once_exactly_one_runs(shop: &TradingShop) {
    let _crowd = crowd();
    let processes: Vec<Running> = (0..200).map(|_| shop.batchctl(IMPATIENT).spawn()).collect();
    let mut refused = 0;
    for process in processes {
        let ran = process.wait();
        match ran.code {
            Some(0) => drop(ran.is_silent()),
            Some(75) => {
                refused += 1;
                drop(ran.says("holds it: report daily-sales 2026-11-19, process "));
            }
            _ => panic!("neither 0 nor 75: {ran:?}"),
        }
    }
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'COMPLETED'"), "1");
    assert_eq!(
        shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'REFUSED'"),
        refused.to_string()
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution"), (refused + 1).to_string());
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

#[test]
fn fifty_first_starts_on_a_new_sqlite_file_make_one_schema_and_one_run() {
    run_on(Database::Sqlite, |empty: &Empty| {
        let _crowd = crowd();
        assert_fifty_starts_make_one_run(&empty.0);
    });
}

#[test]
fn fifty_migrations_at_once_make_one_schema_on_postgres() {
    run_on(Database::Postgres, |empty: &Empty| {
        let _crowd = crowd();
        let processes: Vec<Running> = (0..50).map(|_| empty.0.batchctl(["db", "migrate"]).spawn()).collect();
        for process in processes {
            process.wait().succeeds().is_silent();
        }
        assert_fifty_starts_make_one_run(&empty.0);
    });
}

/// A sandbox without tables.
struct Empty(Sandbox);

impl Arranged for Empty {
    fn on(database: Database) -> Self {
        Self(Sandbox::without_schema(database))
    }
}

#[track_caller]
fn assert_fifty_starts_make_one_run(sandbox: &Sandbox) {
    for command in [&["mall", "add", "tokyo", "--currency", "JPY"][..], &NIGHTLY] {
        let processes: Vec<Running> = (0..50).map(|_| sandbox.batchctl(command).spawn()).collect();
        for process in processes {
            process.wait().succeeds().is_silent();
        }
    }
    assert_eq!(sandbox.sql("SELECT code FROM malls"), [["tokyo"]]);
    assert_eq!(runs(sandbox), [["2026-11-19", "1", "COMPLETED", "0"]]);
    assert_eq!(sandbox.sql("SELECT id, name FROM batch_environment"), [["1", "dev"]]);
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap().count();
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM _sqlx_migrations WHERE success"), files.to_string());
}

fn a_nightly_run_is_not_held_up_by_a_backfill_of_other_days(shop: &TradingShop) {
    let mut backfill = shop.batchctl(BACKFILL).hold_at("after-lease@2");
    backfill.wait_until_reached();

    shop.batchctl(IMPATIENT).run().succeeds().is_silent();
    // Nor is a day that the backfill has done, or still has to do.
    let day = |day| ["report", "daily-sales", "--on-overlap", "fail", "--date", day];
    shop.batchctl(day("2026-11-16")).run().succeeds().is_silent();
    shop.batchctl(day("2026-11-18")).run().succeeds().is_silent();
    shop.batchctl(day("2026-11-17")).run().exits(75);

    backfill.release().wait().succeeds().is_silent();
    assert_eq!(
        reported_days(shop),
        [["2026-11-16", "1"], ["2026-11-17", "2"], ["2026-11-18", "4"], ["2026-11-19", "3"]]
    );
}

fn a_nightly_run_waits_for_a_backfill_of_its_own_day(shop: &TradingShop) {
    let through_yesterday = ["report", "daily-sales", "--from", "2026-11-18", "--to", "2026-11-19"];
    let mut backfill = shop.batchctl(through_yesterday).hold_at("after-lease@2");
    backfill.wait_until_reached();

    let mut nightly = shop.batchctl(["--verbose", "report", "daily-sales"]).spawn();
    wait_until_said(&mut nightly, "waiting for run 2 (");
    assert!(!nightly.has_ended());
    backfill.release().wait().succeeds();

    nightly.wait().succeeds().says("report daily-sales 2026-11-19: already completed by run 2");
    assert_eq!(runs(shop), [["2026-11-18", "1", "COMPLETED", "0"], ["2026-11-19", "1", "COMPLETED", "0"]]);
}

fn a_backfill_waits_for_a_nightly_run_of_one_of_its_days(shop: &TradingShop) {
    let mut nightly = shop.batchctl(NIGHTLY).hold_at("after-lease");
    nightly.wait_until_reached();

    let range = ["--verbose", "report", "daily-sales", "--from", "2026-11-18", "--to", "2026-11-19"];
    let mut backfill = shop.batchctl(range).spawn();
    wait_until_said(&mut backfill, "report daily-sales 2026-11-19: waiting for run 1 (");
    assert_eq!(reported_days(shop), [["2026-11-18", "2"]]);
    nightly.release().wait().succeeds();

    backfill.wait().succeeds().says("report daily-sales 2026-11-19: already completed by run 1");
    assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"], ["2026-11-18", "1", "COMPLETED", "0"]]);
}

fn a_run_waits_no_longer_than_it_was_told(shop: &TradingShop) {
    let mut holder = shop.batchctl(NIGHTLY).hold_at("after-lease");
    holder.wait_until_reached();

    let patient = ["--verbose", "report", "daily-sales", "--on-overlap", "wait=200ms"];
    shop.batchctl(patient).run().exits(75).says("waiting for run 1").says("run 1 holds it");

    holder.release().wait().succeeds();
    assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"], ["2026-11-19", "2", "REFUSED", "75"]]);
}

fn a_run_waits_no_longer_than_its_deadline(shop: &TradingShop) {
    let mut holder = shop.batchctl(NIGHTLY).hold_at("after-lease");
    holder.wait_until_reached();

    let nightly = ["--verbose", "report", "daily-sales", "--timeout", "2s"];
    shop.batchctl(nightly).run().exits(75).says("waiting for run 1").says("run 1 holds it");

    holder.release().wait().succeeds();
}

fn two_reports_of_one_day_exclude_each_other_whatever_malls_they_name(shop: &TradingShop) {
    let of = |mall| ["report", "daily-sales", "--on-overlap", "fail", "--mall", mall];
    let mut tokyo = shop.batchctl(of("tokyo")).hold_at("after-lease");
    tokyo.wait_until_reached();

    shop.batchctl(of("seoul"))
        .run()
        .exits(75)
        .says("run 1 holds it: report daily-sales 2026-11-19 mall=tokyo");
    shop.batchctl(IMPATIENT).run().exits(75);
    tokyo.release().wait().succeeds();

    shop.batchctl(of("seoul")).run().succeeds();
    assert_eq!(
        runs(shop),
        [
            ["2026-11-19 mall=tokyo", "1", "COMPLETED", "0"],
            ["2026-11-19 mall=seoul", "1", "REFUSED", "75"],
            ["2026-11-19", "1", "REFUSED", "75"],
            ["2026-11-19 mall=seoul", "1", "COMPLETED", "0"],
        ]
    );
}

fn a_sweep_that_finds_the_lease_taken_leaves_at_once(sandbox: &Sandbox) {
    assert_leaves_at_once(sandbox, &["runs", "purge"]);
}

fn requests_are_processed_by_one_run_at_a_time(sandbox: &Sandbox) {
    assert_leaves_at_once(sandbox, &["runs", "process-requests"]);
}

#[track_caller]
fn assert_leaves_at_once(sandbox: &Sandbox, sweep: &[&str]) {
    let mut holder = sandbox.batchctl(sweep).hold_at("after-lease");
    holder.wait_until_reached();

    // Without its own limit it would wait for hours.
    sandbox.batchctl(sweep).run().exits(75).says("run 1 holds it");
    let others: Vec<_> = (0..3).map(|_| sandbox.batchctl(sweep).spawn()).collect();
    thread::scope(|scope| {
        for other in others {
            scope.spawn(|| other.wait().exits(75));
        }
    });

    holder.release().wait().succeeds().is_silent();
    sandbox.batchctl(sweep).run().succeeds().is_silent();
    assert_eq!(
        sandbox.sql("SELECT status, exit_code, COUNT(*) FROM batch_execution GROUP BY status, exit_code ORDER BY status"),
        [["COMPLETED", "0", "2"], ["REFUSED", "75", "4"]]
    );
}
