//! What makes a failure good, and what does not: by `runs list --open`, by the incident, and by what the channels are
//! told.

use crate::runner::TradingShop;
use crate::support::{Answer, Batchctl, Database, Sandbox, Shop, Webhook, on_both_databases, run_on};

on_both_databases![
    the_retry_of_a_delivery_settles_it_and_another_days_success_does_not,
    the_same_command_settles_what_failed_before_its_days_were_known,
    a_retry_of_a_retry_settles_both,
    a_fixed_file_settles_the_broken_one,
    another_file_that_fails_is_told_at_once,
    an_import_that_was_killed_is_told_without_another_start,
    flags_that_choose_another_instance_are_refused,
];

const HEADER: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount\n";
const HOOK: &str = "[alerts]\ndev_channel = \"ops\"\n[[alerts.channel]]\nname = \"ops\"\nkind = \"webhook\"\n\
                    url_variable = \"OPS_URL\"\n";

fn hook(sandbox: &Sandbox) -> Webhook {
    sandbox.write("batchctl.toml", HOOK);
    let hook = Webhook::start();
    for _ in 0..20 {
        hook.answer(Answer::Http(200, Vec::new(), String::new()));
    }
    hook
}

fn told(command: Batchctl, hook: &Webhook) -> Batchctl {
    command.env("OPS_URL", hook.url("/"))
}

fn titles(hook: &Webhook) -> Vec<String> {
    let requests = hook.requests();
    requests.iter().map(|request| request.json()["title"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The runs that are open.
#[track_caller]
fn open(sandbox: &Sandbox) -> Vec<i64> {
    let listed = sandbox.batchctl(["runs", "list", "--open", "--format", "json"]).run().succeeds().stdout;
    let runs: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("JSON");
    runs.iter().map(|run| run["id"].as_i64().expect("a number")).collect()
}

fn the_retry_of_a_delivery_settles_it_and_another_days_success_does_not(shop: &TradingShop) {
    let hook = hook(shop);
    let report = |day: &str| {
        let words = ["report", "daily-sales", "--date", day, "--format", "csv", "--out", "reports/daily"];
        told(shop.batchctl(words), &hook)
    };
    shop.write("reports", "not a folder");
    report("2026-11-19").run().exits(1);
    let failed = open(shop);
    assert_eq!(failed.len(), 1);
    told(shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]), &hook).run().succeeds();
    assert_eq!(open(shop), failed);
    assert_eq!(titles(&hook), ["report daily-sales FAILED (dev)"]);

    std::fs::remove_file(shop.path("reports")).unwrap();
    std::fs::create_dir_all(shop.path("reports/daily")).unwrap();
    told(shop.batchctl(["runs", "retry", &failed[0].to_string()]), &hook).run().succeeds();
    assert!(shop.path("reports/daily").read_dir().unwrap().next().is_some());
    assert_eq!(open(shop), [0_i64; 0]);
    assert_eq!(titles(&hook)[1..], ["report daily-sales recovered after one failure (dev)"]);
}

fn the_same_command_settles_what_failed_before_its_days_were_known(shop: &TradingShop) {
    shop.execute("ALTER TABLE malls RENAME TO away");
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run();
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run();
    shop.execute("ALTER TABLE away RENAME TO malls");
    assert_eq!(open(shop).len(), 2);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run().succeeds();
    assert_eq!(open(shop), [1]);
}

fn order(total: &str) -> String {
    format!("{HEADER}tokyo,A1,PAID,2026-11-19 10:00,2026-11-19 10:05,{total},P1,1,1200\n")
}

fn import<'a>(shop: &'a Shop, file: &'a str) -> Batchctl {
    shop.batchctl(["data", "import", "--kind", "orders", file])
}

fn a_retry_of_a_retry_settles_both(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order("x"));
    import(shop, "orders.csv").run().exits(65);
    shop.write("orders.csv", order("y"));
    shop.batchctl(["runs", "retry", "1"]).run().exits(65);
    assert_eq!(open(shop), [2, 1]);
    shop.write("orders.csv", order("1200"));
    shop.batchctl(["runs", "retry", "2"]).run().succeeds();
    assert_eq!(open(shop), [0_i64; 0]);
}

fn a_fixed_file_settles_the_broken_one(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for file in ["orders.csv", "others.csv"] {
        shop.write(file, order("x"));
        import(shop, file).run().exits(65);
    }
    shop.write("orders.csv", order("1200"));
    import(shop, "orders.csv").run().succeeds();
    assert_eq!(open(shop), [2]);
}

fn another_file_that_fails_is_told_at_once(shop: &Shop) {
    let hook = hook(shop);
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for file in ["orders.csv", "others.csv", "orders.csv"] {
        shop.write(file, order("x"));
        told(import(shop, file), &hook).run().exits(65);
    }
    let failed = |file: &str| format!("data import orders {} FAILED (dev)", shop.path(file).display());
    assert_eq!(titles(&hook), [failed("orders.csv"), failed("others.csv")]);
}

fn an_import_that_was_killed_is_told_without_another_start(shop: &Shop) {
    let hook = hook(shop);
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order("1200"));
    import(shop, "orders.csv").failpoint("after-lease=kill").run();
    shop.execute("UPDATE batch_execution SET lease_expires_at = '2026-01-01T00:00:00+00:00'");
    let round = || told(shop.batchctl(["runs", "process-requests"]), &hook).run().succeeds();

    let retry = shop.command("dev", "runs retry 1");
    round().says("orders.csv crashed (run 1): no sign of life since ").says(&format!("retry: {retry}\n"));
    let title = format!("data import orders {} CRASHED (dev)", shop.path("orders.csv").display());
    assert_eq!(titles(&hook), [title]);
    round().is_silent();
    assert_eq!(open(shop), [1]);

    shop.typed_elsewhere(&retry).run().succeeds();
    assert_eq!(open(shop), [0_i64; 0]);
}

fn flags_that_choose_another_instance_are_refused(shop: &TradingShop) {
    shop.only_mars();
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run().exits(1);
    let before = shop.dump();
    for flag in ["--date=2026-11-19", "--from=2026-11-19", "--mall=tokyo"] {
        let ran = shop.batchctl(["runs", "retry", "1", "--", flag]).run().exits(2);
        ran.says("cannot be added to a run's command: start the job itself with it");
    }
    assert_eq!(shop.dump(), before);
}

#[test]
fn a_request_with_an_impossible_time_is_due_and_stops_nothing() {
    // SQLite keeps any text in a column for times.
    run_on(Database::Sqlite, |shop: &TradingShop| {
        shop.only_mars();
        shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run().exits(1);
        for due_at in ["garbage", "2026-11-30 next week"] {
            shop.execute(&format!(
                "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, status, due_at, attempt)
                 VALUES (1, 'x', 'x', '2026-11-20T00:00:00+00:00', 'PENDING', '{due_at}', 1)"
            ));
        }
        shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run().exits(1);
        shop.bring_mars_home();
        shop.batchctl(["runs", "process-requests"]).run().succeeds();
        assert_eq!(shop.sql("SELECT DISTINCT status FROM batch_retry_request"), [["DONE"]]);
    });
}
