//! What the database says of products: which there are, and how much of them is in stock.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::db::{Db, FromRow, Problems, StoredText};
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::values;

use super::comparison::Place;

/// Products of one page of the database: some milliseconds.
const PAGE: i64 = 1000;
/// Codes of one statement: as many as a page has products.
const CODES_AT_ONCE: usize = 1000;
/// A longer code is not part of a key.
const LONGEST_CODE: usize = 1000;

/// A product that is compared: one that has a stock, and is still made.
#[derive(Debug, FromRow)]
pub(super) struct InStock {
    pub(super) id: i64,
    pub(super) product_code: String,
    pub(super) quantity: i64,
    #[row(problems)]
    problems: Problems,
}

impl InStock {
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.problems.check()?;
        if self.product_code.is_empty() {
            let problem = format!(
                "the column `product_code` of `products` is empty or longer than {LONGEST_CODE} bytes"
            );
            return Err(Failure::bad_input(problem));
        }
        Ok(())
    }
}

/// The next products of a mall.
pub(super) async fn next_products(
    db: &mut Db,
    mall: &Mall,
    after: Option<i64>,
) -> anyhow::Result<Vec<InStock>> {
    // Other programs may number theirs from below.
    let after = after.unwrap_or(i64::MIN);
    Ok(db.fetch_all(&next_products_sql(), values![mall.id, after, PAGE]).await?)
}

/// Those of a mall's products that are compared and have these codes.
pub(super) async fn products_of_codes(
    db: &mut Db,
    mall: &Mall,
    codes: &[&str],
) -> anyhow::Result<Vec<InStock>> {
    let sql = format!(
        "SELECT p.id, p.product_code, s.quantity {COMPARED} AND p.product_code IN {}",
        db.elements("$2")
    );
    let mut found = Vec::new();
    for page in codes.chunks(CODES_AT_ONCE) {
        found.extend(db.fetch_all::<InStock>(&sql, values![mall.id, json!(page)]).await?);
    }
    Ok(found)
}

/// Which products of the mall $1 are compared.
const COMPARED: &str = "FROM products p JOIN stock s ON s.product_id = p.id
         WHERE p.mall_id = $1 AND p.status <> 'DISCONTINUED'";

pub(super) fn next_products_sql() -> String {
    format!(
        "SELECT p.id, CASE WHEN OCTET_LENGTH(p.product_code) <= {LONGEST_CODE} THEN p.product_code ELSE '' END AS product_code,
                s.quantity
         {COMPARED} AND p.id > $2
         ORDER BY p.id LIMIT $3"
    )
}

/// How many products of a mall are compared.
pub(super) async fn count_compared(db: &mut Db, mall: &Mall) -> anyhow::Result<u64> {
    count(db, &format!("SELECT COUNT(*) {COMPARED}"), mall).await
}

/// How many products a mall has, compared or not: no more than these can differ. An index alone knows it.
pub(super) async fn count_products(db: &mut Db, mall: &Mall) -> anyhow::Result<u64> {
    count(db, "SELECT COUNT(*) FROM products WHERE mall_id = $1", mall).await
}

async fn count(db: &mut Db, sql: &str, mall: &Mall) -> anyhow::Result<u64> {
    let (count,): (i64,) = db.fetch_one(sql, values![mall.id]).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The stock of these products; without those that are not made any more.
pub(super) async fn quantities(db: &mut Db, products: &[i64]) -> anyhow::Result<HashMap<i64, i64>> {
    if products.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT s.product_id, s.quantity FROM stock s JOIN products p ON p.id = s.product_id
         WHERE s.product_id IN {} AND p.status <> 'DISCONTINUED'",
        db.numbers("$1")
    );
    let rows: Vec<(i64, i64)> = db.fetch_all(&sql, values![json!(products)]).await?;
    Ok(rows.into_iter().collect())
}

/// Those of these codes of which there is a product: in the mall, or in any where keys do not say which mall they are of.
pub(super) async fn existing(db: &mut Db, place: &Place, codes: &[&str]) -> anyhow::Result<HashSet<String>> {
    if codes.is_empty() {
        return Ok(HashSet::new());
    }
    let malls = if place.names_mall {
        "mall_id = $1"
    } else {
        "mall_id IN (SELECT id FROM malls WHERE $1 IS NOT NULL)"
    };
    let sql =
        format!("SELECT product_code FROM products WHERE {malls} AND product_code IN {}", db.elements("$2"));
    // No text of PostgreSQL has a NUL.
    let codes: Vec<&&str> = codes.iter().filter(|code| !code.contains('\0')).collect();
    let rows: Vec<(StoredText,)> = db.fetch_all(&sql, values![place.mall.id, json!(codes)]).await?;
    Ok(rows.into_iter().map(|(code,)| code.shown().to_owned()).collect())
}
