//! LINE WORKS, API 2.0: messages of a bot to a talk room or to one user, as a service account.
//!
//! The account proves itself by a JWT that the app's private key signs (RFC 7523) and gets a token for it. A posted
//! message is answered by 201 without a body: there is no id to identify it by, and no idempotency key.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::message::{Message, share_out};
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, Pause, Terms, retry_after};
use crate::config::{AlertChannel, LineWorksReader, LineWorksTarget};
use crate::context::Context;
use crate::digest::fingerprint;
use crate::mask::Secret;
use crate::rsa_sha256::PrivateKey;

/// Where tokens are issued.
const AUTH_ENDPOINT: &str = "https://auth.worksmobile.com";
/// Where messages are accepted.
const API_ENDPOINT: &str = "https://www.worksapis.com";
/// The longest text message in UTF-16 units, of which there are never fewer than characters.
const TEXT_UNITS: usize = 2000;
/// A longer title is cut.
const TITLE_CHARACTERS: usize = 200;
/// How long an assertion is valid: it is used at once, and tolerates a clock that is some minutes off. The maximum is
/// an hour.
const ASSERTION_SECONDS: i64 = 1800;
/// A token is not used in its last minute.
const TOKEN_MARGIN: Duration = Duration::from_mins(1);
/// A token lives at most a day, so that an absurd number cannot overflow a clock.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// Its name for people.
const NAME: &str = "LINE WORKS";

/// A service account's credentials.
#[derive(Debug)]
struct Credentials {
    /// The app's client id.
    client_id: String,
    /// The app's client secret.
    client_secret: Secret,
    /// The service account's id.
    service_account: String,
    /// The app's private key, as PEM.
    private_key: Secret,
}

/// A bot that writes to one room or user, and keeps its token between messages.
#[derive(Debug)]
pub(super) struct LineWorks {
    tokens: Api,
    messages: Api,
    credentials: Credentials,
    /// Who is mentioned in a room; a single user needs no mention.
    mention: Option<String>,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
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

impl LineWorks {
    /// The bot of a channel's configuration.
    pub(super) fn new(
        cx: &Context,
        channel: &AlertChannel,
        target: LineWorksTarget<'_>,
    ) -> Result<Self, Fault> {
        let secret = |name: &str| cx.config.secret(name).map_err(|error| Fault::unset(&error));
        let credentials = Credentials {
            client_id: secret(target.client_id_variable)?,
            client_secret: Secret::new(secret(target.client_secret_variable)?),
            service_account: target.service_account.to_owned(),
            private_key: cx
                .config
                .private_key(target.private_key_variable)
                .map_err(|error| Fault::unusable(&error))?,
        };
        let address =
            |key: &str, own: &Option<String>, usual: &str| Address::new(key, own.as_deref().unwrap_or(usual));
        let (kind, id, mention) = match target.reader {
            LineWorksReader::Channel(id) => ("channels", id, channel.mention.clone()),
            LineWorksReader::User(id) => ("users", id, None),
        };
        let tokens = address("auth_endpoint", &channel.auth_endpoint, AUTH_ENDPOINT)?;
        let messages = address("api_endpoint", &channel.api_endpoint, API_ENDPOINT)?;
        let messages = messages.below(&["v1.0", "bots", target.bot_id, kind, id, "messages"]);
        let for_tokens = Terms { calls_per_second: 0.0, ..terms("LINE WORKS tokens", rule) };
        Ok(Self {
            tokens: Api::new(cx, tokens.below(&["oauth2", "v2.0", "token"]), for_tokens)?,
            messages: Api::new(cx, messages, terms(NAME, rule))?,
            credentials,
            mention,
            token: Mutex::default(),
        })
    }

    /// Sends one text. If the token is refused, a new one is requested, once.
    async fn post(&self, text: String) -> Result<(), Fault> {
        let body = json!({ "content": { "type": "text", "text": text } });
        // One message at a time, in order, with one token for all.
        let mut token = self.token.lock().await;
        match self.post_with(&mut token, &body).await {
            Err(refused) if refused.status == Some(StatusCode::UNAUTHORIZED.as_u16()) => {
                *token = None;
                self.post_with(&mut token, &body).await
            }
            posted => posted,
        }
    }

    async fn post_with(&self, kept: &mut Option<Token>, body: &Value) -> Result<(), Fault> {
        let token = self.token(kept).await?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| Fault::lasting("the token is not a valid header value".to_owned()))?;
        bearer.set_sensitive(true);
        let call =
            Call::post_json("", body).headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)])).secret(&token);
        let posted = self.messages.tell(call, |answer| {
            if answer.status == StatusCode::CREATED {
                return Ok(());
            }
            Err(format!("the answer did not come from LINE WORKS: {}", answer.quoted()))
        });
        Ok(posted.await?)
    }

    /// The token in use, or a new one.
    async fn token(&self, kept: &mut Option<Token>) -> Result<Secret, Fault> {
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(token.value.clone());
        }
        let assertion = Secret::new(self.credentials.assertion(Api::machine_time())?);
        let form = [
            ("assertion", assertion.expose()),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("client_id", &self.credentials.client_id),
            ("client_secret", self.credentials.client_secret.expose()),
            ("scope", "bot"),
        ];
        let call =
            Call::post("", &form).secret(&assertion).secret(&self.credentials.client_secret).for_secret();
        let given = self.tokens.tell(call, |answer| {
            // Never quoted: a response that is not understood may hold the token.
            let given = serde_json::from_slice::<TokenAnswer>(&answer.body).ok();
            given
                .filter(|_| answer.status == StatusCode::OK)
                .ok_or_else(|| "the answer did not come from LINE WORKS".to_owned())
        });
        let given = given.await.map_err(|error| Fault::from(error).of("no token"))?;
        let lifetime = Duration::from_secs(given.expires_in.as_ref().and_then(seconds).unwrap_or(0));
        let value = Secret::new(given.access_token);
        let good_until = Instant::now() + lifetime.min(MAX_LIFETIME).saturating_sub(TOKEN_MARGIN);
        *kept = Some(Token { value: value.clone(), good_until });
        Ok(value)
    }
}

impl Credentials {
    /// A JWT (RFC 7519) that is signed with RS256.
    fn assertion(&self, now: DateTime<Utc>) -> Result<String, Fault> {
        let key = PrivateKey::from_pem(self.private_key.expose()).map_err(|problem| {
            Fault::lasting(format!("the private key is not an RS256 key in PEM: it {problem}"))
        })?;
        let now = now.timestamp();
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iss": self.client_id,
            "sub": self.service_account,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key
            .sign(signed.as_bytes())
            .map_err(|problem| Fault::lasting(format!("failed to sign the assertion: {problem}")))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Poster for LineWorks {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let texts = texts(message, self.mention.as_deref());
        Ok(texts.into_iter().map(|text| Part::new(fingerprint(&text), self.post(text))).collect())
    }
}

/// Seconds from a string or a number.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// LINE WORKS sends the number of seconds to wait in RateLimit-Reset, and no Retry-After.
fn rule(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Pause> {
    let reset = || headers.get("RateLimit-Reset")?.to_str().ok()?.trim().parse().ok();
    if status == StatusCode::TOO_MANY_REQUESTS
        && let Some(seconds) = reset()
    {
        let reason = "its rate limit is reached".to_owned();
        return Some(Pause { wait: Duration::from_secs(seconds), reason, is_block: false });
    }
    retry_after(status, headers, now)
}

/// The texts of a message: one, or as many as its lines need.
fn texts(message: &Message, mention: Option<&str>) -> Vec<String> {
    let units = |text: &str| text.encode_utf16().count();
    let mention = mention.filter(|_| message.mentions).map(|id| format!("<m userId=\"{id}\"> "));
    let mention = mention.unwrap_or_default();
    let mut lines: Vec<String> = message.text().iter().map(|line| defused(line)).collect();
    lines.extend(message.link.as_ref().map(|link| format!("{}: {}", defused(&link.label), link.url)));
    let title = Message { title: defused(&message.title), ..message.clone() };
    // A character outside the first plane takes two units.
    let budget = TEXT_UNITS.saturating_sub(units(&mention) + 2 * TITLE_CHARACTERS);
    let shares = share_out(&lines, budget, |line| units(line) + "\n".len());
    let parts = shares.len();
    let text = |(index, lines): (usize, Vec<String>)| {
        let mention = if index == 0 { mention.as_str() } else { "" };
        let title = title.title_of(index + 1, parts, TITLE_CHARACTERS);
        std::iter::once(format!("{mention}{title}")).chain(lines).collect::<Vec<_>>().join("\n")
    };
    shares.into_iter().enumerate().map(text).collect()
}

/// Data that looks like a mention must notify nobody; the only way to escape it is to break the tag.
fn defused(text: &str) -> String {
    text.replace("<m", "<\u{200b}m").replace("<M", "<\u{200b}M")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::super::message::tests::message;
    use super::*;
    use crate::config::{ChannelTarget, Config, LoadOptions};
    use crate::mask::Redactor;
    use crate::output::{LogFormat, Output};

    #[test]
    fn only_a_room_is_mentioned_and_data_mentions_nobody() {
        let data = message("a job FAILED", vec!["mall <m userId=\"all\">".to_owned()]);
        assert_eq!(
            texts(&data, Some("all")),
            ["<m userId=\"all\"> a job FAILED\nmall <\u{200b}m userId=\"all\">"]
        );
        assert!(texts(&data, None)[0].starts_with("a job FAILED\n"));
    }

    #[test]
    fn a_long_text_becomes_several_below_the_limit_in_order_and_whole() {
        let long: Vec<String> = (0..200).map(|number| format!("{number} {}", "𠮷野家".repeat(10))).collect();
        let texts = texts(&message(&"𠮷".repeat(400), long.clone()), Some("all"));
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
        let folder = tempfile::tempdir().unwrap();
        let file = "[[alerts.channel]]\nname = \"ops\"\nkind = \"line_works\"\nclient_id_variable = \"ID\"\n\
                    client_secret_variable = \"SECRET\"\nservice_account = \"a\"\nprivate_key_variable = \"KEY\"\n\
                    bot_id = \"2000001\"\nuser_id = \"kim@example.com/x\"\n";
        std::fs::write(folder.path().join("batchctl.toml"), file).unwrap();
        let key = "-----BEGIN PRIVATE KEY-----hunter22";
        let variables = [("ID", "id"), ("SECRET", "hunter22"), ("KEY", key)];
        let config = Config::load(LoadOptions {
            env_flag: None,
            working_dir: folder.path().to_owned(),
            process_env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            full_paths: false,
        });
        let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
        let cx = Context::new(config.unwrap(), output);
        let channel = cx.config.channel("ops").unwrap();
        let Ok(ChannelTarget::LineWorks(target)) = channel.target() else { panic!("it is of LINE WORKS") };
        let bot = LineWorks::new(&cx, channel, target).unwrap();
        assert_eq!(
            bot.messages.own_link("").unwrap().as_str(),
            "https://www.worksapis.com/v1.0/bots/2000001/users/kim@example.com%2Fx/messages"
        );
        let fault = bot.credentials.assertion(DateTime::UNIX_EPOCH).unwrap_err();
        assert!(fault.is_permanent && !fault.reason.contains("hunter"), "{fault}");
        assert!(!format!("{bot:?}").contains("hunter"));
    }

    #[test]
    fn a_wait_is_in_the_header_of_line_works_and_only_behind_a_429() {
        let wait = |status: u16, name: &'static str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(" 30"))]);
            rule(StatusCode::from_u16(status).unwrap(), &headers, DateTime::UNIX_EPOCH)
                .map(|pause| pause.wait)
        };
        let half_a_minute = Some(Duration::from_secs(30));
        assert_eq!(wait(429, "ratelimit-reset"), half_a_minute);
        assert_eq!(wait(429, "retry-after"), half_a_minute);
        assert_eq!(wait(503, "ratelimit-reset"), None);
        assert_eq!(wait(201, "ratelimit-reset"), None);
    }

    #[test]
    fn a_lifetime_is_a_string_or_a_number() {
        assert_eq!(
            [json!("86400"), json!(3600), json!(null)].map(|value| seconds(&value)),
            [Some(86400), Some(3600), None]
        );
    }
}
