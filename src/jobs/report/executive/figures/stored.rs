//! The rows of other jobs that the figures of a report's malls are made of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use super::CHART_DAYS;
use super::kinds_of_data::Sources;
use super::unreadable::UnreadableByTable;
use crate::db::{Db, FromRow, Problems, StoredTime};
use crate::jobs::report::awaited::AwaitedColumns;
use crate::period::day_bounds;
use crate::shop::malls::Mall;
use crate::values;

/// A mall's day in one currency, as `report daily-sales` stored it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct SalesRow {
    pub(super) business_day: NaiveDate,
    pub(super) mall_id: i64,
    pub(super) currency: String,
    pub(super) orders: i64,
    pub(super) gross_amount: i64,
    pub(super) net_amount: i64,
    pub(super) cancelled_orders: i64,
    pub(super) new_customers: i64,
    pub(super) computed_at: DateTime<Utc>,
    pub(super) outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    pub(super) problems: Problems,
    #[row(flatten)]
    pub(super) awaited: AwaitedColumns,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct CancellationRow {
    pub(super) business_day: NaiveDate,
    pub(super) mall_id: i64,
    pub(super) currency: String,
    pub(super) cancelled_amount: i64,
    pub(super) computed_at: DateTime<Utc>,
    pub(super) outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    pub(super) problems: Problems,
    #[row(flatten)]
    pub(super) awaited: AwaitedColumns,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct SnapshotRow {
    pub(super) snapshot_day: NaiveDate,
    pub(super) mall_id: i64,
    pub(super) subject: String,
    pub(super) status: String,
    pub(super) quantity: i64,
    pub(super) is_reconstructed: bool,
    pub(super) taken_at: DateTime<Utc>,
    #[row(problems)]
    pub(super) problems: Problems,
}

/// The stored rows of the report's malls.
pub(super) struct Stored {
    /// The malls with their time zones.
    pub(super) malls: BTreeMap<i64, Tz>,
    /// The business time zone, to which the days of snapshots belong.
    pub(super) time_zone: Tz,
    pub(super) sales: Vec<SalesRow>,
    /// The first reported day of each mall: before it nothing is missing.
    pub(super) first_days: BTreeMap<i64, NaiveDate>,
    pub(super) cancellations: Vec<CancellationRow>,
    pub(super) snapshots: Vec<SnapshotRow>,
    pub(super) unreadable: UnreadableByTable,
    /// The earlier days whose figures were reported and are not final: they are nothing to compare with.
    not_final: BTreeSet<(NaiveDate, i64)>,
    /// When each mall opened: it was added here, or had its first order.
    pub(super) opened: BTreeMap<i64, DateTime<Utc>>,
    pub(super) sources: Sources,
}

impl Stored {
    pub(super) async fn load(
        db: &mut Db,
        day: NaiveDate,
        malls: &[Mall],
        time_zone: Tz,
    ) -> anyhow::Result<Self> {
        let zone = |mall: &Mall| mall.time_zone().unwrap_or(time_zone);
        let malls: BTreeMap<i64, Tz> = malls.iter().map(|mall| (mall.id, zone(mall))).collect();
        let first = day.checked_sub_days(Days::new(CHART_DAYS - 1)).unwrap_or(day);
        let mut sales: Vec<SalesRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, orders, gross_amount, net_amount, cancelled_orders,
                        new_customers, computed_at, outdated_at, awaited_subject, awaited_since, awaited_day, awaited_run
                 FROM daily_sales
                 WHERE business_day BETWEEN $1 AND $2
                   AND (is_final OR (business_day = $2 AND awaited_subject IS NOT NULL))
                 ORDER BY business_day, mall_id, currency",
                values![first, day],
            )
            .await?;
        let first_days: Vec<(i64, NaiveDate)> = db
            .fetch_all(
                &format!(
                    "SELECT mall_id, MIN(business_day) FROM daily_sales WHERE is_final AND {} GROUP BY mall_id",
                    db.is_day("business_day")
                ),
                values![],
            )
            .await?;
        let mut cancellations: Vec<CancellationRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, cancelled_amount, computed_at, outdated_at,
                        awaited_subject, awaited_since, awaited_day, awaited_run
                 FROM daily_cancellations
                 WHERE business_day BETWEEN $1 AND $2 AND (business_day = $2 OR awaited_subject IS NULL)",
                values![first, day],
            )
            .await?;
        let mut snapshots: Vec<SnapshotRow> = db
            .fetch_all(
                "SELECT snapshot_day, mall_id, subject, status, quantity, is_reconstructed, taken_at
                 FROM statistics_snapshots WHERE snapshot_day BETWEEN $1 AND $2",
                values![first, day.checked_add_days(Days::new(1)).unwrap_or(day)],
            )
            .await?;
        let not_final: Vec<(NaiveDate, i64)> = db
            .fetch_all(
                &format!(
                    "SELECT business_day, mall_id FROM daily_sales
                     WHERE business_day BETWEEN $1 AND $2 AND NOT is_final AND {is_day}
                     UNION
                     SELECT business_day, mall_id FROM daily_cancellations
                     WHERE business_day BETWEEN $1 AND $2 AND awaited_subject IS NOT NULL AND {is_day}",
                    is_day = db.is_day("business_day")
                ),
                values![first, day.pred_opt().unwrap_or(day)],
            )
            .await?;
        let mut unreadable = UnreadableByTable::default();
        for row in &sales {
            unreadable.sales.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            unreadable.sales.note_row(row.mall_id, row.business_day, "business_day", &row.awaited.problems);
        }
        for row in &cancellations {
            unreadable.cancellations.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            unreadable.cancellations.note_row(
                row.mall_id,
                row.business_day,
                "business_day",
                &row.awaited.problems,
            );
        }
        for row in &snapshots {
            let day = row.snapshot_day.pred_opt().unwrap_or(row.snapshot_day);
            unreadable.snapshots.note_row(row.mall_id, day, "snapshot_day", &row.problems);
        }
        unreadable.sales.note_without_period(db, "daily_sales", "business_day").await?;
        unreadable.cancellations.note_without_period(db, "daily_cancellations", "business_day").await?;
        unreadable.snapshots.note_without_period(db, "statistics_snapshots", "snapshot_day").await?;
        sales.retain(|row| !unreadable.sales.include(row.mall_id, row.business_day));
        cancellations.retain(|row| !unreadable.cancellations.include(row.mall_id, row.business_day));
        snapshots.retain(|row| {
            let day = row.snapshot_day.pred_opt().unwrap_or(row.snapshot_day);
            !unreadable.snapshots.include(row.mall_id, day)
        });
        let first_days = first_days.into_iter().collect();
        let opened = opened(db, malls.keys().copied()).await?;
        let sources = Sources::find(db, malls.keys().copied()).await?;
        Ok(Self {
            malls,
            time_zone,
            sales,
            first_days,
            cancellations,
            snapshots,
            unreadable,
            not_final: not_final.into_iter().collect(),
            opened,
            sources,
        })
    }

    /// Drops the rows of other malls.
    pub(super) fn retain(&mut self, malls: &[Mall]) {
        self.malls.retain(|id, _| malls.iter().any(|mall| mall.id == *id));
        self.sales.retain(|row| self.malls.contains_key(&row.mall_id));
        self.cancellations.retain(|row| self.malls.contains_key(&row.mall_id));
        self.snapshots.retain(|row| self.malls.contains_key(&row.mall_id));
    }

    pub(super) fn of_day(&self, day: NaiveDate) -> impl Iterator<Item = &SalesRow> {
        self.sales.iter().filter(move |row| row.business_day == day)
    }

    pub(super) fn cancellations_of_day(&self, day: NaiveDate) -> impl Iterator<Item = &CancellationRow> {
        self.cancellations.iter().filter(move |row| row.business_day == day)
    }

    pub(super) fn is_reported(&self, mall: i64, day: NaiveDate) -> bool {
        self.of_day(day).any(|row| row.mall_id == mall)
    }

    /// Whether a mall was not there yet on a day: it had no sales then, and nothing is missing. One whose files are awaited
    /// was reported for the day before it was added, and is missing there until the first has come.
    pub(super) fn is_new(&self, mall: i64, day: NaiveDate) -> bool {
        let zone = self.malls.get(&mall).copied().unwrap_or(self.time_zone);
        self.opened.get(&mall).is_some_and(|opened| *opened >= day_bounds(day, zone).end)
            && !self.is_reported(mall, day)
            && !self.not_final.contains(&(day, mall))
    }

    pub(super) fn currencies(&self, day: NaiveDate) -> BTreeSet<String> {
        self.of_day(day).map(|row| row.currency.clone()).collect()
    }
}

/// When each mall opened. One whose times cannot be read has been there for ever.
async fn opened(
    db: &mut Db,
    malls: impl Iterator<Item = i64>,
) -> anyhow::Result<BTreeMap<i64, DateTime<Utc>>> {
    let mut opened = BTreeMap::new();
    for mall in malls {
        let (added, sold): (StoredTime, Option<StoredTime>) = db
            .fetch_one(
                "SELECT created_at, (SELECT MIN(ordered_at) FROM orders WHERE mall_id = $1) FROM malls WHERE id = $1",
                values![mall],
            )
            .await?;
        let sold = sold.map(|sold| sold.at().unwrap_or(DateTime::UNIX_EPOCH));
        let added = added.at().unwrap_or(DateTime::UNIX_EPOCH);
        opened.insert(mall, sold.map_or(added, |sold| sold.min(added)));
    }
    Ok(opened)
}
