//! The tokens of malls' accounts: encrypted rows, of which each refresh token is used once.
//!
//! Who refreshes claims the row first, asks outside of any transaction, and commits the new pair before it is used.
//! Who finds the row claimed waits until its version has changed. A claim is short and made longer while its owner
//! lives; one that ran out is taken over. If its owner comes back after all, its pair still counts, as long as the row
//! has the version that the pair replaced.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;

use crate::clients::api::Blocks;
use crate::clients::cafe24::oauth::{LONGEST_ASKING, Oauth, OauthError, Tokens};
use crate::clients::cafe24::{AccountState, PLATFORM, authorise_hint};
use crate::clock::machine_time;
use crate::config::Config;
use crate::context::Context;
use crate::db::{Db, FromRow, Value};
use crate::failure::{self, Failure, FailureKind, one_line};
use crate::mask::Secret;
use crate::output::Output;
use crate::runner::ExitCode;
use crate::sealed::{Place, Seal};
use crate::values;
use crate::wording::counted;

/// An access token that ends sooner is replaced before it is used: a call with its waits may take as long.
const LEEWAY: TimeDelta = TimeDelta::minutes(2);
/// How long the row stays claimed behind the last sign of life, which is how long a killed process keeps others waiting.
const CLAIM: TimeDelta = TimeDelta::seconds(10);
/// How often it is claimed anew while the answer is awaited.
const CLAIM_AGAIN: Duration = Duration::from_secs(2);
/// How often a waiting process looks whether the other one is through.
const POLL: Duration = Duration::from_millis(100);
/// How long it waits at the most: some claims, one after the other.
const PATIENCE: Duration = Duration::from_mins(4);
/// How often a new pair is stored again if the database does not take it: it is the only copy.
const STORE_TRIES: u32 = 10;
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a process that ends waits for its refreshes: as long as the tries of one take, and some to store it.
const LONGEST_END: Duration = LONGEST_ASKING.saturating_add(STORE_PAUSE.saturating_mul(STORE_TRIES));

/// The refreshes of this process that are under way, from the claim to the stored pair.
static UNDER_WAY: LazyLock<watch::Sender<UnderWay>> = LazyLock::new(watch::Sender::default);

#[derive(Debug, Default)]
struct UnderWay {
    count: usize,
    /// The process ends: no further one begins.
    is_closed: bool,
}

/// One of them.
struct Refresh(());

impl Refresh {
    /// `None` when the process ends.
    fn begin() -> Option<Self> {
        let has_begun = UNDER_WAY.send_if_modified(|under_way| {
            under_way.count += usize::from(!under_way.is_closed);
            !under_way.is_closed
        });
        has_begun.then_some(Self(()))
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        UNDER_WAY.send_modify(|under_way| under_way.count -= 1);
    }
}

/// Waits until the refreshes that are under way have stored what they got, for who ends the process: a stop signal or
/// a deadline ends a run, but not what its run began here. No further one begins.
pub async fn finish_refreshes(output: &Output) {
    UNDER_WAY.send_modify(|under_way| under_way.is_closed = true);
    let mut under_way = UNDER_WAY.subscribe();
    let count = under_way.borrow().count;
    if count == 0 {
        return;
    }
    let pairs = counted(count as u64, "new pair of tokens", "new pairs of tokens");
    output.status(&format!("Waiting for {pairs}; a second signal loses them"));
    let finished = under_way.wait_for(|under_way| under_way.count == 0);
    if tokio::time::timeout(LONGEST_END, finished).await.is_err() {
        output.warn("ended while tokens were being refreshed: their malls may have to be authorised again");
    }
}

/// A row of `api_tokens`.
#[derive(Debug, Clone, FromRow)]
pub struct TokenRow {
    /// The account it belongs to.
    pub account: String,
    access_token: String,
    refresh_token: String,
    /// When the access token ends.
    pub access_expires_at: DateTime<Utc>,
    /// When the refresh token ends, and with it the authorisation.
    pub refresh_expires_at: DateTime<Utc>,
    /// What the pair may read, with commas between.
    pub scopes: String,
    /// Grows with every new pair.
    pub version: i64,
    /// When the pair was made.
    pub issued_at: DateTime<Utc>,
    /// Since when nobody can refresh it.
    pub rejected_at: Option<DateTime<Utc>>,
    /// Why.
    pub rejected_reason: Option<String>,
}

const COLUMNS: &str = "account, access_token, refresh_token, access_expires_at, refresh_expires_at, scopes, version, \
                       issued_at, rejected_at, rejected_reason";

/// Opens and seals tokens with the key of this configuration.
pub struct Keys(Seal);

impl Keys {
    /// Made of `BATCHCTL_SECRET_KEY`.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let key = config.secret_key().map_err(|error| {
            Failure::configuration(format!("{error}: the tokens of malls are encrypted with it")).hint(
                "make one with `openssl rand -base64 32`, and keep it: without it the tokens cannot be read",
            )
        })?;
        Ok(Self(Seal::new(key)))
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
        self.0.open(sealed, Place { platform: PLATFORM, account, column }).map_err(|error| {
            Failure::configuration(format!(
                "failed to open the tokens of account `{account}` with BATCHCTL_SECRET_KEY: {error}"
            ))
            .hint(format!(
                "set the key they were stored with, or store new ones: batchctl mall token set {account}"
            ))
        })
    }

    fn seal(&self, account: &str, column: &str, token: &Secret) -> Result<String, Failure> {
        let place = Place { platform: PLATFORM, account, column };
        self.0.seal(token, place).map_err(|error| {
            Failure::failed(format!("failed to encrypt the tokens of account `{account}`: {error}"))
        })
    }
}

/// The row of an account, if there is one.
pub async fn find(db: &mut Db, account: &str) -> anyhow::Result<Option<TokenRow>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE platform = $1 AND account = $2");
    Ok(db.fetch_optional(&sql, values![PLATFORM, account]).await?)
}

/// Stores a pair that a person brought, in place of whatever is there. It may be the only copy: what was exchanged for
/// it is used up.
pub async fn put(
    cx: &Context,
    db: &mut Db,
    keys: &Keys,
    account: &str,
    tokens: &Tokens,
) -> anyhow::Result<()> {
    let access = keys.seal(account, "access_token", &tokens.access_token)?;
    let refresh = keys.seal(account, "refresh_token", &tokens.refresh_token)?;
    let shelf = Shelf { config: &cx.config, output: &cx.output, account };
    shelf
        .store_for_certain(
            db,
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
            machine_time()
        ],
    )
    .await
}

/// What it means that an account has no tokens.
pub fn missing(account: &str) -> Failure {
    Failure::failed(format!("account `{account}` has no tokens")).hint(authorise_hint(account))
}

/// What it means that Cafe24 refused to refresh them.
pub fn rejected(account: &str, reason: &str) -> Failure {
    Failure::failed(format!("the tokens of account `{account}` are rejected: {reason}"))
        .hint(authorise_hint(account))
}

/// Where an account's pair is stored.
#[derive(Clone, Copy)]
struct Shelf<'a> {
    config: &'a Config,
    output: &'a Output,
    account: &'a str,
}

impl Shelf<'_> {
    /// Stores the only copy of a pair, if need be over new connections.
    async fn store_for_certain(self, db: &mut Db, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
        let mut tries = 1;
        loop {
            match db.execute(sql, values.clone()).await.map_err(anyhow::Error::from) {
                Ok(_) => return Ok(()),
                Err(error) if tries >= STORE_TRIES => {
                    return Err(error.context(format!(
                        "failed to store the new tokens of account `{}`, which has to be authorised again",
                        self.account
                    )));
                }
                Err(error) => {
                    let cause = one_line(&error);
                    self.output.trace(&format!("failed to store new tokens, tries again: {cause}"));
                    tokio::time::sleep(STORE_PAUSE).await;
                    if let Ok(fresh) = connect(self.config).await {
                        *db = fresh;
                    }
                }
            }
            tries += 1;
        }
    }
}

/// Gets a new pair in place of the one of this version, or waits for the process that is getting it.
pub struct Refresher {
    config: Config,
    output: Output,
    keys: Keys,
    account: String,
}

impl Refresher {
    /// One for an account.
    pub fn new(config: &Config, output: &Output, account: &str) -> Result<Self, Failure> {
        Ok(Self {
            config: config.clone(),
            output: output.clone(),
            keys: Keys::new(config)?,
            account: account.to_owned(),
        })
    }

    /// Gives the row that stands in the place of `version`. It goes on in a task of its own if nobody waits for it any
    /// more: an answer that is not stored is a mall to be authorised again by hand. The process waits for it at its end
    /// ([`finish_refreshes`]); only a second signal, or a kill, loses it.
    pub async fn replace(self, version: i64) -> Result<TokenRow, Failure> {
        let account = self.account.clone();
        let task = tokio::spawn(async move {
            let mut db = connect(&self.config).await?;
            let replaced = self.replace_over(&mut db, version).await.map_err(|error| as_failure(&error));
            if !db.is_in_transaction() {
                db.close().await;
            }
            replaced
        });
        task.await.unwrap_or_else(|_| {
            Err(Failure::failed(format!("failed to refresh the tokens of account `{account}`: a defect")))
        })
    }

    async fn replace_over(&self, db: &mut Db, version: i64) -> anyhow::Result<TokenRow> {
        // Two stores of one process are as far apart as two processes.
        let claimant = format!("{}:{:016x}", std::process::id(), fastrand::u64(..));
        let waiting_since = Instant::now();
        let mut is_waiting = false;
        loop {
            let row = find(db, &self.account).await?.ok_or_else(|| missing(&self.account))?;
            if row.version != version {
                return Ok(row);
            }
            if row.rejected_at.is_some() {
                return Err(
                    rejected(&self.account, row.rejected_reason.as_deref().unwrap_or_default()).into()
                );
            }
            let Some(refresh) = Refresh::begin() else {
                return Err(Failure::try_later("no tokens are refreshed while the process ends").into());
            };
            if self.claim(db, version, &claimant).await?
                && let Some(row) = self.refresh(db, &row, &claimant).await?
            {
                return Ok(row);
            }
            drop(refresh);
            if waiting_since.elapsed() > PATIENCE {
                let message = format!(
                    "the tokens of account `{}` are being refreshed by another process",
                    self.account
                );
                return Err(Failure::try_later(message).into());
            }
            if !is_waiting {
                is_waiting = true;
                let account = &self.account;
                self.output
                    .trace(&format!("another process is refreshing the tokens of account `{account}`"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn claim(&self, db: &mut Db, version: i64, claimant: &str) -> anyhow::Result<bool> {
        let server_time = db.server_time().await?;
        let claimed = db
            .execute(
                "UPDATE api_tokens SET claimed_by = $1, claimed_until = $2
                 WHERE platform = $3 AND account = $4 AND version = $5
                   AND (claimed_until IS NULL OR claimed_until <= $6 OR claimed_by = $1)",
                values![claimant, server_time + CLAIM, PLATFORM, &self.account, version, server_time],
            )
            .await?;
        Ok(claimed == 1)
    }

    /// Asks for a new pair, and claims the row anew until the answer is there.
    async fn ask(
        &self,
        db: &mut Db,
        row: &TokenRow,
        claimant: &str,
    ) -> Result<Result<Tokens, OauthError>, Failure> {
        let refresh_token = self.keys.refresh_token(row)?;
        let oauth = Oauth::new(&self.config, &self.output, &self.account)?;
        let (answered, mut is_answered) = oneshot::channel();
        let asking = async {
            let answer = oauth.refresh(&refresh_token).await;
            // Nobody listens any more if the other half has ended, which it does with this word only.
            let _ = answered.send(());
            answer
        };
        let claiming = async {
            while tokio::time::timeout(CLAIM_AGAIN, &mut is_answered).await.is_err() {
                // If the database is gone the claim runs out, and our pair counts nonetheless if it comes first.
                if let Err(error) = self.claim(db, row.version, claimant).await {
                    self.output.trace(&format!("failed to claim the tokens anew: {}", one_line(&error)));
                }
            }
        };
        Ok(tokio::join!(asking, claiming).0)
    }

    /// The row with the new pair; `None` if another process has taken the claim over and is not through.
    async fn refresh(&self, db: &mut Db, row: &TokenRow, claimant: &str) -> anyhow::Result<Option<TokenRow>> {
        let answer = match self.ask(db, row, claimant).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.release(db, claimant).await?;
                return Err(failure.into());
            }
        };
        match answer {
            Ok(tokens) => {
                self.store(db, row.version, &tokens).await?;
                // Ours, or a pair that a person brought meanwhile.
                Ok(Some(find(db, &self.account).await?.ok_or_else(|| missing(&self.account))?))
            }
            Err(OauthError::Rejected(error)) => {
                let reason = error.to_string();
                let noted = db
                    .execute(
                        "UPDATE api_tokens SET rejected_at = $1, rejected_reason = $2, claimed_by = NULL,
                             claimed_until = NULL, updated_at = $1
                         WHERE platform = $3 AND account = $4 AND version = $5 AND claimed_by = $6",
                        values![machine_time(), &reason, PLATFORM, &self.account, row.version, claimant],
                    )
                    .await?;
                if noted == 0 {
                    // We came late: another process uses the token up, or has stored already what it got.
                    return Ok(None);
                }
                Err(rejected(&self.account, &reason).into())
            }
            Err(OauthError::Failed(error)) => {
                self.release(db, claimant).await?;
                Err(error.into())
            }
        }
    }

    /// Lets the next one try. Who dies before leaves a claim that runs out.
    async fn release(&self, db: &mut Db, claimant: &str) -> anyhow::Result<()> {
        db.execute(
            "UPDATE api_tokens SET claimed_by = NULL, claimed_until = NULL
             WHERE platform = $1 AND account = $2 AND claimed_by = $3",
            values![PLATFORM, &self.account, claimant],
        )
        .await?;
        Ok(())
    }

    async fn store(&self, db: &mut Db, version: i64, tokens: &Tokens) -> anyhow::Result<()> {
        let access = self.keys.seal(&self.account, "access_token", &tokens.access_token)?;
        let refresh = self.keys.seal(&self.account, "refresh_token", &tokens.refresh_token)?;
        let place = Shelf { config: &self.config, output: &self.output, account: &self.account };
        place.store_for_certain(
            db,
            "UPDATE api_tokens SET access_token = $1, refresh_token = $2, access_expires_at = $3,
                 refresh_expires_at = $4, scopes = $5, version = version + 1, issued_at = $6, claimed_by = NULL,
                 claimed_until = NULL, rejected_at = NULL, rejected_reason = NULL, updated_at = $7
             WHERE platform = $8 AND account = $9 AND version = $10",
            values![
                access,
                refresh,
                tokens.access_expires_at,
                tokens.refresh_expires_at,
                tokens.scopes.join(","),
                tokens.issued_at,
                machine_time(),
                PLATFORM,
                &self.account,
                version
            ],
        )
        .await
    }
}

/// The tokens and the block of one account of Cafe24, kept in the database.
pub struct TokenStore {
    config: Config,
    output: Output,
    keys: Keys,
    account: String,
    state: Mutex<State>,
}

/// What one store holds between two calls.
#[derive(Default)]
struct State {
    /// Opened when it is needed first.
    db: Option<Db>,
    held: Option<Held>,
}

/// The token in use.
struct Held {
    token: Secret,
    ends_at: DateTime<Utc>,
    version: i64,
}

impl TokenStore {
    /// Whether tokens can be opened and renewed at all: better known before the first call than in the middle of a
    /// night.
    pub fn check_configuration(cx: &Context) -> Result<(), Failure> {
        Keys::new(&cx.config)?;
        let settings = cx.config.cafe24();
        for variable in [settings.client_id_variable(), settings.client_secret_variable()] {
            cx.config.secret(variable).map_err(|error| {
                Failure::configuration(error.to_string())
                    .hint("it is the app's, from Cafe24's developer console")
            })?;
        }
        Ok(())
    }

    /// The store of an account. It opens a connection of its own when it needs one.
    pub fn new(cx: &Context, account: &str) -> Result<Self, Failure> {
        Ok(Self {
            config: cx.config.clone(),
            output: cx.output.clone(),
            keys: Keys::new(&cx.config)?,
            account: account.to_owned(),
            state: Mutex::default(),
        })
    }

    /// Runs statements over the store's connection, which is given up after an error.
    async fn query<T>(
        &self,
        state: &mut State,
        work: impl AsyncFnOnce(&mut Db) -> anyhow::Result<T>,
    ) -> Result<T, Failure> {
        let mut db = match state.db.take() {
            Some(db) => db,
            None => connect(&self.config).await?,
        };
        let done = work(&mut db).await.map_err(|error| as_failure(&error));
        if done.is_ok() {
            state.db = Some(db);
        }
        done
    }

    /// The token of the stored row, refreshed first if it ends too soon.
    async fn current(&self, state: &mut State) -> Result<Secret, Failure> {
        let row = self.query(state, async |db| find(db, &self.account).await).await?;
        let row = row.ok_or_else(|| missing(&self.account))?;
        if row.access_expires_at > machine_time() + LEEWAY {
            return self.hold(state, &row);
        }
        self.replaced(state, row.version).await
    }

    async fn replaced(&self, state: &mut State, version: i64) -> Result<Secret, Failure> {
        state.held = None;
        let refresher = Refresher::new(&self.config, &self.output, &self.account)?;
        let row = refresher.replace(version).await?;
        self.hold(state, &row)
    }

    fn hold(&self, state: &mut State, row: &TokenRow) -> Result<Secret, Failure> {
        let token = self.keys.access_token(row)?;
        let held = Held { token: token.clone(), ends_at: row.access_expires_at, version: row.version };
        state.held = Some(held);
        Ok(token)
    }
}

impl AccountState for TokenStore {
    fn access_token(&self) -> BoxFuture<'_, Result<Secret, Failure>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            match &state.held {
                Some(held) if held.ends_at > machine_time() + LEEWAY => Ok(held.token.clone()),
                _ => self.current(&mut state).await,
            }
        })
    }

    fn after_rejection<'a>(&'a self, rejected: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            match &state.held {
                // A call of ours that ran beside has been through this already.
                Some(held) if held.token != *rejected => Ok(held.token.clone()),
                Some(held) => {
                    let version = held.version;
                    self.replaced(&mut state, version).await
                }
                None => {
                    let token = self.current(&mut state).await?;
                    match state.held.as_ref().map(|held| held.version) {
                        Some(version) if token == *rejected => self.replaced(&mut state, version).await,
                        _ => Ok(token),
                    }
                }
            }
        })
    }
}

impl Blocks for TokenStore {
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            self.query(&mut state, async |db| {
                let found: Option<(DateTime<Utc>,)> = db
                    .fetch_optional(
                        "SELECT blocked_until FROM api_blocks WHERE platform = $1 AND account = $2",
                        values![PLATFORM, &self.account],
                    )
                    .await?;
                let Some((until,)) = found else { return Ok(None) };
                let left = until - db.server_time().await?;
                Ok(left.to_std().ok().filter(|left| !left.is_zero()))
            })
            .await
        })
    }

    fn block<'a>(&'a self, wait: Duration, reason: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.query(&mut state, async |db| {
                let until = db.server_time().await? + wait;
                // Of two answers the one that was made last may arrive first: the later end stays.
                db.execute(
                    "INSERT INTO api_blocks (platform, account, blocked_until, reason) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (platform, account) DO UPDATE
                     SET blocked_until = excluded.blocked_until, reason = excluded.reason
                     WHERE api_blocks.blocked_until < excluded.blocked_until",
                    values![PLATFORM, &self.account, until, reason],
                )
                .await?;
                Ok(())
            })
            .await
        })
    }
}

/// A connection of the store's own. The command's first one has asked for environment and schema.
async fn connect(config: &Config) -> Result<Db, Failure> {
    Db::connect(config.database_url(), false).await.map_err(|error| as_failure(&error.into()))
}

/// The error with its exit code and hint, for what a client passes on.
fn as_failure(error: &anyhow::Error) -> Failure {
    let kind = match ExitCode::of(error) {
        ExitCode::TryLater => FailureKind::TryLater,
        ExitCode::Configuration => FailureKind::Configuration,
        ExitCode::Refused => FailureKind::Refused,
        ExitCode::BadInput => FailureKind::BadInput,
        _ => FailureKind::Failed,
    };
    Failure { kind, message: one_line(error), hint: failure::hint(error).map(str::to_owned) }
}
