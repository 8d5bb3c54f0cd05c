//! `mall token refresh`: keeps the tokens of malls alive that are rarely read, and says days before one ends that it
//! could not.
//!
//! A refresh token lives two weeks and is replaced by each refresh. A mall whose token ended has to be authorised by a
//! person; so an account that cannot be refreshed fails its item each night, with the days that are left.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::machine_time;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::jobs::mall::tokens::{self, Keys, Refresher, TokenRow};
use crate::runner::{Exclusion, ExitCode, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::MallArgs;
use crate::wording::counted;

use super::status::{days_left, is_ending};

/// Arguments of `mall token refresh`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    malls: MallArgs,
    /// Renew young tokens too
    #[arg(long)]
    all: bool,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mall token refresh",
        summary: "Renew the tokens of malls before they expire",
        details: "A refresh token lives two weeks and is replaced by each refresh. A mall whose token cannot be renewed \
                  fails its item each night, with the days that are left.",
        page: Some("docs/cafe24.md"),
        schedule: Some("20 3 * * *"),
        deadline: minutes(30),
        severity: Severity::High,
        exclusion: Exclusion::Job,
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        // An unknown name ends here.
        let malls = super::malls_with_tokens(db, &self.malls).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let mut accounts: Vec<String> = super::malls_with_tokens(run.db, &self.malls)
            .await?
            .iter()
            .map(|mall| mall.account().to_owned())
            .filter(|account| run.is_wanted(account))
            .collect();
        // The shops of one account share its tokens.
        accounts.sort();
        accounts.dedup();
        if accounts.is_empty() {
            run.summarise("no malls with tokens".to_owned());
            return Ok(());
        }
        let keys = Keys::new(&run.cx.config)?;
        run.show_progress(Some(accounts.len() as u64));
        let mut young = 0;
        let mut renewed = 0;
        let mut failed = Vec::new();
        for account in &accounts {
            run.read(1);
            match self.renew(run.cx, run.db, &keys, account).await {
                Ok(Renewal::Done) => {
                    renewed += 1;
                    run.written(1);
                }
                Ok(Renewal::NotDue) => young += 1,
                Err(error) => {
                    let error = with_hint(error);
                    run.fail_item(account, "refresh", &error);
                    failed.push(ExitCode::of(&error));
                }
            }
            // The token is stored already; this keeps the item's error and hears a stop.
            run.chunk(None::<&str>, async |_| Ok(())).await?;
        }
        run.summarise(format!(
            "renewed the tokens of {}, {young} need no renewal yet",
            counted(renewed, "account", "accounts")
        ));
        if renewed + young == 0 { refuse_one_cause(&failed) } else { Ok(()) }
    }
}

/// Where every account failed by what is no account's own fault, the run's code says which: to be tried later, or a
/// setting to be mended.
fn refuse_one_cause(failed: &[ExitCode]) -> anyhow::Result<()> {
    let all_are = |code| failed.iter().all(|failed| *failed == code);
    let accounts = counted(failed.len() as u64, "account", "accounts");
    if all_are(ExitCode::TryLater) {
        return Err(Failure::try_later(format!("Cafe24 is not to be reached for {accounts}")).into());
    }
    if all_are(ExitCode::Configuration) {
        let message = format!("a setting keeps the tokens of {accounts} from being renewed");
        return Err(Failure::configuration(message).into());
    }
    Ok(())
}

/// What became of an account.
enum Renewal {
    Done,
    NotDue,
}

impl Args {
    async fn renew(&self, cx: &Context, db: &mut Db, keys: &Keys, account: &str) -> anyhow::Result<Renewal> {
        let row = tokens::find(db, account).await?.ok_or_else(|| tokens::missing(account))?;
        // A row that nobody can open is said before it is needed.
        keys.refresh_token(&row)?;
        if row.rejected_at.is_some() {
            let reason = row.rejected_reason.as_deref().unwrap_or_default();
            return Err(tokens::rejected(account, reason).into());
        }
        let now = machine_time();
        let settings = &cx.config.file().cafe24;
        let keep_alive_after = TimeDelta::from_std(settings.keep_alive_after()).unwrap_or(TimeDelta::MAX);
        let is_due = now - row.issued_at >= keep_alive_after || is_ending(&row, settings, now);
        if !self.all && !is_due {
            return Ok(Renewal::NotDue);
        }
        let refresher = Refresher::new(&cx.config, &cx.output, account)?;
        match refresher.replace(row.version).await {
            Ok(_) => Ok(Renewal::Done),
            Err(failure) => Err(with_time_left(failure, &row, now).into()),
        }
    }
}

/// An item's row has its message alone, and what to do is what its reader wants to know.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(Failure { kind, message, hint: Some(hint) }) => {
            Failure { kind, message: format!("{message}; {hint}"), hint: None }.into()
        }
        Ok(failure) => failure.into(),
        Err(error) => error,
    }
}

/// Says how urgent it is.
fn with_time_left(failure: Failure, row: &TokenRow, now: DateTime<Utc>) -> Failure {
    let message = match days_left(row, now) {
        0 => format!("less than a day left: {}", failure.message),
        1 => format!("1 day left: {}", failure.message),
        days => format!("{days} days left: {}", failure.message),
    };
    Failure { message, ..failure }
}
