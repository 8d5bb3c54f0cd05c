//! Writes a mail as RFC 5322 requires: headers, parts and their encodings. The result is ASCII, has no line longer
//! than the 998 octets of section 2.1.1, and no bare CR or LF (which some servers treat as the end of the mail).

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Datelike;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{
    Attachment as AttachmentPart, Body, Mailbox, Message, MessageBuilder, MultiPart, SinglePart,
};

use super::dkim::DkimSigner;
use super::outgoing::{Attachment, Content, OutgoingMail};

/// RFC 5322 section 2.1.1, without the CRLF.
const MAX_LINE_OCTETS: usize = 998;
/// Longer headers are a mistake or an attack; servers truncate them at some length (Postfix at 100 KB in total).
const MAX_HEADER_BYTES: usize = 8_000;

/// Headers that this program or a service writes itself, in lower case, whatever the transport: a mail that one of them
/// accepts is accepted by all. So is what [`refused_header`] adds: all of `content-…` and `resent-…`.
const OUR_HEADERS: [&str; 18] = [
    "apparently-to",
    "bcc",
    "cc",
    "date",
    "dkim-signature",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "x-sg-eid",
    "x-sg-id",
    "x-smtpapi",
    ORIGINAL_RECIPIENT,
];
/// Written only when a mail is redirected outside prod.
const ORIGINAL_RECIPIENT: &str = "x-original-to";

/// A mail as it is transmitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The sender and the recipient, with domains in ASCII.
    pub envelope: Envelope,
    /// Headers and body, lines ended by CRLF, not yet dot-stuffed.
    pub bytes: Vec<u8>,
}

/// Writes a mail. The error says what is wrong with it and contains neither its texts nor its addresses.
pub fn build(mail: &OutgoingMail, signer: Option<&DkimSigner>) -> Result<Built, String> {
    let content = mail.content();
    let from = sendable("the sender", &content.from)?;
    let to = sendable("the recipient", mail.to())?;
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.email.clone()])
        .map_err(|error| format!("the addresses do not form an envelope: {error}"))?;
    refuse_breaks("the subject", &content.subject)?;
    refuse_length("the subject", &content.subject)?;
    let mut builder = Message::builder().from(from).to(to);
    if let Some(reply_to) = &content.reply_to {
        builder = builder.reply_to(sendable("the reply address", reply_to)?);
    }
    builder = with_subject(builder, &content.subject)
        .date(date(content)?)
        .message_id(Some(message_id(content)?.to_owned()));
    for (name, value) in mail.dropped_headers() {
        further_header(name, value, mail.is_redirected())?;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &content.headers {
        let header = further_header(name, value, mail.is_redirected())?;
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(format!("the header `{name}` occurs twice"));
        }
        seen.push(name);
        builder = builder.raw_header(header);
    }
    let message = match parts(content)? {
        Part::Single(part) => builder.envelope(envelope.clone()).singlepart(part),
        Part::Multi(part) => builder.envelope(envelope.clone()).multipart(part),
    }
    .map_err(|error| format!("failed to write the mail: {error}"))?;
    let mut bytes = message.formatted();
    refuse_bad_lines(&bytes)?;
    if let Some(signer) = signer {
        let header = signer.header(&bytes)?;
        bytes.splice(..0, header.into_bytes());
    }
    Ok(Built { envelope, bytes })
}

/// The mailbox with its domain in ASCII: only servers with SMTPUTF8 accept anything else.
fn sendable(what: &str, mailbox: &Mailbox) -> Result<Mailbox, String> {
    if let Some(name) = &mailbox.name {
        refuse_breaks(&format!("the name of {what}"), name)?;
        refuse_length(&format!("the name of {what}"), name)?;
    }
    refuse_breaks(what, mailbox.email.as_ref())?;
    refuse_length(what, mailbox.email.as_ref())?;
    let domain = mailbox.email.domain();
    if domain.is_ascii() {
        return Ok(mailbox.clone());
    }
    let host = url::Host::parse(domain).map_err(|_| format!("{what} has no valid domain"))?;
    let email = Address::new(mailbox.email.user(), host.to_string())
        .map_err(|_| format!("{what} is not a mail address"))?;
    Ok(Mailbox::new(mailbox.name.clone(), email))
}

/// A line break would inject a header or a mail.
fn refuse_breaks(what: &str, text: &str) -> Result<(), String> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(format!("{what} contains a line break or a NUL"));
    }
    Ok(())
}

fn refuse_length(what: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_HEADER_BYTES {
        return Err(format!("{what} has {} bytes; a header holds at most {MAX_HEADER_BYTES}", text.len()));
    }
    Ok(())
}

/// Words that fit into a line with the header's name.
const MAX_WORD_OCTETS: usize = 900;
/// Octets of an encoded word, which has at most 75 characters (RFC 2047 section 2).
const ENCODED_WORD_OCTETS: usize = 45;

/// The subject. Lines are folded at blanks alone, and ASCII is not encoded: a word longer than a line has to be.
fn with_subject(builder: MessageBuilder, subject: &str) -> MessageBuilder {
    if !subject.is_ascii() || subject.split(' ').all(|word| word.len() <= MAX_WORD_OCTETS) {
        return builder.subject(subject);
    }
    let words = subject.as_bytes().chunks(ENCODED_WORD_OCTETS);
    let words = words.map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
    let encoded = words.collect::<Vec<_>>().join("\r\n ");
    builder.raw_header(HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str("Subject"),
        subject.to_owned(),
        encoded,
    ))
}

fn date(content: &Content) -> Result<SystemTime, String> {
    // The range of dates that the header can express.
    if !(1970..=9999).contains(&content.date.year()) {
        return Err("the date is not between 1970 and 9999".to_owned());
    }
    Ok(SystemTime::from(content.date))
}

/// RFC 5322 section 3.6.4, simplified: a server that parses it finds the two halves.
fn message_id(content: &Content) -> Result<&str, String> {
    let id = content.message_id.as_str();
    let is_valid = id
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .and_then(|inner| inner.split_once('@'))
        .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains('@'))
        && id.len() <= MAX_LINE_OCTETS - "Message-ID: ".len()
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && !id[1..id.len() - 1].contains(['<', '>']);
    if is_valid { Ok(id) } else { Err("the Message-ID is not of the form `<left@right>`".to_owned()) }
}

/// Refuses a header that a row must not set, for all transports alike.
pub fn refused_header(name: &str, is_redirected: bool) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    let is_ours = lower.starts_with("content-")
        || lower.starts_with("resent-")
        || OUR_HEADERS.contains(&lower.as_str());
    if is_ours && !(is_redirected && lower == ORIGINAL_RECIPIENT) {
        return Err(format!("the header `{name}` is written by batchctl itself"));
    }
    Ok(())
}

fn further_header(name: &str, value: &str, is_redirected: bool) -> Result<HeaderValue, String> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let header_name = HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| is_name);
    // The name itself is not quoted: it may contain anything.
    let header_name = header_name.ok_or("the name of a header is not valid (RFC 5322)")?;
    refused_header(name, is_redirected)?;
    refuse_breaks(&format!("the header `{name}`"), value)?;
    refuse_length(&format!("the header `{name}`"), value)?;
    Ok(HeaderValue::new(header_name, value.to_owned()))
}

enum Part {
    Single(SinglePart),
    Multi(MultiPart),
}

/// Text and HTML as alternatives, pictures inside the HTML's part, files around all of it.
fn parts(content: &Content) -> Result<Part, String> {
    // Without HTML nothing shows a picture, so it becomes a file.
    let is_picture = |attachment: &&Attachment| attachment.content_id.is_some() && content.html.is_some();
    let html = match &content.html {
        Some(html) => {
            let html = SinglePart::html(body("the HTML part", html)?);
            let mut pictures = content.attachments.iter().filter(is_picture).peekable();
            if pictures.peek().is_some() {
                let mut related = MultiPart::related().singlepart(html);
                for picture in pictures {
                    related = related.singlepart(file(picture, true)?);
                }
                Some(Part::Multi(related))
            } else {
                Some(Part::Single(html))
            }
        }
        None => None,
    };
    let text = match &content.text {
        Some(text) => Some(SinglePart::plain(body("the text part", text)?)),
        None => None,
    };
    let texts = match (text, html) {
        (Some(text), Some(html)) => {
            let alternative = MultiPart::alternative().singlepart(text);
            Part::Multi(match html {
                Part::Single(html) => alternative.singlepart(html),
                Part::Multi(html) => alternative.multipart(html),
            })
        }
        (Some(text), None) => Part::Single(text),
        (None, Some(html)) => html,
        (None, None) => return Err("it has neither a text nor an HTML part".to_owned()),
    };
    let mut files = content.attachments.iter().filter(|attachment| !is_picture(attachment)).peekable();
    if files.peek().is_none() {
        return Ok(texts);
    }
    let mut mixed = match texts {
        Part::Single(text) => MultiPart::mixed().singlepart(text),
        Part::Multi(texts) => MultiPart::mixed().multipart(texts),
    };
    for attachment in files {
        mixed = mixed.singlepart(file(attachment, false)?);
    }
    Ok(Part::Multi(mixed))
}

/// A text in a suitable transfer encoding, with lines ended by CRLF.
fn body(what: &str, text: &str) -> Result<Body, String> {
    if text.contains('\0') {
        return Err(format!("{what} contains a NUL"));
    }
    Ok(Body::new(with_crlf(text)))
}

/// Every CRLF, CR and LF becomes a CRLF.
fn with_crlf(text: &str) -> String {
    let unix: Cow<'_, str> = if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    };
    unix.replace('\n', "\r\n")
}

/// A file, byte for byte, whatever it contains.
fn file(attachment: &Attachment, is_inline: bool) -> Result<SinglePart, String> {
    let name = attachment.name.as_str();
    refuse_breaks("the name of an attachment", name)?;
    refuse_length("the name of an attachment", name)?;
    refuse_breaks("the media type of an attachment", &attachment.content_type)?;
    let content_type = ContentType::parse(&attachment.content_type)
        .ok()
        .filter(|_| attachment.content_type.len() <= MAX_LINE_OCTETS / 2)
        .ok_or("the media type of an attachment is not valid")?;
    let content = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| "an attachment cannot be encoded")?;
    let part = match attachment.content_id.as_deref().filter(|_| is_inline) {
        Some(content_id) => {
            AttachmentPart::new_inline_with_name(checked_content_id(content_id)?.to_owned(), name.to_owned())
        }
        None => AttachmentPart::new(name.to_owned()),
    };
    Ok(part.body(content, content_type))
}

/// With or without its angle brackets.
fn checked_content_id(content_id: &str) -> Result<&str, String> {
    let inner = content_id.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(content_id);
    let is_valid = (1..=200).contains(&inner.len())
        && inner.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'));
    if is_valid { Ok(inner) } else { Err("the content id of a picture is not valid".to_owned()) }
}

/// A final check of what is really sent.
fn refuse_bad_lines(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("its last line is not terminated")?;
        let line = rest[..end].strip_suffix(b"\r").ok_or("it has a line that ends in a bare LF")?;
        if line.len() > MAX_LINE_OCTETS {
            return Err(format!(
                "it has a line of {} octets; at most {MAX_LINE_OCTETS} are allowed",
                line.len()
            ));
        }
        if line.contains(&b'\r') {
            return Err("it has a line that contains a bare CR".to_owned());
        }
        rest = &rest[end + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
