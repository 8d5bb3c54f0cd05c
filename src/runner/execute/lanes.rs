//! Lanes: the parts of a command that stand or fall by themselves, side by side.
//!
//! All lanes are futures of one task, each with a connection of its own. A stop is heard by all of them; a failure
//! stays in its lane; a database that is gone, or a lease that was lost while this process stood still, ends the
//! command: what runs goes on to its own end, and nothing new begins.

use std::cell::Cell;

use futures_util::StreamExt;
use futures_util::stream;

use super::{Bounds, Outcome, Plan, Session, Tally};
use crate::failure::one_line;
use crate::output::Progress;
use crate::runner::exit::ExitCode;
use crate::runner::failure_notes::FailureNotes;
use crate::runner::history::label;
use crate::runner::lease;
use crate::runner::spec::{Instance, Job};
use crate::runner::verdict::worse;

/// What came of the instances.
pub(super) struct Results {
    /// Those whose results stand.
    pub(super) completed: Vec<Instance>,
    /// How many ended how.
    pub(super) tally: Tally,
    worst: ExitCode,
    /// How many of those that did not complete found another run in their place.
    turned_away: usize,
    /// Whether the command ended before it had tried all.
    is_cut_short: bool,
}

impl Results {
    fn none() -> Self {
        Self {
            completed: Vec::new(),
            tally: Tally::default(),
            worst: ExitCode::Completed,
            turned_away: 0,
            is_cut_short: false,
        }
    }

    /// Takes over what came of another lane.
    fn append(&mut self, others: Self) {
        self.completed.extend(others.completed);
        self.tally.append(&others.tally);
        self.worst = worse(self.worst, others.worst);
        self.turned_away += others.turned_away;
        self.is_cut_short |= others.is_cut_short;
    }

    /// The command's exit code. Where the instances stand by themselves, some that completed and some that did not
    /// are a partial success; but not if the rest was not even tried, nor if the command did nothing at all because
    /// another one was doing it.
    pub(super) fn code(&self, is_isolated: bool, allow_partial: bool) -> ExitCode {
        let was_stopped = matches!(self.worst, ExitCode::Interrupted | ExitCode::Terminated);
        let has_worked = self.tally.completed + self.tally.partial > 0;
        let has_left_it_to_others = !has_worked && self.turned_away == self.tally.failed;
        let is_partial =
            is_isolated && self.tally.failed > 0 && !self.completed.is_empty() && !has_left_it_to_others;
        if !is_partial || was_stopped || self.is_cut_short {
            self.worst
        } else if allow_partial {
            ExitCode::Completed
        } else {
            ExitCode::Partial
        }
    }
}

impl Tally {
    fn append(&mut self, others: &Self) {
        self.completed += others.completed;
        self.partial += others.partial;
        self.skipped += others.skipped;
        self.failed += others.failed;
    }
}

/// What the lanes of one command share.
struct Course<'c> {
    bounds: &'c Bounds,
    /// Counts the instances, if there are many.
    bar: Progress,
    /// Whether no further instance is to begin.
    is_over: Cell<bool>,
}

/// One lane's end.
struct LaneEnd {
    results: Results,
    failures: FailureNotes,
    is_database_gone: bool,
    /// What did not begin, because the lane got no connection, and why.
    without_connection: Option<(Vec<Instance>, anyhow::Error)>,
}

impl Session<'_> {
    /// Runs the instances: lane beside lane as the job allows, and those of a lane one after the other.
    pub(super) async fn run_lanes<J: Job>(
        &mut self,
        job: &J,
        instances: Vec<Instance>,
        bounds: &Bounds,
    ) -> anyhow::Result<Results> {
        let count = instances.len() as u64;
        let lanes = in_lanes(instances);
        let width = job.lanes(self.cx).get().min(lanes.len());
        let is_side_by_side = width > 1;
        let bar = if self.is_long {
            self.cx.output.progress(is_side_by_side.then_some(self.spec.name), 0, Some(count))
        } else {
            Progress::hidden()
        };
        let course = Course { bounds, bar, is_over: Cell::new(false) };
        if is_side_by_side {
            self.run_side_by_side(job, lanes, width, &course).await
        } else {
            self.run_one_by_one(job, lanes.into_iter().flatten().collect(), &course).await
        }
    }

    /// Runs up to `width` lanes at a time, and gathers what came of them in their order.
    async fn run_side_by_side<J: Job>(
        &mut self,
        job: &J,
        lanes: Vec<Vec<Instance>>,
        width: usize,
        course: &Course<'_>,
    ) -> anyhow::Result<Results> {
        let mut ends: Vec<(usize, anyhow::Result<LaneEnd>)> = {
            let session = &*self;
            stream::iter(lanes.into_iter().enumerate())
                .map(|(place, lane)| async move { (place, session.run_lane(job, lane, course).await) })
                .buffer_unordered(width)
                .collect()
                .await
        };
        ends.sort_by_key(|(place, _)| *place);
        let mut results = Results::none();
        let mut without_connection = Vec::new();
        for (_, end) in ends {
            let end = end?;
            results.append(end.results);
            self.failures.append(&end.failures);
            self.is_database_gone |= end.is_database_gone;
            without_connection.extend(end.without_connection);
        }
        self.renew_connection(&mut results, course).await;
        for (instances, error) in without_connection {
            for instance in instances {
                let outcome = self.fail_before_run(&instance, &error).await;
                results.tally.failed += 1;
                results.worst = worse(results.worst, outcome.code);
                results.is_cut_short |= outcome.ends_command;
            }
        }
        Ok(results)
    }

    /// The command's own connection stood idle for as long as the lanes ran, hours perhaps, and whatever lies between
    /// here and the database may have forgotten it.
    async fn renew_connection(&mut self, results: &mut Results, course: &Course<'_>) {
        if self.is_database_gone || self.signals.heard().is_some() {
            return;
        }
        if let Err(error) = course.bounds.keep(self.reconnect()).await {
            self.is_database_gone = true;
            results.is_cut_short = true;
            results.worst = worse(results.worst, ExitCode::of(&error));
            self.failures.note(&format!("{}: {}", self.spec.name, one_line(&error)), &[]);
        }
    }

    /// Runs the instances of one lane over a connection of its own.
    async fn run_lane<J: Job>(
        &self,
        job: &J,
        instances: Vec<Instance>,
        course: &Course<'_>,
    ) -> anyhow::Result<LaneEnd> {
        let mut end = LaneEnd {
            results: Results::none(),
            failures: FailureNotes::default(),
            is_database_gone: false,
            without_connection: None,
        };
        if let Some(signal) = self.signals.heard() {
            end.results.worst = signal.exit_code();
            return Ok(end);
        }
        if course.is_over.get() {
            end.results.is_cut_short = true;
            return Ok(end);
        }
        let connecting = async {
            let mut db = self.cx.db().await?;
            lease::introduce(&mut db, &self.identity, None).await?;
            Ok(db)
        };
        let db = match course.bounds.keep(connecting).await {
            Ok(db) => db,
            Err(error) => {
                end.without_connection = Some((instances, error));
                return Ok(end);
            }
        };
        let mut lane = Session {
            cx: self.cx,
            spec: self.spec,
            options: self.options,
            signals: self.signals.clone(),
            identity: self.identity.clone(),
            db,
            run: None,
            deadline: self.deadline,
            redactor: self.redactor.clone(),
            failures: FailureNotes::default(),
            is_long: self.is_long,
            is_database_gone: false,
            only_instance: None,
            is_isolated: self.is_isolated,
            is_beside_others: true,
        };
        end.results = lane.run_one_by_one(job, instances, course).await?;
        end.failures = std::mem::take(&mut lane.failures);
        end.is_database_gone = lane.is_database_gone;
        lane.close().await;
        Ok(end)
    }

    /// Runs instances one after the other.
    async fn run_one_by_one<J: Job>(
        &mut self,
        job: &J,
        instances: Vec<Instance>,
        course: &Course<'_>,
    ) -> anyhow::Result<Results> {
        let mut results = Results::none();
        let mut taken_lanes: Vec<String> = Vec::new();
        for instance in instances {
            if let Some(signal) = self.signals.heard() {
                results.worst = signal.exit_code();
                break;
            }
            if course.is_over.get() {
                results.is_cut_short = true;
                break;
            }
            if taken_lanes.contains(&instance.lane) {
                course.bar.advance(1);
                continue;
            }
            let outcome = match self.attempt(job, &instance, course, &mut results.tally).await {
                Ok(outcome) => outcome,
                Err(error) if self.is_isolated => {
                    results.tally.failed += 1;
                    self.fail_before_run(&instance, &error).await
                }
                Err(error) => return Err(error),
            };
            course.bar.advance(1);
            results.worst = worse(results.worst, outcome.code);
            if outcome.is_turned_away {
                results.turned_away += 1;
                // Two commands in one lane would take its instances by turns: whoever came first does them all.
                if !instance.lane.is_empty() {
                    taken_lanes.push(instance.lane.clone());
                }
            }
            if outcome.is_complete {
                results.completed.push(instance);
            }
            if outcome.ends_command {
                course.is_over.set(true);
                results.is_cut_short = true;
                break;
            }
        }
        Ok(results)
    }

    /// Runs one instance, unless its history says that there is nothing to do.
    async fn attempt<J: Job>(
        &mut self,
        job: &J,
        instance: &Instance,
        course: &Course<'_>,
        tally: &mut Tally,
    ) -> anyhow::Result<Outcome> {
        match course.bounds.keep(self.plan(job, instance)).await? {
            Plan::Skip { because, is_complete } => {
                self.say(&format!("{}: {because}", label(self.spec.name, &instance.key)));
                tally.skipped += 1;
                Ok(Outcome { is_complete, ..Outcome::complete() })
            }
            Plan::Run { scope, .. } => {
                let outcome = self.run_instance(job, instance, scope).await?;
                if outcome.code == ExitCode::Partial {
                    tally.partial += 1;
                } else if outcome.is_complete {
                    tally.completed += 1;
                } else {
                    tally.failed += 1;
                }
                Ok(outcome)
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
