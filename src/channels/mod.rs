//! Notification channels: those of `batchctl.toml`, for jobs and for the runner's alerts alike.
//!
//! A job posts by the channel's name: `cx.channels().post("finance", &message).await?`. Outside prod everything goes
//! to the dev channel, or nowhere if there is none. Texts that are too long for one message are split, and what could
//! not be delivered is reported part by part. A message that must not be lost is [`kept`] in the caller's transaction,
//! and sent until its channel has it.
//!
//! To add a kind: its file here, its keys in the configuration, and its line in `open`.

mod chatwork;
mod google_chat;
pub mod kept;
mod line_works;
mod mail;
mod message;
pub(crate) mod queue;
mod slack;
mod teams;
mod webhook;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::StatusCode;

use crate::clients::api::{ApiError, ApiErrorKind, Rule, Terms, is_refused_login, refused_login};
use crate::config::{AlertChannel, ChannelTarget, Config, ConfigError};
use crate::context::Context;
use crate::failure::Failure;

pub use message::{Link, Message};

/// How long one request to a channel may take, connection and answer together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// A channel that asks for a short wait gets it; a longer wait is left to the caller, who has other things to do.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Posts to one channel in its own way. It lives as long as the command and keeps what it needs between messages: a
/// connection, a token, the pace.
trait Poster: Send + Sync {
    /// The parts of a message: requests or mails, in the order in which they are to be sent.
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault>;
}

/// The only place that knows all kinds of channels.
fn open(cx: &Context, channel: &AlertChannel) -> Result<Arc<dyn Poster>, Fault> {
    let target = channel
        .target()
        .map_err(|key| Fault::lasting(format!("alerts.channel `{}` has no `{key}`", channel.name)))?;
    let secret = |name: &str| cx.config.secret(name).map_err(|error| Fault::unset(&error));
    let mention = channel.mention.as_deref();
    Ok(match target {
        ChannelTarget::Slack(variable) => Arc::new(slack::Slack::new(cx, &secret(variable)?, mention)?),
        ChannelTarget::Teams(variable) => Arc::new(teams::Teams::new(cx, &secret(variable)?, mention)?),
        ChannelTarget::Chatwork(target) => Arc::new(chatwork::Chatwork::new(cx, channel, target)?),
        ChannelTarget::GoogleChat(variable) => {
            Arc::new(google_chat::GoogleChat::new(cx, &secret(variable)?, mention)?)
        }
        ChannelTarget::LineWorks(target) => Arc::new(line_works::LineWorks::new(cx, channel, target)?),
        ChannelTarget::Mail(recipients) => Arc::new(mail::Mail::new(cx, recipients)?),
        ChannelTarget::Webhook(variable) => Arc::new(webhook::Webhook::new(cx, &secret(variable)?)?),
    })
}

/// What is wrong with the URL that a channel's variable holds, for `config check`.
pub fn url_problem(config: &Config, channel: &AlertChannel) -> Option<String> {
    match channel.target() {
        Ok(ChannelTarget::Teams(variable)) => {
            config.variable(variable).filter(|url| teams::is_retired(url)).map(|_| {
                format!(
                    "{variable} is the URL of an Office 365 connector, which Microsoft has retired: alerts.channel \
                     `{}` needs the URL of a workflow",
                    channel.name
                )
            })
        }
        Ok(ChannelTarget::GoogleChat(variable)) => config
            .variable(variable)
            .and_then(google_chat::problem)
            .map(|problem| format!("{variable}, for alerts.channel `{}`, {problem}", channel.name)),
        _ => None,
    }
}

/// The limits for a chat service: one request per message and one message a second, which all of them accept
/// indefinitely. The caller decides about another attempt.
fn terms(name: &'static str, rule: Rule) -> Terms {
    Terms { longest_wait: MAX_WAIT, calls_per_second: 1.0, rule, ..Terms::once(name, REQUEST_TIMEOUT) }
}

/// One request or one mail.
struct Part<'a> {
    /// What identifies it among the parts of its message at every attempt: the recipient's address, or a digest of the
    /// text.
    key: String,
    sending: BoxFuture<'a, Result<(), Fault>>,
}

impl<'a> Part<'a> {
    fn new(key: String, sending: impl Future<Output = Result<(), Fault>> + Send + 'a) -> Self {
        Self { key, sending: Box::pin(sending) }
    }
}

/// Why a part was not delivered. The text contains no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// What was wrong, in one line.
    pub reason: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Whether trying again cannot help before somebody changes something.
    pub is_permanent: bool,
    /// How long the channel asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether the following parts are not to be tried either: they come in order, or over the same connection.
    pub concerns_the_rest: bool,
}

impl Fault {
    /// One that may be gone at the next attempt.
    fn passing(reason: String) -> Self {
        Self { reason, status: None, is_permanent: false, retry_after: None, concerns_the_rest: true }
    }

    /// One that remains until somebody changes something.
    fn lasting(reason: String) -> Self {
        Self { is_permanent: true, ..Self::passing(reason) }
    }

    /// A variable that is missing may be there the next time: cron and a person's shell differ.
    fn unset(error: &ConfigError) -> Self {
        Self::passing(error.to_string())
    }

    /// One that is set but unusable is not fixed by waiting.
    fn unusable(error: &ConfigError) -> Self {
        match error {
            ConfigError::Unset { .. } => Self::unset(error),
            _ => Self::lasting(error.to_string()),
        }
    }

    /// Prefixes the step that failed; the status is not the message's.
    fn of(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), status: None, ..self }
    }
}

/// The chat services' errors of a refused log-in that are named to a person.
const KNOWN_REFUSALS: [&str; 8] = [
    "ACCESS_DENIED",
    "DirectApiAuthorizationRequired",
    "FORBIDDEN",
    "UNAUTHORIZED",
    "invalid_client",
    "invalid_grant",
    "invalid_token",
    "no_permission",
];

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        let is_permanent = match error.kind() {
            ApiErrorKind::Unsendable | ApiErrorKind::Unreadable => true,
            ApiErrorKind::Rejected => {
                error.status().is_some_and(|status| (400..500).contains(&status) && status != 408)
            }
            ApiErrorKind::Unreachable
            | ApiErrorKind::Untrusted
            | ApiErrorKind::Throttled
            | ApiErrorKind::Unheard
            | ApiErrorKind::Ours => false,
        };
        let status = error.status().and_then(|status| StatusCode::from_u16(status).ok());
        let reason = match status.filter(|status| is_refused_login(*status)) {
            Some(status) => refused_login(status, error.code().unwrap_or_default(), &KNOWN_REFUSALS),
            None => error.reason().to_owned(),
        };
        Self {
            is_permanent,
            status: error.status(),
            retry_after: error.retry_after(),
            ..Self::passing(reason)
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::lasting(failure.message)
    }
}

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// Each of its parts was delivered.
    Delivered {
        /// The channel that received it; outside prod the dev channel.
        channel: String,
        /// How many there were.
        parts: usize,
    },
    /// Outside prod, without a dev channel, nothing is sent.
    Withheld,
}

/// A message that was not delivered, or not as a whole.
#[derive(Debug, thiserror::Error)]
#[error("failed to post to `{channel}`{}: {fault}", progress(*delivered, *parts))]
pub struct PostError {
    /// The channel.
    pub channel: String,
    /// How many parts were delivered, now or before.
    pub delivered: usize,
    /// How many there are; 0 if the channel could not be opened.
    pub parts: usize,
    /// What was wrong with the last one that failed.
    pub fault: Fault,
}

fn progress(delivered: usize, parts: usize) -> String {
    if parts > 1 { format!(", {delivered} of {parts} parts were delivered") } else { String::new() }
}

impl From<PostError> for Failure {
    fn from(error: PostError) -> Self {
        let message = error.to_string();
        if error.fault.is_permanent { Self::failed(message) } else { Self::try_later(message) }
    }
}

/// The channels that were used, by name.
#[derive(Clone, Default)]
struct Posters(Arc<Mutex<HashMap<String, Arc<dyn Poster>>>>);

/// The channels of a command.
pub struct Channels<'a> {
    cx: &'a Context,
    posters: Posters,
}

impl Context {
    /// The notification channels. Each is opened with its first message.
    pub fn channels(&self) -> Channels<'_> {
        let Ok(posters) = self.once(|| Ok::<_, Infallible>(Posters::default()));
        Channels { cx: self, posters }
    }
}

impl Channels<'_> {
    /// Posts a message to the channel of this name; outside prod to the dev channel instead.
    pub async fn post(&self, name: &str, message: &Message) -> Result<Posted, Failure> {
        self.post_rest(name, message, &mut BTreeSet::new()).await
    }

    /// The same without the parts in `delivered`, and adds to it what is delivered: for a caller that tries again
    /// after a fault in the middle.
    pub async fn post_rest(
        &self,
        name: &str,
        message: &Message,
        delivered: &mut BTreeSet<String>,
    ) -> Result<Posted, Failure> {
        let config = &self.cx.config;
        let unknown = || {
            Failure::configuration(format!("there is no channel `{name}` to post to"))
                .hint(format!("write [[alerts.channel]] with name = \"{name}\" into batchctl.toml"))
        };
        let wanted = config.channel(name).ok_or_else(unknown)?;
        let Some(channel) = self.reachable(wanted) else { return Ok(Posted::Withheld) };
        let mut message = message.clone();
        if channel.name != wanted.name {
            message.title = format!("[to {}] {}", wanted.name, message.title);
        }
        let Ok(posted) = self.tell(channel, &message, delivered, async |_| Ok::<_, Infallible>(())).await;
        posted.map(|parts| Posted::Delivered { channel: channel.name.clone(), parts }).map_err(Failure::from)
    }

    /// The channel that is used for this one: itself in prod, elsewhere only the dev channel.
    fn reachable<'c>(&'c self, wanted: &'c AlertChannel) -> Option<&'c AlertChannel> {
        let config = &self.cx.config;
        if config.is_prod() {
            return Some(wanted);
        }
        config.alerts().dev_channel.as_deref().and_then(|name| config.channel(name))
    }

    /// Posts to exactly this channel what is not in `delivered` yet. Of several parts, each one sent is added at once
    /// and `note` is called with all of them, so that after a fault or a crash only the rest is sent again. Returns
    /// the number of parts.
    pub(crate) async fn tell<E>(
        &self,
        channel: &AlertChannel,
        message: &Message,
        delivered: &mut BTreeSet<String>,
        mut note: impl AsyncFnMut(&BTreeSet<String>) -> Result<(), E>,
    ) -> Result<Result<usize, PostError>, E> {
        let failed =
            |fault, delivered, parts| PostError { channel: channel.name.clone(), delivered, parts, fault };
        let poster = match self.poster(channel) {
            Ok(poster) => poster,
            Err(fault) => return Ok(Err(failed(fault, 0, 0))),
        };
        let message = message.redacted(&self.cx.config.redactor());
        let parts = match poster.parts(&message) {
            Ok(parts) => parts,
            Err(fault) => return Ok(Err(failed(fault, 0, 0))),
        };
        let count = parts.len();
        let mut done = 0;
        let mut last_fault = None;
        let mut seen = HashMap::new();
        for Part { key, sending } in parts {
            let key = told_apart(&mut seen, key);
            if delivered.contains(&key) {
                done += 1;
                continue;
            }
            match sending.await {
                Ok(()) => {
                    done += 1;
                    if count > 1 {
                        delivered.insert(key);
                        note(delivered).await?;
                    }
                }
                Err(fault) => {
                    let concerns_the_rest = fault.concerns_the_rest;
                    last_fault = Some(fault);
                    if concerns_the_rest {
                        break;
                    }
                }
            }
        }
        Ok(match last_fault {
            None => Ok(count),
            Some(fault) => Err(failed(fault, done, count)),
        })
    }

    /// The channel, opened with its first message. Outside prod only the dev channel is used, whatever the caller.
    fn poster(&self, channel: &AlertChannel) -> Result<Arc<dyn Poster>, Fault> {
        if self.reachable(channel).is_none_or(|reachable| reachable.name != channel.name) {
            return Err(Fault::lasting("outside prod only the dev channel is used".to_owned()));
        }
        let mut posters = self.posters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = posters.get(&channel.name) {
            return Ok(Arc::clone(known));
        }
        let opened = open(self.cx, channel)?;
        posters.insert(channel.name.clone(), Arc::clone(&opened));
        Ok(opened)
    }
}

/// The key of a part, which is derived from its text: a further part with the same text gets a number, or it would
/// count as delivered along with the first.
fn told_apart(seen: &mut HashMap<String, usize>, key: String) -> String {
    let earlier = seen.entry(key.clone()).or_default();
    *earlier += 1;
    if *earlier == 1 { key } else { format!("{key}#{earlier}") }
}

#[cfg(test)]
mod tests;
