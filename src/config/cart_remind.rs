//! `[cart_remind]` of `batchctl.toml`: what a reminder of a cart offers.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, de};

use super::error::ConfigError;
use super::section::{Place, Section};

/// `[cart_remind]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CartRemindConfig {
    /// What a reminder offers, if anything.
    pub coupon: Option<CouponConfig>,
}

/// `[cart_remind.coupon]`: one code for everybody, or single-use codes from the table `coupons`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CouponConfig {
    /// The code for everybody.
    pub code: Option<String>,
    /// What it is worth, in words for customers; required with a `code`.
    pub description: Option<String>,
    /// The last day it can be used (YYYY-MM-DD): later reminders go without it.
    #[serde(deserialize_with = "day")]
    pub expires_day: Option<NaiveDate>,
    /// Hands out codes from the table `coupons`, each once.
    pub single_use: bool,
}

impl Section for CartRemindConfig {
    /// Refuses a coupon that is neither one code nor those of the table.
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let Some(coupon) = &self.coupon else { return Ok(()) };
        let error = |key: &str, problem: &str| Err(place.error(&["coupon", key], problem));
        match &coupon.code {
            Some(code) if code.trim().is_empty() => error("code", "`cart_remind.coupon.code` is empty"),
            Some(_) if coupon.single_use => error(
                "single_use",
                "`cart_remind.coupon` has a `code` for everybody and `single_use` ones: choose one of them",
            ),
            Some(_) if coupon.description.as_ref().is_none_or(|text| text.trim().is_empty()) => error(
                "code",
                "`cart_remind.coupon.description` is not set: say what the code is worth, such as \"10 % off\"",
            ),
            None if !coupon.single_use => error(
                "code",
                "`cart_remind.coupon` has neither a `code` nor `single_use = true`: write one of them",
            ),
            None if coupon.description.is_some() || coupon.expires_day.is_some() => error(
                "single_use",
                "`cart_remind.coupon`: single-use codes have their own `description` and `expires_day`: \
                 import them with `data import --kind coupons`",
            ),
            _ => Ok(()),
        }
    }
}

/// A day in quotes or as TOML's own date.
fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Datetime(date) => date.to_string(),
        _ => return Err(de::Error::custom("write a day: YYYY-MM-DD")),
    };
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom(format!("`{text}` is not a day that exists: write YYYY-MM-DD")))
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<CartRemindConfig, ConfigError> {
        Sections::parse("batchctl.toml", text).map(|sections| sections.cart_remind)
    }

    #[test]
    fn a_coupon_is_one_code_or_those_of_the_table() {
        let fixed = "[cart_remind.coupon]\ncode = 'BACK10'\ndescription = '10 %'\nexpires_day = 2026-12-31";
        let coupon = parsed(fixed).unwrap().coupon.unwrap();
        assert_eq!(coupon.code.as_deref(), Some("BACK10"));
        assert_eq!(coupon.expires_day, NaiveDate::from_ymd_opt(2026, 12, 31));
        let table = parsed("[cart_remind.coupon]\nsingle_use = true").unwrap().coupon.unwrap();
        assert!(table.single_use);
        for (text, problem) in [
            ("[cart_remind.coupon]\ndescription = 'x'", "has neither a `code` nor `single_use = true`"),
            ("[cart_remind.coupon]\ncode = 'A'\nsingle_use = true", "choose one of them"),
            ("[cart_remind.coupon]\ncode = 'A'", "say what the code is worth"),
            ("[cart_remind.coupon]\ncode = ' '", "is empty"),
            ("[cart_remind.coupon]\nsingle_use = true\ndescription = 'x'", "have their own"),
            (
                "[cart_remind.coupon]\ncode = 'A'\ndescription = 'x'\nexpires_day = '2026-02-30'",
                "not a day that exists",
            ),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
