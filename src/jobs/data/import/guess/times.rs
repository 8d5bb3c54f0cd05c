//! In which forms the times of a column are written, and whether the day or the month comes first.
//!
//! Two numbers up to 12 may be either. One column that tells decides for the whole file, because a program writes all of its
//! dates alike; and what no column tells is a doubt. Forms with the day first and those with the month first are never
//! proposed for the same column: a date that fits both would be read by whichever stands first.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};

use super::super::field::is_plain_time;
use super::super::words::normal;

/// What comes first in a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Year,
    Day,
    Month,
}

/// The forms that are tried, the most likely first.
const FORMS: [(&str, First); 43] = [
    ("%Y-%m-%d %H:%M:%S %z", First::Year),
    ("%+", First::Year),
    ("%Y-%m-%d %H:%M:%S", First::Year),
    ("%Y-%m-%d %H:%M", First::Year),
    ("%Y-%m-%dT%H:%M:%S", First::Year),
    ("%Y-%m-%d", First::Year),
    ("%Y/%m/%d %H:%M:%S", First::Year),
    ("%Y/%m/%d %H:%M", First::Year),
    ("%Y/%m/%d", First::Year),
    ("%Y.%m.%d %H:%M:%S", First::Year),
    ("%Y.%m.%d %H:%M", First::Year),
    ("%Y.%m.%d", First::Year),
    ("%Y年%m月%d日 %H:%M:%S", First::Year),
    ("%Y年%m月%d日 %H:%M", First::Year),
    ("%Y年%m月%d日 %H時%M分", First::Year),
    ("%Y年%m月%d日", First::Year),
    ("%Y년 %m월 %d일 %H:%M", First::Year),
    ("%Y년 %m월 %d일", First::Year),
    ("%Y%m%d%H%M%S", First::Year),
    ("%Y%m%d", First::Year),
    ("%d/%m/%Y %H:%M:%S", First::Day),
    ("%d/%m/%Y %H:%M", First::Day),
    ("%d/%m/%Y %I:%M:%S %p", First::Day),
    ("%d/%m/%Y %I:%M %p", First::Day),
    ("%d/%m/%Y", First::Day),
    ("%d-%m-%Y %H:%M:%S", First::Day),
    ("%d-%m-%Y %H:%M", First::Day),
    ("%d-%m-%Y", First::Day),
    ("%d.%m.%Y %H:%M:%S", First::Day),
    ("%d.%m.%Y %H:%M", First::Day),
    ("%d.%m.%Y", First::Day),
    ("%d %b %Y %H:%M:%S", First::Day),
    ("%d %b %Y %H:%M", First::Day),
    ("%d %b %Y", First::Day),
    ("%m/%d/%Y %H:%M:%S", First::Month),
    ("%m/%d/%Y %H:%M", First::Month),
    ("%m/%d/%Y %I:%M:%S %p", First::Month),
    ("%m/%d/%Y %I:%M %p", First::Month),
    ("%m/%d/%Y", First::Month),
    ("%m-%d-%Y %H:%M:%S", First::Month),
    ("%m-%d-%Y %H:%M", First::Month),
    ("%m-%d-%Y", First::Month),
    ("%b %d, %Y", First::Month),
];
/// The forms of times of day that are tried, the most likely first.
const TIMES_OF_DAY: [&str; 7] =
    ["%H:%M:%S", "%H:%M", "%H%M%S", "%H%M", "%H時%M分%S秒", "%H時%M分", "%I:%M %p"];
/// How the names of days end, and those of the times of day beside them.
const ENDS: [(&str, &[&str]); 7] = [
    ("年月日", &["時刻", "時間"]),
    ("日付", &["時刻", "時間"]),
    ("日", &["時刻", "時間"]),
    ("일자", &["시간", "시각"]),
    ("날짜", &["시간", "시각"]),
    ("일", &["시간", "시각"]),
    ("date", &["time"]),
];
/// The bit of the form that needs no setting.
const PLAIN: u64 = 1 << 63;
/// A column in more forms than these holds something else.
const MOST_FORMS: usize = 3;
/// After so many values a column has shown in which forms it is.
const SETTLED_VALUES: u64 = 100;
/// Two-digit years are read as those of the first century.
const FIRST_YEAR: i32 = 1900;

/// The times of a column.
#[derive(Debug, Default, Clone)]
pub(super) struct Times {
    /// The forms that fit a value, as bits, to how many there are.
    fitting: BTreeMap<u64, u64>,
}

/// In which forms a column is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// In no form that is known.
    Unknown,
    /// In the form that needs no setting.
    Plainly,
    /// In these.
    In(Vec<String>),
}

/// The forms of a column, by what may come first in them beside the year.
struct Readings {
    neither: Written,
    day: Written,
    month: Written,
}

impl Times {
    /// Looks at a field that is not empty.
    pub(super) fn see(&mut self, text: &str) {
        // A column is in few forms: later on, only what fits none of those so far is compared with all.
        let is_settled = self.fitting.values().sum::<u64>() >= SETTLED_VALUES;
        let known = if is_settled { self.fitting.keys().fold(0, |all, bits| all | bits) } else { u64::MAX };
        let mut bits = fitting(text, known);
        if bits == 0 && is_settled && known != 0 {
            bits = fitting(text, u64::MAX);
        }
        *self.fitting.entry(bits).or_default() += 1;
    }

    /// The least forms of these kinds in which all of them are written.
    fn covered(&self, kinds: &[First]) -> Written {
        if self.fitting.keys().all(|bits| bits & PLAIN != 0) {
            return Written::Plainly;
        }
        let mut left = self.fitting.clone();
        let mut forms = Vec::new();
        while !left.is_empty() && forms.len() < MOST_FORMS {
            let covers = |place: usize| -> u64 {
                left.iter().filter(|(bits, _)| *bits & (1 << place) != 0).map(|(_, count)| count).sum()
            };
            let candidates = (0..FORMS.len()).filter(|place| kinds.contains(&FORMS[*place].1));
            // The first of those that cover as many.
            let Some(best) = candidates.rev().max_by_key(|place| covers(*place)) else { break };
            if covers(best) == 0 {
                break;
            }
            left.retain(|bits, _| bits & (1 << best) == 0);
            forms.push(FORMS[best].0.to_owned());
        }
        if left.is_empty() { Written::In(forms) } else { Written::Unknown }
    }

    fn readings(&self) -> Readings {
        Readings {
            neither: self.covered(&[First::Year]),
            day: self.covered(&[First::Year, First::Day]),
            month: self.covered(&[First::Year, First::Month]),
        }
    }
}

/// Which of these forms fit a text.
fn fitting(text: &str, among: u64) -> u64 {
    let is_among = |bit: u64| among & bit != 0;
    let mut bits = if is_among(PLAIN) && is_plain_time(text) { PLAIN } else { 0 };
    for (place, (form, _)) in FORMS.iter().enumerate().filter(|(place, _)| is_among(1 << place)) {
        bits |= u64::from(is_time(text, form)) << place;
    }
    bits
}

fn is_time(text: &str, form: &str) -> bool {
    let year = DateTime::parse_from_str(text, form)
        .map(|time| time.year())
        .or_else(|_| NaiveDateTime::parse_from_str(text, form).map(|time| time.year()))
        .or_else(|_| NaiveDate::parse_from_str(text, form).map(|day| day.year()));
    year.is_ok_and(|year| year >= FIRST_YEAR)
}

/// Whether a text is a time in any form that is known.
pub(super) fn is_any_time(text: &str) -> bool {
    is_plain_time(text) || FORMS.iter().any(|(form, _)| is_time(text, form))
}

/// Whether a form has a time of day.
pub(super) fn has_time_of_day(form: &str) -> bool {
    ["%H", "%I", "%+"].iter().any(|part| form.contains(part))
}

/// What the time of day is called that belongs to the day of this name.
pub(super) fn names_beside(day: &str) -> Vec<String> {
    let day = normal(day);
    let end = ENDS.iter().find_map(|(end, others)| Some((day.strip_suffix(end)?, others)));
    let Some((stem, others)) = end else { return Vec::new() };
    others.iter().map(|other| format!("{stem}{other}")).collect()
}

/// The times of day that stand beside a column of days.
#[derive(Debug, Default)]
pub(super) struct TimesOfDay {
    forms: Vec<&'static str>,
    has_blank: bool,
    has_other: bool,
}

impl TimesOfDay {
    /// Looks at the field beside a day.
    pub(super) fn see(&mut self, text: &str) {
        let is_in = |form: &&&str| NaiveTime::parse_from_str(text, form).is_ok();
        if text.is_empty() {
            self.has_blank = true;
        } else if let Some(form) = self.forms.iter().find(is_in).or_else(|| TIMES_OF_DAY.iter().find(is_in)) {
            if !self.forms.contains(form) {
                self.forms.push(form);
            }
        } else {
            self.has_other = true;
        }
    }

    /// The forms of both together; `None` if they are not times of day.
    pub(super) fn joined(&self, days: &[String]) -> Option<Vec<String>> {
        if self.forms.is_empty() || self.has_other {
            return None;
        }
        let both = days.iter().flat_map(|day| self.forms.iter().map(move |time| format!("{day} {time}")));
        let alone = days.iter().filter(|_| self.has_blank).cloned();
        Some(both.chain(alone).collect())
    }
}

/// The forms of all columns of a file that hold times, by our names, with what is doubtful about them.
pub(super) fn of_columns<'t>(
    columns: impl Iterator<Item = (&'static str, &'t Times)>,
    doubts: &mut Vec<String>,
) -> BTreeMap<&'static str, Written> {
    let mut written = BTreeMap::new();
    let mut open = Vec::new();
    let (mut day, mut month) = (None, None);
    for (name, times) in columns.filter(|(_, times)| !times.fitting.is_empty()) {
        let Readings { neither: year_first, day: day_first, month: month_first } = times.readings();
        let is_known = |reading: &Written| *reading != Written::Unknown;
        match (is_known(&year_first), is_known(&day_first), is_known(&month_first)) {
            (false, true, true) => open.push((name, day_first, month_first)),
            (false, true, false) => {
                day.get_or_insert(name);
                written.insert(name, day_first);
            }
            (false, false, true) => {
                month.get_or_insert(name);
                written.insert(name, month_first);
            }
            // Known, or in no form.
            _ => {
                written.insert(name, year_first);
            }
        }
    }
    for (name, day_first, month_first) in open {
        let form = |written: &Written| match written {
            Written::In(forms) => forms.join("`, `"),
            Written::Plainly | Written::Unknown => String::new(),
        };
        let (day_form, month_form) = (form(&day_first), form(&month_first));
        match (day, month) {
            (Some(_), None) => written.insert(name, day_first),
            (None, Some(_)) => written.insert(name, month_first),
            (None, None) => {
                doubts.push(format!(
                    "`{name}`: day or month first? no sampled line tells; `{day_form}` is assumed, the other is `{month_form}`"
                ));
                written.insert(name, day_first)
            }
            (Some(day), Some(month)) => {
                doubts.push(format!(
                    "`{name}`: day or month first? `{day}` has the day first and `{month}` the month; `{day_form}` is \
                     assumed, the other is `{month_form}`"
                ));
                written.insert(name, day_first)
            }
        };
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms of columns with these values, and the number of doubts.
    fn forms(columns: &[&[&str]]) -> (Vec<Written>, usize) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let times: Vec<Times> = columns
            .iter()
            .map(|values| {
                let mut times = Times::default();
                for value in *values {
                    times.see(value);
                }
                times
            })
            .collect();
        let mut doubts = Vec::new();
        let written = of_columns(NAMES.into_iter().zip(&times), &mut doubts);
        (written.into_values().collect(), doubts.len())
    }

    #[test]
    fn times_are_in_the_form_that_fits_all_of_them() {
        for (values, form) in [
            (["2026/7/1 9:05", "2026/12/31 23:59"], "%Y/%m/%d %H:%M"),
            (["2026-07-01 09:05:00 +0900", "2026-07-02 09:05:00 +0900"], "%Y-%m-%d %H:%M:%S %z"),
            (["20260701", "20261231"], "%Y%m%d"),
            (["2026年7月1日", "2026年12月31日"], "%Y年%m月%d日"),
            (["01/07/2026", "31/12/2026"], "%d/%m/%Y"),
            (["07/01/2026", "12/31/2026"], "%m/%d/%Y"),
            (["07/01/2026 09:05:01", "12/31/2026 10:00:00"], "%m/%d/%Y %H:%M:%S"),
            (["07/01/2026 9:05 AM", "12/31/2026 10:00 PM"], "%m/%d/%Y %I:%M %p"),
            (["01.07.2026 09:05", "31.12.2026 10:00"], "%d.%m.%Y %H:%M"),
        ] {
            assert_eq!(forms(&[&values]), (vec![Written::In(vec![form.to_owned()])], 0), "{values:?}");
        }
        assert_eq!(forms(&[&["2026-07-01 09:05", "2026-07-01T09:05:00Z"]]).0, [Written::Plainly]);
        assert_eq!(forms(&[&["2026-07-01", "soon"]]).0, [Written::Unknown]);
        // A two-digit year would be one of the first century.
        assert_eq!(forms(&[&["07/31/26"]]).0, [Written::Unknown]);
    }

    #[test]
    fn a_column_may_be_in_several_forms() {
        let both = |forms: [&str; 2]| (vec![Written::In(forms.map(str::to_owned).to_vec())], 0);
        assert_eq!(
            forms(&[&["2026-11-03 10:00", "2026/11/03", "2026/11/04"]]),
            both(["%Y/%m/%d", "%Y-%m-%d %H:%M"])
        );
        // But never with the day first here and the month there.
        assert_eq!(forms(&[&["31/12/2026", "12/31/2026"]]).0, [Written::Unknown]);
    }

    #[test]
    fn a_day_is_joined_with_the_time_of_day_beside_it() {
        assert_eq!(names_beside("注文日"), ["注文時刻", "注文時間"]);
        assert_eq!(names_beside("Order Date"), ["ordertime"]);
        assert_eq!(names_beside("주문일자"), ["주문시간", "주문시각"]);
        assert!(names_beside("備考").is_empty());
        let joined = |cells: &[&str]| {
            let mut of_day = TimesOfDay::default();
            for cell in cells {
                of_day.see(cell);
            }
            of_day.joined(&["%Y/%m/%d".to_owned()])
        };
        let forms = |forms: &[&str]| Some(forms.iter().map(|form| (*form).to_owned()).collect::<Vec<_>>());
        assert_eq!(joined(&["9:05", "23:59"]), forms(&["%Y/%m/%d %H:%M"]));
        assert_eq!(joined(&["093005", ""]), forms(&["%Y/%m/%d %H%M%S", "%Y/%m/%d"]));
        assert_eq!(joined(&["9:05", "午前中"]), None);
        assert_eq!(joined(&["", ""]), None);
    }

    #[test]
    fn a_column_that_tells_day_from_month_decides_for_the_others() {
        let form = |form: &str| Written::In(vec![form.to_owned()]);
        let open = &["11/03/2026", "11/04/2026"];
        assert_eq!(forms(&[open, &["11/13/2026"]]), (vec![form("%m/%d/%Y"); 2], 0));
        assert_eq!(forms(&[open, &["13/11/2026"]]), (vec![form("%d/%m/%Y"); 2], 0));
        assert_eq!(forms(&[open, open]), (vec![form("%d/%m/%Y"); 2], 2));
        assert_eq!(forms(&[open, &["13/11/2026"], &["11/13/2026"]]).1, 1);
    }
}
