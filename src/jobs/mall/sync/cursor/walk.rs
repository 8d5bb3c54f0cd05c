//! Reading by time from one end, each page from a second of the one before.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::compare::{Ended, Stretch};
use super::pieces::Pieces;
use super::second::{Second, Then};
use super::{Cursor, Listed, Question, Rules, Span, Stage, Step, count, keys, new_ones};

/// How often a page that brings nothing is asked for again although there is more.
const MAX_DOUBTS: u32 = 2;

/// What is still to be read of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The parts still to be read; the last one is next.
    pub(super) spans: Vec<Span>,
    /// The keys of the page before that this page contains again.
    seen: Vec<String>,
    /// The keys of records that counted when they were on a page, and will be listed again with a part still to be read.
    awaited: Vec<String>,
    /// How many records the service counts in the window, once a short page made that worth a call.
    pub(super) total: Option<u64>,
    /// How many pages in a row brought nothing although there is more.
    doubts: u32,
}

/// Where a page leads if more follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Onward {
    stage: Stage,
    /// What the page has read to the end.
    closed: Option<Stretch>,
}

impl Onward {
    /// It was established that more follows, and how much there is.
    pub(super) fn knowing(mut self, total: Option<u64>) -> Self {
        if let Stage::Walk(walk) = &mut self.stage {
            walk.total = total;
        }
        self
    }
}

impl Walk {
    pub(super) fn of(spans: Vec<Span>) -> Self {
        Self { spans, seen: Vec::new(), awaited: Vec::new(), total: None, doubts: 0 }
    }

    pub(super) fn question(&self) -> Question {
        let span = self.spans.last().copied();
        Question::Page { span: span.unwrap_or_else(|| unreachable!("a walk has a part to read")), offset: 0 }
    }

    fn known(&self) -> impl Iterator<Item = &String> {
        self.seen.iter().chain(&self.awaited)
    }

    /// On from a page of `span`; `None` if it has no date of the period, or is not sorted by time.
    fn onward(mut self, span: Span, page: &[Listed]) -> Option<Onward> {
        let seconds: Vec<DateTime<Utc>> = page.iter().filter_map(|record| record.second(span)).collect();
        let first = *seconds.first()?;
        let is_newest_first = seconds.is_sorted_by(|one, next| one >= next);
        if !is_newest_first && !seconds.is_sorted() {
            return None;
        }
        self.doubts = 0;
        let Some((place, boundary)) = last_boundary(span, page) else {
            return Some(self.within(span, first, page));
        };
        let (closed, rest) = if is_newest_first {
            (span.after(boundary), Span { last: boundary, ..span })
        } else {
            (span.before(boundary), Span { first: boundary, ..span })
        };
        let closed = closed.map(|span| Stretch { span, read: distinct(&page[..place]) });
        self.seen = keys(&page[place..]);
        self.spans.push(rest);
        Some(Onward { stage: Stage::Walk(self), closed })
    }

    /// Reads one second of the page whole, because the page shows no boundary that is certain: it may lie in that second.
    fn within(mut self, span: Span, at: DateTime<Utc>, page: &[Listed]) -> Onward {
        let is_of_second = |record: &&Listed| record.second(span) == Some(at);
        let of_second: Vec<Listed> = page.iter().filter(is_of_second).cloned().collect();
        // Only a page of nothing else is a part of the second that can be continued.
        let offset = if of_second.len() == page.len() { page.len() } else { 0 };
        let counted = self.seen.drain(..).chain(keys(page)).chain(self.awaited.iter().cloned()).collect();
        let others: Vec<Listed> = page.iter().filter(|record| !is_of_second(record)).cloned().collect();
        self.awaited.extend(keys(&others));
        self.awaited.sort_unstable();
        self.awaited.dedup();
        self.spans.extend([span.before(at), span.after(at)].into_iter().flatten());
        let second = Second::of(at, keys(&of_second), offset, Then::Walk(self)).without(counted);
        Onward { stage: Stage::Second(second), closed: None }
    }
}

impl Cursor {
    /// Continues after a page of a walk.
    pub(super) fn walked(mut self, mut walk: Walk, page: &[Listed], rules: &Rules) -> Step {
        let Some(span) = walk.spans.pop() else { unreachable!("a walk has a part to read") };
        let is_new = new_ones(page, walk.known());
        let has_new = count(&is_new) > 0;
        let counts = |(record, is_new): &(&Listed, &bool)| **is_new && self.counts(record, span);
        let read = page.iter().zip(&is_new).filter(counts).count() as u64;
        let whole = Stretch { span, read: distinct(page) };
        let is_only_part = walk.spans.is_empty();
        let total = walk.total;
        let onward = if has_new { walk.clone().onward(span, page) } else { None };
        let next = if rules.is_full(page) {
            match onward {
                Some(onward) => Some(self.go(onward)),
                None => Some(self.in_pieces()),
            }
        } else if !is_only_part {
            // Whether it was short too early shows when the window is compared as a whole.
            self.add_stretch(whole);
            Some(self.at(Stage::Walk(Walk { seen: Vec::new(), ..walk })))
        } else if let Some(total) = total.filter(|total| *total == self.read_of_window() + whole.read) {
            return Step { is_new, ..self.complete(total, rules) };
        } else {
            // A page that is not full is the last one only if the service counts no more than was read.
            match onward.or_else(|| (!has_new).then(|| walk.again(span)).flatten()) {
                Some(onward) if total.is_some() => Some(self.go(onward)),
                onward => {
                    self.stretches.push(whole);
                    Some(self.at(Stage::Ended(Ended { onward: onward.map(Box::new) })))
                }
            }
        };
        Step { is_new, read, ..Step::to(next) }
    }

    /// On from a page that is followed by more.
    pub(super) fn go(mut self, onward: Onward) -> Self {
        if let Some(closed) = onward.closed {
            self.add_stretch(closed);
        }
        self.at(onward.stage)
    }

    /// The list cannot be walked: its whole window is read in pieces.
    pub(super) fn in_pieces(mut self) -> Self {
        self.stretches.clear();
        let window = self.window;
        self.at(Stage::Pieces(Pieces::of(vec![window], 0)))
    }
}

impl Walk {
    /// The page that brought nothing once more.
    fn again(mut self, span: Span) -> Option<Onward> {
        self.spans.push(span);
        self.doubts += 1;
        (self.doubts <= MAX_DOUBTS).then_some(Onward { stage: Stage::Walk(self), closed: None })
    }
}

/// The last place of a page at which a second begins for certain, and that second. Where the record before has no date,
/// that record may belong to either second.
fn last_boundary(span: Span, page: &[Listed]) -> Option<(usize, DateTime<Utc>)> {
    let seconds: Vec<Option<DateTime<Utc>>> = page.iter().map(|record| record.second(span)).collect();
    let begins = |place: usize| Some(seconds[place - 1]? != seconds[place]?).filter(|begins| *begins);
    let place = (1..page.len()).rev().find(|place| begins(*place).is_some())?;
    Some((place, seconds[place]?))
}

/// How many different records there are.
fn distinct(records: &[Listed]) -> u64 {
    count(&new_ones(records, []))
}
