//! What an outcome means for a mail: when it is tried again, and when it is given up on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::backoff::{Backoff, Jitter};
use crate::config::{MailConfig, OnUnknown};
use crate::mail::delivery::Outcome;

use super::changes::{self, Change, Untaken};
use super::doubt::Refused;
use super::intake::{Ready, RunClock};

/// Attempts per mail by default.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt: greylisting servers require at least this.
const BACKOFF: Duration = Duration::from_mins(5);
/// The factor by which each pause is longer than the one before.
const BACKOFF_GROWTH: u32 = 4;
const MAX_BACKOFF: Duration = Duration::from_hours(24);
/// How long a mail alone may be told to wait by default: as long as mail servers keep one (RFC 5321 section 4.5.4.1).
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);
/// A mail that is refused by policy in so many runs that got others through is at fault itself: with the default pauses
/// that is after seven hours, in which a block is noticed.
const REFUSED_RUNS: i64 = 5;
/// The jitter of pauses in percent, so that mails that were deferred together do not come back together.
const JITTER_PERCENT: u32 = 20;

/// When a mail is tried again, and when it is given up on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) attempts: i64,
    pub(super) backoff: Backoff,
    pub(super) on_unknown: OnUnknown,
    /// How long a mail alone may be told to wait.
    pub(super) give_up_after: TimeDelta,
}

/// A mail that was told to wait until the end of a run.
#[derive(Debug, Clone)]
pub(super) struct PutOff {
    pub(super) id: i64,
    /// What it was before.
    pub(super) status: &'static str,
    /// Since when it is told so, if that began in an earlier run.
    pub(super) since: Option<DateTime<Utc>>,
    /// The server's reply.
    pub(super) reply: String,
}

impl Policy {
    pub(super) fn new(config: &MailConfig) -> Self {
        Self {
            attempts: i64::from(config.attempts.unwrap_or(ATTEMPTS)),
            backoff: Backoff {
                first: config.backoff.unwrap_or(BACKOFF),
                factor: BACKOFF_GROWTH,
                longest: MAX_BACKOFF,
                jitter: Jitter::Percent(JITTER_PERCENT),
            },
            on_unknown: config.on_unknown,
            give_up_after: TimeDelta::from_std(config.give_up_after.unwrap_or(GIVE_UP_AFTER))
                .unwrap_or(TimeDelta::MAX),
        }
    }

    /// The pause after this many attempts, with jitter.
    fn pause(&self, attempts: i64) -> TimeDelta {
        let failures = u32::try_from(attempts).unwrap_or(1);
        TimeDelta::from_std(self.backoff.pause(failures)).unwrap_or_default()
    }

    /// What becomes of a mail that was refused while the server took others.
    pub(super) fn refusal(&self, refused: &Refused, clock: RunClock) -> Change {
        let (id, runs) = (refused.id, refused.runs + 1);
        if refused.is_temporary {
            let change = self.deferral(id, refused.attempts + 1, &refused.reply, clock);
            return Change { attempts: 1, is_attempt: true, ..change };
        }
        if runs < REFUSED_RUNS {
            return Change {
                reply: Some(refused.reply.clone()),
                due_at: Some(clock.now() + self.pause(runs)),
                is_attempt: true,
                untaken: Untaken::WhileOthersWere,
                ..Change::to(id, changes::RETRY)
            };
        }
        Change {
            attempts: 1,
            reply: Some(format!("refused in {runs} runs that got others through: {}", refused.reply)),
            is_attempt: true,
            ..Change::to(id, changes::FAILED)
        }
    }

    /// What becomes of one of a few mails that were put off, where nothing tells whose fault it is: it costs no attempt.
    pub(super) fn unclear(&self, refused: &Refused, clock: RunClock) -> Change {
        Change {
            reply: Some(refused.reply.clone()),
            due_at: Some(clock.now() + self.pause(1)),
            is_attempt: true,
            untaken: Untaken::Noted,
            ..Change::to(refused.id, changes::RETRY)
        }
    }

    /// What becomes of a mail after its last attempt but for this one was put off; `attempts` includes it.
    fn deferral(&self, id: i64, attempts: i64, reply: &str, clock: RunClock) -> Change {
        if attempts >= self.attempts {
            let reply = Some(format!("given up after {attempts} attempts: {reply}"));
            return Change { reply, ..Change::to(id, changes::FAILED) };
        }
        Change {
            reply: Some(reply.to_owned()),
            due_at: Some(clock.now() + self.pause(attempts)),
            untaken: Untaken::Answered,
            ..Change::to(id, changes::RETRY)
        }
    }

    /// What becomes of a mail that was told to wait until the end of a run, which got others through or not. It stays as it
    /// was, but behind what else is due; if it alone has been told so for too long, it fails.
    pub(super) fn put_off(&self, mail: &PutOff, others_were_taken: bool, clock: RunClock) -> Change {
        let waited = mail.since.map_or(TimeDelta::zero(), |since| clock.now() - since);
        if others_were_taken && waited >= self.give_up_after {
            return Change {
                attempts: 1,
                reply: Some(format!(
                    "given up after {} days in which the server took others: {}",
                    waited.num_days(),
                    mail.reply
                )),
                is_attempt: true,
                ..Change::to(mail.id, changes::FAILED)
            };
        }
        // Its time begins once others are taken: before that it is not this mail that is told to wait.
        let untaken = if others_were_taken { Untaken::Noted } else { Untaken::Unchanged };
        Change { due_at: Some(clock.started()), untaken, ..Change::to(mail.id, mail.status) }
    }

    /// How an outcome changes the row.
    pub(super) fn change(&self, mail: &Ready, outcome: &Outcome, clock: RunClock) -> Change {
        let row = &mail.row;
        // This attempt is already counted.
        let attempts = row.attempts + 1;
        let again = Some(clock.now() + self.pause(attempts));
        match outcome {
            Outcome::Accepted { reply, provider_message_id } => Change {
                reply: Some(reply.clone()),
                provider_message_id: provider_message_id.clone(),
                ..Change::to(row.id, changes::SENT)
            },
            Outcome::Deferred { reply, .. } | Outcome::SlowDown { reply, .. } => {
                self.deferral(row.id, attempts, reply, clock)
            }
            Outcome::Rejected { reply, .. } => {
                Change { reply: Some(reply.clone()), ..Change::to(row.id, changes::FAILED) }
            }
            Outcome::Unknown { reply } => Change {
                reply: Some(reply.clone()),
                due_at: again,
                unknown_attempts: 1,
                untaken: Untaken::Answered,
                // Sent again automatically once, with the same Message-ID; then a person has to decide.
                is_held: self.on_unknown == OnUnknown::Hold || row.unknown_attempts >= 1,
                ..Change::to(row.id, changes::UNKNOWN)
            },
        }
    }
}
