//! `mail payment-notice`: tells subscribers about upcoming charges, some days before and on the day itself.
//!
//! Customers dispute charges that they do not remember agreeing to; this mail prevents that. It is part of the contract
//! and needs no consent. The ledger `payment_notices`, written in the transaction that queues the mails, ensures one
//! notice of each kind per charge, and also serves as the checkpoint.
//!
//! A day on which the job did not run is caught up on: a charge within the announcement period that was not announced
//! yet is announced now, with the remaining days. A charge whose day is over is no longer announced.

use chrono::{DateTime, Days, NaiveDate, Utc};
use lettre::message::Mailbox;
use serde_json::json;

use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, Problems};
use crate::failure::Failure;
use crate::mail::queue::{NewMail, USUAL, enqueue_many};
use crate::mail::template::Renderer;
use crate::period::{DayRange, local_day, parse_day};
use crate::runner::{Exclusion, Items, Job, JobSpec, MeantDays, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::recipients::{Addressed, MEMBER_UNDER_CONTRACT, PAGE, Purpose, language};
use crate::shop::times::Dated;
use crate::wording::counted;
use crate::{bulk_row, values};

/// The template, which is also the mail's kind.
const KIND: &str = "payment-notice";
/// How long before a charge it is announced: enough time to cancel, but not so long that it is forgotten again.
const DAYS_BEFORE: u32 = 3;

/// Arguments of `mail payment-notice`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Work on this day: YYYY-MM-DD, today or yesterday (default: today)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
    /// Announce a charge this many days before it
    #[arg(long, value_name = "DAYS", default_value_t = DAYS_BEFORE, value_parser = clap::value_parser!(u32).range(1..=60))]
    days_before: u32,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mail payment-notice",
        summary: "Queue notices of upcoming charges to subscribers",
        details: "One notice some days before a charge, and one on the day itself. If the job did not run on a day, the \
                  next run catches up.",
        page: Some("docs/customer-mail.md"),
        schedule: Some("0 9 * * *"),
        deadline: minutes(60),
        severity: Severity::High,
        exclusion: Exclusion::Instance,
        items: Items::new("charge", "charges", "done"),
    };

    type Unit = NaiveDate;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<NaiveDate>>> {
        let today = cx.today();
        let day = match &self.date {
            Some(text) => parse_day(text, today).map_err(|error| Failure::usage(error.to_string()))?,
            None => today,
        };
        if day > today {
            return Err(Failure::usage(format!("{day} is in the future: its notices would be wrong")).into());
        }
        let malls = self.malls.selected(db).await?;
        let mut key = day.to_string();
        if self.days_before != DAYS_BEFORE {
            key.push_str(&format!(" days-before={}", self.days_before));
        }
        if !self.malls.named().is_empty() {
            let codes: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            key.push_str(&format!(" mall={}", codes.join(",")));
        }
        // All exclude each other: two runs would write the same ledger, whatever their days.
        Ok(vec![Planned::new(key, day).with("date", day.to_string()).at(&self.malls, &malls)])
    }

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        // Run the next day without one, a start that was lost would be that day's, and hours too early.
        Some(MeantDays::OfBusiness(DayRange::single(today)))
    }

    async fn run(&self, run: &mut Run<'_>, day: &NaiveDate) -> anyhow::Result<()> {
        let cx = run.cx;
        // A run that catches up on an earlier day works this many days back in every mall.
        let days_ago = (cx.today() - *day).num_days();
        let templates = Renderer::new(&cx.config);
        let (mut before, mut on_day) = (0, 0);
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&["subscriptions", "members"]).await?;
        let malls = self.malls.selected(run.db).await?;
        for (mall, time_zone) in run.usable_malls(malls) {
            let period = Period::new(local_day(cx.now(), time_zone), days_ago, self.days_before);
            let queued = notify_mall(run, &templates, &mall, period).await?;
            before += queued.before;
            on_day += queued.on_day;
        }
        run.summarise(match (before, on_day) {
            (0, 0) => "nothing new to announce".to_owned(),
            _ => format!(
                "queued {} of upcoming charges and {on_day} of today's",
                counted(before, "notice", "notices")
            ),
        });
        Ok(())
    }
}

/// The days of the charges to announce, from `first` to `last`, and the mall's today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    today: NaiveDate,
    first: NaiveDate,
    last: NaiveDate,
}

impl Period {
    /// Today's charges belong only to today's run; an earlier day's run announces those of its charges that are still in
    /// the future.
    fn new(today: NaiveDate, days_ago: i64, days_before: u32) -> Self {
        let days_ago = u64::try_from(days_ago).unwrap_or(0);
        let first = if days_ago == 0 { today } else { today + Days::new(1) };
        let last = (today + Days::new(u64::from(days_before))) - Days::new(days_ago.min(u64::from(u32::MAX)));
        Self { today, first, last }
    }
}

#[derive(Debug, Default)]
struct Queued {
    before: u64,
    on_day: u64,
}

/// Queues the notices of a mall, page by page.
async fn notify_mall(
    run: &mut Run<'_>,
    templates: &Renderer,
    mall: &Mall,
    period: Period,
) -> anyhow::Result<Queued> {
    let mut total = Queued::default();
    run.fail_misdated(mall, &Dated::SUBSCRIPTIONS).await?;
    let mut after = (period.first, i64::MIN);
    loop {
        run.check_stop()?;
        let mut page = next_page(run.db, mall.id, period, after).await?;
        let Some(last) = page.last() else { return Ok(total) };
        after = (last.next_charge_day, last.id);
        run.read(page.len() as u64);
        for charge in &mut page {
            charge.mall_code.clone_from(&mall.code);
        }
        let charges = run.reachable(page, Purpose::Contract).await?;
        if charges.is_empty() {
            continue;
        }
        let cx = run.cx;
        let queued = run
            .chunk(None::<&str>, async |db| notify(db, cx, templates, mall, period.today, &charges).await)
            .await?;
        run.written(queued.before + queued.on_day);
        total.before += queued.before;
        total.on_day += queued.on_day;
    }
}

bulk_row! {
    /// The ledger: a charge that a member was told about.
    struct Notice => "payment_notices" {
        subscription_id: i64,
        charge_day: NaiveDate,
        kind: &'static str,
        created_at: DateTime<Utc>,
    }
}

/// Writes the ledger and queues the mails: both or nothing.
async fn notify(
    db: &mut Db,
    cx: &Context,
    templates: &Renderer,
    mall: &Mall,
    today: NaiveDate,
    charges: &[(Charge, Mailbox)],
) -> anyhow::Result<Queued> {
    let now = cx.now();
    let mut ledger = Bulk::new(db);
    let (mut before, mut on_day) = (Vec::new(), Vec::new());
    for (charge, mailbox) in charges {
        ledger.push(&Notice {
            subscription_id: charge.id,
            charge_day: charge.next_charge_day,
            kind: charge.kind(today),
            created_at: now,
        });
        let mails = if charge.next_charge_day == today { &mut on_day } else { &mut before };
        mails.push(mail(cx, templates, mall, today, charge, mailbox, now).await?);
    }
    db.load(&mut ledger).await?;
    Ok(Queued {
        before: enqueue_many(db, &before, now).await?,
        on_day: enqueue_many(db, &on_day, now).await?,
    })
}

async fn mail(
    cx: &Context,
    templates: &Renderer,
    mall: &Mall,
    today: NaiveDate,
    charge: &Charge,
    mailbox: &Mailbox,
    now: DateTime<Utc>,
) -> anyhow::Result<NewMail> {
    let data = json!({
        "member_name": charge.name,
        "plan_name": charge.plan_name,
        "amount": charge.amount,
        "currency": charge.currency,
        "charge_day": charge.next_charge_day,
        "days_left": (charge.next_charge_day - today).num_days(),
        "card_last4": charge.card_last4,
        "payment_method": charge.payment_method,
        "manage_url": charge.manage_url,
        // A deadline that has passed is left out.
        "cancel_by_day": charge.cancel_by_day.filter(|last| *last >= today),
    });
    let locale = language(&cx.config, charge.locale.as_deref(), None);
    Ok(NewMail {
        rendered: templates.render(KIND, locale.tag(), data).await?,
        recipient: mailbox.email.to_string(),
        member: Some((mall.id, charge.member_code.clone())),
        priority: USUAL,
        due_at: now,
        dedup_key: Some(mall.notice_key(
            KIND,
            &format!("{}/{}/{}", charge.subscription_no, charge.next_charge_day, charge.kind(today)),
        )),
        attachments: Vec::new(),
    })
}

// ---------------------------------------------------------------- the query

/// A charge to announce, and its recipient.
#[derive(Debug, FromRow)]
struct Charge {
    id: i64,
    subscription_no: String,
    plan_name: String,
    currency: String,
    amount: i64,
    next_charge_day: NaiveDate,
    cancel_by_day: Option<NaiveDate>,
    payment_method: Option<String>,
    card_last4: Option<String>,
    manage_url: Option<String>,
    member_code: String,
    name: Option<String>,
    email: String,
    locale: Option<String>,
    #[row(problems)]
    problems: Problems,
    #[row(skip)]
    mall_code: String,
}

impl Charge {
    fn kind(&self, today: NaiveDate) -> &'static str {
        if self.next_charge_day == today { "ON_DAY" } else { "BEFORE" }
    }
}

impl Addressed for Charge {
    fn mall_code(&self) -> &str {
        &self.mall_code
    }

    fn key(&self) -> &str {
        &self.subscription_no
    }

    fn email(&self) -> &str {
        &self.email
    }

    fn problems(&self) -> &Problems {
        &self.problems
    }
}

/// The next charges of the period that were not announced yet. A charge of zero (a free month) is not one.
async fn next_page(
    db: &mut Db,
    mall_id: i64,
    period: Period,
    after: (NaiveDate, i64),
) -> anyhow::Result<Vec<Charge>> {
    let values = values![mall_id, after.0, after.1, period.last, period.today, PAGE];
    Ok(db.fetch_all(&page_sql(db), values).await?)
}

fn page_sql(db: &Db) -> String {
    format!(
        "SELECT s.id, s.subscription_no, s.plan_name, s.currency, s.amount, s.next_charge_day, s.cancel_by_day,
                s.payment_method, s.card_last4, s.manage_url, m.member_code, m.name, m.email, m.locale
         FROM subscriptions s
         JOIN members m ON m.mall_id = s.mall_id AND m.member_code = s.member_code
         WHERE s.mall_id = $1 AND s.status = 'ACTIVE' AND s.next_charge_day IS NOT NULL AND s.amount > 0
           AND (s.next_charge_day, s.id) > ($2, {}) AND s.next_charge_day <= $4 AND {}
           AND {MEMBER_UNDER_CONTRACT}
           AND NOT EXISTS (SELECT 1 FROM payment_notices n
                           WHERE n.subscription_id = s.id AND n.charge_day = s.next_charge_day
                             AND n.kind = CASE WHEN s.next_charge_day = $5 THEN 'ON_DAY' ELSE 'BEFORE' END)
         ORDER BY s.next_charge_day, s.id LIMIT $6",
        db.row_number("$3"),
        db.is_day("s.next_charge_day")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};

    on_both_databases![a_page_of_charges_begins_where_the_last_one_ended];

    async fn a_page_of_charges_begins_where_the_last_one_ended(db: &mut TestDb) {
        db.mall("tokyo", "Asia/Tokyo", "JPY").await;
        let day = "'2026-11-19T00:00:00+00:00'";
        for rows in [
            "members (mall_id, member_code, status, email, signed_up_at, created_at, updated_at)
             SELECT 1, 'M' || n, 'ACTIVE', 'a@example.jp', {day}, {day}, {day}",
            "subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount, next_charge_day,
                 created_at, updated_at)
             SELECT 1, 'S' || n, 'M' || n, 'Premium', 'ACTIVE', 'JPY', 980, '2026-11-21', {day}, {day}",
            "payment_notices (subscription_id, charge_day, kind, created_at) SELECT n, '2026-11-21', 'BEFORE', {day}",
        ] {
            db.fill(4_000, &rows.replace("{day}", day)).await;
        }
        let sql = page_sql(db);
        let period = Period::new("2026-11-20".parse().unwrap(), 0, 3);
        let after: NaiveDate = "2026-11-21".parse().unwrap();
        let values = || values![1, after, 2_000, period.last, period.today, PAGE];
        assert_eq!(db.found_by("s", &sql, values()).await, ["mall_id, next_charge_day, id"]);
        assert_eq!(db.found_by("m", &sql, values()).await, ["mall_id, member_code"]);
        assert_eq!(db.found_by("n", &sql, values()).await, ["subscription_id, charge_day, kind"]);
    }

    fn period(today: &str, days_ago: i64, days_before: u32) -> (String, String) {
        let period = Period::new(today.parse().unwrap(), days_ago, days_before);
        (period.first.to_string(), period.last.to_string())
    }

    #[test]
    fn todays_run_announces_today_and_the_days_before() {
        assert_eq!(period("2027-01-28", 0, 3), ("2027-01-28".to_owned(), "2027-01-31".to_owned()));
        assert_eq!(period("2027-02-26", 0, 3), ("2027-02-26".to_owned(), "2027-03-01".to_owned()));
    }

    #[test]
    fn an_earlier_days_run_announces_only_future_charges() {
        assert_eq!(period("2027-01-28", 1, 3), ("2027-01-29".to_owned(), "2027-01-30".to_owned()));
        let (first, last) = period("2027-01-28", 40, 3);
        assert!(first > last, "nothing is left to announce");
    }
}
