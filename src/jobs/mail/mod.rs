//! Mail: the queue, the jobs that fill it and the job that empties it.

pub mod consent_notice;
pub mod digest;
pub mod flush;
pub mod list;
pub mod payment_notice;
pub mod purge;
pub mod requeue;
mod selection;
pub mod show;
pub mod stats;
pub mod suppress;
mod templates;
mod unsubscribe_key;
mod wanted;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of mail.
pub const SPECS: &[JobSpec] = &[
    flush::Args::SPEC,
    purge::Args::SPEC,
    payment_notice::Args::SPEC,
    digest::Args::SPEC,
    consent_notice::Args::SPEC,
];

/// Send mails, and manage their queue and their texts
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Mail {
    Flush(JobCommand<flush::Args>),
    /// List mails, newest first
    List(list::ListArgs),
    /// Show everything known about a mail
    Show(show::ShowArgs),
    /// Count mails by state, and by kind or domain
    Stats(stats::StatsArgs),
    /// Requeue mails that failed, were cancelled or have an unknown outcome
    Requeue(requeue::RequeueArgs),
    /// Cancel mails that are waiting to be sent
    Cancel(requeue::CancelArgs),
    /// Manage the addresses that get no mail
    #[command(subcommand)]
    Suppress(suppress::Suppress),
    PaymentNotice(JobCommand<payment_notice::Args>),
    Digest(JobCommand<digest::Args>),
    ConsentNotice(JobCommand<consent_notice::Args>),
    /// List, preview and check the texts of mails
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Print the key with which your web application checks unsubscription links
    UnsubscribeKey,
    Purge(JobCommand<purge::Args>),
}

impl Mail {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Flush(job) => job.into(),
            Self::Purge(job) => job.into(),
            Self::PaymentNotice(job) => job.into(),
            Self::Digest(job) => job.into(),
            Self::ConsentNotice(job) => job.into(),
            Self::List(args) => Action::plain(cx, list::list(cx, args)),
            Self::Show(args) => Action::plain(cx, show::show(cx, args)),
            Self::Stats(args) => Action::plain(cx, stats::stats(cx, args)),
            Self::Requeue(args) => Action::plain(cx, requeue::requeue(cx, args)),
            Self::Cancel(args) => Action::plain(cx, requeue::cancel(cx, args)),
            Self::Suppress(command) => Action::plain(cx, command.dispatch(cx)),
            Self::UnsubscribeKey => Action::plain(cx, async move { unsubscribe_key::print(cx) }),
            Self::Templates(command) => Action::plain(cx, async move { command.dispatch(cx) }),
        }
    }
}
