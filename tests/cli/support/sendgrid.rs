//! A local SendGrid, API version 3: it refuses what SendGrid refuses.

use serde_json::{Value, json};

use super::webhook::{Answer, Request, Webhook};

pub(crate) const API_KEY: &str = "SG.canary.sendgrid-key";

/// What SendGrid writes itself.
const RESERVED: [&str; 12] = [
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
];

/// A server that knows one key.
pub(crate) fn start() -> Webhook {
    Webhook::checking(Box::new(|request| match check(request) {
        Ok(()) => Ok(Answer::Http(202, vec![("X-Message-Id", "sg-0001".to_owned())], String::new())),
        Err(refusal) => Err(refusal),
    }))
}

/// An error as SendGrid answers it.
pub(crate) fn error(status: u16, message: &str, field: Option<&str>) -> Answer {
    Answer::json(status, &json!({ "errors": [{ "message": message, "field": field, "help": null }] }))
}

fn check(request: &Request) -> Result<(), Answer> {
    let refused = |message: &str, field: &str| error(400, message, Some(field));
    if (request.method.as_str(), request.path.as_str()) != ("POST", "/v3/mail/send") {
        return Err(error(404, "not found", None));
    }
    if request.header("authorization") != Some(&format!("Bearer {API_KEY}")) {
        return Err(error(401, "The provided authorization grant is invalid, expired, or revoked", None));
    }
    if request.header("content-type") != Some("application/json") {
        return Err(error(415, "Content-Type should be application/json", None));
    }
    let body: Value = serde_json::from_str(&request.body).map_err(|_| error(400, "Bad Request", None))?;
    check_address(&body["from"], "from")?;
    if !body["reply_to"].is_null() {
        check_address(&body["reply_to"], "reply_to")?;
    }
    let personalizations = body["personalizations"].as_array().filter(|list| !list.is_empty());
    for (index, personalization) in
        personalizations.ok_or_else(|| refused("required", "personalizations"))?.iter().enumerate()
    {
        let to = personalization["to"].as_array().filter(|to| !to.is_empty());
        for (place, address) in
            to.ok_or_else(|| refused("required", "personalizations.to"))?.iter().enumerate()
        {
            check_address(address, &format!("personalizations.{index}.to.{place}.email"))?;
        }
    }
    if body["subject"].as_str().is_none_or(str::is_empty) {
        return Err(refused("The subject is required.", "subject"));
    }
    let content = body["content"].as_array().filter(|content| !content.is_empty());
    let content = content.ok_or_else(|| refused("required", "content"))?;
    let types: Vec<&str> = content.iter().map(|part| part["type"].as_str().unwrap_or_default()).collect();
    if types.iter().skip(1).any(|kind| *kind == "text/plain") {
        let order = "If present, text/plain and text/html may only be provided once, text/plain first.";
        return Err(refused(order, "content"));
    }
    if content.iter().any(|part| part["value"].as_str().is_none_or(str::is_empty)) {
        return Err(refused(
            "The content value must be a string at least one character in length.",
            "content.0.value",
        ));
    }
    for (name, value) in body["headers"].as_object().into_iter().flatten() {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(refused(&format!("The header {name} is reserved."), "headers"));
        }
        if value.as_str().is_none_or(|value| !value.is_ascii() || value.contains(['\r', '\n'])) {
            return Err(refused("Header values must be ASCII strings.", "headers"));
        }
    }
    Ok(())
}

fn check_address(address: &Value, field: &str) -> Result<(), Answer> {
    let email = address["email"].as_str().unwrap_or_default();
    let is_address = email.is_ascii()
        && email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'));
    if is_address { Ok(()) } else { Err(error(400, "Does not contain a valid address.", Some(field))) }
}
