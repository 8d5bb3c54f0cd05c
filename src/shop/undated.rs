//! Rows of results that are of no day. On SQLite a day is a text, and a row whose day does not exist is found by no query for
//! a period. PostgreSQL's days are days.

use serde_json::json;

use crate::db::{Db, FromRow, Kind, StoredText};
use crate::printable::{escaped, shortened};
use crate::values;

/// How much is shown of what is not a day.
const SHOWN_CHARACTERS: usize = 40;

/// A row of no day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undated {
    /// Whose it is.
    pub mall: i64,
    /// What is wrong with it.
    pub problem: String,
}

/// What goes with a row that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing else.
    Row,
    /// The mall's other rows that the same run has computed: they would be figures that lack a row.
    Computation,
}

#[derive(FromRow)]
struct Found {
    mall_id: i64,
    day: StoredText,
}

/// The rows of a table that are of no day. The day, `column`, is the first of the table's primary key.
pub async fn find(db: &mut Db, table: &str, column: &str) -> anyhow::Result<Vec<Undated>> {
    if db.kind() == Kind::Postgres {
        return Ok(Vec::new());
    }
    let sql = format!(
        "{} SELECT DISTINCT results.mall_id, results.{column} AS day
         FROM undated JOIN {table} results ON results.{column} = undated.day",
        undated(db, table, column)
    );
    let found: Vec<Found> = db.fetch_all(&sql, values![]).await?;
    Ok(found
        .into_iter()
        .map(|Found { mall_id, day }| {
            let value = shortened(&escaped(day.shown()), SHOWN_CHARACTERS).into_owned();
            let problem = format!("the column `{column}` of `{table}` holds `{value}`, which is not a day");
            Undated { mall: mall_id, problem }
        })
        .collect())
}

/// Removes these malls' rows of no day.
pub async fn remove(
    db: &mut Db,
    table: &str,
    column: &str,
    malls: &[i64],
    reach: Reach,
) -> anyhow::Result<()> {
    let found = find(db, table, column).await?;
    if !found.iter().any(|row| malls.contains(&row.mall)) {
        return Ok(());
    }
    let of_no_day = format!("{column} IN (SELECT day FROM undated)");
    let which = match reach {
        Reach::Row => of_no_day,
        Reach::Computation => format!(
            "(mall_id, execution_id) IN (SELECT mall_id, execution_id FROM {table} WHERE {of_no_day})"
        ),
    };
    let sql = format!(
        "{} DELETE FROM {table} WHERE mall_id IN {} AND {which}",
        undated(db, table, column),
        db.numbers("$1")
    );
    db.execute(&sql, values![json!(malls)]).await?;
    Ok(())
}

/// The different values of a day's column that are not days, as the query `undated`. It goes from one value to the next by
/// the primary key, however many rows each has.
fn undated(db: &Db, table: &str, column: &str) -> String {
    format!(
        "WITH RECURSIVE days (day) AS (
             SELECT MIN({column}) FROM {table}
             UNION ALL
             SELECT (SELECT MIN({column}) FROM {table} WHERE {column} > days.day)
             FROM days WHERE days.day IS NOT NULL
         ),
         undated AS (SELECT day FROM days WHERE day IS NOT NULL AND NOT {})",
        db.is_day("day")
    )
}
