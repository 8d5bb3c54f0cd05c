//! `mail consent-notice`: confirms consents to advertising to whoever gave them, where the law asks for it.
//!
//! In Korea a consent has to be confirmed every two years, before the day on which it was given comes round: the notice
//! says who sends it, that and on which day consent was given, that nothing needs to be done to keep it, and how to
//! withdraw it. Silence keeps the consent, so nothing waits for an answer. The rules are those of `mail::advertising`, by
//! the member's language.
//!
//! The ledger `consent_notices`, written in the transaction that queues the mails, ensures one notice per consent and
//! period, and also serves as the checkpoint. What was missed, by days without a run or by years before the first one, is
//! due at once.

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use lettre::message::Mailbox;
use serde_json::{Value as Json, json};

use crate::address;
use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, Problems, StoredKey};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::mail::advertising::{Advertising, CONSENT_NOTICE, Confirmation, confirmations};
use crate::mail::queue::{BULK, NewMail, enqueue_many};
use crate::mail::template::Renderer;
use crate::mail::unsubscribe::Unsubscribe;
use crate::period::{day_bounds, local_day};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::recipients::{ACTIVE_MEMBER, Addressed, PAGE, Purpose, item_key, reads};
use crate::shop::times::Dated;
use crate::wording::counted;
use crate::{bulk_row, values};

/// A month before the period ends: the notice has to be there before that day, and weeks without a run are caught up on.
const DAYS_BEFORE: u32 = 30;

/// When the consent was given, of a row `k` of `mail_consents`.
const GIVEN_AT: &str = "COALESCE(k.source_updated_at, k.created_at)";
/// A consent dated before this day has no proper date: advertising by mail did not exist, and programs write such days for
/// an unknown one.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1990, 1, 1).unwrap();

/// Arguments of `mail consent-notice`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Confirm a consent this many days before its period ends
    #[arg(long, value_name = "DAYS", default_value_t = DAYS_BEFORE, value_parser = clap::value_parser!(u32).range(1..=365))]
    days_before: u32,
    /// Queue at most this many notices; the next run continues
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mail consent-notice",
        summary: "Queue notices that confirm consents to advertising given two years ago",
        details: "Korean law asks for it: members whose language is Korean get one for each consent and period of two \
                  years, and nothing needs to be done to keep the consent. If the job did not run on a day, the next run \
                  catches up; a first run writes to everybody whose consent is older, or with --limit to some of them.",
        page: Some("docs/customer-mail.md"),
        schedule: Some("0 10 * * *"),
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
        items: Items::new("member", "members", "done"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        let malls = self.malls.selected(db).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let cx = run.cx;
        let texts = Texts::new(cx);
        let mut tally = Tally { left: self.limit.unwrap_or(u64::MAX), ..Tally::default() };
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&["members", "mail_consents", "consent_notices"]).await?;
        let malls = self.malls.selected(run.db).await?;
        for (mall, time_zone) in run.usable_malls(malls) {
            let today = local_day(cx.now(), time_zone);
            for confirmation in confirmations() {
                let window = Window::new(confirmation, today, self.days_before, time_zone);
                notify_mall(run, &texts, &mall, &window, &mut tally).await?;
            }
        }
        run.summarise(tally.sentence());
        Ok(())
    }
}

// ---------------------------------------------------------------- the period

/// What is due at a mall today.
#[derive(Debug)]
struct Window {
    confirmation: &'static Confirmation,
    time_zone: Tz,
    today: NaiveDate,
    /// The latest day from which a period counts that is over soon enough.
    latest_start: NaiveDate,
    /// The end of that day.
    given_before: DateTime<Utc>,
    /// No notice was written after this: one that says so was written by a clock that was wrong, and proves nothing.
    written_before: DateTime<Utc>,
}

impl Window {
    fn new(confirmation: &'static Confirmation, today: NaiveDate, days_before: u32, time_zone: Tz) -> Self {
        let latest_start = latest_start(today + Days::new(u64::from(days_before)), confirmation.months);
        let given_before = day_bounds(latest_start, time_zone).end;
        // A day of tolerance: two hosts may not agree.
        let written_before = day_bounds(today + Days::new(1), time_zone).end;
        Self { confirmation, time_zone, today, latest_start, given_before, written_before }
    }

    /// The day on which a consent of this day was given, or counts from, comes round.
    fn end_of_period(&self, start: NaiveDate) -> NaiveDate {
        start + Months::new(self.confirmation.months)
    }
}

/// The latest day that is so many months before `end`. A period that would end on a day that its month does not have ends
/// on the last day of that month: of 28 and 29 February 2024 both end on 28 February 2026.
fn latest_start(end: NaiveDate, months: u32) -> NaiveDate {
    let months = Months::new(months);
    let mut start = end - months;
    while start + Days::new(1) + months <= end {
        start = start + Days::new(1);
    }
    start
}

// ---------------------------------------------------------------- the steps

/// What turns consents into a mail. A shop that writes to nobody who has to be told needs none of the settings.
struct Texts {
    templates: Renderer,
    unsubscribe: Result<Unsubscribe, Failure>,
    advertising: Advertising,
}

impl Texts {
    fn new(cx: &Context) -> Self {
        Self {
            templates: Renderer::new(&cx.config),
            unsubscribe: Unsubscribe::new(&cx.config),
            advertising: Advertising::new(&cx.config),
        }
    }

    /// How to withdraw, unless something is missing that a notice has to show.
    fn usable(&self, confirmation: &Confirmation) -> Result<&Unsubscribe, Failure> {
        match self.advertising.lacks_for_notices(confirmation) {
            Some(failure) => Err(failure),
            None => self.unsubscribe.as_ref().map_err(Clone::clone),
        }
    }
}

/// What was done, for the summary.
#[derive(Debug, Default)]
struct Tally {
    queued: u64,
    /// How many notices the limit still allows.
    left: u64,
    is_limited: bool,
}

impl Tally {
    fn sentence(&self) -> String {
        if self.queued == 0 {
            return "no consent to confirm".to_owned();
        }
        let mut sentence = format!("queued {} of consent", counted(self.queued, "notice", "notices"));
        if self.is_limited {
            sentence.push_str(", as many as --limit allows: the next run queues the others");
        }
        sentence
    }
}

/// Queues the notices of a mall, page by page of its members.
async fn notify_mall(
    run: &mut Run<'_>,
    texts: &Texts,
    mall: &Mall,
    window: &Window,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let who = who(window.confirmation.language, run.cx.config.locale());
    let whose = format!(
        "EXISTS (SELECT 1 FROM members m
                 WHERE m.mall_id = mail_consents.mall_id AND m.member_code = mail_consents.member_code AND {who})"
    );
    run.fail_misdated_where(mall, &Dated::CONSENTS, &whose).await?;
    let mut after = StoredKey::first();
    loop {
        run.check_stop()?;
        let mut page = next_page(run.db, mall.id, &who, window, &after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        if tally.left == 0 {
            tally.is_limited = true;
            return Ok(());
        }
        after.clone_from(&last.position);
        run.read(page.len() as u64);
        for member in &mut page {
            member.mall_code.clone_from(&mall.code);
        }
        // To one who has unsubscribed there is no consent to confirm.
        let members = run.reachable(page, Purpose::Advertising).await?;
        let mut notices = notices(run, window, members);
        if notices.len() as u64 > tally.left {
            notices.truncate(usize::try_from(tally.left).unwrap_or(usize::MAX));
            tally.is_limited = true;
        }
        if notices.is_empty() {
            continue;
        }
        let unsubscribe = texts.usable(window.confirmation)?;
        let now = run.cx.now();
        let queued = run
            .chunk(None::<&str>, async |db| notify(db, texts, unsubscribe, mall, window, &notices, now).await)
            .await?;
        run.written(queued);
        tally.queued += queued;
        tally.left -= queued.min(tally.left);
    }
}

/// A member and the consents to confirm.
struct Notice {
    member: Member,
    mailbox: Mailbox,
    consents: Vec<DueConsent>,
}

/// The notices to these members. One with a consent that has no proper date fails.
fn notices(run: &mut Run<'_>, window: &Window, members: Vec<(Member, Mailbox)>) -> Vec<Notice> {
    let mut notices = Vec::with_capacity(members.len());
    for (member, mailbox) in members {
        let consents = member.consents(window);
        match consents.iter().find_map(|consent| consent.check().err()) {
            Some(failure) => run.fail_item(&item_key(&member), "read", &failure.into()),
            None => notices.push(Notice { member, mailbox, consents }),
        }
    }
    notices
}

bulk_row! {
    /// The ledger: a consent that was confirmed to its member.
    struct LedgerRow<'r> => "consent_notices" {
        mall_id: i64,
        member_code: &'r str,
        purpose: &'static str,
        consented_day: NaiveDate,
        due_day: NaiveDate,
        counted_from_day: NaiveDate,
        created_at: DateTime<Utc>,
    }
}

/// Writes the ledger and queues the mails: both or nothing.
async fn notify(
    db: &mut Db,
    texts: &Texts,
    unsubscribe: &Unsubscribe,
    mall: &Mall,
    window: &Window,
    notices: &[Notice],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut ledger = Bulk::new(db);
    let mut mails = Vec::with_capacity(notices.len());
    for notice in notices {
        for consent in &notice.consents {
            ledger.push(&LedgerRow {
                mall_id: mall.id,
                member_code: &notice.member.member_code,
                purpose: consent.purpose,
                consented_day: consent.given_day,
                due_day: consent.due_day,
                // After an early notice the day stays the same every time; after a late one two years pass from it.
                counted_from_day: consent.due_day.max(window.today),
                created_at: now,
            });
        }
        mails.push(mail(texts, unsubscribe, mall, window, notice, now).await?);
    }
    db.load(&mut ledger).await?;
    enqueue_many(db, &mails, now).await
}

async fn mail(
    texts: &Texts,
    unsubscribe: &Unsubscribe,
    mall: &Mall,
    window: &Window,
    notice: &Notice,
    now: DateTime<Utc>,
) -> anyhow::Result<NewMail> {
    let confirmation = window.confirmation;
    let consents: Vec<Json> = notice
        .consents
        .iter()
        .map(|consent| json!({ "purpose": consent.purpose, "day": consent.given_day }))
        .collect();
    let data = json!({
        "member_name": notice.member.name,
        "consents": consents,
        "years": confirmation.months / 12,
        "unsubscribe_url": unsubscribe.link(CONSENT_NOTICE, &address::normalised(&notice.mailbox)),
    });
    let rendered = texts.templates.render(CONSENT_NOTICE, confirmation.language.tag(), data).await?;
    if let Some(problem) =
        texts.advertising.notice_problem(confirmation, Some(&rendered.text), rendered.html.as_deref())
    {
        let template = format!("the mail template `{CONSENT_NOTICE}` in `{}`", rendered.locale);
        return Err(Failure::bad_input(format!("failed to use {template}: {problem}"))
            .hint("show all of it in the text: the built-in one is what `batchctl mail templates preview consent-notice` shows without your own file")
            .into());
    }
    Ok(NewMail {
        rendered,
        recipient: notice.mailbox.email.to_string(),
        member: Some((mall.id, notice.member.member_code.clone())),
        priority: BULK,
        due_at: now,
        // The ledger knows what was confirmed, so a notice needs no key.
        dedup_key: None,
        attachments: Vec::new(),
    })
}

// ---------------------------------------------------------------- the queries

/// A member with a consent to confirm: when each was given, if it is due, and from when its period counts, if it was
/// confirmed before.
#[derive(Debug, FromRow)]
#[expect(clippy::struct_field_names, reason = "the query's own names")]
struct Member {
    member_code: String,
    name: Option<String>,
    email: String,
    position: StoredKey,
    marketing_given_at: Option<DateTime<Utc>>,
    marketing_counted_from: Option<NaiveDate>,
    digest_given_at: Option<DateTime<Utc>>,
    digest_counted_from: Option<NaiveDate>,
    #[row(problems)]
    problems: Problems,
    #[row(skip)]
    mall_code: String,
}

impl Member {
    fn consents(&self, window: &Window) -> Vec<DueConsent> {
        let due = |purpose, given_at: Option<DateTime<Utc>>, counted_from: Option<NaiveDate>| {
            let given_day = local_day(given_at?, window.time_zone);
            let due_day = window.end_of_period(counted_from.unwrap_or(given_day));
            Some(DueConsent { purpose, given_day, due_day })
        };
        let marketing = due("MARKETING", self.marketing_given_at, self.marketing_counted_from);
        let digest = due("DIGEST", self.digest_given_at, self.digest_counted_from);
        marketing.into_iter().chain(digest).collect()
    }
}

impl Addressed for Member {
    fn mall_code(&self) -> &str {
        &self.mall_code
    }

    fn key(&self) -> &str {
        &self.member_code
    }

    fn email(&self) -> &str {
        &self.email
    }

    fn problems(&self) -> &Problems {
        &self.problems
    }
}

/// A consent to confirm.
#[derive(Debug)]
struct DueConsent {
    purpose: &'static str,
    /// The day on which it was given.
    given_day: NaiveDate,
    /// The day before which it has to be confirmed.
    due_day: NaiveDate,
}

impl DueConsent {
    fn check(&self) -> Result<(), Failure> {
        if self.given_day >= FIRST_DAY {
            return Ok(());
        }
        let (purpose, day) = (self.purpose, self.given_day);
        Err(Failure::bad_input(format!(
            "the consent of purpose `{purpose}` is dated {day}, when nobody can have given it"
        ))
        .hint("write when it was given into `source_updated_at` of `mail_consents`"))
    }
}

/// The condition on a member `m` who is written to: advertising is sent to nobody else.
fn who(language: Locale, configured: Locale) -> String {
    format!("{ACTIVE_MEMBER} AND {}", reads(language, configured))
}

/// The next members with a consent to confirm, in the order of their codes.
async fn next_page(
    db: &mut Db,
    mall_id: i64,
    who: &str,
    window: &Window,
    after: &StoredKey,
) -> anyhow::Result<Vec<Member>> {
    let values =
        values![mall_id, after, window.given_before, window.latest_start, PAGE, window.written_before];
    Ok(db.fetch_all(&page_sql(db, who), values).await?)
}

/// Subqueries and not joins: a planner that knows nothing of the tables may read all consents of the mall for each page.
/// For the same reason COUNT and not EXISTS.
fn page_sql(db: &Db, who: &str) -> String {
    let is_due = is_due(db);
    let given_at = |purpose: &str| {
        format!(
            "(SELECT {GIVEN_AT} FROM mail_consents k WHERE {OF_MEMBER} AND k.purpose = '{purpose}' AND {is_due})"
        )
    };
    let counted_from = |purpose: &str| {
        format!(
            "(SELECT MAX(n.counted_from_day) FROM mail_consents k JOIN consent_notices n ON {CONFIRMS}
              WHERE {OF_MEMBER} AND k.purpose = '{purpose}')"
        )
    };
    format!(
        "SELECT m.member_code, m.name, m.email, m.member_code AS position,
                {} AS marketing_given_at, {} AS marketing_counted_from,
                {} AS digest_given_at, {} AS digest_counted_from
         FROM members m
         WHERE m.mall_id = $1 AND m.member_code > {} AND {who}
           AND (SELECT COUNT(*) FROM mail_consents k WHERE {OF_MEMBER} AND {is_due}) > 0
         ORDER BY m.member_code LIMIT $5",
        given_at("MARKETING"),
        counted_from("MARKETING"),
        given_at("DIGEST"),
        counted_from("DIGEST"),
        db.stored_key("$2"),
    )
}

/// The condition on a consent `k` that it is one of the member `m`.
const OF_MEMBER: &str = "k.mall_id = m.mall_id AND k.member_code = m.member_code";
/// The condition on a row `n` of the ledger that it is of the consent `k` as it stands: who gives it again after the notice
/// begins a new period.
const CONFIRMS: &str = "n.mall_id = k.mall_id AND n.member_code = k.member_code AND n.purpose = k.purpose
                        AND n.created_at > COALESCE(k.source_updated_at, k.created_at) AND n.created_at < $6";

/// The condition on a consent `k` that is due: given before `$3`, and not confirmed for a period that counts from after
/// `$4`.
fn is_due(db: &Db) -> String {
    format!(
        "k.is_granted AND {GIVEN_AT} < $3 AND {} AND {}
         AND (SELECT COUNT(*) FROM consent_notices n WHERE {CONFIRMS} AND n.counted_from_day > $4) = 0",
        db.is_time("k.source_updated_at"),
        db.is_time("k.created_at"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};

    on_both_databases![a_page_of_members_begins_where_the_last_one_ended];

    async fn a_page_of_members_begins_where_the_last_one_ended(db: &mut TestDb) {
        db.mall("seoul", "Asia/Seoul", "KRW").await;
        let day = "'2024-11-19T00:00:00+00:00'";
        for rows in [
            "members (mall_id, member_code, status, email, locale, signed_up_at, created_at, updated_at)
             SELECT 1, 'M' || n, 'ACTIVE', 'a@example.jp', 'ko', {day}, {day}, {day}",
            "mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
             SELECT 1, 'M' || n, 'MARKETING', TRUE, {day}, {day}",
            "consent_notices (mall_id, member_code, purpose, consented_day, due_day, counted_from_day, created_at)
             SELECT 1, 'M' || n, 'MARKETING', '2024-11-19', '2026-11-19', '2026-11-19', {day}",
        ] {
            db.fill(4_000, &rows.replace("{day}", day)).await;
        }
        let korean = confirmations().next().unwrap();
        let window = Window::new(korean, "2026-11-20".parse().unwrap(), 30, chrono_tz::Asia::Seoul);
        let (given_before, latest_start) = (window.given_before, window.latest_start);
        let sql = page_sql(db, &who(Locale::Ko, Locale::En));
        let after = StoredKey::Text("M2".to_owned());
        let written_before = given_before + chrono::TimeDelta::days(3650);
        let values = || values![1, &after, given_before, latest_start, PAGE, written_before];
        assert_eq!(db.found_by("m", &sql, values()).await, ["mall_id, member_code"]);
        let by_member = ["mall_id, member_code", "mall_id, member_code, purpose"];
        assert_eq!(db.found_by("k", &sql, values()).await, by_member);
        for found in db.found_by("n", &sql, values()).await {
            assert!(found.starts_with("mall_id, member_code, purpose"), "{found}");
        }
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_ends_on_the_same_day_or_on_the_last_of_the_month() {
        for (end, start) in [
            ("2026-11-20", "2024-11-20"),
            ("2026-02-27", "2024-02-27"),
            // Given on 28 or 29 February.
            ("2026-02-28", "2024-02-29"),
            ("2026-03-01", "2024-03-01"),
            ("2028-02-28", "2026-02-28"),
            ("2028-02-29", "2026-02-28"),
            ("2028-03-01", "2026-03-01"),
        ] {
            assert_eq!(latest_start(day(end), 24), day(start), "{end}");
        }
    }
}
