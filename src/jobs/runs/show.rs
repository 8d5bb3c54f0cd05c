//! `runs show` and `runs errors`: everything known about one run.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::documents::ListFormat;
use crate::failure::Failure;
use crate::period::format_duration;
use crate::printable::{escaped, escaped_json};
use crate::runner::arguments;
use crate::runner::history::{self, Execution};
use crate::values;

/// How many item errors are shown by default.
const DEFAULT_LIMIT: i64 = 100;

/// Show everything known about a run
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The ID of the run
    id: i64,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// Show the items of a run that failed or were skipped
#[derive(Debug, clap::Args)]
pub struct ErrorsArgs {
    /// The ID of the run
    id: i64,
    /// Show at most this many
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(i64).range(0..))]
    limit: i64,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// A run that must exist.
pub(super) async fn existing_run(db: &mut Db, id: i64) -> anyhow::Result<Execution> {
    let run = history::find(db, id).await?;
    run.ok_or_else(|| Failure::usage(format!("there is no run {id}")).hint("batchctl runs list").into())
}

pub(super) async fn show(cx: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let open_items = history::open_items(&mut db, run.id).await?.len();
    db.close().await;
    let text = match args.format {
        ListFormat::Json => escaped_json(&serde_json::to_string_pretty(&run)?).into_owned() + "\n",
        ListFormat::Table => describe(cx, &run, open_items),
    };
    Ok(cx.output.text(&text)?)
}

/// The command that repeats a run. A stored text may be anybody's: its words stay words.
fn repeat(cx: &Context, run: &Execution) -> String {
    let words = arguments::split(&run.command_line).unwrap_or_default();
    cx.local_command(&shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default())
}

/// One line per fact; missing facts are left out.
fn describe(cx: &Context, run: &Execution, open_items: usize) -> String {
    let time = |time: DateTime<Utc>| {
        format!(
            "{} ({})",
            time.format("%Y-%m-%d %H:%M:%SZ"),
            time.with_timezone(&cx.time_zone()).format("%H:%M:%S %Z")
        )
    };
    let milliseconds = |ms: i64| format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let facts: Vec<(&str, Option<String>)> = vec![
        ("run", Some(run.id.to_string())),
        ("job", Some(run.label())),
        ("status", Some(run.status.clone())),
        ("attempt", Some(run.attempt.to_string())),
        ("started", Some(time(run.started_at))),
        ("ended", run.ended_at.map(time)),
        ("heartbeat", (run.status == "RUNNING").then(|| time(run.heartbeat_at))),
        ("took", run.duration_ms.map(milliseconds)),
        ("exit code", run.exit_code.map(|code| code.to_string())),
        ("error", run.error_message.clone()),
        ("items", Some(items(run))),
        ("summary", run.summary.as_ref().map(|summary| summary.replace('\n', "; "))),
        ("checkpoint", run.checkpoint.clone()),
        ("peak memory", run.peak_memory_bytes.map(|bytes| format!("{} MiB", bytes / 1024 / 1024))),
        ("CPU time", run.cpu_time_ms.map(milliseconds)),
        ("unreadable", (!run.problems.is_empty()).then(|| run.problems.to_string())),
        ("process", Some(format!("{} on {}", run.pid, run.host))),
        (
            "lease",
            run.exclusion_key
                .as_ref()
                .filter(|_| run.epoch > 0)
                .map(|key| format!("{key} (epoch {})", run.epoch)),
        ),
        ("retry of", run.retry_of.map(|id| id.to_string())),
        ("settled by", run.settled_by.map(|id| format!("run {id}"))),
        (
            "dismissed",
            run.dismissed_at.map(|at| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                format!("{} by {}: {}", time(at), text(&run.dismissed_by), text(&run.dismissed_reason))
            }),
        ),
        ("version", Some(run.version.clone())),
        ("environment", Some(run.environment.clone())),
        ("command", Some(repeat(cx, run))),
        (
            "open items",
            (open_items > 0).then(|| {
                let look = cx.local_command(&format!("runs errors {}", run.id));
                let retry = cx.local_command(&format!("runs retry {}", run.id));
                format!("{open_items} (inspect: {look}; retry: {retry})")
            }),
        ),
    ];
    let mut text = String::new();
    for (name, value) in facts {
        if let Some(value) = value {
            text.push_str(&format!("{name:<13} {}\n", escaped(&value)));
        }
    }
    text
}

#[derive(FromRow, serde::Serialize)]
struct ErrorRow {
    item_key: String,
    phase: String,
    kind: String,
    error_class: String,
    message: String,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    #[row(problems)]
    #[serde(skip_serializing_if = "Problems::is_empty")]
    problems: Problems,
}

pub(super) async fn errors(cx: &Context, args: &ErrorsArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let rows: Vec<ErrorRow> = db
        .fetch_all(
            "SELECT item_key, phase, kind, error_class, message, created_at, resolved_at FROM batch_error_log
             WHERE execution_id = $1 ORDER BY id LIMIT $2",
            values![run.id, args.limit],
        )
        .await?;
    let (total,): (i64,) =
        db.fetch_one("SELECT COUNT(*) FROM batch_error_log WHERE execution_id = $1", values![run.id]).await?;
    db.close().await;
    let text = match args.format {
        ListFormat::Json => escaped_json(&serde_json::to_string_pretty(&rows)?).into_owned() + "\n",
        ListFormat::Table if rows.is_empty() => format!("run {} has no failed or skipped items\n", run.id),
        ListFormat::Table => {
            let mut text = String::new();
            for row in &rows {
                let resolved = if row.resolved_at.is_some() { " (resolved)" } else { "" };
                let problems = if row.problems.is_empty() {
                    String::new()
                } else {
                    format!(" (unreadable: {})", row.problems)
                };
                let line = format!("{} {}: {}{resolved}{problems}", row.kind, row.item_key, row.message);
                text.push_str(&escaped(&line));
                text.push('\n');
            }
            if total > args.limit {
                text.push_str(&format!("{} more: add --limit {total}\n", total - args.limit));
            }
            text
        }
    };
    Ok(cx.output.text(&text)?)
}
/// The items in numbers, counted as in the row. A run's message counts those that were skipped among the failed ones.
fn items(run: &Execution) -> String {
    let skipped = match run.items_skipped {
        0 => String::new(),
        1 => ", 1 skipped because of its data".to_owned(),
        skipped => format!(", {skipped} skipped because of their data"),
    };
    format!("{} read, {} written, {} failed{skipped}", run.items_read, run.items_written, run.items_failed)
}
