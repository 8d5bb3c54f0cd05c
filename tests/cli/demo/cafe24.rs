//! `demo --cafe24`: two malls of a local Cafe24, and no others.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::data;

use crate::support::{Answer, Cafe24, Database, Sandbox, Shop, Webhook, on_both_databases};

on_both_databases![
    a_week_of_two_malls_is_synchronised_and_reported,
    a_second_demo_of_cafe24_keeps_the_key_and_doubles_nothing,
    a_database_with_another_mall_is_refused_for_cafe24_too,
    nothing_is_created_without_a_local_cafe24,
];

/// Two malls with ten days of orders, up to the sandbox's yesterday.
fn server() -> Cafe24 {
    let seeds = ["--seed-malls", "demo-a,demo-b", "--until", "2026-11-19", "--days", "10"];
    let sizes = ["--members", "300", "--orders-per-day", "20"];
    Cafe24::start_with(&[&seeds[..], &sizes[..]].concat())
}

fn address(server: &Cafe24) -> String {
    server.url().replace("/{account}", "")
}

fn a_week_of_two_malls_is_synchronised_and_reported(sandbox: &Sandbox) {
    let server = server();
    let ran = sandbox.batchctl(["demo", "--cafe24", &address(&server)]).run_on_terminal("").succeeds();
    let ran = ran.prints("Daily sales report").prints("demo-a (Asia/Seoul, KRW)").prints("cd '");
    assert!(ran.stdout.contains(&sandbox.path("demo/cafe24").display().to_string()), "{}", ran.stdout);
    assert!(sandbox.path("demo/cafe24/reports").exists());
    let jobs = sandbox
        .sql("SELECT job, status, COUNT(*) FROM batch_execution GROUP BY job, status ORDER BY job, status");
    // Two malls and three domains; seven days, the last of which is already done when it is shown.
    assert_eq!(jobs, [["mall sync", "COMPLETED", "6"], ["report daily-sales", "COMPLETED", "7"]]);
    let days = sandbox.sql(
        "SELECT code, COUNT(*), MIN(business_day), MAX(business_day)
         FROM daily_sales JOIN malls ON malls.id = mall_id GROUP BY code ORDER BY code",
    );
    assert_eq!(days, ["demo-a", "demo-b"].map(|code| [code, "7", "2026-11-13", "2026-11-19"]));
    // What is paid in the week was ordered in it: the server pays each order after a minute.
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM daily_sales WHERE orders = 0 OR gross_amount = 0"), "0");
    assert_ne!(sandbox.scalar("SELECT SUM(refunded_amount) FROM daily_sales"), "0");
    assert_ne!(sandbox.scalar("SELECT COUNT(*) FROM members"), "0");
    let settings = sandbox.path("demo/cafe24/.env.dev");
    let mode = std::fs::metadata(settings).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_folder_of_the_demo_has_everything_its_malls_need() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let server = server();
    // As in a shell without any of our variables: empty counts as not set.
    let bare = |arguments: &[&str]| sandbox.batchctl(arguments).env("BATCHCTL_DATABASE_URL", "");
    bare(&["demo", "--cafe24", &address(&server)]).run().succeeds();
    assert!(!sandbox.path("batchctl.db").exists(), "the database of the folder we are in is left alone");
    let sync = ["-v", "mall", "sync", "--mall", "demo-b", "--domain", "member", "--from", "2026-11-10"];
    let there = bare(&sync).through_shell("cd demo/cafe24 && exec \"$@\"").run().succeeds();
    there.says("mall sync demo-b member 2026-11-10..2026-11-19: 300 members: 90 new, 210 unchanged");
}

fn a_second_demo_of_cafe24_keeps_the_key_and_doubles_nothing(sandbox: &Sandbox) {
    let server = server();
    let demo = || sandbox.batchctl(["demo", "--cafe24", &address(&server)]).run().succeeds();
    let first = demo();
    let shops =
        || data(sandbox).lines().filter(|row| !row.starts_with("api_tokens")).collect::<Vec<_>>().join("\n");
    let (before, variables) = (shops(), sandbox.read("demo/cafe24/.env.dev"));
    assert_eq!(demo().stdout, first.stdout);
    assert!(shops() == before, "the second demo changed rows");
    assert_eq!(sandbox.read("demo/cafe24/.env.dev"), variables);
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM api_tokens"), "2");
}

fn a_database_with_another_mall_is_refused_for_cafe24_too(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let server = server();
    let before = shop.dump();
    shop.batchctl(["demo", "--cafe24", &address(&server)])
        .run()
        .exits(77)
        .says("error: the database already contains other malls; the demo would mix with their data");
    assert_eq!(shop.dump(), before);
}

fn nothing_is_created_without_a_local_cafe24(sandbox: &Sandbox) {
    let before = sandbox.dump();
    let demo = |address: &str| sandbox.batchctl(["demo", "--cafe24", address]).run();
    let hint = "hint: start one with `scripts/fakes/cafe24 --seed-malls demo-a,demo-b`";

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has one");
    let nobody = format!("http://{nobody}");
    demo(&nobody).exits(75).says(&format!("error: no local Cafe24 answers at {nobody}/: ")).says(hint);

    let other = Webhook::start();
    other.answer(Answer::status(404));
    let other = other.url("");
    demo(&other).exits(1).says("error: the server at ").says("is not a local Cafe24: ").says(hint);

    let empty = Cafe24::start();
    let empty = address(&empty);
    demo(&empty).exits(1).says("has no malls `demo-a` and `demo-b`").says(hint);

    for elsewhere in
        ["https://demo.cafe24api.com", "http://192.0.2.1:8024", "http://localhost:8024/demo", "8024"]
    {
        demo(elsewhere).exits(2);
    }
    assert_eq!(sandbox.dump(), before);
    assert!(!sandbox.path("demo").exists());
}

#[test]
fn the_demo_of_cafe24_does_not_run_in_prod_nor_against_another_servers_settings() {
    let sandbox = Sandbox::new();
    let server = server();
    sandbox.batchctl(["--env", "prod", "demo", "--cafe24", &address(&server)]).real_clock().run().exits(77);
    sandbox.write("elsewhere.toml", "[cafe24]\nbase_url = \"https://{account}.example.com\"\n");
    let settings = sandbox.path("elsewhere.toml").display().to_string();
    sandbox
        .batchctl(["demo", "--cafe24", &address(&server)])
        .env("BATCHCTL_CONFIG", settings)
        .run()
        .exits(78)
        .says("error: `cafe24.base_url` is not the demo's: BATCHCTL_CONFIG names another file");
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM malls"), "0");
}
