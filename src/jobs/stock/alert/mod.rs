//! `stock alert`: notes the products whose stock is at or below their threshold, and tells of each once.
//!
//! A product's alert stays open until its stock has risen above the threshold again; only then is another one raised.
//! The table `stock_alerts` is the queue: an alert without a message waits for one, and a message is kept until its
//! channel has it. However many there are, a run writes one message of the most urgent ones.
//!
//! When most of a mall falls below its thresholds at once, it is the feed that is wrong and not the stock: that is one
//! alert of the mall, and its products wait until the figures are plausible again or a person accepts them.

mod message;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::channels::kept;
use crate::config::StockConfig;
use crate::context::Context;
use crate::db::{Db, FromRow, StoredText};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, failpoint, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::values;
use crate::wording::{command, counted};

use super::telling::{Recipients, severity};
use message::Digest;

/// The most products that one message names: more do not fit on a screen.
const MOST_NAMED: i64 = 40;
/// How much of a name or a code is read: others may write megabytes.
pub(super) const READ_CHARACTERS: u32 = 200;

/// Arguments of `stock alert`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Raise an alert for each product, even if so many of a mall fell at once that its stock is in doubt
    #[arg(long)]
    accept_all: bool,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stock alert",
        summary: "Alert about products whose stock is at or below their threshold",
        details: "An alert is raised for a product once, until its stock has risen above its threshold again. Its threshold is its \
                  own, or `stock.alert_threshold` of batchctl.toml. If most products of a mall fall at once, there is one \
                  alert of the mall instead.",
        page: Some("docs/orders-and-stock.md"),
        schedule: Some("30 * * * *"),
        deadline: minutes(10),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
        items: Items::new("product", "products", "checked"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        let malls = self.malls.selected(db).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let (cx, now) = (run.cx, run.cx.now());
        let malls = self.malls.selected(run.db).await?;
        let watch = Watch::new(cx.config.stock(), &malls, self.accept_all);
        run.db.analyze_unknown(&["products", "stock", "stock_alerts"]).await?;
        let noted = run.chunk(None::<&str>, async |db| note(db, &watch, now).await).await?;
        run.read(noted.watched);
        run.written(noted.opened + noted.recovered);
        let recipients = Recipients::of(cx, &Self::SPEC);
        if !recipients.is_empty() {
            tell_of_feeds(run, &recipients).await?;
            tell_of_products(run, &recipients).await?;
            kept::send_due(cx, run.db).await;
            run.chunk(None::<&str>, async |db| note_told(db, now).await).await?;
        }
        run.summarise(noted.sentence());
        for feed in &noted.doubtful {
            run.summarise(feed.sentence(cx));
        }
        Ok(())
    }
}

/// Which products are looked at, and how.
struct Watch<'c> {
    config: &'c StockConfig,
    malls: Vec<i64>,
    /// Whether no mall's stock is doubted.
    accepts_all: bool,
}

impl<'c> Watch<'c> {
    fn new(config: &'c StockConfig, malls: &[Mall], accepts_all: bool) -> Self {
        Self { config, malls: malls.iter().map(|mall| mall.id).collect(), accepts_all }
    }

    /// Whether so many products fell at once that it is not true.
    fn is_doubtful(&self, mall: &Fallen) -> bool {
        let feed = &self.config.feed;
        let percent = i128::from(mall.newly_low) * 100;
        !self.accepts_all
            && mall.newly_low >= i64::from(feed.products)
            && percent > i128::from(feed.percent) * i128::from(mall.watched)
    }
}

/// What a run found.
#[derive(Debug, Default)]
struct Noted {
    watched: u64,
    opened: u64,
    recovered: u64,
    /// Malls whose stock is in doubt.
    doubtful: Vec<Doubt>,
}

/// A mall whose stock is in doubt.
#[derive(Debug, FromRow)]
pub(super) struct Doubt {
    mall: StoredText,
    products: i64,
    watched: i64,
}

impl Doubt {
    /// Which mall, why, and what to do about it.
    pub(super) fn sentence(&self, cx: &Context) -> String {
        let mall = self.mall.shown();
        let accept = command(&["stock", "alert", "--mall", mall, "--accept-all"]);
        format!(
            "the stock of mall `{mall}` is in doubt: {} of {} products became low at once, and no alert is raised for them; \
             check what writes the table `stock`, or, if it is true: {}",
            self.products,
            self.watched,
            cx.command(accept.strip_prefix("batchctl ").unwrap_or(&accept))
        )
    }
}

/// The malls among these whose stock is in doubt.
pub(super) async fn doubts(db: &mut Db, malls: &[i64]) -> anyhow::Result<Vec<Doubt>> {
    let sql = format!(
        "SELECT SUBSTR(m.code, 1, {READ_CHARACTERS}) AS mall, f.products, f.watched
         FROM stock_feed_alerts f JOIN malls m ON m.id = f.mall_id
         WHERE f.closed_at IS NULL AND f.mall_id IN {} ORDER BY f.mall_id",
        db.numbers("$1")
    );
    Ok(db.fetch_all(&sql, values![json!(malls)]).await?)
}

impl Noted {
    fn sentence(&self) -> String {
        let mut parts = Vec::new();
        if self.opened > 0 {
            parts.push(format!(
                "{} low on stock",
                counted(self.opened, "product is newly", "products are newly")
            ));
        }
        if self.recovered > 0 {
            parts.push(counted(self.recovered, "product has recovered", "products have recovered"));
        }
        match (parts.is_empty(), self.doubtful.is_empty()) {
            (false, _) => parts.join(", "),
            (true, true) => "no product is newly low on stock".to_owned(),
            (true, false) => "no alert was raised".to_owned(),
        }
    }
}

// ---------------------------------------------------------------- the alerts

/// Closes the alerts of products that have recovered, and opens those of products that are low.
async fn note(db: &mut Db, watch: &Watch<'_>, now: DateTime<Utc>) -> anyhow::Result<Noted> {
    note_told(db, now).await?;
    let recovered = close_recovered(db, watch, now).await?;
    let fallen = fallen_by_mall(db, watch).await?;
    let (doubtful, plausible): (Vec<&Fallen>, Vec<&Fallen>) =
        fallen.iter().partition(|mall| watch.is_doubtful(mall));
    let doubted: Vec<i64> = doubtful.iter().map(|mall| mall.mall_id).collect();
    close_plausible_feeds(db, watch, &doubted, now).await?;
    for mall in &doubtful {
        doubt_feed(db, mall, now).await?;
    }
    let low: Vec<i64> = plausible.iter().filter(|mall| mall.newly_low > 0).map(|mall| mall.mall_id).collect();
    let opened = if low.is_empty() { 0 } else { open_low(db, watch, &low, now).await? };
    let watched = fallen.iter().map(|mall| u64::try_from(mall.watched).unwrap_or(0)).sum();
    Ok(Noted { watched, opened, recovered, doubtful: doubts(db, &watch.malls).await? })
}

/// The products that are made, with their stock and their thresholds: their own, or the default `$1`. One that a shop has
/// marked as sold out since the last run has fallen all the same.
fn watched(malls: &str) -> String {
    format!(
        "SELECT p.id AS product_id, p.mall_id, s.quantity,
                COALESCE(p.stock_alert_threshold, CAST($1 AS BIGINT)) AS threshold
         FROM products p JOIN stock s ON s.product_id = p.id
         WHERE p.status <> 'DISCONTINUED' AND p.mall_id IN {malls}"
    )
}

/// Closes alerts whose products are above their thresholds, by as much as is asked for, or are not watched any more: without
/// a threshold or a stock, not made any more, or of a mall that is not active any more. One that is only not on sale at the
/// moment has not recovered.
async fn close_recovered(db: &mut Db, watch: &Watch<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let stock = watch.config;
    let values = values![stock.alert_threshold, json!(watch.malls), stock.recover_above, now];
    Ok(db.execute(&close_recovered_sql(db), values).await?)
}

fn close_recovered_sql(db: &Db) -> String {
    // A threshold near the largest number there is would overflow.
    format!(
        "UPDATE stock_alerts SET recovered_at = $4
         WHERE id IN (
             SELECT id FROM (
                 SELECT a.id, p.status, s.quantity,
                        COALESCE(p.stock_alert_threshold, CAST($1 AS BIGINT)) AS threshold,
                        p.mall_id IN {malls} AS is_watched, m.is_active
                 FROM stock_alerts a
                 JOIN products p ON p.id = a.product_id
                 JOIN malls m ON m.id = p.mall_id
                 LEFT JOIN stock s ON s.product_id = a.product_id
                 WHERE a.recovered_at IS NULL
             ) open
             WHERE NOT is_watched AND NOT is_active
                OR is_watched AND (status = 'DISCONTINUED' OR threshold IS NULL OR quantity IS NULL
                OR quantity > CASE WHEN threshold < 9000000000000000000 THEN threshold + $3 ELSE threshold END)
         )",
        malls = db.numbers("$2")
    )
}

/// How many products of a mall are watched, and how many of them are low without an alert.
#[derive(Debug, FromRow)]
struct Fallen {
    mall_id: i64,
    watched: i64,
    newly_low: i64,
}

async fn fallen_by_mall(db: &mut Db, watch: &Watch<'_>) -> anyhow::Result<Vec<Fallen>> {
    let values = values![watch.config.alert_threshold, json!(watch.malls)];
    Ok(db.fetch_all(&fallen_sql(db), values).await?)
}

fn fallen_sql(db: &Db) -> String {
    format!(
        "SELECT w.mall_id, COUNT(*) AS watched,
                COUNT(*) FILTER (WHERE w.quantity <= w.threshold AND a.id IS NULL) AS newly_low
         FROM ({}) w
         LEFT JOIN stock_alerts a ON a.product_id = w.product_id AND a.recovered_at IS NULL
         WHERE w.threshold IS NOT NULL
         GROUP BY w.mall_id ORDER BY w.mall_id",
        watched(&db.numbers("$2"))
    )
}

/// Opens the alerts of all products of these malls that are low and have none.
async fn open_low(db: &mut Db, watch: &Watch<'_>, malls: &[i64], now: DateTime<Utc>) -> anyhow::Result<u64> {
    Ok(db.execute(&open_low_sql(db), values![watch.config.alert_threshold, json!(malls), now]).await?)
}

fn open_low_sql(db: &Db) -> String {
    format!(
        "INSERT INTO stock_alerts (product_id, opened_at, quantity, threshold)
         SELECT w.product_id, $3, w.quantity, w.threshold
         FROM ({}) w
         WHERE w.quantity <= w.threshold
           AND NOT EXISTS (
               SELECT 1 FROM stock_alerts a WHERE a.product_id = w.product_id AND a.recovered_at IS NULL
           )
         ON CONFLICT (product_id) WHERE recovered_at IS NULL DO NOTHING",
        watched(&db.numbers("$2"))
    )
}

// ---------------------------------------------------------------- feeds in doubt

async fn doubt_feed(db: &mut Db, mall: &Fallen, now: DateTime<Utc>) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO stock_feed_alerts (mall_id, opened_at, products, watched) VALUES ($1, $2, $3, $4)
         ON CONFLICT (mall_id) WHERE closed_at IS NULL DO NOTHING",
        values![mall.mall_id, now, mall.newly_low, mall.watched],
    )
    .await?;
    Ok(())
}

/// Closes the doubts about malls that are not among the doubted ones, or are not active any more.
async fn close_plausible_feeds(
    db: &mut Db,
    watch: &Watch<'_>,
    doubted: &[i64],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let sql = format!(
        "UPDATE stock_feed_alerts SET closed_at = $1
         WHERE closed_at IS NULL AND mall_id NOT IN {}
           AND (mall_id IN {} OR mall_id IN (SELECT id FROM malls WHERE NOT is_active))",
        db.numbers("$3"),
        db.numbers("$2")
    );
    db.execute(&sql, values![now, json!(watch.malls), json!(doubted)]).await?;
    Ok(())
}

// ---------------------------------------------------------------- the messages

/// A mall whose stock is in doubt.
#[derive(Debug, FromRow)]
struct Feed {
    id: i64,
    mall: StoredText,
    products: i64,
    watched: i64,
}

/// Writes the messages about malls whose stock is in doubt.
async fn tell_of_feeds(run: &mut Run<'_>, recipients: &Recipients<'_>) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT f.id, SUBSTR(m.code, 1, {READ_CHARACTERS}) AS mall, f.products, f.watched
         FROM stock_feed_alerts f JOIN malls m ON m.id = f.mall_id
         WHERE f.closed_at IS NULL AND f.told_at IS NULL AND f.message_key IS NULL ORDER BY f.id"
    );
    let feeds: Vec<Feed> = run.db.fetch_all(&sql, values![]).await?;
    for feed in feeds {
        let message = message::of_feed(run.cx, &feed);
        let mail = recipients.mail_or_fail(run, &message).await;
        let cx = run.cx;
        run.chunk(None::<&str>, async |db| {
            recipients.tell(cx, db, &message, mail.as_ref()).await?;
            let sql = "UPDATE stock_feed_alerts SET message_key = $1 WHERE id = $2";
            db.execute(sql, values![&message.id, feed.id]).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A product that is low.
#[derive(Debug, Clone, FromRow)]
struct Low {
    mall: StoredText,
    product: StoredText,
    name: StoredText,
    quantity: i64,
    threshold: i64,
}

/// Open alerts that no message tells of.
const UNTOLD: &str = "recovered_at IS NULL AND told_at IS NULL AND message_key IS NULL";

/// Writes one message about all products of which none tells yet.
async fn tell_of_products(run: &mut Run<'_>, recipients: &Recipients<'_>) -> anyhow::Result<()> {
    let default = run.cx.config.stock().alert_threshold;
    let Some(digest) = digest(run.db, default).await? else { return Ok(()) };
    let key = format!("stock-alert/{}", run.id());
    let message = message::of_products(run.cx, &key, severity(run.cx, &Args::SPEC), &digest);
    let mail = recipients.mail_or_fail(run, &message).await;
    let cx = run.cx;
    run.chunk(None::<&str>, async |db| {
        recipients.tell(cx, db, &message, mail.as_ref()).await?;
        let sql = format!("UPDATE stock_alerts SET message_key = $1 WHERE {UNTOLD}");
        db.execute(&sql, values![&key]).await?;
        Ok(())
    })
    .await?;
    failpoint::reach(&run.cx.config, "stock-message-kept");
    Ok(())
}

/// What a message says of the products that none tells of yet; `None` if there are none. `default` is the threshold of
/// products that have none of their own.
async fn digest(db: &mut Db, default: Option<i64>) -> anyhow::Result<Option<Digest>> {
    let (total,): (i64,) =
        db.fetch_one(&format!("SELECT COUNT(*) FROM stock_alerts WHERE {UNTOLD}"), values![]).await?;
    if total == 0 {
        return Ok(None);
    }
    let read = |column: &str| format!("SUBSTR({column}, 1, {READ_CHARACTERS})");
    let sql = format!(
        "SELECT {} AS mall, {} AS product, {} AS name, s.quantity,
                COALESCE(p.stock_alert_threshold, CAST($2 AS BIGINT), a.threshold) AS threshold
         FROM stock_alerts a
         JOIN products p ON p.id = a.product_id
         JOIN stock s ON s.product_id = a.product_id
         JOIN malls m ON m.id = p.mall_id
         WHERE a.recovered_at IS NULL AND a.told_at IS NULL AND a.message_key IS NULL
         ORDER BY s.quantity, a.product_id LIMIT $1",
        read("m.code"),
        read("p.product_code"),
        read("p.name"),
    );
    let named: Vec<Low> = db.fetch_all(&sql, values![MOST_NAMED, default]).await?;
    Ok(Some(Digest { total: u64::try_from(total).unwrap_or(0), named }))
}

/// Notes which alerts everybody has been told of: whose message every channel has that is still configured. If it was given up
/// for all of them nobody was told, and they wait for another message.
async fn note_told(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<()> {
    for table in ["stock_alerts", "stock_feed_alerts"] {
        let sql = format!(
            "UPDATE {table} SET message_key = NULL
             WHERE told_at IS NULL
               AND message_key IN (SELECT g.message_key FROM channel_messages g WHERE g.given_up_at IS NOT NULL)
               AND NOT EXISTS (
                   SELECT 1 FROM channel_messages m
                   WHERE m.message_key = {table}.message_key AND m.given_up_at IS NULL
               )"
        );
        db.execute(&sql, values![]).await?;
        let sql = format!(
            "UPDATE {table} SET told_at = COALESCE(
                 (SELECT MAX(m.delivered_at) FROM channel_messages m WHERE m.message_key = {table}.message_key), $1)
             WHERE told_at IS NULL AND message_key IS NOT NULL
               AND NOT EXISTS (
                   SELECT 1 FROM channel_messages m
                   WHERE m.message_key = {table}.message_key AND m.delivered_at IS NULL AND m.given_up_at IS NULL
               )"
        );
        db.execute(&sql, values![now]).await?;
    }
    Ok(())
}
