//! `report daily-sales`: the figures it stores, when it computes them, and their formats.

mod delivery;
mod forms;
mod malls;
mod ranges;
mod readers;
mod repeats;

use crate::support::{Batchctl, Shop};

/// The command with these arguments.
fn report(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["report", "daily-sales"].iter().chain(arguments))
}

/// The stored figures of each day and mall, in the order of days, malls and currencies: day, mall, currency, orders,
/// gross and net.
fn stored(shop: &Shop) -> Vec<String> {
    let rows = shop.sql(
        "SELECT business_day, code, d.currency, orders, gross_amount, net_amount
         FROM daily_sales d JOIN malls ON malls.id = mall_id",
    );
    sorted(rows.into_iter().map(|row| row.join(" ")).collect())
}

/// The runs, oldest first: day, attempt, status and exit code.
fn runs(shop: &Shop) -> Vec<String> {
    let rows = shop.sql("SELECT instance_key, attempt, status, exit_code FROM batch_execution ORDER BY id");
    rows.into_iter().map(|row| row.join(" ")).collect()
}

/// In byte order, because the databases sort texts differently.
fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}
