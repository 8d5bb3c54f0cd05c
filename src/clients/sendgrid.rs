//! `SendGrid`, API version 3: one `mail/send` per mail, with one personalization of one recipient.
//!
//! `SendGrid` builds and signs the message itself, and its 202 means only that it will try: what it drops later (its
//! own suppressions, bounces) is reported only through its event webhook, under our Message-ID.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue as MailHeaderValue, Headers};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

use super::api::{Address, Answer, Api, Call, refused_login};
use super::mail_api::{self, ascii_address};
use crate::context::Context;
use crate::failure::Failure;
use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::mail::message::refused_header;
use crate::mail::outgoing::{Attachment, OutgoingMail};
use crate::mask::Secret;

/// `SendGrid`'s address, unless a subuser is in the EU.
const ENDPOINT: &str = "https://api.sendgrid.com";
/// The path of the only call.
const PATH: &str = "v3/mail/send";
/// The largest accepted request, including attachments in base64.
const MAX_REQUEST_BYTES: usize = 30 * 1024 * 1024;
/// The variable of the key, unless the configuration names another.
pub(super) const API_KEY: &str = "SENDGRID_API_KEY";

/// `SendGrid` as `[mail.sendgrid]` describes it. Shared by all concurrent senders.
#[derive(Debug)]
pub struct SendGrid {
    api: Api,
    api_key: Secret,
}

impl SendGrid {
    /// Reads `[mail.sendgrid]` and the key.
    pub fn new(cx: &Context) -> Result<Self, Failure> {
        let settings = &cx.config.mail().sendgrid;
        let variable = settings.api_key_variable.as_deref().unwrap_or(API_KEY);
        let Some(api_key) = cx.config.variable(variable) else {
            return Err(Failure::configuration(format!(
                "variable `{variable}` is not set: SendGrid needs it"
            ))
            .hint(format!("set it in {}", cx.config.variables_file()))
            .retry_once("once it is set"));
        };
        if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::configuration(format!(
                "variable `{variable}` is not an API key: it contains a blank or a character that no key has"
            )));
        }
        let endpoint = settings.endpoint.as_deref().unwrap_or(ENDPOINT);
        let address = Address::host("mail.sendgrid.endpoint", endpoint)?;
        Ok(Self { api: Api::new(cx, address, mail_api::terms("SendGrid"))?, api_key: Secret::new(api_key) })
    }

    /// Sends a mail to its recipient.
    pub async fn send(&self, mail: &OutgoingMail) -> Result<Outcome, Stop> {
        let body = match body(mail) {
            Ok(body) => body.to_string().into_bytes(),
            Err(problem) => return Ok(not_this_mail(problem)),
        };
        if body.len() > MAX_REQUEST_BYTES {
            let reply = format!("the mail has {} bytes, SendGrid takes {MAX_REQUEST_BYTES}", body.len());
            return Ok(not_this_mail(reply));
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.api_key.expose()))
            .map_err(|_| Stop::Configuration("the API key is not a valid header value".to_owned()))?;
        bearer.set_sensitive(true);
        let call = Call::post_bytes(PATH, "application/json", body)
            .headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .secret(&self.api_key);
        match self.api.exchange(call).await {
            Ok(answer) => outcome(&answer),
            Err(error) => mail_api::unanswered(&error),
        }
    }
}

/// What a response means for the current mail, or for all of them.
fn outcome(answer: &Answer) -> Result<Outcome, Stop> {
    if answer.status == StatusCode::ACCEPTED {
        let provider_message_id = answer.header("X-Message-Id").map(str::to_owned);
        let reply = answer.quote(provider_message_id.as_deref().unwrap_or_default());
        return Ok(Outcome::Accepted { reply, provider_message_id });
    }
    let errors = errors(answer);
    let words: Vec<String> = errors
        .iter()
        .map(|(message, field)| match field {
            Some(field) => format!("{message} ({field})"),
            None => message.clone(),
        })
        .collect();
    let mut reply = if words.is_empty() { answer.quoted() } else { answer.quote(&words.join("; ")) };
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let hints = [("X-RateLimit-Reset", "rate limit resets at"), (RETRY_AFTER.as_str(), "retry after")];
        for (header, says) in hints {
            if let Some(value) = answer.header(header) {
                reply.push_str(&format!(", {says} {}", value.chars().take(20).collect::<String>()));
            }
        }
    }
    judge(answer.status, &errors, reply, mail_api::stated_wait(answer))
}

/// What an error means for this mail, or for all of them.
fn judge(
    status: StatusCode,
    errors: &[(String, Option<String>)],
    reply: String,
    wait: Option<Duration>,
) -> Result<Outcome, Stop> {
    let is_signed = !errors.is_empty();
    if status.is_server_error() {
        return mail_api::unsaid("SendGrid", "mail.sendgrid.endpoint", status, is_signed, reply, wait);
    }
    match status {
        // A used-up plan is answered like a wrong key, and resolves itself.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if errors.iter().any(|(message, _)| mail_api::is_about_quota(message)) =>
        {
            Err(Stop::Busy(mail_api::quota_spent(status)))
        }
        // Not the key: the sender's identity is not verified.
        StatusCode::FORBIDDEN if errors.iter().any(|(_, field)| field.as_deref() == Some("from")) => {
            Err(Stop::Refused(format!("HTTP {}: the sender's address is not verified", status.as_u16())))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Stop::Credentials(refused_login(status, "", &[])))
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE if is_signed => Ok(not_this_mail(reply)),
        StatusCode::TOO_MANY_REQUESTS => Ok(Outcome::SlowDown { reply, wait }),
        // SendGrid accepts a mail only with 202. Another success is that of something in between, and says nothing about
        // the mail, which may have been taken all the same.
        _ if status.is_success() => {
            Ok(Outcome::Unknown { reply: format!("the answer did not come from SendGrid: {reply}") })
        }
        _ if !is_signed && status != StatusCode::NOT_FOUND => {
            mail_api::unsaid("SendGrid", "mail.sendgrid.endpoint", status, is_signed, reply, wait)
        }
        StatusCode::REQUEST_TIMEOUT => Ok(Outcome::Deferred { reply, because: Deferral::Unsaid }),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Stop::Configuration(format!("`mail.sendgrid.endpoint`: {reply}")))
        }
        _ => Err(Stop::Refused(format!("the answer did not come from SendGrid: {reply}"))),
    }
}

/// The errors' messages, each with the field that it is about.
fn errors(answer: &Answer) -> Vec<(String, Option<String>)> {
    let json = answer.json().unwrap_or_default();
    let errors = json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |error: &Value, name: &str| error[name].as_str().map(str::to_owned);
    errors.iter().filter_map(|error| Some((text(error, "message")?, text(error, "field")))).collect()
}

/// The request, or why `SendGrid` cannot carry this mail.
fn body(mail: &OutgoingMail) -> Result<Value, String> {
    let content = mail.content();
    let mut parts = Vec::new();
    // text/plain first: SendGrid refuses the other order, and an empty part.
    for (media_type, part) in [("text/plain", &content.text), ("text/html", &content.html)] {
        if let Some(text) = part.as_deref().filter(|text| !text.is_empty()) {
            parts.push(json!({ "type": media_type, "value": text }));
        }
    }
    if parts.is_empty() || content.subject.is_empty() {
        return Err("SendGrid accepts no mail without a subject or without a text".to_owned());
    }
    if content.subject.chars().any(char::is_control) {
        return Err("the subject contains a line break or another control character".to_owned());
    }
    let mut body = json!({
        "personalizations": [{
            "to": [address(mail.to(), "recipient")?],
            // Comes back in the event webhook, next to SendGrid's own number.
            "custom_args": { "message_id": content.message_id },
        }],
        "from": address(&content.from, "sender")?,
        "subject": content.subject,
        "content": parts,
        "headers": headers(mail)?,
    });
    if let Some(reply_to) = &content.reply_to {
        body["reply_to"] = address(reply_to, "reply")?;
    }
    if !content.attachments.is_empty() {
        body["attachments"] = content.attachments.iter().map(attachment).collect();
    }
    Ok(body)
}

fn address(mailbox: &Mailbox, whose: &str) -> Result<Value, String> {
    let email = ascii_address(mailbox.email.as_ref()).ok_or_else(|| {
        format!("the {whose} address has characters before the @ that SendGrid cannot carry")
    })?;
    Ok(match &mailbox.name {
        Some(name) => json!({ "email": email, "name": name }),
        None => json!({ "email": email }),
    })
}

/// The mail's own headers. One that only prod would send is refused everywhere.
fn headers(mail: &OutgoingMail) -> Result<Map<String, Value>, String> {
    let content = mail.content();
    for (name, text) in mail.dropped_headers() {
        refused_header(name, mail.is_redirected())?;
        value(name, text)?;
    }
    let mut headers = Map::new();
    headers.insert("Message-ID".to_owned(), value("Message-ID", &content.message_id)?);
    for (name, text) in &content.headers {
        refused_header(name, mail.is_redirected())?;
        if headers.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(format!("the header `{name}` occurs twice"));
        }
        headers.insert(name.clone(), value(name, text)?);
    }
    Ok(headers)
}

/// A header's value in its encoded form: `SendGrid` copies it verbatim.
fn value(name: &str, text: &str) -> Result<Value, String> {
    if text.chars().any(char::is_control) {
        return Err(format!("the header `{name}` contains a line break or another control character"));
    }
    let header = HeaderName::new_from_ascii(name.to_owned())
        .map_err(|_| format!("`{}` is not a header name", name.escape_debug()))?;
    if text.is_ascii() {
        return Ok(Value::String(text.to_owned()));
    }
    // RFC 2047, in one line.
    let mut encoded = Headers::new();
    encoded.insert_raw(MailHeaderValue::new(header, text.to_owned()));
    let line = encoded.to_string().replace("\r\n", "");
    let encoded = line.split_once(": ").map_or(line.as_str(), |(_, value)| value).trim();
    Ok(Value::String(encoded.to_owned()))
}

fn attachment(file: &Attachment) -> Value {
    let mut attachment = json!({
        "content": STANDARD.encode(&file.bytes),
        "type": file.content_type,
        "filename": file.name,
        "disposition": if file.content_id.is_some() { "inline" } else { "attachment" },
    });
    if let Some(content_id) = &file.content_id {
        attachment["content_id"] = Value::String(content_id.clone());
    }
    attachment
}

fn not_this_mail(reply: String) -> Outcome {
    Outcome::Rejected { reply, because: Rejection::Mail }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::config::{Config, LoadOptions};
    use crate::mail::outgoing::{Content, Gate};
    use crate::mask::Redactor;
    use crate::output::{LogFormat, Output};

    fn content() -> Content {
        Content {
            message_id: "<1.a@example.jp>".to_owned(),
            date: DateTime::UNIX_EPOCH,
            from: "山田商店 <shop@example.jp>".parse().unwrap(),
            reply_to: Some("help@example.jp".parse().unwrap()),
            subject: "ご注文".to_owned(),
            text: Some("本文".to_owned()),
            html: Some("<p>本文</p>".to_owned()),
            headers: vec![
                ("List-Unsubscribe".to_owned(), "<https://example.jp/u?t=x>".to_owned()),
                ("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned()),
                ("X-Shop".to_owned(), "山田商店".to_owned()),
            ],
            unsubscription: Vec::new(),
            attachments: vec![
                Attachment {
                    name: "chart.png".to_owned(),
                    content_type: "image/png".to_owned(),
                    content_id: Some("chart".to_owned()),
                    bytes: vec![1, 2, 3],
                },
                Attachment {
                    name: "売上.csv".to_owned(),
                    content_type: "text/csv".to_owned(),
                    content_id: None,
                    bytes: b"a".to_vec(),
                },
            ],
        }
    }

    fn config(environment: &str, variables: &[(&str, &str)]) -> Config {
        let folder = tempfile::tempdir().unwrap();
        Config::load(LoadOptions {
            env_flag: Some(environment.to_owned()),
            working_dir: folder.path().to_owned(),
            process_env: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            full_paths: false,
        })
        .unwrap()
    }

    fn sendgrid(variables: &[(&str, &str)]) -> Result<SendGrid, Failure> {
        let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
        SendGrid::new(&Context::new(config("dev", variables), output))
    }

    fn mail(content: Content) -> OutgoingMail {
        let gate = Gate::new(&config("prod", &[])).unwrap();
        OutgoingMail::new(&gate, content, "花子 <hanako@例え.jp>".parse().unwrap())
    }

    fn rehearsed(content: Content) -> OutgoingMail {
        let redirected = config("dev", &[("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")]);
        OutgoingMail::new(&Gate::new(&redirected).unwrap(), content, "hanako@example.com".parse().unwrap())
    }

    #[test]
    fn a_mail_becomes_a_request_with_all_its_parts() {
        let mut body = body(&mail(content())).unwrap();
        let encoded = body["headers"].as_object_mut().unwrap().remove("X-Shop").unwrap();
        assert!(encoded.as_str().is_some_and(|text| text.starts_with("=?utf-8?b?") && text.ends_with("?=")));
        assert_eq!(
            body,
            json!({
                "personalizations": [{
                    "to": [{ "email": "hanako@xn--r8jz45g.jp", "name": "花子" }],
                    "custom_args": { "message_id": "<1.a@example.jp>" },
                }],
                "from": { "email": "shop@example.jp", "name": "山田商店" },
                "reply_to": { "email": "help@example.jp" },
                "subject": "ご注文",
                "content": [
                    { "type": "text/plain", "value": "本文" },
                    { "type": "text/html", "value": "<p>本文</p>" },
                ],
                "headers": {
                    "Message-ID": "<1.a@example.jp>",
                    "List-Unsubscribe": "<https://example.jp/u?t=x>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
                "attachments": [
                    { "content": "AQID", "type": "image/png", "filename": "chart.png",
                      "disposition": "inline", "content_id": "chart" },
                    { "content": "YQ==", "type": "text/csv", "filename": "売上.csv", "disposition": "attachment" },
                ],
            })
        );
    }

    #[test]
    fn what_sendgrid_would_refuse_or_what_would_forge_a_header_is_not_sent() {
        for (name, value, problem) in [
            ("Bcc", "all@example.jp", "the header `Bcc` is written by batchctl itself"),
            ("reply-to", "all@example.jp", "the header `reply-to` is written by batchctl itself"),
            ("X-SMTPAPI", "{}", "the header `X-SMTPAPI` is written by batchctl itself"),
            ("Resent-To", "all@example.jp", "the header `Resent-To` is written by batchctl itself"),
            (
                "X-A",
                "1\r\nBcc: all@example.jp",
                "the header `X-A` contains a line break or another control character",
            ),
            ("X-A: 1\r\nBcc", "all@example.jp", "`X-A: 1\\r\\nBcc` is not a header name"),
            ("List-unsubscribe", "x", "the header `List-unsubscribe` occurs twice"),
        ] {
            let mut content = content();
            content.headers.push((name.to_owned(), value.to_owned()));
            assert_eq!(body(&mail(content.clone())).unwrap_err(), problem);
            // What does not leave dev is refused there too, so that prod brings no surprise.
            if name != "List-unsubscribe" {
                assert_eq!(body(&rehearsed(content)).unwrap_err(), problem);
            }
        }
        let no_text = Content { text: Some(String::new()), html: None, ..content() };
        assert!(body(&mail(no_text)).unwrap_err().contains("without a text"));
        let broken = Content { subject: "a\r\nBcc: b@example.jp".to_owned(), ..content() };
        assert!(body(&mail(broken)).unwrap_err().contains("line break"));
    }

    #[test]
    fn each_error_means_what_it_says() {
        let from = [("The from address does not match".to_owned(), Some("from".to_owned()))];
        let spent = [("Maximum credits exceeded".to_owned(), None)];
        let quota = [("You have exceeded your sending quota".to_owned(), None)];
        let bad = [("Something is wrong".to_owned(), None)];
        for (status, errors, meaning) in [
            (400, &bad[..], "Mail"),
            (413, &bad, "Mail"),
            // Pages of something in front of it.
            (400, &[], "Policy"),
            (413, &[], "Policy"),
            (401, &[], "stop Credentials"),
            (401, &bad, "stop Credentials"),
            (403, &[], "stop Credentials"),
            (403, &bad, "stop Credentials"),
            (401, &spent, "stop Busy"),
            (403, &spent, "stop Busy"),
            (403, &quota, "stop Busy"),
            (403, &from, "stop Refused"),
            (429, &[], "SlowDown"),
            (500, &bad, "SlowDown"),
            (503, &[], "SlowDown"),
            (500, &[], "SlowDown"),
            // It may have reached SendGrid, and only the answer is lost.
            (502, &[], "Unknown"),
            (504, &[], "Unknown"),
            (404, &[], "stop Configuration"),
            (200, &[], "Unknown"),
            (302, &[], "stop Refused"),
        ] {
            let judged = match judge(StatusCode::from_u16(status).unwrap(), errors, String::new(), None) {
                Ok(Outcome::Rejected { because, .. }) => format!("{because:?}"),
                Ok(outcome) => format!("{outcome:?}").split(' ').next().unwrap().to_owned(),
                Err(stop) => format!("stop {stop:?}").split('(').next().unwrap().to_owned(),
            };
            assert_eq!(judged, meaning, "{status} {errors:?}");
        }
    }

    #[tokio::test]
    async fn a_mail_that_is_too_large_is_refused_before_sendgrid_is_called() {
        let sendgrid = sendgrid(&[("SENDGRID_API_KEY", "SG.hunter22")]).unwrap();
        let mut content = content();
        content.attachments[1].bytes = vec![0; MAX_REQUEST_BYTES * 3 / 4];
        match sendgrid.send(&mail(content)).await {
            Ok(Outcome::Rejected { because: Rejection::Mail, reply }) => {
                assert!(reply.contains("SendGrid takes 31457280"), "{reply}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_or_impossible_key_is_named_and_a_key_is_never_shown() {
        let failure = sendgrid(&[]).unwrap_err();
        assert_eq!(failure.message, "variable `SENDGRID_API_KEY` is not set: SendGrid needs it");
        let failure = sendgrid(&[("SENDGRID_API_KEY", "SG.hunter22 x")]).unwrap_err();
        assert!(failure.message.contains("SENDGRID_API_KEY") && !failure.message.contains("hunter"));
        let sendgrid = sendgrid(&[("SENDGRID_API_KEY", "SG.hunter22")]).unwrap();
        assert!(!format!("{sendgrid:?}").contains("hunter"));
    }
}
