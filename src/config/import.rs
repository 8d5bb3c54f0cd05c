//! `[import.KIND]` and `[import.KIND.NAME]` of `batchctl.toml`: how shops without an API write their files. Which kinds
//! exist, which columns a kind has and which presets there are, is up to `data import`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use regex_lite::Regex;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Config;
use super::document::unknown_key;
use super::error::ConfigError;
use super::section::{Place, Section};
use crate::spelling::nearest;
use crate::text_encoding::TextEncoding;
use crate::time_format::TimeFormat;

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

/// One value, or a list.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for OneOrMore<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
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

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holdings {
    /// Everything of the days from that of its first line on, up to its export.
    Period,
}

/// What one of our columns is made of: in the file, a header, a list of headers of which the first that is not empty counts,
/// or a table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the table")]
pub struct ImportColumn {
    /// Headers, of which the first that is not empty counts.
    pub from: OneOrMore<String>,
    /// The value on every line.
    pub constant: Option<String>,
    /// Joins all headers that are not empty with this.
    pub join: Option<String>,
    /// What to cut out of the text: the regular expression's first group, or `replace`.
    pub pattern: Option<String>,
    /// What the text becomes, with `$1` for the pattern's groups.
    pub replace: Option<String>,
    /// Whether a text that the pattern does not match is taken as it is.
    pub or_whole: bool,
    /// Characters that are dropped at the beginning.
    pub strip: Option<String>,
    /// The ways in which its times are written.
    pub time_format: OneOrMore<String>,
    /// The value of an empty field.
    pub default: Option<String>,
    /// Whether a file without the headers is fine.
    pub optional: bool,
    /// Headers whose amounts are added.
    pub add: OneOrMore<String>,
    /// Headers whose amounts are subtracted.
    pub subtract: OneOrMore<String>,
    /// `order`: the amounts of all lines of an order are added up.
    pub per: Option<Per>,
    /// The header for each of whose values an amount counts once within its order.
    pub once_per: Option<String>,
    /// Whether the amount follows from the others of its order, with those of `add` and `subtract` on top.
    pub computed: bool,
    /// Of the words that the lines of an order have, the first of these counts.
    pub first_of: OneOrMore<String>,
    /// Whether the value is the line's place within its record.
    pub position: bool,
}

/// What a column's amounts are added up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each order.
    Order,
}

/// What a `"` in a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quotes {
    /// It encloses a field.
    #[default]
    Enclose,
    /// It is a character like any other.
    Text,
    /// It encloses a field on each line that can be read so, and is text on each that can be read only without.
    Auto,
}

impl From<bool> for Quotes {
    fn from(encloses: bool) -> Self {
        if encloses { Self::Enclose } else { Self::Text }
    }
}

/// What to do about headers that occur more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateHeaders {
    /// The first one counts.
    First,
}

/// What lines with certain values mean.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportRule {
    /// What the summary calls it.
    pub name: Option<String>,
    /// Headers and the words that each of them may have: `*` is any, an empty one is an empty field.
    pub when: BTreeMap<String, OneOrMore<String>>,
    /// Our columns and their values on such lines.
    pub set: BTreeMap<String, String>,
    /// Leaves out such lines, or their whole records. Beside `set`, a record stays of which no other line is left.
    pub skip: Option<Skip>,
    /// Whether a file without one of the headers is fine; then the rule never applies.
    pub optional: bool,
}

/// What a rule leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The record if only its own columns read the rule's headers, else the line.
    Either,
    /// The line.
    Line,
    /// The whole record.
    Order,
}

/// Which lines of an order are something else than a product that was sold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportLines {
    /// The header that says what a line is.
    pub column: Option<String>,
    /// The words for a product.
    pub product: Vec<String>,
    /// The words for a present: a line that may do without a price.
    pub gift: Vec<String>,
    /// The words for shipping.
    pub shipping: Vec<String>,
    /// The words for a fee.
    pub fee: Vec<String>,
    /// The words for a discount.
    pub discount: Vec<String>,
    /// The words for tax.
    pub tax: Vec<String>,
    /// The words for what was paid back.
    pub refund: Vec<String>,
    /// The words for lines that are left out.
    pub skip: Vec<String>,
}

impl ImportLines {
    /// The words of each role, with the role's name.
    pub fn roles(&self) -> [(&'static str, &[String]); 8] {
        [
            ("product", &self.product),
            ("gift", &self.gift),
            ("shipping", &self.shipping),
            ("fee", &self.fee),
            ("discount", &self.discount),
            ("tax", &self.tax),
            ("refund", &self.refund),
            ("skip", &self.skip),
        ]
    }

    fn roles_mut(&mut self) -> [&mut Vec<String>; 8] {
        [
            &mut self.product,
            &mut self.gift,
            &mut self.shipping,
            &mut self.fee,
            &mut self.discount,
            &mut self.tax,
            &mut self.refund,
            &mut self.skip,
        ]
    }

    /// These on top of others: another column replaces them all, a word moves to the role that has it here.
    fn over(self, mut base: Self) -> Self {
        if self.column.is_some() {
            return self;
        }
        let own: Vec<Vec<String>> = self.roles().iter().map(|(_, words)| words.to_vec()).collect();
        for words in base.roles_mut() {
            words.retain(|word| !own.iter().flatten().any(|moved| moved == word));
        }
        for (words, own) in base.roles_mut().into_iter().zip(own) {
            words.extend(own);
        }
        base
    }
}

/// The payment day of a paid order that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaidWithoutTime {
    /// The line is bad.
    #[default]
    Refuse,
    /// When it was ordered.
    OrderedAt,
    /// When it was last changed.
    UpdatedAt,
}

/// The day of a cancellation that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledWithoutTime {
    /// When the order was last changed.
    #[default]
    UpdatedAt,
    /// When it was paid, else when it was ordered.
    PaidAt,
    /// When it was ordered.
    OrderedAt,
    /// The line is bad.
    Refuse,
}

/// What was paid back of an order whose money went back, if no amount says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundedWithoutAmount {
    /// All of it.
    #[default]
    Total,
    /// The line is bad.
    Refuse,
    /// Nothing that an order's file knows.
    Keep,
}

/// What becomes of an order of which more was paid back than it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundedAboveTotal {
    /// The line is bad.
    #[default]
    Refuse,
    /// It was paid back.
    Keep,
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

    /// The first thing in it that cannot be meant: the path of its key, and what is wrong. Which columns and words there
    /// are is not known here.
    pub fn fault(&self) -> Option<(Vec<String>, String)> {
        let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        if let Some(problem) = time_format_problem(&self.time_format) {
            return Some((path(&["time_format"]), problem));
        }
        if self.delimiter.is_some_and(|c| !c.is_ascii() || matches!(c, '"' | '\n' | '\r')) {
            let problem = "is not a delimiter: write \",\", \";\" or \"\\t\"";
            return Some((path(&["delimiter"]), problem.to_owned()));
        }
        if let Some((key, problem)) = self.amount_fault() {
            return Some((path(&[key]), problem));
        }
        if let Some(pattern) = self.inbox_pattern.iter().find(|one| one.is_empty() || one.contains('/')) {
            let problem = format!("`{pattern}` is not the name of a file: write it like \"orders*.csv\"");
            return Some((path(&["inbox_pattern"]), problem));
        }
        for (name, column) in &self.columns {
            if let Some((key, problem)) = column.fault() {
                return Some((path(&["columns", name, key]), problem));
            }
        }
        for (place, rule) in self.rules.iter().enumerate() {
            if let Some((key, problem)) = rule.fault() {
                return Some((path(&["rules", &place.to_string(), key]), problem));
            }
        }
        self.lines.fault().map(|(key, problem)| (path(&["lines", key]), problem))
    }

    fn amount_fault(&self) -> Option<(&'static str, String)> {
        let cannot_separate = |c: char| c.is_ascii_digit() || matches!(c, '-' | '"' | '\n' | '\r');
        if self.thousands.is_some_and(cannot_separate) {
            return Some(("thousands", "is not a separator: write \",\", \".\", \"'\" or \" \"".to_owned()));
        }
        if self.decimal.is_some_and(cannot_separate) {
            return Some(("decimal", "is not a decimal point: write \".\" or \",\"".to_owned()));
        }
        if self.thousands.is_some() && self.thousands == Some(self.decimal.unwrap_or('.')) {
            let problem = "is the decimal point too: `decimal` has to be another character";
            return Some(("thousands", problem.to_owned()));
        }
        let is_part_of_a_number = |sign: &&String| {
            sign.trim().is_empty()
                || sign.contains(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | ','))
        };
        let wrong = self.currency_signs.iter().flatten().find(is_part_of_a_number)?;
        Some(("currency_signs", format!("`{wrong}` is not a currency sign: write them like [\"¥\", \"円\"]")))
    }

    /// Refuses what no section can mean, by the key's place in the file.
    fn check(&self, place: &Place<'_>, path: &[&str]) -> Result<(), ConfigError> {
        let written = format!("import.{}", path.join("."));
        if let Some(key) = self.unknown.first() {
            return Err(place.error(&[path, &[key]].concat(), unknown_key(key, &written, Self::KEYS)));
        }
        let Some((keys, problem)) = self.fault() else { return Ok(()) };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let named = keys.iter().filter(|key| key.parse::<usize>().is_err()).copied().collect::<Vec<_>>();
        let colon = if problem.starts_with('`') { ":" } else { "" };
        let problem = format!("`{written}.{}`{colon} {problem}", named.join("."));
        Err(place.error(&[path, &keys].concat(), problem))
    }
}

fn time_format_problem(formats: &[String]) -> Option<String> {
    let problem = |format: &String| Some(format!("`{format}` {}", TimeFormat::new(format).err()?));
    formats.iter().find_map(problem)
}

impl ImportColumn {
    /// A column that is just in the file, under another name.
    pub fn named(header: &str) -> Self {
        Self { from: OneOrMore(vec![header.to_owned()]), ..Self::default() }
    }

    /// The header, if the column is just that.
    pub fn plain(&self) -> Option<&str> {
        match self.from.as_ref() {
            [header] if *self == Self::named(header) => Some(header),
            _ => None,
        }
    }

    /// Every header that it reads.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let amounts = self.from.iter().chain(self.add.iter()).chain(self.subtract.iter());
        amounts.chain(&self.once_per).map(String::as_str)
    }

    fn fault(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        let is_sum = !self.add.is_empty() || !self.subtract.is_empty();
        // What is computed may have amounts on top.
        let is_read = !self.from.is_empty() || (is_sum && !self.computed);
        let sources = [self.constant.is_some(), self.computed, self.position, is_read];
        match sources.iter().filter(|is_there| **is_there).count() {
            0 => return wrong("from", "is missing: name the header, or write `constant`"),
            1 => {}
            _ => {
                let problem =
                    "has several sources: keep one of `from`, `constant`, `computed` and `position`";
                return wrong("from", problem);
            }
        }
        if self.headers().any(|header| header.trim().is_empty()) {
            return wrong("from", "has an empty header");
        }
        if let Some(problem) = time_format_problem(&self.time_format) {
            return Some(("time_format", problem));
        }
        if self.join.is_some() && self.from.len() < 2 {
            return wrong("join", "joins several headers: write `from = [\"…\", \"…\"]`");
        }
        if is_sum && (self.join.is_some() || self.pattern.is_some()) {
            return wrong("add", "adds amounts, which are neither joined nor cut");
        }
        if is_sum && self.default.is_some() && self.from.is_empty() {
            return wrong("default", "is for an empty `from`, which the sum does not have");
        }
        if self.once_per.is_some() && self.per.is_some() {
            return wrong(
                "once_per",
                "and `per` exclude each other: the one counts some lines, the other all",
            );
        }
        match (&self.pattern, &self.replace) {
            (None, Some(_)) => wrong("replace", "needs a `pattern`"),
            (None, None) if self.or_whole => wrong("or_whole", "needs a `pattern`"),
            (Some(pattern), replace) => match Regex::new(pattern) {
                Err(error) => Some(("pattern", format!("`{pattern}` is not a regular expression: {error}"))),
                Ok(regex) => {
                    let problem = replace.as_deref().and_then(|replace| unknown_group(replace, &regex))?;
                    Some(("replace", problem))
                }
            },
            (None, None) => None,
        }
    }
}

/// A group that `replace` refers to and that the pattern does not have: it would be replaced by nothing. In `$1x` that is
/// the group of the name `1x`.
fn unknown_group(replace: &str, regex: &Regex) -> Option<String> {
    let groups = regex.captures_len() - 1;
    let mut rest = replace;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        rest = after;
        let name = if let Some(braced) = after.strip_prefix('{') {
            braced.split_once('}')?.0
        } else {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            &after[..after.find(|c| !is_of_name(c)).unwrap_or(after.len())]
        };
        let is_known = match name.parse::<usize>() {
            Ok(number) => number <= groups,
            Err(_) => name.is_empty() || regex.capture_names().flatten().any(|known| known == name),
        };
        if !is_known {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let advice = match name.split_at(digits) {
                ("", _) | (_, "") => format!("the pattern has {groups}"),
                (number, text) => {
                    format!("write `${{{number}}}{text}` for the group {number} and a text after it")
                }
            };
            return Some(format!("`${name}` is not a group: {advice}"));
        }
    }
    None
}

impl ImportRule {
    fn fault(&self) -> Option<(&'static str, String)> {
        if self.when.is_empty() {
            return Some(("when", "is missing: name the headers and their words".to_owned()));
        }
        if self.set.is_empty() && self.skip.is_none() {
            return Some(("when", "needs either `set` or `skip`".to_owned()));
        }
        if !self.set.is_empty() && self.skip.is_some_and(|skip| skip != Skip::Line) {
            let problem =
                "beside `set` has to be \"line\": an order of which no line is left becomes what `set` says";
            return Some(("skip", problem.to_owned()));
        }
        let (header, _) = self.when.iter().find(|(_, words)| words.is_empty())?;
        Some(("when", format!("`{header}` has no words: `*` is any, `\"\"` is an empty field")))
    }
}

impl ImportLines {
    fn fault(&self) -> Option<(&'static str, String)> {
        let roles = self.roles();
        let words = || roles.iter().flat_map(|(_, words)| words.iter());
        if self.column.is_some() && words().next().is_none() {
            return Some(("column", "is of no use without words, such as `product = [\"…\"]`".to_owned()));
        }
        let twice = words().find(|word| words().filter(|other| other == word).count() > 1)?;
        let (role, _) = roles.iter().find(|(_, words)| words.contains(twice))?;
        Some((role, format!("`{twice}` is in more than one list")))
    }
}

impl Section for ImportConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        for (kind, sections) in self {
            if let Some(key) = sections.unknown.first() {
                let problem = unknown_key(key, &format!("import.{kind}"), ImportSection::KEYS);
                return Err(place.error(&[kind, key], problem));
            }
            sections.own.check(place, &[kind])?;
            for (name, section) in &sections.named {
                // `[import.orders.colums]` is not a section of that name.
                let is_typo = nearest(name, ImportSection::KEYS.iter().copied()).is_some();
                if is_typo && !section.unknown.is_empty() {
                    let problem = unknown_key(name, &format!("import.{kind}"), ImportSection::KEYS);
                    return Err(place.error(&[kind, name], problem));
                }
                section.check(place, &[kind, name])?;
            }
        }
        Ok(())
    }
}

// ---------------------------------------------------------------- reading

impl<'de> Deserialize<'de> for ImportSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTable;
        impl<'de> Visitor<'de> for OfTable {
            type Value = ImportSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImportSection, A::Error> {
                let mut section = ImportSection::default();
                while let Some(key) = map.next_key::<String>()? {
                    if !section.take(&key, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                        section.unknown.push(key);
                    }
                }
                Ok(section)
            }
        }
        deserializer.deserialize_map(OfTable)
    }
}

impl<'de> Deserialize<'de> for ImportSections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTable;
        impl<'de> Visitor<'de> for OfTable {
            type Value = ImportSections;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImportSections, A::Error> {
                let mut sections = ImportSections::default();
                while let Some(key) = map.next_key::<String>()? {
                    if sections.own.take(&key, &mut map)? {
                        continue;
                    }
                    match map.next_value::<MaybeSection>()?.0 {
                        Some(section) => drop(sections.named.insert(key, section)),
                        None => sections.unknown.push(key),
                    }
                }
                Ok(sections)
            }
        }
        deserializer.deserialize_map(OfTable)
    }
}

/// A section, or nothing if the value is not a table.
struct MaybeSection(Option<ImportSection>);

impl<'de> Deserialize<'de> for MaybeSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAny;
        impl<'de> Visitor<'de> for OfAny {
            type Value = MaybeSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeSection, A::Error> {
                ImportSection::deserialize(MapAccessDeserializer::new(map))
                    .map(|section| MaybeSection(Some(section)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MaybeSection, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MaybeSection(None))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }
        }
        deserializer.deserialize_any(OfAny)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTextOrList<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfTextOrList<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text in quotes, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(OneOrMore(all))
            }
        }
        deserializer.deserialize_any(OfTextOrList(PhantomData))
    }
}

impl<'de> Deserialize<'de> for ImportColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfColumn;
        impl<'de> Visitor<'de> for OfColumn {
            type Value = ImportColumn;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a header in quotes, a list of headers, or a table such as { constant = \"JPY\" }",
                )
            }

            fn visit_str<E: de::Error>(self, header: &str) -> Result<ImportColumn, E> {
                Ok(ImportColumn::named(header))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ImportColumn, A::Error> {
                let mut column = ImportColumn::default();
                while let Some(header) = list.next_element()? {
                    column.from.0.push(header);
                }
                Ok(column)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImportColumn, A::Error> {
                // The derived one: `remote` keeps it beside the trait's.
                ImportColumn::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(OfColumn)
    }
}

impl<'de> Deserialize<'de> for Quotes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfQuotes;
        impl Visitor<'_> for OfQuotes {
            type Value = Quotes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true, false or \"auto\"")
            }

            fn visit_bool<E: de::Error>(self, encloses: bool) -> Result<Quotes, E> {
                Ok(encloses.into())
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Quotes, E> {
                match word {
                    "auto" => Ok(Quotes::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(OfQuotes)
    }
}

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfSkip;
        impl Visitor<'_> for OfSkip {
            type Value = Skip;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"line\", \"order\" or true")
            }

            fn visit_bool<E: de::Error>(self, skips: bool) -> Result<Skip, E> {
                if skips {
                    Ok(Skip::Either)
                } else {
                    Err(E::invalid_value(de::Unexpected::Bool(false), &self))
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Skip, E> {
                match word {
                    "line" => Ok(Skip::Line),
                    "order" => Ok(Skip::Order),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(OfSkip)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn orders(text: &str) -> ImportSections {
        Sections::parse("batchctl.toml", text).unwrap().import["orders"].clone()
    }

    #[test]
    fn an_encoding_has_the_names_that_the_flag_takes() {
        let text =
            "[import.orders]\nencoding = \"sjis\"\n[import.members]\nencoding = [\"utf-8\", \"cp949\"]";
        let import = Sections::parse("batchctl.toml", text).unwrap().import;
        assert_eq!(import["orders"].own.encoding.0, [TextEncoding::ShiftJis]);
        assert_eq!(import["members"].own.encoding.0, [TextEncoding::Utf8, TextEncoding::EucKr]);
    }

    #[test]
    fn a_column_is_a_header_a_list_of_them_or_a_table() {
        let text = "[import.orders.columns]\nstatus = '状態'\npaid_at = ['Paid at', 'Created at']\n\
                    currency = { constant = 'JPY' }\nproduct_name = { from = 'Name', pattern = '^(.+?) - ', or_whole = true }";
        let columns = orders(text).own.columns;
        assert_eq!(columns["status"].plain(), Some("状態"));
        assert_eq!(columns["paid_at"].from.0, ["Paid at", "Created at"]);
        assert_eq!(columns["currency"].constant.as_deref(), Some("JPY"));
        assert_eq!(columns["product_name"].pattern.as_deref(), Some("^(.+?) - "));
        assert!(columns["product_name"].or_whole);
    }

    #[test]
    fn a_table_that_is_not_a_key_is_a_section_of_that_name() {
        let sections = orders(
            "[import.orders]\nmall = 'main'\n[import.orders.osaka]\npreset = 'base'\n[import.orders.osaka.columns]\nstatus = 'x'",
        );
        assert_eq!(sections.own.mall.as_deref(), Some("main"));
        assert_eq!(sections.named["osaka"].preset.as_deref(), Some("base"));
        assert_eq!(sections.named["osaka"].columns.len(), 1);
    }

    #[test]
    fn a_sections_own_keys_replace_the_presets_column_by_column_and_value_by_value() {
        let base = orders(
            "[import.orders]\ndelimiter = ';'\nthousands = ','\n[import.orders.columns]\nstatus = 'a'\norder_no = 'b'\n\
             [import.orders.values.status]\nx = 'PAID'\ny = 'SHIPPED'\n\
             [[import.orders.rules]]\nwhen = { a = '1' }\nskip = 'line'\n\
             [import.orders.lines]\ncolumn = 'kind'\nproduct = ['1', '9']\nfee = ['2']",
        );
        let own = orders(
            "[import.orders]\ndelimiter = ','\n[import.orders.columns]\nstatus = 'c'\n[import.orders.values.status]\ny = 'PAID'\n\
             [[import.orders.rules]]\nwhen = { a = ['2', ''] }\nset = { status = 'PAID' }\n[import.orders.lines]\nskip = ['9']",
        );
        let both = own.own.over(base.own);
        assert_eq!((both.delimiter, both.thousands), (Some(','), Some(',')));
        assert_eq!(both.columns["status"].plain(), Some("c"));
        assert_eq!(both.columns["order_no"].plain(), Some("b"));
        assert_eq!(
            both.values["status"].iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["x=PAID", "y=PAID"]
        );
        assert_eq!(
            both.rules.iter().map(|rule| rule.when["a"].0.clone()).collect::<Vec<_>>(),
            [vec!["2", ""], vec!["1"]]
        );
        assert_eq!(
            (both.lines.product, both.lines.fee, both.lines.skip),
            (vec!["1".to_owned()], vec!["2".to_owned()], vec!["9".to_owned()])
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a case each")]
    fn what_no_file_could_be_read_by_is_refused_by_its_key() {
        let orders = |keys: &str| format!("[import.orders]\n{keys}");
        let column = |table: &str| format!("[import.orders.columns]\nstatus = {table}");
        for (text, message) in [
            (
                orders("delimiter = \"、\""),
                "line 2: `import.orders.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"",
            ),
            (
                orders("time_format = \"%Y-%Q!\""),
                "line 2: `import.orders.time_format`: `%Y-%Q!` is not a time format: write one like %Y/%m/%d %H:%M",
            ),
            (
                "[import.orders.main]\nmall = 'main'\ntime_format = ['%Y', '%Q']".to_owned(),
                "line 3: `import.orders.main.time_format`: `%Q` is not a time format: write one like %Y/%m/%d %H:%M",
            ),
            (
                orders("delimeter = ';'"),
                "line 2: unknown key `delimeter` in `import.orders`: did you mean `delimiter`?",
            ),
            (
                "[import.orders.colums]\nstatus = 'a'".to_owned(),
                "line 1: unknown key `colums` in `import.orders`: did you mean `columns`?",
            ),
            (
                "[import.orders.main]\nmal = 'a'".to_owned(),
                "line 2: unknown key `mal` in `import.orders.main`: did you mean `mall`?",
            ),
            (
                orders("thousands = '.'"),
                "line 2: `import.orders.thousands` is the decimal point too: `decimal` has to be another character",
            ),
            (
                orders("decimal = '1'"),
                "line 2: `import.orders.decimal` is not a decimal point: write \".\" or \",\"",
            ),
            (
                orders("currency_signs = ['¥', '1']"),
                "line 2: `import.orders.currency_signs`: `1` is not a currency sign: write them like [\"¥\", \"円\"]",
            ),
            (
                column("{ optional = true }"),
                "line 2: `import.orders.columns.status.from` is missing: name the header, or write `constant`",
            ),
            (
                column("{ from = 'a', constant = 'b' }"),
                "line 2: `import.orders.columns.status.from` has several sources: keep one of `from`, `constant`, `computed` and `position`",
            ),
            (
                column("{ add = ['a', 'b'], default = '0' }"),
                "line 2: `import.orders.columns.status.default` is for an empty `from`, which the sum does not have",
            ),
            (
                column("{ from = 'a', add = ['b'], computed = true }"),
                "line 2: `import.orders.columns.status.from` has several sources: keep one of",
            ),
            (column("['a', '']"), "line 2: `import.orders.columns.status.from` has an empty header"),
            (
                column("{ from = 'a', join = ' ' }"),
                "line 2: `import.orders.columns.status.join` joins several headers: write `from = [\"…\", \"…\"]`",
            ),
            (
                column("{ from = 'a', replace = '$1' }"),
                "line 2: `import.orders.columns.status.replace` needs a `pattern`",
            ),
            (
                column("{ from = 'a', or_whole = true }"),
                "line 2: `import.orders.columns.status.or_whole` needs a `pattern`",
            ),
            (
                column("{ from = 'a', pattern = '(a)', replace = '$1-${2}' }"),
                "line 2: `import.orders.columns.status.replace`: `$2` is not a group: the pattern has 1",
            ),
            (
                column("{ from = 'a', pattern = '(a)', replace = '$$1 $1x' }"),
                "line 2: `import.orders.columns.status.replace`: `$1x` is not a group: write `${1}x` for the group 1 and",
            ),
            (
                orders("time_format = '%Y/%m/%d %H %z'"),
                "line 2: `import.orders.time_format`: `%Y/%m/%d %H %z` has an hour without minutes, which is not read: add `%M`",
            ),
            (
                column("{ from = 'a', time_format = '%Y/%m/%d %H:%M %Z' }"),
                "line 2: `import.orders.columns.status.time_format`: `%Y/%m/%d %H:%M %Z` has `%Z`, which reads",
            ),
            (
                orders("quotes = 'some'"),
                "line 2: `import.orders.quotes`: invalid value: string, expected true, false or \"auto\"",
            ),
            (
                column("{ from = 'a', wrong = 1 }"),
                "line 2: unknown key `wrong` in `import.orders.columns.status`: known are",
            ),
            (
                column("1"),
                "line 2: `import.orders.columns.status`: invalid type: integer `1`, expected a header in quotes",
            ),
            (
                "[[import.orders.rules]]\nset = { status = 'PAID' }".to_owned(),
                "line 1: `import.orders.rules.when` is missing: name the headers and their words",
            ),
            (
                "[[import.orders.rules]]\nwhen = { a = 'b' }".to_owned(),
                "line 2: `import.orders.rules.when` needs either `set` or `skip`",
            ),
            (
                "[[import.orders.rules]]\nwhen = { a = 'b' }\nset = { status = 'PAID' }\nskip = 'order'"
                    .to_owned(),
                "line 4: `import.orders.rules.skip` beside `set` has to be \"line\": an order of which",
            ),
            (
                "[[import.orders.rules]]\nwhen = { a = [] }\nskip = true".to_owned(),
                "line 2: `import.orders.rules.when`: `a` has no words: `*` is any, `\"\"` is an empty field",
            ),
            (
                "[import.orders.lines]\ncolumn = 'a'\nfee = ['1']\ntax = ['1']".to_owned(),
                "line 3: `import.orders.lines.fee`: `1` is in more than one list",
            ),
        ] {
            let refused = Sections::parse("batchctl.toml", &text).map(|_| ()).unwrap_err().to_string();
            let refused = refused.strip_prefix("batchctl.toml ").unwrap_or(&refused);
            assert!(refused.starts_with(message), "{text}\n{refused}\n{message}");
        }
        let pattern = Sections::parse("batchctl.toml", &column("{ from = 'a', pattern = '(' }"))
            .map(|_| ())
            .unwrap_err();
        assert!(pattern.to_string().contains("`(` is not a regular expression: "), "{pattern}");
    }
}
