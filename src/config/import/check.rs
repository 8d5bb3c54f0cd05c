//! What no section can mean, named by its key.

use super::super::document::unknown_key;
use super::super::error::ConfigError;
use super::super::section::{Place, Section};
use super::{ImportConfig, ImportSection};
use crate::spelling::nearest;
use crate::time_format::TimeFormat;

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

impl ImportSection {
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

pub(super) fn time_format_problem(formats: &[String]) -> Option<String> {
    let problem = |format: &String| Some(format!("`{format}` {}", TimeFormat::new(format).err()?));
    formats.iter().find_map(problem)
}
