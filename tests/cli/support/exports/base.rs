//! BASE's orders: code page 932, a row for each item with the order repeated, no column for the order's total.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "注文ID,注文日時,{氏|名|郵便番号|都道府県|住所|住所2|電話番号|メールアドレス}(請求先),\
    {氏|名|郵便番号|都道府県|住所|住所2|電話番号}(配送先),備考,商品名,バリエーション,価格,税率,数量,合計金額,送料,支払い方法,\
    代引き手数料,発送状況,商品ID,種類ID,購入元,配送日,配送時間帯,注文メモ,調整金額";
/// What apps of the platform add.
const HEADER_WITH_APPS: &str = ",商品コード,種類コード,JAN / GTIN,特典";

const PAYMENTS: [&str; 4] = ["クレジットカード決済", "代引き", "銀行振込決済", "ｷｬﾘｱ決済"];

/// What a surcharge for an option costs.
const SURCHARGE: i64 = 300;
/// The name of a surcharge's row, which has no product.
const SURCHARGE_NAME: &str = "商品オプション「名入れ」";

/// Two shops, the second of which uses the apps.
pub(crate) fn exports() -> [Export; 2] {
    [Shop { has_apps: false }.export("base-a", 501), Shop { has_apps: true }.export("base-b", 502)]
}

/// A shop of this platform.
struct Shop {
    has_apps: bool,
}

impl Shop {
    fn export(&self, mall: &'static str, seed: u64) -> Export {
        let header = if self.has_apps { format!("{HEADER}{HEADER_WITH_APPS}") } else { HEADER.to_owned() };
        let mut sheet = Sheet::new(&header);
        let mut told = Vec::new();
        for order in orders(seed, Amounts { fees: true, ..Amounts::SHIPPING }).iter().rev() {
            self.write(&mut sheet, order);
            told.push(self.told(order));
        }
        let form =
            Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Cp932 };
        Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
    }

    fn write(&self, sheet: &mut Sheet, order: &Order) {
        for line in &order.lines {
            let mut cells = order_cells(order);
            let product = line.product;
            cells.extend([
                ("商品名", product.name.to_owned()),
                ("バリエーション", product.variant.to_owned()),
                ("価格", product.price.to_string()),
                ("数量", line.quantity.to_string()),
                ("合計金額", line.price().to_string()),
                ("商品ID", product.id.to_string()),
                ("種類ID", variant_id(line)),
            ]);
            if self.has_apps {
                cells.push(("商品コード", product.code.unwrap_or_default().to_owned()));
            }
            sheet.add(cells);
            if has_surcharge(order) {
                let mut cells = order_cells(order);
                cells.extend([
                    ("商品名", SURCHARGE_NAME.to_owned()),
                    ("価格", SURCHARGE.to_string()),
                    ("数量", "1".to_owned()),
                    ("合計金額", SURCHARGE.to_string()),
                ]);
                sheet.add(cells);
            }
        }
    }

    /// The file has the time of the order alone, and no refunds: what was cancelled was never sold.
    fn told(&self, order: &Order) -> Told {
        let day = order.ordered_at.date();
        let mut lines = Vec::new();
        for line in &order.lines {
            lines.push(ToldLine {
                code: self.code(line),
                name: Encoding::Cp932.text(line.product.name),
                quantity: line.quantity,
                amount: line.amount(),
                discount: 0,
                tax: 0,
            });
            if has_surcharge(order) {
                lines.push(ToldLine {
                    code: SURCHARGE_NAME.to_owned(),
                    name: SURCHARGE_NAME.to_owned(),
                    quantity: 1,
                    amount: SURCHARGE,
                    discount: 0,
                    tax: 0,
                });
            }
        }
        let goods: i64 = lines.iter().map(|line| line.amount).sum();
        Told {
            member: Some(order.email()).filter(|email| !email.is_empty()),
            payment: PAYMENTS[order.payment].to_owned(),
            total: goods + order.shipping + order.fee + adjustment(order),
            discount: 0,
            shipping: order.shipping,
            tax: 0,
            paid: order.is_sold().then_some(day),
            cancelled: order.is_cancelled().then_some(day),
            refund: None,
            lines,
        }
    }

    fn code(&self, line: &Line) -> String {
        let code = line.product.code.filter(|_| self.has_apps).map(str::to_owned);
        code.unwrap_or_else(|| {
            if variant_id(line).is_empty() { line.product.id.to_string() } else { variant_id(line) }
        })
    }
}

fn order_cells(order: &Order) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("注文ID", order_no(order)),
        ("注文日時", order.ordered_at.format("%Y-%m-%d %H:%M:%S").to_string()),
        ("氏(請求先)", text("髙橋")),
        ("名(請求先)", text("花子")),
        ("郵便番号(請求先)", text("0600001")),
        ("メールアドレス(請求先)", order.email()),
        ("氏(配送先)", text("髙橋")),
        ("備考", text(order.note)),
        ("税率", text("10")),
        ("送料", order.shipping.to_string()),
        ("支払い方法", text(PAYMENTS[order.payment])),
        ("代引き手数料", order.fee.to_string()),
        ("発送状況", text(status(order))),
        ("購入元", text("ショップ")),
        ("調整金額", adjustment(order).to_string()),
    ]
}

fn status(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting => "入金待ち",
        Fate::Paid => "未発送",
        Fate::Shipped | Fate::Delivered | Fate::Refunded | Fate::PartlyRefunded => "発送済み",
        Fate::CancelledUnpaid | Fate::CancelledPaid => "キャンセル",
    }
}

/// 16 hexadecimal digits, some of which look like a number, or like one with an exponent.
fn order_no(order: &Order) -> String {
    match order.serial % 3 {
        0 => format!("{:016}", order.serial),
        1 => format!("{:04}E{:011}", order.serial, 12),
        _ => format!("A{:015X}", order.serial * 0x00AB_CDEF),
    }
}

/// A product with options is known by the option.
fn variant_id(line: &Line) -> String {
    if line.product.variant.is_empty() { String::new() } else { format!("9{}", line.product.id % 1_000_000) }
}

fn has_surcharge(order: &Order) -> bool {
    order.serial.is_multiple_of(11)
}

/// What the shop agreed with the buyer afterwards.
fn adjustment(order: &Order) -> i64 {
    match order.serial % 40 {
        0 => -100,
        20 => 50,
        _ => 0,
    }
}
