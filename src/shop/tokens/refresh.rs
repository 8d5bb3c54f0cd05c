//! Replaces a pair of tokens with a new one, in one process at a time.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clients::cafe24::PLATFORM;
use crate::clients::cafe24::oauth::{MAX_ASKING, Oauth, OauthError, Tokens};
use crate::context::{Context, MAX_END, Unfinished};
use crate::db::Db;
use crate::failure::{Failure, one_line};
use crate::values;

use super::{
    Keys, STORE_PAUSE, STORE_TRIES, TokenRow, as_failure, connect, find, missing, rejected, store_for_certain,
};

/// How long the row stays claimed after the last sign of life, which is how long a killed process keeps others
/// waiting.
const CLAIM: TimeDelta = TimeDelta::seconds(10);
/// How often the claim is extended while waiting for the response.
const CLAIM_AGAIN: Duration = Duration::from_secs(2);
/// How often a waiting process checks whether the other has finished.
const POLL: Duration = Duration::from_millis(100);
/// The longest that it waits: a few claims, one after another.
const PATIENCE: Duration = Duration::from_mins(4);

/// From the claim to the stored pair: meanwhile the response is the only copy.
const NEW_PAIR: Unfinished =
    Unfinished { what: "a new pair of tokens", if_lost: "its mall may have to be authorised again" };
/// The process waits for as long as all attempts of one refresh take, and some to store it.
const _: () =
    assert!(MAX_ASKING.as_secs() + STORE_PAUSE.as_secs() * (STORE_TRIES as u64) < MAX_END.as_secs());

/// Replaces the pair of this version with a new one, or waits for the process that is doing so.
pub struct Refresher {
    cx: Context,
    keys: Keys,
    account: String,
}

impl Refresher {
    /// The refresher of an account.
    pub fn new(cx: &Context, account: &str) -> Result<Self, Failure> {
        Ok(Self { cx: cx.clone(), keys: Keys::new(&cx.config)?, account: account.to_owned() })
    }

    /// Returns the row that replaces `version`. It runs in its own task, and continues if nobody waits for it any
    /// more: a response that is not stored means a mall has to be authorised again by hand. The process waits for it
    /// before it exits ([`Context::finish_before_exit`]); only a second signal, or a kill, loses it.
    pub async fn replace(self, version: i64) -> Result<TokenRow, Failure> {
        let account = self.account.clone();
        let task = tokio::spawn(async move {
            let mut db = connect(&self.cx).await?;
            let replaced =
                Box::pin(self.replace_over(&mut db, version)).await.map_err(|error| as_failure(&error));
            if !db.is_in_transaction() {
                db.close().await;
            }
            replaced
        });
        task.await.unwrap_or_else(|_| {
            Err(Failure::failed(format!(
                "failed to refresh the tokens of account `{account}`: bug in batchctl"
            )))
        })
    }

    async fn replace_over(&self, db: &mut Db, version: i64) -> anyhow::Result<TokenRow> {
        // Two stores of one process are as independent as two processes.
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
            let claimed = async {
                if !self.claim(db, version, &claimant).await? {
                    return Ok(None);
                }
                self.refresh(db, &row, &claimant).await
            };
            match Box::pin(self.cx.finish_before_exit(&NEW_PAIR, claimed)).await {
                None => {
                    return Err(Failure::try_later("the process is exiting: no tokens are refreshed").into());
                }
                Some(refreshed) => {
                    if let Some(row) = refreshed? {
                        return Ok(row);
                    }
                }
            }
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
                self.cx
                    .output
                    .trace(&format!("another process is refreshing the tokens of account `{account}`"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn claim(&self, db: &mut Db, version: i64, claimant: &str) -> anyhow::Result<bool> {
        let server_time = db.server_time().await?;
        let claimed = db
            .execute(
                &format!(
                    "UPDATE api_tokens SET claimed_by = $1, claimed_until = $2
                     WHERE platform = $3 AND account = $4 AND version = $5
                       AND (claimed_until IS NULL OR claimed_until <= $6 OR claimed_by = $1 OR NOT {})",
                    db.is_time("claimed_until")
                ),
                values![claimant, server_time + CLAIM, PLATFORM, &self.account, version, server_time],
            )
            .await?;
        Ok(claimed == 1)
    }

    /// Asks for a new pair, and extends the claim until the response arrives.
    async fn ask(
        &self,
        db: &mut Db,
        row: &TokenRow,
        claimant: &str,
    ) -> Result<Result<Tokens, OauthError>, Failure> {
        let refresh_token = self.keys.refresh_token(row)?;
        let oauth = Oauth::new(&self.cx, &self.account)?;
        let (answered, mut is_answered) = oneshot::channel();
        let asking = async {
            let answer = oauth.refresh(&refresh_token).await;
            // This cannot fail: the other half waits until it receives this signal.
            let _ = answered.send(());
            answer
        };
        let claiming = async {
            while tokio::time::timeout(CLAIM_AGAIN, &mut is_answered).await.is_err() {
                // If the database is gone the claim expires, and our pair still counts if it is stored first.
                if let Err(error) = self.claim(db, row.version, claimant).await {
                    self.cx
                        .output
                        .trace(&format!("failed to extend the claim on the tokens: {}", one_line(&error)));
                }
            }
        };
        Ok(tokio::join!(asking, claiming).0)
    }

    /// The row with the new pair; `None` if another process has taken the claim over and has not finished.
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
                // Ours, or a pair that a person has supplied meanwhile.
                Ok(Some(find(db, &self.account).await?.ok_or_else(|| missing(&self.account))?))
            }
            Err(OauthError::Rejected(error)) => {
                let reason = error.to_string();
                let noted = db
                    .execute(
                        "UPDATE api_tokens SET rejected_at = $1, rejected_reason = $2, claimed_by = NULL,
                             claimed_until = NULL, updated_at = $1
                         WHERE platform = $3 AND account = $4 AND version = $5 AND claimed_by = $6",
                        values![
                            self.cx.machine_time(),
                            &reason,
                            PLATFORM,
                            &self.account,
                            row.version,
                            claimant
                        ],
                    )
                    .await?;
                if noted == 0 {
                    // We are too late: another process is using the token, or has already stored its new pair.
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

    /// Lets the next one try. A process that dies first leaves a claim that expires.
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
        store_for_certain(
            &self.cx,
            db,
            &self.account,
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
                self.cx.machine_time(),
                PLATFORM,
                &self.account,
                version
            ],
        )
        .await
    }
}
