//! What a run would do: how many orders of each mall it would cancel, and how many units give back.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{DUE, bounded};
use crate::db::{Db, FromRow};
use crate::shop::malls::Mall;
use crate::values;
use crate::wording::counted;

/// What a run would do in a mall.
#[derive(Debug, FromRow)]
pub(super) struct Preview {
    mall_id: i64,
    orders: i64,
    units: i64,
}

impl Preview {
    /// "mall `main`: 12 orders would be cancelled, and 30 units given back"; `None` for a mall that is not among these.
    pub(super) fn sentence(&self, malls: &[Mall]) -> Option<String> {
        let mall = malls.iter().find(|mall| mall.id == self.mall_id)?;
        let orders = counted(self.orders, "order", "orders");
        let units = counted(self.units, "unit", "units");
        Some(format!("mall `{}`: {orders} would be cancelled, and {units} given back", mall.code))
    }
}

/// What a run would do in each of these malls that has orders to cancel.
pub(super) async fn of(
    db: &mut Db,
    malls: &[i64],
    until: DateTime<Utc>,
    limit: Option<u64>,
) -> anyhow::Result<Vec<Preview>> {
    let limit = limit.map_or(i64::MAX, bounded);
    Ok(db.fetch_all(&preview_sql(db), values![json!(malls), until, limit]).await?)
}

/// Units go back only to products that have a stock, and of a line that can be read. Each line and each product is looked up,
/// by construction.
pub(super) fn preview_sql(db: &Db) -> String {
    format!(
        "SELECT due.mall_id, COUNT(*) AS orders, CAST(COALESCE(SUM((
             SELECT SUM(i.quantity) FROM order_items i
             WHERE i.order_id = due.id AND i.quantity BETWEEN 0 AND 999999999
               AND (SELECT COUNT(*) FROM products product JOIN stock s ON s.product_id = product.id
                    WHERE product.mall_id = due.mall_id AND product.product_code = i.product_code) > 0
         )), 0) AS BIGINT) AS units
         FROM (SELECT o.id, o.mall_id FROM orders o WHERE o.mall_id IN {} AND {DUE} AND {} ORDER BY o.ordered_at, o.id LIMIT $3) due
         GROUP BY due.mall_id ORDER BY due.mall_id",
        db.numbers("$1"),
        db.is_time("o.ordered_at")
    )
}
