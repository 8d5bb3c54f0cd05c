//! `mail list`: the mails in the queue, newest first.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::jobs::listing::{Selection, beginning, drop_one_more, shown_time, with_one_more};
use crate::mask::mask_email;
use crate::wording::counted;

use super::selection::MailFilter;

/// How many mails are listed by default.
const DEFAULT_LIMIT: u32 = 20;

/// The states of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MailStatus {
    /// Waits for its first attempt
    Queued,
    /// Is being sent
    Sending,
    /// Was accepted by the server
    Sent,
    /// Waits for another attempt
    Retry,
    /// Was handed over, but no reply arrived
    Unknown,
    /// Was refused or given up on
    Failed,
    /// Was cancelled, or is no longer wanted
    Cancelled,
}

impl MailStatus {
    /// Its value in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sending => "SENDING",
            Self::Sent => "SENT",
            Self::Retry => "RETRY",
            Self::Unknown => "UNKNOWN",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// List mails, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List mails in this state
    #[arg(long, value_enum, ignore_case = true)]
    status: Option<MailStatus>,
    #[command(flatten)]
    filter: MailFilter,
    /// List mails older than this one: the next page
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
    kind: StoredText,
    locale: Option<StoredText>,
    recipient: StoredText,
    subject: Option<StoredText>,
    status: String,
    is_held: bool,
    attempts: i64,
    priority: i64,
    queued_at: StoredTime,
    due_at: StoredTime,
    ended_at: Option<StoredTime>,
    last_reply: Option<StoredText>,
}

pub(super) async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    // In the text rather than as a value: the partial index of the rare states is found by its literals.
    let status = args.status.map(|status| format!("status = '{}'", status.word()));
    let selection = Selection::default().only(status.as_deref());
    let selection = args.filter.narrow(cx, selection)?.with("id < ?", args.before);
    let mut db = cx.db().await?;
    let mut mails = select(&mut db, selection, with_one_more(args.limit)).await?;
    db.close().await;
    let are_more = drop_one_more(&mut mails, args.limit);
    args.format.print(&cx.output, &mails, "no mails", |mails| table(mails, cx.time_zone()))?;
    if let Some(last) = mails.last().filter(|_| are_more && args.format == ListFormat::Table) {
        let more = format!("there are more: --before {} lists the next, `mail stats` counts them\n", last.id);
        cx.output.data(more.as_bytes())?;
    }
    Ok(())
}

async fn select(db: &mut Db, mut selection: Selection, most: i64) -> anyhow::Result<Vec<Listed>> {
    let filter = selection.clause();
    selection.values.push(most.into());
    let sql = format!(
        "SELECT id, {kind}, {locale}, {recipient}, {subject}, status, is_held, attempts, priority, queued_at, due_at, ended_at,
                {last_reply}
         FROM mails WHERE {filter} ORDER BY mails.id DESC LIMIT ${last}",
        kind = beginning("kind"),
        locale = beginning("locale"),
        recipient = beginning("recipient"),
        subject = beginning("subject"),
        last_reply = beginning("last_reply"),
        last = selection.values.len()
    );
    Ok(db.fetch_all(&sql, selection.values).await?)
}

/// Says below a table how many there are beside those that it shows: also in a pipe.
pub(super) fn print_rest(
    cx: &Context,
    format: ListFormat,
    shown: usize,
    offset: u32,
    total: i64,
    one: &str,
    many: &str,
) -> anyhow::Result<()> {
    let first = i64::from(offset);
    let last = first + i64::try_from(shown)?;
    if format == ListFormat::Table && shown > 0 && (first > 0 || last < total) {
        let more = if last < total { " (--limit and --offset list the others)" } else { "" };
        let line = format!("{} to {last} of {}{more}\n", first + 1, counted(total, one, many));
        cx.output.data(line.as_bytes())?;
    }
    Ok(())
}

/// The state as shown to people: a mail that waits for a decision says so.
pub(super) fn shown_status(status: &str, is_held: bool) -> String {
    if is_held { format!("{status} (held)") } else { status.to_owned() }
}

fn table(mails: &[Listed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let time = |at: &StoredTime| shown_time(at, time_zone);
    let shown = |text: &Option<StoredText>| Cell::text(text.as_ref().map_or("", StoredText::shown));
    let rows = mails
        .iter()
        .map(|mail| {
            let waits = matches!(mail.status.as_str(), "QUEUED" | "RETRY" | "UNKNOWN") && !mail.is_held;
            Row::new(vec![
                Cell::text(mail.id.to_string()),
                Cell::text(mail.kind.shown()),
                Cell::text(mask_email(mail.recipient.shown())),
                shown(&mail.subject),
                Cell::text(shown_status(&mail.status, mail.is_held)),
                Cell::Int(mail.attempts),
                Cell::text(if waits {
                    time(&mail.due_at)
                } else {
                    mail.ended_at.as_ref().map(time).unwrap_or_default()
                }),
                shown(&mail.last_reply),
            ])
        })
        .collect();
    Table {
        key: "mails",
        title: String::new(),
        columns: vec![
            text("id", "Mail"),
            text("kind", "Kind"),
            text("recipient", "To"),
            text("subject", "Subject"),
            text("status", "Status"),
            number("attempts", "Attempts").wide_only(),
            text("at", "Due or ended"),
            text("last_reply", "Last reply").wide_only(),
        ],
        rows,
    }
}
