//! `data import`: the content of the file is stored, a fault leaves nothing half-written, and no line is lost or
//! processed twice whatever happens to the process.

mod applications;
mod bad_files;
mod bad_lines;
mod checking;
mod contents;
mod customer_mail;
mod disk_full;
mod guessing;
mod inbox;
mod layouts;
mod packed;
mod presets;
mod recovery;
mod repeats;
mod size;
mod skipping;

use std::fmt::Write;

use crate::support::{Batchctl, Sandbox, Shop};

/// The columns that most tests use.
const ORDERS: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount";

/// The command with these arguments.
fn import(shop: &Sandbox, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["data", "import"].iter().chain(arguments))
}

/// The import of a file of orders, chunk by chunk of ten lines.
fn import_by_tens(shop: &Sandbox, arguments: &[&str]) -> Batchctl {
    let words = ["data", "import", "--kind", "orders", "--chunk-size", "10", "orders.csv"];
    shop.batchctl(words.iter().chain(arguments))
}

/// A file with these lines after its header.
fn file(header: &str, lines: &[&str]) -> String {
    let lines: Vec<&str> = std::iter::once(header).chain(lines.iter().copied()).collect();
    lines.join("\n") + "\n"
}

/// A line of a paid order in Tokyo, of one unit for 1,200.
fn order_line(number: usize) -> String {
    format!("tokyo,A{number:06},PAID,2026-11-19 10:00,2026-11-19 10:05,1200,P1,1,1200")
}

/// A file of this many orders with one line each: the order A000001 is on line 2.
fn orders_file(count: usize) -> String {
    let mut text = format!("{ORDERS}\n");
    for number in 1..=count {
        writeln!(text, "{}", order_line(number)).expect("a string takes all");
    }
    text
}

/// The numbers that [`orders_file`] uses.
fn order_numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("A{number:06}")).collect()
}

/// The numbers of the stored orders, once for each of their lines.
fn stored_orders(shop: &Sandbox) -> Vec<String> {
    sorted(shop.sql("SELECT order_no FROM orders JOIN order_items ON order_id = id").concat())
}

/// A shop with the mall `tokyo`.
fn with_tokyo(shop: &Shop) -> &Shop {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop
}

/// Every row of the shop's own tables; not which run brought it.
fn shop_rows(shop: &Sandbox) -> String {
    let dump = shop.dump();
    // Besides the history, an import that fails notes what is expected of the mall from now on.
    let notes = ["batch_", "data_arrivals", "sales_changes"];
    let is_of_shop = |row: &&str| !notes.iter().any(|note| row.starts_with(note));
    let rows: Vec<&str> = dump.lines().filter(is_of_shop).collect();
    rows.join("\n")
}

/// The rows of a query, one line each, in byte order, because the databases sort texts differently.
fn rows(shop: &Sandbox, sql: &str) -> Vec<String> {
    sorted(shop.sql(sql).into_iter().map(|row| row.join(" | ")).collect())
}

/// The runs, oldest first: attempt, status, exit code, items read, written and skipped.
fn runs(shop: &Sandbox) -> Vec<String> {
    let sql = "SELECT attempt, status, exit_code, items_read, items_written, items_skipped
               FROM batch_execution ORDER BY id";
    shop.sql(sql).into_iter().map(|row| row.join(" ")).collect()
}

/// The item errors, oldest first: run, item, phase, kind, class and message.
fn item_errors(shop: &Sandbox) -> Vec<String> {
    let sql =
        "SELECT execution_id, item_key, phase, kind, error_class, message FROM batch_error_log ORDER BY id";
    shop.sql(sql).into_iter().map(|row| row.join(" ")).collect()
}

fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}
