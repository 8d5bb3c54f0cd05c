//! `events purge`: deletes events that were published long ago.
//!
//! An event that waits or was given up is never deleted, however old it is: nobody has been told of it.

use chrono::TimeDelta;

use crate::context::Context;
use crate::db::Db;
use crate::jobs::purging::{Queue, purge};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::wording::counted;

/// How long published events are kept by default: long enough to replay them once a consumer's fault is found.
const RETENTION_DAYS: u32 = 30;

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
        // A time that does not exist says nothing: not that it was long ago, nor that it was at all.
        // And not the newest: SQLite would give its number to another event, and `runs retry` of an old run would publish that.
        let has_ended = format!(
            "published_at < $3 AND {} AND id < (SELECT MAX(id) FROM outbox_events)",
            run.db.is_time("published_at")
        );
        // Whoever writes `created_at`: one that was published before a time was written before it.
        let is_old = "created_at < $2 OR published_at < $2";
        let events = Queue { table: "outbox_events", is_old, has_ended: &has_ended };
        let purged = purge(run, &events, before).await?;
        run.summarise(match purged {
            0 => "nothing to purge".to_owned(),
            _ => format!("purged {}", counted(purged, "event", "events")),
        });
        Ok(())
    }
}
