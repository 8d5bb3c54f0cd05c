//! Comparing what was read with what the service counts.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use super::walk::Onward;
use super::{Cursor, Question, Rules, Span, Stage, Step, Total};

/// The most parts of a window that are told apart.
const MAX_STRETCHES: usize = 64;

/// A part of a window, and how many records of it were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub(super) span: Span,
    pub(super) read: u64,
}

/// A window seems to be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// How it goes on if its last page, the last stretch, was not the end.
    pub(super) onward: Option<Box<Onward>>,
}

/// The search for the stretches that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compare {
    ranges: Vec<Range>,
    differing: Vec<Span>,
    /// How many records were read of those.
    known: u64,
}

/// Some neighbouring stretches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    from: usize,
    to: usize,
    /// Whether they are known to differ.
    differs: bool,
    /// How many records the service counts in them, if known.
    total: Option<u64>,
}

impl Range {
    fn halves(self) -> (Self, Self) {
        let middle = self.from.midpoint(self.to);
        let part = |from, to| Self { from, to, differs: false, total: None };
        (part(self.from, middle), part(middle, self.to))
    }

    /// Those to ask about: where all of them are known to differ, their first half.
    fn asked(self) -> Self {
        if self.differs { self.halves().0 } else { self }
    }

    fn read(self, stretches: &[Stretch]) -> u64 {
        stretches[self.from..self.to].iter().map(|stretch| stretch.read).sum()
    }
}

impl Compare {
    pub(super) fn question(&self, stretches: &[Stretch]) -> Question {
        let asked = self.ranges.last().map(|range| range.asked());
        let Some(asked) = asked.filter(|asked| asked.from < asked.to) else {
            unreachable!("a comparison has a range to ask about")
        };
        let (first, last) = (stretches[asked.from].span.first, stretches[asked.to - 1].span.last);
        Question::Total { span: Span { first, last }, expected: asked.read(stretches) }
    }

    /// Takes up ranges that are known to differ, down to single stretches.
    fn add(&mut self, range: Range, stretches: &[Stretch]) {
        if range.differs && range.to - range.from == 1 {
            self.differing.push(stretches[range.from].span);
            self.known += range.read(stretches);
        } else {
            self.ranges.push(range);
        }
    }
}

impl Cursor {
    pub(super) fn read_of_window(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.read).sum()
    }

    /// Adds a stretch; where there are many, neighbours become one.
    pub(super) fn add_stretch(&mut self, stretch: Stretch) {
        self.stretches.push(stretch);
        if self.stretches.len() > MAX_STRETCHES {
            self.stretches.sort_unstable_by_key(|stretch| stretch.span.first);
            let mut merged: Vec<Stretch> = Vec::with_capacity(MAX_STRETCHES);
            let mut is_pair = false;
            for stretch in self.stretches.drain(..) {
                match merged.last_mut() {
                    // Between two that are no neighbours something is still unread.
                    Some(last)
                        if !is_pair && last.span.last + TimeDelta::seconds(1) == stretch.span.first =>
                    {
                        last.span.last = stretch.span.last;
                        last.read += stretch.read;
                        is_pair = true;
                    }
                    _ => {
                        merged.push(stretch);
                        is_pair = false;
                    }
                }
            }
            self.stretches = merged;
        }
    }

    /// Continues after the total of a window that seemed to be read.
    pub(super) fn ended(mut self, ended: Ended, total: Total, rules: &Rules) -> Step {
        let read = self.read_of_window();
        if total.is(read) {
            return self.complete(read, rules);
        }
        if let Some(onward) = ended.onward {
            self.stretches.pop();
            return Step::to(self.go(onward.knowing(total.number())));
        }
        self.looks += 1;
        self.stretches.sort_unstable_by_key(|stretch| stretch.span.first);
        if self.looks > 1 || self.stretches.len() < 2 {
            return Step::to(self.in_pieces());
        }
        let all = Range { from: 0, to: self.stretches.len(), differs: true, total: total.number() };
        let mut compare = Compare { ranges: Vec::new(), differing: Vec::new(), known: 0 };
        compare.add(all, &self.stretches);
        Step::to(self.at(Stage::Compare(compare)))
    }

    /// Continues after the total of some stretches.
    pub(super) fn compared(self, mut compare: Compare, total: Total) -> Step {
        let Some(range) = compare.ranges.pop() else { unreachable!("a comparison has a range to ask about") };
        let asked = range.asked();
        if range.differs {
            let rest = range.halves().1;
            let left = range.total.zip(total.number()).and_then(|(all, part)| all.checked_sub(part));
            // What is left of a known total need not be asked for.
            match left {
                Some(left) if left == rest.read(&self.stretches) => {}
                Some(left) => {
                    compare.add(Range { differs: true, total: Some(left), ..rest }, &self.stretches);
                }
                None => compare.add(rest, &self.stretches),
            }
        }
        if !total.is(asked.read(&self.stretches)) {
            compare.add(Range { differs: true, total: total.number(), ..asked }, &self.stretches);
        }
        if !compare.ranges.is_empty() {
            return Step::to(self.at(Stage::Compare(compare)));
        }
        let stage = if compare.differing.is_empty() {
            // The list changed in the meantime: the whole is compared once more.
            Stage::Ended(Ended { onward: None })
        } else {
            let agreed = self.read_of_window() - compare.known;
            Stage::Pieces(Pieces::of(compare.differing, agreed))
        };
        Step::to(self.at(stage))
    }
}
