//! Refunds of orders that are already stored, one line each.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::db::{Db, FromRow};
use crate::values;

use super::field::{Column, Fields, Layout, Parsed, optional, required};
use super::kind::{BadLine, FileKind, Rows, present};
use super::reader::Record;
use crate::shop::upsert::{MATCH_COLUMNS, SourceTime, Upsert, UpsertCounts};

/// Refunds.
pub(super) struct Refunds;

const ORDER_NO: usize = 1;
const REFUND_NO: usize = 2;
const AMOUNT: usize = 3;
const REFUNDED_AT: usize = 4;
const PRODUCT_CODE: usize = 5;
const CURRENCY: usize = 6;
const REASON: usize = 7;

const STAGING: &[&str] = &[
    "line",
    "line_count",
    "order_no",
    "refund_key",
    "mall_id",
    "currency",
    "amount",
    "refunded_at",
    "product_code",
    "reason",
];

const FIND_ORDERS: &str = "
    UPDATE import_refunds AS s SET order_id = t.id, order_currency = t.currency
    FROM orders AS t WHERE t.mall_id = s.mall_id AND t.order_no = s.order_no";
const MISMATCHS: &str = "
    SELECT line, order_no, currency, order_currency FROM import_refunds
    WHERE order_id IS NULL OR order_currency <> currency ORDER BY line";
const DROP_MISFITS: &str = "DELETE FROM import_refunds WHERE order_id IS NULL OR order_currency <> currency";

/// A refund that does not match an order.
#[derive(FromRow)]
struct Mismatch {
    line: i64,
    order_no: String,
    currency: String,
    order_currency: Option<String>,
}

impl FileKind for Refunds {
    const NOUNS: (&'static str, &'static str) = ("refund", "refunds");
    const MOST_LINES: usize = 1;
    const LOOKS_UP: bool = true;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("order_no"),
            required("refund_no"),
            required("amount"),
            required("refunded_at"),
            optional("product_code"),
            optional("currency"),
            optional("reason"),
        ]
    }

    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)> {
        vec![("import_refunds", STAGING.into())]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(ORDER_NO), fields.meant(REFUND_NO))
    }

    fn read(layout: &Layout, lines: &[Record], mut rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        for record in lines {
            read_refund(layout.fields(record), record.line(), rows.as_deref_mut())
                .map_err(|problem| vec![BadLine { line: record.line(), problem }])?;
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let time = db.pick("TEXT", "TIMESTAMPTZ");
        Ok(db
            .script(&format!(
                "CREATE TEMP TABLE IF NOT EXISTS import_refunds (
                     line BIGINT, line_count BIGINT, order_no TEXT, refund_key TEXT, mall_id BIGINT, currency TEXT,
                     amount BIGINT, refunded_at {time}, product_code TEXT, reason TEXT, {MATCH_COLUMNS},
                     order_id BIGINT, order_currency TEXT)"
            ))
            .await?)
    }

    async fn look_up(db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        db.execute(FIND_ORDERS, values![]).await?;
        let mismatchs: Vec<Mismatch> = db.fetch_all(MISMATCHS, values![]).await?;
        db.execute(DROP_MISFITS, values![]).await?;
        let bad = mismatchs.into_iter().map(|mismatch| BadLine {
            line: u64::try_from(mismatch.line).unwrap_or(0),
            problem: match mismatch.order_currency {
                None => format!("`order_no`: unknown order `{}`: import its orders first", mismatch.order_no),
                Some(currency) => {
                    format!("`currency`: the refund is in {}, its order in {currency}", mismatch.currency)
                }
            },
        });
        Ok(bad.collect())
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        let mut replaced = vec!["amount", "currency", "refunded_at"];
        replaced.extend(present(layout, &[(PRODUCT_CODE, "product_code"), (REASON, "reason")]));
        let refunds = Upsert {
            table: "refunds",
            staging: "import_refunds",
            key: vec!["order_id", "refund_key"],
            columns: STAGING[4..].to_vec(),
            replaced,
            source_time: SourceTime::Unknown,
            kept: None,
            uses_staged_ids: false,
        };
        refunds.store(db, now).await
    }
}

fn read_refund(fields: Fields<'_>, line: u64, rows: Option<&mut Rows>) -> Parsed<()> {
    let shop = fields.shop()?;
    let order_no = fields.text(ORDER_NO)?;
    let refund_no = fields.text(REFUND_NO)?;
    let currency = fields.currency(CURRENCY, &shop.currency)?;
    let amount = fields.positive_money(AMOUNT, currency)?.ok_or_else(|| fields.wrong(AMOUNT, "is empty"))?;
    let refunded_at = fields.time(REFUNDED_AT, shop)?;
    let product_code = fields.optional_text(PRODUCT_CODE)?;
    let reason = fields.optional_text(REASON)?;
    let Some(rows) = rows else { return Ok(()) };
    let load = &mut rows.loads[0];
    load.int(i64::try_from(line).unwrap_or(i64::MAX));
    load.int(1);
    load.text(order_no);
    load.text(refund_no);
    load.int(shop.id);
    load.text(currency);
    load.int(amount);
    load.time(refunded_at);
    load.text(product_code);
    load.text(reason);
    load.end_row();
    Ok(())
}
