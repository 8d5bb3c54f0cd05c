//! A job's subcommand: the job's own arguments with the runner's, and the job without its type.

use std::any::Any;
use std::num::NonZeroUsize;
use std::rc::Rc;

use anyhow::Context as _;
use chrono::NaiveDate;
use clap::{ArgMatches, Args as _};
use futures_util::future::LocalBoxFuture;

use crate::context::Context;
use crate::db::Db;
use crate::period::format_duration;

use super::arguments::Arguments;
use super::execute::{end_plain, execute};
use super::exit::ExitCode;
use super::history::{Execution, label};
use super::job::{Completed, Freshness, Job, JobSpec, LastChance, MeantDays};
use super::options::{OnOverlap, RunOptions};
use super::run::Run;

/// A job's subcommand as clap parses it: the job's arguments and the runner's. Its help text is the job's spec.
#[derive(Debug)]
pub struct JobCommand<J> {
    job: J,
    options: RunOptions,
    arguments: Arguments,
}

impl<J: Job> JobCommand<J> {
    /// A job with the runner's options and no arguments to repeat.
    #[cfg(test)]
    pub(super) fn new(job: J, options: RunOptions) -> Self {
        Self { job, options, arguments: Arguments::none(J::SPEC.name) }
    }

    /// The job's own arguments.
    pub fn job(&self) -> &J {
        &self.job
    }

    #[cfg(test)]
    pub(super) fn job_mut(&mut self) -> &mut J {
        &mut self.job
    }
}

impl<J: Job + clap::Args> clap::FromArgMatches for JobCommand<J> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let definition = Self::augment_args(clap::Command::new(J::SPEC.name));
        let arguments = Arguments::given(J::SPEC.name, &definition, matches);
        let job = J::from_arg_matches_mut(matches)?;
        let options = RunOptions::from_arg_matches_mut(matches)?;
        Ok(Self { job, options, arguments })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<J: Job + clap::Args> clap::Args for JobCommand<J> {
    fn augment_args(command: clap::Command) -> clap::Command {
        // Last, because the doc comment of a flattened struct would replace the help.
        described(RunOptions::augment_args(J::augment_args(command)), &J::SPEC)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        described(RunOptions::augment_args_for_update(J::augment_args_for_update(command)), &J::SPEC)
    }
}

/// Writes the help of a job from its spec.
fn described(command: clap::Command, spec: &JobSpec) -> clap::Command {
    let mut facts = match spec.schedule {
        Some(schedule) => format!("Usual schedule: {schedule}\n"),
        None => "Started by hand\n".to_owned(),
    };
    facts.push_str(&format!(
        "Deadline: {}\nSeverity of a failure: {}",
        format_duration(spec.deadline),
        spec.severity
    ));
    if let Some(page) = spec.page {
        facts.push_str(&format!("\nMore: {page}"));
    }
    let command = command.about(spec.summary).after_long_help(facts);
    if spec.details.is_empty() {
        command
    } else {
        command.long_about(format!("{}\n\n{}", spec.summary, spec.details))
    }
}

/// What a subcommand does: a job for the runner, or something that records no run.
pub enum Action<'a> {
    /// A job.
    Job(&'a dyn AnyJob),
    /// Anything else.
    Other(LocalBoxFuture<'a, ExitCode>),
}

impl<'a> Action<'a> {
    /// A command that is not a job: it prints its error and exits with the error's code.
    pub fn plain(cx: &'a Context, work: impl Future<Output = anyhow::Result<()>> + 'a) -> Self {
        Self::other(async move { end_plain(cx, work.await) })
    }

    /// A command that reports its own errors.
    pub fn other(work: impl Future<Output = ExitCode> + 'a) -> Self {
        Self::Other(Box::pin(work))
    }

    /// Runs it.
    pub async fn run(self, cx: &Context) -> ExitCode {
        match self {
            Self::Job(job) => execute(cx, job, job.options()).await,
            Self::Other(work) => work.await,
        }
    }
}

impl<'a, J: Job> From<&'a JobCommand<J>> for Action<'a> {
    fn from(command: &'a JobCommand<J>) -> Self {
        Self::Job(command)
    }
}

/// What `runs retry` changes about the command that it repeats.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The run whose failed items are run again.
    pub run: i64,
    /// Run it again even if it completed.
    pub rerun: bool,
    /// Nothing proves that the stored line is ours.
    pub is_unproven: bool,
    /// What to do when another run holds the lease; by default, what the stored command says.
    pub on_overlap: Option<OnOverlap>,
}

impl dyn AnyJob + '_ {
    /// Runs the job again for what failed in an earlier run.
    pub async fn retry(&self, cx: &Context, retry: Retry) -> ExitCode {
        let mut options = self.options().clone();
        options.retry_of = Some(retry.run);
        options.is_unproven = retry.is_unproven;
        options.rerun |= retry.rerun;
        // A stored line never has it: whoever wrote it there asks for nothing to be done.
        options.dry_run = false;
        options.on_overlap = retry.on_overlap.or(options.on_overlap);
        execute(cx, self, &options).await
    }
}

/// One instance of a job, without the type of its unit.
#[derive(Clone)]
pub struct Instance {
    /// The identifying parameters as one stable text; empty for a job that sweeps or drains.
    pub(super) key: String,
    /// What people call it, if its key means nothing to them.
    pub(super) title: Option<String>,
    pub(super) exclusion: String,
    pub(super) lane: String,
    /// See [`super::job::Planned::refreshed`].
    pub(super) is_refreshed: bool,
    /// See [`super::job::Planned::added`].
    pub(super) is_added: bool,
    /// The arguments that repeat exactly this instance, with relative dates resolved.
    pub(super) arguments: Arguments,
    unit: Rc<dyn Any>,
}

impl Instance {
    /// Whether a second run after a success does the work again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.key.is_empty()
    }

    /// The job and the instance, for display.
    pub(super) fn label(&self, job: &str) -> String {
        label(job, self.title.as_deref().unwrap_or(&self.key))
    }

    fn unit<U: 'static>(&self) -> anyhow::Result<&U> {
        self.unit.downcast_ref().context("an instance of another job")
    }
}

/// A job without its types, so that the runner is compiled once instead of once per job.
pub trait AnyJob {
    /// Its constants.
    fn spec(&self) -> &'static JobSpec;

    /// The runner's options.
    fn options(&self) -> &RunOptions;

    /// The arguments as they were given.
    fn arguments(&self) -> &Arguments;

    /// See [`Job::days_of_start`].
    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays>;

    /// See [`Job::flag_without_days`].
    fn flag_without_days(&self) -> Option<&'static str>;

    /// See [`Job::last_chance`].
    fn last_chance(&self, cx: &Context) -> Option<LastChance>;

    /// See [`Job::lanes`].
    fn lanes(&self, cx: &Context) -> NonZeroUsize;

    /// See [`Job::plan`].
    fn plan<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
    ) -> LocalBoxFuture<'a, anyhow::Result<Vec<Instance>>>;

    /// See [`Job::freshness`].
    fn freshness<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
        completed_by: &'a Execution,
    ) -> LocalBoxFuture<'a, anyhow::Result<Freshness>>;

    /// See [`Job::stored_by`].
    fn stored_by<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<Option<i64>>>;

    /// See [`Job::try_out`].
    fn try_out<'a>(&'a self, cx: &'a Context, db: &'a mut Db) -> LocalBoxFuture<'a, anyhow::Result<()>>;

    /// See [`Job::run`].
    fn run<'a, 'r: 'a>(
        &'a self,
        run: &'a mut Run<'r>,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<()>>;

    /// See [`Job::clear_away`].
    fn clear_away<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<()>>;

    /// See [`Job::deliver`].
    fn deliver<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        completed: &'a [Instance],
    ) -> LocalBoxFuture<'a, anyhow::Result<()>>;
}

impl<J: Job> AnyJob for JobCommand<J> {
    fn spec(&self) -> &'static JobSpec {
        &J::SPEC
    }

    fn options(&self) -> &RunOptions {
        &self.options
    }

    fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        self.job.days_of_start(today)
    }

    fn flag_without_days(&self) -> Option<&'static str> {
        self.job.flag_without_days()
    }

    fn last_chance(&self, cx: &Context) -> Option<LastChance> {
        self.job.last_chance(cx)
    }

    fn lanes(&self, cx: &Context) -> NonZeroUsize {
        self.job.lanes(cx)
    }

    fn plan<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
    ) -> LocalBoxFuture<'a, anyhow::Result<Vec<Instance>>> {
        Box::pin(async move {
            let mut instances = Vec::new();
            for planned in self.job.plan(cx, db).await? {
                let mut arguments = self.arguments.resolved(cx);
                for (id, values) in planned.arguments {
                    arguments.set(id, values)?;
                }
                instances.push(Instance {
                    key: planned.key,
                    title: planned.title,
                    exclusion: planned.exclusion,
                    lane: planned.lane,
                    is_refreshed: planned.is_refreshed,
                    is_added: planned.is_added,
                    arguments,
                    unit: Rc::new(planned.unit),
                });
            }
            Ok(instances)
        })
    }

    fn freshness<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
        completed_by: &'a Execution,
    ) -> LocalBoxFuture<'a, anyhow::Result<Freshness>> {
        Box::pin(async move {
            let completed = Completed { unit: instance.unit()?, run: completed_by };
            self.job.freshness(cx, db, &completed).await
        })
    }

    fn stored_by<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<Option<i64>>> {
        Box::pin(async move { self.job.stored_by(cx, db, instance.unit()?).await })
    }

    fn try_out<'a>(&'a self, cx: &'a Context, db: &'a mut Db) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(self.job.try_out(cx, db))
    }

    fn run<'a, 'r: 'a>(
        &'a self,
        run: &'a mut Run<'r>,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { self.job.run(run, instance.unit()?).await })
    }

    fn clear_away<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        instance: &'a Instance,
    ) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { self.job.clear_away(cx, db, instance.unit()?).await })
    }

    fn deliver<'a>(
        &'a self,
        cx: &'a Context,
        db: &'a mut Db,
        completed: &'a [Instance],
    ) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let units = completed.iter().map(Instance::unit).collect::<anyhow::Result<Vec<&J::Unit>>>()?;
            self.job.deliver(cx, db, &units).await
        })
    }
}
