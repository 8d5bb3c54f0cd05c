//! Importing a file twice changes nothing, a changed file changes what differs, and an older state never overwrites a
//! newer one.

use super::{file, import, orders_file, rows, runs, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    the_same_file_twice_is_already_completed,
    the_same_content_under_another_name_is_already_completed,
    a_rerun_of_the_same_file_changes_nothing,
    a_changed_file_updates_just_what_changed,
    a_line_that_an_order_no_longer_has_disappears,
    an_older_record_does_not_overwrite_a_newer,
    refunds_products_and_members_are_replaced_by_their_keys,
    a_dry_run_writes_nothing,
];

/// A day after the first import.
const LATER: &str = "2026-11-21T00:00:00Z";

fn the_same_file_twice_is_already_completed(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(30));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let before = shop.dump();
    import(shop, &["--verbose", "--kind", "orders", "orders.csv"])
        .now(LATER)
        .run()
        .succeeds()
        .says("already completed by run 1");
    import(shop, &["--kind", "orders", "orders.csv"]).now(LATER).run().succeeds().is_silent();
    assert_eq!(shop.dump(), before);
}

fn the_same_content_under_another_name_is_already_completed(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(3));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let before = shop.dump();
    shop.write("folder/copy.csv", orders_file(3));
    import(shop, &["--verbose", "--kind", "orders", "folder/copy.csv"])
        .run()
        .succeeds()
        .says("already completed by run 1");
    assert_eq!(shop.dump(), before);
}

fn a_rerun_of_the_same_file_changes_nothing(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(30));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let before = shop_rows(shop);
    import(shop, &["--verbose", "--rerun", "--kind", "orders", "--chunk-size", "10", "orders.csv"])
        .now(LATER)
        .run()
        .succeeds()
        .says("read 30 lines, 0 orders new, 0 changed, 30 unchanged");
    assert_eq!(shop_rows(shop), before);
    assert_eq!(runs(shop), ["1 COMPLETED 0 30 30 0", "2 COMPLETED 0 30 0 0"]);
}

const HEADER: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,updated_at,product_code,quantity,unit_price_amount";

fn a_changed_file_updates_just_what_changed(shop: &Shop) {
    with_tokyo(shop);
    let line =
        |order: &str, rest: &str| format!("tokyo,{order},PAID,2026-11-19 10:00,2026-11-19 10:05,{rest}");
    let [first, second, third, fourth] = [
        line("A-1", "100,,P1,1,100"),
        line("A-2", "100,,P1,1,100"),
        line("A-3", "100,,P1,1,100"),
        line("A-4", "100,,P1,1,100"),
    ];
    shop.write("orders.csv", file(HEADER, &[&first, &second, &third]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let unchanged = "SELECT * FROM orders JOIN order_items ON order_id = id WHERE order_no = 'A-1'";
    let before = shop.sql(unchanged);
    let second = second.replace("PAID", "SHIPPED");
    let third = third.replace("P1,1,100", "P1,2,50");
    shop.write("orders.csv", file(HEADER, &[&first, &second, &third, &fourth]));

    import(shop, &["--verbose", "--kind", "orders", "orders.csv"])
        .now(LATER)
        .run()
        .succeeds()
        .says("read 4 lines, 1 order new, 2 changed, 1 unchanged");

    assert_eq!(shop.sql(unchanged), before);
    assert_eq!(
        rows(
            shop,
            "SELECT order_no, status, quantity, unit_price_amount, line_amount, created_at, updated_at
             FROM orders JOIN order_items ON order_id = id WHERE order_no <> 'A-1'"
        ),
        [
            "A-2 | SHIPPED | 1 | 100 | 100 | 2026-11-19T16:00:00+00:00 | 2026-11-21T00:00:00+00:00",
            "A-3 | PAID | 2 | 50 | 100 | 2026-11-19T16:00:00+00:00 | 2026-11-21T00:00:00+00:00",
            "A-4 | PAID | 1 | 100 | 100 | 2026-11-21T00:00:00+00:00 | 2026-11-21T00:00:00+00:00",
        ]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "4");
}

fn a_line_that_an_order_no_longer_has_disappears(shop: &Shop) {
    with_tokyo(shop);
    let line =
        |product: &str| format!("tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,300,,{product},1,100");
    shop.write("orders.csv", file(HEADER, &[&line("P1"), &line("P2"), &line("P3")]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    shop.write("orders.csv", file(HEADER, &[&line("P3"), &line("P4")]));
    import(shop, &["--kind", "orders", "orders.csv"]).now(LATER).run().succeeds();
    assert_eq!(
        rows(shop, "SELECT order_no, product_code, updated_at FROM orders JOIN order_items ON order_id = id"),
        ["A-1 | P3 | 2026-11-21T00:00:00+00:00", "A-1 | P4 | 2026-11-21T00:00:00+00:00"]
    );
}

fn an_older_record_does_not_overwrite_a_newer(shop: &Shop) {
    with_tokyo(shop);
    let order = |status: &str, updated_at: &str| {
        format!("tokyo,A-1,{status},2026-11-19 10:00,2026-11-19 10:05,300,{updated_at},P1,1,300")
    };
    let state = |shop: &Shop| rows(shop, "SELECT status, source_updated_at, updated_at FROM orders").concat();
    let bring = |order: &str, now: &str, summary: &str| {
        shop.write("orders.csv", file(HEADER, &[order]));
        import(shop, &["--verbose", "--kind", "orders", "orders.csv"])
            .now(now)
            .run()
            .succeeds()
            .says(summary);
    };
    bring(&order("SHIPPED", "2026-11-19 12:00"), "2026-11-20T00:00:00Z", "1 order new");
    let shipped = "SHIPPED | 2026-11-19T03:00:00+00:00 | 2026-11-20T00:00:00+00:00";
    assert_eq!(state(shop), shipped);
    bring(
        &order("PAID", "2026-11-19 11:00"),
        "2026-11-21T00:00:00Z",
        "0 orders new, 0 changed, 0 unchanged, 1 older than the stored ones",
    );
    assert_eq!(state(shop), shipped);
    bring(&order("DELIVERED", "2026-11-19 13:00"), "2026-11-22T00:00:00Z", "1 changed");
    assert_eq!(state(shop), "DELIVERED | 2026-11-19T04:00:00+00:00 | 2026-11-22T00:00:00+00:00");

    // The same holds of members and products.
    let member = |status: &str, updated_at: &str| {
        let line = format!("tokyo,M1,{status},2025-04-01 09:00,{updated_at}");
        shop.write("members.csv", file("mall,member_code,status,signed_up_at,updated_at", &[&line]));
        import(shop, &["--kind", "members", "members.csv"]).run().succeeds();
    };
    member("WITHDRAWN", "2026-11-19 12:00");
    member("ACTIVE", "2026-11-19 11:00");
    assert_eq!(shop.scalar("SELECT status FROM members"), "WITHDRAWN");
    let product = |price: &str, updated_at: &str| {
        let line = format!("tokyo,P1,a,{price},{price},{updated_at}");
        let header = "mall,product_code,name,price_amount,stock_quantity,updated_at";
        shop.write("products.csv", file(header, &[&line]));
        import(shop, &["--kind", "products", "products.csv"]).run().succeeds();
    };
    product("200", "2026-11-19 12:00");
    product("100", "2026-11-19 11:00");
    assert_eq!(
        shop.sql("SELECT price_amount, quantity FROM products JOIN stock ON product_id = id"),
        [["200", "200"]]
    );
}

fn refunds_products_and_members_are_replaced_by_their_keys(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(1));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let files = [
        (
            "refunds",
            "mall,order_no,refund_no,amount,refunded_at",
            "tokyo,A000001,R1,100,2026-11-19 18:00",
            "100",
            "200",
        ),
        ("products", "mall,product_code,name,price_amount,stock_quantity", "tokyo,P1,a,100,5", "100", "200"),
        (
            "products",
            "mall,product_code,name,price_amount,stock_quantity",
            "tokyo,P1,a,200,5",
            "200,5",
            "200,6",
        ),
        (
            "members",
            "mall,member_code,status,signed_up_at",
            "tokyo,M1,ACTIVE,2025-04-01 09:00",
            "ACTIVE",
            "WITHDRAWN",
        ),
    ];
    for (kind, header, line, from, to) in files {
        shop.write("file.csv", file(header, &[line]));
        import(shop, &["--kind", kind, "file.csv"]).run().succeeds();
        let before = shop_rows(shop);
        import(shop, &["--verbose", "--rerun", "--kind", kind, "file.csv"])
            .now(LATER)
            .run()
            .succeeds()
            .says("0 changed, 1 unchanged");
        assert_eq!(shop_rows(shop), before);
        shop.write("file.csv", file(header, &[&line.replace(from, to)]));
        import(shop, &["--verbose", "--kind", kind, "file.csv"])
            .now(LATER)
            .run()
            .succeeds()
            .says(&format!("read 1 line, 0 {kind} new, 1 changed, 0 unchanged"));
        assert_eq!(shop.scalar(&format!("SELECT COUNT(*) FROM {kind}")), "1");
    }
    assert_eq!(
        shop.sql(
            "SELECT r.amount, r.updated_at, price_amount, quantity, m.status, m.updated_at
             FROM refunds r, products p JOIN stock ON product_id = p.id, members m"
        ),
        [["200", "2026-11-21T00:00:00+00:00", "200", "6", "WITHDRAWN", "2026-11-21T00:00:00+00:00"]]
    );
}

fn a_dry_run_writes_nothing(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(3));
    let before = shop.dump();
    import(shop, &["--dry-run", "--kind", "orders", "orders.csv"]).run().succeeds().prints("would run");
    assert_eq!(shop.dump(), before);
}
