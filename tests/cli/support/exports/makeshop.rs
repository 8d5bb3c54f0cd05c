//! `MakeShop`: a template that the shop makes. Only the columns of the order itself are known; the others are named here as a
//! shop might.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "日付,注文時間,注文番号,処理状況,注文者,注文者(振り仮名),会員,支払方法,商品コード,品名,単価,個数,送料,合計金額,明細番号";

const PAYMENTS: [&str; 4] = ["クレジットカード", "代金引換", "銀行振込", "ｺﾝﾋﾞﾆ"];

/// What the shop has to add, since the template is its own.
pub(crate) const SECTION: &str = r#"
[import.orders]
preset = "makeshop"
[import.orders.columns]
member_code = "会員"
payment_method = "支払方法"
product_code = "商品コード"
product_name = "品名"
unit_price_amount = "単価"
quantity = "個数"
shipping_amount = "送料"
total_amount = "合計金額"
line_no = "明細番号"
"#;

/// Two shops.
pub(crate) fn exports() -> [Export; 2] {
    [export("ms-a", 601), export("ms-b", 602)]
}

fn export(mall: &'static str, seed: u64) -> Export {
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, Amounts::SHIPPING) {
        for (place, line) in order.lines.iter().enumerate() {
            sheet.add(cells(&order, line, place));
        }
        told.push(tell(&order));
    }
    let form =
        Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Cp932 };
    Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
}

fn cells(order: &Order, line: &Line, place: usize) -> Vec<(&'static str, String)> {
    vec![
        ("日付", order.ordered_at.format("%Y/%-m/%-d").to_string()),
        ("注文時間", order.ordered_at.format("%H%M%S").to_string()),
        ("注文番号", format!("P{:018}", order.serial)),
        ("処理状況", status(order).to_owned()),
        ("注文者", "髙橋 \"花子\"".to_owned()),
        ("注文者(振り仮名)", "ﾀｶﾊｼ ﾊﾅｺ".to_owned()),
        ("会員", order.buyer.map(|buyer| format!("m{buyer}")).unwrap_or_default()),
        ("支払方法", PAYMENTS[order.payment].to_owned()),
        ("商品コード", code(line)),
        ("品名", line.product.name.to_owned()),
        ("単価", line.product.price.to_string()),
        ("個数", line.quantity.to_string()),
        ("送料", order.shipping.to_string()),
        ("合計金額", order.total().to_string()),
        ("明細番号", (place + 1).to_string()),
    ]
}

/// Whether an order is paid shows when it is shipped. What was cancelled was never sold.
fn tell(order: &Order) -> Told {
    let day = order.ordered_at.date();
    let line = |line: &Line| ToldLine {
        code: code(line),
        name: Encoding::Cp932.text(line.product.name),
        quantity: line.quantity,
        amount: line.amount(),
        discount: 0,
        tax: 0,
    };
    Told {
        member: order.buyer.map(|buyer| format!("m{buyer}")),
        payment: PAYMENTS[order.payment].to_owned(),
        total: order.total(),
        discount: 0,
        shipping: order.shipping,
        tax: 0,
        paid: order.is_shipped().then_some(day),
        cancelled: order.is_cancelled().then_some(day),
        refund: (order.fate == Fate::Refunded).then(|| (day, order.total())),
        lines: order.lines.iter().map(line).collect(),
    }
}

fn status(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting | Fate::Paid => "未処理",
        Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => "配送",
        Fate::CancelledUnpaid | Fate::CancelledPaid => "注文キャンセル",
        Fate::Refunded => "返送",
    }
}

fn code(line: &Line) -> String {
    line.product.code.map_or_else(|| line.product.id.to_string(), str::to_owned)
}
