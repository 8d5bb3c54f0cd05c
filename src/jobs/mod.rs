//! The jobs, one folder per group and one file per job, and the few commands that do no batch work.

pub mod cart;
pub mod configuration;
pub mod data;
pub mod database;
pub mod demo;
pub mod environment;
#[cfg(test)]
#[expect(unreachable_pub, reason = "it reads as a job of a group does")]
mod example;
pub mod mail;
pub mod mall;
pub mod report;
pub mod runs;
pub mod schedule;
pub mod stats;

use crate::config::{Config, ConfigError};
use crate::runner::JobSpec;

/// The jobs of each group, in the order of the README's table.
const GROUPS: [&[JobSpec]; 8] = [
    report::SPECS,
    stats::SPECS,
    data::SPECS,
    mail::SPECS,
    cart::SPECS,
    mall::SPECS,
    mall::token::SPECS,
    runs::SPECS,
];

/// Every job.
pub fn specs() -> impl Iterator<Item = &'static JobSpec> {
    GROUPS.into_iter().flatten()
}

/// Refuses what only a job can tell to be wrong in `batchctl.toml`: names that the configuration, which knows no job,
/// takes as they come. Called before any command starts.
pub fn check_names(config: &Config) -> Result<(), ConfigError> {
    data::import::check_kinds(config)?;
    report::delivery::check_deliveries(config, report::SPECS)
}
