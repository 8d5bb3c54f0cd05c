//! Orders: each line of the file is a line of an order and repeats the order's own columns.

use std::ops::RangeInclusive;

use crate::shop::orders::{StagedLine, StagedOrder};

use super::field::{Column, Fields, Parsed, line_amount, optional, required};
use super::with_lines::{Item, Lined, RecordKind};

/// Orders and their lines.
pub(super) type Orders = Lined<OrderFile>;

/// The kind of file.
pub(super) struct OrderFile;

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

/// Some shops export what was paid back as a negative order. As a positive one it would be a sale.
const IF_NEGATIVE: &str = "most likely a refund or a cancellation; import a refund with --kind refunds, and a cancelled \
                           order with its amount and the status ORDER_CANCELLED (see docs/import.md)";
/// Some shops export what is deducted as a negative amount, others a surcharge.
const IF_NEGATIVE_DISCOUNT: &str = "the column is how much was deducted; export the discount like that, and a surcharge as a \
                                    line of its own";

const STATUSES: &[&str] = &["PAYMENT_WAIT", "PAID", "SHIPPED", "DELIVERED", "ORDER_CANCELLED", "REFUNDED"];

impl RecordKind for OrderFile {
    const NOUNS: (&'static str, &'static str) = ("order", "orders");
    const RECORD_COLUMNS: RangeInclusive<usize> = STATUS..=UPDATED_AT;
    const PRODUCT_CODE: usize = PRODUCT_CODE;
    const LINE_NO: usize = LINE_NO;
    const QUANTITY: usize = QUANTITY;
    const IF_NEGATIVE_QUANTITY: &'static str = IF_NEGATIVE;

    type Staged = StagedOrder<'static>;
    type Record<'r> = StagedOrder<'r>;
    type Line<'r> = StagedLine<'r>;

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

    fn record<'r>(fields: &Fields<'r>) -> Parsed<StagedOrder<'r>> {
        let shop = fields.shop()?;
        let currency = fields.currency(CURRENCY, &shop.currency)?;
        let amount = |column| fields.positive_money(column, currency, IF_NEGATIVE);
        let discount = fields.positive_money(DISCOUNT_AMOUNT, currency, IF_NEGATIVE_DISCOUNT);
        let order = StagedOrder {
            mall_id: shop.id,
            order_no: fields.text(ORDER_NO)?,
            member_code: fields.optional_text(MEMBER_CODE)?,
            status: fields.word(STATUS)?,
            currency,
            total_amount: amount(TOTAL_AMOUNT)?.ok_or_else(|| fields.wrong(TOTAL_AMOUNT, "is empty"))?,
            discount_amount: discount?.unwrap_or(0),
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

    fn line<'r>(fields: &Fields<'r>, item: &Item<'r>, order: &StagedOrder<'r>) -> Parsed<StagedLine<'r>> {
        let unit_price_amount = fields.money(UNIT_PRICE_AMOUNT, order.currency)?;
        let discount_amount =
            fields.positive_money(LINE_DISCOUNT_AMOUNT, order.currency, IF_NEGATIVE_DISCOUNT)?.unwrap_or(0);
        let tax_amount = fields.positive_money(LINE_TAX_AMOUNT, order.currency, IF_NEGATIVE)?.unwrap_or(0);
        Ok(StagedLine {
            line_key: item.key,
            product_code: item.product_code,
            product_name: fields.optional_text(PRODUCT_NAME)?.unwrap_or(item.product_code),
            quantity: item.quantity,
            unit_price_amount,
            discount_amount,
            tax_amount,
            line_amount: line_amount(item.quantity, unit_price_amount, discount_amount)?,
        })
    }
}
