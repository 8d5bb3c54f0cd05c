//! `mall token`: the authorisations to read malls' data.

mod authorize;
pub mod refresh;
mod set;
mod status;

use crate::clients::cafe24::PLATFORM;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::runner::{Action, Job, JobCommand, JobSpec};
use crate::shop::malls::{Mall, MallArgs, all_malls, selected_malls};
use crate::wording::command;

pub(super) use status::TokenState;

/// The jobs of tokens.
pub const SPECS: &[JobSpec] = &[refresh::Args::SPEC];

/// Manage the tokens used to read malls' data
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// List the malls' tokens and when they expire
    Status(status::Args),
    #[expect(missing_docs, reason = "the help of a job is its spec")]
    Refresh(JobCommand<refresh::Args>),
    /// Ask a shop's owner to authorise this app
    Authorize(authorize::Args),
    /// Store tokens from elsewhere: reads Cafe24's OAuth response or a refresh token from stdin
    Set(set::Args),
}

impl Token {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Refresh(job) => job.into(),
            Self::Status(args) => Action::plain(cx, status::status(cx, args)),
            Self::Authorize(args) => Action::plain(cx, authorize::authorize(cx, args)),
            Self::Set(args) => Action::plain(cx, set::set(cx, args)),
        }
    }
}

/// The malls that have tokens: the active ones of the platform, or those named.
async fn malls_with_tokens(db: &mut Db, flag: &MallArgs) -> anyhow::Result<Vec<Mall>> {
    let mut malls = flag.selected(db).await?;
    if flag.named().is_empty() {
        malls.retain(|mall| mall.platform == PLATFORM);
    }
    malls.iter().try_for_each(of_platform)?;
    Ok(malls)
}

/// The mall with this code, ID or account. The shops of one account share its tokens, so any of them will do.
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
        "mall `{}` is on the platform `{}`, which has no tokens",
        mall.code, mall.platform
    ))
    .hint(command(&["mall", "add", &mall.code, "--platform", PLATFORM, "--account", "ID"])))
}
