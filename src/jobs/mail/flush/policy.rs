//! What an outcome means for a mail: when it is tried again, and when it is given up on.

use std::time::Duration;

use chrono::TimeDelta;

use crate::backoff::{Backoff, Jitter};
use crate::config::{MailConfig, OnUnknown};
use crate::mail::delivery::Outcome;

use super::changes::{self, Change};
use super::intake::{Ready, RunClock};

/// Attempts per mail by default.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt: greylisting servers require at least this.
const BACKOFF: Duration = Duration::from_mins(5);
/// The factor by which each pause is longer than the one before.
const BACKOFF_GROWTH: u32 = 4;
const MAX_BACKOFF: Duration = Duration::from_hours(24);
/// The jitter of pauses in percent, so that mails that were deferred together do not come back together.
const JITTER_PERCENT: u32 = 20;

/// When a mail is tried again, and when it is given up on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) attempts: i64,
    pub(super) backoff: Backoff,
    pub(super) on_unknown: OnUnknown,
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
        }
    }

    /// The pause after this many attempts, with jitter.
    fn pause(&self, attempts: i64) -> TimeDelta {
        let failures = u32::try_from(attempts).unwrap_or(1);
        TimeDelta::from_std(self.backoff.pause(failures)).unwrap_or_default()
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
            Outcome::Deferred { reply } | Outcome::SlowDown { reply, .. } if attempts < self.attempts => {
                Change { reply: Some(reply.clone()), due_at: again, ..Change::to(row.id, changes::RETRY) }
            }
            Outcome::Deferred { reply } | Outcome::SlowDown { reply, .. } => Change {
                reply: Some(format!("given up after {attempts} attempts: {reply}")),
                ..Change::to(row.id, changes::FAILED)
            },
            Outcome::Rejected { reply, .. } => {
                Change { reply: Some(reply.clone()), ..Change::to(row.id, changes::FAILED) }
            }
            Outcome::Unknown { reply } => Change {
                reply: Some(reply.clone()),
                due_at: again,
                unknown_attempts: 1,
                // Sent again automatically once, with the same Message-ID; then a person has to decide.
                is_held: self.on_unknown == OnUnknown::Hold || row.unknown_attempts >= 1,
                ..Change::to(row.id, changes::UNKNOWN)
            },
        }
    }
}
