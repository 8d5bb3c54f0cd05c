//! `[stock]` of `batchctl.toml`: how the shop's application keeps stock and reservations in Redis.

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, Section};

/// `[stock]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    /// `[stock.redis]`, if it is there: then there is a Redis.
    pub redis: Option<StockKeys>,
}

impl StockConfig {
    /// What the keys in Redis are called.
    pub fn keys(&self) -> StockKeys {
        self.redis.clone().unwrap_or_default()
    }
}

/// `[stock.redis]`: what the keys are called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockKeys {
    /// The key of a product's stock, a number: with `{product}`, and `{mall}` if there are several malls.
    pub stock: String,
    /// The key of an order's reservation, a hash of products and units: with `{order}`, and `{mall}` if there are several.
    pub reservation: String,
}

impl Default for StockKeys {
    fn default() -> Self {
        Self {
            stock: "stock:{mall}:{product}".to_owned(),
            reservation: "reservation:{mall}:{order}".to_owned(),
        }
    }
}

/// What a key says of which mall it is.
const MALL: &str = "{mall}";
/// Which product.
const PRODUCT: &str = "{product}";
/// Which order.
const ORDER: &str = "{order}";

impl StockKeys {
    /// What stands before and after the product in the key of a mall's stock.
    pub fn stock_of(&self, mall: &str) -> (String, String) {
        // The configuration has been checked: the product is named once.
        let (before, after) = self.stock.split_once(PRODUCT).unwrap_or((&self.stock, ""));
        (before.replace(MALL, mall), after.replace(MALL, mall))
    }

    /// The key of an order's reservation.
    pub fn reservation_of(&self, mall: &str, order: &str) -> String {
        let (before, after) = self.reservation.split_once(ORDER).unwrap_or((&self.reservation, ""));
        // What an order is called may look like a placeholder itself.
        format!("{}{order}{}", before.replace(MALL, mall), after.replace(MALL, mall))
    }

    /// The first pattern that does not say which mall it is of: with several malls, one's reservations would be another's.
    pub fn without_mall(&self) -> Option<&'static str> {
        [("stock.redis.stock", &self.stock), ("stock.redis.reservation", &self.reservation)]
            .into_iter()
            .find_map(|(name, pattern)| (!pattern.contains(MALL)).then_some(name))
    }
}

impl Section for StockConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let Some(keys) = &self.redis else { return Ok(()) };
        check(place, "stock", &keys.stock, PRODUCT)?;
        check(place, "reservation", &keys.reservation, ORDER)
    }
}

/// Refuses a pattern that does not name what it is of exactly once, or names something else.
fn check(place: &Place<'_>, key: &str, pattern: &str, needed: &str) -> Result<(), ConfigError> {
    let error = |problem: String| Err(place.error(&["redis", key], format!("`stock.redis.{key}` {problem}")));
    match pattern.matches(needed).count() {
        1 => {}
        0 => return error(format!("has no {needed}: all of them would share one key")),
        _ => return error(format!("has {needed} more than once")),
    }
    if pattern.matches(MALL).count() > 1 {
        return error(format!("has {MALL} more than once"));
    }
    if pattern.replace(needed, "").replace(MALL, "").contains(['{', '}']) {
        return error(format!("has braces that are neither {MALL} nor {needed}"));
    }
    if pattern.contains(char::is_control) {
        return error("has a character that no key has".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<StockKeys, ConfigError> {
        let text = format!("[stock.redis]\n{text}");
        Sections::parse("batchctl.toml", &text).map(|sections| sections.stock.keys())
    }

    #[test]
    fn keys_are_made_of_what_they_are_of() {
        let keys = parsed("").unwrap();
        assert_eq!(keys.stock_of("tokyo"), ("stock:tokyo:".to_owned(), String::new()));
        assert_eq!(keys.reservation_of("tokyo", "A-1"), "reservation:tokyo:A-1");
        assert_eq!(keys.reservation_of("tokyo", "{mall}"), "reservation:tokyo:{mall}");
        assert_eq!(keys.without_mall(), None);
        let own = parsed("stock = 'p/{product}/left'\nreservation = '{order}@{mall}'").unwrap();
        assert_eq!(own.stock_of("tokyo"), ("p/".to_owned(), "/left".to_owned()));
        assert_eq!(own.reservation_of("tokyo", "A-1"), "A-1@tokyo");
        assert_eq!(own.without_mall(), Some("stock.redis.stock"));
    }

    #[test]
    fn a_pattern_that_would_mix_keys_up_is_refused_by_name() {
        for (text, problem) in [
            ("stock = 'stock:{mall}'", "`stock.redis.stock` has no {product}"),
            ("stock = ''", "`stock.redis.stock` has no {product}"),
            ("stock = '{product}:{product}'", "has {product} more than once"),
            ("stock = 'stock:{product}:{order}'", "has braces that are neither {mall} nor {product}"),
            ("stock = '{mall}{mall}{product}'", "has {mall} more than once"),
            ("reservation = 'reservation:{mall}'", "`stock.redis.reservation` has no {order}"),
            ("reservation = 'r:{order}:{product}'", "has braces that are neither {mall} nor {order}"),
            ("stock = \"stock:\\n{product}\"", "has a character that no key has"),
            ("key = 'x'", "key"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
