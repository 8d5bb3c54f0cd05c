//! What all HTTP clients share: one way to build a client, and what an answer means for another try.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};

/// How long one request may take, connection and answer together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// How much of an error's body is quoted.
const QUOTED_CHARACTERS: usize = 200;

/// Why a message was not delivered. The text never holds the URL, which is the credential of a webhook.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// What was wrong, in one line.
    pub message: String,
    /// Whether trying again cannot help before somebody changes something.
    pub is_permanent: bool,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
}

/// What every client of ours is: TLS goes through the one provider of the tree, with certificate checks on, and no
/// redirect is followed with our credentials.
pub(super) fn builder() -> reqwest::ClientBuilder {
    // A second call finds the provider installed, which is all it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("batchctl/", env!("CARGO_PKG_VERSION")))
}

/// Builds a client for short messages.
pub fn client() -> reqwest::Result<reqwest::Client> {
    builder().timeout(REQUEST_TIMEOUT).build()
}

/// The last cause, which says most, and whether it is about a certificate.
pub(super) fn innermost(error: &reqwest::Error) -> (String, bool) {
    let mut cause: &dyn std::error::Error = error;
    loop {
        // A TLS error stands inside an I/O error, which does not count it among its sources.
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
    (cause.to_string(), false)
}

impl DeliveryError {
    /// A request that got no answer.
    pub fn unanswered(error: reqwest::Error) -> Self {
        let is_permanent = error.is_builder();
        let what = if error.is_timeout() {
            "no answer in time".to_owned()
        } else if error.is_connect() {
            "failed to connect".to_owned()
        } else if error.is_builder() {
            "the URL is not valid".to_owned()
        } else {
            error.without_url().to_string()
        };
        Self { message: what, is_permanent, retry_after: None }
    }

    /// An answer that was not the one hoped for. 429 and 5xx are worth another try, other 4xx are not.
    pub async fn refused(response: Response) -> Self {
        let status = response.status();
        let retry_after = retry_after(&response);
        let quoted = beginning_of(response).await;
        Self {
            message: format!("HTTP {}: {quoted}", status.as_u16()),
            is_permanent: status.is_client_error()
                && status != StatusCode::TOO_MANY_REQUESTS
                && status != StatusCode::REQUEST_TIMEOUT,
            retry_after,
        }
    }
}

/// The first characters of a body on one line. No more of it is read: an error may be a page without an end.
async fn beginning_of(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < QUOTED_CHARACTERS * 4
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(QUOTED_CHARACTERS * 4)]);
    }
    let text = String::from_utf8_lossy(&bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED_CHARACTERS).collect()
}

/// The delta-seconds form of Retry-After (RFC 9110 section 10.2.3), the one that chat services send.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
