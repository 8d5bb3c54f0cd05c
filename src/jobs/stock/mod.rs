//! `stock`: what is in stock, who is told when it runs low, and whether Redis agrees.

pub mod alert;
mod alerts;
mod causes;
mod differences;
mod listing;
pub mod reconcile;
pub mod summary;
mod telling;

use crate::config::{Config, ConfigError};
use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of stock.
pub const SPECS: &[JobSpec] = &[alert::Args::SPEC, reconcile::Args::SPEC, summary::Args::SPEC];

/// Alert about low stock, and compare the stock in Redis with the database
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the help of a job is its spec")]
pub enum Stock {
    Alert(JobCommand<alert::Args>),
    Reconcile(JobCommand<reconcile::Args>),
    Summary(JobCommand<summary::Args>),
    /// List the products whose stock is low, the most urgent first
    Alerts(alerts::ListArgs),
    /// List the differences that `stock reconcile` has found, newest first
    Differences(differences::ListArgs),
}

impl Stock {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Alert(job) => job.into(),
            Self::Reconcile(job) => job.into(),
            Self::Summary(job) => job.into(),
            Self::Alerts(args) => Action::plain(cx, alerts::list(cx, args)),
            Self::Differences(args) => Action::plain(cx, differences::list(cx, args)),
        }
    }
}

/// Refuses a channel in `[stock]` that does not exist.
pub fn check_channel(config: &Config) -> Result<(), ConfigError> {
    let Some(name) = &config.stock().channel else { return Ok(()) };
    if config.channel(name).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = config.alerts().channel.iter().map(|channel| channel.name.as_str()).collect();
    Err(config.unknown_value(&["stock", "channel"], name, "an [[alerts.channel]]", &known))
}
