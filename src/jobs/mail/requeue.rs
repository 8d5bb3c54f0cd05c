//! `mail requeue` and `mail cancel`: an operator's decisions about individual mails.

use chrono::{DateTime, Utc};
use clap::ArgGroup;

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::failure::Failure;
use crate::mail::queue::AS_NEW;
use crate::values;
use crate::wording::counted;

/// Requeue mails that failed, were cancelled or have an unknown outcome
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("requeued").required(true).args(["ids", "failed"])))]
pub struct RequeueArgs {
    /// The IDs of the mails
    ids: Vec<i64>,
    /// Requeue every mail that failed, or those of --kind
    #[arg(long)]
    failed: bool,
    /// With --failed: only mails of this kind
    #[arg(long, requires = "failed")]
    kind: Option<String>,
    /// Also requeue mails that were already sent
    #[arg(long)]
    resend: bool,
}

/// Cancel mails that are waiting to be sent
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("cancelled").required(true).args(["ids", "kind"])))]
pub struct CancelArgs {
    /// The IDs of the mails
    ids: Vec<i64>,
    /// Cancel every waiting mail of this kind
    #[arg(long)]
    kind: Option<String>,
}

#[derive(FromRow)]
struct State {
    status: String,
    claimed_by: Option<i64>,
}

async fn state(db: &mut Db, id: i64) -> anyhow::Result<State> {
    let found = db.fetch_optional("SELECT status, claimed_by FROM mails WHERE id = $1", values![id]).await?;
    found.ok_or_else(|| {
        Failure::failed(format!("there is no mail {id}; nothing was changed"))
            .hint("`batchctl mail list` lists the mails")
            .into()
    })
}

/// All or none: a typo in the third id must not leave two mails changed.
pub(super) async fn requeue(cx: &Context, args: &RequeueArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let now = cx.now();
    let requeued = db
        .transaction(async |db| {
            if args.failed {
                return requeue_failed(db, args.kind.as_deref(), now).await;
            }
            for id in &args.ids {
                requeue_one(db, *id, args.resend, now).await?;
            }
            Ok(args.ids.len() as u64)
        })
        .await?;
    db.close().await;
    cx.output.status(&match requeued {
        0 => "Nothing to requeue".to_owned(),
        count => format!("Requeued {}", counted(count, "mail", "mails")),
    });
    Ok(())
}

async fn requeue_failed(db: &mut Db, kind: Option<&str>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let sql = format!(
        "UPDATE mails SET {AS_NEW} WHERE status = 'FAILED' AND claimed_by IS NULL AND kind = COALESCE($2, kind)"
    );
    Ok(db.execute(&sql, values![now, kind]).await?)
}

async fn requeue_one(db: &mut Db, id: i64, resend: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let sql = format!(
        "UPDATE mails SET {AS_NEW} WHERE id = $2 AND claimed_by IS NULL
         AND (status IN ('RETRY', 'UNKNOWN', 'FAILED', 'CANCELLED') OR (status = 'SENT' AND $3))"
    );
    if db.execute(&sql, values![now, id, resend]).await? == 1 {
        return Ok(());
    }
    let state = state(db, id).await?;
    Err(match (state.status.as_str(), state.claimed_by) {
        (_, Some(run)) => {
            Failure::try_later(format!("mail {id} is being sent by run {run}; nothing was changed"))
        }
        ("SENT", _) => Failure::failed(format!("mail {id} was already sent; nothing was changed"))
            .hint("add --resend to send it a second time"),
        ("QUEUED", None) => Failure::failed(format!("mail {id} is already queued; nothing was changed")),
        (status, None) => Failure::failed(format!("mail {id} is {status}; nothing was changed")),
    }
    .into())
}

pub(super) async fn cancel(cx: &Context, args: &CancelArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let now = cx.now();
    let cancelled = db
        .transaction(async |db| {
            if let Some(kind) = &args.kind {
                return cancel_kind(db, kind, now).await;
            }
            for id in &args.ids {
                cancel_one(db, *id, now).await?;
            }
            Ok(args.ids.len() as u64)
        })
        .await?;
    db.close().await;
    cx.output.status(&match cancelled {
        0 => "Nothing to cancel".to_owned(),
        count => format!("Cancelled {}", counted(count, "mail", "mails")),
    });
    Ok(())
}

/// Cancels waiting mails.
const BY_HAND: &str = "UPDATE mails SET status = 'CANCELLED', ended_at = $1, last_reply = 'cancelled by hand', claimed_by = NULL
                       WHERE status IN ('QUEUED', 'RETRY', 'UNKNOWN')";

async fn cancel_kind(db: &mut Db, kind: &str, now: DateTime<Utc>) -> anyhow::Result<u64> {
    Ok(db.execute(&format!("{BY_HAND} AND kind = $2"), values![now, kind]).await?)
}

/// A mail that a run has claimed but not started can still be cancelled: the run finds it CANCELLED and skips it.
async fn cancel_one(db: &mut Db, id: i64, now: DateTime<Utc>) -> anyhow::Result<()> {
    if db.execute(&format!("{BY_HAND} AND id = $2"), values![now, id]).await? == 1 {
        return Ok(());
    }
    let state = state(db, id).await?;
    Err(match state.status.as_str() {
        "SENDING" => Failure::try_later(format!("mail {id} is being sent right now; nothing was changed")),
        status => Failure::failed(format!("mail {id} is already {status}; nothing was changed")),
    }
    .into())
}
