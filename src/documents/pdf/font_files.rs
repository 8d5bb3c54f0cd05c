//! Font files in the user's and the system's folders. Nothing is read until a document has a character that the
//! built-in fonts lack, or the style names a family; then only the tables that answer the question.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use read_fonts::tables::cmap::Cmap;
use read_fonts::tables::name::Name;
use read_fonts::tables::os2::Os2;
use read_fonts::types::{NameId, Tag};
use read_fonts::{FontData, FontRead as _};

use super::FontFolders;

/// The most font files considered; no real system has as many.
const MAX_FILES: usize = 10_000;
/// The depth of nested folders searched; no package nests deeper.
const MAX_LEVELS: usize = 8;
/// The largest table read to answer a question, in bytes; a `cmap` of every Chinese character has some 300,000.
const MAX_TABLE: u32 = 8_000_000;
/// The first font of a collection represents all of them: they differ in shape, not in coverage.
const COLLECTION: &[u8] = b"ttcf";
/// The weights of running text and of bold text (OS/2 `usWeightClass`).
const REGULAR_WEIGHT: u16 = 400;
const BOLD_WEIGHT: u16 = 700;
/// A font whose weight is this close to the requested one is as good as any other.
const SAME_WEIGHT: u16 = 100;
/// Families that look like the built-in one, best first, as file names begin. Others follow by name.
const PREFERRED: [&str; 10] = [
    "notosanscjk",
    "notosans",
    "sourcehansans",
    "dejavusans",
    "liberationsans",
    "freesans",
    "segoeui",
    "arial",
    "notoemoji",
    "symbola",
];

/// The font files, scanned on first use.
pub(super) struct FontFiles {
    folders: FontFolders,
    files: Option<Vec<FontFile>>,
}

struct FontFile {
    path: PathBuf,
    /// The tables' places in the file, once it was opened.
    directory: Option<Directory>,
    coverage: Option<Coverage>,
    weight: Option<u16>,
}

/// Offset and length of each table.
type Directory = HashMap<Tag, (u32, u32)>;

/// The characters of a font, as ascending ranges.
type Coverage = Vec<(u32, u32)>;

impl FontFiles {
    pub(super) fn new(folders: FontFolders) -> Self {
        Self { folders, files: None }
    }

    /// The path of a file returned earlier.
    pub(super) fn path(&self, file: usize) -> &Path {
        self.files.as_ref().map_or(Path::new(""), |files| &files[file].path)
    }

    /// The files with a glyph for a character, best first: those of about the requested weight before others.
    pub(super) fn with_character(&mut self, character: char, bold: bool) -> Vec<usize> {
        let files = self.files();
        let mut found: Vec<usize> =
            (0..files.len()).filter(|file| files[*file].covers(character.into())).collect();
        found.sort_by_key(|file| files[*file].distance_to(bold).saturating_sub(SAME_WEIGHT));
        found
    }

    /// A family's regular and bold files.
    pub(super) fn family(&mut self, family: &str) -> (Option<usize>, Option<usize>) {
        let files = self.files();
        let members: Vec<usize> = (0..files.len()).filter(|file| files[*file].is_of_family(family)).collect();
        let mut nearest = |bold: bool| {
            members
                .iter()
                .copied()
                .min_by_key(|&file| (is_slanted(&files[file].path), files[file].distance_to(bold)))
        };
        (nearest(false), nearest(true))
    }

    fn files(&mut self) -> &mut Vec<FontFile> {
        let folders = &self.folders;
        self.files.get_or_insert_with(|| {
            let mut paths = Vec::new();
            for folder in folders.own.iter().chain(&folders.system) {
                let mut found = Vec::new();
                collect(folder, MAX_LEVELS, &mut found);
                // The order of the file system must not change a document.
                found.sort_by_cached_key(|path| preference(path));
                paths.append(&mut found);
            }
            paths.truncate(MAX_FILES);
            paths
                .into_iter()
                .map(|path| FontFile { path, directory: None, coverage: None, weight: None })
                .collect()
        })
    }
}

/// Adds the font files of a folder and of those in it.
fn collect(folder: &Path, levels: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if found.len() >= MAX_FILES {
            return;
        }
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        if matches!(extension.as_deref(), Some("ttf" | "otf" | "ttc" | "otc")) {
            found.push(path);
        } else if levels > 0 && path.is_dir() {
            collect(&path, levels - 1, found);
        }
    }
}

/// Sorts upright faces before slanted ones, known families before others, and the rest by name.
fn preference(path: &Path) -> (bool, usize, PathBuf) {
    let plain: String = plain_name(path).chars().filter(char::is_ascii_alphanumeric).collect();
    let rank = PREFERRED.iter().position(|family| plain.starts_with(family)).unwrap_or(PREFERRED.len());
    (is_slanted(path), rank, path.to_owned())
}

fn is_slanted(path: &Path) -> bool {
    let name = plain_name(path);
    name.contains("italic") || name.contains("oblique")
}

fn plain_name(path: &Path) -> String {
    path.file_stem().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

impl FontFile {
    fn covers(&mut self, character: u32) -> bool {
        if self.coverage.is_none() {
            self.coverage = Some(self.read_coverage().unwrap_or_default());
        }
        let ranges = self.coverage.as_deref().unwrap_or_default();
        let after = ranges.partition_point(|(first, _)| *first <= character);
        after > 0 && ranges[after - 1].1 >= character
    }

    fn read_coverage(&mut self) -> Option<Coverage> {
        let directory = self.directory();
        // Only outlines in one colour are drawn; colour fonts have no outlines, or empty ones.
        let has = |tag: &[u8; 4]| directory.contains_key(&Tag::new(tag));
        let is_coloured = [b"COLR", b"CBDT", b"sbix", b"SVG "].into_iter().any(has);
        if is_coloured || !(has(b"glyf") || has(b"CFF ")) {
            return None;
        }
        let table = self.table(*b"cmap")?;
        let (_, _, subtable) = Cmap::read(FontData::new(&table)).ok()?.best_subtable()?;
        let mut ranges = Coverage::new();
        for (character, glyph) in subtable.iter() {
            if glyph.to_u32() == 0 {
                continue;
            }
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == character => *last = character,
                _ => ranges.push((character, character)),
            }
        }
        ranges.sort_unstable();
        Some(ranges)
    }

    /// How far its weight is from that of bold or of running text.
    fn distance_to(&mut self, bold: bool) -> u16 {
        let weight = match self.weight {
            Some(weight) => weight,
            None => self.read_weight().unwrap_or(REGULAR_WEIGHT),
        };
        self.weight = Some(weight);
        weight.abs_diff(if bold { BOLD_WEIGHT } else { REGULAR_WEIGHT })
    }

    fn read_weight(&mut self) -> Option<u16> {
        let table = self.table(*b"OS/2")?;
        Some(Os2::read(FontData::new(&table)).ok()?.us_weight_class())
    }

    fn is_of_family(&mut self, family: &str) -> bool {
        let Some(table) = self.table(*b"name") else { return false };
        let Ok(names) = Name::read(FontData::new(&table)) else { return false };
        names.name_record().iter().any(|record| {
            matches!(record.name_id(), NameId::FAMILY_NAME | NameId::TYPOGRAPHIC_FAMILY_NAME)
                && record
                    .string(names.string_data())
                    .is_ok_and(|name| name.to_string().to_lowercase() == family.to_lowercase())
        })
    }

    fn directory(&mut self) -> &Directory {
        if self.directory.is_none() {
            self.directory = Some(read_directory(&self.path).unwrap_or_default());
        }
        self.directory.get_or_insert_default()
    }

    fn table(&mut self, tag: [u8; 4]) -> Option<Vec<u8>> {
        let &(offset, length) = self.directory().get(&Tag::new(&tag))?;
        read_at(&mut open(&self.path)?, offset, length.min(MAX_TABLE))
    }
}

/// Opens a font file. A pipe with a font's name would never be opened.
fn open(path: &Path) -> Option<File> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    File::open(path).ok()
}

/// Reads where a font's tables are; in a collection, those of its first font.
fn read_directory(path: &Path) -> Option<Directory> {
    let mut file = open(path)?;
    let mut start = 0;
    let head = read_at(&mut file, 0, 16)?;
    if head.starts_with(COLLECTION) {
        start = u32_at(&head, 12)?;
    }
    let head = read_at(&mut file, start, 12)?;
    let tables = u32::from(u16::from_be_bytes([head[4], head[5]]));
    let records = read_at(&mut file, start.checked_add(12)?, tables * 16)?;
    let directory = records.chunks_exact(16).filter_map(|record| {
        let tag = Tag::new(&[record[0], record[1], record[2], record[3]]);
        Some((tag, (u32_at(record, 8)?, u32_at(record, 12)?)))
    });
    Some(directory.collect())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_at(file: &mut File, offset: u32, length: u32) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(offset.into())).ok()?;
    let mut bytes = Vec::new();
    file.take(length.into()).read_to_end(&mut bytes).ok()?;
    (bytes.len() == usize::try_from(length).ok()?).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_text_is_not_set_in_hairlines() {
        let file = |name: &str, weight: u16| FontFile {
            path: name.into(),
            directory: Some(Directory::new()),
            coverage: Some(vec![(0x41, 0x5a)]),
            weight: Some(weight),
        };
        let files = [
            file("Lato-Black.ttf", 900),
            file("Lato-Hairline.ttf", 100),
            file("Lato-Medium.ttf", 500),
            file("Lato-Regular.ttf", 400),
            file("Lato-Semibold.ttf", 600),
        ];
        let mut files = FontFiles { folders: FontFolders::default(), files: Some(files.into()) };
        // A medium one is as good as a regular one, and comes first by name.
        assert_eq!(files.with_character('A', false), [2, 3, 4, 1, 0]);
        assert_eq!(files.with_character('A', true), [4, 0, 2, 3, 1]);
        assert_eq!(files.with_character('a', false), [0; 0]);
    }
}
