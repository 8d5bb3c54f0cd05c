//! `[events.kafka]` of `batchctl.toml`: the topics of events, and how their brokers are reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, duration};
use super::variables::{Shown, Variables};
use crate::mask::Secret;

/// The variable that holds the brokers' addresses.
pub const KAFKA_BROKERS: &str = "BATCHCTL_KAFKA_BROKERS";
/// The variable that holds the URL of the schema registry.
pub const SCHEMA_REGISTRY_URL: &str = "BATCHCTL_SCHEMA_REGISTRY_URL";

/// A topic for each type of event, which consumers subscribe to one by one.
const TOPIC: &str = "{event_type}";
/// What a topic's pattern may hold.
pub const TOPIC_PLACEHOLDERS: [&str; 2] = ["{event_type}", "{aggregate_type}"];
/// Some hundred events, and far below what a topic takes by default (1 MiB): the limit of a topic that somebody has lowered
/// is above it too.
const BATCH_BYTES: usize = 128 * 1024;
/// Long enough for the election of another leader.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(1);

/// `[events.kafka]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// The first brokers to ask, each a host and a port; from [`KAFKA_BROKERS`].
    #[serde(skip)]
    pub brokers: Vec<(String, u16)>,
    topic: Option<String>,
    /// The topic that gets events that are given up; none by default.
    pub dead_letter_topic: Option<String>,
    tls: Option<bool>,
    /// The authority that has signed the brokers' certificates, unless it is one of the system's.
    pub ca_file: Option<PathBuf>,
    /// How the user logs in; not at all by default.
    pub sasl: Option<SaslMechanism>,
    pub(super) user_variable: Option<String>,
    pub(super) password_variable: Option<String>,
    /// How messages are compressed.
    pub compression: KafkaCompression,
    batch_bytes: Option<usize>,
    #[serde(deserialize_with = "duration")]
    delivery_timeout: Option<Duration>,
    /// What the messages are written in.
    pub format: EventFormat,
    /// The folder of the shop's own schemas; none by default. Relative to the working directory.
    pub schemas: Option<PathBuf>,
    subjects: Option<SubjectNames>,
    pub(super) registry_user_variable: Option<String>,
    pub(super) registry_password_variable: Option<String>,
    /// Where the schema registry is; from [`SCHEMA_REGISTRY_URL`].
    #[serde(skip)]
    pub registry_url: Option<Secret>,
}

/// What messages are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventFormat {
    /// The payload as it is.
    #[default]
    Json,
    /// Avro's binary form, behind the id of its schema in a registry.
    Avro,
}

/// Under which name a schema is in the registry, in the words of Confluent's clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectNames {
    /// `TopicNameStrategy`: the topic and `-value`.
    #[default]
    Topic,
    /// `RecordNameStrategy`: the full name of the record.
    Record,
    /// `TopicRecordNameStrategy`: the topic, a hyphen, and the full name of the record.
    TopicRecord,
}

/// How a user logs in to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// With the password itself (RFC 4616).
    #[serde(rename = "plain")]
    Plain,
    /// With a proof of the password (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// Likewise.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaCompression {
    /// Not at all.
    None,
    /// Fast, and known to every consumer.
    #[default]
    Lz4,
    /// Fast.
    Snappy,
    /// Slow and small.
    Gzip,
}

impl KafkaConfig {
    /// The topic's pattern.
    pub fn topic(&self) -> &str {
        self.topic.as_deref().unwrap_or(TOPIC)
    }

    /// Whether the brokers are reached under TLS.
    pub fn tls(&self) -> bool {
        self.tls.unwrap_or(true)
    }

    /// The authority's certificate, if it is not one of the system's; relative to the working directory.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The variable that holds the user.
    pub fn user_variable(&self) -> &str {
        self.user_variable.as_deref().unwrap_or_default()
    }

    /// The variable that holds the password.
    pub fn password_variable(&self) -> &str {
        self.password_variable.as_deref().unwrap_or_default()
    }

    /// The most bytes of messages that are sent to a partition at once, unless one alone has more.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes.unwrap_or(BATCH_BYTES)
    }

    /// How long a message is tried to be delivered.
    pub fn delivery_timeout(&self) -> Duration {
        self.delivery_timeout.unwrap_or(DELIVERY_TIMEOUT)
    }

    /// Under which name a schema is in the registry.
    pub fn subjects(&self) -> SubjectNames {
        self.subjects.unwrap_or_default()
    }

    /// The variables that hold the user of the registry and the password, if it has a user.
    pub fn registry_variables(&self) -> Option<(&str, &str)> {
        self.registry_user_variable.as_deref().zip(self.registry_password_variable.as_deref())
    }

    pub(super) fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        let mut brokers = None;
        variables.optional(&mut brokers, KAFKA_BROKERS, Shown::Plain, |text| {
            text.split(',').map(broker).collect::<Option<Vec<_>>>().ok_or_else(|| {
                "is not a list of brokers: write HOST:PORT,HOST:PORT, without a scheme or a password"
                    .to_owned()
            })
        })?;
        self.brokers = brokers.unwrap_or_default();
        variables.url(&mut self.registry_url, SCHEMA_REGISTRY_URL, &["https", "http"])
    }

    pub(super) fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let error = |key: &str, problem: &str| {
            Err(place.error(&["kafka", key], format!("`events.kafka.{key}` {problem}")))
        };
        let literal = TOPIC_PLACEHOLDERS
            .iter()
            .fold(self.topic().to_owned(), |topic, placeholder| topic.replace(placeholder, "x"));
        if !is_topic(&literal) {
            return error(
                "topic",
                "is not a topic: use letters, digits, `.`, `_` and `-`, with {event_type} or {aggregate_type}",
            );
        }
        if self.dead_letter_topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return error("dead_letter_topic", "is not a topic: use letters, digits, `.`, `_` and `-`");
        }
        if self.sasl.is_some() {
            for (key, variable) in
                [("user_variable", &self.user_variable), ("password_variable", &self.password_variable)]
            {
                if variable.is_none() {
                    let name = key.trim_end_matches("_variable").to_uppercase();
                    let problem = format!(
                        "`events.kafka.{key}` is not set: name the variable that holds it, such as KAFKA_{name}"
                    );
                    return Err(place.error(&["kafka", "sasl"], problem));
                }
            }
        } else if self.user_variable.is_some() || self.password_variable.is_some() {
            let key = if self.user_variable.is_some() { "user_variable" } else { "password_variable" };
            return error(
                key,
                "is of no use without `sasl`: add sasl = \"plain\", \"scram-sha-256\" or \"scram-sha-512\"",
            );
        }
        let of_avro = [
            ("schemas", self.schemas.is_some()),
            ("subjects", self.subjects.is_some()),
            ("registry_user_variable", self.registry_user_variable.is_some()),
            ("registry_password_variable", self.registry_password_variable.is_some()),
        ];
        if let Some((key, _)) = of_avro.iter().find(|(_, is_set)| *is_set && self.format == EventFormat::Json)
        {
            return error(key, "is of no use without format = \"avro\"");
        }
        match (&self.registry_user_variable, &self.registry_password_variable) {
            (Some(_), None) => {
                return error("registry_user_variable", "is of no use without `registry_password_variable`");
            }
            (None, Some(_)) => {
                return error("registry_password_variable", "is of no use without `registry_user_variable`");
            }
            _ => {}
        }
        if self.ca_file.is_some() && !self.tls() {
            return error("ca_file", "is of no use with tls = false");
        }
        if self.batch_bytes.is_some_and(|bytes| !(4096..=1_000_000).contains(&bytes)) {
            return error("batch_bytes", "is not from 4096 to 1000000");
        }
        let timeouts = Duration::from_secs(1)..=Duration::from_mins(10);
        if self.delivery_timeout.is_some_and(|timeout| !timeouts.contains(&timeout)) {
            return error("delivery_timeout", "is not from 1s to 10m");
        }
        Ok(())
    }
}

/// Whether Kafka allows a topic of this name.
pub fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A host and a port. The host of an IPv6 address keeps its brackets.
fn broker(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    url::Host::parse(host).ok()?;
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<KafkaConfig, String> {
        Sections::parse("batchctl.toml", &format!("[events.kafka]\n{text}"))
            .map(|sections| sections.events.kafka)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_example() {
        let example = include_str!("../../batchctl.example.toml");
        let section = example.lines().skip_while(|line| *line != "#[events.kafka]").skip(1);
        let settings: Vec<&str> = section
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .collect();
        let (written, default) = (parsed(&settings.join("\n")).unwrap(), KafkaConfig::default());
        assert!(settings.len() > 8, "{settings:?}");
        assert_eq!(written.topic(), default.topic());
        assert_eq!(written.tls(), default.tls());
        assert_eq!(written.compression, default.compression);
        assert_eq!(written.batch_bytes(), default.batch_bytes());
        assert_eq!(written.delivery_timeout(), default.delivery_timeout());
        assert_eq!(written.subjects(), default.subjects());
    }

    #[test]
    fn what_could_only_fail_at_night_is_refused_by_its_key() {
        for (text, problem) in [
            ("topic = 'shop {event_type}'", "`events.kafka.topic` is not a topic"),
            ("topic = '{event_id}'", "`events.kafka.topic` is not a topic"),
            ("dead_letter_topic = '..'", "`events.kafka.dead_letter_topic` is not a topic"),
            ("sasl = 'gssapi'", "`gssapi` is not known: write \"plain\", "),
            ("sasl = 'plain'", "`events.kafka.user_variable` is not set"),
            ("sasl = 'plain'\nuser_variable = 'A'", "`events.kafka.password_variable` is not set"),
            ("user_variable = 'A'", "`events.kafka.user_variable` is of no use without `sasl`"),
            (
                "sasl = 'plain'\nuser_variable = 'A'\npassword_variable = 'hunter-22'",
                "`events.kafka.password_variable` is not a variable's name",
            ),
            ("tls = false\nca_file = 'ca.pem'", "`events.kafka.ca_file` is of no use"),
            ("batch_bytes = 100", "`events.kafka.batch_bytes` is not from"),
            ("delivery_timeout = '1h'", "`events.kafka.delivery_timeout` is not from"),
            ("compression = 'zip'", "`zip` is not known: write \"none\", "),
            ("format = 'protobuf'", "`protobuf` is not known: write \"json\" or \"avro\""),
            ("schemas = 'schemas'", "`events.kafka.schemas` is of no use without format"),
            ("subjects = 'topic'", "`events.kafka.subjects` is of no use without format"),
            (
                "format = 'avro'\nsubjects = 'TopicNameStrategy'",
                "`TopicNameStrategy` is not known: write \"topic\", ",
            ),
            (
                "format = 'avro'\nregistry_user_variable = 'A'",
                "`events.kafka.registry_user_variable` is of no use without `registry_password_variable`",
            ),
            (
                "format = 'avro'\nregistry_password_variable = 'A'",
                "`events.kafka.registry_password_variable` is of no use without `registry_user_variable`",
            ),
            (
                "format = 'avro'\nregistry_user_variable = 'A'\nregistry_password_variable = 'hunter-22'",
                "`events.kafka.registry_password_variable` is not a variable's name",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn brokers_are_hosts_with_ports() {
        assert_eq!(broker(" kafka-1.example.jp:9092"), Some(("kafka-1.example.jp".to_owned(), 9092)));
        assert_eq!(broker("[::1]:9092"), Some(("[::1]".to_owned(), 9092)));
        for wrong in ["", "kafka", "kafka:", "kafka:0", "kafka:99999", "kafka://a:9092", "a b:1", "::1:9092"]
        {
            assert_eq!(broker(wrong), None, "{wrong}");
        }
    }
}
