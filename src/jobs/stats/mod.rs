//! Statistics: what there is, counted once a day.

pub mod refresh;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute};

/// Statistics
#[derive(Debug, clap::Subcommand)]
pub enum Stats {
    /// Take the day's snapshot of members, orders, products and carts
    Refresh(JobCommand<refresh::Args>),
}

impl Stats {
    /// Runs the chosen job.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        match self {
            Self::Refresh(command) => execute(cx, &command.job, &command.options).await,
        }
    }

    /// The runner's flags of the chosen job.
    pub fn options(&mut self) -> &mut RunOptions {
        match self {
            Self::Refresh(command) => &mut command.options,
        }
    }
}
