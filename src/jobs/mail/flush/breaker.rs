//! Stops a run whose server says of too many recipients that they do not exist.
//!
//! A wrong relay or a broken look-up answers `550 5.1.1` to everybody, and each such answer suppresses an address for good.
//! So the share of distinct recipients that bounced is watched, in the run and against earlier ones. Once it is too high to
//! be true, nothing more is sent, and the suppressions are held until a person has confirmed or removed them.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::{Db, FromRow};
use crate::values;

/// Fewer bounces than this say nothing.
const LEAST_BOUNCED: u64 = 10;
/// From this share on nobody's list of customers is so old.
const MAX_PERCENT: u64 = 20;
/// From this share on it is compared with the past. Mail services suspend their customers at 5 to 10 %.
const SUSPICIOUS_PERCENT: u64 = 5;
/// How many times the share of the past is too much.
const TIMES_THE_PAST: u64 = 5;
/// The least recipients that make a past.
const LEAST_PAST: u64 = 1_000;
/// How long ago the past begins.
const PAST_DAYS: i64 = 30;
/// A run with fewer recipients is judged together with those right before it: cron sends a few mails at a time.
const SAMPLE: u64 = 50;
/// How long ago a run may be that one is judged with.
const SAMPLE_HOURS: i64 = 24;
/// The most runs that one is judged with.
const SAMPLE_RUNS: i64 = 50;
/// More recipients than a run can have: a row that says so was not written by one, and says nothing.
const MOST_COUNTED: i64 = 1_000_000_000;
/// Addresses of which it is known that they were counted; beyond these a recipient of two mails counts twice.
const REMEMBERED: usize = 50_000;
/// Addresses of which it is known that they bounced. Each is suppressed before the next mail is prepared: only those that
/// were prepared before have to be found here.
const REMEMBERED_BOUNCES: usize = 1_000;

/// Recipients, and how many of them bounced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    recipients: u64,
    bounced: u64,
}

impl Counts {
    fn and(self, other: Self) -> Self {
        Self { recipients: self.recipients + other.recipients, bounced: self.bounced + other.bounced }
    }

    /// Whether at least this percentage bounced.
    fn reaches(self, percent: u64) -> bool {
        self.bounced * 100 >= self.recipients * percent
    }
}

/// What a run is judged by.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    counted: Counts,
    /// The runs right before this one, for as long as it is small.
    recent: Counts,
    /// Those of them in which addresses bounced.
    recent_runs: Vec<i64>,
    past: Counts,
    seen: HashSet<u64>,
    gone: VecDeque<String>,
    tripped: Option<String>,
}

impl Breaker {
    /// A breaker that knows the runs before.
    pub(super) async fn load(db: &mut Db, run: i64, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let recent: Vec<Counted> = db
            .fetch_all(
                "SELECT run_id, recipients, bounced FROM mail_bounce_counts
                 WHERE run_id < $1 AND counted_at >= $2 AND recipients BETWEEN 0 AND $4 AND bounced BETWEEN 0 AND recipients
                 ORDER BY run_id DESC LIMIT $3",
                values![run, now - TimeDelta::hours(SAMPLE_HOURS), SAMPLE_RUNS, MOST_COUNTED],
            )
            .await?;
        let past: Counted = db
            .fetch_one(
                "SELECT CAST(0 AS BIGINT) AS run_id, CAST(COALESCE(SUM(recipients), 0) AS BIGINT) AS recipients,
                        CAST(COALESCE(SUM(bounced), 0) AS BIGINT) AS bounced
                 FROM mail_bounce_counts
                 WHERE counted_at >= $1 AND NOT is_tripped AND recipients BETWEEN 0 AND $2 AND bounced BETWEEN 0 AND recipients",
                values![now - TimeDelta::days(PAST_DAYS), MOST_COUNTED],
            )
            .await?;
        let mut breaker = Self { past: past.counts(), ..Self::default() };
        for run in recent {
            if breaker.recent.recipients >= SAMPLE {
                break;
            }
            breaker.recent = breaker.recent.and(run.counts());
            if run.bounced > 0 {
                breaker.recent_runs.push(run.run_id);
            }
        }
        Ok(breaker)
    }

    /// A recipient's server has taken a mail.
    pub(super) fn note_delivery(&mut self, address: &str) {
        self.counted.recipients += u64::from(self.is_new(address));
    }

    /// A recipient's server says that the address does not exist. Returns whether that is one too many.
    pub(super) fn note_bounce(&mut self, address: &str) -> bool {
        self.counted.recipients += u64::from(self.is_new(address));
        if self.is_gone(address) {
            return false;
        }
        self.counted.bounced += 1;
        if self.gone.len() == REMEMBERED_BOUNCES {
            self.gone.pop_front();
        }
        self.gone.push_back(address.to_owned());
        let was_tripped = self.is_tripped();
        if !was_tripped {
            self.tripped = self.verdict();
        }
        !was_tripped && self.is_tripped()
    }

    /// Whether an address bounced in this run.
    pub(super) fn is_gone(&self, address: &str) -> bool {
        self.gone.iter().any(|gone| gone == address)
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_tripped(&self) -> bool {
        self.tripped.is_some()
    }

    /// Why nothing more is to be sent.
    pub(super) fn reason(&self) -> Option<&str> {
        self.tripped.as_deref()
    }

    fn is_new(&mut self, address: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let hash = hasher.finish();
        if self.seen.len() < REMEMBERED { self.seen.insert(hash) } else { !self.seen.contains(&hash) }
    }

    fn verdict(&self) -> Option<String> {
        let is_small = self.counted.recipients < SAMPLE;
        let judged = if is_small { self.counted.and(self.recent) } else { self.counted };
        if judged.bounced < LEAST_BOUNCED {
            return None;
        }
        let of = format!("{} of the last {} recipients", judged.bounced, judged.recipients);
        if judged.reaches(MAX_PERCENT) {
            return Some(format!("the server reports {of} as unknown, which is implausible"));
        }
        let is_unlike_the_past = self.past.recipients >= LEAST_PAST
            && judged.reaches(SUSPICIOUS_PERCENT)
            && u128::from(judged.bounced) * u128::from(self.past.recipients)
                >= u128::from(TIMES_THE_PAST) * u128::from(self.past.bounced) * u128::from(judged.recipients);
        is_unlike_the_past.then(|| {
            let Counts { recipients, bounced } = self.past;
            format!(
                "the server reports {of} as unknown, and only {bounced} of {recipients} in the last {PAST_DAYS} days, which is \
                 implausible"
            )
        })
    }

    /// Stores what this run has counted.
    pub(super) async fn store(&self, db: &mut Db, run: i64, now: DateTime<Utc>) -> anyhow::Result<()> {
        if self.counted.recipients == 0 {
            return Ok(());
        }
        let Counts { recipients, bounced } = self.counted;
        db.execute(
            "INSERT INTO mail_bounce_counts (run_id, recipients, bounced, is_tripped, counted_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (run_id) DO UPDATE SET recipients = $2, bounced = $3, is_tripped = $4, counted_at = $5",
            values![run, i64::try_from(recipients)?, i64::try_from(bounced)?, self.is_tripped(), now],
        )
        .await?;
        Ok(())
    }

    /// The runs whose bounces are not believed: this one, and those that it was judged with.
    pub(super) fn doubted_runs(&self, run: i64) -> Vec<i64> {
        let is_small = self.counted.recipients < SAMPLE;
        let mut runs = if is_small { self.recent_runs.clone() } else { Vec::new() };
        runs.push(run);
        runs
    }
}

/// A row of `mail_bounce_counts`.
#[derive(FromRow)]
struct Counted {
    run_id: i64,
    recipients: i64,
    bounced: i64,
}

impl Counted {
    fn counts(&self) -> Counts {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Counts { recipients: count(self.recipients), bounced: count(self.bounced) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};

    on_both_databases![
        a_run_is_judged_with_those_before_it_while_it_is_small,
        a_share_is_compared_with_the_past,
        what_is_long_ago_does_not_count,
        a_row_that_no_run_wrote_stops_nothing,
    ];

    /// Notes so many deliveries and bounces, each of an address of its own; returns at which bounce it tripped.
    fn note(breaker: &mut Breaker, delivered: usize, bounced: usize) -> Option<usize> {
        for number in 0..delivered {
            breaker.note_delivery(&format!("d{number}@example.jp"));
        }
        (1..=bounced).find(|number| breaker.note_bounce(&format!("b{number}@example.jp")))
    }

    async fn stored(db: &mut TestDb, run: i64, recipients: i64, bounced: i64, days_ago: i64) {
        db.execute(
            "INSERT INTO mail_bounce_counts (run_id, recipients, bounced, is_tripped, counted_at)
             VALUES ($1, $2, $3, FALSE, $4)",
            values![run, recipients, bounced, now() - TimeDelta::days(days_ago)],
        )
        .await
        .unwrap();
    }

    #[test]
    fn everybody_gone_is_too_many_and_a_few_are_not() {
        assert_eq!(note(&mut Breaker::default(), 0, 100), Some(10));
        assert_eq!(note(&mut Breaker::default(), 0, 9), None);
        assert_eq!(note(&mut Breaker::default(), 100, 24), None);
        assert_eq!(note(&mut Breaker::default(), 100, 100), Some(25));
    }

    #[test]
    fn one_address_is_one_recipient_however_often_it_gets_mail() {
        let mut breaker = Breaker::default();
        assert!((0..100).all(|_| !breaker.note_bounce("gone@example.jp")));
        (0..100).for_each(|_| breaker.note_delivery("hanako@example.jp"));
        assert_eq!(breaker.counted, Counts { recipients: 2, bounced: 1 });
        assert!(breaker.is_gone("gone@example.jp") && !breaker.is_gone("hanako@example.jp"));
    }

    async fn a_run_is_judged_with_those_before_it_while_it_is_small(db: &mut TestDb) {
        stored(db, 1, 500, 0, 0).await;
        stored(db, 2, 3, 3, 0).await;
        stored(db, 3, 47, 3, 0).await;
        let mut breaker = Breaker::load(db, 4, now()).await.unwrap();
        // 6 of 50 before, and run 1 is not needed.
        assert_eq!(
            (breaker.recent, breaker.recent_runs.clone()),
            (Counts { recipients: 50, bounced: 6 }, vec![3, 2])
        );
        assert_eq!(note(&mut breaker, 0, 100), Some(5), "11 of 55 is a fifth");
        let mut breaker = Breaker::load(db, 4, now()).await.unwrap();
        assert_eq!(note(&mut breaker, 50, 10), None, "10 of 60, whatever was before");
    }

    async fn a_share_is_compared_with_the_past(db: &mut TestDb) {
        stored(db, 1, 1_000, 10, 2).await;
        let mut breaker = Breaker::load(db, 2, now()).await.unwrap();
        assert_eq!(note(&mut breaker, 200, 100), Some(11), "5 % where it was 1 %");
        let mut breaker = Breaker::load(db, 2, now()).await.unwrap();
        assert_eq!(note(&mut breaker, 200, 10), None);
        // One whose list was always bad may go on.
        db.sql("UPDATE mail_bounce_counts SET bounced = 100").await;
        let mut breaker = Breaker::load(db, 2, now()).await.unwrap();
        assert_eq!(note(&mut breaker, 200, 49), None);
    }

    async fn a_row_that_no_run_wrote_stops_nothing(db: &mut TestDb) {
        stored(db, 1, i64::MAX, i64::MAX, 0).await;
        stored(db, 2, i64::MAX, 0, 0).await;
        stored(db, 3, -5, -5, 0).await;
        stored(db, 4, 10, 20, 0).await;
        stored(db, 5, 2_000, 1, 2).await;
        let mut breaker = Breaker::load(db, 6, now()).await.unwrap();
        assert_eq!(
            (breaker.past, breaker.recent),
            (Counts { recipients: 2_000, bounced: 1 }, Counts::default())
        );
        assert_eq!(note(&mut breaker, 200, 100), Some(11));
    }

    async fn what_is_long_ago_does_not_count(db: &mut TestDb) {
        stored(db, 1, 100_000, 0, PAST_DAYS + 1).await;
        stored(db, 2, 9, 9, 2).await;
        let breaker = Breaker::load(db, 3, now()).await.unwrap();
        assert_eq!((breaker.past, breaker.recent), (Counts { recipients: 9, bounced: 9 }, Counts::default()));
    }
}
