//! What several jobs share of the unified schema: malls, members who may receive mail, orders with their lines.

pub mod arrivals;
pub mod day_totals;
pub mod malls;
pub mod notifications;
pub mod orders;
pub mod recipients;
pub mod refunds;
pub mod stock_keys;
#[cfg(test)]
pub(crate) mod testing;
pub mod times;
pub mod tokens;
pub mod undated;
pub mod upsert;
pub mod with_lines;
