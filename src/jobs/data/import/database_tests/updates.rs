//! Importing a file twice changes nothing, a changed file changes what differs, and an older state never overwrites a
//! newer one.

use super::{LATER, file, import, import_good, rows, table, with_tokyo};
use crate::db::testing::{TestDb, on_both_databases};

on_both_databases![
    a_line_that_an_order_no_longer_has_disappears,
    a_cart_is_replaced_as_a_whole,
    an_older_order_does_not_overwrite_a_newer,
    an_older_record_of_any_kind_does_not_overwrite_a_newer,
    the_same_file_changes_nothing_and_a_changed_line_one_record,
    an_empty_field_clears_what_is_stored,
    a_missing_column_keeps_its_stored_value,
];

const ORDERS: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,updated_at,product_code,quantity,unit_price_amount";

async fn a_line_that_an_order_no_longer_has_disappears(db: &mut TestDb) {
    with_tokyo(db).await;
    let line =
        |product: &str| format!("tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,300,,{product},1,100");
    import_good(db, "orders", ORDERS, &[&line("P1"), &line("P2"), &line("P3")]).await;
    import(db, "orders", &file(ORDERS, &[&line("P3"), &line("P4")]), LATER).await.unwrap();
    assert_eq!(
        rows(db, "SELECT order_no, product_code, updated_at FROM orders JOIN order_items ON order_id = id")
            .await,
        ["A-1 | P3 | 2026-11-21T00:00:00+00:00", "A-1 | P4 | 2026-11-21T00:00:00+00:00"]
    );
}

async fn a_cart_is_replaced_as_a_whole(db: &mut TestDb) {
    with_tokyo(db).await;
    let header =
        "mall,cart_key,last_activity_at,member_code,product_code,quantity,unit_price_amount,purchased";
    let line = |cart: &str, rest: &str| format!("tokyo,{cart},2026-11-18 21:00,M1,{rest}");
    let old = [line("C1", "A,1,100,no"), line("C1", "B,1,100,no"), line("C2", "A,1,100,no")];
    import_good(db, "carts", header, &old.each_ref().map(String::as_str)).await;
    let id = db.scalar("SELECT id FROM carts WHERE cart_key = 'C1'").await;
    let untouched = "SELECT * FROM carts JOIN cart_items ON cart_id = id WHERE cart_key = 'C2'";
    let before = db.sql(untouched).await;

    let new = [
        line("C1", "A,1,100,yes"),
        line("C1", "D,3,100,no"),
        line("C2", "A,1,100,no"),
        line("C3", "A,1,100,no"),
    ];
    let said = import(db, "carts", &file(header, &new.each_ref().map(String::as_str)), LATER).await;
    assert_eq!(said.unwrap(), "read 4 lines, 1 cart new, 1 changed, 1 unchanged");

    let items = "SELECT product_code, quantity, is_purchased FROM cart_items JOIN carts ON id = cart_id
                 WHERE cart_key = 'C1'";
    assert_eq!(rows(db, items).await, ["A | 1 | 1", "D | 3 | 0"]);
    let now = db.scalar("SELECT id FROM carts WHERE cart_key = 'C1'").await;
    assert_eq!(now, id, "reminders know it by its number");
    assert_eq!(db.sql(untouched).await, before);
    assert_eq!(db.scalar("SELECT COUNT(*) FROM carts JOIN cart_items ON cart_id = id").await, "4");
}

async fn an_older_order_does_not_overwrite_a_newer(db: &mut TestDb) {
    with_tokyo(db).await;
    let shipped = "SHIPPED | 2026-11-19T03:00:00+00:00 | 2026-11-20T00:00:00+00:00";
    for (status, updated_at, now, said, stored) in [
        (
            "SHIPPED",
            "2026-11-19 12:00",
            "2026-11-20T00:00:00Z",
            "read 1 line, 1 order new, 0 changed, 0 unchanged",
            shipped,
        ),
        (
            "PAID",
            "2026-11-19 11:00",
            "2026-11-21T00:00:00Z",
            "read 1 line, 0 orders new, 0 changed, 0 unchanged, 1 older than the stored ones",
            shipped,
        ),
        (
            "DELIVERED",
            "2026-11-19 13:00",
            "2026-11-22T00:00:00Z",
            "read 1 line, 0 orders new, 1 changed, 0 unchanged",
            "DELIVERED | 2026-11-19T04:00:00+00:00 | 2026-11-22T00:00:00+00:00",
        ),
    ] {
        let order = format!("tokyo,A-1,{status},2026-11-19 10:00,2026-11-19 10:05,300,{updated_at},P1,1,300");
        assert_eq!(import(db, "orders", &file(ORDERS, &[&order]), now).await.unwrap(), said);
        assert_eq!(rows(db, "SELECT status, source_updated_at, updated_at FROM orders").await, [stored]);
    }
}

async fn an_older_record_of_any_kind_does_not_overwrite_a_newer(db: &mut TestDb) {
    with_tokyo(db).await;
    for (kind, header, line, told_by, words) in [
        (
            "members",
            "mall,member_code,status,signed_up_at,updated_at",
            "tokyo,M1,{word},2025-04-01 09:00,{time}",
            "SELECT status FROM members",
            ["WITHDRAWN", "ACTIVE", "UNCONFIRMED", "ACTIVE"],
        ),
        (
            "products",
            "mall,product_code,name,price_amount,stock_quantity,updated_at",
            "tokyo,P1,a,{word},{word},{time}",
            // With its stock.
            "SELECT price_amount FROM products JOIN stock ON product_id = id AND quantity = price_amount",
            ["200", "100", "300", "400"],
        ),
        (
            "carts",
            "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount,url,updated_at",
            "tokyo,K,2026-11-18 21:00,A,1,1,{word},{time}",
            "SELECT url FROM carts",
            WORDS,
        ),
        (
            "coupons",
            "mall,code,description,updated_at",
            "tokyo,K,{word},{time}",
            "SELECT description FROM coupons",
            WORDS,
        ),
        (
            "subscriptions",
            "mall,subscription_no,member_code,plan_name,status,amount,updated_at",
            "tokyo,K,M1,{word},PAUSED,1,{time}",
            "SELECT plan_name FROM subscriptions",
            WORDS,
        ),
        (
            "articles",
            "mall,article_key,title,summary,url,published_at,updated_at",
            "tokyo,K,{word},s,u,2026-11-18 09:00,{time}",
            "SELECT title FROM articles",
            WORDS,
        ),
    ] {
        let [first, older, newer, timeless] = words;
        for (word, time, stored) in [
            (first, "2026-11-18 12:00", first),
            (older, "2026-11-18 11:00", first),
            (newer, "2026-11-18 13:00", newer),
            (timeless, "", timeless),
        ] {
            import_good(db, kind, header, &[&line.replace("{word}", word).replace("{time}", time)]).await;
            assert_eq!(db.scalar(told_by).await, stored, "{kind}: {word} at {time}");
        }
    }
}

const WORDS: [&str; 4] = ["first", "older", "newer", "timeless"];

async fn the_same_file_changes_nothing_and_a_changed_line_one_record(db: &mut TestDb) {
    with_tokyo(db).await;
    let order = "tokyo,A000001,PAID,2026-11-19 10:00,2026-11-19 10:05,1200,,P1,1,1200";
    import_good(db, "orders", ORDERS, &[order]).await;
    for (noun, header, line, from, to) in [
        ("order", ORDERS, order, "PAID", "SHIPPED"),
        (
            "refund",
            "mall,order_no,refund_no,amount,refunded_at",
            "tokyo,A000001,R1,100,2026-11-19 18:00",
            "100",
            "200",
        ),
        ("product", "mall,product_code,name,price_amount,stock_quantity", "tokyo,P1,a,100,5", "100", "200"),
        // Only the stock.
        (
            "product",
            "mall,product_code,name,price_amount,stock_quantity",
            "tokyo,P1,a,200,5",
            "200,5",
            "200,6",
        ),
        (
            "member",
            "mall,member_code,status,signed_up_at",
            "tokyo,M1,ACTIVE,2025-04-01 09:00",
            "ACTIVE",
            "WITHDRAWN",
        ),
        (
            "cart",
            "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount",
            "tokyo,C1,2026-11-18 21:00,A,1,100",
            "100",
            "200",
        ),
        ("coupon", "mall,code,description", "tokyo,AAA,10 %", "10 %", "15 %"),
        (
            "subscription",
            "mall,subscription_no,member_code,plan_name,status,amount,next_charge_day",
            "tokyo,S1,M1,P,ACTIVE,980,2027-01-31",
            "01-31",
            "02-28",
        ),
        (
            "article",
            "mall,article_key,title,summary,url,published_at",
            "tokyo,A1,t,s,u,2026-11-18 09:00",
            ",s,",
            ",S,",
        ),
        ("consent", "mall,member_code,purpose,granted", "tokyo,M1,DIGEST,yes", "yes", "no"),
    ] {
        let kind = format!("{noun}s");
        import_good(db, &kind, header, &[line]).await;
        let before = db.dump().await;
        let said = import(db, &kind, &file(header, &[line]), LATER).await.unwrap();
        assert_eq!(said, format!("read 1 line, 0 {kind} new, 0 changed, 1 unchanged"));
        assert_eq!(db.dump().await, before);
        let said = import(db, &kind, &file(header, &[&line.replace(from, to)]), LATER).await.unwrap();
        assert_eq!(said, format!("read 1 line, 0 {kind} new, 1 changed, 0 unchanged"));
        assert_ne!(db.dump().await, before);
        assert_eq!(db.scalar(&format!("SELECT COUNT(*) FROM {}", table(&kind))).await, "1");
    }
    assert_eq!(
        db.sql(
            "SELECT r.amount, r.updated_at, price_amount, quantity, m.status, m.updated_at
             FROM refunds r, products p JOIN stock ON product_id = p.id, members m"
        )
        .await,
        [["200", LATER, "200", "6", "WITHDRAWN", LATER]]
    );
}

async fn an_empty_field_clears_what_is_stored(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,order_no,status,ordered_at,total_amount,member_code,paid_at,product_code,quantity,\
                  unit_price_amount";
    let order =
        |member: &str| format!("tokyo,A-1,PAID,2026-11-19 10:00,300,{member},2026-11-19 10:05,P1,1,300");
    import_good(db, "orders", header, &[&order("M1")]).await;
    import_good(db, "orders", header, &[&order("")]).await;
    assert_eq!(db.sql("SELECT order_no, member_code FROM orders").await, [["A-1", "NULL"]]);
}

async fn a_missing_column_keeps_its_stored_value(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "mall,subscription_no,member_code,plan_name,status,amount,currency,next_charge_day,cancel_by_day,\
                  payment_method,card_last4,manage_url";
    let full = "tokyo,S1,M1,Premium,ACTIVE,980,,2027-01-31,,card,4242,https://shop/plan";
    import_good(db, "subscriptions", header, &[full]).await;
    let header = "mall,subscription_no,member_code,plan_name,status,amount,next_charge_day";
    import_good(db, "subscriptions", header, &["tokyo,S1,M1,Premium,ACTIVE,1080,2027-02-28"]).await;
    assert_eq!(
        db.sql("SELECT amount, next_charge_day, card_last4, manage_url FROM subscriptions").await,
        [["1080", "2027-02-28", "4242", "https://shop/plan"]]
    );
    let header = "mall,subscription_no,member_code,plan_name,status,amount";
    import_good(db, "subscriptions", header, &["tokyo,S1,M1,Premium,ACTIVE,1180"]).await;
    assert_eq!(db.sql("SELECT amount, next_charge_day FROM subscriptions").await, [["1180", "2027-02-28"]]);
}
