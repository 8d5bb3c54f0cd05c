//! `stats refresh`: the day's snapshot of how many members, orders, products and carts are in which state.
//!
//! Runs every night at one; a snapshot belongs to the day on which it is taken, in the business time zone, so that of
//! the 20th shows the state at the end of the 19th. A past state cannot be counted afterwards, so a snapshot of a past
//! day is refused. Only members record when their status changed: `--reconstruct` counts them as they were at the
//! beginning of the day. Members who requested erasure are not counted, then as now: see `docs/statistics.md`. Tenants
//! have no table yet and are not counted.

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::failure::Failure;
use crate::period::{DayRange, day_bounds, parse_day};
use crate::runner::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, LastChance, MeantDays, Planned, Run, minutes,
};
use crate::severity::Severity;
use crate::shop::malls::{Mall, selected_malls};
use crate::shop::times::{self, Dated};
use crate::shop::undated::{self, Reach};
use crate::values;
use crate::wording::counted;

const PRESENT: &str = include_str!("present.sql");
const MEMBERS_THEN: &str = include_str!("members_then.sql");

/// Arguments of `stats refresh`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Take the snapshot for this day (default: today, the only day whose state can be counted)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
    /// For a past day, reconstruct what can be reconstructed: members by status
    #[arg(long, requires = "date")]
    reconstruct: bool,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stats refresh",
        summary: "Take the day's snapshot of members, orders, products and carts",
        details: "Members who requested erasure are not counted, whatever their status; those who withdrew are counted as \
                  such.",
        page: Some("docs/statistics.md"),
        schedule: Some("0 1 * * *"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "counted"),
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
        Ok(vec![
            Planned::new(day.to_string(), day).exclusive_by(day.to_string()).with("date", day.to_string()),
        ])
    }

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        Some(MeantDays::OfBusiness(DayRange::single(today)))
    }

    fn last_chance(&self, cx: &Context) -> Option<LastChance> {
        let day = self.day(cx).ok()?;
        Some(LastChance { until: day_bounds(day, cx.time_zone()).end, flag_afterwards: "reconstruct" })
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
        Ok(Freshness::Due(format!("not counted yet: {}", missing.join(", "))))
    }

    async fn run(&self, run: &mut Run<'_>, day: &NaiveDate) -> anyhow::Result<()> {
        let day = *day;
        let malls = selected_malls(run.db, &[]).await?;
        run.read(malls.len() as u64);
        let (malls, failed) =
            if self.reconstruct { fail_misdated(run, malls).await? } else { (malls, vec![]) };
        let (id, now) = (run.id(), run.cx.now());
        let time_zone = run.cx.time_zone();
        run.chunk(None::<&str>, async |db| {
            // Only these: what else was counted with them cannot be counted again, and is there by itself.
            let counted: Vec<i64> = malls.iter().map(|mall| mall.id).collect();
            undated::remove(db, "statistics_snapshots", "snapshot_day", &counted, Reach::Row).await?;
            let sql = format!(
                "DELETE FROM statistics_snapshots WHERE snapshot_day = $1 AND mall_id NOT IN {}",
                db.numbers("$2")
            );
            db.execute(&sql, values![day, json!(failed)]).await?;
            if self.reconstruct {
                reconstruct_members(db, id, day, &malls, time_zone, now).await
            } else {
                count_present(db, id, day, &malls, now).await
            }
        })
        .await?;
        run.written(malls.len() as u64);
        let malls = counted(malls.len(), "mall", "malls");
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
            return Err(Failure::usage(format!("{day} is in the future")).into());
        }
        if self.reconstruct && day == today {
            return Err(Failure::usage(format!("{day} is today: its snapshot is taken, not reconstructed"))
                .hint("omit --reconstruct")
                .into());
        }
        if day < today && !self.reconstruct {
            return Err(Failure::usage(format!(
                "a snapshot of {day} can no longer be taken: today's state is not that day's"
            ))
            .hint("add --reconstruct to count its members by status, which is all that can be reconstructed")
            .into());
        }
        Ok(day)
    }
}

/// Fails the malls of whose members some cannot be placed in time, and returns the others and the numbers of the failed.
async fn fail_misdated(run: &mut Run<'_>, malls: Vec<Mall>) -> anyhow::Result<(Vec<Mall>, Vec<i64>)> {
    let (mut sound, mut failed) = (Vec::new(), Vec::new());
    for mall in malls {
        match times::check(run.db, &mall, &[Dated::MEMBERS]).await {
            Ok(()) => sound.push(mall),
            Err(error) => {
                run.fail_item(&mall.code, "count", &error);
                failed.push(mall.id);
            }
        }
    }
    Ok((sound, failed))
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
    Err(Failure::usage(format!("{day} already has a snapshot, taken on that day; nothing was changed"))
        .into())
}

/// Counts the present state.
async fn count_present(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    malls: &[Mall],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    for mall in malls {
        db.execute(PRESENT, values![day, mall.id, run, now]).await?;
    }
    Ok(())
}

/// Counts members as they were when the day began: the job runs in the day's first hour, and a reconstruction has to
/// find what it would have found then.
async fn reconstruct_members(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    malls: &[Mall],
    time_zone: Tz,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let until = day_bounds(day, time_zone).start;
    for mall in malls {
        count_members_at(db, run, day, mall, until, now).await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct StatusCount {
    status: String,
    quantity: i64,
    undatable: i64,
}

/// Counts a mall's members by the status they had at an instant.
async fn count_members_at(
    db: &mut Db,
    run: i64,
    day: NaiveDate,
    mall: &Mall,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let rows: Vec<StatusCount> = db.fetch_all(MEMBERS_THEN, values![mall.id, until]).await?;
    let undatable: i64 = rows.iter().map(|row| row.undatable).sum();
    if undatable > 0 {
        return Err(Failure::failed(format!(
            "failed to reconstruct the members of mall `{}`: {undatable} withdrew at an unknown time",
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
