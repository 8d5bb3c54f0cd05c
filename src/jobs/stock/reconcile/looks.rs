//! Looks at products that seem to differ: what both sides have at one moment.

use std::collections::{HashMap, HashSet};

use crate::clients::redis::Redis;
use crate::db::Db;

use super::comparison::Place;
use super::queries::{existing, quantities};
use super::store::{Stored, read};

/// Products of one look: one statement and one exchange with Redis, some milliseconds each.
const PAGE_SIZE: usize = 1000;

/// A product that differs, or a key whose product does not exist.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) product: Option<i64>,
    pub(super) code: String,
    pub(super) quantity: Option<i64>,
    pub(super) stored: Stored,
    pub(super) gap: Option<Gap>,
    /// How many looks in a row have found this gap.
    pub(super) steady: u32,
    /// Whether it is reserved by orders that the database does not count: then it is wrong that both have as much.
    pub(super) is_reserved: bool,
}

impl Suspect {
    /// Of a product, or a key without one, that was not looked at yet.
    pub(super) fn new(product: Option<i64>, code: String, quantity: Option<i64>, stored: Stored) -> Self {
        Self { product, code, quantity, stored, gap: None, steady: 0, is_reserved: false }
    }
}

/// How the two differ: what stays the same while units are sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    /// Redis has so many more, or fewer.
    Units(i128),
    /// Redis has no number.
    NotNumber(Stored),
    /// There is no such product.
    Stray(Stored),
}

/// Looks at those suspects of a mall that are wanted. One that does not differ any more is dropped.
pub(super) async fn look(
    db: &mut Db,
    redis: &mut Redis,
    place: &Place,
    suspects: &mut Vec<Suspect>,
    is_wanted: impl Fn(&Suspect) -> bool,
) -> anyhow::Result<()> {
    let mut cleared = HashSet::new();
    let wanted: Vec<usize> = (0..suspects.len()).filter(|index| is_wanted(&suspects[*index])).collect();
    for page in wanted.chunks(PAGE_SIZE) {
        let keys: Vec<String> = page.iter().map(|index| place.stock.key(&suspects[*index].code)).collect();
        let before = read(redis, &keys).await?;
        let looked_at: Vec<&Suspect> = page.iter().map(|index| &suspects[*index]).collect();
        let stock = StockNow::of(db, place, &looked_at).await?;
        let after = read(redis, &keys).await?;
        for ((index, before), after) in page.iter().zip(before).zip(after) {
            let suspect = &mut suspects[*index];
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
    suspects.retain(|_| {
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
    async fn of(db: &mut Db, place: &Place, suspects: &[&Suspect]) -> anyhow::Result<Self> {
        let products: Vec<i64> = suspects.iter().filter_map(|suspect| suspect.product).collect();
        let strays: Vec<&str> = suspects
            .iter()
            .filter(|suspect| suspect.product.is_none())
            .map(|suspect| suspect.code.as_str())
            .collect();
        Ok(Self {
            quantities: quantities(db, &products).await?,
            existing: existing(db, place, &strays).await?,
        })
    }

    fn gap(&self, suspect: &Suspect, stored: &Stored) -> Option<Gap> {
        let Some(product) = suspect.product else {
            let is_stray = matches!(stored, Stored::Number(_)) && !self.existing.contains(&suspect.code);
            return is_stray.then(|| Gap::Stray(stored.clone()));
        };
        let quantity = *self.quantities.get(&product)?;
        match stored {
            Stored::Number(number) if *number == quantity && !suspect.is_reserved => None,
            Stored::Number(number) => Some(Gap::Units(i128::from(*number) - i128::from(quantity))),
            _ => Some(Gap::NotNumber(stored.clone())),
        }
    }
}
