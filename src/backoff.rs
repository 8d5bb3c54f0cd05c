//! How long to wait before another attempt: the only backoff in this program.
//!
//! A pause is a function of the attempt number and keeps no state, because some callers keep their attempt number in a
//! database row and not in a loop.

use std::time::Duration;

/// A pause that grows with each failed attempt, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failed attempt.
    pub first: Duration,
    /// By how much each further failure multiplies it.
    pub factor: u32,
    /// The pause never grows beyond this.
    pub longest: Duration,
    /// How much randomness it has.
    pub jitter: Jitter,
}

/// How much randomness a pause has, so that those who failed together do not all retry together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// None: there is only one waiter, or attempts are claimed one by one.
    None,
    /// Anything from no pause at all to the whole pause.
    Full,
    /// Up to this many percent less or more.
    Percent(u32),
}

impl Backoff {
    /// A pause that doubles, with full jitter.
    pub const fn doubling(first: Duration, longest: Duration) -> Self {
        Self { first, factor: 2, longest, jitter: Jitter::Full }
    }

    /// The pause after this many failed attempts (at least one).
    pub fn pause(&self, failures: u32) -> Duration {
        self.pause_at(failures, fastrand::f64())
    }

    /// The same for a `chance` from 0 to 1.
    fn pause_at(&self, failures: u32, chance: f64) -> Duration {
        let growth = self.factor.saturating_pow(failures.saturating_sub(1));
        let whole = self.first.saturating_mul(growth).min(self.longest);
        let chance = chance.clamp(0.0, 1.0);
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => whole.mul_f64(chance),
            Jitter::Percent(percent) => {
                whole.mul_f64((1.0 + f64::from(percent.min(100)) / 100.0 * (2.0 * chance - 1.0)).max(0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn a_pause_doubles_up_to_its_end_and_jitters_over_all_of_it() {
        let backoff = Backoff::doubling(Duration::from_secs(1), LONGEST);
        let most: Vec<u128> = (1..9).map(|failures| backoff.pause_at(failures, 1.0).as_millis()).collect();
        assert_eq!(most, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.pause_at(3, 0.0), Duration::ZERO);
        assert_eq!(backoff.pause_at(3, 0.25), Duration::from_secs(1));
        assert_eq!(backoff.pause_at(1000, 1.0), LONGEST);
        assert_eq!(backoff.pause_at(0, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn a_share_of_chance_moves_a_pause_down_and_up() {
        let backoff = Backoff {
            factor: 4,
            jitter: Jitter::Percent(20),
            ..Backoff::doubling(Duration::from_mins(1), LONGEST * 100)
        };
        let pauses = [0.0, 0.5, 1.0].map(|chance| backoff.pause_at(2, chance).as_secs());
        assert_eq!(pauses, [192, 240, 288]);
        for _ in 0..100 {
            assert!((48..=72).contains(&backoff.pause(1).as_secs()));
        }
    }

    #[test]
    fn without_chance_it_is_always_the_same() {
        let backoff = Backoff {
            jitter: Jitter::None,
            ..Backoff::doubling(Duration::from_millis(50), Duration::from_secs(1))
        };
        let pauses = [1, 2, 5, 6, 4_000_000_000].map(|failures| backoff.pause(failures).as_millis());
        assert_eq!(pauses, [50, 100, 800, 1000, 1000]);
    }
}
