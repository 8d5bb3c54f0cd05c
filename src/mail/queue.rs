//! The queue: the table `mails`, and how our own producers add mails to it.
//!
//! Attachments are kept in the database rather than in files: a mail is queued, sent, requeued and purged as a unit in
//! one transaction, by any host, and a backup contains all of it.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::address;
use crate::db::{Bulk, Db};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::{bulk_row, values};

use super::outgoing::Attachment;
use super::template::RenderedMail;

/// Mails that somebody waits for: a password, an alert.
pub const URGENT: i64 = 1;
/// Everything else.
pub const USUAL: i64 = 2;
/// Mails to many recipients, which may wait for the others.
pub const BULK: i64 = 3;

/// Resets a row of `mails` to be sent again, due at `$1`. Its Message-ID stays, so that a recipient who already has the
/// mail can detect the duplicate.
pub const AS_NEW: &str =
    "status = 'QUEUED', due_at = $1, attempts = 0, unknown_attempts = 0, take_overs = 0, is_held = FALSE,
     is_paced = FALSE, claimed_by = NULL, last_reply = NULL, ended_at = NULL, untaken_since = NULL, untaken_runs = 0,
     untaken_by = NULL";

/// A mail to be queued.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// Its texts; the template's name becomes its `kind`.
    pub rendered: RenderedMail,
    /// `Name <local@domain>` or the address alone.
    pub recipient: String,
    /// The member it is for: if they withdraw in the meantime, they get no more advertising.
    pub member: Option<(i64, String)>,
    /// [`URGENT`], [`USUAL`] or [`BULK`].
    pub priority: i64,
    /// The earliest time to send it.
    pub due_at: DateTime<Utc>,
    /// A unique key: a second mail with the same key is not queued.
    pub dedup_key: Option<String>,
    /// Files and inline pictures.
    pub attachments: Vec<Attachment>,
}

/// Queues a mail, unless one with its key was queued before. Returns its id. Call it inside a transaction.
pub async fn enqueue(db: &mut Db, mail: &NewMail, now: DateTime<Utc>) -> anyhow::Result<Option<i64>> {
    address::parse(&mail.recipient)
        .map_err(|problem| Failure::bad_input(format!("failed to queue a mail: {problem}")))?;
    let rendered = &mail.rendered;
    let (mall_id, member_code) = match &mail.member {
        Some((id, code)) => (Some(*id), Some(code.as_str())),
        None => (None, None),
    };
    let queued: Option<(i64,)> = db
        .fetch_optional(
            "INSERT INTO mails (kind, category, locale, mall_id, member_code, recipient, subject, text_body, html_body,
                                priority, due_at, queued_at, dedup_key)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING
             RETURNING id",
            values![
                &rendered.name,
                rendered.category.word(),
                rendered.locale.tag(),
                mall_id,
                member_code,
                &mail.recipient,
                &rendered.subject,
                &rendered.text,
                rendered.html.as_deref(),
                mail.priority,
                mail.due_at,
                now,
                mail.dedup_key.as_deref(),
            ],
        )
        .await?;
    let Some((id,)) = queued else { return Ok(None) };
    for attachment in &mail.attachments {
        db.execute(
            "INSERT INTO mail_attachments (mail_id, name, content_type, content_id, content) VALUES ($1, $2, $3, $4, $5)",
            values![
                id,
                &attachment.name,
                &attachment.content_type,
                attachment.content_id.as_deref(),
                attachment.bytes.clone(),
            ],
        )
        .await?;
    }
    Ok(Some(id))
}

bulk_row! {
    /// The columns that [`enqueue_many`] fills in; the others keep their defaults.
    struct MailRow<'m> => "mails" {
        kind: &'m str,
        category: &'static str,
        locale: &'static str,
        mall_id: Option<i64>,
        member_code: Option<&'m str>,
        recipient: &'m str,
        subject: &'m str,
        text_body: &'m str,
        html_body: Option<&'m str>,
        priority: i64,
        due_at: DateTime<Utc>,
        queued_at: DateTime<Utc>,
        dedup_key: Option<&'m str>,
    }
}

/// Queues many mails at once, except those whose key was queued before. Returns how many were queued. Call it inside a
/// transaction, with no more mails than fit into memory twice.
pub async fn enqueue_many(db: &mut Db, mails: &[NewMail], now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut rows = Bulk::new(db);
    let mut queued = 0;
    for mail in mails {
        if mail.attachments.is_empty() {
            rows.push(&row(mail, now)?);
        } else {
            queued += u64::from(enqueue(db, mail, now).await?.is_some());
        }
    }
    // Any program may write the same key meanwhile.
    Ok(queued + db.load_new(&mut rows).await?)
}

/// A mail that names its template, and is rendered when it is sent.
#[derive(Debug, Clone)]
pub struct TemplatedMail {
    /// The template, which is also the mail's kind. It is a transactional one.
    pub kind: &'static str,
    /// The language.
    pub locale: Locale,
    /// `Name <local@domain>` or the address alone.
    pub recipient: String,
    /// The member it is for.
    pub member: (i64, String),
    /// The template's values: an object.
    pub data: Json,
    /// A unique key: a second mail with the same key is not queued.
    pub dedup_key: String,
}

bulk_row! {
    /// The columns that [`enqueue_templated`] fills in; the others keep their defaults.
    struct TemplatedRow<'m> => "mails" {
        kind: &'m str,
        locale: &'static str,
        mall_id: i64,
        member_code: &'m str,
        recipient: &'m str,
        data: &'m str,
        due_at: DateTime<Utc>,
        queued_at: DateTime<Utc>,
        dedup_key: &'m str,
    }
}

/// Queues many mails that are rendered when they are sent, except those whose key was queued before: for a transaction whose
/// locks others wait for. Returns how many were queued.
pub async fn enqueue_templated(
    db: &mut Db,
    mails: &[TemplatedMail],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut rows = Bulk::new(db);
    for mail in mails {
        rows.push(&TemplatedRow {
            kind: mail.kind,
            locale: mail.locale.tag(),
            mall_id: mail.member.0,
            member_code: &mail.member.1,
            recipient: &mail.recipient,
            data: &mail.data.to_string(),
            due_at: now,
            queued_at: now,
            dedup_key: &mail.dedup_key,
        });
    }
    // Any program may write the same key meanwhile.
    Ok(db.load_new(&mut rows).await?)
}

fn row(mail: &NewMail, now: DateTime<Utc>) -> Result<MailRow<'_>, Failure> {
    address::parse(&mail.recipient)
        .map_err(|problem| Failure::bad_input(format!("failed to queue a mail: {problem}")))?;
    let rendered = &mail.rendered;
    Ok(MailRow {
        kind: &rendered.name,
        category: rendered.category.word(),
        locale: rendered.locale.tag(),
        mall_id: mail.member.as_ref().map(|(id, _)| *id),
        member_code: mail.member.as_ref().map(|(_, code)| code.as_str()),
        recipient: &mail.recipient,
        subject: &rendered.subject,
        text_body: &rendered.text,
        html_body: rendered.html.as_deref(),
        priority: mail.priority,
        due_at: mail.due_at,
        queued_at: now,
        dedup_key: mail.dedup_key.as_deref(),
    })
}

/// Parses the headers of a row: a JSON object of names and texts.
pub fn parse_headers(text: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let Ok(Json::Object(headers)) = serde_json::from_str(text) else {
        return Err("`headers` is not a JSON object".to_owned());
    };
    headers
        .into_iter()
        .map(|(name, value)| match value {
            Json::String(value) => Ok((name, value)),
            _ => Err(format!("the header `{name}` is not a string")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Kind;
    use crate::db::testing::{TestDb, now, on_both_databases};
    use crate::mail::template::Category;

    on_both_databases![
        a_key_is_queued_once_with_or_without_attachments,
        a_key_that_another_program_takes_meanwhile_is_passed_over,
    ];

    fn mail(key: &str) -> NewMail {
        NewMail {
            rendered: RenderedMail {
                name: "digest".to_owned(),
                locale: Locale::En,
                asked: None,
                category: Category::Transactional,
                subject: "News".to_owned(),
                text: "Nothing new".to_owned(),
                html: None,
            },
            recipient: "a@example.jp".to_owned(),
            member: None,
            priority: USUAL,
            due_at: now(),
            dedup_key: Some(key.to_owned()),
            attachments: Vec::new(),
        }
    }

    async fn queue(db: &mut Db, mails: &[NewMail]) -> u64 {
        db.transaction(async |db| enqueue_many(db, mails, now()).await).await.unwrap()
    }

    async fn a_key_is_queued_once_with_or_without_attachments(db: &mut TestDb) {
        let attachment = Attachment {
            name: "a.txt".to_owned(),
            content_type: "text/plain".to_owned(),
            content_id: None,
            bytes: b"a".to_vec(),
        };
        let attached = |key| NewMail { attachments: vec![attachment.clone()], ..mail(key) };
        let without_key = || NewMail { dedup_key: None, ..mail("") };
        assert_eq!(queue(db, &[mail("a"), mail("b"), mail("a"), attached("c"), mail("c")]).await, 3);
        assert_eq!(queue(db, &[mail("b"), attached("a"), without_key(), mail("d"), without_key()]).await, 3);
        let keys = db.lines("SELECT dedup_key FROM mails WHERE dedup_key IS NOT NULL ORDER BY 1").await;
        assert_eq!(keys, ["a", "b", "c", "d"]);
        assert_eq!(db.lines("SELECT COUNT(*) FROM mail_attachments").await, ["1"]);
    }

    async fn a_key_that_another_program_takes_meanwhile_is_passed_over(db: &mut TestDb) {
        // SQLite has one writer at a time.
        if db.kind() == Kind::Sqlite {
            return;
        }
        let mut other = db.another().await;
        other.script("BEGIN").await.unwrap();
        assert_eq!(enqueue_many(&mut other, &[mail("a")], now()).await.unwrap(), 1);
        let mut watching = db.another().await;
        let waits = format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = {}",
            db.scalar("SELECT pg_backend_pid()").await
        );
        let theirs = async {
            while watching.fetch_one::<(i64,)>(&waits, vec![]).await.unwrap() == (0,) {}
            other.script("COMMIT").await.unwrap();
        };
        let mails = [mail("a"), mail("b")];
        let (queued, ()) = tokio::join!(queue(db, &mails), theirs);
        assert_eq!(queued, 1);
        assert_eq!(db.lines("SELECT dedup_key FROM mails ORDER BY 1").await, ["a", "b"]);
    }
}
