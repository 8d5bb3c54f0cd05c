//! `[import.KIND]` and `[import.KIND.NAME]` of `batchctl.toml`: how shops without an API write their files. Which kinds
//! exist, which columns a kind has and which presets there are, is up to `data import`.

mod check;
mod choices;
mod column;
mod lines;
mod one_or_more;
mod reading;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::de::MapAccess;

pub use choices::{
    CancelledWithoutTime, DuplicateHeaders, Holdings, PaidWithoutTime, Quotes, RefundedAboveTotal,
    RefundedWithoutAmount,
};
pub use column::{ImportColumn, Per};
pub use lines::ImportLines;
pub use one_or_more::OneOrMore;
pub use rule::{ImportRule, Skip};

use super::Config;
use crate::text_encoding::TextEncoding;

/// `[import]`: a table for each kind of file, by the kind's name.
pub type ImportConfig = BTreeMap<String, ImportSections>;

/// The sections of a kind of file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportSections {
    /// `[import.KIND]`.
    pub own: ImportSection,
    /// `[import.KIND.NAME]`, by name.
    pub named: BTreeMap<String, ImportSection>,
    /// Keys that are neither.
    unknown: Vec<String>,
}

/// Makes the struct of a section, and the list of its keys.
macro_rules! section_keys {
    ($($(#[doc = $doc:literal])+ $key:ident: $type:ty,)+) => {
        /// How one kind of file is written.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct ImportSection {
            $($(#[doc = $doc])+ pub $key: $type,)+
            /// Keys that a section does not have.
            unknown: Vec<String>,
        }

        impl ImportSection {
            const KEYS: &[&str] = &[$(stringify!($key)),+];

            /// Takes the value of one of its keys; false if it does not have the key.
            fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                match key {
                    $(stringify!($key) => self.$key = map.next_value()?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}

section_keys! {
    /// The preset that it starts from.
    preset: Option<String>,
    /// The mall that the rows belong to, unless given by the file or a flag.
    mall: Option<String>,
    /// The encodings in which the file may be, tried in order.
    encoding: OneOrMore<TextEncoding>,
    /// The field delimiter; a comma by default. One ASCII character.
    delimiter: Option<char>,
    /// What a `"` means.
    quotes: Option<Quotes>,
    /// The ways in which times are written (strftime); RFC 3339 by default.
    time_format: OneOrMore<String>,
    /// What separates groups of three digits in an amount.
    thousands: Option<char>,
    /// The decimal point of an amount.
    decimal: Option<char>,
    /// What may stand before or after an amount.
    currency_signs: Option<Vec<String>>,
    /// Whether a blank cell means the same as on the first line of its record.
    fill_down: Option<bool>,
    /// What to do about two headers of the same name.
    duplicate_headers: Option<DuplicateHeaders>,
    /// Our columns, and what they are made of; a column that is left out has our name in the file too.
    columns: BTreeMap<String, ImportColumn>,
    /// Our column to its values: the one in the file to ours; `*` is any other.
    values: BTreeMap<String, BTreeMap<String, String>>,
    /// What some lines mean that the columns do not say.
    rules: Vec<ImportRule>,
    /// Which lines of a record are not products.
    lines: ImportLines,
    /// Whether prices and totals of lines include the tax; either by default.
    tax_included: Option<bool>,
    /// The payment day of a paid order that has none.
    paid_without_time: Option<PaidWithoutTime>,
    /// The day of a cancellation that has none.
    cancelled_without_time: Option<CancelledWithoutTime>,
    /// What was paid back of an order whose money went back, if no amount says it.
    refunded_without_amount: Option<RefundedWithoutAmount>,
    /// What becomes of an order of which more was paid back than it cost.
    refunded_above_total: Option<RefundedAboveTotal>,
    /// Whether a file with a header and no lines is fine.
    allow_empty: Option<bool>,
    /// What such a file holds, which it does not say itself.
    holds: Option<Holdings>,
    /// The names of such files in the folder of an inbox; `*` and `?` stand for any characters and any one.
    inbox_pattern: OneOrMore<String>,
}

impl Config {
    /// How files of a kind are written, if the configuration says anything about it.
    pub fn import_sections(&self, kind: &str) -> Option<&ImportSections> {
        self.import().get(kind)
    }
}

impl ImportSection {
    /// Every header that its columns and rules read.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let of_columns = self.columns.values().flat_map(ImportColumn::headers);
        let of_rules = self.rules.iter().flat_map(|rule| rule.when.keys());
        of_columns.chain(of_rules.chain(&self.lines.column).map(String::as_str))
    }

    /// These keys on top of others.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        let either = |own: OneOrMore<_>, base| if own.is_empty() { base } else { own };
        let mut columns = base.columns;
        columns.extend(self.columns);
        let mut values = base.values;
        for (column, own) in self.values {
            values.entry(column).or_default().extend(own);
        }
        Self {
            preset: self.preset.or(base.preset),
            mall: self.mall.or(base.mall),
            encoding: if self.encoding.is_empty() { base.encoding } else { self.encoding },
            delimiter: self.delimiter.or(base.delimiter),
            quotes: self.quotes.or(base.quotes),
            time_format: either(self.time_format, base.time_format),
            thousands: self.thousands.or(base.thousands),
            decimal: self.decimal.or(base.decimal),
            currency_signs: self.currency_signs.or(base.currency_signs),
            fill_down: self.fill_down.or(base.fill_down),
            duplicate_headers: self.duplicate_headers.or(base.duplicate_headers),
            columns,
            values,
            rules: self.rules.into_iter().chain(base.rules).collect(),
            lines: self.lines.over(base.lines),
            tax_included: self.tax_included.or(base.tax_included),
            paid_without_time: self.paid_without_time.or(base.paid_without_time),
            cancelled_without_time: self.cancelled_without_time.or(base.cancelled_without_time),
            refunded_without_amount: self.refunded_without_amount.or(base.refunded_without_amount),
            refunded_above_total: self.refunded_above_total.or(base.refunded_above_total),
            allow_empty: self.allow_empty.or(base.allow_empty),
            holds: self.holds.or(base.holds),
            inbox_pattern: either(self.inbox_pattern, base.inbox_pattern),
            unknown: Vec::new(),
        }
    }
}
