//! A document as an Excel workbook: a summary with charts for who opens it, then a sheet for each table, ready to filter,
//! sum and print.
//!
//! On a table's sheet the first row is the header and nothing is above it, so that a pivot table or an import finds the
//! data. What the charts draw is on a sheet at the end: they follow when it is changed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::Context;
use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use rust_xlsxwriter::{
    Chart as ExcelChart, ChartFont, ChartFormat, ChartLegendPosition, ChartLine, ChartSolidFill, ChartType,
    DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet,
};
use unicode_width::UnicodeWidthStr;

use super::{Cell, Chart, Document, Table, phrases};
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
/// A note runs across this many columns of the summary at least.
const NOTE_COLUMNS: usize = 8;
/// The height of a row of text, in points.
const ROW_HEIGHT: f64 = 15.0;
/// Excel refuses a higher row, in points.
const MAX_ROW_HEIGHT: f64 = 409.0;
/// Room for a day, in characters.
const DAY_WIDTH: usize = 12;
/// The height of a row, in pixels, by which rows under a chart are counted.
const ROW_PIXELS: u32 = 20;
/// Two charts side by side fill a screen and a printed page.
const CHARTS_ACROSS: usize = 2;
/// The size of a chart and the space after it, in pixels.
const CHART: (u32, u32) = (560, 280);
const BESIDE_CHART: u32 = 20;
/// A bar or line of a chart's series: those of the PDF's built-in style.
const CHART_COLOURS: [&str; 5] = ["#2B5C8A", "#C2703D", "#5B8C5A", "#8A5B8C", "#9A8A3A"];
/// Excel refuses a longer title of a chart.
const MAX_CHART_TITLE: usize = 200;

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

    let locale = document.locale;
    let mut names = BTreeSet::new();
    let summary = sheet_name(locale.pick("Summary", "概要", "요약"), "summary", &mut names);
    workbook.add_worksheet().set_name(summary)?;
    for table in &document.tables {
        let name = sheet_name(&table.title, table.key, &mut names);
        write_table(workbook.add_worksheet().set_name(name)?, table, document)?;
    }
    let mut charts = Vec::new();
    if !document.charts.is_empty() {
        let title = locale.pick("Chart data", "グラフのデータ", "차트 데이터");
        let name = sheet_name(title, "chart_data", &mut names);
        let sheet = workbook.add_worksheet().set_name(&name)?;
        charts = write_chart_data(sheet, &name, document)?;
    }
    write_summary(workbook.worksheet_from_index(0)?, document, &charts)?;
    Ok(workbook.save_to_buffer()?)
}

fn write_table(sheet: &mut Worksheet, table: &Table, document: &Document) -> anyhow::Result<()> {
    set_up_page(sheet, document);
    sheet.set_freeze_panes(1, 0)?;
    sheet.set_repeat_rows(0, 0)?;

    write_rows(sheet, table, document.locale, 0)?;
    for (index, width) in widths(table, document.locale).into_iter().enumerate() {
        sheet.set_column_width(column_number(index)?, width)?;
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

/// Writes a table's header into this row, and its rows below.
fn write_rows(sheet: &mut Worksheet, table: &Table, locale: Locale, top: u32) -> anyhow::Result<()> {
    for (index, (column, label)) in table.columns.iter().zip(table.headings()).enumerate() {
        let align = if column.kind.is_figure() { FormatAlign::Right } else { FormatAlign::Left };
        let format = Format::new()
            .set_bold()
            .set_border_bottom(FormatBorder::Thin)
            .set_align(align)
            .set_align(FormatAlign::Bottom)
            .set_text_wrap();
        sheet.write_string_with_format(top, column_number(index)?, in_cell(&label), &format)?;
    }
    for (row_index, row) in table.rows.iter().enumerate() {
        let sheet_row = top + row_number(row_index)?;
        for (index, cell) in row.cells.iter().enumerate() {
            let column = column_number(index)?;
            let place = || {
                let key = table.columns.get(index).map_or("", |column| column.key);
                format!("failed to write row {}, column `{key}` of table `{}`", row_index + 1, table.key)
            };
            write_cell(sheet, sheet_row, column, cell, row.emphasis, locale).with_context(place)?;
        }
    }
    Ok(())
}

/// The width of each column: that of its widest text, so that no heading breaks.
fn widths(table: &Table, locale: Locale) -> Vec<f64> {
    let displayed = table.displayed(locale);
    let width_of = |(index, label): (usize, String)| {
        let cells = displayed.iter().filter_map(|row| row.get(index)).map(|text| shown_width(text));
        let widest = cells.chain([shown_width(&label)]).max().unwrap_or(0) + COLUMN_MARGIN;
        let least = COLUMN_WIDTHS.0.max(shown_width_of_phrases(&label) + COLUMN_MARGIN);
        f64::from(u16::try_from(widest.min(COLUMN_WIDTHS.1).max(least)).unwrap_or(0))
    };
    table.headings().into_iter().enumerate().map(width_of).collect()
}

/// The width of a text in digits of Excel's usual font, in which a wide character is a little wider than two.
fn shown_width(text: &str) -> usize {
    let wide = text.width().saturating_sub(text.chars().count());
    text.width() + wide.div_ceil(5)
}

fn shown_width_of_phrases(heading: &str) -> usize {
    phrases::phrases(heading).map(|phrase| shown_width(phrase.trim_end())).max().unwrap_or(0)
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
        Cell::Change(Some(tenths)) => {
            // Of 1, as Excel computes; parsed from the decimal text.
            let number: f64 = format!("{tenths}e-3").parse()?;
            let format = format.set_num_format("+#,##0.0%;-#,##0.0%;±0%");
            sheet.write_number_with_format(row, column, number, &format)?
        }
        Cell::Change(None) => {
            let format = format.set_align(FormatAlign::Right);
            sheet.write_string_with_format(row, column, cell.display(locale), &format)?
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

/// The sheet that a reader sees first: what it is about, the main figures, the charts, and the notes.
fn write_summary(sheet: &mut Worksheet, document: &Document, charts: &[ExcelChart]) -> anyhow::Result<()> {
    set_up_page(sheet, document);
    let main = document.tables.first().map(main_figures);
    let mut widths = main.as_ref().map(|table| widths(table, document.locale)).unwrap_or_default();
    widths.resize(widths.len().max(NOTE_COLUMNS), f64::from(u16::try_from(COLUMN_WIDTHS.0 + COLUMN_MARGIN)?));
    let facts = document.facts.iter().map(|(label, _)| shown_width(label)).max().unwrap_or(0) + COLUMN_MARGIN;
    widths[0] = widths[0].max(f64::from(u16::try_from(facts.min(COLUMN_WIDTHS.1))?));
    for (index, width) in widths.iter().enumerate() {
        sheet.set_column_width(column_number(index)?, *width)?;
    }

    let title = Format::new().set_bold().set_font_size(14);
    sheet.write_string_with_format(0, 0, in_cell(&document.title), &title)?;
    let mut row = 2;
    for (label, value) in &document.facts {
        sheet.write_string_with_format(row, 0, in_cell(label), &Format::new().set_align(FormatAlign::Top))?;
        write_across(sheet, row, 1, value, &widths)?;
        row += 1;
    }
    if let Some(table) = main.filter(|table| !table.columns.is_empty()) {
        row += 1;
        write_rows(sheet, &table, document.locale, row)?;
        row += row_number(table.rows.len())?;
    }
    row += 1;
    for across in charts.chunks(CHARTS_ACROSS) {
        for (place, chart) in (0..).zip(across) {
            sheet.insert_chart_with_offset(row, 0, chart, place * (CHART.0 + BESIDE_CHART), 0)?;
        }
        row += (CHART.1 + BESIDE_CHART).div_ceil(ROW_PIXELS);
    }
    for note in &document.notes {
        write_across(sheet, row, 0, note, &widths)?;
        row += 1;
    }
    Ok(())
}

/// The figures of the summary: the totals if there are any, otherwise every row, in the columns that always have a place.
fn main_figures(table: &Table) -> Table {
    let mut main = table.clone();
    main.retain_columns(|column| !column.wide_only);
    if main.rows.iter().any(|row| row.emphasis) {
        main.rows.retain(|row| row.emphasis);
        for row in &mut main.rows {
            row.emphasis = false;
        }
    }
    main
}

/// Writes a text across the columns from this one on, in as many lines as it needs.
fn write_across(
    sheet: &mut Worksheet,
    row: u32,
    column: usize,
    text: &str,
    widths: &[f64],
) -> anyhow::Result<()> {
    let format = Format::new().set_text_wrap().set_align(FormatAlign::Left).set_align(FormatAlign::Top);
    let (first, last) = (column_number(column)?, column_number(widths.len() - 1)?);
    sheet.merge_range(row, first, row, last, &in_cell(text), &format)?;
    let room: f64 = widths[column..].iter().sum();
    let needed = f64::from(u32::try_from(shown_width(text))?);
    // Lines that break between words are not full.
    let lines = (needed * 1.1 / room).ceil().max(1.0);
    sheet.set_row_height(row, (ROW_HEIGHT * lines).min(MAX_ROW_HEIGHT))?;
    Ok(())
}

/// Writes what the charts draw, a column for each series, and returns the charts.
fn write_chart_data(
    sheet: &mut Worksheet,
    name: &str,
    document: &Document,
) -> anyhow::Result<Vec<ExcelChart>> {
    set_up_page(sheet, document);
    sheet.set_freeze_panes(1, 0)?;
    let mut charts = Vec::new();
    let mut next = 0;
    // Charts of the same days share their column.
    let mut shared: Option<(&[NaiveDate], u16)> = None;
    for chart in &document.charts {
        let days = match shared {
            Some((days, column)) if days == chart.days => column,
            _ => {
                write_days(sheet, next, chart, document.locale)?;
                next += 1;
                next - 1
            }
        };
        shared = Some((&chart.days, days));
        let first = next;
        for series in &chart.series {
            let of_series =
                if chart.series.len() > 1 { format!(": {}", series.label) } else { String::new() };
            let heading = format!("{}{of_series} ({})", chart.title, chart.unit);
            write_heading(sheet, next, &heading, FormatAlign::Right)?;
            let format = Format::new().set_num_format(number_format(&chart.unit));
            for (index, value) in series.values.iter().enumerate() {
                if let Some(value) = value {
                    sheet.write_number_with_format(row_number(index)?, next, *value, &format)?;
                }
            }
            next += 1;
        }
        charts.push(chart_over(name, chart, days, first)?);
    }
    Ok(charts)
}

fn write_days(sheet: &mut Worksheet, column: u16, chart: &Chart, locale: Locale) -> anyhow::Result<()> {
    write_heading(sheet, column, locale.pick("Day", "日付", "날짜"), FormatAlign::Left)?;
    for (index, day) in chart.days.iter().enumerate() {
        write_cell(sheet, row_number(index)?, column, &Cell::Date(*day), false, locale)?;
    }
    Ok(())
}

/// Writes a heading as wide as it needs.
fn write_heading(
    sheet: &mut Worksheet,
    column: u16,
    heading: &str,
    align: FormatAlign,
) -> anyhow::Result<()> {
    let format = Format::new().set_bold().set_border_bottom(FormatBorder::Thin).set_align(align);
    sheet.write_string_with_format(0, column, in_cell(heading), &format)?;
    let width = (shown_width(heading) + COLUMN_MARGIN).clamp(DAY_WIDTH, COLUMN_WIDTHS.1);
    sheet.set_column_width(column, f64::from(u16::try_from(width)?))?;
    Ok(())
}

/// A chart of the values in the columns from `first` on: bars for one series, lines for several, as in the PDF.
fn chart_over(name: &str, chart: &Chart, days: u16, first: u16) -> anyhow::Result<ExcelChart> {
    let last_row = row_number(chart.days.len().saturating_sub(1))?;
    let is_bars = chart.series.len() == 1;
    let mut drawn = ExcelChart::new(if is_bars { ChartType::Column } else { ChartType::Line });
    for ((column, series), colour) in (first..).zip(&chart.series).zip(CHART_COLOURS.iter().cycle()) {
        let mut look = ChartFormat::new();
        if is_bars {
            look.set_solid_fill(ChartSolidFill::new().set_color(*colour));
        } else {
            look.set_line(ChartLine::new().set_color(*colour).set_width(1.75));
        }
        drawn
            .add_series()
            .set_name(as_text(&series.label).as_str())
            .set_categories((name, 1, days, last_row, days))
            .set_values((name, 1, column, last_row, column))
            .set_format(&mut look)
            .set_gap(40);
    }
    let title = format!("{} ({})", chart.title, chart.unit);
    let mut small = ChartFont::new();
    small.set_size(9);
    drawn.title().set_name(as_text(&title).as_str()).set_font(ChartFont::new().set_bold().set_size(11));
    drawn.x_axis().set_date_axis(true).set_num_format("m/d").set_font(&small);
    let mut grid = ChartLine::new();
    grid.set_color("#DDE3E8");
    drawn.y_axis().set_num_format("#,##0").set_font(&small).set_major_gridlines_line(&grid);
    if is_bars {
        drawn.legend().set_hidden();
    } else {
        drawn.legend().set_position(ChartLegendPosition::Bottom).set_font(&small);
    }
    drawn.set_width(CHART.0).set_height(CHART.1).set_alt_text(title);
    Ok(drawn)
}

/// A text of a chart, which would be a formula if it began with an equals sign.
fn as_text(text: &str) -> String {
    let text = cut(&cleaned(text), MAX_CHART_TITLE).to_owned();
    if text.starts_with('=') { format!(" {text}") } else { text }
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

    use super::super::{ColumnKind, sample};
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
        assert_eq!(workbook.sheet_names(), ["概要", "モール別集計", "売れ筋商品", "グラフのデータ"]);

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

        let summary = workbook.worksheet_range("概要").unwrap();
        assert_eq!(summary.get((2, 1)), Some(&Data::String("2026-11-19".into())));
        assert_eq!(
            summary.get((5, 4)),
            Some(&Data::String("総売上".into())),
            "below the facts, the main figures"
        );
        assert_eq!(summary.get((6, 4)), Some(&Data::Float(18_452_310.0)));
    }

    /// The parts of the workbook whose names contain a word.
    fn parts(bytes: &[u8], word: &str) -> Vec<String> {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut parts = Vec::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            if file.name().unwrap().contains(word) {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                parts.push(text);
            }
        }
        parts
    }

    #[test]
    fn the_summary_has_a_chart_over_the_values_of_the_last_sheet() {
        let mut document = sample::sales(Locale::Ja, 1);
        document.charts[0].title = "=本店".into();
        let bytes = render(&document, created()).unwrap();
        let charts = parts(&bytes, "charts/chart");
        assert_eq!(charts.len(), 3);
        assert!(
            charts[0].contains("<c:barChart>") && charts[0].contains("<c:f>グラフのデータ!$B$2:$B$29</c:f>")
        );
        assert!(charts[0].contains("<a:t> =本店 (JPY)</a:t>"), "a name is not a formula: {}", charts[0]);
        assert!(charts[1].contains("<c:lineChart>"), "two series are lines");
        assert!(
            charts[2].contains("<c:f>グラフのデータ!$A$2:$A$29</c:f>"),
            "the days are those of the first chart"
        );
        assert_eq!(parts(&bytes, "drawings/drawing1.xml").len(), 1);
        assert!(parts(&bytes, "worksheets/sheet1.xml")[0].contains("<drawing "), "on the first sheet");

        let mut workbook = open(bytes);
        let data = workbook.worksheet_range("グラフのデータ").unwrap();
        assert_eq!(data.get((0, 1)), Some(&Data::String("=本店 (JPY)".into())));
        assert_eq!(data.get((12, 1)), Some(&Data::Empty), "a day without a figure is a gap");
        assert_eq!(data.get((0, 4)), Some(&Data::String("Global (USD)".into())));
        document.charts.clear();
        let workbook = open(render(&document, created()).unwrap());
        assert_eq!(workbook.sheet_names(), ["概要", "モール別集計", "売れ筋商品"]);
    }

    #[test]
    fn a_summary_of_days_has_their_totals_and_a_note_all_its_lines() {
        let mut document = sample::sales(Locale::En, 3);
        document.tables.remove(0);
        document.notes = vec!["A remark. ".repeat(60)];
        document.facts.clear();
        document.charts.clear();
        let bytes = render(&document, created()).unwrap();
        let sheet = &parts(&bytes, "worksheets/sheet1.xml")[0];
        let height = sheet.split(" ht=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(height.parse::<f64>().unwrap() > 4.0 * ROW_HEIGHT, "{height}");
        let mut workbook = open(bytes);
        let summary = workbook.worksheet_range("Summary").unwrap();
        let first: Vec<String> = summary.rows().map(|row| row[0].to_string()).collect();
        assert_eq!(first[..5], ["Daily sales, 19 November 2026", "", "", "Product", "Total"]);
    }

    #[test]
    fn a_column_is_wide_enough_for_its_heading() {
        let mut document = sample::sales(Locale::Ja, 0);
        document.tables.truncate(1);
        document.tables[0].columns[2].label = "純売上（税込）".into();
        document.tables[0].columns[2].kind = ColumnKind::Money;
        let width = widths(&document.tables[0], Locale::Ja)[2];
        assert!(width >= 14.0 * 1.1 + 2.0, "{width}");
    }

    #[test]
    fn a_change_is_a_number_of_percent() {
        let mut document = sample::sales(Locale::Ja, 0);
        document.tables.truncate(1);
        document.tables[0].rows[0].cells[2] = Cell::Change(Some(-32));
        document.tables[0].rows[1].cells[2] = Cell::Change(None);
        let mut workbook = open(render(&document, created()).unwrap());
        let malls = workbook.worksheet_range("モール別集計").unwrap();
        assert_eq!(malls.get((1, 2)), Some(&Data::Float(-0.032)));
        assert_eq!(malls.get((2, 2)), Some(&Data::String("–".into())));
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
