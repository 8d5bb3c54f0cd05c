//! Reading in pieces of which each fits on a page that contains as many different records as the service counts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::second::{Second, Then};
use super::{
    Cursor, Gap, Listed, ONE_SECOND, Question, Rules, Span, Stage, Step, Total, count, keys, new_ones,
};

/// How often a piece is asked for before it is divided.
const MAX_TRIES: u32 = 3;
/// After this many gaps the rest is not asked for either: a service that answers nothing right is not asked for hours.
const MAX_GAPS: usize = 5;
/// After so many pieces in a row that do not agree with their counts, the counts mean nothing. Where pages are shorter than
/// asked for, a piece agrees once it was divided until it fits on one of them: at most ten times, for a page of 1,000.
const MAX_DISAGREEMENTS: u32 = 12;

/// What is to be read in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pieces {
    /// The last one is next.
    spans: Vec<Span>,
    /// Where the next one is best divided, by its last page: the last second of the first part.
    cut: Option<DateTime<Utc>>,
    /// How many records the rest of the window has, which is complete.
    agreed: u64,
    /// How many were found in the pieces so far.
    found: u64,
    /// How often the next one was asked for.
    tries: u32,
    /// How many records its page had, whose total is the next question.
    listed: Option<u64>,
    /// How many records the service counted in it before this page: where records keep disappearing, a page agrees with
    /// the total before it, and never with the one after it.
    counted: Option<u64>,
    /// How many pieces in a row did not agree with their counts.
    disagreements: u32,
    questions: u64,
    gaps: Vec<Gap>,
}

impl Pieces {
    pub(super) fn of(spans: Vec<Span>, agreed: u64) -> Self {
        Self {
            spans,
            cut: None,
            agreed,
            found: 0,
            tries: 0,
            listed: None,
            counted: None,
            disagreements: 0,
            questions: 0,
            gaps: Vec::new(),
        }
    }

    /// After further questions about the next one.
    pub(super) fn after(self, questions: u64) -> Self {
        Self { questions: self.questions + questions, ..self }
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

    /// Reads the two parts of the next piece instead; returns whether it can be divided.
    fn divide(&mut self) -> bool {
        let span = self.next();
        let at_cut = self.cut.and_then(|cut| Some((Span { last: cut, ..span }, span.after(cut)?)));
        let Some((first, second)) = at_cut.or_else(|| span.halves()) else { return false };
        self.spans.pop();
        self.spans.extend([second, first]);
        self.start_piece();
        true
    }

    fn start_piece(&mut self) {
        self.cut = None;
        self.tries = 0;
        self.counted = None;
    }

    /// Whether it is not worth going on, after so many records of the window.
    fn is_exhausted(&self, read: u64, rules: &Rules) -> bool {
        self.gaps.len() >= MAX_GAPS
            || self.disagreements >= MAX_DISAGREEMENTS
            || self.questions > rules.most_questions(read)
    }
}

/// Where a span is best divided, by the dates of a page of it: so that most of the page fits in one part if it is sorted,
/// otherwise in their middle, and next to the only second there is. In halves of time, records that share a second would
/// not be alone before seventeen pages for each second of a day.
fn cut(span: Span, page: &[Listed]) -> Option<DateTime<Utc>> {
    let mut seconds: Vec<DateTime<Utc>> = page.iter().filter_map(|record| record.second(span)).collect();
    let (is_oldest_first, is_newest_first) =
        (seconds.is_sorted(), seconds.is_sorted_by(|one, next| one >= next));
    seconds.sort_unstable();
    let (first, last) = (*seconds.first()?, *seconds.last()?);
    let middle = seconds[seconds.len() / 2];
    let cut = if first == last {
        if first > span.first { first - ONE_SECOND } else { first }
    } else if is_newest_first {
        first
    } else if is_oldest_first || middle == last {
        last - ONE_SECOND
    } else {
        middle
    };
    (cut < span.last).then_some(cut)
}

impl Cursor {
    /// Continues after the page of a piece.
    pub(super) fn read_piece(self, mut pieces: Pieces, page: &[Listed], rules: &Rules) -> Step {
        pieces.questions += 1;
        let is_new = new_ones(page, []);
        let listed = count(&is_new);
        let is_full = rules.is_full(page);
        if !is_full && pieces.counted == Some(listed) {
            return Step { is_new, ..self.after_piece(pieces, listed, None, rules) };
        }
        pieces.cut = cut(pieces.next(), page);
        if !is_full {
            pieces.listed = Some(listed);
        } else if !pieces.divide() {
            let (at, offset) = (pieces.next().first, page.len());
            let strangers = page.iter().filter(|record| !self.counts(record, pieces.next()));
            let strangers = strangers.map(|record| record.key.clone()).collect();
            let second = Second::of(at, keys(page), offset, Then::Pieces(pieces)).without(strangers);
            return Step { is_new, ..Step::to(self.at(Stage::Second(second))) };
        }
        Step { is_new, ..self.unless_exhausted(pieces, rules) }
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
            return self.unless_exhausted(pieces, rules);
        }
        pieces.disagreements += 1;
        // Pages of this service may be shorter than asked for; one that is empty is no shorter for half the time.
        if listed > 0 {
            if pieces.divide() {
                return self.unless_exhausted(pieces, rules);
            }
            let at = pieces.next().first;
            return Step::to(self.at(Stage::Second(Second::of(at, Vec::new(), 0, Then::Pieces(pieces)))));
        }
        let gap = Gap { span: pieces.next(), listed, counted: total.number() };
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
        pieces.start_piece();
        pieces.found += listed;
        if gap.is_none() {
            pieces.disagreements = 0;
        }
        pieces.gaps.extend(gap);
        self.unless_exhausted(pieces, rules)
    }

    fn unless_exhausted(self, mut pieces: Pieces, rules: &Rules) -> Step {
        // They may have counted when the window was walked.
        let read = (pieces.agreed + pieces.found).saturating_sub(self.read);
        if pieces.spans.is_empty() {
            let gaps = std::mem::take(&mut pieces.gaps);
            return Step { read, gaps, ..Step::to(self.after_window(rules)) };
        }
        // What the gaps were is settled with the whole window.
        let stage =
            if pieces.is_exhausted(self.read + read, rules) { Stage::GivenUp } else { Stage::Pieces(pieces) };
        Step { read, ..Step::to(self.at(stage)) }
    }
}
