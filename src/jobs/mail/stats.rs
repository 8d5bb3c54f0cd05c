//! `mail stats`: how many mails there are in each state, by kind or by domain.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::jobs::listing::{Selection, shown_time};

use super::selection::MailFilter;

/// What the mails are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Grouping {
    /// The kind of mail
    Kind,
    /// The recipient's domain
    Domain,
}

impl Grouping {
    /// The group of a row. The domain is what follows the last `@`: a name may contain one too.
    fn expression(self) -> &'static str {
        match self {
            Self::Kind => "SUBSTR(kind, 1, 200)",
            Self::Domain => {
                "LOWER(RTRIM(SUBSTR(recipient, LENGTH(RTRIM(recipient, REPLACE(recipient, '@', ''))) + 1, 255), '> '))"
            }
        }
    }
}

/// Count mails by state, and by kind or domain
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// Count by kind or by domain
    #[arg(long, value_enum, default_value = "kind")]
    by: Grouping,
    #[command(flatten)]
    filter: MailFilter,
    /// Show at most this many groups, those with the most mails
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// The counts of a group; `name` is missing in the total of all.
#[derive(Debug, Serialize, FromRow)]
struct Counted {
    name: Option<StoredText>,
    queued: i64,
    sending: i64,
    retry: i64,
    unknown: i64,
    held: i64,
    sent: i64,
    failed: i64,
    cancelled: i64,
    /// When the longest waiting mail was or is due.
    oldest_due_at: Option<StoredTime>,
}

pub(super) async fn stats(cx: &Context, args: &StatsArgs) -> anyhow::Result<()> {
    let selection = args.filter.narrow(cx, Selection::default())?;
    let mut db = cx.db().await?;
    let mut counted = select(&mut db, &selection, "CAST(NULL AS TEXT)", 1).await?;
    counted.extend(select(&mut db, &selection, args.by.expression(), args.limit).await?);
    db.close().await;
    args.format.print(&cx.output, &counted, "no mails", |counted| table(counted, args.by, cx.time_zone()))
}

async fn select(db: &mut Db, selection: &Selection, group: &str, most: u32) -> anyhow::Result<Vec<Counted>> {
    let count =
        |status: &str| format!("COUNT(*) FILTER (WHERE status = '{}') AS {status}", status.to_uppercase());
    let states = ["queued", "sending", "retry", "unknown", "sent", "failed", "cancelled"].map(count);
    let sql = format!(
        "SELECT {group} AS name, {states}, COUNT(*) FILTER (WHERE is_held) AS held,
                MIN(due_at) FILTER (WHERE status IN ('QUEUED', 'RETRY', 'UNKNOWN') AND NOT is_held) AS oldest_due_at
         FROM mails WHERE {filter} GROUP BY 1 ORDER BY COUNT(*) DESC, {by_name} LIMIT {most}",
        by_name = db.by_bytes(group),
        states = states.join(", "),
        filter = selection.clause()
    );
    Ok(db.fetch_all(&sql, selection.values.clone()).await?)
}

fn table(counted: &[Counted], by: Grouping, time_zone: Tz) -> Table {
    let rows = counted
        .iter()
        .map(|group| {
            Row::new(vec![
                Cell::text(group.name.as_ref().map_or("(all)", StoredText::shown)),
                Cell::Int(group.queued),
                Cell::Int(group.sending),
                Cell::Int(group.retry),
                Cell::Int(group.unknown),
                Cell::Int(group.held),
                Cell::Int(group.sent),
                Cell::Int(group.failed),
                Cell::Int(group.cancelled),
                Cell::text(
                    group.oldest_due_at.as_ref().map(|at| shown_time(at, time_zone)).unwrap_or_default(),
                ),
            ])
        })
        .collect();
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let label = match by {
        Grouping::Kind => "Kind",
        Grouping::Domain => "Domain",
    };
    Table {
        key: "mail_stats",
        title: String::new(),
        columns: vec![
            Column::new("name", label, ColumnKind::Text),
            number("queued", "Queued"),
            number("sending", "Sending"),
            number("retry", "Retry"),
            number("unknown", "Unknown"),
            number("held", "Held"),
            number("sent", "Sent"),
            number("failed", "Failed"),
            number("cancelled", "Cancelled"),
            Column::new("oldest_due_at", "Oldest due", ColumnKind::Text),
        ],
        rows,
    }
}
