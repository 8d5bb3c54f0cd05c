//! Kafka, the real one: tests that run where `BATCHCTL_TEST_KAFKA_BROKERS` names brokers, and pass elsewhere.

use std::collections::BTreeMap;

use super::kafka::{complete, fill, publish_with_kills};
use super::{by_aggregate, counts, event, publish};
use crate::support::{Message, RealKafka, Sandbox, on_both_databases};

on_both_databases![
    real_brokers_have_each_event_in_its_place,
    publishers_that_are_killed_lose_and_reorder_nothing_at_real_brokers,
    what_is_too_large_for_a_real_topic_lets_nothing_overtake_it,
    a_topic_that_real_brokers_do_not_know_holds_up_its_events,
];

fn into_topic(sandbox: &Sandbox, topic: &str) {
    sandbox.write(
        "batchctl.toml",
        format!(
            "[events]\nsink = \"kafka\"\nattempts = 2\n[events.kafka]\ntls = false\ntopic = \"{topic}\"\n"
        ),
    );
}

/// The numbers of each aggregate, as a consumer gets them that drops what it has had.
fn consumed(kafka: &RealKafka, topic: &str) -> BTreeMap<String, Vec<i64>> {
    by_aggregate(&kafka.log(topic).iter().map(Message::event).collect::<Vec<_>>())
}

fn real_brokers_have_each_event_in_its_place(sandbox: &Sandbox) {
    let Some(kafka) = RealKafka::of_environment() else { return };
    let topic = kafka.create_topic(7, &[]);
    into_topic(sandbox, &topic);
    event(sandbox, "21", "{\"n\": 1, \"이름\": \"주문\"}");
    event(sandbox, "21", "{\"n\": 2}");
    publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", &kafka.brokers).run().succeeds().is_silent();
    let log = kafka.log(&topic);
    // As Kafka's own client places the key: see `kafka.rs`.
    assert!(
        log.iter().all(|message| message.partition == 1_173_551_340 % 7 && message.key == "21"),
        "{log:?}"
    );
    assert_eq!(log[0].value, "{\"n\": 1, \"이름\": \"주문\"}".as_bytes());
    assert_eq!(log[0].headers["event-type"], "order.paid");
    assert_eq!(consumed(&kafka, &topic), BTreeMap::from([("21".to_owned(), vec![1, 2])]));
    assert_eq!(counts(sandbox), ["2", "0"]);
}

fn publishers_that_are_killed_lose_and_reorder_nothing_at_real_brokers(sandbox: &Sandbox) {
    let Some(kafka) = RealKafka::of_environment() else { return };
    let topic = kafka.create_topic(6, &[]);
    into_topic(sandbox, &topic);
    let (aggregates, each) = (50, 60);
    fill(sandbox, aggregates, each);
    publish_with_kills(sandbox, &kafka.brokers, aggregates * each);
    assert_eq!(consumed(&kafka, &topic), complete(aggregates, each));
}

/// The client splits a batch that is too large, and of its parts one is taken without the other: batches have to fit.
fn what_is_too_large_for_a_real_topic_lets_nothing_overtake_it(sandbox: &Sandbox) {
    let Some(kafka) = RealKafka::of_environment() else { return };
    let topic = kafka.create_topic(1, &[("max.message.bytes", "10000")]);
    into_topic(sandbox, &topic);
    for number in 0..40 {
        let bytes = if number == 5 { 12_000 } else { 1000 };
        event(
            sandbox,
            &(number % 2).to_string(),
            &format!("{{\"n\": {number}, \"x\": \"{}\"}}", "x".repeat(bytes)),
        );
    }
    let publish = |now: &str| publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", &kafka.brokers).now(now).run();
    publish("2026-11-20T01:00:00+09:00").succeeds();
    let (even, odd): (Vec<i64>, Vec<i64>) = ((0..40).step_by(2).collect(), (1..40).step_by(2).collect());
    let aggregates =
        |odd: &[i64]| BTreeMap::from([("0".to_owned(), even.clone()), ("1".to_owned(), odd.to_vec())]);
    if consumed(&kafka, &topic) == aggregates(&odd) {
        // Brokers that do not keep to the setting take all of them.
        return;
    }
    assert_eq!(consumed(&kafka, &topic), aggregates(&odd[..2]));
    // At its last attempt it is given up, and its aggregate goes on.
    publish("2026-11-20T01:01:00+09:00").exits(3);
    let others: Vec<i64> = odd.into_iter().filter(|number| *number != 5).collect();
    assert_eq!(consumed(&kafka, &topic), aggregates(&others));
}

fn a_topic_that_real_brokers_do_not_know_holds_up_its_events(sandbox: &Sandbox) {
    let Some(kafka) = RealKafka::of_environment() else { return };
    let topic = kafka.create_topic(1, &[]);
    into_topic(sandbox, &format!("{topic}{{aggregate_type}}"));
    sandbox.execute(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('-missing', '1', 'order.paid', '{\"n\": 1}')",
    );
    let ran = publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", &kafka.brokers).run().exits(75);
    ran.says("-missing` does not exist");
    assert_eq!(counts(sandbox), ["0", "1"]);
}
