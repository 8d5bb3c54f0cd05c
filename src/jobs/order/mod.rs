//! Orders that an application of the shop keeps in this database.

pub mod expire;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of orders.
pub const SPECS: &[JobSpec] = &[expire::Args::SPEC];

/// Cancel orders that were not paid in time
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Order {
    Expire(JobCommand<expire::Args>),
}

impl Order {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::Expire(job) => job.into(),
        }
    }
}
