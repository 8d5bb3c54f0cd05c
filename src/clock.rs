//! The machine's clock: the one place that reads it.
//!
//! Jobs do not come here: they ask [`crate::context::Context::now`], which a rehearsal can fix.

use chrono::{DateTime, SubsecRound, Utc};

/// Digits of a second that both databases keep.
pub const SUBSECOND_DIGITS: u16 = 6;

/// The machine's time, to the microsecond: for leases, heartbeats and log lines.
#[expect(clippy::disallowed_methods, reason = "time enters here")]
pub fn machine_time() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(SUBSECOND_DIGITS)
}
