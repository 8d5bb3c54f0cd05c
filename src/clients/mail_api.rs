//! What the mail services with an HTTP API share: their limits, what a missing response means for the current mail,
//! and addresses as they accept them.

use std::time::Duration;

use url::Host;

use super::api::{ApiError, ApiErrorKind, Terms};
use crate::mail::delivery::{Outcome, Stop};

/// How long one request may take, including the connection and the response but not sending its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

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
