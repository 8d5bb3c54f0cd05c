//! Whether payments have failed, rather than customers: so many orders of a mall expire while not one is paid, and usually
//! many are. Cancelled by mistake, they would all be orders that somebody wanted.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::REASON;
use crate::config::OrderExpireConfig;
use crate::db::Db;
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::values;
use crate::wording::{command, counted};

/// What is usual is what happened in the week before the silence: it has every day of the week in it.
const USUAL_DAYS: i64 = 7;
/// An application's clock may be ahead of ours by this much.
const CLOCK_SKEW_MINUTES: i64 = 5;

/// What is too general to be true.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breaker {
    most: i64,
    silence: TimeDelta,
    now: DateTime<Utc>,
}

/// A mall that nobody pays at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    mall: String,
    most: i64,
    since: DateTime<Utc>,
    time_zone: Tz,
}

impl Breaker {
    /// The numbers of the configuration.
    pub(super) fn new(config: &OrderExpireConfig, now: DateTime<Utc>) -> Self {
        Self {
            most: i64::from(config.breaker_orders()),
            // The configuration has checked that it is at most a day.
            silence: TimeDelta::from_std(config.breaker_silence()).unwrap_or(TimeDelta::days(1)),
            now,
        }
    }

    /// Whether a mall is silent of which `due` orders would expire now. Those that expired during the silence count too: it
    /// would otherwise never be noticed by runs that are ten minutes apart.
    pub(super) async fn silence(
        &self,
        db: &mut Db,
        (mall, time_zone): (&Mall, Tz),
        due: i64,
    ) -> anyhow::Result<Option<Silence>> {
        let Self { most, silence, now } = *self;
        let since = now - silence;
        let expired = count(db, EXPIRED, mall, [since, now], most + 1).await?;
        if due + expired <= most {
            return Ok(None);
        }
        let until = now + TimeDelta::minutes(CLOCK_SKEW_MINUTES);
        if count(db, PAID, mall, [since, until], 1).await? > 0 {
            return Ok(None);
        }
        let usual = count(db, PAID, mall, [since - TimeDelta::days(USUAL_DAYS), since], most).await?;
        Ok((usual >= most).then(|| Silence { mall: mall.code.clone(), most, since, time_zone }))
    }

    /// The most orders to count: more are too many in any case.
    pub(super) fn enough(&self) -> i64 {
        self.most + 1
    }
}

impl Silence {
    /// What to tell of the malls that nobody pays at.
    pub(super) fn failure(silences: &[Self]) -> Option<Failure> {
        if silences.is_empty() {
            return None;
        }
        let of_mall = |silence: &Self| {
            let since = silence.since.with_timezone(&silence.time_zone).format("%Y-%m-%d %H:%M %Z");
            // Nobody counts further: how many more there are is not known.
            let unpaid = counted(silence.most, "unpaid order", "unpaid orders");
            format!("mall `{}` (more than {unpaid}, none paid since {since})", silence.mall)
        };
        let told: Vec<String> = silences.iter().map(of_mall).collect();
        let malls: Vec<&str> = silences.iter().map(|silence| silence.mall.as_str()).collect();
        Some(
            Failure::failed(format!(
                "unpaid orders are left as they are where usually many are paid and now none is: {}",
                told.join(", ")
            ))
            .hint(format!(
                "do payments work? Once one arrives, the next run goes on by itself; if customers really did not pay: {}",
                command(&["order", "expire", "--mall", &malls.join(","), "--accept-silence"])
            )),
        )
    }
}

const EXPIRED: &str =
    "cancelled_at IS NOT NULL AND cancelled_at > $2 AND cancelled_at <= $3 AND cancel_reason = ";
const PAID: &str = "paid_at IS NOT NULL AND paid_at > $2 AND paid_at <= $3";

/// How many orders of a mall have their time of a kind in a period: at most `most`.
async fn count(
    db: &mut Db,
    which: &str,
    mall: &Mall,
    [after, until]: [DateTime<Utc>; 2],
    most: i64,
) -> anyhow::Result<i64> {
    let reason = if which == EXPIRED { format!("'{REASON}'") } else { String::new() };
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE mall_id = $1 AND {which}{reason} LIMIT $4) found"
    );
    let (count,): (i64,) = db.fetch_one(&sql, values![mall.id, after, until, most]).await?;
    Ok(count)
}
