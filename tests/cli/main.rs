//! All tests of the built program, in one binary: a file per job, and the harness in `support/`.
//!
//! A test is a function that takes a [`support::Sandbox`] or a [`support::Shop`]; `on_both_databases!` makes it a test
//! on SQLite and one on PostgreSQL. `scripts/test` runs them all.
#![cfg(test)]

mod basics;
mod bookkeeping;
mod cart_remind;
mod data_import;
mod demo;
mod events;
mod exit_codes;
mod fakes;
mod freshness;
mod harness;
mod hostile_rows;
mod mail;
mod mail_consent_notice;
mod mail_digest;
mod mail_flush;
mod mail_payment_notice;
mod mail_templates;
mod mall_sync;
mod mall_token;
mod operations;
mod order_expire;
mod report_daily_cancellations;
mod report_daily_sales;
mod report_executive;
mod report_weekly_signups;
mod runner;
mod runs;
mod secrets;
mod settling;
mod stats_daily;
mod stats_refresh;
mod stock_alert;
mod stock_reconcile;
mod stock_summary;
mod stranger;
mod support;

use std::path::{Path, PathBuf};

/// The Rust files below a folder that its module file does not name.
fn forgotten_modules(folder: &Path, module: &Path) -> Vec<PathBuf> {
    let declarations = std::fs::read_to_string(module).unwrap_or_default();
    let is_declared = |path: &Path| {
        let declaration = format!("mod {};", path.file_stem().unwrap().to_string_lossy());
        declarations.lines().any(|line| line.trim_start_matches("pub(crate) ") == declaration)
    };
    let mut forgotten = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A folder without Rust files contains data, and no file in it is missing.
            let [inside, beside] = [path.join("mod.rs"), path.with_extension("rs")];
            if inside.exists() && !is_declared(&path) {
                forgotten.push(inside.clone());
            }
            forgotten.extend(forgotten_modules(&path, if inside.exists() { &inside } else { &beside }));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path != module
            && !is_declared(&path)
        {
            forgotten.push(path);
        }
    }
    forgotten
}

#[test]
fn no_test_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    assert_eq!(forgotten_modules(&folder, &folder.join("main.rs")), Vec::<PathBuf>::new());
}
