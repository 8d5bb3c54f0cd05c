//! The schemas that events are written by: ours, which come with the program, and the shop's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::avro::AvroSchema;
use crate::config::Config;
use crate::event_schemas::BUILT_IN;
use crate::failure::Failure;
use crate::printable::escaped;

/// What the name of a schema's file ends in, behind the type of its events.
const ENDING: &str = ".avsc";
/// A schema is read by people; a file with more is another one.
const MOST_BYTES: u64 = 1024 * 1024;

/// A schema, and where it is from.
#[derive(Debug)]
pub(in crate::jobs::events) struct EventSchema {
    /// The schema.
    pub(in crate::jobs::events) schema: AvroSchema,
    /// Its file, unless it comes with the program.
    pub(in crate::jobs::events) file: Option<PathBuf>,
    /// What its events are about, of those that our own jobs write.
    pub(in crate::jobs::events) aggregate_type: Option<&'static str>,
}

impl EventSchema {
    /// Where it is from, for people.
    pub(in crate::jobs::events) fn origin(&self) -> String {
        self.file
            .as_ref()
            .map_or_else(|| "built in".to_owned(), |file| escaped(&file.display().to_string()).into_owned())
    }
}

/// The schemas by the type of event.
#[derive(Debug)]
pub(in crate::jobs::events) struct Schemas {
    known: BTreeMap<String, EventSchema>,
    folder: Option<PathBuf>,
}

impl Schemas {
    /// All of them. One that cannot be read is an error that names its file: events by it could only be wrong.
    pub(in crate::jobs::events) fn load(config: &Config) -> Result<Self, Failure> {
        let (schemas, mut broken) = Self::load_what_can_be(config)?;
        if broken.is_empty() { Ok(schemas) } else { Err(broken.swap_remove(0).1) }
    }

    /// All that can be read, and of each other one its type and why not.
    pub(in crate::jobs::events) fn load_what_can_be(
        config: &Config,
    ) -> Result<(Self, Vec<(String, Failure)>), Failure> {
        let mut schemas = Self { known: BTreeMap::new(), folder: config.events().kafka.schemas.clone() };
        let mut broken = Vec::new();
        let mut own = BTreeMap::new();
        if let Some(folder) = &schemas.folder {
            own = files(config, folder)?;
        }
        for built_in in BUILT_IN {
            // The shop's own is read in its place.
            if own.contains_key(built_in.event_type) {
                continue;
            }
            let schema = AvroSchema::parse(built_in.text).map_err(|problem| {
                Failure::failed(format!(
                    "the built-in schema of `{}` is broken: {problem}",
                    built_in.event_type
                ))
            })?;
            let schema = EventSchema { schema, file: None, aggregate_type: Some(built_in.aggregate_type) };
            schemas.known.insert(built_in.event_type.to_owned(), schema);
        }
        for (event_type, file) in own {
            match read(config, &file) {
                Ok(schema) => {
                    let built_in = BUILT_IN.iter().find(|built_in| built_in.event_type == event_type);
                    let aggregate_type = built_in.map(|built_in| built_in.aggregate_type);
                    schemas
                        .known
                        .insert(event_type, EventSchema { schema, file: Some(file), aggregate_type });
                }
                Err(failure) => broken.push((event_type, failure)),
            }
        }
        Ok((schemas, broken))
    }

    /// The schema of the events of a type.
    pub(in crate::jobs::events) fn get(&self, event_type: &str) -> Option<&EventSchema> {
        self.known.get(event_type)
    }

    /// Each of them with its type.
    pub(in crate::jobs::events) fn iter(&self) -> impl Iterator<Item = (&str, &EventSchema)> {
        self.known.iter().map(|(event_type, schema)| (event_type.as_str(), schema))
    }

    /// Which file the schema of a type would be in.
    pub(in crate::jobs::events) fn file_for(&self, event_type: &str) -> String {
        let name = escaped(&format!("{event_type}{ENDING}")).into_owned();
        match &self.folder {
            Some(folder) => format!("write `{}`", folder.join(name).display()),
            None => format!(
                "write `schemas/{name}`, and set schemas = \"schemas\" in [events.kafka] of batchctl.toml"
            ),
        }
    }
}

/// The files of a folder by the types of their events. Other files are no matter of ours.
fn files(config: &Config, folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::configuration(format!(
            "failed to read the folder `{}` (`events.kafka.schemas`): {error}",
            folder.display()
        ))
        .hint("create it, or correct `events.kafka.schemas`")
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(config.working_dir().join(folder)).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let event_type = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        if let Some(event_type) =
            event_type.filter(|event_type| !event_type.is_empty() && !event_type.starts_with('.'))
        {
            files.insert(event_type.to_owned(), folder.join(&name));
        }
    }
    Ok(files)
}

fn read(config: &Config, file: &Path) -> Result<AvroSchema, Failure> {
    let failed = |problem: String| {
        Failure::configuration(format!(
            "failed to read the schema `{}`: {problem}",
            escaped(&file.display().to_string())
        ))
        .hint("correct the file; `batchctl events schemas check --offline` reads all of them")
    };
    let path = config.working_dir().join(file);
    let metadata = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a file".to_owned()));
    }
    if metadata.len() > MOST_BYTES {
        return Err(failed(format!("it has {} bytes, of at most {MOST_BYTES}", metadata.len())));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    AvroSchema::parse(&text).map_err(|problem| failed(escaped(&problem).into_owned()))
}
