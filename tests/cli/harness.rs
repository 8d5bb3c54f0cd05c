//! Proofs that the harness itself does what the other tests rely on.

use std::collections::BTreeMap;

use batchctl::clients::api::{Address, Api, Call, Terms};
use batchctl::config::{Config, LoadOptions};
use batchctl::context::Context;
use batchctl::mask::Redactor;
use batchctl::output::{LogFormat, Output};
use reqwest::header::{HeaderName, HeaderValue};
use rustix::process::Signal;

use crate::runner::{NIGHTLY, wait_until_said};
use crate::support::{
    Answer, Batchctl, Database, Line, NOW, Order, Refund, Running, Sandbox, Shop, Webhook, eventually,
    on_both_databases,
};

on_both_databases![
    results_are_the_same_text_on_both_databases,
    a_sandbox_has_its_own_database,
    a_shop_is_filled_with_orders_and_refunds,
    a_failpoint_kills_the_process,
    a_held_process_continues_when_released,
    a_held_process_is_killed_with_its_test,
    a_signal_reaches_the_process,
];

fn results_are_the_same_text_on_both_databases(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    assert_eq!(
        shop.sql(
            "SELECT id, code, is_active, created_at, NULL, CAST(0 AS BIGINT), 'a' || 'b', COUNT(*) OVER () FROM malls"
        ),
        [["1", "tokyo", "1", "2026-11-19T16:00:00+00:00", "NULL", "0", "ab", "1"]]
    );
}

fn a_sandbox_has_its_own_database(sandbox: &Sandbox) {
    let other = Sandbox::without_schema(sandbox.database());
    other.batchctl(["--env", "staging", "db", "migrate"]).run().succeeds();
    assert_eq!(sandbox.scalar("SELECT name FROM batch_environment"), "dev");
    assert_eq!(other.scalar("SELECT name FROM batch_environment"), "staging");
    assert_ne!(sandbox.dump(), other.dump());
    assert!(other.dump().contains("batch_environment: 1 | staging | "), "{}", other.dump());
}

fn a_shop_is_filled_with_orders_and_refunds(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let lines = [
        Line::default(),
        Line { product: "P2", name: "It's", quantity: 2, discount: 100, ..Line::default() },
    ];
    let order = shop.order(Order {
        mall: tokyo,
        order_no: "A-1",
        member: Some("M1"),
        total: 2900,
        lines: &lines,
        ..Order::default()
    });
    shop.refund(Refund { order, product: Some("P2"), amount: 950, ..Refund::default() });
    assert_eq!(
        shop.sql(
            "SELECT order_no, member_code, total_amount, paid_at, cancelled_at, product_code, product_name, line_amount
             FROM orders JOIN order_items ON order_id = id ORDER BY line_key"
        ),
        [
            ["A-1", "M1", "2900", "2026-11-19T03:00:00+00:00", "NULL", "P1", "Product 1", "1000"],
            ["A-1", "M1", "2900", "2026-11-19T03:00:00+00:00", "NULL", "P2", "It's", "1900"],
        ]
    );
    assert_eq!(
        shop.sql("SELECT mall_id, currency, product_code, amount, refunded_at FROM refunds"),
        [["1", "JPY", "P2", "950", "2026-11-19T09:00:00+00:00"]]
    );
}

/// A report that has something to do.
fn report(shop: &Shop) -> Batchctl {
    with_something_to_report(shop).batchctl(NIGHTLY)
}

fn with_something_to_report(shop: &Shop) -> &Shop {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall: tokyo, ..Order::default() });
    shop
}

fn a_failpoint_kills_the_process(shop: &Shop) {
    report(shop).failpoint("after-lease=kill").run().is_killed_by(Signal::KILL).is_silent();
    assert_eq!(shop.sql("SELECT status FROM batch_execution"), [["RUNNING"]]);
}

fn a_held_process_continues_when_released(shop: &Shop) {
    let mut held = report(shop).hold_at("after-lease");
    held.wait_until_reached();
    assert_eq!(shop.scalar("SELECT pid FROM batch_execution"), held.process().pid().to_string());
    assert!(!held.process().has_ended());
    held.release().wait().succeeds().is_silent();
    assert_eq!(shop.sql("SELECT status FROM batch_execution"), [["COMPLETED"]]);
}

fn a_held_process_is_killed_with_its_test(shop: &Shop) {
    let mut held = report(shop).hold_at("after-lease");
    held.wait_until_reached();
    let process = format!("/proc/{}", held.process().pid());
    assert!(std::path::Path::new(&process).exists());
    drop(held);
    assert!(!std::path::Path::new(&process).exists());
}

fn a_signal_reaches_the_process(shop: &Shop) {
    let command = ["--verbose", "report", "daily-sales"];
    let mut held = with_something_to_report(shop).batchctl(command).hold_at("after-lease");
    held.wait_until_reached();
    held.process().signal(Signal::TERM);
    wait_until_said(held.process(), "Stopping");
    held.release().wait().exits(143);
}

#[test]
fn the_environment_of_a_process_is_scrubbed() {
    let sandbox = Sandbox::new();
    let ran = sandbox.batchctl(["env", "export"]).run().succeeds();
    assert_eq!(
        ran.stdout,
        format!(
            "export BATCHCTL_ENV=dev\nexport BATCHCTL_DATABASE_URL=sqlite:batchctl.db\nexport BATCHCTL_NOW={NOW}\n"
        )
    );
    let other = sandbox.batchctl(["env", "export"]).now("2026-03-01T00:00:00Z").run().succeeds();
    assert!(other.stdout.contains("export BATCHCTL_NOW=2026-03-01T00:00:00Z\n"), "{}", other.stdout);
}

#[test]
fn a_person_sees_what_cron_does_not() {
    let sandbox = Sandbox::new();
    sandbox.batchctl(["db", "migrate"]).run().succeeds().is_silent();
    let seen = sandbox.batchctl(["db", "migrate"]).run_on_terminal("").succeeds();
    assert!(seen.screen().starts_with("Schema of `dev` is up to date"), "{}", seen.screen());
    sandbox.batchctl(["no-such-group"]).run_on_terminal("").exits(2);
}

#[test]
fn files_are_written_and_read_in_the_working_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("folder/file.txt", "text");
    assert_eq!(sandbox.read("folder/file.txt"), "text");
    assert_eq!(sandbox.database(), Database::Sqlite);
}

/// The context of a command without settings.
fn context() -> Context {
    let working_dir = std::env::temp_dir();
    let options =
        LoadOptions { env_flag: None, working_dir, process_env: BTreeMap::new(), full_paths: false };
    let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
    Context::new(Config::load(options).unwrap(), output)
}

#[test]
fn a_webhook_answers_in_turn_and_remembers() {
    let webhook = Webhook::start();
    webhook.answer(Answer::status(503));
    webhook.answer(Answer::Http(429, vec![("Retry-After", "1".to_owned())], "slow down".to_owned()));
    webhook.answer(Answer::Silence);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (statuses, silence) = runtime.block_on(async {
        let patience = std::time::Duration::from_secs(30);
        let ask = async |number: u32, patience| {
            let call = Call::post_json("hook?a=1", &serde_json::json!({ "n": number }));
            let headers = [(HeaderName::from_static("x-test"), HeaderValue::from_static("yes"))];
            let address = Address::new("webhook", &webhook.url("")).unwrap();
            let api = Api::new(&context(), address, Terms::once("Webhook", patience)).unwrap();
            api.exchange(call.headers(headers.into_iter().collect())).await
        };
        let mut statuses = Vec::new();
        for number in 0..2 {
            let answer = ask(number, patience).await.unwrap();
            let header = answer.header("retry-after").map(str::to_owned);
            statuses.push((answer.status.as_u16(), header, answer.text()));
        }
        let silence = ask(2, std::time::Duration::from_secs(1)).await.is_err();
        statuses.push((ask(3, patience).await.unwrap().status.as_u16(), None, String::new()));
        (statuses, silence)
    });
    assert_eq!(
        statuses,
        [
            (503, None, String::new()),
            (429, Some("1".to_owned()), "slow down".to_owned()),
            (200, None, String::new())
        ]
    );
    assert!(silence);
    eventually(|| webhook.requests().len() == 4, "all requests have arrived");
    let first = &webhook.requests()[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/hook?a=1"));
    assert_eq!((first.header("x-test"), first.json()), (Some("yes"), serde_json::json!({ "n": 0 })));
}

#[test]
fn two_hundred_processes_start_at_once() {
    let sandbox = Sandbox::new();
    let running: Vec<Running> = (0..200).map(|_| sandbox.batchctl(["env", "show"]).spawn()).collect();
    for process in running {
        process.wait().succeeds();
    }
}
