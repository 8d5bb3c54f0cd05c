//! Charts: bars for one series of values, lines for more, over the days below.

use chrono::{Datelike as _, NaiveDate};

use super::scene::{Colour, Mark, Point};
use super::sheet::{Align, CAPITALS, Sheet, Type, count};
use crate::documents::{Chart, Series};
use crate::locale::{Locale, group_digits};
use crate::printable::cleaned;

/// The approximate number of grid lines.
const TICKS: f64 = 5.0;
/// Days between two labels under a chart.
const LABELLED_DAYS: usize = 7;
/// A chart has no room for more days; only the last ones are drawn.
const MAX_DAYS: usize = 1_000;

/// How charts look on a page or in a picture.
pub(super) struct ChartLook<'a> {
    /// Of the values' area.
    pub(super) height: f32,
    pub(super) title: Type,
    /// What the values count, above on the right.
    pub(super) unit: Type,
    /// Below the title.
    pub(super) title_gap: f32,
    /// Days and values.
    pub(super) label: Type,
    /// The last day's label.
    pub(super) last_label: Type,
    /// Between the values' labels and the bars.
    pub(super) axis_gap: f32,
    /// Above and below the days' labels.
    pub(super) label_gaps: (f32, f32),
    /// Thickness and colour of the lines across.
    pub(super) line: (f32, Colour),
    /// Thickness and colour of the line at zero.
    pub(super) zero_line: (f32, Colour),
    /// One for each series.
    pub(super) series: &'a [Colour],
    /// Bars below zero.
    pub(super) loss: Colour,
    /// The last day's bar.
    pub(super) last_bar: Colour,
}

/// Thickness of a series' line.
const SERIES_LINE: f32 = 1.1;
/// Thickness of a lone value's dot.
const DOT: f32 = 2.0;

impl ChartLook<'_> {
    /// The height of a chart with its title, labels and legend.
    pub(super) fn height_of(&self, chart: &Chart) -> f32 {
        let labels = self.label_gaps.0 + self.label.size * CAPITALS + self.label_gaps.1;
        let legend = if chart.series.len() > 1 { self.unit.height_of(1) + self.label_gaps.0 } else { 0.0 };
        self.title.height_of(1) + self.title_gap + self.height + labels + legend
    }

    fn colour(&self, series: usize) -> Colour {
        self.series[series % self.series.len()]
    }

    /// Draws a chart between two edges, from `top` down.
    pub(super) fn draw(
        &self,
        sheet: &mut Sheet<'_>,
        chart: &Chart,
        locale: Locale,
        top: f32,
        edges: (f32, f32),
    ) -> anyhow::Result<()> {
        let unit = cleaned(&chart.unit);
        let unit_width = sheet.width_of(&unit, self.unit)?.min((edges.1 - edges.0) / 2.0);
        let title_edges = (edges.0, edges.1 - unit_width - self.unit.size);
        sheet.draw_text(&cleaned(&chart.title), self.title, top, title_edges, Align::Left)?;
        let unit_top = top + self.title.height_of(1) - self.unit.height_of(1);
        sheet.draw_text(&unit, self.unit, unit_top, (edges.1 - unit_width, edges.1), Align::Right)?;
        let top = top + self.title.height_of(1) + self.title_gap;

        let scale = Scale::of(&chart.series);
        let y = |value: f64| top + self.height * (1.0 - scale.height(value));
        let zero = y(0.0);
        let ticks: Vec<(f64, String)> =
            scale.ticks().into_iter().map(|value| (value, compact(value, locale))).collect();
        let mut axis: f32 = 0.0;
        for (_, label) in &ticks {
            axis = axis.max(sheet.width_of(label, self.label)?);
        }
        let left = edges.0 + axis + self.axis_gap;
        for (value, label) in &ticks {
            let is_zero = value.abs() < scale.step / 2.0;
            let (thickness, colour) = if is_zero { self.zero_line } else { self.line };
            sheet.rule(y(*value), (left, edges.1), thickness, colour);
            let label_top = y(*value) - CAPITALS * self.label.size / 2.0;
            sheet.draw_text(label, self.label, label_top, (edges.0, left - self.axis_gap), Align::Right)?;
        }

        let skipped = chart.days.len().saturating_sub(MAX_DAYS);
        let days = &chart.days[skipped..];
        let slot = (edges.1 - left) / count(days.len().max(1));
        self.draw_days(sheet, days, locale, (left, edges.1), top + self.height + self.label_gaps.0)?;
        if let [only] = chart.series.as_slice() {
            for (index, value) in values_of(only, skipped).enumerate() {
                if let Some(value) = value.filter(|value| *value != 0.0) {
                    let is_last = index + 1 == days.len();
                    let colour = match value < 0.0 {
                        true => self.loss,
                        false if is_last => self.last_bar,
                        false => self.colour(0),
                    };
                    let corner = Point { x: left + slot * (count(index) + 0.14), y: y(value).min(zero) };
                    sheet.rectangle(corner, slot * 0.72, (y(value) - zero).abs(), colour);
                }
            }
            return Ok(());
        }
        for (number, series) in chart.series.iter().enumerate() {
            let points = values_of(series, skipped).enumerate().map(|(index, value)| {
                value.map(|value| Point { x: left + slot * (count(index) + 0.5), y: y(value) })
            });
            draw_path(sheet, &points.collect::<Vec<_>>(), self.colour(number));
        }
        let legend = top + self.height + self.label_gaps.0 + self.label.size * CAPITALS + self.label_gaps.1;
        self.draw_legend(sheet, &chart.series, legend, edges)
    }

    /// Labels every seventh day, counted from the last, which is the one the chart is about.
    fn draw_days(
        &self,
        sheet: &mut Sheet<'_>,
        days: &[NaiveDate],
        locale: Locale,
        edges: (f32, f32),
        top: f32,
    ) -> anyhow::Result<()> {
        let slot = (edges.1 - edges.0) / count(days.len().max(1));
        // Many days: labels keep their distance, whatever the number of days between them.
        let apart = LABELLED_DAYS * days.len().div_ceil(LABELLED_DAYS * LABELLED_DAYS).max(1);
        for (index, day) in days.iter().enumerate() {
            let back = days.len() - 1 - index;
            if !back.is_multiple_of(apart) {
                continue;
            }
            let style = if back == 0 { self.last_label } else { self.label };
            let label = day_label(*day, locale);
            let width = sheet.width_of(&label, style)?;
            // Centred under its day, but never beyond the chart's edges.
            let left = (edges.0 + slot * (count(index) + 0.5) - width / 2.0).min(edges.1 - width);
            sheet.draw_text(&label, style, top, (left, left + width + 0.1), Align::Left)?;
        }
        Ok(())
    }

    fn draw_legend(
        &self,
        sheet: &mut Sheet<'_>,
        series: &[Series],
        top: f32,
        edges: (f32, f32),
    ) -> anyhow::Result<()> {
        let size = self.unit.size;
        let mut x = edges.0;
        for (number, series) in series.iter().enumerate() {
            let label = cleaned(&series.label);
            let width = sheet.width_of(&label, self.unit)?;
            let y = top + CAPITALS * size / 2.0;
            let (from, to) = (Point { x, y }, Point { x: x + 1.4 * size, y });
            sheet.marks.push(Mark::Line { from, to, thickness: 1.4, colour: self.colour(number) });
            x += 1.9 * size;
            sheet.draw_text(&label, self.unit, top, (x, (x + width + 0.1).min(edges.1)), Align::Left)?;
            x += width + 1.4 * size;
            if x >= edges.1 {
                break;
            }
        }
        Ok(())
    }
}

fn values_of(series: &Series, skipped: usize) -> impl Iterator<Item = Option<f64>> {
    series.values.iter().skip(skipped).map(|value| value.filter(|value| value.is_finite()))
}

/// Draws a line through the points; a gap where one is missing, a dot where one stands alone.
fn draw_path(sheet: &mut Sheet<'_>, points: &[Option<Point>], colour: Colour) {
    for (index, point) in points.iter().enumerate() {
        let Some(from) = *point else { continue };
        let next = points.get(index + 1).copied().flatten();
        let before = if index > 0 { points[index - 1] } else { None };
        match next {
            Some(to) => sheet.marks.push(Mark::Line { from, to, thickness: SERIES_LINE, colour }),
            None if before.is_none() => {
                sheet.marks.push(Mark::Line { from, to: from, thickness: DOT, colour });
            }
            None => {}
        }
    }
}

fn day_label(day: NaiveDate, locale: Locale) -> String {
    let numbers = format!("{}/{}", day.month(), day.day());
    locale.pick(day.format("%-d %b").to_string(), numbers.clone(), numbers)
}

/// The range of a chart's values, always with zero in it: a bar that does not begin at zero is misleading.
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
        let range = highest - lowest;
        // All zeros, or a range too large to draw.
        if range <= 0.0 || !range.is_finite() {
            return Self { bottom: 0.0, top: 1.0, step: 1.0 };
        }
        let step = round_step(range / TICKS);
        Self { bottom: (lowest / step).floor() * step, top: (highest / step).ceil() * step, step }
    }

    /// Between 0 (bottom) and 1 (top).
    #[expect(clippy::cast_possible_truncation, reason = "a share of a height in points")]
    fn height(&self, value: f64) -> f32 {
        (((value - self.bottom) / (self.top - self.bottom)) as f32).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut value = self.bottom;
        while value <= self.top + self.step / 2.0 {
            // A sum of steps may just miss zero and would be shown as `-0`.
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
    let number = value / divisor;
    // Two digits of a small one too: thousandths of a dinar are a step of their own.
    let decimals = if number.abs() >= 1.0 || number == 0.0 { 2 } else { whole(-number.abs().log10()) + 2 };
    let number = format!("{number:.decimals$}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{}{suffix}", group_digits(number))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the zeros of a small figure")]
fn whole(number: f64) -> usize {
    number.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> [Series; 1] {
        [Series { label: String::new(), values: values.iter().copied().map(Some).collect() }]
    }

    #[test]
    fn the_axis_holds_zero_and_every_value() {
        assert_eq!(Scale::of(&series(&[3.0, 17.0])).ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Scale::of(&series(&[-30.0, 70.0])).ticks(), [-40.0, -20.0, 0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(Scale::of(&series(&[0.0])).ticks(), [0.0, 1.0]);
        assert_eq!(Scale::of(&series(&[f64::NAN, f64::INFINITY])).ticks(), [0.0, 1.0]);
        assert_eq!(Scale::of(&series(&[f64::MAX, f64::MIN])).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn figures_on_an_axis_are_short_in_each_language() {
        let of = |value| Locale::ALL.map(|locale| compact(value, locale));
        assert_eq!(of(1_500_000.0), ["1.5M", "150万", "150만"]);
        assert_eq!(of(0.0005), ["0.0005"; 3]);
        assert_eq!(of(-0.25), ["-0.25"; 3]);
        assert_eq!(of(0.0), ["0"; 3]);
        assert_eq!(of(-250_000_000.0), ["-250M", "-2.5億", "-2.5억"]);
        assert_eq!(of(0.0), ["0", "0", "0"]);
    }
}
