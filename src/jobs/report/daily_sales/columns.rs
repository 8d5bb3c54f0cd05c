//! The columns that several tables of daily sales have, and their cells.

use super::figures::{Figures, Measures};
use crate::documents::{Cell, Column, ColumnKind};
use crate::jobs::report::publication::Extent;
use crate::locale::Locale;
use crate::money::average_half_up;

/// What names a mall: its code to programs, its name to people.
pub(super) fn mall_columns(locale: Locale) -> [Column; 2] {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    [
        text("mall", locale.pick("Mall", "店舗", "쇼핑몰")).for_programs(),
        text("mall_name", locale.pick("Mall", "店舗", "쇼핑몰")),
    ]
}

/// The change of the net amount.
pub(super) fn change_columns(locale: Locale) -> [Column; 2] {
    let change = |key, label| Column::new(key, label, ColumnKind::Number);
    [
        change("day_before_percent", locale.pick("Day before", "前日比", "전일 대비")),
        change("week_before_percent", locale.pick("Week before", "前週比", "전주 대비")),
    ]
}

/// The columns of the figures that every row has.
pub(super) fn measure_columns(locale: Locale) -> Vec<Column> {
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let money = |key, label| Column::new(key, label, ColumnKind::Money);
    vec![
        number("orders", locale.pick("Orders", "注文件数", "주문 건수")),
        number("items", locale.pick("Items", "販売点数", "판매 수량")),
        money("gross_amount", locale.pick("Gross", "総売上（税込）", "총매출")),
        money("discount_amount", locale.pick("Discounts", "値引額", "할인액")).wide_only(),
        money("shipping_amount", locale.pick("Shipping", "送料", "배송비")).wide_only(),
        money("tax_amount", locale.pick("Tax", "消費税", "부가세")).wide_only(),
        number("cancelled_orders", locale.pick("Cancelled", "キャンセル件数", "취소 건수")),
        money("refunded_amount", locale.pick("Refunded", "返金額", "환불액")),
        money("net_amount", locale.pick("Net", "純売上（税込）", "순매출")),
        money("average_order_amount", locale.pick("Average order", "平均注文単価", "평균 주문액")),
        number("new_customers", locale.pick("New customers", "新規顧客", "신규 고객")),
        number("returning_customers", locale.pick("Returning", "既存顧客", "재구매 고객")),
    ]
}

/// The cells of [`measure_columns`] as a mall shows them: tax, and new and returning customers, only if its orders state any.
pub(super) fn shown_cells(
    figures: &Figures,
    mall: i64,
    measures: &Measures,
    currency: &str,
    extent: Extent,
) -> Vec<Cell> {
    let mut cells = measure_cells(measures, currency);
    let nothing = match extent {
        Extent::Top(_) => Cell::text("–"),
        Extent::Everything => Cell::Empty,
    };
    if !figures.has_tax(mall) {
        cells[TAX_COLUMN] = nothing.clone();
    }
    if !figures.has_customers(mall) {
        let first = cells.len().saturating_sub(CUSTOMER_COLUMNS);
        cells[first..].fill(nothing);
    }
    cells
}

/// The place of the tax.
const TAX_COLUMN: usize = 5;

/// The columns about customers, which come last.
const CUSTOMER_COLUMNS: usize = 2;

/// The cells of [`measure_columns`]. The average is computed from the sums, rounded half up to the minor unit.
pub(super) fn measure_cells(measures: &Measures, currency: &str) -> Vec<Cell> {
    let money = |amount| Cell::money(amount, currency);
    vec![
        Cell::Int(measures.orders),
        Cell::Int(measures.items),
        money(measures.gross_amount),
        money(measures.discount_amount),
        money(measures.shipping_amount),
        money(measures.tax_amount),
        Cell::Int(measures.cancelled_orders),
        money(measures.refunded_amount),
        money(measures.net_amount),
        money(average_half_up(measures.gross_amount, measures.orders)),
        Cell::Int(measures.new_customers),
        Cell::Int(measures.returning_customers),
    ]
}
