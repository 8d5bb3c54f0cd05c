//! Draws marks as a picture.

use ab_glyph_rasterizer::{Point as RasterPoint, Rasterizer, point};
use anyhow::Context as _;
use read_fonts::model::pen::OutlinePen;
use read_fonts::ps::cff::CffFontRef;
use read_fonts::tables::glyf::{Anchor, CompositeGlyph, Glyph as Outline, SimpleGlyph};
use read_fonts::types::{GlyphId, Tag};
use read_fonts::{FontRef, TableProvider as _};

use super::fonts::{Face, Fonts};
use super::scene::{Colour, Mark, Point};

/// The depth of composite glyphs; no font nests deeper.
const MAX_LEVELS: usize = 6;

/// An RGB picture.
pub(super) struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels per point.
    scale: f32,
    bytes: Vec<u8>,
}

/// A part of a picture, in pixels.
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Pixels {
    /// A white picture.
    pub(super) fn new(width: usize, height: usize, scale: f32) -> Self {
        Self { width, height, scale, bytes: vec![u8::MAX; width * height * 3] }
    }

    /// Draws marks over the existing picture.
    pub(super) fn draw(&mut self, marks: &[Mark], fonts: &Fonts) -> anyhow::Result<()> {
        for mark in marks {
            match mark {
                Mark::Rectangle { corner, width, height, colour } => {
                    let Point { x, y } = *corner;
                    let (right, bottom) = (x + width, y + height);
                    let corners = [(x, y), (right, y), (right, bottom), (x, bottom)];
                    self.polygon(&corners.map(|(x, y)| Point { x, y }), *colour);
                }
                Mark::Line { from, to, thickness, colour } => {
                    let length = (to.x - from.x).hypot(to.y - from.y);
                    let half = thickness / 2.0;
                    // Along and across the line; a dot has no direction, so any will do.
                    let (along_x, along_y) = if length > 0.0 {
                        ((to.x - from.x) / length * half, (to.y - from.y) / length * half)
                    } else {
                        (half, 0.0)
                    };
                    let at = |point: &Point, along: f32, across: f32| Point {
                        x: point.x + along * along_x - across * along_y,
                        y: point.y + along * along_y + across * along_x,
                    };
                    let corners =
                        [at(from, -1.0, -1.0), at(to, 1.0, -1.0), at(to, 1.0, 1.0), at(from, -1.0, 1.0)];
                    self.polygon(&corners, *colour);
                }
                Mark::Text { at, size, colour, run } => {
                    let face = fonts.face(run.face);
                    let ink =
                        (at.x - size, at.y - 2.0 * size, at.x + (run.width() + 1.0) * size, at.y + size);
                    let area = self.area(ink);
                    let mut raster = Rasterizer::new(area.width, area.height);
                    let mut x = at.x;
                    for glyph in &run.glyphs {
                        let origin = Point { x: x + glyph.right * size, y: at.y - glyph.up * size };
                        let mut pen = Pen {
                            raster: &mut raster,
                            matrix: [size * self.scale, 0.0, 0.0, -size * self.scale],
                            origin: self.in_area(&area, origin),
                            units: f32::from(face.units_per_em),
                            first: point(0.0, 0.0),
                            last: point(0.0, 0.0),
                        };
                        outline(face, glyph.id, &mut pen)?;
                        x += glyph.advance * size;
                    }
                    self.paint(&area, &raster, *colour);
                }
                Mark::Logo { .. } | Mark::Part(_) => {}
            }
        }
        Ok(())
    }

    fn polygon(&mut self, corners: &[Point], colour: Colour) {
        let mut ink = (f32::MAX, f32::MAX, f32::MIN, f32::MIN);
        for corner in corners {
            ink = (ink.0.min(corner.x), ink.1.min(corner.y), ink.2.max(corner.x), ink.3.max(corner.y));
        }
        let area = self.area(ink);
        let mut raster = Rasterizer::new(area.width, area.height);
        let corners: Vec<RasterPoint> = corners.iter().map(|corner| self.in_area(&area, *corner)).collect();
        for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            raster.draw_line(*from, *to);
        }
        self.paint(&area, &raster, colour);
    }

    /// The pixels inside these edges (left, top, right, bottom, in points).
    fn area(&self, ink: (f32, f32, f32, f32)) -> Area {
        let pixel = |length: f32, most: usize| pixel_of(length * self.scale).min(most);
        let (left, top) = (pixel(ink.0, self.width), pixel(ink.1, self.height));
        let (right, bottom) = (pixel(ink.2 + 1.0, self.width), pixel(ink.3 + 1.0, self.height));
        Area { left, top, width: right.saturating_sub(left), height: bottom.saturating_sub(top) }
    }

    /// Converts a place in points to pixels of an area.
    #[expect(clippy::cast_precision_loss, reason = "pixels of a picture")]
    fn in_area(&self, area: &Area, place: Point) -> RasterPoint {
        point(place.x * self.scale - area.left as f32, place.y * self.scale - area.top as f32)
    }

    fn paint(&mut self, area: &Area, raster: &Rasterizer, colour: Colour) {
        let colour = [colour.red, colour.green, colour.blue];
        raster.for_each_pixel(|index, coverage| {
            if coverage > 0.001 {
                let (row, column) = (area.top + index / area.width, area.left + index % area.width);
                let first = (row * self.width + column) * 3;
                let Some(pixel) = self.bytes.get_mut(first..first + 3) else { return };
                for (below, above) in pixel.iter_mut().zip(colour) {
                    *below = mixed(*below, above, coverage.min(1.0));
                }
            }
        });
    }

    /// The picture as a PNG file.
    pub(super) fn into_png(self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder =
            png::Encoder::new(&mut bytes, u32::try_from(self.width)?, u32::try_from(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bytes)?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of a picture")]
fn pixel_of(length: f32) -> usize {
    length.max(0.0) as usize
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
fn mixed(below: u8, above: u8, coverage: f32) -> u8 {
    (f32::from(below) + (f32::from(above) - f32::from(below)) * coverage).round() as u8
}

/// Passes a glyph's outline to the rasterizer, in pixels.
struct Pen<'r> {
    raster: &'r mut Rasterizer,
    /// From em to pixels.
    matrix: [f32; 4],
    origin: RasterPoint,
    units: f32,
    first: RasterPoint,
    last: RasterPoint,
}

impl Pen<'_> {
    fn at(&self, x: f32, y: f32) -> RasterPoint {
        let (x, y) = (x / self.units, y / self.units);
        let [xx, yx, xy, yy] = self.matrix;
        point(self.origin.x + x * xx + y * xy, self.origin.y + x * yx + y * yy)
    }
}

impl OutlinePen for Pen<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        self.close();
        self.first = self.at(x, y);
        self.last = self.first;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        self.raster.draw_line(self.last, to);
        self.last = to;
    }

    fn quad_to(&mut self, cx0: f32, cy0: f32, x: f32, y: f32) {
        let (control, to) = (self.at(cx0, cy0), self.at(x, y));
        self.raster.draw_quad(self.last, control, to);
        self.last = to;
    }

    fn curve_to(&mut self, cx0: f32, cy0: f32, cx1: f32, cy1: f32, x: f32, y: f32) {
        let (one, two, to) = (self.at(cx0, cy0), self.at(cx1, cy1), self.at(x, y));
        self.raster.draw_cubic(self.last, one, two, to);
        self.last = to;
    }

    fn close(&mut self) {
        if self.last != self.first {
            self.raster.draw_line(self.last, self.first);
        }
        self.last = self.first;
    }
}

/// Draws the outline of a glyph, PostScript or TrueType.
fn outline(face: &Face, glyph: u16, pen: &mut Pen<'_>) -> anyhow::Result<()> {
    let font = face.font()?;
    let glyph = GlyphId::new(u32::from(glyph));
    if let Some(table) = font.table_data(Tag::new(b"CFF ")) {
        let font = CffFontRef::new_cff(table.as_bytes(), 0, None).context("unreadable outlines")?;
        let subfont =
            font.subfont(font.subfont_index(glyph).unwrap_or(0), &[]).context("unreadable outlines")?;
        font.draw(&subfont, glyph, &[], None, pen).context("an unreadable outline")?;
        pen.close();
        return Ok(());
    }
    true_type(&font, glyph, pen, MAX_LEVELS)
}

fn true_type(font: &FontRef<'_>, glyph: GlyphId, pen: &mut Pen<'_>, levels: usize) -> anyhow::Result<()> {
    let (loca, glyf) = (font.loca(None)?, font.glyf()?);
    match loca.get_glyf(glyph, &glyf)? {
        Some(Outline::Simple(simple)) => contours(&simple, pen),
        Some(Outline::Composite(composite)) if levels > 0 => components(font, &composite, pen, levels)?,
        _ => {}
    }
    Ok(())
}

fn components(
    font: &FontRef<'_>,
    composite: &CompositeGlyph<'_>,
    pen: &mut Pen<'_>,
    levels: usize,
) -> anyhow::Result<()> {
    for component in composite.components() {
        let (right, up) = match component.anchor {
            Anchor::Offset { x, y } => (f32::from(x), f32::from(y)),
            Anchor::Point { .. } => (0.0, 0.0),
        };
        let [xx, yx, xy, yy] = pen.matrix;
        let part = &component.transform;
        let [a, b, c, d] = [part.xx, part.yx, part.xy, part.yy].map(read_fonts::types::F2Dot14::to_f32);
        let mut inner = Pen {
            origin: pen.at(right, up),
            matrix: [xx * a + xy * b, yx * a + yy * b, xx * c + xy * d, yx * c + yy * d],
            raster: &mut *pen.raster,
            units: pen.units,
            first: pen.first,
            last: pen.last,
        };
        true_type(font, component.glyph.into(), &mut inner, levels - 1)?;
    }
    Ok(())
}

/// Draws the contours of a TrueType glyph: between two points off the curve lies one on it.
fn contours(glyph: &SimpleGlyph<'_>, pen: &mut Pen<'_>) {
    let points: Vec<_> = glyph.points().collect();
    let mut start = 0;
    for end in glyph.end_pts_of_contours() {
        let Some(contour) = points.get(start..=usize::from(end.get())) else { return };
        start = usize::from(end.get()) + 1;
        let at = |index: usize| {
            let point = contour[index % contour.len()];
            (f32::from(point.x), f32::from(point.y), point.on_curve)
        };
        if contour.is_empty() {
            continue;
        }
        let middle = |one: (f32, f32, bool), two: (f32, f32, bool)| {
            (f32::midpoint(one.0, two.0), f32::midpoint(one.1, two.1))
        };
        // Begin on the curve.
        let first_on = (0..contour.len()).find(|index| at(*index).2);
        let (from, x, y) = if let Some(index) = first_on {
            (index + 1, at(index).0, at(index).1)
        } else {
            let (x, y) = middle(at(contour.len() - 1), at(0));
            (0, x, y)
        };
        pen.move_to(x, y);
        let count = if first_on.is_some() { contour.len() - 1 } else { contour.len() };
        for index in from..from + count {
            let here = at(index);
            if here.2 {
                pen.line_to_unless_drawn(here);
                continue;
            }
            let next = at(index + 1);
            let is_last = index + 1 == from + count;
            let (to_x, to_y) = if is_last {
                (x, y)
            } else if next.2 {
                (next.0, next.1)
            } else {
                middle(here, next)
            };
            pen.quad_to(here.0, here.1, to_x, to_y);
        }
        pen.close();
    }
}

impl Pen<'_> {
    /// A point on the curve after a curve that ended there needs no line.
    fn line_to_unless_drawn(&mut self, point: (f32, f32, bool)) {
        if self.at(point.0, point.1) != self.last {
            self.line_to(point.0, point.1);
        }
    }
}
