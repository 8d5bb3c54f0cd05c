//! What `env show`, `env export` and `config check` show of the settings, and which of their values are secrets.

use std::collections::BTreeSet;

use super::environment::Source;
use super::variables::{PREFIX, Shown};
use super::{Config, urls};
use crate::mask::{Redactor, is_secret_name};
use crate::spelling::nearest;

/// A line of `env show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable, or the key of `batchctl.toml` with dots.
    pub name: String,
    /// Its value, secrets masked; empty if it is not set and has no default.
    pub value_for_display: String,
    /// Who set it.
    pub source: Source,
    /// Whether a part of the value is hidden.
    pub secret: bool,
}

impl Config {
    /// Every variable of the interface, those that `batchctl.toml` names, and its entries; secrets masked.
    pub fn effective(&self) -> Vec<Setting> {
        let mut settings = vec![Setting {
            name: "BATCHCTL_ENV".to_owned(),
            value_for_display: self.environment.name.clone(),
            source: self.environment.name_source.clone(),
            secret: false,
        }];
        let known = self.known.iter();
        settings.extend(known.map(|known| self.setting(known.name, known.shown, &known.default)));
        let named = self.named_variables();
        let others = named.into_iter().filter(|name| !self.is_known(name));
        settings.extend(others.map(|name| self.setting(name, Shown::Never, "")));
        if let Some(file) = &self.file {
            let source = Source::File(file.name.clone());
            flatten(&self.entries(), "", &mut |name, value| {
                settings.push(Setting {
                    name,
                    value_for_display: value,
                    source: source.clone(),
                    secret: false,
                });
            });
        }
        settings
    }

    fn setting(&self, name: &str, shown: Shown, default: &str) -> Setting {
        let (value, source) = match self.environment.get(name) {
            Some(variable) => (variable.value.as_str(), variable.source.clone()),
            None => (default, Source::Default),
        };
        let value_for_display = shown.of(value);
        let secret = shown == Shown::Never || value_for_display != value;
        Setting { name: name.to_owned(), value_for_display, source, secret }
    }

    /// Names and real values for `env export`: the environment, each variable that is set and is ours or named in
    /// `batchctl.toml`, and everything in the `.env` files. Defaults are left out.
    pub fn exports(&self) -> Vec<(String, String)> {
        let named = self.named_variables();
        let variables = self.environment.variables.iter().filter(|(name, variable)| {
            matches!(variable.source, Source::File(_)) || self.is_known(name) || named.contains(name.as_str())
        });
        std::iter::once(("BATCHCTL_ENV".to_owned(), self.environment.name.clone()))
            .chain(variables.map(|(name, variable)| (name.clone(), variable.value.clone())))
            .collect()
    }

    /// Which files with secrets of production other users of the machine can read, and what to do about it.
    pub fn exposed(&self) -> &[String] {
        &self.environment.exposed
    }

    /// What is odd but not an error, for `config check`: unknown variables with our prefix, and names set twice in
    /// one file.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = [self.exposed(), &self.environment.warnings].concat();
        let named = self.named_variables();
        for (name, variable) in &self.environment.variables {
            let Some(end) = name.strip_prefix(PREFIX) else { continue };
            if self.is_known(name) || named.contains(name.as_str()) {
                continue;
            }
            // Compared without the prefix, which would make all of them similar.
            let known = self.known.iter().filter_map(|known| known.name.strip_prefix(PREFIX));
            let advice = nearest(end, known)
                .map_or_else(String::new, |known| format!(": did you mean {PREFIX}{known}?"));
            warnings.push(format!("{name} ({}) is not a variable of batchctl{advice}", variable.origin()));
        }
        warnings
    }

    /// Knows every secret of this configuration: the values that are never shown, those of variables whose name
    /// indicates a secret, and the passwords in URLs, whatever variable holds them. This includes the process's own
    /// variables if their name has such a word (`AWS_SECRET_ACCESS_KEY`): in a container nothing comes from a `.env`
    /// file.
    pub fn redactor(&self) -> Redactor {
        let mut secrets = Vec::new();
        let hidden = self.known.iter().filter(|known| known.shown == Shown::Never);
        secrets.extend(hidden.filter_map(|known| self.variable(known.name)).map(str::to_owned));
        for value in self.named_variables().into_iter().filter_map(|name| self.variable(name)) {
            secrets.push(value.to_owned());
            secrets.extend(urls::secrets_of_webhook(value));
        }
        for (name, variable) in &self.environment.variables {
            let holds_secret = match variable.source {
                Source::File(_) => is_secret_name(name),
                // Whole words only: the process has many variables that are not ours, such as XKB_KEYBOARD.
                _ => name.split('_').any(is_secret_word),
            };
            if holds_secret {
                secrets.push(variable.value.clone());
            }
            secrets.extend(urls::secrets_of_url(&variable.value));
        }
        Redactor::new(secrets)
    }

    /// The variables that `batchctl.toml` names, each once.
    fn named_variables(&self) -> BTreeSet<&str> {
        self.sections.named_variables().map(|variable| variable.name).collect()
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.iter().any(|known| known.name == name)
    }
}

fn is_secret_word(word: &str) -> bool {
    matches!(
        word.to_ascii_uppercase().as_str(),
        "SECRET" | "TOKEN" | "PASSWORD" | "PASSWD" | "KEY" | "APIKEY"
    )
}

/// Calls `each` with the dotted key and the value of every entry; tables in arrays are numbered from 1.
fn flatten(table: &toml::Table, prefix: &str, each: &mut impl FnMut(String, String)) {
    for (key, value) in table {
        let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let key = if bare { key.clone() } else { format!("\"{key}\"") };
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(table, &name, each),
            toml::Value::Array(array) if array.iter().all(toml::Value::is_table) && !array.is_empty() => {
                for (place, table) in array.iter().filter_map(toml::Value::as_table).enumerate() {
                    flatten(table, &format!("{name}[{}]", place + 1), each);
                }
            }
            toml::Value::String(text) => each(name, text.clone()),
            other => each(name, other.to_string()),
        }
    }
}
