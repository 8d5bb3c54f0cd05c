//! Where a column's heading may break: between its words, and never inside one.
//!
//! Japanese is written without spaces. Its words are told apart by their script, and long compounds of kanji by the
//! rule that nearly all of them are made of words of two characters.

use unicode_width::UnicodeWidthStr;

/// A shorter run of kanji is read at a glance, and stays whole: `返金件数`.
const LONG_COMPOUND: usize = 6;
/// The words of a compound: `平均`, `注文`, `単価`.
const KANJI_OF_WORD: usize = 2;

/// The parts of a heading that stay together: words with the space after them, what is in brackets, and in Japanese words
/// in katakana and the words of a long compound.
pub(super) fn phrases(heading: &str) -> impl Iterator<Item = &str> {
    heading.split_inclusive(' ').flat_map(|word| {
        let bracket = word.find(['（', '(']).filter(|at| *at > 0).unwrap_or(word.len());
        let (before, in_brackets) = word.split_at(bracket);
        words(before).into_iter().chain([in_brackets]).filter(|part| !part.is_empty())
    })
}

/// The lines of a heading, none wider than `width` unless a phrase alone is.
pub(super) fn lines(heading: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for phrase in phrases(heading) {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.width() + phrase.trim_end().width() <= width => {
                line.push_str(phrase);
            }
            _ => lines.push(phrase.to_owned()),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The width below which a heading would break inside a word, in columns of a terminal.
pub(super) fn narrowest(heading: &str) -> usize {
    phrases(heading).map(|phrase| phrase.trim_end().width()).max().unwrap_or(0)
}

/// How a character takes part in words that no space separates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Kanji,
    Katakana,
    /// Anything else, such as hiragana, which belongs to the word before it, or Latin and Hangul, which have spaces.
    Other,
}

impl Script {
    fn of(character: char) -> Self {
        match character {
            '\u{3400}'..='\u{9fff}' | '々' => Self::Kanji,
            // The dot separates words.
            '\u{30a0}'..='\u{30ff}' if character != '・' => Self::Katakana,
            _ => Self::Other,
        }
    }
}

/// `キャンセル件数` as `キャンセル` and `件数`, `平均注文単価` as `平均`, `注文` and `単価`.
fn words(text: &str) -> Vec<&str> {
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let mut words = Vec::new();
    let mut start = 0;
    let mut run = 0;
    for (place, &(at, character)) in characters.iter().enumerate() {
        let script = Script::of(character);
        let before = place.checked_sub(1).map(|before| characters[before].1);
        let is_same = before.map(Script::of) == Some(script);
        run = if is_same { run + 1 } else { 0 };
        let is_break = match before {
            None => false,
            Some('の' | '・' | '/' | '／') => true,
            // What is before a mark or an ending stays with it.
            Some(_) if script == Script::Other => false,
            Some(before) if Script::of(before) == Script::Other => false,
            Some(_) if !is_same => true,
            Some(_) => script == Script::Kanji && is_between_words(&characters[place - run..], run),
        };
        if is_break {
            words.push(&text[start..at]);
            start = at;
        }
    }
    words.push(&text[start..]);
    words
}

/// Whether a word of a long compound begins at this place of it. One of an odd length has no rule.
fn is_between_words(compound: &[(usize, char)], place: usize) -> bool {
    let length = compound.iter().take_while(|(_, character)| Script::of(*character) == Script::Kanji).count();
    length >= LONG_COMPOUND && length.is_multiple_of(KANJI_OF_WORD) && place.is_multiple_of(KANJI_OF_WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_breaks_between_its_words_only() {
        let cases = [
            ("純売上（税込）", "純売上|（税込）"),
            ("純売上（税込） (JPY)", "純売上|（税込） |(JPY)"),
            ("キャンセル件数", "キャンセル|件数"),
            ("キャンセル理由", "キャンセル|理由"),
            ("平均注文単価", "平均|注文|単価"),
            ("新規顧客", "新規顧客"),
            ("以前の数値", "以前の|数値"),
            ("売り切れ商品", "売り切れ商品"),
            ("店舗・理由", "店舗・|理由"),
            ("前日比", "前日比"),
            ("時々刻々", "時々刻々"),
            ("Average order", "Average |order"),
            ("Gross (JPY)", "Gross |(JPY)"),
            ("평균 주문액", "평균 |주문액"),
            ("주(월요일)", "주|(월요일)"),
            ("（税込）", "（税込）"),
            ("", ""),
        ];
        for (heading, expected) in cases {
            assert_eq!(phrases(heading).collect::<Vec<_>>().join("|"), expected);
            assert_eq!(phrases(heading).collect::<String>(), heading);
        }
    }

    #[test]
    fn a_line_holds_as_many_words_as_fit() {
        assert_eq!(lines("平均注文単価", 8), ["平均注文", "単価"]);
        assert_eq!(lines("純売上（税込）", 13), ["純売上", "（税込）"]);
        assert_eq!(lines("純売上（税込）", 14), ["純売上（税込）"]);
        assert_eq!(lines("New customers", 4), ["New", "customers"]);
        assert_eq!(lines("", 4), [""]);
        assert_eq!(["平均注文単価", "純売上（税込）", "New customers", ""].map(narrowest), [4, 8, 9, 0]);
    }
}
