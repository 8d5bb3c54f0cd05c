//! A report that was already made is not made twice, unless requested.

use rustix::process::Signal;

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
    figures_that_a_rerun_failed_to_replace_are_marked_in_every_form,
    figures_are_marked_by_a_rerun_that_is_killed_until_one_replaces_them,
    the_first_failure_is_what_figures_are_older_since,
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
    let csv = ["--date", "2026-11-19", "--format", "csv", "--out", "-"];
    let current = report(shop, &csv).run().succeeds().stdout;
    add_late_order(shop, mall, "late");
    // The same figures, of which it is said now that they are older than their data.
    let first = current.replace(",false,tokyo\r\n", ",true,tokyo\r\n");
    assert_ne!(first, current);
    assert_eq!(report(shop, &csv).run().succeeds().stdout, first);
    let before = shop.dump();
    report(shop, &["--date", "2026-11-19", "--format", "csv,json", "--out", "reports/new", "--verbose"])
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
    let ran = report(shop, &["--date", "2026-11-19", "--verbose"]).run().succeeds();
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
    report(shop, &["--date", "2026-11-19", "--verbose"])
        .run()
        .succeeds()
        .says("; 1 order of that day is newer: add --rerun\n");
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
    report(shop, &["--date", "2026-11-19", "--verbose"])
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

/// Tokyo and Osaka, each with an order of the 19th, reported at one; then orders of 2,000 more arrive, and Osaka's time
/// zone is broken.
fn reported_and_broken(shop: &Shop) {
    let malls = [shop.mall("tokyo", "Asia/Tokyo", "JPY"), shop.mall("osaka", "Asia/Tokyo", "JPY")];
    for mall in malls {
        shop.order(Order { mall, lines: &[Line::default()], ..Order::default() });
    }
    report(shop, &[]).run().succeeds();
    for mall in malls {
        let (order_no, late) = ("late", "2026-11-20T02:00:00+09:00");
        shop.order(Order { mall, order_no, total: 2000, updated_at: late, ..Order::default() });
    }
    shop.execute("UPDATE malls SET time_zone = 'Asia/Oosaka' WHERE code = 'osaka'");
}

fn figures_that_a_rerun_failed_to_replace_are_marked_in_every_form(shop: &Shop) {
    reported_and_broken(shop);
    let files = ["--rerun", "--format", "csv,json,table", "--out", "reports"];
    report(shop, &files).now("2026-11-20T03:00:00+09:00").run().exits(3).says("  osaka: ");
    assert_eq!(stored(shop), ["2026-11-19 osaka JPY 1 1000 1000", "2026-11-19 tokyo JPY 2 3000 3000"]);

    let csv = shop.read("reports/daily-sales-2026-11-19.csv");
    let marks = |csv: &str| -> Vec<(String, bool)> {
        let mut marks: Vec<(String, bool)> = csv
            .lines()
            .skip(1)
            .map(|line| (line.split(',').nth(1).unwrap().to_owned(), line.rsplit(',').nth(1) == Some("true")))
            .collect();
        marks.sort();
        marks.dedup();
        marks
    };
    // In each row, those of products and payment methods too.
    assert_eq!(marks(&csv), [("osaka".to_owned(), true), ("tokyo".to_owned(), false)]);
    let document: serde_json::Value =
        serde_json::from_str(&shop.read("reports/daily-sales-2026-11-19.json")).unwrap();
    let malls = document["tables"]["malls"].as_array().unwrap();
    let json: Vec<_> = malls.iter().map(|row| (row["mall"].clone(), row["is_outdated"].clone())).collect();
    assert_eq!(json, [("osaka".into(), true.into()), ("tokyo".into(), false.into())]);
    assert_eq!(document["facts"]["Older figures"], "osaka (2026-11-20 01:00 JST)");
    let table = shop.read("reports/daily-sales-2026-11-19.txt");
    assert!(table.contains("osaka (2026-11-20 01:00 JST)"), "{table}");
    assert!(table.contains("The recomputation has not completed"), "{table}");
    let state = |mall: &str| {
        let is_row = |line: &&str| line.split_whitespace().nth(1) == Some("JPY") && line.starts_with(mall);
        table.lines().find(is_row).unwrap().split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!([state("osaka"), state("tokyo")], ["older", "final"]);

    for (locale, text, html) in [
        (
            "en",
            "\nOlder figures: osaka. Their recomputation has not completed.\n",
            "<strong>Older figures:</strong> osaka.",
        ),
        (
            "ja",
            "\n※osakaは再集計が完了していないため、以前の数値を掲載しています。\n",
            "<strong>osaka</strong>は再集計が",
        ),
        (
            "ko",
            "\n※ osaka: 재집계가 완료되지 않아 이전 수치를 표시합니다.\n",
            "<strong>osaka:</strong> 재집계가",
        ),
    ] {
        report(shop, &["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale]).run().exits(3);
        let sql = format!("SELECT text_body, html_body FROM mails WHERE locale = '{locale}'");
        let [mail] = shop.sql(&sql).try_into().unwrap();
        assert!(mail[0].contains(text) && mail[1].contains(html), "{mail:?}");
    }

    // What comes from the stored figures later is marked too, until a run replaces them.
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'osaka'");
    let fixed = report(shop, &["--format", "csv", "--out", "-"]).run().succeeds().stdout;
    assert_eq!(marks(&fixed), [("osaka".to_owned(), false), ("tokyo".to_owned(), false)]);
    assert_eq!(stored(shop)[0], "2026-11-19 osaka JPY 2 3000 3000");
}

fn figures_are_marked_by_a_rerun_that_is_killed_until_one_replaces_them(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall, lines: &[Line::default()], ..Order::default() });
    report(shop, &[]).run().succeeds();
    let marked = || shop.scalar("SELECT COUNT(*) FROM daily_sales WHERE outdated_at IS NOT NULL");
    assert_eq!(marked(), "0");
    // The first commit marks them, the second one would replace them.
    report(shop, &["--rerun"]).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(marked(), "1");
    report(shop, &["--rerun", "--timeout", "1ms"]).run();
    assert_eq!(marked(), "1");
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(marked(), "0");
}

fn the_first_failure_is_what_figures_are_older_since(shop: &Shop) {
    reported_and_broken(shop);
    for hour in ["03", "04"] {
        report(shop, &["--rerun"]).now(&format!("2026-11-20T{hour}:00:00+09:00")).run().exits(3);
    }
    let since = "SELECT code FROM daily_sales JOIN malls ON id = mall_id WHERE outdated_at = '2026-11-19T18:00:00+00:00'";
    assert_eq!(shop.sql(since), [["osaka"]]);
    // Where only the broken mall is left, nothing is delivered, and its figures are no less old.
    shop.execute("UPDATE daily_sales SET outdated_at = NULL");
    report(shop, &["--rerun", "--mall", "osaka"]).now("2026-11-20T03:00:00+09:00").run().exits(1);
    assert_eq!(shop.sql(since), [["osaka"]]);
}
