//! Abandoned carts.

pub mod remind;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of carts.
pub const SPECS: &[JobSpec] = &[remind::Args::SPEC];

/// Remind members of abandoned carts
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Cart {
    Remind(JobCommand<remind::Args>),
}

impl Cart {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::Remind(job) => job.into(),
        }
    }
}
