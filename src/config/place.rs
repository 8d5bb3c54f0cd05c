//! Place, language and clock: only variables.

use std::str::FromStr;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use chrono_tz::Tz;

use super::Config;
use super::environment::PRODUCTION;
use super::error::ConfigError;
use super::section::Section;
use super::variables::{Shown, Variables};
use crate::locale::Locale;

/// Decimals of a second that both databases store.
const SUBSECOND_DIGITS: u16 = 6;

/// Place, language and clock.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceSettings {
    /// `BATCHCTL_TZ`: where business days begin and end.
    pub time_zone: Tz,
    /// `BATCHCTL_LOCALE`: the language of labels.
    pub locale: Locale,
    /// `BATCHCTL_NOW`: the fixed clock of a rehearsal, to the microsecond.
    pub now: Option<DateTime<Utc>>,
}

impl Default for PlaceSettings {
    fn default() -> Self {
        Self { time_zone: Tz::Asia__Tokyo, locale: Locale::default(), now: None }
    }
}

impl Section for PlaceSettings {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        let environment = variables.environment();
        variables.or_default(&mut self.time_zone, "BATCHCTL_TZ", |text| {
            Tz::from_str(text)
                .map_err(|_| format!("`{text}` is not a time zone name: write one like Asia/Tokyo"))
        })?;
        variables.or_default(&mut self.locale, "BATCHCTL_LOCALE", |text| {
            Locale::from_str(text).map_err(|error| error.to_string())
        })?;
        variables.optional(&mut self.now, "BATCHCTL_NOW", Shown::Plain, |text| {
            if environment == PRODUCTION {
                return Err(format!("a fixed clock is refused in `{PRODUCTION}`: remove it"));
            }
            DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|now| now.to_utc().trunc_subsecs(SUBSECOND_DIGITS))
                // A day before and a day after it has to be one of the calendar too, in every time zone.
                .filter(|now| (2..=9998).contains(&now.year()))
                .ok_or_else(|| {
                    format!("`{text}` is not an instant: write one like 2026-11-20T01:00:00+09:00")
                })
        })
    }
}

impl Config {
    /// The business time zone.
    pub fn time_zone(&self) -> Tz {
        self.place().time_zone
    }

    /// The language of labels.
    pub fn locale(&self) -> Locale {
        self.place().locale
    }

    /// The fixed clock of a rehearsal; never in prod.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.place().now
    }
}
