//! Figures that a later run did not replace, or that are shown although their data has changed since: every form of the report
//! says that they are older.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::db::{Db, FromRow, Problems};
use crate::documents::{Cell, Column, ColumnKind};
use crate::locale::Locale;
use crate::period::DayRange;
use crate::shop::arrivals::Subject;
use crate::shop::times::Dated;
use crate::values;

/// Whether these malls have figures of a period in the table of a report.
pub async fn exist(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    malls: &[i64],
) -> anyhow::Result<bool> {
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {name} WHERE {period_column} = $1 AND mall_id IN {})",
        db.numbers("$2")
    );
    let (exist,): (bool,) = db.fetch_one(&sql, values![period, json!(malls)]).await?;
    Ok(exist)
}

/// The newest run that stored figures of these malls for a period.
pub async fn stored_by(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    malls: &[i64],
) -> anyhow::Result<Option<i64>> {
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "SELECT MAX(execution_id) FROM {name} WHERE {period_column} = $1 AND mall_id IN {}",
        db.numbers("$2")
    );
    let (run,): (Option<i64>,) = db.fetch_one(&sql, values![period, json!(malls)]).await?;
    Ok(run)
}

/// Marks these figures, from the first attempt on that does not replace them. What replaces them is unmarked again.
pub async fn mark(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    malls: &[i64],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "UPDATE {name} SET outdated_at = COALESCE(outdated_at, $1)
         WHERE {period_column} = $2 AND mall_id IN {}",
        db.numbers("$3")
    );
    db.execute(&sql, values![now, period, json!(malls)]).await?;
    Ok(())
}

/// Which run computed the figures of each period and mall of a window; of those that cannot be read that is not known.
pub async fn computed_by(
    db: &mut Db,
    table: FigureTable,
    window: DayRange,
) -> anyhow::Result<BTreeMap<(NaiveDate, i64), i64>> {
    #[derive(FromRow)]
    struct Computed {
        period_day: NaiveDate,
        mall_id: i64,
        execution_id: i64,
        #[row(problems)]
        problems: Problems,
    }
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "SELECT DISTINCT {period_column} AS period_day, mall_id, execution_id FROM {name}
         WHERE {period_column} BETWEEN $1 AND $2"
    );
    let rows: Vec<Computed> = db.fetch_all(&sql, values![window.first(), window.last()]).await?;
    let rows = rows.into_iter().filter(|row| row.problems.is_empty());
    Ok(rows.map(|row| ((row.period_day, row.mall_id), row.execution_id)).collect())
}

/// Marks a mall's figures of a period, if they are still those that a run computed.
pub async fn mark_computed_by(
    db: &mut Db,
    table: FigureTable,
    (period, mall): (NaiveDate, i64),
    run: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "UPDATE {name} SET outdated_at = COALESCE(outdated_at, $1)
         WHERE {period_column} = $2 AND mall_id = $3 AND execution_id = $4"
    );
    db.execute(&sql, values![now, period, mall, run]).await?;
    Ok(())
}

/// Where a report stores its figures, by period and mall.
#[derive(Debug, Clone, Copy)]
pub struct FigureTable {
    /// The table.
    pub name: &'static str,
    /// Its column with the first day of the period.
    pub period_column: &'static str,
    /// What its figures are made of.
    pub made_of: &'static [Dated],
    /// What its figures are split into.
    pub parts: &'static [Parts],
    /// The columns with words that the figures are about, with their tables: a row of which one cannot be read has none.
    pub words: &'static [(&'static str, &'static str)],
    /// Which data has to have come before they are final.
    pub awaits: &'static [Subject],
    /// The report's name.
    pub report: &'static str,
    /// The figures by which people know a period, which are restated if they change; they have a currency.
    pub figures: &'static [&'static str],
    /// The condition that a row was reported as that of a period that is over.
    pub is_reported: &'static str,
}

impl FigureTable {
    /// Its own name and those of its parts, each once.
    pub fn tables(&self) -> BTreeSet<&'static str> {
        self.parts.iter().map(|parts| parts.name).chain([self.name]).collect()
    }
}

/// Where the parts of a report's figures are stored, such as its products: they add up to them.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// The table, with the same column for the period.
    pub name: &'static str,
    /// Which of its rows are one split of the figures, as a condition.
    pub which: &'static str,
    /// The columns that both tables have for what the figures are about, besides period and mall.
    pub by: &'static [&'static str],
    /// The columns that add up.
    pub sums: &'static [&'static str],
}

/// A mall whose figures are older than the last attempt to compute them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutdatedMall {
    /// The mall's name.
    pub name: String,
    /// When its figures were computed.
    pub computed_at: DateTime<Utc>,
}

/// The malls of outdated rows by id and name, each once, with the time of its oldest figures.
pub fn outdated_malls<'f>(rows: impl Iterator<Item = (i64, &'f str, DateTime<Utc>)>) -> Vec<OutdatedMall> {
    let mut malls: Vec<(i64, OutdatedMall)> = Vec::new();
    for (id, name, computed_at) in rows {
        match malls.iter_mut().find(|(known, _)| *known == id) {
            Some((_, mall)) => mall.computed_at = mall.computed_at.min(computed_at),
            None => malls.push((id, OutdatedMall { name: name.to_owned(), computed_at })),
        }
    }
    malls.into_iter().map(|(_, mall)| mall).collect()
}

/// Their names, for a mail.
pub fn names(malls: &[OutdatedMall]) -> Vec<&str> {
    malls.iter().map(|mall| mall.name.as_str()).collect()
}

/// The fact of a document: whose figures are older, and from when they are. None if none are.
pub fn fact(malls: &[OutdatedMall], time_zone: Tz, locale: Locale) -> Option<(String, String)> {
    if malls.is_empty() {
        return None;
    }
    let label = locale.pick("Older figures", "以前の数値", "이전 수치");
    let malls: Vec<String> = malls
        .iter()
        .map(|mall| {
            let at = mall.computed_at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M %Z");
            locale.pick(
                format!("{} ({at})", mall.name),
                format!("{}（{at}）", mall.name),
                format!("{}({at})", mall.name),
            )
        })
        .collect();
    Some((label.to_owned(), malls.join(" / ")))
}

/// The note that explains the fact. None if none are older.
pub fn note(malls: &[OutdatedMall], locale: Locale) -> Option<String> {
    let note = locale.pick(
        "The recomputation has not completed for the malls under “Older figures”: what is shown for them is from the time stated there.",
        "「以前の数値」に挙げた店舗は再集計が完了していないため、記載の日時に集計した数値を表示しています。",
        "'이전 수치'에 표시된 쇼핑몰은 재집계가 완료되지 않아, 해당 일시에 집계한 수치를 표시합니다.",
    );
    (!malls.is_empty()).then(|| note.to_owned())
}

/// The last column of a table for machines, with [`cell`]: whether a row's figures are older.
pub fn column(locale: Locale) -> Column {
    Column::new("is_outdated", locale.pick("Outdated", "以前の数値", "이전 수치"), ColumnKind::Text)
}

/// A cell of [`column()`].
pub fn cell(is_outdated: bool) -> Cell {
    Cell::Bool(is_outdated)
}
