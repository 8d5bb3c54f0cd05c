//! `runs retry`: runs the command line that a run has stored, limited to what failed.

use futures_util::future::LocalBoxFuture;

use crate::context::Context;
use crate::failure::Failure;
use crate::mask::MASK;
use crate::runner::arguments::Arguments;
use crate::runner::history::{self, Execution, Status};
use crate::runner::stored_line::{self, Origin};
use crate::runner::{ExitCode, OnOverlap, Retry, arguments, report_error, worse};

use super::show::existing_run;

/// Parses the words of a stored command line and runs it, if it is this job.
pub type Repeat = for<'a> fn(&'a Context, StoredCommand, Retry) -> LocalBoxFuture<'a, ExitCode>;

/// Retry what failed in runs, one after the other
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The IDs of the runs
    // Any program may have requested the retry of a run `-1`, which is not a flag.
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true)]
    ids: Vec<i64>,
    /// Run it again even if it has succeeded since
    #[arg(long)]
    rerun: bool,
    /// If another run holds the lease: `fail` at once with 75, or `wait=DURATION` first
    #[arg(long, value_name = "fail|wait=DURATION")]
    on_overlap: Option<OnOverlap>,
    /// Flags that are added to those the runs were started with, or replace them: `runs retry 7 -- --timeout 4h`
    #[arg(last = true, value_name = "FLAG", allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// A command line that a run has stored.
pub struct StoredCommand {
    /// Its words, without the program. Flags that were added come last and replace earlier ones.
    pub words: Vec<String>,
    /// The flags that were added: what they name was typed here.
    pub flags: Vec<String>,
    /// The job of the run: a line that starts anything else is not run.
    pub job: String,
    /// The run.
    pub run: i64,
    /// Where the line comes from.
    pub origin: Origin,
}

pub(super) async fn retry(cx: &Context, args: &RetryArgs, repeat: Repeat) -> ExitCode {
    let mut worst = ExitCode::Completed;
    for run in &args.ids {
        let retry = Retry { run: *run, rerun: args.rerun, is_unproven: true, on_overlap: args.on_overlap };
        let code = match stored_command(cx, *run, args).await {
            Ok(Some(stored)) => repeat(cx, stored, retry).await,
            Ok(None) => ExitCode::Completed,
            Err(error) => report_error(cx, &error),
        };
        worst = worse(worst, code);
        if code.is_stop() {
            break;
        }
    }
    worst
}

/// Refuses flags that say how a command is run and not what its runs do, since a retry has its own, and those that choose
/// other instances, whose success would settle a failure that is not theirs.
fn refuse_flags(job: &str, flags: &[String]) -> Result<(), Failure> {
    let names = flags.iter().filter_map(|flag| flag.strip_prefix("--")?.split('=').next());
    for name in
        names.chain(flags.iter().filter_map(|flag| (flag == "-v" || flag == "-vv").then_some("verbose")))
    {
        let advice = match name {
            "rerun" | "on-overlap" | "env" | "verbose" | "log-format" => "write it before the `--`",
            "dry-run" | "only" | "grace" => "a retry does not have it",
            "date" | "from" | "to" | "domain" => "start the job itself with it",
            // A file may not say whose it is.
            "mall" if job != "data import" => "start the job itself with it",
            _ => continue,
        };
        return Err(Failure::usage(format!("--{name} cannot be added to a run's command: {advice}")));
    }
    Ok(())
}

/// The command of a run, unless there is nothing left to retry.
async fn stored_command(cx: &Context, id: i64, args: &RetryArgs) -> anyhow::Result<Option<StoredCommand>> {
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, id).await?;
    let last = history::last_attempt(&mut db, &run.job, &run.instance_key).await?;
    let origin = stored_line::origin(cx, &mut db, run.id, &run.job, &run.command_line).await?;
    let is_made_good = history::is_made_good(&mut db, &run).await?;
    db.close().await;
    refuse_flags(&run.job, &args.flags)?;
    if !args.rerun
        && let Some(reason) = nothing_to_retry(&run, last.as_ref(), is_made_good)
    {
        cx.output.status(&format!("{reason}: nothing to retry"));
        return Ok(None);
    }
    let mut words = arguments::split(&run.command_line)?;
    // What follows a `--` of the stored line is a file.
    let end_of_flags = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end_of_flags..end_of_flags, args.flags.iter().cloned());
    if words.iter().any(|word| word.contains(MASK)) {
        return Err(Failure::refused(format!(
            "a part of the command line of run {} is a secret and was not stored: `{}`",
            run.id, run.command_line
        ))
        .hint("type the command again with the secret's value")
        .into());
    }
    Ok(Some(StoredCommand { words, flags: args.flags.clone(), job: run.job, run: run.id, origin }))
}

/// Why a run is not retried, if its work has been done.
fn nothing_to_retry(run: &Execution, last: Option<&Execution>, is_made_good: bool) -> Option<String> {
    if run.is(Status::Completed) {
        return Some(format!("run {} completed", run.id));
    }
    let completed = last.filter(|last| last.id > run.id && last.is(Status::Completed));
    if let Some(last) = completed.filter(|_| !run.instance_key.is_empty()) {
        return Some(format!("{} was completed by run {} since", run.label(), last.id));
    }
    let by = run.settled_by.map(|by| format!(" by run {by}")).unwrap_or_default();
    is_made_good.then(|| format!("what failed in run {} has been done{by} since", run.id))
}

impl StoredCommand {
    /// Refuses to read or write files, and to mail anything to anybody, that only an unproven text names.
    pub fn refuse_foreign_places(&self, cx: &Context, arguments: &Arguments) -> Result<(), Failure> {
        if self.origin == Origin::Own {
            return Ok(());
        }
        let value = |flag: &str| flag.split_once('=').map_or(flag, |(_, value)| value).to_owned();
        let typed: Vec<String> = self.flags.iter().map(|flag| value(flag)).collect();
        let is_stored =
            |place: &String| !typed.iter().any(|typed| typed.split(',').any(|part| part == place));
        let paths: Vec<String> = arguments.paths().into_iter().filter(|path| !typed.contains(path)).collect();
        stored_line::refuse_foreign_files(cx, self.run, &paths)?;
        match arguments.addresses().iter().find(|address| is_stored(address)) {
            Some(address) => Err(stored_line::unproven(self.run, &format!("mails something to `{address}`"))),
            None => Ok(()),
        }
    }
}

/// The refusal of a stored line that does not start the job of its run.
pub fn refuse_other_job(stored: &StoredCommand) -> Failure {
    Failure::refused(format!(
        "the stored command line does not start `{}`: `{}` is not run",
        stored.job,
        stored.words.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::NOT_REPEATED;

    #[test]
    fn what_says_how_a_command_is_run_cannot_be_added_to_a_retry() {
        let refused = |flag: &str| refuse_flags("mail flush", &[flag.to_owned()]).is_err();
        for name in NOT_REPEATED.map(|id| format!("--{}", id.replace('_', "-"))) {
            assert!(refused(&name) && refused(&format!("{name}=x")), "{name}");
        }
        assert!(refused("--env=prod") && refused("-v") && refused("--date=yesterday") && refused("--mall"));
        assert!(refuse_flags("data import", &["--mall".to_owned()]).is_ok());
        assert!(!refused("--timeout") && !refused("--delimiter=;") && !refused("--environs"));
    }
}
