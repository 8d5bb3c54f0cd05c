//! A day's figures and those they are compared with, from what other jobs stored.

mod kinds_of_data;
mod stored;
mod totals;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use self::stored::Stored;
use self::unreadable::UnreadableByTable;
use crate::db::Db;
use crate::failure::Failure;
use crate::jobs::report::awaited::AwaitingMall;
use crate::jobs::report::daily_sales;
use crate::jobs::report::driver::Report;
use crate::jobs::report::outdated::OutdatedMall;
use crate::jobs::report::soundness::{self, Unreadable};
use crate::money::average_half_up;
use crate::runner::history;
use crate::shop::malls::Mall;
use crate::wording::{command, counted};

/// How many days the chart shows.
pub(super) const CHART_DAYS: u64 = 30;

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

/// A failure instead of a zero, which would look like a real figure.
fn not_yet(day: NaiveDate, missing: &[Mall]) -> Failure {
    let codes: Vec<&str> = missing.iter().map(|mall| mall.code.as_str()).collect();
    // Not "try later": that would end the command, although other days can still be reported.
    Failure::failed(format!("the sales of {day} are not reported yet for {}", codes.join(", ")))
        .hint(format!("batchctl report daily-sales --date {day}"))
}
