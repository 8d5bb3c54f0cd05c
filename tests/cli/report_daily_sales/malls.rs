//! Which malls a run reports on, each in its own time zone, and what happens to one that cannot be reported.

use super::{report, runs, stored};
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![
    each_mall_is_reported_on_for_its_own_last_finished_day,
    a_mall_whose_day_ended_later_is_reported_the_next_night,
    a_mall_added_later_makes_the_day_due_for_that_mall_only,
    a_disabled_mall_is_left_out,
    only_the_malls_asked_for_are_reported_on,
    a_mall_is_the_same_by_code_and_by_id,
    an_unknown_mall_is_wrong_usage_and_the_known_ones_are_listed,
    without_any_mall_there_is_nothing_to_report,
    a_mall_without_a_usable_time_zone_fails_alone,
    only_a_fixed_mall_is_retried_and_its_errors_are_resolved,
    a_mall_whose_sums_are_too_large_fails_alone,
    a_partial_report_may_count_as_success,
    a_report_on_broken_malls_only_fails,
];

const TOKYO_20TH_1AM: &str = "2026-11-20T01:00:00+09:00";
const TOKYO_21ST_1AM: &str = "2026-11-21T01:00:00+09:00";

/// Malls in three time zones.
fn three_malls(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.mall("newyork", "America/New_York", "USD");
}

/// Malls in Tokyo and Seoul with an order each, and one whose time zone does not exist between them.
fn one_broken_of_three(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let broken = shop.mall("osaka", "Asia/Oosaka", "JPY");
    let seoul = shop.mall("seoul", "Asia/Seoul", "KRW");
    for mall in [tokyo, broken, seoul] {
        shop.order(Order { mall, ..Order::default() });
    }
}

/// Which run computed each mall of a day.
fn computed_by(shop: &Shop, day: &str) -> Vec<Vec<String>> {
    shop.sql(&format!(
        "SELECT code, execution_id FROM daily_sales JOIN malls ON id = mall_id WHERE business_day = '{day}' ORDER BY code"
    ))
}

fn each_mall_is_reported_on_for_its_own_last_finished_day(shop: &Shop) {
    three_malls(shop);
    report(shop, &[]).now(TOKYO_20TH_1AM).run().succeeds().is_silent();
    assert_eq!(runs(shop), ["2026-11-18 1 COMPLETED 0", "2026-11-19 1 COMPLETED 0"]);
    assert_eq!(
        stored(shop),
        [
            "2026-11-18 newyork USD 0 0 0",
            "2026-11-18 seoul KRW 0 0 0",
            "2026-11-18 tokyo JPY 0 0 0",
            "2026-11-19 seoul KRW 0 0 0",
            "2026-11-19 tokyo JPY 0 0 0",
        ]
    );
}

fn a_mall_whose_day_ended_later_is_reported_the_next_night(shop: &Shop) {
    three_malls(shop);
    report(shop, &[]).now(TOKYO_20TH_1AM).run().succeeds();
    assert_eq!(computed_by(shop, "2026-11-19"), [["seoul", "2"], ["tokyo", "2"]]);
    report(shop, &["--verbose"])
        .now(TOKYO_21ST_1AM)
        .run()
        .succeeds()
        .says("report daily-sales 2026-11-19: reported 1 mall (run 3")
        .says("report daily-sales 2026-11-20: reported 2 malls, not over yet: newyork (run 4");
    assert_eq!(computed_by(shop, "2026-11-19"), [["newyork", "3"], ["seoul", "2"], ["tokyo", "2"]]);
    assert_eq!(computed_by(shop, "2026-11-20"), [["seoul", "4"], ["tokyo", "4"]]);
    assert_eq!(runs(shop)[2..], ["2026-11-19 2 COMPLETED 0", "2026-11-20 1 COMPLETED 0"]);
}

fn a_mall_added_later_makes_the_day_due_for_that_mall_only(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &[]).run().succeeds();
    let busan = shop.mall("busan", "Asia/Seoul", "KRW");
    shop.order(Order { mall: busan, ..Order::default() });
    report(shop, &["--dry-run"])
        .run()
        .succeeds()
        .prints("would run   report daily-sales 2026-11-19: no final figures yet for busan\n");
    report(shop, &["--verbose"]).run().succeeds().says("reported 1 mall (run 2");
    assert_eq!(computed_by(shop, "2026-11-19"), [["busan", "2"], ["tokyo", "1"]]);
    report(shop, &["--verbose"]).run().succeeds().says("already completed by run 2");
}

fn a_disabled_mall_is_left_out(shop: &Shop) {
    three_malls(shop);
    shop.execute("UPDATE malls SET is_active = FALSE WHERE code <> 'seoul'");
    report(shop, &[]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-19 seoul KRW 0 0 0"]);
}

fn only_the_malls_asked_for_are_reported_on(shop: &Shop) {
    three_malls(shop);
    report(shop, &["--mall", "tokyo,newyork", "--date", "2026-11-18"]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-18 newyork USD 0 0 0", "2026-11-18 tokyo JPY 0 0 0"]);
    // The rest of the day is still due.
    report(shop, &["--date", "2026-11-18"]).run().succeeds();
    assert_eq!(stored(shop).len(), 3);
}

fn a_mall_is_the_same_by_code_and_by_id(shop: &Shop) {
    three_malls(shop);
    report(shop, &["--mall", "tokyo,seoul,tokyo"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT instance_key, command_line FROM batch_execution"),
        [["2026-11-19 mall=seoul,tokyo", "report daily-sales --date 2026-11-19 --mall 'seoul,tokyo'"]]
    );
    report(shop, &["--mall", "2", "--mall", "1", "--verbose"])
        .run()
        .succeeds()
        .says("already completed by run 1");
}

fn an_unknown_mall_is_wrong_usage_and_the_known_ones_are_listed(shop: &Shop) {
    three_malls(shop);
    let before = shop.dump();
    let ran = report(shop, &["--mall", "tokyo,kyoto"]).run().exits(2);
    assert_eq!(ran.stderr, "error: unknown mall `kyoto`\n  hint: the malls are newyork, seoul, tokyo\n");
    assert_eq!(shop.dump(), before);
}

fn without_any_mall_there_is_nothing_to_report(shop: &Shop) {
    let before = shop.dump();
    report(shop, &["--format", "csv,json", "--out", "reports"]).run().succeeds().is_silent();
    report(shop, &["--date", "2026-11-01", "--verbose"])
        .run()
        .succeeds()
        .says("No active mall: nothing to report (add one with `batchctl mall add`)");
    assert_eq!(shop.dump(), before);
}

fn a_mall_without_a_usable_time_zone_fails_alone(shop: &Shop) {
    one_broken_of_three(shop);
    let failure = "osaka: mall `osaka` has the time zone `Asia/Oosaka`, which does not exist";
    report(shop, &[])
        .run()
        .exits(3)
        .says("error: report daily-sales 2026-11-19 partial (run 1, exit 3, ")
        .says("): 1 of 3 items failed\n")
        .says(&format!("  {failure}\n"))
        .says("  data:  2 of 3 malls are computed; 1 is not\n")
        .says(&format!("  retry: {}\n", shop.command("dev", "runs retry 1")));
    assert_eq!(stored(shop), ["2026-11-19 seoul KRW 1 1000 1000", "2026-11-19 tokyo JPY 1 1000 1000"]);
    assert_eq!(runs(shop), ["2026-11-19 1 PARTIAL 3"]);
    let errors = shop.batchctl(["runs", "errors", "1"]).run().succeeds();
    assert_eq!(errors.stdout, format!("FAILED {failure}\n"));
}

fn only_a_fixed_mall_is_retried_and_its_errors_are_resolved(shop: &Shop) {
    one_broken_of_three(shop);
    report(shop, &[]).run().exits(3);
    // Not fixed yet: it fails again, and nothing else is affected.
    shop.batchctl(["runs", "retry", "1"]).run().exits(1).says("osaka");
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'osaka'");
    shop.batchctl(["runs", "retry", "1"]).run().succeeds().is_silent();
    assert_eq!(runs(shop), ["2026-11-19 1 PARTIAL 3", "2026-11-19 2 FAILED 1", "2026-11-19 3 COMPLETED 0"]);
    assert_eq!(computed_by(shop, "2026-11-19"), [["osaka", "3"], ["seoul", "1"], ["tokyo", "1"]]);
    let errors = shop.batchctl(["runs", "errors", "1"]).run().succeeds();
    assert!(errors.stdout.ends_with("which does not exist (resolved)\n"), "{}", errors.stdout);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
    let again = shop.batchctl(["runs", "retry", "1", "--verbose"]).run().succeeds();
    assert_eq!(
        again.stderr,
        "report daily-sales 2026-11-19 was completed by run 3 since: nothing to retry\n"
    );
}

fn a_mall_whose_sums_are_too_large_fails_alone(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let seoul = shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.order(Order { mall: tokyo, ..Order::default() });
    for order_no in ["1", "2"] {
        shop.order(Order { mall: seoul, order_no, total: i64::MAX / 3 * 2, ..Order::default() });
    }
    report(shop, &[]).run().exits(3).says("1 of 2 items failed").says("  seoul: ");
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 1000 1000"]);
}

fn a_partial_report_may_count_as_success(shop: &Shop) {
    one_broken_of_three(shop);
    report(shop, &["--allow-partial"]).run().succeeds().is_silent();
    assert_eq!(runs(shop), ["2026-11-19 1 PARTIAL 0"]);
}

fn a_report_on_broken_malls_only_fails(shop: &Shop) {
    shop.mall("osaka", "Asia/Oosaka", "JPY");
    shop.mall("nara", "", "JPY");
    report(shop, &["--format", "csv", "--out", "reports"])
        .run()
        .exits(1)
        .says("2 of 2 items failed")
        .says("  nara: mall `nara` has the time zone ``, which does not exist\n");
    assert_eq!(runs(shop), ["2026-11-19 1 FAILED 1"]);
    assert!(!shop.path("reports").exists());
}
