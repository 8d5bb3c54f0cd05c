//! Which days a run reports on: the days asked for, a backfill and the rest of it.

use rustix::process::Signal;

use super::{report, runs, stored};
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![
    a_backfill_completes_each_day_once,
    the_same_command_finishes_a_killed_backfill,
    a_day_may_be_named_in_words,
    only_failed_days_are_run_again,
    by_default_only_missing_days_are_run,
    all_days_are_run_again_on_request,
    a_dry_run_shows_what_would_run_and_changes_nothing,
    a_day_that_is_not_over_needs_so_far,
    provisional_figures_become_final_when_the_day_is_over,
    a_day_is_over_when_it_is_over_in_one_of_the_malls,
    a_wrong_day_is_wrong_usage,
];

/// A shop in Tokyo with an order on each day of November up to the 19th.
fn busy_november(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in 1..=19 {
        let (order_no, at) = (day.to_string(), format!("2026-11-{day:02}T12:00:00+09:00"));
        let order = Order { mall: tokyo, order_no: &order_no, total: day, ..Order::default() };
        shop.order(Order { ordered_at: &at, paid_at: Some(&at), updated_at: &at, ..order });
    }
}

const THIRTY_DAYS: [&str; 4] = ["--from", "2026-10-21", "--to", "2026-11-19"];

/// What is stored once all thirty days are stored.
fn thirty_days() -> Vec<String> {
    let october = (21..=31).map(|day| format!("2026-10-{day} tokyo JPY 0 0 0"));
    let november = (1..=19).map(|day| format!("2026-11-{day:02} tokyo JPY 1 {day} {day}"));
    october.chain(november).collect()
}

/// The days that do not have exactly one success.
fn days_without_exactly_one_success(shop: &Shop) -> Vec<Vec<String>> {
    shop.sql(
        "SELECT instance_key, COUNT(*) FROM batch_execution GROUP BY instance_key
         HAVING COUNT(*) FILTER (WHERE status = 'COMPLETED') <> 1",
    )
}

fn a_backfill_completes_each_day_once(shop: &Shop) {
    busy_november(shop);
    report(shop, &THIRTY_DAYS).run().succeeds().is_silent();
    assert_eq!(stored(shop), thirty_days());
    assert_eq!(days_without_exactly_one_success(shop), [[""; 2]; 0]);
    let before = shop.dump();
    let again = report(shop, &THIRTY_DAYS).run_on_terminal("").succeeds();
    assert!(again.screen().contains("report daily-sales: 30 already completed"), "{}", again.screen());
    assert_eq!(shop.dump(), before);
}

fn the_same_command_finishes_a_killed_backfill(shop: &Shop) {
    busy_november(shop);
    report(shop, &THIRTY_DAYS).failpoint("in-chunk@12=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(stored(shop), thirty_days()[..11]);
    report(shop, &[THIRTY_DAYS.as_slice(), &["--verbose"]].concat())
        .run()
        .succeeds()
        .says("report daily-sales: 19 completed, 11 already completed");
    assert_eq!(stored(shop), thirty_days());
    assert_eq!(days_without_exactly_one_success(shop), [[""; 2]; 0]);
    assert_eq!(
        shop.sql(
            "SELECT instance_key, attempt, status FROM batch_execution
             WHERE status <> 'COMPLETED' OR attempt > 1 ORDER BY id"
        ),
        [["2026-11-01", "1", "CRASHED"], ["2026-11-01", "2", "COMPLETED"]]
    );
}

fn a_day_may_be_named_in_words(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &["--date", "-3d"]).run().succeeds();
    report(shop, &["--date", "yesterday"]).run().succeeds();
    report(shop, &["--from", "-2d"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT command_line FROM batch_execution ORDER BY id").concat(),
        [
            "report daily-sales --date 2026-11-17",
            "report daily-sales --date 2026-11-19",
            "report daily-sales --date 2026-11-18"
        ]
    );
}

/// The 17th completed, the 18th with a mall that failed, the 19th never tried.
fn three_days_of_which_one_failed(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &["--date", "2026-11-17"]).run().succeeds();
    let osaka = shop.mall("osaka", "Asia/Oosaka", "JPY");
    report(shop, &["--date", "2026-11-18"]).run().exits(3);
    shop.execute(&format!("UPDATE malls SET is_active = FALSE WHERE id = {}", osaka.id));
    assert_eq!(runs(shop), ["2026-11-17 1 COMPLETED 0", "2026-11-18 1 PARTIAL 3"]);
}

const THREE_DAYS: [&str; 4] = ["--from", "2026-11-17", "--to", "2026-11-19"];

fn only_failed_days_are_run_again(shop: &Shop) {
    three_days_of_which_one_failed(shop);
    report(shop, &[&THREE_DAYS[..], &["--only", "failed", "--verbose"]].concat())
        .run()
        .succeeds()
        .says("report daily-sales 2026-11-17: already completed by run 1\n")
        .says("report daily-sales 2026-11-18: reported 1 mall (run 3, ")
        .says("report daily-sales 2026-11-19: never ran, and only failed ones are wanted\n");
    assert_eq!(runs(shop)[2..], ["2026-11-18 2 COMPLETED 0"]);
}

fn by_default_only_missing_days_are_run(shop: &Shop) {
    three_days_of_which_one_failed(shop);
    report(shop, &[&THREE_DAYS[..], &["--only", "missing"]].concat()).run().succeeds();
    assert_eq!(runs(shop)[2..], ["2026-11-18 2 COMPLETED 0", "2026-11-19 1 COMPLETED 0"]);
    let before = shop.dump();
    report(shop, &THREE_DAYS).run().succeeds().is_silent();
    assert_eq!(shop.dump(), before);
}

fn all_days_are_run_again_on_request(shop: &Shop) {
    three_days_of_which_one_failed(shop);
    report(shop, &[&THREE_DAYS[..], &["--only", "all"]].concat()).run().succeeds();
    let expected = ["2026-11-17 2 COMPLETED 0", "2026-11-18 2 COMPLETED 0", "2026-11-19 1 COMPLETED 0"];
    assert_eq!(runs(shop)[2..], expected);
    assert_eq!(stored(shop).len(), 3);
}

fn a_dry_run_shows_what_would_run_and_changes_nothing(shop: &Shop) {
    three_days_of_which_one_failed(shop);
    let before = shop.dump();
    let plan = |only: &[&str]| {
        let flags = ["--dry-run", "--format", "csv", "--out", "reports"];
        let ran = report(shop, &[&THREE_DAYS[..], &flags, only].concat()).run().succeeds();
        ran.stdout.replace("report daily-sales ", "")
    };
    let missing = "would skip  2026-11-17: already completed by run 1\n\
                   would run   2026-11-18: run 2 is PARTIAL\n\
                   would run   2026-11-19: no run yet\n";
    assert_eq!(plan(&[]), missing);
    assert_eq!(plan(&["--only", "missing"]), missing);
    assert_eq!(
        plan(&["--only", "failed"]),
        "would skip  2026-11-17: already completed by run 1\n\
         would run   2026-11-18: run 2 is PARTIAL\n\
         would skip  2026-11-19: never ran, and only failed ones are wanted\n"
    );
    let all = "would run   2026-11-17: asked to run again\n\
               would run   2026-11-18: asked to run again\n\
               would run   2026-11-19: asked to run again\n";
    assert_eq!(plan(&["--only", "all"]), all);
    assert_eq!(plan(&["--rerun"]), all);
    assert_eq!(shop.dump(), before);
    assert!(!shop.path("reports").exists());
}

fn a_day_that_is_not_over_needs_so_far(shop: &Shop) {
    busy_november(shop);
    let before = shop.dump();
    let ran = report(shop, &["--date", "today"]).run().exits(2);
    assert_eq!(
        ran.stderr,
        "error: 2026-11-20 is not over yet\n  hint: add --so-far for provisional figures\n"
    );
    assert_eq!(shop.dump(), before);
    report(shop, &["--date", "today", "--so-far"]).run().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT business_day, is_final FROM daily_sales"), [["2026-11-20", "0"]]);
}

fn provisional_figures_become_final_when_the_day_is_over(shop: &Shop) {
    busy_november(shop);
    let noon = "2026-11-19T12:30:00+09:00";
    report(shop, &["--date", "2026-11-19", "--so-far"]).now(noon).run().succeeds();
    let tokyo_evening =
        "UPDATE orders SET paid_at = '2026-11-19T12:00:00+00:00', total_amount = 500 WHERE order_no = '19'";
    shop.execute(tokyo_evening);
    // Each report on a day that is not over is a new attempt.
    report(shop, &["--date", "2026-11-19", "--so-far"]).now(noon).run().succeeds();
    let ran = report(shop, &["--verbose"]).run().succeeds();
    assert!(
        ran.stderr.starts_with("report daily-sales 2026-11-19: reported 1 mall (run 3, "),
        "{}",
        ran.stderr
    );
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 500 500"]);
    assert_eq!(shop.scalar("SELECT is_final FROM daily_sales"), "1");
    report(shop, &["--date", "2026-11-19", "--so-far", "--verbose"])
        .run()
        .succeeds()
        .says("already completed by run 3");
}

fn a_day_is_over_when_it_is_over_in_one_of_the_malls(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("newyork", "America/New_York", "USD");
    report(shop, &["--date", "2026-11-19", "--mall", "newyork"])
        .run()
        .exits(2)
        .says("2026-11-19 is not over yet");
    report(shop, &["--date", "2026-11-19"]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 0 0 0"]);
    report(shop, &["--date", "2026-11-19", "--so-far"]).run().succeeds();
    assert_eq!(
        shop.sql(
            "SELECT code, is_final, execution_id FROM daily_sales JOIN malls ON id = mall_id ORDER BY code"
        ),
        [["newyork", "0", "2"], ["tokyo", "1", "1"]]
    );
}

fn a_wrong_day_is_wrong_usage(shop: &Shop) {
    busy_november(shop);
    let before = shop.dump();
    let cases: [(&[&str], &str); 7] = [
        (&["--date", "2026-11-21"], "error: 2026-11-21 is in the future\n"),
        (&["--date", "2026-11-21", "--so-far"], "error: 2026-11-21 is in the future\n"),
        (&["--from", "2026-11-19", "--to", "2026-11-21"], "error: 2026-11-21 is in the future\n"),
        (
            &["--from", "2026-11-19", "--to", "2026-11-18"],
            "error: --from 2026-11-19 is after --to 2026-11-18\n",
        ),
        (&["--date", "2026-02-29"], "error: `2026-02-29` is not a date that exists\n"),
        (
            &["--date", "19.11.2026"],
            "error: `19.11.2026` is not a date: write YYYY-MM-DD, today, yesterday, -7d, last-week or last-month\n",
        ),
        (
            &["--from", "2016-01-01", "--to", "2026-11-19"],
            "error: 2016-01-01..2026-11-19 has 3976 days, more than the 3700 that one command takes\n",
        ),
    ];
    for (arguments, message) in cases {
        assert_eq!(report(shop, arguments).run().exits(2).stderr, message);
    }
    for arguments in [&["--to", "2026-11-19"][..], &["--date", "today", "--from", "2026-11-19"]] {
        report(shop, arguments).run().exits(2);
    }
    assert_eq!(shop.dump(), before);
}
