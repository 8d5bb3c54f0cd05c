//! Orders with their lines, as they are loaded: by `data import` from a file, by `mall sync` from a shop's pages.

use chrono::{DateTime, Utc};

use crate::{bulk_row, columns};

use super::with_lines::{HasLines, WithLines};

/// A chunk of orders and their lines.
pub type Orders = WithLines<StagedOrder<'static>>;

bulk_row! {
    /// An order. Amounts are minor units of its currency.
    pub struct StagedOrder<'r> => "staged_orders" {
        /// The mall's ID.
        mall_id: i64,
        /// Its number in the shop.
        order_no: &'r str,
        /// Who ordered; `None` for a guest.
        member_code: Option<&'r str>,
        /// Its status, as named in the schema.
        status: &'r str,
        /// The currency of its amounts.
        currency: &'r str,
        /// The total to pay.
        total_amount: i64,
        /// The discount.
        discount_amount: i64,
        /// The cost of shipping.
        shipping_amount: i64,
        /// The tax in the total.
        tax_amount: i64,
        /// Fees, such as for payment on delivery.
        fee_amount: i64,
        /// How it is paid, as the shop names it.
        payment_method: Option<&'r str>,
        /// When it was ordered.
        ordered_at: DateTime<Utc>,
        /// When it was paid.
        paid_at: Option<DateTime<Utc>>,
        /// When it was cancelled.
        cancelled_at: Option<DateTime<Utc>>,
        /// Why, in the shop's words.
        cancel_reason: Option<&'r str>,
        /// When its source last changed it.
        source_updated_at: Option<DateTime<Utc>>,
    }
}

bulk_row! {
    /// A line of an order. Amounts are minor units of the order's currency.
    pub struct StagedLine<'r> => "staged_order_lines" {
        /// What distinguishes it from the order's other lines.
        line_key: &'r str,
        /// The product's code.
        product_code: &'r str,
        /// The product's name.
        product_name: &'r str,
        /// The quantity.
        quantity: i64,
        /// The price of one piece.
        unit_price_amount: i64,
        /// The line's discount.
        discount_amount: i64,
        /// The tax in the line.
        tax_amount: i64,
        /// The line's total.
        line_amount: i64,
    }
}

impl HasLines for StagedOrder<'static> {
    type Line = StagedLine<'static>;
    const STORED_IN: &'static str = "orders";
    const KEY: &'static [&'static str] = columns![StagedOrder: mall_id, order_no];
    const LINES_STORED_IN: &'static str = "order_items";
    const REFERENCE: &'static str = "order_id";
    const NOTE_NEW: Option<&'static str> = Some(NOTE_NEW_ORDERS);
}

/// The hours of the new orders: an import touches few.
const NOTE_NEW_ORDERS: &str = "
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT DISTINCT mall_id, CASE WHEN member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, SUBSTR(paid_at, 1, 14) || '00:00+00:00'
    FROM staged_orders WHERE target_id IS NULL AND paid_at IS NOT NULL
    UNION ALL
    SELECT DISTINCT mall_id, 'CANCELLATION', SUBSTR(cancelled_at, 1, 14) || '00:00+00:00'
    FROM staged_orders WHERE target_id IS NULL AND cancelled_at IS NOT NULL";
