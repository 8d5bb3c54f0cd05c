//! The figures as a document, as charts and as the variables of their mail.

use chrono::DateTime;
use chrono::Utc;
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::figures::{CHART_DAYS, Figure, Figures, Measure};
use crate::documents::{Cell, Chart, Column, ColumnKind, Document, Row, Series, Table};
use crate::jobs::report::awaited;
use crate::jobs::report::change::percent;
use crate::jobs::report::outdated;
use crate::jobs::report::publication::Extent;
use crate::jobs::report::told::Headline;
use crate::locale::{Locale, group_digits};
use crate::money::{currency_exponent, minor_in_words};

/// What is shown if there is nothing to compare with.
const NOTHING: &str = "–";

impl Measure {
    fn key(self) -> &'static str {
        match self {
            Self::NetSales => "net_amount",
            Self::AverageOrder => "average_order_amount",
            Self::CancelledAmount => "cancelled_amount",
            Self::Orders => "orders",
            Self::CancelledOrders => "cancelled_orders",
            Self::NewCustomers => "new_customers",
            Self::ActiveMembers => "active_members",
            Self::OpenCarts => "open_carts",
            Self::SoldOutProducts => "sold_out_products",
        }
    }

    fn label(self, locale: Locale) -> &'static str {
        match self {
            Self::NetSales => locale.pick("Net sales", "純売上", "순매출"),
            Self::AverageOrder => locale.pick("Average order", "平均注文単価", "평균 주문액"),
            Self::CancelledAmount => locale.pick("Cancelled amount", "キャンセル金額", "취소 금액"),
            Self::Orders => locale.pick("Orders", "注文件数", "주문 건수"),
            Self::CancelledOrders => locale.pick("Cancelled orders", "キャンセル件数", "취소 건수"),
            Self::NewCustomers => locale.pick("New customers", "新規顧客", "신규 고객"),
            Self::ActiveMembers => locale.pick("Active members", "有効会員", "활성 회원"),
            Self::OpenCarts => locale.pick("Open carts", "未購入カート", "미구매 장바구니"),
            Self::SoldOutProducts => locale.pick("Products sold out", "売り切れ商品", "품절 상품"),
        }
    }
}

impl Figure {
    fn cell(&self, value: i64) -> Cell {
        match &self.currency {
            Some(currency) => Cell::money(value, currency.as_str()),
            None => Cell::Int(value),
        }
    }

    fn change(&self, before: Option<i64>) -> Option<f64> {
        before.zip(self.value).and_then(|(before, value)| percent(before, value))
    }
}

/// A change as shown in a table.
fn change_text(change: Option<f64>) -> String {
    match change {
        None => NOTHING.to_owned(),
        Some(change) if change > 0.0 => format!("+{change:.1}%"),
        Some(change) if change < 0.0 => format!("{change:.1}%"),
        Some(_) => "±0%".to_owned(),
    }
}

/// The document for people, and for JSON and XLSX.
pub(super) fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let day_before = locale.pick("Day before", "前日比", "전일 대비");
    let week_before = locale.pick("Week before", "前週比", "전주 대비");
    let rows = figures.list.iter().map(|figure| {
        Row::new(vec![
            Cell::text(figure.measure.label(locale)),
            Cell::text(figure.currency.as_deref().unwrap_or_default()),
            match (figure.value, extent) {
                (Some(value), _) => figure.cell(value),
                (None, Extent::Top(_)) => Cell::text(NOTHING),
                (None, Extent::Everything) => Cell::Empty,
            },
            Cell::text(change_text(figure.change(figure.day_before))),
            Cell::text(change_text(figure.change(figure.week_before))),
        ])
    });
    let mut whole = Table {
        key: "figures",
        title: locale.pick("Figures", "主要指標", "주요 지표").to_owned(),
        columns: vec![
            text("figure", locale.pick("Figure", "指標", "지표")),
            text("currency", locale.pick("Currency", "通貨", "통화")),
            Column::new("value", locale.pick("Value", "値", "값"), ColumnKind::Money),
            number("day_before", day_before),
            number("week_before", week_before),
        ],
        rows: rows.collect(),
    };
    let mut malls = malls_table(figures, locale);
    if extent == Extent::Everything {
        let mark = |table: &mut Table, marks: Vec<[Cell; 2]>| {
            table.columns.extend([awaited::final_column(locale), outdated::column(locale)]);
            for (row, marks) in table.rows.iter_mut().zip(marks) {
                row.cells.extend(marks);
            }
        };
        let marks_of = figures.list.iter().map(|figure| marks(figure.is_awaiting, figure.is_outdated));
        mark(&mut whole, marks_of.collect());
        let marks_of = figures.malls.iter().map(|mall| marks(mall.is_awaiting, mall.is_outdated));
        mark(&mut malls, marks_of.collect());
    }
    let mut facts = vec![
        (locale.pick("Business day", "対象日", "기준일").to_owned(), figures.day.to_string()),
        (
            locale.pick("Computed", "集計日時", "집계 일시").to_owned(),
            in_words(figures.computed_at, time_zone),
        ),
    ];
    if !figures.missing.is_empty() {
        let label = locale.pick("Not included", "集計に含まれていない店舗", "집계에서 제외된 쇼핑몰");
        facts.push((label.to_owned(), missing_names(figures).join(" / ")));
    }
    facts.extend(awaited::fact(&figures.awaiting, time_zone, locale));
    facts.extend(outdated::fact(&figures.outdated, time_zone, locale));
    Document {
        name: format!("executive-{}", figures.day),
        title: awaited::marked_title(
            locale.pick("Business figures", "経営指標レポート", "경영 지표 보고서"),
            !figures.awaiting.is_empty(),
            locale,
        ),
        facts,
        locale,
        tables: vec![whole, malls],
        charts: charts(figures, locale),
        notes: awaited::note(&figures.awaiting, locale)
            .into_iter()
            .chain(outdated::note(&figures.outdated, locale))
            .chain([locale
                .pick(
                    "Changes are relative to the day before and to the same day of the week before. Only final figures are compared; “–” means that there is nothing to compare with, or that a figure has no source: none of its data has ever come. Members, carts and products are counted on the following morning.",
                    "前日比・前週比は前日および前週同曜日の確定値どうしの比較です。「–」は比較対象がないこと、または元になるデータがまだ一度も届いていないことを示します。会員・カート・商品は翌朝の時点の数です。",
                    "전일 대비와 전주 대비는 전날 및 지난주 같은 요일과의 확정 수치 비교이며, '–'는 비교 대상이 없거나 근거가 되는 데이터가 한 번도 들어오지 않았음을 뜻합니다. 회원·장바구니·상품은 다음 날 아침 기준입니다.",
                )
                .to_owned()])
            .collect(),
    }
}

/// What each mall has sold.
fn malls_table(figures: &Figures, locale: Locale) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let rows = figures.malls.iter().map(|mall| {
        let change = mall.net_before.and_then(|before| percent(before, mall.net_amount));
        Row::new(vec![
            Cell::text(mall.code.as_str()),
            Cell::text(mall.name.as_str()),
            Cell::text(mall.currency.as_str()),
            Cell::Int(mall.orders),
            Cell::money(mall.net_amount, mall.currency.as_str()),
            Cell::text(change_text(change)),
        ])
    });
    Table {
        key: "malls",
        title: locale.pick("By mall", "店舗別", "쇼핑몰별").to_owned(),
        columns: vec![
            text("mall", locale.pick("Mall", "店舗", "쇼핑몰")).for_programs(),
            text("mall_name", locale.pick("Mall", "店舗", "쇼핑몰")),
            text("currency", locale.pick("Currency", "通貨", "통화")),
            number("orders", locale.pick("Orders", "注文件数", "주문 건수")),
            Column::new("net_amount", locale.pick("Net sales", "純売上", "순매출"), ColumnKind::Money),
            number("day_before", locale.pick("Day before", "前日比", "전일 대비")),
        ],
        rows: rows.collect(),
    }
}

/// Whether figures are final, and whether they are older than the last attempt.
fn marks(is_awaiting: bool, is_outdated: bool) -> [Cell; 2] {
    [awaited::final_cell(is_awaiting), outdated::cell(is_outdated)]
}

fn missing_names(figures: &Figures) -> Vec<&str> {
    figures.missing.iter().map(|(_, name)| name.as_str()).collect()
}

fn in_words(instant: DateTime<Utc>, time_zone: Tz) -> String {
    instant.with_timezone(&time_zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

/// The single table of a CSV: each figure with those it is compared with; missing ones are empty.
pub(super) fn flat_table(figures: &Figures, locale: Locale) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let money = |key, label| Column::new(key, label, ColumnKind::Money);
    let columns = vec![
        Column::new("business_day", locale.pick("Business day", "対象日", "기준일"), ColumnKind::Date),
        text("mall", locale.pick("Mall", "店舗", "쇼핑몰")),
        text("figure", locale.pick("Figure", "指標", "지표")),
        text("currency", locale.pick("Currency", "通貨", "통화")),
        money("value", locale.pick("Value", "値", "값")),
        money("day_before", locale.pick("Day before", "前日", "전일")),
        money("week_before", locale.pick("Week before", "前週", "전주")),
        awaited::final_column(locale),
        outdated::column(locale),
        // Last, so that a program that counts columns still finds those that it knows.
        text("mall_name", locale.pick("Mall name", "店舗名", "쇼핑몰 이름")),
    ];
    let mut rows: Vec<Row> = figures
        .list
        .iter()
        .map(|figure| {
            let cell = |value: Option<i64>| value.map_or(Cell::Empty, |value| figure.cell(value));
            Row::new(vec![
                Cell::Date(figures.day),
                Cell::Empty,
                Cell::text(figure.measure.key()),
                Cell::text(figure.currency.as_deref().unwrap_or_default()),
                cell(figure.value),
                cell(figure.day_before),
                cell(figure.week_before),
                awaited::final_cell(figure.is_awaiting),
                outdated::cell(figure.is_outdated),
                Cell::Empty,
            ])
        })
        .collect();
    rows.extend(figures.malls.iter().map(|mall| {
        let cell = |value: Option<i64>| {
            value.map_or(Cell::Empty, |value| Cell::money(value, mall.currency.as_str()))
        };
        Row::new(vec![
            Cell::Date(figures.day),
            Cell::text(mall.code.as_str()),
            Cell::text(Measure::NetSales.key()),
            Cell::text(mall.currency.as_str()),
            cell(Some(mall.net_amount)),
            cell(mall.net_before),
            Cell::Empty,
            awaited::final_cell(mall.is_awaiting),
            outdated::cell(mall.is_outdated),
            Cell::text(mall.name.as_str()),
        ])
    }));
    Table { key: "executive", title: String::new(), columns, rows }
}

/// The same table without the comparisons: reporting an older day later does not make this a different report.
pub(super) fn without_comparisons(figures: &Figures, locale: Locale) -> Table {
    let mut table = flat_table(figures, locale);
    let kept: Vec<bool> =
        table.columns.iter().map(|column| !["day_before", "week_before"].contains(&column.key)).collect();
    for row in &mut table.rows {
        let mut kept = kept.iter();
        row.cells.retain(|_| kept.next() == Some(&true));
    }
    let mut kept = kept.iter();
    table.columns.retain(|_| kept.next() == Some(&true));
    table
}

/// The net sales of the last days, a chart for each currency.
pub(super) fn charts(figures: &Figures, locale: Locale) -> Vec<Chart> {
    let title = locale.pick(
        format!("Net sales, last {CHART_DAYS} days"),
        format!("純売上（直近{CHART_DAYS}日間）"),
        format!("순매출(최근 {CHART_DAYS}일)"),
    );
    figures
        .charts
        .iter()
        .map(|(currency, days)| Chart {
            title: title.clone(),
            unit: currency.clone(),
            days: days.iter().map(|(day, _)| *day).collect(),
            series: vec![Series {
                label: Measure::NetSales.label(locale).to_owned(),
                values: days.iter().map(|(_, net)| net.map(|net| major(net, currency))).collect(),
            }],
        })
        .collect()
}

/// An amount in major units, for drawing only.
#[expect(clippy::cast_precision_loss, reason = "a bar's height needs no more than 52 bits")]
fn major(amount: i64, currency: &str) -> f64 {
    amount as f64 / 10_f64.powi(i32::try_from(currency_exponent(currency)).unwrap_or(0))
}

/// The kind of a figure for the filter `figure`.
fn kind(measure: Measure) -> &'static str {
    match measure {
        Measure::NetSales | Measure::AverageOrder | Measure::CancelledAmount => "money",
        Measure::Orders | Measure::CancelledOrders => "orders",
        Measure::NewCustomers | Measure::ActiveMembers => "people",
        Measure::OpenCarts => "carts",
        Measure::SoldOutProducts => "products",
    }
}

/// The figures by which readers know the day.
pub(super) fn headlines(figures: &Figures, locale: Locale) -> Vec<Headline> {
    let shown = |value: i64, currency: Option<&str>| match currency {
        Some(currency) => minor_in_words(value, currency, locale),
        None => group_digits(&value.to_string()),
    };
    let of_all = figures.list.iter().map(|figure| {
        let currency = figure.currency.as_deref();
        let measure = figure.measure;
        let value = figure.value.map_or_else(|| NOTHING.to_owned(), |value| shown(value, currency));
        Headline::new(
            (0, locale.pick("Total", "合計", "합계")),
            measure.key(),
            currency,
            measure.label(locale),
            value,
        )
        .awaiting(figure.is_awaiting)
    });
    let of_malls = figures.malls.iter().flat_map(|mall| {
        let currency = Some(mall.currency.as_str());
        [(Measure::NetSales, shown(mall.net_amount, currency)), (Measure::Orders, shown(mall.orders, None))]
            .map(|(measure, value)| {
                Headline::new((mall.id, &mall.name), measure.key(), currency, measure.label(locale), value)
                    .awaiting(mall.is_awaiting)
            })
    });
    of_all.chain(of_malls).collect()
}

/// The variables of the template `executive`, except `attachments` and `has_chart`.
pub(super) fn variables(figures: &Figures, locale: Locale) -> Value {
    let list: Vec<Value> = figures
        .list
        .iter()
        .map(|figure| {
            json!({
                "label": figure.measure.label(locale),
                "value": figure.value,
                "kind": kind(figure.measure),
                "currency": figure.currency,
                "day_before_percent": figure.change(figure.day_before),
                "week_before_percent": figure.change(figure.week_before),
            })
        })
        .collect();
    let malls: Vec<Value> = figures
        .malls
        .iter()
        .map(|mall| {
            json!({
                "name": mall.name,
                "orders": mall.orders,
                "net_amount": mall.net_amount,
                "currency": mall.currency,
                "change_percent": mall.net_before.and_then(|before| percent(before, mall.net_amount)),
            })
        })
        .collect();
    json!({
        "day": figures.day.to_string(),
        "figures": list,
        "malls": malls,
        "missing_malls": missing_names(figures),
        "outdated_malls": outdated::names(&figures.outdated),
    })
}
