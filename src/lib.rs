//! batchctl: the batch jobs of an online business in one binary.
//!
//! Arrows run one way: `main → cli → jobs → runner → {shop, channels} → {mail, clients, documents} → {context, config,
//! db}`; the leaves (`period`, `money`, `mask`, `backoff`, …) are below all and know no database and no clock.
//!
//! `docs/adding-a-job.md` explains how to add a job; tests enforce its steps.

pub mod address;
pub mod avro;
pub mod backoff;
pub mod channels;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod context;
pub mod crontab;
pub mod db;
pub mod digest;
pub mod documents;
pub mod event_schemas;
pub mod failure;
pub mod files;
pub mod format;
pub mod hosts;
pub mod jobs;
pub mod locale;
pub mod mail;
pub mod mask;
pub mod money;
pub mod outbox;
pub mod output;
pub mod period;
pub mod printable;
pub mod rsa_sha256;
pub mod runner;
pub mod sealed;
pub mod severity;
pub mod shop;
pub mod spelling;
pub mod text_encoding;
pub mod time_format;
pub mod wording;
