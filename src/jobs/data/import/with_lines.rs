//! Kinds whose record is several consecutive lines of the file, each of which repeats the record's own columns.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::shop::upsert::UpsertCounts;

use super::field::{Column, Fields, Parsed, Problems};
use super::kind::{BadLine, FileKind, LeftOut, Noted, Notes, Rows, StoredRecord};
use super::layout::{Layout, PerRecord, Role, Sum};
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

    /// What a chunk's records are staged as.
    type Rows: Rows;
    /// A record that was read.
    type Record<'r>;
    /// A line that was read.
    type Line<'r>;

    /// Its columns: the mall's, the record's key, all others.
    fn columns() -> Vec<Column>;

    /// Reads the record's own columns, from the line that has all of them.
    fn record<'r>(fields: &Fields<'r>, lines: &Lines<'r>, problems: &mut Problems) -> Self::Record<'r>;

    /// Reads the rest of a line.
    fn line<'r>(
        fields: &Fields<'r>,
        item: &Item<'r>,
        record: &Self::Record<'r>,
        problems: &mut Problems,
    ) -> Self::Line<'r>;

    /// Reads a line that is not an item of its record.
    fn other_line<'r>(
        _fields: &Fields<'r>,
        _role: Role,
        _record: &mut Self::Record<'r>,
        _problems: &mut Problems,
    ) {
    }

    /// Completes a good record with what follows from all of its lines.
    fn complete<'r>(
        _record: &mut Self::Record<'r>,
        _lines: &[(&'r str, Self::Line<'r>)],
        _fields: &Fields<'r>,
        _problems: &mut Problems,
        _notes: &mut Notes,
    ) {
    }

    /// Of records that are left out, those that are stored and count, with an amount of theirs.
    async fn stored_of(_db: &mut Db, _left_out: &[LeftOut]) -> anyhow::Result<Vec<StoredRecord>> {
        Ok(Vec::new())
    }

    /// See [`FileKind::note_split`].
    async fn note_split(_db: &mut Db, _since: DateTime<Utc>, _split: &mut Noted) -> anyhow::Result<()> {
        Ok(())
    }

    /// Stages a record with its lines.
    fn push<'r>(rows: &mut Self::Rows, record: Self::Record<'r>, lines: impl Iterator<Item = Self::Line<'r>>);

    /// Creates the staging tables, once per connection.
    async fn prepare(db: &mut Db) -> anyhow::Result<()>;

    /// Stores the staged records.
    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts>;
}

/// The lines of a record.
#[derive(Clone, Copy)]
pub(super) struct Lines<'r> {
    layout: &'r Layout,
    lines: &'r [Record],
}

impl Lines<'_> {
    /// An amount that is added up over the lines; nothing if the column is not one that is.
    pub(super) fn added_up(&self, column: usize, currency: &str) -> Option<Parsed<Option<i64>>> {
        let sum = self.layout.sums[column].as_ref()?;
        Some(match sum.per_record? {
            PerRecord::Lines => self.total(column, currency),
            PerRecord::Each(place) => self.total_of_each(column, sum, currency, place),
        })
    }

    /// The amounts of the items in a column that is added up, and the sum of those of all other lines.
    pub(super) fn amounts_by_role(&self, column: usize, currency: &str) -> Parsed<(Vec<i64>, i64)> {
        let (mut of_items, mut of_others) = (Vec::new(), 0);
        let is_added_up = self.layout.roles.is_some()
            && self.layout.sums[column]
                .as_ref()
                .is_some_and(|sum| matches!(sum.per_record, Some(PerRecord::Lines)));
        for line in self.lines.iter().filter(|_| is_added_up) {
            let amount = self.layout.fields(line).optional_money(column, currency)?.unwrap_or(0);
            if self.layout.role(line).is_ok_and(Role::is_item) {
                of_items.push(amount);
            } else {
                of_others += amount;
            }
        }
        Ok((of_items, of_others))
    }

    /// Whether one of the items has one of these words in a column whose words are ranked.
    pub(super) fn have_word(&self, column: usize, words: &[&str]) -> bool {
        !self.layout.first_of(column).is_empty()
            && self
                .items()
                .any(|line| self.layout.fields(line).word(column).is_ok_and(|word| words.contains(&word)))
    }

    /// Whether one of the lines deducts a negative amount.
    pub(super) fn deduct_negatives(&self) -> bool {
        let deducts =
            |column: &usize| self.layout.sums[*column].as_ref().is_some_and(|sum| !sum.minus.is_empty());
        (0..self.layout.columns.len()).filter(deducts).any(|column| {
            self.lines.iter().any(|line| self.layout.fields(line).has_negative_deduction(column))
        })
    }

    fn items(&self) -> impl Iterator<Item = &Record> {
        self.lines.iter().filter(|line| self.layout.role(line).is_ok_and(Role::is_item))
    }

    /// The word of a column of the record: that of its first item, unless the mapping ranks the words that its items have.
    pub(super) fn word(&self, column: usize, first: &Fields<'_>) -> Parsed<&'static str> {
        let ranking = self.layout.first_of(column);
        if ranking.is_empty() {
            return first.word(column);
        }
        let mut best: Option<(usize, &'static str)> = None;
        for line in self.items() {
            let fields = self.layout.fields(line);
            let word = fields.word(column)?;
            let Some(rank) = ranking.iter().position(|ranked| ranked == word) else {
                return Err(fields.wrong(column, &format!("`{word}` is not in its `first_of`")));
            };
            if best.is_none_or(|(of_best, _)| rank < of_best) {
                best = Some((rank, word));
            }
        }
        best.map_or_else(|| first.word(column), |(_, word)| Ok(word))
    }

    /// The amounts of all lines.
    fn total(&self, column: usize, currency: &str) -> Parsed<Option<i64>> {
        let mut total: Option<i64> = None;
        for line in self.lines {
            if let Some(amount) = self.layout.fields(line).optional_money(column, currency)? {
                // Each of at most 2,000 is at most a nine-thousandth of what fits.
                total = Some(total.unwrap_or(0) + amount);
            }
        }
        Ok(total)
    }

    /// The amounts of one line for each value of the field at `place`. A blank one or a zero on some of the lines of a value
    /// says nothing; two that differ are not one amount.
    fn total_of_each(&self, column: usize, sum: &Sum, currency: &str, place: usize) -> Parsed<Option<i64>> {
        // A record has a few destinations.
        let mut counted: Vec<((&str, usize), i64, u64)> = Vec::new();
        for line in self.lines {
            let fields = self.layout.fields(line);
            for (part, amount) in fields.parts(column, sum, currency)? {
                let key = (line.field(place), part);
                match counted.iter_mut().find(|(known, ..)| *known == key) {
                    None => counted.push((key, amount, line.line())),
                    Some((_, known, of_line)) if *known == 0 => (*known, *of_line) = (amount, line.line()),
                    Some((_, known, _)) if amount == 0 || amount == *known => {}
                    Some((_, _, first)) => {
                        let header = self.layout.once_per(column);
                        let problem = format!(
                            "`{}` on line {} differs from the amount on line {first}, which is for the same `{header}`",
                            fields.shown(column),
                            line.line()
                        );
                        return Err(fields.wrong(column, &problem));
                    }
                }
            }
        }
        Ok(counted.into_iter().map(|(_, amount, _)| amount).reduce(|a, b| a + b))
    }
}

/// What each line has.
pub(super) struct Item<'r> {
    /// What distinguishes it from the record's other lines.
    pub(super) key: &'r str,
    /// The product's code.
    pub(super) product_code: &'r str,
    /// The number of units; not negative.
    pub(super) quantity: i64,
    /// Whether it was given away.
    pub(super) is_gift: bool,
    has_number: bool,
}

/// The [`FileKind`] that a [`RecordKind`] makes.
pub(super) struct Lined<K>(PhantomData<K>);

impl<K: RecordKind> FileKind for Lined<K> {
    const NOUNS: (&'static str, &'static str) = K::NOUNS;
    // A record is held in memory as a whole; a wholesale order has hundreds of lines.
    const MAX_LINES: usize = 2_000;
    const LOOKS_UP: bool = false;

    type Rows = K::Rows;

    fn columns() -> Vec<Column> {
        let mut columns = K::columns();
        for column in &mut columns[K::RECORD_COLUMNS.end() + 1..] {
            column.is_of_line = true;
        }
        columns
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(KEY), "")
    }

    fn read(
        layout: &Layout,
        lines: &[Record],
        rows: Option<&mut Self::Rows>,
        notes: &mut Notes,
    ) -> Result<(), Vec<BadLine>> {
        // The record's own fields are those of its first item; lines of another kind may lack them.
        let is_item = |line: &Record| layout.role(line).is_ok_and(Role::is_item);
        let head = if layout.roles.is_some() { lines.iter().position(is_item).unwrap_or(0) } else { 0 };
        let Some(first) = lines.get(head) else { return Ok(()) };
        let fields = layout.fields(first);
        let mut of_record = Problems::of(first);
        let mut record = K::record(&fields, &Lines { layout, lines }, &mut of_record);
        let mut bad = Vec::new();
        let mut read: Vec<(&str, K::Line<'_>)> = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            let mut problems =
                if place == head { std::mem::take(&mut of_record) } else { Problems::of(line) };
            read_line::<K>(layout, lines, (place, head), &mut record, &mut read, &mut problems);
            if !problems.is_empty() {
                bad.push(BadLine { line: line.line(), problems: problems.into_vec() });
            }
        }
        if bad.is_empty() {
            if read.is_empty() {
                of_record.add(format!("no line of the {} is a product", K::NOUNS.0));
            }
            K::complete(&mut record, &read, &fields, &mut of_record, notes);
            if !of_record.is_empty() {
                bad.push(BadLine { line: first.line(), problems: of_record.into_vec() });
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        if let Some(rows) = rows {
            K::push(rows, record, read.into_iter().map(|(_, line)| line));
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        K::prepare(db).await
    }

    async fn stored_of(db: &mut Db, left_out: &[LeftOut]) -> anyhow::Result<Vec<StoredRecord>> {
        K::stored_of(db, left_out).await
    }

    async fn note_split(db: &mut Db, since: DateTime<Utc>, split: &mut Noted) -> anyhow::Result<()> {
        K::note_split(db, since, split).await
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        K::store(db, layout, now).await
    }
}

/// Reads the line at `place`, the record's own fields being those of the line at `head`. `read` are the good ones before,
/// with their keys; most records have two or three.
fn read_line<'r, K: RecordKind>(
    layout: &'r Layout,
    lines: &'r [Record],
    (place, head): (usize, usize),
    record: &mut K::Record<'r>,
    read: &mut Vec<(&'r str, K::Line<'r>)>,
    problems: &mut Problems,
) {
    let fields = layout.fields(&lines[place]);
    let role = match layout.role(fields.record()) {
        Ok(role) => role,
        Err(problem) => return problems.add(problem),
    };
    if place != head {
        same_record::<K>(layout, &lines[head], &fields, role, problems);
    }
    if !role.is_item() {
        return K::other_line(&fields, role, record, problems);
    }
    let item = Item::read::<K>(&fields, role, problems);
    let line = K::line(&fields, &item, record, problems);
    if read.iter().any(|(key, _)| *key == item.key) {
        problems.add(twice::<K>(layout, &lines[..place], &fields, &item));
    } else if problems.is_empty() {
        read.push((item.key, line));
    }
}

/// What is wrong with a line whose key another line of the record has. Exports repeat lines by mistake: to number them
/// would double what was bought.
fn twice<K: RecordKind>(layout: &Layout, before: &[Record], fields: &Fields<'_>, item: &Item<'_>) -> String {
    let (key, noun) = (item.key, K::NOUNS.0);
    if let Some(twin) = before.iter().find(|earlier| layout.fields(earlier).equal(fields)) {
        return format!(
            "the line is the same as line {}: remove it, or, if the product really is in the {noun} twice, number both lines \
             in a column `line_no`",
            twin.line(),
        );
    }
    if item.has_number {
        format!("`line_no`: `{key}` occurs twice in the same {noun}")
    } else {
        format!(
            "`product_code`: `{key}` occurs twice in the same {noun}: distinguish its lines with a column `line_no`"
        )
    }
}

/// Checks that a line agrees with the first line of its record in the columns of the record.
fn same_record<K: RecordKind>(
    layout: &Layout,
    first: &Record,
    fields: &Fields<'_>,
    role: Role,
    problems: &mut Problems,
) {
    let head = layout.fields(first);
    for column in K::RECORD_COLUMNS {
        if head.is_same(fields, column) {
            continue;
        }
        let is_added_up = layout.sums[column].as_ref().is_some_and(|sum| sum.per_record.is_some());
        let is_lacking = !role.is_item() && fields.is_blank(column);
        if is_added_up || is_lacking || !layout.first_of(column).is_empty() {
            continue;
        }
        let (own, others, by_rule) = match (fields.shown(column), head.shown(column)) {
            (own, others) if own != others => (own, others, ""),
            // The file writes the same, and a rule makes something else of it on one of the lines.
            _ => (
                fields.shown_as_meant(column),
                head.shown_as_meant(column),
                ": a rule holds for one of them only; let it name headers that are the same on all lines, or set `first_of`",
            ),
        };
        let problem = format!(
            "`{own}` differs from `{others}` on line {} of the same {}{by_rule}",
            first.line(),
            K::NOUNS.0
        );
        problems.add(fields.wrong(column, &problem));
    }
}

impl<'r> Item<'r> {
    fn read<K: RecordKind>(fields: &Fields<'r>, role: Role, problems: &mut Problems) -> Self {
        let product_code = problems.take(fields.text(K::PRODUCT_CODE));
        let line_no = problems.take(fields.optional_text(K::LINE_NO));
        let quantity = problems.take(fields.integer(K::QUANTITY));
        if quantity < 0 {
            problems.add(fields.negative(K::QUANTITY, K::IF_NEGATIVE_QUANTITY));
        }
        Self {
            key: line_no.unwrap_or(product_code),
            product_code,
            quantity,
            is_gift: role == Role::Gift,
            has_number: line_no.is_some(),
        }
    }
}
