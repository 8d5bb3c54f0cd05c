//! The period of a synchronisation: days or instants, in the mall's time zone.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::failure::Failure;
use crate::period::{PeriodError, day_bounds, last_finished_day, local_day, local_to_utc, parse_day};

use super::cursor::{Span, second_of};

/// The synchronised period, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    /// Both ends are included.
    pub(super) span: Span,
    time_zone: Tz,
}

/// One end as it was written.
enum End {
    Day(chrono::NaiveDate),
    Instant(DateTime<Utc>),
}

impl Period {
    /// The period asked for; by default the mall's last finished day, which is also the default end.
    pub(super) fn asked(
        from: Option<&str>,
        to: Option<&str>,
        time_zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let today = local_day(now, time_zone);
        let finished = last_finished_day(now, time_zone);
        let read = |flag: &str, text: Option<&str>| match text {
            None => Ok(End::Day(finished)),
            Some(text) => read_end(text, today, time_zone).map_err(|error| {
                Failure::usage(format!("--{flag}: {error}")).hint(
                    "an instant is 2026-11-19T10:30:00, in the mall's time zone or with an offset: +09:00, Z",
                )
            }),
        };
        let first = match read("from", from)? {
            End::Day(day) => day_bounds(day, time_zone).start,
            End::Instant(instant) => second_of(instant),
        };
        let last = match read("to", to)? {
            End::Day(day) => day_bounds(day, time_zone).end - TimeDelta::seconds(1),
            End::Instant(instant) => second_of(instant),
        };
        let period = Self { span: Span { first, last }, time_zone };
        if first > last {
            let to = if to.is_some() { "--to" } else { "yesterday, the end without --to" };
            return Err(Failure::usage(format!(
                "--from is after {to}: {} is later than {}",
                period.instant(first),
                period.instant(last)
            )));
        }
        Ok(period)
    }

    /// The period as a canonical text, the same however it was asked for: days if it consists of whole days.
    pub(super) fn key(&self) -> String {
        let [from, to] = self.ends();
        if from == to { from } else { format!("{from}..{to}") }
    }

    /// Its two ends in the form of the flags.
    pub(super) fn ends(&self) -> [String; 2] {
        let Span { first, last } = self.span;
        let (first_day, last_day) = (local_day(first, self.time_zone), local_day(last, self.time_zone));
        let is_whole = day_bounds(first_day, self.time_zone).start == first
            && day_bounds(last_day, self.time_zone).end == last + TimeDelta::seconds(1);
        if is_whole {
            return [first_day.to_string(), last_day.to_string()];
        }
        [self.instant(first), self.instant(last)]
    }

    /// Whether it was over at this instant.
    pub(super) fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.span.last < at
    }

    fn instant(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.time_zone).to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}

fn read_end(text: &str, today: chrono::NaiveDate, time_zone: Tz) -> Result<End, PeriodError> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(End::Instant(instant.to_utc()));
    }
    for format in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
            return local_to_utc(local, time_zone).map(End::Instant);
        }
    }
    parse_day(text, today).map(End::Day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEOUL: Tz = chrono_tz::Asia::Seoul;

    fn asked(from: Option<&str>, to: Option<&str>, zone: Tz) -> Result<Period, String> {
        let now = "2026-11-19T16:00:00Z".parse().expect("a time");
        Period::asked(from, to, zone, now).map_err(|failure| failure.message)
    }

    #[test]
    fn the_default_is_the_malls_own_last_finished_day() {
        assert_eq!(asked(None, None, SEOUL).expect("a period").key(), "2026-11-19");
        assert_eq!(asked(None, None, chrono_tz::America::New_York).expect("a period").key(), "2026-11-18");
    }

    #[test]
    fn the_same_period_has_the_same_key_however_it_is_written() {
        let days = asked(Some("2025-12-01"), Some("2025-12-17"), SEOUL).expect("a period");
        let instants =
            asked(Some("2025-12-01T00:00:00"), Some("2025-12-17T23:59:59"), SEOUL).expect("a period");
        let zoned =
            asked(Some("2025-11-30T15:00:00Z"), Some("2025-12-17 23:59:59"), SEOUL).expect("a period");
        assert_eq!(days.key(), "2025-12-01..2025-12-17");
        assert_eq!((days, days), (instants, zoned));
    }

    #[test]
    fn instants_are_kept_to_the_second_with_their_zone() {
        let period =
            asked(Some("2025-12-01T10:30"), Some("2025-12-01T11:00:00.9Z"), SEOUL).expect("a period");
        assert_eq!(period.key(), "2025-12-01T10:30:00+09:00..2025-12-01T20:00:00+09:00");
        let [from, to] = period.ends();
        assert_eq!(asked(Some(&from), Some(&to), SEOUL), Ok(period));
    }

    #[test]
    fn a_day_of_23_hours_is_complete() {
        let new_york = chrono_tz::America::New_York;
        let day = asked(Some("2026-03-08"), Some("2026-03-08"), new_york).expect("a period");
        assert_eq!(day.key(), "2026-03-08");
        assert_eq!((day.span.last - day.span.first).num_seconds(), 23 * 3600 - 1);
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused() {
        assert_eq!(
            asked(Some("2025-12-02"), Some("2025-12-01"), SEOUL),
            Err("--from is after --to: 2025-12-02T00:00:00+09:00 is later than 2025-12-01T23:59:59+09:00"
                .to_owned())
        );
        assert!(asked(Some("today"), None, SEOUL).is_err_and(|error| error.contains("without --to")));
        assert!(asked(Some("soon"), None, SEOUL).is_err_and(|error| error.starts_with("--from: ")));
    }
}
