//! `demo`: an example shop that anybody can create, the same everywhere, and never mixed with real data.

mod cafe24;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Arranged, Database, Sandbox, Shop, on_both_databases};

on_both_databases![
    the_demo_creates_three_malls_and_files_to_open,
    two_demos_are_the_same,
    a_second_demo_doubles_nothing,
    a_database_with_another_mall_is_refused,
    prod_is_refused,
    the_day_with_25_hours_is_reported_completely,
];

/// Every CSV file below the demo's folder, by its name there.
fn csv_files(sandbox: &Sandbox) -> Vec<(String, String)> {
    let folder = sandbox.path("demo");
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "csv") {
                let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The figures of every day and mall.
fn daily_sales(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let mut rows = sandbox.sql(
        "SELECT business_day, code, d.currency, orders, items, gross_amount, discount_amount, shipping_amount, tax_amount,
                cancelled_orders, refunded_amount, net_amount, average_order_amount, new_customers,
                returning_customers, refunds, is_final
         FROM daily_sales d JOIN malls ON malls.id = mall_id",
    );
    rows.sort();
    rows
}

/// Every row of the shop's and the reports' tables, ids and instants too; not the history of runs.
fn data(sandbox: &Sandbox) -> String {
    let dump = sandbox.dump();
    dump.lines().filter(|row| !row.starts_with("batch_")).collect::<Vec<_>>().join("\n")
}

fn the_demo_creates_three_malls_and_files_to_open(sandbox: &Sandbox) {
    let ran = sandbox.batchctl(["demo"]).run().succeeds();
    assert_eq!(ran.stderr, "");
    let paths: Vec<PathBuf> =
        ran.stdout.lines().filter_map(|line| line.strip_prefix("  ")).map(PathBuf::from).collect();
    assert!(paths.len() >= 13, "{}", ran.stdout);
    for path in &paths {
        let size = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
        assert!(size > 0, "{} is empty", path.display());
        assert!(path.starts_with(sandbox.path("demo")), "{}", path.display());
    }
    for extension in ["csv", "json", "pdf", "xlsx"] {
        assert!(
            paths.iter().any(|path| path.extension().is_some_and(|found| found == extension)),
            "{extension}"
        );
    }
    assert_eq!(
        sandbox.sql("SELECT code, time_zone, currency, platform FROM malls ORDER BY code"),
        [
            ["new-york", "America/New_York", "USD", "demo"],
            ["seoul", "Asia/Seoul", "KRW", "demo"],
            ["tokyo", "Asia/Tokyo", "JPY", "demo"]
        ]
    );
    let days = sandbox.sql(
        "SELECT code, COUNT(*), MIN(business_day), MAX(business_day)
         FROM daily_sales JOIN malls ON malls.id = mall_id GROUP BY code ORDER BY code",
    );
    // Yesterday, which is not over in New York.
    assert_eq!(
        days,
        [
            ["new-york", "59", "2026-09-21", "2026-11-18"],
            ["seoul", "60", "2026-09-21", "2026-11-19"],
            ["tokyo", "60", "2026-09-21", "2026-11-19"]
        ]
    );
    let ran =
        sandbox.batchctl(["report", "daily-sales", "--date", "yesterday", "--format", "csv", "--out", "-"]);
    let csv = ran.run().succeeds().stdout;
    let total = csv.lines().find(|line| line.starts_with("2026-11-19,tokyo,JPY,total,")).unwrap_or_default();
    let orders: u64 = total.split(',').nth(6).and_then(|orders| orders.parse().ok()).unwrap_or_default();
    assert!(orders > 50, "{csv}");
    assert_eq!(sandbox.sql("SELECT DISTINCT status FROM batch_execution"), [["COMPLETED"]]);
    for table in ["products", "members", "orders", "refunds"] {
        assert_ne!(sandbox.scalar(&format!("SELECT COUNT(*) FROM {table}")), "0", "{table}");
    }
}

#[test]
fn the_demo_needs_nothing_but_an_empty_folder() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox
        .batchctl(["demo", "--out", "a folder/example"])
        .run()
        .succeeds()
        .prints("a folder/example/reports/en/");
    assert!(sandbox.path("a folder/example/data/orders.csv").exists());
}

/// Words that only the right glyphs spell: text copied out of each PDF.
#[test]
fn the_demo_needs_no_font_of_the_system() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("batchctl.toml", "[pdf]\nsystem_fonts = false\n");
    let ran = sandbox.batchctl(["--verbose", "demo"]).run().succeeds();
    assert!(!ran.stderr.contains("no font"), "{}", ran.stderr);
    for (locale, title) in
        [("en", "Daily sales report"), ("ja", "日次売上レポート"), ("ko", "일일 매출 보고서")]
    {
        let pdf = sandbox.path(&format!("demo/reports/{locale}/daily-sales-2026-11-18.pdf"));
        let ran =
            Command::new("pdftotext").args(["-layout".as_ref(), pdf.as_os_str(), "-".as_ref()]).output();
        let text = String::from_utf8(ran.unwrap().stdout).unwrap();
        for word in [title, "東京本店", "서울 스토어"] {
            assert!(text.contains(word), "no {word} in:\n{text}");
        }
    }
}

fn two_demos_are_the_same(sandbox: &Sandbox) {
    let other = Sandbox::on(sandbox.database());
    sandbox.batchctl(["demo"]).run().succeeds();
    other.batchctl(["demo"]).run().succeeds();
    let [files, others] = [sandbox, &other].map(csv_files);
    let [names, other_names] =
        [&files, &others].map(|files| files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(names, other_names);
    assert!(names.len() >= 8, "{names:?}");
    for (file, other) in files.iter().zip(&others) {
        assert!(file == other, "{} differs", file.0);
    }
    assert_eq!(daily_sales(sandbox), daily_sales(&other));
}

fn a_second_demo_doubles_nothing(sandbox: &Sandbox) {
    let first = sandbox.batchctl(["demo"]).run().succeeds();
    let (before, files) = (data(sandbox), csv_files(sandbox));
    let second = sandbox.batchctl(["demo"]).run().succeeds();
    assert_eq!(second.stdout, first.stdout);
    assert!(data(sandbox) == before, "the second demo changed rows");
    assert!(csv_files(sandbox) == files, "the second demo changed files");
}

fn a_database_with_another_mall_is_refused(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let before = shop.dump();
    shop.batchctl(["demo"])
        .run()
        .exits(77)
        .says("error: the database already contains other malls; the demo would mix with their data")
        .says("hint: use a separate database for the demo");
    assert_eq!(shop.dump(), before);
    assert!(!shop.path("demo").exists());
}

fn prod_is_refused(sandbox: &Sandbox) {
    let prod = Sandbox::without_schema(sandbox.database());
    prod.batchctl(["--env", "prod", "db", "migrate"]).real_clock().run().succeeds();
    let before = prod.dump();
    prod.batchctl(["--env", "prod", "demo"])
        .real_clock()
        .run()
        .exits(77)
        .says("error: the demo does not run with --env prod");
    assert_eq!(prod.dump(), before);
    assert!(!prod.path("demo").exists());
    // A dev database does not help either.
    let before = sandbox.dump();
    sandbox.batchctl(["--env", "prod", "demo"]).real_clock().run().exits(77);
    assert_eq!(sandbox.dump(), before);
}

fn the_day_with_25_hours_is_reported_completely(sandbox: &Sandbox) {
    sandbox.batchctl(["demo"]).run().succeeds();
    let paid = |from: &str, to: &str| {
        sandbox.scalar(&format!(
            "SELECT COUNT(*) FROM orders JOIN malls ON malls.id = mall_id
             WHERE code = 'new-york' AND paid_at >= '{from}' AND paid_at < '{to}'"
        ))
    };
    let reported = sandbox.scalar(
        "SELECT orders FROM daily_sales JOIN malls ON malls.id = mall_id
         WHERE code = 'new-york' AND business_day = '2026-11-01'",
    );
    // From midnight in summer time to midnight in winter time: an hour more than a day.
    assert_eq!(reported, paid("2026-11-01T04:00:00+00:00", "2026-11-02T05:00:00+00:00"));
    assert_ne!(
        reported,
        paid("2026-11-01T04:00:00+00:00", "2026-11-02T04:00:00+00:00"),
        "nobody bought in the last hour"
    );
}
