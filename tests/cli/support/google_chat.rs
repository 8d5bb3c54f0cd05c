//! A local Google Chat: the incoming webhook of one space.

use serde_json::{Value, json};
use url::Url;

use super::webhook::{Answer, Request, Webhook};

/// The webhook, below the server's address.
pub(crate) const PATH: &str = "/v1/spaces/AAA/messages?key=canary-key&token=canary-token";
/// The largest message.
const MAX_BYTES: usize = 32_000;

/// A server with one space.
pub(crate) fn start() -> Webhook {
    Webhook::checking(Box::new(|request| {
        check(request).map(|message| {
            // Without the option in the query, the thread's key is ignored.
            let thread = match message["thread"]["threadKey"].as_str() {
                Some(key) if query(request, "messageReplyOption").is_some() => {
                    format!("spaces/AAA/threads/{key}")
                }
                _ => "spaces/AAA/threads/new".to_owned(),
            };
            let name = "spaces/AAA/messages/1.1";
            Answer::json(200, &json!({ "name": name, "sender": null, "thread": { "name": thread } }))
        })
    }))
}

/// The texts that arrived, with the keys of their threads.
pub(crate) fn texts(server: &Webhook) -> Vec<(String, String)> {
    let text = |message: Value| {
        let [text, key] = [&message["text"], &message["thread"]["threadKey"]];
        Some((text.as_str()?.to_owned(), key.as_str()?.to_owned()))
    };
    server.requests().iter().filter_map(|request| text(check(request).ok()?)).collect()
}

/// An error as the API answers it.
pub(crate) fn error(code: u16, status: &str, message: &str) -> Answer {
    Answer::json(code, &json!({ "error": { "code": code, "message": message, "status": status } }))
}

/// A value of the request's query.
fn query(request: &Request, name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://localhost{}", request.path)).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn check(request: &Request) -> Result<Value, Answer> {
    let is_authorised = query(request, "key").as_deref() == Some("canary-key")
        && query(request, "token").as_deref() == Some("canary-token");
    if !is_authorised {
        return Err(error(403, "PERMISSION_DENIED", "The caller does not have permission"));
    }
    if request.method != "POST" || !request.path.starts_with("/v1/spaces/AAA/messages?") {
        return Err(error(404, "NOT_FOUND", "Requested entity was not found."));
    }
    let invalid = |why: &str| error(400, "INVALID_ARGUMENT", why);
    let message: Value =
        serde_json::from_str(&request.body).map_err(|_| invalid("Invalid JSON payload received."))?;
    if message["text"].as_str().is_none_or(str::is_empty) {
        return Err(invalid("Message cannot be empty."));
    }
    if request.body.len() > MAX_BYTES {
        return Err(invalid("Message is too long."));
    }
    Ok(message)
}
