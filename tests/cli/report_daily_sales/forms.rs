//! The forms a report takes: which are made, where they go, and that all of them hold the same figures.

use super::report;
use crate::support::{Line, Order, Refund, Shop, on_both_databases};

on_both_databases![probe];

/// Two malls, of which one sells in two currencies, on 2026-11-19; products with names that are hard to write.
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
    let dollars = crate::support::Mall { currency: "USD", ..tokyo };
    let pen = Line { product: "P-9", name: "Pen, \"fine\"", unit_price: 1050, ..Line::default() };
    shop.order(Order { mall: dollars, order_no: "3", total: 1050, lines: &[pen], ..order });
    let kimchi =
        Line { product: "K-1", name: "김치", unit_price: 12_000, discount: 1000, ..Line::default() };
    let order = Order { mall: seoul, order_no: "4", total: 11_000, discount: 1000, ..Order::default() };
    let order = shop.order(Order { lines: &[kimchi], ..order });
    shop.refund(Refund { order, product: Some("K-1"), amount: 500, ..Refund::default() });
}

fn probe(shop: &Shop) {
    two_malls(shop);
    for arguments in [
        &["--format", "table"][..],
        &["--format", "csv"],
        &["--format", "json"],
        &["--format", "csv", "--locale", "ja"],
        &["--format", "csv", "--locale", "ko"],
        &["--format", "csv", "--encoding", "euc-kr"],
        &["--format", "pdf"],
        &["--out", "x"],
        &["--format", "csv,json"],
        &["--format", "csv", "--encoding", "shift_jis", "--out", "a"],
    ] {
        let ran = report(shop, arguments).run();
        shop.write("../probe.txt", format!("{ran:?}"));
        std::fs::write(
            format!("/tmp/probe-{:?}-{}.txt", shop.database(), arguments.join("_")),
            format!("{:?}\n{}\n---\n{}", ran.code, ran.stdout, ran.stderr),
        )
        .unwrap();
    }
    let ran = report(shop, &[]).run_on_terminal("");
    std::fs::write(format!("/tmp/probe-{:?}-screen.txt", shop.database()), ran.screen()).unwrap();
    for (l, f) in [("ja", ""), ("ko", ""), ("en", "")] {
        let ran = report(shop, &["--format", "pdf", "--out", l, "--locale", l]).run();
        std::fs::write(format!("/tmp/probe-{:?}-pdf-{l}.txt", shop.database()), format!("{:?} {f}", ran))
            .unwrap();
        let o = std::process::Command::new("pdftotext")
            .arg("-layout")
            .arg(shop.path(&format!("{l}/daily-sales-2026-11-19.pdf")))
            .arg("-")
            .output()
            .unwrap();
        std::fs::write(format!("/tmp/probe-{:?}-pdf-{l}-text.txt", shop.database()), o.stdout).unwrap();
    }
}
