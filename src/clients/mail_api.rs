//! What the mail services with an HTTP API share: their limits, what a missing response means for the current mail,
//! and addresses as they accept them.

use std::time::Duration;

use chrono::DateTime;
use url::Host;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::api::{Answer, Api, ApiError, ApiErrorKind, Terms, is_refused_login, refused_login, retry_after};
use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};

/// How long one request may take, including the connection and the response but not sending its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A longer wait than this is not believed.
const LONGEST_STATED_WAIT: Duration = Duration::from_hours(24);

/// One request per mail: the queue decides about another attempt, and about the pace.
pub(super) const fn terms(name: &'static str) -> Terms {
    Terms::once(name, REQUEST_TIMEOUT)
}

/// What a missing response means for the current mail: it did not leave, or its outcome is unknown.
pub(super) fn unanswered(error: &ApiError) -> Result<Outcome, Stop> {
    let reason = error.reason().to_owned();
    match error.kind() {
        ApiErrorKind::Unsendable => Err(Stop::Configuration(reason)),
        ApiErrorKind::Untrusted => Err(Stop::Refused(reason)),
        ApiErrorKind::Unreachable | ApiErrorKind::Throttled | ApiErrorKind::Ours => {
            Err(Stop::Unreachable(reason))
        }
        ApiErrorKind::Unheard | ApiErrorKind::Rejected | ApiErrorKind::Unreadable => {
            Ok(Outcome::Unknown { reply: reason })
        }
    }
}

/// What an error means that is a fault of the service (5xx), or that the service did not sign with its own words: a page
/// of a proxy, a firewall or a load balancer, which says little about the mail. `endpoint` is the setting of the service's
/// address.
pub(super) fn unsaid(
    service: &str,
    endpoint: &str,
    status: StatusCode,
    is_signed: bool,
    reply: String,
    wait: Option<Duration>,
) -> Result<Outcome, Stop> {
    let reply = if is_refused_login(status) { refused_login(status, "", &[]) } else { reply };
    let foreign = || format!("the answer did not come from {service}: {reply}");
    match status {
        _ if is_signed => Ok(Outcome::SlowDown { reply, wait }),
        // A gateway that did not get the service's answer, or not in time: the request may have been carried out. The
        // last five are Cloudflare's.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Ok(Outcome::Unknown { reply: foreign() }),
        _ if (520..=524).contains(&status.as_u16()) => Ok(Outcome::Unknown { reply: foreign() }),
        StatusCode::TOO_MANY_REQUESTS => Ok(Outcome::SlowDown { reply, wait }),
        _ if status.is_server_error() => Ok(Outcome::SlowDown { reply, wait }),
        StatusCode::REQUEST_TIMEOUT => Ok(Outcome::Deferred { reply, because: Deferral::Unsaid }),
        StatusCode::UNAUTHORIZED => Err(Stop::Credentials(reply)),
        // Whether it is this mail or every mail is seen from the next ones.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Ok(Outcome::Rejected { reply: foreign(), because: Rejection::Policy })
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Stop::Configuration(format!("`{endpoint}`: {reply}")))
        }
        _ => Err(Stop::Refused(foreign())),
    }
}

/// Whether an error is about how much the account may send, and not about who may.
pub(super) fn is_about_quota(message: &str) -> bool {
    let message = message.to_lowercase();
    ["credits exceeded", "quota", "limit exceeded", "exceeded the limit", "exceeded your"]
        .iter()
        .any(|words| message.contains(words))
}

/// What is said of an account that may send no more. Services answer it like a wrong key, with whatever text.
pub(super) fn quota_spent(status: StatusCode) -> String {
    format!("HTTP {}: the account may send no more for now", status.as_u16())
}

/// How long a response asks us to wait: by `Retry-After`, or until a second of the Unix clock in `X-RateLimit-Reset`.
pub(super) fn stated_wait(answer: &Answer) -> Option<Duration> {
    let now = Api::machine_time();
    let after = answer.header(RETRY_AFTER.as_str());
    let after = after.and_then(|_| retry_after(answer.status, &answer.headers, now)).map(|pause| pause.wait);
    let reset = answer.header("X-RateLimit-Reset").and_then(|text| text.trim().parse().ok());
    let reset = reset.and_then(|second| DateTime::from_timestamp(second, 0));
    let reset = reset.and_then(|reset| (reset - now).to_std().ok());
    // A wrong clock, or a number that is no time, must not close the service for ever.
    after.or(reset).map(|wait| wait.min(LONGEST_STATED_WAIT))
}

/// An address as the services accept it: without a name, its domain in ASCII. `None` for one that no service can
/// reach: none of them supports SMTPUTF8, so a local part with non-ASCII characters cannot be sent.
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
    fn a_national_domain_becomes_ascii_and_a_national_local_part_has_no_way_out() {
        assert_eq!(ascii_address("a@example.jp").as_deref(), Some("a@example.jp"));
        assert_eq!(ascii_address("山田 <a@example.jp>").as_deref(), Some("a@example.jp"));
        assert_eq!(ascii_address("a@例え.jp").as_deref(), Some("a@xn--r8jz45g.jp"));
        assert_eq!(ascii_address("山田@example.jp"), None);
    }
}
