//! `[[report.delivery]]` of `batchctl.toml`: who gets which report by mail, and in which forms.

use serde::Deserialize;

use super::document::Document;
use super::error::ConfigError;
use crate::documents::Format;
use crate::locale::Locale;
use crate::mail::address;

/// A report that can be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveredReport {
    /// `report daily-sales`
    DailySales,
    /// `report daily-cancellations`
    DailyCancellations,
    /// `report weekly-signups`
    WeeklySignups,
    /// `report executive`
    Executive,
}

impl DeliveredReport {
    /// The report's name: that of its mail template, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::DailySales => "daily-sales",
            Self::DailyCancellations => "daily-cancellations",
            Self::WeeklySignups => "weekly-signups",
            Self::Executive => "executive",
        }
    }
}

/// `[[report.delivery]]`: a standing delivery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Which report.
    pub report: DeliveredReport,
    /// To whom; each gets a mail of their own.
    pub to: Vec<String>,
    /// Which files are attached; without it what suits the report.
    #[serde(default)]
    pub format: Vec<Format>,
    /// The language; without it that of reports.
    pub locale: Option<Locale>,
    /// Which malls, by code or number; without it all active ones.
    #[serde(default)]
    pub mall: Vec<String>,
    /// The subject instead of the template's; `{day}` stands for the day or week.
    pub subject: Option<String>,
}

impl DeliveryConfig {
    /// Refuses what could only fail at night. `index` is its place among the deliveries, from 0.
    pub(super) fn validate(&self, index: usize, document: &Document<'_>) -> Result<(), ConfigError> {
        let place = index.to_string();
        let at = |key| ["report", "delivery", place.as_str(), key];
        if self.to.is_empty() {
            let problem = "`report.delivery.to` names nobody: write [\"manager@example.jp\"]";
            return Err(document.error_at(&at("to"), problem));
        }
        for (entry, recipient) in self.to.iter().enumerate() {
            if address::parse(recipient).is_err() {
                // Not shown: an address is personal, and a wrong paste may be anything.
                let problem = format!(
                    "`report.delivery.to`: entry {} is not a mail address: write one like manager@example.jp",
                    entry + 1
                );
                let entry = entry.to_string();
                return Err(
                    document.error_at(&["report", "delivery", place.as_str(), "to", entry.as_str()], problem)
                );
            }
        }
        if self
            .subject
            .as_deref()
            .is_some_and(|text| text.trim().is_empty() || text.chars().any(char::is_control))
        {
            let problem = "`report.delivery.subject` is empty or holds a line break";
            return Err(document.error_at(&at("subject"), problem));
        }
        Ok(())
    }
}
