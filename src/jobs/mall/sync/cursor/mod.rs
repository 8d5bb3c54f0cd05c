//! How a list is read so that nothing is missed, and how that is proved.
//!
//! What was read is known by its key, not by its place: records appear and disappear while a list is read, those that
//! share a second may come in another order at each call, and a page may be short or empty although there is more.
//!
//! - [`walk`]: the list is read from one end by time. Each page starts at the last second of the page before, and so
//!   contains that second whole, in whatever order.
//! - [`second`]: a second with more records than a page is read by offset, again and again until its keys are complete.
//! - [`compare`]: what was read is compared with what the service counts. If they differ, the part that does is found.
//! - [`pieces`]: that part is read again in pieces, each so small that a single page contains all that is counted in it.
//!   This assumes nothing about the order of a list, so a list that is not sorted by time is read like this at once.
//!
//! What still differs is a [`Gap`]. A cursor makes no calls: it asks a [`Question`] and is told the answer, and between
//! two of them it can be stored.

mod compare;
mod pieces;
mod second;
mod walk;

use std::collections::HashSet;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

use self::compare::{Compare, Ended, Stretch};
use self::pieces::Pieces;
use self::second::Second;
use self::walk::Walk;

/// A span of time, both ends included, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    /// The first second.
    pub(super) first: DateTime<Utc>,
    /// The last second.
    pub(super) last: DateTime<Utc>,
}

impl Span {
    /// Its beginning, at most `longest` long, and the rest after it.
    pub(super) fn split(self, longest: Option<TimeDelta>) -> (Self, Option<Self>) {
        let last = longest.and_then(|longest| self.first.checked_add_signed(longest - ONE_SECOND));
        let last = last.map_or(self.last, |last| last.min(self.last));
        (Self { first: self.first, last }, self.after(last))
    }

    fn of_second(at: DateTime<Utc>) -> Self {
        Self { first: at, last: at }
    }

    /// The part before a given second, if there is any.
    fn before(self, second: DateTime<Utc>) -> Option<Self> {
        let last = second - ONE_SECOND;
        (last >= self.first).then_some(Self { last, ..self })
    }

    /// The part after a given second, if there is any.
    fn after(self, second: DateTime<Utc>) -> Option<Self> {
        let first = second + ONE_SECOND;
        (first <= self.last).then_some(Self { first, ..self })
    }

    /// Its two halves; `None` for a single second.
    fn halves(self) -> Option<(Self, Self)> {
        let middle = second_of(self.first + (self.last - self.first) / 2);
        self.after(middle).map(|rest| (Self { last: middle, ..self }, rest))
    }

    fn contains(self, second: DateTime<Utc>) -> bool {
        (self.first..=self.last).contains(&second)
    }
}

const ONE_SECOND: TimeDelta = TimeDelta::seconds(1);

/// The limits of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The noun for its records, for messages.
    pub(super) noun: &'static str,
    /// The largest offset.
    pub(super) most_offset: u32,
    /// How long a window may be.
    pub(super) longest: Option<TimeDelta>,
    /// The records of a page.
    pub(super) limit: u32,
}

impl Rules {
    /// The most records of one second that can be listed.
    fn most_at_once(&self) -> u64 {
        u64::from(self.most_offset) + u64::from(self.limit)
    }

    fn is_full(&self, page: &[Listed]) -> bool {
        page.len() >= self.limit as usize
    }
}

/// A record of a page: its key, and the time by which the list is filtered, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) at: Option<DateTime<Utc>>,
}

impl Listed {
    fn second(&self) -> Option<DateTime<Utc>> {
        self.at.map(second_of)
    }
}

/// What has to be known to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// A page of the records in a span.
    Page { span: Span, offset: u32 },
    /// How many records a span has; a service that does not count can still say whether it is the expected number.
    Total { span: Span, expected: u64 },
}

/// The answer about a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    /// This many.
    Is(u64),
    /// Not as many as expected.
    Differs,
}

impl Total {
    fn is(self, expected: u64) -> bool {
        self == Self::Is(expected)
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Is(number) => Some(number),
            Self::Differs => None,
        }
    }
}

/// A part of a list that could not be read in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where.
    pub(super) span: Span,
    /// How many records were listed, if that was established.
    pub(super) listed: Option<u64>,
    /// How many the service counts, if it says.
    pub(super) counted: Option<u64>,
}

/// What follows from an answer.
#[derive(Debug)]
pub(super) struct Step {
    /// For each record of a page, whether it was not read before.
    pub(super) is_new: Vec<bool>,
    /// How many more records count as read.
    pub(super) read: u64,
    /// What was given up on.
    pub(super) gaps: Vec<Gap>,
    /// Where to continue; `None` if everything was read.
    pub(super) next: Option<Cursor>,
}

impl Step {
    fn to(next: impl Into<Option<Cursor>>) -> Self {
        Self { is_new: Vec::new(), read: 0, gaps: Vec::new(), next: next.into() }
    }
}

/// Where a list is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The part of the list that is read as a whole.
    window: Span,
    /// The windows after it.
    rest: Option<Span>,
    /// How many records were read of each part of the window.
    stretches: Vec<Stretch>,
    /// How often the window as a whole was found to differ.
    looks: u32,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Walk(Walk),
    Second(Second),
    Ended(Ended),
    Compare(Compare),
    Pieces(Pieces),
}

impl Cursor {
    /// The beginning of a span.
    pub(super) fn new(span: Span, rules: &Rules) -> Self {
        let (window, rest) = span.split(rules.longest);
        Self { window, rest, stretches: Vec::new(), looks: 0, stage: Stage::Walk(Walk::of(vec![window])) }
    }

    /// What it has to be told.
    pub(super) fn question(&self) -> Question {
        match &self.stage {
            Stage::Walk(walk) => walk.question(),
            Stage::Second(second) => second.question(),
            Stage::Ended(_) => Question::Total { span: self.window, expected: self.read_of_window() },
            Stage::Compare(compare) => compare.question(&self.stretches),
            Stage::Pieces(pieces) => pieces.question(),
        }
    }

    /// Continues with the page that it asked for.
    pub(super) fn page(mut self, page: &[Listed], rules: &Rules) -> Result<Step, Failure> {
        match self.take_stage() {
            Stage::Walk(walk) => Ok(self.walked(walk, page, rules)),
            Stage::Second(second) => self.read_second(second, page, rules),
            Stage::Pieces(pieces) => Ok(self.read_piece(pieces, page, rules)),
            Stage::Ended(_) | Stage::Compare(_) => unreachable!("it asked for a total"),
        }
    }

    /// Continues with the total that it asked for.
    pub(super) fn total(mut self, total: Total, rules: &Rules) -> Result<Step, Failure> {
        match self.take_stage() {
            Stage::Ended(ended) => Ok(self.ended(ended, total, rules)),
            Stage::Compare(compare) => Ok(self.compared(compare, total)),
            Stage::Second(second) => self.counted_second(second, total, rules),
            Stage::Pieces(pieces) => Ok(self.counted_piece(pieces, total, rules)),
            Stage::Walk(_) => unreachable!("it asked for a page"),
        }
    }

    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Walk(Walk::of(Vec::new())))
    }

    fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The window is complete, or nothing more can be done about it.
    fn after_window(self, rules: &Rules) -> Option<Self> {
        self.rest.map(|rest| Self::new(rest, rules))
    }
}

fn too_many_at(at: DateTime<Utc>, rules: &Rules) -> Failure {
    Failure::failed(format!(
        "more than {} {} in the second {}: the service cannot list them all",
        rules.most_at_once(),
        rules.noun,
        at.format("%Y-%m-%dT%H:%M:%SZ")
    ))
}

/// For each record of a page, whether it is neither among these keys nor earlier on the page.
fn new_ones(page: &[Listed], seen: &[String]) -> Vec<bool> {
    let mut known: HashSet<&str> = seen.iter().map(String::as_str).collect();
    page.iter().map(|record| known.insert(&record.key)).collect()
}

fn count(is_new: &[bool]) -> u64 {
    is_new.iter().filter(|is_new| **is_new).count() as u64
}

/// Truncates to seconds, the resolution of the service.
pub(super) fn second_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(ONE_SECOND).unwrap_or(at)
}

#[cfg(test)]
mod tests;
