//! Orders: each line of the file is a line of an order and repeats the order's own columns.
//!
//! Status and money have to agree: an order whose money went back has a refund, one that was paid has a day on which that
//! was. Where a file does not say so, a stated rule does, and the run says how often.

use std::ops::RangeInclusive;

use chrono::{DateTime, Days, Utc};

use crate::bulk_row;
use crate::config::{CancelledWithoutTime, PaidWithoutTime, RefundedAboveTotal, RefundedWithoutAmount};
use crate::db::{Bulk, Db, DbError, Kind as DbKind};
use crate::money::{MAX_AMOUNT, average_half_up, minor_to_display};
use crate::shop::orders::{Orders as OrdersWithLines, StagedLine, StagedOrder};
use crate::shop::refunds::{ASSUMED, CANCELLED_PART, STATED, is_derived, is_of_family};
use crate::shop::upsert::{SourceTime, UpsertCounts, tomorrow};
use crate::values;

use super::field::{Column, Fields, Holds, Parsed, Problems, amount, line_amount, optional, required, time};
use super::kind::{LeftOut, Noted, Notes, Rows, StoredRecord};
use super::layout::{Layout, Role};
use super::with_lines::{Item, Lined, Lines, RecordKind};

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
const FEE_AMOUNT: usize = 14;
const REFUNDED_AMOUNT: usize = 15;
const REFUNDED_AT: usize = 16;
const CANCELLED_AMOUNT: usize = 17;
const UPDATED_AT: usize = 18;
const PRODUCT_CODE: usize = 19;
const QUANTITY: usize = 20;
const UNIT_PRICE_AMOUNT: usize = 21;
const LINE_NO: usize = 22;
const PRODUCT_NAME: usize = 23;
const LINE_DISCOUNT_AMOUNT: usize = 24;
const LINE_TAX_AMOUNT: usize = 25;
const LINE_AMOUNT: usize = 26;

/// Some shops export what was paid back as a negative order. As a positive one it would be a sale.
const IF_NEGATIVE: &str = "most likely a refund or a cancellation; import a refund with --kind refunds, and a cancelled \
                           order with its amount and the status ORDER_CANCELLED (see docs/import.md)";
/// Some shops export what is deducted as a negative amount, others a surcharge.
const IF_NEGATIVE_DISCOUNT: &str = "the column is how much was deducted; export the discount like that, and a surcharge as a \
                                    line of its own";
const IF_NEGATIVE_REFUND: &str = "the column is how much was paid back; export it like that";

const STATUSES: &[&str] = &["PAYMENT_WAIT", "PAID", "SHIPPED", "DELIVERED", "ORDER_CANCELLED", "REFUNDED"];

bulk_row! {
    /// A refund that follows from an order's own file.
    pub(super) struct DerivedRefund<'r> => "staged_order_refunds" {
        ordinal: i64,
        refund_key: &'r str,
        currency: &'r str,
        amount: i64,
        refunded_at: DateTime<Utc>,
        is_day_stated: bool,
        is_day_known: bool,
    }
}

bulk_row! {
    /// A cancelled order whose day of it is that of its last change, for want of a better one.
    pub(super) struct AssumedCancellation => "staged_assumed_cancellations" {
        ordinal: i64,
        assumed_at: DateTime<Utc>,
    }
}

bulk_row! {
    /// An order that a rule leaves out.
    pub(super) struct LeftOutOrder<'r> => "import_left_out" {
        line: i64,
        mall_id: i64,
        order_no: &'r str,
    }
}

const LEFT_OUT_SALES: &str = "
    SELECT s.line, t.order_no AS key, t.currency, t.total_amount AS amount
    FROM import_left_out AS s JOIN orders AS t ON t.mall_id = s.mall_id AND t.order_no = s.order_no
    WHERE t.paid_at IS NOT NULL AND t.status NOT IN ('ORDER_CANCELLED', 'REFUNDED')
    ORDER BY s.line";

/// Two states of an order have most lines in common, two parts of it none.
const SPLIT_ORDERS: &str = "
    SELECT r.order_no, r.currency, r.total_amount
    FROM staged_orders AS r JOIN orders AS t ON t.mall_id = r.mall_id AND t.order_no = r.order_no
    WHERE t.updated_at >= $1
        AND EXISTS (SELECT 1 FROM order_items AS i WHERE i.order_id = t.id)
        AND NOT EXISTS (
            SELECT 1 FROM order_items AS i JOIN staged_order_lines AS s ON s.line_key = i.line_key
            WHERE i.order_id = t.id AND s.ordinal = r.ordinal)
    ORDER BY r.ordinal";

/// An order that was read.
#[expect(clippy::struct_excessive_bools, reason = "each is a note of its own")]
pub(super) struct ReadOrder<'r> {
    order: StagedOrder<'r>,
    /// What the file says was paid back; nothing if it says nothing.
    refunded_amount: Option<i64>,
    refunded_at: Option<DateTime<Utc>>,
    cancelled_amount: i64,
    /// Whether the file has a column for the payment day and leaves it blank, so that a rule gave it.
    has_assumed_payment: bool,
    /// Likewise the day of the cancellation.
    has_assumed_cancellation: bool,
    /// Whether that day is the one of its last change: a memo that is written later changes it again.
    is_cancellation_of_last_change: bool,
    /// Whether some of its items were cancelled or returned.
    has_cancelled_items: bool,
    /// Whether an amount that is deducted is negative.
    deducts_negatives: bool,
    /// What went back if the items say it too.
    repeated_refund: Option<RepeatedRefund>,
    refund: Option<FollowingRefund>,
}

/// An amount that went back, of which lines that are no items and items both say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepeatedRefund {
    /// The items repeat it.
    Same(i64),
    /// They say something else, so that all is added up to this.
    Added(i64),
}

impl RepeatedRefund {
    /// By the amounts of the items, and the sum of those of the other lines.
    fn of((of_items, of_others): (Vec<i64>, i64)) -> Option<Self> {
        let sum: i64 = of_items.iter().sum();
        if sum == 0 || of_others == 0 {
            return None;
        }
        // Each item has its own, or each that of the order.
        let is_same = sum == of_others || of_items.iter().all(|amount| [0, of_others].contains(amount));
        Some(if is_same { Self::Same(of_others) } else { Self::Added(sum + of_others) })
    }
}

/// The refund that follows from an order.
struct FollowingRefund {
    key: &'static str,
    amount: i64,
    at: DateTime<Utc>,
    is_day_stated: bool,
    is_day_known: bool,
}

/// A chunk of orders, with the refunds that follow from them.
pub(super) struct OrderRows {
    orders: OrdersWithLines,
    refunds: Bulk<DerivedRefund<'static>>,
    assumed_cancellations: Bulk<AssumedCancellation>,
}

impl Rows for OrderRows {
    fn none(database: DbKind) -> Self {
        Self {
            orders: OrdersWithLines::new(database),
            refunds: Bulk::for_database(database),
            assumed_cancellations: Bulk::for_database(database),
        }
    }

    fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    fn bytes(&self) -> usize {
        self.orders.bytes() + self.refunds.bytes() + self.assumed_cancellations.bytes()
    }

    async fn stage(&mut self, db: &mut Db) -> Result<(), DbError> {
        self.orders.stage(db).await?;
        // PostgreSQL empties these tables at the end of each transaction.
        let are_emptied = db.kind() == DbKind::Postgres;
        if !(are_emptied && self.refunds.is_empty()) {
            db.stage(&mut self.refunds).await?;
        }
        if !(are_emptied && self.assumed_cancellations.is_empty()) {
            db.stage(&mut self.assumed_cancellations).await?;
        }
        Ok(())
    }
}

impl RecordKind for OrderFile {
    const NOUNS: (&'static str, &'static str) = ("order", "orders");
    const RECORD_COLUMNS: RangeInclusive<usize> = STATUS..=UPDATED_AT;
    const PRODUCT_CODE: usize = PRODUCT_CODE;
    const LINE_NO: usize = LINE_NO;
    const QUANTITY: usize = QUANTITY;
    const IF_NEGATIVE_QUANTITY: &'static str = IF_NEGATIVE;

    type Rows = OrderRows;
    type Record<'r> = ReadOrder<'r>;
    type Line<'r> = StagedLine<'r>;

    fn columns() -> Vec<Column> {
        vec![
            optional("mall"),
            required("order_no"),
            required("status").one_of(STATUSES),
            time("ordered_at").required(),
            amount("total_amount").required(),
            optional("member_code"),
            optional("currency"),
            time("paid_at"),
            time("cancelled_at"),
            optional("cancel_reason"),
            optional("payment_method"),
            amount("discount_amount"),
            amount("shipping_amount"),
            amount("tax_amount"),
            amount("fee_amount"),
            amount("refunded_amount"),
            time("refunded_at"),
            amount("cancelled_amount"),
            time("updated_at"),
            required("product_code"),
            required("quantity").holding(Holds::Number),
            amount("unit_price_amount").required(),
            optional("line_no"),
            optional("product_name"),
            amount("line_discount_amount"),
            amount("line_tax_amount"),
            amount("line_amount"),
        ]
    }

    fn record<'r>(fields: &Fields<'r>, lines: &Lines<'r>, problems: &mut Problems) -> ReadOrder<'r> {
        let shop = fields.shop_or_any(problems);
        let currency = fields.currency_or_any(CURRENCY, &shop.currency, problems);
        let mut money =
            |column, if_negative| problems.take(order_money(fields, lines, column, currency, if_negative));
        let discount_amount = money(DISCOUNT_AMOUNT, IF_NEGATIVE_DISCOUNT).unwrap_or(0);
        let shipping_amount = money(SHIPPING_AMOUNT, IF_NEGATIVE).unwrap_or(0);
        let tax_amount = money(TAX_AMOUNT, IF_NEGATIVE).unwrap_or(0);
        let fee_amount = money(FEE_AMOUNT, IF_NEGATIVE).unwrap_or(0);
        let refunded_amount = money(REFUNDED_AMOUNT, IF_NEGATIVE_REFUND);
        let refunds_by_role = lines.amounts_by_role(REFUNDED_AMOUNT, currency).unwrap_or_default();
        let repeated_refund = RepeatedRefund::of(refunds_by_role);
        let refunded_amount = match repeated_refund {
            Some(RepeatedRefund::Same(amount)) => Some(amount),
            _ => refunded_amount,
        };
        let cancelled_amount = money(CANCELLED_AMOUNT, IF_NEGATIVE_REFUND).unwrap_or(0);
        let total_amount = if is_total_computed(fields) {
            // What comes on top of the parts, and may be deducted from them.
            fields.optional_money(TOTAL_AMOUNT, currency)
        } else {
            order_money(fields, lines, TOTAL_AMOUNT, currency, IF_NEGATIVE)
                .and_then(|total| total.map(Some).ok_or_else(|| fields.wrong(TOTAL_AMOUNT, "is empty")))
        };
        let mut order = StagedOrder {
            mall_id: shop.id,
            order_no: problems.take(fields.text(ORDER_NO)),
            member_code: problems.take(fields.optional_text(MEMBER_CODE)),
            status: problems.take(lines.word(STATUS, fields)),
            currency,
            total_amount: problems.take(total_amount).unwrap_or(0),
            discount_amount,
            shipping_amount,
            tax_amount,
            fee_amount,
            payment_method: problems.take(fields.optional_text(PAYMENT_METHOD)),
            ordered_at: problems.take(fields.time(ORDERED_AT, shop)),
            paid_at: problems.take(fields.optional_time(PAID_AT, shop)),
            cancelled_at: problems.take(fields.optional_time(CANCELLED_AT, shop)),
            cancel_reason: problems.take(fields.optional_text(CANCEL_REASON)),
            source_updated_at: problems.take(fields.optional_time(UPDATED_AT, shop)),
        };
        let refunded_at = problems.take(fields.optional_time(REFUNDED_AT, shop));
        // Without these days the order would be in no report.
        let has_assumed_payment = settle_payment_day(&mut order, fields, problems);
        let has_no_cancellation_day = order.cancelled_at.is_none();
        let has_assumed_cancellation = settle_cancellation_day(&mut order, fields, problems);
        let rule = fields.layout().mapping.keys.cancelled_without_time.unwrap_or_default();
        let is_cancellation_of_last_change = has_no_cancellation_day
            && order.cancelled_at.is_some()
            && rule == CancelledWithoutTime::UpdatedAt;
        ReadOrder {
            order,
            refunded_amount,
            refunded_at,
            cancelled_amount,
            has_assumed_payment,
            has_assumed_cancellation,
            is_cancellation_of_last_change,
            has_cancelled_items: lines.have_word(STATUS, &["ORDER_CANCELLED", "REFUNDED"]),
            deducts_negatives: lines.deduct_negatives(),
            repeated_refund,
            refund: None,
        }
    }

    fn line<'r>(
        fields: &Fields<'r>,
        item: &Item<'r>,
        read: &ReadOrder<'r>,
        problems: &mut Problems,
    ) -> StagedLine<'r> {
        let amounts = LineAmounts::read(fields, item.quantity, item.is_gift, read.order.currency, problems);
        let tax_amount = fields.positive_money(LINE_TAX_AMOUNT, read.order.currency, IF_NEGATIVE);
        StagedLine {
            line_key: item.key,
            product_code: item.product_code,
            product_name: problems.take(fields.optional_text(PRODUCT_NAME)).unwrap_or(item.product_code),
            quantity: item.quantity,
            unit_price_amount: amounts.unit_price,
            discount_amount: amounts.discount,
            tax_amount: problems.take(tax_amount).unwrap_or(0),
            line_amount: amounts.line,
        }
    }

    /// Adds the amount of a line that is not a product to its order.
    fn other_line<'r>(fields: &Fields<'r>, role: Role, read: &mut ReadOrder<'r>, problems: &mut Problems) {
        if role == Role::Skipped {
            return;
        }
        let quantity = problems.take(fields.optional_integer(QUANTITY)).unwrap_or(1);
        // Each is at most a nine-thousandth of what fits, and an order has 2,000 lines.
        let amount = LineAmounts::read(fields, quantity, false, read.order.currency, problems).line;
        let order = &mut read.order;
        match role {
            Role::Shipping => order.shipping_amount += amount,
            Role::Fee => order.fee_amount += amount,
            Role::Tax => order.tax_amount += amount,
            Role::Discount => order.discount_amount += amount.abs(),
            Role::Refund => read.refunded_amount = Some(read.refunded_amount.unwrap_or(0) + amount.abs()),
            Role::Product | Role::Gift | Role::Skipped => {}
        }
    }

    fn complete<'r>(
        read: &mut ReadOrder<'r>,
        lines: &[(&'r str, StagedLine<'r>)],
        fields: &Fields<'r>,
        problems: &mut Problems,
        notes: &mut Notes,
    ) {
        refuse_negative_parts(&read.order, fields, problems);
        let parts = Parts::of(&read.order, lines);
        let layout = fields.layout();
        if is_total_computed(fields) {
            let parts = Parts { charged: parts.charged + i128::from(read.order.total_amount), ..parts };
            read.order.total_amount = problems.take(parts.total(layout.mapping.keys.tax_included, fields));
        } else if parts.are_unbalanced(&read.order, layout) {
            note_unbalanced(&read.order, &parts, fields, notes);
        }
        note_unequal_line(&read.order, lines, fields, notes);
        note_assumed_days(read, fields, notes);
        let is_standing = !matches!(read.order.status, "ORDER_CANCELLED" | "REFUNDED");
        if is_standing && read.order.paid_at.is_none() && read.cancelled_amount > 0 {
            // What was cancelled before it was paid is not going to be paid.
            read.order.total_amount -= read.cancelled_amount;
            if read.order.total_amount < 0 {
                problems.add(fields.wrong(CANCELLED_AMOUNT, "is more than the order's total"));
            }
        }
        note_contradictions(read, fields, notes);
        read.refund = following_refund(read, fields, problems, notes);
        if let SourceTime::Exported(at) = layout.source_time {
            // Only now: no rule takes it for the time of a change.
            read.order.source_updated_at = Some(at);
        }
    }

    fn push<'r>(rows: &mut OrderRows, read: ReadOrder<'r>, lines: impl Iterator<Item = StagedLine<'r>>) {
        let ordinal = rows.orders.push(&read.order, lines);
        if let Some(assumed_at) = read.order.cancelled_at.filter(|_| read.is_cancellation_of_last_change) {
            rows.assumed_cancellations.push(&AssumedCancellation { ordinal, assumed_at });
        }
        if let Some(refund) = read.refund {
            rows.refunds.push(&DerivedRefund {
                ordinal,
                refund_key: refund.key,
                currency: read.order.currency,
                amount: refund.amount,
                refunded_at: refund.at,
                is_day_stated: refund.is_day_stated,
                is_day_known: refund.is_day_known,
            });
        }
    }

    async fn stored_of(db: &mut Db, left_out: &[LeftOut]) -> anyhow::Result<Vec<StoredRecord>> {
        let mut rows = Bulk::for_database(db.kind());
        for LeftOut { line, mall_id, key } in left_out {
            let line = i64::try_from(*line).unwrap_or(i64::MAX);
            rows.push(&LeftOutOrder { line, mall_id: *mall_id, order_no: key });
        }
        db.stage(&mut rows).await?;
        Ok(db.fetch_all(LEFT_OUT_SALES, values![]).await?)
    }

    async fn note_split(db: &mut Db, since: DateTime<Utc>, split: &mut Noted) -> anyhow::Result<()> {
        let orders: Vec<(String, String, i64)> = db.fetch_all(SPLIT_ORDERS, values![since]).await?;
        for (order_no, currency, total_amount) in orders {
            split.add(&currency, total_amount, || format!("order {order_no}"));
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        OrdersWithLines::prepare(db).await?;
        // Looked up outside of a transaction.
        db.create_lasting_staging::<LeftOutOrder>("PRIMARY KEY (line)").await?;
        db.create_staging::<AssumedCancellation>("PRIMARY KEY (ordinal)").await?;
        Ok(db.create_staging::<DerivedRefund>("PRIMARY KEY (ordinal)").await?)
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<UpsertCounts> {
        db.execute_unprepared(&keep_cancellation_days(db, now)).await?;
        let outcome = OrdersWithLines::store(db, layout.source_time, now).await?;
        if let Some(exported) = layout.exported.filter(|_| layout.is_as_before) {
            db.execute(DATE_REFUNDS_BY_EXPORT, values![exported]).await?;
        }
        store_refunds(db, Outdated::of(layout), outcome, now).await?;
        Ok(outcome)
    }
}

// ---------------------------------------------------------------- amounts

/// Whether an order's total is made of its parts: a rule may say what it is instead.
fn is_total_computed(fields: &Fields<'_>) -> bool {
    fields.layout().is_computed(TOTAL_AMOUNT) && !fields.is_ruled(TOTAL_AMOUNT)
}

/// An amount of a whole order.
fn order_money(
    fields: &Fields<'_>,
    lines: &Lines<'_>,
    column: usize,
    currency: &str,
    if_negative: &str,
) -> Parsed<Option<i64>> {
    match lines.added_up(column, currency).unwrap_or_else(|| fields.optional_money(column, currency))? {
        Some(amount) if amount < 0 => Err(fields.negative(column, if_negative)),
        Some(amount) if amount > MAX_AMOUNT => Err(fields.wrong(column, "is too large an amount")),
        amount => Ok(amount),
    }
}

/// What a line costs.
struct LineAmounts {
    unit_price: i64,
    discount: i64,
    line: i64,
}

impl LineAmounts {
    fn read(
        fields: &Fields<'_>,
        quantity: i64,
        is_gift: bool,
        currency: &str,
        problems: &mut Problems,
    ) -> Self {
        let discount = fields.positive_money(LINE_DISCOUNT_AMOUNT, currency, IF_NEGATIVE_DISCOUNT);
        let discount = problems.take(discount).unwrap_or(0);
        let unit_price = problems.take(fields.optional_money(UNIT_PRICE_AMOUNT, currency));
        let line = problems.take(fields.optional_money(LINE_AMOUNT, currency));
        match (unit_price, line) {
            (unit_price, Some(line)) => {
                // The line's amount is what counts; the price of one unit may have been rounded.
                let one = || average_half_up(line.saturating_add(discount), quantity);
                Self { unit_price: unit_price.unwrap_or_else(one), discount, line }
            }
            (None, None) if !is_gift => {
                let column = if fields.has(LINE_AMOUNT) { LINE_AMOUNT } else { UNIT_PRICE_AMOUNT };
                problems.add(fields.wrong(column, "is empty"));
                Self { unit_price: 0, discount, line: 0 }
            }
            (unit_price, None) => {
                let unit_price = unit_price.unwrap_or(0);
                let line = problems.take(line_amount(quantity, unit_price, discount));
                Self { unit_price, discount, line }
            }
        }
    }
}

/// The lines of a role may add up to what an order cannot have.
fn refuse_negative_parts(order: &StagedOrder<'_>, fields: &Fields<'_>, problems: &mut Problems) {
    for (column, amount) in [
        (SHIPPING_AMOUNT, order.shipping_amount),
        (FEE_AMOUNT, order.fee_amount),
        (TAX_AMOUNT, order.tax_amount),
        (DISCOUNT_AMOUNT, order.discount_amount),
    ] {
        if amount < 0 {
            problems.add(fields.negative(column, IF_NEGATIVE));
        } else if amount > MAX_AMOUNT {
            problems.add(fields.wrong(column, "is too large an amount"));
        }
    }
}

/// What an order's total is made of.
struct Parts {
    /// The lines, shipping and fees.
    charged: i128,
    /// The order's own discount.
    discount: i128,
    /// The discounts of its lines, which the order's own may or may not include.
    line_discounts: i128,
    tax: i128,
}

impl Parts {
    fn of(order: &StagedOrder<'_>, lines: &[(&str, StagedLine<'_>)]) -> Self {
        let mut parts = Self {
            charged: i128::from(order.shipping_amount) + i128::from(order.fee_amount),
            discount: i128::from(order.discount_amount),
            line_discounts: 0,
            tax: i128::from(order.tax_amount),
        };
        for (_, line) in lines {
            parts.charged += i128::from(line.line_amount);
            parts.line_discounts += i128::from(line.discount_amount);
        }
        parts
    }

    /// What the parts add up to, with the tax if prices are without it.
    fn sum(&self, adds_tax: bool) -> i128 {
        self.charged - self.discount + if adds_tax { self.tax } else { 0 }
    }

    /// The total of an order whose file has none.
    fn total(&self, tax_included: Option<bool>, fields: &Fields<'_>) -> Parsed<i64> {
        let total = i64::try_from(self.sum(tax_included == Some(false))).ok();
        match total.filter(|total| *total <= MAX_AMOUNT) {
            Some(total) if total < 0 => {
                Err(fields.wrong(TOTAL_AMOUNT, "the order's lines and discounts add up to less than nothing"))
            }
            Some(total) => Ok(total),
            None => Err(fields.wrong(TOTAL_AMOUNT, "is too large an amount")),
        }
    }

    /// Whether the total is another than all that its parts may add up to, and no part that the file lacks can be why.
    fn are_unbalanced(&self, order: &StagedOrder<'_>, layout: &Layout) -> bool {
        let total = i128::from(order.total_amount);
        let included = layout.mapping.keys.tax_included;
        let with_tax: &[bool] = match included {
            Some(true) => &[false],
            Some(false) => &[true],
            None => &[false, true],
        };
        let is_sum = |adds_tax: &bool| {
            let sum = self.sum(*adds_tax);
            total == sum || total == sum + self.discount.min(self.line_discounts)
        };
        if with_tax.iter().any(is_sum) {
            return false;
        }
        let has = |column: usize, role: Role| {
            layout.has(column) || layout.roles.as_ref().is_some_and(|(_, words)| words.has(&role))
        };
        if total < self.sum(with_tax[0]) {
            return has(DISCOUNT_AMOUNT, Role::Discount);
        }
        if total > 2 * self.charged + self.tax {
            // No fee is more than all the rest.
            return true;
        }
        has(SHIPPING_AMOUNT, Role::Shipping)
            && has(FEE_AMOUNT, Role::Fee)
            && (included == Some(true) || has(TAX_AMOUNT, Role::Tax))
    }
}

fn note_unbalanced(order: &StagedOrder<'_>, parts: &Parts, fields: &Fields<'_>, notes: &mut Notes) {
    let adds_tax = fields.layout().mapping.keys.tax_included == Some(false);
    let sum = i64::try_from(parts.sum(adds_tax)).unwrap_or(i64::MAX);
    let currency = order.currency;
    notes.unbalanced.add(currency, order.total_amount - sum, || {
        format!(
            "line {}, order {}: {} instead of {} {currency}",
            fields.record().line(),
            order.order_no,
            minor_to_display(order.total_amount, currency),
            minor_to_display(sum, currency)
        )
    });
}

/// Notes an order with a line whose amount is not its quantity times its price, if the file has both.
fn note_unequal_line(
    order: &StagedOrder<'_>,
    lines: &[(&str, StagedLine<'_>)],
    fields: &Fields<'_>,
    notes: &mut Notes,
) {
    if !fields.has(UNIT_PRICE_AMOUNT) || !fields.has(LINE_AMOUNT) {
        return;
    }
    let product = |line: &StagedLine<'_>| {
        i128::from(line.quantity) * i128::from(line.unit_price_amount) - i128::from(line.discount_amount)
    };
    let is_unequal = |line: &&StagedLine<'_>| {
        let difference = i128::from(line.line_amount) - product(line);
        // Prices are rounded, with the tax or without it, and the amount may be that before the discount. A gift has none.
        let rounding = i128::from(line.quantity).max(1);
        let explained = [0, line.tax_amount, line.discount_amount];
        line.line_amount != 0
            && explained.into_iter().all(|part| (difference.abs() - i128::from(part)).abs() >= rounding)
    };
    let Some(line) = lines.iter().map(|(_, line)| line).find(is_unequal) else { return };
    let currency = order.currency;
    let instead = i64::try_from(product(line)).unwrap_or(i64::MAX);
    notes.unequal_lines.add(currency, line.line_amount - instead, || {
        format!(
            "{}: {} instead of {} {currency}",
            example(order, fields),
            minor_to_display(line.line_amount, currency),
            minor_to_display(instead, currency)
        )
    });
}

// ---------------------------------------------------------------- days

fn example(order: &StagedOrder<'_>, fields: &Fields<'_>) -> String {
    format!("line {}, order {}", fields.record().line(), order.order_no)
}

/// Gives a paid order the day that the mapping's rule says, if it has none; whether that is worth a note. A file without
/// the column is as its mapping says.
fn settle_payment_day(order: &mut StagedOrder<'_>, fields: &Fields<'_>, problems: &mut Problems) -> bool {
    let is_paid = matches!(order.status, "PAID" | "SHIPPED" | "DELIVERED" | "REFUNDED");
    if !is_paid || order.paid_at.is_some() {
        return false;
    }
    order.paid_at = match fields.layout().mapping.keys.paid_without_time.unwrap_or_default() {
        PaidWithoutTime::Refuse => None,
        PaidWithoutTime::OrderedAt => Some(order.ordered_at),
        PaidWithoutTime::UpdatedAt => order.source_updated_at,
    };
    if order.paid_at.is_none() {
        problems.add(fields.wrong(PAID_AT, &format!("is empty, but the order is {}", order.status)));
    }
    fields.has(PAID_AT)
}

/// Gives a cancelled order the day that the mapping's rule says, if it has none; whether that is worth a note.
fn settle_cancellation_day(
    order: &mut StagedOrder<'_>,
    fields: &Fields<'_>,
    problems: &mut Problems,
) -> bool {
    if order.status != "ORDER_CANCELLED" || order.cancelled_at.is_some() {
        return false;
    }
    let rule = fields.layout().mapping.keys.cancelled_without_time.unwrap_or_default();
    order.cancelled_at = match rule {
        CancelledWithoutTime::Refuse => None,
        CancelledWithoutTime::UpdatedAt => order.source_updated_at,
        CancelledWithoutTime::PaidAt => Some(order.paid_at.unwrap_or(order.ordered_at)),
        CancelledWithoutTime::OrderedAt => Some(order.ordered_at),
    };
    if order.cancelled_at.is_none() {
        problems.add(fields.wrong(CANCELLED_AT, "is empty, but the order is ORDER_CANCELLED"));
    }
    fields.has(CANCELLED_AT)
}

/// An order that was cancelled when it was last read stays cancelled on that day: what changed since, such as a memo, is not
/// its cancellation.
fn keep_cancellation_days(db: &Db, now: DateTime<Utc>) -> String {
    format!(
        "UPDATE staged_orders AS r SET cancelled_at = t.cancelled_at
         FROM staged_assumed_cancellations AS s, orders AS t
         WHERE r.ordinal IN (SELECT ordinal FROM staged_assumed_cancellations) AND s.ordinal = r.ordinal
             AND t.mall_id = r.mall_id AND t.order_no = r.order_no
             AND t.status = 'ORDER_CANCELLED' AND t.cancelled_at < s.assumed_at AND {}
             AND (t.source_updated_at < r.source_updated_at OR t.source_updated_at > {})",
        db.is_time("t.cancelled_at"),
        tomorrow(now)
    )
}

/// Notes what a rule said about an order's days, now that its total is known.
fn note_assumed_days(read: &ReadOrder<'_>, fields: &Fields<'_>, notes: &mut Notes) {
    let order = &read.order;
    let is_paid_waiting = order.status == "PAYMENT_WAIT" && order.paid_at.is_some();
    for (is_so, noted) in [
        (is_paid_waiting, &mut notes.paid_waiting),
        (read.has_assumed_payment, &mut notes.assumed_payments),
        (read.has_assumed_cancellation, &mut notes.assumed_cancellations),
    ] {
        if is_so {
            noted.add(order.currency, order.total_amount, || example(order, fields));
        }
    }
}

/// Notes what an order says of itself that cannot all be meant.
fn note_contradictions(read: &ReadOrder<'_>, fields: &Fields<'_>, notes: &mut Notes) {
    let order = &read.order;
    let is_cancelled = order.status == "ORDER_CANCELLED";
    let is_standing = !is_cancelled && order.status != "REFUNDED";
    let went_back = read.refunded_amount.unwrap_or(0);
    let has_amount = went_back > 0 || read.cancelled_amount > 0;
    let tomorrow = fields.layout().exported.and_then(|exported| exported.checked_add_days(Days::new(1)));
    let days = [
        Some(order.ordered_at),
        order.paid_at,
        order.cancelled_at,
        order.source_updated_at,
        read.refunded_at,
    ];
    let is_in_future = tomorrow.is_some_and(|tomorrow| days.into_iter().flatten().any(|day| day > tomorrow));
    for (is_so, noted, amount) in [
        (is_in_future, &mut notes.future, order.total_amount),
        (
            is_standing && order.cancelled_at.is_some() && read.cancelled_amount == 0,
            &mut notes.standing_cancelled,
            order.total_amount,
        ),
        (
            is_cancelled
                && order.paid_at.is_some()
                && order.total_amount > 0
                && read.refunded_amount == Some(0),
            &mut notes.kept_cancellations,
            order.total_amount,
        ),
        (order.paid_at.is_none() && went_back > 0, &mut notes.refunds_of_unpaid, went_back),
        (
            is_standing && read.has_cancelled_items && !has_amount,
            &mut notes.partly_cancelled,
            order.total_amount,
        ),
        (read.deducts_negatives, &mut notes.negative_deductions, order.total_amount),
        (
            matches!(read.repeated_refund, Some(RepeatedRefund::Same(_))),
            &mut notes.repeated_refunds,
            went_back,
        ),
        (matches!(read.repeated_refund, Some(RepeatedRefund::Added(_))), &mut notes.added_refunds, went_back),
    ] {
        if is_so {
            noted.add(order.currency, amount, || example(order, fields));
        }
    }
}

// ---------------------------------------------------------------- refunds

/// What was paid back of an order, by its own file.
fn following_refund(
    read: &mut ReadOrder<'_>,
    fields: &Fields<'_>,
    problems: &mut Problems,
    notes: &mut Notes,
) -> Option<FollowingRefund> {
    let order = &mut read.order;
    let is_cancelled = order.status == "ORDER_CANCELLED";
    let is_standing = !is_cancelled && order.status != "REFUNDED";
    let day = refund_day(order, read.refunded_at);
    let is_day_known =
        read.refunded_at.is_some() || order.cancelled_at.is_some() || order.source_updated_at.is_some();
    if is_standing && read.cancelled_amount > 0 {
        // The order is not cancelled, and must not be counted as if it were.
        order.cancelled_at = None;
    }
    order.paid_at?;
    let is_day_stated = read.refunded_at.is_some();
    let back = |key, amount| Some(FollowingRefund { key, amount, at: day, is_day_stated, is_day_known });
    let (column, amount) = match read.refunded_amount {
        Some(amount) if amount > 0 => (REFUNDED_AMOUNT, amount),
        _ if is_standing => (CANCELLED_AMOUNT, read.cancelled_amount),
        _ => (REFUNDED_AMOUNT, 0),
    };
    if amount > order.total_amount {
        settle_refund_above_total(order, column, amount, fields, problems, notes);
    }
    if amount > 0 && !is_day_known {
        notes.undated_refunds.add(order.currency, amount, || example(order, fields));
    }
    match read.refunded_amount {
        Some(amount) if amount > 0 => return back(STATED, amount),
        // An explicit zero: the shop kept the money.
        Some(_) if is_cancelled => return None,
        _ => {}
    }
    if is_standing {
        return if read.cancelled_amount > 0 { back(CANCELLED_PART, read.cancelled_amount) } else { None };
    }
    if order.total_amount == 0 {
        return None;
    }
    let told = match fields.layout().mapping.keys.refunded_without_amount.unwrap_or_default() {
        RefundedWithoutAmount::Total => &mut notes.assumed_refunds,
        RefundedWithoutAmount::Keep => &mut notes.kept_refunds,
        RefundedWithoutAmount::Refuse => {
            let state = if is_cancelled { "was paid and is ORDER_CANCELLED" } else { "is REFUNDED" };
            problems.add(fields.wrong(REFUNDED_AMOUNT, &format!("is empty, but the order {state}")));
            return None;
        }
    };
    told.add(order.currency, order.total_amount, || example(order, fields));
    let keeps = fields.layout().mapping.keys.refunded_without_amount == Some(RefundedWithoutAmount::Keep);
    if keeps { None } else { back(ASSUMED, order.total_amount) }
}

/// Nobody is paid back more than they paid: the amount is another's, was added up twice, or is in another unit.
fn settle_refund_above_total(
    order: &StagedOrder<'_>,
    column: usize,
    amount: i64,
    fields: &Fields<'_>,
    problems: &mut Problems,
    notes: &mut Notes,
) {
    let currency = order.currency;
    match fields.layout().mapping.keys.refunded_above_total.unwrap_or_default() {
        RefundedAboveTotal::Keep => {
            notes.refunds_above_total.add(currency, amount - order.total_amount, || example(order, fields));
        }
        RefundedAboveTotal::Refuse => {
            let problem = format!(
                "{} is more than the order's total, {} {currency}: correct it, or set refunded_above_total = \"keep\"",
                minor_to_display(amount, currency),
                minor_to_display(order.total_amount, currency)
            );
            problems.add(fields.wrong(column, &problem));
        }
    }
}

/// The day on which an order's money went back: as stated, else of its cancellation, else of its last change, else of its
/// payment.
fn refund_day(order: &StagedOrder<'_>, stated: Option<DateTime<Utc>>) -> DateTime<Utc> {
    let of_cancellation = if order.status == "REFUNDED" { None } else { order.cancelled_at };
    stated
        .or(of_cancellation)
        .or(order.source_updated_at)
        .or(order.cancelled_at)
        .or(order.paid_at)
        .unwrap_or(order.ordered_at)
}

/// Which stored refunds are outdated if nothing that is staged for their order repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outdated {
    /// All that follow from an order's file: this one says what was paid back.
    All,
    /// What was assumed, because nothing is assumed any more.
    Assumed,
    /// What was assumed of orders that have changed.
    AssumedOfChanged,
}

impl Outdated {
    fn of(layout: &Layout) -> Self {
        let has_role = layout.roles.as_ref().is_some_and(|(_, words)| words.has(&Role::Refund));
        let assumes = layout.mapping.keys.refunded_without_amount.unwrap_or_default();
        if has_role || layout.has(REFUNDED_AMOUNT) || layout.has(CANCELLED_AMOUNT) {
            Self::All
        } else if assumes == RefundedWithoutAmount::Total {
            Self::AssumedOfChanged
        } else {
            Self::Assumed
        }
    }

    /// The condition on a stored refund `t` of a staged order `r`.
    fn condition(self) -> String {
        match self {
            Self::All => is_derived("t.refund_key"),
            Self::Assumed => is_of_family("t.refund_key", ASSUMED),
            Self::AssumedOfChanged => {
                format!("{} AND r.is_changed = 1", is_of_family("t.refund_key", ASSUMED))
            }
        }
    }
}

/// Money that nothing says the day of went back before the file was exported, and after the order was stored without that: if
/// its file would have said so, as one that was read in the same way.
const DATE_REFUNDS_BY_EXPORT: &str = "
    UPDATE staged_order_refunds SET refunded_at = $1
    WHERE NOT is_day_known AND ordinal IN (SELECT ordinal FROM staged_orders WHERE target_id IS NOT NULL)";

const STAGED_REFUNDS: &str = "SELECT COUNT(*) FROM staged_order_refunds";
/// What is stored for each staged refund: `(total)` and, if more was paid back later, `(total) 2` and so on.
const STORED_REFUNDS: &str = "
    SELECT s.ordinal, MIN(t.id) AS first_id, MAX(t.id) AS last_id, COUNT(*) AS count, CAST(SUM(t.amount) AS BIGINT) AS amount,
           COUNT(*) FILTER (WHERE t.currency <> s.currency) AS of_another_currency
    FROM staged_order_refunds AS s
    JOIN staged_orders AS r ON r.ordinal = s.ordinal AND r.is_stale = 0
    JOIN refunds AS t ON t.order_id = r.target_id
        AND (t.refund_key = s.refund_key OR t.refund_key LIKE s.refund_key || ' %')
    GROUP BY s.ordinal";
/// An amount that has shrunk, or is in another currency, was wrong: it becomes one refund, on the day of the first.
const CORRECT_FIRST_REFUND: &str = "
    UPDATE refunds AS t
    SET amount = s.amount, currency = s.currency, updated_at = $1,
        refunded_at = CASE WHEN s.is_day_stated THEN s.refunded_at ELSE t.refunded_at END
    FROM (STORED_REFUNDS) AS stored JOIN staged_order_refunds AS s ON s.ordinal = stored.ordinal
    WHERE t.id = stored.first_id AND (stored.amount > s.amount OR stored.of_another_currency > 0)";
/// The first one is all of it now.
const DELETE_FURTHER_REFUNDS: &str = "
    DELETE FROM refunds WHERE id IN (
        SELECT t.id FROM (STORED_REFUNDS) AS stored
        JOIN staged_order_refunds AS s ON s.ordinal = stored.ordinal
        JOIN staged_orders AS r ON r.ordinal = s.ordinal
        JOIN refunds AS t ON t.order_id = r.target_id AND t.id <> stored.first_id AND t.refund_key LIKE s.refund_key || ' %'
        WHERE stored.amount > s.amount OR stored.of_another_currency > 0)";
/// An amount that has grown on the day of the last refund was incomplete, and a stated day that differs was wrong.
const AMEND_LAST_REFUND: &str = "
    UPDATE refunds AS t
    SET amount = t.amount + s.amount - stored.amount, refunded_at = s.refunded_at, updated_at = $1
    FROM (STORED_REFUNDS) AS stored JOIN staged_order_refunds AS s ON s.ordinal = stored.ordinal
    WHERE t.id = stored.last_id AND stored.of_another_currency = 0
        AND ((stored.amount < s.amount AND t.refunded_at = s.refunded_at)
             OR (stored.amount = s.amount AND s.is_day_stated AND t.refunded_at <> s.refunded_at))";
/// An amount that has grown since is a further refund, of the difference: what went back earlier went back on its own day.
const INSERT_FURTHER_REFUNDS: &str = "
    INSERT INTO refunds (mall_id, order_id, refund_key, currency, amount, refunded_at, created_at, updated_at)
    SELECT r.mall_id, r.target_id, s.refund_key || ' ' || (stored.count + 1), s.currency, s.amount - stored.amount,
           s.refunded_at, $1, $1
    FROM (STORED_REFUNDS) AS stored
    JOIN staged_order_refunds AS s ON s.ordinal = stored.ordinal
    JOIN staged_orders AS r ON r.ordinal = s.ordinal
    WHERE stored.amount < s.amount AND stored.of_another_currency = 0";
/// Refunds that were imported for themselves are what was paid back: nothing that follows from the order stands beside
/// them.
const INSERT_REFUNDS: &str = "
    INSERT INTO refunds (mall_id, order_id, refund_key, currency, amount, refunded_at, created_at, updated_at)
    SELECT r.mall_id, COALESCE(r.target_id, r.new_id), s.refund_key, s.currency, s.amount, s.refunded_at, $1, $1
    FROM staged_order_refunds AS s JOIN staged_orders AS r ON r.ordinal = s.ordinal
    WHERE r.is_stale = 0
        AND NOT EXISTS (SELECT 1 FROM refunds AS t WHERE t.order_id = COALESCE(r.target_id, r.new_id))";

/// Stores the refunds that follow from the staged orders, and deletes those that no longer do.
async fn store_refunds(
    db: &mut Db,
    outdated: Outdated,
    orders: UpsertCounts,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if outdated != Outdated::AssumedOfChanged || orders.changed > 0 {
        db.execute(&delete_outdated(outdated), values![]).await?;
    }
    let (staged,): (i64,) = db.fetch_one(STAGED_REFUNDS, values![]).await?;
    if staged > 0 {
        if orders.changed + orders.unchanged > 0 {
            let of_stored = |sql: &str| sql.replace("STORED_REFUNDS", STORED_REFUNDS);
            db.execute(&of_stored(CORRECT_FIRST_REFUND), values![now]).await?;
            db.execute(&of_stored(DELETE_FURTHER_REFUNDS), values![]).await?;
            db.execute(&of_stored(AMEND_LAST_REFUND), values![now]).await?;
            db.execute(&of_stored(INSERT_FURTHER_REFUNDS), values![now]).await?;
        }
        db.execute(INSERT_REFUNDS, values![now]).await?;
    }
    Ok(())
}

fn delete_outdated(outdated: Outdated) -> String {
    format!(
        "DELETE FROM refunds WHERE id IN (
             SELECT t.id FROM staged_orders AS r JOIN refunds AS t ON t.order_id = r.target_id
             LEFT JOIN staged_order_refunds AS s ON s.ordinal = r.ordinal
                 AND (t.refund_key = s.refund_key OR t.refund_key LIKE s.refund_key || ' %')
             WHERE r.is_stale = 0 AND s.ordinal IS NULL AND {})",
        outdated.condition()
    )
}
