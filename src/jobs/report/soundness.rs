//! Stored figures that cannot be read. Other programs can write into these tables, too, and SQLite takes any text for a day:
//! a mall with such a row has no figures, rather than figures that lack a row. They are computed again by the next run of
//! their report, which replaces them or, if that fails, removes them.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use crate::db::{Db, FromRow, Problems};
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::shop::undated::{self, Reach};
use crate::values;
use crate::wording::command;

use super::awaited::AwaitedColumns;
use super::outdated::{FigureTable, Parts};

/// What cannot be read of stored figures.
#[derive(Debug, Clone, Default)]
pub struct Unreadable(Vec<Finding>);

/// A mall whose figures cannot be read.
#[derive(Debug, Clone)]
struct Finding {
    mall: i64,
    /// Of which period; `None` if a row is of none, so that those of any may lack it.
    period: Option<NaiveDate>,
    problem: String,
}

/// What all tables of figures have.
#[derive(FromRow)]
struct StoredFigures {
    mall_id: i64,
    period: NaiveDate,
    #[expect(dead_code, reason = "only whether it can be read is asked")]
    computed_at: DateTime<Utc>,
    #[expect(dead_code, reason = "only whether it can be read is asked")]
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
}

/// A word that figures are about: their currency, their reason.
#[derive(FromRow)]
struct StoredWord {
    mall_id: i64,
    #[expect(dead_code, reason = "only whether it can be read is asked")]
    word: String,
    #[row(problems)]
    problems: Problems,
}

impl Unreadable {
    /// Finds what cannot be read of a period's figures, without loading them.
    pub async fn of_period(db: &mut Db, table: FigureTable, period: NaiveDate) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let FigureTable { name, period_column, .. } = table;
        let sql = format!(
            "SELECT {period_column} AS period, mall_id, computed_at, outdated_at, {}
             FROM {name} WHERE {period_column} = $1",
            AwaitedColumns::NAMES
        );
        let rows: Vec<StoredFigures> = db.fetch_all(&sql, values![period]).await?;
        for row in rows {
            found.note_row(row.mall_id, row.period, "period", &row.problems);
            found.note_row(row.mall_id, row.period, "period", &row.awaited.problems);
        }
        for (name, column) in table.words {
            let sql =
                format!("SELECT DISTINCT mall_id, {column} AS word FROM {name} WHERE {period_column} = $1");
            let rows: Vec<StoredWord> = db.fetch_all(&sql, values![period]).await?;
            for row in rows {
                found.note(row.mall_id, Some(period), &row.problems);
            }
        }
        found.look_for(db, table, period, period).await?;
        Ok(found)
    }

    /// Looks for what a table's own rows do not show: rows of no period, and figures with parts that do not add up to them.
    pub async fn look_for(
        &mut self,
        db: &mut Db,
        table: FigureTable,
        first: NaiveDate,
        last: NaiveDate,
    ) -> anyhow::Result<()> {
        for name in table.tables() {
            self.note_without_period(db, name, table.period_column).await?;
        }
        for parts in table.parts {
            self.note_incomplete(db, table, parts, first, last).await?;
        }
        Ok(())
    }

    /// Notes the rows of a table that are of no period.
    pub async fn note_without_period(
        &mut self,
        db: &mut Db,
        table: &str,
        column: &str,
    ) -> anyhow::Result<()> {
        let found = undated::find(db, table, column).await?;
        self.0.extend(found.into_iter().map(|row| Finding {
            mall: row.mall,
            period: None,
            problem: row.problem,
        }));
        Ok(())
    }

    /// Adds what cannot be read of another table.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Notes the problems of a row.
    pub fn note(&mut self, mall: i64, period: Option<NaiveDate>, problems: &Problems) {
        if !problems.is_empty() {
            self.0.push(Finding { mall, period, problem: problems.to_string() });
        }
    }

    /// Notes the problems of a row of this period, which is one of them if its `column` cannot be read.
    pub fn note_row(&mut self, mall: i64, period: NaiveDate, column: &str, problems: &Problems) {
        self.note(mall, Some(period).filter(|_| !problems.include(column)), problems);
    }

    /// A part that was lost leaves no trace in the others: only their sum shows it.
    async fn note_incomplete(
        &mut self,
        db: &mut Db,
        table: FigureTable,
        parts: &Parts,
        first: NaiveDate,
        last: NaiveDate,
    ) -> anyhow::Result<()> {
        let FigureTable { name, period_column, .. } = table;
        let Parts { name: parts_name, which, by, sums } = parts;
        let by: String = by.iter().flat_map(|column| [", ", *column]).collect();
        // Remainders, whose sum cannot be too large, whatever the amounts are.
        let terms = |sign: &str| {
            let remainder = |column: &&str| format!("{sign}COALESCE({column}, 0) % 1000000007 AS {column}");
            sums.iter().map(remainder).collect::<Vec<_>>().join(", ")
        };
        let differs: Vec<String> =
            sums.iter().map(|column| format!("SUM({column}) % 1000000007 <> 0")).collect();
        let sql = format!(
            "SELECT DISTINCT mall_id, period
             FROM (SELECT {period_column} AS period, mall_id{by}, {} FROM {name}
                   WHERE {period_column} BETWEEN $1 AND $2
                   UNION ALL
                   SELECT {period_column}, mall_id{by}, {} FROM {parts_name}
                   WHERE {period_column} BETWEEN $1 AND $2 AND {which}) figures
             GROUP BY mall_id, period{by} HAVING {}",
            terms(""),
            terms("-"),
            differs.join(" OR ")
        );
        let found: Vec<Incomplete> = db.fetch_all(&sql, values![first, last]).await?;
        // A row of no period is noted as such.
        self.0.extend(found.into_iter().filter(|row| row.problems.is_empty()).map(|row| Finding {
            mall: row.mall_id,
            period: Some(row.period),
            problem: format!("the rows of `{parts_name}` do not add up to that of `{name}`"),
        }));
        Ok(())
    }

    /// Whether a mall's figures of a period cannot be read.
    pub fn include(&self, mall: i64, period: NaiveDate) -> bool {
        self.of(mall, period).is_some()
    }

    /// Whether a mall's figures of one of these periods cannot be read.
    pub fn include_any(&self, mall: i64, periods: &BTreeSet<NaiveDate>) -> bool {
        periods.iter().any(|period| self.include(mall, *period))
    }

    /// Whether a mall has rows that belong to no period.
    pub fn has_rows_without_period(&self, mall: i64) -> bool {
        self.0.iter().any(|found| found.mall == mall && found.period.is_none())
    }

    /// Whether rows of just this period cannot be read.
    pub fn include_rows_of(&self, mall: i64, period: NaiveDate) -> bool {
        self.0.iter().any(|found| found.mall == mall && found.period == Some(period))
    }

    /// What is wrong with a mall's figures of a period.
    pub fn of(&self, mall: i64, period: NaiveDate) -> Option<&str> {
        let is_meant = |found: &&Finding| found.mall == mall && found.period.is_none_or(|of| of == period);
        self.0.iter().find(is_meant).map(|found| found.problem.as_str())
    }

    /// The first of some malls whose figures of these periods cannot be read, as an error, and how to compute them again.
    pub fn check<'m>(
        &self,
        report: &str,
        periods: &BTreeSet<NaiveDate>,
        mut malls: impl Iterator<Item = &'m Mall>,
    ) -> Result<(), Failure> {
        let first = malls.find_map(|mall| {
            periods.iter().find_map(|period| Some((mall, *period, self.of(mall.id, *period)?)))
        });
        match first {
            Some((mall, period, problem)) => Err(failure(report, mall, period, problem)),
            None => Ok(()),
        }
    }

    /// The warning that a comparison or a chart lacks a mall: a row of another period than those that are reported.
    pub fn warnings<'u>(
        &'u self,
        malls: &'u [Mall],
        is_compared: impl Fn(NaiveDate) -> bool + 'u,
    ) -> impl Iterator<Item = String> + 'u {
        self.0.iter().filter_map(move |found| {
            let period = found.period.filter(|period| is_compared(*period))?;
            let mall = malls.iter().find(|mall| mall.id == found.mall)?;
            Some(format!(
                "comparisons and charts leave out the figures of mall `{}` for {period}, which cannot be read: {}",
                mall.code, found.problem
            ))
        })
    }
}

/// The error of a mall whose stored figures cannot be read, and how to compute them again.
pub fn failure(report: &str, mall: &Mall, period: NaiveDate, problem: &str) -> Failure {
    let date = period.to_string();
    Failure::bad_input(format!("the figures of mall `{}` for {period} cannot be read: {problem}", mall.code))
        .hint(command(&["report", report, "--date", &date, "--mall", &mall.code, "--rerun"]))
}

#[derive(FromRow)]
struct Incomplete {
    mall_id: i64,
    period: NaiveDate,
    #[row(problems)]
    problems: Problems,
}

/// Removes the rows of these malls that are of no period, with the others of the same computation: its period, whichever
/// that was, has then no figures, instead of some of them. A part needs nothing of the kind: what it was a part of no longer
/// adds up.
pub async fn discard_without_period(db: &mut Db, table: FigureTable, malls: &[i64]) -> anyhow::Result<()> {
    for name in table.tables() {
        let reach = if name == table.name { Reach::Computation } else { Reach::Row };
        undated::remove(db, name, table.period_column, malls, reach).await?;
    }
    Ok(())
}

/// Removes what is stored of these malls for a period.
pub async fn discard(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    malls: &[i64],
) -> anyhow::Result<()> {
    for name in table.tables() {
        let sql = format!(
            "DELETE FROM {name} WHERE {} = $1 AND mall_id IN {}",
            table.period_column,
            db.numbers("$2")
        );
        db.execute(&sql, values![period, json!(malls)]).await?;
    }
    Ok(())
}
