//! A mapping by what headers and words are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::failure::Failure;
use crate::money::{AmountStyle, is_known_currency};
use crate::printable::{escaped, shortened};
use crate::wording::counted;

use super::super::field::{Column, Holds};
use super::super::kinds::Kind;
use super::super::mapping::Mapping;
use super::super::reader::Source;
use super::super::words::normal;
use super::money::{self, Made};
use super::numbers::Numbers;
use super::passed_over::{self, reversal_in};
use super::sample::Sample;
use super::shape::{self, Shape};
use super::times::{self, TimesOfDay, Written};
use super::{Form, KINDS, Proposal, Vocabularies, Vocabulary};

/// Different words of a column that are listed. A column with more has no states.
pub(super) const MOST_WORDS: usize = 60;
/// Characters of a word that are shown.
pub(super) const WORD_CHARACTERS: usize = 40;
/// States of an order that was paid.
const PAID: [&str; 4] = ["PAID", "SHIPPED", "DELIVERED", "REFUNDED"];

/// Looks at a file by the names in it.
struct Looking<'a> {
    kind: Kind,
    vocabulary: &'a Vocabulary,
    columns: Vec<Column>,
    /// What is known of the file already.
    preset: Option<Mapping>,
    delimiter: char,
    sample: &'a Sample,
    source: &'a Source,
    header: &'a [String],
    found: BTreeMap<&'static str, usize>,
    /// Headers that say once more what others do.
    repeated: BTreeSet<usize>,
    doubts: Vec<String>,
}

/// A mapping by what headers are called, beside what a preset knows.
pub(super) fn by_names(
    kind: Option<Kind>,
    preset: Option<&'static str>,
    words: &Vocabularies,
    form: &Form,
    (sample, source): (&Sample, &Source),
    header: &[String],
) -> anyhow::Result<Proposal> {
    let kind = kind.unwrap_or_else(|| likely_kind(words, header));
    let vocabulary = words.of(kind);
    let columns = kind.columns();
    let found = found(vocabulary, &columns, header);
    let looking = Looking {
        kind,
        vocabulary,
        columns,
        preset: preset.map(|preset| Mapping::of_preset(kind, preset)).transpose()?,
        delimiter: form.delimiter,
        sample,
        source,
        header,
        found,
        repeated: BTreeSet::new(),
        doubts: Vec::new(),
    };
    Ok(Proposal { preset, ..looking.proposal()? })
}

impl Looking<'_> {
    fn proposal(mut self) -> anyhow::Result<Proposal> {
        let amounts = self.amount_places();
        let all = self.found.values().copied().chain(amounts.iter().copied());
        let shapes = shape::of(self.sample, self.source, all)?;
        let style = self.style(&amounts, &shapes);
        let mut made = self.made(&style)?;
        let mut times = self.times(&shapes);
        self.add_times_of_day(&mut made, &mut times)?;
        let states = self.states()?;
        let mut section = String::new();
        if let Some(preset) = self.preset.as_ref().and_then(|mapping| mapping.preset.as_ref()) {
            let _ = writeln!(section, "preset = \"{preset}\"");
        }
        section.push_str(&self.general(&style, &times, &made));
        section.push_str(&self.day_rules(&states)?);
        if !self.found.contains_key("mall") {
            section.push_str("#mall = \"main\"   # or --mall: the file does not say whose it is\n");
        }
        let _ = writeln!(section, "\n[import.{}.columns]", self.kind.name());
        let missing = self.add_columns(&made, &times, &shapes, &mut section);
        self.add_unused(&made, &states, &style, &mut section)?;
        self.add_rules(&states, &mut section);
        self.add_values(&mut section)?;
        Ok(Proposal { kind: self.kind, preset: None, section, doubts: self.doubts, missing })
    }

    /// Whether the preset says where a column is.
    fn is_preset(&self, column: &str) -> bool {
        self.preset.as_ref().is_some_and(|preset| preset.keys.columns.contains_key(column))
    }

    /// The headers that may be amounts, by any of their names.
    fn amount_places(&self) -> BTreeSet<usize> {
        let of_amounts = self.columns.iter().filter(|column| column.is_amount());
        let names: BTreeSet<String> = of_amounts
            .flat_map(|column| {
                let usual = self.vocabulary.columns.get(column.name).into_iter().flatten();
                usual.map(|name| normal(name).into_owned()).chain([column.name.to_owned()])
            })
            .collect();
        let is_amount = |name: &String| names.contains(normal(name).as_ref());
        self.header.iter().enumerate().filter(|(_, name)| is_amount(name)).map(|(place, _)| place).collect()
    }

    /// How amounts are written.
    fn style(&mut self, amounts: &BTreeSet<usize>, shapes: &BTreeMap<usize, Shape>) -> AmountStyle {
        let mut all = Numbers::default();
        for shape in amounts.iter().filter_map(|place| shapes.get(place)) {
            all.join(&shape.numbers);
        }
        all.style(self.delimiter, &mut self.doubts)
    }

    /// What each of our columns is made of.
    fn made(&mut self, style: &AmountStyle) -> Result<BTreeMap<&'static str, Made>, Failure> {
        let by_name = |found: &BTreeMap<&'static str, usize>| {
            found.iter().map(|(column, place)| (*column, Made::of(*place))).collect()
        };
        if self.kind != Kind::Orders {
            return Ok(by_name(&self.found));
        }
        let told = money::tell(self.vocabulary, self.header, &self.found, style, self.sample, self.source)?;
        let Some(told) = told else { return Ok(by_name(&self.found)) };
        self.doubts.extend(told.doubts);
        self.repeated = told.repeated;
        self.found.retain(|column, _| !money::is_told(column));
        let mut made: BTreeMap<&'static str, Made> = by_name(&self.found);
        made.extend(told.columns);
        Ok(made)
    }

    fn times(&mut self, shapes: &BTreeMap<usize, Shape>) -> BTreeMap<&'static str, Written> {
        let is_time = |column: &&Column| column.holds == Holds::Time && !self.is_preset(column.name);
        let of_column = |column: &Column| {
            let shape = shapes.get(self.found.get(column.name)?)?;
            Some((column.name, &shape.times))
        };
        let mut doubts = Vec::new();
        let times = times::of_columns(self.columns.iter().filter(is_time).filter_map(of_column), &mut doubts);
        self.doubts.extend(doubts);
        times
    }

    /// Joins days with the times of day that stand beside them under a name of the same kind (`注文日` and `注文時刻`).
    fn add_times_of_day(
        &self,
        made: &mut BTreeMap<&'static str, Made>,
        times: &mut BTreeMap<&'static str, Written>,
    ) -> Result<(), Failure> {
        for (column, written) in times.iter_mut() {
            let Written::In(days) = &*written else { continue };
            let Some([day]) = made.get(column).map(|made| made.places.as_slice()) else { continue };
            if days.iter().any(|form| times::has_time_of_day(form)) {
                continue;
            }
            let named = times::names_beside(&self.header[*day]);
            let beside = named.iter().find_map(|name| place(self.header, name));
            let Some(beside) = beside.filter(|place| !made.values().any(|made| made.places.contains(place)))
            else {
                continue;
            };
            let mut of_day = TimesOfDay::default();
            self.sample.lines(self.source, |record| {
                if !record.field(*day).is_empty() {
                    of_day.see(record.field(beside));
                }
            })?;
            if let Some(joined) = of_day.joined(days) {
                *written = Written::In(joined);
                let both = Made { places: vec![*day, beside], per_order: false, is_joined: true };
                made.insert(column, both);
            }
        }
        Ok(())
    }

    /// The keys that concern the whole file.
    fn general(
        &self,
        style: &AmountStyle,
        times: &BTreeMap<&'static str, Written>,
        made: &BTreeMap<&'static str, Made>,
    ) -> String {
        let mut section = String::new();
        if let Some(formats) = common_formats(times) {
            let _ = writeln!(section, "time_format = [{}]", listed(formats));
        }
        let keys = self.preset.as_ref().map(|preset| &preset.keys);
        let said = |key: Option<char>, preset: Option<char>| key.filter(|key| preset != Some(*key));
        let decimal = (style.decimal != '.').then_some(style.decimal);
        if let Some(thousands) = said(style.thousands, keys.and_then(|keys| keys.thousands)) {
            let _ = writeln!(section, "thousands = {}", quoted(&thousands.to_string()));
        }
        if let Some(decimal) = said(decimal, keys.and_then(|keys| keys.decimal)) {
            let _ = writeln!(section, "decimal = {}", quoted(&decimal.to_string()));
        }
        if !style.signs.is_empty() {
            let _ = writeln!(section, "currency_signs = [{}]", listed(&style.signs));
        }
        let place = |column: &str| made.get(column).map(|made| made.places[0]);
        let is_filled =
            shape::is_filled_down(self.sample, self.source, place("order_no"), place("total_amount"));
        if is_filled.unwrap_or(false) {
            section.push_str(
                "fill_down = true   # blank fields mean the same as on the first line of the order\n",
            );
        }
        section
    }

    /// Adds our columns; those that are needed and were not found.
    fn add_columns(
        &mut self,
        made: &BTreeMap<&'static str, Made>,
        times: &BTreeMap<&'static str, Written>,
        shapes: &BTreeMap<usize, Shape>,
        section: &mut String,
    ) -> Vec<&'static str> {
        let is_common = common_formats(times).is_some();
        let mut missing = Vec::new();
        let mut doubts = Vec::new();
        for column in self.columns.iter().filter(|column| !self.is_preset(column.name)) {
            let Some(own) = made.get(column.name) else {
                let is_made_up_for = column.name == "unit_price_amount" && made.contains_key("line_amount");
                if column.is_required && !is_made_up_for {
                    missing.push(column.name);
                }
                continue;
            };
            let headers: Vec<&str> = own.places.iter().map(|place| self.header[*place].as_str()).collect();
            let formats = match times.get(column.name) {
                Some(Written::In(formats)) if !is_common => formats.as_slice(),
                _ => &[],
            };
            let _ = write!(section, "{} = {}", column.name, value(&headers, own, formats));
            let shape = shapes.get(&own.places[0]);
            let remarks = remarks(column, shape, times.get(column.name), &mut doubts);
            if !remarks.is_empty() {
                let _ = write!(section, "   # {}", escaped(&remarks.join("; ")));
            }
            section.push('\n');
        }
        self.doubts.extend(doubts);
        for column in &missing {
            let _ = writeln!(section, "{column} = \"?\"   # which of the headers below is it?");
        }
        missing
    }

    /// Says which headers are not used; those that may change the money are doubts.
    fn add_unused(
        &mut self,
        made: &BTreeMap<&'static str, Made>,
        states: &States,
        style: &AmountStyle,
        section: &mut String,
    ) -> Result<(), Failure> {
        let of_preset: BTreeSet<String> = self
            .preset
            .iter()
            .flat_map(|preset| preset.keys.headers().map(|name| normal(name).into_owned()))
            .collect();
        let is_used = |place: &usize| {
            made.values().any(|made| made.places.contains(place))
                || states.others.iter().any(|other| other.place == *place)
                || of_preset.contains(normal(&self.header[*place]).as_ref())
        };
        let (used, unused): (BTreeSet<usize>, BTreeSet<usize>) =
            (0..self.header.len()).filter(|place| !self.header[*place].is_empty()).partition(is_used);
        if self.kind == Kind::Orders {
            let is_named = |place: &&usize| {
                let name = format!("`{}`", shortened(&self.header[**place], WORD_CHARACTERS));
                self.doubts.iter().any(|doubt| doubt.contains(&name))
            };
            let passed_over: Vec<usize> = unused
                .iter()
                .filter(|place| !self.repeated.contains(place) && !is_named(place))
                .copied()
                .collect();
            let place = |column: &str| made.get(column).map(|made| made.places[0]);
            let known = passed_over::Known {
                header: self.header,
                style,
                order_no: place("order_no"),
                total: place("total_amount"),
                used: &used,
                passed_over: &passed_over,
            };
            let doubts = passed_over::doubts(&known, self.sample, self.source)?;
            self.doubts.extend(doubts);
        }
        if !unused.is_empty() {
            let names: Vec<&str> = unused.iter().map(|place| self.header[*place].as_str()).collect();
            let _ = writeln!(section, "# not used: {}", escaped(&names.join(", ")));
        }
        Ok(())
    }

    /// The words of the states.
    fn add_values(&mut self, section: &mut String) -> anyhow::Result<()> {
        for (name, ours) in &self.vocabulary.values {
            let Some(place) = self.found.get(name.as_str()).copied() else { continue };
            if self.preset.as_ref().is_some_and(|preset| preset.keys.values.contains_key(name)) {
                continue;
            }
            let words = words_at(self.sample, self.source, place)?;
            section.push_str(&values(self.kind, name, ours, &words, &mut self.doubts));
        }
        Ok(())
    }
}

// ---------------------------------------------------------------- states

/// The headers that say in which state an order is.
#[derive(Debug, Default)]
struct States {
    /// The one that is mapped.
    main: Option<usize>,
    /// Others, whose words matter where they say that money went back, or is still to come.
    others: Vec<OtherState>,
}

/// A header beside the one that is mapped.
#[derive(Debug)]
struct OtherState {
    place: usize,
    /// Its words for what the other header does not say, by what they mean.
    words: BTreeMap<String, Vec<String>>,
}

/// What a word of a state means by a vocabulary.
fn meaning<'v>(ours: &'v BTreeMap<String, Vec<String>>, word: &str) -> Option<&'v str> {
    let is_known = |known: &String| normal(known) == normal(word);
    ours.iter()
        .find(|(name, theirs)| *name == word || theirs.iter().any(is_known))
        .map(|(ours, _)| ours.as_str())
}

impl Looking<'_> {
    fn states(&mut self) -> anyhow::Result<States> {
        let mut states = States { main: self.found.get("status").copied(), others: Vec::new() };
        let Some(ours) = self.vocabulary.values.get("status") else { return Ok(states) };
        if self.kind != Kind::Orders || self.preset.is_some() {
            return Ok(states);
        }
        let names = self.vocabulary.columns.get("status").into_iter().flatten();
        let rivals: BTreeSet<usize> = names
            .filter_map(|name| place(self.header, name))
            .filter(|place| !self.found.values().any(|used| used == place))
            .collect();
        for place in rivals {
            let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut unknown = Vec::new();
            for word in words_at(self.sample, self.source, place)?.into_keys() {
                match meaning(ours, &word) {
                    Some(meant @ ("REFUNDED" | "ORDER_CANCELLED" | "PAYMENT_WAIT")) => {
                        words.entry(meant.to_owned()).or_default().push(word);
                    }
                    None if reversal_in(&word).is_some() => {
                        unknown.push(format!("`{}`", shortened(&word, WORD_CHARACTERS)));
                    }
                    _ => {}
                }
            }
            let (name, main) = (&self.header[place], states.main.map(|main| self.header[main].as_str()));
            let use_of_it = match (words.is_empty(), unknown.is_empty()) {
                (true, true) => {
                    "it is not used, because none of its sampled words says that money went back or is still to come"
                        .to_owned()
                }
                (true, false) => {
                    format!("it is not used; is an order that it calls {} a sale?", unknown.join(", "))
                }
                (false, true) => {
                    "it counts where it says that money went back, or is still to come".to_owned()
                }
                (false, false) => format!(
                    "it counts where it says that money went back, or is still to come; is an order that it calls {} a sale?",
                    unknown.join(", ")
                ),
            };
            self.doubts.push(format!(
                "`{}` is a state too, beside `{}`: {use_of_it}",
                shortened(name, WORD_CHARACTERS),
                shortened(main.unwrap_or_default(), WORD_CHARACTERS),
            ));
            if !words.is_empty() {
                states.others.push(OtherState { place, words });
            }
        }
        Ok(states)
    }

    /// Adds the rules by which another header goes before the one that is mapped.
    fn add_rules(&self, states: &States, section: &mut String) {
        let Some(main) = states.main else { return };
        for other in &states.others {
            for meant in ["ORDER_CANCELLED", "REFUNDED", "PAYMENT_WAIT"] {
                let Some(words) = other.words.get(meant) else { continue };
                let header = quoted(&self.header[other.place]);
                let mut when = format!("{header} = [{}]", listed(words));
                if meant == "PAYMENT_WAIT" {
                    // What was cancelled will not be paid.
                    let of_paid = self.words_of_paid(main);
                    if of_paid.is_empty() {
                        continue;
                    }
                    let _ = write!(when, ", {} = [{}]", quoted(&self.header[main]), listed(&of_paid));
                }
                let _ = writeln!(section, "\n[[import.{}.rules]]", self.kind.name());
                let _ = writeln!(section, "when = {{ {when} }}\nset = {{ status = \"{meant}\" }}");
            }
        }
    }

    /// The words of a header that mean a paid order.
    fn words_of_paid(&self, place: usize) -> Vec<String> {
        let Some(ours) = self.vocabulary.values.get("status") else { return Vec::new() };
        let words = words_at(self.sample, self.source, place).unwrap_or_default();
        words
            .into_keys()
            .filter(|word| {
                meaning(ours, word).is_some_and(|meant| PAID.contains(&meant) && meant != "REFUNDED")
            })
            .collect()
    }

    /// The rules for orders that were paid or cancelled on a day that the file does not say.
    fn day_rules(&mut self, states: &States) -> Result<String, Failure> {
        let Some(ours) = self.vocabulary.values.get("status") else { return Ok(String::new()) };
        let (Some(main), Kind::Orders, None) = (states.main, self.kind, &self.preset) else {
            return Ok(String::new());
        };
        let at = |column: &str| self.found.get(column).copied();
        let (paid_at, cancelled_at, updated_at) = (at("paid_at"), at("cancelled_at"), at("updated_at"));
        let (mut unpaid_days, mut uncancelled_days) = (0, 0);
        self.sample.lines(self.source, |record| {
            let is_blank = |place: Option<usize>| place.is_none_or(|place| record.field(place).is_empty());
            let of_other = states.others.iter().find_map(|other| {
                let word = record.field(other.place);
                other.words.iter().find(|(_, words)| words.iter().any(|one| one == word))
            });
            let meant = match of_other {
                Some((meant, _)) => Some(meant.as_str()),
                None => meaning(ours, record.field(main)),
            };
            let is_paid = meant.is_some_and(|meant| PAID.contains(&meant));
            unpaid_days += u64::from(is_paid && is_blank(paid_at));
            let is_cancelled = meant == Some("ORDER_CANCELLED");
            uncancelled_days += u64::from(is_cancelled && is_blank(cancelled_at) && is_blank(updated_at));
        })?;
        let mut section = String::new();
        if unpaid_days > 0 {
            section.push_str("paid_without_time = \"ordered_at\"\n");
            self.doubts.push(format!(
                "on which day an order was paid: {} of paid orders {} no `paid_at`, so that they count on the day of the order",
                counted(unpaid_days, "line", "lines"),
                if unpaid_days == 1 { "has" } else { "have" },
            ));
        }
        if uncancelled_days > 0 {
            let (rule, day) = if paid_at.is_some() {
                ("paid_at", "payment, else of the order")
            } else {
                ("ordered_at", "order")
            };
            let _ = writeln!(section, "cancelled_without_time = \"{rule}\"");
            self.doubts.push(format!(
                "on which day an order was cancelled: {} of cancelled orders {} no `cancelled_at`, so that they count on the \
                 day of the {day}",
                counted(uncancelled_days, "line", "lines"),
                if uncancelled_days == 1 { "has" } else { "have" },
            ));
        }
        Ok(section)
    }
}

// ---------------------------------------------------------------- headers

/// The kind whose words the header has most of; the orders of a file that has none.
fn likely_kind(words: &Vocabularies, header: &[String]) -> Kind {
    let found_of = |kind: Kind| {
        let columns = kind.columns();
        let found = found(words.of(kind), &columns, header);
        let required =
            columns.iter().filter(|column| column.is_required && found.contains_key(column.name)).count();
        (required, found.len())
    };
    // Of two alike the first.
    KINDS.into_iter().rev().max_by_key(|kind| found_of(*kind)).unwrap_or(Kind::Orders)
}

/// Where our columns are: a header that has our own name, else the most usual name that the header has, each once.
fn found(vocabulary: &Vocabulary, columns: &[Column], header: &[String]) -> BTreeMap<&'static str, usize> {
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    for column in columns {
        if let Some(place) = header.iter().position(|name| name == column.name) {
            found.insert(column.name, place);
        }
    }
    // The most usual names of all columns before the less usual ones of any.
    let most = vocabulary.columns.values().map(Vec::len).max().unwrap_or(0);
    for rank in 0..most {
        for column in columns {
            if found.contains_key(column.name) {
                continue;
            }
            let names = vocabulary.columns.get(column.name);
            let Some(name) = names.and_then(|names| names.get(rank)) else { continue };
            if let Some(place) = place(header, name)
                && !found.values().any(|used| *used == place)
            {
                found.insert(column.name, place);
            }
        }
    }
    found
}

fn place(header: &[String], wanted: &str) -> Option<usize> {
    header.iter().position(|name| normal(name) == normal(wanted))
}

/// The forms that all columns of times have in common, if they need any.
fn common_formats<'t>(times: &'t BTreeMap<&'static str, Written>) -> Option<&'t [String]> {
    let mut known = times.values().filter(|written| **written != Written::Unknown);
    let Some(Written::In(formats)) = known.next() else { return None };
    known.all(|other| *other == Written::In(formats.clone())).then_some(formats.as_slice())
}

/// What a column is made of, as the configuration says it.
fn value(headers: &[&str], made: &Made, formats: &[String]) -> String {
    let per_order = made.per_order;
    let from = match headers {
        [only] if !per_order && formats.is_empty() => return quoted(only),
        [only] => format!("from = {}", quoted(only)),
        several if made.is_joined => format!("from = [{}], join = \" \"", listed(several)),
        several => format!("add = [{}]", listed(several)),
    };
    let per = if per_order { ", per = \"order\"" } else { "" };
    let formats = match formats {
        [] => String::new(),
        [only] => format!(", time_format = {}", quoted(only)),
        several => format!(", time_format = [{}]", listed(several)),
    };
    format!("{{ {from}{per}{formats} }}")
}

/// What is odd about a column.
fn remarks(
    column: &Column,
    shape: Option<&Shape>,
    written: Option<&Written>,
    doubts: &mut Vec<String>,
) -> Vec<String> {
    let Some(shape) = shape else { return Vec::new() };
    let mut remarks = Vec::new();
    if shape.is_empty() {
        remarks.push("empty on every sampled line".to_owned());
    }
    if written == Some(&Written::Unknown) {
        remarks.push(format!("not a time in a form that is known: `{}`", shape.example()));
        doubts.push(format!("how the times of `{}` are written", column.name));
    }
    if shape.numbers.is_negative && column.is_amount() && column.name != "unit_price_amount" {
        remarks.push("negative on some lines: refunds belong into a file or column of their own".to_owned());
        doubts.push(format!("what the negative amounts of `{}` are", column.name));
    }
    if column.name == "currency" && !shape.values().all(is_known_currency) && !shape.is_empty() {
        remarks.push(format!("not a currency: `{}`", shape.example()));
    }
    remarks
}

/// The words of a column: those that are known, and those that only the shop knows.
fn values(
    kind: Kind,
    column: &str,
    ours: &BTreeMap<String, Vec<String>>,
    words: &BTreeMap<String, u64>,
    doubts: &mut Vec<String>,
) -> String {
    if words.len() > MOST_WORDS {
        doubts
            .push(format!("`{column}` has more than {MOST_WORDS} different words: is it the right header?"));
        return String::new();
    }
    let mut section = String::new();
    for (word, count) in words.iter().filter(|(word, _)| !ours.contains_key(*word)) {
        let count = counted(*count, "line", "lines");
        let _ = if let Some(ours) = meaning(ours, word) {
            writeln!(section, "{} = \"{ours}\"   # {count}", quoted(word))
        } else {
            doubts.push(format!("what the {column} `{}` means", shortened(word, WORD_CHARACTERS)));
            writeln!(section, "#{} = \"?\"   # {count}: what does it mean?", quoted(word))
        };
    }
    if section.is_empty() {
        return section;
    }
    let choices: Vec<&str> = ours.keys().map(String::as_str).collect();
    format!("\n[import.{}.values.{column}]   # one of {}\n{section}", kind.name(), choices.join(", "))
}

/// The different words of a field, with the number of lines.
fn words_at(sample: &Sample, source: &Source, place: usize) -> Result<BTreeMap<String, u64>, Failure> {
    let mut words = BTreeMap::new();
    sample.lines(source, |record| {
        let word = record.field(place);
        if word.is_empty() {
            return;
        }
        if let Some(count) = words.get_mut(word) {
            *count += 1;
        } else if words.len() <= MOST_WORDS {
            words.insert(word.to_owned(), 1);
        }
    })?;
    Ok(words)
}

/// A text as TOML writes it, on one line: JSON's escapes are those of TOML, but for DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn listed<T: AsRef<str>>(texts: &[T]) -> String {
    texts.iter().map(|text| quoted(text.as_ref())).collect::<Vec<_>>().join(", ")
}
