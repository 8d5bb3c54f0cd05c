//! `events replay`: events that were given up, or that somebody needs once more, wait again.
//!
//! They keep their ids, by which a consumer recognises what it has had, and their place: an event that is replayed is
//! published before those of its aggregate that still wait, and after those that are published already.

use clap::ArgGroup;
use serde_json::json;

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::jobs::listing::Selection;
use crate::values;
use crate::wording::counted;

use super::list::CLAIMED_BY;
use super::selection::{EventFilter, EventState};

/// Events that are replayed in one commit.
const CHUNK: i64 = 500;
/// A row as it was when it was written.
const AS_NEW: &str =
    "published_at = NULL, dead_at = NULL, attempts = 0, next_attempt_at = NULL, last_error = NULL";
/// What can be replayed; what waits is published anyway.
const ENDED: &str = "(published_at IS NOT NULL OR dead_at IS NOT NULL)";

/// Publish events again that were published or given up
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("replayed").required(true).args(["ids", "dead", "published"])))]
pub struct ReplayArgs {
    /// The numbers of the events
    ids: Vec<i64>,
    /// Replay all events that were given up, or only those that match the filters
    #[arg(long)]
    dead: bool,
    /// Replay the published events that match the filters: consumers get them a second time, with the same ids
    #[arg(long)]
    published: bool,
    #[command(flatten)]
    filter: EventFilter,
    /// Count what would be replayed, and replay nothing
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
}

pub(super) async fn replay(cx: &Context, args: &ReplayArgs) -> anyhow::Result<()> {
    if !args.ids.is_empty() && !args.filter.is_empty() {
        return Err(Failure::usage("filters go with --dead or --published, and not with numbers").into());
    }
    if args.published && args.filter.is_empty() {
        return Err(Failure::usage(
            "--published needs a filter: without one it is everything that was ever published",
        )
        .hint("add --since, --event-type or --aggregate-type")
        .into());
    }
    let mut db = cx.db().await?;
    let replayed = if args.ids.is_empty() {
        replay_all(cx, &mut db, args).await?
    } else {
        replay_these(&mut db, &args.ids).await?
    };
    db.close().await;
    let count = counted(replayed, "event", "events");
    let done = match replayed {
        0 => "Nothing to replay".to_owned(),
        _ if args.dry_run => format!("Would replay {count}"),
        _ => format!("Replayed {count}: the next `events publish` publishes them"),
    };
    // Also in a pipe, where the count is what a script asks for.
    if args.ids.is_empty() && !cx.output.is_attended() {
        return Ok(cx.output.data(format!("{done}\n").as_bytes())?);
    }
    cx.output.status(&done);
    Ok(())
}

/// All or none: a typo in the third number must not leave two events changed.
async fn replay_these(db: &mut Db, ids: &[i64]) -> anyhow::Result<u64> {
    db.transaction(async |db| {
        for id in ids {
            replay_one(db, *id).await?;
        }
        Ok(ids.len() as u64)
    })
    .await
}

async fn replay_one(db: &mut Db, id: i64) -> anyhow::Result<()> {
    let sql = format!("UPDATE outbox_events SET {AS_NEW} WHERE id = $1 AND {ENDED}");
    if db.execute(&sql, values![id]).await? == 1 {
        return Ok(());
    }
    let sql = format!("SELECT {CLAIMED_BY} FROM outbox_events WHERE id = $1");
    let found: Option<(Option<i64>,)> = db.fetch_optional(&sql, values![id]).await?;
    Err(match found {
        None => Failure::failed(format!("there is no event {id}; nothing was changed"))
            .hint("`batchctl events list` lists the events"),
        Some((Some(run),)) => {
            Failure::try_later(format!("event {id} is being published by run {run}; nothing was changed"))
        }
        Some((None,)) => {
            Failure::failed(format!("event {id} is already waiting to be published; nothing was changed"))
        }
    }
    .into())
}

async fn replay_all(cx: &Context, db: &mut Db, args: &ReplayArgs) -> anyhow::Result<u64> {
    let state = if args.dead { EventState::Dead } else { EventState::Published };
    let selection = args.filter.narrow(cx, Selection::default().only(Some(state.condition())))?;
    let (mut replayed, mut position) = (0, 0);
    loop {
        let page = selection.clone().with("id > ?", Some(position));
        let sql = format!("SELECT id FROM outbox_events WHERE {} ORDER BY id LIMIT {CHUNK}", page.clause());
        let ids: Vec<(i64,)> = db.fetch_all(&sql, page.values).await?;
        let Some((last,)) = ids.last() else { return Ok(replayed) };
        position = *last;
        let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        replayed += if args.dry_run {
            ids.len() as u64
        } else {
            let sql = format!(
                "UPDATE outbox_events SET {AS_NEW} WHERE id IN {} AND {}",
                db.numbers("$1"),
                state.condition()
            );
            db.execute(&sql, values![json!(ids)]).await?
        };
    }
}

/// Those of these events that were given up wait again.
pub(super) async fn replay_dead(db: &mut Db, ids: &[i64]) -> anyhow::Result<u64> {
    let sql =
        format!("UPDATE outbox_events SET {AS_NEW} WHERE id IN {} AND dead_at IS NOT NULL", db.numbers("$1"));
    Ok(db.execute(&sql, values![json!(ids)]).await?)
}
