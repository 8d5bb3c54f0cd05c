//! Figures that their data has overtaken: which ones they are, and what is noted when they are computed again.
//!
//! Triggers note in which hours something changed, whoever wrote it (`sales_changes`). The transaction that computes figures
//! turns these notes into marks of the periods they fall into (`stale_periods`), removes the mark of its own period, and
//! only then reads the data: what was written meanwhile is noted again, and at worst a period is computed once too often.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::config::FreshnessConfig;
use crate::context::Context;
use crate::db::{Db, FromRow, Problems, StoredText, StoredTime};
use crate::period::{DayRange, local_day};
use crate::shop::arrivals;
use crate::shop::malls::{Mall, all_malls};
use crate::values;

use super::awaited::AwaitedColumns;
use super::outdated::FigureTable;
use super::periods::Step;

/// How many notes are turned into marks at a time: one statement, whatever there is.
const NOTES_AT_ONCE: i64 = 10_000;

/// How far back a change makes later customers less new: nobody looks back further, and a time in the year 1 is a mistake.
const LATER_DAYS: u64 = 400;

/// The report with a day's sales.
pub const DAILY_SALES: &str = "daily-sales";
/// The report with a day's cancellations.
pub const DAILY_CANCELLATIONS: &str = "daily-cancellations";
/// The report with a week's sign-ups.
pub const WEEKLY_SIGNUPS: &str = "weekly-signups";
/// The report that shows what the first two have stored.
pub const EXECUTIVE: &str = "executive";

/// A period of a mall.
type PeriodOfMall = (NaiveDate, i64);

/// A note of a trigger.
#[derive(FromRow)]
struct Change {
    mall_id: i64,
    subject: StoredText,
    changed_hour: StoredTime,
}

/// The zones by which notes become days.
struct Zones {
    of_malls: BTreeMap<i64, Tz>,
    /// Of a mall that has none that exists.
    otherwise: Tz,
}

impl Zones {
    async fn load(db: &mut Db, otherwise: Tz) -> anyhow::Result<Self> {
        let malls = all_malls(db).await?;
        let zones = malls.iter().filter_map(|mall| Some((mall.id, mall.time_zone().ok()?)));
        Ok(Self { of_malls: zones.collect(), otherwise })
    }

    fn of(&self, mall: i64) -> Tz {
        self.of_malls.get(&mall).copied().unwrap_or(self.otherwise)
    }
}

/// The periods whose figures some changes have overtaken: report, first day and mall.
fn overtaken(
    changes: &[Change],
    zones: &Zones,
    now: DateTime<Utc>,
) -> BTreeSet<(&'static str, NaiveDate, i64)> {
    let mut found = BTreeSet::new();
    // Who bought on a day is no new customer on a later one.
    let mut customers_since: BTreeMap<i64, NaiveDate> = BTreeMap::new();
    for change in changes {
        // A note that this program could not have made is not one of a trigger, and means nothing.
        let Some(hour) = change.changed_hour.at() else { continue };
        let (mall, zone) = (change.mall_id, zones.of(change.mall_id));
        // A zone may be half an hour off: the hour then belongs to two days.
        for day in [local_day(hour, zone), local_day(hour + TimeDelta::minutes(59), zone)] {
            match change.subject.shown() {
                "ORDER" | "REFUND" => {
                    found.insert((DAILY_SALES, day, mall));
                }
                "CUSTOMER" => {
                    found.insert((DAILY_SALES, day, mall));
                    let since = customers_since.entry(mall).or_insert(day);
                    *since = day.min(*since);
                }
                "CANCELLATION" => {
                    found.insert((DAILY_SALES, day, mall));
                    found.insert((DAILY_CANCELLATIONS, day, mall));
                }
                "MEMBER" => {
                    found.insert((WEEKLY_SIGNUPS, DayRange::week_of(day).first(), mall));
                }
                _ => {}
            }
        }
    }
    for (mall, since) in customers_since {
        let today = local_day(now, zones.of(mall));
        let oldest = today.checked_sub_days(Days::new(LATER_DAYS)).unwrap_or(today);
        let days = since.max(oldest).iter_days().take_while(|day| *day <= today);
        found.extend(days.map(|day| (DAILY_SALES, day, mall)));
    }
    found
}

/// Turns the notes of the triggers into marks. Inside the transaction that computes figures. What another transaction is
/// turning into marks at the same moment is left to it.
pub async fn turn_notes_into_marks(db: &mut Db, now: DateTime<Utc>, time_zone: Tz) -> anyhow::Result<()> {
    let (has_notes,): (bool,) =
        db.fetch_one("SELECT EXISTS (SELECT 1 FROM sales_changes)", values![]).await?;
    if !has_notes {
        return Ok(());
    }
    let zones = Zones::load(db, time_zone).await?;
    let take = format!(
        "DELETE FROM sales_changes WHERE id IN (SELECT id FROM sales_changes ORDER BY id LIMIT $1{})
         RETURNING mall_id, subject, changed_hour",
        db.pick("", " FOR UPDATE SKIP LOCKED")
    );
    loop {
        let taken: Vec<Change> = db.fetch_all(&take, values![NOTES_AT_ONCE]).await?;
        for (report, day, mall) in overtaken(&taken, &zones, now) {
            mark(db, report, day, mall, now).await?;
        }
        if i64::try_from(taken.len()).unwrap_or(0) < NOTES_AT_ONCE {
            return Ok(());
        }
    }
}

/// Marks a report's figures of a period and mall as overtaken.
pub async fn mark(
    db: &mut Db,
    report: &str,
    period: NaiveDate,
    mall: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (report, period_day, mall_id) DO NOTHING",
        values![report, period, mall, now],
    )
    .await?;
    Ok(())
}

/// Removes the mark of figures that are about to be computed; whether there was one.
pub async fn unmark(db: &mut Db, report: &str, period: NaiveDate, mall: i64) -> anyhow::Result<bool> {
    let sql = "DELETE FROM stale_periods WHERE report = $1 AND period_day = $2 AND mall_id = $3";
    Ok(db.execute(sql, values![report, period, mall]).await? > 0)
}

/// A report, and where it stores its figures.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its name.
    pub report: &'static str,
    /// How long a period is.
    pub step: Step,
    /// Where its figures are; `None` for a report that only shows those of others.
    pub table: Option<FigureTable>,
}

/// The periods whose figures have been overtaken, or wait for data that has come, with the malls whose they are. `window` is
/// the days that are looked at. Reads only.
pub async fn find(
    cx: &Context,
    db: &mut Db,
    source: Source,
    malls: &[Mall],
    window: DayRange,
) -> anyhow::Result<BTreeMap<NaiveDate, Vec<Mall>>> {
    let first = source.step.around(window.first()).first();
    let window = DayRange::new(first, window.last())?;
    let mut stale = marked(db, source.report, window).await?;
    stale.extend(noted(cx, db, source.report, window).await?);
    match source.table {
        None => stale = told_of(db, source.report, window, stale).await?,
        Some(table) => {
            let stored = stored(db, table, window).await?;
            stale.retain(|period| stored.contains_key(period));
            let awaiting = stored.iter().filter(|(_, columns)| columns.is_awaiting());
            for (&(day, id), _) in awaiting {
                let Some(mall) = malls.iter().find(|mall| mall.id == id) else { continue };
                if has_come(cx.config.freshness(), db, table, mall, source.step.around(day)).await? {
                    stale.insert((day, id));
                }
            }
        }
    }
    let mut found: BTreeMap<NaiveDate, Vec<Mall>> = BTreeMap::new();
    for (day, id) in stale {
        if let Some(mall) = malls.iter().find(|mall| mall.id == id) {
            found.entry(day).or_default().push(mall.clone());
        }
    }
    Ok(found)
}

/// The days before a day that a nightly run looks at.
pub fn window(last: NaiveDate, days: u64) -> Option<DayRange> {
    let first = last.checked_sub_days(Days::new(days.checked_sub(1)?))?;
    DayRange::new(first, last).ok()
}

async fn has_come(
    config: &FreshnessConfig,
    db: &mut Db,
    table: FigureTable,
    mall: &Mall,
    period: DayRange,
) -> anyhow::Result<bool> {
    Ok(arrivals::awaited(db, config, mall, period, table.awaits).await?.is_none())
}

/// The malls whose figures of a period are marked.
pub async fn find_marked(db: &mut Db, report: &str, period: NaiveDate) -> anyhow::Result<Vec<i64>> {
    let marked = marked(db, report, DayRange::single(period)).await?;
    Ok(marked.into_iter().map(|(_, mall)| mall).collect())
}

async fn marked(db: &mut Db, report: &str, window: DayRange) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    let rows: Vec<(NaiveDate, i64)> = db
        .fetch_all(
            "SELECT period_day, mall_id FROM stale_periods WHERE report = $1 AND period_day BETWEEN $2 AND $3",
            values![report, window.first(), window.last()],
        )
        .await?;
    Ok(rows.into_iter().collect())
}

/// What the notes of the triggers will mark.
async fn noted(
    cx: &Context,
    db: &mut Db,
    report: &str,
    window: DayRange,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    let changes: Vec<Change> =
        db.fetch_all("SELECT DISTINCT mall_id, subject, changed_hour FROM sales_changes", values![]).await?;
    if changes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let zones = Zones::load(db, cx.time_zone()).await?;
    let overtaken = overtaken(&changes, &zones, cx.now());
    let of_report = overtaken.into_iter().filter(|(of, day, _)| *of == report && window.contains(*day));
    Ok(of_report.map(|(_, day, mall)| (day, mall)).collect())
}

/// The stored figures of a window: what each mall's wait for.
async fn stored(
    db: &mut Db,
    table: FigureTable,
    window: DayRange,
) -> anyhow::Result<BTreeMap<PeriodOfMall, AwaitedColumns>> {
    #[derive(FromRow)]
    struct Stored {
        period_day: NaiveDate,
        mall_id: i64,
        #[row(problems)]
        problems: Problems,
        #[row(flatten)]
        awaited: AwaitedColumns,
    }
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "SELECT DISTINCT {period_column} AS period_day, mall_id, awaited_subject, awaited_since, awaited_day, awaited_run
         FROM {name} WHERE {period_column} BETWEEN $1 AND $2"
    );
    let rows: Vec<Stored> = db.fetch_all(&sql, values![window.first(), window.last()]).await?;
    // What cannot be read is found by the run of its period, and waits for nothing.
    let rows = rows.into_iter().filter(|row| row.problems.is_empty() && row.awaited.problems.is_empty());
    Ok(rows.map(|row| ((row.period_day, row.mall_id), row.awaited)).collect())
}

/// Those of which somebody was told: a report that stores nothing has only what it mailed.
async fn told_of(
    db: &mut Db,
    report: &str,
    window: DayRange,
    mut stale: BTreeSet<PeriodOfMall>,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    if !stale.is_empty() {
        let told: Vec<(NaiveDate,)> = db
            .fetch_all(
                "SELECT DISTINCT period_day FROM report_mailings WHERE report = $1 AND period_day BETWEEN $2 AND $3",
                values![report, window.first(), window.last()],
            )
            .await?;
        stale.retain(|(day, _)| told.contains(&(*day,)));
    }
    Ok(stale)
}
