//! `mail show`: everything known about a mail.

use std::fmt::Write;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::failure::Failure;
use crate::jobs::listing::{beginning, shown_time};
use crate::mask::mask_email;
use crate::printable::{escaped, escaped_lines};
use crate::values;
use crate::wording::counted;

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
    kind: StoredText,
    category: String,
    locale: Option<StoredText>,
    sender: Option<StoredText>,
    recipient: StoredText,
    reply_to: Option<StoredText>,
    subject: Option<StoredText>,
    text_body: Option<StoredText>,
    text_bytes: Option<i64>,
    html_bytes: Option<i64>,
    headers: Option<StoredText>,
    priority: i64,
    queued_at: StoredTime,
    due_at: StoredTime,
    ended_at: Option<StoredTime>,
    dedup_key: Option<StoredText>,
    status: String,
    is_held: bool,
    attempts: i64,
    take_overs: i64,
    untaken_since: Option<StoredTime>,
    untaken_runs: i64,
    claimed_by: Option<i64>,
    message_id: Option<StoredText>,
    provider_message_id: Option<StoredText>,
    last_reply: Option<StoredText>,
}

/// The most characters that are shown of the text part.
const SHOWN_BODY_CHARACTERS: u32 = 1_000_000;
/// The most attachments that are listed.
const SHOWN_FILES: i64 = 100;

/// Reads a mail, of its texts no more than can be shown.
async fn read(db: &mut Db, id: i64) -> anyhow::Result<Option<Shown>> {
    let heads = [
        "kind",
        "locale",
        "sender",
        "recipient",
        "reply_to",
        "subject",
        "headers",
        "dedup_key",
        "message_id",
        "provider_message_id",
        "last_reply",
    ];
    let heads: Vec<String> = heads.iter().map(|head| beginning(head)).collect();
    let sql = format!(
        "SELECT category, SUBSTR(text_body, 1, {SHOWN_BODY_CHARACTERS}) AS text_body,
                CAST(OCTET_LENGTH(text_body) AS BIGINT) AS text_bytes,
                CAST(OCTET_LENGTH(html_body) AS BIGINT) AS html_bytes, priority, queued_at, due_at, ended_at, status, is_held,
                attempts, take_overs, untaken_since, untaken_runs, claimed_by, {}
         FROM mails WHERE id = $1",
        heads.join(", ")
    );
    Ok(db.fetch_optional(&sql, values![id]).await?)
}

pub(super) async fn show(cx: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let found = read(&mut db, args.id).await?;
    let Some(mail) = found else {
        return Err(Failure::failed(format!("there is no mail {}", args.id))
            .hint("`batchctl mail list` lists the mails")
            .into());
    };
    let sql = format!(
        "SELECT {}, {}, CAST(COALESCE(OCTET_LENGTH(content), 0) AS BIGINT) FROM mail_attachments
         WHERE mail_id = $1 ORDER BY id LIMIT $2",
        beginning("name"),
        beginning("content_type")
    );
    let files: Vec<File> = db.fetch_all(&sql, values![args.id, SHOWN_FILES]).await?;
    let sql = format!(
        "SELECT run_id, status, {}, attempted_at FROM mail_attempts WHERE mail_id = $1 ORDER BY mail_attempts.id DESC LIMIT $2",
        beginning("reply")
    );
    let mut attempts: Vec<Attempt> = db.fetch_all(&sql, values![args.id, SHOWN_ATTEMPTS]).await?;
    attempts.reverse();
    db.close().await;
    Ok(cx.output.text(&text(cx, args, &mail, &files, &attempts)?)?)
}

/// The most attempts that are listed, the last ones.
const SHOWN_ATTEMPTS: i64 = 50;

#[derive(FromRow)]
struct Attempt {
    run_id: i64,
    status: String,
    reply: Option<StoredText>,
    attempted_at: StoredTime,
}

/// Name, media type and size.
type File = (StoredText, StoredText, i64);

fn text(
    cx: &Context,
    args: &ShowArgs,
    mail: &Shown,
    files: &[File],
    attempts: &[Attempt],
) -> anyhow::Result<String> {
    let time = |at: &StoredTime| shown_time(at, cx.time_zone());
    let shown = |text: &Option<StoredText>| text.as_ref().map(|text| text.shown().to_owned());
    let address =
        |text: &StoredText| if args.full { text.shown().to_owned() } else { mask_email(text.shown()) };
    let mut lines: Vec<(&str, String)> = vec![
        ("mail", args.id.to_string()),
        ("kind", format!("{} ({})", mail.kind.shown(), mail.category.to_lowercase())),
        ("status", shown_status(&mail.status, mail.is_held)),
        ("to", address(&mail.recipient)),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("from", mail.sender.as_ref().map(address));
    add("reply to", mail.reply_to.as_ref().map(address));
    add("subject", shown(&mail.subject));
    add("language", shown(&mail.locale));
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
    add("queued", Some(time(&mail.queued_at)));
    let waits = matches!(mail.status.as_str(), "QUEUED" | "RETRY" | "UNKNOWN") && !mail.is_held;
    add("due", waits.then(|| time(&mail.due_at)));
    add("ended", mail.ended_at.as_ref().map(time));
    add("attempts", Some(mail.attempts.to_string()));
    let taken_over = || format!("from {} that died", counted(mail.take_overs, "run", "runs"));
    add("taken over", (mail.take_overs > 0).then(taken_over));
    let refusing = match mail.untaken_runs {
        0 => String::new(),
        runs => format!(", in {} that got others through", counted(runs, "run", "runs")),
    };
    let untaken = mail.untaken_since.as_ref().map(|since| format!("since {}{refusing}", time(since)));
    add("not taken", untaken);
    add("claimed by", mail.claimed_by.map(|run| format!("run {run}")));
    add("last reply", shown(&mail.last_reply));
    add("message id", shown(&mail.message_id));
    add("service id", shown(&mail.provider_message_id));
    add("dedup key", shown(&mail.dedup_key));
    add("html part", mail.html_bytes.map(|bytes| format!("{bytes} bytes")));
    for (name, content_type, bytes) in files {
        lines.push(("file", format!("{} ({}, {bytes} bytes)", name.shown(), content_type.shown())));
    }
    for Attempt { run_id, status, reply, attempted_at } in attempts {
        let reply = reply.as_ref().map_or("", StoredText::shown);
        lines.push(("attempt", format!("{} run {run_id} {status} {reply}", time(attempted_at))));
    }
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<13} {}", escaped(&value))?;
    }
    if args.full {
        if let Some(headers) = &mail.headers {
            writeln!(text, "{:<13} {}", "headers", escaped(headers.shown()))?;
        }
        let body = mail.text_body.as_ref().map_or("(no text part)", StoredText::shown);
        writeln!(text, "\n{}", escaped_lines(body))?;
        if let Some(bytes) =
            mail.text_bytes.filter(|bytes| usize::try_from(*bytes).is_ok_and(|bytes| bytes > body.len()))
        {
            writeln!(text, "(cut: the text has {bytes} bytes)")?;
        }
    } else {
        writeln!(text, "(--full shows the address and the text)")?;
    }
    Ok(text)
}
