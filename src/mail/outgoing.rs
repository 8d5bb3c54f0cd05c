//! An outgoing mail. Its recipient is set here and nowhere else: outside prod it is the test address, whatever the
//! transport.

use chrono::{DateTime, Utc};
use lettre::message::Mailbox;

use crate::address;
use crate::config::Config;
use crate::failure::Failure;

/// Who may be reached: the recipients themselves in prod, one test address elsewhere.
#[derive(Debug, Clone)]
pub struct Gate {
    redirect_to: Option<Mailbox>,
    /// The sender of every mail outside prod, whatever the mail says.
    sender: Option<Mailbox>,
}

/// Prefixes of headers by which mail services accept further recipients or other instructions: outside prod they are
/// dropped.
const STEERING_HEADERS: [&str; 5] = ["x-smtpapi", "x-mc-", "x-mailgun-", "x-ses-", "x-pm-"];

impl Gate {
    /// The gate of this environment. Outside prod it requires `BATCHCTL_MAIL_REDIRECT_TO`.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        if config.is_prod() {
            return Ok(Self { redirect_to: None, sender: None });
        }
        let Some(address) = &config.mail().redirect_to else {
            return Err(Failure::configuration(format!(
                "BATCHCTL_MAIL_REDIRECT_TO is not set: in `{}` every mail goes to that address",
                config.environment()
            ))
            .hint(format!(
                "set it to a mailbox of your developers, such as developer@example.jp, in {}",
                config.variables_file()
            ))
            .retry_once("once it is set"));
        };
        let mailbox = address::parse(address)
            .map_err(|problem| Failure::configuration(format!("BATCHCTL_MAIL_REDIRECT_TO: {problem}")))?;
        let sender = config.mail().from.as_deref().and_then(|from| address::parse(from).ok());
        Ok(Self { redirect_to: Some(mailbox), sender })
    }

    /// Whether mails go to their real recipients: what a server says about the test address says nothing about them.
    pub fn reaches_recipients(&self) -> bool {
        self.redirect_to.is_none()
    }
}

/// A file attached to a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file's name.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Set for a picture inside the HTML (`<img src="cid:…">`).
    pub content_id: Option<String>,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The content of a mail, before its recipient is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// With its angle brackets; the same for every attempt.
    pub message_id: String,
    /// The `Date` header.
    pub date: DateTime<Utc>,
    /// The sender.
    pub from: Mailbox,
    /// Where replies go, if not to the sender.
    pub reply_to: Option<Mailbox>,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// Further headers. Those that this program writes itself are refused.
    pub headers: Vec<(String, String)>,
    /// Files and inline pictures.
    pub attachments: Vec<Attachment>,
}

/// A mail with the single recipient to whom it is really sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMail {
    content: Content,
    to: Mailbox,
    is_redirected: bool,
}

impl OutgoingMail {
    /// Addresses a mail. Outside prod it goes to the test address, with the intended recipient in `X-Original-To` and at
    /// the start of the subject.
    pub fn new(gate: &Gate, mut content: Content, recipient: Mailbox) -> Self {
        let Some(test_address) = &gate.redirect_to else {
            return Self { content, to: recipient, is_redirected: false };
        };
        content.subject = format!("[to {}] {}", recipient.email, content.subject);
        content.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name != "x-original-to" && !STEERING_HEADERS.iter().any(|prefix| name.starts_with(prefix))
        });
        if let Some(sender) = &gate.sender {
            // Bounces from a rehearsal must not reach real people either.
            content.from = sender.clone();
        }
        content.headers.push(("X-Original-To".to_owned(), recipient.email.to_string()));
        Self { content, to: test_address.clone(), is_redirected: true }
    }

    /// The single recipient.
    pub fn to(&self) -> &Mailbox {
        &self.to
    }

    /// Whether it goes to the test address, and its `X-Original-To` is therefore ours.
    pub fn is_redirected(&self) -> bool {
        self.is_redirected
    }

    /// Its content.
    pub fn content(&self) -> &Content {
        &self.content
    }
}
