//! The figures, against what the same rows come to in plain Rust, and in cases small enough to see through.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::{report, sorted, stored};
use crate::support::{Line, Mall, Order, Refund, Shop, on_both_databases};

on_both_databases![
    the_figures_are_right_around_the_day_on_which_clocks_go_back,
    the_figures_are_right_around_the_day_on_which_clocks_go_forward,
    a_day_without_sales_is_a_row_of_zeros,
    a_day_without_sales_in_the_malls_own_currency_has_a_row_of_zeros_for_it,
    an_order_paid_yesterday_and_cancelled_today_counts_in_each_day_once,
    a_partial_refund_counts_on_its_own_day_and_for_its_product,
    an_order_that_is_not_paid_is_no_sale,
    an_order_at_midnight_belongs_to_the_new_day,
    an_average_of_half_a_unit_is_rounded_up,
    a_day_of_25_hours_has_all_of_them,
    a_day_of_23_hours_has_no_more_of_them,
    a_refund_of_an_unknown_product_is_kept_under_its_code,
    a_product_on_two_lines_of_an_order_is_one_order,
    a_guest_is_neither_a_new_nor_a_returning_customer,
    a_member_of_one_mall_is_new_in_another,
];

// ---------------------------------------------------------------- a second opinion

/// The columns that `daily_sales` and `daily_sales_breakdown` share.
const MEASURES: &str = "orders, items, gross_amount, discount_amount, shipping_amount, tax_amount, cancelled_orders, \
                        refunded_amount, net_amount, new_customers, returning_customers";
/// Those of them that add up: an order of two products is one order in all, but one of each product.
const MONEY: &str = "SUM(gross_amount), SUM(discount_amount), SUM(shipping_amount), SUM(tax_amount), \
                     SUM(refunded_amount), SUM(net_amount)";

/// How many days the made-up shops are reported on.
const DAYS: u64 = 14;
/// How many orders each mall has.
const ORDERS: usize = 160;
/// Each product with its price; the last one is not in the table of products.
const PRODUCTS: [(&str, i64); 5] = [("A1", 101), ("B2", 250), ("C3", 999), ("D4", 1), ("Z9", 4_999)];
const METHODS: [Option<&str>; 4] = [Some("card"), Some("bank_transfer"), Some("konbini"), None];

/// A mall of a made-up shop.
struct Market {
    mall: Mall,
    code: &'static str,
    time_zone: Tz,
    /// Its own currency first.
    currencies: &'static [&'static str],
    /// A day on which nothing happens.
    quiet_day: NaiveDate,
}

/// An order as the second calculation knows it.
struct Sale {
    /// The market's place among the markets.
    market: usize,
    currency: &'static str,
    member: Option<String>,
    method: Option<&'static str>,
    paid_at: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
    total: i64,
    discount: i64,
    shipping: i64,
    tax: i64,
    lines: Vec<Line<'static>>,
    refunds: Vec<(Option<&'static str>, i64, DateTime<Utc>)>,
}

impl Line<'_> {
    fn amount(&self) -> i64 {
        self.quantity * self.unit_price - self.discount
    }
}

/// A row of either table, but for its keys.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sum {
    name: String,
    orders: i64,
    items: i64,
    gross: i64,
    discount: i64,
    shipping: i64,
    tax: i64,
    cancelled: i64,
    refunded: i64,
    refunds: i64,
    new: BTreeSet<String>,
    returning: BTreeSet<String>,
}

impl Sum {
    /// In the order of [`MEASURES`].
    fn measures(&self) -> [i64; 11] {
        let count = |members: &BTreeSet<String>| i64::try_from(members.len()).unwrap();
        [
            self.orders,
            self.items,
            self.gross,
            self.discount,
            self.shipping,
            self.tax,
            self.cancelled,
            self.refunded,
            self.gross - self.refunded,
            count(&self.new),
            count(&self.returning),
        ]
    }

    /// Half a unit goes up.
    fn average(&self) -> i64 {
        if self.orders == 0 { 0 } else { (2 * self.gross + self.orders) / (2 * self.orders) }
    }

    fn pay(&mut self, sale: &Sale, is_returning: bool) {
        self.orders += 1;
        if let Some(member) = &sale.member {
            let members = if is_returning { &mut self.returning } else { &mut self.new };
            members.insert(member.clone());
        }
    }

    fn take_whole_order(&mut self, sale: &Sale) {
        self.gross += sale.total;
        self.discount += sale.discount;
        self.shipping += sale.shipping;
        self.tax += sale.tax;
    }

    fn take_line(&mut self, line: &Line<'_>) {
        self.items += line.quantity;
        self.gross += line.amount();
        self.discount += line.discount;
        self.tax += line.tax;
        line.name.clone_into(&mut self.name);
    }
}

/// Day, mall, currency, kind of breakdown and key; the last two are empty for the totals.
type Key = (NaiveDate, &'static str, &'static str, &'static str, String);

/// The second calculation: order by order, asking of each instant which date a calendar on the wall shows.
fn tallied(markets: &[Market], sales: &[Sale]) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for sale in sales {
        let market = &markets[sale.market];
        let day = |at: DateTime<Utc>| at.with_timezone(&market.time_zone).date_naive();
        let method = sale.method.unwrap_or_default().to_owned();
        let mut on = |day: NaiveDate, kind: &'static str, key: &str| -> *mut Sum {
            sums.entry((day, market.code, sale.currency, kind, key.to_owned())).or_default()
        };
        let _ = (&day, &method, &mut on);
    }
    sums
}
