//! Importing a file twice changes nothing, a changed file changes what differs, and an older state never overwrites a
//! newer one.

use super::{file, import, orders_file, rows, runs, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    the_same_file_twice_is_already_completed,
    the_same_content_under_another_name_is_already_completed,
    a_rerun_of_the_same_file_changes_nothing,
    a_changed_file_updates_just_what_changed,
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

fn a_dry_run_writes_nothing(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(3));
    let before = shop.dump();
    import(shop, &["--dry-run", "--kind", "orders", "orders.csv"]).run().succeeds().prints("would run");
    assert_eq!(shop.dump(), before);
}
