//! `mall add|list|disable`: the shops whose data is kept here.

use chrono_tz::Tz;

use crate::clock::machine_time;
use crate::context::Context;
use crate::db::Db;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::money::is_known_currency;
use crate::values;

use super::malls::{Mall, all_malls, selected_malls};

/// The malls whose data is kept here
#[derive(Debug, clap::Subcommand)]
pub enum MallCommand {
    /// Add a mall, or change one that is there
    Add(AddArgs),
    /// List the malls
    List,
    /// Take a mall out of all jobs; its data stays
    Disable {
        /// The mall's code or number
        mall: String,
    },
}

/// Add a mall, or change one that is there
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The code by which files and flags name it
    code: String,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Its time zone (default: `BATCHCTL_TZ`)
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// Its currency
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Where its data comes from
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
}

impl MallCommand {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => add(cx, args).await,
            Self::List => list(cx).await,
            Self::Disable { mall } => disable(cx, mall).await,
        }
    }
}

async fn add(cx: &Context, args: &AddArgs) -> anyhow::Result<()> {
    let is_plain = |code: &str| {
        !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if !is_plain(&args.code) || args.code.starts_with('-') {
        return Err(Failure::usage(format!(
            "`{}` is no mall code: write letters, digits, `-`, `_`, `.`",
            args.code
        ))
        .into());
    }
    if let Some(currency) = args.currency.as_ref().filter(|currency| !is_known_currency(currency)) {
        return Err(Failure::usage(format!(
            "`{currency}` is no currency: write an ISO 4217 code such as JPY"
        ))
        .into());
    }
    let mut db = cx.db().await?;
    let known = all_malls(&mut db).await?.into_iter().find(|mall| mall.code == args.code);
    let Some(currency) = args.currency.clone().or(known.as_ref().map(|mall| mall.currency.clone())) else {
        return Err(Failure::usage("a new mall needs its --currency")
            .hint("for example --currency JPY")
            .into());
    };
    if let Some(known) = known.as_ref().filter(|known| known.currency != currency) {
        refuse_other_currency(&mut db, known, &currency).await?;
    }
    let before = |field: fn(&Mall) -> &String| known.as_ref().map(|mall| field(mall).clone());
    let name = args.name.clone().or(before(|mall| &mall.name)).unwrap_or_else(|| args.code.clone());
    let platform =
        args.platform.clone().or(before(|mall| &mall.platform)).unwrap_or_else(|| "csv".to_owned());
    let time_zone = args
        .time_zone
        .map(|zone| zone.name().to_owned())
        .or(before(|mall| &mall.time_zone))
        .unwrap_or_else(|| cx.time_zone().name().to_owned());
    db.execute(
        "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (code) DO UPDATE SET name = excluded.name, platform = excluded.platform,
             time_zone = excluded.time_zone, currency = excluded.currency, is_active = excluded.is_active,
             updated_at = excluded.updated_at",
        values![&args.code, &name, &platform, &time_zone, &currency, true, machine_time()],
    )
    .await?;
    db.close().await;
    let did = match &known {
        None => "Added",
        Some(known) if known.is_active => "Changed",
        Some(_) => "Changed and enabled again",
    };
    cx.output.status(&format!("{did} mall `{}` ({name}, {time_zone}, {currency})", args.code));
    Ok(())
}

/// Amounts are in minor units of a currency: under another one, what is stored would mean something else.
async fn refuse_other_currency(db: &mut Db, mall: &Mall, currency: &str) -> anyhow::Result<()> {
    let stored: Option<(i64,)> = db
        .fetch_optional(
            "SELECT id FROM orders WHERE mall_id = $1 UNION ALL SELECT id FROM products WHERE mall_id = $1 LIMIT 1",
            values![mall.id],
        )
        .await?;
    if stored.is_none() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "mall `{}` has orders or products in {}; it cannot become a mall in {currency}",
        mall.code, mall.currency
    ))
    .hint("add another mall, or give the currency of each line in the column `currency`")
    .into())
}

async fn disable(cx: &Context, name: &str) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    for mall in selected_malls(&mut db, &[name.to_owned()]).await? {
        db.execute(
            "UPDATE malls SET is_active = $1, updated_at = $2 WHERE id = $3",
            values![false, machine_time(), mall.id],
        )
        .await?;
        cx.output.status(&format!("Disabled mall `{}`", mall.code));
    }
    db.close().await;
    Ok(())
}

async fn list(cx: &Context) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let malls = all_malls(&mut db).await?;
    db.close().await;
    if malls.is_empty() {
        return Ok(cx.output.data(b"no malls\n")?);
    }
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let rows = malls
        .iter()
        .map(|mall| {
            Row::new(vec![
                Cell::text(mall.id.to_string()),
                Cell::text(mall.code.as_str()),
                Cell::text(mall.name.as_str()),
                Cell::text(mall.time_zone.as_str()),
                Cell::text(mall.currency.as_str()),
                Cell::text(mall.platform.as_str()),
                Cell::text(if mall.is_active { "active" } else { "disabled" }),
            ])
        })
        .collect();
    let table = Table {
        key: "malls",
        title: String::new(),
        columns: vec![
            text("id", "Number"),
            text("code", "Code"),
            text("name", "Name"),
            text("time_zone", "Time zone"),
            text("money", "Currency"),
            text("platform", "Platform"),
            text("state", "State"),
        ],
        rows,
    };
    Ok(cx.output.data(terminal::render_list(&table, cx.output.width(), cx.output.colour()).as_bytes())?)
}
