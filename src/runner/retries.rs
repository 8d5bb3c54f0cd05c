//! Retries that the runner requests itself: a run that failed for a transient cause leaves a request that falls due
//! after a pause, and `runs process-requests` runs it. A failure is final only after the last of them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::backoff::{Backoff, Jitter};
use crate::config::MAX_RETRY_PAUSE;
use crate::context::Context;
use crate::crontab;
use crate::db::{Db, DbError};
use crate::period::shown_instant;
use crate::values;

use super::exit::ExitCode;
use super::history::Execution;
use super::job::JobSpec;

/// Retries of a run, unless the configuration says otherwise.
const RETRIES: u32 = 3;
/// The pause before the first retry; the next ones are twice as long each. With three of them a run outlives an outside
/// system that is down for an hour.
const PAUSE: Duration = Duration::from_mins(10);
/// So that the malls that failed together do not all come back together.
const JITTER_PERCENT: u32 = 10;
/// A job that comes round this soon is its own retry.
const SOON: TimeDelta = TimeDelta::hours(1);
/// The reason of a request for a start that never ran: carried out, it is the first attempt and not the first retry.
pub(super) const LOST: &str = "lost in an outage of the database";
/// Who requested it.
pub const RUNNER: &str = "runner";

/// What becomes of a failed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing: the cause is not transient, or a person or the schedule does it again.
    Left,
    /// It is retried.
    Again(NextRetry),
    /// It was retried this many times, to no avail.
    GivenUp(i64),
}

/// A retry that is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NextRetry {
    /// Its number, from 1.
    pub(super) attempt: i64,
    /// The number of the last one.
    pub(super) last: i64,
    /// When it falls due.
    pub(super) due_at: DateTime<Utc>,
    /// Whether a request for the same instance is waiting already.
    is_requested: bool,
}

impl Outlook {
    /// In words, for people; nothing if there is nothing to say.
    pub(super) fn sentence(&self, cx: &Context) -> Option<String> {
        match self {
            Self::Left => None,
            Self::Again(next) => Some(format!(
                "it will be tried again at {} (retry {} of {})",
                shown_instant(next.due_at, cx.time_zone()),
                next.attempt,
                next.last
            )),
            Self::GivenUp(1) => Some("given up after 1 retry".to_owned()),
            Self::GivenUp(retries) => Some(format!("given up after {retries} retries")),
        }
    }

    /// Whether nothing more is tried although it was tried again.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::GivenUp(_))
    }
}

/// What becomes of a run that failed for a transient cause.
pub(super) async fn outlook(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    failed: &Execution,
) -> Result<Outlook, DbError> {
    let last = i64::from(retries_of(cx, spec));
    if last == 0 {
        return Ok(Outlook::Left);
    }
    let done = match failed.retry_of {
        None => 0,
        Some(run) => match started_by(db, run).await? {
            // The request of a person stays open until it succeeds.
            StartedBy::Person => return Ok(Outlook::Left),
            StartedBy::Runner(attempt) => attempt,
            StartedBy::Hand => 0,
        },
    };
    if done >= last {
        return Ok(Outlook::GivenUp(done));
    }
    if let Some((attempt, due_at)) = waiting_request(db, failed, cx.machine_time()).await? {
        return Ok(Outlook::Again(NextRetry { attempt, last, due_at, is_requested: true }));
    }
    let failures = u32::try_from(done + 1).unwrap_or(u32::MAX);
    let pause = TimeDelta::from_std(pause_of(cx, spec).pause(failures)).unwrap_or(SOON);
    let due_at = cx.machine_time() + pause;
    Ok(Outlook::Again(NextRetry { attempt: done + 1, last, due_at, is_requested: false }))
}

/// Requests the retry of a run, in the transaction that writes how the run ended.
pub(super) async fn request(
    db: &mut Db,
    run: i64,
    outlook: &Outlook,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let Outlook::Again(next) = outlook else { return Ok(()) };
    if next.is_requested {
        return Ok(());
    }
    insert(db, run, "failed for a transient cause", now, next.due_at, next.attempt).await
}

/// Requests a retry on the runner's own behalf: its number, and when it falls due.
pub async fn insert(
    db: &mut Db,
    run: i64,
    reason: &str,
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
    attempt: i64,
) -> Result<(), DbError> {
    db.execute(
        "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, status, due_at, attempt)
         VALUES ($1, $2, $3, $4, 'PENDING', $5, $6)",
        values![run, reason, RUNNER, now, due_at, attempt],
    )
    .await?;
    Ok(())
}

/// Whether the cause of a failed run, or of some of its items, is transient.
pub(super) async fn is_transient(db: &mut Db, run: &Execution, code: ExitCode) -> Result<bool, DbError> {
    if code == ExitCode::TryLater {
        return Ok(true);
    }
    let class = ExitCode::TryLater.class();
    let sql = "SELECT COUNT(*) FROM batch_error_log WHERE execution_id = $1 AND error_class = $2";
    let (items,): (i64,) = db.fetch_one(sql, values![run.id, class]).await?;
    Ok(items > 0)
}

/// How often a run of the job is tried again.
pub fn retries_of(cx: &Context, spec: &JobSpec) -> u32 {
    let set = cx.config.job(spec.name).and_then(|job| job.retries);
    set.unwrap_or(if needs_retries(cx, spec) { RETRIES } else { 0 })
}

/// Whether a job that failed is missed: not one that comes round soon, nor one that a person starts and sees fail.
pub(super) fn needs_retries(cx: &Context, spec: &JobSpec) -> bool {
    is_scheduled(cx, spec) && !comes_round_soon(cx, spec)
}

/// Whether a job's next start does what a lost one would have done, and before anybody misses it.
pub(super) fn comes_round_soon(cx: &Context, spec: &JobSpec) -> bool {
    let now = cx.machine_time().with_timezone(&cx.time_zone());
    schedule_of(cx, spec).is_some_and(|schedule| crontab::comes_round_within(schedule, SOON, now))
}

/// Whether the clock starts the job.
pub fn is_scheduled(cx: &Context, spec: &JobSpec) -> bool {
    schedule_of(cx, spec).is_some()
}

fn schedule_of<'a>(cx: &'a Context, spec: &JobSpec) -> Option<&'a str> {
    let set = cx.config.job(spec.name).and_then(|job| job.schedule.as_deref());
    set.or(spec.schedule)
}

fn pause_of(cx: &Context, spec: &JobSpec) -> Backoff {
    Backoff {
        first: cx.config.job(spec.name).and_then(|job| job.retry_pause).unwrap_or(PAUSE),
        factor: 2,
        longest: MAX_RETRY_PAUSE,
        jitter: Jitter::Percent(JITTER_PERCENT),
    }
}

/// Who started the retry of a run.
enum StartedBy {
    /// A person's request.
    Person,
    /// The runner's, with its number; 0 if it was the first attempt.
    Runner(i64),
    /// Nobody's request: somebody typed it.
    Hand,
}

/// Who started the retry of a run. Whoever processed the request may have died since, so that it does not read as running
/// any more.
async fn started_by(db: &mut Db, run: i64) -> Result<StartedBy, DbError> {
    let sql = format!(
        "SELECT attempt - CASE reason WHEN $2 THEN 1 ELSE 0 END FROM batch_retry_request
         WHERE execution_id = $1 AND (status = 'RUNNING' OR {PLAUSIBLE})
         ORDER BY CASE status WHEN 'RUNNING' THEN 0 ELSE 1 END, id DESC LIMIT 1"
    );
    let request: Option<(Option<i64>,)> = db.fetch_optional(&sql, values![run, LOST]).await?;
    Ok(match request {
        Some((Some(attempt),)) => StartedBy::Runner(attempt),
        Some((None,)) => StartedBy::Person,
        None => StartedBy::Hand,
    })
}

/// A number that a retry can have: other programs write requests too.
pub const PLAUSIBLE: &str = "attempt BETWEEN 1 AND 100";

/// The runner's request that waits for the instance of a run: its number, and when it falls due. What failed before its
/// instances were known is known by its command.
async fn waiting_request(
    db: &mut Db,
    failed: &Execution,
    now: DateTime<Utc>,
) -> Result<Option<(i64, DateTime<Utc>)>, DbError> {
    let sql = format!(
        "SELECT attempt, due_at FROM batch_retry_request request
         JOIN (SELECT id AS run, instance_key, command_line FROM batch_execution WHERE job = $1) failed
             ON failed.run = request.execution_id
         WHERE status = 'PENDING' AND {PLAUSIBLE} AND {} AND due_at BETWEEN $2 AND $3
           AND instance_key = $4 AND (instance_key <> '' OR command_line = $5)
         ORDER BY request.id DESC LIMIT 1",
        db.is_time("due_at")
    );
    // An impossible time must not keep us from recording how a run ended.
    let (earliest, latest) = (now - TimeDelta::days(3_650), now + TimeDelta::days(3_650));
    let values = values![&failed.job, earliest, latest, &failed.instance_key, &failed.command_line];
    db.fetch_optional(&sql, values).await
}
