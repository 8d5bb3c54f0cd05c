//! `runs retry`: finds the command line that repeats a run. The command line's dispatch runs it.

use crate::context::Context;
use crate::failure::Failure;
use crate::runner::OnOverlap;
use crate::runner::command_line;
use crate::runner::history::{self, Status};

use super::show::existing_run;

/// Do again what failed in a run
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The run's number
    pub id: i64,
    /// Do it again even if it has succeeded since
    #[arg(long)]
    pub rerun: bool,
    /// When another run holds the lease: `fail` at once with 75, or `wait=DURATION` first
    #[arg(long, value_name = "fail|wait=DURATION")]
    pub on_overlap: Option<OnOverlap>,
}

/// A command line to run again.
pub struct StoredCommand {
    /// Its arguments, without the program.
    pub arguments: Vec<String>,
}

/// The command of a run, unless there is nothing left to retry.
pub async fn stored_command(cx: &Context, args: &RetryArgs) -> anyhow::Result<Option<StoredCommand>> {
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let last = history::last_attempt(&mut db, &run.job, &run.instance_key).await?;
    db.close().await;
    if !args.rerun {
        if run.is(Status::Completed) {
            cx.output.status(&format!("run {} completed: nothing to retry", run.id));
            return Ok(None);
        }
        if let Some(last) =
            last.filter(|last| last.id > run.id && last.is(Status::Completed) && !run.instance_key.is_empty())
        {
            cx.output.status(&format!(
                "{} has been completed by run {} since: nothing to retry",
                run.label(),
                last.id
            ));
            return Ok(None);
        }
    }
    let arguments = command_line::split(&run.command_line)?;
    if arguments.first().is_some_and(|first| first == "runs")
        && arguments.get(1).is_some_and(|second| second == "retry")
    {
        return Err(Failure::failed(format!("run {} is itself a retry that never began", run.id)).into());
    }
    Ok(Some(StoredCommand { arguments }))
}
