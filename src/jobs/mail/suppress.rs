//! `mail suppress`: the addresses that get no mail or no advertising.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use clap::ArgGroup;
use serde::Serialize;
use serde_json::json;

use crate::address::{self, spellings};
use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::failure::Failure;
use crate::jobs::listing::{Selection, beginning, shown_time};
use crate::mask::mask_email;
use crate::values;
use crate::wording::counted;

use super::list::{print_rest, shown_status};
use super::requeue::count_suppressed;
use super::selection::{MailFilter, Occurrence, of_address};

/// Manage the addresses that get no mail
#[derive(Debug, clap::Subcommand)]
pub enum Suppress {
    /// Suppress an address: send nothing more to it
    Add(AddArgs),
    /// Remove suppressions, of an address or in bulk, so that mails are sent again
    Remove(RemoveArgs),
    /// Confirm held suppressions, so that they come into force
    Confirm(ConfirmArgs),
    /// List suppressed addresses, newest first
    List(ListArgs),
}

/// Which mails are suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scope {
    /// Every mail
    All,
    /// Advertising
    Marketing,
}

/// The reason an address is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Reason {
    /// Its server reports that it does not exist
    Bounce,
    /// Its owner reported a mail as spam
    Complaint,
    /// Its owner unsubscribed
    Unsubscribe,
    /// An operator decided so
    Manual,
}

impl Reason {
    /// Its value in the table.
    fn word(self) -> &'static str {
        match self {
            Self::Bounce => "BOUNCE",
            Self::Complaint => "COMPLAINT",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Manual => "MANUAL",
        }
    }
}

/// Suppress an address: send nothing more to it
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The address
    address: String,
    /// Which mails to suppress
    #[arg(long, value_enum, default_value = "all")]
    scope: Scope,
    /// The reason
    #[arg(long, value_enum, default_value = "manual")]
    reason: Reason,
    /// A note for the record
    #[arg(long, value_name = "TEXT")]
    detail: Option<String>,
}

/// Remove suppressions, of an address or in bulk, so that mails are sent again
///
/// Each reason is lifted by itself. What a recipient has said, an unsubscription or a complaint, is lifted only for one
/// address and by its name.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("removed").required(true).multiple(true).args(["address", "run", "since", "until", "held", "reason"])))]
pub struct RemoveArgs {
    /// The address
    address: Option<String>,
    /// Remove those for this reason (default: bounce and manual)
    #[arg(long, value_enum)]
    reason: Option<Reason>,
    #[command(flatten)]
    occurrence: Occurrence,
    /// Count what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Confirm held suppressions, so that they come into force
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {
    /// Confirm those of this run of `mail flush` (default: all)
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
}

/// List suppressed addresses, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List the suppressions of this address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// List those for this reason
    #[arg(long, value_enum)]
    reason: Option<Reason>,
    #[command(flatten)]
    occurrence: Occurrence,
    /// List at most this many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Leave out this many of the newest
    #[arg(long, default_value_t = 0)]
    offset: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Suppress {
    pub(super) async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => add(cx, args).await,
            Self::Remove(args) => remove(cx, args).await,
            Self::Confirm(args) => confirm(cx, args).await,
            Self::List(args) => list(cx, args).await,
        }
    }
}

/// The address as stored. The error does not quote it: it is personal, and anything may have been pasted.
fn normalised(text: &str) -> Result<String, Failure> {
    match address::parse(text) {
        Ok(mailbox) => Ok(address::normalised(&mailbox)),
        Err(problem) => Err(Failure::usage(format!("{problem}: write it like hanako@example.jp"))),
    }
}

async fn add(cx: &Context, args: &AddArgs) -> anyhow::Result<()> {
    let address = normalised(&args.address)?;
    let scope = match args.scope {
        Scope::All => "ALL",
        Scope::Marketing => "MARKETING",
    };
    let mut db = cx.db().await?;
    // A suppression of all mail is not weakened by one of advertising only. Other reasons are other rows.
    db.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, detail, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (address, reason) DO UPDATE
             SET scope = $2, detail = $4, created_at = $5, mail_id = NULL, run_id = NULL, is_held = FALSE
         WHERE mail_suppressions.scope <> 'ALL' OR mail_suppressions.is_held OR $2 = 'ALL'",
        values![&address, scope, args.reason.word(), args.detail.as_deref(), cx.now()],
    )
    .await?;
    db.close().await;
    cx.output.status(&format!("Suppressed {}", mask_email(&address)));
    Ok(())
}

impl RemoveArgs {
    /// Which suppressions are removed.
    fn selection(&self, cx: &Context, address: Option<&str>) -> Result<Selection, Failure> {
        if let (Some(Reason::Unsubscribe | Reason::Complaint), None) = (self.reason, address) {
            return Err(Failure::usage(
                "what recipients have said is lifted for one address at a time: name it",
            ));
        }
        let selection = of_address(Selection::default(), address)
            .with("reason = ?", self.reason.map(Reason::word))
            .only(self.reason.is_none().then_some("reason IN ('BOUNCE', 'MANUAL')"));
        self.occurrence.narrow(cx, selection, "run_id = ?", "created_at")
    }
}

async fn remove(cx: &Context, args: &RemoveArgs) -> anyhow::Result<()> {
    let address = args.address.as_deref().map(normalised).transpose()?;
    let selection = args.selection(cx, address.as_deref())?;
    let mut db = cx.db().await?;
    if args.dry_run {
        let sql = format!("SELECT COUNT(*) FROM mail_suppressions WHERE {}", selection.clause());
        let (count,): (i64,) = db.fetch_one(&sql, selection.values).await?;
        db.close().await;
        cx.output
            .data(format!("Would remove {}\n", counted(count, "suppression", "suppressions")).as_bytes())?;
        return Ok(());
    }
    let (removed, since) = db
        .transaction(async |db| {
            forget_counts(db, &selection).await?;
            let since = earliest(db, &selection).await?;
            let sql = format!("DELETE FROM mail_suppressions WHERE {}", selection.clause());
            Ok((db.execute(&sql, selection.values).await?, since))
        })
        .await?;
    let left = match &address {
        Some(address) => reasons(&mut db, address).await?,
        None => Vec::new(),
    };
    let unsent = match since {
        Some(since) => unsent(cx, &mut db, address.clone(), since).await?,
        None => None,
    };
    db.close().await;
    if let Some(address) = address {
        tell_removed(cx, &mask_email(&address), removed, &left)?;
    } else {
        let count = counted(removed, "suppression", "suppressions");
        cx.output.data(format!("Removed {count}\n").as_bytes())?;
    }
    // Also in a script: nothing else says that these mails exist.
    unsent.map_or(Ok(()), |unsent| Ok(cx.output.data(format!("{unsent}\n").as_bytes())?))
}

/// When the first of these suppressions came about.
async fn earliest(db: &mut Db, selection: &Selection) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sql = format!("SELECT MIN(created_at) FROM mail_suppressions WHERE {}", selection.clause());
    let (since,): (Option<StoredTime>,) = db.fetch_one(&sql, selection.values.clone()).await?;
    Ok(since.and_then(|since| since.at()))
}

/// The mails that were cancelled while these suppressions were in force, and how they are sent after all: they may be out of
/// date by now, so that a person has to decide.
async fn unsent(
    cx: &Context,
    db: &mut Db,
    address: Option<String>,
    since: DateTime<Utc>,
) -> anyhow::Result<Option<String>> {
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let to = if address.is_some() { " --to ADDRESS" } else { "" };
    let count = count_suppressed(cx, db, &MailFilter::since(address, since.clone())).await?;
    let (mails, are, them) = if count == 1 { ("mail", "was", "it") } else { ("mails", "were", "them") };
    Ok((count > 0).then(|| {
        format!(
            "{count} {mails} that would be sent now {are} cancelled since then; to queue {them} again: \
             `batchctl mail requeue --suppressed --since {since}{to}`"
        )
    }))
}

/// What a person has decided about a run no longer speaks against the next ones.
async fn forget_counts(db: &mut Db, selection: &Selection) -> anyhow::Result<()> {
    let sql = format!(
        "DELETE FROM mail_bounce_counts
         WHERE run_id IN (SELECT run_id FROM mail_suppressions WHERE is_held AND {})",
        selection.clause()
    );
    db.execute(&sql, selection.values.clone()).await?;
    Ok(())
}

/// For which reasons an address is suppressed, and what of its mail.
async fn reasons(db: &mut Db, address: &str) -> anyhow::Result<Vec<String>> {
    let sql = format!(
        "SELECT reason || CASE WHEN scope = 'ALL' THEN '' ELSE ' (advertising)' END
         FROM mail_suppressions WHERE address IN {} AND NOT is_held ORDER BY reason",
        db.elements("$1")
    );
    let found: Vec<(String,)> =
        db.fetch_all(&sql, values![json!(spellings(address).collect::<Vec<_>>())]).await?;
    Ok(found.into_iter().map(|(reason,)| reason).collect())
}

fn tell_removed(cx: &Context, address: &str, removed: u64, left: &[String]) -> anyhow::Result<()> {
    let still = left.join(", ");
    if removed == 0 {
        let failure = match left {
            [] => Failure::failed(format!("{address} is not suppressed")),
            _ => Failure::failed(format!("{address} is suppressed for another reason: {still}"))
                .hint("--reason lifts a suppression by its reason, such as --reason unsubscribe"),
        };
        return Err(failure.into());
    }
    match left {
        [] => cx.output.status(&format!("Removed the suppression of {address}")),
        // Also in a script: mails to it are still not sent.
        _ => cx.output.data(format!("{address} is still suppressed: {still}\n").as_bytes())?,
    }
    Ok(())
}

async fn confirm(cx: &Context, args: &ConfirmArgs) -> anyhow::Result<()> {
    let selection = Selection::default().only(Some("is_held")).with("run_id = ?", args.run);
    let mut db = cx.db().await?;
    let confirmed = db
        .transaction(async |db| {
            forget_counts(db, &selection).await?;
            let sql = format!("UPDATE mail_suppressions SET is_held = FALSE WHERE {}", selection.clause());
            Ok(db.execute(&sql, selection.values).await?)
        })
        .await?;
    db.close().await;
    let count = counted(confirmed, "suppression", "suppressions");
    Ok(cx.output.data(format!("Confirmed {count}\n").as_bytes())?)
}

#[derive(Debug, Serialize, FromRow)]
struct Suppressed {
    address: StoredText,
    scope: String,
    reason: String,
    detail: Option<StoredText>,
    mail_id: Option<i64>,
    run_id: Option<i64>,
    is_held: bool,
    created_at: StoredTime,
}

async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let address = args.to.as_deref().map(normalised).transpose()?;
    let selection = of_address(Selection::default(), address.as_deref())
        .with("reason = ?", args.reason.map(Reason::word));
    let mut selection = args.occurrence.narrow(cx, selection, "run_id = ?", "created_at")?;
    let clause = selection.clause();
    let mut db = cx.db().await?;
    let (total,): (i64,) = db
        .fetch_one(
            &format!("SELECT COUNT(*) FROM mail_suppressions WHERE {clause}"),
            selection.values.clone(),
        )
        .await?;
    selection.values.extend(values![i64::from(args.limit), i64::from(args.offset)]);
    let last = selection.values.len();
    let suppressed: Vec<Suppressed> = db
        .fetch_all(
            &format!(
                "SELECT {address}, scope, reason, {detail}, mail_id, run_id, is_held, created_at FROM mail_suppressions
                 WHERE {clause} ORDER BY created_at DESC, {by_address}, reason LIMIT ${limit} OFFSET ${last}",
                address = beginning("address"),
                detail = beginning("detail"),
                by_address = db.by_bytes("mail_suppressions.address"),
                limit = last - 1
            ),
            selection.values,
        )
        .await?;
    db.close().await;
    args.format.print(&cx.output, &suppressed, "no suppressed addresses", |suppressed| {
        table(suppressed, cx.time_zone())
    })?;
    print_rest(cx, args.format, suppressed.len(), args.offset, total, "suppression", "suppressions")
}

fn table(suppressed: &[Suppressed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |id: Option<i64>| Cell::text(id.map(|id| id.to_string()).unwrap_or_default());
    let rows = suppressed
        .iter()
        .map(|row| {
            Row::new(vec![
                Cell::text(mask_email(row.address.shown())),
                Cell::text(row.scope.as_str()),
                Cell::text(shown_status(&row.reason, row.is_held)),
                Cell::text(shown_time(&row.created_at, time_zone)),
                number(row.mail_id),
                number(row.run_id),
                Cell::text(row.detail.as_ref().map_or("", StoredText::shown)),
            ])
        })
        .collect();
    Table {
        key: "suppressions",
        title: String::new(),
        columns: vec![
            text("address", "Address"),
            text("scope", "Scope"),
            text("reason", "Reason"),
            text("since", "Since"),
            text("mail", "Mail"),
            text("run", "Run"),
            text("detail", "Detail").wide_only(),
        ],
        rows,
    }
}
