//! When the next call may be made: the rate of a destination, and the blocks that its responses announced.
//!
//! One state for each address in this process, whatever the caller: the next job of the same account must not call
//! while blocked.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::MAX_PAUSE;

static DESTINATIONS: LazyLock<Mutex<HashMap<String, Arc<Destination>>>> = LazyLock::new(Mutex::default);

/// The destination of this API and address.
pub(super) fn destination(api: &str, base: &Url) -> Arc<Destination> {
    let mut destinations = DESTINATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(destinations.entry(format!("{api} {base}")).or_default())
}

/// The pace of one address.
#[derive(Debug, Default)]
pub(super) struct Destination(Mutex<Pace>);

/// Whether a call may go.
#[derive(Debug, PartialEq)]
pub(super) enum Go {
    Now,
    /// The slot is reserved; it begins after this time.
    After(Duration),
    /// No slot is reserved: ask again after this time.
    Blocked(Duration, String),
}

impl Destination {
    pub(super) fn next(&self, rate: f64, burst: u32) -> Go {
        self.pace().next(Instant::now(), rate, burst)
    }

    pub(super) fn block(&self, wait: Duration, reason: &str) {
        self.pace().block(Instant::now() + wait.min(MAX_PAUSE), reason);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.pace().blocked.as_ref().is_some_and(|(until, _)| *until > Instant::now())
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that each call of a rate takes; `None` without a rate.
pub(super) fn interval(rate: f64) -> Option<Duration> {
    // One call per year is a valid setting too.
    let each = || Duration::try_from_secs_f64(1.0 / rate).map_or(MAX_PAUSE, |each| each.min(MAX_PAUSE));
    (rate > 0.0).then(each)
}

#[derive(Debug, Default)]
struct Pace {
    /// When the bucket would be empty again: each call moves it by the interval of one call (GCRA).
    empty_at: Option<Instant>,
    blocked: Option<(Instant, String)>,
}

impl Pace {
    fn next(&mut self, now: Instant, rate: f64, burst: u32) -> Go {
        if let Some((until, reason)) = &self.blocked
            && *until > now
        {
            return Go::Blocked(*until - now, reason.clone());
        }
        self.blocked = None;
        let Some(each) = interval(rate) else { return Go::Now };
        let empty_at = self.empty_at.map_or(now, |at| at.max(now));
        self.empty_at = Some(empty_at + each);
        let ahead = empty_at - now;
        match ahead.checked_sub(each * burst.saturating_sub(1)) {
            None | Some(Duration::ZERO) => Go::Now,
            Some(wait) => Go::After(wait),
        }
    }

    /// The later end wins: of two responses, the newer one may arrive first.
    fn block(&mut self, until: Instant, reason: &str) {
        if self.blocked.as_ref().is_none_or(|(known, _)| *known < until) {
            self.blocked = Some((until, reason.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn calls_keep_their_distance_behind_the_burst() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let waits: Vec<Go> = (0..5).map(|_| pace.next(start, 8.0, 2)).collect();
        let after = |wait| Go::After(milliseconds(wait));
        assert_eq!(waits, [Go::Now, Go::Now, after(125), after(250), after(375)]);
        // Nine seconds later the bucket is empty again, and no fuller than that.
        let later = start + Duration::from_secs(9);
        let waits: Vec<Go> = (0..3).map(|_| pace.next(later, 8.0, 2)).collect();
        assert_eq!(waits, [Go::Now, Go::Now, after(125)]);
    }

    #[test]
    fn no_second_has_more_calls_than_the_rate_and_the_burst() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let within = (0..100)
            .map(|_| pace.next(start, 8.0, 2))
            .filter(|go| matches!(go, Go::Now) || matches!(go, Go::After(wait) if *wait < milliseconds(1000)))
            .count();
        assert!(within <= 10, "{within}");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!((0..1000).all(|_| pace.next(now, 0.0, 2) == Go::Now));
    }

    #[test]
    fn a_block_takes_no_slot_and_the_later_end_wins() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.block(now + milliseconds(500), "one");
        pace.block(now + milliseconds(200), "two");
        assert_eq!(pace.next(now, 8.0, 1), Go::Blocked(milliseconds(500), "one".to_owned()));
        assert_eq!(pace.next(now + milliseconds(500), 8.0, 1), Go::Now);
        assert_eq!(pace.next(now + milliseconds(500), 8.0, 1), Go::After(milliseconds(125)));
    }

    #[test]
    fn wild_numbers_are_long_waits_and_no_panic() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.next(now, 1e-300, 1), Go::Now);
        assert_eq!(pace.next(now, 1e-300, 1), Go::After(MAX_PAUSE));
        assert_eq!(pace.next(now, f64::MIN_POSITIVE / 2.0, 1), Go::After(MAX_PAUSE * 2));
        let destination = Destination::default();
        destination.block(Duration::MAX, "usage");
        assert!(destination.is_blocked());
    }

    #[test]
    fn an_address_has_one_pace_for_all_callers() {
        let base = Url::parse("https://pace.example.jp/").unwrap();
        destination("Test", &base).block(Duration::from_mins(1), "usage");
        assert!(destination("Test", &base).is_blocked());
        assert!(!destination("Test", &Url::parse("https://other.example.jp/").unwrap()).is_blocked());
    }
}
