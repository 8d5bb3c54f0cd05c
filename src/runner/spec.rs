//! What a job is to the runner: its constants, its instances and its work.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::context::Context;
use crate::db::Db;
use crate::severity::Severity;

use super::run::Run;

/// What may not run beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// One run of the job at a time. Who finds it taken leaves at once with 75.
    Job,
    /// One run of each key of [`Instance::exclusion`] at a time. Who finds it taken waits, up to the deadline, so
    /// that a nightly run is never lost.
    Instance,
    /// Any number side by side: rows are claimed one by one.
    Shared,
}

/// A job's constants.
#[derive(Debug, Clone, Copy)]
pub struct JobSpec {
    /// Its name: the words of the subcommand (`report daily-sales`).
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// When it usually runs, as crontab's five fields in the business time zone; `None` if a person starts it.
    pub schedule: Option<&'static str>,
    /// How long one instance may take.
    pub deadline: Duration,
    /// How bad a failure is.
    pub severity: Severity,
    /// What may not run beside what.
    pub exclusion: Exclusion,
}

/// Minutes, for specs.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// One instance of a job: the job with its identifying parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The identifying parameters in one stable text (`2026-11-19`); empty for a job that sweeps or drains,
    /// which is never "already completed".
    pub key: String,
    /// What keeps two instances apart under [`Exclusion::Instance`], without the job's name.
    pub exclusion: String,
    /// Its lane: a part of the work that stands or falls by itself (a mall). Instances of one lane run one after the
    /// other, in the order given; lanes run side by side (see [`Job::lanes`]), and what fails in one leaves the rest.
    /// Empty for a job whose instances depend on the same things: there a failure of an outside system ends all.
    pub lane: String,
    /// The arguments that repeat exactly this instance, with relative dates resolved.
    pub arguments: Vec<String>,
}

impl Instance {
    /// The one instance of a job without identifying parameters.
    pub fn sweep(arguments: Vec<String>) -> Self {
        Self { key: String::new(), exclusion: String::new(), lane: String::new(), arguments }
    }

    /// Whether a second run after a success has nothing to do.
    pub fn is_repeatable(&self) -> bool {
        self.key.is_empty()
    }
}

/// Whether a completed instance still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is complete. The text, if any, says what changed since ("13 orders of that day are newer").
    Complete(Option<String>),
    /// Something of it is due that was not there before (a new mall): it has to run again.
    Due(String),
}

/// A job: its parameters are the implementing type.
#[expect(async_fn_in_trait, reason = "jobs run on one task; none of their futures has to be Send")]
pub trait Job {
    /// Its constants.
    const SPEC: JobSpec;

    /// What is to be done, oldest first: a range of days is one instance a day. Bad arguments end here.
    async fn instances(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Instance>>;

    /// How many lanes run side by side, each over a connection of its own (see [`Instance::lane`]).
    fn lanes(&self, _cx: &Context) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    /// Whether an instance that completed once still stands, and what is cheap to know of changes since.
    async fn standing(&self, _cx: &Context, _db: &mut Db, _instance: &Instance) -> anyhow::Result<Standing> {
        Ok(Standing::Complete(None))
    }

    /// Does the work of one instance.
    async fn run(&self, run: &mut Run<'_>, instance: &Instance) -> anyhow::Result<()>;

    /// Shows or writes what the command was asked for, from the stored results of the completed instances.
    /// Runs once at the end, also when all had been completed before.
    async fn deliver(&self, _cx: &Context, _db: &mut Db, _completed: &[Instance]) -> anyhow::Result<()> {
        Ok(())
    }
}
