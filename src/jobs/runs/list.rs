//! `runs list`: the newest runs first, read from an index, however long the history is.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::context::Context;
use crate::db::{Db, Value};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::failure::Failure;
use crate::period::{day_bounds, format_duration, parse_day, parse_duration, shown_instant};
use crate::runner::history::{EXECUTION_COLUMNS, Execution, Status};

/// How many runs are listed by default.
const DEFAULT_LIMIT: u32 = 20;

/// List runs, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List runs of this job
    #[arg(long)]
    job: Option<String>,
    /// List runs whose instance key contains this text, such as a mall's code or a day
    #[arg(long, value_name = "TEXT")]
    instance: Option<String>,
    /// List runs with this status, or one of several
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    status: Vec<Status>,
    /// Omit runs whose instance has been completed since
    #[arg(long)]
    open: bool,
    /// List runs started since this day, instant (RFC 3339) or duration ago, such as 2h
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<String>,
    /// List at most this many
    #[arg(long, default_value_t = DEFAULT_LIMIT)]
    limit: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

pub(super) async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let since = args.since.as_deref().map(|since| instant(cx, since)).transpose()?;
    let mut db = cx.db().await?;
    let runs = select(&mut db, args, since).await?;
    db.close().await;
    args.format.print(&cx.output, &runs, "no runs", |runs| table(runs, cx.time_zone()))
}

/// An instance that was completed since needs no attention.
const OPEN: &str = "NOT EXISTS (
    SELECT 1 FROM batch_execution AS later
    WHERE later.job = batch_execution.job AND later.instance_key = batch_execution.instance_key
      AND later.id > batch_execution.id AND later.status = 'COMPLETED')";

/// Builds the WHERE clause from the given filters only: a condition that is always present would defeat its index.
async fn select(
    db: &mut Db,
    args: &ListArgs,
    since: Option<DateTime<Utc>>,
) -> anyhow::Result<Vec<Execution>> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("${}", values.len())));
    };
    if let Some(job) = &args.job {
        add("job = ?", job.into());
    }
    if let Some(instance) = &args.instance {
        // Not LIKE: it ignores case only on SQLite, and a key may contain its wildcards.
        let contains = db.pick("instr(instance_key, ?) > 0", "strpos(instance_key, ?) > 0");
        add(contains, instance.as_str().into());
    }
    match args.status.as_slice() {
        [] => {}
        [status] => add("status = ?", status.word().into()),
        several => {
            let words: Vec<&str> = several.iter().map(|status| status.word()).collect();
            add(&format!("status IN {}", db.elements("?")), json!(words).into());
        }
    }
    if let Some(since) = since {
        add("started_at >= ?", since.into());
    }
    if args.open {
        conditions.push(OPEN.to_owned());
    }
    values.push(i64::from(args.limit).into());
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution {filter} ORDER BY id DESC LIMIT ${}",
        values.len()
    );
    Ok(db.fetch_all(&sql, values).await?)
}

/// Parses `--since`: a day of the business time zone, an instant, or a duration before now.
fn instant(cx: &Context, text: &str) -> anyhow::Result<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    if let Ok(ago) = parse_duration(text) {
        return Ok(cx.now() - ago);
    }
    match parse_day(text, cx.today()) {
        Ok(day) => Ok(day_bounds(day, cx.time_zone()).start),
        Err(error) => Err(Failure::usage(format!("--since: {error}"))
            .hint("or an instant (RFC 3339), or a duration such as 2h")
            .into()),
    }
}

fn table(runs: &[Execution], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let rows = runs
        .iter()
        .map(|run| {
            let duration = run.duration_ms.and_then(|ms| u64::try_from(ms).ok());
            Row::new(vec![
                Cell::text(run.id.to_string()),
                Cell::text(run.job.as_str()),
                Cell::text(run.instance_key.as_str()),
                Cell::text(run.status.as_str()),
                Cell::Int(run.attempt),
                Cell::text(shown_instant(run.started_at, time_zone)),
                Cell::text(
                    duration
                        .map_or(String::new(), |ms| format_duration(std::time::Duration::from_millis(ms))),
                ),
                Cell::Int(run.items_written),
                run.exit_code.map_or(Cell::Empty, |code| Cell::text(code.to_string())),
            ])
        })
        .collect();
    Table {
        key: "runs",
        title: String::new(),
        columns: vec![
            text("id", "Run"),
            text("job", "Job"),
            text("instance", "Instance"),
            text("status", "Status"),
            number("attempt", "Attempt").wide_only(),
            text("started_at", "Started"),
            text("duration", "Took"),
            number("items_written", "Written").wide_only(),
            text("exit_code", "Exit").wide_only(),
        ],
        rows,
    }
}
