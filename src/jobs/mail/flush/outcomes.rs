//! What a report means: for the mail, for its recipient, and for the run.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::runner::Run;

use super::changes::{self, Change, Untaken};
use super::doubt::Refused;
use super::intake::{self, Intake, Ready};
use super::policy::PutOff;
use super::senders::{MailEnd, SenderReport, Standing};
use super::suppressions::Bounce;
use super::throttle::Reaction;
use super::{Flush, item_key};

/// After this many mails in a row without an answer, each of which may have arrived, something is wrong with the line or
/// with what answers.
const UNANSWERED: u32 = 5;
/// A mail that is told to slow down this many times, while others got through each time, is at fault itself: it costs
/// that one an attempt.
const SLOW_DOWNS: u32 = 3;
/// How much later than the others of a run a mail begins that an earlier run did not get through: were it at fault itself,
/// it would be what stops the run, and the others would never go.
const OTHERS_FIRST: Duration = Duration::from_secs(1);
/// Where a share of the mails is told so whichever they are, it takes one more time for each so many percent of them: of a
/// million mails one is told so as often by chance.
const PERCENT_PER_SLOW_DOWN: u32 = 3;

impl Flush {
    pub(super) fn accept(&mut self, run: &mut Run<'_>, intake: Intake) {
        run.read(1);
        match intake {
            Intake::Mail(mut mail) => {
                self.tally.fallbacks += u64::from(mail.is_fallback);
                // While a whole group is in doubt the claimer mixes it with others; if all of it waited, nothing else would go.
                if mail.row.untaken_since.is_some() && !self.doubt.is_ongoing() {
                    mail.wait_until = mail.wait_until.max(Instant::now() + OTHERS_FIRST);
                }
                self.wait_again(mail);
            }
            Intake::Unreadable(row) => {
                self.tally.failed += 1;
                run.fail_item(&item_key(row.id), "claim", &anyhow::anyhow!(row.problem.clone()));
                self.unreadable.push(row);
            }
            Intake::Impossible(failure) => drop(self.impossible.get_or_insert(failure)),
            Intake::Settled { change, is_failure } => {
                if is_failure {
                    self.tally.failed += 1;
                    let reply = change.reply.clone().unwrap_or_default();
                    run.fail_item(&item_key(change.id), "prepare", &anyhow::anyhow!(reply));
                } else {
                    self.tally.cancelled += 1;
                }
                self.changes.push(change);
            }
        }
    }

    /// Handles a sender's report.
    pub(super) fn handle_report(&mut self, run: &mut Run<'_>, report: SenderReport) {
        match report {
            SenderReport::Mail { standing: Standing::Revoked, .. }
            | SenderReport::Gone { stop: None }
            | SenderReport::Connected => {}
            SenderReport::Mail { mail, standing, end } => self.note_end(run, mail, standing, end),
            SenderReport::Gone { stop: Some(stop) } => self.note_stop(stop),
        }
    }

    fn note_end(&mut self, run: &mut Run<'_>, mail: Box<Ready>, standing: Standing, end: MailEnd) {
        match end {
            MailEnd::Outcome { outcome, begun } => {
                let is_taken = matches!(outcome, Outcome::Accepted { .. });
                let reaction = self.throttle.answered(begun, is_taken, Instant::now());
                self.adapt_connections(reaction);
                self.note_outcome(run, &mail, standing, &outcome);
            }
            // Why there is no connection the sender reports itself, for the run to decide.
            MailEnd::Returned | MailEnd::NotTried(Stop::Unreachable(_) | Stop::TurnedAway(_)) => {
                self.take_back(mail, standing);
            }
            MailEnd::NotTried(stop) => {
                self.changes.push(restored(mail.row.id, intake::word(&mail.row.status), standing));
                self.untried = Some(stop.clone());
                self.note_stop(stop);
            }
            // The next connection is closed before the server does it. Nothing else is wrong.
            MailEnd::SlowDown { closed_after: Some(mails), .. } if self.senders.note_closed_after(mails) => {
                self.take_back(mail, standing);
            }
            MailEnd::SlowDown { reply, .. } if self.is_at_fault_itself(mail.row.id) => {
                self.note_outcome(run, &mail, standing, &deferred(reply));
            }
            MailEnd::SlowDown { reply, wait, begun, .. } => match self.slow_down(wait, begun) {
                // The server took the others since, and this one not for all our patience.
                Reaction::GiveUp
                    if wait.is_none() && self.was_overtaken(mail.row.id) && self.is_rest_postponed() =>
                {
                    self.note_outcome(run, &mail, standing, &deferred(reply));
                }
                reaction => {
                    self.adapt_connections(reaction);
                    if reaction == Reaction::GiveUp {
                        let reply = self.redactor.redact(&reply);
                        let reason = format!("the server takes no more mails for now: {reply}");
                        self.note_stop(Stop::Busy(reason));
                    }
                    self.take_back_behind_others(mail, standing, &reply);
                }
            },
        }
    }

    /// A mail that was not handed over waits for another sender, as it was.
    fn take_back(&mut self, mail: Box<Ready>, standing: Standing) {
        if standing == Standing::Cleared {
            let restored = restored(mail.row.id, intake::word(&mail.row.status), standing);
            self.changes.push(Change { keeps_claim: true, ..restored });
        }
        self.returned.push_back(mail);
    }

    /// The same, behind the others: if it is at fault itself, they go meanwhile.
    fn take_back_behind_others(&mut self, mut mail: Box<Ready>, standing: Standing, reply: &str) {
        mail.wait_until = Instant::now();
        self.postponed.entry(mail.row.id).or_default().reply = self.redactor.redact(reply);
        self.take_back(mail, standing);
    }

    /// Whether others got through each time that this mail was told to slow down.
    fn is_at_fault_itself(&mut self, id: i64) -> bool {
        let sent = self.tally.sent;
        let postponed = self.postponed.entry(id).or_default();
        // What was sent before the server asked for less says nothing about this mail.
        if postponed.sent_before.is_none() {
            postponed.sent_before = Some(sent);
            postponed.sent = sent;
        }
        if sent > postponed.sent {
            postponed.times += 1;
            postponed.sent = sent;
        }
        postponed.times >= SLOW_DOWNS + self.throttle.refused_percent() / PERCENT_PER_SLOW_DOWN
    }

    /// Whether others got through since this mail was first told to slow down.
    fn was_overtaken(&self, id: i64) -> bool {
        let first = self.postponed.get(&id).and_then(|postponed| postponed.sent_before);
        first.is_some_and(|sent| self.tally.sent > sent)
    }

    /// Whether nothing is left but mails that were told to slow down.
    fn is_rest_postponed(&self) -> bool {
        let mut left = self.waiting.iter().chain(&self.returned);
        self.senders.are_empty() && left.all(|mail| self.postponed.contains_key(&mail.row.id))
    }

    /// The server asks for less: a pause and fewer connections, or the end of the sending.
    fn slow_down(&mut self, wait: Option<Duration>, begun: Instant) -> Reaction {
        let wait = wait.filter(|wait| !wait.is_zero());
        if let Some(wait) = wait.and_then(|wait| TimeDelta::from_std(wait).ok()) {
            self.closed_until = self.closed_until.max(Some(self.clock.now() + wait));
        }
        self.throttle.slow_down(begun, wait, Instant::now(), self.until)
    }

    fn adapt_connections(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Fewer => self.senders.halve(),
            Reaction::More => self.senders.restore(),
            Reaction::Same | Reaction::GiveUp => {}
        }
    }

    /// A mail of which the server turned out to mean its refusal, as far as this run can tell.
    pub(super) fn note_meant(&mut self, run: &mut Run<'_>, refused: &Refused) {
        let change = self.policy.refusal(refused, self.clock);
        if change.status == changes::FAILED {
            self.tally.failed += 1;
            let reply = change.reply.clone().unwrap_or_default();
            run.fail_item(&item_key(refused.id), "send", &anyhow::anyhow!(reply));
        } else {
            self.tally.again += 1;
        }
        self.changes.push(change);
    }

    /// One of a few mails that were put off, where nothing tells whose fault it is.
    pub(super) fn note_unclear(&mut self, refused: &Refused) {
        self.tally.again += 1;
        self.changes.push(self.policy.unclear(refused, self.clock));
    }

    /// A mail that was told to wait for as long as the run went on.
    pub(super) fn note_put_off(&mut self, run: &mut Run<'_>, mail: &PutOff) {
        let change = self.policy.put_off(mail, self.tally.sent > 0, self.clock);
        if change.status == changes::FAILED {
            self.tally.failed += 1;
            let reply = change.reply.clone().unwrap_or_default();
            run.fail_item(&item_key(mail.id), "send", &anyhow::anyhow!(reply));
        }
        self.changes.push(change);
    }

    /// A refusal that may not be this mail's fault: the mail stays as it was until more is known, and the run keeps it.
    fn note_doubt(&mut self, mail: &Ready, standing: Standing, reply: &str, is_temporary: bool) {
        let (id, status) = (mail.row.id, intake::word(&mail.row.status));
        let untaken = Untaken::Noted;
        self.changes.push(Change { keeps_claim: true, untaken, ..restored(id, status, standing) });
        let (attempts, since, runs) = (mail.row.attempts, mail.row.untaken_since, mail.row.untaken_runs);
        let reply = self.redactor.redact(reply);
        self.doubt.add(Refused { id, status, is_temporary, attempts, since, runs, reply });
        if self.doubt.is_too_general() {
            self.stop_claiming.send_replace(true);
            // Its message counts all refusals, of which more may be under way.
            self.is_refused = true;
        }
    }

    fn note_outcome(&mut self, run: &mut Run<'_>, mail: &Ready, standing: Standing, outcome: &Outcome) {
        self.postponed.remove(&mail.row.id);
        match outcome {
            Outcome::Rejected { because: Rejection::Policy, reply } => {
                return self.note_doubt(mail, standing, reply, false);
            }
            Outcome::Deferred { because: Deferral::Unsaid, reply } => {
                return self.note_doubt(mail, standing, reply, true);
            }
            Outcome::Accepted { .. } => {
                self.unanswered = 0;
                for meant in self.doubt.accepted() {
                    self.note_meant(run, &meant);
                }
            }
            Outcome::Unknown { reply } => {
                self.unanswered += 1;
                if self.unanswered >= UNANSWERED {
                    let reply = self.redactor.redact(reply);
                    self.note_stop(Stop::Busy(format!(
                        "{UNANSWERED} mails since the last accepted one may or may not have arrived, the last because: {reply}"
                    )));
                }
            }
            _ => {}
        }
        let mut change = self.policy.change(mail, outcome, self.clock);
        change.is_attempt = true;
        if standing == Standing::Assigned {
            // Refused before it was marked as SENDING.
            change.attempts += 1;
            change.message_id = mail.row.message_id.clone().filter(|_| mail.has_new_id);
        }
        // A server may quote what it was sent.
        change.reply = change.reply.map(|reply| self.redactor.redact(&reply));
        let reply = change.reply.clone().unwrap_or_default();
        let count = match change.status {
            changes::SENT => {
                run.written(1);
                &mut self.tally.sent
            }
            changes::RETRY => &mut self.tally.again,
            changes::UNKNOWN => &mut self.tally.unknown,
            _ => &mut self.tally.failed,
        };
        *count += 1;
        // An address that does not exist is settled by its suppression: nobody has to look at it.
        let is_settled = matches!(outcome, Outcome::Rejected { because: Rejection::Address, .. })
            && self.reaches_recipients;
        if (change.status == changes::FAILED && !is_settled) || change.is_held {
            run.fail_item(&item_key(mail.row.id), "send", &anyhow::anyhow!(reply.clone()));
        }
        self.note_recipient(mail, outcome, reply);
        self.changes.push(change);
    }

    /// What an outcome says about the recipient. A server's reply about the test address says nothing about the intended one.
    fn note_recipient(&mut self, mail: &Ready, outcome: &Outcome, reply: String) {
        if !self.reaches_recipients {
            return;
        }
        match outcome {
            Outcome::Accepted { .. } => self.breaker.note_delivery(&mail.address),
            Outcome::Rejected { because: Rejection::Address, .. } => {
                self.bounced.push(Bounce { address: mail.address.clone(), mail: mail.row.id, reply });
                if self.breaker.note_bounce(&mail.address)
                    && let Some(reason) = self.breaker.reason()
                {
                    self.note_stop(Stop::Refused(reason.to_owned()));
                }
            }
            _ => {}
        }
    }

    pub(super) fn note_stop(&mut self, stop: Stop) {
        if !matches!(stop, Stop::Unreachable(_) | Stop::TurnedAway(_)) || self.is_cut_off(&stop) {
            self.stop.get_or_insert(stop);
        }
    }

    /// One connection less is not a reason to stop while others work. Nor is having none, for a while, if the server takes
    /// connections in general: it has taken mails, or it says itself that it does not for the moment.
    fn is_cut_off(&mut self, stop: &Stop) -> bool {
        if !self.senders.are_gone() {
            return false;
        }
        let is_passing = self.throttle.has_taken() || matches!(stop, Stop::TurnedAway(_));
        !is_passing || self.throttle.turned_away(Instant::now(), self.until) == Reaction::GiveUp
    }
}

/// The answer to a mail that alone was told to slow down.
fn deferred(reply: String) -> Outcome {
    Outcome::Deferred { reply, because: Deferral::Mail }
}

/// A mail that did not leave, as it was before.
fn restored(id: i64, status: &'static str, standing: Standing) -> Change {
    let attempts = if standing == Standing::Cleared { -1 } else { 0 };
    Change { attempts, ..Change::to(id, status) }
}
