//! What a channel is sent, and how a text that is too long for one message is split into several.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

use crate::mask::Redactor;
use crate::printable::{one_line, shortened};
use crate::severity::Severity;

/// A message, whatever channel it goes to. All texts are plain: no kind of channel reads markup or a mention into them.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is about, the same at every attempt, such as `finance-summary.2026-11-19`. A mail carries it, so that
    /// duplicates can be recognised.
    pub id: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The headline.
    pub title: String,
    /// The text, line by line.
    pub lines: Vec<String>,
    /// Names and values below the text.
    pub fields: Vec<(String, String)>,
    /// Where to read more.
    pub link: Option<Link>,
    /// How urgent it is.
    pub severity: Severity,
    /// Whether the channel's configured person or group is mentioned.
    pub mentions: bool,
    /// The same as the text of a mail, where there is more room; by default the title, the lines, the fields and the
    /// link.
    pub letter: Option<String>,
    /// The same for a program behind a webhook; by default a document of the fields above.
    pub document: Option<Value>,
}

/// Where to read more.
#[derive(Debug, Clone)]
pub struct Link {
    /// What it leads to.
    pub label: String,
    /// Its address.
    pub url: Url,
}

impl Message {
    /// A message with only a title. High and critical ones mention the channel's configured people.
    pub fn new(
        id: impl Into<String>,
        at: DateTime<Utc>,
        severity: Severity,
        title: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            at,
            title: title.into(),
            lines: Vec::new(),
            fields: Vec::new(),
            link: None,
            severity,
            mentions: severity >= Severity::High,
            letter: None,
            document: None,
        }
    }

    /// The lines, and a line for each field.
    pub(super) fn text(&self) -> Vec<String> {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}"));
        self.lines.iter().cloned().chain(fields).collect()
    }

    /// The document for a program.
    pub(super) fn document(&self, environment: &str) -> Value {
        if let Some(document) = &self.document {
            return document.clone();
        }
        let fields = self.fields.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        json!({
            "id": self.id,
            "at": self.at,
            "environment": environment,
            "severity": self.severity,
            "title": self.title,
            "text": self.lines.join("\n"),
            "fields": fields.collect::<Vec<_>>(),
            "link": self.link.as_ref().map(|link| link.url.as_str()),
        })
    }

    /// The message without the secrets of this run.
    #[must_use]
    pub(super) fn redacted(&self, redactor: &Redactor) -> Self {
        let redact = |text: &String| redactor.redact(text);
        Self {
            title: redact(&self.title),
            lines: self.lines.iter().map(redact).collect(),
            fields: self.fields.iter().map(|(name, value)| (redact(name), redact(value))).collect(),
            letter: self.letter.as_ref().map(redact),
            document: self.document.as_ref().map(|document| redacted(document, redactor)),
            ..self.clone()
        }
    }

    /// The title of a part: with its number if there are several.
    pub(super) fn title_of(&self, part: usize, parts: usize, most: usize) -> String {
        let title = one_line(&self.title);
        if parts == 1 {
            return shortened(&title, most).into_owned();
        }
        let number = format!(" ({part}/{parts})");
        shortened(&title, most.saturating_sub(number.len())).into_owned() + &number
    }
}

fn redacted(document: &Value, redactor: &Redactor) -> Value {
    match document {
        Value::String(text) => Value::String(redactor.redact(text)),
        Value::Array(values) => values.iter().map(|value| redacted(value, redactor)).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), redacted(value, redactor))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

/// Shares lines out among as few messages as hold them, in order; `cost` is what a line takes of a message's
/// `budget`. A line that fits in no message is cut. There is always one message, if an empty one.
pub(super) fn share_out(lines: &[String], budget: usize, cost: impl Fn(&str) -> usize) -> Vec<Vec<String>> {
    let mut shares: Vec<Vec<String>> = vec![Vec::new()];
    let mut left = budget;
    for piece in
        lines.iter().flat_map(|line| line.split(['\n', '\r'])).flat_map(|line| cut(line, budget, &cost))
    {
        let takes = cost(&piece);
        if takes > left {
            shares.push(Vec::new());
            left = budget;
        }
        left = left.saturating_sub(takes);
        shares.last_mut().unwrap_or_else(|| unreachable!("there is always one")).push(piece);
    }
    shares
}

/// A line in pieces that each fit in `budget`, or are one character. No character costs less than nothing, so that a
/// piece grows until the next character does not fit.
fn cut(line: &str, budget: usize, cost: &impl Fn(&str) -> usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let end = fitting(rest, budget, cost);
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    if pieces.is_empty() {
        pieces.push(String::new());
    }
    pieces
}

/// The end of the longest beginning that fits in `budget`, or of the first character. Doubles a beginning until it is
/// too long, then searches by halves: only what a piece holds is measured, not all that follows.
fn fitting(text: &str, budget: usize, cost: &impl Fn(&str) -> usize) -> usize {
    let end_of = |characters: usize| text.char_indices().nth(characters).map_or(text.len(), |(end, _)| end);
    let (mut fits, mut too_many) = (1, 2);
    while cost(&text[..end_of(too_many)]) <= budget {
        if end_of(too_many) == text.len() {
            return text.len();
        }
        (fits, too_many) = (too_many, too_many * 2);
    }
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        if cost(&text[..end_of(middle)]) <= budget { fits = middle } else { too_many = middle }
    }
    end_of(fits)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message of these lines that mentions somebody.
    pub(in crate::channels) fn message(title: &str, lines: Vec<String>) -> Message {
        Message { lines, ..Message::new("test.1", DateTime::UNIX_EPOCH, Severity::High, title) }
    }

    fn shared(lines: &[&str], budget: usize) -> Vec<Vec<String>> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        share_out(&lines, budget, |line| line.chars().count() + 1)
    }

    #[test]
    fn lines_stay_whole_where_they_can_and_nothing_is_lost() {
        assert_eq!(shared(&["ab", "cd", "ef"], 6), [vec!["ab", "cd"], vec!["ef"]]);
        assert_eq!(shared(&["ab\ncd", "ef"], 3), [["ab"], ["cd"], ["ef"]]);
        assert_eq!(shared(&["長い一行です", "x"], 4), [["長い一"], ["行です"], ["x"]]);
        assert_eq!(shared(&[], 4), [Vec::<String>::new()]);
        assert_eq!(shared(&["ab", ""], 4), [["ab", ""]]);
    }

    #[test]
    fn a_title_has_its_number_only_among_several_and_stays_in_its_limit() {
        let message = message("a job\nfailed", Vec::new());
        assert_eq!(message.title_of(1, 1, 80), "a job failed");
        assert_eq!(message.title_of(2, 3, 80), "a job failed (2/3)");
        assert_eq!(message.title_of(2, 3, 12), "a job… (2/3)");
    }

    #[test]
    fn no_secret_is_left_in_any_part_of_a_message() {
        let secret = || "a hunter22 b".to_owned();
        let message = Message {
            fields: vec![("key".to_owned(), secret())],
            letter: Some(secret()),
            document: Some(json!({ "list": [{ "text": secret() }, 1, null] })),
            ..message(&secret(), vec![secret()])
        };
        let redacted = message.redacted(&Redactor::new(["hunter22".to_owned()]));
        assert_eq!(format!("{redacted:?}").matches("a *** b").count(), 5, "{redacted:?}");
    }
}
