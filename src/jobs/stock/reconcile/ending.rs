//! The end of a run: what it found is counted, the event is written, and many differences are an urgent message.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use crate::channels::{Message, kept};
use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, StoredText};
use crate::locale::{Locale, group_digits};
use crate::outbox::{self, NewEvent};
use crate::period::{local_day, shown_instant};
use crate::printable::{one_line, shortened};
use crate::runner::{Job as _, Run};
use crate::severity::Severity;
use crate::{bulk_row, values};

use super::super::causes::{ByCause, totals};
use super::super::telling::Recipients;
use super::Args;
use super::comparison::{Found, Place};
use super::difference::{Cause, Source};
use super::repair::RepairCounts;

/// The most differences that a message names.
const MOST_NAMED: i64 = 20;
/// How much is shown of a product's code.
const SHOWN_CHARACTERS: usize = 60;

bulk_row! {
    /// What a run did in a mall.
    struct Reconciled => "stock_reconciliations" {
        execution_id: i64,
        mall_id: i64,
        day: NaiveDate,
        source: &'static str,
        compared: i64,
        differences: i64,
        repaired: i64,
        unsettled: i64,
        completed_at: DateTime<Utc>,
    }
}

/// Writes down that the malls were compared, and tells of the differences that nobody was told of: those of this run, and of
/// earlier ones that did not come to their end.
pub(super) async fn tell(
    run: &mut Run<'_>,
    places: &[Place],
    found: &[Found],
    repaired: &[RepairCounts],
    source: Source,
) -> anyhow::Result<()> {
    let (cx, id, now) = (run.cx, run.id(), run.cx.now());
    let counts = ByCause::load(run.db, "d.told_by IS NULL", values![]).await?;
    let (differences, _) = totals(&counts);
    let is_urgent = differences > i64::from(cx.config.stock().reconcile.urgent_above);
    let recipients = Recipients::of(cx, &Args::SPEC);
    let message = if is_urgent && !recipients.is_empty() {
        let named = named(run.db).await?;
        Some(message(cx, id, &counts, &named))
    } else {
        None
    };
    let mail = match &message {
        Some(message) => recipients.mail_or_fail(run, message).await,
        None => None,
    };
    let compared: u64 = found.iter().filter(|found| found.doubt.is_none()).map(|found| found.compared).sum();
    run.chunk(None::<&str>, async |db| {
        note(db, id, places, found, repaired, source, now).await?;
        if differences > 0 {
            let payload = payload(id, now, source, compared, is_urgent, &counts);
            let event = NewEvent {
                aggregate_type: "stock",
                aggregate_id: "reconciliation".to_owned(),
                event_type: "stock.sync.alert",
                payload,
                occurred_at: now,
            };
            outbox::write(db, &[event], cx.machine_time()).await?;
        }
        if let Some(message) = &message {
            recipients.tell(cx, db, message, mail.as_ref()).await?;
        }
        db.execute("UPDATE stock_differences SET told_by = $1 WHERE told_by IS NULL", values![id]).await?;
        Ok(())
    })
    .await?;
    if message.is_some() {
        kept::send_due(cx, run.db).await;
    }
    Ok(())
}

async fn note(
    db: &mut Db,
    run: i64,
    places: &[Place],
    found: &[Found],
    repaired: &[RepairCounts],
    source: Source,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let bigint = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut rows = Bulk::new(db);
    for ((place, found), repaired) in places.iter().zip(found).zip(repaired) {
        // A mall in doubt was not compared.
        if found.doubt.is_some() {
            continue;
        }
        rows.push(&Reconciled {
            execution_id: run,
            mall_id: place.mall.id,
            day: local_day(now, place.mall.time_zone()?),
            source: source.word(),
            compared: bigint(found.compared),
            differences: bigint(found.differences.len() as u64),
            repaired: bigint(repaired.repaired),
            unsettled: bigint(found.unsettled),
            completed_at: now,
        });
    }
    db.load(&mut rows).await?;
    Ok(())
}

/// What the event `stock.sync.alert` says.
fn payload(
    run: i64,
    now: DateTime<Utc>,
    source: Source,
    compared: u64,
    is_urgent: bool,
    counts: &[ByCause],
) -> Json {
    let (differences, repaired) = totals(counts);
    let causes: Vec<Json> = counts
        .iter()
        .map(|count| {
            json!({
                "mall": count.mall.shown(), "cause": count.cause, "differences": count.differences,
                "repaired": count.repaired,
            })
        })
        .collect();
    json!({
        "run_id": run,
        "detected_at": now.to_rfc3339_opts(SecondsFormat::Micros, true),
        "source": source.word(),
        "compared_products": compared,
        "differences": differences,
        "repaired": repaired,
        "is_urgent": is_urgent,
        "causes": causes,
    })
}

// ---------------------------------------------------------------- the message

/// A difference that a message names.
#[derive(Debug, FromRow)]
struct Shown {
    mall: StoredText,
    product: StoredText,
    quantity: Option<i64>,
    stored: Option<StoredText>,
    cause: String,
    repair: String,
}

async fn named(db: &mut Db) -> anyhow::Result<Vec<Shown>> {
    let sql = "SELECT SUBSTR(m.code, 1, 200) AS mall, SUBSTR(d.product_code, 1, 200) AS product, d.quantity,
                      SUBSTR(d.stored, 1, 200) AS stored, d.cause, d.repair
               FROM stock_differences d JOIN malls m ON m.id = d.mall_id
               WHERE d.told_by IS NULL
               ORDER BY CASE d.repair WHEN 'REPAIRED' THEN 1 ELSE 0 END, d.id LIMIT $1";
    Ok(db.fetch_all(sql, values![MOST_NAMED]).await?)
}

fn message(cx: &Context, run: i64, counts: &[ByCause], named: &[Shown]) -> Message {
    let locale = cx.config.locale();
    let grouped = |count: i64| group_digits(&count.to_string());
    let (differences, repaired) = totals(counts);
    let (all, done, environment) = (grouped(differences), grouped(repaired), cx.config.environment());
    let title = locale.pick(
        format!(
            "{} between Redis and the database; {} repaired ({environment})",
            if differences == 1 { "1 product differs".to_owned() } else { format!("{all} products differ") },
            if repaired == 1 { "1 was".to_owned() } else { format!("{done} were") },
        ),
        format!("Redis の在庫差異：{all}件、修復済み{done}件（{environment}）"),
        format!("Redis 재고 불일치 {all}건, 복구 {done}건 ({environment})"),
    );
    let mut lines: Vec<String> = counts.iter().map(|count| count.line(locale)).collect();
    lines.extend(named.iter().map(|shown| one(shown, locale)));
    let more = differences.saturating_sub(i64::try_from(named.len()).unwrap_or(i64::MAX));
    if more > 0 {
        let (more, command) = (grouped(more), cx.full_command("stock differences"));
        lines.push(locale.pick(
            format!("and {more} more: {command}"),
            format!("ほか{more}件：{command}"),
            format!("외 {more}건: {command}"),
        ));
    }
    lines.push(shown_instant(cx.now(), cx.time_zone()));
    let id = format!("stock-reconcile/{run}");
    Message { lines, ..Message::new(id, cx.now(), Severity::High, title) }
}

/// `tokyo/P-1: database 10, Redis 7 (reservation leaked)`.
fn one(shown: &Shown, locale: Locale) -> String {
    let text = |text: &str| shortened(&one_line(text), SHOWN_CHARACTERS).into_owned();
    let product = format!("{}/{}", text(shown.mall.shown()), text(shown.product.shown()));
    let cause = Cause::of(&shown.cause).map_or(shown.cause.as_str(), |cause| cause.shown(locale));
    let none = || "-".to_owned();
    let quantity = shown.quantity.map_or_else(none, |quantity| group_digits(&quantity.to_string()));
    let stored = shown.stored.as_ref().map_or_else(none, |stored| text(stored.shown()));
    let is_open = shown.repair != "REPAIRED";
    let open = if is_open { locale.pick(", not repaired", "、未修復", ", 미복구") } else { "" };
    locale.pick(
        format!("{product}: database {quantity}, Redis {stored} ({cause}{open})"),
        format!("{product}：DB {quantity}、Redis {stored}（{cause}{open}）"),
        format!("{product}: DB {quantity}, Redis {stored} ({cause}{open})"),
    )
}
