//! `events schemas register`: puts schemas into the registry. What is there already keeps its id.

use crate::clients::schema_registry::{Registered, SchemaRegistry};
use crate::context::Context;
use crate::failure::Failure;
use crate::wording::share;

use super::{Schemas, Selected, not_registered, shown};

/// Register schemas; those that are there keep their ids
#[derive(Debug, clap::Args)]
pub struct RegisterArgs {
    #[command(flatten)]
    selected: Selected,
}

pub(super) async fn register(cx: &Context, args: &RegisterArgs) -> anyhow::Result<()> {
    let config = &cx.config.events().kafka;
    let schemas = Schemas::load(&cx.config)?;
    args.selected.refuse_unknown(&schemas, &[])?;
    let registry = SchemaRegistry::new(cx)?;
    // Before the first is registered, all that can be wrong here is known.
    let mut wanted = Vec::new();
    for (event_type, found) in schemas.iter().filter(|(event_type, _)| args.selected.has(event_type)) {
        wanted.push((event_type, found, args.selected.subject(config, event_type, found)?));
    }
    let mut refused = Vec::new();
    for (event_type, found, subject) in &wanted {
        let problem = match registry.register(subject, &found.schema).await? {
            Registered::As(id) => {
                cx.output
                    .text(&format!("{}: registered as {id} (subject `{subject}`)\n", shown(event_type)))?;
                continue;
            }
            Registered::Incompatible(reason) => format!("is not compatible with those before it: {reason}"),
            Registered::Refused(reason) => format!("is refused by the schema registry: {reason}"),
        };
        refused.push(not_registered(event_type, subject, &problem).message);
    }
    if refused.is_empty() {
        return Ok(());
    }
    let count = share(refused.len() as u64, wanted.len() as u64, "schema", "schemas");
    Err(Failure::configuration(format!("{count} not registered: {}", refused.join("; ")))
        .hint(
            "change the schema so that both old and new events can be read, such as by a default for a field that is added; \
             if several types share a topic, set subjects = \"record\" in [events.kafka]",
        )
        .into())
}
