//! The states of the queue's rows, and every statement that changes them.
//!
//! A mail belongs to the run in `claimed_by`. It becomes SENDING, durably, before the server can have it, and its
//! outcome is durable before the same connection hands over the next mail: whenever a process dies, only the mails that
//! were in transit have an unknown outcome.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::config::OnUnknown;
use crate::db::{Db, FromRow, Kind, StoredText, StoredTime, Value};
use crate::mail::outgoing::Attachment;
use crate::mail::queue::AS_NEW;
use crate::values;

/// A mail as it is claimed: without its bodies.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) category: String,
    pub(super) locale: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) recipient: String,
    pub(super) reply_to: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) due_at: DateTime<Utc>,
    pub(super) queued_at: DateTime<Utc>,
    pub(super) status: String,
    pub(super) is_paced: bool,
    pub(super) attempts: i64,
    pub(super) unknown_attempts: i64,
    pub(super) message_id: Option<String>,
    /// The size of its texts and its attachments.
    pub(super) bytes: i64,
    /// How many of them belong to attachments; `None` if it has none.
    pub(super) file_bytes: Option<i64>,
    /// Whether a run died while it held this mail.
    pub(super) is_suspect: bool,
}

/// A claimed row that is not a mail: it fails, and its number and the problem are all there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) id: i64,
    pub(super) problem: String,
}

/// The most bytes of a mail's texts and attachments. Services accept 40 MB, a relay of one's own may accept more; what is
/// larger than this is not even read.
pub(super) const MAX_MAIL_BYTES: i64 = 48 * 1024 * 1024;
/// The most bytes of a column that is read with each claim. RFC 5322 limits a line to 998 characters.
const MAX_HEAD_BYTES: i64 = 4 * 1024;
/// The most bytes of `headers`.
const MAX_HEADERS_BYTES: i64 = 64 * 1024;
/// More attempts than any configuration allows: the column is ours, but others can write to it.
const MAX_COUNTED: i64 = 1_000_000;

/// A claimed row as it is stored. What other programs wrote may be anything; a text that is too long is not read.
#[derive(FromRow)]
struct StoredMail {
    id: i64,
    kind: Option<StoredText>,
    category: String,
    locale: Option<StoredText>,
    sender: Option<StoredText>,
    recipient: Option<StoredText>,
    reply_to: Option<StoredText>,
    headers: Option<StoredText>,
    due_at: StoredTime,
    queued_at: StoredTime,
    status: String,
    is_paced: bool,
    attempts: i64,
    unknown_attempts: i64,
    message_id: Option<StoredText>,
    head_bytes: i64,
    header_bytes: i64,
    text_bytes: i64,
    take_overs: i64,
}

impl StoredMail {
    /// The row as a mail, or the first problem with it, by its column.
    fn read(self, file_bytes: Option<i64>) -> Result<Claimed, String> {
        for (bytes, most, what) in [
            (self.head_bytes, MAX_HEAD_BYTES, "the longest of kind, locale, addresses and message_id"),
            (self.header_bytes, MAX_HEADERS_BYTES, "headers"),
            (self.text_bytes, MAX_MAIL_BYTES, "subject, bodies and data"),
            (file_bytes.unwrap_or(0), MAX_MAIL_BYTES, "the attachments"),
            (self.text_bytes + file_bytes.unwrap_or(0), MAX_MAIL_BYTES, "the mail with its attachments"),
        ] {
            if bytes > most {
                return Err(format!("too large: {what}: {bytes} bytes, of at most {most}"));
            }
        }
        for (count, column) in [(self.attempts, "attempts"), (self.unknown_attempts, "unknown_attempts")] {
            if !(0..=MAX_COUNTED).contains(&count) {
                return Err(format!("{column}: {count} is not a count of attempts"));
            }
        }
        Ok(Claimed {
            id: self.id,
            kind: required("kind", self.kind)?,
            category: self.category,
            locale: optional("locale", self.locale)?,
            sender: optional("sender", self.sender)?,
            recipient: required("recipient", self.recipient)?,
            reply_to: optional("reply_to", self.reply_to)?,
            headers: optional("headers", self.headers)?,
            due_at: self.due_at.read().map_err(|problem| format!("due_at: {problem}"))?,
            queued_at: self.queued_at.read().map_err(|problem| format!("queued_at: {problem}"))?,
            status: self.status,
            is_paced: self.is_paced,
            attempts: self.attempts,
            unknown_attempts: self.unknown_attempts,
            message_id: optional("message_id", self.message_id)?,
            bytes: self.text_bytes + file_bytes.unwrap_or(0),
            file_bytes,
            is_suspect: self.take_overs > 0,
        })
    }
}

/// A column's text, or the problem with its name.
fn optional(column: &str, text: Option<StoredText>) -> Result<Option<String>, String> {
    text.map(StoredText::read).transpose().map_err(|problem| format!("{column}: {problem}"))
}

fn required(column: &str, text: Option<StoredText>) -> Result<String, String> {
    optional(column, text)?.ok_or_else(|| format!("{column}: it is missing"))
}

/// Which mails a run sends.
#[derive(Debug, Clone, Default)]
pub(super) enum Only {
    /// All.
    #[default]
    All,
    /// Those of a kind.
    Kind(String),
    /// Those of these numbers.
    Ids(Vec<i64>),
}

impl Only {
    /// A further condition of a statement that has these values.
    fn condition(&self, db: &Db, values: &mut Vec<Value>) -> String {
        let place = format!("${}", values.len() + 1);
        match self {
            Self::All => String::new(),
            Self::Kind(kind) => {
                values.push(kind.into());
                format!(" AND kind = {place}")
            }
            Self::Ids(ids) => {
                values.push(json!(ids).into());
                format!(" AND id IN {}", db.numbers(&place))
            }
        }
    }
}

/// Where claiming continues within a priority: after the last claimed mail. Without it each claim would scan the index
/// entries of all mails sent before, which PostgreSQL keeps until it vacuums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    due_at: DateTime<Utc>,
    id: i64,
}

/// The most urgent priority with a mail that is due.
pub(super) async fn most_urgent(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<Option<i64>> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    let found: Option<(i64,)> = db
        .fetch_optional(
            // Not EXISTS: PostgreSQL would scan everything that is due, although one row is enough.
            &format!("WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
             SELECT priority FROM level
             WHERE (SELECT due_at FROM mails
                    WHERE mails.priority = level.priority AND claimed_by IS NULL AND NOT is_held AND take_overs = 0
                      AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
                    ORDER BY due_at, id LIMIT 1) <= $1
             ORDER BY priority LIMIT 1"),
            values,
        )
        .await?;
    Ok(found.map(|(priority,)| priority))
}

/// Whether any mail is due.
pub(super) async fn is_any_due(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<bool> {
    Ok(most_urgent(db, only, now).await?.is_some() || has_suspect(db, only, now).await?)
}

/// Whether a mail is due that a run may have died of.
pub(super) async fn has_suspect(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    let sql = format!(
        "SELECT id FROM mails
         WHERE take_overs > 0 AND due_at <= $1 AND claimed_by IS NULL AND NOT is_held
           AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
         LIMIT 1"
    );
    Ok(db.fetch_optional::<(i64,)>(&sql, values).await?.is_some())
}

/// When the next mail that waits for its turn in a rate is due, after the given time.
pub(super) async fn next_paced(
    db: &mut Db,
    only: &Only,
    after: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let mut values = values![after];
    let only = only.condition(db, &mut values);
    let (next,): (Option<StoredTime>,) = db
        .fetch_one(
            &format!("WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
             SELECT MIN((SELECT due_at FROM mails
                         WHERE mails.priority = level.priority AND due_at > $1 AND is_paced AND claimed_by IS NULL
                           AND NOT is_held AND take_overs = 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
                         ORDER BY due_at, id LIMIT 1))
             FROM level"),
            values,
        )
        .await?;
    Ok(next.and_then(|next| next.at()))
}

/// Claimed rows, the longest due first.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub(super) mails: Vec<Claimed>,
    pub(super) unreadable: Vec<Unreadable>,
    /// After the last of the mails; `None` if there are none.
    pub(super) position: Option<Position>,
}

/// Claims due mails of one priority for a run, the longest due first, after `position`.
pub(super) async fn claim(
    db: &mut Db,
    run: i64,
    only: &Only,
    priority: i64,
    now: DateTime<Utc>,
    position: Option<Position>,
    most: i64,
) -> anyhow::Result<Claim> {
    let mut values = values![run, now, most, priority];
    let mut which = "priority = $4 AND take_overs = 0".to_owned();
    if let Some(position) = position {
        which.push_str(" AND (due_at, id) > ($5, $6)");
        values.extend(values![position.due_at, position.id]);
    }
    take(db, only, &which, values).await
}

/// Claims the most urgent of the mails that are under suspicion, alone.
pub(super) async fn claim_suspect(
    db: &mut Db,
    run: i64,
    only: &Only,
    now: DateTime<Utc>,
) -> anyhow::Result<Claim> {
    take(db, only, "take_overs > 0", values![run, now, 1]).await
}

/// Claims at most `$3` of `which` mails that are due at `$2`, for the run `$1`.
async fn take(db: &mut Db, only: &Only, which: &str, mut values: Vec<Value>) -> anyhow::Result<Claim> {
    let only = only.condition(db, &mut values);
    let heads = ["kind", "locale", "sender", "recipient", "reply_to", "message_id"];
    let longest: Vec<String> =
        heads.iter().map(|head| format!("COALESCE(OCTET_LENGTH({head}), 0)")).collect();
    let within = |column: &str, most| {
        format!("CASE WHEN OCTET_LENGTH({column}) <= {most} THEN {column} END AS {column}")
    };
    let heads: Vec<String> = heads.iter().map(|head| within(head, MAX_HEAD_BYTES)).collect();
    let sql = format!(
        "UPDATE mails SET claimed_by = $1
         WHERE id IN (SELECT id FROM mails
                      WHERE {which} AND due_at <= $2 {only}
                        AND claimed_by IS NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                      ORDER BY priority, due_at, id LIMIT $3 {skip})
           AND claimed_by IS NULL
           AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
         RETURNING id, {heads}, {headers}, category, due_at, queued_at, status, is_paced, attempts, unknown_attempts,
                   take_overs, CAST({greatest}({longest}) AS BIGINT) AS head_bytes,
                   CAST(COALESCE(OCTET_LENGTH(headers), 0) AS BIGINT) AS header_bytes,
                   CAST(COALESCE(OCTET_LENGTH(subject), 0) + COALESCE(OCTET_LENGTH(text_body), 0)
                        + COALESCE(OCTET_LENGTH(html_body), 0) + COALESCE(OCTET_LENGTH(data), 0) AS BIGINT) AS text_bytes",
        skip = db.pick("", "FOR UPDATE SKIP LOCKED"),
        heads = heads.join(", "),
        headers = within("headers", MAX_HEADERS_BYTES),
        greatest = db.pick("MAX", "GREATEST"),
        longest = longest.join(", "),
    );
    let stored: Vec<StoredMail> = db.fetch_all(&sql, values).await?;
    let mut files = sizes_of_files(db, &stored).await?;
    let mut claim = Claim::default();
    for row in stored {
        let id = row.id;
        match row.read(files.remove(&id)) {
            Ok(mail) => claim.mails.push(mail),
            Err(problem) => claim.unreadable.push(Unreadable { id, problem }),
        }
    }
    claim.mails.sort_by_key(|mail| (mail.due_at, mail.id));
    claim.position = claim.mails.last().map(|last| Position { due_at: last.due_at, id: last.id });
    Ok(claim)
}

/// The sizes of the attachments of those mails that have any. Their names count, and what each of them costs beside.
async fn sizes_of_files(db: &mut Db, mails: &[StoredMail]) -> anyhow::Result<HashMap<i64, i64>> {
    if mails.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = mails.iter().map(|mail| mail.id).collect();
    let sql = format!(
        "SELECT mail_id, CAST(SUM(200 + OCTET_LENGTH(name) + OCTET_LENGTH(content_type)
                                  + COALESCE(OCTET_LENGTH(content_id), 0) + COALESCE(OCTET_LENGTH(content), 0)) AS BIGINT)
         FROM mail_attachments WHERE mail_id IN {} GROUP BY mail_id",
        db.numbers("$1")
    );
    let sizes: Vec<(i64, i64)> = db.fetch_all(&sql, values![json!(ids)]).await?;
    Ok(sizes.into_iter().collect())
}

/// The bodies of a mail, or the template data that they are rendered from.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    pub(super) subject: Option<String>,
    pub(super) text_body: Option<String>,
    pub(super) html_body: Option<String>,
    pub(super) data: Option<String>,
}

#[derive(FromRow)]
struct StoredBodies {
    id: i64,
    subject: Option<StoredText>,
    text_body: Option<StoredText>,
    html_body: Option<StoredText>,
    data: Option<StoredText>,
}

impl StoredBodies {
    fn read(self) -> Result<Bodies, String> {
        Ok(Bodies {
            subject: optional("subject", self.subject)?,
            text_body: optional("text_body", self.text_body)?,
            html_body: optional("html_body", self.html_body)?,
            data: optional("data", self.data)?,
        })
    }
}

/// The bodies of some mails, by mail, or what is wrong with them.
pub(super) async fn bodies(db: &mut Db, ids: &[i64]) -> anyhow::Result<HashMap<i64, Result<Bodies, String>>> {
    let sql =
        format!("SELECT id, subject, text_body, html_body, data FROM mails WHERE id IN {}", db.numbers("$1"));
    let stored: Vec<StoredBodies> = db.fetch_all(&sql, values![json!(ids)]).await?;
    Ok(stored.into_iter().map(|bodies| (bodies.id, bodies.read())).collect())
}

#[derive(FromRow)]
struct StoredFile {
    name: StoredText,
    content_type: StoredText,
    content_id: Option<StoredText>,
    content: Option<Vec<u8>>,
}

impl StoredFile {
    fn read(self) -> Result<Attachment, String> {
        let name = self.name.read().map_err(|problem| format!("the name of an attachment: {problem}"))?;
        let of = |column: &str, problem: &str| format!("{column} of the attachment `{name}`: {problem}");
        let content_type = self.content_type.read().map_err(|problem| of("content_type", problem))?;
        let content_id =
            self.content_id.map(StoredText::read).transpose().map_err(|problem| of("content_id", problem))?;
        let Some(bytes) = self.content else {
            return Err(format!("the attachment `{name}` no longer has any content"));
        };
        Ok(Attachment { name, content_type, content_id, bytes })
    }
}

/// The attachments of a mail, or what is wrong with one of them.
pub(super) async fn files(db: &mut Db, mail: i64) -> anyhow::Result<Result<Vec<Attachment>, String>> {
    let sql =
        "SELECT name, content_type, content_id, content FROM mail_attachments WHERE mail_id = $1 ORDER BY id";
    let stored: Vec<StoredFile> = db.fetch_all(sql, values![mail]).await?;
    Ok(stored.into_iter().map(StoredFile::read).collect())
}

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
    /// Whether it is what a try to send the mail led to, which is kept as a row.
    pub(super) is_try: bool,
    /// Whether the run keeps the mail.
    pub(super) keeps_claim: bool,
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
            is_try: false,
            keeps_claim: status == SENDING,
        }
    }

    fn ends(&self) -> bool {
        matches!(self.status, SENT | FAILED | CANCELLED)
    }
}

/// The values of `mails.status`.
pub(super) const QUEUED: &str = "QUEUED";
pub(super) const SENDING: &str = "SENDING";
pub(super) const SENT: &str = "SENT";
pub(super) const RETRY: &str = "RETRY";
pub(super) const UNKNOWN: &str = "UNKNOWN";
pub(super) const FAILED: &str = "FAILED";
pub(super) const CANCELLED: &str = "CANCELLED";

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
                i32::from(change.is_try),
            ])
        })
        .collect();
    let values = values![run, now, serde_json::Value::from(rows)];
    let is_tried = changes.iter().any(|change| change.is_try);
    let written: Vec<(i64,)> = match db.kind() {
        Kind::Postgres => db.fetch_all(WRITE_POSTGRES, values).await?,
        Kind::Sqlite if is_tried => {
            db.transaction(async |db| {
                let written = db.fetch_all(WRITE_SQLITE, values.clone()).await?;
                db.execute(TRIES_SQLITE, values).await?;
                Ok(written)
            })
            .await?
        }
        Kind::Sqlite => db.fetch_all(WRITE_SQLITE, values).await?,
    };
    Ok(written.into_iter().map(|(id,)| id).collect())
}

/// Keeps the tries among the changes that were written, which SQLite cannot do in the same statement: a mail that this run
/// has tried is in the state that the try led to.
const TRIES_SQLITE: &str = "
    INSERT INTO mail_tries (mail_id, run_id, status, reply, tried_at)
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
const WRITE_SQLITE: &str = "
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
        ended_at = CASE WHEN changed.ends = 1 THEN $2 END
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS status,
                 strftime('%Y-%m-%dT%H:%M:%S', (value ->> 2) / 1000000, 'unixepoch')
                     || printf('.%06d+00:00', (value ->> 2) % 1000000) AS due_at,
                 value ->> 3 AS attempts, value ->> 4 AS unknown_attempts, value ->> 5 AS is_held,
                 value ->> 6 AS is_paced, value ->> 7 AS reply, value ->> 8 AS provider_message_id,
                 value ->> 9 AS message_id, value ->> 10 AS keeps_claim, value ->> 11 AS ends
          FROM json_each($3)) changed
    WHERE mails.id = changed.id AND +mails.claimed_by = $1
      AND (changed.status <> 'SENDING' OR mails.status IN ('QUEUED', 'RETRY', 'UNKNOWN'))
      AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
    RETURNING mails.id";
const WRITE_POSTGRES: &str = "
    WITH changed AS (
        SELECT CAST(value ->> 0 AS BIGINT) AS id, value ->> 1 AS status,
               TIMESTAMPTZ '1970-01-01 00:00:00+00' + CAST(value ->> 2 AS BIGINT) * INTERVAL '1 microsecond' AS due_at,
               CAST(value ->> 3 AS BIGINT) AS attempts, CAST(value ->> 4 AS BIGINT) AS unknown_attempts,
               CAST(value ->> 5 AS BIGINT) AS is_held, CAST(value ->> 6 AS BIGINT) AS is_paced,
               value ->> 7 AS reply, value ->> 8 AS provider_message_id, value ->> 9 AS message_id,
               CAST(value ->> 10 AS BIGINT) AS keeps_claim, CAST(value ->> 11 AS BIGINT) AS ends,
               CAST(value ->> 12 AS BIGINT) AS is_try
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
            ended_at = CASE WHEN changed.ends = 1 THEN $2 END
        FROM changed
        WHERE mails.id = changed.id AND mails.claimed_by IS NOT DISTINCT FROM $1
          AND (changed.status <> 'SENDING' OR mails.status IN ('QUEUED', 'RETRY', 'UNKNOWN'))
          AND EXISTS (SELECT 1 FROM batch_execution
                      WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
        RETURNING mails.id, changed.status, changed.reply, changed.is_try
    ), tried AS (
        INSERT INTO mail_tries (mail_id, run_id, status, reply, tried_at)
        SELECT id, $1, status, reply, $2 FROM written WHERE is_try = 1
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

/// Stores the rendered texts of a template, so that `mail show` shows what was sent.
#[expect(clippy::too_many_arguments, reason = "the columns that it writes")]
pub(super) async fn keep_texts(
    db: &mut Db,
    run: i64,
    id: i64,
    category: &str,
    locale: &str,
    subject: &str,
    text: Option<&str>,
    html: Option<&str>,
) -> anyhow::Result<()> {
    db.execute(
        "UPDATE mails SET category = $1, locale = $2, subject = $3, text_body = $4, html_body = $5
         WHERE id = $6 AND claimed_by = $7",
        values![category, locale, subject, text, html, id, run],
    )
    .await?;
    Ok(())
}

/// Releases the mails that a run holds and has not started to send.
pub(super) async fn release(db: &mut Db, run: i64) -> anyhow::Result<u64> {
    let sql = "UPDATE mails SET claimed_by = NULL
               WHERE claimed_by = $1 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')";
    Ok(db.execute(sql, values![run]).await?)
}

/// Until when the server takes no mails, as it said itself to some run.
pub(super) async fn server_closed_until(db: &mut Db, server: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT next_at FROM mail_pace WHERE bucket = $1";
    let found: Option<(DateTime<Utc>,)> = db.fetch_optional(sql, values![server_bucket(server)]).await?;
    Ok(found.map(|(until,)| until))
}

/// Keeps until when the server takes no mails: the limit is the account's, and other runs need not ask.
pub(super) async fn close_server(db: &mut Db, server: &str, until: DateTime<Utc>) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO mail_pace (bucket, next_at, deferred_until) VALUES ($1, $2, $2)
         ON CONFLICT (bucket) DO UPDATE SET next_at = excluded.next_at WHERE mail_pace.next_at < excluded.next_at",
        values![server_bucket(server), until],
    )
    .await?;
    Ok(())
}

/// The bucket of a server: no domain has a blank.
fn server_bucket(server: &str) -> String {
    format!("server {server}")
}

/// A mail that this many processes died over is probably the cause: it fails, or waits for a person if it may have arrived.
const MAX_TAKE_OVERS: i64 = 3;

/// What became of the mails that dead runs held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Those that were being sent and may have arrived, and whether they wait for a person.
    pub(super) unknown: Vec<(i64, bool)>,
    /// Those that too many runs died over, with what is said of them.
    pub(super) failed: Vec<(i64, String)>,
}

/// Reclaims the mails that dead runs held. A mail that one of them was sending may have arrived: it becomes UNKNOWN,
/// and depending on the configuration it is sent again or waits for a person.
///
/// One of these mails may be what the process died of, by its size or its template: a take-over counts, and from then on
/// such a mail is sent alone, after all others. One whose runs go on dying is not tried for ever.
pub(super) async fn recover(db: &mut Db, now: DateTime<Utc>, rule: OnUnknown) -> anyhow::Result<Recovered> {
    let abandoned = "claimed_by IS NOT NULL AND claimed_by NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')";
    // A run that ended by itself, and could not even release its mails, died of none of them.
    let take_overs = "take_overs + CASE WHEN EXISTS (SELECT 1 FROM batch_execution
                                                     WHERE batch_execution.id = mails.claimed_by
                                                       AND batch_execution.status <> 'CRASHED') THEN 0 ELSE 1 END";
    let failed = db
        .fetch_all(
            &format!(
                "UPDATE mails SET claimed_by = NULL, status = 'FAILED', ended_at = $1, take_overs = {take_overs},
                     last_reply = CAST({take_overs} AS TEXT) || ' runs died while they held this mail, the last one was run '
                                  || CAST(claimed_by AS TEXT)
                 WHERE {abandoned} AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') AND {take_overs} >= $2
                 RETURNING id, last_reply"
            ),
            values![now, MAX_TAKE_OVERS],
        )
        .await?;
    db.execute(
        &format!(
            "UPDATE mails SET claimed_by = NULL, take_overs = {take_overs}
             WHERE {abandoned} AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')"
        ),
        values![],
    )
    .await?;
    let is_unknown = format!(
        "UPDATE mails SET claimed_by = NULL, status = 'UNKNOWN', due_at = $1,
             unknown_attempts = unknown_attempts + 1, take_overs = {take_overs}, is_held = ($2 OR {take_overs} >= $3),
             last_reply = 'run ' || CAST(claimed_by AS TEXT) || ' ended while it was sending'
         WHERE {abandoned} AND status = 'SENDING'
         RETURNING id, is_held"
    );
    let unknown = db.fetch_all(&is_unknown, values![now, rule == OnUnknown::Hold, MAX_TAKE_OVERS]).await?;
    Ok(Recovered { unknown, failed })
}

/// An address that its server says does not exist.
#[derive(Debug, Clone)]
pub(super) struct Bounce {
    pub(super) address: String,
    pub(super) mail: i64,
    pub(super) reply: String,
}

/// Suppresses all mail to an address that bounced, beside whatever else is known of it. A suppression that is held is not in
/// force until a person has confirmed it; one that was held comes into force when the address bounces once more in a run
/// that is beyond doubt.
pub(super) async fn suppress(
    db: &mut Db,
    run: i64,
    bounce: &Bounce,
    is_held: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, detail, mail_id, run_id, is_held, created_at)
         VALUES ($1, 'ALL', 'BOUNCE', $2, $3, $4, $5, $6)
         ON CONFLICT (address, reason) DO UPDATE SET scope = 'ALL', detail = $2, mail_id = $3, run_id = $4, is_held = $5
         WHERE mail_suppressions.is_held OR mail_suppressions.scope <> 'ALL'",
        values![&bounce.address, &bounce.reply, bounce.mail, run, is_held, now],
    )
    .await?;
    Ok(())
}

/// Requeues failed mails of an earlier run.
pub(super) async fn requeue_failed(db: &mut Db, ids: &[i64], now: DateTime<Utc>) -> anyhow::Result<u64> {
    let sql = format!(
        "UPDATE mails SET {AS_NEW} WHERE (status = 'FAILED' OR (status = 'UNKNOWN' AND is_held)) AND id IN {}",
        db.numbers("$2")
    );
    Ok(db.execute(&sql, values![now, json!(ids)]).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, at, now, on_both_databases};
    use crate::runner::history::Status;

    on_both_databases![
        the_longest_due_of_a_priority_are_claimed_first,
        the_most_urgent_priority_is_that_of_a_due_mail,
        what_another_run_holds_is_skipped,
        a_run_that_has_ended_claims_nothing_and_writes_nothing,
        a_mail_that_the_run_does_not_hold_is_left_alone,
        what_a_dead_run_held_is_reclaimed_and_what_it_was_sending_is_unknown,
        a_mail_that_many_processes_died_over_waits_for_a_person,
        a_mail_that_runs_die_of_fails_and_the_others_do_not_wait_for_it,
        a_run_that_ended_by_itself_died_of_no_mail,
        what_is_too_large_or_no_count_is_known_before_it_is_read,
        a_changed_mail_is_found_by_its_number,
    ];

    const LONG_AGO: &str = "2026-01-01T00:00:00Z";
    const EARLIER: &str = "2026-02-01T00:00:00Z";
    const NONE: [i64; 0] = [];
    const TOMORROW: &str = "2026-11-21T00:00:00Z";

    /// Queues a mail and returns its id.
    async fn queue(db: &mut TestDb, priority: i64, due_at: &str) -> i64 {
        let sql = "INSERT INTO mails (kind, recipient, subject, text_body, priority, due_at, queued_at)
                   VALUES ('test', 'a@example.jp', 'subject', 'text', $1, $2, $2) RETURNING id";
        db.fetch_one::<(i64,)>(sql, values![priority, at(due_at)]).await.unwrap().0
    }

    async fn claim_as(db: &mut Db, run: i64, most: i64) -> Vec<i64> {
        let claimed = claim(db, run, &Only::All, 2, now(), None, most).await.unwrap();
        claimed.mails.into_iter().map(|mail| mail.id).collect()
    }

    /// Id, status, attempts, attempts with unknown outcome, holder, and whether it waits for a person.
    async fn states(db: &mut TestDb) -> Vec<String> {
        db.lines("SELECT id, status, attempts, unknown_attempts, claimed_by, is_held FROM mails").await
    }

    async fn a_changed_mail_is_found_by_its_number(db: &mut TestDb) {
        let run = db.run_that_is(Status::Running).await;
        let queued = "mails (kind, recipient, subject, text_body, due_at, queued_at, claimed_by)
                      SELECT 'test', 'a@example.jp', 'subject', 'text', {at}, {at}, 1";
        db.fill(4_000, &queued.replace("{at}", "'2026-01-01T00:00:00+00:00'")).await;
        let changes = json!([[1, SENT, null, 0, 0, 0, 0, null, null, null, 0, 1]]);
        let sql = db.pick(WRITE_SQLITE, WRITE_POSTGRES);
        assert_eq!(db.found_by("mails", sql, values![run, now(), changes]).await, ["id"]);
    }

    async fn the_longest_due_of_a_priority_are_claimed_first(db: &mut TestDb) {
        let run = db.run_that_is(Status::Running).await;
        let due = [EARLIER, LONG_AGO, LONG_AGO, TOMORROW, EARLIER];
        for due_at in due {
            queue(db, 2, due_at).await;
        }
        queue(db, 1, LONG_AGO).await;
        let mut position = None;
        let mut claims = Vec::new();
        for _ in 0..3 {
            let claimed = claim(db, run, &Only::All, 2, now(), position, 3).await.unwrap();
            claims.push(claimed.mails.into_iter().map(|mail| mail.id).collect::<Vec<_>>());
            position = claimed.position;
        }
        assert_eq!(claims, [vec![2, 3, 1], vec![5], vec![]]);
    }

    async fn the_most_urgent_priority_is_that_of_a_due_mail(db: &mut TestDb) {
        assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), None);
        queue(db, 1, TOMORROW).await;
        queue(db, 3, LONG_AGO).await;
        assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(3));
        queue(db, 2, LONG_AGO).await;
        assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(2));
        db.sql("UPDATE mails SET is_held = TRUE WHERE priority = 2").await;
        assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(3));
    }

    async fn what_another_run_holds_is_skipped(db: &mut TestDb) {
        let (first, second) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
        for _ in 0..4 {
            queue(db, 2, LONG_AGO).await;
        }
        let mut other = db.another().await;
        // On PostgreSQL locked rows are skipped; SQLite has one writer at a time.
        let (begin, end) = db.pick(("", ""), ("BEGIN", "COMMIT"));
        other.script(begin).await.unwrap();
        assert_eq!(claim_as(&mut other, first, 2).await, [1, 2]);
        assert_eq!(claim_as(db, second, 3).await, [3, 4]);
        other.script(end).await.unwrap();
        assert_eq!(claim_as(db, second, 3).await, NONE);
        other.close().await;
        let held = format!("{first} {first} {second} {second}");
        assert_eq!(db.sql("SELECT claimed_by FROM mails ORDER BY id").await.concat().join(" "), held);
    }

    async fn a_run_that_has_ended_claims_nothing_and_writes_nothing(db: &mut TestDb) {
        let run = db.run_that_is(Status::Running).await;
        let mail = queue(db, 2, LONG_AGO).await;
        queue(db, 2, LONG_AGO).await;
        assert_eq!(claim_as(db, run, 1).await, [mail]);
        db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
        assert_eq!(claim_as(db, run, 1).await, NONE);
        assert_eq!(write(db, run, now(), &[Change::to(mail, SENDING)]).await.unwrap(), NONE);
        assert_eq!(states(db).await, ["1 QUEUED 0 0 1 0", "2 QUEUED 0 0 NULL 0"]);
    }

    async fn a_mail_that_the_run_does_not_hold_is_left_alone(db: &mut TestDb) {
        let (run, other) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
        for _ in 0..3 {
            queue(db, 2, LONG_AGO).await;
        }
        assert_eq!(claim_as(db, run, 1).await, [1]);
        assert_eq!(claim_as(db, other, 1).await, [2]);
        let changes = [1, 2, 3].map(|mail| Change { attempts: 1, ..Change::to(mail, SENDING) });
        assert_eq!(write(db, run, now(), &changes).await.unwrap(), [1]);
        assert_eq!(states(db).await, ["1 SENDING 1 0 1 0", "2 QUEUED 0 0 2 0", "3 QUEUED 0 0 NULL 0"]);
        // Once is enough: it is already being sent.
        assert_eq!(write(db, run, now(), &changes).await.unwrap(), NONE);
        let sent = Change { reply: Some("250 a\0b".to_owned()), ..Change::to(1, SENT) };
        assert_eq!(write(db, run, now(), &[sent]).await.unwrap(), [1]);
        assert_eq!(
            db.sql("SELECT status, claimed_by, last_reply, ended_at FROM mails WHERE id = 1").await,
            [["SENT", "NULL", "250 a␀b", "2026-11-19T16:00:00+00:00"]]
        );
    }

    async fn what_a_dead_run_held_is_reclaimed_and_what_it_was_sending_is_unknown(db: &mut TestDb) {
        let (dead, alive) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
        for _ in 0..3 {
            queue(db, 2, LONG_AGO).await;
        }
        assert_eq!(claim_as(db, dead, 2).await, [1, 2]);
        assert_eq!(claim_as(db, alive, 1).await, [3]);
        let begun = |mail| Change { attempts: 1, ..Change::to(mail, SENDING) };
        write(db, dead, now(), &[begun(1)]).await.unwrap();
        write(db, alive, now(), &[begun(3)]).await.unwrap();
        db.sql("UPDATE batch_execution SET status = 'CRASHED' WHERE id = 1").await;

        let recovered = Recovered { unknown: vec![(1, false)], failed: Vec::new() };
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), recovered);

        assert_eq!(states(db).await, ["1 UNKNOWN 1 1 NULL 0", "2 QUEUED 0 0 NULL 0", "3 SENDING 1 0 2 0"]);
        assert_eq!(
            db.scalar("SELECT last_reply FROM mails WHERE id = 1").await,
            "run 1 ended while it was sending"
        );
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
    }

    async fn a_mail_that_many_processes_died_over_waits_for_a_person(db: &mut TestDb) {
        queue(db, 2, LONG_AGO).await;
        let mut is_held = Vec::new();
        for _ in 0..MAX_TAKE_OVERS {
            die_with(db, 1, true).await;
            is_held.extend(recover(db, now(), OnUnknown::Resend).await.unwrap().unknown);
        }
        assert_eq!(is_held, [(1, false), (1, false), (1, true)]);
        // With `on_unknown = "hold"` the first death is enough.
        db.sql("UPDATE mails SET unknown_attempts = 0, take_overs = 0, is_held = FALSE").await;
        die_with(db, 1, true).await;
        assert_eq!(recover(db, now(), OnUnknown::Hold).await.unwrap().unknown, [(1, true)]);
    }

    /// A run claims at most so many mails, starts to send them or not, and dies.
    async fn die_with(db: &mut TestDb, most: i64, is_sending: bool) {
        let run = db.run_that_is(Status::Running).await;
        let mut mails = claim_as(db, run, most).await;
        if mails.is_empty() {
            let suspect = claim_suspect(db, run, &Only::All, now()).await.unwrap();
            mails = suspect.mails.into_iter().map(|mail| mail.id).collect();
        }
        if is_sending {
            let begun: Vec<Change> =
                mails.into_iter().map(|mail| Change { attempts: 1, ..Change::to(mail, SENDING) }).collect();
            write(db, run, now(), &begun).await.unwrap();
        }
        db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
    }

    async fn a_mail_that_runs_die_of_fails_and_the_others_do_not_wait_for_it(db: &mut TestDb) {
        for _ in 0..3 {
            queue(db, 2, LONG_AGO).await;
        }
        // Which of the three it was, nobody knows yet.
        die_with(db, 3, false).await;
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
        let late = queue(db, 3, EARLIER).await;
        assert_eq!(
            most_urgent(db, &Only::All, now()).await.unwrap(),
            Some(3),
            "those under suspicion come last"
        );
        db.sql(&format!("DELETE FROM mails WHERE id = {late}")).await;
        assert!(is_any_due(db, &Only::All, now()).await.unwrap());
        die_with(db, 3, false).await;
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
        assert_eq!(db.lines("SELECT id, take_overs FROM mails").await, ["1 2", "2 1", "3 1"], "one by one");
        die_with(db, 3, false).await;
        let problem = "3 runs died while they held this mail, the last one was run 3".to_owned();
        let recovered = Recovered { unknown: Vec::new(), failed: vec![(1, problem)] };
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), recovered);
        assert_eq!(states(db).await, ["1 FAILED 0 0 NULL 0", "2 QUEUED 0 0 NULL 0", "3 QUEUED 0 0 NULL 0"]);
    }

    async fn a_run_that_ended_by_itself_died_of_no_mail(db: &mut TestDb) {
        queue(db, 2, LONG_AGO).await;
        let run = db.run_that_is(Status::Running).await;
        assert_eq!(claim_as(db, run, 1).await, [1]);
        db.sql("UPDATE batch_execution SET status = 'FAILED'").await;
        recover(db, now(), OnUnknown::Resend).await.unwrap();
        assert_eq!(db.scalar("SELECT take_overs FROM mails").await, "0");
    }

    async fn what_is_too_large_or_no_count_is_known_before_it_is_read(db: &mut TestDb) {
        let run = db.run_that_is(Status::Running).await;
        for _ in 0..6 {
            queue(db, 2, LONG_AGO).await;
        }
        let (fill, zeros) = db.pick(
            ("REPLACE(HEX(ZEROBLOB($n / 2)), '00', 'ab')", "ZEROBLOB($n)"),
            ("REPEAT('a', $n)", "CAST(REPEAT('a', $n) AS BYTEA)"),
        );
        let text = |bytes: i64| fill.replace("$n", &bytes.to_string());
        let content = |bytes: i64| zeros.replace("$n", &bytes.to_string());
        let half = MAX_MAIL_BYTES / 2;
        db.sql(&format!(
            "UPDATE mails SET text_body = {}, html_body = {} WHERE id = 1",
            text(half),
            text(half)
        ))
        .await;
        db.sql(&format!("UPDATE mails SET headers = {} WHERE id = 2", text(MAX_HEADERS_BYTES + 2))).await;
        db.sql(&format!("UPDATE mails SET recipient = {} WHERE id = 3", text(MAX_HEAD_BYTES + 2))).await;
        db.sql(&format!("UPDATE mails SET attempts = {} WHERE id = 4", i64::MAX)).await;
        for name in ["a", "b"] {
            db.sql(&format!(
                "INSERT INTO mail_attachments (mail_id, name, content_type, content) VALUES (5, '{name}', 'text/csv', {})",
                content(half)
            ))
            .await;
        }
        db.sql("INSERT INTO mail_attachments (mail_id, name, content_type) VALUES (6, 'c', 'text/csv')")
            .await;
        let claimed = claim(db, run, &Only::All, 2, now(), None, 10).await.unwrap();
        let mut problems: Vec<String> =
            claimed.unreadable.into_iter().map(|row| format!("{}: {}", row.id, row.problem)).collect();
        problems.sort();
        assert_eq!(
            problems,
            [
                "1: too large: subject, bodies and data: 50331655 bytes, of at most 50331648",
                "2: too large: headers: 65538 bytes, of at most 65536",
                "3: too large: the longest of kind, locale, addresses and message_id: 4098 bytes, of at most 4096",
                "4: attempts: 9223372036854775807 is not a count of attempts",
                "5: too large: the attachments: 50332066 bytes, of at most 50331648",
            ]
        );
        let sizes: Vec<_> = claimed.mails.iter().map(|mail| (mail.id, mail.bytes, mail.file_bytes)).collect();
        assert_eq!(sizes, [(6, 220, Some(209))]);
    }
}
