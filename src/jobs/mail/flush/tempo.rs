//! The server's own pace, learned while sending: a server that asks for less gets a pause and then fewer mails, and the
//! mails that it did not take stay as they were.
//!
//! After each request to slow down the distance between two mails doubles, and each mail that is taken shortens it a
//! little: the rate settles just below what the server accepts, without knowing it beforehand.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Jitter};

/// The distance between two mails after the first request to slow down.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// Below this distance the connections alone decide.
const NO_INTERVAL: Duration = Duration::from_millis(20);
/// Each mail that is taken shortens the distance to this share, in percent.
const RECOVERY_PERCENT: u32 = 95;
/// The pauses after requests to slow down with no mail taken in between.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(500),
    factor: 2,
    longest: Duration::from_secs(30),
    // Several runs that were told so together do not come back together.
    jitter: Jitter::Percent(20),
};
/// After this many of them a server that has taken nothing at all in this run is left alone until the next one.
const HOPELESS: u32 = 3;
/// One that did take mails is waited for longer: many count per minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// A server that asks for a longer wait is left alone until then.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What a request to slow down leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The run pauses, with fewer connections.
    Fewer,
    /// Nothing new: the mail was already under way when the server first asked.
    SameAgain,
    /// Waiting does not help in this run.
    GiveUp,
}

/// How fast mails may be begun.
#[derive(Debug)]
pub(super) struct Tempo {
    interval: Duration,
    /// No mail begins before.
    next_at: Option<Instant>,
    /// When the server last asked for less.
    slowed_at: Option<Instant>,
    /// Its requests since it last took a mail.
    requests: u32,
    has_taken: bool,
    /// When it last took a mail; at first, when the run began.
    taken_at: Instant,
}

impl Tempo {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            interval: Duration::ZERO,
            next_at: None,
            slowed_at: None,
            requests: 0,
            has_taken: false,
            taken_at: now,
        }
    }

    /// No mail begins before this time.
    pub(super) fn wait_until(&mut self, time: Instant) {
        self.next_at = self.next_at.max(Some(time));
    }

    /// When the next mail may begin, if that is limited.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn allows(&self, now: Instant) -> bool {
        self.next_at.is_none_or(|next| next <= now)
    }

    /// A mail begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next_at = (!self.interval.is_zero()).then(|| now + self.interval);
    }

    /// A mail was taken.
    pub(super) fn taken(&mut self, now: Instant) {
        (self.requests, self.has_taken, self.taken_at) = (0, true, now);
        self.interval = self.interval * RECOVERY_PERCENT / 100;
        if self.interval < NO_INTERVAL {
            self.interval = Duration::ZERO;
        }
    }

    /// The server asked for less in its answer to a mail that began at `begun`; perhaps it said for how long. The run has
    /// until `end`.
    pub(super) fn slow_down(
        &mut self,
        begun: Instant,
        stated: Option<Duration>,
        now: Instant,
        end: Instant,
    ) -> Reaction {
        let is_news = self.slowed_at.is_none_or(|slowed| begun >= slowed);
        if is_news {
            self.requests += 1;
            self.slowed_at = Some(now);
            self.interval = (self.interval * 2).clamp(FIRST_INTERVAL, MAX_INTERVAL);
        }
        let pause = stated.unwrap_or_else(|| PAUSES.pause(self.requests)).max(self.interval);
        let is_hopeless = self.requests >= HOPELESS
            && (!self.has_taken || now.saturating_duration_since(self.taken_at) + pause > PATIENCE);
        if pause > LONGEST_WAIT || is_hopeless || now + pause >= end {
            return Reaction::GiveUp;
        }
        self.wait_until(now + pause);
        if is_news { Reaction::Fewer } else { Reaction::SameAgain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_server_that_takes_nothing_is_given_up_on_soon_and_one_that_counts_per_minute_is_waited_for() {
        let start = Instant::now();
        let end = start + seconds(3600);
        let mut tempo = Tempo::new(start);
        let mut now = start;
        let mut reactions = Vec::new();
        for _ in 0..3 {
            reactions.push(tempo.slow_down(now, None, now, end));
            now = tempo.next_at().unwrap().max(now);
        }
        assert_eq!(reactions, [Reaction::Fewer, Reaction::Fewer, Reaction::GiveUp]);
        assert!(now - start < seconds(5), "{:?}", now - start);

        let mut tempo = Tempo::new(start);
        tempo.taken(start);
        let mut now = start;
        while tempo.slow_down(now, None, now, end) != Reaction::GiveUp {
            now = tempo.next_at().unwrap();
        }
        assert!((seconds(40)..=PATIENCE).contains(&(now - start)), "{:?}", now - start);
    }

    #[test]
    fn what_was_under_way_when_the_server_asked_is_no_second_request() {
        let start = Instant::now();
        let end = start + seconds(3600);
        let mut tempo = Tempo::new(start);
        assert_eq!(tempo.slow_down(start, None, start + seconds(1), end), Reaction::Fewer);
        for _ in 0..20 {
            assert_eq!(tempo.slow_down(start, None, start + seconds(1), end), Reaction::SameAgain);
        }
        assert!(!tempo.allows(start + seconds(1)) && tempo.allows(start + seconds(2)));
    }

    #[test]
    fn a_stated_wait_is_kept_or_left_to_another_run() {
        let start = Instant::now();
        let (soon, end) = (start + seconds(10), start + seconds(3600));
        let mut tempo = Tempo::new(start);
        assert_eq!(tempo.slow_down(start, Some(seconds(20)), start, end), Reaction::Fewer);
        assert_eq!(tempo.next_at(), Some(start + seconds(20)));
        assert_eq!(Tempo::new(start).slow_down(start, Some(seconds(61)), start, end), Reaction::GiveUp);
        assert_eq!(Tempo::new(start).slow_down(start, Some(seconds(20)), start, soon), Reaction::GiveUp);
    }

    /// A service that takes so many mails a second, and one connection that waits for nothing else.
    #[test]
    fn the_rate_settles_just_below_what_the_server_accepts() {
        for most_per_second in [1_u32, 14] {
            let start = Instant::now();
            let end = start + seconds(3600);
            let (mut tempo, mut now) = (Tempo::new(start), start);
            let (mut taken, mut refused) = (Vec::new(), 0_usize);
            while now < start + seconds(300) {
                let is_recent = |at: &&Instant| now.saturating_duration_since(**at) < seconds(1);
                if taken.iter().rev().take(20).filter(is_recent).count() < most_per_second as usize {
                    taken.push(now);
                    tempo.taken(now);
                } else {
                    refused += 1;
                    assert_ne!(tempo.slow_down(now, None, now, end), Reaction::GiveUp);
                }
                now += Duration::from_millis(5);
                now = tempo.next_at().unwrap_or(now).max(now);
                tempo.begin(now);
            }
            let best = most_per_second as usize * 300;
            assert!(taken.len() > best / 3, "{} of {best}", taken.len());
            assert!(refused < taken.len() / 5, "{refused} refused, {} taken", taken.len());
        }
    }
}
