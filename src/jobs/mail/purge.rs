//! `mail purge`: deletes mails that were completed long ago, with their attachments.
//!
//! A waiting mail is never deleted, however old it is. The producers' ledgers, which record that a member was already
//! reminded or notified, are not affected.

use chrono::TimeDelta;

use crate::context::Context;
use crate::db::Db;
use crate::jobs::purging::{Queue, purge};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// How long mails are kept by default.
const RETENTION_DAYS: u32 = 180;

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
        let has_ended = "ended_at < $3 AND status IN ('SENT', 'FAILED', 'CANCELLED')";
        let mails = Queue { table: "mails", is_old: "queued_at < $2", has_ended };
        let purged = purge(run, &mails, before).await?;
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
