//! The forms in which files write times (strftime), each part of which counts: a form with a part that would be dropped is
//! refused when the configuration is read, because an hour or a zone that is lost moves a sale to another day.

use chrono::format::{Fixed, Item, Numeric, ParseErrorKind, Parsed, StrftimeItems, parse};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// A form of times.
#[derive(Debug, Clone)]
pub struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
    /// The zone that the form names in words.
    zone: Option<FixedOffset>,
    /// How many digits each group of numbers without anything in between has; `None` for a single number, which may lack
    /// its leading zero.
    digits: Vec<Option<usize>>,
}

/// What a text says in a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// An instant.
    Instant(DateTime<Utc>),
    /// A time on the clock of a place that the text does not name.
    Local(NaiveDateTime),
}

/// Why a text is not a time in a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormatError {
    /// It has another form.
    OtherForm,
    /// There is no such day or time of day.
    DoesNotExist,
}

impl From<chrono::format::ParseError> for TimeFormatError {
    fn from(error: chrono::format::ParseError) -> Self {
        match error.kind() {
            ParseErrorKind::OutOfRange | ParseErrorKind::Impossible => Self::DoesNotExist,
            _ => Self::OtherForm,
        }
    }
}

impl TimeFormat {
    /// A form as strftime writes it, or what is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| "is not a time format: write one like %Y/%m/%d %H:%M")?;
        if let Some(problem) = lost_part(&items) {
            return Err(problem);
        }
        let zone = named_zone(&items);
        let digits = digits(&items);
        Ok(Self { text: text.to_owned(), items, zone, digits })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The moment that a text means. A form without a time of day means midnight.
    pub fn moment(&self, text: &str) -> Result<Moment, TimeFormatError> {
        let parsed = self.parsed(text)?;
        if parsed.second() == Some(60) {
            return Err(TimeFormatError::DoesNotExist);
        }
        if parsed.timestamp().is_some() {
            return Ok(Moment::Instant(parsed.to_datetime()?.to_utc()));
        }
        let has_time =
            [parsed.hour_div_12(), parsed.hour_mod_12(), parsed.minute()].iter().any(Option::is_some);
        let time = if has_time { parsed.to_naive_time()? } else { NaiveTime::MIN };
        let local = parsed.to_naive_date()?.and_time(time);
        match parsed.offset().and_then(FixedOffset::east_opt).or(self.zone) {
            None => Ok(Moment::Local(local)),
            Some(offset) => {
                let instant = local.checked_sub_offset(offset).ok_or(TimeFormatError::DoesNotExist)?;
                Ok(Moment::Instant(instant.and_utc()))
            }
        }
    }

    /// The day that a text names, on the clock that it was written by.
    pub fn day(&self, text: &str) -> Option<NaiveDate> {
        self.parsed(text).ok()?.to_naive_date().ok()
    }

    fn parsed(&self, text: &str) -> Result<Parsed, TimeFormatError> {
        if !self.has_its_digits(text) {
            return Err(TimeFormatError::OtherForm);
        }
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter())?;
        Ok(parsed)
    }

    /// Whether numbers that follow one another directly have all of their digits: `13005` is not 13:00:05, but 01:30:05
    /// without its zero.
    fn has_its_digits(&self, text: &str) -> bool {
        if self.digits.iter().all(Option::is_none) {
            return true;
        }
        let groups =
            text.split(|character: char| !character.is_ascii_digit()).filter(|group| !group.is_empty());
        self.digits
            .iter()
            .zip(groups)
            .all(|(wanted, group)| wanted.is_none_or(|wanted| wanted == group.len()))
    }
}

/// What would be dropped when a text is read in such a form.
fn lost_part(items: &[Item<'_>]) -> Option<&'static str> {
    let has = |wanted: &[Numeric]| {
        items.iter().any(|item| matches!(item, Item::Numeric(numeric, _) if wanted.contains(numeric)))
    };
    let has_fixed = |wanted: &[Fixed]| {
        items.iter().any(|item| matches!(item, Item::Fixed(fixed) if wanted.contains(fixed)))
    };
    if has_fixed(&[Fixed::TimezoneName]) {
        return Some(
            "has `%Z`, which reads the name of a zone and drops it: write `%z` for an offset, or the name itself, such as UTC",
        );
    }
    let has_half = has_fixed(&[Fixed::LowerAmPm, Fixed::UpperAmPm]);
    if has(&[Numeric::Hour12]) && !has_half && !has(&[Numeric::Hour]) {
        return Some(
            "has an hour of twelve (`%I`) and does not say which half of the day: add `%p`, or write `%H`",
        );
    }
    let has_hour = has(&[Numeric::Hour, Numeric::Hour12]);
    let has_minute = has(&[Numeric::Minute]);
    if has_hour && !has_minute {
        return Some("has an hour without minutes, which is not read: add `%M`");
    }
    if !has_hour && (has_minute || has_half || has(&[Numeric::Second])) {
        return Some("has a part of a time of day without an hour, which is not read: add `%H`");
    }
    let fractions = [Fixed::Nanosecond, Fixed::Nanosecond3, Fixed::Nanosecond6, Fixed::Nanosecond9];
    if !has(&[Numeric::Second, Numeric::Timestamp]) && (has_fixed(&fractions) || has(&[Numeric::Nanosecond]))
    {
        return Some("has a fraction without seconds, which is not read: add `%S`");
    }
    None
}

/// The zone that a form names in words, as in `%Y-%m-%dT%H:%M:%SZ`. An offset that the text has goes before.
fn named_zone(items: &[Item<'_>]) -> Option<FixedOffset> {
    const HOUR: i32 = 3600;
    let zone = |item: &Item<'_>| {
        let text: &str = match item {
            Item::Literal(text) => text,
            Item::OwnedLiteral(text) => text,
            _ => return None,
        };
        match text.trim_matches(|character: char| !character.is_alphabetic()) {
            "Z" | "UTC" | "GMT" => FixedOffset::east_opt(0),
            "JST" | "KST" => FixedOffset::east_opt(9 * HOUR),
            _ => None,
        }
    };
    items.iter().find_map(zone)
}

/// See [`TimeFormat::digits`]; only as far as each group of digits of a text is known to be a group of the form.
fn digits(items: &[Item<'_>]) -> Vec<Option<usize>> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    let mut follows_number = false;
    for item in items {
        let width = match item {
            Item::Numeric(Numeric::Year | Numeric::IsoYear, _) => 4,
            Item::Numeric(Numeric::Ordinal, _) => 3,
            Item::Numeric(
                Numeric::YearMod100
                | Numeric::YearDiv100
                | Numeric::Month
                | Numeric::Day
                | Numeric::Hour
                | Numeric::Hour12
                | Numeric::Minute
                | Numeric::Second,
                _,
            ) => 2,
            Item::Literal(text) | Item::Space(text) if !text.contains(|one: char| one.is_ascii_digit()) => 0,
            Item::OwnedLiteral(text) | Item::OwnedSpace(text)
                if !text.contains(|one: char| one.is_ascii_digit()) =>
            {
                0
            }
            Item::Fixed(
                Fixed::ShortMonthName
                | Fixed::LongMonthName
                | Fixed::ShortWeekdayName
                | Fixed::LongWeekdayName
                | Fixed::LowerAmPm
                | Fixed::UpperAmPm,
            ) => 0,
            _ => break,
        };
        match groups.last_mut() {
            _ if width == 0 => {}
            Some((numbers, digits)) if follows_number => {
                *numbers += 1;
                *digits += width;
            }
            _ => groups.push((1, width)),
        }
        follows_number = width > 0;
    }
    groups.into_iter().map(|(numbers, digits)| (numbers > 1).then_some(digits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> String {
        match TimeFormat::new(format).unwrap().moment(text) {
            Ok(Moment::Instant(instant)) => instant.to_rfc3339(),
            Ok(Moment::Local(local)) => local.to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn an_offset_counts_wherever_the_form_has_one() {
        for (format, text, expected) in [
            ("%Y-%m-%d %H:%M %z", "2026-11-18 23:30 +0100", "2026-11-18T22:30:00+00:00"),
            ("%Y-%m-%d%:z", "2026-11-18-05:00", "2026-11-18T05:00:00+00:00"),
            ("%Y-%m-%d%z", "2026-11-18+0900", "2026-11-17T15:00:00+00:00"),
            ("%+", "2026-11-18T23:30:00Z", "2026-11-18T23:30:00+00:00"),
            ("%s", "1794990600", "2026-11-18T08:30:00+00:00"),
            ("%Y-%m-%dT%H:%M:%SZ", "2026-11-18T23:30:00Z", "2026-11-18T23:30:00+00:00"),
            ("%Y/%m/%d %H:%M (UTC)", "2026/11/18 23:30 (UTC)", "2026-11-18T23:30:00+00:00"),
            ("%Y/%m/%d %H:%M KST", "2026/11/18 09:30 KST", "2026-11-18T00:30:00+00:00"),
            ("%Y/%m/%d %H:%M", "2026/11/18 9:30", "2026-11-18 09:30:00"),
            ("%m/%d/%Y %I:%M %p", "11/18/2026 01:30 PM", "2026-11-18 13:30:00"),
            ("%Y年%m月%d日", "2026年1月8日", "2026-01-08 00:00:00"),
        ] {
            assert_eq!(read(format, text), expected, "{format}");
        }
    }

    #[test]
    fn a_form_with_a_part_that_would_be_dropped_is_refused() {
        for (format, part) in [
            ("%Y-%m-%d %H:%M %Z", "`%Z`"),
            ("%Y/%m/%d %H %z", "`%M`"),
            ("%Y/%m/%d %H", "`%M`"),
            ("%Y/%m/%d %I:%M", "`%p`"),
            ("%Y/%m/%d %M:%S", "`%H`"),
            ("%Y/%m/%d %p", "`%H`"),
            ("%Y/%m/%d %H:%M%.f", "`%S`"),
            ("%Q", "is not a time format"),
        ] {
            let refused = TimeFormat::new(format).unwrap_err();
            assert!(refused.contains(part), "{format}: {refused}");
        }
    }

    /// Databases do not keep a leap second, and 24:00 belongs to another day.
    #[test]
    fn a_time_that_no_clock_shows_does_not_exist() {
        for (format, text) in [
            ("%Y/%m/%d %H:%M:%S", "2026/11/18 12:30:60"),
            ("%+", "2026-11-18T23:59:60Z"),
            ("%Y/%m/%d %H:%M", "2026/11/18 24:00"),
            ("%Y/%m/%d", "2026/02/30"),
            ("%a %Y/%m/%d", "Mon 2026/11/18"),
        ] {
            assert_eq!(read(format, text), "DoesNotExist", "{text}");
        }
    }

    #[test]
    fn numbers_without_anything_in_between_have_all_of_their_digits() {
        assert_eq!(read("%Y/%m/%d %H%M%S", "2026/7/1 013005"), "2026-07-01 01:30:05");
        assert_eq!(read("%Y/%m/%d %H%M%S", "2026/7/1 13005"), "OtherForm");
        assert_eq!(read("%Y%m%d", "20260701"), "2026-07-01 00:00:00");
        assert_eq!(read("%Y%m%d", "2026111"), "OtherForm");
        assert_eq!(read("%y%m%d%H%M", "2607010930"), "2026-07-01 09:30:00");
        assert_eq!(TimeFormat::new("%Y%m%d").unwrap().day("2026111"), None);
    }
}
