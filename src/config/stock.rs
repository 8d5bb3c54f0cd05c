//! `[stock]` of `batchctl.toml`: when stock is low, and who is told.

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, Section};
use crate::address;

/// More than anybody has in stock. It keeps sums of a threshold and of what is added to it small.
const MOST_UNITS: i64 = 1_000_000_000_000;

/// `[stock]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    /// The threshold of products that have none of their own; by default there is none, and only products with their own
    /// are watched.
    pub alert_threshold: Option<i64>,
    /// How far above its threshold a product's stock has to rise before it can be alerted of again. With 0 one unit above
    /// is enough.
    pub recover_above: i64,
    /// The channel that is told; by default those that the job's severity is routed to.
    pub channel: Option<String>,
    /// Who gets the same as a mail.
    pub mail_to: Vec<String>,
    /// `[stock.feed]`: when so many products are low at once that it is not true.
    pub feed: FeedConfig,
}

/// `[stock.feed]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// More than this percentage of a mall's watched products, newly low in one run, put its stock in doubt. 100 turns the
    /// check off.
    pub percent: u32,
    /// Fewer products than this never do.
    pub products: u32,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { percent: 50, products: 20 }
    }
}

impl Section for StockConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let units = [("alert_threshold", self.alert_threshold), ("recover_above", Some(self.recover_above))];
        for (key, units) in units {
            if units.is_some_and(|units| !(0..=MOST_UNITS).contains(&units)) {
                let problem =
                    format!("`stock.{key}` is not a number of units: write one from 0 to {MOST_UNITS}");
                return Err(place.error(&[key], problem));
            }
        }
        if self.feed.percent > 100 {
            let problem = "`stock.feed.percent` is not a percentage: write one from 0 to 100";
            return Err(place.error(&["feed", "percent"], problem));
        }
        for (entry, recipient) in self.mail_to.iter().enumerate() {
            if address::parse(recipient).is_err() {
                // Not shown: an address is personal, and a wrong paste may be anything.
                let problem = format!(
                    "`stock.mail_to`: entry {} is not a mail address: write one like stock@example.jp",
                    entry + 1
                );
                return Err(place.error(&["mail_to", &entry.to_string()], problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<StockConfig, String> {
        let sections = Sections::parse("batchctl.toml", text);
        sections.map(|sections| sections.stock).map_err(|error| error.to_string())
    }

    #[test]
    fn a_threshold_is_a_number_of_units_and_the_key_is_named() {
        assert_eq!(parsed("[stock]\nalert_threshold = 5").unwrap().alert_threshold, Some(5));
        for (text, problem) in [
            (
                "alert_threshold = \"ten\"",
                "line 2: `stock.alert_threshold`: write a whole number, without quotes",
            ),
            (
                "alert_threshold = -1",
                "line 2: `stock.alert_threshold` is not a number of units: write one from 0 to",
            ),
            ("recover_above = 9000000000000000000", "line 2: `stock.recover_above` is not a number of units"),
            ("feed = { percent = 101 }", "line 2: `stock.feed.percent` is not a percentage"),
            (
                "mail_to = [\"a@example.jp\", \"nobody\"]",
                "line 2: `stock.mail_to`: entry 2 is not a mail address",
            ),
        ] {
            let error = parsed(&format!("[stock]\n{text}\n")).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
