//! A table as CSV (RFC 4180) for a spreadsheet or another program.
//!
//! Amounts are plain decimals in major units and days are ISO 8601, whatever the language: only the header depends on
//! it.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Context;

use super::{Cell, Column, Row, Table};
use crate::locale::Locale;
use crate::money::minor_to_plain;
use crate::printable::cleaned;
use crate::text_encoding::{TextEncoding, UnmappableCharacter};

/// First characters that make a spreadsheet run a text as a formula; Japanese Excel also accepts full-width forms.
const FORMULA_STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Writes the table after a header: the columns' stable keys in English, their labels in other languages.
///
/// A character that does not exist in the encoding is an error that names its row and column.
pub fn write(
    table: &Table,
    locale: Locale,
    encoding: TextEncoding,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    out.write_all(encoding.byte_order_mark())?;
    let header: Vec<Cow<'_, str>> = table.columns.iter().map(|column| heading(column, locale)).collect();
    let mut bytes = Vec::new();
    encode_record(&header, encoding, &mut bytes)
        .with_context(|| format!("failed to write the header of table `{}`", table.key))?;
    out.write_all(&bytes)?;
    for (index, row) in table.rows.iter().enumerate() {
        let record: Vec<Cow<'_, str>> = row.cells.iter().map(field).collect();
        bytes.clear();
        encode_record(&record, encoding, &mut bytes)
            .with_context(|| describe_row(table, index, row, &record, encoding))?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Whether a program that guesses the encoding needs a mark to read the table: whether anything in it is not ASCII.
pub fn needs_mark(table: &Table, locale: Locale) -> bool {
    let is_foreign = |cell: &Cell| matches!(cell, Cell::Text(text) if !text.is_ascii());
    table.columns.iter().any(|column| !heading(column, locale).is_ascii())
        || table.rows.iter().any(|row| row.cells.iter().any(is_foreign))
}

fn heading(column: &Column, locale: Locale) -> Cow<'_, str> {
    Cow::Borrowed(locale.pick(column.key, column.label.as_str(), column.label.as_str()))
}

fn field(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Cell::Empty | Cell::Change(None) => Cow::Borrowed(""),
        Cell::Text(text) => defused(text),
        Cell::Int(number) => Cow::Owned(number.to_string()),
        Cell::Money { amount, currency } => Cow::Owned(minor_to_plain(*amount, currency)),
        Cell::Date(day) => Cow::Owned(day.to_string()),
        Cell::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Cell::Change(Some(tenths)) => Cow::Owned((f64::from(*tenths) / 10.0).to_string()),
    }
}

/// The text in a form that a spreadsheet shows instead of running: a hostile product name must not become a formula in
/// the accountant's Excel (CSV injection, as OWASP describes it).
fn defused(text: &str) -> Cow<'_, str> {
    let start = text.trim_start_matches([' ', '\u{a0}', '\u{3000}']);
    if start.starts_with(FORMULA_STARTS) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

fn encode_record(record: &[Cow<'_, str>], encoding: TextEncoding, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(&mut line);
    writer.write_record(record.iter().map(|field| field.as_bytes()))?;
    writer.flush()?;
    drop(writer);
    encoding.encode_into(std::str::from_utf8(&line)?, bytes)?;
    Ok(())
}

/// Names the position of an error: the row, counted after the header, and the column.
fn describe_row(
    table: &Table,
    index: usize,
    row: &Row,
    record: &[Cow<'_, str>],
    encoding: TextEncoding,
) -> String {
    let fits =
        |field: &str| -> Result<(), UnmappableCharacter> { encoding.encode_into(field, &mut Vec::new()) };
    let column = table.columns.iter().zip(record).find(|(_, field)| fits(field).is_err());
    let column = column.map_or_else(String::new, |(column, _)| format!(", column `{}`", column.key));
    let first = match row.cells.first() {
        Some(Cell::Text(text)) => format!(" (`{}`)", cleaned(text)),
        _ => String::new(),
    };
    format!("failed to write row {}{first}{column} of table `{}`", index + 1, table.key)
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnKind, sample};
    use super::*;

    fn table(names: &[&str]) -> Table {
        let columns = vec![
            Column::new("product", "商品名", ColumnKind::Text),
            Column::new("sold_count", "販売数", ColumnKind::Number),
            Column::new("gross_amount", "総売上", ColumnKind::Money),
            Column::new("business_day", "営業日", ColumnKind::Date),
            Column::new("gift", "ギフト", ColumnKind::Text),
        ];
        let row = |name: &&str| {
            let money = Cell::money(-123_450, "USD");
            Row::new(vec![
                Cell::text(*name),
                Cell::Int(-1_200),
                money,
                Cell::Date(sample::day()),
                Cell::Bool(true),
            ])
        };
        Table { key: "products", title: "T".into(), columns, rows: names.iter().map(row).collect() }
    }

    fn written(table: &Table, locale: Locale, encoding: TextEncoding) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        write(table, locale, encoding, &mut bytes).map_err(|error| format!("{error:#}"))?;
        Ok(bytes)
    }

    #[test]
    fn figures_are_plain_and_texts_are_quoted_when_they_must_be() {
        let bytes =
            written(&table(&["Socks", "a \"b\", c", "two\nlines"]), Locale::En, TextEncoding::Utf8).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "product,sold_count,gross_amount,business_day,gift\r\n\
             Socks,-1200,-1234.50,2026-11-19,true\r\n\
             \"a \"\"b\"\", c\",-1200,-1234.50,2026-11-19,true\r\n\
             \"two\nlines\",-1200,-1234.50,2026-11-19,true\r\n"
        );
    }

    #[test]
    fn a_mark_is_needed_for_what_is_not_ascii() {
        assert!(!needs_mark(&table(&["Socks"]), Locale::En));
        assert!(needs_mark(&table(&["Socks", "靴下"]), Locale::En));
        assert!(needs_mark(&table(&["Café"]), Locale::En));
        assert!(needs_mark(&table(&["Socks"]), Locale::Ja), "the header");
    }

    #[test]
    fn the_header_is_in_the_documents_language_and_encoding() {
        let bytes = written(&table(&[]), Locale::Ja, TextEncoding::Utf8Bom).unwrap();
        assert_eq!(bytes, "\u{feff}商品名,販売数,総売上,営業日,ギフト\r\n".as_bytes());
        let bytes = written(&table(&[]), Locale::Ja, TextEncoding::ShiftJis).unwrap();
        assert!(bytes.starts_with(b"\x8F\xA4\x95\x69\x96\xBC,"));
    }

    #[test]
    fn a_text_that_would_run_as_a_formula_is_defused() {
        for hostile in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u{3000}＝1", "＋1", "－1", "＠a"]
        {
            assert_eq!(defused(hostile), format!("'{hostile}"));
        }
        for harmless in ["", "Socks", "a=b", "100", " a", "'=1"] {
            assert_eq!(defused(harmless), harmless);
        }
    }

    #[test]
    fn a_character_the_encoding_lacks_is_found_by_row_and_column() {
        let error = written(&table(&["傘", "우산"]), Locale::Ja, TextEncoding::ShiftJis).unwrap_err();
        assert_eq!(
            error,
            "failed to write row 2 (`우산`), column `product` of table `products`: `우` (U+C6B0) does not exist in shift_jis"
        );
        let error = written(&table(&[]), Locale::Ja, TextEncoding::EucKr).unwrap_err();
        assert_eq!(
            error,
            "failed to write the header of table `products`: `売` (U+58F2) does not exist in euc-kr"
        );
    }
}
