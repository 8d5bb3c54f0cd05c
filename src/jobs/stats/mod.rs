//! Statistics: daily snapshots of the shop's state, and each day's sales for other systems.

pub mod daily;
pub mod refresh;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of statistics.
pub const SPECS: &[JobSpec] = &[refresh::Args::SPEC, daily::Args::SPEC];

/// Store the day's counts and sales, for reports and for other systems
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Stats {
    Refresh(JobCommand<refresh::Args>),
    Daily(JobCommand<daily::Args>),
}

impl Stats {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::Refresh(job) => job.into(),
            Self::Daily(job) => job.into(),
        }
    }
}
