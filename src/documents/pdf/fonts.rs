//! The fonts a document is set in: the families of the style, then the built-in font. The user's and the system's
//! folders are searched only for a character that none of them has.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use anyhow::Context as _;
use harfrust::{
    Direction, Feature, GlyphBuffer, Language, ShapeOptions, ShapePlan, ShapePlanKey, ShaperData,
    UnicodeBuffer,
};
use read_fonts::types::{NameId, Tag};
use read_fonts::{FontRef, TableProvider as _};
use subsetter::GlyphRemapper;

use super::FontFolders;
use super::font_files::FontFiles;
use crate::failure::Failure;
use crate::files::read_regular;
use crate::locale::Locale;

/// Japanese, Korean, Latin, Greek and Cyrillic; made by `scripts/fonts/subset`, licensed under `fonts/OFL.txt`.
/// Used in place: pages of the executable that no document touches are never loaded.
const BUILT_IN_REGULAR: &[u8] = include_bytes!("../../../fonts/NotoSansCJKjp-Regular.otf");
/// The same characters in bold.
const BUILT_IN_BOLD: &[u8] = include_bytes!("../../../fonts/NotoSansCJKjp-Bold.otf");
/// The largest font file that is opened, in bytes: those of all Chinese characters have some 20 MB.
const MAX_FONT: u64 = 64_000_000;
/// Stands for a character that no font has.
const REPLACEMENT: char = '\u{25a1}';

/// A face's place among those of [`Fonts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FaceId(pub(super) usize);

/// The weight of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    /// Running text.
    Regular,
    /// Headings and totals.
    Bold,
}

/// One font, with what shaping and embedding need to know about it.
pub(super) struct Face {
    /// The whole file.
    pub(super) data: Cow<'static, [u8]>,
    /// Its place in a collection (TTC).
    pub(super) index: u32,
    /// Design units of an em.
    pub(super) units_per_em: u16,
    /// The name under which a PDF lists it.
    pub(super) post_script_name: String,
    /// What the shaper computes once per font.
    shaper: ShaperData,
    /// What the shaper computes once per font, a script and a direction.
    plans: Vec<ShapePlan>,
}

/// The faces in use, and where to look for more.
pub(super) struct Fonts {
    faces: Vec<Face>,
    regular: Vec<FaceId>,
    bold: Vec<FaceId>,
    files: FontFiles,
    /// Faces opened from files, by file.
    opened: HashMap<usize, Option<FaceId>>,
    /// Which face has a character, so that it is looked up only once.
    choices: HashMap<(char, Weight), Option<FaceId>>,
    /// Characters that no font has.
    missing: BTreeSet<char>,
    language: Option<Language>,
}

impl Face {
    /// Reads a font, and checks that it can be embedded.
    fn new(data: Cow<'static, [u8]>, index: u32) -> anyhow::Result<Self> {
        let (units_per_em, post_script_name, shaper) = {
            let font = FontRef::from_index(&data, index).context("not a font")?;
            let head = font.head().context("a font without a `head` table")?;
            anyhow::ensure!(head.units_per_em() > 0, "a font without a size");
            subsetter::subset(&data, index, &GlyphRemapper::new())
                .map_err(|error| anyhow::anyhow!("it cannot be embedded: {error:?}"))?;
            (head.units_per_em(), post_script_name(&font), ShaperData::new(&font))
        };
        Ok(Self { data, index, units_per_em, post_script_name, shaper, plans: Vec::new() })
    }

    /// The font's tables.
    pub(super) fn font(&self) -> anyhow::Result<FontRef<'_>> {
        FontRef::from_index(&self.data, self.index).context("failed to read a font that was read before")
    }

    /// The glyph of a character, if it has one.
    fn glyph(&self, character: char) -> Option<u32> {
        let glyph = self.font().ok()?.cmap().ok()?.map_codepoint(character)?;
        (glyph.to_u32() != 0).then_some(glyph.to_u32())
    }

    /// How far each glyph moves the pen, in em, not counting kerning.
    pub(super) fn advance(&self, glyph: u16) -> f32 {
        let units = self.font().ok().and_then(|font| font.hmtx().ok()?.advance(u32::from(glyph).into()));
        f32::from(units.unwrap_or_default()) / f32::from(self.units_per_em)
    }

    /// The outlines' format: PostScript (CFF) or TrueType.
    pub(super) fn is_post_script(&self) -> bool {
        self.font().is_ok_and(|font| font.table_data(Tag::new(b"CFF ")).is_some())
    }
}

/// The name of a font without spaces, which is how a PDF refers to it.
fn post_script_name(font: &FontRef<'_>) -> String {
    let name = font.name().ok().and_then(|names| {
        let mut records = names.name_record().iter();
        let record = records.find(|record| record.name_id() == NameId::POSTSCRIPT_NAME)?;
        record.string(names.string_data()).ok()
    });
    let name: String =
        name.into_iter().flat_map(|name| name.chars()).filter(char::is_ascii_alphanumeric).collect();
    if name.is_empty() { "Unnamed".to_owned() } else { name }
}

impl Fonts {
    /// The fonts for a document in this language. `families` take precedence over the built-in one, and must be found.
    pub(super) fn new(locale: Locale, families: &[String], folders: FontFolders) -> anyhow::Result<Self> {
        for folder in &folders.own {
            if !folder.is_dir() {
                return Err(Failure::configuration(format!(
                    "the font folder `{}` does not exist: correct pdf.font_dirs in batchctl.toml",
                    folder.display()
                ))
                .into());
            }
        }
        let mut fonts = Self {
            faces: Vec::new(),
            regular: Vec::new(),
            bold: Vec::new(),
            files: FontFiles::new(folders),
            opened: HashMap::new(),
            choices: HashMap::new(),
            missing: BTreeSet::new(),
            language: Language::new(locale.tag()),
        };
        for family in families {
            fonts.add_family(family)?;
        }
        for (data, is_bold) in [(BUILT_IN_REGULAR, false), (BUILT_IN_BOLD, true)] {
            let face =
                fonts.add(Face::new(Cow::Borrowed(data), 0).context("failed to read a built-in font")?);
            if is_bold { fonts.bold.push(face) } else { fonts.regular.push(face) }
        }
        Ok(fonts)
    }

    fn add(&mut self, face: Face) -> FaceId {
        self.faces.push(face);
        FaceId(self.faces.len() - 1)
    }

    /// Puts a family that the user chose before the built-in one.
    fn add_family(&mut self, family: &str) -> anyhow::Result<()> {
        let (regular, bold) = self.files.family(family);
        let mut open = |file: usize| {
            let path = self.files.path(file).to_owned();
            self.open(file).ok_or_else(|| anyhow::anyhow!("the font `{}` cannot be used", path.display()))
        };
        let faces = (regular.map(&mut open).transpose()?, bold.map(&mut open).transpose()?);
        let (Some(regular), Some(bold)) = (faces.0.or(faces.1), faces.1.or(faces.0)) else {
            return Err(Failure::configuration(format!(
                "font family `{family}` not found: install it, set pdf.font_dirs in batchctl.toml or correct \
                 fonts.families in style.toml"
            ))
            .into());
        };
        self.regular.push(regular);
        self.bold.push(bold);
        Ok(())
    }

    /// Opens a font file once. An unusable one is ignored.
    fn open(&mut self, file: usize) -> Option<FaceId> {
        if let Some(opened) = self.opened.get(&file) {
            return *opened;
        }
        let face = read_regular(self.files.path(file), MAX_FONT)
            .ok()
            .and_then(|data| Face::new(Cow::Owned(data), 0).ok())
            .map(|face| self.add(face));
        self.opened.insert(file, face);
        face
    }

    /// The face to set a character in; none if no font has it.
    pub(super) fn face_of(&mut self, character: char, weight: Weight) -> Option<FaceId> {
        if let Some(choice) = self.choices.get(&(character, weight)) {
            return *choice;
        }
        let choice = self.look_for(character, weight);
        if choice.is_none() {
            self.missing.insert(character);
        }
        self.choices.insert((character, weight), choice);
        choice
    }

    fn look_for(&mut self, character: char, weight: Weight) -> Option<FaceId> {
        let chain = self.chain(weight);
        if let Some(face) = chain.iter().find(|face| self.face(**face).glyph(character).is_some()) {
            return Some(*face);
        }
        for file in self.files.with_character(character, weight == Weight::Bold) {
            if let Some(face) = self.open(file)
                && self.face(face).glyph(character).is_some()
            {
                return Some(face);
            }
        }
        None
    }

    fn chain(&self, weight: Weight) -> &[FaceId] {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    /// What is drawn for a character that no font has.
    pub(super) fn replacement(&self, weight: Weight) -> anyhow::Result<(FaceId, u32)> {
        self.chain(weight)
            .iter()
            .find_map(|face| Some((*face, self.face(*face).glyph(REPLACEMENT)?)))
            .context("the built-in fonts have no replacement character")
    }

    /// A face by its id.
    pub(super) fn face(&self, id: FaceId) -> &Face {
        &self.faces[id.0]
    }

    /// Shapes a text of one script and direction in one face.
    pub(super) fn shape(
        &mut self,
        id: FaceId,
        text: &str,
        direction: Direction,
    ) -> anyhow::Result<GlyphBuffer> {
        let language = self.language.as_ref();
        let Face { data, index, shaper, plans, .. } = &mut self.faces[id.0];
        let font = FontRef::from_index(data, *index).context("failed to read a font that was read before")?;
        let shaper = shaper.shaper(&font).build();
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.set_direction(direction);
        if let Some(language) = language {
            buffer.set_language(language.clone());
        }
        buffer.guess_segment_properties();
        // Figures in a column line up.
        let features = [Feature::new(Tag::new(b"tnum"), 1, ..)];
        let script = Some(buffer.script());
        let key = ShapePlanKey::new(script, direction).language(language).features(&features);
        let known = plans.iter().position(|plan| key.matches(plan));
        let plan = known.unwrap_or_else(|| {
            plans.push(ShapePlan::new(&shaper, direction, script, language, &features));
            plans.len() - 1
        });
        let options = ShapeOptions::new().plan(Some(&plans[plan])).features(&features);
        Ok(shaper.shape(buffer, options))
    }

    /// Characters that no font had so far.
    pub(super) fn missing(&self) -> Vec<char> {
        self.missing.iter().copied().collect()
    }
}
