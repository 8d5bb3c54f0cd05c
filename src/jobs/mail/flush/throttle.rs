//! Adaptive throttling: how fast the server takes mails, learned from its answers. The mails that it did not take stay as
//! they were.
//!
//! Some servers refuse what comes too fast; others refuse a share of the mails however slowly they come, for example
//! because one of several machines behind a balancer is overloaded. Only the first kind takes more of them if there is a
//! gap between two mails. So answers are judged by the sample: if too many of one are refusals, the gap doubles, and if
//! those of the next are hardly fewer, the gap was of no use and that share is put up with. Otherwise the gap shrinks, as
//! fast as it grew, towards the last one that was too short.
//!
//! A server that takes nothing at all for the moment is another matter: it gets pauses, and is given up on in the end.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Jitter};

/// The longest gap that is tried first.
const FIRST_GAP: Duration = Duration::from_millis(100);
/// No server that takes mails at all wants them less often; pauses do the rest.
const MAX_GAP: Duration = Duration::from_secs(2);
/// Below this gap the connections alone decide.
const NO_GAP: Duration = Duration::from_millis(2);
/// Answers that are judged together.
const SAMPLE: u32 = 16;
/// A share of refusals, in percent, that is no reason to go more slowly.
const FEW_PERCENT: u32 = 13;
/// A share that is put up with may be exceeded by this much, since samples are small.
const SCATTER_PERCENT: u32 = 20;
/// A server that refuses more than this is not put up with.
const MOST_PERCENT: u32 = 60;
/// After this many refusals in a row a server that did take mails gets a pause. One that has not gets it at once.
const STREAK: u32 = 3;
/// Where a share of mails is refused anyway, a row is no chance only if it is longer: by one for each so many percent, but
/// not for more than [`MOST_CHANCE_PERCENT`], which may be the rows themselves.
const PERCENT_PER_ROW: u32 = 8;
const MOST_CHANCE_PERCENT: u32 = 40;
/// The pauses with no answer but refusals in between.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(500),
    factor: 2,
    longest: Duration::from_secs(30),
    // Several runs that were told so together do not come back together.
    jitter: Jitter::Percent(20),
};
/// With this many of them due, a server that has taken nothing at all in this run is left alone until the next one.
const HOPELESS: u32 = 4;
/// One that did take mails is waited for longer: many count per minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// A server that asks for a longer wait is left alone until then.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What an answer of the server leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Fewer connections.
    Fewer,
    /// As many connections as before it asked for less.
    More,
    /// Nothing new.
    Same,
    /// Waiting does not help in this run.
    GiveUp,
}

/// Answers, and how many of them were requests to slow down.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    all: u32,
    refused: u32,
}

impl Answers {
    fn add(&mut self, is_refused: bool) {
        self.all = self.all.saturating_add(1);
        self.refused += u32::from(is_refused);
    }

    /// The share of refusals in percent.
    fn refused_percent(self) -> u32 {
        (u64::from(self.refused) * 100 / u64::from(self.all.max(1))).try_into().unwrap_or(100)
    }
}

/// How fast mails may be begun.
#[derive(Debug)]
pub(super) struct Throttle {
    gap: Duration,
    /// No mail begins before.
    next_at: Option<Instant>,
    /// When the pace last changed: answers to mails that began before say nothing about it.
    changed_at: Option<Instant>,
    /// The answers since then that were not judged yet, and when the first of them came.
    sample: Answers,
    sample_begun_at: Instant,
    /// Whether there was a pause meanwhile.
    has_paused: bool,
    /// A shorter gap and its share of refusals, for which the gap grew.
    faster: Option<(Duration, u32)>,
    /// The longest gap that is known to be too short.
    too_short: Duration,
    /// The share of refusals that does not depend on the gap.
    tolerated_percent: u32,
    /// Refusals since the server last gave another answer.
    in_a_row: u32,
    /// Pauses since then.
    pauses: u32,
    has_taken: bool,
    /// When it last took a mail; at first, when the run began.
    taken_at: Instant,
    /// The answers of the whole run.
    all: Answers,
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            gap: Duration::ZERO,
            next_at: None,
            changed_at: None,
            sample: Answers::default(),
            sample_begun_at: now,
            has_paused: false,
            faster: None,
            too_short: Duration::ZERO,
            tolerated_percent: 0,
            in_a_row: 0,
            pauses: 0,
            has_taken: false,
            taken_at: now,
            all: Answers::default(),
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

    /// Whether the server has taken a mail in this run.
    pub(super) fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// The share of requests to slow down among all answers of the run, in percent.
    pub(super) fn refused_percent(&self) -> u32 {
        self.all.refused_percent()
    }

    /// A mail begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next_at = (!self.gap.is_zero()).then(|| now + self.gap);
    }

    /// A mail that began at `begun` got an answer of its own: the server took it or not, but did not ask for less.
    pub(super) fn answered(&mut self, begun: Instant, is_taken: bool, now: Instant) -> Reaction {
        (self.in_a_row, self.pauses) = (0, 0);
        if is_taken {
            (self.has_taken, self.taken_at) = (true, now);
        }
        self.note(begun, false, now);
        if self.sample.all >= SAMPLE { self.judge(now) } else { Reaction::Same }
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
        let is_news = self.note(begun, true, now);
        self.in_a_row += u32::from(is_news);
        let is_stuck = stated.is_some() || !self.has_taken || self.in_a_row >= self.streak();
        let is_plain = stated.is_some() || self.in_a_row >= self.streak();
        let reaction = if is_news && is_plain && self.gap.is_zero() && self.tolerated_percent == 0 {
            // Without a sample.
            self.widen_gap(FIRST_GAP, now)
        } else if is_news && self.sample.all >= SAMPLE {
            self.judge(now)
        } else {
            Reaction::Same
        };
        if is_stuck && self.pause(is_news, stated, now, end) == Reaction::GiveUp {
            return Reaction::GiveUp;
        }
        reaction
    }

    /// The server took no connection, and none is left.
    pub(super) fn turned_away(&mut self, now: Instant, end: Instant) -> Reaction {
        self.in_a_row += 1;
        if self.has_taken && self.in_a_row < self.streak() {
            return Reaction::Same;
        }
        self.pause(true, None, now, end)
    }

    /// How many refusals in a row are no chance.
    fn streak(&self) -> u32 {
        let usual = self.tolerated_percent.max(self.refused_percent().min(MOST_CHANCE_PERCENT));
        STREAK + usual / PERCENT_PER_ROW
    }

    /// Counts an answer, unless it is to a mail that began before the pace last changed. Returns whether it counts.
    fn note(&mut self, begun: Instant, is_refused: bool, now: Instant) -> bool {
        self.all.add(is_refused);
        let is_news = self.changed_at.is_none_or(|changed| begun >= changed);
        if is_news {
            if self.sample.all == 0 {
                self.sample_begun_at = now;
            }
            self.sample.add(is_refused);
        }
        is_news
    }

    fn pause(&mut self, is_news: bool, stated: Option<Duration>, now: Instant, end: Instant) -> Reaction {
        self.pauses += u32::from(is_news);
        // The last pause ends with the patience: a longer one would give up on a server shortly before it takes mails again.
        let patience = PATIENCE.saturating_sub(now.saturating_duration_since(self.taken_at));
        let is_hopeless = self.pauses >= HOPELESS && (!self.has_taken || patience.is_zero());
        let own = || PAUSES.pause(self.pauses).min(patience.max(PAUSES.first));
        let pause = stated.unwrap_or_else(own).max(self.gap);
        if pause > LONGEST_WAIT || is_hopeless || now + pause >= end {
            return Reaction::GiveUp;
        }
        if is_news || stated.is_some() {
            self.changed_at = Some(now);
            self.wait_until(now + pause);
            // The pause changes the share as well as the gap does: this sample is not comparable with another one.
            self.faster = None;
            self.has_paused = true;
            // Nor is a row of refusals what a share that is independent of the gap looks like.
            self.tolerated_percent /= 2;
        }
        Reaction::Same
    }

    /// Judges the sample, and begins a new one.
    fn judge(&mut self, now: Instant) -> Reaction {
        let sample = std::mem::take(&mut self.sample);
        let share = sample.refused_percent();
        let (gap, faster) = (self.gap, self.faster.take());
        let has_paused = std::mem::take(&mut self.has_paused);
        let is_useless = faster.is_some_and(|(_, before)| !has_helped(before, share));
        if faster.is_some() && !is_useless {
            self.tolerated_percent = self.tolerated_percent.min(share);
        }
        let reaction = if self.is_put_up_with(share) {
            self.tolerated_percent = self.tolerated_percent.min((3 * self.tolerated_percent + share) / 4);
            self.shorten_gap()
        } else if let (true, Some((gap, before))) = (is_useless && share <= MOST_PERCENT, faster) {
            self.tolerated_percent = share.max(before).min(MOST_PERCENT);
            (self.gap, self.too_short) = (gap, Duration::ZERO);
            Reaction::More
        } else {
            self.faster = (!has_paused).then_some((gap, share));
            // As they came by themselves.
            let own = now.saturating_duration_since(self.sample_begun_at) / sample.all.max(1);
            self.widen_gap((own * 2).clamp(NO_GAP, FIRST_GAP), now)
        };
        if self.gap != gap {
            self.changed_at = Some(now);
        }
        reaction
    }

    /// Doubles the gap; `first` is the first one.
    fn widen_gap(&mut self, first: Duration, now: Instant) -> Reaction {
        self.too_short = self.gap;
        self.gap = if self.gap.is_zero() { first } else { (self.gap * 2).min(MAX_GAP) };
        self.changed_at = Some(now);
        self.wait_until(now + self.gap);
        Reaction::Fewer
    }

    fn is_put_up_with(&self, share: u32) -> bool {
        let tolerated = self.tolerated_percent;
        share <= FEW_PERCENT || (tolerated > 0 && share <= tolerated + SCATTER_PERCENT)
    }

    /// Halfway towards the last gap that was too short; once that is near, it is tried whether it still is. Where gaps are of
    /// no use, they go sooner.
    fn shorten_gap(&mut self) -> Reaction {
        if self.gap.is_zero() {
            return Reaction::Same;
        }
        if self.gap.saturating_sub(self.too_short) < self.gap / 8 {
            self.too_short /= 2;
        }
        self.gap = if self.tolerated_percent > 0 { self.gap / 4 } else { (self.gap + self.too_short) / 2 };
        if self.gap >= NO_GAP {
            return Reaction::Same;
        }
        self.gap = Duration::ZERO;
        Reaction::More
    }
}

/// Whether a doubled gap has made a difference, from one share of refusals to the other: the server takes clearly more of
/// what it gets, or refuses half as much.
fn has_helped(before: u32, after: u32) -> bool {
    after * 2 <= before || (100 - after) * 100 >= (100 - before) * 125
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
        let mut throttle = Throttle::new(start);
        let mut now = start;
        let mut reactions = Vec::new();
        for _ in 0..HOPELESS {
            reactions.push(throttle.slow_down(now, None, now, end));
            now = throttle.next_at().unwrap().max(now);
        }
        assert_eq!(reactions, [Reaction::Same, Reaction::Same, Reaction::Same, Reaction::GiveUp]);
        assert!(now - start < seconds(5), "{:?}", now - start);

        let mut throttle = Throttle::new(start);
        throttle.answered(start, true, start);
        let mut now = start;
        while throttle.slow_down(now, None, now, end) != Reaction::GiveUp {
            now = throttle.next_at().unwrap_or(now);
        }
        assert!((PATIENCE..PATIENCE + seconds(1)).contains(&(now - start)), "{:?}", now - start);
    }

    #[test]
    fn a_server_that_turns_connections_away_is_asked_again_at_once_if_it_has_taken_mails() {
        let start = Instant::now();
        let end = start + seconds(3600);
        let mut throttle = Throttle::new(start);
        let mut now = start;
        let mut tries = 1;
        while throttle.turned_away(now, end) != Reaction::GiveUp {
            now = throttle.next_at().unwrap();
            tries += 1;
        }
        assert_eq!(tries, HOPELESS, "nothing was taken");
        let mut throttle = Throttle::new(start);
        for _ in 0..100 {
            throttle.answered(start, true, start);
            assert_eq!(throttle.turned_away(start, end), Reaction::Same);
        }
        assert_eq!(throttle.next_at(), None);
        let mut now = start;
        while throttle.turned_away(now, end) != Reaction::GiveUp {
            now = throttle.next_at().unwrap_or(now);
        }
        assert!((PATIENCE..PATIENCE + seconds(1)).contains(&(now - start)), "{:?}", now - start);
    }

    #[test]
    fn what_was_under_way_when_the_server_asked_is_no_second_request() {
        let start = Instant::now();
        let end = start + seconds(3600);
        let mut throttle = Throttle::new(start);
        let later = start + seconds(1);
        assert_eq!(throttle.slow_down(start, None, later, end), Reaction::Same);
        for _ in 0..20 {
            assert_eq!(throttle.slow_down(start, None, later, end), Reaction::Same);
        }
        assert!(!throttle.allows(later) && throttle.allows(later + seconds(1)));
    }

    #[test]
    fn a_stated_wait_is_kept_or_left_to_another_run() {
        let start = Instant::now();
        let (soon, end) = (start + seconds(10), start + seconds(3600));
        let mut throttle = Throttle::new(start);
        assert_eq!(throttle.slow_down(start, Some(seconds(20)), start, end), Reaction::Fewer);
        assert_eq!(throttle.next_at(), Some(start + seconds(20)));
        assert_eq!(Throttle::new(start).slow_down(start, Some(seconds(61)), start, end), Reaction::GiveUp);
        assert_eq!(Throttle::new(start).slow_down(start, Some(seconds(20)), start, soon), Reaction::GiveUp);
    }

    /// What a server does with a mail that begins at a time.
    type Server<'a> = dyn FnMut(Instant) -> bool + 'a;

    /// Sends for so long, with a pause of 5 ms for each mail, and returns how many mails were taken and refused.
    fn run(seconds_long: u64, server: &mut Server<'_>) -> (u32, u32) {
        let start = Instant::now();
        let end = start + seconds(seconds_long);
        let (mut throttle, mut now) = (Throttle::new(start), start);
        let (mut taken, mut refused) = (0, 0);
        while now < end {
            throttle.begin(now);
            if server(now) {
                taken += 1;
                throttle.answered(now, true, now);
            } else {
                refused += 1;
                assert_ne!(throttle.slow_down(now, None, now, end + seconds(60)), Reaction::GiveUp);
            }
            now += Duration::from_millis(5);
            now = throttle.next_at().unwrap_or(now).max(now);
        }
        (taken, refused)
    }

    /// A server that refuses a share of the mails at random, after it has taken one.
    fn refusing(percent: u64, seed: u64) -> impl FnMut(Instant) -> bool {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut is_first = true;
        move |_| std::mem::take(&mut is_first) || random.u64(0..100) >= percent
    }

    #[test]
    fn the_rate_settles_just_below_what_the_server_accepts() {
        for most_per_second in [1, 10, 14] {
            let mut recent = std::collections::VecDeque::new();
            let (taken, refused) = run(300, &mut |now| {
                while recent.front().is_some_and(|at| now - *at >= seconds(1)) {
                    recent.pop_front();
                }
                let takes = recent.len() < most_per_second;
                if takes {
                    recent.push_back(now);
                }
                takes
            });
            let best = u32::try_from(most_per_second).unwrap() * 300;
            assert!(taken > best / 2, "{taken} of {best}");
            assert!(refused < taken / 5 + 50, "{refused} refused, {taken} taken of {best}");
        }
    }

    #[test]
    fn a_share_of_refusals_that_no_gap_changes_does_not_stop_the_queue() {
        // At 200 mails a second, 12,000 in all.
        for (percent, least) in [(5, 5_000), (20, 3_500), (25, 3_000), (40, 1_000)] {
            let taken: Vec<u32> = (0..20).map(|seed| run(60, &mut refusing(percent, seed)).0).collect();
            assert!(taken.iter().sum::<u32>() / 20 > least, "{percent} %: {taken:?}");
            assert!(taken.iter().all(|taken| *taken > 200), "{percent} %: {taken:?}");
        }
    }

    #[test]
    fn every_fourth_mail_refused_does_not_stop_the_queue() {
        let mut number = 0;
        let (taken, _) = run(60, &mut |_| {
            number += 1;
            number % 4 != 0
        });
        assert!(taken > 6_000, "{taken}");
    }

    /// All of a minute's mails at once, then none for the rest of it.
    #[test]
    fn a_server_that_counts_per_minute_gets_what_it_takes() {
        for seed in 0..500 {
            // The pauses are random.
            fastrand::seed(seed);
            let start = Instant::now();
            let (mut minute, mut count) = (0, 0);
            let (taken, refused) = run(600, &mut |now| {
                let current = (now - start).as_secs() / 60;
                if current != minute {
                    (minute, count) = (current, 0);
                }
                count += 1;
                count <= 30
            });
            assert!(taken > 200, "{taken} of 300, seed {seed}");
            assert!(refused < taken, "{refused}, seed {seed}");
        }
    }
}
