//! Where each of our columns is in a file, found once by its header: a plain header is a place, everything else that a
//! mapping says becomes steps of a [`Plan`].

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::config::{DuplicateHeaders, ImportColumn, ImportSection, OneOrMore, Skip};
use crate::failure::{Failure, one_line};
use crate::money::{AmountStyle, currency_exponent};
use crate::shop::malls::Mall;
use crate::shop::upsert::SourceTime;
use crate::time_format::TimeFormat;
use crate::wording::counted;

use super::bad_lines::masked;
use super::field::{Column, Fields, MALL, Shop};
use super::mapping::{Mapping, ROLE_COLUMNS};
use super::plan::{Condition, Cut, Plan, SkipRule, Step};
use super::reader::Record;
use super::words::{Words, normal};

/// The position of the record's key in every kind: after the mall.
const KEY: usize = 1;
/// Who looks for a header that none of our columns does.
const READ_BY_A_RULE: &str = "read by a rule";
/// The column for when the shop last changed a record.
const UPDATED_AT: &str = "updated_at";

/// How an amount is made of several fields.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// The fields that are added.
    pub(super) plus: Vec<usize>,
    /// The fields that are subtracted.
    pub(super) minus: Vec<usize>,
    /// What is added up within a record.
    pub(super) per_record: Option<PerRecord>,
    /// All of them as the file writes them.
    pub(super) written: Vec<usize>,
    /// What some lines say instead, in order.
    pub(super) rules: Vec<(Condition, String)>,
}

impl Sum {
    /// Its fields.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.plus.iter().chain(&self.minus).copied()
    }

    /// What a rule says of a record instead, if one applies.
    pub(super) fn ruled(&self, record: &Record) -> Option<&str> {
        self.rules.iter().find(|(condition, _)| condition.holds(record)).map(|(_, value)| value.as_str())
    }
}

/// Which lines' amounts are added up.
#[derive(Debug, Clone, Copy)]
pub(super) enum PerRecord {
    /// All of them.
    Lines,
    /// One for each value of this field.
    Each(usize),
}

/// What a line of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Something that was sold.
    Product,
    /// Something that was given away.
    Gift,
    /// Shipping.
    Shipping,
    /// A fee.
    Fee,
    /// A discount.
    Discount,
    /// Tax.
    Tax,
    /// What was paid back.
    Refund,
    /// Nothing that counts.
    Skipped,
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            "gift" => Self::Gift,
            "shipping" => Self::Shipping,
            "fee" => Self::Fee,
            "discount" => Self::Discount,
            "tax" => Self::Tax,
            "refund" => Self::Refund,
            "skip" => Self::Skipped,
            _ => Self::Product,
        }
    }

    /// Whether the line is one of the record's items.
    pub(super) fn is_item(self) -> bool {
        matches!(self, Self::Product | Self::Gift)
    }
}

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
}

impl Layout {
    /// The same for a file that was exported then. Where no column says when a record changed, this decides between it and
    /// the stored one. `before` is when the last file was exported of which that was so, if the stored times may still be
    /// its own.
    pub(super) fn exported(self, at: DateTime<Utc>, before: Option<DateTime<Utc>>) -> Self {
        let source_time = match before {
            _ if !self.records_changes() => SourceTime::Exported(at),
            Some(before) => SourceTime::RecordedOver(before),
            None => SourceTime::Recorded,
        };
        Self { source_time, ..self }
    }

    /// Whether the file says when a record changed, or the kind has no such column.
    pub(super) fn records_changes(&self) -> bool {
        let column = self.columns.iter().position(|column| column.name == UPDATED_AT);
        column.is_none_or(|place| self.has(place))
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
        let shop = |mall: &Mall| Shop::new(mall).map_err(|error| one_line(&error));
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

/// A header's names, and where they are.
struct Header<'h> {
    names: &'h [String],
    /// By how they are meant; empty until a name is not found as it is written.
    meant: BTreeMap<String, Vec<usize>>,
    first_counts: bool,
}

impl<'h> Header<'h> {
    fn new(names: &'h [String], first_counts: bool) -> Self {
        let mut meant: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, name) in names.iter().enumerate() {
            meant.entry(normal(name).into_owned()).or_default().push(place);
        }
        Self { names, meant, first_counts }
    }

    fn exactly(&self, wanted: &str) -> Option<usize> {
        self.names.iter().position(|name| name == wanted)
    }

    /// The place of a name as it is written, else as it is meant; an error if that may be one of several.
    fn find(&self, wanted: &str) -> Result<Option<usize>, String> {
        if let Some(place) = self.exactly(wanted) {
            return Ok(Some(place));
        }
        match self.meant.get(normal(wanted).as_ref()).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [place] => Ok(Some(*place)),
            [place, ..] if self.first_counts => Ok(Some(*place)),
            [one, other, ..] => {
                Err(format!("`{wanted}` may be either `{}` or `{}`", self.names[*one], self.names[*other]))
            }
        }
    }
}

/// What was found for each column, in order.
#[derive(Default)]
struct Found {
    places: Vec<Option<usize>>,
    written: Vec<Option<usize>>,
    sums: Vec<Option<Box<Sum>>>,
}

/// Finds the places of columns, and adds the steps that they need to the plan.
struct Compiler<'c> {
    keys: &'c ImportSection,
    columns: &'c [Column],
    header: Header<'c>,
    plan: Plan,
    /// The places of the fields that are filled from a record's first line, by their own.
    filled: HashMap<usize, usize>,
    /// Our columns that the file does not have, and what was looked for.
    missing: Vec<(String, String)>,
    ambiguous: Option<String>,
}

impl Compiler<'_> {
    /// The place of a header, if the file has it.
    fn find(&mut self, header: &str) -> Option<usize> {
        match self.header.find(header.trim()) {
            Ok(place) => place,
            Err(problem) => {
                self.ambiguous.get_or_insert(problem);
                None
            }
        }
    }

    /// The place of a field as a column of the record reads it: filled, if blank fields are.
    fn field(&mut self, place: usize, is_of_line: bool) -> usize {
        if self.keys.fill_down != Some(true) || is_of_line || self.is_read_by_a_line(place) {
            return place;
        }
        if let Some(filled) = self.filled.get(&place) {
            return *filled;
        }
        let filled = self.plan.add(Step::Filled(place));
        self.filled.insert(place, filled);
        filled
    }

    /// Whether a column of the lines reads the field.
    fn is_read_by_a_line(&self, place: usize) -> bool {
        let of_lines = self.columns.iter().filter(|column| column.is_of_line);
        let role = self.keys.lines.column.as_deref();
        let mapped = of_lines.flat_map(|column| match self.keys.columns.get(column.name) {
            Some(mapped) => mapped.headers().collect::<Vec<_>>(),
            None => vec![column.name],
        });
        mapped.chain(role).any(|header| self.header.find(header.trim()) == Ok(Some(place)))
    }

    /// The places of the headers that the file has.
    fn fields(&mut self, headers: &[String], is_of_line: bool) -> Vec<usize> {
        let mut places = Vec::with_capacity(headers.len());
        for header in headers {
            if let Some(place) = self.find(header) {
                places.push(self.field(place, is_of_line));
            }
        }
        places
    }

    fn column(&mut self, column: &Column, is_required: bool, found: &mut Found) {
        let mapped = self.keys.columns.get(column.name);
        let mut sum = None;
        let written = match mapped {
            None => {
                let place = self.find(column.name);
                let is_set = self.keys.rules.iter().any(|rule| rule.set.contains_key(column.name));
                if place.is_none() && is_required && !is_set && !self.may_be_missing(column) {
                    self.missing.push((column.name.to_owned(), column.name.to_owned()));
                }
                place.map(|place| self.field(place, column.is_of_line))
            }
            Some(mapped) if column.is_amount() && is_sum(mapped) => {
                sum = self.sum(column, mapped);
                if sum.is_none() && is_required && !self.missing.iter().any(|(ours, _)| ours == column.name) {
                    self.missing.push((column.name.to_owned(), either(&mapped.add)));
                }
                None
            }
            Some(mapped) => self.source(column, mapped, is_required),
        };
        let meant = written.and_then(|place| self.words(column, place)).or(written);
        // A default is a value of ours: words are not looked up for it.
        let meant = match mapped.and_then(|mapped| mapped.default.clone()) {
            Some(text) if sum.is_none() => Some(self.plan.add(match meant {
                Some(place) => Step::Default(place, text),
                None => Step::Constant(text),
            })),
            _ => meant,
        };
        let meant = match &mut sum {
            Some(sum) => {
                sum.rules = self.rules(column);
                meant
            }
            None => self.ruled(column, meant).or(meant),
        };
        found.places.push(meant);
        found.written.push(written.or(meant));
        found.sums.push(sum.map(Box::new));
    }

    /// Whether other keys make up for a column that the file does not have.
    fn may_be_missing(&self, column: &Column) -> bool {
        // A line's price follows from its amount.
        column.name == "unit_price_amount" && self.has("line_amount")
    }

    fn has(&self, column: &str) -> bool {
        match self.keys.columns.get(column) {
            None => self.header.find(column).is_ok_and(|at| at.is_some()),
            Some(mapped) => {
                mapped.headers().any(|header| self.header.find(header.trim()).is_ok_and(|at| at.is_some()))
            }
        }
    }

    /// The place of what a mapped column is made of.
    fn source(&mut self, column: &Column, mapped: &ImportColumn, is_required: bool) -> Option<usize> {
        if let Some(constant) = &mapped.constant {
            return Some(self.plan.add(Step::Constant(constant.clone())));
        }
        if mapped.position {
            return Some(self.plan.add(Step::Position));
        }
        if mapped.computed {
            return None;
        }
        let places = self.fields(&mapped.from, column.is_of_line);
        let mut place = match places.as_slice() {
            [] => {
                // Whoever maps a column expects it: reading it as empty would make wrong figures without a word.
                if !mapped.optional
                    || (is_required && mapped.default.is_none() && !self.may_be_missing(column))
                {
                    self.missing.push((column.name.to_owned(), either(&mapped.from)));
                }
                return None;
            }
            [only] => *only,
            _ => self.plan.add(match &mapped.join {
                Some(separator) => Step::Joined(places, separator.clone()),
                None => Step::First(places),
            }),
        };
        if let Some(characters) = &mapped.strip {
            place = self.plan.add(Step::Stripped(place, characters.clone()));
        }
        // The configuration accepts only patterns that compile.
        if let Some(regex) =
            mapped.pattern.as_deref().and_then(|pattern| regex_lite::Regex::new(pattern).ok())
        {
            let cut = Cut {
                column: column.name,
                regex,
                replace: mapped.replace.clone(),
                or_whole: mapped.or_whole,
            };
            place = self.plan.add(Step::Cut(place, Box::new(cut)));
        }
        Some(place)
    }

    /// The fields of an amount that is made of several.
    fn sum(&mut self, column: &Column, mapped: &ImportColumn) -> Option<Sum> {
        let per_record = self.per_record(column, mapped);
        // A field that is added up stands for its own line alone: a blank one is nothing, and not filled.
        let column = &Column { is_of_line: column.is_of_line || per_record.is_some(), ..*column };
        let from = if mapped.from.is_empty() { None } else { self.source(column, mapped, false) };
        for header in mapped.add.iter().chain(mapped.subtract.iter()) {
            if self.find(header).is_none() && !mapped.optional {
                self.missing.push((column.name.to_owned(), format!("`{header}`")));
            }
        }
        let added = self.fields(&mapped.add, column.is_of_line);
        let minus = self.fields(&mapped.subtract, column.is_of_line);
        let mut words = |places: Vec<usize>| -> Vec<usize> {
            places.into_iter().map(|place| self.words(column, place).unwrap_or(place)).collect()
        };
        let written: Vec<usize> = from.iter().chain(&added).chain(&minus).copied().collect();
        let mut plus = words(from.into_iter().chain(added).collect());
        let minus = words(minus);
        if let (Some(text), Some(_), [first, ..]) = (&mapped.default, from, plus.as_mut_slice()) {
            *first = self.plan.add(Step::Default(*first, text.clone()));
        }
        let sum = Sum { plus, minus, per_record, written, rules: Vec::new() };
        let is_there = sum.places().next().is_some() || mapped.computed;
        is_there.then_some(sum)
    }

    /// What an amount is added up over.
    fn per_record(&mut self, column: &Column, mapped: &ImportColumn) -> Option<PerRecord> {
        let Some(header) = &mapped.once_per else { return mapped.per.map(|_| PerRecord::Lines) };
        let place = self.find(header);
        if place.is_none() && !mapped.optional {
            self.missing.push((column.name.to_owned(), format!("`{header}`")));
        }
        place.map(PerRecord::Each)
    }

    /// The place of a field's meaning, if the words of the column are mapped.
    fn words(&mut self, column: &Column, place: usize) -> Option<usize> {
        let values = self.keys.values.get(column.name)?;
        let words = Words::new(values.iter().map(|(theirs, ours)| (theirs.as_str(), ours.clone())));
        Some(self.plan.add(Step::Mapped(place, words)))
    }

    /// The place of what rules set a column to, else of the field at `place`.
    fn ruled(&mut self, column: &Column, place: Option<usize>) -> Option<usize> {
        let rules = self.rules(column);
        (!rules.is_empty()).then(|| self.plan.add(Step::Ruled(place, rules)))
    }

    /// What rules set a column to.
    fn rules(&mut self, column: &Column) -> Vec<(Condition, String)> {
        let mut rules = Vec::new();
        for rule in &self.keys.rules {
            if let Some(value) = rule.set.get(column.name)
                && let Some(condition) = self.condition(&rule.when, rule.optional, column.is_of_line)
            {
                rules.push((condition, value.clone()));
            }
        }
        rules
    }

    /// The condition of a rule; nothing if the file lacks one of its headers.
    fn condition(
        &mut self,
        when: &BTreeMap<String, OneOrMore<String>>,
        is_optional: bool,
        is_of_line: bool,
    ) -> Option<Condition> {
        let mut fields = Vec::with_capacity(when.len());
        for (header, words) in when {
            let Some(place) = self.find(header) else {
                let lacking = (format!("{header} ({READ_BY_A_RULE})"), String::new());
                if !is_optional && !self.missing.contains(&lacking) {
                    self.missing.push(lacking);
                }
                return None;
            };
            let place = self.field(place, is_of_line);
            fields.push((place, Words::new(words.iter().map(|word| (word.as_str(), ())))));
        }
        Some(Condition(fields))
    }

    fn skips(&mut self) {
        for rule in &self.keys.rules {
            let Some(skip) = rule.skip else { continue };
            let is_read_by_a_line =
                |header: &String| {
                    self.header.find(header.trim()).ok().flatten().is_some_and(|place| {
                        self.is_read_by_a_line(place) || !self.is_read_by_a_record(place)
                    })
                };
            let whole_record = match skip {
                Skip::Order => true,
                Skip::Line => false,
                Skip::Either => !rule.when.keys().any(is_read_by_a_line),
            };
            let Some(condition) = self.condition(&rule.when, rule.optional, !whole_record) else { continue };
            let name = rule.name.clone().unwrap_or_else(|| described(&rule.when));
            let sets_last = !rule.set.is_empty();
            self.plan.skips.push(SkipRule { condition, whole_record, sets_last, name });
        }
    }

    fn is_read_by_a_record(&self, place: usize) -> bool {
        let of_records = self.columns.iter().filter(|column| !column.is_of_line);
        let mut mapped = of_records.flat_map(|column| match self.keys.columns.get(column.name) {
            Some(mapped) => mapped.headers().collect::<Vec<_>>(),
            None => vec![column.name],
        });
        mapped.any(|header| self.header.find(header.trim()) == Ok(Some(place)))
    }

    fn roles(&mut self) -> Option<(usize, Words<Role>)> {
        let lines = &self.keys.lines;
        let header = lines.column.as_deref()?;
        let Some(place) = self.find(header) else {
            self.missing.push((format!("{header} (read by `lines`)"), String::new()));
            return None;
        };
        let roles = lines.roles();
        let words =
            roles.iter().flat_map(|(role, words)| words.iter().map(|word| (word.as_str(), Role::of(role))));
        Some((place, Words::new(words)))
    }

    /// Where a record's key is, so that blank fields can be filled.
    fn fill_from_first(&mut self) {
        if self.keys.fill_down != Some(true) {
            return;
        }
        let columns = self.columns;
        let mut own = |column: &Column| -> Vec<usize> {
            match self.keys.columns.get(column.name) {
                None => self.find(column.name).into_iter().collect(),
                Some(mapped) => mapped.from.iter().filter_map(|header| self.find(header)).collect(),
            }
        };
        let mut places = own(&columns[KEY]);
        places.extend(own(&columns[MALL]));
        self.plan.filling = Some(places);
    }
}

/// Whether an amount is made of others, rather than of one field.
fn is_sum(mapped: &ImportColumn) -> bool {
    let is_added = !mapped.add.is_empty() || !mapped.subtract.is_empty();
    is_added || mapped.computed || mapped.per.is_some() || mapped.once_per.is_some()
}

/// `` `Paid at` or `Created at` ``.
fn either(headers: &[String]) -> String {
    headers.iter().map(|header| format!("`{}`", header.trim())).collect::<Vec<_>>().join(" or ")
}

/// What a rule without a name is called.
fn described(when: &BTreeMap<String, OneOrMore<String>>) -> String {
    let part = |(header, words): (&String, &OneOrMore<String>)| {
        let words: Vec<&str> =
            words.iter().map(|word| if word.is_empty() { "(empty)" } else { word.as_str() }).collect();
        format!("{header} = {}", words.join(" or "))
    };
    when.iter().map(part).collect::<Vec<_>>().join(" and ")
}

/// A file may have our own name for an amount that some of its lines are added to.
fn refuse_counting_twice(
    mapping: &Mapping,
    file_name: &str,
    columns: &[Column],
    roles: Option<&Words<Role>>,
    found: &Found,
) -> Result<(), Failure> {
    let section = &mapping.section;
    for (role, own) in ROLE_COLUMNS {
        let place = columns.iter().position(|column| column.name == own);
        let has_column = place.is_some_and(|place| found.written[place].is_some());
        if has_column && roles.is_some_and(|words| words.has(&Role::of(role))) {
            return Err(Failure::bad_input(format!(
                "failed to read `{file_name}`: line 1: {role} would count twice, as the column `{own}` and as \
                 `lines.{role}` of [{section}]"
            ))
            .hint("move the words to `lines.skip` if the column is the order's, or rename the column in the file"));
        }
    }
    Ok(())
}

/// Whether what should be a header seems to be a line of data: a header rarely has names that are a number, a day or an
/// address, and an order always has several of them.
fn is_data(header: &[String]) -> bool {
    header.iter().filter(|name| is_value(name)).count() > 1
}

/// Whether a text is a number, a day, a time or a mail address.
fn is_value(text: &str) -> bool {
    let is_of_number = |character: char| {
        character.is_ascii_digit()
            || character.is_whitespace()
            || "-/:.,+¥￥$€₩%TZ年月日時分秒円년월일시분초원".contains(character)
    };
    text.contains('@') || (text.contains(|one: char| one.is_ascii_digit()) && text.chars().all(is_of_number))
}

fn no_header(file_name: &str, header: &[String], problem: &str) -> Failure {
    Failure::bad_input(format!(
        "failed to read `{file_name}`: line 1: {problem}; the line has {} and looks like data: the header seems to be missing",
        counted(header.len() as u64, "field", "fields")
    ))
    .hint("export the file with its header line, which the platform may offer as an option; it names the columns")
}

fn refuse_duplicate_names(file_name: &str, header: &[String], mapping: &Mapping) -> Result<(), Failure> {
    for (place, name) in header.iter().enumerate() {
        if !name.is_empty() && header[..place].contains(name) {
            if is_data(header) {
                return Err(no_header(file_name, header, "two columns have the same name"));
            }
            return Err(Failure::bad_input(format!(
                "failed to read `{file_name}`: line 1: two columns are named `{name}`"
            ))
            .hint(format!(
                "if the first one counts, set duplicate_headers = \"first\" in [{}] of batchctl.toml",
                mapping.section
            )));
        }
    }
    Ok(())
}

/// `` missing column `status` (looked for as `a` or `b`) ``.
fn missing_in_words(missing: &[(String, String)]) -> String {
    let names: Vec<String> = missing
        .iter()
        .map(|(ours, wanted)| {
            if let Some((header, reader)) = ours.rsplit_once(" (") {
                format!("`{header}` ({reader}")
            } else if ours == wanted {
                format!("`{ours}`")
            } else {
                format!("`{ours}` (looked for as {wanted})")
            }
        })
        .collect();
    format!("missing column {}", names.join(", "))
}

/// `malls` are the codes of the malls that the file could belong to, if it has to say so itself.
fn missing_columns(
    mapping: &Mapping,
    file_name: &str,
    header: &[String],
    missing: &[(String, String)],
    malls: Option<&Vec<&str>>,
) -> Failure {
    let section = &mapping.section;
    // A name that is a value may be somebody's: errors are mailed and kept.
    let shown = |name: &String| if is_value(name) { masked(name) } else { name.clone() };
    let found: Vec<String> = header.iter().map(|name| format!("`{}`", shown(name))).collect();
    let failure = Failure::bad_input(format!(
        "failed to read `{file_name}`: line 1: {}; the header has {}",
        missing_in_words(missing),
        found.join(", ")
    ));
    if let [only] = header
        && let Some(delimiter) = ['\t', ';', ',', '|'].into_iter().find(|delimiter| only.contains(*delimiter))
    {
        let flag = match delimiter {
            '\t' => "--delimiter tab".to_owned(),
            delimiter => format!("--delimiter '{delimiter}'"),
        };
        let always = format!("`delimiter = \"{}\"`", delimiter.escape_default());
        return failure
            .hint(format!(
                "the fields seem to be separated by {delimiter:?}: add {flag}; if such files always are, set {always} in \
                 [{section}] of batchctl.toml"
            ))
            .retry_with(flag);
    }
    match (missing, malls.map(Vec::as_slice)) {
        ([(mall, _)], Some([only])) if mall == "mall" => {
            let flag = format!("--mall {only}");
            failure.hint(format!("name the mall of the whole file: add {flag}")).retry_with(flag)
        }
        ([(mall, _)], Some(malls)) if mall == "mall" => failure
            .hint(format!("name the mall of the whole file with --mall CODE{}", known_malls(malls)))
            .retry_with("--mall CODE"),
        _ if !mapping.others.is_empty() => failure.hint(format!(
            "[{section}] does not fit: choose another section with --section NAME ({})",
            mapping.others.join(", ")
        )),
        _ if mapping.preset.is_some() => {
            let preset = mapping.preset.as_deref().unwrap_or_default();
            failure.hint(format!(
                "is it the export that the preset is for? `batchctl data presets show {preset}` says which; name columns \
                 that the shop calls otherwise in batchctl.toml: [{section}] preset = \"{preset}\", [{section}.columns] \
                 ours = \"theirs\""
            ))
        }
        _ if missing.iter().any(|(ours, wanted)| ours != wanted) => failure.hint(format!(
            "correct the names in batchctl.toml, [{section}.columns], or remove the columns that the file does not have"
        )),
        _ => failure.hint(format!(
            "map the file's column names in batchctl.toml: [{section}.columns] ours = \"theirs\"; for the export of a \
             well-known platform there may be a preset (`batchctl data presets list`)"
        )),
    }
}

/// The most malls that a message lists.
const MAX_LISTED_MALLS: usize = 5;

/// `; the malls are osaka, tokyo`, as long as that is a short list.
pub(super) fn known_malls(codes: &[&str]) -> String {
    match codes.len() {
        0 => String::new(),
        1..=MAX_LISTED_MALLS => format!("; the malls are {}", codes.join(", ")),
        _ => "; `batchctl mall list` shows the malls".to_owned(),
    }
}
