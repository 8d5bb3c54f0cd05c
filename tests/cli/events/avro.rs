//! Avro: what consumers read, and what is held, refused or tried again when schemas and payloads do not go together.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use krafka::testing::ApiKey;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{event, publish};
use crate::support::{
    Batchctl, Kafka, Message, Order, Ran, Sandbox, SchemaRegistry, Shop, on_both_databases,
};

on_both_databases![
    what_our_jobs_tell_is_read_by_another_ones_reader,
    a_type_of_ones_own_may_have_every_type_of_avro,
    ids_are_looked_up_once_and_never_given,
    a_schema_that_is_not_registered_holds_up_its_own_events,
    a_run_that_may_register_does,
    an_incompatible_schema_is_named_by_its_field,
    a_registry_that_is_away_costs_no_event_anything,
    an_answer_that_cannot_be_true_is_not_believed,
    one_id_for_two_schemas_is_not_believed,
    a_schema_that_was_registered_has_to_be_there,
    a_payload_that_does_not_fit_is_given_up_as_it_was_written,
    a_schema_that_cannot_be_read_stops_all_before_anything_is_sent,
    a_type_without_a_schema_holds_up_its_own_events,
    a_registry_elsewhere_is_not_asked_outside_prod,
    a_wrong_password_is_a_matter_of_settings_and_not_shown,
    what_is_sent_again_after_a_kill_is_the_same_bytes,
    wrong_settings_are_named,
];

const SETTINGS: &str = "[events]\nsink = \"kafka\"\nattempts = 2\n\
                        [events.kafka]\ntls = false\ndelivery_timeout = \"2s\"\nformat = \"avro\"\n";
const PAID: &str = r#"{"type": "record", "name": "OrderPaid", "namespace": "shop", "fields": [{"name": "n", "type": "long"}]}"#;

/// Brokers and a registry, which a sandbox's settings lead to.
struct World<'s> {
    sandbox: &'s Sandbox,
    kafka: Kafka,
    registry: SchemaRegistry,
}

impl<'s> World<'s> {
    /// With these topics, and more lines for `[events.kafka]`; `order.paid` has a schema in the folder `schemas`.
    fn new(sandbox: &'s Sandbox, topics: &[&str], more: &str) -> Self {
        let topics: Vec<(&str, i32)> = topics.iter().map(|topic| (*topic, 1)).collect();
        sandbox.write("batchctl.toml", format!("{SETTINGS}schemas = \"schemas\"\n{more}"));
        sandbox.write("schemas/order.paid.avsc", PAID);
        Self { sandbox, kafka: Kafka::start(1, &topics), registry: SchemaRegistry::start() }
    }

    fn with(&self, command: Batchctl) -> Batchctl {
        command
            .env("BATCHCTL_KAFKA_BROKERS", self.kafka.bootstrap_servers())
            .env("BATCHCTL_SCHEMA_REGISTRY_URL", self.registry.url())
    }

    fn publish(&self) -> Batchctl {
        self.with(publish(self.sandbox))
    }

    fn schemas(&self, arguments: &[&str]) -> Ran {
        self.with(self.sandbox.batchctl(["events", "schemas"].iter().chain(arguments))).run()
    }

    /// What a consumer reads from a topic, each with its key, by the schemas that the registry has under the messages' ids.
    fn read(&self, topic: &str) -> Vec<(String, Value)> {
        let log = self.kafka.log(topic);
        let cases = log.iter().map(|message| {
            let id = u32::from_be_bytes(message.value[1..5].try_into().unwrap());
            assert_eq!(message.headers["schema-id"], id.to_string());
            let schema = self.registry.ask("GET", &format!("schemas/ids/{id}"), &Value::Null);
            (schema["schema"].as_str().unwrap().to_owned(), message.value.clone())
        });
        let values = read_by_another(&cases.collect::<Vec<_>>());
        log.iter().map(|message| message.key.clone()).zip(values).collect()
    }
}

/// Reads messages with Apache's own library for Python.
#[track_caller]
fn read_by_another(messages: &[(String, Vec<u8>)]) -> Vec<Value> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/events/read_avro.py");
    // The system's Python, which has Debian's packages; -I: nothing of the user's.
    let mut reader = Command::new("/usr/bin/python3")
        .arg("-I")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut lines = String::new();
    for (schema, message) in messages {
        lines.push_str(&format!("{}\n", json!({ "schema": schema, "hex": hex::encode(message) })));
    }
    reader.stdin.take().unwrap().write_all(lines.as_bytes()).expect("it reads");
    let output = reader.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apt-get install python3-avro, as scripts/test does? {told}");
    let read = String::from_utf8(output.stdout).unwrap();
    read.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].clone()).collect()
}

/// Writes an event of a type about something.
fn event_of(sandbox: &Sandbox, event_type: &str, about: &str, payload: &Value) -> String {
    let payload = payload.to_string().replace('\'', "''");
    sandbox.scalar(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('order', '{about}', '{event_type}', '{payload}') RETURNING id"
    ))
}

/// attempts, next attempt, given up and published of each event.
fn states(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql(
        "SELECT attempts, next_attempt_at, dead_at IS NOT NULL, published_at IS NOT NULL FROM outbox_events ORDER BY id",
    )
}

const WAITS: [&str; 4] = ["0", "NULL", "0", "0"];
const HELD: [&str; 4] = ["0", "2026-11-19T16:05:00+00:00", "0", "0"];
const PUBLISHED: [&str; 4] = ["0", "NULL", "0", "1"];

fn what_our_jobs_tell_is_read_by_another_ones_reader(shop: &Shop) {
    let topics = ["daily.statistics", "order.cancelled", "order.expiration.notification", "stock.sync.alert"];
    let world = World::new(shop, &topics, "");
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall: tokyo, order_no: "1", total: 4980, ..Order::default() });
    shop.execute("UPDATE malls SET platform = 'app'");
    shop.order(Order {
        mall: tokyo,
        order_no: "20261119-0042",
        status: "PAYMENT_WAIT",
        total: 980,
        ordered_at: "2026-11-20T00:30:00+09:00",
        paid_at: None,
        updated_at: "2026-11-20T00:30:00+09:00",
        ..Order::default()
    });
    shop.batchctl(["order", "expire"]).run().succeeds();
    shop.batchctl(["stats", "daily"]).run().succeeds();
    let alert = json!({
        "run_id": 7, "detected_at": "2026-11-19T17:00:00.000001Z", "source": "DB", "compared_products": 4812,
        "differences": 2, "repaired": 1, "is_urgent": false,
        "causes": [{"mall": "도쿄", "cause": "LATE_DECREMENT", "differences": 2, "repaired": 1}],
    });
    event_of(shop, "stock.sync.alert", "reconciliation", &alert);
    world.schemas(&["register"]).succeeds().prints("order.cancelled: registered as ");
    world.publish().run().succeeds().is_silent();
    let [(about, cancelled)] = world.read("order.cancelled").try_into().unwrap();
    assert_eq!(about, "20261119-0042");
    assert_eq!(
        cancelled,
        json!({
            "mall": "tokyo", "order_no": "20261119-0042", "member_code": null, "reason": "PAYMENT_TIMEOUT",
            "ordered_at": "2026-11-19T15:30:00+00:00", "cancelled_at": "2026-11-19T16:00:00+00:00", "currency": "JPY",
            "total_amount": 980, "items": [],
        })
    );
    let [(_, told)] = world.read("order.expiration.notification").try_into().unwrap();
    assert_eq!(
        (&told["expired_at"], &told["order_no"]),
        (&json!("2026-11-19T16:00:00+00:00"), &json!("20261119-0042"))
    );
    let [(about, statistics)] = world.read("daily.statistics").try_into().unwrap();
    assert_eq!(about, "tokyo/2026-11-19/JPY");
    assert_eq!(
        (&statistics["business_day"], &statistics["sales_amount"], &statistics["orders"]),
        (&json!("2026-11-19"), &json!(4980), &json!(1))
    );
    let [(_, told)] = world.read("stock.sync.alert").try_into().unwrap();
    assert_eq!(
        (&told["detected_at"], &told["causes"]),
        (&json!("2026-11-19T17:00:00.000001+00:00"), &alert["causes"])
    );
}

fn a_type_of_ones_own_may_have_every_type_of_avro(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["everything"], "");
    let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
    let fields = [
        ("null", json!("null")),
        ("boolean", json!("boolean")),
        ("int", json!("int")),
        ("long", json!("long")),
        ("float", json!("float")),
        ("double", json!("double")),
        ("bytes", json!("bytes")),
        ("string", json!("string")),
        ("array", json!({ "type": "array", "items": ["null", "int"] })),
        ("map", json!({ "type": "map", "values": "string" })),
        ("union", json!(["null", "long", "string"])),
        ("enum", json!({ "type": "enum", "name": "Size", "symbols": ["S", "M"] })),
        ("fixed", json!({ "type": "fixed", "name": "Mac", "size": 6 })),
        ("same_fixed", json!("Mac")),
        ("decimal", json!({ "type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2 })),
        (
            "fixed_decimal",
            json!({ "type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 2 }),
        ),
        ("uuid", logical("string", "uuid")),
        ("date", logical("int", "date")),
        ("time_millis", logical("int", "time-millis")),
        ("time_micros", logical("long", "time-micros")),
        ("timestamp_millis", logical("long", "timestamp-millis")),
        ("timestamp_micros", logical("long", "timestamp-micros")),
        ("timestamp_nanos", logical("long", "timestamp-nanos")),
        ("local_timestamp", logical("long", "local-timestamp-millis")),
        ("duration", json!({ "type": "fixed", "name": "Span", "size": 12, "logicalType": "duration" })),
        ("next", json!(["null", "Everything"])),
    ];
    let mut fields: Vec<Value> = fields.map(|(name, of)| json!({ "name": name, "type": of })).into();
    fields[25]["default"] = Value::Null;
    fields.push(json!({ "name": "left_out", "type": "bytes", "default": "\u{ff}" }));
    let schema = json!({ "type": "record", "name": "Everything", "namespace": "shop", "fields": fields });
    sandbox.write("schemas/everything.avsc", schema.to_string());
    let mut payload = json!({
        "null": null, "boolean": true, "int": -2_147_483_648_i64, "long": 9_007_199_254_740_993_i64, "float": 1.5,
        "double": 0.1, "bytes": "/wA=", "string": "주문 \u{1f4e6}", "array": [1, null], "map": {"b": "1", "a": "2"},
        "union": "text", "enum": "M", "fixed": "AAECAwQF", "same_fixed": "BQQDAgEA",
        "decimal": "-1234567890123456789012345678.90", "fixed_decimal": -0.01,
        "uuid": "018f4c00-0000-4000-8000-000000000000", "date": "1969-12-31", "time_millis": "23:59:59.999",
        "time_micros": "00:00:00.000001", "timestamp_millis": "2026-11-19T14:04:11.5+09:00",
        "timestamp_micros": "1969-12-31T23:59:59.999999Z", "timestamp_nanos": "1970-01-01T00:00:00.000000001Z",
        "local_timestamp": "1970-01-02T00:00:00", "duration": "P1M2DT0.003S",
    });
    payload["next"] = payload.clone();
    event_of(sandbox, "everything", "1", &payload);
    world.publish().run().exits(78);
    world.schemas(&["register", "everything"]).succeeds();
    world.publish().now("2026-11-20T01:05:00+09:00").run().succeeds().is_silent();
    let [(_, mut read)] = world.read("everything").try_into().unwrap();
    let expected = json!({
        "null": null, "boolean": true, "int": -2_147_483_648_i64, "long": 9_007_199_254_740_993_i64, "float": 1.5,
        "double": 0.1, "bytes": "ff00", "string": "주문 \u{1f4e6}", "array": [1, null], "map": {"b": "1", "a": "2"},
        "union": "text", "enum": "M", "fixed": "000102030405", "same_fixed": "050403020100",
        "decimal": "-1234567890123456789012345678.90", "fixed_decimal": "-0.01",
        "uuid": "018f4c00-0000-4000-8000-000000000000", "date": "1969-12-31", "time_millis": "23:59:59.999000",
        "time_micros": "00:00:00.000001", "timestamp_millis": "2026-11-19T05:04:11.500000+00:00",
        "timestamp_micros": "1969-12-31T23:59:59.999999+00:00", "timestamp_nanos": 1,
        "local_timestamp": 86_400_000, "duration": "010000000200000003000000", "left_out": "ff",
    });
    let mut next = read["next"].take();
    assert_eq!(next["next"].take(), Value::Null);
    for mut value in [next, read] {
        value.as_object_mut().unwrap().remove("next");
        assert_eq!(value, expected);
    }
}

fn ids_are_looked_up_once_and_never_given(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    world.registry.register("order.paid-value", PAID);
    world.registry.control("log/clear", &Value::Null);
    let series = sandbox.series(2500);
    sandbox.execute(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         SELECT 'order', CAST(n % 7 AS TEXT), 'order.paid', '{{\"n\": ' || CAST(n AS TEXT) || '}}' FROM {series}"
    ));
    world.publish().run().succeeds();
    assert_eq!(world.kafka.log("order.paid").len(), 2500);
    assert_eq!(world.registry.requests(), ["POST /subjects/order.paid-value"]);
    // Under the names that other clients give.
    for (names, subject) in [("record", "shop.OrderPaid"), ("topic-record", "order.paid-shop.OrderPaid")] {
        sandbox.write("batchctl.toml", format!("{SETTINGS}schemas = \"schemas\"\nsubjects = \"{names}\"\n"));
        event(sandbox, "1", "{\"n\": 1}");
        world.registry.register(subject, PAID);
        world.publish().run().succeeds();
        assert_eq!(world.registry.requests().last().unwrap(), &format!("POST /subjects/{subject}"));
    }
    // A run that finds nothing asks nobody.
    let requests = world.registry.requests();
    world.publish().run().succeeds().is_silent();
    assert_eq!(world.registry.requests(), requests);
}

fn a_schema_that_is_not_registered_holds_up_its_own_events(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid", "order.shipped"], "");
    sandbox.write("schemas/order.shipped.avsc", PAID.replace("OrderPaid", "OrderShipped"));
    world.registry.register("order.paid-value", PAID);
    event(sandbox, "1", "{\"n\": 1}");
    event_of(sandbox, "order.shipped", "2", &json!({ "n": 2 }));
    event(sandbox, "2", "{\"n\": 3}");
    event(sandbox, "3", "{\"n\": 4}");
    let ran = world.publish().run().exits(78);
    ran.says("the schema of `order.shipped` is not registered: the schema registry has no such subject")
        .says("`order.shipped-value`")
        .says("events schemas register order.shipped");
    let all = [PUBLISHED, HELD, WAITS, PUBLISHED];
    assert_eq!(states(sandbox), all);
    // Another schema under the subject is as good as none.
    world.registry.ask("PUT", "config/order.shipped-value", &json!({ "compatibility": "NONE" }));
    world.registry.register("order.shipped-value", PAID);
    let ran = world.publish().now("2026-11-20T01:05:00+09:00").run().exits(78);
    ran.says("is not registered: the subject has other schemas");
    world.schemas(&["register", "order.shipped"]).succeeds().prints("order.shipped: registered as ");
    world.publish().now("2026-11-20T01:10:00+09:00").run().succeeds().is_silent();
    assert_eq!(world.read("order.shipped"), [("2".to_owned(), json!({ "n": 2 }))]);
    let paid: Vec<Value> =
        world.read("order.paid").into_iter().map(|(_, value)| value["n"].clone()).collect();
    assert_eq!(paid, [1, 4, 3]);
    assert_eq!(states(sandbox), [PUBLISHED; 4]);
}

fn a_run_that_may_register_does(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    event(sandbox, "1", "{\"n\": 1}");
    let ran = world.with(sandbox.batchctl(["events", "publish", "--register"])).run();
    ran.succeeds();
    assert_eq!(world.read("order.paid"), [("1".to_owned(), json!({ "n": 1 }))]);
    assert_eq!(
        world.registry.requests()[..2],
        ["POST /subjects/order.paid-value", "POST /subjects/order.paid-value/versions"]
    );
    sandbox.write("batchctl.toml", SETTINGS.replace("format = \"avro\"\n", ""));
    let ran = world.with(sandbox.batchctl(["events", "publish", "--register"])).run().exits(2);
    ran.says("--register is of no use without format = \"avro\"");
}

fn an_incompatible_schema_is_named_by_its_field(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    world.registry.register("order.paid-value", PAID);
    world.schemas(&["check", "order.paid"]).succeeds().prints("order.paid: registered as 1");
    let with = |field: &str| {
        sandbox
            .write("schemas/order.paid.avsc", PAID.replace("\"long\"}]", &format!("\"long\"}}, {field}]")));
    };
    with(r#"{"name": "coupon", "type": "string"}"#);
    let ran = world.schemas(&["check", "order.paid"]).exits(3);
    ran.prints("order.paid: not compatible with those before it: ")
        .prints("The field 'coupon' at path '/fields/1' in the new schema has no default value")
        .says("1 of 1 schema is not as the registry needs it");
    let ran = world.schemas(&["register", "order.paid"]).exits(78);
    ran.says("1 of 1 schema is not registered").says("The field 'coupon'");
    event(sandbox, "1", "{\"n\": 1, \"coupon\": \"A\"}");
    world.publish().run().exits(78).says("the subject has other schemas");
    let register =
        |now: &str| world.with(sandbox.batchctl(["events", "publish", "--register"])).now(now).run();
    register("2026-11-20T01:05:00+09:00").exits(78).says("The field 'coupon'");
    assert_eq!(sandbox.sql("SELECT attempts, published_at FROM outbox_events"), [["0", "NULL"]]);
    with(r#"{"name": "coupon", "type": "string", "default": ""}"#);
    world.schemas(&["check", "order.paid"]).succeeds().prints("order.paid: not registered yet, and may be");
    world.schemas(&["check", "order.paid", "--registered"]).exits(3);
    register("2026-11-20T01:10:00+09:00").succeeds();
    assert_eq!(world.read("order.paid"), [("1".to_owned(), json!({ "n": 1, "coupon": "A" }))]);
}

fn a_registry_that_is_away_costs_no_event_anything(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    world.registry.register("order.paid-value", PAID);
    event(sandbox, "1", "{\"n\": 1}");
    let before = sandbox.sql("SELECT * FROM outbox_events");
    let ran = world.publish().env("BATCHCTL_SCHEMA_REGISTRY_URL", "http://127.0.0.1:1").run().exits(75);
    ran.says("the schema registry at http://127.0.0.1:1/ gives no answer to go by")
        .says("the events stay in the outbox");
    let down = json!([{ "path": "subjects", "fault": "status", "status": 503, "times": -1 }]);
    world.registry.faults(&down);
    world.publish().run().exits(75).says("HTTP 503");
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events"), before);
    // Two that fail are tried again in the same run.
    world.registry.faults(&json!([{ "path": "subjects", "fault": "status", "status": 500, "times": 2 }]));
    world.publish().run().succeeds().is_silent();
    assert_eq!(world.read("order.paid"), [("1".to_owned(), json!({ "n": 1 }))]);
}

fn an_answer_that_cannot_be_true_is_not_believed(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    world.registry.register("order.paid-value", PAID);
    event(sandbox, "1", "{\"n\": 1}");
    let before = sandbox.sql("SELECT * FROM outbox_events");
    let found = |subject: &str, id: Value, schema: &str| json!({ "subject": subject, "version": 1, "id": id, "schema": schema });
    let other = PAID.replace("long", "string");
    for (body, says) in [
        (found("order.paid-value", json!(-1), PAID), "-1 is not the id of a schema"),
        (found("order.paid-value", json!(0), PAID), "0 is not the id of a schema"),
        (found("order.paid-value", json!(4_294_967_296_i64), PAID), "4294967296 is not the id of a schema"),
        (found("order.paid-value", json!("1"), PAID), "not of the documented shape"),
        (found("order.paid-value", json!(1.5), PAID), "not of the documented shape"),
        (found("stock\u{1b}[2J-value", json!(1), PAID), "it answers about `stock [2J-value`"),
        (found("order.paid-value", json!(1), &other), "it answers with another one"),
        (json!({ "id": 1 }), "not of the documented shape"),
        (json!([]), "not of the documented shape"),
        (json!("<html>Welcome</html>"), "begins with `<html>Welcome</html>`"),
    ] {
        world.registry.faults(&json!([{ "fault": "status", "status": 200, "body": body, "times": -1 }]));
        world.publish().run().exits(75).says(says).never_shows("\u{1b}");
    }
    let redirect = json!({ "fault": "redirect", "location": "http://127.0.0.1:1/", "times": -1 });
    for (fault, code, says) in [
        (json!({ "fault": "huge", "times": -1 }), 75, "longer than 4 MiB"),
        (json!({ "fault": "bomb", "mebibytes": 64, "times": -1 }), 75, "longer than 4 MiB"),
        (json!({ "fault": "garbage", "times": -1 }), 75, "is broken"),
        (
            json!({ "fault": "status", "status": 404, "body": "<html>", "times": -1 }),
            75,
            "BATCHCTL_SCHEMA_REGISTRY_URL",
        ),
        (redirect, 78, "answers with a redirect"),
    ] {
        world.registry.faults(&json!([fault]));
        world.publish().run().exits(code).says(says);
    }
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events"), before);
    assert_eq!(world.kafka.request_count(ApiKey::Produce), 0);
    world.registry.faults(&json!([]));
    world.publish().run().succeeds();
}

fn one_id_for_two_schemas_is_not_believed(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid", "order.shipped"], "");
    let shipped = PAID.replace("OrderPaid", "OrderShipped");
    sandbox.write("schemas/order.shipped.avsc", &shipped);
    world.registry.register("order.paid-value", PAID);
    world.registry.register("order.shipped-value", &shipped);
    event(sandbox, "1", "{\"n\": 1}");
    event_of(sandbox, "order.shipped", "2", &json!({ "n": 2 }));
    let before = sandbox.sql("SELECT * FROM outbox_events");
    let body = json!({ "subject": "order.shipped-value", "version": 1, "id": 1, "schema": shipped });
    let lie = json!({ "path": "order.shipped", "fault": "status", "status": 200, "body": body, "times": -1 });
    world.registry.faults(&json!([lie]));
    let says =
        "it gives the id 1 to the schema of `order.paid-value` and to another one of `order.shipped-value`";
    world.publish().run().exits(75).says(says);
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events"), before);
    assert_eq!(world.kafka.request_count(ApiKey::Produce), 0);
    world.schemas(&["register", "order.paid", "order.shipped"]).exits(75).says(says);
    // The same schema has one id under all its subjects.
    world.registry.faults(&json!([]));
    sandbox.write("schemas/order.shipped.avsc", PAID);
    world.registry.ask("PUT", "config/order.shipped-value", &json!({ "compatibility": "NONE" }));
    let ran = world.schemas(&["register", "order.paid", "order.shipped"]).succeeds();
    ran.prints("order.paid: registered as 1").prints("order.shipped: registered as 1");
    world.publish().run().succeeds();
}

fn a_schema_that_was_registered_has_to_be_there(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    event(sandbox, "1", "{\"n\": 1}");
    let before = sandbox.sql("SELECT * FROM outbox_events");
    let lie =
        json!({ "path": "versions", "fault": "status", "status": 200, "body": { "id": 7 }, "times": -1 });
    world.registry.faults(&json!([lie]));
    let register = || world.with(sandbox.batchctl(["events", "publish", "--register"])).run();
    let absent = "it has registered the schema of `order.paid-value` as 7, and does not have it";
    world.schemas(&["register", "order.paid"]).exits(75).says(absent);
    register().exits(75).says(absent);
    world.registry.faults(&json!([]));
    world.registry.register("order.paid-value", PAID);
    world.registry.faults(&json!([lie]));
    let other = "it has registered the schema of `order.paid-value` as 7, and has it as 1";
    world.schemas(&["register", "order.paid"]).exits(75).says(other);
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events"), before);
    world.registry.faults(&json!([]));
    register().succeeds();
    assert_eq!(world.read("order.paid"), [("1".to_owned(), json!({ "n": 1 }))]);
}

fn a_payload_that_does_not_fit_is_given_up_as_it_was_written(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid", "dead"], "dead_letter_topic = \"dead\"\n");
    world.registry.register("order.paid-value", PAID);
    let poison = event(sandbox, "1", "{\"n\": 1.5}");
    event(sandbox, "1", "{\"n\": 2}");
    event(sandbox, "2", "{\"n\": 3}");
    world.publish().run().succeeds();
    assert_eq!(states(sandbox), [["1", "2026-11-19T16:01:00+00:00", "0", "0"], WAITS, PUBLISHED],);
    let reason = "payload.n: expected a long, which has no fraction, found the number 1.5";
    assert_eq!(sandbox.scalar("SELECT last_error FROM outbox_events WHERE attempts = 1"), reason);
    let ran = world.publish().now("2026-11-20T01:01:00+09:00").run().exits(3);
    ran.says(&format!("event {poison}: given up (order.paid): {reason}"));
    let [dead] = world.kafka.log("dead").try_into().unwrap();
    assert_eq!(String::from_utf8(dead.value).unwrap(), "{\"n\": 1.5}");
    for (name, value) in
        [("dead-letter-reason", reason), ("dead-letter-topic", "order.paid"), ("dead-letter-attempts", "2")]
    {
        assert_eq!(dead.headers[name], value);
    }
    let read: Vec<Value> =
        world.read("order.paid").into_iter().map(|(_, value)| value["n"].clone()).collect();
    assert_eq!(read, [3, 2], "its aggregate goes on");
}

fn a_schema_that_cannot_be_read_stops_all_before_anything_is_sent(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    world.registry.register("order.paid-value", PAID);
    event(sandbox, "1", "{\"n\": 1}");
    sandbox.write("schemas/order.shipped.avsc", "{\n  \"type\": \"record\",,\n}");
    let ran = world.publish().run().exits(78);
    ran.says("failed to read the schema `schemas/order.shipped.avsc`: it is not JSON: key must be a string at line 2 column 20");
    assert_eq!(world.kafka.request_count(ApiKey::Produce), 0);
    assert_eq!(states(sandbox), [WAITS]);
    let ran = world.schemas(&["check", "--offline"]).exits(78);
    ran.says("schemas/order.shipped.avsc")
        .prints("order.paid: can be read")
        .prints("order.cancelled: can be read");
    world
        .schemas(&["list"])
        .exits(78)
        .prints("order.shipped")
        .prints("line 2 column 20")
        .says("not readable");
    sandbox.write("batchctl.toml", format!("{SETTINGS}schemas = \"shemas\"\n"));
    world.publish().run().exits(78).says("failed to read the folder `shemas` (`events.kafka.schemas`)");
}

fn a_type_without_a_schema_holds_up_its_own_events(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid", "order.shipped"], "");
    world.registry.register("order.paid-value", PAID);
    event_of(sandbox, "order.shipped", "1", &json!({ "n": 1 }));
    event(sandbox, "2", "{\"n\": 2}");
    let ran = world.publish().run().exits(78);
    ran.says("the events `order.shipped` have no schema").says("write `schemas/order.shipped.avsc`");
    assert_eq!(states(sandbox), [HELD, PUBLISHED]);
    // A type is no path.
    event_of(sandbox, "../../etc/passwd", "3", &json!({}));
    event_of(sandbox, "../batchctl", "4", &json!({}));
    sandbox.write("batchctl.avsc", PAID);
    world.publish().run().succeeds();
    let refused = "SELECT DISTINCT last_error FROM outbox_events WHERE aggregate_id = '4'";
    assert_eq!(sandbox.scalar(refused), "event_type: `../batchctl` is not a valid topic name");
}

fn a_registry_elsewhere_is_not_asked_outside_prod(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    event(sandbox, "1", "{\"n\": 1}");
    let elsewhere = |command: Batchctl| {
        world.with(command).env("BATCHCTL_SCHEMA_REGISTRY_URL", "https://schemas.example.jp/")
    };
    let says = "the schema registry is at `https://schemas.example.jp/`, which is not among the hosts";
    elsewhere(publish(sandbox)).run().exits(77).says(says).says("`events.hosts_outside_prod`");
    for command in ["check", "register"] {
        elsewhere(sandbox.batchctl(["events", "schemas", command])).run().exits(77).says(says);
    }
    assert_eq!(states(sandbox), [WAITS]);
}

fn a_wrong_password_is_a_matter_of_settings_and_not_shown(sandbox: &Sandbox) {
    let variables =
        "registry_user_variable = \"REGISTRY_USER\"\nregistry_password_variable = \"REGISTRY_PASSWORD\"\n";
    let world = World::new(sandbox, &["order.paid"], variables);
    world.registry.register("order.paid-value", PAID);
    world.registry.control("settings", &json!({ "login": "ci:correct-horse-battery" }));
    event(sandbox, "1", "{\"n\": 1}");
    let as_user = |command: Batchctl, password: &str| {
        world.with(command).env("REGISTRY_USER", "ci").env("REGISTRY_PASSWORD", password).run()
    };
    let ran = as_user(publish(sandbox), "hunter-two-and-more").exits(78);
    // The header itself would be as good as the password.
    ran.says("rejects our credentials: HTTP 401; check REGISTRY_USER")
        .never_shows("hunter")
        .never_shows("Y2k6aHVudGVy");
    for command in ["check", "register"] {
        let ran = as_user(sandbox.batchctl(["events", "schemas", command]), "hunter-two-and-more").exits(78);
        ran.says("HTTP 401").never_shows("hunter");
    }
    // A registry that repeats what it was sent.
    let echo = "who is Y2k6aHVudGVyLXR3by1hbmQtbW9yZQ== with hunter-two-and-more?";
    world.registry.faults(&json!([{ "fault": "status", "status": 400, "message": echo, "times": -1 }]));
    let ran = as_user(publish(sandbox), "hunter-two-and-more").exits(75);
    ran.says("HTTP 400: who is ***").never_shows("hunter").never_shows("Y2k6");
    world.registry.faults(&json!([]));
    world.publish().env("REGISTRY_USER", "ci").run().exits(78).says("REGISTRY_PASSWORD");
    assert_eq!(states(sandbox), [WAITS]);
    as_user(publish(sandbox), "correct-horse-battery").succeeds();
    // Without a user at all.
    sandbox.write("batchctl.toml", format!("{SETTINGS}schemas = \"schemas\"\n"));
    event(sandbox, "1", "{\"n\": 2}");
    world
        .publish()
        .run()
        .exits(78)
        .says("requires a user: HTTP 401")
        .says("`events.kafka.registry_user_variable`");
}

fn what_is_sent_again_after_a_kill_is_the_same_bytes(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["tagged"], "");
    let schema = r#"{"type": "record", "name": "Tagged", "fields": [{"name": "tags", "type": {"type": "map", "values": "int"}}]}"#;
    sandbox.write("schemas/tagged.avsc", schema);
    world.registry.register("tagged-value", schema);
    let tags: serde_json::Map<String, Value> =
        (0..40).map(|number| (format!("tag-{number}"), json!(number))).collect();
    let payload = json!({ "tags": tags });
    event_of(sandbox, "tagged", "1", &payload);
    let ran = world.publish().failpoint("events-sent=kill").run();
    ran.is_killed_by(Signal::KILL);
    world.publish().run().succeeds();
    let [first, second]: [Message; 2] = world.kafka.log("tagged").try_into().unwrap();
    assert_eq!(first, second);
    assert_eq!(world.read("tagged")[1].1, payload);
    assert_eq!(states(sandbox), [PUBLISHED]);
}

fn wrong_settings_are_named(sandbox: &Sandbox) {
    let world = World::new(sandbox, &["order.paid"], "");
    let with = |url: &str| world.publish().env("BATCHCTL_SCHEMA_REGISTRY_URL", url).run();
    with("").exits(78).says("BATCHCTL_SCHEMA_REGISTRY_URL is not set");
    with("schemas.example.jp").exits(78).says("BATCHCTL_SCHEMA_REGISTRY_URL: has no scheme");
    let ran = with("https://ci:hunter22@schemas.example.jp").exits(78);
    ran.says("BATCHCTL_SCHEMA_REGISTRY_URL").never_shows("hunter22");
    sandbox.write("batchctl.toml", SETTINGS.replace("tls = false", "tls = true"));
    with("http://registry:8081")
        .exits(78)
        .says("the connection would not be encrypted")
        .says("set tls = false");
    let login = "registry_user_variable = \"A\"\nregistry_password_variable = \"B\"\n";
    sandbox.write("batchctl.toml", format!("{SETTINGS}{login}"));
    with("http://registry:8081").exits(78).says("the connection would not be encrypted");
    // In a network of one's own it may be, but it is not this machine.
    sandbox.write("batchctl.toml", SETTINGS);
    with("http://registry:8081").exits(77).says("`http://registry:8081/`");
}

/// On one database: it takes as long as a registry is waited for.
#[test]
fn a_registry_that_does_not_answer_is_not_waited_for_to_the_end_of_a_run() {
    let sandbox = Sandbox::new();
    let world = World::new(&sandbox, &["order.paid"], "");
    event(&sandbox, "1", "{\"n\": 1}");
    world.registry.faults(&json!([{ "path": "subjects", "fault": "hold", "times": -1 }]));
    world.publish().run().exits(75).says("no answer in time");
    assert_eq!(states(&sandbox), [WAITS]);
}

#[test]
fn schemas_are_listed_shown_checked_and_registered() {
    let sandbox = Sandbox::new();
    let world = World::new(&sandbox, &[], "topic = \"shop.{aggregate_type}\"\nsubjects = \"topic-record\"\n");
    let ran = world.schemas(&["list"]).succeeds();
    ran.prints("batchctl.events.OrderCancelled")
        .prints("shop.order-batchctl.events.OrderCancelled")
        .prints("schemas/order.paid.avsc")
        .prints("by --aggregate-type");
    let listed: Value =
        serde_json::from_str(&world.schemas(&["list", "--format", "json"]).succeeds().stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    assert_eq!(listed[3]["event_type"], "order.paid");
    assert_eq!(world.schemas(&["show", "order.paid"]).succeeds().stdout, format!("{PAID}\n"));
    let built_in = world.schemas(&["show", "daily.statistics"]).succeeds().stdout;
    assert_eq!(built_in, include_str!("../../../schemas/DailyStatistics.avsc"));
    world.schemas(&["show", "order.piad"]).exits(2).says("there is no schema of `order.piad`");
    world.schemas(&["register", "order.piad"]).exits(2);
    // What the events are about is known of ours alone.
    world.schemas(&["register"]).exits(2).says("add --aggregate-type");
    assert_eq!(world.registry.ask("GET", "subjects", &Value::Null), json!([]), "and nothing was registered");
    for _ in 0..2 {
        let ran = world.schemas(&["register", "order.cancelled", "stock.sync.alert"]).succeeds();
        ran.prints(
            "order.cancelled: registered as 1 (subject `shop.order-batchctl.events.OrderCancelled`)\n",
        );
    }
    world.schemas(&["register", "order.paid", "--aggregate-type", "order"]).succeeds();
    let subjects = [
        "shop.order-batchctl.events.OrderCancelled",
        "shop.order-shop.OrderPaid",
        "shop.stock-batchctl.events.StockSyncAlert",
    ];
    assert_eq!(world.registry.ask("GET", "subjects", &Value::Null), json!(subjects));
    world.schemas(&["check", "order.cancelled"]).succeeds().prints("order.cancelled: registered as 1");
    world.schemas(&["check", "daily.statistics"]).succeeds().prints("not registered yet, and may be");
    // The file of the shop is read in the place of ours.
    sandbox.write("schemas/stock.sync.alert.avsc", PAID);
    assert_eq!(world.schemas(&["show", "stock.sync.alert"]).succeeds().stdout, format!("{PAID}\n"));
    world.registry.faults(&json!([{ "fault": "status", "status": 500, "times": -1 }]));
    world.schemas(&["register", "order.cancelled"]).exits(75).says("HTTP 500");
    world.schemas(&["check", "order.cancelled"]).exits(75);
    world.schemas(&["check", "--offline"]).succeeds();
    world.registry.faults(&json!([]));
    world.registry.ask("PUT", "mode", &json!({ "mode": "READONLY" }));
    world
        .schemas(&["register", "daily.statistics"])
        .exits(78)
        .says("is refused by the schema registry")
        .says("read-only mode");
}
