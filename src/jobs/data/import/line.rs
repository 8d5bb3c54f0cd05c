//! Kinds whose record is one line of the file and one row of a table: a kind defines its columns and their meaning, and
//! everything else follows from that.

use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};

use crate::db::{Bulk, BulkColumn, BulkRow, BulkValue, Db, RowEncoder};
use crate::shop::upsert::{MATCH_COLUMNS, Upsert, UpsertCounts};

use super::field::{Column, Fields, Holds, Parsed, Problems, Shop, YES_OR_NO};
use super::kind::{BadLine, FileKind, Notes};
use super::layout::Layout;
use super::reader::Record;

/// The meaning of a field, which decides the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Free text.
    Text,
    /// One of a few values.
    Word(&'static [&'static str]),
    /// One of a few values; the first one if the field is empty.
    WordOrFirst(&'static [&'static str]),
    /// `yes` or `no`.
    YesOrNo,
    /// An instant.
    Time,
    /// When the source last changed the record.
    SourceTime,
    /// A calendar day.
    Day,
    /// A whole number.
    Integer,
    /// The currency of the line's amounts, the mall's if the field is empty.
    Currency,
    /// An amount in the line's currency, not negative.
    Amount {
        /// What to do about one that is.
        if_negative: &'static str,
    },
    /// The last four digits of a card.
    LastFour,
}

impl Meaning {
    /// The only values that such a field may have; none if it holds something else.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Word(words) | Self::WordOrFirst(words) => words,
            Self::YesOrNo => YES_OR_NO,
            _ => &[],
        }
    }

    /// What such a field holds, for whoever maps it.
    fn holds(self) -> Holds {
        match self {
            Self::Amount { .. } => Holds::Amount,
            Self::Integer => Holds::Number,
            Self::Time | Self::SourceTime | Self::Day => Holds::Time,
            _ => Holds::Text,
        }
    }
}

/// How a field is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Part of the natural key.
    Key,
    /// A value of the row.
    Value,
    /// Only staged: the kind itself stores it elsewhere.
    Aside,
}

/// A column of such a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineColumn {
    name: &'static str,
    stored_as: &'static str,
    meaning: Meaning,
    role: Role,
    is_required: bool,
}

/// A column of this name in the file and in the table.
pub(super) const fn column(name: &'static str, meaning: Meaning) -> LineColumn {
    LineColumn { name, stored_as: name, meaning, role: Role::Value, is_required: false }
}

/// A column of the natural key.
pub(super) const fn key(name: &'static str, meaning: Meaning) -> LineColumn {
    LineColumn { name, stored_as: name, meaning, role: Role::Key, is_required: true }
}

/// When the source last changed the record: decides which of two records is the later one.
pub(super) const UPDATED_AT: LineColumn =
    column("updated_at", Meaning::SourceTime).stored_as("source_updated_at");

impl LineColumn {
    /// Makes the column and its value mandatory.
    pub(super) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Sets a different name in the table.
    pub(super) const fn stored_as(self, stored_as: &'static str) -> Self {
        Self { stored_as, ..self }
    }

    /// Leaves it out of the row; [`LineKind::store_related`] takes it from the staging table.
    pub(super) const fn staged_only(self) -> Self {
        Self { role: Role::Aside, ..self }
    }

    /// Its column in the staging table, with the type that [`read_field`] returns.
    const fn staged(&self) -> BulkColumn {
        match self.meaning {
            Meaning::Time | Meaning::SourceTime => BulkColumn::of::<Option<DateTime<Utc>>>(self.stored_as),
            Meaning::Day => BulkColumn::of::<Option<NaiveDate>>(self.stored_as),
            Meaning::Integer | Meaning::Amount { .. } => BulkColumn::of::<Option<i64>>(self.stored_as),
            Meaning::YesOrNo => BulkColumn::of::<bool>(self.stored_as),
            Meaning::Text
            | Meaning::Word(_)
            | Meaning::WordOrFirst(_)
            | Meaning::Currency
            | Meaning::LastFour => BulkColumn::of::<Option<&str>>(self.stored_as),
        }
    }
}

/// A kind whose record is one line and one row.
pub(super) trait LineKind: 'static {
    /// Its columns after that of the mall.
    const LINE_COLUMNS: &'static [LineColumn];
    /// The noun for one record and for several.
    const NOUNS: (&'static str, &'static str);
    /// Its table, which also has `mall_id`, `source_updated_at`, `created_at` and `updated_at`.
    const TABLE: &'static str;
    /// Its staging table.
    const STAGING: &'static str;
    /// A further column of the staging table.
    const EXTRA_STAGING: Option<&'static str> = None;

    /// Checks rules that involve several fields.
    fn check(_fields: &Fields<'_>) -> Parsed<()> {
        Ok(())
    }

    /// Marks records as changed whose data in other tables differs, before they are counted.
    async fn compare_related(_db: &mut Db) -> anyhow::Result<()> {
        Ok(())
    }

    /// Stores and counts data that is not in the row itself.
    async fn store_related(
        _db: &mut Db,
        _outcome: &mut UpsertCounts,
        _now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The position of a kind's column among the fields of a line: after the mall's.
const fn place(index: usize) -> usize {
    index + 1
}

impl<K: LineKind> FileKind for K {
    const NOUNS: (&'static str, &'static str) = K::NOUNS;
    const MAX_LINES: usize = 1;
    const LOOKS_UP: bool = false;

    type Rows = Bulk<StagedLine<'static, K>>;

    fn columns() -> Vec<Column> {
        let own = K::LINE_COLUMNS.iter().map(|column| Column {
            name: column.name,
            is_required: column.is_required,
            words: column.meaning.words(),
            holds: column.meaning.holds(),
            is_of_line: false,
        });
        std::iter::once(super::field::optional("mall")).chain(own).collect()
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        let mut keys = K::LINE_COLUMNS
            .iter()
            .enumerate()
            .filter(|(_, column)| column.role == Role::Key)
            .map(|(index, _)| fields.meant(place(index)));
        (keys.next().unwrap_or_default(), keys.next().unwrap_or_default())
    }

    fn read(
        layout: &Layout,
        lines: &[Record],
        mut rows: Option<&mut Self::Rows>,
        _notes: &mut Notes,
    ) -> Result<(), Vec<BadLine>> {
        for record in lines {
            let line = read_line::<K>(&layout.fields(record))
                .map_err(|problems| vec![BadLine { line: record.line(), problems }])?;
            if let Some(rows) = &mut rows {
                rows.push(&line);
            }
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let more: Vec<&str> = K::EXTRA_STAGING.into_iter().chain([MATCH_COLUMNS]).collect();
        Ok(db.create_staging::<StagedLine<'static, K>>(&more.join(", ")).await?)
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        let upsert = upsert::<K>(layout);
        upsert.match_stored(db, now).await?;
        K::compare_related(db).await?;
        let mut outcome = upsert.count(db).await?;
        upsert.insert_new(db, outcome.new, now).await?;
        upsert.update_changed(db, outcome.changed, now).await?;
        upsert.note_unchanged(db, outcome.unchanged).await?;
        K::store_related(db, &mut outcome, now).await?;
        Ok(outcome)
    }
}

/// A column that the file does not have keeps its stored value, except the currency: an amount is stored with the
/// currency in which it was read.
fn upsert<K: LineKind>(layout: &Layout) -> Upsert {
    let of_role = |role| {
        K::LINE_COLUMNS.iter().filter(move |column| column.role == role).map(|column| column.stored_as)
    };
    let replaced = K::LINE_COLUMNS
        .iter()
        .enumerate()
        .filter(|(index, column)| {
            column.role == Role::Value
                && column.meaning != Meaning::SourceTime
                && (layout.has(place(*index)) || column.meaning == Meaning::Currency)
        })
        .map(|(_, column)| column.stored_as);
    Upsert {
        table: K::TABLE,
        staging: K::STAGING,
        key: std::iter::once("mall_id").chain(of_role(Role::Key)).collect(),
        columns: of_role(Role::Value).collect(),
        replaced: replaced.collect(),
        source_time: layout.source_time,
        kept: None,
        uses_staged_ids: false,
    }
}

/// A line as it is staged.
pub(super) struct StagedLine<'r, K> {
    mall_id: i64,
    fields: Vec<Field<'r>>,
    kind: PhantomData<fn(K)>,
}

impl<K: LineKind> BulkRow for StagedLine<'_, K> {
    type Owned = StagedLine<'static, K>;
    const TABLE: &'static str = K::STAGING;

    fn columns() -> Vec<BulkColumn> {
        let own = K::LINE_COLUMNS.iter().map(LineColumn::staged);
        std::iter::once(BulkColumn::of::<i64>("mall_id")).chain(own).collect()
    }

    fn encode(&self, row: &mut RowEncoder<'_>) {
        self.mall_id.encode(row);
        for field in &self.fields {
            match field {
                Field::Text(text) => text.encode(row),
                Field::Int(number) => number.encode(row),
                Field::Time(time) => time.encode(row),
                Field::Day(day) => day.encode(row),
                Field::Bool(value) => value.encode(row),
            }
        }
    }
}

/// A field as it is staged.
enum Field<'r> {
    Text(Option<&'r str>),
    Int(Option<i64>),
    Time(Option<DateTime<Utc>>),
    Day(Option<NaiveDate>),
    Bool(bool),
}

/// Reads a complete line before any of it is staged, because a staged row cannot be withdrawn.
fn read_line<'r, K: LineKind>(fields: &Fields<'r>) -> Result<StagedLine<'r, K>, Vec<String>> {
    let mut problems = Problems::of(fields.record());
    let shop = fields.shop_or_any(&mut problems);
    let currency = match K::LINE_COLUMNS.iter().position(|column| column.meaning == Meaning::Currency) {
        Some(index) => fields.currency_or_any(place(index), &shop.currency, &mut problems),
        None => &shop.currency,
    };
    let mut read = Vec::with_capacity(K::LINE_COLUMNS.len());
    for (index, column) in K::LINE_COLUMNS.iter().enumerate() {
        match read_field(fields, place(index), column, shop, currency) {
            Ok(field) => read.push(field),
            Err(problem) => problems.add(problem),
        }
    }
    problems.take(K::check(fields));
    if problems.is_empty() {
        Ok(StagedLine { mall_id: shop.id, fields: read, kind: PhantomData })
    } else {
        Err(problems.into_vec())
    }
}

fn read_field<'r>(
    fields: &Fields<'r>,
    place: usize,
    column: &LineColumn,
    shop: &Shop,
    currency: &'r str,
) -> Parsed<Field<'r>> {
    if column.is_required && fields.meant(place).is_empty() {
        return Err(fields.wrong(place, "is empty"));
    }
    Ok(match column.meaning {
        Meaning::Text => Field::Text(fields.optional_text(place)?),
        Meaning::Word(_) => Field::Text(fields.optional_word(place)?),
        Meaning::WordOrFirst(words) => Field::Text(fields.optional_word(place)?.or(words.first().copied())),
        Meaning::YesOrNo => Field::Bool(fields.is_yes(place)?),
        Meaning::Time | Meaning::SourceTime => Field::Time(fields.optional_time(place, shop)?),
        Meaning::Day => Field::Day(fields.optional_day(place)?),
        Meaning::Integer => Field::Int(fields.optional_integer(place)?),
        Meaning::Currency => Field::Text(Some(currency)),
        Meaning::Amount { if_negative } => Field::Int(fields.positive_money(place, currency, if_negative)?),
        Meaning::LastFour => Field::Text(fields.optional_last_four(place)?),
    })
}
