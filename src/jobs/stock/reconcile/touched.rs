//! When reservations were last touched by somebody else than us. Reading one makes Redis forget it, so that a run, even one
//! that only shows what it would do, would hide an orphaned reservation from the next. All times are of Redis's clock.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use crate::db::{Db, FromRow, Problems};
use crate::digest::fingerprint;
use crate::shop::malls::Mall;
use crate::values;

/// Redis counts in whole seconds: a touch that is closer to our reading than this was our reading.
const PRECISION: TimeDelta = TimeDelta::seconds(2);

/// When each of these reservations was touched, as far as Redis knows it.
pub(super) type Touches = HashMap<String, Option<DateTime<Utc>>>;

/// Replaces the times at which we have read a reservation by when it was touched before.
pub(super) async fn recall(db: &mut Db, mall: &Mall, touches: &mut Touches) -> anyhow::Result<()> {
    #[derive(FromRow)]
    struct Kept {
        key_digest: String,
        touched_at: DateTime<Utc>,
        read_at: DateTime<Utc>,
        #[row(problems)]
        problems: Problems,
    }
    let digests: HashMap<String, String> =
        touches.keys().map(|key| (fingerprint(key), key.clone())).collect();
    if digests.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT key_digest, touched_at, read_at FROM stock_reservation_reads WHERE mall_id = $1 AND key_digest IN {}",
        db.elements("$2")
    );
    let names: Vec<&String> = digests.keys().collect();
    let rows: Vec<Kept> = db.fetch_all(&sql, values![mall.id, json!(names)]).await?;
    // What cannot be read is forgotten, and the reservation is kept for longer.
    for row in rows.into_iter().filter(|row| row.problems.is_empty()) {
        if let Some(key) = digests.get(&row.key_digest)
            && let Some(Some(touched_at)) = touches.get_mut(key)
            && (*touched_at - row.read_at).abs() <= PRECISION
        {
            *touched_at = row.touched_at.min(*touched_at);
        }
    }
    Ok(())
}

/// Keeps when these reservations were touched before we have read them.
pub(super) async fn remember(
    db: &mut Db,
    mall: &Mall,
    touches: &Touches,
    read_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let rows: Vec<_> = touches
        .iter()
        .filter_map(|(key, touched_at)| {
            // The text that a time is on SQLite; PostgreSQL reads it too.
            let touched_at = (*touched_at)?.to_rfc3339_opts(SecondsFormat::AutoSi, false);
            Some(json!([fingerprint(key), touched_at]))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let sql = db.pick(
        "INSERT INTO stock_reservation_reads (mall_id, key_digest, touched_at, read_at)
         SELECT $1, value ->> 0, value ->> 1, $3 FROM JSON_EACH($2) WHERE TRUE
         ON CONFLICT (mall_id, key_digest) DO UPDATE SET touched_at = excluded.touched_at, read_at = excluded.read_at",
        "INSERT INTO stock_reservation_reads (mall_id, key_digest, touched_at, read_at)
         SELECT $1, value ->> 0, CAST(value ->> 1 AS TIMESTAMPTZ), $3 FROM JSONB_ARRAY_ELEMENTS($2) AS rows(value)
         ORDER BY 2
         ON CONFLICT (mall_id, key_digest) DO UPDATE SET touched_at = excluded.touched_at, read_at = excluded.read_at",
    );
    db.execute(sql, values![mall.id, json!(rows), read_at]).await?;
    Ok(())
}

/// Forgets the reservations of a mall that a whole walk has not met, which began then; all of them, if it met none.
pub(super) async fn forget(db: &mut Db, mall: &Mall, before: Option<DateTime<Utc>>) -> anyhow::Result<()> {
    let sql = "DELETE FROM stock_reservation_reads WHERE mall_id = $1 AND ($2 IS NULL OR read_at < $2)";
    db.execute(sql, values![mall.id, before]).await?;
    Ok(())
}
