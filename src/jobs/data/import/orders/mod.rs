//! Orders: each line of the file is a line of an order and repeats the order's own columns.
//!
//! Status and money have to agree: an order whose money went back has a refund, one that was paid has a day on which that
//! was. Where a file does not say so, a stated rule does, and the run says how often.

mod amounts;
mod refunds;

use std::ops::RangeInclusive;

use chrono::{DateTime, Days, Utc};

use crate::bulk_row;
use crate::config::{CancelledWithoutTime, PaidWithoutTime};
use crate::db::{Bulk, Db, DbError, Kind as DbKind};
use crate::shop::orders::{Orders as OrdersWithLines, StagedLine, StagedOrder};
use crate::shop::upsert::{SourceTime, UpsertCounts, tomorrow};
use crate::values;

use self::amounts::{
    LineAmounts, Parts, is_total_computed, note_unbalanced, note_unequal_line, order_money,
    refuse_negative_parts,
};
use self::refunds::{
    DATE_REFUNDS_BY_EXPORT, DerivedRefund, FollowingRefund, Outdated, RepeatedRefund, following_refund,
    store_refunds,
};
use super::field::{Column, Fields, Holds, Problems, amount, optional, required, time};
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

const FIND_STORED: &str = "
    UPDATE staged_orders AS s SET target_id = t.id FROM orders AS t
    WHERE t.mall_id = s.mall_id AND t.order_no = s.order_no";
/// Two states of an order have most lines in common, two parts of it none. Those with a line in common are found at once: for
/// one after the other, PostgreSQL reads all staged lines for each.
const SPLIT_ORDERS: &str = "
    SELECT s.order_no, s.currency, s.total_amount
    FROM staged_orders AS s JOIN orders AS t ON t.id = s.target_id
    WHERE t.updated_at >= $1
        AND EXISTS (SELECT 1 FROM order_items AS i WHERE i.order_id = t.id)
        AND s.ordinal NOT IN (
            SELECT l.ordinal FROM staged_order_lines AS l
            JOIN staged_orders AS o ON o.ordinal = l.ordinal
            JOIN order_items AS i ON i.order_id = o.target_id AND i.line_key = l.line_key)
    ORDER BY s.ordinal";

/// An order that waits for its payment, and of which nothing says when it changed, was placed at least. Without any such time
/// it would look as if an application kept it here, and `order expire` could cancel it once its mall has that platform. An
/// order that has one keeps it.
const MARK_COPIES: &str = "
    UPDATE staged_orders SET source_updated_at = ordered_at
    WHERE source_updated_at IS NULL AND status = 'PAYMENT_WAIT'
        AND NOT EXISTS (
            SELECT 1 FROM orders AS t
            WHERE t.mall_id = staged_orders.mall_id AND t.order_no = staged_orders.order_no
                AND t.source_updated_at IS NOT NULL)";

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
            let parts = parts.charging(read.order.total_amount);
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
        // While a table fills up, the plan that suited the first chunk does not suit the hundredth.
        db.execute_unprepared(FIND_STORED).await?;
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
        if !matches!(layout.source_time, SourceTime::Exported(_)) {
            db.execute_unprepared(MARK_COPIES).await?;
        }
        let outcome = OrdersWithLines::store(db, layout.source_time, now).await?;
        if let Some(exported) = layout.exported.filter(|_| layout.is_as_before) {
            db.execute(DATE_REFUNDS_BY_EXPORT, values![exported]).await?;
        }
        store_refunds(db, Outdated::of(layout), outcome, now).await?;
        Ok(outcome)
    }
}

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
