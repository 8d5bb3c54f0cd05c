//! 楽天 RMS's 通常購入データ: code page 932, everything in quotes, 158 columns, a row for each item of each address,
//! -9999 for what is not fixed yet.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "注文番号,ステータス,サブステータスID,サブステータス,注文日時,注文日,注文時間,キャンセル期限日,注文確認日時,\
    注文確定日時,発送指示日時,発送完了報告日時,支払方法名,クレジットカード支払い方法,クレジットカード支払い回数,配送方法,配送区分,\
    注文種別,複数送付先フラグ,送付先一致フラグ,離島フラグ,楽天確認中フラグ,警告表示タイプ,楽天会員フラグ,購入履歴修正有無フラグ,\
    商品合計金額,消費税合計,送料合計,代引料合計,請求金額,合計金額,ポイント利用額,クーポン利用総額,店舗発行クーポン利用額,\
    楽天発行クーポン利用額,注文者{郵便番号1|郵便番号2|住所都道府県|住所郡市区|住所それ以降の住所|姓|名|姓カナ|名カナ|電話番号1|\
    電話番号2|電話番号3|メールアドレス|性別},申込番号,申込お届け回数,送付先{ID|送料|代引料|消費税合計|商品合計金額|合計金額},のし,\
    送付先{郵便番号1|郵便番号2|住所都道府県|住所郡市区|住所それ以降の住所|姓|名|姓カナ|名カナ|電話番号1|電話番号2|電話番号3},\
    商品明細ID,商品ID,商品名,商品番号,商品管理番号,単価,個数,送料込別,税込別,代引手数料込別,項目・選択肢,ポイント倍率,納期情報,\
    在庫タイプ,ラッピング{タイトル1|名1|料金1|税込別1|種類1|タイトル2|名2|料金2|税込別2|種類2},お届け時間帯,お届け日指定,担当者,\
    ひとことメモ,メール差込文 (お客様へのメッセージ),ギフト配送希望,コメント,利用端末,メールキャリアコード,あす楽希望フラグ,\
    医薬品受注フラグ,楽天スーパーDEAL商品受注フラグ,メンバーシッププログラム受注タイプ,決済手数料,注文者負担金合計,店舗負担金合計,\
    外税合計,決済手数料税率,ラッピング{税率1|税額1|税率2|税額2},送付先{外税合計|送料税率|代引料税率},商品税率,商品毎税込価格,\
    {10%|8%|0%}{税率|請求金額|請求額に対する税額|合計金額|決済手数料|クーポン割引額|利用ポイント数},単品配送フラグ,購入時配送会社,\
    領収書{発行回数|初回発行日時|最終発行日時},支払い期限日,支払い方法変更期限日,返金手続き期限日,店舗発行クーポン{コード|名},\
    楽天発行クーポン{コード|名},警告表示タイプ詳細,SKU管理番号,システム連携用SKU番号,SKU情報";

const PAYMENTS: [&str; 4] = ["クレジットカード", "代金引換", "銀行振込", "ｾﾌﾞﾝｲﾚﾌﾞﾝ（前払）"];

/// Two shops.
pub(crate) fn exports() -> [Export; 2] {
    [export("rakuten-a", 901), export("rakuten-b", 902)]
}

fn export(mall: &'static str, seed: u64) -> Export {
    let amounts = Amounts { line_discounts: false, ..Amounts::ALL };
    let mut sheet = Sheet::new(HEADER);
    let mut told = Vec::new();
    for order in orders(seed, amounts) {
        for (place, line) in order.lines.iter().enumerate() {
            let mut cells = order_cells(&order);
            cells.extend(line_cells(&order, line, place));
            sheet.add(cells);
        }
        if !is_not_fixed(&order) {
            told.push(tell(&order));
        }
    }
    let form = Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::Always, encoding: Encoding::Cp932 };
    Export { mall, time_zone: "Asia/Tokyo", currency: "JPY", file: sheet.file(form), told }
}

fn order_cells(order: &Order) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let time = |time: Option<chrono::NaiveDateTime>| {
        time.map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
    };
    // Shipping and what hangs on it is fixed when the shop has looked at the order.
    let fixed = |amount: i64| if is_not_fixed(order) { "-9999".to_owned() } else { amount.to_string() };
    vec![
        ("注文番号", order_no(order)),
        ("ステータス", text(status(order))),
        ("注文日時", time(Some(order.ordered_at))),
        ("注文日", order.ordered_at.format("%Y-%m-%d").to_string()),
        ("注文時間", order.ordered_at.format("%H:%M:%S").to_string()),
        ("注文確定日時", time(order.paid_at)),
        ("発送完了報告日時", time(order.ended_at.filter(|_| order.is_shipped()))),
        ("支払方法名", text(PAYMENTS[order.payment])),
        (
            "複数送付先フラグ",
            text(if order.lines.iter().any(|line| line.destination > 1) { "1" } else { "0" }),
        ),
        ("楽天会員フラグ", text(if order.buyer.is_some() { "1" } else { "0" })),
        ("商品合計金額", order.goods().to_string()),
        ("消費税合計", text("0")),
        ("送料合計", fixed(order.shipping)),
        ("代引料合計", fixed(order.fee)),
        ("請求金額", fixed(order.total())),
        ("合計金額", fixed(order.total() + order.points + order.coupon)),
        ("ポイント利用額", order.points.to_string()),
        ("クーポン利用総額", order.coupon.to_string()),
        ("店舗発行クーポン利用額", order.coupon.to_string()),
        ("楽天発行クーポン利用額", text("0")),
        ("注文者郵便番号1", text("060")),
        ("注文者郵便番号2", text("0001")),
        ("注文者姓", text("髙橋")),
        ("注文者電話番号1", text("090")),
        ("注文者メールアドレス", order.email()),
        ("コメント", order.note.to_owned()),
        ("ラッピング名1", text(if order.wrapping > 0 { "包装紙①" } else { "" })),
        ("ラッピング料金1", order.wrapping.to_string()),
        ("ラッピング料金2", text("0")),
        ("決済手数料", text("0")),
        ("10%税率", text("0.1")),
        ("10%請求金額", fixed(order.total())),
        ("8%税率", text("0.08")),
        ("8%請求金額", text("0")),
    ]
}

fn line_cells(order: &Order, line: &Line, place: usize) -> Vec<(&'static str, String)> {
    let product = line.product;
    vec![
        ("送付先ID", (order.serial * 10 + u64::from(line.destination)).to_string()),
        ("送付先送料", order.shipping.to_string()),
        ("商品明細ID", (order.serial * 100 + place as u64).to_string()),
        ("商品ID", (product.id % 100_000_000).to_string()),
        ("商品名", product.name.to_owned()),
        ("商品番号", product.code.unwrap_or_default().to_owned()),
        ("商品管理番号", item_number(line)),
        ("単価", product.price.to_string()),
        ("個数", line.quantity.to_string()),
        ("送料込別", "0".to_owned()),
        ("税込別", "1".to_owned()),
        ("項目・選択肢", product.variant.to_owned()),
        ("商品毎税込価格", product.price.to_string()),
        ("SKU管理番号", sku_number(line)),
    ]
}

/// The file has the time of the order alone, and no refunds: what was cancelled was never sold.
fn tell(order: &Order) -> Told {
    let day = order.ordered_at.date();
    let line = |line: &Line| ToldLine {
        code: if sku_number(line).is_empty() {
            item_number(line)
        } else {
            format!("{}/{}", item_number(line), sku_number(line))
        },
        name: Encoding::Cp932.text(line.product.name),
        quantity: line.quantity,
        amount: line.amount(),
        discount: 0,
        tax: 0,
    };
    Told {
        member: Some(order.email()).filter(|email| !email.is_empty()),
        payment: PAYMENTS[order.payment].to_owned(),
        total: order.total(),
        discount: order.coupon + order.points,
        shipping: order.shipping,
        tax: 0,
        paid: order.is_sold().then_some(day),
        cancelled: order.is_cancelled().then_some(day),
        refund: None,
        lines: order.lines.iter().map(line).collect(),
    }
}

fn status(order: &Order) -> &'static str {
    match order.fate {
        Fate::Waiting => ["100", "200", "100", "200"][order.payment],
        Fate::Paid => ["300", "400", "300", "300"][order.payment],
        Fate::Shipped | Fate::PartlyRefunded => "500",
        Fate::Delivered | Fate::Refunded => ["600", "700", "700", "700"][order.payment],
        Fate::CancelledUnpaid => "900",
        Fate::CancelledPaid => ["800", "900", "900", "900"][order.payment],
    }
}

fn is_not_fixed(order: &Order) -> bool {
    status(order) == "100"
}

fn order_no(order: &Order) -> String {
    format!("123456-{}-{:010}", order.ordered_at.format("%Y%m%d"), order.serial)
}

/// Options of one product share its number.
fn item_number(line: &Line) -> String {
    match line.product.code {
        Some(code) if !line.product.variant.is_empty() => code[..4].to_lowercase(),
        Some(code) => code.to_lowercase(),
        None => line.product.id.to_string(),
    }
}

/// Numbers of options repeat across products.
fn sku_number(line: &Line) -> String {
    if line.product.variant.is_empty() { String::new() } else { line.product.variant.replace(" / ", "-") }
}
