//! What other systems are told of an order that was cancelled, in the names of our columns, as every event of ours.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use super::REASON;
use super::cancel::{Line, Order, Terms};
use crate::outbox::NewEvent;

/// The events of an order: that it was cancelled, which gives its stock back elsewhere, and that its customer has to know.
pub(super) fn of(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> [NewEvent; 2] {
    let event = |event_type, payload| NewEvent {
        aggregate_type: "order",
        // As an application calls it, whose own events of the order have to stay in one order with these.
        aggregate_id: order.order_no.clone(),
        event_type,
        payload,
        occurred_at: terms.now,
    };
    [
        event("order.cancelled", cancelled(terms, order, lines)),
        event("order.expiration.notification", expiration_notification(terms, order)),
    ]
}

/// `order.cancelled`.
fn cancelled(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> Json {
    let items: Vec<Json> = lines
        .iter()
        .map(|line| json!({ "product_code": line.product_code, "quantity": line.quantity }))
        .collect();
    json!({
        "mall": terms.mall.code,
        "order_no": order.order_no,
        "member_code": order.member_code,
        "reason": REASON,
        "ordered_at": time(order.ordered_at),
        "cancelled_at": time(terms.now),
        "currency": order.currency,
        "total_amount": order.total_amount,
        "items": items,
    })
}

/// `order.expiration.notification`.
fn expiration_notification(terms: &Terms<'_>, order: &Order) -> Json {
    json!({
        "mall": terms.mall.code,
        "order_no": order.order_no,
        "member_code": order.member_code,
        "reason": REASON,
        "ordered_at": time(order.ordered_at),
        "expired_at": time(terms.now),
        "currency": order.currency,
        "total_amount": order.total_amount,
    })
}

/// An instant in RFC 3339, in UTC with microseconds.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
