//! The loop of a run: mails from the claimer go to free senders, and their reports lead to changes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::mail::delivery::Stop;
use crate::mail::outgoing::Gate;
use crate::period::shown_instant;
use crate::runner::Run;

use super::breaker::Breaker;
use super::changes::{self, Change};
use super::claims::{Only, untaken};
use super::doubt::{Doubt, is_group};
use super::intake::{Claimer, MEMORY_KIBIBYTES, Ready, RunClock};
use super::pace::{Rates, server_closed_until};
use super::policy::Policy;
use super::preparing::Preparation;
use super::senders::Senders;
use super::tally::MailTally;
use super::throttle::{LONGEST_WAIT, Throttle};
use super::{Flush, connect, stop_error};

/// Prepared mails that wait for a sender.
const READY: usize = 64;
/// Longer than most servers need for a mail.
const MAX_MARGIN: Duration = Duration::from_mins(2);
/// As long as a run has to end after SIGTERM.
const MIN_MARGIN: Duration = Duration::from_secs(25);
/// How long the outcome of one mail waits for those of the others.
const GATHERING: Duration = Duration::from_millis(1);

impl Flush {
    pub(super) async fn start(
        run: &Run<'_>,
        policy: Policy,
        clock: RunClock,
        only: Only,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let cx = run.cx;
        let config = &cx.config;
        let gate = Gate::new(config)?;
        let reaches_recipients = gate.reaches_recipients();
        let (ready, intake) = mpsc::channel(READY);
        let (stop_claiming, stop) = watch::channel(false);
        let mut db = connect(cx, run.id()).await?;
        let is_in_doubt = untaken(&mut db).await?.is_some_and(|(mails, _)| is_group(mails));
        let claimer = Claimer {
            db: connect(cx, run.id()).await?,
            run: run.id(),
            only,
            clock,
            rates: Rates::new(config.mail()),
            preparation: Preparation::new(config, gate),
            consent: config.mail().consent,
            stop,
            ready,
            memory: Arc::new(Semaphore::new(MEMORY_KIBIBYTES as usize)),
            until: clock.after(run.deadline().saturating_sub(margin(run.deadline()))),
            is_in_doubt,
            last_tried: 0,
        };
        let (until, is_rated) = (claimer.until, claimer.rates.are_limited());
        let mut task = JoinSet::new();
        task.spawn(claimer.work());
        let breaker = Breaker::load(&mut db, run.id(), clock.now()).await?;
        Ok(Self {
            run: run.id(),
            db,
            policy,
            redactor: config.redactor(),
            clock,
            reaches_recipients,
            senders: Senders::new(cx.mail_transport()?, connections),
            intake,
            claimer: task,
            stop_claiming,
            waiting: VecDeque::new(),
            changes: Vec::new(),
            unreadable: Vec::new(),
            tally: MailTally::default(),
            bounced: Vec::new(),
            breaker,
            impossible: None,
            doubt: Doubt::after_earlier_runs(is_in_doubt),
            unanswered: 0,
            throttle: Throttle::new(Instant::now()),
            postponed: HashMap::new(),
            closed_until: None,
            until,
            is_rated,
            put_off: Vec::new(),
            is_refused: false,
            returned: VecDeque::new(),
            stop: None,
            untried: None,
            booked: Instant::now(),
        })
    }

    /// A wait that the server stated to another run is kept by this one, without asking again.
    pub(super) async fn heed_earlier_runs(&mut self, run: &Run<'_>) -> anyhow::Result<()> {
        let server = self.senders.server().to_owned();
        let now = self.clock.now();
        let Some(until) = server_closed_until(&mut self.db, &server, now).await? else { return Ok(()) };
        let Ok(wait) = (until - now).to_std() else { return Ok(()) };
        if wait > LONGEST_WAIT {
            let until = shown_instant(until, run.cx.time_zone());
            let reason = format!("{server} told an earlier run to send nothing before {until}");
            return Err(stop_error(run.cx, Stop::Busy(reason)));
        }
        self.throttle.wait_until(Instant::now() + wait);
        Ok(())
    }

    /// Whether it is too near to the deadline to begin a mail.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Sends until nothing is due, the server is unusable, time is running out, or the run is asked to stop.
    pub(super) async fn send_all(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let mut is_claiming = true;
        loop {
            let goes_on = self.goes_on(run);
            if !goes_on {
                self.stop_claiming.send_replace(true);
                // A mail that the server cannot have yet is left for another run.
                if !self.senders.are_under_way() {
                    break;
                }
            }
            if !is_claiming && self.waiting.is_empty() && self.senders.are_empty() {
                break;
            }
            let wants_more = goes_on && is_claiming && self.waiting.len() < READY;
            let next_turn = self.waiting.front().filter(|_| goes_on).map(|mail| mail.wait_until);
            let next_turn = next_turn.map(|turn| self.throttle.next_at().map_or(turn, |next| next.max(turn)));
            tokio::select! {
                biased;
                Some(report) = self.senders.next() => self.handle_report(run, report),
                intake = self.intake.recv(), if wants_more => match intake {
                    Some(intake) => self.accept(run, intake),
                    None => is_claiming = false,
                },
                () = until(next_turn), if next_turn.is_some() && self.senders.has_room() => {}
                () = until(Some(self.until)), if goes_on => continue,
                _ = run.stop_requested(), if goes_on => continue,
            }
            self.gather(run).await;
            while goes_on
                && self.waiting.len() < READY
                && let Ok(intake) = self.intake.try_recv()
            {
                self.accept(run, intake);
            }
            let goes_on = self.goes_on(run);
            if goes_on {
                self.start_ready();
            }
            self.write_changes(run, goes_on).await?;
        }
        for meant in self.doubt.meant_at_end() {
            self.note_meant(run, &meant);
        }
        if self.doubt.is_minor(self.clock.now()) {
            for mail in self.doubt.take_left() {
                self.note_unclear(&mail);
            }
        }
        if let Some(stop) = self.doubt.stop() {
            self.stop.get_or_insert(stop);
        } else if self.is_refused {
            // The last mails under way were taken after all: what is due is left, and the next run goes on with it.
            self.stop.get_or_insert_with(|| self.doubt.pause());
        }
        match (self.stop.take(), self.impossible.take(), self.untried.take()) {
            (Some(_), _, _) if self.breaker.is_tripped() => Err(self.too_many_bounces().into()),
            (Some(stop), _, _) | (None, None, Some(stop)) => Err(stop_error(run.cx, stop)),
            (None, Some(failure), _) => Err(failure.into()),
            (None, None, None) => Ok(()),
        }
    }

    fn too_many_bounces(&self) -> Failure {
        Failure::failed(format!("failed to send mails: {}", self.breaker.reason().unwrap_or_default())).hint(
            "their mails stay queued until you decide; if the relay was wrong: `batchctl mail suppress remove --held`, and the \
             next run sends them; if the addresses really do not exist: `batchctl mail suppress confirm`",
        )
    }

    /// Waits briefly for the other mails in transit: one commit for all of them costs little more than a commit for one,
    /// and a server on the same network answers them all in the meantime.
    async fn gather(&mut self, run: &mut Run<'_>) {
        let limit = tokio::time::Instant::now() + GATHERING;
        while !self.changes.is_empty() && self.senders.are_under_way() {
            tokio::select! {
                biased;
                Some(report) = self.senders.next() => self.handle_report(run, report),
                () = tokio::time::sleep_until(limit) => break,
            }
        }
        while let Some(report) = self.senders.try_next() {
            self.handle_report(run, report);
        }
    }

    /// Whether mails may still be begun.
    fn goes_on(&self, run: &Run<'_>) -> bool {
        self.stop.is_none() && !self.is_refused && run.check_stop().is_ok() && !self.is_late()
    }

    /// Assigns the mails that free senders can start now.
    fn start_ready(&mut self) {
        let now = Instant::now();
        while self.senders.room() > 0 && self.is_turn(now) {
            let Some(mail) = self.waiting.pop_front() else { break };
            if self.breaker.is_gone(&mail.address) {
                // Found out after the mail was prepared.
                self.tally.cancelled += 1;
                let reply = Some("suppressed: BOUNCE".to_owned());
                self.changes.push(Change { reply, ..Change::to(mail.row.id, changes::CANCELLED) });
            } else if let Err(mail) = self.senders.assign(mail) {
                self.waiting.push_front(mail);
                break;
            } else {
                self.throttle.begin(now);
            }
        }
        // More mails than senders: open another connection if one more is allowed.
        if self.is_turn(now) {
            self.senders.grow();
        }
    }

    /// Whether the next mail may begin.
    fn is_turn(&self, now: Instant) -> bool {
        self.throttle.allows(now) && self.waiting.front().is_some_and(|mail| mail.wait_until <= now)
    }

    /// Ordered by turn: a mail that has to wait does not hold back the others.
    pub(super) fn wait_again(&mut self, mail: Box<Ready>) {
        let place = self.waiting.partition_point(|other| other.wait_until <= mail.wait_until);
        self.waiting.insert(place, mail);
    }
}

/// How long before its deadline a run starts no more mails: those in transit finish, and no mail is left with an
/// unknown outcome. The next run does the rest.
fn margin(deadline: Duration) -> Duration {
    (deadline / 10).clamp(MIN_MARGIN, MAX_MARGIN).min(deadline / 2)
}

async fn until(turn: Option<Instant>) {
    if let Some(turn) = turn {
        tokio::time::sleep_until(turn.into()).await;
    }
}
