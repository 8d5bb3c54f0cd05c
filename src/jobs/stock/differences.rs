//! `stock differences`: what `stock reconcile` has found, newest first.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table, csv};
use crate::jobs::listing::{drop_one_more, shown_time, with_one_more};
use crate::locale::Locale;
use crate::shop::malls::MallArgs;
use crate::text_encoding::TextEncoding;
use crate::values;
use crate::wording::counted;

use super::alert::READ_CHARACTERS;
use super::alerts::AlertFormat;
use super::reconcile::difference::Cause;

/// List the differences that `stock reconcile` has found, newest first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    malls: MallArgs,
    /// List those of this run
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    /// List those that were not repaired
    #[arg(long)]
    open: bool,
    /// List at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Print a table, CSV or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: AlertFormat,
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
    let mut rows = select(&mut db, &malls, args).await?;
    db.close().await;
    let are_more = drop_one_more(&mut rows, args.limit);
    let table = |rows: &[Listed]| table(rows, cx.time_zone());
    match args.format {
        AlertFormat::Json => ListFormat::Json.print(&cx.output, &rows, "no differences", table)?,
        AlertFormat::Table => ListFormat::Table.print(&cx.output, &rows, "no differences", table)?,
        AlertFormat::Csv => {
            let mut bytes = Vec::new();
            csv::write(&table(&rows), Locale::En, TextEncoding::Utf8, &mut bytes)?;
            cx.output.data(&bytes)?;
        }
    }
    if are_more && args.format == AlertFormat::Table {
        let shown = counted(args.limit, "is shown", "are shown");
        cx.output.data(format!("there are more, of which {shown}: --limit COUNT shows more\n").as_bytes())?;
    }
    Ok(())
}

async fn select(db: &mut Db, malls: &[i64], args: &ListArgs) -> anyhow::Result<Vec<Listed>> {
    let read = |column: &str| format!("SUBSTR({column}, 1, {READ_CHARACTERS})");
    let sql = format!(
        "SELECT CAST(d.day AS TEXT) AS day, {} AS mall, {} AS product, d.quantity, {} AS stored, d.cause, d.target, d.repair,
                d.found_at, d.execution_id AS run
         FROM stock_differences d JOIN malls m ON m.id = d.mall_id
         WHERE d.mall_id IN {} AND d.execution_id = COALESCE($2, d.execution_id)
           AND (NOT $3 OR d.repair <> 'REPAIRED')
         ORDER BY d.id DESC LIMIT $4",
        read("m.code"),
        read("d.product_code"),
        read("d.stored"),
        db.numbers("$1"),
    );
    let values = values![serde_json::json!(malls), args.run, args.open, with_one_more(args.limit)];
    Ok(db.fetch_all(&sql, values).await?)
}

fn table(rows: &[Listed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let number_or_none = |number: Option<i64>| number.map_or(Cell::Empty, Cell::Int);
    let rows = rows
        .iter()
        .map(|row| {
            let cause = Cause::of(&row.cause).map_or(row.cause.as_str(), |cause| cause.shown(Locale::En));
            Row::new(vec![
                Cell::text(shown_time(&row.found_at, time_zone)),
                Cell::text(row.mall.shown()),
                Cell::text(row.product.shown()),
                number_or_none(row.quantity),
                Cell::text(row.stored.as_ref().map_or("", StoredText::shown)),
                Cell::text(cause),
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
