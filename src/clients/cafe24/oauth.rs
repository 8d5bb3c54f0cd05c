//! Cafe24's OAuth: how an app gets a mall's tokens, and exchanges them for new ones.
//!
//! An access token lives two hours, a refresh token two weeks and for one use: each refresh invalidates the old pair.
//! So the caller holds a lock while it asks, and stores the response before using it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::{authorise_hint, korean_time};
use crate::clients::api::{Api, ApiError, Call, Decoded, MAX_REPLY};
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Secret;

const AUTHORIZE: &str = "api/v2/oauth/authorize";
const TOKEN: &str = "api/v2/oauth/token";
/// Attempts at the token endpoint when there is no response. If a response was lost the token is used up, and the next
/// attempt correctly reports that.
const TRIES: u32 = 3;
/// The longest token that is taken: it becomes a header, and Cafe24's have under a hundred characters.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// No token is believed to be good for longer.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(3_650);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How long all attempts together may take, each with a wait before it.
pub const MAX_ASKING: Duration =
    Duration::from_secs((REQUEST_TIMEOUT.as_secs() + MAX_WAIT.as_secs()) * TRIES as u64);
/// A separate name and pace: the throttles are those of the Admin API.
const NAME: &str = "Cafe24 OAuth";

/// A pair of tokens, as Cafe24 issues it.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For calls; valid for two hours.
    pub access_token: Secret,
    /// When it expires.
    pub access_expires_at: DateTime<Utc>,
    /// For getting the next pair, once.
    pub refresh_token: Secret,
    /// When it expires.
    pub refresh_expires_at: DateTime<Utc>,
    /// What the pair may read.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// The account it belongs to, if the response names it.
    pub account: Option<String>,
}

/// Why no tokens were issued.
#[derive(Debug)]
pub enum OauthError {
    /// Cafe24 refused the token or the code for good: somebody has to authorise the app again.
    Rejected(ApiError),
    /// Anything else: the token may still be valid.
    Failed(ApiError),
}

impl From<OauthError> for Failure {
    fn from(error: OauthError) -> Self {
        match error {
            OauthError::Rejected(error) | OauthError::Failed(error) => error.into(),
        }
    }
}

/// The app, as `[cafe24]` and its variables describe it, towards one account.
pub struct Oauth {
    api: Api,
    account: String,
    client_id: Secret,
    client_secret: Secret,
    client_id_variable: String,
    client_secret_variable: String,
}

impl Oauth {
    /// The app towards an account.
    pub fn new(cx: &Context, account: &str) -> Result<Self, Failure> {
        let settings = cx.config.cafe24();
        let secret = |name: &str| {
            cx.config.secret(name).map(Secret::new).map_err(|error| {
                Failure::configuration(error.to_string())
                    .hint("it is in Cafe24's developer console, with the app")
            })
        };
        Ok(Self {
            api: super::api(cx, NAME, account)?.hurried(REQUEST_TIMEOUT, MAX_WAIT, MAX_REPLY),
            account: account.to_owned(),
            client_id: secret(settings.client_id_variable())?,
            client_secret: secret(settings.client_secret_variable())?,
            client_id_variable: settings.client_id_variable().to_owned(),
            client_secret_variable: settings.client_secret_variable().to_owned(),
        })
    }

    /// Where a person who owns the shop allows the app to read it; `state` comes back with the code.
    pub fn authorize_url(&self, redirect_uri: &str, scopes: &[String], state: &str) -> Result<Url, Failure> {
        let mut url = self.api.own_link(AUTHORIZE)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id.expose())
            .append_pair("state", state)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &scopes.join(","));
        Ok(url)
    }

    /// Tokens for the code that came back; it lives about a minute.
    pub async fn exchange(&self, code: &Secret, redirect_uri: &str) -> Result<Tokens, OauthError> {
        let form =
            [("grant_type", "authorization_code"), ("code", code.expose()), ("redirect_uri", redirect_uri)];
        self.ask(&form, code).await
    }

    /// New tokens for a refresh token, which is used up by it.
    pub async fn refresh(&self, refresh_token: &Secret) -> Result<Tokens, OauthError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        self.ask(&form, refresh_token).await
    }

    async fn ask(&self, form: &[(&str, &str)], secret: &Secret) -> Result<Tokens, OauthError> {
        let login = BASE64.encode(format!("{}:{}", self.client_id.expose(), self.client_secret.expose()));
        let login = Secret::new(login);
        let mut basic = HeaderValue::from_str(&format!("Basic {}", login.expose())).map_err(|_| {
            OauthError::Failed(
                Failure::configuration("the app's id and secret are not valid header values").into(),
            )
        })?;
        basic.set_sensitive(true);
        let call = Call::post(TOKEN, form)
            .headers(HeaderMap::from_iter([(AUTHORIZATION, basic)]))
            .secret(secret)
            .secret(&login)
            .secret(&self.client_secret)
            .for_secret()
            .tries(TRIES);
        let decode = |body: &[u8]| Ok(Decoded { value: Tokens::from_answer(body)?, rows: 1 });
        let asked_at = Api::machine_time();
        let answered = self.api.send(call, decode).await.map_err(|error| self.judge(error))?;
        Ok(answered.value.on_our_clock(asked_at))
    }

    /// What a refusal concerns: the token, the app, or neither.
    fn judge(&self, error: ApiError) -> OauthError {
        match (error.status(), error.oauth_error()) {
            (Some(_), Some("invalid_client" | "unauthorized_client")) => {
                let hint = format!(
                    "check `{}` and `{}`: the tokens are still valid",
                    self.client_id_variable, self.client_secret_variable
                );
                OauthError::Failed(Failure::configuration(error.to_string()).hint(hint).into())
            }
            // Any other refusal, such as a proxy's page, says nothing about the token.
            (Some(400 | 401 | 403), Some(_)) => {
                OauthError::Rejected(error.hint(authorise_hint(&self.account)))
            }
            (Some(404), _) => OauthError::Failed(error.hint(format!(
                "is `{}` the mall's id at Cafe24? Set it with batchctl mall add CODE --account ID",
                self.account
            ))),
            _ => OauthError::Failed(error),
        }
    }
}

impl Tokens {
    /// The same, valid for as long from `now` on as it was when it was issued: the server's clock may be hours off
    /// ours, and ours decides when it expires.
    #[must_use]
    fn on_our_clock(self, now: DateTime<Utc>) -> Self {
        let until = |end: DateTime<Utc>| now + (end - self.issued_at).clamp(TimeDelta::zero(), MAX_LIFETIME);
        Self {
            access_expires_at: until(self.access_expires_at),
            refresh_expires_at: until(self.refresh_expires_at),
            issued_at: now,
            ..self
        }
    }

    /// Reads Cafe24's answer, from the endpoint or from an operator's file.
    pub fn from_answer(body: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Given {
            access_token: Text,
            expires_at: KoreanTime,
            refresh_token: Text,
            refresh_token_expires_at: KoreanTime,
            #[serde(default)]
            scopes: Vec<String>,
            issued_at: KoreanTime,
            mall_id: Option<String>,
        }
        let given: Given = serde_json::from_slice(body)?;
        Ok(Self {
            access_token: given.access_token.0,
            access_expires_at: given.expires_at.0,
            refresh_token: given.refresh_token.0,
            refresh_expires_at: given.refresh_token_expires_at.0,
            scopes: given.scopes,
            issued_at: given.issued_at.0,
            account: given.mall_id,
        })
    }
}

/// A token: not empty, and valid in a header. It never appears in an error.
struct Text(Secret);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `String`: serde's own error would repeat a value of another type.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text)
                if (1..=MAX_TOKEN_BYTES).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Self(Secret::new(text)))
            }
            _ => Err(serde::de::Error::custom("a token is not a text that fits into a header")),
        }
    }
}

/// `2026-08-01T15:50:00.000` in Korean time, or with its own zone.
struct KoreanTime(DateTime<Utc>);

impl<'de> Deserialize<'de> for KoreanTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        korean_time::parse(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a time is not one like 2026-08-01T15:50:00.000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"access_token":"AT2","expires_at":"2026-08-01T15:50:00.000","refresh_token":"RT2",
        "refresh_token_expires_at":"2026-08-15T13:50:00.000","client_id":"cid","mall_id":"demo","user_id":"demo",
        "scopes":["mall.read_order","mall.read_customer"],"issued_at":"2026-08-01T13:50:00.000","shop_no":"1",
        "token_type":"Bearer"}"#;

    #[test]
    fn the_documented_answer_is_read_in_korean_time() {
        let tokens = Tokens::from_answer(ANSWER.as_bytes()).unwrap();
        assert_eq!((tokens.access_token.expose(), tokens.refresh_token.expose()), ("AT2", "RT2"));
        assert_eq!(tokens.access_expires_at.to_rfc3339(), "2026-08-01T06:50:00+00:00");
        assert_eq!(tokens.refresh_expires_at.to_rfc3339(), "2026-08-15T04:50:00+00:00");
        assert_eq!(tokens.scopes, ["mall.read_order", "mall.read_customer"]);
        assert_eq!(tokens.account.as_deref(), Some("demo"));
        assert!(!format!("{tokens:?}").contains("AT2"));
    }

    #[test]
    fn the_ends_are_counted_from_when_they_came() {
        let now = korean_time::parse("2026-08-01T18:50:00").unwrap();
        let tokens = Tokens::from_answer(ANSWER.as_bytes()).unwrap().on_our_clock(now);
        assert_eq!(tokens.issued_at, now);
        assert_eq!((tokens.access_expires_at - now).num_minutes(), 120);
        assert_eq!((tokens.refresh_expires_at - now).num_days(), 14);
    }

    #[test]
    fn a_time_with_a_zone_keeps_it() {
        let time = korean_time::parse("2026-08-01T15:50:00+00:00").unwrap();
        assert_eq!(time.to_rfc3339(), "2026-08-01T15:50:00+00:00");
        assert_eq!(
            korean_time::parse("2026-08-01T15:50:00"),
            korean_time::parse("2026-08-01T15:50:00+09:00")
        );
        assert_eq!(korean_time::parse("tomorrow"), None);
    }

    #[test]
    fn an_answer_without_a_good_token_is_refused_and_not_repeated() {
        for (from, to) in
            [("\"AT2\"", "12345678"), ("\"AT2\"", "\"\""), ("\"RT2\"", "\"hunter 2\""), ("\"RT2\"", "null")]
        {
            let error = Tokens::from_answer(ANSWER.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.is_data(), "{error}");
            let error = error.to_string();
            assert!(!error.contains("12345678") && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn a_lifetime_that_cannot_be_true_is_not_believed() {
        let now = korean_time::parse("2026-08-01T18:50:00").unwrap();
        for far in ["+262142-12-31T23:00:00Z", "+012026-08-01T13:50:00.000", "0000-01-01"] {
            let answer = ANSWER.replace("2026-08-15T13:50:00.000", far);
            assert_ne!(answer, ANSWER);
            assert!(Tokens::from_answer(answer.as_bytes()).is_err(), "{far}");
        }
        let answer = ANSWER.replace("2026-08-15T13:50:00.000", "9998-12-31T23:00:00Z");
        let tokens = Tokens::from_answer(answer.as_bytes()).unwrap().on_our_clock(now);
        assert_eq!(tokens.refresh_expires_at, now + MAX_LIFETIME);
        let answer = ANSWER.replace("\"AT2\"", &format!("\"{}\"", "A".repeat(MAX_TOKEN_BYTES + 1)));
        assert!(Tokens::from_answer(answer.as_bytes()).is_err());
    }
}
