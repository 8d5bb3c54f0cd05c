//! Presets that fit a file, with what they do not know about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::config::ImportColumn;
use crate::failure::Failure;
use crate::printable::shortened;
use crate::wording::counted;

use super::super::kinds::Kind;
use super::super::mapping::Mapping;
use super::super::presets;
use super::super::reader::Source;
use super::super::words::normal;
use super::names::{MOST_WORDS, WORD_CHARACTERS, quoted};
use super::sample::Sample;
use super::trial::layout;
use super::{KINDS, Proposal};

/// A preset has to know so many of a file's headers; with fewer, any file would be one of its.
const LEAST_HEADERS: usize = 4;

/// A preset that fits a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fitting {
    /// How many of the header's names it knows.
    pub(super) known: usize,
    /// Whether it has all that is needed, and not only what does not depend on a template of the shop's.
    pub(super) is_complete: bool,
    /// What kind of file it is.
    pub(super) kind: Kind,
    /// The preset.
    pub(super) name: &'static str,
}

/// The presets that fit a header.
pub(super) fn candidates(kind: Kind, header: &[String]) -> Vec<Fitting> {
    let header_names: BTreeSet<String> = header.iter().map(|name| normal(name).into_owned()).collect();
    let mut fitting = Vec::new();
    for name in presets::names() {
        let Ok(mapping) = Mapping::of_preset(kind, name) else { continue };
        let is_complete = layout(&mapping, header).is_ok();
        if !is_complete && !fits_but_for_a_template(&mapping, &header_names) {
            continue;
        }
        let known: BTreeSet<&str> =
            mapping.keys.headers().filter(|wanted| header_names.contains(normal(wanted).as_ref())).collect();
        fitting.push(Fitting { known: known.len(), is_complete, kind, name });
    }
    fitting
}

/// Whether a preset that leaves needed columns to the shop's template has all of its own in a header.
fn fits_but_for_a_template(mapping: &Mapping, header: &BTreeSet<String>) -> bool {
    let columns = &mapping.keys.columns;
    let lacks_any = mapping
        .kind()
        .columns()
        .iter()
        .any(|column| column.is_required && !columns.contains_key(column.name));
    let is_there = |wanted: &str| header.contains(normal(wanted).as_ref());
    let is_found = |column: &ImportColumn| {
        let mut headers = column.headers();
        match column.join {
            _ if column.optional || column.constant.is_some() => true,
            Some(_) => headers.all(is_there),
            None => headers.any(is_there),
        }
    };
    lacks_any && columns.values().all(is_found)
}

/// The preset that knows most of the header.
pub(super) fn preset_of(kind: Option<Kind>, header: &[String]) -> Option<Fitting> {
    let kinds = kind.map_or(KINDS.to_vec(), |kind| vec![kind]);
    let all = kinds.into_iter().flat_map(|kind| candidates(kind, header));
    // Of two alike the last, as ever.
    all.max_by_key(|fitting| (fitting.known, fitting.is_complete))
        .filter(|fitting| fitting.known >= LEAST_HEADERS)
}

/// A mapping by a preset that has all that is needed.
pub(super) fn of_preset(Fitting { kind, name, .. }: Fitting) -> Proposal {
    let section = format!("preset = \"{name}\"\n");
    Proposal { kind, preset: Some(name), section, doubts: Vec::new(), missing: Vec::new() }
}

/// Adds the words of states that a mapping reads as they are, although they are none of ours, each with what it may mean left
/// open. What a rule leaves out, or a pattern makes of a word, is known to the preset.
pub(super) fn add_unread_words(
    mapping: &Mapping,
    sample: &Sample,
    source: &Source,
    header: &[String],
    section: &mut String,
    doubts: &mut Vec<String>,
) -> Result<(), Failure> {
    let Ok(layout) = layout(mapping, header) else { return Ok(()) };
    for (place, column) in layout.columns.iter().enumerate().filter(|(_, column)| !column.words.is_empty()) {
        let mut unread: BTreeMap<String, u64> = BTreeMap::new();
        sample.lines(source, |record| {
            layout.derive(record, &[]);
            let fields = layout.fields(record);
            if record.skipped_by.is_none()
                && fields.optional_word(place).is_err()
                && unread.len() <= MOST_WORDS
            {
                *unread.entry(fields.meant(place).to_owned()).or_default() += 1;
            }
        })?;
        if unread.is_empty() || unread.len() > MOST_WORDS {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(section, "\n[import.{}.values.{}]", mapping.kind().name(), column.name);
        for (word, count) in unread {
            let lines = counted(count, "line", "lines");
            let _ = writeln!(section, "#{} = \"?\"   # {lines}: what does it mean?", quoted(&word));
            doubts.push(format!("what the {} `{}` means", column.name, shortened(&word, WORD_CHARACTERS)));
        }
    }
    Ok(())
}
