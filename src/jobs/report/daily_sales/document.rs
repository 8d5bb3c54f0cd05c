//! Daily sales as a document for people, and for JSON and XLSX: the summary, the notes, and what the other modules draw.

use std::collections::BTreeSet;

use chrono::DateTime;
use chrono_tz::Tz;

use super::breakdowns::{Breakdown, breakdown_tables};
use super::charts::charts;
use super::columns::{change_columns, mall_columns, measure_columns, shown_cells};
use super::figures::Figures;
use crate::documents::{Cell, Column, ColumnKind, Document, Row, Table};
use crate::jobs::report::publication::Extent;
use crate::jobs::report::{awaited, outdated};
use crate::locale::Locale;

/// The document for people, and for JSON and XLSX.
pub(super) fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
    let reported: BTreeSet<i64> = figures.days.iter().map(|day| day.mall_id).collect();
    let malls: Vec<String> = figures
        .malls
        .values()
        .filter(|mall| reported.contains(&mall.id))
        .map(|mall| format!("{} ({}, {})", mall.name, mall.time_zone, mall.currency))
        .collect();
    let period = figures.period();
    let (outdated, awaiting) = (figures.outdated(), figures.awaiting());
    let mut tables = vec![summary_table(figures, locale, extent)];
    tables.extend(breakdown_tables(figures, locale, extent, Breakdown::Product));
    tables.extend(breakdown_tables(figures, locale, extent, Breakdown::PaymentMethod));
    Document {
        name: format!("daily-sales-{}", period.replace("..", "_")),
        title: awaited::marked_title(
            locale.pick("Daily sales report", "日次売上レポート", "일일 매출 보고서"),
            !awaiting.is_empty(),
            locale,
        ),
        facts: [
            (locale.pick("Business day", "対象日", "기준일").to_owned(), period),
            (locale.pick("Malls", "対象店舗", "대상 쇼핑몰").to_owned(), malls.join(" / ")),
            (
                locale.pick("Computed", "集計日時", "집계 일시").to_owned(),
                figures
                    .computed_at(DateTime::UNIX_EPOCH)
                    .with_timezone(&time_zone)
                    .format("%Y-%m-%d %H:%M %Z")
                    .to_string(),
            ),
        ]
        .into_iter()
        .chain(awaited::fact(&awaiting, time_zone, locale))
        .chain(outdated::fact(&outdated, time_zone, locale))
        .collect(),
        locale,
        tables,
        charts: charts(figures, locale),
        notes: awaited::note(&awaiting, locale)
            .into_iter()
            .chain(outdated::note(&outdated, locale))
            .chain(notes(figures, locale, extent))
            .collect(),
    }
}

/// One row per mall and day; over several days also a total for each mall and currency.
fn summary_table(figures: &Figures, locale: Locale, extent: Extent) -> Table {
    let is_range = figures.first != figures.last;
    let mut day_column =
        Column::new("business_day", locale.pick("Day", "対象日", "기준일"), ColumnKind::Date);
    if extent != Extent::Everything && !is_range {
        // Said once, above the tables.
        day_column = day_column.for_programs();
    }
    let mut columns = vec![day_column];
    columns.extend(mall_columns(locale));
    columns.push(Column::new("currency", locale.pick("Currency", "通貨", "통화"), ColumnKind::Text));
    columns.extend(measure_columns(locale));
    let beside_net =
        columns.iter().position(|column| column.key == "net_amount").map_or(0, |place| place + 1);
    columns.splice(beside_net..beside_net, change_columns(locale));
    columns.push(match extent {
        Extent::Top(_) => {
            Column::new("status", locale.pick("Status", "状態", "상태"), ColumnKind::Text).wide_only()
        }
        Extent::Everything => awaited::final_column(locale),
    });
    if extent == Extent::Everything {
        columns.push(outdated::column(locale));
    }
    let mut rows = Vec::new();
    for day in &figures.days {
        let mut cells = vec![Cell::Date(day.business_day)];
        cells.extend(figures.mall_cells(day.mall_id));
        cells.push(Cell::text(day.currency.as_str()));
        cells.extend(shown_cells(figures, day.mall_id, &day.measures, &day.currency, extent));
        cells.splice(beside_net..beside_net, figures.change_cells(day));
        let is_outdated = day.outdated_at.is_some();
        match extent {
            Extent::Everything => cells.extend([Cell::Bool(day.is_final), outdated::cell(is_outdated)]),
            Extent::Top(_) => cells.push(Cell::text(match (is_outdated, day.is_final) {
                (true, _) => locale.pick("older", "以前の数値", "이전 수치"),
                (false, true) => locale.pick("final", "確定", "확정"),
                (false, false) if day.awaited.is_awaiting() => awaited::word(locale),
                (false, false) => locale.pick("provisional", "速報", "잠정"),
            })),
        }
        rows.push(Row::new(cells));
    }
    if is_range {
        for ((mall, currency), (_, measures)) in figures.sums() {
            // Machines recognise a total by the missing day; people by the word.
            let day = match extent {
                Extent::Everything => Cell::Empty,
                Extent::Top(_) => Cell::text(locale.pick("Total", "合計", "합계")),
            };
            let mut cells = vec![day];
            cells.extend(figures.mall_cells(mall));
            cells.push(Cell::text(currency));
            cells.extend(shown_cells(figures, mall, &measures, currency, extent));
            cells.splice(beside_net..beside_net, [Cell::Empty, Cell::Empty]);
            cells.push(Cell::Empty);
            if extent == Extent::Everything {
                cells.push(Cell::Empty);
            }
            rows.push(Row::total(cells));
        }
    }
    Table {
        key: "malls",
        title: locale.pick("Sales by mall", "店舗別売上", "쇼핑몰별 매출").to_owned(),
        columns,
        rows,
    }
}

fn notes(figures: &Figures, locale: Locale, extent: Extent) -> Vec<String> {
    let mut notes = vec![
        locale
            .pick(
                "A sale counts on the day it was paid, a cancellation or refund on the day it happened, in the mall's own time zone; where a shop's export does not state that day, on the day that its import settings name. Gross is what buyers paid: after discounts, with shipping and tax. Net is gross less refunds.",
                "売上は決済日、キャンセルと返金はその発生日（店舗の出力データにその日付がない場合は、取込設定で定めた日）に計上し、日付は各店舗のタイムゾーンによります。総売上は値引後の支払額（送料・税込）、純売上は総売上から返金額を差し引いた額です。",
                "매출은 결제일, 취소와 환불은 발생일(쇼핑몰 데이터에 그 날짜가 없으면 가져오기 설정에서 정한 날) 기준으로 집계하며 날짜는 각 쇼핑몰의 시간대를 따릅니다. 총매출은 할인 적용 후 실제 결제액(배송비·세금 포함)이고, 순매출은 총매출에서 환불액을 뺀 금액입니다.",
            )
            .to_owned(),
    ];
    if !figures.days.is_empty() {
        notes.push(
            locale
                .pick(
                    "“Day before” and “Week before” are the changes of net sales since the day before and since the same weekday a week before. Only final figures are compared; “–” means that there is nothing to compare with, or that a figure has no source: no order of the mall has ever stated it.",
                    "前日比・前週比は、前日および前週の同じ曜日の純売上との比較です。確定値どうしを比較しており、「–」は比較対象がないこと、または元になるデータ（その店舗の注文に記載された値）が一度もないことを示します。",
                    "전일 대비와 전주 대비는 전날 및 지난주 같은 요일의 순매출과 비교한 것입니다. 확정된 수치끼리만 비교하며, '–'는 비교 대상이 없거나 해당 쇼핑몰의 주문에 그 값이 한 번도 기재된 적이 없음을 뜻합니다.",
                )
                .to_owned(),
        );
    }
    if figures.is_unfinished() {
        notes.push(
            locale
                .pick(
                    "Some days were not over when this was computed: their figures are provisional.",
                    "集計時点で終了していない日が含まれており、その数値は速報値です（「仮」は、終了した日のうちデータが揃っていないものを指します）。",
                    "집계 시점에 끝나지 않은 날짜가 포함되어 있으며 해당 수치는 잠정치입니다.",
                )
                .to_owned(),
        );
    }
    if let Extent::Top(most) = extent {
        let products = figures.breakdown(Breakdown::Product).count();
        let malls = figures
            .breakdown(Breakdown::Product)
            .map(|row| (row.mall_id, &row.currency))
            .collect::<BTreeSet<_>>()
            .len();
        if products > most * malls.max(1) {
            notes.push(locale.pick(
                format!("Products: the top {most} of each mall by net sales; CSV, XLSX and JSON contain all {products} rows."),
                format!("商品別は各店舗の純売上上位{most}件です。全{products}行はCSV・XLSX・JSONに含まれます。"),
                format!("상품별 표는 쇼핑몰마다 순매출 상위 {most}건입니다. 전체 {products}행은 CSV·XLSX·JSON 파일에 있습니다."),
            ));
        }
    }
    notes
}
