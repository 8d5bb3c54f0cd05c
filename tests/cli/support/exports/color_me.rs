//! カラーミーショップ's `sales_all.csv`: code page 932, no quotes, days without a time, 63 columns, a row for each item.

use super::model::{Amounts, Fate, Line, Order, contained_tax, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "売上ID,受注日,デバイス,購入者 {顧客ID|名前|郵便番号|都道府県|住所|メールアドレス|電話番号|携帯番号},\
    商品の合計金額(税込),消費税(商品合計に対する),送料合計,決済手数料,熨斗手数料合計,メッセージカード手数料合計,\
    ラッピング手数料合計,ショップポイントによる割引金額,外部ポイントによる割引金額,割引名称,割引金額,総合計金額,決済方法,\
    入金状態,発送状態,受注メール,入金メール,発送メール,使用ショップポイント数,使用GMOポイント数,ショップポイント処理状態,\
    獲得ショップポイント数,備考,配送先ID,配送先 {名前|フリガナ|郵便番号|都道府県名|住所|電話番号|配送会社名},配送希望日,\
    配送希望時間,配送先 {熨斗（のし）|メッセージカード種類|メッセージカード内容|ラッピング|送料|熨斗手数料|\
    メッセージカード手数料|ラッピング手数料|合計（商品含む）|備考|発送状態},売上詳細ID,\
    購入商品 {型番|商品ID|商品名|販売価格(消費税込)|原価|販売個数|小計}";

const PAYMENTS: [&str; 4] = ["クレジットカード", "代金引換", "銀行振込", "ｺﾝﾋﾞﾆ払い"];

/// Two shops.
pub(crate) fn exports() -> [Export; 2] {
    [export("honten", 301), export("outlet", 302)]
}

fn export(mall: &'static str, seed: u64) -> Export {
    let amounts = Amounts { line_discounts: false, ..Amounts::ALL };
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, amounts).iter().rev() {
        write(&mut sheet, order);
        told.push(tell(order));
    }
    let form = Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::Never, encoding: Encoding::Cp932 };
    Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
}

fn write(sheet: &mut Sheet, order: &Order) {
    for (place, line) in order.lines.iter().enumerate() {
        let mut cells = order_cells(order);
        cells.extend(line_cells(order, line, place));
        sheet.add(cells);
    }
}

fn order_cells(order: &Order) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let number = |number: i64| number.to_string();
    let (shop_points, other_points) = points(order);
    vec![
        ("売上ID", order_no(order)),
        ("受注日", order.ordered_at.format("%Y/%-m/%-d").to_string()),
        ("デバイス", text("スマートフォン")),
        ("購入者 顧客ID", order.buyer.map(|buyer| buyer.to_string()).unwrap_or_default()),
        ("購入者 名前", text("髙橋 花子")),
        ("購入者 郵便番号", text("0600001")),
        ("購入者 都道府県", text("北海道")),
        ("購入者 メールアドレス", order.email()),
        ("商品の合計金額(税込)", number(order.goods())),
        ("消費税(商品合計に対する)", number(contained_tax(order.goods()))),
        ("送料合計", number(order.shipping)),
        ("決済手数料", number(order.fee)),
        ("熨斗手数料合計", number(0)),
        ("メッセージカード手数料合計", number(0)),
        ("ラッピング手数料合計", number(order.wrapping)),
        ("ショップポイントによる割引金額", number(shop_points)),
        ("外部ポイントによる割引金額", number(other_points)),
        ("割引名称", text(if order.coupon > 0 { "秋の１０％引き" } else { "" })),
        ("割引金額", number(order.coupon)),
        ("総合計金額", number(order.total())),
        ("決済方法", text(PAYMENTS[order.payment])),
        ("入金状態", text(payment_state(order))),
        ("発送状態", text(if order.is_shipped() { "発送済" } else { "未発送" })),
        ("使用ショップポイント数", number(shop_points)),
        ("備考", order.note.replace(['"', ','], "、")),
        ("配送先ID", (50_000 + order.serial).to_string()),
        ("配送先 名前", text("髙橋 花子")),
        ("配送先 ラッピング", text(if order.wrapping > 0 { "ｷﾞﾌﾄ包装①" } else { "" })),
        ("配送先 送料", number(order.shipping)),
        ("配送先 ラッピング手数料", number(order.wrapping)),
        ("配送先 発送状態", text(if order.is_shipped() { "発送済" } else { "未発送" })),
    ]
}

fn line_cells(order: &Order, line: &Line, place: usize) -> [(&'static str, String); 7] {
    [
        ("売上詳細ID", format!("{}{place:02}", 7_000_000 + order.serial)),
        ("購入商品 型番", line.product.code.unwrap_or_default().to_owned()),
        ("購入商品 商品ID", line.product.id.to_string()),
        ("購入商品 商品名", item_name(line)),
        ("購入商品 販売価格(消費税込)", line.product.price.to_string()),
        ("購入商品 販売個数", line.quantity.to_string()),
        ("購入商品 小計", line.price().to_string()),
    ]
}

/// The file tells the day of the order alone, and of a refund that it was in full: a cancelled order was never sold.
fn tell(order: &Order) -> Told {
    let day = order.ordered_at.date();
    let line = |line: &Line| ToldLine {
        code: line.product.code.map_or_else(|| line.product.id.to_string(), str::to_owned),
        name: Encoding::Cp932.text(&item_name(line)),
        quantity: line.quantity,
        amount: line.amount(),
        discount: 0,
        tax: 0,
    };
    Told {
        member: order.buyer.map(|buyer| buyer.to_string()),
        payment: PAYMENTS[order.payment].to_owned(),
        total: order.total(),
        discount: order.coupon + order.points,
        shipping: order.shipping,
        tax: contained_tax(order.goods()),
        paid: order.is_sold().then_some(day),
        cancelled: order.is_cancelled().then_some(day),
        refund: (order.fate == Fate::Refunded).then(|| (day, order.total())),
        lines: order.lines.iter().map(line).collect(),
    }
}

fn payment_state(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting => "未入金",
        Fate::Paid | Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => "入金済",
        Fate::CancelledUnpaid | Fate::CancelledPaid => "キャンセル",
        Fate::Refunded => "全額返金済",
    }
}

/// The shop's own points, and those of others.
fn points(order: &Order) -> (i64, i64) {
    if order.payment.is_multiple_of(2) { (order.points, 0) } else { (0, order.points) }
}

fn order_no(order: &Order) -> String {
    (98_000_000 + order.serial).to_string()
}

/// An option stands in the name. Nothing is in quotes, so the platform has no commas in it.
fn item_name(line: &Line) -> String {
    format!("{} {}", line.product.name, line.product.variant).trim_end().replace(',', "、")
}
