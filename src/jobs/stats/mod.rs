//! Statistics: daily snapshots of the shop's state.

pub mod refresh;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of statistics.
pub const SPECS: &[JobSpec] = &[refresh::Args::SPEC];

/// Take a daily snapshot of the shop's counts
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Stats {
    Refresh(JobCommand<refresh::Args>),
}

impl Stats {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::Refresh(job) => job.into(),
        }
    }
}
