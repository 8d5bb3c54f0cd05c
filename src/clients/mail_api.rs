//! What the mail services with an HTTP API share: one question, one bounded answer, and the difference between a
//! request that never left and one whose answer was never heard.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::{Host, Url};

use super::http::innermost;

use crate::failure::Failure;
use crate::mail::delivery::{Outcome, Stop};

/// How long a service may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take, connection and answer together, beside the time that its body needs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A body gets a second more for each of these many bytes: a slow line is no silent server.
const BYTES_PER_SECOND: u64 = 256 * 1024;
/// Load balancers close what is idle for a minute; a request on a connection that is just being closed is a mail
/// of unknown fate, so ours are closed first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// An answer says its piece in a few lines; more of it is not read.
const READ_BYTES: usize = 64 * 1024;
/// How much of an answer is quoted.
const QUOTED_CHARACTERS: usize = 300;

/// An answer, with the beginning of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the body ended as it should, and within what is read.
    pub(super) is_whole: bool,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The request did not leave: nothing was sent.
    Unsent(Stop),
    /// It may have been read, or not.
    Unheard(String),
}

impl Unanswered {
    /// What it means for the mail in hand.
    pub(super) fn outcome(self) -> Result<Outcome, Stop> {
        match self {
            Self::Unsent(stop) => Err(stop),
            Self::Unheard(reply) => Ok(Outcome::Unknown { reply }),
        }
    }
}

/// Builds a client for many requests side by side. Certificates are checked; nothing is redirected.
pub(super) fn client() -> Result<Client, Failure> {
    // A second call finds the provider installed, which is all it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("batchctl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::failed(format!("failed to build an HTTP client: {error}")))
}

/// The URL of `path` at a service. Mails and keys travel encrypted, but to a stand-in on this machine.
pub(super) fn url(key: &str, endpoint: &str, path: &str) -> Result<Url, Failure> {
    let wrong = |problem: &str| Failure::configuration(format!("`{key}`: {problem}"));
    let url = Url::parse(endpoint).map_err(|_| wrong("not a URL: write https://HOST"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Err(wrong("mails and keys would travel in the open: write https://HOST"));
    }
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return Err(wrong("write https://HOST without anything behind it"));
    }
    url.join(path).map_err(|_| wrong("not a URL: write https://HOST"))
}

/// Sends a request whose body is of this length.
pub(super) async fn ask(request: RequestBuilder, length: usize) -> Result<Answer, Unanswered> {
    let body_time = u64::try_from(length).unwrap_or(u64::MAX) / BYTES_PER_SECOND;
    let request = request.timeout(REQUEST_TIMEOUT + Duration::from_secs(body_time));
    let response = request.send().await.map_err(unanswered)?;
    Ok(read(response).await)
}

fn unanswered(error: reqwest::Error) -> Unanswered {
    let error = error.without_url();
    if error.is_builder() {
        // A key that no header can carry; the error does not repeat it.
        return Unanswered::Unsent(Stop::Configuration(format!("failed to make a request: {error}")));
    }
    if error.is_connect() {
        return Unanswered::Unsent(match innermost(&error) {
            _ if error.is_timeout() => Stop::Unreachable("failed to connect: no answer in time".to_owned()),
            (cause, true) => Stop::Refused(format!("failed to trust the server: {cause}")),
            (cause, false) => Stop::Unreachable(format!("failed to connect: {cause}")),
        });
    }
    Unanswered::Unheard(if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        format!("the connection broke before the answer: {}", innermost(&error).0)
    })
}

async fn read(mut response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    let is_whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(READ_BYTES - body.len())]),
            Ok(None) => break true,
            // The status was heard, and it is what counts.
            Err(_) => break false,
        }
        if body.len() == READ_BYTES {
            break false;
        }
    };
    Answer { status, headers, body, is_whole }
}

impl Answer {
    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status and these words, or without them the body's beginning, on one line.
    pub(super) fn reply(&self, words: Option<&str>) -> String {
        let code = self.status.as_u16();
        let body = String::from_utf8_lossy(&self.body);
        let text = one_line(words.unwrap_or(&body));
        if text.is_empty() { format!("HTTP {code}") } else { format!("HTTP {code}: {text}") }
    }
}

/// A text on one line, shortened.
fn one_line(text: &str) -> String {
    let text = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    text.collect::<Vec<_>>().join(" ").chars().take(QUOTED_CHARACTERS).collect()
}

/// An address as the services take it: without a name, its domain in ASCII. `None` for what no service can reach:
/// none of them speaks SMTPUTF8, so a local part in national characters has no way out.
pub(super) fn ascii_address(address: &str) -> Option<String> {
    let bare = address.trim_end().strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    let address = bare.map_or(address, |(_, bare)| bare);
    let (local, domain) = address.rsplit_once('@')?;
    if !local.is_ascii() {
        return None;
    }
    if domain.is_ascii() {
        return Some(address.to_owned());
    }
    match Host::parse(domain) {
        Ok(Host::Domain(domain)) => Some(format!("{local}@{domain}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_encrypted_unless_it_is_on_this_machine() {
        let url = |endpoint| url("mail.ses.endpoint", endpoint, "/v2/x").map(|url| url.to_string());
        assert_eq!(url("https://email.example.jp").unwrap(), "https://email.example.jp/v2/x");
        assert_eq!(url("https://email.example.jp/").unwrap(), "https://email.example.jp/v2/x");
        for local in ["http://127.0.0.1:8025", "http://localhost:8025", "http://[::1]:8025"] {
            assert_eq!(url(local).unwrap(), format!("{local}/v2/x"));
        }
        for wrong in ["email.example.jp", "http://email.example.jp", "ftp://localhost", "https://"] {
            let failure = url(wrong).unwrap_err();
            assert_eq!(failure.kind, crate::failure::FailureKind::Configuration);
            assert!(failure.message.starts_with("`mail.ses.endpoint`: "), "{}", failure.message);
        }
        for wrong in ["https://a.jp/v2", "https://a.jp?x=1", "https://key@a.jp"] {
            assert!(url(wrong).unwrap_err().message.contains("without anything behind it"), "{wrong}");
        }
    }

    #[test]
    fn a_national_domain_becomes_ascii_and_a_national_local_part_has_no_way_out() {
        assert_eq!(ascii_address("a@example.jp").as_deref(), Some("a@example.jp"));
        assert_eq!(ascii_address("山田 <a@example.jp>").as_deref(), Some("a@example.jp"));
        assert_eq!(ascii_address("a@例え.jp").as_deref(), Some("a@xn--r8jz45g.jp"));
        assert_eq!(ascii_address("山田@example.jp"), None);
    }

    #[test]
    fn a_reply_is_one_short_line() {
        let body = format!("<html>\r\n  gone {}", "x".repeat(1000)).into_bytes();
        let answer =
            Answer { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body, is_whole: true };
        let reply = answer.reply(None);
        assert!(reply.starts_with("HTTP 404: <html> gone xxx") && reply.len() < 350, "{reply}");
        assert_eq!(answer.reply(Some("NotFound")), "HTTP 404: NotFound");
        assert_eq!(answer.reply(Some("")), "HTTP 404");
    }
}
