//! `stock`: what is in stock, and who is told when it runs low.

pub mod alert;
mod alerts;
mod telling;

use crate::config::{Config, ConfigError};
use crate::context::Context;
use crate::runner::{Action, Job, JobCommand, JobSpec};

/// The jobs of stock.
pub const SPECS: &[JobSpec] = &[alert::Args::SPEC];

/// Alert of low stock
#[derive(Debug, clap::Subcommand)]
pub enum Stock {
    #[expect(missing_docs, reason = "the help of a job is its spec")]
    Alert(JobCommand<alert::Args>),
    /// List the products whose stock is low, the most urgent first
    Alerts(alerts::ListArgs),
}

impl Stock {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Alert(job) => job.into(),
            Self::Alerts(args) => Action::plain(cx, alerts::list(cx, args)),
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
