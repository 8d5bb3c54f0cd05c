//! What a killed, stopped or overtaken import leaves behind, and that the next one completes it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    import, import_by_tens, item_errors, order_line, order_numbers, orders_file, runs, shop_rows,
    stored_orders, with_tokyo,
};
use crate::support::{Running, Shop, eventually, on_both_databases};

on_both_databases![
    an_import_killed_in_a_chunk_continues_after_the_last_commit,
    an_import_killed_after_a_chunk_continues_with_the_next,
    an_import_killed_after_its_last_chunk_reads_no_line_again,
    a_killed_import_with_bad_lines_is_partial_when_it_is_finished,
    an_import_past_its_deadline_counts_each_line_once,
    a_killed_import_knows_what_bad_lines_took_along,
    a_killed_import_of_the_other_kinds_continues_too,
    a_stopped_import_commits_its_chunk_and_continues_after_it,
    a_file_that_changed_after_a_crash_is_imported_as_it_is_now,
    after_a_crash_a_changed_mapping_starts_over,
    a_file_that_changes_before_it_is_checked_is_refused,
    a_file_that_changes_while_it_is_imported_is_reported,
    a_file_that_is_truncated_while_it_is_imported_is_reported,
    a_second_import_of_a_kind_waits_for_the_first,
    the_same_file_at_once_is_imported_once,
    an_import_of_another_kind_does_not_wait,
];

/// Waits until a process has said something.
#[track_caller]
pub(super) fn wait_until_said(running: &mut Running, text: &str) {
    eventually(
        || running.so_far().stderr.contains(text) || running.has_ended(),
        &format!("it says `{text}`"),
    );
    assert!(running.so_far().stderr.contains(text), "{:?}", running.so_far());
}

fn an_import_killed_in_a_chunk_continues_after_the_last_commit(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    import_by_tens(shop, &[]).failpoint("in-chunk@3=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(stored_orders(shop), order_numbers(1..=20));

    import_by_tens(shop, &["--verbose"]).run().succeeds().says("(after 20 lines of an earlier attempt)");

    assert_eq!(stored_orders(shop), order_numbers(1..=45));
    assert_eq!(shop.sql("SELECT status FROM batch_execution ORDER BY id"), [["CRASHED"], ["COMPLETED"]]);
    assert_eq!(runs(shop)[1], "2 COMPLETED 0 45 45 0");
}

fn an_import_killed_after_a_chunk_continues_with_the_next(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    import_by_tens(shop, &[]).failpoint("after-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(stored_orders(shop), order_numbers(1..=20));
    let stored = "SELECT * FROM orders WHERE order_no <= 'A000020' ORDER BY id";
    let before = shop.sql(stored);

    import_by_tens(shop, &[]).now("2026-11-21T00:00:00Z").run().succeeds();

    assert_eq!(stored_orders(shop), order_numbers(1..=45));
    assert_eq!(shop.sql(stored), before);
    assert_eq!(runs(shop)[1], "2 COMPLETED 0 45 45 0");
}

fn an_import_killed_after_its_last_chunk_reads_no_line_again(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(15));
    import_by_tens(shop, &[]).failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
    let before = shop_rows(shop);
    import_by_tens(shop, &[]).now("2026-11-21T00:00:00Z").run().succeeds();
    assert_eq!(shop_rows(shop), before);
    assert_eq!(runs(shop)[1], "2 COMPLETED 0 15 15 0");
}

fn a_killed_import_with_bad_lines_is_partial_when_it_is_finished(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(20).replace("A000007,PAID", "A000007,PAYED"));
    let words = ["--skip-limit", "1"];
    import_by_tens(shop, &words).failpoint("before-finish=kill").run().is_killed_by(Signal::KILL);
    import_by_tens(shop, &words).run().exits(3);
    assert_eq!(stored_orders(shop), order_numbers((1..=20).filter(|number| *number != 7)));
    assert_eq!(shop.sql("SELECT status FROM batch_execution ORDER BY id"), [["CRASHED"], ["PARTIAL"]]);
    let errors = item_errors(shop);
    assert!(matches!(errors.as_slice(), [error] if error.starts_with("2 orders.csv:8 ")), "{errors:?}");
}

/// The deadline may come while a commit is on its way, or while a bad line is known that the next start will find again.
fn an_import_past_its_deadline_counts_each_line_once(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45).replace("A000024,PAID", "A000024,PAYED"));
    let deadline = Duration::from_secs(3);
    for point in ["at-commit@3", "in-chunk@3"] {
        shop.execute("DELETE FROM batch_error_log");
        shop.execute("DELETE FROM batch_execution");
        shop.execute("DELETE FROM order_items");
        shop.execute("DELETE FROM orders");
        let words = ["--skip-limit", "1", "--timeout", "3s"];
        let mut held = import_by_tens(shop, &words).hold_at(point);
        held.wait_until_reached();
        let reached = Instant::now();
        eventually(|| reached.elapsed() > deadline, "the deadline has passed");
        let ran = held.release().wait().exits(124);
        let stored = shop.scalar("SELECT COUNT(*) FROM orders");
        ran.says(&format!("data:  {stored} lines are stored; the rest is not"));

        import_by_tens(shop, &["--skip-limit", "1"])
            .run()
            .exits(3)
            .says("1 of 45 items failed")
            .says("data:  44 of 45 lines are stored; 1 is not");
        let counts =
            "SELECT items_read, items_written, items_skipped FROM batch_execution ORDER BY id DESC LIMIT 1";
        assert_eq!(shop.sql(counts), [["45", "44", "1"]], "{point}");
        assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log"), "1", "{point}");
    }
}

/// What a bad line takes along is not stored, whoever counts it.
fn a_killed_import_knows_what_bad_lines_took_along(shop: &Shop) {
    with_tokyo(shop);
    let mut text =
        "order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount\n"
            .to_owned();
    for (order, quantity) in [("A1", "x"), ("A2", "1"), ("A3", "1")] {
        for product in 1..=5 {
            let quantity = if product == 2 { quantity } else { "1" };
            text.push_str(&format!(
                "{order},PAID,2026-11-19T12:00:00+09:00,2026-11-19T12:00:00+09:00,5000,P{product},{quantity},1000\n"
            ));
        }
    }
    shop.write("orders.csv", text);
    let words =
        ["--kind", "orders", "--mall", "tokyo", "--chunk-size", "5", "--skip-limit", "1", "orders.csv"];
    import(shop, &words).failpoint("in-chunk@3=kill").run().is_killed_by(Signal::KILL);
    import(shop, &words).run().exits(3).says("data:  10 of 15 lines are stored; 5 are not");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM order_items"), "10");
}

fn a_killed_import_of_the_other_kinds_continues_too(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(25));
    import_by_tens(shop, &[]).run().succeeds();
    let lines = |line: &dyn Fn(usize) -> String| (1..=25).map(line).collect::<Vec<_>>().join("\n");
    let files = [
        (
            "refunds",
            "mall,order_no,refund_no,amount,refunded_at",
            lines(&|number| format!("tokyo,A{number:06},R1,{number},2026-11-19 18:00")),
        ),
        (
            "products",
            "mall,product_code,name,price_amount,stock_quantity",
            lines(&|number| format!("tokyo,P{number},a,{number},{number}")),
        ),
        (
            "members",
            "mall,member_code,status,signed_up_at",
            lines(&|number| format!("tokyo,M{number},ACTIVE,2025-04-01 09:00")),
        ),
    ];
    for (kind, header, lines) in files {
        shop.write("file.csv", format!("{header}\n{lines}\n"));
        let words = ["--kind", kind, "--chunk-size", "10", "file.csv"];
        let count = |shop: &Shop| shop.scalar(&format!("SELECT COUNT(*) FROM {kind}"));
        import(shop, &words).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
        assert_eq!(count(shop), "10", "{kind}");
        import(shop, &words).run().succeeds();
        assert_eq!(count(shop), "25", "{kind}");
        assert_eq!(runs(shop).pop().unwrap(), "2 COMPLETED 0 25 25 0", "{kind}");
    }
    assert_eq!(shop.sql("SELECT SUM(amount), MIN(amount), MAX(amount) FROM refunds"), [["325", "1", "25"]]);
    assert_eq!(shop.sql("SELECT COUNT(*), SUM(quantity) FROM stock"), [["25", "325"]]);
}

fn a_stopped_import_commits_its_chunk_and_continues_after_it(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    let mut import = import_by_tens(shop, &["--verbose"]).hold_at("in-chunk@2");
    import.wait_until_reached();
    import.process().signal(Signal::TERM);
    wait_until_said(import.process(), "Stopping after the current chunk");
    import.release().wait().exits(143);
    assert_eq!(stored_orders(shop), order_numbers(1..=20));
    assert_eq!(
        shop.sql("SELECT status, exit_code, items_read FROM batch_execution"),
        [["STOPPED", "143", "20"]]
    );
    assert!(shop.scalar("SELECT checkpoint FROM batch_execution").starts_with("{\"lines\":20,"));

    import_by_tens(shop, &[]).run().succeeds().is_silent();

    assert_eq!(stored_orders(shop), order_numbers(1..=45));
    assert_eq!(runs(shop)[1], "2 COMPLETED 0 45 45 0");
}

fn a_file_that_changed_after_a_crash_is_imported_as_it_is_now(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    import_by_tens(shop, &[]).failpoint("after-chunk@2=kill").run().is_killed_by(Signal::KILL);
    // Another total on a line that was imported, and more lines.
    shop.write(
        "orders.csv",
        orders_file(50).replace("A000003,PAID,2026-11-19 10:00", "A000003,PAID,2026-11-19 11:00"),
    );
    import_by_tens(shop, &["--verbose"])
        .run()
        .succeeds()
        .says("read 50 lines, 30 orders new, 1 changed, 19 unchanged");
    assert_eq!(stored_orders(shop), order_numbers(1..=50));
    assert_eq!(
        shop.scalar("SELECT ordered_at FROM orders WHERE order_no = 'A000003'"),
        "2026-11-19T02:00:00+00:00"
    );
    assert_eq!(
        shop.sql("SELECT status, attempt FROM batch_execution ORDER BY id"),
        [["CRASHED", "1"], ["COMPLETED", "1"]]
    );
}

fn after_a_crash_a_changed_mapping_starts_over(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    import_by_tens(shop, &[]).failpoint("after-chunk@2=kill").run().is_killed_by(Signal::KILL);
    shop.write("batchctl.toml", "[import.orders.values]\nstatus = { \"PAID\" = \"SHIPPED\" }\n");
    import_by_tens(shop, &["--verbose"]).run().succeeds().says("25 orders new, 20 changed, 0 unchanged");
    assert_eq!(shop.sql("SELECT DISTINCT status FROM orders"), [["SHIPPED"]]);
    assert_eq!(stored_orders(shop), order_numbers(1..=45));
    assert_eq!(runs(shop)[1], "2 COMPLETED 0 45 45 0", "what was read with the other mapping does not count");
}

fn a_file_that_changes_before_it_is_checked_is_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(45));
    let before = shop_rows(shop);
    let mut import = import_by_tens(shop, &[]).hold_at("after-lease");
    import.wait_until_reached();
    shop.write("orders.csv", orders_file(46));
    import
        .release()
        .wait()
        .exits(65)
        .says("changed while it was read")
        .says("hint: nothing was imported; run the command again once the file is complete");
    assert_eq!(shop_rows(shop), before);
    import_by_tens(shop, &[]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=46));
}

/// More lines than are read ahead of the database.
const MANY: usize = 20_000;

fn a_file_that_changes_while_it_is_imported_is_reported(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(MANY));
    let words = ["--kind", "orders", "--chunk-size", "1000", "orders.csv"];
    let mut first = import(shop, &words).hold_at("after-chunk");
    first.wait_until_reached();
    // The same file, overwritten in place.
    let last = order_line(MANY);
    let changed = orders_file(MANY).replace(&last, &last.replace("1200", "1300"));
    shop.write("orders.csv", changed);
    first
        .release()
        .wait()
        .exits(65)
        .says("changed while it was read")
        .says("hint: what was already imported stays; import the changed file to load the rest");
    import(shop, &words).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=MANY));
    assert_eq!(
        shop.sql("SELECT total_amount, COUNT(*) FROM orders GROUP BY total_amount ORDER BY total_amount"),
        [["1200", &(MANY - 1).to_string()], ["1300", "1"]]
    );
}

fn a_file_that_is_truncated_while_it_is_imported_is_reported(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(MANY));
    let words = ["--kind", "orders", "--chunk-size", "1000", "orders.csv"];
    let mut first = import(shop, &words).hold_at("after-chunk");
    first.wait_until_reached();
    let text = orders_file(MANY);
    // In one step: a file that is rewritten is empty first, and the import might see that.
    let whole = std::fs::OpenOptions::new().write(true).open(shop.path("orders.csv")).expect("it is there");
    let cut = text.len() - "1,1200\n".len();
    whole.set_len(cut.try_into().expect("a small file")).expect("it can be cut");
    first
        .release()
        .wait()
        .exits(65)
        .says("the file changed while it was imported: failed to read ")
        .says("the file is truncated");
    shop.write("orders.csv", text);
    import(shop, &words).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=MANY));
}

fn a_second_import_of_a_kind_waits_for_the_first(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(25));
    shop.write("second.csv", orders_file(30).replace("A000001,PAID", "A000001,SHIPPED"));
    let mut first = import_by_tens(shop, &[]).hold_at("after-chunk");
    first.wait_until_reached();
    let mut second = import(shop, &["--verbose", "--kind", "orders", "second.csv"]).spawn();
    wait_until_said(&mut second, "waiting for run 1");
    import(shop, &["--on-overlap", "fail", "--kind", "orders", "second.csv"])
        .run()
        .exits(75)
        .says("second.csv has to wait for another run (run 2, exit 75): run 1 holds it: data import orders ")
        .says("# once run 1 has ended");
    first.release().wait().succeeds();
    second.wait().succeeds().says("read 30 lines, 5 orders new, 1 changed, 24 unchanged");
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
    assert_eq!(shop.scalar("SELECT status FROM orders WHERE order_no = 'A000001'"), "SHIPPED");
}

fn the_same_file_at_once_is_imported_once(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(25));
    let mut first = import_by_tens(shop, &[]).hold_at("after-chunk");
    first.wait_until_reached();
    let mut second = import_by_tens(shop, &["--verbose"]).spawn();
    wait_until_said(&mut second, "waiting for run 1");
    first.release().wait().succeeds();
    second.wait().succeeds().says("already completed by run 1");
    assert_eq!(stored_orders(shop), order_numbers(1..=25));
    assert_eq!(runs(shop), ["1 COMPLETED 0 25 25 0"]);
}

fn an_import_of_another_kind_does_not_wait(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(25));
    shop.write("members.csv", "mall,member_code,status,signed_up_at\ntokyo,M1,ACTIVE,2025-04-01 09:00\n");
    let mut first = import_by_tens(shop, &[]).hold_at("after-chunk");
    first.wait_until_reached();
    import(shop, &["--on-overlap", "fail", "--kind", "members", "members.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM members"), "1");
    assert_eq!(stored_orders(shop), order_numbers(1..=10));
    first.release().wait().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=25));
}
