//! Cafe24's two throttles, as its response headers report them.
//!
//! The first is a leaky bucket: `X-Api-Call-Limit: 39/40`, which drains two a second, and 429 when it overflows. The
//! second counts usage in percent; from 100 % on, no call may be made for the seconds in `X-Cafe24-Call-Remain` and
//! `X-Cafe24-Time-Remain`, and a call in that time extends it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::clients::api::{Pause, retry_after};

/// How many calls the bucket drains per second.
const DRAIN: f64 = 2.0;
/// The wait after a 429 that gives no time.
const BLIND_WAIT: Duration = Duration::from_secs(1);
/// Whole seconds are rounded, perhaps down; a call in the last moment of a block restarts it.
const ROUNDING: Duration = Duration::from_secs(1);

/// How long a response asks us to wait before the next call.
pub(super) fn rule(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Pause> {
    if let Some(wait) = remaining(headers) {
        let reason = "its usage limit is reached".to_owned();
        return Some(Pause { wait: wait + ROUNDING, reason, is_block: true });
    }
    // A proxy in front of Cafe24 uses its own header.
    let asked = retry_after(status, headers, now);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = bucket(headers).map_or(BLIND_WAIT, |(used, size)| drain(used, size).max(BLIND_WAIT));
        let wait = asked.map_or(wait, |asked| asked.wait.max(wait));
        return Some(Pause { wait, reason: "HTTP 429".to_owned(), is_block: false });
    }
    if asked.is_some() {
        return asked;
    }
    let (used, size) = bucket(headers)?;
    let wait = drain(used, size);
    let reason = format!("{used} of {size} calls are in the bucket");
    (!wait.is_zero()).then_some(Pause { wait, reason, is_block: false })
}

/// The seconds until the usage limit is lifted; both headers are present only from 100 % on.
fn remaining(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name: &str| number(headers.get(name)?.to_str().ok()?);
    let most = [seconds("X-Cafe24-Call-Remain"), seconds("X-Cafe24-Time-Remain")].into_iter().flatten();
    let most = most.fold(0.0, f64::max);
    // A day is longer than we ever wait, and an absurd number must not panic.
    (most > 0.0).then(|| Duration::from_secs_f64(most.min(86_400.0)))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// How full the bucket is, and its size.
fn bucket(headers: &HeaderMap) -> Option<(f64, f64)> {
    let (used, size) = headers.get("X-Api-Call-Limit")?.to_str().ok()?.split_once('/')?;
    Some((number(used)?, number(size)?)).filter(|(used, size)| *used >= 0.0 && *size >= 1.0)
}

/// How long until the bucket has room for a call below its limit: a tenth of it stays free for calls in progress and
/// for other processes.
fn drain(used: f64, size: f64) -> Duration {
    let mark = size - (size / 10.0).floor();
    let above = (used + 1.0 - mark).clamp(0.0, 1000.0);
    Duration::from_secs_f64(above / DRAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(status: u16, headers: &[(&'static str, &'static str)]) -> Option<(u128, bool)> {
        let headers = headers.iter().map(|(name, value)| {
            (name.to_lowercase().parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap())
        });
        let pause = rule(StatusCode::from_u16(status).unwrap(), &headers.collect(), DateTime::UNIX_EPOCH);
        pause.map(|pause| (pause.wait.as_millis(), pause.is_block))
    }

    #[test]
    fn a_bucket_that_is_nearly_full_is_left_to_drain() {
        for (limit, wait) in [
            ("1/40", None),
            ("35/40", None),
            ("36/40", Some(500)),
            ("37/40", Some(1000)),
            ("40/40", Some(2500)),
            ("1/1", Some(500)),
            ("0/1", None),
        ] {
            assert_eq!(
                paused(200, &[("X-Api-Call-Limit", limit)]),
                wait.map(|wait| (wait, false)),
                "{limit}"
            );
        }
    }

    #[test]
    fn usage_blocks_for_the_longer_of_both_times_and_on_a_good_answer_too() {
        let remain = [("X-Cafe24-Call-Remain", "3"), ("X-Cafe24-Time-Remain", "120")];
        assert_eq!(paused(200, &remain), Some((121_000, true)));
        assert_eq!(paused(429, &remain[..1]), Some((4000, true)));
        assert_eq!(paused(200, &[("X-Cafe24-Call-Usage", "99.5")]), None);
    }

    #[test]
    fn a_429_waits_a_second_where_nothing_else_is_said() {
        assert_eq!(paused(429, &[]), Some((1000, false)));
        assert_eq!(paused(429, &[("X-Api-Call-Limit", "41/40")]), Some((3000, false)));
        assert_eq!(paused(503, &[]), None);
    }

    #[test]
    fn a_time_to_come_back_at_is_heeded() {
        let retry = [("Retry-After", "20")];
        assert_eq!(paused(429, &retry), Some((20_000, false)));
        assert_eq!(paused(503, &retry), Some((20_000, false)));
        assert_eq!(paused(429, &[("Retry-After", "0")]), Some((1000, false)));
        assert_eq!(paused(200, &retry), None);
    }

    #[test]
    fn headers_that_make_no_sense_are_passed_over() {
        for limit in ["", "40", "x/40", "-1/40", "1/0", "NaN/40", "inf/40"] {
            assert_eq!(paused(200, &[("X-Api-Call-Limit", limit)]), None, "{limit}");
        }
        for remain in ["", "-5", "NaN", "soon", "inf"] {
            assert_eq!(paused(200, &[("X-Cafe24-Call-Remain", remain)]), None, "{remain}");
        }
        assert_eq!(paused(200, &[("X-Cafe24-Time-Remain", "1e300")]), Some((86_401_000, true)));
    }
}
