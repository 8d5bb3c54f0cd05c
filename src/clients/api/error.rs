//! Why a call failed: the single error type of all outside APIs.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use crate::failure::{Failure, FailureKind};

/// How far a call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// The request could not be made: a setting is wrong.
    Unsendable,
    /// There was no connection: the request did not leave.
    Unreachable,
    /// The server's certificate is not to be trusted: the request did not leave.
    Untrusted,
    /// The API accepts no calls now; if a call was made, its response said so.
    Throttled,
    /// The request left, and its response was not received, or not completely: it may have been carried out.
    Unheard,
    /// The answer was an error.
    Rejected,
    /// The status was a success, but the body is not a response of this API.
    Unreadable,
    /// The fault is on our side, such as the database that keeps the API's tokens; see the failure.
    Ours,
}

/// Why a call failed, after all its attempts. The text names the API, the call without its values, and the reason; no
/// secret, no URL that is a credential, and one short line of the response.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    /// What it means to the caller of the program: its exit code and what to do about it.
    failure: Failure,
    problem: Problem,
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.failure.fmt(formatter)
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.failure)
    }
}

impl ApiError {
    /// The error of `sentence`, which names the call and ends with the problem's reason.
    pub(super) fn new(sentence: String, problem: Problem) -> Self {
        let failure = match (problem.kind, problem.may_pass) {
            (_, true) => Failure::try_later(sentence),
            (ApiErrorKind::Unsendable, false) => Failure::configuration(sentence),
            (_, false) => Failure::failed(sentence),
        };
        Self(Box::new(Details { failure, problem }))
    }

    /// How far the call got.
    pub fn kind(&self) -> ApiErrorKind {
        self.0.problem.kind
    }

    /// What it means to the caller of the program.
    pub fn failure_kind(&self) -> FailureKind {
        self.0.failure.kind
    }

    /// The reason alone, for a sentence that names the API itself: `HTTP 429: rate limited`.
    pub fn reason(&self) -> &str {
        &self.0.problem.reason
    }

    /// The status of the last answer; `None` if there was none.
    pub fn status(&self) -> Option<u16> {
        self.0.problem.status.map(|status| status.as_u16())
    }

    /// How long the API asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.problem.retry_after
    }

    /// The API's own error code, such as OAuth's `invalid_grant`, if the response had one.
    pub fn code(&self) -> Option<&str> {
        self.0.problem.code.as_deref()
    }

    /// The code of an error in OAuth's own shape, `{"error": "…"}` (RFC 6749 section 5.2): no proxy between us and the
    /// server answers like that.
    pub fn oauth_error(&self) -> Option<&str> {
        self.code().filter(|_| self.0.problem.is_oauth)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.failure = self.0.failure.hint(hint);
        self
    }

    /// Says what failed in general, without the call and the times.
    #[must_use]
    pub fn symptom(mut self, symptom: impl Into<String>) -> Self {
        self.0.failure = self.0.failure.symptom(symptom);
        self
    }

    /// Says when asking again helps, as the end of a sentence.
    #[must_use]
    pub fn retry_once(mut self, condition: impl Into<String>) -> Self {
        self.0.failure = self.0.failure.retry_once(condition);
        self
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        error.0.failure
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Configuration => ApiErrorKind::Unsendable,
            _ => ApiErrorKind::Ours,
        };
        let problem = Problem::lasting(kind, failure.message.clone());
        Self(Box::new(Details { failure, problem }))
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) kind: ApiErrorKind,
    pub(super) reason: String,
    pub(super) status: Option<StatusCode>,
    pub(super) code: Option<String>,
    pub(super) is_oauth: bool,
    pub(super) retry_after: Option<Duration>,
    /// Whether the other side, or the network, is at fault: later it may work.
    pub(super) may_pass: bool,
}

impl Problem {
    pub(super) fn passing(kind: ApiErrorKind, reason: impl Into<String>) -> Self {
        Self { may_pass: true, ..Self::lasting(kind, reason) }
    }

    pub(super) fn lasting(kind: ApiErrorKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            status: None,
            code: None,
            is_oauth: false,
            retry_after: None,
            may_pass: false,
        }
    }
}
