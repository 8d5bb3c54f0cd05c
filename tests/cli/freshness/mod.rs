//! Truth before speed: a day whose data has not come is provisional, a day that changed since is done again, and whoever
//! was told something else is told so.

mod added_mall;
mod corrections;
mod noticed;
mod proof;
mod provisional;
mod snapshot;
mod stale;
mod story;

use std::fmt::Write;
use std::fs::File;
use std::time::SystemTime;

use chrono::DateTime;

use crate::support::{Batchctl, Mall, Order, Ran, Sandbox, Shop};

/// The columns of the files of orders.
const ORDERS: &str =
    "order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount,member_code";

/// A shop with the mall `tokyo`.
fn with_tokyo(shop: &Shop) -> &Shop {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop
}

/// A file of paid orders: day of November, hour and amount of each, numbered by them.
fn orders(of: &[(u32, u32, i64)]) -> String {
    let mut text = format!("{ORDERS}\n");
    for (day, hour, amount) in of {
        let at = format!("2026-11-{day:02} {hour:02}:00");
        writeln!(text, "{day:02}-{hour:02},PAID,{at},{at},{amount},P1,1,{amount},M{amount}").unwrap();
    }
    text
}

/// Writes a file as the shop's export did, at this instant.
fn export(shop: &Sandbox, name: &str, content: &str, at: &str) {
    shop.write(name, content);
    let written: SystemTime = DateTime::parse_from_rfc3339(at).unwrap().into();
    File::options().write(true).open(shop.path(name)).unwrap().set_modified(written).unwrap();
}

/// Imports a file of orders of the mall `tokyo`.
fn import(shop: &Sandbox, name: &str, now: &str) -> Ran {
    shop.batchctl(["data", "import", "--kind", "orders", "--mall", "tokyo", name]).now(now).run()
}

/// Three in the morning in Tokyo, of this day of November.
fn night(day: u32) -> String {
    format!("2026-11-{day:02}T03:00:00+09:00")
}

/// `report daily-sales` in the night of this day of November.
fn daily_sales(shop: &Sandbox, day: u32, flags: &[&str]) -> Batchctl {
    shop.batchctl(["report", "daily-sales"].iter().chain(flags)).now(&night(day))
}

/// The stored figures: day, mall, orders, net amount, and whether they are final.
fn figures(shop: &Sandbox) -> Vec<String> {
    let rows = shop.sql(
        "SELECT business_day, code, orders, net_amount, is_final FROM daily_sales JOIN malls ON malls.id = mall_id",
    );
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    rows.sort();
    rows
}

/// The subjects of the mails, in the order of the queueing.
fn subjects(shop: &Sandbox) -> Vec<String> {
    shop.sql("SELECT subject FROM mails ORDER BY id").concat()
}

/// A mall in Tokyo with an order of 1,000 on each of these days, reported night by night up to the 20th.
fn reported(shop: &Shop, days: impl IntoIterator<Item = u32>) -> Mall {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in days {
        add(shop, mall, day, &day.to_string(), 1000);
        daily_sales(shop, day + 1, &[]).run().succeeds().is_silent();
    }
    mall
}

/// An application writes an order by itself.
fn add(shop: &Shop, mall: Mall, day: u32, order_no: &str, total: i64) -> i64 {
    let at = format!("2026-11-{day}T12:00:00+09:00");
    let order = Order {
        mall,
        order_no,
        total,
        ordered_at: &at,
        paid_at: Some(&at),
        updated_at: &at,
        ..Order::default()
    };
    shop.order(order)
}
