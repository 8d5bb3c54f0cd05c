//! `WooCommerce` by `SkyVerge`'s plugin: a row for each item that repeats the order, `WooCommerce`'s own words for states,
//! amounts with two decimals and without tax.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "order_id,order_number,order_number_formatted,date,status,shipping_total,shipping_tax_total,fee_total,\
    fee_tax_total,tax_total,discount_total,order_total,refunded_total,order_currency,payment_method,shipping_method,\
    customer_id,billing_{first_name|last_name|company|email|phone|address_1|address_2|postcode|city|state|country},\
    shipping_{first_name|last_name|address_1|address_2|postcode|city|state|country|company},customer_note,\
    item_{id|product_id|name|sku|quantity|subtotal|subtotal_tax|total|total_tax|refunded|refunded_qty|meta},shipping_items,\
    fee_items,tax_items,coupon_items,refunds,order_notes,download_permissions_granted";

const PAYMENTS: [&str; 4] = ["stripe", "cod", "bacs", "amazon_payments_advanced"];

/// Two sites.
pub(crate) fn exports() -> [Export; 2] {
    [
        export(Site { mall: "kyoto", time_zone: "Asia/Tokyo", currency: "JPY", minor: 1 }, 211),
        export(Site { mall: "boston", time_zone: "America/New_York", currency: "USD", minor: 100 }, 212),
    ]
}

#[derive(Clone, Copy)]
struct Site {
    mall: &'static str,
    time_zone: &'static str,
    currency: &'static str,
    /// Minor units of a major one.
    minor: i64,
}

impl Site {
    /// Two decimals, whatever the currency has.
    fn money(self, amount: i64) -> String {
        format!("{}.{:02}", amount / self.minor, amount % self.minor)
    }
}

fn export(site: Site, seed: u64) -> Export {
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, Amounts { coupons: true, fees: true, ..Amounts::SHIPPING }) {
        for place in 0..order.lines.len() {
            let mut cells = order_cells(site, &order);
            cells.extend(item_cells(site, &order, place));
            sheet.add(cells);
        }
        if !is_draft(&order) {
            told.push(tell(&order));
        }
    }
    let form = Form { delimiter: ",", line_end: "\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Utf8 };
    let Site { mall, time_zone, currency, .. } = site;
    Export { mall, time_zone, currency, file: sheet.file(form), told }
}

fn order_cells(site: Site, order: &Order) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("order_id", (90_000 + order.serial).to_string()),
        ("order_number", order.serial.to_string()),
        ("order_number_formatted", format!("WC-{:06}", order.serial)),
        ("date", order.ordered_at.format("%Y-%m-%d %H:%M:%S").to_string()),
        ("status", text(status(order))),
        ("shipping_total", site.money(order.shipping)),
        ("shipping_tax_total", site.money(order.shipping / 10)),
        ("fee_total", site.money(order.fee)),
        ("fee_tax_total", site.money(0)),
        ("tax_total", site.money(tax(order))),
        ("discount_total", site.money(order.coupon)),
        ("order_total", site.money(total(order))),
        ("refunded_total", site.money(paid_back(order))),
        ("order_currency", text(site.currency)),
        ("payment_method", text(PAYMENTS[order.payment])),
        ("customer_id", order.buyer.unwrap_or(0).to_string()),
        ("billing_email", text("buyer@example.com")),
        ("billing_postcode", text("0600001")),
        ("customer_note", text(order.note)),
        ("shipping_items", text("id:7|method_id:flat_rate|method_title:通常配送, ポスト")),
    ]
}

fn item_cells(site: Site, order: &Order, place: usize) -> [(&'static str, String); 10] {
    let line = &order.lines[place];
    let (amount, tax) = (item_total(order, place), item_total(order, place) / 10);
    [
        ("item_id", (500_000 + order.serial * 10 + place as u64).to_string()),
        ("item_product_id", line.product.id.to_string()),
        ("item_name", item_name(line)),
        ("item_sku", line.product.code.unwrap_or_default().to_owned()),
        ("item_quantity", line.quantity.to_string()),
        ("item_subtotal", site.money(line.price())),
        ("item_subtotal_tax", site.money(line.price() / 10)),
        ("item_total", site.money(amount)),
        ("item_total_tax", site.money(tax)),
        ("item_refunded", site.money(0)),
    ]
}

fn status(order: &Order) -> &'static str {
    if is_draft(order) {
        return "checkout-draft";
    }
    match order.fate {
        Fate::Waiting => ["pending", "on-hold"][order.payment % 2],
        Fate::Paid => "processing",
        Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => "completed",
        Fate::CancelledUnpaid => ["failed", "trash", "cancelled", "cancelled"][order.payment],
        Fate::CancelledPaid => "cancelled",
        Fate::Refunded => "refunded",
    }
}

fn is_draft(order: &Order) -> bool {
    order.fate == Fate::Waiting && order.serial.is_multiple_of(7)
}

/// The file has the time of the order alone: all counts for that day, and what was cancelled was never sold.
fn tell(order: &Order) -> Told {
    let day = order.ordered_at.date();
    let line = |(place, line): (usize, &Line)| ToldLine {
        code: line.product.code.map_or_else(|| item_name(line), str::to_owned),
        name: item_name(line),
        quantity: line.quantity,
        amount: item_total(order, place),
        discount: line.price() - item_total(order, place),
        tax: item_total(order, place) / 10,
    };
    Told {
        member: order.buyer.map(|buyer| buyer.to_string()),
        payment: PAYMENTS[order.payment].to_owned(),
        total: total(order),
        discount: order.coupon,
        shipping: order.shipping,
        tax: tax(order),
        paid: order.is_sold().then_some(day),
        cancelled: order.is_cancelled().then_some(day),
        refund: (paid_back(order) > 0).then(|| (day, paid_back(order))),
        lines: order.lines.iter().enumerate().map(line).collect(),
    }
}

/// What is left of an item's price after its share of the order's coupon: the first items bear as much as they can.
fn item_total(order: &Order, place: usize) -> i64 {
    let before: i64 = order.lines[..place].iter().map(Line::price).sum();
    let price = order.lines[place].price();
    price - (order.coupon - before).clamp(0, price)
}

fn tax(order: &Order) -> i64 {
    let of_items: i64 = (0..order.lines.len()).map(|place| item_total(order, place) / 10).sum();
    of_items + order.shipping / 10
}

fn total(order: &Order) -> i64 {
    order.total() + tax(order)
}

fn paid_back(order: &Order) -> i64 {
    if order.fate == Fate::Refunded { total(order) } else { order.paid_back }
}

fn item_name(line: &Line) -> String {
    format!("{} {}", line.product.name, line.product.variant).trim_end().to_owned()
}
