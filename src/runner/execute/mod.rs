//! The single entry point: takes a job from its arguments to the process's exit code.
//!
//! A [`Session`] is what a command has for all its instances. A [`Worker`] takes instances, one after the other over
//! its own connection, through the stages: `plan` (does it have to run?), `admission` (the lease), `attempt` (the work
//! under heartbeat, deadline and signals), `ending` (what is written) and `telling` (people and alert channels).
//! `lanes` runs several workers at the same time.

mod admission;
mod attempt;
mod ending;
mod lanes;
mod plan;
mod session;
mod telling;
#[cfg(test)]
mod tests;
mod worker;

use std::time::Duration;

use anyhow::Context as _;

use crate::channels::kept;
use crate::context::Context;
use crate::failure::{self, one_line};

use super::alert;
use super::command::AnyJob;
use super::exit::ExitCode;
use super::failpoint;
use super::interruption::Signals;
use super::options::RunOptions;
use super::outage::{self, Noted};
use super::verdict::{self, worse};
use lanes::run_lanes;
use session::Session;
pub use session::line_of_start;
use worker::{PlanShape, Worker};

/// How long the runner's own statements may take at a run's start and end.
const BOOKKEEPING_TIMEOUT: Duration = Duration::from_secs(35);
/// How long alerts may delay a command's end; what is not sent by then is sent later.
const ALERTING_TIMEOUT: Duration = Duration::from_secs(20);

/// What is stored when the results could not be shown, written or mailed.
const UNDELIVERED: &str =
    "the results are stored; only their delivery failed, and a retry repeats that alone";

/// Runs a job: every command that does batch work comes through here.
pub(super) async fn execute(cx: &Context, job: &dyn AnyJob, options: &RunOptions) -> ExitCode {
    match Signals::listen(cx.output.clone()).context("failed to listen for signals") {
        Ok(signals) => execute_under(cx, job, options, signals).await,
        Err(error) => report_error(cx, &error),
    }
}

/// Runs a job once the signal handlers are installed.
async fn execute_under(cx: &Context, job: &dyn AnyJob, options: &RunOptions, signals: Signals) -> ExitCode {
    if cx.output.is_watched() {
        cx.config.exposed().iter().for_each(|warning| cx.output.warn(warning));
    }
    let session = Session::new(cx, job, options, signals);
    let mut worker = match Worker::connect(&session).await {
        Ok(worker) => worker,
        Err(error) => return fail_to_connect(&session, &error).await,
    };
    if !outage::end(cx, &mut worker.db).await
        && let Err(error) = worker.reconnect().await
    {
        return fail_to_connect(&session, &error).await;
    }
    let code = match run_all(&session, &mut worker).await {
        Ok(code) => code,
        Err(error) => {
            let data =
                if session.has_leased.get() { "what was committed is stored" } else { "nothing was changed" };
            worker.fail_outside_runs(&error, data).await
        }
    };
    if code == ExitCode::Completed && !options.dry_run && !worker.is_database_gone {
        if !session.leaves_failures_open.get() {
            worker.settle_command().await;
        }
        outage::know(cx);
    }
    worker.note_outage(code).await;
    worker.complete_alerts().await;
    worker.print_failures();
    // A stop does not wait for a chat service; the alerts are kept for the next command.
    if !code.is_stop() && !worker.is_database_gone {
        let sending = async {
            alert::send_pending(cx, &mut worker.db).await;
            kept::send_due(cx, &mut worker.db).await;
        };
        drop(tokio::time::timeout(ALERTING_TIMEOUT, sending).await);
    }
    worker.close().await;
    code
}

/// No run could start. If the database cannot be used, people are told once, and not by each start.
async fn fail_to_connect(session: &Session<'_>, error: &anyhow::Error) -> ExitCode {
    let (cx, code) = (session.cx, ExitCode::of(error));
    let mut next = None;
    let start = session.start();
    if let Some(reason) = outage::reason(error).filter(|_| !session.options.dry_run) {
        let noted = outage::note(cx, start.clone(), &reason).await;
        if noted == Noted::Again && start.needs_nobody() && !cx.output.is_attended() {
            return code;
        }
        next = outage::next(cx, noted, &start).map(|next| format!("next:  {next}"));
    }
    let hint = verdict::hint(error).map(|hint| format!("hint: {}", cx.hint(hint)));
    let mut lines: Vec<String> = hint.into_iter().chain(next).collect();
    if !session.options.dry_run {
        lines.insert(0, "data:  nothing was changed".to_owned());
        let again = cx.command_as_meant(&start.line, error);
        let once = verdict::retry_once(error).unwrap_or("once this is corrected");
        lines.push(format!("retry: {again}  # {once}"));
    }
    let (job, number) = (session.spec.name, code.number());
    cx.output.error(&format!("{job} did not start (exit {number}): {}", one_line(error)), &lines);
    code
}

/// Runs the instances, then delivers the requested output.
async fn run_all(session: &Session<'_>, worker: &mut Worker<'_>) -> anyhow::Result<ExitCode> {
    let planning = session.bounds_of_planning();
    let instances = planning.keep(session.job.plan(session.cx, &mut worker.db)).await?;
    if session.options.dry_run {
        return match planning.keep(worker.show_plan(&instances)).await {
            // `--dry-run | head`: the reader has seen enough.
            Err(error) if failure::is_broken_pipe(&error) => Ok(ExitCode::Completed),
            Ok(ExitCode::Completed) => {
                let tried = planning.keep(session.job.try_out(session.cx, &mut worker.db)).await;
                Ok(end_plain(session.cx, tried))
            }
            shown => shown,
        };
    }
    let asked = instances.iter().filter(|instance| !instance.is_added);
    worker.arguments = worker.arguments.clone().spanning(asked.map(|instance| &instance.arguments));
    worker.layout = PlanShape::of(&instances);
    worker.has_planned = true;
    let results = run_lanes(session, worker, instances).await?;
    if worker.layout.is_long {
        session.cx.output.status(&format!("{}: {}", session.spec.name, results.tally.sentence()));
    }
    let mut worst = results.code(worker.layout.is_isolated, session.options.allow_partial);
    failpoint::reach(&session.cx.config, "before-deliver");
    let is_stopped = || session.signals.heard().is_some();
    if !results.completed.is_empty() && !is_stopped() && !worst.is_stop() && !worker.is_database_gone {
        let delivering = session.job.deliver(session.cx, &mut worker.db, &results.completed);
        if let Err(error) = session.bounds().keep(delivering).await
            && !failure::is_broken_pipe(&error)
        {
            let error = error.context(format!("failed to deliver `{}`", session.spec.name));
            worst = worse(worst, worker.fail_outside_runs(&error, UNDELIVERED).await);
        }
    }
    // Whoever asked for a stop learns that it was received, even if all work was done before it could take effect.
    Ok(session.signals.heard().map_or(worst, |signal| worse(worst, signal.exit_code())))
}

/// Prints an error that belongs to no run, and returns its exit code.
pub fn report_error(cx: &Context, error: &anyhow::Error) -> ExitCode {
    let hint = verdict::hint(error).map(|hint| format!("hint: {}", cx.hint(hint)));
    let hints: Vec<String> = hint.into_iter().collect();
    cx.output.error(&one_line(error), &hints);
    ExitCode::of(error)
}

/// Ends a command that is not a job.
pub(super) fn end_plain(cx: &Context, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::Completed,
        // `batchctl runs list | head`: the reader has seen enough.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::Completed,
        Err(error) => report_error(cx, &error),
    }
}
