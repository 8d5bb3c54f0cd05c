//! Bad lines up to the skip limit are skipped with a row each, and can be loaded later.

use super::{
    ORDERS, file, import, item_errors, order_line, order_numbers, orders_file, runs, shop_rows, sorted,
    stored_orders, with_tokyo,
};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    bad_lines_up_to_the_limit_are_skipped,
    the_other_lines_of_an_order_with_a_bad_one_are_not_stored,
    the_limit_may_be_a_percentage,
    one_bad_line_more_than_the_limit_and_nothing_is_written,
    the_limit_may_be_configured,
    a_bad_line_drops_its_whole_order,
    a_partial_import_may_be_allowed,
    a_bad_line_does_not_make_an_unchanged_file_a_failure,
    bad_lines_of_refunds_are_skipped,
    the_fixed_file_provides_the_missing_lines,
    a_retry_reads_the_fixed_file,
    a_retry_loads_only_the_bad_lines_once_the_cause_is_fixed,
];

/// A file of this many orders, some of which have an unknown status.
fn orders_file_with_bad(count: usize, bad: &[usize]) -> String {
    let mut text = orders_file(count);
    for number in bad {
        text = text.replace(&format!("A{number:06},PAID"), &format!("A{number:06},PAYED"));
    }
    text
}

/// The row of a bad order.
fn unknown_state(run: u32, number: usize, phase: &str) -> String {
    format!(
        "{run} orders.csv:{} {phase} SKIPPED BAD_INPUT `status`: `PAYED` is not one of PAYMENT_WAIT, PAID, SHIPPED, \
         DELIVERED, ORDER_CANCELLED, REFUNDED: map it in batchctl.toml, [import.orders.values.status]",
        number + 1
    )
}

fn bad_lines_up_to_the_limit_are_skipped(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7, 28]));

    import(shop, &["--kind", "orders", "--chunk-size", "10", "--skip-limit", "2", "orders.csv"])
        .run()
        .exits(3)
        .says("partial (run 1, exit 3")
        .says("2 of 30 items failed")
        .says("data:  28 of 30 lines are stored; 2 are not")
        .says(&format!("retry: {}\n", shop.command("dev", "runs retry 1")));

    assert_eq!(stored_orders(shop), order_numbers((1..=30).filter(|number| ![7, 28].contains(number))));
    assert_eq!(runs(shop), ["1 PARTIAL 3 30 28 2"]);
    let errors = [unknown_state(1, 7, "load"), unknown_state(1, 28, "load")];
    assert_eq!(item_errors(shop), errors);
    let shown = shop.batchctl(["runs", "errors", "1"]).run().succeeds().stdout;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("orders.csv:8") && shown.contains("orders.csv:29"), "{shown}");
}

/// A bad line takes its order with it: what is said to be stored is.
fn the_other_lines_of_an_order_with_a_bad_one_are_not_stored(shop: &Shop) {
    with_tokyo(shop);
    let header = "order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount\n";
    let line = |order: &str, product: usize, quantity: &str| {
        format!(
            "{order},PAID,2026-11-19T12:00:00+09:00,2026-11-19T12:00:00+09:00,5000,P{product},{quantity},1000\n"
        )
    };
    let mut text = header.to_owned();
    (1..=5).for_each(|product| text.push_str(&line("A1", product, if product == 3 { "x" } else { "1" })));
    (1..=5).for_each(|product| text.push_str(&line("A2", product, "1")));
    shop.write("orders.csv", text);
    import(shop, &["--kind", "orders", "--mall", "tokyo", "--skip-limit", "1", "orders.csv"])
        .run()
        .exits(3)
        .says("1 of 10 items failed")
        .says("data:  5 of 10 lines are stored; 5 are not");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM order_items"), "5");
}

fn the_limit_may_be_a_percentage(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(200, &[1, 200]));
    import(shop, &["--kind", "orders", "--skip-limit", "1%", "orders.csv"]).run().exits(3);
    assert_eq!(runs(shop), ["1 PARTIAL 3 200 198 2"]);
    assert_eq!(stored_orders(shop), order_numbers(2..=199));

    shop.write("orders.csv", orders_file_with_bad(200, &[1, 2, 200]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "--skip-limit", "1%", "orders.csv"])
        .run()
        .exits(65)
        .says("3 of 200 lines are bad, more than the skip limit of 1%; nothing was imported");
    assert_eq!(shop_rows(shop), before);
}

fn one_bad_line_more_than_the_limit_and_nothing_is_written(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7, 8, 28]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "--chunk-size", "10", "--skip-limit", "2", "orders.csv"])
        .run()
        .exits(65)
        .says("3 of 30 lines are bad, more than the skip limit of 2; nothing was imported");
    assert_eq!(shop_rows(shop), before);
    assert_eq!(runs(shop), ["1 FAILED 65 30 0 3"]);
    assert_eq!(item_errors(shop), [7, 8, 28].map(|number| unknown_state(1, number, "check")));
    // The limit is not part of the instance: with a higher one, the same file continues as its next attempt.
    import(shop, &["--kind", "orders", "--skip-limit", "3", "orders.csv"]).run().exits(3);
    assert_eq!(runs(shop)[1], "2 PARTIAL 3 30 27 3");
}

fn the_limit_may_be_configured(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[jobs.\"data import\"]\nskip_limit = \"2\"\n");
    shop.write("orders.csv", orders_file_with_bad(30, &[7, 28]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(3);
    assert_eq!(runs(shop), ["1 PARTIAL 3 30 28 2"]);
    shop.write("orders.csv", orders_file_with_bad(30, &[7, 28, 29]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65);
    import(shop, &["--kind", "orders", "--skip-limit", "0", "orders.csv"]).run().exits(65);
}

fn a_bad_line_drops_its_whole_order(shop: &Shop) {
    with_tokyo(shop);
    let line = |order: &str, product: &str, quantity: &str| {
        format!("tokyo,{order},PAID,2026-11-19 10:00,2026-11-19 10:05,1200,{product},{quantity},100")
    };
    let lines = [
        line("A-1", "P1", "1"),
        line("A-2", "P1", "1"),
        line("A-2", "P2", "x"),
        line("A-2", "P3", "1"),
        line("A-3", "P1", "1"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shop.write("orders.csv", file(ORDERS, &lines));
    import(shop, &["--kind", "orders", "--skip-limit", "1", "orders.csv"]).run().exits(3);
    assert_eq!(stored_orders(shop), ["A-1", "A-3"]);
    assert_eq!(
        item_errors(shop),
        [
            "1 orders.csv:4 load SKIPPED BAD_INPUT `quantity`: `x` is not a number: use only digits, one `.` and a \
            leading `-`"
        ]
    );
}

fn a_partial_import_may_be_allowed(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7]));
    import(shop, &["--kind", "orders", "--skip-limit", "1", "--allow-partial", "orders.csv"])
        .run()
        .succeeds();
    assert_eq!(shop.sql("SELECT status, exit_code FROM batch_execution"), [["PARTIAL", "0"]]);
    assert_eq!(item_errors(shop), [unknown_state(1, 7, "load")]);
}

fn a_bad_line_does_not_make_an_unchanged_file_a_failure(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7]));
    let words = ["--kind", "orders", "--skip-limit", "1", "orders.csv"];
    import(shop, &words).run().exits(3);
    let before = shop_rows(shop);
    // The 29 others are correct, even though they were already stored before.
    import(shop, &words).now("2026-11-21T00:00:00Z").run().exits(3);
    assert_eq!(shop_rows(shop), before);
}

fn bad_lines_of_refunds_are_skipped(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(2));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let lines = [
        "tokyo,A000001,R1,100,2026-11-19 18:00",
        "tokyo,A000009,R1,100,2026-11-19 18:00",
        "tokyo,A000002,R1,1.5,2026-11-19 18:00",
        "tokyo,A000002,R2,200,2026-11-19 18:00",
    ];
    shop.write("refunds.csv", file("mall,order_no,refund_no,amount,refunded_at", &lines));
    import(shop, &["--kind", "refunds", "--skip-limit", "2", "refunds.csv"]).run().exits(3);
    assert_eq!(
        shop.sql("SELECT refund_key, amount FROM refunds ORDER BY refund_key"),
        [["R1", "100"], ["R2", "200"]]
    );
    assert_eq!(
        sorted(item_errors(shop)),
        [
            "2 refunds.csv:3 load SKIPPED BAD_INPUT `order_no`: unknown order `A000009`: import its orders first",
            "2 refunds.csv:4 load SKIPPED BAD_INPUT `amount`: `1.5` has too many decimals: JPY has 0",
        ]
    );
}

fn the_fixed_file_provides_the_missing_lines(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7]));
    let words = ["--kind", "orders", "--skip-limit", "1", "orders.csv"];
    import(shop, &words).run().exits(3);
    let stored = "SELECT * FROM orders WHERE order_no <> 'A000007' ORDER BY id";
    let before = shop.sql(stored);
    shop.write("orders.csv", orders_file(30));
    import(shop, &words).now("2026-11-21T00:00:00Z").run().succeeds().is_silent();
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
    assert_eq!(shop.sql(stored), before);
    assert_eq!(runs(shop), ["1 PARTIAL 3 30 29 1", "1 COMPLETED 0 30 1 0"]);
}

fn a_retry_reads_the_fixed_file(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file_with_bad(30, &[7]));
    import(shop, &["--kind", "orders", "--skip-limit", "1", "orders.csv"]).run().exits(3);
    shop.write("orders.csv", orders_file(30));
    shop.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
    assert_eq!(shop.sql("SELECT status, retry_of FROM batch_execution WHERE id = 2"), [["COMPLETED", "1"]]);
    let open = "SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL";
    assert_eq!(shop.scalar(open), "0", "the fixed file resolves the errors of the run that was retried");
    let listed = shop.batchctl(["runs", "list", "--status", "failed,partial", "--open"]).run().succeeds();
    assert_eq!(
        listed.stdout, "no runs\n",
        "a file that was fixed is another instance, and settles the first"
    );
}

fn a_retry_loads_only_the_bad_lines_once_the_cause_is_fixed(shop: &Shop) {
    with_tokyo(shop);
    let osaka = order_line(2).replace("tokyo", "osaka");
    shop.write("orders.csv", file(ORDERS, &[&order_line(1), &osaka, &order_line(3)]));
    import(shop, &["--kind", "orders", "--skip-limit", "1", "orders.csv"]).run().exits(3);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();
    assert_eq!(stored_orders(shop), order_numbers(1..=3));
    assert_eq!(runs(shop), ["1 PARTIAL 3 3 2 1", "2 COMPLETED 0 1 1 0"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
}
