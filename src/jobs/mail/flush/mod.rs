//! `mail flush`: sends the queued mails that are due.
//!
//! Runs every five minutes, in any number of processes: rows are claimed one by one. A claimer supplies mails, senders
//! hand them to the server over one connection each, and the run records their progress: that a mail is about to be
//! sent, before the server can have it, and its outcome, before the same connection starts another one.
//!
//! In the order of a mail's way: `claims` finds it, `intake` supplies it with its turn in the rates (`pace`), `preparing`
//! makes a message of its `contents`, `sending` gives it to one of the `senders` as fast as the server takes them
//! (`throttle`), `outcomes` says what the answer means by the `policy`, and `writing` writes the `changes`.

mod breaker;
mod changes;
mod claims;
mod contents;
mod doubt;
mod intake;
mod outcomes;
mod pace;
mod policy;
mod preparing;
mod recovery;
mod senders;
mod sending;
mod suppressions;
mod tally;
#[cfg(test)]
mod tests;
mod throttle;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::MailConfig;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::mail::delivery::Stop;
use crate::mail::outgoing::Gate;
use crate::mail::template::Templates;
use crate::mask::Redactor;
use crate::period::shown_instant;
use crate::runner::{
    Exclusion, Interruption, Items, Job, JobSpec, Planned, Run, history, minutes, open_connection,
};
use crate::severity::Severity;
use crate::wording::counted;

use self::breaker::Breaker;
use self::changes::Change;
use self::claims::{
    Only, Unreadable, count_due, is_any_due, oversized, unknown_ids, untaken, why_none_is_due,
};
use self::doubt::Doubt;
use self::intake::{Intake, Ready, RunClock};
use self::pace::wake_stranded;
use self::policy::{Policy, PutOff};
use self::recovery::{Recovered, recover, requeue_failed};
use self::senders::Senders;
use self::suppressions::Bounce;
use self::tally::MailTally;
use self::throttle::Throttle;

/// Parallel connections by default: what a mail server accepts from one client without complaint.
const CONNECTIONS: usize = 8;
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
        self.refuse_unknown_ids(run.db).await?;
        let clock = RunClock::starting_at(run.cx.now());
        reclaim_mails_of_dead_runs(run, &policy, clock).await?;
        requeue_retried_mails(run, clock).await?;
        skip_oversized(run, &self.only(), clock).await?;
        run.chunk(None::<&str>, async |db| wake_stranded(db, clock.now()).await).await?;
        if !is_any_due(run.db, &self.only(), clock.now()).await? {
            let why = why_none_is_due(run.db, &self.only()).await?;
            run.summarise(
                why.map_or_else(|| "nothing to send".to_owned(), |why| format!("nothing to send: {why}")),
            );
            untaken_mails(run).await?.into_iter().for_each(|sentence| run.summarise(sentence));
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
        if flush.tally.all() > 0 {
            run.leaves(format!("{tally}; the rest are unchanged"));
        }
        let untaken = if ended.is_ok() { untaken_mails(run).await? } else { None };
        if let Some(sentence) = &untaken {
            run.summarise(sentence.clone());
        }
        sent.map_err(|error| told_with(error, untaken))?;
        ended?;
        run.check_stop().context(tally.clone())?;
        if flush.is_late() && !flush.is_rated {
            let left = count_due(run.db, &self.only(), clock.now()).await?;
            if left > 0 {
                let left = counted(left, "more is due", "more are due");
                let why = format!("{tally}, {left}; none is begun shortly before the deadline");
                return Err(anyhow::Error::from(Interruption::TimedOut).context(why));
            }
        }
        Ok(())
    }
}

/// Names the mails whose texts are too large to be touched, once.
async fn skip_oversized(run: &mut Run<'_>, only: &Only, clock: RunClock) -> anyhow::Result<()> {
    let found = oversized(run.db, only, clock.now()).await?;
    let items: Vec<(String, String)> =
        found.into_iter().map(|Unreadable { id, problem }| (item_key(id), problem)).collect();
    run.read(items.len() as u64);
    run.skip_items_once(&items, "size", "BAD_INPUT").await
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

    /// A mistyped number must not look like a success.
    async fn refuse_unknown_ids(&self, db: &mut Db) -> anyhow::Result<()> {
        let unknown = unknown_ids(db, &self.id).await?;
        let Some(first) = unknown.first() else { return Ok(()) };
        Err(Failure::failed(format!("there is no mail {first}; nothing was sent"))
            .hint("`batchctl mail list` lists the mails")
            .into())
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
    let Recovered { unknown, failed } =
        run.chunk(None::<&str>, async |db| recover(db, now, rule).await).await?;
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
    run.chunk(None::<&str>, async |db| requeue_failed(db, &ids, now).await).await?;
    Ok(())
}

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
    throttle: Throttle,
    /// Mails of which the server said to slow down.
    postponed: HashMap<i64, Postponed>,
    /// Until when the server takes no mails, to be kept for other runs.
    closed_until: Option<DateTime<Utc>>,
    /// When no more mails are begun.
    until: Instant,
    /// Whether a configured rate decides how much a run does.
    is_rated: bool,
    /// Mails that the server told to wait until the end of this run.
    put_off: Vec<PutOff>,
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

/// How often a mail was told to slow down although others had been sent since the time before.
#[derive(Debug, Default)]
struct Postponed {
    times: u32,
    /// How many others had been sent at the first time; `None` until then.
    sent_before: Option<u64>,
    /// How many others had been sent at the last time.
    sent: u64,
    /// The server's last reply.
    reply: String,
}

/// How many mails wait because the server did not take them. Nobody would see them otherwise, since that costs nothing.
async fn untaken_mails(run: &mut Run<'_>) -> anyhow::Result<Option<String>> {
    let Some((count, since)) = untaken(run.db).await? else { return Ok(None) };
    let since = shown_instant(since, run.cx.time_zone());
    let mails = counted(count, "mail waits", "mails wait");
    Ok(Some(format!("{mails} that the server has not taken, the first since {since}")))
}

/// The failure of a run with a further sentence, for readers who see no summary.
fn told_with(error: anyhow::Error, sentence: Option<String>) -> anyhow::Error {
    match (error.downcast::<Failure>(), sentence) {
        (Ok(mut failure), Some(sentence)) => {
            let hint = failure.hint.take().map(|hint| format!("{hint}; ")).unwrap_or_default();
            failure.hint(format!("{hint}{sentence}")).into()
        }
        (Ok(failure), None) => failure.into(),
        (Err(error), _) => error,
    }
}

/// The key of a mail in the list of errors.
fn item_key(id: i64) -> String {
    format!("{ITEM}{id}")
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
        Stop::Unreachable(reason) | Stop::TurnedAway(reason) => {
            Failure::try_later(format!("failed to reach the mail server: {reason}"))
                .hint("the mails stay queued; the next run will try again")
                .retry_once("once the mail server answers")
        }
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
            .hint(
                "the mails stay queued; ask whoever runs the mail server what it objects to in this sender, its domain or its \
                 address on the network",
            )
            .retry_once("once the mail server takes mails from this sender"),
        Stop::Configuration(reason) => Failure::configuration(reason),
    }
    .into()
}
