//! The net sales of the last days, drawn.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::figures::Figures;
use crate::documents::{Chart, Series};
use crate::locale::Locale;
use crate::money::currency_exponent;

/// How many days the chart shows.
pub(super) const CHART_DAYS: u64 = 30;

/// The net amount of the last 30 days, one chart for each mall and currency.
pub(super) fn charts(figures: &Figures, locale: Locale) -> Vec<Chart> {
    let days: Vec<NaiveDate> =
        (0..CHART_DAYS).rev().filter_map(|back| figures.last.checked_sub_days(Days::new(back))).collect();
    let malls = figures.sums();
    malls
        .into_iter()
        .map(|((mall_id, currency), (name, _))| {
            let amounts: BTreeMap<NaiveDate, f64> = figures
                .chart
                .iter()
                .filter(|row| row.mall_id == mall_id && row.currency == currency)
                .map(|row| (row.business_day, major(row.net_amount, currency)))
                .collect();
            Chart {
                title: format!(
                    "{name}: {}",
                    locale.pick("net sales, last 30 days", "純売上（税込、直近30日間）", "순매출(최근 30일)")
                ),
                unit: currency.to_owned(),
                series: vec![Series {
                    label: locale.pick("Net", "純売上（税込）", "순매출").to_owned(),
                    values: days.iter().map(|day| amounts.get(day).copied()).collect(),
                }],
                days: days.clone(),
            }
        })
        .collect()
}

/// An amount in major units, for drawing only.
#[expect(clippy::cast_precision_loss, reason = "a bar's height needs no more than 52 bits")]
fn major(amount: i64, currency: &str) -> f64 {
    amount as f64 / 10_f64.powi(i32::try_from(currency_exponent(currency)).unwrap_or(0))
}
