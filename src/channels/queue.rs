//! How messages that wait in a table are sent: one command claims each, sends it and marks it; if its channel cannot be
//! reached it is kept, and due again after a pause.
//!
//! What was delivered is noted at once: a process that dies between the two sends that part again, and nothing else is
//! sent twice.
//!
//! A message whose channel is not configured any more, or that cannot be read, is given up in the end: nobody would send it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Message, PostError};
use crate::backoff::{Backoff, Jitter};
use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::printable::{escaped, shortened};
use crate::values;

/// The most messages of a table that one command sends, so that a long queue does not hold it up.
pub(crate) const SENT_AT_ONCE: i64 = 10;
/// How much is shown of a channel's name that a row holds.
const SHOWN_CHARACTERS: usize = 100;
/// No message waits longer than this for another attempt.
const MAX_PAUSE: Duration = Duration::from_hours(6);
/// The pause between two attempts. Each message is claimed by one command at a time, so jitter would add nothing.
const PAUSE: Backoff =
    Backoff { first: Duration::from_mins(1), factor: 2, longest: MAX_PAUSE, jitter: Jitter::None };

/// How old a message is that is given up because its channel is not configured. Until then somebody may have started a command
/// with another configuration, or be about to correct a name.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(1);

/// A message that waits in a table.
pub(crate) trait Waiting: Sized {
    /// The table, with the columns `id`, `channel`, `message`, `created_at`, `attempts`, `next_attempt_at`, `delivered_at`,
    /// `given_up_at` and `last_error`.
    const TABLE: &'static str;
    /// Its column that says which parts were delivered.
    const NOTED_IN: &'static str;

    /// Reads a message, and what is noted of it; otherwise what is wrong with it.
    fn read(message: &str, noted: Option<&str>) -> Result<Self, String>;

    /// The message as channels receive it.
    fn for_channels(&self, time_zone: Tz) -> Message;

    /// Which of its parts were delivered.
    fn delivered(&mut self) -> &mut BTreeSet<String>;

    /// The same as it is noted.
    fn noted(&self) -> serde_json::Result<String>;

    /// What is said if a channel cannot be reached.
    fn warning(channel: &str, reason: &str) -> String;

    /// What is said if it is given up.
    fn given_up(channel: &str, reason: &str) -> String;
}

#[derive(FromRow)]
struct Due {
    id: i64,
    channel: String,
    message: String,
    noted: Option<String>,
    created_at: DateTime<Utc>,
    attempts: i64,
    next_attempt_at: DateTime<Utc>,
    #[row(problems)]
    problems: Problems,
}

/// Sends the messages of a table that are due. Outside of any transaction: what is delivered cannot be taken back.
pub(crate) async fn send_due<W: Waiting>(cx: &Context, db: &mut Db) -> anyhow::Result<()> {
    if db.is_in_transaction() {
        return Ok(());
    }
    let now = cx.machine_time();
    let due: Vec<Due> = db
        .fetch_all(
            &format!(
                "SELECT id, channel, message, {} AS noted, created_at, attempts, next_attempt_at FROM {}
                 WHERE delivered_at IS NULL AND given_up_at IS NULL AND (next_attempt_at <= $1 OR next_attempt_at > $2 OR NOT {})
                 ORDER BY next_attempt_at, id LIMIT $3",
                W::NOTED_IN,
                W::TABLE,
                db.is_time("next_attempt_at")
            ),
            // A time further ahead than any pause was written by a clock that has been set back.
            values![now, now + MAX_PAUSE, SENT_AT_ONCE],
        )
        .await?;
    for message in due {
        send::<W>(cx, db, &message).await?;
    }
    Ok(())
}

/// Claims one message, sends it and notes the result.
async fn send<W: Waiting>(cx: &Context, db: &mut Db, due: &Due) -> anyhow::Result<()> {
    let now = cx.machine_time();
    // This attempt counts as failed until it is known to have succeeded.
    let pause = PAUSE.pause(u32::try_from(due.attempts.saturating_add(1)).unwrap_or(u32::MAX));
    // Moving the next attempt is the claim: another process sees it as not due, and if this one dies it is due again.
    // A time in another form than ours equals nothing, and is replaced.
    let sql = format!(
        "UPDATE {} SET attempts = attempts + 1, next_attempt_at = $1
         WHERE id = $2 AND attempts = $3 AND (next_attempt_at = $4 OR $5 OR NOT {}) AND delivered_at IS NULL AND given_up_at IS NULL",
        W::TABLE,
        db.is_time("next_attempt_at")
    );
    let is_unreadable = due.problems.include("next_attempt_at");
    let values = values![now + pause, due.id, due.attempts, due.next_attempt_at, is_unreadable];
    if db.execute(&sql, values).await? == 0 {
        return Ok(());
    }
    let mut waiting = match W::read(&due.message, due.noted.as_deref()) {
        Ok(waiting) => waiting,
        // One that cannot be read must not keep the others back.
        Err(problem) => return wait_or_give_up::<W>(cx, db, due, &problem).await,
    };
    let Some(channel) = cx.config.channel(&due.channel) else {
        return wait_or_give_up::<W>(cx, db, due, "the channel is not configured any more").await;
    };
    let message = waiting.for_channels(cx.time_zone());
    let mut delivered = std::mem::take(waiting.delivered());
    let note = async |delivered: &BTreeSet<String>| {
        waiting.delivered().clone_from(delivered);
        let sql = format!("UPDATE {} SET {} = $1 WHERE id = $2", W::TABLE, W::NOTED_IN);
        db.execute(&sql, values![waiting.noted()?, due.id]).await?;
        anyhow::Ok(())
    };
    match cx.channels().tell(channel, &message, &mut delivered, note).await? {
        Ok(_) => {
            let sql = format!("UPDATE {} SET delivered_at = $1, last_error = NULL WHERE id = $2", W::TABLE);
            db.execute(&sql, values![cx.machine_time(), due.id]).await?;
            Ok(())
        }
        Err(PostError { fault, .. }) => {
            let reason = cx.config.redactor().redact(&fault.reason);
            cx.output.warn(&W::warning(&channel.name, &reason));
            let wait = if fault.is_permanent {
                MAX_PAUSE
            } else {
                fault.retry_after.unwrap_or(pause).min(MAX_PAUSE)
            };
            note_error::<W>(db, due.id, &reason, cx.machine_time() + wait).await
        }
    }
}

/// Keeps a message that cannot be sent by this configuration for a while. One that is old is given up, which is said once.
async fn wait_or_give_up<W: Waiting>(
    cx: &Context,
    db: &mut Db,
    due: &Due,
    problem: &str,
) -> anyhow::Result<()> {
    let now = cx.machine_time();
    let is_old = due.problems.include("created_at") || now - due.created_at >= GIVEN_UP_AFTER;
    if !is_old {
        return note_error::<W>(db, due.id, problem, now + MAX_PAUSE).await;
    }
    let sql = format!("UPDATE {} SET last_error = $1, given_up_at = $2 WHERE id = $3", W::TABLE);
    db.execute(&sql, values![problem, now, due.id]).await?;
    let channel = shortened(&escaped(&due.channel), SHOWN_CHARACTERS).into_owned();
    cx.output.notice(&W::given_up(&channel, problem));
    Ok(())
}

async fn note_error<W: Waiting>(
    db: &mut Db,
    id: i64,
    error: &str,
    next_attempt_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let sql = format!("UPDATE {} SET last_error = $1, next_attempt_at = $2 WHERE id = $3", W::TABLE);
    db.execute(&sql, values![error, next_attempt_at, id]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_hours() {
        assert_eq!(PAUSE.pause(1), Duration::from_mins(1));
        assert_eq!(PAUSE.pause(4), Duration::from_mins(8));
        assert_eq!(PAUSE.pause(1000), MAX_PAUSE);
    }
}
