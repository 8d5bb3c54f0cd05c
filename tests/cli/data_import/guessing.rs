//! `data import --guess`: the mapping that it proposes imports the file, or says what it could not tell.

use super::import;
use super::packed::{gzipped, zipped};
use crate::support::exports::{
    Export, amazon_jp, base, cafe24, color_me, ec_cube, makeshop, rakuten, shopify, woocommerce,
};
use crate::support::{Ran, Sandbox, Shop, on_both_databases};

on_both_databases![
    the_export_of_a_known_platform_is_recognised_and_imported,
    a_file_of_no_known_platform_is_mapped_by_what_its_columns_are_called,
];

/// What is proposed for a file, of which nothing is known.
fn guess(sandbox: &Sandbox, name: &str) -> Ran {
    sandbox.batchctl(["data", "import", "--guess", name]).run()
}

fn the_export_of_a_known_platform_is_recognised_and_imported(shop: &Shop) {
    let all: [(&str, [Export; 2]); 8] = [
        ("shopify", shopify::exports()),
        ("woocommerce", woocommerce::exports()),
        ("colorme", color_me::exports()),
        ("ec-cube", ec_cube::exports()),
        ("base", base::exports()),
        ("rakuten", rakuten::exports()),
        ("amazon-jp", amazon_jp::exports()),
        ("cafe24", cafe24::exports()),
    ];
    for (preset, [export, _]) in all {
        let name = format!("{preset}.csv");
        shop.write(&name, &export.file);
        let guessed = guess(shop, &name).succeeds();
        assert!(
            guessed.stdout.contains(&format!("\npreset = \"{preset}\"\n")),
            "{preset}: {}",
            guessed.stdout
        );
        assert!(guessed.stdout.contains(": all good."), "{preset}: {}", guessed.stdout);
        assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "0", "nothing is stored");
        shop.write("batchctl.toml", &guessed.stdout);
        shop.mall(export.mall, export.time_zone, export.currency);
        import(shop, &["--kind", "orders", "--mall", export.mall, &name]).run().succeeds();
        let (orders, sum) = (export.told.len(), shop.scalar("SELECT COUNT(*) FROM orders"));
        assert_eq!(sum, orders.to_string(), "{preset}");
        for table in ["data_arrivals", "refunds", "order_items", "orders", "malls"] {
            shop.execute(&format!("DELETE FROM {table}"));
        }
        shop.execute("DELETE FROM batch_execution");
    }
}

fn a_file_of_no_known_platform_is_mapped_by_what_its_columns_are_called(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let file = "注文番号;状態;注文日時;決済日時;キャンセル日時;会員番号;支払方法;商品コード;商品名;単価;数量;注文合計;備考\n\
                A-1001;支払済;2026/11/19 10:15;2026/11/19 10:16;;M-1;カード;TEA-1;煎茶;1,000;2;￥2,500;急ぎ\n\
                A-1001;;;;;;;CUP-1;湯呑;500;1;;\n\
                A-1002;キャンセル;2026/11/19 11:00;;2026/11/19 12:30;;銀行振込;TEA-1;煎茶;1,000;1;￥1,000;\n";
    let (encoded, _, _) = encoding_rs::SHIFT_JIS.encode(file);
    shop.write("orders.csv", &encoded);
    let guessed = guess(shop, "orders.csv").succeeds();
    for line in [
        "encoding = \"shift_jis\"",
        "delimiter = \";\"",
        "time_format = [\"%Y/%m/%d %H:%M\"]",
        "thousands = \",\"",
        "fill_down = true   # blank fields mean the same as on the first line of the order",
        "total_amount = \"注文合計\"",
        "\"キャンセル\" = \"ORDER_CANCELLED\"   # 1 line",
        "# not used: 備考",
        "# Tried on all 3 lines: all good.",
    ] {
        assert!(guessed.stdout.lines().any(|known| known == line), "{line} is not in:\n{}", guessed.stdout);
    }
    shop.write("batchctl.toml", &guessed.stdout);
    import(shop, &["--kind", "orders", "--mall", "main", "orders.csv"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT order_no, status, total_amount FROM orders ORDER BY order_no"),
        [["A-1001", "PAID", "2500"], ["A-1002", "ORDER_CANCELLED", "1000"]]
    );
}

#[test]
fn what_could_not_be_told_is_named() {
    let sandbox = Sandbox::new();
    let [export, _] = makeshop::exports();
    sandbox.write("makeshop.csv", &export.file);
    let guessed =
        guess(&sandbox, "makeshop.csv").exits(65).says("could not tell which columns of `makeshop.csv` are ");
    assert!(guessed.stdout.contains("order_no = \"注文番号\""), "{}", guessed.stdout);

    sandbox.write(
        "orders.csv",
        "order number,status,order date,total,sku,qty,price\n1,shipped,01/02/2026,10,A,1,10\n2,odd,02/03/2026,-10,A,1,10\n",
    );
    let guessed = guess(&sandbox, "orders.csv").succeeds();
    for doubt in [
        "# doubt: `ordered_at`: day or month first? no sampled line tells; `%d/%m/%Y` is assumed, the other is `%m/%d/%Y`",
        "# doubt: what the negative amounts of `total_amount` are",
        "# doubt: what the status `odd` means",
        "#\"odd\" = \"?\"   # 1 line: what does it mean?",
        "\"shipped\" = \"SHIPPED\"   # 1 line",
    ] {
        assert!(guessed.stdout.contains(doubt), "{doubt} is not in:\n{}", guessed.stdout);
    }
    assert!(guessed.stdout.contains("# Tried on all 2 lines: 2 are bad:"), "{}", guessed.stdout);
}

/// The sample is a file of its own, of which nobody knows the name.
#[test]
fn a_fault_of_the_file_is_told_of_it_and_not_of_its_sample() {
    let sandbox = Sandbox::new();
    let header = "order no,status,order date,total,sku,qty,price\n";
    sandbox.write("orders.csv", header.to_owned() + &"1,paid,2026-11-19,10,A,1,10\n".repeat(2001));
    let guessed = guess(&sandbox, "orders.csv").succeeds();
    let called = |name: &str| format!("failed to read `{}`: line", sandbox.path(name).display());
    let fault = format!("# Tried: {} 2002: the order has more than 2000 lines", called("orders.csv"));
    assert!(guessed.stdout.contains(&fault), "{}", guessed.stdout);
    assert!(
        guessed.stdout.contains("data import --kind orders --mall CODE --check orders.csv"),
        "{}",
        guessed.stdout
    );
    sandbox.write("wide.csv", header.to_owned() + "1,paid,2026-11-19,10,A,1,10,more\n");
    guess(&sandbox, "wide.csv").exits(65).says(&format!("{} 2: ", called("wide.csv")));
}

/// As an import reads them; two mappings would not fit into one configuration.
#[test]
fn a_packed_or_piped_file_is_looked_at_and_of_several_none() {
    let sandbox = Sandbox::new();
    let file = "order no,status,order date,total,sku,qty,price\n1,shipped,2026-01-02,10,A,1,10\n";
    let is_told = |ran: Ran, called: &str| {
        let ran = ran.succeeds();
        assert!(ran.stdout.contains("order_no = \"order no\""), "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("--check {called}\n")), "{}", ran.stdout);
    };
    sandbox.write("orders.csv.gz", gzipped(file));
    is_told(guess(&sandbox, "orders.csv.gz"), "orders.csv.gz");
    is_told(sandbox.batchctl(["data", "import", "--guess", "-"]).stdin(file).run(), "-");
    sandbox.write("orders.zip", zipped(&[("1.csv", file), ("2 b.csv", "x\n")]));
    guess(&sandbox, "orders.zip")
        .exits(2)
        .says("--guess looks at one file, and 2 were named")
        .says("add --member NAME, such as `1.csv`");
    let of_member = sandbox.batchctl(["data", "import", "--guess", "--member", "1.csv", "orders.zip"]).run();
    is_told(of_member, "--member 1.csv orders.zip");
    sandbox.batchctl(["data", "import", "--guess", "orders.csv.gz", "-"]).stdin(file).run().exits(2);
}

/// What a file is called and what is in it may be anything; what is printed goes into a configuration.
#[test]
fn nothing_of_a_hostile_file_gets_out_of_its_quotes_or_comments() {
    let sandbox = Sandbox::new();
    let file = "order no,status,order date,total,sku,qty,price,\"evil\n[database]\u{1b}[31m\"\n1,\"x\"\"\ny = 1\",2026-01-02,10,A,1,10,\n";
    sandbox.write("orders.csv", file);
    let guessed = guess(&sandbox, "orders.csv").succeeds();
    let parsed: toml::Table = guessed.stdout.parse().expect("it is TOML");
    assert_eq!(parsed.keys().collect::<Vec<_>>(), ["import"]);
    assert!(!guessed.stdout.contains('\u{1b}'), "{:?}", guessed.stdout);
}

#[test]
fn what_is_no_table_is_refused_as_by_an_import() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.csv", "");
    guess(&sandbox, "empty.csv").exits(65).says("is empty: it has no header");
    sandbox.write("book.xlsx", b"PK\x03\x04rest");
    guess(&sandbox, "book.xlsx").exits(65);
    sandbox.write("binary.csv", [0xff, 0xfe, 0x00, 0x41, 0x00]);
    guess(&sandbox, "binary.csv").exits(65);
    guess(&sandbox, "missing.csv").exits(65).says("it does not exist");
}
