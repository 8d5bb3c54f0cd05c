//! How a list is read so that nothing is missed, and how that is proved.
//!
//! What was read is known by its key, not by its place: records appear and disappear while a list is read, those that
//! share a second may come in another order at each call, and a page may be short or empty although there is more.
//!
//! - [`walk`]: the list is read from one end by time. Each page starts at a second of the page before, the last one if it
//!   can be, and so contains that second whole, in whatever order.
//! - [`second`]: a second with more records than a page is read by offset, again and again until its keys are complete.
//! - [`compare`]: what was read is compared with what the service counts. If they differ, the part that does is found.
//! - [`pieces`]: that part is read again in pieces, each so small that a single page contains all that is counted in it.
//!   This assumes nothing about the order of a list, so a list that is not sorted by time is read like this at once.
//!
//! The service knows the time of a record whose own date cannot be read, and lists and counts it by that time. Such a
//! record takes part in everything except in decisions about where a page ends.
//!
//! What still differs is a [`Gap`]. A cursor makes no calls: it asks a [`Question`] and is told the answer, and between
//! two of them it can be stored. How many it asks depends on how much it was shown: a service that repeats itself is asked
//! a few times more, not for ever.

mod compare;
mod pieces;
mod second;
mod walk;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::clients::cafe24::korean_time;
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

/// How many questions any part of a list may take that has to be read more than once, and how many more for each page of
/// different records that it was found to have. A second of 16,000 records that come in another order at each call takes
/// about 25 for each of its pages.
const QUESTIONS: u64 = 100;
const QUESTIONS_PER_PAGE: u64 = 40;

/// The records without a date that are known by their keys: more would only make the checkpoint long.
const MAX_UNDATED: usize = 1_000;

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

    /// How many questions may be asked about records of which so many were found.
    fn most_questions(&self, found: u64) -> u64 {
        QUESTIONS + QUESTIONS_PER_PAGE * (found / u64::from(self.limit.max(1)) + 1)
    }
}

/// A record of a page: its key, and the time by which the list is filtered, if it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) at: Option<DateTime<Utc>>,
}

impl Listed {
    /// Its second, if it is one of the span that was asked for: any other date is as good as none.
    fn second(&self, span: Span) -> Option<DateTime<Utc>> {
        self.at.map(second_of).filter(|second| span.contains(*second))
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

/// A part of a list that is not known to be complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    /// Where.
    pub(super) span: Span,
    /// How many different records were listed.
    pub(super) listed: u64,
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

    /// Adds what it read to what was read of the window before it.
    fn counting_from(mut self, window: Span, read: u64) -> Self {
        if let Some(next) = self.next.as_mut().filter(|next| next.window == window) {
            next.read = read + self.read;
        }
        self
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
    /// How many different records of the window were read.
    read: u64,
    /// The keys of those whose date cannot be read: nothing else says that they are listed where they do not belong.
    undated: BTreeSet<String>,
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
    /// The window is not read any further: what was read of it is compared once more.
    GivenUp,
}

impl Cursor {
    /// The beginning of a span.
    pub(super) fn new(span: Span, rules: &Rules) -> Self {
        let (window, rest) = span.split(rules.longest);
        Self {
            window,
            rest,
            stretches: Vec::new(),
            read: 0,
            undated: BTreeSet::new(),
            looks: 0,
            stage: Stage::Walk(Walk::of(vec![window])),
        }
    }

    /// What it has to be told.
    pub(super) fn question(&self) -> Question {
        match &self.stage {
            Stage::Walk(walk) => walk.question(),
            Stage::Second(second) => second.question(),
            Stage::Ended(_) => Question::Total { span: self.window, expected: self.read_of_window() },
            Stage::Compare(compare) => compare.question(&self.stretches),
            Stage::Pieces(pieces) => pieces.question(),
            Stage::GivenUp => Question::Total { span: self.window, expected: self.read },
        }
    }

    /// Continues with the page that it asked for.
    pub(super) fn page(mut self, page: &[Listed], rules: &Rules) -> Result<Step, Failure> {
        let (window, read) = (self.window, self.read);
        let mut step = match self.take_stage() {
            Stage::Walk(walk) => self.walked(walk, page, rules),
            Stage::Second(second) => self.read_second(second, page, rules)?,
            Stage::Pieces(pieces) => self.read_piece(pieces, page, rules),
            Stage::Ended(_) | Stage::Compare(_) | Stage::GivenUp => unreachable!("it asked for a total"),
        };
        if let Some(next) = step.next.as_mut().filter(|next| next.window == window) {
            next.note_undated(page);
        }
        Ok(step.counting_from(window, read))
    }

    /// Continues with the total that it asked for.
    pub(super) fn total(mut self, total: Total, rules: &Rules) -> Result<Step, Failure> {
        let (window, read) = (self.window, self.read);
        let step = match self.take_stage() {
            Stage::Ended(ended) => self.ended(ended, total, rules),
            Stage::Compare(compare) => self.compared(compare, total),
            Stage::Second(second) => self.counted_second(second, total, rules)?,
            Stage::Pieces(pieces) => self.counted_piece(pieces, total, rules),
            Stage::GivenUp => self.given_up(total, rules),
            Stage::Walk(_) => unreachable!("it asked for a page"),
        };
        Ok(step.counting_from(window, read))
    }

    /// Whether a record that is new on a page counts as read. A service that repeats itself lists records where they do
    /// not belong.
    fn counts(&self, record: &Listed, span: Span) -> bool {
        match record.at {
            Some(_) => record.second(span).is_some(),
            None => !self.undated.contains(&record.key),
        }
    }

    fn note_undated(&mut self, page: &[Listed]) {
        let undated = page.iter().filter(|record| record.at.is_none());
        self.undated.extend(
            undated.take(MAX_UNDATED.saturating_sub(self.undated.len())).map(|record| record.key.clone()),
        );
    }

    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Walk(Walk::of(Vec::new())))
    }

    fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// Ends a window that is not read any further.
    fn given_up(self, total: Total, rules: &Rules) -> Step {
        // Where as many different records were read as there are, none is missing, whatever was said about parts of it.
        let gap = (!total.is(self.read)).then(|| Gap {
            span: self.window,
            listed: self.read,
            counted: total.number(),
        });
        Step { gaps: gap.into_iter().collect(), ..Step::to(self.after_window(rules)) }
    }

    /// The window is complete: as many records as it has count as read, whatever their dates say.
    fn complete(self, total: u64, rules: &Rules) -> Step {
        Step { read: total.saturating_sub(self.read), ..Step::to(self.after_window(rules)) }
    }

    /// The window is complete, or nothing more can be done about it.
    fn after_window(self, rules: &Rules) -> Option<Self> {
        self.rest.map(|rest| Self::new(rest, rules))
    }
}

fn too_many_at(at: DateTime<Utc>, counted: Option<u64>, listed: u64, rules: &Rules) -> Failure {
    let Rules { noun, .. } = rules;
    let at = korean_time::of(at).format("%Y-%m-%dT%H:%M:%S%:z");
    let seen = match counted {
        Some(counted) => {
            format!("the shop counts {counted} {noun} in the second {at} and listed {listed} of them")
        }
        None => format!("the shop listed {listed} {noun} in the second {at}"),
    };
    Failure::failed(format!(
        "{seen}, but its API can list no more than {} of one second",
        rules.most_at_once()
    ))
    .hint("read what is before and after that second: --from and --to take instants")
}

/// For each record of a page, whether it is neither among these keys nor earlier on the page.
fn new_ones<'k>(page: &'k [Listed], seen: impl IntoIterator<Item = &'k String>) -> Vec<bool> {
    let mut known: HashSet<&str> = seen.into_iter().map(String::as_str).collect();
    page.iter().map(|record| known.insert(&record.key)).collect()
}

fn count(is_new: &[bool]) -> u64 {
    is_new.iter().filter(|is_new| **is_new).count() as u64
}

/// The keys of some records, each once.
fn keys(records: &[Listed]) -> Vec<String> {
    let mut keys: Vec<String> = records.iter().map(|record| record.key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Truncates to seconds, the resolution of the service.
pub(super) fn second_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(ONE_SECOND).unwrap_or(at)
}

#[cfg(test)]
mod tests;
