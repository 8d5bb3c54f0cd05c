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

/// Headers of a mail's own that it keeps outside prod, in lower case: they say what it is, and have no software send
/// anything to anybody. All others are dropped. By `Reply-To`, `Errors-To` or `Disposition-Notification-To` an answer
/// reaches a real person, a click on `List-Unsubscribe` unsubscribes one, a complaint is counted under the `Feedback-ID` of
/// real mails, and by headers of their own the mail services take recipients (`X-SMTPAPI`, `X-MSYS-API`); nobody knows all
/// of these.
const KEPT_HEADERS: [&str; 11] = [
    "auto-submitted",
    "comments",
    "importance",
    "in-reply-to",
    "keywords",
    "list-id",
    "precedence",
    "priority",
    "references",
    "x-auto-response-suppress",
    "x-priority",
];

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

    /// Whom a link in a mail to this recipient unsubscribes: outside prod the test address, since whoever clicks there is
    /// not the recipient.
    pub fn unsubscribes<'a>(&'a self, recipient: &'a Mailbox) -> &'a Mailbox {
        self.redirect_to.as_ref().unwrap_or(recipient)
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
    /// How to unsubscribe, as this program writes it.
    pub unsubscription: Vec<(String, String)>,
    /// Files and inline pictures.
    pub attachments: Vec<Attachment>,
}

/// A mail with the single recipient to whom it is really sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMail {
    content: Content,
    to: Mailbox,
    is_redirected: bool,
    dropped: Vec<(String, String)>,
}

impl OutgoingMail {
    /// Addresses a mail. Outside prod it goes to the test address, with the intended recipient in `X-Original-To` and at
    /// the start of the subject.
    pub fn new(gate: &Gate, mut content: Content, recipient: Mailbox) -> Self {
        let unsubscription = std::mem::take(&mut content.unsubscription);
        let Some(test_address) = &gate.redirect_to else {
            content.headers.extend(unsubscription);
            return Self { content, to: recipient, is_redirected: false, dropped: Vec::new() };
        };
        content.subject = format!("[to {}] {}", recipient.email, content.subject);
        let (kept, dropped) = content
            .headers
            .into_iter()
            .partition(|(name, _)| KEPT_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
        content.headers = kept;
        content.headers.extend(unsubscription);
        // Neither bounces nor answers of a rehearsal may reach real people either.
        content.from = gate.sender.clone().unwrap_or_else(|| test_address.clone());
        content.reply_to = None;
        content.headers.push(("X-Original-To".to_owned(), recipient.email.to_string()));
        Self { content, to: test_address.clone(), is_redirected: true, dropped }
    }

    /// The single recipient.
    pub fn to(&self) -> &Mailbox {
        &self.to
    }

    /// Whether it goes to the test address, and its `X-Original-To` is therefore ours.
    pub fn is_redirected(&self) -> bool {
        self.is_redirected
    }

    /// The headers that do not leave outside prod. A mail that prod would refuse for one is refused here too.
    pub fn dropped_headers(&self) -> &[(String, String)] {
        &self.dropped
    }

    /// Its content.
    pub fn content(&self) -> &Content {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(headers: &[&str]) -> Content {
        Content {
            message_id: "<1@example.jp>".to_owned(),
            date: DateTime::UNIX_EPOCH,
            from: "real@example.jp".parse().unwrap(),
            reply_to: Some("support@example.jp".parse().unwrap()),
            subject: "hello".to_owned(),
            text: Some("text".to_owned()),
            html: None,
            headers: headers
                .iter()
                .map(|name| ((*name).to_owned(), "someone@example.jp".to_owned()))
                .collect(),
            unsubscription: vec![("List-Unsubscribe".to_owned(), "<https://shop.example.jp/>".to_owned())],
            attachments: Vec::new(),
        }
    }

    fn names(mail: &OutgoingMail) -> Vec<&str> {
        mail.content().headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    const STEERING: [&str; 15] = [
        "X-MSYS-API",
        "X-SMTPAPI",
        "X-Mailgun-Recipient-Variables",
        "X-SES-CONFIGURATION-SET",
        "Disposition-Notification-To",
        "Return-Receipt-To",
        "Errors-To",
        "Mail-Followup-To",
        "Mail-Reply-To",
        "List-Owner",
        "X-Original-To",
        "X-Service-Of-Tomorrow",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Feedback-ID",
    ];

    #[test]
    fn outside_prod_only_known_headers_leave_and_no_answer_reaches_anybody() {
        let test_address: Mailbox = "developer@example.jp".parse().unwrap();
        let sender: Mailbox = "shop@example.jp".parse().unwrap();
        let recipient: Mailbox = "hanako@example.com".parse().unwrap();
        let all: Vec<&str> = STEERING.into_iter().chain(["List-Id", "AUTO-SUBMITTED"]).collect();
        for (set, from) in [(Some(sender.clone()), sender), (None, test_address.clone())] {
            let gate = Gate { redirect_to: Some(test_address.clone()), sender: set };
            let mail = OutgoingMail::new(&gate, content(&all), recipient.clone());
            assert_eq!(names(&mail), ["List-Id", "AUTO-SUBMITTED", "List-Unsubscribe", "X-Original-To"]);
            assert_eq!(mail.content().headers[2].1, "<https://shop.example.jp/>", "ours");
            assert_eq!(mail.content().headers[3].1, "hanako@example.com");
            assert_eq!(gate.unsubscribes(&recipient), &test_address);
            assert_eq!(
                (mail.to(), &mail.content().from, &mail.content().reply_to),
                (&test_address, &from, &None)
            );
        }
        let gate = Gate { redirect_to: None, sender: None };
        let mail = OutgoingMail::new(&gate, content(&all), recipient.clone());
        let sent = [all, vec!["List-Unsubscribe"]].concat();
        assert_eq!((names(&mail), mail.to()), (sent, &recipient));
        assert_eq!(gate.unsubscribes(&recipient), &recipient);
    }
}
