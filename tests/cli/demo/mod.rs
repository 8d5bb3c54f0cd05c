//! `demo`: an example shop that anybody can create, the same everywhere, and never mixed with real data.

mod cafe24;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Arranged, Database, Sandbox, Shop, Webhook, on_both_databases};

on_both_databases![
    the_demo_creates_three_malls_and_files_to_open,
    two_demos_are_the_same,
    a_second_demo_doubles_nothing,
    a_database_with_another_mall_is_refused,
    prod_is_refused,
    the_day_with_25_hours_is_reported_completely,
    what_nobody_pays_is_cancelled_with_its_stock_and_its_events,
    what_the_demo_says_to_do_next_does_it,
    a_demo_of_the_next_day_goes_on_where_the_first_one_ended,
    a_demo_reaches_nobody_whom_the_settings_name,
    an_applications_mall_that_is_not_the_demos_is_refused,
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
    let listed = ran.stdout.lines().skip_while(|line| *line != "Open these files:").skip(1);
    let paths: Vec<PathBuf> = listed.map_while(|line| line.strip_prefix("  ")).map(PathBuf::from).collect();
    assert!(paths.len() >= 14, "{}", ran.stdout);
    for path in &paths {
        let size = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
        assert!(size > 0, "{} is empty", path.display());
        assert!(path.starts_with(sandbox.path("demo")), "{}", path.display());
    }
    for extension in ["csv", "json", "ndjson", "pdf", "xlsx"] {
        assert!(
            paths.iter().any(|path| path.extension().is_some_and(|found| found == extension)),
            "{extension}"
        );
    }
    assert_eq!(
        sandbox.sql("SELECT code, time_zone, currency, platform FROM malls ORDER BY code"),
        [
            ["new-york", "America/New_York", "USD", "demo"],
            ["seoul", "Asia/Seoul", "KRW", "app"],
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

fn an_applications_mall_that_is_not_the_demos_is_refused(shop: &Shop) {
    // The code that the demo's own has.
    shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.execute("UPDATE malls SET platform = 'app'");
    let before = shop.dump();
    shop.batchctl(["demo"]).run().exits(77).says("the database already contains other malls");
    assert_eq!(shop.dump(), before);
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

/// The orders that the application has taken, oldest first within a day.
fn orders_of_application(sandbox: &Sandbox) -> Vec<String> {
    let sql = "SELECT order_no, o.status, COALESCE(cancel_reason, '-')
               FROM orders o JOIN malls m ON m.id = mall_id
               WHERE code = 'seoul' AND source_updated_at IS NULL ORDER BY ordered_at, o.id";
    sandbox.sql(sql).into_iter().map(|row| row.join(" ")).collect()
}

/// The events that were published, in their order.
fn published(sandbox: &Sandbox) -> Vec<String> {
    let text = sandbox.read("demo/events/events-00000001.ndjson");
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        format!("{} {}", event["event_type"], event["aggregate_id"]).replace('"', "")
    };
    text.lines().map(event).collect()
}

fn what_nobody_pays_is_cancelled_with_its_stock_and_its_events(sandbox: &Sandbox) {
    let ran = sandbox.batchctl(["demo"]).run().succeeds();
    assert_eq!(
        orders_of_application(sandbox),
        [
            "A20261120-1 ORDER_CANCELLED PAYMENT_TIMEOUT",
            "A20261120-2 PAID -",
            "A20261120-3 ORDER_CANCELLED PAYMENT_TIMEOUT",
            "A20261120-4 ORDER_CANCELLED PAYMENT_TIMEOUT",
            "A20261120-5 PAYMENT_WAIT -",
        ]
    );
    // Those that came from files are another system's, of the same mall too.
    let copies = "SELECT COUNT(*) FROM orders o JOIN malls m ON m.id = mall_id
                  WHERE code = 'seoul' AND source_updated_at IS NOT NULL AND status = 'PAYMENT_WAIT'";
    assert_ne!(sandbox.scalar(copies), "0");
    // What is left is what was imported, without what was paid and what may still be.
    let products = sandbox.read("demo/data/products.csv");
    let left: Vec<Vec<String>> = products
        .lines()
        .filter_map(|line| line.strip_prefix("seoul,"))
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let imported: i64 = fields[4].parse().unwrap();
            let held = if fields[0] == "P005" { 2 + 1 } else { 0 };
            vec![fields[0].to_owned(), (imported - held).to_string()]
        })
        .collect();
    assert_eq!(left.len(), 10);
    let stock = "SELECT product_code, quantity FROM stock JOIN products p ON p.id = product_id
                 JOIN malls m ON m.id = mall_id WHERE code = 'seoul' ORDER BY p.id";
    assert_eq!(sandbox.sql(stock), left);

    let events = published(sandbox);
    for order in [1, 3, 4] {
        let of_order: Vec<&String> =
            events.iter().filter(|event| event.ends_with(&format!(" A20261120-{order}"))).collect();
        let kinds = ["order.cancelled", "order.expiration.notification"];
        assert_eq!(of_order.len(), 2, "{events:?}");
        assert!(of_order.iter().zip(kinds).all(|(event, kind)| event.starts_with(kind)), "{events:?}");
    }
    let statistics: Vec<&String> =
        events.iter().filter(|event| event.starts_with("daily.statistics ")).collect();
    for mall in ["new-york/2026-11-18/USD", "seoul/2026-11-19/KRW", "tokyo/2026-11-19/JPY"] {
        assert!(statistics.iter().any(|event| event.ends_with(mall)), "{mall}: {events:?}");
    }
    assert_eq!(events.len(), 2 * 3 + statistics.len(), "{events:?}");
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM outbox_events WHERE published_at IS NULL"), "0");

    let low = "SELECT code, product_code, s.quantity, threshold FROM stock_alerts a JOIN products p ON p.id = a.product_id
               JOIN malls m ON m.id = mall_id JOIN stock s ON s.product_id = p.id ORDER BY code, product_code";
    assert_eq!(
        sandbox.sql(low),
        [
            ["new-york", "P001", "2", "10"],
            ["seoul", "P002", "0", "10"],
            ["seoul", "P010", "0", "10"],
            ["tokyo", "P005", "8", "10"],
            ["tokyo", "P011", "0", "10"],
        ]
    );
    ran.prints("Hojicha Tea, 100 g").prints("和三盆 詰め合わせ");
    // Customers are told by rows, and nobody by a message.
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM notifications"), "2");
    for table in ["mails", "channel_messages", "stock_releases"] {
        assert_eq!(sandbox.scalar(&format!("SELECT COUNT(*) FROM {table}")), "0", "{table}");
    }
}

fn what_the_demo_says_to_do_next_does_it(sandbox: &Sandbox) {
    let ran = sandbox.batchctl(["demo"]).run().succeeds();
    let later = "2026-11-20T01:10:00+09:00";
    let before = published(sandbox);
    let typed = |words: &str| {
        let mut lines = ran.stdout.lines().filter_map(|line| line.strip_prefix("  "));
        let line = lines.rfind(|line| line.ends_with(words));
        line.unwrap_or_else(|| panic!("no `{words}` in:\n{}", ran.stdout)).to_owned()
    };
    sandbox.typed(&typed("batchctl order expire")).now(later).run().succeeds();
    assert_eq!(
        orders_of_application(sandbox).last().map(String::as_str),
        Some("A20261120-5 ORDER_CANCELLED PAYMENT_TIMEOUT")
    );
    sandbox.typed(&typed("batchctl events publish")).now(later).run().succeeds();
    assert_eq!(
        published(sandbox)[before.len()..],
        ["order.cancelled A20261120-5", "order.expiration.notification A20261120-5"]
    );
    // A second demo of the day has no order left to wait for.
    let again = sandbox.batchctl(["demo"]).now(later).run().succeeds();
    again
        .prints("today are paid or cancelled; tomorrow's demo has new ones.\n")
        .never_shows("time to be paid");
    // Without a Redis there is nothing to compare: that is said at once, and what to do.
    let ran = sandbox.batchctl(["stock", "reconcile"]).run().exits(78);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", ran.stderr);
    ran.says("BATCHCTL_REDIS_URL is not set").says("hint: set it");
}

fn a_demo_of_the_next_day_goes_on_where_the_first_one_ended(sandbox: &Sandbox) {
    sandbox.batchctl(["demo"]).run().succeeds();
    sandbox.batchctl(["demo"]).now("2026-11-21T01:00:00+09:00").run().succeeds();
    // Its files have a day more, for the mall that the application keeps too.
    let days = "SELECT COUNT(*) FROM orders o JOIN malls m ON m.id = mall_id
                WHERE code = 'seoul' AND order_no LIKE '20261120-%'";
    assert_ne!(sandbox.scalar(days), "0");
    let states: Vec<String> = orders_of_application(sandbox)
        .into_iter()
        .filter_map(|order| order.split(' ').nth(1).map(str::to_owned))
        .collect();
    let (cancelled, paid) = ("ORDER_CANCELLED", "PAID");
    assert_eq!(
        states,
        [
            [cancelled, paid, cancelled, cancelled, cancelled],
            [cancelled, paid, cancelled, cancelled, "PAYMENT_WAIT"]
        ]
        .concat()
    );
    assert_eq!(sandbox.scalar("SELECT platform FROM malls WHERE code = 'seoul'"), "app");
    assert_eq!(sandbox.sql("SELECT DISTINCT status FROM batch_execution"), [["COMPLETED"]]);
}

fn a_demo_reaches_nobody_whom_the_settings_name(sandbox: &Sandbox) {
    let hook = Webhook::start();
    sandbox.write(
        "batchctl.toml",
        "[alerts]\ndev_channel = \"dev\"\n\
         [[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n\
         [order_expire]\nmail = true\n[stock]\nmail_to = [\"stock@example.jp\"]\n\
         [events]\nsink = \"ndjson\"\nfolder = \"mine\"\n",
    );
    let demo = || sandbox.batchctl(["demo"]).env("DEV_URL", hook.url("/dev"));
    // Nothing listens there.
    demo().env("BATCHCTL_REDIS_URL", "redis://127.0.0.1:1").run().succeeds();
    assert_eq!(hook.requests().len(), 0);
    assert!(!sandbox.path("mine").exists());
    assert_ne!(published(sandbox).len(), 0);
    for table in ["mails", "channel_messages", "stock_releases"] {
        assert_eq!(sandbox.scalar(&format!("SELECT COUNT(*) FROM {table}")), "0", "{table}");
    }
}
