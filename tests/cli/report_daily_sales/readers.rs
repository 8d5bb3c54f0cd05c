//! What readers see: what a day is compared with, names instead of codes, in their language and in their order, and files
//! that their spreadsheet can read.

use serde_json::{Value, json};

use super::report;
use crate::support::{Line, Mall, Order, Shop, on_both_databases};

on_both_databases![
    a_day_is_compared_with_the_day_and_the_week_before,
    a_missing_day_and_one_that_is_not_final_are_a_dash,
    a_currency_that_sold_nothing_before_has_no_percentage,
    a_mail_has_both_changes_in_each_language,
    each_day_of_a_range_has_its_own_changes,
    malls_stand_in_the_configured_order_everywhere,
    an_order_of_malls_that_do_not_exist_is_refused,
    another_order_and_other_names_are_no_other_figures,
    malls_of_the_same_name_are_told_apart,
    payment_methods_are_in_the_readers_language_and_codes_stay,
    two_codes_of_one_payment_method_are_told_apart,
    headings_break_between_words_only,
    a_csv_file_has_a_mark_where_excel_needs_it,
    a_tax_that_no_order_states_is_a_dash,
];

const PRINTED: [&str; 4] = ["--format", "json", "--out", "-"];

/// A paid order of a day of November.
fn sell(shop: &Shop, mall: Mall, day: u32, total: i64) {
    let (number, at) = (format!("{day}-{total}"), format!("2026-11-{day}T12:00:00+09:00"));
    shop.order(Order {
        mall,
        order_no: &number,
        ordered_at: &at,
        paid_at: Some(&at),
        total,
        ..Order::default()
    });
}

/// A shop in Tokyo that sold 1,000 a week before the 19th, 1,600 the day before, and 2,000 on it. All three are reported.
fn tokyo(shop: &Shop) -> Mall {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for (day, total) in [(12, 1000), (18, 1600), (19, 2000)] {
        sell(shop, mall, day, total);
        report(shop, &["--date", &format!("2026-11-{day}")]).run().succeeds();
    }
    mall
}

fn document(shop: &Shop, flags: &[&str]) -> Value {
    serde_json::from_str(&report(shop, &[&PRINTED, flags].concat()).run().succeeds().stdout).unwrap()
}

/// Mall, currency and both changes of each row of the summary.
fn changes(shop: &Shop, flags: &[&str]) -> Value {
    let document = document(shop, flags);
    let rows = document["tables"]["malls"].as_array().unwrap().iter();
    rows.map(|row| {
        json!([row["mall"], row["currency"], row["day_before_percent"], row["week_before_percent"]])
    })
    .collect()
}

/// The line of the summary of a mall, as printed, in words.
fn line(shop: &Shop, mall: &str) -> Vec<String> {
    let shown = report(shop, &["--format", "table", "--out", "-"]).run().succeeds().stdout;
    let line = shown.lines().find(|line| line.starts_with(mall)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

fn a_day_is_compared_with_the_day_and_the_week_before(shop: &Shop) {
    tokyo(shop);
    assert_eq!(changes(shop, &[]), json!([["tokyo", "JPY", 25.0, 100.0]]));
    let line = line(shop, "tokyo").join(" ");
    assert!(line.contains("2,000 +25.0% +100.0% 2,000"), "net, changes, average: {line}");
    report(shop, &["--format", "pdf,xlsx,csv", "--out", "reports"]).run().succeeds();
    let pdf = std::process::Command::new("pdftotext")
        .args(["-layout", "daily-sales-2026-11-19.pdf", "-"])
        .current_dir(shop.path("reports"))
        .output()
        .expect("poppler-utils is installed");
    let pdf = String::from_utf8_lossy(&pdf.stdout).into_owned();
    assert!(pdf.contains("+25.0%") && pdf.contains("+100.0%") && pdf.contains("Only final figures"), "{pdf}");
}

fn a_missing_day_and_one_that_is_not_final_are_a_dash(shop: &Shop) {
    tokyo(shop);
    let is_final = |day: u32, is_final: bool| {
        shop.execute(&format!(
            "UPDATE daily_sales SET is_final = {is_final} WHERE business_day = '2026-11-{day}'"
        ));
    };
    is_final(18, false);
    assert_eq!(changes(shop, &[]), json!([["tokyo", "JPY", null, 100.0]]));
    is_final(18, true);
    shop.execute("DELETE FROM daily_sales WHERE business_day = '2026-11-12'");
    assert_eq!(changes(shop, &[]), json!([["tokyo", "JPY", 25.0, null]]));
    assert!(line(shop, "tokyo").join(" ").contains("+25.0% – "));
    // A day that is not over would lose against any that was.
    sell(shop, shop.mall("osaka", "Asia/Tokyo", "JPY"), 20, 10);
    report(shop, &["--date", "2026-11-20", "--so-far"]).run().succeeds();
    let so_far = document(shop, &["--date", "2026-11-20", "--so-far"]);
    let rows = so_far["tables"]["malls"].as_array().unwrap();
    let compared = rows.iter().filter(|row| !row["day_before_percent"].is_null());
    assert_eq!((rows.len(), compared.count()), (2, 0), "{so_far}");
}

fn a_currency_that_sold_nothing_before_has_no_percentage(shop: &Shop) {
    let mall = tokyo(shop);
    sell(shop, Mall { currency: "USD", ..mall }, 19, 500);
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(changes(shop, &[]), json!([["tokyo", "JPY", 25.0, 100.0], ["tokyo", "USD", null, null]]));
}

fn a_mail_has_both_changes_in_each_language(shop: &Shop) {
    tokyo(shop);
    let text = |locale: &str| {
        shop.execute("DELETE FROM report_mailings");
        shop.execute("DELETE FROM mail_attachments");
        shop.execute("DELETE FROM mails");
        report(shop, &["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale]).run().succeeds();
        let [bodies] = shop.sql("SELECT text_body, html_body FROM mails").try_into().unwrap();
        bodies
    };
    for (locale, both, without_week, headings) in [
        (
            "en",
            "Change:   +25.0% on the day before, +100.0% on the week before",
            "Change:   +25.0% on the day before, – on the week before",
            ["Day", "Week"],
        ),
        (
            "ja",
            "前日比　：+25.0%\n　前週比　：+100.0%",
            "前日比　：+25.0%\n　前週比　：–",
            ["前日比", "前週比"],
        ),
        (
            "ko",
            "전일 대비: +25.0%\n  전주 대비: +100.0%",
            "전일 대비: +25.0%\n  전주 대비: –",
            ["전일", "전주"],
        ),
    ] {
        let [plain, html] = text(locale).try_into().unwrap();
        assert!(plain.contains(both), "{plain}");
        for heading in headings {
            assert!(html.contains(&format!("<span style=\"white-space:nowrap\">{heading}</span>")), "{html}");
        }
        assert!(html.contains("+25.0%") && html.contains("+100.0%"), "{html}");
        shop.execute("UPDATE daily_sales SET is_final = false WHERE business_day = '2026-11-12'");
        let [plain, html] = text(locale).try_into().unwrap();
        assert!(plain.contains(without_week) && html.contains(">–<"), "{plain}{html}");
        shop.execute("UPDATE daily_sales SET is_final = false WHERE business_day = '2026-11-18'");
        let [plain, html] = text(locale).try_into().unwrap();
        assert!(!plain.contains('%') && !html.contains(&headings[1].to_owned()), "{plain}{html}");
        shop.execute("UPDATE daily_sales SET is_final = true");
    }
}

fn each_day_of_a_range_has_its_own_changes(shop: &Shop) {
    tokyo(shop);
    assert_eq!(
        changes(shop, &["--from", "2026-11-18", "--to", "2026-11-19"]),
        json!([["tokyo", "JPY", null, null], ["tokyo", "JPY", 25.0, 100.0], ["tokyo", "JPY", null, null]])
    );
}

fn malls_stand_in_the_configured_order_everywhere(shop: &Shop) {
    for (code, name) in [("a", "Alpha"), ("b", "Beta"), ("c", "Gamma"), ("d", "Delta")] {
        let mall = shop.mall(code, "Asia/Tokyo", "JPY");
        shop.execute(&format!("UPDATE malls SET name = '{name}' WHERE code = '{code}'"));
        sell(shop, mall, 19, 1000);
    }
    shop.mall("e", "America/New_York", "USD");
    shop.write("batchctl.toml", "[report]\nmalls = [\"c\", \"e\", \"b\"]\n");
    let expected = ["c", "b", "a", "d"];
    let document = document(shop, &["--date", "2026-11-19"]);
    for table in ["malls", "products", "payment_methods"] {
        let rows = document["tables"][table].as_array().unwrap().iter();
        let malls: Vec<&str> = rows.map(|row| row["mall"].as_str().unwrap()).collect();
        assert_eq!(malls, expected, "{table}");
    }
    let csv =
        report(shop, &["--date", "2026-11-19", "--format", "csv", "--out", "-"]).run().succeeds().stdout;
    let totals = csv.lines().filter(|line| line.contains(",total,"));
    assert_eq!(totals.map(|line| line.split(',').nth(1).unwrap()).collect::<Vec<_>>(), expected);
    let in_order = |text: &str, names: &[&str]| {
        let places: Vec<usize> = names.iter().map(|name| text.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{names:?} {places:?} in {text}");
    };
    let names = ["Gamma", "Beta", "Alpha", "Delta"];
    let shown = |format: &str| {
        report(shop, &["--date", "2026-11-19", "--format", format, "--out", "-"]).run().succeeds().stdout
    };
    in_order(&shown("table"), &names.map(|name| format!("\n{name} ")).each_ref().map(String::as_str));
    report(shop, &["--date", "2026-11-19", "--mail-to", "a@example.jp", "--format", "csv"]).run().succeeds();
    in_order(&shop.scalar("SELECT text_body FROM mails"), &names);
    // The other reports as well.
    for job in ["daily-cancellations", "executive"] {
        let printed = shop
            .batchctl(["report", job, "--mall", "a,b,c,d", "--format", "json", "--out", "-"])
            .run()
            .succeeds();
        let document: Value = serde_json::from_str(&printed.stdout).unwrap();
        let rows = document["tables"]["malls"].as_array().unwrap().iter();
        let malls = rows.map(|row| format!("{} {}", row["mall"], row["mall_name"]));
        assert_eq!(
            malls.collect::<Vec<_>>(),
            ["\"c\" \"Gamma\"", "\"b\" \"Beta\"", "\"a\" \"Alpha\"", "\"d\" \"Delta\""],
            "{job}"
        );
    }
}

fn an_order_of_malls_that_do_not_exist_is_refused(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("batchctl.toml", "[report]\nmalls = [\"tokio\"]\n");
    report(shop, &[])
        .run()
        .exits(78)
        .says("`report.malls`: unknown mall `tokio`")
        .says("hint: the malls are tokyo");
}

fn another_order_and_other_names_are_no_other_figures(shop: &Shop) {
    tokyo(shop);
    sell(shop, shop.mall("osaka", "Asia/Tokyo", "JPY"), 19, 100);
    let mail = || {
        report(shop, &["--date", "2026-11-19", "--mail-to", "a@example.jp", "--format", "csv"])
            .run()
            .succeeds();
        shop.scalar("SELECT COUNT(*) FROM mails")
    };
    assert_eq!(mail(), "1");
    shop.write("batchctl.toml", "[report]\nmalls = [\"tokyo\"]\npayment_methods = { card = \"Plastic\" }\n");
    shop.execute("UPDATE malls SET name = 'Tokyo'");
    assert_eq!(mail(), "1", "nobody gets the same figures twice");
    shop.execute("UPDATE orders SET total_amount = total_amount + 1");
    report(shop, &["--date", "2026-11-19", "--rerun"]).run().succeeds();
    assert_eq!(mail(), "2");
}

fn malls_of_the_same_name_are_told_apart(shop: &Shop) {
    for code in ["tokyo", "osaka", "kobe"] {
        sell(shop, shop.mall(code, "Asia/Tokyo", "JPY"), 19, 1000);
    }
    shop.execute("UPDATE malls SET name = '本店' WHERE code <> 'kobe'");
    shop.execute("UPDATE malls SET name = ' ' WHERE code = 'kobe'");
    let rows = document(shop, &[]);
    let rows = rows["tables"]["malls"].as_array().unwrap().iter();
    let names: Value = rows.map(|row| json!([row["mall"], row["mall_name"]])).collect();
    assert_eq!(names, json!([["kobe", "kobe"], ["osaka", "本店 (osaka)"], ["tokyo", "本店 (tokyo)"]]));
}

/// The payment methods of a document: code and name.
fn payment_methods(shop: &Shop, locale: &str) -> Value {
    let document = document(shop, &["--locale", locale]);
    let rows = document["tables"]["payment_methods"].as_array().unwrap().iter();
    rows.map(|row| json!([row["payment_method"], row["payment_method_name"]])).collect()
}

/// An order of the 19th that was paid in some way.
fn pay(shop: &Shop, mall: Mall, payment_method: Option<&str>, total: i64) {
    let number = format!("pay-{total}");
    let line = [Line { unit_price: total, ..Line::default() }];
    shop.order(Order { mall, order_no: &number, payment_method, total, lines: &line, ..Order::default() });
}

fn payment_methods_are_in_the_readers_language_and_codes_stay(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for (method, total) in
        [(Some("CREDIT_CARD"), 4000), (Some("KONBINI"), 3000), (Some("house"), 2000), (None, 1000)]
    {
        pay(shop, mall, method, total);
    }
    for (locale, [card, konbini, none]) in [
        ("en", ["Credit card", "Convenience store", "not stated"]),
        ("ja", ["クレジットカード", "コンビニ決済", "記載なし"]),
        ("ko", ["신용카드", "편의점 결제", "미기재"]),
    ] {
        assert_eq!(
            payment_methods(shop, locale),
            json!([["CREDIT_CARD", card], ["KONBINI", konbini], ["house", "house"], [null, none]])
        );
        let flags = ["--locale", locale, "--format", "table", "--out", "-"];
        let table = report(shop, &flags).run().succeeds().stdout;
        assert!(table.contains(card) && !table.contains("CREDIT_CARD"), "{table}");
        let csv =
            report(shop, &["--locale", locale, "--format", "csv", "--out", "-"]).run().succeeds().stdout;
        assert!(csv.contains(&format!(",CREDIT_CARD,{card},")), "{csv}");
    }
    shop.write(
        "batchctl.toml",
        "[report.payment_methods]\nhouse = \"社内売掛\"\nkonbini = { ja = \"コンビニ（前払い）\" }\n",
    );
    assert_eq!(
        payment_methods(shop, "ja"),
        json!([
            ["CREDIT_CARD", "クレジットカード"],
            ["KONBINI", "コンビニ（前払い）"],
            ["house", "社内売掛"],
            [null, "記載なし"]
        ])
    );
    shop.write("batchctl.toml", "[report.payment_methods]\nhouse = \"\"\n");
    report(shop, &[]).run().exits(78).says("line 2: `report.payment_methods.house` is empty");
}

fn two_codes_of_one_payment_method_are_told_apart(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    pay(shop, mall, Some("card"), 2000);
    pay(shop, mall, Some("クレジットカード"), 1000);
    assert_eq!(
        payment_methods(shop, "ja"),
        json!([["card", "クレジットカード (card)"], ["クレジットカード", "クレジットカード"]])
    );
}

fn headings_break_between_words_only(shop: &Shop) {
    // Names and figures so long that every heading has to break.
    for (code, total) in [("tokyo", 912_345_678), ("osaka", 812_345_678), ("kobe", 712_345_678)] {
        let mall = shop.mall(code, "Asia/Tokyo", "JPY");
        sell(shop, mall, 19, total);
    }
    shop.execute("UPDATE malls SET name = name || ' インターナショナルセレクトショップ' ");
    report(shop, &["--locale", "ja", "--format", "pdf", "--out", "reports"]).run().succeeds();
    let words = std::process::Command::new("pdftotext")
        .args(["-bbox", "daily-sales-2026-11-19.pdf", "-"])
        .current_dir(shop.path("reports"))
        .output()
        .expect("poppler-utils is installed");
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    let word = |text: &str| words.contains(&format!(">{text}<"));
    // Broken, but nowhere inside brackets or a word.
    assert!(word("（税込）"), "{words}");
    for fragment in ["（税", "税込）", "込）", "消費", "前日", "単", "価", "新規", "既存"] {
        assert!(!word(fragment), "{fragment} in {words}");
    }
}

fn a_csv_file_has_a_mark_where_excel_needs_it(shop: &Shop) {
    let mall = tokyo(shop);
    let starts_with_mark = |flags: &[&str]| {
        let flags = [&["--date", "2026-11-19", "--format", "csv", "--out", "reports"], flags].concat();
        report(shop, &flags).run().succeeds();
        std::fs::read(shop.path("reports/daily-sales-2026-11-19.csv")).unwrap().starts_with(b"\xEF\xBB\xBF")
    };
    assert!(!starts_with_mark(&[]), "nothing but ASCII");
    assert!(starts_with_mark(&["--locale", "ja"]), "the header");
    let tea = [Line { name: "緑茶", ..Line::default() }];
    shop.order(Order { mall, order_no: "tea", lines: &tea, ..Order::default() });
    report(shop, &["--rerun"]).run().succeeds();
    assert!(starts_with_mark(&[]), "the name of a product");
    assert!(!starts_with_mark(&["--encoding", "utf-8"]), "as asked for");
    let printed = report(shop, &["--format", "csv", "--out", "-"]).run().succeeds().stdout;
    assert!(printed.starts_with("business_day"), "a program reads it: {printed}");
    shop.write("batchctl.toml", "[report]\ncsv_bom = \"never\"\n");
    assert!(!starts_with_mark(&["--locale", "ja"]));
    shop.write("batchctl.toml", "[report]\ncsv_bom = \"always\"\n");
    assert!(starts_with_mark(&["--mall", "tokyo"]));
    shop.write("batchctl.toml", "[report]\ncsv_bom = \"sometimes\"\n");
    report(shop, &[])
        .run()
        .exits(78)
        .says("`sometimes` is not known: write \"auto\", \"always\" or \"never\"");
}

fn a_tax_that_no_order_states_is_a_dash(shop: &Shop) {
    let base = shop.mall("base", "Asia/Tokyo", "JPY");
    let own = shop.mall("own", "Asia/Tokyo", "JPY");
    for (mall, tax) in [(base, 0), (own, 90)] {
        shop.order(Order { mall, tax, ..Order::default() });
    }
    let taxes = |day: &str| {
        let document = document(shop, &["--date", day]);
        let rows = document["tables"]["malls"].as_array().unwrap().iter();
        rows.map(|row| json!([row["mall"], row["tax_amount"]])).collect::<Value>()
    };
    assert_eq!(taxes("2026-11-19"), json!([["base", null], ["own", 90]]));
    assert_eq!(taxes("2026-11-18"), json!([["base", null], ["own", 0]]), "nothing was sold, and no tax paid");
    let csv = report(shop, &["--format", "csv", "--out", "-"]).run().succeeds().stdout;
    assert!(csv.contains("2026-11-19,base,JPY,total,,,1,0,1000,0,0,,0,0,1000"), "{csv}");
    assert!(csv.contains("2026-11-19,own,JPY,total,,,1,0,1000,0,0,90,0,0,1000"), "{csv}");
    let table = report(shop, &["--format", "table", "--out", "-"]).run().succeeds().stdout;
    let row = |mall: &str| {
        let row = table.lines().find(|line| line.starts_with(mall)).unwrap();
        row.split_whitespace().nth(7).unwrap().to_owned()
    };
    assert_eq!([row("Mall "), row("base "), row("own ")], ["Tax", "–", "90"], "{table}");
    shop.execute("UPDATE orders SET tax_amount = 50 WHERE tax_amount = 0");
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(taxes("2026-11-18"), json!([["base", 0], ["own", 0]]));
}
