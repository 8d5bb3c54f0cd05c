//! What orders have reserved in Redis that the database does not count: an order that is not stored yet, or one that was
//! cancelled and whose reservation is not given back yet. Redis has so much less, and that is as it should be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::clients::redis::Redis;
use crate::db::{Db, FromRow, StoredText};
use crate::values;

use super::comparison::Place;
use super::store::{Walk, reservations};

/// When a reservation is nobody's.
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
    /// The keys of reservations that are nobody's.
    pub(super) leaked: Vec<String>,
}

/// What is known of the order of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The database counts it.
    Counted,
    /// It does not, and the reservation will be given back.
    Pending,
    /// It does not, and nobody will.
    Abandoned,
}

impl Orders {
    /// What is reserved of these products by orders that the database does not count.
    pub(super) async fn held(
        self,
        db: &mut Db,
        redis: &mut Redis,
        place: &Place,
        products: &HashSet<&str>,
    ) -> anyhow::Result<BTreeMap<String, Held>> {
        let mut held: BTreeMap<String, Held> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut walk = Walk::over(place.reservations.pattern());
        while let Some(mut keys) = walk.next(redis).await? {
            keys.retain(|key| place.reservations.name(key).is_some());
            if keys.is_empty() {
                continue;
            }
            let found = reservations(redis, &keys).await?;
            let of_products: Vec<_> = keys
                .into_iter()
                .zip(found)
                .filter(|(_, reservation)| {
                    reservation.units.keys().any(|product| products.contains(product.as_str()))
                })
                // A walk may meet a key twice.
                .filter(|(key, _)| seen.insert(key.clone()))
                .collect();
            if of_products.is_empty() {
                continue;
            }
            let numbers: Vec<&str> =
                of_products.iter().filter_map(|(key, _)| place.reservations.name(key)).collect();
            let standings = self.standings(db, place, &numbers).await?;
            for (key, reservation) in &of_products {
                let number = place.reservations.name(key).unwrap_or_default();
                let standing =
                    standings.get(number).copied().unwrap_or_else(|| self.unknown(reservation.idle_seconds));
                for (product, units) in &reservation.units {
                    if !products.contains(product.as_str()) || standing == Standing::Counted {
                        continue;
                    }
                    let of_product = held.entry(product.clone()).or_default();
                    match standing {
                        Standing::Pending => of_product.units += i128::from(*units),
                        _ => of_product.leaked.push(key.clone()),
                    }
                }
            }
        }
        Ok(held)
    }

    /// A reservation whose order does not exist: one that is about to be placed, unless nobody has touched it for long.
    fn unknown(self, idle_seconds: Option<u64>) -> Standing {
        match idle_seconds {
            Some(idle) if idle >= self.leaked_after.as_secs() => Standing::Abandoned,
            _ => Standing::Pending,
        }
    }

    /// The standing of those of these orders that exist.
    async fn standings(
        self,
        db: &mut Db,
        place: &Place,
        numbers: &[&str],
    ) -> anyhow::Result<HashMap<String, Standing>> {
        #[derive(FromRow)]
        struct Known {
            order_no: StoredText,
            is_cancelled: bool,
            is_old: bool,
            is_waiting: bool,
        }
        let sql = format!(
            "SELECT o.order_no, o.status = 'ORDER_CANCELLED' AS is_cancelled,
                    COALESCE(o.cancelled_at <= $3, TRUE) AS is_old,
                    EXISTS (SELECT 1 FROM stock_releases r WHERE r.order_id = o.id AND r.state = 'WAITING') AS is_waiting
             FROM orders o WHERE o.mall_id = $1 AND o.order_no IN {}",
            db.elements("$2")
        );
        let before = self.now - self.leaked_after;
        // No text of PostgreSQL has a NUL.
        let numbers: Vec<&&str> = numbers.iter().filter(|number| !number.contains('\0')).collect();
        let orders: Vec<Known> = db.fetch_all(&sql, values![place.mall.id, json!(numbers), before]).await?;
        let standing = |order: &Known| match (order.is_cancelled, order.is_waiting, order.is_old) {
            (false, ..) => Standing::Counted,
            (true, false, true) => Standing::Abandoned,
            (true, ..) => Standing::Pending,
        };
        Ok(orders.into_iter().map(|order| (order.order_no.shown().to_owned(), standing(&order))).collect())
    }
}
