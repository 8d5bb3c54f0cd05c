//! Events: the outbox, the job that empties it, and what operators do with it.

pub mod list;
pub mod publish;
pub mod purge;
pub mod replay;
pub mod schemas;
mod selection;
pub mod show;
mod subject;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of events.
pub const SPECS: &[JobSpec] = &[publish::Args::SPEC, purge::Args::SPEC];

/// Publish the events of the outbox, and manage them
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Events {
    Publish(JobCommand<publish::Args>),
    /// List events, newest first
    List(list::ListArgs),
    /// Show everything known about an event
    Show(show::ShowArgs),
    /// Publish events again that were published or given up
    Replay(replay::ReplayArgs),
    Purge(JobCommand<purge::Args>),
    /// Look after the Avro schemas of events
    #[command(subcommand)]
    Schemas(schemas::Command),
}

impl Events {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Publish(job) => job.into(),
            Self::Purge(job) => job.into(),
            Self::List(args) => Action::plain(cx, list::list(cx, args)),
            Self::Show(args) => Action::plain(cx, show::show(cx, args)),
            Self::Replay(args) => Action::plain(cx, replay::replay(cx, args)),
            Self::Schemas(command) => command.action(cx),
        }
    }
}
