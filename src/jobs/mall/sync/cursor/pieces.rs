//! Reading in pieces of which each fits on a page that contains as many different records as the service counts.

use serde::{Deserialize, Serialize};

use super::second::{Second, Then};
use super::{Cursor, Gap, Listed, Question, Rules, Span, Stage, Step, Total, count, new_ones};

/// How often a piece is asked for before it is divided.
const MAX_TRIES: u32 = 3;
/// After this many gaps the rest is one too: a service that answers nothing right is not asked for hours.
const MAX_GAPS: u32 = 5;
/// Questions that any list may take, and how many more for each page of it.
const QUESTIONS: u64 = 100;
const QUESTIONS_PER_PAGE: u64 = 16;

/// What is to be read in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pieces {
    /// The last one is next.
    spans: Vec<Span>,
    /// How many records of them were counted as read before.
    known: u64,
    /// How many were found since, in pieces that are complete.
    found: u64,
    /// How often the next one was asked for.
    tries: u32,
    /// How many records its page had, whose total is the next question.
    listed: Option<u64>,
    /// How many records the service counted in it before this page: where records keep disappearing, a page agrees with
    /// the total before it, and never with the one after it.
    counted: Option<u64>,
    questions: u64,
    gaps: u32,
}

impl Pieces {
    pub(super) fn of(spans: Vec<Span>, known: u64) -> Self {
        Self { spans, known, found: 0, tries: 0, listed: None, counted: None, questions: 0, gaps: 0 }
    }

    fn next(&self) -> Span {
        let span = self.spans.last().copied();
        span.unwrap_or_else(|| unreachable!("there is a piece to read"))
    }

    pub(super) fn question(&self) -> Question {
        match self.listed {
            Some(expected) => Question::Total { span: self.next(), expected },
            None => Question::Page { span: self.next(), offset: 0 },
        }
    }

    /// Reads the two halves of the next piece instead; returns whether it has halves.
    fn divide(&mut self) -> bool {
        let Some((first, second)) = self.next().halves() else { return false };
        self.spans.pop();
        self.spans.extend([second, first]);
        self.tries = 0;
        self.counted = None;
        true
    }

    fn is_exhausted(&self, rules: &Rules) -> bool {
        let pages = self.known.max(self.found) / u64::from(rules.limit.max(1)) + 1;
        self.gaps >= MAX_GAPS || self.questions > QUESTIONS + QUESTIONS_PER_PAGE * pages
    }
}

impl Cursor {
    /// Continues after the page of a piece.
    pub(super) fn read_piece(self, mut pieces: Pieces, page: &[Listed], rules: &Rules) -> Step {
        pieces.questions += 1;
        let is_new = new_ones(page, &[]);
        let listed = count(&is_new);
        if !rules.is_full(page) && pieces.counted == Some(listed) {
            return Step { is_new, ..self.after_piece(pieces, listed, None, rules) };
        }
        let next = if rules.is_full(page) {
            if pieces.divide() {
                self.at(Stage::Pieces(pieces))
            } else {
                let (at, offset) = (pieces.next().first, page.len());
                let keys = page.iter().map(|record| record.key.clone()).collect();
                self.at(Stage::Second(Second::of(at, keys, offset, Then::Pieces(pieces))))
            }
        } else {
            pieces.listed = Some(listed);
            self.at(Stage::Pieces(pieces))
        };
        Step { is_new, ..Step::to(next) }
    }

    /// Continues after the total of a piece.
    pub(super) fn counted_piece(self, mut pieces: Pieces, total: Total, rules: &Rules) -> Step {
        pieces.questions += 1;
        let listed = pieces.listed.take().unwrap_or(0);
        if total.is(listed) {
            return self.after_piece(pieces, listed, None, rules);
        }
        pieces.tries += 1;
        pieces.counted = total.number();
        if pieces.tries < MAX_TRIES {
            return Step::to(self.at(Stage::Pieces(pieces)));
        }
        // Pages of this service may be shorter than asked for; one that is empty is no shorter for half the time.
        if listed > 0 {
            if pieces.divide() {
                return self.unless_exhausted(pieces, Vec::new(), rules);
            }
            let at = pieces.next().first;
            return Step::to(self.at(Stage::Second(Second::of(at, Vec::new(), 0, Then::Pieces(pieces)))));
        }
        let gap = Gap { span: pieces.next(), listed: Some(listed), counted: total.number() };
        self.after_piece(pieces, listed, Some(gap), rules)
    }

    /// A piece is complete, or given up on.
    pub(super) fn after_piece(
        self,
        mut pieces: Pieces,
        listed: u64,
        gap: Option<Gap>,
        rules: &Rules,
    ) -> Step {
        pieces.spans.pop();
        pieces.tries = 0;
        pieces.counted = None;
        pieces.found += listed;
        pieces.gaps += u32::from(gap.is_some());
        self.unless_exhausted(pieces, gap.into_iter().collect(), rules)
    }

    fn unless_exhausted(self, pieces: Pieces, mut gaps: Vec<Gap>, rules: &Rules) -> Step {
        let is_exhausted = pieces.is_exhausted(rules);
        if !is_exhausted && !pieces.spans.is_empty() {
            return Step { gaps, ..Step::to(self.at(Stage::Pieces(pieces))) };
        }
        let first = pieces.spans.iter().map(|span| span.first).min();
        let last = pieces.spans.iter().map(|span| span.last).max();
        if let Some((first, last)) = first.zip(last) {
            gaps.push(Gap { span: Span { first, last }, listed: None, counted: None });
        }
        let read = pieces.found.saturating_sub(pieces.known);
        Step { read, gaps, ..Step::to(self.after_window(rules)) }
    }
}
