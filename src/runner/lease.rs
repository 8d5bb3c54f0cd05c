//! The lease: the right to run, given by rows and not by files, so that it holds across processes and hosts.
//!
//! `batch_lease` has a row for each exclusion key, naming the run that holds it and the epoch, which each acquisition
//! increments. A run is alive while its row in `batch_execution` is RUNNING and its lease has not expired; the
//! heartbeat extends the expiry. A start that finds a dead run marks it CRASHED and takes over: from that moment the
//! old run's row is no longer RUNNING, and every chunk of its process fails its own check.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::watch;

use crate::db::{Db, Kind, Problems};
use crate::period::shown_instant;
use crate::values;

use super::history::{self, EXECUTION_COLUMNS, Execution, Status};
use super::process::ProcessIdentity;

/// However short the lease is, a transaction may pause for this long.
const MIN_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);

/// The result of trying to acquire a lease.
pub(super) enum Acquired {
    /// The run may work.
    Granted(Box<Grant>),
    /// The instance was completed meanwhile.
    AlreadyCompleted(Box<Execution>),
    /// The run that this one waited for did the instance, and could not do some of its items.
    DoneInPart(Box<Execution>),
    /// Another run holds the key.
    Held {
        /// That run.
        holder: Box<Execution>,
        /// The time by the clock that its heartbeats are written by.
        at: DateTime<Utc>,
        /// Whether nothing else can be written meanwhile.
        is_locking: bool,
    },
}

/// The right to run.
pub(super) struct Grant {
    /// The run's row.
    pub execution: Execution,
    /// Runs of this job that were found dead in the process.
    pub crashed: Vec<Execution>,
}

/// A request for a lease.
pub(super) struct Request<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The instance's key.
    pub instance_key: &'a str,
    /// What people call it, if its key means nothing to them.
    pub title: Option<&'a str>,
    /// The full exclusion key; none for shared jobs.
    pub exclusion_key: Option<&'a str>,
    /// The command line to store.
    pub command_line: &'a str,
    /// What proves that it is ours.
    pub command_seal: Option<&'a str>,
    /// Whether to run a completed instance again.
    pub rerun: bool,
    /// The run whose items are retried.
    pub retry_of: Option<i64>,
    /// The run of the same instance that this one has waited for.
    pub waited_for: Option<i64>,
    /// The business time.
    pub now: DateTime<Utc>,
    /// How long the lease lasts without a heartbeat.
    pub lease: Duration,
    /// The process that asks.
    pub identity: &'a ProcessIdentity,
    /// The environment's name.
    pub environment: &'a str,
    /// The zone of the times in messages.
    pub time_zone: Tz,
}

/// Tries once to get the right to run, in one transaction.
pub(super) async fn acquire(db: &mut Db, request: &Request<'_>) -> anyhow::Result<Acquired> {
    db.transaction(async |db| {
        let server_time = db.server_time().await?;
        let epoch = match request.exclusion_key {
            Some(key) => lock_key(db, key, server_time).await?,
            None => 0,
        };
        let crashed = bury_dead_runs(db, request, server_time).await?;
        if let Some(key) = request.exclusion_key
            && let Some(holder) = holder(db, key).await?
        {
            return Ok(Acquired::Held { holder: Box::new(holder), at: server_time, is_locking: false });
        }
        let last = history::last_attempt(db, request.job, request.instance_key).await?;
        let is_repeatable = request.instance_key.is_empty();
        if let Some(last) = &last
            && last.is(Status::Completed)
            && !is_repeatable
            && !request.rerun
        {
            return Ok(Acquired::AlreadyCompleted(Box::new(last.clone())));
        }
        // What all of them wanted is done: each one that waited would otherwise do it once more.
        if let Some(last) = &last
            && request.waited_for == Some(last.id)
            && last.is(Status::Partial)
            && !is_repeatable
            && !request.rerun
            && request.retry_of.is_none()
        {
            return Ok(Acquired::DoneInPart(Box::new(last.clone())));
        }
        let attempt = history::next_attempt(db, request.job, request.instance_key).await?;
        let resumed_from = match last {
            // A rerun does everything.
            Some(last) if !request.rerun && has_checkpoint(&last) && is_interrupted(&last) => {
                may_go_on_from(db, request, &last).await?.then_some(last)
            }
            _ => None,
        };
        let mut execution = new_execution(request, server_time, attempt, epoch + 1);
        if let Some(earlier) = &resumed_from {
            // The row covers the whole instance, and its end is judged by all of it.
            execution.checkpoint.clone_from(&earlier.checkpoint);
            execution.items_read = earlier.items_read;
            execution.items_written = earlier.items_written;
            execution.items_skipped = earlier.items_skipped;
            execution.items_failed = earlier.items_failed;
        }
        execution.id = history::insert(db, &execution, request.command_seal).await?;
        introduce(db, request.identity, Some(execution.id), request.lease).await?;
        if let Some(earlier) = &resumed_from {
            // The item errors follow the work to the run that finishes it, or the finished run would look whole.
            db.execute(
                "UPDATE batch_error_log SET execution_id = $1 WHERE execution_id = $2 AND resolved_at IS NULL",
                values![execution.id, earlier.id],
            )
            .await?;
        }
        if let Some(key) = request.exclusion_key {
            db.execute(
                "UPDATE batch_lease SET execution_id = $1, epoch = $2, updated_at = $3 WHERE exclusion_key = $4",
                values![execution.id, execution.epoch, server_time, key],
            )
            .await?;
        }
        Ok(Acquired::Granted(Box::new(Grant { execution, crashed })))
    })
    .await
}

/// Whether a run left a checkpoint. One that cannot be read is none: the work starts over.
fn has_checkpoint(execution: &Execution) -> bool {
    execution.checkpoint.is_some() && !execution.problems.include("checkpoint")
}

/// Whether a run ended before its work was done, so that the next attempt resumes from its checkpoint.
fn is_interrupted(execution: &Execution) -> bool {
    [Status::Crashed, Status::Stopped, Status::TimedOut, Status::Failed]
        .iter()
        .any(|status| execution.is(*status))
}

/// Whether a run resumes where `last` ended. A retry of an earlier run does that run's items from the beginning; a
/// retry of one that never started has no items and means the instance.
async fn may_go_on_from(db: &mut Db, request: &Request<'_>, last: &Execution) -> anyhow::Result<bool> {
    match request.retry_of {
        None => Ok(true),
        Some(retried) if retried == last.id => Ok(true),
        Some(retried) => Ok(history::find(db, retried).await?.is_some_and(|retried| retried.epoch == 0)),
    }
}

/// Locks the key's row, creating it if necessary, and returns its epoch. On SQLite the transaction already holds the
/// only write lock.
async fn lock_key(db: &mut Db, key: &str, server_time: DateTime<Utc>) -> anyhow::Result<i64> {
    db.execute(
        "INSERT INTO batch_lease (exclusion_key, execution_id, epoch, updated_at) VALUES ($1, NULL, 0, $2)
         ON CONFLICT (exclusion_key) DO NOTHING",
        values![key, server_time],
    )
    .await?;
    let sql = db.pick(
        "SELECT epoch FROM batch_lease WHERE exclusion_key = $1",
        "SELECT epoch FROM batch_lease WHERE exclusion_key = $1 FOR UPDATE",
    );
    let (epoch,): (i64,) = db.fetch_one(sql, values![key]).await?;
    Ok(epoch)
}

/// The live run that holds the key, if any.
async fn holder(db: &mut Db, key: &str) -> anyhow::Result<Option<Execution>> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE status = 'RUNNING' AND id = (SELECT execution_id FROM batch_lease WHERE exclusion_key = $1)"
    );
    Ok(db.fetch_optional(&sql, values![key]).await?)
}

/// A run that keeps others from writing.
pub(super) struct Blocker {
    /// The run.
    pub(super) run: Execution,
    /// Whether it holds the key that was asked for.
    pub(super) holds_key: bool,
}

/// The reason for which nothing can be written, as far as it can be told by reading: the run that holds the key, or one
/// whose process is stopped, which on SQLite keeps the file's lock as long as it is.
pub(super) async fn blocker(
    db: &mut Db,
    here: &ProcessIdentity,
    key: Option<&str>,
) -> anyhow::Result<Option<Blocker>> {
    if let Some(key) = key
        && let Some(run) = holder(db, key).await?
    {
        return Ok(Some(Blocker { run, holds_key: true }));
    }
    let sql = format!("SELECT {EXECUTION_COLUMNS} FROM batch_execution WHERE status = 'RUNNING' ORDER BY id");
    let running: Vec<Execution> = db.fetch_all(&sql, vec![]).await?;
    let stopped = running.into_iter().find(|run| process_of(run).is_known_stopped(here));
    Ok(stopped.map(|run| Blocker { run, holds_key: false }))
}

/// The process of a run.
pub(super) fn process_of(run: &Execution) -> ProcessIdentity {
    ProcessIdentity {
        host: run.host.clone(),
        pid: run.pid,
        started_ticks: run.pid_started_ticks,
        boot_id: run.boot_id.clone(),
    }
}

/// Marks the job's dead runs CRASHED and returns them as they were. A run is dead when its lease has expired, or when
/// its process is known to be gone.
async fn bury_dead_runs(
    db: &mut Db,
    request: &Request<'_>,
    server_time: DateTime<Utc>,
) -> anyhow::Result<Vec<Execution>> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution WHERE job = $1 AND status = 'RUNNING' ORDER BY id"
    );
    let mut running: Vec<Execution> = db.fetch_all(&sql, values![request.job]).await?;
    // Whoever holds the key, whatever has become of the job's name in its row: it would hold the key for ever.
    if let Some(key) = request.exclusion_key
        && let Some(holder) = holder(db, key).await?
        && running.iter().all(|run| run.id != holder.id)
    {
        running.push(holder);
    }
    let mut crashed = Vec::new();
    for run in running {
        let process = process_of(&run);
        // Another lane of this process. If it froze, so did we; its next chunk will find out.
        if process == *request.identity {
            continue;
        }
        let cause = if process.is_known_dead(request.identity) {
            format!("its process {} is gone", run.pid)
        } else if has_no_lease(&run) {
            unreadable(&run)
        } else if run.lease_expires_at <= server_time {
            format!("no sign of life since {}", shown_instant(run.heartbeat_at, request.time_zone))
        } else if is_from_the_future(&run, server_time) {
            let seen = shown_instant(run.heartbeat_at, request.time_zone);
            format!("its last sign of life, {seen}, is in the future: the clock was set back since")
        } else {
            continue;
        };
        crashed.extend(bury(db, &run, &cause, request.now).await?);
    }
    Ok(crashed)
}

/// Whether somebody spoilt its row, so that nothing tells how long it may be alive. A checkpoint that is too long to be shown
/// is our own.
fn has_no_lease(run: &Execution) -> bool {
    run.problems.include_other_than("checkpoint")
}

fn unreadable(run: &Execution) -> String {
    format!("its row cannot be read: {}", run.problems)
}

/// Whether a lease was given by a clock that was set back since, by more than the lease is long. Whoever is alive renews
/// it by the clock as it is now; the lease of anybody else would hold until the old clock's time comes again.
fn is_from_the_future(run: &Execution, server_time: DateTime<Utc>) -> bool {
    run.heartbeat_at - server_time > run.lease_expires_at - run.heartbeat_at
}

/// Marks a dead run CRASHED and returns it as it is now; nothing if it is alive after all.
async fn bury(
    db: &mut Db,
    run: &Execution,
    cause: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Execution>> {
    // The condition on the expiry lets a heartbeat that arrives at this very moment win. A time in another form than ours,
    // which no heartbeat writes, equals nothing.
    let sql = format!(
        "UPDATE batch_execution
         SET status = 'CRASHED', ended_at = $1, error_class = 'CRASHED', error_message = $2
         WHERE id = $3 AND status = 'RUNNING' AND (lease_expires_at = $4 OR $5 OR NOT {})",
        db.is_time("lease_expires_at")
    );
    let buried =
        db.execute(&sql, values![now, cause, run.id, run.lease_expires_at, has_no_lease(run)]).await?;
    // Its last commit may be newer than what was read: the update waited for its chunk.
    if buried == 1 { Ok(history::find(db, run.id).await?) } else { Ok(None) }
}

/// Marks the runs of these jobs CRASHED whose leases have expired, and returns them.
pub async fn bury_expired_runs(
    db: &mut Db,
    jobs: &[&str],
    now: DateTime<Utc>,
    time_zone: Tz,
) -> anyhow::Result<Vec<Execution>> {
    let server_time = db.server_time().await?;
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE status = 'RUNNING' AND (lease_expires_at < $1 OR NOT {}) AND job IN {} ORDER BY id LIMIT 100",
        db.is_time("lease_expires_at"),
        db.elements("$2")
    );
    let dead: Vec<Execution> = db.fetch_all(&sql, values![server_time, serde_json::json!(jobs)]).await?;
    let mut crashed = Vec::new();
    for run in dead {
        let cause = if run.problems.is_empty() {
            format!("no sign of life since {}", shown_instant(run.heartbeat_at, time_zone))
        } else {
            unreadable(&run)
        };
        crashed.extend(bury(db, &run, &cause, now).await?);
    }
    Ok(crashed)
}

/// Tells PostgreSQL whose connection this is, for people who look into `pg_stat_activity` and for [`disconnect`]:
/// which process's, and which run's, if it serves one. And has the server end a transaction that stands still for as
/// long as a lease: its process is frozen, or its host is gone, and it would keep its locks from whoever takes over.
pub(super) async fn introduce(
    db: &mut Db,
    identity: &ProcessIdentity,
    run: Option<i64>,
    lease: Duration,
) -> anyhow::Result<()> {
    if db.kind() == Kind::Postgres {
        let name = connection_name(&identity.host, identity.pid, identity.started_ticks, run);
        let idle = lease.max(MIN_IDLE_IN_TRANSACTION).as_millis().to_string();
        let sql = "SELECT set_config('application_name', $1, FALSE),
                          set_config('idle_in_transaction_session_timeout', $2, FALSE)";
        db.execute(sql, values![name, idle]).await?;
    }
    Ok(())
}

/// Ends the connections that a dead run may still have. One that is frozen inside a chunk would keep its rows locked
/// and block the run that takes over. Other runs of its process may be alive, and keep theirs. On SQLite a lock ends
/// only with its process.
pub(super) async fn disconnect(db: &mut Db, dead: &Execution) -> anyhow::Result<()> {
    if db.kind() == Kind::Postgres {
        let name = connection_name(&dead.host, dead.pid, dead.pid_started_ticks, Some(dead.id));
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()",
            values![name],
        )
        .await?;
    }
    Ok(())
}

/// PostgreSQL keeps 63 bytes of a connection's name, and only ASCII; the host's name comes last, since it may be
/// truncated.
fn connection_name(host: &str, pid: i64, started_ticks: i64, run: Option<i64>) -> String {
    let run = run.map(|run| format!("run {run} ")).unwrap_or_default();
    format!("batchctl {pid}.{started_ticks} {run}{host}").chars().filter(char::is_ascii).take(63).collect()
}

/// The row of a run that starts.
pub(super) fn new_execution(
    request: &Request<'_>,
    server_time: DateTime<Utc>,
    attempt: i64,
    epoch: i64,
) -> Execution {
    Execution {
        id: 0,
        job: request.job.to_owned(),
        instance_key: request.instance_key.to_owned(),
        command_line: request.command_line.to_owned(),
        attempt,
        status: Status::Running.word().to_owned(),
        started_at: request.now,
        ended_at: None,
        heartbeat_at: server_time,
        lease_expires_at: server_time + request.lease,
        exclusion_key: request.exclusion_key.map(str::to_owned),
        epoch,
        host: request.identity.host.clone(),
        pid: request.identity.pid,
        pid_started_ticks: request.identity.started_ticks,
        boot_id: request.identity.boot_id.clone(),
        retry_of: request.retry_of,
        items_read: 0,
        items_written: 0,
        items_skipped: 0,
        items_failed: 0,
        checkpoint: None,
        duration_ms: None,
        peak_memory_bytes: None,
        cpu_time_ms: None,
        exit_code: None,
        error_class: None,
        error_message: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: request.environment.to_owned(),
        title: request.title.map(str::to_owned),
        settled_by: None,
        dismissed_at: None,
        dismissed_by: None,
        dismissed_reason: None,
        summary: None,
        problems: Problems::default(),
    }
}

/// The run that works under a run's key, or has worked under it, after that one was found without a sign of life.
pub(super) async fn successor(db: &mut Db, run: &Execution) -> anyhow::Result<Option<Execution>> {
    let Some(key) = &run.exclusion_key else { return Ok(None) };
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE exclusion_key = $1 AND id > $2 AND epoch > $3 ORDER BY id LIMIT 1"
    );
    Ok(db.fetch_optional(&sql, values![key, run.id, run.epoch]).await?)
}

/// Renews the lease of a run. Returns whether it was still held.
pub(super) async fn renew(db: &mut Db, id: i64, epoch: i64, lease: Duration) -> anyhow::Result<bool> {
    let server_time = db.server_time().await?;
    let rows = db
        .execute(
            "UPDATE batch_execution SET heartbeat_at = $1, lease_expires_at = $2
             WHERE id = $3 AND epoch = $4 AND status = 'RUNNING'",
            values![server_time, server_time + lease, id, epoch],
        )
        .await?;
    Ok(rows == 1)
}

/// A run's heartbeat, sent by a separate task so that a busy job cannot forget it.
pub(super) struct Heartbeat {
    lost: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Heartbeat {
    /// Starts to renew the lease every `interval`, over its own connection that is opened at the first beat: most runs
    /// are over before that.
    pub(super) fn start(url: String, id: i64, epoch: i64, lease: Duration, interval: Duration) -> Self {
        let (sender, lost) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut db: Option<Db> = None;
            loop {
                tokio::time::sleep(interval).await;
                // A database that does not answer is no reason to stop: the next beat may reach it, and if none does,
                // the chunks fail on their own.
                let mut connection = match db.take() {
                    Some(connection) => connection,
                    None => match Db::connect(&url, false).await {
                        Ok(connection) => connection,
                        Err(_) => continue,
                    },
                };
                match renew(&mut connection, id, epoch, lease).await {
                    Ok(true) => db = Some(connection),
                    Ok(false) => {
                        sender.send_replace(true);
                        return;
                    }
                    Err(_) => {}
                }
            }
        });
        Self { lost, task }
    }

    /// Waits until the lease is known to be lost.
    pub(super) async fn lost(&mut self) {
        while !*self.lost.borrow() {
            if self.lost.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};
    use crate::runner::testing::{LEASE, elsewhere, execution};

    on_both_databases![
        the_first_gets_the_key_and_the_second_is_told_who_has_it,
        each_acquisition_of_a_key_raises_its_epoch,
        a_completed_instance_is_not_done_twice_unless_a_rerun_is_asked_for,
        whoever_waited_for_a_run_that_ended_partial_does_not_repeat_it,
        a_dead_run_is_buried_and_its_work_resumes_from_its_checkpoint,
        a_rerun_starts_from_the_beginning,
        a_run_on_another_host_lives_as_long_as_its_lease,
        a_lease_of_a_clock_that_was_set_back_does_not_hold,
        only_the_holder_of_the_epoch_renews_a_lease,
        runs_without_a_key_run_side_by_side,
        of_two_at_the_same_moment_one_gets_the_key,
    ];

    fn request<'a>(identity: &'a ProcessIdentity, instance_key: &'a str) -> Request<'a> {
        Request {
            job: "a job",
            instance_key,
            title: None,
            exclusion_key: Some("a job"),
            command_line: "a job --date 2026-11-19",
            command_seal: None,
            rerun: false,
            retry_of: None,
            waited_for: None,
            now: now(),
            lease: LEASE,
            identity,
            environment: "dev",
            time_zone: Tz::UTC,
        }
    }

    async fn granted(db: &mut Db, request: &Request<'_>) -> Box<Grant> {
        match acquire(db, request).await.unwrap() {
            Acquired::Granted(grant) => grant,
            Acquired::AlreadyCompleted(run) => panic!("already completed by run {}", run.id),
            Acquired::DoneInPart(run) => panic!("done in part by run {}", run.id),
            Acquired::Held { holder, .. } => panic!("held by run {}", holder.id),
        }
    }

    async fn end(db: &mut TestDb, status: &str) {
        db.sql(&format!("UPDATE batch_execution SET status = '{status}' WHERE status = 'RUNNING'")).await;
    }

    async fn the_first_gets_the_key_and_the_second_is_told_who_has_it(db: &mut TestDb) {
        let first = granted(db, &request(&elsewhere(1), "2026-11-19")).await.execution;
        assert_eq!((first.id, first.attempt, first.epoch, first.status.as_str()), (1, 1, 1, "RUNNING"));
        assert_eq!(first.lease_expires_at - first.heartbeat_at, chrono::TimeDelta::from_std(LEASE).unwrap());
        // Another instance under the same key.
        let Acquired::Held { holder, .. } = acquire(db, &request(&elsewhere(2), "2026-11-18")).await.unwrap()
        else {
            panic!("two runs have the key");
        };
        assert_eq!((holder.id, holder.host.as_str(), holder.pid), (1, "host-1", 1));
        assert_eq!(db.scalar("SELECT COUNT(*) FROM batch_execution").await, "1");
    }

    async fn a_lease_of_a_clock_that_was_set_back_does_not_hold(db: &mut TestDb) {
        let first = granted(db, &request(&elsewhere(1), "2026-11-19")).await.execution;
        // A clock that is off by less than a lease may be that of a run that is alive.
        let renewed = async |db: &mut TestDb, at: DateTime<Utc>| {
            let sql = "UPDATE batch_execution SET heartbeat_at = $1, lease_expires_at = $2 WHERE id = $3";
            db.execute(sql, values![at, at + LEASE, first.id]).await.unwrap();
        };
        let server_time = db.server_time().await.unwrap();
        renewed(db, server_time + LEASE / 2).await;
        let identity = elsewhere(2);
        let other = request(&identity, "2026-11-19");
        assert!(matches!(acquire(db, &other).await.unwrap(), Acquired::Held { .. }));
        renewed(db, server_time + chrono::TimeDelta::days(1)).await;
        let grant = granted(db, &other).await;
        let told = grant.crashed[0].error_message.clone().unwrap_or_default();
        assert!(told.ends_with("is in the future: the clock was set back since"), "{told}");
    }

    async fn each_acquisition_of_a_key_raises_its_epoch(db: &mut TestDb) {
        let mut epochs = Vec::new();
        for day in ["2026-11-17", "2026-11-18", "2026-11-19"] {
            epochs.push(granted(db, &request(&elsewhere(1), day)).await.execution.epoch);
            end(db, "COMPLETED").await;
        }
        assert_eq!(epochs, [1, 2, 3]);
        assert_eq!(
            db.sql("SELECT exclusion_key, execution_id, epoch FROM batch_lease").await,
            [["a job", "3", "3"]]
        );
    }

    async fn a_completed_instance_is_not_done_twice_unless_a_rerun_is_asked_for(db: &mut TestDb) {
        let identity = elsewhere(1);
        granted(db, &request(&identity, "2026-11-19")).await;
        end(db, "COMPLETED").await;
        let again = acquire(db, &request(&identity, "2026-11-19")).await.unwrap();
        assert!(matches!(again, Acquired::AlreadyCompleted(run) if run.id == 1));
        let rerun = Request { rerun: true, ..request(&identity, "2026-11-19") };
        assert_eq!(granted(db, &rerun).await.execution.attempt, 2);
        end(db, "COMPLETED").await;
        // An instance without identifying parameters is run every time it is requested.
        for _ in 0..2 {
            assert_eq!(granted(db, &request(&identity, "")).await.execution.attempt, 1);
            end(db, "COMPLETED").await;
        }
    }

    /// A run that made some progress and whose process is gone.
    async fn dead_run(db: &mut TestDb) -> Execution {
        let own = ProcessIdentity::own();
        let run = Execution {
            exclusion_key: Some("a job".to_owned()),
            host: own.host,
            boot_id: own.boot_id,
            pid: own.pid,
            // The number has been reused by another process since.
            pid_started_ticks: own.started_ticks + 1,
            // By the database's own clock, far from expired.
            lease_expires_at: db.server_time().await.unwrap() + LEASE,
            checkpoint: Some("\"page 7\"".to_owned()),
            items_read: 700,
            items_written: 690,
            items_skipped: 10,
            ..execution("a job", "2026-11-19")
        };
        let id = db.run(&run).await;
        let errors = ["one", "two"].map(|item_key| history::ItemError {
            item_key: item_key.to_owned(),
            phase: "load".to_owned(),
            kind: "SKIPPED".to_owned(),
            error_class: "BAD_INPUT".to_owned(),
            message: "is bad".to_owned(),
        });
        history::insert_errors(db, id, &errors, now()).await.unwrap();
        Execution { id, ..run }
    }

    async fn a_dead_run_is_buried_and_its_work_resumes_from_its_checkpoint(db: &mut TestDb) {
        let dead = dead_run(db).await;
        let grant = granted(db, &request(&ProcessIdentity::own(), "2026-11-19")).await;
        let buried: Vec<_> = grant.crashed.iter().map(|run| (run.id, run.status.as_str())).collect();
        assert_eq!(buried, [(dead.id, "CRASHED")]);
        let run = grant.execution;
        assert_eq!((run.attempt, run.checkpoint.as_deref()), (2, Some("\"page 7\"")));
        assert_eq!(
            (run.items_read, run.items_written, run.items_skipped, run.items_failed),
            (700, 690, 10, 0)
        );
        let errors = "SELECT DISTINCT execution_id FROM batch_error_log WHERE resolved_at IS NULL";
        assert_eq!(db.scalar(errors).await, run.id.to_string(), "the errors follow the work");
        let message = format!("its process {} is gone", dead.pid);
        assert_eq!(
            db.sql("SELECT status, error_message, ended_at FROM batch_execution WHERE id = 1").await,
            [["CRASHED", &message, "2026-11-19T16:00:00+00:00"]]
        );
    }

    async fn whoever_waited_for_a_run_that_ended_partial_does_not_repeat_it(db: &mut TestDb) {
        let (first, second) = (elsewhere(1), elsewhere(2));
        let waiting = |waited_for| Request { waited_for, ..request(&second, "2026-11-19") };
        granted(db, &request(&first, "2026-11-19")).await;
        end(db, "PARTIAL").await;
        for _ in 0..2 {
            let joined = acquire(db, &waiting(Some(1))).await.unwrap();
            assert!(matches!(joined, Acquired::DoneInPart(run) if run.id == 1));
        }
        let rerun = Request { rerun: true, ..waiting(Some(1)) };
        assert_eq!(granted(db, &rerun).await.execution.id, 2);
        end(db, "PARTIAL").await;
        // Nor does whoever comes later wait for anybody.
        assert_eq!(granted(db, &waiting(None)).await.execution.id, 3);
        end(db, "FAILED").await;
        assert_eq!(granted(db, &waiting(Some(3))).await.execution.id, 4);
    }

    async fn a_rerun_starts_from_the_beginning(db: &mut TestDb) {
        dead_run(db).await;
        let own = ProcessIdentity::own();
        let rerun = Request { rerun: true, ..request(&own, "2026-11-19") };
        let run = granted(db, &rerun).await.execution;
        assert_eq!((run.attempt, run.checkpoint, run.items_read), (2, None, 0));
    }

    async fn a_run_on_another_host_lives_as_long_as_its_lease(db: &mut TestDb) {
        granted(db, &request(&elsewhere(1), "2026-11-19")).await;
        let own = ProcessIdentity::own();
        assert!(matches!(acquire(db, &request(&own, "2026-11-19")).await.unwrap(), Acquired::Held { .. }));
        let long_ago = values![DateTime::<Utc>::UNIX_EPOCH];
        db.execute("UPDATE batch_execution SET lease_expires_at = $1", long_ago).await.unwrap();
        let grant = granted(db, &request(&own, "2026-11-19")).await;
        assert_eq!(grant.crashed.len(), 1);
        assert_eq!((grant.execution.attempt, grant.execution.epoch), (2, 2));
    }

    async fn only_the_holder_of_the_epoch_renews_a_lease(db: &mut TestDb) {
        let run = granted(db, &request(&elsewhere(1), "2026-11-19")).await.execution;
        assert!(renew(db, run.id, run.epoch, LEASE).await.unwrap());
        assert!(!renew(db, run.id, run.epoch + 1, LEASE).await.unwrap());
        end(db, "CRASHED").await;
        assert!(!renew(db, run.id, run.epoch, LEASE).await.unwrap());
    }

    async fn runs_without_a_key_run_side_by_side(db: &mut TestDb) {
        for number in 1..=3 {
            let identity = elsewhere(number);
            let shared = Request { exclusion_key: None, ..request(&identity, "") };
            assert_eq!(granted(db, &shared).await.execution.id, number);
        }
        assert_eq!(db.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'RUNNING'").await, "3");
        assert_eq!(db.scalar("SELECT COUNT(*) FROM batch_lease").await, "0");
    }

    async fn of_two_at_the_same_moment_one_gets_the_key(db: &mut TestDb) {
        let mut other = db.another().await;
        let (here, there) = (elsewhere(1), elsewhere(2));
        let (here, there) = (request(&here, "2026-11-18"), request(&there, "2026-11-19"));
        let (one, two) = tokio::join!(acquire(db, &here), acquire(&mut other, &there));
        let is_granted =
            |acquired: anyhow::Result<Acquired>| matches!(acquired.unwrap(), Acquired::Granted(_));
        assert_ne!(is_granted(one), is_granted(two));
        assert_eq!(db.scalar("SELECT COUNT(*) FROM batch_execution").await, "1");
        other.close().await;
    }
}
