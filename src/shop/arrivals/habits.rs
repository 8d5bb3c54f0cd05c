//! How the files of a mall were exported before: what one file does not show of itself.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::period::{day_before, day_bounds, last_finished_day, local_day};

use super::files::{Exported, FileDays, MallDays};

/// A file that was imported before another one.
#[derive(Debug, Clone)]
pub struct EarlierFile {
    /// The run that imported it.
    pub run: i64,
    /// Whether that left out some of its lines.
    pub is_partial: bool,
    /// When it was exported.
    pub exported: DateTime<Utc>,
    /// The day in its name, if there is one.
    pub named_day: Option<NaiveDate>,
    /// How many rows of each day it had.
    pub days: FileDays,
}

/// What the files of a mall have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Habits {
    /// Whether they end within a day, and the next begins there: they hold what changed since the last one.
    pub(super) end_within_a_day: bool,
    /// Whether the day in their name is that of their rows; or else that of the export. `None` if they show neither.
    are_named_by_rows: Option<bool>,
    /// The files, by the day on which they were exported.
    by_export_day: BTreeMap<NaiveDate, Vec<EarlierFile>>,
    mall: i64,
}

impl Habits {
    /// Those of a mall.
    pub(super) fn of(earlier: &[EarlierFile], mall: i64, time_zone: Tz) -> Self {
        let mut habits = Self { mall, ..Self::default() };
        for file in earlier {
            let exported_on = local_day(file.exported, time_zone);
            if let Some(days) = file.days.malls.get(&mall) {
                habits.note(days, file.exported, time_zone);
                let has_ended = days.rows_of(exported_on) == 0 && days.rows_of(day_before(exported_on)) > 0;
                // The newest file comes first, and says how files are named now.
                if let Some(named) =
                    file.named_day.filter(|_| has_ended && habits.are_named_by_rows.is_none())
                {
                    habits.are_named_by_rows = match named {
                        named if named == exported_on => Some(false),
                        named if named == day_before(exported_on) => Some(true),
                        _ => None,
                    };
                }
            }
            habits.by_export_day.entry(exported_on).or_default().push(file.clone());
        }
        habits
    }

    /// Takes over what a file shows.
    pub(super) fn note(&mut self, days: &MallDays, exported: DateTime<Utc>, time_zone: Tz) {
        self.end_within_a_day |= days.ends_within_a_day(exported, time_zone);
    }

    /// Whether the beginning of a day has come, if files end within a day. Where none is known, the data came in another way.
    pub(super) fn has_begun(&self, day: NaiveDate) -> bool {
        !self.end_within_a_day || self.by_export_day.is_empty() || self.by_export_day.contains_key(&day)
    }

    /// The run that has stored the beginning of a day only in part, if files end within a day.
    pub(super) fn begun_in_part(&self, day: NaiveDate) -> Option<i64> {
        let begun = self.by_export_day.get(&day).filter(|_| self.end_within_a_day)?;
        if begun.iter().all(|file| file.is_partial) { begun.iter().map(|file| file.run).max() } else { None }
    }

    /// The day on which a file was exported, if it ends there and the file with the rest of that day came before it.
    pub(super) fn ended_before(
        &self,
        exported: DateTime<Utc>,
        time_zone: Tz,
    ) -> Option<(NaiveDate, &EarlierFile)> {
        let day = local_day(exported, time_zone);
        let of_next_day = self.by_export_day.get(&day.succ_opt()?).filter(|_| self.end_within_a_day)?;
        let ends = |file: &&EarlierFile| match file.days.malls.get(&self.mall) {
            Some(days) => days.rows_of(day) > 0,
            None => file.days.is_empty() && self.day_of_an_empty(file, time_zone) == Some(day),
        };
        Some((day, of_next_day.iter().find(ends)?))
    }

    /// The day on which nothing happened, if a file has a header alone: the one before the export, unless the file was exported
    /// so late that it may be that of the running day; an older one, if that is in its name.
    pub(super) fn day_of_an_empty_file(&self, exported: Exported, time_zone: Tz) -> Option<NaiveDate> {
        let day = self.day_of_an_empty_export(exported, time_zone)?;
        self.has_begun(day).then_some(day)
    }

    fn day_of_an_empty(&self, file: &EarlierFile, time_zone: Tz) -> Option<NaiveDate> {
        let EarlierFile { exported: at, named_day, .. } = *file;
        let exported = Exported { at, is_stated: false, named_day, is_of_period: false };
        self.day_of_an_empty_export(exported, time_zone)
    }

    fn day_of_an_empty_export(&self, exported: Exported, time_zone: Tz) -> Option<NaiveDate> {
        let turn = last_finished_day(exported.at, time_zone);
        // A name says nothing against somebody who says it.
        match exported.named_day.filter(|_| !exported.is_stated) {
            Some(named) if named == turn => Some(turn),
            Some(named) if named < turn => {
                self.are_named_by_rows.map(|by_rows| if by_rows { named } else { day_before(named) })
            }
            _ => is_before_noon(exported.at, time_zone).then_some(turn),
        }
    }
}

/// Whether it is still morning where a mall is.
pub(super) fn is_before_noon(at: DateTime<Utc>, time_zone: Tz) -> bool {
    at < day_bounds(local_day(at, time_zone), time_zone).start + TimeDelta::hours(12)
}
