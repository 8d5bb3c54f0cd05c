//! What a command has for all its instances, and the bounds of what it does outside its runs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDate;

use crate::context::Context;
use crate::mask::Redactor;
use crate::period::days_somewhere;
use crate::runner::arguments::Arguments;
use crate::runner::command::AnyJob;
use crate::runner::failpoint;
use crate::runner::interruption::{Interruption, Signals};
use crate::runner::job::{JobSpec, LastChance, MeantDays};
use crate::runner::options::RunOptions;
use crate::runner::outage::{self, MadeUpBy, Start};
use crate::runner::process::ProcessIdentity;
use crate::runner::retries;
use crate::runner::stored_line;

/// A lease is granted or refused in milliseconds, unless the database is locked.
const MIN_LEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the current chunk may take after a stop signal, by default.
const GRACE: Duration = Duration::from_secs(25);

/// What a command has for all its instances.
pub(super) struct Session<'a> {
    pub(super) cx: &'a Context,
    pub(super) job: &'a dyn AnyJob,
    pub(super) spec: &'static JobSpec,
    pub(super) options: &'a RunOptions,
    pub(super) signals: Signals,
    pub(super) identity: ProcessIdentity,
    /// How long one run may take.
    pub(super) deadline: Duration,
    pub(super) redactor: Redactor,
    /// Whether a run of the command got its lease, and so may have committed something.
    pub(super) has_leased: Cell<bool>,
    /// Whether the success of one of its runs says nothing about earlier failures.
    pub(super) leaves_failures_open: Cell<bool>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        cx: &'a Context,
        job: &'a dyn AnyJob,
        options: &'a RunOptions,
        signals: Signals,
    ) -> Self {
        failpoint::reach(&cx.config, "start");
        let spec = job.spec();
        Self {
            cx,
            job,
            spec,
            options,
            signals,
            identity: ProcessIdentity::own(),
            deadline: options.timeout.or(cx.config.job_timeout(spec.name)).unwrap_or(spec.deadline),
            redactor: cx.config.redactor(),
            leaves_failures_open: Cell::new(false),
            has_leased: Cell::new(false),
        }
    }

    /// This start, for when the database cannot be used.
    pub(super) fn start(&self) -> Start {
        let is_dated = self.job.arguments().resolved(self.cx).are_dated();
        let set = self.cx.config.job(self.spec.name).and_then(|job| job.catch_up);
        let is_caught_up = set.unwrap_or(is_dated && retries::needs_retries(self.cx, self.spec));
        let otherwise = if retries::comes_round_soon(self.cx, self.spec) {
            MadeUpBy::NextStart
        } else if self.options.retry_of.is_some() {
            MadeUpBy::Request
        } else {
            MadeUpBy::Person
        };
        Start {
            job: self.spec.name.to_owned(),
            line: line_of_start(self.cx, self.job, self.options),
            line_of_day: lines_of_days(self.cx, self.job, self.options),
            malls: self.job.arguments().values("mall").to_vec(),
            at: self.cx.now(),
            last_at: self.cx.now(),
            times: 0,
            run: None,
            lines: Vec::new(),
            is_left: false,
            is_caught_up,
            last_chance: self.last_chance(),
            otherwise,
        }
    }

    fn last_chance(&self) -> Option<outage::LastChance> {
        let chance = self.job.last_chance(self.cx)?;
        let is_late = self.job.arguments().is_given(chance.flag_afterwards);
        (!is_late).then(|| outage::LastChance {
            until: chance.until,
            line_afterwards: self.line_afterwards(chance),
        })
    }

    /// The command line that would have done the work in time, if this one does what is left of it.
    pub(super) fn line_in_time(&self) -> Option<String> {
        let chance = self.job.last_chance(self.cx)?;
        let mut arguments = arguments_of_start(self.cx, self.job, self.options, self.cx.today());
        if !arguments.is_given(chance.flag_afterwards) {
            return None;
        }
        arguments.set(chance.flag_afterwards, Vec::new()).ok()?;
        Some(arguments.line(&self.redactor))
    }

    /// The command line that does what is left of the start's work once its own day is over.
    fn line_afterwards(&self, chance: LastChance) -> String {
        let mut arguments = arguments_of_start(self.cx, self.job, self.options, self.cx.today());
        // A job without this flag has nothing to add to its line.
        arguments.set(chance.flag_afterwards, vec!["true".to_owned()]).ok();
        arguments.line(&self.redactor)
    }

    /// The proof that a line that is stored with a run is ours; `None` if the run repeats one that is not proven.
    pub(super) fn seal(&self, line: &str) -> Option<String> {
        if self.options.is_unproven {
            return None;
        }
        stored_line::seal(&self.cx.config, self.spec.name, line)
    }

    /// How long the current chunk may take after a stop signal.
    pub(super) fn grace(&self) -> Duration {
        self.options.grace.unwrap_or(GRACE)
    }

    /// The bounds of what the command does outside its runs.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { signals: self.signals.clone(), deadline: self.deadline, grace: self.grace() }
    }

    /// The bounds of finding out what there is to do, which may wait for whoever writes standard input: nothing is begun yet
    /// that a stop would have to let end.
    pub(super) fn bounds_of_planning(&self) -> Bounds {
        Bounds { grace: Duration::ZERO, ..self.bounds() }
    }

    /// The bounds of asking for a lease: however short the deadline is, a lease that is granted the moment before it is
    /// not forgotten, and the run that has it ends by its own deadline.
    pub(super) fn bounds_of_lease(&self) -> Bounds {
        Bounds { deadline: self.deadline.max(MIN_LEASE_TIMEOUT), ..self.bounds() }
    }
}

/// The command line that means the same on any later day, secrets masked. For a job whose days are those of each mall: the
/// day in the business time zone.
pub fn line_of_start(cx: &Context, job: &dyn AnyJob, options: &RunOptions) -> String {
    arguments_of_start(cx, job, options, cx.today()).line(&cx.config.redactor())
}

/// The same for each day that it may be at a mall; empty if its days are not those of the malls.
fn lines_of_days(cx: &Context, job: &dyn AnyJob, options: &RunOptions) -> BTreeMap<NaiveDate, String> {
    let is_of_malls = matches!(job.days_of_start(cx.today()), Some(MeantDays::OfMalls(_)));
    if !is_of_malls || job.arguments().have_days() {
        return BTreeMap::new();
    }
    let redactor = cx.config.redactor();
    let line = |day| (day, arguments_of_start(cx, job, options, day).line(&redactor));
    days_somewhere(cx.now()).iter().map(line).collect()
}

fn arguments_of_start(cx: &Context, job: &dyn AnyJob, options: &RunOptions, today: NaiveDate) -> Arguments {
    let mut arguments = job.arguments().resolved(cx);
    if let Some(flag) = job.flag_without_days().filter(|_| !arguments.have_days()) {
        // A job without this flag has nothing to add to its line.
        arguments.set(flag, vec!["true".to_owned()]).ok();
    }
    arguments.meaning(job.days_of_start(today).map(MeantDays::days)).rerun(options.rerun)
}

/// What a command does outside its runs (planning, waiting, delivering) also has a deadline and obeys a stop.
pub(super) struct Bounds {
    signals: Signals,
    deadline: Duration,
    grace: Duration,
}

impl Bounds {
    pub(super) async fn keep<T>(&self, step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut signals = self.signals.clone();
        tokio::select! {
            biased;
            result = step => result,
            () = tokio::time::sleep(self.deadline) => Err(Interruption::TimedOut.into()),
            signal = signals.wait_and(self.grace) => Err(Interruption::Stopped(signal).into()),
        }
    }
}
