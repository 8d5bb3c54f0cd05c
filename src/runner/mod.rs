//! The runner: what every job gets for free. History, lease, deadline, checkpoint, retry, alert, exit code.
//!
//! It knows no particular job. The single entry point is a [`JobCommand`] run as an [`Action`].

pub mod alert;
pub mod arguments;
mod command;
mod execute;
mod exit;
pub mod failpoint;
mod failure_notes;
pub mod history;
mod interruption;
mod job;
mod lease;
mod options;
mod outage;
mod own_folder;
mod process;
pub mod retries;
mod run;
pub mod settling;
mod shop;
pub mod stored_line;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;

use crate::context::Context;
use crate::db::Db;

pub use command::{Action, AnyJob, JobCommand, Retry};
pub use execute::{line_of_start, report_error};
pub use exit::ExitCode;
pub use interruption::{Interruption, StopSignal};
pub use job::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, LastChance, MeantDays, Planned, minutes,
};
pub use lease::bury_expired_runs;
#[cfg(test)]
pub(crate) use options::NOT_REPEATED;
pub use options::{OnOverlap, Only, RunOptions};
pub use run::Run;
pub use verdict::worse;

/// Opens another connection for a run, tagged with its id as the first one is: a run that takes over from a frozen one
/// ends all of them, and with them the locks that they hold.
pub async fn open_connection(cx: &Context, run: i64) -> anyhow::Result<Db> {
    let mut db = cx.db().await?;
    let lease = cx.config.lease().lease();
    lease::introduce(&mut db, &process::ProcessIdentity::own(), Some(run), lease).await?;
    Ok(db)
}
