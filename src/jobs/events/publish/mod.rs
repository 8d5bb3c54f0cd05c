//! `events publish`: delivers the events of the outbox, in the order of each aggregate.
//!
//! Runs every minute, in any number of processes: the events of an aggregate are always in one hand. A chunk is claimed
//! (`claims`), made ready (`envelope`), offered to the sink (`sink`), and what became of it is written in one commit. A
//! process that dies between the last two leaves events that are sent twice, with the same id.

mod avro;
pub(in crate::jobs) mod checking;
mod claims;
mod envelope;
mod sink;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::backoff::{Backoff, Jitter};
use crate::config::EventsConfig;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::shown_instant;
use crate::runner::{
    Exclusion, Interruption, Items, Job, JobSpec, Planned, Run, failpoint, history, minutes,
};
use crate::severity::Severity;
use crate::wording::counted;

use self::claims::{Claim, Fate, Page};
use self::envelope::Ready;
use self::sink::{Done, Sink};
use super::replay::replay_dead;

/// The longest pause between two attempts, unless the first is longer.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);
/// Up to this many refused events in a run without one that is taken are believed to be at fault themselves.
const BELIEVED_REFUSALS: u64 = 3;
/// When events are offered again of which nothing says whether they are at fault.
const DOUBT_PAUSE: TimeDelta = TimeDelta::minutes(5);
/// The prefix of an event's number in the list of errors.
pub(super) const ITEM: &str = "event ";

/// Arguments of `events publish`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Publish at most this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Register the schemas that the registry does not have: for development and CI
    #[arg(long)]
    register: bool,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "events publish",
        summary: "Publish the events of the outbox, in the order of each aggregate",
        details: "Any number of processes may run at the same time: the events of an aggregate are always in one hand.",
        page: Some("docs/events.md"),
        schedule: Some("* * * * *"),
        deadline: minutes(60),
        severity: Severity::High,
        exclusion: Exclusion::Shared,
        items: Items::finished_when_written("event", "events", "published"),
    };

    type Unit = ();

    async fn plan(&self, cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        // A missing setting is reported at once, and not only when an event waits.
        Sink::check(cx, self.register)?;
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        replay_retried_events(run).await?;
        let Some(until) = claims::last_waiting(run.db).await? else {
            run.summarise("nothing to publish".to_owned());
            return Ok(());
        };
        let Some(sink) = Sink::of(run.cx, self.register)? else {
            return Err(without_sink(run.db).await?.into());
        };
        let others = claims::count_earlier_runs(run.db, run.id()).await?;
        if others >= run.cx.config.events().processes() {
            run.leave_failures_open();
            run.summarise(format!("left to {}", counted(others, "other run", "other runs")));
            return Ok(());
        }
        run.db.plan_by_index().await?;
        if claims::is_any_abandoned(run.db).await? {
            run.chunk(None::<&str>, async |db| claims::reclaim(db).await).await?;
        }
        let policy = Policy::new(run.cx.config.events());
        let mut publishing = Publishing {
            sink,
            policy,
            until,
            left: self.limit.map(i64::from),
            named: BTreeSet::new(),
            has_advised: false,
            partial: None,
            last_refusal: None,
            tally: Tally::default(),
        };
        let mut published = publishing.publish_all(run).await;
        if let Some(partial) = publishing.partial.take().filter(|_| published.is_ok()) {
            published = Err(partial.into());
        }
        if let Some(doubt) = publishing.doubt().filter(|_| published.is_ok()) {
            published = Err(doubt.into());
        }
        let tally = publishing.tally.sentence();
        let backlog = if published.is_ok() { publishing.backlog(run).await? } else { None };
        run.summarise(backlog.map_or_else(|| tally.clone(), |backlog| format!("{tally}; {backlog}")));
        if publishing.tally.is_any() {
            run.leaves(format!("{tally}; the rest are unchanged"));
        }
        published
    }
}

/// `runs retry`: events that were given up in that run wait again.
async fn replay_retried_events(run: &mut Run<'_>) -> anyhow::Result<()> {
    let Some(retried) = run.retried() else { return Ok(()) };
    let items = history::open_items(run.db, retried).await?;
    let ids: Vec<i64> = items.iter().filter_map(|item| item.strip_prefix(ITEM)?.parse().ok()).collect();
    run.chunk(None::<&str>, async |db| replay_dead(db, &ids).await).await?;
    Ok(())
}

async fn without_sink(db: &mut Db) -> anyhow::Result<Failure> {
    let waiting = claims::count_waiting(db).await?;
    let waiting = counted(waiting, "event waits", "events wait");
    Ok(Failure::configuration(format!("{waiting}, and `events.sink` does not say where they go"))
        .hint("add [events] with a `sink` to batchctl.toml: docs/events.md shows all of them"))
}

/// How often, and when, an event is offered.
struct Policy {
    attempts: i64,
    backoff: Backoff,
}

impl Policy {
    fn new(config: &EventsConfig) -> Self {
        let first = config.backoff();
        let longest = LONGEST_BACKOFF.max(first);
        Self {
            attempts: config.attempts(),
            // Events are offered one by one: there is no crowd to spread.
            backoff: Backoff { jitter: Jitter::None, ..Backoff::doubling(first, longest) },
        }
    }

    /// The longest pause that an event makes.
    fn longest(&self) -> Duration {
        self.backoff.longest.max(DOUBT_PAUSE.to_std().unwrap_or_default())
    }

    /// When an event was refused for the first time that is refused for the last time now. Twice as long ago, since runs come
    /// later than a pause ends.
    fn first_attempt(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let pauses =
            (1..u32::try_from(self.attempts).unwrap_or(u32::MAX)).map(|attempt| self.backoff.pause(attempt));
        let all = TimeDelta::from_std(pauses.sum::<Duration>().saturating_mul(2)).ok();
        all.and_then(|all| now.checked_sub_signed(all)).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// An event that was refused, and is at fault itself.
    fn refused(&self, event: &Ready, reason: String, now: DateTime<Utc>) -> Fate {
        let attempts = event.attempts.saturating_add(1);
        if attempts >= self.attempts {
            return Fate::Dead { is_attempt: true, reason };
        }
        let pause = self.backoff.pause(u32::try_from(attempts).unwrap_or(u32::MAX));
        let at = TimeDelta::from_std(pause).ok().and_then(|pause| now.checked_add_signed(pause));
        Fate::Again { at: at.unwrap_or(now), is_attempt: true, reason }
    }
}

/// What became of a run's events.
#[derive(Debug, Default)]
struct Tally {
    published: u64,
    again: u64,
    dead: u64,
    /// How often one was refused, whatever became of it.
    refused: u64,
    /// Those that were refused while nothing was taken, or whose part of the sink takes none: they cost no attempt.
    doubtful: u64,
}

impl Tally {
    fn is_any(&self) -> bool {
        self.published + self.again + self.dead + self.doubtful > 0
    }

    /// "published 12 events, 1 refused and offered again, 2 given up"
    fn sentence(&self) -> String {
        let mut sentence = format!("published {}", counted(self.published, "event", "events"));
        for (count, what) in
            [(self.again, "refused and offered again"), (self.dead, "given up"), (self.doubtful, "not taken")]
        {
            if count > 0 {
                sentence.push_str(&format!(", {count} {what}"));
            }
        }
        sentence
    }
}

/// A run that publishes.
struct Publishing {
    sink: Sink,
    policy: Policy,
    /// The last event that waited when it began: it would never end if it went on as others write, and the next run is near.
    until: i64,
    /// How many more may be published; `None` for any number.
    left: Option<i64>,
    /// Those that are too large to be touched, and were named.
    named: BTreeSet<i64>,
    /// Whether what to do about an event that was given up has been said.
    has_advised: bool,
    /// What is wrong with a part of the sink, told once the others are done.
    partial: Option<Failure>,
    /// Why the sink refused the last one of which nothing says that it is at fault.
    last_refusal: Option<String>,
    tally: Tally,
}

impl Publishing {
    /// Goes through the table until it finds nothing more to publish: what was held up before may be free by then.
    async fn publish_all(&mut self, run: &mut Run<'_>) -> anyhow::Result<()> {
        loop {
            let mut position = Some(claims::BEGINNING);
            let mut claimed = 0;
            while let Some(after) = position {
                let chunk = self.sink.chunk();
                let most = self.left.unwrap_or(chunk).min(chunk);
                if most == 0 {
                    return Ok(());
                }
                let claim = self.claim(run, Page { after, until: self.until, most }).await?;
                position = claim.position;
                claimed += claim.events.len();
                self.publish(run, claim).await?;
            }
            if claimed == 0 || !claims::is_any_waiting(run.db, self.until).await? {
                return Ok(());
            }
        }
    }

    /// What waits still, if nothing was published; and whether that leaves earlier failures open. What the sink did not take
    /// pauses for minutes, and a run in between finds nothing to offer: it has not proven that the sink takes anything.
    async fn backlog(&self, run: &mut Run<'_>) -> anyhow::Result<Option<String>> {
        if self.tally.published > 0 {
            if claims::is_any_in_doubt(run.db).await? {
                run.leave_failures_open();
            }
            return Ok(None);
        }
        let backlog = claims::backlog(run.db, run.cx.now()).await?;
        if backlog.waiting == 0 {
            return Ok(None);
        }
        run.leave_failures_open();
        let waiting = counted(backlog.waiting, "event waits", "events wait");
        Ok(Some(match backlog.next_at() {
            Some(at) => {
                let first = if backlog.waiting == 1 { "" } else { "the first " };
                format!("{waiting}, {first}until {}", shown_instant(at, run.cx.time_zone()))
            }
            None => waiting,
        }))
    }

    async fn claim(&mut self, run: &mut Run<'_>, page: Page) -> anyhow::Result<Claim> {
        let (id, now, longest) = (run.id(), run.cx.now(), self.policy.longest());
        let claim =
            run.chunk(None::<&str>, async |db| claims::claim(db, id, page, now, longest).await).await?;
        failpoint::reach(&run.cx.config, "events-claimed");
        let found = claim.untouchable.iter().filter(|(id, _)| self.named.insert(*id));
        let untouchable: Vec<(String, String)> = found
            .map(|(id, bytes)| (item_key(*id), format!("payload: {bytes} bytes: too large to process")))
            .collect();
        run.skip_items_once(&untouchable, "size", "BAD_INPUT").await?;
        Ok(claim)
    }

    /// Offers what was claimed, and settles all of it.
    async fn publish(&mut self, run: &mut Run<'_>, claim: Claim) -> anyhow::Result<()> {
        if claim.events.is_empty() {
            return Ok(());
        }
        run.read(claim.events.len() as u64);
        let mut fates: Vec<(i64, Fate)> = Vec::with_capacity(claim.events.len());
        let mut ready = Vec::with_capacity(claim.events.len());
        let mut types: HashMap<i64, String> = HashMap::with_capacity(claim.events.len());
        for event in claim.events {
            let id = event.id;
            types.extend(event.event_type.as_ref().map(|event_type| (id, event_type.shown().to_owned())));
            match event.ready() {
                Ok(event) => ready.push(event),
                // Nothing is gained by trying again: it will not become readable by itself.
                Err(reason) => fates.push((id, Fate::Dead { is_attempt: false, reason })),
            }
        }
        let is_to_stop = || run.check_stop().is_err();
        let delivery = self.sink.deliver(ready, self.tally.published > 0, &is_to_stop).await;
        failpoint::reach(&run.cx.config, "events-sent");
        let now = run.cx.now();
        self.partial = self.partial.take().or(delivery.partial);
        let is_proven = self.is_proven(run.db, &delivery.done, now).await?;
        let (doubt, dead) = self.judge(delivery.done, is_proven, &mut fates, now);
        self.bury(dead, &mut fates, now).await;
        for (id, fate) in &fates {
            if let Fate::Dead { reason, .. } = fate {
                let event_type =
                    types.get(id).map(|event_type| format!(" ({event_type})")).unwrap_or_default();
                let mut failure = Failure::bad_input(format!("given up{event_type}: {reason}"));
                // One advice for all of them, with a number to begin with.
                if !std::mem::replace(&mut self.has_advised, true) {
                    failure = failure.hint(format!(
                        "`batchctl events show {id}` shows it; once its cause is gone: `batchctl events replay {id}`"
                    ));
                }
                run.fail_item(&item_key(*id), "publish", &failure.into());
            }
        }
        let (is_settled, settled) = settle(run, now, &fates).await;
        if is_settled {
            for (_, fate) in &fates {
                self.note(fate);
            }
        }
        settled?;
        match delivery.stop.or(doubt) {
            Some(stop) => Err(stop.into()),
            None => Ok(()),
        }
    }

    /// Whether the sink has taken an event since those that are refused now were refused for the first time. If not, it may be
    /// the sink that is at fault, however often it refuses them.
    async fn is_proven(
        &self,
        db: &mut Db,
        done: &[(Ready, Done)],
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        if self.tally.published > 0 || done.iter().any(|(_, done)| *done == Done::Taken) {
            return Ok(true);
        }
        let is_last = |(event, done): &(Ready, Done)| {
            matches!(done, Done::Refused(_)) && event.attempts.saturating_add(1) >= self.policy.attempts
        };
        Ok(done.iter().any(is_last)
            && claims::is_any_published_since(db, self.policy.first_attempt(now)).await?)
    }

    /// What the sink's answers mean for each event. If it has taken none in this run and refuses more than a few, or one for the
    /// last time without a proof that it takes any, nothing says that the events are at fault: they are offered again later,
    /// behind the others.
    fn judge(
        &mut self,
        done: Vec<(Ready, Done)>,
        is_proven: bool,
        fates: &mut Vec<(i64, Fate)>,
        now: DateTime<Utc>,
    ) -> (Option<Failure>, Vec<Ready>) {
        let count = |is_one: fn(&Done) -> bool| done.iter().filter(|(_, done)| is_one(done)).count() as u64;
        let refusals = count(|done| matches!(done, Done::Refused(_)));
        let has_taken = self.tally.published > 0 || count(|done| *done == Done::Taken) > 0;
        let are_at_fault = has_taken || self.tally.refused + refusals <= BELIEVED_REFUSALS;
        self.tally.refused += refusals;
        let mut dead = Vec::new();
        for (event, done) in done {
            let fate = match done {
                Done::Taken => Fate::Published,
                Done::Untouched => Fate::Untouched,
                Done::Unsendable(reason) => self.policy.refused(&event, reason, now),
                Done::Refused(reason) => match self.policy.refused(&event, reason, now) {
                    fate @ Fate::Again { .. } if are_at_fault => fate,
                    fate @ Fate::Dead { .. } if is_proven => fate,
                    Fate::Again { reason, .. } | Fate::Dead { reason, .. } => {
                        self.last_refusal = Some(reason.clone());
                        in_doubt(reason, now)
                    }
                    fate => fate,
                },
                Done::Held(reason) => in_doubt(reason, now),
            };
            fates.push((event.id, fate.clone()));
            if matches!(fate, Fate::Dead { .. }) {
                dead.push(event);
            }
        }
        (if are_at_fault { None } else { self.doubt() }, dead)
    }

    /// A sink that has taken nothing, and refused something that is not believed to be at fault. A refusal that is believed costs
    /// an attempt, and is no failure of the run until it is the last.
    fn doubt(&self) -> Option<Failure> {
        let reason = self.last_refusal.as_ref().filter(|_| self.tally.published == 0)?;
        let refused = counted(self.tally.refused, "event", "events");
        Some(
            Failure::try_later(format!("the sink accepted none of {refused}; last reason: {reason}"))
                .hint("the events stay in the outbox and are offered again in a few minutes; if this goes on, check the sink's address, or the schema that they do not fit")
                .retry_once("once the sink accepts events"),
        )
    }

    /// Hands over what is given up. What cannot be handed over for now is not given up yet.
    async fn bury(&mut self, dead: Vec<Ready>, fates: &mut [(i64, Fate)], now: DateTime<Utc>) {
        for event in dead {
            let Some((_, fate)) = fates.iter_mut().find(|(id, _)| *id == event.id) else { continue };
            let Fate::Dead { reason, .. } = &*fate else { continue };
            if let Err(failure) = self.sink.bury(&event, event.attempts.saturating_add(1), reason).await {
                *fate = in_doubt(format!("{reason}; {failure}"), now);
                self.partial.get_or_insert(failure);
            }
        }
    }

    fn note(&mut self, fate: &Fate) {
        match fate {
            Fate::Published => {
                self.tally.published += 1;
                self.left = self.left.map(|left| left - 1);
            }
            Fate::Again { is_attempt: true, .. } => self.tally.again += 1,
            Fate::Again { is_attempt: false, .. } => self.tally.doubtful += 1,
            Fate::Dead { .. } => self.tally.dead += 1,
            Fate::Untouched => {}
        }
    }
}

/// An event of which nothing says that it is at fault: it is offered again later, behind others.
fn in_doubt(reason: String, now: DateTime<Utc>) -> Fate {
    let at = now.checked_add_signed(DOUBT_PAUSE).unwrap_or(now);
    Fate::Again { at, is_attempt: false, reason }
}

/// Writes what became of events, and returns whether it is written. They have left: a run that is to stop notes that too, and
/// stops then.
async fn settle(run: &mut Run<'_>, now: DateTime<Utc>, fates: &[(i64, Fate)]) -> (bool, anyhow::Result<()>) {
    let id = run.id();
    let published = fates.iter().filter(|(_, fate)| *fate == Fate::Published).count() as u64;
    let mut is_begun = false;
    let settled = run
        .chunk_writing(None::<&str>, async |db| {
            is_begun = true;
            claims::settle(db, id, now, fates).await?;
            Ok(((), published))
        })
        .await;
    match settled {
        Ok(()) => (true, Ok(())),
        Err(error) if !matches!(error.downcast_ref(), Some(Interruption::Stopped(_))) => (false, Err(error)),
        // The stop was heard after the commit.
        Err(stopped) if is_begun => (true, Err(stopped)),
        Err(stopped) => {
            let settled =
                run.db.transaction(async |db| claims::settle_if_running(db, id, now, fates).await).await;
            match settled {
                Ok(()) => {
                    run.written(published);
                    (true, Err(stopped))
                }
                Err(error) => (false, Err(error)),
            }
        }
    }
}

/// The key of an event in the list of errors.
fn item_key(id: i64) -> String {
    format!("{ITEM}{id}")
}
