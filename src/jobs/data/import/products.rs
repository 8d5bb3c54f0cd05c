//! Products and their stock, one line each.

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::values;

use super::line::Meaning::{Amount, Currency, Integer, Text, WordOrFirst};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};
use crate::shop::upsert::UpsertCounts;

/// Products and their stock.
pub(super) struct Products;

const IF_NEGATIVE_PRICE: &str =
    "most likely a discount that the shop keeps as a product; leave out what is not for sale";

const STATUSES: &[&str] = &["ON_SALE", "SOLD_OUT", "DISCONTINUED"];

/// A product whose stock alone differs counts as changed, but its own row is not written.
const COMPARE_STOCK: &str = "
    UPDATE import_products SET is_stock_changed = 1
    WHERE is_stale = 0 AND stock_quantity IS NOT NULL AND (target_id IS NULL OR stock_quantity IS DISTINCT FROM
        (SELECT quantity FROM stock WHERE stock.product_id = import_products.target_id))";
const COUNT_STOCK_ALONE: &str = "
    SELECT COUNT(*) FROM import_products
    WHERE is_stock_changed = 1 AND target_id IS NOT NULL AND is_changed = 0";
const STORE_STOCK: &str = "
    INSERT INTO stock (product_id, quantity, updated_at)
    SELECT t.id, s.stock_quantity, $1
    FROM import_products AS s JOIN products AS t ON t.mall_id = s.mall_id AND t.product_code = s.product_code
    WHERE s.is_stock_changed = 1
    ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity, updated_at = excluded.updated_at";

impl LineKind for Products {
    const LINE_COLUMNS: &'static [LineColumn] = &[
        key("product_code", Text),
        column("name", Text).required(),
        column("price_amount", Amount { if_negative: IF_NEGATIVE_PRICE }).required(),
        column("status", WordOrFirst(STATUSES)),
        column("currency", Currency),
        // Oversold stock is negative in many shops.
        column("stock_quantity", Integer).staged_only(),
        column("stock_alert_threshold", Integer),
        UPDATED_AT,
    ];
    const NOUNS: (&'static str, &'static str) = ("product", "products");
    const TABLE: &'static str = "products";
    const STAGING: &'static str = "import_products";
    const EXTRA_STAGING: Option<&'static str> = Some("is_stock_changed BIGINT DEFAULT 0");

    async fn compare_related(db: &mut Db) -> anyhow::Result<()> {
        db.execute(COMPARE_STOCK, values![]).await?;
        Ok(())
    }

    async fn store_related(
        db: &mut Db,
        outcome: &mut UpsertCounts,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let (stock_alone,): (i64,) = db.fetch_one(COUNT_STOCK_ALONE, values![]).await?;
        db.execute(STORE_STOCK, values![now]).await?;
        outcome.unchanged -= stock_alone;
        outcome.changed += stock_alone;
        outcome.written_lines += stock_alone;
        Ok(())
    }
}
