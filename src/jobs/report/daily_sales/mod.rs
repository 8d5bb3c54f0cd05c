//! `report daily-sales`: what each mall sold on a business day.
//!
//! Runs every night for the last finished day of each mall. A sale belongs to the day it was paid, a cancellation
//! and a refund to the day they happened, whatever day the order is from; the day is the mall's own, in its time
//! zone. The figures are stored, and what is shown or written always comes from the stored ones.

mod document;
mod letter;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::DeliveredReport;
use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::shop::malls::{Mall, selected_malls};
use crate::money::average_half_up;
use crate::period::{DateArgs, DayBounds, DayRange, day_bounds};
use crate::runner::{Exclusion, Instance, Job, JobSpec, Run, Standing, minutes};
use crate::severity::Severity;
use crate::values;

use super::by_mall;
use super::delivery::{Letter, Mailing, Sender};
use super::periods::{self, Step, first_day};
use super::publication::{Content, PublicationArgs};

const TOTALS: &str = include_str!("totals.sql");
const BY_PRODUCT: &str = include_str!("by_product.sql");
const BY_PAYMENT_METHOD: &str = include_str!("by_payment_method.sql");

/// Report what each mall sold on a business day
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    dates: DateArgs,
    /// Report on these malls, by code or number (default: all active)
    #[arg(long, value_delimiter = ',', value_name = "MALL")]
    mall: Vec<String>,
    /// Report on malls whose day is not over too; such figures are provisional and made again later
    #[arg(long)]
    so_far: bool,
    #[command(flatten)]
    publication: PublicationArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report daily-sales",
        summary: "Report what each mall sold on a business day",
        schedule: Some("0 1 * * *"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
    };

    async fn instances(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Instance>> {
        self.publication.check(cx)?;
        let malls = selected_malls(db, &self.mall).await?;
        self.sender().check(cx, db).await?;
        let days = periods::asked(cx, Step::Day, &self.dates, &malls, Some(self.so_far))?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to report (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        let further: &[&str] = if self.so_far { &["--so-far"] } else { &[] };
        let instance = |day| periods::instance(Self::SPEC.name, day, &self.mall, &malls, further);
        Ok(days.into_iter().map(instance).collect())
    }

    async fn standing(&self, cx: &Context, db: &mut Db, instance: &Instance) -> anyhow::Result<Standing> {
        let day = first_day(instance)?;
        let malls = self.malls_of(cx, db, day).await?;
        let stored = stored_days(db, day).await?;
        let missing: Vec<&str> = malls
            .iter()
            .filter(|mall| !stored.get(&mall.id).is_some_and(|stored| stored.is_final))
            .map(|mall| mall.code.as_str())
            .collect();
        if !missing.is_empty() {
            return Ok(Standing::Due(format!("no final figures yet for {}", missing.join(", "))));
        }
        let mut news = News::default();
        for mall in &malls {
            if let (Ok(time_zone), Some(stored)) = (mall.time_zone(), stored.get(&mall.id)) {
                news.add(&newer(db, mall, &day_bounds(day, time_zone), stored).await?);
            }
        }
        Ok(Standing::Complete(news.sentence()))
    }

    async fn run(&self, run: &mut Run<'_>, instance: &Instance) -> anyhow::Result<()> {
        let day = first_day(instance)?;
        let malls = self.malls_to_compute(run, day).await?;
        let (id, now) = (run.id(), run.cx.now());
        let replace_mall = async |db: &mut Db, mall: &Mall| replace_mall(db, id, day, mall, now).await;
        let computed = by_mall::replace(run, malls, replace_mall).await?;
        let selected = selected_malls(run.db, &self.mall).await?;
        let over = self.malls_of(run.cx, run.db, day).await?;
        run.summarise(by_mall::sentence(computed, &selected, &over));
        Ok(())
    }

    async fn deliver(&self, cx: &Context, db: &mut Db, completed: &[Instance]) -> anyhow::Result<()> {
        if !self.publication.formats(cx).is_empty() {
            let days = completed.iter().map(first_day).collect::<anyhow::Result<BTreeSet<_>>>()?;
            let malls = selected_malls(db, &self.mall).await?;
            let figures = document::Figures::load(db, &days, &malls).await?;
            let locale = self.publication.locale(cx);
            self.publication.publish(
                cx,
                &Content {
                    created: figures.computed_at(cx.now()),
                    document: &|extent| document::document(&figures, cx.time_zone(), locale, extent),
                    flat: &|| document::flat_table(&figures, locale),
                },
            )?;
        }
        let sender = self.sender();
        sender.send_all(cx, db, completed, async |db, mailing| mail(cx, db, &sender, mailing).await).await
    }
}

/// Mails the stored figures of a mailing's days.
async fn mail(cx: &Context, db: &mut Db, sender: &Sender<'_>, mailing: &Mailing) -> anyhow::Result<()> {
    let mut figures = document::Figures::load(db, &mailing.periods, &mailing.malls).await?;
    if mailing.is_standing {
        figures.retain_final();
    }
    if figures.is_empty() {
        return Ok(());
    }
    let before = document::Figures::load_day_before(db, &figures).await?;
    let missing = figures.missing(mailing.malls.iter().chain(&mailing.waiting));
    let locale = mailing.locale;
    let letter = Letter {
        period: figures.period(),
        data: letter::variables(&figures, before.as_ref(), &missing),
        identity: document::flat_table(&figures, locale),
        content: Content {
            created: figures.computed_at(cx.now()),
            document: &|extent| document::document(&figures, cx.time_zone(), locale, extent),
            flat: &|| document::flat_table(&figures, locale),
        },
        pictures: Vec::new(),
    };
    sender.send(cx, db, mailing, letter).await
}

// ---------------------------------------------------------------- which days and malls

impl Args {
    fn sender(&self) -> Sender<'_> {
        Sender {
            report: DeliveredReport::DailySales,
            step: Step::Day,
            publication: &self.publication,
            wanted: &self.mall,
            is_by_period: false,
        }
    }

    /// The malls whose day can be reported on: it is over, or has begun and provisional figures are wanted.
    async fn malls_of(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        periods::malls_of(cx, db, &self.mall, DayRange::single(day), self.so_far).await
    }

    /// The malls this run works on: those wanted, or only those without final figures if the day was complete
    /// but for them.
    async fn malls_to_compute(&self, run: &mut Run<'_>, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        let mut malls = self.malls_of(run.cx, run.db, day).await?;
        malls.retain(|mall| run.is_wanted(&mall.code));
        if run.does_only_what_is_due() {
            let stored = stored_days(run.db, day).await?;
            malls.retain(|mall| !stored.get(&mall.id).is_some_and(|stored| stored.is_final));
        }
        Ok(malls)
    }
}

// ---------------------------------------------------------------- what is stored, what is newer

/// What is stored of a mall's day, over its currencies.
#[derive(Debug, FromRow)]
struct StoredDay {
    mall_id: i64,
    is_final: bool,
    computed_at: DateTime<Utc>,
    orders: i64,
    cancelled_orders: i64,
    refunds: i64,
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
    Ok(rows.into_iter().map(|row| (row.mall_id, row)).collect())
}

/// What came in since the figures were computed.
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
        let parts: Vec<String> =
            [(self.orders, "order"), (self.cancellations, "cancellation"), (self.refunds, "refund")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
                .collect();
        if parts.is_empty() {
            return None;
        }
        let is = if parts.len() == 1 && self.orders + self.cancellations + self.refunds == 1 {
            "is"
        } else {
            "are"
        };
        Some(format!("{} of that day {is} newer: add --rerun", parts.join(" and ")))
    }
}

#[derive(FromRow)]
#[expect(clippy::struct_field_names, reason = "each total stands beside its newer part")]
struct Newer {
    orders: i64,
    newer_orders: i64,
    cancelled: i64,
    newer_cancelled: i64,
    refunds: i64,
    newer_refunds: i64,
}

/// Counts rows of the day that were written after the figures, and rows that are more than were counted then.
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

// ---------------------------------------------------------------- the figures

/// A row of `totals.sql`.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
struct Totals {
    currency: String,
    orders: i64,
    items: i64,
    gross_amount: i64,
    discount_amount: i64,
    shipping_amount: i64,
    tax_amount: i64,
    cancelled_orders: i64,
    refunds: i64,
    refunded_amount: i64,
    new_customers: i64,
    returning_customers: i64,
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
    db.execute("DELETE FROM daily_sales WHERE business_day = $1 AND mall_id = $2", values![day, mall.id])
        .await?;
    db.execute(
        "DELETE FROM daily_sales_breakdown WHERE business_day = $1 AND mall_id = $2",
        values![day, mall.id],
    )
    .await?;
    let mut totals: Vec<Totals> = db.fetch_all(TOTALS, values![mall.id, bounds.start, bounds.end]).await?;
    if !totals.iter().any(|total| total.currency == mall.currency) {
        // A day without sales is a row of zeros: a missing row would mean "not computed".
        totals.push(Totals { currency: mall.currency.clone(), ..Totals::default() });
    }
    for total in &totals {
        insert_totals(db, run, day, mall, total, bounds.end <= now, now).await?;
    }
    db.execute(BY_PRODUCT, values![mall.id, bounds.start, bounds.end, day]).await?;
    db.execute(BY_PAYMENT_METHOD, values![mall.id, bounds.start, bounds.end, day]).await?;
    Ok(())
}

async fn insert_totals(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    mall: &Mall,
    total: &Totals,
    is_final: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO daily_sales (business_day, mall_id, currency, orders, items, gross_amount, discount_amount,
             shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount, average_order_amount,
             new_customers, returning_customers, refunds, is_final, execution_id, computed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        values![
            day,
            mall.id,
            &total.currency,
            total.orders,
            total.items,
            total.gross_amount,
            total.discount_amount,
            total.shipping_amount,
            total.tax_amount,
            total.cancelled_orders,
            total.refunded_amount,
            total.gross_amount - total.refunded_amount,
            average_half_up(total.gross_amount, total.orders),
            total.new_customers,
            total.returning_customers,
            total.refunds,
            is_final,
            run,
            now,
        ],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_told_in_whole_sentences() {
        assert_eq!(News::default().sentence(), None);
        let sentence = |orders, cancellations, refunds| News { orders, cancellations, refunds }.sentence();
        assert_eq!(sentence(1, 0, 0).as_deref(), Some("1 order of that day is newer: add --rerun"));
        assert_eq!(
            sentence(13, 0, 1).as_deref(),
            Some("13 orders and 1 refund of that day are newer: add --rerun")
        );
    }
}
