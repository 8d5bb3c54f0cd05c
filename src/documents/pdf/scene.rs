//! What is drawn on a page, before it becomes a PDF or a picture. Places are points from the upper left corner.

use super::fonts::FaceId;

/// A colour of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) red: u8,
    pub(super) green: u8,
    pub(super) blue: u8,
}

/// A place: points to the right and down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

/// Something drawn.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A filled rectangle.
    Rectangle { corner: Point, width: f32, height: f32, colour: Colour },
    /// A straight line with round ends; a dot if both ends are the same.
    Line { from: Point, to: Point, thickness: f32, colour: Colour },
    /// Glyphs of one face, from the left end of their baseline.
    Text { at: Point, size: f32, colour: Colour, run: GlyphRun },
    /// The logo of the style.
    Logo { corner: Point, width: f32, height: f32 },
    /// The marks up to the next one of these belong to this element of the document's structure. Rules, backgrounds
    /// and what repeats on each page belong to none.
    Part(Option<ElementId>),
}

/// An element's place in [`super::structure::Structure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ElementId(pub(super) usize);

/// Glyphs of one face, in the order in which they are drawn, from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GlyphRun {
    pub(super) face: FaceId,
    /// The text of the glyphs, in reading order.
    pub(super) text: String,
    /// Where it begins in the text that it is a part of, in bytes.
    pub(super) text_start: usize,
    pub(super) glyphs: Vec<Glyph>,
}

/// One glyph of a run. Lengths are in em.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glyph {
    /// Its number in the font.
    pub(super) id: u16,
    /// How far it moves the pen.
    pub(super) advance: f32,
    /// How far it is placed to the right of the pen.
    pub(super) right: f32,
    /// How far it is placed above the pen.
    pub(super) up: f32,
    /// Where its characters begin in the run's text, in bytes.
    pub(super) start: usize,
    /// Where they end.
    pub(super) end: usize,
}

impl GlyphRun {
    /// How wide it is, in em.
    pub(super) fn width(&self) -> f32 {
        self.glyphs.iter().map(|glyph| glyph.advance).sum()
    }
}
