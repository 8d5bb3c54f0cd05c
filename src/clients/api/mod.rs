//! What all API clients share: one HTTP client, bounded attempts, waits that the API asked for, bounded responses,
//! requests traced with `-vv`, and one error that names the API and the call and holds no secret.
//!
//! It is independent of any API: when the next call may be made is decided by each API's own [`Rule`], and the content
//! of a response is read by the caller's own function. There are three ways to call:
//!
//! - [`Api::send`] for a JSON API: asks until the response is understood or another attempt would not help. `decode`
//!   runs inside the attempts, since a page that is not JSON is worth another one.
//! - [`Api::tell`] for a service that takes a message: asks once, and the caller decides which response is a success.
//! - [`Api::exchange`] for callers that judge each response themselves, such as mail clients: any response counts.

mod address;
mod answer;
mod background;
mod call;
mod client;
mod error;
mod pace;
mod timing;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use reqwest::header::DATE;
use reqwest::{Request, Response};
use url::Url;

use crate::backoff::Backoff;
use crate::clock;
use crate::config::secrets_of_webhook;
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Redactor;
use crate::output::Output;
use crate::period::format_duration;

pub use address::Address;
use answer::End;
pub use answer::{Answer, is_refused_login, refused_login};
use background::Background;
pub use call::Call;
use error::Problem;
pub use error::{ApiError, ApiErrorKind};
use pace::{Destination, Go};
use timing::as_of;
pub use timing::{Pause, Rule, http_date, no_rule, retry_after};

/// The default cap of the backoff between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Waits of at least this length are shown; a shorter one is over before anyone has read it.
const NOTABLE_WAIT: Duration = Duration::from_secs(3);
/// A longer wait is treated as this, so that no absurd number overflows a clock.
pub const MAX_PAUSE: Duration = Duration::from_hours(24);
/// A pause that is no block is left to each process if it is longer: it decides whether to wait at all.
const MAX_SHARED_PAUSE: Duration = Duration::from_mins(1);
/// The usual [`Terms::longest_answer`]: a page of a thousand orders with items has a few MiB.
pub const MAX_PAGE: usize = 32 * 1024 * 1024;
/// The longest response of an API that returns only a few lines; the rest is not read.
pub const MAX_REPLY: usize = 16 * 1024;
/// A body gets one more second per this many bytes: a slow line is not a silent server.
const BYTES_PER_SECOND: u64 = 256 * 1024;

/// Stores what an API allows an account beyond this process: how long it is blocked, since calling while blocked makes
/// that longer, and how much of its rate is used.
pub trait Blocks: Send + Sync {
    /// How long calls stay blocked.
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>>;

    /// Blocks calls for this long.
    fn block<'a>(&'a self, wait: Duration, reason: &'a str) -> BoxFuture<'a, Result<(), Failure>>;

    /// Takes the next slot of a rate with one call in each `interval` behind a burst. Returns how long it is until the
    /// slot begins.
    fn slot(&self, interval: Duration, burst: u32) -> BoxFuture<'_, Result<Duration, Failure>>;

    /// Leaves the rate no room for this long.
    fn defer(&self, wait: Duration) -> BoxFuture<'_, Result<(), Failure>>;
}

/// How patient we are with an API.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How people call it.
    pub name: &'static str,
    /// Attempts for a call that may be repeated.
    pub tries: u32,
    /// The pause between two attempts.
    pub backoff: Backoff,
    /// How long one attempt may take, including reading the whole response but not sending the request's body.
    pub request_timeout: Duration,
    /// If the API asks to wait longer than this, the call ends with 75.
    pub longest_wait: Duration,
    /// The most bytes of a response that are read, after decompression.
    pub longest_answer: usize,
    /// At most this many calls a second; 0 sets no limit.
    pub calls_per_second: f64,
    /// Calls that may follow each other at once, before the rate applies.
    pub burst: u32,
    /// How long a response asks us to wait before the next call.
    pub rule: Rule,
}

impl Terms {
    /// The terms of an API that is called once and answers in a few lines: no rate, no rule.
    pub const fn once(name: &'static str, request_timeout: Duration) -> Self {
        Self {
            name,
            tries: 1,
            backoff: Backoff::doubling(Duration::ZERO, Duration::ZERO),
            request_timeout,
            longest_wait: Duration::ZERO,
            longest_answer: MAX_REPLY,
            calls_per_second: 0.0,
            burst: 1,
            rule: no_rule,
        }
    }
}

/// An outside API at one address. Clones share its pace, and so do all others with that name and address in this
/// process.
#[derive(Clone)]
pub struct Api {
    client: Background,
    address: Address,
    terms: Arc<Terms>,
    destination: Arc<Destination>,
    blocks: Option<Arc<dyn Blocks>>,
    redactor: Redactor,
    output: Output,
    time_zone: Tz,
}

/// A response that was understood.
#[derive(Debug)]
pub struct Answered<T> {
    /// Its content.
    pub value: T,
    /// The server read the data at this time or later: its `Date`, but never later than our clock before the call.
    pub as_of: DateTime<Utc>,
}

/// What a caller's function made of a body.
#[derive(Debug)]
pub struct Decoded<T> {
    /// Its content.
    pub value: T,
    /// How many records that is, for the trace.
    pub rows: usize,
}

/// A call that is ready to send.
struct Prepared {
    request: Request,
    about: About,
    tries: u32,
    is_answer_secret: bool,
}

/// How a call is shown to people.
struct About {
    /// The method and the path, never the query's values; for a secret address only the method.
    name: String,
    /// The names of the query's parameters.
    query: String,
    redactor: Redactor,
}

impl Api {
    /// An API at an address. Makes no request.
    pub fn new(cx: &Context, address: Address, terms: Terms) -> Result<Self, Failure> {
        let destination = pace::destination(terms.name, address.url());
        let redactor = cx.config.redactor();
        // The settings' redactor already knows it if it came from one of their variables.
        let redactor = if address.is_secret() {
            redactor.with(secrets_of_webhook(address.url().as_str()))
        } else {
            redactor
        };
        Ok(Self {
            client: client::of(cx)?,
            address,
            terms: Arc::new(terms),
            destination,
            blocks: None,
            redactor,
            output: cx.output.clone(),
            time_zone: cx.time_zone(),
        })
    }

    /// The same with blocks that are stored beyond this process.
    #[must_use]
    pub fn with_blocks(self, blocks: Arc<dyn Blocks>) -> Self {
        Self { blocks: Some(blocks), ..self }
    }

    /// The same with less patience, for calls that somebody else waits for: no try and no wait between two is longer
    /// than this, and no answer is longer. Its few tries need no rate.
    #[must_use]
    pub fn hurried(
        mut self,
        request_timeout: Duration,
        longest_wait: Duration,
        longest_answer: usize,
    ) -> Self {
        let terms = Terms::clone(&self.terms);
        self.terms = Arc::new(Terms {
            request_timeout: terms.request_timeout.min(request_timeout),
            longest_wait: terms.longest_wait.min(longest_wait),
            longest_answer: terms.longest_answer.min(longest_answer),
            backoff: Backoff { longest: terms.backoff.longest.min(longest_wait), ..terms.backoff },
            calls_per_second: 0.0,
            ..terms
        });
        self
    }

    /// The address that a link in a response leads to, if it is on this API: others must not be followed with our
    /// token in the header.
    pub fn own_link(&self, href: &str) -> Result<Url, ApiError> {
        self.address.join(href).map_err(|what| {
            let message = format!("failed to follow a link of {}: it leads to {what}", self.terms.name);
            Failure::failed(message).into()
        })
    }

    /// The machine's time, which an outside system compares with its own: in a signature, or in a token's lifetime.
    #[expect(clippy::disallowed_methods, reason = "a server's clock knows nothing of a rehearsal")]
    pub fn machine_time() -> DateTime<Utc> {
        clock::machine_time()
    }

    /// Waits until the API accepts calls again. Every call does this too; it is for callers that fetch a token first,
    /// which might expire meanwhile.
    pub async fn wait_out_block(&self) -> Result<(), ApiError> {
        self.go(false).await
    }

    /// Asks until there is a response that `decode` understands, or another attempt would not help.
    pub async fn send<T>(
        &self,
        call: Call<'_>,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Answered<T>, ApiError> {
        let prepared = self.prepare(call)?;
        let began = Self::machine_time();
        let mut number = 1;
        loop {
            self.go(true).await?;
            let asked_at = Self::machine_time();
            let started = Instant::now();
            let answer = self.ask(&prepared).await;
            let decoded = match &answer {
                Ok(answer) => self.understood(&prepared, answer, &decode),
                Err(problem) => Err(problem.clone()),
            };
            self.trace_try(&prepared, &answer, number, started, || match &decoded {
                Ok(decoded) => format!("{} rows", decoded.rows),
                Err(problem) => prepared.about.redactor.redact(&problem.reason),
            });
            let problem = match decoded {
                Ok(Decoded { value, .. }) => {
                    let date = answer.ok().and_then(|answer| http_date(answer.header(DATE.as_str())?));
                    return Ok(Answered { value, as_of: as_of(date, asked_at) });
                }
                Err(problem) => problem,
            };
            if !problem.may_pass || number >= prepared.tries {
                return Err(self.error(&prepared.about, problem, number, began));
            }
            // A wait that the response asked for is observed before the next call; a zero wait does not count, since a
            // failed call is not repeated at once.
            if problem.retry_after.is_none_or(|wait| wait.is_zero()) {
                let pause = self.terms.backoff.pause(number);
                self.trace(|| {
                    format!(
                        "{}: waits {} ms before try {}",
                        prepared.about.name,
                        pause.as_millis(),
                        number + 1
                    )
                });
                tokio::time::sleep(pause).await;
            }
            number += 1;
        }
    }

    /// Asks once. For a 2xx response, `accept` returns its content or why it is not valid; any other is an error.
    pub async fn tell<T>(
        &self,
        call: Call<'_>,
        accept: impl Fn(&Answer) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let prepared = self.prepare(call)?;
        let answer = self.exchange_prepared(&prepared).await?;
        let problem = if answer.status.is_success() {
            match (accept(&answer), &answer.end) {
                (Ok(value), _) => return Ok(value),
                (Err(_), End::Broken(reason)) => {
                    answer.problem(Problem::passing(ApiErrorKind::Unheard, *reason))
                }
                (Err(reason), End::Whole | End::TooLong) => {
                    answer.problem(Problem::lasting(ApiErrorKind::Unreadable, reason))
                }
            }
        } else {
            answer.rejection()
        };
        Err(self.error(&prepared.about, problem, 1, Self::machine_time()))
    }

    /// Asks once, and returns whatever response there was; an error only if there was none.
    pub async fn exchange(&self, call: Call<'_>) -> Result<Answer, ApiError> {
        let prepared = self.prepare(call)?;
        self.exchange_prepared(&prepared).await
    }

    async fn exchange_prepared(&self, prepared: &Prepared) -> Result<Answer, ApiError> {
        self.go(true).await?;
        let started = Instant::now();
        let answer = self.ask(prepared).await;
        self.trace_try(prepared, &answer, 1, started, || match &answer {
            Ok(answer) if answer.status.is_success() => "taken".to_owned(),
            Ok(answer) => answer.quoted(),
            Err(problem) => prepared.about.redactor.redact(&problem.reason),
        });
        answer.map_err(|problem| self.error(&prepared.about, problem, 1, Self::machine_time()))
    }

    /// One attempt: sends the request, and applies the wait that the response asks for.
    async fn ask(&self, prepared: &Prepared) -> Result<Answer, Problem> {
        let request = prepared.request.try_clone().unwrap_or_else(|| unreachable!("no body is a stream"));
        let (response, until) = self.client.execute(request).await?;
        let retry_after = self.heed(&response).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, end) = answer::read(response, self.terms.longest_answer, until).await;
        Ok(Answer { status, headers, body, end, retry_after, redactor: prepared.about.redactor.clone() })
    }

    /// The content of a JSON API's response.
    fn understood<T>(
        &self,
        prepared: &Prepared,
        answer: &Answer,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Decoded<T>, Problem> {
        if let End::TooLong = answer.end {
            let most = size(self.terms.longest_answer);
            let reason = format!("the answer is longer than {most}");
            return Err(answer.problem(Problem::lasting(ApiErrorKind::Unreadable, reason)));
        }
        let is_final = !answer.status.is_success() && !answer::may_pass(answer.status);
        if let End::Broken(reason) = answer.end {
            // The status was received, and for a refusal it is what matters.
            return Err(if is_final {
                answer.rejection()
            } else {
                answer.problem(Problem::passing(ApiErrorKind::Unheard, reason))
            });
        }
        if !answer.status.is_success() {
            return Err(answer.rejection());
        }
        let body = &answer.body;
        let unreadable = |reason: String| Problem::passing(ApiErrorKind::Unreadable, reason);
        decode(body).map_err(|error| {
            answer.problem(if error.is_data() {
                // JSON of another shape will not change; anything else may be a proxy's temporary error page.
                Problem::lasting(
                    ApiErrorKind::Unreadable,
                    format!(
                        "the answer is not of the documented shape: {}",
                        without_value(&error.to_string())
                    ),
                )
            } else if body.iter().all(u8::is_ascii_whitespace) {
                unreadable("the answer is empty".to_owned())
            } else {
                unreadable(match answer.beginning().filter(|_| !prepared.is_answer_secret) {
                    Some(text) => format!("the answer is not JSON but begins with `{text}`"),
                    None => format!("the answer is JSON that breaks off or is broken, {} bytes", body.len()),
                })
            })
        })
    }

    fn prepare(&self, call: Call<'_>) -> Result<Prepared, ApiError> {
        let url = self.url(&call)?;
        let name = if self.address.is_secret() {
            call.method.to_string()
        } else {
            format!("{} {}", call.method, url.path())
        };
        let keys: Vec<&str> = call.query.iter().map(|(key, _)| *key).collect();
        let body_seconds = call.body.as_ref().map_or(0, Vec::len) as u64 / BYTES_PER_SECOND;
        let mut request = self
            .client
            .request(call.method, url)
            .timeout(self.terms.request_timeout.saturating_add(Duration::from_secs(body_seconds)))
            .headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let secrets = call.secrets.iter().map(|secret| secret.expose().to_owned());
        let about = About {
            name,
            query: if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) },
            redactor: self.redactor.with(secrets),
        };
        match request.build() {
            Ok(request) => Ok(Prepared {
                request,
                about,
                tries: call.tries.unwrap_or(self.terms.tries).max(1),
                is_answer_secret: call.is_answer_secret,
            }),
            Err(error) => Err(self.error(&about, client::unanswered(error), 1, Self::machine_time())),
        }
    }

    /// The address of a call. Its values are percent-encoded; Cafe24 requires `%20` for a space, and does not accept a
    /// form's `+` everywhere.
    fn url(&self, call: &Call<'_>) -> Result<Url, ApiError> {
        let mut url = self.own_link(call.path.trim_start_matches('/'))?;
        if !call.query.is_empty() {
            let encoded = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(call.query.iter().map(|(key, value)| (*key, value.as_str())))
                .finish();
            url.set_query(Some(&encoded.replace('+', "%20")));
        }
        Ok(url)
    }

    /// Applies the response's wait before anything else is done with it. Returns the wait.
    async fn heed(&self, response: &Response) -> Option<Duration> {
        let mut pause = (self.terms.rule)(response.status(), response.headers(), Self::machine_time())?;
        pause.wait = pause.wait.min(MAX_PAUSE);
        self.trace(|| format!("no call for {} ms: {}", pause.wait.as_millis(), pause.reason));
        self.destination.block(pause.wait, &pause.reason);
        if !pause.is_block
            && pause.wait <= MAX_SHARED_PAUSE
            && let Some((blocks, interval)) = self.shared_rate()
            && let Err(failure) =
                blocks.defer(pause.wait + interval * self.terms.burst.saturating_sub(1)).await
        {
            self.trace(|| format!("failed to keep the pause for other processes: {failure}"));
        }
        if pause.is_block
            && let Some(blocks) = &self.blocks
            && let Err(failure) = blocks.block(pause.wait, &pause.reason).await
        {
            // This process knows it anyway, and the response is good: what fails here will fail the next commit.
            self.trace(|| format!("failed to keep the block for other processes: {failure}"));
        }
        Some(pause.wait)
    }

    /// The rate that other processes share, as the time that each call takes.
    fn shared_rate(&self) -> Option<(&Arc<dyn Blocks>, Duration)> {
        self.blocks.as_ref().zip(pace::interval(self.terms.calls_per_second))
    }

    /// Waits until a call may be made; with `slot` it counts against the rate.
    async fn go(&self, slot: bool) -> Result<(), ApiError> {
        let shared = self.shared_rate().filter(|_| slot);
        loop {
            let rate = if slot && shared.is_none() { self.terms.calls_per_second } else { 0.0 };
            match self.destination.next(rate, self.terms.burst) {
                Go::Now => {}
                Go::After(wait) => tokio::time::sleep(wait).await,
                Go::Blocked(wait, reason) if wait > self.terms.longest_wait => {
                    return Err(self.blocked(wait, &reason));
                }
                Go::Blocked(wait, reason) => {
                    if wait >= NOTABLE_WAIT {
                        let wait = format_duration(Duration::from_secs(wait.as_secs()));
                        self.output.status(&format!("{} waits {wait}: {reason}", self.address));
                    } else {
                        self.trace(|| format!("waits {} ms: {reason}", wait.as_millis()));
                    }
                    tokio::time::sleep(wait).await;
                    continue;
                }
            }
            if let Some((blocks, interval)) = shared {
                let wait = blocks.slot(interval, self.terms.burst).await?;
                if !wait.is_zero() {
                    self.trace(|| format!("waits {} ms for its turn", wait.as_millis()));
                    tokio::time::sleep(wait).await;
                }
            }
            // Right before the call: another process or task may have received a block while this one waited or was
            // busy with its last page. It costs one lookup by key.
            if let Some(blocks) = &self.blocks
                && let Some(wait) = blocks.blocked_for().await?
            {
                self.destination.block(wait, "its usage limit, as an earlier call was told");
            }
            if !self.destination.is_blocked() {
                return Ok(());
            }
        }
    }

    /// The error of a call that is not made, since the API accepts none for longer than we wait.
    fn blocked(&self, wait: Duration, reason: &str) -> ApiError {
        let shown = format_duration(Duration::from_secs(wait.as_secs().max(1)));
        let reason = format!("{} asks for no calls for {shown}: {reason}", self.terms.name);
        let problem = Problem::passing(ApiErrorKind::Throttled, reason.clone());
        ApiError::new(reason, Problem { retry_after: Some(wait), ..problem })
            .hint(format!("run it again in {shown}"))
            .retry_once(format!("in {shown}"))
    }

    /// The error after the last of several tries, the first of which was made at `began`: when it began and ended tells
    /// whether waiting may have helped.
    fn error(&self, about: &About, problem: Problem, tries: u32, began: DateTime<Utc>) -> ApiError {
        let api = self.terms.name;
        let call = if self.address.is_secret() { String::new() } else { format!(" for {}", about.name) };
        let after = if tries > 1 {
            let shown = |at: DateTime<Utc>, format| at.with_timezone(&self.time_zone).format(format);
            let began = shown(began, "%Y-%m-%d %H:%M:%S");
            format!(", {tries} tries from {began} to {}", shown(Self::machine_time(), "%H:%M:%S %Z"))
        } else {
            String::new()
        };
        // A server may quote what it was sent.
        let reason = about.redactor.redact(&problem.reason);
        let may_pass = problem.may_pass;
        let error = ApiError::new(
            format!("failed to ask {api}{call}: {reason}{after}"),
            Problem { reason: reason.clone(), ..problem },
        );
        if may_pass {
            error.symptom(format!("{api}: {reason}")).retry_once(format!("once {api} answers again"))
        } else {
            error
        }
    }

    /// The line of one attempt, for tracing requests (`-vv`).
    fn trace_try(
        &self,
        prepared: &Prepared,
        answer: &Result<Answer, Problem>,
        number: u32,
        started: Instant,
        outcome: impl FnOnce() -> String,
    ) {
        self.trace(|| {
            let (status, size) = match answer {
                Ok(answer) => (answer.status.as_u16().to_string(), format!(", {} bytes", answer.body.len())),
                Err(_) => ("no answer".to_owned(), String::new()),
            };
            let About { name, query, .. } = &prepared.about;
            let took = started.elapsed().as_millis();
            format!("{name}{query}: {status}, {}{size}, {took} ms, try {number}", outcome())
        });
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        if self.output.is_tracing() {
            self.output.trace(&format!("{}: {}", self.terms.name, line()));
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Api({} at {})", self.terms.name, self.address)
    }
}

/// Bytes for people: `32 MiB`.
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    if bytes < MIB { format!("{} KiB", bytes / KIB) } else { format!("{} MiB", bytes / MIB) }
}

/// serde's message about an unexpected value, without the value: it may be personal data, or a token.
fn without_value(said: &str) -> String {
    match said.rfind(", expected ") {
        Some(place) if said.starts_with("invalid ") => said[place + 2..].to_owned(),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests;
