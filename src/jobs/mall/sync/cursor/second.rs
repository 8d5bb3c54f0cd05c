//! Reading a second that has more records than a page: by offset, until no key is missing.
//!
//! If the records of a second come in another order at each call, a pass over it meets most of them, and not all. The
//! passes are repeated until the service counts no more than there are keys.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

use super::compare::{Ended, Stretch};
use super::pieces::Pieces;
use super::walk::Walk;
use super::{Cursor, Gap, Listed, Question, Rules, Span, Stage, Step, Total, count, new_ones, too_many_at};

/// How many passes in a row may bring nothing new before the second is given up on. A pass in random order misses a given
/// record with a probability of at most 0.37.
const MAX_QUIET: u32 = 12;

/// A second, and what was read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Second {
    at: DateTime<Utc>,
    keys: Vec<String>,
    offset: u32,
    /// Whether this pass has brought anything.
    is_fruitful: bool,
    /// How many passes before it brought nothing.
    quiet: u32,
    /// How many records the service counts.
    total: Option<u64>,
    pass: Pass,
    /// Whether records disappeared, so that it is read once more from nothing: they counted before.
    is_recount: bool,
    then: Then,
}

/// How far a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pass {
    /// The next page is the question.
    Going,
    /// The same, after a short page that was not the last.
    Doubted,
    /// A page was short: the total is the question.
    Short,
    /// It is over: the total is the question.
    Over,
}

/// What comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Then {
    Walk(Walk),
    Pieces(Pieces),
}

impl Second {
    /// A second of which these keys were on a page that began at its first record, if `offset` is not 0.
    pub(super) fn of(at: DateTime<Utc>, mut keys: Vec<String>, offset: usize, then: Then) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self {
            at,
            keys,
            offset: u32::try_from(offset).unwrap_or(0),
            is_fruitful: true,
            quiet: 0,
            total: None,
            pass: Pass::Going,
            is_recount: false,
            then,
        }
    }

    pub(super) fn question(&self) -> Question {
        let span = Span::of_second(self.at);
        match self.pass {
            Pass::Going | Pass::Doubted => Question::Page { span, offset: self.offset },
            Pass::Short | Pass::Over => Question::Total { span, expected: self.listed() },
        }
    }

    fn listed(&self) -> u64 {
        self.keys.len() as u64
    }
}

impl Cursor {
    /// Continues after a page of a second.
    pub(super) fn read_second(
        self,
        mut second: Second,
        page: &[Listed],
        rules: &Rules,
    ) -> Result<Step, Failure> {
        let is_new = new_ones(page, &second.keys);
        let fresh = count(&is_new);
        let new = page.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
        second.keys.extend(new.map(|(record, _)| record.key.clone()));
        second.is_fruitful |= fresh > 0;
        second.offset = second.offset.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
        if page.is_empty() || second.offset > rules.most_offset {
            second.pass = Pass::Over;
        } else if second.pass == Pass::Going && !rules.is_full(page) {
            second.pass = Pass::Short;
        }
        if second.listed() > rules.most_at_once() {
            return Err(too_many_at(second.at, rules));
        }
        // What is read in pieces was counted before, as far as it was known.
        let read = if matches!(second.then, Then::Walk(_)) && !second.is_recount { fresh } else { 0 };
        if second.total == Some(second.listed()) {
            return Ok(Step { is_new, read, ..self.after_second(second, None, rules) });
        }
        Ok(Step { is_new, read, ..Step::to(self.at(Stage::Second(second))) })
    }

    /// Continues after the total of a second.
    pub(super) fn counted_second(
        self,
        mut second: Second,
        total: Total,
        rules: &Rules,
    ) -> Result<Step, Failure> {
        second.total = total.number();
        if total.is(second.listed()) {
            return Ok(self.after_second(second, None, rules));
        }
        if second.total.is_some_and(|total| total > rules.most_at_once()) {
            return Err(too_many_at(second.at, rules));
        }
        if second.pass == Pass::Over {
            let has_fewer = second.total.is_some_and(|total| total < second.listed());
            second.quiet = if second.is_fruitful && !has_fewer { 0 } else { second.quiet + 1 };
            if has_fewer && second.quiet < MAX_QUIET {
                second.is_recount = true;
                second.keys.clear();
            }
            if second.quiet >= MAX_QUIET {
                let span = Span::of_second(second.at);
                let gap = Gap { span, listed: Some(second.listed()), counted: second.total };
                return Ok(self.after_second(second, Some(gap), rules));
            }
            second.offset = 0;
            second.is_fruitful = false;
            second.pass = Pass::Going;
        } else {
            second.pass = Pass::Doubted;
        }
        Ok(Step::to(self.at(Stage::Second(second))))
    }

    fn after_second(mut self, second: Second, gap: Option<Gap>, rules: &Rules) -> Step {
        let listed = second.listed();
        match second.then {
            Then::Walk(walk) => {
                self.add_stretch(Stretch { span: Span::of_second(second.at), read: listed });
                // A gap shows again when the window is compared, and is then read in pieces.
                let stage = if walk.spans.is_empty() {
                    Stage::Ended(Ended { onward: None })
                } else {
                    Stage::Walk(walk)
                };
                Step::to(self.at(stage))
            }
            Then::Pieces(pieces) => self.after_piece(pieces, listed, gap, rules),
        }
    }
}
