//! The times in a response: when the next call may be made, and when the server read the data.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How far a server's clock may differ from ours and still be trusted.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// How long a response asks us to wait before the next call: the API's own rule, applied to every response.
pub type Rule = fn(StatusCode, &HeaderMap, DateTime<Utc>) -> Option<Pause>;

/// A wait that an API asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Counted from the response.
    pub wait: Duration,
    /// The reason, for people.
    pub reason: String,
    /// Whether it applies to other processes too, so that it has to be stored.
    pub is_block: bool,
}

/// The wait that `Retry-After` asks for (RFC 9110 section 10.2.3), in seconds or as a date: the rule of an API that
/// has no other, and the only place that reads this header.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Pause> {
    if status.is_success() {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (http_date(text)? - now).to_std().unwrap_or_default(),
    };
    Some(Pause { wait, reason: format!("HTTP {} with Retry-After", status.as_u16()), is_block: false })
}

/// The rule of an API whose callers judge each response themselves, and whose refusal of one item delays no other.
pub fn no_rule(_: StatusCode, _: &HeaderMap, _: DateTime<Utc>) -> Option<Pause> {
    None
}

/// An HTTP date (RFC 9110 section 5.6.7), in any of the three forms that a recipient has to accept.
pub fn http_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::from)
}

/// A time not later than the server's read of the data: of two responses about one record this decides which is newer.
/// A `Date` that is far from our clock comes from a cache or a wrong clock, and one after the call began would let
/// what changed meanwhile count as older.
pub(super) fn as_of(date: Option<DateTime<Utc>>, asked_at: DateTime<Utc>) -> DateTime<Utc> {
    date.filter(|date| (asked_at - *date).abs() <= CLOCK_TOLERANCE)
        // A date has whole seconds: it stands for any moment within its second.
        .map_or(asked_at, |date| (date + TimeDelta::milliseconds(999)).min(asked_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = http_date("Fri, 20 Nov 2026 01:00:00 GMT").unwrap();
        let wait = |status: u16, value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(StatusCode::from_u16(status).unwrap(), &headers, now)
                .map(|pause| pause.wait.as_secs())
        };
        assert_eq!(wait(429, " 120"), Some(120));
        assert_eq!(wait(503, "Fri, 20 Nov 2026 01:02:00 GMT"), Some(120));
        assert_eq!(wait(503, "Friday, 20-Nov-26 01:02:00 GMT"), Some(120));
        assert_eq!(wait(503, "Fri Nov 20 01:02:00 2026"), Some(120));
        assert_eq!(wait(503, "Fri, 20 Nov 2026 00:00:00 GMT"), Some(0));
        assert_eq!(wait(429, "18446744073709551615"), Some(u64::MAX));
        for nonsense in ["soon", "", "-1", "1.5", "18446744073709551616", "Fri, 99 Nov 2026 00:00:00 GMT"] {
            assert_eq!(wait(503, nonsense), None, "{nonsense}");
        }
        assert_eq!(wait(200, "120"), None);
    }

    #[test]
    fn the_time_of_an_answer_is_never_later_than_its_question_nor_far_from_it() {
        let asked_at = http_date("Fri, 20 Nov 2026 01:00:00 GMT").unwrap();
        let of = |date: &str| as_of(http_date(date), asked_at).to_rfc2822();
        for (date, expected) in [
            ("Fri, 20 Nov 2026 00:59:30 GMT", "Fri, 20 Nov 2026 00:59:30 +0000"),
            ("Fri, 20 Nov 2026 01:00:01 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
            ("Fri, 20 Nov 2026 02:00:00 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
            ("Thu, 20 Nov 2025 01:00:00 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
            ("soon", "Fri, 20 Nov 2026 01:00:00 +0000"),
        ] {
            assert_eq!(of(date), expected, "{date}");
        }
    }
}
