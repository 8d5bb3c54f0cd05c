//! `mall token status`: when the malls' tokens expire. A token itself is never shown.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::config::Cafe24Config;
use crate::context::Context;
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table};
use crate::period::shown_instant;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::tokens::{self, Keys, TokenRow};

/// List the malls' tokens and when they expire
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    malls: MallArgs,
    /// Print a table or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

/// The state of a mall's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::jobs::mall) struct TokenState {
    pub(in crate::jobs::mall) mall: String,
    pub(in crate::jobs::mall) account: String,
    pub(in crate::jobs::mall) access_expires_at: Option<DateTime<Utc>>,
    pub(in crate::jobs::mall) refresh_expires_at: Option<DateTime<Utc>>,
    pub(in crate::jobs::mall) days_left: Option<i64>,
    pub(in crate::jobs::mall) state: &'static str,
    pub(in crate::jobs::mall) reason: Option<String>,
}

impl TokenState {
    /// The state of a mall with this row.
    pub(in crate::jobs::mall) fn of(
        mall: &Mall,
        row: Option<&TokenRow>,
        keys: Option<&Keys>,
        settings: &Cafe24Config,
        now: DateTime<Utc>,
    ) -> Self {
        let (state, reason) = match row {
            None => ("missing", None),
            Some(row) => state(row, keys, settings, now),
        };
        Self {
            mall: mall.code.clone(),
            account: mall.account().to_owned(),
            access_expires_at: row.map(|row| row.access_expires_at),
            refresh_expires_at: row.map(|row| row.refresh_expires_at),
            days_left: row.map(|row| days_left(row, now)),
            state,
            reason,
        }
    }
}

/// Whole days until the authorisation expires.
pub(super) fn days_left(row: &TokenRow, now: DateTime<Utc>) -> i64 {
    (row.refresh_expires_at - now).num_days().max(0)
}

fn state(
    row: &TokenRow,
    keys: Option<&Keys>,
    settings: &Cafe24Config,
    now: DateTime<Utc>,
) -> (&'static str, Option<String>) {
    if !row.problems.is_empty() {
        return ("unreadable", Some(row.problems.to_string()));
    }
    let unopened = match keys {
        None => Some("BATCHCTL_SECRET_KEY is not set".to_owned()),
        Some(keys) => {
            keys.access_token(row).and_then(|_| keys.refresh_token(row)).err().map(|failure| failure.message)
        }
    };
    if let Some(reason) = unopened {
        return ("unreadable", Some(reason));
    }
    if row.rejected_at.is_some() {
        return ("rejected", row.rejected_reason.clone());
    }
    if row.refresh_expires_at <= now {
        return ("expired", None);
    }
    if is_ending(row, settings, now) { ("refresh soon", None) } else { ("ok", None) }
}

/// Whether the authorisation expires soon enough to be a concern.
pub(super) fn is_ending(row: &TokenRow, settings: &Cafe24Config, now: DateTime<Utc>) -> bool {
    let warn_before = TimeDelta::from_std(settings.warn_before()).unwrap_or(TimeDelta::MAX);
    row.refresh_expires_at - now < warn_before
}

pub(super) async fn status(cx: &Context, args: &Args) -> anyhow::Result<()> {
    let keys = Keys::new(&cx.config).ok();
    let mut db = cx.db().await?;
    let mut states = Vec::new();
    for mall in super::malls_with_tokens(&mut db, &args.malls).await? {
        let row = tokens::find(&mut db, mall.account()).await?;
        let settings = cx.config.cafe24();
        states.push(TokenState::of(&mall, row.as_ref(), keys.as_ref(), settings, cx.machine_time()));
    }
    db.close().await;
    args.format.print(&cx.output, &states, "no malls with tokens", |states| table(states, cx.time_zone()))
}

fn table(states: &[TokenState], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let time =
        |at: Option<DateTime<Utc>>| Cell::text(at.map(|at| shown_instant(at, time_zone)).unwrap_or_default());
    let rows = states
        .iter()
        .map(|state| {
            Row::new(vec![
                Cell::text(state.mall.as_str()),
                Cell::text(state.account.as_str()),
                time(state.access_expires_at),
                time(state.refresh_expires_at),
                Cell::text(state.days_left.map(|days| days.to_string()).unwrap_or_default()),
                Cell::text(state.state),
                Cell::text(state.reason.as_deref().unwrap_or_default()),
            ])
        })
        .collect();
    Table {
        key: "tokens",
        title: String::new(),
        columns: vec![
            text("mall", "Mall"),
            text("account", "Account"),
            text("access_expires_at", "Access until"),
            text("refresh_expires_at", "Refresh until"),
            text("days_left", "Days left"),
            text("state", "State"),
            text("reason", "Reason").wide_only(),
        ],
        rows,
    }
}
