//! A server's reply: its code, its enhanced code (RFC 3463), and its text.

use crate::printable::{one_line, shortened};

/// How much of a reply is kept.
const KEPT_CHARACTERS: usize = 500;

/// A reply, or what broke, as it is kept: on one short line.
pub(super) fn kept(text: &str) -> String {
    shortened(&one_line(text), KEPT_CHARACTERS).into_owned()
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Three digits, the first from 2 to 5.
    pub(super) code: u16,
    /// Its lines without the code.
    pub(super) lines: Vec<String>,
}

/// `class.subject.detail` of RFC 3463.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enhanced {
    pub(super) class: u16,
    pub(super) subject: u16,
    pub(super) detail: u16,
}

impl Reply {
    /// Reads a line: its code, whether more lines follow, its text.
    pub(super) fn parse_line(line: &[u8]) -> Option<(u16, bool, String)> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3)?;
        if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (is_more, text) = match rest {
            [] => (false, rest),
            [b' ', text @ ..] => (false, text),
            [b'-', text @ ..] => (true, text),
            _ => return None,
        };
        // Servers answer in their local encoding: text that is not UTF-8 is no reason to lose the code.
        Some((code, is_more, String::from_utf8_lossy(text).into_owned()))
    }

    /// 2xx.
    pub(super) fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// The enhanced code that begins its first line.
    pub(super) fn enhanced(&self) -> Option<Enhanced> {
        let word = self.lines.first()?.split_whitespace().next()?;
        let mut parts = word.split('.').map(|part| {
            let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { part.parse::<u16>().ok() } else { None }
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        let is_whole = parts.next().is_none() && matches!(class, 2 | 4 | 5);
        is_whole.then_some(Enhanced { class, subject, detail })
    }

    /// Its codes alone. What a server says to a login may repeat the password, in more spellings than anybody knows.
    pub(super) fn codes(&self) -> String {
        match self.enhanced() {
            Some(Enhanced { class, subject, detail }) => format!("{} {class}.{subject}.{detail}", self.code),
            None => self.code.to_string(),
        }
    }

    /// Code and text on one line, for people, without control characters.
    pub(super) fn text(&self) -> String {
        let mut text = self.code.to_string();
        let enhanced = self.enhanced().and_then(|_| self.lines.first()?.split_whitespace().next());
        for (number, line) in self.lines.iter().enumerate() {
            // Many servers repeat the enhanced code on each line.
            let line = match enhanced {
                Some(code) if number > 0 => line.strip_prefix(code).unwrap_or(line),
                _ => line,
            };
            text.push(' ');
            text.push_str(line);
        }
        kept(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn a_line_is_a_reply_or_it_is_none() {
        for (line, expected) in [
            ("250 ok\r\n", Some((250, false, "ok"))),
            ("250-ok\r\n", Some((250, true, "ok"))),
            ("571 no\n", Some((571, false, "no"))),
            ("354\r\n", Some((354, false, ""))),
            ("250 \r\n", Some((250, false, ""))),
            ("2500 ok\r\n", None),
            ("250\tok\r\n", None),
            ("150 ok\r\n", None),
            ("650 ok\r\n", None),
            ("25\r\n", None),
            ("\r\n", None),
            ("HTTP/1.1 400 Bad Request\r\n", None),
        ] {
            let expected = expected.map(|(code, is_more, text)| (code, is_more, text.to_owned()));
            assert_eq!(Reply::parse_line(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn an_enhanced_code_begins_the_text_and_has_three_numbers() {
        for (text, expected) in [
            ("5.1.1 unknown", Some((5, 1, 1))),
            ("4.7.500 wait", Some((4, 7, 500))),
            ("5.1.1", Some((5, 1, 1))),
            ("unknown 5.1.1", None),
            ("5.1 unknown", None),
            ("5.1.1.1 unknown", None),
            ("5.1.1: unknown", None),
            ("3.1.1 unknown", None),
            ("5.1.1000 unknown", None),
            ("127.0.0.1 is not welcome", None),
            ("", None),
        ] {
            let expected = expected.map(|(class, subject, detail)| Enhanced { class, subject, detail });
            assert_eq!(reply(550, &[text]).enhanced(), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_is_shown_on_one_short_line() {
        let lines = ["5.7.26 not\u{1b}[31m \tyou", "5.7.26 see", "https://example.jp"];
        assert_eq!(reply(550, &lines).text(), "550 5.7.26 not [31m you see https://example.jp");
        let long = reply(550, &["長".repeat(2_000).as_str()]).text();
        assert_eq!(long.chars().count(), KEPT_CHARACTERS);
        assert!(long.starts_with("550 長長") && long.ends_with("長…"));
    }
}
