//! Which days have come with a file. It does not say what it leaves out, and its name and its time may be those of a copy: see
//! `MallDays::covered`. How files of the same source were exported before tells more: see [`super::habits`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::db::{Db, Kind};
use crate::period::{DayRange, day_before, day_bounds, last_finished_day, local_day};
use crate::shop::malls::Mall;
use crate::values;

use super::habits::{EarlierFile, Habits, is_before_noon};
use super::{Arrival, Source, Subject, forget_expected, known_days, note};

/// How far back a file is examined. What is older came before, or is asked for by `mall sync` or `--as-of`.
const EXAMINED_DAYS: u64 = 62;

/// How many records, of days that are known and that the file holds completely, have to be as they were stored. A file of what
/// changed since has none but by chance.
const PROOFS: i64 = 3;

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
    pub(super) malls: BTreeMap<i64, MallDays>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MallDays {
    /// Whether there are rows from before the examined days.
    pub(super) has_older: bool,
    pub(super) rows: BTreeMap<NaiveDate, i64>,
    /// Those that were stored just so before.
    #[serde(default)]
    pub(super) unchanged: BTreeMap<NaiveDate, i64>,
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
    /// Those before it of the same kind, mall and section.
    pub earlier: &'a [EarlierFile],
}

/// When a file was exported, and what is known of how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The instant.
    pub at: DateTime<Utc>,
    /// Whether somebody said so. A file's own time is that of its last copy.
    pub is_stated: bool,
    /// The day in the file's name, if there is one: that of its rows or the one after.
    pub named_day: Option<NaiveDate>,
    /// Whether each such file holds everything from its first row's day on, as somebody declared.
    pub is_of_period: bool,
}

impl FileDays {
    /// Whether the file has had no rows so far.
    pub fn is_empty(&self) -> bool {
        self.malls.is_empty()
    }

    /// Adds the rows of a chunk that is stored, while they are staged.
    pub async fn add(
        &mut self,
        db: &mut Db,
        staged: &StagedRows,
        exported: Exported,
        malls: &[Mall],
    ) -> anyhow::Result<()> {
        let StagedRows { table, time, .. } = staged;
        let quarter = quarter_of(db, time);
        // What a shop dates in the future belongs to no day that a file of today covers.
        let sql = format!(
            "SELECT mall_id, CASE WHEN {time} < $1 THEN '' ELSE {quarter} END, COUNT(*),
                    COUNT(*) FILTER (WHERE target_id IS NOT NULL AND is_changed = 0)
             FROM {table} WHERE {time} < $2 GROUP BY 1, 2"
        );
        let counted: Vec<(i64, String, i64, i64)> =
            db.fetch_all(&sql, values![examined_from(exported.at), exported.at]).await?;
        for (mall, quarter, rows, unchanged) in counted {
            let days = self.malls.entry(mall).or_default();
            let time_zone = malls.iter().find(|one| one.id == mall).and_then(|mall| mall.time_zone().ok());
            match (parsed_quarter(&quarter), time_zone) {
                (Some(quarter), Some(time_zone)) => {
                    let day = local_day(quarter, time_zone);
                    *days.rows.entry(day).or_default() += rows;
                    *days.unchanged.entry(day).or_default() += unchanged;
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
        forget_expected(db, subject, run).await?;
        let together = self.malls_without_rows(db, file).await?;
        // What the file says of all malls that it has rows of, it says of one that sold nothing too.
        let mut said_of_all: Option<BTreeSet<NaiveDate>> = None;
        for (&id, days) in &self.malls {
            let Some(mall) = file.malls.iter().find(|mall| mall.id == id) else { continue };
            let Ok(time_zone) = mall.time_zone() else { continue };
            let mut habits = Habits::of(file.earlier, id, time_zone);
            habits.note(days, file.exported.at, time_zone);
            let covered = covered_in(db, mall, days, file, &habits, time_zone).await?;
            note_with_habits(db, file, (id, time_zone), &covered, &habits, &arrival).await?;
            said_of_all = Some(match said_of_all {
                None => covered,
                Some(said) => said.intersection(&covered).copied().collect(),
            });
        }
        for mall in file.malls.iter().filter(|mall| together.contains(&mall.id)) {
            let Ok(time_zone) = mall.time_zone() else { continue };
            let habits = Habits::of(file.earlier, mall.id, time_zone);
            let days = match &said_of_all {
                Some(days) => days.clone(),
                // A file without a line, which somebody allowed.
                None => habits.day_of_an_empty_file(file.exported, time_zone).into_iter().collect(),
            };
            note_with_habits(db, file, (mall.id, time_zone), &days, &habits, &arrival).await?;
        }
        Ok(())
    }

    /// Whether a file with a header alone says of a day that nothing happened, of which nothing has come so far.
    pub async fn is_news_of_an_empty_file(db: &mut Db, file: &File<'_>) -> anyhow::Result<bool> {
        let together = Self::default().malls_without_rows(db, file).await?;
        for mall in file.malls.iter().filter(|mall| together.contains(&mall.id)) {
            let Ok(time_zone) = mall.time_zone() else { continue };
            let habits = Habits::of(file.earlier, mall.id, time_zone);
            let Some(day) = habits.day_of_an_empty_file(file.exported, time_zone) else { continue };
            if known_days(db, mall.id, file.staged.subject, DayRange::single(day)).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
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
                 WHERE subject = $1 AND source = 'IMPORT' AND ($2 = 0 OR mall_id IN {})
                   AND ($4 = 0 OR execution_id IN {}))",
            db.numbers("$3"),
            db.numbers("$5")
        );
        let earlier: Vec<i64> = file.earlier.iter().map(|earlier| earlier.run).collect();
        let of_origin = i64::try_from(earlier.len()).unwrap_or(i64::MAX);
        let count = i64::try_from(with_rows.len()).unwrap_or(i64::MAX);
        let together: Vec<(i64,)> = db
            .fetch_all(
                &sql,
                values![file.staged.subject.word(), count, json!(with_rows), of_origin, json!(earlier)],
            )
            .await?;
        let together = together.into_iter().map(|(mall,)| mall);
        Ok(together.filter(|mall| !self.malls.contains_key(mall)).collect())
    }
}

/// Notes the days that a file covers, and the one whose beginning is in it and whose end had come before.
async fn note_with_habits(
    db: &mut Db,
    file: &File<'_>,
    (mall, time_zone): (i64, Tz),
    covered: &BTreeSet<NaiveDate>,
    habits: &Habits,
    arrival: &Arrival,
) -> anyhow::Result<()> {
    let subject = file.staged.subject;
    let alone = covered.first().filter(|_| covered.len() == 1);
    let run = alone.and_then(|day| habits.begun_in_part(*day)).unwrap_or(arrival.run);
    note(db, mall, subject, covered, &Arrival { run, ..*arrival }).await?;
    let Some((day, ended_by)) = habits.ended_before(file.exported.at, time_zone) else { return Ok(()) };
    let run = if ended_by.is_partial { ended_by.run } else { arrival.run };
    let arrival = Arrival { run, as_of: ended_by.exported, ..*arrival };
    note(db, mall, subject, &BTreeSet::from([day]), &arrival).await
}

/// The days of a mall that a file covers.
async fn covered_in(
    db: &mut Db,
    mall: &Mall,
    days: &MallDays,
    file: &File<'_>,
    habits: &Habits,
    time_zone: Tz,
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let turn = last_finished_day(file.exported.at, time_zone);
    let from = examined_from(file.exported.at);
    let first = local_day(from, time_zone);
    let known = known_days(db, mall.id, file.staged.subject, DayRange::new(first.min(turn), turn)?).await?;
    let StagedRows { stored_in, time, .. } = file.staged;
    let quarter = quarter_of(db, time);
    // Only if days are missing does it matter what else is stored of those that are there.
    let has_gap = known.first().is_some_and(|known_from| {
        known_from.iter_days().take_while(|day| *day < turn).any(|day| !known.contains(&day))
    });
    let mut stored: BTreeMap<NaiveDate, i64> = BTreeMap::new();
    if has_gap || !days.rows.contains_key(&turn) {
        let sql = format!(
            "SELECT {quarter}, COUNT(*) FROM {stored_in} WHERE mall_id = $1 AND {time} >= $2 AND {time} < $3 GROUP BY 1"
        );
        let to = day_bounds(turn, time_zone).end;
        let counted: Vec<(String, i64)> = db.fetch_all(&sql, values![mall.id, from, to]).await?;
        for (quarter, rows) in counted {
            if let Some(quarter) = parsed_quarter(&quarter) {
                *stored.entry(local_day(quarter, time_zone)).or_default() += rows;
            }
        }
    }
    let is_early = is_before_noon(file.exported.at, time_zone);
    Ok(days.covered(&Known { days: &known, stored: &stored, habits, is_early }, first, turn, file.exported))
}

/// What is known of a mall before a file.
pub(super) struct Known<'k> {
    /// The days that have come.
    pub(super) days: &'k BTreeSet<NaiveDate>,
    /// How many rows are stored of each day, those of the file included.
    pub(super) stored: &'k BTreeMap<NaiveDate, i64>,
    /// How its files were exported, this one included.
    pub(super) habits: &'k Habits,
    /// Whether the file was exported in the morning after its turn, and not later on that day.
    pub(super) is_early: bool,
}

/// How far back a file proves to be complete.
struct Reach {
    from: NaiveDate,
    /// The known days with rows that it holds completely.
    whole_days: usize,
    /// The rows of them that are as they were stored.
    unchanged: i64,
}

impl Reach {
    /// Whether the file holds what was there all along, and not just what changed.
    fn is_proven(&self) -> bool {
        self.unchanged >= PROOFS
    }

    /// Whether the file holds more than one day, all along.
    fn is_of_several_days(&self) -> bool {
        self.is_proven() && self.whole_days >= 2
    }
}

impl MallDays {
    /// The days that the file covers: its turn, which is the last day that was over when it was exported, and the days
    /// before as far back as it proves to be complete.
    ///
    /// Shops export in three ways: a day at a time, everything up to now, or what changed since. Only the second one makes up
    /// for a file that never came, and the third one looks like it: an order of the missing day that was paid or shipped
    /// since is in there. So a file fills a gap only if it also holds all rows of days before that are known to be complete,
    /// some of them just as they were; or if somebody declared what such files hold.
    ///
    /// A file of what changed since that was exported at two in the morning lacks the first two hours of its turn: those are
    /// in the file of the night before, without which that day is not complete either.
    pub(super) fn covered(
        &self,
        known: &Known<'_>,
        first: NaiveDate,
        turn: NaiveDate,
        exported: Exported,
    ) -> BTreeSet<NaiveDate> {
        let mut last = turn;
        let mut reach = self.reach(known, first, last);
        if self.rows_of(turn) == 0 && !self.tells_of_a_quiet_day(known, &reach, turn, exported) {
            let Some(last_of_rows) = self.last_of_an_old_file(known, turn, exported) else {
                return BTreeSet::new();
            };
            last = last_of_rows;
            reach = self.reach(known, first, last);
        }
        if self.holds_everything(known, &reach, exported) {
            return reach.from.iter_days().take_while(|day| *day <= last).collect();
        }
        if known.habits.has_begun(last) { BTreeSet::from([last]) } else { BTreeSet::new() }
    }

    /// Whether the file, which has no row of its turn, says that nothing was sold on that day: if it holds two days before,
    /// however late it was exported; if it is declared to hold everything from an earlier day on, and was exported later; or if
    /// somebody said that it was exported in the morning after. The file of another day says nothing, and one that was
    /// exported later on the next day may hold just what was sold on that.
    fn tells_of_a_quiet_day(
        &self,
        known: &Known<'_>,
        reach: &Reach,
        turn: NaiveDate,
        exported: Exported,
    ) -> bool {
        if reach.is_of_several_days() {
            return true;
        }
        let begins_later = self.begins().is_some_and(|begins| begins > turn);
        let goes_on = self.rows.keys().next_back().is_some_and(|last| *last > turn);
        if exported.is_of_period && self.begins() == Some(reach.from) && !begins_later {
            return goes_on || exported.is_stated;
        }
        let is_of_another_day = !self.has_older && self.rows.len() == 1 && !known.habits.end_within_a_day;
        let says_nothing = is_of_another_day || (exported.is_of_period && begins_later);
        exported.is_stated && known.is_early && !says_nothing
    }

    /// Whether the file ends within the day of its export, and has rows of the day before too.
    pub(super) fn ends_within_a_day(&self, exported: DateTime<Utc>, time_zone: Tz) -> bool {
        let exported_on = local_day(exported, time_zone);
        self.rows_of(exported_on) > 0 && self.rows_of(day_before(exported_on)) > 0
    }

    pub(super) fn rows_of(&self, day: NaiveDate) -> i64 {
        self.rows.get(&day).copied().unwrap_or(0)
    }

    /// The day of its first row, if that is known.
    fn begins(&self) -> Option<NaiveDate> {
        self.rows.keys().next().copied().filter(|_| !self.has_older)
    }

    /// How far before a day the file lacks nothing that is stored of the days that are known.
    fn reach(&self, known: &Known<'_>, first: NaiveDate, last: NaiveDate) -> Reach {
        let mut reach = Reach { from: last, whole_days: 0, unchanged: 0 };
        let earliest = self.begins().unwrap_or(first);
        for day in last.iter_days().rev().skip(1).take_while(|day| *day >= earliest) {
            let stored = known.stored.get(&day).copied().unwrap_or(0);
            if known.days.contains(&day) {
                if self.rows_of(day) < stored {
                    break;
                }
                reach.whole_days += usize::from(stored > 0);
                reach.unchanged += self.unchanged.get(&day).copied().unwrap_or(0);
            }
            reach.from = day;
        }
        reach
    }

    /// Whether the file holds everything from where it reaches back to.
    fn holds_everything(&self, known: &Known<'_>, reach: &Reach, exported: Exported) -> bool {
        let is_first = known.days.is_empty() && self.begins().is_none_or(|begins| begins == reach.from);
        let is_of_period = exported.is_of_period && self.begins() == Some(reach.from);
        is_first || is_of_period || reach.is_proven()
    }

    /// The last day with rows of a file that is older than its own time says, because it was copied: its name has that day,
    /// or the next one. The first file of all is taken for what it is: from its days on, each is expected.
    fn last_of_an_old_file(
        &self,
        known: &Known<'_>,
        turn: NaiveDate,
        exported: Exported,
    ) -> Option<NaiveDate> {
        let last = self.rows.keys().rev().find(|day| **day < turn && self.rows_of(**day) > 0).copied()?;
        if known.days.is_empty() {
            return Some(last);
        }
        let named = exported.named_day?;
        if named == last && known.habits.end_within_a_day {
            // The day of its export, which it does not hold to its end.
            return Some(day_before(last)).filter(|day| self.rows_of(*day) > 0);
        }
        (named == last || Some(named) == last.succ_opt()).then_some(last)
    }
}

/// The day in a file's name, such as `orders-2026-11-18.csv`, `orders_20261118.csv` or `order_20261119020311.csv`: the last
/// one, if there are several.
pub fn named_day(name: &str) -> Option<NaiveDate> {
    let mut found = None;
    // Years, months and days may be separated, and a time may follow.
    let characters: Vec<char> = name.chars().collect();
    for start in 0..characters.len() {
        if start > 0 && characters[start - 1].is_ascii_digit() {
            continue;
        }
        let rest: String = characters[start..].iter().take(10).collect();
        let digits = characters[start..].iter().take_while(|character| character.is_ascii_digit()).count();
        let day = match digits {
            8 | 12 | 14 => rest.get(..8).and_then(|day| NaiveDate::parse_from_str(day, "%Y%m%d").ok()),
            4 => ["%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d"]
                .iter()
                .find_map(|form| NaiveDate::parse_from_str(&rest, form).ok()),
            _ => None,
        };
        found = day.or(found);
    }
    found
}

/// The time of a column to the quarter of an hour, as a text that is the same on both databases. Every time zone's days begin
/// at one: India's at 18:30 UTC, Nepal's at 18:15.
fn quarter_of(db: &Db, time: &str) -> String {
    match db.kind() {
        Kind::Sqlite => format!(
            "SUBSTR({time}, 1, 14) || SUBSTR('00153045', 1 + 2 * (CAST(SUBSTR({time}, 15, 2) AS INTEGER) / 15), 2)"
        ),
        Kind::Postgres => format!(
            "TO_CHAR(DATE_BIN('15 minutes', {time}, '2000-01-01T00:00:00Z') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI')"
        ),
    }
}

fn parsed_quarter(text: &str) -> Option<DateTime<Utc>> {
    format!("{text}:00Z").parse().ok()
}

fn examined_from(exported: DateTime<Utc>) -> DateTime<Utc> {
    exported.checked_sub_days(Days::new(EXAMINED_DAYS)).unwrap_or(exported)
}
