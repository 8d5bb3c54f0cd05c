//! `report daily-sales`: what each mall sold on a business day.
//!
//! Runs every night for the last finished day of each mall. A sale belongs to the day it was paid, a cancellation or
//! refund to the day it happened, whatever the day of the order; days are in the mall's own time zone. The figures are
//! stored, and everything shown or written comes from the stored figures.

mod breakdowns;
mod charts;
mod columns;
mod comparisons;
mod document;
mod figures;
mod flat_table;
mod letter;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::documents::{Document, Table};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::period::{DayBounds, DayRange, day_bounds};
use crate::runner::{Exclusion, Items, JobSpec, Run, minutes};
use crate::severity::Severity;
use crate::shop::arrivals::Subject;
use crate::shop::malls::Mall;
use crate::shop::times::Dated;
use crate::values;
use crate::wording::counted;

use super::awaited::{self, AwaitedColumns};
use super::by_mall;
use super::delivery::{Letter, Mailing};
use super::driver::{Audience, Due, Report, ReportArgs};
use super::outdated::{FigureTable, Parts};
use super::periods::Step;
use super::publication::Extent;
use super::stale;
use store::{Computation, replace_mall};

/// The figures of a day and mall; the breakdowns follow them.
pub(super) const TABLE: FigureTable = FigureTable {
    name: "daily_sales",
    period_column: "business_day",
    made_of: &[Dated::ORDERS, Dated::REFUNDS],
    parts: &[split_into("breakdown = 'PRODUCT'"), split_into("breakdown = 'PAYMENT_METHOD'")],
    words: &[("daily_sales", "currency"), ("daily_sales_breakdown", "currency")],
    awaits: &[Subject::Order, Subject::Sales, Subject::Refund],
    report: stale::DAILY_SALES,
    figures: &[
        "net_amount",
        "orders",
        "gross_amount",
        "refunded_amount",
        "cancelled_orders",
        "items",
        "discount_amount",
        "shipping_amount",
        "tax_amount",
        "new_customers",
        "returning_customers",
    ],
    is_reported: "(is_final OR awaited_subject IS NOT NULL)",
};

/// A split of the figures. An order of two products counts for each of them, so that only items and money add up.
const fn split_into(which: &'static str) -> Parts {
    Parts {
        name: "daily_sales_breakdown",
        which,
        by: &["currency"],
        sums: &["items", "gross_amount", "refunded_amount"],
    }
}

/// Arguments of `report daily-sales`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    report: ReportArgs,
    /// Include malls whose day is not over; their figures are provisional and are replaced later
    #[arg(long)]
    so_far: bool,
}

/// The figures to show, and who is missing in a mail.
pub struct Figures {
    days: figures::Figures,
    missing: Vec<String>,
}

impl Report for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report daily-sales",
        summary: "Report what each mall sold on a business day, by product and payment method",
        details: "A sale belongs to the day it was paid, a cancellation or refund to the day it happened, whatever the \
                  day of the order; days are in the mall's own time zone.",
        page: None,
        schedule: Some("0 1 * * *"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "computed"),
    };
    const STEP: Step = Step::Day;
    const IS_SHOWN_BY_PERIOD: bool = false;
    const IS_MAILED_BY_PERIOD: bool = false;
    const IS_ATTACHED: bool = true;

    const TABLE: Option<FigureTable> = Some(TABLE);

    type Figures = Figures;

    fn args(&self) -> &ReportArgs {
        &self.report
    }

    fn so_far(&self) -> Option<bool> {
        Some(self.so_far)
    }

    async fn lacking(&self, db: &mut Db, period: DayRange, malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
        let stored = stored_days(db, period.first()).await?;
        let is_final = |mall: &Mall| stored.get(&mall.id).is_some_and(|stored| stored.is_final);
        Ok(malls.iter().filter(|mall| !is_final(mall)).cloned().collect())
    }

    async fn news(&self, db: &mut Db, period: DayRange, malls: &[Mall]) -> anyhow::Result<Option<String>> {
        let day = period.first();
        let stored = stored_days(db, day).await?;
        let mut news = News::default();
        for mall in malls {
            if let (Ok(time_zone), Some(stored)) = (mall.time_zone(), stored.get(&mall.id)) {
                news.add(&newer(db, mall, &day_bounds(day, time_zone), stored).await?);
            }
        }
        Ok(news.sentence())
    }

    async fn compute(&self, run: &mut Run<'_>, period: DayRange) -> anyhow::Result<()> {
        let day = period.first();
        let due = Due::find(self, run, period).await?;
        let (id, now) = (run.id(), run.cx.now());
        let replace_mall = async |db: &mut Db, mall: &Mall, awaited: &AwaitedColumns| {
            replace_mall(db, &Computation { run: id, now, awaited: awaited.clone() }, day, mall).await
        };
        let computed = by_mall::replace(run, TABLE, period, &due, replace_mall).await?;
        run.summarise(due.sentence(computed));
        Ok(())
    }

    async fn load(
        &self,
        cx: &Context,
        db: &mut Db,
        periods: &BTreeSet<NaiveDate>,
        audience: &Audience<'_>,
    ) -> anyhow::Result<Figures> {
        let config = cx.config.report();
        let Audience::Mail(mailing) = audience else {
            let malls = self.report.malls.selected(db).await?;
            let days = figures::Figures::load(db, periods, &malls, config).await?;
            days.warn(cx, |day| !periods.contains(&day));
            return Ok(Figures { days, missing: Vec::new() });
        };
        let mut days = figures::Figures::load(db, periods, &mailing.malls, config).await?;
        days.warn(cx, |day| !periods.contains(&day));
        if mailing.is_scheduled {
            days.retain_over();
        }
        let missing = days.missing(mailing.malls.iter().chain(&mailing.waiting), config);
        Ok(Figures { days, missing })
    }

    fn check(figures: &Figures) -> Result<(), Failure> {
        figures.days.check()
    }

    fn computed_at(figures: &Figures, now: DateTime<Utc>) -> DateTime<Utc> {
        figures.days.computed_at(now)
    }

    fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
        document::document(&figures.days, time_zone, locale, extent)
    }

    fn flat_table(figures: &Figures, locale: Locale) -> Table {
        flat_table::flat_table(&figures.days, locale)
    }

    fn letter(
        cx: &Context,
        figures: &Figures,
        _periods: &BTreeSet<NaiveDate>,
        mailing: &Mailing,
    ) -> anyhow::Result<Option<Letter>> {
        if figures.days.is_empty() {
            return Ok(None);
        }
        Ok(Some(Letter {
            period: figures.days.period(),
            data: letter::variables(&figures.days, &figures.missing),
            awaiting: awaited::variables(&figures.days.awaiting(), cx.time_zone(), mailing.locale),
            identity: flat_table::flat_table(&figures.days, mailing.locale),
            pictures: Vec::new(),
            lacking: Self::check(figures).err(),
            headlines: (!figures.days.is_unfinished())
                .then(|| letter::headlines(&figures.days, mailing.locale)),
        }))
    }
}

// ---------------------------------------------------------------- what is stored, what is newer

/// What is stored for a mall's day, over its currencies. Figures of an unknown time are none: they are computed again.
#[derive(Debug, FromRow)]
struct StoredDay {
    mall_id: i64,
    is_final: bool,
    computed_at: DateTime<Utc>,
    orders: i64,
    cancelled_orders: i64,
    refunds: i64,
    #[row(problems)]
    problems: Problems,
}

async fn stored_days(db: &mut Db, day: NaiveDate) -> anyhow::Result<BTreeMap<i64, StoredDay>> {
    let rows: Vec<StoredDay> = db
        .fetch_all(
            "SELECT mall_id, is_final, computed_at, CAST(SUM(orders) AS BIGINT) AS orders,
                    CAST(SUM(cancelled_orders) AS BIGINT) AS cancelled_orders, CAST(SUM(refunds) AS BIGINT) AS refunds
             FROM daily_sales WHERE business_day = $1
             GROUP BY mall_id, is_final, computed_at",
            values![day],
        )
        .await?;
    Ok(rows.into_iter().filter(|row| row.problems.is_empty()).map(|row| (row.mall_id, row)).collect())
}

/// What has arrived since the figures were computed.
#[derive(Debug, Default)]
struct News {
    orders: i64,
    cancellations: i64,
    refunds: i64,
}

impl News {
    fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.cancellations += other.cancellations;
        self.refunds += other.refunds;
    }

    fn sentence(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.orders, "order", "orders"),
            (self.cancellations, "cancellation", "cancellations"),
            (self.refunds, "refund", "refunds"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| counted(count, one, many))
        .collect();
        if parts.is_empty() {
            return None;
        }
        let is = if parts.len() == 1 && self.orders + self.cancellations + self.refunds == 1 {
            "is"
        } else {
            "are"
        };
        Some(format!("{} of that day {is} newer", parts.join(" and ")))
    }
}

#[derive(FromRow)]
#[expect(clippy::struct_field_names, reason = "each total is paired with its newer part")]
struct Newer {
    orders: i64,
    newer_orders: i64,
    cancelled: i64,
    newer_cancelled: i64,
    refunds: i64,
    newer_refunds: i64,
}

/// Counts rows of the day that were written after the figures, and rows that exceed the earlier count.
async fn newer(db: &mut Db, mall: &Mall, bounds: &DayBounds, stored: &StoredDay) -> anyhow::Result<News> {
    let now: Newer = db
        .fetch_one(
            "SELECT paid.total AS orders, paid.newer AS newer_orders, cancelled.total AS cancelled,
                    cancelled.newer AS newer_cancelled, refunded.total AS refunds, refunded.newer AS newer_refunds
             FROM (SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE updated_at > $4) AS newer FROM orders
                   WHERE mall_id = $1 AND paid_at >= $2 AND paid_at < $3) paid,
                  (SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE updated_at > $4) AS newer FROM orders
                   WHERE mall_id = $1 AND cancelled_at >= $2 AND cancelled_at < $3) cancelled,
                  (SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE updated_at > $4) AS newer FROM refunds
                   WHERE mall_id = $1 AND refunded_at >= $2 AND refunded_at < $3) refunded",
            values![mall.id, bounds.start, bounds.end, stored.computed_at],
        )
        .await?;
    Ok(News {
        orders: now.newer_orders.max((now.orders - stored.orders).abs()),
        cancellations: now.newer_cancelled.max((now.cancelled - stored.cancelled_orders).abs()),
        refunds: now.newer_refunds.max((now.refunds - stored.refunds).abs()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_rows_are_reported_in_a_sentence() {
        assert_eq!(News::default().sentence(), None);
        let sentence = |orders, cancellations, refunds| News { orders, cancellations, refunds }.sentence();
        assert_eq!(sentence(1, 0, 0).as_deref(), Some("1 order of that day is newer"));
        assert_eq!(sentence(13, 0, 1).as_deref(), Some("13 orders and 1 refund of that day are newer"));
    }
}
