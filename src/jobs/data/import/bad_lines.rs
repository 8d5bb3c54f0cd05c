//! The bad lines of a file: the first of them, and all of them by what is wrong.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::context::Context;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::printable::shortened;
use crate::shop::malls;
use crate::wording::{command, counted, share};

use super::ImportedFile;
use super::kind::BadLine;
use super::reader::Record;

/// Bad lines that are shown one by one when they keep a file from being imported. What is wrong with the others is counted.
pub(super) const SHOWN_BAD_LINES: usize = 100;
/// Bad lines that are held.
const HELD_BAD_LINES: usize = SHOWN_BAD_LINES;
/// Kinds of problems that are told apart. No file has more, unless each of its lines has its own.
const KINDS: usize = 100;
/// Kinds that become rows of the history.
const TOLD_KINDS: usize = 20;
/// Lines that are named for a kind.
const NAMED_LINES: usize = 3;
/// Different values that are counted for a kind, and those that are named.
const COUNTED_VALUES: usize = 50;
const NAMED_VALUES: usize = 5;
/// Characters of a value that are shown.
const VALUE_CHARACTERS: usize = 30;

/// The bad lines of a file.
#[derive(Debug, Default)]
pub(super) struct BadLines {
    first: Vec<BadLine>,
    count: u64,
    kinds: BTreeMap<String, KindOfProblem>,
}

/// Problems that differ only in their values.
#[derive(Debug, Default)]
struct KindOfProblem {
    count: u64,
    lines: Vec<u64>,
    values: BTreeMap<String, u64>,
    has_more_values: bool,
}

impl BadLines {
    /// Adds some.
    pub(super) fn note(&mut self, bad: Vec<BadLine>) {
        for bad in bad {
            self.count += 1;
            for problem in &bad.problems {
                self.note_kind(problem, bad.line);
            }
            if self.first.len() < HELD_BAD_LINES {
                self.first.push(bad);
            }
        }
    }

    fn note_kind(&mut self, problem: &str, line: u64) {
        let (mut kind, value) = kind_of(problem);
        if self.kinds.len() == KINDS && !self.kinds.contains_key(&kind) {
            "another problem".clone_into(&mut kind);
        }
        let kind = self.kinds.entry(kind).or_default();
        kind.count += 1;
        if kind.lines.len() < NAMED_LINES {
            kind.lines.push(line);
        }
        let Some(value) = value else { return };
        if let Some(count) = kind.values.get_mut(value) {
            *count += 1;
        } else if kind.values.len() < COUNTED_VALUES {
            kind.values.insert(value.to_owned(), 1);
        } else {
            kind.has_more_values = true;
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first of them, at most so many.
    pub(super) fn first(&self, most: usize) -> &[BadLine] {
        &self.first[..self.first.len().min(most)]
    }

    /// The kinds of problems, the most frequent first.
    fn by_frequency(&self) -> Vec<(&String, &KindOfProblem)> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, kind)| (std::cmp::Reverse(kind.count), kind.lines.first().copied()));
        kinds
    }

    /// The kinds of problems of all lines in words, at most so many.
    pub(super) fn kinds_in_words(&self, most: usize) -> Vec<String> {
        let in_words = |(problem, kind): (&String, &KindOfProblem)| {
            let lines = counted(kind.count, "line", "lines");
            format!("{lines} in all: {problem}{}", kind.values_in_words())
        };
        self.by_frequency().into_iter().take(most.min(TOLD_KINDS)).map(in_words).collect()
    }

    /// The kinds of problems as a table for the terminal.
    pub(super) fn table(&self, cx: &Context) -> String {
        let text = |key, label| Column::new(key, label, ColumnKind::Text);
        let row = |(problem, kind): (&String, &KindOfProblem)| {
            let first: Vec<String> = kind.lines.iter().map(u64::to_string).collect();
            let more = if kind.count > first.len() as u64 { ", …" } else { "" };
            Row::new(vec![
                Cell::text(kind.count.to_string()),
                Cell::text(format!("{problem}{}", kind.values_in_words())),
                Cell::text(format!("{}{more}", first.join(", "))),
            ])
        };
        let table = Table {
            key: "errors",
            title: String::new(),
            columns: vec![text("count", "Count"), text("problem", "Problem"), text("lines", "Lines")],
            rows: self.by_frequency().into_iter().map(row).collect(),
        };
        terminal::render_list(&table, cx.output.width(), cx.output.colour())
    }

    /// The first bad line as it is in the file, with its values masked: what a person can send to somebody else.
    pub(super) fn sample(&self, file: &ImportedFile) -> Option<String> {
        let line = self.first.iter().map(|bad| bad.line).min()?;
        let (mut reader, header) = file.source.open().ok()?;
        let mut record = Record::default();
        while reader.next_record(&mut record).ok()? {
            if record.line() < line {
                continue;
            }
            let mut text = format!("line {line}, its values masked:\n");
            for (place, name) in
                header.iter().enumerate().filter(|(place, _)| !record.field(*place).is_empty())
            {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {name}: {}", masked(record.field(place)));
            }
            return Some(text);
        }
        None
    }

    /// The failure of an import that these lines prevent.
    pub(super) fn failure(&self, advice: &str, lines: u64) -> Failure {
        let message = format!("{} bad, {advice}", share(self.count, lines, "line", "lines"));
        let unknown =
            self.first.iter().flat_map(|bad| &bad.problems).find_map(|problem| unknown_mall(problem));
        Failure::bad_input(message).hint(match unknown {
            None => "fix the file, or skip bad lines with --skip-limit N".to_owned(),
            Some(code) => {
                let add = command(&["mall", "add", code, "--currency", "CURRENCY", "--time-zone", "ZONE"]);
                format!("fix the file, or add the mall with `{add}`, or skip bad lines with --skip-limit N")
            }
        })
    }
}

impl KindOfProblem {
    /// The values that the problem is about, the most frequent first, if there are several problems.
    fn values_in_words(&self) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let mut values: Vec<_> = self.values.iter().collect();
        values.sort_by_key(|(value, count)| (std::cmp::Reverse(**count), *value));
        let named: Vec<String> = values
            .iter()
            .take(NAMED_VALUES)
            .map(|(value, count)| {
                let value = shortened(value, VALUE_CHARACTERS);
                if **count == 1 { format!("`{value}`") } else { format!("`{value}` {count}×") }
            })
            .collect();
        let more = if values.len() > NAMED_VALUES || self.has_more_values { ", …" } else { "" };
        format!(" ({}{more})", named.join(", "))
    }
}

/// A problem without what differs from line to line, and the value that it is about: what is in backticks after the
/// column's name, and numbers.
fn kind_of(problem: &str) -> (String, Option<&str>) {
    let (column, rest) = match problem.split_once("`: ") {
        Some((column, rest)) if column.starts_with('`') => (&problem[..column.len() + 3], rest),
        _ => ("", problem),
    };
    let mut kind = column.to_owned();
    let mut value = None;
    for (place, part) in rest.split('`').enumerate() {
        if place % 2 == 1 && place == 1 {
            value = Some(part);
            kind.push('…');
        } else {
            push_without_lines(&mut kind, part);
        }
    }
    (kind, value)
}

/// Adds a text without the numbers of lines.
fn push_without_lines(kind: &mut String, text: &str) {
    let mut parts = text.split("line ");
    kind.push_str(parts.next().unwrap_or_default());
    for part in parts {
        kind.push_str("line ");
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            kind.push('…');
        }
        kind.push_str(&part[digits..]);
    }
}

/// A value's shape: digits as 9, letters as x and X, all other characters of words as 字. What is left shows how dates and
/// amounts are written, and nobody's name.
pub(super) fn masked(value: &str) -> String {
    const MOST: usize = 60;
    let mask = |character: char| match character {
        '0'..='9' => '9',
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        other if other.is_numeric() => '９',
        other if other.is_alphanumeric() => '字',
        other if other.is_control() => ' ',
        other => other,
    };
    shortened(&value.chars().map(mask).collect::<String>(), MOST).into_owned()
}

/// The mall that a line belongs to, if its problem is that there is no such mall and there could be.
fn unknown_mall(problem: &str) -> Option<&str> {
    let (code, _) = problem.strip_prefix("`mall`: unknown mall `")?.split_once('`')?;
    malls::is_code(code).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_that_differ_only_in_values_and_lines_are_of_one_kind() {
        assert_eq!(
            kind_of("`status`: `返品` is not one of PAID, SHIPPED: map it in batchctl.toml"),
            ("`status`: … is not one of PAID, SHIPPED: map it in batchctl.toml".to_owned(), Some("返品"))
        );
        assert_eq!(kind_of("`paid_at`: is empty, but the order is PAID").1, None);
        assert_eq!(
            kind_of("the same order is also on line 12: its lines have to be consecutive").0,
            "the same order is also on line …: its lines have to be consecutive"
        );
        let mut bad = BadLines::default();
        for (line, status) in [(2, "返品"), (3, "返品"), (5, "?")] {
            let problems =
                vec![format!("`status`: `{status}` is not one of PAID"), "`email`: is empty".to_owned()];
            bad.note(vec![BadLine { line, problems }]);
        }
        assert_eq!(
            bad.kinds_in_words(9),
            [
                "3 lines in all: `email`: is empty",
                "3 lines in all: `status`: … is not one of PAID (`返品` 2×, `?`)"
            ]
        );
        assert_eq!(bad.count(), 3);
    }

    #[test]
    fn a_masked_value_shows_its_shape_and_nothing_of_it() {
        assert_eq!(masked("2026-07-01 09:05:00 +0900"), "9999-99-99 99:99:99 +9999");
        assert_eq!(masked("hanako@example.com"), "xxxxxx@xxxxxxx.xxx");
        assert_eq!(masked("¥1,200"), "¥9,999");
        assert_eq!(masked("山田 花子 (ﾔﾏﾀﾞ)"), "字字 字字 (字字字字)");
    }
}
