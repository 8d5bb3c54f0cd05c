//! EC-CUBE 4's `order_….csv`: code page 932, a row for each product and also for shipping, fee, discount and points, 70
//! columns, two of which are named 送料.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "注文ID,注文番号,会員ID,お名前({姓|名|セイ|メイ}),会社名,郵便番号,都道府県({ID|名称}),住所{1|2},\
    メールアドレス,TEL,性別({ID|名称}),職業({ID|名称}),誕生日,ショップ用メモ欄,小計,値引き,送料,税金,合計,支払合計,\
    対応状況({ID|名称}),支払方法({ID|名称}),受注日,入金日,注文詳細ID,商品ID,商品規格ID,商品名,商品コード,規格名{1|2},\
    規格分類名{1|2},価格,個数,税率,税率ルール(ID),明細区分({ID|名称}),出荷ID,配送先_{お名前({姓|名|セイ|メイ})|会社名|郵便番号|\
    都道府県({ID|名称})|住所{1|2}|TEL},配送業者({ID|名称}),お届け時間ID,お届け時間(名称),お届け希望日,送料,発送日,出荷伝票番号,\
    配達用メモ,出荷メール送信日";

const PAYMENTS: [&str; 4] = ["クレジットカード", "代金引換", "銀行振込", "郵便振替①"];

/// Two shops.
pub(crate) fn exports() -> [Export; 2] {
    [export("main", 401), export("second", 402)]
}

fn export(mall: &'static str, seed: u64) -> Export {
    let amounts = Amounts { line_discounts: false, wrapping: false, ..Amounts::ALL };
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, amounts) {
        write(&mut sheet, &order);
        if !is_in_the_middle_of_paying(&order) {
            told.push(tell(&order));
        }
    }
    let form = Form { delimiter: ",", line_end: "\n", quotes: Quotes::WhenNeeded, encoding: Encoding::Cp932 };
    Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
}

/// A row of an order: a product, or something that concerns the whole order.
struct Item<'o> {
    kind: (u8, &'static str),
    name: String,
    line: Option<&'o Line>,
    price: i64,
    quantity: i64,
}

/// The rows of an order, in no order that means anything.
fn items(order: &Order) -> Vec<Item<'_>> {
    let whole =
        |kind, name: &str, price| Item { kind, name: name.to_owned(), line: None, price, quantity: 1 };
    let mut items: Vec<Item<'_>> = order
        .lines
        .iter()
        .map(|line| Item {
            kind: (1, "商品"),
            name: line.product.name.to_owned(),
            line: Some(line),
            price: line.product.price,
            quantity: line.quantity,
        })
        .collect();
    items.push(whole((2, "送料"), "送料", order.shipping));
    // Zero rows occur.
    items.push(whole((3, "手数料"), "手数料", order.fee));
    if order.coupon > 0 {
        items.push(whole((4, "割引"), "クーポン, 秋", -order.coupon));
    }
    if order.points > 0 {
        items.push(whole((6, "ポイント"), "ポイント", -order.points));
    }
    let turned = usize::try_from(order.serial).expect("a small number") % items.len();
    items.rotate_left(turned);
    items
}

fn write(sheet: &mut Sheet, order: &Order) {
    for (place, item) in items(order).iter().enumerate() {
        let mut cells = order_cells(order);
        cells.extend(item_cells(order, item, place));
        sheet.add(cells);
    }
}

fn order_cells(order: &Order) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let (id, status) = status(order);
    let paid_at = order.paid_at.filter(|_| has_paid_day(order));
    vec![
        ("注文ID", order.serial.to_string()),
        ("注文番号", format!("{:08}", order.serial)),
        ("会員ID", order.buyer.map(|buyer| buyer.to_string()).unwrap_or_default()),
        ("お名前(姓)", text("髙橋")),
        ("お名前(名)", text("花子")),
        ("お名前(セイ)", text("タカハシ")),
        ("郵便番号", text("0600001")),
        ("都道府県(ID)", text("1")),
        ("都道府県(名称)", text("北海道")),
        ("メールアドレス", order.email()),
        ("TEL", text("09000000000")),
        ("ショップ用メモ欄", text(order.note)),
        ("小計", money(goods_with_tax(order))),
        ("値引き", money(order.coupon)),
        ("送料", money(order.shipping)),
        ("税金", money(tax(order))),
        ("合計", money(total(order))),
        ("支払合計", money(total(order))),
        ("対応状況(ID)", text(id)),
        ("対応状況(名称)", text(status)),
        ("支払方法(ID)", (order.payment + 1).to_string()),
        ("支払方法(名称)", text(PAYMENTS[order.payment])),
        ("受注日", order.ordered_at.format("%Y-%m-%d %H:%M:%S").to_string()),
        ("入金日", paid_at.map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()),
    ]
}

fn item_cells(order: &Order, item: &Item<'_>, place: usize) -> Vec<(&'static str, String)> {
    let mut cells = vec![
        ("注文詳細ID", (order.serial * 10 + place as u64).to_string()),
        ("商品名", item.name.clone()),
        ("価格", money(item.price)),
        ("個数", item.quantity.to_string()),
        ("税率", "10".to_owned()),
        ("税率ルール(ID)", "1".to_owned()),
        ("明細区分(ID)", item.kind.0.to_string()),
        ("明細区分(名称)", item.kind.1.to_owned()),
    ];
    if let Some(line) = item.line {
        cells.extend([
            ("商品ID", line.product.id.to_string()),
            ("商品規格ID", option_id(line)),
            ("商品コード", line.product.code.unwrap_or_default().to_owned()),
            ("規格分類名1", line.product.variant.to_owned()),
        ]);
    }
    // What concerns the whole order is not shipped.
    if item.line.is_some() || item.kind.0 == 2 {
        let destination = item.line.map_or(1, |line| line.destination);
        cells.extend([
            ("出荷ID", format!("{}{destination}", order.serial)),
            ("配送先_お名前(姓)", "髙橋".to_owned()),
            ("配送先_郵便番号", "0600001".to_owned()),
            ("配送業者(ID)", "1".to_owned()),
        ]);
    }
    cells
}

/// The file tells neither when an order was cancelled nor what was paid back: what was cancelled after its payment was
/// paid back in full on that day.
fn tell(order: &Order) -> Told {
    let ordered = order.ordered_at.date();
    let stated = order.paid_at.filter(|_| has_paid_day(order)).map(|time| time.date());
    // Who is sold to without a day of the payment has paid on that of the order.
    let paid = stated.or(order.is_sold().then_some(ordered));
    let is_back = order.is_cancelled() || order.fate == Fate::Refunded;
    let line = |line: &Line| ToldLine {
        code: line.product.code.map_or_else(|| option_id(line), str::to_owned),
        name: Encoding::Cp932.text(line.product.name),
        quantity: line.quantity,
        amount: line.amount(),
        discount: 0,
        tax: 0,
    };
    Told {
        member: order.buyer.map(|buyer| buyer.to_string()),
        payment: PAYMENTS[order.payment].to_owned(),
        total: total(order),
        discount: order.coupon + order.points,
        shipping: order.shipping,
        tax: tax(order),
        paid,
        cancelled: order.is_cancelled().then(|| paid.unwrap_or(ordered)),
        refund: paid.filter(|_| is_back).map(|day| (day, total(order))),
        lines: order.lines.iter().map(line).collect(),
    }
}

/// 商品規格ID, of the option that was bought.
fn option_id(line: &Line) -> String {
    format!("{}1", line.product.id)
}

/// 対応状況, by its ID and by the name that a shop may have changed.
fn status(order: &Order) -> (&'static str, &'static str) {
    match order.fate {
        Fate::Waiting if is_in_the_middle_of_paying(order) => ("8", "購入処理中"),
        Fate::Waiting => ("1", "新規受付"),
        // A new order with the day of its payment is paid.
        Fate::Paid => {
            [("1", "新規受付"), ("6", "入金済み"), ("4", "対応中"), ("6", "入金確認")][order.payment]
        }
        Fate::Shipped | Fate::Delivered | Fate::PartlyRefunded => ("5", "発送済み"),
        Fate::CancelledUnpaid | Fate::CancelledPaid => ("3", "注文取消し"),
        Fate::Refunded => ("9", "返品"),
    }
}

fn is_in_the_middle_of_paying(order: &Order) -> bool {
    order.fate == Fate::Waiting && order.serial.is_multiple_of(5)
}

/// Some shops do not enter it for those who pay at the door.
fn has_paid_day(order: &Order) -> bool {
    order.payment != 1
}

/// `1000.00`.
fn money(yen: i64) -> String {
    format!("{yen}.00")
}

/// 価格 is before tax.
fn tax(order: &Order) -> i64 {
    order.lines.iter().map(|line| line.product.price / 10 * line.quantity).sum()
}

fn goods_with_tax(order: &Order) -> i64 {
    order.goods() + tax(order)
}

fn total(order: &Order) -> i64 {
    order.total() + tax(order)
}
