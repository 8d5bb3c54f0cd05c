//! Recovery from `kill -9`: wherever a run dies, the next start finishes its work, with nothing done twice or lost.

use rustix::process::Signal;

use super::{BACKFILL, NIGHTLY, TradingShop, reported_days, results, runs};
use crate::support::on_both_databases;

on_both_databases![
    a_run_killed_at_its_start_leaves_nothing_to_recover,
    a_run_killed_before_its_lease_leaves_nothing_to_recover,
    a_run_killed_after_its_lease_is_finished_by_the_next_start,
    a_run_killed_in_a_chunk_is_finished_by_the_next_start,
    a_run_killed_after_a_chunk_is_finished_by_the_next_start,
    a_run_killed_after_its_work_is_finished_by_the_next_start,
    a_run_killed_before_its_end_is_written_is_finished_by_the_next_start,
    a_backfill_killed_in_its_second_day_continues_there,
    a_backfill_killed_between_two_days_continues_there,
    a_run_killed_again_and_again_is_finished_by_the_start_that_survives,
    a_killed_partial_run_leaves_no_open_errors_once_everything_is_fixed,
    a_dead_process_whose_pid_is_reused_is_recognised_as_dead,
    a_silent_run_of_another_host_keeps_its_lease_until_it_expires,
    a_killed_nightly_run_is_finished_without_another_start_of_it,
];

/// The next night's start is of another day: nobody but the processor of requests comes by.
fn a_killed_nightly_run_is_finished_without_another_start_of_it(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("in-chunk=kill").run().is_killed_by(Signal::KILL);
    let process = || shop.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();
    process();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request"), "0", "its lease has not expired");
    shop.execute(
        "UPDATE batch_execution SET lease_expires_at = '2026-01-01T00:00:00+00:00' WHERE status = 'RUNNING'",
    );

    process();

    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    let requests = "SELECT reason, requested_by, status FROM batch_retry_request";
    assert_eq!(shop.sql(requests), [["its process is gone", "runner", "DONE"]]);
    process();
    assert_eq!(shop.sql(requests).len(), 1);
}

fn a_run_killed_at_its_start_leaves_nothing_to_recover(shop: &TradingShop) {
    assert_heals(shop, "start", &[["2026-11-19", "1", "COMPLETED", "0"]]);
}

fn a_run_killed_before_its_lease_leaves_nothing_to_recover(shop: &TradingShop) {
    assert_heals(shop, "before-lease", &[["2026-11-19", "1", "COMPLETED", "0"]]);
}

/// The history after a run that died with its lease.
const HEALED: [[&str; 4]; 2] =
    [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "COMPLETED", "0"]];

fn a_run_killed_after_its_lease_is_finished_by_the_next_start(shop: &TradingShop) {
    assert_heals(shop, "after-lease", &HEALED);
}

fn a_run_killed_in_a_chunk_is_finished_by_the_next_start(shop: &TradingShop) {
    assert_heals(shop, "in-chunk", &HEALED);
}

fn a_run_killed_after_a_chunk_is_finished_by_the_next_start(shop: &TradingShop) {
    assert_heals(shop, "after-chunk", &HEALED);
}

fn a_run_killed_after_its_work_is_finished_by_the_next_start(shop: &TradingShop) {
    assert_heals(shop, "after-work", &HEALED);
}

fn a_run_killed_before_its_end_is_written_is_finished_by_the_next_start(shop: &TradingShop) {
    assert_heals(shop, "before-finish", &HEALED);
}

#[track_caller]
fn assert_heals(shop: &TradingShop, stage: &str, history: &[[&str; 4]]) {
    shop.batchctl(NIGHTLY).failpoint(&format!("{stage}=kill")).run().is_killed_by(Signal::KILL).is_silent();

    shop.batchctl(NIGHTLY).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    assert_eq!(runs(shop), history);
    let healed = history.len().to_string();
    assert_eq!(reported_days(shop), [["2026-11-19", healed.as_str()]]);
    let again = shop.batchctl(["--verbose", "report", "daily-sales"]).run().succeeds();
    again.says(&format!("already completed by run {healed}"));
    assert_eq!(runs(shop), history, "a completed day is not done twice");
}

fn a_backfill_killed_in_its_second_day_continues_there(shop: &TradingShop) {
    shop.batchctl(BACKFILL).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(reported_days(shop), [["2026-11-16", "1"]]);

    shop.batchctl(BACKFILL).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    assert_eq!(reported_days(shop), [["2026-11-16", "1"], ["2026-11-17", "3"], ["2026-11-18", "4"]]);
    assert_eq!(
        runs(shop),
        [
            ["2026-11-16", "1", "COMPLETED", "0"],
            ["2026-11-17", "1", "CRASHED", "NULL"],
            ["2026-11-17", "2", "COMPLETED", "0"],
            ["2026-11-18", "1", "COMPLETED", "0"],
        ]
    );
}

fn a_backfill_killed_between_two_days_continues_there(shop: &TradingShop) {
    shop.batchctl(BACKFILL).failpoint("before-lease@3=kill").run().is_killed_by(Signal::KILL);

    shop.batchctl(BACKFILL).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    assert_eq!(
        runs(shop),
        [
            ["2026-11-16", "1", "COMPLETED", "0"],
            ["2026-11-17", "1", "COMPLETED", "0"],
            ["2026-11-18", "1", "COMPLETED", "0"],
        ]
    );
}

fn a_run_killed_again_and_again_is_finished_by_the_start_that_survives(shop: &TradingShop) {
    for stage in ["after-lease", "in-chunk", "after-chunk", "before-finish"] {
        shop.batchctl(NIGHTLY).failpoint(&format!("{stage}=kill")).run().is_killed_by(Signal::KILL);
    }

    shop.batchctl(NIGHTLY).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    assert_eq!(
        runs(shop),
        [
            ["2026-11-19", "1", "CRASHED", "NULL"],
            ["2026-11-19", "2", "CRASHED", "NULL"],
            ["2026-11-19", "3", "CRASHED", "NULL"],
            ["2026-11-19", "4", "CRASHED", "NULL"],
            ["2026-11-19", "5", "COMPLETED", "0"],
        ]
    );
    assert_eq!(
        shop.sql("SELECT epoch FROM batch_execution ORDER BY id"),
        [["1"], ["2"], ["3"], ["4"], ["5"]]
    );
}

fn a_killed_partial_run_leaves_no_open_errors_once_everything_is_fixed(shop: &TradingShop) {
    shop.open_on_mars();
    shop.batchctl(NIGHTLY).failpoint("after-chunk=kill").run().is_killed_by(Signal::KILL);
    shop.batchctl(NIGHTLY).run().exits(3);
    assert_eq!(runs(shop), [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "PARTIAL", "3"]]);

    shop.bring_mars_home();
    shop.batchctl(["runs", "retry", "2"]).run().succeeds().is_silent();

    assert_eq!(runs(shop)[2], ["2026-11-19", "3", "COMPLETED", "0"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
}

fn a_dead_process_whose_pid_is_reused_is_recognised_as_dead(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("after-lease=kill").run().is_killed_by(Signal::KILL);
    // That pid now belongs to this test's own process, which started at another time.
    shop.execute(&format!("UPDATE batch_execution SET pid = {}", std::process::id()));

    shop.batchctl(NIGHTLY).run().succeeds().is_silent();

    assert_eq!(runs(shop), HEALED);
}

fn a_silent_run_of_another_host_keeps_its_lease_until_it_expires(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("after-lease=kill").run().is_killed_by(Signal::KILL);
    shop.execute("UPDATE batch_execution SET host = 'elsewhere'");
    let impatient = ["report", "daily-sales", "--on-overlap", "fail"];
    shop.batchctl(impatient).run().exits(75).says("on elsewhere, since 2026-11-20 01:00:00 JST");
    shop.execute("UPDATE batch_execution SET lease_expires_at = heartbeat_at WHERE status = 'RUNNING'");

    shop.batchctl(impatient).run().succeeds().is_silent();

    assert_eq!(
        runs(shop),
        [
            ["2026-11-19", "1", "CRASHED", "NULL"],
            ["2026-11-19", "2", "REFUSED", "75"],
            ["2026-11-19", "2", "COMPLETED", "0"],
        ]
    );
    assert!(
        shop.scalar("SELECT error_message FROM batch_execution WHERE id = 1").starts_with("no sign of life")
    );
}
