//! Figures that were reported and have another value now: rows of `report_restatements`, which finance reads, and a
//! sentence for whoever started the run.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::db::{Db, FromRow, Problems};
use crate::locale::{Locale, group_digits};
use crate::money::minor_in_words;
use crate::shop::malls::Mall;
use crate::values;

use super::outdated::FigureTable;

/// How many changes of a mall a sentence names.
const MOST_IN_SENTENCE: usize = 3;

/// What is stored of a mall's period, by currency and figure.
pub type Reported = BTreeMap<(String, String), i64>;

/// Why a figure has another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was provisional, and its data has come.
    DataArrived,
    /// Rows were written since.
    DataChanged,
    /// Somebody asked for it.
    Rerun,
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Self::DataArrived => "DATA_ARRIVED",
            Self::DataChanged => "DATA_CHANGED",
            Self::Rerun => "RERUN",
        }
    }
}

/// A figure that has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restatement {
    currency: String,
    figure: String,
    before: Option<i64>,
    after: Option<i64>,
}

/// What can be read of what is stored of a mall's period; nothing of a day that was not over, which nobody takes for the day's figures.
pub async fn reported(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    mall: i64,
) -> anyhow::Result<Reported> {
    #[derive(FromRow)]
    struct Row {
        currency: String,
        figure: String,
        value: i64,
        #[row(problems)]
        problems: Problems,
    }
    let FigureTable { name, period_column, figures, is_reported, .. } = table;
    if figures.is_empty() {
        return Ok(Reported::new());
    }
    let of_figure = |figure: &&str| {
        format!(
            "SELECT currency, '{figure}' AS figure, {figure} AS value FROM {name}
             WHERE {period_column} = $1 AND mall_id = $2 AND {is_reported}"
        )
    };
    let sql = figures.iter().map(of_figure).collect::<Vec<_>>().join(" UNION ALL ");
    let rows: Vec<Row> = db.fetch_all(&sql, values![period, mall]).await?;
    let rows = rows.into_iter().filter(|row| row.problems.is_empty());
    Ok(rows.map(|row| ((row.currency, row.figure), row.value)).collect())
}

/// The figures that differ, in the order of the table's. Nothing is restated where nothing was reported.
pub fn compare(table: FigureTable, before: &Reported, after: &Reported) -> Vec<Restatement> {
    if before.is_empty() {
        return Vec::new();
    }
    let mut currencies: Vec<&String> =
        before.keys().chain(after.keys()).map(|(currency, _)| currency).collect();
    currencies.sort();
    currencies.dedup();
    let mut restated = Vec::new();
    for currency in currencies {
        for figure in table.figures {
            let key = (currency.clone(), (*figure).to_owned());
            let (before, after) = (before.get(&key).copied(), after.get(&key).copied());
            if before.unwrap_or(0) != after.unwrap_or(0) {
                restated.push(Restatement { currency: currency.clone(), figure: key.1, before, after });
            }
        }
    }
    restated
}

/// Writes them.
pub async fn write(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    mall: i64,
    restated: &[Restatement],
    why: Why,
    (run, now): (i64, DateTime<Utc>),
) -> anyhow::Result<()> {
    for Restatement { currency, figure, before, after } in restated {
        db.execute(
            "INSERT INTO report_restatements (report, mall_id, business_day, currency, figure, value_before,
                 value_after, why, execution_id, restated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            values![table.report, mall, period, currency, figure, *before, *after, why.word(), run, now],
        )
        .await?;
    }
    Ok(())
}

/// `tokyo: net ¥1,120,880 → ¥1,199,370, orders 40 → 47`
pub fn sentence(mall: &Mall, restated: &[Restatement]) -> String {
    let shown = |restatement: &Restatement, value: Option<i64>| match value {
        None => "–".to_owned(),
        Some(value) if restatement.figure.ends_with("_amount") => {
            minor_in_words(value, &restatement.currency, Locale::En)
        }
        Some(value) => group_digits(&value.to_string()),
    };
    let changes: Vec<String> = restated
        .iter()
        .take(MOST_IN_SENTENCE)
        .map(|restatement| {
            let name = restatement.figure.trim_end_matches("_amount").replace('_', " ");
            let (before, after) =
                (shown(restatement, restatement.before), shown(restatement, restatement.after));
            format!("{name} {before} → {after}")
        })
        .collect();
    format!("{}: {}", mall.code, changes.join(", "))
}
