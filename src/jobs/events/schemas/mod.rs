//! `events schemas`: the Avro schemas of events, and what the registry has of them.
//!
//! `events publish` only looks schemas up. Whoever changes one asks before (`check`), and puts it there (`register`).

mod check;
mod list;
mod register;
mod show;
mod store;

use crate::config::{KafkaConfig, SubjectNames, TOPIC_PLACEHOLDERS, is_topic};
use crate::context::Context;
use crate::failure::Failure;
use crate::printable::{one_line, shortened};
use crate::runner::Action;

use super::subject::{subject, topic};
pub(super) use store::{EventSchema, Schemas};

/// The most characters of a name that an error shows.
const SHOWN_CHARACTERS: usize = 100;

/// Look after the Avro schemas of events
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the schemas: those that come with the program, and your own
    List(list::ListArgs),
    /// Show a schema as it is written
    Show(show::ShowArgs),
    /// Check that the schemas can be read, and may follow those in the registry
    Check(check::CheckArgs),
    /// Register schemas; those that are there keep their ids
    Register(register::RegisterArgs),
}

impl Command {
    /// What the chosen command does.
    pub(super) fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::List(args) => Action::plain(cx, async { list::list(cx, args) }),
            Self::Show(args) => Action::plain(cx, async { show::show(cx, args) }),
            Self::Check(args) => Action::other(check::check(cx, args)),
            Self::Register(args) => Action::plain(cx, register::register(cx, args)),
        }
    }
}

/// Which schemas a command is about.
#[derive(Debug, Clone, clap::Args)]
struct Selected {
    /// The types of events, such as order.cancelled; all by default
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
    /// What the events are about, such as order, if the topic depends on it; of our own it is known
    #[arg(long, value_name = "TYPE")]
    aggregate_type: Option<String>,
}

impl Selected {
    /// Whether the command is about this type.
    fn has(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|given| given == event_type)
    }

    /// Refuses a type that has no schema.
    fn refuse_unknown(&self, schemas: &Schemas, broken: &[(String, Failure)]) -> Result<(), Failure> {
        let is_known =
            |given: &str| schemas.get(given).is_some() || broken.iter().any(|(known, _)| known == given);
        match self.types.iter().find(|given| !is_known(given)) {
            Some(unknown) => Err(without_schema(schemas, unknown)),
            None => Ok(()),
        }
    }

    /// The subject of a schema.
    fn subject(
        &self,
        config: &KafkaConfig,
        event_type: &str,
        found: &EventSchema,
    ) -> Result<String, Failure> {
        subject_of(config, event_type, found, self.aggregate_type.as_deref())
    }
}

/// The subject of a schema in the registry. `aggregate_type` is what the events are about, if the caller knows.
fn subject_of(
    config: &KafkaConfig,
    event_type: &str,
    found: &EventSchema,
    aggregate_type: Option<&str>,
) -> Result<String, Failure> {
    let names = config.subjects();
    let aggregate_type = aggregate_type.or(found.aggregate_type);
    let needs_topic = names != SubjectNames::Record;
    let [_, of_aggregate] = TOPIC_PLACEHOLDERS;
    if needs_topic && aggregate_type.is_none() && config.topic().contains(of_aggregate) {
        return Err(Failure::usage(format!(
            "the subject of `{}` depends on what its events are about: `events.kafka.topic` is \"{}\"",
            shown(event_type),
            config.topic()
        ))
        .hint(format!("add --aggregate-type, with TYPE {event_type} if others are about something else")));
    }
    let topic = topic(config.topic(), event_type, aggregate_type.unwrap_or_default());
    if needs_topic && !is_topic(&topic) {
        return Err(Failure::bad_input(format!("`{}` is not a valid topic name", shown(&topic)))
            .hint("a file's name is the type of its events: letters, digits, `.`, `_` and `-`"));
    }
    Ok(subject(names, &topic, found.schema.name()))
}

/// A type for which there is no schema.
fn without_schema(schemas: &Schemas, event_type: &str) -> Failure {
    let event_type = shown(event_type);
    Failure::usage(format!("there is no schema of `{event_type}`")).hint(format!(
        "`batchctl events schemas list` lists them; for another one {}",
        schemas.file_for(&event_type)
    ))
}

/// A schema that the registry does not have under its subject.
pub(super) fn not_registered(event_type: &str, subject: &str, problem: &str) -> Failure {
    Failure::configuration(format!("the schema of `{}` {problem} (subject `{subject}`)", shown(event_type)))
}

fn shown(name: &str) -> String {
    shortened(&one_line(name), SHOWN_CHARACTERS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::AvroSchema;
    use crate::failure::FailureKind;

    #[test]
    fn a_subject_that_depends_on_what_events_are_about_is_asked_for() {
        let config = |text: &str| toml::from_str::<KafkaConfig>(text).unwrap();
        let schema = |aggregate_type| EventSchema {
            schema: AvroSchema::parse(r#"{"type": "record", "name": "shop.A", "fields": []}"#).unwrap(),
            file: None,
            aggregate_type,
        };
        let by_topic = config("format = 'avro'\ntopic = 'shop.{aggregate_type}'");
        let by_record = config("format = 'avro'\nsubjects = 'record'\ntopic = 'shop.{aggregate_type}'");
        let of = |config, found: &EventSchema, given| subject_of(config, "order.paid", found, given);
        assert_eq!(of(&by_topic, &schema(Some("order")), None).unwrap(), "shop.order-value");
        assert_eq!(of(&by_topic, &schema(None), Some("order")).unwrap(), "shop.order-value");
        assert_eq!(of(&by_record, &schema(None), None).unwrap(), "shop.A");
        assert_eq!(of(&by_topic, &schema(None), None).unwrap_err().kind, FailureKind::Usage);
        let failure = subject_of(&config(""), "주문", &schema(None), None).unwrap_err();
        assert_eq!(failure.message, "`주문` is not a valid topic name");
    }
}
