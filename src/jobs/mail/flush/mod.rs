//! `mail flush`: sends the queued mails that are due.
//!
//! Runs every five minutes, in any number of processes: rows are claimed one by one. A claimer supplies mails, senders
//! hand them to the server over one connection each, and the run records their progress: that a mail is about to be
//! sent, before the server can have it, and its outcome, before the same connection starts another one.

mod breaker;
mod doubt;
mod intake;
mod ledger;
mod pace;
mod senders;
mod tempo;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::backoff::{Backoff, Jitter};
use crate::config::{MailConfig, OnUnknown};
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::mail::delivery::{Outcome, Rejection, Stop};
use crate::mail::outgoing::Gate;
use crate::mail::template::Templates;
use crate::mask::Redactor;
use crate::period::shown_instant;
use crate::runner::{
    Exclusion, Interruption, Items, Job, JobSpec, Planned, Run, history, minutes, open_connection,
};
use crate::severity::Severity;
use crate::wording::counted;

use self::breaker::{Breaker, bounced_mails};
use self::doubt::{Doubt, Refused};
use self::intake::{Claimer, Intake, MEMORY_KIBIBYTES, Preparation, Ready, RunClock};
use self::ledger::{Bounce, Change, Only, Unreadable};
use self::pace::Rates;
use self::senders::{MailEnd, SenderReport, Senders, Standing};
use self::tempo::{LONGEST_WAIT, Reaction, Tempo};

/// Parallel connections by default: what a mail server accepts from one client without complaint.
const CONNECTIONS: usize = 8;
/// Attempts per mail by default.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt: greylisting servers require at least this.
const BACKOFF: Duration = Duration::from_mins(5);
/// The factor by which each pause is longer than the one before.
const BACKOFF_GROWTH: u32 = 4;
const MAX_BACKOFF: Duration = Duration::from_hours(24);
/// The jitter of pauses in percent, so that mails that were deferred together do not come back together.
const JITTER_PERCENT: u32 = 20;
/// Prepared mails that wait for a sender.
const READY: usize = 64;
/// How often the run's row and its list of errors are written.
const BOOKKEEPING: Duration = Duration::from_secs(1);
/// Longer than most servers need for a mail.
const MAX_MARGIN: Duration = Duration::from_mins(2);
/// As long as a run has to end after SIGTERM.
const MIN_MARGIN: Duration = Duration::from_secs(25);
/// How long the outcome of one mail waits for those of the others.
const GATHERING: Duration = Duration::from_millis(1);
/// After this many mails in a row without an answer, each of which may have arrived, something is wrong with the line or
/// with what answers.
const UNANSWERED: u32 = 5;
/// A mail that is told to slow down this many times, while others got through each time, is at fault itself: it costs
/// that one a try.
const SLOW_DOWNS: u32 = 3;

/// Mails that bounced, per page.
const BOUNCES: i64 = 500;

/// The prefix of a mail's id in the list of errors.
const ITEM: &str = "mail ";

/// Arguments of `mail flush`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Send over this many parallel connections (default: `mail.connections`, else 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    connections: Option<u16>,
    /// Send only mails of this kind
    #[arg(long, conflicts_with = "id")]
    kind: Option<String>,
    /// Send only this mail, or these, if they are due
    #[arg(long, value_name = "ID")]
    id: Vec<i64>,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mail flush",
        summary: "Send the queued mails that are due",
        details: "Any number of processes may run at the same time: mails are claimed one by one.",
        page: Some("docs/mail.md"),
        schedule: Some("*/5 * * * *"),
        deadline: minutes(60),
        severity: Severity::High,
        exclusion: Exclusion::Shared,
        items: Items::finished_when_written("mail", "mails", "known to be sent"),
    };

    type Unit = ();

    async fn plan(&self, cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        // A missing setting is reported at once and not only when a mail is due; nor does a mail lose an attempt to it.
        Templates::new(&cx.config).usable()?;
        Gate::new(&cx.config)?;
        cx.mail_transport()?;
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let policy = Policy::new(run.cx.config.mail());
        let clock = RunClock::starting_at(run.cx.now());
        reclaim_mails_of_dead_runs(run, &policy, clock).await?;
        requeue_retried_mails(run, clock).await?;
        if !ledger::is_any_due(run.db, &self.only(), clock.now()).await? {
            run.summarise("nothing to send".to_owned());
            return Ok(());
        }
        let mut flush =
            Flush::start(run, policy, clock, self.only(), self.connections(run.cx.config.mail())).await?;
        if let Err(error) = flush.heed_earlier_runs(run).await {
            flush.end(run).await?;
            return Err(error);
        }
        let sent = flush.send_all(run).await;
        let ended = flush.end(run).await;
        let tally = flush.tally.sentence();
        run.summarise(tally.clone());
        sent?;
        ended?;
        run.check_stop().context(tally.clone())?;
        if flush.is_late() && !flush.is_rated && ledger::is_any_due(run.db, &self.only(), clock.now()).await?
        {
            return Err(anyhow::Error::from(Interruption::TimedOut).context(tally));
        }
        Ok(())
    }
}

impl Args {
    /// Which mails are sent.
    fn only(&self) -> Only {
        match &self.kind {
            Some(kind) => Only::Kind(kind.clone()),
            None if self.id.is_empty() => Only::All,
            None => Only::Ids(self.id.clone()),
        }
    }

    fn connections(&self, config: &MailConfig) -> usize {
        self.connections.map(usize::from).or(config.connections).unwrap_or(CONNECTIONS)
    }
}

/// A connection that works on a page of mails at a time.
async fn connect(cx: &Context, run: i64) -> anyhow::Result<Db> {
    let mut db = open_connection(cx, run).await?;
    db.plan_by_index().await?;
    Ok(db)
}

async fn reclaim_mails_of_dead_runs(
    run: &mut Run<'_>,
    policy: &Policy,
    clock: RunClock,
) -> anyhow::Result<()> {
    let now = clock.now();
    let rule = policy.on_unknown;
    let ledger::Recovered { unknown, failed } =
        run.chunk(None::<&str>, async |db| ledger::recover(db, now, rule).await).await?;
    for (id, _) in unknown.iter().filter(|(_, is_held)| *is_held) {
        let error = anyhow::anyhow!("it was being sent when an earlier run died: it may have arrived");
        run.fail_item(&item_key(*id), "recover", &error);
    }
    for (id, problem) in failed {
        run.fail_item(&item_key(id), "recover", &anyhow::anyhow!(problem));
    }
    if !unknown.is_empty() {
        run.cx.output.status(&format!(
            "{} when an earlier run died, and may have arrived",
            counted(unknown.len(), "mail was being sent", "mails were being sent")
        ));
    }
    Ok(())
}

/// `runs retry`: mails that failed in that run start over.
async fn requeue_retried_mails(run: &mut Run<'_>, clock: RunClock) -> anyhow::Result<()> {
    // Whether that run failed partly or, with no other mail to send, completely.
    let Some(retried) = run.retried() else { return Ok(()) };
    let items = history::open_items(run.db, retried).await?;
    let ids: Vec<i64> = items.iter().filter_map(|item| item.strip_prefix(ITEM)?.parse().ok()).collect();
    let now = clock.now();
    run.chunk(None::<&str>, async |db| ledger::requeue_failed(db, &ids, now).await).await?;
    Ok(())
}

// ---------------------------------------------------------------- what an outcome means

/// When a mail is tried again, and when it is given up on.
#[derive(Debug, Clone, Copy)]
struct Policy {
    attempts: i64,
    backoff: Backoff,
    on_unknown: OnUnknown,
}

impl Policy {
    fn new(config: &MailConfig) -> Self {
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
    fn change(&self, mail: &Ready, outcome: &Outcome, clock: RunClock) -> Change {
        let row = &mail.row;
        // This attempt is already counted.
        let attempts = row.attempts + 1;
        let again = Some(clock.now() + self.pause(attempts));
        match outcome {
            Outcome::Accepted { reply, provider_message_id } => Change {
                reply: Some(reply.clone()),
                provider_message_id: provider_message_id.clone(),
                ..Change::to(row.id, ledger::SENT)
            },
            Outcome::Deferred { reply } | Outcome::SlowDown { reply, .. } if attempts < self.attempts => {
                Change { reply: Some(reply.clone()), due_at: again, ..Change::to(row.id, ledger::RETRY) }
            }
            Outcome::Deferred { reply } | Outcome::SlowDown { reply, .. } => Change {
                reply: Some(format!("given up after {attempts} attempts: {reply}")),
                ..Change::to(row.id, ledger::FAILED)
            },
            Outcome::Rejected { reply, .. } => {
                Change { reply: Some(reply.clone()), ..Change::to(row.id, ledger::FAILED) }
            }
            Outcome::Unknown { reply } => Change {
                reply: Some(reply.clone()),
                due_at: again,
                unknown_attempts: 1,
                // Sent again automatically once, with the same Message-ID; then a person has to decide.
                is_held: self.on_unknown == OnUnknown::Hold || row.unknown_attempts >= 1,
                ..Change::to(row.id, ledger::UNKNOWN)
            },
        }
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
struct MailTally {
    sent: u64,
    again: u64,
    unknown: u64,
    failed: u64,
    cancelled: u64,
    /// Mails in a different language from the one their rows requested, whatever their outcome.
    fallbacks: u64,
}

impl MailTally {
    fn sentence(&self) -> String {
        let all = self.sent + self.again + self.unknown + self.failed + self.cancelled;
        let mut sentence = format!("sent {} of {}", self.sent, counted(all, "mail", "mails"));
        for (count, what) in [
            (self.again, "to be retried"),
            (self.unknown, "with unknown outcome"),
            (self.failed, "failed"),
            (self.cancelled, "no longer wanted"),
            (self.fallbacks, "in a fallback language"),
        ] {
            if count > 0 {
                sentence.push_str(&format!(", {count} {what}"));
            }
        }
        sentence
    }
}

// ---------------------------------------------------------------- sending

/// The state of a run: which mails wait, which are in transit, and which changes are to be written.
struct Flush {
    run: i64,
    /// Only for the states of mails: each statement is one commit.
    db: Db,
    policy: Policy,
    redactor: Redactor,
    clock: RunClock,
    reaches_recipients: bool,
    senders: Senders,
    intake: mpsc::Receiver<Intake>,
    /// One task, which is aborted when this struct is dropped.
    claimer: JoinSet<anyhow::Result<u64>>,
    stop_claiming: watch::Sender<bool>,
    waiting: VecDeque<Box<Ready>>,
    changes: Vec<Change>,
    /// Rows that are to fail, because they cannot be read.
    unreadable: Vec<Unreadable>,
    tally: MailTally,
    /// How fast the server takes them.
    tempo: Tempo,
    /// Mails of which the server said to slow down.
    postponed: HashMap<i64, Postponed>,
    /// Until when the server takes no mails, to be kept for other runs.
    closed_until: Option<DateTime<Utc>>,
    /// When no more mails are begun.
    until: Instant,
    /// Whether a configured rate decides how much a run does.
    is_rated: bool,
    /// Mails that the server did not take in this run, with what they were before.
    untaken: Vec<(i64, &'static str)>,
    /// Whether so many mails were refused that it cannot be their fault.
    is_refused: bool,
    /// Mails that left a sender and wait again, once their rows say so.
    returned: VecDeque<Box<Ready>>,
    /// Addresses that do not exist and are not suppressed yet.
    bounced: Vec<Bounce>,
    breaker: Breaker,
    doubt: Doubt,
    /// Mails in a row whose outcome is unknown.
    unanswered: u32,
    /// Why this configuration could not send some mails.
    impossible: Option<Failure>,
    /// Why sending stopped.
    stop: Option<Stop>,
    /// Why a mail was released untried: the run did not do everything, even if other mails were sent.
    untried: Option<Stop>,
    booked: Instant,
}

/// How often a mail was told to slow down although others had been sent since the last time.
#[derive(Debug, Default)]
struct Postponed {
    times: u32,
    /// How many others had been sent at the last time.
    sent: u64,
}

impl Flush {
    async fn start(
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
        };
        let (until, is_rated) = (claimer.until, claimer.rates.are_limited());
        let mut task = JoinSet::new();
        task.spawn(claimer.work());
        let mut db = connect(cx, run.id()).await?;
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
            doubt: Doubt::default(),
            unanswered: 0,
            tempo: Tempo::new(Instant::now()),
            postponed: HashMap::new(),
            closed_until: None,
            until,
            is_rated,
            untaken: Vec::new(),
            is_refused: false,
            returned: VecDeque::new(),
            stop: None,
            untried: None,
            booked: Instant::now(),
        })
    }

    /// A wait that the server stated to another run is kept by this one, without asking again.
    async fn heed_earlier_runs(&mut self, run: &Run<'_>) -> anyhow::Result<()> {
        let server = self.senders.server().to_owned();
        let Some(until) = ledger::server_closed_until(&mut self.db, &server).await? else { return Ok(()) };
        let Ok(wait) = (until - self.clock.now()).to_std() else { return Ok(()) };
        if wait > LONGEST_WAIT {
            let until = shown_instant(until, run.cx.time_zone());
            let reason = format!("{server} takes none before {until}, as it told an earlier run");
            return Err(stop_error(run.cx, Stop::Busy(reason)));
        }
        self.tempo.wait_until(Instant::now() + wait);
        Ok(())
    }

    /// Whether it is too near to the deadline to begin a mail.
    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Sends until nothing is due, the server is unusable, time is running out, or the run is asked to stop.
    async fn send_all(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
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
            let next_turn = next_turn.map(|turn| self.tempo.next_at().map_or(turn, |next| next.max(turn)));
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
            self.note_meant(run, meant);
        }
        if let Some(last) = self.doubt.left().last() {
            self.stop.get_or_insert(Stop::Refused(format!(
                "the server refused {} in a row for reasons that may not be theirs, the last with: {}",
                counted(self.doubt.left().len(), "mail", "mails"),
                last.reply
            )));
        }
        match (self.stop.take(), self.impossible.take(), self.untried.take()) {
            (Some(_), _, _) if self.breaker.is_tripped() => Err(self.too_many_bounces().into()),
            (Some(stop), _, _) | (None, None, Some(stop)) => Err(stop_error(run.cx, stop)),
            (None, Some(failure), _) => Err(failure.into()),
            (None, None, None) => Ok(()),
        }
    }

    fn too_many_bounces(&self) -> Failure {
        Failure::failed(format!("failed to send mails: {}", self.breaker.reason().unwrap_or_default())).hint(format!(
            "the addresses are suppressed only once you have confirmed it; if the relay was wrong: `batchctl mail suppress \
             remove --held`, then `batchctl runs retry {run}`; if they really do not exist: `batchctl mail suppress confirm`",
            run = self.run
        ))
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
                self.changes.push(Change { reply, ..Change::to(mail.row.id, ledger::CANCELLED) });
            } else if let Err(mail) = self.senders.assign(mail) {
                self.waiting.push_front(mail);
                break;
            } else {
                self.tempo.begin(now);
            }
        }
        // More mails than senders: open another connection if one more is allowed.
        if self.is_turn(now) {
            self.senders.grow();
        }
    }

    /// Whether the next mail may begin.
    fn is_turn(&self, now: Instant) -> bool {
        self.tempo.allows(now) && self.waiting.front().is_some_and(|mail| mail.wait_until <= now)
    }

    /// Writes all changes in one commit, and that the next mail of each sender is SENDING; then releases those to their
    /// senders, unless no more are to begin.
    async fn write_changes(&mut self, run: &mut Run<'_>, goes_on: bool) -> anyhow::Result<()> {
        let next = if goes_on { self.senders.next_to_clear() } else { Vec::new() };
        let asked: HashSet<i64> = next.iter().map(|(id, _)| *id).collect();
        self.changes.extend(next.into_iter().map(|(id, message_id)| Change {
            attempts: 1,
            message_id,
            ..Change::to(id, ledger::SENDING)
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
            ledger::close_server(&mut self.db, self.senders.server(), until).await?;
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
            ledger::suppress(&mut self.db, self.run, bounce, is_held, self.clock.now()).await?;
        }
        if is_held && !bounced.is_empty() {
            self.breaker.hold_suppressions(&mut self.db, self.run).await?;
        }
        Ok(())
    }

    async fn fail_unreadable(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.unreadable);
        ledger::fail_unreadable(&mut self.db, self.run, self.clock.now(), &rows).await
    }

    /// Writes changes, and returns the mails that are now SENDING. A statement changes a row once: a mail that was given
    /// back and begins again takes two.
    async fn write(&mut self, run: &mut Run<'_>, changes: Vec<Change>) -> anyhow::Result<HashSet<i64>> {
        let mut sending = HashSet::new();
        for round in rounds(changes) {
            let written = ledger::write(&mut self.db, self.run, self.clock.now(), &round).await?;
            if written.len() < round.len() {
                // A row that was cancelled or deleted is not an error; a lost lease ends the run.
                run.chunk(None::<&str>, async |_| Ok(())).await.or_else(unless_stopped)?;
            }
            let begun =
                round.iter().filter(|change| change.status == ledger::SENDING).map(|change| change.id);
            let begun: HashSet<i64> = begun.collect();
            sending.extend(written.into_iter().filter(|id| begun.contains(id)));
        }
        Ok(sending)
    }

    /// Ordered by turn: a mail that has to wait does not hold back the others.
    fn wait_again(&mut self, mail: Box<Ready>) {
        let place = self.waiting.partition_point(|other| other.wait_until <= mail.wait_until);
        self.waiting.insert(place, mail);
    }

    fn accept(&mut self, run: &mut Run<'_>, intake: Intake) {
        run.read(1);
        match intake {
            Intake::Mail(mail) => {
                self.tally.fallbacks += u64::from(mail.is_fallback);
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
    fn handle_report(&mut self, run: &mut Run<'_>, report: SenderReport) {
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
            MailEnd::Outcome(outcome) => self.note_outcome(run, &mail, standing, &outcome),
            MailEnd::NotTried(stop) => {
                self.changes.push(restored(mail.row.id, intake::word(&mail.row.status), standing));
                self.untried = Some(stop.clone());
                self.note_stop(stop);
            }
            MailEnd::Returned => self.take_back(mail, standing),
            // The next connection is closed before the server does it. Nothing else is wrong.
            MailEnd::SlowDown { share: Some(share), .. } => {
                self.senders.limit_mails_per_connection(share);
                self.take_back(mail, standing);
            }
            MailEnd::SlowDown { reply, .. } if self.is_at_fault_itself(mail.row.id) => {
                self.note_outcome(run, &mail, standing, &Outcome::Deferred { reply });
            }
            MailEnd::SlowDown { reply, wait, begun, share: None } => match self.slow_down(wait, begun) {
                // The server took all others, and this one not for all our patience.
                Reaction::GiveUp if wait.is_none() && self.tally.sent > 0 && self.is_rest_postponed() => {
                    self.note_outcome(run, &mail, standing, &Outcome::Deferred { reply });
                }
                reaction => {
                    match reaction {
                        Reaction::Fewer => self.senders.halve(),
                        Reaction::SameAgain => {}
                        Reaction::GiveUp => {
                            let reply = self.redactor.redact(&reply);
                            let reason = format!("the server takes no more mails for now: {reply}");
                            self.note_stop(Stop::Busy(reason));
                        }
                    }
                    self.take_back_behind_others(mail, standing);
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
    fn take_back_behind_others(&mut self, mut mail: Box<Ready>, standing: Standing) {
        mail.wait_until = Instant::now();
        self.take_back(mail, standing);
    }

    /// Whether others got through each time that this mail was told to slow down.
    fn is_at_fault_itself(&mut self, id: i64) -> bool {
        let sent = self.tally.sent;
        let postponed = self.postponed.entry(id).or_default();
        if sent > postponed.sent {
            postponed.times += 1;
            postponed.sent = sent;
        }
        postponed.times >= SLOW_DOWNS
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
        self.tempo.slow_down(begun, wait, Instant::now(), self.until)
    }

    /// A mail of which the server turned out to mean its refusal.
    fn note_meant(&mut self, run: &mut Run<'_>, refused: Refused) {
        self.tally.failed += 1;
        run.fail_item(&item_key(refused.id), "send", &anyhow::anyhow!(refused.reply.clone()));
        let reply = Some(refused.reply);
        self.changes.push(Change {
            attempts: 1,
            reply,
            is_try: true,
            ..Change::to(refused.id, ledger::FAILED)
        });
    }

    /// A refusal that may not be this mail's fault: it stays as it was until another mail is accepted.
    fn note_doubt(&mut self, mail: &Ready, standing: Standing, reply: &str) {
        let status = intake::word(&mail.row.status);
        if standing == Standing::Cleared {
            let restored = restored(mail.row.id, status, standing);
            self.changes.push(Change { keeps_claim: true, ..restored });
        }
        self.doubt.add(Refused { id: mail.row.id, status, reply: self.redactor.redact(reply) });
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
                return self.note_doubt(mail, standing, reply);
            }
            Outcome::Accepted { .. } => {
                self.tempo.taken(Instant::now());
                self.unanswered = 0;
                for meant in self.doubt.accepted() {
                    self.note_meant(run, meant);
                }
            }
            Outcome::Unknown { reply } => {
                self.unanswered += 1;
                if self.unanswered >= UNANSWERED {
                    let reply = self.redactor.redact(reply);
                    self.note_stop(Stop::Busy(format!(
                        "it is unknown of {UNANSWERED} mails in a row whether they arrived, of the last because: {reply}"
                    )));
                }
            }
            _ => {}
        }
        let mut change = self.policy.change(mail, outcome, self.clock);
        change.is_try = true;
        if standing == Standing::Assigned {
            // Refused before it was marked as SENDING.
            change.attempts += 1;
            change.message_id = mail.row.message_id.clone().filter(|_| mail.has_new_id);
        }
        // A server may quote what it was sent.
        change.reply = change.reply.map(|reply| self.redactor.redact(&reply));
        let reply = change.reply.clone().unwrap_or_default();
        let count = match change.status {
            ledger::SENT => {
                run.written(1);
                &mut self.tally.sent
            }
            ledger::RETRY => &mut self.tally.again,
            ledger::UNKNOWN => &mut self.tally.unknown,
            _ => &mut self.tally.failed,
        };
        *count += 1;
        // An address that does not exist is settled by its suppression: nobody has to look at it.
        let is_settled = matches!(outcome, Outcome::Rejected { because: Rejection::Address, .. })
            && self.reaches_recipients;
        if (change.status == ledger::FAILED && !is_settled) || change.is_held {
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

    /// After the breaker has tripped, the mails that bounced are not settled by their suppressions: `runs retry` sends them
    /// again.
    async fn list_bounced(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let mut position = 0;
        loop {
            let page = bounced_mails(&mut self.db, self.run, position, BOUNCES).await?;
            let Some((last, _)) = page.last() else { break };
            position = *last;
            for (id, reply) in page {
                run.fail_item(&item_key(id), "send", &anyhow::anyhow!(reply));
            }
            run.chunk(None::<&str>, async |_| Ok(())).await.or_else(unless_stopped)?;
        }
        Ok(())
    }

    /// One connection less is not a reason to stop while others work; having none is, and so is any problem that
    /// another connection would also have.
    fn note_stop(&mut self, stop: Stop) {
        let ends = !matches!(stop, Stop::Unreachable(_)) || self.senders.are_gone();
        if ends && self.stop.is_none() {
            self.stop = Some(stop);
        }
    }

    /// Finishes what was started and releases what was not.
    async fn end(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
        self.stop_claiming.send_replace(true);
        self.intake.close();
        while self.intake.try_recv().is_ok() {}
        let untried = self.waiting.drain(..).chain(self.returned.drain(..));
        let untaken = untried.filter(|mail| self.postponed.contains_key(&mail.row.id));
        self.untaken.extend(untaken.map(|mail| (mail.row.id, intake::word(&mail.row.status))));
        // First, because the claimer may be waiting for the memory that these mails hold.
        self.senders.close().await;
        let claimed = self.claimer.join_next().await;
        // Outcomes that arrived while the run was failing are recorded too.
        while let Some(report) = self.senders.try_next() {
            self.handle_report(run, report);
        }
        self.fail_unreadable().await?;
        let mut left = std::mem::take(&mut self.changes);
        // As they were, but behind what else is due: a mail that is at fault itself does not come first again.
        let untaken =
            self.untaken.drain(..).chain(self.doubt.left().iter().map(|mail| (mail.id, mail.status)));
        let due_at = Some(self.clock.started());
        left.extend(untaken.map(|(id, status)| Change { due_at, ..Change::to(id, status) }));
        for round in rounds(left) {
            ledger::write(&mut self.db, self.run, self.clock.now(), &round).await?;
        }
        if let Some(until) = self.closed_until.take() {
            ledger::close_server(&mut self.db, self.senders.server(), until).await?;
        }
        self.suppress_bounced().await?;
        if self.reaches_recipients {
            self.breaker.store(&mut self.db, self.run, self.clock.now()).await?;
        }
        ledger::release(&mut self.db, self.run).await?;
        if self.breaker.is_tripped() {
            self.list_bounced(run).await?;
        }
        claimed.transpose()?.transpose()?;
        Ok(())
    }
}

/// How long before its deadline a run starts no more mails: those in transit finish, and no mail is left with an
/// unknown outcome. The next run does the rest.
fn margin(deadline: Duration) -> Duration {
    (deadline / 10).clamp(MIN_MARGIN, MAX_MARGIN).min(deadline / 2)
}

/// A mail that did not leave, as it was before.
fn restored(id: i64, status: &'static str, standing: Standing) -> Change {
    let attempts = if standing == Standing::Cleared { -1 } else { 0 };
    Change { attempts, ..Change::to(id, status) }
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

/// The key of a mail in the list of errors.
fn item_key(id: i64) -> String {
    format!("{ITEM}{id}")
}

async fn until(turn: Option<Instant>) {
    if let Some(turn) = turn {
        tokio::time::sleep_until(turn.into()).await;
    }
}

/// A stop is reported at the end, once everything that was started is recorded.
fn unless_stopped(error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref::<Interruption>() {
        Some(Interruption::Stopped(_)) => Ok(()),
        _ => Err(error),
    }
}

/// The error of a run that could not continue, with its exit code and what to do.
fn stop_error(cx: &Context, stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Unreachable(reason) => Failure::try_later(format!("failed to reach the mail server: {reason}"))
            .hint("the mails stay queued; the next run will try again")
            .retry_once("once the mail server answers"),
        Stop::Busy(reason) => Failure::try_later(format!("failed to send mails: {reason}"))
            .hint("the mails that were not taken stay as they were; the next run will try again")
            .retry_once("once the mail server takes mails again"),
        Stop::Credentials(reason) => {
            let login = cx.mail_transport().map(|transport| transport.login().to_owned()).unwrap_or_default();
            Failure::failed(format!("failed to log in to the mail server: {reason}"))
                .hint(format!("correct {login}; the mails stay queued"))
                .retry_once("once the log-in is right")
        }
        Stop::Refused(reason) => Failure::failed(format!("failed to send mails: {reason}"))
            .hint("the mails stay queued; send them once this is fixed"),
        Stop::Configuration(reason) => Failure::configuration(reason),
    }
    .into()
}
