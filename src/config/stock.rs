//! `[stock]` of `batchctl.toml`: how the shop's application keeps stock and reservations in Redis, when stock is low, and who
//! is told.

use std::time::Duration;

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, Section, duration};
use crate::address;
use crate::hosts::is_host;
use crate::period::format_duration;

/// More than anybody has in stock. It keeps sums of a threshold and of what is added to it small.
const MOST_UNITS: i64 = 1_000_000_000_000;
/// An order takes some milliseconds from the one to the other, and a second under load. Tests place no orders meanwhile.
const SHORTEST_SETTLE: Duration =
    if cfg!(feature = "failpoints") { Duration::from_millis(100) } else { Duration::from_secs(1) };
/// A run of half an hour looks at most three times as long.
const LONGEST_SETTLE: Duration = Duration::from_mins(5);
/// Somebody who checks out may well take some minutes.
const SHORTEST_LEAKED_AFTER: Duration = Duration::from_mins(5);
/// Units that nobody can buy for longer are lost.
const LONGEST_LEAKED_AFTER: Duration = Duration::from_hours(30 * 24);

/// `[stock]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockConfig {
    /// The threshold of products that have none of their own; by default there is none, and only products with their own
    /// are watched.
    pub alert_threshold: Option<i64>,
    /// How far above its threshold a product's stock has to rise before another alert is raised for it. With 0 one unit above
    /// is enough.
    pub recover_above: i64,
    /// The channel that is told; by default those that the job's severity is routed to.
    pub channel: Option<String>,
    /// Who gets the same as a mail.
    pub mail_to: Vec<String>,
    /// `[stock.feed]`: when so many products are low at once that it is not true.
    pub feed: FeedConfig,
    /// `[stock.redis]`
    pub redis: StockKeys,
    /// `[stock.reconcile]`: when Redis and the database differ.
    pub reconcile: ReconcileConfig,
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

/// `[stock.reconcile]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReconcileConfig {
    /// How long a difference has to stay the same before it counts; five seconds by default.
    #[serde(deserialize_with = "duration")]
    pub settle: Option<Duration>,
    /// After so long without an order, or after its cancellation, a reservation is orphaned; an hour by default.
    #[serde(deserialize_with = "duration")]
    pub leaked_after: Option<Duration>,
    /// More differences than this are an urgent message.
    pub urgent_above: u32,
    /// More than this percentage of a mall's products that differ put all of them in doubt, and nothing is repaired.
    pub percent: u32,
    /// So many differences never do.
    pub products: u32,
    /// Whether a summary that has nothing to report is left out.
    pub quiet_summary: bool,
}

impl Default for ReconcileConfig {
    fn default() -> Self {
        Self {
            settle: None,
            leaked_after: None,
            urgent_above: 10,
            percent: 20,
            products: 20,
            quiet_summary: false,
        }
    }
}

impl ReconcileConfig {
    /// Longer than an order takes from the one to the other.
    const SETTLE: Duration = Duration::from_secs(5);
    /// Longer than anybody takes to check out.
    const LEAKED_AFTER: Duration = Duration::from_hours(1);

    /// How long a difference has to stay the same before it counts.
    pub fn settle(&self) -> Duration {
        self.settle.unwrap_or(Self::SETTLE)
    }

    /// After so long without an order, or after its cancellation, a reservation is orphaned.
    pub fn leaked_after(&self) -> Duration {
        self.leaked_after.unwrap_or(Self::LEAKED_AFTER)
    }
}

/// `[stock.redis]`: what the keys are called, and where Redis may be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StockKeys {
    /// The key of a product's stock, a number: with `{product}`, and `{mall}` if there are several malls.
    pub stock: String,
    /// The key of an order's reservation, a hash of products and units: with `{order}`, and `{mall}` if there are several.
    pub reservation: String,
    /// Where Redis may be outside prod, apart from this machine.
    pub hosts_outside_prod: Vec<String>,
}

impl Default for StockKeys {
    fn default() -> Self {
        Self {
            stock: "stock:{mall}:{product}".to_owned(),
            reservation: "reservation:{mall}:{order}".to_owned(),
            hosts_outside_prod: Vec::new(),
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
        // What an order is called may look like a placeholder itself.
        let (before, after) = self.reservations_of(mall);
        format!("{before}{order}{after}")
    }

    /// What stands before and after the order in the key of a mall's reservation.
    pub fn reservations_of(&self, mall: &str) -> (String, String) {
        let (before, after) = self.reservation.split_once(ORDER).unwrap_or((&self.reservation, ""));
        (before.replace(MALL, mall), after.replace(MALL, mall))
    }

    /// Whether the key of a stock says which mall it is of.
    pub fn names_mall_of_stock(&self) -> bool {
        self.stock.contains(MALL)
    }

    /// Why some key could be that of two of these malls; `None` if each key has one mall.
    pub fn shared_by(&self, malls: &[&str]) -> Option<String> {
        if malls.len() < 2 {
            return None;
        }
        let patterns = [
            ("stock.redis.stock", &self.stock, Self::stock_of as fn(&Self, &str) -> (String, String)),
            ("stock.redis.reservation", &self.reservation, Self::reservations_of),
        ];
        patterns.into_iter().find_map(|(name, pattern, of)| {
            if !pattern.contains(MALL) {
                return Some(format!(
                    "`{name}` has no {MALL}, but {} malls have orders here: they would share their keys",
                    malls.len()
                ));
            }
            let mut pairs = malls
                .iter()
                .enumerate()
                .flat_map(|(place, first)| malls[place + 1..].iter().map(move |second| (first, second)));
            let (first, second) =
                pairs.find(|(first, second)| overlap(&of(self, first), &of(self, second)))?;
            Some(format!(
                "`{name}` is `{pattern}`, by which a key of mall `{first}` can be one of mall `{second}` too"
            ))
        })
    }
}

/// Whether a key can begin and end as both of these say: then nobody knows which of the two it is of.
fn overlap(first: &(String, String), second: &(String, String)) -> bool {
    let (before, after) = (&first.0, &first.1);
    let (other_before, other_after) = (&second.0, &second.1);
    (before.starts_with(other_before.as_str()) || other_before.starts_with(before.as_str()))
        && (after.ends_with(other_after.as_str()) || other_after.ends_with(after.as_str()))
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
        for (table, percent) in [("feed", self.feed.percent), ("reconcile", self.reconcile.percent)] {
            if percent > 100 {
                let problem = format!("`stock.{table}.percent` is not a percentage: write one from 0 to 100");
                return Err(place.error(&[table, "percent"], problem));
            }
        }
        for (key, length, shortest, longest) in [
            ("settle", self.reconcile.settle(), SHORTEST_SETTLE, LONGEST_SETTLE),
            ("leaked_after", self.reconcile.leaked_after(), SHORTEST_LEAKED_AFTER, LONGEST_LEAKED_AFTER),
        ] {
            if length < shortest || length > longest {
                let problem = format!(
                    "`stock.reconcile.{key}` is not from {} to {}",
                    format_duration(shortest),
                    format_duration(longest)
                );
                return Err(place.error(&["reconcile", key], problem));
            }
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
        if !self.redis.hosts_outside_prod.iter().all(|host| is_host(host)) {
            let problem =
                "`stock.redis.hosts_outside_prod` is not a list of hosts: write [\"redis.dev.example.jp\"]";
            return Err(place.error(&["redis", "hosts_outside_prod"], problem));
        }
        check(place, "stock", &self.redis.stock, PRODUCT)?;
        check(place, "reservation", &self.redis.reservation, ORDER)
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
            // With none, orders that are being placed would lose their reservations.
            (
                "reconcile.leaked_after = \"0s\"",
                "line 2: `stock.reconcile.leaked_after` is not from 5m to 30d",
            ),
            ("reconcile.leaked_after = \"4m59s\"", "`stock.reconcile.leaked_after` is not from 5m to 30d"),
            ("reconcile.leaked_after = \"300000000d\"", "`300000000d` is too long: write at most 3660d"),
            ("reconcile.leaked_after = \"30d1ms\"", "`stock.reconcile.leaked_after` is not from"),
            ("reconcile.settle = \"0s\"", "line 2: `stock.reconcile.settle` is not from"),
            ("reconcile.settle = \"99ms\"", "`stock.reconcile.settle` is not from"),
            ("reconcile.settle = \"6m\"", "`stock.reconcile.settle` is not from"),
            (
                "mail_to = [\"a@example.jp\", \"nobody\"]",
                "line 2: `stock.mail_to`: entry 2 is not a mail address",
            ),
        ] {
            let error = parsed(&format!("[stock]\n{text}\n")).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    fn keys(text: &str) -> Result<StockKeys, String> {
        parsed(&format!("[stock.redis]\n{text}")).map(|stock| stock.redis)
    }

    #[test]
    fn keys_are_made_of_what_they_are_of() {
        let keys = super::tests::keys("").unwrap();
        assert_eq!(keys.stock_of("tokyo"), ("stock:tokyo:".to_owned(), String::new()));
        assert_eq!(keys.reservation_of("tokyo", "A-1"), "reservation:tokyo:A-1");
        assert_eq!(keys.reservation_of("tokyo", "{mall}"), "reservation:tokyo:{mall}");
        let own = super::tests::keys("stock = 'p/{product}/left'\nreservation = '{order}@{mall}'").unwrap();
        assert_eq!(own.stock_of("tokyo"), ("p/".to_owned(), "/left".to_owned()));
        assert_eq!(own.reservation_of("tokyo", "A-1"), "A-1@tokyo");
    }

    #[test]
    fn a_key_that_two_malls_could_have_is_refused() {
        let shared = |text: &str, malls: &[&str]| keys(text).unwrap().shared_by(malls);
        for (text, malls) in [
            ("", &["a", "a-b", "a.b", "b", "a_", "reservation"][..]),
            ("stock = '{product}:{mall}'\nreservation = '{order}@{mall}'", &["a", "b-a", "ba"]),
            ("stock = 's-{mall}-{product}'", &["a", "b"]),
            ("stock = 's:{product}'\nreservation = 'r:{order}'", &["a"]),
        ] {
            assert_eq!(shared(text, malls), None, "{text}");
        }
        for (text, malls, problem) in [
            ("stock = 's:{product}'", &["a", "b"][..], "`stock.redis.stock` has no {mall}, but 2 malls"),
            ("reservation = 'r:{order}'", &["a", "b"], "`stock.redis.reservation` has no {mall}"),
            // `s-a-b-P1` is the product `b-P1` of the one, and `P1` of the other.
            (
                "stock = 's-{mall}-{product}'",
                &["x", "a", "a-b"],
                "a key of mall `a` can be one of mall `a-b` too",
            ),
            ("stock = '{product}-{mall}'", &["b-a", "a"], "a key of mall `b-a` can be one of mall `a` too"),
            ("stock = '{mall}{product}'", &["a", "ab"], "is `{mall}{product}`, by which a key of mall `a`"),
            ("stock = '{mall}{product}{mall}'", &["a"], "has {mall} more than once"),
            (
                "reservation = 'r.{mall}.{order}'",
                &["a", "a.b"],
                "`stock.redis.reservation` is `r.{mall}.{order}`",
            ),
        ] {
            let found = keys(text).map_or_else(Some, |keys| keys.shared_by(malls)).unwrap_or_default();
            assert!(found.contains(problem), "{text}: {found}");
        }
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
            (
                "hosts_outside_prod = ['redis:6379']",
                "`stock.redis.hosts_outside_prod` is not a list of hosts",
            ),
        ] {
            let error = keys(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
