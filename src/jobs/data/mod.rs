//! Data of shops, loaded from files.

pub mod import;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of data.
pub const SPECS: &[JobSpec] = &[import::Args::SPEC];

/// Load a shop's data
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Data {
    Import(JobCommand<import::Args>),
}

impl Data {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::Import(job) => job.into(),
        }
    }
}
