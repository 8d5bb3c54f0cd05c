//! Shopify's `orders_export.csv`: UTF-8, an order's further lines mostly blank, instants with their offset, 79 columns.

use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::model::{Amounts, Fate, Line, Order, contained_tax, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,\
    Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,\
    Lineitem {quantity|name|price|compare at price|sku|requires shipping|taxable|fulfillment status},\
    {Billing|Shipping} {Name|Street|Address1|Address2|Company|City|Zip|Province|Country|Phone},\
    Notes,Note Attributes,Cancelled at,Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,\
    Employee,Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax {1|2|3|4|5} {Name|Value},Phone,\
    Receipt Number,Duties,Billing Province Name,Shipping Province Name,Payment ID,Payment Terms Name,\
    Next Payment Due At,Payment References";

const PAYMENTS: [&str; 4] =
    ["Shopify Payments", "Cash on Delivery (COD)", "Bank Deposit", "shopify_payments + gift_card"];

/// Two shops: one in Tokyo, whose prices are with tax, and one in New York, whose taxes come on top and where daylight
/// saving time ends in between.
pub(crate) fn exports() -> [Export; 2] {
    [export("tokyo", "Asia/Tokyo", "JPY", 101), export("newyork", "America/New_York", "USD", 102)]
}

/// A shop of this platform.
struct Shop {
    time_zone: Tz,
    currency: &'static str,
}

fn export(mall: &'static str, time_zone: &'static str, currency: &'static str, seed: u64) -> Export {
    let shop = Shop { time_zone: time_zone.parse().expect("a time zone"), currency };
    let amounts = Amounts { line_discounts: true, coupons: true, ..Amounts::SHIPPING };
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    // The newest is first.
    for order in orders(seed, amounts).iter().rev() {
        shop.write(&mut sheet, order);
        told.push(shop.told(order));
    }
    let form = Form { delimiter: ",", line_end: "\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Utf8 };
    Export { mall, time_zone, currency, file: sheet.file(form), told }
}

impl Shop {
    fn is_tax_on_top(&self) -> bool {
        self.currency == "USD"
    }

    /// `1200.00`, also in yen.
    fn money(&self, minor: i64) -> String {
        if self.currency == "JPY" {
            format!("{minor}.00")
        } else {
            format!("{}.{:02}", minor / 100, minor % 100)
        }
    }

    /// `2026-07-01 09:05:00 +0900`. Of an hour that comes twice, the first.
    fn time(&self, local: NaiveDateTime) -> String {
        let time = self.time_zone.from_local_datetime(&local).earliest().expect("the hour exists");
        time.format("%Y-%m-%d %H:%M:%S %z").to_string()
    }

    fn taxes(&self, order: &Order) -> i64 {
        let taxed = order.goods() - order.coupon + order.shipping;
        if self.is_tax_on_top() { taxed * 8 / 100 } else { contained_tax(taxed) }
    }

    fn total(&self, order: &Order) -> i64 {
        order.total() + if self.is_tax_on_top() { self.taxes(order) } else { 0 }
    }

    fn paid_back(&self, order: &Order) -> i64 {
        match order.fate {
            Fate::Refunded => self.total(order),
            _ => order.paid_back,
        }
    }

    fn write(&self, sheet: &mut Sheet, order: &Order) {
        for (place, line) in order.lines.iter().enumerate() {
            let mut cells = self.line_cells(order, line);
            if place == 0 {
                cells.extend(self.order_cells(order));
            } else if order.serial.is_multiple_of(2) {
                cells.push(("Created at", self.time(order.ordered_at)));
            }
            sheet.add(cells);
        }
    }

    fn line_cells(&self, order: &Order, line: &Line) -> Vec<(&'static str, String)> {
        vec![
            ("Name", format!("#{}", 1000 + order.serial)),
            ("Email", email(order)),
            ("Lineitem quantity", line.quantity.to_string()),
            ("Lineitem name", item_name(line)),
            ("Lineitem price", self.money(line.product.price)),
            ("Lineitem sku", line.product.code.unwrap_or_default().to_owned()),
            ("Lineitem requires shipping", "true".to_owned()),
            ("Lineitem taxable", "true".to_owned()),
            ("Lineitem fulfillment status", fulfillment(order).to_owned()),
            ("Lineitem discount", self.money(line.discount)),
            ("Vendor", "Example, Inc.".to_owned()),
        ]
    }

    fn order_cells(&self, order: &Order) -> Vec<(&'static str, String)> {
        let time = |time: Option<NaiveDateTime>| time.map(|time| self.time(time)).unwrap_or_default();
        let text = |text: &str| text.to_owned();
        vec![
            ("Financial Status", text(financial_status(order))),
            ("Paid at", time(order.paid_at)),
            ("Fulfillment Status", text(fulfillment(order))),
            ("Fulfilled at", time(order.paid_at.filter(|_| order.is_shipped()))),
            ("Accepts Marketing", text("no")),
            ("Currency", text(self.currency)),
            ("Subtotal", self.money(order.goods() - order.coupon)),
            ("Shipping", self.money(order.shipping)),
            ("Taxes", self.money(self.taxes(order))),
            ("Total", self.money(self.total(order))),
            ("Discount Code", text(if order.coupon > 0 { "AUTUMN10" } else { "" })),
            ("Discount Amount", self.money(order.coupon)),
            ("Shipping Method", text("通常配送")),
            ("Created at", self.time(order.ordered_at)),
            ("Billing Name", text("山田, 花子")),
            ("Billing Zip", text("'0600001")),
            ("Shipping Zip", text("'0600001")),
            ("Shipping Country", text("JP")),
            ("Notes", text(order.note)),
            ("Cancelled at", time(cancelled_at(order))),
            ("Payment Method", text(PAYMENTS[order.payment])),
            ("Payment Reference", format!("c{:024}.1", order.serial)),
            ("Refunded Amount", self.money(self.paid_back(order))),
            ("Outstanding Balance", self.money(0)),
            ("Id", format!("62{:011}", order.serial)),
            ("Risk Level", text("Low")),
            ("Source", text("web")),
            ("Tax 1 Name", text("消費税 10%")),
            ("Tax 1 Value", self.money(self.taxes(order))),
            ("Phone", phone(order)),
        ]
    }

    fn told(&self, order: &Order) -> Told {
        let paid = order.paid_at.map(|time| time.date());
        let cancelled = match order.fate {
            // Without a time of its own, on the day of the order.
            Fate::CancelledUnpaid => cancelled_at(order).or(Some(order.ordered_at)),
            _ => cancelled_at(order),
        };
        let cancelled = cancelled.map(|time| time.date());
        let refund = (self.paid_back(order) > 0)
            .then(|| (cancelled.or(paid).expect("it was paid"), self.paid_back(order)));
        let member = Some(email(order)).filter(|email| !email.is_empty());
        let phone = Some(phone(order).trim_start_matches('\'').to_owned()).filter(|phone| !phone.is_empty());
        Told {
            member: member.or(phone),
            payment: PAYMENTS[order.payment].to_owned(),
            total: self.total(order),
            discount: order.coupon,
            shipping: order.shipping,
            tax: self.taxes(order),
            paid,
            cancelled,
            refund,
            lines: order.lines.iter().map(told_line).collect(),
        }
    }
}

fn told_line(line: &Line) -> ToldLine {
    let name = item_name(line);
    ToldLine {
        code: line.product.code.map_or_else(|| name.clone(), str::to_owned),
        name,
        quantity: line.quantity,
        amount: line.amount(),
        discount: line.discount,
        tax: 0,
    }
}

/// The option is in the name alone: `Mug - Red / L`.
fn item_name(line: &Line) -> String {
    let product = line.product;
    if product.variant.is_empty() {
        product.name.to_owned()
    } else {
        format!("{} - {}", product.name, product.variant)
    }
}

/// Some buyers leave no address, and of these some a phone number.
fn email(order: &Order) -> String {
    order.email()
}

fn phone(order: &Order) -> String {
    match order.buyer {
        None if order.serial.is_multiple_of(3) => format!("'8190{:08}", order.serial % 50),
        _ => String::new(),
    }
}

fn financial_status(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting => ["pending", "authorized", "partially_paid"][order.payment % 3],
        Fate::Paid | Fate::Shipped | Fate::Delivered | Fate::CancelledPaid => "paid",
        Fate::CancelledUnpaid if order.payment == 3 => "expired",
        Fate::CancelledUnpaid => "voided",
        Fate::Refunded => "refunded",
        Fate::PartlyRefunded => "partially_refunded",
    }
}

fn fulfillment(order: &Order) -> &'static str {
    match order.fate {
        Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => "fulfilled",
        Fate::Refunded if order.payment < 2 => "fulfilled",
        Fate::Paid if order.payment == 0 => "partial",
        Fate::Paid if order.payment == 1 => "unfulfilled",
        _ => "",
    }
}

/// A refund comes with or without a cancellation; an order that expired has no time of it.
fn cancelled_at(order: &Order) -> Option<NaiveDateTime> {
    let is_cancelled = match order.fate {
        Fate::CancelledUnpaid => order.payment != 3,
        Fate::CancelledPaid => true,
        Fate::Refunded => order.payment >= 2,
        _ => false,
    };
    order.ended_at.filter(|_| is_cancelled)
}

/// The day by the mall's clock is the one that was meant, also where the clock changes.
#[test]
fn a_time_is_written_with_the_offset_of_its_day() {
    let shop = Shop { time_zone: chrono_tz::America::New_York, currency: "USD" };
    let at = |text: &str| shop.time(text.parse().unwrap());
    assert_eq!(at("2026-10-31T23:59:59"), "2026-10-31 23:59:59 -0400");
    assert_eq!(at("2026-11-01T01:30:00"), "2026-11-01 01:30:00 -0400");
    assert_eq!(at("2026-11-02T00:00:00"), "2026-11-02 00:00:00 -0500");
}
