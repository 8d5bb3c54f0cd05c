//! The stored cancellations as a document and as the variables of their mail.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::{TABLE, UNSPECIFIED};
use crate::config::ReportConfig;
use crate::db::{Db, FromRow, Problems};
use crate::digest::fingerprint;
use crate::documents::{Cell, Column, ColumnKind, Document, Row, Table};
use crate::failure::Failure;
use crate::jobs::report::awaited::{self, AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::outdated::{self, OutdatedMall, outdated_malls};
use crate::jobs::report::publication::Extent;
use crate::jobs::report::shown_malls::ShownMalls;
use crate::jobs::report::soundness::Unreadable;
use crate::jobs::report::told::Headline;
use crate::jobs::report::wordings::{Wordings, distinct};
use crate::locale::{Locale, group_digits};
use crate::money::minor_in_words;
use crate::shop::malls::Mall;
use crate::values;

#[derive(Debug, Clone, FromRow)]
struct DayRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    cancelled_orders: i64,
    cancelled_amount: i64,
    computed_at: DateTime<Utc>,
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
}

#[derive(Debug, Clone, FromRow)]
struct ReasonRow {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    reason: String,
    cancelled_orders: i64,
    cancelled_amount: i64,
    #[row(problems)]
    problems: Problems,
}

/// A count and its amount.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    orders: i64,
    amount: i64,
}

/// A mall's id and one of its currencies.
type MallCurrency<'f> = (i64, &'f str);

/// Everything a document of these days needs, as stored.
pub struct Figures {
    first: NaiveDate,
    last: NaiveDate,
    malls: ShownMalls,
    days: Vec<DayRow>,
    reasons: Vec<ReasonRow>,
    asked: BTreeSet<NaiveDate>,
    /// What is left out, with its whole mall.
    unreadable: Unreadable,
    wordings: Wordings,
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
        let is_asked = |day, mall| days.contains(&day) && malls.contains_key(&mall);
        let mut rows: Vec<DayRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, cancelled_orders, cancelled_amount, computed_at,
                        outdated_at, awaited_subject, awaited_since, awaited_day, awaited_run
                 FROM daily_cancellations WHERE business_day BETWEEN $1 AND $2
                 ORDER BY business_day, mall_id, currency",
                values![first, last],
            )
            .await?;
        let mut reasons: Vec<ReasonRow> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, reason, cancelled_orders, cancelled_amount
                 FROM daily_cancellations_by_reason WHERE business_day BETWEEN $1 AND $2",
                values![first, last],
            )
            .await?;
        let mut unreadable = Unreadable::default();
        for row in &rows {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.awaited.problems);
        }
        for row in &reasons {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
        }
        unreadable.look_for(db, TABLE, first, last).await?;
        let is_shown = |day: NaiveDate, mall: i64| is_asked(day, mall) && !unreadable.include_any(mall, days);
        rows.retain(|row| is_shown(row.business_day, row.mall_id));
        // Stable: within a mall they stay as the database sorted them.
        rows.sort_by_key(|row| (row.business_day, malls.place(row.mall_id)));
        reasons.retain(|row| is_shown(row.business_day, row.mall_id));
        // The most frequent first; sorted in Rust because the databases sort texts differently.
        reasons.sort_by(|one, other| {
            let key = |row: &ReasonRow| (row.business_day, malls.place(row.mall_id), row.currency.clone());
            key(one)
                .cmp(&key(other))
                .then(other.cancelled_orders.cmp(&one.cancelled_orders))
                .then_with(|| one.reason.cmp(&other.reason))
        });
        let (asked, wordings) = (days.clone(), Wordings::new(config));
        Ok(Self { first, last, malls, days: rows, reasons, asked, unreadable, wordings })
    }

    /// Refuses figures that lack a mall.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.unreadable.check("daily-cancellations", &self.asked, self.malls.values())
    }

    /// When the newest of the figures were computed; `otherwise` if there are none.
    pub(super) fn computed_at(&self, otherwise: DateTime<Utc>) -> DateTime<Utc> {
        self.days.iter().map(|row| row.computed_at).max().unwrap_or(otherwise)
    }

    /// The day, or the first and the last one.
    pub(super) fn period(&self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}..{}", self.first, self.last)
        }
    }

    /// Whether there are no stored figures for these days and malls.
    pub(super) fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// The malls with figures that a later run failed to replace.
    fn outdated(&self) -> Vec<OutdatedMall> {
        let rows = self.days.iter().filter(|row| row.outdated_at.is_some());
        outdated_malls(rows.map(|row| (row.mall_id, self.name(row.mall_id), row.computed_at)))
    }

    /// The malls whose figures wait for data.
    pub(super) fn awaiting(&self) -> Vec<AwaitingMall> {
        awaiting_malls(self.days.iter().map(|row| (row.mall_id, self.name(row.mall_id), &row.awaited)))
    }

    fn is_awaiting(&self, mall: i64) -> bool {
        self.days.iter().any(|day| day.mall_id == mall && day.awaited.is_awaiting())
    }

    fn code(&self, id: i64) -> &str {
        self.malls.code(id)
    }

    fn name(&self, id: i64) -> &str {
        self.malls.name(id)
    }

    /// A mall by code and by name, for programs and for people.
    fn mall_cells(&self, id: i64) -> [Cell; 2] {
        [Cell::text(self.code(id)), Cell::text(self.name(id))]
    }

    /// The sums over the days for each mall and currency, in the order of the malls.
    fn sums(&self) -> Vec<(MallCurrency<'_>, Sum)> {
        let mut sums: BTreeMap<(usize, &str), (MallCurrency<'_>, Sum)> = BTreeMap::new();
        for row in &self.days {
            let (mall, currency) = (row.mall_id, row.currency.as_str());
            let (_, sum) = sums
                .entry((self.malls.place(mall), currency))
                .or_insert_with(|| ((mall, currency), Sum::default()));
            sum.orders += row.cancelled_orders;
            sum.amount += row.cancelled_amount;
        }
        sums.into_values().collect()
    }

    /// What readers call reasons that stand together.
    fn reason_names(&self, reasons: &[&str], locale: Locale) -> Vec<String> {
        let names: Vec<_> = reasons.iter().map(|reason| self.reason_name(reason, locale)).collect();
        distinct(reasons.iter().copied().zip(names.iter().map(AsRef::as_ref)))
    }

    fn reason_name<'r>(&self, reason: &'r str, locale: Locale) -> Cow<'r, str> {
        if reason == UNSPECIFIED {
            Cow::Borrowed(locale.pick("not stated", "理由の記載なし", "사유 미기재"))
        } else {
            self.wordings.cancellation_reason(reason, locale)
        }
    }

    /// The reasons of a day with what readers call them.
    fn named_reasons(&self, locale: Locale) -> Vec<(&ReasonRow, String)> {
        let is_together = |one: &ReasonRow, other: &ReasonRow| {
            (one.business_day, one.mall_id, &one.currency)
                == (other.business_day, other.mall_id, &other.currency)
        };
        let name = |rows: &'_ [ReasonRow]| {
            let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
            self.reason_names(&reasons, locale)
        };
        self.reasons.chunk_by(is_together).flat_map(|rows| rows.iter().zip(name(rows))).collect()
    }

    /// Changes with a mall's reasons.
    fn mark_of_reasons(&self, mall: i64, currency: &str) -> String {
        let mut reasons: Vec<(&str, i64, i64)> = self
            .reasons_of(mall, currency)
            .into_iter()
            .map(|(reason, sum)| (reason, sum.orders, sum.amount))
            .collect();
        reasons.sort_unstable();
        fingerprint(format!("{reasons:?}"))
    }

    /// The sums of a mall's reasons over the days, the most frequent first.
    fn reasons_of(&self, mall: i64, currency: &str) -> Vec<(&str, Sum)> {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for row in self.reasons.iter().filter(|row| row.mall_id == mall && row.currency == currency) {
            let sum = sums.entry(&row.reason).or_default();
            sum.orders += row.cancelled_orders;
            sum.amount += row.cancelled_amount;
        }
        let mut sums: Vec<(&str, Sum)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.orders));
        sums
    }
}

/// The columns of a document: to programs the codes and what they are called, to people only that.
fn columns(locale: Locale, with_reason: bool) -> Vec<Column> {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let (mall, reason) =
        (locale.pick("Mall", "店舗", "쇼핑몰"), locale.pick("Reason", "キャンセル理由", "취소 사유"));
    let mut columns = vec![
        Column::new("business_day", locale.pick("Day", "対象日", "기준일"), ColumnKind::Date),
        text("mall", mall).for_programs(),
        text("mall_name", mall),
        text("currency", locale.pick("Currency", "通貨", "통화")),
    ];
    if with_reason {
        columns.extend([text("reason", reason).for_programs(), text("reason_name", reason)]);
    }
    columns.push(Column::new(
        "cancelled_orders",
        locale.pick("Cancelled orders", "キャンセル件数", "취소 건수"),
        ColumnKind::Number,
    ));
    columns.push(Column::new(
        "cancelled_amount",
        locale.pick("Amount", "キャンセル金額", "취소 금액"),
        ColumnKind::Money,
    ));
    columns
}

/// The document for people, and for JSON and XLSX.
pub(super) fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
    let (outdated, awaiting) = (figures.outdated(), figures.awaiting());
    let mut rows: Vec<Row> = figures
        .days
        .iter()
        .map(|row| {
            let [code, name] = figures.mall_cells(row.mall_id);
            Row::new(vec![
                Cell::Date(row.business_day),
                code,
                name,
                Cell::text(row.currency.as_str()),
                Cell::Int(row.cancelled_orders),
                Cell::money(row.cancelled_amount, row.currency.as_str()),
            ])
        })
        .collect();
    if figures.first != figures.last {
        rows.extend(figures.sums().into_iter().map(|((mall, currency), sum)| {
            let [code, name] = figures.mall_cells(mall);
            Row::total(vec![
                Cell::Empty,
                code,
                name,
                Cell::text(currency),
                Cell::Int(sum.orders),
                Cell::money(sum.amount, currency),
            ])
        }));
    }
    let mut malls = Table {
        key: "malls",
        title: locale.pick("Cancellations by mall", "店舗別キャンセル", "쇼핑몰별 취소").to_owned(),
        columns: columns(locale, false),
        rows,
    };
    if extent == Extent::Everything {
        malls.columns.extend([awaited::final_column(locale), outdated::column(locale)]);
        let marks = figures.days.iter().map(marks_of);
        // The totals come last.
        for (row, marks) in
            malls.rows.iter_mut().zip(marks.chain(std::iter::repeat([Cell::Empty, Cell::Empty])))
        {
            row.cells.extend(marks);
        }
    }
    let period = figures.period();
    Document {
        name: format!("daily-cancellations-{}", period.replace("..", "_")),
        title: awaited::marked_title(
            locale.pick("Daily cancellations report", "日次キャンセルレポート", "일일 취소 보고서"),
            !awaiting.is_empty(),
            locale,
        ),
        facts: [
            (locale.pick("Business day", "対象日", "기준일").to_owned(), period),
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
        tables: vec![malls, reasons_table(figures, locale)],
        charts: Vec::new(),
        notes: awaited::note(&awaiting, locale)
            .into_iter()
            .chain(outdated::note(&outdated, locale))
            .chain([locale
                .pick(
                    "A cancellation counts on the day it happened, in the mall's own time zone, whether or not the order had been paid; where a shop's export does not state that day, on the day that its import settings name. The amount is the total of the orders; it is not what was refunded.",
                    "キャンセルは発生日（店舗の出力データにその日付がない場合は、取込設定で定めた日）に計上し、日付は各店舗のタイムゾーンによります。未入金の注文も含みます。金額は注文の合計額であり、返金額ではありません。",
                    "취소는 발생일(쇼핑몰 데이터에 그 날짜가 없으면 가져오기 설정에서 정한 날) 기준으로 집계하며 날짜는 각 쇼핑몰의 시간대를 따릅니다. 미결제 주문도 포함됩니다. 금액은 주문 합계이며 환불액이 아닙니다.",
                )
                .to_owned()])
            .collect(),
    }
}

/// Whether a row's figures are final, and whether they are older than the last attempt.
fn marks_of(row: &DayRow) -> [Cell; 2] {
    [awaited::final_cell(row.awaited.is_awaiting()), outdated::cell(row.outdated_at.is_some())]
}

fn reasons_title(locale: Locale) -> &'static str {
    locale.pick("Cancellations by reason", "理由別キャンセル", "사유별 취소")
}

fn reasons_table(figures: &Figures, locale: Locale) -> Table {
    let rows = figures
        .named_reasons(locale)
        .into_iter()
        .map(|(row, reason_name)| {
            let [code, name] = figures.mall_cells(row.mall_id);
            Row::new(vec![
                Cell::Date(row.business_day),
                code,
                name,
                Cell::text(row.currency.as_str()),
                Cell::text(row.reason.as_str()),
                Cell::text(reason_name),
                Cell::Int(row.cancelled_orders),
                Cell::money(row.cancelled_amount, row.currency.as_str()),
            ])
        })
        .collect();
    Table { key: "reasons", title: reasons_title(locale).to_owned(), columns: columns(locale, true), rows }
}

/// The single table of a CSV: the totals are the rows without a reason.
pub(super) fn flat_table(figures: &Figures, locale: Locale) -> Table {
    let marks: BTreeMap<(NaiveDate, i64), [Cell; 2]> =
        figures.days.iter().map(|row| ((row.business_day, row.mall_id), marks_of(row))).collect();
    let marks = |day, mall| marks.get(&(day, mall)).cloned().unwrap_or([Cell::Empty, Cell::Empty]);
    let mut rows: Vec<Row> = figures
        .days
        .iter()
        .map(|row| {
            let mut cells = vec![
                Cell::Date(row.business_day),
                Cell::text(figures.code(row.mall_id)),
                Cell::text(row.currency.as_str()),
                Cell::Empty,
                Cell::Int(row.cancelled_orders),
                Cell::money(row.cancelled_amount, row.currency.as_str()),
            ];
            cells.extend(marks(row.business_day, row.mall_id));
            cells.extend([Cell::text(figures.name(row.mall_id)), Cell::Empty]);
            Row::new(cells)
        })
        .collect();
    rows.extend(figures.named_reasons(locale).into_iter().map(|(row, reason_name)| {
        let mut cells = vec![
            Cell::Date(row.business_day),
            Cell::text(figures.code(row.mall_id)),
            Cell::text(row.currency.as_str()),
            // As stored: a machine reads the same value in every language.
            Cell::text(row.reason.as_str()),
            Cell::Int(row.cancelled_orders),
            Cell::money(row.cancelled_amount, row.currency.as_str()),
        ];
        cells.extend(marks(row.business_day, row.mall_id));
        cells.extend([Cell::text(figures.name(row.mall_id)), Cell::text(reason_name)]);
        Row::new(cells)
    }));
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let mut columns = columns(locale, true);
    columns.retain(|column| !["mall_name", "reason_name"].contains(&column.key));
    columns.extend([awaited::final_column(locale), outdated::column(locale)]);
    // Last, so that a program that counts columns still finds those that it knows.
    columns.extend([
        text("mall_name", locale.pick("Mall name", "店舗名", "쇼핑몰 이름")),
        text("reason_name", locale.pick("Reason name", "キャンセル理由（表示名）", "취소 사유명")),
    ]);
    Table { key: "daily_cancellations", title: String::new(), columns, rows }
}

/// The figures by which readers know the day.
pub(super) fn headlines(figures: &Figures, locale: Locale) -> Vec<Headline> {
    let of_mall = |((mall, currency), sum): ((i64, &str), Sum)| {
        let name = figures.name(mall);
        [
            Headline::new(
                (mall, name),
                "cancelled_orders",
                Some(currency),
                locale.pick("Cancelled orders", "キャンセル件数", "취소 건수"),
                group_digits(&sum.orders.to_string()),
            )
            .awaiting(figures.is_awaiting(mall)),
            Headline::new(
                (mall, name),
                "cancelled_amount",
                Some(currency),
                locale.pick("Amount", "キャンセル金額", "취소 금액"),
                minor_in_words(sum.amount, currency, locale),
            )
            .awaiting(figures.is_awaiting(mall)),
            Headline::of_parts(
                (mall, name),
                "reasons",
                currency,
                reasons_title(locale),
                locale,
                figures.mark_of_reasons(mall, currency),
            )
            .awaiting(figures.is_awaiting(mall)),
        ]
    };
    figures.sums().into_iter().flat_map(of_mall).collect()
}

/// The variables of the template `daily-cancellations`, except `attachments`.
pub(super) fn variables(figures: &Figures, locale: Locale) -> Value {
    let malls: Vec<Value> = figures
        .sums()
        .into_iter()
        .map(|((mall, currency), sum)| {
            let reasons = figures.reasons_of(mall, currency);
            let names: Vec<&str> = reasons.iter().map(|(reason, _)| *reason).collect();
            let reasons: Vec<Value> = figures
                .reason_names(&names, locale)
                .into_iter()
                .zip(reasons)
                .map(|(name, (_, sum))| {
                    json!({
                        "reason": name,
                        "orders": sum.orders,
                        "amount": sum.amount,
                    })
                })
                .collect();
            json!({
                "name": figures.name(mall),
                "currency": currency,
                "orders": sum.orders,
                "amount": sum.amount,
                "reasons": reasons,
            })
        })
        .collect();
    json!({
        "day": figures.period(),
        "malls": malls,
        "outdated_malls": outdated::names(&figures.outdated()),
    })
}
