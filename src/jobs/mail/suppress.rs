//! `mail suppress`: the addresses that get nothing, or no advertising.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::FromRow;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::mail::address;
use crate::mask::mask_email;
use crate::values;

use super::list::ListFormat;

/// Addresses that get no mail
#[derive(Debug, clap::Subcommand)]
pub enum Suppress {
    /// Send nothing more to an address
    Add(AddArgs),
    /// Send to an address again
    Remove(RemoveArgs),
    /// List suppressed addresses, the newest first
    List(ListArgs),
}

/// What is kept from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scope {
    /// Every mail
    All,
    /// Advertising
    Marketing,
}

/// Why an address is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Reason {
    /// Its server says that it does not exist
    Bounce,
    /// Its owner reported a mail as spam
    Complaint,
    /// Its owner does not want more
    Unsubscribe,
    /// Somebody here decided so
    Manual,
}

/// Send nothing more to an address
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The address
    address: String,
    /// What is kept from it
    #[arg(long, value_enum, default_value = "all")]
    scope: Scope,
    /// Why
    #[arg(long, value_enum, default_value = "manual")]
    reason: Reason,
    /// A remark for whoever looks later
    #[arg(long, value_name = "TEXT")]
    detail: Option<String>,
}

/// Send to an address again
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The address
    address: String,
}

/// List suppressed addresses, the newest first
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

/// The address as it is kept. Not repeated in the error: it is personal, and what was pasted may be anything.
fn normalised(text: &str) -> Result<String, Failure> {
    match address::parse(text) {
        Ok(mailbox) => Ok(address::normalised(&mailbox)),
        Err(problem) => Err(Failure::usage(format!("{problem}: write one like hanako@example.jp"))),
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
    // What keeps back everything is not weakened by what keeps back less.
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
    cx.output.status(&format!("{} is sent to again", mask_email(&address)));
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
    let text = match args.format {
        ListFormat::Json => serde_json::to_string_pretty(&suppressed)? + "\n",
        ListFormat::Table if suppressed.is_empty() => "no suppressed addresses\n".to_owned(),
        ListFormat::Table => {
            terminal::render_list(&table(&suppressed, cx.time_zone()), cx.output.width(), cx.output.colour())
        }
    };
    Ok(cx.output.data(text.as_bytes())?)
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
                Cell::text(
                    row.created_at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M:%S %Z").to_string(),
                ),
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
            text("scope", "Keeps back"),
            text("reason", "Reason"),
            text("since", "Since"),
            text("mail", "Mail"),
            text("detail", "Detail").wide_only(),
        ],
        rows,
    }
}
