//! Collects marks: measures and sets texts, draws rules and boxes.

use super::fonts::{Fonts, Weight};
use super::scene::{Colour, ElementId, Mark, Point};
use super::text::{self, TextLine};
use crate::documents::phrases::phrases;
use crate::printable::shortened;

/// The height of capitals in em: where a line's top is.
pub(super) const CAPITALS: f32 = 0.733;
/// From one line's baseline to the next one's, in em.
pub(super) const LINE_PITCH: f32 = CAPITALS + 0.55;

/// No line of a page has room for more characters.
const MAX_LINE_CHARACTERS: usize = 1_000;

/// A text fits into a width this much smaller than its own, since sums of fractions are not exact.
const ROUNDING: f32 = 0.01;

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Type {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) colour: Colour,
}

/// Where a line is placed between two edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// What is drawn so far, and the fonts to draw with.
pub(super) struct Sheet<'f> {
    pub(super) fonts: &'f mut Fonts,
    pub(super) marks: Vec<Mark>,
}

impl Type {
    pub(super) fn regular(size: f32, colour: Colour) -> Self {
        Self { size, weight: Weight::Regular, colour }
    }

    pub(super) fn bold(size: f32, colour: Colour) -> Self {
        Self { size, weight: Weight::Bold, colour }
    }

    /// The height of this many lines, from the top of the first one's capitals to the last one's baseline.
    pub(super) fn height_of(self, lines: usize) -> f32 {
        self.size * (CAPITALS + LINE_PITCH * count(lines.saturating_sub(1)))
    }
}

impl Sheet<'_> {
    /// How wide a text is on one line, in points.
    pub(super) fn width_of(&mut self, text: &str, style: Type) -> anyhow::Result<f32> {
        Ok(text::width_of(self.fonts, text, style.weight)? * style.size)
    }

    /// Breaks a text into lines of this width.
    pub(super) fn lines_of(&mut self, text: &str, style: Type, width: f32) -> anyhow::Result<Vec<TextLine>> {
        text::set_lines(self.fonts, text, style.weight, (width + ROUNDING) / style.size)
    }

    /// Breaks the heading of a column into lines, between its words.
    pub(super) fn heading_lines(
        &mut self,
        heading: &str,
        style: Type,
        width: f32,
    ) -> anyhow::Result<Vec<TextLine>> {
        let mut lines = vec![String::new()];
        for phrase in phrases(heading) {
            let Some(last) = lines.last_mut() else { break };
            let longer = format!("{last}{phrase}");
            if last.is_empty() || self.width_of(longer.trim_end(), style)? <= width + ROUNDING {
                *last = longer;
            } else {
                lines.push(phrase.to_owned());
            }
        }
        let set = |line: String| text::set_broken_line(self.fonts, &line, style.weight);
        lines.into_iter().map(set).collect()
    }

    /// The width of a heading's widest word, below which it would have to break inside one.
    pub(super) fn widest_phrase(&mut self, heading: &str, style: Type) -> anyhow::Result<f32> {
        let mut widest: f32 = 0.0;
        for phrase in phrases(heading) {
            widest = widest.max(self.width_of(phrase.trim_end(), style)?);
        }
        Ok(widest)
    }

    /// Draws a line with the top of its capitals at `top`, between two edges.
    pub(super) fn draw_line(
        &mut self,
        line: TextLine,
        style: Type,
        top: f32,
        edges: (f32, f32),
        align: Align,
    ) {
        let mut x = match align {
            Align::Left => edges.0,
            Align::Right => edges.1 - line.width * style.size,
        };
        let y = top + CAPITALS * style.size;
        for run in line.runs {
            let width = run.width() * style.size;
            self.marks.push(Mark::Text { at: Point { x, y }, size: style.size, colour: style.colour, run });
            x += width;
        }
    }

    /// Draws lines below each other.
    pub(super) fn draw_lines(
        &mut self,
        lines: Vec<TextLine>,
        style: Type,
        top: f32,
        edges: (f32, f32),
        align: Align,
    ) {
        for (index, line) in lines.into_iter().enumerate() {
            self.draw_line(line, style, top + style.size * LINE_PITCH * count(index), edges, align);
        }
    }

    /// Draws a text on one line, cut with an ellipsis where it is too wide.
    pub(super) fn draw_text(
        &mut self,
        text: &str,
        style: Type,
        top: f32,
        edges: (f32, f32),
        align: Align,
    ) -> anyhow::Result<()> {
        let width = edges.1 - edges.0;
        let text = &*shortened(text, MAX_LINE_CHARACTERS);
        let mut line = text::set_line(self.fonts, text, style.weight)?;
        if line.width * style.size > width + ROUNDING {
            let ellipsis = self.width_of("…", style)?;
            let mut lines = self.lines_of(text, style, (width - ellipsis).max(0.0))?.into_iter();
            let first: String =
                lines.next().iter().flat_map(|line| &line.runs).map(|run| run.text.as_str()).collect();
            line = text::set_line(self.fonts, &format!("{first}…"), style.weight)?;
        }
        self.draw_line(line, style, top, edges, align);
        Ok(())
    }

    pub(super) fn rectangle(&mut self, corner: Point, width: f32, height: f32, colour: Colour) {
        self.marks.push(Mark::Rectangle { corner, width, height, colour });
    }

    /// Draws a line from left to right, centred on `y`.
    pub(super) fn rule(&mut self, y: f32, edges: (f32, f32), thickness: f32, colour: Colour) {
        let corner = Point { x: edges.0, y: y - thickness / 2.0 };
        self.rectangle(corner, edges.1 - edges.0, thickness, colour);
    }

    /// Assigns the following marks to this element; without one they are decoration.
    pub(super) fn part(&mut self, element: Option<ElementId>) {
        self.marks.push(Mark::Part(element));
    }
}

/// A small count as a factor of lengths.
pub(super) fn count(number: usize) -> f32 {
    u16::try_from(number).map_or(f32::from(u16::MAX), f32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::pdf::FontFolders;
    use crate::locale::Locale;

    #[test]
    fn a_heading_is_not_broken_inside_a_word_however_narrow_its_column() {
        let mut fonts = Fonts::new(Locale::Ja, &[], FontFolders::default()).unwrap();
        let mut sheet = Sheet { fonts: &mut fonts, marks: Vec::new() };
        let style = Type::bold(10.0, Colour { red: 0, green: 0, blue: 0 });
        let mut lines = |heading: &str, width: f32| -> Vec<String> {
            let text = |line: &TextLine| line.runs.iter().map(|run| run.text.as_str()).collect::<String>();
            sheet.heading_lines(heading, style, width).unwrap().iter().map(text).collect()
        };
        assert_eq!(lines("純売上（税込）", 71.0), ["純売上（税込）"]);
        for width in [69.0, 41.0, 39.0, 20.0, 1.0] {
            assert_eq!(lines("純売上（税込）", width), ["純売上", "（税込）"], "{width}");
        }
        assert_eq!(lines("平均注文単価", 41.0), ["平均注文", "単価"]);
        assert_eq!(lines("平均注文単価", 5.0), ["平均", "注文", "単価"]);
    }
}
