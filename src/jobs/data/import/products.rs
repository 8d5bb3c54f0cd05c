//! Products, and with them what is in stock: a line each.

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::values;

use super::field::{Column, Fields, Layout, Parsed, optional, required};
use super::kind::{BadLine, FileKind, Rows, present};
use super::reader::Record;
use super::upsert::{MATCH_COLUMNS, Outcome, Upsert};

/// Products and their stock.
pub(super) struct Products;

const PRODUCT_CODE: usize = 1;
const NAME: usize = 2;
const PRICE_AMOUNT: usize = 3;
const STATUS: usize = 4;
const CURRENCY: usize = 5;
const STOCK_QUANTITY: usize = 6;
const STOCK_ALERT_THRESHOLD: usize = 7;
const UPDATED_AT: usize = 8;

const STATUSES: &[&str] = &["ON_SALE", "SOLD_OUT", "DISCONTINUED"];

const STAGING: &[&str] = &[
    "line_count",
    "stock_quantity",
    "mall_id",
    "product_code",
    "name",
    "status",
    "currency",
    "price_amount",
    "stock_alert_threshold",
    "source_updated_at",
];

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

impl FileKind for Products {
    const COLUMNS: &'static [Column] = &[
        optional("mall"),
        required("product_code"),
        required("name"),
        required("price_amount"),
        optional("status"),
        optional("currency"),
        optional("stock_quantity"),
        optional("stock_alert_threshold"),
        optional("updated_at"),
    ];
    const NOUNS: (&'static str, &'static str) = ("product", "products");
    const MOST_LINES: usize = 1;
    const LOOKS_UP: bool = false;

    fn staging() -> &'static [(&'static str, &'static [&'static str])] {
        &[("import_products", STAGING)]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(PRODUCT_CODE), "")
    }

    fn read(layout: &Layout, lines: &[Record], mut rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        for record in lines {
            read_product(layout.fields(record), rows.as_deref_mut())
                .map_err(|problem| vec![BadLine { line: record.line(), problem }])?;
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let (time, emptied) = db.pick(("TEXT", ""), ("TIMESTAMPTZ", "ON COMMIT DELETE ROWS"));
        Ok(db
            .script(&format!(
                "CREATE TEMP TABLE IF NOT EXISTS import_products (
                     line_count BIGINT, stock_quantity BIGINT, mall_id BIGINT, product_code TEXT, name TEXT,
                     status TEXT, currency TEXT, price_amount BIGINT, stock_alert_threshold BIGINT,
                     source_updated_at {time}, {MATCH_COLUMNS}, is_stock_changed BIGINT DEFAULT 0) {emptied}"
            ))
            .await?)
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
        // The price is stored beside the currency it is read in: both come from the line.
        let mut replaced = vec!["name", "price_amount", "currency"];
        replaced
            .extend(present(layout, &[(STATUS, "status"), (STOCK_ALERT_THRESHOLD, "stock_alert_threshold")]));
        let products = Upsert {
            table: "products",
            staging: "import_products",
            key: &["mall_id", "product_code"],
            columns: &STAGING[4..],
            replaced,
            has_source_time: true,
            gives_ids: false,
        };
        products.match_stored(db).await?;
        db.execute(COMPARE_STOCK, values![]).await?;
        let mut outcome = products.count(db).await?;
        products.insert_new(db, outcome.new, now).await?;
        products.update_changed(db, outcome.changed, now).await?;
        let (stock_alone,): (i64,) = db.fetch_one(COUNT_STOCK_ALONE, values![]).await?;
        db.execute(STORE_STOCK, values![now]).await?;
        outcome.unchanged -= stock_alone;
        outcome.changed += stock_alone;
        outcome.written_lines += stock_alone;
        Ok(outcome)
    }
}

fn read_product(fields: Fields<'_>, rows: Option<&mut Rows>) -> Parsed<()> {
    let shop = fields.shop()?;
    let product_code = fields.text(PRODUCT_CODE)?;
    let name = fields.text(NAME)?;
    let currency = fields.currency(CURRENCY, &shop.currency)?;
    let price_amount = fields
        .positive_money(PRICE_AMOUNT, currency)?
        .ok_or_else(|| fields.wrong(PRICE_AMOUNT, "is empty"))?;
    let status = match fields.raw(STATUS) {
        "" => "ON_SALE",
        _ => fields.word(STATUS, STATUSES)?,
    };
    // Oversold stock is negative in many shops.
    let stock_quantity = fields.optional_integer(STOCK_QUANTITY)?;
    let stock_alert_threshold = fields.optional_integer(STOCK_ALERT_THRESHOLD)?;
    let source_updated_at = fields.optional_time(UPDATED_AT, shop)?;
    let Some(rows) = rows else { return Ok(()) };
    let load = &mut rows.loads[0];
    load.int(1);
    load.int(stock_quantity);
    load.int(shop.id);
    load.text(product_code);
    load.text(name);
    load.text(status);
    load.text(currency);
    load.int(price_amount);
    load.int(stock_alert_threshold);
    load.time(source_updated_at);
    load.end_row();
    Ok(())
}
