//! Reports: figures of a period, stored, shown and written.

pub mod by_mall;
pub mod change;
pub mod daily_sales;
pub mod delivery;
pub mod periods;
pub mod publication;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute};

/// Reports
#[derive(Debug, clap::Subcommand)]
pub enum Report {
    /// Report what each mall sold on a business day
    DailySales(JobCommand<daily_sales::Args>),
}

impl Report {
    /// Runs the chosen report.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        match self {
            Self::DailySales(command) => execute(cx, &command.job, &command.options).await,
        }
    }
}

impl Report {
    /// The runner's flags of the chosen report.
    pub fn options(&mut self) -> &mut RunOptions {
        match self {
            Self::DailySales(command) => &mut command.options,
        }
    }
}
