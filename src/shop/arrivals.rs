//! Which business days of a mall's data have come, by import or synchronisation, and which are still awaited.
//!
//! A day that nobody sold anything on and a day whose file never came look alike in the orders. So whoever loads data notes
//! here for which days it is all there, and a report of any other day is provisional. A mall that has such notes is
//! expected to get one for every day after its first; a mall without any, whose orders an application writes by itself, is
//! always up to date.
//!
//! A synchronisation knows the period that it asked for. A file does not say what it leaves out: see `MallDays::covered`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{Expectation, FreshnessConfig};
use crate::db::{Db, Kind};
use crate::period::{DayRange, day_bounds, last_finished_day, local_day};
use crate::values;

use super::malls::Mall;

/// How far back a file is examined. What is older came before, or is asked for by `mall sync` or `--as-of`.
const EXAMINED_DAYS: u64 = 62;

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

    /// What has not come, in a sentence for operators.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Order => "orders",
            Self::Sales => "payments",
            Self::Refund => "refunds",
            Self::Member => "members",
        }
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
    let known = known_days(db, mall, subject, DayRange::new(first, last)?).await?;
    for day in days.difference(&known) {
        db.execute(
            "INSERT INTO data_arrivals (mall_id, subject, business_day, source, as_of, execution_id, arrived_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (mall_id, subject, business_day) DO NOTHING",
            values![
                mall,
                subject.word(),
                *day,
                arrival.source.word(),
                arrival.as_of,
                arrival.run,
                arrival.at
            ],
        )
        .await?;
    }
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

async fn known_days(
    db: &mut Db,
    mall: i64,
    subject: Subject,
    days: DayRange,
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let known: Vec<(NaiveDate,)> = db
        .fetch_all(
            "SELECT business_day FROM data_arrivals
             WHERE mall_id = $1 AND subject = $2 AND business_day BETWEEN $3 AND $4",
            values![mall, subject.word(), days.first(), days.last()],
        )
        .await?;
    Ok(known.into_iter().map(|(day,)| day).collect())
}

// ---------------------------------------------------------------- what a report waits for

/// The data that a period still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Its kind.
    pub subject: Subject,
    /// Up to when it had come; `None` if it never has.
    pub since: Option<DateTime<Utc>>,
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
        let is_always = expectation == Expectation::Always && subject != Subject::Sales;
        if expectation == Expectation::Never {
            continue;
        }
        let (first, came, since): (Option<NaiveDate>, i64, Option<DateTime<Utc>>) = db
            .fetch_one(
                "SELECT (SELECT MIN(business_day) FROM data_arrivals WHERE mall_id = $1 AND subject = $2),
                        (SELECT COUNT(*) FROM data_arrivals
                         WHERE mall_id = $1 AND subject = $2 AND business_day BETWEEN $3 AND $4),
                        (SELECT MAX(as_of) FROM data_arrivals WHERE mall_id = $1 AND subject = $2)",
                values![mall.id, subject.word(), period.first(), period.last()],
            )
            .await?;
        let expected_from = match first {
            _ if is_always => period.first(),
            Some(first) if first <= period.last() => first.max(period.first()),
            // Before its first day nothing is known of its rhythm.
            _ => continue,
        };
        let expected = DayRange::new(expected_from, period.last())?.len();
        if usize::try_from(came).unwrap_or(0) < expected {
            return Ok(Some(Awaited { subject, since }));
        }
    }
    Ok(None)
}

/// Whether a kind of data has ever come for a mall, by whatever way.
pub async fn has_ever_come(db: &mut Db, mall: i64, subject: Subject) -> anyhow::Result<bool> {
    let table = match subject {
        Subject::Order | Subject::Sales => "orders",
        Subject::Refund => "refunds",
        Subject::Member => "members",
    };
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM data_arrivals WHERE mall_id = $1 AND subject = $2)
             OR EXISTS (SELECT 1 FROM {table} WHERE mall_id = $1)"
    );
    let (has,): (bool,) = db.fetch_one(&sql, values![mall, subject.word()]).await?;
    Ok(has)
}

// ---------------------------------------------------------------- files

/// The rows of a file's chunk, as they are staged.
#[derive(Debug, Clone, Copy)]
pub struct StagedRows {
    /// Their kind.
    pub subject: Subject,
    /// The staging table, which has `mall_id`.
    pub table: &'static str,
    /// The column with the time by which they belong to a day, there and in the stored table.
    pub time: &'static str,
    /// Where they are stored.
    pub stored_in: &'static str,
}

impl StagedRows {
    /// Those of a kind of file; `None` for one that no report waits for.
    pub fn of(kind: &str) -> Option<Self> {
        let (subject, table, time, stored_in) = match kind {
            "orders" => (Subject::Order, "staged_orders", "ordered_at", "orders"),
            "refunds" => (Subject::Refund, "import_refunds", "refunded_at", "refunds"),
            "members" => (Subject::Member, "import_members", "signed_up_at", "members"),
            _ => return None,
        };
        Some(Self { subject, table, time, stored_in })
    }
}

/// How many rows of each day a file has, by mall. Part of an import's checkpoint: a run that goes on after a kill has not
/// seen the chunks before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDays {
    malls: BTreeMap<i64, MallDays>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct MallDays {
    /// Whether there are rows from before the examined days.
    has_older: bool,
    rows: BTreeMap<NaiveDate, i64>,
}

/// A file that was read to its end.
#[derive(Debug)]
pub struct File<'a> {
    /// What its rows are.
    pub staged: StagedRows,
    /// When it was exported.
    pub exported: Exported,
    /// The mall that all of it is about, if there is only one.
    pub mall: Option<i64>,
    /// All malls.
    pub malls: &'a [Mall],
}

/// When a file was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The instant.
    pub at: DateTime<Utc>,
    /// Whether somebody said so. A file's own time is that of its last copy.
    pub is_stated: bool,
}

impl FileDays {
    /// Whether the file has had no rows so far.
    pub fn is_empty(&self) -> bool {
        self.malls.is_empty()
    }

    /// Adds the rows of a chunk, while they are staged.
    pub async fn add(
        &mut self,
        db: &mut Db,
        staged: &StagedRows,
        exported: Exported,
        malls: &[Mall],
    ) -> anyhow::Result<()> {
        let StagedRows { table, time, .. } = staged;
        let hour = hour_of(db, time);
        let sql = format!(
            "SELECT mall_id, CASE WHEN {time} < $1 THEN '' ELSE {hour} END, COUNT(*) FROM {table}
             WHERE {time} IS NOT NULL GROUP BY 1, 2"
        );
        let counted: Vec<(i64, String, i64)> =
            db.fetch_all(&sql, values![examined_from(exported.at)]).await?;
        for (mall, hour, rows) in counted {
            let days = self.malls.entry(mall).or_default();
            let time_zone = malls.iter().find(|one| one.id == mall).and_then(|mall| mall.time_zone().ok());
            match (parsed_hour(&hour), time_zone) {
                (Some(hour), Some(time_zone)) => {
                    *days.rows.entry(local_day(hour, time_zone)).or_default() += rows;
                }
                _ => days.has_older = true,
            }
        }
        Ok(())
    }

    /// Notes which days have come by the file, now that all of it is stored.
    pub async fn note(
        &self,
        db: &mut Db,
        file: &File<'_>,
        run: i64,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let subject = file.staged.subject;
        let arrival = Arrival { source: Source::Import, as_of: file.exported.at, run, at: now };
        let together = self.malls_without_rows(db, file).await?;
        // What the file says of all malls that it has rows of, it says of one that sold nothing too.
        let mut said_of_all: Option<BTreeSet<NaiveDate>> = None;
        for (&id, days) in &self.malls {
            let Some(mall) = file.malls.iter().find(|mall| mall.id == id) else { continue };
            let Ok(time_zone) = mall.time_zone() else { continue };
            let covered = covered_in(db, mall, days, file, time_zone).await?;
            note(db, id, subject, &covered, &arrival).await?;
            said_of_all = Some(match said_of_all {
                None => covered,
                Some(said) => said.intersection(&covered).copied().collect(),
            });
        }
        for mall in file.malls.iter().filter(|mall| together.contains(&mall.id)) {
            let Ok(time_zone) = mall.time_zone() else { continue };
            let days = match &said_of_all {
                Some(days) => days.clone(),
                // A file without a line, which somebody allowed.
                None => BTreeSet::from([last_finished_day(file.exported.at, time_zone)]),
            };
            note(db, mall.id, subject, &days, &arrival).await?;
        }
        Ok(())
    }

    /// The malls that the file is about although it has no rows of them: its only one, or those that came with the others
    /// the last time.
    async fn malls_without_rows(&self, db: &mut Db, file: &File<'_>) -> anyhow::Result<BTreeSet<i64>> {
        if let Some(mall) = file.mall {
            return Ok(if self.malls.contains_key(&mall) { BTreeSet::new() } else { BTreeSet::from([mall]) });
        }
        let with_rows: Vec<i64> = self.malls.keys().copied().collect();
        let sql = format!(
            "SELECT DISTINCT mall_id FROM data_arrivals
             WHERE subject = $1 AND source = 'IMPORT' AND execution_id = (
                 SELECT MAX(execution_id) FROM data_arrivals
                 WHERE subject = $1 AND source = 'IMPORT' AND ($2 = 0 OR mall_id IN {}))",
            db.numbers("$3")
        );
        let count = i64::try_from(with_rows.len()).unwrap_or(i64::MAX);
        let together: Vec<(i64,)> =
            db.fetch_all(&sql, values![file.staged.subject.word(), count, json!(with_rows)]).await?;
        let together = together.into_iter().map(|(mall,)| mall);
        Ok(together.filter(|mall| !self.malls.contains_key(mall)).collect())
    }
}

/// The days of a mall that a file covers.
async fn covered_in(
    db: &mut Db,
    mall: &Mall,
    days: &MallDays,
    file: &File<'_>,
    time_zone: Tz,
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let turn = last_finished_day(file.exported.at, time_zone);
    let from = examined_from(file.exported.at);
    let first = local_day(from, time_zone);
    let known = known_days(db, mall.id, file.staged.subject, DayRange::new(first.min(turn), turn)?).await?;
    let StagedRows { stored_in, time, .. } = file.staged;
    let hour = hour_of(db, time);
    // Only if days are missing does it matter what else is stored of those that are there.
    let has_gap = known.first().is_some_and(|known_from| {
        known_from.iter_days().take_while(|day| *day < turn).any(|day| !known.contains(&day))
    });
    let mut stored: BTreeMap<NaiveDate, i64> = BTreeMap::new();
    if has_gap || !days.rows.contains_key(&turn) {
        let sql = format!(
            "SELECT {hour}, COUNT(*) FROM {stored_in} WHERE mall_id = $1 AND {time} >= $2 AND {time} < $3 GROUP BY 1"
        );
        let to = day_bounds(turn, time_zone).end;
        let counted: Vec<(String, i64)> = db.fetch_all(&sql, values![mall.id, from, to]).await?;
        for (hour, rows) in counted {
            if let Some(hour) = parsed_hour(&hour) {
                *stored.entry(local_day(hour, time_zone)).or_default() += rows;
            }
        }
    }
    Ok(days.covered(&Known { days: &known, stored: &stored }, first, turn, file.exported))
}

/// What is known of a mall before a file.
struct Known<'k> {
    /// The days that have come.
    days: &'k BTreeSet<NaiveDate>,
    /// How many rows are stored of each day, those of the file included.
    stored: &'k BTreeMap<NaiveDate, i64>,
}

impl MallDays {
    /// The days that the file covers: its turn, which is the last day that was over when it was exported, and the days
    /// before as far back as it proves to be complete.
    ///
    /// Shops export in three ways: a day at a time, everything up to now, or what changed since. Only the second one makes up
    /// for a file that never came, and the third one looks like it. So a file fills a gap only if it begins there, or if it
    /// also holds all of a day before that is known to be complete. And a day on which it has no rows at all is covered only
    /// if it holds all of two such days, which the file of a day does not, however late it was copied; or if somebody said
    /// when it was exported.
    fn covered(
        &self,
        known: &Known<'_>,
        first: NaiveDate,
        turn: NaiveDate,
        exported: Exported,
    ) -> BTreeSet<NaiveDate> {
        let rows = |day: &NaiveDate| self.rows.get(day).copied().unwrap_or(0);
        let begins = self.rows.keys().next().copied().filter(|_| !self.has_older);
        let reach = |last: NaiveDate| {
            let (mut from, mut proofs) = (last, 0);
            let earliest = begins.unwrap_or(first);
            for day in last.iter_days().rev().skip(1).take_while(|day| *day >= earliest) {
                let stored = known.stored.get(&day).copied().unwrap_or(0);
                if known.days.contains(&day) {
                    if rows(&day) < stored {
                        break;
                    }
                    proofs += i32::from(stored > 0);
                }
                from = day;
            }
            let is_whole = begins.map_or(known.days.is_empty(), |begins| from == begins);
            (if is_whole || proofs > 0 { from } else { last }, proofs)
        };
        let (mut from, proofs) = reach(turn);
        let mut last = turn;
        if rows(&turn) == 0 && proofs < 2 && !exported.is_stated {
            // An old file, or the first one after a day without sales.
            let Some(newest) = self.rows.keys().rev().find(|day| **day < turn) else {
                return BTreeSet::new();
            };
            last = *newest;
            (from, _) = reach(last);
        }
        from.iter_days().take_while(|day| *day <= last).collect()
    }
}

/// The time of a column to the hour, as a text that is the same on both databases.
fn hour_of(db: &Db, time: &str) -> String {
    match db.kind() {
        Kind::Sqlite => format!("SUBSTR({time}, 1, 13)"),
        Kind::Postgres => format!("TO_CHAR({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24')"),
    }
}

fn parsed_hour(text: &str) -> Option<DateTime<Utc>> {
    format!("{text}:00:00Z").parse().ok()
}

fn examined_from(exported: DateTime<Utc>) -> DateTime<Utc> {
    exported.checked_sub_days(Days::new(EXAMINED_DAYS)).unwrap_or(exported)
}

#[cfg(test)]
mod tests;
