//! `events show`: everything known about an event.

use std::fmt::Write;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::failure::Failure;
use crate::jobs::listing::{beginning, shown_time};
use crate::printable::{escaped, escaped_lines};
use crate::values;

use super::list::{CLAIMED_BY, shown_state};

/// The most characters that are shown of the payload and the headers.
const SHOWN_PAYLOAD_CHARACTERS: u32 = 1_000_000;

/// Show everything known about an event
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The number of the event, or its event ID
    id: String,
    /// Show the headers and the payload, which may hold personal data
    #[arg(long)]
    full: bool,
}

#[derive(FromRow)]
struct Shown {
    id: i64,
    event_id: StoredText,
    event_type: StoredText,
    aggregate_type: StoredText,
    aggregate_id: StoredText,
    payload: StoredText,
    payload_bytes: i64,
    headers: StoredText,
    occurred_at: StoredTime,
    created_at: StoredTime,
    published_at: Option<StoredTime>,
    attempts: i64,
    next_attempt_at: Option<StoredTime>,
    last_error: Option<StoredText>,
    dead_at: Option<StoredTime>,
    claimed_by: Option<i64>,
}

pub(super) async fn show(cx: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let found = read(&mut db, &args.id).await?;
    db.close().await;
    let Some(event) = found else {
        return Err(Failure::failed(format!("there is no event {}", escaped(&args.id)))
            .hint("`batchctl events list` lists the events")
            .into());
    };
    Ok(cx.output.text(&text(cx, args, &event)?)?)
}

/// Reads an event by its number or its event ID, of its texts no more than can be shown.
async fn read(db: &mut Db, id: &str) -> anyhow::Result<Option<Shown>> {
    let heads = ["event_id", "event_type", "aggregate_type", "aggregate_id", "last_error"].map(beginning);
    let bodies = ["payload", "headers"]
        .map(|column| format!("SUBSTR({column}, 1, {SHOWN_PAYLOAD_CHARACTERS}) AS {column}"));
    let number: Option<i64> = id.parse().ok();
    let which = if number.is_some() { "id = $1" } else { "event_id = $1" };
    let sql = format!(
        "SELECT id, {}, {}, CAST(OCTET_LENGTH(payload) AS BIGINT) AS payload_bytes, occurred_at, created_at, published_at,
                attempts, next_attempt_at, dead_at, {CLAIMED_BY}
         FROM outbox_events WHERE {which}",
        heads.join(", "),
        bodies.join(", ")
    );
    let value = number.map_or_else(|| values![id.to_lowercase()], |number| values![number]);
    Ok(db.fetch_optional(&sql, value).await?)
}

fn text(cx: &Context, args: &ShowArgs, event: &Shown) -> anyhow::Result<String> {
    let time = |at: &StoredTime| shown_time(at, cx.time_zone());
    let (published, dead, next) = (&event.published_at, &event.dead_at, &event.next_attempt_at);
    let state = shown_state(published.as_ref(), dead.as_ref(), event.claimed_by, next.as_ref());
    let mut lines: Vec<(&str, String)> = vec![
        ("event", event.id.to_string()),
        ("event id", event.event_id.shown().to_owned()),
        ("type", event.event_type.shown().to_owned()),
        ("about", format!("{} {}", event.aggregate_type.shown(), event.aggregate_id.shown())),
        ("state", state.to_owned()),
        ("occurred", time(&event.occurred_at)),
        ("written", time(&event.created_at)),
        ("attempts", event.attempts.to_string()),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("published", published.as_ref().map(time));
    add("given up", dead.as_ref().map(time));
    add("next attempt", next.as_ref().map(time));
    add("claimed by", event.claimed_by.map(|run| format!("run {run}")));
    add("last error", event.last_error.as_ref().map(|error| error.shown().to_owned()));
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<13} {}", escaped(&value))?;
    }
    if !args.full {
        writeln!(text, "(--full shows the headers and the payload of {} bytes)", event.payload_bytes)?;
        return Ok(text);
    }
    writeln!(text, "{:<13} {}", "headers", escaped(event.headers.shown()))?;
    let payload = event.payload.shown();
    writeln!(text, "\n{}", escaped_lines(payload))?;
    if usize::try_from(event.payload_bytes).is_ok_and(|bytes| bytes > payload.len()) {
        writeln!(text, "(cut: the payload has {} bytes)", event.payload_bytes)?;
    }
    Ok(text)
}
