//! A local Amazon SES, API version 2: it accepts what SES accepts, and computes the signature itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::webhook::{Answer, Request, Webhook};

pub(crate) const REGION: &str = "ap-northeast-1";
pub(crate) const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const SESSION_TOKEN: &str = "canary+session/token==";
pub(crate) const CONFIGURATION_SET: &str = "shop-events";

/// A server that knows one key, one session and one configuration set.
pub(crate) fn start() -> Webhook {
    Webhook::checking(Box::new(|request| match check(request) {
        Ok(()) => Ok(Answer::json(200, &json!({ "MessageId": "0106018f00000001-000000" }))),
        Err(refusal) => Err(refusal),
    }))
}

/// An error as SES answers it.
pub(crate) fn error(status: u16, kind: &str, message: &str) -> Answer {
    // The real header has a URL after the name.
    let kind = format!("{kind}:http://internal.amazon.com/coral/com.amazonaws.services.sesv2/");
    Answer::Http(status, vec![("x-amzn-ErrorType", kind)], json!({ "message": message }).to_string())
}

/// The message of a request, as it was built.
#[track_caller]
pub(crate) fn message(request: &Request) -> String {
    let data = request.json()["Content"]["Raw"]["Data"].as_str().expect("a raw message").to_owned();
    String::from_utf8(STANDARD.decode(data).expect("base64")).expect("a message is ASCII")
}

fn check(request: &Request) -> Result<(), Answer> {
    let refused = |problem: &str| error(400, "BadRequestException", problem);
    if (request.method.as_str(), request.path.as_str()) != ("POST", "/v2/email/outbound-emails") {
        return Err(error(404, "NotFoundException", "unknown operation"));
    }
    check_signature(request, now())?;
    if request.header("content-type") != Some("application/json") {
        return Err(refused("the content type is not JSON"));
    }
    let body: Value = serde_json::from_str(&request.body).map_err(|_| refused("not JSON"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let from = text(&body["FromEmailAddress"]).ok_or_else(|| refused("no sender"))?;
    let to = body["Destination"]["ToAddresses"].as_array().filter(|to| (1..=50).contains(&to.len()));
    let to = to.ok_or_else(|| refused("1 to 50 recipients"))?;
    for address in to.iter().map(|to| text(to).unwrap_or_default()).chain([from]) {
        if !address.is_ascii() || address.matches('@').count() != 1 || address.contains(char::is_whitespace) {
            return Err(refused("Illegal address"));
        }
    }
    if body["ConfigurationSetName"] != CONFIGURATION_SET {
        return Err(error(404, "NotFoundException", "Configuration set does not exist"));
    }
    if body["Content"].as_object().is_none_or(|content| content.len() != 1) {
        return Err(refused("exactly one of Simple, Raw and Template"));
    }
    let data = text(&body["Content"]["Raw"]["Data"]).ok_or_else(|| refused("no raw message"))?;
    let message = STANDARD.decode(data).map_err(|_| refused("not base64"))?;
    let message = String::from_utf8_lossy(&message);
    let (head, _) = message.split_once("\r\n\r\n").ok_or_else(|| refused("no headers"))?;
    for name in ["From: ", "To: ", "Subject: ", "Date: ", "Message-ID: ", "MIME-Version: "] {
        if head.lines().filter(|line| line.starts_with(name)).count() != 1 {
            return Err(refused(&format!("not exactly one header {name}")));
        }
    }
    Ok(())
}

/// Signature Version 4, as AWS documents it.
fn check_signature(request: &Request, now: DateTime<Utc>) -> Result<(), Answer> {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let missing = || error(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
    let rest = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(missing)?;
    let part = |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name)).ok_or_else(missing);
    let (credential, signed, signature) =
        (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);

    let time = header("x-amz-date");
    let at = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").map_err(|_| missing())?.and_utc();
    if (now - at).num_minutes().abs() >= 5 {
        return Err(error(403, "InvalidSignatureException", "Signature expired"));
    }
    let day = &time[..8];
    let scope = format!("{day}/{REGION}/ses/aws4_request");
    if credential != format!("{ACCESS_KEY_ID}/{scope}") {
        return Err(error(
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    let names: Vec<&str> = signed.split(';').collect();
    let is_signed = |name: &str| names.contains(&name);
    if !is_signed("host") || !is_signed("x-amz-date") || !names.is_sorted() {
        return Err(error(403, "InvalidSignatureException", "host and x-amz-date must be signed"));
    }
    if let Some(token) = request.header("x-amz-security-token")
        && (token != SESSION_TOKEN || !is_signed("x-amz-security-token"))
    {
        return Err(error(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ));
    }
    let headers: Vec<String> = names.iter().map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    let canonical = format!(
        "{}\n{}\n\n{}\n{signed}\n{}",
        request.method,
        request.path,
        headers.concat(),
        hex::encode(Sha256::digest(&request.body))
    );
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
    let key = [day, REGION, "ses", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, word| sign(&key, word));
    if hex::encode(sign(&key, &to_sign)) != signature {
        // AWS answers with the whole canonical string, session token included.
        let message = format!(
            "The request signature we calculated does not match the signature you provided. \
             The Canonical String for this request should have been '{canonical}'"
        );
        return Err(error(403, "SignatureDoesNotMatch", &message));
    }
    Ok(())
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[expect(clippy::disallowed_methods, reason = "AWS compares a signature's date with its own clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// This server distinguishes a stale, a wrong and a missing signature.
#[test]
fn a_stale_a_wrong_and_a_missing_signature_are_refused() {
    let at = DateTime::parse_from_rfc3339("2026-11-20T00:00:00Z").unwrap().to_utc();
    let headers = |authorization: &str| {
        vec![
            ("host".to_owned(), "localhost".to_owned()),
            ("x-amz-date".to_owned(), "20261120T000000Z".to_owned()),
            ("authorization".to_owned(), authorization.to_owned()),
        ]
    };
    let request = |authorization: &str| Request {
        method: "POST".to_owned(),
        path: "/v2/email/outbound-emails".to_owned(),
        headers: headers(authorization),
        body: String::new(),
        arrived: std::time::Instant::now(),
    };
    let kind = |request: &Request, now| match check_signature(request, now) {
        Err(Answer::Http(403, headers, _)) => headers[0].1.split(':').next().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let credential = format!("{ACCESS_KEY_ID}/20261120/{REGION}/ses/aws4_request");
    let wrong =
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=00");
    assert_eq!(kind(&request(""), at), "MissingAuthenticationTokenException");
    assert_eq!(kind(&request(&wrong), at), "SignatureDoesNotMatch");
    let later = at + chrono::TimeDelta::minutes(5);
    assert_eq!(kind(&request(&wrong), later), "InvalidSignatureException");
    let other = wrong.replace("/ses/", "/email/");
    assert_eq!(kind(&request(&other), at), "UnrecognizedClientException");
}
