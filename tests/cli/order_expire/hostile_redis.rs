//! What listens where Redis should be, and is none: it costs little memory, and no reservation an attempt.

use super::Store;
use crate::support::on_both_databases;
use crate::support::redis::{Answer, fake};

on_both_databases![
    an_answer_without_end_is_not_received,
    many_small_values_are_not_received_either,
    nonsense_costs_no_attempt,
];

/// Two orders expire where this listens.
fn expires_with(store: &Store, answer: fn(&[String]) -> Option<Answer>, problem: &str) {
    for number in ["A1", "A2"] {
        store.order(store.waiting(number, None, &[]));
    }
    let port = fake(answer);
    for run in 1..=2 {
        let url = format!("redis://127.0.0.1:{port}");
        let ran = store.expire().env("BATCHCTL_REDIS_URL", url).run().exits(75);
        ran.says(&format!("Redis at `127.0.0.1:{port}/0` {problem}"));
        assert_eq!(
            store.sql("SELECT order_no, state, attempts FROM stock_releases ORDER BY id"),
            [["A1", "WAITING", "0"], ["A2", "WAITING", "0"]]
        );
        let peak = format!("SELECT peak_memory_bytes FROM batch_execution WHERE id = {run}");
        let peak: u64 = store.scalar(&peak).parse().unwrap();
        assert!(peak < 250_000_000, "{peak} bytes");
    }
}

fn an_answer_without_end_is_not_received(store: &Store) {
    let text = |words: &[String]| (words[0] == "EVALSHA").then_some(Answer::Endless(b"$500000000\r\n", b"x"));
    expires_with(store, text, "sends more than it was asked for");
}

fn many_small_values_are_not_received_either(store: &Store) {
    let list = |_: &[String]| Some(Answer::Endless(b"*2000000000\r\n", b":1\r\n"));
    expires_with(store, list, "sends more than it was asked for");
}

fn nonsense_costs_no_attempt(store: &Store) {
    let nonsense = |words: &[String]| {
        (words[0] == "EVALSHA")
            .then(|| Answer::Bytes(b"*2\r\n$8\r\nRELEASED\r\n:99999999999999\r\n".to_vec()))
    };
    expires_with(store, nonsense, "gave an answer that its script does not return");
}
