//! A digest of how the columns and values of a file are interpreted.

use std::collections::BTreeMap;

use crate::config::{ImportColumn, ImportSection, OneOrMore};
use crate::digest::fingerprint;
use crate::text_encoding::TextEncoding;

/// See [`super::Args::interpretation`]. The mapping is that of the section and its preset together, without what says nothing about
/// a line.
pub(super) fn interpretation(
    encodings: &[TextEncoding],
    delimiter: u8,
    mall: Option<&str>,
    keys: &ImportSection,
) -> String {
    let mut meaning = keys.clone();
    meaning.allow_empty = None;
    meaning.inbox_pattern = OneOrMore::default();
    meaning.holds = None;
    let plain: Option<BTreeMap<&String, &str>> =
        keys.columns.iter().map(|(ours, theirs)| Some((ours, theirs.plain()?))).collect();
    // What could be said before there were presets has the digest that it had: a file that was imported stays so.
    if let (Some(columns), [encoding], formats @ ([] | [_])) = (plain, encodings, keys.time_format.as_ref()) {
        let mut old = ImportSection::default();
        old.mall.clone_from(&keys.mall);
        old.encoding = keys.encoding.clone();
        old.delimiter = keys.delimiter;
        old.time_format = keys.time_format.clone();
        old.columns =
            columns.iter().map(|(ours, theirs)| ((*ours).clone(), ImportColumn::named(theirs))).collect();
        old.values.clone_from(&keys.values);
        if old == meaning {
            let (format, values) = (formats.first(), &keys.values);
            let encoded = keys.encoding.first().copied().unwrap_or_default();
            let config = format!(
                "ImportFile {{ columns: {columns:?}, time_format: {format:?}, mall: {:?}, \
                 encoding: {encoded:?}, delimiter: {:?}, values: {values:?} }}",
                keys.mall, keys.delimiter
            );
            return fingerprint(format!("{encoding} {delimiter} {mall:?} {config}"));
        }
    }
    fingerprint(format!("{encodings:?} {delimiter} {mall:?} {meaning:?}"))
}
