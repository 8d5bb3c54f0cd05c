//! Claiming: which mails are due, and whose row is which run's.
//!
//! A mail belongs to the run in `claimed_by`. What other programs wrote into its row may be anything; sizes are known
//! before anything is read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Db, FromRow, Kind, StoredText, StoredTime, Value};
use crate::values;

use super::contents::{optional, required};

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
    /// Since when the server has not taken it, although the reason may not be this mail.
    pub(super) untaken_since: Option<DateTime<Utc>>,
    /// In how many runs that was so while the server took others.
    pub(super) untaken_runs: i64,
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
pub(super) const MAX_HEAD_BYTES: i64 = 4 * 1024;
/// The most bytes of `headers`.
pub(super) const MAX_HEADERS_BYTES: i64 = 64 * 1024;
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
    untaken_since: Option<StoredTime>,
    untaken_runs: i64,
    is_held: i64,
}

impl StoredMail {
    /// The row as a mail, or the first problem with it, by its column.
    fn read(self, file_bytes: Option<i64>) -> Result<Claimed, String> {
        for (bytes, most, what) in [
            (self.head_bytes, MAX_HEAD_BYTES, "the longest of kind, locale, addresses and message_id"),
            (self.header_bytes, MAX_HEADERS_BYTES, "headers"),
            (self.text_bytes, MAX_MAIL_BYTES, TEXTS),
            (file_bytes.unwrap_or(0), MAX_MAIL_BYTES, "the attachments"),
            (self.text_bytes + file_bytes.unwrap_or(0), MAX_MAIL_BYTES, "the mail with its attachments"),
        ] {
            if bytes > most {
                return Err(too_large(what, bytes, most));
            }
        }
        for (count, column) in [
            (self.attempts, "attempts"),
            (self.unknown_attempts, "unknown_attempts"),
            (self.untaken_runs, "untaken_runs"),
        ] {
            if !(0..=MAX_COUNTED).contains(&count) {
                return Err(format!("{column}: {count} is not a count of attempts"));
            }
        }
        if !(0..=MAX_COUNTED).contains(&self.take_overs) {
            return Err(format!("take_overs: {} is not a count of runs", self.take_overs));
        }
        if self.is_held != 0 {
            return Err(format!("is_held: {} is neither 0 nor 1", self.is_held));
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
            untaken_since: self.untaken_since.and_then(|since| since.at()),
            untaken_runs: self.untaken_runs,
        })
    }
}

/// The bytes of a mail's texts. SQLite knows them without reading the texts.
const TEXT_BYTES: &str = "(COALESCE(OCTET_LENGTH(subject), 0) + COALESCE(OCTET_LENGTH(text_body), 0)
                        + COALESCE(OCTET_LENGTH(html_body), 0) + COALESCE(OCTET_LENGTH(data), 0))";
/// How many mails that are too large are named in one run.
const MOST_OVERSIZED: i64 = 100;

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
    /// Further conditions of a statement that has these values. A mail whose texts are too large is left where it is: see
    /// [`oversized`].
    fn condition(&self, db: &Db, values: &mut Vec<Value>) -> String {
        let fits = db.pick(format!(" AND {TEXT_BYTES} <= {MAX_MAIL_BYTES}"), String::new());
        self.which(db, values) + &fits
    }

    fn which(&self, db: &Db, values: &mut Vec<Value>) -> String {
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

/// Those of these mails that do not exist.
pub(super) async fn unknown_ids(db: &mut Db, ids: &[i64]) -> anyhow::Result<Vec<i64>> {
    let sql = format!("SELECT id FROM mails WHERE id IN {}", db.numbers("$1"));
    let found: Vec<(i64,)> = db.fetch_all(&sql, values![json!(ids)]).await?;
    Ok(ids.iter().copied().filter(|id| !found.contains(&(*id,))).collect())
}

/// Why none of these mails is due, mail by mail, or that there is none.
pub(super) async fn why_none_is_due(db: &mut Db, only: &Only) -> anyhow::Result<Option<String>> {
    let mut values = Vec::new();
    let condition = only.which(db, &mut values);
    match only {
        Only::All => Ok(None),
        Only::Kind(kind) => {
            let sql = format!(
                "SELECT id FROM mails WHERE status IN ('QUEUED', 'RETRY', 'UNKNOWN', 'SENDING') {condition} LIMIT 1"
            );
            let found: Option<(i64,)> = db.fetch_optional(&sql, values).await?;
            Ok(found.is_none().then(|| format!("no mail of the kind `{kind}` is in the queue")))
        }
        Only::Ids(_) => {
            let sql = format!(
                "SELECT id, status, claimed_by FROM mails WHERE TRUE {condition} ORDER BY id LIMIT 20"
            );
            let found: Vec<(i64, String, Option<i64>)> = db.fetch_all(&sql, values).await?;
            let states = found.into_iter().map(|(id, status, run)| match run {
                Some(run) => format!("mail {id} is {status} and belongs to run {run}"),
                None => format!("mail {id} is {status}"),
            });
            Ok(Some(states.collect::<Vec<_>>().join(", ")))
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

/// The most urgent priority with a mail that is due. Those that a run may have died of have their own.
pub(super) async fn most_urgent(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<Option<i64>> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    let found: Option<(i64,)> = db
        .fetch_optional(
            // Not EXISTS: PostgreSQL would scan everything that is due, although one row is enough.
            &format!("WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
             SELECT priority FROM level
             WHERE (SELECT due_at FROM mails
                    WHERE mails.priority = level.priority AND claimed_by IS NULL AND is_held <> TRUE AND take_overs <= 0
                      AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
                    ORDER BY due_at, id LIMIT 1) <= $1
             ORDER BY priority LIMIT 1"),
            values,
        )
        .await?;
    Ok(found.map(|(priority,)| priority))
}

/// The priorities with a due mail that no earlier run left in doubt.
pub(super) async fn priorities_with_untried(
    db: &mut Db,
    only: &Only,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<i64>> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    // From the newest on: those in doubt have been due for longer.
    let sql = format!(
        "WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
         SELECT priority FROM level
         WHERE (SELECT due_at FROM mails
                WHERE mails.priority = level.priority AND due_at <= $1 AND untaken_since IS NULL AND claimed_by IS NULL
                  AND is_held <> TRUE AND take_overs <= 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
                ORDER BY due_at DESC, id DESC LIMIT 1) IS NOT NULL
         ORDER BY priority"
    );
    let found: Vec<(i64,)> = db.fetch_all(&sql, values).await?;
    Ok(found.into_iter().map(|(priority,)| priority).collect())
}

/// Whether any mail is due.
pub(super) async fn is_any_due(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<bool> {
    Ok(most_urgent(db, only, now).await?.is_some() || most_urgent_suspect(db, only, now).await?.is_some())
}

/// How many mails are due that no run holds.
pub(super) async fn count_due(db: &mut Db, only: &Only, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    // Each half has an index.
    let half = |which: &str| {
        format!(
            "(SELECT COUNT(*) FROM mails
              WHERE {which} AND due_at <= $1 AND claimed_by IS NULL AND is_held <> TRUE
                AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only})"
        )
    };
    let sql = format!("SELECT {} + {}", half("take_overs <= 0"), half("take_overs > 0"));
    let (count,): (i64,) = db.fetch_one(&sql, values).await?;
    Ok(u64::try_from(count)?)
}

/// The most urgent priority with a mail that is due and that a run may have died of.
pub(super) async fn most_urgent_suspect(
    db: &mut Db,
    only: &Only,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<i64>> {
    let mut values = values![now];
    let only = only.condition(db, &mut values);
    let sql = format!(
        "SELECT priority FROM mails
         WHERE take_overs > 0 AND due_at <= $1 AND claimed_by IS NULL AND is_held <> TRUE
           AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
         ORDER BY priority, due_at, id LIMIT 1"
    );
    Ok(db.fetch_optional::<(i64,)>(&sql, values).await?.map(|(priority,)| priority))
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
                           AND is_held <> TRUE AND take_overs <= 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') {only}
                         ORDER BY due_at, id LIMIT 1))
             FROM level"),
            values,
        )
        .await?;
    Ok(next.and_then(|next| next.at()))
}

/// How many mails wait because the server did not take them, and since when the first of them does.
pub(super) async fn untaken(db: &mut Db) -> anyhow::Result<Option<(i64, DateTime<Utc>)>> {
    let (count, since): (i64, Option<StoredTime>) = db
        .fetch_one(
            "SELECT COUNT(*), MIN(untaken_since) FROM mails
             WHERE untaken_since IS NOT NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')",
            values![],
        )
        .await?;
    Ok(since.and_then(|since| since.at()).map(|since| (count, since)))
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
    let mut which = "priority = $4 AND take_overs <= 0".to_owned();
    if let Some(position) = position {
        which.push_str(" AND (due_at, id) > ($5, $6)");
        values.extend(values![position.due_at, position.id]);
    }
    take(db, only, &which, OLDEST, values).await
}

/// Claims due mails of one priority that no earlier run left in doubt, the shortest due first.
pub(super) async fn claim_newest_untried(
    db: &mut Db,
    run: i64,
    only: &Only,
    priority: i64,
    now: DateTime<Utc>,
    most: i64,
) -> anyhow::Result<Claim> {
    let which = "priority = $4 AND take_overs <= 0 AND untaken_since IS NULL";
    take(db, only, which, "due_at DESC, id DESC", values![run, now, most, priority]).await
}

/// The due mails whose texts are too large, with what is wrong with them. On SQLite a mail cannot even be claimed, or be
/// marked as failed, without reading all of its text: it stays as it is, and is named. On PostgreSQL it fails like any other.
pub(super) async fn oversized(
    db: &mut Db,
    only: &Only,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Unreadable>> {
    if db.kind() == Kind::Postgres {
        return Ok(Vec::new());
    }
    let mut values = values![now, MOST_OVERSIZED];
    let only = only.which(db, &mut values);
    let sql = format!(
        "SELECT id, CAST({TEXT_BYTES} AS BIGINT) FROM mails INDEXED BY mails_oversized
         WHERE COALESCE(LENGTH(CAST(subject AS BLOB)), 0) + COALESCE(LENGTH(CAST(text_body AS BLOB)), 0)
                   + COALESCE(LENGTH(CAST(html_body AS BLOB)), 0) + COALESCE(LENGTH(CAST(data AS BLOB)), 0) > {MAX_MAIL_BYTES}
           AND due_at <= $1 {only} AND claimed_by IS NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
         ORDER BY id LIMIT $2"
    );
    let found: Vec<(i64, i64)> = db.fetch_all(&sql, values).await?;
    Ok(found
        .into_iter()
        .map(|(id, bytes)| Unreadable { id, problem: too_large(TEXTS, bytes, MAX_MAIL_BYTES) })
        .collect())
}

/// The texts of a mail, for people.
const TEXTS: &str = "subject, bodies and data";

fn too_large(what: &str, bytes: i64, most: i64) -> String {
    format!("too large: {what}: {bytes} bytes, of at most {most}")
}

/// Claims the most urgent of the mails that are under suspicion, alone.
pub(super) async fn claim_suspect(
    db: &mut Db,
    run: i64,
    only: &Only,
    now: DateTime<Utc>,
) -> anyhow::Result<Claim> {
    take(db, only, "take_overs > 0", OLDEST, values![run, now, 1]).await
}

/// The order of the queue.
const OLDEST: &str = "priority, due_at, id";

/// Claims at most `$3` of `which` mails that are due at `$2`, for the run `$1`, the first in this order.
async fn take(
    db: &mut Db,
    only: &Only,
    which: &str,
    order: &str,
    mut values: Vec<Value>,
) -> anyhow::Result<Claim> {
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
                        AND claimed_by IS NULL AND is_held <> TRUE AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                      ORDER BY {order} LIMIT $3 {skip})
           AND claimed_by IS NULL
           AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
         RETURNING id, {heads}, {headers}, category, due_at, queued_at, status, is_paced, attempts, unknown_attempts,
                   take_overs, untaken_since, untaken_runs, CAST(CAST(is_held AS INTEGER) AS BIGINT) AS is_held,
                   CAST({greatest}({longest}) AS BIGINT) AS head_bytes,
                   CAST(COALESCE(OCTET_LENGTH(headers), 0) AS BIGINT) AS header_bytes,
                   CAST({TEXT_BYTES} AS BIGINT) AS text_bytes",
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
