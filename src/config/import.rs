//! `[import.KIND]` of `batchctl.toml`: how shops without an API write their files. Which kinds exist, and which
//! columns a kind has, is up to `data import`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::format::{Item, StrftimeItems};
use serde::Deserialize;

use super::Config;
use super::error::ConfigError;
use super::section::{Place, Section};
use crate::text_encoding::TextEncoding;

/// `[import]`: a table for each kind of file, by the kind's name.
pub type ImportConfig = BTreeMap<String, ImportFile>;

/// How one kind of file is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportFile {
    /// Our column to the header in the file; a column that is left out has our name in the file too.
    pub columns: BTreeMap<String, String>,
    /// How times are written (strftime); RFC 3339 by default.
    pub time_format: Option<String>,
    /// The mall that the rows belong to, unless given by the file or a flag.
    pub mall: Option<String>,
    /// How the file is encoded.
    pub encoding: TextEncoding,
    /// The field delimiter; a comma by default. One ASCII character.
    pub delimiter: Option<char>,
    /// Our column to its values: the one in the file to ours.
    pub values: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether a file with a header and no lines is fine.
    pub allow_empty: bool,
}

impl Config {
    /// How files of a kind are written; with our own names and formats if it has no table.
    pub fn import_file(&self, kind: &str) -> &ImportFile {
        static OURS: LazyLock<ImportFile> = LazyLock::new(ImportFile::default);
        self.import().get(kind).unwrap_or(&OURS)
    }
}

impl Section for ImportConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        for (kind, file) in self {
            if let Some(format) = &file.time_format
                && StrftimeItems::new(format).any(|item| item == Item::Error)
            {
                let problem = format!(
                    "`import.{kind}.time_format`: `{format}` is not a time format: write one like %Y/%m/%d %H:%M"
                );
                return Err(place.error(&[kind, "time_format"], problem));
            }
            if file.delimiter.is_some_and(|c| !c.is_ascii() || matches!(c, '"' | '\n' | '\r')) {
                let problem =
                    format!("`import.{kind}.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"");
                return Err(place.error(&[kind, "delimiter"], problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    #[test]
    fn an_encoding_has_the_names_that_the_flag_takes() {
        let text = "[import.orders]\nencoding = \"sjis\"\n[import.members]\nencoding = \"cp949\"";
        let import = Sections::parse("batchctl.toml", text).unwrap().import;
        assert_eq!(import["orders"].encoding, TextEncoding::ShiftJis);
        assert_eq!(import["members"].encoding, TextEncoding::EucKr);
    }

    #[test]
    fn a_file_that_could_not_be_read_so_is_refused_by_its_key() {
        for (text, message) in [
            (
                "[import.orders]\ndelimiter = \"、\"",
                "batchctl.toml line 2: `import.orders.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"",
            ),
            (
                "[import.orders]\ntime_format = \"%Y-%Q!\"",
                "batchctl.toml line 2: `import.orders.time_format`: `%Y-%Q!` is not a time format: write one like %Y/%m/%d %H:%M",
            ),
        ] {
            assert_eq!(Sections::parse("batchctl.toml", text).unwrap_err().to_string(), message);
        }
    }
}
