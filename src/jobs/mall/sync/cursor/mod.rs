//! Where to continue reading a list: by offset within time windows that are narrowed as needed and, for members beyond
//! the maximum offset, by sign-up time.
//!
//! Pages shift while they are read: records appear and disappear before the current position. So each page by offset
//! begins with the last record of the previous page. If that record is not where it should be, records may have been
//! missed, and the window is read again from its beginning, which stores known records again unchanged. A list that
//! begins with the newest record is checked once more at the end for records that were added at its front.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The number of times a window is read again before the run fails because its list keeps changing.
const MAX_RESTARTS: u32 = 20;

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
        let last = longest.and_then(|longest| self.first.checked_add_signed(longest - TimeDelta::seconds(1)));
        let last = last.map_or(self.last, |last| last.min(self.last));
        (Self { first: self.first, last }, self.after(last))
    }

    /// The part after a given second, if there is any.
    fn after(self, second: DateTime<Utc>) -> Option<Self> {
        let first = second + TimeDelta::seconds(1);
        (first <= self.last).then_some(Self { first, ..self })
    }
}

/// The limits of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The noun for its records, for messages.
    pub(super) noun: &'static str,
    /// The largest offset.
    pub(super) most_offset: u32,
    /// How long a window may be.
    pub(super) longest: Option<TimeDelta>,
    /// Whether it can be read by creation time, without an offset.
    pub(super) walks: bool,
}

/// A record of a page: its key, and the time by which the list is filtered, if it has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordPosition {
    pub(super) key: Option<String>,
    pub(super) at: Option<DateTime<Utc>>,
}

/// The next page to request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cursor {
    /// By offset.
    Window(Window),
    /// By creation time.
    Walk(Walk),
}

/// A time window and the position in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// The window.
    pub(super) span: Span,
    /// The position.
    pub(super) offset: u32,
    /// The last record that was read: the next page has to begin with it.
    last: Option<RecordPosition>,
    /// The window's first record, which shows the direction in which the list is sorted.
    first: Option<RecordPosition>,
    /// Keys that were read before the window was narrowed.
    seen: Vec<String>,
    /// The number of restarts.
    restarts: u32,
    /// Whether its pages so far were sorted by time, in either direction: otherwise it cannot be split by time.
    is_sorted: bool,
    /// The front of the list that has to be checked again.
    front: Option<Front>,
    /// Whether it is such a check, which is not repeated.
    is_last_look: bool,
    /// What comes after the window.
    then: Then,
}

/// What comes after a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    /// The windows of this span; `None` if everything was read.
    Span(Option<Span>),
    /// The walk continues after a second with more records than a page.
    Walk(Walk),
}

/// The front of a list that begins with the newest record: more may have been added since it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Front {
    /// From the second of the newest record.
    span: Span,
    /// The records of that second.
    seen: Vec<String>,
}

/// Reads by creation time, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The second to start from.
    pub(super) from: DateTime<Utc>,
    /// The records of that second that were already read.
    seen: Vec<String>,
    /// The last second that is wanted.
    until: DateTime<Utc>,
    /// The front of the list that has to be checked again.
    front: Option<Front>,
}

/// What follows from a page.
pub(super) struct Step {
    /// For each of its records, whether it is new and wanted.
    pub(super) is_new: Vec<bool>,
    /// Where to continue; `None` if everything was read.
    pub(super) next: Option<Cursor>,
}

impl Cursor {
    /// The beginning of a span.
    pub(super) fn new(span: Span, rules: &Rules) -> Self {
        Self::Window(Window::of(span, rules))
    }

    /// The same position for a new attempt: a list that changed often yesterday need not do so today.
    pub(super) fn for_new_attempt(self) -> Self {
        match self {
            Self::Window(window) => Self::Window(Window { restarts: 0, ..window }),
            Self::Walk(walk) => Self::Walk(walk),
        }
    }

    /// Where to continue after a page of at most `limit` records.
    pub(super) fn step(&self, page: &[RecordPosition], limit: u32, rules: &Rules) -> Result<Step, Failure> {
        match self {
            Self::Window(window) => window.step(page, limit, rules),
            Self::Walk(walk) => walk.step(page, limit, rules),
        }
    }
}

impl Window {
    fn of(span: Span, rules: &Rules) -> Self {
        let (window, rest) = span.split(rules.longest);
        Self::at(window, Then::Span(rest))
    }

    fn at(span: Span, then: Then) -> Self {
        Self {
            span,
            offset: 0,
            last: None,
            first: None,
            seen: Vec::new(),
            restarts: 0,
            is_sorted: true,
            front: None,
            is_last_look: false,
            then,
        }
    }

    fn step(&self, page: &[RecordPosition], limit: u32, rules: &Rules) -> Result<Step, Failure> {
        let Some(known) = self.known(page, limit) else { return self.restart(page, rules) };
        let is_new: Vec<bool> = page
            .iter()
            .enumerate()
            .map(|(index, place)| index >= known && !is_among(place, &self.seen))
            .collect();
        let Some(last) = page.last().filter(|_| page.len() >= limit as usize) else {
            return Ok(Step { is_new, next: self.after(rules) });
        };
        // A record without a key cannot mark the position: it would look as if the list had shifted.
        let back = u32::from(last.key.is_some());
        let offset = self.offset + limit - back;
        let first = self.first.clone().or_else(|| page.first().cloned());
        let front = self.front.clone().or_else(|| self.front_of(page));
        let is_sorted = self.is_sorted && is_sorted_by_time(first.as_ref(), page);
        let next = if offset <= rules.most_offset {
            Cursor::Window(Self {
                offset,
                last: last.key.is_some().then(|| last.clone()),
                first,
                front,
                is_sorted,
                ..self.clone()
            })
        } else if is_sorted {
            self.narrowed(first.as_ref(), last, page, front, rules)?
        } else {
            self.halved(front, rules)?
        };
        Ok(Step { is_new, next: Some(next) })
    }

    /// How many records of the page were read before; `None` if the list has shifted so that some may have been missed, or
    /// if a full page brings nothing new, as from a server that returns the same page forever.
    fn known(&self, page: &[RecordPosition], limit: u32) -> Option<usize> {
        let Some(last) = &self.last else { return Some(0) };
        let known = page.iter().position(|place| place.key == last.key)? + 1;
        (known < page.len() || page.len() < limit as usize).then_some(known)
    }

    fn restart(&self, page: &[RecordPosition], rules: &Rules) -> Result<Step, Failure> {
        if self.restarts >= MAX_RESTARTS {
            return Err(Failure::try_later(format!(
                "the list of {} changed {MAX_RESTARTS} times while it was read",
                rules.noun
            ))
            .hint("try again when the shop is less busy, or with a shorter period"));
        }
        let next = Self {
            restarts: self.restarts + 1,
            seen: self.seen.clone(),
            front: self.front.clone(),
            is_last_look: self.is_last_look,
            ..Self::at(self.span, self.then.clone())
        };
        Ok(Step { is_new: vec![false; page.len()], next: Some(Cursor::Window(next)) })
    }

    /// The front, if this is the first of several pages and the newest record comes first.
    fn front_of(&self, page: &[RecordPosition]) -> Option<Front> {
        let (first, last) = page.first().zip(page.last())?;
        let newest = second(first.at?);
        let is_first = self.offset == 0 && !self.is_last_look;
        let span = Span { first: newest, last: self.span.last };
        (is_first && newest > second(last.at?) && newest <= span.last)
            .then(|| Front { span, seen: keys_of_second(page, newest) })
    }

    fn after(&self, rules: &Rules) -> Option<Cursor> {
        if let Some(front) = &self.front {
            return Some(front.again(self.then.clone()));
        }
        match &self.then {
            Then::Span(rest) => rest.map(|rest| Cursor::new(rest, rules)),
            Then::Walk(walk) => Some(Cursor::Walk(walk.clone())),
        }
    }

    /// The maximum offset is reached: what was read covers the window up to the last record's second, from either end.
    fn narrowed(
        &self,
        first: Option<&RecordPosition>,
        last: &RecordPosition,
        page: &[RecordPosition],
        front: Option<Front>,
        rules: &Rules,
    ) -> Result<Cursor, Failure> {
        let times = first.and_then(|first| first.at).map(second).zip(last.at.map(second));
        let (first_at, last_at) = times.ok_or_else(|| {
            Failure::failed(format!(
                "the list of {} has records without a time at the point where it has to be split",
                rules.noun
            ))
        })?;
        let seen = keys_of_second(page, last_at);
        let is_within = |at| self.span.first <= at && at <= self.span.last;
        if !is_within(first_at) || !is_within(last_at) {
            return Err(Failure::failed(format!(
                "the list of {} has records of {}, outside the requested period from {} to {}",
                rules.noun,
                in_utc(if is_within(first_at) { last_at } else { first_at }),
                in_utc(self.span.first),
                in_utc(self.span.last)
            )));
        }
        if first_at == last_at {
            return Err(too_many_at(last_at, rules));
        }
        let is_ascending = first_at < last_at;
        if rules.walks && matches!(self.then, Then::Span(_)) {
            let (from, seen, until) = if is_ascending {
                (last_at, seen, self.span.last)
            } else {
                (self.span.first, Vec::new(), last_at)
            };
            return Ok(Cursor::Walk(Walk { from, seen, until, front }));
        }
        let span = if is_ascending {
            Span { first: last_at, ..self.span }
        } else {
            Span { last: last_at, ..self.span }
        };
        Ok(Cursor::Window(Self { seen, front, ..Self::at(span, self.then.clone()) }))
    }

    /// The maximum offset is reached in a list that is not sorted by time: what was read covers no part of the window, so
    /// its halves are read instead.
    fn halved(&self, front: Option<Front>, rules: &Rules) -> Result<Cursor, Failure> {
        let Span { first, last } = self.span;
        if first == last {
            return Err(too_many_at(first, rules));
        }
        let rest = match &self.then {
            Then::Span(rest) => rest.map_or(last, |rest| rest.last),
            Then::Walk(walk) => walk.until,
        };
        if rules.walks {
            return Ok(Cursor::Walk(Walk { from: first, seen: Vec::new(), until: rest, front: None }));
        }
        let middle = second(first + (last - first) / 2);
        let rest = Span { first, last: rest }.after(middle);
        Ok(Cursor::Window(Self {
            front,
            is_last_look: self.is_last_look,
            ..Self::at(Span { first, last: middle }, Then::Span(rest))
        }))
    }
}

fn too_many_at(at: DateTime<Utc>, rules: &Rules) -> Failure {
    Failure::failed(format!(
        "more than {} {} in the second {}: the service cannot list them all",
        rules.most_offset,
        rules.noun,
        in_utc(at)
    ))
}

/// Whether a page is sorted by time, in the same direction as the window so far.
fn is_sorted_by_time(first: Option<&RecordPosition>, page: &[RecordPosition]) -> bool {
    let seconds: Vec<DateTime<Utc>> = page.iter().filter_map(|place| place.at.map(second)).collect();
    let first = first.and_then(|first| first.at).map(second);
    let rises = seconds.is_sorted() && first.is_none_or(|first| seconds.iter().all(|at| *at >= first));
    let falls = seconds.is_sorted_by(|earlier, later| earlier >= later)
        && first.is_none_or(|first| seconds.iter().all(|at| *at <= first));
    rises || falls
}

impl Front {
    fn again(&self, then: Then) -> Cursor {
        // It is checked only once: later records belong to the next run.
        let seen = self.seen.clone();
        Cursor::Window(Window { seen, is_last_look: true, ..Window::at(self.span, then) })
    }
}

impl Walk {
    fn step(&self, page: &[RecordPosition], limit: u32, rules: &Rules) -> Result<Step, Failure> {
        let seconds: Vec<DateTime<Utc>> = page.iter().filter_map(|place| place.at.map(second)).collect();
        if seconds.first().is_some_and(|first| *first < self.from) || !seconds.is_sorted() {
            return Err(Failure::failed(format!(
                "the list of {} by creation time does not begin at the requested time, or is not sorted",
                rules.noun
            )));
        }
        let is_new: Vec<bool> = page
            .iter()
            .map(|place| place.at.is_none_or(|at| second(at) <= self.until) && !is_among(place, &self.seen))
            .collect();
        let is_last = page.len() < limit as usize || seconds.last().is_some_and(|last| *last > self.until);
        if is_last {
            return Ok(Step { is_new, next: self.after() });
        }
        let Some(reached) = seconds.last().copied() else {
            return Err(Failure::failed(format!("a whole page of {} has no creation times", rules.noun)));
        };
        let next = if reached > self.from {
            Cursor::Walk(Self { from: reached, seen: keys_of_second(page, reached), ..self.clone() })
        } else {
            // The second has more records than a page: it is read by offset, and the walk continues after it.
            let second = Span { first: self.from, last: self.from };
            let rest = Span { first: self.from, last: self.until }.after(self.from);
            let (then, front) = match rest {
                Some(rest) => (Then::Walk(Self { from: rest.first, seen: Vec::new(), ..self.clone() }), None),
                None => (Then::Span(None), self.front.clone()),
            };
            let seen = keys_of_second(page, reached);
            Cursor::Window(Window { seen, front, is_last_look: true, ..Window::at(second, then) })
        };
        Ok(Step { is_new, next: Some(next) })
    }

    fn after(&self) -> Option<Cursor> {
        self.front.as_ref().map(|front| front.again(Then::Span(None)))
    }
}

fn is_among(place: &RecordPosition, seen: &[String]) -> bool {
    place.key.as_ref().is_some_and(|key| seen.contains(key))
}

/// The keys of the page's records of this second.
fn keys_of_second(page: &[RecordPosition], at: DateTime<Utc>) -> Vec<String> {
    page.iter()
        .filter(|place| place.at.map(second) == Some(at))
        .filter_map(|place| place.key.clone())
        .collect()
}

fn in_utc(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Truncates to seconds, the resolution of the service.
pub(super) fn second(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
