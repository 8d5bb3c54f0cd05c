//! The days or weeks of a report. A period is over when it is over in the mall's own time zone, so that at a given
//! instant the last finished day of two malls may differ.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::{DateArgs, DayBounds, DayRange, day_before, day_bounds, local_day};
use crate::shop::malls::{Mall, MallArgs};

/// How long one period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A business day.
    Day,
    /// Monday to Sunday.
    Week,
}

impl Step {
    /// The period around a day.
    pub fn around(self, day: NaiveDate) -> DayRange {
        match self {
            Self::Day => DayRange::single(day),
            Self::Week => DayRange::week_of(day),
        }
    }

    /// The newest period that is over.
    pub fn last_finished(self, now: DateTime<Utc>, time_zone: Tz) -> DayRange {
        self.last_finished_on(local_day(now, time_zone))
    }

    /// The newest period that is over on this day.
    pub fn last_finished_on(self, today: NaiveDate) -> DayRange {
        let day = day_before(today);
        let period = self.around(day);
        if period.last() <= day { period } else { self.around(period.first() - Days::new(1)) }
    }
}

/// A period as instants.
pub fn bounds(period: DayRange, time_zone: Tz) -> DayBounds {
    DayBounds {
        start: day_bounds(period.first(), time_zone).start,
        end: day_bounds(period.last(), time_zone).end,
    }
}

/// The time zone of a mall. A mall with an unknown time zone fails later, as one item among others.
pub fn zone_of(cx: &Context, mall: &Mall) -> Tz {
    mall.time_zone().unwrap_or(cx.time_zone())
}

/// The malls whose newest finished period begins with this day.
pub fn current_in(cx: &Context, step: Step, first: NaiveDate, mut malls: Vec<Mall>) -> Vec<Mall> {
    malls.retain(|mall| step.last_finished(cx.now(), zone_of(cx, mall)).first() == first);
    malls
}

/// The first days of the periods asked for; by default the last finished period of each mall. `so_far` is the flag of a
/// job that supports provisional figures.
pub fn asked(
    cx: &Context,
    step: Step,
    dates: &DateArgs,
    malls: &[Mall],
    so_far: Option<bool>,
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let now = cx.now();
    if !dates.is_given() {
        let last = |mall| step.last_finished(now, zone_of(cx, mall)).first();
        return Ok(malls.iter().map(last).collect());
    }
    let default = step.last_finished(now, cx.time_zone());
    let range = dates.resolve(cx.today(), default).map_err(|error| Failure::usage(error.to_string()))?;
    let mut periods: BTreeSet<NaiveDate> = range.iter().map(|day| step.around(day).first()).collect();
    let is_over = |first: NaiveDate| {
        let period = step.around(first);
        malls.iter().any(|mall| bounds(period, zone_of(cx, mall)).end <= now)
    };
    if step == Step::Week {
        // A range of days that extends into the current week means the weeks before it.
        let over: BTreeSet<NaiveDate> = periods.iter().copied().filter(|first| is_over(*first)).collect();
        if !over.is_empty() {
            periods = over;
        }
    }
    let Some(&last) = periods.last() else { return Ok(periods) };
    let period = step.around(last);
    let has_begun = |mall: &Mall| bounds(period, zone_of(cx, mall)).start <= now;
    if !malls.is_empty() && !malls.iter().any(has_begun) {
        return Err(Failure::usage(format!("{period} is in the future")).into());
    }
    if !malls.is_empty() && so_far != Some(true) && !is_over(last) {
        let failure = Failure::usage(format!("{period} is not over yet"));
        return Err(match so_far {
            Some(_) => failure.hint("add --so-far for provisional figures"),
            None => failure.hint(finished_hint(step, dates, range.first(), malls, cx)),
        }
        .into());
    }
    Ok(periods)
}

/// What to type instead of days that are not over.
fn finished_hint(step: Step, dates: &DateArgs, first: NaiveDate, malls: &[Mall], cx: &Context) -> String {
    if dates.date.is_some() {
        return "omit --date for the last finished one".to_owned();
    }
    let last_of = |mall| step.last_finished(cx.now(), zone_of(cx, mall)).last();
    match malls.iter().map(last_of).max() {
        Some(last) if first <= last => format!("write --to {last}, the last finished day"),
        _ if dates.to.is_some() => "omit --from and --to for the last finished one".to_owned(),
        _ => "omit --from for the last finished one".to_owned(),
    }
}

/// The selected malls for which the period can be reported: it is over there, or it has begun and provisional figures
/// are wanted.
pub async fn malls_of(
    cx: &Context,
    db: &mut Db,
    flag: &MallArgs,
    period: DayRange,
    so_far: bool,
) -> anyhow::Result<Vec<Mall>> {
    let now = cx.now();
    let mut malls = flag.selected(db).await?;
    malls.retain(|mall| {
        let Ok(time_zone) = mall.time_zone() else { return true };
        let bounds = bounds(period, time_zone);
        bounds.end <= now || (so_far && bounds.start <= now)
    });
    Ok(malls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn last_week(now: &str, time_zone: Tz) -> String {
        let now = DateTime::parse_from_rfc3339(now).unwrap().to_utc();
        Step::Week.last_finished(now, time_zone).to_string()
    }

    #[test]
    fn a_week_is_over_on_monday_morning_of_its_own_zone() {
        let (tokyo, new_york) = (chrono_tz::Asia::Tokyo, chrono_tz::America::New_York);
        assert_eq!(last_week("2026-11-23T00:00:00+09:00", tokyo), "2026-11-16..2026-11-22");
        assert_eq!(last_week("2026-11-22T23:59:59+09:00", tokyo), "2026-11-09..2026-11-15");
        assert_eq!(last_week("2026-11-23T04:00:00+09:00", new_york), "2026-11-09..2026-11-15");
        assert_eq!(last_week("2026-11-23T00:00:00-05:00", new_york), "2026-11-16..2026-11-22");
    }

    #[test]
    fn a_week_with_a_clock_change_is_longer_or_shorter_by_an_hour() {
        let hours = |monday: &str| {
            let bounds = bounds(DayRange::week_of(day(monday)), chrono_tz::America::New_York);
            (bounds.end - bounds.start).num_hours()
        };
        assert_eq!(
            [hours("2026-10-26"), hours("2026-03-02"), hours("2026-11-16")],
            [7 * 24 + 1, 7 * 24 - 1, 7 * 24]
        );
    }
}
