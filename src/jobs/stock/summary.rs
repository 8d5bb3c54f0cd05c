//! `stock summary`: what `stock reconcile` has found and repaired, by mall and cause, each morning.
//!
//! A day's summary is about what was found since the one before it: the night's comparison, and whatever a person has run
//! since. Each difference is in one summary, however late it was found. A mall that was not compared is named: that nothing
//! was found is no good news of it.

use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::channels::{Message, kept};
use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::failure::Failure;
use crate::locale::{Locale, day_in_words, group_digits};
use crate::period::{DayRange, day_bounds, parse_day};
use crate::printable::one_line;
use crate::runner::{Exclusion, Items, Job, JobSpec, MeantDays, Planned, Run, failpoint, minutes};
use crate::severity::Severity;
use crate::shop::malls::{APP, selected_malls};
use crate::values;

use super::causes::{ByCause, totals};
use super::telling::{Recipients, severity};

/// Arguments of `stock summary`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Summarise this day: YYYY-MM-DD, yesterday or -7d (default: yesterday)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stock summary",
        summary: "Tell what the comparison of stock has found and repaired, by mall and cause",
        details: "The summary of a day is about the comparison of the night after it, and about all that was found since the \
                  summary before.",
        page: Some("docs/orders-and-stock.md"),
        schedule: Some("0 9 * * *"),
        deadline: minutes(10),
        severity: Severity::Low,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "summarised"),
    };

    type Unit = NaiveDate;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<NaiveDate>>> {
        let day = self.day(cx)?;
        if own_malls(db).await?.is_empty() {
            cx.output.status("No mall keeps its orders in this database: nothing to summarise");
            return Ok(Vec::new());
        }
        if cx.redis().is_none() {
            cx.output.status(
                "BATCHCTL_REDIS_URL is not set: no stock is compared, and there is nothing to summarise",
            );
            return Ok(Vec::new());
        }
        // One after the other: what one has summarised, the next one leaves out.
        Ok(vec![Planned::new(day.to_string(), day).with("date", day.to_string())])
    }

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        Some(MeantDays::OfBusiness(DayRange::single(today - Days::new(1))))
    }

    async fn run(&self, run: &mut Run<'_>, day: &NaiveDate) -> anyhow::Result<()> {
        let (cx, day) = (run.cx, *day);
        // What was found on the day after it, in the business time zone.
        let until = day_bounds(day + Days::new(1), cx.time_zone()).end;
        let malls = own_malls(run.db).await?;
        run.read(malls.len() as u64);
        run.chunk(None::<&str>, async |db| take(db, day, until).await).await?;
        let summary = Summary::load(run.db, day, &malls).await?;
        let recipients = Recipients::of(cx, &Self::SPEC);
        let is_told = !(summary.is_quiet() && cx.config.stock().reconcile.quiet_summary);
        if is_told && !recipients.is_empty() {
            // The same after a kill; another one only if somebody wants it again.
            let again = if run.is_asked_again() { format!("/{}", run.id()) } else { String::new() };
            let id = format!("stock-summary/{day}{again}");
            let message = summary.message(cx, &id, day, severity(cx, &Self::SPEC));
            let mail = recipients.mail_or_fail(run, &message).await;
            run.chunk(None::<&str>, async |db| recipients.tell(cx, db, &message, mail.as_ref()).await)
                .await?;
            failpoint::reach(&cx.config, "stock-message-kept");
            kept::send_due(cx, run.db).await;
        }
        run.written(malls.len() as u64);
        run.summarise(summary.headline(day, Locale::En));
        Ok(())
    }
}

impl Args {
    fn day(&self, cx: &Context) -> anyhow::Result<NaiveDate> {
        let today = cx.today();
        let Some(text) = &self.date else { return Ok(today - Days::new(1)) };
        let day = parse_day(text, today).map_err(|error| Failure::usage(error.to_string()))?;
        if day >= today {
            return Err(Failure::usage(format!(
                "{day} is not over: its stock is compared in the night after it"
            ))
            .into());
        }
        Ok(day)
    }
}

/// The malls that are compared, by their numbers and codes.
async fn own_malls(db: &mut Db) -> anyhow::Result<Vec<(i64, String)>> {
    let malls = selected_malls(db, &[]).await?;
    let own = malls.into_iter().filter(|mall| mall.platform == APP);
    Ok(own.map(|mall| (mall.id, mall.code)).collect())
}

/// Makes all that was found up to then and is in no summary yet part of this day's.
async fn take(db: &mut Db, day: NaiveDate, until: DateTime<Utc>) -> anyhow::Result<()> {
    for (table, found_at) in [("stock_differences", "found_at"), ("stock_reconciliations", "completed_at")] {
        let sql =
            format!("UPDATE {table} SET summary_day = $1 WHERE summary_day IS NULL AND {found_at} < $2");
        db.execute(&sql, values![day, until]).await?;
    }
    Ok(())
}

/// How often a mall was compared.
#[derive(Debug, Clone, FromRow)]
struct OfMall {
    mall_id: i64,
    compared: i64,
    unsettled: i64,
}

/// A day's summary.
struct Summary {
    causes: Vec<ByCause>,
    compared: i64,
    unsettled: i64,
    /// The codes of malls that were not compared.
    not_compared: Vec<String>,
}

impl Summary {
    async fn load(db: &mut Db, day: NaiveDate, malls: &[(i64, String)]) -> anyhow::Result<Self> {
        let causes = ByCause::load(db, "d.summary_day = $1", values![day]).await?;
        let compared: Vec<OfMall> = db
            .fetch_all(
                "SELECT mall_id, MAX(compared) AS compared, MAX(unsettled) AS unsettled
                 FROM stock_reconciliations WHERE summary_day = $1 GROUP BY mall_id ORDER BY mall_id",
                values![day],
            )
            .await?;
        let is_missing = |id: i64| !compared.iter().any(|mall| mall.mall_id == id);
        let not_compared =
            malls.iter().filter(|(id, _)| is_missing(*id)).map(|(_, code)| code.clone()).collect();
        Ok(Self {
            causes,
            compared: compared.iter().map(|mall| mall.compared).sum(),
            unsettled: compared.iter().map(|mall| mall.unsettled).sum(),
            not_compared,
        })
    }

    /// Whether there is nothing to report.
    fn is_quiet(&self) -> bool {
        self.causes.is_empty() && self.not_compared.is_empty()
    }

    fn headline(&self, day: NaiveDate, locale: Locale) -> String {
        let day = day_in_words(day, locale);
        let grouped = |count: i64| group_digits(&count.to_string());
        let compared = grouped(self.compared);
        let products = products(self.compared);
        let (all, repaired) = totals(&self.causes);
        if all == 0 {
            return locale.pick(
                format!("Stock of {day}: no differences between Redis and the database, {products} compared"),
                format!("{day}の在庫：Redis と DB の差異なし（商品{compared}件を照合）"),
                format!("{day} 재고: Redis와 DB 불일치 없음 (상품 {compared}개 대조)"),
            );
        }
        let times = if all == 1 { "once".to_owned() } else { format!("{} times", grouped(all)) };
        let (all, repaired) = (grouped(all), grouped(repaired));
        locale.pick(
            format!("Stock of {day}: Redis and the database differed {times}, {repaired} repaired, {products} compared"),
            format!("{day}の在庫：Redis と DB の差異{all}件、修復済み{repaired}件（商品{compared}件を照合）"),
            format!("{day} 재고: Redis와 DB 불일치 {all}건, 복구 {repaired}건 (상품 {compared}개 대조)"),
        )
    }

    fn message(&self, cx: &Context, id: &str, day: NaiveDate, severity: Severity) -> Message {
        let locale = cx.config.locale();
        let mut lines: Vec<String> = self.causes.iter().map(|cause| cause.line(locale)).collect();
        if !self.not_compared.is_empty() {
            let malls = one_line(&self.not_compared.join(", "));
            lines.push(locale.pick(
                format!("Not compared: {malls}"),
                format!("未照合の店舗：{malls}"),
                format!("대조하지 않은 쇼핑몰: {malls}"),
            ));
        }
        if self.unsettled > 0 {
            let were = if self.unsettled == 1 { "was" } else { "were" };
            let moved = products(self.unsettled);
            let unsettled = group_digits(&self.unsettled.to_string());
            lines.push(locale.pick(
                format!("Moved all the time and {were} not compared: {moved}"),
                format!("変動が続き照合できなかった商品：{unsettled}件"),
                format!("계속 변동하여 대조하지 못한 상품: {unsettled}개"),
            ));
        }
        let environment = cx.config.environment();
        let title = format!("{} ({environment})", self.headline(day, locale));
        Message { lines, ..Message::new(id, cx.now(), severity, title) }
    }
}

/// `1 product`, `1,200 products`.
fn products(count: i64) -> String {
    format!("{} {}", group_digits(&count.to_string()), if count == 1 { "product" } else { "products" })
}
