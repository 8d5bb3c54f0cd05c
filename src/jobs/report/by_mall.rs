//! Replaces the stored figures of a period, mall by mall: a mall that fails is one failed item, the others are kept.
//! Figures of an earlier run are marked as older before they are replaced, and stay so marked if they are not: their mall
//! failed, or the run was killed or passed its deadline.

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::FreshnessConfig;
use crate::db::Db;
use crate::period::DayRange;
use crate::runner::Run;
use crate::shop::arrivals::{self, Awaited};
use crate::shop::malls::Mall;
use crate::shop::times;

use super::awaited::{self, AwaitedColumns};
use super::driver::Due;
use super::outdated::{self, FigureTable};
use super::periods;
use super::restatements::{self, Restatement, Why};
use super::soundness::{self, Unreadable};
use super::stale;
use super::told;

/// A mall that could not be computed; the others of its period still are.
#[derive(Debug, thiserror::Error)]
#[error("failed to compute mall `{mall}`")]
struct MallFailure {
    mall: String,
    #[source]
    cause: anyhow::Error,
}

/// Replaces the figures of all malls in one transaction, so that a reader never sees half a period, and on one snapshot, so
/// that their parts add up to them whatever is committed meanwhile. A mall that fails is recorded, and the transaction starts
/// over without it. Returns how many malls were computed.
pub async fn replace(
    run: &mut Run<'_>,
    table: FigureTable,
    period: DayRange,
    due: &Due,
    replace_mall: impl AsyncFn(&mut Db, &Mall, &AwaitedColumns) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut malls: Vec<Mall> =
        run.usable_malls(due.malls.clone()).into_iter().map(|(mall, _)| mall).collect();
    let first = period.first();
    mark_outdated(run, table, first, &due.malls).await?;
    run.read(malls.len() as u64);
    let work = Work {
        table,
        period,
        unreadable: &due.unreadable,
        config: run.cx.config.freshness(),
        run: run.id(),
        now: run.cx.now(),
    };
    let time_zone = run.cx.time_zone();
    loop {
        let mut left = due.malls.clone();
        left.retain(|mall| malls.iter().all(|computed| computed.id != mall.id));
        let committed = run
            .chunk_on_snapshot(async |db| {
                stale::mark_stale_periods(db, work.now, time_zone).await?;
                let mut replaced = Vec::new();
                for mall in &malls {
                    let figures = work.replace(db, mall, &replace_mall).await.map_err(|cause| {
                        if is_fault_of_database(&cause) {
                            cause
                        } else {
                            MallFailure { mall: mall.code.clone(), cause }.into()
                        }
                    })?;
                    replaced.push((mall.clone(), figures));
                }
                work.discard_unreadable(db, &left).await?;
                Ok(replaced)
            })
            .await;
        match committed.map_err(anyhow::Error::downcast::<MallFailure>) {
            Ok(replaced) => {
                for (mall, figures) in &replaced {
                    if !figures.restated.is_empty() {
                        run.summarise(restatements::sentence(mall, &figures.restated));
                    }
                }
                let awaiting: Vec<(Mall, Awaited)> = replaced
                    .into_iter()
                    .filter_map(|(mall, figures)| Some((mall, figures.awaited?)))
                    .collect();
                awaited::note_in_run(run, &awaiting);
                run.written(malls.len() as u64);
                left.retain(|mall| due.unreadable.include_rows_of(mall.id, first));
                if malls.is_empty() && !left.is_empty() {
                    let discarded: Vec<&str> = left.iter().map(|mall| mall.code.as_str()).collect();
                    run.leaves(format!(
                        "the figures of {} for {first}, which could not be read, are removed; nothing else was changed",
                        discarded.join(", ")
                    ));
                }
                return Ok(malls.len());
            }
            Err(Ok(failure)) => {
                run.fail_item(&failure.mall, "compute", &failure.cause);
                malls.retain(|mall| mall.code != failure.mall);
            }
            Err(Err(error)) => return Err(error),
        }
    }
}

/// What a run computes, and when.
struct Work<'c> {
    table: FigureTable,
    period: DayRange,
    unreadable: &'c Unreadable,
    config: &'c FreshnessConfig,
    run: i64,
    now: DateTime<Utc>,
}

/// A mall's figures that were replaced.
struct Replaced {
    /// What they wait for.
    awaited: Option<Awaited>,
    /// Those that were reported with another value.
    restated: Vec<Restatement>,
}

impl Work<'_> {
    /// Replaces a mall's figures, and notes whom that concerns.
    async fn replace(
        &self,
        db: &mut Db,
        mall: &Mall,
        replace_mall: &impl AsyncFn(&mut Db, &Mall, &AwaitedColumns) -> anyhow::Result<()>,
    ) -> anyhow::Result<Replaced> {
        let (table, first, now) = (self.table, self.period.first(), self.now);
        times::check(db, mall, table.made_of).await?;
        // Before the data is read: what is written from here on is noted again.
        let was_stale = stale::unmark(db, table.report, first, mall.id).await?;
        let was_there = outdated::exist(db, table, first, &[mall.id]).await?;
        let was_awaiting = awaited::are_awaiting(db, table, first, mall.id).await?;
        let before = restatements::reported(db, table, first, mall.id).await?;
        let was_unreadable = self.unreadable.include(mall.id, first);
        if self.unreadable.has_rows_without_period(mall.id) {
            soundness::discard_without_period(db, table, &[mall.id]).await?;
        }
        let awaited = awaited_of(db, self.config, table, mall, self.period, now).await?;
        replace_mall(db, mall, &AwaitedColumns::from(awaited)).await?;
        let after = restatements::reported(db, table, first, mall.id).await?;
        let restated = restatements::compare(table, &before, &after);
        let has_arrived = was_awaiting && awaited.is_none();
        let why = match (has_arrived, was_stale) {
            (true, _) => Why::DataArrived,
            (false, true) => Why::DataChanged,
            (false, false) => Why::Rerun,
        };
        restatements::write(db, table, first, mall.id, &restated, why, (self.run, now)).await?;
        if !was_there || was_unreadable || was_stale || was_awaiting || !restated.is_empty() {
            self.follow_up(db, mall, was_there).await?;
        }
        Ok(Replaced { awaited, restated })
    }

    /// Figures that cannot be read are none: if they are not replaced, nobody must find them. What is of no period is
    /// removed too, with all that was computed with it.
    async fn discard_unreadable(&self, db: &mut Db, malls: &[Mall]) -> anyhow::Result<()> {
        let first = self.period.first();
        let ids_of = |is_meant: &dyn Fn(i64) -> bool| -> Vec<i64> {
            malls.iter().map(|mall| mall.id).filter(|mall| is_meant(*mall)).collect()
        };
        let of_none = ids_of(&|mall| self.unreadable.has_rows_without_period(mall));
        let of_period = ids_of(&|mall| self.unreadable.include_rows_of(mall, first));
        soundness::discard_without_period(db, self.table, &of_none).await?;
        soundness::discard(db, self.table, first, &of_period).await
    }

    /// Whoever was told of figures that may be others now, or of none, has to be told again.
    async fn follow_up(&self, db: &mut Db, mall: &Mall, was_there: bool) -> anyhow::Result<()> {
        let (report, first) = (self.table.report, self.period.first());
        told::revise(db, report, first, self.now).await?;
        let are_in_executive = report != stale::WEEKLY_SIGNUPS;
        // Figures that are there for the first time were not shown to anybody, but they may have been missed.
        if are_in_executive && (was_there || told::is_anybody_told(db, stale::EXECUTIVE, first).await?) {
            stale::mark(db, stale::EXECUTIVE, first, mall.id, self.now).await?;
        }
        Ok(())
    }
}

/// What a mall's figures of a period that is over still wait for.
async fn awaited_of(
    db: &mut Db,
    config: &FreshnessConfig,
    table: FigureTable,
    mall: &Mall,
    period: DayRange,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Awaited>> {
    if periods::bounds(period, mall.time_zone()?).end > now {
        return Ok(None);
    }
    arrivals::awaited(db, config, mall, period, table.awaits).await
}

/// In a commit of its own, before the work: a run that is killed cannot mark anything.
async fn mark_outdated(
    run: &mut Run<'_>,
    table: FigureTable,
    period: NaiveDate,
    due: &[Mall],
) -> anyhow::Result<()> {
    let malls: Vec<i64> = due.iter().map(|mall| mall.id).collect();
    if !outdated::exist(run.db, table, period, &malls).await? {
        return Ok(());
    }
    let now = run.cx.now();
    run.chunk(None::<&str>, async |db| outdated::mark(db, table, period, &malls, now).await).await
}

/// Whether an error comes from the database rather than the mall: every other mall would fail too.
pub fn is_fault_of_database(error: &anyhow::Error) -> bool {
    use crate::db::{DbError, DbErrorKind};
    error.downcast_ref::<DbError>().is_some_and(|error| error.kind() != DbErrorKind::Other)
}
