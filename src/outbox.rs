//! The outbox: the table `outbox_events`, and how our own jobs add events to it.
//!
//! An event is written in the transaction that changes what it is about, so that there is never one without the other.
//! `events publish` delivers it afterwards. Other programs insert for themselves: see `docs/events.md`.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::bulk_row;
use crate::db::{Bulk, Db};
use crate::event_schemas;

/// The most bytes of an event's type, its aggregate's type and its aggregate's ID, as the table has it.
pub const MOST_NAME_BYTES: usize = 200;
/// The most bytes of a payload.
pub const MOST_PAYLOAD_BYTES: usize = 1024 * 1024;

/// An event to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What kind of thing it is about: `order`.
    pub aggregate_type: &'static str,
    /// Which one. The events of one aggregate are published in the order in which they were written.
    pub aggregate_id: String,
    /// What happened: `order.cancelled`.
    pub event_type: &'static str,
    /// What consumers are told, a JSON object.
    pub payload: Json,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

bulk_row! {
    /// The columns that [`write`] fills in; the others keep their defaults, the event's id among them.
    struct EventRow<'e> => "outbox_events" {
        aggregate_type: &'static str,
        aggregate_id: &'e str,
        event_type: &'static str,
        payload: &'e str,
        occurred_at: DateTime<Utc>,
        created_at: DateTime<Utc>,
    }
}

/// Writes events, in this order, in the transaction that is open. Without one an event could outlive what it tells of.
pub async fn write(db: &mut Db, events: &[NewEvent], now: DateTime<Utc>) -> anyhow::Result<()> {
    anyhow::ensure!(db.is_in_transaction(), "events are written in the transaction of what they tell of");
    let mut rows = Bulk::new(db);
    for event in events {
        debug_assert_eq!(
            event_schemas::misfit(event.event_type, event.aggregate_type, &event.payload),
            None,
            "whoever reads {} by its schema can read all of them",
            event.event_type
        );
        rows.push(&EventRow {
            aggregate_type: event.aggregate_type,
            aggregate_id: &event.aggregate_id,
            event_type: event.event_type,
            payload: &event.payload.to_string(),
            occurred_at: event.occurred_at,
            created_at: now,
        });
    }
    db.load(&mut rows).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::db::testing::{TestDb, at, now, on_both_databases};

    on_both_databases![
        an_event_is_there_with_what_it_tells_of_or_not_at_all,
        events_keep_their_order_and_get_ids_of_their_own,
    ];

    fn cancelled(order: &str) -> NewEvent {
        NewEvent {
            aggregate_type: "order",
            aggregate_id: order.to_owned(),
            event_type: "order.cancelled",
            payload: json!({
                "mall": "main", "order_no": order, "reason": "시간 초과", "ordered_at": "2026-11-19T11:00:00Z",
                "cancelled_at": "2026-11-19T12:00:00Z", "currency": "KRW", "total_amount": 4980, "items": [],
            }),
            occurred_at: at("2026-11-19T12:00:00Z"),
        }
    }

    async fn an_event_is_there_with_what_it_tells_of_or_not_at_all(db: &mut TestDb) {
        let alone = write(db, &[cancelled("1")], now()).await.unwrap_err();
        assert!(alone.to_string().contains("in the transaction"), "{alone}");
        let failed: anyhow::Result<()> = db
            .transaction(async |db| {
                write(db, &[cancelled("1")], now()).await?;
                anyhow::bail!("what it tells of failed")
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(db.scalar("SELECT COUNT(*) FROM outbox_events").await, "0");
    }

    async fn events_keep_their_order_and_get_ids_of_their_own(db: &mut TestDb) {
        let events: Vec<NewEvent> = (1..=300).map(|number| cancelled(&number.to_string())).collect();
        db.transaction(async |db| write(db, &events, now()).await).await.unwrap();
        let stored = db.sql("SELECT aggregate_id FROM outbox_events ORDER BY id").await.concat();
        assert_eq!(stored, (1..=300).map(|number: u32| number.to_string()).collect::<Vec<_>>());
        let rest = "SELECT COUNT(DISTINCT event_id), MIN(LENGTH(event_id)), MIN(occurred_at), MIN(created_at), MIN(headers)
                    FROM outbox_events";
        assert_eq!(
            db.sql(rest).await,
            [["300", "36", "2026-11-19T12:00:00+00:00", "2026-11-19T16:00:00+00:00", "{}"]]
        );
        let payload = db.scalar("SELECT payload FROM outbox_events WHERE aggregate_id = '300'").await;
        assert_eq!(serde_json::from_str::<Json>(&payload).unwrap(), events[299].payload);
    }
}
