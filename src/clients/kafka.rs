//! Kafka: puts messages into topics, and says of each whether it is there.
//!
//! The client below is idempotent: what it sends again, because an answer was lost, is in the log once, and in the order in
//! which it was handed over. What it cannot know is what another process has sent before.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use krafka::admin::{AdminClient, ConfigResource, DescribeConfigsOptions};
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::error::{ErrorCode, KrafkaError};
use krafka::producer::{Acks, DeliveryHandle, Producer, murmur2};
use krafka::{Compression, Record};
use tokio::sync::OnceCell;

use crate::config::{KAFKA_BROKERS, KafkaCompression, KafkaConfig, SaslMechanism, read_bounded};
use crate::context::Context;
use crate::failure::Failure;
use crate::hosts::{is_allowed_outside_prod, is_this_machine};
use crate::mask::{Redactor, Secret};
use crate::printable::{one_line, shortened};

/// How long a broker may take to answer, unless an event is not offered for as long as that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a topic is looked for that the brokers do not know: it may have been created a moment ago.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the brokers may take to say what a topic takes: without an answer the settings decide.
const DESCRIPTION_TIMEOUT: Duration = Duration::from_secs(5);
/// What a topic calls the size of the largest batch that it takes.
const MAX_BATCH_BYTES: &str = "max.message.bytes";
/// The most characters of an error that are shown.
const MAX_SAID: usize = 300;
/// Topics that are looked for at once.
const TOPICS_AT_ONCE: usize = 100;

/// A message for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// Messages with the same key stay in order.
    pub key: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub value: Vec<u8>,
}

/// A topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// In how many partitions it is.
    pub partitions: i32,
    /// The most bytes of messages that make a batch for it.
    pub batch_bytes: usize,
}

/// A partition of a topic.
pub type Partition = (String, i32);

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Sent {
    /// Every replica that has to has it.
    Taken,
    /// Its topic does not want this one, for this reason. If it was sent together with others, one of them may be the cause.
    Refused(String),
    /// It is too large for its topic. If it was sent together with others, it may be all of them that are.
    TooLarge(String),
    /// Its partition, or its topic, accepts none at the moment. The message may be there nevertheless.
    Held(Failure),
    /// There was no answer, and nothing says whose fault that is. The message may be there nevertheless.
    Silent(Failure),
    /// The brokers take nothing from us. The message may be there nevertheless.
    Stopped(Failure),
}

/// The brokers.
pub struct Kafka {
    settings: Settings,
    connection: OnceCell<Connection>,
}

struct Connection {
    producer: Producer,
    admin: AdminClient,
}

/// What is known before anything is sent.
struct Settings {
    config: KafkaConfig,
    /// The brokers, as a list for the client and for people.
    addresses: String,
    ca: Option<Vec<u8>>,
    user: Option<(Secret, Secret)>,
    /// Where brokers may be; `None` is anywhere.
    hosts: Option<Vec<String>>,
    environment: String,
    redactor: Redactor,
    /// The variables of the user and the password, with where they were set.
    credentials: String,
}

impl Kafka {
    /// The brokers of `BATCHCTL_KAFKA_BROKERS`. Nothing is opened yet. Outside prod they have to be on this machine, or at hosts
    /// that are listed.
    pub fn new(cx: &Context) -> Result<Self, Failure> {
        let events = cx.config.events();
        let config = events.kafka.clone();
        if config.brokers.is_empty() {
            return Err(Failure::configuration(format!("{KAFKA_BROKERS} is not set"))
                .hint(format!("set {KAFKA_BROKERS} to the brokers for events: HOST:PORT,HOST:PORT")));
        }
        let unset = |error: crate::config::ConfigError| Failure::configuration(error.to_string());
        let (user_variable, password_variable) = (config.user_variable(), config.password_variable());
        let user = match config.sasl {
            None => None,
            Some(_) => Some((
                Secret::new(cx.config.secret(user_variable).map_err(unset)?),
                Secret::new(cx.config.secret(password_variable).map_err(unset)?),
            )),
        };
        let is_local = config.brokers.iter().all(|(host, _)| is_this_machine(host));
        if config.sasl == Some(SaslMechanism::Plain) && !config.tls() && !is_local {
            return Err(Failure::configuration(
                "`events.kafka.sasl` is \"plain\" and `events.kafka.tls` is false: anybody on the way could read the password",
            )
            .hint("use tls = true, or one of the mechanisms scram-sha-256 and scram-sha-512"));
        }
        let settings = Settings {
            addresses: config
                .brokers
                .iter()
                .map(|(host, port)| format!("{host}:{port}"))
                .collect::<Vec<_>>()
                .join(","),
            ca: config.ca_file().map(|path| authority(cx, path)).transpose()?,
            credentials: format!(
                "{} and {}",
                cx.config.set_at(user_variable),
                cx.config.set_at(password_variable)
            ),
            redactor: cx
                .config
                .redactor()
                .with(user.iter().map(|(_, password)| password.expose().to_owned())),
            user,
            hosts: (!cx.config.is_prod()).then(|| events.hosts_outside_prod.clone()),
            environment: cx.config.environment().to_owned(),
            config,
        };
        for (host, _) in &settings.config.brokers {
            settings.check_host(host)?;
        }
        Ok(Self { settings, connection: OnceCell::new() })
    }

    /// What each of these topics is like, or why it takes nothing. An error is that of all brokers.
    pub async fn topics(
        &self,
        topics: Vec<String>,
    ) -> Result<HashMap<String, Result<Topic, Failure>>, Failure> {
        let Connection { producer, admin } = self.connection().await?;
        let (limits, found) = tokio::join!(
            limits(admin, &topics),
            stream::iter(&topics)
                .map(async |topic| (topic, producer.partitions_for(topic).await))
                .buffer_unordered(TOPICS_AT_ONCE)
                .collect::<Vec<_>>()
        );
        let most = self.settings.config.batch_bytes();
        let mut known = HashMap::with_capacity(found.len());
        for (topic, found) in found {
            let found = match found {
                Ok(found) => Ok(Topic {
                    partitions: i32::try_from(found.len()).unwrap_or(i32::MAX),
                    batch_bytes: limits.get(topic).map_or(most, |limit| most.min(*limit)),
                }),
                Err(error) => match self.settings.judge(topic, &error) {
                    Sent::Stopped(failure) => return Err(failure),
                    Sent::Held(failure) | Sent::Silent(failure) => Err(failure),
                    Sent::Refused(reason) | Sent::TooLarge(reason) => Err(self.settings.not_now(&reason)),
                    Sent::Taken => continue,
                },
            };
            known.insert(topic.clone(), found);
        }
        Ok(known)
    }

    /// Sends messages, those of a partition in their order and in one batch, of which all are in the log or none, if together
    /// they have at most the topic's `batch_bytes`: the client below splits a batch that is too large, and of its parts one may be
    /// taken without the other. Each message has its partition.
    pub async fn send(&self, messages: Vec<(Message, i32)>) -> Vec<Sent> {
        let producer = match self.connection().await {
            Ok(connection) => &connection.producer,
            Err(failure) => return messages.iter().map(|_| Sent::Stopped(failure.clone())).collect(),
        };
        let mut queued: Vec<(String, Result<DeliveryHandle, KrafkaError>)> =
            Vec::with_capacity(messages.len());
        for (message, partition) in messages {
            let topic = message.topic.clone();
            let handle = producer.enqueue(record(message).partition(partition)).await;
            queued.push((topic, handle));
        }
        // Batches wait for this, and not for a time to pass: what is queued together is sent together.
        let flushed = producer.flush().await;
        let mut sent = Vec::with_capacity(queued.len());
        for (topic, handle) in queued {
            let answer = match handle {
                Ok(handle) => handle.await.map(|_| ()),
                Err(error) => Err(error),
            };
            sent.push(match answer.and(flushed.clone()) {
                Ok(()) => Sent::Taken,
                Err(error) => self.settings.judge(&topic, &error),
            });
        }
        sent
    }

    async fn connection(&self) -> Result<&Connection, Failure> {
        self.connection.get_or_try_init(|| self.settings.connect()).await
    }
}

/// The most bytes of a batch that these topics take, of those whose settings the brokers show. Our user may not be allowed to
/// see them, which is no error.
async fn limits(admin: &AdminClient, topics: &[String]) -> HashMap<String, usize> {
    let options = DescribeConfigsOptions::default()
        .config_names(vec![MAX_BATCH_BYTES.to_owned()])
        .timeout(DESCRIPTION_TIMEOUT);
    let described = admin.describe_configs(topics.iter().map(ConfigResource::topic), options).await;
    let mut limits = HashMap::new();
    for (topic, entries) in described.unwrap_or_default() {
        let entry = entries.into_iter().flatten().find(|entry| entry.name == MAX_BATCH_BYTES);
        if let Some(limit) = entry.and_then(|entry| entry.value?.parse().ok()) {
            limits.insert(topic.name, limit);
        }
    }
    limits
}

/// In which of so many partitions a key is: the one in which every other client of Kafka would put it.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let hash = i32::try_from(murmur2(key.as_bytes()) & 0x7fff_ffff).unwrap_or(0);
    hash.checked_rem(partitions).unwrap_or(0)
}

/// How many bytes a message is in a batch; a little too many.
pub fn bytes_in_batch(message: &Message) -> usize {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    message.topic.len() + message.key.len() + message.value.len() + headers + 128
}

fn record(message: Message) -> Record {
    let record = Record::new(message.topic, message.value).key(message.key);
    message.headers.into_iter().fold(record, |record, (name, value)| record.header(name, value))
}

/// The certificate of the authority that the settings name.
fn authority(cx: &Context, path: &Path) -> Result<Vec<u8>, Failure> {
    let path = cx.config.working_dir().join(path);
    read_bounded(&path).map(String::into_bytes).map_err(|error| {
        Failure::configuration(format!("failed to read `events.kafka.ca_file` `{}`: {error}", path.display()))
    })
}

impl Settings {
    fn check_host(&self, host: &str) -> Result<(), Failure> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        if is_allowed_outside_prod(host, hosts) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "a Kafka broker for events is at `{}`, which is not among the hosts for the environment `{}`",
            one_line(host),
            self.environment
        ))
        .hint("add it to `events.hosts_outside_prod` if it belongs to no real consumer"))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let delivery = self.config.delivery_timeout();
        let request = REQUEST_TIMEOUT.min(delivery / 2);
        let kafka = krafka::Kafka::builder(self.addresses.clone())
            .client_id("batchctl")
            .security(self.security())
            .request_timeout(request)
            .connect_timeout(CONNECT_TIMEOUT.min(request))
            // A topic by an event's name would be made by a slip of the pen, with one partition and one replica.
            .allow_auto_create_topics(false)
            .connect()
            .await
            .map_err(|error| self.trouble(&error))?;
        let compression = match self.config.compression {
            KafkaCompression::None => Compression::None,
            KafkaCompression::Lz4 => Compression::Lz4,
            KafkaCompression::Snappy => Compression::Snappy,
            KafkaCompression::Gzip => Compression::Gzip,
        };
        let producer = kafka
            .producer()
            .idempotent(true)
            .acks(Acks::All)
            .compression(compression)
            // It is the caller who ends a batch, by `flush`, and not its size or age: see `send`.
            .batch_size(2 * self.config.batch_bytes())
            .linger(delivery / 4)
            .delivery_timeout(delivery)
            .max_block(TOPIC_TIMEOUT)
            .metrics_push(false)
            .build()
            .await
            .map_err(|error| self.trouble(&error))?;
        Ok(Connection { producer, admin: kafka.admin() })
    }

    fn security(&self) -> AuthConfig {
        let security = match (&self.user, self.config.sasl) {
            (Some((user, password)), Some(mechanism)) => {
                let (user, password) = (user.expose(), password.expose());
                match mechanism {
                    SaslMechanism::Plain => AuthConfig::sasl_plain(user, password),
                    SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
                    SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
                }
            }
            _ => AuthConfig::plaintext(),
        };
        if !self.config.tls() {
            return security;
        }
        let tls = match &self.ca {
            Some(certificate) => TlsConfig::new().with_ca_cert_pem(certificate.clone()),
            None => TlsConfig::new().with_native_roots(),
        };
        if self.user.is_some() { security.with_tls(tls) } else { AuthConfig::ssl(tls) }
    }

    /// Whose matter an error of a message is: its own, its partition's, or that of all brokers.
    fn judge(&self, topic: &str, error: &KrafkaError) -> Sent {
        let said = self.said(error);
        match error {
            KrafkaError::Broker { code, .. } => match code {
                ErrorCode::TopicAuthorizationFailed => Sent::Held(
                    Failure::configuration(format!("the Kafka brokers do not let our user write to the topic `{topic}`"))
                        .hint(format!(
                            "give it the right to write and to describe; its events stay in the outbox and are offered again in 5 minutes ({})",
                            self.credentials
                        )),
                ),
                ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Sent::Held(
                    Failure::try_later(format!("the topic `{topic}` does not exist"))
                        .hint("create it, or correct `events.kafka.topic`; its events stay in the outbox and are offered again in 5 minutes")
                        .retry_once("once the topic exists"),
                ),
                ErrorCode::ClusterAuthorizationFailed
                | ErrorCode::SaslAuthenticationFailed
                | ErrorCode::UnsupportedSaslMechanism
                | ErrorCode::IllegalSaslState
                | ErrorCode::UnsupportedVersion
                | ErrorCode::UnsupportedCompressionType => Sent::Stopped(self.trouble(error)),
                ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Sent::TooLarge(said),
                code if code.is_retriable() => Sent::Held(self.not_now(&format!("the topic `{topic}`: {said}"))),
                _ => Sent::Refused(said),
            },
            // What is larger than any request may be is found before it is sent. So may be what is wrong with the settings.
            KrafkaError::Config { .. } | KrafkaError::Serialization { .. } => Sent::Refused(said),
            KrafkaError::Protocol { .. } if !error.is_retriable() => Sent::Refused(said),
            KrafkaError::UnknownTopic { .. } => self.judge(
                topic,
                &KrafkaError::broker(ErrorCode::UnknownTopicOrPartition, "unknown"),
            ),
            KrafkaError::OutOfOrderSequence { .. } => {
                Sent::Held(self.not_now(&format!("the topic `{topic}`: {said}")))
            }
            KrafkaError::DeliveryTimeout { message, .. } => {
                let failure = self.not_now(&format!("the topic `{topic}`: {said}"));
                // The last answer is known by its text alone. The partition lacks replicas, or a leader to send it to.
                let is_partition = ["NotEnoughReplicas", "after 0 attempt"].iter().any(|known| message.contains(known));
                if is_partition { Sent::Held(failure) } else { Sent::Silent(failure) }
            }
            _ => Sent::Stopped(self.trouble(error)),
        }
    }

    /// What an error that is not that of a message means.
    fn trouble(&self, error: &KrafkaError) -> Failure {
        let denied = |problem: &str| {
            Failure::configuration(format!("the Kafka brokers at {} {problem}", self.addresses))
                .hint("the events stay in the outbox; the next run tries again")
        };
        let settings = if self.user.is_some() {
            format!("check {}", self.credentials)
        } else {
            "they may require a user: set `events.kafka.sasl`".to_owned()
        };
        match error {
            KrafkaError::Auth { source: Some(_), .. } => {
                denied(&format!("present a certificate that nobody here trusts: {}", self.said(error))).hint(
                    "check `events.kafka.ca_file` and `events.kafka.tls`; the events stay in the outbox",
                )
            }
            // Of these nothing is shown: the text may repeat what was sent.
            KrafkaError::Auth { .. } => denied(&format!("reject our credentials; {settings}")),
            KrafkaError::Broker { code, .. } => match code {
                ErrorCode::SaslAuthenticationFailed
                | ErrorCode::UnsupportedSaslMechanism
                | ErrorCode::IllegalSaslState => denied(&format!("reject our credentials; {settings}")),
                ErrorCode::ClusterAuthorizationFailed => denied(
                    "do not let our user write idempotently: give it the right IDEMPOTENT_WRITE on the cluster",
                ),
                ErrorCode::UnsupportedVersion | ErrorCode::UnsupportedCompressionType => {
                    denied(&format!("do not support what we ask for: {}", self.said(error)))
                }
                _ => self.not_now(&self.said(error)),
            },
            KrafkaError::Config { .. } => {
                Failure::configuration(format!("the settings of Kafka are wrong: {}", self.said(error)))
                    .hint("check [events.kafka] in batchctl.toml")
            }
            _ => self.not_now(&self.said(error)),
        }
    }

    fn not_now(&self, problem: &str) -> Failure {
        Failure::try_later(format!(
            "the Kafka brokers at {} accept no events at the moment: {problem}",
            self.addresses
        ))
        .symptom("the Kafka brokers accept no events")
        .hint("the events stay in the outbox; the next run tries again")
        .retry_once("once the brokers take events again")
    }

    /// The text of an error, fit to be shown.
    fn said(&self, error: &KrafkaError) -> String {
        let text = match error {
            KrafkaError::Broker { code, .. } => format!("{code:?}"),
            KrafkaError::DeliveryTimeout { possibly_written, message } => {
                let fate = if *possibly_written { "it may be there nevertheless" } else { "it was not sent" };
                format!("{message}; {fate}")
            }
            _ => error.to_string(),
        };
        shortened(&one_line(&self.redactor.redact(&text)), MAX_SAID).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `org.apache.kafka.common.utils.UtilsTest`: the hashes of Kafka's own client.
    #[test]
    fn a_key_is_in_the_partition_in_which_every_client_puts_it() {
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
            let positive = i64::from(hash.cast_unsigned() & 0x7fff_ffff);
            assert_eq!(i64::from(partition_of(key, 6)), positive % 6, "{key}");
        }
        assert_eq!(partition_of("21", 0), 0);
    }

    #[test]
    fn a_message_is_not_larger_than_it_is_taken_to_be() {
        let message = Message {
            topic: "order.paid".to_owned(),
            key: "20261119-0042".to_owned(),
            headers: (0..20).map(|n| (format!("name-{n}"), "주문".repeat(n))).collect(),
            value: "{}".repeat(1000).into_bytes(),
        };
        assert!(bytes_in_batch(&message) >= record(message.clone()).estimated_size());
        let empty = Message { topic: "a".into(), key: String::new(), headers: Vec::new(), value: Vec::new() };
        assert!(bytes_in_batch(&empty) >= record(empty.clone()).estimated_size());
    }
}
