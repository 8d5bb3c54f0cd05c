//! The parts of stored figures add up to them, whatever is written while they are computed.

use super::{add, daily_sales, figures, reported};
use crate::support::{Database, Shop, eventually, on_both_databases};

on_both_databases![
    what_is_paid_while_a_day_is_computed_is_in_all_of_its_figures_or_in_none,
    figures_that_cannot_be_read_are_restated_like_others,
];

/// Net amounts of a day: in total, by product and by payment method.
fn nets(shop: &Shop, day: &str) -> Vec<String> {
    let sql = format!(
        "SELECT 'total', CAST(SUM(net_amount) AS BIGINT) FROM daily_sales WHERE business_day = '{day}'
         UNION ALL
         SELECT breakdown, CAST(SUM(net_amount) AS BIGINT) FROM daily_sales_breakdown
         WHERE business_day = '{day}' GROUP BY breakdown"
    );
    let mut nets: Vec<String> = shop.sql(&sql).into_iter().map(|row| row.join(" ")).collect();
    nets.sort();
    nets
}

fn restated(shop: &Shop) -> Vec<String> {
    let sql = "SELECT business_day, figure, value_before, value_after, why FROM report_restatements
               WHERE figure IN ('net_amount', 'orders') ORDER BY id";
    shop.sql(sql).into_iter().map(|row| row.join(" ")).collect()
}

/// Has each row of daily sales wait until it may be written.
const HOLD: [&str; 3] = [
    "CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$",
    "CREATE TRIGGER held BEFORE INSERT ON daily_sales FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()",
    "SELECT 1 FROM pg_advisory_lock(7)",
];

fn what_is_paid_while_a_day_is_computed_is_in_all_of_its_figures_or_in_none(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 19, "first", 1000);
    match shop.database() {
        // Nobody else writes while a day is computed.
        Database::Sqlite => {
            daily_sales(shop, 20, &[]).run().succeeds();
            add(shop, mall, 19, "meanwhile", 500);
        }
        Database::Postgres => {
            for statement in HOLD {
                shop.execute(statement);
            }
            let report = daily_sales(shop, 20, &[]).spawn();
            let waiting = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            eventually(|| shop.scalar(waiting) != "0", "the totals are added up");
            add(shop, mall, 19, "meanwhile", 500);
            shop.execute("SELECT pg_advisory_unlock(7)");
            report.wait().succeeds().is_silent();
        }
    }
    assert_eq!(nets(shop, "2026-11-19"), ["PAYMENT_METHOD 1000", "PRODUCT 1000", "total 1000"]);
    daily_sales(shop, 21, &[]).run().succeeds().is_silent();
    assert_eq!(nets(shop, "2026-11-19"), ["PAYMENT_METHOD 1500", "PRODUCT 1500", "total 1500"]);
    assert_eq!(
        restated(shop),
        ["2026-11-19 net_amount 1000 1500 DATA_CHANGED", "2026-11-19 orders 1 2 DATA_CHANGED"]
    );
}

fn figures_that_cannot_be_read_are_restated_like_others(shop: &Shop) {
    let mall = reported(shop, [17, 18]);
    shop.execute(
        "UPDATE daily_sales_breakdown SET gross_amount = gross_amount + 1 WHERE business_day = '2026-11-17'",
    );
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-17 tokyo 2 1500 1", "2026-11-18 tokyo 1 1000 1"]);
    assert_eq!(
        restated(shop),
        ["2026-11-17 net_amount 1000 1500 DATA_CHANGED", "2026-11-17 orders 1 2 DATA_CHANGED"]
    );
}
