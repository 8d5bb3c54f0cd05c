//! `report daily-cancellations`: each mall's cancellations of a business day by reason.
//!
//! Runs every night for the last finished day of each mall. A cancellation belongs to the day it happened, whatever the
//! day of the order, paid or not. The tables are for a dashboard: a day is replaced in one transaction, and a day
//! without cancellations is a row of zeros.

mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::documents::{Document, Table};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::period::{DayRange, day_bounds};
use crate::runner::{Exclusion, Items, JobSpec, Run, minutes};
use crate::severity::Severity;
use crate::shop::arrivals::Subject;
use crate::shop::malls::Mall;
use crate::shop::times::Dated;
use crate::values;

use super::awaited::{self, AwaitedColumns};
use super::by_mall;
use super::delivery::{Letter, Mailing};
use super::driver::{Audience, Due, Report, ReportArgs};
use super::outdated::{FigureTable, Parts};
use super::periods::Step;
use super::publication::Extent;
use super::stale;

/// The reason of a cancellation for which the shop stated none.
const UNSPECIFIED: &str = "unspecified";

/// The sums of a day and mall; the reasons follow them.
const TABLE: FigureTable = FigureTable {
    name: "daily_cancellations",
    period_column: "business_day",
    made_of: &[Dated::ORDERS],
    parts: &[Parts {
        name: "daily_cancellations_by_reason",
        which: "TRUE",
        by: &["currency"],
        sums: &["cancelled_orders", "cancelled_amount"],
    }],
    words: &[
        ("daily_cancellations", "currency"),
        ("daily_cancellations_by_reason", "currency"),
        ("daily_cancellations_by_reason", "reason"),
    ],
    awaits: &[Subject::Order, Subject::Sales],
    report: stale::DAILY_CANCELLATIONS,
    figures: &["cancelled_amount", "cancelled_orders"],
    is_reported: "TRUE",
};

/// Arguments of `report daily-cancellations`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    report: ReportArgs,
}

impl Report for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report daily-cancellations",
        summary: "Report each mall's cancellations of a business day, by reason",
        details: "A cancellation belongs to the day it happened, whatever the day of the order, paid or not. The figures \
                  are stored in tables for a dashboard.",
        page: None,
        schedule: Some("0 2 * * *"),
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

    type Figures = document::Figures;

    fn args(&self) -> &ReportArgs {
        &self.report
    }

    async fn lacking(&self, db: &mut Db, period: DayRange, malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
        without_figures(db, period.first(), malls).await
    }

    async fn news(&self, db: &mut Db, period: DayRange, malls: &[Mall]) -> anyhow::Result<Option<String>> {
        news(db, period.first(), malls).await
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
    ) -> anyhow::Result<document::Figures> {
        let malls = audience.malls(&self.report, db).await?;
        document::Figures::load(db, periods, &malls, cx.config.report()).await
    }

    fn check(figures: &document::Figures) -> Result<(), Failure> {
        figures.check()
    }

    fn computed_at(figures: &document::Figures, now: DateTime<Utc>) -> DateTime<Utc> {
        figures.computed_at(now)
    }

    fn document(figures: &document::Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
        document::document(figures, time_zone, locale, extent)
    }

    fn flat_table(figures: &document::Figures, locale: Locale) -> Table {
        document::flat_table(figures, locale)
    }

    fn letter(
        cx: &Context,
        figures: &document::Figures,
        _periods: &BTreeSet<NaiveDate>,
        mailing: &Mailing,
    ) -> anyhow::Result<Option<Letter>> {
        if figures.is_empty() {
            return Ok(None);
        }
        Ok(Some(Letter {
            period: figures.period(),
            data: document::variables(figures, mailing.locale),
            awaiting: awaited::variables(&figures.awaiting(), cx.time_zone(), mailing.locale),
            identity: document::flat_table(figures, mailing.locale),
            pictures: Vec::new(),
            lacking: Self::check(figures).err(),
            headlines: Some(document::headlines(figures, mailing.locale)),
        }))
    }
}

/// The malls that have no figures for the day yet.
async fn without_figures(db: &mut Db, day: NaiveDate, malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
    let stored: Vec<(i64,)> = db
        .fetch_all("SELECT DISTINCT mall_id FROM daily_cancellations WHERE business_day = $1", values![day])
        .await?;
    Ok(malls.iter().filter(|mall| !stored.contains(&(mall.id,))).cloned().collect())
}

// ---------------------------------------------------------------- the figures

/// A sum over some cancellations.
#[derive(Debug, Clone, FromRow)]
struct Sum {
    currency: String,
    reason: String,
    cancelled_orders: i64,
    cancelled_amount: i64,
}

/// The run that computes the figures, with its time, and the data that they wait for.
struct Computation {
    run: i64,
    now: DateTime<Utc>,
    awaited: AwaitedColumns,
}

/// Replaces one mall's rows of the day.
async fn replace_mall(
    db: &mut Db,
    computation: &Computation,
    day: NaiveDate,
    mall: &Mall,
) -> anyhow::Result<()> {
    let bounds = day_bounds(day, mall.time_zone()?);
    for table in [
        "DELETE FROM daily_cancellations WHERE business_day = $1 AND mall_id = $2",
        "DELETE FROM daily_cancellations_by_reason WHERE business_day = $1 AND mall_id = $2",
    ] {
        db.execute(table, values![day, mall.id]).await?;
    }
    let sums: Vec<Sum> = db
        .fetch_all(
            "SELECT currency, reason, COUNT(*) AS cancelled_orders,
                    CAST(SUM(total_amount) AS BIGINT) AS cancelled_amount
             FROM (SELECT currency, total_amount,
                          CASE WHEN TRIM(COALESCE(cancel_reason, '')) = '' THEN $4 ELSE cancel_reason END AS reason
                   FROM orders WHERE mall_id = $1 AND cancelled_at >= $2 AND cancelled_at < $3) cancelled
             GROUP BY currency, reason",
            values![mall.id, bounds.start, bounds.end, UNSPECIFIED],
        )
        .await?;
    // A day without cancellations is a row of zeros: a missing row would mean "not computed".
    let mut currencies: BTreeSet<&str> = sums.iter().map(|sum| sum.currency.as_str()).collect();
    currencies.insert(&mall.currency);
    for currency in currencies {
        let of_currency = || sums.iter().filter(|sum| sum.currency == currency);
        db.execute(
            "INSERT INTO daily_cancellations (business_day, mall_id, currency, cancelled_orders, cancelled_amount,
                 execution_id, computed_at, awaited_subject, awaited_since, awaited_day, awaited_run)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            values![
                day,
                mall.id,
                currency,
                of_currency().map(|sum| sum.cancelled_orders).sum::<i64>(),
                of_currency().map(|sum| sum.cancelled_amount).sum::<i64>(),
                computation.run,
                computation.now,
                computation.awaited.awaited_subject.as_deref(),
                computation.awaited.awaited_since,
                computation.awaited.awaited_day,
                computation.awaited.awaited_run,
            ],
        )
        .await?;
    }
    for sum in &sums {
        db.execute(
            "INSERT INTO daily_cancellations_by_reason (business_day, mall_id, currency, reason, cancelled_orders,
                 cancelled_amount)
             VALUES ($1, $2, $3, $4, $5, $6)",
            values![day, mall.id, &sum.currency, &sum.reason, sum.cancelled_orders, sum.cancelled_amount],
        )
        .await?;
    }
    Ok(())
}

/// How many were counted, how many there are now, and how many of those were written since.
#[derive(FromRow)]
struct Recount {
    stored: i64,
    present: i64,
    newer: i64,
}

/// What has arrived since the figures were computed.
async fn news(db: &mut Db, day: NaiveDate, malls: &[Mall]) -> anyhow::Result<Option<String>> {
    let mut newer = 0;
    for mall in malls {
        let Ok(time_zone) = mall.time_zone() else { continue };
        let bounds = day_bounds(day, time_zone);
        let found: Recount = db
            .fetch_one(
                "SELECT COALESCE((SELECT CAST(SUM(cancelled_orders) AS BIGINT) FROM daily_cancellations
                                  WHERE business_day = $4 AND mall_id = $1), 0) AS stored,
                        COUNT(*) AS present,
                        COUNT(*) FILTER (WHERE updated_at > (SELECT MAX(computed_at) FROM daily_cancellations
                                                             WHERE business_day = $4 AND mall_id = $1)) AS newer
                 FROM orders WHERE mall_id = $1 AND cancelled_at >= $2 AND cancelled_at < $3",
                values![mall.id, bounds.start, bounds.end, day],
            )
            .await?;
        newer += found.newer.max((found.present - found.stored).abs());
    }
    Ok(match newer {
        0 => None,
        1 => Some("1 cancellation of that day is newer".to_owned()),
        _ => Some(format!("{newer} cancellations of that day are newer")),
    })
}
