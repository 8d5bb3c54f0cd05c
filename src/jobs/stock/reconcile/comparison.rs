//! Which products differ, and have differed for a while.
//!
//! Both sides move all the time, and no look at them is a look at one moment: an order takes its units from Redis first and
//! from the database a little later. So whatever differs at a first look is looked at again, several times: a difference
//! counts only if it is the same by the unit each time, in a look during which nothing moved. What orders have reserved that
//! the database does not know is no difference at all.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;

use crate::clients::redis::Redis;
use crate::config::{ReconcileConfig, StockKeys};
use crate::db::{Db, FromRow, Problems, StoredText};
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::values;
use crate::wording::counted;

use super::difference::Difference;
use super::reserved::{Held, Orders};
use super::store::{Naming, Stored, Walk, read};

/// Products of one look: one page of the database and one exchange with Redis, some milliseconds each.
const PAGE: i64 = 1000;
const PAGE_SIZE: usize = 1000;
/// How often a difference has to be the same. If a product were between its two steps every third time, all of these would
/// agree by chance once in a hundred million.
const SAMPLES: u32 = 10;
/// How often a product is looked at that moves meanwhile, before it is left to the next run.
const MOST_LOOKS: u32 = 3 * SAMPLES;
/// A longer code is not part of a key.
const LONGEST_CODE: usize = 1000;

/// A mall, and how its keys are named.
pub(super) struct Place {
    pub(super) mall: Mall,
    pub(super) stock: Naming,
    pub(super) reservations: Naming,
}

impl Place {
    pub(super) fn new(keys: &StockKeys, mall: Mall) -> Self {
        let stock = Naming::of_stock(keys, &mall.code);
        let reservations = Naming::of_reservations(keys, &mall.code);
        Self { mall, stock, reservations }
    }
}

/// How a difference is judged.
pub(super) struct Rules<'c> {
    pub(super) config: &'c ReconcileConfig,
    /// Whether any number of differences is believed.
    pub(super) accepts_all: bool,
    /// When an order must have been cancelled for its reservation to be nobody's.
    pub(super) orders: Orders,
}

/// A product that differs, or a key whose product does not exist.
#[derive(Debug, Clone)]
struct Suspect {
    product: Option<i64>,
    code: String,
    quantity: Option<i64>,
    stored: Stored,
    gap: Option<Gap>,
    /// How many looks in a row have found this gap.
    steady: u32,
}

/// How the two differ: what stays the same while units are sold.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gap {
    /// Redis has so many more, or fewer.
    Units(i128),
    /// Redis has no number.
    NotNumber(Stored),
    /// There is no such product.
    Stray(Stored),
}

/// What was found in a mall.
#[derive(Debug, Default)]
pub(super) struct Found {
    suspects: Vec<Suspect>,
    /// How many products were compared.
    pub(super) compared: u64,
    /// How many moved each time.
    pub(super) unsettled: u64,
    /// How many products are short of what orders have reserved, which is as it should be.
    pub(super) reserved: u64,
    /// More differences than this are not believed.
    limit: u64,
    pub(super) differences: Vec<Difference>,
    /// Products that cannot be compared, by their codes or numbers, and why.
    pub(super) unreadable: Vec<(String, Failure)>,
}

enum Phase {
    Products { place: usize, after: i64 },
    Keys { place: usize, walk: Walk },
    Looks { taken: u32 },
    Reservations,
}

/// A comparison of all malls, step by step, so that whoever runs it can stop between two of them.
pub(super) struct Comparison<'p> {
    places: &'p [Place],
    rules: Rules<'p>,
    pub(super) found: Vec<Found>,
    phase: Phase,
}

impl<'p> Comparison<'p> {
    pub(super) fn of(places: &'p [Place], rules: Rules<'p>) -> Self {
        let found = places.iter().map(|_| Found::default()).collect();
        Self { places, rules, found, phase: Phase::Products { place: 0, after: 0 } }
    }

    /// Does the next step; `false` if it was the last one. Fails if there are more differences than can be true.
    pub(super) async fn step(&mut self, db: &mut Db, redis: &mut Redis) -> anyhow::Result<bool> {
        match &mut self.phase {
            Phase::Products { place, .. } | Phase::Keys { place, .. } if *place == self.places.len() => {
                self.phase = Phase::Looks { taken: 0 };
            }
            Phase::Products { place, after } => {
                let (index, after) = (*place, *after);
                if after == 0 {
                    self.set_limit(db, index).await?;
                }
                self.phase = match self.compare_page(db, redis, index, after).await? {
                    Some(last) => Phase::Products { place: index, after: last },
                    None if index + 1 < self.places.len() => Phase::Products { place: index + 1, after: 0 },
                    None => self.keys_of(0),
                };
            }
            Phase::Keys { place, walk } => {
                let index = *place;
                match walk.next(redis).await? {
                    Some(keys) => self.find_strays(db, redis, index, &keys).await?,
                    None => self.phase = self.keys_of(index + 1),
                }
            }
            Phase::Looks { taken } => {
                *taken += 1;
                let are_over = *taken > MOST_LOOKS;
                if are_over || !self.look_again(db, redis).await? {
                    self.phase = Phase::Reservations;
                }
            }
            Phase::Reservations => {
                for index in 0..self.places.len() {
                    self.conclude(db, redis, index).await?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many products there are in all malls.
    pub(super) async fn total(&self, db: &mut Db) -> anyhow::Result<u64> {
        let mut total = 0;
        for place in self.places {
            total += count(db, &place.mall).await?;
        }
        Ok(total)
    }

    fn keys_of(&self, place: usize) -> Phase {
        let pattern = self.places.get(place).map(|place| place.stock.pattern()).unwrap_or_default();
        Phase::Keys { place, walk: Walk::over(pattern) }
    }

    async fn set_limit(&mut self, db: &mut Db, index: usize) -> anyhow::Result<()> {
        let config = self.rules.config;
        let products = count(db, &self.places[index].mall).await?;
        let percent = products.saturating_mul(u64::from(config.percent)) / 100;
        self.found[index].limit =
            if self.rules.accepts_all { u64::MAX } else { percent.max(u64::from(config.products)) };
        Ok(())
    }

    /// Compares the next products of a mall; returns the last one, or nothing at the end.
    async fn compare_page(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        index: usize,
        after: i64,
    ) -> anyhow::Result<Option<i64>> {
        let place = &self.places[index];
        let page = next_products(db, &place.mall, after).await?;
        let Some(last) = page.last().map(|product| product.id) else { return Ok(None) };
        let found = &mut self.found[index];
        let mut readable = Vec::with_capacity(page.len());
        for product in page {
            match product.check() {
                Ok(()) => readable.push(product),
                Err(failure) => found.unreadable.push((format!("product {}", product.id), failure)),
            }
        }
        let keys: Vec<String> =
            readable.iter().map(|product| place.stock.key(&product.product_code)).collect();
        found.compared += keys.len() as u64;
        for (product, stored) in readable.into_iter().zip(read(redis, &keys).await?) {
            if stored != Stored::Number(product.quantity) {
                found.suspects.push(Suspect {
                    product: Some(product.id),
                    code: product.product_code,
                    quantity: Some(product.quantity),
                    stored,
                    gap: None,
                    steady: 0,
                });
            }
        }
        self.refuse_the_incredible(index)?;
        Ok(Some(last))
    }

    /// Those of these keys whose products do not exist.
    async fn find_strays(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        index: usize,
        keys: &[String],
    ) -> anyhow::Result<()> {
        let place = &self.places[index];
        let codes: HashSet<&str> = keys.iter().filter_map(|key| place.stock.name(key)).collect();
        if codes.is_empty() {
            return Ok(());
        }
        let known = existing(db, &place.mall, &codes.iter().copied().collect::<Vec<_>>()).await?;
        let found = &mut self.found[index];
        // A walk may meet a key twice.
        let noted: HashSet<String> =
            found.suspects.iter().filter(|one| one.product.is_none()).map(|one| one.code.clone()).collect();
        let unknown: Vec<&str> =
            codes.into_iter().filter(|code| !known.contains(*code) && !noted.contains(*code)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = unknown.iter().map(|code| place.stock.key(code)).collect();
        for (code, stored) in unknown.into_iter().zip(read(redis, &keys).await?) {
            // What is not a number may be anything, and anybody's.
            if matches!(stored, Stored::Number(_)) {
                found.suspects.push(Suspect {
                    product: None,
                    code: code.to_owned(),
                    quantity: None,
                    stored,
                    gap: None,
                    steady: 0,
                });
            }
        }
        self.refuse_the_incredible(index)
    }

    /// Fails if so much of a mall differs that it is not the stock that is wrong.
    fn refuse_the_incredible(&self, index: usize) -> anyhow::Result<()> {
        let (found, mall) = (&self.found[index], &self.places[index].mall);
        let suspects = found.suspects.len() as u64;
        if suspects <= found.limit {
            return Ok(());
        }
        let strays = found.suspects.iter().filter(|one| one.product.is_none()).count() as u64;
        let missing = found
            .suspects
            .iter()
            .filter(|one| one.product.is_some() && one.stored == Stored::Missing)
            .count() as u64;
        let compared = counted(found.compared, "product", "products");
        let (what, hint) = if strays > missing {
            let keys = counted(strays, "key", "keys");
            (
                format!("{keys} have no product beside {compared}"),
                "is `stock` of `[stock.redis]` the right pattern?",
            )
        } else if missing == suspects {
            (
                format!("{missing} of {compared} compared so far have no key"),
                "was Redis emptied or restarted, is this the right Redis, and is `[stock.redis]` right?",
            )
        } else {
            (
                format!("{suspects} of {compared} compared so far differ, {missing} of them without a key"),
                "was Redis restored from an old copy, is this the right Redis, and is `[stock.redis]` right?",
            )
        };
        let accept = crate::wording::command(&["stock", "reconcile", "--mall", &mall.code, "--accept-all"]);
        Err(Failure::failed(format!(
            "the stock of mall `{}` in Redis is in doubt: {what}; nothing was repaired",
            mall.code
        ))
        .hint(format!("{hint} If the database is right: {accept}"))
        .into())
    }

    // ------------------------------------------------------------ the second look, and the others

    /// Looks again at everything that differs and is not certain; `false` if nothing is left to look at.
    async fn look_again(&mut self, db: &mut Db, redis: &mut Redis) -> anyhow::Result<bool> {
        if !self.found.iter().any(Found::has_open) {
            return Ok(false);
        }
        tokio::time::sleep(self.rules.config.settle() / SAMPLES).await;
        for (place, found) in self.places.iter().zip(&mut self.found) {
            look(db, redis, place, found, |suspect| suspect.steady < SAMPLES).await?;
        }
        Ok(true)
    }

    /// Takes what orders have reserved into account, and makes differences of what is left.
    async fn conclude(&mut self, db: &mut Db, redis: &mut Redis, index: usize) -> anyhow::Result<()> {
        let (place, found) = (&self.places[index], &mut self.found[index]);
        let before = found.suspects.len();
        found.suspects.retain(|suspect| suspect.steady >= SAMPLES);
        found.unsettled += (before - found.suspects.len()) as u64;
        if found.suspects.is_empty() {
            return Ok(());
        }
        let products: HashSet<&str> = found
            .suspects
            .iter()
            .filter(|suspect| suspect.product.is_some())
            .map(|suspect| suspect.code.as_str())
            .collect();
        let mut held = if products.is_empty() {
            BTreeMap::new()
        } else {
            self.rules.orders.held(db, redis, place, &products).await?
        };
        // What moved while the reservations were read is explained by other ones.
        let gaps: HashMap<String, Option<Gap>> =
            found.suspects.iter().map(|suspect| (suspect.code.clone(), suspect.gap.clone())).collect();
        look(db, redis, place, found, |_| true).await?;
        let (steady, moved): (Vec<Suspect>, Vec<Suspect>) = std::mem::take(&mut found.suspects)
            .into_iter()
            .partition(|suspect| gaps.get(&suspect.code) == Some(&suspect.gap) && suspect.gap.is_some());
        found.unsettled += moved.len() as u64;
        for suspect in steady {
            let Held { units, leaked } = held.remove(&suspect.code).unwrap_or_default();
            let difference = Difference {
                place: index,
                product: suspect.product,
                key: place.stock.key(&suspect.code),
                code: suspect.code,
                quantity: suspect.quantity,
                stored: suspect.stored,
                held: units,
                leaked,
            };
            if difference.surplus() == Some(0) {
                found.reserved += 1;
            } else {
                found.differences.push(difference);
            }
        }
        Ok(())
    }
}

impl Found {
    fn has_open(&self) -> bool {
        self.suspects.iter().any(|suspect| suspect.steady < SAMPLES)
    }
}

/// Looks at those suspects of a mall that are wanted. One that does not differ any more is dropped.
async fn look(
    db: &mut Db,
    redis: &mut Redis,
    place: &Place,
    found: &mut Found,
    is_wanted: impl Fn(&Suspect) -> bool,
) -> anyhow::Result<()> {
    let mut cleared = HashSet::new();
    let wanted: Vec<usize> =
        (0..found.suspects.len()).filter(|index| is_wanted(&found.suspects[*index])).collect();
    for page in wanted.chunks(PAGE_SIZE) {
        let keys: Vec<String> =
            page.iter().map(|index| place.stock.key(&found.suspects[*index].code)).collect();
        let before = read(redis, &keys).await?;
        let suspects: Vec<&Suspect> = page.iter().map(|index| &found.suspects[*index]).collect();
        let stock = StockNow::of(db, &place.mall, &suspects).await?;
        let after = read(redis, &keys).await?;
        for ((index, before), after) in page.iter().zip(before).zip(after) {
            let suspect = &mut found.suspects[*index];
            if before != after {
                suspect.gap = None;
                suspect.steady = 0;
                continue;
            }
            let gap = stock.gap(suspect, &after);
            suspect.quantity = suspect.product.and_then(|product| stock.quantities.get(&product).copied());
            suspect.stored = after;
            match gap {
                None => {
                    cleared.insert(*index);
                }
                gap if gap == suspect.gap => suspect.steady += 1,
                gap => {
                    suspect.gap = gap;
                    suspect.steady = 1;
                }
            }
        }
    }
    let mut index = 0;
    found.suspects.retain(|_| {
        index += 1;
        !cleared.contains(&(index - 1))
    });
    Ok(())
}

/// What the database says of some suspects.
struct StockNow {
    quantities: HashMap<i64, i64>,
    existing: HashSet<String>,
}

impl StockNow {
    async fn of(db: &mut Db, mall: &Mall, suspects: &[&Suspect]) -> anyhow::Result<Self> {
        let products: Vec<i64> = suspects.iter().filter_map(|suspect| suspect.product).collect();
        let strays: Vec<&str> = suspects
            .iter()
            .filter(|suspect| suspect.product.is_none())
            .map(|suspect| suspect.code.as_str())
            .collect();
        Ok(Self {
            quantities: if products.is_empty() { HashMap::new() } else { quantities(db, &products).await? },
            existing: if strays.is_empty() { HashSet::new() } else { existing(db, mall, &strays).await? },
        })
    }

    fn gap(&self, suspect: &Suspect, stored: &Stored) -> Option<Gap> {
        let Some(product) = suspect.product else {
            let is_stray = matches!(stored, Stored::Number(_)) && !self.existing.contains(&suspect.code);
            return is_stray.then(|| Gap::Stray(stored.clone()));
        };
        let quantity = *self.quantities.get(&product)?;
        match stored {
            Stored::Number(number) if *number == quantity => None,
            Stored::Number(number) => Some(Gap::Units(i128::from(*number) - i128::from(quantity))),
            _ => Some(Gap::NotNumber(stored.clone())),
        }
    }
}

// ---------------------------------------------------------------- the queries

/// A product that is compared: one that has a stock, and is still made.
#[derive(Debug, FromRow)]
struct InStock {
    id: i64,
    product_code: String,
    quantity: i64,
    #[row(problems)]
    problems: Problems,
}

impl InStock {
    fn check(&self) -> Result<(), Failure> {
        self.problems.check()?;
        if self.product_code.is_empty() {
            let problem = format!(
                "the column `product_code` of `products` is empty or longer than {LONGEST_CODE} bytes"
            );
            return Err(Failure::bad_input(problem));
        }
        Ok(())
    }
}

async fn next_products(db: &mut Db, mall: &Mall, after: i64) -> anyhow::Result<Vec<InStock>> {
    Ok(db.fetch_all(&next_products_sql(), values![mall.id, after, PAGE]).await?)
}

pub(super) fn next_products_sql() -> String {
    format!(
        "SELECT p.id, CASE WHEN OCTET_LENGTH(p.product_code) <= {LONGEST_CODE} THEN p.product_code ELSE '' END AS product_code,
                s.quantity
         FROM products p JOIN stock s ON s.product_id = p.id
         WHERE p.mall_id = $1 AND p.id > $2 AND p.status <> 'DISCONTINUED'
         ORDER BY p.id LIMIT $3"
    )
}

async fn count(db: &mut Db, mall: &Mall) -> anyhow::Result<u64> {
    let sql = "SELECT COUNT(*) FROM products WHERE mall_id = $1";
    let (count,): (i64,) = db.fetch_one(sql, values![mall.id]).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The stock of these products; without those that are not made any more.
pub(super) async fn quantities(db: &mut Db, products: &[i64]) -> anyhow::Result<HashMap<i64, i64>> {
    let sql = format!(
        "SELECT s.product_id, s.quantity FROM stock s JOIN products p ON p.id = s.product_id
         WHERE s.product_id IN {} AND p.status <> 'DISCONTINUED'",
        db.numbers("$1")
    );
    let rows: Vec<(i64, i64)> = db.fetch_all(&sql, values![json!(products)]).await?;
    Ok(rows.into_iter().collect())
}

/// Those of these codes of which there is a product.
async fn existing(db: &mut Db, mall: &Mall, codes: &[&str]) -> anyhow::Result<HashSet<String>> {
    let sql = format!(
        "SELECT product_code FROM products WHERE mall_id = $1 AND product_code IN {}",
        db.elements("$2")
    );
    // No text of PostgreSQL has a NUL.
    let codes: Vec<&&str> = codes.iter().filter(|code| !code.contains('\0')).collect();
    let rows: Vec<(StoredText,)> = db.fetch_all(&sql, values![mall.id, json!(codes)]).await?;
    Ok(rows.into_iter().map(|(code,)| code.shown().to_owned()).collect())
}
