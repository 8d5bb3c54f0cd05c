//! The Avro schemas of the events that our own jobs write. They are files of the project, for whoever reads such events, and
//! part of the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::avro::AvroSchema;

/// A schema that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltInSchema {
    /// The events that it is for.
    pub event_type: &'static str,
    /// What those events are about.
    pub aggregate_type: &'static str,
    /// The schema, as its file has it.
    pub text: &'static str,
}

/// All of them, in the order of their events.
pub const BUILT_IN: [BuiltInSchema; 4] = [
    BuiltInSchema {
        event_type: "daily.statistics",
        aggregate_type: "daily_statistics",
        text: include_str!("../schemas/DailyStatistics.avsc"),
    },
    BuiltInSchema {
        event_type: "order.cancelled",
        aggregate_type: "order",
        text: include_str!("../schemas/OrderCancelled.avsc"),
    },
    BuiltInSchema {
        event_type: "order.expiration.notification",
        aggregate_type: "order",
        text: include_str!("../schemas/OrderExpirationNotification.avsc"),
    },
    BuiltInSchema {
        event_type: "stock.sync.alert",
        aggregate_type: "stock",
        text: include_str!("../schemas/StockSyncAlert.avsc"),
    },
];

/// The schemas, as far as they can be read, by their events and what those are about.
type Parsed = BTreeMap<(&'static str, &'static str), Result<AvroSchema, String>>;

/// What of an event that one of our jobs writes does not fit its schema, or that it has none. A mistake in the job, so this is
/// asked in debug builds only: by every test of every job.
pub fn misfit(event_type: &str, aggregate_type: &str, payload: &Json) -> Option<String> {
    static PARSED: LazyLock<Parsed> = LazyLock::new(|| {
        let parsed = BUILT_IN
            .iter()
            .map(|found| ((found.event_type, found.aggregate_type), AvroSchema::parse(found.text)));
        parsed.collect()
    });
    match PARSED.get(&(event_type, aggregate_type)) {
        None => Some(format!("the event {event_type} of {aggregate_type} has no schema")),
        Some(Err(problem)) => Some(problem.clone()),
        Some(Ok(schema)) => schema.encode(&payload.to_string()).err().map(|misfit| misfit.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schema_can_be_read_and_is_documented_to_its_last_field() {
        for BuiltInSchema { event_type, text, .. } in BUILT_IN {
            let schema = AvroSchema::parse(text).unwrap();
            assert!(schema.name().starts_with("batchctl.events."), "{event_type}");
            let json: Json = serde_json::from_str(text).unwrap();
            assert!(json["doc"].as_str().unwrap().starts_with(&format!("{event_type}: ")), "{event_type}");
            let mut open = vec![&json];
            while let Some(record) = open.pop() {
                for field in record["fields"].as_array().unwrap() {
                    assert!(field["doc"].is_string(), "{event_type}: {field}");
                    open.extend(
                        [&field["type"]["items"]].into_iter().filter(|items| items["fields"].is_array()),
                    );
                }
            }
        }
    }

    #[test]
    fn an_event_that_does_not_fit_is_found() {
        let found =
            misfit("daily.statistics", "daily_statistics", &serde_json::json!({ "mall": 1 })).unwrap();
        assert_eq!(
            found,
            "payload.business_day: it is missing, and batchctl.events.DailyStatistics has no default for it"
        );
        assert!(misfit("order.paid", "order", &serde_json::json!({})).unwrap().contains("has no schema"));
    }
}
