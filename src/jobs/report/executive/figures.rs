//! A day's figures and those they are compared with, from what other jobs stored.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::db::{Db, FromRow, Problems, StoredTime};
use crate::failure::Failure;
use crate::jobs::report::awaited::{AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::daily_sales;
use crate::jobs::report::driver::Report;
use crate::jobs::report::outdated::{OutdatedMall, outdated_malls};
use crate::jobs::report::soundness::{self, Unreadable};
use crate::jobs::report::sources;
use crate::money::average_half_up;
use crate::period::day_bounds;
use crate::runner::history;
use crate::shop::malls::Mall;
use crate::values;
use crate::wording::{command, counted};

/// How many days the chart shows.
pub(super) const CHART_DAYS: u64 = 30;

/// A mall's day in one currency, as `report daily-sales` stored it.
#[derive(Debug, Clone, FromRow)]
struct SalesRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    orders: i64,
    gross_amount: i64,
    net_amount: i64,
    cancelled_orders: i64,
    new_customers: i64,
    computed_at: DateTime<Utc>,
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
}

#[derive(Debug, Clone, FromRow)]
struct CancellationRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    cancelled_amount: i64,
    computed_at: DateTime<Utc>,
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
}

#[derive(Debug, Clone, FromRow)]
struct SnapshotRow {
    snapshot_day: NaiveDate,
    mall_id: i64,
    subject: String,
    status: String,
    quantity: i64,
    is_reconstructed: bool,
    taken_at: DateTime<Utc>,
    #[row(problems)]
    problems: Problems,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    NetSales,
    AverageOrder,
    CancelledAmount,
    Orders,
    CancelledOrders,
    NewCustomers,
    ActiveMembers,
    OpenCarts,
    SoldOutProducts,
}

/// A figure of the day, with those of the day before and the week before if there are any.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) measure: Measure,
    /// The currency of an amount of money.
    pub(super) currency: Option<String>,
    /// `None` if nothing it counts has ever come: that is not the same as none.
    pub(super) value: Option<i64>,
    pub(super) day_before: Option<i64>,
    pub(super) week_before: Option<i64>,
    /// Whether it contains figures of a mall that a later run failed to replace.
    pub(super) is_outdated: bool,
    /// Whether it contains figures of a mall that wait for data.
    pub(super) is_awaiting: bool,
}

/// A mall's row.
#[derive(Debug, Clone)]
pub(super) struct MallFigures {
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) name: String,
    pub(super) currency: String,
    pub(super) orders: i64,
    pub(super) net_amount: i64,
    pub(super) net_before: Option<i64>,
    pub(super) is_outdated: bool,
    /// Whether the mall's figures wait for data.
    pub(super) is_awaiting: bool,
}

/// Everything in the report.
pub struct Figures {
    pub(super) day: NaiveDate,
    pub(super) computed_at: DateTime<Utc>,
    pub(super) list: Vec<Figure>,
    pub(super) malls: Vec<MallFigures>,
    /// The malls that are left out because their sales are not reported: code and name.
    pub(super) missing: Vec<(String, String)>,
    /// The malls with figures of the day that a later run failed to replace.
    pub(super) outdated: Vec<OutdatedMall>,
    /// The malls whose figures of the day wait for data.
    pub(super) awaiting: Vec<AwaitingMall>,
    /// Why a mall or a part of its figures is not in it, if one could not be computed or read.
    pub(super) lacking: Option<Failure>,
    /// The net sales of the last days for each currency; `None` where a mall's day is missing.
    pub(super) charts: BTreeMap<String, Vec<(NaiveDate, Option<i64>)>>,
}

/// What a report is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportScope {
    pub(super) day: NaiveDate,
    /// Whether somebody named the malls.
    pub(super) are_named: bool,
    /// Whether malls whose sales are not reported yet are left out and named.
    pub(super) may_lack_some: bool,
    /// The business time zone, to which the days of snapshots belong.
    pub(super) time_zone: Tz,
    pub(super) today: NaiveDate,
}

/// A mall, or a part of its figures, that the report lacks because it could not be computed or read.
pub(super) struct MissingPart {
    pub(super) mall: i64,
    /// What failed: the mall's code, with the table if it is only a part.
    pub(super) key: String,
    pub(super) is_part: bool,
    pub(super) failure: Failure,
}

/// The figures, with what they lack.
pub(super) struct Loaded {
    /// `None` if no mall remains.
    pub(super) figures: Option<Figures>,
    pub(super) lacking: Vec<MissingPart>,
    /// What is not compared with, and why.
    pub(super) warnings: Vec<String>,
}

/// What cannot be read of the malls' rows of a day in any of the tables.
pub(super) async fn unreadable(
    db: &mut Db,
    scope: ReportScope,
    malls: &[Mall],
) -> anyhow::Result<Unreadable> {
    let UnreadableByTable { mut sales, cancellations, snapshots } =
        Stored::load(db, scope.day, malls, scope.time_zone).await?.unreadable;
    sales.append(cancellations);
    sales.append(snapshots);
    Ok(sales)
}

impl Loaded {
    /// Loads the figures of a day for malls. One whose sales failed or cannot be read is left out and named. If
    /// `may_lack_some`, so are malls whose sales are not reported yet; otherwise, or if no mall remains, these are an error.
    pub(super) async fn load(db: &mut Db, scope: ReportScope, malls: &[Mall]) -> anyhow::Result<Self> {
        let ReportScope { day, are_named, may_lack_some, time_zone, .. } = scope;
        let mut stored = Stored::load(db, day, malls, time_zone).await?;
        let (mut reported, mut not_reported, mut missing, mut lacking) = (vec![], vec![], vec![], vec![]);
        for mall in malls {
            let is_reported = stored.is_reported(mall.id, day);
            let failure = match stored.unreadable.sales.of(mall.id, day) {
                Some(problem) => Some(soundness::failure("daily-sales", mall, day, problem)),
                None if is_reported => None,
                None => sales_failure(db, day, mall).await?,
            };
            match failure {
                Some(failure) => {
                    missing.push(mall.clone());
                    lacking.push(MissingPart {
                        mall: mall.id,
                        key: mall.code.clone(),
                        is_part: false,
                        failure,
                    });
                }
                None if is_reported => reported.push(mall.clone()),
                None => not_reported.push(mall.clone()),
            }
        }
        if !reported.is_empty() && !are_named {
            // Nobody misses the sales of a mall that was not there yet.
            not_reported.retain(|mall: &Mall| !stored.is_new(mall.id, day));
        }
        if !not_reported.is_empty() && (reported.is_empty() || !may_lack_some) {
            return Err(not_yet(day, &not_reported).into());
        }
        missing.extend(not_reported);
        stored.retain(&reported);
        for mall in &reported {
            lacking.extend(stored.unreadable.parts_of(mall, &scope));
        }
        let warnings = stored.unreadable.warnings(day, &reported);
        let figures = (!reported.is_empty()).then(|| Figures::of(&stored, day, &reported, missing));
        Ok(Self { figures, lacking, warnings })
    }
}

impl Figures {
    /// Computes them from what is stored of these malls.
    fn of(stored: &Stored, day: NaiveDate, malls: &[Mall], missing: Vec<Mall>) -> Self {
        let before = days_before(day);
        let compare = |measure, currency: Option<&str>, of: &dyn Fn(NaiveDate) -> Option<i64>| {
            let has_source = stored.sources.have(measure);
            let is_awaiting = stored.is_any(day, measure, currency, |_, awaited| awaited);
            // What is not final is not compared: a day without data has not sold 100 % less.
            let is_comparable = has_source && !is_awaiting;
            let [day_before, week_before] = before.map(|day| day.filter(|_| is_comparable).and_then(of));
            of(day).map(|value| Figure {
                measure,
                currency: currency.map(str::to_owned),
                value: has_source.then_some(value),
                day_before,
                week_before,
                is_outdated: stored.is_any(day, measure, currency, |outdated, _| outdated),
                is_awaiting,
            })
        };
        let mut figures = Vec::new();
        for currency in &stored.currencies(day) {
            let money = Some(currency.as_str());
            figures.extend(compare(Measure::NetSales, money, &|at| {
                stored.sum(at, day, money, |row| row.net_amount)
            }));
            figures.extend(compare(Measure::AverageOrder, money, &|at| {
                let gross = stored.sum(at, day, money, |row| row.gross_amount)?;
                Some(average_half_up(gross, stored.sum(at, day, money, |row| row.orders)?))
            }));
            figures.extend(compare(Measure::CancelledAmount, money, &|at| {
                stored.cancelled_amount(at, currency)
            }));
        }
        figures.extend(compare(Measure::Orders, None, &|at| stored.sum(at, day, None, |row| row.orders)));
        figures.extend(compare(Measure::CancelledOrders, None, &|at| {
            stored.sum(at, day, None, |row| row.cancelled_orders)
        }));
        figures.extend(compare(Measure::NewCustomers, None, &|at| {
            stored.sum(at, day, None, |row| row.new_customers)
        }));
        let states = [
            (Measure::ActiveMembers, "MEMBER", "ACTIVE"),
            (Measure::OpenCarts, "CART", "OPEN"),
            (Measure::SoldOutProducts, "PRODUCT", "SOLD_OUT"),
        ];
        for (measure, subject, status) in states {
            figures.extend(compare(measure, None, &|at| stored.snapshot(at, subject, status)));
        }
        Self {
            day,
            computed_at: stored.computed_at(day),
            list: figures,
            malls: stored.malls(day, malls),
            missing: missing.into_iter().map(|mall| (mall.code, mall.name)).collect(),
            outdated: stored.outdated(day, malls),
            awaiting: stored.awaiting(day, malls),
            lacking: None,
            charts: stored.charts(day),
        }
    }

    /// How many malls are in it.
    pub(super) fn reported_malls(&self) -> usize {
        let malls: BTreeSet<&str> = self.malls.iter().map(|mall| mall.code.as_str()).collect();
        malls.len()
    }

    /// "reported 128 orders of 2 malls, provisional: osaka, not included: bangkok"
    pub(super) fn sentence(&self) -> String {
        let orders = self.list.iter().find(|figure| figure.measure == Measure::Orders);
        let orders = orders.and_then(|figure| figure.value).unwrap_or(0);
        let orders = counted(orders, "order", "orders");
        let mut sentence =
            format!("reported {orders} of {}", counted(self.reported_malls(), "mall", "malls"));
        let awaiting: BTreeSet<&str> =
            self.malls.iter().filter(|mall| mall.is_awaiting).map(|mall| mall.code.as_str()).collect();
        if !awaiting.is_empty() {
            let codes: Vec<&str> = awaiting.into_iter().collect();
            sentence.push_str(&format!(", provisional: {}", codes.join(", ")));
        }
        if !self.missing.is_empty() {
            let codes: Vec<&str> = self.missing.iter().map(|(code, _)| code.as_str()).collect();
            sentence.push_str(&format!(", not included: {}", codes.join(", ")));
        }
        sentence
    }
}

/// A sum; `None` if it does not fit: no shop sells that much, and another sum would be a lie.
fn sum(mut amounts: impl Iterator<Item = i64>) -> Option<i64> {
    amounts.try_fold(0_i64, i64::checked_add)
}

/// The stored rows of the report's malls.
struct Stored {
    /// The malls with their time zones.
    malls: BTreeMap<i64, Tz>,
    /// The business time zone, to which the days of snapshots belong.
    time_zone: Tz,
    sales: Vec<SalesRow>,
    /// The first reported day of each mall: before it nothing is missing.
    first_days: BTreeMap<i64, NaiveDate>,
    cancellations: Vec<CancellationRow>,
    snapshots: Vec<SnapshotRow>,
    unreadable: UnreadableByTable,
    /// When each mall opened: it was added here, or had its first order.
    opened: BTreeMap<i64, DateTime<Utc>>,
    sources: Sources,
}

/// What cannot be read of each table, and is left out with all rows of the same mall and day.
#[derive(Default)]
struct UnreadableByTable {
    sales: Unreadable,
    cancellations: Unreadable,
    /// By the day whose end they show.
    snapshots: Unreadable,
}

impl UnreadableByTable {
    /// What the day's figures of a mall that is reported lack: they are not shown without it.
    fn parts_of(&self, mall: &Mall, scope: &ReportScope) -> Vec<MissingPart> {
        let day = scope.day;
        let part = |table: &str, failure| {
            let key = format!("{}/{table}", mall.code);
            MissingPart { mall: mall.id, key, is_part: true, failure }
        };
        let cancellations = self.cancellations.of(mall.id, day).map(|problem| {
            part("daily_cancellations", soundness::failure("daily-cancellations", mall, day, problem))
        });
        let snapshot = self.snapshots.of(mall.id, day).map(|problem| {
            part("statistics_snapshots", snapshot_failure(mall, scope, problem, &self.snapshots))
        });
        cancellations.into_iter().chain(snapshot).collect()
    }

    /// What is not compared with, each once.
    fn warnings(&self, day: NaiveDate, malls: &[Mall]) -> Vec<String> {
        let before = days_before(day);
        let is_before = |at: NaiveDate| before.contains(&Some(at));
        let of_sales = self.sales.warnings(malls, |at| at != day);
        let of_others = [&self.cancellations, &self.snapshots];
        let of_others = of_others.into_iter().flat_map(|found| found.warnings(malls, is_before));
        let warnings: BTreeSet<String> = of_sales.chain(of_others).collect();
        warnings.into_iter().collect()
    }
}

/// Which kinds of data have ever come for one of the malls.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of data")]
struct Sources {
    customers: bool,
    members: bool,
    carts: bool,
    products: bool,
}

impl Sources {
    async fn find(db: &mut Db, malls: impl Iterator<Item = i64>) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for mall in malls {
            let (members, carts, products): (bool, bool, bool) = db
                .fetch_one(
                    "SELECT EXISTS (SELECT 1 FROM members WHERE mall_id = $1)
                                OR EXISTS (SELECT 1 FROM data_arrivals WHERE mall_id = $1 AND subject = 'MEMBER'),
                            EXISTS (SELECT 1 FROM carts WHERE mall_id = $1),
                            EXISTS (SELECT 1 FROM products WHERE mall_id = $1)",
                    values![mall],
                )
                .await?;
            found.customers |= sources::has_customers(db, mall).await?;
            found.members |= members;
            found.carts |= carts;
            found.products |= products;
        }
        Ok(found)
    }

    fn have(&self, measure: Measure) -> bool {
        match measure {
            Measure::NewCustomers => self.customers,
            Measure::ActiveMembers => self.members,
            Measure::OpenCarts => self.carts,
            Measure::SoldOutProducts => self.products,
            Measure::NetSales
            | Measure::AverageOrder
            | Measure::CancelledAmount
            | Measure::Orders
            | Measure::CancelledOrders => true,
        }
    }
}

impl Stored {
    async fn load(db: &mut Db, day: NaiveDate, malls: &[Mall], time_zone: Tz) -> anyhow::Result<Self> {
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
            opened,
            sources,
        })
    }

    /// Drops the rows of other malls.
    fn retain(&mut self, malls: &[Mall]) {
        self.malls.retain(|id, _| malls.iter().any(|mall| mall.id == *id));
        self.sales.retain(|row| self.malls.contains_key(&row.mall_id));
        self.cancellations.retain(|row| self.malls.contains_key(&row.mall_id));
        self.snapshots.retain(|row| self.malls.contains_key(&row.mall_id));
    }

    fn of_day(&self, day: NaiveDate) -> impl Iterator<Item = &SalesRow> {
        self.sales.iter().filter(move |row| row.business_day == day)
    }

    fn is_reported(&self, mall: i64, day: NaiveDate) -> bool {
        self.of_day(day).any(|row| row.mall_id == mall)
    }

    /// Whether a mall was not there yet on a day: it had no sales then, and nothing is missing.
    fn is_new(&self, mall: i64, day: NaiveDate) -> bool {
        let zone = self.malls.get(&mall).copied().unwrap_or(self.time_zone);
        self.opened.get(&mall).is_some_and(|opened| *opened >= day_bounds(day, zone).end)
            && !self.is_reported(mall, day)
    }

    fn currencies(&self, day: NaiveDate) -> BTreeSet<String> {
        self.of_day(day).map(|row| row.currency.clone()).collect()
    }

    /// A sum of one day, in one currency or of all counts; `None` unless each mall of the report's day is included.
    fn sum(
        &self,
        at: NaiveDate,
        day: NaiveDate,
        currency: Option<&str>,
        value: impl Fn(&SalesRow) -> i64,
    ) -> Option<i64> {
        let is_meant = |row: &&SalesRow| currency.is_none_or(|currency| row.currency == currency);
        let is_there = |mall| self.is_reported(mall, at) || self.is_new(mall, at);
        // With a time before all of them there is nothing to compare.
        let is_comparable = self.of_day(day).filter(is_meant).all(|row| is_there(row.mall_id))
            && self.of_day(day).filter(is_meant).any(|row| self.is_reported(row.mall_id, at));
        is_comparable.then(|| sum(self.of_day(at).filter(is_meant).map(value))).flatten()
    }

    fn cancelled_amount(&self, at: NaiveDate, currency: &str) -> Option<i64> {
        let of_day = || self.cancellations_of_day(at);
        let is_there = |mall: &i64| of_day().any(|row| row.mall_id == *mall) || self.is_new(*mall, at);
        let is_whole = self.malls.keys().all(is_there) && of_day().next().is_some();
        is_whole
            .then(|| sum(of_day().filter(|row| row.currency == currency).map(|row| row.cancelled_amount)))
            .flatten()
    }

    /// The state at the end of a day: the snapshot of the next morning. `None` if that was taken before the day was over in
    /// one of the malls.
    fn snapshot(&self, at: NaiveDate, subject: &str, status: &str) -> Option<i64> {
        let morning = at.checked_add_days(Days::new(1))?;
        let rows = || {
            self.snapshots
                .iter()
                .filter(|row| row.snapshot_day == morning && row.subject == subject && row.status == status)
        };
        // A reconstruction is made later, but for the beginning of its day.
        let instant_of = |row: &SnapshotRow| {
            if row.is_reconstructed { day_bounds(morning, self.time_zone).start } else { row.taken_at }
        };
        let is_whole = self.malls.iter().all(|(mall, zone)| {
            let end = day_bounds(at, *zone).end;
            self.is_new(*mall, at) || rows().any(|row| row.mall_id == *mall && instant_of(row) >= end)
        });
        (is_whole && rows().next().is_some()).then(|| sum(rows().map(|row| row.quantity))).flatten()
    }

    fn cancellations_of_day(&self, day: NaiveDate) -> impl Iterator<Item = &CancellationRow> {
        self.cancellations.iter().filter(move |row| row.business_day == day)
    }

    /// Whether some of a figure comes from rows of which this is so: that a later run failed to replace, or that wait for
    /// data. A snapshot is neither: it is taken of all malls at once.
    fn is_any(
        &self,
        day: NaiveDate,
        measure: Measure,
        currency: Option<&str>,
        is_so: impl Fn(bool, bool) -> bool,
    ) -> bool {
        let is_meant = |of: &str| currency.is_none_or(|currency| of == currency);
        match measure {
            Measure::CancelledAmount => self.cancellations_of_day(day).any(|row| {
                is_meant(&row.currency) && is_so(row.outdated_at.is_some(), row.awaited.is_awaiting())
            }),
            Measure::ActiveMembers | Measure::OpenCarts | Measure::SoldOutProducts => false,
            Measure::NetSales
            | Measure::AverageOrder
            | Measure::Orders
            | Measure::CancelledOrders
            | Measure::NewCustomers => self.of_day(day).any(|row| {
                is_meant(&row.currency) && is_so(row.outdated_at.is_some(), row.awaited.is_awaiting())
            }),
        }
    }

    fn awaiting(&self, day: NaiveDate, malls: &[Mall]) -> Vec<AwaitingMall> {
        let sales = self.of_day(day).map(|row| (row.mall_id, &row.awaited));
        let rows: Vec<(i64, &AwaitedColumns)> =
            sales.chain(self.cancellations_of_day(day).map(|row| (row.mall_id, &row.awaited))).collect();
        awaiting_malls(malls.iter().flat_map(|mall| {
            let of_mall = rows.iter().filter(|(id, _)| *id == mall.id);
            of_mall.map(|(id, awaited)| (*id, mall.name.as_str(), *awaited))
        }))
    }

    fn outdated(&self, day: NaiveDate, malls: &[Mall]) -> Vec<OutdatedMall> {
        let sales = self.of_day(day).map(|row| (row.mall_id, row.computed_at, row.outdated_at));
        let cancellations =
            self.cancellations_of_day(day).map(|row| (row.mall_id, row.computed_at, row.outdated_at));
        let older: Vec<(i64, DateTime<Utc>)> = sales
            .chain(cancellations)
            .filter_map(|(mall, computed_at, outdated_at)| outdated_at.map(|_| (mall, computed_at)))
            .collect();
        outdated_malls(malls.iter().flat_map(|mall| {
            let of_mall = older.iter().filter(|(id, _)| *id == mall.id);
            of_mall.map(|(id, computed_at)| (*id, mall.name.as_str(), *computed_at))
        }))
    }

    fn computed_at(&self, day: NaiveDate) -> DateTime<Utc> {
        self.of_day(day).map(|row| row.computed_at).max().unwrap_or(DateTime::UNIX_EPOCH)
    }

    fn malls(&self, day: NaiveDate, malls: &[Mall]) -> Vec<MallFigures> {
        let before = day.pred_opt();
        let figures = |row: &SalesRow| {
            let mall = malls.iter().find(|mall| mall.id == row.mall_id)?;
            let is_awaiting = row.awaited.is_awaiting();
            let is_comparable = |before: &NaiveDate| !is_awaiting && self.is_reported(mall.id, *before);
            let net_before = before.filter(is_comparable).and_then(|before| {
                let then = self
                    .of_day(before)
                    .filter(|then| then.mall_id == mall.id && then.currency == row.currency);
                sum(then.map(|then| then.net_amount))
            });
            Some(MallFigures {
                id: mall.id,
                code: mall.code.clone(),
                name: mall.name.clone(),
                currency: row.currency.clone(),
                orders: row.orders,
                net_amount: row.net_amount,
                net_before,
                is_outdated: row.outdated_at.is_some(),
                is_awaiting,
            })
        };
        let mut shown: Vec<MallFigures> = self.of_day(day).filter_map(figures).collect();
        // Stable: within a mall they stay as the database sorted them.
        shown.sort_by_key(|shown| malls.iter().position(|mall| mall.code == shown.code));
        shown
    }

    fn charts(&self, day: NaiveDate) -> BTreeMap<String, Vec<(NaiveDate, Option<i64>)>> {
        let days: Vec<NaiveDate> =
            (0..CHART_DAYS).rev().filter_map(|back| day.checked_sub_days(Days::new(back))).collect();
        let chart = |currency: &str| {
            let malls: BTreeSet<i64> =
                self.of_day(day).filter(|row| row.currency == currency).map(|row| row.mall_id).collect();
            let net_of = |at: NaiveDate| {
                let existing: Vec<&i64> = malls
                    .iter()
                    .filter(|mall| self.first_days.get(mall).is_some_and(|first| *first <= at))
                    .collect();
                let is_whole =
                    !existing.is_empty() && existing.iter().all(|mall| self.is_reported(**mall, at));
                let net = self.of_day(at).filter(|row| row.currency == currency).map(|row| row.net_amount);
                is_whole.then(|| sum(net)).flatten()
            };
            days.iter().map(|at| (*at, net_of(*at))).collect()
        };
        self.currencies(day).iter().map(|currency| (currency.clone(), chart(currency))).collect()
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

/// The days that a day is compared with: the one before, and the same of the week before.
fn days_before(day: NaiveDate) -> [Option<NaiveDate>; 2] {
    [day.checked_sub_days(Days::new(1)), day.checked_sub_days(Days::new(7))]
}

/// Why a mall has no sales of a day, if its report failed for it.
async fn sales_failure(db: &mut Db, day: NaiveDate, mall: &Mall) -> anyhow::Result<Option<Failure>> {
    let job = <daily_sales::Args as Report>::SPEC.name;
    let Some((run, message)) = history::open_item_error(db, job, &day.to_string(), &mall.code).await? else {
        return Ok(None);
    };
    let failure =
        Failure::failed(format!("{job} of {day} failed for `{}` in run {run}: {message}", mall.code));
    Ok(Some(failure.hint(format!("correct that, then {}", command(&["runs", "retry", &run.to_string()])))))
}

/// Today's snapshot can be taken again, and that removes rows of no day; an older one cannot.
fn snapshot_failure(mall: &Mall, scope: &ReportScope, problem: &str, snapshots: &Unreadable) -> Failure {
    let morning = scope.day.succ_opt().unwrap_or(scope.day);
    let failure = Failure::bad_input(format!(
        "the snapshot of mall `{}` for {morning} cannot be read: {problem}",
        mall.code
    ));
    failure.hint(if morning == scope.today || snapshots.has_rows_without_period(mall.id) {
        command(&["stats", "refresh", "--rerun"])
    } else {
        format!("correct that row in the database, by its `mall_id` {}, or delete it", mall.id)
    })
}

/// A failure instead of a zero, which would look like a real figure.
fn not_yet(day: NaiveDate, missing: &[Mall]) -> Failure {
    let codes: Vec<&str> = missing.iter().map(|mall| mall.code.as_str()).collect();
    // Not "try later": that would end the command, although other days can still be reported.
    Failure::failed(format!("the sales of {day} are not reported yet for {}", codes.join(", ")))
        .hint(format!("batchctl report daily-sales --date {day}"))
}
