//! Speaks to each channel in its own way: what a message becomes there, and how it is sent.

use std::collections::HashMap;
use std::time::Duration;

use lettre::message::Mailbox;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::AlertMessage;
use crate::address;
use crate::clients::chat::Message;
use crate::clients::http::DeliveryError;
use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::clients::{http, line_works, slack, teams, webhook};
use crate::config::{AlertChannel, ChannelTarget, ConfigError, LineWorksReader, LineWorksTarget};
use crate::context::Context;
use crate::failure::Failure;
use crate::mail::delivery::{Outcome, Stop};
use crate::mail::outgoing::{Content, Gate, OutgoingMail};
use crate::mask::Secret;

/// How far apart two messages to one chat channel are: both services take one a second for as long as one likes.
const CHAT_PACE: Duration = Duration::from_secs(1);
/// How long all mails of one command's alerts may take together. Below what the runner grants to alerts as a whole,
/// so that a silent server's fault is noted, and shorter than a person waits for a job to end.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a mail server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// Where a phone cuts a subject off at the latest.
const SUBJECT_CHARACTERS: usize = 150;
/// How many characters of a digest tell the parts of one message apart.
const DIGEST_CHARACTERS: usize = 16;

/// The channels of one command, with what they keep from message to message: connections, tokens, the last moment.
pub(super) struct Channels<'a> {
    cx: &'a Context,
    client: reqwest::Client,
    bots: HashMap<String, line_works::Bot>,
    last_posts: HashMap<String, Instant>,
    mail: Option<MailConnection>,
    mail_deadline: Option<Instant>,
}

/// One request or one mail.
pub(super) enum Part {
    Slack { url: String, message: Message },
    Webhook { url: String, document: Value },
    Teams { url: String, card: Value },
    LineWorks { reader: line_works::Reader, text: String },
    Mail { recipient: String, mail: Box<OutgoingMail> },
}

impl Part {
    /// What tells it from the other parts of its message at every try: the recipient's address, or a digest of what
    /// is said.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Mail { recipient, .. } => recipient.clone(),
            Self::Slack { message, .. } => {
                digest(&format!("{}\n{}", message.title, message.lines.join("\n")))
            }
            Self::Webhook { document, .. } => digest(&document.to_string()),
            Self::Teams { card, .. } => digest(&card.to_string()),
            Self::LineWorks { text, .. } => digest(text),
        }
    }
}

/// Why a part was not delivered.
pub(super) struct Fault {
    pub(super) error: DeliveryError,
    /// Whether the parts behind it are not to be tried either: they come in order, or by the same way.
    pub(super) concerns_the_rest: bool,
}

impl From<DeliveryError> for Fault {
    fn from(error: DeliveryError) -> Self {
        Self { error, concerns_the_rest: true }
    }
}

impl<'a> Channels<'a> {
    pub(super) fn new(cx: &'a Context) -> anyhow::Result<Self> {
        Ok(Self {
            cx,
            client: http::client()?,
            bots: HashMap::new(),
            last_posts: HashMap::new(),
            mail: None,
            mail_deadline: None,
        })
    }

    /// Ends what is still open.
    pub(super) async fn close(self) {
        if let Some(connection) = self.mail {
            // The mails are delivered, whatever becomes of the goodbye.
            let _ = timeout(FAREWELL, connection.close()).await;
        }
    }

    /// What a message becomes on this channel.
    pub(super) fn parts(
        &mut self,
        channel: &AlertChannel,
        message: &AlertMessage,
    ) -> Result<Vec<Part>, DeliveryError> {
        let secret = |name: &str| self.cx.config.secret(name).map_err(|error| not_set(&error));
        let target = channel
            .target()
            .map_err(|key| permanent(format!("alerts.channel `{}` has no `{key}`", channel.name)))?;
        Ok(match target {
            ChannelTarget::Slack(variable) => {
                vec![Part::Slack { url: secret(variable)?, message: chat_message(channel, message) }]
            }
            ChannelTarget::Webhook(variable) => {
                vec![Part::Webhook { url: secret(variable)?, document: serde_json::json!(message) }]
            }
            ChannelTarget::Teams(variable) => {
                let url = secret(variable)?;
                let cards = teams::cards(&chat_message(channel, message));
                cards.into_iter().map(|card| Part::Teams { url: url.clone(), card }).collect()
            }
            ChannelTarget::LineWorks(target) => {
                if !self.bots.contains_key(&channel.name) {
                    let bot = line_works::Bot::new(self.client.clone(), self.account(channel, target)?);
                    self.bots.insert(channel.name.clone(), bot);
                }
                let reader = match target.reader {
                    LineWorksReader::Channel(id) => line_works::Reader::Channel(id.to_owned()),
                    LineWorksReader::User(id) => line_works::Reader::User(id.to_owned()),
                };
                let texts = line_works::texts(&chat_message(channel, message), &reader);
                texts.into_iter().map(|text| Part::LineWorks { reader: reader.clone(), text }).collect()
            }
            ChannelTarget::Mail(recipients) => self.mails(recipients, message)?,
        })
    }

    /// Sends one part, not before its time.
    pub(super) async fn send(&mut self, channel: &AlertChannel, part: Part) -> Result<(), Fault> {
        if matches!(part, Part::Teams { .. } | Part::LineWorks { .. }) {
            if let Some(last) = self.last_posts.get(&channel.name) {
                sleep_until(*last + CHAT_PACE).await;
            }
            self.last_posts.insert(channel.name.clone(), Instant::now());
        }
        match part {
            Part::Slack { url, message } => Ok(slack::post(&self.client, &url, &message).await?),
            Part::Webhook { url, document } => Ok(webhook::post(&self.client, &url, &document).await?),
            Part::Teams { url, card } => Ok(teams::post(&self.client, &url, &card).await?),
            Part::LineWorks { reader, text } => match self.bots.get_mut(&channel.name) {
                Some(bot) => Ok(bot.send(&reader, &text).await?),
                None => Err(permanent("the channel has no bot".to_owned()).into()),
            },
            Part::Mail { mail, .. } => self.send_mail(&mail).await,
        }
    }

    fn account(
        &self,
        channel: &AlertChannel,
        target: LineWorksTarget<'_>,
    ) -> Result<line_works::Account, DeliveryError> {
        let secret = |name: &str| self.cx.config.secret(name).map_err(|error| not_set(&error));
        let endpoint = |own: &Option<String>, usual: &str| own.as_deref().unwrap_or(usual).to_owned();
        Ok(line_works::Account {
            client_id: secret(target.client_id_variable)?,
            client_secret: Secret::new(secret(target.client_secret_variable)?),
            service_account: target.service_account.to_owned(),
            private_key: self
                .cx
                .config
                .private_key(target.private_key_variable)
                .map_err(|error| unusable(&error))?,
            bot_id: target.bot_id.to_owned(),
            auth_endpoint: endpoint(&channel.auth_endpoint, line_works::AUTH_ENDPOINT),
            api_endpoint: endpoint(&channel.api_endpoint, line_works::API_ENDPOINT),
        })
    }

    /// A mail for each recipient; outside prod all of them go to the test address.
    fn mails(&self, recipients: &[String], message: &AlertMessage) -> Result<Vec<Part>, DeliveryError> {
        let config = &self.cx.config;
        let gate = Gate::new(config).map_err(|failure| misconfigured(&failure))?;
        let Some(from) = &config.mail().from else {
            return Err(unsendable("BATCHCTL_MAIL_FROM is not set: mails need a sender".to_owned()));
        };
        let read = |text: &str| address::parse(text).map_err(|problem| unsendable(problem.to_string()));
        let from = read(from)?;
        let mail = |recipient: &String| {
            let mailbox = read(recipient)?;
            let recipient = address::normalised(&mailbox);
            let content = mail_content(message, &from, &recipient);
            Ok(Part::Mail { recipient, mail: Box::new(OutgoingMail::new(&gate, content, mailbox)) })
        };
        recipients.iter().map(mail).collect()
    }

    /// Sends a mail by the configured way out, on one connection for all. A server that says nothing does not hold
    /// up the end of the job.
    async fn send_mail(&mut self, mail: &OutgoingMail) -> Result<(), Fault> {
        let deadline = *self.mail_deadline.get_or_insert_with(|| Instant::now() + MAIL_TIMEOUT);
        let mut connection = self.mail.take();
        let sent = timeout_at(deadline, async {
            let is_open = connection.as_mut().is_some_and(MailConnection::is_usable);
            let open = if let Some(open) = connection.take().filter(|_| is_open) {
                open
            } else {
                let transport = MailTransport::new(&self.cx.config).map_err(|f| misconfigured(&f))?;
                transport.open().await.map_err(|stop| stopped(&stop))?
            };
            connection.insert(open).send(mail).await.map_err(|stop| stopped(&stop))
        })
        .await;
        let Ok(sent) = sent else {
            let message = format!("no answer of the mail server in {} s", MAIL_TIMEOUT.as_secs());
            return Err(DeliveryError { message, is_permanent: false, retry_after: None }.into());
        };
        let outcome = sent?;
        self.mail = connection;
        // Of one mail, not of the server: the other recipients get theirs.
        let fault = |reply: String, is_permanent| Fault {
            error: DeliveryError { message: reply, is_permanent, retry_after: None },
            concerns_the_rest: false,
        };
        match outcome {
            Outcome::Accepted { .. } => Ok(()),
            // Two of an alert are better than none: what may not have arrived is sent again.
            Outcome::Deferred { reply } | Outcome::Unknown { reply } => Err(fault(reply, false)),
            Outcome::Rejected { reply, .. } => Err(fault(reply, true)),
        }
    }
}

/// The title, the error, and what to do, for a chat.
fn chat_message(channel: &AlertChannel, message: &AlertMessage) -> Message {
    let mut lines = Vec::new();
    lines.extend(message.error.clone());
    lines.push(format!("run {} on {}, severity {}", message.run, message.host, message.severity));
    lines.extend(message.commands.iter().cloned());
    Message {
        title: message.title.clone(),
        lines,
        mention: channel.mention.clone().filter(|_| message.is_urgent()),
    }
}

/// A mail that says what matters in the subject and the first lines: it is read on a phone, at night.
fn mail_content(message: &AlertMessage, from: &Mailbox, recipient: &str) -> Content {
    let title = message.title.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = format!("{title}\n");
    if let Some(error) = &message.error {
        text.push_str(&format!("\n{error}\n"));
    }
    text.push_str(&format!(
        "\nRun {} on {}, severity {}\n{}\n",
        message.run,
        message.host,
        message.severity,
        message.at.format("%Y-%m-%d %H:%M:%S UTC")
    ));
    for command in &message.commands {
        text.push_str(&format!("\n{command}\n"));
    }
    if message.kind != "recovery" {
        text.push_str(
            "\nNothing more is sent of this incident until it is over; then you hear how often it happened.\n",
        );
    }
    let mut headers = vec![
        // RFC 3834: nobody's absence note answers it.
        ("Auto-Submitted".to_owned(), "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress".to_owned(), "All".to_owned()),
    ];
    if message.is_urgent() {
        headers.push(("Importance".to_owned(), "high".to_owned()));
    }
    Content {
        // The same at every try, so that two of it are seen to be one.
        message_id: format!(
            "<alert.{}.{}.{}.{}@{}>",
            message.run,
            message.kind,
            message.at.timestamp_micros(),
            digest(recipient),
            address::domain(from)
        ),
        date: message.at,
        from: from.clone(),
        reply_to: None,
        subject: title.chars().take(SUBJECT_CHARACTERS).collect(),
        text: Some(text),
        html: None,
        headers,
        attachments: Vec::new(),
    }
}

/// What stands for a text where the text itself is too long, or nobody's business.
fn digest(text: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(text));
    digest.truncate(DIGEST_CHARACTERS);
    digest
}

/// A variable that is missing may be there the next time: cron and a person's shell differ.
fn not_set(error: &ConfigError) -> DeliveryError {
    unsendable(error.to_string())
}

/// One that is there and of no use is not mended by waiting.
fn unusable(error: &ConfigError) -> DeliveryError {
    match error {
        ConfigError::Unset { .. } => not_set(error),
        _ => permanent(error.to_string()),
    }
}

fn misconfigured(failure: &Failure) -> DeliveryError {
    unsendable(failure.message.clone())
}

fn unsendable(message: String) -> DeliveryError {
    DeliveryError { message, is_permanent: false, retry_after: None }
}

fn permanent(message: String) -> DeliveryError {
    DeliveryError { message, is_permanent: true, retry_after: None }
}

fn stopped(stop: &Stop) -> DeliveryError {
    let is_permanent = matches!(stop, Stop::Credentials(_));
    DeliveryError { message: stop.to_string(), is_permanent, retry_after: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::DateTime;

    use super::*;

    fn message(kind: &str, severity: &str) -> AlertMessage {
        AlertMessage {
            kind: kind.to_owned(),
            title: "report daily-sales\n2026-11-19 FAILED (prod)".to_owned(),
            job: "report daily-sales".to_owned(),
            instance: "2026-11-19".to_owned(),
            run: 7,
            status: "FAILED".to_owned(),
            severity: severity.to_owned(),
            environment: "prod".to_owned(),
            host: "batch-1".to_owned(),
            error: Some("1 of 1 items failed".to_owned()),
            occurrences: 1,
            commands: vec!["batchctl --env prod runs show 7".to_owned()],
            at: DateTime::from_timestamp(1_000_000_000, 0).unwrap(),
            delivered: BTreeSet::new(),
        }
    }

    #[test]
    fn a_mail_says_what_matters_first_and_is_answered_by_no_machine() {
        let from: Mailbox = "Ops <ops@Example.jp>".parse().unwrap();
        let content = mail_content(&message("failure", "high"), &from, "ops@example.jp");
        assert_eq!(content.subject, "report daily-sales 2026-11-19 FAILED (prod)");
        assert_eq!(
            content.text.unwrap(),
            "report daily-sales 2026-11-19 FAILED (prod)\n\n1 of 1 items failed\n\n\
             Run 7 on batch-1, severity high\n2001-09-09 01:46:40 UTC\n\n\
             batchctl --env prod runs show 7\n\n\
             Nothing more is sent of this incident until it is over; then you hear how often it happened.\n"
        );
        assert_eq!(content.message_id, "<alert.7.failure.1000000000000000.3d6003113011eb23@example.jp>");
        let names: Vec<&str> = content.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Auto-Submitted", "X-Auto-Response-Suppress", "Importance"]);
        let recovery = mail_content(&message("recovery", "high"), &from, "night@example.jp");
        assert_ne!(recovery.message_id, content.message_id);
        assert_eq!(recovery.headers.len(), 2, "good news can wait");
        assert!(!recovery.text.unwrap().contains("Nothing more"));
    }
}
