//! `runs process-requests`: runs the retries that operators, admin tools and the runner itself requested.
//!
//! Each request is a separate process (`runs retry ID`), so that a retried job has its own lease, deadline and signals,
//! and cannot take this run down with it. Runs every few minutes.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::TimeDelta;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::Command;

use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::runner::alert::{self, Advice};
use crate::runner::{
    Exclusion, ExitCode, Interruption, Items, Job, JobSpec, Planned, Run, bury_expired_runs, history,
    minutes, retries,
};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// How long a retry has to end by itself before our own deadline ends it.
const CHILD_GRACE: Duration = Duration::from_secs(30);
/// What has been dead for longer is for a person to look at.
const MAX_DEAD: TimeDelta = TimeDelta::days(7);
/// How long the runner's request waits when its retry could not even record that it failed.
const UNRECORDED_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// Arguments of `runs process-requests`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "runs process-requests",
        summary: "Run the retries that are due: those that people requested, and the runner's own",
        details: "A request is made by `runs request-retry`, by an INSERT into `batch_retry_request`, or by the runner for a \
                  run that failed for a transient cause.",
        page: None,
        schedule: Some("*/5 * * * *"),
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
        items: Items::finished_when_written("request", "requests", "done"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        reclaim_orphans(run).await?;
        reopen_failed(run).await?;
        request_dead_runs(run).await?;
        tell_of_dead_runs(run).await?;
        let started = Instant::now();
        let mut seen = BTreeSet::new();
        // Asked for again after each: a person's request does not wait for all of the runner's own.
        while let Some(request) = next_due(run, &seen).await? {
            seen.insert(request.id);
            let newest = newest_run(run.db).await?;
            if !claim(run, &request).await? {
                continue;
            }
            let ended = if is_of_this_job(run.db, &request).await? {
                Ended::refused()
            } else {
                retry(run, &request, started).await?
            };
            note_result(run, &request, &ended, newest).await?;
        }
        let done = seen.len();
        run.summarise(if done == 0 {
            "no requests".to_owned()
        } else {
            format!("processed {}", counted(done, "request", "requests"))
        });
        Ok(())
    }
}

#[derive(Debug, FromRow)]
struct Request {
    id: i64,
    execution_id: i64,
    /// The number of the runner's retry; none for a person's request.
    attempt: Option<i64>,
}

/// Reopens requests that a run of this job claimed but did not finish before it died: this run holds the job's lease,
/// so no other run of it is alive.
async fn reclaim_orphans(run: &mut Run<'_>) -> anyhow::Result<()> {
    let sql = "SELECT id FROM batch_retry_request WHERE status = 'RUNNING' LIMIT 1";
    if run.db.fetch_optional::<(i64,)>(sql, values![]).await?.is_none() {
        return Ok(());
    }
    let own = run.id();
    run.chunk(None::<&str>, async |db| {
        db.execute(
            "UPDATE batch_retry_request SET status = 'PENDING', claimed_by = NULL
             WHERE status = 'RUNNING' AND (claimed_by IS NULL OR claimed_by <> $1)",
            values![own],
        )
        .await?;
        Ok(())
    })
    .await
}

/// When a run of this job is retried, the requests that failed in it are due again: this run settles them by doing them.
async fn reopen_failed(run: &mut Run<'_>) -> anyhow::Result<()> {
    let Some(retried) = run.retried() else { return Ok(()) };
    let items = history::open_items(run.db, retried).await?;
    let number = |item: &String| item.strip_prefix("request ")?.parse::<i64>().ok();
    let requests: Vec<i64> = items.iter().filter_map(number).collect();
    run.chunk(None::<&str>, async |db| {
        let sql = format!(
            "UPDATE batch_retry_request SET status = 'PENDING', claimed_by = NULL
             WHERE status = 'FAILED' AND id IN {}",
            db.numbers("$1")
        );
        db.execute(&sql, values![json!(requests)]).await?;
        Ok(())
    })
    .await
}

/// Requests what a dead process has left of a dated job: its next start takes over by itself, but the next start of last
/// night's report is nobody's. One that dies each time is left after as many retries as a failure has.
async fn request_dead_runs(run: &mut Run<'_>) -> anyhow::Result<()> {
    let (cx, server_time) = (run.cx, run.db.server_time().await?);
    let sql = format!(
              "SELECT dead.id, dead.job, (SELECT MAX(request.attempt) FROM batch_retry_request request
                                          WHERE request.execution_id = dead.retry_of AND {}) AS attempt
               FROM batch_execution dead
               WHERE (dead.status = 'RUNNING' AND dead.lease_expires_at < $1 OR dead.status = 'CRASHED')
                 AND dead.instance_key <> '' AND dead.heartbeat_at > $2 AND dead.dismissed_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM batch_retry_request request WHERE request.execution_id = dead.id)
                 AND NOT EXISTS (SELECT 1 FROM batch_execution later
                                 WHERE later.job = dead.job AND later.instance_key = dead.instance_key
                                   AND later.id > dead.id)
               ORDER BY dead.id LIMIT 1000",
        retries::PLAUSIBLE
    );
    let dead: Vec<DeadRun> = run.db.fetch_all(&sql, values![server_time, server_time - MAX_DEAD]).await?;
    let now = cx.machine_time();
    let mut requests = Vec::new();
    for dead in dead {
        let spec = crate::jobs::specs().find(|spec| spec.name == dead.job);
        let attempt = dead.attempt.unwrap_or(0) + 1;
        if spec.is_some_and(|spec| attempt <= i64::from(retries::retries_of(cx, spec))) {
            requests.push((dead.id, attempt));
        }
    }
    if requests.is_empty() {
        return Ok(());
    }
    run.chunk(None::<&str>, async |db| {
        for (id, attempt) in &requests {
            retries::insert(db, *id, "its process is gone", now, now, *attempt).await?;
        }
        Ok(())
    })
    .await
}

/// Tells of what a dead process has left of a job that nothing starts by the clock, such as an import: nobody else would
/// find it.
async fn tell_of_dead_runs(run: &mut Run<'_>) -> anyhow::Result<()> {
    let cx = run.cx;
    let specs: Vec<&JobSpec> = crate::jobs::specs().filter(|spec| !retries::is_scheduled(cx, spec)).collect();
    let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    let dead = bury_expired_runs(run.db, &names, cx.now(), cx.time_zone()).await?;
    for dead in dead {
        let Some(spec) = specs.iter().find(|spec| spec.name == dead.job) else { continue };
        let retry = cx.command(&format!("runs retry {}", dead.id));
        let reason = dead.error_message.clone().unwrap_or_default();
        let said = format!("{} crashed (run {}): {reason}", dead.label(), dead.id);
        cx.output
            .error(&said, &["data:  what it has committed is stored".to_owned(), format!("retry: {retry}")]);
        let details = vec!["what it has committed is stored".to_owned()];
        alert::failed(cx, run.db, spec, &dead, Advice { details, ..Advice::default() }).await;
    }
    Ok(())
}

/// A run whose process is gone, and the number of the retry that it was.
#[derive(Debug, FromRow)]
struct DeadRun {
    id: i64,
    job: String,
    attempt: Option<i64>,
    /// A job whose name cannot be read is none of ours.
    #[row(problems)]
    #[expect(dead_code, reason = "it only has the row be read")]
    problems: Problems,
}

/// The next request that is due, or has no time that makes sense: first those of people, then the runner's own. What has to be tried again later is for
/// the next run.
async fn next_due(run: &mut Run<'_>, seen: &BTreeSet<i64>) -> anyhow::Result<Option<Request>> {
    let sql = format!(
        "SELECT id, execution_id, attempt FROM batch_retry_request
         WHERE status = 'PENDING' AND (due_at IS NULL OR due_at <= $1 OR NOT {}) AND id NOT IN {}
         ORDER BY CASE WHEN attempt IS NULL THEN 0 ELSE 1 END, id LIMIT 1",
        run.db.is_time("due_at"),
        run.db.numbers("$2")
    );
    Ok(run.db.fetch_optional(&sql, values![run.cx.machine_time(), json!(seen)]).await?)
}

/// Claims a request, unless it is not open any more.
async fn claim(run: &mut Run<'_>, request: &Request) -> anyhow::Result<bool> {
    let own = run.id();
    let claimed = run
        .chunk(None::<&str>, async |db| {
            let sql = "UPDATE batch_retry_request SET status = 'RUNNING', claimed_by = $1
                       WHERE id = $2 AND status = 'PENDING'";
            Ok(db.execute(sql, values![own, request.id]).await?)
        })
        .await?;
    run.read(claimed);
    Ok(claimed > 0)
}

/// How a retry ended.
struct Ended {
    /// Its exit code; -1 if a signal ended it.
    code: i64,
    /// The first line of its output, which is the error if it failed, and its hints.
    said: Option<String>,
}

impl Ended {
    fn of(output: &std::process::Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut lines = stderr.lines();
        let said = lines.next().map(|error| {
            let hints = lines.map(str::trim).filter(|line| line.starts_with("hint: "));
            std::iter::once(error).chain(hints).collect::<Vec<_>>().join("; ")
        });
        Self { code: output.status.code().map_or(-1, i64::from), said }
    }

    /// A run of this job cannot be retried while another one holds its lease, and one always does here.
    fn refused() -> Self {
        Self {
            code: ExitCode::Refused.number().into(),
            said: Some("a run of `runs process-requests` is retried by hand, with `runs retry`".to_owned()),
        }
    }
}

async fn is_of_this_job(db: &mut Db, request: &Request) -> anyhow::Result<bool> {
    let found = history::find(db, request.execution_id).await?;
    Ok(found.is_some_and(|found| found.job == Args::SPEC.name))
}

/// Runs `batchctl runs retry ID`. A stop is passed on, so that the retried job ends at its own checkpoint. Its output is
/// captured and not printed: ten failing requests would be too much for a cron mail.
async fn retry(run: &Run<'_>, request: &Request, started: Instant) -> anyhow::Result<Ended> {
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let child = Command::new(program)
        .args(["--env", run.cx.config.environment(), "runs", "retry"])
        // The request stays open; waiting here, perhaps for hours, would hold up all the others.
        .args(["--on-overlap", "fail"])
        .arg(request.execution_id.to_string())
        .current_dir(run.cx.working_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C goes to a whole process group: the child would get it and our own signal, which as the second one
        // would end it at once.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("failed to start `batchctl runs retry`")?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let ending = child.wait_with_output();
    tokio::pin!(ending);
    // Our own deadline would kill it; before that it is stopped.
    let grace = CHILD_GRACE.min(run.deadline() / 2);
    let until = run.deadline().saturating_sub(started.elapsed()).saturating_sub(grace);
    let interruption = tokio::select! {
        output = &mut ending => return Ok(Ended::of(&output.context("failed to wait for `batchctl runs retry`")?)),
        signal = run.stop_requested() => Interruption::Stopped(signal),
        () = tokio::time::sleep(until) => Interruption::TimedOut,
    };
    if let Some(pid) = pid {
        // It may already have ended; then there is nothing to do.
        let _ = kill_process(pid, Signal::TERM);
    }
    ending.await.context("failed to wait for `batchctl runs retry`")?;
    Err(interruption.into())
}

/// Closes the request. A failed retry has its own row and alert; if a person requested it, or if it left no row, it is a
/// failed item here, so that this job's exit code shows it too.
async fn note_result(run: &mut Run<'_>, request: &Request, ended: &Ended, newest: i64) -> anyhow::Result<()> {
    let is = |code: ExitCode| ended.code == i64::from(code.number());
    let is_own = request.attempt.is_some();
    // Its own run, which has its own alert, and has requested the next retry or given up.
    let is_recorded = is_own && ended.code != 0 && is_followed(run.db, request, newest).await?;
    // A database that could not be used (unreachable, or with a wrong password) has kept it from even that.
    let is_later = is(ExitCode::TryLater) || (is_own && is(ExitCode::Configuration));
    let (status, due_at) = match ended.code {
        0 => ("DONE", None),
        _ if is_recorded => ("DONE", None),
        _ if is_later => ("PENDING", is_own.then(|| run.cx.machine_time() + UNRECORDED_PAUSE)),
        _ => ("FAILED", None),
    };
    let mut message = format!("`runs retry {}` exited {}", request.execution_id, ended.code);
    if let Some(said) = ended.said.as_ref().filter(|_| ended.code != 0) {
        message.push_str(&format!(": {said}"));
    }
    if is_recorded
        && is_final(run, request).await?
        && run.cx.config.alert_channels(Severity::Critical).is_empty()
    {
        // Without a channel nobody is told that it was given up but by whoever mails what cron's commands print.
        run.cx.output.error(&message, &[]);
    }
    match status {
        "DONE" => run.written(1),
        "FAILED" => {
            run.fail_item(&format!("request {}", request.id), "retry", &anyhow::anyhow!("{message}"));
        }
        _ => {}
    }
    let (id, code, now) = (request.id, ended.code, run.cx.machine_time());
    run.chunk(None::<&str>, async |db| {
        db.execute(
            "UPDATE batch_retry_request SET status = $1, exit_code = $2, message = $3, processed_at = $4, due_at = $5
             WHERE id = $6",
            values![status, code, &message, now, due_at, id],
        )
        .await?;
        Ok(())
    })
    .await
}

/// Whether a request of the runner's was the last one for its failure.
async fn is_final(run: &mut Run<'_>, request: &Request) -> anyhow::Result<bool> {
    let found = history::find(run.db, request.execution_id).await?;
    let specs = crate::jobs::specs();
    let spec = found.and_then(|found| specs.into_iter().find(|spec| spec.name == found.job));
    let last = spec.map_or(0, |spec| i64::from(retries::retries_of(run.cx, spec)));
    Ok(request.attempt.is_some_and(|attempt| attempt >= last))
}

async fn newest_run(db: &mut Db) -> anyhow::Result<i64> {
    let (newest,) = db.fetch_one("SELECT COALESCE(MAX(id), 0) FROM batch_execution", values![]).await?;
    Ok(newest)
}

/// Whether the retry of a request has left a run of its own, later than the newest one before it.
async fn is_followed(db: &mut Db, request: &Request, newest: i64) -> anyhow::Result<bool> {
    let sql = "SELECT COUNT(*) FROM batch_execution WHERE retry_of = $1 AND id > $2";
    let (runs,): (i64,) = db.fetch_one(sql, values![request.execution_id, newest]).await?;
    Ok(runs > 0)
}
