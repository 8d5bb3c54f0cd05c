//! Mail: the queue, what fills it and what empties it.

pub mod digest;
pub mod flush;
pub mod list;
pub mod payment_notice;
pub mod purge;
pub mod requeue;
pub mod show;
pub mod suppress;
mod templates;

use crate::context::Context;
use crate::runner::{ExitCode, JobCommand, RunOptions, end_plain, execute};

/// Mail
#[derive(Debug, clap::Subcommand)]
pub enum Mail {
    /// Send the queued mails that are due
    Flush(JobCommand<flush::Args>),
    /// List mails, the newest first
    List(list::ListArgs),
    /// Show a mail with everything known of it
    Show(show::ShowArgs),
    /// Send mails again that failed, were cancelled or are of unknown outcome
    Requeue(requeue::RequeueArgs),
    /// Keep mails from being sent
    Cancel(requeue::CancelArgs),
    /// Look after the addresses that get no mail
    #[command(subcommand)]
    Suppress(suppress::Suppress),
    /// Queue notices of payments to come
    PaymentNotice(JobCommand<payment_notice::Args>),
    /// Queue digests of new articles
    Digest(JobCommand<digest::Args>),
    /// Look at the texts that customers get, and check them
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Delete mails that ended long ago
    Purge(JobCommand<purge::Args>),
}

impl Mail {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        let done = match self {
            Self::Flush(command) => return execute(cx, &command.job, &command.options).await,
            Self::Purge(command) => return execute(cx, &command.job, &command.options).await,
            Self::List(args) => list::list(cx, args).await,
            Self::Show(args) => show::show(cx, args).await,
            Self::Requeue(args) => requeue::requeue(cx, args).await,
            Self::Cancel(args) => requeue::cancel(cx, args).await,
            Self::Suppress(command) => command.dispatch(cx).await,
            Self::PaymentNotice(command) => return execute(cx, &command.job, &command.options).await,
            Self::Digest(command) => return execute(cx, &command.job, &command.options).await,
            Self::Templates(command) => command.dispatch(cx),
        };
        end_plain(cx, done)
    }

    /// The runner's flags of the chosen command, if it is a job.
    pub fn options(&mut self) -> Option<&mut RunOptions> {
        match self {
            Self::Flush(command) => Some(&mut command.options),
            Self::Purge(command) => Some(&mut command.options),
            Self::PaymentNotice(command) => Some(&mut command.options),
            Self::Digest(command) => Some(&mut command.options),
            _ => None,
        }
    }
}
