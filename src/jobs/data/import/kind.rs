//! What the kinds of files have in common, and what each of them defines.

use chrono::{DateTime, Utc};

use crate::db::{Bulk, BulkRow, Db, DbError, Kind as DbKind};
use crate::shop::upsert::UpsertCounts;
use crate::shop::with_lines::{HasLines, WithLines};

use super::field::{Column, Fields, Layout};
use super::reader::Record;

/// A bad line, and why it is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The line, counted from 1.
    pub(super) line: u64,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// The rows of a chunk, to be loaded into the staging tables.
pub(super) trait Rows: Send + 'static {
    /// An empty set of rows.
    fn none(database: DbKind) -> Self;

    /// Whether there are none.
    fn is_empty(&self) -> bool;

    /// How much memory they take.
    fn bytes(&self) -> usize;

    /// Loads them, replacing those of the previous chunk.
    async fn stage(&mut self, db: &mut Db) -> Result<(), DbError>;
}

impl<R: BulkRow + 'static> Rows for Bulk<R> {
    fn none(database: DbKind) -> Self {
        Self::for_database(database)
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    async fn stage(&mut self, db: &mut Db) -> Result<(), DbError> {
        db.stage(self).await
    }
}

impl<R: HasLines> Rows for WithLines<R> {
    fn none(database: DbKind) -> Self {
        Self::new(database)
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    async fn stage(&mut self, db: &mut Db) -> Result<(), DbError> {
        self.stage(db).await
    }
}

/// One kind of file.
///
/// A record is stored under one natural key: it is one line or, for orders, the consecutive lines of one order.
pub(super) trait FileKind: 'static {
    /// The noun for one record and for several.
    const NOUNS: (&'static str, &'static str);
    /// How many lines a record may have.
    const MAX_LINES: usize;
    /// Whether stored data decides if a line is good, so that the first pass needs the database too.
    const LOOKS_UP: bool;

    /// What a chunk's records are staged as.
    type Rows: Rows;

    /// Its columns; the mall's is the first.
    fn columns() -> Vec<Column>;

    /// The natural key of a line's record, without its mall.
    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str);

    /// Reads a record's lines and stages it if `rows` is given. Returns the bad lines.
    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Self::Rows>) -> Result<(), Vec<BadLine>>;

    /// Creates the staging tables, once per connection.
    async fn prepare(db: &mut Db) -> anyhow::Result<()>;

    /// The staged lines that do not fit the stored data.
    async fn look_up(_db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        Ok(Vec::new())
    }

    /// Stores the staged records.
    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts>;
}
