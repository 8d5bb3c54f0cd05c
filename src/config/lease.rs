//! The lease and its renewal: only a variable.

use std::time::Duration;

use super::error::ConfigError;
use super::section::Section;
use super::variables::Variables;

/// The default lease: six missed heartbeats.
const DEFAULT_SECONDS: u32 = 60;

/// A lease of more than a day would keep a crashed nightly job from running the next night.
const MAX_SECONDS: u32 = 86_400;

/// A heartbeat at least this often, however long the lease: `runs list` shows it as the sign of life.
const MAX_HEARTBEAT: Duration = Duration::from_secs(10);

/// The right to run, and its renewal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeaseSettings {
    /// `BATCHCTL_LEASE_SECONDS`, from 1 to 86,400.
    pub seconds: u32,
}

impl LeaseSettings {
    /// How long after the last heartbeat another run may take over.
    pub fn lease(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// How often the lease is renewed: six times in its length, at least every ten seconds.
    pub fn heartbeat(self) -> Duration {
        (self.lease() / 6).min(MAX_HEARTBEAT)
    }
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self { seconds: DEFAULT_SECONDS }
    }
}

impl Section for LeaseSettings {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        variables.or_default(&mut self.seconds, "BATCHCTL_LEASE_SECONDS", |text| {
            text.parse()
                .ok()
                .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
                .ok_or_else(|| format!("`{text}` is not a number of seconds from 1 to {MAX_SECONDS}"))
        })
    }
}
