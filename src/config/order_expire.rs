//! `[order_expire]` of `batchctl.toml`: how customers are told, and when unpaid orders look like a failure of payments.

use std::time::Duration;

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, Section, duration};

/// So many orders that expire at once, without a single payment, are not so many customers who changed their minds.
const BREAKER_ORDERS: u32 = 50;
/// Long enough for a quiet hour, and short enough for an outage of payments to be over before many notice.
const BREAKER_SILENCE: Duration = Duration::from_hours(1);

/// `[order_expire]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderExpireConfig {
    /// Whether customers are told by mail too.
    pub mail: bool,
    /// The most orders of a mall that expire while none is paid; 50 by default.
    pub breaker_orders: Option<u32>,
    /// How long no order of the mall has to have been paid for that; an hour by default.
    #[serde(deserialize_with = "duration")]
    pub breaker_silence: Option<Duration>,
}

impl OrderExpireConfig {
    /// The most orders of a mall that expire while none is paid.
    pub fn breaker_orders(&self) -> u32 {
        self.breaker_orders.unwrap_or(BREAKER_ORDERS)
    }

    /// How long no order of the mall has to have been paid for that.
    pub fn breaker_silence(&self) -> Duration {
        self.breaker_silence.unwrap_or(BREAKER_SILENCE)
    }
}

impl Section for OrderExpireConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        /// A day is longer than any outage that nobody notices.
        const LONGEST_SILENCE: Duration = Duration::from_hours(24);
        if self.breaker_orders == Some(0) {
            let problem =
                "`order_expire.breaker_orders` is 0, which would let no order expire: write at least 1";
            return Err(place.error(&["breaker_orders"], problem));
        }
        match self.breaker_silence {
            Some(silence) if silence.is_zero() || silence > LONGEST_SILENCE => {
                let problem = "`order_expire.breaker_silence` is not between 1s and 24h";
                Err(place.error(&["breaker_silence"], problem))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<OrderExpireConfig, ConfigError> {
        Sections::parse("batchctl.toml", &format!("[order_expire]\n{text}"))
            .map(|sections| sections.order_expire)
    }

    #[test]
    fn the_breaker_has_numbers_that_can_be_set() {
        let default = parsed("").unwrap();
        assert_eq!((default.breaker_orders(), default.breaker_silence()), (50, Duration::from_hours(1)));
        let set = parsed("breaker_orders = 7\nbreaker_silence = '20m'\nmail = true").unwrap();
        assert_eq!((set.breaker_orders(), set.breaker_silence()), (7, Duration::from_mins(20)));
        assert!(set.mail);
    }

    #[test]
    fn a_breaker_that_would_stop_everything_or_nothing_is_refused() {
        for (text, problem) in [
            ("breaker_orders = 0", "write at least 1"),
            ("breaker_silence = '0s'", "not between 1s and 24h"),
            ("breaker_silence = '25h'", "not between 1s and 24h"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
