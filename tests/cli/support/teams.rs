//! A local Teams workflow: it accepts adaptive cards and answers 202.

use serde_json::{Value, json};

use super::webhook::{Answer, Request, Webhook};

/// The largest message that Teams accepts, in total.
const MAX_BYTES: usize = 28 * 1024;

/// A workflow of this path and signature.
pub(crate) const PATH: &str =
    "/workflows/0f0e0d0c/triggers/manual/paths/invoke?api-version=2016-06-01&sig=canary-signature";

/// A server with one workflow.
pub(crate) fn start() -> Webhook {
    Webhook::checking(Box::new(|request| match check(request) {
        Ok(()) => Ok(Answer::status(202)),
        Err(refusal) => Err(refusal),
    }))
}

/// Title and lines of a card.
#[track_caller]
pub(crate) fn texts(request: &Request) -> Vec<String> {
    let body = request.json()["attachments"][0]["content"]["body"].clone();
    let text = |block: &Value| {
        let text = if block["type"] == "TextBlock" { &block["text"] } else { &block["inlines"][0]["text"] };
        text.as_str().expect("a text").to_owned()
    };
    body.as_array().expect("blocks").iter().map(text).collect()
}

fn check(request: &Request) -> Result<(), Answer> {
    let error = |status, code: &str, why: &str| {
        Answer::json(status, &json!({ "error": { "code": code, "message": why } }))
    };
    let wrong = |why: &str| error(400, "TriggerInputSchemaMismatch", why);
    if request.method != "POST" || request.path != PATH {
        return Err(error(401, "DirectApiAuthorizationRequired", "The signature is missing or wrong"));
    }
    if request.body.len() > MAX_BYTES {
        return Err(error(413, "RequestEntityTooLarge", "Request Entity Too Large"));
    }
    if request.header("content-type") != Some("application/json") {
        return Err(wrong("not JSON"));
    }
    let message: Value = serde_json::from_str(&request.body).map_err(|_| wrong("not JSON"))?;
    let attachment = &message["attachments"][0];
    if message["type"] != "message"
        || attachment["contentType"] != "application/vnd.microsoft.card.adaptive"
        || message["attachments"].as_array().is_none_or(|attachments| attachments.len() != 1)
    {
        return Err(wrong("not a message with one adaptive card"));
    }
    let card = &attachment["content"];
    let blocks = card["body"].as_array().map(Vec::as_slice).unwrap_or_default();
    let version = card["version"].as_str().unwrap_or_default();
    if card["type"] != "AdaptiveCard" || !["1.2", "1.3", "1.4", "1.5"].contains(&version) || blocks.is_empty()
    {
        return Err(wrong("not a card"));
    }
    // A mention works only if its text is in a block with markup.
    for entity in card["msteams"]["entities"].as_array().into_iter().flatten() {
        let is_there = blocks.iter().any(|block| {
            let text = block["text"].as_str().unwrap_or_default();
            block["type"] == "TextBlock" && entity["text"].as_str().is_some_and(|tag| text.contains(tag))
        });
        if !is_there || entity["mentioned"]["id"].as_str().is_none_or(str::is_empty) {
            return Err(wrong("a mention without its text or its user"));
        }
    }
    Ok(())
}
