//! `config check` looks at the sink of events as `events publish` will, and changes nothing.

use std::time::{Duration, Instant};

use crate::support::{Batchctl, Kafka, Sandbox, SchemaRegistry};

fn check(sandbox: &Sandbox, settings: &str) -> Batchctl {
    sandbox.write("batchctl.toml", settings);
    sandbox.batchctl(["config", "check"])
}

#[test]
fn a_folder_is_checked_and_not_made() {
    let sandbox = Sandbox::new();
    let folder =
        |name: &str| check(&sandbox, &format!("[events]\nsink = 'ndjson'\nfolder = '{name}'\n")).run();
    folder("new/events").succeeds();
    assert!(!sandbox.path("new").exists());
    folder("batchctl.toml/events").exits(78).prints("`events.folder`: `").prints("cannot be written to: ");
}

#[test]
fn the_address_and_the_secret_of_a_webhook_are_checked() {
    let sandbox = Sandbox::new();
    let settings =
        "[events]\nsink = 'webhook'\nurl_variable = 'EVENTS_URL'\nsecret_variable = 'EVENTS_SECRET'\n";
    let with =
        |url: &str| check(&sandbox, settings).env("EVENTS_URL", url).env("EVENTS_SECRET", "whsec_4f1c9a7e2b");
    with("http://127.0.0.1:8080/events").run().succeeds();
    with("ftp://127.0.0.1/events").run().exits(78).prints("EVENTS_URL (the environment of the process): ");
    with("https://events.example.jp/")
        .run()
        .exits(78)
        .prints("which is not among the hosts for the environment `dev`");
    check(&sandbox, settings)
        .env("EVENTS_URL", "http://127.0.0.1/")
        .run()
        .exits(78)
        .prints("`EVENTS_SECRET` is not set");
}

#[test]
fn brokers_and_topics_are_asked_for() {
    let sandbox = Sandbox::new();
    let kafka = Kafka::start(1, &[("shop", 1)]);
    let with = |topics: &str, brokers: &str| {
        let settings = format!("[events]\nsink = 'kafka'\n[events.kafka]\ntls = false\n{topics}");
        check(&sandbox, &settings).env("BATCHCTL_KAFKA_BROKERS", brokers)
    };
    let brokers = kafka.bootstrap_servers();
    with("topic = 'shop'\n", &brokers).run().succeeds();
    with("topic = '{event_type}'\n", &brokers).run().succeeds();
    with("topic = 'shap'\ndead_letter_topic = 'dead'\n", &brokers)
        .run()
        .exits(78)
        .prints("the topic `shap` does not exist")
        .prints("the topic `dead` does not exist");
    with("", "").run().exits(78).prints("BATCHCTL_KAFKA_BROKERS is not set");
    let started = Instant::now();
    with("", "127.0.0.1:1").run().exits(78).prints("127.0.0.1:1");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn schemas_are_read_and_their_registry_is_asked() {
    let sandbox = Sandbox::new();
    let (kafka, registry) = (Kafka::start(1, &[]), SchemaRegistry::start());
    let with = |url: &str| {
        let settings =
            "[events]\nsink = 'kafka'\n[events.kafka]\ntls = false\nformat = 'avro'\nschemas = 'schemas'\n";
        let check = check(&sandbox, settings).env("BATCHCTL_KAFKA_BROKERS", kafka.bootstrap_servers());
        check.env("BATCHCTL_SCHEMA_REGISTRY_URL", url).run()
    };
    with(&registry.url()).exits(78).prints("failed to read the folder `schemas`");
    sandbox.write("schemas/order.paid.avsc", r#"{"type": "record", "name": "shop.OrderPaid", "fields": []}"#);
    with(&registry.url()).succeeds();
    sandbox.write("schemas/order.paid.avsc", "{");
    with("http://127.0.0.1:1")
        .exits(78)
        .prints("failed to read the schema `schemas/order.paid.avsc`")
        .prints("the schema registry at ");
}
