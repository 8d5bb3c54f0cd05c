//! `demo`: a deterministic example shop, and the day's jobs on it, run as a user would type them.
//!
//! Three malls (Tokyo, Seoul, New York) have sold for sixty days, up to the newest finished one. The data is loaded as a
//! real shop's is: from CSV files with `data import`, which stay behind as examples. From today on an application keeps the
//! orders of one of them in the database, some of which nobody pays. With `--cafe24` it is two malls of a local Cafe24
//! instead, and `mall sync`.

mod application;
mod cafe24;
mod shop;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use url::Url;

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::runner::{ExitCode, report_error};
use crate::shop::malls::APP;
use crate::values;

/// How many days the shop has sold.
const DAYS: u64 = 60;
/// Marks the demo's own malls, so that a second demo recognises them.
const PLATFORM: &str = "demo";

/// Create an example shop and run the day's jobs on it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the example's files to this folder: its data, the reports, the events and their settings
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// Synchronise two malls of the local Cafe24 (`scripts/fakes/cafe24`) at this address instead
    #[arg(long, value_name = "URL", value_parser = cafe24::parse_address)]
    cafe24: Option<Url>,
}

/// Runs a command line as a user would type it.
pub type RunLine = for<'a> fn(&'a Context, &'a [String]) -> LocalBoxFuture<'a, ExitCode>;

/// The commands to run, and the files that they will create.
struct Prepared {
    /// The commands, without the program.
    commands: Vec<Vec<String>>,
    /// Their context, if it differs from the demo's own.
    cx: Option<Context>,
    closing: Closing,
}

/// What to show at the end.
enum Closing {
    /// The files in this folder, once an application's orders have been taken and worked on too.
    Files(PathBuf),
    /// The malls whose settings are in this folder.
    Cafe24(PathBuf),
}

/// Makes the example, and runs the day's jobs on it.
pub async fn demo(cx: &Context, args: &Args, run_line: RunLine) -> ExitCode {
    match Box::pin(try_demo(cx, args, run_line)).await {
        Ok(code) => code,
        Err(error) => report_error(cx, &error),
    }
}

async fn try_demo(cx: &Context, args: &Args, run_line: RunLine) -> anyhow::Result<ExitCode> {
    // Whoever wants an example means this environment, even beside a `.env.prod`.
    let cx = &cx.under(cx.config.with_variables(&[])?, cx.output.clone());
    let prepared = prepare(cx, args).await?;
    let own = prepared.cx.as_ref().unwrap_or(cx);
    let mut code = run_lines(own, &prepared.commands, run_line).await;
    if code != ExitCode::Completed {
        return Ok(code);
    }
    let closing = match &prepared.closing {
        Closing::Files(folder) => {
            application::take_orders(own).await?;
            let own = application::context_in(own, folder)?;
            code = run_lines(&own, &application::commands(), run_line).await;
            if code != ExitCode::Completed {
                return Ok(code);
            }
            let has_open_order = application::has_open_order(&own).await?;
            files_to_open(folder)? + &application::next_steps(folder, has_open_order)
        }
        Closing::Cafe24(folder) => cafe24::next_steps(folder),
    };
    own.output.text(&closing)?;
    Ok(code)
}

/// Runs commands until one does not complete.
async fn run_lines(cx: &Context, lines: &[Vec<String>], run_line: RunLine) -> ExitCode {
    for words in lines {
        let code = run_line(cx, words).await;
        if code != ExitCode::Completed {
            return code;
        }
    }
    ExitCode::Completed
}

/// Creates malls and files in a database that contains nothing else.
async fn prepare(cx: &Context, args: &Args) -> anyhow::Result<Prepared> {
    if cx.config.is_prod() {
        return Err(Failure::refused("the demo does not run with --env prod").hint("use --env dev").into());
    }
    if let Some(address) = &args.cafe24 {
        return cafe24::prepare(cx, address, &cx.working_dir().join(&args.out).join("cafe24")).await;
    }
    let mut db = cx.db().await?;
    refuse_other_data(&mut db).await?;
    let folder = cx.working_dir().join(&args.out);
    let data = folder.join("data");
    std::fs::create_dir_all(&data)
        .with_context(|| format!("failed to create the folder `{}`", data.display()))?;
    add_malls(&mut db, cx.machine_time()).await?;
    db.close().await;
    for (name, content) in shop::Shop::new(cx.now(), DAYS).files() {
        write_atomically(&data.join(name), |file| Ok(file.write_all(content.as_bytes())?))?;
    }
    cx.output
        .status(&format!("Created an example shop with three malls and {DAYS} days in {}", data.display()));
    let reports = folder.join("reports");
    Ok(Prepared { commands: commands(&data, &reports, cx.now()), cx: None, closing: Closing::Files(folder) })
}

/// The demo must not mix with anything real. The mall that an earlier demo has handed over stands beside others of its own.
async fn refuse_other_data(db: &mut Db) -> anyhow::Result<()> {
    let sql = "SELECT COUNT(*) FROM malls WHERE platform <> $1
               AND NOT (code = $2 AND platform = $3 AND EXISTS (SELECT 1 FROM malls own WHERE own.platform = $1))";
    let (others,): (i64,) = db.fetch_one(sql, values![PLATFORM, application::MALL, APP]).await?;
    if others == 0 { Ok(()) } else { Err(other_malls().into()) }
}

/// The failure when the database contains malls other than the demo's.
fn other_malls() -> Failure {
    Failure::refused("the database already contains other malls; the demo would mix with their data")
        .hint("use a separate database for the demo: BATCHCTL_DATABASE_URL=sqlite:demo.db batchctl demo")
}

/// Adds the malls, or takes one back from its application: what it sold until yesterday comes from files.
async fn add_malls(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<()> {
    for mall in shop::MALLS {
        db.execute(
            "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
             ON CONFLICT (code) DO UPDATE SET platform = excluded.platform",
            values![mall.code, mall.name, PLATFORM, mall.time_zone.name(), mall.currency, true, now],
        )
        .await?;
    }
    Ok(())
}

/// The commands of a day, in the order in which a shop would run them.
fn commands(data: &Path, reports: &Path, now: DateTime<Utc>) -> Vec<Vec<String>> {
    let last_days = || shop::MALLS.iter().map(|mall| mall.last_day(now));
    let newest = last_days().max().unwrap_or_default();
    // Over in each mall: in New York a day ends when the next one is half over in Tokyo.
    let last = last_days().min().unwrap_or_default();
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut commands = Vec::new();
    for kind in ["products", "members", "orders", "refunds"] {
        let mut import = words(&["data", "import", "--kind", kind]);
        import.push(path(data.join(format!("{kind}.csv"))));
        commands.push(import);
    }
    let first = newest - chrono::Days::new(DAYS - 1);
    let mut backfill = words(&["report", "daily-sales"]);
    backfill.extend(["--from".to_owned(), first.to_string(), "--to".to_owned(), newest.to_string()]);
    // Without a format the table of all sixty days would fill the terminal.
    backfill.extend([
        "--format".to_owned(),
        "csv".to_owned(),
        "--out".to_owned(),
        path(reports.join("60-days")),
    ]);
    commands.push(backfill);
    for locale in ["en", "ja", "ko"] {
        let mut report =
            words(&["report", "daily-sales", "--format", "pdf,xlsx,csv,json", "--locale", locale]);
        report.extend([
            "--date".to_owned(),
            last.to_string(),
            "--out".to_owned(),
            path(reports.join(locale)),
        ]);
        commands.push(report);
    }
    let mut shown = words(&["report", "daily-sales"]);
    shown.extend(["--date".to_owned(), last.to_string()]);
    commands.push(shown);
    commands
}

/// The names of the files to look at.
fn files_to_open(folder: &Path) -> anyhow::Result<String> {
    let reports = folder.join("reports");
    let mut paths = Vec::new();
    for folder in [
        folder.join(application::EVENTS),
        reports.join("en"),
        reports.join("ja"),
        reports.join("ko"),
        reports.join("60-days"),
    ] {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("failed to read the folder `{}`", folder.display()))?;
        for entry in entries {
            paths.push(entry?.path());
        }
    }
    // The lock of those who write events is none.
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
    paths.sort();
    let mut text = "Open these files:\n".to_owned();
    for path in paths {
        text.push_str(&format!("  {}\n", path.display()));
    }
    text.push_str("To see what ran: batchctl runs list\n");
    Ok(text)
}
