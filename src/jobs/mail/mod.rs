//! Mails: what customers get, and how it leaves.

mod templates;

use crate::context::Context;
use crate::runner::{ExitCode, RunOptions, report_error};

/// Mails
#[derive(Debug, clap::Subcommand)]
pub enum Mail {
    /// Look at the texts that customers get, and check them
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
}

impl Mail {
    /// Runs the chosen command.
    #[expect(clippy::unused_async, reason = "the group's jobs are run here")]
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        let done = match self {
            Self::Templates(command) => command.dispatch(cx),
        };
        match done {
            Ok(()) => ExitCode::Completed,
            Err(error) if crate::failure::is_broken_pipe(&error) => ExitCode::Completed,
            Err(error) => report_error(cx, &error),
        }
    }

    /// The runner's flags of the chosen command, if it is a job.
    pub fn options(&mut self) -> Option<&mut RunOptions> {
        match self {
            Self::Templates(_) => None,
        }
    }
}
