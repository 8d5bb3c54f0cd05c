//! A staged chunk against the table it belongs to: what is new, what differs, what is older.
//!
//! Set by set, in the same few statements for every kind: the staged rows are matched with the stored ones by their
//! natural key, then the new ones are inserted and the different ones updated. An unchanged row is not touched, so
//! that its `updated_at` says when it last changed.

use chrono::{DateTime, Utc};

use crate::db::{Db, DbErrorKind, FromRow};
use crate::failure::Failure;
use crate::values;

/// The columns that every staging table has beside its data: which stored row it is, and how it compares.
pub const MATCH_COLUMNS: &str = "target_id BIGINT, is_stale BIGINT DEFAULT 0, is_changed BIGINT DEFAULT 0";

/// What a record's `source_updated_at` is, which decides the later one of two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTime {
    /// There is none: what comes last is the later one.
    Unknown,
    /// When its source says it was changed: another time alone is a change.
    Recorded,
    /// When its source was asked: it says nothing of a record that is as it was.
    AsOf,
}

/// A staging table and its target.
#[derive(Debug, Clone)]
pub struct Upsert {
    /// The table.
    pub table: &'static str,
    /// The staged rows.
    pub staging: &'static str,
    /// The natural key.
    pub key: Vec<&'static str>,
    /// What is inserted of a new row beside its key.
    pub columns: Vec<&'static str>,
    /// What is compared and replaced of a stored row: a column that the file has not stays as it is.
    pub replaced: Vec<&'static str>,
    /// What decides which of two records is the later one.
    pub source_time: SourceTime,
    /// A condition on the stored row (`t`) under which it is left as it is, whatever its source says.
    pub kept: Option<&'static str>,
    /// Whether a new row's number is the staged `new_id`, because other staged rows refer to it.
    pub gives_ids: bool,
}

/// How a chunk's records compare with those stored. Counted in records and, for what is written, in lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Outcome {
    /// Records that were not there before.
    pub new: i64,
    /// Records that differ.
    pub changed: i64,
    /// Records that are as they were.
    pub unchanged: i64,
    /// Records that are older than those stored, by the source's own time.
    pub stale: i64,
    /// The file's lines of the new and the changed records.
    pub written_lines: i64,
}

impl Outcome {
    /// Adds a chunk's.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.written_lines += other.written_lines;
    }
}

impl Upsert {
    /// Takes the staged rows over, and says how they compared.
    pub async fn store(&self, db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
        self.match_stored(db).await?;
        let outcome = self.count(db).await?;
        self.insert_new(db, outcome.new, now).await?;
        self.update_changed(db, outcome.changed, now).await?;
        Ok(outcome)
    }

    /// Finds the stored row of each staged one, and whether it differs or is newer. Gives how many there are.
    pub async fn match_stored(&self, db: &mut Db) -> anyhow::Result<u64> {
        let mut different: Vec<String> =
            self.replaced.iter().map(|column| format!("t.{column} IS DISTINCT FROM s.{column}")).collect();
        if self.source_time == SourceTime::Recorded {
            different.push(
                "(s.source_updated_at IS NOT NULL AND t.source_updated_at IS DISTINCT FROM s.source_updated_at)"
                    .to_owned(),
            );
        }
        let stale = self.stale();
        let key: Vec<String> = self.key.iter().map(|column| format!("t.{column} = s.{column}")).collect();
        let sql = format!(
            "UPDATE {} AS s SET target_id = t.id, is_stale = {stale}, is_changed = CASE WHEN {} THEN 1 ELSE 0 END
             FROM {} AS t WHERE {}",
            self.staging,
            different.join(" OR "),
            self.table,
            key.join(" AND ")
        );
        // While a table fills, the plan that was right for the first chunk is wrong for the hundredth.
        Ok(db.execute_anew(&sql).await?)
    }

    /// Whether a stored row is left as it is: 1 or 0.
    fn stale(&self) -> String {
        let is_later = match self.source_time {
            SourceTime::Unknown => None,
            SourceTime::Recorded | SourceTime::AsOf => Some("t.source_updated_at > s.source_updated_at"),
        };
        let reasons: Vec<&str> = is_later.into_iter().chain(self.kept).collect();
        if reasons.is_empty() {
            return "0".to_owned();
        }
        format!("CASE WHEN {} THEN 1 ELSE 0 END", reasons.join(" OR "))
    }

    /// Counts how the staged records compare.
    pub async fn count(&self, db: &mut Db) -> anyhow::Result<Outcome> {
        let sql = format!(
            "SELECT COUNT(*) FILTER (WHERE target_id IS NULL) AS new,
                    COUNT(*) FILTER (WHERE target_id IS NOT NULL AND is_stale = 0 AND is_changed = 1) AS changed,
                    COUNT(*) FILTER (WHERE target_id IS NOT NULL AND is_stale = 0 AND is_changed = 0) AS unchanged,
                    COUNT(*) FILTER (WHERE is_stale = 1) AS stale,
                    CAST(COALESCE(SUM(line_count) FILTER (WHERE target_id IS NULL OR (is_stale = 0 AND is_changed = 1)), 0)
                         AS BIGINT) AS written_lines
             FROM {}",
            self.staging
        );
        Ok(db.fetch_one(&sql, values![]).await?)
    }

    /// Inserts the rows that are not stored yet.
    pub async fn insert_new(&self, db: &mut Db, count: i64, now: DateTime<Utc>) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let columns: Vec<&str> = self.key.iter().chain(&self.columns).copied().collect();
        let (id, new_id) = if self.gives_ids { ("id, ", "new_id, ") } else { ("", "") };
        let list = columns.join(", ");
        // No ON CONFLICT: it costs a second look into each unique index, for what hardly ever happens.
        let sql = format!(
            "INSERT INTO {} ({id}{list}, created_at, updated_at) SELECT {new_id}{list}, $1, $1 FROM {}
             WHERE target_id IS NULL",
            self.table, self.staging
        );
        match db.execute(&sql, values![now]).await {
            Err(error) if error.kind() == DbErrorKind::Constraint => {
                let problem =
                    format!("another program wrote the same {} at the same moment: {error}", self.table);
                Err(Failure::try_later(problem)
                    .hint("run the same command again: it goes on where the last commit ended")
                    .into())
            }
            inserted => Ok(inserted.map(drop)?),
        }
    }

    /// Updates the rows that differ and are not older.
    pub async fn update_changed(&self, db: &mut Db, count: i64, now: DateTime<Utc>) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut sets: Vec<String> =
            self.replaced.iter().map(|column| format!("{column} = s.{column}")).collect();
        if self.source_time != SourceTime::Unknown {
            sets.push("source_updated_at = COALESCE(s.source_updated_at, t.source_updated_at)".to_owned());
        }
        // Asked once more: another program may have written a newer one since the rows were matched.
        let sql = format!(
            "UPDATE {} AS t SET {}, updated_at = $1 FROM {} AS s
             WHERE t.id = s.target_id AND s.is_stale = 0 AND s.is_changed = 1 AND {} = 0",
            self.table,
            sets.join(", "),
            self.staging,
            self.stale()
        );
        db.execute(&sql, values![now]).await?;
        Ok(())
    }
}
