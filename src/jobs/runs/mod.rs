//! Past runs: list them, retry what failed, delete old ones.

mod dismiss;
mod list;
pub mod process_requests;
pub mod purge;
mod request_retry;
mod retry;
mod show;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

pub use retry::{Repeat, StoredCommand, refuse_other_job};

/// The jobs of runs.
pub const SPECS: &[JobSpec] = &[purge::Args::SPEC, process_requests::Args::SPEC];

/// List past runs and retry what failed
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Runs {
    /// List runs, newest first
    List(list::ListArgs),
    /// Show everything known about a run
    Show(show::ShowArgs),
    /// Show the items of a run that failed or were skipped
    Errors(show::ErrorsArgs),
    /// Retry what failed in runs
    Retry(retry::RetryArgs),
    /// Close a failure that nobody will repeat
    Dismiss(dismiss::DismissArgs),
    /// Request a retry, which `runs process-requests` will run
    RequestRetry(request_retry::RequestRetryArgs),
    ProcessRequests(JobCommand<process_requests::Args>),
    Purge(JobCommand<purge::Args>),
}

impl Runs {
    /// What the chosen command does. `repeat` parses and runs a stored command line, which only the command line's own
    /// module can do.
    pub fn action<'a>(&'a self, cx: &'a Context, repeat: Repeat) -> Action<'a> {
        match self {
            Self::ProcessRequests(job) => job.into(),
            Self::Purge(job) => job.into(),
            Self::List(args) => Action::plain(cx, list::list(cx, args)),
            Self::Show(args) => Action::plain(cx, show::show(cx, args)),
            Self::Errors(args) => Action::plain(cx, show::errors(cx, args)),
            Self::Dismiss(args) => Action::plain(cx, dismiss::dismiss(cx, args)),
            Self::RequestRetry(args) => Action::plain(cx, request_retry::request_retry(cx, args)),
            Self::Retry(args) => Action::other(retry::retry(cx, args, repeat)),
        }
    }
}
