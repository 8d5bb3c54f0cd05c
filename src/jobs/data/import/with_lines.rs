//! Kinds whose record is several consecutive lines of the file, each of which repeats the record's own columns.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use crate::db::{BulkRow, Db};
use crate::shop::upsert::{SourceTime, UpsertCounts};
use crate::shop::with_lines::{HasLines, WithLines};

use super::field::{Column, Fields, Layout, Parsed};
use super::kind::{BadLine, FileKind};
use super::reader::Record;

/// The position of the record's key in every such file: after the mall.
const KEY: usize = 1;

/// A kind whose record has lines, each of them a product.
pub(super) trait RecordKind: 'static {
    /// The noun for one record and for several.
    const NOUNS: (&'static str, &'static str);
    /// The columns of the record itself, which are the same on each of its lines.
    const RECORD_COLUMNS: RangeInclusive<usize>;
    /// The product's code, which distinguishes the lines of a record that have no number.
    const PRODUCT_CODE: usize;
    /// A line's number.
    const LINE_NO: usize;
    /// The number of units.
    const QUANTITY: usize;
    /// What to do about a negative one.
    const IF_NEGATIVE_QUANTITY: &'static str;

    /// What records are staged as.
    type Staged: HasLines;
    /// A record that was read.
    type Record<'r>: BulkRow<Owned = Self::Staged>;
    /// A line that was read.
    type Line<'r>: BulkRow<Owned = <Self::Staged as HasLines>::Line>;

    /// Its columns: the mall's, the record's key, all others.
    fn columns() -> Vec<Column>;

    /// Reads the record's own columns.
    fn record<'r>(fields: &Fields<'r>) -> Parsed<Self::Record<'r>>;

    /// Reads the rest of a line.
    fn line<'r>(fields: &Fields<'r>, item: &Item<'r>, record: &Self::Record<'r>) -> Parsed<Self::Line<'r>>;
}

/// What each line has.
pub(super) struct Item<'r> {
    /// What distinguishes it from the record's other lines.
    pub(super) key: &'r str,
    /// The product's code.
    pub(super) product_code: &'r str,
    /// The number of units; not negative.
    pub(super) quantity: i64,
    has_number: bool,
}

/// The [`FileKind`] that a [`RecordKind`] makes.
pub(super) struct Lined<K>(PhantomData<K>);

impl<K: RecordKind> FileKind for Lined<K> {
    const NOUNS: (&'static str, &'static str) = K::NOUNS;
    // A record is held in memory as a whole; a wholesale order has hundreds of lines.
    const MAX_LINES: usize = 2_000;
    const LOOKS_UP: bool = false;

    type Rows = WithLines<K::Staged>;

    fn columns() -> Vec<Column> {
        K::columns()
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(KEY), "")
    }

    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Self::Rows>) -> Result<(), Vec<BadLine>> {
        let Some(first) = lines.first() else { return Ok(()) };
        // Without its record a line's amounts have no currency, so only the first line's fault is reported.
        let record = K::record(&layout.fields(first))
            .map_err(|problem| vec![BadLine { line: first.line(), problem }])?;
        let mut bad = Vec::new();
        let mut read: Vec<(&str, K::Line<'_>)> = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            match read_line::<K>(layout, line, &lines[..place], &record, &read) {
                Ok(good) => read.push(good),
                Err(problem) => bad.push(BadLine { line: line.line(), problem }),
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        if let Some(rows) = rows {
            rows.push(&record, read.into_iter().map(|(_, line)| line));
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        Self::Rows::prepare(db).await
    }

    async fn store(db: &mut Db, _layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        Self::Rows::store(db, SourceTime::Recorded, now).await
    }
}

/// Reads a line and returns it with its key. `before` are the preceding lines of the same record, and `read` the good ones
/// of them; most records have two or three.
fn read_line<'r, K: RecordKind>(
    layout: &'r Layout,
    line: &'r Record,
    before: &[Record],
    record: &K::Record<'r>,
    read: &[(&'r str, K::Line<'r>)],
) -> Parsed<(&'r str, K::Line<'r>)> {
    let fields = layout.fields(line);
    if let Some(first) = before.first() {
        same_record::<K>(&layout.fields(first), &fields, first.line())?;
    }
    let item = Item::read::<K>(&fields)?;
    let line = K::line(&fields, &item, record)?;
    if read.iter().all(|(key, _)| *key != item.key) {
        return Ok((item.key, line));
    }
    // Exports repeat lines by mistake: to number them would double what was bought.
    if let Some(twin) = before.iter().find(|earlier| layout.fields(earlier).equal(&fields)) {
        return Err(format!(
            "the line is the same as line {}: remove it, or, if the product really is in the {} twice, number both lines in \
             a column `line_no`",
            twin.line(),
            K::NOUNS.0
        ));
    }
    let (key, noun) = (item.key, K::NOUNS.0);
    Err(if item.has_number {
        format!("`line_no`: `{key}` occurs twice in the same {noun}")
    } else {
        format!(
            "`product_code`: `{key}` occurs twice in the same {noun}: distinguish its lines with a column `line_no`"
        )
    })
}

/// Checks that a line agrees with the first line of its record in the columns of the record.
fn same_record<K: RecordKind>(first: &Fields<'_>, fields: &Fields<'_>, first_line: u64) -> Parsed<()> {
    for column in K::RECORD_COLUMNS {
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

impl<'r> Item<'r> {
    fn read<K: RecordKind>(fields: &Fields<'r>) -> Parsed<Self> {
        let product_code = fields.text(K::PRODUCT_CODE)?;
        let line_no = fields.optional_text(K::LINE_NO)?;
        let quantity = fields.integer(K::QUANTITY)?;
        if quantity < 0 {
            return Err(fields.negative(K::QUANTITY, K::IF_NEGATIVE_QUANTITY));
        }
        Ok(Self {
            key: line_no.unwrap_or(product_code),
            product_code,
            quantity,
            has_number: line_no.is_some(),
        })
    }
}
