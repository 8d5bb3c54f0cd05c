//! `mall show`: everything known about one mall.

use chrono::{DateTime, Utc};
use clap::ValueEnum as _;

use crate::clients::api::MAX_PAUSE;
use crate::clients::cafe24::PLATFORM;
use crate::context::Context;
use crate::db::{Db, FromRow, Problems, StoredTime};
use crate::shop::malls::{Mall, selected_malls};
use crate::values;

use super::sync;
use super::token::TokenState;
use crate::period::shown_instant;
use crate::printable::escaped;
use crate::shop::tokens::{self, Keys};

pub(super) async fn show(cx: &Context, name: &str) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    for mall in selected_malls(&mut db, &[name.to_owned()]).await? {
        let lines = lines(cx, &mut db, &mall).await?;
        let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        for (label, value) in &lines {
            cx.output.data(format!("{label:width$}  {}\n", escaped(value)).as_bytes())?;
        }
    }
    db.close().await;
    Ok(())
}

async fn lines(cx: &Context, db: &mut Db, mall: &Mall) -> anyhow::Result<Vec<(String, String)>> {
    let time = |at: DateTime<Utc>| shown_instant(at, cx.time_zone());
    let mut lines = vec![
        ("mall".to_owned(), format!("{} (ID {})", mall.code, mall.id)),
        ("name".to_owned(), mall.name.clone()),
        ("state".to_owned(), if mall.is_active { "active" } else { "disabled" }.to_owned()),
        ("time zone".to_owned(), mall.time_zone.clone()),
        ("currency".to_owned(), mall.currency.clone()),
        ("platform".to_owned(), mall.platform.clone()),
    ];
    if !mall.problems.is_empty() {
        lines.push(("problem".to_owned(), mall.problems.to_string()));
    }
    if mall.platform == PLATFORM {
        lines.push(("account".to_owned(), format!("{}, shop {}", mall.account(), mall.shop_no)));
        let row = tokens::find(db, mall.account()).await?;
        let keys = Keys::new(&cx.config).ok();
        let state = TokenState::of(mall, row.as_ref(), keys.as_ref(), cx.config.cafe24(), cx.machine_time());
        let until = state.refresh_expires_at.map(|at| format!(", until {}", time(at))).unwrap_or_default();
        let reason = state.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(("token".to_owned(), format!("{}{until}{reason}", state.state)));
        if let Some(until) = blocked_until(db, mall.account(), cx.machine_time()).await? {
            lines.push(("blocked".to_owned(), format!("no calls until {}", time(until))));
        }
    }
    for (label, table) in [("members", "members"), ("orders", "orders")] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE mall_id = $1");
        let (count,): (i64,) = db.fetch_one(&sql, values![mall.id]).await?;
        lines.push((label.to_owned(), count.to_string()));
    }
    for run in last_syncs(db, mall).await? {
        let ended = match (run.ended_at, run.problems.is_empty()) {
            (_, false) => format!("; {}", run.problems),
            (Some(at), true) => format!(", ended {}", time(at)),
            (None, true) => String::new(),
        };
        lines.push((format!("last sync, {}", run.domain), format!("run {}, {}{ended}", run.id, run.status)));
    }
    Ok(lines)
}

async fn blocked_until(
    db: &mut Db,
    account: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let found: Option<(StoredTime,)> = db
        .fetch_optional(
            "SELECT blocked_until FROM api_blocks WHERE platform = $1 AND account = $2 AND blocked_until BETWEEN $3 AND $4",
            values![PLATFORM, account, now, now + MAX_PAUSE],
        )
        .await?;
    Ok(found.and_then(|(until,)| until.at()))
}

#[derive(FromRow)]
struct LastSync {
    id: i64,
    domain: String,
    status: String,
    ended_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
}

/// The last run of each domain. A sync of one domain at a time has the exclusion key `mall sync CODE DOMAIN`.
async fn last_syncs(db: &mut Db, mall: &Mall) -> anyhow::Result<Vec<LastSync>> {
    let mut found = Vec::new();
    for domain in sync::Domain::value_variants().iter().map(ToString::to_string) {
        let last: Option<LastSync> = db
            .fetch_optional(
                "SELECT id, $1 AS domain, status, ended_at FROM batch_execution
                 WHERE job = 'mall sync' AND exclusion_key = $2 ORDER BY id DESC LIMIT 1",
                values![&domain, format!("mall sync {} {domain}", mall.code)],
            )
            .await?;
        found.extend(last);
    }
    Ok(found)
}
