//! A schema registry, as Confluent's and those that speak its protocol: which id a schema has, and whether one may follow
//! those before it.
//!
//! Ids are looked up, and given only by those who ask for it: a registry that takes whatever a program sends is no contract.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::api::{Address, Api, ApiError, ApiErrorKind, Call, Decoded, Terms, retry_after};
use crate::avro::AvroSchema;
use crate::backoff::Backoff;
use crate::config::{KafkaConfig, SCHEMA_REGISTRY_URL, is_confidential};
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Secret;
use crate::printable::{one_line, shortened};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// A few lines of answer; three tries are over within the time that a process has to stop.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A run waits no longer than this for the registry; the next one begins in a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(500), Duration::from_secs(2));
/// A schema of 1 MiB, as a text in JSON.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The most characters of what the registry says of an incompatibility.
const MOST_SAID: usize = 1_000;
/// What of a subject stands in a path as it is.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The bytes of Confluent's wire format: a zero, the schema's id with its highest byte first, and the datum.
pub fn framed(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + datum.len());
    bytes.push(0);
    bytes.extend(schema_id.to_be_bytes());
    bytes.extend(datum);
    bytes
}

/// What the registry says of a schema under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookedUp {
    /// It has this id.
    Known(u32),
    /// There is no such subject.
    NoSubject,
    /// The subject has other schemas, and not this one.
    NoSchema,
    /// It takes it for no schema, for this reason.
    Invalid(String),
}

/// What the registry says of a schema that it is to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It has this id, perhaps since earlier.
    As(u32),
    /// Those who read by the schemas before it could not read it, or the other way round.
    Incompatible(String),
    /// It takes it for no schema, or takes none at all, for this reason.
    Refused(String),
}

/// Whether a schema may follow those of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compatibility {
    /// It may.
    Compatible,
    /// It may not, for this reason.
    Incompatible(String),
    /// There are none that it would follow.
    NoSubject,
    /// It takes it for no schema, for this reason.
    Invalid(String),
}

/// The registry of `BATCHCTL_SCHEMA_REGISTRY_URL`.
pub struct SchemaRegistry {
    api: Api,
    settings: Settings,
    /// What was learned of ids: the subject that each was first given for, with the text of the schema.
    ids: Mutex<HashMap<u32, (String, String)>>,
}

/// What is known before anything is asked.
struct Settings {
    address: Address,
    /// The `Authorization` header, with the password that it holds.
    login: Option<(HeaderValue, [Secret; 2])>,
    /// The variables of the user and the password, with where they were set.
    credentials: String,
    set_at: String,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SchemaRegistry({})", self.settings.address)
    }
}

impl Settings {
    fn of(cx: &Context) -> Result<Self, Failure> {
        let events = cx.config.events();
        let config = &events.kafka;
        let Some(url) = &config.registry_url else {
            return Err(Failure::configuration(format!("{SCHEMA_REGISTRY_URL} is not set")).hint(format!(
                "set {SCHEMA_REGISTRY_URL} to the schema registry of the events: https://HOST"
            )));
        };
        let set_at = cx.config.set_at(SCHEMA_REGISTRY_URL);
        let address = address(config, url).map_err(|failure| failure.hint(format!("correct {set_at}")))?;
        if !cx.config.is_prod() && !address.is_allowed_outside_prod(&events.hosts_outside_prod) {
            return Err(Failure::refused(format!(
                "the schema registry is at `{address}`, which is not among the hosts for the environment `{}`",
                cx.config.environment()
            ))
            .hint("add it to `events.hosts_outside_prod` if it belongs to no real consumer"));
        }
        let (login, credentials) = match config.registry_variables() {
            None => (None, String::new()),
            Some((user, password)) => {
                let secret = |name: &str| {
                    cx.config.secret(name).map_err(|error| Failure::configuration(error.to_string()))
                };
                let login = login(&secret(user)?, secret(password)?).ok_or_else(|| {
                    Failure::configuration(format!("{}: a user has no colon in it", cx.config.set_at(user)))
                })?;
                (Some(login), format!("{} and {}", cx.config.set_at(user), cx.config.set_at(password)))
            }
        };
        Ok(Self { address, login, credentials, set_at })
    }
}

#[derive(Deserialize)]
struct Found {
    subject: String,
    id: i64,
    schema: String,
}

#[derive(Deserialize)]
struct Given {
    id: i64,
}

#[derive(Deserialize)]
struct Judged {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

impl SchemaRegistry {
    /// Refuses settings with which nothing could be asked.
    pub fn check(cx: &Context) -> Result<(), Failure> {
        Settings::of(cx).map(drop)
    }

    /// The registry of the settings. Makes no request. Outside prod it has to be on this machine, or at a host that is listed.
    pub fn new(cx: &Context) -> Result<Self, Failure> {
        let settings = Settings::of(cx)?;
        Ok(Self { api: Api::new(cx, settings.address.clone(), terms())?, settings, ids: Mutex::default() })
    }

    /// The id of a schema under a subject.
    pub async fn look_up(&self, subject: &str, schema: &AvroSchema) -> Result<LookedUp, Failure> {
        let path = format!("subjects/{}", utf8_percent_encode(subject, &IN_PATH));
        let found: Found = match self.post(&path, schema).await {
            Ok(found) => found,
            Err(error) => {
                return match (error.status(), error.code()) {
                    // 40404: it is deleted, and can be restored.
                    (Some(404), Some("40401" | "40404")) => Ok(LookedUp::NoSubject),
                    (Some(404), Some("40403")) => Ok(LookedUp::NoSchema),
                    (Some(422), _) => Ok(LookedUp::Invalid(said(&error))),
                    _ => Err(self.judge(&error)),
                };
            }
        };
        if found.subject != subject {
            return Err(self.unbelievable(&format!(
                "asked about the subject `{subject}` it answers about `{}`",
                shortened(&one_line(&found.subject), 100)
            )));
        }
        if !schema.is_same_as(&found.schema) {
            return Err(self
                .unbelievable(&format!("asked about a schema of `{subject}` it answers with another one")));
        }
        Ok(LookedUp::Known(self.id_of(subject, schema, found.id)?))
    }

    /// Registers a schema under a subject, and asks whether it is there. One that is there already keeps its id.
    pub async fn register(&self, subject: &str, schema: &AvroSchema) -> Result<Registered, Failure> {
        let path = format!("subjects/{}/versions", utf8_percent_encode(subject, &IN_PATH));
        match self.post::<Given>(&path, schema).await {
            Ok(given) => {
                let id = self.id_of(subject, schema, given.id)?;
                self.confirm(subject, schema, id).await?;
                Ok(Registered::As(id))
            }
            Err(error) => match error.status() {
                Some(409) => {
                    // Its words for a refusal are long and begin with what is known; those for a question are a list.
                    let asked = self.compatibility(subject, schema).await;
                    Ok(Registered::Incompatible(match asked {
                        Ok(Compatibility::Incompatible(reason)) => reason,
                        _ => said(&error),
                    }))
                }
                Some(422) => Ok(Registered::Refused(said(&error))),
                _ => Err(self.judge(&error)),
            },
        }
    }

    /// Checks that a schema which was registered is there, under the id that was given.
    async fn confirm(&self, subject: &str, schema: &AvroSchema, given: u32) -> Result<(), Failure> {
        let mut tries = 1;
        loop {
            match self.look_up(subject, schema).await? {
                LookedUp::Known(id) if id == given => return Ok(()),
                LookedUp::Known(id) => {
                    return Err(self.unbelievable(&format!(
                        "it has registered the schema of `{subject}` as {given}, and has it as {id}"
                    )));
                }
                // One of several servers may be a moment behind.
                LookedUp::NoSubject | LookedUp::NoSchema if tries < TRIES => {
                    tokio::time::sleep(BACKOFF.pause(tries)).await;
                    tries += 1;
                }
                _ => {
                    return Err(self.unbelievable(&format!(
                        "it has registered the schema of `{subject}` as {given}, and does not have it"
                    )));
                }
            }
        }
    }

    /// Whether a schema may follow those of a subject, by the level that is set for it.
    pub async fn compatibility(&self, subject: &str, schema: &AvroSchema) -> Result<Compatibility, Failure> {
        let subject = utf8_percent_encode(subject, &IN_PATH);
        let path = format!("compatibility/subjects/{subject}/versions?verbose=true");
        match self.post::<Judged>(&path, schema).await {
            Ok(Judged { is_compatible: true, .. }) => Ok(Compatibility::Compatible),
            Ok(Judged { messages, .. }) => {
                // Confluent's adds the whole schema before it.
                let reasons = messages.iter().filter(|message| !message.starts_with("{oldSchema:"));
                let messages: Vec<String> = reasons.map(|message| one_line(message)).collect();
                let reason = if messages.is_empty() {
                    "the registry does not say why".to_owned()
                } else {
                    shortened(&messages.join("; "), MOST_SAID).into_owned()
                };
                Ok(Compatibility::Incompatible(reason))
            }
            Err(error) => match (error.status(), error.code()) {
                (Some(404), Some("40401" | "40402" | "40404")) => Ok(Compatibility::NoSubject),
                (Some(422), _) => Ok(Compatibility::Invalid(said(&error))),
                _ => Err(self.judge(&error)),
            },
        }
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, schema: &AvroSchema) -> Result<T, ApiError> {
        // Of Avro is what has no type.
        let body = json!({ "schema": schema.text() }).to_string().into_bytes();
        // All of them may be asked again: the same schema has the same id.
        let mut call = Call::post_bytes(path, CONTENT_TYPE, body).tries(TRIES);
        if let Some((header, secrets)) = &self.settings.login {
            call = call.headers(HeaderMap::from_iter([(AUTHORIZATION, header.clone())]));
            call = secrets.iter().fold(call, Call::secret);
        }
        let decode = |body: &[u8]| Ok(Decoded { value: serde_json::from_slice(body)?, rows: 1 });
        Ok(self.api.send(call, decode).await?.value)
    }

    /// An id that the wire format has room for.
    fn id(&self, id: i64) -> Result<u32, Failure> {
        let is_id = (1..=i64::from(i32::MAX)).contains(&id);
        u32::try_from(id)
            .ok()
            .filter(|_| is_id)
            .ok_or_else(|| self.unbelievable(&format!("{id} is not the id of a schema")))
    }

    /// The id of a schema, unless another schema was given the same one: readers would decode the bytes of the one by the other.
    fn id_of(&self, subject: &str, schema: &AvroSchema, id: i64) -> Result<u32, Failure> {
        let id = self.id(id)?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || (subject.to_owned(), schema.text().to_owned());
        let (other, text) = ids.entry(id).or_insert_with(first);
        if schema.is_same_as(text) {
            return Ok(id);
        }
        Err(self.unbelievable(&format!(
            "it gives the id {id} to the schema of `{other}` and to another one of `{subject}`"
        )))
    }

    /// What an error means that is not about the schema.
    fn judge(&self, error: &ApiError) -> Failure {
        let denied = |problem: String| {
            Failure::configuration(format!("the schema registry at {} {problem}", self.settings.address))
        };
        match error.status() {
            // Of these nothing is shown but the status: the text may repeat what was sent.
            Some(status @ (401 | 403 | 407)) if self.settings.login.is_some() => {
                denied(format!("rejects our credentials: HTTP {status}; check {}", self.settings.credentials))
            }
            Some(status @ (401 | 403 | 407)) => denied(format!(
                "requires a user: HTTP {status}; set `events.kafka.registry_user_variable` and `registry_password_variable`"
            )),
            Some(300..=399) => denied(format!(
                "answers with a redirect, which is not followed; put the final address into {}",
                self.settings.set_at
            )),
            _ if matches!(error.kind(), ApiErrorKind::Untrusted | ApiErrorKind::Unsendable) => {
                denied(format!("cannot be asked: {}", error.reason()))
            }
            Some(404) => {
                self.unbelievable(&format!("{}; is {} its address?", error.reason(), self.settings.set_at))
            }
            _ => self.not_now(error.reason()),
        }
    }

    fn unbelievable(&self, problem: &str) -> Failure {
        self.not_now(&format!("it does not answer as a schema registry does: {problem}"))
    }

    fn not_now(&self, problem: &str) -> Failure {
        Failure::try_later(format!(
            "the schema registry at {} gives no answer to go by: {problem}",
            self.settings.address
        ))
        .symptom("the schema registry gives no answer to go by")
        .hint(format!("try again once it answers; if its address is wrong, correct {}", self.settings.set_at))
        .retry_once("once the schema registry answers again")
    }
}

const TRIES: u32 = 3;

fn terms() -> Terms {
    Terms {
        tries: TRIES,
        backoff: BACKOFF,
        longest_wait: LONGEST_WAIT,
        longest_answer: LONGEST_ANSWER,
        rule: retry_after,
        ..Terms::once("the schema registry", REQUEST_TIMEOUT)
    }
}

fn address(config: &KafkaConfig, url: &Secret) -> Result<Address, Failure> {
    let url = url.expose();
    // A password needs encryption anywhere but on this machine.
    if config.tls() || config.registry_variables().is_some() {
        let address = Address::new(SCHEMA_REGISTRY_URL, url);
        let is_plain =
            || url::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !is_confidential(&url));
        return address.map_err(|failure| match config.registry_variables() {
            None if is_plain() => Failure::configuration(format!(
                "{}, or, in a network of your own, set tls = false in [events.kafka]",
                failure.message
            )),
            _ => failure,
        });
    }
    Address::in_own_network(SCHEMA_REGISTRY_URL, url)
}

/// Basic (RFC 7617), and what of it no error may repeat.
fn login(user: &str, password: String) -> Option<(HeaderValue, [Secret; 2])> {
    if user.contains(':') {
        return None;
    }
    let encoded = BASE64.encode(format!("{user}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some((header, [Secret::new(password), Secret::new(encoded)]))
}

/// The registry's words, without the status.
fn said(error: &ApiError) -> String {
    let reason = error.reason();
    let words = reason.strip_prefix("HTTP ").and_then(|rest| rest.split_once(": ")).map(|(_, words)| words);
    words.unwrap_or(reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_zero_the_id_and_the_datum() {
        let schema = r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "string"}]}"#;
        let datum = AvroSchema::parse(schema).unwrap().encode(r#"{"a": "hi"}"#).unwrap();
        // The text "hi" under the schema 1, as Confluent's clients write it.
        assert_eq!(hex::encode(framed(1, &datum)), "0000000001046869");
        assert_eq!(hex::encode(framed(0x0102_0304, &[])), "0001020304");
    }

    #[test]
    fn a_user_is_sent_as_basic_and_shown_nowhere() {
        let (header, secrets) = login("Aladdin", "open sesame".to_owned()).unwrap();
        // From RFC 7617 section 2.
        assert_eq!(header.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(secrets[1].expose(), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{header:?}").contains("QWxh"));
        assert!(login("a:b", "c".to_owned()).is_none());
    }

    #[test]
    fn what_a_subject_holds_stays_in_its_part_of_the_path() {
        let encoded = |subject| utf8_percent_encode(subject, &IN_PATH).to_string();
        assert_eq!(encoded("shop.order-value"), "shop.order-value");
        assert_eq!(encoded("a/../b?c#d:e"), "a%2F..%2Fb%3Fc%23d%3Ae");
    }
}
