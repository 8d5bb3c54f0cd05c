//! Which products differ, and have differed for a while.
//!
//! Both sides move all the time, and no look at them is a look at one moment: an order takes its units from Redis first and
//! from the database a little later. So whatever differs at a first look is looked at again, several times: a difference
//! counts only if it is the same by the unit each time, in a look during which nothing moved. What orders have reserved that
//! the database does not know is no difference at all; where Redis has as much as the database although something is reserved,
//! that is one. Those products are looked at in a second round, since only the reservations tell which they are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::clients::redis::Redis;
use crate::config::{ReconcileConfig, StockKeys};
use crate::db::Db;
use crate::failure::Failure;
use crate::shop::malls::Mall;

use super::difference::Difference;
use super::doubt::{Tally, doubt, limit};
use super::looks::{Gap, Suspect, look};
use super::queries::{count_compared, count_products, existing, next_products, products_of_codes};
use super::reserved::{Held, Orders, Scope, Survey};
use super::store::{Naming, Stored, Walk, read};

/// How often a difference has to be the same. If a product were between its two steps every third time, all of these would
/// agree by chance once in a hundred million.
const SAMPLES: u32 = 10;
/// How often a product is looked at that moves meanwhile, before it is left to the next run.
const MOST_LOOKS: u32 = 3 * SAMPLES;
/// The most products that are looked at because their numbers differ, if they are more than is believed: some 20 MB. Whether
/// reservations explain so many is not asked.
const MOST_SUSPECTS: u64 = 100_000;

/// A mall, and how its keys are named.
pub(super) struct Place {
    pub(super) mall: Mall,
    pub(super) stock: Naming,
    pub(super) reservations: Naming,
    /// Whether the key of a stock says which mall it is of.
    pub(super) names_mall: bool,
    /// How the keys of all other malls are named.
    others: Vec<Naming>,
}

impl Place {
    /// `all` are the codes of all malls that there are.
    pub(super) fn new(keys: &StockKeys, mall: Mall, all: &[String]) -> Self {
        let stock = Naming::of_stock(keys, &mall.code);
        let reservations = Naming::of_reservations(keys, &mall.code);
        let names_mall = keys.names_mall_of_stock();
        let others = if names_mall { all } else { &[] };
        let others = others.iter().filter(|code| **code != mall.code);
        let others = others.map(|code| Naming::of_stock(keys, code)).collect();
        Self { mall, stock, reservations, names_mall, others }
    }

    /// Whether a key can be that of another mall's product.
    fn is_ambiguous(&self, key: &str) -> bool {
        self.others.iter().any(|other| other.name(key).is_some())
    }
}

/// How a difference is judged.
pub(super) struct Rules<'c> {
    pub(super) config: &'c ReconcileConfig,
    /// Whether any number of differences is believed.
    pub(super) accepts_all: bool,
    /// When a reservation is orphaned.
    pub(super) orders: Orders,
}

/// What was found in a mall.
#[derive(Debug, Default)]
pub(super) struct Found {
    suspects: Vec<Suspect>,
    /// How many of them no reservation explains: those without a number in Redis, and keys without a product.
    inexplicable: u64,
    /// What the first round has found reserved of the products of the second, by product and reservation.
    reserved: HashMap<String, BTreeMap<String, i64>>,
    /// The codes of products that are left to the next run.
    left: HashSet<String>,
    /// How many products were compared.
    pub(super) compared: u64,
    /// How many moved each time.
    pub(super) unsettled: u64,
    /// More differences than this are not believed.
    limit: u64,
    /// Why none of them is believed, if there are more.
    pub(super) doubt: Option<Failure>,
    pub(super) differences: Vec<Difference>,
    /// Products that cannot be compared, by their codes or numbers, and why.
    pub(super) unreadable: Vec<(String, Failure)>,
    /// The keys of reservations that cannot be read: what they hold is not known.
    pub(super) unread: Vec<String>,
}

enum Phase {
    Products { place: usize, after: Option<i64> },
    Keys { place: usize, walk: Walk },
    Looks { round: Round, taken: u32, has_paused: bool },
    Reservations { round: Round, place: usize, survey: Option<Box<Survey>> },
}

/// Which products are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Those whose numbers differ.
    Differing,
    /// Those whose numbers are the same, though something is reserved.
    Reserved,
}

/// How a comparison goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// With the next step.
    Next,
    /// With the next step, so much later.
    After(Duration),
    /// It is over.
    Over,
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
        Self { places, rules, found, phase: Phase::Products { place: 0, after: None } }
    }

    /// Does the next step, and says how to go on.
    pub(super) async fn step(&mut self, db: &mut Db, redis: &mut Redis) -> anyhow::Result<Step> {
        let places = self.places;
        match &mut self.phase {
            Phase::Products { place, after } => {
                let (index, after) = (*place, *after);
                self.phase = if index == places.len() {
                    keys_of(places, 0)
                } else {
                    match self.compare_page(db, redis, index, after).await? {
                        Some(last) => Phase::Products { place: index, after: Some(last) },
                        None => Phase::Products { place: index + 1, after: None },
                    }
                };
            }
            Phase::Keys { place, walk } => {
                let index = *place;
                if index == places.len() {
                    self.phase = Phase::Looks { round: Round::Differing, taken: 0, has_paused: false };
                } else if self.found[index].doubt.is_some() {
                    self.phase = keys_of(places, index + 1);
                } else if let Some(keys) = walk.next(redis).await? {
                    self.find_strays(db, redis, index, &keys).await?;
                } else {
                    self.phase = keys_of(places, index + 1);
                }
            }
            Phase::Looks { round, taken, has_paused } => {
                if *taken == MOST_LOOKS || !self.found.iter().any(Found::has_open) {
                    self.phase = Phase::Reservations { round: *round, place: 0, survey: None };
                } else if *has_paused {
                    *taken += 1;
                    *has_paused = false;
                    for (place, found) in places.iter().zip(&mut self.found) {
                        look(db, redis, place, &mut found.suspects, |one| one.steady < SAMPLES).await?;
                    }
                } else {
                    *has_paused = true;
                    return Ok(Step::After(self.rules.config.settle() / SAMPLES));
                }
            }
            Phase::Reservations { round, place, survey } => {
                let (round, index) = (*round, *place);
                if index == places.len() {
                    if round == Round::Differing && self.found.iter().any(Found::has_open) {
                        self.phase = Phase::Looks { round: Round::Reserved, taken: 0, has_paused: false };
                        return Ok(Step::Next);
                    }
                    self.doubt_too_many();
                    return Ok(Step::Over);
                }
                if self.found[index].doubt.is_some() {
                    self.phase = Phase::Reservations { round, place: index + 1, survey: None };
                    return Ok(Step::Next);
                }
                let mut survey = match survey.take() {
                    Some(survey) => survey,
                    None => Box::new(self.survey_of(round, index)),
                };
                let is_over = survey.step(db, redis, &places[index]).await?;
                self.phase = if is_over {
                    self.conclude(db, redis, round, index, *survey).await?;
                    Phase::Reservations { round, place: index + 1, survey: None }
                } else {
                    Phase::Reservations { round, place: index, survey: Some(survey) }
                };
            }
        }
        Ok(Step::Next)
    }

    /// How many products are compared in all malls.
    pub(super) async fn total(&self, db: &mut Db) -> anyhow::Result<u64> {
        let mut total = 0;
        for place in self.places {
            total += count_compared(db, &place.mall).await?;
        }
        Ok(total)
    }

    fn limit(&self, products: u64) -> u64 {
        limit(self.rules.config, self.rules.accepts_all, products)
    }

    /// Compares the next products of a mall; returns the last one, or nothing at the end.
    async fn compare_page(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        index: usize,
        after: Option<i64>,
    ) -> anyhow::Result<Option<i64>> {
        let place = &self.places[index];
        if after.is_none() {
            // Before all are compared, nobody knows how many they are: more than these cannot be.
            self.found[index].limit = self.limit(count_products(db, &place.mall).await?);
        }
        let page = next_products(db, &place.mall, after).await?;
        let Some(last) = page.last().map(|product| product.id) else {
            self.found[index].limit = self.limit(self.found[index].compared);
            self.doubt_the_incredible(index);
            return Ok(None);
        };
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
                found.inexplicable += u64::from(!matches!(stored, Stored::Number(_)));
                let (code, quantity) = (product.product_code, product.quantity);
                found.suspects.push(Suspect::new(Some(product.id), code, Some(quantity), stored));
            }
        }
        self.doubt_the_incredible(index);
        Ok(self.found[index].doubt.is_none().then_some(last))
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
        let known = existing(db, place, &codes.iter().copied().collect::<Vec<_>>()).await?;
        let found = &mut self.found[index];
        // A walk may meet a key twice.
        let noted: HashSet<String> =
            found.suspects.iter().filter(|one| one.product.is_none()).map(|one| one.code.clone()).collect();
        let unknown: Vec<&str> = codes
            .into_iter()
            .filter(|code| !known.contains(*code) && !noted.contains(*code))
            .filter(|code| !place.is_ambiguous(&place.stock.key(code)))
            .collect();
        let keys: Vec<String> = unknown.iter().map(|code| place.stock.key(code)).collect();
        for (code, stored) in unknown.into_iter().zip(read(redis, &keys).await?) {
            // What is not a number may be anything, and anybody's.
            if matches!(stored, Stored::Number(_)) {
                found.inexplicable += 1;
                found.suspects.push(Suspect::new(None, code.to_owned(), None, stored));
            }
        }
        self.doubt_the_incredible(index);
        Ok(())
    }

    /// Believes nothing of a mall of which so much differs that it is not the stock that is wrong, as soon as that is known:
    /// nobody has to wait for what an empty Redis has reserved.
    fn doubt_the_incredible(&mut self, index: usize) {
        let (found, mall) = (&mut self.found[index], &self.places[index].mall);
        if found.inexplicable > found.limit || found.suspects.len() as u64 > found.limit.max(MOST_SUSPECTS) {
            let tally = Tally::of(found.suspects.iter().map(|one| (one.product, &one.stored)));
            found.doubt = Some(doubt(mall, tally, found.compared));
            found.suspects = Vec::new();
        }
    }

    /// The same of what is left once all that is reserved is taken into account.
    fn doubt_too_many(&mut self) {
        for (place, found) in self.places.iter().zip(&mut self.found) {
            if found.differences.len() as u64 > found.limit {
                let tally = Tally::of(found.differences.iter().map(|one| (one.product, &one.stored)));
                found.doubt = Some(doubt(&place.mall, tally, found.compared));
                found.differences = Vec::new();
            }
        }
    }

    // ------------------------------------------------------------ what orders have reserved

    /// Leaves what has moved all the time to the next run, and begins to read what is reserved of the others.
    fn survey_of(&mut self, round: Round, index: usize) -> Survey {
        let found = &mut self.found[index];
        let (steady, moved): (Vec<Suspect>, Vec<Suspect>) =
            std::mem::take(&mut found.suspects).into_iter().partition(|suspect| suspect.steady >= SAMPLES);
        found.suspects = steady;
        found.leave(moved);
        let products = found.suspects.iter().filter(|suspect| suspect.product.is_some());
        let products = products.map(|suspect| suspect.code.clone()).collect();
        let scope = match round {
            Round::Differing => Scope::All(products),
            Round::Reserved => Scope::Only(products),
        };
        Survey::of(self.rules.orders, &self.places[index], scope)
    }

    /// Takes what orders have reserved into account, and makes differences of what is left.
    async fn conclude(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        round: Round,
        index: usize,
        survey: Survey,
    ) -> anyhow::Result<()> {
        let (place, found) = (&self.places[index], &mut self.found[index]);
        // What moved while the reservations were read is explained by other ones.
        let gaps: HashMap<(bool, String), Option<Gap>> =
            found.suspects.iter().map(|suspect| (suspect.name(), suspect.gap.clone())).collect();
        look(db, redis, place, &mut found.suspects, |_| true).await?;
        let (steady, moved): (Vec<Suspect>, Vec<Suspect>) = std::mem::take(&mut found.suspects)
            .into_iter()
            .partition(|suspect| gaps.get(&suspect.name()) == Some(&suspect.gap) && suspect.gap.is_some());
        found.leave(moved);
        let mut held: BTreeMap<String, Held> = survey.held;
        if round == Round::Differing {
            found.unread = survey.unread;
        }
        for suspect in steady {
            let Held { units, by, leaked } = match suspect.product {
                Some(_) => held.remove(&suspect.code).unwrap_or_default(),
                None => Held::default(),
            };
            let difference = Difference {
                place: index,
                product: suspect.product,
                key: place.stock.key(&suspect.code),
                code: suspect.code,
                quantity: suspect.quantity,
                stored: suspect.stored,
                held: units,
                leaked,
                is_held_known: found.unread.is_empty(),
            };
            // What Redis has less is reserved, as it should be.
            if difference.surplus() == Some(0) {
                continue;
            }
            // Both have as much most of the time: only what the same orders have reserved all the while is not just on its way.
            if round == Round::Reserved && found.reserved.get(&difference.code) != Some(&by) {
                found.unsettled += 1;
                continue;
            }
            found.differences.push(difference);
        }
        if round == Round::Differing {
            held.retain(|code, held| held.units > 0 && !found.left.contains(code));
            let codes: Vec<&str> =
                held.keys().map(String::as_str).filter(|code| !code.contains('\0')).collect();
            for product in products_of_codes(db, &place.mall, &codes).await? {
                if product.check().is_ok()
                    && let Some(held) = held.remove(&product.product_code)
                {
                    let (code, quantity) = (product.product_code, product.quantity);
                    found.reserved.insert(code.clone(), held.by);
                    let suspect =
                        Suspect::new(Some(product.id), code, Some(quantity), Stored::Number(quantity));
                    found.suspects.push(Suspect { is_reserved: true, ..suspect });
                }
            }
        }
        Ok(())
    }
}

fn keys_of(places: &[Place], place: usize) -> Phase {
    let pattern = places.get(place).map(|place| place.stock.pattern()).unwrap_or_default();
    Phase::Keys { place, walk: Walk::over(pattern) }
}

impl Found {
    fn has_open(&self) -> bool {
        self.suspects.iter().any(|suspect| suspect.steady < SAMPLES)
    }

    /// Leaves what has moved to the next run.
    fn leave(&mut self, moved: Vec<Suspect>) {
        self.unsettled += moved.len() as u64;
        self.left.extend(moved.into_iter().map(|suspect| suspect.code));
    }
}

impl Suspect {
    /// What distinguishes it from all others of its mall.
    fn name(&self) -> (bool, String) {
        (self.product.is_some(), self.code.clone())
    }
}
