//! The exit codes: frozen, each with a real case, and the same table in the README.

use batchctl::runner::ExitCode;
use rustix::process::Signal;

use crate::runner::stop::Hanging;
use crate::runner::{NIGHTLY, TradingShop, wait_until_said};
use crate::support::on_both_databases;

on_both_databases![every_exit_code_has_a_case];

/// The table, frozen: scripts, CronJobs and runbooks rely on it.
const CODES: [u8; 11] = [0, 1, 2, 3, 65, 75, 77, 78, 124, 130, 143];

fn every_exit_code_has_a_case(shop: &TradingShop) {
    let mut seen = Vec::new();
    let mut ends_with = |code: i32, command: &[&str]| {
        shop.batchctl(command).run().exits(code);
        seen.push(code);
    };
    ends_with(0, &NIGHTLY);
    ends_with(0, &NIGHTLY);
    ends_with(2, &["report", "daily-sales", "--date", "tomorrow"]);
    ends_with(77, &["--env", "staging", "report", "daily-sales"]);
    shop.write("orders.csv", "this,is\nnot,an order\n");
    ends_with(65, &["data", "import", "--kind", "orders", "--mall", "tokyo", "orders.csv"]);

    let mut holder = shop.batchctl(["report", "daily-sales", "--rerun"]).hold_at("after-lease");
    holder.wait_until_reached();
    ends_with(75, &["report", "daily-sales", "--rerun", "--on-overlap", "fail"]);
    holder.release().wait().exits(0);

    shop.batchctl(NIGHTLY)
        .env("BATCHCTL_LEASE_SECONDS", "soon")
        .run()
        .exits(78)
        .says("BATCHCTL_LEASE_SECONDS");
    seen.push(78);

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut run = shop.batchctl(["--verbose", "report", "daily-sales", "--rerun"]).hold_at("in-chunk");
        run.wait_until_reached();
        run.process().signal(signal);
        wait_until_said(run.process(), "Stopping");
        run.release().wait().exits(code);
        seen.push(code);
    }

    let hanging = Hanging::begin(shop);
    shop.batchctl(["report", "daily-sales", "--rerun", "--timeout", "300ms"]).run().exits(124);
    seen.push(124);
    hanging.end();

    shop.open_on_mars();
    let mut ends_with = |code: i32, command: &[&str]| {
        shop.batchctl(command).run().exits(code);
        seen.push(code);
    };
    ends_with(3, &["report", "daily-sales", "--rerun"]);
    ends_with(0, &["report", "daily-sales", "--rerun", "--allow-partial"]);
    ends_with(1, &["report", "daily-sales", "--rerun", "--skip-limit", "0"]);

    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, CODES.map(i32::from));
}

#[test]
fn the_readmes_table_lists_exactly_the_exit_codes() {
    assert_eq!(ExitCode::ALL.map(ExitCode::number), CODES);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("Exit codes\n")).unwrap();
    let listed: Vec<u8> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|codes| codes.split(", "))
        .filter_map(|code| code.parse().ok())
        .collect();
    assert_eq!(listed, CODES);
}
