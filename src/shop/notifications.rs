//! The table `notifications`: what customers are to be told by another way than mail.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::bulk_row;
use crate::db::{Bulk, Db};

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
    let mut rows = Bulk::new(db);
    for push in pushes {
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
    // Any program may write the same key meanwhile.
    Ok(db.load_new(&mut rows).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::db::Kind;
    use crate::db::testing::{TestDb, now, on_both_databases};

    on_both_databases![
        a_key_is_queued_once_whoever_queues_it,
        a_key_that_another_program_takes_meanwhile_is_passed_over,
    ];

    fn push(key: &str) -> NewPush {
        NewPush {
            mall_id: 1,
            member_code: "M1".to_owned(),
            kind: "order-expired",
            data: json!({ "key": key }),
            dedup_key: key.to_owned(),
        }
    }

    async fn queue(db: &mut Db, keys: &[&str]) -> u64 {
        let pushes: Vec<NewPush> = keys.iter().copied().map(push).collect();
        db.transaction(async |db| enqueue_pushes(db, &pushes, now()).await).await.unwrap()
    }

    async fn a_key_is_queued_once_whoever_queues_it(db: &mut TestDb) {
        db.mall("tokyo", "Asia/Tokyo", "JPY").await;
        assert_eq!(queue(db, &[]).await, 0);
        assert_eq!(queue(db, &["a", "b", "a"]).await, 2);
        assert_eq!(queue(db, &["b", "c"]).await, 1);
        let queued = db.lines("SELECT dedup_key, data FROM notifications ORDER BY id").await;
        assert_eq!(queued, [r#"a {"key":"a"}"#, r#"b {"key":"b"}"#, r#"c {"key":"c"}"#]);
        // As many bytes as are copied where nothing can be there.
        let data = json!({ "text": "x".repeat(1_100_000) });
        let pushes = ["c", "d"].map(|key| NewPush { data: data.clone(), ..push(key) });
        let queued = db.transaction(async |db| enqueue_pushes(db, &pushes, now()).await).await.unwrap();
        assert_eq!(queued, 1);
    }

    async fn a_key_that_another_program_takes_meanwhile_is_passed_over(db: &mut TestDb) {
        // SQLite has one writer at a time.
        if db.kind() == Kind::Sqlite {
            return;
        }
        db.mall("tokyo", "Asia/Tokyo", "JPY").await;
        let mut other = db.another().await;
        let taken = "BEGIN; INSERT INTO notifications (mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at)
                     VALUES (1, 'M1', 'PUSH', 'own', '{}', 'a', '2026-11-20T00:00:00Z', '2026-11-20T00:00:00Z')";
        other.script(taken).await.unwrap();
        let mut watching = db.another().await;
        let waits = format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = {}",
            db.scalar("SELECT pg_backend_pid()").await
        );
        let theirs = async {
            while watching.fetch_one::<(i64,)>(&waits, vec![]).await.unwrap() == (0,) {}
            other.script("COMMIT").await.unwrap();
        };
        let (queued, ()) = tokio::join!(queue(db, &["a", "b"]), theirs);
        assert_eq!(queued, 1);
        assert_eq!(
            db.lines("SELECT dedup_key, kind FROM notifications ORDER BY 1").await,
            ["a own", "b order-expired"]
        );
    }
}
