//! `runs process-requests`: runs the retries that operators and admin tools requested.
//!
//! Each request is a separate process (`runs retry ID`), so that a retried job has its own lease, deadline and signals,
//! and cannot take this run down with it. Runs every few minutes.

use std::process::Stdio;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::runner::{Exclusion, Interruption, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// The exit code of a retry that found the database or the lease taken.
const TRY_LATER: i64 = 75;

/// Arguments of `runs process-requests`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "runs process-requests",
        summary: "Run the retries that operators or admin tools requested",
        details: "A request is made by `runs request-retry`, or by an INSERT into `batch_retry_request`.",
        page: None,
        schedule: Some("*/5 * * * *"),
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        reclaim_orphans(run).await?;
        let mut done = 0;
        let mut after = 0;
        while let Some(request) = claim_next(run, after).await? {
            after = request.id;
            let ended = retry(run, &request).await?;
            note_result(run, &request, &ended).await?;
            done += 1;
        }
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
}

/// Reopens requests that a run of this job claimed but did not finish before it died: this run holds the job's lease,
/// so no other run of it is alive.
async fn reclaim_orphans(run: &mut Run<'_>) -> anyhow::Result<()> {
    let sql = "SELECT id, execution_id FROM batch_retry_request WHERE status = 'RUNNING' LIMIT 1";
    if run.db.fetch_optional::<Request>(sql, values![]).await?.is_none() {
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

/// Claims the oldest open request after `after`: one that has to be tried again later is not tried again now.
async fn claim_next(run: &mut Run<'_>, after: i64) -> anyhow::Result<Option<Request>> {
    let sql = "SELECT id, execution_id FROM batch_retry_request WHERE status = 'PENDING' AND id > $1 ORDER BY id LIMIT 1";
    let Some(request) = run.db.fetch_optional::<Request>(sql, values![after]).await? else { return Ok(None) };
    run.read(1);
    let own = run.id();
    run.chunk(None::<&str>, async |db| {
        db.execute(
            "UPDATE batch_retry_request SET status = 'RUNNING', claimed_by = $1 WHERE id = $2 AND status = 'PENDING'",
            values![own, request.id],
        )
        .await?;
        Ok(())
    })
    .await?;
    Ok(Some(request))
}

/// How a retry ended.
struct Ended {
    /// Its exit code; -1 if a signal ended it.
    code: i64,
    /// The first line of its output: the error, if it failed.
    said: Option<String>,
}

/// Runs `batchctl runs retry ID`. A stop is passed on, so that the retried job ends at its own checkpoint. Its output is
/// captured and not printed: ten failing requests would be too much for a cron mail.
async fn retry(run: &Run<'_>, request: &Request) -> anyhow::Result<Ended> {
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let child = Command::new(program)
        .args(["--env", run.cx.config.environment(), "runs", "retry", &request.execution_id.to_string()])
        // The request stays open; waiting here, perhaps for hours, would hold up all the others.
        .args(["--on-overlap", "fail"])
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
    let output = tokio::select! {
        output = &mut ending => output,
        signal = run.stop_requested() => {
            if let Some(pid) = pid {
                // It may already have ended; then there is nothing to do.
                let _ = kill_process(pid, Signal::TERM);
            }
            ending.await.context("failed to wait for `batchctl runs retry`")?;
            return Err(Interruption::Stopped(signal).into());
        }
    }
    .context("failed to wait for `batchctl runs retry`")?;
    let said = String::from_utf8_lossy(&output.stderr).lines().next().map(str::to_owned);
    Ok(Ended { code: output.status.code().map_or(-1, i64::from), said })
}

/// Closes the request. A failed retry has its own row and alert; here it is a failed item, so that this job's exit code
/// shows it too.
async fn note_result(run: &mut Run<'_>, request: &Request, ended: &Ended) -> anyhow::Result<()> {
    let code = ended.code;
    let status = match code {
        0 => "DONE",
        // "Try again later": the next run of this job does.
        TRY_LATER => "PENDING",
        _ => "FAILED",
    };
    let mut message = format!("`runs retry {}` exited {code}", request.execution_id);
    if let Some(said) = ended.said.as_ref().filter(|_| code != 0) {
        message.push_str(&format!(": {said}"));
    }
    let id = request.id;
    let now = run.cx.machine_time();
    match code {
        0 => run.written(1),
        TRY_LATER => {}
        _ => run.fail_item(&format!("request {id}"), "retry", &anyhow::anyhow!("{message}")),
    }
    run.chunk(None::<&str>, async |db| {
        db.execute(
            "UPDATE batch_retry_request SET status = $1, exit_code = $2, message = $3, processed_at = $4 WHERE id = $5",
            values![status, code, &message, now, id],
        )
        .await?;
        Ok(())
    })
    .await
}
