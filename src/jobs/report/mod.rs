//! Reports: the figures of a period, stored, shown, written and mailed.

pub mod awaited;
pub mod by_mall;
pub mod change;
pub mod daily_cancellations;
pub mod daily_sales;
pub mod delivery;
pub mod driver;
pub mod executive;
pub mod outdated;
pub mod periods;
pub mod publication;
pub mod restatements;
pub mod shown_malls;
pub mod soundness;
pub mod sources;
pub mod stale;
pub mod told;
pub mod weekly_signups;
pub mod wordings;

use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The reports.
pub const SPECS: &[JobSpec] = &[
    <daily_sales::Args as Job>::SPEC,
    <daily_cancellations::Args as Job>::SPEC,
    <weekly_signups::Args as Job>::SPEC,
    <executive::Args as Job>::SPEC,
];

/// Report sales, cancellations, sign-ups and the key figures for management
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Report {
    DailySales(JobCommand<daily_sales::Args>),
    DailyCancellations(JobCommand<daily_cancellations::Args>),
    WeeklySignups(JobCommand<weekly_signups::Args>),
    Executive(JobCommand<executive::Args>),
}

impl Report {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, _cx: &'a Context) -> Action<'a> {
        match self {
            Self::DailySales(job) => job.into(),
            Self::DailyCancellations(job) => job.into(),
            Self::WeeklySignups(job) => job.into(),
            Self::Executive(job) => job.into(),
        }
    }
}
