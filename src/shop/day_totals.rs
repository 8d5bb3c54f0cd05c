//! What a mall sold on a business day, added up from its orders and refunds by one statement, so that its figures agree
//! whatever is committed meanwhile.

use crate::db::{Db, FromRow};
use crate::money::average_half_up;
use crate::period::DayBounds;
use crate::values;

use super::malls::Mall;

/// A row for each currency of `$1`'s sales, cancellations and refunds from `$2` until before `$3`.
pub(crate) const SQL: &str = include_str!("day_totals.sql");

/// The totals of a mall's day in one currency. Amounts are minor units of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct DayTotals {
    /// ISO 4217 code.
    pub currency: String,
    /// Orders that were paid that day.
    pub orders: i64,
    /// Units in them.
    pub items: i64,
    /// What their buyers paid.
    pub gross_amount: i64,
    /// Discounts in that.
    pub discount_amount: i64,
    /// Shipping in that.
    pub shipping_amount: i64,
    /// Tax in that.
    pub tax_amount: i64,
    /// Orders that were cancelled that day, paid or not.
    pub cancelled_orders: i64,
    /// Refunds made that day.
    pub refunds: i64,
    /// What they came to.
    pub refunded_amount: i64,
    /// Members whose first paid order was on that day.
    pub new_customers: i64,
    /// Members who had paid for another order before that day.
    pub returning_customers: i64,
}

impl DayTotals {
    /// None of anything.
    pub fn of_none(currency: &str) -> Self {
        Self { currency: currency.to_owned(), ..Self::default() }
    }

    /// What an order came to on average, half a unit rounded up.
    pub fn average_order_amount(&self) -> i64 {
        average_half_up(self.gross_amount, self.orders)
    }
}

/// The totals of a mall's day. A day without sales in the mall's own currency is a row of zeros: a missing one would mean
/// "not computed".
pub async fn day_totals(db: &mut Db, mall: &Mall, day: &DayBounds) -> anyhow::Result<Vec<DayTotals>> {
    let mut totals: Vec<DayTotals> = db.fetch_all(SQL, values![mall.id, day.start, day.end]).await?;
    if !totals.iter().any(|total| total.currency == mall.currency) {
        totals.push(DayTotals::of_none(&mall.currency));
    }
    Ok(totals)
}
