//! Rows of the shop's tables, as tests fill them. The steps' own tests in `src/` use this file too.

use chrono::DateTime;

use super::as_text::{instant_text, literal};

/// A mall that was inserted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mall {
    pub(crate) id: i64,
    pub(crate) currency: &'static str,
}

/// A row of `members`. Instants are RFC 3339 in any offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) mall: Mall,
    pub(crate) code: &'a str,
    pub(crate) status: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) email: Option<&'a str>,
    pub(crate) channel: Option<&'a str>,
    pub(crate) signed_up_at: &'a str,
    pub(crate) confirmed_at: Option<&'a str>,
    pub(crate) withdrawn_at: Option<&'a str>,
    pub(crate) erasure_requested_at: Option<&'a str>,
}

impl Default for Member<'_> {
    /// An active member that signed up at noon of 2026-11-01 in Tokyo.
    fn default() -> Self {
        Self {
            mall: Mall::default(),
            code: "M1",
            status: "ACTIVE",
            name: None,
            email: None,
            channel: None,
            signed_up_at: "2026-11-01T12:00:00+09:00",
            confirmed_at: None,
            withdrawn_at: None,
            erasure_requested_at: None,
        }
    }
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

/// A row of `order_items`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// What distinguishes it from the order's other lines; `None` for its product's code.
    pub(crate) key: Option<&'a str>,
    pub(crate) product: &'a str,
    pub(crate) name: &'a str,
    pub(crate) quantity: i64,
    pub(crate) unit_price: i64,
    pub(crate) discount: i64,
    pub(crate) tax: i64,
}

impl Default for Line<'_> {
    /// One piece for 1,000.
    fn default() -> Self {
        Self {
            key: None,
            product: "P1",
            name: "Product 1",
            quantity: 1,
            unit_price: 1000,
            discount: 0,
            tax: 0,
        }
    }
}

/// A row of `refunds`; mall and currency are those of its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refund<'a> {
    /// The order's id.
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

/// Adds an active mall and returns its id. It is as old as the instant.
#[track_caller]
pub(crate) fn insert_mall(code: &str, time_zone: &str, currency: &str, at: &str) -> String {
    let (code, time_zone, currency, at) = (literal(code), literal(time_zone), literal(currency), instant(at));
    format!(
        "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
         VALUES ({code}, {code}, 'file', {time_zone}, {currency}, TRUE, {at}, {at}) RETURNING id"
    )
}

impl Member<'_> {
    /// Adds the member and returns its id.
    #[track_caller]
    pub(crate) fn insert(&self) -> String {
        let signed_up_at = instant(self.signed_up_at);
        let values = [
            self.mall.id.to_string(),
            literal(self.code),
            literal(self.status),
            optional(self.name),
            optional(self.email),
            optional(self.channel),
            signed_up_at.clone(),
            optional_instant(self.confirmed_at),
            optional_instant(self.withdrawn_at),
            optional_instant(self.erasure_requested_at),
        ];
        format!(
            "INSERT INTO members (mall_id, member_code, status, name, email, channel, signed_up_at, confirmed_at,
                                  withdrawn_at, erasure_requested_at, created_at, updated_at)
             VALUES ({}, {signed_up_at}, {signed_up_at}) RETURNING id",
            values.join(", ")
        )
    }
}

impl Order<'_> {
    /// Adds the order without its lines and returns its id.
    #[track_caller]
    pub(crate) fn insert(&self) -> String {
        let Self { mall, total, discount, shipping, tax, .. } = self;
        let values = [
            mall.id.to_string(),
            literal(self.order_no),
            optional(self.member),
            literal(self.status),
            literal(mall.currency),
            format!("{total}, {discount}, {shipping}, {tax}"),
            optional(self.payment_method),
            instant(self.ordered_at),
            optional_instant(self.paid_at),
            optional_instant(self.cancelled_at),
            optional(self.cancel_reason),
            instant(self.ordered_at),
            instant(self.updated_at),
        ];
        format!(
            "INSERT INTO orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount,
                                 shipping_amount, tax_amount, payment_method, ordered_at, paid_at, cancelled_at,
                                 cancel_reason, created_at, updated_at)
             VALUES ({}) RETURNING id",
            values.join(", ")
        )
    }
}

impl Line<'_> {
    /// Adds the line to an order.
    pub(crate) fn insert(&self, order: i64) -> String {
        let Self { key, product, name, quantity, unit_price, discount, tax } = self;
        let amount = quantity * unit_price - discount;
        let (key, product, name) = (literal(key.unwrap_or(product)), literal(product), literal(name));
        format!(
            "INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity,
                                      unit_price_amount, discount_amount, tax_amount, line_amount)
             VALUES ({order}, {key}, {product}, {name}, {quantity}, {unit_price}, {discount}, {tax}, {amount})"
        )
    }
}

impl Refund<'_> {
    /// Adds the refund and returns its id.
    #[track_caller]
    pub(crate) fn insert(&self) -> String {
        let at = instant(self.refunded_at);
        let (key, product, reason) = (literal(self.key), optional(self.product), optional(self.reason));
        format!(
            "INSERT INTO refunds (mall_id, order_id, refund_key, product_code, currency, amount, reason,
                                  refunded_at, created_at, updated_at)
             SELECT mall_id, id, {key}, {product}, currency, {}, {reason}, {at}, {at}, {at}
             FROM orders WHERE id = {} RETURNING id",
            self.amount, self.order
        )
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
