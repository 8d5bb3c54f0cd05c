//! Where the messages of an event go, and under which name their schema is in the registry.

use crate::config::{SubjectNames, TOPIC_PLACEHOLDERS};

/// The topic of the events of a type.
pub(super) fn topic(pattern: &str, event_type: &str, aggregate_type: &str) -> String {
    let [of_event, of_aggregate] = TOPIC_PLACEHOLDERS;
    // One by one, so that no name is taken for a placeholder: a name that has one is not a topic's.
    match pattern.split_once(of_event) {
        Some((before, after)) => {
            let part = |text: &str| text.replace(of_aggregate, aggregate_type);
            format!("{}{event_type}{}", part(before), part(&after.replace(of_event, event_type)))
        }
        None => pattern.replace(of_aggregate, aggregate_type),
    }
}

/// The subject of the schema of messages in a topic whose record has this full name.
pub(super) fn subject(names: SubjectNames, topic: &str, record: &str) -> String {
    match names {
        SubjectNames::Topic => format!("{topic}-value"),
        SubjectNames::Record => record.to_owned(),
        SubjectNames::TopicRecord => format!("{topic}-{record}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::is_topic;

    #[test]
    fn a_topic_is_made_of_the_events_names_and_of_nothing_in_them() {
        for (pattern, name) in [
            ("{event_type}", "order.paid"),
            ("shop.{aggregate_type}.{event_type}.v1", "shop.order.order.paid.v1"),
            ("{aggregate_type}-events", "order-events"),
            ("events", "events"),
        ] {
            assert_eq!(topic(pattern, "order.paid", "order"), name);
        }
        let odd = topic("a.{event_type}", "{aggregate_type}", "order");
        assert_eq!(odd, "a.{aggregate_type}");
        assert!(!is_topic(&odd));
    }

    /// As Confluent's clients name them.
    #[test]
    fn a_subject_is_named_by_the_topic_or_by_the_record_or_by_both() {
        for (names, expected) in [
            (SubjectNames::Topic, "shop.orders-value"),
            (SubjectNames::Record, "shop.OrderPaid"),
            (SubjectNames::TopicRecord, "shop.orders-shop.OrderPaid"),
        ] {
            assert_eq!(subject(names, "shop.orders", "shop.OrderPaid"), expected);
        }
    }
}
