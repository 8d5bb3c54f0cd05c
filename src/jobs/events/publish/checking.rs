//! What `config check` finds of the sink: its settings, and whether brokers and registry answer. It changes nothing.

use std::time::Duration;

use crate::clients::event_folder::EventFolder;
use crate::clients::event_webhook::EventWebhook;
use crate::clients::kafka::Kafka;
use crate::clients::schema_registry::SchemaRegistry;
use crate::config::{EventFormat, SinkKind, TOPIC_PLACEHOLDERS};
use crate::context::Context;
use crate::failure::Failure;
use crate::jobs::events::schemas::Schemas;

/// How long brokers, or the registry, may take. Somebody waits in front of a terminal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why events could not be published with these settings; nothing without a sink.
pub(in crate::jobs) async fn problems(cx: &Context) -> Vec<Failure> {
    match cx.config.events().sink {
        None => Vec::new(),
        Some(SinkKind::Ndjson) => EventFolder::check(&cx.config).err().into_iter().collect(),
        Some(SinkKind::Webhook) => EventWebhook::check(cx).err().into_iter().collect(),
        Some(SinkKind::Kafka) => {
            let mut failures = problems_of_brokers(cx).await;
            if cx.config.events().kafka.format == EventFormat::Avro {
                failures.extend(problems_of_schemas(cx).await);
            }
            failures
        }
    }
}

/// Whether the brokers answer, and have the topics that are known without an event: a fixed one, and that of dead letters.
async fn problems_of_brokers(cx: &Context) -> Vec<Failure> {
    let config = &cx.config.events().kafka;
    let is_fixed = !TOPIC_PLACEHOLDERS.iter().any(|placeholder| config.topic().contains(placeholder));
    let fixed = is_fixed.then(|| config.topic().to_owned());
    let topics = fixed.into_iter().chain(config.dead_letter_topic.clone()).collect();
    let asked = async { Kafka::new(cx)?.topics(topics).await };
    match within(asked, "the Kafka brokers").await {
        Ok(found) => found.into_values().filter_map(Result::err).collect(),
        Err(failure) => vec![failure],
    }
}

/// Whether the schemas can be read, and the registry answers. Which of them it has is for `events schemas check` to say.
async fn problems_of_schemas(cx: &Context) -> Vec<Failure> {
    let (schemas, broken) = match Schemas::load_what_can_be(&cx.config) {
        Ok(loaded) => loaded,
        Err(failure) => return vec![failure],
    };
    let asked = async {
        let registry = SchemaRegistry::new(cx)?;
        match schemas.iter().next() {
            // Whatever it says of one, it answers.
            Some((_, found)) => registry.look_up(found.schema.name(), &found.schema).await.map(drop),
            None => Ok(()),
        }
    };
    let unanswered = within(asked, "the schema registry").await.err();
    broken.into_iter().map(|(_, failure)| failure).chain(unanswered).collect()
}

async fn within<T>(asked: impl Future<Output = Result<T, Failure>>, whom: &str) -> Result<T, Failure> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| {
        Err(Failure::try_later(format!("{whom} did not answer in {} s", PATIENCE.as_secs())))
    })
}
