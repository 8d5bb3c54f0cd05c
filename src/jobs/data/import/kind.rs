//! What the kinds of files have in common, and what each of them defines.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Bulk, BulkRow, Db, DbError, FromRow, Kind as DbKind};
use crate::digest::fingerprint;
use crate::shop::upsert::UpsertCounts;
use crate::shop::with_lines::{HasLines, WithLines};

use super::field::{Column, Fields};
use super::layout::Layout;
use super::reader::Record;

/// A bad line, and why it is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The line, counted from 1.
    pub(super) line: u64,
    /// All that is wrong with it.
    pub(super) problems: Vec<String>,
}

impl BadLine {
    /// A line with one problem.
    pub(super) fn new(line: u64, problem: String) -> Self {
        Self { line, problems: vec![problem] }
    }

    /// All that is wrong with it, in one line.
    pub(super) fn text(&self) -> String {
        self.problems.join("; ")
    }
}

/// Examples that a note names.
const NOTE_EXAMPLES: usize = 3;

/// Good records of which something is worth knowing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// How many there are.
    pub(super) count: u64,
    /// An amount of theirs, by currency.
    pub(super) amounts: BTreeMap<String, i128>,
    /// The first few.
    pub(super) examples: Vec<String>,
}

impl Noted {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes a record with an amount.
    pub(super) fn add(&mut self, currency: &str, amount: i64, example: impl FnOnce() -> String) {
        self.count += 1;
        match self.amounts.get_mut(currency) {
            Some(sum) => *sum += i128::from(amount),
            None => drop(self.amounts.insert(currency.to_owned(), i128::from(amount))),
        }
        if self.examples.len() < NOTE_EXAMPLES {
            self.examples.push(example());
        }
    }

    fn append(&mut self, others: Self) {
        self.count += others.count;
        for (currency, amount) in others.amounts {
            *self.amounts.entry(currency).or_default() += amount;
        }
        self.examples.extend(others.examples);
        self.examples.truncate(NOTE_EXAMPLES);
    }
}

/// What is worth knowing about lines that are not bad.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Notes {
    /// Orders whose money went back without an amount that says how much: all of it is taken for refunded.
    pub(super) assumed_refunds: Noted,
    /// Orders whose money went back without an amount, of which nothing is taken for refunded.
    pub(super) kept_refunds: Noted,
    /// Paid orders without a payment day.
    pub(super) assumed_payments: Noted,
    /// Cancelled orders without the day of it.
    pub(super) assumed_cancellations: Noted,
    /// Orders that wait for a payment which they have.
    pub(super) paid_waiting: Noted,
    /// Orders that stand and have the day of a cancellation.
    pub(super) standing_cancelled: Noted,
    /// Orders that were cancelled after they were paid and of which nothing was paid back.
    pub(super) kept_cancellations: Noted,
    /// Orders of which more was paid back than they cost.
    pub(super) refunds_above_total: Noted,
    /// Refunds of orders that were not paid.
    pub(super) refunds_of_unpaid: Noted,
    /// Orders that stand with items that do not, and without an amount for those.
    pub(super) partly_cancelled: Noted,
    /// Orders with a negative amount among those that are deducted.
    pub(super) negative_deductions: Noted,
    /// Orders whose items repeat what other lines say went back.
    pub(super) repeated_refunds: Noted,
    /// Orders whose items say that more went back than other lines do.
    pub(super) added_refunds: Noted,
    /// Orders with a line whose amount is not its quantity times its price.
    pub(super) unequal_lines: Noted,
    /// Orders that a rule leaves out and that are stored as sales.
    pub(super) left_out_sales: Noted,
    /// Orders with a day after that of the export.
    pub(super) future: Noted,
    /// Orders whose money went back on a day that nothing says.
    pub(super) undated_refunds: Noted,
    /// Orders whose totals do not add up.
    pub(super) unbalanced: Noted,
    /// The lines that each rule left out, by the rule's place.
    pub(super) left_out: BTreeMap<usize, u64>,
}

impl Notes {
    fn of_orders(&mut self) -> [&mut Noted; 18] {
        // No field may be forgotten.
        let Self {
            assumed_refunds,
            kept_refunds,
            assumed_payments,
            assumed_cancellations,
            paid_waiting,
            standing_cancelled,
            kept_cancellations,
            refunds_above_total,
            refunds_of_unpaid,
            partly_cancelled,
            negative_deductions,
            repeated_refunds,
            added_refunds,
            unequal_lines,
            left_out_sales,
            future,
            undated_refunds,
            unbalanced,
            left_out: _,
        } = self;
        [
            assumed_refunds,
            kept_refunds,
            assumed_payments,
            assumed_cancellations,
            paid_waiting,
            standing_cancelled,
            kept_cancellations,
            refunds_above_total,
            refunds_of_unpaid,
            partly_cancelled,
            negative_deductions,
            repeated_refunds,
            added_refunds,
            unequal_lines,
            left_out_sales,
            future,
            undated_refunds,
            unbalanced,
        ]
    }

    /// Those that the mapping does not state: what follows from its own rules is as it wants it.
    pub(super) fn unstated(&self, layout: &Layout) -> Self {
        let keys = &layout.mapping.keys;
        let unless =
            |is_stated: bool, noted: &Noted| if is_stated { Noted::default() } else { noted.clone() };
        Self {
            assumed_refunds: unless(keys.refunded_without_amount.is_some(), &self.assumed_refunds),
            kept_refunds: unless(keys.refunded_without_amount.is_some(), &self.kept_refunds),
            assumed_payments: unless(keys.paid_without_time.is_some(), &self.assumed_payments),
            assumed_cancellations: unless(keys.cancelled_without_time.is_some(), &self.assumed_cancellations),
            refunds_above_total: unless(keys.refunded_above_total.is_some(), &self.refunds_above_total),
            // A platform that never says the day does so every night.
            undated_refunds: unless(!layout.says_day_of_refund(), &self.undated_refunds),
            left_out: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// A digest of how many orders there are of each kind, with their amounts; nothing if there are none.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let mut counts = self.clone();
        for noted in counts.of_orders() {
            noted.examples.clear();
        }
        (counts != Self::default()).then(|| fingerprint(format!("{counts:?}")))
    }

    /// Adds those of the lines that follow.
    pub(super) fn append(&mut self, mut others: Self) {
        for (noted, other) in self.of_orders().into_iter().zip(others.of_orders()) {
            noted.append(std::mem::take(other));
        }
        for (rule, lines) in others.left_out {
            *self.left_out.entry(rule).or_default() += lines;
        }
    }
}

/// A record that a rule leaves out as a whole.
#[derive(Debug)]
pub(super) struct LeftOut {
    /// Its first line.
    pub(super) line: u64,
    /// Its mall's ID.
    pub(super) mall_id: i64,
    /// Its key in that mall.
    pub(super) key: String,
}

/// A stored record.
#[derive(Debug, FromRow)]
pub(super) struct StoredRecord {
    /// The line of the file that leaves it out.
    pub(super) line: i64,
    /// Its key.
    pub(super) key: String,
    /// The currency of its amount.
    pub(super) currency: String,
    /// Its amount.
    pub(super) amount: i64,
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
    fn read(
        layout: &Layout,
        lines: &[Record],
        rows: Option<&mut Self::Rows>,
        notes: &mut Notes,
    ) -> Result<(), Vec<BadLine>>;

    /// Creates the staging tables, once per connection.
    async fn prepare(db: &mut Db) -> anyhow::Result<()>;

    /// The staged lines that do not fit the stored data.
    async fn look_up(_db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        Ok(Vec::new())
    }

    /// Of records that are left out, those that are stored and count, with an amount of theirs.
    async fn stored_of(_db: &mut Db, _left_out: &[LeftOut]) -> anyhow::Result<Vec<StoredRecord>> {
        Ok(Vec::new())
    }

    /// Notes those of the staged records that were stored since `since` with none of the lines that are staged: they stand in
    /// another part of the same export too.
    async fn note_split(_db: &mut Db, _since: DateTime<Utc>, _split: &mut Noted) -> anyhow::Result<()> {
        Ok(())
    }

    /// Stores the staged records.
    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts>;
}
