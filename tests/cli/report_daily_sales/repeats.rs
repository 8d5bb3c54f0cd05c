//! A report that was already made is not made twice, unless requested.

use super::{report, runs, stored};
use crate::support::{Line, Mall, Order, Refund, Shop, on_both_databases};

on_both_databases![
    a_second_run_says_so_and_changes_nothing,
    a_second_run_is_reported_on_a_terminal,
    a_second_run_writes_the_stored_figures,
    orders_that_have_arrived_since_are_counted,
    an_order_that_was_changed_since_is_counted,
    newer_rows_of_all_malls_are_reported_together,
    a_rerun_replaces_the_figures,
    a_rerun_drops_a_currency_that_is_gone,
];

/// A mall with one order of the 19th, reported.
fn reported(shop: &Shop) -> Mall {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall, lines: &[Line::default()], ..Order::default() });
    report(shop, &[]).run().succeeds().is_silent();
    mall
}

/// An order of the 19th that arrived after the report.
fn add_late_order(shop: &Shop, mall: Mall, order_no: &str) -> i64 {
    let late = "2026-11-20T02:00:00+09:00";
    shop.order(Order { mall, order_no, updated_at: late, ..Order::default() })
}

fn a_second_run_says_so_and_changes_nothing(shop: &Shop) {
    reported(shop);
    let before = shop.dump();
    report(shop, &[]).run().succeeds().is_silent();
    let ran = report(shop, &["--verbose"]).run().succeeds();
    assert_eq!(ran.stderr, "report daily-sales 2026-11-19: already completed by run 1\n");
    assert_eq!(shop.dump(), before);
}

fn a_second_run_is_reported_on_a_terminal(shop: &Shop) {
    reported(shop);
    let before = shop.dump();
    let screen = report(shop, &[]).run_on_terminal("").succeeds().screen();
    assert!(screen.starts_with("report daily-sales 2026-11-19: already completed by run 1\n"), "{screen}");
    // The table is still shown.
    assert!(screen.contains("\nDaily sales report\n"), "{screen}");
    assert_eq!(shop.dump(), before);
}

fn a_second_run_writes_the_stored_figures(shop: &Shop) {
    let mall = reported(shop);
    let csv = ["--format", "csv", "--out", "-"];
    let first = report(shop, &csv).run().succeeds().stdout;
    add_late_order(shop, mall, "late");
    let before = shop.dump();
    report(shop, &["--format", "csv,json", "--out", "reports/new", "--verbose"])
        .run()
        .succeeds()
        .says("already completed by run 1; 1 order of that day is newer: add --rerun\n")
        .says("Wrote ")
        .says("/reports/new/daily-sales-2026-11-19.json\n");
    assert_eq!(shop.read("reports/new/daily-sales-2026-11-19.csv"), first);
    assert_eq!(report(shop, &csv).run().succeeds().stdout, first);
    assert_eq!(shop.dump(), before);
}

fn orders_that_have_arrived_since_are_counted(shop: &Shop) {
    let mall = reported(shop);
    let order = add_late_order(shop, mall, "late-1");
    add_late_order(shop, mall, "late-2");
    shop.refund(Refund { order, ..Refund::default() });
    // Of another day.
    shop.order(Order {
        mall,
        order_no: "20th",
        paid_at: Some("2026-11-20T00:00:00+09:00"),
        ..Order::default()
    });
    let ran = report(shop, &["--verbose"]).run().succeeds();
    assert_eq!(
        ran.stderr,
        "report daily-sales 2026-11-19: already completed by run 1; \
         2 orders and 1 refund of that day are newer: add --rerun\n"
    );
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 1000 1000"]);
}

fn an_order_that_was_changed_since_is_counted(shop: &Shop) {
    reported(shop);
    shop.execute("UPDATE orders SET total_amount = 900, updated_at = '2026-11-19T16:00:00.000001+00:00'");
    report(shop, &["--verbose"]).run().succeeds().says("; 1 order of that day is newer: add --rerun\n");
}

fn newer_rows_of_all_malls_are_reported_together(shop: &Shop) {
    let malls = [shop.mall("tokyo", "Asia/Tokyo", "JPY"), shop.mall("seoul", "Asia/Seoul", "KRW")];
    report(shop, &[]).run().succeeds();
    for mall in malls {
        add_late_order(shop, mall, "late");
    }
    shop.order(Order {
        mall: malls[0],
        order_no: "cancelled",
        paid_at: None,
        cancelled_at: Some("2026-11-19T23:00:00+09:00"),
        ..Order::default()
    });
    report(shop, &["--verbose"])
        .run()
        .succeeds()
        .says("; 2 orders and 1 cancellation of that day are newer: add --rerun\n");
}

fn a_rerun_replaces_the_figures(shop: &Shop) {
    let mall = reported(shop);
    add_late_order(shop, mall, "late");
    report(shop, &["--rerun"]).now("2026-11-20T03:00:00+09:00").run().succeeds().is_silent();
    assert_eq!(runs(shop), ["2026-11-19 1 COMPLETED 0", "2026-11-19 2 COMPLETED 0"]);
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 2 2000 2000"]);
    assert_eq!(
        shop.sql(
            "SELECT breakdown, breakdown_key, orders, gross_amount FROM daily_sales_breakdown
             ORDER BY breakdown, breakdown_key"
        ),
        [
            ["PAYMENT_METHOD", "card", "2", "2000"],
            ["PRODUCT", "", "0", "1000"],
            ["PRODUCT", "P1", "1", "1000"]
        ]
    );
    let ran = report(shop, &["--verbose"]).run().succeeds();
    assert_eq!(ran.stderr, "report daily-sales 2026-11-19: already completed by run 2\n");
}

fn a_rerun_drops_a_currency_that_is_gone(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall: Mall { currency: "USD", ..tokyo }, ..Order::default() });
    report(shop, &[]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 0 0 0", "2026-11-19 tokyo USD 1 1000 1000"]);
    shop.execute("UPDATE orders SET currency = 'JPY'");
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 1000 1000"]);
    assert_eq!(shop.sql("SELECT DISTINCT currency FROM daily_sales_breakdown"), [["JPY"]]);
}
