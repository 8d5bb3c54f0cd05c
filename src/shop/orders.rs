//! Orders and their lines: staged, then stored in sets.

use chrono::{DateTime, Utc};

use crate::db::{Db, Kind};
use crate::values;

use super::upsert::{SourceTime, Upsert, UpsertCounts};

/// The staging table of orders.
pub const STAGED: &str = "staged_orders";
/// The staging table of their lines.
pub const STAGED_LINES: &str = "staged_order_lines";

/// `new_id` is the id of an order that turns out to be new. PostgreSQL draws it from the table's own sequence;
/// on SQLite the transaction holds the only write lock, so the next ids are free.
const STAGING_SQLITE: &str = "
    CREATE TEMP TABLE IF NOT EXISTS staged_orders (
        ordinal INTEGER PRIMARY KEY, mall_id INTEGER, order_no TEXT, member_code TEXT, status TEXT, currency TEXT,
        total_amount INTEGER, discount_amount INTEGER, shipping_amount INTEGER, tax_amount INTEGER,
        payment_method TEXT, ordered_at TEXT, paid_at TEXT, cancelled_at TEXT, cancel_reason TEXT,
        source_updated_at TEXT, line_count INTEGER, target_id INTEGER, is_stale INTEGER DEFAULT 0,
        is_changed INTEGER DEFAULT 0, are_lines_changed INTEGER DEFAULT 0, new_id INTEGER);
    CREATE TEMP TABLE IF NOT EXISTS staged_order_lines (
        ordinal INTEGER, line_key TEXT, product_code TEXT, product_name TEXT, quantity INTEGER,
        unit_price_amount INTEGER, discount_amount INTEGER, tax_amount INTEGER, line_amount INTEGER,
        PRIMARY KEY (ordinal, line_key)) WITHOUT ROWID";
const STAGING_POSTGRES: &str = "
    CREATE TEMP TABLE IF NOT EXISTS staged_orders (
        ordinal BIGINT PRIMARY KEY, mall_id BIGINT, order_no TEXT, member_code TEXT, status TEXT, currency TEXT,
        total_amount BIGINT, discount_amount BIGINT, shipping_amount BIGINT, tax_amount BIGINT,
        payment_method TEXT, ordered_at TIMESTAMPTZ, paid_at TIMESTAMPTZ, cancelled_at TIMESTAMPTZ,
        cancel_reason TEXT, source_updated_at TIMESTAMPTZ, line_count BIGINT, target_id BIGINT,
        is_stale BIGINT DEFAULT 0, is_changed BIGINT DEFAULT 0, are_lines_changed BIGINT DEFAULT 0,
        new_id BIGINT) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS staged_order_lines (
        ordinal BIGINT, line_key TEXT, product_code TEXT, product_name TEXT, quantity BIGINT,
        unit_price_amount BIGINT, discount_amount BIGINT, tax_amount BIGINT, line_amount BIGINT) ON COMMIT DELETE ROWS";
/// The sequence's name is looked up once: in a default it would be looked up for each row.
const SEQUENCE_POSTGRES: &str = "SELECT pg_get_serial_sequence('orders', 'id')";

/// The columns of [`STAGED`] that a record fills.
pub const COLUMNS: &[&str] = &[
    "ordinal",
    "mall_id",
    "order_no",
    "member_code",
    "status",
    "currency",
    "total_amount",
    "discount_amount",
    "shipping_amount",
    "tax_amount",
    "payment_method",
    "ordered_at",
    "paid_at",
    "cancelled_at",
    "cancel_reason",
    "source_updated_at",
    "line_count",
];
/// The columns of [`STAGED_LINES`].
pub const LINE_COLUMNS: &[&str] = &[
    "ordinal",
    "line_key",
    "product_code",
    "product_name",
    "quantity",
    "unit_price_amount",
    "discount_amount",
    "tax_amount",
    "line_amount",
];

/// Only orders that are already stored are compared line by line; a first import does not need the index.
const INDEX_LINES_POSTGRES: &str =
    "CREATE INDEX IF NOT EXISTS staged_order_lines_ordinal ON staged_order_lines (ordinal)";

/// The range of an order's own columns in [`COLUMNS`]: after the key, before the source's time.
const REPLACED: std::ops::Range<usize> = 3..15;

/// Counts all lines of each stored order, and those equal to a staged line. The order differs unless both counts
/// equal the number of staged lines.
const COMPARE_LINES: &str = "
    UPDATE staged_orders SET is_changed = 1, are_lines_changed = 1
    WHERE target_id IS NOT NULL AND is_stale = 0 AND (
        (SELECT COUNT(*) FROM order_items AS t WHERE t.order_id = staged_orders.target_id) <> line_count
        OR (SELECT COUNT(*) FROM staged_order_lines AS s
            JOIN order_items AS t ON t.order_id = staged_orders.target_id AND t.line_key = s.line_key
            WHERE s.ordinal = staged_orders.ordinal AND t.product_code = s.product_code
                AND t.product_name = s.product_name AND t.quantity = s.quantity
                AND t.unit_price_amount = s.unit_price_amount AND t.discount_amount = s.discount_amount
                AND t.tax_amount = s.tax_amount AND t.line_amount = s.line_amount) <> line_count)";
const DELETE_CHANGED_LINES: &str = "
    DELETE FROM order_items WHERE order_id IN (SELECT target_id FROM staged_orders WHERE are_lines_changed = 1)";
const INSERT_LINES: &str = "
    INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount,
        discount_amount, tax_amount, line_amount)
    SELECT COALESCE(o.target_id, o.new_id), s.line_key, s.product_code, s.product_name, s.quantity,
        s.unit_price_amount, s.discount_amount, s.tax_amount, s.line_amount
    FROM staged_order_lines AS s JOIN staged_orders AS o ON o.ordinal = s.ordinal
    WHERE o.target_id IS NULL OR o.are_lines_changed = 1";

/// Creates the staging tables, once per connection.
pub async fn prepare(db: &mut Db) -> anyhow::Result<()> {
    db.script(db.pick(STAGING_SQLITE, STAGING_POSTGRES)).await?;
    if db.kind() == Kind::Postgres {
        let (sequence,): (String,) = db.fetch_one(SEQUENCE_POSTGRES, values![]).await?;
        db.script(&format!(
            "ALTER TABLE staged_orders ALTER COLUMN new_id SET DEFAULT nextval('{}')",
            sequence.replace('\'', "''")
        ))
        .await?;
    }
    Ok(())
}

/// Stores the staged orders. All lines of an order are replaced if any of them differs.
pub async fn store(db: &mut Db, source_time: SourceTime, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
    let orders = Upsert {
        table: "orders",
        staging: STAGED,
        key: vec!["mall_id", "order_no"],
        columns: COLUMNS[REPLACED.start..=REPLACED.end].to_vec(),
        // An order is a whole: a column that its source does not have is cleared.
        replaced: COLUMNS[REPLACED].to_vec(),
        source_time,
        kept: None,
        uses_staged_ids: true,
    };
    if let Some(number_new_orders) = db.pick(
        Some("UPDATE staged_orders SET new_id = ordinal + (SELECT COALESCE(MAX(id), 0) FROM orders)"),
        None,
    ) {
        db.execute(number_new_orders, values![]).await?;
    }
    if orders.match_stored(db).await? > 0 {
        if db.kind() == Kind::Postgres {
            db.script(INDEX_LINES_POSTGRES).await?;
        }
        db.execute_unprepared(COMPARE_LINES).await?;
    }
    let outcome = orders.count(db).await?;
    orders.insert_new(db, outcome.new, now).await?;
    orders.update_changed(db, outcome.changed, now).await?;
    if outcome.changed > 0 {
        db.execute(DELETE_CHANGED_LINES, values![]).await?;
    }
    if outcome.new + outcome.changed > 0 {
        db.execute(INSERT_LINES, values![]).await?;
    }
    Ok(outcome)
}
