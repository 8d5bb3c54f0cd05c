//! `mail suppress`: the addresses that get no mail or no advertising.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::address;
use crate::context::Context;
use crate::db::FromRow;
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::failure::Failure;
use crate::mask::mask_email;
use crate::period::shown_instant;
use crate::values;

/// Manage the addresses that get no mail
#[derive(Debug, clap::Subcommand)]
pub enum Suppress {
    /// Suppress an address: send nothing more to it
    Add(AddArgs),
    /// Remove an address from the list, so that mails are sent to it again
    Remove(RemoveArgs),
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

/// Remove an address from the list, so that mails are sent to it again
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The address
    address: String,
}

/// List suppressed addresses, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List at most this many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

impl Suppress {
    pub(super) async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => add(cx, args).await,
            Self::Remove(args) => remove(cx, args).await,
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
    let reason = match args.reason {
        Reason::Bounce => "BOUNCE",
        Reason::Complaint => "COMPLAINT",
        Reason::Unsubscribe => "UNSUBSCRIBE",
        Reason::Manual => "MANUAL",
    };
    let mut db = cx.db().await?;
    // A suppression of all mail is not weakened by one of advertising only.
    db.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, detail, mail_id, created_at)
         VALUES ($1, $2, $3, $4, NULL, $5)
         ON CONFLICT (address) DO UPDATE SET scope = $2, reason = $3, detail = $4, created_at = $5
         WHERE mail_suppressions.scope <> 'ALL' OR $2 = 'ALL'",
        values![&address, scope, reason, args.detail.as_deref(), cx.now()],
    )
    .await?;
    db.close().await;
    cx.output.status(&format!("Suppressed {}", mask_email(&address)));
    Ok(())
}

async fn remove(cx: &Context, args: &RemoveArgs) -> anyhow::Result<()> {
    let address = normalised(&args.address)?;
    let mut db = cx.db().await?;
    let removed = db.execute("DELETE FROM mail_suppressions WHERE address = $1", values![&address]).await?;
    db.close().await;
    if removed == 0 {
        return Err(Failure::failed(format!("{} is not suppressed", mask_email(&address))).into());
    }
    cx.output.status(&format!("Removed the suppression of {}", mask_email(&address)));
    Ok(())
}

#[derive(Debug, Serialize, FromRow)]
struct Suppressed {
    address: String,
    scope: String,
    reason: String,
    detail: Option<String>,
    mail_id: Option<i64>,
    created_at: DateTime<Utc>,
}

async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let suppressed: Vec<Suppressed> = db
        .fetch_all(
            "SELECT address, scope, reason, detail, mail_id, created_at FROM mail_suppressions
             ORDER BY created_at DESC, address LIMIT $1",
            values![i64::from(args.limit)],
        )
        .await?;
    db.close().await;
    args.format.print(&cx.output, &suppressed, "no suppressed addresses", |suppressed| {
        table(suppressed, cx.time_zone())
    })
}

fn table(suppressed: &[Suppressed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let rows = suppressed
        .iter()
        .map(|row| {
            Row::new(vec![
                Cell::text(mask_email(&row.address)),
                Cell::text(row.scope.as_str()),
                Cell::text(row.reason.as_str()),
                Cell::text(shown_instant(row.created_at, time_zone)),
                Cell::text(row.mail_id.map(|id| id.to_string()).unwrap_or_default()),
                Cell::text(row.detail.as_deref().unwrap_or_default()),
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
            text("detail", "Detail").wide_only(),
        ],
        rows,
    }
}
