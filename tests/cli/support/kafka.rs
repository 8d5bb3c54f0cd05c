//! Kafka's brokers in this process, which speak its protocol on sockets and fail as they are told; and real ones.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::consumer::AutoOffsetReset;
use krafka::testing::FakeBroker;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A cluster of brokers, each on a port of its own.
pub(crate) struct Kafka {
    broker: FakeBroker,
    _runtime: Runtime,
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) value: Vec<u8>,
}

impl Message {
    fn of<'r>(
        partition: i32,
        key: Option<&[u8]>,
        headers: impl Iterator<Item = (&'r str, Option<&'r [u8]>)>,
        value: Option<&[u8]>,
    ) -> Self {
        Self {
            partition,
            key: text(key),
            headers: headers.map(|(name, value)| (name.to_owned(), text(value))).collect(),
            value: value.unwrap_or_default().to_vec(),
        }
    }

    /// The message in the form of the other sinks' events.
    pub(crate) fn event(&self) -> Value {
        json!({
            "event_id": self.headers["event-id"],
            "aggregate_id": self.key,
            "payload": serde_json::from_slice::<Value>(&self.value).expect("a payload is JSON"),
        })
    }
}

impl Kafka {
    /// Starts so many brokers, with topics of so many partitions.
    pub(crate) fn start(brokers: usize, topics: &[(&str, i32)]) -> Self {
        let runtime = runtime();
        let broker = runtime.block_on(FakeBroker::start_cluster(brokers)).expect("brokers start");
        for (topic, partitions) in topics {
            assert!(broker.create_topic(topic, *partitions));
        }
        Self { broker, _runtime: runtime }
    }

    /// All messages of a topic, partition by partition in their order.
    pub(crate) fn log(&self, topic: &str) -> Vec<Message> {
        let records = self.broker.all_records(topic).expect("a log can be read");
        records
            .iter()
            .map(|record| {
                let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
                Message::of(record.partition, record.key.as_deref(), headers, record.value.as_deref())
            })
            .collect()
    }
}

impl Deref for Kafka {
    type Target = FakeBroker;

    fn deref(&self) -> &FakeBroker {
        &self.broker
    }
}

/// A Kafka cluster that is not ours: that of `BATCHCTL_TEST_KAFKA_BROKERS`.
pub(crate) struct RealKafka {
    kafka: krafka::Kafka,
    pub(crate) brokers: String,
    runtime: Runtime,
}

impl RealKafka {
    /// `None` where there is none to test with.
    pub(crate) fn of_environment() -> Option<Self> {
        let brokers = super::variable("BATCHCTL_TEST_KAFKA_BROKERS")?;
        let runtime = runtime();
        let kafka =
            runtime.block_on(krafka::Kafka::builder(brokers.clone()).connect()).expect("the brokers answer");
        Some(Self { kafka, brokers, runtime })
    }

    /// Creates a topic with these settings, under a name that no other test has, and returns its name.
    pub(crate) fn create_topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("batchctl-test-{}-{number}", std::process::id());
        let new = NewTopic::new(&name, partitions, 1).expect("a topic's name");
        let new = settings.iter().fold(new, |new, (setting, value)| new.with_config(*setting, *value));
        let admin = self.kafka.admin();
        let created = self.runtime.block_on(admin.create_topics([new], CreateTopicsOptions::default()));
        created
            .expect("topics can be created")
            .remove(&name)
            .expect("it was asked for")
            .expect("it is created");
        name
    }

    /// All messages of a topic, as a consumer gets them.
    pub(crate) fn log(&self, topic: &str) -> Vec<Message> {
        let read = async {
            let consumer = self
                .kafka
                .consumer_without_group()
                .auto_offset_reset(AutoOffsetReset::Earliest)
                // One answer after the other: a broker, Tansu, sends other records than those asked for from the middle of
                // a batch.
                .max_poll_records(1_000_000)
                .max_buffered_records(1_000_000)
                .build()
                .await?;
            let found = consumer.fetch_metadata(Some(topic)).await?;
            let partitions = found.topics.iter().flat_map(|topic| topic.partitions.keys().copied()).collect();
            consumer.assign(topic, partitions).await?;
            let mut log = Vec::new();
            // Not up to the high watermark: that of one broker, Tansu, leaves most of the last batch out.
            loop {
                let records = consumer.poll(Duration::from_secs(3)).await?;
                if records.is_empty() {
                    break;
                }
                log.extend(records.iter().map(|record| {
                    let headers = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
                    Message::of(record.partition, record.key.as_deref(), headers, record.value.as_deref())
                }));
            }
            Ok::<_, krafka::error::KrafkaError>(log)
        };
        self.runtime.block_on(read).expect("a topic can be read")
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("it is UTF-8")
}
