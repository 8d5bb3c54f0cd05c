//! The suppression of addresses that bounced, and what a suppression that is not believed gives back.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::address;
use crate::db::{Db, StoredText, StoredTime};
use crate::mail::queue::AS_NEW;
use crate::values;

/// Mails that are given back in one commit.
const CHUNK: i64 = 500;

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
         WHERE mail_suppressions.is_held OR (mail_suppressions.scope <> 'ALL' AND NOT $5)",
        values![&bounce.address, &bounce.reply, bounce.mail, run, is_held, now],
    )
    .await?;
    Ok(())
}

/// Holds the suppressions of these runs, whose bounces are not believed.
pub(super) async fn hold(db: &mut Db, runs: &[i64]) -> anyhow::Result<()> {
    let sql = format!(
        "UPDATE mail_suppressions SET is_held = TRUE WHERE reason = 'BOUNCE' AND run_id IN {}",
        db.numbers("$1")
    );
    db.execute(&sql, values![json!(runs)]).await?;
    Ok(())
}

/// Queues again the mails to addresses whose suppression is held: those that bounced, and those that were cancelled because
/// another one had. They wait for the decision: once it is confirmed they are cancelled, once it is removed they are sent.
/// Returns how many of them bounced in this run.
pub(super) async fn give_back(db: &mut Db, run: i64, due_at: DateTime<Utc>) -> anyhow::Result<u64> {
    let (since,): (Option<StoredTime>,) = db
        .fetch_one(
            "SELECT MIN(created_at) FROM mail_suppressions WHERE is_held AND reason = 'BOUNCE'",
            values![],
        )
        .await?;
    let Some(since) = since.and_then(|since| since.at()) else { return Ok(0) };
    let mut own = 0;
    let mut position = 0;
    loop {
        let bounced: Vec<Bounced> = db
            .fetch_all(
                "SELECT attempt.id, attempt.run_id, mails.id,
                        CASE WHEN OCTET_LENGTH(mails.recipient) <= 4096 THEN mails.recipient END
                 FROM mail_attempts attempt JOIN mails ON mails.id = attempt.mail_id
                 WHERE attempt.run_id IN (SELECT run_id FROM mail_suppressions WHERE is_held AND reason = 'BOUNCE')
                   AND attempt.status = 'FAILED' AND mails.status = 'FAILED' AND attempt.id > $1
                 ORDER BY attempt.id LIMIT $2",
                values![position, CHUNK],
            )
            .await?;
        let Some((last, ..)) = bounced.last() else { break };
        position = *last;
        let is_own: Vec<i64> =
            bounced.iter().filter(|(_, of, ..)| *of == run).map(|(_, _, mail, _)| *mail).collect();
        let mails = bounced.into_iter().map(|(_, _, mail, recipient)| (mail, recipient)).collect();
        let given_back = requeue_held(db, mails, due_at).await?;
        own += given_back.iter().filter(|mail| is_own.contains(mail)).count() as u64;
    }
    position = 0;
    loop {
        let cancelled: Vec<(i64, Option<StoredText>)> = db
            .fetch_all(
                "SELECT id, CASE WHEN OCTET_LENGTH(recipient) <= 4096 THEN recipient END FROM mails
                 WHERE status = 'CANCELLED' AND last_reply = 'suppressed: BOUNCE' AND ended_at >= $1 AND id > $2
                 ORDER BY id LIMIT $3",
                values![since, position, CHUNK],
            )
            .await?;
        let Some((last, _)) = cancelled.last() else { break };
        position = *last;
        requeue_held(db, cancelled, due_at).await?;
    }
    Ok(own)
}

/// A try, its run, its mail and the mail's recipient.
type Bounced = (i64, i64, i64, Option<StoredText>);

/// Requeues those of these mails whose addresses have a suppression that is held. Returns them.
async fn requeue_held(
    db: &mut Db,
    mails: Vec<(i64, Option<StoredText>)>,
    due_at: DateTime<Utc>,
) -> anyhow::Result<Vec<i64>> {
    let pairs: Vec<_> = mails
        .into_iter()
        .filter_map(|(id, recipient)| {
            let address = address::normalised(&address::parse(&recipient?.read().ok()?).ok()?);
            Some(json!({ "id": id, "address": address }))
        })
        .collect();
    let given = db.pick(
        "SELECT value ->> 'id' AS id, value ->> 'address' AS address FROM json_each($2)",
        "SELECT CAST(value ->> 'id' AS BIGINT) AS id, value ->> 'address' AS address FROM jsonb_array_elements($2)",
    );
    let sql = format!(
        "UPDATE mails SET {AS_NEW}
         WHERE status IN ('FAILED', 'CANCELLED') AND id IN (
             SELECT given.id FROM ({given}) given
             JOIN mail_suppressions held ON held.address = given.address AND held.reason = 'BOUNCE' AND held.is_held)
         RETURNING id"
    );
    let requeued: Vec<(i64,)> = db.fetch_all(&sql, values![due_at, serde_json::Value::from(pairs)]).await?;
    Ok(requeued.into_iter().map(|(id,)| id).collect())
}
