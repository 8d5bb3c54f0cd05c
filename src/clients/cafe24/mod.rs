//! Cafe24's Admin API (Korea), limited to reading a mall's data: lists, counts and single records.

pub mod korean_time;
pub mod oauth;
mod page;
pub mod records;
mod throttle;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

pub use super::api::ApiError;
use super::api::{Address, Answered, Api, Blocks, Call, Decoded, MAX_BACKOFF, MAX_PAGE, Terms};
use crate::backoff::Backoff;
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Secret;
use crate::wording::command;

/// Its name for people, and the name under which its rows are stored.
pub const PLATFORM: &str = "cafe24";
const NAME: &str = "Cafe24";
/// The path of the calls that read a mall's data.
const ADMIN: &str = "api/v2/admin";
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-cafe24-api-version");
/// Calls at once before the rate applies: with the default of eight a second, no second has more than ten.
const BURST: u32 = 2;

/// How often a rejected token is replaced for one call.
const MAX_REPLACED: u32 = 2;

/// What is known about an account beyond one process: its token, and how long it is blocked.
pub trait AccountState: Blocks {
    /// The access token to use now; refreshed first if it is about to expire.
    fn access_token(&self) -> BoxFuture<'_, Result<Secret, Failure>>;

    /// The token to use after Cafe24 has rejected this one: refreshed by us, or by another process meanwhile.
    fn after_rejection<'a>(&'a self, rejected: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>>;
}

/// One account's API. Its throttle is shared by all values for the same account in this process.
#[derive(Clone)]
pub struct Cafe24 {
    api: Api,
    account: String,
    version: HeaderValue,
    state: Arc<dyn AccountState>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Answer {
    /// Its records, not decoded: a bad one does not fail its page.
    pub records: Vec<Box<RawValue>>,
    /// A time not later than the server's read of them; see [`Answered::as_of`].
    pub as_of: DateTime<Utc>,
}

impl Cafe24 {
    /// The API of an account as `[cafe24]` describes it.
    pub fn new(cx: &Context, account: &str, state: Arc<dyn AccountState>) -> Result<Self, Failure> {
        let settings = cx.config.cafe24();
        let blocks: Arc<dyn Blocks> = Arc::clone(&state) as Arc<dyn Blocks>;
        Ok(Self {
            api: api(cx, NAME, account)?.with_blocks(blocks),
            account: account.to_owned(),
            version: HeaderValue::from_str(settings.api_version()).map_err(|_| {
                Failure::configuration("`cafe24.api_version` is not a version: write one like 2026-03-01")
            })?,
            state,
        })
    }

    /// `GET /api/v2/admin/{path}`: the records of the list under `key`.
    pub async fn list(&self, path: &str, key: &str, query: &[(&str, String)]) -> Result<Answer, ApiError> {
        let decode = |body: &[u8]| {
            let value = page::list(body, key)?;
            Ok(Decoded { rows: value.len(), value })
        };
        let answered = self.get(&format!("{ADMIN}/{path}"), query, decode).await?;
        Ok(Answer { records: answered.value, as_of: answered.as_of })
    }

    /// `GET /api/v2/admin/{path}/count`.
    pub async fn count(&self, path: &str, query: &[(&str, String)]) -> Result<u64, ApiError> {
        let decode = |body: &[u8]| Ok(Decoded { value: page::count(body)?, rows: 1 });
        Ok(self.get(&format!("{ADMIN}/{path}/count"), query, decode).await?.value)
    }

    /// `GET /api/v2/admin/{path}`: the record under `key`; `None` if there is none (404).
    pub async fn one(
        &self,
        path: &str,
        key: &str,
        query: &[(&str, String)],
    ) -> Result<Option<Answered<Box<RawValue>>>, ApiError> {
        let decode = |body: &[u8]| {
            let value = page::one(body, key)?;
            Ok(Decoded { rows: usize::from(value.is_some()), value })
        };
        match self.get(&format!("{ADMIN}/{path}"), query, decode).await {
            Ok(Answered { value, as_of }) => Ok(value.map(|value| Answered { value, as_of })),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks with the account's token, and again with another one if Cafe24 rejects it: the second one too may have been
    /// replaced by another process before it arrived.
    async fn get<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Answered<T>, ApiError> {
        // The token comes last: it may expire while a block is waited out.
        self.api.wait_out_block().await?;
        let mut token = self.state.access_token().await?;
        let mut answered = self.get_with(path, query, &token, &decode).await;
        for replaced in 0..MAX_REPLACED {
            if !answered.as_ref().is_err_and(|error| is_of_token(error, replaced)) {
                break;
            }
            token = self.state.after_rejection(&token).await?;
            answered = self.get_with(path, query, &token, &decode).await;
        }
        answered.map_err(|error| match error.status() {
            Some(401 | 403) => error.hint(authorise_hint(&self.account)),
            _ => error,
        })
    }

    async fn get_with<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        token: &Secret,
        decode: impl Fn(&[u8]) -> serde_json::Result<Decoded<T>>,
    ) -> Result<Answered<T>, ApiError> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
            Failure::failed(format!(
                "the access token of account `{}` is not a valid header value",
                self.account
            ))
            .hint(authorise_hint(&self.account))
        })?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, bearer),
            // Required on a GET too: anything else is answered with 400.
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (VERSION_HEADER, self.version.clone()),
        ]);
        self.api.send(Call::get(path, query).headers(headers).secret(token), decode).await
    }
}

/// Whether another token may be the answer to an error, after so many. A 403 that is not about a scope is what an app gets
/// that was removed: a refresh tells, and is refused then, which every other command has to know.
fn is_of_token(error: &ApiError, replaced: u32) -> bool {
    match error.status() {
        Some(401) => true,
        Some(403) => replaced == 0 && !error.to_string().to_lowercase().contains("scope"),
        _ => false,
    }
}

/// What to do when an account's authorisation is gone.
pub fn authorise_hint(account: &str) -> String {
    format!("let the shop's owner authorise the app: {}", command(&["mall", "token", "authorize", account]))
}

/// Whether it can be a mall's id at Cafe24: a label of a host name.
pub fn is_account(account: &str) -> bool {
    (1..=63).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The account's address and limits.
fn api(cx: &Context, name: &'static str, account: &str) -> Result<Api, Failure> {
    // It becomes part of the name of the host that gets the tokens.
    if !is_account(account) {
        return Err(Failure::configuration(format!("`{account}` is not an account of Cafe24"))
            .hint("give the mall its id at Cafe24: batchctl mall add CODE --account ID"));
    }
    let settings = cx.config.cafe24();
    let terms = Terms {
        name,
        tries: settings.tries(),
        backoff: Backoff::doubling(settings.backoff(), MAX_BACKOFF),
        request_timeout: settings.request_timeout(),
        longest_wait: settings.longest_wait(),
        longest_answer: MAX_PAGE,
        calls_per_second: settings.calls_per_second(),
        burst: BURST,
        rule: throttle::rule,
    };
    Api::new(cx, Address::new("cafe24.base_url", &settings.base_url(account))?, terms)
}

#[cfg(test)]
mod tests;
