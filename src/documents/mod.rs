//! Writes one document in many formats: for the terminal, as CSV, XLSX, PDF or JSON.
//!
//! A job builds a [`Document`] and knows no format; a format knows no job, no database and no clock.

pub mod csv;
pub mod json;
mod list;
pub mod pdf;
mod phrases;
pub mod picture;
pub mod terminal;
pub mod xlsx;

#[cfg(test)]
mod sample;

pub use list::ListFormat;

use std::collections::BTreeSet;

use chrono::NaiveDate;

pub use crate::format::Format;
use crate::locale::{Locale, group_digits};
use crate::money::minor_to_display;

/// The key of the column that names the currency of a row's amounts. If a table has it, amounts are shown without
/// their currency.
pub const CURRENCY_COLUMN_KEY: &str = "currency";

/// The content of a report, independent of any format.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file's name without extension, such as `daily-sales-2026-11-19`.
    pub name: String,
    /// The heading, in the document's locale.
    pub title: String,
    /// What the figures are about, label and value: the day, the time zone, the malls.
    pub facts: Vec<(String, String)>,
    /// The language of all its texts.
    pub locale: Locale,
    /// The tables, the summary first.
    pub tables: Vec<Table>,
    /// Drawn only in the PDF: their figures belong in a table.
    pub charts: Vec<Chart>,
    /// Remarks under the tables.
    pub notes: Vec<String>,
}

/// Rows under columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// A stable `snake_case` name: the key in JSON, part of a CSV file's name.
    pub key: &'static str,
    /// The heading, in the document's locale.
    pub title: String,
    /// What each row's cells contain.
    pub columns: Vec<Column>,
    /// The rows, each with one cell for each column.
    pub rows: Vec<Row>,
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One cell for each column.
    pub cells: Vec<Cell>,
    /// Whether it is set apart from the others, like totals.
    pub emphasis: bool,
}

/// Describes a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// A stable `snake_case` name: the key in JSON and the CSV header in English.
    pub key: &'static str,
    /// The heading, in the document's locale.
    pub label: String,
    /// Decides how the column is aligned.
    pub kind: ColumnKind,
    /// Whether a terminal that is too narrow may omit it; files always have it.
    pub wide_only: bool,
    /// Whether only programs need it, such as a code whose name is in another column.
    pub is_for_programs: bool,
}

/// The kind of value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text, and yes or no.
    Text,
    /// Counts.
    Number,
    /// Amounts of money.
    Money,
    /// Calendar days.
    Date,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Empty,
    /// Untrusted text: a product's name may contain anything.
    Text(String),
    /// A count. An identifier is a text, because it must not be grouped or rounded.
    Int(i64),
    /// An amount in minor units of an ISO 4217 currency.
    Money {
        /// Minor units.
        amount: i64,
        /// The ISO 4217 code.
        currency: String,
    },
    /// A calendar day.
    Date(NaiveDate),
    /// Yes or no.
    Bool(bool),
    /// A change in tenths of a percent; `None` if there is nothing to compare with.
    Change(Option<i32>),
}

/// What is shown of a change if there is nothing to compare with.
const NO_CHANGE: &str = "–";

/// A line or bar for each day.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The heading, such as a mall's name.
    pub title: String,
    /// The unit of the values, in major units: `JPY`.
    pub unit: String,
    /// The days, ascending.
    pub days: Vec<NaiveDate>,
    /// One series is drawn as bars, more as lines.
    pub series: Vec<Series>,
}

/// The values of a chart for each of its days.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Shown in the legend when there are several.
    pub label: String,
    /// One for each day; `None` leaves a gap.
    pub values: Vec<Option<f64>>,
}

impl Column {
    /// A column that is always shown.
    pub fn new(key: &'static str, label: impl Into<String>, kind: ColumnKind) -> Self {
        Self { key, label: label.into(), kind, wide_only: false, is_for_programs: false }
    }

    /// Leaves the column to programs.
    #[must_use]
    pub fn for_programs(mut self) -> Self {
        self.is_for_programs = true;
        self
    }

    /// Lets a narrow terminal leave the column out.
    #[must_use]
    pub fn wide_only(mut self) -> Self {
        self.wide_only = true;
        self
    }
}

impl ColumnKind {
    /// Whether its values are figures, which are right-aligned.
    pub fn is_figure(self) -> bool {
        matches!(self, Self::Number | Self::Money)
    }
}

impl Row {
    /// An ordinary row.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self { cells, emphasis: false }
    }

    /// A row set apart from the others.
    pub fn total(cells: Vec<Cell>) -> Self {
        Self { cells, emphasis: true }
    }
}

impl Cell {
    /// A text cell.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An amount in minor units.
    pub fn money(amount: i64, currency: impl Into<String>) -> Self {
        Self::Money { amount, currency: currency.into() }
    }

    /// The value as a reader sees it: figures grouped, money without its currency, days in ISO 8601.
    pub fn display(&self, locale: Locale) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Int(number) => group_digits(&number.to_string()),
            Self::Money { amount, currency } => minor_to_display(*amount, currency),
            Self::Date(day) => day.to_string(),
            Self::Bool(true) => locale.pick("yes", "はい", "예").to_owned(),
            Self::Bool(false) => locale.pick("no", "いいえ", "아니요").to_owned(),
            Self::Change(None) => NO_CHANGE.to_owned(),
            Self::Change(Some(0)) => "±0%".to_owned(),
            Self::Change(Some(tenths)) => {
                let sign = if *tenths < 0 { '-' } else { '+' };
                let tenths = tenths.unsigned_abs();
                format!("{sign}{}.{}%", group_digits(&(tenths / 10).to_string()), tenths % 10)
            }
        }
    }
}

impl Document {
    /// The document as people read it: without the columns that only programs need.
    #[must_use]
    pub fn for_people(mut self) -> Self {
        for table in &mut self.tables {
            table.retain_columns(|column| !column.is_for_programs);
        }
        self
    }
}

/// Where a column's currency is shown.
enum CurrencyPlace {
    /// Not at all: the column has no money, or another column names the currency.
    Elsewhere,
    /// Once, in the heading.
    Heading(String),
    /// In each cell, because they differ.
    Cells,
}

impl Table {
    /// Drops columns, and their cells.
    pub fn retain_columns(&mut self, is_kept: impl Fn(&Column) -> bool) {
        let kept: Vec<bool> = self.columns.iter().map(is_kept).collect();
        for row in &mut self.rows {
            let mut kept = kept.iter();
            row.cells.retain(|_| kept.next() == Some(&true));
        }
        let mut kept = kept.iter();
        self.columns.retain(|_| kept.next() == Some(&true));
    }

    fn currency_place(&self, column: usize) -> CurrencyPlace {
        if self.columns.iter().any(|column| column.key == CURRENCY_COLUMN_KEY) {
            return CurrencyPlace::Elsewhere;
        }
        let currencies: BTreeSet<&str> = self
            .rows
            .iter()
            .filter_map(|row| match row.cells.get(column) {
                Some(Cell::Money { currency, .. }) => Some(currency.as_str()),
                _ => None,
            })
            .collect();
        let mut currencies = currencies.into_iter();
        match (currencies.next(), currencies.next()) {
            (None, _) => CurrencyPlace::Elsewhere,
            (Some(only), None) => CurrencyPlace::Heading(only.to_owned()),
            (Some(_), Some(_)) => CurrencyPlace::Cells,
        }
    }

    /// The headings for a reader, with the currency where nothing else names it.
    fn headings(&self) -> Vec<String> {
        let with_currency = |(index, column): (usize, &Column)| match self.currency_place(index) {
            CurrencyPlace::Heading(currency) => format!("{} ({currency})", column.label),
            CurrencyPlace::Elsewhere | CurrencyPlace::Cells => column.label.clone(),
        };
        self.columns.iter().enumerate().map(with_currency).collect()
    }

    /// Every row's cells for a reader, with the currency where nothing else names it.
    fn displayed(&self, locale: Locale) -> Vec<Vec<String>> {
        let in_cells: Vec<bool> = (0..self.columns.len())
            .map(|column| matches!(self.currency_place(column), CurrencyPlace::Cells))
            .collect();
        let cell_text = |(column, cell): (usize, &Cell)| match cell {
            Cell::Money { currency, .. } if in_cells.get(column) == Some(&true) => {
                format!("{} {currency}", cell.display(locale))
            }
            _ => cell.display(locale),
        };
        self.rows.iter().map(|row| row.cells.iter().enumerate().map(cell_text).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
        Table { key: "t", title: "T".into(), columns, rows: rows.into_iter().map(Row::new).collect() }
    }

    #[test]
    fn a_change_has_its_sign_and_a_dash_stands_for_none() {
        let shown = |tenths| Cell::Change(tenths).display(Locale::En);
        assert_eq!(
            [None, Some(0), Some(32), Some(-5), Some(-1_000), Some(12_345)].map(shown),
            ["–", "±0%", "+3.2%", "-0.5%", "-100.0%", "+1,234.5%"]
        );
    }

    #[test]
    fn people_read_names_and_no_codes() {
        let text = |key| Column::new(key, key, ColumnKind::Text);
        let mut document = sample::sales(Locale::En, 0);
        let columns = vec![text("code").for_programs(), text("name")];
        document.tables = vec![amounts(columns, vec![vec![Cell::text("c"), Cell::text("n")]])];
        let shown = document.for_people();
        let keys: Vec<&str> = shown.tables[0].columns.iter().map(|column| column.key).collect();
        assert_eq!((keys, shown.tables[0].displayed(Locale::En)), (vec!["name"], vec![vec!["n".to_owned()]]));
    }

    #[test]
    fn a_currency_is_shown_once() {
        let gross = || Column::new("gross_amount", "Gross", ColumnKind::Money);
        let one =
            amounts(vec![gross()], vec![vec![Cell::money(100, "JPY")], vec![Cell::money(2_000, "JPY")]]);
        assert_eq!(one.headings(), ["Gross (JPY)"]);
        assert_eq!(one.displayed(Locale::En), [["100"], ["2,000"]]);

        let two = amounts(vec![gross()], vec![vec![Cell::money(100, "JPY")], vec![Cell::money(200, "USD")]]);
        assert_eq!(two.headings(), ["Gross"]);
        assert_eq!(two.displayed(Locale::En), [["100 JPY"], ["2.00 USD"]]);

        let currency = Column::new(CURRENCY_COLUMN_KEY, "Currency", ColumnKind::Text);
        let named = amounts(vec![currency, gross()], vec![vec![Cell::text("JPY"), Cell::money(100, "JPY")]]);
        assert_eq!(named.headings(), ["Currency", "Gross"]);
        assert_eq!(named.displayed(Locale::En), [["JPY", "100"]]);
    }
}
