//! A database that no job can use: what is known of it is kept in a small file, because the database itself cannot
//! keep it. So people are told once for each outage and not once for each start, and the starts
//! that were lost are run when it is over.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::channels::{Message, PostError};
use crate::config::AlertChannel;
use crate::context::Context;
use crate::db::{Db, DbError, DbErrorKind, Place};
use crate::failure::one_line;
use crate::period::{local_day, shown_instant};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

use super::exit::ExitCode;
use super::failpoint;
use super::history;
use super::lease;
use super::process::ProcessIdentity;
use super::retries;
use super::shop::days_of_malls;
use super::stored_line;
use store::{Locked, MAX_FILE, Store};

/// The severity of an outage, which decides on the channels: no job can run.
const SEVERITY: Severity = Severity::Critical;
/// The most different commands that are remembered; a crontab has fewer.
const MAX_STARTS: usize = 1_000;
/// The most commands that a recovery lists.
const MAX_LISTED: usize = 20;
/// How long a channel may hold up a command.
const TELLING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one process may be busy telling the channels before another one takes over: it may have died.
const TELLING_CLAIM: TimeDelta = TimeDelta::minutes(3);

/// How long one process may be busy with the lost starts before another one takes over: it may have died.
const ENDING_CLAIM: TimeDelta = TimeDelta::minutes(3);
/// How long that may take: a SQLite file that others write to is waited for for half a minute, and a thousand rows take
/// seconds. Less than the claim, so that no two processes are at it.
const ENDING_TIMEOUT: Duration = Duration::from_secs(90);

/// An outage of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outage {
    /// The database.
    place: Place,
    /// Since when it is known.
    since: DateTime<Utc>,
    /// Why it could not be used, in one line.
    reason: String,
    /// Whether its address was given to the process, where other commands may get another one, and not written in a
    /// file, where it can be corrected.
    is_of_process: bool,
    /// The commands that could not run, in the order of their first start.
    starts: Vec<Start>,
    /// How many further commands are not remembered.
    #[serde(default)]
    forgotten: u64,
    /// Until when a process is busy with the lost starts.
    #[serde(default)]
    ending_until: Option<DateTime<Utc>>,
    /// Whether it is over, and only its end is still to be told.
    #[serde(default)]
    is_over: bool,
    /// What its end says.
    #[serde(default)]
    recovery: Vec<String>,
    /// What each channel has been told of its beginning, or of its end once it is over.
    told: BTreeMap<String, Told>,
    /// Until when a process is busy telling.
    #[serde(default)]
    telling_until: Option<DateTime<Utc>>,
}

fn place_of(cx: &Context) -> Place {
    Place::of(cx.config.database_url()).absolute()
}

/// What a channel has been told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Whether it has the whole message.
    is_complete: bool,
    /// The parts that it has.
    parts: BTreeSet<String>,
}

/// A command that could not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The job.
    pub(super) job: String,
    /// The command line that repeats it on any later day, secrets masked.
    pub(super) line: String,
    /// The same for each day that it may have been at a mall then, if that makes a difference.
    #[serde(default)]
    pub(super) line_of_day: BTreeMap<NaiveDate, String>,
    /// The malls that it named.
    #[serde(default)]
    pub(super) malls: Vec<String>,
    /// When it was started first.
    pub(super) at: DateTime<Utc>,
    /// When it was started last.
    pub(super) last_at: DateTime<Utc>,
    /// How often.
    #[serde(default)]
    pub(super) times: u64,
    /// Whether it is run when the outage is over.
    pub(super) is_caught_up: bool,
    /// Until when that is possible, if not forever.
    #[serde(default)]
    pub(super) last_chance: Option<LastChance>,
    /// Who makes up for it if it is not.
    #[serde(default)]
    pub(super) otherwise: MadeUpBy,
    /// The run that it was at when the database went away: its row speaks for the start.
    #[serde(default)]
    pub(super) run: Option<i64>,
    /// The command lines that it has left, once the database can be asked which days it meant.
    #[serde(default)]
    pub(super) lines: Vec<String>,
    /// Whether it has its rows, and their requests if it is caught up.
    #[serde(default)]
    pub(super) is_left: bool,
}

/// Who makes up for a start that is not run when the outage is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MadeUpBy {
    /// The job's next start, within the hour.
    #[default]
    NextStart,
    /// Whoever asked for the retry: the request stays open.
    Request,
    /// A person who is told of it.
    Person,
}

/// Until when a start can be made up for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LastChance {
    /// From then on its work can no longer be done.
    pub(super) until: DateTime<Utc>,
    /// The command line that does what is left of it, secrets masked.
    pub(super) line_afterwards: String,
}

/// What became of a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is the first one of the outage.
    First,
    /// The outage was known.
    Again,
    /// It could not be noted: nothing is caught up.
    Not,
}

/// Why the database cannot be used, if an error means that it cannot be used at all: not that its schema is old, or of
/// another environment.
pub(super) fn reason(error: &anyhow::Error) -> Option<String> {
    use DbErrorKind::{Configuration, Full, ReadOnly, Unreachable};
    let mut of_database = error.chain().filter_map(|cause| cause.downcast_ref::<DbError>());
    of_database
        .any(|error| matches!(error.kind(), Unreachable | Configuration | ReadOnly | Full))
        .then(|| one_line(error))
}

/// Notes a start that failed because the database could not be used, and tells the channels if they do not know yet.
pub(super) async fn note(cx: &Context, start: Start, reason: &str) -> Noted {
    let store = Store::of(cx, &place_of(cx));
    let noted = match note_in(cx, &store, start, reason).await {
        Ok(noted) => noted,
        Err(problem) => {
            cx.output.error(&format!("failed to note the outage: {}", one_line(&problem)), &[]);
            tell_without_a_note(cx, reason).await;
            return Noted::Not;
        }
    };
    if let Err(problem) = tell(cx, &store).await {
        cx.output.error(&format!("failed to tell of the outage: {}", one_line(&problem)), &[]);
    }
    noted
}

/// What becomes of a start that was noted, for people.
pub(super) fn next(cx: &Context, noted: Noted, start: &Start) -> Option<String> {
    let becomes = match &start.last_chance {
        _ if noted == Noted::Not => return None,
        Some(chance) if start.is_caught_up => {
            let until = shown_instant(chance.until, cx.time_zone());
            format!("it runs by itself when the database is back, if that is before {until}")
        }
        _ if start.is_caught_up => "it runs by itself when the database is back".to_owned(),
        _ if start.otherwise == MadeUpBy::Request => "its request stays open".to_owned(),
        _ if start.needs_nobody() => "its next start does what this one would have done".to_owned(),
        _ => "nothing makes up for it: type the command when the database is back".to_owned(),
    };
    let silence = match noted {
        Noted::First => "; without a terminal, further starts that need nobody print nothing",
        _ => "",
    };
    Some(format!("{becomes}{silence}"))
}

async fn note_in(cx: &Context, store: &Store, start: Start, reason: &str) -> anyhow::Result<Noted> {
    let locked = store.lock().await?;
    // One that nobody can read is left to whoever can; the end of an earlier outage that nobody could be told of is old
    // news by now.
    let known = locked.read().ok().flatten().filter(|outage| !outage.is_over);
    let noted = if known.is_none() { Noted::First } else { Noted::Again };
    let mut outage = known.unwrap_or_else(|| Outage::new(cx, reason));
    let is_remembered = outage.add(start);
    outage.tell_all(cx);
    locked.write(&outage)?;
    Ok(if is_remembered { noted } else { Noted::Not })
}

/// Tells the channels of an outage that could not be noted anywhere. Nobody can know what earlier starts have told, so each
/// one tells, once: too many messages on a night without a disk are better than none.
async fn tell_without_a_note(cx: &Context, reason: &str) {
    let mut outage = Outage::new(cx, reason);
    outage.tell_all(cx);
    let message = outage.message(cx);
    for (name, told) in &mut outage.told {
        if let Some(channel) = cx.config.channel(name) {
            tell_one(cx, channel, &message, &mut told.parts).await;
        }
    }
}

/// Ends the outages of this database that were noted: their lost starts are requested again, and the channels that were told
/// of them are told that they are over. The caller has a connection, so the database can be used. Returns whether the
/// connection still can.
pub(super) async fn end(cx: &Context, db: &mut Db) -> bool {
    let here = place_of(cx);
    let own = Store::of(cx, &here);
    let noted = Store::noted(cx);
    let is_noted = noted.contains(&own);
    for store in &noted {
        let is_ours = |outage: &Outage| {
            outage.place == here || (!is_noted && !store.is_known() && outage.is_corrected_by(cx))
        };
        match try_to_end(cx, db, store, is_ours).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                let problem = one_line(&error);
                cx.output.error(&format!("failed to end the noted outage of the database: {problem}"), &[]);
            }
        }
    }
    true
}

/// A job has completed: its database is known to be one, so that no other one is taken for its correction.
pub(super) fn know(cx: &Context) {
    if cx.config.is_database_of_process() {
        Store::of(cx, &place_of(cx)).know();
    }
}

/// Without the lock while the database works: it may be slow or busy, and other starts have outages to note or work to do.
async fn try_to_end(
    cx: &Context,
    db: &mut Db,
    store: &Store,
    is_ours: impl FnOnce(&Outage) -> bool,
) -> anyhow::Result<bool> {
    // Not within the `match`, which would keep the lock to its end.
    let ending = claim_ending(cx, &store.lock().await?, is_ours)?;
    let mut claimed = match ending {
        Ending::Ours(claimed) => claimed,
        Ending::Nobodys => return Ok(true),
        Ending::Done => return tell(cx, store).await.map(|()| true),
    };
    failpoint::reach(&cx.config, "outage-claimed");
    let leaving = tokio::time::timeout(ENDING_TIMEOUT, leave_starts(cx, db, &mut claimed)).await;
    failpoint::reach(&cx.config, "outage-left");
    let Ok(Ok(())) = leaving else {
        update(&store.lock().await?, &claimed, |outage| outage.ending_until = None)?;
        return match leaving {
            // It can be read and not written, or does not answer: this start will fail, and be noted.
            Ok(Err(error)) if reason(&error).is_some() => Ok(true),
            Ok(Err(error)) => Err(error),
            _ => Ok(false),
        };
    };
    update(&store.lock().await?, &claimed, |outage| outage.settle(cx, &claimed))?;
    tell(cx, store).await.map(|()| true)
}

/// Whose the end of an outage is.
enum Ending {
    Ours(Box<Outage>),
    /// There is no outage of this database, or another process is ending it.
    Nobodys,
    /// Its end is only to be told.
    Done,
}

fn claim_ending(
    cx: &Context,
    locked: &Locked<'_>,
    is_ours: impl FnOnce(&Outage) -> bool,
) -> anyhow::Result<Ending> {
    let Some(mut outage) = locked.read()? else { return Ok(Ending::Nobodys) };
    if outage.is_over {
        return Ok(Ending::Done);
    }
    if !is_ours(&outage) {
        return Ok(Ending::Nobodys);
    }
    let now = cx.machine_time();
    if is_claimed(outage.ending_until, now, ENDING_CLAIM) {
        return Ok(Ending::Nobodys);
    }
    outage.ending_until = Some(now + ENDING_CLAIM);
    locked.write(&outage)?;
    Ok(Ending::Ours(Box::new(outage)))
}

/// Changes the outage in the file, unless it has ended, or another one has begun, since it was `claimed`.
fn update(locked: &Locked<'_>, claimed: &Outage, change: impl FnOnce(&mut Outage)) -> anyhow::Result<()> {
    let Some(mut outage) = locked.read()?.filter(|outage| outage.is_the_same(claimed)) else {
        return Ok(());
    };
    change(&mut outage);
    locked.write(&outage)
}

/// Leaves a row of each lost start, and requests its retry if it is to be caught up. What was left already, by a process
/// that died before it could say so, is not left twice.
async fn leave_starts(cx: &Context, db: &mut Db, outage: &mut Outage) -> anyhow::Result<()> {
    let Outage { starts, reason, .. } = outage;
    for start in starts.iter_mut().filter(|start| !start.is_left) {
        start.lines = match start.meant_lines(db).await {
            // A mall that cannot be read keeps no start from being made up for.
            Err(error) if self::reason(&error).is_none() => vec![start.line.clone()],
            lines => lines?,
        };
    }
    db.transaction(async |db| {
        let server_time = db.server_time().await?;
        for start in starts.iter().filter(|start| !start.is_left) {
            for line in &start.lines {
                leave(cx, db, start, line, reason, server_time).await?;
            }
        }
        anyhow::Ok(())
    })
    .await
}

/// Leaves the row of a lost start, or of one of its days, and its request.
async fn leave(
    cx: &Context,
    db: &mut Db,
    start: &Start,
    line: &str,
    reason: &str,
    server_time: DateTime<Utc>,
) -> anyhow::Result<()> {
    let sql = "SELECT COUNT(*) FROM batch_execution
               WHERE job = $1 AND started_at = $2 AND command_line = $3 AND epoch = 0";
    let (left,): (i64,) = db.fetch_one(sql, values![&start.job, start.at, line]).await?;
    if left > 0 || (!start.is_made_up_for(cx.now()) && start.has_row(db).await?) {
        return Ok(());
    }
    let seal = stored_line::seal(&cx.config, &start.job, line);
    let request = lease::Request {
        job: &start.job,
        instance_key: "",
        title: None,
        exclusion_key: None,
        command_line: line,
        command_seal: seal.as_deref(),
        rerun: false,
        waited_for: None,
        retry_of: None,
        now: start.at,
        lease: Duration::ZERO,
        identity: &ProcessIdentity::own(),
        environment: cx.config.environment(),
        time_zone: cx.time_zone(),
    };
    let row = lease::new_execution(&request, server_time, 1, 0);
    let message = format!("the database could not be used: {reason}");
    let row = row.ended_at_once(history::Status::Failed, ExitCode::TryLater, message);
    let id = history::insert(db, &row, request.command_seal).await?;
    if start.is_made_up_for(cx.now()) {
        let now = cx.machine_time();
        retries::insert(db, id, retries::LOST, now, now, 1).await?;
    }
    Ok(())
}

impl Start {
    /// Whether nobody has to know of it.
    pub(super) fn needs_nobody(&self) -> bool {
        self.is_caught_up || self.otherwise == MadeUpBy::NextStart
    }

    /// Whether it is run when the outage is over, now.
    fn is_made_up_for(&self, now: DateTime<Utc>) -> bool {
        self.is_caught_up && self.last_chance.as_ref().is_none_or(|chance| now < chance.until)
    }

    /// The command lines of the days that the malls had when it was started.
    pub(super) async fn meant_lines(&self, db: &mut Db) -> anyhow::Result<Vec<String>> {
        if self.line_of_day.is_empty() {
            return Ok(vec![self.line.clone()]);
        }
        let mut lines: Vec<String> = Vec::new();
        // Starts with one line are of one business day, so that a mall's day changes once between them at most.
        for day in days_of_malls(db, &self.malls, [self.at, self.last_at]).await? {
            lines.extend(self.line_of_day.get(&day).cloned());
        }
        lines.dedup();
        Ok(if lines.is_empty() { vec![self.line.clone()] } else { lines })
    }

    /// What a person has to type, if nothing makes up for it.
    fn to_type(&self, cx: &Context) -> Vec<String> {
        match &self.last_chance {
            Some(chance) if self.is_caught_up && !self.is_made_up_for(cx.now()) => {
                let command = cx.full_command(&chance.line_afterwards);
                // A shell ignores the comment.
                vec![format!("{command}  # all that can still be done of it")]
            }
            _ if !self.is_caught_up && self.otherwise == MadeUpBy::Person => {
                self.lines.iter().map(|line| cx.full_command(line)).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn has_row(&self, db: &mut Db) -> anyhow::Result<bool> {
        let Some(run) = self.run else { return Ok(false) };
        Ok(history::find(db, run).await?.is_some_and(|run| run.job == self.job))
    }
}

/// Whether another process is at work until then. A claim that lasts longer than any was made by a clock that was ahead.
fn is_claimed(until: Option<DateTime<Utc>>, now: DateTime<Utc>, longest: TimeDelta) -> bool {
    until.is_some_and(|until| until >= now && until - now <= longest)
}

impl Outage {
    fn new(cx: &Context, reason: &str) -> Self {
        Self {
            place: place_of(cx),
            since: cx.machine_time(),
            reason: cx.config.redactor().redact(reason),
            is_of_process: cx.config.is_database_of_process(),
            starts: Vec::new(),
            forgotten: 0,
            ending_until: None,
            is_over: false,
            recovery: Vec::new(),
            told: BTreeMap::new(),
            telling_until: None,
        }
    }

    /// Returns whether it is remembered.
    fn add(&mut self, start: Start) -> bool {
        if let Some(known) = self.starts.iter_mut().find(|known| known.line == start.line) {
            known.times = known.times.saturating_add(1);
            known.last_at = start.last_at;
            known.line_of_day.extend(start.line_of_day);
            return true;
        }
        if self.starts.len() < MAX_STARTS {
            self.starts.push(Start { times: 1, ..start });
            if self.fits() {
                return true;
            }
            self.starts.pop();
        }
        self.forgotten += 1;
        false
    }

    /// Whether its file can be read again.
    fn fits(&self) -> bool {
        serde_json::to_vec_pretty(self).is_ok_and(|text| text.len() as u64 <= MAX_FILE)
    }

    /// The lost starts that were `claimed` have left their rows. It is over, unless others were lost meanwhile: those are
    /// for the next start that can use the database.
    fn settle(&mut self, cx: &Context, claimed: &Self) {
        self.ending_until = None;
        for start in &mut self.starts {
            if let Some(left) = claimed.starts.iter().find(|left| left.line == start.line) {
                start.lines.clone_from(&left.lines);
                start.is_left = true;
            }
        }
        if self.starts.iter().any(|start| !start.is_left) {
            return;
        }
        self.recovery = self.end_in_words(cx);
        self.is_over = true;
        self.starts.clear();
        // Whoever was not told of the outage need not be told of its end; somebody may just be telling them.
        let is_being_told = is_claimed(self.telling_until, cx.machine_time(), TELLING_CLAIM);
        self.told.retain(|_, told| told.is_complete || !told.parts.is_empty() || is_being_told);
        self.telling_until = None;
        self.told.values_mut().for_each(|told| *told = Told::default());
    }

    /// Tells all channels that are told of such a thing.
    fn tell_all(&mut self, cx: &Context) {
        for channel in cx.config.alert_channels(SEVERITY) {
            self.told.entry(channel.name.clone()).or_default();
        }
    }

    /// Whether all who are to be told have been.
    fn is_told(&self) -> bool {
        self.told.values().all(|told| told.is_complete)
    }

    /// Whether the address of this command may be the noted one, corrected. What was written in a file is corrected in a
    /// file; nobody has corrected it who gives another address to a process.
    fn is_corrected_by(&self, cx: &Context) -> bool {
        self.is_of_process || !cx.config.is_database_of_process()
    }

    /// Whether nothing has begun or ended between the two states.
    fn is_the_same(&self, other: &Self) -> bool {
        self.since == other.since && self.is_over == other.is_over
    }

    fn message(&self, cx: &Context) -> Message {
        let environment = cx.config.environment();
        let (kind, severity, title) = if self.is_over {
            ("recovery", Severity::Medium, format!("the database is back ({environment})"))
        } else {
            ("outage", SEVERITY, format!("the database cannot be used ({environment})"))
        };
        let lines = if self.is_over {
            self.recovery.clone()
        } else {
            vec![
                self.reason.clone(),
                format!("since {}; no job can run", shown_instant(self.since, cx.time_zone())),
                "Jobs for certain days run by themselves when it is back.".to_owned(),
                cx.full_command("db check"),
            ]
        };
        let id = format!("{kind}.{environment}.{}", self.since.timestamp_micros());
        Message { lines, mentions: !self.is_over, ..Message::new(id, cx.machine_time(), severity, &title) }
    }

    /// What nothing makes up for, as commands to type.
    fn what_to_type(&self, cx: &Context) -> Vec<String> {
        let lost: Vec<String> = self.starts.iter().flat_map(|start| start.to_type(cx)).collect();
        let Some(first) = self.starts.first().filter(|_| !lost.is_empty()) else { return Vec::new() };
        let mut lines = vec!["not made up for; type what is still wanted:".to_owned()];
        lines.extend(lost.iter().take(MAX_LISTED).cloned());
        if lost.len() > MAX_LISTED {
            let since = local_day(first.at, cx.time_zone());
            let look = cx.full_command(&format!("runs list --open --since {since}"));
            lines.push(format!("and {} more: {look}", lost.len() - MAX_LISTED));
        }
        lines
    }

    fn end_in_words(&self, cx: &Context) -> Vec<String> {
        let starts = self.starts.iter().fold(0_u64, |sum, start| sum.saturating_add(start.times));
        let since = shown_instant(self.since, cx.time_zone());
        let mut lines = vec![format!("{} could not be used since {since}", self.place)];
        if starts > 0 {
            lines.push(format!("{} failed", counted(starts, "start", "starts")));
        }
        let caught_up = self.starts.iter().filter(|start| start.is_made_up_for(cx.now()));
        let caught_up: BTreeSet<&str> = caught_up.map(|start| start.job.as_str()).collect();
        if !caught_up.is_empty() {
            let jobs = caught_up.into_iter().collect::<Vec<_>>().join(", ");
            lines.push(format!("`runs process-requests` does what was lost: {jobs}"));
        }
        lines.extend(self.what_to_type(cx));
        if self.forgotten > 0 {
            lines.push(format!("{} were not remembered", counted(self.forgotten, "start", "starts")));
        }
        lines
    }
}

/// Tells the channels what they do not know yet, one process at a time and without the lock: a slow channel holds up one
/// command and not all. Once all know of the end, the file is deleted.
async fn tell(cx: &Context, store: &Store) -> anyhow::Result<()> {
    let Some(claimed) = claim_telling(cx, &store.lock().await?)? else { return Ok(()) };
    let message = claimed.message(cx);
    let mut told = claimed.told.clone();
    for (name, told) in told.iter_mut().filter(|(_, told)| !told.is_complete) {
        let Some(channel) = cx.config.channel(name) else {
            told.is_complete = true;
            continue;
        };
        told.is_complete = tell_one(cx, channel, &message, &mut told.parts).await;
    }
    let locked = store.lock().await?;
    // It may have ended, or begun anew, meanwhile.
    let Some(mut outage) = locked.read()?.filter(|outage| outage.is_the_same(&claimed)) else {
        return Ok(());
    };
    outage.told.extend(told);
    outage.telling_until = None;
    if outage.is_over && outage.is_told() { locked.remove() } else { locked.write(&outage) }
}

/// The outage, if there is something to tell that no other process is telling.
fn claim_telling(cx: &Context, locked: &Locked<'_>) -> anyhow::Result<Option<Outage>> {
    let Some(mut outage) = locked.read().ok().flatten() else { return Ok(None) };
    if outage.is_told() {
        if outage.is_over {
            locked.remove()?;
        }
        return Ok(None);
    }
    let now = cx.machine_time();
    if is_claimed(outage.telling_until, now, TELLING_CLAIM) {
        return Ok(None);
    }
    outage.telling_until = Some(now + TELLING_CLAIM);
    locked.write(&outage)?;
    Ok(Some(outage))
}

/// Tells a channel; returns whether it has the whole message.
async fn tell_one(
    cx: &Context,
    channel: &AlertChannel,
    message: &Message,
    parts: &mut BTreeSet<String>,
) -> bool {
    let channels = cx.channels();
    let telling = channels.tell(channel, message, parts, async |_| Ok::<(), anyhow::Error>(()));
    let problem = match tokio::time::timeout(TELLING_TIMEOUT, telling).await {
        Ok(Ok(Ok(_))) => return true,
        Ok(Ok(Err(PostError { fault, .. }))) => fault.reason,
        Ok(Err(error)) => one_line(&error),
        Err(_) => "it does not answer".to_owned(),
    };
    let problem = cx.config.redactor().redact(&problem);
    cx.output.warn(&format!("failed to tell `{}`: {problem}; a later start tries again", channel.name));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_of_a_clock_that_was_ahead_does_not_hold() {
        let now = DateTime::UNIX_EPOCH;
        let holds = |minutes| is_claimed(Some(now + TimeDelta::minutes(minutes)), now, TimeDelta::minutes(3));
        assert_eq!([-1, 0, 3, 4].map(holds), [false, true, true, false]);
        assert!(!is_claimed(None, now, TimeDelta::minutes(3)));
    }
}
