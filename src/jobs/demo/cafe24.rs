//! `demo --cafe24`: two malls of a local Cafe24, authorised through its control API, and a week of their data.
//!
//! Creates a folder with what a user would write by hand: `batchctl.toml`, `.env.dev`, a database.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Days, Utc};
use serde::Deserialize;
use url::Url;

use crate::clients::api::{Address, Api, ApiError, Call, Decoded, Terms};
use crate::clients::cafe24::PLATFORM;
use crate::clients::cafe24::oauth::Tokens;
use crate::config::Config;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::hosts::is_this_machine;
use crate::period::last_finished_day;
use crate::sealed::new_secret_key;
use crate::shop::tokens::{self, Keys};
use crate::values;

use super::{Closing, Prepared, other_malls};

/// The malls' codes, which are also their accounts.
const MALLS: [&str; 2] = ["demo-a", "demo-b"];
const TIME_ZONE: chrono_tz::Tz = chrono_tz::Asia::Seoul;
const CURRENCY: &str = "KRW";
/// How many days are synchronised.
const DAYS: u64 = 7;
/// The app's id and secret that the server accepts by default.
const CLIENT: [&str; 2] = ["cid", "csecret"];
/// How to start the server.
const START: &str = "start one with `scripts/fakes/cafe24 --seed-malls demo-a,demo-b`";
/// Short, because the server is on this machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Parses the address of a server on this machine. The demo gets its tokens without anyone's consent, and must not try
/// that with somebody else's server.
pub(super) fn parse_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "write it as http://127.0.0.1:8024".to_owned())?;
    let is_local = is_this_machine(url.host_str().unwrap_or_default());
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_login = !url.username().is_empty() || url.password().is_some();
    if url.scheme() == "http" && is_local && is_plain && !has_login {
        return Ok(url);
    }
    Err("the demo accepts only a server on this machine: write it as http://127.0.0.1:8024".to_owned())
}

/// Creates the folder, the malls and their tokens.
pub(super) async fn prepare(cx: &Context, address: &Url, folder: &Path) -> anyhow::Result<Prepared> {
    let server = Server::at(cx, address)?;
    server.require_malls().await?;
    write_settings(address, folder)?;
    let cx = context_in(cx, address, folder)?;
    let keys = Keys::new(&cx.config)?;
    let mut db = cx.db().await?;
    refuse_other_data(&mut db).await?;
    for mall in MALLS {
        add_mall(&mut db, mall, cx.machine_time()).await?;
        tokens::put(&cx, &mut db, &keys, mall, &server.tokens(mall).await?).await?;
    }
    db.close().await;
    cx.output.status(&format!(
        "Added the malls {} of {address}, with settings in {}",
        MALLS.join(" and "),
        folder.display()
    ));
    Ok(Prepared {
        commands: commands(&cx, folder),
        cx: Some(cx),
        closing: Closing::Cafe24(folder.to_owned()),
    })
}

// ---------------------------------------------------------------- the server

/// The control API of a local Cafe24.
struct Server {
    api: Api,
    address: Url,
}

impl Server {
    fn at(cx: &Context, address: &Url) -> Result<Self, Failure> {
        let terms = Terms::once("the local Cafe24", REQUEST_TIMEOUT);
        let api = Api::new(cx, Address::new("--cafe24", address.as_str())?, terms)?;
        Ok(Self { api, address: address.clone() })
    }

    /// Checks that it is running and has the malls of the demo.
    async fn require_malls(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Known {
            malls: Vec<String>,
        }
        let decode =
            |body: &[u8]| Ok(Decoded { value: serde_json::from_slice::<Known>(body)?.malls, rows: 1 });
        let asked = self.api.send(Call::get("_control/", &[]), decode).await;
        let known = asked.map_err(|error| self.unusable(&error))?.value;
        let missing: Vec<&str> =
            MALLS.into_iter().filter(|mall| !known.iter().any(|known| known == mall)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join("` and `");
        Err(Failure::failed(format!("the local Cafe24 at {} has no malls `{missing}`", self.address))
            .hint(START))
    }

    async fn tokens(&self, mall: &str) -> Result<Tokens, Failure> {
        let decode = |body: &[u8]| Ok(Decoded { value: Tokens::from_answer(body)?, rows: 1 });
        let path = format!("_control/{mall}/tokens");
        let asked = self.api.send(Call::post(&path, &[]).for_secret(), decode).await;
        Ok(asked.map_err(|error| self.unusable(&error))?.value)
    }

    /// The failure when nothing listens there, or something else does.
    fn unusable(&self, error: &ApiError) -> Failure {
        match error.status() {
            None => Failure::try_later(format!("no local Cafe24 answers at {}: {error}", self.address)),
            Some(_) => {
                Failure::failed(format!("the server at {} is not a local Cafe24: {error}", self.address))
            }
        }
        .hint(START)
    }
}

// ---------------------------------------------------------------- the folder

/// Writes the files that a user would write. An existing key is kept, because stored tokens are encrypted with it.
fn write_settings(address: &Url, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to create the folder `{}`", folder.display()))?;
    let settings = format!(
        "# Created by `batchctl demo --cafe24`: a local Cafe24 instead of the real one.\n\
         [cafe24]\nbase_url = \"{address}{{account}}\"\n"
    );
    write_atomically(&folder.join("batchctl.toml"), |file| Ok(file.write_all(settings.as_bytes())?))?;
    let path = folder.join(".env.dev");
    let key = new_secret_key().context("failed to generate a key")?;
    let [client_id, client_secret] = CLIENT;
    let variables = format!(
        "BATCHCTL_DATABASE_URL=sqlite:batchctl.db\nBATCHCTL_SECRET_KEY={}\n\
         BATCHCTL_CAFE24_CLIENT_ID={client_id}\nBATCHCTL_CAFE24_CLIENT_SECRET={client_secret}\n",
        key.expose()
    );
    let written = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => file.write_all(variables.as_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    written.with_context(|| format!("failed to write `{}`", path.display()))
}

/// The context of a command that runs in the folder. Its database is there too, unless a variable names another one.
fn context_in(cx: &Context, address: &Url, folder: &Path) -> anyhow::Result<Context> {
    let database = format!("sqlite:{}", folder.join("batchctl.db").display());
    let config = cx
        .config
        .in_folder(folder, &[("BATCHCTL_DATABASE_URL", database)])
        .map_err(|error| Failure::configuration(error.to_string()))?;
    refuse_other_server(&config, address)?;
    let output = cx.output.with_redactor(config.redactor());
    Ok(cx.under(config, output))
}

/// Refuses a configuration from `BATCHCTL_CONFIG` that may name the real Cafe24.
fn refuse_other_server(config: &Config, address: &Url) -> Result<(), Failure> {
    let [mall, _] = MALLS;
    if config.cafe24().base_url(mall) == format!("{address}{mall}") {
        return Ok(());
    }
    Err(Failure::configuration("`cafe24.base_url` is not the demo's: BATCHCTL_CONFIG names another file")
        .hint("start the demo without BATCHCTL_CONFIG"))
}

// ---------------------------------------------------------------- the malls

/// The demo must not mix with anything real.
async fn refuse_other_data(db: &mut Db) -> anyhow::Result<()> {
    let [a, b] = MALLS;
    let (others,): (i64,) = db
        .fetch_one(
            "SELECT COUNT(*) FROM malls WHERE platform <> $1 OR code NOT IN ($2, $3)",
            values![PLATFORM, a, b],
        )
        .await?;
    if others == 0 { Ok(()) } else { Err(other_malls().into()) }
}

async fn add_mall(db: &mut Db, mall: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
         VALUES ($1, $1, $2, $3, $4, $5, $6, $6) ON CONFLICT (code) DO NOTHING",
        values![mall, PLATFORM, TIME_ZONE.name(), CURRENCY, true, now],
    )
    .await?;
    Ok(())
}

/// The last finished days of the malls, synchronised and reported.
fn commands(cx: &Context, folder: &Path) -> Vec<Vec<String>> {
    let last = last_finished_day(cx.now(), TIME_ZONE);
    let first = last - Days::new(DAYS - 1);
    let [from, to] = [first, last].map(|day| day.to_string());
    let reports = folder.join("reports").display().to_string();
    let sync = ["mall", "sync", "--from", &from, "--to", &to];
    // Without a format the table of all the days would fill the terminal.
    let backfill =
        ["report", "daily-sales", "--from", &from, "--to", &to, "--format", "csv", "--out", &reports];
    let report = ["report", "daily-sales", "--date", &to];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![words(&sync), words(&backfill), words(&report)]
}

/// What the user can do next.
pub(super) fn next_steps(folder: &Path) -> String {
    format!(
        "The settings, the database and a week's reports are in {folder}. Continue there:\n  cd '{folder}'\n  batchctl runs list\n  \
         batchctl mall show demo-a\n  batchctl mall sync --domain member --from -30d --to yesterday\n",
        folder = folder.display()
    )
}
