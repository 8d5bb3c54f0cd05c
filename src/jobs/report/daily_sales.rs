//! `report daily-sales`: what each mall sold on a business day.
//!
//! Runs every night for the last finished day of each mall. A sale belongs to the day it was paid, a cancellation
//! and a refund to the day they happened, whatever day the order is from; the day is the mall's own, in its time
//! zone. The figures are stored, and what is shown or written always comes from the stored ones.

mod document;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::failure::Failure;
use crate::jobs::malls::{Mall, selected_malls};
use crate::money::average_half_up;
use crate::period::{DateArgs, DayBounds, DayRange, day_bounds, last_finished_day};
use crate::runner::{Exclusion, Instance, Job, JobSpec, Run, Standing, minutes};
use crate::severity::Severity;
use crate::values;

use super::publication::PublicationArgs;

const TOTALS: &str = include_str!("daily_sales/totals.sql");
const BY_PRODUCT: &str = include_str!("daily_sales/by_product.sql");
const BY_PAYMENT_METHOD: &str = include_str!("daily_sales/by_payment_method.sql");

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
        let days = self.days(cx, &malls)?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to report (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        Ok(days.into_iter().map(|day| self.instance(day, &malls)).collect())
    }

    async fn standing(&self, cx: &Context, db: &mut Db, instance: &Instance) -> anyhow::Result<Standing> {
        let day = day_of(instance)?;
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
        let day = day_of(instance)?;
        let malls = self.malls_to_compute(run, day).await?;
        let computed = replace_day(run, day, malls).await?;
        let mut sentence = format!("reported {computed} {}", if computed == 1 { "mall" } else { "malls" });
        let begun = selected_malls(run.db, &self.mall).await?;
        let over = self.malls_of(run.cx, run.db, day).await?;
        let left_out: Vec<String> = begun
            .iter()
            .filter(|mall| !over.iter().any(|over| over.id == mall.id))
            .map(|mall| mall.code.clone())
            .collect();
        if !left_out.is_empty() {
            sentence.push_str(&format!(", not over yet: {}", left_out.join(", ")));
        }
        run.summarise(sentence);
        Ok(())
    }

    async fn deliver(&self, cx: &Context, db: &mut Db, completed: &[Instance]) -> anyhow::Result<()> {
        if self.publication.formats(cx).is_empty() {
            return Ok(());
        }
        let days = completed.iter().map(day_of).collect::<anyhow::Result<BTreeSet<_>>>()?;
        let malls = selected_malls(db, &self.mall).await?;
        let figures = document::Figures::load(db, &days, &malls).await?;
        let locale = self.publication.locale(cx);
        self.publication.publish(
            cx,
            figures.computed_at(cx.now()),
            |extent| document::document(&figures, cx.time_zone(), locale, extent),
            || document::flat_table(&figures, locale),
        )
    }
}

// ---------------------------------------------------------------- which days and malls

impl Args {
    /// The days asked for; by default the last finished day of each mall, which may be two different dates.
    fn days(&self, cx: &Context, malls: &[Mall]) -> anyhow::Result<BTreeSet<NaiveDate>> {
        let now = cx.now();
        let zone_of = |mall: &Mall| mall.time_zone().unwrap_or(cx.time_zone());
        if !self.dates.is_given() {
            return Ok(malls.iter().map(|mall| last_finished_day(now, zone_of(mall))).collect());
        }
        let yesterday = DayRange::single(last_finished_day(now, cx.time_zone()));
        let range =
            self.dates.resolve(cx.today(), yesterday).map_err(|error| Failure::usage(error.to_string()))?;
        let last = range.last();
        let has_begun = |mall: &&Mall| day_bounds(last, zone_of(mall)).start <= now;
        let is_over = |mall: &&Mall| day_bounds(last, zone_of(mall)).end <= now;
        if !malls.is_empty() && !malls.iter().any(|mall| has_begun(&mall)) {
            return Err(Failure::usage(format!("{last} has not begun yet")).into());
        }
        if !malls.is_empty() && !self.so_far && !malls.iter().any(|mall| is_over(&mall)) {
            return Err(Failure::usage(format!("{last} is not over yet"))
                .hint("add --so-far for provisional figures")
                .into());
        }
        Ok(range.iter().collect())
    }

    fn instance(&self, day: NaiveDate, malls: &[Mall]) -> Instance {
        let mut arguments: Vec<String> = ["report", "daily-sales", "--date"]
            .into_iter()
            .map(str::to_owned)
            .chain([day.to_string()])
            .collect();
        let mut key = day.to_string();
        if !self.mall.is_empty() {
            // By their codes, however they were asked for: the same malls are the same instance.
            let malls = malls.iter().map(|mall| mall.code.as_str()).collect::<Vec<_>>().join(",");
            key = format!("{day} mall={malls}");
            arguments.extend(["--mall".to_owned(), malls]);
        }
        if self.so_far {
            arguments.push("--so-far".to_owned());
        }
        // Two runs of one day write the same rows, whatever malls they name.
        Instance { key, exclusion: day.to_string(), arguments }
    }

    /// The malls whose day can be reported on: it is over, or has begun and provisional figures are wanted.
    async fn malls_of(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        let now = cx.now();
        let mut malls = selected_malls(db, &self.mall).await?;
        malls.retain(|mall| {
            // A mall with a time zone that does not exist fails by itself, where it is one item among others.
            let Ok(time_zone) = mall.time_zone() else { return true };
            let bounds = day_bounds(day, time_zone);
            bounds.end <= now || (self.so_far && bounds.start <= now)
        });
        Ok(malls)
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

/// The day is the first word of the key: it was put there by [`Args::instance`].
fn day_of(instance: &Instance) -> anyhow::Result<NaiveDate> {
    let day = instance.key.split(' ').next().unwrap_or_default();
    day.parse().with_context(|| format!("`{}` does not begin with a day", instance.key))
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

/// A mall that could not be computed; the others of its day still are.
#[derive(Debug, thiserror::Error)]
#[error("failed to compute mall `{mall}`")]
struct MallFailure {
    mall: String,
    #[source]
    cause: anyhow::Error,
}

/// Replaces the day's figures of all malls in one transaction, so that a reader never sees half a day. A mall
/// that fails is left out, noted, and the transaction begins again without it. Gives how many were computed.
async fn replace_day(run: &mut Run<'_>, day: NaiveDate, malls: Vec<Mall>) -> anyhow::Result<usize> {
    run.read(malls.len() as u64);
    let mut malls = usable_malls(run, malls);
    let (id, now) = (run.id(), run.cx.now());
    loop {
        let committed = run
            .chunk(None::<&str>, async |db| {
                for mall in &malls {
                    let replaced = replace_mall(db, id, day, mall, now).await;
                    replaced.map_err(|cause| {
                        if is_fault_of_database(&cause) {
                            cause
                        } else {
                            MallFailure { mall: mall.code.clone(), cause }.into()
                        }
                    })?;
                }
                Ok(())
            })
            .await;
        match committed.map_err(anyhow::Error::downcast::<MallFailure>) {
            Ok(()) => {
                run.written(malls.len() as u64);
                return Ok(malls.len());
            }
            Err(Ok(failure)) => {
                run.fail_item(&failure.mall, "compute", &failure.cause);
                malls.retain(|mall| mall.code != failure.mall);
            }
            Err(Err(error)) => return Err(error),
        }
    }
}

/// The malls whose time zone exists.
fn usable_malls(run: &mut Run<'_>, malls: Vec<Mall>) -> Vec<Mall> {
    let mut usable = Vec::new();
    for mall in malls {
        match mall.time_zone() {
            Ok(_) => usable.push(mall),
            Err(error) => run.fail_item(&mall.code, "select", &error),
        }
    }
    usable
}

/// Whether an error is the database's and not a mall's: it would hit every other mall too.
fn is_fault_of_database(error: &anyhow::Error) -> bool {
    use crate::db::{DbError, DbErrorKind};
    error.downcast_ref::<DbError>().is_some_and(|error| error.kind() != DbErrorKind::Other)
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
