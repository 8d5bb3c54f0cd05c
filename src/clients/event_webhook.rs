//! A webhook that takes events: one signed POST of JSON for each.
//!
//! The signature is that of Stripe's webhooks: `t=SECONDS,v1=HEX`, an HMAC-SHA256 of the time, a dot and the body, under a
//! secret that both sides have. The time lets a receiver refuse what somebody has recorded.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::api::{Address, Answer, Api, Call, Terms};
use crate::context::Context;
use crate::digest::hmac_sha256;
use crate::failure::Failure;
use crate::mask::Secret;

/// How long one request may take, connection and answer together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const SIGNATURE: HeaderName = HeaderName::from_static("batchctl-signature");
const EVENT_ID: HeaderName = HeaderName::from_static("batchctl-event-id");

/// Posts events.
pub struct EventWebhook {
    api: Api,
    secret: Secret,
    url: String,
    secret_variable: String,
}

/// What the webhook says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has it.
    Taken,
    /// It does not want this one, for this reason.
    Refused(String),
}

impl EventWebhook {
    /// Refuses settings with which nothing could be posted.
    pub fn check(cx: &Context) -> Result<(), Failure> {
        settings(cx).map(drop)
    }

    /// The webhook of `[events]`. Outside prod it has to be on this machine, or at a host that is listed.
    pub fn new(cx: &Context) -> Result<Self, Failure> {
        let (address, secret) = settings(cx)?;
        let config = cx.config.events();
        Ok(Self {
            api: Api::new(cx, address, Terms::once("the webhook for events", REQUEST_TIMEOUT))?,
            secret,
            url: cx.config.set_at(config.url_variable()),
            secret_variable: cx.config.set_at(config.secret_variable()),
        })
    }

    /// Posts an event. An error is that of the webhook, whichever event it is.
    pub async fn post(&self, event_id: &str, body: &str) -> Result<Verdict, Failure> {
        let seconds = Api::machine_time().timestamp();
        let mut headers = HeaderMap::new();
        for (name, value) in
            [(SIGNATURE, signature(&self.secret, seconds, body)), (EVENT_ID, event_id.to_owned())]
        {
            let value = HeaderValue::from_str(&value);
            headers.insert(
                name,
                value.map_err(|error| Failure::failed(format!("failed to sign an event: {error}")))?,
            );
        }
        let call = Call::post_bytes("", "application/json", body.as_bytes().to_vec()).headers(headers);
        match self.api.exchange(call.secret(&self.secret)).await {
            Ok(answer) => self.judge(&answer),
            Err(error) => Err(still_there(error.into())),
        }
    }

    /// Whose matter an answer is: the event's, the settings', or the webhook's for the moment.
    fn judge(&self, answer: &Answer) -> Result<Verdict, Failure> {
        let said = answer.quoted();
        match answer.status.as_u16() {
            200..=299 => Ok(Verdict::Taken),
            300..=399 => Err(still_there(Failure::configuration(format!(
                "the webhook for events answers with a redirect, which is not followed: {said}; put the final address into {}",
                self.url
            )))),
            // Of these nothing is shown but the status: the text may repeat what was sent.
            status @ (401 | 403 | 407) => Err(still_there(Failure::configuration(format!(
                "the webhook for events refuses our requests: HTTP {status}; check {} and {}",
                self.secret_variable, self.url
            )))),
            // No event would make an address right that is wrong: none is at fault.
            404 | 405 | 410 => Err(still_there(Failure::configuration(format!(
                "the webhook for events does not exist or accepts no POST: {said}; check {}",
                self.url
            )))),
            408 | 421 | 425 | 429 => Err(not_now(&said)),
            400..=499 => Ok(Verdict::Refused(said)),
            _ => Err(not_now(&said)),
        }
    }
}

/// Where events are posted to, and the secret that they are signed with.
fn settings(cx: &Context) -> Result<(Address, Secret), Failure> {
    let config = cx.config.events();
    let unset = |error: crate::config::ConfigError| Failure::configuration(error.to_string());
    let url = cx.config.secret(config.url_variable()).map_err(unset)?;
    let secret = cx.config.secret(config.secret_variable()).map_err(unset)?;
    let address = Address::service_webhook(&url).map_err(|failure| {
        let set_at = cx.config.set_at(config.url_variable());
        Failure::configuration(format!("{set_at}: {}", failure.message))
    })?;
    if !cx.config.is_prod() && !address.is_allowed_outside_prod(&config.hosts_outside_prod) {
        return Err(Failure::refused(format!(
            "the webhook for events is at `{address}`, which is not among the hosts for the environment `{}`",
            cx.config.environment()
        ))
        .hint("add it to `events.hosts_outside_prod` if it belongs to no real receiver"));
    }
    Ok((address, Secret::new(secret)))
}

/// The signature of a body that is sent at this time.
fn signature(secret: &Secret, seconds: i64, body: &str) -> String {
    let mac = hmac_sha256(secret.expose().as_bytes(), format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(mac))
}

fn not_now(said: &str) -> Failure {
    still_there(
        Failure::try_later(format!("the webhook for events accepts none at the moment: {said}"))
            .symptom(format!("the webhook for events: {said}")),
    )
    .retry_once("once the webhook takes events again")
}

fn still_there(failure: Failure) -> Failure {
    failure.hint("the events stay in the outbox; the next run tries again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        // printf '1795219200.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(
            signature(&Secret::new("whsec_test"), 1_795_219_200, r#"{"a":1}"#),
            "t=1795219200,v1=1672bce0a04abccfdfb6cf63b3250d6d781ee4a4d438c258ef3cac43e9375acf"
        );
    }
}
