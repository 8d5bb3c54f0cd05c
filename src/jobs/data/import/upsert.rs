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
pub(super) const MATCH_COLUMNS: &str =
    "target_id BIGINT, is_stale BIGINT DEFAULT 0, is_changed BIGINT DEFAULT 0";

/// A staging table and its target.
#[derive(Debug, Clone)]
pub(super) struct Upsert {
    /// The table.
    pub(super) table: &'static str,
    /// The staged rows.
    pub(super) staging: &'static str,
    /// The natural key.
    pub(super) key: Vec<&'static str>,
    /// What is inserted of a new row beside its key.
    pub(super) columns: Vec<&'static str>,
    /// What is compared and replaced of a stored row: a column that the file has not stays as it is.
    pub(super) replaced: Vec<&'static str>,
    /// Whether the source's own time decides which of two records is the later one.
    pub(super) has_source_time: bool,
    /// Whether a new row's number is the staged `new_id`, because other staged rows refer to it.
    pub(super) gives_ids: bool,
}

/// How a chunk's records compare with those stored. Counted in records and, for what is written, in lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub(super) struct Outcome {
    /// Records that were not there before.
    pub(super) new: i64,
    /// Records that differ.
    pub(super) changed: i64,
    /// Records that are as they were.
    pub(super) unchanged: i64,
    /// Records that are older than those stored, by the source's own time.
    pub(super) stale: i64,
    /// The file's lines of the new and the changed records.
    pub(super) written_lines: i64,
}

impl Outcome {
    /// Adds a chunk's.
    pub(super) fn add(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.written_lines += other.written_lines;
    }
}

impl Upsert {
    /// Finds the stored row of each staged one, and whether it differs or is newer. Gives how many there are.
    pub(super) async fn match_stored(&self, db: &mut Db) -> anyhow::Result<u64> {
        let mut different: Vec<String> =
            self.replaced.iter().map(|column| format!("t.{column} IS DISTINCT FROM s.{column}")).collect();
        let mut stale = "0".to_owned();
        if self.has_source_time {
            different.push(
                "(s.source_updated_at IS NOT NULL AND t.source_updated_at IS DISTINCT FROM s.source_updated_at)"
                    .to_owned(),
            );
            "CASE WHEN t.source_updated_at > s.source_updated_at THEN 1 ELSE 0 END".clone_into(&mut stale);
        }
        let key: Vec<String> = self.key.iter().map(|column| format!("t.{column} = s.{column}")).collect();
        let sql = format!(
            "UPDATE {} AS s SET target_id = t.id, is_stale = {stale}, is_changed = CASE WHEN {} THEN 1 ELSE 0 END
             FROM {} AS t WHERE {}",
            self.staging,
            different.join(" OR "),
            self.table,
            key.join(" AND ")
        );
        Ok(db.execute(&sql, values![]).await?)
    }

    /// Counts how the staged records compare.
    pub(super) async fn count(&self, db: &mut Db) -> anyhow::Result<Outcome> {
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
    pub(super) async fn insert_new(&self, db: &mut Db, count: i64, now: DateTime<Utc>) -> anyhow::Result<()> {
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
    pub(super) async fn update_changed(
        &self,
        db: &mut Db,
        count: i64,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut sets: Vec<String> =
            self.replaced.iter().map(|column| format!("{column} = s.{column}")).collect();
        if self.has_source_time {
            sets.push(format!(
                "source_updated_at = COALESCE(s.source_updated_at, {}.source_updated_at)",
                self.table
            ));
        }
        let sql = format!(
            "UPDATE {table} SET {}, updated_at = $1 FROM {} AS s
             WHERE {table}.id = s.target_id AND s.is_stale = 0 AND s.is_changed = 1",
            sets.join(", "),
            self.staging,
            table = self.table
        );
        db.execute(&sql, values![now]).await?;
        Ok(())
    }
}
