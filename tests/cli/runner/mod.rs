//! The runner's promises, proved with `report daily-sales`, a job with one chunk per day.

mod alerts;
mod channels;
mod crash;
mod database_gone;
mod freeze;
mod outage;
mod output;
mod overlap;
pub(crate) mod stop;

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{Arranged, Database, Line, Order, Refund, Running, Sandbox, Shop, eventually};

/// The report of the last finished day, 2026-11-19, as started by cron.
pub(crate) const NIGHTLY: [&str; 2] = ["report", "daily-sales"];

/// The reports of the three days before.
pub(crate) const BACKFILL: [&str; 6] =
    ["report", "daily-sales", "--from", "2026-11-16", "--to", "2026-11-18"];

/// Two malls that sold something on each day from 2026-11-16 to 2026-11-19.
pub(crate) struct TradingShop(Shop);

impl Arranged for TradingShop {
    fn on(database: Database) -> Self {
        let shop = Shop::on(database);
        let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
        let seoul = shop.mall("seoul", "Asia/Seoul", "KRW");
        for day in ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"] {
            let noon = format!("{day}T12:00:00+09:00");
            let lines =
                [Line::default(), Line { product: "P2", name: "Second", quantity: 2, ..Line::default() }];
            let sold =
                Order { ordered_at: &noon, paid_at: Some(&noon), updated_at: &noon, ..Order::default() };
            let order_no = format!("T-{day}");
            let order = shop.order(Order {
                mall: tokyo,
                order_no: &order_no,
                member: Some("M1"),
                total: 3500,
                shipping: 500,
                lines: &lines,
                ..sold
            });
            shop.refund(Refund { order, amount: 700, refunded_at: &noon, ..Refund::default() });
            shop.order(Order { mall: seoul, order_no: &format!("S-{day}"), total: 42_000, ..sold });
        }
        Self(shop)
    }
}

impl Deref for TradingShop {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.0
    }
}

impl TradingShop {
    /// What the commands write to the result tables when nothing disturbs them.
    #[track_caller]
    pub(crate) fn undisturbed(&self, command: &[&str]) -> Vec<Vec<String>> {
        let other = Self::on(self.database());
        other.batchctl(command).run().succeeds();
        results(&other)
    }

    /// Opens a mall whose report fails: its time zone does not exist.
    pub(crate) fn open_on_mars(&self) {
        self.mall("mars", "Mars/Base", "JPY");
    }

    /// Closes all malls but that on Mars, so that every report fails as a whole.
    pub(crate) fn only_mars(&self) {
        self.open_on_mars();
        self.execute("UPDATE malls SET is_active = FALSE WHERE code <> 'mars'");
    }

    /// Gives the mall on Mars a time zone that exists.
    pub(crate) fn bring_mars_home(&self) {
        self.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'mars'");
    }
}

/// The result tables, without the id of the run that wrote a row.
#[track_caller]
pub(crate) fn results(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let mut rows = sandbox.sql(
        "SELECT business_day, mall_id, currency, orders, items, gross_amount, discount_amount, shipping_amount,
                tax_amount, cancelled_orders, refunded_amount, net_amount, average_order_amount, new_customers,
                returning_customers, refunds, is_final, computed_at
         FROM daily_sales ORDER BY business_day, mall_id, currency",
    );
    rows.extend(sandbox.sql(
        "SELECT * FROM daily_sales_breakdown ORDER BY business_day, mall_id, currency, breakdown, breakdown_key",
    ));
    rows
}

/// The days that have results, and the run that made each.
#[track_caller]
pub(crate) fn reported_days(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql(
        "SELECT DISTINCT business_day, execution_id FROM daily_sales ORDER BY business_day, execution_id",
    )
}

/// The history: instance, attempt, status and exit code of each run, oldest first.
#[track_caller]
pub(crate) fn runs(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql("SELECT instance_key, attempt, status, exit_code FROM batch_execution ORDER BY id")
}

/// Waits until a process has written this to stderr.
#[track_caller]
pub(crate) fn wait_until_said(process: &mut Running, text: &str) {
    eventually(|| process.so_far().stderr.contains(text) || process.has_ended(), text);
    assert!(process.so_far().stderr.contains(text), "ended without `{text}`: {:?}", process.so_far());
}

/// Keeps tests of hundreds of processes apart: together they would want more connections than a server has.
pub(crate) fn crowd() -> MutexGuard<'static, ()> {
    static CROWD: Mutex<()> = Mutex::new(());
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}
