//! Rates: how many mails a second may go, in all and to one recipient domain, over every process that sends.
//!
//! Each bucket is one row that says when its next mail may go; who takes turns moves it on. A mail whose turn is far
//! off goes back into the queue with that turn as its due time, and keeps it: it is looked at twice, however long the
//! queue is.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::MailConfig;
use crate::db::Db;
use crate::values;

/// Turns further off than this are waited for in the queue.
pub(super) const HORIZON: Duration = Duration::from_secs(2);
/// A turn that was missed by more than this is void: a thousand missed turns are not taken at once.
const VALIDITY: Duration = Duration::from_secs(30);
/// The bucket of all mails; no domain is called so.
const ALL: &str = "*";

/// The rates in force.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    all: Option<f64>,
    per_domain: Option<f64>,
    domains: BTreeMap<String, f64>,
}

/// A mail that wants a turn.
pub(super) struct Candidate<'a> {
    pub(super) domain: &'a str,
    /// The turn it was given before.
    pub(super) turn: Option<DateTime<Utc>>,
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

    fn of_domain(&self, domain: &str) -> Option<f64> {
        self.domains.get(domain).copied().or(self.per_domain)
    }

    /// Gives each mail its turn, in order; now where nothing limits it. Call it inside a transaction.
    pub(super) async fn turns(
        &self,
        db: &mut Db,
        mails: &[Candidate<'_>],
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<DateTime<Utc>>> {
        let validity = TimeDelta::from_std(VALIDITY)?;
        let holds = |turn: DateTime<Utc>| turn + validity >= now;
        let wants = |mail: &Candidate<'_>| !mail.turn.is_some_and(holds);
        // In the order of names, so that two processes lock their rows in the same order.
        let mut buckets: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for mail in mails.iter().filter(|mail| wants(mail)) {
            if let Some(rate) = self.all {
                buckets.entry(ALL).or_insert((rate, 0)).1 += 1;
            }
            if let Some(rate) = self.of_domain(mail.domain) {
                buckets.entry(mail.domain).or_insert((rate, 0)).1 += 1;
            }
        }
        let mut next: HashMap<&str, (DateTime<Utc>, TimeDelta)> = HashMap::new();
        for (bucket, (rate, mails)) in buckets {
            let interval = interval(rate);
            let first = take(db, bucket, interval * i32::try_from(mails)?, now).await?;
            next.insert(bucket, (first, interval));
        }
        let mut turns = Vec::with_capacity(mails.len());
        for mail in mails {
            let mut turn = mail.turn.filter(|turn| holds(*turn)).unwrap_or(now);
            if wants(mail) {
                for bucket in [ALL, mail.domain] {
                    if let Some((at, interval)) = next.get_mut(bucket) {
                        turn = turn.max(*at);
                        *at += *interval;
                    }
                }
            }
            turns.push(turn);
        }
        Ok(turns)
    }
}

fn interval(rate: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "the configuration takes positive finite rates only")]
    TimeDelta::microseconds((1_000_000.0 / rate).min(86_400e6) as i64)
}

/// Moves a bucket on by `span` and gives where it stood: the first of the turns taken.
async fn take(
    db: &mut Db,
    bucket: &str,
    span: TimeDelta,
    now: DateTime<Utc>,
) -> anyhow::Result<DateTime<Utc>> {
    db.execute(
        "INSERT INTO mail_pace (bucket, next_at) VALUES ($1, $2) ON CONFLICT (bucket) DO NOTHING",
        values![bucket, now],
    )
    .await?;
    let sql = db.pick(
        "SELECT next_at FROM mail_pace WHERE bucket = $1",
        "SELECT next_at FROM mail_pace WHERE bucket = $1 FOR UPDATE",
    );
    let (next,): (DateTime<Utc>,) = db.fetch_one(sql, values![bucket]).await?;
    let first = next.max(now);
    db.execute("UPDATE mail_pace SET next_at = $1 WHERE bucket = $2", values![first + span, bucket]).await?;
    Ok(first)
}
