//! `stock differences`: what `stock reconcile` has found, newest first.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, Row, Table};
use crate::jobs::listing::{shown_time, with_one_more};
use crate::locale::Locale;
use crate::shop::malls::MallArgs;
use crate::values;

use super::alert::READ_CHARACTERS;
use super::listing::StockListFormat;
use super::reconcile::difference::Cause;

/// List the differences that `stock reconcile` has found, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    malls: MallArgs,
    /// List those of this run
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    /// List those that were not repaired, and that no later comparison has found gone
    #[arg(long)]
    open: bool,
    /// List at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Print a table, CSV or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: StockListFormat,
}

#[derive(Debug, Serialize, FromRow)]
struct Listed {
    day: StoredText,
    mall: StoredText,
    product: StoredText,
    quantity: Option<i64>,
    stored: Option<StoredText>,
    cause: String,
    target: Option<i64>,
    repair: String,
    found_at: StoredTime,
    run: i64,
}

pub(super) async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let mut db = cx.db().await?;
    let malls = args.malls.selected(&mut db).await?;
    let malls: Vec<i64> = malls.iter().map(|mall| mall.id).collect();
    let rows = select(&mut db, &malls, args).await?;
    db.close().await;
    let table = |rows: &[Listed], format| table(rows, format, cx.time_zone());
    args.format.print(cx, rows, args.limit, "no differences", table)
}

/// Whoever compares a mall finds all its differences again: what the last comparison has not found is gone, and of what was
/// found again the last row speaks.
const OPEN: &str = "d.repair <> 'REPAIRED'
    AND NOT EXISTS (SELECT 1 FROM stock_reconciliations r
                    WHERE r.mall_id = d.mall_id AND r.execution_id > d.execution_id)
    AND NOT EXISTS (SELECT 1 FROM stock_differences n
                    WHERE n.mall_id = d.mall_id AND n.execution_id >= d.execution_id AND n.id > d.id
                      AND n.stock_key = d.stock_key)";

async fn select(db: &mut Db, malls: &[i64], args: &ListArgs) -> anyhow::Result<Vec<Listed>> {
    let read = |column: &str| format!("SUBSTR({column}, 1, {READ_CHARACTERS})");
    let sql = format!(
        "SELECT CAST(d.day AS TEXT) AS day, {} AS mall, {} AS product, d.quantity, {} AS stored, d.cause, d.target, d.repair,
                d.found_at, d.execution_id AS run
         FROM stock_differences d JOIN malls m ON m.id = d.mall_id
         WHERE d.mall_id IN {} AND d.execution_id = COALESCE($2, d.execution_id)
           AND (NOT $3 OR {OPEN})
         ORDER BY d.id DESC LIMIT $4",
        read("m.code"),
        read("d.product_code"),
        read("d.stored"),
        db.numbers("$1"),
    );
    let values = values![serde_json::json!(malls), args.run, args.open, with_one_more(args.limit)];
    Ok(db.fetch_all(&sql, values).await?)
}

fn table(rows: &[Listed], format: StockListFormat, time_zone: Tz) -> Table {
    let shown = |code: &str| match Cause::of(code).filter(|_| format == StockListFormat::Table) {
        Some(cause) => cause.shown(Locale::En).to_owned(),
        None => code.to_owned(),
    };
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let number_or_none = |number: Option<i64>| number.map_or(Cell::Empty, Cell::Int);
    let rows = rows
        .iter()
        .map(|row| {
            Row::new(vec![
                Cell::text(shown_time(&row.found_at, time_zone)),
                Cell::text(row.mall.shown()),
                Cell::text(row.product.shown()),
                number_or_none(row.quantity),
                Cell::text(row.stored.as_ref().map_or("", StoredText::shown)),
                Cell::text(shown(&row.cause)),
                Cell::text(row.repair.as_str()),
                number_or_none(row.target),
                Cell::text(row.run.to_string()),
            ])
        })
        .collect();
    Table {
        key: "stock_differences",
        title: String::new(),
        columns: vec![
            text("found_at", "Found"),
            text("mall", "Mall"),
            text("product", "Product"),
            number("quantity", "Database"),
            text("stored", "Redis"),
            text("cause", "Cause"),
            text("repair", "Repair"),
            number("target", "Became").wide_only(),
            text("run", "Run").wide_only(),
        ],
        rows,
    }
}
