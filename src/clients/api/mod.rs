//! What all outside APIs share: one client, bounded tries, waits that the API asked for, bounded bodies, and errors
//! that name the API and the call and hold no secret.
//!
//! It knows no API: what an answer says of the time of the next call is each API's own [`Rule`], and what an answer
//! holds is read by the caller's own function, inside the tries, since a page that is no JSON is worth another try.

mod body;
mod pace;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

use crate::clock::machine_time;
use crate::config::is_confidential;
use crate::failure::{Failure, FailureKind};
use crate::mask::{Redactor, Secret};
use crate::output::Output;
use crate::period::format_duration;

use super::http::{builder, innermost};
use body::{Cut, words};
use pace::{Destination, Go};

/// How long an API may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Load balancers close what is idle for a minute; a connection that is just being closed costs a try.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The usual [`Terms::longest_backoff`].
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Whoever watches is told of a wait from here on; a shorter one is over before it is read.
const NOTABLE_WAIT: Duration = Duration::from_secs(3);
/// What an answer asks for beyond this is the same to us, and no wild number overflows a clock.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// How far a server's clock may be from ours to be believed.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// The largest answer that is read, after it was unpacked: a page of a thousand orders with items has a few MiB.
const MOST_BODY_BYTES: usize = 32 * 1024 * 1024;

/// What an answer says of the time of the next call: the API's own rule, asked after every answer.
pub type Rule = fn(StatusCode, &HeaderMap, DateTime<Utc>) -> Option<Pause>;

/// A wait that an API asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// From the answer on.
    pub wait: Duration,
    /// Why, for people.
    pub reason: String,
    /// Whether it holds for other processes too, so that it has to be kept.
    pub is_block: bool,
}

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
    /// The greatest pause before the second try; it doubles with each.
    pub backoff: Duration,
    /// No pause before a try is longer, however many there were.
    pub longest_backoff: Duration,
    /// How long one try may take, its answer read to the end.
    pub request_timeout: Duration,
    /// If the API asks to wait longer than this, the call ends with 75.
    pub longest_wait: Duration,
    /// Calls a second at the most; 0 sets no limit.
    pub calls_per_second: f64,
    /// Calls that may follow each other at once, before the rate counts.
    pub burst: u32,
    /// What an answer says of the time of the next call.
    pub rule: Rule,
}

/// An outside API at one address. Clones share its pace, and so do all others of that address in this process.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: Url,
    terms: Arc<Terms>,
    destination: Arc<Destination>,
    blocks: Option<Arc<dyn Blocks>>,
    redactor: Redactor,
    output: Output,
}

/// One question.
#[derive(Debug)]
pub struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, String)],
    headers: HeaderMap,
    form: Option<&'a [(&'a str, &'a str)]>,
    secrets: Vec<&'a Secret>,
    tries: Option<u32>,
}

impl<'a> Call<'a> {
    /// A question that may be repeated.
    pub fn get(path: &'a str, query: &'a [(&'a str, String)]) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            headers: HeaderMap::new(),
            form: None,
            secrets: Vec::new(),
            tries: None,
        }
    }

    /// A form that is sent once, unless [`Call::tries`] allows more.
    pub fn post(path: &'a str, form: &'a [(&'a str, &'a str)]) -> Self {
        Self { method: Method::POST, form: Some(form), tries: Some(1), ..Self::get(path, &[]) }
    }

    /// Adds headers.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Names a secret of this call, so that no error repeats it.
    #[must_use]
    pub fn secret(mut self, secret: &'a Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Allows so many tries, as of a call that may be repeated.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// The method and the path, never the values of the query.
    fn name(&self, url: &Url) -> String {
        format!("{} {}", self.method, url.path())
    }
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

/// Why a call came to nothing, after all its tries. The text names the API, the call without its values, and the
/// reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{failure}")]
pub struct ApiError {
    /// What it means to the caller of the program: its exit code and what to do about it.
    #[source]
    failure: Failure,
    status: Option<StatusCode>,
    code: Option<String>,
    is_oauth: bool,
}

impl ApiError {
    /// The status of the last answer; `None` if there was none.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    /// The API's own word for what is wrong, such as OAuth's `invalid_grant`, if the answer had one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The word of an error that has the shape of OAuth's own, `{"error": "…"}` (RFC 6749 section 5.2): nothing between
    /// us and the server says so.
    pub fn oauth_error(&self) -> Option<&str> {
        self.code().filter(|_| self.is_oauth)
    }

    /// What it means to the caller of the program.
    pub fn kind(&self) -> FailureKind {
        self.failure.kind
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure = self.failure.hint(hint);
        self
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        error.failure
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self { failure, status: None, code: None, is_oauth: false }
    }
}

/// What became of one try.
enum Try<T> {
    Answered(Decoded<T>, usize),
    /// Another one may help.
    Again(Problem),
    /// No other one will.
    Final(Problem),
}

/// Why a try came to nothing.
struct Problem {
    reason: String,
    code: Option<String>,
    is_oauth: bool,
    kind: FailureKind,
}

impl Problem {
    /// The other side, or the way to it, is at fault: later it may work.
    fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: None, is_oauth: false, kind: FailureKind::TryLater }
    }

    fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: None, is_oauth: false, kind: FailureKind::Failed }
    }
}

impl Api {
    /// The API at `base`, which the setting `key` names in errors. `blocks` keeps a block beyond this process.
    pub fn new(
        key: &str,
        base: &str,
        terms: Terms,
        blocks: Option<Arc<dyn Blocks>>,
        redactor: Redactor,
        output: &Output,
    ) -> Result<Self, Failure> {
        let wrong = |problem: &str| Failure::configuration(format!("`{key}`: {problem}"));
        let mut base = Url::parse(base).map_err(|_| wrong("not a URL: write https://HOST"))?;
        if !is_confidential(&base) {
            return Err(wrong("secrets would travel in the open: write https://HOST"));
        }
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(wrong("has more than a host and a path in it"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let destination = pace::destination(terms.name, &base);
        Ok(Self {
            client: shared_client()?,
            base,
            terms: Arc::new(terms),
            destination,
            blocks,
            redactor,
            output: output.clone(),
        })
    }

    /// The same with less patience, for calls that somebody else waits for: no try and no wait between two is longer
    /// than this. Its few tries need no rate.
    #[must_use]
    pub fn hurried(mut self, request_timeout: Duration, longest_wait: Duration) -> Self {
        let request_timeout = self.terms.request_timeout.min(request_timeout);
        let longest_backoff = self.terms.longest_backoff.min(longest_wait);
        let longest_wait = self.terms.longest_wait.min(longest_wait);
        self.terms = Arc::new(Terms {
            request_timeout,
            longest_wait,
            longest_backoff,
            calls_per_second: 0.0,
            ..Terms::clone(&self.terms)
        });
        self
    }

    /// The address that a link of an answer leads to, if it is on this API: others are not ours to follow, with our
    /// token in the header.
    pub fn own_link(&self, href: &str) -> Result<Url, ApiError> {
        let refused = |what: &str| {
            let message = format!("failed to follow a link of {}: it leads to {what}", self.terms.name);
            ApiError::from(Failure::failed(message))
        };
        let url = self.base.join(href).map_err(|_| refused("no address at all"))?;
        if url.scheme() != self.base.scheme() {
            return Err(refused("another scheme"));
        }
        let is_same_host = url.host() == self.base.host();
        if !is_same_host || url.port_or_known_default() != self.base.port_or_known_default() {
            return Err(refused("another host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("a login"));
        }
        if !url.path().starts_with(self.base.path()) {
            return Err(refused("another part of the host"));
        }
        Ok(url)
    }

    /// Waits until the API wants calls again. [`Api::send`] does it too; this is for callers that fetch a token
    /// first, which may end meanwhile.
    pub async fn wait_out_block(&self) -> Result<(), ApiError> {
        self.go(false).await
    }

    /// Asks until there is an answer that `decode` understands, or no further try would help.
    pub async fn send<T>(
        &self,
        call: Call<'_>,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Answered<T>, ApiError> {
        let url = self.url(&call)?;
        let name = call.name(&url);
        let tries = call.tries.unwrap_or(self.terms.tries).max(1);
        let mut number = 1;
        loop {
            self.go(true).await?;
            let asked_at = machine_time();
            let (outcome, answer) = self.ask(&call, &url, &name, number, &decode).await;
            let has_hint = answer.as_ref().is_some_and(|facts| facts.has_hint);
            let (problem, is_final) = match outcome {
                Try::Answered(decoded, _) => {
                    let as_of = as_of(answer.and_then(|facts| facts.date), asked_at);
                    return Ok(Answered { value: decoded.value, as_of });
                }
                Try::Again(problem) => (problem, number >= tries),
                Try::Final(problem) => (problem, true),
            };
            if is_final {
                return Err(self.error(&call, &name, problem, answer.map(|facts| facts.status), number));
            }
            if !has_hint {
                let pause = backoff(self.terms.backoff, self.terms.longest_backoff, number, fastrand::f64());
                self.trace(|| format!("{name}: waits {} ms before try {}", pause.as_millis(), number + 1));
                tokio::time::sleep(pause).await;
            }
            number += 1;
        }
    }

    /// One try, with its line of the trace.
    async fn ask<T>(
        &self,
        call: &Call<'_>,
        url: &Url,
        name: &str,
        number: u32,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> (Try<T>, Option<Facts>) {
        let started = Instant::now();
        let (tried, facts) = match self.request(call, url).send().await {
            Ok(response) => {
                let facts = self.heed(&response).await;
                (read(response, decode).await, Some(facts))
            }
            Err(error) => (unanswered(error), None),
        };
        self.trace(|| {
            let keys: Vec<&str> = call.query.iter().map(|(key, _)| *key).collect();
            let query = if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) };
            let status =
                facts.as_ref().map_or("no answer".to_owned(), |facts| facts.status.as_u16().to_string());
            let outcome = match &tried {
                Try::Answered(decoded, bytes) => format!("{} rows, {bytes} bytes", decoded.rows),
                Try::Again(problem) | Try::Final(problem) => self.without_secrets(call, &problem.reason),
            };
            let took = started.elapsed().as_millis();
            format!("{name}{query}: {status}, {outcome}, {took} ms, try {number}")
        });
        (tried, facts)
    }

    fn request(&self, call: &Call<'_>, url: &Url) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .request(call.method.clone(), url.clone())
            .timeout(self.terms.request_timeout)
            .headers(call.headers.clone());
        if let Some(form) = call.form {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request =
                request.header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        request
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

    /// Does what an answer says of the time of the next call, before anything else is done with it.
    async fn heed(&self, response: &Response) -> Facts {
        let (status, headers) = (response.status(), response.headers());
        let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(http_date);
        let pause = (self.terms.rule)(status, headers, machine_time());
        // No time at all is no hint: what failed is not asked again at once.
        let has_hint = pause.as_ref().is_some_and(|pause| !pause.wait.is_zero());
        if let Some(mut pause) = pause {
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
        }
        Facts { status, date, has_hint }
    }

    /// Waits until a call may be made; with a `slot` it counts against the rate.
    async fn go(&self, slot: bool) -> Result<(), ApiError> {
        loop {
            let rate = if slot { self.terms.calls_per_second } else { 0.0 };
            match self.destination.next(rate, self.terms.burst) {
                Go::Now => {}
                Go::After(wait) => tokio::time::sleep(wait).await,
                Go::Blocked(wait, reason) if wait > self.terms.longest_wait => {
                    let wait = format_duration(Duration::from_secs(wait.as_secs().max(1)));
                    let message = format!("{} wants no call for {wait}: {reason}", self.terms.name);
                    return Err(Failure::try_later(message).hint(format!("run it again in {wait}")).into());
                }
                Go::Blocked(wait, reason) => {
                    if wait >= NOTABLE_WAIT {
                        let wait = format_duration(Duration::from_secs(wait.as_secs()));
                        self.output.status(&format!("{} waits {wait}: {reason}", self.base));
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

    fn error(
        &self,
        call: &Call<'_>,
        name: &str,
        problem: Problem,
        status: Option<StatusCode>,
        tries: u32,
    ) -> ApiError {
        let after = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
        let reason = self.without_secrets(call, &problem.reason);
        let message = format!("failed to ask {} for {name}: {reason}{after}", self.terms.name);
        let failure = match problem.kind {
            FailureKind::TryLater => Failure::try_later(message),
            FailureKind::Configuration => Failure::configuration(message),
            _ => Failure::failed(message),
        };
        ApiError { failure, status, code: problem.code, is_oauth: problem.is_oauth }
    }

    /// A server may quote what it was sent.
    fn without_secrets(&self, call: &Call<'_>, text: &str) -> String {
        Redactor::new(call.secrets.iter().map(|secret| secret.expose().to_owned()))
            .redact(&self.redactor.redact(text))
    }

    /// A line for who traces requests (`-vv`).
    fn trace(&self, line: impl FnOnce() -> String) {
        if self.output.is_tracing() {
            self.output.trace(&format!("{}: {}", self.terms.name, line()));
        }
    }
}

/// What is known of an answer beside its body.
struct Facts {
    status: StatusCode,
    date: Option<DateTime<Utc>>,
    /// Whether it said when to call again.
    has_hint: bool,
}

/// The one client of this process: its connections are used again by whoever asks the same host.
fn shared_client() -> Result<Client, Failure> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let client = builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .gzip(true)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| Failure::failed(format!("failed to build an HTTP client: {error}")))?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// The wait that `Retry-After` asks for (RFC 9110 section 10.2.3), in seconds or as a date: the rule of an API that
/// has no other.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Pause> {
    if status.is_success() {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (http_date(text)? - now).to_std().unwrap_or_default(),
    };
    Some(Pause { wait, reason: format!("HTTP {} with Retry-After", status.as_u16()), is_block: false })
}

/// An HTTP date (RFC 9110 section 5.6.7), in the form that servers must send.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// When the server had what it gave, at the latest: of two answers about one record this decides which is newer. A
/// `Date` that is far from our clock is a cache's or a wrong clock's, and one after the call began would let what
/// changed meanwhile count as older.
fn as_of(date: Option<DateTime<Utc>>, asked_at: DateTime<Utc>) -> DateTime<Utc> {
    date.filter(|date| (asked_at - *date).abs() <= CLOCK_TOLERANCE)
        // A date tells seconds: it is of any moment within its own.
        .map_or(asked_at, |date| (date + TimeDelta::milliseconds(999)).min(asked_at))
}

/// The pause before the next try: exponential with full jitter, so that those who failed together do not come back
/// together. `chance` is from 0 to 1.
fn backoff(first: Duration, longest: Duration, tries: u32, chance: f64) -> Duration {
    let most = first.saturating_mul(2_u32.saturating_pow(tries - 1)).min(longest);
    most.mul_f64(chance.clamp(0.0, 1.0))
}

/// What a request without an answer means for another try.
fn unanswered<T>(error: reqwest::Error) -> Try<T> {
    let error = error.without_url();
    if error.is_builder() {
        return Try::Final(Problem {
            kind: FailureKind::Configuration,
            ..Problem::lasting(error.to_string())
        });
    }
    if error.is_timeout() {
        return Try::Again(Problem::passing("no answer in time"));
    }
    match innermost(&error) {
        (cause, true) => Try::Final(Problem::lasting(format!("failed to trust the server: {cause}"))),
        (cause, false) if error.is_connect() => {
            Try::Again(Problem::passing(format!("failed to connect: {cause}")))
        }
        (cause, false) => Try::Again(Problem::passing(format!("the connection broke: {cause}"))),
    }
}

/// Reads an answer to its end and judges it.
async fn read<T>(response: Response, decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>) -> Try<T> {
    let status = response.status();
    let body = match body::read(response, MOST_BODY_BYTES).await {
        Ok(body) => body,
        Err(Cut::TooLong) => {
            let most = MOST_BODY_BYTES / 1024 / 1024;
            return Try::Final(Problem::lasting(format!("the answer is longer than {most} MiB")));
        }
        // The status was heard, and of a refusal it is what counts.
        Err(Cut::Broken(_)) if is_final(status) => Vec::new(),
        Err(Cut::Broken(reason)) => return Try::Again(Problem::passing(reason)),
    };
    if status.is_success() {
        return match decode(&body) {
            Ok(decoded) => Try::Answered(decoded, body.len()),
            // JSON of another shape stays so; anything else may be a proxy's page of this moment.
            Err(error) if error.is_data() => Try::Final(Problem::lasting(format!(
                "the answer is not of the documented shape: {}",
                without_value(&error.to_string())
            ))),
            Err(_) if body.iter().all(u8::is_ascii_whitespace) => {
                Try::Again(Problem::passing("the answer is empty"))
            }
            Err(_) => Try::Again(Problem::passing(match body::beginning(&body) {
                Some(text) => format!("the answer is not JSON but begins with `{text}`"),
                None => format!("the answer is JSON that breaks off or is broken, {} bytes", body.len()),
            })),
        };
    }
    let words = words(&body);
    let said = words.said.map_or_else(String::new, |said| format!(": {said}"));
    let reason = format!("HTTP {}{said}", status.as_u16());
    let problem = Problem { code: words.code, is_oauth: words.is_oauth, ..Problem::passing(reason) };
    if is_final(status) {
        Try::Final(Problem { kind: FailureKind::Failed, ..problem })
    } else {
        Try::Again(problem)
    }
}

/// What serde says of a value that is not as expected, without the value: it may be a person's, or a token.
fn without_value(said: &str) -> String {
    match said.rfind(", expected ") {
        Some(place) if said.starts_with("invalid ") => said[place + 2..].to_owned(),
        _ => said.to_owned(),
    }
}

/// Whether a status says that the same call would fail again.
fn is_final(status: StatusCode) -> bool {
    let may_pass = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    !status.is_success() && !may_pass
}

#[cfg(test)]
mod tests;
