//! Texts as glyphs: which face, in which direction, on which lines.

use std::ops::Range;

use harfrust::Direction;
use unicode_bidi::BidiInfo;
use unicode_linebreak::linebreaks;

use super::fonts::{FaceId, Fonts, Weight};
use super::scene::{Glyph, GlyphRun};
use crate::printable::shortened;

/// A longer text is cut and ends in an ellipsis. This many characters fill some six pages.
const MAX_TEXT: usize = 20_000;

/// One line of a text, from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct TextLine {
    pub(super) runs: Vec<GlyphRun>,
    /// In em.
    pub(super) width: f32,
}

/// A part of a text that one face and one direction can set, by its bytes.
struct Stretch {
    bytes: Range<usize>,
    /// None: no font has it.
    face: Option<FaceId>,
    script: u32,
}

/// Sets a text on one line.
pub(super) fn set_line(fonts: &mut Fonts, text: &str, weight: Weight) -> anyhow::Result<TextLine> {
    let mut line = TextLine::default();
    if text.is_empty() {
        return Ok(line);
    }
    // Most texts have no right-to-left characters and do not need the algorithm.
    if text.chars().all(|character| character < '\u{590}' || is_east_asian(character)) {
        set_stretches(fonts, text, 0..text.len(), Direction::LeftToRight, weight, &mut line)?;
        return Ok(line);
    }
    let bidi = BidiInfo::new(text, None);
    for paragraph in &bidi.paragraphs {
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for run in runs {
            let is_rtl = levels.get(run.start).is_some_and(unicode_bidi::Level::is_rtl);
            let direction = if is_rtl { Direction::RightToLeft } else { Direction::LeftToRight };
            set_stretches(fonts, text, run, direction, weight, &mut line)?;
        }
    }
    Ok(line)
}

/// Sets a text on as many lines as the width (in em) requires. Lines break where Unicode allows it (UAX #14), and
/// inside a word only if the word alone is too wide.
pub(super) fn set_lines(
    fonts: &mut Fonts,
    text: &str,
    weight: Weight,
    width: f32,
) -> anyhow::Result<Vec<TextLine>> {
    let text = shortened(text, MAX_TEXT);
    let text = text.as_ref();
    let whole = set_line(fonts, text, weight)?;
    if whole.width <= width {
        return Ok(vec![whole]);
    }
    let mut lines = Vec::new();
    for bytes in breaks(text, &advances(text, &whole), width) {
        lines.push(set_broken_line(fonts, &text[bytes], weight)?);
    }
    Ok(lines)
}

/// Sets a line of a broken text. One trailing space is kept so that copied text has it, but it takes no width.
pub(super) fn set_broken_line(fonts: &mut Fonts, text: &str, weight: Weight) -> anyhow::Result<TextLine> {
    let trimmed = text.trim_end();
    if text[trimmed.len()..].starts_with(' ') && !trimmed.is_empty() {
        let mut line = set_line(fonts, &text[..=trimmed.len()], weight)?;
        let last = line.runs.last().filter(|run| run.text.ends_with(' ')).and_then(|run| run.glyphs.last());
        if let Some(space) = last {
            line.width -= space.advance;
        }
        return Ok(line);
    }
    set_line(fonts, trimmed, weight)
}

/// How wide a text is on one line, in em.
pub(super) fn width_of(fonts: &mut Fonts, text: &str, weight: Weight) -> anyhow::Result<f32> {
    Ok(set_line(fonts, &shortened(text, MAX_TEXT), weight)?.width)
}

/// Where each character cluster begins, and how far it moves the pen, in reading order.
fn advances(text: &str, line: &TextLine) -> Vec<(usize, f32)> {
    let mut advances = Vec::new();
    for run in &line.runs {
        advances.extend(run.glyphs.iter().map(|glyph| (run.text_start + glyph.start, glyph.advance)));
    }
    advances.sort_by_key(|(start, _)| *start);
    debug_assert!(advances.iter().all(|(start, _)| text.is_char_boundary(*start)));
    advances
}

/// Cuts a text into lines.
fn breaks(text: &str, advances: &[(usize, f32)], width: f32) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    // The last place at which the line may end.
    let mut allowed = None;
    let mut opportunities =
        linebreaks(text).map(|(at, _)| at).filter(|at| !is_inside_korean_word(text, *at)).peekable();
    let mut index = 0;
    let mut filled = 0.0;
    // The width of what follows `allowed`.
    let mut since = 0.0;
    while let Some(&(at, advance)) = advances.get(index) {
        while opportunities.next_if(|opportunity| *opportunity <= at).is_some_and(|opportunity| {
            if opportunity > start {
                allowed = Some(opportunity);
                since = 0.0;
            }
            true
        }) {}
        let is_space = text[at..].starts_with(char::is_whitespace);
        // Trailing space may exceed the width, since it is not drawn.
        // Twice if what was carried to the new line leaves no room for this character.
        while filled + advance > width && !is_space && at > start {
            let end = allowed.unwrap_or(at);
            lines.push(start..end);
            filled = if allowed.is_some() { since } else { 0.0 };
            start = end;
            allowed = None;
            since = filled;
        }
        filled += advance;
        since += advance;
        index += 1;
    }
    lines.push(start..text.len());
    lines
}

/// Korean is read by words, which are kept whole, although Unicode allows breaks inside them.
fn is_inside_korean_word(text: &str, at: usize) -> bool {
    let is_hangul = |character: char| matches!(character, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}');
    text[..at].ends_with(is_hangul) && text[at..].starts_with(is_hangul)
}

/// Sets one direction of a text.
fn set_stretches(
    fonts: &mut Fonts,
    text: &str,
    bytes: Range<usize>,
    direction: Direction,
    weight: Weight,
    line: &mut TextLine,
) -> anyhow::Result<()> {
    let mut stretches = stretches(fonts, text, bytes, weight);
    if direction == Direction::RightToLeft {
        stretches.reverse();
    }
    for stretch in stretches {
        let part = &text[stretch.bytes.clone()];
        let run = match stretch.face {
            Some(face) => shaped(fonts, face, part, stretch.bytes.start, direction)?,
            None => replaced(fonts, part, stretch.bytes.start, weight)?,
        };
        line.width += run.width();
        line.runs.push(run);
    }
    Ok(())
}

/// Cuts a text where its face or its script changes.
fn stretches(fonts: &mut Fonts, text: &str, bytes: Range<usize>, weight: Weight) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let first = bytes.start;
    for (at, character) in text[bytes].char_indices() {
        let bytes = first + at..first + at + character.len_utf8();
        // A character that modifies the previous one, or is invisible, is set together with it.
        if is_joined(character)
            && let Some(last) = stretches.last_mut()
        {
            last.bytes.end = bytes.end;
            continue;
        }
        let face = fonts.face_of(whole_for_part(character), weight);
        let script = script_of(character);
        match stretches.last_mut() {
            Some(last) if last.face == face && (last.script == script || character == ' ') => {
                last.bytes.end = bytes.end;
            }
            _ => stretches.push(Stretch { bytes, face, script }),
        }
    }
    stretches
}

fn shaped(
    fonts: &mut Fonts,
    face: FaceId,
    text: &str,
    text_start: usize,
    direction: Direction,
) -> anyhow::Result<GlyphRun> {
    let shaped = fonts.shape(face, text, direction)?;
    let units = f32::from(fonts.face(face).units_per_em);
    let em = |length: i32| in_em(length, units);
    let infos = shaped.glyph_infos();
    let starts: Vec<usize> =
        infos.iter().map(|info| usize::try_from(info.cluster)).collect::<Result<_, _>>()?;
    let mut ends = starts.clone();
    ends.sort_unstable();
    ends.dedup();
    ends.push(text.len());
    let glyphs = infos.iter().zip(shaped.glyph_positions()).zip(&starts).map(|((info, position), &start)| {
        Ok(Glyph {
            id: u16::try_from(info.glyph_id)?,
            advance: em(position.x_advance),
            right: em(position.x_offset),
            up: em(position.y_offset),
            start,
            // The next cluster's beginning, whichever way the text runs.
            end: ends[ends.partition_point(|end| *end <= start)],
        })
    });
    let glyphs = glyphs.collect::<anyhow::Result<_>>()?;
    Ok(GlyphRun { face, text: text.to_owned(), text_start, glyphs })
}

/// Draws a replacement for each character that no font has; copying still gives the original text.
fn replaced(fonts: &Fonts, text: &str, text_start: usize, weight: Weight) -> anyhow::Result<GlyphRun> {
    let (face, glyph) = fonts.replacement(weight)?;
    let id = u16::try_from(glyph)?;
    let advance = fonts.face(face).advance(id);
    let mut glyphs: Vec<Glyph> = Vec::new();
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        match glyphs.last_mut() {
            Some(last) if is_joined(character) => last.end = end,
            _ => glyphs.push(Glyph { id, advance, right: 0.0, up: 0.0, start, end }),
        }
    }
    Ok(GlyphRun { face, text: text.to_owned(), text_start, glyphs })
}

#[expect(clippy::cast_precision_loss, reason = "lengths of a font are far below what an f32 holds exactly")]
fn in_em(length: i32, units_per_em: f32) -> f32 {
    length as f32 / units_per_em
}

/// A Hangul syllable may be written as its letters (Unicode's form D). The shaper composes them, so what matters is
/// which font has syllables.
fn whole_for_part(character: char) -> char {
    if matches!(character, '\u{1100}'..='\u{1112}') { '가' } else { character }
}

/// Whether a character modifies the one before it: joiners, variation selectors, combining marks.
fn is_joined(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}' | '\u{1160}'..='\u{11ff}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{2064}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{feff}' | '\u{1f3fb}'..='\u{1f3ff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Distinguishes scripts that must not be shaped together: each one with joining or moving letters has its own Unicode
/// blocks of at most 128 characters. All others, such as Latin, Japanese and Korean, are 0.
fn script_of(character: char) -> u32 {
    let code = u32::from(character);
    match character {
        '\u{590}'..='\u{10ff}'
        | '\u{1200}'..='\u{1cff}'
        | '\u{a800}'..='\u{a95f}'
        | '\u{a980}'..='\u{abff}'
        | '\u{10800}'..='\u{11fff}'
        | '\u{1e800}'..='\u{1efff}' => code >> 7,
        '\u{fb1d}'..='\u{fb4f}' => 0x590 >> 7,
        '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' => 0x600 >> 7,
        _ => 0,
    }
}

fn is_east_asian(character: char) -> bool {
    matches!(
        character,
        '\u{1100}'..='\u{11ff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2065}' | '\u{2070}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ffef}' | '\u{1f000}'..='\u{1faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::pdf::FontFolders;
    use crate::locale::Locale;

    fn fonts() -> Fonts {
        Fonts::new(Locale::En, &[], FontFolders::default()).unwrap()
    }

    fn lines(text: &str, width: f32) -> Vec<String> {
        let mut fonts = fonts();
        let lines = set_lines(&mut fonts, text, Weight::Regular, width).unwrap();
        for line in &lines {
            assert!(line.width <= width + 0.001, "{} of {width}: {line:?}", line.width);
        }
        let text = |line: &TextLine| line.runs.iter().map(|run| run.text.as_str()).collect::<String>();
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_text_is_broken_at_its_spaces() {
        assert_eq!(lines("one two three", 4.0), ["one two ", "three"]);
        assert_eq!(lines("one two three", 40.0), ["one two three"]);
        assert_eq!(lines("", 4.0), [""]);
    }

    #[test]
    fn a_word_too_wide_for_a_line_is_broken_where_it_must_be() {
        let broken = lines("Donaudampfschifffahrtsgesellschaft", 4.0);
        assert!(broken.len() > 3, "{broken:?}");
        assert_eq!(broken.concat(), "Donaudampfschifffahrtsgesellschaft");
        // Narrower than any character: one per line, and it terminates.
        let mut fonts = fonts();
        assert_eq!(set_lines(&mut fonts, "abc", Weight::Regular, 0.01).unwrap().len(), 3);
    }

    #[test]
    fn japanese_breaks_between_characters_but_no_line_begins_with_a_full_stop() {
        assert_eq!(lines("日次売上。次の文", 4.0), ["日次売", "上。次の", "文"]);
    }

    #[test]
    fn korean_breaks_between_its_words_unless_one_is_too_wide() {
        // What is carried over a break must leave room for the next character.
        assert_eq!(lines("a 한국전통자개보석함", 3.6).concat(), "a 한국전통자개보석함");
        assert_eq!(lines("한국 전통 보석함", 3.5), ["한국 ", "전통 ", "보석함"]);
        assert_eq!(lines("한국 전통자개보석함", 3.8), ["한국 ", "전통자개", "보석함"]);
    }

    #[test]
    fn right_to_left_text_keeps_its_place() {
        let mut fonts = fonts();
        // The built-in fonts have no Hebrew: each character is replaced, in the right place.
        let line = set_line(&mut fonts, "a שלום b", Weight::Regular).unwrap();
        let text: String = line.runs.iter().map(|run| run.text.as_str()).collect();
        assert!(text.starts_with("a ") && text.ends_with(" b"), "{text}");
        assert_eq!(fonts.missing(), ['ו', 'ל', 'ם', 'ש']);
    }

    #[test]
    fn what_cannot_be_seen_needs_no_font() {
        let mut fonts = fonts();
        set_line(&mut fonts, "a\u{200d}\u{fe0f}b\u{3000}\u{e0041}", Weight::Bold).unwrap();
        assert_eq!(fonts.missing(), [] as [char; 0]);
    }

    #[test]
    fn decomposed_hangul_becomes_syllables() {
        let mut fonts = fonts();
        let line = set_line(&mut fonts, "\u{1112}\u{1161}\u{11ab}", Weight::Regular).unwrap();
        assert_eq!(line.runs[0].glyphs.len(), 1);
        assert_eq!(
            line.runs[0].glyphs,
            set_line(&mut fonts, "한", Weight::Regular).unwrap().runs[0]
                .glyphs
                .iter()
                .map(|glyph| Glyph { end: 9, ..*glyph })
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_text_of_a_megabyte_is_cut() {
        let mut fonts = fonts();
        let text = "long ".repeat(200_000);
        let lines = set_lines(&mut fonts, &text, Weight::Regular, 30.0).unwrap();
        let characters: usize =
            lines.iter().flat_map(|line| &line.runs).map(|run| run.text.chars().count()).sum();
        assert!(characters <= MAX_TEXT + 1, "{characters}");
        assert!(lines.last().unwrap().runs.last().unwrap().text.ends_with('…'));
    }
}
