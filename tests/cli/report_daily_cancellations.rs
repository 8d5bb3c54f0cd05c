//! `report daily-cancellations`: counts and amounts by reason, each day replaced as a whole, and its formats.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::support::{Batchctl, Mall, Order, Shop, on_both_databases};

on_both_databases![
    the_figures_match_an_independent_calculation,
    a_day_without_cancellations_is_a_row_of_zeros,
    a_day_is_replaced_as_a_whole,
    an_unknown_reason_is_kept_and_none_is_unspecified,
    it_is_written_in_each_format_and_mailed_once,
    a_new_mall_is_added_to_a_completed_day,
    a_mall_that_fails_leaves_the_others,
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

fn the_figures_match_an_independent_calculation(shop: &Shop) {
    // New York's clocks go back on 1 November.
    let malls = [("tokyo", "Asia/Tokyo", "JPY"), ("new-york", "America/New_York", "USD")];
    let reasons_given = [Some("CUSTOMER_REQUEST"), Some("サイズ違い"), None, Some("  ")];
    let first: NaiveDate = "2026-10-30".parse().unwrap();
    let begin: DateTime<Utc> = "2026-10-29T12:00:00Z".parse().unwrap();
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut expected_reasons: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut rng = fastrand::Rng::with_seed(42);
    for (code, zone, currency) in malls {
        let (mall, time_zone) = (shop.mall(code, zone, currency), zone.parse::<Tz>().unwrap());
        for day in 0..5 {
            expected.insert(format!("{} {code} {currency}", first + Days::new(day)), (0, 0));
        }
        for number in 0..80 {
            let at = begin + TimeDelta::minutes(rng.i64(0..7 * 24 * 60));
            let (amount, reason) = (rng.i64(1..9_999), reasons_given[rng.usize(0..4)]);
            cancel(
                shop,
                mall,
                &number.to_string(),
                &at.to_rfc3339_opts(SecondsFormat::Secs, true),
                amount,
                reason,
            );
            let day = at.with_timezone(&time_zone).date_naive();
            let Some(sum) = expected.get_mut(&format!("{day} {code} {currency}")) else { continue };
            *sum = (sum.0 + 1, sum.1 + amount);
            let reason = reason.filter(|reason| !reason.trim().is_empty()).unwrap_or("unspecified");
            let sum = expected_reasons.entry(format!("{day} {code} {currency} {reason}")).or_default();
            *sum = (sum.0 + 1, sum.1 + amount);
        }
    }
    report(shop, &["--from", "2026-10-30", "--to", "2026-11-03"]).run().succeeds().is_silent();
    let lines = |sums: BTreeMap<String, (i64, i64)>| {
        let mut lines: Vec<String> =
            sums.into_iter().map(|(key, (orders, amount))| format!("{key} {orders} {amount}")).collect();
        lines.sort();
        lines
    };
    assert_eq!(stored(shop), lines(expected));
    assert_eq!(reasons(shop), lines(expected_reasons));
}

fn a_day_without_cancellations_is_a_row_of_zeros(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &[]).run().succeeds().is_silent();
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 0 0"]);
    assert_eq!(reasons(shop).len(), 0);
}

const NOON: &str = "2026-11-19T12:00:00+09:00";

fn a_day_is_replaced_as_a_whole(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    cancel(shop, tokyo, "1", NOON, 500, Some("A"));
    report(shop, &[]).run().succeeds();
    shop.execute("UPDATE orders SET cancel_reason = 'B', total_amount = 700");
    let again = report(shop, &["--verbose"]).run().succeeds();
    again.says("already completed by run 1");
    assert_eq!(reasons(shop), ["2026-11-19 tokyo JPY A 1 500"]);
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(reasons(shop), ["2026-11-19 tokyo JPY B 1 700"]);
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 700"]);
    cancel(shop, tokyo, "2", NOON, 100, None);
    report(shop, &["--verbose"]).run().succeeds().says("1 cancellation of that day is newer: add --rerun");
}

fn an_unknown_reason_is_kept_and_none_is_unspecified(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for (number, reason) in
        [("1", Some("ネコが注文した")), ("2", None), ("3", Some("")), ("4", Some("unspecified"))]
    {
        cancel(shop, tokyo, number, NOON, 10, reason);
    }
    report(shop, &[]).run().succeeds();
    assert_eq!(
        reasons(shop),
        ["2026-11-19 tokyo JPY unspecified 3 30", "2026-11-19 tokyo JPY ネコが注文した 1 10"]
    );
}

fn it_is_written_in_each_format_and_mailed_once(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    cancel(shop, tokyo, "1", NOON, 1500, Some("=cmd|' /C calc'!A0"));
    cancel(shop, tokyo, "2", NOON, 500, None);
    report(shop, &["--format", "csv,json,xlsx,pdf", "--out", "out"]).run().succeeds();
    assert_eq!(
        shop.read("out/daily-cancellations-2026-11-19.csv"),
        "business_day,mall,currency,reason,cancelled_orders,cancelled_amount\r\n\
         2026-11-19,tokyo,JPY,,2,2000\r\n\
         2026-11-19,tokyo,JPY,'=cmd|' /C calc'!A0,1,1500\r\n\
         2026-11-19,tokyo,JPY,unspecified,1,500\r\n"
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
