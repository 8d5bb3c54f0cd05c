//! Cafe24's orders in a form that the shop makes: a row for each item with a state of its own, refunds as rows whose
//! 결제구분 is `F`, amounts with thousands separators in some shops.

use super::model::{Amounts, Fate, Line, Order, orders};
use super::sheet::{Encoding, Form, Quotes, Sheet};
use super::{Export, Told, ToldLine};

const HEADER: &str = "주문번호,품목별 주문번호,주문일시,결제일시(입금확인일),주문 상태,결제구분,취소구분,매출경로,주문경로,상품번호,상품코드,\
    상품품목코드,자체상품코드,자체품목코드,상품명(한국어 쇼핑몰),주문상품명(옵션포함),상품옵션,수량,판매가,옵션+판매가,상품구매금액(KRW),\
    총 {주문금액|배송비|결제금액}(KRW),총 실결제금액(최초정보) (KRW),상품별 추가할인금액,쿠폰 할인금액,사용한 적립금액(최종),네이버 포인트,\
    예치금,실제 환불금액,결제수단,주문자명,주문자ID,주문자 {휴대전화|이메일},수령인,수령인 {휴대전화|우편번호|주소(전체)},배송메시지,\
    운송장번호,배송시작일";
/// The same labels as another shop shows them, in another order: without the currency, with other spaces.
const OTHER_HEADER: &str = "주문 번호,주문상태,품목별주문번호,주문일시,결제일시(입금확인일),결제구분,취소구분,상품코드,자체상품코드,\
    주문상품명(옵션포함),상품옵션,수량,수량클레임 여부,판매가,옵션+판매가,상품별 추가할인금액,쿠폰할인금액,사용한 적립금액(최종),총 배송비,\
    총 결제금액,실제 환불금액,결제수단,주문자 ID,배송메시지";

const PAYMENTS: [&str; 4] = ["신용카드", "무통장입금", "네이버페이", "카카오페이"];

/// Two shops with a form of their own each.
pub(crate) fn exports() -> [Export; 2] {
    [Shop { is_other: false }.export("seoul", 701), Shop { is_other: true }.export("busan", 702)]
}

/// A shop of this platform.
struct Shop {
    is_other: bool,
}

impl Shop {
    fn export(&self, mall: &'static str, seed: u64) -> Export {
        let mut sheet = Sheet::new(if self.is_other { OTHER_HEADER } else { HEADER });
        let amounts = Amounts { line_discounts: true, coupons: true, points: true, ..Amounts::SHIPPING };
        let mut told = Vec::new();
        for order in orders(seed, amounts) {
            self.write(&mut sheet, &order);
            told.push(self.told(&order));
        }
        let form =
            Form { delimiter: ",", line_end: "\r\n", quotes: Quotes::WhenNeeded, encoding: self.encoding() };
        Export { mall, time_zone: "Asia/Seoul", currency: "KRW", file: sheet.file(form), told }
    }

    fn encoding(&self) -> Encoding {
        if self.is_other { Encoding::Cp949 } else { Encoding::Utf8Bom }
    }

    fn write(&self, sheet: &mut Sheet, order: &Order) {
        for (place, line) in order.lines.iter().enumerate() {
            sheet.add(self.cells(order, line, place, None));
        }
        // What was paid back is a row of its own, with the first item's cells.
        if let Some(paid_back) = row_of_refund(order) {
            sheet.add(self.cells(order, &order.lines[0], 0, Some(paid_back)));
        }
    }

    fn cells(
        &self,
        order: &Order,
        line: &Line,
        place: usize,
        paid_back: Option<i64>,
    ) -> Vec<(&'static str, String)> {
        let text = |text: &str| text.to_owned();
        // The two headers' names for the same.
        let named = |one: &'static str, other: &'static str| if self.is_other { other } else { one };
        let paid_at = order.paid_at.filter(|_| paid_back.is_none());
        let time = |time: chrono::NaiveDateTime| time.format("%Y-%m-%d %H:%M:%S").to_string();
        let mut cells = vec![
            (named("주문번호", "주문 번호"), order_no(order)),
            (named("품목별 주문번호", "품목별주문번호"), format!("{}-{:02}", order_no(order), place + 1)),
            ("주문일시", time(order.ordered_at)),
            ("결제일시(입금확인일)", paid_at.map(time).unwrap_or_default()),
            (named("주문 상태", "주문상태"), text(self.state(order, place, paid_back.is_some()))),
            ("결제구분", text(if paid_back.is_some() { "F" } else { "T" })),
            ("취소구분", text(cancellation(order))),
            ("상품코드", text(&format!("P{:07}", line.product.id % 10_000_000))),
            ("자체상품코드", line.product.code.unwrap_or_default().to_owned()),
            ("주문상품명(옵션포함)", item_name(line)),
            ("상품옵션", line.product.variant.to_owned()),
            ("수량", line.quantity.to_string()),
            ("판매가", self.money(line.product.price)),
            ("옵션+판매가", self.money(line.product.price)),
            ("상품별 추가할인금액", self.money(line.discount)),
            (named("쿠폰 할인금액", "쿠폰할인금액"), self.money(order.coupon)),
            ("사용한 적립금액(최종)", self.money(order.points)),
            (named("총 배송비(KRW)", "총 배송비"), self.money(order.shipping)),
            (named("총 결제금액(KRW)", "총 결제금액"), self.money(order.total())),
            ("실제 환불금액", paid_back.map(|amount| self.money(amount)).unwrap_or_default()),
            ("결제수단", text(PAYMENTS[order.payment])),
            (
                named("주문자ID", "주문자 ID"),
                order.buyer.map(|buyer| format!("user{buyer}")).unwrap_or_default(),
            ),
            ("배송메시지", text(order.note)),
        ];
        if self.is_other {
            cells.push(("수량클레임 여부", text("N")));
        } else {
            cells.extend([
                ("네이버 포인트", self.money(0)),
                ("상품번호", (line.product.id % 1000).to_string()),
                ("상품구매금액(KRW)", self.money(line.amount())),
                ("총 주문금액(KRW)", self.money(order.goods() + order.shipping)),
                ("주문자명", text("김, 하나")),
                ("수령인 우편번호", text("03045")),
            ]);
        }
        cells
    }

    /// The state of an item.
    fn state(&self, order: &Order, place: usize, is_refund: bool) -> &'static str {
        let spaced = |one, other| if self.is_other { other } else { one };
        match order.fate {
            Fate::Waiting => "입금전",
            Fate::Paid if place > 0 => spaced("상품준비중", "상품 준비중"),
            Fate::Paid => ["결제완료", "배송준비중", "배송대기", "배송보류"][order.payment],
            Fate::Shipped => spaced("배송중", "배송 중"),
            Fate::Delivered => ["배송완료", "구매확정", "거래종료", "배송 완료"][order.payment],
            Fate::CancelledUnpaid => "입금전취소 - 구매자",
            Fate::CancelledPaid => "취소완료",
            Fate::Refunded => spaced("반품완료", "환불 완료"),
            Fate::PartlyRefunded if is_refund => "취소완료",
            Fate::PartlyRefunded => "배송완료",
        }
    }

    /// `12,000` in the other shop.
    fn money(&self, won: i64) -> String {
        if !self.is_other || won < 1000 {
            return won.to_string();
        }
        format!("{},{:03}", won / 1000, won % 1000)
    }

    /// Times of cancellations and refunds are not in the form: both count on the day of the payment, if there was one.
    fn told(&self, order: &Order) -> Told {
        let paid = order.paid_at.map(|time| time.date());
        let day = paid.unwrap_or(order.ordered_at.date());
        let line = |line: &Line| ToldLine {
            code: line
                .product
                .code
                .map_or_else(|| format!("P{:07}", line.product.id % 10_000_000), str::to_owned),
            name: self.encoding().text(&item_name(line)),
            quantity: line.quantity,
            amount: line.amount(),
            discount: line.discount,
            tax: 0,
        };
        Told {
            member: order.buyer.map(|buyer| format!("user{buyer}")),
            payment: PAYMENTS[order.payment].to_owned(),
            total: order.total(),
            discount: order.coupon + order.points,
            shipping: order.shipping,
            tax: 0,
            paid,
            cancelled: order.is_cancelled().then_some(day),
            refund: row_of_refund(order).map(|amount| (day, amount)),
            lines: order.lines.iter().map(line).collect(),
        }
    }
}

/// What its row of a refund says, if it has one.
fn row_of_refund(order: &Order) -> Option<i64> {
    match order.fate {
        Fate::CancelledPaid | Fate::Refunded => Some(order.total()),
        Fate::PartlyRefunded => Some(order.paid_back),
        _ => None,
    }
}

fn cancellation(order: &Order) -> &'static str {
    match order.fate {
        Fate::CancelledUnpaid | Fate::CancelledPaid => "취소",
        Fate::PartlyRefunded => "부분취소",
        _ => "취소안함",
    }
}

fn order_no(order: &Order) -> String {
    format!("{}-{:07}", order.ordered_at.format("%Y%m%d"), order.serial)
}

fn item_name(line: &Line) -> String {
    let product = line.product;
    if product.variant.is_empty() {
        product.name.to_owned()
    } else {
        format!("{} (옵션: {})", product.name, product.variant)
    }
}
