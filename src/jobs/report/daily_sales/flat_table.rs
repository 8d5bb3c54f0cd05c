//! Daily sales as the single table of a CSV.

use std::collections::BTreeSet;

use super::breakdowns::{Breakdown, whole_orders};
use super::columns::{measure_columns, shown_cells};
use super::figures::Figures;
use crate::documents::{Cell, Column, ColumnKind, Row, Table};
use crate::jobs::report::publication::Extent;
use crate::jobs::report::{awaited, outdated};
use crate::locale::Locale;

/// The single table of a CSV: totals and breakdowns have the same columns.
pub(super) fn flat_table(figures: &Figures, locale: Locale) -> Table {
    let mut columns = vec![
        Column::new("business_day", locale.pick("Business day", "対象日", "기준일"), ColumnKind::Text),
        Column::new("mall", locale.pick("Mall", "店舗", "쇼핑몰"), ColumnKind::Text),
        Column::new("currency", locale.pick("Currency", "通貨", "통화"), ColumnKind::Text),
        Column::new("breakdown", locale.pick("Breakdown", "区分", "구분"), ColumnKind::Text),
        Column::new("key", locale.pick("Key", "コード", "코드"), ColumnKind::Text),
        Column::new("name", locale.pick("Name", "名称", "이름"), ColumnKind::Text),
    ];
    columns.extend(measure_columns(locale));
    columns.push(awaited::final_column(locale));
    columns.push(outdated::column(locale));
    // Last, so that a program that counts columns still finds those that it knows.
    columns.push(Column::new(
        "mall_name",
        locale.pick("Mall name", "店舗名", "쇼핑몰 이름"),
        ColumnKind::Text,
    ));
    let outdated: BTreeSet<i64> =
        figures.days.iter().filter(|day| day.outdated_at.is_some()).map(|day| day.mall_id).collect();
    let total = locale.pick("total", "合計", "합계");
    let mut rows = Vec::new();
    for day in &figures.days {
        let mut cells = vec![
            Cell::text(day.business_day.to_string()),
            Cell::text(figures.malls.code(day.mall_id)),
            Cell::text(day.currency.as_str()),
            Cell::text(total),
            Cell::Empty,
            Cell::Empty,
        ];
        cells.extend(shown_cells(figures, day.mall_id, &day.measures, &day.currency, Extent::Everything));
        cells.extend([Cell::Bool(day.is_final), outdated::cell(day.outdated_at.is_some())]);
        cells.push(Cell::text(figures.malls.name(day.mall_id)));
        rows.push(Row::new(cells));
    }
    let kinds = [
        (Breakdown::Product, locale.pick("product", "商品", "상품")),
        (Breakdown::PaymentMethod, locale.pick("payment_method", "支払方法", "결제 수단")),
    ];
    for (kind, word) in kinds {
        for (_, of_mall) in figures.breakdown_by_mall(kind) {
            let payment_names = figures.payment_names(&of_mall, locale);
            for (row, payment_name) in of_mall.into_iter().zip(&payment_names) {
                let name = match (kind, row.breakdown_key.as_str()) {
                    (Breakdown::Product, "") => whole_orders(locale),
                    (Breakdown::Product, _) => row.name.as_str(),
                    (Breakdown::PaymentMethod, "") => "",
                    (Breakdown::PaymentMethod, _) => payment_name,
                };
                let mut cells = vec![
                    Cell::text(figures.period()),
                    Cell::text(figures.malls.code(row.mall_id)),
                    Cell::text(row.currency.as_str()),
                    Cell::text(word),
                    Cell::text(row.breakdown_key.as_str()),
                    Cell::text(name),
                ];
                cells.extend(shown_cells(
                    figures,
                    row.mall_id,
                    &row.measures,
                    &row.currency,
                    Extent::Everything,
                ));
                cells.extend([Cell::Empty, outdated::cell(outdated.contains(&row.mall_id))]);
                cells.push(Cell::text(figures.malls.name(row.mall_id)));
                rows.push(Row::new(cells));
            }
        }
    }
    Table { key: "daily_sales", title: String::new(), columns, rows }
}
