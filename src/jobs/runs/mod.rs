//! Past runs: look at them, repeat what failed, throw the old ones away.

mod list;
pub mod process_requests;
pub mod purge;
mod request_retry;
mod retry;
mod show;

pub use retry::{RetryArgs, stored_command};

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, execute, report_error};

/// Past runs
#[derive(Debug, clap::Subcommand)]
pub enum Runs {
    /// List runs, the newest first
    List(list::ListArgs),
    /// Show a run with everything known of it
    Show(show::ShowArgs),
    /// Show the items of a run that failed or were skipped
    Errors(show::ErrorsArgs),
    /// Do again what failed in a run
    Retry(RetryArgs),
    /// Ask for a run to be done again by `runs process-requests`
    RequestRetry(request_retry::RequestRetryArgs),
    /// Do the runs that were asked for again
    ProcessRequests(JobCommand<process_requests::Args>),
    /// Delete the history of old runs
    Purge(JobCommand<purge::Args>),
}

impl Runs {
    /// Runs the chosen command. `retry` is the command line's own business: it parses a stored one.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        let done = match self {
            Self::List(args) => list::list(cx, args).await,
            Self::Show(args) => show::show(cx, args).await,
            Self::Errors(args) => show::errors(cx, args).await,
            Self::RequestRetry(args) => request_retry::request_retry(cx, args).await,
            Self::Retry(_) => Ok(()),
            Self::ProcessRequests(command) => return execute(cx, &command.job, &command.options).await,
            Self::Purge(command) => return execute(cx, &command.job, &command.options).await,
        };
        match done {
            Ok(()) => ExitCode::Completed,
            Err(error) => report_error(cx, &error),
        }
    }

    /// The runner's flags of the chosen command, if it is a job.
    pub fn options(&mut self) -> Option<&mut RunOptions> {
        match self {
            Self::ProcessRequests(command) => Some(&mut command.options),
            Self::Purge(command) => Some(&mut command.options),
            _ => None,
        }
    }
}
