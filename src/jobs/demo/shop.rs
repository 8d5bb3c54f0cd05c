//! The example shop's data: the same for a day in every run, and as uneven as a real shop's.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::money::minor_to_plain;
use crate::period::{day_bounds, local_day};

/// One of the example's malls.
pub(super) struct DemoMall {
    /// Its code.
    pub(super) code: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Its time zone.
    pub(super) time_zone: Tz,
    /// Its currency.
    pub(super) currency: &'static str,
    orders_a_day: u64,
    products: &'static [(&'static str, i64)],
    people: &'static [&'static str],
    payment_methods: &'static [&'static str],
    shipping: i64,
    free_shipping_from: i64,
    /// Tax in thousandths of a percent: 10 % included in the price in Japan and Korea, added in New York.
    tax_rate: i64,
    is_tax_included: bool,
}

/// The example's malls; amounts in minor units.
pub(super) const MALLS: [DemoMall; 3] = [
    DemoMall {
        code: "tokyo",
        name: "東京本店",
        time_zone: Tz::Asia__Tokyo,
        currency: "JPY",
        orders_a_day: 60,
        products: &[
            ("有機ほうじ茶 100g", 1_080),
            ("宇治抹茶（缶入り）40g", 2_160),
            ("南部鉄器 急須 0.6L", 12_800),
            ("波佐見焼 湯呑 藍", 2_420),
            ("和三盆 詰め合わせ", 1_620),
            ("今治タオル フェイス 2枚組", 3_300),
            ("会津木綿 エプロン", 5_940),
            ("曲げわっぱ 弁当箱", 9_350),
            ("柚子七味", 756),
            ("だしパック 30袋", 1_944),
            ("手ぬぐい 麻の葉", 1_320),
            ("蜂蜜梅干し 500g", 2_700),
        ],
        people: &[
            "佐藤 花子",
            "鈴木 一郎",
            "高橋 美咲",
            "田中 翔太",
            "渡辺 さくら",
            "伊藤 大輔",
            "𠮷田 結衣",
            "髙橋 蓮",
        ],
        payment_methods: &["CREDIT_CARD", "CREDIT_CARD", "PAYPAY", "KONBINI", "BANK_TRANSFER"],
        shipping: 550,
        free_shipping_from: 5_500,
        tax_rate: 10_000,
        is_tax_included: true,
    },
    DemoMall {
        code: "seoul",
        name: "서울 스토어",
        time_zone: Tz::Asia__Seoul,
        currency: "KRW",
        orders_a_day: 45,
        products: &[
            ("제주 녹차 티백 50개입", 12_900),
            ("수제 유자청 500g", 15_800),
            ("전통 한과 선물세트", 38_000),
            ("백자 찻잔 2인조", 46_000),
            ("순면 이불 커버 (퀸)", 89_000),
            ("홍삼 스틱 30포", 62_000),
            ("쑥 비누 3개 세트", 9_900),
            ("나전칠기 손거울", 27_500),
            ("볶은 현미차 300g", 8_500),
            ("참기름 320ml", 18_400),
        ],
        people: &["김민준", "이서연", "박지후", "최하은", "정도윤", "강수아", "조예준", "윤지유"],
        payment_methods: &["CARD", "CARD", "KAKAOPAY", "NAVERPAY", "VIRTUAL_ACCOUNT"],
        shipping: 3_000,
        free_shipping_from: 50_000,
        tax_rate: 10_000,
        is_tax_included: true,
    },
    DemoMall {
        code: "new-york",
        name: "New York Store",
        time_zone: Tz::America__New_York,
        currency: "USD",
        orders_a_day: 30,
        products: &[
            ("Hojicha Tea, 100 g", 1_450),
            ("Cast Iron Teapot", 11_900),
            ("Linen Apron, Indigo", 5_400),
            ("Bento Box, Cedar", 7_800),
            ("Matcha Starter Set", 6_450),
            ("Yuzu Marmalade", 1_195),
            ("Porcelain Cup, \"Hasami\"", 2_650),
            ("Furoshiki Wrapping Cloth", 1_875),
        ],
        people: &["Olivia Smith", "Liam O'Brien", "José Álvarez", "Zoë Müller", "Noah Kim", "Ava Johnson"],
        payment_methods: &["CARD", "CARD", "PAYPAL", "APPLE_PAY"],
        shipping: 595,
        free_shipping_from: 5_000,
        tax_rate: 8_875,
        is_tax_included: false,
    },
];

/// How many days of sign-ups there are.
const SIGN_UP_DAYS: u64 = 400;

/// The four files of the example.
pub(super) struct Shop {
    now: DateTime<Utc>,
    days: u64,
    products: String,
    members: String,
    orders: String,
    refunds: String,
}

impl Shop {
    /// Generates the data of so many days of each mall, up to its newest finished one.
    pub(super) fn new(now: DateTime<Utc>, days: u64) -> Self {
        let mut shop = Self {
            now,
            days,
            products: "mall,product_code,name,price_amount,status,stock_quantity,stock_alert_threshold\n"
                .to_owned(),
            members: "mall,member_code,name,email,status,signed_up_at,channel,locale\n".to_owned(),
            orders: "mall,order_no,line_no,member_code,status,ordered_at,paid_at,cancelled_at,cancel_reason,\
                     payment_method,total_amount,discount_amount,shipping_amount,tax_amount,refunded_amount,refunded_at,product_code,\
                     product_name,quantity,unit_price_amount\n"
                .to_owned(),
            refunds: "mall,order_no,refund_no,amount,refunded_at,product_code,reason\n".to_owned(),
        };
        for mall in &MALLS {
            shop.add_products(mall);
            shop.add_members(mall);
            shop.add_orders(mall);
        }
        shop
    }

    /// The files by name.
    pub(super) fn files(&self) -> [(&'static str, &str); 4] {
        [
            ("products.csv", &self.products),
            ("members.csv", &self.members),
            ("orders.csv", &self.orders),
            ("refunds.csv", &self.refunds),
        ]
    }

    fn add_products(&mut self, mall: &DemoMall) {
        let mut random = Random::of(mall, NaiveDate::default());
        for (number, (name, price)) in mall.products.iter().enumerate() {
            let status = if random.below(12) == 0 { "SOLD_OUT" } else { "ON_SALE" };
            let stock = if status == "SOLD_OUT" { 0 } else { random.below(180) };
            let price = minor_to_plain(*price, mall.currency);
            row(
                &mut self.products,
                &[mall.code, &product_code(number), name, &price, status, &stock.to_string(), "10"],
            );
        }
    }

    fn add_members(&mut self, mall: &DemoMall) {
        let locale = match mall.currency {
            "JPY" => "ja",
            "KRW" => "ko",
            _ => "en",
        };
        for day in days_up_to(mall.last_day(self.now), SIGN_UP_DAYS) {
            // Not the numbers of the day's orders, which come and go with a change to either.
            let mut random = Random::of(mall, day + Days::new(40_000));
            for number in 0..=random.below(2) {
                let signed_up = time_of_day(day, mall.time_zone, &mut random);
                let status =
                    ["ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE", "UNCONFIRMED", "WITHDRAWN"][random.pick(6)];
                let channel = ["WEB", "APP", "LINE", "REFERRAL"][random.pick(4)];
                let name = mall.people[random.pick(mall.people.len())];
                let code = member_code(day, number);
                // example.com is reserved for examples (RFC 2606): nobody can be reached there.
                let email = format!("{}-{code}@example.com", mall.code);
                row(
                    &mut self.members,
                    &[mall.code, &code, name, &email, status, &text(signed_up), channel, locale],
                );
            }
        }
    }

    fn add_orders(&mut self, mall: &DemoMall) {
        let last = mall.last_day(self.now);
        // Of what happens later the shop knows nothing yet.
        let until = day_bounds(last, mall.time_zone).end;
        for day in days_up_to(last, self.days) {
            let mut random = Random::of(mall, day);
            // Weekends sell more, and the shop grows a little.
            let weekend = if day.weekday().number_from_monday() >= 6 { 14 } else { 10 };
            let growth = 100 + u64::from(day.ordinal() % 60) / 2;
            let count =
                mall.orders_a_day * weekend * growth / 1_000 + random.below(mall.orders_a_day / 4 + 1);
            for number in 0..count {
                self.add_order(mall, day, number, until, &mut random);
            }
        }
    }

    fn add_order(
        &mut self,
        mall: &DemoMall,
        day: NaiveDate,
        number: u64,
        until: DateTime<Utc>,
        random: &mut Random,
    ) {
        let order_no = format!("{}-{number:04}", day.format("%Y%m%d"));
        let lines: Vec<(usize, i64)> =
            (0..=random.below(3)).map(|_| (random.pick(mall.products.len()), 1 + random.small())).collect();
        let goods: i64 = lines.iter().map(|(product, quantity)| mall.products[*product].1 * quantity).sum();
        let discount = if random.below(10) == 0 { goods / 10 } else { 0 };
        let shipping = mall.shipping_of(goods - discount);
        let before_tax = goods - discount + shipping;
        let tax = mall.tax_of(before_tax);
        let total = if mall.is_tax_included { before_tax } else { before_tax + tax };

        let ordered = time_of_day(day, mall.time_zone, random);
        let method = mall.payment_methods[random.pick(mall.payment_methods.len())];
        let is_slow = matches!(method, "KONBINI" | "BANK_TRANSFER" | "VIRTUAL_ACCOUNT");
        let payment_delay = if is_slow { random.below(60 * 40) } else { random.below(4) };
        let fate = Fate::of(random);
        let (hours_to_cancel, days_to_refund) = (1 + random.below(24), 1 + random.below(6));
        let paid_at = ordered + minutes(payment_delay);
        let changed_at = match fate {
            Fate::Expired => ordered + minutes(5),
            Fate::Cancelled => paid_at + minutes(60 * hours_to_cancel),
            Fate::Refunded | Fate::PartlyRefunded => paid_at + minutes(60 * 24 * days_to_refund),
            _ => paid_at,
        };
        let fate = fate.as_of(until, paid_at, changed_at);
        let paid = fate.is_paid().then_some(paid_at);
        let cancelled = matches!(fate, Fate::Expired | Fate::Cancelled).then_some(changed_at);
        let reason = match fate {
            Fate::Expired => "PAYMENT_TIMEOUT",
            Fate::Cancelled => ["CUSTOMER_REQUEST", "OUT_OF_STOCK", "WRONG_ADDRESS"][random.pick(3)],
            _ => "",
        };
        // Some buy on the day on which they sign up.
        let member_for = if random.below(8) == 0 { 0 } else { random.below(SIGN_UP_DAYS / 2) };
        let signed_up = day - Days::new(member_for);
        // Guests buy too.
        let member = if random.below(8) == 0 { String::new() } else { member_code(signed_up, 0) };
        let money = |amount| minor_to_plain(amount, mall.currency);
        let (first_product, first_quantity) = lines[0];
        let refund = match fate {
            Fate::Cancelled => Some((total, String::new(), "ORDER_CANCELLED")),
            Fate::Refunded => Some((total, String::new(), "RETURNED")),
            Fate::PartlyRefunded => {
                let amount = (mall.products[first_product].1 * first_quantity).min(total);
                Some((amount, product_code(first_product), "DAMAGED"))
            }
            _ => None,
        };
        let refunded =
            refund.as_ref().map(|(amount, ..)| (money(*amount), text(changed_at))).unwrap_or_default();
        for (line, (product, quantity)) in lines.iter().enumerate() {
            let (name, price) = mall.products[*product];
            row(
                &mut self.orders,
                &[
                    mall.code,
                    &order_no,
                    &(line + 1).to_string(),
                    &member,
                    fate.status(),
                    &text(ordered),
                    &paid.map(text).unwrap_or_default(),
                    &cancelled.map(text).unwrap_or_default(),
                    reason,
                    method,
                    &money(total),
                    &money(discount),
                    &money(shipping),
                    &money(tax),
                    &refunded.0,
                    &refunded.1,
                    &product_code(*product),
                    name,
                    &quantity.to_string(),
                    &money(price),
                ],
            );
        }
        if let Some((amount, product, reason)) = refund {
            let at = text(changed_at);
            row(&mut self.refunds, &[mall.code, &order_no, "1", &money(amount), &at, &product, reason]);
        }
    }
}

/// The later course of an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Expired,
    Paid,
    Shipped,
    Delivered,
    Cancelled,
    Refunded,
    PartlyRefunded,
}

impl Fate {
    fn of(random: &mut Random) -> Self {
        match random.below(100) {
            0..=1 => Self::Waiting,
            2..=4 => Self::Expired,
            5..=7 => Self::Cancelled,
            8..=9 => Self::Refunded,
            10..=12 => Self::PartlyRefunded,
            13..=30 => Self::Paid,
            31..=50 => Self::Shipped,
            _ => Self::Delivered,
        }
    }

    /// What is known of it before a time.
    fn as_of(self, until: DateTime<Utc>, paid_at: DateTime<Utc>, changed_at: DateTime<Utc>) -> Self {
        match self {
            _ if self.is_paid() && paid_at >= until => Self::Waiting,
            Self::Expired if changed_at >= until => Self::Waiting,
            Self::Cancelled if changed_at >= until => Self::Paid,
            Self::Refunded | Self::PartlyRefunded if changed_at >= until => Self::Delivered,
            fate => fate,
        }
    }

    fn is_paid(self) -> bool {
        !matches!(self, Self::Waiting | Self::Expired)
    }

    fn status(self) -> &'static str {
        match self {
            Self::Waiting => "PAYMENT_WAIT",
            Self::Expired | Self::Cancelled => "ORDER_CANCELLED",
            Self::Paid => "PAID",
            Self::Shipped => "SHIPPED",
            Self::Delivered | Self::PartlyRefunded => "DELIVERED",
            Self::Refunded => "REFUNDED",
        }
    }
}

/// A random time of a business day: rarely at night, mostly in the evening; never in an hour that a clock change skips.
fn time_of_day(day: NaiveDate, time_zone: Tz, random: &mut Random) -> DateTime<Utc> {
    let bounds = day_bounds(day, time_zone);
    let length = u64::try_from((bounds.end - bounds.start).num_seconds()).unwrap_or(1).max(1);
    let early = random.below(length);
    let late = random.below(length);
    bounds.start + TimeDelta::seconds(i64::try_from(early.max(late)).unwrap_or(0))
}

fn minutes(count: u64) -> TimeDelta {
    TimeDelta::minutes(i64::try_from(count).unwrap_or(0))
}

fn text(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The code of a product, by its place.
pub(super) fn product_code(number: usize) -> String {
    format!("P{:03}", number + 1)
}

/// Everybody who signed up on a day has a number there; somebody did each day.
fn member_code(signed_up: NaiveDate, number: u64) -> String {
    format!("M{}-{}", signed_up.format("%y%m%d"), number + 1)
}

fn days_up_to(last: NaiveDate, days: u64) -> impl Iterator<Item = NaiveDate> {
    (0..days).rev().map(move |before| last - Days::new(before))
}

impl DemoMall {
    /// The name and the price of a product, by its place.
    pub(super) fn product(&self, place: usize) -> (&'static str, i64) {
        self.products[place]
    }

    /// What it takes for sending goods of this amount.
    pub(super) fn shipping_of(&self, goods: i64) -> i64 {
        if goods < self.free_shipping_from { self.shipping } else { 0 }
    }

    /// The tax that is in an amount, or comes on top of it.
    pub(super) fn tax_of(&self, amount: i64) -> i64 {
        let whole = if self.is_tax_included { 100_000 + self.tax_rate } else { 100_000 };
        amount * self.tax_rate / whole
    }

    /// Its newest finished day.
    pub(super) fn last_day(&self, now: DateTime<Utc>) -> NaiveDate {
        local_day(now, self.time_zone) - Days::new(1)
    }
}

/// Appends one line, quoted as RFC 4180 requires.
fn row(file: &mut String, fields: &[&str]) {
    for (position, field) in fields.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        if field.contains([',', '"', '\n']) {
            // Writing to a String cannot fail.
            let _ = write!(file, "{comma}\"{}\"", field.replace('"', "\"\""));
        } else {
            let _ = write!(file, "{comma}{field}");
        }
    }
    file.push('\n');
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): ten lines whose output no library update can change.
struct Random(u64);

impl Random {
    /// Those of a mall's day: another demo has the same for it.
    fn of(mall: &DemoMall, day: NaiveDate) -> Self {
        let mall = mall.code.bytes().fold(0_u64, |sum, byte| sum * 31 + u64::from(byte));
        Self(mall.wrapping_mul(1_000_003).wrapping_add_signed(i64::from(day.num_days_from_ce())))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit` - 1.
    fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit.max(1)
    }

    /// An index into a list.
    fn pick(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// 0 mostly, sometimes 1 or 2.
    fn small(&mut self) -> i64 {
        [0, 0, 0, 0, 1, 1, 2][self.pick(7)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_demos_are_the_same_shop_and_a_later_one_has_the_same_days() {
        let now: DateTime<Utc> = "2026-11-20T03:00:00Z".parse().unwrap();
        let shop = Shop::new(now, 30);
        assert_eq!(shop.files(), Shop::new(now, 30).files());
        let later = Shop::new(now + TimeDelta::days(10), 30);
        // Everything of the first days is settled by the end of both.
        let of_day = |shop: &Shop| -> Vec<String> {
            let lines = shop.orders.lines().filter(|line| line.starts_with("tokyo,20261105-"));
            lines.map(str::to_owned).collect()
        };
        assert!(of_day(&shop).len() > 60);
        assert_eq!(of_day(&shop), of_day(&later));
    }

    #[test]
    fn nothing_happens_after_the_last_finished_day_of_a_mall() {
        // Noon in Tokyo is the evening before in New York.
        let now: DateTime<Utc> = "2026-11-20T03:00:00Z".parse().unwrap();
        let shop = Shop::new(now, 10);
        let last = MALLS.each_ref().map(|mall| mall.last_day(now).to_string());
        assert_eq!(last, ["2026-11-19", "2026-11-19", "2026-11-18"]);
        for (mall, end) in [("tokyo", "2026-11-19T15:00:00Z"), ("new-york", "2026-11-19T05:00:00Z")] {
            let beginning = format!("{mall},");
            let lines = shop.orders.lines().chain(shop.refunds.lines()).chain(shop.members.lines());
            let times: Vec<&str> = lines
                .filter(|line| line.starts_with(&beginning))
                .flat_map(|line| line.split(','))
                .filter(|field| field.len() == 20 && field.ends_with('Z'))
                .collect();
            assert!(times.len() > 500);
            assert!(times.iter().all(|time| *time < end), "{mall}");
        }
    }
}
