//! Refunds of orders that are already stored, one line each.

use chrono::{DateTime, Utc};

use crate::db::{Bulk, Db, FromRow, StoredText};
use crate::shop::refunds::give_way;
use crate::shop::upsert::{MATCH_COLUMNS, Upsert, UpsertCounts};
use crate::{bulk_row, columns, values};

use super::field::{Column, Fields, Problems, amount, optional, required, time};
use super::kind::{BadLine, FileKind, Notes};
use super::layout::Layout;
use super::reader::Record;

/// Refunds.
pub(super) struct Refunds;

const ORDER_NO: usize = 1;
const REFUND_NO: usize = 2;
const AMOUNT: usize = 3;
const REFUNDED_AT: usize = 4;
const PRODUCT_CODE: usize = 5;
const CURRENCY: usize = 6;
const REASON: usize = 7;

/// Some shops export refunds as negative amounts; in others a negative refund is one that was reversed.
const IF_NEGATIVE: &str = "the column is how much was paid back to the buyer; export refunds like that, and leave out one \
                           that was reversed";

bulk_row! {
    /// A refund, and its line in the file. Its order is looked up once it is staged.
    pub(super) struct StagedRefund<'r> => "import_refunds" {
        line: i64,
        order_no: &'r str,
        refund_key: &'r str,
        mall_id: i64,
        currency: &'r str,
        amount: i64,
        refunded_at: DateTime<Utc>,
        product_code: Option<&'r str>,
        reason: Option<&'r str>,
    }
}

const FIND_ORDERS: &str = "
    UPDATE import_refunds AS s SET order_id = t.id, order_currency = t.currency
    FROM orders AS t WHERE t.mall_id = s.mall_id AND t.order_no = s.order_no";
const MISMATCHES: &str = "
    SELECT line, order_no, currency, order_currency FROM import_refunds
    WHERE order_id IS NULL OR order_currency <> currency ORDER BY line";
const DROP_MISFITS: &str = "DELETE FROM import_refunds WHERE order_id IS NULL OR order_currency <> currency";

/// A refund that does not match an order.
#[derive(FromRow)]
struct Mismatch {
    line: i64,
    order_no: String,
    currency: String,
    order_currency: Option<StoredText>,
}

impl FileKind for Refunds {
    const NOUNS: (&'static str, &'static str) = ("refund", "refunds");
    const MAX_LINES: usize = 1;
    const LOOKS_UP: bool = true;

    type Rows = Bulk<StagedRefund<'static>>;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("order_no"),
            required("refund_no"),
            amount("amount").required(),
            time("refunded_at").required(),
            optional("product_code"),
            optional("currency"),
            optional("reason"),
        ]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(ORDER_NO), fields.meant(REFUND_NO))
    }

    fn read(
        layout: &Layout,
        lines: &[Record],
        mut rows: Option<&mut Self::Rows>,
        _notes: &mut Notes,
    ) -> Result<(), Vec<BadLine>> {
        for record in lines {
            let refund = read_refund(&layout.fields(record), record.line())
                .map_err(|problems| vec![BadLine { line: record.line(), problems }])?;
            if let Some(rows) = &mut rows {
                rows.push(&refund);
            }
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let looked_up = format!("order_id BIGINT, order_currency TEXT, {MATCH_COLUMNS}");
        // What is looked up before the chunk's transaction is stored in it.
        Ok(db.create_lasting_staging::<StagedRefund>(&looked_up).await?)
    }

    async fn look_up(db: &mut Db) -> anyhow::Result<Vec<BadLine>> {
        db.execute(FIND_ORDERS, values![]).await?;
        let mismatches: Vec<Mismatch> = db.fetch_all(MISMATCHES, values![]).await?;
        db.execute(DROP_MISFITS, values![]).await?;
        let bad = mismatches.into_iter().map(|mismatch| {
            let problem = match mismatch.order_currency {
                None => format!("`order_no`: unknown order `{}`: import its orders first", mismatch.order_no),
                Some(currency) => {
                    let (own, other) = (mismatch.currency, currency.shown());
                    format!("`currency`: the refund is in {own}, its order in {other}")
                }
            };
            BadLine::new(u64::try_from(mismatch.line).unwrap_or(0), problem)
        });
        Ok(bad.collect())
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        // A column that the file does not have keeps its stored value.
        let mut kept = columns![StagedRefund: mall_id].to_vec();
        kept.extend((!layout.has(PRODUCT_CODE)).then_some("product_code"));
        kept.extend((!layout.has(REASON)).then_some("reason"));
        let refunds = Upsert::of::<StagedRefund>("refunds", &["order_id", "refund_key"])
            .not_stored(columns![StagedRefund: line, order_no])
            .only_inserted(&kept);
        let outcome = refunds.store(db, now).await?;
        // What the orders' own file said or made assume of them gives way to the refunds themselves.
        db.execute(&give_way("import_refunds"), values![]).await?;
        Ok(outcome)
    }
}

fn read_refund<'r>(fields: &Fields<'r>, line: u64) -> Result<StagedRefund<'r>, Vec<String>> {
    let mut problems = Problems::of(fields.record());
    let shop = fields.shop_or_any(&mut problems);
    let order_no = problems.take(fields.text(ORDER_NO));
    let refund_key = problems.take(fields.text(REFUND_NO));
    let currency = fields.currency_or_any(CURRENCY, &shop.currency, &mut problems);
    let amount = fields
        .positive_money(AMOUNT, currency, IF_NEGATIVE)
        .and_then(|amount| amount.ok_or_else(|| fields.wrong(AMOUNT, "is empty")));
    let refund = StagedRefund {
        line: i64::try_from(line).unwrap_or(i64::MAX),
        order_no,
        refund_key,
        mall_id: shop.id,
        currency,
        amount: problems.take(amount),
        refunded_at: problems.take(fields.time(REFUNDED_AT, shop)),
        product_code: problems.take(fields.optional_text(PRODUCT_CODE)),
        reason: problems.take(fields.optional_text(REASON)),
    };
    if problems.is_empty() { Ok(refund) } else { Err(problems.into_vec()) }
}
