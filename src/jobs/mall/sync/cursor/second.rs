//! Reading a second that has more records than a page: by offset, until no key is missing.
//!
//! If the records of a second come in another order at each call, a pass over it meets most of them, and not all. The
//! passes are repeated until the service counts no more than there are keys, or until it is improbable that another page
//! brings what is missing.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

use super::compare::{Ended, Stretch};
use super::pieces::Pieces;
use super::walk::Walk;
use super::{Cursor, Gap, Listed, Question, Rules, Span, Stage, Step, Total, count, new_ones, too_many_at};

/// A second is left after this many times the records that would have shown one of the missing ones on average, if the
/// order is random: the probability that none was among them is below e^-12.
const PATIENCE: u64 = 12;
/// How many passes may have nothing at all.
const MAX_EMPTY: u32 = 4;
/// How many passes may have more keys than the service counts before it is not believed that records keep disappearing.
const MAX_RECOUNTS: u32 = 4;

/// A second, and what was read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Second {
    at: DateTime<Utc>,
    keys: Vec<String>,
    /// The keys that do not count as read here: of records that did before, or are dated elsewhere.
    uncounted: Vec<String>,
    /// How many of its keys have counted as read since.
    read: u64,
    offset: u32,
    /// How many records in a row were listed that were known.
    quiet: u64,
    /// How many passes had nothing at all.
    empty: u32,
    /// How many records the service counts.
    total: Option<u64>,
    pass: Pass,
    /// How many passes had more keys than the service counts, and were read again from nothing.
    recounts: u32,
    questions: u64,
    then: Then,
}

/// How far a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pass {
    /// The next page is the question.
    Going,
    /// The same, after a page that was short, or brought nothing, and was not the last.
    Doubted,
    /// A page was short, or brought nothing: the total is the question.
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
    pub(super) fn of(at: DateTime<Utc>, keys: Vec<String>, offset: usize, then: Then) -> Self {
        Self {
            at,
            keys,
            uncounted: Vec::new(),
            read: 0,
            offset: u32::try_from(offset).unwrap_or(0),
            quiet: 0,
            empty: 0,
            total: None,
            pass: Pass::Going,
            recounts: 0,
            questions: 0,
            then,
        }
    }

    /// Records with these keys do not count as read with it.
    pub(super) fn without(self, uncounted: Vec<String>) -> Self {
        Self { uncounted, ..self }
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

    /// How many of its keys count as read.
    fn counting(&self) -> u64 {
        let uncounted: HashSet<&str> = self.uncounted.iter().map(String::as_str).collect();
        self.keys.iter().filter(|key| !uncounted.contains(key.as_str())).count() as u64
    }

    /// How many more of them there are. In pieces, the piece counts them.
    fn count_read(&mut self) -> u64 {
        if matches!(self.then, Then::Pieces(_)) {
            return 0;
        }
        let more = self.counting().saturating_sub(self.read);
        self.read += more;
        more
    }

    /// Takes in a page; returns for each of its records whether it is new.
    fn take(&mut self, page: &[Listed], cursor: &Cursor, rules: &Rules) -> Vec<bool> {
        let is_new = new_ones(page, &self.keys);
        let is_known = count(&is_new) == 0;
        let span = Span::of_second(self.at);
        for (record, _) in page.iter().zip(&is_new).filter(|(_, is_new)| **is_new) {
            self.keys.push(record.key.clone());
            if !cursor.counts(record, span) {
                self.uncounted.push(record.key.clone());
            }
        }
        self.quiet = if is_known { self.quiet + page.len() as u64 } else { 0 };
        self.empty += u32::from(page.is_empty() && self.offset == 0);
        self.offset = self.offset.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
        let is_behind_all =
            self.total.is_some_and(|total| u64::from(self.offset) >= total.max(self.listed()));
        if page.is_empty()
            || self.offset > rules.most_offset
            || (is_known && is_behind_all)
            || self.is_stuck()
        {
            self.pass = Pass::Over;
        } else if self.pass == Pass::Going && (!rules.is_full(page) || is_known && self.total.is_none()) {
            self.pass = Pass::Short;
        }
        is_new
    }

    /// Whether what is missing would have been on the pages since the last that brought something: in a fixed order after
    /// all that is known, in a random one among the rest.
    fn is_stuck(&self) -> bool {
        let listed = self.listed();
        let total = self.total.unwrap_or(listed + 1);
        let missing = total.saturating_sub(listed).max(1);
        self.empty >= MAX_EMPTY
            || self.quiet > listed.saturating_add(total.saturating_mul(PATIENCE).div_ceil(missing))
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
        second.questions += 1;
        let is_new = second.take(page, &self, rules);
        let read = second.count_read();
        if second.listed() > rules.most_at_once() {
            return Err(too_many_at(second.at, second.total, second.listed(), rules));
        }
        if second.total == Some(second.listed()) {
            let step = self.after_second(second, None, rules);
            return Ok(Step { is_new, read: step.read + read, ..step });
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
        second.questions += 1;
        second.total = total.number();
        let listed = second.listed();
        if total.is(listed) {
            return Ok(self.after_second(second, None, rules));
        }
        if second.pass == Pass::Short {
            second.pass = Pass::Doubted;
            return Ok(Step::to(self.at(Stage::Second(second))));
        }
        // That many were listed that its end is out of reach. A count alone proves nothing.
        let is_beyond_reach = second.offset > rules.most_offset;
        if is_beyond_reach && second.total.is_some_and(|total| total > rules.most_at_once()) {
            return Err(too_many_at(second.at, second.total, listed, rules));
        }
        let has_fewer = second.total.is_some_and(|total| total < listed);
        second.recounts += u32::from(has_fewer);
        let is_over = if has_fewer { second.recounts >= MAX_RECOUNTS } else { second.is_stuck() };
        if is_over || second.questions > rules.most_questions(listed) {
            let gap = Gap { span: Span::of_second(second.at), listed, counted: second.total };
            return Ok(self.after_second(second, Some(gap), rules));
        }
        if has_fewer {
            second.keys.clear();
            second.quiet = 0;
        }
        second.offset = 0;
        second.pass = Pass::Going;
        Ok(Step::to(self.at(Stage::Second(second))))
    }

    fn after_second(mut self, second: Second, gap: Option<Gap>, rules: &Rules) -> Step {
        let (listed, counting) = (second.listed(), second.counting());
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
            Then::Pieces(pieces) => {
                let listed = if gap.is_some() { counting } else { listed };
                self.after_piece(pieces.after(second.questions), listed, gap, rules)
            }
        }
    }
}
