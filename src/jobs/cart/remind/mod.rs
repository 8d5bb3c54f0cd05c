//! `cart remind`: queues a mail to members who abandoned a cart.
//!
//! Once per cart, and one mail per member however many carts they left: for the newest that still has something to
//! offer; the others count as covered. Items that were bought in the meantime or are sold out are not in the mail.
//!
//! The ledger `cart_reminders` is written in the transaction that queues the mails. It also serves as the checkpoint: a
//! run that was killed starts over and skips what is done.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use lettre::message::Mailbox;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::address;
use crate::config::CouponConfig;
use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, Problems};
use crate::failure::Failure;
use crate::mail::queue::{BULK, NewMail, enqueue_many};
use crate::mail::template::Renderer;
use crate::mail::unsubscribe::Unsubscribe;
use crate::period::{local_day, parse_duration};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::recipients::{
    ACTIVE_MEMBER, Addressed, PAGE, Purpose, agrees_to, assumes_consent, item_key, language,
};
use crate::shop::times::Dated;
use crate::shop::with_lines::line_order;
use crate::wording::counted;
use crate::{bulk_row, values};

/// The template, which is also the mail's kind and the list that a recipient unsubscribes from.
const KIND: &str = "cart-reminder";

const ITEMS: &str = include_str!("items.sql");

/// The tables that are joined.
const JOINED: [&str; 4] = ["carts", "cart_items", "members", "orders"];

/// How many coupons whose rows cannot be read do not keep the ones behind them back.
const SPARE_COUPONS: i64 = 100;

/// Arguments of `cart remind`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Remind members of carts that were not touched for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h")]
    idle: Duration,
    /// Ignore carts that were not touched for longer than this
    // Nobody remembers an older cart.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "7d")]
    max_age: Duration,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "cart remind",
        summary: "Queue reminders to members who left something in their cart",
        details: "There is one reminder per cart, and none for carts that were left longer ago than --max-age, so that \
                  a first run over years of carts does not write to everybody.",
        page: Some("docs/customer-mail.md"),
        schedule: Some("0 2 * * *"),
        deadline: minutes(60),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
        items: Items::new("cart", "carts", "done"),
    };

    type Unit = ();

    async fn plan(&self, _cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        if self.idle >= self.max_age {
            return Err(Failure::usage("--max-age must be longer than --idle").into());
        }
        let malls = self.malls.selected(db).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let cx = run.cx;
        let texts =
            Texts { templates: Renderer::new(&cx.config), unsubscribe: Unsubscribe::new(&cx.config)? };
        let mut tally = ReminderTally::default();
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&JOINED).await?;
        let malls = self.malls.selected(run.db).await?;
        for (mall, time_zone) in run.usable_malls(malls) {
            let today = local_day(cx.now(), time_zone);
            let offer = Offer::of(cx.config.cart_remind().coupon.as_ref(), today);
            remind_mall(run, &texts, &mall, &offer, self.window(cx.now())?, &mut tally).await?;
        }
        run.summarise(tally.sentence());
        Ok(())
    }
}

impl Args {
    /// The carts to remind of: last touched after `after` and up to `until`.
    fn window(&self, now: DateTime<Utc>) -> anyhow::Result<Window> {
        let before = |age: Duration| -> Option<DateTime<Utc>> {
            now.checked_sub_signed(TimeDelta::from_std(age).ok()?)
        };
        match (before(self.max_age), before(self.idle)) {
            (Some(after), Some(until)) => Ok(Window { after, until, now }),
            _ => Err(Failure::usage("--max-age or --idle is too long").into()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    after: DateTime<Utc>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// What turns a cart into a mail.
struct Texts {
    templates: Renderer,
    unsubscribe: Unsubscribe,
}

/// What was done, for the summary.
#[derive(Debug, Default)]
struct ReminderTally {
    mails: u64,
    covered: u64,
    without_coupon: u64,
    has_expired_coupon: bool,
    /// Coupons whose rows cannot be read, by their numbers.
    unusable_coupons: BTreeMap<i64, Problems>,
}

impl ReminderTally {
    fn sentence(&self) -> String {
        if self.mails == 0 {
            return "no new carts to remind of".to_owned();
        }
        let mut sentence = format!("queued {}", counted(self.mails, "reminder", "reminders"));
        if self.covered > 0 {
            sentence.push_str(&format!(", {} covered by them", counted(self.covered, "cart", "carts")));
        }
        if self.without_coupon > 0 {
            sentence.push_str(&format!(
                "; {} without a coupon because none was left: import more with `data import --kind coupons`",
                self.without_coupon
            ));
        }
        if self.has_expired_coupon {
            sentence.push_str("; without the coupon of `cart_remind.coupon`, which has expired");
        }
        sentence
    }
}

// ---------------------------------------------------------------- the steps

/// Queues the reminders of a mall, from the newest cart to the oldest.
async fn remind_mall(
    run: &mut Run<'_>,
    texts: &Texts,
    mall: &Mall,
    offer: &Offer,
    window: Window,
    tally: &mut ReminderTally,
) -> anyhow::Result<()> {
    run.fail_misdated(mall, &Dated::CARTS).await?;
    let mut before = (window.until, i64::MAX);
    loop {
        run.check_stop()?;
        let by_silence = assumes_consent(&run.cx.config);
        let mut page = next_page(run.db, mall.id, window, before, by_silence).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = (last.last_activity_at, last.cart_id);
        run.read(page.len() as u64);
        for cart in &mut page {
            cart.mall_code.clone_from(&mall.code);
        }
        let reachable = run.reachable(page, Purpose::Advertising).await?;
        let reminders = reminders(run, reachable).await?;
        if reminders.is_empty() {
            continue;
        }
        let cx = run.cx;
        let done = run
            .chunk(None::<&str>, async |db| remind(db, cx, texts, mall, offer, window, &reminders).await)
            .await?;
        for (coupon, problems) in &done.unusable_coupons {
            if tally.unusable_coupons.insert(*coupon, problems.clone()).is_none() {
                let key = format!("{}/coupon {coupon}", mall.code);
                run.fail_item(&key, "coupon", &Failure::bad_input(problems.to_string()).into());
            }
        }
        run.written(done.mails);
        tally.mails += done.mails;
        tally.covered += done.covered;
        tally.without_coupon += done.without_coupon;
        tally.has_expired_coupon |= done.has_expired_coupon;
    }
}

/// A cart and its items that are still available.
struct Reminder {
    cart: Cart,
    mailbox: Mailbox,
    items: Vec<Item>,
}

/// The newest cart of each member that has something to offer. One with an item that cannot be read fails.
async fn reminders(run: &mut Run<'_>, carts: Vec<(Cart, Mailbox)>) -> anyhow::Result<Vec<Reminder>> {
    if carts.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = carts.iter().map(|(cart, _)| cart.cart_id).collect();
    let mut items = items_of(run.db, &ids).await?;
    let mut members = HashSet::new();
    let mut reminders = Vec::new();
    for (cart, mailbox) in carts {
        let Some(items) = items.remove(&cart.cart_id) else { continue };
        if let Some(failure) = items.iter().find_map(|item| item.problems.check().err()) {
            run.fail_item(&item_key(&cart), "read", &failure.into());
        } else if members.insert(cart.member_code.clone()) {
            reminders.push(Reminder { cart, mailbox, items });
        }
    }
    Ok(reminders)
}

bulk_row! {
    /// The ledger: a cart whose member was reminded.
    struct LedgerRow => "cart_reminders" {
        cart_id: i64,
        outcome: &'static str,
        coupon_id: Option<i64>,
        created_at: DateTime<Utc>,
    }
}

/// Claims coupons, writes the ledger and queues the mails: all of it or nothing.
async fn remind(
    db: &mut Db,
    cx: &Context,
    texts: &Texts,
    mall: &Mall,
    offer: &Offer,
    window: Window,
    reminders: &[Reminder],
) -> anyhow::Result<ReminderTally> {
    let Claimed { coupons, unusable } = offer.coupons(db, mall.id, reminders, window.now).await?;
    let mut ledger = Bulk::new(db);
    let mut mails = Vec::with_capacity(reminders.len());
    for (reminder, coupon) in reminders.iter().zip(&coupons) {
        ledger.push(&LedgerRow {
            cart_id: reminder.cart.cart_id,
            outcome: "MAILED",
            coupon_id: coupon.as_ref().and_then(|coupon| coupon.id),
            created_at: window.now,
        });
        mails.push(mail(cx, texts, mall, reminder, coupon.as_ref(), window.now).await?);
    }
    db.load(&mut ledger).await?;
    let covered = cover_other_carts(db, mall.id, reminders, window).await?;
    let without_coupon = match offer {
        Offer::SingleUse { .. } => coupons.iter().filter(|coupon| coupon.is_none()).count() as u64,
        _ => 0,
    };
    Ok(ReminderTally {
        mails: enqueue_many(db, &mails, window.now).await?,
        covered,
        without_coupon,
        has_expired_coupon: matches!(offer, Offer::Expired),
        unusable_coupons: unusable,
    })
}

async fn mail(
    cx: &Context,
    texts: &Texts,
    mall: &Mall,
    reminder: &Reminder,
    coupon: Option<&Coupon>,
    now: DateTime<Utc>,
) -> anyhow::Result<NewMail> {
    let cart = &reminder.cart;
    let items: Vec<Json> = reminder
        .items
        .iter()
        .map(|item| {
            json!({
                "name": item.product_name, "quantity": item.quantity, "unit_price_amount": item.unit_price_amount,
                "currency": cart.currency, "url": item.url, "image_url": item.image_url,
            })
        })
        .collect();
    let data = json!({
        "member_name": cart.name,
        "items": items,
        "cart_url": cart.url,
        "coupon": coupon,
        "unsubscribe_url": texts.unsubscribe.link(KIND, &address::normalised(&reminder.mailbox)),
    });
    let locale = language(&cx.config, cart.locale.as_deref(), cart.cart_locale.as_deref());
    Ok(NewMail {
        rendered: texts.templates.render(KIND, locale.tag(), data).await?,
        recipient: reminder.mailbox.email.to_string(),
        member: Some((mall.id, cart.member_code.clone())),
        priority: BULK,
        due_at: now,
        dedup_key: Some(mall.notice_key(KIND, &cart.cart_key)),
        attachments: Vec::new(),
    })
}

// ---------------------------------------------------------------- coupons

/// What reminders offer.
enum Offer {
    Nothing,
    /// The code for everybody has expired.
    Expired,
    Fixed(Coupon),
    SingleUse {
        today: NaiveDate,
    },
}

/// A coupon as shown in a mail.
#[derive(Debug, Clone, Serialize, FromRow)]
struct Coupon {
    #[serde(skip)]
    id: Option<i64>,
    code: String,
    description: String,
    expires_day: Option<NaiveDate>,
    #[row(problems)]
    #[serde(skip)]
    problems: Problems,
}

/// A coupon for each reminder, as long as there are any.
#[derive(Default)]
struct Claimed {
    coupons: Vec<Option<Coupon>>,
    /// Those whose rows cannot be read, by their numbers.
    unusable: BTreeMap<i64, Problems>,
}

impl Offer {
    fn of(config: Option<&CouponConfig>, today: NaiveDate) -> Self {
        let Some(config) = config else { return Self::Nothing };
        match (&config.code, &config.description) {
            _ if config.expires_day.is_some_and(|last| last < today) => Self::Expired,
            (Some(code), Some(description)) => Self::Fixed(Coupon {
                id: None,
                code: code.clone(),
                description: description.clone(),
                expires_day: config.expires_day,
                problems: Problems::default(),
            }),
            // The configuration has been checked: without a code the coupons come from the table.
            _ => Self::SingleUse { today },
        }
    }

    /// A coupon for each reminder, as long as there are any.
    async fn coupons(
        &self,
        db: &mut Db,
        mall_id: i64,
        reminders: &[Reminder],
        now: DateTime<Utc>,
    ) -> anyhow::Result<Claimed> {
        let mut claimed = match self {
            Self::Nothing | Self::Expired => Claimed::default(),
            Self::Fixed(coupon) => {
                Claimed { coupons: vec![Some(coupon.clone()); reminders.len()], ..Claimed::default() }
            }
            Self::SingleUse { today } => claim_coupons(db, mall_id, *today, reminders, now).await?,
        };
        claimed.coupons.resize(reminders.len(), None);
        Ok(claimed)
    }
}

/// Takes the next single-use codes for these members. Two processes never get the same code: PostgreSQL skips rows that
/// another process holds, and SQLite has one writer. A code whose row cannot be read is given to nobody.
async fn claim_coupons(
    db: &mut Db,
    mall_id: i64,
    today: NaiveDate,
    reminders: &[Reminder],
    now: DateTime<Utc>,
) -> anyhow::Result<Claimed> {
    let free = format!(
        "SELECT id, code, description, expires_day FROM coupons
         WHERE mall_id = $1 AND assigned_at IS NULL AND (expires_day IS NULL OR expires_day >= $2)
         ORDER BY id LIMIT $3 {}",
        db.pick("", "FOR UPDATE SKIP LOCKED")
    );
    // A few more, in case that some cannot be read.
    let count = i64::try_from(reminders.len()).unwrap_or(i64::MAX).saturating_add(db.pick(SPARE_COUPONS, 0));
    let found: Vec<Coupon> = db.fetch_all(&free, values![mall_id, today, count]).await?;
    let (mut coupons, unusable): (Vec<Coupon>, Vec<Coupon>) =
        found.into_iter().partition(|coupon| coupon.problems.is_empty());
    coupons.truncate(reminders.len());
    let unusable = unusable.into_iter().filter_map(|coupon| Some((coupon.id?, coupon.problems))).collect();
    let assigned: Vec<Json> = coupons
        .iter()
        .zip(reminders)
        .map(|(coupon, reminder)| json!([coupon.id, reminder.cart.member_code]))
        .collect();
    let assign = format!(
        "UPDATE coupons SET assigned_to = a.member_code, assigned_at = $2, updated_at = $2
         FROM (SELECT CAST(value ->> 0 AS BIGINT) AS id, value ->> 1 AS member_code FROM {}($1)) AS a
         WHERE coupons.id = a.id",
        db.pick("json_each", "jsonb_array_elements")
    );
    if !assigned.is_empty() {
        db.execute(&assign, values![json!(assigned), now]).await?;
    }
    Ok(Claimed { coupons: coupons.into_iter().map(Some).collect(), unusable })
}

// ---------------------------------------------------------------- the queries

/// An abandoned cart and its owner.
#[derive(Debug, FromRow)]
#[expect(clippy::struct_field_names, reason = "the query's own names")]
struct Cart {
    cart_id: i64,
    cart_key: String,
    url: Option<String>,
    currency: String,
    cart_locale: Option<String>,
    last_activity_at: DateTime<Utc>,
    member_code: String,
    name: Option<String>,
    email: String,
    locale: Option<String>,
    #[row(problems)]
    problems: Problems,
    #[row(skip)]
    mall_code: String,
}

impl Addressed for Cart {
    fn mall_code(&self) -> &str {
        &self.mall_code
    }

    fn key(&self) -> &str {
        &self.cart_key
    }

    fn email(&self) -> &str {
        &self.email
    }

    fn problems(&self) -> &Problems {
        &self.problems
    }
}

/// The next carts older than `before`, newest first, of members who may be sent advertising.
async fn next_page(
    db: &mut Db,
    mall_id: i64,
    window: Window,
    before: (DateTime<Utc>, i64),
    assumes_consent: bool,
) -> anyhow::Result<Vec<Cart>> {
    let values = values![mall_id, window.after, before.0, before.1, assumes_consent, PAGE];
    Ok(db.fetch_all(&page_sql(db), values).await?)
}

fn page_sql(db: &Db) -> String {
    format!(
        "SELECT c.id AS cart_id, c.cart_key, c.url, c.currency, c.locale AS cart_locale, c.last_activity_at,
                m.member_code, m.name, m.email, m.locale
         FROM carts c
         JOIN members m ON m.mall_id = c.mall_id AND m.member_code = c.member_code
         WHERE c.mall_id = $1 AND c.ordered_at IS NULL AND c.member_code IS NOT NULL
           AND c.last_activity_at > $2 AND (c.last_activity_at, c.id) < ($3, {}) AND {}
           AND {ACTIVE_MEMBER} AND {}
           AND NOT EXISTS (SELECT 1 FROM cart_reminders r WHERE r.cart_id = c.id)
         ORDER BY c.last_activity_at DESC, c.id DESC LIMIT $6",
        db.row_number("$4"),
        db.is_time("c.last_activity_at"),
        agrees_to("MARKETING", "$5")
    )
}

/// An item of a cart that can be bought and was not.
#[derive(Debug, FromRow)]
struct Item {
    cart_id: i64,
    product_name: String,
    quantity: i64,
    unit_price_amount: i64,
    url: Option<String>,
    image_url: Option<String>,
    #[row(problems)]
    problems: Problems,
}

/// The available items of these carts; a cart without any is left out.
async fn items_of(db: &mut Db, carts: &[i64]) -> anyhow::Result<BTreeMap<i64, Vec<Item>>> {
    let rows: Vec<Item> = db.fetch_all(&items_sql(db), values![json!(carts)]).await?;
    let mut items: BTreeMap<i64, Vec<Item>> = BTreeMap::new();
    for row in rows {
        items.entry(row.cart_id).or_default().push(row);
    }
    Ok(items)
}

fn items_sql(db: &Db) -> String {
    ITEMS
        .replace("{carts}", &db.numbers("$1"))
        .replace("{array_of}", array_of(db))
        .replace("{array}", db.pick("json_array", "jsonb_build_array"))
        .replace("{each_array}", db.pick("json_each", "jsonb_array_elements"))
        .replace("{each}", each_of(db))
        .replace("{line_order}", &line_order(db, "(item.value ->> 0)"))
}

/// The function that gathers values into a JSON array.
fn array_of(db: &Db) -> &'static str {
    db.pick("json_group_array", "jsonb_agg")
}

/// The function that gives a row for each element of a JSON array.
fn each_of(db: &Db) -> &'static str {
    db.pick("json_each", "jsonb_array_elements_text")
}

/// Marks the other carts that these members left as covered: one mail is enough. Returns how many there are.
async fn cover_other_carts(
    db: &mut Db,
    mall_id: i64,
    reminders: &[Reminder],
    window: Window,
) -> anyhow::Result<u64> {
    let members: Vec<&str> = reminders.iter().map(|reminder| reminder.cart.member_code.as_str()).collect();
    let values = values![mall_id, json!(members), window.now, window.after, window.until];
    Ok(db.execute(&cover_sql(db), values).await?)
}

/// Looks the carts up member by member, by construction: what a subquery returns for each row cannot be turned into a
/// join. Left to choose, a planner without statistics takes the mall or the window for selective, and reads all of its
/// carts for each member. No index serves a condition inside COALESCE, which leaves the one of the member.
fn cover_sql(db: &Db) -> String {
    format!(
        "INSERT INTO cart_reminders (cart_id, outcome, created_at)
         SELECT CAST(other.value AS BIGINT), 'COVERED', $3
         FROM {} AS reminded, {}((
             SELECT {}(o.id) FROM carts o
             WHERE o.member_code = reminded.value AND o.ordered_at IS NULL AND o.member_code IS NOT NULL
               AND COALESCE(o.mall_id = $1 AND o.last_activity_at > $4 AND o.last_activity_at <= $5, FALSE)
               AND NOT EXISTS (SELECT 1 FROM cart_reminders r WHERE r.cart_id = o.id)
         )) AS other",
        db.elements("$2"),
        each_of(db),
        array_of(db)
    )
}
