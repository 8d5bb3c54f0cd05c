//! The contents of a file end up in the tables, down to the last column.

use super::{file, import, item_errors, rows, shop_rows, with_tokyo};
use crate::support::{Sandbox, Shop, on_both_databases};

on_both_databases![orders_are_imported_with_their_lines, a_field_of_more_than_10_000_characters_is_refused,];

/// When everything in a sandbox happens, in UTC.
const IMPORTED: &str = "2026-11-19T16:00:00+00:00";

/// Malls with yen, dollars and won.
fn with_malls(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("ny", "America/New_York", "USD");
    shop.mall("seoul", "Asia/Seoul", "KRW");
}

fn order_rows(shop: &Sandbox) -> Vec<String> {
    rows(
        shop,
        "SELECT code, order_no, member_code, status, o.currency, total_amount, discount_amount, shipping_amount,
                tax_amount, payment_method, ordered_at, paid_at, cancelled_at, cancel_reason, source_updated_at,
                o.created_at, o.updated_at
         FROM orders o JOIN malls ON malls.id = mall_id",
    )
}

fn line_rows(shop: &Sandbox) -> Vec<String> {
    rows(
        shop,
        "SELECT code, order_no, line_key, product_code, product_name, quantity, unit_price_amount,
                i.discount_amount, i.tax_amount, line_amount
         FROM order_items i JOIN orders o ON o.id = order_id JOIN malls ON malls.id = mall_id",
    )
}

fn orders_are_imported_with_their_lines(shop: &Shop) {
    with_malls(shop);
    let header = "mall,order_no,status,ordered_at,total_amount,member_code,currency,paid_at,cancelled_at,\
                  cancel_reason,payment_method,discount_amount,shipping_amount,tax_amount,updated_at,product_code,\
                  quantity,unit_price_amount,line_no,product_name,line_discount_amount,line_tax_amount";
    let tokyo = "tokyo,A-1,PAID,2026-11-19 10:00,2900,M1,,2026-11-19T10:05:00.123456+09:00,,,card,100,500,263,\
                 2026-11-19 11:00:00Z";
    let lines = [
        format!("{tokyo},P1,1,1000,1,緑茶、粉末,,90"),
        format!("{tokyo},P2,2,800,2,\"Tea, \"\"fine\"\"\",100,136"),
        "ny,A-1,ORDER_CANCELLED,2026-11-18T20:00:00-05:00,12.50,,,,2026-11-18 21:00,CUSTOMER_REQUEST,,,,,,P1,1,12.5,,,,"
            .to_owned(),
        "seoul,A-1,SHIPPED,2026-11-19T00:00Z,12000,,,2026-11-19 09:00:01,,,,,,,,P1,3,4000,,말차,,".to_owned(),
        "ny,B-2,PAYMENT_WAIT,2026-11-18 20:00,1200,,JPY,,,,,,,,,P1,0,-5,,,,".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shop.write("orders.csv", file(header, &lines));

    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds().says(
        "note: orders.csv: 1 total is not the sum of its lines, shipping, fees and tax less discounts (1,200 JPY): line 6, order \
         B-2: 1,200 instead of 0 JPY\n",
    );

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        order_rows(shop),
        [
            format!(
                "ny | A-1 | NULL | ORDER_CANCELLED | USD | 1250 | 0 | 0 | 0 | NULL | 2026-11-19T01:00:00+00:00 | NULL | \
                 2026-11-19T02:00:00+00:00 | CUSTOMER_REQUEST | NULL | {imported}"
            ),
            format!(
                "ny | B-2 | NULL | PAYMENT_WAIT | JPY | 1200 | 0 | 0 | 0 | NULL | 2026-11-19T01:00:00+00:00 | NULL | \
                 NULL | NULL | 2026-11-19T01:00:00+00:00 | {imported}"
            ),
            format!(
                "seoul | A-1 | NULL | SHIPPED | KRW | 12000 | 0 | 0 | 0 | NULL | 2026-11-19T00:00:00+00:00 | \
                 2026-11-19T00:00:01+00:00 | NULL | NULL | NULL | {imported}"
            ),
            format!(
                "tokyo | A-1 | M1 | PAID | JPY | 2900 | 100 | 500 | 263 | card | 2026-11-19T01:00:00+00:00 | \
                 2026-11-19T01:05:00.123456+00:00 | NULL | NULL | 2026-11-19T11:00:00+00:00 | {imported}"
            ),
        ]
    );
    assert_eq!(
        line_rows(shop),
        [
            "ny | A-1 | P1 | P1 | P1 | 1 | 1250 | 0 | 0 | 1250",
            "ny | B-2 | P1 | P1 | P1 | 0 | -5 | 0 | 0 | 0",
            "seoul | A-1 | P1 | P1 | 말차 | 3 | 4000 | 0 | 0 | 12000",
            "tokyo | A-1 | 1 | P1 | 緑茶、粉末 | 1 | 1000 | 0 | 90 | 1000",
            "tokyo | A-1 | 2 | P2 | Tea, \"fine\" | 2 | 800 | 100 | 136 | 1500",
        ]
    );
}

fn a_field_of_more_than_10_000_characters_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let line = format!("tokyo,M1,ACTIVE,2025-04-01 09:00,{}", "字".repeat(10_001));
    shop.write("members.csv", file("mall,member_code,status,signed_up_at,name", &[&line]));
    let before = shop_rows(shop);
    let ran = import(shop, &["--kind", "members", "members.csv"]).run().exits(65);
    assert!(ran.stderr.len() < 2000, "{} bytes of message", ran.stderr.len());
    assert_eq!(shop_rows(shop), before);
    assert_eq!(
        item_errors(shop),
        ["1 members.csv:2 check SKIPPED BAD_INPUT `name`: is longer than 10000 characters"]
    );
}
