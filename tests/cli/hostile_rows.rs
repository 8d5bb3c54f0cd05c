//! Rows that hold what this program could not have written: each is its own item, which fails by name, and the rest is
//! done. Only SQLite lets them in.

use crate::support::{
    Arranged, Batchctl, Customers, Database, Line, Mall, Member, Order, Ran, Refund, Sandbox, Shop,
    on_both_databases,
};

on_both_databases![a_text_of_a_hundred_megabytes_is_cut_where_it_is_shown];

/// Bytes that are not UTF-8.
const NOT_TEXT: &str = "CAST(x'ff80' AS TEXT)";
/// Texts that are not times, of which each sorts elsewhere.
const NOT_TIMES: [&str; 4] = [
    "'2026-02-30T12:00:00+00:00'",
    "'2026-11-18T24:00:00+00:00'",
    "'infinity'",
    "CAST(x'323032362d31312d3138ff' AS TEXT)",
];

/// Spoils the columns of the first row of a table, one after the other and each as it was afterwards, and runs a test with
/// each. A column that a CHECK protects stays as it is.
fn with_each_column_spoilt(shop: &Sandbox, table: &str, test: impl Fn(&str)) {
    let row = format!("rowid = (SELECT MIN(rowid) FROM {table})");
    let columns = shop.sql(&format!("SELECT name FROM pragma_table_info('{table}') WHERE type = 'TEXT'"));
    assert!(!columns.is_empty(), "{table} has columns");
    for column in columns.concat() {
        let is_time = ["_at", "_day", "_until"].iter().any(|end| column.ends_with(end));
        let was = shop.scalar(&format!("SELECT quote({column}) FROM {table} WHERE {row}"));
        let set = |value: &str| {
            shop.execute(&format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE {row}"));
        };
        for bad in if is_time { NOT_TIMES.as_slice() } else { &[NOT_TEXT] } {
            set(bad);
            test(&format!("{table}.{column} = {bad}"));
        }
        set(&was);
    }
}

/// A run that did what it could.
fn goes_on(job: Batchctl, spoilt: &str) -> Ran {
    let ran = job.run();
    assert!(matches!(ran.code, Some(0 | 3)), "{spoilt}: {ran:?}");
    ran
}

const THEN: &str = "2026-11-18T12:00:00+00:00";

fn customers() -> Customers {
    let shop = Customers::on(Database::Sqlite);
    for member in ["M1", "M2"] {
        shop.member(member);
        shop.execute(&format!(
            "INSERT INTO carts (mall_id, cart_key, member_code, currency, url, last_activity_at, created_at, updated_at)
             VALUES (1, 'C-{member}', '{member}', 'JPY', 'https://shop/c', '{THEN}', '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount,
                                     is_purchased)
             SELECT id, 'P', 'P', 'Tea', 2, 1000, FALSE FROM carts WHERE cart_key = 'C-{member}'"
        ));
        shop.execute(&format!(
            "INSERT INTO subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount,
                                        next_charge_day, cancel_by_day, payment_method, card_last4, manage_url, created_at,
                                        updated_at)
             VALUES (1, 'S-{member}', '{member}', 'Premium', 'ACTIVE', 'JPY', 980, '2026-11-22', '2026-11-21', 'card',
                     '4242', 'https://shop/plan', '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO articles (mall_id, article_key, title, summary, free_summary, url, published_at, created_at,
                                   updated_at)
             VALUES (1, 'A-{member}', 'about {member}', 'all', 'some', 'https://news/a', '{THEN}', '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO coupons (mall_id, code, description, expires_day, created_at, updated_at)
             VALUES (1, 'OFF-{member}', '10 %', '2026-12-31', '{THEN}', '{THEN}')"
        ));
    }
    shop
}

#[test]
fn a_cart_that_cannot_be_read_keeps_no_other_from_its_reminder() {
    let shop = customers();
    shop.configure("[cart_remind.coupon]\nsingle_use = true\n");
    for table in ["carts", "cart_items", "members", "coupons"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            goes_on(shop.job(&["cart", "remind"]), spoilt);
            let second = shop.scalar("SELECT COUNT(*) FROM mails WHERE member_code = 'M2'");
            assert_eq!(second, "1", "{spoilt}");
            for table in ["mails", "cart_reminders"] {
                shop.execute(&format!("DELETE FROM {table}"));
            }
            shop.execute("UPDATE coupons SET assigned_at = NULL, assigned_to = NULL");
        });
    }
}

#[test]
fn a_cart_that_cannot_be_read_is_named_and_done_once_it_is_corrected() {
    let shop = customers();
    for (column, bad, problem) in [
        (
            "last_activity_at",
            "'2026-11-31T00:00:00+00:00'",
            "holds `2026-11-31T00:00:00+00:00`, which is not a time",
        ),
        ("last_activity_at", "'infinity'", "holds `infinity`, which is not a time"),
        ("url", NOT_TEXT, "holds a text that is not UTF-8"),
    ] {
        let was = shop.scalar(&format!("SELECT {column} FROM carts WHERE id = 1"));
        shop.execute(&format!("UPDATE carts SET {column} = {bad} WHERE id = 1"));
        let ran = shop.job(&["cart", "remind"]).run().exits(3);
        ran.says(&format!("tokyo/C-M1: the column `{column}` of `carts` {problem}"));
        assert_eq!(shop.recipients(), ["M2@example.jp"]);
        shop.execute(&format!("UPDATE carts SET {column} = '{was}' WHERE id = 1"));
        let run = shop.scalar("SELECT MAX(id) FROM batch_execution");
        shop.job(&["runs", "retry", &run]).run().succeeds();
        assert_eq!(shop.recipients(), ["M1@example.jp", "M2@example.jp"]);
        shop.execute("DELETE FROM mails");
        shop.execute("DELETE FROM cart_reminders");
    }
}

#[test]
fn a_charge_that_cannot_be_read_keeps_no_other_from_its_notice() {
    let shop = customers();
    for table in ["subscriptions", "members"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            // Another day each time: a day that is done is not done again.
            shop.execute("DELETE FROM batch_execution");
            goes_on(shop.job(&["mail", "payment-notice"]), spoilt);
            let second = shop.scalar("SELECT COUNT(*) FROM mails WHERE member_code = 'M2'");
            assert_eq!(second, "1", "{spoilt}");
            shop.execute("DELETE FROM mails");
            shop.execute("DELETE FROM payment_notices");
        });
    }
    shop.execute("UPDATE subscriptions SET next_charge_day = '2026-11-31' WHERE id = 1");
    shop.execute("DELETE FROM batch_execution");
    let ran = shop.job(&["mail", "payment-notice"]).run().exits(3);
    ran.says(
        "tokyo/S-M1: the column `next_charge_day` of `subscriptions` holds `2026-11-31`, which is not a day",
    );
}

#[test]
fn a_reader_or_an_article_that_cannot_be_read_keeps_no_other_from_its_digest() {
    let shop = customers();
    for table in ["articles", "members", "subscriptions"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            goes_on(shop.job(&["mail", "digest"]), spoilt);
            let second = shop.scalar(
                "SELECT COUNT(*) FROM mails WHERE member_code = 'M2' AND text_body LIKE '%about M2%'",
            );
            assert_eq!(second, "1", "{spoilt}");
            shop.execute("DELETE FROM mails");
            shop.execute("DELETE FROM article_deliveries");
        });
    }
    shop.execute(&format!("UPDATE articles SET title = {NOT_TEXT} WHERE id = 1"));
    let ran = shop.job(&["mail", "digest"]).run().exits(3);
    ran.says("tokyo: the article `A-M1` is left out: the column `title` of `articles` holds a text that is not UTF-8");
}

#[test]
fn members_beyond_one_that_cannot_be_read_are_on_the_next_page() {
    let shop = Customers::on(Database::Sqlite);
    shop.members(600);
    shop.execute(&format!(
        "INSERT INTO articles (mall_id, article_key, title, summary, free_summary, url, published_at, created_at, updated_at)
         VALUES (1, 'A', 'news', 'all', 'some', 'https://news/a', '{THEN}', '{THEN}', '{THEN}')"
    ));
    // The last of the first page, in the order of the codes, which stays where it was.
    let last = shop.scalar("SELECT member_code FROM members ORDER BY member_code LIMIT 1 OFFSET 249");
    shop.execute(&format!(
        "UPDATE members SET member_code = member_code || {NOT_TEXT} WHERE member_code = '{last}'"
    ));
    shop.job(&["mail", "digest"])
        .run()
        .exits(3)
        .says("`member_code` of `members` holds a text that is not UTF-8");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "599");
}

const DAY: &str = "2026-11-19T12:00:00+09:00";

fn trading() -> (Shop, Mall, Mall) {
    let shop = Shop::on(Database::Sqlite);
    let (tokyo, osaka) = (shop.mall("tokyo", "Asia/Tokyo", "JPY"), shop.mall("osaka", "Asia/Tokyo", "JPY"));
    for (mall, number) in [(tokyo, "1"), (osaka, "2")] {
        let order = Order { mall, order_no: number, member: Some("M1"), total: 500, ..Order::default() };
        let id = shop.order(Order { lines: &[Line::default()], ..order });
        shop.refund(Refund { order: id, amount: 100, refunded_at: DAY, ..Refund::default() });
        shop.member(Member { mall, code: "M1", signed_up_at: DAY, ..Member::default() });
    }
    (shop, tokyo, osaka)
}

const REPORTS: [(&str, &str); 3] = [
    ("daily-sales", "SELECT net_amount FROM daily_sales WHERE mall_id = {mall} AND outdated_at IS NULL"),
    (
        "daily-cancellations",
        "SELECT cancelled_orders FROM daily_cancellations WHERE mall_id = {mall} AND outdated_at IS NULL",
    ),
    ("weekly-signups", "SELECT signups FROM weekly_signups WHERE mall_id = {mall} AND outdated_at IS NULL"),
];

#[test]
fn a_figure_is_right_or_its_mall_fails_and_the_others_go_on() {
    let (shop, tokyo, osaka) = trading();
    for (report, figure) in REPORTS {
        let of = |mall: Mall| shop.sql(&figure.replace("{mall}", &mall.id.to_string())).concat();
        // When the week is over too.
        let job = || {
            let words =
                ["report", report, "--date", "2026-11-19", "--rerun", "--format", "json", "--out", "-"];
            let job = shop.batchctl(words);
            job.now("2026-11-24T01:00:00+09:00")
        };
        job().run().succeeds();
        let (right, others) = (of(tokyo), of(osaka));
        assert_eq!(right.len(), 1, "{report}");
        for table in ["orders", "order_items", "refunds", "members"] {
            with_each_column_spoilt(&shop, table, |spoilt| {
                // Whatever it holds, it is a request to be forgotten.
                if spoilt.starts_with("members.erasure_requested_at") {
                    return;
                }
                let ran = goes_on(job(), spoilt);
                assert_eq!(of(osaka), others, "{report} {spoilt}");
                // Of a mall that fails no figure counts as current.
                let expected = if ran.code == Some(3) { vec![] } else { right.clone() };
                assert_eq!(of(tokyo), expected, "{report} {spoilt}");
            });
        }
        job().run().succeeds();
        assert_eq!(of(tokyo), right, "{report}: once it is corrected");
    }
    shop.execute("UPDATE orders SET paid_at = '2026-02-30T12:00:00+00:00' WHERE id = 1");
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19", "--rerun"]).run().exits(3).says(
        "tokyo: the row of `orders` whose order_no is `1` cannot be placed in time: the column `paid_at` of `orders` holds \
         `2026-02-30T12:00:00+00:00`, which is not a time like 2026-11-20T10:00:00+00:00",
    );
}

#[test]
fn a_mall_that_cannot_be_read_fails_and_the_others_go_on() {
    let (shop, ..) = trading();
    with_each_column_spoilt(&shop, "malls", |spoilt| {
        shop.batchctl(["mall", "list"]).run().succeeds().prints("osaka");
        shop.batchctl(["mall", "show", "2"]).run().succeeds();
        shop.batchctl(["mall", "show", "1"]).run().succeeds();
        goes_on(shop.batchctl(["report", "daily-sales", "--rerun"]), spoilt);
        assert_eq!(shop.scalar("SELECT net_amount FROM daily_sales WHERE mall_id = 2"), "400", "{spoilt}");
        for job in [["stats", "refresh"], ["report", "daily-cancellations"], ["report", "executive"]] {
            goes_on(shop.batchctl(job), spoilt);
        }
    });
    shop.execute(&format!("UPDATE malls SET name = {NOT_TEXT} WHERE id = 1"));
    shop.batchctl(["mall", "list"])
        .run()
        .succeeds()
        .prints("! the column `name` of `malls` holds a text that is not UTF-8");
    let ran = shop.batchctl(["report", "daily-sales", "--rerun"]).run().exits(3);
    ran.says("tokyo: mall `tokyo` (ID 1): the column `name` of `malls` holds a text that is not UTF-8")
        .says("mall add tokyo --name NAME");
    // What the line says repairs it.
    shop.batchctl(["mall", "add", "tokyo", "--name", "Tokyo"]).run().succeeds();
    shop.batchctl(["report", "daily-sales", "--rerun"]).run().succeeds();
}

#[test]
fn a_run_of_the_past_that_cannot_be_read_keeps_none_from_starting() {
    let (shop, ..) = trading();
    let job = || shop.batchctl(["stats", "refresh", "--rerun"]);
    for status in ["RUNNING", "FAILED"] {
        shop.execute("DELETE FROM batch_execution");
        job().run().succeeds();
        shop.execute(
            "UPDATE batch_execution SET checkpoint = '1', title = 'a title', dismissed_reason = NULL",
        );
        with_each_column_spoilt(&shop, "batch_execution", |spoilt| {
            shop.execute(&format!(
                "UPDATE batch_execution SET status = '{status}' WHERE id = (SELECT MIN(id) FROM batch_execution)"
            ));
            goes_on(shop.batchctl(["report", "daily-sales", "--rerun"]), spoilt);
            goes_on(job(), spoilt);
            let first = shop.scalar("SELECT MIN(id) FROM batch_execution");
            for words in [
                &["runs", "list"][..],
                &["runs", "list", "--all", "--format", "json"],
                &["runs", "list", "--open"],
                &["runs", "show", &first],
                &["runs", "show", &first, "--format", "json"],
                &["runs", "errors", &first],
                &["runs", "process-requests"],
            ] {
                goes_on(shop.batchctl(words), &format!("{spoilt}, {status}, {words:?}"));
            }
            shop.execute("DELETE FROM batch_execution WHERE id > (SELECT MIN(id) FROM batch_execution)");
        });
    }
    // A lease in a form that SQLite's own functions write holds no longer than any other.
    shop.execute("UPDATE batch_execution SET status = 'RUNNING', lease_expires_at = '2026-11-18 12:00:00', boot_id = 'other'");
    job().run().succeeds();
    shop.execute("DELETE FROM batch_execution WHERE id > (SELECT MIN(id) FROM batch_execution)");
    shop.execute("UPDATE batch_execution SET started_at = '2026-02-30T00:00:00+00:00'");
    let list = shop.batchctl(["runs", "list", "--all"]).run().succeeds();
    list.prints("! the column `started_at` of `batch_execution` holds `2026-02-30T00:00:00+00:00`, which is not a time");
}

#[test]
fn what_else_the_runner_reads_keeps_no_job_from_running() {
    let (shop, ..) = trading();
    shop.batchctl(["report", "daily-sales"]).run().succeeds();
    shop.execute(&format!(
        "INSERT INTO batch_error_log (execution_id, item_key, phase, kind, error_class, message, created_at)
         VALUES (1, 'k', 'p', 'FAILED', 'FAILED', 'm', '{THEN}')"
    ));
    shop.execute(&format!(
        "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, due_at, attempt)
         VALUES (1, 'r', 'b', '{THEN}', '2027-01-01T00:00:00+00:00', 1)"
    ));
    shop.execute(&format!(
        "INSERT INTO batch_incident (job, kind, severity, opened_at, occurrences, first_execution_id, last_execution_id)
         VALUES ('report daily-sales', 'FAILURE', 'HIGH', '{THEN}', 1, 1, 1)"
    ));
    for table in ["batch_error_log", "batch_retry_request", "batch_incident", "batch_lease"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            for words in [
                &["report", "daily-sales", "--rerun"][..],
                &["runs", "list"],
                &["runs", "show", "1"],
                &["runs", "errors", "1"],
                &["runs", "errors", "1", "--format", "json"],
                &["runs", "process-requests"],
            ] {
                goes_on(shop.batchctl(words), &format!("{spoilt}, {words:?}"));
            }
        });
    }
}

fn a_text_of_a_hundred_megabytes_is_cut_where_it_is_shown(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.batchctl(["stats", "refresh"]).run().succeeds();
    let text = match shop.database() {
        Database::Sqlite => "HEX(ZEROBLOB(50000000))",
        Database::Postgres => "REPEAT('0', 100000000)",
    };
    let lists = [
        &["mall", "list"][..],
        &["mall", "show", "tokyo"],
        &["runs", "list", "--all"],
        &["runs", "list", "--all", "--format", "json"],
        &["runs", "show", "1"],
        &["runs", "errors", "1"],
    ];
    shop.execute(
        "INSERT INTO batch_error_log (execution_id, item_key, phase, kind, error_class, message, created_at)
         VALUES (1, 'k', 'p', 'FAILED', 'FAILED', 'm', '2026-11-18T12:00:00+00:00')",
    );
    for (table, column) in [
        ("malls", "name"),
        ("batch_execution", "title"),
        ("batch_execution", "error_message"),
        ("batch_execution", "command_line"),
        ("batch_error_log", "message"),
    ] {
        shop.execute(&format!("UPDATE {table} SET {column} = {text} WHERE id = 1"));
        for words in lists {
            let ran = shop.batchctl(words).run().succeeds();
            assert!(ran.stdout.len() < 20_000, "{table}.{column}: {words:?}: {}", ran.stdout.len());
        }
        // The mall fails, and the other one is reported.
        let ran = shop.batchctl(["report", "daily-sales", "--rerun"]).run();
        let expected = if table == "malls" { 3 } else { 0 };
        let ran = ran.exits(expected);
        if table == "malls" {
            ran.says("tokyo: mall `tokyo` (ID 1): the column `name`");
        }
        shop.execute(&format!("UPDATE {table} SET {column} = 'short' WHERE id = 1"));
    }
}

#[test]
fn a_mall_whose_members_cannot_be_placed_in_time_is_not_reconstructed() {
    let (shop, ..) = trading();
    shop.execute("UPDATE members SET withdrawn_at = '2026-02-30T12:00:00+00:00' WHERE mall_id = 1");
    let reconstruct =
        || shop.batchctl(["stats", "refresh", "--date", "2026-11-15", "--reconstruct", "--rerun"]);
    let malls = || shop.sql("SELECT DISTINCT mall_id FROM statistics_snapshots ORDER BY mall_id").concat();
    let ran = reconstruct().run().exits(3);
    ran.says("tokyo: the row of `members` whose member_code is `M1` cannot be placed in time");
    assert_eq!(malls(), ["2"]);
    shop.execute("UPDATE members SET withdrawn_at = NULL");
    reconstruct().run().succeeds();
    assert_eq!(malls(), ["1", "2"]);
}

#[test]
fn tokens_that_cannot_be_read_are_shown_as_such() {
    let shop = Shop::on(Database::Sqlite);
    for mall in ["seoul", "busan"] {
        let words =
            ["mall", "add", mall, "--platform", "cafe24", "--currency", "KRW", "--time-zone", "Asia/Seoul"];
        shop.batchctl(words).run().succeeds();
        shop.execute(&format!(
            "INSERT INTO api_tokens (platform, account, access_token, refresh_token, access_expires_at, refresh_expires_at,
                                     scopes, version, issued_at, created_at, updated_at)
             VALUES ('cafe24', '{mall}', 'a', 'r', '{THEN}', '{THEN}', 's', 1, '{THEN}', '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO api_blocks (platform, account, blocked_until, reason)
             VALUES ('cafe24', '{mall}', '{THEN}', 'r')"
        ));
    }
    for table in ["api_tokens", "api_blocks"] {
        with_each_column_spoilt(&shop, table, |_| {
            shop.batchctl(["mall", "token", "status"]).run().succeeds().prints("seoul").prints("busan");
            shop.batchctl(["mall", "show", "seoul"]).run().succeeds();
        });
    }
    shop.execute("UPDATE api_tokens SET refresh_expires_at = 'infinity' WHERE account = 'seoul'");
    let status = shop.batchctl(["mall", "token", "status", "--format", "json"]).run().succeeds();
    status.prints("the column `refresh_expires_at` of `api_tokens` holds `infinity`, which is not a time");
}
