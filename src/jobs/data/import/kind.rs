//! What the kinds of files have in common, and what each says of itself.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::db::{Bulk, Db};

use super::field::{Column, Fields, Layout, Parsed};
use super::reader::Record;
use crate::shop::upsert::Outcome;

/// A line that is given up on, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The line, counted from 1.
    pub(super) line: u64,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// The rows of a chunk on their way into the staging tables.
pub(super) struct Rows {
    /// One load a staging table, in the order of [`FileKind::staging`].
    pub(super) loads: Vec<Bulk>,
    /// The number of the next record within its chunk, from 1: what ties an order's lines to it.
    pub(super) ordinal: i64,
}

/// One kind of file.
///
/// A record is what is stored by one natural key: a line, or for orders the consecutive lines of one order.
pub(super) trait FileKind: 'static {
    /// What one record is called, and several.
    const NOUNS: (&'static str, &'static str);
    /// How many lines a record may have.
    const MOST_LINES: usize;
    /// Whether what is stored decides if a line is good, so that the first pass has to ask the database too.
    const LOOKS_UP: bool;

    /// Its columns; the mall's is the first.
    fn columns() -> Vec<Column>;

    /// The staging tables and their columns that a file fills.
    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)>;

    /// The natural key of a line's record, without its mall.
    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str);

    /// Reads a record's lines; stages it if `rows` is given. Says what is wrong with which lines.
    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>>;

    /// Makes the staging tables, once a connection.
    async fn prepare(db: &mut Db) -> anyhow::Result<()>;

    /// Whether what was staged fits what is stored; the lines that do not.
    async fn look_up(_db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        Ok(Vec::new())
    }

    /// Takes the staged records over into the tables.
    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<Outcome>;
}

/// The columns of `columns` that the file has: the others stay as they are stored.
pub(super) fn present(layout: &Layout, columns: &[(usize, &'static str)]) -> Vec<&'static str> {
    columns.iter().filter(|(column, _)| layout.has(*column)).map(|(_, name)| *name).collect()
}

/// Whether a line says the same of its record as the record's first line, in the columns that are not the line's own.
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
