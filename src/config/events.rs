//! `[events]` of `batchctl.toml`: where the events of the outbox go, and how often one is offered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::error::ConfigError;
use super::kafka::KafkaConfig;
use super::section::{NamedVariable, Place, Section, duration, named_by_keys};
use super::variables::Variables;

const FOLDER: &str = "events";
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
const CONNECTIONS: usize = 8;
/// Cron starts a run every minute, whether those before have ended or not: of a slow sink there would be more and more.
const PROCESSES: i64 = 4;
/// With the pauses between them an event is offered for two hours: long enough for whoever runs the other side to notice.
const ATTEMPTS: i64 = 8;
const BACKOFF: Duration = Duration::from_mins(1);

/// `[events]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Where events go; nowhere by default, and then they wait.
    pub sink: Option<SinkKind>,
    folder: Option<PathBuf>,
    max_file_bytes: Option<u64>,
    url_variable: Option<String>,
    secret_variable: Option<String>,
    /// The hosts that a webhook or brokers may be at outside prod, apart from this machine.
    pub hosts_outside_prod: Vec<String>,
    connections: Option<usize>,
    processes: Option<i64>,
    attempts: Option<i64>,
    #[serde(deserialize_with = "duration")]
    backoff: Option<Duration>,
    /// The brokers, and how they are reached.
    pub kafka: KafkaConfig,
}

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// A folder of files with a line of JSON for each event.
    Ndjson,
    /// A signed POST for each event.
    Webhook,
    /// A message in a topic for each event.
    Kafka,
}

impl EventsConfig {
    /// The folder of the files; relative to the working directory.
    pub fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(FOLDER))
    }

    /// A file that is larger than this is followed by another one.
    pub fn max_file_bytes(&self) -> u64 {
        self.max_file_bytes.unwrap_or(MAX_FILE_BYTES)
    }

    /// The variable that holds the webhook's URL.
    pub fn url_variable(&self) -> &str {
        self.url_variable.as_deref().unwrap_or_default()
    }

    /// The variable that holds the secret that the webhook's requests are signed with.
    pub fn secret_variable(&self) -> &str {
        self.secret_variable.as_deref().unwrap_or_default()
    }

    /// How many requests to the webhook are under way at once.
    pub fn connections(&self) -> usize {
        self.connections.unwrap_or(CONNECTIONS)
    }

    /// How many runs publish at once.
    pub fn processes(&self) -> i64 {
        self.processes.unwrap_or(PROCESSES)
    }

    /// How often an event is refused before it is given up.
    pub fn attempts(&self) -> i64 {
        self.attempts.unwrap_or(ATTEMPTS)
    }

    /// The pause after the first refusal; it doubles with each.
    pub fn backoff(&self) -> Duration {
        self.backoff.unwrap_or(BACKOFF)
    }
}

impl Section for EventsConfig {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        self.kafka.read(variables)
    }

    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let error = |key: &str, problem: &str| Err(place.error(&[key], format!("`events.{key}` {problem}")));
        let needs = |key: &str| {
            let problem = format!(
                "`events.{key}` is not set: name the variable that holds it, such as EVENTS_{}",
                key.trim_end_matches("_variable").to_uppercase()
            );
            Err(place.error(&["sink"], problem))
        };
        if self.sink == Some(SinkKind::Webhook) {
            if self.url_variable.is_none() {
                return needs("url_variable");
            }
            if self.secret_variable.is_none() {
                return needs("secret_variable");
            }
        }
        if self.max_file_bytes == Some(0) {
            return error("max_file_bytes", "is zero: no event fits");
        }
        if self.connections.is_some_and(|connections| !(1..=100).contains(&connections)) {
            return error("connections", "is not from 1 to 100");
        }
        if self.processes.is_some_and(|processes| !(1..=100).contains(&processes)) {
            return error("processes", "is not from 1 to 100");
        }
        if self.attempts.is_some_and(|attempts| !(1..=100).contains(&attempts)) {
            return error("attempts", "is not from 1 to 100");
        }
        if self.backoff.is_some_and(|pause| pause.is_zero() || pause > Duration::from_hours(24)) {
            return error("backoff", "is not from 1s to 24h");
        }
        if self.hosts_outside_prod.iter().any(|host| url::Host::parse(host).is_err()) {
            return error("hosts_outside_prod", "is not a list of hosts: write [\"events.dev.example.jp\"]");
        }
        self.kafka.check(place)
    }

    fn named_variables(&self) -> Vec<NamedVariable<'_>> {
        let keys = [
            ("url_variable", self.url_variable.as_deref()),
            ("secret_variable", self.secret_variable.as_deref()),
            ("kafka.user_variable", self.kafka.user_variable.as_deref()),
            ("kafka.password_variable", self.kafka.password_variable.as_deref()),
            ("kafka.registry_user_variable", self.kafka.registry_user_variable.as_deref()),
            ("kafka.registry_password_variable", self.kafka.registry_password_variable.as_deref()),
        ];
        named_by_keys("events", keys)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<EventsConfig, String> {
        Sections::parse("batchctl.toml", &format!("[events]\n{text}"))
            .map(|sections| sections.events)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_example() {
        let example = include_str!("../../batchctl.example.toml");
        let section = example.lines().skip_while(|line| *line != "#[events]").skip(1);
        let settings: Vec<&str> = section
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .collect();
        let (written, default) = (parsed(&settings.join("\n")).unwrap(), EventsConfig::default());
        assert!(settings.len() > 5, "{settings:?}");
        assert_eq!(written.folder(), default.folder());
        assert_eq!(written.max_file_bytes(), default.max_file_bytes());
        assert_eq!(written.connections(), default.connections());
        assert_eq!(written.processes(), default.processes());
        assert_eq!(written.attempts(), default.attempts());
        assert_eq!(written.backoff(), default.backoff());
    }

    #[test]
    fn what_could_only_fail_at_night_is_refused_by_its_key() {
        for (text, problem) in [
            ("sink = 'rabbitmq'", "`rabbitmq` is not known: write \"ndjson\", \"webhook\" or \"kafka\""),
            ("sink = 'webhook'", "`events.url_variable` is not set"),
            ("sink = 'webhook'\nurl_variable = 'A'", "`events.secret_variable` is not set"),
            ("url_variable = 'https://hunter22'", "`events.url_variable` is not a variable's name"),
            ("sink = 3", "`events.sink`: write a text in quotes"),
            ("backoff = 5", "`events.backoff`: write a length of time in quotes, such as \"45m\""),
            ("hosts_outside_prod = 'a'", "`events.hosts_outside_prod`: write a list, such as"),
            ("max_file_bytes = 0", "`events.max_file_bytes` is zero"),
            ("connections = 0", "`events.connections` is not from 1 to 100"),
            ("processes = 0", "`events.processes` is not from 1 to 100"),
            ("attempts = 0", "`events.attempts` is not from 1 to 100"),
            ("backoff = '0s'", "`events.backoff` is not from 1s to 24h"),
            ("hosts_outside_prod = ['https://a']", "`events.hosts_outside_prod` is not a list of hosts"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
