//! The contents of a file end up in the tables, down to the last column.

use super::{IMPORTED, LATER, file, import, import_good, rows, table, with_malls, with_tokyo};
use crate::db::testing::{TestDb, on_both_databases};

on_both_databases![
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
    carts_are_imported_with_their_items,
    coupons_are_imported_and_stay_with_their_owners,
    subscriptions_are_imported,
    articles_are_imported,
    consents_are_imported_by_member_and_purpose,
    an_erasure_request_is_imported_with_its_member,
    the_fault_of_a_line_is_reported,
];

/// The columns that suffice for most tests of orders.
const ORDERS: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount";
const CARTS: &str = "mall,cart_key,last_activity_at,member_code,locale,url,ordered_at,product_code,quantity,\
                     unit_price_amount,line_no,product_name,item_url,image_url,purchased";
const SUBSCRIPTIONS: &str = "mall,subscription_no,member_code,plan_name,status,amount,currency,next_charge_day,\
                             cancel_by_day,payment_method,card_last4,manage_url";

async fn order_rows(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT code, order_no, member_code, status, o.currency, total_amount, discount_amount, shipping_amount,
                tax_amount, payment_method, ordered_at, paid_at, cancelled_at, cancel_reason, source_updated_at,
                o.created_at, o.updated_at
         FROM orders o JOIN malls ON malls.id = mall_id",
    ).await
}

async fn line_rows(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT code, order_no, line_key, product_code, product_name, quantity, unit_price_amount,
                i.discount_amount, i.tax_amount, line_amount
         FROM order_items i JOIN orders o ON o.id = order_id JOIN malls ON malls.id = mall_id",
    )
    .await
}

async fn member_rows(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT code, member_code, status, email, m.name, phone, locale, channel, signed_up_at, confirmed_at,
                withdrawn_at, erasure_requested_at, source_updated_at, m.created_at, m.updated_at
         FROM members m JOIN malls ON malls.id = mall_id",
    )
    .await
}

async fn product_rows(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT code, product_code, p.name, status, p.currency, price_amount, stock_alert_threshold,
                source_updated_at, p.created_at, p.updated_at, quantity, stock.updated_at
         FROM products p JOIN malls ON malls.id = mall_id LEFT JOIN stock ON product_id = p.id",
    )
    .await
}

async fn carts(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT cart_key, member_code, currency, c.locale, c.url, last_activity_at, ordered_at, line_key, product_code,
                product_name, quantity, unit_price_amount, i.url, image_url, is_purchased
         FROM carts c JOIN cart_items i ON i.cart_id = c.id",
    ).await
}

async fn an_order_without_optional_columns_gets_their_defaults(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount";
    import_good(db, "orders", header, &["A-1,PAYMENT_WAIT,2026-11-19 10:00,1200,P1,1,1200"]).await;
    assert_eq!(
        order_rows(db).await,
        [format!(
            "tokyo | A-1 | NULL | PAYMENT_WAIT | JPY | 1200 | 0 | 0 | 0 | NULL | 2026-11-19T01:00:00+00:00 | NULL | NULL | \
             NULL | 2026-11-19T01:00:00+00:00 | {IMPORTED} | {IMPORTED}"
        )]
    );
    assert_eq!(line_rows(db).await, ["tokyo | A-1 | P1 | P1 | P1 | 1 | 1200 | 0 | 0 | 1200"]);
}

async fn members_are_imported(db: &mut TestDb) {
    with_malls(db).await;
    let header = "mall,member_code,status,signed_up_at,email,name,phone,locale,channel,confirmed_at,withdrawn_at,\
                  updated_at";
    let lines = [
        "tokyo,M1,ACTIVE,2025-04-01 09:00,hanako@example.com,佐藤 花子,+81 3-1234-5678,ja,WEB,2025-04-01 09:10,,\
         2026-11-19 00:00:00Z",
        "ny,M1,WITHDRAWN,2025-04-01T00:00:00Z,,,,,,,2026-11-18 12:00,",
        "seoul,M2,UNCONFIRMED,2026-11-19 23:59:59,kim@example.com,김 하늘,,ko,APP,,,",
    ];
    import_good(db, "members", header, &lines).await;

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        member_rows(db).await,
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

async fn products_are_imported_with_their_stock(db: &mut TestDb) {
    with_malls(db).await;
    let header =
        "mall,product_code,name,price_amount,status,currency,stock_quantity,stock_alert_threshold,updated_at";
    let lines = [
        "tokyo,P1,緑茶,1200,ON_SALE,,5,2,2026-11-19 09:00",
        "ny,P1,Tea,12.50,SOLD_OUT,,0,,",
        "ny,P2,Yen tea,1200,,JPY,-3,,",
        "seoul,P1,말차,12000,DISCONTINUED,,,,",
    ];
    import_good(db, "products", header, &lines).await;

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        product_rows(db).await,
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

async fn refunds_are_imported(db: &mut TestDb) {
    with_malls(db).await;
    let lines = [
        "tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,1200,P1,1,1200",
        "ny,A-1,PAID,2026-11-18 10:00,2026-11-18 10:05,12.50,P1,1,12.50",
    ];
    import_good(db, "orders", ORDERS, &lines).await;
    let header = "mall,order_no,refund_no,amount,refunded_at,product_code,currency,reason";
    let lines = [
        "tokyo,A-1,R1,1200,2026-11-19 18:00,,,RETURNED",
        "ny,A-1,R1,2.25,2026-11-18 18:00,P1,USD,",
        "ny,A-1,R2,0.05,2026-11-19T00:30:00Z,,,DAMAGED",
    ];
    import_good(db, "refunds", header, &lines).await;

    let imported = format!("{IMPORTED} | {IMPORTED}");
    assert_eq!(
        rows(
            db,
            "SELECT code, order_no, refund_key, product_code, r.currency, amount, reason, refunded_at, r.created_at,
                    r.updated_at, CASE WHEN r.mall_id = o.mall_id THEN 'own mall' ELSE 'other mall' END
             FROM refunds r JOIN orders o ON o.id = order_id JOIN malls ON malls.id = o.mall_id"
        ).await,
        [
            format!("ny | A-1 | R1 | P1 | USD | 225 | NULL | 2026-11-18T23:00:00+00:00 | {imported} | own mall"),
            format!("ny | A-1 | R2 | NULL | USD | 5 | DAMAGED | 2026-11-19T00:30:00+00:00 | {imported} | own mall"),
            format!(
                "tokyo | A-1 | R1 | NULL | JPY | 1200 | RETURNED | 2026-11-19T09:00:00+00:00 | {imported} | own mall"
            ),
        ]
    );
}

async fn a_column_missing_from_the_file_keeps_its_stored_value(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,product_code,name,price_amount,status,stock_quantity,stock_alert_threshold";
    import_good(db, "products", header, &["tokyo,P1,Tea,1200,SOLD_OUT,5,2"]).await;
    let prices = file("mall,product_code,name,price_amount", &["tokyo,P1,Tea,1300"]);
    import(db, "products", &prices, LATER).await.unwrap();
    assert_eq!(
        product_rows(db).await,
        [format!(
            "tokyo | P1 | Tea | SOLD_OUT | JPY | 1300 | 2 | NULL | {IMPORTED} | {LATER} | 5 | {IMPORTED}"
        )]
    );
    let header = "mall,member_code,status,signed_up_at,email,name";
    import_good(db, "members", header, &["tokyo,M1,ACTIVE,2025-04-01 09:00,a@example.com,A"]).await;
    let header = "mall,member_code,status,signed_up_at,email";
    import_good(db, "members", header, &["tokyo,M1,WITHDRAWN,2025-04-01 09:00,"]).await;
    assert_eq!(rows(db, "SELECT status, email, name FROM members").await, ["WITHDRAWN | NULL | A"]);
}

/// The stored instant of a local time in New York, or what is wrong with it.
async fn new_york_time(db: &mut TestDb, time: &str) -> String {
    let members = file("mall,member_code,status,signed_up_at", &[&format!("ny,{time},ACTIVE,{time}")]);
    match import(db, "members", &members, IMPORTED).await {
        Ok(_) => db.scalar(&format!("SELECT signed_up_at FROM members WHERE member_code = '{time}'")).await,
        Err(problems) => problems.concat(),
    }
}

async fn a_local_time_is_the_malls(db: &mut TestDb) {
    db.mall("ny", "America/New_York", "USD").await;
    assert_eq!(new_york_time(db, "2026-07-01 12:00").await, "2026-07-01T16:00:00+00:00");
    assert_eq!(new_york_time(db, "2026-12-01 12:00").await, "2026-12-01T17:00:00+00:00");
    assert_eq!(new_york_time(db, "2026-12-01 12:00:00+09:00").await, "2026-12-01T03:00:00+00:00");
}

async fn a_time_that_the_clock_skips_is_a_bad_line(db: &mut TestDb) {
    db.mall("ny", "America/New_York", "USD").await;
    assert_eq!(
        new_york_time(db, "2026-03-08 02:30").await,
        "2: `signed_up_at`: 2026-03-08 02:30 does not exist in America/New_York"
    );
    assert_eq!(new_york_time(db, "2026-03-08 03:00").await, "2026-03-08T07:00:00+00:00");
}

async fn a_time_that_the_clock_shows_twice_is_the_earlier(db: &mut TestDb) {
    db.mall("ny", "America/New_York", "USD").await;
    assert_eq!(new_york_time(db, "2026-11-01 01:30").await, "2026-11-01T05:30:00+00:00");
    assert_eq!(new_york_time(db, "2026-11-01 02:00").await, "2026-11-01T07:00:00+00:00");
}

async fn the_currency_of_the_line_decides_the_decimals(db: &mut TestDb) {
    with_malls(db).await;
    let lines = [
        "ny,P1,a,12.5,USD",
        "ny,P2,a,12.500,USD",
        "ny,P3,a,12.345,KWD",
        "ny,P4,a,1200.00,KRW",
        "seoul,P1,a,0,",
        "tokyo,P1,a,1000000000000000,",
    ];
    import_good(db, "products", "mall,product_code,name,price_amount,currency", &lines).await;
    assert_eq!(
        rows(
            db,
            "SELECT code, product_code, p.currency, price_amount FROM products p JOIN malls ON malls.id = mall_id"
        ).await,
        [
            "ny | P1 | USD | 1250",
            "ny | P2 | USD | 1250",
            "ny | P3 | KWD | 12345",
            "ny | P4 | KRW | 1200",
            "seoul | P1 | KRW | 0",
            "tokyo | P1 | JPY | 1000000000000000",
        ]
    );
}

async fn a_file_may_have_a_byte_order_mark_and_windows_line_ends(db: &mut TestDb) {
    with_tokyo(db).await;
    let text = "\u{feff}mall,product_code,name,price_amount\r\n\r\ntokyo,P1,\u{3000}緑茶 ,1200\r\n\"tokyo\",\"P2\",\"a\",\"1\"";
    import(db, "products", text, IMPORTED).await.unwrap();
    assert_eq!(
        rows(db, "SELECT product_code, name, price_amount FROM products").await,
        ["P1 | 緑茶 | 1200", "P2 | a | 1"]
    );
}

async fn hostile_text_is_stored_unchanged(db: &mut TestDb) {
    with_tokyo(db).await;
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
    import_good(db, "members", "mall,member_code,status,signed_up_at,name", &lines).await;
    assert_eq!(db.sql("SELECT name FROM members ORDER BY member_code").await.concat(), names);
}

async fn carts_are_imported_with_their_items(db: &mut TestDb) {
    with_tokyo(db).await;
    let lines = [
        "tokyo,C1,2026-11-18 21:00,M1,ja,https://shop/c1,,A,2,1200,,煎茶,https://shop/a,https://shop/a.png,no",
        "tokyo,C1,2026-11-18 21:00,M1,ja,https://shop/c1,,B,1,500,2,,,,yes",
        "tokyo,C2,2026-11-17 21:00,,,,2026-11-17 22:00,A,1,1200,,,,,",
    ];
    import_good(db, "carts", CARTS, &lines).await;
    assert_eq!(
        carts(db).await,
        [
            "C1 | M1 | JPY | ja | https://shop/c1 | 2026-11-18T12:00:00+00:00 | NULL | 2 | B | B | 1 | 500 | NULL | \
             NULL | 1",
            "C1 | M1 | JPY | ja | https://shop/c1 | 2026-11-18T12:00:00+00:00 | NULL | A | A | 煎茶 | 2 | 1200 | \
             https://shop/a | https://shop/a.png | 0",
            "C2 | NULL | JPY | NULL | NULL | 2026-11-17T12:00:00+00:00 | 2026-11-17T13:00:00+00:00 | A | A | A | 1 | \
             1200 | NULL | NULL | 0",
        ]
    );
}

async fn coupons_are_imported_and_stay_with_their_owners(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,code,description,expires_day";
    import_good(db, "coupons", header, &["tokyo,AAA,10 %,2026-12-31", "tokyo,BBB,5 %,"]).await;
    db.sql(
        "UPDATE coupons SET assigned_to = 'M1', assigned_at = '2026-11-19T16:00:00+00:00' WHERE code = 'AAA'",
    )
    .await;
    import_good(db, "coupons", header, &["tokyo,AAA,15 %,2027-01-31", "tokyo,BBB,5 %,"]).await;
    assert_eq!(
        db.sql("SELECT code, description, expires_day, assigned_to, assigned_at FROM coupons ORDER BY id")
            .await,
        [
            ["AAA", "15 %", "2027-01-31", "M1", "2026-11-19T16:00:00+00:00"],
            ["BBB", "5 %", "NULL", "NULL", "NULL"]
        ]
    );
}

async fn subscriptions_are_imported(db: &mut TestDb) {
    with_tokyo(db).await;
    let lines = [
        "tokyo,S1,M1,Premium,ACTIVE,980,,2027-01-31,2027-01-30,card,4242,https://shop/plan",
        "tokyo,S2,M2,Basic,CANCELLED,4.50,USD,,,,,",
    ];
    import_good(db, "subscriptions", SUBSCRIPTIONS, &lines).await;
    assert_eq!(
        rows(
            db,
            "SELECT subscription_no, member_code, plan_name, status, currency, amount, next_charge_day, cancel_by_day,
                    payment_method, card_last4, manage_url FROM subscriptions"
        ).await,
        [
            "S1 | M1 | Premium | ACTIVE | JPY | 980 | 2027-01-31 | 2027-01-30 | card | 4242 | https://shop/plan",
            "S2 | M2 | Basic | CANCELLED | USD | 450 | NULL | NULL | NULL | NULL | NULL",
        ]
    );
}

async fn articles_are_imported(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,article_key,title,summary,url,published_at,free_summary,locale";
    let lines = [
        "tokyo,A1,見出し,\"要約、\n二行\",https://news/1,2026-11-18 09:00,短い要約,ja",
        "tokyo,A2,Title,Summary,https://news/2,2026-11-18T00:00:00Z,,",
    ];
    import_good(db, "articles", header, &lines).await;
    assert_eq!(
        rows(db, "SELECT article_key, title, summary, free_summary, url, locale, published_at FROM articles")
            .await,
        [
            "A1 | 見出し | 要約、\n二行 | 短い要約 | https://news/1 | ja | 2026-11-18T00:00:00+00:00",
            "A2 | Title | Summary | NULL | https://news/2 | NULL | 2026-11-18T00:00:00+00:00",
        ]
    );
}

async fn consents_are_imported_by_member_and_purpose(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,member_code,purpose,granted,updated_at";
    let lines = [
        "tokyo,M1,MARKETING,yes,2026-11-18 09:00",
        "tokyo,M1,DIGEST,no,2026-11-18 09:00",
        "tokyo,M2,DIGEST,yes,",
    ];
    import_good(db, "consents", header, &lines).await;
    let stored = "SELECT member_code, purpose, is_granted, source_updated_at FROM mail_consents";
    assert_eq!(
        rows(db, stored).await,
        [
            "M1 | DIGEST | 0 | 2026-11-18T00:00:00+00:00",
            "M1 | MARKETING | 1 | 2026-11-18T00:00:00+00:00",
            "M2 | DIGEST | 1 | NULL",
        ]
    );
    // An older decision does not replace a newer one: a revoked consent stays revoked.
    let lines = ["tokyo,M1,MARKETING,no,2026-11-19 09:00", "tokyo,M1,DIGEST,yes,2026-11-17 09:00"];
    import_good(db, "consents", header, &lines).await;
    assert_eq!(
        rows(db, stored).await[..2],
        ["M1 | DIGEST | 0 | 2026-11-18T00:00:00+00:00", "M1 | MARKETING | 0 | 2026-11-19T00:00:00+00:00"]
    );
    let twice = file(header, &["tokyo,M1,DIGEST,yes,", "tokyo,M1,DIGEST,no,"]);
    assert_eq!(
        import(db, "consents", &twice, IMPORTED).await.unwrap_err(),
        ["2: the same consent is also on line 3", "3: the same consent is also on line 2"]
    );
}

async fn an_erasure_request_is_imported_with_its_member(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,member_code,status,signed_up_at,erasure_requested_at";
    let lines = ["tokyo,M1,ACTIVE,2025-04-01 09:00,2026-11-18 09:00", "tokyo,M2,ACTIVE,2025-04-01 09:00,"];
    import_good(db, "members", header, &lines).await;
    let wishes = "SELECT member_code, erasure_requested_at FROM members";
    assert_eq!(rows(db, wishes).await, ["M1 | 2026-11-18T00:00:00+00:00", "M2 | NULL"]);
    // A file without the column does not revoke it.
    let header = "mall,member_code,status,signed_up_at";
    import_good(db, "members", header, &["tokyo,M1,WITHDRAWN,2025-04-01 09:00"]).await;
    assert_eq!(rows(db, wishes).await, ["M1 | 2026-11-18T00:00:00+00:00", "M2 | NULL"]);
}

async fn the_fault_of_a_line_is_reported(db: &mut TestDb) {
    with_tokyo(db).await;
    let consents = "mall,member_code,purpose,granted";
    let articles = "mall,article_key,title,summary,url,published_at,locale";
    let carts = "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount,purchased";
    for (kind, header, line, problem) in [
        (
            "subscriptions",
            SUBSCRIPTIONS,
            "S1,M1,Premium,ACTIVE,980,,,,,,",
            "`next_charge_day`: is empty, but the subscription is ACTIVE",
        ),
        (
            "subscriptions",
            SUBSCRIPTIONS,
            "S1,M1,Premium,RUNNING,980,,2027-01-31,,,,",
            "`status`: `RUNNING` is not one of ACTIVE, PAUSED, CANCELLED: map it in batchctl.toml, \
             [import.subscriptions.values.status]",
        ),
        (
            "subscriptions",
            SUBSCRIPTIONS,
            "S1,M1,Premium,ACTIVE,980,,2027-02-29,,,,",
            "`next_charge_day`: `2027-02-29` is not a day that exists: write YYYY-MM-DD",
        ),
        (
            "subscriptions",
            SUBSCRIPTIONS,
            "S1,M1,Premium,ACTIVE,-980,,2027-01-31,,,,",
            "`amount`: `-980` is negative: most likely a credit, which is not a charge; if nothing will be charged next \
             time, the amount is 0",
        ),
        // A whole card number is not quoted.
        (
            "subscriptions",
            SUBSCRIPTIONS,
            "S1,M1,Premium,ACTIVE,980,,2027-01-31,,,4242424242424242,",
            "`card_last4`: is not the last four digits of a card",
        ),
        (
            "consents",
            consents,
            "M1,SPAM,yes",
            "`purpose`: `SPAM` is not one of MARKETING, DIGEST: map it in batchctl.toml, [import.consents.values.purpose]",
        ),
        ("consents", consents, "M1,DIGEST,", "`granted`: is empty"),
        ("articles", articles, "A1,,s,u,2026-11-18 09:00,", "`title`: is empty"),
        (
            "articles",
            articles,
            "A1,t,s,u,2026-11-18 09:00,fr",
            "`locale`: `fr` is not one of en, ja, ko: map it in batchctl.toml, [import.articles.values.locale]",
        ),
        (
            "carts",
            carts,
            "C1,2026-11-18 21:00,A,-1,100,",
            "`quantity`: `-1` is negative: leave out what was removed from the cart",
        ),
        (
            "carts",
            carts,
            "C1,2026-11-18 21:00,A,1,-5,",
            "`unit_price_amount`: `-5` is negative: most likely a coupon or a discount; leave out what is not a product",
        ),
        (
            "carts",
            carts,
            "C1,2026-11-18 21:00,A,1,5,maybe",
            "`purchased`: `maybe` is not one of yes, no: map it in batchctl.toml, [import.carts.values.purchased]",
        ),
        (
            "coupons",
            "mall,code,description,expires_day",
            "AAA,10 %,soon",
            "`expires_day`: `soon` is not a day that exists: write YYYY-MM-DD",
        ),
    ] {
        let text = file(header, &[&format!("tokyo,{line}")]);
        assert_eq!(import(db, kind, &text, IMPORTED).await.unwrap_err(), [format!("2: {problem}")]);
        assert_eq!(db.scalar(&format!("SELECT COUNT(*) FROM {}", table(kind))).await, "0");
    }
}
