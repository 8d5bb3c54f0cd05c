//! Records with lines, such as orders and carts: staged together, and stored with the same few statements.
//!
//! A record is new, changed, older or unchanged together with its lines: if one of them differs, all of them are
//! replaced.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::db::{Bulk, BulkColumn, BulkRow, BulkValue, Db, DbError, Kind, RowEncoder};
use crate::values;

use super::upsert::{MATCH_COLUMNS, SourceTime, Upsert, UpsertCounts};

/// The column that distinguishes the lines of a record.
const LINE_KEY: &str = "line_key";

/// What the lines of a record are ordered by, the same on both databases: by their number where they have one, so that 2
/// comes before 10, then those without one by bytes. `key` is the column of their `line_key`.
pub fn line_order(db: &Db, key: &str) -> String {
    let bytes = db.by_bytes(key);
    let number = match db.kind() {
        Kind::Sqlite => format!("CASE WHEN {key} NOT GLOB '*[^0-9]*' THEN LTRIM({key}, '0') END"),
        Kind::Postgres => format!("CASE WHEN {bytes} ~ '^[0-9]*$' THEN LTRIM({bytes}, '0') END"),
    };
    // Of two numbers the longer one is greater, and they may have any length.
    format!("LENGTH({number}) NULLS LAST, {number}, {bytes}")
}

/// A record that has lines.
pub trait HasLines: BulkRow + 'static {
    /// One of its lines.
    type Line: BulkRow + 'static;
    /// Where records are stored.
    const STORED_IN: &'static str;
    /// Their natural key.
    const KEY: &'static [&'static str];
    /// Where the lines are stored.
    const LINES_STORED_IN: &'static str;
    /// The column by which a stored line refers to its record.
    const REFERENCE: &'static str;
    /// The statement for SQLite that notes what of the staged records is new, as the triggers of the table would (migrations
    /// 0021 and 0023); nothing for a table without such triggers.
    const NOTE_NEW: Option<&'static str> = None;
}

/// Says to the triggers of SQLite that all records which follow are new, and noted already. On PostgreSQL the triggers run
/// once for a statement.
const BEGIN_NEW_RECORDS: &str =
    "INSERT INTO sales_changes (id, mall_id, subject, changed_hour) VALUES (-1, 0, 'ORDER', '')";
const END_NEW_RECORDS: &str = "DELETE FROM sales_changes WHERE id = -1";

/// A chunk of records and their lines, waiting to be staged.
pub struct WithLines<R: HasLines> {
    records: Bulk<Numbered<'static, R>>,
    lines: Bulk<LineOf<'static, R::Line>>,
    ordinal: i64,
}

/// A record as it is staged: with its number within the chunk, which ties its lines to it.
struct Numbered<'r, R> {
    ordinal: i64,
    line_count: i64,
    record: &'r R,
}

impl<R: BulkRow> BulkRow for Numbered<'_, R> {
    type Owned = Numbered<'static, R::Owned>;
    const TABLE: &'static str = R::TABLE;

    fn columns() -> Vec<BulkColumn> {
        let own = [BulkColumn::of::<i64>("ordinal"), BulkColumn::of::<i64>("line_count")];
        own.into_iter().chain(R::columns()).collect()
    }

    fn encode(&self, row: &mut RowEncoder<'_>) {
        self.ordinal.encode(row);
        self.line_count.encode(row);
        self.record.encode(row);
    }
}

/// A line as it is staged: with the number of its record.
struct LineOf<'r, L> {
    ordinal: i64,
    line: &'r L,
}

impl<L: BulkRow> BulkRow for LineOf<'_, L> {
    type Owned = LineOf<'static, L::Owned>;
    const TABLE: &'static str = L::TABLE;

    fn columns() -> Vec<BulkColumn> {
        std::iter::once(BulkColumn::of::<i64>("ordinal")).chain(L::columns()).collect()
    }

    fn encode(&self, row: &mut RowEncoder<'_>) {
        self.ordinal.encode(row);
        self.line.encode(row);
    }
}

impl<R: HasLines> WithLines<R> {
    /// An empty chunk.
    pub fn new(kind: Kind) -> Self {
        Self { records: Bulk::for_database(kind), lines: Bulk::for_database(kind), ordinal: 1 }
    }

    /// Adds a record with its lines; the number that it is staged with.
    pub fn push<Record, Line>(&mut self, record: &Record, lines: impl IntoIterator<Item = Line>) -> i64
    where
        Record: BulkRow<Owned = R>,
        Line: BulkRow<Owned = R::Line>,
    {
        let ordinal = self.ordinal;
        let mut line_count = 0;
        for line in lines {
            self.lines.push(&LineOf { ordinal, line: &line });
            line_count += 1;
        }
        self.records.push(&Numbered { ordinal, line_count, record });
        self.ordinal += 1;
        ordinal
    }

    /// Whether no record is waiting.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How much memory the waiting rows take.
    pub fn bytes(&self) -> usize {
        self.records.bytes() + self.lines.bytes()
    }

    /// Creates the staging tables, once per connection. `new_id` is the number of a record that turns out to be new:
    /// PostgreSQL draws it from the table's own sequence; on SQLite the transaction holds the only write lock, so the
    /// next numbers are free.
    pub async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let kind = db.kind();
        let definitions = |columns: Vec<BulkColumn>| {
            columns.iter().map(|column| column.definition(kind)).collect::<Vec<_>>().join(", ")
        };
        // SQLite uses a key of exactly this type as the row's own number.
        let (number, lines_key, emptied) = match kind {
            Kind::Sqlite => ("INTEGER", format!(", PRIMARY KEY (ordinal, {LINE_KEY})) WITHOUT ROWID"), ""),
            Kind::Postgres => ("BIGINT", ") ON COMMIT DELETE ROWS".to_owned(), "ON COMMIT DELETE ROWS"),
        };
        let new_id = match kind {
            Kind::Sqlite => "new_id BIGINT".to_owned(),
            // The sequence's name is looked up once: in a default it would be looked up for each row.
            Kind::Postgres => {
                let sql = "SELECT pg_get_serial_sequence($1, 'id')";
                let (sequence,): (String,) = db.fetch_one(sql, values![R::STORED_IN]).await?;
                format!("new_id BIGINT DEFAULT nextval('{}')", sequence.replace('\'', "''"))
            }
        };
        db.script(&format!(
            "CREATE TEMP TABLE IF NOT EXISTS {} (ordinal {number} PRIMARY KEY, {}, {MATCH_COLUMNS},
                 are_lines_changed BIGINT DEFAULT 0, {new_id}) {emptied};
             CREATE TEMP TABLE IF NOT EXISTS {} (ordinal BIGINT, {}{lines_key}",
            R::TABLE,
            definitions(R::columns()),
            R::Line::TABLE,
            definitions(R::Line::columns()),
        ))
        .await?;
        Ok(())
    }

    /// Loads the rows into their staging tables, replacing those of the previous chunk.
    pub async fn stage(&mut self, db: &mut Db) -> Result<(), DbError> {
        self.ordinal = 1;
        db.stage(&mut self.records).await?;
        db.stage(&mut self.lines).await
    }

    /// Stores the staged records. A record is a complete state: what its source omits is removed.
    pub async fn store(
        db: &mut Db,
        source_time: SourceTime,
        now: DateTime<Utc>,
    ) -> anyhow::Result<UpsertCounts> {
        let records =
            Upsert { uses_staged_ids: true, ..Upsert::of::<R>(R::STORED_IN, R::KEY) }.later_by(source_time);
        if db.kind() == Kind::Sqlite {
            db.script(&format!(
                "UPDATE {} SET new_id = ordinal + (SELECT COALESCE(MAX(id), 0) FROM {})",
                R::TABLE,
                R::STORED_IN
            ))
            .await?;
        }
        if records.match_stored(db, now).await? > 0 {
            if db.kind() == Kind::Postgres {
                // Only records that are stored already are compared line by line; a first load does without the index.
                let lines = R::Line::TABLE;
                db.script(&format!("CREATE INDEX IF NOT EXISTS {lines}_ordinal ON {lines} (ordinal)"))
                    .await?;
            }
            db.execute_unprepared(&compare_lines::<R>()).await?;
        }
        let outcome = records.count(db).await?;
        let is_silent = db.kind() == Kind::Sqlite && outcome.changed == 0 && outcome.new > 0;
        let note_new = R::NOTE_NEW.filter(|_| is_silent);
        if let Some(note_new) = note_new {
            db.execute(note_new, values![]).await?;
            db.script(BEGIN_NEW_RECORDS).await?;
        }
        records.insert_new(db, outcome.new, now).await?;
        records.update_changed(db, outcome.changed, now).await?;
        records.note_unchanged(db, outcome.unchanged).await?;
        if outcome.changed > 0 {
            db.execute(&delete_changed_lines::<R>(), values![]).await?;
        }
        if outcome.new + outcome.changed > 0 {
            db.execute(&insert_lines::<R>(), values![]).await?;
        }
        if note_new.is_some() {
            db.script(END_NEW_RECORDS).await?;
        }
        Ok(outcome)
    }
}

/// Counts the lines of each stored record that are as staged, and all it has: they differ unless both are as many as
/// are staged.
fn compare_lines<R: HasLines>() -> String {
    let (records, lines, stored, reference) = (R::TABLE, R::Line::TABLE, R::LINES_STORED_IN, R::REFERENCE);
    let mut same = String::new();
    for column in R::Line::columns().iter().filter(|column| column.name != LINE_KEY) {
        let equals = if column.is_nullable { "IS NOT DISTINCT FROM" } else { "=" };
        // Writing to a String cannot fail.
        let _ = write!(same, " AND t.{0} {equals} s.{0}", column.name);
    }
    format!(
        "UPDATE {records} SET is_changed = 1, are_lines_changed = 1
         WHERE target_id IS NOT NULL AND is_stale = 0 AND (
             (SELECT COUNT(*) FROM {stored} AS t WHERE t.{reference} = {records}.target_id) <> line_count
             OR (SELECT COUNT(*) FROM {lines} AS s
                 JOIN {stored} AS t ON t.{reference} = {records}.target_id AND t.{LINE_KEY} = s.{LINE_KEY}
                 WHERE s.ordinal = {records}.ordinal{same}) <> line_count)"
    )
}

fn delete_changed_lines<R: HasLines>() -> String {
    format!(
        "DELETE FROM {} WHERE {} IN (SELECT target_id FROM {} WHERE are_lines_changed = 1)",
        R::LINES_STORED_IN,
        R::REFERENCE,
        R::TABLE
    )
}

/// The condition is inside COALESCE because PostgreSQL takes a plain one for so selective that it compares each line with
/// each record.
fn insert_lines<R: HasLines>() -> String {
    let columns: Vec<&str> = R::Line::columns().iter().map(|column| column.name).collect();
    format!(
        "INSERT INTO {stored} ({reference}, {names})
         SELECT COALESCE(r.target_id, r.new_id), s.{values}
         FROM {lines} AS s JOIN {records} AS r ON r.ordinal = s.ordinal
         WHERE COALESCE(r.target_id IS NULL OR r.are_lines_changed = 1, FALSE)",
        stored = R::LINES_STORED_IN,
        reference = R::REFERENCE,
        names = columns.join(", "),
        values = columns.join(", s."),
        lines = R::Line::TABLE,
        records = R::TABLE,
    )
}
