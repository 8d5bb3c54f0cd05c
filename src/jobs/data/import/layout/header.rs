//! A header's names, and whether they are names at all.

use std::collections::BTreeMap;

use super::super::words::normal;

/// A header's names, and where they are.
pub(super) struct Header<'h> {
    names: &'h [String],
    /// By how they are meant; empty until a name is not found as it is written.
    meant: BTreeMap<String, Vec<usize>>,
    first_counts: bool,
}

impl<'h> Header<'h> {
    pub(super) fn new(names: &'h [String], first_counts: bool) -> Self {
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
    pub(super) fn find(&self, wanted: &str) -> Result<Option<usize>, String> {
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

/// Whether what should be a header seems to be a line of data: a header rarely has names that are a number, a day or an
/// address, and an order always has several of them.
pub(super) fn is_data(header: &[String]) -> bool {
    header.iter().filter(|name| is_value(name)).count() > 1
}

/// Whether a text is a number, a day, a time or a mail address.
pub(super) fn is_value(text: &str) -> bool {
    let is_of_number = |character: char| {
        character.is_ascii_digit()
            || character.is_whitespace()
            || "-/:.,+¥￥$€₩%TZ年月日時分秒円년월일시분초원".contains(character)
    };
    text.contains('@') || (text.contains(|one: char| one.is_ascii_digit()) && text.chars().all(is_of_number))
}
