//! Kafka: what is in the log afterwards, whatever brokers, connections and processes do meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};

use super::{by_aggregate, counts, event, publish};
use crate::support::{Batchctl, Kafka, Message, Sandbox, on_both_databases};

on_both_databases![
    each_event_is_a_message_in_its_aggregates_partition,
    brokers_that_are_away_cost_no_event_anything,
    brokers_that_go_away_in_the_middle_leave_what_they_took,
    no_fault_of_the_brokers_loses_doubles_or_reorders_an_event,
    without_idempotence_lost_answers_double_events,
    a_refused_event_is_found_in_its_batch_and_holds_up_its_aggregate_alone,
    an_event_that_is_too_large_is_given_up_and_gets_into_the_dead_letter_topic,
    a_dead_letter_topic_that_is_missing_loses_nothing,
    a_missing_topic_holds_up_its_own_events,
    an_aggregate_that_is_held_up_in_one_topic_is_held_up_in_all,
    a_partition_without_enough_replicas_holds_up_its_own_events,
    what_the_user_may_not_do_is_a_matter_of_settings,
    a_wrong_password_is_a_matter_of_settings,
    wrong_settings_are_named,
    brokers_elsewhere_are_not_reached_outside_prod,
    several_publishers_of_which_some_are_killed_keep_the_order,
];

const SETTINGS: &str = "[events]\nsink = \"kafka\"\nattempts = 2\n\
                        [events.kafka]\ntls = false\ndelivery_timeout = \"2s\"\n";

/// Has the settings name brokers, with more lines for `[events.kafka]`.
fn into_kafka(sandbox: &Sandbox, more: &str) {
    sandbox.write("batchctl.toml", format!("{SETTINGS}{more}"));
}

fn publish_to(sandbox: &Sandbox, kafka: &Kafka) -> Batchctl {
    publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", kafka.bootstrap_servers())
}

/// Writes events of so many aggregates in turn, numbered within each from 0.
pub(super) fn fill(sandbox: &Sandbox, aggregates: usize, each: usize) {
    let series = sandbox.series(aggregates * each);
    sandbox.execute(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         SELECT 'order', CAST((n - 1) % {aggregates} AS TEXT), 'order.paid',
                '{{\"n\": ' || CAST((n - 1) / {aggregates} AS TEXT) || '}}'
         FROM {series}"
    ));
}

pub(super) fn complete(aggregates: usize, each: usize) -> BTreeMap<String, Vec<i64>> {
    let numbers: Vec<i64> = (0..i64::try_from(each).unwrap()).collect();
    (0..aggregates).map(|aggregate| (aggregate.to_string(), numbers.clone())).collect()
}

/// What a consumer of a topic gets that drops what it has had.
fn consumed(kafka: &Kafka, topic: &str) -> BTreeMap<String, Vec<i64>> {
    by_aggregate(&kafka.log(topic).iter().map(Message::event).collect::<Vec<_>>())
}

/// The numbers of a topic's messages as they are in its log.
fn numbers(kafka: &Kafka, topic: &str) -> Vec<i64> {
    kafka.log(topic).iter().map(|message| message.event()["payload"]["n"].as_i64().unwrap()).collect()
}

fn rows(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql("SELECT * FROM outbox_events ORDER BY id")
}

fn each_event_is_a_message_in_its_aggregates_partition(sandbox: &Sandbox) {
    let kafka = Kafka::start(2, &[("shop.order.paid", 7)]);
    into_kafka(sandbox, "topic = \"shop.{event_type}\"\n");
    let id = sandbox.scalar(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload, headers, occurred_at)
         VALUES ('order', '21', 'order.paid', '{\"b\": 1.10, \"a\": 123456789012345678901234567890}',
                 '{\"trace\": \"00-4bf9\", \"event-id\": \"mine\"}', '2026-11-19T03:00:00+00:00') RETURNING id",
    );
    publish_to(sandbox, &kafka).run().succeeds().is_silent();
    let [message] = kafka.log("shop.order.paid").try_into().unwrap();
    let event_id = sandbox.scalar(&format!("SELECT event_id FROM outbox_events WHERE id = {id}"));
    let headers = [
        ("event-id", event_id.as_str()),
        ("event-type", "order.paid"),
        ("aggregate-type", "order"),
        ("occurred-at", "2026-11-19T03:00:00Z"),
        ("trace", "00-4bf9"),
    ];
    assert_eq!(
        message,
        Message {
            // As Kafka's own client places it: its hash of `21`, without the sign's bit, is 1173551340.
            partition: 1_173_551_340 % 7,
            key: "21".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            value: b"{\"b\": 1.10, \"a\": 123456789012345678901234567890}".to_vec(),
        }
    );
    assert_eq!(counts(sandbox), ["1", "0"]);
    // The next run finds nothing, and asks no broker.
    let requests = kafka.requests().len();
    publish_to(sandbox, &kafka).run().succeeds().is_silent();
    assert_eq!(kafka.requests().len(), requests);
}

fn brokers_that_are_away_cost_no_event_anything(sandbox: &Sandbox) {
    into_kafka(sandbox, "");
    fill(sandbox, 3, 2);
    let before = rows(sandbox);
    let ran = publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", "127.0.0.1:1").run().exits(75);
    ran.says("the Kafka brokers at 127.0.0.1:1 accept no events at the moment")
        .says("the events stay in the outbox");
    assert_eq!(rows(sandbox), before);
    // A broker that hears and never answers.
    let kafka = Kafka::start(1, &[("order.paid", 3)]);
    kafka.on(ApiKey::Produce, |_| Control::Silence);
    publish_to(sandbox, &kafka).run().exits(75).says("it may be there nevertheless");
    assert_eq!(rows(sandbox), before);
    kafka.clear_hooks();
    publish_to(sandbox, &kafka).run().succeeds();
    assert_eq!(consumed(&kafka, "order.paid"), complete(3, 2));
}

fn brokers_that_go_away_in_the_middle_leave_what_they_took(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 3)]);
    into_kafka(sandbox, "");
    fill(sandbox, 25, 100);
    // The second chunk gets into the log, and nobody hears of it.
    kafka.on(ApiKey::Produce, |request| match request.api_call_index {
        0 => Control::Pass,
        1 => Control::ApplyThen(Box::new(Control::Disconnect)),
        _ => Control::Disconnect,
    });
    publish_to(sandbox, &kafka).run().exits(75).says("accept no events at the moment");
    assert_eq!(counts(sandbox), ["1000", "1500"]);
    assert_eq!(
        sandbox.sql("SELECT DISTINCT attempts, next_attempt_at, dead_at FROM outbox_events"),
        [["0", "NULL", "NULL"]]
    );
    kafka.clear_hooks();
    publish_to(sandbox, &kafka).run().succeeds();
    assert_eq!(consumed(&kafka, "order.paid"), complete(25, 100));
    assert_eq!(
        kafka.log("order.paid").len(),
        3500,
        "another process cannot know what was there: the same ids again"
    );
}

/// Faults of every kind, one after the other: a connection that is cut before and after a request counts, an answer that is
/// lost, an answer that says something else than what happened.
fn fault(call: u64) -> Control {
    match call % 12 {
        1 => Control::Disconnect,
        2 => Control::ApplyThen(Box::new(Control::Disconnect)),
        3 => Control::Error(ErrorCode::NotLeaderForPartition),
        4 => Control::ApplyThen(Box::new(Control::Error(ErrorCode::RequestTimedOut))),
        5 => Control::Error(ErrorCode::NotEnoughReplicas),
        6 => Control::ApplyThen(Box::new(Control::Error(ErrorCode::NotEnoughReplicasAfterAppend))),
        _ => Control::Pass,
    }
}

fn no_fault_of_the_brokers_loses_doubles_or_reorders_an_event(sandbox: &Sandbox) {
    let kafka = Kafka::start(3, &[("order.paid", 6)]);
    sandbox.write("batchctl.toml", SETTINGS.replace("2s", "1m") + "batch_bytes = 4096\n");
    fill(sandbox, 40, 25);
    kafka.on(ApiKey::Produce, |request| fault(request.api_call_index));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !is_done.load(Ordering::Relaxed) {
                round += 1;
                kafka.set_leader("order.paid", round % 6, (round / 6) % 3);
                if round % 10 == 0 {
                    let broker = (round / 10) % 3;
                    kafka.crash(broker);
                    std::thread::sleep(Duration::from_millis(20));
                    kafka.restart(broker);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let ran = publish_to(sandbox, &kafka).spawn().wait();
        is_done.store(true, Ordering::Relaxed);
        ran.succeeds();
    });
    assert_eq!(consumed(&kafka, "order.paid"), complete(40, 25));
    assert_eq!(kafka.log("order.paid").len(), 1000, "nothing is there twice");
    assert!(
        kafka.request_count(ApiKey::Produce) > 20,
        "faults were met: {}",
        kafka.request_count(ApiKey::Produce)
    );
}

/// The test above can fail: brokers that do not count what a producer sends have events twice.
fn without_idempotence_lost_answers_double_events(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    kafka.set_idempotence(false);
    into_kafka(sandbox, "");
    fill(sandbox, 3, 4);
    kafka.on_once(ApiKey::Produce, |_| Control::ApplyThen(Box::new(Control::Disconnect)));
    publish_to(sandbox, &kafka).run().succeeds();
    assert_eq!(kafka.log("order.paid").len(), 24);
    assert_eq!(consumed(&kafka, "order.paid"), complete(3, 4));
}

fn a_refused_event_is_found_in_its_batch_and_holds_up_its_aggregate_alone(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    into_kafka(sandbox, "");
    for (aggregate, number) in [("1", 1), ("1", 2), ("2", 3), ("3", 4)] {
        event(sandbox, aggregate, &format!("{{\"n\": {number}}}"));
    }
    // The batch, and then the first event alone.
    kafka.on_times(ApiKey::Produce, 2, |_| Control::Error(ErrorCode::InvalidRecord));
    publish_to(sandbox, &kafka).run().succeeds();
    assert_eq!(numbers(&kafka, "order.paid"), [3, 4]);
    let state = "SELECT attempts, published_at IS NOT NULL, last_error FROM outbox_events ORDER BY id";
    assert_eq!(
        sandbox.sql(state),
        [["1", "0", "InvalidRecord"], ["0", "0", "NULL"], ["0", "1", "NULL"], ["0", "1", "NULL"]]
    );
    publish_to(sandbox, &kafka).now("2026-11-20T01:01:00+09:00").run().succeeds();
    assert_eq!(numbers(&kafka, "order.paid"), [3, 4, 1, 2]);
}

fn an_event_that_is_too_large_is_given_up_and_gets_into_the_dead_letter_topic(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1), ("dead", 1)]);
    into_kafka(sandbox, "dead_letter_topic = \"dead\"\n");
    let large = event(sandbox, "1", &format!("{{\"n\": 1, \"x\": \"{}\"}}", "x".repeat(300_000)));
    event(sandbox, "1", "{\"n\": 2}");
    event(sandbox, "2", "{\"n\": 3}");
    let refuse = || kafka.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::MessageTooLarge));
    refuse();
    publish_to(sandbox, &kafka).run().succeeds();
    assert_eq!(numbers(&kafka, "order.paid"), [3]);
    refuse();
    let ran = publish_to(sandbox, &kafka).now("2026-11-20T01:01:00+09:00").run().exits(3);
    ran.says(&format!("event {large}: given up (order.paid): MessageTooLarge"));
    assert_eq!(numbers(&kafka, "order.paid"), [3, 2], "its aggregate goes on");
    let [dead] = kafka.log("dead").try_into().unwrap();
    assert_eq!((dead.key.as_str(), dead.event()["payload"]["n"].as_i64()), ("1", Some(1)));
    for (name, value) in [
        ("dead-letter-topic", "order.paid"),
        ("dead-letter-reason", "MessageTooLarge"),
        ("dead-letter-attempts", "2"),
        ("event-type", "order.paid"),
    ] {
        assert_eq!(dead.headers[name], value);
    }
    // Where it is too large for that topic too, what there is to know of it gets there.
    sandbox.execute(&format!("UPDATE outbox_events SET dead_at = NULL, attempts = 1 WHERE id = {large}"));
    kafka.on_times(ApiKey::Produce, 2, |_| Control::Error(ErrorCode::MessageTooLarge));
    publish_to(sandbox, &kafka).now("2026-11-20T01:10:00+09:00").run().exits(1);
    let [_, dead] = kafka.log("dead").try_into().unwrap();
    assert_eq!((dead.value, dead.headers["dead-letter-payload"].as_str()), (Vec::new(), "left out"));
}

fn a_dead_letter_topic_that_is_missing_loses_nothing(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    into_kafka(sandbox, "dead_letter_topic = \"dead\"\n");
    let id = event(sandbox, "1", "{\"n\": 1}");
    sandbox.execute("UPDATE outbox_events SET attempts = 1");
    kafka.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::MessageTooLarge));
    publish_to(sandbox, &kafka).run().exits(75).says("the topic `dead` does not exist");
    let row = format!("SELECT attempts, dead_at FROM outbox_events WHERE id = {id}");
    assert_eq!(sandbox.sql(&row), [["1", "NULL"]]);
    kafka.create_topic("dead", 1);
    kafka.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::MessageTooLarge));
    publish_to(sandbox, &kafka).now("2026-11-20T01:05:00+09:00").run().exits(1);
    assert_eq!(numbers(&kafka, "dead"), [1]);
}

fn a_missing_topic_holds_up_its_own_events(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 2)]);
    into_kafka(sandbox, "");
    for (order, number) in [("1", 1), ("2", 2)] {
        event(sandbox, order, &format!("{{\"n\": {number}}}"));
        sandbox.execute(&format!(
            "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
             VALUES ('product', '{order}', 'stock.changed', '{{\"n\": {number}}}')"
        ));
    }
    let ran = publish_to(sandbox, &kafka).run().exits(75);
    ran.says("the topic `stock.changed` does not exist").says("create it, or correct `events.kafka.topic`");
    assert_eq!(
        consumed(&kafka, "order.paid"),
        BTreeMap::from([("1".into(), vec![1]), ("2".into(), vec![2])])
    );
    let waiting =
        "SELECT DISTINCT attempts, next_attempt_at, dead_at FROM outbox_events WHERE published_at IS NULL";
    assert_eq!(sandbox.sql(waiting), [["0", "2026-11-19T16:05:00+00:00", "NULL"]]);
    assert_eq!(kafka.topic_id("stock.changed"), None, "it was not made");
    kafka.create_topic("stock.changed", 1);
    publish_to(sandbox, &kafka).now("2026-11-20T01:05:00+09:00").run().succeeds();
    assert_eq!(numbers(&kafka, "stock.changed"), [1, 2]);
    // A name that no topic can have is the event's own fault.
    sandbox.execute(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('order', '9', '주문', '{}')",
    );
    publish_to(sandbox, &kafka).run().succeeds();
    let refused = "SELECT attempts, last_error FROM outbox_events WHERE aggregate_id = '9'";
    assert_eq!(sandbox.sql(refused), [["1", "event_type: `주문` is not a valid topic name"]]);
    // Nor is a cluster needed to say so in the end.
    let away =
        publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", "127.0.0.1:1").now("2026-11-20T01:01:00+09:00").run();
    away.exits(1).says("event_type: `주문` is not a valid topic name");
}

fn an_aggregate_that_is_held_up_in_one_topic_is_held_up_in_all(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 2)]);
    into_kafka(sandbox, "");
    sandbox.execute(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('order', '1', 'order.created', '{\"n\": 1}')",
    );
    event(sandbox, "1", "{\"n\": 2}");
    event(sandbox, "2", "{\"n\": 3}");
    publish_to(sandbox, &kafka).run().exits(75).says("`order.created` does not exist");
    assert_eq!(numbers(&kafka, "order.paid"), [3]);
}

fn a_partition_without_enough_replicas_holds_up_its_own_events(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    into_kafka(sandbox, "");
    fill(sandbox, 2, 2);
    kafka.on(ApiKey::Produce, |_| Control::Error(ErrorCode::NotEnoughReplicas));
    publish_to(sandbox, &kafka).run().exits(75).says("NotEnoughReplicas");
    assert_eq!(
        sandbox.sql("SELECT DISTINCT attempts, published_at, dead_at FROM outbox_events"),
        [["0", "NULL", "NULL"]]
    );
    kafka.clear_hooks();
    publish_to(sandbox, &kafka).now("2026-11-20T01:05:00+09:00").run().succeeds();
    assert_eq!(consumed(&kafka, "order.paid"), complete(2, 2));
}

fn what_the_user_may_not_do_is_a_matter_of_settings(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    into_kafka(sandbox, "");
    fill(sandbox, 1, 1);
    let before = rows(sandbox);
    kafka.on(ApiKey::InitProducerId, |_| Control::Error(ErrorCode::ClusterAuthorizationFailed));
    publish_to(sandbox, &kafka).run().exits(78).says("IDEMPOTENT_WRITE");
    assert_eq!(rows(sandbox), before);
    kafka.clear_hooks();
    kafka.on(ApiKey::Produce, |_| Control::Error(ErrorCode::TopicAuthorizationFailed));
    publish_to(sandbox, &kafka).run().exits(78).says("do not let our user write to the topic `order.paid`");
    assert_eq!(
        sandbox.sql("SELECT attempts, published_at, dead_at FROM outbox_events"),
        [["0", "NULL", "NULL"]]
    );
}

fn a_wrong_password_is_a_matter_of_settings(sandbox: &Sandbox) {
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    kafka.require_sasl_plain("batchctl", "correct-horse-battery");
    into_kafka(
        sandbox,
        "sasl = \"plain\"\nuser_variable = \"KAFKA_USER\"\npassword_variable = \"KAFKA_PASSWORD\"\n",
    );
    fill(sandbox, 2, 2);
    let before = rows(sandbox);
    let with = |password: &str| {
        publish_to(sandbox, &kafka).env("KAFKA_USER", "batchctl").env("KAFKA_PASSWORD", password)
    };
    let ran = with("hunter-two").run().exits(78);
    ran.says("reject our credentials; check KAFKA_USER").never_shows("hunter-two");
    publish_to(sandbox, &kafka).env("KAFKA_USER", "batchctl").run().exits(78).says("KAFKA_PASSWORD");
    assert_eq!(rows(sandbox), before);
    with("correct-horse-battery").run().succeeds();
    assert_eq!(consumed(&kafka, "order.paid"), complete(2, 2));
    // Without a user at all.
    fill(sandbox, 1, 1);
    into_kafka(sandbox, "");
    let ran = publish_to(sandbox, &kafka).run();
    assert!(matches!(ran.code, Some(75 | 78)), "{ran:?}");
}

fn wrong_settings_are_named(sandbox: &Sandbox) {
    into_kafka(sandbox, "");
    fill(sandbox, 1, 1);
    publish(sandbox).run().exits(78).says("BATCHCTL_KAFKA_BROKERS is not set");
    for wrong in ["kafka", "kafka://a:9092", "a:0", "user:hunter22@a:9092"] {
        let ran = publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", wrong).run().exits(78);
        ran.says("is not a list of brokers").never_shows("hunter22");
    }
    let kafka = Kafka::start(1, &[("order.paid", 1)]);
    sandbox.write("batchctl.toml", SETTINGS.replace("tls = false", "ca_file = \"no.pem\""));
    publish_to(sandbox, &kafka).run().exits(78).says("`events.kafka.ca_file`").says("no.pem");
    // Brokers that speak no TLS.
    sandbox.write("batchctl.toml", SETTINGS.replace("tls = false\n", ""));
    publish_to(sandbox, &kafka).run().exits(75);
    sandbox.write(
        "batchctl.toml",
        SETTINGS.to_owned() + "sasl = \"plain\"\nuser_variable = \"A\"\npassword_variable = \"B\"\n",
    );
    let ran = publish(sandbox)
        .env("BATCHCTL_KAFKA_BROKERS", "kafka.example.jp:9092")
        .env("A", "a")
        .env("B", "hunter22");
    ran.run().exits(78).says("anybody on the way could read the password").never_shows("hunter22");
}

fn brokers_elsewhere_are_not_reached_outside_prod(sandbox: &Sandbox) {
    into_kafka(sandbox, "");
    fill(sandbox, 1, 1);
    let ran =
        publish(sandbox).env("BATCHCTL_KAFKA_BROKERS", "127.0.0.1:1,kafka.example.jp:9092").run().exits(77);
    ran.says("a Kafka broker for events is at `kafka.example.jp`").says("`events.hosts_outside_prod`");
    assert_eq!(counts(sandbox), ["0", "1"]);
}

/// Has three runs at a time publish so many events until all are marked. One of the three is killed, each time somewhere else.
pub(super) fn publish_with_kills(sandbox: &Sandbox, brokers: &str, events: usize) {
    let points = ["events-claimed", "events-sent", "in-chunk@2", "at-commit@2", "in-chunk@4"];
    let limited = |limit: &str| {
        let command = sandbox.batchctl(["events", "publish", "--limit", limit]);
        command.env("BATCHCTL_KAFKA_BROKERS", brokers)
    };
    let mut rounds = 0;
    while counts(sandbox) != [events.to_string(), "0".to_owned()] {
        rounds += 1;
        assert!(rounds < 50, "{:?}", counts(sandbox));
        let point = points[rounds % points.len()];
        let killed = limited("500").failpoint(&format!("{point}=kill")).spawn();
        let others = [limited("120").spawn(), limited("180").spawn()];
        for other in others {
            other.wait().succeeds();
        }
        drop(killed.wait());
    }
}

fn several_publishers_of_which_some_are_killed_keep_the_order(sandbox: &Sandbox) {
    let kafka = Kafka::start(3, &[("order.paid", 6)]);
    into_kafka(sandbox, "");
    let (aggregates, each) = (50, 60);
    fill(sandbox, aggregates, each);
    kafka.on(ApiKey::Produce, |request| match request.api_call_index % 5 {
        4 => Control::ApplyThen(Box::new(Control::Disconnect)),
        _ => Control::Pass,
    });
    publish_with_kills(sandbox, &kafka.bootstrap_servers(), aggregates * each);
    assert_eq!(consumed(&kafka, "order.paid"), complete(aggregates, each));
    assert!(
        kafka.log("order.paid").len() > aggregates * each,
        "something was sent twice, or the test shows nothing"
    );
}
