//! `events list`: the events of the outbox, newest first.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::jobs::listing::{Selection, beginning, drop_one_more, shown_time, with_one_more};

use super::selection::{EventFilter, EventState};

/// How many events are listed by default.
const DEFAULT_LIMIT: u32 = 20;

/// List events, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List events in this state
    #[arg(long, value_enum, ignore_case = true)]
    state: Option<EventState>,
    #[command(flatten)]
    filter: EventFilter,
    /// List events older than this one: the next page
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// List at most this many
    #[arg(long, default_value_t = DEFAULT_LIMIT)]
    limit: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// A line of the list.
#[derive(Debug, Serialize, FromRow)]
struct Listed {
    id: i64,
    event_id: StoredText,
    event_type: StoredText,
    aggregate_type: StoredText,
    aggregate_id: StoredText,
    occurred_at: StoredTime,
    created_at: StoredTime,
    published_at: Option<StoredTime>,
    dead_at: Option<StoredTime>,
    attempts: i64,
    next_attempt_at: Option<StoredTime>,
    claimed_by: Option<i64>,
    last_error: Option<StoredText>,
}

pub(super) async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let selection = Selection::default().only(args.state.map(EventState::condition));
    let selection = args.filter.narrow(cx, selection)?.with("id < ?", args.before);
    let mut db = cx.db().await?;
    let mut events = select(&mut db, selection, with_one_more(args.limit)).await?;
    db.close().await;
    let are_more = drop_one_more(&mut events, args.limit);
    args.format.print(&cx.output, &events, "no events", |events| table(events, cx.time_zone()))?;
    if let Some(last) = events.last().filter(|_| are_more && args.format == ListFormat::Table) {
        cx.output.data(format!("there are more: --before {} lists the next\n", last.id).as_bytes())?;
    }
    Ok(())
}

async fn select(db: &mut Db, mut selection: Selection, most: i64) -> anyhow::Result<Vec<Listed>> {
    let filter = selection.clause();
    selection.values.push(most.into());
    let texts = ["event_id", "event_type", "aggregate_type", "aggregate_id", "last_error"].map(beginning);
    let sql = format!(
        "SELECT id, {}, occurred_at, created_at, published_at, dead_at, attempts, next_attempt_at,
                {CLAIMED_BY}
         FROM outbox_events WHERE {filter} ORDER BY outbox_events.id DESC LIMIT ${}",
        texts.join(", "),
        selection.values.len()
    );
    Ok(db.fetch_all(&sql, selection.values).await?)
}

/// The run that has an event, as a column of `outbox_events`.
pub(super) const CLAIMED_BY: &str =
    "(SELECT run_id FROM outbox_claims WHERE outbox_id = outbox_events.id) AS claimed_by";

/// Where an event is on its way, for people.
pub(super) fn shown_state(
    published_at: Option<&StoredTime>,
    dead_at: Option<&StoredTime>,
    claimed_by: Option<i64>,
    next_attempt_at: Option<&StoredTime>,
) -> &'static str {
    match (published_at, dead_at, claimed_by, next_attempt_at) {
        (Some(_), ..) => "published",
        (None, Some(_), ..) => "dead",
        (None, None, Some(_), _) => "claimed",
        (None, None, None, Some(_)) => "retry",
        (None, None, None, None) => "waiting",
    }
}

fn table(events: &[Listed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let rows = events.iter().map(|event| {
        let (published, dead, next) = (&event.published_at, &event.dead_at, &event.next_attempt_at);
        let at = published.as_ref().or(dead.as_ref()).or(next.as_ref()).unwrap_or(&event.created_at);
        Row::new(vec![
            Cell::text(event.id.to_string()),
            Cell::text(event.event_type.shown()),
            Cell::text(format!("{} {}", event.aggregate_type.shown(), event.aggregate_id.shown())),
            Cell::text(shown_state(published.as_ref(), dead.as_ref(), event.claimed_by, next.as_ref())),
            Cell::Int(event.attempts),
            Cell::text(shown_time(at, time_zone)),
            Cell::text(event.last_error.as_ref().map_or("", StoredText::shown)),
        ])
    });
    Table {
        key: "events",
        title: String::new(),
        rows: rows.collect(),
        columns: vec![
            text("id", "Event"),
            text("event_type", "Type"),
            text("aggregate", "About"),
            text("state", "State"),
            Column::new("attempts", "Attempts", ColumnKind::Number).wide_only(),
            text("at", "Written, due or ended"),
            text("last_error", "Last error").wide_only(),
        ],
    }
}
