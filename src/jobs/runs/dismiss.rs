//! `runs dismiss`: closes a failure that nobody will repeat, with a reason.

use anyhow::Context as _;

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::runner::alert;
use crate::runner::history::{self, Execution, Status};
use crate::values;

use super::show::existing_run;

/// Close a failure that nobody will repeat
#[derive(Debug, clap::Args)]
pub struct DismissArgs {
    /// The ID of the run
    id: i64,
    /// Why no retry is needed, for the history
    #[arg(long)]
    reason: String,
    /// Who dismissed it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
}

pub(super) async fn dismiss(cx: &Context, args: &DismissArgs) -> anyhow::Result<()> {
    if args.reason.trim().is_empty() {
        return Err(Failure::usage("--reason is empty").into());
    }
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let redact = |text: &str| cx.config.redactor().redact(text);
    let (reason, by, now) = (redact(&args.reason), redact(&args.by), cx.machine_time());
    db.transaction(async |db| {
        // What it is now: it may have been repeated since it was looked at.
        let run = existing_run(db, run.id).await?;
        refuse_unfailed(&run)?;
        refuse_while_retried(db, &run).await?;
        db.execute(
            "UPDATE batch_execution SET dismissed_at = $1, dismissed_by = $2, dismissed_reason = $3 WHERE id = $4",
            values![now, &by, &reason, run.id],
        )
        .await?;
        history::resolve_errors_of(db, run.id, now).await?;
        db.execute(
            "UPDATE batch_retry_request SET status = 'DONE', processed_at = $1, message = $2
             WHERE execution_id = $3 AND status = 'PENDING'",
            values![now, format!("dismissed: {reason}"), run.id],
        )
        .await?;
        anyhow::Ok(())
    })
    .await
    .with_context(|| format!("failed to dismiss run {}", run.id))?;
    if let Some(spec) = crate::jobs::specs().into_iter().find(|spec| spec.name == run.job) {
        alert::dismissed(cx, &mut db, spec, &run).await;
    }
    db.close().await;
    cx.output.status(&format!("Dismissed {} (run {})", run.label(), run.id));
    Ok(())
}

fn refuse_unfailed(run: &Execution) -> Result<(), Failure> {
    if let Some(by) = run.settled_by {
        let problem = format!("run {} was made good by run {by}: there is no failure to dismiss", run.id);
        return Err(Failure::usage(problem));
    }
    let problem = if run.is(Status::Completed) {
        "completed: there is no failure to dismiss"
    } else if run.is(Status::Running) {
        "is running: there is no failure to dismiss"
    } else if run.dismissed_at.is_some() {
        "is already dismissed"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("run {} {problem}", run.id)))
}

/// The retry would report to a run that is closed.
async fn refuse_while_retried(db: &mut Db, run: &Execution) -> anyhow::Result<()> {
    let sql = "SELECT COUNT(*) FROM batch_retry_request WHERE execution_id = $1 AND status = 'RUNNING'";
    let (running,): (i64,) = db.fetch_one(sql, values![run.id]).await?;
    if running == 0 {
        return Ok(());
    }
    Err(Failure::try_later(format!("a retry of run {} is running right now", run.id))
        .hint("if it fails too, dismiss the run then")
        .into())
}
