//! The one way in: takes a job from its arguments to the process's exit code.

mod lanes;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::FutureExt;
use serde_json::json;

use crate::context::Context;
use crate::db::Db;
use crate::failure::{self, Failure, one_line};
use crate::mask::Redactor;
use crate::period::format_duration;

use super::alert;
use super::command_line;
use super::exit::ExitCode;
use super::failpoint;
use super::failure_notes::FailureNotes;
use super::history::{self, Ending, Execution, ItemError, Status, bigint, label};
use super::interruption::{Interruption, Signals};
use super::lease::{self, Acquired, Grant, Heartbeat};
use super::options::{OnOverlap, Only, RunOptions};
use super::process::{ProcessIdentity, usage};
use super::run::Run;
use super::spec::{Exclusion, Instance, Job, JobSpec, Standing};
use super::verdict::{Terms, Verdict, panicked, worse};

/// How often a waiting run asks again: first soon, since most runs are short, then calmly.
const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// How long the runner's own last words to the database may take.
const BOOKKEEPING_TIMEOUT: Duration = Duration::from_secs(35);
/// How long it tries to note a failure that is most likely the database's own, or a stop.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// With more instances than this in a lane, a bar and one line at the end take the place of a line each.
const LINES_OF_INSTANCES: usize = 7;
/// How long a command's end may be held up by alerts; what is not sent by then is sent later.
const ALERTING_TIMEOUT: Duration = Duration::from_secs(20);

/// How many instances the longest of the lanes has.
fn longest_lane(instances: &[Instance]) -> usize {
    let length = |lane: &str| instances.iter().filter(|instance| instance.lane == lane).count();
    instances.iter().map(|instance| length(&instance.lane)).max().unwrap_or(0)
}

/// Runs a job: every command that does batch work comes through here.
pub async fn execute<J: Job>(cx: &Context, job: &J, options: &RunOptions) -> ExitCode {
    match Signals::listen(cx.output.clone()).context("failed to listen for signals") {
        Ok(signals) => execute_under(cx, job, options, signals).await,
        Err(error) => report_error(cx, &error),
    }
}

/// Runs a job under signals that are listened to.
async fn execute_under<J: Job>(cx: &Context, job: &J, options: &RunOptions, signals: Signals) -> ExitCode {
    let mut session = match Session::open(cx, J::SPEC, options, signals).await {
        Ok(session) => session,
        Err(error) => return report_error(cx, &error),
    };
    let code = match session.run_all(job).await {
        Ok(code) => code,
        Err(error) => session.fail_outside_runs(&error).await,
    };
    // Whoever asked for a stop does not wait for a chat service; the alerts are kept for the next command.
    let was_stopped = matches!(code, ExitCode::Interrupted | ExitCode::Terminated);
    if !was_stopped && !session.is_database_gone {
        drop(tokio::time::timeout(ALERTING_TIMEOUT, alert::send_pending(cx, &mut session.db)).await);
    }
    session.close().await;
    code
}

/// Prints an error that belongs to no run, and gives its exit code.
pub fn report_error(cx: &Context, error: &anyhow::Error) -> ExitCode {
    let hints: Vec<String> = failure::hint(error).map(|hint| format!("hint: {hint}")).into_iter().collect();
    cx.output.error(&one_line(error), &hints);
    ExitCode::of(error)
}

/// Ends a command that is no batch job.
pub fn end_plain(cx: &Context, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::Completed,
        // `batchctl runs list | head`: the reader has seen enough.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::Completed,
        Err(error) => report_error(cx, &error),
    }
}

/// What became of one instance.
struct Outcome {
    code: ExitCode,
    /// Whether the instance's results stand, from this run or an earlier one.
    is_complete: bool,
    /// Whether no further instance is to be tried.
    ends_command: bool,
    /// Whether another run holds the instance's place.
    is_turned_away: bool,
}

impl Outcome {
    fn complete() -> Self {
        Self { code: ExitCode::Completed, is_complete: true, ends_command: false, is_turned_away: false }
    }

    fn incomplete(code: ExitCode) -> Self {
        Self { code, is_complete: false, ..Self::complete() }
    }

    fn end_of_command(code: ExitCode) -> Self {
        Self { ends_command: true, ..Self::incomplete(code) }
    }
}

/// What a look at the history says about an instance before anything is done.
enum Plan {
    Run { because: String, scope: Scope },
    Skip { because: String, is_complete: bool },
}

/// What became of the instances.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    completed: usize,
    partial: usize,
    skipped: usize,
    failed: usize,
}

impl Tally {
    fn sentence(&self) -> String {
        let parts = [
            (self.completed, "completed"),
            (self.partial, "completed in part"),
            (self.skipped, "already completed"),
            (self.failed, "not completed"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }
}

/// What a command does outside its runs (finding its instances, delivering) has a deadline and hears a stop too.
struct Bounds {
    signals: Signals,
    deadline: Duration,
    grace: Duration,
}

impl Bounds {
    async fn keep<T>(&self, step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut signals = self.signals.clone();
        tokio::select! {
            biased;
            result = step => result,
            () = tokio::time::sleep(self.deadline) => Err(Interruption::TimedOut.into()),
            signal = async { let signal = signals.wait().await; tokio::time::sleep(self.grace).await; signal } =>
                Err(Interruption::Stopped(signal).into()),
        }
    }
}

/// How much of an instance a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All of it, unless it is complete.
    Incomplete,
    /// All of it, even if it is complete.
    Again,
    /// It is complete but for what became due since.
    Due,
}

/// One command's way through its instances, or one lane of it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, none of them a state")]
struct Session<'a> {
    cx: &'a Context,
    spec: JobSpec,
    options: &'a RunOptions,
    signals: Signals,
    identity: ProcessIdentity,
    db: Db,
    /// The run that the connection serves, or served last.
    run: Option<i64>,
    deadline: Duration,
    redactor: Redactor,
    failures: FailureNotes,
    /// Whether there are too many instances for a line each.
    is_long: bool,
    /// Whether the database stopped to answer: nothing more is asked of it.
    is_database_gone: bool,
    /// The instance, if there is just one.
    only_instance: Option<Instance>,
    /// Whether an instance's failure says nothing of the next one: those of a job with named lanes.
    is_isolated: bool,
    /// Whether other lanes run beside this one.
    is_beside_others: bool,
}

impl<'a> Session<'a> {
    async fn open(
        cx: &'a Context,
        spec: JobSpec,
        options: &'a RunOptions,
        signals: Signals,
    ) -> anyhow::Result<Self> {
        failpoint::reach(&cx.config, "start");
        let deadline = options.timeout.or(cx.config.job_timeout(spec.name)).unwrap_or(spec.deadline);
        let identity = ProcessIdentity::own();
        let mut db = cx.db().await?;
        lease::introduce(&mut db, &identity, None).await?;
        Ok(Self {
            cx,
            spec,
            options,
            signals,
            identity,
            db,
            run: None,
            deadline,
            redactor: cx.config.redactor(),
            failures: FailureNotes::default(),
            is_long: false,
            is_database_gone: false,
            only_instance: None,
            is_isolated: false,
            is_beside_others: false,
        })
    }

    /// Closes the connection in an orderly way, where that is still possible.
    async fn close(self) {
        if !self.db.is_in_transaction() && !self.is_database_gone {
            self.db.close().await;
        }
    }

    /// Takes a new connection in the place of one that is lost or in an unknown state.
    async fn reconnect(&mut self) -> anyhow::Result<()> {
        let mut db = Db::connect(self.cx.config.database_url(), false).await?;
        lease::introduce(&mut db, &self.identity, self.run).await?;
        self.db = db;
        Ok(())
    }

    /// Runs the instances, then delivers what was asked for.
    async fn run_all<J: Job>(&mut self, job: &J) -> anyhow::Result<ExitCode> {
        let bounds = self.bounds();
        let instances = bounds.keep(job.instances(self.cx, &mut self.db)).await?;
        if self.options.dry_run {
            return self.show_plan(job, &instances).await;
        }
        if let [only] = instances.as_slice() {
            self.only_instance = Some(only.clone());
        }
        self.is_long = longest_lane(&instances) > LINES_OF_INSTANCES;
        self.is_isolated = instances.iter().any(|instance| !instance.lane.is_empty());
        let results = self.run_lanes(job, instances, &bounds).await?;
        if self.is_long {
            self.cx.output.status(&format!("{}: {}", self.spec.name, results.tally.sentence()));
        }
        let mut worst = results.code(self.is_isolated, self.options.allow_partial);
        let was_stopped = matches!(worst, ExitCode::Interrupted | ExitCode::Terminated);
        failpoint::reach(&self.cx.config, "before-deliver");
        if !results.completed.is_empty()
            && !was_stopped
            && !self.is_database_gone
            && let Err(error) = bounds.keep(job.deliver(self.cx, &mut self.db, &results.completed)).await
            && !failure::is_broken_pipe(&error)
        {
            let error = error.context(format!("failed to deliver `{}`", self.spec.name));
            worst = worse(worst, self.fail_outside_runs(&error).await);
        }
        self.failures.print(self.cx, self.spec.name);
        Ok(worst)
    }

    /// The command line that repeats an instance under the same terms.
    fn stored_line(&self, instance: &Instance) -> String {
        let mut terms = Vec::new();
        if let Some(limit) = self.options.skip_limit {
            terms.push(format!("--skip-limit={limit}"));
        }
        if let Some(timeout) = self.options.timeout {
            terms.push(format!("--timeout={}", format_duration(timeout)));
        }
        if self.options.allow_partial {
            terms.push("--allow-partial".to_owned());
        }
        let mut arguments = instance.arguments.clone();
        // Behind `--` they would be taken for files.
        let place = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        arguments.splice(place..place, terms);
        command_line::join(&arguments)
    }

    /// The bounds of what the command does outside its runs.
    fn bounds(&self) -> Bounds {
        Bounds { signals: self.signals.clone(), deadline: self.deadline, grace: self.grace() }
    }

    fn grace(&self) -> Duration {
        self.options.grace.unwrap_or(Duration::from_secs(25))
    }

    /// Decides from the history whether an instance has to run.
    async fn plan<J: Job>(&mut self, job: &J, instance: &Instance) -> anyhow::Result<Plan> {
        let run = |because: &str, scope| Plan::Run { because: because.to_owned(), scope };
        if instance.is_repeatable() {
            return Ok(run("runs every time", Scope::Incomplete));
        }
        let last = history::last_attempt(&mut self.db, self.spec.name, &instance.key).await?;
        if self.options.rerun || self.options.only == Some(Only::All) {
            return Ok(run("asked to run again", Scope::Again));
        }
        let is_failed_wanted = self.options.only == Some(Only::Failed);
        Ok(match last {
            None if is_failed_wanted => Plan::Skip {
                because: "never ran, and only failed ones are wanted".to_owned(),
                is_complete: false,
            },
            None => run("no run yet", Scope::Incomplete),
            Some(last) if last.is(Status::Completed) => {
                match job.standing(self.cx, &mut self.db, instance).await? {
                    Standing::Complete(news) => {
                        let news = news.map(|news| format!("; {news}")).unwrap_or_default();
                        let because = format!("already completed by run {}{news}", last.id);
                        Plan::Skip { because, is_complete: true }
                    }
                    Standing::Due(reason) if !is_failed_wanted => {
                        Plan::Run { because: reason, scope: Scope::Due }
                    }
                    Standing::Due(_) => {
                        let because = format!("completed by run {}", last.id);
                        Plan::Skip { because, is_complete: true }
                    }
                }
            }
            Some(last) => run(&format!("run {} is {}", last.id, last.status), Scope::Incomplete),
        })
    }

    /// `--dry-run`: which instances would run and why.
    async fn show_plan<J: Job>(&mut self, job: &J, instances: &[Instance]) -> anyhow::Result<ExitCode> {
        for instance in instances {
            let line = match self.plan(job, instance).await? {
                Plan::Run { because, .. } => {
                    format!("would run   {}: {because}\n", label(self.spec.name, &instance.key))
                }
                Plan::Skip { because, .. } => {
                    format!("would skip  {}: {because}\n", label(self.spec.name, &instance.key))
                }
            };
            self.cx.output.data(line.as_bytes())?;
        }
        if instances.is_empty() {
            self.cx.output.data(b"nothing to do\n")?;
        }
        Ok(ExitCode::Completed)
    }

    /// Gets the lease, does the work and writes how it ended.
    async fn run_instance<J: Job>(
        &mut self,
        job: &J,
        instance: &Instance,
        scope: Scope,
    ) -> anyhow::Result<Outcome> {
        failpoint::reach(&self.cx.config, "before-lease");
        let grant = match self.acquire(instance, scope != Scope::Incomplete).await? {
            Acquired::Granted(grant) => grant,
            Acquired::AlreadyCompleted(run) => {
                let name = label(self.spec.name, &instance.key);
                self.say(&format!("{name}: already completed by run {}", run.id));
                return Ok(Outcome::complete());
            }
            Acquired::Held(holder) => return self.turn_away(instance, &holder).await,
        };
        failpoint::reach(&self.cx.config, "after-lease");
        self.tell_of_dead_runs(&grant).await;
        self.work(job, instance, &grant, scope == Scope::Due).await
    }

    /// What a run of the instance holds against others; nothing for shared jobs.
    fn exclusion_key(&self, instance: &Instance) -> Option<String> {
        match self.spec.exclusion {
            Exclusion::Job => Some(self.spec.name.to_owned()),
            Exclusion::Instance => {
                Some(format!("{} {}", self.spec.name, instance.exclusion).trim().to_owned())
            }
            Exclusion::Shared => None,
        }
    }

    /// Asks for the lease until it is granted, refused or waited for in vain.
    async fn acquire(&mut self, instance: &Instance, again: bool) -> anyhow::Result<Acquired> {
        let exclusion_key = self.exclusion_key(instance);
        let patience = match (self.options.on_overlap, self.spec.exclusion) {
            (Some(OnOverlap::Wait(duration)), _) => duration,
            (None, Exclusion::Instance) => self.deadline,
            (Some(OnOverlap::Fail), _) | (None, Exclusion::Job | Exclusion::Shared) => Duration::ZERO,
        };
        let bounds = self.bounds();
        let line = self.stored_line(instance);
        let waiting_since = Instant::now();
        let mut poll = FIRST_POLL;
        loop {
            let request = lease::Request {
                job: self.spec.name,
                instance_key: &instance.key,
                exclusion_key: exclusion_key.as_deref(),
                command_line: &line,
                rerun: again,
                retry_of: self.options.retry_of,
                now: self.cx.now(),
                lease: self.cx.config.lease().lease(),
                identity: &self.identity,
                environment: self.cx.config.environment(),
            };
            let asking = async {
                tokio::time::timeout(BOOKKEEPING_TIMEOUT, lease::acquire(&mut self.db, &request))
                    .await
                    .map_err(|_| {
                        Failure::try_later("failed to get the lease: the database does not answer")
                    })?
            };
            let acquired = bounds.keep(asking).await?;
            let Acquired::Held(holder) = &acquired else { return Ok(acquired) };
            if waiting_since.elapsed() >= patience || self.signals.heard().is_some() {
                return Ok(acquired);
            }
            if poll == FIRST_POLL {
                self.cx.output.status(&format!(
                    "{}: waiting for run {} ({} on {}, since {})",
                    label(self.spec.name, &instance.key),
                    holder.id,
                    holder.pid,
                    holder.host,
                    holder.started_at.format("%H:%M:%S")
                ));
            }
            let remaining = patience.saturating_sub(waiting_since.elapsed());
            let mut signals = self.signals.clone();
            tokio::select! {
                () = tokio::time::sleep(poll.min(remaining)) => {}
                _ = signals.wait() => {}
            }
            poll = (poll * 2).min(SLOWEST_POLL);
        }
    }

    /// Leaves a row of the refusal and says who holds the lease.
    async fn turn_away(&mut self, instance: &Instance, holder: &Execution) -> anyhow::Result<Outcome> {
        let name = label(self.spec.name, &instance.key);
        let held = format!(
            "run {} holds it: {}, process {} on {}, since {}",
            holder.id,
            holder.label(),
            holder.pid,
            holder.host,
            holder.started_at.format("%Y-%m-%dT%H:%M:%SZ")
        );
        let (status, code) = match self.signals.heard() {
            Some(signal) => (Status::Stopped, signal.exit_code()),
            None => (Status::Refused, ExitCode::TryLater),
        };
        let run = self.insert_ended(instance, status, code, &format!("already running; {held}")).await?;
        self.failures
            .note(&format!("{name} is already running (run {run}, exit {})", code.number()), &[held]);
        Ok(if code == ExitCode::TryLater {
            Outcome { is_turned_away: true, ..Outcome::incomplete(code) }
        } else {
            Outcome::end_of_command(code)
        })
    }

    /// Inserts a run that ended before it began.
    async fn insert_ended(
        &mut self,
        instance: &Instance,
        status: Status,
        code: ExitCode,
        message: &str,
    ) -> anyhow::Result<i64> {
        let server_time = self.db.server_time().await?;
        let request = lease::Request {
            job: self.spec.name,
            instance_key: &instance.key,
            exclusion_key: None,
            command_line: &self.stored_line(instance),
            rerun: false,
            retry_of: self.options.retry_of,
            now: self.cx.now(),
            lease: Duration::ZERO,
            identity: &self.identity,
            environment: self.cx.config.environment(),
        };
        let attempt = history::next_attempt(&mut self.db, self.spec.name, &instance.key).await?;
        let mut row = lease::new_execution(&request, server_time, attempt, 0);
        status.word().clone_into(&mut row.status);
        row.ended_at = Some(row.started_at);
        row.duration_ms = Some(0);
        row.exit_code = Some(i64::from(code.number()));
        row.error_class = Some(code.class().to_owned());
        row.error_message = Some(self.redactor.redact(message));
        if matches!(status, Status::Failed | Status::TimedOut) && !instance.is_repeatable() {
            // A failure is over once its own instance succeeds, and not with the next mall's success.
            row.exclusion_key = self.exclusion_key(instance);
        }
        Ok(history::insert(&mut self.db, &row).await?)
    }

    /// Says which dead runs were found, to people and to the alert channels.
    async fn tell_of_dead_runs(&mut self, grant: &Grant) {
        for dead in &grant.crashed {
            self.cx.output.status(&format!(
                "{}: run {} crashed ({}); this run takes over",
                dead.label(),
                dead.id,
                dead.error_message.as_deref().unwrap_or("no sign of life")
            ));
            if let Err(error) = lease::disconnect(&mut self.db, dead).await {
                self.cx.output.warn(&format!(
                    "failed to end the connection of run {}: {}",
                    dead.id,
                    one_line(&error)
                ));
            }
            alert::failed(self.cx, &mut self.db, &self.spec, dead).await;
        }
    }

    /// Runs the job's work under heartbeat, deadline and signals, and writes how it ended.
    async fn work<J: Job>(
        &mut self,
        job: &J,
        instance: &Instance,
        grant: &Grant,
        only_due: bool,
    ) -> anyhow::Result<Outcome> {
        let execution = &grant.execution;
        let name = label(self.spec.name, &instance.key);
        self.run = Some(execution.id);
        let retry_items = match self.options.retry_of {
            Some(run) => history::items_to_retry(&mut self.db, run).await?,
            None => None,
        };
        let skip_limit = match self.options.skip_limit {
            Some(limit) => Some(limit),
            None => self.cx.config.job_skip_limit(self.spec.name),
        };
        self.cx.output.event(
            "run started",
            &json!({
                "job": self.spec.name, "instance": instance.key, "run": execution.id, "attempt": execution.attempt,
            }),
        );
        let started = Instant::now();
        let used_before = usage();
        let config = &self.cx.config;
        let mut heartbeat = Heartbeat::start(
            config.database_url().to_owned(),
            execution.id,
            execution.epoch,
            config.lease().lease(),
            config.lease().heartbeat(),
        );

        let grace = self.grace();
        let mut run =
            Run::new(self.cx, &mut self.db, execution, &self.signals, skip_limit, retry_items, only_due)
                .with_deadline(self.deadline)
                .with_progress_label(self.is_beside_others.then(|| instance.key.clone()));
        let mut signals = self.signals.clone();
        let result = {
            let work = AssertUnwindSafe(job.run(&mut run, instance)).catch_unwind();
            tokio::pin!(work);
            tokio::select! {
                biased;
                result = &mut work => result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
                () = heartbeat.lost() => Err(Interruption::LeaseLost.into()),
                () = tokio::time::sleep(self.deadline) => Err(Interruption::TimedOut.into()),
                signal = async { let signal = signals.wait().await; tokio::time::sleep(grace).await; signal } =>
                    Err(Interruption::Stopped(signal).into()),
            }
        };
        failpoint::reach(&self.cx.config, "after-work");
        let errors = run.take_errors();
        let still_open = run.noted_items().to_vec();
        let is_work_done = result.is_ok();
        let counts = run.counts_at_end(is_work_done);
        let summary = run.summary().to_vec();
        let begins_anew = run.begins_anew() || is_work_done;
        let quoted = run.quoted_errors().to_vec();
        drop(run);
        drop(heartbeat);

        let terms = Terms {
            skip_limit,
            allow_partial: self.options.allow_partial,
            deadline: self.deadline,
            redactor: &self.redactor,
        };
        let verdict = Verdict::of(result, counts, &terms);
        let used = usage();
        let ending = Ending {
            status: verdict.status,
            ended_at: self.cx.now(),
            duration_ms: bigint(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            peak_memory_bytes: used.peak_memory_bytes,
            cpu_time_ms: used.cpu_time_ms - used_before.cpu_time_ms,
            exit_code: i64::from(verdict.code.number()),
            error_class: verdict.message.as_ref().map(|_| verdict.code.class().to_owned()),
            error_message: verdict.message.clone(),
            counts,
            // There is nothing left to go on with: whoever mends what was bad starts it anew.
            forgets_checkpoint: begins_anew && verdict.status == Status::Failed,
        };
        failpoint::reach(&self.cx.config, "before-finish");
        let verdict = self.write_ending(execution, &ending, &errors, &still_open, verdict).await;
        self.cx.output.event(
            "run ended",
            &json!({
                "job": self.spec.name, "instance": instance.key, "run": execution.id, "status": verdict.status.word(),
                "exit_code": verdict.code.number(), "duration_ms": ending.duration_ms, "items_read": counts.read,
                "items_written": counts.written, "items_skipped": counts.skipped, "items_failed": counts.failed,
                "error": verdict.message,
            }),
        );
        self.conclude(&name, execution, &ending, &verdict, &summary, &quoted).await;
        Ok(self.outcome(&verdict))
    }

    /// Writes how the run ended. What cannot be written did not happen: the exit code says so.
    async fn write_ending(
        &mut self,
        execution: &Execution,
        ending: &Ending,
        errors: &[ItemError],
        still_open: &[String],
        verdict: Verdict,
    ) -> Verdict {
        // A future that was dropped in the middle leaves its connection in an unknown state.
        let is_connection_suspect = !matches!(verdict.status, Status::Completed | Status::Partial);
        let writing = async {
            if !is_connection_suspect && !self.db.is_in_transaction() {
                match write_ending_over(&mut self.db, execution, ending, errors, still_open).await {
                    Err(error) if ExitCode::of(&error) == ExitCode::TryLater => {}
                    written => return written,
                }
            }
            // A server that restarted, or a connection that somebody ended, is no reason to leave the end open.
            self.reconnect().await?;
            write_ending_over(&mut self.db, execution, ending, errors, still_open).await
        };
        match tokio::time::timeout(BOOKKEEPING_TIMEOUT, writing).await {
            Ok(Ok(true)) => verdict,
            Ok(Ok(false)) => Verdict {
                status: Status::Crashed,
                code: ExitCode::Failed,
                message: Some(Interruption::LeaseLost.to_string()),
                hint: Some("nothing was written after the take-over; see the later run".to_owned()),
            },
            Ok(Err(error)) => self.unwritten(verdict, &one_line(&error)),
            Err(_) => self.unwritten(verdict, "the database does not answer"),
        }
    }

    /// The run's end could not be written: its row still says RUNNING, and the next start will go on.
    fn unwritten(&mut self, verdict: Verdict, error: &str) -> Verdict {
        self.is_database_gone = true;
        let code = match verdict.status {
            Status::Completed | Status::Partial | Status::Failed => ExitCode::TryLater,
            _ => verdict.code,
        };
        let first = verdict.message.map(|message| format!("{message}; ")).unwrap_or_default();
        Verdict {
            status: Status::Failed,
            code,
            message: Some(self.redactor.redact(&format!("{first}failed to write the run's end: {error}"))),
            hint: Some("run the same command again: it goes on where the last commit ended".to_owned()),
        }
    }

    /// Tells people, the terminal and the alert channels how the run ended.
    async fn conclude(
        &mut self,
        name: &str,
        execution: &Execution,
        ending: &Ending,
        verdict: &Verdict,
        summary: &[String],
        quoted: &[String],
    ) {
        let took = format_duration(Duration::from_millis(u64::try_from(ending.duration_ms).unwrap_or(0)));
        let Some(message) = &verdict.message else {
            let summary = if summary.is_empty() { "completed".to_owned() } else { summary.join("; ") };
            self.say(&format!("{name}: {summary} (run {}, {took})", execution.id));
            let mut ended = execution.clone();
            ended.duration_ms = Some(ending.duration_ms);
            alert::succeeded(self.cx, &mut self.db, &self.spec, &ended, self.is_isolated).await;
            return;
        };
        for sentence in summary {
            self.say(&format!("{name}: {sentence}"));
        }
        if verdict.code == ExitCode::Completed {
            // Allowed to be partial: a success, and as silent as one. The rows and the alert tell.
            self.say(&format!("{name} partial (run {}, {took}): {message}", execution.id));
            let mut ended = execution.clone();
            verdict.status.word().clone_into(&mut ended.status);
            ended.error_message = Some(message.clone());
            alert::failed(self.cx, &mut self.db, &self.spec, &ended).await;
            return;
        }
        let mut lines: Vec<String> = quoted.to_vec();
        lines.extend(verdict.hint.as_ref().map(|hint| format!("hint: {hint}")));
        lines.push(format!(
            "look:  batchctl --env {} runs show {}",
            self.cx.config.environment(),
            execution.id
        ));
        lines.push(format!(
            "retry: batchctl --env {} runs retry {}",
            self.cx.config.environment(),
            execution.id
        ));
        let word = verdict.status.word().to_lowercase().replace('_', " ");
        self.failures.note(
            &format!(
                "{name} {word} (run {}, exit {}, {took}): {message}",
                execution.id,
                verdict.code.number()
            ),
            &lines,
        );
        // Whoever took a lost run over has told of it; a database that is gone takes no alert.
        if !matches!(verdict.status, Status::Stopped | Status::Crashed) && !self.is_database_gone {
            let mut ended = execution.clone();
            verdict.status.word().clone_into(&mut ended.status);
            // Whoever reads it in a chat has not seen the terminal.
            let hint = verdict.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            ended.error_message = Some(format!("{message}{hint}"));
            alert::failed(self.cx, &mut self.db, &self.spec, &ended).await;
        }
    }

    /// Whether the command goes on with the next instance.
    fn outcome(&self, verdict: &Verdict) -> Outcome {
        match (verdict.status, verdict.code) {
            (Status::Completed, _) => match self.signals.heard() {
                // The work was done before the signal could stop it; still never 0.
                Some(signal) => Outcome { is_complete: true, ..Outcome::end_of_command(signal.exit_code()) },
                None => Outcome::complete(),
            },
            (Status::Partial, code) => Outcome { code, ..Outcome::complete() },
            (Status::Stopped | Status::Crashed, code) => Outcome::end_of_command(code),
            // A database that is gone will not be there for the next instance either.
            (_, code) if self.is_database_gone => Outcome::end_of_command(code),
            // Nor will the outside system that this instance did not reach, unless each has one of its own.
            (_, ExitCode::TryLater) if !self.is_isolated => Outcome::end_of_command(ExitCode::TryLater),
            (_, code) => Outcome::incomplete(code),
        }
    }

    /// An error before, between or after the runs: it leaves a row too, unless the command line itself is wrong.
    async fn fail_outside_runs(&mut self, error: &anyhow::Error) -> ExitCode {
        self.failures.print(self.cx, self.spec.name);
        let code = ExitCode::of(error);
        report_error(self.cx, error);
        if matches!(code, ExitCode::Usage) || self.options.dry_run {
            return code;
        }
        let instance = Instance {
            key: String::new(),
            exclusion: String::new(),
            lane: String::new(),
            arguments: command_line::own_arguments(
                &self.cx.config,
                self.cx.today(),
                self.only_instance.as_ref(),
            ),
        };
        self.leave_row(&instance, code, error).await;
        code
    }

    /// An error that kept an instance's run from beginning, where the other instances do not depend on it.
    async fn fail_before_run(&mut self, instance: &Instance, error: &anyhow::Error) -> Outcome {
        let code = ExitCode::of(error);
        let row = if self.is_database_gone { None } else { self.leave_row(instance, code, error).await };
        let run = row.as_ref().map_or(String::new(), |row| format!("run {}, ", row.id));
        let mut hints: Vec<String> =
            failure::hint(error).map(|hint| format!("hint: {hint}")).into_iter().collect();
        hints.extend(row.map(|row| {
            format!("retry: batchctl --env {} runs retry {}", self.cx.config.environment(), row.id)
        }));
        let name = label(self.spec.name, &instance.key);
        self.failures.note(
            &format!("{name} did not begin ({run}exit {}): {}", code.number(), one_line(error)),
            &hints,
        );
        let is_stop = matches!(code, ExitCode::Interrupted | ExitCode::Terminated);
        Outcome { ends_command: is_stop || self.is_database_gone, ..Outcome::incomplete(code) }
    }

    /// Leaves the row of a failure without a run, and tells the alert channels. Gives the row, unless the database
    /// does not take it.
    async fn leave_row(
        &mut self,
        instance: &Instance,
        code: ExitCode,
        error: &anyhow::Error,
    ) -> Option<Execution> {
        let status = match code {
            ExitCode::Refused => Status::Refused,
            ExitCode::TimedOut => Status::TimedOut,
            ExitCode::Interrupted | ExitCode::Terminated => Status::Stopped,
            _ => Status::Failed,
        };
        // A step that was dropped in the middle leaves its connection in an unknown state; one that failed for now
        // may have lost it.
        let is_connection_suspect =
            matches!(status, Status::TimedOut | Status::Stopped) || code == ExitCode::TryLater;
        // The database itself may be what failed, or somebody waits for our end: then the exit code has to do.
        let patience = match code {
            ExitCode::TryLater if self.is_isolated => BOOKKEEPING_TIMEOUT,
            ExitCode::TryLater | ExitCode::TimedOut | ExitCode::Interrupted | ExitCode::Terminated => {
                LAST_WORDS_TIMEOUT
            }
            _ => BOOKKEEPING_TIMEOUT,
        };
        let noted = async {
            if is_connection_suspect || self.db.is_in_transaction() {
                self.reconnect().await?;
            }
            let id = self.insert_ended(instance, status, code, &one_line(error)).await?;
            anyhow::Ok(history::find(&mut self.db, id).await?)
        };
        let Ok(Ok(row)) = tokio::time::timeout(patience, noted).await else {
            self.is_database_gone = true;
            return None;
        };
        if let Some(row) = row.as_ref().filter(|_| status != Status::Stopped) {
            alert::failed(self.cx, &mut self.db, &self.spec, row).await;
        }
        row
    }

    /// A status line of one instance, unless there are too many of them.
    fn say(&self, message: &str) {
        if !self.is_long {
            self.cx.output.status(message);
        }
    }
}

/// Writes how a run ended, with the item errors that no chunk took along. Gives whether the run was still ours.
async fn write_ending_over(
    db: &mut Db,
    execution: &Execution,
    ending: &Ending,
    errors: &[ItemError],
    still_open: &[String],
) -> anyhow::Result<bool> {
    let resolves =
        ending.status == Status::Completed && (execution.attempt > 1 || execution.retry_of.is_some());
    db.transaction(async |db| {
        if !history::finish(db, execution.id, execution.epoch, ending).await? {
            // A commit whose acknowledgement was lost has written it already; CRASHED is always somebody else's word.
            let row = history::find(db, execution.id).await?;
            return Ok(row.is_some_and(|row| row.is(ending.status) && !row.is(Status::Crashed)));
        }
        if !errors.is_empty() {
            history::insert_errors(db, execution.id, errors, ending.ended_at).await?;
        }
        if resolves {
            // A run of a shared job did its own items: it says nothing of those that another one gave up on.
            if execution.exclusion_key.is_some() {
                history::resolve_errors(db, execution, still_open, ending.ended_at).await?;
            }
            if let Some(retried) = execution.retry_of {
                // It may be of another instance by now: a file that was mended has another content.
                history::resolve_errors_of(db, retried, ending.ended_at).await?;
            }
        }
        Ok(true)
    })
    .await
}
