//! Rate limits: how many mails per second may be sent, in total and to one recipient domain, across all processes.
//!
//! Each bucket is one row that says when its next mail may be sent. Turns are assigned only for the near future, in the
//! order in which mails are claimed, so that an urgent mail never waits behind the backlog. A mail whose turn is not
//! near goes back into the queue, due about when its turn will come: it is claimed about twice, however long the queue.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::MailConfig;
use crate::db::{Db, FromRow, StoredTime};
use crate::values;

/// Mails whose turn is further away than this wait in the queue.
const HORIZON: TimeDelta = TimeDelta::seconds(2);
/// A mail that comes back on time is scheduled soon. One that is later than this was missed by all runs, for example
/// because the mail server was down, and goes to the end: thousands of them would otherwise block the front.
const VALIDITY: TimeDelta = TimeDelta::minutes(5);
/// The bucket of all mails; no domain has this name.
const ALL: &str = "*";
/// No mail waits longer for its turn, and no server may ask for a longer wait: what says otherwise was written by a clock
/// that was wrong, or by somebody else.
const MOST_AHEAD: TimeDelta = TimeDelta::hours(24);
/// By how much the clocks of two hosts may differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);
/// A mail that batchctl has put off for longer than this would wait for a clock that was wrong: no pause is as long.
const LONGEST_PUT_OFF: TimeDelta = TimeDelta::hours(48);

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

#[derive(FromRow)]
struct Stored {
    next_at: StoredTime,
    deferred_until: StoredTime,
}

impl Stored {
    /// The bucket as it is stored. One whose next mail is further ahead than any that it gives a turn to begins anew: a clock
    /// that was set back would otherwise stop all mails until the time that it had.
    fn bucket(&self, interval: TimeDelta, now: DateTime<Utc>) -> Bucket {
        let furthest = now + HORIZON + interval + CLOCK_SKEW;
        let next_at = self.next_at.at().filter(|next| *next <= furthest);
        let deferred_until = self.deferred_until.at().filter(|_| next_at.is_some()).unwrap_or(now);
        let next_at = next_at.unwrap_or(now).max(now);
        let deferred_until = deferred_until.min(now + MOST_AHEAD).max(next_at);
        Bucket { interval, next_at, deferred_until, again_until: next_at }
    }
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
            buckets.insert(name, stored.bucket(interval(rate), now));
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
        Turn::Later(due.min(now + MOST_AHEAD))
    }
}

/// Until when the server takes no mails, as it said itself to some run.
pub(super) async fn server_closed_until(
    db: &mut Db,
    server: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT next_at FROM mail_pace WHERE bucket = $1";
    let found: Option<(StoredTime,)> = db.fetch_optional(sql, values![server_bucket(server)]).await?;
    Ok(found.and_then(|(until,)| until.at()).filter(|until| *until <= now + MOST_AHEAD))
}

/// Makes mails due that batchctl put off while its clock was wrong: they would wait for the time that it had.
pub(super) async fn wake_stranded(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let sql = "UPDATE mails SET due_at = $1
               WHERE due_at > $2 AND claimed_by IS NULL AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                 AND (is_paced OR status <> 'QUEUED')";
    Ok(db.execute(sql, values![now, now + LONGEST_PUT_OFF]).await?)
}

/// Keeps until when the server takes no mails: the limit is the account's, and other runs need not ask.
pub(super) async fn close_server(
    db: &mut Db,
    server: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let furthest = now + MOST_AHEAD;
    db.execute(
        "INSERT INTO mail_pace (bucket, next_at, deferred_until) VALUES ($1, $2, $2)
         ON CONFLICT (bucket) DO UPDATE SET next_at = excluded.next_at
         WHERE mail_pace.next_at < excluded.next_at OR mail_pace.next_at > $3",
        values![server_bucket(server), until.min(furthest), furthest],
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
    use crate::db::testing::{TestDb, at, now, on_both_databases};

    on_both_databases![
        a_clock_that_was_set_back_holds_no_mail_back,
        a_wait_that_a_server_cannot_have_stated_is_not_kept,
        mails_that_a_wrong_clock_put_off_are_due_again,
    ];

    const NEXT_YEAR: &str = "2027-11-20T00:00:00Z";

    async fn a_clock_that_was_set_back_holds_no_mail_back(db: &mut TestDb) {
        let rates = Rates { all: Some(10.0), per_domain: None, domains: BTreeMap::new() };
        let candidates = [new("example.jp"), new("example.jp")];
        let expected = [Turn::Taken(now()), Turn::Taken(now() + TimeDelta::milliseconds(100))];
        for (next_at, deferred_until) in [(NEXT_YEAR, NEXT_YEAR), ("2026-11-19T16:00:00Z", NEXT_YEAR)] {
            db.sql("DELETE FROM mail_pace").await;
            db.execute(
                "INSERT INTO mail_pace (bucket, next_at, deferred_until) VALUES ('*', $1, $2)",
                values![at(next_at), at(deferred_until)],
            )
            .await
            .unwrap();
            assert_eq!(rates.turns(db, &candidates, now()).await.unwrap(), expected);
        }
        let many: Vec<_> = (0..100).map(|_| new("example.jp")).collect();
        let turns = rates.turns(db, &many, now()).await.unwrap();
        assert_eq!(turns.last(), Some(&Turn::Later(now() + MOST_AHEAD)), "even where a row says otherwise");
    }

    async fn a_wait_that_a_server_cannot_have_stated_is_not_kept(db: &mut TestDb) {
        close_server(db, "relay", at(NEXT_YEAR), at(NEXT_YEAR) - TimeDelta::hours(1)).await.unwrap();
        assert_eq!(server_closed_until(db, "relay", now()).await.unwrap(), None);
        let soon = now() + TimeDelta::hours(1);
        close_server(db, "relay", soon, now()).await.unwrap();
        assert_eq!(server_closed_until(db, "relay", now()).await.unwrap(), Some(soon));
        close_server(db, "relay", now() + TimeDelta::minutes(1), now()).await.unwrap();
        assert_eq!(
            server_closed_until(db, "relay", now()).await.unwrap(),
            Some(soon),
            "the longer one counts"
        );
        close_server(db, "relay", at(NEXT_YEAR), now()).await.unwrap();
        assert_eq!(server_closed_until(db, "relay", now()).await.unwrap(), Some(now() + MOST_AHEAD));
    }

    async fn mails_that_a_wrong_clock_put_off_are_due_again(db: &mut TestDb) {
        for (status, is_paced, due_at) in [
            ("QUEUED", true, NEXT_YEAR),
            ("RETRY", false, NEXT_YEAR),
            // An application wants it then.
            ("QUEUED", false, NEXT_YEAR),
            ("SENT", true, NEXT_YEAR),
            ("RETRY", false, "2026-11-21T00:00:00Z"),
        ] {
            db.execute(
                "INSERT INTO mails (kind, recipient, subject, text_body, status, is_paced, due_at, queued_at)
                 VALUES ('test', 'a@example.jp', 'subject', 'text', $1, $2, $3, $4)",
                values![status, is_paced, at(due_at), now()],
            )
            .await
            .unwrap();
        }
        assert_eq!(wake_stranded(db, now()).await.unwrap(), 2);
        assert_eq!(wake_stranded(db, now()).await.unwrap(), 0);
        let due = db.lines("SELECT id FROM mails WHERE due_at < '2026-11-20T00:00:00+00:00'").await;
        assert_eq!(due, ["1", "2"]);
    }

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
