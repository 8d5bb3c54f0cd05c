//! What a mail consists of: its bodies or its template's data, and its files.

use std::collections::HashMap;

use serde_json::json;

use crate::db::{Db, FromRow, StoredText};
use crate::mail::outgoing::Attachment;
use crate::values;

/// A column's text, or the problem with its name.
pub(super) fn optional(column: &str, text: Option<StoredText>) -> Result<Option<String>, String> {
    text.map(StoredText::read).transpose().map_err(|problem| format!("{column}: {problem}"))
}

pub(super) fn required(column: &str, text: Option<StoredText>) -> Result<String, String> {
    optional(column, text)?.ok_or_else(|| format!("{column}: it is missing"))
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
