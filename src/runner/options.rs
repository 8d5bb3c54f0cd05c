//! The flags that every job has from the runner.

use std::str::FromStr;
use std::time::Duration;

use crate::config::SkipLimit;
use crate::period::parse_duration;

/// How to run, for every job alike.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How to run")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct RunOptions {
    /// Run a completed instance again and replace its results
    #[arg(long)]
    pub rerun: bool,
    /// Choose instances by their history: those that have not succeeded yet (default), those whose last run failed, those
    /// whose data has changed since, or all
    #[arg(long, value_enum, value_name = "WHICH")]
    pub only: Option<Only>,
    /// Show what would run and why, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// When another run holds the lease: `fail` at once with 75, or `wait=DURATION` first (default: a run for certain days,
    /// malls or files waits up to its deadline, any other fails)
    #[arg(long, value_name = "fail|wait=DURATION")]
    pub on_overlap: Option<OnOverlap>,
    /// End a run after this time with 124 (default: the job's own deadline)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// After SIGTERM or Ctrl-C, give the current chunk this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "25s")]
    pub grace: Option<Duration>,
    /// Fail if more items than this are skipped or fail: a count, or a percentage such as `1%`
    #[arg(long, value_name = "N|N%")]
    pub skip_limit: Option<SkipLimit>,
    /// Exit 0 instead of 3 even if some items failed
    #[arg(long)]
    pub allow_partial: bool,
    /// The run whose failed items are to be run again; set by `runs retry`
    #[arg(skip)]
    pub retry_of: Option<i64>,
    /// Nothing proves that the line of that run is ours, so that of this one is not either; set by `runs retry`
    #[arg(skip)]
    pub is_unproven: bool,
}

/// The options that apply only to this one command, by clap's id. The others decide what a run's result means and are
/// repeated by a retry.
pub(crate) const NOT_REPEATED: [&str; 5] = ["rerun", "only", "dry_run", "on_overlap", "grace"];

/// Which instances of a range to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// Those without a success
    Missing,
    /// Those whose last run failed, in whole or in part
    Failed,
    /// Those whose data has changed or come since their last run
    Stale,
    /// All, completed ones too
    All,
}

/// What to do when another run holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOverlap {
    /// Exit at once.
    Fail,
    /// Wait this long for it to end.
    Wait(Duration),
}

impl FromStr for OnOverlap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("wait=")) {
            ("fail", _) => Ok(Self::Fail),
            (_, Some(duration)) => {
                parse_duration(duration).map(Self::Wait).map_err(|error| error.to_string())
            }
            _ => Err("write `fail` or `wait=5m`".to_owned()),
        }
    }
}
