//! The outbox, as other programs write it.

mod outbox;

use crate::support::Sandbox;

/// Writes an event of an order as a web application does, and returns its number.
#[track_caller]
fn event(sandbox: &Sandbox, order: &str, payload: &str) -> String {
    sandbox.scalar(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         VALUES ('order', '{order}', 'order.paid', '{payload}') RETURNING id"
    ))
}
