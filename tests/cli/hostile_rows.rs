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
    let first = format!("rowid = (SELECT MIN(rowid) FROM {table})");
    with_each_column_of_row_spoilt(shop, table, &first, test);
}

/// The same with another row, a condition that whatever the row holds must not change.
fn with_each_column_of_row_spoilt(shop: &Sandbox, table: &str, row: &str, test: impl Fn(&str)) {
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
fn a_product_that_cannot_be_read_keeps_no_other_from_being_alerted_of() {
    let shop = customers();
    shop.configure(
        "[stock]\nmail_to = [\"buyer@example.jp\"]\n[alerts]\ndev_channel = \"dev\"\n\
         [[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n",
    );
    for product in ["P1", "P2"] {
        shop.execute(&format!(
            "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, stock_alert_threshold,
                                   created_at, updated_at)
             VALUES (1, '{product}', 'Tea', 'ON_SALE', 'JPY', 1, 1, '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO stock (product_id, quantity, updated_at) SELECT MAX(id), 0, '{THEN}' FROM products"
        ));
    }
    let job = |words: &[&str]| shop.job(words).env("DEV_URL", "http://127.0.0.1:1/");
    job(&["stock", "alert"]).run().succeeds();
    for table in ["products", "stock", "malls", "stock_alerts", "channel_messages"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            let second = "product_id = (SELECT MAX(id) FROM products)";
            shop.execute(&format!("DELETE FROM stock_alerts WHERE {second}"));
            shop.execute("DELETE FROM mails");
            goes_on(job(&["stock", "alert"]), spoilt);
            let told = shop.scalar(&format!(
                "SELECT COUNT(*) FROM stock_alerts WHERE {second} AND message_key IS NOT NULL"
            ));
            assert_eq!(told, "1", "{spoilt}");
            assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1", "{spoilt}");
            job(&["stock", "alerts"]).run().succeeds().prints("P2");
        });
    }
}

#[test]
fn an_order_that_cannot_be_read_keeps_no_other_from_expiring() {
    let shop = customers();
    shop.configure("[order_expire]\nmail = true\n");
    shop.execute("UPDATE malls SET platform = 'app'");
    for member in ["M1", "M2"] {
        shop.execute(&format!(
            "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES (1, 'P-{member}', 'Tea', 'ON_SALE', 'JPY', 1000, '{THEN}', '{THEN}')"
        ));
        shop.execute(&format!(
            "INSERT INTO stock (product_id, quantity, updated_at)
             SELECT id, 10, '{THEN}' FROM products WHERE product_code = 'P-{member}'"
        ));
        let product = format!("P-{member}");
        let lines = [Line { product: &product, ..Line::default() }];
        let order = Order {
            mall: shop.mall,
            order_no: member,
            member: Some(member),
            status: "PAYMENT_WAIT",
            ..Order::default()
        };
        shop.order(Order { paid_at: None, lines: &lines, ..order });
    }
    for table in ["orders", "order_items", "members", "products", "stock"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            goes_on(shop.job(&["order", "expire"]), spoilt);
            let second = "member_code = 'M2'";
            let is_cancelled =
                format!("SELECT COUNT(*) FROM orders WHERE {second} AND status = 'ORDER_CANCELLED'");
            assert_eq!(shop.scalar(&is_cancelled), "1", "{spoilt}");
            for queue in ["mails", "notifications"] {
                let told = shop.scalar(&format!("SELECT COUNT(*) FROM {queue} WHERE {second}"));
                assert_eq!(told, "1", "{spoilt}");
                shop.execute(&format!("DELETE FROM {queue}"));
            }
            // All of the first, or nothing.
            let events = "SELECT COUNT(*) FROM outbox_events";
            let cancelled = "SELECT 2 * COUNT(*) FROM orders WHERE status = 'ORDER_CANCELLED'";
            assert_eq!(shop.scalar(events), shop.scalar(cancelled), "{spoilt}");
            shop.execute("DELETE FROM outbox_events");
            shop.execute(
                "UPDATE orders SET status = 'PAYMENT_WAIT', cancelled_at = NULL, cancel_reason = NULL",
            );
        });
    }
    shop.execute("UPDATE orders SET ordered_at = '2026-11-31T00:00:00+00:00' WHERE id = 1");
    let ran = shop.job(&["order", "expire"]).run().exits(3);
    ran.says("tokyo/M1: the column `ordered_at` of `orders` holds `2026-11-31T00:00:00+00:00`, which is not a time");
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
fn a_consent_that_cannot_be_read_keeps_no_other_from_its_notice() {
    let shop = customers();
    let then = "2024-11-20T12:00:00+00:00";
    for member in ["M1", "M2"] {
        shop.execute(&format!(
            "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, source_updated_at, created_at, updated_at)
             VALUES (1, '{member}', 'MARKETING', TRUE, '{then}', '{then}', '{then}')"
        ));
    }
    let job = || {
        let job = shop.job(&["mail", "consent-notice"]).env("BATCHCTL_LOCALE", "ko");
        job.env("BATCHCTL_MAIL_FROM", "Sample Shop <shop@example.jp>")
    };
    let seconds = || shop.scalar("SELECT COUNT(*) FROM mails WHERE member_code = 'M2'");
    for table in ["mail_consents", "members"] {
        with_each_column_spoilt(&shop, table, |spoilt| {
            goes_on(job(), spoilt);
            assert_eq!(seconds(), "1", "{spoilt}");
            shop.execute("DELETE FROM mails");
            shop.execute("DELETE FROM consent_notices");
        });
    }
    // In the ledger too.
    job().run().succeeds();
    shop.execute("DELETE FROM consent_notices WHERE member_code = 'M2'");
    with_each_column_spoilt(&shop, "consent_notices", |spoilt| {
        shop.execute("DELETE FROM mails");
        goes_on(job(), spoilt);
        assert_eq!(seconds(), "1", "{spoilt}");
        shop.execute("DELETE FROM consent_notices WHERE rowid > (SELECT MIN(rowid) FROM consent_notices)");
    });
    shop.execute("DELETE FROM consent_notices");
    shop.execute("UPDATE mail_consents SET source_updated_at = '2024-02-30T12:00:00+00:00' WHERE id = 1");
    let misdated = "tokyo/M1: the column `source_updated_at` of `mail_consents` holds `2024-02-30T12:00:00+00:00`, which is \
                    not a time";
    job().run().exits(3).says(misdated);
    // It is no matter of this job for a member whom the law does not mean.
    shop.execute("UPDATE members SET locale = 'ja'");
    job().run().succeeds();
    shop.execute("UPDATE members SET locale = NULL");
    shop.execute(&format!("UPDATE mail_consents SET source_updated_at = '{then}' WHERE id = 1"));
    shop.execute("DELETE FROM mails");
    job().run().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp"], "once it is corrected");
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

/// A week of two malls, with members enough for their channels to be disclosed.
fn trading_for_a_week() -> (Shop, Mall, Mall) {
    let (shop, tokyo, osaka) = trading();
    for mall in [tokyo, osaka] {
        for code in ["M2", "M3", "M4", "M5", "M6"] {
            shop.member(Member { mall, code, signed_up_at: DAY, channel: Some("web"), ..Member::default() });
        }
        for day in 12..=18 {
            let (number, at) = (format!("{}-{day}", mall.id), format!("2026-11-{day}T12:00:00+09:00"));
            let order = Order { mall, order_no: &number, total: 300, ..Order::default() };
            let cancelled_at = Some("2026-11-19T13:00:00+09:00");
            shop.order(Order { ordered_at: &at, paid_at: Some(&at), cancelled_at, ..order });
        }
    }
    (shop, tokyo, osaka)
}

const EVERY_FORMAT: [&str; 4] = ["--format", "csv,xlsx,json,pdf,table", "--out", "reports"];

/// The lines of a CSV that was written.
fn lines(shop: &Sandbox, file: &str) -> Vec<String> {
    shop.read(&format!("reports/{file}.csv")).lines().map(str::to_owned).collect()
}

#[test]
fn figures_that_cannot_be_read_are_computed_again() {
    let (shop, ..) = trading_for_a_week();
    for (report, file, tables) in [
        ("daily-sales", "daily-sales-2026-11-19", &["daily_sales", "daily_sales_breakdown"][..]),
        (
            "daily-cancellations",
            "daily-cancellations-2026-11-19",
            &["daily_cancellations", "daily_cancellations_by_reason"],
        ),
        (
            "weekly-signups",
            "weekly-signups-2026-11-16_2026-11-22",
            &["weekly_signups", "weekly_signups_by_channel"],
        ),
    ] {
        let job = || {
            let words = ["report", report, "--date", "2026-11-19"].into_iter().chain(EVERY_FORMAT);
            shop.batchctl(words).now("2026-11-24T01:00:00+09:00")
        };
        job().run().succeeds();
        let right = lines(&shop, file);
        assert!(right.len() > 4, "{right:?}");
        let rows = |table| shop.scalar(&format!("SELECT COUNT(*) FROM {table}"));
        for table in tables {
            let stored = rows(table);
            assert_ne!(stored, "0", "{table}");
            with_each_column_spoilt(&shop, table, |spoilt| {
                // A product's name and code are the shop's own.
                if ["name", "breakdown_key"].iter().any(|own| spoilt.contains(&format!("breakdown.{own} "))) {
                    job().run().succeeds();
                    shop.batchctl(["report", report, "--date", "2026-11-19", "--rerun"])
                        .now("2026-11-24T01:00:00+09:00")
                        .run()
                        .succeeds();
                    return;
                }
                let ran = job().run();
                assert_eq!(ran.code, Some(0), "{spoilt}: {ran:?}");
                assert_eq!(lines(&shop, file), right, "{spoilt}");
                assert_eq!(rows(table), stored, "{spoilt}: nothing is left of it");
            });
        }
    }
}

#[test]
fn figures_that_cannot_be_read_are_removed_if_they_cannot_be_computed_again() {
    let (shop, ..) = trading_for_a_week();
    let job = |more: &[&str]| {
        let words = ["report", "daily-sales", "--date", "2026-11-19"];
        shop.batchctl(words.iter().chain(&EVERY_FORMAT).chain(more)).run()
    };
    let malls = || {
        let sql = "SELECT code FROM daily_sales JOIN malls ON malls.id = mall_id ORDER BY code";
        shop.sql(sql).concat()
    };
    job(&[]).succeeds();
    let right = lines(&shop, "daily-sales-2026-11-19");
    let spoil = || shop.execute("UPDATE daily_sales SET outdated_at = 'infinity' WHERE mall_id = 1");
    shop.execute("UPDATE orders SET paid_at = '2026-02-30T12:00:00+00:00' WHERE id = 1");
    let problem = "tokyo: the row of `orders` whose order_no is `1` cannot be placed in time";
    spoil();
    // Osaka was complete, and there is nothing to do for it.
    job(&[]).exits(1).says(problem).says(
        "data:  the figures of tokyo for 2026-11-19, which could not be read, are removed; nothing else was changed",
    );
    assert_eq!(malls(), ["osaka"]);
    shop.execute("UPDATE orders SET paid_at = '2026-11-19T03:00:00+00:00' WHERE id = 1");
    job(&[]).succeeds();
    assert_eq!(lines(&shop, "daily-sales-2026-11-19"), right);
    spoil();
    shop.execute("UPDATE orders SET paid_at = '2026-02-30T12:00:00+00:00' WHERE id = 1");
    job(&["--rerun"]).exits(3).says(problem);
    assert_eq!(malls(), ["osaka"]);
    let others: Vec<String> = right.into_iter().filter(|line| !line.contains(",tokyo,")).collect();
    assert_eq!(lines(&shop, "daily-sales-2026-11-19"), others);
}

#[test]
fn a_row_of_no_day_takes_no_other_days_figures_along_unseen() {
    let (shop, tokyo, _) = trading_for_a_week();
    let at = "2026-11-18T13:00:00+09:00";
    let dollars = Mall { currency: "USD", ..tokyo };
    let order = Order { mall: dollars, order_no: "usd", total: 700, ..Order::default() };
    shop.order(Order { ordered_at: at, paid_at: Some(at), ..order });
    let report = |day: &str| shop.batchctl(["report", "daily-sales", "--date", day]);
    report("2026-11-18").run().succeeds();
    let of_tokyo = || {
        let sql =
            "SELECT currency, net_amount FROM daily_sales WHERE business_day = '2026-11-18' AND mall_id = 1
                   ORDER BY currency";
        shop.sql(sql)
    };
    let right = of_tokyo();
    assert_eq!(right.len(), 2, "{right:?}");
    shop.execute("UPDATE daily_sales SET business_day = '2026-11-31' WHERE currency = 'USD'");
    // The night's run for another day removes it, with what would be the rest of a sum.
    report("2026-11-19").run().succeeds();
    assert_eq!(of_tokyo(), [[""; 2]; 0]);
    report("2026-11-18").run().succeeds();
    assert_eq!(of_tokyo(), right);
}

/// The reports that the one for management is made of.
fn with_figures() -> (Shop, Mall, Mall) {
    let (shop, tokyo, osaka) = trading_for_a_week();
    for job in ["daily-sales", "daily-cancellations"] {
        let words = ["report", job, "--from", "2026-11-12", "--to", "2026-11-19"];
        shop.batchctl(words).run().succeeds();
    }
    for day in ["2026-11-13", "2026-11-19", "2026-11-20"] {
        let now = format!("{day}T01:00:00+09:00");
        shop.batchctl(["stats", "refresh"]).now(&now).run().succeeds();
    }
    (shop, tokyo, osaka)
}

#[test]
fn a_mall_whose_figures_cannot_be_read_is_missed_in_no_sum_of_the_executive_report() {
    let (shop, tokyo, _) = with_figures();
    let job = |more: &[&str]| {
        let words = ["report", "executive", "--date", "2026-11-19"].iter().chain(&EVERY_FORMAT).chain(more);
        shop.batchctl(words)
    };
    let figures = |more: &[&str]| {
        let ran = job(more).run();
        (ran, lines(&shop, "executive-2026-11-19"))
    };
    let (ran, right) = figures(&[]);
    ran.succeeds();
    let (ran, of_osaka) = figures(&["--mall", "osaka"]);
    ran.succeeds();
    let value = |lines: &[String], figure: &str| {
        lines.iter().find(|line| line.contains(&format!(",,{figure},"))).cloned()
    };
    for (table, day_column, day, figure) in [
        ("daily_sales", "business_day", "2026-11-19", "net_amount"),
        ("daily_cancellations", "business_day", "2026-11-19", "cancelled_amount"),
        ("statistics_snapshots", "snapshot_day", "2026-11-20", "active_members"),
    ] {
        let condition = format!("mall_id = {} AND {day_column} = '{day}'", tokyo.id);
        let is_right_row = match table {
            "statistics_snapshots" => "AND status = 'ACTIVE'",
            _ => "",
        };
        let sql = format!("SELECT rowid FROM {table} WHERE {condition} {is_right_row}");
        let row = format!("rowid = {}", shop.scalar(&sql));
        with_each_column_of_row_spoilt(&shop, table, &row, |spoilt| {
            if spoilt.contains(".subject ") {
                return;
            }
            let (ran, lines) = figures(&["--rerun"]);
            let ran = ran.exits(3).says(&format!("`{table}` holds ")).says("tokyo");
            assert!(ran.stderr.contains("hint: "), "{spoilt}: {ran:?}");
            let all = |lines: &[String]| {
                lines.iter().filter(|line| line.contains(",osaka,")).cloned().collect::<Vec<_>>()
            };
            assert_eq!(all(&lines), all(&right), "{spoilt}");
            if table == "daily_sales" {
                assert_eq!(lines, of_osaka, "{spoilt}");
            } else {
                // A sum that would lack a mall is not there; those that are there are of both.
                assert_eq!(value(&lines, figure), None, "{spoilt}: {lines:?}");
                assert_eq!(value(&lines, "net_amount"), value(&right, "net_amount"), "{spoilt}");
            }
            let (ran, lines) = figures(&["--mall", "osaka", "--rerun"]);
            ran.succeeds();
            assert_eq!(lines, of_osaka, "{spoilt}");
        });
        assert_eq!(figures(&["--rerun"]).1, right, "{table} as it was");
    }
}

#[test]
fn a_correction_waits_for_figures_that_cannot_be_read() {
    let (shop, tokyo, osaka) = with_figures();
    shop.write("batchctl.toml", "[[report.delivery]]\nreport = \"executive\"\nto = [\"boss@example.jp\"]\n");
    shop.batchctl(["report", "executive"]).run().succeeds();
    shop.execute(&format!(
        "UPDATE orders SET total_amount = total_amount + 500 WHERE mall_id = {}",
        osaka.id
    ));
    shop.batchctl(["report", "daily-sales"]).run().succeeds();
    let of_tokyo = format!("business_day = '2026-11-19' AND mall_id = {}", tokyo.id);
    let marked =
        "SELECT COUNT(*) FROM stale_periods WHERE report = 'executive' AND period_day = '2026-11-19'";
    for table in ["daily_sales", "daily_cancellations"] {
        let row = format!("{of_tokyo} AND rowid = (SELECT MIN(rowid) FROM {table} WHERE {of_tokyo})");
        let was = shop.scalar(&format!("SELECT computed_at FROM {table} WHERE {row}"));
        shop.execute(&format!("UPDATE {table} SET computed_at = 'infinity' WHERE {row}"));
        shop.execute(&format!(
            "INSERT OR IGNORE INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ('executive', '2026-11-19', {}, '2026-11-19T16:00:00+00:00')",
            tokyo.id
        ));
        let ran = shop.batchctl(["report", "executive"]).run();
        ran.says("the figures of mall `tokyo` for 2026-11-19 cannot be read");
        assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1", "{table}");
        assert_eq!(shop.scalar(marked), "1", "{table}: that of tokyo is kept");
        shop.execute(&format!("UPDATE {table} SET computed_at = '{was}' WHERE {row}"));
    }
    shop.batchctl(["report", "executive"]).run().succeeds();
    assert_eq!(shop.scalar(marked), "0");
    let [correction] =
        shop.sql("SELECT text_body FROM mails WHERE subject LIKE 'Correction%'").concat().try_into().unwrap();
    assert!(correction.contains("osaka: Net sales") && !correction.contains("→ –"), "{correction}");
}

#[test]
fn a_comparison_that_cannot_be_read_is_a_dash_of_the_executive_report() {
    let (shop, tokyo, osaka) = with_figures();
    let report = |more: &[&str]| {
        let words = ["report", "executive", "--date", "2026-11-19", "--rerun", "--verbose"];
        shop.batchctl(words.iter().chain(&EVERY_FORMAT).chain(more))
    };
    for mall in [tokyo, osaka] {
        shop.execute(&format!(
            "UPDATE daily_sales SET computed_at = '2026-02-30T00:00:00+00:00'
             WHERE mall_id = {} AND business_day = '2026-11-18'",
            mall.id
        ));
        let code = if mall.id == tokyo.id { "tokyo" } else { "osaka" };
        report(&[]).run().succeeds().says(&format!(
            "warning: comparisons and charts leave out the figures of mall `{code}` for 2026-11-18, which cannot be read: the \
             column `computed_at` of `daily_sales` holds `2026-02-30T00:00:00+00:00`, which is not a time"
        ));
    }
    let of_net: Vec<String> =
        lines(&shop, "executive-2026-11-19").into_iter().filter(|line| line.contains("net_amount")).collect();
    // There is no day before; the week before is there.
    assert_eq!(
        of_net,
        [
            "2026-11-19,,net_amount,JPY,800,,600,true,false,",
            "2026-11-19,osaka,net_amount,JPY,400,,,true,false,osaka",
            "2026-11-19,tokyo,net_amount,JPY,400,,,true,false,tokyo",
        ]
    );
}

#[test]
fn a_sum_that_does_not_fit_is_a_dash_of_the_executive_report() {
    let (shop, ..) = with_figures();
    for column in ["orders", "net_amount", "gross_amount"] {
        shop.execute(&format!(
            "UPDATE daily_sales SET {column} = 9223372036854775807 WHERE business_day = '2026-11-12'"
        ));
        let words = ["report", "executive", "--date", "2026-11-19", "--rerun"];
        shop.batchctl(words.iter().chain(&EVERY_FORMAT)).run().succeeds();
        let of_net = lines(&shop, "executive-2026-11-19");
        let of_net = of_net.iter().find(|line| line.starts_with("2026-11-19,,net_amount,JPY,"));
        let week_before = if column == "net_amount" { "" } else { "600" };
        assert_eq!(
            of_net,
            Some(&format!("2026-11-19,,net_amount,JPY,800,600,{week_before},true,false,")),
            "{column}"
        );
        shop.execute(&format!("UPDATE daily_sales SET {column} = 300 WHERE business_day = '2026-11-12'"));
    }
}

#[test]
fn what_the_hint_of_an_executive_report_says_repairs_it() {
    let (shop, ..) = with_figures();
    for (spoil, hint) in [
        (
            "UPDATE daily_sales SET computed_at = 'infinity' WHERE mall_id = 1 AND business_day = '2026-11-19'",
            "report daily-sales --date 2026-11-19 --mall tokyo --rerun",
        ),
        (
            "UPDATE daily_sales SET business_day = '2026-11-31' WHERE mall_id = 1 AND business_day = '2026-11-18'",
            "report daily-sales --date 2026-11-19 --mall tokyo --rerun",
        ),
        (
            "UPDATE daily_cancellations SET business_day = 'then' WHERE mall_id = 1 AND business_day = '2026-11-19'",
            "report daily-cancellations --date 2026-11-19 --mall tokyo --rerun",
        ),
        (
            "UPDATE statistics_snapshots SET taken_at = 'infinity' WHERE mall_id = 1 AND snapshot_day = '2026-11-20'",
            "stats refresh --rerun",
        ),
        (
            "UPDATE statistics_snapshots SET snapshot_day = 'then' WHERE mall_id = 1 AND snapshot_day = '2026-11-13'",
            "stats refresh --rerun",
        ),
    ] {
        shop.execute(spoil);
        let report = || shop.batchctl(["report", "executive", "--rerun"]).run();
        report().exits(3).says("tokyo").says(&shop.command("dev", hint));
        shop.batchctl(hint.split(' ')).run().succeeds();
        report().succeeds();
    }
}

#[test]
fn an_order_that_cannot_be_read_keeps_no_other_mall_from_the_executive_report() {
    let (shop, ..) = trading_for_a_week();
    shop.execute("UPDATE orders SET paid_at = '2026-02-30T12:00:00+00:00' WHERE id = 1");
    shop.batchctl(["report", "daily-sales"]).run().exits(3);
    for asked in [&[][..], &["--date", "2026-11-19"]] {
        let words = ["report", "executive", "--rerun"].iter().chain(asked).chain(&EVERY_FORMAT);
        let ran = shop.batchctl(words).run().exits(3);
        ran.says("tokyo: report daily-sales of 2026-11-19 failed for `tokyo` in run 1: the row of `orders` whose order_no is `1`")
            .says(&shop.command("dev", "runs retry 1"));
        let of_osaka: Vec<String> = lines(&shop, "executive-2026-11-19")
            .into_iter()
            .filter(|line| line.contains("net_amount"))
            .collect();
        assert_eq!(
            of_osaka,
            [
                "2026-11-19,,net_amount,JPY,400,,,true,false,",
                "2026-11-19,osaka,net_amount,JPY,400,,,true,false,osaka"
            ]
        );
    }
    shop.execute("UPDATE orders SET paid_at = '2026-11-19T03:00:00+00:00' WHERE id = 1");
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    shop.batchctl(["report", "executive", "--date", "2026-11-19", "--rerun"]).run().succeeds();
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

#[test]
fn what_is_noted_of_stale_figures_keeps_no_report_from_running() {
    let (shop, ..) = trading();
    shop.write(
        "batchctl.toml",
        "[[report.delivery]]\nreport = \"daily-sales\"\nto = [\"boss@example.jp\"]\n",
    );
    let job = |words: &[&str]| {
        let job = shop.batchctl(["report"].iter().chain(words)).env("BATCHCTL_MAIL_FROM", "shop@example.jp");
        job.env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
    };
    let note = |table: &str| {
        shop.execute(match table {
            "sales_changes" => {
                "INSERT INTO sales_changes (mall_id, subject, changed_hour) VALUES (1, 'ORDER', '2026-11-19T03:00:00+00:00')"
            }
            "stale_periods" => {
                "INSERT INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ('daily-sales', '2026-11-19', 1, '2026-11-19T03:00:00+00:00')"
            }
            "report_revisions" => {
                "INSERT INTO report_revisions VALUES ('daily-sales', '2026-11-19', 7, '2026-11-19T18:00:00+00:00')"
            }
            _ => {
                "INSERT INTO report_mailings (report, period_day, recipient, malls, formats, locale, digest, is_provisional,
                     figures, version, mailed_at, revision)
                 VALUES ('daily-sales', '2026-11-19', 'boss@example.jp', '1,2', 'csv', 'en', 'other', FALSE, '[]', 1,
                         '2026-11-19T03:00:00+00:00', 0),
                        ('executive', '2026-11-19', 'boss@example.jp', '1,2', 'csv', 'en', 'other', FALSE, '[]', 1,
                         '2026-11-19T03:00:00+00:00', 0);
                 INSERT INTO report_revisions VALUES ('daily-sales', '2026-11-19', 7, '2026-11-19T18:00:00+00:00');
                 INSERT INTO stale_periods (report, period_day, mall_id, noted_at) VALUES ('executive', '2026-11-19', 1, '2026-11-19T03:00:00+00:00')"
            }
        });
    };
    let tables = ["sales_changes", "stale_periods", "report_revisions", "report_mailings"];
    job(&["daily-sales"]).run().succeeds();
    for table in tables {
        let columns = format!("SELECT name FROM pragma_table_info('{table}') WHERE type = 'TEXT'");
        for column in shop.sql(&columns).concat() {
            let is_time = ["_at", "_day", "_hour"].iter().any(|end| column.ends_with(end));
            // They sort into the days that a run looks at.
            let days = ["'2026-11-1x'", "CAST(x'323032362d31312d3138ff' AS TEXT)"];
            for bad in if is_time { &days[..] } else { &[NOT_TEXT] } {
                for table in tables {
                    shop.execute(&format!("DELETE FROM {table}"));
                }
                note(table);
                shop.execute(&format!("UPDATE OR IGNORE {table} SET {column} = {bad}"));
                let spoilt = format!("{table}.{column} = {bad}");
                for report in ["daily-sales", "daily-cancellations", "weekly-signups", "executive"] {
                    goes_on(job(&[report]), &spoilt);
                }
                goes_on(job(&["daily-sales", "--rerun"]), &spoilt);
                goes_on(shop.batchctl(["runs", "purge"]), &spoilt);
                assert_eq!(
                    shop.scalar("SELECT net_amount FROM daily_sales WHERE mall_id = 2"),
                    "400",
                    "{spoilt}"
                );
            }
        }
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

#[test]
fn an_event_that_cannot_be_read_keeps_no_other_from_being_published() {
    let sandbox = Sandbox::on(Database::Sqlite);
    sandbox.write("batchctl.toml", "[events]\nsink = \"ndjson\"\n");
    for order in ["1", "2"] {
        sandbox.execute(&format!(
            "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
             VALUES ('order', '{order}', 'order.paid', '{{}}')"
        ));
    }
    with_each_column_spoilt(&sandbox, "outbox_events", |spoilt| {
        goes_on(sandbox.batchctl(["events", "publish"]), spoilt);
        let second =
            sandbox.scalar("SELECT COUNT(*) FROM outbox_events WHERE id = 2 AND published_at IS NOT NULL");
        assert_eq!(second, "1", "{spoilt}");
        for command in [["events", "list"], ["events", "purge"]] {
            sandbox.batchctl(command).run().succeeds();
        }
        sandbox.batchctl(["events", "show", "1", "--full"]).run().succeeds();
        sandbox.execute("UPDATE outbox_events SET published_at = NULL, dead_at = NULL, attempts = 0");
    });
}

#[test]
fn a_day_whose_statistics_cannot_be_read_is_stored_again() {
    let (shop, ..) = trading();
    let job = || shop.batchctl(["stats", "daily"]);
    job().run().succeeds();
    let right = shop.sql("SELECT mall_id, currency, sales_amount FROM daily_statistics ORDER BY mall_id");
    with_each_column_spoilt(&shop, "daily_statistics", |spoilt| {
        goes_on(job(), spoilt);
        goes_on(shop.batchctl(["stats", "daily", "--rerun"]), spoilt);
        let stored =
            shop.sql("SELECT mall_id, currency, sales_amount FROM daily_statistics ORDER BY mall_id");
        assert_eq!(stored, right, "{spoilt}");
    });
}
