//! A domain's lists at Cafe24 and their pages, each read ahead while the previous page is stored.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clients::cafe24::records::{BadRecord, Fields, Member, Order, Refund};
use crate::clients::cafe24::{ApiError, Cafe24, korean_time};
use crate::failure::Failure;

use super::Domain;
use super::cursor::{Cursor, RecordPosition, Rules, Span, Window};

/// Pages that wait to be stored. One is enough to keep both sides busy, and limits memory.
const PAGES_AHEAD: usize = 1;
/// Values in a comma-separated list (Cafe24's own limit).
const MAX_NUMBERS: usize = 100;
/// Refunds per page (Cafe24's own limit).
const MAX_REFUNDS: u32 = 500;
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

    /// A record's position in it: its key, and the time by which the list is filtered.
    fn place(self, record: &Fields) -> RecordPosition {
        let (key, time) = match self {
            Self::Members => ("member_id", "created_date"),
            Self::Orders(time) => ("order_id", time.names().1),
            Self::Refunds => ("refund_code", "refund_date"),
        };
        RecordPosition { key: record.key(key), at: record.moment(time) }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Members => "member",
            Self::Orders(_) => "order",
            Self::Refunds => "refund",
        }
    }

    fn rules(self) -> Rules {
        match self {
            Self::Members => Rules { noun: "members", most_offset: 8_000, longest: None, walks: true },
            Self::Orders(_) => {
                Rules { noun: "orders", most_offset: 15_000, longest: Some(MAX_WINDOW), walks: false }
            }
            Self::Refunds => {
                Rules { noun: "refunds", most_offset: 15_000, longest: Some(MAX_WINDOW), walks: false }
            }
        }
    }

    fn limit(self, page_size: u32) -> u32 {
        match self {
            Self::Refunds => page_size.min(MAX_REFUNDS),
            Self::Members | Self::Orders(_) => page_size,
        }
    }

    /// The query of a page, except `limit` and the shop.
    fn query(self, cursor: &Cursor) -> Vec<(&'static str, String)> {
        let window = match cursor {
            Cursor::Walk(walk) => {
                return vec![
                    ("search_type", "created_date".to_owned()),
                    ("created_start_date", plain_time(walk.from)),
                ];
            }
            Cursor::Window(window) => window,
        };
        let mut query = self.span_query(window.span);
        query.push(("offset", window.offset.to_string()));
        if let Self::Orders(_) = self {
            query.push(("embed", "items".to_owned()));
        }
        query
    }

    fn span_query(self, span: Span) -> Vec<(&'static str, String)> {
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

impl Position {
    fn for_new_attempt(self) -> Self {
        Self { cursor: self.cursor.map(Cursor::for_new_attempt), ..self }
    }
}

/// The content of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) members: Vec<Member>,
    pub(super) orders: Vec<Order>,
    pub(super) refunds: Vec<Refund>,
    /// Unusable records, by the key of their row in the error log.
    pub(super) bad: Vec<(String, String)>,
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
            if *list == List::Refunds {
                return Ok(None);
            }
            let mut rest = Some(self.span);
            while let Some(span) = rest {
                let (window, remaining) = span.split(list.rules().longest);
                let mut query = list.span_query(window);
                query.push(("shop_no", self.shop_no.to_string()));
                total += self.api.count(list.path(), &query).await?;
                rest = remaining;
            }
        }
        Ok(Some(total))
    }

    /// Whether everything was read.
    fn is_finished(&self, position: &Position) -> bool {
        position.list >= List::of(self.domain).len()
    }

    /// Reads one page and finds out where to continue.
    async fn page(&self, position: &Position) -> anyhow::Result<Page> {
        let lists = List::of(self.domain);
        let list = lists[position.list];
        let rules = list.rules();
        let cursor = position.cursor.clone().unwrap_or_else(|| Cursor::new(self.span, &rules));
        let limit = list.limit(self.page_size);
        let mut query = list.query(&cursor);
        query.push(("shop_no", self.shop_no.to_string()));
        query.push(("limit", limit.to_string()));
        let answer = self.api.list(list.path(), list.path(), &query).await?;
        refuse_overfull(answer.records.len(), limit as usize)?;
        let records: Vec<_> = answer.records.iter().map(|record| Fields::of(record)).collect();
        let place = |record: &Result<Fields, BadRecord>| {
            record.as_ref().map_or_else(|_| RecordPosition::default(), |fields| list.place(fields))
        };
        let places: Vec<RecordPosition> = records.iter().map(place).collect();
        let step = cursor.step(&places, limit, &rules)?;
        let mut page = Page { as_of: Some(answer.as_of), ..Page::default() };
        let is_ours = |record: &Result<Fields, BadRecord>| {
            record.as_ref().map_or(true, |fields| fields.is_of_shop(self.shop_no))
        };
        let records = records.into_iter().enumerate();
        for (index, record) in records.filter(|(index, record)| step.is_new[*index] && is_ours(record)) {
            page.read += 1;
            let nameless = || format!("{} {} of the page {}", list.noun(), index + 1, describe(&cursor));
            self.take(list, record, nameless, &mut page);
        }
        if list == List::Refunds {
            self.add_orders_of_refunds(&mut page).await?;
        }
        let list = if step.next.is_some() { position.list } else { position.list + 1 };
        page.next = Some(Position { list, cursor: step.next, read: position.read + page.read });
        Ok(page)
    }

    /// Adds a record to its page.
    fn take(
        &self,
        list: List,
        record: Result<Fields, BadRecord>,
        nameless: impl FnOnce() -> String,
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
            let key = bad.key.map_or_else(nameless, |key| format!("{} {key}", list.noun()));
            page.bad.push((key, bad.problem));
        }
    }

    /// Adds the refunds' orders, which they change and which may be older than any synchronised period.
    async fn add_orders_of_refunds(&self, page: &mut Page) -> anyhow::Result<()> {
        let mut numbers: Vec<String> =
            page.refunds.iter().map(|refund| refund.order_number.clone()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let orders = self.orders(&numbers).await?;
        page.orders.extend(orders.orders);
        page.bad.extend(orders.bad);
        page.read += orders.read;
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
                self.take(list, Fields::of(record), || "order without a number".to_owned(), &mut page);
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
            let nameless = || format!("member {code}");
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

/// Describes a page for people.
fn describe(cursor: &Cursor) -> String {
    match cursor {
        Cursor::Window(Window { span, offset, .. }) => {
            format!("at offset {offset} from {}", zoned_time(span.first))
        }
        Cursor::Walk(walk) => format!("from {}", zoned_time(walk.from)),
    }
}

/// The pages of a source, each read while the previous one is stored.
pub(super) struct Pages {
    pages: mpsc::Receiver<anyhow::Result<Page>>,
    reader: JoinHandle<()>,
}

impl Pages {
    /// Starts to read, from the beginning or where an earlier run ended.
    pub(super) fn read(source: Source, from: Option<Position>) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let reader = tokio::spawn(async move {
            let mut next = Some(from.unwrap_or_default().for_new_attempt());
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
