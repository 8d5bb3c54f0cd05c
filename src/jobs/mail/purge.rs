//! `mail purge`: deletes mails that were completed long ago, with their attachments.
//!
//! A waiting mail is never deleted, however old it is. The producers' ledgers, which record that a member was already
//! reminded or notified, are not affected.

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// How long mails are kept by default.
const RETENTION_DAYS: u32 = 180;
/// Mails deleted in one commit: a few milliseconds, so that other writers do not wait for the lock.
const CHUNK: i64 = 1000;

/// Arguments of `mail purge`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Keep mails for this many days after completion
    #[arg(long, value_name = "DAYS", default_value_t = RETENTION_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mail purge",
        summary: "Delete mails that were completed more than 180 days ago",
        details: "A waiting mail is never deleted, however old it is.",
        page: Some("docs/mail.md"),
        schedule: Some("30 4 * * *"),
        deadline: minutes(60),
        severity: Severity::Low,
        exclusion: Exclusion::Job,
        items: Items::new("mail", "mails", "deleted"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let before = run.cx.now() - TimeDelta::days(i64::from(self.keep_days));
        let mut purged = 0;
        let mut after = 0;
        while let Some(range) = next_range(run.db, after, before).await? {
            let deleted = run
                .chunk(None::<&str>, async |db| {
                    let sql = "DELETE FROM mails WHERE id > $1 AND id <= $2 AND ended_at < $3
                               AND status IN ('SENT', 'FAILED', 'CANCELLED')";
                    Ok(db.execute(sql, values![after, range.last, before]).await?)
                })
                .await?;
            run.read(u64::try_from(range.mails)?);
            run.written(deleted);
            purged += deleted;
            after = range.last;
        }
        run.chunk(None::<&str>, async |db| {
            Ok(db.execute("DELETE FROM mail_bounce_counts WHERE counted_at < $1", values![before]).await?)
        })
        .await?;
        run.summarise(if purged == 0 {
            "nothing to purge".to_owned()
        } else {
            format!("purged {}", counted(purged, "mail", "mails"))
        });
        Ok(())
    }
}

#[derive(FromRow)]
struct Range {
    mails: i64,
    last: i64,
}

/// The next mails by id. Ids grow with time: after a range without an old mail there are no more.
async fn next_range(db: &mut Db, after: i64, before: DateTime<Utc>) -> anyhow::Result<Option<Range>> {
    let found: Option<(i64, Option<i64>, i64)> = db
        .fetch_optional(
            "SELECT COUNT(*), MAX(id), COUNT(*) FILTER (WHERE queued_at < $2)
             FROM (SELECT id, queued_at FROM mails WHERE id > $1 ORDER BY id LIMIT $3) next",
            values![after, before, CHUNK],
        )
        .await?;
    Ok(match found {
        Some((mails, Some(last), old)) if old > 0 => Some(Range { mails, last }),
        _ => None,
    })
}
