//! Answers: read to their end or their limit, and what an error's body says.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::error::{ApiErrorKind, Problem};
use crate::mask::Redactor;
use crate::printable::{self, shortened};

/// How much of an answer is quoted.
const QUOTED_CHARACTERS: usize = 300;
/// The most bytes that so many characters have.
const QUOTED_BYTES: usize = QUOTED_CHARACTERS * 4;
/// The room for an answer at first; no header of the server decides how much memory is taken at once.
const FIRST_ROOM: usize = 1024 * 1024;

/// An answer, with its body as far as it was read.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unpacked.
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
    /// As it should.
    Whole,
    /// It is longer than what is read.
    TooLong,
    /// Before its end, for this reason.
    Broken(&'static str),
}

/// Reads a body of at most so many bytes, counted after it was unpacked: a small file may unpack to a large one. Of one
/// that says itself that it is longer, only what may be quoted.
pub(super) async fn read(mut response: Response, most: usize) -> (Vec<u8>, End) {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let is_too_long = announced.is_some_and(|length| length > most);
    let room = if is_too_long { most.min(QUOTED_BYTES) } else { most };
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(room).min(FIRST_ROOM));
    let end = loop {
        match response.chunk().await {
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
    /// Whether the body ended as it should, and within what is read.
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

    /// The status and these words on one short line.
    pub fn quote(&self, words: &str) -> String {
        let status = self.status.as_u16();
        // Shortened last: half a secret is not known as one.
        let words = self.redactor.redact(&one_line(words));
        match words.as_str() {
            "" => format!("HTTP {status}"),
            words => format!("HTTP {status}: {}", shortened(words, QUOTED_CHARACTERS)),
        }
    }

    /// The status and what the body says, on one short line: of JSON the words of an error, of anything else its
    /// beginning.
    pub fn quoted(&self) -> String {
        self.quote(&words(&self.body).said.unwrap_or_default())
    }

    /// The beginning of a body that is not JSON, on one short line.
    pub(super) fn beginning(&self) -> Option<String> {
        beginning(&self.body)
            .map(|text| shortened(&self.redactor.redact(&text), QUOTED_CHARACTERS).into_owned())
    }

    /// What is wrong with an answer that is an error by its status.
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

    /// A problem of this answer, which is none by its status.
    pub(super) fn problem(&self, problem: Problem) -> Problem {
        Problem { status: Some(self.status), retry_after: self.retry_after, ..problem }
    }
}

/// Whether the same call may be answered otherwise later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The beginning of a body, on one line; of JSON nothing, however broken it is, since it may hold what is nobody's
/// business: personal data, or new tokens.
fn beginning(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]);
    let text = one_line(text.trim_start_matches('\u{feff}'));
    (!text.starts_with(['{', '[', '"'])).then_some(text)
}

/// What an error's body says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// The API's word for the error.
    code: Option<String>,
    /// For people.
    said: Option<String>,
    /// Whether it has the shape of OAuth's errors.
    is_oauth: bool,
}

/// The API's word for an error and what it says, from the shapes in use: Cafe24's and others'
/// `{"error": {"code", "message"}}`, OAuth's `{"error", "error_description"}` (RFC 6749 section 5.2), `{"message"}`,
/// LINE WORKS's `{"code", "description"}`, and `{"detail"}` (RFC 9457).
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
    let code = text(error).or_else(|| text(&error["code"])).or_else(|| text(&value["code"]));
    let said = [
        &error["message"],
        &value["error_description"],
        &value["message"],
        &value["description"],
        &value["detail"],
    ];
    let said = said.into_iter().find_map(text);
    let said = match (&code, said) {
        // A number says no more than the status.
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
            (r#"{"type":"about:blank","detail":"too long"}"#, "HTTP 400: too long"),
            // Of other JSON nothing: it may hold anything.
            (r#"{"members":[{"name":"kim"}]}"#, "HTTP 400"),
            (r#"["kim"]"#, "HTTP 400"),
        ] {
            assert_eq!(answer(400, body).quoted(), says);
        }
    }
}
