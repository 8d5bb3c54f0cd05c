//! `runs list`: the newest runs first, read from an index, however long the history is.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::context::Context;
use crate::db::{Db, FromRow, Problems, Value};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::failure::Failure;
use crate::period::{format_duration, shown_instant};
use crate::printable::escaped;
use crate::runner::history::{EXECUTION_COLUMNS, Execution, Status};
use crate::runner::settling::UNSETTLED;
use crate::wording::counted;
use crate::{spelling, values};

/// How many runs are listed by default.
const DEFAULT_LIMIT: u32 = 20;

/// List runs, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List runs of this job, or of this group of jobs
    #[arg(long)]
    job: Option<String>,
    /// List idle runs too: those of jobs that looked for work and found none
    #[arg(long)]
    all: bool,
    /// List runs whose instance key contains this text, such as a mall's code or a day
    #[arg(long, value_name = "TEXT")]
    instance: Option<String>,
    /// List runs with this status, or one of several
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    status: Vec<Status>,
    /// List only failures that nothing has made good and nobody has dismissed
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
    let since = args.since.as_deref().map(|since| cx.moment("--since", since)).transpose()?;
    let mut db = cx.db().await?;
    let mut runs = select(&mut db, args, since).await?;
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let are_more = runs.len() > most;
    runs.truncate(most);
    if runs.is_empty()
        && let Some(job) = &args.job
    {
        refuse_unknown_job(job)?;
    }
    let is_for_people = args.format == ListFormat::Table;
    if is_for_people && args.is_overview() {
        let incidents = open_incidents(&mut db, args.job.as_deref()).await?;
        cx.output.text(&lines_of(cx, &incidents))?;
    }
    let idle = if args.folds_idle_runs() {
        // As far back as the list goes.
        let oldest = runs.last().map_or(0, |oldest| oldest.id);
        idle_runs(&mut db, args.job.as_deref(), oldest, since).await?
    } else {
        Vec::new()
    };
    db.close().await;
    args.format.print(&cx.output, &runs, "no runs", |runs| table(runs, cx.time_zone()))?;
    if are_more && is_for_people {
        let more = format!("the newest {} (--limit lists more)\n", counted(args.limit, "run", "runs"));
        cx.output.data(more.as_bytes())?;
    }
    if !idle.is_empty() {
        cx.output.text(&sentence_of(cx, &idle))?;
    }
    Ok(())
}

impl ListArgs {
    /// Whether the list is about everything, and not about certain runs.
    fn is_overview(&self) -> bool {
        self.instance.is_none() && self.status.is_empty() && self.since.is_none() && !self.open
    }

    /// Programs get every run; people a line for those that did nothing.
    fn folds_idle_runs(&self) -> bool {
        let is_filtered = !self.status.is_empty() || self.instance.is_some() || self.open;
        self.format == ListFormat::Table && !self.all && !is_filtered
    }
}

/// A run that looked for work and found none.
const IDLE: &str = "(status = 'COMPLETED' AND instance_key = '' AND items_written = 0 AND items_skipped = 0
                     AND items_failed = 0 AND retry_of IS NULL)";

/// A job that failed, or is slow, and has not recovered.
#[derive(FromRow)]
struct OpenIncident {
    job: String,
    kind: String,
    opened_at: DateTime<Utc>,
    occurrences: i64,
    last_execution_id: i64,
    #[row(problems)]
    problems: Problems,
}

async fn open_incidents(db: &mut Db, job: Option<&str>) -> anyhow::Result<Vec<OpenIncident>> {
    let sql = "SELECT job, kind, opened_at, occurrences, last_execution_id FROM batch_incident
               WHERE closed_at IS NULL ORDER BY kind, opened_at, id";
    let mut incidents: Vec<OpenIncident> = db.fetch_all(sql, values![]).await?;
    incidents.retain(|incident| job.is_none_or(|job| is_of(&incident.job, job)));
    Ok(incidents)
}

/// Whether a job is this one, or of this group.
fn is_of(job: &str, name: &str) -> bool {
    job == name || job.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
}

fn lines_of(cx: &Context, incidents: &[OpenIncident]) -> String {
    let mut text = String::new();
    for incident in incidents {
        let since = shown(cx, incident.opened_at, &incident.problems);
        let what = match (incident.kind.as_str(), incident.occurrences) {
            ("SLOW", _) => "is slower than usual".to_owned(),
            (_, 1) => "failed".to_owned(),
            (_, times) => format!("failed {times} times"),
        };
        let look = cx.local_command(&format!("runs show {}", incident.last_execution_id));
        text.push_str(&format!("! {} {what}, open since {since}: {look}\n", escaped(&incident.job)));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The idle runs of a job: how many, and when the last one started.
#[derive(FromRow)]
struct Idle {
    job: String,
    runs: i64,
    last_started_at: DateTime<Utc>,
    #[row(problems)]
    problems: Problems,
}

/// The idle runs among the listed ones, which are not listed.
async fn idle_runs(
    db: &mut Db,
    job: Option<&str>,
    oldest: i64,
    since: Option<DateTime<Utc>>,
) -> anyhow::Result<Vec<Idle>> {
    let sql = format!(
        "SELECT job, COUNT(*) AS runs, MAX(started_at) AS last_started_at FROM batch_execution
         WHERE id >= $1 AND started_at >= $2 AND {IDLE} GROUP BY job"
    );
    let since = since.unwrap_or(DateTime::UNIX_EPOCH);
    let mut idle: Vec<Idle> = db.fetch_all(&sql, values![oldest, since]).await?;
    idle.retain(|idle| job.is_none_or(|job| is_of(&idle.job, job)));
    idle.sort_by(|one, other| other.runs.cmp(&one.runs).then_with(|| one.job.cmp(&other.job)));
    Ok(idle)
}

/// An instant for people; a question mark where it cannot be read.
fn shown(cx: &Context, at: DateTime<Utc>, problems: &Problems) -> String {
    if problems.is_empty() { shown_instant(at, cx.time_zone()) } else { "?".to_owned() }
}

fn sentence_of(cx: &Context, idle: &[Idle]) -> String {
    let runs: i64 = idle.iter().map(|idle| idle.runs).sum();
    let jobs: Vec<String> = idle
        .iter()
        .map(|idle| {
            let last = shown(cx, idle.last_started_at, &idle.problems);
            format!("{} {}, the last {last}", escaped(&idle.job), idle.runs)
        })
        .collect();
    format!("\nand {} that found nothing to do (--all): {}\n", counted(runs, "run", "runs"), jobs.join("; "))
}

fn refuse_unknown_job(name: &str) -> Result<(), Failure> {
    let jobs: Vec<&str> = crate::jobs::specs().map(|spec| spec.name).collect();
    if jobs.iter().any(|job| is_of(job, name)) {
        return Ok(());
    }
    let advice = spelling::advice(name, jobs.iter().copied());
    Err(Failure::usage(format!("`{name}` is not a job or a group of jobs{advice}")))
}

/// What needs somebody's attention, as a table of ids: a failure that is neither settled nor dismissed, and one whose items
/// are not all done. A sweep that found another one at work is no failure. Materialised, because it is a handful of rows
/// that PostgreSQL would otherwise look for behind each run of the history.
fn open_failures() -> String {
    format!(
        "WITH open AS MATERIALIZED (
             SELECT id FROM batch_execution WHERE {UNSETTLED} AND NOT (status = 'REFUSED' AND instance_key = '')
             UNION
             SELECT failed.id FROM batch_execution failed
             WHERE failed.status IN ('PARTIAL', 'FAILED') AND failed.dismissed_at IS NULL
               AND EXISTS (SELECT 1 FROM batch_error_log
                           WHERE execution_id = failed.id AND resolved_at IS NULL))"
    )
}

/// Builds the WHERE clause from the given filters: a condition on one that was not given would defeat its index.
async fn select(
    db: &mut Db,
    args: &ListArgs,
    since: Option<DateTime<Utc>>,
) -> anyhow::Result<Vec<Execution>> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if args.folds_idle_runs() {
        conditions.push(format!("NOT {IDLE}"));
    }
    if let Some(job) = &args.job {
        if job.contains(' ') {
            values.push(job.as_str().into());
            conditions.push(format!("job = ${}", values.len()));
        } else {
            // The jobs of a group. Not LIKE, whose wildcards a name may contain.
            let function = db.pick("instr", "strpos");
            values.push(format!("{job} ").into());
            conditions.push(format!("{function}(job, ${}) = 1", values.len()));
        }
    }
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("${}", values.len())));
    };
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
        conditions.push("id IN (SELECT id FROM open)".to_owned());
    }
    // One more tells whether there are more.
    values.push((i64::from(args.limit) + 1).into());
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let open = if args.open { open_failures() } else { String::new() };
    let sql = format!(
        "{open} SELECT {EXECUTION_COLUMNS} FROM batch_execution {filter} ORDER BY id DESC LIMIT ${}",
        values.len()
    );
    Ok(db.fetch_all(&sql, values).await?)
}

/// The status of a run, with a mark before one that a person may have to look at: colour alone would not be seen in a log,
/// or by everybody.
fn marked(status: &str) -> String {
    let is_trouble = ["FAILED", "PARTIAL", "TIMED_OUT", "CRASHED"].contains(&status);
    if is_trouble { format!("! {status}") } else { status.to_owned() }
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
                Cell::text(run.title.as_deref().unwrap_or(&run.instance_key)),
                Cell::text(marked(&run.status)),
                Cell::Int(run.attempt),
                // Where the time cannot be read, there is room to say what is wrong.
                Cell::text(if run.problems.is_empty() {
                    shown_instant(run.started_at, time_zone)
                } else {
                    format!("! {}", run.problems)
                }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};

    on_both_databases![open_failures_are_found_among_many_successes];

    async fn open_failures_are_found_among_many_successes(db: &mut TestDb) {
        db.completed_runs(4_000).await;
        let sql = format!(
            "{} SELECT id FROM batch_execution WHERE id IN (SELECT id FROM open) ORDER BY id DESC LIMIT $1",
            open_failures()
        );
        assert!(!db.compares_all_pairs(&sql, values![20]).await);
    }
}
