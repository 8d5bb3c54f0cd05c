//! Mails: what customers get, and how it leaves.

pub mod digest;
pub mod payment_notice;
mod templates;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute, report_error};

/// Mails
#[derive(Debug, clap::Subcommand)]
pub enum Mail {
    /// Queue notices of payments to come
    PaymentNotice(JobCommand<payment_notice::Args>),
    /// Queue digests of new articles
    Digest(JobCommand<digest::Args>),
    /// Look at the texts that customers get, and check them
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
}

impl Mail {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        let done = match self {
            Self::PaymentNotice(command) => return execute(cx, &command.job, &command.options).await,
            Self::Digest(command) => return execute(cx, &command.job, &command.options).await,
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
            Self::PaymentNotice(command) => Some(&mut command.options),
            Self::Digest(command) => Some(&mut command.options),
            Self::Templates(_) => None,
        }
    }
}
