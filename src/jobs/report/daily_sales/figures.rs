//! The stored figures of daily sales, and what a report of them needs beside them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::TABLE;
use super::breakdowns::Breakdown;
use super::charts::CHART_DAYS;
use super::comparisons::{ComparedWith, Comparisons};
use crate::config::ReportConfig;
use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::digest::fingerprint;
use crate::documents::Cell;
use crate::failure::Failure;
use crate::jobs::report::awaited::{AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::outdated::{OutdatedMall, outdated_malls};
use crate::jobs::report::shown_malls::{ShownMalls, in_order};
use crate::jobs::report::soundness::Unreadable;
use crate::jobs::report::sources;
use crate::jobs::report::wordings::{Wordings, distinct};
use crate::locale::Locale;
use crate::shop::malls::Mall;
use crate::values;

/// The figures that every row of every breakdown has.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub(super) struct Measures {
    pub(super) orders: i64,
    pub(super) items: i64,
    pub(super) gross_amount: i64,
    pub(super) discount_amount: i64,
    pub(super) shipping_amount: i64,
    pub(super) tax_amount: i64,
    pub(super) cancelled_orders: i64,
    pub(super) refunded_amount: i64,
    pub(super) net_amount: i64,
    pub(super) new_customers: i64,
    pub(super) returning_customers: i64,
}

impl Measures {
    fn values(&self) -> [i64; 11] {
        [
            self.orders,
            self.items,
            self.gross_amount,
            self.discount_amount,
            self.shipping_amount,
            self.tax_amount,
            self.cancelled_orders,
            self.refunded_amount,
            self.net_amount,
            self.new_customers,
            self.returning_customers,
        ]
    }

    /// Adds another row's figures.
    pub(super) fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.items += other.items;
        self.gross_amount += other.gross_amount;
        self.discount_amount += other.discount_amount;
        self.shipping_amount += other.shipping_amount;
        self.tax_amount += other.tax_amount;
        self.cancelled_orders += other.cancelled_orders;
        self.refunded_amount += other.refunded_amount;
        self.net_amount += other.net_amount;
        self.new_customers += other.new_customers;
        self.returning_customers += other.returning_customers;
    }
}

/// One mall's day.
#[derive(Debug, Clone, FromRow)]
pub(super) struct DayRow {
    pub(super) business_day: NaiveDate,
    pub(super) mall_id: i64,
    pub(super) currency: String,
    pub(super) is_final: bool,
    pub(super) computed_at: DateTime<Utc>,
    pub(super) outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    pub(super) problems: Problems,
    #[row(flatten)]
    pub(super) awaited: AwaitedColumns,
    #[row(flatten)]
    pub(super) measures: Measures,
}

/// One product or payment method over the days. Its figures count whatever its key and name hold, which are the shop's own
/// and are shown as far as they can be read.
#[derive(Debug, Clone, FromRow)]
pub(super) struct BreakdownRow {
    pub(super) mall_id: i64,
    pub(super) currency: String,
    pub(super) breakdown: String,
    pub(super) breakdown_key: String,
    pub(super) name: String,
    #[row(problems)]
    pub(super) problems: Problems,
    #[row(flatten)]
    pub(super) measures: Measures,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct ChartRow {
    pub(super) business_day: NaiveDate,
    pub(super) mall_id: i64,
    pub(super) currency: String,
    pub(super) net_amount: i64,
    #[row(problems)]
    pub(super) problems: Problems,
}

/// A mall's id and one of its currencies.
pub(super) type MallCurrency<'f> = (i64, &'f str);

/// Sums with the name of their mall.
pub(super) type NamedSums<'f> = (&'f str, Measures);

/// Everything a document of these days needs, as stored.
pub(super) struct Figures {
    pub(super) first: NaiveDate,
    pub(super) last: NaiveDate,
    pub(super) malls: ShownMalls,
    pub(super) days: Vec<DayRow>,
    pub(super) breakdowns: Vec<BreakdownRow>,
    pub(super) chart: Vec<ChartRow>,
    pub(super) comparisons: Comparisons,
    pub(super) wordings: Wordings,
    /// The malls whose orders never name a customer: that is not the same as no customers.
    without_customers: BTreeSet<i64>,
    /// The malls whose orders never state a tax: that is not the same as no tax.
    without_tax: BTreeSet<i64>,
    pub(super) asked: BTreeSet<NaiveDate>,
    /// What is left out, with its whole mall; in the chart just its day.
    pub(super) unreadable: Unreadable,
}

impl Figures {
    /// Loads the malls' stored figures of the days, which may have gaps. A mall with a row that cannot be read is left out:
    /// a sum without that row would be wrong.
    pub(super) async fn load(
        db: &mut Db,
        days: &BTreeSet<NaiveDate>,
        malls: &[Mall],
        config: &ReportConfig,
    ) -> anyhow::Result<Self> {
        let (Some(&first), Some(&last)) = (days.first(), days.last()) else {
            anyhow::bail!("a report needs a day");
        };
        let malls = ShownMalls::new(malls, config);
        let mut rows: Vec<DayRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, is_final, computed_at, outdated_at, awaited_subject,
                        awaited_since, awaited_day, awaited_run, orders, items, gross_amount, discount_amount, shipping_amount, tax_amount, cancelled_orders, refunded_amount,
                        net_amount, new_customers, returning_customers
                 FROM daily_sales WHERE business_day BETWEEN $1 AND $2
                 ORDER BY business_day, mall_id, currency",
                values![first, last],
            )
            .await?;
        let breakdowns_sql = format!(
            "SELECT mall_id, currency, breakdown, breakdown_key, MAX(name) AS name,
                    CAST(SUM(orders) AS BIGINT) AS orders, CAST(SUM(items) AS BIGINT) AS items,
                    CAST(SUM(gross_amount) AS BIGINT) AS gross_amount,
                    CAST(SUM(discount_amount) AS BIGINT) AS discount_amount,
                    CAST(SUM(shipping_amount) AS BIGINT) AS shipping_amount,
                    CAST(SUM(tax_amount) AS BIGINT) AS tax_amount,
                    CAST(SUM(cancelled_orders) AS BIGINT) AS cancelled_orders,
                    CAST(SUM(refunded_amount) AS BIGINT) AS refunded_amount,
                    CAST(SUM(net_amount) AS BIGINT) AS net_amount,
                    CAST(SUM(new_customers) AS BIGINT) AS new_customers,
                    CAST(SUM(returning_customers) AS BIGINT) AS returning_customers
             FROM daily_sales_breakdown WHERE business_day BETWEEN $1 AND $2
             GROUP BY mall_id, currency, breakdown, breakdown_key
             ORDER BY mall_id, currency, CAST(SUM(net_amount) AS BIGINT) DESC, {}",
            db.by_bytes("breakdown_key")
        );
        let mut breakdowns: Vec<BreakdownRow> = db.fetch_all(&breakdowns_sql, values![first, last]).await?;
        let chart_start = last.checked_sub_days(Days::new(CHART_DAYS - 1)).unwrap_or(last);
        let mut chart: Vec<ChartRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, net_amount FROM daily_sales
                 WHERE business_day BETWEEN $1 AND $2 ORDER BY business_day",
                values![chart_start, last],
            )
            .await?;
        let mut unreadable = Unreadable::default();
        for row in &rows {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.awaited.problems);
        }
        if first == last {
            // Of several days it is one, which the sums below tell.
            for row in breakdowns.iter().filter(|row| row.problems.include("currency")) {
                unreadable.note(row.mall_id, Some(first), &row.problems);
            }
        }
        for row in &chart {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
        }
        let mut comparisons = Comparisons::load(db, first, last, &mut unreadable).await?;
        unreadable.look_for(db, TABLE, comparisons.first_day(), last).await?;
        comparisons.leave_out(&unreadable);
        let is_shown = |mall: i64| malls.contains_key(&mall) && !unreadable.include_any(mall, days);
        rows.retain(|row| days.contains(&row.business_day) && is_shown(row.mall_id));
        // Stable: within a mall they stay as the database sorted them.
        rows.sort_by_key(|row| (row.business_day, malls.place(row.mall_id)));
        breakdowns.retain(|row| is_shown(row.mall_id));
        breakdowns.sort_by_key(|row| malls.place(row.mall_id));
        // A day of which a row cannot be read is a gap.
        chart.retain(|row| is_shown(row.mall_id) && !unreadable.include(row.mall_id, row.business_day));
        let (mut without_customers, mut without_tax) = (BTreeSet::new(), BTreeSet::new());
        for &mall in malls.keys() {
            if !sources::has_customers(db, mall).await? {
                without_customers.insert(mall);
            }
            if !sources::has_tax(db, mall).await? {
                without_tax.insert(mall);
            }
        }
        Ok(Self {
            first,
            last,
            malls,
            days: rows,
            breakdowns,
            chart,
            comparisons,
            wordings: Wordings::new(config),
            without_customers,
            without_tax,
            asked: days.clone(),
            unreadable,
        })
    }

    /// Refuses figures that lack a mall.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.unreadable.check("daily-sales", &self.asked, self.malls.values())
    }

    /// Warns of days that lack a mall, of those with which others are compared.
    pub(super) fn warn(&self, cx: &Context, is_compared: impl Fn(NaiveDate) -> bool) {
        let malls: Vec<Mall> = self.malls.values().cloned().collect();
        // A day may be in the chart and be compared with.
        let warnings: BTreeSet<String> = self.unreadable.warnings(&malls, is_compared).collect();
        for warning in &warnings {
            cx.output.warn(warning);
        }
    }

    /// When the newest of the figures were computed; `otherwise` if there are none.
    pub(super) fn computed_at(&self, otherwise: DateTime<Utc>) -> DateTime<Utc> {
        self.days.iter().map(|row| row.computed_at).max().unwrap_or(otherwise)
    }

    /// Drops the figures of days that were not over.
    pub(super) fn retain_over(&mut self) {
        self.retain(|day| day.is_final || day.awaited.is_awaiting());
    }

    fn retain(&mut self, is_kept: impl Fn(&DayRow) -> bool) {
        self.days.retain(is_kept);
        let reported: BTreeSet<i64> = self.days.iter().map(|day| day.mall_id).collect();
        self.breakdowns.retain(|row| reported.contains(&row.mall_id));
    }

    /// Whether there are no stored figures for these days and malls.
    pub(super) fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// The names of the malls that have no figures at all.
    pub(super) fn missing<'m>(
        &self,
        malls: impl Iterator<Item = &'m Mall>,
        config: &ReportConfig,
    ) -> Vec<String> {
        let is_missing = |mall: &Mall| !self.days.iter().any(|day| day.mall_id == mall.id);
        let malls = in_order(malls.cloned().collect(), config);
        malls.into_iter().filter(is_missing).map(|mall| mall.name).collect()
    }

    /// Whether some of the figures are those of a day that was not over.
    pub(super) fn is_unfinished(&self) -> bool {
        self.days.iter().any(|day| !day.is_final && !day.awaited.is_awaiting())
    }

    /// The malls whose figures wait for data.
    pub(super) fn awaiting(&self) -> Vec<AwaitingMall> {
        awaiting_malls(self.days.iter().map(|day| (day.mall_id, self.malls.name(day.mall_id), &day.awaited)))
    }

    /// Whether a mall's figures wait for data.
    pub(super) fn is_awaiting(&self, mall: i64) -> bool {
        self.days.iter().any(|day| day.mall_id == mall && day.awaited.is_awaiting())
    }

    /// The malls with figures that a later run failed to replace.
    pub(super) fn outdated(&self) -> Vec<OutdatedMall> {
        let rows = self.days.iter().filter(|day| day.outdated_at.is_some());
        outdated_malls(rows.map(|day| (day.mall_id, self.malls.name(day.mall_id), day.computed_at)))
    }

    /// The sums over the days for each mall and currency, with the mall's name, in the order of the malls.
    pub(super) fn sums(&self) -> Vec<(MallCurrency<'_>, NamedSums<'_>)> {
        let mut sums: BTreeMap<(usize, &str), (MallCurrency<'_>, NamedSums<'_>)> = BTreeMap::new();
        for day in &self.days {
            let (mall, currency) = (day.mall_id, day.currency.as_str());
            let sum = sums
                .entry((self.malls.place(mall), currency))
                .or_insert_with(|| ((mall, currency), (self.malls.name(mall), Measures::default())));
            sum.1.1.add(&day.measures);
        }
        sums.into_values().collect()
    }

    /// The net amount of a mall's earlier day, to compare the only one with; `None` for a range.
    pub(super) fn net_before(&self, mall: i64, currency: &str, with: ComparedWith) -> Option<i64> {
        if self.first != self.last {
            return None;
        }
        self.comparisons.net_before(self.first, mall, currency, with)
    }

    /// The day, or the first and the last one.
    pub(super) fn period(&self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}..{}", self.first, self.last)
        }
    }

    /// The cells of [`mall_columns`](super::columns::mall_columns).
    pub(super) fn mall_cells(&self, id: i64) -> [Cell; 2] {
        [Cell::text(self.malls.code(id)), Cell::text(self.malls.name(id))]
    }

    /// The cells of [`change_columns`](super::columns::change_columns).
    pub(super) fn change_cells(&self, day: &DayRow) -> [Cell; 2] {
        let (mall, currency, net) = (day.mall_id, day.currency.as_str(), day.measures.net_amount);
        [ComparedWith::Day, ComparedWith::Week]
            .map(|with| Cell::Change(self.comparisons.change(day.business_day, mall, currency, net, with)))
    }

    /// What readers call the payment methods of these rows of a mall.
    pub(super) fn payment_names(&self, rows: &[&BreakdownRow], locale: Locale) -> Vec<String> {
        let names: Vec<_> = rows
            .iter()
            .map(|row| {
                let platform = self.malls.platform(row.mall_id);
                self.wordings.payment_method(&row.breakdown_key, platform, locale)
            })
            .collect();
        distinct(rows.iter().zip(&names).map(|(row, name)| (row.breakdown_key.as_str(), name.as_ref())))
    }

    pub(super) fn breakdown(&self, kind: Breakdown) -> impl Iterator<Item = &BreakdownRow> {
        self.breakdowns.iter().filter(move |row| row.breakdown == kind.word())
    }

    /// Changes with the rows of a mall's breakdown, whatever they are called.
    pub(super) fn mark_of(&self, kind: Breakdown, (mall, currency): MallCurrency<'_>) -> String {
        let rows = self.breakdown(kind).filter(|row| row.mall_id == mall && row.currency == currency);
        let mut rows: Vec<(&str, [i64; 11])> =
            rows.map(|row| (row.breakdown_key.as_str(), row.measures.values())).collect();
        rows.sort_unstable();
        fingerprint(format!("{rows:?}"))
    }

    /// Whether new and returning customers can be told apart: not if the mall's orders never name any.
    pub(super) fn has_customers(&self, mall: i64) -> bool {
        !self.without_customers.contains(&mall)
    }

    /// Whether it is known how much tax there is: not if the mall's orders never state any.
    pub(super) fn has_tax(&self, mall: i64) -> bool {
        !self.without_tax.contains(&mall)
    }

    /// The rows of each mall and currency, in the order of the malls.
    pub(super) fn breakdown_by_mall(&self, kind: Breakdown) -> Vec<(MallCurrency<'_>, Vec<&BreakdownRow>)> {
        let mut malls: Vec<(MallCurrency<'_>, Vec<&BreakdownRow>)> = Vec::new();
        for row in self.breakdown(kind) {
            let mall = (row.mall_id, row.currency.as_str());
            match malls.last_mut() {
                Some((last, rows)) if *last == mall => rows.push(row),
                _ => malls.push((mall, vec![row])),
            }
        }
        malls
    }
}
