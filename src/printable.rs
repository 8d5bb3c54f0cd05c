//! Makes foreign text safe to print: on a terminal, in a log, in a chat, in a document.

use std::borrow::Cow;

/// Whether a character controls what displays it: it colours the text, moves the cursor, breaks the line, or changes the
/// direction of what follows.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{fff9}'..='\u{fffb}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text on one line of a terminal or a log; control characters are escaped, so that they are seen.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_control(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

/// A JSON text whose strings hold no control character as it is; JSON itself requires this only of ASCII's.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    let is_unescaped = |character: char| is_control(character) && !character.is_ascii_whitespace();
    if !json.contains(is_unescaped) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_unescaped(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

/// Like [`escaped`], for a text of several lines.
pub fn escaped_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.lines().map(escaped).collect();
    lines.join("\n")
}

/// The text on one line of a document; control characters are left out.
pub fn cleaned(text: &str) -> String {
    text.chars()
        .filter_map(|character| match character {
            '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
            character if is_control(character) => None,
            character => Some(character),
        })
        .collect()
}

/// The words of a text on one line; control characters separate words.
pub fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || is_control(character));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most so many characters; the last one is an ellipsis if the text was cut.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.char_indices().nth(most).is_none() {
        return text.into();
    }
    let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(end, _)| end);
    format!("{}…", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[31mred\u{7}\u{9b}2J\tb\r\nc\u{202e}\u{61c}d\u{2028}e";

    #[test]
    fn control_characters_are_escaped_or_left_out() {
        let shown = r"a\u{1b}[31mred\u{7}\u{9b}2J\tb\r\nc\u{202e}\u{61c}d\u{2028}e";
        assert_eq!(escaped(HOSTILE), shown);
        assert_eq!(escaped_lines("a\u{1b}b\r\n雪\n"), "a\\u{1b}b\n雪");
        assert_eq!(cleaned(HOSTILE), "a[31mred2J b  cd e");
        assert_eq!(one_line(HOSTILE), "a [31mred 2J b c d e");
        assert_eq!(escaped("ordinary 文字"), "ordinary 文字");
        let json = escaped_json("{\n  \"a\": \"\u{9b}\u{202e}\u{7f}文\"\n}");
        assert_eq!(json, "{\n  \"a\": \"\\u009b\\u202e\\u007f文\"\n}");
    }

    #[test]
    fn a_long_text_is_cut_to_whole_characters() {
        for (text, most, short) in
            [("雪雪雪", 3, "雪雪雪"), ("雪雪雪雪", 3, "雪雪…"), ("ab", 1, "…"), ("", 0, "")]
        {
            assert_eq!(shortened(text, most), short);
        }
    }
}
