//! A shop's data, from files.

pub mod import;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute};

/// A shop's data
#[derive(Debug, clap::Subcommand)]
pub enum Data {
    /// Load orders, members, products and other data of a shop from a CSV file
    Import(JobCommand<import::Args>),
}

impl Data {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        match self {
            Self::Import(command) => execute(cx, &command.job, &command.options).await,
        }
    }

    /// The runner's flags of the chosen command.
    pub fn options(&mut self) -> &mut RunOptions {
        match self {
            Self::Import(command) => &mut command.options,
        }
    }
}
