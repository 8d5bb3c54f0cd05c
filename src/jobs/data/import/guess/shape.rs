//! What the fields of a column look like: times in which form, amounts with which signs.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;

use super::super::reader::{Record, Source};
use super::numbers::Numbers;
use super::sample::Sample;
use super::times::Times;

/// Different values that are kept.
const KEPT_VALUES: usize = 200;

/// The fields of a column.
#[derive(Debug, Default, Clone)]
pub(super) struct Shape {
    /// Different values, some of them.
    seen: BTreeSet<String>,
    /// In which forms they are times.
    pub(super) times: Times,
    /// How amounts are written.
    pub(super) numbers: Numbers,
}

impl Shape {
    fn see(&mut self, text: &str) {
        let is_full = self.seen.len() >= KEPT_VALUES;
        if text.is_empty() || is_full && self.seen.contains(text) {
            return;
        }
        if !is_full && !self.seen.insert(text.to_owned()) {
            return;
        }
        self.numbers.see(text);
        self.times.see(text);
    }

    /// Whether all fields were empty.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Some value.
    pub(super) fn example(&self) -> &str {
        self.seen.first().map_or("", String::as_str)
    }

    /// Different values.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(String::as_str)
    }
}

/// The shapes of some columns of a sample.
pub(super) fn of(
    sample: &Sample,
    source: &Source,
    places: impl Iterator<Item = usize>,
) -> Result<BTreeMap<usize, Shape>, Failure> {
    let mut shapes: BTreeMap<usize, Shape> = places.map(|place| (place, Shape::default())).collect();
    sample.lines(source, |record: &mut Record| {
        for (place, shape) in &mut shapes {
            shape.see(record.field(*place));
        }
    })?;
    Ok(shapes)
}

/// Whether the fields of an order are blank below its first line.
pub(super) fn is_filled_down(
    sample: &Sample,
    source: &Source,
    order_no: Option<usize>,
    total: Option<usize>,
) -> Result<bool, Failure> {
    let (Some(number), Some(total)) = (order_no, total) else { return Ok(false) };
    let (mut before, mut is_filled) = (String::new(), false);
    sample.lines(source, |record: &mut Record| {
        let own = record.field(number);
        let continues = own.is_empty() || own == before;
        is_filled |= continues && record.field(total).is_empty();
        if !own.is_empty() {
            own.clone_into(&mut before);
        }
    })?;
    Ok(is_filled)
}
