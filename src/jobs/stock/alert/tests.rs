use serde_json::json;

use super::*;
use crate::db::testing::{TestDb, on_both_databases};

on_both_databases![no_statement_compares_each_product_with_each_alert];

async fn no_statement_compares_each_product_with_each_alert(db: &mut TestDb) {
    let mall = db.mall("tokyo", "Asia/Tokyo", "JPY").await.id;
    let at = "'2026-11-01T00:00:00+00:00'";
    db.fill(
        2_000,
        &format!(
            "products (id, mall_id, product_code, name, status, currency, price_amount, stock_alert_threshold, created_at,
                 updated_at)
             SELECT n, {mall}, 'P' || n, 'P', 'ON_SALE', 'JPY', 1, 5, {at}, {at}"
        ),
    )
    .await;
    db.fill(2_000, &format!("stock (product_id, quantity, updated_at) SELECT n, n % 10, {at}")).await;
    let alerts =
        format!("stock_alerts (product_id, opened_at, quantity, threshold) SELECT n * 4, {at}, 1, 5");
    db.fill(500, &alerts).await;
    // As the job does before its first statement.
    db.analyze_unknown(&["products", "stock", "stock_alerts"]).await.unwrap();
    let malls = json!([mall]);
    let fallen = fallen_sql(db);
    assert!(!db.compares_all_pairs(&fallen, values![None::<i64>, malls.clone()]).await);
    let low = open_low_sql(db);
    assert!(
        !db.compares_all_pairs(&low, values![None::<i64>, malls.clone(), crate::db::testing::now()]).await
    );
    let recovered = close_recovered_sql(db);
    let values = values![None::<i64>, malls, 0, crate::db::testing::now()];
    assert!(!db.compares_all_pairs(&recovered, values).await);
}
