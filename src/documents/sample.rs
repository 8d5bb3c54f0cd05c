//! A day's sales of three malls, for the tests of every format.

use chrono::NaiveDate;

use super::{Cell, Chart, Column, ColumnKind, Document, Row, Series, Table};
use crate::locale::Locale;

/// Names as in real shops, and some hostile ones.
const PRODUCTS: [&str; 8] = [
    "Stainless steel lunch box with two compartments and a bamboo lid, 900 ml",
    "有田焼 染付 飯碗 大（直径12.5cm）・ギフト箱入り",
    "한국 전통 자개 보석함 (특대형, 선물 포장 포함)",
    "コットンTシャツ 半袖 ユニセックス",
    "=HYPERLINK(\"http://example.com\")",
    "접이식 우산",
    "#strong[not markup] $x^2$ <b>",
    "Socks",
];

/// The 19th of November 2026.
pub(super) fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 19).unwrap()
}

/// A report with a wide summary of `malls`, `products` products and a chart for each mall.
pub(super) fn sales(locale: Locale, products: usize) -> Document {
    Document {
        name: "daily-sales-2026-11-19".into(),
        title: locale
            .pick("Daily sales, 19 November 2026", "日次売上レポート 2026年11月19日", "일일 매출 보고서 2026년 11월 19일")
            .into(),
        facts: vec![
            (locale.pick("Business day", "営業日", "영업일").into(), "2026-11-19".into()),
            (
                locale.pick("Compared with", "比較対象", "비교 기간").into(),
                locale.pick("the 28 days before", "直近28日間", "직전 28일").into(),
            ),
        ],
        locale,
        tables: vec![summary(locale), best_sellers(locale, products)],
        charts: charts(locale),
        notes: vec![
            locale
                .pick(
                    "Amounts include tax. Refunds count on the day they were made, not on the day of the order.",
                    "金額は税込です。返金は注文日ではなく返金日に計上しています。",
                    "금액은 세금 포함입니다. 환불은 주문일이 아니라 환불일에 집계됩니다.",
                )
                .into(),
        ],
    }
}

fn summary(locale: Locale) -> Table {
    use ColumnKind::{Money, Number, Text};
    let column =
        |key, english, japanese, korean, kind| Column::new(key, locale.pick(english, japanese, korean), kind);
    let columns = vec![
        column("mall", "Mall", "モール", "쇼핑몰", Text),
        column("currency", "Currency", "通貨", "통화", Text),
        column("order_count", "Orders", "注文件数", "주문 수", Number),
        column("item_count", "Items", "販売点数", "판매 수량", Number),
        column("gross_amount", "Gross sales", "総売上", "총매출", Money),
        column("discount_amount", "Discounts", "値引額", "할인액", Money),
        column("shipping_amount", "Shipping", "送料", "배송비", Money),
        column("tax_amount", "Tax", "消費税", "부가세", Money),
        column("refund_count", "Refunds", "返金件数", "환불 건수", Number),
        column("refund_amount", "Refunded amount", "返金額", "환불 금액", Money),
        column("cancelled_count", "Cancelled orders", "キャンセル件数", "취소 건수", Number),
        column("net_amount", "Net sales", "純売上", "순매출", Money),
        column("average_amount", "Average order", "平均注文額", "평균 주문액", Money),
        column("previous_amount", "Net sales, day before", "前日純売上", "전일 순매출", Money),
    ];
    let row = |mall: &str, currency: &str, unit: i64| {
        let money = |amount: i64| Cell::money(amount * unit, currency);
        Row::new(vec![
            Cell::text(mall),
            Cell::text(currency),
            Cell::Int(1_284),
            Cell::Int(3_902),
            money(18_452_310),
            money(-1_230_400),
            money(642_500),
            money(1_677_482),
            Cell::Int(17),
            money(-254_980),
            Cell::Int(9),
            money(17_609_430),
            money(13_714),
            money(16_020_115),
        ])
    };
    Table {
        key: "malls",
        title: locale.pick("By mall", "モール別集計", "쇼핑몰별 집계").into(),
        columns,
        rows: vec![row("JP main store", "JPY", 1), row("KR store", "KRW", 9), row("Global", "USD", 1)],
    }
}

fn best_sellers(locale: Locale, products: usize) -> Table {
    let columns = vec![
        Column::new("product", locale.pick("Product", "商品名", "상품명"), ColumnKind::Text),
        Column::new(
            "first_sold_day",
            locale.pick("On sale since", "販売開始日", "판매 시작일"),
            ColumnKind::Date,
        )
        .wide_only(),
        Column::new("sold_count", locale.pick("Sold", "販売数", "판매량"), ColumnKind::Number),
        Column::new("gross_amount", locale.pick("Gross sales", "総売上", "총매출"), ColumnKind::Money),
    ];
    let mut rows: Vec<Row> = (0_i64..)
        .take(products)
        .map(|index| {
            Row::new(vec![
                Cell::text(PRODUCTS[usize::try_from(index).unwrap() % PRODUCTS.len()]),
                Cell::Date(day() - chrono::Days::new(u64::try_from(index).unwrap() * 31)),
                Cell::Int(1_200 - index * 17),
                Cell::money(4_980_000 - index * 98_765, "JPY"),
            ])
        })
        .collect();
    let total = locale.pick("Total", "合計", "합계");
    rows.push(Row::total(vec![
        Cell::text(total),
        Cell::Empty,
        Cell::Int(34_740),
        Cell::money(122_163_300, "JPY"),
    ]));
    Table {
        key: "products",
        title: locale.pick("Best sellers", "売れ筋商品", "인기 상품").into(),
        columns,
        rows,
    }
}

fn charts(locale: Locale) -> Vec<Chart> {
    let days: Vec<NaiveDate> = (0..28).rev().map(|back| day() - chrono::Days::new(back)).collect();
    let wave = |height: f64, shift: f64| -> Vec<Option<f64>> {
        (0..28_i32)
            .map(|index| {
                let swing = (f64::from(index) * 0.9 + shift).sin() * 0.35 + 0.65 + f64::from(index) * 0.01;
                (index != 11).then_some(height * swing)
            })
            .collect()
    };
    let series = |label: &str, values| Series { label: label.into(), values };
    let net = locale.pick("Net sales", "純売上", "순매출");
    let gross = locale.pick("Gross sales", "総売上", "총매출");
    let mut dollars = wave(9_200.0, 2.0);
    dollars[20] = Some(-1_850.0);
    vec![
        Chart {
            title: "JP main store".into(),
            unit: "JPY".into(),
            days: days.clone(),
            series: vec![series(net, wave(17_609_430.0, 0.0))],
        },
        Chart {
            title: "KR store".into(),
            unit: "KRW".into(),
            days: days.clone(),
            series: vec![series(net, wave(158_484_870.0, 1.0)), series(gross, wave(176_000_000.0, 1.1))],
        },
        Chart { title: "Global".into(), unit: "USD".into(), days, series: vec![series(net, dollars)] },
    ]
}
