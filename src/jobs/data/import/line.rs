//! Kinds whose record is one line of the file and one row of a table: a kind defines its columns and their meaning, and
//! everything else follows from that.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};

use crate::db::{Bulk, Db};

use super::field::{Column, Fields, Layout, Parsed, Shop, YES_OR_NO};
use super::kind::{BadLine, FileKind, Rows};
use super::reader::Record;
use crate::shop::upsert::{MATCH_COLUMNS, SourceTime, Upsert, UpsertCounts};

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
    /// An amount, not negative, in the line's currency.
    Amount,
    /// The last four digits of a card.
    LastFour,
}

impl Meaning {
    /// The only words that such a field may hold; none where it holds something else.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Word(words) | Self::WordOrFirst(words) => words,
            Self::YesOrNo => YES_OR_NO,
            _ => &[],
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

    /// Its type in the staging table of this database.
    fn sql_type(self, db: &Db) -> &'static str {
        match self.meaning {
            Meaning::Time | Meaning::SourceTime => db.pick("TEXT", "TIMESTAMPTZ"),
            Meaning::Day => db.pick("TEXT", "DATE"),
            Meaning::Integer | Meaning::Amount => "BIGINT",
            Meaning::YesOrNo => db.pick("BIGINT", "BOOLEAN"),
            Meaning::Text
            | Meaning::Word(_)
            | Meaning::WordOrFirst(_)
            | Meaning::Currency
            | Meaning::LastFour => "TEXT",
        }
    }
}

/// A kind whose record is one line and one row.
pub(super) trait LineKind: 'static {
    /// Its columns after that of the mall.
    const LINE_COLUMNS: &'static [LineColumn];
    /// What one record is called, and several.
    const NOUNS: (&'static str, &'static str);
    /// Its table, which also has `mall_id`, `source_updated_at`, `created_at` and `updated_at`.
    const TABLE: &'static str;
    /// Its staging table.
    const STAGING: &'static str;
    /// Further columns of the staging table, each preceded by a comma.
    const EXTRA_STAGING: &'static str = "";

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
    const MOST_LINES: usize = 1;
    const LOOKS_UP: bool = false;

    fn columns() -> Vec<Column> {
        let own = K::LINE_COLUMNS.iter().map(|column| Column {
            name: column.name,
            is_required: column.is_required,
            words: column.meaning.words(),
        });
        std::iter::once(super::field::optional("mall")).chain(own).collect()
    }

    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)> {
        let own = K::LINE_COLUMNS.iter().map(|column| column.stored_as);
        vec![(K::STAGING, ["line_count", "mall_id"].into_iter().chain(own).collect())]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        let mut keys = K::LINE_COLUMNS
            .iter()
            .enumerate()
            .filter(|(_, column)| column.role == Role::Key)
            .map(|(index, _)| fields.meant(place(index)));
        (keys.next().unwrap_or_default(), keys.next().unwrap_or_default())
    }

    fn read(layout: &Layout, lines: &[Record], mut rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        for record in lines {
            read_line::<K>(layout.fields(record), rows.as_deref_mut())
                .map_err(|problem| vec![BadLine { line: record.line(), problem }])?;
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let own: Vec<String> = K::LINE_COLUMNS
            .iter()
            .map(|column| format!("{} {}", column.stored_as, column.sql_type(db)))
            .collect();
        let emptied = db.pick("", "ON COMMIT DELETE ROWS");
        let sql = format!(
            "CREATE TEMP TABLE IF NOT EXISTS {} (line_count BIGINT, mall_id BIGINT, {}, {MATCH_COLUMNS}{}) {emptied}",
            K::STAGING,
            own.join(", "),
            K::EXTRA_STAGING
        );
        Ok(db.script(&sql).await?)
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        let upsert = upsert::<K>(layout);
        upsert.match_stored(db).await?;
        K::compare_related(db).await?;
        let mut outcome = upsert.count(db).await?;
        upsert.insert_new(db, outcome.new, now).await?;
        upsert.update_changed(db, outcome.changed, now).await?;
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
        source_time: SourceTime::Recorded,
        kept: None,
        uses_staged_ids: false,
    }
}

/// A field in staged form.
enum Cell<'r> {
    Text(Option<&'r str>),
    Int(Option<i64>),
    Time(Option<DateTime<Utc>>),
    Day(Option<NaiveDate>),
    Boolean(bool),
}

/// Reads a complete line before any of it is staged, because a staged row cannot be withdrawn.
fn read_line<K: LineKind>(fields: Fields<'_>, rows: Option<&mut Rows>) -> Parsed<()> {
    let shop = fields.shop()?;
    let currency = match K::LINE_COLUMNS.iter().position(|column| column.meaning == Meaning::Currency) {
        Some(index) => fields.currency(place(index), &shop.currency)?,
        None => &shop.currency,
    };
    let mut cells = Vec::with_capacity(K::LINE_COLUMNS.len());
    for (index, column) in K::LINE_COLUMNS.iter().enumerate() {
        cells.push(read_field(&fields, place(index), column, shop, currency)?);
    }
    K::check(&fields)?;
    let Some(rows) = rows else { return Ok(()) };
    let load = &mut rows.loads[0];
    load.int(1);
    load.int(shop.id);
    for cell in cells {
        stage(load, &cell);
    }
    load.end_row();
    Ok(())
}

fn read_field<'r>(
    fields: &Fields<'r>,
    place: usize,
    column: &LineColumn,
    shop: &Shop,
    currency: &'r str,
) -> Parsed<Cell<'r>> {
    if column.is_required && fields.meant(place).is_empty() {
        return Err(fields.wrong(place, "is empty"));
    }
    Ok(match column.meaning {
        Meaning::Text => Cell::Text(fields.optional_text(place)?),
        Meaning::Word(_) => Cell::Text(fields.optional_word(place)?),
        Meaning::WordOrFirst(words) => Cell::Text(fields.optional_word(place)?.or(words.first().copied())),
        Meaning::YesOrNo => Cell::Boolean(fields.is_yes(place)?),
        Meaning::Time | Meaning::SourceTime => Cell::Time(fields.optional_time(place, shop)?),
        Meaning::Day => Cell::Day(fields.optional_day(place)?),
        Meaning::Integer => Cell::Int(fields.optional_integer(place)?),
        Meaning::Currency => Cell::Text(Some(currency)),
        Meaning::Amount => Cell::Int(fields.positive_money(place, currency)?),
        Meaning::LastFour => Cell::Text(fields.optional_last_four(place)?),
    })
}

fn stage(load: &mut Bulk, cell: &Cell<'_>) {
    match *cell {
        Cell::Text(text) => load.text(text),
        Cell::Int(number) => load.int(number),
        Cell::Time(time) => load.time(time),
        Cell::Day(day) => load.date(day),
        Cell::Boolean(value) => load.boolean(value),
    }
}
