//! Invented orders, the same for each seed: what happened, before any platform writes it down.

use chrono::{Duration, NaiveDate, NaiveDateTime};

/// The orders of a file.
pub(crate) const ORDERS: usize = 2_000;
/// The day of the first orders. Five weeks, with the end of a month and of daylight saving time in them.
pub(crate) const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 10, 15).expect("a day");
/// The day of the last orders, payments, cancellations and refunds. It is over in every time zone at the tests' time.
pub(crate) const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 18).expect("a day");

/// Something that is sold.
pub(super) struct Product {
    /// The platform's own number for it.
    pub(super) id: u64,
    /// The shop's code, if the shop gave it one.
    pub(super) code: Option<&'static str>,
    /// Its name.
    pub(super) name: &'static str,
    /// The option of it that is sold; empty if it has none.
    pub(super) variant: &'static str,
    /// Its price in whole yen, won, or dollars and cents.
    pub(super) price: i64,
}

/// What is sold. The names hold what makes trouble in files: commas, quotes, half-width kana, letters that only the
/// Windows code page has, emoji.
pub(super) const PRODUCTS: &[Product] = &[
    product(4_400_000_000_001, Some("TEA-001"), "煎茶 100g", "", 1_080),
    product(4_400_000_000_002, Some("TEA-002"), "①番茶、②番茶 飲み比べ", "", 2_160),
    product(4_400_000_000_003, Some("MUG-RED"), "マグカップ", "赤 / L", 1_650),
    product(4_400_000_000_004, Some("MUG-BLU"), "マグカップ", "青 / L", 1_650),
    product(4_400_000_000_005, Some("0012345"), "ﾊﾝｶﾁ ｷﾞﾌﾄｾｯﾄ", "", 3_300),
    product(4_400_000_000_006, Some("TAKA-1"), "髙島ちぢみ パジャマ", "M", 5_940),
    product(4_400_000_000_007, Some("TAKA-2"), "髙島ちぢみ パジャマ", "L", 5_940),
    product(4_400_000_000_008, Some("LATTE"), "抹茶ラテ🍵セット", "", 1_296),
    product(4_400_000_000_009, Some("MON-24"), "モニター 24\" 液晶", "", 19_800),
    product(4_400_000_000_010, None, "福袋", "", 10_800),
    product(4_400_000_000_011, None, "Sticker, round", "", 330),
    product(4_400_000_000_012, Some("KATE-01"), "カーテン～ソ・能・表", "100cm", 4_400),
    product(4_400_000_000_013, Some("KATE-02"), "カーテン～ソ・能・表", "150cm", 5_500),
    product(4_400_000_000_014, Some("A&B"), "A & B <味噌>", "", 864),
    product(4_400_000_000_015, Some("=SUM"), "Spreadsheet \"fun\" kit", "", 2_750),
    product(4_400_000_000_016, Some("GIFT-WRAP"), "ギフトラッピング🎁", "", 220),
    product(4_400_000_000_017, Some("FREE"), "おまけ", "", 0),
    product(4_400_000_000_018, Some("RICE-5"), "新米５ｋｇ", "", 3_024),
    product(4_400_000_000_019, Some("KIMCHI"), "배추김치, 1kg", "", 1_490),
    product(4_400_000_000_020, Some("MISO/2"), "味噌（赤・白）", "", 972),
];

const fn product(
    id: u64,
    code: Option<&'static str>,
    name: &'static str,
    variant: &'static str,
    price: i64,
) -> Product {
    Product { id, code, name, variant, price }
}

/// What buyers write: line breaks, quotes and delimiters among it.
const NOTES: &[&str] = &[
    "",
    "",
    "置き配希望",
    "No rush, \"thanks\"",
    "午前中に\n届けてください",
    "ﾁｬｲﾑを鳴らさないで, お願いします",
    "誕生日です🎂",
    "=1+1",
];

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody has paid yet.
    Waiting,
    /// Paid, not shipped.
    Paid,
    /// Paid and shipped.
    Shipped,
    /// Paid and with the buyer.
    Delivered,
    /// Cancelled before anybody paid.
    CancelledUnpaid,
    /// Cancelled after it was paid.
    CancelledPaid,
    /// Paid back in full.
    Refunded,
    /// Paid back in part.
    PartlyRefunded,
}

/// An order, its times by the mall's clock, its amounts in minor units.
pub(super) struct Order {
    /// Its number in the file, from 1.
    pub(super) serial: u64,
    /// When it was ordered.
    pub(super) ordered_at: NaiveDateTime,
    /// When it was paid.
    pub(super) paid_at: Option<NaiveDateTime>,
    /// When it was cancelled or paid back.
    pub(super) ended_at: Option<NaiveDateTime>,
    /// What became of it.
    pub(super) fate: Fate,
    /// Who bought; nobody that the shop knows if empty.
    pub(super) buyer: Option<u64>,
    /// What was bought.
    pub(super) lines: Vec<Line>,
    /// The shipping that the buyer pays.
    pub(super) shipping: i64,
    /// The fee for paying at the door.
    pub(super) fee: i64,
    /// The price of gift wrapping.
    pub(super) wrapping: i64,
    /// A coupon's discount of the whole order.
    pub(super) coupon: i64,
    /// Points that the buyer used.
    pub(super) points: i64,
    /// Which of the platform's payment methods.
    pub(super) payment: usize,
    /// What was paid back of a partly refunded order.
    pub(super) paid_back: i64,
    /// What the buyer wrote.
    pub(super) note: &'static str,
}

/// A line of an order.
pub(super) struct Line {
    /// What was bought.
    pub(super) product: &'static Product,
    /// How many.
    pub(super) quantity: i64,
    /// The discount of this line.
    pub(super) discount: i64,
    /// Which of the order's addresses it goes to: 1 or 2.
    pub(super) destination: u8,
}

impl Line {
    /// What the units cost.
    pub(super) fn price(&self) -> i64 {
        self.product.price * self.quantity
    }

    /// What the buyer pays for it.
    pub(super) fn amount(&self) -> i64 {
        self.price() - self.discount
    }
}

impl Order {
    /// What its lines cost, with their own discounts.
    pub(super) fn goods(&self) -> i64 {
        self.lines.iter().map(Line::amount).sum()
    }

    /// What the buyer pays where prices are with tax.
    pub(super) fn total(&self) -> i64 {
        self.goods() + self.shipping + self.fee + self.wrapping - self.coupon - self.points
    }

    /// Whether it was paid and not cancelled.
    pub(super) fn is_sold(&self) -> bool {
        matches!(
            self.fate,
            Fate::Paid | Fate::Shipped | Fate::Delivered | Fate::Refunded | Fate::PartlyRefunded
        )
    }

    /// Whether it was cancelled, paid or not.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self.fate, Fate::CancelledUnpaid | Fate::CancelledPaid)
    }

    /// Whether the goods have left the shop.
    pub(super) fn is_shipped(&self) -> bool {
        matches!(self.fate, Fate::Shipped | Fate::Delivered | Fate::Refunded | Fate::PartlyRefunded)
    }

    /// The mail address of the buyer; empty for somebody whom the shop does not know.
    pub(super) fn email(&self) -> String {
        self.buyer.map(|buyer| format!("buyer{buyer:04}@example.jp")).unwrap_or_default()
    }
}

/// The tax that is contained in an amount, at 10 %.
pub(super) fn contained_tax(amount: i64) -> i64 {
    amount * 10 / 110
}

/// The kinds of amounts that a platform has.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a platform's own")]
pub(super) struct Amounts {
    /// Discounts of a single line.
    pub(super) line_discounts: bool,
    /// Coupons for the whole order.
    pub(super) coupons: bool,
    /// Points that are used.
    pub(super) points: bool,
    /// A fee for paying at the door.
    pub(super) fees: bool,
    /// Gift wrapping with a price of its own.
    pub(super) wrapping: bool,
}

impl Amounts {
    /// Shipping alone, which every platform has.
    pub(super) const SHIPPING: Self =
        Self { line_discounts: false, coupons: false, points: false, fees: false, wrapping: false };
    /// All of them.
    pub(super) const ALL: Self =
        Self { line_discounts: true, coupons: true, points: true, fees: true, wrapping: true };
}

/// The orders of a file, oldest first.
pub(super) fn orders(seed: u64, amounts: Amounts) -> Vec<Order> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let last = LAST_DAY.and_hms_opt(23, 59, 59).expect("a time");
    let days = (LAST_DAY - FIRST_DAY).num_days() + 1;
    let mut times: Vec<NaiveDateTime> = (0..ORDERS)
        .map(|_| {
            let day = FIRST_DAY + Duration::days(chance.i64(0..days));
            // Midnight is where days are told apart.
            let second = match chance.u8(0..20) {
                0 => 0,
                1 => 86_399,
                _ => chance.i64(0..86_400),
            };
            day.and_hms_opt(0, 0, 0).expect("a time") + Duration::seconds(second)
        })
        .collect();
    times.sort();
    let orders = (1..).zip(times);
    orders.map(|(serial, ordered_at)| order(&mut chance, serial, ordered_at, last, amounts)).collect()
}

fn order(
    chance: &mut fastrand::Rng,
    serial: u64,
    ordered_at: NaiveDateTime,
    last: NaiveDateTime,
    amounts: Amounts,
) -> Order {
    let wanted = match chance.u8(0..100) {
        0..8 => Fate::Waiting,
        8..30 => Fate::Paid,
        30..60 => Fate::Shipped,
        60..80 => Fate::Delivered,
        80..86 => Fate::CancelledUnpaid,
        86..91 => Fate::CancelledPaid,
        91..95 => Fate::Refunded,
        _ => Fate::PartlyRefunded,
    };
    let mut later = |time: NaiveDateTime, most_days: i64| {
        let time = time + Duration::seconds(chance.i64(0..most_days * 86_400));
        (time <= last).then_some(time)
    };
    // What would have happened after the last day has not happened yet.
    let paid_at = later(ordered_at, 2).filter(|_| !matches!(wanted, Fate::Waiting | Fate::CancelledUnpaid));
    let ended_at = match wanted {
        Fate::CancelledUnpaid => later(ordered_at, 7),
        Fate::CancelledPaid | Fate::Refunded | Fate::PartlyRefunded => {
            paid_at.and_then(|paid_at| later(paid_at, 9))
        }
        _ => None,
    };
    let fate = match wanted {
        Fate::CancelledUnpaid if ended_at.is_none() => Fate::Waiting,
        Fate::CancelledUnpaid => wanted,
        _ if paid_at.is_none() => Fate::Waiting,
        Fate::CancelledPaid | Fate::Refunded | Fate::PartlyRefunded if ended_at.is_none() => Fate::Paid,
        _ => wanted,
    };
    let lines = lines(chance, amounts);
    let goods: i64 = lines.iter().map(Line::amount).sum();
    let mut amount = |is_there: bool, one_in: u8, amount: i64| {
        if is_there && chance.u8(0..one_in) == 0 { amount } else { 0 }
    };
    let mut order = Order {
        serial,
        ordered_at,
        paid_at,
        ended_at,
        fate,
        buyer: None,
        shipping: amount(true, 2, 550),
        fee: amount(amounts.fees, 6, 330),
        wrapping: amount(amounts.wrapping, 8, 220),
        coupon: amount(amounts.coupons, 7, goods / 10),
        points: amount(amounts.points, 7, goods / 20),
        lines,
        payment: chance.usize(0..4),
        paid_back: 0,
        note: NOTES[chance.usize(0..NOTES.len())],
    };
    order.buyer = (chance.u8(0..5) > 0).then(|| chance.u64(1..600));
    if fate == Fate::PartlyRefunded {
        order.paid_back = (order.total() / 3).max(1);
    }
    order
}

/// One to four lines, at least one of which has a price. A product may be in the order twice.
fn lines(chance: &mut fastrand::Rng, amounts: Amounts) -> Vec<Line> {
    let count = [1, 1, 1, 2, 2, 3, 4][chance.usize(0..7)];
    let is_split = chance.u8(0..10) == 0;
    let mut lines: Vec<Line> = (0..count)
        .map(|number| {
            let product = loop {
                let product = &PRODUCTS[chance.usize(0..PRODUCTS.len())];
                if number > 0 || product.price > 300 {
                    break product;
                }
            };
            let quantity = [1, 1, 1, 2, 3][chance.usize(0..5)];
            let discount =
                if amounts.line_discounts && chance.u8(0..9) == 0 { product.price / 10 } else { 0 };
            Line { product, quantity, discount, destination: 1 }
        })
        .collect();
    if is_split && let Some(last) = lines.last_mut() {
        last.destination = 2;
    }
    if chance.u8(0..25) == 0 {
        let first = &lines[0];
        let twin = Line { product: first.product, quantity: 1, discount: 0, destination: 1 };
        lines.push(twin);
    }
    lines
}
