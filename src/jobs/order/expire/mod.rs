//! `order expire`: cancels orders that were not paid in time.
//!
//! Only orders of malls whose application keeps them in this database (`mall add --platform app`): what a shop's own system
//! decides about is a copy here, and never changed. An order is cancelled by one statement that checks its state again, in
//! the transaction that gives its stock back, writes the events and queues the customer's notice. A payment at the same
//! moment comes either before, and the order is left alone, or after, and finds it cancelled.
//!
//! What an order has reserved in Redis is given back afterwards, by rows that the transaction has written.
//!
//! The state of the orders is the checkpoint: a run that was killed starts over and finds the rest.

mod breaker;
mod cancel;
mod events;
mod missing;
mod preview;
mod releases;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lettre::message::Mailbox;
use serde_json::json;

use self::breaker::{Breaker, Silence};
use self::cancel::{BadLines, Cancelled, Candidate, Customer, LockedStock, Order, Terms, expire};
use self::missing::Accepted;
use crate::address;
use crate::context::Context;
use crate::db::{Db, DbError, DbErrorKind, FromRow, Kind, Problems, StoredKey};
use crate::failure::Failure;
use crate::money::is_known_currency;
use crate::period::parse_duration;
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{APP, Mall, MallArgs};
use crate::shop::recipients::{Purpose, drop_suppressed, language};
use crate::shop::times::Dated;
use crate::values;
use crate::wording::{command, counted};

/// Why an order was cancelled, as reports and events name it.
const REASON: &str = "PAYMENT_TIMEOUT";
/// Orders of one commit: their locks are held for some milliseconds, and few are done again if one of them is bad.
const CHUNK: i64 = 100;
/// How often a chunk is tried that others keep from its locks, or that deadlocks with them.
const ATTEMPTS: u32 = 3;
/// How often a run waits for locked stock in vain. Then it waits no more: it would spend its time on what stays locked.
const VAIN_WAITS: u32 = 10;
/// The most orders of a mall that are tried again because they were locked: enough to tell that something stays locked.
const AGAIN: usize = 100;
/// What fails if an order fails.
const PHASE: &str = "cancel";
/// The tables that the statements read.
const READ: [&str; 6] = ["orders", "order_items", "payments", "products", "stock", "members"];

/// Arguments of `order expire`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Cancel orders that have waited for their payment for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_age, default_value = "5m")]
    older_than: Duration,
    /// Cancel at most this many orders (default: all that are due)
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Commit after this many orders
    #[arg(long, value_name = "ORDERS", default_value_t = CHUNK, value_parser = clap::value_parser!(i64).range(1..=1000))]
    chunk_size: i64,
    /// Cancel the orders of a mall even if no payment arrives there where usually many do
    #[arg(long)]
    accept_silence: bool,
    /// Take reservations that are not in Redis for gone, even if Redis is probably the wrong one
    #[arg(long)]
    accept_missing: bool,
    #[command(flatten)]
    malls: MallArgs,
}

/// A length of time in which an order can be paid.
fn parse_age(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(age) if age.is_zero() => {
            Err("orders need some time to be paid: write at least 1s, such as 5m".to_owned())
        }
        Ok(age) => Ok(age),
        Err(error) => Err(error.to_string()),
    }
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "order expire",
        summary: "Cancel orders that were not paid in time, and give their stock back",
        details: "Only orders of malls with the platform `app`, whose application keeps them in this database. If payments \
                  seem to have failed, a mall's orders are left alone.",
        page: Some("docs/orders-and-stock.md"),
        schedule: Some("*/10 * * * *"),
        deadline: minutes(5),
        severity: Severity::High,
        exclusion: Exclusion::Job,
        items: Items::finished_when_written("order", "orders", "cancelled"),
    };

    type Unit = ();

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        self.until(cx.now())?;
        let malls = self.own_malls(db).await?;
        releases::refuse_forgotten_redis(cx, db).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let until = self.until(run.cx.now())?;
        let mut tally = Tally { left: self.limit, ..Tally::default() };
        run.db.plan_by_index().await?;
        let malls = self.own_malls(run.db).await?;
        let malls = run.usable_malls(malls);
        // Without --mall also those whose orders are kept elsewhere by now: what they had reserved here waits all the same.
        let accepted_malls = (!self.malls.named().is_empty())
            .then(|| malls.iter().map(|(mall, _)| mall.id).collect::<Vec<_>>());
        let shop_url = run.cx.config.mail().shop.url.as_deref();
        let (now, reservations) = (run.cx.now(), run.cx.redis().map(|_| &run.cx.config.stock().redis));
        let malls = malls.iter().map(|(mall, time_zone)| OpenMall {
            terms: Terms { mall, time_zone: *time_zone, now, until, shop_url, reservations },
            locked: Vec::new(),
        });
        if self.limit.is_some() {
            self.expire_oldest(run, malls.collect(), &mut tally).await?;
        } else {
            for mut mall in malls {
                let ended = self.expire_mall(run, &mut mall, &mut tally).await;
                tally.go_on(run, ended)?;
            }
        }
        let accepted = Accepted { is_given: self.accept_missing, malls: accepted_malls };
        let released = releases::release(run, &accepted).await?;
        let done: Vec<String> = [tally.sentence(), released.sentence()].into_iter().flatten().collect();
        let done = (!done.is_empty()).then(|| done.join("; "));
        run.summarise(done.clone().unwrap_or_else(|| "no order to cancel".to_owned()));
        if let Some(done) = done {
            run.leaves(done);
        }
        if let Some(failure) = Silence::failure(&tally.silences) {
            return Err(failure.into());
        }
        if let Some(error) = tally.busy {
            return Err(error);
        }
        match released.trouble.or_else(|| stuck(tally.stuck)) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Says how many orders of each mall would be cancelled, and how many units given back.
    async fn try_out(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        let until = self.until(cx.now())?;
        let breaker = Breaker::new(cx.config.order_expire(), cx.now());
        db.plan_by_index().await?;
        let malls = self.own_malls(db).await?;
        let (mut open, mut silences) = (Vec::new(), Vec::new());
        for mall in malls.iter().filter(|mall| mall.time_zone().is_ok()) {
            let due = count_due(db, mall, until, breaker.enough()).await?;
            let zone = mall.time_zone()?;
            match breaker.silence(db, (mall, zone), due).await?.filter(|_| !self.accept_silence && due > 0) {
                Some(silence) => silences.push(silence),
                None => open.push(mall.id),
            }
        }
        let found = preview::of(db, &open, until, self.limit).await?;
        let lines: Vec<String> = found.iter().filter_map(|found| found.sentence(&malls)).collect();
        let lines =
            if lines.is_empty() { "no order would be cancelled".to_owned() } else { lines.join("\n") };
        cx.output.text(&lines)?;
        Silence::failure(&silences).map_or(Ok(()), |failure| Err(failure.into()))
    }
}

impl Args {
    /// The orders to cancel were ordered up to then.
    fn until(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
        let age = TimeDelta::from_std(self.older_than).ok();
        age.and_then(|age| now.checked_sub_signed(age))
            .filter(|until| *until > first_time())
            .ok_or_else(|| Failure::usage("--older-than is too long"))
    }

    /// The malls asked for, which must have orders of their own; by default all active ones that have.
    async fn own_malls(&self, db: &mut Db) -> anyhow::Result<Vec<Mall>> {
        let mut malls = self.malls.selected(db).await?;
        if self.malls.named().is_empty() {
            malls.retain(|mall| mall.platform == APP);
        }
        match malls.iter().find(|mall| mall.platform != APP) {
            None => Ok(malls),
            Some(mall) => Err(Failure::refused(format!(
                "the orders of mall `{}` are copies from `{}`: only that system may cancel them",
                mall.code, mall.platform
            ))
            .hint(format!(
                "if an application of yours keeps them in this database: {}",
                command(&["mall", "add", &mall.code, "--platform", APP])
            ))
            .into()),
        }
    }

    /// Whether a mall has orders to cancel: some are due, and payments arrive there.
    async fn has_due(&self, run: &mut Run<'_>, terms: &Terms<'_>, tally: &mut Tally) -> anyhow::Result<bool> {
        run.fail_misdated_where(terms.mall, &Dated::ORDERS, "status = 'PAYMENT_WAIT'").await?;
        let breaker = Breaker::new(run.cx.config.order_expire(), terms.now);
        let due = count_due(run.db, terms.mall, terms.until, breaker.enough()).await?;
        if due == 0 {
            return Ok(false);
        }
        run.db.analyze_unknown(&READ).await?;
        if !self.accept_silence
            && let Some(silence) = breaker.silence(run.db, (terms.mall, terms.time_zone), due).await?
        {
            tally.silences.push(silence);
            return Ok(false);
        }
        Ok(true)
    }

    /// Cancels a mall's orders, from the oldest to the newest.
    async fn expire_mall(
        &self,
        run: &mut Run<'_>,
        mall: &mut OpenMall<'_>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        if !self.has_due(run, &mall.terms, tally).await? {
            return Ok(());
        }
        let mut after = first_place(run.db);
        loop {
            run.check_stop()?;
            let page = next_page(run.db, &mall.terms, &after, self.chunk_size).await?;
            let Some(last) = page.last() else { break };
            after = last.place();
            expire_page(run, mall, page, tally).await?;
        }
        try_again(run, mall, tally).await
    }

    /// Cancels the oldest orders of all malls, up to the limit: of each chunk's, the oldest that any mall has. Mall by mall,
    /// the limit would be used up by the first of them.
    async fn expire_oldest(
        &self,
        run: &mut Run<'_>,
        malls: Vec<OpenMall<'_>>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut open = Vec::with_capacity(malls.len());
        for mall in malls {
            let has_due = self.has_due(run, &mall.terms, tally).await;
            if tally.go_on(run, has_due)? == Some(true) {
                open.push(mall);
            }
        }
        let mut after = first_place(run.db);
        while let Some(left) = tally.left.filter(|left| *left > 0) {
            run.check_stop()?;
            let most = self.chunk_size.min(bounded(left));
            let mut next: Vec<(usize, Order)> = Vec::new();
            for (index, mall) in open.iter().enumerate() {
                let page = next_page(run.db, &mall.terms, &after, most).await?;
                next.extend(page.into_iter().map(|order| (index, order)));
            }
            next.sort_by(|(_, one), (_, other)| one.in_order(other));
            next.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            let Some((_, last)) = next.last() else { break };
            after = last.place();
            let mut pages: BTreeMap<usize, Vec<Order>> = BTreeMap::new();
            for (index, order) in next {
                pages.entry(index).or_default().push(order);
            }
            // From the last one, so that a mall that is given up does not move those that are still to come.
            for (index, page) in pages.into_iter().rev() {
                let done = expire_page(run, &mut open[index], page, tally).await;
                if tally.go_on(run, done)?.is_none() {
                    open.remove(index);
                }
            }
        }
        for mall in &mut open {
            let done = try_again(run, mall, tally).await;
            tally.go_on(run, done)?;
        }
        Ok(())
    }
}

/// A mall whose orders are being cancelled.
struct OpenMall<'a> {
    terms: Terms<'a>,
    /// Orders that have been due for long and were locked: the first of them, for another attempt.
    locked: Vec<Candidate>,
}

/// What was done, for the summary.
#[derive(Debug, Default)]
struct Tally {
    done: Cancelled,
    /// How many more orders may be cancelled; `None` if all may.
    left: Option<u64>,
    silences: Vec<Silence>,
    /// How often locked stock was waited for in vain.
    vain_waits: u32,
    /// Why a mall was given up in the middle.
    busy: Option<anyhow::Error>,
    /// How many orders that have been due for long were still locked at another attempt.
    stuck: u64,
}

impl Tally {
    fn add(&mut self, done: Cancelled) {
        self.done += done;
        self.left = self.left.map(|left| left.saturating_sub(done.orders));
    }

    /// What a step of a mall returned; `None` if others keep us from rows of this mall, and not from the rest. SQLite has one
    /// lock for all.
    fn go_on<T>(&mut self, run: &Run<'_>, done: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match done {
            Err(error) if is_busy(&error) && run.db.kind() == Kind::Postgres => {
                self.busy.get_or_insert(error);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// What was done; `None` if that is nothing.
    fn sentence(&self) -> Option<String> {
        let Cancelled { orders, lines, returned_lines, units, pushes, mails, passed_over } = self.done;
        let mut parts = Vec::new();
        if orders > 0 {
            let notices = match mails {
                0 => counted(pushes, "notice", "notices"),
                _ => format!(
                    "{} and {}",
                    counted(pushes, "notice", "notices"),
                    counted(mails, "mail", "mails")
                ),
            };
            parts.push(format!(
                "cancelled {}; gave back the stock of {returned_lines} of {} ({}); queued {notices}",
                counted(orders, "order", "orders"),
                counted(lines, "line", "lines"),
                counted(units, "unit", "units"),
            ));
        }
        if passed_over > 0 {
            parts.push(format!("left {} that others have locked", counted(passed_over, "order", "orders")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What to tell of orders that stay locked.
fn stuck(orders: u64) -> Option<Failure> {
    let (have, are) = if orders == 1 { ("has", "is") } else { ("have", "are") };
    (orders > 0).then(|| {
        Failure::try_later(format!(
            "{} that {have} been due for more than 30 minutes {are} left to the next run: other transactions have locked {} \
             or the stock of {} products",
            counted(orders, "order", "orders"),
            if orders == 1 { "it" } else { "them" },
            if orders == 1 { "its" } else { "their" },
        ))
        .hint(
            "`SELECT pid, usename, application_name, xact_start, query FROM pg_stat_activity WHERE xact_start IS NOT NULL \
             ORDER BY xact_start` shows the oldest transaction",
        )
        .retry_once("once those transactions have ended")
    })
}

// ---------------------------------------------------------------- the steps

/// The orders of a page that can be read, and are wanted. One that cannot be read fails.
fn usable(run: &mut Run<'_>, terms: &Terms<'_>, page: Vec<Order>) -> Vec<Order> {
    let mut usable = Vec::with_capacity(page.len());
    for order in page {
        let key = item_key(terms.mall, &order.order_no);
        if !run.is_wanted(&key) && !run.is_wanted(&terms.mall.code) {
            continue;
        }
        run.read(1);
        match order.check() {
            Ok(()) => usable.push(order),
            Err(failure) => run.fail_item(&key, PHASE, &failure.into()),
        }
    }
    usable
}

/// Cancels a page of a mall's orders, in one chunk.
async fn expire_page(
    run: &mut Run<'_>,
    mall: &mut OpenMall<'_>,
    page: Vec<Order>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let orders = usable(run, &mall.terms, page);
    let candidates = with_customers(run, &mall.terms, orders).await?;
    expire_chunk(run, mall, candidates, tally).await
}

impl Order {
    /// Where it stands among those that are due, from the oldest on.
    fn place(&self) -> Place {
        (self.position.clone(), self.id)
    }

    /// As the database orders them.
    fn in_order(&self, other: &Self) -> Ordering {
        let by_time = match (&self.position, &other.position) {
            (StoredKey::Bytes(one), StoredKey::Bytes(other)) => one.cmp(other),
            _ => self.ordered_at.cmp(&other.ordered_at),
        };
        by_time.then(self.id.cmp(&other.id))
    }

    fn check(&self) -> Result<(), Failure> {
        self.problems.check()?;
        events::check_number(&self.order_no)?;
        if is_known_currency(&self.currency) {
            return Ok(());
        }
        Err(Failure::bad_input(format!(
            "the column `currency` of `orders` holds `{}`, which is not a currency",
            self.currency
        )))
    }
}

/// The orders with how their customers are told. What cannot be read of a member keeps the member from being told, and not
/// the order from being cancelled.
async fn with_customers(
    run: &mut Run<'_>,
    terms: &Terms<'_>,
    orders: Vec<Order>,
) -> anyhow::Result<Vec<Candidate>> {
    let codes: Vec<&str> = orders.iter().filter_map(|order| order.member_code.as_deref()).collect();
    let members = members(run.db, terms.mall.id, &codes).await?;
    let is_mailed = run.cx.config.order_expire().mail;
    let mut mailboxes: Vec<(i64, Mailbox)> = Vec::new();
    let mut candidates = Vec::with_capacity(orders.len());
    for order in orders {
        let member = order.member_code.as_ref().and_then(|code| members.get(code));
        let mut customer = Customer {
            // A member of whom the shop keeps no row here can be told by the app alone.
            is_notified: order.member_code.is_some() && member.is_none_or(|member| member.may_be_told),
            locale: language(&run.cx.config, member.and_then(|member| member.locale.as_deref()), None),
            ..Customer::default()
        };
        if let Some(member) = member.filter(|member| member.may_be_told) {
            if let Err(failure) = member.problems.check() {
                run.fail_part(&item_key(terms.mall, &order.order_no), "notice", &failure.into());
                customer.is_notified = false;
            } else if is_mailed {
                customer.name.clone_from(&member.name);
                let mailbox = member.email.as_deref().and_then(|email| address::parse(email).ok());
                mailboxes.extend(mailbox.map(|mailbox| (order.id, mailbox)));
            }
        }
        candidates.push(Candidate { order, customer });
    }
    drop_suppressed(run.db, &mut mailboxes, Purpose::Contract).await?;
    let mut mailboxes: HashMap<i64, Mailbox> = mailboxes.into_iter().collect();
    for candidate in &mut candidates {
        candidate.customer.mailbox = mailboxes.remove(&candidate.order.id);
    }
    Ok(candidates)
}

/// Cancels the orders of a chunk in one transaction. One that cannot be cancelled fails, and the others are done without it.
async fn expire_chunk(
    run: &mut Run<'_>,
    mall: &mut OpenMall<'_>,
    mut candidates: Vec<Candidate>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    while !candidates.is_empty() {
        let Err(error) = expire_together(run, mall, &candidates, tally).await else { return Ok(()) };
        if let Some(BadLines(bad)) = error.downcast_ref::<BadLines>() {
            for candidate in candidates.extract_if(.., |candidate| bad.contains_key(&candidate.order.id)) {
                let failure = bad[&candidate.order.id].clone();
                run.fail_item(&item_key(mall.terms.mall, &candidate.order.order_no), PHASE, &failure.into());
            }
        } else if is_of_data(&error) {
            return expire_one_by_one(run, mall, candidates, tally).await;
        } else {
            return Err(error);
        }
    }
    Ok(())
}

/// Tries orders again that have been due for long and were locked. Whoever was just paying has done so by now.
async fn try_again(run: &mut Run<'_>, mall: &mut OpenMall<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    let mut locked = std::mem::take(&mut mall.locked);
    locked.truncate(tally.left.map_or(AGAIN, |left| usize::try_from(left).unwrap_or(AGAIN)));
    tally.done.passed_over = tally.done.passed_over.saturating_sub(locked.len() as u64);
    expire_chunk(run, mall, locked, tally).await?;
    tally.stuck += std::mem::take(&mut mall.locked).len() as u64;
    Ok(())
}

/// Cancels orders of which one breaks a rule of the database that nobody foresaw: it fails, and the others are done.
async fn expire_one_by_one(
    run: &mut Run<'_>,
    mall: &mut OpenMall<'_>,
    candidates: Vec<Candidate>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    for candidate in candidates {
        match expire_together(run, mall, std::slice::from_ref(&candidate), tally).await {
            Ok(()) => {}
            Err(error) if is_of_data(&error) => {
                run.fail_item(&item_key(mall.terms.mall, &candidate.order.order_no), PHASE, &error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Cancels orders in one transaction, which is tried again if others keep it from its locks. Whose stock they keep locked is
/// left to the next run.
async fn expire_together(
    run: &mut Run<'_>,
    mall: &mut OpenMall<'_>,
    candidates: &[Candidate],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut attempt = 1;
    loop {
        let locked_stock = match attempt {
            1 if tally.vain_waits < VAIN_WAITS => LockedStock::Wait,
            _ => LockedStock::PassOver,
        };
        // The time of this transaction, and not of the run's beginning: others may have written the same stock since.
        let terms = Terms { now: run.cx.now(), ..mall.terms };
        let done = run
            .chunk_writing(None::<&str>, async |db| {
                let (done, stuck) = expire(db, &terms, candidates, locked_stock).await?;
                Ok(((done, stuck), done.orders))
            })
            .await;
        match done {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => {
                attempt += 1;
                tally.vain_waits += u32::from(locked_stock == LockedStock::Wait);
            }
            done => {
                let (done, stuck) = done?;
                let is_stuck = |candidate: &&Candidate| stuck.contains(&candidate.order.id);
                mall.locked.extend(candidates.iter().filter(is_stuck).cloned());
                mall.locked.truncate(AGAIN);
                tally.add(done);
                return Ok(());
            }
        }
    }
}

fn item_key(mall: &Mall, order_no: &str) -> String {
    format!("{}/{order_no}", mall.code)
}

/// Whether a row is the reason: it breaks a rule of its table, or a number does not fit.
fn is_of_data(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<DbError>().map(DbError::kind);
    matches!(kind, Some(DbErrorKind::Constraint | DbErrorKind::Other))
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<DbError>().is_some_and(DbError::is_busy)
}

// ---------------------------------------------------------------- the queries

/// The orders that are due at `$2`. One with a `source_updated_at` was synchronised or imported, whatever its mall is now.
/// Its payments are looked up, by construction: of NOT EXISTS, a planner without statistics may make a join with all of them.
const DUE: &str = "o.status = 'PAYMENT_WAIT' AND o.paid_at IS NULL AND o.source_updated_at IS NULL
    AND o.ordered_at <= $2
    AND (SELECT COUNT(*) FROM payments p WHERE p.order_id = o.id AND p.paid_at IS NOT NULL) = 0";

/// The first time that a database has.
fn first_time() -> DateTime<Utc> {
    const FIRST_SECOND: i64 = -62_135_596_800;
    DateTime::from_timestamp(FIRST_SECOND, 0).unwrap_or_default()
}

/// A number of orders as the database counts them.
fn bounded(orders: u64) -> i64 {
    i64::try_from(orders).unwrap_or(i64::MAX)
}

/// How many orders are due: at most `most`.
async fn count_due(db: &mut Db, mall: &Mall, until: DateTime<Utc>, most: i64) -> anyhow::Result<i64> {
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM orders o WHERE o.mall_id = $1 AND {DUE} AND {} LIMIT $3) due",
        db.is_time("o.ordered_at")
    );
    let (due,): (i64,) = db.fetch_one(&sql, values![mall.id, until, most]).await?;
    Ok(due)
}

/// Where a page begins: after the order of this time, as it is stored, and with this id. On SQLite the same time can be stored
/// in several forms, which compare as texts.
type Place = (StoredKey, i64);

/// Before the first order.
fn first_place(db: &Db) -> Place {
    (db.pick(StoredKey::first(), StoredKey::Text("-infinity".to_owned())), i64::MIN)
}

/// The next orders that are due, oldest first.
async fn next_page(db: &mut Db, terms: &Terms<'_>, after: &Place, most: i64) -> anyhow::Result<Vec<Order>> {
    let values = values![terms.mall.id, terms.until, &after.0, after.1, most];
    Ok(db.fetch_all(&page_sql(db), values).await?)
}

fn page_sql(db: &Db) -> String {
    format!(
        "SELECT o.id, o.order_no, o.member_code, o.currency, o.total_amount, o.ordered_at,
                {} AS position
         FROM orders o
         WHERE o.mall_id = $1 AND {DUE} AND (o.ordered_at, o.id) > ({}, {}) AND {} ORDER BY o.ordered_at, o.id LIMIT $5",
        db.pick("o.ordered_at", "CAST(o.ordered_at AS TEXT)"),
        db.pick("CAST($3 AS TEXT)", "CAST($3 AS TIMESTAMPTZ)"),
        db.row_number("$4"),
        db.is_time("o.ordered_at")
    )
}

/// A member whose order expires.
#[derive(Debug, FromRow)]
#[expect(clippy::struct_field_names, reason = "the columns' own names")]
struct Member {
    member_code: String,
    name: Option<String>,
    email: Option<String>,
    locale: Option<String>,
    may_be_told: bool,
    #[row(problems)]
    problems: Problems,
}

/// The members with these codes, by code.
async fn members(db: &mut Db, mall_id: i64, codes: &[&str]) -> anyhow::Result<HashMap<String, Member>> {
    if codes.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Member> = db.fetch_all(&members_sql(db), values![mall_id, json!(codes)]).await?;
    Ok(rows.into_iter().map(|member| (member.member_code.clone(), member)).collect())
}

/// Looks each of them up, by construction: a planner without statistics reads all members of the mall.
fn members_sql(db: &Db) -> String {
    let members = "SELECT m.member_code, m.name, m.email, m.locale,
                m.status <> 'WITHDRAWN' AND m.withdrawn_at IS NULL AND m.erasure_requested_at IS NULL AS may_be_told
         FROM members m WHERE m.mall_id = $1 AND m.member_code";
    match db.kind() {
        Kind::Sqlite => format!("{members} IN {}", db.elements("$2")),
        Kind::Postgres => format!(
            "SELECT found.* FROM (SELECT DISTINCT value FROM jsonb_array_elements_text($2)) AS code
             CROSS JOIN LATERAL ({members} = code.value OFFSET 0) AS found"
        ),
    }
}
