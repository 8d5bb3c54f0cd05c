//! The states of the queue's rows, and the statement that changes them.
//!
//! A mail becomes SENDING, durably, before the server can have it, and its outcome is durable before the same connection
//! hands over the next mail: whenever a process dies, only the mails that were in transit have an unknown outcome.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Db, Kind};
use crate::values;

use super::claims::Unreadable;

/// The values of `mails.status`.
pub(super) const QUEUED: &str = "QUEUED";
pub(super) const SENDING: &str = "SENDING";
pub(super) const SENT: &str = "SENT";
pub(super) const RETRY: &str = "RETRY";
pub(super) const UNKNOWN: &str = "UNKNOWN";
pub(super) const FAILED: &str = "FAILED";
pub(super) const CANCELLED: &str = "CANCELLED";

/// A change to a mail's row.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the row, and what is done beside")]
pub(super) struct Change {
    /// The mail.
    pub(super) id: i64,
    /// Its new status.
    pub(super) status: &'static str,
    /// When it is due again, if it is.
    pub(super) due_at: Option<DateTime<Utc>>,
    /// How many attempts are added; -1 takes back an attempt that did not happen.
    pub(super) attempts: i64,
    /// How many attempts with an unknown outcome are added.
    pub(super) unknown_attempts: i64,
    /// Whether it waits for a person's decision.
    pub(super) is_held: bool,
    /// Whether it waits for its turn in a rate.
    pub(super) is_paced: bool,
    /// The server's reply.
    pub(super) reply: Option<String>,
    /// The service's id.
    pub(super) provider_message_id: Option<String>,
    /// The Message-ID, when the mail is assigned one.
    pub(super) message_id: Option<String>,
    /// Whether it is what an attempt led to, which is kept as a row.
    pub(super) is_attempt: bool,
    /// Whether the run keeps the mail.
    pub(super) keeps_claim: bool,
    /// What it says about the server's not taking the mail.
    pub(super) untaken: Untaken,
}

/// Whether the server did not take a mail for a reason that may not be the mail's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untaken {
    /// Nothing new.
    Unchanged,
    /// It did not, and nothing more is known.
    Noted,
    /// It did not, in a run that got others through.
    WhileOthersWere,
    /// The mail got an answer of its own.
    Answered,
}

impl Untaken {
    /// How many runs are added, or -1 to forget them.
    fn code(self) -> Option<i64> {
        match self {
            Self::Unchanged => None,
            Self::Noted => Some(0),
            Self::WhileOthersWere => Some(1),
            Self::Answered => Some(-1),
        }
    }
}

impl Change {
    /// A change of the status only.
    pub(super) fn to(id: i64, status: &'static str) -> Self {
        Self {
            id,
            status,
            due_at: None,
            attempts: 0,
            unknown_attempts: 0,
            is_held: false,
            is_paced: false,
            reply: None,
            provider_message_id: None,
            message_id: None,
            is_attempt: false,
            keeps_claim: status == SENDING,
            untaken: Untaken::Unchanged,
        }
    }

    fn ends(&self) -> bool {
        matches!(self.status, SENT | FAILED | CANCELLED)
    }
}

/// PostgreSQL allows no NUL in text; a server's reply or a row may contain one.
fn without_nul(text: Option<&str>) -> Option<String> {
    text.map(|text| text.replace('\0', "␀"))
}

/// Writes changes in one statement, which is one durable commit, and returns the mails it changed. A mail that this run
/// no longer holds is left alone, and so is every mail once the run is no longer RUNNING: a process that was frozen
/// past its lease writes nothing.
pub(super) async fn write(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    changes: &[Change],
) -> anyhow::Result<Vec<i64>> {
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            json!([
                change.id,
                change.status,
                change.due_at.map(|due_at| due_at.timestamp_micros()),
                change.attempts,
                change.unknown_attempts,
                i32::from(change.is_held),
                i32::from(change.is_paced),
                without_nul(change.reply.as_deref()),
                without_nul(change.provider_message_id.as_deref()),
                change.message_id,
                i32::from(change.keeps_claim),
                i32::from(change.ends()),
                i32::from(change.is_attempt),
                change.untaken.code(),
            ])
        })
        .collect();
    let values = values![run, now, serde_json::Value::from(rows)];
    let has_attempts = changes.iter().any(|change| change.is_attempt);
    let written: Vec<(i64,)> = match db.kind() {
        Kind::Postgres => db.fetch_all(WRITE_POSTGRES, values).await?,
        Kind::Sqlite if has_attempts => {
            db.transaction(async |db| {
                let written = db.fetch_all(WRITE_SQLITE, values.clone()).await?;
                db.execute(ATTEMPTS_SQLITE, values).await?;
                Ok(written)
            })
            .await?
        }
        Kind::Sqlite => db.fetch_all(WRITE_SQLITE, values).await?,
    };
    Ok(written.into_iter().map(|(id,)| id).collect())
}

/// Keeps the attempts among the changes that were written, which SQLite cannot do in the same statement: a mail that this
/// run has attempted is in the state that the attempt led to.
const ATTEMPTS_SQLITE: &str = "
    INSERT INTO mail_attempts (mail_id, run_id, status, reply, attempted_at)
    SELECT mails.id, $1, mails.status, changed.value ->> 7, $2
    FROM json_each($3) changed JOIN mails ON mails.id = changed.value ->> 0
    WHERE changed.value ->> 12 = 1 AND mails.status = changed.value ->> 1 AND mails.claimed_by IS NULL
      AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')";

/// Neither compares `claimed_by` in a form that an index can use: the few changed rows are found by their ids instead
/// of among the hundreds that the run holds.
///
/// The limit tells PostgreSQL how few they are. It would expect a hundred, for which it reads all of a table that it takes
/// for small, with each write.
///
/// An array of arrays: names in every row would be most of the text. Instants are passed as microseconds; SQLite gets
/// them as the text that it stores.
pub(super) const WRITE_SQLITE: &str = "
    UPDATE mails SET
        status = changed.status,
        due_at = COALESCE(changed.due_at, mails.due_at),
        attempts = mails.attempts + changed.attempts,
        unknown_attempts = mails.unknown_attempts + changed.unknown_attempts,
        is_held = changed.is_held,
        is_paced = changed.is_paced,
        last_reply = COALESCE(changed.reply, mails.last_reply),
        provider_message_id = COALESCE(changed.provider_message_id, mails.provider_message_id),
        message_id = COALESCE(mails.message_id, changed.message_id),
        claimed_by = CASE WHEN changed.keeps_claim = 1 THEN mails.claimed_by END,
        untaken_since = CASE WHEN changed.untaken IS NULL THEN mails.untaken_since
                             WHEN changed.untaken >= 0 THEN COALESCE(mails.untaken_since, $2) END,
        untaken_runs = CASE WHEN changed.untaken < 0 THEN 0 ELSE mails.untaken_runs + COALESCE(changed.untaken, 0) END,
        untaken_by = CASE WHEN changed.untaken IS NULL THEN mails.untaken_by WHEN changed.untaken >= 0 THEN $1 END,
        ended_at = CASE WHEN changed.ends = 1 THEN $2 END
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS status,
                 strftime('%Y-%m-%dT%H:%M:%S', (value ->> 2) / 1000000, 'unixepoch')
                     || printf('.%06d+00:00', (value ->> 2) % 1000000) AS due_at,
                 value ->> 3 AS attempts, value ->> 4 AS unknown_attempts, value ->> 5 AS is_held,
                 value ->> 6 AS is_paced, value ->> 7 AS reply, value ->> 8 AS provider_message_id,
                 value ->> 9 AS message_id, value ->> 10 AS keeps_claim, value ->> 11 AS ends,
                 value ->> 13 AS untaken
          FROM json_each($3)) changed
    WHERE mails.id = changed.id AND +mails.claimed_by = $1
      AND (changed.status <> 'SENDING' OR mails.status IN ('QUEUED', 'RETRY', 'UNKNOWN'))
      AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
    RETURNING mails.id";
pub(super) const WRITE_POSTGRES: &str = "
    WITH changed AS (
        SELECT CAST(value ->> 0 AS BIGINT) AS id, value ->> 1 AS status,
               TIMESTAMPTZ '1970-01-01 00:00:00+00' + CAST(value ->> 2 AS BIGINT) * INTERVAL '1 microsecond' AS due_at,
               CAST(value ->> 3 AS BIGINT) AS attempts, CAST(value ->> 4 AS BIGINT) AS unknown_attempts,
               CAST(value ->> 5 AS BIGINT) AS is_held, CAST(value ->> 6 AS BIGINT) AS is_paced,
               value ->> 7 AS reply, value ->> 8 AS provider_message_id, value ->> 9 AS message_id,
               CAST(value ->> 10 AS BIGINT) AS keeps_claim, CAST(value ->> 11 AS BIGINT) AS ends,
               CAST(value ->> 12 AS BIGINT) AS is_attempt, CAST(value ->> 13 AS BIGINT) AS untaken
        FROM jsonb_array_elements($3) LIMIT jsonb_array_length($3)
    ), written AS (
        UPDATE mails SET
            status = changed.status,
            due_at = COALESCE(changed.due_at, mails.due_at),
            attempts = mails.attempts + changed.attempts,
            unknown_attempts = mails.unknown_attempts + changed.unknown_attempts,
            is_held = changed.is_held = 1,
            is_paced = changed.is_paced = 1,
            last_reply = COALESCE(changed.reply, mails.last_reply),
            provider_message_id = COALESCE(changed.provider_message_id, mails.provider_message_id),
            message_id = COALESCE(mails.message_id, changed.message_id),
            claimed_by = CASE WHEN changed.keeps_claim = 1 THEN mails.claimed_by END,
            untaken_since = CASE WHEN changed.untaken IS NULL THEN mails.untaken_since
                                 WHEN changed.untaken >= 0 THEN COALESCE(mails.untaken_since, $2) END,
            untaken_runs = CASE WHEN changed.untaken < 0 THEN 0 ELSE mails.untaken_runs + COALESCE(changed.untaken, 0) END,
            untaken_by = CASE WHEN changed.untaken IS NULL THEN mails.untaken_by WHEN changed.untaken >= 0 THEN $1 END,
            ended_at = CASE WHEN changed.ends = 1 THEN $2 END
        FROM changed
        WHERE mails.id = changed.id AND mails.claimed_by IS NOT DISTINCT FROM $1
          AND (changed.status <> 'SENDING' OR mails.status IN ('QUEUED', 'RETRY', 'UNKNOWN'))
          AND EXISTS (SELECT 1 FROM batch_execution
                      WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
        RETURNING mails.id, changed.status, changed.reply, changed.is_attempt
    ), attempts AS (
        INSERT INTO mail_attempts (mail_id, run_id, status, reply, attempted_at)
        SELECT id, $1, status, reply, $2 FROM written WHERE is_attempt = 1
    )
    SELECT id FROM written";

/// Fails rows that cannot be read. It does not touch their times: SQLite checks each column that a statement sets, and one
/// of them may be what is wrong.
pub(super) async fn fail_unreadable(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    rows: &[Unreadable],
) -> anyhow::Result<()> {
    for row in rows {
        db.execute(
            "UPDATE mails SET status = 'FAILED', last_reply = $1, ended_at = $2, claimed_by = NULL
             WHERE id = $3 AND claimed_by = $4",
            values![&row.problem, now, row.id, run],
        )
        .await?;
    }
    Ok(())
}

/// Releases the mails that a run holds and has not started to send.
pub(super) async fn release(db: &mut Db, run: i64) -> anyhow::Result<u64> {
    let sql = "UPDATE mails SET claimed_by = NULL
               WHERE claimed_by = $1 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')";
    Ok(db.execute(sql, values![run]).await?)
}
