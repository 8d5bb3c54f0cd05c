//! `mail requeue` and `mail cancel`: an operator's decisions about individual mails.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::ArgGroup;
use serde_json::json;

use crate::address;
use crate::config::ConsentRule;
use crate::context::Context;
use crate::db::{Db, FromRow, StoredText};
use crate::failure::Failure;
use crate::jobs::listing::Selection;
use crate::mail::queue::AS_NEW;
use crate::values;
use crate::wording::counted;

use super::selection::MailFilter;
use super::wanted::unwanted;

/// Requeue mails that failed, were cancelled or have an unknown outcome
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("requeued").required(true).args(["ids", "failed", "unknown", "suppressed"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub struct RequeueArgs {
    /// The IDs of the mails
    ids: Vec<i64>,
    /// Requeue every mail that failed, or only those that match the filters
    #[arg(long)]
    failed: bool,
    /// Requeue every mail with an unknown outcome, or only those that match the filters: some of them have arrived
    #[arg(long)]
    unknown: bool,
    /// Requeue every mail that was cancelled because of a suppression that is no longer in force, or only those that
    /// match the filters
    #[arg(long)]
    suppressed: bool,
    #[command(flatten)]
    filter: MailFilter,
    /// Count what would be requeued, and requeue nothing
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
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

/// Of the mails that were requeued, how many will not be sent after all, by the reason.
#[derive(Default)]
struct Requeued {
    mails: u64,
    unwanted: BTreeMap<String, u64>,
}

impl Requeued {
    /// Counts mails, and those of them that are no longer wanted.
    async fn add(
        &mut self,
        db: &mut Db,
        rows: Vec<(i64, Option<StoredText>)>,
        consent: ConsentRule,
    ) -> anyhow::Result<()> {
        self.mails += rows.len() as u64;
        for because in unwanted(db, &addressed(rows), consent).await?.into_values() {
            *self.unwanted.entry(because).or_default() += 1;
        }
        Ok(())
    }

    /// What is said of those that will not be sent, if there are any.
    fn warning(&self) -> Option<String> {
        let all: u64 = self.unwanted.values().sum();
        let reasons: Vec<String> =
            self.unwanted.iter().map(|(because, count)| format!("{because} ({count})")).collect();
        let them = if all == 1 { "is" } else { "are" };
        (all > 0).then(|| {
            format!("{all} of {} {them} not wanted and will be cancelled: {}", self.mails, reasons.join(", "))
        })
    }
}

/// What an UPDATE returns of the mails that it has requeued.
const REQUEUED: &str =
    "RETURNING id, CASE WHEN OCTET_LENGTH(recipient) <= 4096 THEN recipient END AS recipient";

pub(super) async fn requeue(cx: &Context, args: &RequeueArgs) -> anyhow::Result<()> {
    if !args.ids.is_empty() && !args.filter.is_empty() {
        return Err(
            Failure::usage("filters go with --failed, --unknown or --suppressed, and not with IDs").into()
        );
    }
    let mut db = cx.db().await?;
    let requeued = if args.ids.is_empty() {
        let which = if args.failed {
            Which::Failed
        } else if args.unknown {
            Which::Unknown
        } else {
            Which::Suppressed
        };
        requeue_all(cx, &mut db, which, &args.filter, args.dry_run).await?
    } else {
        requeue_these(cx, &mut db, args).await?
    };
    db.close().await;
    let count = counted(requeued.mails, "mail", "mails");
    let done = match requeued.mails {
        0 => "Nothing to requeue".to_owned(),
        _ if args.dry_run => format!("Would requeue {count}"),
        _ => format!("Requeued {count}"),
    };
    if args.ids.is_empty() {
        tell(cx, &done)?;
    } else {
        cx.output.status(&done);
    }
    match requeued.warning() {
        Some(warning) => tell(cx, &warning),
        None => Ok(()),
    }
}

/// Says what was done to many mails: also in a pipe, where the count is what a script asks for.
fn tell(cx: &Context, message: &str) -> anyhow::Result<()> {
    if cx.output.is_attended() {
        cx.output.status(message);
        return Ok(());
    }
    Ok(cx.output.data(format!("{message}\n").as_bytes())?)
}

/// All or none: a typo in the third id must not leave two mails changed.
async fn requeue_these(cx: &Context, db: &mut Db, args: &RequeueArgs) -> anyhow::Result<Requeued> {
    let (now, consent) = (cx.now(), cx.config.mail().consent);
    db.transaction(async |db| {
        let mut requeued = Requeued::default();
        for id in &args.ids {
            let row = requeue_one(db, *id, args.resend, now).await?;
            requeued.add(db, vec![row], consent).await?;
        }
        Ok(requeued)
    })
    .await
}

/// Mails that are requeued in one commit.
const CHUNK: i64 = 500;

/// Which mails are requeued in bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Failed,
    Unknown,
    /// Those that were cancelled as suppressed and no longer are.
    Suppressed,
}

impl Which {
    fn condition(self) -> &'static str {
        match self {
            Self::Failed => "status = 'FAILED'",
            Self::Unknown => "status = 'UNKNOWN'",
            Self::Suppressed => "status = 'CANCELLED' AND last_reply LIKE 'suppressed: %'",
        }
    }
}

/// How many mails were cancelled because of a suppression that is no longer in force.
pub(super) async fn count_suppressed(cx: &Context, db: &mut Db, filter: &MailFilter) -> anyhow::Result<u64> {
    Ok(requeue_all(cx, db, Which::Suppressed, filter, true).await?.mails)
}

async fn requeue_all(
    cx: &Context,
    db: &mut Db,
    which: Which,
    filter: &MailFilter,
    is_dry_run: bool,
) -> anyhow::Result<Requeued> {
    let consent = cx.config.mail().consent;
    let state = which.condition();
    let selection = filter.narrow(cx, Selection::default())?;
    let selection = selection.only(Some(state)).only(Some("claimed_by IS NULL"));
    let mut requeued = Requeued::default();
    let mut position = 0;
    loop {
        let page = selection.clone().with("id > ?", Some(position));
        let found = format!("SELECT id FROM mails WHERE {} ORDER BY id LIMIT {CHUNK}", page.clause());
        let ids: Vec<(i64,)> = db.fetch_all(&found, page.values).await?;
        let Some((last,)) = ids.last() else { return Ok(requeued) };
        position = *last;
        let mut ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        if which == Which::Suppressed {
            ids = wanted(db, ids, consent).await?;
        }
        let numbers = db.numbers("$2");
        let rows = if is_dry_run {
            recipients(db, &ids).await?
        } else {
            let sql = format!(
                "UPDATE mails SET {AS_NEW} WHERE id IN {numbers} AND {state} AND claimed_by IS NULL {REQUEUED}"
            );
            db.fetch_all(&sql, values![cx.now(), json!(ids)]).await?
        };
        requeued.add(db, rows, consent).await?;
    }
}

/// The recipients of mails.
async fn recipients(db: &mut Db, ids: &[i64]) -> anyhow::Result<Vec<(i64, Option<StoredText>)>> {
    let sql = format!(
        "SELECT id, CASE WHEN OCTET_LENGTH(recipient) <= 4096 THEN recipient END AS recipient FROM mails
         WHERE id IN {}",
        db.numbers("$1")
    );
    Ok(db.fetch_all(&sql, values![json!(ids)]).await?)
}

/// Those of these mails that would be sent.
async fn wanted(db: &mut Db, ids: Vec<i64>, consent: ConsentRule) -> anyhow::Result<Vec<i64>> {
    let addressed = addressed(recipients(db, &ids).await?);
    let unwanted = unwanted(db, &addressed, consent).await?;
    Ok(ids.into_iter().filter(|id| !unwanted.contains_key(id)).collect())
}

/// Mails with their normalised addresses, those without one left out.
fn addressed(rows: Vec<(i64, Option<StoredText>)>) -> Vec<(i64, String)> {
    rows.into_iter()
        .filter_map(|(id, recipient)| {
            Some((id, address::normalised(&address::parse(&recipient?.read().ok()?).ok()?)))
        })
        .collect()
}

async fn requeue_one(
    db: &mut Db,
    id: i64,
    resend: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<(i64, Option<StoredText>)> {
    let sql = format!(
        "UPDATE mails SET {AS_NEW} WHERE id = $2 AND claimed_by IS NULL
         AND (status IN ('RETRY', 'UNKNOWN', 'FAILED', 'CANCELLED') OR (status = 'SENT' AND $3)) {REQUEUED}"
    );
    if let Some(row) = db.fetch_optional(&sql, values![now, id, resend]).await? {
        return Ok(row);
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
    let done = match cancelled {
        0 => "Nothing to cancel".to_owned(),
        count => format!("Cancelled {}", counted(count, "mail", "mails")),
    };
    if args.kind.is_some() {
        return tell(cx, &done);
    }
    cx.output.status(&done);
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
