//! Tables: how wide each column must be, and how columns that do not fit are arranged.

use unicode_width::UnicodeWidthStr;

use super::sheet::{Sheet, Type, count};
use crate::documents::{CURRENCY_COLUMN_KEY, ColumnKind, Table, phrases};
use crate::locale::Locale;
use crate::printable::cleaned;

/// Blank space left and right of each cell, in points.
pub(super) const CELL_INSET: f32 = 3.5;
/// How many of a column's longest texts are measured: which one is widest depends on the letters. Enough for every
/// currency of a table.
const MEASURED_TEXTS: usize = 40;
/// Tables up to this many characters wide fit a portrait page; wider ones make it landscape.
const PORTRAIT_CHARACTERS: usize = 96;
/// The space between columns, in characters.
const COLUMN_MARGIN: usize = 2;
/// Text columns wrap, so they count for no more than this when the page is chosen, in characters.
const MAX_TEXT: usize = 30;
/// A text column is not squeezed below this, at 10 points.
const MIN_TEXT: f32 = 90.0;
/// Each column gets up to this many times the font size of spare width; the first text column gets the rest.
const MAX_SPARE: f32 = 1.6;
/// A heading of a figure column stays on one line unless it is wider than this many times the figures.
const MAX_HEADING: f32 = 1.5;
/// The step from one font size to the next smaller one.
const SIZE_STEP: f32 = 0.5;
/// The size that columns are measured at.
const MEASURED_AT: f32 = 10.0;

/// A table as a reader sees it.
pub(super) struct ShownTable {
    pub(super) title: String,
    pub(super) columns: Vec<ShownColumn>,
    pub(super) rows: Vec<ShownRow>,
}

pub(super) struct ShownColumn {
    pub(super) label: String,
    /// Lines up on the right.
    pub(super) is_figure: bool,
    is_date: bool,
    is_currency: bool,
}

pub(super) struct ShownRow {
    pub(super) cells: Vec<String>,
    pub(super) emphasis: bool,
}

/// What a column needs at 10 points: `least` before words or figures would break, `most` to fit on one line.
#[derive(Clone, Copy)]
struct Need {
    least: f32,
    most: f32,
}

/// Columns placed side by side, with their widths.
pub(super) struct Panel {
    /// Each column's place in the table, and its width with the blank space around it, in points.
    pub(super) columns: Vec<(usize, f32)>,
    pub(super) size: f32,
}

impl ShownTable {
    pub(super) fn of(table: &Table, locale: Locale) -> Self {
        let columns = table.columns.iter().zip(table.headings()).map(|(column, label)| ShownColumn {
            label: cleaned(&label),
            is_figure: column.kind.is_figure(),
            is_date: column.kind == ColumnKind::Date,
            is_currency: column.key == CURRENCY_COLUMN_KEY,
        });
        let rows = table.displayed(locale).into_iter().zip(&table.rows).map(|(cells, row)| ShownRow {
            cells: cells.iter().map(|text| cleaned(text)).collect(),
            emphasis: row.emphasis,
        });
        Self { title: cleaned(&table.title), columns: columns.collect(), rows: rows.collect() }
    }

    /// Whether it needs a landscape page.
    pub(super) fn is_wide(&self) -> bool {
        let width = |(index, column): (usize, &ShownColumn)| {
            let word = phrases::narrowest(&column.label);
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index)).map(|cell| cell.width());
            cells.chain([word]).max().unwrap_or(0).min(MAX_TEXT) + COLUMN_MARGIN
        };
        self.columns.iter().enumerate().map(width).sum::<usize>() > PORTRAIT_CHARACTERS
    }

    /// Arranges the columns in the available width, in the largest size that fits. A table that is too wide even in
    /// the smallest size is split into several panels, one below the other, so that nothing is cut off.
    pub(super) fn panels(
        &self,
        sheet: &mut Sheet<'_>,
        style: Type,
        (largest, smallest): (f32, f32),
        available: f32,
    ) -> anyhow::Result<Vec<Panel>> {
        let needs = self.needs(sheet, style)?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let mut size = largest;
        while size >= smallest {
            if let Some(columns) = self.widths(&all, &needs, size, available) {
                return Ok(vec![Panel { columns, size }]);
            }
            size -= SIZE_STEP;
        }
        let size = largest.min(smallest + 2.0 * SIZE_STEP);
        let fixed = self.fixed_columns(&needs, size, available);
        let mut groups = vec![fixed.clone()];
        for index in all.into_iter().filter(|index| !fixed.contains(index)) {
            let Some(last) = groups.last_mut() else { break };
            let grown: Vec<usize> = last.iter().copied().chain([index]).collect();
            if *last == fixed || self.widths(&grown, &needs, size, available).is_some() {
                *last = grown;
            } else {
                groups.push(fixed.iter().copied().chain([index]).collect());
            }
        }
        let panels = groups.into_iter().map(|group| {
            let columns = self.widths(&group, &needs, size, available).unwrap_or_else(|| {
                // Columns that are still too wide share the page, and their texts wrap.
                let room = available - 2.0 * CELL_INSET * count(group.len());
                let wish: f32 = group.iter().map(|index| needs[*index].least).sum();
                let share = |index: usize| room * needs[index].least / wish + 2.0 * CELL_INSET;
                group.iter().map(|index| (*index, share(*index))).collect()
            });
            Panel { columns, size }
        });
        Ok(panels.collect())
    }

    /// The columns that every panel begins with: what a row is about, as far as half a page has room for it, and what its
    /// amounts count.
    fn fixed_columns(&self, needs: &[Need], size: f32, available: f32) -> Vec<usize> {
        let mut fixed = Vec::new();
        let mut taken = 0.0;
        let leading = self.columns.iter().take_while(|column| !column.is_figure).count();
        for (index, column) in self.columns.iter().enumerate() {
            let width = needs[index].least * size / MEASURED_AT + 2.0 * CELL_INSET;
            let has_room = index < leading && taken + width <= available / 2.0;
            if index == 0 || column.is_currency || has_room {
                fixed.push(index);
                taken += width;
            }
        }
        fixed
    }

    /// Measures what each column needs, in bold as in total rows.
    fn needs(&self, sheet: &mut Sheet<'_>, style: Type) -> anyhow::Result<Vec<Need>> {
        let style = Type::bold(MEASURED_AT, style.colour);
        let mut needs = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let mut longest: Vec<(usize, &str)> = Vec::new();
            for row in &self.rows {
                let cell = row.cells.get(index).map_or("", String::as_str);
                let width = cell.width();
                let is_among_longest =
                    longest.len() < MEASURED_TEXTS || longest.last().is_some_and(|(least, _)| width > *least);
                if is_among_longest && longest.iter().all(|(_, other)| *other != cell) {
                    let place = longest.partition_point(|(other, _)| *other >= width);
                    longest.insert(place, (width, cell));
                    longest.truncate(MEASURED_TEXTS);
                }
            }
            let mut cells: f32 = 0.0;
            for (_, text) in longest {
                cells = cells.max(sheet.width_of(text, style)?);
            }
            let heading = sheet.widest_phrase(&column.label, style)?;
            let least_and_wish = cells.max(heading);
            needs.push(if column.is_figure || column.is_date {
                let label = sheet.width_of(&column.label, style)?;
                Need { least: least_and_wish, most: least_and_wish.max(label.min(MAX_HEADING * cells)) }
            } else {
                Need { least: heading.max(cells.min(MIN_TEXT)), most: least_and_wish }
            });
        }
        Ok(needs)
    }

    /// The widths of these columns at a font size; none if they do not fit.
    fn widths(
        &self,
        group: &[usize],
        needs: &[Need],
        size: f32,
        available: f32,
    ) -> Option<Vec<(usize, f32)>> {
        let scale = size / MEASURED_AT;
        let room = available - 2.0 * CELL_INSET * count(group.len());
        let least: f32 = group.iter().map(|index| needs[*index].least * scale).sum();
        let most: f32 = group.iter().map(|index| needs[*index].most * scale).sum();
        if least > room {
            return None;
        }
        let is_text = |column: &ShownColumn| !column.is_figure && !column.is_date && !column.is_currency;
        // The longest texts: a name, not the code before it.
        let texts = (0..group.len()).filter(|place| is_text(&self.columns[group[*place]])).rev();
        let taker = texts.max_by(|one, other| needs[group[*one]].most.total_cmp(&needs[group[*other]].most));
        let taker = taker.unwrap_or(0);
        let widths = group.iter().enumerate().map(|(place, &index)| {
            let Need { least: own_least, most: own_most } = needs[index];
            let (own_least, own_most) = (own_least * scale, own_most * scale);
            let width = if most > room {
                own_least + (own_most - own_least) * (room - least) / (most - least)
            } else {
                // Spare width goes to the first text column, except for a little that keeps figures apart.
                let spare = room - most;
                let each = (spare / count(group.len())).min(MAX_SPARE * size);
                let rest = spare - each * count(group.len());
                own_most + each + if place == taker { rest } else { 0.0 }
            };
            (index, width + 2.0 * CELL_INSET)
        });
        Some(widths.collect())
    }
}
