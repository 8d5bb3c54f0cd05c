//! Reads the variables of the interface. Reading a variable declares it: `env show` lists it, and `config check` does
//! not report it as a typo.

use std::fmt::Display;

use super::environment::Environment;
use super::error::ConfigError;
use super::urls;
use crate::address;
use crate::mask::{MASK, Secret, mask_email, mask_url};

/// The prefix of all our variables.
pub(super) const PREFIX: &str = "BATCHCTL_";

/// How a variable's value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it is.
    Plain,
    /// Without the parts of a URL that are secret.
    Url,
    /// As an address, which is personal.
    Address,
    /// Not at all: it is a secret.
    Never,
}

impl Shown {
    /// The value for people.
    pub(super) fn of(self, value: &str) -> String {
        match self {
            _ if value.is_empty() => String::new(),
            Self::Plain => value.to_owned(),
            Self::Url => mask_url(value),
            Self::Address => mask_email(value),
            Self::Never => MASK.to_owned(),
        }
    }
}

/// A variable of the interface.
#[derive(Debug, Clone)]
pub(super) struct KnownVariable {
    pub(super) name: &'static str,
    pub(super) shown: Shown,
    /// The value if it is not set; empty if there is none.
    pub(super) default: String,
}

/// Reads variables, and records which ones.
pub(super) struct Variables<'a> {
    environment: &'a Environment,
    known: Vec<KnownVariable>,
}

impl<'a> Variables<'a> {
    /// Reads from this environment.
    pub(super) fn of(environment: &'a Environment) -> Self {
        Self { environment, known: Vec::new() }
    }

    /// The environment's own name, such as `prod`.
    pub(super) fn environment(&self) -> &'a str {
        &self.environment.name
    }

    /// What has been read.
    pub(super) fn into_known(self) -> Vec<KnownVariable> {
        self.known
    }

    /// The text of a variable, if it is set.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        shown: Shown,
        default: impl Display,
    ) -> Option<&'a str> {
        self.known.push(KnownVariable { name, shown, default: default.to_string() });
        self.environment.get(name).map(|variable| variable.value.as_str())
    }

    /// The error of a variable whose value is wrong: it says where that is.
    pub(super) fn wrong(&self, name: &str, problem: &str) -> ConfigError {
        let origin = self.environment.origin(name).map(|origin| format!(" ({origin})"));
        ConfigError::variable(name, format!("{problem}{}", origin.unwrap_or_default()))
    }

    /// A value whose default is in `field`.
    pub(super) fn or_default<T: Display>(
        &mut self,
        field: &mut T,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some(text) = self.text(name, Shown::Plain, &field) {
            *field = parse(text).map_err(|problem| self.wrong(name, &problem))?;
        }
        Ok(())
    }

    /// A value without a default.
    pub(super) fn optional<T>(
        &mut self,
        field: &mut Option<T>,
        name: &'static str,
        shown: Shown,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        let text = self.text(name, shown, "");
        *field = text.map(parse).transpose().map_err(|problem| self.wrong(name, &problem))?;
        Ok(())
    }

    /// A URL of one of these schemes.
    pub(super) fn url(
        &mut self,
        field: &mut Option<Secret>,
        name: &'static str,
        schemes: &[&str],
    ) -> Result<(), ConfigError> {
        self.optional(field, name, Shown::Url, |text| urls::parse(text, schemes))
    }

    /// A mail address. A wrong one is not shown: it is personal, and a wrong paste may be anything.
    pub(super) fn mail_address(
        &mut self,
        field: &mut Option<String>,
        name: &'static str,
        example: &str,
    ) -> Result<(), ConfigError> {
        self.optional(field, name, Shown::Address, |text| match address::parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(format!("is not a mail address: write one like {example}")),
        })
    }
}
