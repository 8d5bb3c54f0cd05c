//! Finds the fonts a document needs before it is set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use typst::text::{FontBook, FontVariant};
use typst_kit::fonts::{self, FontStore};

use crate::failure::Failure;
use crate::locale::Locale;

/// Each language's families, best first: Noto as Linux packages it, then what macOS and Windows bring.
const JAPANESE: &[&str] = &[
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans JP",
    "Hiragino Sans",
    "Hiragino Kaku Gothic ProN",
    "Yu Gothic",
    "Meiryo",
    "BIZ UDPGothic",
    "IPAexGothic",
    "IPAPGothic",
    "VL PGothic",
    "TakaoPGothic",
];
const KOREAN: &[&str] = &[
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Source Han Sans KR",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "NanumGothic",
    "Pretendard",
    "UnDotum",
];
const CHINESE: &[&str] = &[
    "Noto Sans CJK SC",
    "Noto Sans CJK TC",
    "Noto Sans SC",
    "Noto Sans TC",
    "PingFang SC",
    "Microsoft YaHei",
];
/// For text that is neither, and for symbols.
const LATIN: &[&str] =
    &["Noto Sans", "DejaVu Sans", "Liberation Sans", "Helvetica Neue", "Segoe UI", "Arial"];
const EMOJI: &[&str] = &["Noto Emoji", "Noto Color Emoji", "Apple Color Emoji", "Segoe UI Emoji", "Symbola"];

/// Every font known, and the families to set the document in.
pub(super) struct Fonts {
    /// Loads a font when it is first used.
    pub(super) store: FontStore,
    /// In order of preference; together they have every character of the document.
    pub(super) families: Vec<String>,
}

/// Finds fonts with every character of the texts: the folders' first and, when those do not suffice, the system's.
pub(super) fn find(
    texts: &[&str],
    locale: Locale,
    font_dirs: &[PathBuf],
    wanted: &[String],
) -> anyhow::Result<Fonts> {
    let characters: BTreeMap<char, usize> = needed_characters(texts);
    let mut store = FontStore::new();
    for directory in font_dirs {
        if !directory.is_dir() {
            return Err(Failure::configuration(format!(
                "the font folder `{}` does not exist: correct pdf.font_dirs in batchctl.toml",
                directory.display()
            ))
            .into());
        }
        store.extend(fonts::scan(directory));
    }
    // A system with many fonts takes a while to look through, so not without need.
    if !font_dirs.is_empty()
        && let Ok(families) = choose(store.book(), &characters, locale, wanted, font_dirs)
    {
        return Ok(Fonts { store, families });
    }
    store.extend(fonts::system());
    let families = choose(store.book(), &characters, locale, wanted, font_dirs)?;
    Ok(Fonts { store, families })
}

/// The families to use, or what is missing and where to get it.
fn choose(
    book: &FontBook,
    characters: &BTreeMap<char, usize>,
    locale: Locale,
    wanted: &[String],
    font_dirs: &[PathBuf],
) -> anyhow::Result<Vec<String>> {
    if book.families().next().is_none() {
        bail!("no font found at all{}: {}", searched(font_dirs), remedy("Noto Sans CJK", "fonts-noto-cjk"));
    }
    if let Some(missing) = wanted.iter().find(|family| !book.contains_family(&family.to_lowercase())) {
        bail!(
            "font family `{missing}` not found{}: install it, set pdf.font_dirs or correct pdf.fonts in batchctl.toml",
            searched(font_dirs)
        );
    }
    let mut families: Vec<String> = if wanted.is_empty() {
        known_families(locale)
            .filter(|family| book.contains_family(&family.to_lowercase()))
            .map(str::to_owned)
            .collect()
    } else {
        wanted.to_vec()
    };
    let mut missing: BTreeSet<char> = characters.keys().copied().collect();
    families.retain(|family| {
        let before = missing.len();
        remove_covered(book, family, &mut missing);
        // A family that adds nothing is not mentioned, or adding a font to the machine would change the file.
        missing.len() < before
    });
    // Thai, or Hangul on a system with none of the usual fonts: any font is better than none.
    for (family, _) in book.families() {
        if missing.is_empty() {
            break;
        }
        let before = missing.len();
        remove_covered(book, family, &mut missing);
        if missing.len() < before {
            families.push(family.to_owned());
        }
    }
    // Named by the one that stands first in the document, which is the easiest to find.
    let Some(first) = missing.iter().min_by_key(|character| characters.get(character)) else {
        return Ok(families);
    };
    let (script, family, package) = script_of(*first, locale);
    bail!("no font found for {script} text (first: `{first}`): {}", remedy(family, package));
}

fn known_families(locale: Locale) -> impl Iterator<Item = &'static str> {
    let east_asian = locale.pick([JAPANESE, KOREAN], [JAPANESE, KOREAN], [KOREAN, JAPANESE]);
    east_asian.into_iter().chain([CHINESE, LATIN, EMOJI]).flatten().copied()
}

fn remove_covered(book: &FontBook, family: &str, missing: &mut BTreeSet<char>) {
    let face = book.select(&family.to_lowercase(), FontVariant::default());
    if let Some(info) = face.and_then(|index| book.info(index)) {
        missing.retain(|character| !info.coverage.contains(u32::from(*character)));
    }
}

/// The characters that must have a glyph, each with its first place in the document.
fn needed_characters(texts: &[&str]) -> BTreeMap<char, usize> {
    let mut characters = BTreeMap::new();
    for (place, character) in texts.iter().flat_map(|text| text.chars()).enumerate() {
        if !character.is_whitespace() && !is_invisible(character) {
            characters.entry(character).or_insert(place);
        }
    }
    characters
}

/// Joiners, variation selectors and the like, which no font need have.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    ) || character.is_control()
}

/// What kind of text a character belongs to, with a font family that has it and its Debian package.
fn script_of(character: char, locale: Locale) -> (&'static str, &'static str, &'static str) {
    let japanese = ("Japanese", "Noto Sans CJK JP", "fonts-noto-cjk");
    let korean = ("Korean", "Noto Sans CJK KR", "fonts-noto-cjk");
    match character {
        '\u{1100}'..='\u{11ff}'
        | '\u{3130}'..='\u{318f}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7ff}' => korean,
        '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => japanese,
        '\u{2e80}'..='\u{303f}'
        | '\u{3190}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}' => {
            locale.pick(("Chinese or Japanese", "Noto Sans CJK JP", "fonts-noto-cjk"), japanese, korean)
        }
        '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' => {
            ("symbol or emoji", "Noto Color Emoji", "fonts-noto-color-emoji")
        }
        '\u{0}'..='\u{24f}' => ("Latin", "DejaVu Sans", "fonts-dejavu-core"),
        _ => ("this", "Noto Sans", "fonts-noto-core"),
    }
}

fn remedy(family: &str, package: &str) -> String {
    format!("install {family} (Debian: {package}) or set pdf.font_dirs in batchctl.toml")
}

fn searched(font_dirs: &[PathBuf]) -> String {
    let names: Vec<_> = font_dirs.iter().map(|directory| format!("`{}`", Path::display(directory))).collect();
    if names.is_empty() { String::new() } else { format!(" in {} or on this system", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use typst::text::{Coverage, FontFlags, FontInfo};

    const LATIN_TEXT: &str = "Sales 0123456789";

    fn book(fonts: &[(&str, &str)]) -> FontBook {
        FontBook::from_infos(fonts.iter().map(|(family, characters)| FontInfo {
            family: (*family).to_owned(),
            variant: FontVariant::default(),
            flags: FontFlags::empty(),
            axes: Vec::new(),
            coverage: Coverage::from_vec(characters.chars().map(u32::from).collect()),
        }))
    }

    fn chosen(
        fonts: &[(&str, &str)],
        text: &str,
        locale: Locale,
        wanted: &[&str],
    ) -> Result<Vec<String>, String> {
        let wanted: Vec<String> = wanted.iter().map(|family| (*family).to_owned()).collect();
        choose(&book(fonts), &needed_characters(&[text]), locale, &wanted, &[])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_language_gets_the_shapes_it_is_used_to() {
        let all = "Sales 0123456789値가";
        let fonts = [("Noto Sans CJK KR", all), ("Noto Sans CJK JP", all), ("Another Sans", all)];
        assert_eq!(chosen(&fonts, "値가", Locale::Ja, &[]).unwrap(), ["Noto Sans CJK JP"]);
        assert_eq!(chosen(&fonts, "値가", Locale::Ko, &[]).unwrap(), ["Noto Sans CJK KR"]);
        assert_eq!(chosen(&fonts, "値가", Locale::Ko, &["another sans"]).unwrap(), ["another sans"]);
    }

    #[test]
    fn a_font_nobody_named_is_used_before_giving_up() {
        let fonts = [("DejaVu Sans", LATIN_TEXT), ("Baekmuk Dotum", "가격")];
        assert_eq!(chosen(&fonts, "Sales 가격", Locale::Ko, &[]).unwrap(), ["DejaVu Sans", "Baekmuk Dotum"]);
    }

    #[test]
    fn missing_fonts_are_named_by_the_text_that_needs_them() {
        let fonts = [("DejaVu Sans", LATIN_TEXT)];
        let cases = [
            (
                "Sales 한국",
                "no font found for Korean text (first: `한`): install Noto Sans CJK KR (Debian: fonts-noto-cjk)",
            ),
            (
                "Sales レポート値",
                "no font found for Japanese text (first: `レ`): install Noto Sans CJK JP (Debian: fonts-noto-cjk)",
            ),
            (
                "値レ",
                "no font found for Chinese or Japanese text (first: `値`): install Noto Sans CJK JP (Debian: fonts-noto-cjk)",
            ),
            (
                "Sale 🎁",
                "no font found for symbol or emoji text (first: `🎁`): install Noto Color Emoji (Debian: fonts-noto-color-emoji)",
            ),
        ];
        for (text, message) in cases {
            let message = format!("{message} or set pdf.font_dirs in batchctl.toml");
            assert_eq!(chosen(&fonts, text, Locale::En, &[]).unwrap_err(), message);
        }
        assert_eq!(
            chosen(&[], "Sales", Locale::En, &[]).unwrap_err(),
            "no font found at all: install Noto Sans CJK (Debian: fonts-noto-cjk) or set pdf.font_dirs in batchctl.toml"
        );
    }

    #[test]
    fn what_cannot_be_seen_needs_no_font() {
        assert_eq!(
            chosen(&[("DejaVu Sans", "a❤")], "a\u{200d}\u{fe0f}❤\u{3000}\n\u{1b}", Locale::En, &[])
                .unwrap()
                .len(),
            1
        );
    }
}
