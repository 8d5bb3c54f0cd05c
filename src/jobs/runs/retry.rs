//! `runs retry`: runs the command line that a run has stored, limited to what failed.

use futures_util::future::LocalBoxFuture;

use crate::context::Context;
use crate::failure::Failure;
use crate::mask::MASK;
use crate::runner::history::{self, Execution, Status};
use crate::runner::{ExitCode, OnOverlap, Retry, arguments, report_error};

use super::show::existing_run;

/// Parses the words of a stored command line and runs it, if it is this job.
pub type Repeat = for<'a> fn(&'a Context, StoredCommand, Retry) -> LocalBoxFuture<'a, ExitCode>;

/// Retry what failed in a run
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The ID of the run
    id: i64,
    /// Run it again even if it has succeeded since
    #[arg(long)]
    rerun: bool,
    /// If another run holds the lease: `fail` at once with 75, or `wait=DURATION` first
    #[arg(long, value_name = "fail|wait=DURATION")]
    on_overlap: Option<OnOverlap>,
}

/// A command line that a run has stored.
pub struct StoredCommand {
    /// Its words, without the program.
    pub words: Vec<String>,
    /// The job of the run: a line that starts anything else is not run.
    pub job: String,
}

pub(super) async fn retry(cx: &Context, args: &RetryArgs, repeat: Repeat) -> ExitCode {
    let retry = Retry { run: args.id, rerun: args.rerun, on_overlap: args.on_overlap };
    match stored_command(cx, args).await {
        Ok(Some(stored)) => repeat(cx, stored, retry).await,
        Ok(None) => ExitCode::Completed,
        Err(error) => report_error(cx, &error),
    }
}

/// The command of a run, unless there is nothing left to retry.
async fn stored_command(cx: &Context, args: &RetryArgs) -> anyhow::Result<Option<StoredCommand>> {
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let last = history::last_attempt(&mut db, &run.job, &run.instance_key).await?;
    db.close().await;
    if !args.rerun
        && let Some(reason) = nothing_to_retry(&run, last.as_ref())
    {
        cx.output.status(&format!("{reason}: nothing to retry"));
        return Ok(None);
    }
    let words = arguments::split(&run.command_line)?;
    if words.iter().any(|word| word.contains(MASK)) {
        return Err(Failure::refused(format!(
            "a part of the command line of run {} is a secret and was not stored: `{}`",
            run.id, run.command_line
        ))
        .hint("type the command again with the secret's value")
        .into());
    }
    Ok(Some(StoredCommand { words, job: run.job }))
}

/// Why a run is not retried, if its work has been done.
fn nothing_to_retry(run: &Execution, last: Option<&Execution>) -> Option<String> {
    if run.is(Status::Completed) {
        return Some(format!("run {} completed", run.id));
    }
    let last = last.filter(|last| last.id > run.id && last.is(Status::Completed))?;
    (!run.instance_key.is_empty()).then(|| format!("{} was completed by run {} since", run.label(), last.id))
}

/// The refusal of a stored line that does not start the job of its run.
pub fn refuse_other_job(stored: &StoredCommand) -> Failure {
    Failure::refused(format!(
        "the stored command line does not start `{}`: `{}` is not run",
        stored.job,
        stored.words.join(" ")
    ))
}
