//! Stock as Redis holds it: what is at a product's key, which keys there are, and what orders have reserved.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use crate::clients::redis::{Invocation, Redis, RedisTrouble, Reply};
use crate::config::StockKeys;
use crate::failure::Failure;
use crate::printable::{escaped, shortened};

use super::reserved::Leak;

const READ: &str = include_str!("read.lua");
const IDLE: &str = include_str!("idle.lua");
const SCAN: &str = include_str!("scan.lua");
const RESERVED: &str = include_str!("reserved.lua");
const REPAIR: &str = include_str!("repair.lua");

/// Keys that one script reads: a tenth of a millisecond, between which others get their turn. Several scripts share an
/// exchange.
const READ_AT_ONCE: usize = 100;
/// Reservations that one script reads. Each may hold hundreds of products.
const RESERVATIONS_AT_ONCE: usize = 10;
/// Scripts of one exchange: what they return has to fit into memory, each as much as it may.
const RESERVATION_SCRIPTS: usize = 3;
/// More products are not one order's.
const MOST_PRODUCTS: &str = "1000";
/// What a reservation of so many products takes, with codes of a hundred characters.
const MOST_RESERVATION_BYTES: &str = "262144";
/// As many pieces of one product as an order may have reserved: what is more is not a reservation, as for `order expire`.
const MOST_UNITS: i64 = 999_999_999;
/// Keys that one step looks at, whether they match or not.
const SCANNED_AT_ONCE: &str = "1000";
/// A key of a code or an order's number that a row can have is shorter.
const LONGEST_KEY: &str = "4096";
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
        let limits = [SCANNED_AT_ONCE, LONGEST_KEY].map(str::to_owned);
        let arguments = [self.position.clone(), self.pattern.clone()].into_iter().chain(limits).collect();
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

/// When these reservations were last touched, in their order, as far as the server knows, and the time there. Touches none.
pub(super) async fn last_touched(
    redis: &mut Redis,
    keys: &[String],
) -> anyhow::Result<(DateTime<Utc>, Vec<Option<DateTime<Utc>>>)> {
    let invocations: Vec<Invocation> = keys
        .chunks(READ_AT_ONCE)
        .map(|keys| Invocation { keys: keys.to_vec(), arguments: Vec::new() })
        .collect();
    let mut touched = Vec::with_capacity(keys.len());
    let mut asked_at = DateTime::UNIX_EPOCH;
    for reply in run(redis, IDLE, &invocations).await? {
        let Reply::List(numbers) = reply else { return Err(strange().into()) };
        let Some((now, idle)) = numbers.split_first() else { return Err(strange().into()) };
        asked_at = instant(now)?;
        for seconds in idle {
            let Reply::Int(seconds) = seconds else { return Err(strange().into()) };
            let idle = u32::try_from(*seconds).ok();
            touched.push(idle.map(|idle| asked_at - TimeDelta::seconds(i64::from(idle))));
        }
    }
    anyhow::ensure!(touched.len() == keys.len(), strange());
    Ok((asked_at, touched))
}

/// A time of the server's.
fn instant(seconds: &Reply) -> Result<DateTime<Utc>, Failure> {
    let Reply::Int(seconds) = seconds else { return Err(strange()) };
    DateTime::from_timestamp(*seconds, 0).ok_or_else(strange)
}

/// What is at the key of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// The units of each product. None, if it is not a reservation.
    Units(BTreeMap<String, Units>),
    /// More than an order reserves, or under a name that cannot be written down.
    Unreadable,
}

/// Units of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) number: i64,
    /// As Redis has it.
    pub(super) text: String,
}

/// The reservations at these keys, in their order, and the time at the server after they were read. Units that are not a
/// number are left out.
pub(super) async fn reservations(
    redis: &mut Redis,
    keys: &[String],
) -> anyhow::Result<(DateTime<Utc>, Vec<Contents>)> {
    let arguments = [MOST_PRODUCTS, MOST_RESERVATION_BYTES].map(str::to_owned);
    let mut found = Vec::with_capacity(keys.len());
    let mut read_at = DateTime::UNIX_EPOCH;
    for exchange in keys.chunks(RESERVATIONS_AT_ONCE * RESERVATION_SCRIPTS) {
        let invocations: Vec<Invocation> = exchange
            .chunks(RESERVATIONS_AT_ONCE)
            .map(|keys| Invocation { keys: keys.to_vec(), arguments: arguments.to_vec() })
            .collect();
        for reply in run(redis, RESERVED, &invocations).await? {
            let Reply::List(mut replies) = reply else { return Err(strange().into()) };
            anyhow::ensure!(!replies.is_empty(), strange());
            let reservations = replies.split_off(1);
            read_at = instant(&replies[0])?;
            for reservation in reservations {
                let key = keys.get(found.len()).ok_or_else(strange)?;
                found.push(Contents::parse(key, reservation)?);
            }
        }
    }
    anyhow::ensure!(found.len() == keys.len(), strange());
    Ok((read_at, found))
}

impl Contents {
    fn parse(key: &str, reply: Reply) -> Result<Self, Failure> {
        // What is not UTF-8 has lost its bytes on the way: what was read is what another key has.
        if key.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(Self::Unreadable);
        }
        let fields = match reply {
            Reply::List(fields) => fields,
            Reply::Text(word) if word == "LARGE" => return Ok(Self::Unreadable),
            _ => return Err(strange()),
        };
        let pairs = fields.chunks(2).filter_map(|pair| match pair {
            [Reply::Text(product), Reply::Text(text)] => {
                let number = text.parse().ok().filter(|number| (0..=MOST_UNITS).contains(number))?;
                Some((product.clone(), Units { number, text: text.clone() }))
            }
            _ => None,
        });
        Ok(Self::Units(pairs.collect()))
    }
}

/// A stock to replace, if it is still what it was.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pub(super) key: String,
    /// The product, as reservations name it.
    pub(super) product: String,
    pub(super) was: Stored,
    /// `None` to delete the key.
    pub(super) becomes: Option<i64>,
    /// Orphaned reservations whose units are part of what it becomes.
    pub(super) reservations: Vec<Leak>,
}

/// What became of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReplaceResult {
    Done,
    /// The key is not what it was.
    Moved,
    /// Redis says why not.
    Refused(String),
}

/// Replaces stocks, each only if it is still what it was.
pub(super) async fn replace(
    redis: &mut Redis,
    replacements: &[Replacement],
) -> anyhow::Result<Vec<ReplaceResult>> {
    if replacements.is_empty() {
        return Ok(Vec::new());
    }
    let invocations: Vec<Invocation> = replacements.iter().map(Replacement::invocation).collect();
    let replies = redis.run_each(REPAIR, &invocations).await?;
    let mut results = Vec::with_capacity(replies.len());
    for reply in replies {
        results.push(match reply {
            Ok(Reply::List(words)) if words == [Reply::Text("DONE".to_owned())] => ReplaceResult::Done,
            Ok(Reply::List(words)) if words == [Reply::Text("MOVED".to_owned())] => ReplaceResult::Moved,
            Ok(_) => return Err(strange().into()),
            Err(RedisTrouble::Server(failure)) => return Err(failure.into()),
            Err(RedisTrouble::Script(problem)) => ReplaceResult::Refused(problem),
        });
    }
    Ok(results)
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
            keys: std::iter::once(&self.key)
                .chain(self.reservations.iter().map(|leak| &leak.key))
                .cloned()
                .collect(),
            arguments: [kind.to_owned(), text, becomes, self.product.clone()]
                .into_iter()
                .chain(self.reservations.iter().map(|leak| leak.units.clone()))
                .collect(),
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
    let each = replies.into_iter().map(|reply| reply.map_err(Failure::from));
    each.collect::<Result<_, _>>().context("failed to read stock from Redis")
}

fn strange() -> Failure {
    Failure::try_later("Redis gave an answer that its script does not return")
        .symptom("Redis cannot be used")
        .hint("is it a Redis? Otherwise correct BATCHCTL_REDIS_URL")
        .retry_once("once Redis answers again")
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
        let (before, after) = keys.reservations_of(mall);
        Self { before, after }
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
