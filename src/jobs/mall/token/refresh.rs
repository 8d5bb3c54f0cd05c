//! `mall token refresh`: keeps the tokens of rarely read malls alive, and warns days before one expires that cannot be
//! renewed.
//!
//! A refresh token is valid for two weeks and is replaced by each refresh. A mall whose token has expired has to be
//! authorised by a person, so an account that cannot be refreshed fails as an item each night, with the days left.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::runner::{Exclusion, ExitCode, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::tokens::{self, Keys, Refresher, TokenRow};
use crate::wording::counted;

use super::status::{days_left, is_ending};

/// Arguments of `mall token refresh`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    malls: MallArgs,
    /// Also renew tokens that are not due yet
    #[arg(long)]
    all: bool,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mall token refresh",
        summary: "Renew the tokens of malls before they expire",
        details: "A refresh token is valid for two weeks and is replaced by each refresh. A mall whose token cannot be \
                  renewed is reported as failed each night, with the days remaining.",
        page: Some("docs/cafe24.md"),
        schedule: Some("20 3 * * *"),
        deadline: minutes(30),
        severity: Severity::High,
        exclusion: Exclusion::Job,
        items: Items::new("account", "accounts", "renewed"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        // An unknown name fails here.
        let malls = super::malls_with_tokens(db, &self.malls).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        // The shops of one account share its tokens.
        let accounts: BTreeMap<String, Mall> = super::malls_with_tokens(run.db, &self.malls)
            .await?
            .into_iter()
            .map(|mall| (mall.account().to_owned(), mall))
            .filter(|(account, _)| run.is_wanted(account))
            .collect();
        if accounts.is_empty() {
            run.summarise("no malls with tokens".to_owned());
            return Ok(());
        }
        let keys = Keys::new(&run.cx.config)?;
        run.show_progress(Some(accounts.len() as u64));
        let mut young = 0;
        let mut renewed = 0;
        let mut failed = Vec::new();
        for (account, mall) in &accounts {
            match self.renew(run.cx, run.db, &keys, account).await {
                Ok(Renewal::Done) => {
                    renewed += 1;
                    run.read(1);
                    run.written(1);
                }
                Ok(Renewal::NotDue) => young += 1,
                Err(error) => {
                    run.read(1);
                    let error = tokens::for_mall(error, mall);
                    run.fail_item(account, "refresh", &error);
                    failed.push(ExitCode::of(&error));
                }
            }
            // The token is already stored; this stores the item's error and checks for a stop.
            run.chunk(None::<&str>, async |_| Ok(())).await?;
        }
        run.summarise(format!(
            "renewed the tokens of {}, {young} not due yet",
            counted(renewed, "account", "accounts")
        ));
        if renewed + young == 0 { refuse_one_cause(&failed) } else { Ok(()) }
    }
}

/// If every account failed for a reason that is not its own fault, the run's exit code says which: try later, or fix a
/// setting.
fn refuse_one_cause(failed: &[ExitCode]) -> anyhow::Result<()> {
    let all_are = |code| failed.iter().all(|failed| *failed == code);
    let accounts = counted(failed.len(), "account", "accounts");
    if all_are(ExitCode::TryLater) {
        return Err(Failure::try_later(format!("Cafe24 is unreachable for {accounts}")).into());
    }
    if all_are(ExitCode::Configuration) {
        let message = format!("a wrong setting prevents renewing the tokens of {accounts}");
        return Err(Failure::configuration(message).into());
    }
    Ok(())
}

/// The result for an account.
enum Renewal {
    Done,
    NotDue,
}

impl Args {
    async fn renew(&self, cx: &Context, db: &mut Db, keys: &Keys, account: &str) -> anyhow::Result<Renewal> {
        let row = tokens::find(db, account).await?.ok_or_else(|| tokens::missing(account))?;
        // A row that cannot be decrypted is reported before it is needed.
        keys.refresh_token(&row)?;
        if row.rejected_at.is_some() {
            let reason = row.rejected_reason.as_deref().unwrap_or_default();
            return Err(tokens::rejected(account, reason).into());
        }
        let now = cx.machine_time();
        let settings = cx.config.cafe24();
        let keep_alive_after = TimeDelta::from_std(settings.keep_alive_after()).unwrap_or(TimeDelta::MAX);
        let is_due = now - row.issued_at >= keep_alive_after || is_ending(&row, settings, now);
        if !self.all && !is_due {
            return Ok(Renewal::NotDue);
        }
        let refresher = Refresher::new(cx, account)?;
        match refresher.replace(row.version).await {
            Ok(_) => Ok(Renewal::Done),
            Err(failure) => Err(with_time_left(failure, &row, now).into()),
        }
    }
}

/// Adds how urgent it is.
fn with_time_left(failure: Failure, row: &TokenRow, now: DateTime<Utc>) -> Failure {
    let message = match days_left(row, now) {
        0 => format!("less than a day left: {}", failure.message),
        days => format!("{} left: {}", counted(days, "day", "days"), failure.message),
    };
    failure.saying(message)
}
