//! `report daily-cancellations`: what was cancelled in each mall on a business day, and why.
//!
//! Runs every night for the last finished day of each mall. A cancellation belongs to the day it happened, whatever day
//! the order is from, paid or not. The tables are for a dashboard: a day is replaced in one transaction, and a day
//! without cancellations is a row of zeros.

mod document;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::DeliveredReport;
use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::shop::malls::{Mall, selected_malls};
use crate::period::{DateArgs, DayRange, day_bounds};
use crate::runner::{Exclusion, Instance, Job, JobSpec, Run, Standing, minutes};
use crate::severity::Severity;
use crate::values;

use super::by_mall;
use super::delivery::{Letter, Mailing, Sender};
use super::periods::{self, Step, first_day};
use super::publication::{Content, PublicationArgs};

/// The reason of a cancellation for which the shop gave none.
const UNSPECIFIED: &str = "unspecified";

/// Report what was cancelled in each mall on a business day, and why
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    dates: DateArgs,
    /// Report on these malls, by code or number (default: all active)
    #[arg(long, value_delimiter = ',', value_name = "MALL")]
    mall: Vec<String>,
    #[command(flatten)]
    publication: PublicationArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report daily-cancellations",
        summary: "Report what was cancelled in each mall on a business day, and why",
        schedule: Some("0 2 * * *"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
    };

    async fn instances(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Instance>> {
        self.publication.check(cx)?;
        let malls = selected_malls(db, &self.mall).await?;
        self.sender().check(cx, db).await?;
        let days = periods::asked(cx, Step::Day, &self.dates, &malls, None)?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to report (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        let instance = |day| periods::instance(Self::SPEC.name, day, &self.mall, &malls, &[]);
        Ok(days.into_iter().map(instance).collect())
    }

    async fn standing(&self, cx: &Context, db: &mut Db, instance: &Instance) -> anyhow::Result<Standing> {
        let day = first_day(instance)?;
        let missing = self.missing(cx, db, day).await?;
        if !missing.is_empty() {
            let codes: Vec<&str> = missing.iter().map(|mall| mall.code.as_str()).collect();
            return Ok(Standing::Due(format!("no figures yet for {}", codes.join(", "))));
        }
        let malls = self.malls_of(cx, db, day).await?;
        Ok(Standing::Complete(news(db, day, &malls).await?))
    }

    async fn run(&self, run: &mut Run<'_>, instance: &Instance) -> anyhow::Result<()> {
        let day = first_day(instance)?;
        let over = self.malls_of(run.cx, run.db, day).await?;
        let mut malls =
            if run.does_only_what_is_due() { self.missing(run.cx, run.db, day).await? } else { over.clone() };
        malls.retain(|mall| run.is_wanted(&mall.code));
        let (id, now) = (run.id(), run.cx.now());
        let replace_mall = async |db: &mut Db, mall: &Mall| replace_mall(db, id, day, mall, now).await;
        let computed = by_mall::replace(run, malls, replace_mall).await?;
        let selected = selected_malls(run.db, &self.mall).await?;
        run.summarise(by_mall::sentence(computed, &selected, &over));
        Ok(())
    }

    async fn deliver(&self, cx: &Context, db: &mut Db, completed: &[Instance]) -> anyhow::Result<()> {
        if !self.publication.formats(cx).is_empty() {
            let days = completed.iter().map(first_day).collect::<anyhow::Result<BTreeSet<_>>>()?;
            let malls = selected_malls(db, &self.mall).await?;
            let figures = document::Figures::load(db, &days, &malls).await?;
            let locale = self.publication.locale(cx);
            let content = Content {
                created: figures.computed_at(cx.now()),
                document: &|_| document::document(&figures, cx.time_zone(), locale),
                flat: &|| document::flat_table(&figures, locale),
            };
            self.publication.publish(cx, &content)?;
        }
        let sender = self.sender();
        sender.send_all(cx, db, completed, async |db, mailing| mail(cx, db, &sender, mailing).await).await
    }
}

/// Mails the stored figures of a mailing's days.
async fn mail(cx: &Context, db: &mut Db, sender: &Sender<'_>, mailing: &Mailing) -> anyhow::Result<()> {
    let figures = document::Figures::load(db, &mailing.periods, &mailing.malls).await?;
    if figures.is_empty() {
        return Ok(());
    }
    let locale = mailing.locale;
    let letter = Letter {
        period: figures.period(),
        data: document::variables(&figures, locale),
        identity: document::flat_table(&figures, locale),
        content: Content {
            created: figures.computed_at(cx.now()),
            document: &|_| document::document(&figures, cx.time_zone(), locale),
            flat: &|| document::flat_table(&figures, locale),
        },
        pictures: Vec::new(),
    };
    sender.send(cx, db, mailing, letter).await
}

impl Args {
    fn sender(&self) -> Sender<'_> {
        Sender {
            report: DeliveredReport::DailyCancellations,
            step: Step::Day,
            publication: &self.publication,
            wanted: &self.mall,
            is_by_period: false,
        }
    }

    /// The malls in which the day is over.
    async fn malls_of(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        periods::malls_of(cx, db, &self.mall, DayRange::single(day), false).await
    }

    /// Those of them that have no figures of the day yet.
    async fn missing(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        let mut malls = self.malls_of(cx, db, day).await?;
        let stored: Vec<(i64,)> = db
            .fetch_all(
                "SELECT DISTINCT mall_id FROM daily_cancellations WHERE business_day = $1",
                values![day],
            )
            .await?;
        malls.retain(|mall| !stored.contains(&(mall.id,)));
        Ok(malls)
    }
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

/// Replaces one mall's rows of the day.
async fn replace_mall(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    mall: &Mall,
    now: DateTime<Utc>,
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
                 execution_id, computed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                day,
                mall.id,
                currency,
                of_currency().map(|sum| sum.cancelled_orders).sum::<i64>(),
                of_currency().map(|sum| sum.cancelled_amount).sum::<i64>(),
                run,
                now,
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

/// How many were counted then, how many there are, and how many of those were written since.
#[derive(FromRow)]
struct Recount {
    stored: i64,
    present: i64,
    newer: i64,
}

/// What came in since the figures were computed.
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
        1 => Some("1 cancellation of that day is newer: add --rerun".to_owned()),
        _ => Some(format!("{newer} cancellations of that day are newer: add --rerun")),
    })
}
