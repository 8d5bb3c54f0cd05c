//! What orders have reserved in Redis that the database does not count: an order that is not stored yet, or one that was
//! cancelled and whose reservation is not given back yet. Redis has so much less, and that is as it should be.
//!
//! Whether anybody still needs a reservation without an order is known by when it was last touched, which Redis forgets once
//! it is read. So it is asked before, and kept (`touched`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::clients::redis::Redis;
use crate::db::{Db, FromRow, StoredText};
use crate::values;

use super::comparison::Place;
use super::store::{Contents, Walk, last_touched, reservations};
use super::touched;

/// Reservations that are looked at together: a few statements, and a few exchanges with Redis.
const BATCH: usize = 500;

/// When a reservation is orphaned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) now: DateTime<Utc>,
    /// After so long without an order, or so long after its cancellation.
    pub(super) leaked_after: Duration,
}

/// What is reserved of a product.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By orders that the database does not count, and that somebody still knows.
    pub(super) units: i128,
    /// Which reservations these are, and how many units of it each holds.
    pub(super) by: BTreeMap<String, i64>,
    /// The orphaned reservations.
    pub(super) leaked: Vec<Leak>,
}

/// An orphaned reservation of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leak {
    /// The key of the reservation.
    pub(super) key: String,
    /// How many units of the product it holds, as Redis has them.
    pub(super) units: String,
}

/// What is known of the order of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderStanding {
    /// The database counts it.
    Counted,
    /// It does not, and the reservation will be given back.
    Pending,
    /// It does not, and nobody will.
    Abandoned,
}

/// Which products a survey asks about.
#[derive(Debug)]
pub(super) enum Scope {
    /// All of them; orphaned reservations of these alone.
    All(HashSet<String>),
    /// These.
    Only(HashSet<String>),
}

impl Scope {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Only(products) if products.is_empty())
    }

    fn asks_for_units(&self, product: &str) -> bool {
        match self {
            Self::All(_) => true,
            Self::Only(products) => products.contains(product),
        }
    }

    fn asks_for_leaks(&self, product: &str) -> bool {
        match self {
            Self::All(products) | Self::Only(products) => products.contains(product),
        }
    }
}

/// A walk over the reservations of a mall, step by step.
pub(super) struct Survey {
    orders: Orders,
    scope: Scope,
    walk: Walk,
    /// Keys that the walk has met, and that are not looked at yet.
    met: Vec<String>,
    /// A walk may meet a key twice.
    seen: HashSet<String>,
    /// When the first of them was read, by Redis's clock.
    begun_at: Option<DateTime<Utc>>,
    /// What is reserved of each product by orders that the database does not count.
    pub(super) held: BTreeMap<String, Held>,
    /// The keys of reservations that cannot be read.
    pub(super) unread: Vec<String>,
}

impl Survey {
    /// Of what is reserved.
    pub(super) fn of(orders: Orders, place: &Place, scope: Scope) -> Self {
        Self {
            orders,
            scope,
            walk: Walk::over(place.reservations.pattern()),
            met: Vec::new(),
            seen: HashSet::new(),
            begun_at: None,
            held: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    /// Does the next step; whether it was the last one.
    pub(super) async fn step(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        place: &Place,
    ) -> anyhow::Result<bool> {
        if self.scope.is_empty() {
            return Ok(true);
        }
        if self.met.len() < BATCH
            && let Some(keys) = self.walk.next(redis).await?
        {
            for key in keys {
                if place.reservations.name(&key).is_some() && self.seen.insert(key.clone()) {
                    self.met.push(key);
                }
            }
            return Ok(false);
        }
        if self.met.is_empty() {
            touched::forget(db, &place.mall, self.begun_at).await?;
            return Ok(true);
        }
        let rest = self.met.split_off(self.met.len().min(BATCH));
        let batch = std::mem::replace(&mut self.met, rest);
        self.read(db, redis, place, batch).await?;
        Ok(false)
    }

    /// Adds what these reservations hold.
    async fn read(
        &mut self,
        db: &mut Db,
        redis: &mut Redis,
        place: &Place,
        mut keys: Vec<String>,
    ) -> anyhow::Result<()> {
        // Before the orders: one that is stored in between is known.
        let (asked_at, touches) = last_touched(redis, &keys).await?;
        self.begun_at.get_or_insert(asked_at);
        let mut touches: HashMap<String, Option<DateTime<Utc>>> = keys.iter().cloned().zip(touches).collect();
        let standings = self.orders.standings(db, place, &keys).await?;
        keys.retain(|key| standings.get(key) != Some(&OrderStanding::Counted));
        touches.retain(|key, _| !standings.contains_key(key));
        touched::recall(db, &place.mall, &mut touches).await?;
        let (read_at, contents) = reservations(redis, &keys).await?;
        touched::remember(db, &place.mall, &touches, read_at).await?;
        for (key, contents) in keys.into_iter().zip(contents) {
            let units = match contents {
                Contents::Units(units) => units,
                Contents::Unreadable => {
                    self.unread.push(key);
                    continue;
                }
            };
            let standing = standings
                .get(&key)
                .copied()
                .unwrap_or_else(|| self.orders.unknown(asked_at, touches.get(&key).copied().flatten()));
            for (product, units) in units {
                match standing {
                    OrderStanding::Abandoned if self.scope.asks_for_leaks(&product) => {
                        let leak = Leak { key: key.clone(), units: units.text };
                        self.held.entry(product).or_default().leaked.push(leak);
                    }
                    OrderStanding::Abandoned => {}
                    _ if self.scope.asks_for_units(&product) && units.number > 0 => {
                        let of_product = self.held.entry(product).or_default();
                        of_product.units += i128::from(units.number);
                        of_product.by.insert(key.clone(), units.number);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Orders {
    /// A reservation whose order does not exist: one that is about to be placed, unless nobody has touched it for long.
    fn unknown(self, now: DateTime<Utc>, touched_at: Option<DateTime<Utc>>) -> OrderStanding {
        match touched_at {
            Some(touched_at) if (now - touched_at).to_std().is_ok_and(|idle| idle >= self.leaked_after) => {
                OrderStanding::Abandoned
            }
            _ => OrderStanding::Pending,
        }
    }

    /// Those of these keys of orphaned reservations whose orders somebody has placed or taken up again since.
    pub(super) async fn taken_up(
        self,
        db: &mut Db,
        place: &Place,
        keys: &[String],
    ) -> anyhow::Result<HashSet<String>> {
        let standings = self.standings(db, place, keys).await?;
        let taken_up = standings.into_iter().filter(|(_, standing)| *standing != OrderStanding::Abandoned);
        Ok(taken_up.map(|(key, _)| key).collect())
    }

    /// The standing of the orders of these reservations, by their keys; without those whose order does not exist.
    async fn standings(
        self,
        db: &mut Db,
        place: &Place,
        keys: &[String],
    ) -> anyhow::Result<HashMap<String, OrderStanding>> {
        #[derive(FromRow)]
        struct Known {
            order_no: StoredText,
            is_cancelled: bool,
            is_old: bool,
            is_waiting: bool,
        }
        // No text of PostgreSQL has a NUL.
        let numbers = keys.iter().filter_map(|key| place.reservations.name(key));
        let numbers: Vec<&str> = numbers.filter(|number| !number.contains('\0')).collect();
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT o.order_no, o.status = 'ORDER_CANCELLED' AS is_cancelled,
                    COALESCE(o.cancelled_at <= $3, TRUE) AS is_old,
                    EXISTS (SELECT 1 FROM stock_releases r WHERE r.order_id = o.id AND r.state = 'WAITING') AS is_waiting
             FROM orders o WHERE o.mall_id = $1 AND o.order_no IN {}",
            db.elements("$2")
        );
        let before = self.now - self.leaked_after;
        let orders: Vec<Known> = db.fetch_all(&sql, values![place.mall.id, json!(numbers), before]).await?;
        let standing = |order: &Known| match (order.is_cancelled, order.is_waiting, order.is_old) {
            (false, ..) => OrderStanding::Counted,
            (true, false, true) => OrderStanding::Abandoned,
            (true, ..) => OrderStanding::Pending,
        };
        Ok(orders
            .into_iter()
            .map(|order| (place.reservations.key(order.order_no.shown()), standing(&order)))
            .collect())
    }
}
