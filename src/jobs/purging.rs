//! How the rows of a queue are deleted once they have ended long ago: range by range of their numbers, in small commits.

use chrono::{DateTime, Utc};

use crate::db::{Db, FromRow};
use crate::runner::Run;
use crate::values;

/// Rows deleted in one commit: a few milliseconds, so that other writers do not wait for the lock.
const CHUNK: i64 = 1000;

/// A table whose rows are numbered in the order in which they were written.
pub(super) struct Queue<'a> {
    pub(super) table: &'static str,
    /// The condition that a row was written, or has ended, before the time `$2`. After a range without any such row there
    /// are no more.
    pub(super) is_old: &'static str,
    /// The condition that a row has ended before the time `$3`: it is deleted.
    pub(super) has_ended: &'a str,
}

#[derive(FromRow)]
struct Range {
    rows: i64,
    last: i64,
}

/// Deletes what has ended before a time, and returns how much that was.
pub(super) async fn purge(
    run: &mut Run<'_>,
    queue: &Queue<'_>,
    before: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let (mut purged, mut after) = (0, 0);
    while let Some(range) = next_range(run.db, queue, after, before).await? {
        let sql = format!("DELETE FROM {} WHERE id > $1 AND id <= $2 AND {}", queue.table, queue.has_ended);
        let deleted = run
            .chunk(None::<&str>, async |db| Ok(db.execute(&sql, values![after, range.last, before]).await?))
            .await?;
        run.read(u64::try_from(range.rows)?);
        run.written(deleted);
        purged += deleted;
        after = range.last;
    }
    Ok(purged)
}

/// The next rows by number.
async fn next_range(
    db: &mut Db,
    queue: &Queue<'_>,
    after: i64,
    before: DateTime<Utc>,
) -> anyhow::Result<Option<Range>> {
    let sql = format!(
        "SELECT COUNT(*), MAX(id), COUNT(*) FILTER (WHERE is_old)
         FROM (SELECT id, {} AS is_old FROM {} WHERE id > $1 ORDER BY id LIMIT $3) next",
        queue.is_old, queue.table
    );
    let found: Option<(i64, Option<i64>, i64)> =
        db.fetch_optional(&sql, values![after, before, CHUNK]).await?;
    Ok(match found {
        Some((rows, Some(last), old)) if old > 0 => Some(Range { rows, last }),
        _ => None,
    })
}
