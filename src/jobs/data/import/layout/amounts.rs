//! Amounts that are made of several fields, or of several lines.

use super::super::plan::Condition;
use super::super::reader::Record;

/// How an amount is made of several fields.
#[derive(Debug, Default)]
pub(in crate::jobs::data::import) struct Sum {
    /// The fields that are added.
    pub(in crate::jobs::data::import) plus: Vec<usize>,
    /// The fields that are subtracted.
    pub(in crate::jobs::data::import) minus: Vec<usize>,
    /// What is added up within a record.
    pub(in crate::jobs::data::import) per_record: Option<PerRecord>,
    /// All of them as the file writes them.
    pub(in crate::jobs::data::import) written: Vec<usize>,
    /// What some lines say instead, in order.
    pub(in crate::jobs::data::import) rules: Vec<(Condition, String)>,
}

impl Sum {
    /// Its fields.
    pub(in crate::jobs::data::import) fn places(&self) -> impl Iterator<Item = usize> {
        self.plus.iter().chain(&self.minus).copied()
    }

    /// What a rule says of a record instead, if one applies.
    pub(in crate::jobs::data::import) fn ruled(&self, record: &Record) -> Option<&str> {
        self.rules.iter().find(|(condition, _)| condition.holds(record)).map(|(_, value)| value.as_str())
    }
}

/// Which lines' amounts are added up.
#[derive(Debug, Clone, Copy)]
pub(in crate::jobs::data::import) enum PerRecord {
    /// All of them.
    Lines,
    /// One for each value of this field.
    Each(usize),
}
