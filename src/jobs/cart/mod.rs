//! Carts: what buyers left in them.

pub mod remind;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute};

/// Carts
#[derive(Debug, clap::Subcommand)]
pub enum Cart {
    /// Queue reminders of carts that members left
    Remind(JobCommand<remind::Args>),
}

impl Cart {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        match self {
            Self::Remind(command) => execute(cx, &command.job, &command.options).await,
        }
    }

    /// The runner's flags of the chosen command.
    pub fn options(&mut self) -> &mut RunOptions {
        match self {
            Self::Remind(command) => &mut command.options,
        }
    }
}
