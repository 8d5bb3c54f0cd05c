//! A database that no job can use: what is known of it is kept in a small file beside the configuration, because the
//! database itself cannot keep it. So people are told once for each outage and not once for each start, and the starts
//! that were lost are run when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::channels::{Message, PostError};
use crate::context::Context;
use crate::db::{Db, DbError, DbErrorKind};
use crate::failure::one_line;
use crate::files::{read_regular, write_privately};
use crate::period::{local_day, shown_instant};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

use super::exit::ExitCode;
use super::history;
use super::lease;
use super::process::ProcessIdentity;
use super::retries::RUNNER;

/// The severity of an outage, which decides on the channels: no job can run.
const SEVERITY: Severity = Severity::Critical;
/// The most different commands that are remembered; a crontab has fewer.
const MAX_STARTS: usize = 200;
/// The largest file that is read.
const MAX_FILE: u64 = 1_000_000;
/// How long a channel may hold up a command.
const TELLING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often another process that holds the file is asked again, every 50 ms.
const LOCK_ATTEMPTS: u32 = 40;

/// An outage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outage {
    /// Since when it is known.
    since: DateTime<Utc>,
    /// Why the database could not be used, in one line.
    reason: String,
    /// The commands that could not run, in the order of their first start.
    starts: Vec<Start>,
    /// What each channel has been told.
    told: BTreeMap<String, Told>,
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
    /// The command line that repeats it on the same day, secrets masked.
    pub(super) line: String,
    /// The one that repeats it on a later day.
    pub(super) line_later: String,
    /// When it was started first.
    pub(super) at: DateTime<Utc>,
    /// How often.
    #[serde(default)]
    pub(super) times: u64,
    /// Whether it is run when the outage is over.
    pub(super) is_caught_up: bool,
}

/// Notes a start that failed because the database could not be used, and tells the channels if they do not know yet.
/// Returns whether this start is the first of the outage.
pub(super) async fn note(cx: &Context, start: Start, error: &anyhow::Error) -> bool {
    match try_to_note(cx, start, error).await {
        Ok(is_first) => is_first,
        Err(problem) => {
            cx.output.warn(&format!("failed to note the outage: {}", one_line(&problem)));
            // Better one message too many.
            true
        }
    }
}

/// Whether an error means that the database cannot be used at all: not that its schema is old, or of another environment.
pub(super) fn is_outage(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<DbError>()).any(|error| {
        matches!(error.kind(), DbErrorKind::Unreachable | DbErrorKind::Configuration | DbErrorKind::Full)
    })
}

async fn try_to_note(cx: &Context, start: Start, error: &anyhow::Error) -> anyhow::Result<bool> {
    let path = path(cx);
    let _lock = lock(&path)?;
    let known = read(&path)?;
    let is_first = known.is_none();
    let mut outage = known.unwrap_or_else(|| Outage {
        since: cx.machine_time(),
        reason: cx.config.redactor().redact(&one_line(error)),
        starts: Vec::new(),
        told: BTreeMap::new(),
    });
    outage.add(start);
    write(&path, &outage)?;
    let message = outage.message(cx);
    tell(cx, &path, &mut outage, &message).await?;
    Ok(is_first)
}

/// Ends the outage that the file tells of, if there is one: its lost starts are requested again, and the channels that
/// were told of it are told that it is over. The caller has a connection, so the database can be used.
pub(super) async fn end(cx: &Context, db: &mut Db) {
    let path = path(cx);
    if !path.exists() {
        return;
    }
    if let Err(error) = try_to_end(cx, db, &path).await {
        cx.output.warn(&format!("failed to end the outage in `{}`: {}", path.display(), one_line(&error)));
    }
}

async fn try_to_end(cx: &Context, db: &mut Db, path: &Path) -> anyhow::Result<()> {
    let _lock = lock(path)?;
    // Another process may have ended it meanwhile.
    let Some(mut outage) = read(path)? else { return Ok(()) };
    request_starts(cx, db, &outage).await?;
    let message = outage.recovery(cx);
    // Whoever was not told of the outage need not be told of its end. Killed from here on, the starts are not requested
    // twice.
    outage.told.retain(|_, told| told.is_complete);
    outage.told.values_mut().for_each(|told| *told = Told::default());
    outage.starts.clear();
    write(path, &outage)?;
    tell_these(cx, &mut outage, &message, |_| Ok(())).await?;
    std::fs::remove_file(path).with_context(|| format!("failed to delete `{}`", path.display()))
}

/// Leaves a row of each lost start, and requests its retry if it is to be caught up.
async fn request_starts(cx: &Context, db: &mut Db, outage: &Outage) -> anyhow::Result<()> {
    let identity = ProcessIdentity::own();
    let today = cx.today();
    db.transaction(async |db| {
        let server_time = db.server_time().await?;
        for start in &outage.starts {
            let is_same_day = local_day(start.at, cx.time_zone()) == today;
            let request = lease::Request {
                job: &start.job,
                instance_key: "",
                exclusion_key: None,
                command_line: if is_same_day { &start.line } else { &start.line_later },
                rerun: false,
                retry_of: None,
                now: start.at,
                lease: Duration::ZERO,
                identity: &identity,
                environment: cx.config.environment(),
            };
            let mut row = lease::new_execution(&request, server_time, 1, 0);
            history::Status::Failed.word().clone_into(&mut row.status);
            row.ended_at = Some(row.started_at);
            row.duration_ms = Some(0);
            row.exit_code = Some(i64::from(ExitCode::TryLater.number()));
            row.error_class = Some(ExitCode::TryLater.class().to_owned());
            row.error_message = Some(format!("the database could not be used: {}", outage.reason));
            let id = history::insert(db, &row).await?;
            if start.is_caught_up {
                let sql = "INSERT INTO batch_retry_request
                               (execution_id, reason, requested_by, requested_at, status, due_at, attempt)
                           VALUES ($1, $2, $3, $4, 'PENDING', $4, 1)";
                let reason = "lost in an outage of the database";
                db.execute(sql, values![id, reason, RUNNER, cx.machine_time()]).await?;
            }
        }
        anyhow::Ok(())
    })
    .await
}

impl Outage {
    fn add(&mut self, start: Start) {
        if let Some(known) = self.starts.iter_mut().find(|known| known.line_later == start.line_later) {
            known.times += 1;
        } else if self.starts.len() < MAX_STARTS {
            self.starts.push(Start { times: 1, ..start });
        }
    }

    fn message(&self, cx: &Context) -> Message {
        let environment = cx.config.environment();
        let lines = vec![
            self.reason.clone(),
            format!("since {}; no job can run", shown_instant(self.since, cx.time_zone())),
            "Nothing was changed. Jobs for certain days run by themselves when the database is back."
                .to_owned(),
            format!("batchctl --env {environment} db check"),
        ];
        let title = format!("the database cannot be used ({environment})");
        Message { lines, mentions: true, ..self.of(cx, "outage", SEVERITY, &title) }
    }

    fn recovery(&self, cx: &Context) -> Message {
        let environment = cx.config.environment();
        let starts: u64 = self.starts.iter().map(|start| start.times).sum();
        let mut lines =
            vec![format!("it could not be used since {}", shown_instant(self.since, cx.time_zone()))];
        if starts > 0 {
            lines.push(format!("{} failed", counted(starts, "start", "starts")));
        }
        let caught_up: Vec<&str> =
            self.starts.iter().filter(|start| start.is_caught_up).map(|start| start.job.as_str()).collect();
        if !caught_up.is_empty() {
            lines.push(format!("`runs process-requests` now does what was lost: {}", caught_up.join(", ")));
        }
        let title = format!("the database is back ({environment})");
        Message { lines, ..self.of(cx, "recovery", Severity::Medium, &title) }
    }

    fn of(&self, cx: &Context, kind: &str, severity: Severity, title: &str) -> Message {
        let id = format!("{kind}.{}.{}", cx.config.environment(), self.since.timestamp_micros());
        Message::new(id, cx.machine_time(), severity, title)
    }
}

/// Tells the channels that do not know yet; what each has is stored at once, so that the next start tells only the rest.
async fn tell(cx: &Context, path: &Path, outage: &mut Outage, message: &Message) -> anyhow::Result<()> {
    for channel in cx.config.alert_channels(SEVERITY) {
        outage.told.entry(channel.name.clone()).or_default();
    }
    tell_these(cx, outage, message, |outage| write(path, outage)).await
}

/// Tells the channels in `told` that do not have the message.
async fn tell_these(
    cx: &Context,
    outage: &mut Outage,
    message: &Message,
    store: impl Fn(&Outage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let names: Vec<String> = outage.told.keys().cloned().collect();
    for name in names {
        let mut told = outage.told.get(&name).cloned().unwrap_or_default();
        let Some(channel) = cx.config.channel(&name).filter(|_| !told.is_complete) else { continue };
        let mut parts = std::mem::take(&mut told.parts);
        let channels = cx.channels();
        let telling = channels.tell(channel, message, &mut parts, async |_| Ok::<(), anyhow::Error>(()));
        told.is_complete = match tokio::time::timeout(TELLING_TIMEOUT, telling).await {
            Ok(told) => match told? {
                Ok(_) => true,
                Err(PostError { fault, .. }) => {
                    let reason = cx.config.redactor().redact(&fault.reason);
                    cx.output.warn(&format!("failed to tell `{name}`: {reason}"));
                    false
                }
            },
            Err(_) => false,
        };
        told.parts = parts;
        outage.told.insert(name, told);
        store(outage)?;
    }
    Ok(())
}

/// Where an outage is noted: beside the configuration, one file for each environment.
fn path(cx: &Context) -> PathBuf {
    cx.config.folder().join(format!(".batchctl-{}.outage.json", cx.config.environment()))
}

/// Keeps other processes from the file until it is dropped. The folder is locked, so that no file is left behind.
fn lock(path: &Path) -> anyhow::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = File::open(folder).with_context(|| format!("failed to open `{}`", folder.display()))?;
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to lock `{}`", folder.display()));
            }
        }
    }
    anyhow::bail!("another process keeps `{}` locked", folder.display())
}

/// The outage in the file; none if there is no file, or one that nobody can read.
fn read(path: &Path) -> anyhow::Result<Option<Outage>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let bytes =
        read_regular(path, MAX_FILE).with_context(|| format!("failed to read `{}`", path.display()))?;
    Ok(serde_json::from_slice(&bytes).ok())
}

fn write(path: &Path, outage: &Outage) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(outage)?;
    write_privately(path, |file| Ok(file.write_all(text.as_bytes())?))
}
