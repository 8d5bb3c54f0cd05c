//! What other systems are told of an order that was cancelled, in the fields of their schemas.

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

/// `OrderCancelled`.
fn cancelled(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> Json {
    let items: Vec<Json> = lines
        .iter()
        .map(|line| json!({ "productCode": line.product_code, "quantity": line.quantity }))
        .collect();
    json!({
        "mallCode": terms.mall.code,
        "orderNo": order.order_no,
        "memberCode": order.member_code,
        "cancellationReason": REASON,
        "orderedAt": time(order.ordered_at),
        "cancelledAt": time(terms.now),
        "currency": order.currency,
        "totalAmount": order.total_amount,
        "items": items,
    })
}

/// `OrderExpirationNotification`.
fn expiration_notification(terms: &Terms<'_>, order: &Order) -> Json {
    json!({
        "mallCode": terms.mall.code,
        "orderNo": order.order_no,
        "memberCode": order.member_code,
        "expirationReason": REASON,
        "orderedAt": time(order.ordered_at),
        "expiredAt": time(terms.now),
        "currency": order.currency,
        "totalAmount": order.total_amount,
    })
}

/// An instant in RFC 3339, in UTC with microseconds.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
