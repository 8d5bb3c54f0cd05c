//! Texts that stand for something else in a payload: days, times, bytes, lengths of time.
//!
//! Each is read in one form and no other, and with no digit more than the type holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::schema::Unit;

/// The day of a text like `2026-11-19`, counted from 1970-01-01.
pub(super) fn day(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(shaped(text, "0000-00-00")?, "%Y-%m-%d").ok()?;
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// The time of a text like `10:00:00.25`, in units since midnight.
pub(super) fn time(text: &str, unit: Unit) -> Option<i64> {
    let text = with_fraction(text, "00:00:00", unit)?;
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok()?;
    let since = time.signed_duration_since(NaiveTime::MIN);
    if time.nanosecond() >= 1_000_000_000 { None } else { in_units(since, unit) }
}

/// The instant of a text in RFC 3339, in units since 1970-01-01 UTC.
pub(super) fn instant(text: &str, unit: Unit) -> Option<i64> {
    // The offset has a sign of its own behind the fraction.
    let end = text.get(19..)?.find(['Z', 'z', '+', '-']).map(|place| 19 + place)?;
    with_fraction(&text[..end], "0000-00-00T00:00:00", unit)?;
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    if at.nanosecond() >= 1_000_000_000 { None } else { in_units(at.to_utc() - DateTime::UNIX_EPOCH, unit) }
}

/// The time of a text like `2026-11-19T10:00:00`, which is that of some clock and not an instant, in units since 1970-01-01.
pub(super) fn local_time(text: &str, unit: Unit) -> Option<i64> {
    let text = with_fraction(text, "0000-00-00T00:00:00", unit)?;
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    if at.nanosecond() >= 1_000_000_000 {
        None
    } else {
        in_units(at - DateTime::UNIX_EPOCH.naive_utc(), unit)
    }
}

/// The bytes of Base64 (RFC 4648 section 4).
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// The bytes of a text of Avro's own JSON, in which each character is one.
pub(super) fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// The bytes of a UUID (RFC 9562 section 4).
pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let digits = is_uuid.then(|| text.replace('-', ""))?;
    hex::decode(digits).ok()?.try_into().ok()
}

/// The months, days and milliseconds of a duration in ISO 8601, such as `P1M2DT3.5S`, as the bytes of Avro's `duration`.
pub(super) fn duration(text: &str) -> Option<[u8; 12]> {
    let text = text.strip_prefix('P')?;
    let (days_part, time_part) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    if days_part.is_empty() && time_part.is_empty() {
        return None;
    }
    let [years, months, weeks, days] = parts(days_part, ["Y", "M", "W", "D"])?;
    let [hours, minutes, seconds] = parts(time_part, ["H", "M", "S"])?;
    let count = |text: Option<&str>| match text {
        None => Some(0),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u64>().ok(),
        Some(_) => None,
    };
    let months = count(years)?.checked_mul(12)?.checked_add(count(months)?)?;
    let days = count(weeks)?.checked_mul(7)?.checked_add(count(days)?)?;
    let (whole, fraction) = match seconds.map(|seconds| seconds.split_once('.').unwrap_or((seconds, "0"))) {
        None => (None, "0"),
        Some((whole, fraction)) => (Some(whole), fraction),
    };
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let milliseconds = count(hours)?
        .checked_mul(3_600_000)?
        .checked_add(count(minutes)?.checked_mul(60_000)?)?
        .checked_add(count(whole)?.checked_mul(1000)?)?
        .checked_add(count(Some(&format!("{fraction:0<3}")))?)?;
    let mut bytes = [0; 12];
    for (place, value) in [months, days, milliseconds].into_iter().enumerate() {
        bytes[place * 4..place * 4 + 4].copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    }
    Some(bytes)
}

/// The parts of a text like `1Y2M`, which end in these letters, in this order; `None` if there is anything else.
fn parts<'t, const N: usize>(text: &'t str, letters: [&str; N]) -> Option<[Option<&'t str>; N]> {
    let mut rest = text;
    let mut found = [None; N];
    for (part, letter) in found.iter_mut().zip(letters) {
        if let Some((value, after)) = rest.split_once(letter)
            && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            if value.is_empty() {
                return None;
            }
            (*part, rest) = (Some(value), after);
        }
    }
    rest.is_empty().then_some(found)
}

/// The text, if it has a digit wherever `shape` has one, and elsewhere the same characters.
fn shaped<'t>(text: &'t str, shape: &str) -> Option<&'t str> {
    let is_shaped = text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        });
    is_shaped.then_some(text)
}

/// The text, if it has this shape and then, perhaps, a fraction with no digit that the unit does not hold.
fn with_fraction<'t>(text: &'t str, shape: &str, unit: Unit) -> Option<&'t str> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    shaped(whole, shape)?;
    let is_held = fraction.bytes().all(|byte| byte.is_ascii_digit())
        && fraction.trim_end_matches('0').len() <= unit.digits();
    is_held.then_some(text)
}

fn in_units(since: TimeDelta, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Millis => Some(since.num_milliseconds()),
        Unit::Micros => since.num_microseconds(),
        Unit::Nanos => since.num_nanoseconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_a_time_are_read_in_one_form() {
        assert_eq!(day("1970-01-02"), Some(1));
        assert_eq!(day("1969-12-31"), Some(-1));
        for wrong in
            ["2026-02-30", "2026-2-3", "20261119", "2026-11-19T00:00:00Z", "+2026-11-1", "", "２026-11-19"]
        {
            assert_eq!(day(wrong), None, "{wrong}");
        }
        assert_eq!(time("10:00:00.250", Unit::Millis), Some(36_000_250));
        assert_eq!(time("00:00:00.2500000", Unit::Micros), Some(250_000));
        for wrong in ["10:00", "24:00:00", "10:00:60", "10:00:00.0001", "10:00:00.", "10:00:00Z"] {
            assert_eq!(time(wrong, Unit::Millis), None, "{wrong}");
        }
    }

    #[test]
    fn an_instant_is_that_of_its_offset_and_loses_no_digit() {
        assert_eq!(instant("2026-11-19T05:04:11.000001Z", Unit::Micros), Some(1_795_064_651_000_001));
        assert_eq!(instant("2026-11-19T14:04:11+09:00", Unit::Millis), Some(1_795_064_651_000));
        assert_eq!(instant("1969-12-31T23:59:59.999-00:00", Unit::Millis), Some(-1));
        assert_eq!(instant("2026-11-19T05:04:11.123456789Z", Unit::Nanos), Some(1_795_064_651_123_456_789));
        for wrong in [
            "2026-11-19T05:04:11.0000011Z",
            "2026-11-19T05:04:11.12345678901Z",
            "2026-11-19T05:04:11",
            "2026-11-19 05:04:11Z",
            "2026-11-19T05:04:60Z",
            "2026-02-30T05:04:11Z",
            "1795064651",
            "주문",
        ] {
            assert_eq!(instant(wrong, Unit::Micros), None, "{wrong}");
        }
        assert_eq!(instant("9999-12-31T23:59:59Z", Unit::Nanos), None, "there are no such nanoseconds");
        assert_eq!(local_time("1970-01-02T00:00:00.5", Unit::Millis), Some(86_400_500));
        assert_eq!(local_time("1970-01-02T00:00:00Z", Unit::Millis), None);
    }

    #[test]
    fn a_duration_is_months_days_and_milliseconds() {
        let of = |text: &str| {
            duration(text).map(|bytes| {
                [0, 4, 8]
                    .map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
            })
        };
        assert_eq!(of("P1Y2M3W4DT5H6M7.089S"), Some([14, 25, 18_367_089]));
        assert_eq!(of("PT0.5S"), Some([0, 0, 500]));
        assert_eq!(of("P1M"), Some([1, 0, 0]));
        assert_eq!(of("PT1M"), Some([0, 0, 60_000]));
        for wrong in
            ["", "P", "PT", "P1", "1M", "P1.5M", "P-1D", "PT1.0001S", "PT1.S", "P5000000000M", "P1D1M", "PTS"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
