//! Bodies: read to their end or their limit, and what an error's body says.

use reqwest::Response;
use serde_json::Value;

/// How much of a body is quoted.
const QUOTED_CHARACTERS: usize = 120;
/// The room for an answer at first; no header of the server decides how much memory is taken at once.
const FIRST_ROOM: usize = 1024 * 1024;

/// Why a body is not whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    TooLong,
    Broken(String),
}

/// Reads a body of at most so many bytes, counted after it was unpacked: a small file may unpack to a large one.
pub(super) async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, Cut> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > most) {
        return Err(Cut::TooLong);
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(FIRST_ROOM));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > most => return Err(Cut::TooLong),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => {
                return Err(Cut::Broken("the answer did not end in time".to_owned()));
            }
            Err(_) => return Err(Cut::Broken("the answer broke off".to_owned())),
        }
    }
}

/// The first characters of a body, on one line; of JSON nothing, however broken it is, since it may hold what is
/// nobody's business: personal data, or new tokens.
pub(super) fn beginning(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_CHARACTERS * 4)]);
    let text = one_line(text.trim_start_matches('\u{feff}'));
    (!text.starts_with(['{', '[', '"'])).then_some(text)
}

/// What an error's body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// The API's word for the error.
    pub(super) code: Option<String>,
    /// For people.
    pub(super) said: Option<String>,
    /// Whether it has the shape of OAuth's errors.
    pub(super) is_oauth: bool,
}

/// The API's word for an error and what it says, from the shapes in use: Cafe24's and others'
/// `{"error": {"code", "message"}}`, OAuth's `{"error", "error_description"}` (RFC 6749 section 5.2), `{"message"}`.
pub(super) fn words(body: &[u8]) -> Words {
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
    let said = text(&error["message"])
        .or_else(|| text(&value["error_description"]))
        .or_else(|| text(&value["message"]));
    let said = match (&code, said) {
        (Some(code), Some(said)) if error.is_string() => Some(format!("{said} ({code})")),
        (code, said) => said.or_else(|| code.clone()),
    };
    Words { code, said, is_oauth: error.is_string() }
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(QUOTED_CHARACTERS).collect()
}
