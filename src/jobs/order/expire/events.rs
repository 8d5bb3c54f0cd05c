//! What other systems are told of an order that was cancelled, in the names of our columns, as every event of ours.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use super::REASON;
use super::cancel::{Line, Order, Terms};
use crate::failure::Failure;
use crate::outbox::{self, NewEvent};

/// The events of an order: that it was cancelled, which gives its stock back elsewhere, and that its customer has to know.
pub(super) fn of(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> [NewEvent; 2] {
    let event = |event_type, payload| NewEvent {
        aggregate_type: "order",
        // As an application calls it, whose own events of the order have to stay in one order with these. Two malls may have
        // an order of the same number: then the events of both are in one order, and each payload says whose it is.
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

/// Checks that an event can tell of the order's number.
pub(super) fn check_number(order_no: &str) -> Result<(), Failure> {
    if (1..=outbox::MOST_NAME_BYTES).contains(&order_no.len()) && !order_no.contains('\0') {
        return Ok(());
    }
    let problem = match order_no.len() {
        0 => "it has no number".to_owned(),
        bytes if bytes > outbox::MOST_NAME_BYTES => {
            format!("its number has {bytes} bytes, more than the {} of an event's", outbox::MOST_NAME_BYTES)
        }
        _ => "its number has a NUL".to_owned(),
    };
    Err(untellable(&problem))
}

/// Checks that an event can tell of an order and its lines.
pub(super) fn check(terms: &Terms<'_>, order: &Order, lines: &[Line]) -> Result<(), Failure> {
    // As JSON a character has at most six bytes. Nearly every order is known to be small enough by this alone.
    let texts: usize = lines.iter().map(|line| line.product_code.len()).sum::<usize>()
        + order.member_code.as_ref().map_or(0, String::len);
    if 6 * texts + 64 * lines.len() < outbox::MOST_PAYLOAD_BYTES / 2 {
        return Ok(());
    }
    let bytes = cancelled(terms, order, lines).to_string().len();
    if bytes <= outbox::MOST_PAYLOAD_BYTES {
        return Ok(());
    }
    Err(untellable(&format!(
        "its event would have {bytes} bytes, more than the {} that one may have",
        outbox::MOST_PAYLOAD_BYTES
    )))
}

fn untellable(problem: &str) -> Failure {
    Failure::bad_input(format!("other systems cannot be told of the order: {problem}"))
        .hint("cancel it in the application that keeps it")
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
