//! `WooCommerce` by the plugin Advanced Order Export: its default columns, status in the site's language, minutes of the
//! site's clock.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const BEFORE_QUANTITY: &str = "Order Number,Order Status,Order Date,Customer Note,\
    {First Name|Last Name|Company|Address 1&2|City|State Code|Postcode|Country Code|Email|Phone} (Billing),\
    {First Name|Last Name|Address 1&2|City|State Code|Postcode|Country Code} (Shipping),Payment Method Title,\
    Cart Discount Amount,Order Subtotal Amount,Shipping Method Title,Order Shipping Amount,Order Refund Amount,\
    Order Total Amount,Order Total Tax Amount,SKU,Item #,Item Name";
const AFTER_QUANTITY: &str = "Item Cost,Coupon Code,Discount Amount,Discount Amount Tax";

const PAYMENTS: [&str; 4] = ["クレジットカード", "代金引換", "銀行振込", "Amazon Pay"];

/// Two sites: a new version of the plugin, which repeats the order on each line, in English; an older one, which leaves
/// it blank after the first, in Japanese.
pub(crate) fn exports() -> [Export; 2] {
    let english = Site {
        quantity: "Quantity (- Refund)",
        is_repeated: true,
        words: [
            "Pending payment",
            "On hold",
            "Processing",
            "Completed",
            "Cancelled",
            "Failed",
            "Refunded",
            "Draft",
        ],
        decimals: 0,
    };
    let japanese = Site {
        quantity: "Quantity",
        is_repeated: false,
        words: ["支払い待ち", "保留中", "処理中", "完了", "キャンセル", "失敗", "返金済み", "下書き"],
        decimals: 2,
    };
    [
        english.export("tokyo", "Asia/Tokyo", "JPY", 201),
        japanese.export("angeles", "America/Los_Angeles", "USD", 202),
    ]
}

/// A site with this plugin.
struct Site {
    quantity: &'static str,
    is_repeated: bool,
    /// Waiting for payment, on hold, paid, shipped, cancelled, failed, paid back, a draft.
    words: [&'static str; 8],
    decimals: usize,
}

impl Site {
    fn export(
        &self,
        mall: &'static str,
        time_zone: &'static str,
        currency: &'static str,
        seed: u64,
    ) -> Export {
        let header = format!("{BEFORE_QUANTITY},{},{AFTER_QUANTITY}", self.quantity);
        let mut sheet = Sheet::new(&header);
        let mut told = Vec::new();
        for order in orders(seed, Amounts { coupons: true, ..Amounts::SHIPPING }) {
            self.write(&mut sheet, &order);
            if !is_draft(&order) {
                told.push(Self::told(&order));
            }
        }
        let form =
            Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Utf8 };
        Export { mall, time_zone, currency, file: sheet.file(form), told }
    }

    fn money(&self, minor: i64) -> String {
        if self.decimals == 0 { minor.to_string() } else { format!("{}.{:02}", minor / 100, minor % 100) }
    }

    fn write(&self, sheet: &mut Sheet, order: &Order) {
        for (place, line) in order.lines.iter().enumerate() {
            let mut cells = if place == 0 || self.is_repeated { self.order_cells(order) } else { vec![] };
            cells.push(("Order Number", order_no(order)));
            cells.extend(self.line_cells(line, place));
            if place == 0 && order.coupon > 0 {
                cells.push(("Coupon Code", "autumn10".to_owned()));
                cells.push(("Discount Amount", self.money(order.coupon)));
            }
            sheet.add(cells);
        }
        // A second coupon has a row even where the order has no second item.
        if order.coupon > 0 && order.lines.len() == 1 && order.serial.is_multiple_of(4) {
            let mut cells = if self.is_repeated { self.order_cells(order) } else { vec![] };
            cells.extend([("Order Number", order_no(order)), ("Coupon Code", "freeship".to_owned())]);
            sheet.add(cells);
        }
    }

    fn order_cells(&self, order: &Order) -> Vec<(&'static str, String)> {
        let text = |text: &str| text.to_owned();
        vec![
            ("Order Status", text(self.status(order))),
            ("Order Date", order.ordered_at.format("%Y-%m-%d %H:%M").to_string()),
            ("Customer Note", text(order.note)),
            ("First Name (Billing)", text("花子")),
            ("Last Name (Billing)", text("髙橋")),
            ("Postcode (Billing)", text("0600001")),
            ("Email (Billing)", order.email()),
            ("Phone (Billing)", text("09000000000")),
            ("Payment Method Title", text(PAYMENTS[order.payment])),
            ("Cart Discount Amount", self.money(order.coupon)),
            ("Order Subtotal Amount", self.money(order.goods())),
            ("Shipping Method Title", text("通常配送, ポスト")),
            ("Order Shipping Amount", self.money(order.shipping)),
            ("Order Refund Amount", self.money(paid_back(order))),
            ("Order Total Amount", self.money(total(order))),
            ("Order Total Tax Amount", self.money(tax(order))),
        ]
    }

    fn line_cells(&self, line: &Line, place: usize) -> [(&'static str, String); 5] {
        [
            ("SKU", line.product.code.unwrap_or_default().to_owned()),
            ("Item #", (place + 1).to_string()),
            ("Item Name", item_name(line)),
            (self.quantity, line.quantity.to_string()),
            ("Item Cost", self.money(line.product.price)),
        ]
    }

    fn status(&self, order: &Order) -> &'static str {
        if is_draft(order) {
            return self.words[7];
        }
        self.words[match order.fate {
            Fate::Waiting => order.payment % 2,
            Fate::Paid => 2,
            // Who paid back a part has usually shipped; the word does not change.
            Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => 3,
            Fate::CancelledUnpaid if order.payment == 0 => 5,
            Fate::CancelledUnpaid | Fate::CancelledPaid => 4,
            Fate::Refunded => 6,
        }]
    }

    /// The file has the time of the order alone: all counts for that day, and what was cancelled was never sold.
    fn told(order: &Order) -> Told {
        let day = order.ordered_at.date();
        let line = |line: &Line| ToldLine {
            code: line.product.code.map_or_else(|| item_name(line), str::to_owned),
            name: item_name(line),
            quantity: line.quantity,
            amount: line.amount(),
            discount: 0,
            tax: 0,
        };
        Told {
            member: Some(order.email()).filter(|email| !email.is_empty()),
            payment: PAYMENTS[order.payment].to_owned(),
            total: total(order),
            discount: order.coupon,
            shipping: order.shipping,
            tax: tax(order),
            paid: order.is_sold().then_some(day),
            cancelled: order.is_cancelled().then_some(day),
            refund: (paid_back(order) > 0).then(|| (day, paid_back(order))),
            lines: order.lines.iter().map(line).collect(),
        }
    }
}

/// An order that a buyer has begun, which `WooCommerce` numbers like any other.
fn is_draft(order: &Order) -> bool {
    order.fate == Fate::Waiting && order.serial.is_multiple_of(7)
}

fn order_no(order: &Order) -> String {
    (20_000 + order.serial).to_string()
}

/// Prices are without tax.
fn tax(order: &Order) -> i64 {
    (order.goods() - order.coupon + order.shipping) / 10
}

fn total(order: &Order) -> i64 {
    order.total() + tax(order)
}

fn paid_back(order: &Order) -> i64 {
    if order.fate == Fate::Refunded { total(order) } else { order.paid_back }
}

fn item_name(line: &Line) -> String {
    let product = line.product;
    if product.variant.is_empty() {
        product.name.to_owned()
    } else {
        format!("{} - {}", product.name, product.variant)
    }
}
