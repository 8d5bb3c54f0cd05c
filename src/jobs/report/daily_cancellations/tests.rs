//! The figures of a day, compared with an independent calculation and in cases small enough to check by eye.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{AwaitedColumns, Computation, replace_mall};
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::shop::testing::{Mall, Order};

on_both_databases![
    the_figures_match_an_independent_calculation,
    a_day_without_cancellations_is_a_row_of_zeros,
    an_unknown_reason_is_kept_and_none_is_unspecified,
];

/// Computes these days of every mall.
async fn reported(db: &mut TestDb, from: &str, to: &str) {
    let (from, to): (NaiveDate, NaiveDate) = (from.parse().unwrap(), to.parse().unwrap());
    let malls = db.malls().await;
    for day in from.iter_days().take_while(|day| *day <= to) {
        for mall in &malls {
            let computation = Computation { run: 1, now: now(), awaited: AwaitedColumns::default() };
            replace_mall(db, &computation, day, mall).await.unwrap();
        }
    }
}

/// day, mall, currency, orders, amount.
async fn stored(db: &mut TestDb) -> Vec<String> {
    db.lines(
        "SELECT business_day, code, c.currency, cancelled_orders, cancelled_amount
         FROM daily_cancellations c JOIN malls ON malls.id = mall_id",
    )
    .await
}

/// day, mall, currency, reason, orders, amount.
async fn reasons(db: &mut TestDb) -> Vec<String> {
    db.lines(
        "SELECT business_day, code, c.currency, reason, cancelled_orders, cancelled_amount
         FROM daily_cancellations_by_reason c JOIN malls ON malls.id = mall_id",
    )
    .await
}

const NOON: &str = "2026-11-19T12:00:00+09:00";

async fn cancel(db: &mut TestDb, mall: Mall, number: &str, at: &str, amount: i64, reason: Option<&str>) {
    let order =
        Order { mall, order_no: number, total: amount, status: "ORDER_CANCELLED", ..Order::default() };
    db.order(Order { cancelled_at: Some(at), cancel_reason: reason, ..order }).await;
}

async fn the_figures_match_an_independent_calculation(db: &mut TestDb) {
    // New York's clocks go back on 1 November.
    let malls = [("tokyo", "Asia/Tokyo", "JPY"), ("new-york", "America/New_York", "USD")];
    let reasons_given = [Some("CUSTOMER_REQUEST"), Some("サイズ違い"), None, Some("  ")];
    let first: NaiveDate = "2026-10-30".parse().unwrap();
    let begin: DateTime<Utc> = "2026-10-29T12:00:00Z".parse().unwrap();
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut expected_reasons: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut rng = fastrand::Rng::with_seed(42);
    for (code, zone, currency) in malls {
        let (mall, time_zone) = (db.mall(code, zone, currency).await, zone.parse::<Tz>().unwrap());
        for day in 0..5 {
            expected.insert(format!("{} {code} {currency}", first + Days::new(day)), (0, 0));
        }
        for number in 0..80 {
            let at = begin + TimeDelta::minutes(rng.i64(0..7 * 24 * 60));
            let (amount, reason) = (rng.i64(1..9_999), reasons_given[rng.usize(0..4)]);
            cancel(
                db,
                mall,
                &number.to_string(),
                &at.to_rfc3339_opts(SecondsFormat::Secs, true),
                amount,
                reason,
            )
            .await;
            let day = at.with_timezone(&time_zone).date_naive();
            let Some(sum) = expected.get_mut(&format!("{day} {code} {currency}")) else { continue };
            *sum = (sum.0 + 1, sum.1 + amount);
            let reason = reason.filter(|reason| !reason.trim().is_empty()).unwrap_or("unspecified");
            let sum = expected_reasons.entry(format!("{day} {code} {currency} {reason}")).or_default();
            *sum = (sum.0 + 1, sum.1 + amount);
        }
    }
    reported(db, "2026-10-30", "2026-11-03").await;
    let lines = |sums: BTreeMap<String, (i64, i64)>| {
        let mut lines: Vec<String> =
            sums.into_iter().map(|(key, (orders, amount))| format!("{key} {orders} {amount}")).collect();
        lines.sort();
        lines
    };
    assert_eq!(stored(db).await, lines(expected));
    assert_eq!(reasons(db).await, lines(expected_reasons));
}

async fn a_day_without_cancellations_is_a_row_of_zeros(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    reported(db, "2026-11-19", "2026-11-19").await;
    assert_eq!(stored(db).await, ["2026-11-19 tokyo JPY 0 0"]);
    assert_eq!(reasons(db).await.len(), 0);
}

async fn an_unknown_reason_is_kept_and_none_is_unspecified(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    for (number, reason) in
        [("1", Some("ネコが注文した")), ("2", None), ("3", Some("")), ("4", Some("unspecified"))]
    {
        cancel(db, tokyo, number, NOON, 10, reason).await;
    }
    reported(db, "2026-11-19", "2026-11-19").await;
    assert_eq!(
        reasons(db).await,
        ["2026-11-19 tokyo JPY unspecified 3 30", "2026-11-19 tokyo JPY ネコが注文した 1 10"]
    );
}
