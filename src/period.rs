//! Days, ranges of days and durations, as people write them and as the database needs them.
//!
//! Not a clock: the caller says which day today is.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::{GapInfo, Tz};

/// The longest range of days that one command accepts: ten years. A longer one is a typo, and would add a row of
/// history per day.
pub const MAX_RANGE_DAYS: i64 = 3_700;

/// What is wrong with a day, a range or a duration. The message is for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Has the form of a date, but the calendar has no such day.
    #[error("`{0}` is not a date that exists")]
    NoSuchDate(String),
    /// Does not have the form of a date.
    #[error("`{0}` is not a date: write YYYY-MM-DD, today, yesterday or -7d")]
    NotADay(String),
    /// Is neither a date nor a range.
    #[error("`{0}` is not a date: write YYYY-MM-DD, today, yesterday, -7d, last-week or last-month")]
    NotDays(String),
    /// `--from` is after `--to`.
    #[error("--from {from} is after --to {to}")]
    Reversed {
        /// The first day asked for.
        from: NaiveDate,
        /// The last day asked for.
        to: NaiveDate,
    },
    /// `--from` alone ends yesterday, and starts later than that.
    #[error("--from {from} is after yesterday ({yesterday}), where a range without --to ends")]
    FromAfterYesterday {
        /// The first day asked for.
        from: NaiveDate,
        /// The day before today.
        yesterday: NaiveDate,
    },
    /// More days than [`MAX_RANGE_DAYS`].
    #[error("{from}..{to} has {days} days, more than the {MAX_RANGE_DAYS} that one command takes")]
    TooLong {
        /// The first day asked for.
        from: NaiveDate,
        /// The last day asked for.
        to: NaiveDate,
        /// How many days that is.
        days: i64,
    },
    /// `--to` without `--from`. Clap says it first; this is for callers without clap.
    #[error("--to needs --from")]
    ToAlone,
    /// A local time inside the hour that a time zone skips.
    #[error("{} does not exist in {time_zone}", .local.format("%Y-%m-%d %H:%M"))]
    NoSuchTime {
        /// The local time.
        local: NaiveDateTime,
        /// The time zone.
        time_zone: Tz,
    },
    /// Not a duration.
    #[error("`{0}` is not a duration: write 250ms, 90s, 5m, 2h, 1d or 1h30m")]
    NotADuration(String),
    /// A duration without a unit.
    #[error("`{0}` has no unit: write {0}s, {0}m or {0}h")]
    NoUnit(String),
}

/// The day that `text` means: `2026-11-19`, `today`, `yesterday`, or `-7d` for seven days before today.
pub fn parse_day(text: &str, today: NaiveDate) -> Result<NaiveDate, PeriodError> {
    let not_a_day = || PeriodError::NotADay(text.to_owned());
    match text {
        "today" => return Ok(today),
        "yesterday" => return Ok(day_before(today)),
        _ => {}
    }
    if let Some(days) = text.strip_prefix('-').and_then(|text| text.strip_suffix('d')) {
        let days = digits(days).ok_or_else(not_a_day)?;
        return today
            .checked_sub_days(Days::new(days))
            // Only years of four digits can be written back.
            .filter(|day| day.year() >= 1)
            .ok_or_else(|| PeriodError::NoSuchDate(text.to_owned()));
    }
    // chrono also accepts `2026-1-5` and ` 2026-01-05`; one way to write a day keeps the history searchable.
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return Err(not_a_day());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    // No calendar that people or databases use has a year 0.
    day.filter(|day| day.year() >= 1).ok_or_else(|| PeriodError::NoSuchDate(text.to_owned()))
}

/// Parses a moment in the past or the future: an instant (RFC 3339), a duration before now such as `2h`, or a day, of which it
/// is the beginning in the time zone.
pub fn parse_moment(text: &str, now: DateTime<Utc>, time_zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    if let Ok(ago) = parse_duration(text) {
        let then = TimeDelta::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago));
        return then.ok_or_else(|| PeriodError::NotADuration(text.to_owned()));
    }
    parse_day(text, now.with_timezone(&time_zone).date_naive()).map(|day| day_bounds(day, time_zone).start)
}

/// The days that `text` means: any single day of [`parse_day`], `last-week` (Monday to Sunday before this
/// week) or `last-month`.
pub fn parse_days(text: &str, today: NaiveDate) -> Result<DayRange, PeriodError> {
    match text {
        "last-week" => Ok(DayRange::week_of(today - Days::new(7))),
        "last-month" => Ok(DayRange::month_of(today - Months::new(1))),
        _ => match parse_day(text, today) {
            Ok(day) => Ok(DayRange::single(day)),
            Err(PeriodError::NotADay(text)) => Err(PeriodError::NotDays(text)),
            Err(error) => Err(error),
        },
    }
}

/// Consecutive days, both ends included; at least one, at most [`MAX_RANGE_DAYS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DayRange {
    first: NaiveDate,
    last: NaiveDate,
}

impl DayRange {
    /// The days from `first` to `last`, both included.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Result<Self, PeriodError> {
        if first > last {
            return Err(PeriodError::Reversed { from: first, to: last });
        }
        let days = (last - first).num_days() + 1;
        if days > MAX_RANGE_DAYS {
            return Err(PeriodError::TooLong { from: first, to: last, days });
        }
        Ok(Self { first, last })
    }

    /// One day.
    pub fn single(day: NaiveDate) -> Self {
        Self { first: day, last: day }
    }

    /// Monday to Sunday around `day`.
    pub fn week_of(day: NaiveDate) -> Self {
        let first = day - Days::new(u64::from(day.weekday().num_days_from_monday()));
        Self { first, last: first + Days::new(6) }
    }

    /// The calendar month around `day`.
    pub fn month_of(day: NaiveDate) -> Self {
        let first = day - Days::new(u64::from(day.day0()));
        Self { first, last: first + Months::new(1) - Days::new(1) }
    }

    /// The first day.
    pub fn first(&self) -> NaiveDate {
        self.first
    }

    /// The last day, inclusive.
    pub fn last(&self) -> NaiveDate {
        self.last
    }

    /// Each day, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = NaiveDate> + use<> {
        let first = self.first;
        (0..self.len()).map(move |offset| first + Days::new(offset as u64))
    }

    /// How many days.
    #[expect(clippy::len_without_is_empty, reason = "a range has at least its first day")]
    pub fn len(&self) -> usize {
        usize::try_from((self.last - self.first).num_days() + 1).unwrap_or_default()
    }

    /// Whether `day` is one of them.
    pub fn contains(&self, day: NaiveDate) -> bool {
        (self.first..=self.last).contains(&day)
    }
}

impl fmt::Display for DayRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}..{}", self.first, self.last)
        }
    }
}

/// The flags of every job that works on days.
///
/// Kept as text until [`DateArgs::resolve`], because clap does not know which day today is.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct DateArgs {
    /// Work on this day: YYYY-MM-DD, today, yesterday, -7d, last-week or last-month
    #[arg(long, value_name = "DAY", allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    pub date: Option<String>,

    /// Work on each day from this one (up to yesterday without --to)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    pub from: Option<String>,

    /// Work up to and including this day
    #[arg(long, value_name = "DAY", allow_hyphen_values = true, requires = "from")]
    pub to: Option<String>,
}

impl DateArgs {
    /// The days asked for, or `default` when none were.
    pub fn resolve(&self, today: NaiveDate, default: DayRange) -> Result<DayRange, PeriodError> {
        match (&self.date, &self.from, &self.to) {
            (Some(date), _, _) => parse_days(date, today),
            (None, Some(from), Some(to)) => DayRange::new(parse_day(from, today)?, parse_day(to, today)?),
            (None, Some(from), None) => {
                let from = parse_day(from, today)?;
                let yesterday = day_before(today);
                if from > yesterday {
                    return Err(PeriodError::FromAfterYesterday { from, yesterday });
                }
                DayRange::new(from, yesterday)
            }
            (None, None, Some(_)) => Err(PeriodError::ToAlone),
            (None, None, None) => Ok(default),
        }
    }

    /// Whether the user named days, rather than relying on the default.
    pub fn is_given(&self) -> bool {
        self.date.is_some() || self.from.is_some()
    }
}

/// A business day as instants, `start <= t < end`. Empty (`start == end`) for a day that a time zone skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayBounds {
    /// The first instant of the day.
    pub start: DateTime<Utc>,
    /// The first instant of the next day.
    pub end: DateTime<Utc>,
}

/// The instants of `day` in `time_zone`: 23, 24 or 25 hours, each instant in exactly one day.
pub fn day_bounds(day: NaiveDate, time_zone: Tz) -> DayBounds {
    DayBounds { start: start_of_day(day, time_zone), end: start_of_day(day_after(day), time_zone) }
}

/// The first instant of `day`: midnight, the first of two midnights or, where the clock skipped midnight, the
/// instant of that jump.
fn start_of_day(day: NaiveDate, time_zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    if let Some(start) = time_zone.from_local_datetime(&midnight).earliest() {
        return start.to_utc();
    }
    GapInfo::new(&midnight, &time_zone)
        .and_then(|gap| gap.end)
        // A gap without an end would be at the end of known time; chrono-tz has none.
        .map_or_else(|| midnight.and_utc(), |end| end.to_utc())
}

/// The instant of a local time. Of two it picks the earlier; a time inside a gap is an error.
pub fn local_to_utc(local: NaiveDateTime, time_zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    time_zone
        .from_local_datetime(&local)
        .earliest()
        .map(|instant| instant.to_utc())
        .ok_or(PeriodError::NoSuchTime { local, time_zone })
}

/// An instant as people read it: date, time and zone.
pub fn shown_instant(at: DateTime<Utc>, time_zone: Tz) -> String {
    at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The business day of an instant: the one whose [`day_bounds`] hold it.
///
/// Where the clock goes back over midnight (St. John's until 2011), wall clocks show the old date again. The new day
/// has begun nevertheless; otherwise an order of that hour would be in two reports or in none.
pub fn local_day(instant: DateTime<Utc>, time_zone: Tz) -> NaiveDate {
    let day = instant.with_timezone(&time_zone).date_naive();
    let next = day_after(day);
    if instant >= start_of_day(next, time_zone) { next } else { day }
}

/// The days that it is at an instant somewhere on earth: two or three, the earliest first.
pub fn days_somewhere(instant: DateTime<Utc>) -> DayRange {
    // From Baker Island to Kiribati.
    let on = |hours| instant.checked_add_signed(TimeDelta::hours(hours)).unwrap_or(instant).date_naive();
    DayRange { first: on(-12), last: on(14) }
}

/// The newest business day that is over.
pub fn last_finished_day(now: DateTime<Utc>, time_zone: Tz) -> NaiveDate {
    day_before(local_day(now, time_zone))
}

/// The day before. chrono's calendar ends in the year 262142; there the day stays the same instead of panicking.
pub fn day_before(day: NaiveDate) -> NaiveDate {
    day.pred_opt().unwrap_or(day)
}

fn day_after(day: NaiveDate) -> NaiveDate {
    day.succ_opt().unwrap_or(day)
}

/// A number that consists of digits only: `parse` would also accept a sign.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Units of a duration, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// The length of time that `text` means: `250ms`, `90s`, `5m`, `2h`, `1d` or, largest unit first, `1h30m`.
///
/// Narrower than the crate `humantime`, on purpose: there `5M` is five months, and what it prints (`1h 30m`, `1month
/// 14days`) is not a single argument of a stored command line.
pub fn parse_duration(text: &str) -> Result<Duration, PeriodError> {
    let wrong = || PeriodError::NotADuration(text.to_owned());
    if digits(text).is_some() {
        return Err(PeriodError::NoUnit(text.to_owned()));
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut milliseconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
        let (name, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        // The iterator continues after the last unit, so that `30m1h` and `1h1h` find nothing.
        let (_, length) = units.find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
        milliseconds = digits(number)
            .and_then(|number| number.checked_mul(*length))
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(milliseconds)) }
}

/// The duration as [`parse_duration`] reads it, to the millisecond: `1h30m`, `1m30s`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS {
        let count = milliseconds / length;
        milliseconds %= length;
        if count > 0 {
            // Writing into a String cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{Africa, America, Asia, Pacific};
    use clap::Parser;

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap()
    }

    fn instant(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn bounds(text: &str, time_zone: Tz) -> (String, String, i64) {
        let DayBounds { start, end } = day_bounds(day(text), time_zone);
        let show = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M").to_string();
        (show(start), show(end), (end - start).num_minutes())
    }

    fn expected(start: &str, end: &str, hours: i64) -> (String, String, i64) {
        (start.to_owned(), end.to_owned(), hours * 60)
    }

    /// A Thursday.
    const TODAY: &str = "2026-11-19";

    fn days(text: &str) -> String {
        parse_days(text, day(TODAY)).map_or_else(|error| error.to_string(), |range| range.to_string())
    }

    #[test]
    fn a_day_is_written_in_four_ways() {
        for (text, meant) in [
            ("2026-11-19", "2026-11-19"),
            ("2024-02-29", "2024-02-29"),
            ("today", "2026-11-19"),
            ("yesterday", "2026-11-18"),
            ("-7d", "2026-11-12"),
            ("-0d", "2026-11-19"),
        ] {
            assert_eq!(parse_day(text, day(TODAY)), Ok(day(meant)), "{text}");
        }
    }

    #[test]
    fn an_invalid_day_says_what_to_write() {
        for (text, message) in [
            ("2026-02-30", "`2026-02-30` is not a date that exists"),
            ("-99999999999d", "`-99999999999d` is not a date that exists"),
            ("19/11/2026", "`19/11/2026` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
            ("2026-1-5", "`2026-1-5` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
            ("-+7d", "`-+7d` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
            ("--dry-run", "`--dry-run` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
            ("２０２６-1", "`２０２６-1` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
            ("", "`` is not a date: write YYYY-MM-DD, today, yesterday or -7d"),
        ] {
            assert_eq!(parse_day(text, day(TODAY)).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn last_week_is_the_monday_to_sunday_before_this_one() {
        assert_eq!(days("last-week"), "2026-11-09..2026-11-15");
        let sunday = parse_days("last-week", day("2026-11-22")).unwrap();
        let monday = parse_days("last-week", day("2026-11-23")).unwrap();
        assert_eq!(
            (sunday.to_string(), monday.to_string()),
            ("2026-11-09..2026-11-15".into(), "2026-11-16..2026-11-22".into())
        );
    }

    #[test]
    fn last_month_is_complete_even_on_the_31st() {
        assert_eq!(days("last-month"), "2026-10-01..2026-10-31");
        assert_eq!(
            parse_days("last-month", day("2026-03-31")).unwrap().to_string(),
            "2026-02-01..2026-02-28"
        );
        assert_eq!(
            parse_days("last-month", day("2026-01-01")).unwrap().to_string(),
            "2025-12-01..2025-12-31"
        );
    }

    #[test]
    fn a_single_day_is_a_range_of_one() {
        assert_eq!(days("yesterday"), "2026-11-18");
        assert_eq!(
            days("week"),
            "`week` is not a date: write YYYY-MM-DD, today, yesterday, -7d, last-week or last-month"
        );
        assert_eq!(DayRange::single(day(TODAY)).len(), 1);
    }

    #[test]
    fn a_range_holds_both_its_ends() {
        let range = DayRange::new(day("2026-02-27"), day("2026-03-01")).unwrap();
        let all: Vec<_> = range.iter().map(|day| day.to_string()).collect();
        assert_eq!(all, ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert_eq!(range.len(), 3);
        assert!(range.contains(day("2026-03-01")) && !range.contains(day("2026-03-02")));
    }

    /// Report sales
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        dates: DateArgs,
        #[arg(long)]
        dry_run: bool,
    }

    fn resolved(arguments: &[&str]) -> String {
        let parsed = Command::try_parse_from([&["batchctl"], arguments].concat());
        match parsed {
            Err(error) => error.kind().to_string(),
            Ok(command) => command
                .dates
                .resolve(day(TODAY), DayRange::single(day("2026-11-18")))
                .map_or_else(|error| error.to_string(), |range| range.to_string()),
        }
    }

    #[test]
    fn the_flags_name_a_day_or_a_range() {
        for (arguments, meant) in [
            (&[][..], "2026-11-18"),
            (&["--date", "-7d"], "2026-11-12"),
            (&["--date=last-month", "--dry-run"], "2026-10-01..2026-10-31"),
            (&["--from", "2026-11-01"], "2026-11-01..2026-11-18"),
            (&["--from", "-7d", "--to", "today"], "2026-11-12..2026-11-19"),
            (&["--from", "2026-11-20", "--to", "2026-11-01"], "--from 2026-11-20 is after --to 2026-11-01"),
            (
                &["--from", "today"],
                "--from 2026-11-19 is after yesterday (2026-11-18), where a range without --to ends",
            ),
            (
                &["--from", "2016-01-01", "--to", "2026-11-01"],
                "2016-01-01..2026-11-01 has 3958 days, more than the 3700 that one command takes",
            ),
        ] {
            assert_eq!(resolved(arguments), meant, "{arguments:?}");
        }
        assert!(resolved(&["--to", "today"]).contains("required"));
        assert!(resolved(&["--date", "today", "--from", "today"]).contains("cannot be used with"));
    }

    #[test]
    fn the_flags_do_not_replace_the_description_of_the_command() {
        use clap::CommandFactory;

        assert_eq!(Command::command().get_about().map(ToString::to_string), Some("Report sales".to_owned()));
    }

    #[test]
    fn a_business_day_is_as_long_as_its_zone_makes_it() {
        for (date, time_zone, bounds_expected) in [
            ("2026-11-19", Asia::Tokyo, expected("2026-11-18T15:00", "2026-11-19T15:00", 24)),
            ("2026-03-08", America::New_York, expected("2026-03-08T05:00", "2026-03-09T04:00", 23)),
            ("2026-11-01", America::New_York, expected("2026-11-01T04:00", "2026-11-02T05:00", 25)),
            // No midnight: the clock goes from 23:59 to 01:00.
            ("2018-11-04", America::Sao_Paulo, expected("2018-11-04T03:00", "2018-11-05T02:00", 23)),
            ("2018-11-03", America::Sao_Paulo, expected("2018-11-03T03:00", "2018-11-04T03:00", 24)),
            ("2024-03-31", Asia::Beirut, expected("2024-03-30T22:00", "2024-03-31T21:00", 23)),
            ("2024-04-26", Africa::Cairo, expected("2024-04-25T22:00", "2024-04-26T21:00", 23)),
            // Two midnights: 01:00 goes back to 00:00.
            ("2024-11-03", America::Havana, expected("2024-11-03T04:00", "2024-11-04T05:00", 25)),
            // Midnight goes back to 23:00, so the day before is the long one.
            ("2018-02-17", America::Sao_Paulo, expected("2018-02-17T02:00", "2018-02-18T03:00", 25)),
            // Samoa crossed the date line: this day never existed.
            ("2011-12-30", Pacific::Apia, expected("2011-12-30T10:00", "2011-12-30T10:00", 0)),
            ("2011-12-29", Pacific::Apia, expected("2011-12-29T10:00", "2011-12-30T10:00", 24)),
            ("2011-12-31", Pacific::Apia, expected("2011-12-30T10:00", "2011-12-31T10:00", 24)),
        ] {
            assert_eq!(bounds(date, time_zone), bounds_expected, "{date} {time_zone}");
        }
    }

    #[test]
    fn a_gap_that_begins_before_midnight_starts_the_day_where_it_ends() {
        // Toronto 1919-03-30: 23:30 became 00:30 of the 31st.
        let start = day_bounds(day("1919-03-31"), America::Toronto).start;
        assert_eq!(start, instant("1919-03-31T04:30:00Z"));
        assert_eq!(start.with_timezone(&America::Toronto).format("%d %H:%M").to_string(), "31 00:30");
    }

    #[test]
    fn every_instant_is_within_its_local_day() {
        for (date, time_zone) in [
            ("2010-11-06", America::St_Johns),
            ("2018-11-03", America::Sao_Paulo),
            ("2024-11-02", America::Havana),
            ("2011-12-28", Pacific::Apia),
            ("2026-11-19", Asia::Seoul),
        ] {
            let mut at = day_bounds(day(date), time_zone).start;
            for _ in 0..(4 * 24 * 4) {
                let DayBounds { start, end } = day_bounds(local_day(at, time_zone), time_zone);
                assert!(start <= at && at < end, "{at} in {time_zone}");
                at += chrono::TimeDelta::minutes(15);
            }
        }
    }

    #[test]
    fn the_last_finished_day_turns_at_local_midnight() {
        assert_eq!(last_finished_day(instant("2026-11-18T14:59:59Z"), Asia::Tokyo), day("2026-11-17"));
        assert_eq!(last_finished_day(instant("2026-11-18T15:00:00Z"), Asia::Tokyo), day("2026-11-18"));
    }

    #[test]
    fn a_local_time_in_the_gap_is_an_error_and_of_two_the_earlier_counts() {
        let at = |text: &str, time_zone| {
            let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
            local_to_utc(local, time_zone).map_or_else(|error| error.to_string(), |at| at.to_rfc3339())
        };
        assert_eq!(
            at("2026-03-08 02:30", America::New_York),
            "2026-03-08 02:30 does not exist in America/New_York"
        );
        assert_eq!(at("2026-11-01 01:30", America::New_York), "2026-11-01T05:30:00+00:00");
        assert_eq!(at("2026-11-19 09:00", Asia::Tokyo), "2026-11-19T00:00:00+00:00");
    }

    #[test]
    fn a_duration_reads_back_as_it_was_written() {
        for (text, milliseconds, written) in [
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "1m30s"),
            ("5m", 300_000, "5m"),
            ("2h", 7_200_000, "2h"),
            ("1d", 86_400_000, "1d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("0s", 0, "0s"),
            ("1s5ms", 1_005, "1s5ms"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(format_duration(duration), written);
            assert_eq!(parse_duration(written), Ok(duration));
        }
    }

    #[test]
    fn an_invalid_duration_says_what_to_write() {
        assert_eq!(parse_duration("90").unwrap_err().to_string(), "`90` has no unit: write 90s, 90m or 90h");
        for text in
            ["", "m", "5 m", "-5m", "30m1h", "1h1h", "1.5h", "5min", "99999999999999999999d", "213503982335d"]
        {
            let message = format!("`{text}` is not a duration: write 250ms, 90s, 5m, 2h, 1d or 1h30m");
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message);
        }
    }
}
