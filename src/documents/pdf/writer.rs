//! Writes pages of marks as a PDF file: content, fonts cut down to what is used, structure, bookmarks.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{
    CidFontType, FontFlags, LineCapStyle, SystemInfo, TabOrder, TableHeaderScope, UnicodeCmap,
};
use pdf_writer::{Content, Date, Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use read_fonts::TableProvider as _;
use read_fonts::types::Tag;
use sha2::{Digest as _, Sha256};
use subsetter::GlyphRemapper;

use super::fonts::{Face, FaceId, Fonts};
use super::images::Logo;
use super::scene::{Colour, ElementId, GlyphRun, Mark, Point};
use super::structure::{Child, Role, Structure};

/// A document's metadata.
pub(super) struct About<'a> {
    /// Its file name without the extension.
    pub(super) name: &'a str,
    pub(super) title: &'a str,
    /// The organisation or person named in the style; none if it is empty.
    pub(super) author: &'a str,
    /// BCP 47.
    pub(super) language: &'a str,
    pub(super) created: DateTime<Utc>,
}

/// A heading to jump to.
pub(super) struct Bookmark {
    pub(super) title: String,
    pub(super) page: usize,
    pub(super) y: f32,
}

/// A PDF being written. Pages are written as they come, so that a long document needs little memory.
pub(super) struct PdfFile {
    pdf: Pdf,
    last_ref: i32,
    pages: Vec<Page>,
    fonts: BTreeMap<FaceId, EmbeddedFont>,
    logo: Option<Ref>,
    /// The element of each numbered piece of content, by page.
    marked: Vec<Vec<ElementId>>,
}

struct Page {
    id: Ref,
    width: f32,
    height: f32,
    contents: Vec<Ref>,
}

/// The part of a font that the document uses.
struct EmbeddedFont {
    id: Ref,
    remapper: GlyphRemapper,
    /// The text that each glyph represents, by its new number.
    texts: BTreeMap<u16, String>,
    /// The width of each glyph in thousandths of an em, by its new number.
    widths: BTreeMap<u16, f32>,
}

/// Identity mapping of codes to glyphs.
const SYSTEM_INFO: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

impl PdfFile {
    pub(super) fn new() -> Self {
        let mut pdf = Pdf::new();
        pdf.set_version(1, 7);
        Self { pdf, last_ref: 0, pages: Vec::new(), fonts: BTreeMap::new(), logo: None, marked: Vec::new() }
    }

    fn next_ref(&mut self) -> Ref {
        self.last_ref += 1;
        Ref::new(self.last_ref)
    }

    /// How many pages there are.
    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Adds a page.
    pub(super) fn add_page(
        &mut self,
        width: f32,
        height: f32,
        marks: &[Mark],
        fonts: &Fonts,
        structure: &mut Structure,
    ) -> anyhow::Result<()> {
        let id = self.next_ref();
        self.pages.push(Page { id, width, height, contents: Vec::new() });
        self.marked.push(Vec::new());
        self.add_marks(self.pages.len() - 1, marks, fonts, structure)
    }

    /// Adds marks to an existing page, such as the footer with the number of pages.
    pub(super) fn add_marks(
        &mut self,
        page: usize,
        marks: &[Mark],
        fonts: &Fonts,
        structure: &mut Structure,
    ) -> anyhow::Result<()> {
        let mut painter =
            Painter { content: Content::new(), height: self.pages[page].height, fill: None, stroke: None };
        let mut is_open = false;
        for mark in marks {
            match mark {
                Mark::Part(part) => {
                    if is_open {
                        painter.content.end_marked_content();
                    }
                    is_open = true;
                    match part {
                        Some(element) => {
                            let number = i32::try_from(self.marked[page].len())?;
                            self.marked[page].push(*element);
                            structure.place(*element, page, number);
                            let role = structure.elements[element.0].role.in_pdf().to_name();
                            painter
                                .content
                                .begin_marked_content_with_properties(role)
                                .properties()
                                .identify(number);
                        }
                        None => {
                            painter.content.begin_marked_content(Name(b"Artifact"));
                        }
                    }
                }
                Mark::Rectangle { corner, width, height, colour } => {
                    painter.fill(*colour);
                    let bottom = painter.height - corner.y - height;
                    painter.content.rect(corner.x, bottom, *width, *height).fill_nonzero();
                }
                Mark::Line { from, to, thickness, colour } => painter.line(*from, *to, *thickness, *colour),
                Mark::Logo { corner, width, height } => {
                    let bottom = painter.height - corner.y - height;
                    painter.content.save_state().transform([*width, 0.0, 0.0, *height, corner.x, bottom]);
                    painter.content.x_object(Name(b"Logo")).restore_state();
                }
                Mark::Text { at, size, colour, run } => {
                    painter.fill(*colour);
                    let face = fonts.face(run.face);
                    if !self.fonts.contains_key(&run.face) {
                        let font = EmbeddedFont::new(self.next_ref());
                        self.fonts.insert(run.face, font);
                    }
                    if let Some(font) = self.fonts.get_mut(&run.face) {
                        painter.text(*at, *size, run, face, font);
                    }
                }
            }
        }
        if is_open {
            painter.content.end_marked_content();
        }
        let id = self.next_ref();
        let bytes = compressed(&painter.content.finish())?;
        self.pdf.stream(id, &bytes).filter(Filter::FlateDecode);
        self.pages[page].contents.push(id);
        Ok(())
    }

    /// Adds the picture that [`Mark::Logo`] draws.
    pub(super) fn add_logo(&mut self, logo: &Logo) -> anyhow::Result<()> {
        let id = self.next_ref();
        let mask = logo.opacity.as_ref().map(|_| self.next_ref());
        let bytes = if logo.is_jpeg { logo.pixels.clone() } else { compressed(&logo.pixels)? };
        let mut image = self.pdf.image_xobject(id, &bytes);
        image.filter(if logo.is_jpeg { Filter::DctDecode } else { Filter::FlateDecode });
        image.width(i32::try_from(logo.width)?).height(i32::try_from(logo.height)?).bits_per_component(8);
        if logo.is_grey {
            image.color_space().device_gray();
        } else {
            image.color_space().device_rgb();
        }
        if let Some(mask) = mask {
            image.s_mask(mask);
        }
        image.finish();
        if let (Some(mask), Some(opacity)) = (mask, &logo.opacity) {
            let bytes = compressed(opacity)?;
            let mut image = self.pdf.image_xobject(mask, &bytes);
            image.filter(Filter::FlateDecode);
            image.width(i32::try_from(logo.width)?).height(i32::try_from(logo.height)?).bits_per_component(8);
            image.color_space().device_gray();
        }
        self.logo = Some(id);
        Ok(())
    }

    /// Writes what all pages share, and returns the file.
    pub(super) fn finish(
        mut self,
        about: &About<'_>,
        bookmarks: &[Bookmark],
        structure: &Structure,
        fonts: &Fonts,
    ) -> anyhow::Result<Vec<u8>> {
        let tree = self.next_ref();
        let resources = self.next_ref();
        self.write_resources(resources);
        self.write_pages(tree, resources);
        for (id, font) in std::mem::take(&mut self.fonts) {
            self.write_font(fonts.face(id), &font)
                .with_context(|| format!("failed to embed the font {}", fonts.face(id).post_script_name))?;
        }
        let outline = if bookmarks.is_empty() { None } else { Some(self.write_outline(bookmarks)?) };
        let root = self.write_structure(structure)?;
        let info = self.next_ref();
        self.write_info(info, about);
        let catalog_id = self.next_ref();
        let mut catalog = self.pdf.catalog(catalog_id);
        catalog.pages(tree).lang(TextStr(about.language));
        catalog.viewer_preferences().display_doc_title(true);
        catalog.mark_info().marked(true);
        catalog.pair(Name(b"StructTreeRoot"), root);
        if let Some(outline) = outline {
            catalog.outlines(outline);
        }
        catalog.finish();
        // Derived from the content, so that the same content is the same file.
        let mut digest = Sha256::new();
        digest.update(about.name.as_bytes());
        digest.update(self.pdf.as_bytes());
        let identity = digest.finalize()[..16].to_vec();
        self.pdf.set_file_id((identity.clone(), identity));
        Ok(self.pdf.finish())
    }

    fn write_resources(&mut self, id: Ref) {
        let mut resources = self.pdf.indirect(id).start::<pdf_writer::writers::Resources<'_>>();
        let mut fonts = resources.fonts();
        for (face, font) in &self.fonts {
            fonts.pair(Name(font_name(*face).as_bytes()), font.id);
        }
        fonts.finish();
        if let Some(logo) = self.logo {
            resources.x_objects().pair(Name(b"Logo"), logo);
        }
    }

    fn write_pages(&mut self, tree: Ref, resources: Ref) {
        let count = i32::try_from(self.pages.len()).unwrap_or(i32::MAX);
        self.pdf.pages(tree).kids(self.pages.iter().map(|page| page.id)).count(count);
        for (number, page) in (0..).zip(&self.pages) {
            let mut written = self.pdf.page(page.id);
            written.parent(tree).media_box(Rect::new(0.0, 0.0, page.width, page.height));
            written.pair(Name(b"Resources"), resources);
            written.contents_array(page.contents.iter().copied());
            written.struct_parents(number);
            written.tab_order(TabOrder::StructureOrder);
        }
    }

    fn write_font(&mut self, face: &Face, font: &EmbeddedFont) -> anyhow::Result<()> {
        let [cid, descriptor, file, cmap] = std::array::from_fn(|_| self.next_ref());
        let subset = subsetter::subset(&face.data, face.index, &font.remapper)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let is_post_script = face.is_post_script();
        let data = if is_post_script {
            let font = read_fonts::FontRef::new(&subset).context("its part cannot be read")?;
            font.table_data(Tag::new(b"CFF ")).context("its part has no outlines")?.as_bytes().to_vec()
        } else {
            subset
        };
        // The name of a font subset begins with six letters that identify the subset.
        let digest = Sha256::digest(&data);
        let mut name: String = digest[..6].iter().map(|byte| char::from(b'A' + byte % 26)).collect();
        name.push('+');
        name.push_str(&face.post_script_name);

        let kind = if is_post_script { CidFontType::Type0 } else { CidFontType::Type2 };
        let base = if is_post_script { format!("{name}-Identity-H") } else { name.clone() };
        self.pdf
            .type0_font(font.id)
            .base_font(Name(base.as_bytes()))
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid)
            .to_unicode(cmap);
        let mut written = self.pdf.cid_font(cid);
        written
            .subtype(kind)
            .base_font(Name(name.as_bytes()))
            .system_info(SYSTEM_INFO)
            .font_descriptor(descriptor);
        written.default_width(0.0);
        if !is_post_script {
            written.cid_to_gid_map_predefined(Name(b"Identity"));
        }
        let mut widths = written.widths();
        for (glyph, width) in &font.widths {
            widths.consecutive(*glyph, [*width]);
        }
        widths.finish();
        written.finish();
        self.write_descriptor(descriptor, file, &name, face, is_post_script)?;

        let length = i32::try_from(data.len())?;
        let bytes = compressed(&data)?;
        let mut stream = self.pdf.stream(file, &bytes);
        stream.filter(Filter::FlateDecode);
        if is_post_script {
            stream.pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
        } else {
            stream.pair(Name(b"Length1"), length);
        }
        stream.finish();

        let mut to_unicode = UnicodeCmap::new(Name(b"Custom"), SYSTEM_INFO);
        for (glyph, text) in &font.texts {
            to_unicode.pair_with_multiple(*glyph, text.chars());
        }
        let bytes = compressed(&to_unicode.finish())?;
        self.pdf.cmap(cmap, &bytes).filter(Filter::FlateDecode);
        Ok(())
    }

    fn write_descriptor(
        &mut self,
        id: Ref,
        file: Ref,
        name: &str,
        face: &Face,
        is_post_script: bool,
    ) -> anyhow::Result<()> {
        let font = face.font()?;
        let scaled = |length: i16| f32::from(length) / f32::from(face.units_per_em) * 1000.0;
        let head = font.head()?;
        let (ascent, descent) = font.hhea().map_or((0.8, -0.2), |hhea| {
            (f32::from(hhea.ascender().to_i16()), f32::from(hhea.descender().to_i16()))
        });
        let to_thousandths = |length: f32| length / f32::from(face.units_per_em) * 1000.0;
        let capitals = font.os2().ok().and_then(|os2| os2.s_cap_height()).map_or(700.0, scaled);
        let weight = font.os2().map_or(400, |os2| os2.us_weight_class());
        let mut descriptor = self.pdf.font_descriptor(id);
        descriptor
            .name(Name(name.as_bytes()))
            .flags(FontFlags::SYMBOLIC)
            .bbox(Rect::new(
                scaled(head.x_min()),
                scaled(head.y_min()),
                scaled(head.x_max()),
                scaled(head.y_max()),
            ))
            .italic_angle(0.0)
            .ascent(to_thousandths(ascent))
            .descent(to_thousandths(descent))
            .cap_height(capitals)
            .stem_v(10.0 + 0.244 * (f32::from(weight) - 50.0));
        if is_post_script {
            descriptor.font_file3(file);
        } else {
            descriptor.font_file2(file);
        }
        Ok(())
    }

    fn write_outline(&mut self, bookmarks: &[Bookmark]) -> anyhow::Result<Ref> {
        let root = self.next_ref();
        let ids: Vec<Ref> = bookmarks.iter().map(|_| self.next_ref()).collect();
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        self.pdf.outline(root).first(first).last(last).count(i32::try_from(ids.len())?);
        for (index, bookmark) in bookmarks.iter().enumerate() {
            let page = &self.pages[bookmark.page];
            let mut item = self.pdf.outline_item(ids[index]);
            item.title(TextStr(&bookmark.title)).parent(root);
            if index > 0 {
                item.prev(ids[index - 1]);
            }
            if let Some(next) = ids.get(index + 1) {
                item.next(*next);
            }
            item.dest().page(page.id).xyz(0.0, page.height - bookmark.y, None);
        }
        Ok(root)
    }

    fn write_structure(&mut self, structure: &Structure) -> anyhow::Result<Ref> {
        let root = self.next_ref();
        let first = self.last_ref;
        self.last_ref += i32::try_from(structure.elements.len())?;
        let id = |element: ElementId| -> anyhow::Result<Ref> {
            Ok(Ref::new(first + 1 + i32::try_from(element.0)?))
        };
        for (index, element) in structure.elements.iter().enumerate() {
            let mut written = self.pdf.struct_element(id(ElementId(index))?);
            written.kind(element.role.in_pdf());
            written.parent(element.parent.map_or(Ok(root), id)?);
            match &element.role {
                Role::Figure(alternative) => {
                    written.alt(TextStr(alternative));
                }
                Role::HeaderCell => {
                    written.attributes().push().table().scope(TableHeaderScope::Column);
                }
                _ => {}
            }
            let mut children = written.children();
            for child in &element.children {
                match child {
                    Child::Element(child) => {
                        children.struct_element(id(*child)?);
                    }
                    Child::Content { page, number } => {
                        children.marked_content_ref().page(self.pages[*page].id).marked_content_id(*number);
                    }
                }
            }
        }
        let mut lists = Vec::new();
        for elements in &self.marked {
            self.last_ref += 1;
            let list = Ref::new(self.last_ref);
            let elements = elements.iter().map(|element| id(*element)).collect::<anyhow::Result<Vec<_>>>()?;
            self.pdf.indirect(list).array().items(elements);
            lists.push(list);
        }
        let mut tree = self.pdf.indirect(root).start::<pdf_writer::writers::StructTreeRoot<'_>>();
        tree.child(id(Structure::DOCUMENT)?);
        tree.parent_tree_next_key(i32::try_from(lists.len())?);
        let mut parents = tree.parent_tree();
        let mut numbers = parents.nums();
        for (page, list) in (0..).zip(lists) {
            numbers.insert(page, list);
        }
        Ok(root)
    }

    fn write_info(&mut self, id: Ref, about: &About<'_>) {
        let mut info = self.pdf.document_info(id);
        info.title(TextStr(about.title)).creator(TextStr("batchctl"));
        if !about.author.is_empty() {
            info.author(TextStr(about.author));
        }
        let part = |number: u32| u8::try_from(number).unwrap_or_default();
        let time = about.created;
        // PDF has years of four digits.
        if let Ok(year) = u16::try_from(time.year()) {
            info.creation_date(
                Date::new(year.min(9999))
                    .month(part(time.month()))
                    .day(part(time.day()))
                    .hour(part(time.hour()))
                    .minute(part(time.minute()))
                    .second(part(time.second()))
                    .utc_offset_hour(0)
                    .utc_offset_minute(0),
            );
        }
    }
}

/// The content of one page, and the current colours.
struct Painter {
    content: Content,
    height: f32,
    fill: Option<Colour>,
    stroke: Option<(Colour, f32)>,
}

impl Painter {
    fn fill(&mut self, colour: Colour) {
        if self.fill != Some(colour) {
            let [red, green, blue] = shares(colour);
            self.content.set_fill_rgb(red, green, blue);
            self.fill = Some(colour);
        }
    }

    fn line(&mut self, from: Point, to: Point, thickness: f32, colour: Colour) {
        if self.stroke != Some((colour, thickness)) {
            let [red, green, blue] = shares(colour);
            self.content.set_stroke_rgb(red, green, blue).set_line_width(thickness);
            self.content.set_line_cap(LineCapStyle::RoundCap);
            self.stroke = Some((colour, thickness));
        }
        self.content.move_to(from.x, self.height - from.y).line_to(to.x, self.height - to.y).stroke();
    }

    fn text(&mut self, at: Point, size: f32, run: &GlyphRun, face: &Face, font: &mut EmbeddedFont) {
        self.content.begin_text();
        self.content.set_font(Name(font_name(run.face).as_bytes()), size);
        self.content.next_line(at.x, self.height - at.y);
        let mut codes = Codes::default();
        let mut index = 0;
        while index < run.glyphs.len() {
            // A cluster: the glyphs of the same characters.
            let first = run.glyphs[index];
            let count = run.glyphs[index..].iter().take_while(|glyph| glyph.start == first.start).count();
            let text = &run.text[first.start..first.end];
            let is_plain = count == 1 && font.stands_for(first.id, text, face);
            if !is_plain {
                codes.show(&mut self.content);
                let mut span = self.content.begin_marked_content_with_properties(Name(b"Span"));
                span.properties().actual_text(TextStr(text));
            }
            for glyph in &run.glyphs[index..index + count] {
                let (code, width) = font.code(glyph.id, face);
                if glyph.up != 0.0 {
                    codes.show(&mut self.content);
                    self.content.set_rise(glyph.up * size);
                }
                codes.push(code, glyph.right * 1000.0, glyph.advance * 1000.0 - width);
                if glyph.up != 0.0 {
                    codes.show(&mut self.content);
                    self.content.set_rise(0.0);
                }
            }
            if !is_plain {
                codes.show(&mut self.content);
                self.content.end_marked_content();
            }
            index += count;
        }
        codes.show(&mut self.content);
        self.content.end_text();
    }
}

/// Codes to show, and how far to move between them, in thousandths of an em.
#[derive(Default)]
struct Codes {
    items: Vec<(f32, Vec<u8>)>,
    /// To move before the next code.
    move_by: f32,
}

impl Codes {
    fn push(&mut self, code: u16, right: f32, further: f32) {
        let before = self.move_by + right;
        match self.items.last_mut() {
            Some((_, codes)) if before.abs() < 0.01 => codes.extend(code.to_be_bytes()),
            _ => self.items.push((before, code.to_be_bytes().to_vec())),
        }
        self.move_by = further - right;
    }

    fn show(&mut self, content: &mut Content) {
        if self.items.is_empty() {
            return;
        }
        let mut positioned = content.show_positioned();
        let mut items = positioned.items();
        for (before, codes) in self.items.drain(..) {
            if before.abs() >= 0.01 {
                items.adjust(-before);
            }
            items.show(Str(&codes));
        }
        // The rest moves the pen to where the next text begins.
        if self.move_by.abs() >= 0.01 {
            items.adjust(-self.move_by);
        }
        self.move_by = 0.0;
    }
}

impl EmbeddedFont {
    fn new(id: Ref) -> Self {
        Self { id, remapper: GlyphRemapper::new(), texts: BTreeMap::new(), widths: BTreeMap::new() }
    }

    /// A glyph's code in the file, and its width in thousandths of an em.
    fn code(&mut self, glyph: u16, face: &Face) -> (u16, f32) {
        let code = self.remapper.remap(glyph);
        (code, *self.widths.entry(code).or_insert_with(|| face.advance(glyph) * 1000.0))
    }

    /// Whether a glyph's code stands for this text: each code stands for the first text it was used for.
    fn stands_for(&mut self, glyph: u16, text: &str, face: &Face) -> bool {
        let (code, _) = self.code(glyph, face);
        self.texts.entry(code).or_insert_with(|| text.to_owned()) == text
    }
}

fn font_name(face: FaceId) -> String {
    format!("F{}", face.0)
}

fn shares(colour: Colour) -> [f32; 3] {
    [colour.red, colour.green, colour.blue].map(|part| f32::from(part) / 255.0)
}

fn compressed(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
