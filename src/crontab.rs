//! Schedules as in crontab(5): five fields. `croner` alone would accept more than cron does.

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

/// A field: its name, its least and greatest number, and the names for its numbers.
type Field = (&'static str, u32, u32, &'static [&'static str]);

/// The fields of a schedule. Sunday is 0 and 7, but by its name always 0, so that no range can end with it.
const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Checks that a schedule has five fields that cron accepts, and that its time ever comes. The error says what to
/// write.
pub fn check(schedule: &str) -> Result<(), String> {
    let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err("write five cron fields, such as 30 1 * * *".to_owned());
    }
    // Some crons read `1/2` as `1-59/2`, so it is left to the cron that runs it.
    let parser =
        CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).sloppy_ranges(true).build();
    for (place, (text, field)) in fields.iter().zip(&FIELDS).enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[place] = text;
        if !is_plain(text, field) || parser.parse(&alone.join(" ")).is_err() {
            let (name, least, greatest, _) = field;
            return Err(format!("its {name} `{text}` is not from {least} to {greatest}"));
        }
    }
    let is_due =
        parser.parse(schedule).and_then(|cron| cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true));
    match is_due {
        Ok(_) => Ok(()),
        Err(CronError::TimeSearchLimitExceeded) => Err("there is no such day in any year".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a schedule comes round within this time, and keeps doing so: its next time is at most this far away, and so is
/// the one after that from the next. `now` is in the time zone of the schedule. One that is not valid never comes round.
pub fn comes_round_within(schedule: &str, span: TimeDelta, now: DateTime<Tz>) -> bool {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let Ok(cron) = parser.parse(schedule) else { return false };
    let Ok(next) = cron.find_next_occurrence(&now, false) else { return false };
    let is_again = || cron.find_next_occurrence(&next, false).is_ok_and(|after| after - next <= span);
    next - now <= span && is_again()
}

/// Whether a field holds nothing but numbers and its own names. `croner` also knows `L`, `W`, `#` and `?`, accepts the
/// names of days and months in any field, and lets a part be empty.
fn is_plain(text: &str, (_, _, greatest, names): &Field) -> bool {
    let is_digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |word: &str| {
        word == "*" || (is_digits(word) && word.parse::<u32>().is_ok_and(|number| number <= *greatest))
    };
    let is_name = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    let mut words = text.split([',', '-', '/']);
    words.all(|word| !word.is_empty() && (is_number(word) || is_name(word)))
        && !text.to_ascii_lowercase().contains("-sun")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use chrono_tz::Asia::Tokyo;

    use super::*;

    #[test]
    fn a_job_that_comes_round_within_the_hour_is_its_own_retry() {
        let at = |schedule, time| {
            comes_round_within(
                schedule,
                TimeDelta::hours(1),
                Tokyo.with_ymd_and_hms(2026, 11, 20, time, 0, 1).unwrap(),
            )
        };
        for schedule in ["*/5 * * * *", "20 * * * *", "0 9-18 * * *"] {
            assert!(at(schedule, 9), "{schedule}");
        }
        for schedule in ["0 1 * * *", "0 4 * * 1", "0 */2 * * *", "0,30 1 * * *", "nonsense"] {
            assert!(!at(schedule, 9), "{schedule}");
        }
        // The next one is tomorrow's.
        assert!(!at("0 9-18 * * *", 18) && !at("*/10 8-18 * * *", 19));
    }

    #[test]
    fn a_schedule_is_what_cron_takes() {
        for right in ["*/5 * * * *", "0,30 1-5/2 1 JAN-mar 7", "59 23 31 12 mon-fri", "0 0 * * Sun,3"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for right in ["* * * * 5-7", "1/2 * * * *", "0 0 29 2 *", "0 0 30 2 mon", "* * * * sun-mon"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["*/0 * * * *", "*/60 * * * *", "1, * * * *", "mon * * * *", "+1 * * * *", "1-2-3 * * * *"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_croner_alone_would_take_and_cron_does_not_is_refused() {
        for wrong in ["@daily", "0 0 L * *", "0 0 15W * *", "0 0 ? * *", "0 0 * * 5#2", "0 0 1 * +mon"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["0 0 * * jan", "0 0 * mon *", "0 0 * * fri-sun", ",1 * * * *", "1,,2 * * * *", "/5 * * * *"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_that_never_comes_is_no_schedule() {
        for never in ["0 0 30 2 *", "0 0 31 4,6 *"] {
            assert_eq!(check(never), Err("there is no such day in any year".to_owned()), "{never}");
        }
    }
}
