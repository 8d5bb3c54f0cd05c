//! A local Chatwork: messages to one room, which it refuses as the real one does.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use url::form_urlencoded;

use super::webhook::{Answer, Request, Webhook};

pub(crate) const TOKEN: &str = "canary-chatwork-token";
pub(crate) const ROOM: &str = "123456";
/// The longest message, in the stricter of the two readings of the limit.
const MAX_BYTES: usize = 65_535;

/// A server with one room.
pub(crate) fn start() -> Webhook {
    let messages = AtomicU64::new(1_928_374_655_918_273_645);
    Webhook::checking(Box::new(move |request| {
        check(request).map(|_| {
            let id = messages.fetch_add(1, Ordering::SeqCst).to_string();
            Answer::json(200, &json!({ "message_id": id }))
        })
    }))
}

/// The texts that arrived.
pub(crate) fn texts(server: &Webhook) -> Vec<String> {
    server.requests().iter().filter_map(|request| check(request).ok()).collect()
}

/// An error as the API answers it.
pub(crate) fn error(status: u16, why: &str) -> Answer {
    Answer::json(status, &json!({ "errors": [why] }))
}

fn check(request: &Request) -> Result<String, Answer> {
    if request.header("x-chatworktoken") != Some(TOKEN) {
        return Err(error(401, "Invalid API token"));
    }
    if request.path != format!("/v2/rooms/{ROOM}/messages") {
        // Parameters in the query are ignored.
        return Err(error(404, "Not found"));
    }
    if request.method != "POST" || request.header("content-type") != Some("application/x-www-form-urlencoded")
    {
        return Err(error(400, "Parameter 'body' is required"));
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let body = form.into_iter().find(|(name, _)| name == "body").map(|(_, body)| body);
    match body.filter(|body| !body.is_empty()) {
        None => Err(error(400, "Parameter 'body' is required")),
        Some(body) if body.len() > MAX_BYTES => Err(error(400, "Parameter 'body' is too long")),
        Some(body) => Ok(body),
    }
}
