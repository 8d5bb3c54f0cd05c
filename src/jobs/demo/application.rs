//! What a shop's own application does: from today on it keeps the orders of one of the malls in this database, by plain
//! statements, as any program may.
//!
//! An order takes its units from the stock as it is placed. Those that are not paid reserve them until `order expire` gives
//! them back.

use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::period::local_day;
use crate::shop::malls::APP;
use crate::values;
use crate::wording::counted;

use super::shop::{DemoMall, MALLS, product_code};

/// The mall whose application it is.
pub(super) const MALL: &str = "seoul";
/// The file with the settings of its commands, in the demo's folder.
const SETTINGS: &str = "batchctl.toml";
/// Below it, where its events go.
pub(super) const EVENTS: &str = "events";

/// An order of the application.
struct Placed {
    minutes_ago: i64,
    /// `None` if nobody has paid.
    paid_minutes_ago: Option<i64>,
    /// Which of the members who signed up last has placed it; `None` for a guest.
    member: Option<usize>,
    /// Places among the mall's products, with quantities.
    lines: &'static [(usize, i64)],
}

/// Three that nobody has paid in time, one that somebody has, and one that still has time.
const ORDERS: [Placed; 5] = [
    Placed { minutes_ago: 42, paid_minutes_ago: None, member: Some(0), lines: &[(0, 2), (4, 3)] },
    Placed { minutes_ago: 31, paid_minutes_ago: Some(30), member: Some(1), lines: &[(4, 2)] },
    Placed { minutes_ago: 18, paid_minutes_ago: None, member: Some(2), lines: &[(7, 1)] },
    Placed { minutes_ago: 9, paid_minutes_ago: None, member: None, lines: &[(2, 1), (8, 2)] },
    Placed { minutes_ago: 2, paid_minutes_ago: None, member: Some(0), lines: &[(4, 1)] },
];

/// Hands the mall over to its application, which takes some orders. Those that are there already stay as they are.
pub(super) async fn take_orders(cx: &Context) -> anyhow::Result<()> {
    let Some(mall) = MALLS.iter().find(|mall| mall.code == MALL) else { return Ok(()) };
    let now = cx.now();
    let day = local_day(now, mall.time_zone);
    let mut db = cx.db().await?;
    db.execute("UPDATE malls SET platform = $1 WHERE code = $2", values![APP, MALL]).await?;
    let (id,): (i64,) = db.fetch_one("SELECT id FROM malls WHERE code = $1", values![MALL]).await?;
    let members = newest_members(&mut db, id).await?;
    let mut taken = 0;
    for (number, placed) in (1..).zip(&ORDERS) {
        let order = Order { mall, mall_id: id, day, number, placed, members: &members, now };
        taken += u32::from(db.transaction(async |db| order.place(db).await).await?);
    }
    db.close().await;
    let taken = counted(taken, "order", "orders");
    cx.output.status(&format!("The application of mall `{MALL}` has taken {taken}"));
    Ok(())
}

/// Some members, the newest first.
async fn newest_members(db: &mut Db, mall_id: i64) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT member_code FROM members WHERE mall_id = $1 AND status = 'ACTIVE'
               ORDER BY signed_up_at DESC, id DESC LIMIT 3";
    let members: Vec<(String,)> = db.fetch_all(sql, values![mall_id]).await?;
    Ok(members.into_iter().map(|(member,)| member).collect())
}

/// An order that is about to be placed.
struct Order<'a> {
    mall: &'a DemoMall,
    mall_id: i64,
    day: NaiveDate,
    number: u32,
    placed: &'a Placed,
    members: &'a [String],
    now: DateTime<Utc>,
}

impl Order<'_> {
    /// Stores the order with its lines, and takes its units from the stock. `false` if it is there.
    async fn place(&self, db: &mut Db) -> anyhow::Result<bool> {
        let Self { mall, placed, .. } = self;
        let ago = |minutes: i64| self.now - TimeDelta::minutes(minutes);
        let ordered_at = ago(placed.minutes_ago);
        let paid_at = placed.paid_minutes_ago.map(ago);
        let status = if paid_at.is_some() { "PAID" } else { "PAYMENT_WAIT" };
        let goods: i64 =
            placed.lines.iter().map(|(product, quantity)| mall.product(*product).1 * quantity).sum();
        let shipping = mall.shipping_of(goods);
        let member = placed.member.and_then(|place| self.members.get(place)).map(String::as_str);
        let stored: Option<(i64,)> = db
            .fetch_optional(
                "INSERT INTO orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount,
                     shipping_amount, tax_amount, payment_method, ordered_at, paid_at, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, 'CARD', $9, $10, $9, $9)
                 ON CONFLICT (mall_id, order_no) DO NOTHING RETURNING id",
                values![
                    self.mall_id,
                    format!("A{}-{}", self.day.format("%Y%m%d"), self.number),
                    member,
                    status,
                    mall.currency,
                    goods + shipping,
                    shipping,
                    mall.tax_of(goods + shipping),
                    ordered_at,
                    paid_at,
                ],
            )
            .await?;
        let Some((order,)) = stored else { return Ok(false) };
        for (product, quantity) in placed.lines {
            let (code, (name, price)) = (product_code(*product), mall.product(*product));
            db.execute(
                "INSERT INTO order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount,
                     discount_amount, tax_amount, line_amount)
                 VALUES ($1, $2, $2, $3, $4, $5, 0, 0, $6)",
                values![order, &code, name, *quantity, price, price * quantity],
            )
            .await?;
            db.execute(
                "UPDATE stock SET quantity = quantity - $1, updated_at = $2
                 WHERE product_id = (SELECT id FROM products WHERE mall_id = $3 AND product_code = $4)",
                values![*quantity, ordered_at, self.mall_id, &code],
            )
            .await?;
        }
        Ok(true)
    }
}

/// The context of the commands that work on what the application wrote: with the settings of the example alone, which reach no
/// channel, no mailbox and no Redis of anybody. Its events go to files.
pub(super) fn context_in(cx: &Context, folder: &Path) -> anyhow::Result<Context> {
    let events = toml::Value::from(folder.join(EVENTS).to_string_lossy().into_owned());
    let settings = format!(
        "# Created by `batchctl demo`: events go to files.\n[events]\nsink = \"ndjson\"\nfolder = {events}\n"
    );
    let file = folder.join(SETTINGS);
    write_atomically(&file, |file| Ok(file.write_all(settings.as_bytes())?))?;
    let changed =
        [("BATCHCTL_CONFIG", file.to_string_lossy().into_owned()), ("BATCHCTL_REDIS_URL", String::new())];
    let config =
        cx.config.with_variables(&changed).map_err(|error| Failure::configuration(error.to_string()))?;
    let output = cx.output.with_redactor(config.redactor());
    Ok(cx.under(config, output))
}

/// What happens once the orders are there, in the order in which a crontab would start it.
pub(super) fn commands() -> Vec<Vec<String>> {
    ["order expire", "stock alert", "stock alerts", "stats daily", "events publish"]
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .into()
}

/// Whether an order of the application still waits for its payment.
pub(super) async fn has_open_order(cx: &Context) -> anyhow::Result<bool> {
    let sql = "SELECT COUNT(*) FROM orders o JOIN malls m ON m.id = o.mall_id
               WHERE m.code = $1 AND o.status = 'PAYMENT_WAIT' AND o.source_updated_at IS NULL";
    let mut db = cx.db().await?;
    let (open,): (i64,) = db.fetch_one(sql, values![MALL]).await?;
    db.close().await;
    Ok(open > 0)
}

/// What the user can do next. In a second demo of a day the last order may have expired.
pub(super) fn next_steps(folder: &Path, has_open_order: bool) -> String {
    let settings = folder.join(SETTINGS);
    let settings = settings.to_string_lossy();
    let quoted = shlex::try_quote(&settings).unwrap_or_default();
    let orders = if has_open_order {
        format!(
            "One still has\ntime to be paid; five minutes later these cancel it, and publish its events:\n  \
             batchctl order expire\n  \
             BATCHCTL_CONFIG={quoted} batchctl events publish\n"
        )
    } else {
        "Those of\ntoday are paid or cancelled; tomorrow's demo has new ones.\n".to_owned()
    };
    format!(
        "\nAn application keeps the orders of mall `{MALL}` from today on. {orders}\
         `batchctl stock reconcile` compares stock in Redis: BATCHCTL_REDIS_URL names one.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_that_nobody_has_paid_are_due_and_one_is_not() {
        let unpaid = || ORDERS.iter().filter(|order| order.paid_minutes_ago.is_none());
        assert_eq!(unpaid().filter(|order| order.minutes_ago >= 5).count(), 3);
        assert_eq!(unpaid().filter(|order| order.minutes_ago < 5).count(), 1);
    }
}
