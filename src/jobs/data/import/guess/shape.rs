//! What the fields of a column look like: times in which form, amounts with which signs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, NaiveDateTime};

use crate::failure::Failure;

use super::super::field::is_plain_time;
use super::super::reader::{Record, Source};
use super::sample::Sample;

/// What stands for the form that needs no setting.
pub(super) const PLAIN: &str = "%+";
/// The forms that are tried, the most likely first. Day and month are told apart by numbers above 12.
const FORMATS: [&str; 17] = [
    "%Y-%m-%d %H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y.%m.%d %H:%M:%S",
    "%Y.%m.%d %H:%M",
    "%Y.%m.%d",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日",
    "%Y-%m-%d",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
];
/// Forms that differ only in what comes first.
const DAY_OR_MONTH: [(&str, &str); 2] = [("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"), ("%d/%m/%Y", "%m/%d/%Y")];
/// Signs of money that are known.
const SIGNS: [&str; 10] = ["¥", "￥", "円", "₩", "￦", "원", "$", "€", "£", "US$"];
/// Different values that are kept.
const KEPT_VALUES: usize = 200;

/// How amounts are written.
#[derive(Debug, Default, Clone)]
pub(super) struct Amounts {
    /// Whether a comma separates groups of three digits.
    pub(super) has_thousands: bool,
    /// Whether any is below zero.
    pub(super) is_negative: bool,
    /// The signs of money.
    pub(super) signs: BTreeSet<String>,
}

impl Amounts {
    /// Adds those of another column.
    pub(super) fn join(&mut self, other: &Self) {
        self.has_thousands |= other.has_thousands;
        self.signs.extend(other.signs.iter().cloned());
    }

    fn see(&mut self, text: &str) {
        let mut rest = text.trim();
        for sign in SIGNS {
            if let Some(without) = rest.strip_prefix(sign).or_else(|| rest.strip_suffix(sign)) {
                self.signs.insert(sign.to_owned());
                rest = without.trim();
            }
        }
        let digits = rest.trim_start_matches(['-', '+']);
        let is_number =
            digits.chars().all(|character| character.is_ascii_digit() || ",.".contains(character));
        if digits.is_empty() || !is_number {
            return;
        }
        self.is_negative |= rest.starts_with('-') || text.trim().starts_with('-');
        self.has_thousands |= digits.contains(',');
    }
}

/// The fields of a column.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Different values, some of them.
    seen: BTreeSet<String>,
    /// The forms in which all values are times; `None` before any value.
    formats: Option<Vec<&'static str>>,
    /// How amounts are written.
    pub(super) amounts: Amounts,
}

impl Shape {
    fn new() -> Self {
        Self { seen: BTreeSet::new(), formats: None, amounts: Amounts::default() }
    }

    fn see(&mut self, text: &str) {
        if text.is_empty() || (self.seen.len() >= KEPT_VALUES && self.seen.contains(text)) {
            return;
        }
        if self.seen.len() < KEPT_VALUES && !self.seen.insert(text.to_owned()) {
            return;
        }
        self.amounts.see(text);
        let is_time = |format: &&'static str| match *format {
            PLAIN => is_plain_time(text),
            format => {
                NaiveDateTime::parse_from_str(text, format).is_ok()
                    || NaiveDate::parse_from_str(text, format).is_ok()
            }
        };
        match &mut self.formats {
            Some(formats) => formats.retain(is_time),
            None => {
                self.formats =
                    Some(std::iter::once(PLAIN).chain(FORMATS).filter(|format| is_time(format)).collect());
            }
        }
    }

    /// Whether all fields were empty.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The forms in which all of them are times, the most likely first.
    pub(super) fn time_formats(&self) -> Option<&[&'static str]> {
        self.formats.as_deref()
    }

    /// Why nobody knows which of two numbers is the day.
    pub(super) fn doubt_about_days(&self) -> Option<String> {
        let formats = self.formats.as_ref()?;
        let is_open = |(day, month): &&(&str, &str)| formats.contains(day) && formats.contains(month);
        let (day, month) = DAY_OR_MONTH.iter().find(is_open)?;
        Some(format!("day or month first? no sampled line tells; `{day}` is assumed, the other is `{month}`"))
    }

    /// Some value.
    pub(super) fn example(&self) -> &str {
        self.seen.first().map_or("", String::as_str)
    }

    /// Different values.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(String::as_str)
    }
}

/// The shapes of some columns of a sample.
pub(super) fn of(
    sample: &Sample,
    source: &Source,
    places: impl Iterator<Item = usize>,
) -> Result<BTreeMap<usize, Shape>, Failure> {
    let mut shapes: BTreeMap<usize, Shape> = places.map(|place| (place, Shape::new())).collect();
    sample.lines(source, |record: &Record| {
        for (place, shape) in &mut shapes {
            shape.see(record.field(*place));
        }
    })?;
    Ok(shapes)
}

/// Whether the fields of an order are blank below its first line.
pub(super) fn is_filled_down(
    sample: &Sample,
    source: &Source,
    found: &BTreeMap<&'static str, usize>,
) -> Result<bool, Failure> {
    let of = |name: &str| found.get(name).copied();
    let (Some(number), Some(total)) = (of("order_no"), of("total_amount")) else { return Ok(false) };
    let (mut before, mut is_filled) = (String::new(), false);
    sample.lines(source, |record: &Record| {
        let own = record.field(number);
        let continues = own.is_empty() || own == before;
        is_filled |= continues && record.field(total).is_empty();
        if !own.is_empty() {
            own.clone_into(&mut before);
        }
    })?;
    Ok(is_filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(values: &[&str]) -> Shape {
        let mut shape = Shape::new();
        for value in values {
            shape.see(value);
        }
        shape
    }

    #[test]
    fn times_are_in_the_form_that_fits_all_of_them() {
        for (values, format) in [
            (["2026/7/1 9:05", "2026/12/31 23:59"], "%Y/%m/%d %H:%M"),
            (["2026-07-01 09:05:00 +0900", "2026-07-02 09:05:00 +0900"], "%Y-%m-%d %H:%M:%S %z"),
            (["2026-07-01 09:05", "2026-07-01T09:05:00Z"], PLAIN),
            (["20260701", "20261231"], "%Y%m%d"),
            (["2026年7月1日", "2026年12月31日"], "%Y年%m月%d日"),
            (["01/07/2026", "31/12/2026"], "%d/%m/%Y"),
            (["07/01/2026", "12/31/2026"], "%m/%d/%Y"),
        ] {
            let shape = shape(&values);
            assert_eq!(shape.time_formats().and_then(<[_]>::first), Some(&format), "{values:?}");
            assert_eq!(shape.doubt_about_days(), None, "{values:?}");
        }
        assert_eq!(shape(&["2026-07-01", "soon"]).time_formats(), Some(&[][..]));
        assert!(shape(&["01/07/2026", "02/08/2026"]).doubt_about_days().is_some());
        assert_eq!(shape(&[""]).time_formats(), None);
    }

    #[test]
    fn amounts_show_their_signs_and_separators() {
        let amounts = shape(&["¥1,200", "-300円", "12"]).amounts;
        assert!(amounts.has_thousands && amounts.is_negative);
        assert_eq!(amounts.signs.into_iter().collect::<Vec<_>>(), ["¥", "円"]);
        let plain = shape(&["1200.50", "3", "A-1,2"]).amounts;
        assert!(!plain.has_thousands && !plain.is_negative && plain.signs.is_empty());
    }
}
