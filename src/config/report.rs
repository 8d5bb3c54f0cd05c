//! `[report]` of `batchctl.toml`: the language of reports, and who receives which report by mail, in which forms.

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
        self.delivery.iter().enumerate().try_for_each(|(index, delivery)| delivery.check(index, place))
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
            "batchctl.toml line 4: `report.delivery.format`: unknown variant `pfd`, expected one of `table`, `csv`, `xlsx`, `pdf`, `json`"
        );
    }
}
