//! The runner: what every job gets for nothing. History, lease, deadline, checkpoint, retry, alert, exit code.
//!
//! It knows no particular job. [`execute`] is the one way in.

pub mod alert;
pub mod command_line;
mod execute;
mod exit;
mod failpoint;
mod failure_notes;
pub mod history;
mod interruption;
mod lease;
mod options;
mod process;
mod run;
mod spec;
mod verdict;

use crate::context::Context;
use crate::db::Db;

pub use execute::{end_plain, execute, report_error};
pub use exit::ExitCode;
pub use interruption::{Interruption, StopSignal};
pub use options::{OnOverlap, Only, RunOptions};
pub use run::Run;
pub use spec::{Exclusion, Instance, Job, JobSpec, Standing, minutes};

/// Opens a further connection for a run, known by its number as the first one is: whoever takes a frozen run over
/// ends all of them, and with them the locks that they hold.
pub async fn open_connection(cx: &Context, run: i64) -> anyhow::Result<Db> {
    let mut db = cx.db().await?;
    lease::introduce(&mut db, &process::ProcessIdentity::own(), Some(run)).await?;
    Ok(db)
}

/// A job's own arguments beside the runner's, as clap parses a subcommand.
#[derive(Debug, clap::Args)]
pub struct JobCommand<A: clap::Args> {
    /// The job's own arguments.
    #[command(flatten)]
    pub job: A,
    /// The runner's.
    #[command(flatten)]
    pub options: RunOptions,
}
