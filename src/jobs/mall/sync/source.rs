//! A domain's lists at Cafe24 and their pages, each read ahead while the previous page is stored.
//!
//! A list is complete when it has as many records as Cafe24 counts. Refunds are not counted, but whether there is a
//! record at the last offset, and none after it, tells whether there are as many as were read.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clients::cafe24::records::{BadRecord, Fields, Member, Order, Refund};
use crate::clients::cafe24::{Answer, ApiError, Cafe24, korean_time};
use crate::digest::fingerprint;
use crate::failure::Failure;

use super::Domain;
use super::cursor::{Cursor, Gap, Listed, Question, Rules, Span, Step, Total, second_of};

/// Pages that wait to be stored. One is enough to keep both sides busy, and limits memory.
const PAGES_AHEAD: usize = 1;
/// Values in a comma-separated list (Cafe24's own limit).
const MAX_NUMBERS: usize = 100;
/// Refunds per page (Cafe24's own limit).
const MAX_REFUNDS: u32 = 500;
/// The records that are asked for to see whether there is just one (Cafe24's own default).
const PROBE: u32 = 10;
/// A call may span three months, the shortest of which have 89 days.
const MAX_WINDOW: TimeDelta = TimeDelta::days(89);

/// A list of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    /// Members by the time they signed up.
    Members,
    /// Orders by one of their times.
    Orders(OrderTime),
    /// Refunds by the time of repayment.
    Refunds,
}

/// One of an order's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderTime {
    Ordered,
    Paid,
    Cancelled,
}

impl OrderTime {
    /// The `date_type` that selects it, and the field that contains it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ordered => ("order_date", "order_date"),
            Self::Paid => ("pay_date", "payment_date"),
            Self::Cancelled => ("cancel_date", "cancel_date"),
        }
    }
}

impl List {
    /// The lists of a domain, in the order in which they are read. Sales are payments, cancellations and refunds.
    fn of(domain: Domain) -> &'static [Self] {
        match domain {
            Domain::Member => &[Self::Members],
            Domain::Order => &[Self::Orders(OrderTime::Ordered)],
            Domain::Sales => {
                &[Self::Orders(OrderTime::Paid), Self::Orders(OrderTime::Cancelled), Self::Refunds]
            }
        }
    }

    /// Its path, which is also the name of the list in the response.
    fn path(self) -> &'static str {
        match self {
            Self::Members => "customersprivacy",
            Self::Orders(_) => "orders",
            Self::Refunds => "refunds",
        }
    }

    /// The field with a record's key, and the one with the time by which the list is filtered.
    fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Members => ("member_id", "created_date"),
            Self::Orders(time) => ("order_id", time.names().1),
            Self::Refunds => ("refund_code", "refund_date"),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Members => "member",
            Self::Orders(_) => "order",
            Self::Refunds => "refund",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Orders(_) => "orders",
            Self::Refunds => "refunds",
        }
    }

    /// Whether the service counts its records.
    fn is_counted(self) -> bool {
        self != Self::Refunds
    }

    fn rules(self, page_size: u32) -> Rules {
        let (most_offset, longest, limit) = match self {
            Self::Members => (8_000, None, page_size),
            Self::Orders(_) => (15_000, Some(MAX_WINDOW), page_size),
            Self::Refunds => (15_000, Some(MAX_WINDOW), page_size.min(MAX_REFUNDS)),
        };
        Rules { noun: self.plural(), most_offset, longest, limit }
    }

    /// The query for the records of a span, except the page and the shop.
    fn query(self, span: Span) -> Vec<(&'static str, String)> {
        let own = |name: &'static str, value: &str| (name, value.to_owned());
        let (mut query, write): (_, fn(DateTime<Utc>) -> String) = match self {
            Self::Members => {
                (vec![own("search_type", "customer_info"), own("date_type", "join")], plain_time)
            }
            Self::Orders(time) => (vec![own("date_type", time.names().0)], zoned_time),
            Self::Refunds => (vec![own("date_type", "refund_date")], zoned_time),
        };
        query.push(("start_date", write(span.first)));
        query.push(("end_date", write(span.last)));
        query
    }
}

/// The time format of `customersprivacy`.
fn plain_time(at: DateTime<Utc>) -> String {
    korean_time::of(at).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time format of orders and refunds.
fn zoned_time(at: DateTime<Utc>) -> String {
    korean_time::of(at).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Where a synchronisation continues: the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The index of the domain's list; the number of lists once everything was read.
    list: usize,
    /// The page; `None` at the list's beginning.
    cursor: Option<Cursor>,
    /// How many records were read before it.
    pub(super) read: u64,
}

/// The content of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) members: Vec<Member>,
    pub(super) orders: Vec<Order>,
    pub(super) refunds: Vec<Refund>,
    /// Unusable records, by the key of their row in the error log.
    pub(super) bad: Vec<(String, String)>,
    /// Parts of the list that could not be read in full, by the key of their row in the error log.
    pub(super) gaps: Vec<(String, Failure)>,
    /// How many records of the list were not read before, including bad ones.
    pub(super) read: u64,
    /// When the shop returned them.
    pub(super) as_of: Option<DateTime<Utc>>,
    /// Where to continue, if it is a page of a list.
    pub(super) next: Option<Position>,
}

/// Reads a mall's domain.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) api: Cafe24,
    pub(super) domain: Domain,
    pub(super) shop_no: i64,
    /// The mall's currency, for records without one.
    pub(super) currency: String,
    pub(super) span: Span,
    pub(super) page_size: u32,
}

impl Source {
    /// How many records there are to read, if the service counts them.
    pub(super) async fn count(&self) -> Result<Option<u64>, ApiError> {
        let mut total = 0;
        for list in List::of(self.domain) {
            if !list.is_counted() {
                return Ok(None);
            }
            let mut rest = Some(self.span);
            while let Some(span) = rest {
                let (window, remaining) = span.split(list.rules(self.page_size).longest);
                total = self.count_of(*list, window).await?.saturating_add(total);
                rest = remaining;
            }
        }
        Ok(Some(total))
    }

    /// Whether everything was read.
    fn is_finished(&self, position: &Position) -> bool {
        position.list >= List::of(self.domain).len()
    }

    async fn count_of(&self, list: List, span: Span) -> Result<u64, ApiError> {
        let mut query = list.query(span);
        query.push(("shop_no", self.shop_no.to_string()));
        self.api.count(list.path(), &query).await
    }

    /// Reads one page, and finds out where to continue. Whether it was the last is known with the page, so that a run
    /// that was killed does not ask again.
    async fn page(&self, position: &Position) -> anyhow::Result<Page> {
        let lists = List::of(self.domain);
        let list = lists[position.list];
        let rules = list.rules(self.page_size);
        let mut next = Some(position.cursor.clone().unwrap_or_else(|| Cursor::new(self.span, &rules)));
        let mut page = Page::default();
        while let Some(cursor) = next.take() {
            let step = match cursor.question() {
                Question::Page { .. } if page.as_of.is_some() => {
                    next = Some(cursor);
                    break;
                }
                Question::Page { span, offset } => {
                    self.read_page(list, span, offset, cursor, &mut page).await?
                }
                Question::Total { span, expected } => {
                    cursor.total(self.total(list, span, expected).await?, &rules)?
                }
            };
            page.read += step.read;
            page.gaps.extend(step.gaps.iter().map(|gap| described(list, gap)));
            next = step.next;
        }
        if list == List::Refunds {
            self.add_orders_of_refunds(&mut page).await?;
        }
        let list = if next.is_some() { position.list } else { position.list + 1 };
        page.next = Some(Position { list, cursor: next, read: position.read + page.read });
        Ok(page)
    }

    async fn read_page(
        &self,
        list: List,
        span: Span,
        offset: u32,
        cursor: Cursor,
        page: &mut Page,
    ) -> anyhow::Result<Step> {
        let rules = list.rules(self.page_size);
        let answer = self.list(list, span, offset, rules.limit).await?;
        let raw: Vec<&str> = answer.records.iter().map(|record| record.get()).collect();
        let records: Vec<_> = answer.records.iter().map(|record| Fields::of(record)).collect();
        let listed = listed(list, &records, &raw);
        let mut step = cursor.page(&listed, &rules)?;
        page.as_of = Some(answer.as_of);
        let names: Vec<Option<String>> = records.iter().map(|record| name(list, record)).collect();
        let taken = page.orders.len();
        for (index, record) in records.into_iter().enumerate().filter(|(index, _)| step.is_new[*index]) {
            if record.as_ref().is_ok_and(|fields| !fields.is_of_shop(self.shop_no)) {
                step.read = step.read.saturating_sub(1);
                continue;
            }
            let nameless = || Nameless::of(list, raw[index], listed[index].at, &names, index);
            self.take(list, record, nameless, page);
        }
        // An order counts once: these were in the list before.
        if list == List::Orders(OrderTime::Cancelled) {
            let counted = page.orders[taken..].iter().filter(|order| self.is_in_span(order.paid_at)).count();
            step.read = step.read.saturating_sub(counted as u64);
        }
        Ok(step)
    }

    /// Whether a time is in the period, so that an order with it is in the list of that time.
    fn is_in_span(&self, at: Option<DateTime<Utc>>) -> bool {
        at.is_some_and(|at| (self.span.first..=self.span.last).contains(&second_of(at)))
    }

    async fn list(&self, list: List, span: Span, offset: u32, limit: u32) -> anyhow::Result<Answer> {
        let mut query = list.query(span);
        query.push(("offset", offset.to_string()));
        if let List::Orders(_) = list {
            query.push(("embed", "items".to_owned()));
        }
        query.push(("shop_no", self.shop_no.to_string()));
        query.push(("limit", limit.to_string()));
        let answer = self.api.list(list.path(), list.path(), &query).await?;
        refuse_overfull(answer.records.len(), limit as usize)?;
        Ok(answer)
    }

    /// How many records a span has.
    async fn total(&self, list: List, span: Span, expected: u64) -> anyhow::Result<Total> {
        if list.is_counted() {
            return Ok(Total::Is(self.count_of(list, span).await?));
        }
        // There is one at the last offset, and none after it.
        let offset = expected.saturating_sub(1);
        let most_offset = list.rules(self.page_size).most_offset;
        let Some(offset) = u32::try_from(offset).ok().filter(|offset| *offset <= most_offset) else {
            return Ok(Total::Differs);
        };
        let found = self.list(list, span, offset, PROBE).await?.records.len() as u64;
        Ok(if found == expected.min(1) { Total::Is(expected) } else { Total::Differs })
    }

    /// Adds a record to its page.
    fn take(
        &self,
        list: List,
        record: Result<Fields, BadRecord>,
        nameless: impl FnOnce() -> Nameless,
        page: &mut Page,
    ) {
        let read = record.and_then(|fields| {
            match list {
                List::Members => page.members.push(Member::read(&fields)?),
                List::Orders(_) => page.orders.push(Order::read(&fields, &self.currency)?),
                List::Refunds => page.refunds.extend(Refund::read(&fields, &self.currency)?),
            }
            Ok(())
        });
        if let Err(bad) = read {
            page.bad.push(if let Some(key) = bad.key {
                (format!("{} {key}", list.noun()), bad.problem)
            } else {
                let Nameless { key, place } = nameless();
                (key, [bad.problem, place].join("; "))
            });
        }
    }

    /// Adds the refunds' orders, which they change and which may be older than any synchronised period. Those that were
    /// paid or cancelled in it have counted, and so have those of refunds that were listed before.
    async fn add_orders_of_refunds(&self, page: &mut Page) -> anyhow::Result<()> {
        let mut numbers: Vec<String> =
            page.refunds.iter().map(|refund| refund.order_number.clone()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let orders = self.orders(&numbers).await?;
        let is_listed =
            |order: &&Order| self.is_in_span(order.paid_at) || self.is_in_span(order.cancelled_at);
        let counted = orders.orders.iter().filter(is_listed).count() as u64;
        page.read += orders.read.saturating_sub(counted).min(page.read);
        page.orders.extend(orders.orders);
        page.bad.extend(orders.bad);
        Ok(())
    }

    /// Orders by their numbers.
    async fn orders(&self, numbers: &[String]) -> anyhow::Result<Page> {
        let list = List::Orders(OrderTime::Ordered);
        let mut page = Page::default();
        for numbers in numbers.chunks(MAX_NUMBERS) {
            let query = [
                ("order_id", numbers.join(",")),
                ("embed", "items".to_owned()),
                ("shop_no", self.shop_no.to_string()),
                ("limit", MAX_NUMBERS.to_string()),
            ];
            let answer = self.api.list("orders", "orders", &query).await?;
            refuse_overfull(answer.records.len(), MAX_NUMBERS)?;
            // The earliest time applies to all: a record must not appear newer than it is.
            page.as_of = page.as_of.into_iter().chain([answer.as_of]).min();
            for record in &answer.records {
                page.read += 1;
                let nameless = || Nameless::of(list, record.get(), None, &[], 0);
                self.take(list, Fields::of(record), nameless, &mut page);
            }
        }
        Ok(page)
    }

    /// A member by code; an empty page if the member no longer exists.
    async fn member(&self, code: &str) -> anyhow::Result<Page> {
        let path = format!("customersprivacy/{}", utf8_percent_encode(code, NON_ALPHANUMERIC));
        let query = [("shop_no", self.shop_no.to_string())];
        let mut page = Page::default();
        if let Some(found) = self.api.one(&path, "customersprivacy", &query).await? {
            page.read = 1;
            page.as_of = Some(found.as_of);
            let nameless =
                || Nameless { key: format!("member {code}"), place: "requested by its key".to_owned() };
            self.take(List::Members, Fields::of(&found.value), nameless, &mut page);
        }
        Ok(page)
    }

    /// The records that an earlier run skipped, requested by their keys.
    pub(super) async fn named(&self, keys: &[Named]) -> anyhow::Result<Page> {
        let mut numbers = Vec::new();
        let mut all = Page::default();
        for key in keys {
            match key {
                Named::Order(number) => numbers.push(number.clone()),
                Named::Member(code) => all.add(self.member(code).await?),
            }
        }
        let orders = self.orders(&numbers).await?;
        // An order that the shop does not return is as open as before. (A member who left is not.)
        let is_returned = |number: &String| orders.orders.iter().any(|order| order.number == *number);
        let is_bad = |key: &String| orders.bad.iter().any(|(bad, _)| bad == key);
        let missing = numbers.iter().filter(|number| !is_returned(number));
        let missing: Vec<String> =
            missing.map(|number| format!("order {number}")).filter(|key| !is_bad(key)).collect();
        all.add(orders);
        all.bad.extend(missing.into_iter().map(|key| (key, "the shop does not return it".to_owned())));
        Ok(all)
    }
}

impl Page {
    fn add(&mut self, other: Self) {
        self.members.extend(other.members);
        self.orders.extend(other.orders);
        self.bad.extend(other.bad);
        self.read += other.read;
        self.as_of = self.as_of.into_iter().chain(other.as_of).min();
    }
}

/// A record that can be requested by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Member(String),
    Order(String),
}

impl Named {
    /// The record of a row in the error log, if it can be requested individually.
    pub(super) fn of(item_key: &str) -> Option<Self> {
        let (noun, key) = item_key.split_once(' ')?;
        // A record without a key is described by a sentence, and a comma would request two records.
        if key.contains([' ', ',']) {
            return None;
        }
        match noun {
            "member" => Some(Self::Member(key.to_owned())),
            "order" => Some(Self::Order(key.to_owned())),
            _ => None,
        }
    }
}

/// Refuses more records than were requested: the page size limits memory.
fn refuse_overfull(records: usize, limit: usize) -> Result<(), Failure> {
    if records <= limit {
        return Ok(());
    }
    Err(Failure::failed(format!("Cafe24 returned {records} records in a page of at most {limit}")))
}

/// Each record's key and time. What has no key is known by its content, so that it counts once however often it is read.
fn listed(list: List, records: &[Result<Fields, BadRecord>], raw: &[&str]) -> Vec<Listed> {
    let mut alike: HashMap<String, u32> = HashMap::new();
    let mut key = |place: usize, record: &Result<Fields, BadRecord>| {
        name(list, record).unwrap_or_else(|| {
            let digest = fingerprint(raw[place]);
            let number = alike.entry(digest.clone()).or_default();
            *number += 1;
            format!("\0{digest} {number}")
        })
    };
    records
        .iter()
        .enumerate()
        .map(|(place, record)| Listed {
            key: key(place, record),
            at: record.as_ref().ok().and_then(|fields| fields.moment(list.fields().1)),
        })
        .collect()
}

fn name(list: List, record: &Result<Fields, BadRecord>) -> Option<String> {
    record.as_ref().ok()?.key(list.fields().0)
}

/// A record without a key, described so that it can be found in the shop.
struct Nameless {
    /// The key of its row in the error log.
    key: String,
    /// Where it is.
    place: String,
}

impl Nameless {
    fn of(list: List, raw: &str, at: Option<DateTime<Utc>>, names: &[Option<String>], index: usize) -> Self {
        let key = format!("{} without `{}` ({})", list.noun(), list.fields().0, fingerprint(raw));
        let before = names.iter().take(index).rev().flatten().next();
        let after = names.iter().skip(index + 1).flatten().next();
        let when = at.map(|at| format!("its `{}` is {}", list.fields().1, zoned_time(at)));
        let place = match (before, after) {
            (Some(before), Some(after)) => Some(format!("listed between `{before}` and `{after}`")),
            (Some(before), None) => Some(format!("listed after `{before}`")),
            (None, Some(after)) => Some(format!("listed before `{after}`")),
            (None, None) => None,
        };
        let parts: Vec<String> = when.into_iter().chain(place).collect();
        let place =
            if parts.is_empty() { "it has neither date nor neighbours".to_owned() } else { parts.join(", ") };
        Self { key, place }
    }
}

/// A part of a list that could not be read in full: the key of its row in the error log, and what is wrong.
fn described(list: List, gap: &Gap) -> (String, Failure) {
    let Span { first, last } = gap.span;
    let noun = list.plural();
    let when = if first == last {
        format!("of {}", zoned_time(first))
    } else {
        format!("from {} to {}", zoned_time(first), zoned_time(last))
    };
    let listed = gap.listed;
    let problem = match gap.counted {
        Some(counted) => format!("the shop counts {counted} {noun} {when}, but lists {listed}"),
        None => format!("the shop lists {listed} {noun} {when}, but that is not all of them, or too many"),
    };
    let failure = Failure::try_later(problem)
        .symptom(format!("the shop's lists of {noun} do not agree with its own counts"))
        .hint("what was listed is stored; a retry reads the list again");
    (format!("{noun} by {} {when}", list.fields().1), failure)
}

/// The pages of a source, each read while the previous one is stored.
pub(super) struct Pages {
    pages: mpsc::Receiver<anyhow::Result<Page>>,
    reader: JoinHandle<()>,
}

impl Pages {
    /// Starts to read, from the beginning or where an earlier run ended.
    pub(super) fn read(source: Source, from: Position) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let reader = tokio::spawn(async move {
            let mut next = Some(from);
            while let Some(position) = next.take().filter(|position| !source.is_finished(position)) {
                let page = source.page(&position).await;
                if let Ok(page) = &page {
                    next.clone_from(&page.next);
                }
                // The receiver is gone: the run has ended.
                if sender.send(page).await.is_err() {
                    return;
                }
            }
        });
        Self { pages, reader }
    }

    /// The next page; `None` after the last one.
    pub(super) async fn next(&mut self) -> Option<anyhow::Result<Page>> {
        match self.pages.recv().await {
            Some(page) => Some(page),
            None => match (&mut self.reader).await {
                Ok(()) => None,
                Err(error) => Some(Err(Failure::failed(format!("bug in batchctl: {error}")).into())),
            },
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
