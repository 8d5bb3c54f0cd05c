//! Messages by mail: one to each recipient, sent at once and not through the queue, by the configured transport.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::{Fault, Part, Poster};
use crate::address;
use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::context::Context;
use crate::digest::fingerprint;
use crate::mail::delivery::{Outcome, Stop};
use crate::mail::outgoing::{Content, Gate, OutgoingMail};
use crate::printable::one_line;

/// How long one mail may take, including the connection to the server. Below what the runner allows for all its alerts
/// together, so that a silent server's fault is recorded, and shorter than a person waits for a job to end.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);
/// A server that was silent for that long is not contacted again for this long.
const SILENCE: Duration = Duration::from_mins(1);
/// The most of a subject that any phone shows.
const SUBJECT_CHARACTERS: usize = 150;

/// A channel of mail recipients.
pub(super) struct Mail {
    gate: Gate,
    from: Mailbox,
    recipients: Vec<Mailbox>,
    transport: MailTransport,
    way_out: Arc<Mutex<WayOut>>,
}

/// What is kept between mails.
#[derive(Default)]
struct WayOut {
    connection: Option<MailConnection>,
    silent_until: Option<Instant>,
}

impl Mail {
    /// These recipients; outside prod all mails go to the test address.
    pub(super) fn new(cx: &Context, recipients: &[String]) -> Result<Self, Fault> {
        let gate = Gate::new(&cx.config).map_err(|failure| Fault::passing(failure.message))?;
        let Some(from) = &cx.config.mail().from else {
            return Err(Fault::passing("BATCHCTL_MAIL_FROM is not set: mails need a sender".to_owned()));
        };
        let read =
            |text: &String| address::parse(text).map_err(|problem| Fault::passing(problem.to_string()));
        let from = read(from)?;
        let recipients = recipients.iter().map(read).collect::<Result<_, _>>()?;
        let transport = cx.mail_transport().map_err(|failure| Fault::passing(failure.message))?;
        let way_out = Arc::new(Mutex::new(WayOut::default()));
        let at_end = Arc::clone(&way_out);
        cx.close_at_end(async move {
            if let Some(connection) = at_end.lock().await.connection.take() {
                connection.close().await;
            }
        });
        Ok(Self { gate, from, recipients, transport, way_out })
    }

    /// Sends a mail, on one connection for all. A silent server does not delay the end of a job.
    async fn send(&self, mail: OutgoingMail) -> Result<(), Fault> {
        let silence =
            || Fault::passing(format!("no answer from the mail server in {} s", MAIL_TIMEOUT.as_secs()));
        let mut way_out = self.way_out.lock().await;
        if way_out.silent_until.is_some_and(|until| Instant::now() < until) {
            return Err(silence());
        }
        let kept = way_out.connection.take();
        let Ok(sent) = timeout(MAIL_TIMEOUT, self.send_over(kept, &mail)).await else {
            way_out.silent_until = Some(Instant::now() + SILENCE);
            return Err(silence());
        };
        let (connection, outcome) = sent.map_err(|stop| stopped(&stop))?;
        way_out.connection = Some(connection);
        judged(outcome)
    }

    async fn send_over(
        &self,
        kept: Option<MailConnection>,
        mail: &OutgoingMail,
    ) -> Result<(MailConnection, Outcome), Stop> {
        let usable = kept.and_then(|mut connection| connection.is_usable().then_some(connection));
        let mut connection = match usable {
            Some(connection) => connection,
            None => self.transport.open().await?,
        };
        let outcome = connection.send(mail).await?;
        Ok((connection, outcome))
    }
}

impl Poster for Mail {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let part = |mailbox: &Mailbox| {
            let recipient = address::normalised(mailbox);
            let content = content(message, &self.from, &recipient);
            // The recipient itself, since a channel's recipients may differ at the next attempt.
            Part::new(recipient, self.send(OutgoingMail::new(&self.gate, content, mailbox.clone())))
        };
        Ok(self.recipients.iter().map(part).collect())
    }
}

/// The outcome of one mail. It does not concern the server: the other recipients get theirs.
fn judged(outcome: Outcome) -> Result<(), Fault> {
    let fault = match outcome {
        Outcome::Accepted { .. } => return Ok(()),
        // A duplicate is better than no message: what may not have arrived is sent again.
        Outcome::Deferred { reply, .. } | Outcome::SlowDown { reply, .. } | Outcome::Unknown { reply } => {
            Fault::passing(reply)
        }
        Outcome::Rejected { reply, .. } => Fault::lasting(reply),
    };
    Err(Fault { concerns_the_rest: false, ..fault })
}

fn stopped(stop: &Stop) -> Fault {
    match stop {
        Stop::Credentials(reason) => Fault::lasting(reason.clone()),
        Stop::Unreachable(_)
        | Stop::TurnedAway(_)
        | Stop::Busy(_)
        | Stop::Refused(_)
        | Stop::Configuration(_) => Fault::passing(stop.to_string()),
    }
}

/// A mail with what matters in the subject and the first lines: it is read on a phone, at night.
fn content(message: &Message, from: &Mailbox, recipient: &str) -> Content {
    let mut headers = vec![
        // RFC 3834: no auto-reply answers it.
        ("Auto-Submitted".to_owned(), "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress".to_owned(), "All".to_owned()),
    ];
    if message.mentions {
        headers.push(("Importance".to_owned(), "high".to_owned()));
    }
    Content {
        // The same at every try, so that two of it are seen to be one.
        message_id: format!("<{}.{}@{}>", atom(&message.id), fingerprint(recipient), address::domain(from)),
        date: message.at,
        from: from.clone(),
        reply_to: None,
        subject: one_line(&message.title).chars().take(SUBJECT_CHARACTERS).collect(),
        text: Some(text(message)),
        html: None,
        headers,
        unsubscription: Vec::new(),
        attachments: Vec::new(),
    }
}

/// The letter, or title, text, fields and link, each its own paragraph.
fn text(message: &Message) -> String {
    if let Some(letter) = &message.letter {
        return letter.clone();
    }
    let fields = message.fields.iter().map(|(name, value)| format!("{name}: {value}"));
    let link = message.link.as_ref().map(|link| format!("{}: {}", link.label, link.url));
    let paragraphs = [
        one_line(&message.title),
        message.lines.join("\n"),
        fields.collect::<Vec<_>>().join("\n"),
        link.unwrap_or_default(),
    ];
    let paragraphs = paragraphs.into_iter().filter(|paragraph| !paragraph.is_empty());
    paragraphs.collect::<Vec<_>>().join("\n\n") + "\n"
}

/// An id as the left side of a Message-ID (RFC 5322 section 3.6.4).
fn atom(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::message::Link;
    use super::super::message::tests::message;
    use super::*;

    #[test]
    fn a_mail_has_all_of_a_message_and_is_answered_by_no_machine() {
        let from: Mailbox = "Ops <ops@Example.jp>".parse().unwrap();
        let link = Link { label: "Report".to_owned(), url: "https://a.jp/x".parse().unwrap() };
        let summary = Message {
            id: "finance summary\r\n.2026-11-19".to_owned(),
            fields: vec![("net".to_owned(), "1,000".to_owned()), ("tax".to_owned(), "100".to_owned())],
            link: Some(link),
            ..message("Sales of\nThursday", vec!["A day".to_owned(), "like others".to_owned()])
        };
        let content = content(&summary, &from, "cfo@example.jp");
        assert_eq!(content.subject, "Sales of Thursday");
        assert_eq!(
            content.text.unwrap(),
            "Sales of Thursday\n\nA day\nlike others\n\nnet: 1,000\ntax: 100\n\nReport: https://a.jp/x\n"
        );
        let digest = fingerprint("cfo@example.jp");
        assert_eq!(content.message_id, format!("<finance-summary--.2026-11-19.{digest}@example.jp>"));
        let names: Vec<&str> = content.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Auto-Submitted", "X-Auto-Response-Suppress", "Importance"]);
    }

    #[test]
    fn a_letter_stands_in_place_of_the_text() {
        let letter = Message {
            letter: Some("A letter\n".to_owned()),
            mentions: false,
            ..message("title", vec!["line".to_owned()])
        };
        let content = content(&letter, &"ops@example.jp".parse().unwrap(), "a@example.jp");
        assert_eq!(content.text.as_deref(), Some("A letter\n"));
        assert_eq!(content.headers.len(), 2, "what is not urgent can wait");
    }
}
