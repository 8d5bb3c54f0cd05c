//! The machine's clock: the only place that reads it.
//!
//! A job asks its context, which has two clocks: [`now`](crate::context::Context::now) for business questions, which a
//! rehearsal can fix, and [`machine_time`](crate::context::Context::machine_time). The layers below the context call
//! [`machine_time`] itself, each in one place that gives the reason.

use chrono::{DateTime, SubsecRound, Utc};

/// Decimals of a second that both databases store.
pub const SUBSECOND_DIGITS: u16 = 6;

/// The machine's time, to the microsecond: for leases, heartbeats and log lines.
#[expect(clippy::disallowed_methods, reason = "time enters here")]
pub fn machine_time() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(SUBSECOND_DIGITS)
}
