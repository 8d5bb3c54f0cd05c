//! `[digest]` of `batchctl.toml`: what the digest of articles offers to free members.

use serde::Deserialize;

use super::section::Section;

/// `[digest]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DigestConfig {
    /// Where a free member subscribes.
    pub subscribe_url: Option<String>,
}

impl Section for DigestConfig {}
