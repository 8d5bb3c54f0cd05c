//! Stale figures: which ones their data has changed under, and what is noted when they are computed again.
//!
//! Triggers note in which hours something changed, whoever wrote it (`sales_changes`). The transaction that computes figures
//! turns these notes into marks of the periods they fall into (`stale_periods`), removes the mark of its own period, and
//! only then reads the data: what was written meanwhile is noted again, and at worst a period is computed once too often.
//! Where no report runs, `runs purge` does the same.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::json;

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

/// How far back a change makes later customers less new: nobody looks back further, and a time in the year 1 is a mistake.
const LATER_DAYS: u64 = 400;

/// How long a mark is kept of figures that nobody has stored: longer than a run that is storing them may take.
const UNSTORED_HOURS: i64 = 48;

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
    /// Of a mall whose own does not exist.
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

/// The periods whose figures some changes have made stale: mall, report and first day.
fn periods_of(
    changes: &[Change],
    zones: &Zones,
    now: DateTime<Utc>,
) -> BTreeSet<(i64, &'static str, NaiveDate)> {
    let mut found = BTreeSet::new();
    // Who bought on a day is not a new customer on a later one.
    let mut customers_since: BTreeMap<i64, NaiveDate> = BTreeMap::new();
    for change in changes {
        // A note that no trigger could have made means nothing.
        let Some(hour) = change.changed_hour.at() else { continue };
        let (mall, zone) = (change.mall_id, zones.of(change.mall_id));
        // A zone may be half an hour off: the hour then belongs to two days.
        for day in [local_day(hour, zone), local_day(hour + TimeDelta::minutes(59), zone)] {
            match change.subject.shown() {
                "ORDER" | "REFUND" => {
                    found.insert((mall, DAILY_SALES, day));
                }
                "CUSTOMER" => {
                    found.insert((mall, DAILY_SALES, day));
                    let since = customers_since.entry(mall).or_insert(day);
                    *since = day.min(*since);
                }
                "CANCELLATION" => {
                    found.insert((mall, DAILY_SALES, day));
                    found.insert((mall, DAILY_CANCELLATIONS, day));
                }
                "MEMBER" => {
                    found.insert((mall, WEEKLY_SIGNUPS, DayRange::week_of(day).first()));
                }
                _ => {}
            }
        }
    }
    for (mall, since) in customers_since {
        let today = local_day(now, zones.of(mall));
        let oldest = today.checked_sub_days(Days::new(LATER_DAYS)).unwrap_or(today);
        let days = since.max(oldest).iter_days().take_while(|day| *day <= today);
        found.extend(days.map(|day| (mall, DAILY_SALES, day)));
    }
    found
}

/// Turns the notes of the triggers into marks, and returns how many periods they concern. Inside the transaction that
/// computes figures. What another transaction is turning into marks at the same moment is left to it.
///
/// Mall by mall, so that no more than the hours of one are in memory. Reports that run side by side mark periods in the same
/// order, by mall, report and day, and cannot wait for each other in a circle.
pub async fn mark_stale_periods(db: &mut Db, now: DateTime<Utc>, time_zone: Tz) -> anyhow::Result<usize> {
    let malls: Vec<(i64,)> =
        db.fetch_all("SELECT DISTINCT mall_id FROM sales_changes ORDER BY mall_id", values![]).await?;
    if malls.is_empty() {
        return Ok(0);
    }
    let zones = Zones::load(db, time_zone).await?;
    let mut marked = 0;
    for (mall,) in malls {
        let periods = periods_of(&take_notes(db, mall).await?, &zones, now);
        marked += periods.len();
        for report in [DAILY_CANCELLATIONS, DAILY_SALES, WEEKLY_SIGNUPS] {
            let of_report = periods.iter().filter(|(_, name, _)| *name == report);
            let days: Vec<NaiveDate> = of_report.map(|(_, _, day)| *day).collect();
            mark_days(db, report, &days, mall, now).await?;
        }
    }
    Ok(marked)
}

/// Removes a mall's notes and returns each hour once. In one statement: on PostgreSQL a second one would read again what the
/// first has deleted. Rows are found by where they are, which no other transaction can change once they are locked; by their
/// number it takes three times as long.
async fn take_notes(db: &mut Db, mall: i64) -> anyhow::Result<Vec<Change>> {
    let take = db.pick(
        "DELETE FROM sales_changes WHERE mall_id = $1 RETURNING mall_id, subject, changed_hour",
        "WITH taken AS (
             DELETE FROM sales_changes
             WHERE ctid = ANY(ARRAY(SELECT ctid FROM sales_changes WHERE mall_id = $1 FOR UPDATE SKIP LOCKED))
             RETURNING mall_id, subject, changed_hour
         )
         SELECT DISTINCT mall_id, subject, changed_hour FROM taken",
    );
    Ok(db.fetch_all(take, values![mall]).await?)
}

/// Marks a report's figures of some days, in their order.
async fn mark_days(
    db: &mut Db,
    report: &str,
    days: &[NaiveDate],
    mall: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if days.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO stale_periods (report, period_day, mall_id, noted_at)
         SELECT $1, {}, $2, $3 FROM {} AS days WHERE TRUE ORDER BY value
         ON CONFLICT (report, period_day, mall_id) DO NOTHING",
        db.pick("value", "CAST(value AS DATE)"),
        db.elements("$4")
    );
    db.execute(&sql, values![report, mall, now, json!(days)]).await?;
    Ok(())
}

/// Forgets marks that nobody will ask for: of periods that a report has not stored, and of mails that are forgotten. Marks
/// whose day does not exist go with them.
pub async fn forget_marks(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let unstored = |report: &str, table: &str, column: &str| {
        format!(
            "(report = '{report}' AND NOT EXISTS (SELECT 1 FROM {table} f WHERE f.{column} = stale_periods.period_day
                                                  AND f.mall_id = stale_periods.mall_id))"
        )
    };
    let sql = format!(
        "DELETE FROM stale_periods
         WHERE (noted_at < $1
                AND ({} OR {} OR {}
                     OR (report = '{EXECUTIVE}' AND NOT EXISTS (SELECT 1 FROM report_mailings m
                                                                WHERE m.report = '{EXECUTIVE}'
                                                                  AND m.period_day = stale_periods.period_day))))
            OR NOT {} OR NOT {}",
        unstored(DAILY_SALES, "daily_sales", "business_day"),
        unstored(DAILY_CANCELLATIONS, "daily_cancellations", "business_day"),
        unstored(WEEKLY_SIGNUPS, "weekly_signups", "week_day"),
        db.is_day("period_day"),
        db.is_time("noted_at"),
    );
    Ok(db.execute(&sql, values![now - TimeDelta::hours(UNSTORED_HOURS)]).await?)
}

/// Marks a report's figures of a period and mall as stale.
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

/// The most periods before those that a nightly run looks at that it computes too: a late refund or payment changes one or a
/// few. More change by what somebody does on purpose, such as importing a year again, and that takes long.
pub const MOST_EARLIER: usize = 31;

/// How far back a nightly run looks for what has changed: ten years, since a time long before them is a mistake.
const EARLIER_DAYS: u64 = 3_650;

/// Stored periods before a day whose data has changed since, with their malls. Reads only.
pub async fn find_earlier(
    cx: &Context,
    db: &mut Db,
    source: Source,
    malls: &[Mall],
    before: NaiveDate,
) -> anyhow::Result<BTreeMap<NaiveDate, Vec<Mall>>> {
    let Some(window) = before.pred_opt().and_then(|last| window(last, EARLIER_DAYS)) else {
        return Ok(BTreeMap::new());
    };
    let noted = noted(cx, db, source.report, window).await?;
    let stale = match source.table {
        None => {
            let mut stale = marked(db, source.report, window).await?;
            stale.extend(noted);
            told_of(db, source.report, window, stale).await?
        }
        Some(table) => {
            // After a first import of years there are as many marks of periods that nobody has stored.
            let mut stale = marked_and_stored(db, source.report, table, window).await?;
            if !noted.is_empty() {
                let stored = stored_of(db, table, &noted).await?;
                stale.extend(noted.intersection(&stored));
            }
            stale
        }
    };
    Ok(by_period(stale, malls))
}

/// Those of some periods that are stored.
async fn stored_of(
    db: &mut Db,
    table: FigureTable,
    periods: &BTreeSet<PeriodOfMall>,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    let FigureTable { name, period_column, .. } = table;
    let days: BTreeSet<NaiveDate> = periods.iter().map(|(day, _)| *day).collect();
    let day = db.pick("value", "CAST(value AS DATE)");
    let sql = format!(
        "SELECT DISTINCT {period_column}, mall_id FROM {name}
         WHERE {period_column} IN (SELECT {day} FROM {} AS days)",
        db.elements("$1")
    );
    Ok(db.fetch_all(&sql, values![json!(days)]).await?.into_iter().collect())
}

/// Tells somebody of these stale periods if there are some of which nobody was told. Noted afterwards: to be told twice is
/// better than never.
pub async fn announce(
    db: &mut Db,
    report: &str,
    periods: &BTreeMap<NaiveDate, Vec<Mall>>,
    (now, time_zone): (DateTime<Utc>, Tz),
    tell: impl FnOnce(),
) -> anyhow::Result<()> {
    let malls: BTreeSet<i64> = periods.values().flatten().map(|mall| mall.id).collect();
    let days: Vec<NaiveDate> = periods.keys().copied().collect();
    let unannounced = |report: &str, malls: &str, days: &str| {
        format!(
            "report = {report} AND announced_at IS NULL AND mall_id IN {malls}
             AND period_day IN (SELECT {} FROM {days} AS days)",
            db.pick("value", "CAST(value AS DATE)"),
        )
    };
    let count = format!(
        "SELECT COUNT(*) FROM stale_periods WHERE {}",
        unannounced("$1", &db.numbers("$2"), &db.elements("$3"))
    );
    let note = format!(
        "UPDATE stale_periods SET announced_at = $1 WHERE {}",
        unannounced("$2", &db.numbers("$3"), &db.elements("$4"))
    );
    let (news,): (i64,) = db
        .transaction(async |db| {
            mark_stale_periods(db, now, time_zone).await?;
            Ok(db.fetch_one(&count, values![report, json!(malls), json!(days)]).await?)
        })
        .await?;
    if news > 0 {
        tell();
        db.execute(&note, values![now, report, json!(malls), json!(days)]).await?;
    }
    Ok(())
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

/// The periods whose figures are stale, or wait for data that has come, with their malls; of a period that was reported for
/// some malls, also those whose data came later than that. `window` is the days that are looked at. Reads only.
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
            let days: BTreeSet<NaiveDate> = stored.keys().map(|(day, _)| *day).collect();
            // Also of a mall that was added since, whose sum with the others is not what was reported.
            stale.retain(|(day, _)| days.contains(day));
            let awaiting = stored.iter().filter(|(_, columns)| columns.is_awaiting());
            for (&(day, id), _) in awaiting {
                let Some(mall) = malls.iter().find(|mall| mall.id == id) else { continue };
                if has_come(cx.config.freshness(), db, table, mall, source.step.around(day)).await? {
                    stale.insert((day, id));
                }
            }
        }
    }
    Ok(by_period(stale, malls))
}

fn by_period(periods: BTreeSet<PeriodOfMall>, malls: &[Mall]) -> BTreeMap<NaiveDate, Vec<Mall>> {
    let mut found: BTreeMap<NaiveDate, Vec<Mall>> = BTreeMap::new();
    for (day, id) in periods {
        if let Some(mall) = malls.iter().find(|mall| mall.id == id) {
            found.entry(day).or_default().push(mall.clone());
        }
    }
    found
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
    marked_where(db, report, window, "TRUE").await
}

/// Those of which figures are stored.
async fn marked_and_stored(
    db: &mut Db,
    report: &str,
    table: FigureTable,
    window: DayRange,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    let FigureTable { name, period_column, .. } = table;
    let is_stored = format!(
        "EXISTS (SELECT 1 FROM {name} AS f
                 WHERE f.{period_column} = stale_periods.period_day AND f.mall_id = stale_periods.mall_id)"
    );
    marked_where(db, report, window, &is_stored).await
}

async fn marked_where(
    db: &mut Db,
    report: &str,
    window: DayRange,
    condition: &str,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    #[derive(FromRow)]
    struct Mark {
        period_day: NaiveDate,
        mall_id: i64,
        #[row(problems)]
        problems: Problems,
    }
    let sql = format!(
        "SELECT period_day, mall_id FROM stale_periods
         WHERE report = $1 AND period_day BETWEEN $2 AND $3 AND {condition}"
    );
    let rows: Vec<Mark> = db.fetch_all(&sql, values![report, window.first(), window.last()]).await?;
    // A mark of a day that does not exist marks nothing.
    let rows = rows.into_iter().filter(|row| row.problems.is_empty());
    Ok(rows.map(|row| (row.period_day, row.mall_id)).collect())
}

/// What the notes of the triggers will mark.
async fn noted(
    cx: &Context,
    db: &mut Db,
    report: &str,
    window: DayRange,
) -> anyhow::Result<BTreeSet<PeriodOfMall>> {
    let changes = notes_about(db, window).await?;
    if changes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let zones = Zones::load(db, cx.time_zone()).await?;
    let periods = periods_of(&changes, &zones, cx.now());
    let of_report = periods.into_iter().filter(|(_, of, day)| *of == report && window.contains(*day));
    Ok(of_report.map(|(mall, _, day)| (day, mall)).collect())
}

/// The notes that concern a window, wherever on earth: those of its hours, and of each mall's customers the oldest.
async fn notes_about(db: &mut Db, window: DayRange) -> anyhow::Result<Vec<Change>> {
    let edge = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let from = edge(window.first()).checked_sub_days(Days::new(1)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    // A week that begins in the window may end after it.
    let to = edge(window.last()).checked_add_days(Days::new(9)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let is_time = db.is_time("changed_hour");
    let sql = format!(
        "SELECT DISTINCT mall_id, subject, changed_hour FROM sales_changes
         WHERE changed_hour >= $1 AND changed_hour < $2 AND {is_time}
         UNION ALL
         SELECT mall_id, subject, MIN(changed_hour) FROM sales_changes
         WHERE subject = 'CUSTOMER' AND changed_hour < $1 AND {is_time}
         GROUP BY mall_id, subject"
    );
    Ok(db.fetch_all(&sql, values![from, to]).await?)
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
        "SELECT DISTINCT {period_column} AS period_day, mall_id, {} FROM {name}
         WHERE {period_column} BETWEEN $1 AND $2",
        AwaitedColumns::NAMES
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
    #[derive(FromRow)]
    struct ToldOf {
        period_day: NaiveDate,
        #[row(problems)]
        problems: Problems,
    }
    if !stale.is_empty() {
        let told: Vec<ToldOf> = db
            .fetch_all(
                "SELECT DISTINCT period_day FROM report_mailings WHERE report = $1 AND period_day BETWEEN $2 AND $3",
                values![report, window.first(), window.last()],
            )
            .await?;
        let told = told.into_iter().filter(|row| row.problems.is_empty());
        let told: BTreeSet<NaiveDate> = told.map(|row| row.period_day).collect();
        stale.retain(|(day, _)| told.contains(day));
    }
    Ok(stale)
}
