//! The database's address: only a variable, since its URL may contain a password.

use super::error::ConfigError;
use super::section::Section;
use super::variables::{Shown, Variables};
use super::{Config, urls};
use crate::db;
use crate::mask::Secret;

/// The variable.
const URL: &str = "BATCHCTL_DATABASE_URL";
/// The database if the variable is not set.
const DEFAULT_URL: &str = "sqlite:batchctl.db";

/// The database.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSettings {
    url: Secret,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self { url: Secret::new(DEFAULT_URL) }
    }
}

impl Section for DatabaseSettings {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        if let Some(text) = variables.text(URL, Shown::Url, DEFAULT_URL) {
            check_url(text).map_err(|problem| variables.wrong(URL, &problem))?;
            self.url = Secret::new(text);
        }
        Ok(())
    }
}

impl Config {
    /// The database's URL; may contain a password.
    pub fn database_url(&self) -> &str {
        self.database().url.expose()
    }

    /// The setting that names the database, and where it was made: what has to be changed if it is wrong.
    pub fn database_origin(&self) -> String {
        if self.is_database_named() {
            self.set_at(URL)
        } else {
            format!("{URL} (not set, so `{DEFAULT_URL}`)")
        }
    }

    /// Whether the process that started this one has named it, rather than a file: each command may then have another one.
    pub fn is_database_of_process(&self) -> bool {
        self.is_from_process(URL)
    }

    /// Whether the variable is set, rather than left to its default.
    pub fn is_database_named(&self) -> bool {
        self.variable(URL).is_some()
    }
}

fn check_url(url: &str) -> Result<(), String> {
    const ADVICE: &str = "write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME";
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        if !urls::is_readable(url) {
            return Err(urls::UNREADABLE.to_owned());
        }
    } else if let Some(file) = url.strip_prefix("sqlite:") {
        if file.trim_start_matches('/').is_empty() {
            return Err(format!("names no file: {ADVICE}"));
        }
    } else {
        return Err(match urls::scheme(url) {
            Some(scheme) => format!("the scheme `{scheme}` is not supported: {ADVICE}"),
            None => format!("has no scheme: {ADVICE}"),
        });
    }
    db::url_problem(url).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn a_url_that_could_not_be_opened_is_refused_and_shows_no_password() {
        for (url, problem) in [
            (
                "mysql://shop:hunter22@db/shop",
                "the scheme `mysql` is not supported: write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME",
            ),
            ("hunter22:x", "has no scheme: write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME"),
            ("sqlite://", "names no file: write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME"),
            (
                "postgres://shop:22/hunter22@db/shop",
                "is not a URL: percent-encode the characters @ : / ? # % of a password",
            ),
            ("postgres://shop:hunter22@db/shop?sslmode=verify", "unknown value \"verify\" for `ssl_mode`"),
            (
                "postgres://shop:hunter22@db/shop?sslrootcert=/nowhere/ca.pem",
                "`sslrootcert`: failed to read `/nowhere/ca.pem`: No such file or directory (os error 2)",
            ),
            ("sqlite:shop.db?mode=append", "unknown value \"append\" for `mode`"),
        ] {
            assert_eq!(check_url(url), Err(problem.to_owned()));
        }
        for url in ["sqlite:shop.db", "postgres://shop:a%2Fb@db/shop", "postgresql://db/shop"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }
}
