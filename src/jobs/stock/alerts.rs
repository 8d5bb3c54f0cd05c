//! `stock alerts`: the products whose stock is low, whether somebody was told or not.

use chrono_tz::Tz;
use serde::Serialize;

use crate::context::Context;
use crate::db::{Db, FromRow, StoredText, StoredTime};
use crate::documents::{Cell, Column, ColumnKind, Row, Table};
use crate::jobs::listing::{shown_time, with_one_more};
use crate::shop::malls::MallArgs;
use crate::values;

use super::alert::{READ_CHARACTERS, doubts};
use super::listing::StockListFormat;

/// List the products whose stock is low, the most urgent first
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    malls: MallArgs,
    /// List at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Print a table, CSV or JSON
    #[arg(long, value_enum, default_value = "table")]
    format: StockListFormat,
}

/// A product with an open alert.
#[derive(Debug, Serialize, FromRow)]
struct Listed {
    mall: StoredText,
    product: StoredText,
    name: StoredText,
    /// In stock now.
    quantity: Option<i64>,
    /// In stock when the alert was opened.
    quantity_then: i64,
    /// The threshold now.
    threshold: Option<i64>,
    /// The threshold when the alert was opened.
    threshold_then: i64,
    opened_at: StoredTime,
    told_at: Option<StoredTime>,
}

pub(super) async fn list(cx: &Context, args: &ListArgs) -> anyhow::Result<()> {
    let default = cx.config.stock().alert_threshold;
    let mut db = cx.db().await?;
    let malls = args.malls.selected(&mut db).await?;
    let malls: Vec<i64> = malls.iter().map(|mall| mall.id).collect();
    let alerts = open_alerts(&mut db, &malls, default, with_one_more(args.limit)).await?;
    let doubts = doubts(&mut db, &malls).await?;
    db.close().await;
    let table = |alerts: &[Listed], _| table(alerts, cx.time_zone());
    let nothing = if doubts.is_empty() { "no product is low on stock" } else { "no alert is open" };
    args.format.print(cx, alerts, args.limit, nothing, table)?;
    // A list without the products of a mall in doubt must not look as if they were in stock.
    for doubt in &doubts {
        cx.output.notice(&doubt.sentence(cx));
    }
    Ok(())
}

/// `default` is the threshold of products that have none of their own.
async fn open_alerts(
    db: &mut Db,
    malls: &[i64],
    default: Option<i64>,
    most: i64,
) -> anyhow::Result<Vec<Listed>> {
    let read = |column: &str| format!("SUBSTR({column}, 1, {READ_CHARACTERS})");
    let sql = format!(
        "SELECT {} AS mall, {} AS product, {} AS name, s.quantity, a.quantity AS quantity_then,
                COALESCE(p.stock_alert_threshold, CAST($3 AS BIGINT)) AS threshold, a.threshold AS threshold_then,
                a.opened_at, a.told_at
         FROM stock_alerts a
         JOIN products p ON p.id = a.product_id
         JOIN malls m ON m.id = p.mall_id
         LEFT JOIN stock s ON s.product_id = a.product_id
         WHERE a.recovered_at IS NULL AND p.mall_id IN {}
         ORDER BY COALESCE(s.quantity, a.quantity), a.product_id LIMIT $2",
        read("m.code"),
        read("p.product_code"),
        read("p.name"),
        db.numbers("$1"),
    );
    Ok(db.fetch_all(&sql, values![serde_json::json!(malls), most, default]).await?)
}

fn table(alerts: &[Listed], time_zone: Tz) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let time = |at: &StoredTime| shown_time(at, time_zone);
    let rows = alerts
        .iter()
        .map(|alert| {
            Row::new(vec![
                Cell::text(alert.mall.shown()),
                Cell::text(alert.product.shown()),
                Cell::text(alert.name.shown()),
                alert.quantity.map_or(Cell::Empty, Cell::Int),
                alert.threshold.map_or(Cell::Empty, Cell::Int),
                Cell::text(time(&alert.opened_at)),
                Cell::text(alert.told_at.as_ref().map(time).unwrap_or_default()),
            ])
        })
        .collect();
    Table {
        key: "stock_alerts",
        title: String::new(),
        columns: vec![
            text("mall", "Mall"),
            text("product", "Product"),
            text("name", "Name"),
            number("quantity", "In stock"),
            number("threshold", "Alert at"),
            text("opened_at", "Low since"),
            text("told_at", "Told").wide_only(),
        ],
        rows,
    }
}
