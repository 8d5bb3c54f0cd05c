//! A late owner cannot write: a process that was frozen past its lease changes nothing more when it wakes up.

use rustix::process::Signal;

use super::{BACKFILL, NIGHTLY, TradingShop, results, runs};
use crate::support::{Batchctl, Database, Running, eventually, on_both_databases, run_on};

on_both_databases![
    a_run_that_was_taken_over_from_elsewhere_commits_nothing,
    a_run_frozen_after_its_lease_writes_nothing_after_the_take_over,
    a_run_frozen_after_a_chunk_writes_nothing_after_the_take_over,
    a_run_frozen_after_its_work_writes_nothing_after_the_take_over,
    a_run_frozen_before_its_end_is_written_writes_nothing_after_the_take_over,
    a_backfill_frozen_in_one_day_ends_there_when_that_day_was_taken_over,
    a_frozen_run_that_wakes_up_before_a_take_over_completes,
    a_take_over_is_alerted_once,
];

/// With a lease that expires soon.
fn with_short_lease(command: Batchctl) -> Batchctl {
    command.env("BATCHCTL_LEASE_SECONDS", "1")
}

/// Expires the leases of the running runs.
fn let_lease_expire(shop: &TradingShop) {
    let expired = "'2026-01-01T00:00:00+00:00'";
    shop.execute(&format!(
        "UPDATE batch_execution SET lease_expires_at = {expired} WHERE status = 'RUNNING'"
    ));
}

/// Starts a command and waits until it has frozen itself at a point.
#[track_caller]
fn freeze(command: Batchctl, point: &str) -> Running {
    let running = command.failpoint(&format!("{point}=stop")).spawn();
    let stat = format!("/proc/{}/stat", running.pid());
    // State `T` after the command's closing parenthesis (proc(5)).
    eventually(|| std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")), "it is frozen");
    running
}

/// The frozen run's work is done by another start; then it wakes up.
#[track_caller]
fn assert_writes_nothing_more(shop: &TradingShop, point: &str) {
    let frozen = freeze(shop.batchctl(NIGHTLY), point);
    let_lease_expire(shop);
    assert_is_taken_over(shop, frozen);
}

#[track_caller]
fn assert_is_taken_over(shop: &TradingShop, mut frozen: Running) {
    shop.batchctl(NIGHTLY).run().succeeds().is_silent();
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    let history = shop.sql("SELECT * FROM batch_execution ORDER BY id");
    let results_before = (results(shop), shop.sql("SELECT * FROM daily_sales ORDER BY 1, 2, 3"));

    frozen.signal(Signal::CONT);
    let ran =
        frozen.wait().exits(1).says("another one took over").says("hint: nothing to do: run 2 (process ");
    // The work is done.
    ran.never_shows("retry:");

    assert_eq!((results(shop), shop.sql("SELECT * FROM daily_sales ORDER BY 1, 2, 3")), results_before);
    assert_eq!(shop.sql("SELECT * FROM batch_execution ORDER BY id"), history);
    assert_eq!(runs(shop), [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "COMPLETED", "0"]]);
}

#[test]
fn a_run_frozen_inside_a_chunk_writes_nothing_after_the_take_over() {
    // Only on PostgreSQL: its server can end the frozen process's transaction, and with it the locks.
    run_on(Database::Postgres, |shop: &TradingShop| assert_writes_nothing_more(shop, "in-chunk"));
}

#[test]
fn a_run_frozen_at_its_commit_writes_nothing_after_the_take_over() {
    // There it has locked its own row, which the next start has to change before it knows of whom it takes over.
    run_on(Database::Postgres, |shop: &TradingShop| {
        let frozen = freeze(with_short_lease(shop.batchctl(NIGHTLY)), "at-commit");
        assert_is_taken_over(shop, frozen);
    });
}

#[test]
fn a_run_frozen_inside_a_chunk_on_sqlite_keeps_the_file_and_continues_when_it_wakes() {
    // A lock on a file ends only with its process: nobody can take over, and so nothing can be done twice.
    run_on(Database::Sqlite, |shop: &TradingShop| {
        let mut frozen = freeze(with_short_lease(shop.batchctl(NIGHTLY)), "in-chunk");
        let next = shop.batchctl(NIGHTLY).spawn();
        frozen.signal(Signal::CONT);
        frozen.wait().succeeds().is_silent();
        next.wait().succeeds().is_silent();
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
        assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"]]);
    });
}

#[test]
fn a_run_frozen_inside_a_chunk_on_sqlite_is_named_to_whoever_does_not_wait() {
    run_on(Database::Sqlite, |shop: &TradingShop| {
        let mut frozen = freeze(shop.batchctl(NIGHTLY), "in-chunk");
        let pid = frozen.pid();
        let hint = format!("hint: process {pid} is stopped: continue it with `kill -CONT {pid}`");

        // Nothing can be written, not even that it was turned away.
        let own = shop.batchctl(NIGHTLY.into_iter().chain(["--on-overlap", "fail"])).run().exits(75);
        own.says("report daily-sales 2026-11-19 is already running (exit 75): run 1 holds it").says(&hint);
        let named =
            format!("` is busy: database is locked: run 1 (report daily-sales 2026-11-19, process {pid} on ");
        let other =
            shop.batchctl(["report", "daily-cancellations", "--on-overlap", "fail", "-v"]).run().exits(75);
        other.says(&named).says(&hint);

        frozen.signal(Signal::CONT);
        frozen.wait().succeeds().is_silent();
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    });
}

fn a_run_that_was_taken_over_from_elsewhere_commits_nothing(shop: &TradingShop) {
    // A host that cannot end this one's connection; only the chunk's own check remains.
    let mut late = shop.batchctl(NIGHTLY).hold_at("after-lease");
    late.wait_until_reached();
    shop.execute("UPDATE batch_execution SET status = 'CRASHED'");
    let before = shop.dump();

    late.release()
        .wait()
        .exits(1)
        .says("another one took over")
        .says("nothing was written after it was found without a sign of life");

    assert_eq!(shop.dump(), before);
}

fn a_run_frozen_after_its_lease_writes_nothing_after_the_take_over(shop: &TradingShop) {
    // This one waits until a real lease has expired: the next start takes over without help.
    assert_is_taken_over(shop, freeze(with_short_lease(shop.batchctl(NIGHTLY)), "after-lease"));
}

fn a_run_frozen_after_a_chunk_writes_nothing_after_the_take_over(shop: &TradingShop) {
    assert_writes_nothing_more(shop, "after-chunk");
}

fn a_run_frozen_after_its_work_writes_nothing_after_the_take_over(shop: &TradingShop) {
    assert_writes_nothing_more(shop, "after-work");
}

fn a_run_frozen_before_its_end_is_written_writes_nothing_after_the_take_over(shop: &TradingShop) {
    assert_writes_nothing_more(shop, "before-finish");
}

fn a_backfill_frozen_in_one_day_ends_there_when_that_day_was_taken_over(shop: &TradingShop) {
    let mut frozen = freeze(shop.batchctl(BACKFILL), "after-lease@2");
    let_lease_expire(shop);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-17"]).run().succeeds();

    frozen.signal(Signal::CONT);
    frozen.wait().exits(1).says("another one took over");

    assert_eq!(
        runs(shop),
        [
            ["2026-11-16", "1", "COMPLETED", "0"],
            ["2026-11-17", "1", "CRASHED", "NULL"],
            ["2026-11-17", "2", "COMPLETED", "0"],
        ]
    );
    shop.batchctl(BACKFILL).run().succeeds().is_silent();
    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
}

fn a_frozen_run_that_wakes_up_before_a_take_over_completes(shop: &TradingShop) {
    let mut frozen = freeze(shop.batchctl(NIGHTLY), "after-chunk");
    let_lease_expire(shop);
    frozen.signal(Signal::CONT);
    frozen.wait().succeeds().is_silent();
    assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"]]);
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

fn a_take_over_is_alerted_once(shop: &TradingShop) {
    let mut frozen = freeze(shop.batchctl(NIGHTLY), "after-chunk");
    let_lease_expire(shop);
    shop.batchctl(NIGHTLY).run().succeeds();
    frozen.signal(Signal::CONT);
    frozen.wait().exits(1);
    // Opened by the take-over and closed by its success; the one that wakes up has nothing to add.
    assert_eq!(
        shop.sql("SELECT kind, occurrences, first_execution_id, closed_at IS NULL FROM batch_incident"),
        [["FAILURE", "1", "1", "0"]]
    );
}
