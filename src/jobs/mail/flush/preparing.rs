//! Preparing: a claimed row becomes a mail that is ready to be sent, or fails for what is wrong with it.

use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::address;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::locale::Locale;
use crate::mail::advertising::{self, Advertising};
use crate::mail::outgoing::{Attachment, Content, Gate, OutgoingMail};
use crate::mail::queue::parse_headers;
use crate::mail::template::{Category, RenderedMail, Renderer};
use crate::mail::unsubscribe::Unsubscribe;

use super::super::wanted::unwanted;
use super::changes::{CANCELLED, Change, FAILED};
use super::claims::Claimed;
use super::contents::{self, Bodies};
use super::intake::{Claimer, Intake, Ready};

/// What turns rows into mails.
pub(super) struct Preparation {
    pub(super) gate: Gate,
    pub(super) templates: Renderer,
    pub(super) default_locale: Locale,
    pub(super) default_sender: Option<String>,
    pub(super) unsubscribe: Result<Unsubscribe, Failure>,
    pub(super) advertising: Advertising,
    pub(super) host: String,
}

impl Preparation {
    pub(super) fn new(config: &Config, gate: Gate) -> Self {
        let default_sender = config.mail().from.clone();
        let host = default_sender
            .as_deref()
            .and_then(|from| address::parse(from).ok())
            .map_or_else(|| "batchctl.invalid".to_owned(), |from| address::domain(&from));
        Self {
            gate,
            templates: Renderer::new(config),
            default_locale: config.locale(),
            default_sender,
            unsubscribe: Unsubscribe::new(config),
            advertising: Advertising::new(config),
            host,
        }
    }
}

impl Claimer {
    /// Turns a row into a mail. A problem with the mail itself fails only that mail; a problem with the configuration ends
    /// the run.
    pub(super) async fn mail_of(
        &mut self,
        mut row: Claimed,
        bodies: Bodies,
        wait_until: Instant,
        room: OwnedSemaphorePermit,
    ) -> anyhow::Result<Intake> {
        let id = row.id;
        let failed = |problem: String| Ok(failed(id, problem));
        let recipient = match address::parse(&row.recipient) {
            Ok(recipient) => recipient,
            Err(problem) => return failed(format!("recipient: {problem}")),
        };
        let texts = match self.texts(&row, bodies).await {
            Ok(texts) => texts,
            Err(problem) => return failed(problem),
        };
        if texts.is_new {
            let html = texts.html.as_deref();
            let (category, locale) = (texts.category.word(), texts.locale.tag());
            let text = texts.text.as_deref();
            contents::keep_texts(&mut self.db, self.run, id, category, locale, &texts.subject, text, html)
                .await?;
            category.clone_into(&mut row.category);
            if let Some(because) = self.refusal_of_advertising(&row, &recipient, texts.category).await? {
                let change = Change { reply: Some(because), ..Change::to(id, CANCELLED) };
                return Ok(Intake::Settled { change, is_failure: false });
            }
        }
        let mut headers = match parse_headers(row.headers.as_deref()) {
            Ok(headers) => headers,
            Err(problem) => return failed(problem),
        };
        let mut unsubscription = Vec::new();
        if Category::of(&row.category) == Category::Marketing {
            let unsubscribe = match &self.preparation.unsubscribe {
                Ok(unsubscribe) => unsubscribe,
                // The other mails do not wait for it.
                Err(failure) => return Ok(Intake::Impossible(failure.clone())),
            };
            let written_in = row.locale.as_deref().and_then(|tag| tag.parse().ok());
            let language = written_in.filter(|_| !texts.is_new).unwrap_or(texts.locale);
            if let Some(failure) = self.preparation.advertising.lacks(language) {
                return Ok(Intake::Impossible(failure));
            }
            let problem = advertising::subject_problem(language, &texts.subject);
            let (text, html) = (texts.text.as_deref(), texts.html.as_deref());
            let shown = || self.preparation.advertising.text_problem(language, text, html);
            if let Some(problem) = problem.or_else(shown) {
                return failed(problem);
            }
            headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("list-"));
            unsubscription = unsubscribe.headers(&row.kind, &self.unsubscribed_address(&recipient));
        }
        let from =
            match row.sender.as_deref().or(self.preparation.default_sender.as_deref()).map(address::parse) {
                Some(Ok(from)) => from,
                Some(Err(problem)) => return failed(format!("sender: {problem}")),
                None => {
                    return Err(Failure::configuration(
                        "BATCHCTL_MAIL_FROM is not set, and a mail names no sender",
                    )
                    .hint("set it to an address like 'Example Shop <shop@example.jp>'")
                    .into());
                }
            };
        let reply_to = match row.reply_to.as_deref().map(address::parse).transpose() {
            Ok(reply_to) => reply_to,
            Err(problem) => return failed(format!("reply_to: {problem}")),
        };
        let attachments = match self.attachments(&row).await? {
            Ok(attachments) => attachments,
            Err(problem) => return failed(problem),
        };
        let is_fallback = texts.is_fallback;
        let has_new_id = row.message_id.is_none();
        let message_id = row.message_id.clone().unwrap_or_else(|| self.new_message_id(id));
        row.message_id = Some(message_id.clone());
        let content = Content {
            message_id,
            // The same for each attempt: a mail stays the same mail, however many times it is sent.
            date: row.queued_at,
            from,
            reply_to,
            subject: texts.subject,
            text: texts.text,
            html: texts.html,
            headers,
            unsubscription,
            attachments,
        };
        let address = address::normalised(&recipient);
        let mail = OutgoingMail::new(&self.preparation.gate, content, recipient);
        Ok(Intake::Mail(Box::new(Ready {
            row,
            mail,
            address,
            wait_until,
            has_new_id,
            is_fallback,
            _room: room,
        })))
    }

    /// Whom a link in a mail to this recipient unsubscribes.
    fn unsubscribed_address(&self, recipient: &lettre::message::Mailbox) -> String {
        address::normalised(self.preparation.gate.unsubscribes(recipient))
    }

    /// The texts of a row: as they are, or rendered from its template.
    async fn texts(&self, row: &Claimed, bodies: Bodies) -> Result<Texts, String> {
        if let Some(subject) = bodies.subject {
            let category = Category::of(&row.category);
            let locale = self.preparation.default_locale;
            return Ok(Texts {
                subject,
                text: bodies.text_body,
                html: bodies.html_body,
                category,
                locale,
                is_new: false,
                is_fallback: false,
            });
        }
        let data = serde_json::from_str(bodies.data.as_deref().unwrap_or("null"))
            .map_err(|error| format!("`data` is not JSON: {error}"))?;
        let language = row.locale.as_deref().unwrap_or(self.preparation.default_locale.tag());
        let mut data: serde_json::Value = data;
        if let (Some(object), Ok(unsubscribe), Ok(recipient)) =
            (data.as_object_mut(), &self.preparation.unsubscribe, address::parse(&row.recipient))
        {
            let link = unsubscribe.link(&row.kind, &self.unsubscribed_address(&recipient));
            object.entry("unsubscribe_url").or_insert(link.into());
        }
        let rendered = self
            .preparation
            .templates
            .render(&row.kind, language, data)
            .await
            .map_err(|error| one_line(&error))?;
        let is_fallback = rendered.fallback().is_some();
        let RenderedMail { subject, text, html, category, locale, .. } = rendered;
        if [&subject, &text].into_iter().chain(&html).any(|part| part.contains('\0')) {
            return Err("the template's values contain a NUL character".to_owned());
        }
        // An application may mark a mail as advertising although its template does not; never the other way round.
        let category =
            if Category::of(&row.category) == Category::Marketing { Category::Marketing } else { category };
        Ok(Texts { subject, text: Some(text), html, category, locale, is_new: true, is_fallback })
    }

    /// Checks refusals of advertising again: the first check was made before the template declared the mail advertising.
    async fn refusal_of_advertising(
        &mut self,
        row: &Claimed,
        recipient: &lettre::message::Mailbox,
        category: Category,
    ) -> anyhow::Result<Option<String>> {
        if category == Category::Transactional {
            return Ok(None);
        }
        let asked = [(row.id, address::normalised(recipient))];
        Ok(unwanted(&mut self.db, &asked, self.consent).await?.remove(&row.id))
    }

    async fn attachments(&mut self, mail: &Claimed) -> anyhow::Result<Result<Vec<Attachment>, String>> {
        match mail.file_bytes {
            Some(_) => contents::files(&mut self.db, mail.id).await,
            None => Ok(Ok(Vec::new())),
        }
    }

    fn new_message_id(&self, id: i64) -> String {
        format!("<{id}.{:016x}@{}>", fastrand::u64(..), self.preparation.host)
    }
}

struct Texts {
    subject: String,
    text: Option<String>,
    html: Option<String>,
    category: Category,
    locale: Locale,
    /// Whether they were rendered from a template.
    is_new: bool,
    /// Whether they are in a different language from the one the row requests.
    is_fallback: bool,
}

/// A mail that fails before it is sent.
pub(super) fn failed(id: i64, problem: String) -> Intake {
    let change = Change { reply: Some(problem), ..Change::to(id, FAILED) };
    Intake::Settled { change, is_failure: true }
}
