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
use super::soundness;

/// A mall that could not be computed; the others of its period still are.
#[derive(Debug, thiserror::Error)]
#[error("failed to compute mall `{mall}`")]
struct MallFailure {
    mall: String,
    #[source]
    cause: anyhow::Error,
}

/// Replaces the figures of all malls in one transaction, so that a reader never sees half a period. A mall that fails
/// is recorded, and the transaction starts over without it. Returns how many malls were computed.
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
    let discarded = discard_unreadable(run, table, first, due).await?;
    mark_outdated(run, table, first, &due.malls).await?;
    run.read(malls.len() as u64);
    let (config, now) = (run.cx.config.freshness(), run.cx.now());
    loop {
        let committed = run
            .chunk(None::<&str>, async |db| {
                let mut awaiting = Vec::new();
                for mall in &malls {
                    let replacing = async {
                        times::check(db, mall, table.made_of).await?;
                        let awaited = awaited_of(db, config, table, mall, period, now).await?;
                        replace_mall(db, mall, &AwaitedColumns::from(awaited)).await?;
                        awaiting.extend(awaited.map(|awaited| (mall.clone(), awaited)));
                        anyhow::Ok(())
                    };
                    replacing.await.map_err(|cause| {
                        if is_fault_of_database(&cause) {
                            cause
                        } else {
                            MallFailure { mall: mall.code.clone(), cause }.into()
                        }
                    })?;
                }
                Ok(awaiting)
            })
            .await;
        match committed.map_err(anyhow::Error::downcast::<MallFailure>) {
            Ok(awaiting) => {
                awaited::note_in_run(run, &awaiting);
                run.written(malls.len() as u64);
                if malls.is_empty() && !discarded.is_empty() {
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

/// Figures that cannot be read are none: if they are not replaced, nobody must find them. What is of no period is removed
/// too, with all that was computed with it. Returns the malls that have none of the period now.
async fn discard_unreadable(
    run: &mut Run<'_>,
    table: FigureTable,
    period: NaiveDate,
    due: &Due,
) -> anyhow::Result<Vec<String>> {
    let ids_of = |is_meant: &dyn Fn(i64) -> bool| -> Vec<i64> {
        due.malls.iter().map(|mall| mall.id).filter(|mall| is_meant(*mall)).collect()
    };
    let of_none = ids_of(&|mall| due.unreadable.include_none(mall));
    let of_period = ids_of(&|mall| due.unreadable.include_rows_of(mall, period));
    if of_none.is_empty() && of_period.is_empty() {
        return Ok(Vec::new());
    }
    run.chunk(None::<&str>, async |db| {
        soundness::discard_without_period(db, table, &of_none).await?;
        soundness::discard(db, table, period, &of_period).await
    })
    .await?;
    let discarded = due.malls.iter().filter(|mall| of_period.contains(&mall.id));
    Ok(discarded.map(|mall| mall.code.clone()).collect())
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
fn is_fault_of_database(error: &anyhow::Error) -> bool {
    use crate::db::{DbError, DbErrorKind};
    error.downcast_ref::<DbError>().is_some_and(|error| error.kind() != DbErrorKind::Other)
}
