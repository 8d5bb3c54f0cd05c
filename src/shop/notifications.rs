//! The table `notifications`: what customers are to be told by another way than mail.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use crate::db::{Bulk, Db};
use crate::{bulk_row, values};

/// A notification to the apps of a member, to be queued.
#[derive(Debug, Clone)]
pub struct NewPush {
    /// The mall's ID.
    pub mall_id: i64,
    /// The member it is for.
    pub member_code: String,
    /// The name of its text.
    pub kind: &'static str,
    /// The values of its text: an object.
    pub data: Json,
    /// A unique key: a second notification with the same key is not queued.
    pub dedup_key: String,
}

bulk_row! {
    /// The columns that [`enqueue_pushes`] fills in; the others keep their defaults.
    struct PushRow<'r> => "notifications" {
        mall_id: i64,
        member_code: &'r str,
        channel: &'static str,
        kind: &'static str,
        data: &'r str,
        dedup_key: &'r str,
        due_at: DateTime<Utc>,
        queued_at: DateTime<Utc>,
    }
}

/// Queues notifications, to be sent at once, except those whose key was queued before. Returns how many were queued. Call it
/// inside a transaction.
pub async fn enqueue_pushes(db: &mut Db, pushes: &[NewPush], now: DateTime<Utc>) -> anyhow::Result<u64> {
    let keys: Vec<&str> = pushes.iter().map(|push| push.dedup_key.as_str()).collect();
    let mut taken = keys_in_queue(db, &keys).await?;
    let mut rows = Bulk::new(db);
    for push in pushes {
        if taken.insert(push.dedup_key.clone()) {
            rows.push(&PushRow {
                mall_id: push.mall_id,
                member_code: &push.member_code,
                channel: "PUSH",
                kind: push.kind,
                data: &push.data.to_string(),
                dedup_key: &push.dedup_key,
                due_at: now,
                queued_at: now,
            });
        }
    }
    Ok(db.load(&mut rows).await?)
}

/// The keys that are already in the queue.
async fn keys_in_queue(db: &mut Db, keys: &[&str]) -> anyhow::Result<HashSet<String>> {
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = format!("SELECT dedup_key FROM notifications WHERE dedup_key IN {}", db.elements("$1"));
    let found: Vec<(String,)> = db.fetch_all(&sql, values![json!(keys)]).await?;
    Ok(found.into_iter().map(|(key,)| key).collect())
}
