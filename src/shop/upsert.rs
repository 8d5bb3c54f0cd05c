//! Compares a staged chunk with its target table: which rows are new, different or stale.
//!
//! The same few set-based statements serve every kind of record: the staged rows are matched with the stored ones by
//! their natural key, then the new ones are inserted and the different ones updated. An unchanged row is not touched,
//! so that its `updated_at` shows when it last changed.

use chrono::{DateTime, Days, SecondsFormat, Utc};

use crate::db::{BulkRow, Db, DbErrorKind, FromRow};
use crate::failure::Failure;
use crate::values;

/// The columns that every staging table has besides its data: the matching stored row, how it compares, and how many
/// lines of a file make up the record.
pub const MATCH_COLUMNS: &str = "target_id BIGINT, is_stale BIGINT DEFAULT 0, is_changed BIGINT DEFAULT 0, \
                                 line_count BIGINT DEFAULT 1";

/// The column for the time at which a source last changed a record. It decides which of two records is the later one.
pub const SOURCE_UPDATED_AT: &str = "source_updated_at";

/// What a record's `source_updated_at` means, which decides the later of two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTime {
    /// It is absent: the record that comes last is the later one.
    Unknown,
    /// When the record changed, according to its source: a different time alone is a change.
    Recorded,
    /// The same, while stored times up to this one may be those of [`Self::Exported`], which say nothing about when the record
    /// changed.
    RecordedOver(DateTime<Utc>),
    /// The same in a source that a newer one has overtaken: of two records that changed at the same time, or of which one does
    /// not say when, the stored one is the later one.
    RecordedInOlder,
    /// When its source was read: a different time alone is not a change.
    AsOf,
    /// When all records were read from their source, each as it was then: noted too for one that is as it was.
    Exported(DateTime<Utc>),
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
    /// The columns inserted with a new row, besides its key.
    pub columns: Vec<&'static str>,
    /// The columns compared and replaced in a stored row.
    pub replaced: Vec<&'static str>,
    /// How to decide which of two records is the later one.
    pub source_time: SourceTime,
    /// A condition on the stored row (`t`) under which it is never updated.
    pub kept: Option<&'static str>,
    /// Whether a new row takes the staged `new_id` as its id, because other staged rows refer to it.
    pub uses_staged_ids: bool,
}

/// How a chunk's records compare with the stored ones: counts of records and, for those written, of lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct UpsertCounts {
    /// Records that were not there before.
    pub new: i64,
    /// Records that differ.
    pub changed: i64,
    /// Records that are the same.
    pub unchanged: i64,
    /// Records that are older than those stored, by the source's own time.
    pub stale: i64,
    /// Lines of the new and the changed records.
    pub written_lines: i64,
}

impl UpsertCounts {
    /// Adds another chunk's counts.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.written_lines += other.written_lines;
    }
}

/// A day from now, as a literal of SQL. What is later than that is so by a clock that was ahead: a shop may be in a zone where
/// it is tomorrow.
pub fn tomorrow(now: DateTime<Utc>) -> String {
    let tomorrow = now.checked_add_days(Days::new(1)).unwrap_or(now);
    format!("'{}'", tomorrow.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

impl Upsert {
    /// The staged rows of `R` against `table`. All their columns except the key are inserted, and replaced in a stored
    /// row where they differ; the methods below name the exceptions.
    pub fn of<R: BulkRow>(table: &'static str, key: &[&'static str]) -> Self {
        let names = R::columns().into_iter().map(|column| column.name);
        let columns: Vec<&str> = names.filter(|name| !key.contains(name)).collect();
        let replaced = columns.iter().copied().filter(|name| *name != SOURCE_UPDATED_AT).collect();
        Self {
            table,
            staging: R::TABLE,
            key: key.to_vec(),
            columns,
            replaced,
            source_time: SourceTime::Unknown,
            kept: None,
            uses_staged_ids: false,
        }
    }

    /// These columns are staged only for lookups; the table does not have them.
    #[must_use]
    pub fn not_stored(mut self, columns: &[&str]) -> Self {
        self.columns.retain(|name| !columns.contains(name));
        self.only_inserted(columns)
    }

    /// These columns of a stored row stay as they are.
    #[must_use]
    pub fn only_inserted(mut self, columns: &[&str]) -> Self {
        self.replaced.retain(|name| !columns.contains(name));
        self
    }

    /// These columns are filled in the staging table after the rows were loaded.
    #[must_use]
    pub fn looked_up(mut self, columns: &[&'static str]) -> Self {
        self.columns.extend(columns);
        self.replaced.extend(columns);
        self
    }

    /// Decides between two records by their source's time.
    #[must_use]
    pub fn later_by(self, source_time: SourceTime) -> Self {
        Self { source_time, ..self }
    }

    /// Stores the staged rows, and returns how they compared.
    pub async fn store(&self, db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        self.match_stored(db, now).await?;
        let outcome = self.count(db).await?;
        self.insert_new(db, outcome.new, now).await?;
        self.update_changed(db, outcome.changed, now).await?;
        self.note_unchanged(db, outcome.unchanged).await?;
        Ok(outcome)
    }

    /// Finds the stored row of each staged one and whether it differs or is newer. Returns the number of matches.
    pub async fn match_stored(&self, db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<u64> {
        match self.source_time {
            SourceTime::Exported(at) => {
                let sql = format!(
                    "UPDATE {} SET source_updated_at = $1 WHERE source_updated_at IS NULL",
                    self.staging
                );
                db.execute(&sql, values![at]).await?;
            }
            SourceTime::RecordedOver(at) => self.forget_exports(db, at).await?,
            SourceTime::Unknown | SourceTime::Recorded | SourceTime::RecordedInOlder | SourceTime::AsOf => {}
        }
        let mut different: Vec<String> =
            self.replaced.iter().map(|column| format!("t.{column} IS DISTINCT FROM s.{column}")).collect();
        if matches!(
            self.source_time,
            SourceTime::Recorded | SourceTime::RecordedOver(_) | SourceTime::RecordedInOlder
        ) {
            different.push(
                "(s.source_updated_at IS NOT NULL AND t.source_updated_at IS DISTINCT FROM s.source_updated_at)"
                    .to_owned(),
            );
        }
        let stale = self.stale(db, now);
        let sql = format!(
            "UPDATE {} AS s SET target_id = t.id, is_stale = {stale}, is_changed = CASE WHEN {} THEN 1 ELSE 0 END
             FROM {} AS t WHERE {}",
            self.staging,
            different.join(" OR "),
            self.table,
            self.same_key()
        );
        // While a table fills up, the plan that suited the first chunk does not suit the hundredth.
        Ok(db.execute_unprepared(&sql).await?)
    }

    fn same_key(&self) -> String {
        let same: Vec<String> = self.key.iter().map(|column| format!("t.{column} = s.{column}")).collect();
        same.join(" AND ")
    }

    /// Takes away the time of stored rows that would look later than their own change, because it is that of an export.
    async fn forget_exports(&self, db: &mut Db, at: DateTime<Utc>) -> anyhow::Result<()> {
        let sql = format!(
            "UPDATE {} AS t SET source_updated_at = NULL FROM {} AS s
             WHERE {} AND t.source_updated_at > s.source_updated_at AND t.source_updated_at <= $1",
            self.table,
            self.staging,
            self.same_key()
        );
        db.execute(&sql, values![at]).await?;
        Ok(())
    }

    /// Notes that rows which are as they were have been seen so by a later export: an older one does not change them.
    pub async fn note_unchanged(&self, db: &mut Db, count: i64) -> anyhow::Result<()> {
        if count == 0 || !matches!(self.source_time, SourceTime::Exported(_)) {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} AS t SET source_updated_at = s.source_updated_at FROM {} AS s
             WHERE t.id = s.target_id AND s.is_stale = 0 AND s.is_changed = 0
               AND (t.source_updated_at IS NULL OR t.source_updated_at < s.source_updated_at)",
            self.table, self.staging
        );
        db.execute_unprepared(&sql).await?;
        Ok(())
    }

    /// The SQL expression for whether a stored row is not updated: 1 or 0.
    fn stale(&self, db: &Db, now: DateTime<Utc>) -> String {
        // A stored time that is none, or is in the future because a clock was ahead, would be later than any, and keep its row
        // from ever being updated.
        let is_time = db.is_time("t.source_updated_at");
        let is_possible = format!("t.source_updated_at <= {} AND {is_time}", tomorrow(now));
        let is_later = match self.source_time {
            SourceTime::Unknown => None,
            SourceTime::RecordedInOlder => Some(format!(
                "(t.source_updated_at IS NULL OR s.source_updated_at IS NULL OR NOT {is_time}
                  OR t.source_updated_at >= s.source_updated_at)"
            )),
            // When a shop answered, by its own clock: nobody wrote it into a file.
            SourceTime::AsOf => Some(format!("(t.source_updated_at > s.source_updated_at AND {is_time})")),
            SourceTime::Recorded | SourceTime::RecordedOver(_) | SourceTime::Exported(_) => {
                Some(format!("(t.source_updated_at > s.source_updated_at AND {is_possible})"))
            }
        };
        let reasons: Vec<&str> = is_later.as_deref().into_iter().chain(self.kept).collect();
        if reasons.is_empty() {
            return "0".to_owned();
        }
        format!("CASE WHEN {} THEN 1 ELSE 0 END", reasons.join(" OR "))
    }

    /// Counts how the staged records compare.
    pub async fn count(&self, db: &mut Db) -> anyhow::Result<UpsertCounts> {
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
        let (id, new_id) = if self.uses_staged_ids { ("id, ", "new_id, ") } else { ("", "") };
        let list = columns.join(", ");
        // No ON CONFLICT: it costs a second lookup in each unique index, for something that hardly ever happens.
        let sql = format!(
            "INSERT INTO {} ({id}{list}, created_at, updated_at) SELECT {new_id}{list}, $1, $1 FROM {}
             WHERE target_id IS NULL",
            self.table, self.staging
        );
        if let Err(error) = db.execute(&sql, values![now]).await {
            if error.kind() != DbErrorKind::Constraint {
                return Err(error.into());
            }
            let problem =
                format!("another program wrote the same {} at the same moment: {error}", self.table);
            return Err(Failure::try_later(problem)
                .hint("run the same command again: it continues after the last commit")
                .into());
        }
        // Without, it assumes that a mall's number is selective, matches staged rows by any index that begins with it, and
        // reads all of the mall for each row.
        Ok(db.take_missing_statistics(self.table, count).await?)
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
        // Checked again: another program may have written a newer row since the rows were matched.
        let sql = format!(
            "UPDATE {} AS t SET {}, updated_at = $1 FROM {} AS s
             WHERE t.id = s.target_id AND s.is_stale = 0 AND s.is_changed = 1 AND {} = 0",
            self.table,
            sets.join(", "),
            self.staging,
            self.stale(db, now)
        );
        db.execute(&sql, values![now]).await?;
        Ok(())
    }
}
