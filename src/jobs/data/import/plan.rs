//! What a mapping makes of a record's fields, compiled once for a file's header.
//!
//! A column that is just a header needs nothing: it is read where it is. For all others each record gets derived fields,
//! whose places follow those of its own; they are ranges of its text wherever that is possible. From then on a derived
//! field is a field like any other.

use regex_lite::Regex;

use super::reader::Record;
use super::words::Words;

/// Makes one derived field.
#[derive(Debug)]
pub(super) enum Step {
    /// The field at a place; if it is blank, that of the record's first line.
    Filled(usize),
    /// The first of these fields that is not empty.
    First(Vec<usize>),
    /// All of these fields that are not empty, with a text in between.
    Joined(Vec<usize>, String),
    /// The same text on each line.
    Constant(String),
    /// The line's place within its record, from 1.
    Position,
    /// A field without some leading characters.
    Stripped(usize, String),
    /// What a pattern cuts out of a field.
    Cut(usize, Box<Cut>),
    /// A field, or a text if it is empty.
    Default(usize, String),
    /// What the words of a field mean; any other stays.
    Mapped(usize, Words<String>),
    /// The value of the first of some rules that applies; else a field, if there is one.
    Ruled(Option<usize>, Vec<(Condition, String)>),
}

/// A pattern, and what becomes of a text that it matches.
#[derive(Debug)]
pub(super) struct Cut {
    /// The column that it is for.
    pub(super) column: &'static str,
    /// The pattern.
    pub(super) regex: Regex,
    /// What the text becomes; the first group, or the whole match, if there is nothing.
    pub(super) replace: Option<String>,
    /// Whether a text without a match stays as it is.
    pub(super) or_whole: bool,
}

/// Fields and the words that each of them has to have.
#[derive(Debug, Clone)]
pub(super) struct Condition(pub(super) Vec<(usize, Words<()>)>);

impl Condition {
    /// Whether a record has them.
    pub(super) fn holds(&self, record: &Record) -> bool {
        self.0.iter().all(|(place, words)| words.find(record.field(*place)).is_some())
    }
}

/// A rule that leaves out lines.
#[derive(Debug)]
pub(super) struct SkipRule {
    /// When it does.
    pub(super) condition: Condition,
    /// Whether the whole record is left out.
    pub(super) whole_record: bool,
    /// Whether a record of which no other line is left stays, with what the rule sets.
    pub(super) sets_last: bool,
    /// What it is called.
    pub(super) name: String,
}

/// How a record's fields become our columns.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The file's own fields.
    pub(super) width: usize,
    /// The derived fields, in order.
    pub(super) steps: Vec<Step>,
    /// The rules that leave out lines, in order.
    pub(super) skips: Vec<SkipRule>,
    /// The fields of a record's key and mall as they are in the file, if blank fields are filled.
    pub(super) filling: Option<Vec<usize>>,
}

impl Plan {
    /// A plan for records of this many fields.
    pub(super) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Adds a step; the place of the field that it makes.
    pub(super) fn add(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.width + self.steps.len() - 1
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.skips.is_empty()
    }

    /// Whether a line's fields depend on those before it in its record.
    pub(super) fn looks_back(&self) -> bool {
        self.filling.is_some() || self.steps.iter().any(|step| matches!(step, Step::Position))
    }

    /// Whether none of a line's own cells says that its record is another than that of a first line: a key may be made of
    /// several, each of which may be blank.
    pub(super) fn may_continue(&self, first: &Record, line: &Record) -> bool {
        let is_same = |place: &usize| {
            let own = line.field(*place);
            own.is_empty() || own == first.field(*place)
        };
        self.filling.as_ref().is_none_or(|places| places.iter().all(is_same))
    }

    /// Makes the derived fields of a line that follows these of its record.
    pub(super) fn derive(&self, record: &mut Record, before: &[Record]) {
        record.clear_derived();
        let first = before.first();
        for step in &self.steps {
            step.derive(record, first, before.len());
        }
        record.skipped_by = self.skips.iter().position(|rule| rule.condition.holds(record));
    }
}

impl Step {
    fn derive(&self, record: &mut Record, first: Option<&Record>, position: usize) {
        match self {
            Self::Filled(place) => match first {
                Some(first) if record.field(*place).is_empty() => record.derive_text(first.field(*place)),
                _ => record.derive_same(*place),
            },
            Self::First(places) => {
                let place = places.iter().find(|place| !record.field(**place).is_empty());
                record.derive_same(*place.unwrap_or(&places[0]));
            }
            Self::Joined(places, separator) => record.derive_joined(places, separator),
            Self::Constant(text) => record.derive_text(text),
            Self::Position => record.derive_text(&(position + 1).to_string()),
            Self::Stripped(place, characters) => {
                let text = record.field(*place);
                let rest = text.trim_start_matches(|character| characters.contains(character));
                record.derive_part(*place, text.len() - rest.len(), text.len());
            }
            Self::Cut(place, cut) => cut.derive(record, *place),
            Self::Default(place, text) => {
                if record.field(*place).is_empty() {
                    record.derive_text(text);
                } else {
                    record.derive_same(*place);
                }
            }
            Self::Mapped(place, words) => match words.find(record.field(*place)) {
                Some(ours) => record.derive_text(ours),
                None => record.derive_same(*place),
            },
            Self::Ruled(place, rules) => {
                match (rules.iter().find(|(condition, _)| condition.holds(record)), place) {
                    (Some((_, value)), _) => record.derive_text(value),
                    (None, Some(place)) => record.derive_same(*place),
                    (None, None) => record.derive_text(""),
                }
            }
        }
    }
}

impl Cut {
    fn derive(&self, record: &mut Record, place: usize) {
        let text = record.field(place);
        let Some(captures) = (!text.is_empty()).then(|| self.regex.captures(text)).flatten() else {
            if text.is_empty() || self.or_whole {
                return record.derive_same(place);
            }
            let problem =
                format!("`{}`: `{text}` does not match the pattern `{}`", self.column, self.regex.as_str());
            record.problems.push(problem);
            return record.derive_text("");
        };
        if let Some(replace) = &self.replace {
            let mut made = String::new();
            captures.expand(replace, &mut made);
            return record.derive_text(&made);
        }
        let group = captures.get(usize::from(captures.len() > 1));
        let (start, end) = group.map_or((0, 0), |group| (group.start(), group.end()));
        record.derive_part(place, start, end);
    }
}
