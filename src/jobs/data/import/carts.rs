//! Carts: each line of the file is an item of a cart and repeats the cart's own columns.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::shop::upsert::UpsertCounts;
use crate::shop::with_lines::{HasLines, WithLines};
use crate::{bulk_row, columns};

use super::field::{Column, Fields, Holds, Problems, YES_OR_NO, amount, optional, required, time};
use super::layout::Layout;
use super::with_lines::{Item, Lined, Lines, RecordKind};

/// Carts and their items.
pub(super) type Carts = Lined<CartFile>;

/// The kind of file.
pub(super) struct CartFile;

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

const IF_NEGATIVE_PRICE: &str = "most likely a coupon or a discount; leave out what is not a product";

bulk_row! {
    /// A cart.
    pub(super) struct StagedCart<'r> => "import_carts" {
        mall_id: i64,
        cart_key: &'r str,
        member_code: Option<&'r str>,
        currency: &'r str,
        locale: Option<&'r str>,
        url: Option<&'r str>,
        last_activity_at: DateTime<Utc>,
        ordered_at: Option<DateTime<Utc>>,
        source_updated_at: Option<DateTime<Utc>>,
    }
}

bulk_row! {
    /// An item of a cart.
    pub(super) struct StagedItem<'r> => "import_cart_items" {
        line_key: &'r str,
        product_code: &'r str,
        product_name: &'r str,
        quantity: i64,
        unit_price_amount: i64,
        url: Option<&'r str>,
        image_url: Option<&'r str>,
        is_purchased: bool,
    }
}

impl HasLines for StagedCart<'static> {
    type Line = StagedItem<'static>;
    const STORED_IN: &'static str = "carts";
    const KEY: &'static [&'static str] = columns![StagedCart: mall_id, cart_key];
    const LINES_STORED_IN: &'static str = "cart_items";
    const REFERENCE: &'static str = "cart_id";
}

impl RecordKind for CartFile {
    const NOUNS: (&'static str, &'static str) = ("cart", "carts");
    const RECORD_COLUMNS: RangeInclusive<usize> = LAST_ACTIVITY_AT..=UPDATED_AT;
    const PRODUCT_CODE: usize = PRODUCT_CODE;
    const LINE_NO: usize = LINE_NO;
    const QUANTITY: usize = QUANTITY;
    const IF_NEGATIVE_QUANTITY: &'static str = "leave out what was removed from the cart";

    type Rows = WithLines<StagedCart<'static>>;
    type Record<'r> = StagedCart<'r>;
    type Line<'r> = StagedItem<'r>;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("cart_key"),
            time("last_activity_at").required(),
            optional("member_code"),
            optional("currency"),
            optional("locale"),
            optional("url"),
            time("ordered_at"),
            time("updated_at"),
            required("product_code"),
            required("quantity").holding(Holds::Number),
            amount("unit_price_amount").required(),
            optional("line_no"),
            optional("product_name"),
            optional("item_url"),
            optional("image_url"),
            optional("purchased").one_of(YES_OR_NO),
        ]
    }

    fn record<'r>(fields: &Fields<'r>, _lines: &Lines<'r>, problems: &mut Problems) -> StagedCart<'r> {
        let shop = fields.shop_or_any(problems);
        StagedCart {
            mall_id: shop.id,
            cart_key: problems.take(fields.text(CART_KEY)),
            member_code: problems.take(fields.optional_text(MEMBER_CODE)),
            currency: fields.currency_or_any(CURRENCY, &shop.currency, problems),
            locale: problems.take(fields.optional_text(LOCALE)),
            url: problems.take(fields.optional_text(URL)),
            last_activity_at: problems.take(fields.time(LAST_ACTIVITY_AT, shop)),
            ordered_at: problems.take(fields.optional_time(ORDERED_AT, shop)),
            source_updated_at: problems.take(fields.optional_time(UPDATED_AT, shop)),
        }
    }

    fn line<'r>(
        fields: &Fields<'r>,
        item: &Item<'r>,
        cart: &StagedCart<'r>,
        problems: &mut Problems,
    ) -> StagedItem<'r> {
        let unit_price_amount = fields
            .positive_money(UNIT_PRICE_AMOUNT, cart.currency, IF_NEGATIVE_PRICE)
            .and_then(|price| price.ok_or_else(|| fields.wrong(UNIT_PRICE_AMOUNT, "is empty")));
        StagedItem {
            line_key: item.key,
            product_code: item.product_code,
            product_name: problems.take(fields.optional_text(PRODUCT_NAME)).unwrap_or(item.product_code),
            quantity: item.quantity,
            unit_price_amount: problems.take(unit_price_amount),
            url: problems.take(fields.optional_text(ITEM_URL)),
            image_url: problems.take(fields.optional_text(IMAGE_URL)),
            is_purchased: problems.take(fields.is_yes(PURCHASED)),
        }
    }

    fn push<'r>(rows: &mut Self::Rows, cart: StagedCart<'r>, items: impl Iterator<Item = StagedItem<'r>>) {
        rows.push(&cart, items);
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        Self::Rows::prepare(db).await
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        Self::Rows::store(db, layout.source_time, now).await
    }
}
