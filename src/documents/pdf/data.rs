//! The document as a template sees it: texts ready to show, charts ready to draw.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::documents::{Cell, Chart, Document, Series, Table, printable};
use crate::locale::{Locale, group_digits};

/// Tables up to this many characters wide stand upright; wider ones turn the page.
const PORTRAIT_CHARACTERS: usize = 96;
/// What a column takes beside its text, in characters.
const COLUMN_MARGIN: usize = 2;
/// Text columns wrap, so they count for no more than this when the page is chosen, in characters.
const WIDEST_TEXT: usize = 30;
/// About as many lines across a chart.
const TICKS: f64 = 5.0;
/// Days between two labels under a chart.
const LABELLED_DAYS: usize = 7;

/// Every text of the document that will be printed.
pub(super) fn texts(document: &Document) -> Vec<&str> {
    let mut texts = vec![document.title.as_str()];
    texts.extend(document.facts.iter().flat_map(|(label, value)| [label.as_str(), value.as_str()]));
    for table in &document.tables {
        texts.push(&table.title);
        texts.extend(table.columns.iter().map(|column| column.label.as_str()));
        for cell in table.rows.iter().flat_map(|row| &row.cells) {
            match cell {
                Cell::Text(text) | Cell::Money { currency: text, .. } => texts.push(text),
                Cell::Empty | Cell::Int(_) | Cell::Date(_) | Cell::Bool(_) => {}
            }
        }
    }
    for chart in &document.charts {
        texts.extend([chart.title.as_str(), chart.unit.as_str()]);
        texts.extend(chart.series.iter().map(|series| series.label.as_str()));
    }
    texts.extend(document.notes.iter().map(String::as_str));
    // Figures, and the words the page itself adds in each language.
    texts.push("0123456789.,-+/:()");
    texts.push(document.locale.pick("yesno", "はいいえ該当なし万億", "예아니요해당없음만억"));
    texts
}

/// Describes the document for the template; see `templates/pdf/report.typ` for what it makes of it.
pub(super) fn describe(document: &Document, families: &[String], created: DateTime<Utc>) -> Value {
    let locale = document.locale;
    let tables: Vec<Value> = document.tables.iter().map(|table| describe_table(table, locale)).collect();
    let charts: Vec<Value> = document.charts.iter().map(|chart| describe_chart(chart, locale)).collect();
    json!({
        "name": document.name,
        "title": printable(&document.title),
        "lang": locale.tag(),
        "region": locale.pick("US", "JP", "KR"),
        "created": created.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "fonts": families,
        "landscape": document.tables.iter().any(|table| is_wide(table, locale)),
        "facts": document.facts.iter().map(|(label, value)| [printable(label), printable(value)]).collect::<Vec<_>>(),
        "tables": tables,
        "charts": charts,
        "notes": document.notes.iter().map(|note| printable(note)).collect::<Vec<_>>(),
        "no_rows": locale.pick("(no rows)", "（該当なし）", "(해당 없음)"),
    })
}

/// Every text of charts alone.
pub(super) fn chart_texts(charts: &[Chart], locale: Locale) -> Vec<&str> {
    let mut texts: Vec<&str> =
        charts.iter().flat_map(|chart| [chart.title.as_str(), chart.unit.as_str()]).collect();
    texts.push("0123456789.,-+/()");
    texts.push(locale.pick("BKMJanFebMarAprMayJunJulAugSepOctNovDec", "万億", "만억"));
    texts
}

/// Describes charts alone; see `templates/pdf/picture.typ`.
pub(super) fn describe_picture(charts: &[Chart], locale: Locale, families: &[String]) -> Value {
    json!({
        "lang": locale.tag(),
        "region": locale.pick("US", "JP", "KR"),
        "fonts": families,
        "charts": charts.iter().map(|chart| describe_chart(chart, locale)).collect::<Vec<_>>(),
    })
}

fn describe_table(table: &Table, locale: Locale) -> Value {
    let displayed: Vec<Vec<String>> = table
        .displayed(locale)
        .into_iter()
        .map(|row| row.iter().map(|text| printable(text)).collect())
        .collect();
    let columns: Vec<Value> = table
        .columns
        .iter()
        .zip(table.headings())
        .enumerate()
        .map(|(index, (column, label))| {
            let cells = displayed.iter().filter_map(|row| row.get(index));
            // The template measures this one text instead of thousands.
            let widest = cells.max_by_key(|text| text.width()).cloned().unwrap_or_default();
            json!({
                "key": column.key,
                "label": printable(&label),
                "figure": column.kind.is_figure(),
                "date": column.kind == crate::documents::ColumnKind::Date,
                "widest": widest,
            })
        })
        .collect();
    let rows: Vec<Value> = displayed
        .into_iter()
        .zip(&table.rows)
        .map(|(cells, row)| json!({ "cells": cells, "emphasis": row.emphasis }))
        .collect();
    json!({ "key": table.key, "title": printable(&table.title), "columns": columns, "rows": rows })
}

fn is_wide(table: &Table, locale: Locale) -> bool {
    let displayed = table.displayed(locale);
    let column_width = |(index, label): (usize, String)| {
        let cells = displayed.iter().filter_map(|row| row.get(index)).map(|text| text.width());
        let word = label.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0);
        cells.chain([word]).max().unwrap_or(0).min(WIDEST_TEXT) + COLUMN_MARGIN
    };
    table.headings().into_iter().enumerate().map(column_width).sum::<usize>() > PORTRAIT_CHARACTERS
}

/// A chart with its heights already between 0 and 1, so that a template only draws.
fn describe_chart(chart: &Chart, locale: Locale) -> Value {
    let scale = Scale::of(&chart.series);
    let series: Vec<Value> = chart
        .series
        .iter()
        .map(|series| {
            let heights: Vec<Option<f64>> = series
                .values
                .iter()
                .map(|value| value.filter(|v| v.is_finite()).map(|v| scale.height(v)))
                .collect();
            json!({ "label": printable(&series.label), "values": series.values, "heights": heights })
        })
        .collect();
    let ticks: Vec<Value> = scale
        .ticks()
        .into_iter()
        .map(|value| json!({ "label": compact(value, locale), "height": scale.height(value) }))
        .collect();
    // Counted from the last day, which is the one the report is about.
    let last = chart.days.len().saturating_sub(1);
    let days: Vec<Value> = chart
        .days
        .iter()
        .enumerate()
        .map(|(index, day)| {
            let label = (last - index).is_multiple_of(LABELLED_DAYS).then(|| day_label(*day, locale));
            json!({ "date": day.to_string(), "label": label })
        })
        .collect();
    json!({
        "title": printable(&chart.title),
        "unit": printable(&chart.unit),
        "days": days,
        "series": series,
        "ticks": ticks,
        "zero": scale.height(0.0),
    })
}

fn day_label(day: NaiveDate, locale: Locale) -> String {
    let numbers = format!("{}/{}", day.month(), day.day());
    locale.pick(day.format("%-d %b").to_string(), numbers.clone(), numbers)
}

/// The range of a chart's values, always with zero in it: a bar that does not begin at zero lies.
struct Scale {
    bottom: f64,
    top: f64,
    step: f64,
}

impl Scale {
    fn of(series: &[Series]) -> Self {
        let values =
            || series.iter().flat_map(|series| series.values.iter().flatten()).filter(|v| v.is_finite());
        let highest = values().fold(0.0_f64, |highest, value| highest.max(*value));
        let lowest = values().fold(0.0_f64, |lowest, value| lowest.min(*value));
        if highest <= lowest {
            return Self { bottom: 0.0, top: 1.0, step: 1.0 };
        }
        let step = round_step((highest - lowest) / TICKS);
        Self { bottom: (lowest / step).floor() * step, top: (highest / step).ceil() * step, step }
    }

    fn height(&self, value: f64) -> f64 {
        (value - self.bottom) / (self.top - self.bottom)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut value = self.bottom;
        while value <= self.top + self.step / 2.0 {
            // A sum of steps may miss zero by a hair and would read `-0`.
            ticks.push(if value.abs() < self.step / 2.0 { 0.0 } else { value });
            value += self.step;
        }
        ticks
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let ratio = rough / power;
    let nice = if ratio <= 1.0 {
        1.0
    } else if ratio <= 2.0 {
        2.0
    } else if ratio <= 5.0 {
        5.0
    } else {
        10.0
    };
    nice * power
}

/// A figure short enough for an axis: `1.5M`, `150万`, `150만`.
fn compact(value: f64, locale: Locale) -> String {
    let thousands: &[(f64, &str)] = &[(1e9, "B"), (1e6, "M"), (1e3, "K")];
    let units = locale.pick(thousands, &[(1e8, "億"), (1e4, "万")], &[(1e8, "억"), (1e4, "만")]);
    let (divisor, suffix) = units.iter().copied().find(|(size, _)| value.abs() >= *size).unwrap_or((1.0, ""));
    let number = format!("{:.2}", value / divisor);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{}{suffix}", group_digits(number))
}
