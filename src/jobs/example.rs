//! `cart purge`: deletes carts that nobody has touched for a long time, with their items.
//!
//! Runs every night. What members were reminded of is kept in a table of its own and survives this.

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

/// Carts deleted in one commit: a few milliseconds, so that nobody waits for the lock.
const CHUNK: i64 = 1000;

/// Arguments of `cart purge`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Keep carts for this many days after somebody last touched them
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "cart purge",
        summary: "Delete carts that nobody has touched for a year",
        details: "",
        page: None,
        schedule: Some("45 4 * * *"),
        deadline: minutes(30),
        severity: Severity::Low,
        exclusion: Exclusion::Job,
        items: Items::new("cart", "carts", "deleted"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        Ok(vec![Planned::sweep(())])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let before = run.cx.now() - TimeDelta::days(i64::from(self.keep_days));
        let mut purged = 0;
        while let Some(last) = last_of_next_chunk(run.db, before).await? {
            let deleted = run.chunk(None::<&str>, async |db| delete_carts(db, last, before).await).await?;
            run.read(deleted);
            run.written(deleted);
            purged += deleted;
        }
        run.summarise(match purged {
            0 => "nothing to purge".to_owned(),
            _ => format!("purged {}", counted(purged, "cart", "carts")),
        });
        Ok(())
    }
}

/// The number of the last cart of the next chunk.
async fn last_of_next_chunk(db: &mut Db, before: DateTime<Utc>) -> anyhow::Result<Option<i64>> {
    let sql =
        "SELECT MAX(id) FROM (SELECT id FROM carts WHERE last_activity_at < $1 ORDER BY id LIMIT $2) next";
    let (last,): (Option<i64>,) = db.fetch_one(sql, values![before, CHUNK]).await?;
    Ok(last)
}

/// Deletes the carts up to a number, and returns how many they were.
async fn delete_carts(db: &mut Db, last: i64, before: DateTime<Utc>) -> anyhow::Result<u64> {
    let old = "SELECT id FROM carts WHERE id <= $1 AND last_activity_at < $2";
    db.execute(&format!("DELETE FROM cart_items WHERE cart_id IN ({old})"), values![last, before]).await?;
    Ok(db.execute(&format!("DELETE FROM carts WHERE id IN ({old})"), values![last, before]).await?)
}
