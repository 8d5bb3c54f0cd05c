//! Kafka's brokers in this process: they speak its protocol on sockets, and fail as they are told.

use std::collections::BTreeMap;
use std::ops::Deref;

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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let broker = runtime.block_on(FakeBroker::start_cluster(brokers)).expect("brokers start");
        for (topic, partitions) in topics {
            assert!(broker.create_topic(topic, *partitions));
        }
        Self { broker, _runtime: runtime }
    }

    /// All messages of a topic, partition by partition in their order.
    pub(crate) fn log(&self, topic: &str) -> Vec<Message> {
        let text = |bytes: Option<&[u8]>| {
            String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("it is UTF-8")
        };
        let records = self.broker.all_records(topic).expect("a log can be read");
        records
            .iter()
            .map(|record| Message {
                partition: record.partition,
                key: text(record.key.as_deref()),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value.as_deref())))
                    .collect(),
                value: record.value.as_deref().unwrap_or_default().to_vec(),
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
