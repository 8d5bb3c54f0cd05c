//! Reading by time from one end, each page from the last second of the one before.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::compare::{Ended, Stretch};
use super::pieces::Pieces;
use super::second::{Second, Then};
use super::{Cursor, Listed, Question, Rules, Span, Stage, Step, count, new_ones};

/// How often a page that brings nothing is asked for again although there is more.
const MAX_DOUBTS: u32 = 2;

/// What is still to be read of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The parts still to be read; the last one is next.
    pub(super) spans: Vec<Span>,
    /// The keys of the second at which the page before ended, which this page contains again.
    pub(super) seen: Vec<String>,
    /// The keys on the page before of records without a time, which may come again.
    undated: Vec<String>,
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
        Self { spans, seen: Vec::new(), undated: Vec::new(), total: None, doubts: 0 }
    }

    pub(super) fn question(&self) -> Question {
        let span = self.spans.last().copied();
        Question::Page { span: span.unwrap_or_else(|| unreachable!("a walk has a part to read")), offset: 0 }
    }

    fn known(&self) -> Vec<String> {
        self.seen.iter().chain(&self.undated).cloned().collect()
    }

    /// On from a page of `span`; `None` if it is empty, not sorted by time, or not of the period.
    fn onward(mut self, span: Span, page: &[Listed]) -> Option<Onward> {
        let seconds: Vec<DateTime<Utc>> = page.iter().filter_map(Listed::second).collect();
        let (first, boundary) = (*seconds.first()?, *seconds.last()?);
        if !seconds.iter().all(|at| span.contains(*at)) {
            return None;
        }
        self.doubts = 0;
        let (closed, rest) = if seconds.iter().all(|at| *at == first) {
            return (seconds.len() == page.len()).then(|| self.within(span, first, page));
        } else if seconds.is_sorted() {
            (span.before(boundary), Span { first: boundary, ..span })
        } else if seconds.is_sorted_by(|one, next| one >= next) {
            (span.after(boundary), Span { last: boundary, ..span })
        } else {
            return None;
        };
        let closed = closed.map(|span| Stretch { span, read: distinct(page, &self, Some(boundary)) });
        self.seen = keys(page, |record| record.second() == Some(boundary));
        self.undated = keys(page, |record| record.at.is_none());
        self.spans.push(rest);
        Some(Onward { stage: Stage::Walk(self), closed })
    }

    /// The page lies in one second, which may have more.
    fn within(mut self, span: Span, at: DateTime<Utc>, page: &[Listed]) -> Onward {
        let mut read = keys(page, |_| true);
        // The page begins the second, unless a part of it was already on another page.
        let offset = if self.seen.is_empty() { page.len() } else { 0 };
        read.append(&mut self.seen);
        self.undated.clear();
        self.spans.extend([span.before(at), span.after(at)].into_iter().flatten());
        Onward { stage: Stage::Second(Second::of(at, read, offset, Then::Walk(self))), closed: None }
    }
}

impl Cursor {
    /// Continues after a page of a walk.
    pub(super) fn walked(mut self, mut walk: Walk, page: &[Listed], rules: &Rules) -> Step {
        let Some(span) = walk.spans.pop() else { unreachable!("a walk has a part to read") };
        let is_new = new_ones(page, &walk.known());
        let read = count(&is_new);
        let whole = Stretch { span, read: distinct(page, &walk, None) };
        let is_only_part = walk.spans.is_empty();
        let total = walk.total;
        let onward = if read > 0 { walk.clone().onward(span, page) } else { None };
        let next = if rules.is_full(page) {
            match onward {
                Some(onward) => Some(self.go(onward)),
                None => Some(self.in_pieces(read)),
            }
        } else if !is_only_part {
            // Whether it was short too early shows when the window is compared as a whole.
            self.add_stretch(whole);
            Some(self.at(Stage::Walk(Walk { seen: Vec::new(), undated: Vec::new(), ..walk })))
        } else if total == Some(self.read_of_window() + whole.read) {
            self.after_window(rules)
        } else {
            // A page that is not full is the last one only if the service counts no more than was read.
            match onward.or_else(|| (read == 0).then(|| walk.again(span)).flatten()) {
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

    /// The list cannot be walked: its whole window is read in pieces. `read` were read beside its stretches.
    pub(super) fn in_pieces(mut self, read: u64) -> Self {
        let known = self.read_of_window() + read;
        self.stretches.clear();
        let window = self.window;
        self.at(Stage::Pieces(Pieces::of(vec![window], known)))
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

/// How many different records of a page belong to the part before `boundary`, or to all of it.
fn distinct(page: &[Listed], walk: &Walk, boundary: Option<DateTime<Utc>>) -> u64 {
    let mut known: HashSet<&str> = walk.undated.iter().map(String::as_str).collect();
    let mine = page.iter().filter(|record| boundary.is_none() || record.second() != boundary);
    mine.filter(|record| known.insert(&record.key)).count() as u64
}

fn keys(page: &[Listed], is_wanted: impl Fn(&Listed) -> bool) -> Vec<String> {
    let mut keys: Vec<String> =
        page.iter().filter(|record| is_wanted(record)).map(|record| record.key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
