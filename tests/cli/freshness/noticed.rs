//! Whatever is changed in the shop's tables by plain SQL, each figure that it moves is computed again: every change is made
//! in a mall of its own, and what the night's run has refreshed is compared with a recomputation of everything.

use std::collections::BTreeSet;

use super::night;
use crate::support::{Arranged, Database, Line, Mall, Order, Refund, Shop, on_both_databases};

on_both_databases![
    each_column_of_orders_is_noticed_if_a_report_reads_it,
    each_column_of_order_items_is_noticed_if_a_report_reads_it,
    each_column_of_refunds_is_noticed_if_a_report_reads_it,
    each_column_of_members_is_noticed_if_a_week_is_to_be_counted_again,
    rows_that_come_and_go_are_noticed,
    rows_that_are_replaced_are_noticed,
    a_truncated_table_is_noticed,
];

/// The tables of the figures, without what says when and by which run they were computed.
const FIGURES: [(&str, &str); 6] = [
    (
        "daily_sales",
        "business_day, currency, orders, items, gross_amount, discount_amount, shipping_amount, tax_amount,
         cancelled_orders, refunded_amount, net_amount, new_customers, returning_customers, refunds",
    ),
    (
        "daily_sales_breakdown",
        "business_day, currency, breakdown, breakdown_key, name, orders, items, gross_amount, discount_amount,
         shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount, new_customers, returning_customers",
    ),
    ("daily_cancellations", "business_day, currency, cancelled_orders, cancelled_amount"),
    ("daily_cancellations_by_reason", "business_day, currency, reason, cancelled_orders, cancelled_amount"),
    ("weekly_signups", "week_day, signups, active, unconfirmed, withdrawn"),
    ("weekly_signups_by_channel", "week_day, channel, is_other, signups, active, unconfirmed, withdrawn"),
];

/// The days with figures: of each row a day is its own, and the 15th is where rows are moved to.
const DAYS: [&str; 4] = ["--from", "2026-11-15", "--to", "2026-11-19"];
/// The weeks in which members sign up, and to which they are moved.
const WEEKS: [&str; 4] = ["--from", "2026-11-02", "--to", "2026-11-15"];

/// A change in a mall of its own.
struct Change {
    name: String,
    sql: String,
}

/// A mall with an order that was paid on the 16th, cancelled on the 17th and refunded on the 18th, and the customer's next
/// order of the 19th. No product is known but by its line.
fn trading(shop: &Shop, name: &str) -> Mall {
    let mall = shop.mall(&name.replace([' ', '_', '.'], "-"), "Asia/Tokyo", "JPY");
    let first = shop.order(Order {
        mall,
        order_no: "A",
        member: Some("M1"),
        discount: 10,
        shipping: 20,
        tax: 30,
        ordered_at: "2026-11-16T12:00:00+09:00",
        paid_at: Some("2026-11-16T12:00:00+09:00"),
        cancelled_at: Some("2026-11-17T12:00:00+09:00"),
        cancel_reason: Some("late"),
        lines: &[Line { tax: 3, discount: 2, ..Line::default() }],
        ..Order::default()
    });
    shop.refund(Refund {
        order: first,
        product: Some("P1"),
        amount: 100,
        refunded_at: "2026-11-18T12:00:00+09:00",
        ..Refund::default()
    });
    let at = "2026-11-19T12:00:00+09:00";
    for (order_no, member) in [("B", Some("M1")), ("C", None)] {
        let method = Some("invoice");
        shop.order(Order {
            mall,
            order_no,
            member,
            payment_method: method,
            ordered_at: at,
            paid_at: Some(at),
            ..Order::default()
        });
    }
    mall
}

/// Twice a dozen members of a week, so that no count is withheld.
fn signed_up(shop: &Shop, mall: Mall) {
    let at = "2026-11-10T03:00:00+00:00";
    for channel in ["web", "store"] {
        shop.execute(&format!(
            "INSERT INTO members (mall_id, member_code, status, channel, signed_up_at, created_at, updated_at)
             SELECT {}, '{channel}-' || n, 'ACTIVE', '{channel}', '{at}', '{at}', '{at}' FROM {}",
            mall.id,
            shop.series(12)
        ));
    }
}

fn report(shop: &Shop, words: &[&str]) {
    shop.batchctl(["report"].iter().chain(words)).now(&night(20)).run().succeeds();
}

/// All figures of a mall.
fn figures(shop: &Shop, mall: Mall) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, columns) in FIGURES {
        let rows = shop.sql(&format!("SELECT {columns} FROM {table} WHERE mall_id = {}", mall.id));
        lines.extend(rows.iter().map(|row| format!("{table}: {}", row.join(" | "))));
    }
    lines.sort();
    lines
}

/// Makes changes, each in a mall of its own, and looks at the figures: the changes that moved some, and of these the ones
/// that the night's runs have not noticed.
fn moved_and_missed(
    shop: &Shop,
    reports: &[&str],
    names: &[String],
    change: impl Fn(&str, Mall, Mall) -> Change,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_about_members = reports.contains(&"weekly-signups");
    // Rows may be moved to it.
    let spare = shop.mall("spare", "Asia/Tokyo", "JPY");
    let malls: Vec<Mall> = names.iter().map(|name| trading(shop, name)).collect();
    if is_about_members {
        for mall in &malls {
            signed_up(shop, *mall);
        }
    }
    let range = if is_about_members { WEEKS } else { DAYS };
    for name in reports {
        report(shop, &[&[*name], &range[..]].concat());
    }
    let before: Vec<_> = malls.iter().map(|mall| figures(shop, *mall)).collect();
    let changes: Vec<Change> =
        names.iter().zip(&malls).map(|(name, mall)| change(name, *mall, spare)).collect();
    for change in &changes {
        shop.execute(&change.sql);
    }
    for name in reports {
        report(shop, &[name]);
    }
    let refreshed: Vec<_> = malls.iter().chain([&spare]).map(|mall| figures(shop, *mall)).collect();
    for name in reports {
        report(shop, &[&[*name, "--rerun"], &range[..]].concat());
    }
    let true_ones: Vec<_> = malls.iter().chain([&spare]).map(|mall| figures(shop, *mall)).collect();
    let change_of =
        |index: usize| changes.get(index).map_or("the mall it came to", |change| &change.name).to_owned();
    let differ = |left: &[Vec<String>]| -> BTreeSet<String> {
        (0..left.len()).filter(|&index| left[index] != true_ones[index]).map(change_of).collect()
    };
    (differ(&before), differ(&refreshed))
}

/// A value for a column that is not the one it has.
fn other_value(column: &str, spare: Mall) -> String {
    match column {
        "mall_id" => spare.id.to_string(),
        "member_code" => "'M2'".to_owned(),
        "currency" => "'USD'".to_owned(),
        "status" => "CASE WHEN status = 'PAID' THEN 'SHIPPED' ELSE 'WITHDRAWN' END".to_owned(),
        "signed_up_at" => "'2026-11-04T03:00:00+00:00'".to_owned(),
        "quantity" => "quantity + 7".to_owned(),
        _ if column.ends_with("_amount") || column == "amount" => format!("{column} + 7"),
        _ if column.ends_with("_at") => "'2026-11-15T03:00:00+00:00'".to_owned(),
        _ => "'other'".to_owned(),
    }
}

/// Changes each column of a table's first row alone, and returns those that move figures; all others and the `exempt` may be
/// missed.
fn columns_that_move_figures(shop: &Shop, table: &str, reports: &[&str], exempt: &[&str]) -> Vec<String> {
    let columns = match shop.database() {
        Database::Sqlite => shop.sql(&format!("SELECT name FROM pragma_table_info('{table}')")),
        Database::Postgres => shop.sql(&format!(
            "SELECT column_name FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = '{table}'"
        )),
    };
    // What refers to a row by its number belongs to another one then.
    let columns: Vec<String> = columns.concat().into_iter().filter(|column| column != "id").collect();
    let (moved, missed) = moved_and_missed(shop, reports, &columns, |column, mall, spare| {
        let order =
            |no: &str| format!("(SELECT id FROM orders WHERE mall_id = {} AND order_no = '{no}')", mall.id);
        let (row, value) = match (table, column) {
            (_, "order_id") => (format!("order_id = {}", order("A")), order("C")),
            ("orders", _) => (format!("id = {}", order("A")), other_value(column, spare)),
            ("members", _) => {
                (format!("mall_id = {} AND member_code = 'web-1'", mall.id), other_value(column, spare))
            }
            _ => (format!("order_id = {}", order("A")), other_value(column, spare)),
        };
        let sql = format!("UPDATE {table} SET {column} = {value} WHERE {row}");
        Change { name: column.to_owned(), sql }
    });
    let exempt: BTreeSet<String> = exempt.iter().map(|column| (*column).to_owned()).collect();
    assert_eq!(missed, exempt, "of {table}");
    moved.into_iter().filter(|name| columns.contains(name)).collect()
}

const OF_ORDERS: [&str; 2] = ["daily-sales", "daily-cancellations"];

fn each_column_of_orders_is_noticed_if_a_report_reads_it(shop: &Shop) {
    assert_eq!(
        columns_that_move_figures(shop, "orders", &OF_ORDERS, &[]),
        [
            "cancel_reason",
            "cancelled_at",
            "currency",
            "discount_amount",
            "mall_id",
            "member_code",
            "paid_at",
            "payment_method",
            "shipping_amount",
            "tax_amount",
            "total_amount"
        ]
    );
}

fn each_column_of_order_items_is_noticed_if_a_report_reads_it(shop: &Shop) {
    assert_eq!(
        columns_that_move_figures(shop, "order_items", &OF_ORDERS, &[]),
        [
            "discount_amount",
            "line_amount",
            "order_id",
            "product_code",
            "product_name",
            "quantity",
            "tax_amount"
        ]
    );
}

fn each_column_of_refunds_is_noticed_if_a_report_reads_it(shop: &Shop) {
    assert_eq!(
        columns_that_move_figures(shop, "refunds", &OF_ORDERS, &[]),
        ["amount", "currency", "mall_id", "order_id", "product_code", "refunded_at"]
    );
}

/// A member who leaves, or asks to be forgotten, does not have a week reported once more without that member.
fn each_column_of_members_is_noticed_if_a_week_is_to_be_counted_again(shop: &Shop) {
    assert_eq!(
        columns_that_move_figures(shop, "members", &["weekly-signups"], &["erasure_requested_at", "status"]),
        ["channel", "erasure_requested_at", "mall_id", "signed_up_at", "status"]
    );
}

fn names<const N: usize>(changes: &[(&str, &str); N]) -> (Vec<String>, BTreeSet<String>) {
    let names: Vec<String> = changes.iter().map(|(name, _)| (*name).to_owned()).collect();
    (names.clone(), names.into_iter().collect())
}

/// The statement of a change, with the mall's number and its first order's in it.
fn statement<const N: usize>(changes: &[(&str, &str); N], name: &str, mall: Mall) -> Change {
    let (_, sql) = changes.iter().find(|(known, _)| *known == name).unwrap();
    let first = format!("(SELECT id FROM orders WHERE mall_id = {} AND order_no = 'A')", mall.id);
    let sql = sql.replace("{mall}", &mall.id.to_string()).replace("{first}", &first);
    Change { name: name.to_owned(), sql }
}

const AN_ORDER: &str = "(mall_id, order_no, member_code, status, currency, total_amount, discount_amount,
    shipping_amount, tax_amount, payment_method, ordered_at, paid_at, created_at, updated_at)";

fn rows_that_come_and_go_are_noticed(shop: &Shop) {
    let at = "'2026-11-15T03:00:00+00:00'";
    let order = format!(
        "INSERT INTO orders {AN_ORDER} VALUES ({{mall}}, 'new', 'M1', 'PAID', 'JPY', 1, 0, 0, 0, 'card', {at}, {at}, {at}, {at})"
    );
    let refund = format!(
        "INSERT INTO refunds (mall_id, order_id, refund_key, currency, amount, refunded_at, created_at, updated_at)
         VALUES ({{mall}}, {{first}}, 'new', 'JPY', 1, {at}, {at}, {at})"
    );
    let changes = [
        ("an order that comes", order.as_str()),
        ("an order that goes", "DELETE FROM orders WHERE id = {first}"),
        ("a line that comes", "INSERT INTO order_items VALUES ({first}, 'new', 'P9', 'New', 1, 1, 0, 0, 1)"),
        ("a line that goes", "DELETE FROM order_items WHERE order_id = {first}"),
        ("a refund that comes", refund.as_str()),
        ("a refund that goes", "DELETE FROM refunds WHERE order_id = {first}"),
    ];
    let (all, expected) = names(&changes);
    let (moved, missed) =
        moved_and_missed(shop, &OF_ORDERS, &all, |name, mall, _| statement(&changes, name, mall));
    assert_eq!((moved, missed), (expected, BTreeSet::new()));
    let at = "'2026-11-10T03:00:00+00:00'";
    let member = format!(
        "INSERT INTO members (mall_id, member_code, status, channel, signed_up_at, created_at, updated_at)
         VALUES ({{mall}}, 'new', 'ACTIVE', 'web', {at}, {at}, {at})"
    );
    let other = Shop::on(shop.database());
    let changes = [
        ("a member who comes", member.as_str()),
        ("a member who goes", "DELETE FROM members WHERE mall_id = {mall} AND member_code = 'web-1'"),
    ];
    let (all, expected) = names(&changes);
    let (moved, missed) =
        moved_and_missed(&other, &["weekly-signups"], &all, |name, mall, _| statement(&changes, name, mall));
    assert_eq!((moved, missed), (expected, BTreeSet::new()));
}

/// On SQLite no trigger is told of the row that is deleted.
fn rows_that_are_replaced_are_noticed(shop: &Shop) {
    if shop.database() == Database::Postgres {
        return;
    }
    let moved_to = "'2026-11-15T03:00:00+00:00'";
    let order = format!(
        "INSERT OR REPLACE INTO orders {AN_ORDER} VALUES ({{mall}}, 'A', 'M1', 'PAID', 'JPY', 1, 0, 0, 0, 'card', {moved_to},
             {moved_to}, {moved_to}, {moved_to})"
    );
    // As in a program that has not switched foreign keys on: the refunds have no order then.
    let without_keys = format!("PRAGMA foreign_keys = OFF; {order}; PRAGMA foreign_keys = ON");
    let by_number = format!(
        "INSERT OR REPLACE INTO orders (id, {} SELECT id, mall_id, 'other', member_code, status, currency, total_amount,
             discount_amount, shipping_amount, tax_amount, payment_method, ordered_at, NULL, created_at, updated_at
         FROM orders WHERE id = {{first}}",
        &AN_ORDER[1..]
    );
    let refund = format!(
        "INSERT OR REPLACE INTO refunds (mall_id, order_id, refund_key, currency, amount, refunded_at, created_at, updated_at)
         VALUES ({{mall}}, {{first}}, 'R1', 'JPY', 1, {moved_to}, {moved_to}, {moved_to})"
    );
    let line = "INSERT OR REPLACE INTO order_items VALUES ({first}, 'P1', 'P9', 'New', 1, 1, 0, 0, 1)";
    let changes = [
        ("an order", order.as_str()),
        ("an order without foreign keys", without_keys.as_str()),
        ("an order by its number", by_number.as_str()),
        ("a refund", refund.as_str()),
        ("a line", line),
    ];
    let (all, expected) = names(&changes);
    let (moved, missed) =
        moved_and_missed(shop, &OF_ORDERS, &all, |name, mall, _| statement(&changes, name, mall));
    assert_eq!((moved, missed), (expected, BTreeSet::new()));
    let other = Shop::on(shop.database());
    let signed_up = "'2026-11-04T03:00:00+00:00'";
    let member = format!(
        "INSERT OR REPLACE INTO members (mall_id, member_code, status, channel, signed_up_at, created_at, updated_at)
         VALUES ({{mall}}, 'web-1', 'ACTIVE', 'web', {signed_up}, {signed_up}, {signed_up})"
    );
    let changes = [("a member", member.as_str())];
    let (all, expected) = names(&changes);
    let (moved, missed) =
        moved_and_missed(&other, &["weekly-signups"], &all, |name, mall, _| statement(&changes, name, mall));
    assert_eq!((moved, missed), (expected, BTreeSet::new()));
}

/// On PostgreSQL, where no row is told of.
fn a_truncated_table_is_noticed(shop: &Shop) {
    if shop.database() == Database::Sqlite {
        return;
    }
    let tables = [("order_items", &OF_ORDERS[..]), ("members", &["weekly-signups"]), ("orders", &OF_ORDERS)];
    for (place, (table, reports)) in tables.into_iter().enumerate() {
        let shop = if place == 0 { shop } else { &Shop::on(Database::Postgres) };
        let (moved, missed) = moved_and_missed(shop, reports, &[table.to_owned()], |name, _, _| Change {
            name: name.to_owned(),
            sql: format!("TRUNCATE {name} CASCADE"),
        });
        assert_eq!((moved, missed), (BTreeSet::from([table.to_owned()]), BTreeSet::new()));
    }
}
