//! `runs purge`: deletes the history of old runs, in bounded chunks.
//!
//! A running run is never deleted, nor one with an open retry request, nor an instance's last success: without it a
//! completed day would be done twice, and health checks need a job's last success, however old it is.
//!
//! It also keeps what triggers note of changes from growing where no report reads it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::jobs::report::stale;
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// How long history is kept by default.
const RETENTION_DAYS: u32 = 90;
/// Runs deleted in one commit: a few milliseconds, so that other writers do not wait for the lock.
const CHUNK: i64 = 1000;

/// Arguments of `runs purge`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Keep runs for this many days
    #[arg(long, value_name = "DAYS", default_value_t = RETENTION_DAYS, value_parser = clap::value_parser!(u32).range(..=36_500))]
    keep_days: u32,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "runs purge",
        summary: "Delete run history older than 90 days",
        details: "A running run is never deleted, nor one with an open retry request, nor the last success of an instance.",
        page: None,
        schedule: Some("15 4 * * *"),
        deadline: minutes(30),
        severity: Severity::Low,
        exclusion: Exclusion::Job,
        items: Items::new("run", "runs", "deleted"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let before = run.cx.now() - TimeDelta::days(i64::from(self.keep_days));
        let mut purged = 0;
        let mut after = 0;
        loop {
            let chunk = purge_chunk(run, before, after).await?;
            let Some(last) = chunk.last else { break };
            after = last;
            purged += chunk.purged;
        }
        purge_incidents(run, before).await?;
        settle_sales_changes(run).await?;
        run.summarise(if purged == 0 {
            "nothing to purge".to_owned()
        } else {
            format!("purged {}", counted(purged, "run", "runs"))
        });
        Ok(())
    }
}

#[derive(FromRow)]
struct Candidate {
    id: i64,
}

struct Chunk {
    purged: u64,
    last: Option<i64>,
}

/// The runs from $1 to $2 that started before $3 and may be deleted. An instance's last success is found among its own
/// runs: no index serves a condition inside COALESCE, and by the status all successes of the job would be read for each
/// run.
const OLD: &str = "SELECT e.id FROM batch_execution e
    WHERE e.id BETWEEN $1 AND $2 AND e.started_at < $3 AND e.status <> 'RUNNING'
      AND e.id <> COALESCE((SELECT MAX(s.id) FROM batch_execution s
                            WHERE s.job = e.job AND s.instance_key = e.instance_key
                              AND COALESCE(s.status = 'COMPLETED', FALSE)), 0)
      AND NOT EXISTS (SELECT 1 FROM batch_retry_request r
                      WHERE r.execution_id = e.id AND r.status IN ('PENDING', 'RUNNING'))";

/// Deletes the next chunk of old runs after the run `after`, with their item errors and requests.
async fn purge_chunk(run: &mut Run<'_>, before: DateTime<Utc>, after: i64) -> anyhow::Result<Chunk> {
    let candidates: Vec<Candidate> = run
        .db
        .fetch_all(
            "SELECT id FROM batch_execution WHERE started_at < $1 AND id > $2 AND status <> 'RUNNING'
             ORDER BY id LIMIT $3",
            values![before, after, CHUNK],
        )
        .await?;
    let (Some(first), Some(last)) = (candidates.first(), candidates.last()) else {
        return Ok(Chunk { purged: 0, last: None });
    };
    let (first, last) = (first.id, last.id);
    run.read(candidates.len() as u64);
    let purged = run
        .chunk(None::<&str>, async |db| {
            for table in ["batch_error_log", "batch_retry_request"] {
                let sql = format!("DELETE FROM {table} WHERE execution_id IN ({OLD})");
                db.execute(&sql, values![first, last, before]).await?;
            }
            let sql = format!("DELETE FROM batch_execution WHERE id IN ({OLD})");
            Ok(db.execute(&sql, values![first, last, before]).await?)
        })
        .await?;
    run.written(purged);
    Ok(Chunk { purged, last: Some(last) })
}

/// Deletes closed incidents with their delivered alerts, messages that were delivered or given up, alerts of stock that is no
/// longer low, differences of stock, and the leases of old instances.
async fn purge_incidents(run: &mut Run<'_>, before: DateTime<Utc>) -> anyhow::Result<()> {
    run.chunk(None::<&str>, async |db| {
        db.execute(
            "DELETE FROM batch_alert WHERE incident_id IN (SELECT id FROM batch_incident WHERE closed_at < $1)",
            values![before],
        )
        .await?;
        db.execute("DELETE FROM batch_incident WHERE closed_at < $1", values![before]).await?;
        let sql = "DELETE FROM channel_messages WHERE delivered_at < $1 OR given_up_at < $1";
        db.execute(sql, values![before]).await?;
        db.execute("DELETE FROM stock_alerts WHERE recovered_at < $1", values![before]).await?;
        db.execute("DELETE FROM stock_feed_alerts WHERE closed_at < $1", values![before]).await?;
        let sql = "DELETE FROM stock_differences WHERE found_at < $1 AND repair <> 'PLANNED'";
        db.execute(sql, values![before]).await?;
        db.execute("DELETE FROM stock_reconciliations WHERE completed_at < $1", values![before]).await?;
        db.execute(
            "DELETE FROM batch_lease WHERE updated_at < $1
             AND NOT EXISTS (SELECT 1 FROM batch_execution e WHERE e.id = batch_lease.execution_id AND e.status = 'RUNNING')",
            values![before],
        )
        .await?;
        Ok(())
    })
    .await
}

/// Turns the notes of what changed in the shop's tables into marks of stale figures, and forgets marks that nobody asks for:
/// a report does so when it runs, but not every shop runs reports.
async fn settle_sales_changes(run: &mut Run<'_>) -> anyhow::Result<()> {
    let (now, time_zone) = (run.cx.now(), run.cx.time_zone());
    run.chunk(None::<&str>, async |db| {
        stale::mark_stale_periods(db, now, time_zone).await?;
        stale::forget_marks(db, now).await?;
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};

    on_both_databases![the_last_success_of_an_instance_is_found_by_its_key];

    async fn the_last_success_of_an_instance_is_found_by_its_key(db: &mut TestDb) {
        db.completed_runs(4_000).await;
        let sql = format!("DELETE FROM batch_execution WHERE id IN ({OLD})");
        let found = db.found_by("s", &sql, values![1, CHUNK, now()]).await;
        assert!(matches!(&found[..], [columns] if columns.starts_with("job, instance_key")), "{found:?}");
    }
}
