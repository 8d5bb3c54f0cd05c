//! The tokens of malls' accounts: encrypted rows; each refresh token can be used once.
//!
//! A refresh claims the row first, sends the request outside of any transaction, and commits the new pair before it is
//! used. A process that finds the row claimed waits until its version has changed. A claim is short and is extended
//! while its owner lives; an expired one is taken over. If its owner comes back after all, its pair still counts, as
//! long as the row has the version that the pair replaced.

mod refresh;
mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clients::cafe24::oauth::Tokens;
use crate::clients::cafe24::{PLATFORM, authorise_hint};
use crate::config::Config;
use crate::context::Context;
use crate::db::{Db, DbError, FromRow, Problems, Value};
use crate::failure::{self, Failure, one_line};
use crate::mask::Secret;
use crate::sealed::{Binding, Seal};
use crate::shop::malls::Mall;
use crate::values;

pub use refresh::Refresher;
pub use store::TokenStore;

/// The number of attempts to store a new pair if the database refuses it: it is the only copy.
const STORE_TRIES: u32 = 10;
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A row of `api_tokens`. One whose times cannot be read has expired: a new pair replaces it.
#[derive(Debug, Clone, FromRow)]
pub struct TokenRow {
    /// The account it belongs to.
    pub account: String,
    access_token: String,
    refresh_token: String,
    /// When the access token expires.
    pub access_expires_at: DateTime<Utc>,
    /// When the refresh token expires, and with it the authorisation.
    pub refresh_expires_at: DateTime<Utc>,
    /// What the pair may read, separated by commas.
    pub scopes: String,
    /// Grows with every new pair.
    pub version: i64,
    /// When the pair was issued.
    pub issued_at: DateTime<Utc>,
    /// Since when it can no longer be refreshed; `None` while it can.
    pub rejected_at: Option<DateTime<Utc>>,
    /// Why.
    pub rejected_reason: Option<String>,
    /// What cannot be read of it.
    #[row(problems)]
    pub problems: Problems,
}

const COLUMNS: &str = "account, access_token, refresh_token, access_expires_at, refresh_expires_at, scopes, version, \
                       issued_at, rejected_at, rejected_reason";

/// Opens and seals tokens with the key of this configuration.
pub struct Keys {
    current: Seal,
    /// Opens what was sealed before the key was replaced.
    previous: Option<Seal>,
}

impl Keys {
    /// Derived from `BATCHCTL_SECRET_KEY`.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let key = config.secret_key().map_err(|error| {
            Failure::configuration(format!("{error}: the tokens of malls are encrypted with it"))
                .hint(format!(
                    "if there was a key, set that one again in {}: a new one makes the stored tokens unreadable; \
                     only for a first set-up make one with `openssl rand -base64 32`, and keep it",
                    config.variables_file()
                ))
                .retry_once("once the key is set")
        })?;
        Ok(Self { current: Seal::new(key), previous: config.previous_secret_key().map(Seal::new) })
    }

    /// The access token of a row.
    pub fn access_token(&self, row: &TokenRow) -> Result<Secret, Failure> {
        self.open(&row.account, "access_token", &row.access_token)
    }

    /// The refresh token of a row.
    pub fn refresh_token(&self, row: &TokenRow) -> Result<Secret, Failure> {
        self.open(&row.account, "refresh_token", &row.refresh_token)
    }

    fn open(&self, account: &str, column: &str, sealed: &str) -> Result<Secret, Failure> {
        let place = Binding { platform: PLATFORM, account, column };
        let opened = self.current.open(sealed, place);
        let opened = opened.or_else(|error| match &self.previous {
            Some(previous) => previous.open(sealed, place).map_err(|_| error),
            None => Err(error),
        });
        opened.map_err(|error| {
            Failure::configuration(format!(
                "failed to open the tokens of account `{account}` with BATCHCTL_SECRET_KEY: {error}"
            ))
            .hint(format!(
                "set the key they were stored with, or store new ones: batchctl mall token set {account}"
            ))
        })
    }

    fn seal(&self, account: &str, column: &str, token: &Secret) -> Result<String, Failure> {
        let place = Binding { platform: PLATFORM, account, column };
        self.current.seal(token, place).map_err(|error| {
            Failure::failed(format!("failed to encrypt the tokens of account `{account}`: {error}"))
        })
    }
}

/// The row of an account, if there is one.
pub async fn find(db: &mut Db, account: &str) -> anyhow::Result<Option<TokenRow>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE platform = $1 AND account = $2");
    Ok(db.fetch_optional(&sql, values![PLATFORM, account]).await?)
}

/// Stores a pair supplied by a person, replacing any stored one. It may be the only copy: what was exchanged for it is
/// used up.
pub async fn put(
    cx: &Context,
    db: &mut Db,
    keys: &Keys,
    account: &str,
    tokens: &Tokens,
) -> anyhow::Result<()> {
    let access = keys.seal(account, "access_token", &tokens.access_token)?;
    let refresh = keys.seal(account, "refresh_token", &tokens.refresh_token)?;
    store_for_certain(
        cx,
        db,
        account,
        "INSERT INTO api_tokens (platform, account, access_token, refresh_token, access_expires_at,
             refresh_expires_at, scopes, version, issued_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $9)
         ON CONFLICT (platform, account) DO UPDATE SET access_token = excluded.access_token,
             refresh_token = excluded.refresh_token, access_expires_at = excluded.access_expires_at,
             refresh_expires_at = excluded.refresh_expires_at, scopes = excluded.scopes,
             version = api_tokens.version + 1, issued_at = excluded.issued_at, claimed_by = NULL,
             claimed_until = NULL, rejected_at = NULL, rejected_reason = NULL, updated_at = excluded.updated_at",
        values![
            PLATFORM,
            account,
            access,
            refresh,
            tokens.access_expires_at,
            tokens.refresh_expires_at,
            tokens.scopes.join(","),
            tokens.issued_at,
            cx.machine_time()
        ],
    )
    .await
}

/// The failure for an account without tokens.
pub fn missing(account: &str) -> Failure {
    Failure::failed(format!("account `{account}` has no tokens")).hint(authorise_hint(account))
}

/// The failure when Cafe24 has refused to refresh the tokens.
pub fn rejected(account: &str, reason: &str) -> Failure {
    Failure::failed(format!("the tokens of account `{account}` are rejected: {reason}"))
        .hint(authorise_hint(account))
}

/// The error for people who know the mall: they are told to authorise it by its code, not by its account.
pub fn for_mall(error: anyhow::Error, mall: &Mall) -> anyhow::Error {
    if failure::hint(&error) != Some(authorise_hint(mall.account()).as_str()) {
        return error;
    }
    as_failure(&error)
        .hint(authorise_hint(&mall.code))
        .retry_once("once the shop's owner has authorised the app")
        .into()
}

/// Stores the only copy of a pair, over new connections if necessary.
async fn store_for_certain(
    cx: &Context,
    db: &mut Db,
    account: &str,
    sql: &str,
    values: Vec<Value>,
) -> anyhow::Result<()> {
    let mut tries = 1;
    loop {
        match db.execute(sql, values.clone()).await.map_err(anyhow::Error::from) {
            Ok(_) => return Ok(()),
            Err(error) if tries >= STORE_TRIES => {
                return Err(error.context(format!(
                    "failed to store the new tokens of account `{account}`, which has to be authorised again"
                )));
            }
            Err(error) => {
                let cause = one_line(&error);
                cx.output.trace(&format!("failed to store new tokens; trying again: {cause}"));
                tokio::time::sleep(STORE_PAUSE).await;
                if let Ok(fresh) = connect(cx).await {
                    *db = fresh;
                }
            }
        }
        tries += 1;
    }
}

/// A separate connection, for work that outlives the command's own, which has already checked environment and schema.
async fn connect(cx: &Context) -> Result<Db, Failure> {
    Db::connect(cx.config.database_url(), false).await.map_err(|error| as_failure(&error.into()))
}

/// The error with its exit code and hint, for a client to pass on.
fn as_failure(error: &anyhow::Error) -> Failure {
    let failure = error.chain().find_map(|cause| {
        let failure = cause.downcast_ref::<Failure>().cloned();
        let of_database = || Some(Failure::new(cause.downcast_ref::<DbError>()?.kind().into(), ""));
        failure.or_else(of_database)
    });
    let failure = failure.unwrap_or_else(|| Failure::failed(""));
    failure.saying(one_line(error))
}
