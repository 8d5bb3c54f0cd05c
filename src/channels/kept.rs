//! Messages of jobs that are kept until their channel has them.
//!
//! A job keeps a message in the transaction that writes what it tells about, so that neither is there without the other.
//! It is sent at the end of the job's run, or of a later command's, as the runner's own alerts are. What was delivered is
//! noted at once: a process that dies between the two sends that part again, and nothing else is sent twice.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Message, PostError};
use crate::backoff::{Backoff, Jitter};
use crate::config::AlertChannel;
use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::failure::one_line;
use crate::severity::Severity;
use crate::values;

/// The most messages that one command sends, so that a long queue does not hold it up.
const SENT_AT_ONCE: i64 = 10;
/// No message waits longer than this for another attempt.
const MAX_PAUSE: Duration = Duration::from_hours(6);
/// The pause between two attempts. Each message is claimed by one command at a time, so jitter would add nothing.
const PAUSE: Backoff =
    Backoff { first: Duration::from_mins(1), factor: 2, longest: MAX_PAUSE, jitter: Jitter::None };

/// A message as it is stored: what a [`Message`] says, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    id: String,
    at: DateTime<Utc>,
    severity: Severity,
    mentions: bool,
    title: String,
    lines: Vec<String>,
}

impl From<&Message> for Stored {
    fn from(message: &Message) -> Self {
        let Message { id, at, severity, mentions, title, lines, .. } = message.clone();
        Self { id, at, severity, mentions, title, lines }
    }
}

impl From<Stored> for Message {
    fn from(stored: Stored) -> Self {
        let Stored { id, at, severity, mentions, title, lines } = stored;
        Self { lines, mentions, ..Self::new(id, at, severity, title) }
    }
}

/// Keeps a message for these channels, in a transaction of the caller's. Only its title and its lines are kept, besides
/// when it was written and how urgent it is. A channel that it was kept for before, by its id, gets it once.
pub async fn keep(
    db: &mut Db,
    channels: &[&AlertChannel],
    message: &Message,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let text = serde_json::to_string(&Stored::from(message))?;
    for channel in channels {
        db.execute(
            "INSERT INTO channel_messages (message_key, channel, message, created_at, attempts, next_attempt_at)
             VALUES ($1, $2, $3, $4, 0, $4) ON CONFLICT (message_key, channel) DO NOTHING",
            values![&message.id, &channel.name, &text, now],
        )
        .await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct Due {
    id: i64,
    channel: String,
    message: String,
    attempts: i64,
    next_attempt_at: DateTime<Utc>,
    parts: Option<String>,
    #[row(problems)]
    problems: Problems,
}

/// Sends the messages that are due. One that cannot be sent is kept, which changes no job's result.
pub async fn send_due(cx: &Context, db: &mut Db) {
    if let Err(error) = try_send_due(cx, db).await {
        cx.output.warn(&format!("failed to send the messages that are kept: {}", one_line(&error)));
    }
}

async fn try_send_due(cx: &Context, db: &mut Db) -> anyhow::Result<()> {
    if db.is_in_transaction() {
        return Ok(());
    }
    let now = cx.machine_time();
    let due: Vec<Due> = db
        .fetch_all(
            &format!(
                "SELECT id, channel, message, attempts, next_attempt_at, parts FROM channel_messages
                 WHERE delivered_at IS NULL AND (next_attempt_at <= $1 OR next_attempt_at > $2 OR NOT {})
                 ORDER BY next_attempt_at, id LIMIT $3",
                db.is_time("next_attempt_at")
            ),
            // A time further ahead than any pause was written by a clock that has been set back.
            values![now, now + MAX_PAUSE, SENT_AT_ONCE],
        )
        .await?;
    for message in due {
        send(cx, db, &message).await?;
    }
    Ok(())
}

/// Claims one message, sends it and notes the result.
async fn send(cx: &Context, db: &mut Db, due: &Due) -> anyhow::Result<()> {
    let now = cx.machine_time();
    // This attempt counts as failed until it is known to have succeeded.
    let pause = PAUSE.pause(u32::try_from(due.attempts.saturating_add(1)).unwrap_or(u32::MAX));
    // Moving the next attempt is the claim: another process sees it as not due, and if this one dies it is due again.
    let sql = format!(
        "UPDATE channel_messages SET attempts = attempts + 1, next_attempt_at = $1
         WHERE id = $2 AND attempts = $3 AND (next_attempt_at = $4 OR $5 OR NOT {}) AND delivered_at IS NULL",
        db.is_time("next_attempt_at")
    );
    let is_unreadable = due.problems.include("next_attempt_at");
    let values = values![now + pause, due.id, due.attempts, due.next_attempt_at, is_unreadable];
    if db.execute(&sql, values).await? == 0 {
        return Ok(());
    }
    // One that cannot be read must not keep the others back.
    let Ok(message) = serde_json::from_str::<Stored>(&due.message) else {
        return note_error(db, due.id, "the stored message cannot be read", now + MAX_PAUSE).await;
    };
    let Some(channel) = cx.config.channel(&due.channel) else {
        return note_error(db, due.id, "the channel is not configured any more", now + MAX_PAUSE).await;
    };
    let mut delivered = parts(due.parts.as_deref());
    let id = due.id;
    let note = async |delivered: &BTreeSet<String>| {
        let parts = serde_json::to_string(delivered)?;
        db.execute("UPDATE channel_messages SET parts = $1 WHERE id = $2", values![parts, id]).await?;
        anyhow::Ok(())
    };
    match cx.channels().tell(channel, &message.into(), &mut delivered, note).await? {
        Ok(_) => {
            let sql = "UPDATE channel_messages SET delivered_at = $1, last_error = NULL WHERE id = $2";
            db.execute(sql, values![cx.machine_time(), due.id]).await?;
            Ok(())
        }
        Err(PostError { fault, .. }) => {
            let reason = cx.config.redactor().redact(&fault.reason);
            cx.output.warn(&format!(
                "failed to post to `{}`: {reason}; the message is kept and sent later",
                channel.name
            ));
            let wait = if fault.is_permanent {
                MAX_PAUSE
            } else {
                fault.retry_after.unwrap_or(pause).min(MAX_PAUSE)
            };
            note_error(db, due.id, &reason, cx.machine_time() + wait).await
        }
    }
}

/// The parts that were delivered before.
fn parts(stored: Option<&str>) -> BTreeSet<String> {
    stored.and_then(|parts| serde_json::from_str(parts).ok()).unwrap_or_default()
}

async fn note_error(db: &mut Db, id: i64, error: &str, next_attempt_at: DateTime<Utc>) -> anyhow::Result<()> {
    let sql = "UPDATE channel_messages SET last_error = $1, next_attempt_at = $2 WHERE id = $3";
    db.execute(sql, values![error, next_attempt_at, id]).await?;
    Ok(())
}
