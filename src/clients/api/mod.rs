//! The floor under all outside APIs: one HTTP client, bounded tries, waits that the API asked for, bounded answers,
//! requests traced with `-vv`, and one error that names the API and the call and holds no secret.
//!
//! It knows no API: what an answer says of the time of the next call is each API's own [`Rule`], and what an answer
//! holds is read by the caller's own function. There are three ways to ask:
//!
//! - [`Api::send`] for a JSON API: asks until the answer is understood or no further try would help. `decode` runs
//!   inside the tries, since a page that is not JSON is worth another one.
//! - [`Api::tell`] for a service that takes a message: asks once, and the caller says which answer is a success.
//! - [`Api::exchange`] for callers that judge each answer themselves, as of a mail: whatever was heard is an answer.

mod address;
mod answer;
mod call;
mod client;
mod error;
mod pace;
mod timing;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use reqwest::header::DATE;
use reqwest::{Client, Request, Response};
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
pub use answer::Answer;
use answer::End;
pub use call::Call;
use error::Problem;
pub use error::{ApiError, ApiErrorKind};
use pace::{Destination, Go};
pub use timing::{Pause, Rule, no_rule, retry_after};
use timing::{as_of, http_date};

/// The usual end of a growing pause between two tries.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Waits from this length on are shown; a shorter one is over before it is read.
const NOTABLE_WAIT: Duration = Duration::from_secs(3);
/// What an answer asks for beyond this is the same to us, and no wild number overflows a clock.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// The usual [`Terms::longest_answer`]: a page of a thousand orders with items has a few MiB.
pub const LONGEST_PAGE: usize = 32 * 1024 * 1024;
/// The longest answer of an API that has only a few lines to say; more of it is not read.
pub const LONGEST_REPLY: usize = 64 * 1024;
/// A body gets a second more for each of these many bytes: a slow line is not a silent server.
const BYTES_PER_SECOND: u64 = 256 * 1024;

/// Keeps a block beyond this process: calling while blocked makes it longer.
pub trait Blocks: Send + Sync {
    /// How much longer no call is wanted.
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>>;

    /// Notes that no call is wanted for so long.
    fn block<'a>(&'a self, wait: Duration, reason: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
}

/// How patient we are with an API.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How people call it.
    pub name: &'static str,
    /// How often a call is tried that may be repeated.
    pub tries: u32,
    /// The pause between two tries.
    pub backoff: Backoff,
    /// How long one try may take, its answer read to the end, apart from the time that the request's body needs.
    pub request_timeout: Duration,
    /// If the API asks to wait longer than this, the call ends with 75.
    pub longest_wait: Duration,
    /// The most bytes of an answer that are read, after it was unpacked.
    pub longest_answer: usize,
    /// At most this many calls a second; 0 sets no limit.
    pub calls_per_second: f64,
    /// Calls that may follow each other at once, before the rate counts.
    pub burst: u32,
    /// What an answer says of the time of the next call.
    pub rule: Rule,
}

impl Terms {
    /// Those of an API that is asked once and answers in a few lines: without a rate, without a rule.
    pub const fn once(name: &'static str, request_timeout: Duration) -> Self {
        Self {
            name,
            tries: 1,
            backoff: Backoff::doubling(Duration::ZERO, Duration::ZERO),
            request_timeout,
            longest_wait: Duration::ZERO,
            longest_answer: LONGEST_REPLY,
            calls_per_second: 0.0,
            burst: 1,
            rule: no_rule,
        }
    }
}

/// An outside API at one address. Clones share its pace, and so do all others of that name and address in this process.
#[derive(Clone)]
pub struct Api {
    client: Client,
    address: Address,
    terms: Arc<Terms>,
    destination: Arc<Destination>,
    blocks: Option<Arc<dyn Blocks>>,
    redactor: Redactor,
    output: Output,
}

/// An answer that was understood.
#[derive(Debug)]
pub struct Answered<T> {
    /// What it holds.
    pub value: T,
    /// A time at which the server had what it gave, or later: its `Date`, but never later than our clock before the
    /// call.
    pub as_of: DateTime<Utc>,
}

/// What a caller's function made of a body.
#[derive(Debug)]
pub struct Decoded<T> {
    /// What it holds.
    pub value: T,
    /// How many records that is, for the trace.
    pub rows: usize,
}

/// A call that is ready to go.
struct Prepared {
    request: Request,
    about: About,
    tries: u32,
    is_answer_secret: bool,
}

/// How people are told of a call.
struct About {
    /// The method and the path, never the values of the query; of a secret address the method alone.
    name: String,
    /// The names of the query's parameters.
    query: String,
    redactor: Redactor,
}

impl Api {
    /// An API at an address. It asks nobody yet.
    pub fn new(cx: &Context, address: Address, terms: Terms) -> Result<Self, Failure> {
        let destination = pace::destination(terms.name, address.url());
        let redactor = cx.config.redactor();
        // The settings know it already, if it came from one of their variables.
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
        })
    }

    /// The same with blocks that are kept beyond this process.
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

    /// The address that a link of an answer leads to, if it is on this API: others are not ours to follow, with our
    /// token in the header.
    pub fn own_link(&self, href: &str) -> Result<Url, ApiError> {
        self.address.join(href).map_err(|what| {
            let message = format!("failed to follow a link of {}: it leads to {what}", self.terms.name);
            Failure::failed(message).into()
        })
    }

    /// The machine's time, which an outside system compares with its own: in a signature, or in a token's lifetime.
    #[expect(clippy::disallowed_methods, reason = "a server's clock knows of no rehearsal")]
    pub fn machine_time() -> DateTime<Utc> {
        clock::machine_time()
    }

    /// Waits until the API wants calls again. Every call does it too; this is for callers that fetch a token first,
    /// which may end meanwhile.
    pub async fn wait_out_block(&self) -> Result<(), ApiError> {
        self.go(false).await
    }

    /// Asks until there is an answer that `decode` understands, or no further try would help.
    pub async fn send<T>(
        &self,
        call: Call<'_>,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Answered<T>, ApiError> {
        let prepared = self.prepare(call)?;
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
                return Err(self.error(&prepared.about, problem, number));
            }
            // A wait that the answer asked for is kept before the next call; no time at all is no such wait, and what
            // failed is not asked again at once.
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

    /// Asks once. Of an answer that is a success by its status `accept` says what it holds, or why it is not one of
    /// this API's; any other is an error.
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
        Err(self.error(&prepared.about, problem, 1))
    }

    /// Asks once, and gives whatever was answered; an error only where nothing was.
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
        answer.map_err(|problem| self.error(&prepared.about, problem, 1))
    }

    /// One try: the request goes out, and what its answer says of the next call is done.
    async fn ask(&self, prepared: &Prepared) -> Result<Answer, Problem> {
        let request = prepared.request.try_clone().unwrap_or_else(|| unreachable!("no body is a stream"));
        let response = self.client.execute(request).await.map_err(client::unanswered)?;
        let retry_after = self.heed(&response).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, end) = answer::read(response, self.terms.longest_answer).await;
        Ok(Answer { status, headers, body, end, retry_after, redactor: prepared.about.redactor.clone() })
    }

    /// What an answer of a JSON API holds.
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
            // The status was heard, and of a refusal it is what counts.
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
                // JSON of another shape stays so; anything else may be a proxy's page of this moment.
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
            Err(error) => Err(self.error(&about, client::unanswered(error), 1)),
        }
    }

    /// The address of a call. Its values are percent-encoded; Cafe24 wants a space as `%20`, which a form's `+` is
    /// not everywhere.
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

    /// Does what an answer says of the time of the next call, before anything else is done with it. Gives the wait.
    async fn heed(&self, response: &Response) -> Option<Duration> {
        let mut pause = (self.terms.rule)(response.status(), response.headers(), Self::machine_time())?;
        pause.wait = pause.wait.min(LONGEST_PAUSE);
        self.trace(|| format!("no call for {} ms: {}", pause.wait.as_millis(), pause.reason));
        self.destination.block(pause.wait, &pause.reason);
        if pause.is_block
            && let Some(blocks) = &self.blocks
            && let Err(failure) = blocks.block(pause.wait, &pause.reason).await
        {
            // This process knows it anyway, and the answer is good: what fails here fails the next commit.
            self.trace(|| format!("failed to keep the block for other processes: {failure}"));
        }
        Some(pause.wait)
    }

    /// Waits until a call may be made; with a `slot` it counts against the rate.
    async fn go(&self, slot: bool) -> Result<(), ApiError> {
        loop {
            let rate = if slot { self.terms.calls_per_second } else { 0.0 };
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
            // The last thing before the call: another process, or another task, may have been told of a block while
            // this one waited or was busy with its last page. It costs one row by its key.
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

    /// The error of a call that is not made, since the API wants none for longer than we wait.
    fn blocked(&self, wait: Duration, reason: &str) -> ApiError {
        let shown = format_duration(Duration::from_secs(wait.as_secs().max(1)));
        let reason = format!("{} wants no call for {shown}: {reason}", self.terms.name);
        let problem = Problem::passing(ApiErrorKind::Throttled, reason.clone());
        ApiError::new(reason, Problem { retry_after: Some(wait), ..problem })
            .hint(format!("run it again in {shown}"))
    }

    fn error(&self, about: &About, problem: Problem, tries: u32) -> ApiError {
        let api = self.terms.name;
        let call = if self.address.is_secret() { String::new() } else { format!(" for {}", about.name) };
        let after = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
        // A server may quote what it was sent.
        let reason = about.redactor.redact(&problem.reason);
        ApiError::new(format!("failed to ask {api}{call}: {reason}{after}"), Problem { reason, ..problem })
    }

    /// The line of one try, for who traces requests (`-vv`).
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

/// Bytes as people count them: `32 MiB`.
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    if bytes < MIB { format!("{} KiB", bytes / KIB) } else { format!("{} MiB", bytes / MIB) }
}

/// What serde says of a value that is not as expected, without the value: it may be a person's, or a token.
fn without_value(said: &str) -> String {
    match said.rfind(", expected ") {
        Some(place) if said.starts_with("invalid ") => said[place + 2..].to_owned(),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests;
