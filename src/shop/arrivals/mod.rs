//! Which business days of a mall's data have come, by import or synchronisation, and which are still awaited.
//!
//! A day that nobody sold anything on and a day whose file never came look alike in the orders. So whoever loads data notes
//! here for which days it is all there, and a report of any other day is provisional. A mall that has such notes is
//! expected to get one for every day after its first; a mall without any, whose orders an application writes by itself, is
//! always up to date.
//!
//! What a run has stored in part only, because some of its records failed, has not come until that run is settled: the
//! records were stored by a later one, or somebody dismissed them.
//!
//! A synchronisation knows the period that it asked for. A file does not say what it leaves out: see [`files`].

use std::collections::BTreeSet;

use chrono::{DateTime, Days, DurationRound, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::config::{Expectation, FreshnessConfig};
use crate::db::{Db, FromRow, Problems, StoredTime};
use crate::period::{DayRange, day_before, day_bounds, last_finished_day, local_day};
use crate::values;

use super::malls::{Mall, all_malls};

pub mod files;
pub mod habits;

/// The condition that what an arrival (`a`) is of has been stored completely. A run that was allowed to be partial counts as
/// a success; one that was purged since has been settled or given up long ago. An import that has not ended well has noted
/// what is expected, and not what has come.
const IS_COMPLETE: &str = "NOT EXISTS (SELECT 1 FROM batch_execution e
                                       WHERE e.id = a.execution_id
                                         AND ((e.status = 'PARTIAL' AND e.exit_code <> 0 AND e.settled_by IS NULL
                                               AND e.dismissed_at IS NULL)
                                              OR (a.source = 'IMPORT' AND e.status NOT IN ('COMPLETED', 'PARTIAL'))))";

/// The condition that a run has stored what an arrival (`a`) is of in part.
const IS_PARTIAL: &str =
    "EXISTS (SELECT 1 FROM batch_execution e WHERE e.id = a.execution_id AND e.status = 'PARTIAL')";

/// How long after a mall was added its first file can come for the days between to have been missed. Files that begin later
/// belong to a mall that was there before them.
const LATE_START_DAYS: i64 = 31;

/// How many days before its first file a mall's figures can have been stored as final and still matter: nobody looks back
/// further without being asked.
const EXPECTED_DAYS: u64 = 62;

/// A kind of data that comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Orders, by the time they were placed.
    Order,
    /// Payments, cancellations and refunds, by the time they happened.
    Sales,
    /// Refunds, from files of their own.
    Refund,
    /// Members, by the time they signed up.
    Member,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Order, Self::Sales, Self::Refund, Self::Member];

    /// Its word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Order => "ORDER",
            Self::Sales => "SALES",
            Self::Refund => "REFUND",
            Self::Member => "MEMBER",
        }
    }

    /// The subject of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.word() == word)
    }
}

/// How data came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From a file.
    Import,
    /// From a shop's API.
    Sync,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::Import => "IMPORT",
            Self::Sync => "SYNC",
        }
    }
}

/// Up to when a source knew, and who read it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// How it came.
    pub source: Source,
    /// Up to when the source knew: when a file was exported, when a synchronisation began.
    pub as_of: DateTime<Utc>,
    /// The run.
    pub run: i64,
    /// When it came.
    pub at: DateTime<Utc>,
}

/// Notes that these days have come. A day that had come before stays as it is.
pub async fn note(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    days: &BTreeSet<NaiveDate>,
    arrival: &Arrival,
) -> anyhow::Result<()> {
    let (Some(&first), Some(&last)) = (days.first(), days.last()) else { return Ok(()) };
    let first_before = first_noted(db, mall, subject).await?;
    let known = known_days(db, mall, subject, DayRange::new(first, last)?).await?;
    for day in days.difference(&known) {
        store(db, mall, subject, *day, arrival).await?;
    }
    note_expected_days(db, mall, subject, (first, first_before), days, arrival.at).await
}

async fn store(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    day: NaiveDate,
    arrival: &Arrival,
) -> anyhow::Result<()> {
    let Arrival { source, as_of, run, at } = *arrival;
    db.execute(
        "INSERT INTO data_arrivals (mall_id, subject, business_day, source, as_of, execution_id, arrived_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (mall_id, subject, business_day) DO UPDATE
         SET source = excluded.source, as_of = excluded.as_of, execution_id = excluded.execution_id,
             arrived_at = excluded.arrived_at",
        values![mall, subject.word(), day, source.word(), as_of, run, at],
    )
    .await?;
    Ok(())
}

/// Days from a mall's first one on are expected, which until now nobody knew of: figures that were stored as final although
/// nothing of them has come are stale. That is noted of each, stored or not: a report may be storing them just now.
async fn note_expected_days(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    (first, first_before): (NaiveDate, Option<NaiveDate>),
    come: &BTreeSet<NaiveDate>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if first_before.is_some_and(|before| before <= first) {
        return Ok(());
    }
    let time_zone = zone_of(db, mall).await?;
    let last = first_before.map_or_else(|| last_finished_day(now, time_zone), day_before);
    let oldest = last.checked_sub_days(Days::new(EXPECTED_DAYS)).unwrap_or(last);
    let Ok(expected) = DayRange::new(first.max(oldest), last) else { return Ok(()) };
    let known = known_days(db, mall, subject, expected).await?;
    // Of all that is noted of a day, what makes the figures stale that wait for the subject.
    let change = match subject {
        Subject::Order | Subject::Sales => "CANCELLATION",
        Subject::Refund => "REFUND",
        Subject::Member => "MEMBER",
    };
    for day in expected.iter().filter(|day| !known.contains(day) && !come.contains(day)) {
        let noon = day_bounds(day, time_zone).start + TimeDelta::hours(12);
        let hour = noon.duration_trunc(TimeDelta::hours(1)).unwrap_or(noon);
        db.execute(
            "INSERT INTO sales_changes (mall_id, subject, changed_hour)
             VALUES ($1, $2, $3)",
            values![mall, change, hour],
        )
        .await?;
    }
    Ok(())
}

/// The zone of a mall; UTC if its own does not exist.
async fn zone_of(db: &mut Db, mall: i64) -> anyhow::Result<Tz> {
    let malls = all_malls(db).await?;
    let mall = malls.into_iter().find(|one| one.id == mall);
    Ok(mall.and_then(|mall| mall.time_zone().ok()).unwrap_or(Tz::UTC))
}

/// Notes, as an import begins, that files of a mall come: until the first one has come the last day that was over is awaited,
/// however this import ends.
pub async fn expect(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    run: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if first_noted(db, mall, subject).await?.is_some() {
        return Ok(());
    }
    let day = last_finished_day(now, zone_of(db, mall).await?);
    let arrival = Arrival { source: Source::Import, as_of: now, run, at: now };
    store(db, mall, subject, day, &arrival).await?;
    note_expected_days(db, mall, subject, (day, None), &BTreeSet::new(), now).await
}

/// Forgets what an import has noted when it began, now that it knows better.
async fn forget_expected(db: &mut Db, subject: Subject, run: i64) -> anyhow::Result<()> {
    let sql = "DELETE FROM data_arrivals WHERE subject = $1 AND execution_id = $2";
    db.execute(sql, values![subject.word(), run]).await?;
    Ok(())
}

/// The whole days of a period that was over when a synchronisation began.
pub fn whole_days(first: DateTime<Utc>, last: DateTime<Utc>, time_zone: Tz) -> BTreeSet<NaiveDate> {
    let days = DayRange::new(local_day(first, time_zone), local_day(last, time_zone));
    let is_whole = |day: &NaiveDate| {
        let bounds = day_bounds(*day, time_zone);
        bounds.start >= first && bounds.end <= last + TimeDelta::seconds(1)
    };
    days.map(|days| days.iter().filter(is_whole).collect()).unwrap_or_default()
}

/// A noted day. Other programs can write these rows, too: one that cannot be read is of a day that has not come.
#[derive(FromRow)]
struct Noted {
    business_day: NaiveDate,
    execution_id: i64,
    is_complete: bool,
    is_partial: bool,
    #[row(problems)]
    problems: Problems,
}

async fn noted_days(db: &mut Db, mall: i64, subject: Subject, days: DayRange) -> anyhow::Result<Vec<Noted>> {
    let sql = format!(
        "SELECT business_day, execution_id, {IS_COMPLETE} AS is_complete, {IS_PARTIAL} AS is_partial
         FROM data_arrivals a
         WHERE mall_id = $1 AND subject = $2 AND business_day BETWEEN $3 AND $4"
    );
    let mut noted: Vec<Noted> =
        db.fetch_all(&sql, values![mall, subject.word(), days.first(), days.last()]).await?;
    noted.retain(|noted| noted.problems.is_empty());
    Ok(noted)
}

/// The days that have come as a whole.
async fn known_days(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    days: DayRange,
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let noted = noted_days(db, mall, subject, days).await?;
    Ok(noted.into_iter().filter(|noted| noted.is_complete).map(|noted| noted.business_day).collect())
}

/// Whether anything of a kind of data has ever come.
pub async fn has_any_come(db: &mut Db, mall: i64, subject: Subject) -> anyhow::Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM data_arrivals a WHERE mall_id = $1 AND subject = $2 AND {IS_COMPLETE})"
    );
    let (has,): (bool,) = db.fetch_one(&sql, values![mall, subject.word()]).await?;
    Ok(has)
}

// ---------------------------------------------------------------- what a report waits for

/// The data that a period still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Its kind.
    pub subject: Subject,
    /// The first day that it is missing of.
    pub day: NaiveDate,
    /// Up to when the data of the days before had come; `None` if none has.
    pub since: Option<DateTime<Utc>>,
    /// The run that has stored the day's data only in part, if one has.
    pub partial_run: Option<i64>,
}

/// The first of these kinds of data that has not come for all days of a mall's period, if it is expected.
pub async fn awaited(
    db: &mut Db,
    config: &FreshnessConfig,
    mall: &Mall,
    period: DayRange,
    subjects: &[Subject],
) -> anyhow::Result<Option<Awaited>> {
    for &subject in subjects {
        let expectation = match subject {
            Subject::Order | Subject::Sales => config.of(&mall.code).orders,
            Subject::Refund => config.of(&mall.code).refunds,
            Subject::Member => config.of(&mall.code).members,
        };
        // Payments come with the orders, unless they are known to come by themselves.
        let expectation = match expectation {
            Expectation::Always | Expectation::Announced if subject == Subject::Sales => Expectation::Learned,
            expectation => expectation,
        };
        let expected_from = match expectation {
            Expectation::Never => None,
            Expectation::Always => Some(period.first()),
            // Before its first day nothing is known of its rhythm.
            Expectation::Learned => first_noted(db, mall.id, subject).await?,
            Expectation::Announced => first_announced(db, mall, subject).await?,
        };
        let expected_from = match expected_from {
            Some(first) if first <= period.last() => first.max(period.first()),
            _ => continue,
        };
        let noted = noted_days(db, mall.id, subject, DayRange::new(expected_from, period.last())?).await?;
        let of = |day: NaiveDate| noted.iter().find(|noted| noted.business_day == day);
        let missing = DayRange::new(expected_from, period.last())?
            .iter()
            .find(|day| of(*day).is_none_or(|noted| !noted.is_complete));
        if let Some(day) = missing {
            let since = last_before(db, mall.id, subject, day).await?;
            let partial_run = of(day).filter(|noted| noted.is_partial).map(|noted| noted.execution_id);
            return Ok(Some(Awaited { subject, day, since, partial_run }));
        }
    }
    Ok(None)
}

/// The first day that is expected of files that are announced. Whoever adds a mall and looks at its first report sees the day
/// before; once something has come, that begins with the mall, or with the files if these came a long time afterwards.
async fn first_announced(db: &mut Db, mall: &Mall, subject: Subject) -> anyhow::Result<Option<NaiveDate>> {
    let first = first_noted(db, mall.id, subject).await?;
    let (added,): (StoredTime,) =
        db.fetch_one("SELECT created_at FROM malls WHERE id = $1", values![mall.id]).await?;
    let Some(added) = added.at() else { return Ok(first) };
    let added = local_day(added, mall.time_zone().unwrap_or(Tz::UTC));
    Ok(Some(match first {
        None => day_before(added),
        Some(first) if first - added <= TimeDelta::days(LATE_START_DAYS) => first.min(added),
        Some(first) => first,
    }))
}

/// The first day that was ever noted.
async fn first_noted(db: &mut Db, mall: i64, subject: Subject) -> anyhow::Result<Option<NaiveDate>> {
    let sql = format!(
        "SELECT MIN(business_day) FROM data_arrivals WHERE mall_id = $1 AND subject = $2 AND {}",
        db.is_day("business_day")
    );
    let (first,): (Option<NaiveDate>,) = db.fetch_one(&sql, values![mall, subject.word()]).await?;
    Ok(first)
}

/// Up to when the newest source knew that brought a day before this one.
async fn last_before(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    day: NaiveDate,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sql = format!(
        "SELECT MAX(as_of) FROM data_arrivals a
         WHERE mall_id = $1 AND subject = $2 AND business_day < $3 AND {} AND {IS_COMPLETE}",
        db.is_time("as_of")
    );
    let (since,): (Option<StoredTime>,) = db.fetch_one(&sql, values![mall, subject.word(), day]).await?;
    Ok(since.and_then(|since| since.at()))
}

#[cfg(test)]
mod tests;
