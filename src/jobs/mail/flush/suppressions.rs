//! The suppression of addresses that bounced.

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::values;

/// An address that its server says does not exist.
#[derive(Debug, Clone)]
pub(super) struct Bounce {
    pub(super) address: String,
    pub(super) mail: i64,
    pub(super) reply: String,
}

/// Suppresses all mail to an address that bounced, beside whatever else is known of it. A suppression that is held is not in
/// force until a person has confirmed it; one that was held comes into force when the address bounces once more in a run
/// that is beyond doubt.
pub(super) async fn suppress(
    db: &mut Db,
    run: i64,
    bounce: &Bounce,
    is_held: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, detail, mail_id, run_id, is_held, created_at)
         VALUES ($1, 'ALL', 'BOUNCE', $2, $3, $4, $5, $6)
         ON CONFLICT (address, reason) DO UPDATE SET scope = 'ALL', detail = $2, mail_id = $3, run_id = $4, is_held = $5
         WHERE mail_suppressions.is_held OR mail_suppressions.scope <> 'ALL'",
        values![&bounce.address, &bounce.reply, bounce.mail, run, is_held, now],
    )
    .await?;
    Ok(())
}
