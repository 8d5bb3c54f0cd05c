//! Stops and deadlines: signals end a run after its current chunk, a deadline ends it wherever it hangs, and the exit
//! code is never 0.

use rustix::process::Signal;

use super::{BACKFILL, NIGHTLY, TradingShop, reported_days, results, runs, wait_until_said};
use crate::support::{Database, Running, eventually, on_both_databases};

on_both_databases![
    a_locked_database_does_not_outlast_the_deadline,
    a_locked_database_does_not_outlast_the_grace_after_a_signal,
    a_backfill_stopped_between_two_days_continues_with_the_second,
    a_backfill_stopped_in_a_chunk_commits_it_and_continues_after_it,
    ctrl_c_stops_as_sigterm_does_and_exits_130,
    a_run_stopped_when_its_work_was_done_is_complete_and_does_not_exit_0,
    a_command_stopped_before_it_delivers_does_not_exit_0,
    a_second_signal_ends_the_process_at_once,
    a_chunk_that_does_not_end_within_the_grace_is_rolled_back,
    a_run_that_waits_for_its_lease_can_be_stopped,
    a_statement_that_hangs_is_ended_by_the_deadline,
    a_deadline_at_the_moment_of_the_start_leaves_one_row_and_no_lease,
    each_day_of_a_backfill_has_its_own_deadline,
    a_deadline_also_ends_child_processes,
    a_retry_of_a_run_past_its_deadline_repeats_all_of_it,
];

/// With messages, so that a test can see that a signal was received.
const VERBOSE_NIGHTLY: [&str; 3] = ["--verbose", "report", "daily-sales"];
const VERBOSE_BACKFILL: [&str; 7] =
    ["--verbose", "report", "daily-sales", "--from", "2026-11-16", "--to", "2026-11-18"];

fn a_command_stopped_before_it_delivers_does_not_exit_0(shop: &TradingShop) {
    let command = ["--verbose", "report", "daily-sales", "--format", "csv", "--out", "reports"];
    let mut report = shop.batchctl(command).hold_at("before-deliver");
    report.wait_until_reached();
    ask_to_stop(report.process(), Signal::TERM);
    report.release().wait().exits(143);
    assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"]]);
    assert!(!shop.path("reports").exists());

    // What was not delivered is delivered by the same command, from the stored figures.
    shop.batchctl(command).run().succeeds();
    assert!(shop.path("reports/daily-sales-2026-11-19.csv").exists());
}

fn a_deadline_at_the_moment_of_the_start_leaves_one_row_and_no_lease(shop: &TradingShop) {
    const STARTS: usize = 12;
    for milliseconds in 0..STARTS {
        let timeout = format!("{milliseconds}ms");
        shop.batchctl(["report", "daily-sales", "--rerun", "--timeout", &timeout]).run();
    }
    let rows = shop.sql("SELECT status FROM batch_execution").concat();
    assert_eq!(rows.len(), STARTS, "{rows:?}");
    assert!(rows.iter().all(|status| status == "TIMED_OUT" || status == "COMPLETED"), "{rows:?}");
    assert!(rows.iter().any(|status| status == "TIMED_OUT"), "{rows:?}");
    shop.batchctl(NIGHTLY).run().succeeds();
}

/// Sends a signal and waits until the process has received it.
#[track_caller]
fn ask_to_stop(process: &mut Running, signal: Signal) {
    process.signal(signal);
    wait_until_said(process, "Stopping after the current chunk; a second signal stops at once");
}

fn a_backfill_stopped_between_two_days_continues_with_the_second(shop: &TradingShop) {
    let mut backfill = shop.batchctl(VERBOSE_BACKFILL).hold_at("before-lease@2");
    backfill.wait_until_reached();
    ask_to_stop(backfill.process(), Signal::TERM);
    backfill.release().wait().exits(143).says("report daily-sales 2026-11-17 stopped (run 2, exit 143");
    assert_eq!(
        shop.sql("SELECT status, exit_code, error_class, error_message FROM batch_execution WHERE id = 2"),
        [["STOPPED", "143", "TERMINATED", "stopped by SIGTERM"]]
    );
    assert_eq!(reported_days(shop), [["2026-11-16", "1"]]);

    shop.batchctl(BACKFILL).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    assert_eq!(
        runs(shop),
        [
            ["2026-11-16", "1", "COMPLETED", "0"],
            ["2026-11-17", "1", "STOPPED", "143"],
            ["2026-11-17", "2", "COMPLETED", "0"],
            ["2026-11-18", "1", "COMPLETED", "0"],
        ]
    );
}

fn a_backfill_stopped_in_a_chunk_commits_it_and_continues_after_it(shop: &TradingShop) {
    let mut backfill = shop.batchctl(VERBOSE_BACKFILL).hold_at("in-chunk@2");
    backfill.wait_until_reached();
    ask_to_stop(backfill.process(), Signal::TERM);
    backfill.release().wait().exits(143);
    assert_eq!(reported_days(shop), [["2026-11-16", "1"], ["2026-11-17", "2"]]);
    assert_eq!(runs(shop)[1], ["2026-11-17", "1", "STOPPED", "143"]);

    shop.batchctl(BACKFILL).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    assert_eq!(
        runs(shop)[2..],
        [["2026-11-17", "2", "COMPLETED", "0"], ["2026-11-18", "1", "COMPLETED", "0"]]
    );
}

fn ctrl_c_stops_as_sigterm_does_and_exits_130(shop: &TradingShop) {
    let mut nightly = shop.batchctl(VERBOSE_NIGHTLY).hold_at("in-chunk");
    nightly.wait_until_reached();
    ask_to_stop(nightly.process(), Signal::INT);
    nightly.release().wait().exits(130);
    assert_eq!(
        shop.sql("SELECT status, exit_code, error_class, error_message FROM batch_execution"),
        [["STOPPED", "130", "INTERRUPTED", "stopped by SIGINT"]]
    );
    shop.batchctl(NIGHTLY).run().succeeds();
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

fn a_run_stopped_when_its_work_was_done_is_complete_and_does_not_exit_0(shop: &TradingShop) {
    let mut backfill = shop.batchctl(VERBOSE_BACKFILL).hold_at("before-finish");
    backfill.wait_until_reached();
    ask_to_stop(backfill.process(), Signal::TERM);
    backfill.release().wait().exits(143);
    assert_eq!(runs(shop), [["2026-11-16", "1", "COMPLETED", "0"]]);

    shop.batchctl(BACKFILL).run().succeeds();
    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution"), "3");
}

fn a_second_signal_ends_the_process_at_once(shop: &TradingShop) {
    let mut nightly = shop.batchctl(VERBOSE_NIGHTLY).hold_at("in-chunk");
    nightly.wait_until_reached();
    ask_to_stop(nightly.process(), Signal::TERM);
    nightly.process().signal(Signal::INT);
    // It is still held: only the end of the whole process can end it.
    eventually(|| nightly.process().has_ended(), "the second signal ends it");
    nightly.release().wait().exits(130);
    assert_eq!(reported_days(shop), Vec::<Vec<String>>::new());

    shop.batchctl(NIGHTLY).run().succeeds().is_silent();

    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    assert_eq!(runs(shop), [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "COMPLETED", "0"]]);
}

fn a_chunk_that_does_not_end_within_the_grace_is_rolled_back(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).run().succeeds();
    let before = (results(shop), reported_days(shop));
    let hanging = Hanging::begin(shop);
    let again = ["--verbose", "report", "daily-sales", "--rerun", "--grace", "300ms"];
    let mut run = shop.batchctl(again).hold_at("after-lease");
    run.wait_until_reached();
    let used = cpu_ticks(run.process());
    let mut run = run.release();
    hanging.wait_until_it_hangs(&mut run, used);

    ask_to_stop(&mut run, Signal::TERM);
    run.wait().exits(143).says("stopped by SIGTERM");

    hanging.end();
    assert_eq!((results(shop), reported_days(shop)), before);
    assert_eq!(runs(shop)[1], ["2026-11-19", "2", "STOPPED", "143"]);
    shop.batchctl(["report", "daily-sales", "--rerun"]).run().succeeds();
    assert_eq!(results(shop), before.0);
}

fn a_run_that_waits_for_its_lease_can_be_stopped(shop: &TradingShop) {
    let mut holder = shop.batchctl(NIGHTLY).hold_at("after-lease");
    holder.wait_until_reached();
    let mut waiting = shop.batchctl(VERBOSE_NIGHTLY).spawn();
    wait_until_said(&mut waiting, "waiting for run 1");
    waiting.signal(Signal::TERM);
    waiting.wait().exits(143);
    holder.release().wait().succeeds();
    assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"], ["2026-11-19", "2", "STOPPED", "143"]]);
}

fn a_statement_that_hangs_is_ended_by_the_deadline(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).run().succeeds();
    let before = (results(shop), reported_days(shop));
    let hanging = Hanging::begin(shop);

    let again = ["report", "daily-sales", "--rerun", "--timeout", "1s"];
    shop.batchctl(again).run().exits(124).says("timed out (run 2, exit 124");

    assert_eq!((results(shop), reported_days(shop)), before);
    assert_eq!(
        shop.sql("SELECT status, exit_code, error_class, error_message FROM batch_execution WHERE id = 2"),
        [["TIMED_OUT", "124", "TIMED_OUT", "the deadline passed (1s)"]]
    );
    hanging.end();
    shop.batchctl(["report", "daily-sales", "--rerun"]).run().succeeds();
    assert_eq!(results(shop), before.0);
}

fn each_day_of_a_backfill_has_its_own_deadline(shop: &TradingShop) {
    let hanging = Hanging::begin(shop);
    shop.batchctl(BACKFILL.into_iter().chain(["--timeout", "1s"])).run().exits(124);
    hanging.end();
    assert_eq!(
        runs(shop),
        [
            ["2026-11-16", "1", "TIMED_OUT", "124"],
            ["2026-11-17", "1", "TIMED_OUT", "124"],
            ["2026-11-18", "1", "TIMED_OUT", "124"],
        ]
    );
    shop.batchctl(BACKFILL).run().succeeds();
    assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
}

fn a_deadline_also_ends_child_processes(shop: &TradingShop) {
    shop.batchctl(NIGHTLY).failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
    shop.batchctl(["runs", "request-retry", "1", "--reason", "it was killed"]).run().succeeds();
    let hanging = Hanging::begin(shop);

    shop.batchctl(["runs", "process-requests", "--timeout", "3s"]).run().exits(124);

    let child = shop.sql("SELECT pid FROM batch_execution WHERE job = 'report daily-sales' AND retry_of = 1");
    let [child] = child.as_slice() else { panic!("the request has begun no run: {child:?}") };
    let process = format!("/proc/{}", child[0]);
    eventually(|| !std::path::Path::new(&process).exists(), "the child has ended");
    hanging.end();
    shop.batchctl(["runs", "process-requests"]).run().succeeds();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_retry_request"), [["DONE", "0"]]);
    assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
}

fn a_retry_of_a_run_past_its_deadline_repeats_all_of_it(shop: &TradingShop) {
    // The mall on Mars fails before the statement hangs that all the others wait for.
    shop.open_on_mars();
    let hanging = Hanging::begin(shop);
    // The retry has as long, and nothing that hangs.
    shop.batchctl(["report", "daily-sales", "--timeout", "2s"]).run().exits(124);
    hanging.end();
    assert_eq!(shop.sql("SELECT item_key FROM batch_error_log WHERE execution_id = 1"), [["mars"]]);

    shop.bring_mars_home();
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();

    assert_eq!(shop.scalar("SELECT COUNT(*) FROM daily_sales"), "3", "Tokyo and Seoul are reported too");
    assert_eq!(runs(shop)[1], ["2026-11-19", "2", "COMPLETED", "0"]);
}

/// While it lasts, a statement that reads orders does not end.
pub(crate) struct Hanging<'a>(&'a TradingShop);

impl<'a> Hanging<'a> {
    pub(crate) fn begin(shop: &'a TradingShop) -> Self {
        shop.execute(match shop.database() {
            // A reader does not wait for locks on SQLite: it has to be busy itself.
            Database::Sqlite => {
                "ALTER TABLE orders RENAME TO hidden_orders;
                 CREATE VIEW orders AS
                 WITH RECURSIVE endless (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
                 SELECT hidden_orders.* FROM hidden_orders CROSS JOIN endless WHERE n < 0"
            }
            Database::Postgres => "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE",
        });
        Self(shop)
    }

    /// Waits until a process, which had used `ticks` of CPU time before, reads orders.
    #[track_caller]
    fn wait_until_it_hangs(&self, process: &mut Running, ticks: u64) {
        // The tables of all tests' databases have the same numbers: they are copies of one.
        let waits = "SELECT COUNT(*) FROM pg_locks JOIN pg_database here ON database = here.oid
                     WHERE datname = current_database() AND relation = 'orders'::regclass AND NOT granted";
        eventually(
            || match self.0.database() {
                Database::Sqlite => cpu_ticks(process) > ticks + 15,
                Database::Postgres => self.0.scalar(waits) != "0",
            },
            "it reads the orders",
        );
    }

    pub(crate) fn end(self) {
        self.0.execute(match self.0.database() {
            Database::Sqlite => "DROP VIEW orders; ALTER TABLE hidden_orders RENAME TO orders",
            Database::Postgres => "ROLLBACK",
        });
    }
}

/// The user time that a process has used, in hundredths of a second: field 14 of /proc/PID/stat (proc(5)).
fn cpu_ticks(process: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(11).unwrap().parse().unwrap()
}

/// Locks what the lease needs.
fn lock_the_lease(shop: &TradingShop) {
    shop.execute(match shop.database() {
        Database::Sqlite => "BEGIN IMMEDIATE",
        Database::Postgres => "BEGIN; LOCK TABLE batch_lease IN ACCESS EXCLUSIVE MODE",
    });
}

fn a_locked_database_does_not_outlast_the_deadline(shop: &TradingShop) {
    lock_the_lease(shop);
    shop.batchctl(NIGHTLY.iter().chain(&["--timeout", "300ms"])).run().exits(124);
    shop.execute("ROLLBACK");
    shop.batchctl(NIGHTLY).run().succeeds();
}

fn a_locked_database_does_not_outlast_the_grace_after_a_signal(shop: &TradingShop) {
    lock_the_lease(shop);
    let mut waiting =
        shop.batchctl(NIGHTLY.iter().chain(&["--verbose", "--grace", "100ms"])).hold_at("before-lease");
    waiting.wait_until_reached();
    let mut waiting = waiting.release();
    waiting.signal(Signal::TERM);
    waiting.wait().exits(143);
    shop.execute("ROLLBACK");
    shop.batchctl(NIGHTLY).run().succeeds();
}
