//! Carts: each line of the file is an item of a cart and repeats the cart's own columns.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::values;

use super::field::{Column, Fields, Layout, Parsed, YES_OR_NO, optional, required};
use super::kind::{BadLine, FileKind, Rows, same_record};
use super::reader::Record;
use crate::shop::upsert::{SourceTime, Upsert, UpsertCounts};

/// Carts and their items.
pub(super) struct Carts;

const CART_KEY: usize = 1;
const LAST_ACTIVITY_AT: usize = 2;
const MEMBER_CODE: usize = 3;
const CURRENCY: usize = 4;
const LOCALE: usize = 5;
const URL: usize = 6;
const ORDERED_AT: usize = 7;
const UPDATED_AT: usize = 8;
const PRODUCT_CODE: usize = 9;
const QUANTITY: usize = 10;
const UNIT_PRICE_AMOUNT: usize = 11;
const LINE_NO: usize = 12;
const PRODUCT_NAME: usize = 13;
const ITEM_URL: usize = 14;
const IMAGE_URL: usize = 15;
const PURCHASED: usize = 16;

/// The columns of the cart itself, which are the same on each of its lines.
const CART_COLUMNS: std::ops::RangeInclusive<usize> = LAST_ACTIVITY_AT..=UPDATED_AT;

const STAGING_SQLITE: &str = "
    CREATE TEMP TABLE IF NOT EXISTS import_carts (
        ordinal INTEGER PRIMARY KEY, mall_id INTEGER, cart_key TEXT, member_code TEXT, currency TEXT, locale TEXT,
        url TEXT, last_activity_at TEXT, ordered_at TEXT, source_updated_at TEXT, line_count INTEGER,
        target_id INTEGER, is_stale INTEGER DEFAULT 0, is_changed INTEGER DEFAULT 0,
        are_lines_changed INTEGER DEFAULT 0, new_id INTEGER);
    CREATE TEMP TABLE IF NOT EXISTS import_cart_items (
        ordinal INTEGER, line_key TEXT, product_code TEXT, product_name TEXT, quantity INTEGER,
        unit_price_amount INTEGER, url TEXT, image_url TEXT, is_purchased INTEGER,
        PRIMARY KEY (ordinal, line_key)) WITHOUT ROWID";
const STAGING_POSTGRES: &str = "
    CREATE TEMP TABLE IF NOT EXISTS import_carts (
        ordinal BIGINT PRIMARY KEY, mall_id BIGINT, cart_key TEXT, member_code TEXT, currency TEXT, locale TEXT,
        url TEXT, last_activity_at TIMESTAMPTZ, ordered_at TIMESTAMPTZ, source_updated_at TIMESTAMPTZ,
        line_count BIGINT, target_id BIGINT, is_stale BIGINT DEFAULT 0, is_changed BIGINT DEFAULT 0,
        are_lines_changed BIGINT DEFAULT 0, new_id BIGINT) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS import_cart_items (
        ordinal BIGINT, line_key TEXT, product_code TEXT, product_name TEXT, quantity BIGINT,
        unit_price_amount BIGINT, url TEXT, image_url TEXT, is_purchased BOOLEAN,
        PRIMARY KEY (ordinal, line_key)) ON COMMIT DELETE ROWS";

/// As for orders: new ids come from the sequence on PostgreSQL, and follow the last id on SQLite.
const NUMBER_NEW_CARTS: (&str, &str) = (
    "UPDATE import_carts SET new_id = ordinal + (SELECT COALESCE(MAX(id), 0) FROM carts)",
    "UPDATE import_carts SET new_id = nextval(pg_get_serial_sequence('carts', 'id'))",
);

const CART_STAGING: &[&str] = &[
    "ordinal",
    "mall_id",
    "cart_key",
    "member_code",
    "currency",
    "locale",
    "url",
    "last_activity_at",
    "ordered_at",
    "source_updated_at",
    "line_count",
];
const ITEM_STAGING: &[&str] = &[
    "ordinal",
    "line_key",
    "product_code",
    "product_name",
    "quantity",
    "unit_price_amount",
    "url",
    "image_url",
    "is_purchased",
];

/// The range of a cart's own columns in [`CART_STAGING`]: after the key, before the source's time.
const REPLACED: std::ops::Range<usize> = 3..9;

/// Counts all items of each stored cart, and those equal to a staged item. The cart differs unless both counts equal
/// the number of items in the file.
const COMPARE_LINES: &str = "
    UPDATE import_carts SET is_changed = 1, are_lines_changed = 1
    WHERE target_id IS NOT NULL AND is_stale = 0 AND (
        (SELECT COUNT(*) FROM cart_items AS t WHERE t.cart_id = import_carts.target_id) <> line_count
        OR (SELECT COUNT(*) FROM import_cart_items AS s
            JOIN cart_items AS t ON t.cart_id = import_carts.target_id AND t.line_key = s.line_key
            WHERE s.ordinal = import_carts.ordinal AND t.product_code = s.product_code
                AND t.product_name = s.product_name AND t.quantity = s.quantity
                AND t.unit_price_amount = s.unit_price_amount AND t.url IS NOT DISTINCT FROM s.url
                AND t.image_url IS NOT DISTINCT FROM s.image_url
                AND t.is_purchased = s.is_purchased) <> line_count)";
const DELETE_CHANGED_LINES: &str = "
    DELETE FROM cart_items WHERE cart_id IN (SELECT target_id FROM import_carts WHERE are_lines_changed = 1)";
const INSERT_LINES: &str = "
    INSERT INTO cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount, url,
        image_url, is_purchased)
    SELECT COALESCE(c.target_id, c.new_id), s.line_key, s.product_code, s.product_name, s.quantity,
        s.unit_price_amount, s.url, s.image_url, s.is_purchased
    FROM import_cart_items AS s JOIN import_carts AS c ON c.ordinal = s.ordinal
    WHERE c.target_id IS NULL OR c.are_lines_changed = 1";

impl FileKind for Carts {
    const NOUNS: (&'static str, &'static str) = ("cart", "carts");
    // A cart is held in memory as a whole; nobody fills one with more by hand.
    const MOST_LINES: usize = 2_000;
    const LOOKS_UP: bool = false;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("cart_key"),
            required("last_activity_at"),
            optional("member_code"),
            optional("currency"),
            optional("locale"),
            optional("url"),
            optional("ordered_at"),
            optional("updated_at"),
            required("product_code"),
            required("quantity"),
            required("unit_price_amount"),
            optional("line_no"),
            optional("product_name"),
            optional("item_url"),
            optional("image_url"),
            optional("purchased").one_of(YES_OR_NO),
        ]
    }

    fn staging() -> Vec<(&'static str, Cow<'static, [&'static str]>)> {
        vec![("import_carts", CART_STAGING.into()), ("import_cart_items", ITEM_STAGING.into())]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(CART_KEY), "")
    }

    fn read(layout: &Layout, lines: &[Record], rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        let Some(first) = lines.first() else { return Ok(()) };
        // Without its cart an item's price has no currency, so only the first line's fault is reported.
        let cart = Cart::parse(layout.fields(first))
            .map_err(|problem| vec![BadLine { line: first.line(), problem }])?;
        let mut bad = Vec::new();
        let mut parsed: Vec<Item<'_>> = Vec::with_capacity(lines.len());
        for record in lines {
            let fields = layout.fields(record);
            let item = same_record::<Self>(layout.fields(first), &fields, CART_COLUMNS, first.line())
                .and_then(|()| Item::parse(fields, cart.currency))
                .and_then(|item| item.is_first_of(&parsed).map(|()| item));
            match item {
                Ok(item) => parsed.push(item),
                Err(problem) => bad.push(BadLine { line: record.line(), problem }),
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        if let Some(rows) = rows {
            cart.stage(rows, parsed.len());
            for item in &parsed {
                item.stage(rows);
            }
            rows.ordinal += 1;
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        Ok(db.script(db.pick(STAGING_SQLITE, STAGING_POSTGRES)).await?)
    }

    async fn store(db: &mut Db, _layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        let carts = Upsert {
            table: "carts",
            staging: "import_carts",
            key: vec!["mall_id", "cart_key"],
            columns: CART_STAGING[REPLACED.start..=REPLACED.end].to_vec(),
            // A cart is a whole: a column that the file does not have is cleared.
            replaced: CART_STAGING[REPLACED].to_vec(),
            source_time: SourceTime::Recorded,
            kept: None,
            uses_staged_ids: true,
        };
        if carts.match_stored(db).await? > 0 {
            db.execute(COMPARE_LINES, values![]).await?;
        }
        let number_new =
            format!("{} WHERE target_id IS NULL", db.pick(NUMBER_NEW_CARTS.0, NUMBER_NEW_CARTS.1));
        db.execute(&number_new, values![]).await?;
        let outcome = carts.count(db).await?;
        carts.insert_new(db, outcome.new, now).await?;
        carts.update_changed(db, outcome.changed, now).await?;
        if outcome.changed > 0 {
            db.execute(DELETE_CHANGED_LINES, values![]).await?;
        }
        if outcome.new + outcome.changed > 0 {
            db.execute(INSERT_LINES, values![]).await?;
        }
        Ok(outcome)
    }
}

/// A cart's own columns.
struct Cart<'r> {
    mall_id: i64,
    key: &'r str,
    member_code: Option<&'r str>,
    currency: &'r str,
    locale: Option<&'r str>,
    url: Option<&'r str>,
    last_activity_at: DateTime<Utc>,
    ordered_at: Option<DateTime<Utc>>,
    source_updated_at: Option<DateTime<Utc>>,
}

impl<'r> Cart<'r> {
    fn parse(fields: Fields<'r>) -> Parsed<Self> {
        let shop = fields.shop()?;
        Ok(Self {
            mall_id: shop.id,
            key: fields.text(CART_KEY)?,
            member_code: fields.optional_text(MEMBER_CODE)?,
            currency: fields.currency(CURRENCY, &shop.currency)?,
            locale: fields.optional_text(LOCALE)?,
            url: fields.optional_text(URL)?,
            last_activity_at: fields.time(LAST_ACTIVITY_AT, shop)?,
            ordered_at: fields.optional_time(ORDERED_AT, shop)?,
            source_updated_at: fields.optional_time(UPDATED_AT, shop)?,
        })
    }

    fn stage(&self, rows: &mut Rows, lines: usize) {
        let ordinal = rows.ordinal;
        let load = &mut rows.loads[0];
        load.int(ordinal);
        load.int(self.mall_id);
        load.text(self.key);
        load.text(self.member_code);
        load.text(self.currency);
        load.text(self.locale);
        load.text(self.url);
        load.time(self.last_activity_at);
        load.time(self.ordered_at);
        load.time(self.source_updated_at);
        load.int(i64::try_from(lines).unwrap_or(i64::MAX));
        load.end_row();
    }
}

/// An item's own columns.
struct Item<'r> {
    key: &'r str,
    has_number: bool,
    product_code: &'r str,
    product_name: &'r str,
    quantity: i64,
    unit_price_amount: i64,
    url: Option<&'r str>,
    image_url: Option<&'r str>,
    is_purchased: bool,
}

impl<'r> Item<'r> {
    fn parse(fields: Fields<'r>, currency: &str) -> Parsed<Self> {
        let product_code = fields.text(PRODUCT_CODE)?;
        let line_no = fields.optional_text(LINE_NO)?;
        let quantity = fields.integer(QUANTITY)?;
        if quantity < 0 {
            return Err(fields.wrong(QUANTITY, &format!("`{quantity}` is negative")));
        }
        let unit_price_amount = fields
            .positive_money(UNIT_PRICE_AMOUNT, currency)?
            .ok_or_else(|| fields.wrong(UNIT_PRICE_AMOUNT, "is empty"))?;
        Ok(Self {
            key: line_no.unwrap_or(product_code),
            has_number: line_no.is_some(),
            product_code,
            product_name: fields.optional_text(PRODUCT_NAME)?.unwrap_or(product_code),
            quantity,
            unit_price_amount,
            url: fields.optional_text(ITEM_URL)?,
            image_url: fields.optional_text(IMAGE_URL)?,
            is_purchased: fields.is_yes(PURCHASED)?,
        })
    }

    /// Whether no earlier item of the cart has the same key.
    fn is_first_of(&self, earlier: &[Self]) -> Parsed<()> {
        if earlier.iter().all(|item| item.key != self.key) {
            return Ok(());
        }
        Err(if self.has_number {
            format!("`line_no`: `{}` occurs twice in the same cart", self.key)
        } else {
            format!(
                "`product_code`: `{}` occurs twice in the same cart: distinguish its lines with a column `line_no`",
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
        load.text(self.url);
        load.text(self.image_url);
        load.boolean(self.is_purchased);
        load.end_row();
    }
}
