//! Sales by product and by payment method, as tables.

use super::columns::{mall_columns, measure_cells, measure_columns, shown_cells};
use super::figures::{BreakdownRow, Figures};
use crate::documents::{Cell, Column, ColumnKind, Row, Table};
use crate::jobs::report::publication::Extent;
use crate::locale::Locale;

/// What a day's sales are split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakdown {
    Product,
    PaymentMethod,
}

impl Breakdown {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Product => "PRODUCT",
            Self::PaymentMethod => "PAYMENT_METHOD",
        }
    }

    pub(super) fn table_key(self) -> &'static str {
        match self {
            Self::Product => "products",
            Self::PaymentMethod => "payment_methods",
        }
    }

    pub(super) fn title(self, locale: Locale) -> &'static str {
        match self {
            Self::Product => locale.pick("Sales by product", "商品別売上", "상품별 매출"),
            Self::PaymentMethod => {
                locale.pick("Sales by payment method", "支払方法別売上", "결제 수단별 매출")
            }
        }
    }
}

/// Products or payment methods, the largest net amount first within each mall: for machines one table with every
/// figure, for people a table for each mall with the figures that fit on a page.
pub(super) fn breakdown_tables(
    figures: &Figures,
    locale: Locale,
    extent: Extent,
    kind: Breakdown,
) -> Vec<Table> {
    let title = kind.title(locale);
    let most = match extent {
        Extent::Everything => return vec![breakdown_table(figures, locale, kind, title)],
        Extent::Top(most) => most,
    };
    let malls = figures.breakdown_by_mall(kind).into_iter();
    malls.map(|(mall, rows)| top_table(figures, locale, kind, title, mall, &rows, most)).collect()
}

/// Every row with every figure.
fn breakdown_table(figures: &Figures, locale: Locale, kind: Breakdown, title: &str) -> Table {
    let mut columns: Vec<Column> = mall_columns(locale).into();
    columns.push(Column::new("currency", locale.pick("Currency", "通貨", "통화"), ColumnKind::Text));
    columns.extend(item_columns(locale, kind));
    columns.extend(measure_columns(locale));
    let mut rows = Vec::new();
    for (_, of_mall) in figures.breakdown_by_mall(kind) {
        for (row, item) in of_mall.iter().zip(item_cells(figures, locale, kind, &of_mall)) {
            let mut cells: Vec<Cell> = figures.mall_cells(row.mall_id).into();
            cells.push(Cell::text(row.currency.as_str()));
            cells.extend(item);
            cells.extend(shown_cells(figures, row.mall_id, &row.measures, &row.currency, Extent::Everything));
            rows.push(Row::new(cells));
        }
    }
    Table { key: kind.table_key(), title: title.to_owned(), columns, rows }
}

/// The top rows of one mall, with the figures that people look for.
fn top_table(
    figures: &Figures,
    locale: Locale,
    kind: Breakdown,
    title: &str,
    (mall_id, currency): (i64, &str),
    rows: &[&BreakdownRow],
    most: usize,
) -> Table {
    let mut columns = item_columns(locale, kind);
    let shown = measure_columns(locale).into_iter().filter(|column| TOP_COLUMNS.contains(&column.key));
    columns.extend(
        shown.map(|column| if column.key == "cancelled_orders" { column.wide_only() } else { column }),
    );
    let kept: Vec<bool> =
        measure_columns(locale).iter().map(|column| TOP_COLUMNS.contains(&column.key)).collect();
    // The row that belongs to no single item is always shown: without it the figures do not add up.
    let shown: Vec<&BreakdownRow> = rows
        .iter()
        .scan(0, |shown, row| {
            *shown += usize::from(!row.breakdown_key.is_empty());
            Some((*shown <= most || row.breakdown_key.is_empty()).then_some(*row))
        })
        .flatten()
        .collect();
    let items = item_cells(figures, locale, kind, &shown);
    let rows = shown
        .iter()
        .zip(items)
        .map(|(row, mut cells)| {
            let measures = measure_cells(&row.measures, currency).into_iter().zip(&kept);
            cells.extend(measures.filter(|(_, kept)| **kept).map(|(cell, _)| cell));
            Row::new(cells)
        })
        .collect();
    let mall = figures.malls.name(mall_id);
    Table { key: kind.table_key(), title: format!("{title}: {mall} ({currency})"), columns, rows }
}

/// The figures of a breakdown that fit into the width of a page or a terminal.
const TOP_COLUMNS: [&str; 6] =
    ["orders", "items", "gross_amount", "cancelled_orders", "refunded_amount", "net_amount"];

fn item_columns(locale: Locale, kind: Breakdown) -> Vec<Column> {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    match kind {
        Breakdown::Product => vec![
            text("product", locale.pick("Product", "商品コード", "상품 코드")),
            text("name", locale.pick("Name", "商品名", "상품명")),
        ],
        Breakdown::PaymentMethod => {
            let label = locale.pick("Payment method", "支払方法", "결제 수단");
            vec![text("payment_method", label).for_programs(), text("payment_method_name", label)]
        }
    }
}

/// The cells of [`item_columns`] of a mall's rows. Programs get no value for "none", whatever the language.
fn item_cells(figures: &Figures, locale: Locale, kind: Breakdown, rows: &[&BreakdownRow]) -> Vec<Vec<Cell>> {
    let names = match kind {
        Breakdown::Product => rows.iter().map(|row| row.name.clone()).collect(),
        Breakdown::PaymentMethod => figures.payment_names(rows, locale),
    };
    let cells = |(row, name): (&&BreakdownRow, String)| match (kind, row.breakdown_key.as_str()) {
        (Breakdown::Product, "") => vec![Cell::Empty, Cell::text(whole_orders(locale))],
        (Breakdown::PaymentMethod, "") => {
            vec![Cell::Empty, Cell::text(locale.pick("not stated", "記載なし", "미기재"))]
        }
        (_, key) => vec![Cell::text(key), Cell::text(name)],
    };
    rows.iter().zip(names).map(cells).collect()
}

pub(super) fn whole_orders(locale: Locale) -> &'static str {
    locale.pick(
        "(shipping, added tax, order discounts, refunds of whole orders)",
        "（送料・外税・注文値引・注文単位の返金）",
        "(배송비·별도 세금·주문 할인·주문 단위 환불)",
    )
}
