//! `events purge`: deletes events that were published long ago.
//!
//! An event that waits or was given up is never deleted, however old it is: nobody has been told of it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// How long published events are kept by default: long enough to replay them once a consumer's fault is found.
const RETENTION_DAYS: u32 = 30;
/// Events deleted in one commit: a few milliseconds, so that other writers do not wait for the lock.
const CHUNK: i64 = 1000;

/// Arguments of `events purge`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Keep events for this many days after they were published
    #[arg(long, value_name = "DAYS", default_value_t = RETENTION_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "events purge",
        summary: "Delete events that were published more than 30 days ago",
        details: "An event that waits or was given up is never deleted, however old it is.",
        page: Some("docs/events.md"),
        schedule: Some("40 4 * * *"),
        deadline: minutes(60),
        severity: Severity::Low,
        exclusion: Exclusion::Job,
        items: Items::new("event", "events", "deleted"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let before = run.cx.now() - TimeDelta::days(i64::from(self.keep_days));
        // SQLite would give the number of the newest to another event, and `runs retry` of an old run would publish that one.
        let (newest,): (Option<i64>,) =
            run.db.fetch_one("SELECT MAX(id) FROM outbox_events", values![]).await?;
        let (mut purged, mut after) = (0, 0);
        while let Some(range) = next_range(run.db, after, before).await? {
            let deleted = run
                .chunk(None::<&str>, async |db| {
                    // A time that does not exist says nothing: not that it was long ago, nor that it was at all.
                    let sql = format!(
                        "DELETE FROM outbox_events WHERE id > $1 AND id <= $2 AND id <> $4 AND published_at < $3 AND {}",
                        db.is_time("published_at")
                    );
                    Ok(db.execute(&sql, values![after, range.last, before, newest]).await?)
                })
                .await?;
            run.read(u64::try_from(range.events)?);
            run.written(deleted);
            purged += deleted;
            after = range.last;
        }
        run.summarise(match purged {
            0 => "nothing to purge".to_owned(),
            _ => format!("purged {}", counted(purged, "event", "events")),
        });
        Ok(())
    }
}

#[derive(FromRow)]
struct Range {
    events: i64,
    last: i64,
}

/// The next events by number. Numbers grow with time, whoever writes `created_at`: after a range in which none was published
/// or written before the day there are no more.
async fn next_range(db: &mut Db, after: i64, before: DateTime<Utc>) -> anyhow::Result<Option<Range>> {
    let found: Option<(i64, Option<i64>, i64)> = db
        .fetch_optional(
            "SELECT COUNT(*), MAX(id), COUNT(*) FILTER (WHERE created_at < $2 OR published_at < $2)
             FROM (SELECT id, created_at, published_at FROM outbox_events WHERE id > $1 ORDER BY id LIMIT $3) next",
            values![after, before, CHUNK],
        )
        .await?;
    Ok(match found {
        Some((events, Some(last), old)) if old > 0 => Some(Range { events, last }),
        _ => None,
    })
}
