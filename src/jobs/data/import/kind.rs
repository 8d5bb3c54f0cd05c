//! What the kinds of files have in common, and what each of them defines.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::db::{Bulk, Db};

use super::field::{Column, Fields, Layout, Parsed};
use super::reader::Record;
use crate::shop::upsert::UpsertCounts;

/// A bad line, and why it is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The line, counted from 1.
    pub(super) line: u64,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// The rows of a chunk on their way into the staging tables.
pub(super) struct Rows {
    /// One load per staging table, in the order of [`FileKind::staging`].
    pub(super) loads: Vec<Bulk>,
    /// The ordinal of the next record within its chunk, from 1, which links an order's lines to it.
    pub(super) ordinal: i64,
}

/// One kind of file.
///
/// A record is stored under one natural key: it is one line or, for orders, the consecutive lines of one order.
pub(super) trait FileKind: 'static {
    /// The noun for one record and for several.
    const NOUNS: (&'static str, &'static str);
    /// How many lines a record may have.
    const MOST_LINES: usize;
    /// Whether stored data decides if a line is good, so that the first pass needs the database too.
    const LOOKS_UP: bool;

    /// Its columns; the mall's is the first.
    fn columns() -> Vec<Column>;

    /// The staging tables and their columns that a file fills.
    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)>;

    /// The natural key of a line's record, without its mall.
    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str);

    /// Reads a record's lines and stages it if `rows` is given. Returns the bad lines.
    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>>;

    /// Creates the staging tables, once per connection.
    async fn prepare(db: &mut Db) -> anyhow::Result<()>;

    /// The staged lines that do not fit the stored data.
    async fn look_up(_db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        Ok(Vec::new())
    }

    /// Stores the staged records.
    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts>;
}

/// Those of the columns that the file has: the others keep their stored values.
pub(super) fn present(layout: &Layout, columns: &[(usize, &'static str)]) -> Vec<&'static str> {
    columns.iter().filter(|(column, _)| layout.has(*column)).map(|(_, name)| *name).collect()
}

/// Checks that a line agrees with the first line of its record in the columns of the record.
pub(super) fn same_record<K: FileKind>(
    first: Fields<'_>,
    fields: &Fields<'_>,
    columns: std::ops::RangeInclusive<usize>,
    first_line: u64,
) -> Parsed<()> {
    for column in columns {
        if first.meant(column) != fields.meant(column) {
            let problem = format!(
                "`{}` differs from `{}` on line {first_line} of the same {}",
                fields.raw(column),
                first.raw(column),
                K::NOUNS.0
            );
            return Err(fields.wrong(column, &problem));
        }
    }
    Ok(())
}
