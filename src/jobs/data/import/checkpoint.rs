//! Where a chunk of an import ended, as it is kept with the run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::shop::arrivals::files::FileDays;

use super::kind::Noted;

/// Where a chunk ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The lines of the file up to there, without the header.
    pub(super) lines: u64,
    /// The good ones of them that were left out with a bad one.
    #[serde(default)]
    pub(super) left_out: u64,
    /// See [`super::interpretation::interpretation`]. Checkpoints of older versions call it `manner`.
    #[serde(alias = "manner")]
    pub(super) interpretation: String,
    /// When the file was exported.
    #[serde(default)]
    pub(super) exported: Option<DateTime<Utc>>,
    /// Whether that is the time of its records.
    #[serde(default)]
    pub(super) dates_records: bool,
    /// The mall and the section of the configuration: files of others are not older or newer states of the same.
    #[serde(default)]
    pub(super) origin: Option<String>,
    /// What the run said of the file's good lines, as a digest; nothing if that was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noted: Option<String>,
    /// The records of which another part of the same export has other lines.
    #[serde(default, skip_serializing_if = "Noted::is_empty")]
    pub(super) split: Noted,
    /// How many rows of each day there were.
    #[serde(default, skip_serializing_if = "FileDays::is_empty")]
    pub(super) days: FileDays,
}
