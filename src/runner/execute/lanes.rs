//! Lanes: the parts of a command that succeed or fail independently, run at the same time.
//!
//! All lanes are futures of one task, each with its own worker. A stop signal reaches all of them; a failure stays in
//! its lane; a database that is gone, or a lease that was lost while this process was frozen, ends the command:
//! running instances finish and no new ones start.

use std::cell::Cell;

use futures_util::StreamExt;
use futures_util::stream;

use crate::output::Progress;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::failpoint;
use crate::runner::failure_notes::FailureNotes;
use crate::runner::verdict::worse;

use super::attempt::Attempted;
use super::plan::Plan;
use super::session::Session;
use super::worker::{PlanShape, Worker};

/// What is stored when a file that was imported could not be moved.
const NOT_CLEARED: &str = "what the runs stored stays, and is not stored again";

/// How many instances ended how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InstanceTally {
    completed: usize,
    partial: usize,
    skipped: usize,
    failed: usize,
}

impl InstanceTally {
    fn append(&mut self, others: &Self) {
        self.completed += others.completed;
        self.partial += others.partial;
        self.skipped += others.skipped;
        self.failed += others.failed;
    }

    pub(super) fn sentence(&self) -> String {
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

/// How the instances ended.
pub(super) struct Results {
    /// Those whose results are in place.
    pub(super) completed: Vec<Instance>,
    pub(super) tally: InstanceTally,
    worst: ExitCode,
    /// How many of those that did not complete were refused because another run held the lease.
    turned_away: usize,
    /// Whether the command ended before it had tried all of them.
    is_cut_short: bool,
}

impl Results {
    fn none() -> Self {
        Self {
            completed: Vec::new(),
            tally: InstanceTally::default(),
            worst: ExitCode::Completed,
            turned_away: 0,
            is_cut_short: false,
        }
    }

    /// Adds the results of another lane.
    fn append(&mut self, others: Self) {
        self.completed.extend(others.completed);
        self.tally.append(&others.tally);
        self.worst = worse(self.worst, others.worst);
        self.turned_away += others.turned_away;
        self.is_cut_short |= others.is_cut_short;
    }

    /// The command's exit code. Where the instances are independent, a mix of completed and failed ones is a partial
    /// success; but not if the rest were not even tried, nor if the command did nothing at all because another one was
    /// doing it.
    pub(super) fn code(&self, is_isolated: bool, allow_partial: bool) -> ExitCode {
        let has_worked = self.tally.completed + self.tally.partial > 0;
        let has_left_it_to_others = !has_worked && self.turned_away == self.tally.failed;
        let is_partial =
            is_isolated && self.tally.failed > 0 && !self.completed.is_empty() && !has_left_it_to_others;
        if !is_partial || self.worst.is_stop() || self.is_cut_short {
            self.worst
        } else if allow_partial {
            ExitCode::Completed
        } else {
            ExitCode::Partial
        }
    }
}

/// The state that the lanes of one command share.
struct Shared {
    /// Counts the instances, if there are many.
    bar: Progress,
    /// Whether no further instance is to begin.
    is_over: Cell<bool>,
}

/// How one lane ended.
struct LaneEnd {
    results: Results,
    failures: FailureNotes,
    is_database_gone: bool,
    /// Why the database cannot be used any more.
    outage: Option<String>,
    /// What did not start because the lane got no connection, and why.
    without_connection: Option<(Vec<Instance>, anyhow::Error)>,
}

/// Runs the instances: as many lanes at a time as the job allows, and the instances of a lane one after the other.
pub(super) async fn run_lanes(
    session: &Session<'_>,
    worker: &mut Worker<'_>,
    instances: Vec<Instance>,
) -> anyhow::Result<Results> {
    let count = instances.len() as u64;
    let lanes = in_lanes(instances);
    let width = session.job.lanes(session.cx).get().min(lanes.len());
    let is_side_by_side = width > 1;
    let bar = if worker.layout.is_long {
        session.cx.output.progress(is_side_by_side.then_some(session.spec.name), 0, Some(count))
    } else {
        Progress::hidden()
    };
    let shared = Shared { bar, is_over: Cell::new(false) };
    if is_side_by_side {
        run_side_by_side(session, worker, lanes, width, &shared).await
    } else {
        worker.run_one_by_one(lanes.into_iter().flatten().collect(), &shared).await
    }
}

/// Runs up to `width` lanes at a time, and gathers their results in their order.
async fn run_side_by_side(
    session: &Session<'_>,
    worker: &mut Worker<'_>,
    lanes: Vec<Vec<Instance>>,
    width: usize,
    shared: &Shared,
) -> anyhow::Result<Results> {
    let layout = PlanShape { is_side_by_side: true, ..worker.layout };
    let mut ends: Vec<(usize, anyhow::Result<LaneEnd>)> = stream::iter(lanes.into_iter().enumerate())
        .map(|(place, lane)| async move { (place, run_lane(session, layout, lane, shared).await) })
        .buffer_unordered(width)
        .collect()
        .await;
    ends.sort_by_key(|(place, _)| *place);
    let mut results = Results::none();
    let mut without_connection = Vec::new();
    for (_, end) in ends {
        let end = end?;
        results.append(end.results);
        worker.failures.append(end.failures);
        worker.is_database_gone |= end.is_database_gone;
        worker.outage = worker.outage.take().or(end.outage);
        without_connection.extend(end.without_connection);
    }
    worker.renew_connection(&mut results).await;
    for (instances, error) in without_connection {
        for instance in instances {
            let attempted = worker.fail_before_run(&instance, &error).await;
            results.tally.failed += 1;
            results.worst = worse(results.worst, attempted.code);
            results.is_cut_short |= attempted.ends_command;
        }
    }
    Ok(results)
}

/// Runs the instances of one lane over its own connection.
async fn run_lane(
    session: &Session<'_>,
    layout: PlanShape,
    instances: Vec<Instance>,
    shared: &Shared,
) -> anyhow::Result<LaneEnd> {
    let mut end = LaneEnd {
        results: Results::none(),
        failures: FailureNotes::default(),
        is_database_gone: false,
        outage: None,
        without_connection: None,
    };
    if let Some(signal) = session.signals.heard() {
        end.results.worst = signal.exit_code();
        return Ok(end);
    }
    if shared.is_over.get() {
        end.results.is_cut_short = true;
        return Ok(end);
    }
    let mut worker = match session.bounds().keep(Worker::connect(session)).await {
        Ok(worker) => worker,
        Err(error) => {
            end.without_connection = Some((instances, error));
            return Ok(end);
        }
    };
    worker.layout = layout;
    end.results = worker.run_one_by_one(instances, shared).await?;
    end.failures = std::mem::take(&mut worker.failures);
    end.is_database_gone = worker.is_database_gone;
    end.outage = worker.outage.take();
    worker.close().await;
    Ok(end)
}

impl Worker<'_> {
    /// The command's own connection was idle for as long as the lanes ran, possibly hours, and a firewall or proxy on
    /// the way to the database may have dropped it.
    async fn renew_connection(&mut self, results: &mut Results) {
        if self.is_database_gone || self.session.signals.heard().is_some() {
            return;
        }
        let bounds = self.session.bounds();
        if let Err(error) = bounds.keep(self.reconnect()).await {
            self.give_up_database(Some(&error));
            results.is_cut_short = true;
            results.worst = worse(results.worst, ExitCode::of(&error));
            let name = self.session.spec.name.to_owned();
            let note = self.note_without_run(name, "failed", ExitCode::of(&error), &error, None);
            self.failures.note(note);
        }
    }

    /// Runs instances one after the other.
    async fn run_one_by_one(&mut self, instances: Vec<Instance>, shared: &Shared) -> anyhow::Result<Results> {
        let mut results = Results::none();
        let mut taken_lanes: Vec<String> = Vec::new();
        for instance in instances {
            if let Some(signal) = self.session.signals.heard() {
                results.worst = signal.exit_code();
                break;
            }
            if shared.is_over.get() {
                results.is_cut_short = true;
                break;
            }
            if taken_lanes.contains(&instance.lane) {
                shared.bar.advance(1);
                continue;
            }
            let attempted = match self.take(&instance, &mut results.tally).await {
                Ok(attempted) => attempted,
                Err(error) if self.layout.is_isolated => {
                    results.tally.failed += 1;
                    self.fail_before_run(&instance, &error).await
                }
                Err(error) => return Err(error),
            };
            shared.bar.advance(1);
            results.worst = worse(results.worst, attempted.code);
            results.worst = worse(results.worst, self.clear_away(&instance).await);
            if attempted.is_turned_away {
                results.turned_away += 1;
                // Two commands in one lane would alternate between its instances: the first one does them all.
                if !instance.lane.is_empty() {
                    taken_lanes.push(instance.lane.clone());
                }
            }
            if attempted.is_complete {
                results.completed.push(instance);
            }
            if attempted.ends_command {
                shared.is_over.set(true);
                results.is_cut_short = true;
                break;
            }
        }
        Ok(results)
    }

    /// Clears away what an instance came from. What it stored stays, whatever becomes of this.
    async fn clear_away(&mut self, instance: &Instance) -> ExitCode {
        if self.is_database_gone || self.db.is_in_transaction() {
            return ExitCode::Completed;
        }
        let (cx, job) = (self.session.cx, self.session.job);
        failpoint::reach(&cx.config, "before-clearing");
        let clearing = job.clear_away(cx, &mut self.db, instance);
        let cleared = self.session.bounds().keep(clearing).await;
        failpoint::reach(&cx.config, "after-clearing");
        match cleared {
            Ok(()) => ExitCode::Completed,
            Err(error) => self.fail_outside_runs(&error, NOT_CLEARED).await,
        }
    }

    /// Runs one instance, unless its history shows that there is nothing to do.
    async fn take(&mut self, instance: &Instance, tally: &mut InstanceTally) -> anyhow::Result<Attempted> {
        let bounds = self.session.bounds();
        match bounds.keep(self.plan(instance)).await? {
            Plan::Skip { because, is_complete } => {
                self.say(&format!("{}: {because}", instance.label(self.session.spec.name)));
                tally.skipped += 1;
                Ok(Attempted { is_complete, ..Attempted::complete() })
            }
            Plan::Run { scope, .. } => {
                // Boxed: the future holds the states of a whole run.
                let attempted = Box::pin(self.attempt(instance, scope)).await?;
                if attempted.code == ExitCode::Partial {
                    tally.partial += 1;
                } else if attempted.is_complete {
                    tally.completed += 1;
                } else {
                    tally.failed += 1;
                }
                Ok(attempted)
            }
        }
    }
}

/// The instances by lane, in the order in which the lanes appear.
fn in_lanes(instances: Vec<Instance>) -> Vec<Vec<Instance>> {
    let mut lanes: Vec<Vec<Instance>> = Vec::new();
    for instance in instances {
        match lanes.iter_mut().find(|lane| lane.first().is_some_and(|first| first.lane == instance.lane)) {
            Some(lane) => lane.push(instance),
            None => lanes.push(vec![instance]),
        }
    }
    lanes
}
