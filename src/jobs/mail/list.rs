//! `mail list`: the mails in the queue, newest first.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime, Value};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::mask::mask_email;
use crate::period::shown_instant;
use crate::wording::counted;

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
    /// List mails of this kind, such as cart-reminder
    #[arg(long)]
    kind: Option<String>,
    /// List mails to this address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// List at most this many
    #[arg(long, default_value_t = DEFAULT_LIMIT)]
    limit: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// The most characters of a text in the list: others may write megabytes.
const SHOWN_CHARACTERS: u32 = 1_000;

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
    let mut db = cx.db().await?;
    let mails = select(&mut db, args).await?;
    db.close().await;
    args.format.print(&cx.output, &mails, "no mails", |mails| table(mails, cx.time_zone()))
}

/// Builds the WHERE clause from the given filters only: a condition that is always present would defeat its index.
async fn select(db: &mut Db, args: &ListArgs) -> anyhow::Result<Vec<Listed>> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if let Some(status) = args.status {
        // In the text rather than as a value: the partial index of the rare states is found by its literals.
        conditions.push(format!("status = '{}'", status.word()));
    }
    if let Some(kind) = &args.kind {
        values.push(kind.into());
        conditions.push(format!("kind = ${}", values.len()));
    }
    if let Some(address) = &args.to {
        let address = address.to_lowercase();
        values.push(address.as_str().into());
        let whole = values.len();
        values.push(format!("%<{}>", like_escaped(&address)).into());
        conditions.push(format!(
            "(LOWER(recipient) = ${whole} OR LOWER(recipient) LIKE ${} ESCAPE '!')",
            values.len()
        ));
    }
    values.push(i64::from(args.limit).into());
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!(
        "SELECT id, {kind}, {locale}, {recipient}, {subject}, status, is_held, attempts, priority, queued_at, due_at, ended_at,
                {last_reply}
         FROM mails {filter} ORDER BY id DESC LIMIT ${last}",
        kind = beginning("kind"),
        locale = beginning("locale"),
        recipient = beginning("recipient"),
        subject = beginning("subject"),
        last_reply = beginning("last_reply"),
        last = values.len()
    );
    Ok(db.fetch_all(&sql, values).await?)
}

/// The beginning of a text column, however long it is.
pub(super) fn beginning(column: &str) -> String {
    format!("SUBSTR({column}, 1, {SHOWN_CHARACTERS}) AS {column}")
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

/// Escapes the characters that are special to LIKE with a `!`.
fn like_escaped(text: &str) -> String {
    text.chars().flat_map(|c| if matches!(c, '%' | '_' | '!') { vec!['!', c] } else { vec![c] }).collect()
}

/// The state as shown to people: a mail that waits for a decision says so.
pub(super) fn shown_status(status: &str, is_held: bool) -> String {
    if is_held { format!("{status} (held)") } else { status.to_owned() }
}

/// A time as shown to people; one that does not exist as it is stored.
pub(super) fn shown_time(at: &StoredTime, time_zone: Tz) -> String {
    match at {
        StoredTime::At(at) => shown_instant(*at, time_zone),
        StoredTime::NotTime(text) => format!("{text} (not a time)"),
    }
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
