use super::queries::next_products_sql;
use crate::db::testing::{TestDb, on_both_databases};
use crate::values;

on_both_databases![a_page_of_products_begins_where_the_last_one_ended];

async fn a_page_of_products_begins_where_the_last_one_ended(db: &mut TestDb) {
    let mall = db.mall("tokyo", "Asia/Tokyo", "JPY").await.id;
    let at = "'2026-11-01T00:00:00+00:00'";
    let columns = "id, mall_id, product_code, name, status, currency, price_amount, created_at, updated_at";
    db.fill(
        3_000,
        &format!("products ({columns}) SELECT n, {mall}, 'P' || n, 'P', 'ON_SALE', 'JPY', 1, {at}, {at}"),
    )
    .await;
    db.fill(3_000, &format!("stock (product_id, quantity, updated_at) SELECT n, n, {at}")).await;
    db.plan_by_index().await.unwrap();
    let page = values![mall, 1_000_i64, 1_000_i64];
    assert_eq!(db.found_by("p", &next_products_sql(), page.clone()).await, ["mall_id, id"]);
    assert_eq!(db.found_by("s", &next_products_sql(), page).await, [db.pick("id", "product_id")]);
}
