//! Brokers of Kafka on this machine, and a producer that does nothing but produce.
//!
//!   bench-kafka broker PARTITIONS TOPIC...       prints HOST:PORT; then answers `count TOPIC` lines; ends with its input
//!   bench-kafka produce BROKERS TOPIC FILE       sends the file's lines, `KEY<TAB>VALUE`, and prints the seconds it took

use std::io::Write as _;
use std::time::{Duration, Instant};

use krafka::producer::Acks;
use krafka::testing::FakeBroker;
use krafka::{Kafka, Record};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    match words.as_slice() {
        ["broker", partitions, topics @ ..] => {
            runtime.worker_threads(1).enable_all().build()?.block_on(serve(partitions.parse()?, topics))
        }
        ["produce", brokers, topic, file] => {
            runtime.enable_all().build()?.block_on(produce(brokers, topic, file))
        }
        _ => Err("see the top of its source".into()),
    }
}

async fn serve(partitions: i32, topics: &[&str]) -> Outcome {
    let broker = FakeBroker::start_cluster(1).await?;
    for topic in topics {
        broker.create_topic(topic, partitions);
    }
    println!("{}", broker.bootstrap_servers());
    std::io::stdout().flush()?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(topic) = line.strip_prefix("count ") {
            let count: i64 = (0..partitions).filter_map(|partition| broker.next_offset(topic, partition)).sum();
            println!("{count}");
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

/// The produce loop as the library's own example has it: all is handed over, and then every delivery is awaited.
async fn produce(brokers: &str, topic: &str, file: &str) -> Outcome {
    let text = std::fs::read_to_string(file)?;
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let kafka = Kafka::builder(brokers).connect().await?;
    let producer = kafka
        .producer()
        .idempotent(true)
        .acks(Acks::All)
        .linger(Duration::from_millis(5))
        .batch_size(128 * 1024)
        .build()
        .await?;
    let begun = Instant::now();
    let mut handles = Vec::with_capacity(lines.len());
    for (key, value) in lines {
        let record = Record::new(topic.to_owned(), value.to_owned())
            .key(key.to_owned())
            .header("event-id", "018f4c00-0000-4000-8000-000000000000")
            .header("event-type", topic.to_owned())
            .header("aggregate-type", "order")
            .header("occurred-at", "2026-11-19T03:00:00Z");
        handles.push(producer.enqueue(record).await?);
    }
    producer.flush().await?;
    for handle in handles {
        let _ = handle.await?;
    }
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}
