//! What is in a file ends up in the tables, down to the last column.

use super::{file, import, item_errors, rows, shop_rows, with_tokyo};
use crate::support::{Sandbox, Shop, on_both_databases};

on_both_databases![
    orders_are_imported_with_their_lines,
    an_order_without_optional_columns_gets_their_defaults,
    members_are_imported,
    products_are_imported_with_their_stock,
    refunds_are_imported,
    a_column_missing_from_the_file_keeps_its_stored_value,
    a_local_time_is_the_malls,
    a_time_that_the_clock_skips_is_a_bad_line,
    a_time_that_the_clock_shows_twice_is_the_earlier,
    the_currency_of_the_line_decides_the_decimals,
    a_file_may_have_a_byte_order_mark_and_windows_line_ends,
    hostile_text_is_stored_unchanged,
    a_field_of_more_than_10_000_characters_is_refused,
];

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

    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds().is_silent();

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
                 NULL | NULL | NULL | {imported}"
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

fn an_order_without_optional_columns_gets_their_defaults(shop: &Shop) {
    with_tokyo(shop);
    let header = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount";
    shop.write("orders.csv", file(header, &["A-1,PAYMENT_WAIT,2026-11-19 10:00,1200,P1,1,1200"]));
    import(shop, &["--kind", "orders", "--mall", "tokyo", "orders.csv"]).run().succeeds().is_silent();
    assert_eq!(
        order_rows(shop),
        [format!(
            "tokyo | A-1 | NULL | PAYMENT_WAIT | JPY | 1200 | 0 | 0 | 0 | NULL | 2026-11-19T01:00:00+00:00 | NULL | NULL | \
             NULL | NULL | {IMPORTED} | {IMPORTED}"
        )]
    );
    assert_eq!(line_rows(shop), ["tokyo | A-1 | P1 | P1 | P1 | 1 | 1200 | 0 | 0 | 1200"]);
}

fn member_rows(shop: &Sandbox) -> Vec<String> {
    rows(
        shop,
        "SELECT code, member_code, status, email, m.name, phone, locale, channel, signed_up_at, confirmed_at,
                withdrawn_at, erasure_requested_at, source_updated_at, m.created_at, m.updated_at
         FROM members m JOIN malls ON malls.id = mall_id",
    )
}

fn members_are_imported(shop: &Shop) {
    with_malls(shop);
    let header = "mall,member_code,status,signed_up_at,email,name,phone,locale,channel,confirmed_at,withdrawn_at,\
                  updated_at";
    let lines = [
        "tokyo,M1,ACTIVE,2025-04-01 09:00,hanako@example.com,佐藤 花子,+81 3-1234-5678,ja,WEB,2025-04-01 09:10,,\
         2026-11-19 00:00:00Z",
        "ny,M1,WITHDRAWN,2025-04-01T00:00:00Z,,,,,,,2026-11-18 12:00,",
        "seoul,M2,UNCONFIRMED,2026-11-19 23:59:59,kim@example.com,김 하늘,,ko,APP,,,",
    ];
    shop.write("members.csv", file(header, &lines));

    import(shop, &["--kind", "members", "members.csv"]).run().succeeds().is_silent();

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        member_rows(shop),
        [
            format!(
                "ny | M1 | WITHDRAWN | NULL | NULL | NULL | NULL | NULL | 2025-04-01T00:00:00+00:00 | NULL | \
                 2026-11-18T17:00:00+00:00 | NULL | NULL | {imported}"
            ),
            format!(
                "seoul | M2 | UNCONFIRMED | kim@example.com | 김 하늘 | NULL | ko | APP | 2026-11-19T14:59:59+00:00 | NULL | \
                 NULL | NULL | NULL | {imported}"
            ),
            format!(
                "tokyo | M1 | ACTIVE | hanako@example.com | 佐藤 花子 | +81 3-1234-5678 | ja | WEB | \
                 2025-04-01T00:00:00+00:00 | 2025-04-01T00:10:00+00:00 | NULL | NULL | 2026-11-19T00:00:00+00:00 | {imported}"
            ),
        ]
    );
}

fn product_rows(shop: &Sandbox) -> Vec<String> {
    rows(
        shop,
        "SELECT code, product_code, p.name, status, p.currency, price_amount, stock_alert_threshold,
                source_updated_at, p.created_at, p.updated_at, quantity, stock.updated_at
         FROM products p JOIN malls ON malls.id = mall_id LEFT JOIN stock ON product_id = p.id",
    )
}

fn products_are_imported_with_their_stock(shop: &Shop) {
    with_malls(shop);
    let header =
        "mall,product_code,name,price_amount,status,currency,stock_quantity,stock_alert_threshold,updated_at";
    let lines = [
        "tokyo,P1,緑茶,1200,ON_SALE,,5,2,2026-11-19 09:00",
        "ny,P1,Tea,12.50,SOLD_OUT,,0,,",
        "ny,P2,Yen tea,1200,,JPY,-3,,",
        "seoul,P1,말차,12000,DISCONTINUED,,,,",
    ];
    shop.write("products.csv", file(header, &lines));

    import(shop, &["--kind", "products", "products.csv"]).run().succeeds().is_silent();

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        product_rows(shop),
        [
            format!("ny | P1 | Tea | SOLD_OUT | USD | 1250 | NULL | NULL | {imported} | 0 | {IMPORTED}"),
            format!("ny | P2 | Yen tea | ON_SALE | JPY | 1200 | NULL | NULL | {imported} | -3 | {IMPORTED}"),
            format!(
                "seoul | P1 | 말차 | DISCONTINUED | KRW | 12000 | NULL | NULL | {imported} | NULL | NULL"
            ),
            format!(
                "tokyo | P1 | 緑茶 | ON_SALE | JPY | 1200 | 2 | 2026-11-19T00:00:00+00:00 | {imported} | 5 | {IMPORTED}"
            ),
        ]
    );
}

fn refunds_are_imported(shop: &Shop) {
    with_malls(shop);
    let lines = [
        "tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,1200,P1,1,1200",
        "ny,A-1,PAID,2026-11-18 10:00,2026-11-18 10:05,12.50,P1,1,12.50",
    ];
    shop.write("orders.csv", file(super::ORDERS, &lines));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let header = "mall,order_no,refund_no,amount,refunded_at,product_code,currency,reason";
    let lines = [
        "tokyo,A-1,R1,1200,2026-11-19 18:00,,,RETURNED",
        "ny,A-1,R1,2.25,2026-11-18 18:00,P1,USD,",
        "ny,A-1,R2,0.05,2026-11-19T00:30:00Z,,,DAMAGED",
    ];
    shop.write("refunds.csv", file(header, &lines));

    import(shop, &["--kind", "refunds", "refunds.csv"]).run().succeeds().is_silent();

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        rows(
            shop,
            "SELECT code, order_no, refund_key, product_code, r.currency, amount, reason, refunded_at, r.created_at,
                    r.updated_at, CASE WHEN r.mall_id = o.mall_id THEN 'own mall' ELSE 'other mall' END
             FROM refunds r JOIN orders o ON o.id = order_id JOIN malls ON malls.id = o.mall_id"
        ),
        [
            format!("ny | A-1 | R1 | P1 | USD | 225 | NULL | 2026-11-18T23:00:00+00:00 | {imported} | own mall"),
            format!("ny | A-1 | R2 | NULL | USD | 5 | DAMAGED | 2026-11-19T00:30:00+00:00 | {imported} | own mall"),
            format!(
                "tokyo | A-1 | R1 | NULL | JPY | 1200 | RETURNED | 2026-11-19T09:00:00+00:00 | {imported} | own mall"
            ),
        ]
    );
}

fn a_column_missing_from_the_file_keeps_its_stored_value(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,product_code,name,price_amount,status,stock_quantity,stock_alert_threshold";
    shop.write("products.csv", file(header, &["tokyo,P1,Tea,1200,SOLD_OUT,5,2"]));
    import(shop, &["--kind", "products", "products.csv"]).run().succeeds();
    shop.write("prices.csv", file("mall,product_code,name,price_amount", &["tokyo,P1,Tea,1300"]));
    import(shop, &["--kind", "products", "prices.csv"]).now("2026-11-21T00:00:00Z").run().succeeds();
    assert_eq!(
        product_rows(shop),
        [format!(
            "tokyo | P1 | Tea | SOLD_OUT | JPY | 1300 | 2 | NULL | {IMPORTED} | 2026-11-21T00:00:00+00:00 | 5 | {IMPORTED}"
        )]
    );
    let header = "mall,member_code,status,signed_up_at,email,name";
    shop.write("members.csv", file(header, &["tokyo,M1,ACTIVE,2025-04-01 09:00,a@example.com,A"]));
    import(shop, &["--kind", "members", "members.csv"]).run().succeeds();
    let header = "mall,member_code,status,signed_up_at,email";
    shop.write("members.csv", file(header, &["tokyo,M1,WITHDRAWN,2025-04-01 09:00,"]));
    import(shop, &["--kind", "members", "members.csv"]).run().succeeds();
    assert_eq!(rows(shop, "SELECT status, email, name FROM members"), ["WITHDRAWN | NULL | A"]);
}

/// What a local time of New York becomes, or what is wrong with it.
fn new_york_time(shop: &Shop, time: &str) -> String {
    let name = format!("{}.csv", time.replace([' ', ':'], "-"));
    shop.write(&name, file("mall,member_code,status,signed_up_at", &[&format!("ny,{time},ACTIVE,{time}")]));
    let ran = import(shop, &["--kind", "members", &name]).run();
    match ran.code {
        Some(0) => shop.scalar(&format!("SELECT signed_up_at FROM members WHERE member_code = '{time}'")),
        _ => ran.exits(65).stderr.lines().nth(1).unwrap_or_default().trim().to_owned(),
    }
}

fn a_local_time_is_the_malls(shop: &Shop) {
    shop.mall("ny", "America/New_York", "USD");
    assert_eq!(new_york_time(shop, "2026-07-01 12:00"), "2026-07-01T16:00:00+00:00");
    assert_eq!(new_york_time(shop, "2026-12-01 12:00"), "2026-12-01T17:00:00+00:00");
    assert_eq!(new_york_time(shop, "2026-12-01 12:00:00+09:00"), "2026-12-01T03:00:00+00:00");
}

fn a_time_that_the_clock_skips_is_a_bad_line(shop: &Shop) {
    shop.mall("ny", "America/New_York", "USD");
    assert_eq!(
        new_york_time(shop, "2026-03-08 02:30"),
        "2026-03-08-02-30.csv:2: `signed_up_at`: 2026-03-08 02:30 does not exist in America/New_York"
    );
    assert_eq!(new_york_time(shop, "2026-03-08 03:00"), "2026-03-08T07:00:00+00:00");
}

fn a_time_that_the_clock_shows_twice_is_the_earlier(shop: &Shop) {
    shop.mall("ny", "America/New_York", "USD");
    assert_eq!(new_york_time(shop, "2026-11-01 01:30"), "2026-11-01T05:30:00+00:00");
    assert_eq!(new_york_time(shop, "2026-11-01 02:00"), "2026-11-01T07:00:00+00:00");
}

fn the_currency_of_the_line_decides_the_decimals(shop: &Shop) {
    with_malls(shop);
    let lines = [
        "ny,P1,a,12.5,USD",
        "ny,P2,a,12.500,USD",
        "ny,P3,a,12.345,KWD",
        "ny,P4,a,1200.00,KRW",
        "seoul,P1,a,0,",
        "tokyo,P1,a,9223372036854775807,",
    ];
    shop.write("products.csv", file("mall,product_code,name,price_amount,currency", &lines));
    import(shop, &["--kind", "products", "products.csv"]).run().succeeds().is_silent();
    assert_eq!(
        rows(
            shop,
            "SELECT code, product_code, p.currency, price_amount FROM products p JOIN malls ON malls.id = mall_id"
        ),
        [
            "ny | P1 | USD | 1250",
            "ny | P2 | USD | 1250",
            "ny | P3 | KWD | 12345",
            "ny | P4 | KRW | 1200",
            "seoul | P1 | KRW | 0",
            "tokyo | P1 | JPY | 9223372036854775807",
        ]
    );
}

fn a_file_may_have_a_byte_order_mark_and_windows_line_ends(shop: &Shop) {
    with_tokyo(shop);
    let text = "\u{feff}mall,product_code,name,price_amount\r\n\r\ntokyo,P1,\u{3000}緑茶 ,1200\r\n\"tokyo\",\"P2\",\"a\",\"1\"";
    shop.write("products.csv", text);
    import(shop, &["--kind", "products", "products.csv"]).run().succeeds().is_silent();
    assert_eq!(
        rows(shop, "SELECT product_code, name, price_amount FROM products"),
        ["P1 | 緑茶 | 1200", "P2 | a | 1"]
    );
}

fn hostile_text_is_stored_unchanged(shop: &Shop) {
    with_tokyo(shop);
    let longest = "字".repeat(10_000);
    let names = [
        "=cmd|' /C calc'!A0",
        "@SUM(A1:A9)",
        "-1+1",
        "say \"yes\"",
        "two\nlines, and\r\nthree",
        "'; DROP TABLE members; --",
        "👩\u{200d}👩\u{200d}👧 𠮷",
        "\u{202e}שלום",
        "tab\there\\N",
        "%s {} $1 \\",
        &longest,
    ];
    let lines: Vec<String> = (names.iter().enumerate())
        .map(|(number, name)| {
            format!("tokyo,{number:02},ACTIVE,2025-04-01 09:00,\"{}\"", name.replace('"', "\"\""))
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shop.write("members.csv", file("mall,member_code,status,signed_up_at,name", &lines));
    import(shop, &["--kind", "members", "members.csv"]).run().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT name FROM members ORDER BY member_code").concat(), names);
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
