//! The writing of changes: in one commit for all that happened meanwhile, and at the end of a run for what is left.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::runner::Run;

use super::changes::{self, Change, Untaken};
use super::pace::close_server;
use super::policy::PutOff;
use super::suppressions::{give_back, hold, suppress};
use super::{Flush, intake, unless_stopped};

/// How often the run's row and its list of errors are written.
const BOOKKEEPING: Duration = Duration::from_secs(1);

impl Flush {
    /// Writes all changes in one commit, and that the next mail of each sender is SENDING; then releases those to their
    /// senders, unless no more are to begin.
    pub(super) async fn write_changes(&mut self, run: &mut Run<'_>, goes_on: bool) -> anyhow::Result<()> {
        let next = if goes_on { self.senders.next_to_clear() } else { Vec::new() };
        let asked: HashSet<i64> = next.iter().map(|(id, _)| *id).collect();
        self.changes.extend(next.into_iter().map(|(id, message_id)| Change {
            attempts: 1,
            message_id,
            ..Change::to(id, changes::SENDING)
        }));
        self.fail_unreadable().await?;
        if !self.changes.is_empty() {
            let changes = std::mem::take(&mut self.changes);
            let written = self.write(run, changes).await?;
            self.suppress_bounced().await?;
            self.senders.clear(&asked, &written);
        }
        for mail in std::mem::take(&mut self.returned) {
            self.wait_again(mail);
        }
        if let Some(until) = self.closed_until.take() {
            close_server(&mut self.db, self.senders.server(), until, self.clock.now()).await?;
        }
        if self.booked.elapsed() >= BOOKKEEPING {
            self.booked = Instant::now();
            run.chunk(None::<&str>, async |_| Ok(())).await.or_else(unless_stopped)?;
        }
        Ok(())
    }

    /// At once: the next mail to the same address may already be waiting.
    async fn suppress_bounced(&mut self) -> anyhow::Result<()> {
        let bounced = std::mem::take(&mut self.bounced);
        let is_held = self.breaker.is_tripped();
        for bounce in &bounced {
            suppress(&mut self.db, self.run, bounce, is_held, self.clock.now()).await?;
        }
        if is_held && !bounced.is_empty() {
            hold(&mut self.db, &self.breaker.doubted_runs(self.run)).await?;
        }
        Ok(())
    }

    async fn fail_unreadable(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.unreadable);
        changes::fail_unreadable(&mut self.db, self.run, self.clock.now(), &rows).await
    }

    /// Writes changes, and returns the mails that are now SENDING. A statement changes a row once: a mail that was given
    /// back and begins again takes two.
    async fn write(&mut self, run: &mut Run<'_>, changes: Vec<Change>) -> anyhow::Result<HashSet<i64>> {
        let mut sending = HashSet::new();
        for round in rounds(changes) {
            let written = changes::write(&mut self.db, self.run, self.clock.now(), &round).await?;
            if written.len() < round.len() {
                // A row that was cancelled or deleted is not an error; a lost lease ends the run.
                run.chunk(None::<&str>, async |_| Ok(())).await.or_else(unless_stopped)?;
            }
            let begun =
                round.iter().filter(|change| change.status == changes::SENDING).map(|change| change.id);
            let begun: HashSet<i64> = begun.collect();
            sending.extend(written.into_iter().filter(|id| begun.contains(id)));
        }
        Ok(sending)
    }

    /// Lets go of the mails that wait, and notes which of them the server told to wait.
    fn put_aside(&mut self) {
        for mail in self.waiting.drain(..).chain(self.returned.drain(..)) {
            if let Some(postponed) = self.postponed.remove(&mail.row.id) {
                self.put_off.push(PutOff {
                    id: mail.row.id,
                    status: intake::word(&mail.row.status),
                    since: mail.row.untaken_since,
                    reply: postponed.reply,
                });
            }
        }
    }

    /// Finishes what was started and releases what was not.
    pub(super) async fn end(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
        self.stop_claiming.send_replace(true);
        self.intake.close();
        while self.intake.try_recv().is_ok() {}
        self.put_aside();
        // First, because the claimer may be waiting for the memory that these mails hold.
        self.senders.close().await;
        let claimed = self.claimer.join_next().await;
        // Outcomes that arrived while the run was failing are recorded too.
        while let Some(report) = self.senders.try_next() {
            self.handle_report(run, report);
        }
        self.put_aside();
        for mail in std::mem::take(&mut self.put_off) {
            self.note_put_off(run, &mail);
        }
        self.fail_unreadable().await?;
        let mut left = std::mem::take(&mut self.changes);
        // As they were, but behind what else is due: a mail that is at fault itself does not come first again.
        let (due_at, untaken) = (Some(self.clock.started()), Untaken::Noted);
        left.extend(self.doubt.left().iter().map(|mail| Change {
            due_at,
            untaken,
            ..Change::to(mail.id, mail.status)
        }));
        for round in rounds(left) {
            changes::write(&mut self.db, self.run, self.clock.now(), &round).await?;
        }
        if let Some(until) = self.closed_until.take() {
            close_server(&mut self.db, self.senders.server(), until, self.clock.now()).await?;
        }
        self.suppress_bounced().await?;
        if self.reaches_recipients {
            self.breaker.store(&mut self.db, self.run, self.clock.now()).await?;
        }
        changes::release(&mut self.db, self.run).await?;
        if self.breaker.is_tripped() {
            let own = give_back(&mut self.db, self.run, self.clock.started()).await?;
            self.tally.failed -= own.min(self.tally.failed);
            self.tally.undecided += own;
        }
        claimed.transpose()?.transpose()?;
        Ok(())
    }
}

/// Changes in their order, so that each round has at most one per row.
fn rounds(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut rounds: Vec<Vec<Change>> = Vec::new();
    let mut seen: HashMap<i64, usize> = HashMap::new();
    for change in changes {
        let round = seen.entry(change.id).or_default();
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(change);
        *round += 1;
    }
    rounds
}
