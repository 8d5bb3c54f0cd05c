//! `[cafe24]` of `batchctl.toml`: Cafe24's address, our credentials and limits.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::error::ConfigError;
use super::section::{NamedVariable, Place, Section, duration, named_by_keys};
use super::urls::is_confidential;
use super::variables::{Shown, Variables};

/// The variables that hold the app's id and secret, unless the file names others.
const CLIENT_ID_VARIABLE: &str = "BATCHCTL_CAFE24_CLIENT_ID";
const CLIENT_SECRET_VARIABLE: &str = "BATCHCTL_CAFE24_CLIENT_SECRET";
/// The placeholder for the mall's id at Cafe24.
const ACCOUNT: &str = "{account}";
/// The address of a mall's API.
const BASE_URL: &str = "https://{account}.cafe24api.com";
/// The version whose formats this program knows.
const API_VERSION: &str = "2026-03-01";
/// More than ten calls a second from one address count as abuse, even within the bucket.
const CALLS_PER_SECOND: f64 = 8.0;
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_mins(10);
/// A refresh token lives two weeks; so it is renewed twice before it could expire.
const KEEP_ALIVE_AFTER: Duration = Duration::from_hours(5 * 24);
const WARN_BEFORE: Duration = Duration::from_hours(4 * 24);
const CONCURRENCY: usize = 10;
/// The default scopes of a token: all that `mall sync` reads.
const SCOPES: [&str; 4] = ["mall.read_order", "mall.read_customer", "mall.read_privacy", "mall.read_store"];

/// `[cafe24]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cafe24Config {
    base_url: Option<String>,
    api_version: Option<String>,
    client_id_variable: Option<String>,
    client_secret_variable: Option<String>,
    /// Where the browser is sent with the code; one of the app's addresses in the console.
    pub redirect_uri: Option<String>,
    scopes: Option<Vec<String>>,
    calls_per_second: Option<f64>,
    tries: Option<u32>,
    #[serde(deserialize_with = "duration")]
    backoff: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    request_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    longest_wait: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    keep_alive_after: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    warn_before: Option<Duration>,
    concurrency: Option<usize>,
}

impl Cafe24Config {
    /// The address of an account's API, without a trailing slash.
    pub fn base_url(&self, account: &str) -> String {
        let base = self.base_url.as_deref().unwrap_or(BASE_URL);
        base.trim_end_matches('/').replace(ACCOUNT, account)
    }

    /// The version that every call asks for.
    pub fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or(API_VERSION)
    }

    /// The variable that holds the app's id.
    pub fn client_id_variable(&self) -> &str {
        self.client_id_variable.as_deref().unwrap_or(CLIENT_ID_VARIABLE)
    }

    /// The variable that holds the app's secret.
    pub fn client_secret_variable(&self) -> &str {
        self.client_secret_variable.as_deref().unwrap_or(CLIENT_SECRET_VARIABLE)
    }

    /// What a new token may read.
    pub fn scopes(&self) -> Vec<String> {
        self.scopes.clone().unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec())
    }

    /// At most this many calls a second for one account; 0 sets no limit.
    pub fn calls_per_second(&self) -> f64 {
        self.calls_per_second.unwrap_or(CALLS_PER_SECOND)
    }

    /// The number of attempts for a call.
    pub fn tries(&self) -> u32 {
        self.tries.unwrap_or(TRIES)
    }

    /// The longest pause before the second attempt; it doubles with each.
    pub fn backoff(&self) -> Duration {
        self.backoff.unwrap_or(BACKOFF)
    }

    /// How long one attempt may take, including reading the whole response.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout.unwrap_or(REQUEST_TIMEOUT)
    }

    /// The longest wait that Cafe24 may ask for.
    pub fn longest_wait(&self) -> Duration {
        self.longest_wait.unwrap_or(MAX_WAIT)
    }

    /// How old a token gets before `mall token refresh` renews it.
    pub fn keep_alive_after(&self) -> Duration {
        self.keep_alive_after.unwrap_or(KEEP_ALIVE_AFTER)
    }

    /// How long before a refresh token expires its mall counts as in danger.
    pub fn warn_before(&self) -> Duration {
        self.warn_before.unwrap_or(WARN_BEFORE)
    }

    /// How many malls are worked on side by side.
    pub fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or(CONCURRENCY)
    }
}

impl Section for Cafe24Config {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        // Their values are looked up where they are needed, since the file may name other variables.
        variables.text(CLIENT_ID_VARIABLE, Shown::Never, "");
        variables.text(CLIENT_SECRET_VARIABLE, Shown::Never, "");
        Ok(())
    }

    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let error = |key: &str, problem: &str| Err(place.error(&[key], format!("`cafe24.{key}` {problem}")));
        if let Some(problem) = self.base_url.as_deref().and_then(base_url_problem) {
            return error("base_url", problem);
        }
        if self.api_version.as_ref().is_some_and(|version| !is_version(version)) {
            return error("api_version", "is not a version of the API: write one like 2026-03-01");
        }
        if self.redirect_uri.as_ref().is_some_and(|uri| Url::parse(uri).is_err()) {
            return error("redirect_uri", "is not a URL: write https://HOST/PATH");
        }
        if let Some(scopes) = &self.scopes
            && (scopes.is_empty() || scopes.iter().any(|scope| !is_scope(scope)))
        {
            return error("scopes", "is not a list of scopes: write [\"mall.read_order\", …]");
        }
        if self.calls_per_second.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
            return error("calls_per_second", "is not a number of calls a second; 0 sets no limit");
        }
        if self.tries.is_some_and(|tries| !(1..=20).contains(&tries)) {
            return error("tries", "is not from 1 to 20");
        }
        if self.request_timeout.is_some_and(|limit| limit.is_zero()) {
            return error("request_timeout", "is zero: no server answers that fast");
        }
        if self.concurrency.is_some_and(|malls| !(1..=100).contains(&malls)) {
            return error("concurrency", "is not from 1 to 100");
        }
        Ok(())
    }

    fn named_variables(&self) -> Vec<NamedVariable<'_>> {
        let keys = [
            ("client_id_variable", self.client_id_variable.as_deref()),
            ("client_secret_variable", self.client_secret_variable.as_deref()),
        ];
        named_by_keys("cafe24", keys)
    }
}

/// Why a text cannot be the address of a mall's API, once the mall's id is filled in.
fn base_url_problem(base: &str) -> Option<&'static str> {
    if !base.contains(ACCOUNT) {
        return Some("has no {account} in it: write https://{account}.cafe24api.com");
    }
    let Ok(url) = Url::parse(&base.replace(ACCOUNT, "a")) else {
        return Some("is not a URL: write https://{account}.cafe24api.com");
    };
    if !is_confidential(&url) {
        return Some("would send tokens unencrypted: write https://…");
    }
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !is_plain || url.query().is_some() || url.fragment().is_some() {
        return Some("has more than a host and a path");
    }
    None
}

/// Year, month and day, as Cafe24 names its versions.
fn is_version(text: &str) -> bool {
    text.len() == "2026-03-01".len()
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<Cafe24Config, String> {
        Sections::parse("batchctl.toml", &format!("[cafe24]\n{text}"))
            .map(|sections| sections.cafe24)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_account_is_put_into_the_address() {
        assert_eq!(parsed("").unwrap().base_url("shop1"), "https://shop1.cafe24api.com");
        let local = parsed("base_url = 'http://127.0.0.1:8024/{account}/'").unwrap();
        assert_eq!(local.base_url("shop1"), "http://127.0.0.1:8024/shop1");
    }

    #[test]
    fn the_defaults_are_those_of_the_example() {
        let example = include_str!("../../batchctl.example.toml");
        let section = example.lines().skip_while(|line| *line != "#[cafe24]").skip(1);
        let settings: Vec<&str> = section
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .collect();
        let (written, default) = (parsed(&settings.join("\n")).unwrap(), Cafe24Config::default());
        assert_eq!(written.base_url("a"), default.base_url("a"));
        assert_eq!(written.api_version(), default.api_version());
        assert_eq!(written.client_id_variable(), default.client_id_variable());
        assert_eq!(written.client_secret_variable(), default.client_secret_variable());
        assert_eq!(written.scopes(), default.scopes());
        assert!((written.calls_per_second() - default.calls_per_second()).abs() < f64::EPSILON);
        assert_eq!((written.tries(), written.concurrency()), (default.tries(), default.concurrency()));
        assert_eq!(written.backoff(), default.backoff());
        assert_eq!(written.request_timeout(), default.request_timeout());
        assert_eq!(written.longest_wait(), default.longest_wait());
        assert_eq!(written.keep_alive_after(), default.keep_alive_after());
        assert_eq!(written.warn_before(), default.warn_before());
    }

    #[test]
    fn what_could_only_fail_at_night_is_refused_by_its_key() {
        for (text, problem) in [
            ("base_url = 'https://api.cafe24.com'", "`cafe24.base_url` has no {account} in it"),
            ("base_url = '{account}'", "`cafe24.base_url` is not a URL"),
            ("base_url = 'http://{account}.example.jp'", "`cafe24.base_url` would send tokens unencrypted"),
            ("base_url = 'https://me:hunter22@{account}.jp'", "has more than a host and a path"),
            ("api_version = '2026-3-1'", "`cafe24.api_version` is not a version"),
            ("redirect_uri = 'callback'", "`cafe24.redirect_uri` is not a URL"),
            ("scopes = []", "`cafe24.scopes` is not a list of scopes"),
            ("scopes = ['a b']", "`cafe24.scopes` is not a list of scopes"),
            ("calls_per_second = -1", "`cafe24.calls_per_second` is not a number"),
            ("tries = 0", "`cafe24.tries` is not from 1 to 20"),
            ("request_timeout = '0s'", "`cafe24.request_timeout` is zero"),
            ("concurrency = 0", "`cafe24.concurrency` is not from 1 to 100"),
            (
                "client_secret_variable = 'hunter-22'",
                "`cafe24.client_secret_variable` is not a variable's name",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with("batchctl.toml line 2: ") && error.contains(problem), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
