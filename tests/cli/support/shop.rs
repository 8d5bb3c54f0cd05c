//! A sandbox whose shop tables are filled directly by SQL, to test what jobs compute from given rows.

use std::ops::Deref;

use chrono::DateTime;

use super::database::{Database, instant_text, literal};
use super::sandbox::{Arranged, NOW, Sandbox};

/// A sandbox with malls and orders in it.
pub(crate) struct Shop(Sandbox);

impl Arranged for Shop {
    fn on(database: Database) -> Self {
        Self(Sandbox::on(database))
    }
}

impl Deref for Shop {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

/// A mall that was inserted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mall {
    pub(crate) id: i64,
    pub(crate) currency: &'static str,
}

/// A row of `orders` with its lines. Instants are RFC 3339 in any offset; amounts are minor units.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the columns' own names")]
pub(crate) struct Order<'a> {
    pub(crate) mall: Mall,
    pub(crate) order_no: &'a str,
    pub(crate) member: Option<&'a str>,
    pub(crate) status: &'a str,
    /// What the buyer pays: lines, less discounts, with shipping and tax.
    pub(crate) total: i64,
    pub(crate) discount: i64,
    pub(crate) shipping: i64,
    pub(crate) tax: i64,
    pub(crate) payment_method: Option<&'a str>,
    pub(crate) ordered_at: &'a str,
    pub(crate) paid_at: Option<&'a str>,
    pub(crate) cancelled_at: Option<&'a str>,
    pub(crate) cancel_reason: Option<&'a str>,
    pub(crate) updated_at: &'a str,
    pub(crate) lines: &'a [Line<'a>],
}

impl Default for Order<'_> {
    /// A paid order of 1,000 without lines, ordered and paid at noon of 2026-11-19 in Tokyo.
    fn default() -> Self {
        Self {
            mall: Mall::default(),
            order_no: "1",
            member: None,
            status: "PAID",
            total: 1000,
            discount: 0,
            shipping: 0,
            tax: 0,
            payment_method: Some("card"),
            ordered_at: "2026-11-19T12:00:00+09:00",
            paid_at: Some("2026-11-19T12:00:00+09:00"),
            cancelled_at: None,
            cancel_reason: None,
            updated_at: "2026-11-19T12:00:00+09:00",
            lines: &[],
        }
    }
}

/// A row of `order_items`; its key is its product's code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) product: &'a str,
    pub(crate) name: &'a str,
    pub(crate) quantity: i64,
    pub(crate) unit_price: i64,
    pub(crate) discount: i64,
    pub(crate) tax: i64,
}

impl Default for Line<'_> {
    /// One unit for 1,000.
    fn default() -> Self {
        Self { product: "P1", name: "Product 1", quantity: 1, unit_price: 1000, discount: 0, tax: 0 }
    }
}

/// A row of `refunds`; mall and currency are those of its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refund<'a> {
    /// The result of [`Shop::order`].
    pub(crate) order: i64,
    pub(crate) key: &'a str,
    /// `None` for a refund of the whole order.
    pub(crate) product: Option<&'a str>,
    pub(crate) amount: i64,
    pub(crate) reason: Option<&'a str>,
    pub(crate) refunded_at: &'a str,
}

impl Default for Refund<'_> {
    /// 1,000 of a whole order, in the evening of 2026-11-19 in Tokyo.
    fn default() -> Self {
        Self {
            order: 0,
            key: "R1",
            product: None,
            amount: 1000,
            reason: None,
            refunded_at: "2026-11-19T18:00:00+09:00",
        }
    }
}

impl Shop {
    /// Adds an active mall.
    #[track_caller]
    pub(crate) fn mall(&self, code: &str, time_zone: &str, currency: &'static str) -> Mall {
        let (code, time_zone, money) = (literal(code), literal(time_zone), literal(currency));
        let now = instant(NOW);
        let id = self.id(&format!(
            "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
             VALUES ({code}, {code}, 'file', {time_zone}, {money}, TRUE, {now}, {now}) RETURNING id"
        ));
        Mall { id, currency }
    }

    /// Adds an order with its lines and returns its id.
    #[track_caller]
    pub(crate) fn order(&self, order: Order) -> i64 {
        let Order { mall, total, discount, shipping, tax, .. } = order;
        let values = [
            mall.id.to_string(),
            literal(order.order_no),
            optional(order.member),
            literal(order.status),
            literal(mall.currency),
            format!("{total}, {discount}, {shipping}, {tax}"),
            optional(order.payment_method),
            instant(order.ordered_at),
            optional_instant(order.paid_at),
            optional_instant(order.cancelled_at),
            optional(order.cancel_reason),
            instant(order.ordered_at),
            instant(order.updated_at),
        ];
        let id = self.id(&format!(
            "INSERT INTO orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount,
                                 shipping_amount, tax_amount, payment_method, ordered_at, paid_at, cancelled_at,
                                 cancel_reason, created_at, updated_at)
             VALUES ({}) RETURNING id",
            values.join(", ")
        ));
        for Line { product, name, quantity, unit_price, discount, tax } in order.lines {
            let amount = quantity * unit_price - discount;
            let (product, name) = (literal(product), literal(name));
            self.execute(&format!(
                "INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity,
                                          unit_price_amount, discount_amount, tax_amount, line_amount)
                 VALUES ({id}, {product}, {product}, {name}, {quantity}, {unit_price}, {discount}, {tax}, {amount})"
            ));
        }
        id
    }

    /// Adds a refund and returns its id.
    #[track_caller]
    pub(crate) fn refund(&self, refund: Refund) -> i64 {
        let at = instant(refund.refunded_at);
        let (key, product, reason) = (literal(refund.key), optional(refund.product), optional(refund.reason));
        self.id(&format!(
            "INSERT INTO refunds (mall_id, order_id, refund_key, product_code, currency, amount, reason,
                                  refunded_at, created_at, updated_at)
             SELECT mall_id, id, {key}, {product}, currency, {}, {reason}, {at}, {at}, {at}
             FROM orders WHERE id = {} RETURNING id",
            refund.amount, refund.order
        ))
    }

    #[track_caller]
    fn id(&self, insert: &str) -> i64 {
        self.scalar(insert).parse().expect("an id is a number")
    }
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
}

/// An instant as an SQL literal that both databases accept, and that sorts on SQLite together with batchctl's own.
#[track_caller]
fn instant(text: &str) -> String {
    let parsed = DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
    literal(&instant_text(parsed))
}

#[track_caller]
fn optional_instant(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), instant)
}
