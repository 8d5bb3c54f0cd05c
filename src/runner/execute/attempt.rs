//! One attempt at an instance: the job's work under heartbeat, deadline and signals.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use serde_json::json;

use crate::mask::Redactor;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::failpoint;
use crate::runner::history::{self, Ending, ItemError, Status, bigint};
use crate::runner::interruption::Interruption;
use crate::runner::lease::{Acquired, Grant, Heartbeat};
use crate::runner::process::usage;
use crate::runner::retries::Outlook;
use crate::runner::run::{LastCommit, Run, Scenario};
use crate::runner::verdict::{Terms, Verdict, panicked};

use super::admission::in_time;
use super::plan::Scope;
use super::worker::Worker;

/// How an attempt at an instance ended.
pub(super) struct Attempted {
    pub(super) code: ExitCode,
    /// The instance's results are in place, from this run or an earlier one.
    pub(super) is_complete: bool,
    /// No further instance is to be tried.
    pub(super) ends_command: bool,
    /// Another run holds the instance's exclusion key.
    pub(super) is_turned_away: bool,
}

impl Attempted {
    pub(super) fn complete() -> Self {
        Self { code: ExitCode::Completed, is_complete: true, ends_command: false, is_turned_away: false }
    }

    pub(super) fn incomplete(code: ExitCode) -> Self {
        Self { code, is_complete: false, ..Self::complete() }
    }

    pub(super) fn end_of_command(code: ExitCode) -> Self {
        Self { ends_command: true, ..Self::incomplete(code) }
    }
}

/// A run's work, when it is over.
pub(super) struct Work {
    pub(super) verdict: Verdict,
    pub(super) ending: Ending,
    /// The item errors that no chunk has written.
    pub(super) errors: Vec<ItemError>,
    /// What becomes of it, if it failed for a transient cause.
    pub(super) outlook: Outlook,
    /// The items that the run was limited to; `None` if it did all.
    pub(super) retry_items: Option<BTreeSet<String>>,
    /// The items of earlier runs that are still open.
    pub(super) still_open: Vec<String>,
    /// What the job reports about its success.
    pub(super) summary: Vec<String>,
    /// The first item errors, for the failure message.
    pub(super) quoted: Vec<String>,
    /// What is there although the run did not succeed, in words.
    pub(super) left_behind: String,
    /// Whether its success says nothing about earlier failures.
    pub(super) leaves_failures_open: bool,
    /// If it was cut short, and the next start goes on from its checkpoint: what is known of its last commit.
    pub(super) last_commit: Option<LastCommit>,
}

impl Worker<'_> {
    /// Gets the lease, does the work, and records and reports how it ended.
    pub(super) async fn attempt(&mut self, instance: &Instance, scope: Scope) -> anyhow::Result<Attempted> {
        let config = &self.session.cx.config;
        failpoint::reach(config, "before-lease");
        let grant = match self.acquire(instance, scope != Scope::Incomplete).await? {
            Acquired::Granted(grant) => grant,
            Acquired::AlreadyCompleted(run) => {
                let name = instance.label(self.session.spec.name);
                self.say(&format!("{name}: already completed by run {}", run.id));
                return Ok(Attempted::complete());
            }
            Acquired::DoneInPart(run) => return Ok(self.join(instance, &run)),
            Acquired::Held { holder, at, is_locking } => {
                return self.turn_away(instance, &holder, at, is_locking).await;
            }
        };
        self.session.has_leased.set(true);
        failpoint::reach(config, "after-lease");
        self.tell_of_dead_runs(&grant).await;
        let work = self.work(instance, &grant, scope).await?;
        failpoint::reach(config, "before-finish");
        Ok(self.end(instance, &grant.execution, work).await)
    }

    /// Runs the job's work.
    async fn work(&mut self, instance: &Instance, grant: &Grant, scope: Scope) -> anyhow::Result<Work> {
        let (only_due, does_all) = (scope == Scope::Due, scope != Scope::Incomplete);
        let session = self.session;
        let (cx, execution) = (session.cx, &grant.execution);
        self.run = Some(execution.id);
        let scenario = Scenario {
            skip_limit: session.options.skip_limit.or(cx.config.job_skip_limit(session.spec.name)),
            retry_items: match session.options.retry_of {
                Some(run) => {
                    let items = history::items_to_retry(&mut self.db, run);
                    // With --rerun what has been done since is done again, too.
                    let items = in_time("read what to retry", items).await?;
                    items.filter(|items| !items.is_empty() || !session.options.rerun)
                }
                None => None,
            },
            only_due,
            is_again: scope == Scope::Again,
            does_what_was_left: !does_all && session.options.retry_of.is_none(),
            deadline: session.deadline,
            progress_label: self.layout.is_side_by_side.then(|| instance.key.clone()),
        };
        let terms = Terms {
            skip_limit: scenario.skip_limit,
            allow_partial: session.options.allow_partial,
            deadline: session.deadline,
            redactor: &session.redactor,
        };
        cx.output.event(
            "run started",
            &json!({
                "job": session.spec.name, "instance": instance.key, "run": execution.id, "attempt": execution.attempt,
            }),
        );
        let started = Instant::now();
        let used_before = usage();
        let mut heartbeat = Heartbeat::start(
            cx.config.database_url().to_owned(),
            execution.id,
            execution.epoch,
            cx.config.lease().lease(),
            cx.config.lease().heartbeat(),
        );

        let mut run = Run::new(cx, &mut self.db, execution, &session.signals, scenario);
        let mut signals = session.signals.clone();
        let result = {
            let work = AssertUnwindSafe(session.job.run(&mut run, instance)).catch_unwind();
            tokio::pin!(work);
            tokio::select! {
                biased;
                result = &mut work => result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
                () = heartbeat.lost() => Err(Interruption::LeaseLost.into()),
                () = tokio::time::sleep(session.deadline) => Err(Interruption::TimedOut.into()),
                signal = signals.wait_and(session.grace()) => Err(Interruption::Stopped(signal).into()),
            }
        };
        failpoint::reach(&cx.config, "after-work");
        let (is_done, discards_checkpoint) = (result.is_ok(), run.discards_checkpoint());
        let (counts, provisional) = (run.counts_at_end(is_done), run.provisional());
        let left = run.into_leftovers(&session.spec.items, is_done);
        drop(heartbeat);

        let mut verdict = Verdict::of(result, counts, &terms);
        if verdict.status == Status::Partial && provisional == counts.skipped + counts.failed {
            verdict.message = Some(session.spec.items.provisional(provisional, counts.read));
        }
        if verdict.message.is_some() && verdict.hint.is_none() && !left.hints.is_empty() {
            verdict.hint = Some(left.hints.join("; "));
        }
        verdict.retry_once = verdict.retry_once.or(left.retry_once.filter(|_| verdict.message.is_some()));
        let used = usage();
        let ending = Ending {
            status: verdict.status,
            ended_at: cx.now(),
            duration_ms: bigint(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            peak_memory_bytes: used.peak_memory_bytes,
            cpu_time_ms: used.cpu_time_ms - used_before.cpu_time_ms,
            exit_code: i64::from(verdict.code.number()),
            error_class: verdict.message.as_ref().map(|_| verdict.code.class().to_owned()),
            error_message: verdict.message.clone(),
            summary: kept_summary(&left.summary, &cx.config.redactor()),
            counts,
            // After work that ended there is nothing to resume: once the bad data is fixed, the next run starts over.
            discards_checkpoint: (discards_checkpoint || is_done) && verdict.status == Status::Failed,
        };
        Ok(Work {
            verdict,
            ending,
            errors: left.errors,
            outlook: Outlook::Left,
            retry_items: left.retry_items,
            still_open: left.still_open,
            summary: left.summary,
            quoted: left.quoted,
            left_behind: left.left_behind,
            leaves_failures_open: left.leaves_failures_open,
            last_commit: left.last_commit.filter(|_| !discards_checkpoint),
        })
    }
}

/// How much of a summary is kept: some dozens of sentences.
const SUMMARY_BYTES: usize = 8 * 1024;

/// A summary as it is kept with the run, without sentences beyond its length.
fn kept_summary(sentences: &[String], redactor: &Redactor) -> Option<String> {
    let mut kept = String::new();
    for (place, sentence) in sentences.iter().enumerate() {
        // It may quote a file.
        let line = redactor.redact(sentence).replace('\n', " ").replace('\0', "␀");
        if kept.len() + line.len() >= SUMMARY_BYTES {
            kept.push_str(&format!("\n… and {} more", sentences.len() - place));
            break;
        }
        if !kept.is_empty() {
            kept.push('\n');
        }
        kept.push_str(&line);
    }
    (!kept.is_empty()).then_some(kept)
}
