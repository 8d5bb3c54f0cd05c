//! The rows of `daily_statistics`, and the events that tell of them. What was told last is kept in `daily_statistics_told`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use crate::config::FreshnessConfig;
use crate::db::{Db, FromRow, Problems};
use crate::outbox::{self, NewEvent};
use crate::period::{DayRange, day_bounds};
use crate::shop::arrivals::{self, Awaited, Subject};
use crate::shop::day_totals::{DayTotals, day_totals};
use crate::shop::malls::Mall;
use crate::shop::times::{self, Dated};
use crate::shop::undated::{self, Reach};
use crate::values;

/// What the events are about: a day of a mall in a currency, so that a correction cannot overtake what it corrects.
const AGGREGATE: &str = "daily_statistics";
/// What they are.
const EVENT: &str = "daily.statistics";
/// The data that a day's figures are made of.
const AWAITS: [Subject; 3] = [Subject::Order, Subject::Sales, Subject::Refund];

/// The run that stores the figures, with its time, and what data is expected.
pub(super) struct Computation<'c> {
    pub(super) run: i64,
    pub(super) now: DateTime<Utc>,
    pub(super) freshness: &'c FreshnessConfig,
}

/// The figures of a row of `daily_statistics`, apart from its key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Figures {
    orders: i64,
    sales_amount: i64,
    average_order_amount: i64,
    cancelled_orders: i64,
    refunded_amount: i64,
}

impl From<&DayTotals> for Figures {
    fn from(totals: &DayTotals) -> Self {
        Self {
            orders: totals.orders,
            sales_amount: totals.gross_amount,
            average_order_amount: totals.average_order_amount(),
            cancelled_orders: totals.cancelled_orders,
            refunded_amount: totals.refunded_amount,
        }
    }
}

/// What others were told. A row that cannot be read says nothing: they are told again.
#[derive(FromRow)]
struct Told {
    currency: String,
    #[row(flatten)]
    figures: Figures,
    #[row(problems)]
    problems: Problems,
}

/// Those of the malls without final figures of the day.
pub(super) async fn lacking(db: &mut Db, day: NaiveDate, malls: Vec<Mall>) -> anyhow::Result<Vec<Mall>> {
    let sql = "SELECT mall_id FROM daily_statistics WHERE business_day = $1
               GROUP BY mall_id HAVING COUNT(*) = COUNT(*) FILTER (WHERE awaited_subject IS NULL)";
    let complete: Vec<(i64,)> = db.fetch_all(sql, values![day]).await?;
    Ok(malls.into_iter().filter(|mall| !complete.contains(&(mall.id,))).collect())
}

/// The provisional days of these malls, each with its mall.
pub(super) async fn provisional_days<'m>(
    db: &mut Db,
    malls: &'m [Mall],
    window: DayRange,
) -> anyhow::Result<Vec<(NaiveDate, &'m Mall)>> {
    let sql = format!(
        "SELECT DISTINCT business_day, mall_id FROM daily_statistics
         WHERE business_day BETWEEN $1 AND $2 AND awaited_subject IS NOT NULL AND {}
         ORDER BY business_day, mall_id",
        db.is_day("business_day")
    );
    let found: Vec<(NaiveDate, i64)> = db.fetch_all(&sql, values![window.first(), window.last()]).await?;
    let of = |id: i64| malls.iter().find(|mall| mall.id == id);
    Ok(found.into_iter().filter_map(|(day, mall)| Some((day, of(mall)?))).collect())
}

/// What a mall's day still waits for.
pub(super) async fn awaited_of(
    db: &mut Db,
    freshness: &FreshnessConfig,
    mall: &Mall,
    day: NaiveDate,
) -> anyhow::Result<Option<Awaited>> {
    arrivals::awaited(db, freshness, mall, DayRange::single(day), &AWAITS).await
}

/// Replaces the rows of a mall's day, in the transaction that is open. Others are told of figures that are final and that
/// they have not been told of before. Returns what the figures still wait for.
pub(super) async fn store_mall(
    db: &mut Db,
    computation: &Computation<'_>,
    day: NaiveDate,
    mall: &Mall,
) -> anyhow::Result<Option<Awaited>> {
    times::check(db, mall, &[Dated::ORDERS, Dated::REFUNDS]).await?;
    undated::remove(db, "daily_statistics", "business_day", &[mall.id], Reach::Row).await?;
    // Before the data is read: what comes from here on makes nothing final that it is not in.
    let awaited = awaited_of(db, computation.freshness, mall, day).await?;
    let told = told_figures(db, day, mall).await?;
    let figures = figures(db, day, mall, &told).await?;
    let sql = "DELETE FROM daily_statistics WHERE business_day = $1 AND mall_id = $2";
    db.execute(sql, values![day, mall.id]).await?;
    let mut events = Vec::new();
    for (currency, figures) in &figures {
        insert(db, computation, day, mall, currency, figures, awaited).await?;
        if awaited.is_none() && told.get(currency) != Some(figures) {
            events.push(event(computation, day, mall, currency, figures));
            note_told(db, computation, day, mall, currency, figures).await?;
        }
    }
    outbox::write(db, &events, computation.now).await?;
    Ok(awaited)
}

/// Whether a mall's day has other figures than those that others were told.
pub(super) async fn has_changed(db: &mut Db, day: NaiveDate, mall: &Mall) -> anyhow::Result<bool> {
    let told = told_figures(db, day, mall).await?;
    Ok(figures(db, day, mall, &told).await? != told)
}

/// The figures of a mall's day, by currency. Who was told of sales in a currency has to be told if there were none.
async fn figures(
    db: &mut Db,
    day: NaiveDate,
    mall: &Mall,
    told: &BTreeMap<String, Figures>,
) -> anyhow::Result<BTreeMap<String, Figures>> {
    let totals = day_totals(db, mall, &day_bounds(day, mall.time_zone()?)).await?;
    let none = |currency: &String| (currency.clone(), Figures::from(&DayTotals::of_none(currency)));
    let mut figures: BTreeMap<String, Figures> = told.keys().map(none).collect();
    figures.extend(totals.iter().map(|totals| (totals.currency.clone(), Figures::from(totals))));
    Ok(figures)
}

/// What others were told last of a mall's day, by currency.
async fn told_figures(db: &mut Db, day: NaiveDate, mall: &Mall) -> anyhow::Result<BTreeMap<String, Figures>> {
    let sql = "SELECT currency, orders, sales_amount, average_order_amount, cancelled_orders, refunded_amount
               FROM daily_statistics_told WHERE business_day = $1 AND mall_id = $2";
    let told: Vec<Told> = db.fetch_all(sql, values![day, mall.id]).await?;
    let readable = told.into_iter().filter(|told| told.problems.is_empty());
    Ok(readable.map(|told| (told.currency, told.figures)).collect())
}

/// Notes what others are told of a mall's day.
async fn note_told(
    db: &mut Db,
    computation: &Computation<'_>,
    day: NaiveDate,
    mall: &Mall,
    currency: &str,
    figures: &Figures,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO daily_statistics_told (business_day, mall_id, currency, orders, sales_amount, average_order_amount,
             cancelled_orders, refunded_amount, told_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (business_day, mall_id, currency) DO UPDATE
         SET orders = excluded.orders, sales_amount = excluded.sales_amount,
             average_order_amount = excluded.average_order_amount, cancelled_orders = excluded.cancelled_orders,
             refunded_amount = excluded.refunded_amount, told_at = excluded.told_at",
        values![
            day,
            mall.id,
            currency,
            figures.orders,
            figures.sales_amount,
            figures.average_order_amount,
            figures.cancelled_orders,
            figures.refunded_amount,
            computation.now,
        ],
    )
    .await?;
    Ok(())
}

async fn insert(
    db: &mut Db,
    computation: &Computation<'_>,
    day: NaiveDate,
    mall: &Mall,
    currency: &str,
    figures: &Figures,
    awaited: Option<Awaited>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO daily_statistics (business_day, mall_id, currency, orders, sales_amount, average_order_amount,
             cancelled_orders, refunded_amount, awaited_subject, execution_id, computed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        values![
            day,
            mall.id,
            currency,
            figures.orders,
            figures.sales_amount,
            figures.average_order_amount,
            figures.cancelled_orders,
            figures.refunded_amount,
            awaited.map(|awaited| awaited.subject.word()),
            computation.run,
            computation.now,
        ],
    )
    .await?;
    Ok(())
}

/// The event that tells of a row, in the names of its columns.
fn event(
    computation: &Computation<'_>,
    day: NaiveDate,
    mall: &Mall,
    currency: &str,
    figures: &Figures,
) -> NewEvent {
    NewEvent {
        aggregate_type: AGGREGATE,
        aggregate_id: format!("{}/{day}/{currency}", mall.code),
        event_type: EVENT,
        payload: json!({
            "business_day": day,
            "mall": mall.code,
            "time_zone": mall.time_zone,
            "currency": currency,
            "orders": figures.orders,
            "sales_amount": figures.sales_amount,
            "average_order_amount": figures.average_order_amount,
            "cancelled_orders": figures.cancelled_orders,
            "refunded_amount": figures.refunded_amount,
        }),
        occurred_at: computation.now,
    }
}
