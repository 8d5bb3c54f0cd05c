//! Cafe24's records, read into what this program keeps of them.
//!
//! Lenient where the service is loose: numbers as strings, letters for booleans, blanks around keys, times without a
//! zone, lists where one value was meant. Strict about what matters: keys, dates that decide a business day, amounts.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::korean_time;
use crate::money::{minor_to_display, parse_major};

/// A record that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its key, if it has one.
    pub key: Option<String>,
    /// What is wrong with it.
    pub problem: String,
}

/// A member, of `customersprivacy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `member_id`.
    pub code: String,
    /// `name`.
    pub name: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `cellphone`, otherwise `phone`.
    pub phone: Option<String>,
    /// `created_date`.
    pub signed_up_at: DateTime<Utc>,
}

/// An order with its lines, of `orders?embed=items`. Amounts are in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `order_id`.
    pub number: String,
    /// `member_id`; none for a guest's order.
    pub member_code: Option<String>,
    /// The unified schema's status.
    pub status: &'static str,
    /// `currency`, otherwise the mall's.
    pub currency: String,
    /// What the buyer pays as ordered: what is taken back later is a refund.
    pub total_amount: i64,
    /// What was taken off the lines and the shipping.
    pub discount_amount: i64,
    /// `shipping_fee`.
    pub shipping_amount: i64,
    /// The first `payment_method`.
    pub payment_method: Option<String>,
    /// `order_date`.
    pub ordered_at: DateTime<Utc>,
    /// `payment_date`, once all of it is paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// `cancel_date`, if all of it is cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Its lines.
    pub lines: Vec<OrderLine>,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// `order_item_code`.
    pub key: String,
    /// `product_code`, otherwise `product_no`.
    pub product_code: String,
    /// `product_name`, otherwise its code.
    pub product_name: String,
    /// `quantity`.
    pub quantity: i64,
    /// `product_price` and `option_price`.
    pub unit_price_amount: i64,
    /// `additional_discount_price` and `coupon_discount_price`.
    pub discount_amount: i64,
    /// What is left of quantity times price.
    pub line_amount: i64,
}

/// A completed refund, of `refunds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// `refund_code`.
    pub code: String,
    /// `order_id`.
    pub order_number: String,
    /// The line it is for, if it is for just one.
    pub line_key: Option<String>,
    /// `currency`, otherwise the mall's.
    pub currency: String,
    /// `actual_refund_amount`, in minor units.
    pub amount: i64,
    /// `refund_date`.
    pub refunded_at: DateTime<Utc>,
}

/// No shop has a longer key, and an index accepts no more than some thousand bytes.
const MAX_KEY: usize = 200;
/// How much of a value a message quotes.
const MAX_QUOTE: usize = 60;
/// Lines of an order: a wholesale order has hundreds.
const MAX_LINES: usize = 10_000;

/// A record's fields.
pub struct Fields(Map<String, Value>);

type Read<T> = Result<T, String>;

impl Fields {
    /// Reads a record; what is not a JSON object is not a record.
    pub fn of(record: &RawValue) -> Result<Self, BadRecord> {
        match serde_json::from_str(record.get()) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(BadRecord { key: None, problem: "is not a JSON object".to_owned() }),
            Err(error) => Err(BadRecord { key: None, problem: format!("cannot be read: {error}") }),
        }
    }

    /// Its key, if it has one.
    pub fn key(&self, name: &str) -> Option<String> {
        self.text(name).ok().flatten()
    }

    /// Whether it belongs to this shop of the account, or names no shop.
    pub fn is_of_shop(&self, shop_no: i64) -> bool {
        self.key("shop_no").is_none_or(|own| own == shop_no.to_string())
    }

    /// One of its times, if it has it.
    pub fn moment(&self, name: &str) -> Option<DateTime<Utc>> {
        self.time(name).ok().flatten()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        // The service's own samples have keys with trailing blanks.
        self.0
            .get(name)
            .or_else(|| self.0.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value))
            .filter(|value| !value.is_null())
    }

    /// A part of the record.
    fn part(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Value::as_object).map(|fields| Self(fields.clone()))
    }

    fn text(&self, name: &str) -> Read<Option<String>> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(format!("`{name}` is not a string")),
        };
        if text.contains('\0') {
            return Err(format!("`{name}` contains a NUL, which no database can store"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn required(&self, name: &str) -> Read<String> {
        self.text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// The key of this record, or of another one that it refers to.
    fn optional_key(&self, name: &str) -> Read<Option<String>> {
        let key = self.text(name)?;
        match &key {
            Some(key) if key.chars().count() > MAX_KEY => {
                Err(format!("`{name}`: `{}` is too long for a key", quoted(key)))
            }
            _ => Ok(key),
        }
    }

    fn required_key(&self, name: &str) -> Read<String> {
        self.optional_key(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// An order's number: it is requested in a comma-separated list.
    fn order_number(&self) -> Read<String> {
        let number = self.required_key("order_id")?;
        if number.contains(',') {
            return Err(format!("`order_id`: `{number}` contains a comma"));
        }
        Ok(number)
    }

    fn time(&self, name: &str) -> Read<Option<DateTime<Utc>>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.starts_with("0000-00-00") {
            return Ok(None);
        }
        read_time(&text).map(Some).ok_or_else(|| format!("`{name}`: `{}` is not a time", quoted(&text)))
    }

    fn required_time(&self, name: &str) -> Read<DateTime<Utc>> {
        self.time(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// An amount in minor units.
    fn amount(&self, name: &str, currency: &str) -> Read<Option<i64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.len() > MAX_QUOTE {
            return Err(format!("`{name}`: `{}` is not an amount", quoted(&text)));
        }
        let amount = parse_major(&text, currency).map_err(|error| format!("`{name}`: {error}"))?;
        if amount < 0 {
            return Err(format!("`{name}`: `{text}` is negative"));
        }
        Ok(Some(amount))
    }

    /// `T`, `F`, `M` (in part); `F` without it.
    fn letter(&self, name: &str) -> Read<char> {
        match self.get(name) {
            Some(Value::Bool(true)) => Ok('T'),
            None | Some(Value::Bool(false)) => Ok('F'),
            Some(_) => match self.text(name)?.as_deref() {
                None | Some("F" | "f") => Ok('F'),
                Some("T" | "t") => Ok('T'),
                Some("M" | "m") => Ok('M'),
                Some(text) => Err(format!("`{name}`: `{}` is not one of T, F, M", quoted(text))),
            },
        }
    }

    fn currency(&self, mall_currency: &str) -> Read<String> {
        let currency = self.text("currency")?.unwrap_or_else(|| mall_currency.to_owned());
        if crate::money::is_known_currency(&currency) {
            return Ok(currency);
        }
        Err(format!("`currency`: `{}` is not a currency", quoted(&currency)))
    }

    /// The first value of a list, and how many it has; or the single value given instead of a list.
    fn first_of(&self, name: &str) -> Read<(Option<String>, usize)> {
        let Some(Value::Array(values)) = self.get(name) else {
            let value = self.optional_key(name)?;
            let count = usize::from(value.is_some());
            return Ok((value, count));
        };
        let first = values.first().map(|value| Self(Map::from_iter([(name.to_owned(), value.clone())])));
        let first = first.map_or(Ok(None), |first| first.optional_key(name))?;
        Ok((first, values.len()))
    }
}

/// A time with a zone, or in Korean time; a date alone means its midnight.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    korean_time::parse(text)
}

/// Names the record that a problem is about.
fn bad(fields: &Fields, key: &str, problem: String) -> BadRecord {
    // The whole key or none: a retry requests the record by it.
    BadRecord { key: fields.optional_key(key).ok().flatten(), problem }
}

/// A value, or its beginning.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Member {
    /// Reads a member.
    pub fn read(fields: &Fields) -> Result<Self, BadRecord> {
        let read = || {
            Ok(Self {
                code: fields.required_key("member_id")?,
                name: fields.text("name")?,
                email: fields.text("email")?,
                phone: match fields.text("cellphone")? {
                    None => fields.text("phone")?,
                    phone => phone,
                },
                signed_up_at: fields.required_time("created_date")?,
            })
        };
        read().map_err(|problem| bad(fields, "member_id", problem))
    }
}

impl Order {
    /// Reads an order of a mall with this currency.
    pub fn read(fields: &Fields, mall_currency: &str) -> Result<Self, BadRecord> {
        Self::parse(fields, mall_currency).map_err(|problem| bad(fields, "order_id", problem))
    }

    fn parse(fields: &Fields, mall_currency: &str) -> Read<Self> {
        let number = fields.order_number()?;
        let currency = fields.currency(mall_currency)?;
        let lines = read_lines(fields, &currency)?;
        let amounts = fields.part("initial_order_amount");
        let amount = |name| match &amounts {
            Some(amounts) => amounts.amount(name, &currency),
            None => Ok(None),
        };
        let paid = fields.letter("paid")?;
        let payment = match amount("payment_amount")? {
            None => fields.amount("payment_amount", &currency)?,
            payment => payment,
        }
        .ok_or("`payment_amount` is missing")?;
        let due = amount("total_amount_due")?.unwrap_or(0);
        let shipping_amount = amount("shipping_fee")?.unwrap_or(0);
        let price = match amount("order_price_amount")? {
            Some(price) => price,
            None => lines
                .iter()
                .try_fold(0_i64, |sum, line| sum.checked_add(line.line_amount))
                .ok_or("the items' prices are too large")?,
        };
        let total_amount = match paid {
            'T' => payment,
            // What is paid and what is still due make the whole, unless the whole is given as the payment.
            'M' => match payment.checked_add(due) {
                Some(whole) if whole <= price.saturating_add(shipping_amount) => whole,
                _ => payment.max(due),
            },
            _ => payment.max(due),
        };
        let is_cancelled = fields.letter("canceled")? == 'T';
        let status =
            status(is_cancelled, paid, &lines_states(fields), fields.text("shipping_status")?.as_deref());
        let paid_at = match paid {
            'T' => Some(
                fields
                    .required_time("payment_date")
                    .map_err(|problem| format!("{problem}, but the order is paid"))?,
            ),
            _ => None,
        };
        let cancelled_at = if is_cancelled {
            Some(
                fields
                    .required_time("cancel_date")
                    .map_err(|problem| format!("{problem}, but the order is cancelled"))?,
            )
        } else {
            None
        };
        Ok(Self {
            number,
            member_code: fields.optional_key("member_id")?,
            status,
            total_amount,
            discount_amount: price.saturating_add(shipping_amount).saturating_sub(total_amount).max(0),
            shipping_amount,
            payment_method: fields.first_of("payment_method")?.0,
            ordered_at: fields.required_time("order_date")?,
            paid_at,
            cancelled_at,
            lines,
            currency,
        })
    }
}

/// The states of an order's lines (`N30`, `C40`, `R40`), where given.
fn lines_states(fields: &Fields) -> Vec<String> {
    let Some(Value::Array(items)) = fields.get("items") else { return Vec::new() };
    items
        .iter()
        .filter_map(|item| item.get("order_status").and_then(Value::as_str))
        .map(|state| state.trim().to_ascii_uppercase())
        .collect()
}

/// An order is as far as its remaining lines: all delivered (N40, N50), or the first on its way (N30).
fn status(is_cancelled: bool, paid: char, lines: &[String], shipping: Option<&str>) -> &'static str {
    if is_cancelled {
        return "ORDER_CANCELLED";
    }
    if paid != 'T' {
        return "PAYMENT_WAIT";
    }
    let is_done_with = |line: &&String| line.starts_with("C4") || line.starts_with("R4");
    let standing: Vec<&String> = lines.iter().filter(|line| !is_done_with(line)).collect();
    if !lines.is_empty() && standing.is_empty() {
        return "REFUNDED";
    }
    let is_delivered = |line: &&String| line.starts_with("N4") || line.starts_with("N5");
    if !standing.is_empty() {
        return if standing.iter().all(is_delivered) {
            "DELIVERED"
        } else if standing.iter().any(|line| line.starts_with("N3") || is_delivered(line)) {
            "SHIPPED"
        } else {
            "PAID"
        };
    }
    match shipping {
        Some("T") => "DELIVERED",
        Some("M") => "SHIPPED",
        _ => "PAID",
    }
}

fn read_lines(fields: &Fields, currency: &str) -> Read<Vec<OrderLine>> {
    let items = match fields.get("items") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err("`items` is not a list".to_owned()),
    };
    if items.len() > MAX_LINES {
        return Err(format!("has {} items, more than {MAX_LINES}", items.len()));
    }
    let mut lines: Vec<OrderLine> = Vec::with_capacity(items.len());
    let mut keys = HashSet::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Value::Object(item) = item else { return Err("an item is not a JSON object".to_owned()) };
        let line = read_line(&Fields(item.clone()), currency)
            .map_err(|problem| format!("item {}: {problem}", index + 1))?;
        if !keys.insert(line.key.clone()) {
            return Err(format!("item `{}` is in the order twice", line.key));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn read_line(item: &Fields, currency: &str) -> Read<OrderLine> {
    let key = match item.optional_key("order_item_code")? {
        Some(key) => key,
        None => item.required_key("item_no")?,
    };
    let product_code = match item.optional_key("product_code")? {
        Some(code) => code,
        None => item.required_key("product_no")?,
    };
    let quantity = item.required("quantity")?;
    let quantity: i64 = quantity
        .parse()
        .ok()
        .filter(|quantity| *quantity >= 0)
        .ok_or_else(|| format!("`quantity`: `{}` is not a quantity", quoted(&quantity)))?;
    let amount = |name| Ok::<_, String>(item.amount(name, currency)?.unwrap_or(0));
    let price = item.amount("product_price", currency)?.ok_or("`product_price` is missing")?;
    let unit_price_amount =
        price.checked_add(amount("option_price")?).ok_or("`option_price` is too large")?;
    let discount_amount = amount("additional_discount_price")?
        .checked_add(amount("coupon_discount_price")?)
        .ok_or("`coupon_discount_price` is too large")?;
    let gross = unit_price_amount.checked_mul(quantity).ok_or("`quantity` times the price is too large")?;
    Ok(OrderLine {
        key,
        product_name: item.text("product_name")?.unwrap_or_else(|| product_code.clone()),
        product_code,
        quantity,
        unit_price_amount,
        discount_amount,
        line_amount: gross.saturating_sub(discount_amount).max(0),
    })
}

impl Refund {
    /// Reads a refund of a mall with this currency; `None` for one whose money has not been returned yet. One that has
    /// both a date and an amount, but is not completed, is not dropped: whether its money went back, only the shop knows.
    pub fn read(fields: &Fields, mall_currency: &str) -> Result<Option<Self>, BadRecord> {
        let read = || {
            let code = fields.required_key("refund_code")?;
            let status = fields.letter("status")?;
            let currency = fields.currency(mall_currency)?;
            if status != 'T' {
                let amount = fields.amount("actual_refund_amount", &currency)?.filter(|amount| *amount > 0);
                return match (fields.time("refund_date")?, amount) {
                    (Some(at), Some(amount)) => Err(format!(
                        "`status` is `{status}` and not `T`, but it has a `refund_date` ({}) and an amount ({})",
                        korean_time::of(at).format("%Y-%m-%dT%H:%M:%S%:z"),
                        minor_to_display(amount, &currency)
                    )),
                    _ => Ok(None),
                };
            }
            let (line, lines) = fields.first_of("order_item_code")?;
            Ok(Some(Self {
                code,
                order_number: fields.order_number()?,
                line_key: line.filter(|_| lines == 1),
                amount: fields
                    .amount("actual_refund_amount", &currency)?
                    .ok_or("`actual_refund_amount` is missing")?,
                currency,
                refunded_at: fields.required_time("refund_date")?,
            }))
        };
        read().map_err(|problem: String| bad(fields, "refund_code", problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &Value) -> Fields {
        Fields::of(&serde_json::value::to_raw_value(json).expect("it is JSON")).expect("it is an object")
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn a_member_is_read_leniently() {
        let json = serde_json::json!({
            "shop_no": 1, "member_id ": "kim01", "name": " 김민수 ", "cellphone": "", "phone": "02-000-0000",
            "email": null, "created_date": "2026-01-18 11:19:27", "gender ": "M"
        });
        let member = Member::read(&fields(&json)).expect("a member");
        assert_eq!(
            member,
            Member {
                code: "kim01".to_owned(),
                name: Some("김민수".to_owned()),
                email: None,
                phone: Some("02-000-0000".to_owned()),
                signed_up_at: utc("2026-01-18T02:19:27Z"),
            }
        );
    }

    #[test]
    fn a_member_without_a_key_or_a_date_is_bad() {
        let problem = |json| Member::read(&fields(&json)).expect_err("it is bad");
        assert_eq!(
            problem(serde_json::json!({ "member_id": "kim01", "created_date": "yesterday" })),
            BadRecord {
                key: Some("kim01".to_owned()),
                problem: "`created_date`: `yesterday` is not a time".to_owned()
            }
        );
        assert_eq!(
            problem(serde_json::json!({ "created_date": "2026-01-18" })),
            BadRecord { key: None, problem: "`member_id` is missing".to_owned() }
        );
        let hostile = serde_json::json!({ "member_id": "a\u{0}b", "created_date": "2026-01-18" });
        assert_eq!(problem(hostile).problem, "`member_id` contains a NUL, which no database can store");
    }

    /// The order of the fact sheet, with an item.
    fn order() -> Value {
        serde_json::json!({
            "shop_no": 1, "currency": "KRW", "order_id": "20260801-0000077", "member_id": "kim01",
            "order_date": "2026-08-01T10:05:06+09:00", "payment_date": "2026-08-01T11:22:00+09:00",
            "cancel_date": null, "paid": "T", "canceled": "F", "payment_method": ["card"],
            "payment_amount": "30000.00", "shipping_status": "F",
            "initial_order_amount": {
                "order_price_amount": "32500.00", "shipping_fee": "2500.00", "coupon_discount_price": "5000.00",
                "points_spent_amount": "0.00", "total_amount_due": "0.00", "payment_amount": "30000.00"
            },
            "actual_order_amount": { "payment_amount": "10000.00" },
            "items": [{
                "item_no": 1, "order_item_code": "20260801-0000077-01", "product_no": 12, "quantity": "2",
                "product_price": "16000.00", "option_price": 250, "order_status": "N20"
            }]
        })
    }

    #[test]
    fn an_order_is_worth_what_was_ordered_whatever_was_taken_back_since() {
        let read = Order::read(&fields(&order()), "KRW").expect("an order");
        assert_eq!(
            read,
            Order {
                number: "20260801-0000077".to_owned(),
                member_code: Some("kim01".to_owned()),
                status: "PAID",
                currency: "KRW".to_owned(),
                total_amount: 30_000,
                discount_amount: 5_000,
                shipping_amount: 2_500,
                payment_method: Some("card".to_owned()),
                ordered_at: utc("2026-08-01T01:05:06Z"),
                paid_at: Some(utc("2026-08-01T02:22:00Z")),
                cancelled_at: None,
                lines: vec![OrderLine {
                    key: "20260801-0000077-01".to_owned(),
                    product_code: "12".to_owned(),
                    product_name: "12".to_owned(),
                    quantity: 2,
                    unit_price_amount: 16_250,
                    discount_amount: 0,
                    line_amount: 32_500,
                }],
            }
        );
    }

    /// The sample order with some fields changed.
    fn changed(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Order, BadRecord> {
        let mut order = order();
        change(order.as_object_mut().expect("an object"));
        Order::read(&fields(&order), "KRW")
    }

    #[test]
    fn a_guests_order_has_no_member() {
        let order = changed(|order| drop(order.insert("member_id".into(), "".into()))).expect("an order");
        assert_eq!(order.member_code, None);
    }

    #[test]
    fn an_order_that_is_not_paid_yet_is_worth_what_is_to_be_paid() {
        let total = |paid: &str, payment: &str, due: &str| {
            let order = changed(|order| {
                order.insert("paid".into(), paid.into());
                order.insert(
                    "initial_order_amount".into(),
                    serde_json::json!({ "order_price_amount": "30000", "shipping_fee": "0",
                        "payment_amount": payment, "total_amount_due": due }),
                );
            });
            let order = order.expect("an order");
            assert_eq!((order.status, order.paid_at), ("PAYMENT_WAIT", None));
            order.total_amount
        };
        assert_eq!(total("F", "0", "30000"), 30_000);
        assert_eq!(total("F", "30000", "30000"), 30_000);
        assert_eq!(total("M", "10000", "20000"), 30_000);
        assert_eq!(total("M", "30000", "20000"), 30_000);
    }

    #[test]
    fn an_order_is_as_far_as_its_lines() {
        let state = |lines: &[&str]| {
            let items: Vec<Value> = lines
                .iter()
                .enumerate()
                .map(|(index, state)| {
                    serde_json::json!({ "item_no": index, "product_no": 1, "quantity": 1, "product_price": "1",
                        "order_status": state })
                })
                .collect();
            changed(|order| drop(order.insert("items".into(), items.into()))).expect("an order").status
        };
        assert_eq!(state(&["N10", "N20"]), "PAID");
        assert_eq!(state(&["N20", "N40"]), "SHIPPED");
        assert_eq!(state(&["N40", "N50", "C40"]), "DELIVERED");
        assert_eq!(state(&["R40", "C40"]), "REFUNDED");
        assert_eq!(state(&[]), "PAID");
    }

    #[test]
    fn a_cancelled_order_keeps_the_day_it_was_paid() {
        let order = changed(|order| {
            order.insert("canceled".into(), "T".into());
            order.insert("cancel_date".into(), "2026-08-02T00:00:00+09:00".into());
        })
        .expect("an order");
        assert_eq!(order.status, "ORDER_CANCELLED");
        assert_eq!(order.paid_at, Some(utc("2026-08-01T02:22:00Z")));
        assert_eq!(order.cancelled_at, Some(utc("2026-08-01T15:00:00Z")));
    }

    #[test]
    fn what_matters_is_not_guessed() {
        let problem = |name: &str, value: Value| {
            changed(|order| drop(order.insert(name.to_owned(), value))).expect_err("bad")
        };
        assert_eq!(
            problem("payment_date", Value::Null),
            BadRecord {
                key: Some("20260801-0000077".to_owned()),
                problem: "`payment_date` is missing, but the order is paid".to_owned()
            }
        );
        assert_eq!(problem("paid", "Y".into()).problem, "`paid`: `Y` is not one of T, F, M");
        assert_eq!(problem("currency", "WON".into()).problem, "`currency`: `WON` is not a currency");
        assert!(problem("canceled", "T".into()).problem.starts_with("`cancel_date` is missing"));
        let half_a_won = serde_json::json!({ "payment_amount": "0.50" });
        assert!(problem("initial_order_amount", half_a_won).problem.starts_with("`payment_amount`: "));
        let item = serde_json::json!({ "item_no": 1, "product_no": 1, "quantity": 1, "product_price": "1" });
        assert_eq!(
            problem("items", serde_json::json!([item, item])).problem,
            "item `1` is in the order twice"
        );
    }

    #[test]
    fn what_no_database_keeps_is_bad() {
        let problem = |name: &str, value: Value| {
            let mut member = serde_json::json!({ "member_id": "kim01", "created_date": "2026-01-18" });
            member[name] = value;
            Member::read(&fields(&member)).expect_err("it is bad").problem
        };
        for time in ["0000-01-01", "-9999-01-01 00:00:00", "+99999-01-01", "9999-12-31T23:59:59-09:00"] {
            assert_eq!(
                problem("created_date", time.into()),
                format!("`created_date`: `{time}` is not a time")
            );
        }
        let long = "k".repeat(201);
        assert_eq!(
            problem("member_id", long.clone().into()),
            format!("`member_id`: `{}…` is too long for a key", &long[..60])
        );
        let endless = "x".repeat(1_000_000);
        assert!(problem("created_date", endless.into()).len() < 300);
        let nul = changed(|order| drop(order.insert("payment_method".into(), serde_json::json!(["a\u{0}"]))));
        assert!(nul.expect_err("it is bad").problem.contains("NUL"));
        let broken = changed(|order| {
            order.insert("order_id".into(), "k".repeat(150).into());
            order.insert("currency".into(), "WON".into());
        });
        assert_eq!(
            broken.expect_err("it is bad").key,
            Some("k".repeat(150)),
            "a retry asks by the whole key"
        );
        let comma = changed(|order| drop(order.insert("order_id".into(), "1,2".into())));
        assert_eq!(comma.expect_err("it is bad").problem, "`order_id`: `1,2` contains a comma");
    }

    #[test]
    fn an_order_of_more_lines_than_anybody_orders_is_bad_at_once() {
        let item = |number| serde_json::json!({ "item_no": number, "product_no": 1, "quantity": 1, "product_price": "1" });
        let with = |count: usize| {
            let items: Vec<Value> = (0..count).map(item).collect();
            changed(|order| drop(order.insert("items".into(), items.into())))
        };
        assert_eq!(with(MAX_LINES).expect("an order").lines.len(), MAX_LINES);
        assert_eq!(with(MAX_LINES + 1).expect_err("it is bad").problem, "has 10001 items, more than 10000");
    }

    #[test]
    fn only_a_refund_whose_money_went_back_is_one() {
        let refund = serde_json::json!({
            "order_id": "20260801-0000077", "refund_code": "C20260802-0000001",
            "refund_date": "2026-08-02T10:00:00+09:00", "order_item_code": ["20260801-0000077-01"],
            "actual_refund_amount": "9800.00", "currency": "KRW", "status": "T"
        });
        let read = Refund::read(&fields(&refund), "KRW").expect("it is good").expect("it is completed");
        assert_eq!((read.amount, read.line_key.as_deref()), (9_800, Some("20260801-0000077-01")));
        let mut waiting = refund;
        waiting["status"] = "F".into();
        for (name, value) in [("refund_date", Value::Null), ("actual_refund_amount", "0.00".into())] {
            let mut waiting = waiting.clone();
            waiting[name] = value;
            assert_eq!(Refund::read(&fields(&waiting), "KRW"), Ok(None));
        }
        for status in ["F", "M"] {
            waiting["status"] = status.into();
            let bad =
                Refund::read(&fields(&waiting), "KRW").expect_err("whether it is one, only the shop knows");
            assert_eq!(bad.key.as_deref(), Some("C20260802-0000001"));
            assert!(
                bad.problem
                    .starts_with(&format!("`status` is `{status}` and not `T`, but it has a `refund_date`")),
                "{}",
                bad.problem
            );
            assert!(bad.problem.contains("2026-08-02T10:00:00+09:00"), "{}", bad.problem);
            assert!(bad.problem.contains("9,800"), "{}", bad.problem);
        }
    }
}
