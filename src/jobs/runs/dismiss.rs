//! `runs dismiss`: closes a failure that nobody will repeat, with a reason.

use anyhow::Context as _;

use crate::context::Context;
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
    /// Why it needs no repetition, for the history
    #[arg(long)]
    reason: String,
    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
}

pub(super) async fn dismiss(cx: &Context, args: &DismissArgs) -> anyhow::Result<()> {
    if args.reason.trim().is_empty() {
        return Err(Failure::usage("--reason is empty").into());
    }
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    refuse_unfailed(&run)?;
    if super::show::dismissal(&mut db, run.id).await?.is_some() {
        return Err(Failure::usage(format!("run {} was dismissed before", run.id)).into());
    }
    let redact = |text: &str| cx.config.redactor().redact(text);
    let (reason, by, now) = (redact(&args.reason), redact(&args.by), cx.machine_time());
    db.transaction(async |db| {
        let dismissed = db
            .execute(
                "UPDATE batch_execution SET dismissed_at = $1, dismissed_by = $2, dismissed_reason = $3
                 WHERE id = $4 AND NOT EXISTS (SELECT 1 FROM batch_retry_request
                                               WHERE execution_id = $4 AND status = 'RUNNING')",
                values![now, &by, &reason, run.id],
            )
            .await?;
        if dismissed == 0 {
            let running = format!("a retry of run {} is running right now", run.id);
            return Err(Failure::try_later(running).hint("if it fails too, dismiss the run then").into());
        }
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
    let problem = match () {
        () if run.is(Status::Completed) => "completed",
        () if run.is(Status::Running) => "is running",
        () => return Ok(()),
    };
    Err(Failure::usage(format!("run {} {problem}: there is no failure to dismiss", run.id)))
}
