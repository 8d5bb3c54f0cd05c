//! `[report]` of `batchctl.toml`: the language of reports, and who receives which report by mail, in which forms.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, Section};
use crate::address;
use crate::format::Format;
use crate::locale::Locale;

/// `[report]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// The language of labels; by default that of `BATCHCTL_LOCALE`.
    pub locale: Option<Locale>,
    /// What becomes of the mails of figures whose data has not come.
    pub provisional: ProvisionalMails,
    /// The malls in the order in which reports show them, by code; the others follow in the order of their codes.
    pub malls: Vec<String>,
    /// Whether a CSV file begins with a byte order mark.
    pub csv_bom: CsvBom,
    /// `[report.payment_methods]`: what readers call a payment method.
    pub payment_methods: BTreeMap<String, Wording>,
    /// `[report.cancellation_reasons]`: what readers call the reason of a cancellation.
    pub cancellation_reasons: BTreeMap<String, Wording>,
    /// `[[report.delivery]]`: who gets which report by mail.
    pub delivery: Vec<DeliveryConfig>,
}

/// What becomes of the mails of figures whose data has not come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvisionalMails {
    /// They are sent, and say so; when the data has come, another one follows.
    #[default]
    Mail,
    /// They wait until the figures are final.
    Hold,
}

/// Whether a CSV file begins with a byte order mark, by which Excel recognises UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CsvBom {
    /// If it holds anything that is not ASCII, which Excel would otherwise misread.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A wording, the same in each language or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, or a table of the texts `en`, `ja` and `ko`")]
pub enum Wording {
    /// The same in each.
    Same(String),
    /// One for each; a missing one is that of the program.
    ByLanguage(WordingByLanguage),
}

/// A wording in each language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordingByLanguage {
    /// In English.
    pub en: Option<String>,
    /// In Japanese.
    pub ja: Option<String>,
    /// In Korean.
    pub ko: Option<String>,
}

impl Wording {
    /// The wording in a language.
    pub fn of(&self, locale: Locale) -> Option<&str> {
        match self {
            Self::Same(text) => Some(text),
            Self::ByLanguage(WordingByLanguage { en, ja, ko }) => locale.pick(en, ja, ko).as_deref(),
        }
    }

    fn is_blank(&self) -> bool {
        Locale::ALL.iter().any(|locale| self.of(*locale).is_some_and(|text| text.trim().is_empty()))
    }
}

/// `[[report.delivery]]`: a standing delivery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// The report's name; the reports check that it exists.
    pub report: String,
    /// The recipients; each gets a separate mail.
    pub to: Vec<String>,
    /// Which files are attached; by default what suits the report.
    #[serde(default)]
    pub format: Vec<Format>,
    /// The language; by default that of reports.
    pub locale: Option<Locale>,
    /// Which malls, by code or ID; by default all active ones.
    #[serde(default)]
    pub mall: Vec<String>,
    /// The subject instead of the template's; `{day}` stands for the day or week.
    pub subject: Option<String>,
}

impl Section for ReportConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        self.check_malls(place)?;
        for (table, wordings) in
            [("payment_methods", &self.payment_methods), ("cancellation_reasons", &self.cancellation_reasons)]
        {
            if let Some((code, _)) = wordings.iter().find(|(_, wording)| wording.is_blank()) {
                let problem = format!("`report.{table}.{code}` is empty: a reader would see nothing");
                return Err(place.error(&[table, code], problem));
            }
        }
        self.delivery.iter().enumerate().try_for_each(|(index, delivery)| delivery.check(index, place))
    }
}

impl ReportConfig {
    fn check_malls(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        for (index, code) in self.malls.iter().enumerate() {
            if self.malls[..index].contains(code) {
                let problem = format!("`report.malls` names `{code}` twice");
                return Err(place.error(&["malls", &index.to_string()], problem));
            }
        }
        Ok(())
    }
}

impl DeliveryConfig {
    /// Refuses what could only fail at night. `index` is its place among the deliveries, from 0.
    fn check(&self, index: usize, place: &Place<'_>) -> Result<(), ConfigError> {
        let index = index.to_string();
        let at = |key| ["delivery", index.as_str(), key];
        if self.to.is_empty() {
            let problem = "`report.delivery.to` names nobody: write [\"manager@example.jp\"]";
            return Err(place.error(&at("to"), problem));
        }
        for (entry, recipient) in self.to.iter().enumerate() {
            if address::parse(recipient).is_err() {
                // Not shown: an address is personal, and a wrong paste may be anything.
                let problem = format!(
                    "`report.delivery.to`: entry {} is not a mail address: write one like manager@example.jp",
                    entry + 1
                );
                return Err(place.error(&["delivery", &index, "to", &entry.to_string()], problem));
            }
        }
        if self
            .subject
            .as_deref()
            .is_some_and(|text| text.trim().is_empty() || text.chars().any(char::is_control))
        {
            let problem = "`report.delivery.subject` is empty or holds a line break";
            return Err(place.error(&at("subject"), problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    #[test]
    fn a_wording_is_one_for_all_languages_or_one_for_each() {
        let text = "[report.payment_methods]\n\"後払い\" = \"ACME後払い\"\ncard = { ja = \"カード\" }";
        let methods = Sections::parse("batchctl.toml", text).unwrap().report.payment_methods;
        let of = |code: &str, locale| methods[code].of(locale).map(str::to_owned);
        assert_eq!(of("後払い", Locale::Ko).as_deref(), Some("ACME後払い"));
        assert_eq!(
            [of("card", Locale::Ja).as_deref(), of("card", Locale::En).as_deref()],
            [Some("カード"), None]
        );
        let refused = |text: &str| Sections::parse("batchctl.toml", text).unwrap_err().to_string();
        assert_eq!(
            refused("[report.payment_methods]\ncard = { jp = \"カード\" }"),
            "batchctl.toml line 2: `report.payment_methods.card`: a text, or a table of the texts `en`, `ja` and `ko`"
        );
        assert_eq!(
            refused("[report.cancellation_reasons]\nC1 = { ja = \" \" }"),
            "batchctl.toml line 2: `report.cancellation_reasons.C1` is empty: a reader would see nothing"
        );
    }

    #[test]
    fn a_mall_has_one_place() {
        let refused =
            Sections::parse("batchctl.toml", "[report]\nmalls = [\"a\", \"b\", \"a\"]").unwrap_err();
        assert_eq!(refused.to_string(), "batchctl.toml line 2: `report.malls` names `a` twice");
    }

    #[test]
    fn a_mark_is_written_where_it_is_needed_unless_configured_otherwise() {
        let of = |text: &str| Sections::parse("batchctl.toml", text).map(|sections| sections.report.csv_bom);
        assert_eq!(of("[report]").unwrap(), CsvBom::Auto);
        assert_eq!(of("[report]\ncsv_bom = \"never\"").unwrap(), CsvBom::Never);
        assert!(of("[report]\ncsv_bom = true").unwrap_err().to_string().contains("report.csv_bom"));
    }

    #[test]
    fn a_delivery_that_could_only_fail_at_night_is_refused_without_repeating_an_address() {
        let delivery = |rest: &str| {
            let text = format!("[[report.delivery]]\nreport = \"daily-sales\"\n{rest}");
            Sections::parse("batchctl.toml", &text).unwrap_err().to_string()
        };
        assert_eq!(
            delivery("to = [\"a@example.jp\", \"hunter22\"]"),
            "batchctl.toml line 3: `report.delivery.to`: entry 2 is not a mail address: write one like manager@example.jp"
        );
        assert_eq!(
            delivery("to = []"),
            "batchctl.toml line 3: `report.delivery.to` names nobody: write [\"manager@example.jp\"]"
        );
        assert_eq!(
            delivery("to = [\"a@example.jp\"]\nsubject = \"a\\nb\""),
            "batchctl.toml line 4: `report.delivery.subject` is empty or holds a line break"
        );
        assert_eq!(
            delivery("to = [\"a@example.jp\"]\nformat = [\"pfd\"]"),
            "batchctl.toml line 4: `report.delivery.format`: `pfd` is not known: write \"table\", \"csv\", \"xlsx\", \"pdf\" or \"json\""
        );
    }
}
