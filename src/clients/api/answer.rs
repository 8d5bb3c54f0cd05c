//! Responses: read to their end or their limit, and the message in an error's body.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::error::{ApiErrorKind, Problem};
use crate::mask::Redactor;
use crate::printable::{self, shortened};

/// How much of a response is quoted.
const QUOTED_CHARACTERS: usize = 300;
/// The most bytes that this many characters take.
const QUOTED_BYTES: usize = QUOTED_CHARACTERS * 4;
/// Initial buffer size; no header from the server decides how much memory is allocated at once.
const FIRST_ROOM: usize = 1024 * 1024;

/// A response, with as much of its body as was read.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
    pub(super) end: End,
    /// How long the API asked to wait before the next call, if it did.
    pub(super) retry_after: Option<Duration>,
    /// A server may quote what it was sent.
    pub(super) redactor: Redactor,
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Complete.
    Whole,
    /// It is longer than the limit.
    TooLong,
    /// It ended early, for this reason.
    Broken(&'static str),
}

/// Reads a body of at most this many bytes, counted after decompression: a small body may decompress to a large one.
/// If its own header declares it longer, only what may be quoted is read. It is not waited for longer than `until`.
pub(super) async fn read(mut response: Response, most: usize, until: Instant) -> (Vec<u8>, End) {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let is_too_long = announced.is_some_and(|length| length > most);
    let room = if is_too_long { most.min(QUOTED_BYTES) } else { most };
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(room).min(FIRST_ROOM));
    let end = loop {
        let Ok(chunk) = timeout_at(until, response.chunk()).await else {
            break End::Broken("the answer did not end in time");
        };
        match chunk {
            Ok(Some(chunk)) => {
                let left = room - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(left)]);
                if chunk.len() > left {
                    break End::TooLong;
                }
            }
            Ok(None) => break End::Whole,
            Err(error) if error.is_timeout() => break End::Broken("the answer did not end in time"),
            Err(_) => break End::Broken("the answer broke off"),
        }
    };
    (body, if is_too_long { End::TooLong } else { end })
}

impl Answer {
    /// Whether the body is complete and within the limit.
    pub fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status and this text on one short line.
    pub fn quote(&self, words: &str) -> String {
        let status = self.status.as_u16();
        // Shortened last: half a secret is not known as one.
        let words = self.redactor.redact(&one_line(words));
        match words.as_str() {
            "" => format!("HTTP {status}"),
            words => format!("HTTP {status}: {}", shortened(words, QUOTED_CHARACTERS)),
        }
    }

    /// The status and the body's message on one short line: for JSON the error message, for anything else its
    /// beginning.
    pub fn quoted(&self) -> String {
        self.quote(&words(&self.body).said.unwrap_or_default())
    }

    /// The beginning of a body that is not JSON, on one short line.
    pub(super) fn beginning(&self) -> Option<String> {
        beginning(&self.body)
            .map(|text| shortened(&self.redactor.redact(&text), QUOTED_CHARACTERS).into_owned())
    }

    /// The problem of a response whose status is an error.
    pub(super) fn rejection(&self) -> Problem {
        let words = words(&self.body);
        let reason = self.quote(words.said.as_deref().unwrap_or_default());
        let kind = if self.status == StatusCode::TOO_MANY_REQUESTS {
            ApiErrorKind::Throttled
        } else {
            ApiErrorKind::Rejected
        };
        Problem {
            code: words.code,
            is_oauth: words.is_oauth,
            status: Some(self.status),
            retry_after: self.retry_after,
            may_pass: may_pass(self.status),
            ..Problem::lasting(kind, reason)
        }
    }

    /// A problem of this response, whose status is a success.
    pub(super) fn problem(&self, problem: Problem) -> Problem {
        Problem { status: Some(self.status), retry_after: self.retry_after, ..problem }
    }
}

/// What is said of a refused log-in: its status and, if it is one of these, the API's name for the error. Nothing else of
/// the answer, which may repeat the secret in a form that no redaction knows: backwards, in Base64, in entities.
pub fn refused_login(status: StatusCode, code: &str, known: &[&'static str]) -> String {
    let status = status.as_u16();
    match known.iter().find(|name| **name == code) {
        Some(name) => format!("HTTP {status}: the log-in was refused ({name})"),
        None => format!("HTTP {status}: the log-in was refused"),
    }
}

/// Whether a status says that a log-in was refused.
pub fn is_refused_login(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether the same call may succeed later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The beginning of a body, on one line; for JSON, even if broken, nothing, since it may hold private data: personal
/// data, or new tokens.
fn beginning(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]);
    let text = one_line(text.trim_start_matches('\u{feff}'));
    (!text.starts_with(['{', '[', '"'])).then_some(text)
}

/// The message in an error's body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// The API's code for the error.
    code: Option<String>,
    /// The message, for people.
    said: Option<String>,
    /// Whether it has the shape of OAuth's errors.
    is_oauth: bool,
}

/// The API's error code and message, from the shapes in use: Cafe24's and others' `{"error": {"code", "message"}}`,
/// OAuth's `{"error", "error_description"}` (RFC 6749 section 5.2), `{"message"}`, LINE WORKS's `{"code",
/// "description"}`, the schema registry's `{"error_code", "message"}`, and `{"detail"}` (RFC 9457).
fn words(body: &[u8]) -> Words {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let said = match beginning(body) {
            Some(text) => Some(text).filter(|text| !text.is_empty()),
            None => Some(format!("JSON that breaks off or is broken, {} bytes", body.len())),
        };
        return Words { said, ..Words::default() };
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(one_line(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let error = &value["error"];
    let codes = [error, &error["code"], &value["code"], &value["error_code"]];
    let code = codes.into_iter().find_map(text);
    let said = [
        &error["message"],
        &value["error_description"],
        &value["message"],
        &value["description"],
        &value["detail"],
    ];
    let said = said.into_iter().find_map(text);
    let said = match (&code, said) {
        // A number adds nothing to the status.
        (Some(code), Some(said))
            if code.contains(|c: char| !c.is_ascii_digit()) && !said.contains(code.as_str()) =>
        {
            Some(format!("{said} ({code})"))
        }
        (code, said) => said.or_else(|| code.clone()),
    };
    Words { code, said, is_oauth: error.is_string() }
}

/// The beginning of a text on one line; longer than what is quoted.
fn one_line(text: &str) -> String {
    printable::one_line(&text.chars().take(QUOTED_BYTES).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            end: End::Whole,
            retry_after: None,
            redactor: Redactor::new(["hunter22".to_owned()]),
        }
    }

    #[test]
    fn a_secret_that_is_cut_off_by_the_end_of_the_quote_is_hidden_too() {
        let quoted = answer(401, &format!("{}hunter22", "x".repeat(QUOTED_CHARACTERS - 4))).quoted();
        assert!(quoted.ends_with("x***") && !quoted.contains("hunt"), "{quoted}");
    }

    #[test]
    fn a_quoted_answer_is_one_short_line() {
        let long = answer(404, &format!("<html>\r\n  gone {}", "x".repeat(1000)));
        let quoted = long.quoted();
        assert!(quoted.starts_with("HTTP 404: <html> gone xxx") && quoted.len() < 350, "{quoted}");
        assert_eq!(long.quote("NotFound"), "HTTP 404: NotFound");
        assert_eq!(long.quote(""), "HTTP 404");
        assert_eq!(answer(500, "now \u{1b}[31mred\u{7}\n\nline").quoted(), "HTTP 500: now [31mred line");
    }

    #[test]
    fn an_error_is_said_with_the_apis_own_word_for_it() {
        for (body, says) in [
            (r#"{"error":{"code":"422","message":"Bad date"}}"#, "HTTP 400: Bad date"),
            (r#"{"error":{"code":422,"message":"Bad date"}}"#, "HTTP 400: Bad date"),
            (
                r#"{"error":{"code":"AuthorizationRequired","message":"No signature"}}"#,
                "HTTP 400: No signature (AuthorizationRequired)",
            ),
            (r#"{"error":"invalid_grant","error_description":"used"}"#, "HTTP 400: used (invalid_grant)"),
            (r#"{"error":"invalid_grant"}"#, "HTTP 400: invalid_grant"),
            (r#"{"code":"UNAUTHORIZED","description":"no token"}"#, "HTTP 400: no token (UNAUTHORIZED)"),
            (r#"{"code":"NO_ROOM","message":"NO_ROOM: gone"}"#, "HTTP 400: NO_ROOM: gone"),
            (
                r#"{"error_code":40401,"message":"Subject 'a' not found."}"#,
                "HTTP 400: Subject 'a' not found.",
            ),
            (r#"{"type":"about:blank","detail":"too long"}"#, "HTTP 400: too long"),
            // Nothing of other JSON: it may hold anything.
            (r#"{"members":[{"name":"kim"}]}"#, "HTTP 400"),
            (r#"["kim"]"#, "HTTP 400"),
        ] {
            assert_eq!(answer(400, body).quoted(), says);
        }
    }
}
