//! `events schemas list`: which types of events have a schema, and where it is from.

use serde::Serialize;

use crate::context::Context;
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::failure::Failure;
use crate::wording::share;

use super::{Schemas, subject_of};

/// List the schemas: those that come with the program, and your own
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    event_type: String,
    record: String,
    origin: String,
    /// Its name in the registry; none if it depends on what the events are about.
    subject: Option<String>,
    problem: Option<String>,
}

pub(super) fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let config = &cx.config.events().kafka;
    let (schemas, broken) = Schemas::load_what_can_be(&cx.config)?;
    let mut rows: Vec<Listed> = schemas
        .iter()
        .map(|(event_type, found)| Listed {
            event_type: event_type.to_owned(),
            record: found.schema.name().to_owned(),
            origin: found.origin(),
            subject: subject_of(config, event_type, found, None).ok(),
            problem: None,
        })
        .collect();
    rows.extend(broken.into_iter().map(|(event_type, failure)| Listed {
        event_type,
        record: String::new(),
        origin: String::new(),
        subject: None,
        problem: Some(failure.message),
    }));
    rows.sort_by(|one, other| one.event_type.cmp(&other.event_type));
    args.format.print(&cx.output, &rows, "no schemas", table)?;
    let broken = rows.iter().filter(|row| row.problem.is_some()).count() as u64;
    if broken == 0 {
        return Ok(());
    }
    let share = share(broken, rows.len() as u64, "schema", "schemas");
    Err(Failure::configuration(format!("{share} not readable: see above"))
        .hint("correct the file; `batchctl events schemas check --offline` reads all of them")
        .into())
}

fn table(rows: &[Listed]) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let rows = rows.iter().map(|row| {
        Row::new(vec![
            Cell::text(row.event_type.clone()),
            Cell::text(row.problem.clone().unwrap_or_else(|| row.record.clone())),
            Cell::text(row.origin.clone()),
            Cell::text(match &row.subject {
                None if row.problem.is_none() => "by --aggregate-type",
                subject => subject.as_deref().unwrap_or_default(),
            }),
        ])
    });
    Table {
        key: "schemas",
        title: String::new(),
        rows: rows.collect(),
        columns: vec![
            text("event_type", "Type"),
            text("record", "Record"),
            text("origin", "From").wide_only(),
            text("subject", "Subject").wide_only(),
        ],
    }
}
