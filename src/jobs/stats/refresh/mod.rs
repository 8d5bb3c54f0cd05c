//! `stats refresh`: the day's snapshot: how many members, orders, products and carts are in which state now.
//!
//! Runs every night at one; the snapshot is that of the day on which it is taken, in the business time zone, so the one
//! of the 20th shows what the 19th left behind. What is not there any more cannot be counted: a snapshot of a past day
//! is refused, but for members, who keep the times of what became of them (`--reconstruct`), as they were when it began. Tenants have no table yet
//! and are not counted.

use chrono::{DateTime, NaiveDate, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::failure::Failure;
use crate::period::{day_bounds, parse_day};
use crate::runner::{Completed, Exclusion, Freshness, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, selected_malls};
use crate::values;

const PRESENT: &str = include_str!("present.sql");
const MEMBERS_THEN: &str = include_str!("members_then.sql");

/// Arguments of `stats refresh`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Take it for this day (default: today, the only day whose state is still there)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
    /// For a past day, make what can be made afterwards: members by status
    #[arg(long, requires = "date")]
    reconstruct: bool,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stats refresh",
        summary: "Take the day's snapshot of members, orders, products and carts",
        details: "",
        page: None,
        schedule: Some("0 1 * * *"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
    };

    type Unit = NaiveDate;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<NaiveDate>>> {
        let day = self.day(cx)?;
        if self.reconstruct {
            refuse_to_replace(db, day).await?;
        }
        if selected_malls(db, &[]).await?.is_empty() {
            cx.output.status("No active mall: nothing to count (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        Ok(vec![Planned::new(day.to_string(), day).exclusive_by(day.to_string()).with("date", day.to_string())])
    }

    async fn freshness(
        &self,
        _cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, NaiveDate>,
    ) -> anyhow::Result<Freshness> {
        let counted: Vec<(i64,)> = db
            .fetch_all(
                "SELECT DISTINCT mall_id FROM statistics_snapshots WHERE snapshot_day = $1",
                values![*completed.unit],
            )
            .await?;
        let malls = selected_malls(db, &[]).await?;
        let missing: Vec<&str> = malls
            .iter()
            .filter(|mall| !counted.contains(&(mall.id,)))
            .map(|mall| mall.code.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(Freshness::Current(None));
        }
        Ok(Freshness::Due(format!("nothing counted yet of {}", missing.join(", "))))
    }

    async fn run(&self, run: &mut Run<'_>, day: &NaiveDate) -> anyhow::Result<()> {
        let day = *day;
        let malls = selected_malls(run.db, &[]).await?;
        run.read(malls.len() as u64);
        let (id, now) = (run.id(), run.cx.now());
        // The job runs at the day's first hour: what it finds then is what a reconstruction has to find.
        let until = self.reconstruct.then(|| day_bounds(day, run.cx.time_zone()).start);
        run.chunk(None::<&str>, async |db| {
            db.execute("DELETE FROM statistics_snapshots WHERE snapshot_day = $1", values![day]).await?;
            for mall in &malls {
                match until {
                    Some(until) => count_members_then(db, id, day, mall, until, now).await?,
                    None => drop(db.execute(PRESENT, values![day, mall.id, id, now]).await?),
                }
            }
            Ok(())
        })
        .await?;
        run.written(malls.len() as u64);
        let malls = format!("{} {}", malls.len(), if malls.len() == 1 { "mall" } else { "malls" });
        run.summarise(if self.reconstruct {
            format!("reconstructed the members of {malls}")
        } else {
            format!("took the snapshot of {malls}")
        });
        Ok(())
    }
}

impl Args {
    /// Today, or a past day that may be reconstructed.
    fn day(&self, cx: &Context) -> anyhow::Result<NaiveDate> {
        let today = cx.today();
        let Some(text) = &self.date else { return Ok(today) };
        let day = parse_day(text, today).map_err(|error| Failure::usage(error.to_string()))?;
        if day > today {
            return Err(Failure::usage(format!("{day} has not begun yet")).into());
        }
        if self.reconstruct && day == today {
            return Err(Failure::usage(format!("{day} is today: its snapshot is taken, not reconstructed"))
                .hint("leave --reconstruct out")
                .into());
        }
        if day < today && !self.reconstruct {
            return Err(Failure::usage(format!(
                "no snapshot can be taken of {day} any more: today's state is not that day's"
            ))
            .hint("add --reconstruct for its members by status, all that can be made afterwards")
            .into());
        }
        Ok(day)
    }
}

/// A snapshot that was taken on its day is better than any reconstruction.
async fn refuse_to_replace(db: &mut Db, day: NaiveDate) -> anyhow::Result<()> {
    let (taken,): (i64,) = db
        .fetch_one(
            "SELECT COUNT(*) FROM statistics_snapshots WHERE snapshot_day = $1 AND NOT is_reconstructed",
            values![day],
        )
        .await?;
    if taken == 0 {
        return Ok(());
    }
    Err(Failure::usage(format!("{day} has the snapshot that was taken on that day; nothing was changed"))
        .into())
}

#[derive(FromRow)]
struct StatusThen {
    status: String,
    quantity: i64,
    undatable: i64,
}

/// Counts a mall's members by the status they had at an instant.
async fn count_members_then(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    mall: &Mall,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let rows: Vec<StatusThen> = db.fetch_all(MEMBERS_THEN, values![mall.id, until]).await?;
    let undatable: i64 = rows.iter().map(|row| row.undatable).sum();
    if undatable > 0 {
        return Err(Failure::failed(format!(
            "failed to reconstruct the members of mall `{}`: {undatable} withdrawn without a time of it",
            mall.code
        ))
        .hint("import them again with their `withdrawn_at`: batchctl data import")
        .into());
    }
    for row in rows {
        db.execute(
            "INSERT INTO statistics_snapshots (snapshot_day, mall_id, subject, status, quantity, is_reconstructed,
                 execution_id, taken_at)
             VALUES ($1, $2, 'MEMBER', $3, $4, $5, $6, $7)",
            values![day, mall.id, &row.status, row.quantity, true, run, now],
        )
        .await?;
    }
    Ok(())
}
