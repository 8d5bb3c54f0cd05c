//! A document as text for a terminal or for the mail of a cron job.
//!
//! A table wider than the terminal stays readable: first long texts wrap, then a table of few rows is transposed, then
//! optional columns are omitted, and finally each row becomes a list.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle};
use unicode_width::UnicodeWidthStr;

use super::{Document, Table, phrases};
use crate::locale::Locale;
use crate::printable::{cleaned, shortened};

/// Blank columns between two columns of a table.
const GAP: usize = 2;
/// A text column is not wrapped narrower than this, in terminal columns.
const NARROWEST_TEXT: usize = 16;
/// A value beside its label is not wrapped narrower than this, in terminal columns.
const NARROWEST_VALUE: usize = 8;
/// Tables with more rows than this are not transposed: they would be hard to read.
const MAX_ROWS_ON_SIDE: usize = 8;
/// A longer text is cut: a table is as wide as its widest text in every row. Other formats have all of it.
const MAX_CELL_CHARACTERS: usize = 500;
/// Narrower terminals are treated as this wide; nothing readable fits into less.
const NARROWEST_TERMINAL: usize = 20;

/// Renders the document as text. Without a width (output is not a terminal) tables take their natural width; `colour`
/// sets headings and totals in bold.
pub fn render(document: &Document, width: Option<usize>, colour: bool) -> String {
    let page =
        Page { width: width.map(|width| width.max(NARROWEST_TERMINAL)), colour, locale: document.locale };
    let mut sections = vec![page.heading(document)];
    sections.extend(document.tables.iter().map(|table| page.table(table)));
    if !document.notes.is_empty() {
        let notes: Vec<_> = document.notes.iter().map(|note| page.wrapped(&cleaned(note))).collect();
        sections.push(notes.join("\n") + "\n");
    }
    sections.join("\n")
}

/// Renders only the rows of one table, for a command that prints a list. In English, like every message.
pub fn render_list(table: &Table, width: Option<usize>, colour: bool) -> String {
    let page = Page { width: width.map(|width| width.max(NARROWEST_TERMINAL)), colour, locale: Locale::En };
    page.body(table)
}

struct Page {
    width: Option<usize>,
    colour: bool,
    locale: Locale,
}

/// A table's texts, ready for layout.
struct Grid {
    header: Vec<String>,
    figures: Vec<bool>,
    rows: Vec<Vec<String>>,
    emphasis: Vec<bool>,
    /// Whether its header holds values, which may be as long as they like, and not our headings.
    is_transposed: bool,
}

impl Page {
    fn heading(&self, document: &Document) -> String {
        let mut text = self.bold(&self.wrapped(&cleaned(&document.title))) + "\n";
        let facts: Vec<_> =
            document.facts.iter().map(|(label, value)| (cleaned(label), cleaned(value))).collect();
        let label_width = facts.iter().map(|(label, _)| label.width()).max().unwrap_or(0);
        for (label, value) in &facts {
            push_labelled(&mut text, label, label_width, value, self.width);
        }
        text
    }

    fn table(&self, table: &Table) -> String {
        let title = self.bold(&self.wrapped(&cleaned(&table.title)));
        let body = if table.rows.is_empty() {
            self.locale.pick("(no rows)", "（該当なし）", "(해당 없음)").to_owned() + "\n"
        } else {
            self.body(table)
        };
        format!("{title}\n{body}")
    }

    fn body(&self, table: &Table) -> String {
        let all = Grid::new(table, self.locale);
        if let Some(text) = self.grid(&all).or_else(|| self.grid(&all.transposed()?)) {
            return text;
        }
        let omitted: Vec<bool> = table.columns.iter().map(|column| column.wide_only).collect();
        if omitted.contains(&true) {
            let narrow = all.without(&omitted);
            if let Some(mut text) = self.grid(&narrow).or_else(|| self.grid(&narrow.transposed()?)) {
                let names: Vec<_> = all
                    .header
                    .iter()
                    .zip(&omitted)
                    .filter_map(|(label, omitted)| omitted.then_some(label.as_str()))
                    .collect();
                let left_out = self.locale.pick(
                    "Omitted at this width: ",
                    "この幅では表示されない列: ",
                    "이 폭에서 표시되지 않는 열: ",
                );
                let names = names.join(self.locale.pick(", ", "、", ", "));
                text.push_str(&self.wrapped(&format!("{left_out}{names}")));
                text.push('\n');
                return text;
            }
        }
        self.blocks(&all)
    }

    /// Lays the grid out, wrapping texts and headings as needed; `None` if it does not fit.
    fn grid(&self, grid: &Grid) -> Option<String> {
        let widths = grid.widths_within(self.width)?;
        let header: Vec<String> = grid
            .header
            .iter()
            .zip(&widths)
            .map(|(text, width)| grid.heading(text, *width).join("\n"))
            .collect();
        let mut table = comfy_table::Table::new();
        table
            .load_style(NOTHING.header_separator(LineStyle::none().fill('─')))
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header);
        let mut heights = Vec::new();
        for row in &grid.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(text, width)| wrap(text, *width)).collect();
            heights.push(cells.iter().map(Vec::len).max().unwrap_or(1));
            table.add_row(cells.iter().map(|lines| lines.join("\n")));
        }
        let last = widths.len() - 1;
        for (index, column) in table.column_iter_mut().enumerate() {
            let gap = if index == last { 0 } else { GAP };
            column.set_padding((0, u16::try_from(gap).unwrap_or(0)));
            if grid.figures[index] {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }

        let mut lines = table.lines();
        let mut text = String::new();
        let mut rule = String::new();
        for line in lines.by_ref() {
            if line.starts_with('─') {
                rule = line;
                break;
            }
            text.push_str(&self.bold(line.trim_end()));
            text.push('\n');
        }
        let mut before = None;
        for (height, emphasis) in heights.into_iter().zip(&grid.emphasis) {
            // Under the header and around totals: without colour only the rule sets them apart.
            if before != Some(*emphasis) {
                text.push_str(&rule);
                text.push('\n');
            }
            before = Some(*emphasis);
            for line in lines.by_ref().take(height) {
                let line = line.trim_end();
                text.push_str(&if *emphasis { self.bold(line) } else { line.to_owned() });
                text.push('\n');
            }
        }
        Some(text)
    }

    /// Each row as a list of its labelled values.
    fn blocks(&self, grid: &Grid) -> String {
        let label_width = grid.header.iter().map(|label| label.width()).max().unwrap_or(0);
        let mut blocks = Vec::new();
        for row in &grid.rows {
            let mut block = String::new();
            for (index, (label, value)) in grid.header.iter().zip(row).enumerate() {
                if index == 0 && !value.is_empty() {
                    block.push_str(&self.bold(&self.wrapped(value)));
                    block.push('\n');
                } else {
                    let inner = self.width.map(|width| width.saturating_sub(GAP));
                    let mut lines = String::new();
                    push_labelled(&mut lines, label, label_width, value, inner);
                    for line in lines.lines() {
                        let _ = writeln!(block, "{:GAP$}{line}", "");
                    }
                }
            }
            blocks.push(block);
        }
        blocks.join("\n")
    }

    fn wrapped(&self, text: &str) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| wrap(text, width).join("\n"))
    }

    fn bold(&self, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        text.split('\n').map(|line| format!("\u{1b}[1m{line}\u{1b}[0m")).collect::<Vec<_>>().join("\n")
    }
}

impl Grid {
    fn new(table: &Table, locale: Locale) -> Self {
        let clean = |texts: Vec<String>| {
            texts.iter().map(|text| shortened(&cleaned(text), MAX_CELL_CHARACTERS).into_owned()).collect()
        };
        Self {
            header: clean(table.headings()),
            figures: table.columns.iter().map(|column| column.kind.is_figure()).collect(),
            rows: table.displayed(locale).into_iter().map(clean).collect(),
            emphasis: table.rows.iter().map(|row| row.emphasis).collect(),
            is_transposed: false,
        }
    }

    /// The lines of a heading.
    fn heading(&self, text: &str, width: usize) -> Vec<String> {
        if self.is_transposed { wrap(text, width) } else { phrases::lines(text, width) }
    }

    /// What a heading needs at least.
    fn narrowest_heading(&self, text: &str) -> usize {
        if self.is_transposed { text.width().min(NARROWEST_TEXT) } else { phrases::narrowest(text) }
    }

    /// Rows become columns: three malls side by side, a figure on each line.
    fn transposed(&self) -> Option<Self> {
        if self.rows.len() > MAX_ROWS_ON_SIDE || self.header.len() < 2 {
            return None;
        }
        let side = |index: usize| -> Vec<String> {
            let values = self.rows.iter().map(|row| row[index].clone());
            std::iter::once(self.header[index].clone()).chain(values).collect()
        };
        let lines = self.header.len() - 1;
        let mut figures = vec![true; self.rows.len() + 1];
        figures[0] = false;
        Some(Self {
            header: side(0),
            figures,
            rows: (1..=lines).map(side).collect(),
            emphasis: vec![false; lines],
            is_transposed: true,
        })
    }

    fn without(&self, omitted: &[bool]) -> Self {
        let keep = |texts: &Vec<String>| -> Vec<String> {
            texts
                .iter()
                .zip(omitted)
                .filter(|(_, omitted)| !**omitted)
                .map(|(text, _)| text.clone())
                .collect()
        };
        Self {
            header: keep(&self.header),
            figures: self
                .figures
                .iter()
                .zip(omitted)
                .filter(|(_, omitted)| !**omitted)
                .map(|(f, _)| *f)
                .collect(),
            rows: self.rows.iter().map(keep).collect(),
            emphasis: self.emphasis.clone(),
            is_transposed: self.is_transposed,
        }
    }

    /// The width of each column so that all fit; `None` if they cannot.
    fn widths_within(&self, available: Option<usize>) -> Option<Vec<usize>> {
        let column_count = self.header.len();
        let widest_cell = |index: usize| self.rows.iter().map(|row| row[index].width()).max().unwrap_or(0);
        let cells: Vec<usize> = (0..column_count).map(widest_cell).collect();
        let mut widths: Vec<usize> =
            self.header.iter().zip(&cells).map(|(label, cell)| label.width().max(*cell).max(1)).collect();
        let Some(available) = available else { return Some(widths) };
        let least: Vec<usize> = (0..column_count)
            .map(|index| {
                let cell = if self.figures[index] { cells[index] } else { cells[index].min(NARROWEST_TEXT) };
                cell.max(self.narrowest_heading(&self.header[index])).max(1)
            })
            .collect();
        let gaps = GAP * column_count.saturating_sub(1);
        if least.iter().sum::<usize>() + gaps > available {
            return None;
        }
        let mut surplus = (widths.iter().sum::<usize>() + gaps).saturating_sub(available);
        while surplus > 0 {
            // The column with the most slack shrinks, so that the loss is spread evenly.
            let widest = (0..column_count)
                .filter(|index| widths[*index] > least[*index])
                .max_by_key(|i| widths[*i])?;
            widths[widest] -= 1;
            surplus -= 1;
        }
        Some(widths)
    }
}

/// Appends `label  value`, with the value's further lines aligned under its first.
fn push_labelled(text: &mut String, label: &str, label_width: usize, value: &str, width: Option<usize>) {
    let indent = label_width + GAP;
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(NARROWEST_VALUE));
    let lines = wrap(value, room);
    for (index, line) in lines.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        let blanks = indent.saturating_sub(label.width());
        let _ = writeln!(text, "{}", format!("{label}{:blanks$}{line}", "").trim_end());
    }
}

/// Breaks a text into lines of at most `width` terminal columns, at spaces where possible.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if !line.is_empty() && line.width() + word.trim_end().width() > width {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        if word.trim_end().width() <= width {
            line.push_str(word);
            continue;
        }
        // Japanese has no spaces, and a product code may be longer than the column.
        for character in word.chars() {
            let mut buffer = [0; 4];
            let grown = line.width() + character.encode_utf8(&mut buffer).width();
            if grown > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    if !line.trim_end().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, Column, ColumnKind, Row, sample};
    use super::*;

    fn only(table: Table) -> Document {
        let mut document = sample::sales(Locale::En, 0);
        document.facts.clear();
        document.notes.clear();
        document.tables = vec![table];
        document
    }

    fn stock(rows: Vec<Row>) -> Document {
        let columns = vec![
            Column::new("product", "Product", ColumnKind::Text),
            Column::new("stock", "In stock", ColumnKind::Number),
            Column::new("checked", "Checked", ColumnKind::Text).wide_only(),
        ];
        only(Table { key: "stock", title: "Stock".into(), columns, rows })
    }

    fn row(name: &str, stock: i64) -> Row {
        Row::new(vec![Cell::text(name), Cell::Int(stock), Cell::Bool(true)])
    }

    #[test]
    fn one_endless_text_does_not_make_every_row_endless() {
        let mut rows: Vec<Row> = (0..30).map(|number| row("cup", number)).collect();
        rows.push(row(&"x".repeat(100_000), 1));
        let text = render(&stock(rows), None, false);
        assert!(text.contains("x…") && text.len() < 40_000, "{} bytes", text.len());
    }

    #[test]
    fn figures_align_under_wide_characters_and_a_rule_sets_off_the_total() {
        let total = Row::total(vec![Cell::text("Total"), Cell::Int(1_212), Cell::Empty]);
        let text = render(&stock(vec![row("有田焼", 1_200), row("우산", 12), total]), Some(80), false);
        assert_eq!(
            text,
            "Daily sales, 19 November 2026\n\nStock\n\
             Product  In stock  Checked\n\
             ──────────────────────────\n\
             有田焼      1,200  yes\n\
             우산           12  yes\n\
             ──────────────────────────\n\
             Total       1,212\n"
        );
    }

    #[test]
    fn bold_adds_nothing_but_bold() {
        let document = sample::sales(Locale::Ja, 9);
        let coloured = render(&document, Some(80), true);
        assert!(coloured.contains("\u{1b}[1m"));
        let stripped = coloured.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert_eq!(stripped, render(&document, Some(80), false));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_and_no_figure_is_broken() {
        for locale in Locale::ALL {
            for width in [40, 60, 80, 100, 120, 200] {
                let text = render(&sample::sales(locale, 12), Some(width), false);
                for line in text.lines() {
                    assert!(line.width() <= width, "{width}: {line}");
                }
                assert!(text.contains("166,070,790") && text.contains("122,163,300"), "{locale} {width}");
            }
        }
    }

    #[test]
    fn a_wide_table_of_few_rows_is_transposed() {
        let text = render(&sample::sales(Locale::En, 0), Some(80), false);
        assert!(text.contains("Mall                   JP main store     KR store      Global\n"), "{text}");
        assert!(text.contains("Gross sales               18,452,310  166,070,790  184,523.10\n"), "{text}");
    }

    #[test]
    fn an_omitted_column_is_named() {
        let rows = (0..20).map(|number| row("A product with a long name", number)).collect();
        let text = render(&stock(rows), Some(29), false);
        assert!(text.ends_with("Omitted at this width:\nChecked\n"), "{text}");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert!(render(&stock(Vec::new()), None, false).ends_with("Stock\n(no rows)\n"));
    }

    #[test]
    fn a_hostile_name_cannot_send_an_escape_sequence() {
        let text = render(&stock(vec![row("\u{1b}]0;owned\u{7}\r\nname", 1)]), Some(80), false);
        assert!(text.contains("]0;owned  name"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r']));
    }
}
