//! LINE WORKS, API 2.0: messages of a bot to a talk room or to one user, as a service account.
//!
//! The account proves itself by a JWT that the app's private key signs (RFC 7523) and gets a token for it. Success
//! of a message is 201 without a body: there is no number to know it by, and no key against doubles.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::chat::{self, Message};
use super::http::DeliveryError;
use crate::clock::machine_time;
use crate::mask::Secret;
use crate::rsa_sha256::PrivateKey;

/// Where tokens are given.
pub const AUTH_ENDPOINT: &str = "https://auth.worksmobile.com";
/// Where messages are taken.
pub const API_ENDPOINT: &str = "https://www.worksapis.com";
/// What a text message holds, counted as UTF-16 does, which is never less than characters.
const TEXT_UNITS: usize = 2000;
/// More of a title is no title.
const TITLE_CHARACTERS: usize = 200;
/// How long an assertion is good for: used at once, it outlives a clock that is some minutes wrong. An hour is the
/// most that is taken.
const ASSERTION_SECONDS: i64 = 1800;
/// A token is not used in its last minute.
const TOKEN_MARGIN: Duration = Duration::from_mins(1);

/// A service account and its bot.
#[derive(Debug, Clone)]
pub struct Account {
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: Secret,
    /// The service account's id.
    pub service_account: String,
    /// The app's private key, as PEM.
    pub private_key: Secret,
    /// The bot's number.
    pub bot_id: String,
    /// Where tokens are given.
    pub auth_endpoint: String,
    /// Where messages are taken.
    pub api_endpoint: String,
}

/// Who reads a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// A talk room.
    Channel(String),
    /// One user, by id or login address.
    User(String),
}

/// A bot that keeps its token from message to message.
#[derive(Debug)]
pub struct Bot {
    client: Client,
    account: Account,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    value: Secret,
    good_until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    /// Seconds; a string in real answers, a number in the documentation.
    expires_in: Option<Value>,
}

impl Bot {
    /// A bot without a token yet.
    pub fn new(client: Client, account: Account) -> Self {
        Self { client, account, token: None }
    }

    /// Sends one text. A token that is refused is asked for anew, once.
    pub async fn send(&mut self, reader: &Reader, text: &str) -> Result<(), DeliveryError> {
        let url = self.message_url(reader)?;
        let body = json!({ "content": { "type": "text", "text": text } });
        let mut response = self.post(&url, &body).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.token = None;
            response = self.post(&url, &body).await?;
        }
        if response.status() == StatusCode::CREATED {
            return Ok(());
        }
        let is_success = response.status().is_success();
        let mut error = refused(response).await;
        if is_success {
            error.message = format!("the answer was not of LINE WORKS: {}", error.message);
            error.is_permanent = true;
        }
        Err(error)
    }

    async fn post(&mut self, url: &Url, body: &Value) -> Result<Response, DeliveryError> {
        let token = self.token().await?;
        let request = self.client.post(url.clone()).bearer_auth(token).json(body);
        request.send().await.map_err(DeliveryError::unanswered)
    }

    async fn token(&mut self) -> Result<String, DeliveryError> {
        if let Some(token) = self.token.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(token.value.expose().to_owned());
        }
        let url = joined(&self.account.auth_endpoint, &["oauth2", "v2.0", "token"])?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("assertion", &self.assertion()?)
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("client_id", &self.account.client_id)
            .append_pair("client_secret", self.account.client_secret.expose())
            .append_pair("scope", "bot")
            .finish();
        let request =
            self.client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.map_err(DeliveryError::unanswered)?;
        if response.status() != StatusCode::OK {
            let mut error = refused(response).await;
            error.message = format!("no token: {}", error.message);
            return Err(error);
        }
        // Never quoted: what is not understood may hold the token.
        let answer: TokenAnswer = response
            .json()
            .await
            .map_err(|_| permanent("no token: the answer was not of LINE WORKS".to_owned()))?;
        let seconds = answer.expires_in.as_ref().and_then(seconds).unwrap_or(0);
        let token = Token {
            value: Secret::new(&answer.access_token),
            good_until: Instant::now() + Duration::from_secs(seconds).saturating_sub(TOKEN_MARGIN),
        };
        self.token = Some(token);
        Ok(answer.access_token)
    }

    /// A JWT (RFC 7519) that is signed with RS256.
    fn assertion(&self) -> Result<String, DeliveryError> {
        let key = PrivateKey::from_pem(self.account.private_key.expose()).map_err(|problem| {
            permanent(format!("the private key is not one for RS256 in PEM: it {problem}"))
        })?;
        let now = machine_time().timestamp();
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iss": self.account.client_id,
            "sub": self.account.service_account,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key
            .sign(signed.as_bytes())
            .map_err(|problem| permanent(format!("failed to sign the assertion: {problem}")))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn message_url(&self, reader: &Reader) -> Result<Url, DeliveryError> {
        let (kind, id) = match reader {
            Reader::Channel(id) => ("channels", id),
            Reader::User(id) => ("users", id),
        };
        joined(&self.account.api_endpoint, &["v1.0", "bots", &self.account.bot_id, kind, id, "messages"])
    }
}

/// An address below an endpoint, each segment percent-encoded.
fn joined(endpoint: &str, segments: &[&str]) -> Result<Url, DeliveryError> {
    let wrong = || permanent("an endpoint is not a URL".to_owned());
    let mut url = Url::parse(endpoint).map_err(|_| wrong())?;
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(segments);
    Ok(url)
}

/// Of a string or of a number.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// LINE WORKS tells in RateLimit-Reset how many seconds to wait, and knows no Retry-After.
async fn refused(response: Response) -> DeliveryError {
    let reset = response.headers().get("RateLimit-Reset");
    let reset = reset.and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    let is_limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let mut error = DeliveryError::refused(response).await;
    if is_limited {
        error.retry_after = reset.map(Duration::from_secs).or(error.retry_after);
    }
    error
}

fn permanent(message: String) -> DeliveryError {
    DeliveryError { message, is_permanent: true, retry_after: None }
}

/// The texts of a message: one, or as many as its lines need. Only a room has somebody to mention.
pub fn texts(message: &Message, reader: &Reader) -> Vec<String> {
    let units = |text: &str| text.encode_utf16().count();
    let mention = match (reader, &message.mention) {
        (Reader::Channel(_), Some(id)) => format!("<m userId=\"{id}\"> "),
        _ => String::new(),
    };
    let lines: Vec<String> = message.lines.iter().map(|line| defused(line)).collect();
    let title = Message { title: defused(&message.title), ..message.clone() };
    // A character outside the first plane takes two units.
    let budget = TEXT_UNITS.saturating_sub(units(&mention) + 2 * TITLE_CHARACTERS);
    let shares = chat::share_out(&lines, budget, |line| units(line) + "\n".len());
    let parts = shares.len();
    let text = |(index, lines): (usize, Vec<String>)| {
        let mention = if index == 0 { mention.as_str() } else { "" };
        let title = title.title_of(index + 1, parts, TITLE_CHARACTERS);
        std::iter::once(format!("{mention}{title}")).chain(lines).collect::<Vec<_>>().join("\n")
    };
    shares.into_iter().enumerate().map(text).collect()
}

/// Data that looks like a mention must call nobody; there is no way to escape it but to break the tag.
fn defused(text: &str) -> String {
    text.replace("<m", "<\u{200b}m").replace("<M", "<\u{200b}M")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: Vec<String>) -> Message {
        Message { title: "a job FAILED".to_owned(), lines, mention: Some("all".to_owned()) }
    }

    #[test]
    fn only_a_room_is_mentioned_and_data_mentions_nobody() {
        let room = Reader::Channel("r".to_owned());
        let data = message(vec!["mall <m userId=\"all\">".to_owned()]);
        assert_eq!(texts(&data, &room), ["<m userId=\"all\"> a job FAILED\nmall <\u{200b}m userId=\"all\">"]);
        assert!(texts(&data, &Reader::User("kim".to_owned()))[0].starts_with("a job FAILED\n"));
    }

    #[test]
    fn a_long_text_becomes_several_below_the_limit_in_order_and_whole() {
        let long: Vec<String> = (0..200).map(|number| format!("{number} {}", "𠮷野家".repeat(10))).collect();
        let texts = texts(
            &Message { title: "𠮷".repeat(400), ..message(long.clone()) },
            &Reader::Channel("r".into()),
        );
        let mut lines = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            assert!(text.encode_utf16().count() <= TEXT_UNITS, "{}", text.encode_utf16().count());
            let (title, rest) = text.split_once('\n').unwrap();
            assert!(title.ends_with(&format!("({}/{})", index + 1, texts.len())), "{title}");
            lines.extend(rest.lines().map(str::to_owned));
        }
        assert!(texts.len() > 3 && lines == long);
    }

    #[test]
    fn an_id_is_percent_encoded_in_the_path() {
        let account = Account {
            client_id: "id".to_owned(),
            client_secret: Secret::new("hunter22"),
            service_account: "a".to_owned(),
            private_key: Secret::new("hunter22"),
            bot_id: "2000001".to_owned(),
            auth_endpoint: AUTH_ENDPOINT.to_owned(),
            api_endpoint: API_ENDPOINT.to_owned(),
        };
        let bot = Bot::new(super::super::http::client().unwrap(), account);
        assert_eq!(
            bot.message_url(&Reader::User("kim@example.com/x".to_owned())).unwrap().as_str(),
            "https://www.worksapis.com/v1.0/bots/2000001/users/kim@example.com%2Fx/messages"
        );
        assert!(bot.assertion().is_err_and(|error| !error.message.contains("hunter") && error.is_permanent));
        assert!(!format!("{bot:?}").contains("hunter"));
    }

    #[test]
    fn a_lifetime_is_a_string_or_a_number() {
        assert_eq!(
            [json!("86400"), json!(3600), json!(null)].map(|value| seconds(&value)),
            [Some(86400), Some(3600), None]
        );
    }
}
