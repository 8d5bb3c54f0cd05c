//! The key that signs links and encrypts tokens: only a variable.

use super::Config;
use super::error::ConfigError;
use super::section::Section;
use super::variables::{Shown, Variables};
use crate::mask::Secret;

/// The variable.
const KEY: &str = "BATCHCTL_SECRET_KEY";
/// The variable of the key that was replaced by it.
const PREVIOUS: &str = "BATCHCTL_SECRET_KEY_PREVIOUS";
/// A shorter key for HMAC-SHA256 can be guessed.
const MIN_KEY_BYTES: usize = 32;

/// The key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SigningSettings {
    key: Option<Secret>,
    previous: Option<Secret>,
}

impl Section for SigningSettings {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        variables.optional(&mut self.key, KEY, Shown::Never, parse)?;
        variables.optional(&mut self.previous, PREVIOUS, Shown::Never, parse)
    }
}

fn parse(text: &str) -> Result<Secret, String> {
    if text.len() < MIN_KEY_BYTES {
        return Err(format!(
            "is shorter than {MIN_KEY_BYTES} bytes: make one with `openssl rand -base64 32`"
        ));
    }
    Ok(Secret::new(text))
}

impl Config {
    /// The key that signs links and encrypts tokens.
    pub fn secret_key(&self) -> Result<&Secret, ConfigError> {
        self.signing().key.as_ref().ok_or_else(|| self.unset(KEY))
    }

    /// The key before it was replaced: it opens what was encrypted until then, and encrypts and signs nothing more.
    pub fn previous_secret_key(&self) -> Option<&Secret> {
        self.signing().previous.as_ref()
    }
}
