//! The single HTTP client of a command, and what it means when a request gets no response.

use std::time::Duration;

use reqwest::Client;

use super::background::Background;
use super::error::{ApiErrorKind, Problem};
use crate::clients::install_tls_provider;
use crate::context::Context;
use crate::failure::{Failure, without_error_numbers};

/// How long an API may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Load balancers close connections that are idle for a minute. One that is just being closed costs an attempt, and
/// leaves it unknown whether a mail was accepted; so ours are closed first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The client, whose connections are reused for the same host.
pub(super) fn of(cx: &Context) -> Result<Background, Failure> {
    cx.once(|| Background::of(build()?))
}

/// TLS uses the crypto provider of the whole program, with certificate checks on, and no redirect is followed with our
/// credentials.
fn build() -> Result<Client, Failure> {
    install_tls_provider();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("batchctl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .gzip(true)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| Failure::failed(format!("failed to build an HTTP client: {error}")))
}

/// What a request without a response means. The text never holds the URL, which may be a credential.
pub(super) fn unanswered(error: reqwest::Error) -> Problem {
    let error = error.without_url();
    if error.is_builder() {
        return Problem::lasting(ApiErrorKind::Unsendable, format!("failed to make a request: {error}"));
    }
    let (cause, is_untrusted) = innermost(&error);
    if is_untrusted {
        return Problem::lasting(ApiErrorKind::Untrusted, format!("failed to trust the server: {cause}"));
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => Problem::passing(ApiErrorKind::Unreachable, "failed to connect: no answer in time"),
        (true, false) => Problem::passing(ApiErrorKind::Unreachable, format!("failed to connect: {cause}")),
        (false, true) => Problem::passing(ApiErrorKind::Unheard, "no answer in time"),
        (false, false) => Problem::passing(
            ApiErrorKind::Unheard,
            format!("the connection broke before the answer: {cause}"),
        ),
    }
}

/// The innermost cause, which is the most specific, and whether it is about a certificate.
fn innermost(error: &reqwest::Error) -> (String, bool) {
    let mut cause: &dyn std::error::Error = error;
    loop {
        // A TLS error is wrapped in an I/O error, which does not report it as a source.
        let inside = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .map(|inside| inside as &(dyn std::error::Error + 'static));
        let Some(next) = inside.or_else(|| cause.source()) else { break };
        cause = next;
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref::<rustls::Error>() {
            return (cause.to_string(), true);
        }
    }
    (without_error_numbers(&cause.to_string()).into_owned(), false)
}
