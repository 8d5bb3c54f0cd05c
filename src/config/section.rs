//! What a section of the configuration is, and the macro that lists them all in one struct.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, de};

use super::document::Document;
use super::error::ConfigError;
use super::variables::Variables;
use crate::period::{format_duration, parse_duration};
use crate::printable::escaped;

/// One concern: a table of `batchctl.toml`, the variables that go with it, or both. Its keys and their defaults are
/// the fields of the struct that implements this.
pub(super) trait Section {
    /// Reads its variables.
    fn read(&mut self, _variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Refuses what would otherwise fail later.
    fn check(&self, _place: &Place<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The variables that its keys name. Each holds a secret.
    fn named_variables(&self) -> Vec<NamedVariable<'_>> {
        Vec::new()
    }
}

/// A variable that `batchctl.toml` names, since it holds no secret itself.
pub(super) struct NamedVariable<'a> {
    /// The variable.
    pub(super) name: &'a str,
    /// The key that names it, below the section; elements of arrays are numbers from 0.
    pub(super) path: Vec<String>,
    /// What needs it, as shown in an error: "alerts.channel `ops`".
    pub(super) needed_by: String,
}

/// The variables of some keys of a section, each needed by its key.
pub(super) fn named_by_keys<'a>(
    section: &str,
    keys: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) -> Vec<NamedVariable<'a>> {
    keys.into_iter()
        .filter_map(|(key, name)| {
            let path = key.split('.').map(str::to_owned).collect();
            Some(NamedVariable { name: name?, path, needed_by: format!("{section}.{key}") })
        })
        .collect()
}

/// Where a section is in `batchctl.toml`.
pub(super) struct Place<'a> {
    document: &'a Document<'a>,
    section: &'a str,
}

impl<'a> Place<'a> {
    /// The table of this name.
    pub(super) fn new(document: &'a Document<'a>, section: &'a str) -> Self {
        Self { document, section }
    }

    /// An error about the key at `path` below the section; elements of arrays are numbers from 0.
    pub(super) fn error(&self, path: &[&str], problem: impl Into<String>) -> ConfigError {
        let path: Vec<&str> = [self.section].into_iter().chain(path.iter().copied()).collect();
        self.document.error_at(&path, problem)
    }

    /// Refuses a value that is not a variable's name where one belongs. It is never shown: most likely it is the
    /// secret itself.
    pub(super) fn check_names(&self, named: &[NamedVariable<'_>]) -> Result<(), ConfigError> {
        for NamedVariable { name, path, .. } in named {
            if !is_variable_name(name) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let key = path.last().copied().unwrap_or_default();
                let problem = format!(
                    "`{}.{}` is not a variable's name: put the secret in a variable such as {}",
                    self.section,
                    path.join("."),
                    key.trim_end_matches("_variable").to_uppercase()
                );
                return Err(self.error(&path, problem));
            }
        }
        Ok(())
    }
}

/// Whether a text can be the name of a variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// No setting means a longer time, and every instant less than this away exists.
const LONGEST_DURATION: Duration = Duration::from_hours(3660 * 24);

/// How a length of time is written.
pub(super) const DURATION: &str = "a length of time in quotes, such as \"45m\" (also s, h and d)";

/// The text of a length of time.
struct DurationText;

impl de::Visitor<'_> for DurationText {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(DURATION)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A length of time in quotes, such as `"45m"`. serde's attribute requires the field's own type.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = deserializer.deserialize_str(DurationText)?;
    match parse_duration(&text) {
        Ok(length) if length > LONGEST_DURATION => Err(de::Error::custom(format_args!(
            "`{}` is too long: write at most {}",
            escaped(&text),
            format_duration(LONGEST_DURATION)
        ))),
        parsed => parsed.map(Some).map_err(de::Error::custom),
    }
}

/// Lists every section once. The list makes the struct that `batchctl.toml` is read into, the walk over its sections,
/// the method of [`Config`](super::Config) that reaches each, and makes the public items of its module public.
macro_rules! sections {
    (
        variables { $($alone:ident: $settings:ty,)* }
        tables { $($table:ident: $config:ty,)* }
    ) => {
        $(pub use self::$alone::*;)*
        $(pub use self::$table::*;)*

        /// Every section, as set by `batchctl.toml` and the variables. Only a table has its name in the file.
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Sections {
            $(#[serde(skip)] $alone: $settings,)*
            $($table: $config,)*
        }

        impl Sections {
            /// The names of the tables.
            #[cfg(test)]
            const TABLES: &[&str] = &[$(stringify!($table)),*];

            /// Each section with its name.
            fn all(&self) -> Vec<(&'static str, &dyn $crate::config::section::Section)> {
                vec![
                    $((stringify!($alone), &self.$alone),)*
                    $((stringify!($table), &self.$table),)*
                ]
            }

            /// Each section, to be filled.
            fn all_mut(&mut self) -> Vec<&mut dyn $crate::config::section::Section> {
                vec![$(&mut self.$alone,)* $(&mut self.$table,)*]
            }
        }

        impl Config {
            $(
                #[doc = concat!("The section `", stringify!($alone), "`, which has only variables.")]
                pub fn $alone(&self) -> &$settings {
                    &self.sections.$alone
                }
            )*
            $(
                #[doc = concat!("`[", stringify!($table), "]`")]
                pub fn $table(&self) -> &$config {
                    &self.sections.$table
                }
            )*
        }
    };
}

pub(super) use sections;
