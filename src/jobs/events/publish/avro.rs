//! Events in Avro: by which schema, under which id, and which events have to wait because there is none.

use std::collections::{BTreeSet, HashMap};

use crate::clients::schema_registry::{LookedUp, Registered, SchemaRegistry, framed};
use crate::config::SubjectNames;
use crate::context::Context;
use crate::failure::Failure;
use crate::jobs::events::schemas::{Schemas, not_registered};
use crate::jobs::events::subject::subject;
use crate::printable::{one_line, shortened};
use crate::wording::command;

use super::envelope::Ready;

/// What becomes of events while the registry gives no ids.
const STILL_THERE: &str = "the events stay in the outbox; the next run tries again";
/// The most characters of a type that an error shows.
const SHOWN_CHARACTERS: usize = 100;

/// The schemas of a run, and their ids.
pub(super) struct Avro {
    schemas: Schemas,
    registry: SchemaRegistry,
    names: SubjectNames,
    /// Whether schemas that are not there are registered.
    registers: bool,
    /// The ids by subject and type of event, or why there is none. Each is asked for once a run.
    known: HashMap<(String, String), Result<u32, Failure>>,
}

/// A message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) schema_id: u32,
    pub(super) bytes: Vec<u8>,
}

/// Why an event has no content.
#[derive(Debug)]
pub(super) enum NoContent {
    /// Its payload does not fit its schema.
    Misfit(String),
    /// Its type has no schema, or the registry does not have it.
    Held(Failure),
}

impl Avro {
    /// Refuses settings and files with which nothing could be sent.
    pub(super) fn check(cx: &Context) -> Result<(), Failure> {
        Schemas::load(&cx.config)?;
        SchemaRegistry::check(cx)
    }

    /// Those of `[events.kafka]`. Files are read, and no request is made.
    pub(super) fn new(cx: &Context, registers: bool) -> Result<Self, Failure> {
        Ok(Self {
            schemas: Schemas::load(&cx.config)?,
            registry: SchemaRegistry::new(cx)?,
            names: cx.config.events().kafka.subjects(),
            registers,
            known: HashMap::new(),
        })
    }

    /// Asks for the ids of the schemas of these events, each with its topic, as far as they are not known. An error is that of
    /// the registry, whichever the schema is.
    pub(super) async fn find<'e>(
        &mut self,
        events: impl Iterator<Item = (&'e str, &'e Ready)>,
    ) -> Result<(), Failure> {
        let wanted: BTreeSet<(String, String)> =
            events.filter_map(|(topic, event)| self.key(topic, &event.event_type)).collect();
        for key in wanted {
            if !self.known.contains_key(&key) {
                let id = self.ask(&key).await.map_err(|failure| failure.hint(STILL_THERE))?;
                self.known.insert(key, id);
            }
        }
        Ok(())
    }

    /// The subject of an event's schema with its type, if there is a schema.
    fn key(&self, topic: &str, event_type: &str) -> Option<(String, String)> {
        let schema = &self.schemas.get(event_type)?.schema;
        Some((subject(self.names, topic, schema.name()), event_type.to_owned()))
    }

    async fn ask(&self, (subject, event_type): &(String, String)) -> Result<Result<u32, Failure>, Failure> {
        let Some(found) = self.schemas.get(event_type) else {
            return Ok(Err(self.without_schema(event_type)));
        };
        let problem = match self.registry.look_up(subject, &found.schema).await? {
            LookedUp::Known(id) => return Ok(Ok(id)),
            LookedUp::NoSubject | LookedUp::NoSchema if self.registers => {
                match self.registry.register(subject, &found.schema).await? {
                    Registered::As(id) => return Ok(Ok(id)),
                    Registered::Incompatible(reason) => {
                        format!("is not compatible with those before it: {reason}")
                    }
                    Registered::Refused(reason) => format!("is refused by the schema registry: {reason}"),
                }
            }
            LookedUp::NoSubject => "is not registered: the schema registry has no such subject".to_owned(),
            LookedUp::NoSchema => "is not registered: the subject has other schemas".to_owned(),
            LookedUp::Invalid(reason) => format!("is refused by the schema registry: {reason}"),
        };
        let register = command(&["events", "schemas", "register", event_type]);
        Ok(Err(not_registered(event_type, subject, &problem).hint(format!(
            "`{register}` registers it; its events stay in the outbox and are offered again in 5 minutes"
        ))))
    }

    fn without_schema(&self, event_type: &str) -> Failure {
        let shown = shortened(&one_line(event_type), SHOWN_CHARACTERS).into_owned();
        Failure::configuration(format!("the events `{shown}` have no schema")).hint(format!(
            "{}; its events stay in the outbox and are offered again in 5 minutes",
            self.schemas.file_for(&shown)
        ))
    }

    /// The content of an event's message. Its schema was asked for before.
    pub(super) fn encode(&self, topic: &str, event: &Ready) -> Result<Encoded, NoContent> {
        let key = self.key(topic, &event.event_type);
        let found = key.as_ref().and_then(|key| self.known.get(key)).zip(self.schemas.get(&event.event_type));
        let Some((id, found)) = found else {
            return Err(NoContent::Held(self.without_schema(&event.event_type)));
        };
        let schema_id = *id.as_ref().map_err(|failure| NoContent::Held(failure.clone()))?;
        let datum =
            found.schema.encode(&event.payload).map_err(|misfit| NoContent::Misfit(misfit.to_string()))?;
        Ok(Encoded { schema_id, bytes: framed(schema_id, &datum) })
    }
}
