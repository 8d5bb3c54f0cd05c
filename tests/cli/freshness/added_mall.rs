//! A mall that is added later, with its history: the days that were reported without it are reported with it.

use super::{add, daily_sales, export, figures, night, orders, reported, subjects};
use crate::support::{Order, Refund, Shop, on_both_databases};

on_both_databases![
    the_history_of_a_mall_that_is_added_is_part_of_the_days_that_were_reported,
    a_mall_that_is_added_is_in_the_report_for_management_too,
    a_mall_that_cannot_be_computed_is_named_in_the_correction_of_others,
    a_day_that_was_provisional_for_an_added_mall_is_compared_with_nothing,
];

fn delivery(report: &str) -> String {
    format!("[[report.delivery]]\nreport = \"{report}\"\nto = [\"boss@example.jp\"]\nformat = [\"csv\"]\n")
}

fn last_text(shop: &Shop) -> String {
    shop.sql("SELECT text_body FROM mails ORDER BY id").concat().pop().unwrap()
}

fn the_history_of_a_mall_that_is_added_is_part_of_the_days_that_were_reported(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    reported(shop, [16, 17, 18]);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    add(shop, osaka, 17, "o17", 300);
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    assert_eq!(
        figures(shop),
        [
            "2026-11-16 tokyo 1 1000 1",
            "2026-11-17 osaka 1 300 1",
            "2026-11-17 tokyo 1 1000 1",
            "2026-11-18 osaka 0 0 1",
            "2026-11-18 tokyo 1 1000 1",
        ]
    );
    let correction = "Correction: Sales of Tue 17 November 2026";
    assert_eq!(
        subjects(shop).iter().filter(|subject| *subject == correction).count(),
        1,
        "{:?}",
        subjects(shop)
    );
    let text = shop.sql(&format!("SELECT text_body FROM mails WHERE subject = '{correction}'")).concat();
    assert!(text[0].contains("osaka: Net – → ¥300"), "{}", text[0]);
    assert!(text[0].contains("¥1,300"), "{}", text[0]);
    // What changes later is told with it, once.
    shop.execute("UPDATE orders SET total_amount = 400 WHERE order_no = 'o17'");
    let before = subjects(shop).len();
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    assert_eq!(subjects(shop)[before..], [correction]);
    assert!(last_text(shop).contains("osaka: Net ¥300 → ¥400"), "{}", last_text(shop));
}

fn a_mall_that_is_added_is_in_the_report_for_management_too(shop: &Shop) {
    shop.write("batchctl.toml", delivery("executive"));
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    add(shop, mall, 17, "17", 1000);
    let nightly = |day: u32| {
        for report in ["daily-sales", "daily-cancellations", "executive"] {
            shop.batchctl(["report", report]).now(&night(day)).run().succeeds().is_silent();
        }
    };
    nightly(18);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    add(shop, osaka, 17, "o17", 300);
    nightly(19);
    let correction =
        "SELECT text_body FROM mails WHERE subject = 'Correction: Business figures of Tue 17 November 2026'";
    let text = shop.sql(correction).concat();
    assert_eq!(text.len(), 1, "{:?}", subjects(shop));
    assert!(text[0].contains("Total: Net sales ¥1,000 → ¥1,300"), "{}", text[0]);
}

fn a_mall_that_cannot_be_computed_is_named_in_the_correction_of_others(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = reported(shop, [17, 18]);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    let at = "2026-11-17T12:00:00+09:00";
    let order = shop.order(Order {
        mall: osaka,
        order_no: "o17",
        ordered_at: at,
        paid_at: Some(at),
        ..Order::default()
    });
    // No sum has room for two of these.
    for key in ["1", "2"] {
        shop.refund(Refund { order, key, amount: i64::MAX, refunded_at: at, ..Refund::default() });
    }
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().exits(3).says("osaka");
    assert_eq!(subjects(shop).last().unwrap(), "Correction: Sales of Tue 17 November 2026");
    assert!(last_text(shop).contains("Not included yet: osaka"), "{}", last_text(shop));
}

fn a_day_that_was_provisional_for_an_added_mall_is_compared_with_nothing(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in [13, 19, 20] {
        add(shop, mall, day, &day.to_string(), 1000);
    }
    daily_sales(shop, 20, &["--date", "2026-11-13"]).run().succeeds();
    // Added after the 19th was over, and before it is reported.
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.write("batchctl.toml", "[import.orders.osaka]\nmall = \"osaka\"\ninbox_pattern = \"*.csv\"\n");
    daily_sales(shop, 20, &[]).run().exits(3);
    export(shop, "o.csv", &orders(&[(20, 12, 1000)]), "2026-11-21T02:00:00+09:00");
    shop.batchctl(["data", "import", "--kind", "orders", "--mall", "osaka", "o.csv"])
        .now(&night(21))
        .run()
        .succeeds();
    daily_sales(shop, 21, &["--date", "2026-11-20"]).run().succeeds();
    let report = ["report", "executive", "--format", "csv", "--out", "-"];
    let csv = shop.batchctl(report).now(&night(21)).run().succeeds().stdout;
    let orders = csv.lines().find(|line| line.contains(",orders,")).unwrap();
    assert_eq!(orders, "2026-11-20,,orders,,2,,1,true,false,", "{csv}");
}
