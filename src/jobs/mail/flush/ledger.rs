//! The states of the queue's rows, and every statement that changes them.
//!
//! A mail belongs to the run in `claimed_by`. It becomes SENDING, durably, before the server can have it, and its
//! outcome is durable before the same connection hands over the next mail: whenever a process dies, only the mails that
//! were in transit have an unknown outcome.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::config::{ConsentRule, OnUnknown};
use crate::db::{Db, FromRow};
use crate::mail::queue::AS_NEW;
use crate::values;

/// A mail as it is claimed: without its bodies.
#[derive(Debug, Clone, FromRow)]
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
    /// The size of its bodies.
    pub(super) bytes: i64,
}

/// Where claiming continues within a priority: after the last claimed mail. Without it each claim would scan the index
/// entries of all mails sent before, which PostgreSQL keeps until it vacuums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    due_at: DateTime<Utc>,
    id: i64,
}

/// The most urgent priority with a mail that is due.
pub(super) async fn most_urgent(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<Option<i64>> {
    let found: Option<(i64,)> = db
        .fetch_optional(
            // Not EXISTS: PostgreSQL would scan everything that is due, although one row is enough.
            "WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
             SELECT priority FROM level
             WHERE (SELECT due_at FROM mails
                    WHERE mails.priority = level.priority AND claimed_by IS NULL AND NOT is_held
                      AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                    ORDER BY due_at, id LIMIT 1) <= $1
             ORDER BY priority LIMIT 1",
            values![now],
        )
        .await?;
    Ok(found.map(|(priority,)| priority))
}

/// When the next mail that waits for its turn in a rate is due, after the given time.
pub(super) async fn next_paced(db: &mut Db, after: DateTime<Utc>) -> anyhow::Result<Option<DateTime<Utc>>> {
    let (next,): (Option<DateTime<Utc>>,) = db
        .fetch_one(
            "WITH level (priority) AS (VALUES (CAST(1 AS BIGINT)), (2), (3))
             SELECT MIN((SELECT due_at FROM mails
                         WHERE mails.priority = level.priority AND due_at > $1 AND is_paced AND claimed_by IS NULL
                           AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                         ORDER BY due_at, id LIMIT 1))
             FROM level",
            values![after],
        )
        .await?;
    Ok(next)
}

/// Claims due mails of one priority for a run, the longest due first, after `position`.
pub(super) async fn claim(
    db: &mut Db,
    run: i64,
    priority: i64,
    now: DateTime<Utc>,
    position: Option<Position>,
    most: i64,
) -> anyhow::Result<(Vec<Claimed>, Option<Position>)> {
    let mut values = values![run, priority, now, most];
    let mut behind = "";
    if let Some(position) = position {
        behind = "AND (due_at, id) > ($5, $6)";
        values.extend(values![position.due_at, position.id]);
    }
    let sql = format!(
        "UPDATE mails SET claimed_by = $1
         WHERE id IN (SELECT id FROM mails
                      WHERE priority = $2 AND due_at <= $3 {behind}
                        AND claimed_by IS NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')
                      ORDER BY due_at, id LIMIT $4 {})
           AND claimed_by IS NULL
           AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
         RETURNING id, kind, category, locale, sender, recipient, reply_to, headers, due_at,
                   queued_at, status, is_paced, attempts, unknown_attempts, message_id,
                   CAST(COALESCE(OCTET_LENGTH(text_body), 0) + COALESCE(OCTET_LENGTH(html_body), 0) AS BIGINT) AS bytes",
        db.pick("", "FOR UPDATE SKIP LOCKED")
    );
    let mut claimed: Vec<Claimed> = db.fetch_all(&sql, values).await?;
    claimed.sort_by_key(|mail| (mail.due_at, mail.id));
    let position = claimed.last().map(|last| Position { due_at: last.due_at, id: last.id });
    Ok((claimed, position))
}

/// The bodies of a mail, or the template data that they are rendered from.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Bodies {
    pub(super) id: i64,
    pub(super) subject: Option<String>,
    pub(super) text_body: Option<String>,
    pub(super) html_body: Option<String>,
    pub(super) data: Option<String>,
}

/// The bodies of some mails.
pub(super) async fn bodies(db: &mut Db, ids: &[i64]) -> anyhow::Result<Vec<Bodies>> {
    let sql =
        format!("SELECT id, subject, text_body, html_body, data FROM mails WHERE id IN {}", db.numbers("$1"));
    Ok(db.fetch_all(&sql, values![json!(ids)]).await?)
}

/// An attachment of a mail; it may have lost its content.
#[derive(Debug, FromRow)]
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) content_id: Option<String>,
    pub(super) content: Option<Vec<u8>>,
}

/// The sizes of the attachments of those mails that have any.
pub(super) async fn sizes_of_files(db: &mut Db, ids: &[i64]) -> anyhow::Result<Vec<(i64, i64)>> {
    let sql = format!(
        "SELECT mail_id, CAST(COALESCE(SUM(OCTET_LENGTH(content)), 0) AS BIGINT) FROM mail_attachments
         WHERE mail_id IN {} GROUP BY mail_id",
        db.numbers("$1")
    );
    Ok(db.fetch_all(&sql, values![json!(ids)]).await?)
}

/// The attachments of a mail.
pub(super) async fn files(db: &mut Db, mail: i64) -> anyhow::Result<Vec<StoredFile>> {
    let sql =
        "SELECT name, content_type, content_id, content FROM mail_attachments WHERE mail_id = $1 ORDER BY id";
    Ok(db.fetch_all(sql, values![mail]).await?)
}

/// Why some of these mails are no longer wanted, by mail: the address is suppressed, or the member withdrew, requested
/// erasure or refused. Checked right before sending, because much may change while a mail waits.
pub(super) async fn unwanted(
    db: &mut Db,
    mails: &[(i64, String)],
    consent: ConsentRule,
) -> anyhow::Result<Vec<(i64, String)>> {
    let pairs: Vec<_> = mails.iter().map(|(id, address)| json!({ "id": id, "address": address })).collect();
    let given = db.pick(
        "SELECT value ->> 'id' AS id, value ->> 'address' AS address FROM json_each($1)",
        "SELECT CAST(value ->> 'id' AS BIGINT) AS id, value ->> 'address' AS address FROM jsonb_array_elements($1)",
    );
    let sql = format!(
        "WITH given AS ({given})
         SELECT given.id, 'suppressed: ' || suppressed.reason AS because
         FROM given JOIN mails ON mails.id = given.id
         JOIN mail_suppressions suppressed ON suppressed.address = given.address
         WHERE suppressed.scope = 'ALL' OR mails.category = 'MARKETING'
         UNION ALL
         SELECT given.id, CASE WHEN member.erasure_requested_at IS NOT NULL THEN 'the member asked to be forgotten'
                               WHEN member.status = 'WITHDRAWN' THEN 'the member has withdrawn'
                               ELSE 'the member has not agreed to advertising' END
         FROM given JOIN mails ON mails.id = given.id
         JOIN members member ON member.mall_id = mails.mall_id AND member.member_code = mails.member_code
         LEFT JOIN mail_consents consent ON consent.mall_id = mails.mall_id AND consent.member_code = mails.member_code
              AND consent.purpose = CASE WHEN mails.kind = 'digest' THEN 'DIGEST' ELSE 'MARKETING' END
         WHERE member.erasure_requested_at IS NOT NULL
            OR (mails.category = 'MARKETING'
                AND (member.status = 'WITHDRAWN' OR NOT COALESCE(consent.is_granted, $2)))"
    );
    Ok(db
        .fetch_all(&sql, values![serde_json::Value::from(pairs), consent.takes_silence_for_consent()])
        .await?)
}

/// A change to a mail's row.
#[derive(Debug, Clone)]
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
        }
    }

    /// Whether the run keeps its claim.
    fn keeps_claim(&self) -> bool {
        self.status == SENDING
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
                i32::from(change.keeps_claim()),
                i32::from(change.ends()),
            ])
        })
        .collect();
    let written: Vec<(i64,)> = db
        .fetch_all(db.pick(WRITE_SQLITE, WRITE_POSTGRES), values![run, now, serde_json::Value::from(rows)])
        .await?;
    Ok(written.into_iter().map(|(id,)| id).collect())
}

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
    FROM (SELECT CAST(value ->> 0 AS BIGINT) AS id, value ->> 1 AS status,
                 TIMESTAMPTZ '1970-01-01 00:00:00+00' + CAST(value ->> 2 AS BIGINT) * INTERVAL '1 microsecond' AS due_at,
                 CAST(value ->> 3 AS BIGINT) AS attempts, CAST(value ->> 4 AS BIGINT) AS unknown_attempts,
                 CAST(value ->> 5 AS BIGINT) AS is_held, CAST(value ->> 6 AS BIGINT) AS is_paced,
                 value ->> 7 AS reply, value ->> 8 AS provider_message_id, value ->> 9 AS message_id,
                 CAST(value ->> 10 AS BIGINT) AS keeps_claim, CAST(value ->> 11 AS BIGINT) AS ends
          FROM jsonb_array_elements($3) LIMIT jsonb_array_length($3)) changed
    WHERE mails.id = changed.id AND mails.claimed_by IS NOT DISTINCT FROM $1
      AND (changed.status <> 'SENDING' OR mails.status IN ('QUEUED', 'RETRY', 'UNKNOWN'))
      AND EXISTS (SELECT 1 FROM batch_execution WHERE batch_execution.id = $1 AND batch_execution.status = 'RUNNING')
    RETURNING mails.id";

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

/// A mail that was in transit when this many processes died is probably the cause: it waits for a person.
const MAX_DEATHS: i64 = 20;

/// Reclaims the mails that dead runs held. A mail that one of them was sending may have arrived: it becomes UNKNOWN,
/// and depending on the configuration it is sent again or waits for a person. Returns those, and whether they wait. A
/// process's death is not the mail's fault, so it does not count as an attempt.
pub(super) async fn recover(
    db: &mut Db,
    now: DateTime<Utc>,
    rule: OnUnknown,
) -> anyhow::Result<Vec<(i64, bool)>> {
    let abandoned = "claimed_by IS NOT NULL AND claimed_by NOT IN (SELECT id FROM batch_execution WHERE status = 'RUNNING')";
    db.execute(
        &format!("UPDATE mails SET claimed_by = NULL WHERE {abandoned} AND status IN ('QUEUED', 'RETRY', 'UNKNOWN')"),
        values![],
    )
    .await?;
    let is_unknown = format!(
        "UPDATE mails SET claimed_by = NULL, status = 'UNKNOWN', due_at = $1, attempts = attempts - 1,
             unknown_attempts = unknown_attempts + 1, is_held = ($2 OR unknown_attempts >= $3),
             last_reply = 'run ' || CAST(claimed_by AS TEXT) || ' ended while it was sending'
         WHERE {abandoned} AND status = 'SENDING'
         RETURNING id, is_held"
    );
    Ok(db.fetch_all(&is_unknown, values![now, rule == OnUnknown::Hold, MAX_DEATHS]).await?)
}

/// Suppresses all mail to an address.
pub(super) async fn suppress(
    db: &mut Db,
    address: &str,
    mail: i64,
    detail: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, detail, mail_id, created_at)
         VALUES ($1, 'ALL', 'BOUNCE', $2, $3, $4)
         ON CONFLICT (address) DO UPDATE SET scope = 'ALL', reason = 'BOUNCE', detail = $2, mail_id = $3
         WHERE mail_suppressions.scope <> 'ALL'",
        values![address, detail, mail, now],
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
        let (claimed, _) = claim(db, run, 2, now(), None, most).await.unwrap();
        claimed.into_iter().map(|mail| mail.id).collect()
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
            let (claimed, last) = claim(db, run, 2, now(), position, 3).await.unwrap();
            claims.push(claimed.into_iter().map(|mail| mail.id).collect::<Vec<_>>());
            position = last;
        }
        assert_eq!(claims, [vec![2, 3, 1], vec![5], vec![]]);
    }

    async fn the_most_urgent_priority_is_that_of_a_due_mail(db: &mut TestDb) {
        assert_eq!(most_urgent(db, now()).await.unwrap(), None);
        queue(db, 1, TOMORROW).await;
        queue(db, 3, LONG_AGO).await;
        assert_eq!(most_urgent(db, now()).await.unwrap(), Some(3));
        queue(db, 2, LONG_AGO).await;
        assert_eq!(most_urgent(db, now()).await.unwrap(), Some(2));
        db.sql("UPDATE mails SET is_held = TRUE WHERE priority = 2").await;
        assert_eq!(most_urgent(db, now()).await.unwrap(), Some(3));
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

        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), [(1, false)]);

        assert_eq!(states(db).await, ["1 UNKNOWN 0 1 NULL 0", "2 QUEUED 0 0 NULL 0", "3 SENDING 1 0 2 0"]);
        assert_eq!(
            db.scalar("SELECT last_reply FROM mails WHERE id = 1").await,
            "run 1 ended while it was sending"
        );
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap().len(), 0);
    }

    async fn a_mail_that_many_processes_died_over_waits_for_a_person(db: &mut TestDb) {
        queue(db, 2, LONG_AGO).await;
        let mut is_held = Vec::new();
        for _ in 0..=MAX_DEATHS {
            let run = db.run_that_is(Status::Running).await;
            assert_eq!(claim_as(db, run, 1).await, [1]);
            let begun = Change { attempts: 1, ..Change::to(1, SENDING) };
            assert_eq!(write(db, run, now(), &[begun]).await.unwrap(), [1]);
            db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
            is_held.extend(recover(db, now(), OnUnknown::Resend).await.unwrap());
        }
        let last = is_held.pop().unwrap();
        assert!(is_held.iter().all(|(_, is_held)| !is_held));
        assert_eq!(last, (1, true));
        // With `on_unknown = "hold"` the first death is enough.
        db.sql("UPDATE mails SET unknown_attempts = 0, is_held = FALSE").await;
        let run = db.run_that_is(Status::Running).await;
        assert_eq!(claim_as(db, run, 1).await, [1]);
        write(db, run, now(), &[Change { attempts: 1, ..Change::to(1, SENDING) }]).await.unwrap();
        db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
        assert_eq!(recover(db, now(), OnUnknown::Hold).await.unwrap(), [(1, true)]);
    }
}
