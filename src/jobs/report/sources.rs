//! Which data has ever come: a figure without a source is a dash, and not 0.

use crate::db::Db;
use crate::values;

/// Whether a reported order of a mall has ever stated a tax: otherwise its prices may contain one that nobody knows.
pub async fn has_tax(db: &mut Db, mall: i64) -> anyhow::Result<bool> {
    // In the stored figures, of which there is a row a day.
    let sql = "SELECT EXISTS (SELECT 1 FROM daily_sales WHERE mall_id = $1 AND tax_amount <> 0)";
    let (has_tax,): (bool,) = db.fetch_one(sql, values![mall]).await?;
    Ok(has_tax)
}

/// Whether an order of a mall has ever named its customer: otherwise it is not known who is new.
pub async fn has_customers(db: &mut Db, mall: i64) -> anyhow::Result<bool> {
    let (has_customers,): (bool,) = db
        .fetch_one(
            "SELECT EXISTS (SELECT 1 FROM orders
                            WHERE mall_id = $1 AND member_code IS NOT NULL AND paid_at IS NOT NULL)",
            values![mall],
        )
        .await?;
    Ok(has_customers)
}
