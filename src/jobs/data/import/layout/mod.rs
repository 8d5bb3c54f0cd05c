//! Where each of our columns is in a file, found once by its header: a plain header is a place, everything else that a
//! mapping says becomes steps of a [`Plan`].

mod amounts;
mod columns;
mod header;
mod refusals;
mod roles;

use std::collections::HashMap;

use chrono::{DateTime, Utc};

pub(super) use amounts::{PerRecord, Sum};
pub(super) use refusals::{known_malls, refuse_copies_of_orders};
pub(super) use roles::Role;

use crate::config::{DuplicateHeaders, ImportSection};
use crate::failure::{Failure, one_line};
use crate::money::{AmountStyle, currency_exponent};
use crate::shop::malls::Mall;
use crate::shop::upsert::SourceTime;
use crate::time_format::TimeFormat;

use self::columns::{Compiler, Found};
use self::header::{Header, is_data, is_value};
use self::refusals::{
    missing_columns, missing_in_words, no_header, refuse_counting_twice, refuse_duplicate_names,
};
use super::field::{Column, Fields, MALL, Shop};
use super::mapping::Mapping;
use super::plan::{Plan, SkipRule};
use super::reader::Record;
use super::words::Words;

/// The column for when the shop last changed a record.
const UPDATED_AT: &str = "updated_at";
/// The column for when money went back.
const REFUNDED_AT: &str = "refunded_at";

/// The names of a file's columns, and what their values mean.
#[derive(Debug)]
pub(super) struct Layout {
    /// How the files are written.
    pub(super) mapping: Mapping,
    /// The kind's columns.
    pub(super) columns: Vec<Column>,
    /// Where the value of each of our columns is.
    pub(super) places: Vec<Option<usize>>,
    /// Where it is as the file writes it, before words are mapped.
    pub(super) written: Vec<Option<usize>>,
    /// The amounts that are made of several fields.
    pub(super) sums: Vec<Option<Box<Sum>>>,
    /// The ways in which the times of each column are written.
    pub(super) time_formats: Vec<Vec<TimeFormat>>,
    /// How amounts are written, unless plainly.
    pub(super) amounts: Option<AmountStyle>,
    /// Which lines are not products: the place that says it, and its words.
    pub(super) roles: Option<(usize, Words<Role>)>,
    /// How the derived fields are made.
    plan: Option<Plan>,
    /// The malls by their codes.
    pub(super) shops: HashMap<String, Result<Shop, String>>,
    /// The mall of the whole file, from a flag or the configuration.
    pub(super) mall: Option<String>,
    /// What decides which of a record and the stored one is the later.
    pub(super) source_time: SourceTime,
    /// When the file was exported, if that is known.
    pub(super) exported: Option<DateTime<Utc>>,
    /// Whether the file before it was read in the same way: what an order lacked then is new.
    pub(super) is_as_before: bool,
}

impl Layout {
    /// The same for a file that was exported then. Where no column says when a record changed, this decides between it and
    /// the stored one. `before` is when the last file was exported of which that was so, if the stored times may still be
    /// its own. `is_overtaken` says that a newer file was imported already, `is_as_before` that
    /// the one before was interpreted in the same way.
    pub(super) fn exported(
        self,
        at: DateTime<Utc>,
        before: Option<DateTime<Utc>>,
        is_overtaken: bool,
        is_as_before: bool,
    ) -> Self {
        let source_time = match (self.has_change_times(), before) {
            (Some(false), _) => SourceTime::Exported(at),
            (Some(true), _) if is_overtaken => SourceTime::RecordedInOlder,
            (_, Some(before)) => SourceTime::RecordedOver(before),
            (_, None) => SourceTime::Recorded,
        };
        Self { source_time, exported: Some(at), is_as_before, ..self }
    }

    /// Whether the file says when a record changed, or the kind has no such column.
    pub(super) fn records_changes(&self) -> bool {
        self.has_change_times() != Some(false)
    }

    /// Whether the file says when a record changed; nothing if the kind has no such column.
    fn has_change_times(&self) -> Option<bool> {
        self.has_named(UPDATED_AT)
    }

    /// Whether the file says on which day money went back.
    pub(super) fn says_day_of_refund(&self) -> bool {
        self.has_named(REFUNDED_AT) == Some(true)
    }

    fn has_named(&self, name: &str) -> Option<bool> {
        let column = self.columns.iter().position(|column| column.name == name);
        column.map(|place| self.has(place))
    }

    /// Finds the columns in a header. `mall` is the one that the whole file belongs to, if specified.
    pub(super) fn new(
        mapping: &Mapping,
        file_name: &str,
        header: &[String],
        columns: Vec<Column>,
        malls: &[Mall],
        mall: Option<String>,
    ) -> Result<Self, Failure> {
        let keys = &mapping.keys;
        if keys.duplicate_headers != Some(DuplicateHeaders::First) {
            refuse_duplicate_names(file_name, header, mapping)?;
        }
        let mut compiler = Compiler {
            keys,
            columns: &columns,
            header: Header::new(header, keys.duplicate_headers.is_some()),
            plan: Plan::new(header.len()),
            filled: HashMap::new(),
            missing: Vec::new(),
            ambiguous: None,
        };
        let mut found = Found::default();
        for (index, column) in columns.iter().enumerate() {
            let is_required = column.is_required || (index == MALL && mall.is_none());
            compiler.column(column, is_required, &mut found);
        }
        let roles = compiler.roles();
        compiler.skips();
        compiler.fill_from_first();
        let is_any_known = columns.iter().any(|column| compiler.has(column.name));
        let Compiler { plan, missing, ambiguous, .. } = compiler;
        if let Some(problem) = ambiguous {
            return Err(Failure::bad_input(format!("failed to read `{file_name}`: line 1: {problem}"))
                .hint("name the header exactly as it is in the file"));
        }
        if !missing.is_empty() {
            let codes: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            let malls = mall.is_none().then_some(&codes);
            let is_data = is_data(header) || (header.iter().any(|name| is_value(name)) && !is_any_known);
            if is_data {
                return Err(no_header(file_name, header, &missing_in_words(&missing)));
            }
            return Err(missing_columns(mapping, file_name, header, &missing, malls));
        }
        refuse_counting_twice(mapping, file_name, &columns, roles.as_ref().map(|(_, words)| words), &found)?;
        // A mall that cannot be used fails its own lines only.
        let shop = |mall: &Mall| {
            let shop = refuse_copies_of_orders(mapping.kind(), mall).map_err(anyhow::Error::from);
            shop.and_then(|()| Shop::new(mall)).map_err(|error| one_line(&error))
        };
        let shops = malls.iter().map(|mall| (mall.code.clone(), shop(mall))).collect();
        let time_formats = columns.iter().map(|column| time_formats(keys, column.name)).collect();
        Ok(Self {
            mapping: mapping.clone(),
            columns,
            places: found.places,
            written: found.written,
            sums: found.sums,
            time_formats,
            amounts: amount_style(keys),
            roles,
            plan: (!plan.is_empty()).then_some(plan),
            shops,
            mall,
            source_time: SourceTime::Recorded,
            exported: None,
            is_as_before: false,
        })
    }

    /// Whether the file has a column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.written[column].is_some() || self.sums[column].is_some()
    }

    /// Whether a column is made of others of ours.
    pub(super) fn is_computed(&self, column: usize) -> bool {
        self.mapping.keys.columns.get(self.columns[column].name).is_some_and(|column| column.computed)
    }

    /// The words of a column of which the first that a line of the record has counts; none if all lines have the same.
    pub(super) fn first_of(&self, column: usize) -> &[String] {
        self.mapping.keys.columns.get(self.columns[column].name).map_or(&[], |column| &column.first_of)
    }

    /// The header for each of whose values an amount of a column counts once.
    pub(super) fn once_per(&self, column: usize) -> &str {
        let mapped = self.mapping.keys.columns.get(self.columns[column].name);
        mapped.and_then(|column| column.once_per.as_deref()).unwrap_or_default()
    }

    /// The fields of a record.
    pub(super) fn fields<'r>(&'r self, record: &'r Record) -> Fields<'r> {
        Fields::new(self, record)
    }

    /// Makes the derived fields of a line that follows these of its record.
    pub(super) fn derive(&self, record: &mut Record, before: &[Record]) {
        if let Some(plan) = &self.plan {
            plan.derive(record, before);
        }
    }

    /// Whether a line's fields depend on those before it in its record.
    pub(super) fn looks_back(&self) -> bool {
        self.plan.as_ref().is_some_and(Plan::looks_back)
    }

    /// Whether the file has blank or the same cells for a line's key as for that of a record's first line; true if it has
    /// to say so on each line.
    pub(super) fn may_continue(&self, first: &Record, line: &Record) -> bool {
        self.plan.as_ref().is_none_or(|plan| plan.may_continue(first, line))
    }

    /// The rules that leave out lines, in order.
    pub(super) fn skip_rules(&self) -> &[SkipRule] {
        self.plan.as_ref().map_or(&[], |plan| &plan.skips)
    }

    /// Whether decimals may as well be a group of three digits: three of them, in a currency that has none, in a file whose
    /// section does not say what a point is.
    pub(super) fn may_be_thousands(&self, decimals: &str, currency: &str) -> bool {
        let keys = &self.mapping.keys;
        let is_declared = keys.decimal.is_some() || keys.thousands.is_some();
        decimals.len() == 3 && !is_declared && currency_exponent(currency) == 0
    }

    /// What a line is.
    pub(super) fn role(&self, record: &Record) -> Result<Role, String> {
        let Some((place, words)) = &self.roles else { return Ok(Role::Product) };
        let word = record.field(*place);
        words.find(word).copied().ok_or_else(|| {
            let column = self.mapping.keys.lines.column.as_deref().unwrap_or_default();
            format!(
                "`{column}`: `{word}` is not a kind of line: add it to one of the lists in {}",
                self.mapping.at("lines")
            )
        })
    }
}

/// The ways in which the times of a column are written.
fn time_formats(keys: &ImportSection, column: &str) -> Vec<TimeFormat> {
    let own =
        keys.columns.get(column).map(|column| &column.time_format).filter(|formats| !formats.is_empty());
    // The configuration accepts only forms that can be read.
    own.unwrap_or(&keys.time_format).iter().filter_map(|format| TimeFormat::new(format).ok()).collect()
}

/// How amounts are written, unless plainly.
fn amount_style(keys: &ImportSection) -> Option<AmountStyle> {
    let signs = keys.currency_signs.clone().unwrap_or_default();
    let decimal = keys.decimal.unwrap_or('.');
    if keys.thousands.is_none() && decimal == '.' && signs.is_empty() {
        return None;
    }
    Some(AmountStyle { thousands: keys.thousands, decimal, signs })
}
