//! What was paid back of an order, by its own file.

use chrono::{DateTime, Utc};

use crate::bulk_row;
use crate::config::{RefundedAboveTotal, RefundedWithoutAmount};
use crate::db::Db;
use crate::money::minor_to_display;
use crate::shop::orders::StagedOrder;
use crate::shop::refunds::{ASSUMED, CANCELLED_PART, STATED, is_derived, is_of_family};
use crate::shop::upsert::UpsertCounts;
use crate::values;

use super::super::field::{Fields, Problems};
use super::super::kind::Notes;
use super::super::layout::{Layout, Role};
use super::{CANCELLED_AMOUNT, REFUNDED_AMOUNT, ReadOrder, example};

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

/// An amount that went back, of which lines that are no items and items both say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepeatedRefund {
    /// The items repeat it.
    Same(i64),
    /// They say something else, so that all is added up to this.
    Added(i64),
}

impl RepeatedRefund {
    /// By the amounts of the items, and the sum of those of the other lines.
    pub(super) fn of((of_items, of_others): (Vec<i64>, i64)) -> Option<Self> {
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
pub(super) struct FollowingRefund {
    pub(super) key: &'static str,
    pub(super) amount: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) is_day_stated: bool,
    pub(super) is_day_known: bool,
}

/// What was paid back of an order, by its own file.
pub(super) fn following_refund(
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
pub(super) enum Outdated {
    /// All that follow from an order's file: this one says what was paid back.
    All,
    /// What was assumed, because nothing is assumed any more.
    Assumed,
    /// What was assumed of orders that have changed.
    AssumedOfChanged,
}

impl Outdated {
    pub(super) fn of(layout: &Layout) -> Self {
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
pub(super) const DATE_REFUNDS_BY_EXPORT: &str = "
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
pub(super) async fn store_refunds(
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
