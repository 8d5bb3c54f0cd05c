//! Orders: each line of the file is a line of an order and repeats the order's own columns.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::shop::orders;
use crate::shop::upsert::{SourceTime, UpsertCounts};

use super::field::{Column, Fields, Layout, Parsed, line_amount, optional, required};
use super::kind::{BadLine, FileKind, Rows, same_record};
use super::reader::Record;

/// Orders and their lines.
pub(super) struct Orders;

const ORDER_NO: usize = 1;
const STATUS: usize = 2;
const ORDERED_AT: usize = 3;
const TOTAL_AMOUNT: usize = 4;
const MEMBER_CODE: usize = 5;
const CURRENCY: usize = 6;
const PAID_AT: usize = 7;
const CANCELLED_AT: usize = 8;
const CANCEL_REASON: usize = 9;
const PAYMENT_METHOD: usize = 10;
const DISCOUNT_AMOUNT: usize = 11;
const SHIPPING_AMOUNT: usize = 12;
const TAX_AMOUNT: usize = 13;
const UPDATED_AT: usize = 14;
const PRODUCT_CODE: usize = 15;
const QUANTITY: usize = 16;
const UNIT_PRICE_AMOUNT: usize = 17;
const LINE_NO: usize = 18;
const PRODUCT_NAME: usize = 19;
const LINE_DISCOUNT_AMOUNT: usize = 20;
const LINE_TAX_AMOUNT: usize = 21;

/// The columns of the order itself, which are the same on each of its lines.
const ORDER_COLUMNS: std::ops::RangeInclusive<usize> = STATUS..=UPDATED_AT;

const STATUSES: &[&str] = &["PAYMENT_WAIT", "PAID", "SHIPPED", "DELIVERED", "ORDER_CANCELLED", "REFUNDED"];

impl FileKind for Orders {
    const NOUNS: (&'static str, &'static str) = ("order", "orders");
    // An order is held in memory as a whole; a wholesale order has hundreds of lines.
    const MOST_LINES: usize = 2_000;
    const LOOKS_UP: bool = false;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("order_no"),
            required("status").one_of(STATUSES),
            required("ordered_at"),
            required("total_amount"),
            optional("member_code"),
            optional("currency"),
            optional("paid_at"),
            optional("cancelled_at"),
            optional("cancel_reason"),
            optional("payment_method"),
            optional("discount_amount"),
            optional("shipping_amount"),
            optional("tax_amount"),
            optional("updated_at"),
            required("product_code"),
            required("quantity"),
            required("unit_price_amount"),
            optional("line_no"),
            optional("product_name"),
            optional("line_discount_amount"),
            optional("line_tax_amount"),
        ]
    }

    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)> {
        vec![(orders::STAGED, orders::COLUMNS.into()), (orders::STAGED_LINES, orders::LINE_COLUMNS.into())]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(ORDER_NO), "")
    }

    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        let Some(first) = lines.first() else { return Ok(()) };
        // Without its order a line's amounts have no currency, so only the first line's fault is reported.
        let order = Order::parse(layout.fields(first))
            .map_err(|problem| vec![BadLine { line: first.line(), problem }])?;
        let mut bad = Vec::new();
        let mut parsed: Vec<Line<'_>> = Vec::with_capacity(lines.len());
        for record in lines {
            let fields = layout.fields(record);
            let line = same_record::<Self>(layout.fields(first), &fields, ORDER_COLUMNS, first.line())
                .and_then(|()| Line::parse(fields, order.currency))
                .and_then(|line| line.is_first_of(&parsed).map(|()| line));
            match line {
                Ok(line) => parsed.push(line),
                Err(problem) => bad.push(BadLine { line: record.line(), problem }),
            }
        }
        if let (Some(rows), true) = (rows, bad.is_empty()) {
            order.stage(rows, parsed.len());
            for line in &parsed {
                line.stage(rows);
            }
            rows.ordinal += 1;
        }
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        orders::prepare(db).await
    }

    async fn store(db: &mut Db, _layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        orders::store(db, SourceTime::Recorded, now).await
    }
}

/// An order's own columns.
struct Order<'r> {
    mall_id: i64,
    number: &'r str,
    member_code: Option<&'r str>,
    status: &'static str,
    currency: &'r str,
    total_amount: i64,
    discount_amount: i64,
    shipping_amount: i64,
    tax_amount: i64,
    payment_method: Option<&'r str>,
    ordered_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
    cancel_reason: Option<&'r str>,
    source_updated_at: Option<DateTime<Utc>>,
}

impl<'r> Order<'r> {
    fn parse(fields: Fields<'r>) -> Parsed<Self> {
        let shop = fields.shop()?;
        let currency = fields.currency(CURRENCY, &shop.currency)?;
        let amount = |column| fields.positive_money(column, currency);
        let order = Self {
            mall_id: shop.id,
            number: fields.text(ORDER_NO)?,
            member_code: fields.optional_text(MEMBER_CODE)?,
            status: fields.word(STATUS)?,
            currency,
            total_amount: amount(TOTAL_AMOUNT)?.ok_or_else(|| fields.wrong(TOTAL_AMOUNT, "is empty"))?,
            discount_amount: amount(DISCOUNT_AMOUNT)?.unwrap_or(0),
            shipping_amount: amount(SHIPPING_AMOUNT)?.unwrap_or(0),
            tax_amount: amount(TAX_AMOUNT)?.unwrap_or(0),
            payment_method: fields.optional_text(PAYMENT_METHOD)?,
            ordered_at: fields.time(ORDERED_AT, shop)?,
            paid_at: fields.optional_time(PAID_AT, shop)?,
            cancelled_at: fields.optional_time(CANCELLED_AT, shop)?,
            cancel_reason: fields.optional_text(CANCEL_REASON)?,
            source_updated_at: fields.optional_time(UPDATED_AT, shop)?,
        };
        // Without these days the order would be in no report.
        match order.status {
            "PAID" | "SHIPPED" | "DELIVERED" | "REFUNDED" if order.paid_at.is_none() => {
                Err(fields.wrong(PAID_AT, &format!("is empty, but the order is {}", order.status)))
            }
            "ORDER_CANCELLED" if order.cancelled_at.is_none() => {
                Err(fields.wrong(CANCELLED_AT, "is empty, but the order is ORDER_CANCELLED"))
            }
            _ => Ok(order),
        }
    }

    fn stage(&self, rows: &mut Rows, lines: usize) {
        let ordinal = rows.ordinal;
        let load = &mut rows.loads[0];
        load.int(ordinal);
        load.int(self.mall_id);
        load.text(self.number);
        load.text(self.member_code);
        load.text(self.status);
        load.text(self.currency);
        load.int(self.total_amount);
        load.int(self.discount_amount);
        load.int(self.shipping_amount);
        load.int(self.tax_amount);
        load.text(self.payment_method);
        load.time(self.ordered_at);
        load.time(self.paid_at);
        load.time(self.cancelled_at);
        load.text(self.cancel_reason);
        load.time(self.source_updated_at);
        load.int(i64::try_from(lines).unwrap_or(i64::MAX));
        load.end_row();
    }
}

/// A line's own columns.
struct Line<'r> {
    key: &'r str,
    has_number: bool,
    product_code: &'r str,
    product_name: &'r str,
    quantity: i64,
    unit_price_amount: i64,
    discount_amount: i64,
    tax_amount: i64,
    amount: i64,
}

impl<'r> Line<'r> {
    fn parse(fields: Fields<'r>, currency: &str) -> Parsed<Self> {
        let product_code = fields.text(PRODUCT_CODE)?;
        let line_no = fields.optional_text(LINE_NO)?;
        let quantity = fields.integer(QUANTITY)?;
        if quantity < 0 {
            return Err(fields.wrong(QUANTITY, &format!("`{quantity}` is negative")));
        }
        let unit_price_amount = fields.money(UNIT_PRICE_AMOUNT, currency)?;
        let discount_amount = fields.positive_money(LINE_DISCOUNT_AMOUNT, currency)?.unwrap_or(0);
        Ok(Self {
            key: line_no.unwrap_or(product_code),
            has_number: line_no.is_some(),
            product_code,
            product_name: fields.optional_text(PRODUCT_NAME)?.unwrap_or(product_code),
            quantity,
            unit_price_amount,
            discount_amount,
            tax_amount: fields.positive_money(LINE_TAX_AMOUNT, currency)?.unwrap_or(0),
            amount: line_amount(quantity, unit_price_amount, discount_amount)?,
        })
    }

    /// Whether no earlier line of the order has the same key. Most orders have two or three lines.
    fn is_first_of(&self, earlier: &[Self]) -> Parsed<()> {
        if earlier.iter().all(|line| line.key != self.key) {
            return Ok(());
        }
        Err(if self.has_number {
            format!("`line_no`: `{}` occurs twice in the same order", self.key)
        } else {
            format!(
                "`product_code`: `{}` occurs twice in the same order: distinguish its lines with a column `line_no`",
                self.key
            )
        })
    }

    fn stage(&self, rows: &mut Rows) {
        let ordinal = rows.ordinal;
        let load = &mut rows.loads[1];
        load.int(ordinal);
        load.text(self.key);
        load.text(self.product_code);
        load.text(self.product_name);
        load.int(self.quantity);
        load.int(self.unit_price_amount);
        load.int(self.discount_amount);
        load.int(self.tax_amount);
        load.int(self.amount);
        load.end_row();
    }
}
