//! A document as an Excel workbook: a sheet for each table, ready to filter, sum and print.
//!
//! The first row is the header and nothing is above it, so that a pivot table or an import finds the data; title,
//! facts and notes are on a separate sheet at the end.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::Context;
use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet};
use unicode_width::UnicodeWidthStr;

use super::{Cell, Document, Table};
use crate::locale::Locale;
use crate::money::{currency_exponent, minor_to_plain};
use crate::printable::cleaned;

/// Excel keeps 15 digits of a number; a longer one is written as text rather than changed.
const MAX_EXACT: u64 = 999_999_999_999_999;
/// Excel refuses longer sheet names, in characters.
const MAX_SHEET_NAME: usize = 31;
/// The longest text of a cell, in UTF-16 units: Excel refuses the file of a longer one.
const MAX_CELL: usize = 32_767;
/// Its codes and escapes need the rest.
const MAX_TITLE: usize = 100;
/// The narrowest and the widest column, in characters.
const COLUMN_WIDTHS: (usize, usize) = (8, 60);
/// Room for the padding of a cell and the header's filter button, in characters.
const COLUMN_MARGIN: usize = 3;
const PAPER_A4: u8 = 9;

/// Renders the workbook. `created` is its only date, so that the same input produces the same file.
pub fn render(document: &Document, created: DateTime<Utc>) -> anyhow::Result<Vec<u8>> {
    build(document, created).with_context(|| format!("failed to write document `{}` as XLSX", document.name))
}

fn build(document: &Document, created: DateTime<Utc>) -> anyhow::Result<Vec<u8>> {
    let mut workbook = Workbook::new();
    let part = |number: u32| u16::try_from(number).unwrap_or(0);
    let created = excel_day(created.date_naive()).context("failed to date the workbook")?.and_hms(
        part(created.hour()),
        u8::try_from(created.minute()).unwrap_or(0),
        created.second(),
    )?;
    let properties = DocProperties::new().set_title(shown_title(document)).set_creation_datetime(&created);
    workbook.set_properties(&properties);

    let mut names = BTreeSet::new();
    for table in &document.tables {
        let name = sheet_name(&table.title, table.key, &mut names);
        write_table(workbook.add_worksheet().set_name(name)?, table, document)?;
    }
    let has_facts = !document.facts.is_empty() || !document.notes.is_empty();
    if has_facts || document.tables.is_empty() {
        let title = document.locale.pick("About", "概要", "개요");
        let name = sheet_name(title, "about", &mut names);
        write_about(workbook.add_worksheet().set_name(name)?, document)?;
    }
    Ok(workbook.save_to_buffer()?)
}

fn write_table(sheet: &mut Worksheet, table: &Table, document: &Document) -> anyhow::Result<()> {
    set_up_page(sheet, document);
    sheet.set_freeze_panes(1, 0)?;
    sheet.set_repeat_rows(0, 0)?;

    let headings = table.headings();
    for (index, (column, label)) in table.columns.iter().zip(&headings).enumerate() {
        let align = if column.kind.is_figure() { FormatAlign::Right } else { FormatAlign::Left };
        let format =
            Format::new().set_bold().set_border_bottom(FormatBorder::Thin).set_align(align).set_text_wrap();
        sheet.write_string_with_format(0, column_number(index)?, in_cell(label), &format)?;
    }
    for (row_index, row) in table.rows.iter().enumerate() {
        let sheet_row = row_number(row_index)?;
        for (index, cell) in row.cells.iter().enumerate() {
            let column = column_number(index)?;
            let place = || {
                let key = table.columns.get(index).map_or("", |column| column.key);
                format!("failed to write row {}, column `{key}` of table `{}`", row_index + 1, table.key)
            };
            write_cell(sheet, sheet_row, column, cell, row.emphasis, document.locale).with_context(place)?;
        }
    }

    let displayed = table.displayed(document.locale);
    for (index, label) in headings.iter().enumerate() {
        let cells = displayed.iter().filter_map(|row| row.get(index)).map(|text| text.width());
        let widest = cells.chain([label.width()]).max().unwrap_or(0) + COLUMN_MARGIN;
        let width = u16::try_from(widest.clamp(COLUMN_WIDTHS.0, COLUMN_WIDTHS.1)).unwrap_or(0);
        sheet.set_column_width(column_number(index)?, f64::from(width))?;
    }
    // Totals at the end stay out of the filter's range; otherwise a sort would move them in between the rows.
    let totals = table.rows.iter().rev().take_while(|row| row.emphasis).count();
    let last_row = table.rows.len() - totals;
    if last_row > 0 && !table.columns.is_empty() {
        let last_column = column_number(table.columns.len() - 1)?;
        sheet.autofilter(0, 0, row_number(last_row - 1)?, last_column)?;
    }
    Ok(())
}

fn write_cell(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    cell: &Cell,
    emphasis: bool,
    locale: Locale,
) -> anyhow::Result<()> {
    let mut format = Format::new();
    if emphasis {
        format = format.set_bold().set_border_top(FormatBorder::Thin);
    }
    match cell {
        Cell::Empty => sheet.write_blank(row, column, &format)?,
        Cell::Text(text) => sheet.write_string_with_format(row, column, in_cell(text), &format)?,
        Cell::Bool(_) => sheet.write_string_with_format(row, column, cell.display(locale), &format)?,
        Cell::Int(number) if number.unsigned_abs() > MAX_EXACT => {
            let format = format.set_align(FormatAlign::Right);
            sheet.write_string_with_format(row, column, number.to_string(), &format)?
        }
        Cell::Int(number) => {
            let number: f64 = number.to_string().parse()?;
            sheet.write_number_with_format(row, column, number, &format.set_num_format("#,##0"))?
        }
        Cell::Money { amount, currency } if amount.unsigned_abs() > MAX_EXACT => {
            let format = format.set_align(FormatAlign::Right);
            sheet.write_string_with_format(row, column, minor_to_plain(*amount, currency), &format)?
        }
        Cell::Money { amount, currency } => {
            // Parsed from the decimal text: the nearest number to the amount rather than a rounded quotient.
            let number: f64 = minor_to_plain(*amount, currency).parse()?;
            let format = format.set_num_format(number_format(currency));
            sheet.write_number_with_format(row, column, number, &format)?
        }
        Cell::Date(day) => {
            let format = format.set_align(FormatAlign::Left);
            match excel_day(*day) {
                Some(date) => sheet.write_datetime_with_format(
                    row,
                    column,
                    date,
                    &format.set_num_format("yyyy-mm-dd"),
                )?,
                None => sheet.write_string_with_format(row, column, day.to_string(), &format)?,
            }
        }
    };
    Ok(())
}

/// The day in Excel's calendar, which starts in 1900 and ends with 9999.
fn excel_day(day: NaiveDate) -> Option<ExcelDateTime> {
    let year = u16::try_from(day.year()).ok()?;
    ExcelDateTime::from_ymd(year, u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?).ok()
}

fn write_about(sheet: &mut Worksheet, document: &Document) -> anyhow::Result<()> {
    set_up_page(sheet, document);
    let bold = Format::new().set_bold();
    let wrapped = Format::new().set_text_wrap().set_align(FormatAlign::Top);
    sheet.write_string_with_format(0, 0, in_cell(&document.title), &bold)?;
    let mut row = 2;
    for (label, value) in &document.facts {
        sheet.write_string_with_format(row, 0, in_cell(label), &Format::new().set_align(FormatAlign::Top))?;
        sheet.write_string_with_format(row, 1, in_cell(value), &wrapped)?;
        row += 1;
    }
    if !document.facts.is_empty() {
        row += 1;
    }
    for note in &document.notes {
        sheet.write_string(row, 0, in_cell(note))?;
        row += 1;
    }
    let widest = document.facts.iter().map(|(label, _)| label.width()).max().unwrap_or(0) + COLUMN_MARGIN;
    let width = u16::try_from(widest.clamp(COLUMN_WIDTHS.0, COLUMN_WIDTHS.1)).unwrap_or(0);
    sheet.set_column_width(0, f64::from(width))?;
    sheet.set_column_width(1, 60.0)?;
    Ok(())
}

fn set_up_page(sheet: &mut Worksheet, document: &Document) {
    sheet.set_landscape();
    sheet.set_paper_size(PAPER_A4);
    // One page wide, as many pages long as needed.
    sheet.set_print_fit_to_pages(1, 0);
    // `&` starts a code in a header.
    let title = shown_title(document).replace('&', "&&");
    sheet.set_header(format!("&L{title}&R&A"));
    sheet.set_footer("&C&P / &N");
}

fn number_format(currency: &str) -> String {
    match currency_exponent(currency) as usize {
        0 => "#,##0".to_owned(),
        decimals => format!("#,##0.{}", "0".repeat(decimals)),
    }
}

/// A unique name that Excel accepts: without `[]:*?/\`, not `History`, not quoted, at most 31 characters.
fn sheet_name(title: &str, key: &str, taken: &mut BTreeSet<String>) -> String {
    let clean = |text: &str| -> String {
        let replaced: String = cleaned(text)
            .chars()
            .map(|character| if "[]:*?/\\".contains(character) { ' ' } else { character })
            .collect();
        let trimmed = replaced.trim_matches(['\'', ' ']);
        cut(trimmed, MAX_SHEET_NAME).trim_end_matches(['\'', ' ']).to_owned()
    };
    let mut name = clean(title);
    if name.is_empty() || name.eq_ignore_ascii_case("history") {
        name = clean(key);
    }
    let mut candidate = name.clone();
    let mut number = 2;
    while !taken.insert(candidate.to_lowercase()) {
        let suffix = format!(" {number}");
        candidate = format!("{}{suffix}", cut(&name, MAX_SHEET_NAME - suffix.len()));
        number += 1;
    }
    candidate
}

/// The longest prefix of the text with at most this many UTF-16 units, which is what Excel counts.
fn cut(text: &str, most: usize) -> &str {
    let mut units = 0;
    for (index, character) in text.char_indices() {
        units += character.len_utf16();
        if units > most {
            return &text[..index];
        }
    }
    text
}

/// A text as a cell can hold it.
fn in_cell(text: &str) -> Cow<'_, str> {
    match cut(text, MAX_CELL) {
        whole if whole.len() == text.len() => whole.into(),
        _ => format!("{}…", cut(text, MAX_CELL - 1)).into(),
    }
}

/// The title above a printed page and in the file's properties, of which Excel keeps 255 characters.
fn shown_title(document: &Document) -> String {
    cut(&cleaned(&document.title), MAX_TITLE).to_owned()
}

/// The sheet row of a row of the table, below the header.
fn row_number(index: usize) -> anyhow::Result<u32> {
    u32::try_from(index + 1).context("failed to number a row: it exceeds Excel's limit")
}

fn column_number(index: usize) -> anyhow::Result<u16> {
    u16::try_from(index).context("failed to number a column: it exceeds Excel's limit")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, Reader, Xlsx};

    use super::super::sample;
    use super::*;

    fn created() -> DateTime<Utc> {
        sample::day().and_hms_opt(21, 5, 9).unwrap().and_utc()
    }

    fn open(bytes: Vec<u8>) -> Xlsx<Cursor<Vec<u8>>> {
        Xlsx::new(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn a_workbook_reads_back_with_its_types() {
        let mut workbook = open(render(&sample::sales(Locale::Ja, 5), created()).unwrap());
        assert_eq!(workbook.sheet_names(), ["モール別集計", "売れ筋商品", "概要"]);

        let malls = workbook.worksheet_range("モール別集計").unwrap();
        assert_eq!(malls.get((0, 4)), Some(&Data::String("総売上".into())));
        assert_eq!(malls.get((1, 4)), Some(&Data::Float(18_452_310.0)));
        assert_eq!(malls.get((3, 4)), Some(&Data::Float(184_523.10)), "dollars in major units");

        let products = workbook.worksheet_range("売れ筋商品").unwrap();
        let formula = "=HYPERLINK(\"http://example.com\")";
        assert_eq!(products.get((5, 0)), Some(&Data::String(formula.into())), "text stays text");
        let Some(Data::DateTime(date)) = products.get((1, 1)) else { panic!("a real date") };
        let (year, month, day, ..) = date.to_ymd_hms_milli();
        assert_eq!((year, month, day), (2026, 11, 19));
        assert!(workbook.worksheet_formula("売れ筋商品").unwrap().is_empty());

        let about = workbook.worksheet_range("概要").unwrap();
        assert_eq!(about.get((2, 1)), Some(&Data::String("2026-11-19".into())));
    }

    #[test]
    fn the_same_document_makes_the_same_file() {
        let document = sample::sales(Locale::Ko, 5);
        assert!(render(&document, created()).unwrap() == render(&document, created()).unwrap());
    }

    #[test]
    fn a_number_that_excel_would_round_is_written_as_text() {
        let mut document = sample::sales(Locale::En, 0);
        document.tables.truncate(1);
        document.tables[0].rows[0].cells[2] = Cell::Int(i64::MAX);
        let mut workbook = open(render(&document, created()).unwrap());
        let malls = workbook.worksheet_range("By mall").unwrap();
        assert_eq!(malls.get((1, 2)), Some(&Data::String(i64::MAX.to_string())));
    }

    #[test]
    fn a_sheet_has_a_name_that_excel_accepts() {
        let mut taken = BTreeSet::new();
        let mut name = |title: &str| sheet_name(title, "key", &mut taken);
        assert_eq!(name("A/B: [1]?*\\"), "A B   1");
        assert_eq!(name("'quoted'"), "quoted");
        assert_eq!(name("History"), "key");
        assert_eq!(name(""), "key 2");
        assert_eq!(name(&"商".repeat(40)), "商".repeat(31));
        assert_eq!(name(&"商".repeat(40)), "商".repeat(29) + " 2");
        assert_eq!(name("QUOTED"), "QUOTED 2");
    }

    #[test]
    fn a_text_longer_than_excel_takes_is_cut() {
        let mut document = sample::sales(Locale::En, 0);
        document.title = "雪".repeat(300);
        document.tables.truncate(1);
        document.tables[0].rows[0].cells[0] = Cell::text("𠮷".repeat(20_000));
        let mut workbook = open(render(&document, created()).unwrap());
        let malls = workbook.worksheet_range("By mall").unwrap();
        let Some(Data::String(text)) = malls.get((1, 0)) else { panic!("no text") };
        assert_eq!(text.encode_utf16().count(), MAX_CELL);
        assert!(text.ends_with("𠮷…"));
    }
}
