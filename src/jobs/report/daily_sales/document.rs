//! The stored figures of daily sales as a document: tables, charts and labels in the reader's language.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use super::TABLE;
use crate::config::ReportConfig;
use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::digest::fingerprint;
use crate::documents::{Cell, Chart, Column, ColumnKind, Document, Row, Series, Table};
use crate::failure::Failure;
use crate::jobs::report::awaited::{self, AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::outdated::{self, OutdatedMall, outdated_malls};
use crate::jobs::report::publication::Extent;
use crate::jobs::report::shown_malls::{ShownMalls, in_order};
use crate::jobs::report::soundness::Unreadable;
use crate::jobs::report::sources;
use crate::jobs::report::wordings::{Wordings, distinct};
use crate::locale::Locale;
use crate::money::{average_half_up, currency_exponent};
use crate::shop::malls::Mall;
use crate::values;

use super::comparisons::{ComparedWith, Comparisons};

/// How many days the chart shows.
const CHART_DAYS: u64 = 30;

/// The figures that every row of every breakdown has.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub(super) struct Measures {
    pub(super) orders: i64,
    pub(super) items: i64,
    pub(super) gross_amount: i64,
    pub(super) discount_amount: i64,
    pub(super) shipping_amount: i64,
    pub(super) tax_amount: i64,
    pub(super) cancelled_orders: i64,
    pub(super) refunded_amount: i64,
    pub(super) net_amount: i64,
    pub(super) new_customers: i64,
    pub(super) returning_customers: i64,
}

impl Measures {
    fn values(&self) -> [i64; 11] {
        [
            self.orders,
            self.items,
            self.gross_amount,
            self.discount_amount,
            self.shipping_amount,
            self.tax_amount,
            self.cancelled_orders,
            self.refunded_amount,
            self.net_amount,
            self.new_customers,
            self.returning_customers,
        ]
    }

    /// Adds another row's figures.
    pub(super) fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.items += other.items;
        self.gross_amount += other.gross_amount;
        self.discount_amount += other.discount_amount;
        self.shipping_amount += other.shipping_amount;
        self.tax_amount += other.tax_amount;
        self.cancelled_orders += other.cancelled_orders;
        self.refunded_amount += other.refunded_amount;
        self.net_amount += other.net_amount;
        self.new_customers += other.new_customers;
        self.returning_customers += other.returning_customers;
    }
}

/// One mall's day.
#[derive(Debug, Clone, FromRow)]
struct DayRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    is_final: bool,
    computed_at: DateTime<Utc>,
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
    #[row(flatten)]
    measures: Measures,
}

/// One product or payment method over the days. Its figures count whatever its key and name hold, which are the shop's own
/// and are shown as far as they can be read.
#[derive(Debug, Clone, FromRow)]
struct BreakdownRow {
    mall_id: i64,
    currency: String,
    breakdown: String,
    breakdown_key: String,
    name: String,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    measures: Measures,
}

#[derive(Debug, Clone, FromRow)]
struct ChartRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    net_amount: i64,
    #[row(problems)]
    problems: Problems,
}

/// A mall's id and one of its currencies.
pub(super) type MallCurrency<'f> = (i64, &'f str);

/// Sums with the name of their mall.
pub(super) type NamedSums<'f> = (&'f str, Measures);

/// Everything a document of these days needs, as stored.
pub(super) struct Figures {
    first: NaiveDate,
    last: NaiveDate,
    malls: ShownMalls,
    days: Vec<DayRow>,
    breakdowns: Vec<BreakdownRow>,
    chart: Vec<ChartRow>,
    comparisons: Comparisons,
    wordings: Wordings,
    /// The malls whose orders never name a customer: that is not the same as no customers.
    without_customers: BTreeSet<i64>,
    asked: BTreeSet<NaiveDate>,
    /// What is left out, with its whole mall; in the chart just its day.
    unreadable: Unreadable,
}

impl Figures {
    /// Loads the malls' stored figures of the days, which may have gaps. A mall with a row that cannot be read is left out:
    /// a sum without that row would be wrong.
    pub(super) async fn load(
        db: &mut Db,
        days: &BTreeSet<NaiveDate>,
        malls: &[Mall],
        config: &ReportConfig,
    ) -> anyhow::Result<Self> {
        let (Some(&first), Some(&last)) = (days.first(), days.last()) else {
            anyhow::bail!("a report needs a day");
        };
        let malls = ShownMalls::new(malls, config);
        let mut rows: Vec<DayRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, is_final, computed_at, outdated_at, awaited_subject,
                        awaited_since, awaited_day, awaited_run, orders, items, gross_amount, discount_amount, shipping_amount, tax_amount, cancelled_orders, refunded_amount,
                        net_amount, new_customers, returning_customers
                 FROM daily_sales WHERE business_day BETWEEN $1 AND $2
                 ORDER BY business_day, mall_id, currency",
                values![first, last],
            )
            .await?;
        let mut breakdowns: Vec<BreakdownRow> = db
            .fetch_all(
                "SELECT mall_id, currency, breakdown, breakdown_key, MAX(name) AS name,
                        CAST(SUM(orders) AS BIGINT) AS orders, CAST(SUM(items) AS BIGINT) AS items,
                        CAST(SUM(gross_amount) AS BIGINT) AS gross_amount,
                        CAST(SUM(discount_amount) AS BIGINT) AS discount_amount,
                        CAST(SUM(shipping_amount) AS BIGINT) AS shipping_amount,
                        CAST(SUM(tax_amount) AS BIGINT) AS tax_amount,
                        CAST(SUM(cancelled_orders) AS BIGINT) AS cancelled_orders,
                        CAST(SUM(refunded_amount) AS BIGINT) AS refunded_amount,
                        CAST(SUM(net_amount) AS BIGINT) AS net_amount,
                        CAST(SUM(new_customers) AS BIGINT) AS new_customers,
                        CAST(SUM(returning_customers) AS BIGINT) AS returning_customers
                 FROM daily_sales_breakdown WHERE business_day BETWEEN $1 AND $2
                 GROUP BY mall_id, currency, breakdown, breakdown_key
                 ORDER BY mall_id, currency, CAST(SUM(net_amount) AS BIGINT) DESC, breakdown_key",
                values![first, last],
            )
            .await?;
        let chart_start = last.checked_sub_days(Days::new(CHART_DAYS - 1)).unwrap_or(last);
        let mut chart: Vec<ChartRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, net_amount FROM daily_sales
                 WHERE business_day BETWEEN $1 AND $2 ORDER BY business_day",
                values![chart_start, last],
            )
            .await?;
        let mut unreadable = Unreadable::default();
        for row in &rows {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.awaited.problems);
        }
        if first == last {
            // Of several days it is one, which the sums below tell.
            for row in breakdowns.iter().filter(|row| row.problems.include("currency")) {
                unreadable.note(row.mall_id, Some(first), &row.problems);
            }
        }
        for row in &chart {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
        }
        let mut comparisons = Comparisons::load(db, first, last, &mut unreadable).await?;
        unreadable.look_for(db, TABLE, comparisons.first_day(), last).await?;
        comparisons.leave_out(&unreadable);
        let is_shown = |mall: i64| malls.contains_key(&mall) && !unreadable.include_any(mall, days);
        rows.retain(|row| days.contains(&row.business_day) && is_shown(row.mall_id));
        // Stable: within a mall they stay as the database sorted them.
        rows.sort_by_key(|row| (row.business_day, malls.place(row.mall_id)));
        breakdowns.retain(|row| is_shown(row.mall_id));
        breakdowns.sort_by_key(|row| malls.place(row.mall_id));
        // A day of which a row cannot be read is a gap.
        chart.retain(|row| is_shown(row.mall_id) && !unreadable.include(row.mall_id, row.business_day));
        let mut without_customers = BTreeSet::new();
        for &mall in malls.keys() {
            if !sources::has_customers(db, mall).await? {
                without_customers.insert(mall);
            }
        }
        Ok(Self {
            first,
            last,
            malls,
            days: rows,
            breakdowns,
            chart,
            comparisons,
            wordings: Wordings::new(config),
            without_customers,
            asked: days.clone(),
            unreadable,
        })
    }

    /// Refuses figures that lack a mall.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.unreadable.check("daily-sales", &self.asked, self.malls.values())
    }

    /// Warns of days that lack a mall, of those with which others are compared.
    pub(super) fn warn(&self, cx: &Context, is_compared: impl Fn(NaiveDate) -> bool) {
        let malls: Vec<Mall> = self.malls.values().cloned().collect();
        // A day may be in the chart and be compared with.
        let warnings: BTreeSet<String> = self.unreadable.warnings(&malls, is_compared).collect();
        for warning in &warnings {
            cx.output.warn(warning);
        }
    }

    /// When the newest of the figures were computed; `otherwise` if there are none.
    pub(super) fn computed_at(&self, otherwise: DateTime<Utc>) -> DateTime<Utc> {
        self.days.iter().map(|row| row.computed_at).max().unwrap_or(otherwise)
    }

    /// Drops the figures of days that were not over.
    pub(super) fn retain_over(&mut self) {
        self.retain(|day| day.is_final || day.awaited.is_awaiting());
    }

    fn retain(&mut self, is_kept: impl Fn(&DayRow) -> bool) {
        self.days.retain(is_kept);
        let reported: BTreeSet<i64> = self.days.iter().map(|day| day.mall_id).collect();
        self.breakdowns.retain(|row| reported.contains(&row.mall_id));
    }

    /// Whether there are no stored figures for these days and malls.
    pub(super) fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// The names of the malls that have no figures at all.
    pub(super) fn missing<'m>(
        &self,
        malls: impl Iterator<Item = &'m Mall>,
        config: &ReportConfig,
    ) -> Vec<String> {
        let is_missing = |mall: &Mall| !self.days.iter().any(|day| day.mall_id == mall.id);
        let malls = in_order(malls.cloned().collect(), config);
        malls.into_iter().filter(is_missing).map(|mall| mall.name).collect()
    }

    /// Whether some of the figures are those of a day that was not over.
    pub(super) fn is_unfinished(&self) -> bool {
        self.days.iter().any(|day| !day.is_final && !day.awaited.is_awaiting())
    }

    /// The malls whose figures wait for data.
    pub(super) fn awaiting(&self) -> Vec<AwaitingMall> {
        awaiting_malls(self.days.iter().map(|day| (day.mall_id, self.malls.name(day.mall_id), &day.awaited)))
    }

    /// Whether a mall's figures wait for data.
    pub(super) fn is_awaiting(&self, mall: i64) -> bool {
        self.days.iter().any(|day| day.mall_id == mall && day.awaited.is_awaiting())
    }

    /// The malls with figures that a later run failed to replace.
    pub(super) fn outdated(&self) -> Vec<OutdatedMall> {
        let rows = self.days.iter().filter(|day| day.outdated_at.is_some());
        outdated_malls(rows.map(|day| (day.mall_id, self.malls.name(day.mall_id), day.computed_at)))
    }

    /// The sums over the days for each mall and currency, with the mall's name, in the order of the malls.
    pub(super) fn sums(&self) -> Vec<(MallCurrency<'_>, NamedSums<'_>)> {
        let mut sums: BTreeMap<(usize, &str), (MallCurrency<'_>, NamedSums<'_>)> = BTreeMap::new();
        for day in &self.days {
            let (mall, currency) = (day.mall_id, day.currency.as_str());
            let sum = sums
                .entry((self.malls.place(mall), currency))
                .or_insert_with(|| ((mall, currency), (self.malls.name(mall), Measures::default())));
            sum.1.1.add(&day.measures);
        }
        sums.into_values().collect()
    }

    /// The net amount of a mall's earlier day, to compare the only one with; `None` for a range.
    pub(super) fn net_before(&self, mall: i64, currency: &str, with: ComparedWith) -> Option<i64> {
        if self.first != self.last {
            return None;
        }
        self.comparisons.net_before(self.first, mall, currency, with)
    }

    /// The day, or the first and the last one.
    pub(super) fn period(&self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}..{}", self.first, self.last)
        }
    }

    /// The cells of [`mall_columns`].
    fn mall_cells(&self, id: i64) -> [Cell; 2] {
        [Cell::text(self.malls.code(id)), Cell::text(self.malls.name(id))]
    }

    /// The cells of [`change_columns`].
    fn change_cells(&self, day: &DayRow) -> [Cell; 2] {
        let (mall, currency, net) = (day.mall_id, day.currency.as_str(), day.measures.net_amount);
        [ComparedWith::Day, ComparedWith::Week]
            .map(|with| Cell::Change(self.comparisons.change(day.business_day, mall, currency, net, with)))
    }

    /// What readers call the payment methods of these rows of a mall.
    fn payment_names(&self, rows: &[&BreakdownRow], locale: Locale) -> Vec<String> {
        let names: Vec<_> = rows
            .iter()
            .map(|row| {
                let platform = self.malls.platform(row.mall_id);
                self.wordings.payment_method(&row.breakdown_key, platform, locale)
            })
            .collect();
        distinct(rows.iter().zip(&names).map(|(row, name)| (row.breakdown_key.as_str(), name.as_ref())))
    }

    fn breakdown(&self, kind: Breakdown) -> impl Iterator<Item = &BreakdownRow> {
        self.breakdowns.iter().filter(move |row| row.breakdown == kind.word())
    }

    /// Changes with the rows of a mall's breakdown, whatever they are called.
    pub(super) fn mark_of(&self, kind: Breakdown, (mall, currency): MallCurrency<'_>) -> String {
        let rows = self.breakdown(kind).filter(|row| row.mall_id == mall && row.currency == currency);
        let mut rows: Vec<(&str, [i64; 11])> =
            rows.map(|row| (row.breakdown_key.as_str(), row.measures.values())).collect();
        rows.sort_unstable();
        fingerprint(format!("{rows:?}"))
    }

    /// Whether new and returning customers can be told apart: not if the mall's orders never name any.
    pub(super) fn has_customers(&self, mall: i64) -> bool {
        !self.without_customers.contains(&mall)
    }

    /// The rows of each mall and currency, in the order of the malls.
    fn breakdown_by_mall(&self, kind: Breakdown) -> Vec<(MallCurrency<'_>, Vec<&BreakdownRow>)> {
        let mut malls: Vec<(MallCurrency<'_>, Vec<&BreakdownRow>)> = Vec::new();
        for row in self.breakdown(kind) {
            let mall = (row.mall_id, row.currency.as_str());
            match malls.last_mut() {
                Some((last, rows)) if *last == mall => rows.push(row),
                _ => malls.push((mall, vec![row])),
            }
        }
        malls
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakdown {
    Product,
    PaymentMethod,
}

impl Breakdown {
    fn word(self) -> &'static str {
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

/// Products or payment methods, the largest net amount first within each mall: for machines one table with every
/// figure, for people a table for each mall with the figures that fit on a page.
fn breakdown_tables(figures: &Figures, locale: Locale, extent: Extent, kind: Breakdown) -> Vec<Table> {
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

/// What names a mall: its code to programs, its name to people.
fn mall_columns(locale: Locale) -> [Column; 2] {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    [
        text("mall", locale.pick("Mall", "店舗", "쇼핑몰")).for_programs(),
        text("mall_name", locale.pick("Mall", "店舗", "쇼핑몰")),
    ]
}

/// The change of the net amount.
fn change_columns(locale: Locale) -> [Column; 2] {
    let change = |key, label| Column::new(key, label, ColumnKind::Number);
    [
        change("day_before_percent", locale.pick("Day before", "前日比", "전일 대비")),
        change("week_before_percent", locale.pick("Week before", "前週比", "전주 대비")),
    ]
}

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

fn whole_orders(locale: Locale) -> &'static str {
    locale.pick(
        "(shipping, added tax, order discounts, refunds of whole orders)",
        "（送料・外税・注文値引・注文単位の返金）",
        "(배송비·별도 세금·주문 할인·주문 단위 환불)",
    )
}

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

/// The cells of [`measure_columns`] as a mall shows them: new and returning customers only if its orders name any.
fn shown_cells(
    figures: &Figures,
    mall: i64,
    measures: &Measures,
    currency: &str,
    extent: Extent,
) -> Vec<Cell> {
    let mut cells = measure_cells(measures, currency);
    if !figures.has_customers(mall) {
        let nothing = match extent {
            Extent::Top(_) => Cell::text("–"),
            Extent::Everything => Cell::Empty,
        };
        let first = cells.len().saturating_sub(CUSTOMER_COLUMNS);
        cells[first..].fill(nothing);
    }
    cells
}

/// The columns about customers, which come last.
const CUSTOMER_COLUMNS: usize = 2;

/// The cells of [`measure_columns`]. The average is computed from the sums, rounded half up to the minor unit.
fn measure_cells(measures: &Measures, currency: &str) -> Vec<Cell> {
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

/// The net amount of the last 30 days, one chart for each mall and currency.
fn charts(figures: &Figures, locale: Locale) -> Vec<Chart> {
    let days: Vec<NaiveDate> =
        (0..CHART_DAYS).rev().filter_map(|back| figures.last.checked_sub_days(Days::new(back))).collect();
    let malls = figures.sums();
    malls
        .into_iter()
        .map(|((mall_id, currency), (name, _))| {
            let amounts: BTreeMap<NaiveDate, f64> = figures
                .chart
                .iter()
                .filter(|row| row.mall_id == mall_id && row.currency == currency)
                .map(|row| (row.business_day, major(row.net_amount, currency)))
                .collect();
            Chart {
                title: format!(
                    "{name}: {}",
                    locale.pick("net sales, last 30 days", "純売上（税込、直近30日間）", "순매출(최근 30일)")
                ),
                unit: currency.to_owned(),
                series: vec![Series {
                    label: locale.pick("Net", "純売上（税込）", "순매출").to_owned(),
                    values: days.iter().map(|day| amounts.get(day).copied()).collect(),
                }],
                days: days.clone(),
            }
        })
        .collect()
}

/// An amount in major units, for drawing only.
#[expect(clippy::cast_precision_loss, reason = "a bar's height needs no more than 52 bits")]
fn major(amount: i64, currency: &str) -> f64 {
    amount as f64 / 10_f64.powi(i32::try_from(currency_exponent(currency)).unwrap_or(0))
}

fn notes(figures: &Figures, locale: Locale, extent: Extent) -> Vec<String> {
    let mut notes = vec![
        locale
            .pick(
                "A sale counts on the day it was paid, a cancellation or refund on the day it happened, in the mall's own time zone. Gross is what buyers paid: after discounts, with shipping and tax. Net is gross less refunds.",
                "売上は決済日、キャンセルと返金はその発生日に計上し、日付は各店舗のタイムゾーンによります。総売上は値引後の支払額（送料・税込）、純売上は総売上から返金額を差し引いた額です。",
                "매출은 결제일, 취소와 환불은 발생일 기준으로 집계하며 날짜는 각 쇼핑몰의 시간대를 따릅니다. 총매출은 할인 적용 후 실제 결제액(배송비·세금 포함)이고, 순매출은 총매출에서 환불액을 뺀 금액입니다.",
            )
            .to_owned(),
    ];
    if !figures.days.is_empty() {
        notes.push(
            locale
                .pick(
                    "“Day before” and “Week before” are the changes of net sales since the day before and since the same weekday a week before. Only final figures are compared; “–” means that there is nothing to compare with.",
                    "前日比・前週比は、前日および前週の同じ曜日の純売上との比較です。確定値どうしを比較しており、「–」は比較対象がないことを示します。",
                    "전일 대비와 전주 대비는 전날 및 지난주 같은 요일의 순매출과 비교한 것입니다. 확정된 수치끼리만 비교하며, '–'는 비교 대상이 없음을 뜻합니다.",
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
