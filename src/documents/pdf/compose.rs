//! Lays a document out on pages: title, facts, tables, charts and notes from top to bottom.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use chrono_tz::Tz;

use super::chart::ChartLook;
use super::fonts::{Fonts, Weight};
use super::images::{Logo, read_logo};
use super::scene::{ElementId, Mark, Point};
use super::sheet::{Align, CAPITALS, LINE_PITCH, Sheet, Type, count};
use super::structure::{Role, Structure};
use super::style::{MarginTexts, Orientation, Style};
use super::table::{CELL_INSET, Panel, ShownRow, ShownTable};
use super::text::TextLine;
use super::writer::{About, Bookmark, PdfFile};
use crate::documents::{Chart, Document};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::printable::{cleaned, shortened};

/// A longer document is refused: nobody reads it, and it would take minutes.
const MAX_PAGES: usize = 2_000;
/// The longest title in the outline, in the file's properties, or read out for a chart.
const MAX_OUTLINE_CHARACTERS: usize = 500;
/// Between the title and the facts below it, in points; and so on.
const BELOW_TITLE: f32 = 10.0;
const BETWEEN_FACTS: f32 = 6.0;
const BESIDE_FACTS: f32 = 12.0;
const ABOVE_HEADING: f32 = 18.0;
const BELOW_HEADING: f32 = 7.0;
const ABOVE_CHARTS: f32 = 19.0;
const BESIDE_CHARTS: f32 = 16.0;
const BETWEEN_CHARTS: f32 = 14.0;
const ABOVE_NOTES: f32 = 20.0;
const BETWEEN_NOTES: f32 = 5.0;
const BETWEEN_PANELS: f32 = 14.0;
const BESIDE_LOGO: f32 = 12.0;
/// From the edge of the text to the line above the footer, and from that to the text.
const ABOVE_FOOTER: f32 = 15.0;
const BELOW_FOOTER_LINE: f32 = 5.0;
/// From the header's text to the edge of the text.
const BELOW_HEADER: f32 = 12.0;
const RULE: f32 = 0.8;
const HAIRLINE: f32 = 0.4;
/// Blank space above and below each row's text, in em.
const ROW_INSET: f32 = 0.52;
/// The height of a chart that has the page's width, and of charts side by side.
const WIDE_CHART: f32 = 110.0;
const NARROW_CHART: f32 = 80.0;
/// A row taller than this share of a page is split across pages instead of moved to the next one.
const MAX_UNSPLIT_ROW: f32 = 0.8;
/// A heading stays on the same page as at least this many rows of its table.
const ROWS_WITH_HEADING: f32 = 2.0;

/// The state of a document being laid out.
struct Composer<'f> {
    style: &'f Style,
    document: &'f Document,
    sheet: Sheet<'f>,
    file: PdfFile,
    structure: Structure,
    bookmarks: Vec<Bookmark>,
    width: f32,
    height: f32,
    /// Where the next thing goes.
    y: f32,
    stop: &'f AtomicBool,
}

/// Lays a document out and writes the PDF; setting `stop` cancels it.
pub(super) fn compose(
    document: &Document,
    style: &Style,
    fonts: &mut Fonts,
    created: DateTime<Tz>,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<u8>> {
    let tables: Vec<ShownTable> =
        document.tables.iter().map(|table| ShownTable::of(table, document.locale)).collect();
    let is_landscape = match style.page.orientation {
        Orientation::Auto => tables.iter().any(ShownTable::is_wide),
        Orientation::Portrait => false,
        Orientation::Landscape => true,
    };
    let (short, long) = style.page.paper;
    let (width, height) = if is_landscape { (long, short) } else { (short, long) };
    let mut composer = Composer {
        style,
        document,
        sheet: Sheet { fonts, marks: Vec::new() },
        file: PdfFile::new(),
        structure: Structure::new(),
        bookmarks: Vec::new(),
        width,
        height,
        y: style.page.top,
        stop,
    };
    composer.title()?;
    composer.facts()?;
    let mut tables = tables.iter();
    if let Some(first) = tables.next() {
        composer.table(first)?;
    }
    composer.charts(if is_landscape { 3 } else { 2 })?;
    for table in tables {
        composer.table(table)?;
    }
    composer.notes()?;
    composer.finish(created)
}

impl Composer<'_> {
    fn edges(&self) -> (f32, f32) {
        (self.style.page.left, self.width - self.style.page.right)
    }

    /// The lower edge of the text.
    fn bottom(&self) -> f32 {
        self.height - self.style.page.bottom
    }

    fn available(&self) -> f32 {
        let (left, right) = self.edges();
        right - left
    }

    fn is_at_top(&self) -> bool {
        self.y <= self.style.page.top
    }

    /// Starts a new page unless this height still fits on the current one.
    fn ensure(&mut self, height: f32) -> anyhow::Result<bool> {
        let is_full = self.y + height > self.bottom() && !self.is_at_top();
        if is_full {
            self.end_page()?;
        }
        Ok(is_full)
    }

    fn end_page(&mut self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            anyhow::bail!("stopped");
        }
        if self.file.page_count() == MAX_PAGES {
            return Err(Failure::failed(format!("it would have more than {MAX_PAGES} pages"))
                .hint("write it as csv or xlsx")
                .into());
        }
        let marks = std::mem::take(&mut self.sheet.marks);
        self.file.add_page(self.width, self.height, &marks, self.sheet.fonts, &mut self.structure)?;
        self.y = self.style.page.top;
        Ok(())
    }

    /// Leaves blank space, except at the top of a page.
    fn skip(&mut self, height: f32) {
        if !self.is_at_top() {
            self.y += height;
        }
    }

    fn add(&mut self, role: Role) -> ElementId {
        self.structure.add(Structure::DOCUMENT, role)
    }

    fn bookmark(&mut self, title: &str) {
        let y = (self.y - ABOVE_HEADING / 2.0).max(0.0);
        let title = shortened(title, MAX_OUTLINE_CHARACTERS).into_owned();
        self.bookmarks.push(Bookmark { title, page: self.file.page_count(), y });
    }

    /// Draws the lines of a paragraph, over several pages if necessary.
    fn paragraph(
        &mut self,
        lines: Vec<TextLine>,
        style: Type,
        edges: (f32, f32),
        role: Role,
    ) -> anyhow::Result<()> {
        let element = self.add(role);
        self.sheet.part(Some(element));
        for (index, line) in lines.into_iter().enumerate() {
            if index > 0 {
                self.y += style.size * (LINE_PITCH - CAPITALS);
            }
            if self.ensure(style.height_of(1))? {
                self.sheet.part(Some(element));
            }
            self.sheet.draw_line(line, style, self.y, edges, Align::Left);
            self.y += style.height_of(1);
        }
        Ok(())
    }

    fn title(&mut self) -> anyhow::Result<()> {
        let (mut left, mut right) = self.edges();
        let mut logo_bottom = self.y;
        if let Some(path) = &self.style.logo.file {
            let logo = read_logo(path)?;
            let (width, height) = logo_size(&logo, self.style.logo.height, self.available() / 2.0);
            let x = if self.style.logo.is_left { left } else { right - width };
            self.file.add_logo(&logo)?;
            self.sheet.part(None);
            self.sheet.marks.push(Mark::Logo { corner: Point { x, y: self.y }, width, height });
            logo_bottom += height;
            if self.style.logo.is_left { left += width + BESIDE_LOGO } else { right -= width + BESIDE_LOGO }
        }
        let style = Type::bold(self.style.fonts.title, self.style.colours.text);
        let title = cleaned(&self.document.title);
        let lines = self.sheet.lines_of(&title, style, right - left)?;
        self.paragraph(lines, style, (left, right), Role::Title)?;
        self.y = self.y.max(logo_bottom);
        Ok(())
    }

    fn facts(&mut self) -> anyhow::Result<()> {
        let label_style = Type::regular(self.style.fonts.facts, self.style.colours.muted);
        let value_style = Type::regular(self.style.fonts.facts, self.style.colours.text);
        let (left, right) = self.edges();
        let mut widest: f32 = 0.0;
        for (label, _) in &self.document.facts {
            widest = widest.max(self.sheet.width_of(&cleaned(label), label_style)?);
        }
        let widest = widest.min(self.available() / 2.0);
        let values = (left + widest + BESIDE_FACTS, right);
        for (index, (label, value)) in self.document.facts.iter().enumerate() {
            self.skip(if index == 0 { BELOW_TITLE } else { BETWEEN_FACTS });
            self.ensure(value_style.height_of(1))?;
            let top = self.y;
            let element = self.add(Role::Paragraph);
            self.sheet.part(Some(element));
            self.sheet.draw_text(
                &cleaned(label),
                label_style,
                top,
                (left, left + widest + 0.1),
                Align::Left,
            )?;
            let lines = self.sheet.lines_of(&cleaned(value), value_style, values.1 - values.0)?;
            self.paragraph(lines, value_style, values, Role::Paragraph)?;
        }
        Ok(())
    }

    fn table(&mut self, table: &ShownTable) -> anyhow::Result<()> {
        let cell_style = Type::regular(self.style.fonts.table, self.style.colours.text);
        let sizes = (self.style.fonts.table, self.style.fonts.smallest_table);
        let available = self.available();
        let panels = table.panels(&mut self.sheet, cell_style, sizes, available)?;

        let heading_style = Type::bold(self.style.fonts.heading, self.style.colours.text);
        let heading = self.sheet.lines_of(&table.title, heading_style, available)?;
        let first_rows = (ROWS_WITH_HEADING + 1.0) * cell_style.size * (CAPITALS + 2.0 * ROW_INSET);
        self.skip(ABOVE_HEADING);
        self.ensure(heading_style.height_of(heading.len()) + BELOW_HEADING + first_rows)?;
        self.bookmark(&table.title);
        let edges = self.edges();
        self.paragraph(heading, heading_style, edges, Role::Heading)?;
        self.y += BELOW_HEADING;
        if table.rows.is_empty() {
            let no_rows = self.document.locale.pick("(no rows)", "（該当なし）", "(해당 없음)");
            let style = Type::regular(cell_style.size, self.style.colours.muted);
            let lines = self.sheet.lines_of(no_rows, style, available)?;
            return self.paragraph(lines, style, edges, Role::Paragraph);
        }
        for (index, panel) in panels.iter().enumerate() {
            if index > 0 {
                self.skip(BETWEEN_PANELS);
                self.ensure(first_rows)?;
            }
            self.panel(table, panel)?;
        }
        Ok(())
    }

    fn panel(&mut self, table: &ShownTable, panel: &Panel) -> anyhow::Result<()> {
        let element = self.add(Role::Table);
        self.header(table, panel, Some(element))?;
        for (index, row) in table.rows.iter().enumerate() {
            let starts_totals = row.emphasis && index > 0 && !table.rows[index - 1].emphasis;
            let is_striped = index % 2 == 1 && !row.emphasis;
            self.row(table, panel, row, element, (starts_totals, is_striped))?;
        }
        self.end_panel(panel);
        Ok(())
    }

    /// Names a table again where it goes on on another page. Not part of its structure.
    fn continued(&mut self, table: &ShownTable, panel: &Panel) -> anyhow::Result<()> {
        let style = Type::bold(panel.size, self.style.colours.muted);
        let title = shortened(&table.title, MAX_OUTLINE_CHARACTERS);
        let title = match self.document.locale {
            Locale::En => format!("{title} (continued)"),
            Locale::Ja => format!("{title}（続き）"),
            Locale::Ko => format!("{title} (계속)"),
        };
        self.sheet.part(None);
        let edges = self.edges();
        self.sheet.draw_text(&title, style, self.y, edges, Align::Left)?;
        self.y += style.height_of(1) + BELOW_HEADING;
        Ok(())
    }

    /// Draws the line below the last row on a page.
    fn end_panel(&mut self, panel: &Panel) {
        let edges = self.panel_edges(panel);
        self.sheet.part(None);
        self.sheet.rule(self.y, edges, HAIRLINE, self.style.colours.hairline);
    }

    fn panel_edges(&self, panel: &Panel) -> (f32, f32) {
        let left = self.style.page.left;
        (left, left + panel.columns.iter().map(|(_, width)| width).sum::<f32>())
    }

    /// Draws the column headings. Repeated ones on later pages are not part of the table's structure.
    fn header(
        &mut self,
        table: &ShownTable,
        panel: &Panel,
        element: Option<ElementId>,
    ) -> anyhow::Result<()> {
        let style = self.heading_style(table, panel)?;
        let mut labels = Vec::new();
        for (column, width) in &panel.columns {
            let label = &table.columns[*column].label;
            labels.push(self.sheet.heading_lines(label, style, width - 2.0 * CELL_INSET)?);
        }
        let most = labels.iter().map(Vec::len).max().unwrap_or(1);
        let height = style.height_of(most) + 2.0 * ROW_INSET * panel.size;
        let row = element.map(|table| self.structure.add(table, Role::Row));
        let mut x = self.style.page.left;
        for ((column, width), lines) in panel.columns.iter().zip(labels) {
            let cell = row.map(|row| self.structure.add(row, Role::HeaderCell));
            self.sheet.part(cell);
            // Headings stand on the rule below them.
            let top = self.y + height - ROW_INSET * panel.size - style.height_of(lines.len());
            let edges = (x + CELL_INSET, x + width - CELL_INSET);
            self.sheet.draw_lines(lines, style, top, edges, align_of(table, *column));
            x += width;
        }
        self.y += height;
        self.sheet.part(None);
        let edges = self.panel_edges(panel);
        self.sheet.rule(self.y, edges, RULE, self.style.colours.rule);
        Ok(())
    }

    /// The type of the column headings: where columns are narrower than a word, which happens on a small page, it is smaller
    /// than the cells' and the word stays whole.
    fn heading_style(&mut self, table: &ShownTable, panel: &Panel) -> anyhow::Result<Type> {
        let mut style = Type::bold(panel.size, self.style.colours.muted);
        for (column, width) in &panel.columns {
            let widest = self.sheet.widest_phrase(&table.columns[*column].label, style)?;
            let room = width - 2.0 * CELL_INSET;
            if widest > room && room > 0.0 {
                style.size *= room / widest;
            }
        }
        Ok(style)
    }

    fn row(
        &mut self,
        table: &ShownTable,
        panel: &Panel,
        row: &ShownRow,
        element: ElementId,
        (starts_totals, is_striped): (bool, bool),
    ) -> anyhow::Result<()> {
        let weight = if row.emphasis { Weight::Bold } else { Weight::Regular };
        let style = Type { size: panel.size, weight, colour: self.style.colours.text };
        let inset = ROW_INSET * panel.size;
        let mut cells = Vec::new();
        for (column, width) in &panel.columns {
            let text = row.cells.get(*column).map_or("", String::as_str);
            cells.push(self.sheet.lines_of(text, style, width - 2.0 * CELL_INSET)?.into_iter());
        }
        let mut left_over = cells.iter().map(ExactSizeIterator::len).max().unwrap_or(1).max(1);
        let row_element = self.structure.add(element, Role::Row);
        let elements: Vec<ElementId> =
            panel.columns.iter().map(|_| self.structure.add(row_element, Role::Cell)).collect();
        let (mut is_first, mut is_on_new_page) = (true, false);
        while left_over > 0 {
            let height = style.height_of(left_over) + 2.0 * inset;
            let mut lines = left_over;
            if self.y + height > self.bottom() {
                let room = self.bottom() - self.y - 2.0 * inset - style.height_of(1);
                let fitting = if room < 0.0 { 0 } else { whole(room / (LINE_PITCH * style.size)) + 1 };
                // A row that fits on a page is not split; a longer one fills the page.
                let fits_a_page = height < (self.bottom() - self.style.page.top) * MAX_UNSPLIT_ROW;
                if !is_on_new_page && (fitting == 0 || (is_first && fits_a_page)) {
                    self.end_panel(panel);
                    self.end_page()?;
                    self.continued(table, panel)?;
                    self.header(table, panel, None)?;
                    is_on_new_page = true;
                    continue;
                }
                lines = left_over.min(fitting.max(1));
            }
            let height = style.height_of(lines) + 2.0 * inset;
            let edges = self.panel_edges(panel);
            self.sheet.part(None);
            if is_striped {
                let corner = Point { x: edges.0, y: self.y };
                self.sheet.rectangle(corner, edges.1 - edges.0, height, self.style.colours.stripe);
            }
            if starts_totals && is_first {
                self.sheet.rule(self.y, edges, RULE, self.style.colours.rule);
            }
            let mut x = self.style.page.left;
            for (((column, width), cell), element) in panel.columns.iter().zip(&mut cells).zip(&elements) {
                self.sheet.part(Some(*element));
                let edges = (x + CELL_INSET, x + width - CELL_INSET);
                let part: Vec<TextLine> = cell.take(lines).collect();
                self.sheet.draw_lines(part, style, self.y + inset, edges, align_of(table, *column));
                x += width;
            }
            self.y += height;
            left_over -= lines;
            (is_first, is_on_new_page) = (false, false);
        }
        Ok(())
    }

    fn charts(&mut self, most_across: usize) -> anyhow::Result<()> {
        let charts = &self.document.charts;
        let across = charts.len().min(most_across);
        if across == 0 {
            return Ok(());
        }
        let colours = &self.style.colours;
        let sizes = &self.style.fonts;
        let label = Type::regular(sizes.chart, colours.muted);
        let look = ChartLook {
            height: if across == 1 { WIDE_CHART } else { NARROW_CHART },
            title: Type::bold(sizes.chart_title, colours.text),
            unit: Type::regular(sizes.chart + 0.5, colours.muted),
            title_gap: 11.0,
            label,
            last_label: label,
            axis_gap: 4.0,
            label_gaps: (5.0, 4.0),
            line: (HAIRLINE, colours.hairline),
            zero_line: (0.6, colours.muted),
            series: &colours.series,
            loss: colours.loss,
            last_bar: colours.series[0],
        };
        let (left, _) = self.edges();
        let width = (self.available() - BESIDE_CHARTS * count(across - 1)) / count(across);
        for (index, row) in charts.chunks(across).enumerate() {
            self.skip(if index == 0 { ABOVE_CHARTS } else { BETWEEN_CHARTS });
            let height = row.iter().map(|chart| look.height_of(chart)).fold(0.0, f32::max);
            self.ensure(height)?;
            for (column, chart) in row.iter().enumerate() {
                let figure = self.add(Role::Figure(in_words(chart)));
                self.sheet.part(Some(figure));
                let x = left + (width + BESIDE_CHARTS) * count(column);
                look.draw(&mut self.sheet, chart, self.document.locale, self.y, (x, x + width))?;
            }
            self.y += height;
        }
        Ok(())
    }

    fn notes(&mut self) -> anyhow::Result<()> {
        let style = Type::regular(self.style.fonts.notes, self.style.colours.muted);
        let edges = self.edges();
        for (index, note) in self.document.notes.iter().enumerate() {
            self.skip(if index == 0 { ABOVE_NOTES } else { BETWEEN_NOTES });
            let lines = self.sheet.lines_of(&cleaned(note), style, edges.1 - edges.0)?;
            self.paragraph(lines, style, edges, Role::Paragraph)?;
        }
        Ok(())
    }

    /// Draws what needs the number of pages, and writes the file.
    fn finish(mut self, created: DateTime<Tz>) -> anyhow::Result<Vec<u8>> {
        if self.file.page_count() == 0 || !self.sheet.marks.is_empty() {
            self.end_page()?;
        }
        let title = cleaned(&self.document.title);
        let pages = self.file.page_count();
        for page in 0..pages {
            self.sheet.part(None);
            let filled = |text: &str| {
                text.replace("{page}", &(page + 1).to_string())
                    .replace("{pages}", &pages.to_string())
                    .replace("{created}", &created.format("%Y-%m-%d").to_string())
                    .replace("{title}", &title)
            };
            let style = Type::regular(self.style.fonts.margin, self.style.colours.muted);
            let line = self.bottom() + ABOVE_FOOTER;
            if self.margin_texts(&self.style.footer, &filled, line + BELOW_FOOTER_LINE, style)? {
                self.sheet.rule(line, self.edges(), HAIRLINE, self.style.colours.hairline);
            }
            let top = (self.style.page.top - BELOW_HEADER - style.height_of(1)).max(0.0);
            self.margin_texts(&self.style.header, &filled, top, style)?;
            let marks = std::mem::take(&mut self.sheet.marks);
            self.file.add_marks(page, &marks, self.sheet.fonts, &mut self.structure)?;
        }
        let author = cleaned(&self.style.author);
        let about = About {
            name: &self.document.name,
            title: &title,
            author: &author,
            language: self.document.locale.tag(),
            created: created.to_utc(),
        };
        self.file.finish(&about, &self.bookmarks, &self.structure, self.sheet.fonts)
    }

    /// Draws the left and right text of a margin, and returns whether there were any.
    fn margin_texts(
        &mut self,
        texts: &MarginTexts,
        filled: &dyn Fn(&str) -> String,
        top: f32,
        style: Type,
    ) -> anyhow::Result<bool> {
        let (left, right) = self.edges();
        let [left_text, right_text] =
            [&texts.left, &texts.right].map(|text| cleaned(&filled(text.of(self.document.locale))));
        let right_width = self.sheet.width_of(&right_text, style)?.min((right - left) / 2.0);
        self.sheet.draw_text(&right_text, style, top, (left, right), Align::Right)?;
        self.sheet.draw_text(
            &left_text,
            style,
            top,
            (left, right - right_width - style.size),
            Align::Left,
        )?;
        Ok(!left_text.is_empty() || !right_text.is_empty())
    }
}

fn align_of(table: &ShownTable, column: usize) -> Align {
    if table.columns[column].is_figure { Align::Right } else { Align::Left }
}

/// The alternative text of a chart; its figures are in a table.
fn in_words(chart: &Chart) -> String {
    let days = match (chart.days.first(), chart.days.last()) {
        (Some(first), Some(last)) => format!(", {first} – {last}"),
        _ => String::new(),
    };
    let title = format!("{} ({})", chart.title, chart.unit);
    format!("{}{days}", cleaned(&shortened(&title, MAX_OUTLINE_CHARACTERS)))
}

fn logo_size(logo: &Logo, height: f32, widest: f32) -> (f32, f32) {
    #[expect(clippy::cast_precision_loss, reason = "pixels of a logo")]
    let ratio = logo.width as f32 / logo.height.max(1) as f32;
    let width = (height * ratio).min(widest);
    (width, width / ratio)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lines on a page")]
fn whole(number: f32) -> usize {
    number.max(0.0) as usize
}
