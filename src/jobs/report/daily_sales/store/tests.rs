//! The figures, compared with the same rows added up in plain Rust, and in cases small enough to check by eye.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::{AwaitedColumns, BY_PAYMENT_METHOD, BY_PRODUCT, Computation, replace_mall};
use crate::db::testing::{TestDb, at, now, on_both_databases};
use crate::shop::day_totals;
use crate::shop::testing::{Line, Mall, Order, Refund};
use crate::values;

on_both_databases![
    the_figures_are_right_when_the_clocks_go_back,
    the_figures_are_right_when_the_clocks_go_forward,
    a_day_without_sales_is_a_row_of_zeros,
    a_day_without_sales_in_the_malls_own_currency_has_a_row_of_zeros_for_it,
    an_order_paid_yesterday_and_cancelled_today_counts_once_in_each_day,
    a_partial_refund_counts_on_its_own_day_and_for_its_product,
    an_unpaid_order_is_not_a_sale,
    an_order_at_midnight_belongs_to_the_new_day,
    an_average_of_half_a_unit_is_rounded_up,
    a_day_of_25_hours_is_reported_completely,
    a_day_of_23_hours_is_reported_completely,
    a_refund_of_an_unknown_product_is_kept_under_its_code,
    a_product_on_two_lines_of_an_order_is_in_one_order,
    a_guest_is_neither_a_new_nor_a_returning_customer,
    a_customer_is_new_until_the_first_day_is_over_and_in_each_mall,
    no_statement_compares_each_order_with_each_buyer,
];

/// Computes these days of every mall. The run's id is the day of the month.
async fn reported(db: &mut TestDb, from: &str, to: &str, now: DateTime<Utc>) {
    let (from, to): (NaiveDate, NaiveDate) = (from.parse().unwrap(), to.parse().unwrap());
    let malls = db.malls().await;
    for day in from.iter_days().take_while(|day| *day <= to) {
        for mall in &malls {
            let computation =
                Computation { run: i64::from(day.day()), now, awaited: AwaitedColumns::default() };
            replace_mall(db, &computation, day, mall).await.unwrap();
        }
    }
}

/// In byte order: the two databases sort texts differently.
fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

// ---------------------------------------------------------------- a second opinion

/// The columns that `daily_sales` and `daily_sales_breakdown` share.
const MEASURES: &str =
    "d.orders, d.items, d.gross_amount, d.discount_amount, d.shipping_amount, d.tax_amount,
    d.cancelled_orders, d.refunded_amount, d.net_amount, d.new_customers, d.returning_customers";
/// How many days are reported on.
const DAYS: u64 = 14;
/// How many orders each mall has.
const ORDERS: usize = 160;
/// Codes, names and prices.
const PRODUCTS: [(&str, &str, i64); 5] = [
    ("A1", "Apple", 101),
    ("B2", "りんご", 250),
    ("C3", "사과", 999),
    ("D4", "Sticker", 1),
    ("Z9", "Gone", 4_999),
];
const METHODS: [Option<&str>; 4] = [Some("card"), Some("bank_transfer"), Some("konbini"), None];

/// A mall of a made-up shop.
struct Market {
    mall: Mall,
    code: &'static str,
    time_zone: Tz,
    /// The mall's own currency first.
    currencies: &'static [&'static str],
    /// A day on which nothing happens there.
    quiet_day: NaiveDate,
}

impl Market {
    /// The local date.
    fn calendar(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.time_zone).date_naive()
    }

    fn midnight(&self, day: NaiveDate) -> DateTime<Utc> {
        // None of the three time zones changes its clocks at midnight.
        self.time_zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).single().unwrap().to_utc()
    }
}

/// An order and what happened to it.
struct Sale<'a> {
    market: &'a Market,
    currency: &'static str,
    member: Option<String>,
    method: Option<&'static str>,
    ordered_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
    total: i64,
    discount: i64,
    shipping: i64,
    tax: i64,
    lines: Vec<Line<'static>>,
    /// Product, amount and when.
    refunds: Vec<(Option<&'static str>, i64, DateTime<Utc>)>,
}

fn line_amount(line: &Line<'_>) -> i64 {
    line.quantity * line.unit_price - line.discount
}

/// What a row of either table should hold.
#[derive(Debug, Clone, Default)]
struct Sum {
    name: String,
    orders: i64,
    items: i64,
    gross: i64,
    discount: i64,
    shipping: i64,
    tax: i64,
    cancelled: i64,
    refunded: i64,
    refunds: i64,
    new: BTreeSet<String>,
    returning: BTreeSet<String>,
}

impl Sum {
    fn pay(&mut self, sale: &Sale, is_returning: bool) {
        self.orders += 1;
        if let Some(member) = &sale.member {
            let members = if is_returning { &mut self.returning } else { &mut self.new };
            members.insert(member.clone());
        }
    }

    fn add_order(&mut self, sale: &Sale<'_>) {
        self.gross += sale.total;
        self.discount += sale.discount;
        self.shipping += sale.shipping;
        self.tax += sale.tax;
    }

    fn add_line(&mut self, line: &Line<'_>) {
        self.gross += line_amount(line);
        self.discount += line.discount;
        self.tax += line.tax;
    }

    fn remove_line(&mut self, line: &Line<'_>) {
        self.gross -= line_amount(line);
        self.discount -= line.discount;
        self.tax -= line.tax;
    }

    fn holds_money(&self) -> bool {
        [self.gross, self.discount, self.shipping, self.tax, self.refunded].iter().any(|amount| *amount != 0)
    }

    /// In the order of [`MEASURES`].
    fn measures(&self) -> Vec<String> {
        let members = |members: &BTreeSet<String>| i64::try_from(members.len()).unwrap();
        let net = self.gross - self.refunded;
        let counts = [self.orders, self.items];
        let paid = [self.gross, self.discount, self.shipping, self.tax];
        let rest = [self.cancelled, self.refunded, net, members(&self.new), members(&self.returning)];
        counts.iter().chain(&paid).chain(&rest).map(ToString::to_string).collect()
    }

    /// Half a unit is rounded up.
    fn average(&self) -> i64 {
        if self.orders == 0 { 0 } else { (2 * self.gross + self.orders) / (2 * self.orders) }
    }
}

/// Day, mall, currency, kind of breakdown and its key; the last two are empty for the totals.
type Key = (NaiveDate, &'static str, &'static str, &'static str, &'static str);

/// Adds up order by order, using the local date of each instant.
fn added_up(sales: &[Sale]) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for sale in sales {
        let market = sale.market;
        let wholes = [("", ""), ("PAYMENT_METHOD", sale.method.unwrap_or_default())];
        let products: BTreeMap<&'static str, &str> =
            sale.lines.iter().map(|line| (line.product, line.name)).collect();
        let mut on = |at: DateTime<Utc>, (kind, key), change: &dyn Fn(&mut Sum)| {
            let sum = sums.entry((market.calendar(at), market.code, sale.currency, kind, key)).or_default();
            match (kind, products.get(key)) {
                ("PRODUCT", Some(name)) => (*name).clone_into(&mut sum.name),
                ("PAYMENT_METHOD", _) => key.clone_into(&mut sum.name),
                _ => {}
            }
            change(sum);
        };
        if let Some(at) = sale.paid_at {
            let is_returning = has_bought_before(sales, sale, market.calendar(at));
            for whole in wholes {
                on(at, whole, &|sum| {
                    sum.pay(sale, is_returning);
                    sum.add_order(sale);
                    sum.items += sale.lines.iter().map(|line| line.quantity).sum::<i64>();
                });
            }
            for product in products.keys() {
                on(at, ("PRODUCT", product), &|sum| sum.pay(sale, is_returning));
            }
            on(at, ("PRODUCT", ""), &|sum| sum.add_order(sale));
            for line in &sale.lines {
                on(at, ("PRODUCT", line.product), &|sum| {
                    sum.items += line.quantity;
                    sum.add_line(line);
                });
                on(at, ("PRODUCT", ""), &|sum| sum.remove_line(line));
            }
        }
        if let Some(at) = sale.cancelled_at {
            for part in wholes.into_iter().chain(products.keys().map(|product| ("PRODUCT", *product))) {
                on(at, part, &|sum| sum.cancelled += 1);
            }
        }
        for (product, amount, at) in &sale.refunds {
            for part in wholes.into_iter().chain([("PRODUCT", product.unwrap_or_default())]) {
                on(*at, part, &|sum| {
                    sum.refunded += amount;
                    sum.refunds += 1;
                });
            }
        }
    }
    sums.retain(|(_, _, _, kind, key), sum| (*kind, *key) != ("PRODUCT", "") || sum.holds_money());
    sums
}

fn has_bought_before(sales: &[Sale], sale: &Sale, day: NaiveDate) -> bool {
    sale.member.is_some()
        && sales.iter().any(|other| {
            other.market.code == sale.market.code
                && other.member == sale.member
                && other.paid_at.is_some_and(|at| other.market.calendar(at) < day)
        })
}

/// Numbers that look random and are the same every time (the generator is `SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((number ^ (number >> 31)) % limit.unsigned_abs()).unwrap()
    }

    fn one_in(&mut self, chances: i64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(i64::try_from(from.len()).unwrap())).unwrap()]
    }

    /// An instant at most `most` days after another one, but not on a quiet day; often close to midnight.
    fn instant(&mut self, market: &Market, after: DateTime<Utc>, most: i64) -> DateTime<Utc> {
        loop {
            let day = market.calendar(after) + TimeDelta::days(self.below(most + 1));
            let midnight = market.midnight(day);
            let at = match self.below(8) {
                0 => midnight,
                1 => midnight - TimeDelta::microseconds(1),
                2 => midnight + TimeDelta::microseconds(1),
                // A day may have 25 hours.
                _ => midnight + TimeDelta::milliseconds(self.below(25 * 60 * 60 * 1000)),
            };
            if at >= after && market.calendar(at) != market.quiet_day {
                return at;
            }
        }
    }

    fn line(&mut self) -> Line<'static> {
        let (product, name, unit_price) = self.pick(&PRODUCTS);
        let quantity = 1 + self.below(3);
        let discount = if self.one_in(4) { quantity * unit_price / 10 } else { 0 };
        let tax = (quantity * unit_price - discount) / 11;
        Line { product, name, quantity, unit_price, discount, tax, ..Line::default() }
    }

    fn sale<'a>(&mut self, market: &'a Market, start: DateTime<Utc>) -> Sale<'a> {
        let ordered_at = self.instant(market, start, i64::try_from(DAYS).unwrap() + 2);
        let paid_at = (!self.one_in(9)).then(|| self.instant(market, ordered_at, 1));
        let cancelled_at = self.one_in(6).then(|| self.instant(market, paid_at.unwrap_or(ordered_at), 4));
        let lines: Vec<_> = (0..=self.below(3)).map(|_| self.line()).collect();
        let paid_for_lines: i64 = lines.iter().map(line_amount).sum();
        let coupon = if self.one_in(4) { paid_for_lines / 20 } else { 0 };
        let shipping = self.pick(&[0, 0, 300, 550]);
        let total = paid_for_lines - coupon + shipping;
        let mut refunds = Vec::new();
        if let Some(paid_at) = paid_at {
            if self.one_in(5) {
                let line = self.pick(&lines);
                refunds.push((
                    Some(line.product),
                    1 + line_amount(&line) / 2,
                    self.instant(market, paid_at, 5),
                ));
            }
            if self.one_in(7) {
                refunds.push((None, total, self.instant(market, paid_at, 5)));
            }
        }
        Sale {
            market,
            currency: self.pick(market.currencies),
            member: (!self.one_in(3)).then(|| format!("M{}", self.below(40))),
            method: self.pick(&METHODS),
            ordered_at,
            paid_at,
            cancelled_at,
            total,
            discount: lines.iter().map(|line| line.discount).sum::<i64>() + coupon,
            shipping,
            tax: lines.iter().map(|line| line.tax).sum::<i64>() + shipping / 11,
            lines,
            refunds,
        }
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

async fn insert(db: &mut TestDb, number: usize, sale: &Sale<'_>) {
    let ordered_at = text(sale.ordered_at);
    let keys: Vec<String> = (0..sale.lines.len()).map(|number| number.to_string()).collect();
    let lines: Vec<Line> =
        sale.lines.iter().zip(&keys).map(|(line, key)| Line { key: Some(key), ..*line }).collect();
    let order = db
        .order(Order {
            mall: Mall { currency: sale.currency, ..sale.market.mall },
            order_no: &number.to_string(),
            member: sale.member.as_deref(),
            status: if sale.paid_at.is_some() { "PAID" } else { "PAYMENT_WAIT" },
            total: sale.total,
            discount: sale.discount,
            shipping: sale.shipping,
            tax: sale.tax,
            payment_method: sale.method,
            ordered_at: &ordered_at,
            paid_at: sale.paid_at.map(text).as_deref(),
            cancelled_at: sale.cancelled_at.map(text).as_deref(),
            cancel_reason: None,
            updated_at: &ordered_at,
            lines: &lines,
        })
        .await;
    for (number, (product, amount, at)) in sale.refunds.iter().enumerate() {
        db.refund(Refund {
            order,
            key: &number.to_string(),
            product: *product,
            amount: *amount,
            reason: None,
            refunded_at: &text(*at),
        })
        .await;
    }
}

/// Generates two weeks in three malls, reports them and compares every column of every row.
async fn compare_two_weeks(db: &mut TestDb, first: &str, seed: u64) {
    let first: NaiveDate = first.parse().unwrap();
    let mut markets = Vec::new();
    for (code, time_zone, currencies, quiet) in [
        ("tokyo", Tz::Asia__Tokyo, &["JPY", "JPY", "JPY", "USD"][..], 9),
        ("seoul", Tz::Asia__Seoul, &["KRW"], 5),
        ("newyork", Tz::America__New_York, &["USD", "USD", "CAD"], 11),
    ] {
        let mall = db.mall(code, time_zone.name(), currencies[0]).await;
        markets.push(Market { mall, code, time_zone, currencies, quiet_day: first + Days::new(quiet) });
    }
    let mut dice = Dice(seed);
    let mut sales = Vec::new();
    db.sql("BEGIN").await;
    for market in &markets {
        for _ in 0..ORDERS {
            let sale = dice.sale(market, market.midnight(first - Days::new(2)));
            insert(db, sales.len(), &sale).await;
            sales.push(sale);
        }
    }
    db.sql("COMMIT").await;

    let now = first.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(30);
    let days: Vec<NaiveDate> = first.iter_days().take(DAYS.try_into().unwrap()).collect();
    reported(db, &days[0].to_string(), &days[days.len() - 1].to_string(), now).await;

    let mut sums = added_up(&sales);
    for (day, market) in days.iter().flat_map(|day| markets.iter().map(move |market| (day, market))) {
        // A day without sales has a row too.
        sums.entry((*day, market.code, market.currencies[0], "", "")).or_default();
    }
    sums.retain(|(day, ..), _| days.contains(day));
    compare_totals(db, &sums, now).await;
    compare_breakdowns(db, &sums).await;
    breakdowns_add_up(db).await;
    // Every compared column has values other than zero.
    for column in MEASURES.split(',') {
        let rows = db.scalar(&format!("SELECT COUNT(*) FROM daily_sales d WHERE {column} <> 0")).await;
        assert!(rows.parse::<i64>().unwrap() > 10, "{column} is other than 0 in {rows} rows");
    }
    assert!(
        db.sql("SELECT 1 FROM daily_sales WHERE gross_amount = 0 AND cancelled_orders = 0").await.len() >= 3
    );
}

async fn compare_totals(db: &mut TestDb, sums: &BTreeMap<Key, Sum>, now: DateTime<Utc>) {
    let expected = sums.iter().filter(|((.., kind, _), _)| kind.is_empty());
    let expected = expected.map(|((day, mall, currency, ..), sum)| {
        let mut row = vec![day.to_string(), (*mall).to_owned(), (*currency).to_owned()];
        row.extend(sum.measures());
        row.extend([sum.average().to_string(), sum.refunds.to_string(), "1".to_owned()]);
        row.extend([day.day().to_string(), text(now)]);
        row
    });
    let actual = db.sql(&format!(
        "SELECT d.business_day, malls.code, d.currency, {MEASURES}, d.average_order_amount, d.refunds, d.is_final,
                d.execution_id, d.computed_at
         FROM daily_sales d
         JOIN malls ON malls.id = d.mall_id"
    )).await;
    same_rows(expected.collect(), actual);
}

async fn compare_breakdowns(db: &mut TestDb, sums: &BTreeMap<Key, Sum>) {
    let expected = sums.iter().filter(|((.., kind, _), _)| !kind.is_empty());
    let expected = expected.map(|((day, mall, currency, kind, key), sum)| {
        let mut row = vec![day.to_string()];
        row.extend([mall, currency, kind, key, &sum.name.as_str()].map(|text| (*text).to_owned()));
        row.extend(sum.measures());
        row
    });
    let actual = db
        .sql(&format!(
            "SELECT d.business_day, malls.code, d.currency, d.breakdown, d.breakdown_key, d.name, {MEASURES}
         FROM daily_sales_breakdown d
         JOIN malls ON malls.id = d.mall_id"
        ))
        .await;
    same_rows(expected.collect(), actual);
}

/// Compares two long lists, and shows only where they differ.
#[track_caller]
fn same_rows(expected: Vec<Vec<String>>, actual: Vec<Vec<String>>) {
    assert!(expected.len() > 40, "there is enough to compare: {}", expected.len());
    let (expected, actual) = (sorted(expected), sorted(actual));
    let without = |rows: &[Vec<String>], others: &[Vec<String>]| -> Vec<String> {
        rows.iter().filter(|row| !others.contains(row)).map(|row| row.join(" | ")).collect()
    };
    let (missing, unexpected) = (without(&expected, &actual), without(&actual, &expected));
    assert_eq!(
        (missing, unexpected),
        (vec![], vec![]),
        "rows that are missing, rows that should not be there"
    );
    assert_eq!(actual.len(), expected.len(), "no row occurs twice");
}

/// Money adds up to the totals in both breakdowns; the payment methods' orders and units do so too.
async fn breakdowns_add_up(db: &mut TestDb) {
    let money = "SUM(gross_amount), SUM(discount_amount), SUM(shipping_amount), SUM(tax_amount),
                 SUM(refunded_amount), SUM(net_amount)";
    let counts = "SUM(orders), SUM(items), SUM(cancelled_orders)";
    let products = "daily_sales_breakdown WHERE breakdown = 'PRODUCT'";
    let methods = "daily_sales_breakdown WHERE breakdown = 'PAYMENT_METHOD'";
    // An order that was only cancelled may have no row of a product.
    assert_eq!(
        sums(db, &format!("{money}, {counts}"), methods).await,
        sums(db, &format!("{money}, {counts}"), "daily_sales").await
    );
    let by_product = sums(db, money, products).await;
    let totals: Vec<_> = sums(db, money, "daily_sales")
        .await
        .into_iter()
        .filter(|row| by_product.iter().any(|other| other[..3] == row[..3]))
        .collect();
    assert_eq!(by_product, totals);
    assert!(!totals.is_empty(), "there is something to compare");
}

async fn sums(db: &mut TestDb, columns: &str, table: &str) -> Vec<Vec<String>> {
    let sql = format!(
        "SELECT business_day, mall_id, currency, {columns} FROM {table} GROUP BY business_day, mall_id, currency
         HAVING SUM(ABS(gross_amount)) + SUM(refunded_amount) + SUM(cancelled_orders) > 0"
    );
    sorted(db.sql(&sql).await)
}

async fn the_figures_are_right_when_the_clocks_go_back(db: &mut TestDb) {
    compare_two_weeks(db, "2026-10-25", 1).await;
}

async fn the_figures_are_right_when_the_clocks_go_forward(db: &mut TestDb) {
    compare_two_weeks(db, "2026-03-01", 2).await;
}

// ---------------------------------------------------------------- simple cases

/// The stored totals of a day: mall, currency, orders, items, gross, cancelled, refunded, net, average, new and
/// returning customers.
async fn totals_of(db: &mut TestDb, day: &str) -> Vec<String> {
    let rows = db
        .sql(&format!(
        "SELECT code, d.currency, orders, items, gross_amount, cancelled_orders, refunded_amount, net_amount,
                average_order_amount, new_customers, returning_customers
         FROM daily_sales d JOIN malls ON malls.id = mall_id WHERE business_day = '{day}'"
    ))
        .await;
    sorted(rows.into_iter().map(|row| row.join(" ")).collect())
}

/// The products of a day: code, name, orders, items, gross, cancelled, refunded and net.
async fn products_of(db: &mut TestDb, day: &str) -> Vec<String> {
    let rows = db.sql(&format!(
        "SELECT breakdown_key, name, orders, items, gross_amount, cancelled_orders, refunded_amount, net_amount
         FROM daily_sales_breakdown WHERE business_day = '{day}' AND breakdown = 'PRODUCT'"
    )).await;
    sorted(rows.into_iter().map(|row| row.join("|")).collect())
}

async fn a_day_without_sales_is_a_row_of_zeros(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.mall("seoul", "Asia/Seoul", "KRW").await;
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(
        totals_of(db, "2026-11-19").await,
        ["seoul KRW 0 0 0 0 0 0 0 0 0", "tokyo JPY 0 0 0 0 0 0 0 0 0"]
    );
    assert_eq!(products_of(db, "2026-11-19").await, [""; 0]);
}

async fn a_day_without_sales_in_the_malls_own_currency_has_a_row_of_zeros_for_it(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.order(Order { mall: Mall { currency: "USD", ..tokyo }, ..Order::default() }).await;
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(
        totals_of(db, "2026-11-19").await,
        ["tokyo JPY 0 0 0 0 0 0 0 0 0", "tokyo USD 1 0 1000 0 0 1000 1000 0 0"]
    );
}

async fn an_order_paid_yesterday_and_cancelled_today_counts_once_in_each_day(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.order(Order {
        mall: tokyo,
        status: "ORDER_CANCELLED",
        paid_at: Some("2026-11-18T20:00:00+09:00"),
        cancelled_at: Some("2026-11-19T09:00:00+09:00"),
        lines: &[Line::default()],
        ..Order::default()
    })
    .await;
    reported(db, "2026-11-18", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-18").await, ["tokyo JPY 1 1 1000 0 0 1000 1000 0 0"]);
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 0 0 0 1 0 0 0 0 0"]);
    assert_eq!(products_of(db, "2026-11-18").await, ["P1|Product 1|1|1|1000|0|0|1000"]);
    assert_eq!(products_of(db, "2026-11-19").await, ["P1|Product 1|0|0|0|1|0|0"]);
}

async fn a_partial_refund_counts_on_its_own_day_and_for_its_product(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let lines =
        [Line::default(), Line { product: "P2", name: "Product 2", unit_price: 500, ..Line::default() }];
    let order = db
        .order(Order {
            mall: tokyo,
            total: 1800,
            shipping: 300,
            paid_at: Some("2026-11-18T20:00:00+09:00"),
            lines: &lines,
            ..Order::default()
        })
        .await;
    db.refund(Refund { order, key: "R1", product: Some("P2"), amount: 200, ..Refund::default() }).await;
    db.refund(Refund { order, key: "R2", product: None, amount: 300, ..Refund::default() }).await;
    reported(db, "2026-11-18", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-18").await, ["tokyo JPY 1 2 1800 0 0 1800 1800 0 0"]);
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 0 0 0 0 500 -500 0 0 0"]);
    assert_eq!(
        products_of(db, "2026-11-18").await,
        ["P1|Product 1|1|1|1000|0|0|1000", "P2|Product 2|1|1|500|0|0|500", "||0|0|300|0|0|300"]
    );
    assert_eq!(products_of(db, "2026-11-19").await, ["P2|Product 2|0|0|0|0|200|-200", "||0|0|0|0|300|-300"]);
    breakdowns_add_up(db).await;
}

async fn an_unpaid_order_is_not_a_sale(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let waiting = Order { mall: tokyo, status: "PAYMENT_WAIT", paid_at: None, ..Order::default() };
    db.order(waiting).await;
    // Never paid, but cancelled: the cancellation counts.
    db.order(Order { order_no: "2", cancelled_at: Some("2026-11-19T13:00:00+09:00"), ..waiting }).await;
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 0 0 0 1 0 0 0 0 0"]);
}

async fn an_order_at_midnight_belongs_to_the_new_day(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let paid = [
        ("1", "2026-11-18T00:00:00+09:00", 1),
        ("2", "2026-11-18T23:59:59.999999+09:00", 10),
        ("3", "2026-11-19T00:00:00+09:00", 100),
        ("4", "2026-11-19T00:00:00.000001+09:00", 1000),
        ("5", "2026-11-20T00:00:00+09:00", 10_000),
    ];
    for (order_no, paid_at, total) in paid {
        db.order(Order { mall: tokyo, order_no, total, paid_at: Some(paid_at), ..Order::default() }).await;
    }
    reported(db, "2026-11-18", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-18").await, ["tokyo JPY 2 0 11 0 0 11 6 0 0"]);
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 2 0 1100 0 0 1100 550 0 0"]);
}

async fn an_average_of_half_a_unit_is_rounded_up(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let averages = [("2026-11-17", [1, 0], 1), ("2026-11-18", [1000, 1], 501), ("2026-11-19", [2, 1], 2)];
    for (day, totals, _) in averages {
        for (number, total) in totals.into_iter().enumerate() {
            let (order_no, paid_at) = (format!("{day}-{number}"), format!("{day}T12:00:00+09:00"));
            let order = Order { mall: tokyo, total, ..Order::default() };
            db.order(Order { order_no: &order_no, paid_at: Some(&paid_at), ..order }).await;
        }
    }
    reported(db, "2026-11-17", "2026-11-19", now()).await;
    assert_eq!(
        db.sql("SELECT business_day, average_order_amount FROM daily_sales ORDER BY business_day").await,
        averages.map(|(day, _, average)| [day.to_owned(), average.to_string()])
    );
}

/// Orders of 1, 10, 100 … at instants of New York, reported on a day and the one after it.
async fn gross_of_new_york(db: &mut TestDb, paid: &[&str], from: &str, to: &str) -> Vec<Vec<String>> {
    let mall = db.mall("newyork", "America/New_York", "USD").await;
    for (number, paid_at) in paid.iter().enumerate() {
        let total = 10_i64.pow(u32::try_from(number).unwrap());
        let order_no = number.to_string();
        db.order(Order { mall, order_no: &order_no, total, paid_at: Some(paid_at), ..Order::default() })
            .await;
    }
    reported(db, from, to, now()).await;
    db.sql("SELECT business_day, gross_amount FROM daily_sales ORDER BY business_day").await
}

async fn a_day_of_25_hours_is_reported_completely(db: &mut TestDb) {
    let paid = [
        "2026-11-01T00:00:00-04:00",
        // Half past one, twice.
        "2026-11-01T01:30:00-04:00",
        "2026-11-01T01:30:00-05:00",
        "2026-11-01T23:59:59.999999-05:00",
        "2026-11-02T00:00:00-05:00",
    ];
    assert_eq!(
        gross_of_new_york(db, &paid, "2026-11-01", "2026-11-02").await,
        [["2026-11-01", "1111"], ["2026-11-02", "10000"]]
    );
}

async fn a_day_of_23_hours_is_reported_completely(db: &mut TestDb) {
    let paid = [
        "2026-03-08T00:00:00-05:00",
        "2026-03-08T01:59:59.999999-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-08T23:59:59.999999-04:00",
        "2026-03-09T00:00:00-04:00",
    ];
    assert_eq!(
        gross_of_new_york(db, &paid, "2026-03-08", "2026-03-09").await,
        [["2026-03-08", "1111"], ["2026-03-09", "10000"]]
    );
}

async fn a_refund_of_an_unknown_product_is_kept_under_its_code(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.sql(&format!(
        "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
         VALUES ({}, 'B2', 'りんご', 'ON_SALE', 'JPY', 250, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')",
        tokyo.id
    )).await;
    let order = db
        .order(Order {
            mall: tokyo,
            paid_at: Some("2026-11-01T12:00:00+09:00"),
            lines: &[Line::default()],
            ..Order::default()
        })
        .await;
    db.refund(Refund { order, key: "R1", product: Some("LOST-1"), amount: 400, ..Refund::default() }).await;
    db.refund(Refund { order, key: "R2", product: Some("B2"), amount: 50, ..Refund::default() }).await;
    // Deleted since, but the order still has its name.
    db.refund(Refund { order, key: "R3", product: Some("P1"), amount: 7, ..Refund::default() }).await;
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(
        products_of(db, "2026-11-19").await,
        ["B2|りんご|0|0|0|0|50|-50", "LOST-1||0|0|0|0|400|-400", "P1|Product 1|0|0|0|0|7|-7"]
    );
    breakdowns_add_up(db).await;
}

async fn a_product_on_two_lines_of_an_order_is_in_one_order(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let second = Line { key: Some("second"), quantity: 4, discount: 500, ..Line::default() };
    db.order(Order {
        mall: tokyo,
        total: 4500,
        discount: 500,
        cancelled_at: Some("2026-11-19T13:00:00+09:00"),
        lines: &[Line::default(), second],
        ..Order::default()
    })
    .await;
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 1 5 4500 1 0 4500 4500 0 0"]);
    assert_eq!(products_of(db, "2026-11-19").await, ["P1|Product 1|1|5|4500|1|0|4500"]);
}

async fn a_guest_is_neither_a_new_nor_a_returning_customer(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    for (order_no, member) in [("1", None), ("2", None), ("3", Some("M1"))] {
        db.order(Order { mall: tokyo, order_no, member, ..Order::default() }).await;
    }
    reported(db, "2026-11-19", "2026-11-19", now()).await;
    assert_eq!(totals_of(db, "2026-11-19").await, ["tokyo JPY 3 0 3000 0 0 3000 1000 1 0"]);
}

async fn a_customer_is_new_until_the_first_day_is_over_and_in_each_mall(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let seoul = db.mall("seoul", "Asia/Seoul", "KRW").await;
    let orders = [
        (tokyo, "1", Some("2026-11-18T10:00:00+09:00")),
        (tokyo, "2", Some("2026-11-18T20:00:00+09:00")),
        (tokyo, "3", Some("2026-11-19T10:00:00+09:00")),
        // An order that was never paid makes nobody a customer.
        (seoul, "4", None),
        (seoul, "5", Some("2026-11-19T10:00:00+09:00")),
    ];
    for (mall, order_no, paid_at) in orders {
        let ordered_at = paid_at.unwrap_or("2026-11-17T10:00:00+09:00");
        db.order(Order { mall, order_no, member: Some("M1"), ordered_at, paid_at, ..Order::default() }).await;
    }
    reported(db, "2026-11-18", "2026-11-19", now()).await;
    assert_eq!(
        db.sql(
            "SELECT business_day, code, new_customers, returning_customers
             FROM daily_sales JOIN malls ON id = mall_id ORDER BY business_day, code"
        )
        .await,
        [
            ["2026-11-18", "seoul", "0", "0"],
            ["2026-11-18", "tokyo", "1", "0"],
            ["2026-11-19", "seoul", "1", "0"],
            ["2026-11-19", "tokyo", "0", "1"],
        ]
    );
}

// ---------------------------------------------------------------- tables of which the planner knows nothing

async fn no_statement_compares_each_order_with_each_buyer(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let noon = "'2026-11-19T03:00:00+00:00'";
    for rows in [
        "orders (mall_id, order_no, member_code, status, currency, total_amount, discount_amount, shipping_amount,
             tax_amount, ordered_at, paid_at, created_at, updated_at)
         SELECT 1, 'A' || n, 'M' || n, 'PAID', 'JPY', 1080, 0, 0, 0, {noon}, {noon}, {noon}, {noon}",
        "order_items (order_id, line_key, product_code, product_name, quantity, unit_price_amount, discount_amount,
             tax_amount, line_amount)
         SELECT n, '1', 'P' || n, 'Product', 1, 1080, 0, 0, 1080",
    ] {
        db.fill(4_000, &rows.replace("{noon}", noon)).await;
    }
    let day: NaiveDate = "2026-11-19".parse().unwrap();
    let bounds = || values![1, at("2026-11-18T15:00:00Z"), at("2026-11-19T15:00:00Z")];
    assert!(!db.compares_all_pairs(day_totals::SQL, bounds()).await);
    for breakdown in [BY_PRODUCT, BY_PAYMENT_METHOD] {
        let values = bounds().into_iter().chain(values![day]).collect();
        assert!(!db.compares_all_pairs(breakdown, values).await, "{breakdown}");
    }
}
