//! Stock as Redis holds it: what is at a product's key, which keys there are, and what orders have reserved.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::clients::redis::{Invocation, Redis, RedisTrouble, Reply};
use crate::config::StockKeys;
use crate::failure::Failure;
use crate::printable::{escaped, shortened};

const READ: &str = include_str!("read.lua");
const SCAN: &str = include_str!("scan.lua");
const RESERVED: &str = include_str!("reserved.lua");
const REPAIR: &str = include_str!("repair.lua");

/// Keys that one script reads: a tenth of a millisecond, between which others get their turn. Several scripts share an
/// exchange.
const READ_AT_ONCE: usize = 100;
/// Reservations that one script reads. Each may hold hundreds of products.
const RESERVATIONS_AT_ONCE: usize = 25;
/// Keys that one step looks at, whether they match or not.
const SCANNED_AT_ONCE: &str = "1000";
/// How much of a foreign text is shown.
const SHOWN_CHARACTERS: usize = 60;

/// What is stored at a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stored {
    /// Nothing.
    Missing,
    /// A number, as Redis itself writes and counts it.
    Number(i64),
    /// A text that is not one; `None` if it is too long to be read.
    Text(Option<String>),
    /// A value of another type, such as `hash`.
    Other(String),
}

impl Stored {
    fn parse(read: &str) -> Option<Self> {
        let mut characters = read.chars();
        let kind = characters.next()?;
        let rest = characters.as_str();
        Some(match kind {
            'n' => Self::Missing,
            'l' => Self::Text(None),
            't' => Self::Other(rest.to_owned()),
            's' => match rest.parse::<i64>() {
                // What Redis would not count with, such as `007`, is not a number here either.
                Ok(number) if number.to_string() == rest => Self::Number(number),
                _ => Self::Text(Some(rest.to_owned())),
            },
            _ => return None,
        })
    }

    /// For people, and for the table of differences.
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Number(number) => Some(number.to_string()),
            Self::Text(Some(text)) => Some(format!("\"{}\"", shortened(&escaped(text), SHOWN_CHARACTERS))),
            Self::Text(None) => Some("a long text".to_owned()),
            Self::Other(kind) => Some(format!("a {}", shortened(&escaped(kind), SHOWN_CHARACTERS))),
        }
    }
}

/// What is stored at each of these keys, in their order.
pub(super) async fn read(redis: &mut Redis, keys: &[String]) -> anyhow::Result<Vec<Stored>> {
    let invocations: Vec<Invocation> = keys
        .chunks(READ_AT_ONCE)
        .map(|keys| Invocation { keys: keys.to_vec(), arguments: Vec::new() })
        .collect();
    let mut found = Vec::with_capacity(keys.len());
    for reply in run(redis, READ, &invocations).await? {
        let Reply::List(values) = reply else { return Err(strange().into()) };
        for value in values {
            let Reply::Text(text) = value else { return Err(strange().into()) };
            found.push(Stored::parse(&text).ok_or_else(strange)?);
        }
    }
    // A complete answer is not necessarily a correct one.
    anyhow::ensure!(found.len() == keys.len(), strange());
    Ok(found)
}

/// A walk over the keys that match a pattern. It may meet a key twice, and one that comes or goes meanwhile not at all.
pub(super) struct Walk {
    pattern: String,
    position: String,
    is_over: bool,
}

impl Walk {
    pub(super) fn over(pattern: String) -> Self {
        Self { pattern, position: "0".to_owned(), is_over: false }
    }

    /// The next keys, of which there may be none; `None` at the end.
    pub(super) async fn next(&mut self, redis: &mut Redis) -> anyhow::Result<Option<Vec<String>>> {
        if self.is_over {
            return Ok(None);
        }
        let arguments = vec![self.position.clone(), self.pattern.clone(), SCANNED_AT_ONCE.to_owned()];
        let mut replies = run(redis, SCAN, &[Invocation { keys: Vec::new(), arguments }]).await?;
        let Some(Reply::List(mut reply)) = replies.pop() else { return Err(strange().into()) };
        let (Some(Reply::List(keys)), Some(Reply::Text(position))) = (reply.pop(), reply.pop()) else {
            return Err(strange().into());
        };
        self.is_over = position == "0";
        self.position = position;
        let texts = keys.into_iter().map(|key| match key {
            Reply::Text(key) => Ok(key),
            _ => Err(strange()),
        });
        Ok(Some(texts.collect::<Result<_, _>>()?))
    }
}

/// A reservation of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reservation {
    /// For how many seconds nobody has touched it; `None` where the server does not know.
    pub(super) idle_seconds: Option<u64>,
    /// The units of each product.
    pub(super) units: BTreeMap<String, i64>,
}

/// The reservations at these keys, in their order. Units that are not a number are left out.
pub(super) async fn reservations(redis: &mut Redis, keys: &[String]) -> anyhow::Result<Vec<Reservation>> {
    let invocations: Vec<Invocation> = keys
        .chunks(RESERVATIONS_AT_ONCE)
        .map(|keys| Invocation { keys: keys.to_vec(), arguments: Vec::new() })
        .collect();
    let mut found = Vec::with_capacity(keys.len());
    for reply in run(redis, RESERVED, &invocations).await? {
        let Reply::List(reservations) = reply else { return Err(strange().into()) };
        for reservation in reservations {
            let Reply::List(fields) = reservation else { return Err(strange().into()) };
            let Some((Reply::Int(idle), fields)) = fields.split_first() else { return Err(strange().into()) };
            let pairs = fields.chunks(2).filter_map(|pair| match pair {
                [Reply::Text(product), Reply::Text(units)] => Some((product.clone(), units.parse().ok()?)),
                _ => None,
            });
            found.push(Reservation {
                idle_seconds: u64::try_from(*idle).ok(),
                units: pairs.filter(|(_, units)| (0..=MOST_UNITS).contains(units)).collect(),
            });
        }
    }
    anyhow::ensure!(found.len() == keys.len(), strange());
    Ok(found)
}

/// As many pieces of one product as an order may have reserved: what is more is not a reservation, as for `order expire`.
const MOST_UNITS: i64 = 999_999_999;

/// A stock to replace, if it is still what it was.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pub(super) key: String,
    /// The product, as reservations name it.
    pub(super) product: String,
    pub(super) was: Stored,
    /// `None` to delete the key.
    pub(super) becomes: Option<i64>,
    /// The keys of reservations whose units are part of what it becomes.
    pub(super) reservations: Vec<String>,
}

/// What became of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The key is not what it was.
    Moved,
    /// Redis says why not.
    Refused(String),
}

/// Replaces stocks, each only if it is still what it was.
pub(super) async fn replace(redis: &mut Redis, replacements: &[Replacement]) -> anyhow::Result<Vec<Outcome>> {
    if replacements.is_empty() {
        return Ok(Vec::new());
    }
    let invocations: Vec<Invocation> = replacements.iter().map(Replacement::invocation).collect();
    let replies = redis.run_each(REPAIR, &invocations).await?;
    let mut outcomes = Vec::with_capacity(replies.len());
    for reply in replies {
        outcomes.push(match reply {
            Ok(Reply::List(words)) if words == [Reply::Text("DONE".to_owned())] => Outcome::Done,
            Ok(Reply::List(words)) if words == [Reply::Text("MOVED".to_owned())] => Outcome::Moved,
            Ok(_) => return Err(strange().into()),
            Err(RedisTrouble::Server(failure)) => return Err(failure.into()),
            Err(RedisTrouble::Script(problem)) => Outcome::Refused(problem),
        });
    }
    Ok(outcomes)
}

impl Replacement {
    fn invocation(&self) -> Invocation {
        let (kind, text) = match &self.was {
            Stored::Missing => ("none", String::new()),
            Stored::Number(number) => ("string", number.to_string()),
            Stored::Text(text) => ("string", text.clone().unwrap_or_default()),
            Stored::Other(kind) => (kind.as_str(), String::new()),
        };
        let becomes = self.becomes.map(|number| number.to_string()).unwrap_or_default();
        Invocation {
            keys: std::iter::once(&self.key).chain(&self.reservations).cloned().collect(),
            arguments: vec![kind.to_owned(), text, becomes, self.product.clone()],
        }
    }
}

/// Runs a script that cannot fail for one of its keys.
async fn run(
    redis: &mut Redis,
    script: &'static str,
    invocations: &[Invocation],
) -> anyhow::Result<Vec<Reply>> {
    if invocations.is_empty() {
        return Ok(Vec::new());
    }
    let replies = redis.run_each(script, invocations).await?;
    let each = replies.into_iter().map(|reply| {
        reply.map_err(|trouble| match trouble {
            RedisTrouble::Server(failure) => failure,
            RedisTrouble::Script(problem) => Failure::failed(format!("Redis refuses a script: {problem}")),
        })
    });
    each.collect::<Result<_, _>>().context("failed to read stock from Redis")
}

fn strange() -> Failure {
    Failure::failed("Redis gave an answer that its script does not return")
}

// ---------------------------------------------------------------- names of keys

/// What stands before and after the variable part of a mall's keys.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    before: String,
    after: String,
}

impl Naming {
    /// Of the stock of a mall's products.
    pub(super) fn of_stock(keys: &StockKeys, mall: &str) -> Self {
        let (before, after) = keys.stock_of(mall);
        Self { before, after }
    }

    /// Of the reservations of a mall's orders.
    pub(super) fn of_reservations(keys: &StockKeys, mall: &str) -> Self {
        // No key has a NUL: the configuration is checked.
        let key = keys.reservation_of(mall, "\0");
        let (before, after) = key.split_once('\0').unwrap_or((&key, ""));
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}{}", self.before, self.after)
    }

    /// The variable part of a key; `None` if it is another one's.
    pub(super) fn name<'k>(&self, key: &'k str) -> Option<&'k str> {
        let name = key.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        (!name.is_empty()).then_some(name)
    }

    /// The pattern by which Redis finds these keys.
    pub(super) fn pattern(&self) -> String {
        format!("{}*{}", literally(&self.before), literally(&self.after))
    }
}

/// A text as a pattern that matches nothing else.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_redis_counts_with_is_a_number() {
        let text = |text: &str| Stored::Text(Some(text.to_owned()));
        for (read, stored) in [
            ("n", Stored::Missing),
            ("s0", Stored::Number(0)),
            ("s-12", Stored::Number(-12)),
            ("s9223372036854775807", Stored::Number(i64::MAX)),
            ("s9223372036854775808", text("9223372036854775808")),
            ("s", text("")),
            ("s007", text("007")),
            ("s+1", text("+1")),
            ("s1.5", text("1.5")),
            ("s-0", text("-0")),
            ("l", Stored::Text(None)),
            ("thash", Stored::Other("hash".to_owned())),
        ] {
            assert_eq!(Stored::parse(read), Some(stored), "{read}");
        }
        assert_eq!(Stored::parse(""), None);
        assert_eq!(Stored::parse("x1"), None);
    }

    #[test]
    fn a_key_is_named_and_recognised_and_its_pattern_matches_nothing_else() {
        let keys = StockKeys::default();
        let stock = Naming::of_stock(&keys, "tokyo");
        assert_eq!(stock.key("P:1"), "stock:tokyo:P:1");
        assert_eq!(stock.name("stock:tokyo:P:1"), Some("P:1"));
        assert_eq!(stock.name("stock:tokyo2:P:1"), None);
        assert_eq!(stock.name("stock:tokyo:"), None);
        assert_eq!(stock.pattern(), "stock:tokyo:*");
        let reservations = Naming::of_reservations(&keys, "tokyo");
        assert_eq!(reservations.name("reservation:tokyo:A-1"), Some("A-1"));
        let odd = Naming { before: "s[1]*?\\".to_owned(), after: "^".to_owned() };
        assert_eq!(odd.pattern(), "s\\[1\\]\\*\\?\\\\*\\^");
    }
}
