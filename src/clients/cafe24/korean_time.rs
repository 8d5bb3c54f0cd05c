//! Korean time, which Cafe24 means wherever it accepts or returns a time without a zone.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

fn offset() -> FixedOffset {
    FixedOffset::east_opt(9 * 3600).unwrap_or_else(|| unreachable!("nine hours are an offset"))
}

/// An instant as Korean clocks show it.
pub fn of(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&offset())
}

/// A time with its own zone, or in Korean time (`2026-08-01T15:50:00.000`, `2026-08-01 15:50:00`); a date alone means
/// its midnight.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    // Neither database keeps others: they do not sort, or are refused with all of their page.
    parse_any(text).filter(|time| (1..=9_998).contains(&time.year()))
}

fn parse_any(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN)))?;
    local.and_local_timezone(offset()).single().map(|time| time.to_utc())
}
