//! Refusals that may not be the mails' fault: an IP on a block list, a suspended account, a proxy in front of the service, a
//! server that answers everything with a temporary error or closes each connection.
//!
//! While the server takes no more mails than it refuses, they say nothing about a mail. Otherwise a refusal is the mail's,
//! and even that is believed only after several runs: a block may begin, or end, between two mails.

use chrono::{DateTime, TimeDelta, Utc};

use crate::mail::delivery::Stop;
use crate::wording::counted;

/// After this many in a row, going on would only hurt the sender's reputation.
const MOST: usize = 20;
/// More than this many at the end of a run look like the beginning of a block.
const FEW: usize = 3;
/// A mail that is put off for so long without anything getting through is worth telling. Greylisting takes minutes.
const WORTH_TELLING: TimeDelta = TimeDelta::hours(1);

/// Whether so many mails that earlier runs left in doubt are a group, and not one or two that are at fault themselves.
pub(super) fn is_group(mails: i64) -> bool {
    usize::try_from(mails).is_ok_and(|mails| mails > FEW)
}

/// A mail that was refused, without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) id: i64,
    /// What it was before.
    pub(super) status: &'static str,
    /// Whether it was refused for now, and not for good.
    pub(super) is_temporary: bool,
    /// How many attempts it had before.
    pub(super) attempts: i64,
    /// Since when the server has not taken it, if that began in an earlier run.
    pub(super) since: Option<DateTime<Utc>>,
    /// In how many runs it was refused before, while the server took others.
    pub(super) runs: i64,
    /// The server's reply.
    pub(super) reply: String,
}

/// The refusals that nothing is known about yet.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Whether earlier runs left a group of mails in doubt.
    is_ongoing: bool,
    pending: Vec<Refused>,
    /// How many of them came after the server last accepted a mail.
    in_a_row: usize,
    refused: usize,
    accepted: usize,
}

impl Doubt {
    pub(super) fn after_earlier_runs(is_ongoing: bool) -> Self {
        Self { is_ongoing, ..Self::default() }
    }

    pub(super) fn is_ongoing(&self) -> bool {
        self.is_ongoing
    }

    pub(super) fn add(&mut self, refused: Refused) {
        self.pending.push(refused);
        self.in_a_row += 1;
        self.refused += 1;
    }

    /// The server accepted a mail. Returns those that it refused for what they are, as far as this run can tell.
    pub(super) fn accepted(&mut self) -> Vec<Refused> {
        self.accepted += 1;
        self.in_a_row = 0;
        if self.is_general() { Vec::new() } else { std::mem::take(&mut self.pending) }
    }

    /// Whether more mails are refused than taken.
    fn is_general(&self) -> bool {
        self.refused > self.accepted
    }

    /// Whether there are so many that going on is of no use.
    pub(super) fn is_too_general(&self) -> bool {
        self.in_a_row >= MOST || (self.refused >= MOST && self.is_general())
    }

    /// At the end of the run: those that were refused for what they are.
    pub(super) fn meant_at_end(&mut self) -> Vec<Refused> {
        if self.is_general() || self.in_a_row > FEW {
            return Vec::new();
        }
        std::mem::take(&mut self.pending)
    }

    /// Those that nothing is known about.
    pub(super) fn left(&self) -> &[Refused] {
        &self.pending
    }

    /// Whether those that nothing is known about are a few that were put off a while ago at most: nothing to wake anybody for.
    pub(super) fn is_minor(&self, now: DateTime<Utc>) -> bool {
        let is_recent = |mail: &Refused| mail.since.is_none_or(|since| now - since < WORTH_TELLING);
        self.pending.len() <= FEW && self.pending.iter().all(|mail| mail.is_temporary && is_recent(mail))
    }

    /// Removes those that nothing is known about.
    pub(super) fn take_left(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.pending)
    }

    /// What stopped the sending, although it turned out afterwards what the refusals meant.
    pub(super) fn pause(&self) -> Stop {
        let of = counted(self.refused + self.accepted, "mail", "mails");
        Stop::Busy(format!("the server refused {} of {of}", self.refused))
    }

    /// What stops the sending, if nothing is known about some. What passes by itself is only that if all does.
    pub(super) fn stop(&self) -> Option<Stop> {
        let last = self.pending.iter().rfind(|mail| !mail.is_temporary).or(self.pending.last())?;
        let (refused, of) = (self.refused, counted(self.refused + self.accepted, "mail", "mails"));
        let reply = &last.reply;
        Some(match reply.get(..3) {
            _ if last.is_temporary => {
                Stop::Busy(format!("the server put off {refused} of {of}, the last with: {reply}"))
            }
            Some("530" | "534" | "535") => {
                Stop::Credentials(format!("the server refused {refused} of {of}, the last with: {reply}"))
            }
            _ => Stop::Refused(format!(
                "the server refused {refused} of {of} for reasons that may not be theirs, the last with: {reply}"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [i64; 0] = [];

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(1)
    }

    fn refused(id: i64) -> Refused {
        Refused {
            id,
            status: "QUEUED",
            is_temporary: false,
            attempts: 0,
            since: None,
            runs: 0,
            reply: "550 5.7.1 no".to_owned(),
        }
    }

    fn ids(refused: &[Refused]) -> Vec<i64> {
        refused.iter().map(|refused| refused.id).collect()
    }

    #[test]
    fn a_refusal_is_meant_once_as_many_mails_were_accepted() {
        let mut doubt = Doubt::default();
        for id in 1..=2 {
            doubt.add(refused(id));
        }
        assert_eq!(ids(&doubt.meant_at_end()), NONE, "nothing was accepted in this run");
        assert_eq!(ids(&doubt.accepted()), NONE, "two of three were refused");
        assert_eq!(ids(&doubt.accepted()), [1, 2]);
        doubt.add(refused(3));
        assert_eq!(ids(&doubt.meant_at_end()), NONE, "three of five");
        doubt.accepted();
        doubt.add(refused(4));
        doubt.accepted();
        doubt.accepted();
        doubt.add(refused(5));
        assert_eq!(ids(&doubt.meant_at_end()), [5]);
        assert_eq!(doubt.left().len(), 0);
    }

    #[test]
    fn a_block_that_begins_in_the_middle_of_a_run_is_not_the_mails_fault() {
        let mut doubt = Doubt::default();
        for _ in 0..1_000 {
            assert_eq!(ids(&doubt.accepted()), NONE);
        }
        for id in 1..20 {
            doubt.add(refused(id));
            assert!(!doubt.is_too_general());
        }
        doubt.add(refused(20));
        assert!(doubt.is_too_general());
        assert_eq!(ids(&doubt.meant_at_end()), NONE);
        assert_eq!(doubt.left().len(), 20);
    }

    #[test]
    fn a_few_mails_that_are_put_off_for_a_while_wake_nobody() {
        let put_off = |id, since| Refused { is_temporary: true, since, ..refused(id) };
        let minor = |mails: Vec<Refused>| {
            let mut doubt = Doubt::default();
            for mail in mails {
                doubt.add(mail);
            }
            doubt.is_minor(now())
        };
        let lately = Some(now() - TimeDelta::minutes(59));
        assert!(minor(vec![put_off(1, None), put_off(2, lately), put_off(3, lately)]));
        assert!(!minor(vec![put_off(1, Some(now() - TimeDelta::hours(1)))]));
        assert!(!minor((1..=4).map(|id| put_off(id, None)).collect()));
        assert!(!minor(vec![put_off(1, None), refused(2)]));
    }

    #[test]
    fn a_block_that_lets_one_in_ten_through_is_not_the_mails_fault() {
        let mut doubt = Doubt::default();
        for id in 1..20 {
            assert!(!doubt.is_too_general());
            doubt.add(refused(id));
            if id % 9 == 0 {
                assert_eq!(ids(&doubt.accepted()), NONE);
            }
        }
        doubt.add(refused(20));
        assert!(doubt.is_too_general());
        assert_eq!(doubt.left().len(), 20);
    }
}
