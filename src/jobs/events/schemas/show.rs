//! `events schemas show`: a schema as it is written.

use crate::context::Context;
use crate::printable::escaped_lines;

use super::{Schemas, without_schema};

/// Show a schema as it is written
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The type of its events, such as order.cancelled
    #[arg(value_name = "TYPE")]
    event_type: String,
}

pub(super) fn show(cx: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let (schemas, broken) = Schemas::load_what_can_be(&cx.config)?;
    if let Some((_, failure)) = broken.into_iter().find(|(event_type, _)| *event_type == args.event_type) {
        return Err(failure.into());
    }
    let Some(found) = schemas.get(&args.event_type) else {
        return Err(without_schema(&schemas, &args.event_type).into());
    };
    let text = escaped_lines(found.schema.text()) + "\n";
    Ok(cx.output.data(text.as_bytes())?)
}
