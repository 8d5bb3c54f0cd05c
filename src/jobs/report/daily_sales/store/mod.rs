//! Computes a mall's day from its orders and refunds, and stores it, replacing what was stored for it.

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};

use crate::db::Db;
use crate::failure::Failure;
use crate::jobs::report::awaited::AwaitedColumns;
use crate::period::day_bounds;
use crate::shop::day_totals::{DayTotals, day_totals};
use crate::shop::malls::Mall;
use crate::values;

const BY_PRODUCT: &str = include_str!("by_product.sql");
const BY_PAYMENT_METHOD: &str = include_str!("by_payment_method.sql");

/// What is left of the sales once the refunds are taken off. A row of another program may hold an amount that no shop has.
fn net_amount(total: &DayTotals) -> anyhow::Result<i64> {
    total.gross_amount.checked_sub(total.refunded_amount).ok_or_else(|| {
        Failure::bad_input(format!(
            "the sales of {} and the refunds of {} in {} have no difference: look for a refund that cannot be",
            total.gross_amount, total.refunded_amount, total.currency
        ))
        .into()
    })
}

/// The run that computes the figures, with its time, and the data that they wait for.
pub(super) struct Computation {
    pub(super) run: i64,
    pub(super) now: DateTime<Utc>,
    pub(super) awaited: AwaitedColumns,
}

/// Replaces one mall's rows of the day.
pub(super) async fn replace_mall(
    db: &mut Db,
    computation: &Computation,
    day: NaiveDate,
    mall: &Mall,
) -> anyhow::Result<()> {
    let bounds = day_bounds(day, mall.time_zone()?);
    db.execute("DELETE FROM daily_sales WHERE business_day = $1 AND mall_id = $2", values![day, mall.id])
        .await?;
    db.execute(
        "DELETE FROM daily_sales_breakdown WHERE business_day = $1 AND mall_id = $2",
        values![day, mall.id],
    )
    .await?;
    for total in &day_totals(db, mall, &bounds).await? {
        insert_totals(
            db,
            computation,
            day,
            mall,
            total,
            bounds.end <= computation.now && !computation.awaited.is_awaiting(),
        )
        .await?;
    }
    db.execute(BY_PRODUCT, values![mall.id, bounds.start, bounds.end, day]).await?;
    db.execute(BY_PAYMENT_METHOD, values![mall.id, bounds.start, bounds.end, day]).await?;
    Ok(())
}

async fn insert_totals(
    db: &mut Db,
    computation: &Computation,
    day: NaiveDate,
    mall: &Mall,
    total: &DayTotals,
    is_final: bool,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO daily_sales (business_day, mall_id, currency, orders, items, gross_amount, discount_amount,
             shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount, average_order_amount,
             new_customers, returning_customers, refunds, is_final, execution_id, computed_at,
             awaited_subject, awaited_since, awaited_day, awaited_run)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $23)",
        values![
            day,
            mall.id,
            &total.currency,
            total.orders,
            total.items,
            total.gross_amount,
            total.discount_amount,
            total.shipping_amount,
            total.tax_amount,
            total.cancelled_orders,
            total.refunded_amount,
            net_amount(total)?,
            total.average_order_amount(),
            total.new_customers,
            total.returning_customers,
            total.refunds,
            is_final,
            computation.run,
            computation.now,
            computation.awaited.awaited_subject.as_deref(),
            computation.awaited.awaited_since,
            computation.awaited.awaited_day,
            computation.awaited.awaited_run,
        ],
    )
    .await?;
    Ok(())
}
