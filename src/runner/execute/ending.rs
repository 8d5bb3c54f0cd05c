//! The end of a run: what is written, and what it means for the rest of the command.

use serde_json::json;

use crate::context::Context;
use crate::db::Db;
use crate::failure::{RESUMES, one_line};
use crate::period::shown_instant;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::history::{self, Execution, Status};
use crate::runner::interruption::Interruption;
use crate::runner::job::JobSpec;
use crate::runner::lease;
use crate::runner::retries::{self, Outlook};
use crate::runner::settling;
use crate::runner::verdict::{self, Verdict};

use super::BOOKKEEPING_TIMEOUT;
use super::admission::in_time;
use super::attempt::{Attempted, Work};
use super::worker::Worker;

impl Worker<'_> {
    /// Records how the run ended, reports it, and decides whether the command goes on.
    pub(super) async fn end(
        &mut self,
        instance: &Instance,
        execution: &Execution,
        mut work: Work,
    ) -> Attempted {
        (work.verdict, work.outlook) = self.write_ending(execution, &mut work).await;
        if work.leaves_failures_open {
            self.session.leaves_failures_open.set(true);
        }
        let (verdict, ending) = (&work.verdict, &work.ending);
        self.session.cx.output.event(
            "run ended",
            &json!({
                "job": self.session.spec.name, "instance": instance.key, "run": execution.id,
                "status": verdict.status.word(), "exit_code": verdict.code.number(), "duration_ms": ending.duration_ms,
                "items_read": ending.counts.read, "items_written": ending.counts.written,
                "items_skipped": ending.counts.skipped, "items_failed": ending.counts.failed,
                "error": verdict.message,
            }),
        );
        self.tell_of_end(instance, execution, &work).await;
        self.attempted(&work.verdict)
    }

    /// Records how the run ended. What could not be written did not happen, and the exit code reflects that.
    async fn write_ending(&mut self, execution: &Execution, work: &mut Work) -> (Verdict, Outlook) {
        let (cx, spec) = (self.session.cx, self.session.spec);
        let verdict = work.verdict.clone();
        // A future that was dropped in the middle leaves its connection in an unknown state.
        let is_connection_suspect = !matches!(verdict.status, Status::Completed | Status::Partial);
        let writing = async {
            if !is_connection_suspect && !self.db.is_in_transaction() {
                match write_ending_over(cx, spec, &mut self.db, execution, work).await {
                    Err(error) if ExitCode::of(&error) == ExitCode::TryLater => {}
                    written => return written,
                }
            }
            // A restarted server or a terminated connection is no reason to leave the end unrecorded.
            self.reconnect().await?;
            write_ending_over(cx, spec, &mut self.db, execution, work).await
        };
        let verdict = match tokio::time::timeout(BOOKKEEPING_TIMEOUT, writing).await {
            Ok(Ok(Some(outlook))) => return (verdict, outlook),
            Ok(Ok(None)) => self.taken_over(execution).await,
            Ok(Err(error)) => {
                self.give_up_database(Some(&error));
                self.unwritten(verdict, &error)
            }
            Err(_) => {
                self.give_up_database(None);
                self.unwritten(verdict, &anyhow::anyhow!("the database does not answer"))
            }
        };
        (verdict, Outlook::Left)
    }

    /// Another start found this run without a sign of life: whatever it did after that was not written.
    async fn taken_over(&mut self, execution: &Execution) -> Verdict {
        let message = Interruption::LeaseLost.to_string();
        let verdict = Verdict::new(Status::Crashed, ExitCode::Failed, Some(message));
        let finding = in_time("find the run that took over", lease::successor(&mut self.db, execution));
        let Ok(Some(later)) = finding.await else {
            let hint = "nothing was written after it was found without a sign of life; the next start goes on from there";
            return Verdict { hint: Some(hint.to_owned()), ..verdict };
        };
        let since = shown_instant(later.started_at, self.session.cx.time_zone());
        let hint = format!(
            "nothing to do: run {} (process {} on {}) took over at {since}; nothing was written after that",
            later.id, later.pid, later.host
        );
        Verdict { hint: Some(hint), successor: Some(later.id), ..verdict }
    }

    /// The run's end could not be written: its row still says RUNNING, and the next start takes over.
    fn unwritten(&self, verdict: Verdict, error: &anyhow::Error) -> Verdict {
        let (hint, once) = (verdict::hint(error), verdict::retry_once(error));
        let error = one_line(error);
        let code = match verdict.status {
            Status::Completed | Status::Partial | Status::Failed => ExitCode::TryLater,
            _ => verdict.code,
        };
        let message = match verdict.message {
            // A full disk fails the work and the record of it alike.
            Some(message) if message.contains(&error) => {
                format!("{message}; nor could the run's end be written")
            }
            Some(message) => format!("{message}; failed to write the run's end: {error}"),
            None => format!("failed to write the run's end: {error}"),
        };
        Verdict {
            hint: Some(hint.unwrap_or(RESUMES).to_owned()),
            retry_once: Some(once.unwrap_or("once the database answers").to_owned()),
            ..Verdict::new(Status::Failed, code, Some(self.session.redactor.redact(&message)))
        }
    }

    /// Whether the command goes on with the next instance.
    fn attempted(&self, verdict: &Verdict) -> Attempted {
        match (verdict.status, verdict.code) {
            (Status::Completed, _) => match self.session.signals.heard() {
                // The work was done before the signal could stop it; still never 0.
                Some(signal) => {
                    Attempted { is_complete: true, ..Attempted::end_of_command(signal.exit_code()) }
                }
                None => Attempted::complete(),
            },
            (Status::Partial, code) => Attempted { code, ..Attempted::complete() },
            (Status::Stopped | Status::Crashed, code) => Attempted::end_of_command(code),
            // A database that is gone will not be there for the next instance either.
            (_, code) if self.is_database_gone => Attempted::end_of_command(code),
            // Nor will the outside system that this instance could not reach, unless each instance has its own.
            (_, ExitCode::TryLater) if !self.layout.is_isolated => {
                Attempted::end_of_command(ExitCode::TryLater)
            }
            (_, code) => Attempted::incomplete(code),
        }
    }
}

/// Records how a run ended, with the item errors that no chunk has written, and requests its retry if it failed for a
/// transient cause. Returns what becomes of it, or nothing if the run was no longer ours.
async fn write_ending_over(
    cx: &Context,
    spec: &JobSpec,
    db: &mut Db,
    execution: &Execution,
    work: &mut Work,
) -> anyhow::Result<Option<Outlook>> {
    db.transaction(async |db| {
        keep_to_checkpoint(db, spec, execution, work).await?;
        let work = &*work;
        let ending = &work.ending;
        let resolves = ending.status == Status::Completed
            && !work.leaves_failures_open
            && (execution.attempt > 1 || execution.retry_of.is_some());
        if !history::finish(db, execution.id, execution.epoch, ending).await? {
            // A commit whose acknowledgement was lost has written it already; CRASHED is always somebody else's word.
            let row = history::find(db, execution.id).await?;
            let is_written = row.is_some_and(|row| row.is(ending.status) && !row.is(Status::Crashed));
            return Ok(is_written.then_some(Outlook::Left));
        }
        if !work.errors.is_empty() {
            history::insert_errors(db, execution.id, &work.errors, ending.ended_at).await?;
        }
        if resolves {
            // A run of a shared job did its own items: it says nothing about those that another one gave up on.
            if execution.exclusion_key.is_some() {
                let done =
                    history::Done { limited_to: work.retry_items.as_ref(), still_open: &work.still_open };
                history::resolve_errors(db, execution, &done, ending.ended_at).await?;
            }
            if let Some(retried) = execution.retry_of {
                // It may be of another instance by now: a file that was fixed has another content.
                history::resolve_errors_of(db, retried, ending.ended_at).await?;
            }
        }
        if ending.status == Status::Completed && !work.leaves_failures_open {
            settling::settle_by_run(db, execution, work.retry_items.is_some(), ending.ended_at).await?;
        }
        let outlook = match ending.status {
            Status::Failed | Status::Partial
                if retries::is_transient(db, execution, work.verdict.code).await? =>
            {
                retries::outlook(cx, db, spec, execution).await?
            }
            _ => Outlook::Left,
        };
        retries::request(db, execution.id, &outlook, cx.machine_time()).await?;
        Ok(Some(outlook))
    })
    .await
}

/// A run that was cut short and has a checkpoint goes on from there: what it counted and gave up on after that, it will
/// count and give up on again. Its row knows more than the run: the deadline may have come while a commit was on its way.
async fn keep_to_checkpoint(
    db: &mut Db,
    spec: &JobSpec,
    execution: &Execution,
    work: &mut Work,
) -> anyhow::Result<()> {
    let Some(last_commit) = &work.last_commit else { return Ok(()) };
    let Some(stored) = history::counts_at_checkpoint(db, execution.id).await? else { return Ok(()) };
    work.left_behind = last_commit.left_behind(&spec.items, stored);
    work.ending.counts = stored;
    work.errors.clear();
    Ok(())
}
