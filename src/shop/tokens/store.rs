//! What a Cafe24 client needs before each call: the account's token, and whether it is blocked.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::clients::api::{Blocks, MAX_PAUSE};
use crate::clients::cafe24::{AccountState, PLATFORM};
use crate::context::Context;
use crate::db::{Db, StoredTime};
use crate::failure::Failure;
use crate::mask::Secret;
use crate::values;

use super::{Keys, Refresher, TokenRow, as_failure, connect, find, missing};

/// An access token that expires sooner is replaced before it is used: a call with its waits may take that long.
const LEEWAY: TimeDelta = TimeDelta::minutes(2);

/// The furthest that calls queue up. What lies further ahead was written by a clock that has been set back since.
const MOST_AHEAD_US: i64 = 10 * 60 * 1_000_000;

/// The generic cell rate algorithm (ITU-T I.371) in one statement, so that no two processes get the same slot.
const TAKE_SLOT: &str = "
    INSERT INTO api_paces (platform, account, empty_at_us) VALUES ($1, $2, $3 + $4)
    ON CONFLICT (platform, account) DO UPDATE SET empty_at_us = $4 + CASE
        WHEN api_paces.empty_at_us BETWEEN $3 AND $3 + $5 THEN api_paces.empty_at_us ELSE $3 END
    RETURNING empty_at_us - $4";

/// The tokens, the block and the pace of one account of Cafe24, kept in the database.
pub struct TokenStore {
    cx: Context,
    keys: Keys,
    account: String,
    state: Mutex<State>,
}

/// What a store keeps between two calls.
#[derive(Default)]
struct State {
    /// Opened when it is first needed.
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
    /// Whether tokens can be opened and renewed at all: better checked before the first call than found out in the
    /// middle of the night.
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

    /// The store of an account. It opens its own connection when it needs one.
    pub fn new(cx: &Context, account: &str) -> Result<Self, Failure> {
        Ok(Self {
            cx: cx.clone(),
            keys: Keys::new(&cx.config)?,
            account: account.to_owned(),
            state: Mutex::default(),
        })
    }

    /// Runs statements over the store's connection, which is discarded after an error.
    async fn query<T>(
        &self,
        state: &mut State,
        work: impl AsyncFnOnce(&mut Db) -> anyhow::Result<T>,
    ) -> Result<T, Failure> {
        let mut db = match state.db.take() {
            Some(db) => db,
            None => connect(&self.cx).await?,
        };
        let done = work(&mut db).await.map_err(|error| as_failure(&error));
        if done.is_ok() {
            state.db = Some(db);
        }
        done
    }

    /// The token of the stored row, refreshed first if it expires too soon.
    async fn current(&self, state: &mut State) -> Result<Secret, Failure> {
        let row = self.query(state, async |db| find(db, &self.account).await).await?;
        let row = row.ok_or_else(|| missing(&self.account))?;
        if row.access_expires_at > self.cx.machine_time() + LEEWAY {
            return self.hold(state, &row);
        }
        self.replaced(state, row.version).await
    }

    async fn replaced(&self, state: &mut State, version: i64) -> Result<Secret, Failure> {
        state.held = None;
        let refresher = Refresher::new(&self.cx, &self.account)?;
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
                Some(held) if held.ends_at > self.cx.machine_time() + LEEWAY => Ok(held.token.clone()),
                _ => self.current(&mut state).await,
            }
        })
    }

    fn after_rejection<'a>(&'a self, rejected: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            match &state.held {
                // A concurrent call of ours has already replaced it.
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
                let found: Option<(StoredTime,)> = db
                    .fetch_optional(
                        "SELECT blocked_until FROM api_blocks WHERE platform = $1 AND account = $2",
                        values![PLATFORM, &self.account],
                    )
                    .await?;
                // A block until no time is none; the next one replaces it.
                let Some(until) = found.and_then(|(until,)| until.at()) else { return Ok(None) };
                let left = until - db.server_time().await?;
                // A longer one was written by a clock that has been set back since: none is stored that is.
                Ok(left.to_std().ok().filter(|left| !left.is_zero() && *left <= MAX_PAUSE))
            })
            .await
        })
    }

    fn slot(&self, interval: Duration, burst: u32) -> BoxFuture<'_, Result<Duration, Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.query(&mut state, async |db| {
                let now = db.server_time().await?.timestamp_micros();
                let each = microseconds(interval);
                let values = values![PLATFORM, &self.account, now, each, MOST_AHEAD_US + 2 * each];
                let (begins,): (i64,) = db.fetch_one(TAKE_SLOT, values).await?;
                let wait = begins - now - each * i64::from(burst.saturating_sub(1));
                Ok(Duration::from_micros(u64::try_from(wait).unwrap_or(0)))
            })
            .await
        })
    }

    fn defer(&self, wait: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.query(&mut state, async |db| {
                let until = db.server_time().await?.timestamp_micros() + microseconds(wait);
                db.execute(
                    "INSERT INTO api_paces (platform, account, empty_at_us) VALUES ($1, $2, $3)
                     ON CONFLICT (platform, account) DO UPDATE SET empty_at_us = excluded.empty_at_us
                     WHERE api_paces.empty_at_us < excluded.empty_at_us",
                    values![PLATFORM, &self.account, until],
                )
                .await?;
                Ok(())
            })
            .await
        })
    }

    fn block<'a>(&'a self, wait: Duration, reason: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.query(&mut state, async |db| {
                let now = db.server_time().await?;
                // Of two responses, the newer one may arrive first: the later end wins, unless it is impossibly late.
                db.execute(
                    "INSERT INTO api_blocks (platform, account, blocked_until, reason) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (platform, account) DO UPDATE
                     SET blocked_until = excluded.blocked_until, reason = excluded.reason
                     WHERE api_blocks.blocked_until < excluded.blocked_until OR api_blocks.blocked_until > $5",
                    values![PLATFORM, &self.account, now + wait, reason, now + MAX_PAUSE],
                )
                .await?;
                Ok(())
            })
            .await
        })
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::sealed::Seal;

    on_both_databases![
        two_processes_share_the_slots_of_an_account,
        a_slot_that_a_wrong_clock_has_taken_does_not_hold,
        a_pause_holds_for_other_processes,
        a_block_holds_unless_a_wrong_clock_has_written_it,
    ];

    const MINUTE: Duration = Duration::from_mins(1);

    /// The store of a process of its own.
    fn store(db: &TestDb, account: &str) -> TokenStore {
        TokenStore {
            cx: db.context(),
            keys: Keys {
                current: Seal::new(&Secret::new("a key of thirty-two bytes or more")),
                previous: None,
            },
            account: account.to_owned(),
            state: Mutex::default(),
        }
    }

    /// How many minutes a call of another process has to wait, at one a minute behind a burst of two.
    async fn wait(db: &TestDb, account: &str) -> u64 {
        store(db, account).slot(MINUTE, 2).await.unwrap().as_secs().div_ceil(60)
    }

    async fn two_processes_share_the_slots_of_an_account(db: &mut TestDb) {
        let mut waits = Vec::new();
        for account in ["demo", "demo", "demo", "other", "demo"] {
            waits.push(wait(db, account).await);
        }
        assert_eq!(waits, [0, 0, 1, 0, 2]);
    }

    async fn a_slot_that_a_wrong_clock_has_taken_does_not_hold(db: &mut TestDb) {
        wait(db, "demo").await;
        db.execute("UPDATE api_paces SET empty_at_us = empty_at_us + 86400000000", values![]).await.unwrap();
        assert_eq!([wait(db, "demo").await, wait(db, "demo").await, wait(db, "demo").await], [0, 0, 1]);
    }

    async fn a_block_holds_unless_a_wrong_clock_has_written_it(db: &mut TestDb) {
        store(db, "demo").block(MAX_PAUSE, "usage").await.unwrap();
        let left = store(db, "demo").blocked_for().await.unwrap().unwrap();
        assert!(left + MINUTE > MAX_PAUSE, "{left:?}");
        assert_eq!(store(db, "other").blocked_for().await.unwrap(), None);
        let future = db.server_time().await.unwrap() + TimeDelta::days(365);
        db.execute("UPDATE api_blocks SET blocked_until = $1", values![future]).await.unwrap();
        assert_eq!(store(db, "demo").blocked_for().await.unwrap(), None);
        // And it does not keep a real one from being written.
        store(db, "demo").block(MINUTE, "usage").await.unwrap();
        assert!(store(db, "demo").blocked_for().await.unwrap().is_some());
    }

    async fn a_pause_holds_for_other_processes(db: &mut TestDb) {
        store(db, "demo").defer(5 * MINUTE).await.unwrap();
        // The shorter of two changes nothing.
        store(db, "demo").defer(MINUTE).await.unwrap();
        assert_eq!(wait(db, "demo").await, 4);
        assert_eq!(wait(db, "other").await, 0);
    }
}
