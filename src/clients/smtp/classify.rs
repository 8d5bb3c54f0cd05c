//! What a reply means for this mail or for all of them, by the step it answers.

use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};

use super::reply::{Enhanced, Reply};

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    MailFrom,
    Recipient,
    Data,
    /// The final dot.
    Message,
}

impl Step {
    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the greeting",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::MailFrom => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "the mail",
        }
    }
}

/// What a refusal while connecting means: there is no mail yet, so it always concerns all of them.
pub(super) fn refused_connection(step: Step, server: &str, reply: &Reply) -> Stop {
    let said = if step == Step::Auth { reply.codes() } else { reply.text() };
    let message = format!("`{server}` refused {}: {said}", step.name());
    let is_temporary = reply.code / 100 == 4;
    match step {
        // One of several machines may be overloaded, or there are too many connections.
        _ if is_temporary => Stop::TurnedAway(message),
        // Closed, whatever the class: the server does not know us yet, so it is nothing we did.
        Step::Greeting => Stop::Unreachable(message),
        Step::Auth if !matches!(reply.code, 500..=504) => Stop::Credentials(message),
        _ => Stop::Refused(message),
    }
}

/// What a refusal of a mail means.
pub(super) fn refused_mail(step: Step, reply: &Reply) -> Result<Outcome, Stop> {
    let text = reply.text();
    let deferred = |because| Ok(Outcome::Deferred { reply: text.clone(), because });
    let rejected = |because| Ok(Outcome::Rejected { reply: text.clone(), because });
    let enhanced = reply.enhanced();
    match (reply.code, enhanced) {
        // They speak of credentials, which all mails share; but a server that takes the next mail means this one.
        (530, _) => return rejected(Rejection::Policy),
        // What judges a login may quote it.
        (534 | 535, _) => {
            return Ok(Outcome::Rejected { reply: reply.codes(), because: Rejection::Policy });
        }
        _ if is_about_the_server(step, reply) => return Ok(Outcome::SlowDown { reply: text, wait: None }),
        // A full mailbox will be emptied some day, whatever the class of the code.
        (_, Some(Enhanced { subject: 2, detail: 2, .. })) => return deferred(Deferral::Mail),
        // About an address, a mailbox, or what the mail contains; and its size.
        (400..500, Some(Enhanced { subject: 1 | 2 | 6, .. } | Enhanced { subject: 3, detail: 4, .. })) => {
            return deferred(Deferral::Mail);
        }
        (400..500, _) => return deferred(Deferral::Unsaid),
        _ => {}
    }
    // "Daily sending quota exceeded": tomorrow.
    if let Some(Enhanced { class: 5, subject: 4, detail: 5 }) = enhanced {
        return Err(Stop::Busy(format!("the server refused {}: {text}", step.name())));
    }
    if let Some(because) = enhanced.filter(|code| code.class == 5).and_then(|code| by_enhanced(step, code)) {
        return rejected(because);
    }
    match (step, reply.code) {
        // About the recipient's address ("need fully-qualified address"), or the mail's content ("line too long"):
        // one mail, which must not stop the others.
        (Step::Recipient, 501 | 504) | (Step::Message, 500..=504) => rejected(Rejection::Mail),
        // About our commands (555: their parameters): a bug, or a server that is not an SMTP server. If it understands the
        // next mail's, it is something in this one.
        (_, 500..=504 | 555) => Ok(Outcome::Rejected {
            reply: format!("the server does not understand {}: {text}", step.name()),
            because: Rejection::Policy,
        }),
        (_, _) if enhanced.is_some_and(|code| code.class == 5 && matches!(code.subject, 2..=5)) => {
            rejected(if reply.code == 554 { Rejection::Policy } else { Rejection::Mail })
        }
        // Without an enhanced code it may be about the recipient or about us ("550 relay not permitted"): the mail is
        // refused, and nobody is suppressed, since that could hit every customer.
        // RFC 5321 section 4.5.3.1.10: after RCPT a 552 is to be treated as a 452.
        (Step::Recipient, 552) => deferred(Deferral::Mail),
        (_, 552) => rejected(Rejection::Mail),
        _ => rejected(Rejection::Policy),
    }
}

/// Whether a temporary refusal is about the state of the server or about how much it gets from us, so that any other mail
/// would be refused like this one.
fn is_about_the_server(step: Step, reply: &Reply) -> bool {
    if reply.code / 100 != 4 {
        return false;
    }
    match reply.enhanced().map(|code| (code.subject, code.detail)) {
        // "Closing the channel", whatever it adds.
        _ if reply.code == 421 => true,
        // The system cannot carry this mail: its features (4.3.3), or its size (4.3.4). The recipient's mailbox (4.2.x),
        // which may get too much as well.
        Some((3, 3 | 4) | (2, _)) => false,
        // Clients are limited with whatever code.
        _ if speaks_of_rates(&reply.text()) => true,
        // System status: full (4.3.1), not accepting (4.3.2), wrongly configured (4.3.5). Congestion (4.4.5), too many
        // recipients on this connection (4.5.3), and rates: Gmail's 4.7.28, Exchange Online's 4.7.500 to 4.7.699.
        Some((3, _) | (4, 5) | (5, 3) | (7, 28 | 500..=699)) => true,
        // Before any recipient is known. Only an address (4.1.x) is that of this mail's own sender.
        Some((subject, _)) => step == Step::MailFrom && subject != 1,
        // RFC 5321 section 4.2.3: insufficient system storage.
        None => step == Step::MailFrom || reply.code == 452,
    }
}

fn speaks_of_rates(text: &str) -> bool {
    let text = text.to_lowercase();
    ["too many", "too much mail", "rate limit", "ratelimit", "throttl"]
        .iter()
        .any(|words| text.contains(words))
}

/// What an enhanced code of class 5 means on its own.
fn by_enhanced(step: Step, code: Enhanced) -> Option<Rejection> {
    match (code.subject, code.detail) {
        // 5.1.7 and 5.1.8 are about the sender's address, 5.1.9 about a relay on the way; and Postfix refuses an
        // unknown sender only after RCPT TO, with 5.1.0. Nobody must be suppressed for that.
        // 5.3.x but for the size is about the server's state.
        (1, 0 | 7..=9) | (7, _) | (3, 0..=2 | 5) => Some(Rejection::Policy),
        (1, _) if step == Step::MailFrom => Some(Rejection::Policy),
        (1, _) | (2, 1) => Some(Rejection::Address),
        (2, 3) | (3, 4) | (6, _) => Some(Rejection::Mail),
        _ => None,
    }
}
