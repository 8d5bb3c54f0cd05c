//! Rate limits: how many mails per second may be sent, in total and to one recipient domain, across all processes.
//!
//! Each bucket is one row that says when its next mail may be sent. Turns are assigned only for the near future, in the
//! order in which mails are claimed, so that an urgent mail never waits behind the backlog. A mail whose turn is not
//! near goes back into the queue, due about when its turn will come: it is claimed about twice, however long the queue.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::MailConfig;
use crate::db::{Db, FromRow, Problems, StoredTime};
use crate::values;

/// Mails whose turn is further away than this wait in the queue.
const HORIZON: TimeDelta = TimeDelta::seconds(2);
/// A mail that comes back on time is scheduled soon. One that is later than this was missed by all runs, for example
/// because the mail server was down, and goes to the end: thousands of them would otherwise block the front.
const VALIDITY: TimeDelta = TimeDelta::minutes(5);
/// The bucket of all mails; no domain has this name.
const ALL: &str = "*";

/// The rates in force.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    all: Option<f64>,
    per_domain: Option<f64>,
    domains: BTreeMap<String, f64>,
}

/// A mail that needs a turn.
pub(super) struct Candidate<'a> {
    pub(super) domain: &'a str,
    /// When it was due to come back, if it waited for its turn or was tried before.
    pub(super) expected: Option<DateTime<Utc>>,
}

/// When a mail may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At this time, which is near.
    Taken(DateTime<Utc>),
    /// Not soon: it has to be claimed again then.
    Later(DateTime<Utc>),
}

/// A bucket while turns are assigned.
struct Bucket {
    interval: TimeDelta,
    /// When its next mail may be sent.
    next_at: DateTime<Utc>,
    /// After the last mail that was returned for the first time.
    deferred_until: DateTime<Utc>,
    /// After the last mail that was returned again.
    again_until: DateTime<Utc>,
}

/// Times that cannot be read are long past.
#[derive(FromRow)]
struct Stored {
    next_at: DateTime<Utc>,
    deferred_until: DateTime<Utc>,
    #[row(problems)]
    #[expect(dead_code, reason = "it only has the row be read")]
    problems: Problems,
}

impl Rates {
    pub(super) fn new(config: &MailConfig) -> Self {
        let domains =
            config.domain_rates.iter().map(|(domain, rate)| (domain.to_lowercase(), *rate)).collect();
        Self { all: config.rate_per_second, per_domain: config.rate_per_domain, domains }
    }

    /// Whether any mail has to wait for a turn.
    pub(super) fn are_limited(&self) -> bool {
        self.all.is_some() || self.per_domain.is_some() || !self.domains.is_empty()
    }

    /// The buckets in which a mail to this domain takes a turn.
    fn of<'a>(&self, domain: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let of_domain = self.domains.get(domain).copied().or(self.per_domain);
        self.all.map(|rate| (ALL, rate)).into_iter().chain(of_domain.map(|rate| (domain, rate)))
    }

    /// Assigns each mail its turn, in order; now if nothing limits it. Call it inside a transaction.
    pub(super) async fn turns(
        &self,
        db: &mut Db,
        mails: &[Candidate<'_>],
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<Turn>> {
        let mut buckets = self.lock_buckets(db, mails, now).await?;
        let turns = mails.iter().map(|mail| self.turn(mail, &mut buckets, now)).collect();
        for (name, bucket) in buckets {
            db.execute(
                "UPDATE mail_pace SET next_at = $1, deferred_until = $2 WHERE bucket = $3",
                values![bucket.next_at, bucket.deferred_until, name],
            )
            .await?;
        }
        Ok(turns)
    }

    /// The buckets of these mails, locked in the order of their names, so that two processes do not deadlock.
    async fn lock_buckets<'a>(
        &self,
        db: &mut Db,
        mails: &[Candidate<'a>],
        now: DateTime<Utc>,
    ) -> anyhow::Result<HashMap<&'a str, Bucket>> {
        let names: BTreeMap<&str, f64> = mails.iter().flat_map(|mail| self.of(mail.domain)).collect();
        let mut buckets = HashMap::new();
        for (name, rate) in names {
            db.execute(
                "INSERT INTO mail_pace (bucket, next_at, deferred_until) VALUES ($1, $2, $2) ON CONFLICT (bucket) DO NOTHING",
                values![name, now],
            )
            .await?;
            let sql = db.pick(
                "SELECT next_at, deferred_until FROM mail_pace WHERE bucket = $1",
                "SELECT next_at, deferred_until FROM mail_pace WHERE bucket = $1 FOR UPDATE",
            );
            let stored: Stored = db.fetch_one(sql, values![name]).await?;
            let next_at = stored.next_at.max(now);
            let bucket = Bucket {
                interval: interval(rate),
                next_at,
                deferred_until: stored.deferred_until.max(next_at),
                again_until: next_at,
            };
            buckets.insert(name, bucket);
        }
        Ok(buckets)
    }

    fn turn(&self, mail: &Candidate<'_>, buckets: &mut HashMap<&str, Bucket>, now: DateTime<Utc>) -> Turn {
        let names: Vec<&str> = self.of(mail.domain).map(|(name, _)| name).collect();
        let turn = names.iter().map(|name| buckets[name].next_at).max().unwrap_or(now).max(now);
        if turn <= now + HORIZON {
            for name in names {
                if let Some(bucket) = buckets.get_mut(name) {
                    // It takes one turn of the total rate, however late its domain lets it be sent.
                    let from = if name == ALL { bucket.next_at } else { turn };
                    bucket.next_at = from + bucket.interval;
                }
            }
            return Turn::Taken(turn);
        }
        let is_in_time = mail.expected.is_some_and(|expected| expected + VALIDITY >= now);
        let mut due = turn;
        for name in names {
            if let Some(bucket) = buckets.get_mut(name) {
                let until = if is_in_time { &mut bucket.again_until } else { &mut bucket.deferred_until };
                *until = (*until).max(bucket.next_at) + bucket.interval;
                due = due.max(*until);
            }
        }
        Turn::Later(due)
    }
}

/// Until when the server takes no mails, as it said itself to some run.
pub(super) async fn server_closed_until(db: &mut Db, server: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT next_at FROM mail_pace WHERE bucket = $1";
    let found: Option<(StoredTime,)> = db.fetch_optional(sql, values![server_bucket(server)]).await?;
    Ok(found.and_then(|(until,)| until.at()))
}

/// Keeps until when the server takes no mails: the limit is the account's, and other runs need not ask.
pub(super) async fn close_server(db: &mut Db, server: &str, until: DateTime<Utc>) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO mail_pace (bucket, next_at, deferred_until) VALUES ($1, $2, $2)
         ON CONFLICT (bucket) DO UPDATE SET next_at = excluded.next_at WHERE mail_pace.next_at < excluded.next_at",
        values![server_bucket(server), until],
    )
    .await?;
    Ok(())
}

/// The bucket of a server: no domain has a blank.
fn server_bucket(server: &str) -> String {
    format!("server {server}")
}

fn interval(rate: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "the configuration takes positive finite rates only")]
    TimeDelta::microseconds((1_000_000.0 / rate).min(86_400e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn buckets(rates: &Rates, domains: &[&'static str]) -> HashMap<&'static str, Bucket> {
        let start = second(0);
        let bucket = |rate| Bucket {
            interval: interval(rate),
            next_at: start,
            deferred_until: start,
            again_until: start,
        };
        domains.iter().flat_map(|domain| rates.of(domain)).map(|(name, rate)| (name, bucket(rate))).collect()
    }

    fn new(domain: &str) -> Candidate<'_> {
        Candidate { domain, expected: None }
    }

    #[test]
    fn near_turns_are_taken_and_the_rest_is_spread_after_them() {
        let rates = Rates { all: None, per_domain: Some(1.0), domains: BTreeMap::new() };
        let mut buckets = buckets(&rates, &["a"]);
        let turns: Vec<Turn> = (0..6).map(|_| rates.turn(&new("a"), &mut buckets, second(0))).collect();
        assert_eq!(turns[..3], [0, 1, 2].map(|at| Turn::Taken(second(at))));
        assert_eq!(turns[3..], [4, 5, 6].map(|at| Turn::Later(second(at))));
        // An urgent mail that arrives now is not behind them: it gets the next turn.
        assert_eq!(rates.turn(&new("a"), &mut buckets, second(1)), Turn::Taken(second(3)));
    }

    #[test]
    fn a_mail_that_waits_for_its_domain_takes_no_turn_of_the_total() {
        let rates = Rates { all: Some(10.0), per_domain: Some(1.0), domains: BTreeMap::new() };
        let mut buckets = buckets(&rates, &["slow", "other"]);
        for _ in 0..20 {
            rates.turn(&new("slow"), &mut buckets, second(0));
        }
        // Three mails to the slow domain are scheduled at 0, 1 and 2 s; the other domain comes right after them.
        let Turn::Taken(turn) = rates.turn(&new("other"), &mut buckets, second(0)) else {
            panic!("it may be sent")
        };
        assert!(turn <= second(3), "{turn}");
    }

    #[test]
    fn a_mail_that_comes_back_on_time_does_not_go_to_the_end() {
        let rates = Rates { all: None, per_domain: Some(1.0), domains: BTreeMap::new() };
        let mut buckets = buckets(&rates, &["a"]);
        for _ in 0..1000 {
            rates.turn(&new("a"), &mut buckets, second(0));
        }
        let back = Candidate { domain: "a", expected: Some(second(0)) };
        assert_eq!(rates.turn(&back, &mut buckets, second(0)), Turn::Later(second(4)));
        let missed = Candidate { domain: "a", expected: Some(second(-3600)) };
        let Turn::Later(due) = rates.turn(&missed, &mut buckets, second(0)) else { panic!("it waits") };
        assert!(due > second(900), "{due}");
    }
}
