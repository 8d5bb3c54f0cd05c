//! Messages of jobs that are kept until their channel has them.
//!
//! A job keeps a message in the transaction that writes what it tells about, so that neither is there without the other.
//! It is sent at the end of the job's run, or of a later command's, as the runner's own alerts are.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Message;
use super::queue::{self, Waiting};
use crate::config::AlertChannel;
use crate::context::Context;
use crate::db::Db;
use crate::failure::one_line;
use crate::severity::Severity;
use crate::values;

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

/// A kept message, and which of its parts were delivered.
struct Kept {
    stored: Stored,
    delivered: BTreeSet<String>,
}

impl Waiting for Kept {
    const TABLE: &'static str = "channel_messages";
    const NOTED_IN: &'static str = "parts";

    fn read(message: &str, noted: Option<&str>) -> Result<Self, String> {
        let stored =
            serde_json::from_str(message).map_err(|_| "the stored message cannot be read".to_owned())?;
        let delivered = noted.and_then(|parts| serde_json::from_str(parts).ok()).unwrap_or_default();
        Ok(Self { stored, delivered })
    }

    fn for_channels(&self, _time_zone: Tz) -> Message {
        self.stored.clone().into()
    }

    fn delivered(&mut self) -> &mut BTreeSet<String> {
        &mut self.delivered
    }

    fn noted(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.delivered)
    }

    fn warning(channel: &str, reason: &str) -> String {
        format!("failed to post to `{channel}`: {reason}; the message is kept and sent later")
    }

    fn given_up(channel: &str, reason: &str) -> String {
        format!("a message to `{channel}` is given up: {reason}")
    }
}

/// Sends the messages that are due. One that cannot be sent is kept, which changes no job's result.
pub async fn send_due(cx: &Context, db: &mut Db) {
    if let Err(error) = queue::send_due::<Kept>(cx, db).await {
        cx.output.warn(&format!("failed to send the messages that are kept: {}", one_line(&error)));
    }
}
