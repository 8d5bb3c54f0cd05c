//! A day whose data changed after it was reported is reported again, whoever changed it.

use rustix::process::Signal;

use super::{add, daily_sales, export, figures, import, night, orders, reported, with_tokyo};
use crate::runner::wait_until_said;
use crate::support::{Line, Mall, Order, Refund, Shop, on_both_databases};

on_both_databases![
    a_nightly_run_refreshes_the_days_that_changed,
    what_an_application_writes_by_itself_is_noticed,
    only_what_a_report_counts_is_noticed,
    a_late_customer_makes_others_no_less_returning,
    restatements_are_rows_for_finance,
    what_arrives_is_told_from_what_changes,
    only_stale_does_just_that,
    only_stale_goes_by_whichever_run_stored_the_figures,
    a_day_that_was_asked_for_is_not_refreshed_by_itself,
    figures_that_are_replaced_meanwhile_are_not_marked_as_older,
    a_few_days_further_back_are_refreshed_too,
    many_days_further_back_are_named_once,
    a_missing_day_becomes_final_by_the_next_run,
    a_kill_between_the_marks_and_the_figures_loses_nothing,
    two_at_once_restate_a_day_once,
    days_follow_the_clock_of_their_mall,
    rows_that_other_programs_spoil_stop_nothing,
    a_failing_mall_keeps_its_mark,
    notes_become_marks_where_no_report_runs,
    many_notes_of_an_hour_are_one_mark,
];

/// report, day, currency, figure, before, after, why.
fn restatements(shop: &Shop) -> Vec<String> {
    let rows = shop.sql(
        "SELECT report, business_day, currency, figure, value_before, value_after, why FROM report_restatements
         WHERE figure IN ('net_amount', 'orders', 'cancelled_amount') ORDER BY id",
    );
    rows.into_iter().map(|row| row.join(" ")).collect()
}

fn runs(shop: &Shop) -> usize {
    shop.scalar("SELECT COUNT(*) FROM batch_execution").parse().unwrap()
}

fn a_nightly_run_refreshes_the_days_that_changed(shop: &Shop) {
    let mall = reported(shop, [16, 17, 18]);
    let before = shop.dump();
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    assert_eq!(shop.dump(), before, "nothing has changed");
    add(shop, mall, 16, "late", 500);
    add(shop, mall, 19, "19", 1000);
    let plan = daily_sales(shop, 20, &["--dry-run"]).run().succeeds().stdout;
    assert_eq!(
        plan,
        "would run   report daily-sales 2026-11-16: 1 order of that day is newer\n\
         would run   report daily-sales 2026-11-19: no run yet\n"
    );
    let ran = daily_sales(shop, 20, &["--verbose"]).run().succeeds();
    ran.says("tokyo: net ¥1,000 → ¥1,500, orders 1 → 2, gross ¥1,000 → ¥1,500");
    assert_eq!(
        figures(shop),
        [
            "2026-11-16 tokyo 2 1500 1",
            "2026-11-17 tokyo 1 1000 1",
            "2026-11-18 tokyo 1 1000 1",
            "2026-11-19 tokyo 1 1000 1"
        ]
    );
    let before = shop.dump();
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(shop.dump(), before, "once");
}

fn what_an_application_writes_by_itself_is_noticed(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let at = "2026-11-17T12:00:00+09:00";
    let order = |no: &'static str| {
        let lines = &[Line { product: "A", ..Line::default() }];
        shop.order(Order { mall, order_no: no, ordered_at: at, paid_at: Some(at), lines, ..Order::default() })
    };
    let [first, second, third] = ["1", "2", "3"].map(order);
    daily_sales(shop, 18, &[]).run().succeeds();
    daily_sales(shop, 19, &[]).run().succeeds();
    let sum = || {
        shop.sql("SELECT orders, items, net_amount FROM daily_sales WHERE business_day = '2026-11-17'")
            .concat()
    };
    assert_eq!(sum(), ["3", "3", "3000"]);
    let refreshed = |change: &str| {
        shop.execute(change);
        daily_sales(shop, 19, &[]).run().succeeds();
        sum()
    };
    let delete = format!("DELETE FROM order_items WHERE order_id = {first}");
    assert_eq!(refreshed(&delete), ["3", "2", "3000"], "a line that is gone");
    assert_eq!(
        refreshed(&format!("DELETE FROM orders WHERE id = {first}")),
        ["2", "2", "2000"],
        "an order that is gone"
    );
    let more = format!("UPDATE order_items SET quantity = 5 WHERE order_id = {second}");
    assert_eq!(refreshed(&more), ["2", "6", "2000"], "a line that was changed");
    let less = format!("UPDATE orders SET total_amount = 400 WHERE id = {second}");
    assert_eq!(refreshed(&less), ["2", "6", "1400"], "an order that was changed");
    let moved = format!("UPDATE orders SET paid_at = '2026-11-18T03:00:00+00:00' WHERE id = {second}");
    assert_eq!(refreshed(&moved), ["1", "1", "1000"], "an order that belongs to another day");
    let other = shop.sql("SELECT orders, net_amount FROM daily_sales WHERE business_day = '2026-11-18'");
    assert_eq!(other, [["1", "400"]]);
    shop.refund(Refund { order: third, amount: 100, refunded_at: at, ..Refund::default() });
    assert_eq!(
        refreshed("UPDATE orders SET status = 'REFUNDED' WHERE order_no = '3'"),
        ["1", "1", "900"],
        "a refund"
    );
    assert_eq!(refreshed("UPDATE refunds SET amount = 200"), ["1", "1", "800"]);
    assert_eq!(refreshed("DELETE FROM refunds"), ["1", "1", "1000"]);
}

fn only_what_a_report_counts_is_noticed(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    let ran = runs(shop);
    shop.execute("UPDATE orders SET status = 'SHIPPED', updated_at = '2026-11-19T00:00:00+00:00'");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(runs(shop), ran, "what was only shipped is as it was");
    let cancellations =
        |day: u32| shop.batchctl(["report", "daily-cancellations"]).now(&night(day)).run().succeeds();
    for day in [18, 19] {
        cancellations(day);
    }
    add(shop, mall, 17, "late", 500);
    let ran = runs(shop);
    cancellations(19);
    assert_eq!(runs(shop), ran, "a sale cancels nothing");
    shop.execute("UPDATE orders SET cancelled_at = paid_at WHERE order_no = 'late'");
    cancellations(19);
    assert_eq!(
        restatements(shop),
        ["daily-cancellations 2026-11-17 JPY cancelled_amount 0 500 DATA_CHANGED"]
    );
}

fn a_late_customer_makes_others_no_less_returning(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let order = |day: u32, order_no: &str| {
        let at = format!("2026-11-{day}T12:00:00+09:00");
        shop.order(Order {
            mall,
            order_no,
            member: Some("M1"),
            ordered_at: &at,
            paid_at: Some(&at),
            ..Order::default()
        });
    };
    order(18, "1");
    for day in [17, 18, 19] {
        daily_sales(shop, day, &[]).run().succeeds();
    }
    let customers = || {
        shop.sql(
            "SELECT business_day, new_customers, returning_customers FROM daily_sales ORDER BY business_day",
        )
        .into_iter()
        .map(|row| row.join(" "))
        .collect::<Vec<_>>()
    };
    assert_eq!(customers(), ["2026-11-16 0 0", "2026-11-17 0 0", "2026-11-18 1 0"]);
    order(16, "0");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(customers(), ["2026-11-16 1 0", "2026-11-17 0 0", "2026-11-18 0 1"]);
}

fn restatements_are_rows_for_finance(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    assert_eq!(restatements(shop), Vec::<String>::new(), "a first report restates nothing");
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    shop.execute("UPDATE orders SET total_amount = 1100 WHERE order_no = '18'");
    // What is computed again without a note: as before there were any.
    shop.execute("DELETE FROM sales_changes");
    daily_sales(shop, 19, &["--date", "2026-11-18", "--rerun"]).run().succeeds();
    assert_eq!(
        restatements(shop),
        [
            "daily-sales 2026-11-17 JPY net_amount 1000 1500 DATA_CHANGED",
            "daily-sales 2026-11-17 JPY orders 1 2 DATA_CHANGED",
            "daily-sales 2026-11-18 JPY net_amount 1000 1100 RERUN",
        ]
    );
    let sql = "SELECT DISTINCT r.mall_id, r.restated_at, e.job FROM report_restatements r JOIN batch_execution e ON e.id = r.execution_id";
    assert_eq!(
        shop.sql(sql),
        [[mall.id.to_string().as_str(), "2026-11-18T18:00:00+00:00", "report daily-sales"]]
    );
}

fn what_arrives_is_told_from_what_changes(shop: &Shop) {
    with_tokyo(shop);
    let import_of = |day: u32, name: &str, of: &[(u32, u32, i64)], exported_at: &str| {
        export(shop, name, &orders(of), exported_at);
        import(shop, name, &night(day)).succeeds();
    };
    import_of(18, "17.csv", &[(17, 12, 1000)], "2026-11-18T02:00:00+09:00");
    daily_sales(shop, 19, &[]).run().exits(3);
    // A file of the 18th that was exported before the day was over: it changes figures that still wait for the rest.
    import_of(19, "18-early.csv", &[(18, 9, 300)], "2026-11-18T12:00:00+09:00");
    daily_sales(shop, 19, &[]).run().exits(3);
    import_of(19, "18.csv", &[(18, 9, 300), (18, 19, 200)], "2026-11-19T02:30:00+09:00");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(
        restatements(shop),
        [
            "daily-sales 2026-11-18 JPY net_amount 0 300 DATA_CHANGED",
            "daily-sales 2026-11-18 JPY orders 0 1 DATA_CHANGED",
            "daily-sales 2026-11-18 JPY net_amount 300 500 DATA_ARRIVED",
            "daily-sales 2026-11-18 JPY orders 1 2 DATA_ARRIVED",
        ]
    );
}

fn only_stale_does_just_that(shop: &Shop) {
    let mall = reported(shop, [16, 17]);
    add(shop, mall, 16, "late", 500);
    add(shop, mall, 18, "18", 1000);
    let ran = daily_sales(shop, 19, &["--only", "stale", "--verbose"]).run().succeeds();
    ran.says("report daily-sales 2026-11-18: never ran, and only stale ones are wanted");
    assert_eq!(figures(shop), ["2026-11-16 tokyo 2 1500 1", "2026-11-17 tokyo 1 1000 1"]);
    // A range of days, of which one is stale.
    add(shop, mall, 17, "later", 200);
    let range = ["--from", "2026-11-15", "--to", "2026-11-17", "--only", "stale"];
    daily_sales(shop, 19, &range).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-16 tokyo 2 1500 1", "2026-11-17 tokyo 2 1200 1"]);
    // A day that lacks the figures of a new mall is due, and not stale.
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    let ran = daily_sales(shop, 19, &[&range[..], &["--verbose"]].concat()).run().succeeds();
    ran.says("report daily-sales 2026-11-17: not stale since run").says("; no final figures yet for osaka");
    assert_eq!(figures(shop).len(), 2);
    // It may be both.
    add(shop, mall, 17, "latest", 100);
    daily_sales(shop, 19, &range).run().succeeds();
    assert_eq!(
        figures(shop),
        ["2026-11-16 tokyo 2 1500 1", "2026-11-17 osaka 0 0 1", "2026-11-17 tokyo 3 1300 1"]
    );
}

fn only_stale_goes_by_whichever_run_stored_the_figures(shop: &Shop) {
    let tokyo = reported(shop, [16, 17]);
    let stale = |flags: &[&str]| {
        let flags = ["--date", "2026-11-17", "--only", "stale", "--verbose"].iter().chain(flags);
        daily_sales(shop, 19, &flags.copied().collect::<Vec<_>>()).run().succeeds()
    };
    stale(&["--mall", "tokyo"]).says("report daily-sales 2026-11-17 mall=tokyo: already completed by run 2");
    add(shop, tokyo, 17, "late", 500);
    stale(&["--mall", "tokyo"]).says("tokyo: net ¥1,000 → ¥1,500");
    assert_eq!(figures(shop), ["2026-11-16 tokyo 1 1000 1", "2026-11-17 tokyo 2 1500 1"]);
    // The other way round, and of several runs the newest.
    stale(&[]).says("report daily-sales 2026-11-17: already completed by run 3");
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    stale(&["--mall", "osaka"])
        .says("report daily-sales 2026-11-17 mall=osaka: never ran, and only stale ones are wanted");
    assert_eq!(runs(shop), 3);
}

fn a_day_that_was_asked_for_is_not_refreshed_by_itself(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    let ran = daily_sales(shop, 19, &["--date", "2026-11-17", "--verbose"]).run().succeeds();
    ran.says("already completed by run 1; 1 order of that day is newer: add --rerun");
    daily_sales(shop, 19, &["--stale-days", "0"]).run().succeeds();
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 1 1000 1");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 2 1500 1");
}

fn figures_that_are_replaced_meanwhile_are_not_marked_as_older(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    let marked = || shop.sql("SELECT business_day FROM daily_sales WHERE outdated_at IS NOT NULL").concat();
    let asked = ["--date", "2026-11-17", "--format", "csv", "--out", "-"];
    let mut slow = daily_sales(shop, 19, &asked).hold_at("stale-found");
    slow.wait_until_reached();
    daily_sales(shop, 19, &["--date", "2026-11-17", "--rerun"]).run().succeeds();
    let shown = slow.release().wait().succeeds().stdout;
    assert!(shown.contains(",total,,,2,") && !shown.contains(",true,true,"), "{shown}");
    assert_eq!(marked(), [""; 0]);
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 2 1500 1");
    // Those that stand are.
    add(shop, mall, 17, "later", 200);
    daily_sales(shop, 19, &asked).run().succeeds();
    assert_eq!(marked(), ["2026-11-17"]);
}

fn a_few_days_further_back_are_refreshed_too(shop: &Shop) {
    let mall = reported(shop, [10, 24]);
    let order = add(shop, mall, 10, "late", 500);
    daily_sales(shop, 26, &["--stale-days", "0"]).run().succeeds().is_silent();
    assert_eq!(figures(shop)[0], "2026-11-10 tokyo 1 1000 1");
    daily_sales(shop, 26, &[]).run().succeeds().is_silent();
    assert_eq!(figures(shop)[0], "2026-11-10 tokyo 2 1500 1");
    // It counts on the day of the payment.
    let at = "2026-11-10T12:00:00+09:00";
    shop.refund(Refund { order, amount: 200, refunded_at: at, ..Refund::default() });
    daily_sales(shop, 27, &[]).run().succeeds().is_silent();
    assert_eq!(figures(shop)[0], "2026-11-10 tokyo 2 1300 1");
}

fn many_days_further_back_are_named_once(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let range = ["report", "daily-sales", "--from", "2026-09-01", "--to", "2026-10-04"];
    shop.batchctl(range).now(&night(20)).run().succeeds();
    daily_sales(shop, 20, &[]).run().succeeds().is_silent();
    // Of a customer of the first day, all later ones are not new any more.
    let at = "2026-09-01T12:00:00+09:00";
    let order = Order {
        mall,
        order_no: "1",
        member: Some("M1"),
        ordered_at: at,
        paid_at: Some(at),
        ..Order::default()
    };
    shop.order(order);
    let command = "batchctl --env dev report daily-sales --only stale --from 2026-09-01 --to 2026-10-04";
    daily_sales(shop, 20, &[])
        .run()
        .succeeds()
        .says("note: the data of 34 days from 2026-09-01 to 2026-10-04")
        .says(command);
    assert_eq!(figures(shop)[0], "2026-09-01 tokyo 0 0 1");
    daily_sales(shop, 20, &[]).run().succeeds().is_silent();
    daily_sales(shop, 21, &[]).run().succeeds().is_silent();
    shop.execute("UPDATE orders SET total_amount = 500");
    daily_sales(shop, 22, &[]).run().succeeds().is_silent();
    let by_hand = ["--only", "stale", "--from", "2026-09-01", "--to", "2026-10-04"];
    daily_sales(shop, 22, &by_hand).run().succeeds();
    assert_eq!(figures(shop)[0], "2026-09-01 tokyo 1 500 1");
    shop.execute("UPDATE orders SET member_code = 'M2'");
    daily_sales(shop, 23, &[])
        .run()
        .succeeds()
        .says("note: the data of 34 days from 2026-09-01 to 2026-10-04");
}

fn a_missing_day_becomes_final_by_the_next_run(shop: &Shop) {
    with_tokyo(shop);
    for day in [17, 18, 20] {
        let (name, next) = (format!("{day}.csv"), day + 1);
        if day == 20 {
            daily_sales(shop, 20, &[]).run().exits(3);
        }
        export(shop, &name, &orders(&[(day, 12, 1000)]), &format!("2026-11-{next}T02:00:00+09:00"));
        import(shop, &name, &night(next)).succeeds();
    }
    // The next day's file does not have it, and another run cannot make it up.
    daily_sales(shop, 21, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 0 0 0", "2026-11-20 tokyo 1 1000 1"]);
    // Its name says of which day it is; its own time is that of the upload.
    let late = "orders-2026-11-19.csv";
    export(shop, late, &orders(&[(19, 12, 3000)]), "2026-11-21T09:00:00+09:00");
    import(shop, late, "2026-11-21T09:00:00+09:00").succeeds();
    daily_sales(shop, 22, &["--dry-run"])
        .run()
        .succeeds()
        .prints("would run   report daily-sales 2026-11-19: ");
    daily_sales(shop, 22, &[])
        .run()
        .exits(3)
        .says("tokyo: the orders of 2026-11-21 have not arrived; those before are as of 2026-11-21 ");
    assert_eq!(
        figures(shop),
        ["2026-11-19 tokyo 1 3000 1", "2026-11-20 tokyo 1 1000 1", "2026-11-21 tokyo 0 0 0"]
    );
    assert_eq!(
        restatements(shop),
        [
            "daily-sales 2026-11-19 JPY net_amount 0 3000 DATA_ARRIVED",
            "daily-sales 2026-11-19 JPY orders 0 1 DATA_ARRIVED"
        ]
    );
    let open = "SELECT instance_key FROM batch_execution WHERE status = 'PARTIAL' AND settled_by IS NULL";
    assert_eq!(shop.sql(open), [["2026-11-21"]]);
}

fn a_kill_between_the_marks_and_the_figures_loses_nothing(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    // The first commit says that the figures are old, the second would replace them.
    daily_sales(shop, 19, &[]).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 1 1000 1");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 2 1500 1");
    assert_eq!(restatements(shop).len(), 2);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM daily_sales WHERE outdated_at IS NOT NULL"), "0");
}

fn two_at_once_restate_a_day_once(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    let mut first = daily_sales(shop, 19, &[]).hold_at("after-lease");
    first.wait_until_reached();
    let mut second = daily_sales(shop, 19, &["--verbose"]).spawn();
    wait_until_said(&mut second, "waiting for run");
    first.release().wait().succeeds();
    second.wait().succeeds();
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 2 1500 1");
    assert_eq!(restatements(shop).len(), 2);
}

fn days_follow_the_clock_of_their_mall(shop: &Shop) {
    let mall = shop.mall("new-york", "America/New_York", "USD");
    let order = |order_no: &str, at: &str| {
        shop.order(Order { mall, order_no, ordered_at: at, paid_at: Some(at), ..Order::default() });
    };
    let report = |now: &str| shop.batchctl(["report", "daily-sales"]).now(now).run().succeeds();
    // The clocks went back on 1 November: a day of 25 hours.
    for (no, at) in [
        ("1", "2026-10-31T12:00:00-04:00"),
        ("2", "2026-11-01T12:00:00-05:00"),
        ("3", "2026-11-02T12:00:00-05:00"),
    ] {
        order(no, at);
    }
    for night in ["2026-11-01T03:00:00-05:00", "2026-11-02T03:00:00-05:00", "2026-11-03T03:00:00-05:00"] {
        report(night);
    }
    order("last", "2026-11-01T23:59:59-05:00");
    order("first", "2026-11-01T00:00:00-04:00");
    report("2026-11-03T03:00:00-05:00");
    assert_eq!(
        figures(shop),
        ["2026-10-31 new-york 1 1000 1", "2026-11-01 new-york 3 3000 1", "2026-11-02 new-york 1 1000 1"]
    );
    // Half an hour off: an hour of UTC belongs to two days.
    let kolkata = shop.mall("kolkata", "Asia/Kolkata", "INR");
    for day in ["2026-11-02T04:00:00+05:30", "2026-11-03T04:00:00+05:30"] {
        report(day);
    }
    let at = "2026-11-02T00:10:00+05:30";
    shop.order(Order { mall: kolkata, order_no: "k", ordered_at: at, paid_at: Some(at), ..Order::default() });
    report("2026-11-03T04:00:00+05:30");
    let of_kolkata: Vec<String> = figures(shop).into_iter().filter(|row| row.contains("kolkata")).collect();
    assert_eq!(
        of_kolkata,
        ["2026-10-31 kolkata 0 0 1", "2026-11-01 kolkata 0 0 1", "2026-11-02 kolkata 1 1000 1"]
    );
}

fn rows_that_other_programs_spoil_stop_nothing(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    shop.execute("INSERT INTO sales_changes (mall_id, subject, changed_hour) VALUES (999, 'ORDER', '2026-11-17T03:00:00+00:00'), (1, 'CUSTOMER', '0001-01-01T00:00:00+00:00')");
    if shop.database() == crate::support::Database::Sqlite {
        shop.execute("INSERT INTO sales_changes (mall_id, subject, changed_hour) VALUES (1, 'CUSTOMER', 'x'), (1, 'ORDER', '2026-02-30T00:00:00+00:00'), (1, 'ORDER', CAST(x'ff' AS TEXT))");
        // An invalid time is in no day: the trigger has nothing to note, and does not fail.
        shop.execute("UPDATE orders SET cancelled_at = 'garbage' WHERE order_no = '18'");
        shop.execute("UPDATE orders SET cancelled_at = NULL WHERE order_no = '18'");
    }
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-17 tokyo 2 1500 1", "2026-11-18 tokyo 1 1000 1"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM sales_changes"), "0");
    // A customer of the year 1 is not new since then, but nobody looks that far back.
    let marks: u32 = shop.scalar("SELECT COUNT(*) FROM stale_periods").parse().unwrap();
    assert!(marks < 1_000, "{marks}");
}

fn a_failing_mall_keeps_its_mark(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    daily_sales(shop, 18, &["--date", "2026-11-17"]).run().succeeds();
    daily_sales(shop, 19, &["--date", "2026-11-18"]).run().succeeds();
    add(shop, mall, 17, "late", 500);
    let order = add(shop, osaka, 17, "wrong", 500);
    // No sum has room for two of these.
    for key in ["1", "2"] {
        shop.refund(Refund {
            order,
            key,
            amount: i64::MAX,
            refunded_at: "2026-11-17T18:00:00+09:00",
            ..Refund::default()
        });
    }
    daily_sales(shop, 19, &[]).run().exits(3).says("osaka");
    assert_eq!(figures(shop)[0..2], ["2026-11-17 osaka 0 0 1", "2026-11-17 tokyo 2 1500 1"]);
    shop.execute("DELETE FROM refunds");
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(figures(shop)[0], "2026-11-17 osaka 1 500 1");
}

fn notes_become_marks_where_no_report_runs(shop: &Shop) {
    let mall = reported(shop, [16, 17]);
    add(shop, mall, 16, "late", 500);
    add(shop, mall, 19, "19", 1000);
    let purge = |day: u32| shop.batchctl(["runs", "purge"]).now(&night(day)).run().succeeds();
    let marks = || {
        let marks = shop.sql("SELECT report, period_day FROM stale_periods ORDER BY report, period_day");
        marks.into_iter().map(|mark| mark.join(" ")).collect::<Vec<_>>()
    };
    purge(20);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM sales_changes"), "0");
    // A run that is storing the figures of the 19th at this moment may not have seen the change.
    assert_eq!(marks(), ["daily-sales 2026-11-16", "daily-sales 2026-11-19"]);
    shop.execute(
        "INSERT INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ('executive', '2026-11-16', 1, '2026-11-19T18:00:00+00:00')",
    );
    if shop.database() == crate::support::Database::Sqlite {
        shop.execute(
            "INSERT INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ('daily-sales', '2026-11-1x', 1, '2026-11-19T18:00:00+00:00')",
        );
    }
    purge(23);
    assert_eq!(marks(), ["daily-sales 2026-11-16"]);
    daily_sales(shop, 20, &["--only", "stale"]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-16 tokyo 2 1500 1", "2026-11-17 tokyo 1 1000 1"]);
    // The report of the day before is for those who were mailed it.
    assert_eq!(marks(), ["executive 2026-11-16"]);
}

/// On PostgreSQL each statement of an application notes its hour.
fn many_notes_of_an_hour_are_one_mark(shop: &Shop) {
    let mall = reported(shop, [16, 17]);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    for mall in [mall, osaka] {
        shop.execute(&format!(
            "INSERT INTO sales_changes (mall_id, subject, changed_hour)
             SELECT {}, 'ORDER', '2026-11-16T03:00:00+00:00' FROM {}",
            mall.id,
            shop.series(30_000)
        ));
    }
    shop.batchctl(["runs", "purge"]).now(&night(20)).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM sales_changes"), "0");
    let marks = shop.sql("SELECT report, period_day, mall_id FROM stale_periods ORDER BY mall_id");
    let of = |mall: Mall| vec!["daily-sales".to_owned(), "2026-11-16".to_owned(), mall.id.to_string()];
    assert_eq!(marks, [of(mall), of(osaka)]);
}
