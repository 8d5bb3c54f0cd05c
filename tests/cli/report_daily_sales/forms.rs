//! The formats of a report: which are written, where to, and that all of them contain the same figures.

use std::io::Cursor;
use std::process::Command;

use calamine::{Data, Reader, Xlsx};
use chrono::{Days, NaiveDate};
use encoding_rs::{EUC_KR, SHIFT_JIS};
use serde_json::{Value, json};

use super::{report, runs, sorted, stored};
use crate::support::{Database, Line, Mall, Order, Refund, Shop, on_both_databases};

on_both_databases![
    nothing_is_shown_without_a_terminal,
    the_table_is_shown_on_a_terminal,
    data_on_a_terminal_does_not_control_it,
    csv_is_written_correctly,
    csv_contains_the_figures,
    json_contains_the_figures,
    a_workbook_contains_the_figures,
    days_have_totals_in_json,
    csv_is_written_in_each_encoding,
    a_character_that_an_encoding_lacks_is_named_and_no_file_is_left,
    formulas_are_defused_in_csv,
    labels_are_in_the_language_asked_for,
    a_pdf_shows_japanese_and_korean,
    several_formats_are_written_to_one_folder,
    one_format_is_written_to_stdout,
    a_stdout_that_takes_nothing_is_a_failure_that_keeps_the_figures,
    files_are_replaced_as_a_whole,
    a_format_without_a_destination_is_wrong_usage,
    a_folder_that_is_not_writable_is_refused_before_anything_is_computed,
    a_partial_report_is_written_with_the_malls_it_has,
    a_custom_style_is_used,
    a_mistake_in_a_style_is_named_with_its_line,
    a_missing_style_is_bad_configuration,
    a_pdf_that_cannot_be_drawn_stops_no_other_format,
    a_character_that_no_font_has_is_a_warning,
];

/// Two malls on 2026-11-19, one of which sells in two currencies, with product names that are hard to write.
fn two_malls(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let seoul = shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.execute("UPDATE malls SET name = '東京本店' WHERE code = 'tokyo'");
    shop.execute("UPDATE malls SET name = '서울몰' WHERE code = 'seoul'");
    let tea = Line { product: "T-1", name: "緑茶、粉末", unit_price: 1500, tax: 136, ..Line::default() };
    let trap = Line { product: "=1+1", name: "@SUM(A1:A9)", quantity: 2, unit_price: 250, ..Line::default() };
    let order = Order { mall: tokyo, member: Some("M1"), ..Order::default() };
    shop.order(Order { total: 2300, shipping: 300, tax: 163, lines: &[tea, trap], ..order });
    shop.order(Order { order_no: "2", total: 1500, tax: 136, payment_method: None, lines: &[tea], ..order });
    let pen = Line { product: "P-9", name: "Pen, \"fine\"", unit_price: 1050, ..Line::default() };
    let dollars = Mall { currency: "USD", ..tokyo };
    shop.order(Order { mall: dollars, order_no: "3", total: 1050, lines: &[pen], ..order });
    let kimchi =
        Line { product: "K-1", name: "김치", unit_price: 12_000, discount: 1000, ..Line::default() };
    let order = Order { mall: seoul, order_no: "4", total: 11_000, discount: 1000, ..Order::default() };
    let order = shop.order(Order { lines: &[kimchi], ..order });
    shop.refund(Refund { order, product: Some("K-1"), amount: 500, ..Refund::default() });
}

/// The measures of every row, in the order of the columns.
const MEASURES: [&str; 12] = [
    "orders",
    "items",
    "gross_amount",
    "discount_amount",
    "shipping_amount",
    "tax_amount",
    "cancelled_orders",
    "refunded_amount",
    "net_amount",
    "average_order_amount",
    "new_customers",
    "returning_customers",
];

/// What every format has to contain: mall, currency, table, key and [`MEASURES`] in minor units.
const FIGURES: [&str; 12] = [
    "seoul KRW malls - 1 1 11000 1000 0 – 0 500 10500 11000 – –",
    "tokyo JPY malls - 2 4 3800 0 300 299 0 0 3800 1900 1 0",
    "tokyo USD malls - 1 1 1050 0 0 0 0 0 1050 1050 1 0",
    "seoul KRW products K-1 1 1 11000 1000 0 – 0 500 10500 11000 – –",
    "tokyo JPY products T-1 2 2 3000 0 0 272 0 0 3000 1500 1 0",
    "tokyo JPY products =1+1 1 2 500 0 0 0 0 0 500 500 1 0",
    "tokyo JPY products - 0 0 300 0 300 27 0 0 300 0 0 0",
    "tokyo USD products P-9 1 1 1050 0 0 0 0 0 1050 1050 1 0",
    "seoul KRW payment_methods card 1 1 11000 1000 0 – 0 500 10500 11000 – –",
    "tokyo JPY payment_methods card 1 3 2300 0 300 163 0 0 2300 2300 1 0",
    "tokyo JPY payment_methods - 1 1 1500 0 0 136 0 0 1500 1500 1 0",
    "tokyo USD payment_methods card 1 1 1050 0 0 0 0 0 1050 1050 1 0",
];

/// A row in the form of [`FIGURES`], from texts in major units.
fn figures_of(mall: &str, currency: &str, table: &str, key: &str, measures: &[String]) -> String {
    let minor = |(name, text): (&&str, &String)| {
        if text.is_empty() {
            // None of the mall's orders names a customer.
            return "–".to_owned();
        }
        let number: f64 = text.parse().unwrap_or_else(|error| panic!("{name} `{text}`: {error}"));
        let is_cents = currency == "USD" && name.ends_with("_amount");
        if is_cents { format!("{:.0}", number * 100.0) } else { format!("{number}") }
    };
    let measures: Vec<String> = MEASURES.iter().zip(measures).map(minor).collect();
    let key = if key.is_empty() || key == "not stated" { "-" } else { key };
    format!("{mall} {currency} {table} {key} {}", measures.join(" "))
}

/// Writes the report of the 19th to `reports` and returns the file's bytes.
#[track_caller]
fn file(shop: &Shop, format: &str, arguments: &[&str]) -> Vec<u8> {
    let arguments = [&["--format", format, "--out", "reports"][..], arguments].concat();
    report(shop, &arguments).run().succeeds().is_silent();
    std::fs::read(shop.path(&format!("reports/daily-sales-2026-11-19.{format}"))).unwrap()
}

/// The text of a PDF, as a person would copy it.
#[track_caller]
fn text_of_pdf(shop: &Shop, path: &str) -> String {
    let ran = Command::new("pdftotext").arg("-layout").arg(shop.path(path)).arg("-").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The names of the files in `reports`, or none if there is no such folder.
fn files(shop: &Shop) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(shop.path("reports")) else { return Vec::new() };
    sorted(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
}

// ---------------------------------------------------------------- the table

fn nothing_is_shown_without_a_terminal(shop: &Shop) {
    two_malls(shop);
    report(shop, &[]).run().succeeds().is_silent();
    let table = report(shop, &["--format", "table"]).run().succeeds();
    assert!(table.stdout.starts_with("Daily sales report\nBusiness day  2026-11-19\n"), "{}", table.stdout);
    assert_eq!(table.stderr, "");
}

fn the_table_is_shown_on_a_terminal(shop: &Shop) {
    two_malls(shop);
    let screen = report(shop, &["--mall", "seoul"]).run_on_terminal("").succeeds().screen();
    let table = screen.split_once('\n').unwrap().1;
    // A table that does not fit into 100 characters is transposed.
    assert_eq!(
        table.split_once("\nA sale counts").unwrap().0,
        "Daily sales report
Business day  2026-11-19
Malls         서울몰 (Asia/Seoul, KRW)
Computed      2026-11-20 01:00 JST

Sales by mall
Mall           서울몰
─────────────────────
Currency          KRW
Orders              1
Items               1
Gross          11,000
Discounts       1,000
Shipping            0
Tax                 –
Cancelled           0
Refunded          500
Net            10,500
Day before          –
Week before         –
Average order  11,000
New customers       –
Returning           –
Status          final

Sales by product: 서울몰 (KRW)
Product  Name  Orders  Items  Gross (KRW)  Cancelled  Refunded (KRW)  Net (KRW)
───────────────────────────────────────────────────────────────────────────────
K-1      김치       1      1       11,000          0             500     10,500

Sales by payment method: 서울몰 (KRW)
Payment method  Orders  Items  Gross (KRW)  Cancelled  Refunded (KRW)  Net (KRW)
────────────────────────────────────────────────────────────────────────────────
Credit card          1      1       11,000          0             500     10,500
"
    );
}

// ---------------------------------------------------------------- the same figures in each format

fn data_on_a_terminal_does_not_control_it(shop: &Shop) {
    two_malls(shop);
    let char = if shop.database() == Database::Sqlite { "char" } else { "chr" };
    let hostile = format!("'red ' || {char}(27) || '[31m ' || {char}(8238) || ' tea'");
    shop.execute(&format!("UPDATE order_items SET product_name = {hostile}"));
    for format in ["csv", "json"] {
        let command = ["--format", format, "--out", "-"];
        let shown = report(shop, &command).run_on_terminal("").succeeds().stdout;
        assert!(!shown.contains("\u{1b}[31m") && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.contains("tea"), "{shown}");
        let piped = report(shop, &command).run().succeeds().stdout;
        assert!(piped.contains('\u{202e}'), "a program gets what the shop has: {piped}");
    }
}

fn csv_is_written_correctly(shop: &Shop) {
    two_malls(shop);
    let ran = report(shop, &["--format", "csv", "--mall", "tokyo"]).run().succeeds();
    let lines = [
        "business_day,mall,currency,breakdown,key,name,orders,items,gross_amount,discount_amount,shipping_amount,\
         tax_amount,cancelled_orders,refunded_amount,net_amount,average_order_amount,new_customers,\
         returning_customers,is_final,is_outdated,mall_name",
        "2026-11-19,tokyo,JPY,total,,,2,4,3800,0,300,299,0,0,3800,1900,1,0,true,false,東京本店",
        "2026-11-19,tokyo,USD,total,,,1,1,10.50,0.00,0.00,0.00,0,0.00,10.50,10.50,1,0,true,false,東京本店",
        "2026-11-19,tokyo,JPY,product,T-1,緑茶、粉末,2,2,3000,0,0,272,0,0,3000,1500,1,0,,false,東京本店",
        "2026-11-19,tokyo,JPY,product,'=1+1,'@SUM(A1:A9),1,2,500,0,0,0,0,0,500,500,1,0,,false,東京本店",
        "2026-11-19,tokyo,JPY,product,,\"(shipping, added tax, order discounts, refunds of whole orders)\",0,0,300,0,300,27,0,0,300,0,0,0,,false,東京本店",
        "2026-11-19,tokyo,USD,product,P-9,\"Pen, \"\"fine\"\"\",1,1,10.50,0.00,0.00,0.00,0,0.00,10.50,10.50,1,0,,false,東京本店",
        "2026-11-19,tokyo,JPY,payment_method,card,Credit card,1,3,2300,0,300,163,0,0,2300,2300,1,0,,false,東京本店",
        "2026-11-19,tokyo,JPY,payment_method,,,1,1,1500,0,0,136,0,0,1500,1500,1,0,,false,東京本店",
        "2026-11-19,tokyo,USD,payment_method,card,Credit card,1,1,10.50,0.00,0.00,0.00,0,0.00,10.50,10.50,1,0,,false,東京本店",
    ];
    assert_eq!(ran.stdout, lines.join("\r\n") + "\r\n");
}

fn csv_contains_the_figures(shop: &Shop) {
    two_malls(shop);
    let bytes = file(shop, "csv", &[]);
    let mut rows = csv::Reader::from_reader(bytes.as_slice());
    let figures = rows.records().map(|record| {
        let record: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        assert_eq!(record[0], "2026-11-19");
        let table = match record[3].as_str() {
            "total" => "malls",
            "product" => "products",
            "payment_method" => "payment_methods",
            other => panic!("{other}"),
        };
        figures_of(&record[1], &record[2], table, record[4].trim_start_matches('\''), &record[6..18])
    });
    assert_eq!(figures.collect::<Vec<_>>(), FIGURES);
}

/// The figures of a JSON document, which has minor units already.
fn figures_of_json(document: &Value) -> Vec<String> {
    let mut figures = Vec::new();
    for (table, key) in [("malls", "none"), ("products", "product"), ("payment_methods", "payment_method")] {
        for row in document["tables"][table].as_array().unwrap() {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            let key = if matches!(text(key), "" | "not stated") { "-" } else { text(key) };
            let measures = MEASURES
                .map(|measure| {
                    row[measure].as_i64().map_or_else(|| "–".to_owned(), |value| value.to_string())
                })
                .join(" ");
            figures.push(format!("{} {} {table} {key} {measures}", text("mall"), text("currency")));
        }
    }
    figures
}

fn json_contains_the_figures(shop: &Shop) {
    two_malls(shop);
    let document: Value = serde_json::from_slice(&file(shop, "json", &[])).unwrap();
    assert_eq!(figures_of_json(&document), FIGURES);
    assert_eq!(document["name"], json!("daily-sales-2026-11-19"));
    assert_eq!(document["money_unit"], json!("minor"));
    let names = document["tables"]["products"].as_array().unwrap().iter().map(|row| row["name"].clone());
    let whole = "(shipping, added tax, order discounts, refunds of whole orders)";
    assert_eq!(
        names.collect::<Value>(),
        json!(["김치", "緑茶、粉末", "@SUM(A1:A9)", whole, "Pen, \"fine\""])
    );
}

fn a_workbook_contains_the_figures(shop: &Shop) {
    two_malls(shop);
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(file(shop, "xlsx", &[]))).unwrap();
    let sheets = ["Summary", "Sales by mall", "Sales by product", "Sales by payment method", "Chart data"];
    assert_eq!(workbook.sheet_names(), sheets);
    let mut figures = Vec::new();
    for (sheet, table, first) in [(1, "malls", 3), (2, "products", 4), (3, "payment_methods", 3)] {
        let cells = workbook.worksheet_range(sheets[sheet]).unwrap();
        for row in cells.rows().skip(1) {
            let mut texts: Vec<String> = row.iter().map(cell_text).collect();
            if table == "malls" {
                // The changes since the day and the week before.
                texts.drain(12..14);
            }
            let (mall, currency, key) = match table {
                "malls" => (&texts[1], &texts[2], ""),
                _ => (&texts[0], &texts[1], texts[2].as_str()),
            };
            // People read names.
            let mall = if mall == "東京本店" { "tokyo" } else { "seoul" };
            let key = if key == "Credit card" { "card" } else { key };
            figures.push(figures_of(mall, currency, table, key, &texts[first..first + 12]));
        }
    }
    assert_eq!(figures, FIGURES);
    let day = workbook.worksheet_range("Sales by mall").unwrap().get((1, 0)).map(cell_text);
    assert_eq!(day.as_deref(), Some("2026-11-19"));
}

fn cell_text(cell: &Data) -> String {
    match cell {
        Data::DateTime(day) => {
            // Excel counts the days from here.
            let start = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();
            let days: u64 = format!("{:.0}", day.as_f64()).parse().unwrap();
            (start + Days::new(days)).to_string()
        }
        cell => cell.to_string(),
    }
}

fn days_have_totals_in_json(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for (order_no, paid_at, total) in [
        ("1", "2026-11-18T12:00:00+09:00", 1000),
        ("2", "2026-11-19T12:00:00+09:00", 1),
        ("3", "2026-11-19T13:00:00+09:00", 500),
    ] {
        shop.order(Order { mall, order_no, total, paid_at: Some(paid_at), ..Order::default() });
    }
    let days = ["--from", "2026-11-18", "--to", "2026-11-19", "--format", "json"];
    let document: Value = serde_json::from_str(&report(shop, &days).run().succeeds().stdout).unwrap();
    assert_eq!(document["name"], json!("daily-sales-2026-11-18_2026-11-19"));
    let rows = document["tables"]["malls"].as_array().unwrap().iter().map(|row| {
        json!([row["business_day"], row["orders"], row["gross_amount"], row["average_order_amount"]])
    });
    assert_eq!(
        rows.collect::<Value>(),
        json!([["2026-11-18", 1, 1000, 1000], ["2026-11-19", 2, 501, 251], [null, 3, 1501, 500]])
    );
}

// ---------------------------------------------------------------- CSV

fn csv_is_written_in_each_encoding(shop: &Shop) {
    two_malls(shop);
    let encoded = |mall: &str, encoding: &str| file(shop, "csv", &["--mall", mall, "--encoding", encoding]);
    let (tokyo, seoul) = (encoded("tokyo", "utf-8"), encoded("seoul", "utf-8"));
    let (tokyo, seoul) = (String::from_utf8(tokyo).unwrap(), String::from_utf8(seoul).unwrap());
    assert!(tokyo.contains(",緑茶、粉末,") && seoul.contains(",김치,"), "{tokyo}{seoul}");
    assert_eq!(encoded("tokyo", "utf-8-bom"), [b"\xEF\xBB\xBF", tokyo.as_bytes()].concat());
    let shift_jis = encoded("tokyo", "shift_jis");
    assert_ne!(shift_jis, tokyo.as_bytes());
    assert_eq!(SHIFT_JIS.decode(&shift_jis), (tokyo.into(), SHIFT_JIS, false));
    let euc_kr = encoded("seoul", "euc-kr");
    assert_ne!(euc_kr, seoul.as_bytes());
    assert_eq!(EUC_KR.decode(&euc_kr), (seoul.into(), EUC_KR, false));
}

fn a_character_that_an_encoding_lacks_is_named_and_no_file_is_left(shop: &Shop) {
    two_malls(shop);
    for (encoding, column, character) in
        [("shift_jis", "mall_name", "`서` (U+C11C)"), ("euc-kr", "name", "`緑` (U+7DD1)")]
    {
        report(shop, &["--format", "csv", "--encoding", encoding, "--out", "reports"])
            .run()
            .exits(1)
            .says("failed to write `daily-sales-2026-11-19.csv`: failed to write row ")
            .says(&format!(
                ", column `{column}` of table `daily_sales`: {character} does not exist in {encoding}\n"
            ));
        assert_eq!(files(shop), [""; 0]);
    }
    // The figures are computed, and the failures have their own rows.
    assert_eq!(runs(shop), ["2026-11-19 1 COMPLETED 0", " 1 FAILED 1", " 2 FAILED 1"]);
}

fn formulas_are_defused_in_csv(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let names = ["=cmd|'/C calc'!A0", "+1", "-1", "@x", "\t=1", "＝1", "  =1", "1=1"];
    let codes: Vec<String> = (0..names.len()).map(|number| format!("N{number}")).collect();
    let lines: Vec<Line> =
        codes.iter().zip(names).map(|(product, name)| Line { product, name, ..Line::default() }).collect();
    shop.order(Order { mall, total: 8000, lines: &lines, ..Order::default() });
    let bytes = file(shop, "csv", &[]);
    let mut rows = csv::Reader::from_reader(bytes.as_slice());
    let rows = rows.records().map(|record| record.unwrap()).filter(|record| &record[3] == "product");
    let written: Vec<String> = rows.map(|record| record[5].to_owned()).collect();
    let expected = names.map(|name| if name == "1=1" { name.to_owned() } else { format!("'{name}") });
    assert_eq!(written, expected);
}

// ---------------------------------------------------------------- languages

fn labels_are_in_the_language_asked_for(shop: &Shop) {
    two_malls(shop);
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let header = |locale: &str| {
        first_line(report(shop, &["--format", "csv", "--locale", locale]).run().succeeds().stdout)
    };
    let title = |locale: &str| {
        first_line(report(shop, &["--format", "table", "--locale", locale]).run().succeeds().stdout)
    };
    assert!(header("en").starts_with("business_day,mall,currency,breakdown,key,name,orders,"));
    assert_eq!(
        header("ja"),
        "対象日,店舗,通貨,区分,コード,名称,注文件数,販売点数,総売上（税込）,値引額,送料,消費税,キャンセル件数,返金額,\
         純売上（税込）,平均注文単価,新規顧客,既存顧客,確定,以前の数値,店舗名"
    );
    assert_eq!(
        header("ko"),
        "기준일,쇼핑몰,통화,구분,코드,이름,주문 건수,판매 수량,총매출,할인액,배송비,부가세,취소 건수,환불액,순매출,평균 주문액,\
         신규 고객,재구매 고객,확정,이전 수치,쇼핑몰 이름"
    );
    assert_eq!(["en", "ja", "ko"].map(title), ["Daily sales report", "日次売上レポート", "일일 매출 보고서"]);
    // The configured language, unless the command overrides it.
    let configured = |arguments: &[&str]| {
        let arguments = [&["--format", "table"], arguments].concat();
        first_line(report(shop, &arguments).env("BATCHCTL_LOCALE", "ko").run().succeeds().stdout)
    };
    assert_eq!([configured(&[]), configured(&["--locale", "ja"])], ["일일 매출 보고서", "日次売上レポート"]);
}

fn a_pdf_shows_japanese_and_korean(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\nsystem_fonts = false\n");
    let words = ["東京本店", "서울몰", "緑茶、粉末", "김치", "@SUM(A1:A9)", "11,000", "10.50"];
    let labels = [
        (
            "ja",
            [
                "日次売上レポート",
                "商品別売上",
                "支払方法",
                "純売上（税込、直近30日間）",
                "（送料・外税・注文値引・注文単位の返金）",
            ],
        ),
        (
            "ko",
            [
                "일일 매출 보고서",
                "상품별 매출",
                "결제 수단",
                "순매출(최근 30일)",
                "(배송비·별도 세금·주문 할인·주문 단위 환불)",
            ],
        ),
    ];
    for (locale, labels) in labels {
        assert!(file(shop, "pdf", &["--locale", locale]).starts_with(b"%PDF-"));
        let text = text_of_pdf(shop, "reports/daily-sales-2026-11-19.pdf");
        for word in words.into_iter().chain(labels) {
            assert!(text.contains(word), "no {word} in:\n{text}");
        }
    }
}

// ---------------------------------------------------------------- places

fn several_formats_are_written_to_one_folder(shop: &Shop) {
    two_malls(shop);
    let formats = ["--format", "table,csv", "--format", "xlsx,json,pdf", "--out", "reports"];
    report(shop, &[&formats[..], &["--verbose"]].concat())
        .run()
        .succeeds()
        .says("/reports/daily-sales-2026-11-19.pdf\n");
    assert_eq!(
        files(shop),
        ["csv", "json", "pdf", "txt", "xlsx"].map(|kind| format!("daily-sales-2026-11-19.{kind}"))
    );
}

fn one_format_is_written_to_stdout(shop: &Shop) {
    two_malls(shop);
    let json = report(shop, &["--format", "json", "--out", "-"]).run().succeeds();
    assert_eq!(figures_of_json(&serde_json::from_str(&json.stdout).unwrap()), FIGURES);
    let pdf = report(shop, &["--format", "pdf", "--out", "-"]).run().succeeds();
    assert!(pdf.stdout.starts_with("%PDF-"));
    assert!(!shop.path("-").exists());
}

fn a_stdout_that_takes_nothing_is_a_failure_that_keeps_the_figures(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall, ..Order::default() });
    let csv = ["--format", "csv", "--out", "-", "--rerun"];
    for (run, stdout, cause, first, once) in [
        (2, ">&-", "it is closed", "correct that", "once that is corrected"),
        (4, ">/dev/full", "No space left on device", "make room there", "once there is room"),
    ] {
        let ran = report(shop, &csv).through_shell(&format!("exec \"$@\" {stdout}")).run().exits(1);
        assert_eq!(
            ran.stderr,
            format!(
                "error: report daily-sales failed (run {run}, exit 1): failed to deliver `report daily-sales`: failed to \
                 write to stdout: {cause}\n  \
                 data:  the results are stored; only their delivery failed, and a retry repeats that alone\n  \
                 hint: the figures are stored: {first}, then run the same command without --rerun to write them\n  \
                 retry: {}  # {once}\n",
                shop.command("dev", &format!("runs retry {run}"))
            )
        );
        assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 1 1000 1000"]);
    }
    assert_eq!(runs(shop)[..2], ["2026-11-19 1 COMPLETED 0", " 1 FAILED 1"]);
    let open = "SELECT COUNT(*) FROM batch_execution WHERE status = 'FAILED' AND settled_by IS NULL";
    assert_eq!(shop.scalar(open), "2");
    report(shop, &csv).through_shell("exec \"$@\" >/dev/null").run().succeeds().is_silent();
    // That was the same command as those that could not deliver.
    assert_eq!(shop.scalar(open), "0");
    let before = shop.dump();
    let written = report(shop, &csv[..4]).run().succeeds();
    assert!(written.stdout.contains("2026-11-19,tokyo,JPY,total"), "{written:?}");
    assert_eq!(shop.dump(), before);
}

fn files_are_replaced_as_a_whole(shop: &Shop) {
    two_malls(shop);
    shop.write("reports/daily-sales-2026-11-19.csv", "x".repeat(100_000));
    shop.write("reports/other.csv", "theirs");
    let bytes = file(shop, "csv", &[]);
    let shown = report(shop, &["--format", "csv"]).run().succeeds().stdout.into_bytes();
    assert_eq!(bytes, [b"\xEF\xBB\xBF", shown.as_slice()].concat());
    assert_eq!(files(shop), ["daily-sales-2026-11-19.csv", "other.csv"]);
    assert_eq!(shop.read("reports/other.csv"), "theirs");
}

fn a_format_without_a_destination_is_wrong_usage(shop: &Shop) {
    two_malls(shop);
    let before = shop.dump();
    let place = "add --out DIR, or --out - with a redirection";
    let folder = "name a folder: --out reports";
    let cases: [(&[&str], &str, &str); 6] = [
        (&["--out", "reports"], "--out requires --format", "add --format csv,xlsx,pdf,json or one of them"),
        (&["--out", "-"], "--out requires --format", "add --format csv,xlsx,pdf,json or one of them"),
        (&["--format", "pdf"], "--format pdf requires --out", place),
        (&["--format", "xlsx"], "--format xlsx requires --out", place),
        (&["--format", "csv,json"], "only one format can be written to stdout", folder),
        (&["--format", "csv,json", "--out", "-"], "only one format can be written to stdout", folder),
    ];
    for (arguments, message, hint) in cases {
        let ran = report(shop, arguments).run().exits(2);
        assert_eq!(ran.stderr, format!("error: {message}\n  hint: {hint}\n"));
    }
    report(shop, &["--format", "doc"]).run().exits(2).says("possible values: table, csv, xlsx, pdf, json");
    report(shop, &["--format", "csv", "--encoding", "latin1"]).run().exits(2).says("shift_jis");
    report(shop, &["--format", "csv", "--locale", "fr"]).run().exits(2).says("possible values: en, ja, ko");
    report(shop, &["--format", "pdf", "--out", "-"]).run_on_terminal("").exits(2);
    assert_eq!(shop.dump(), before);
    assert_eq!(files(shop), [""; 0]);
}

fn a_folder_that_is_not_writable_is_refused_before_anything_is_computed(shop: &Shop) {
    two_malls(shop);
    shop.write("reports.zip", "a file");
    let out = shop.path("reports.zip/november");
    for out in ["reports.zip/november", "reports.zip"] {
        let ran = report(shop, &["--format", "csv,pdf", "--out", out]).run().exits(1);
        let place = [shop.path(out), shop.path("reports.zip")].map(|path| path.display().to_string());
        ran.says(&format!(
            "exit 1): failed to write to the folder `{}`: `{}` is a file\n  data:  nothing was changed\n",
            place[0], place[1]
        ));
    }
    assert!(!out.exists());
    assert_eq!(stored(shop), [""; 0]);
    assert_eq!(runs(shop), [" 1 FAILED 1", " 2 FAILED 1"]);
}

fn a_partial_report_is_written_with_the_malls_it_has(shop: &Shop) {
    two_malls(shop);
    shop.mall("osaka", "Asia/Oosaka", "JPY");
    report(shop, &["--format", "json", "--out", "reports"]).run().exits(3);
    let document = serde_json::from_str(&shop.read("reports/daily-sales-2026-11-19.json")).unwrap();
    assert_eq!(figures_of_json(&document), FIGURES);
}

// ---------------------------------------------------------------- the look of a PDF, and its fonts

fn a_custom_style_is_used(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\ntemplate_dir = \"our style\"\n");
    shop.write(
        "our style/style.toml",
        "[header]\nleft = { en = \"Not this\", ja = \"株式会社テスト\" }\n\n[footer]\nright = \"p. {page} of {pages}\"\n",
    );
    file(shop, "pdf", &["--locale", "ja"]);
    let text = text_of_pdf(shop, "reports/daily-sales-2026-11-19.pdf");
    assert!(text.contains("株式会社テスト") && !text.contains("Not this"), "{text}");
    assert!(text.contains("p. 1 of ") && text.contains("日次売上レポート"), "{text}");
}

fn a_mistake_in_a_style_is_named_with_its_line(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\ntemplate_dir = \"styles\"\n");
    shop.write("styles/style.toml", "[page]\n\nsize = \"a9\"\n");
    let style = shop.path("styles/style.toml");
    let ran = report(shop, &["--format", "pdf", "--out", "reports"]).run().exits(65);
    let place = format!(": {} line 3: `page.size`: unknown variant `a9`", style.display());
    assert!(ran.stderr.contains(&place), "{}", ran.stderr);
    assert_eq!(files(shop), [""; 0]);
}

fn a_missing_style_is_bad_configuration(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\ntemplate_dir = \"styles\"\n");
    report(shop, &["--format", "pdf", "--out", "reports"])
        .run()
        .exits(78)
        .says("/styles` has no `style.toml`\n  data:  the results are stored; only their delivery failed")
        .says(&format!("hint: correct pdf.template_dir in {}\n", shop.path("batchctl.toml").display()));
    assert_eq!(files(shop), [""; 0]);
}

fn a_pdf_that_cannot_be_drawn_stops_no_other_format(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\nfont_dirs = [\"no such folder\"]\n");
    report(shop, &["--format", "csv,pdf,xlsx", "--out", "reports"])
        .run()
        .exits(78)
        .says("failed to write document `daily-sales-2026-11-19` as PDF: the font folder `");
    assert_eq!(files(shop), ["csv", "xlsx"].map(|kind| format!("daily-sales-2026-11-19.{kind}")));
    // Once the cause is gone, the same command creates what was missing.
    shop.write("batchctl.toml", "");
    report(shop, &["--format", "csv,pdf,xlsx", "--out", "reports"]).run().succeeds();
    assert_eq!(files(shop).len(), 3);
}

fn a_character_that_no_font_has_is_a_warning(shop: &Shop) {
    two_malls(shop);
    shop.write("batchctl.toml", "[pdf]\nsystem_fonts = false\n");
    shop.execute("UPDATE malls SET name = 'ร้าน' WHERE code = 'seoul'");
    report(shop, &["--verbose", "--format", "pdf", "--out", "reports"]).run().succeeds().says(
        "warning: daily-sales-2026-11-19.pdf: no font has `น` (U+0E19), `ร` (U+0E23), `า` (U+0E32), `้` (U+0E49), drawn \
         as an empty square: install a font that has them, or name its folder in pdf.font_dirs of batchctl.toml\n",
    );
    // What cannot be seen can still be copied.
    assert!(text_of_pdf(shop, "reports/daily-sales-2026-11-19.pdf").contains("ร้าน"));
}
