//! `report daily-cancellations`: counts and amounts by reason, each day replaced as a whole, and its formats.

use crate::support::{Batchctl, Mall, Order, Shop, on_both_databases};

on_both_databases![
    a_day_is_replaced_as_a_whole,
    it_is_written_in_each_format_and_mailed_once,
    a_new_mall_is_added_to_a_completed_day,
    a_mall_that_fails_leaves_the_others,
    figures_that_a_rerun_failed_to_replace_are_marked,
];

fn report(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["report", "daily-cancellations"].iter().chain(arguments))
}

/// day, mall, currency, orders, amount.
fn stored(shop: &Shop) -> Vec<String> {
    sorted(shop.sql(
        "SELECT business_day, code, c.currency, cancelled_orders, cancelled_amount
         FROM daily_cancellations c JOIN malls ON malls.id = mall_id",
    ))
}

/// day, mall, currency, reason, orders, amount.
fn reasons(shop: &Shop) -> Vec<String> {
    sorted(shop.sql(
        "SELECT business_day, code, c.currency, reason, cancelled_orders, cancelled_amount
         FROM daily_cancellations_by_reason c JOIN malls ON malls.id = mall_id",
    ))
}

fn sorted(rows: Vec<Vec<String>>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    rows.sort();
    rows
}

fn cancel(shop: &Shop, mall: Mall, number: &str, at: &str, amount: i64, reason: Option<&str>) {
    let order =
        Order { mall, order_no: number, total: amount, status: "ORDER_CANCELLED", ..Order::default() };
    shop.order(Order { cancelled_at: Some(at), cancel_reason: reason, ..order });
}

const NOON: &str = "2026-11-19T12:00:00+09:00";

fn a_day_is_replaced_as_a_whole(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    cancel(shop, tokyo, "1", NOON, 500, Some("A"));
    report(shop, &[]).run().succeeds();
    shop.execute("UPDATE orders SET cancel_reason = 'B', total_amount = 700");
    let again = report(shop, &["--date", "2026-11-19", "--verbose"]).run().succeeds();
    again.says("already completed by run 1; its data has changed since: add --rerun");
    assert_eq!(reasons(shop), ["2026-11-19 tokyo JPY A 1 500"]);
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(reasons(shop), ["2026-11-19 tokyo JPY B 1 700"]);
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 700"]);
    cancel(shop, tokyo, "2", NOON, 100, None);
    report(shop, &["--date", "2026-11-19", "--verbose"])
        .run()
        .succeeds()
        .says("1 cancellation of that day is newer: add --rerun");
}

fn it_is_written_in_each_format_and_mailed_once(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    cancel(shop, tokyo, "1", NOON, 1500, Some("=cmd|' /C calc'!A0"));
    cancel(shop, tokyo, "2", NOON, 500, None);
    report(shop, &["--format", "csv,json,xlsx,pdf", "--out", "out"]).run().succeeds();
    assert_eq!(
        shop.read("out/daily-cancellations-2026-11-19.csv"),
        "business_day,mall,currency,reason,cancelled_orders,cancelled_amount,is_final,is_outdated,mall_name,reason_name\r\n\
         2026-11-19,tokyo,JPY,,2,2000,true,false,tokyo,\r\n\
         2026-11-19,tokyo,JPY,'=cmd|' /C calc'!A0,1,1500,true,false,tokyo,'=cmd|' /C calc'!A0\r\n\
         2026-11-19,tokyo,JPY,unspecified,1,500,true,false,tokyo,not stated\r\n"
    );
    assert!(shop.path("out/daily-cancellations-2026-11-19.pdf").exists());
    for locale in ["en", "ja", "ko"] {
        let mail = ["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale];
        report(shop, &mail).run().succeeds();
        report(shop, &mail).run().succeeds();
    }
    let mails = shop.sql("SELECT kind, locale, subject FROM mails ORDER BY id");
    assert_eq!(
        mails,
        [
            ["daily-cancellations", "en", "Cancellations of 19 November 2026"],
            ["daily-cancellations", "ja", "【日次】キャンセル集計（2026年11月19日）"],
            ["daily-cancellations", "ko", "[일일] 취소 집계 (2026년 11월 19일)"],
        ]
    );
    let html = shop.scalar("SELECT html_body FROM mails WHERE locale = 'en'");
    assert!(html.contains("=cmd|&#39; /C calc&#39;!A0"), "{html}");
}

fn a_new_mall_is_added_to_a_completed_day(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &[]).run().succeeds();
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    report(shop, &[]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-19 osaka JPY 0 0", "2026-11-19 tokyo JPY 0 0"]);
    let runs = shop.sql("SELECT DISTINCT code, execution_id FROM daily_cancellations c JOIN malls ON malls.id = mall_id ORDER BY execution_id");
    assert_eq!(runs, [["tokyo", "1"], ["osaka", "2"]]);
}

fn a_mall_that_fails_leaves_the_others(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("osaka", "Asia/Oosaka", "JPY");
    report(shop, &[]).run().exits(3).says("osaka");
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 0 0"]);
}

fn figures_that_a_rerun_failed_to_replace_are_marked(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    for mall in [tokyo, osaka] {
        cancel(shop, mall, "1", NOON, 500, Some("late"));
    }
    report(shop, &[]).run().succeeds();
    shop.execute("UPDATE malls SET time_zone = 'Asia/Oosaka' WHERE code = 'osaka'");
    shop.execute("UPDATE orders SET total_amount = 700");
    report(shop, &["--rerun", "--format", "csv,json", "--out", "out"]).run().exits(3).says("osaka");
    assert_eq!(
        shop.read("out/daily-cancellations-2026-11-19.csv"),
        "business_day,mall,currency,reason,cancelled_orders,cancelled_amount,is_final,is_outdated,mall_name,reason_name\r\n\
         2026-11-19,osaka,JPY,,1,500,true,true,osaka,\r\n\
         2026-11-19,tokyo,JPY,,1,700,true,false,tokyo,\r\n\
         2026-11-19,osaka,JPY,late,1,500,true,true,osaka,late\r\n\
         2026-11-19,tokyo,JPY,late,1,700,true,false,tokyo,late\r\n"
    );
    let document: serde_json::Value =
        serde_json::from_str(&shop.read("out/daily-cancellations-2026-11-19.json")).unwrap();
    let marks = document["tables"]["malls"].as_array().unwrap().iter().map(|row| row["is_outdated"].clone());
    assert_eq!(marks.collect::<Vec<_>>(), [true, false]);
    for (locale, words) in
        [("en", "Older figures: osaka"), ("ja", "※osakaは再集計が"), ("ko", "※ osaka: 재집계가")]
    {
        report(shop, &["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale]).run().exits(3);
        let text = shop.scalar(&format!("SELECT text_body FROM mails WHERE locale = '{locale}'"));
        assert!(text.contains(words), "{text}");
    }
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'osaka'");
    let fixed = report(shop, &["--format", "csv", "--out", "-"]).run().succeeds();
    assert!(
        fixed.stdout.contains(",osaka,JPY,,1,700,true,false,osaka,\r\n")
            && !fixed.stdout.contains("true,true"),
        "{fixed:?}"
    );
}
