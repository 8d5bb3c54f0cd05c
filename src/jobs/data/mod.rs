//! Data of shops, loaded from files.

pub mod import;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of data.
pub const SPECS: &[JobSpec] = &[import::Args::SPEC];

/// Load a shop's data
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Data {
    Import(Box<JobCommand<import::Args>>),
    #[command(subcommand)]
    Presets(import::presets::Presets),
}

impl Data {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Import(job) if job.job().only_guesses() => Action::plain(cx, job.job().guess_mapping(cx)),
            Self::Import(job) if job.job().only_checks() => Action::plain(cx, job.job().check_file(cx)),
            Self::Import(job) => Action::from(&**job),
            Self::Presets(presets) => presets.action(cx),
        }
    }
}
