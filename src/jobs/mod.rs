//! The jobs, a folder a group and a file a job; and the few commands beside them that do no batch work.

pub mod cart;
pub mod configuration;
pub mod data;
pub mod database;
pub mod demo;
pub mod environment;
pub mod mail;
pub mod mall;
pub mod report;
pub mod runs;
pub mod schedule;
pub mod stats;

use crate::runner::{Job, JobSpec};

/// Every job, in the order of the README's table.
pub const SPECS: &[JobSpec] = &[
    report::daily_sales::Args::SPEC,
    report::daily_cancellations::Args::SPEC,
    report::weekly_signups::Args::SPEC,
    report::executive::Args::SPEC,
    stats::refresh::Args::SPEC,
    data::import::Args::SPEC,
    mall::sync::Args::SPEC,
    mall::token::refresh::Args::SPEC,
    mail::flush::Args::SPEC,
    mail::purge::Args::SPEC,
    cart::remind::Args::SPEC,
    mail::payment_notice::Args::SPEC,
    mail::digest::Args::SPEC,
    runs::purge::Args::SPEC,
    runs::process_requests::Args::SPEC,
];
