//! A local LINE WORKS: tokens for a service account whose assertion it verifies, and messages of its bot.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::webhook::{Answer, Request, Webhook};

pub(crate) const CLIENT_ID: &str = "client-1";
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret";
pub(crate) const SERVICE_ACCOUNT: &str = "abcde.serviceaccount@example";
pub(crate) const BOT_ID: &str = "2000001";
/// Generated for these tests, and known to no other server.
pub(crate) const PRIVATE_KEY: &str = include_str!("private.pem");
/// Its public half, for OpenSSL.
const PUBLIC_KEY: &str = "tests/cli/support/line_works/public.pem";

/// The maximum length of a text message.
const MAX_CHARACTERS: usize = 2000;

/// A server with one service account and one bot. Only the last token that it issued is valid.
pub(crate) fn start() -> Webhook {
    let tokens = Arc::new(AtomicU32::new(0));
    Webhook::checking(Box::new(move |request| {
        if request.path == "/oauth2/v2.0/token" {
            return check_assertion(request).map(|()| {
                let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
                Answer::json(
                    200,
                    &json!({
                        "access_token": format!("canary-token-{number}"), "refresh_token": "canary-refresh",
                        "scope": "bot", "token_type": "Bearer", "expires_in": "86400",
                    }),
                )
            });
        }
        check_message(request, tokens.load(Ordering::SeqCst)).map(|()| Answer::status(201))
    }))
}

/// An error as the API answers it.
pub(crate) fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({ "code": code, "description": "described" }))
}

/// The texts that arrived, with the path after the bot's number.
pub(crate) fn messages(server: &Webhook) -> Vec<(String, String)> {
    let prefix = format!("/v1.0/bots/{BOT_ID}/");
    let message = |request: &Request| {
        let reader = request.path.strip_prefix(&prefix)?.to_owned();
        Some((reader, request.json()["content"]["text"].as_str()?.to_owned()))
    };
    server.requests().iter().filter_map(message).collect()
}

/// How many tokens were requested.
pub(crate) fn tokens_asked(server: &Webhook) -> usize {
    server.requests().iter().filter(|request| request.path == "/oauth2/v2.0/token").count()
}

fn check_assertion(request: &Request) -> Result<(), Answer> {
    let refused =
        |code: &str, why: &str| Answer::json(400, &json!({ "error": code, "error_description": why }));
    let form: Vec<(String, String)> = form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let field = |name: &str| {
        let values: Vec<&str> =
            form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        if let [value] = values[..] { value.to_owned() } else { String::new() }
    };
    if request.method != "POST"
        || request.header("content-type") != Some("application/x-www-form-urlencoded")
        || field("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer"
        || field("scope") != "bot"
    {
        return Err(refused("invalid_request", "not a request for a token"));
    }
    if field("client_id") != CLIENT_ID || field("client_secret") != CLIENT_SECRET {
        return Err(refused("invalid_client", "unknown client"));
    }
    let (header, claims) =
        verified(&field("assertion")).ok_or_else(|| refused("invalid_grant", "not signed by the account"))?;
    let seconds = |name: &str| claims[name].as_i64().unwrap_or_default();
    let now = crate::support::machine_time().timestamp();
    if header != json!({ "alg": "RS256", "typ": "JWT" })
        || claims["iss"] != CLIENT_ID
        || claims["sub"] != SERVICE_ACCOUNT
        || claims.get("aud").is_some()
        || seconds("iat") > now
        || seconds("exp") <= now
        || !(1..=3600).contains(&(seconds("exp") - seconds("iat")))
    {
        return Err(refused("invalid_grant", "not the claims of a service account"));
    }
    Ok(())
}

/// Header and claims of a JWT whose signature OpenSSL verifies to be the account's.
fn verified(token: &str) -> Option<(Value, Value)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let [text, proof] = ["text", "proof"].map(|name| folder.path().join(name));
    std::fs::write(&text, signed).expect("a file can be written");
    std::fs::write(&proof, decoded(signature)?).expect("a file can be written");
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join(PUBLIC_KEY);
    let openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(key)
        .arg("-signature")
        .args([proof, text])
        .output()
        .expect("OpenSSL runs");
    let json = |part: &str| serde_json::from_slice(&decoded(part)?).ok();
    if openssl.status.success() { Some((json(header)?, json(claims)?)) } else { None }
}

fn check_message(request: &Request, token: u32) -> Result<(), Answer> {
    if token == 0 || request.header("authorization") != Some(&format!("Bearer canary-token-{token}")) {
        return Err(error(401, "UNAUTHORIZED"));
    }
    let path: Vec<&str> = request.path.split('/').collect();
    let is_known = matches!(path[..], ["", "v1.0", "bots", BOT_ID, "channels" | "users", id, "messages"] if !id.is_empty());
    if request.method != "POST" || !is_known {
        return Err(error(404, "NOT_FOUND"));
    }
    let content = &request.json()["content"];
    let text = content["text"].as_str().unwrap_or_default();
    if content["type"] != "text" || text.is_empty() || text.encode_utf16().count() > MAX_CHARACTERS {
        return Err(error(400, "INVALID_PARAMETER"));
    }
    Ok(())
}
