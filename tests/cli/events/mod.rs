//! The outbox as other programs write it, its publication, and what operators do with it.

mod avro;
mod broker;
mod checking;
mod files;
mod kafka;
mod operators;
mod outbox;
mod sharing;
mod webhook;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Batchctl, Sandbox};

/// Writes an event of an order as a web application does, and returns its number.
#[track_caller]
fn event(sandbox: &Sandbox, order: &str, payload: &str) -> String {
    sandbox.scalar(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('order', '{order}', 'order.paid', '{payload}') RETURNING id"
    ))
}

fn publish(sandbox: &Sandbox) -> Batchctl {
    sandbox.batchctl(["events", "publish"])
}

fn purge(sandbox: &Sandbox) -> Batchctl {
    sandbox.batchctl(["events", "purge", "--verbose"])
}

/// Has events go into files, which are short ones.
fn into_files(sandbox: &Sandbox) {
    sandbox.write(
        "batchctl.toml",
        "[events]\nsink = \"ndjson\"\nfolder = \"out/events\"\nmax_file_bytes = 4000\n",
    );
}

/// What a consumer reads: all lines of all files in the order of their names.
#[track_caller]
fn consumed(sandbox: &Sandbox) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(sandbox.path("out/events")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".ndjson")).collect();
    names.sort();
    let text: String = names.iter().map(|name| sandbox.read(&format!("out/events/{name}"))).collect();
    assert!(text.is_empty() || text.ends_with('\n'), "only whole lines");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers in the payloads of each aggregate's events, in the order in which a consumer gets them that drops what it has
/// had: an event that comes twice is known by its id.
#[track_caller]
fn by_aggregate(log: &[Value]) -> BTreeMap<String, Vec<i64>> {
    let mut ids: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in log {
        let id = event["event_id"].as_str().unwrap();
        if let Some(before) = ids.insert(id, event) {
            assert_eq!(before, event, "the same id is the same event");
            continue;
        }
        let numbers = found.entry(event["aggregate_id"].as_str().unwrap().to_owned()).or_default();
        numbers.push(event["payload"]["n"].as_i64().unwrap());
    }
    found
}

/// How many events are published, and how many wait in nobody's hand.
fn counts(sandbox: &Sandbox) -> [String; 2] {
    let count =
        |condition: &str| sandbox.scalar(&format!("SELECT COUNT(*) FROM outbox_events WHERE {condition}"));
    let free = "id NOT IN (SELECT outbox_id FROM outbox_claims)";
    [
        count("published_at IS NOT NULL"),
        count(&format!("published_at IS NULL AND dead_at IS NULL AND {free}")),
    ]
}
