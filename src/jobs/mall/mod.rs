//! `mall`: the shops whose data is stored here, and the tokens used to read it.

mod show;
pub mod sync;
pub mod token;

use chrono_tz::Tz;

use crate::clients::cafe24::{PLATFORM, is_account};
use crate::context::Context;
use crate::db::Db;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::money::is_known_currency;
use crate::runner::{Action, Job, JobCommand, JobSpec};
use crate::shop::malls::{APP, Mall, all_malls, is_code, selected_malls};
use crate::values;

/// The possible sources of a mall's data.
const PLATFORMS: [&str; 3] = ["csv", PLATFORM, APP];

/// The jobs of malls.
pub const SPECS: &[JobSpec] = &[sync::Args::SPEC];

/// Manage malls, their access tokens and their synchronisation
#[derive(Debug, clap::Subcommand)]
pub enum MallCommand {
    #[expect(missing_docs, reason = "the help of a job is its spec")]
    Sync(JobCommand<sync::Args>),
    /// Add a mall or change an existing one
    Add(AddArgs),
    /// List the malls
    List,
    /// Include a disabled mall in all jobs again
    Enable {
        /// The mall's code or ID
        mall: String,
    },
    /// Exclude a mall from all jobs; its data is kept
    Disable {
        /// The mall's code or ID
        mall: String,
    },
    /// Show everything known about a mall
    Show {
        /// The mall's code or ID
        mall: String,
    },
    /// Manage the tokens used to read malls' data
    #[command(subcommand)]
    Token(token::Token),
}

/// Add a mall or change an existing one
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Its code in files and flags
    code: String,
    /// Its display name
    #[arg(long)]
    name: Option<String>,
    /// Its time zone (default: `BATCHCTL_TZ`)
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// Its currency
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Where its data comes from: files, the API of its platform, or an application of yours that keeps its orders in this
    /// database (default: csv)
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = clap::builder::PossibleValuesParser::new(PLATFORMS))]
    platform: Option<String>,
    /// Its ID on the platform (default: the code)
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Which of the account's shops it is (default: 1)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    shop_no: Option<i64>,
}

impl MallCommand {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Sync(job) => job.into(),
            Self::Add(args) => Action::plain(cx, add(cx, args)),
            Self::List => Action::plain(cx, list(cx)),
            Self::Enable { mall } => Action::plain(cx, set_active(cx, mall, true)),
            Self::Disable { mall } => Action::plain(cx, set_active(cx, mall, false)),
            Self::Show { mall } => Action::plain(cx, show::show(cx, mall)),
            Self::Token(token) => token.action(cx),
        }
    }
}

async fn add(cx: &Context, args: &AddArgs) -> anyhow::Result<()> {
    if !is_code(&args.code) {
        return Err(Failure::usage(format!(
            "`{}` is not a valid mall code: use letters, digits, `-`, `_` and `.`",
            args.code
        ))
        .into());
    }
    if let Some(currency) = args.currency.as_ref().filter(|currency| !is_known_currency(currency)) {
        return Err(Failure::usage(format!(
            "`{currency}` is not a currency: write an ISO 4217 code such as JPY"
        ))
        .into());
    }
    if let Some(account) = args.account.as_ref().filter(|account| !is_code(account)) {
        return Err(Failure::usage(format!(
            "`{account}` is not a valid account: use letters, digits, `-`, `_` and `.`"
        ))
        .into());
    }
    let mut db = cx.db().await?;
    let known = all_malls(&mut db).await?.into_iter().find(|mall| mall.code == args.code);
    let Some(currency) = args.currency.clone().or(known.as_ref().map(|mall| mall.currency.clone())) else {
        return Err(Failure::usage("a new mall needs --currency").hint("for example --currency JPY").into());
    };
    if let Some(known) = known.as_ref().filter(|known| known.currency != currency) {
        refuse_other_currency(&mut db, known, &currency).await?;
    }
    let before = |field: fn(&Mall) -> &String| known.as_ref().map(|mall| field(mall).clone());
    let name = args.name.clone().or(before(|mall| &mall.name)).unwrap_or_else(|| args.code.clone());
    let platform = args
        .platform
        .as_ref()
        .map(|platform| platform.to_ascii_lowercase())
        .or(before(|mall| &mall.platform))
        .unwrap_or_else(|| "csv".to_owned());
    let time_zone = args
        .time_zone
        .map(|zone| zone.name().to_owned())
        .or(before(|mall| &mall.time_zone))
        .unwrap_or_else(|| cx.time_zone().name().to_owned());
    let account = args.account.clone().or(known.as_ref().and_then(|mall| mall.account.clone()));
    let shop_no = args.shop_no.or(known.as_ref().map(|mall| mall.shop_no)).unwrap_or(1);
    if platform == PLATFORM {
        let account = account.as_deref().unwrap_or(&args.code);
        if !is_account(account) {
            return Err(Failure::usage(format!("`{account}` is not the ID of a mall at Cafe24"))
                .hint("it is the first part of the shop's address: --account ID")
                .into());
        }
        refuse_shop_of_other_mall(&mut db, &args.code, account, shop_no).await?;
    }
    db.execute(
        "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, account, shop_no, created_at,
             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
         ON CONFLICT (code) DO UPDATE SET name = excluded.name, platform = excluded.platform,
             time_zone = excluded.time_zone, currency = excluded.currency, is_active = excluded.is_active,
             account = excluded.account, shop_no = excluded.shop_no, updated_at = excluded.updated_at",
        values![
            &args.code,
            &name,
            &platform,
            &time_zone,
            &currency,
            true,
            account.clone(),
            shop_no,
            cx.machine_time()
        ],
    )
    .await?;
    db.close().await;
    let Some(known) = known else {
        cx.output
            .status(&format!("Added mall `{}` ({name}, {platform}, {time_zone}, {currency})", args.code));
        return Ok(());
    };
    let now =
        Mall { name, platform, time_zone, currency, account, shop_no, is_active: true, ..known.clone() };
    let changes = changes(&known, &now);
    cx.output.status(&if changes.is_empty() {
        format!("Mall `{}` is unchanged", args.code)
    } else {
        format!("Changed mall `{}`: {}", args.code, changes.join(", "))
    });
    Ok(())
}

/// What has become of a mall, from what to what.
fn changes(before: &Mall, now: &Mall) -> Vec<String> {
    let account = |mall: &Mall| format!("{}/{}", mall.account(), mall.shop_no);
    let fields = [
        ("name", before.name.clone(), now.name.clone()),
        ("platform", before.platform.clone(), now.platform.clone()),
        ("time zone", before.time_zone.clone(), now.time_zone.clone()),
        ("currency", before.currency.clone(), now.currency.clone()),
        ("account", account(before), account(now)),
    ];
    let mut changes: Vec<String> = fields
        .into_iter()
        .filter(|(_, before, now)| before != now)
        .map(|(field, before, now)| format!("{field} from `{before}` to `{now}`"))
        .collect();
    if before.is_active != now.is_active {
        changes.push("enabled again".to_owned());
    }
    changes
}

/// The same shop under two codes would count each of its orders twice.
async fn refuse_shop_of_other_mall(
    db: &mut Db,
    code: &str,
    account: &str,
    shop_no: i64,
) -> anyhow::Result<()> {
    let is_same = |mall: &&Mall| {
        mall.code != code && mall.platform == PLATFORM && mall.account() == account && mall.shop_no == shop_no
    };
    match all_malls(db).await?.iter().find(is_same) {
        None => Ok(()),
        Some(other) => Err(Failure::refused(format!(
            "mall `{}` is already shop {shop_no} of the account `{account}`",
            other.code
        ))
        .hint("another shop of the same account has another --shop-no")
        .into()),
    }
}

/// Amounts are in minor units of a currency: under another currency the stored amounts would have a different meaning.
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
    .hint("add another mall, or state the currency of each line in the column `currency`")
    .into())
}

async fn set_active(cx: &Context, name: &str, is_active: bool) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let word = if is_active { "enabled" } else { "disabled" };
    for mall in selected_malls(&mut db, &[name.to_owned()]).await? {
        if mall.is_active == is_active {
            cx.output.status(&format!("Mall `{}` is already {word}", mall.code));
            continue;
        }
        db.execute(
            "UPDATE malls SET is_active = $1, updated_at = $2 WHERE id = $3",
            values![is_active, cx.machine_time(), mall.id],
        )
        .await?;
        cx.output.status(&format!("{} mall `{}`", if is_active { "Enabled" } else { "Disabled" }, mall.code));
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
                Cell::text(account_of(mall)),
                Cell::text(state_of(mall)),
            ])
        })
        .collect();
    let table = Table {
        key: "malls",
        title: String::new(),
        columns: vec![
            text("id", "ID"),
            text("code", "Code"),
            text("name", "Name"),
            text("time_zone", "Time zone"),
            text("money", "Currency"),
            text("platform", "Platform"),
            text("account", "Account").wide_only(),
            text("state", "State"),
        ],
        rows,
    };
    Ok(cx.output.data(terminal::render_list(&table, cx.output.width(), cx.output.colour()).as_bytes())?)
}

/// Whether jobs work on it; for a row that cannot be read, why they do not.
fn state_of(mall: &Mall) -> String {
    match (mall.is_active, mall.problems.is_empty()) {
        (true, true) => "active".to_owned(),
        (true, false) => format!("! {}", mall.problems),
        (false, _) => "disabled".to_owned(),
    }
}

/// The account, with the shop's number unless it is the first; empty if it is the same as the code.
fn account_of(mall: &Mall) -> String {
    match (&mall.account, mall.shop_no) {
        (None, 1) => String::new(),
        (_, 1) => mall.account().to_owned(),
        (_, shop_no) => format!("{}/{shop_no}", mall.account()),
    }
}
