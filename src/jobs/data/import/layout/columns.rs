//! Finds the places of our columns in a header, and makes everything else that a mapping says steps of a plan.

use std::collections::{BTreeMap, HashMap};

use crate::config::{ImportColumn, ImportSection, OneOrMore, Skip};

use super::super::field::{Column, MALL};
use super::super::plan::{Condition, Cut, Plan, SkipRule, Step};
use super::super::words::Words;
use super::amounts::{PerRecord, Sum};
use super::header::Header;
use super::roles::Role;

/// The position of the record's key in every kind: after the mall.
const KEY: usize = 1;

/// Who looks for a header that none of our columns does.
const READ_BY_A_RULE: &str = "read by a rule";

/// What was found for each column, in order.
#[derive(Default)]
pub(super) struct Found {
    pub(super) places: Vec<Option<usize>>,
    pub(super) written: Vec<Option<usize>>,
    pub(super) sums: Vec<Option<Box<Sum>>>,
}

/// Finds the places of columns, and adds the steps that they need to the plan.
pub(super) struct Compiler<'c> {
    pub(super) keys: &'c ImportSection,
    pub(super) columns: &'c [Column],
    pub(super) header: Header<'c>,
    pub(super) plan: Plan,
    /// The places of the fields that are filled from a record's first line, by their own.
    pub(super) filled: HashMap<usize, usize>,
    /// Our columns that the file does not have, and what was looked for.
    pub(super) missing: Vec<(String, String)>,
    pub(super) ambiguous: Option<String>,
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

    pub(super) fn column(&mut self, column: &Column, is_required: bool, found: &mut Found) {
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

    pub(super) fn has(&self, column: &str) -> bool {
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

    pub(super) fn skips(&mut self) {
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

    pub(super) fn roles(&mut self) -> Option<(usize, Words<Role>)> {
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
    pub(super) fn fill_from_first(&mut self) {
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
