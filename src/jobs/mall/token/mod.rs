//! `mall token`: the authorisations by which malls' data is read.

mod authorize;
pub mod refresh;
mod set;
mod status;

use crate::clients::cafe24::PLATFORM;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::shop::malls::{Mall, all_malls, selected_malls};
use crate::runner::{ExitCode, JobCommand, RunOptions, end_plain, execute};

pub(super) use status::Standing;

/// The authorisations by which malls' data is read
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// List the malls' tokens, and until when they are good
    Status(status::Args),
    /// Renew tokens before they end, as of malls that are rarely read
    Refresh(JobCommand<refresh::Args>),
    /// Let the owner of a shop allow this app to read it
    Authorize(authorize::Args),
    /// Store tokens from elsewhere: reads the answer of Cafe24's OAuth, or a refresh token, from stdin
    Set(set::Args),
}

impl Token {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> ExitCode {
        let done = match self {
            Self::Refresh(command) => return execute(cx, &command.job, &command.options).await,
            Self::Status(args) => status::status(cx, args).await,
            Self::Authorize(args) => authorize::authorize(cx, args).await,
            Self::Set(args) => set::set(cx, args).await,
        };
        end_plain(cx, done)
    }

    /// The runner's flags of the chosen command, if it is a job.
    pub fn options(&mut self) -> Option<&mut RunOptions> {
        match self {
            Self::Refresh(command) => Some(&mut command.options),
            _ => None,
        }
    }
}

/// The malls that have tokens: the active ones of the platform, or those named.
async fn malls_with_tokens(db: &mut Db, wanted: &[String]) -> anyhow::Result<Vec<Mall>> {
    let mut malls = selected_malls(db, wanted).await?;
    if wanted.is_empty() {
        malls.retain(|mall| mall.platform == PLATFORM);
    }
    malls.iter().try_for_each(of_platform)?;
    Ok(malls)
}

/// The mall of this code, number or account. The shops of one account share its tokens: any of them will do.
async fn mall_with_token(db: &mut Db, name: &str) -> anyhow::Result<Mall> {
    let malls = all_malls(db).await?;
    let is_account = |mall: &&Mall| mall.platform == PLATFORM && mall.account() == name;
    if !malls.iter().any(|mall| mall.code == name)
        && let Some(mall) = malls.iter().find(is_account)
    {
        return Ok(mall.clone());
    }
    let named = selected_malls(db, &[name.to_owned()]).await?;
    let mall = named.into_iter().next().ok_or_else(|| Failure::usage(format!("unknown mall `{name}`")))?;
    of_platform(&mall)?;
    Ok(mall)
}

fn of_platform(mall: &Mall) -> Result<(), Failure> {
    if mall.platform == PLATFORM {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "mall `{}` is of the platform `{}`, which has no tokens",
        mall.code, mall.platform
    ))
    .hint(format!("batchctl mall add {} --platform {PLATFORM} --account ID", mall.code)))
}
