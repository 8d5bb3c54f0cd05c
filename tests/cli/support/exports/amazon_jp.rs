//! Amazon's All Orders report: tabs, code page 932, a `"` is an ordinary character, amounts of lines alone, UTC.

use chrono::{NaiveDateTime, TimeZone, Utc};
use chrono_tz::Asia::Tokyo;

use super::model::{Amounts, Fate, Line, Order, contained_tax, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "amazon-order-id,merchant-order-id,purchase-date,last-updated-date,order-status,fulfillment-channel,\
    sales-channel,order-channel,url,ship-service-level,product-name,sku,asin,item-status,quantity,currency,\
    {item|shipping|gift-wrap}-{price|tax},item-promotion-discount,ship-promotion-discount,\
    ship-{city|state|postal-code|country},promotion-ids";

/// Two accounts.
pub(crate) fn exports() -> [Export; 2] {
    [export("amazon-a", 801), export("amazon-b", 802)]
}

fn export(mall: &'static str, seed: u64) -> Export {
    let amounts = Amounts { line_discounts: true, wrapping: true, ..Amounts::SHIPPING };
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, amounts).iter().rev() {
        write(&mut sheet, order);
        told.push(tell(order));
    }
    let form = Form { delimiter: "\t", line_end: "\r\n", quotes: Quotes::Never, encoding: Encoding::Cp932 };
    Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
}

fn write(sheet: &mut Sheet, order: &Order) {
    for (place, line) in order.lines.iter().enumerate() {
        sheet.add(cells(order, line, place, is_priced(order)));
    }
    // An item that the buyer took back before it was shipped, in an order that was.
    if has_cancelled_item(order) {
        let mut cells = cells(order, &order.lines[0], order.lines.len(), false);
        cells.extend([("item-status", "Cancelled".to_owned()), ("quantity", "0".to_owned())]);
        sheet.add(cells);
    }
}

fn cells(order: &Order, line: &Line, place: usize, is_priced: bool) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let status = status(order);
    let mut cells = vec![
        ("amazon-order-id", format!("250-{:07}-{:07}", order.serial, order.serial * 31 % 10_000_000)),
        ("purchase-date", time(order.ordered_at)),
        ("last-updated-date", time(last_updated_at(order))),
        ("order-status", text(status)),
        ("fulfillment-channel", text(if order.payment == 0 { "Merchant" } else { "Amazon" })),
        ("sales-channel", text("Amazon.co.jp")),
        ("ship-service-level", text("Standard")),
        ("product-name", item_name(line)),
        ("sku", line.product.code.unwrap_or_default().to_owned()),
        ("asin", asin(line)),
        ("item-status", text(if status.starts_with("Shipped") { "Shipped" } else { status })),
        ("quantity", line.quantity.to_string()),
        ("currency", text("JPY")),
        ("ship-city", text("札幌市")),
        ("ship-postal-code", text("060-0001")),
        ("ship-country", text("JP")),
    ];
    if is_priced {
        // Amounts of an order stand on its first line, or nowhere.
        let once = |amount: i64| if place == 0 { money(amount) } else { String::new() };
        cells.extend([
            ("item-price", money(line.price())),
            ("item-tax", money(contained_tax(line.price()))),
            ("shipping-price", once(order.shipping)),
            ("shipping-tax", once(contained_tax(order.shipping))),
            ("gift-wrap-price", once(order.wrapping)),
            ("item-promotion-discount", if line.discount > 0 { money(line.discount) } else { String::new() }),
            ("ship-promotion-discount", once(shipping_discount(order))),
        ]);
    }
    cells
}

/// The report has no refunds and no buyers: what was sent back was sold, what was cancelled was not.
fn tell(order: &Order) -> Told {
    let line = |line: &Line| ToldLine {
        code: line.product.code.map_or_else(|| asin(line), str::to_owned),
        name: Encoding::Cp932.text(&item_name(line)),
        quantity: line.quantity,
        amount: if is_priced(order) { line.amount() } else { 0 },
        discount: if is_priced(order) { line.discount } else { 0 },
        tax: if is_priced(order) { contained_tax(line.price()) } else { 0 },
    };
    let lines: Vec<ToldLine> = order.lines.iter().map(line).collect();
    let is_priced = is_priced(order);
    let amount = |amount: i64| if is_priced { amount } else { 0 };
    let discounts = order.lines.iter().map(|line| line.discount).sum::<i64>() + shipping_discount(order);
    let taxes = order.lines.iter().map(|line| contained_tax(line.price())).sum::<i64>();
    Told {
        member: None,
        payment: String::new(),
        total: amount(order.total() - shipping_discount(order)),
        discount: amount(discounts),
        shipping: amount(order.shipping),
        tax: amount(taxes + contained_tax(order.shipping)),
        paid: order.is_sold().then(|| order.ordered_at.date()),
        cancelled: order.is_cancelled().then(|| last_updated_at(order).date()),
        refund: None,
        lines,
    }
}

fn status(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting => "Pending",
        Fate::Paid => ["Unshipped", "Shipping", "Unshipped", "Unshipped"][order.payment],
        Fate::Shipped | Fate::PartlyRefunded => {
            ["Shipped", "Shipped - Out for Delivery", "Shipped - Picked Up", "Shipped"][order.payment]
        }
        Fate::Delivered | Fate::Refunded => "Shipped - Delivered to Buyer",
        Fate::CancelledUnpaid | Fate::CancelledPaid => "Cancelled",
    }
}

/// Prices of orders that are pending or cancelled are blank.
fn is_priced(order: &Order) -> bool {
    order.is_sold()
}

fn has_cancelled_item(order: &Order) -> bool {
    order.is_shipped() && order.serial.is_multiple_of(13)
}

/// Shipping that a promotion pays.
fn shipping_discount(order: &Order) -> i64 {
    if order.payment == 3 && is_priced(order) { order.shipping } else { 0 }
}

fn last_updated_at(order: &Order) -> NaiveDateTime {
    order.ended_at.or(order.paid_at).unwrap_or(order.ordered_at)
}

/// `2026-07-01T00:05:00+00:00`.
fn time(local: NaiveDateTime) -> String {
    let time = Tokyo.from_local_datetime(&local).single().expect("Japan does not change the clock");
    time.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// `2470.00`.
fn money(yen: i64) -> String {
    format!("{yen}.00")
}

fn asin(line: &Line) -> String {
    format!("B0{:08}", line.product.id % 100_000_000)
}

/// A name may begin with a quote that nothing closes.
fn item_name(line: &Line) -> String {
    let name = format!("{} {}", line.product.name, line.product.variant);
    let name = name.trim_end();
    if line.product.code == Some("MON-24") { format!("\"限定 {name}") } else { name.to_owned() }
}
