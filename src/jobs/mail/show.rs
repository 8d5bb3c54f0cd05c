//! `mail show`: everything known about a mail.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db::FromRow;
use crate::failure::Failure;
use crate::mask::mask_email;
use crate::period::shown_instant;
use crate::printable::{escaped, escaped_lines};
use crate::values;

use super::list::shown_status;

/// Show everything known about a mail
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The ID of the mail
    id: i64,
    /// Show the full address, the headers and the text
    #[arg(long)]
    full: bool,
}

#[derive(FromRow)]
struct Shown {
    kind: String,
    category: String,
    locale: Option<String>,
    sender: Option<String>,
    recipient: String,
    reply_to: Option<String>,
    subject: Option<String>,
    text_body: Option<String>,
    html_bytes: Option<i64>,
    headers: Option<String>,
    priority: i64,
    queued_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    dedup_key: Option<String>,
    status: String,
    is_held: bool,
    attempts: i64,
    claimed_by: Option<i64>,
    message_id: Option<String>,
    provider_message_id: Option<String>,
    last_reply: Option<String>,
}

pub(super) async fn show(cx: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let found: Option<Shown> = db
        .fetch_optional(
            "SELECT kind, category, locale, sender, recipient, reply_to, subject, text_body,
                    CAST(OCTET_LENGTH(html_body) AS BIGINT) AS html_bytes, headers, priority, queued_at, due_at, ended_at,
                    dedup_key, status, is_held, attempts, claimed_by, message_id, provider_message_id, last_reply
             FROM mails WHERE id = $1",
            values![args.id],
        )
        .await?;
    let Some(mail) = found else {
        return Err(Failure::failed(format!("there is no mail {}", args.id))
            .hint("`batchctl mail list` lists the mails")
            .into());
    };
    let files: Vec<(String, String, i64)> = db
        .fetch_all(
            "SELECT name, content_type, CAST(COALESCE(OCTET_LENGTH(content), 0) AS BIGINT) FROM mail_attachments
             WHERE mail_id = $1 ORDER BY id",
            values![args.id],
        )
        .await?;
    db.close().await;
    Ok(cx.output.data(text(cx, args, &mail, &files)?.as_bytes())?)
}

fn text(
    cx: &Context,
    args: &ShowArgs,
    mail: &Shown,
    files: &[(String, String, i64)],
) -> anyhow::Result<String> {
    let time = |at: DateTime<Utc>| shown_instant(at, cx.time_zone());
    let address = |text: &str| if args.full { text.to_owned() } else { mask_email(text) };
    let mut lines: Vec<(&str, String)> = vec![
        ("mail", args.id.to_string()),
        ("kind", format!("{} ({})", mail.kind, mail.category.to_lowercase())),
        ("status", shown_status(&mail.status, mail.is_held)),
        ("to", address(&mail.recipient)),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("from", mail.sender.as_deref().map(address));
    add("reply to", mail.reply_to.as_deref().map(address));
    add("subject", mail.subject.clone());
    add("language", mail.locale.clone());
    add(
        "priority",
        Some(
            match mail.priority {
                1 => "urgent",
                3 => "bulk",
                _ => "normal",
            }
            .to_owned(),
        ),
    );
    add("queued", Some(time(mail.queued_at)));
    let waits = matches!(mail.status.as_str(), "QUEUED" | "RETRY" | "UNKNOWN") && !mail.is_held;
    add("due", waits.then(|| time(mail.due_at)));
    add("ended", mail.ended_at.map(time));
    add("attempts", Some(mail.attempts.to_string()));
    add("claimed by", mail.claimed_by.map(|run| format!("run {run}")));
    add("last reply", mail.last_reply.clone());
    add("message id", mail.message_id.clone());
    add("service id", mail.provider_message_id.clone());
    add("dedup key", mail.dedup_key.clone());
    add("html part", mail.html_bytes.map(|bytes| format!("{bytes} bytes")));
    for (name, content_type, bytes) in files {
        lines.push(("file", format!("{name} ({content_type}, {bytes} bytes)")));
    }
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<13} {}", escaped(&value))?;
    }
    if args.full {
        if let Some(headers) = &mail.headers {
            writeln!(text, "{:<13} {}", "headers", escaped(headers))?;
        }
        writeln!(text, "\n{}", escaped_lines(mail.text_body.as_deref().unwrap_or("(no text part)")))?;
    } else {
        writeln!(text, "(--full shows the address and the text)")?;
    }
    Ok(text)
}
