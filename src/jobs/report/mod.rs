//! Reports: figures of a period, stored, shown and written.

pub mod by_mall;
pub mod change;
pub mod daily_cancellations;
pub mod daily_sales;
pub mod delivery;
pub mod executive;
pub mod periods;
pub mod publication;
pub mod weekly_signups;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute};

/// Reports
#[derive(Debug, clap::Subcommand)]
pub enum Report {
    /// Report what each mall sold on a business day
    DailySales(JobCommand<daily_sales::Args>),
    /// Report what was cancelled in each mall on a business day, and why
    DailyCancellations(JobCommand<daily_cancellations::Args>),
    /// Report how many members joined each mall in a week, in counts alone
    WeeklySignups(JobCommand<weekly_signups::Args>),
    /// Report a day's figures to the management, with changes and a chart
    Executive(JobCommand<executive::Args>),
}

impl Report {
    /// Runs the chosen report.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        match self {
            Self::DailySales(command) => execute(cx, &command.job, &command.options).await,
            Self::DailyCancellations(command) => execute(cx, &command.job, &command.options).await,
            Self::WeeklySignups(command) => execute(cx, &command.job, &command.options).await,
            Self::Executive(command) => execute(cx, &command.job, &command.options).await,
        }
    }
}

impl Report {
    /// The runner's flags of the chosen report.
    pub fn options(&mut self) -> &mut RunOptions {
        match self {
            Self::DailySales(command) => &mut command.options,
            Self::DailyCancellations(command) => &mut command.options,
            Self::WeeklySignups(command) => &mut command.options,
            Self::Executive(command) => &mut command.options,
        }
    }
}
