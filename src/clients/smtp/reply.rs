//! A server's reply: its code, its enhanced code (RFC 3463), and its words.

/// How much of a reply is kept.
const KEPT_CHARACTERS: usize = 500;

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
        // Servers answer in the encoding of their country: what is no UTF-8 is no reason to lose the code.
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

    /// Code and words on one line, for people; control characters out.
    pub(super) fn text(&self) -> String {
        let mut text = self.code.to_string();
        let enhanced = self.enhanced().and_then(|_| self.lines.first()?.split_whitespace().next());
        for (number, line) in self.lines.iter().enumerate() {
            // Many servers repeat the enhanced code on each line.
            let line = match enhanced {
                Some(code) if number > 0 => line.strip_prefix(code).unwrap_or(line),
                _ => line,
            };
            for word in line.split(|character: char| character.is_whitespace() || character.is_control()) {
                if !word.is_empty() {
                    text.push(' ');
                    text.push_str(word);
                }
            }
        }
        shortened(&text)
    }
}

/// At most 500 characters of a text on one line.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(KEPT_CHARACTERS) {
        Some(_) => text.chars().take(KEPT_CHARACTERS - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
