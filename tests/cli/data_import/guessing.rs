//! `data import --guess`: the mapping that it proposes imports the file, or says what it could not tell.

use super::import;
use super::packed::{gzipped, zipped};
use crate::support::exports::{
    Export, amazon_jp, base, cafe24, color_me, ec_cube, makeshop, rakuten, shopify, woocommerce,
};
use crate::support::{Ran, Sandbox, Shop, on_both_databases};

on_both_databases![
    the_export_of_a_known_platform_is_recognised_and_imported,
    a_copy_of_an_export_in_another_encoding_is_imported,
    a_file_of_no_known_platform_is_mapped_by_what_its_columns_are_called,
    amounts_are_read_in_the_way_in_which_they_add_up,
];

/// What is proposed for a file, of which nothing is known.
fn guess(sandbox: &Sandbox, name: &str) -> Ran {
    sandbox.batchctl(["data", "import", "--guess", name]).run()
}

fn the_export_of_a_known_platform_is_recognised_and_imported(shop: &Shop) {
    let all: [(&str, [Export; 2]); 9] = [
        ("shopify", shopify::exports()),
        ("woocommerce", woocommerce::exports()),
        ("colorme", color_me::exports()),
        ("ec-cube", ec_cube::exports()),
        ("base", base::exports()),
        ("rakuten", rakuten::exports()),
        ("amazon-jp", amazon_jp::exports()),
        ("cafe24", cafe24::exports()),
        // The shop's own template: what it has beside the platform's columns goes by its names.
        ("makeshop", makeshop::exports()),
    ];
    for (preset, [export, _]) in all {
        let guessed = guessed_and_imported(shop, preset, &export, &export.file);
        assert!(!guessed.contains("doubt: what the status"), "{preset}: {guessed}");
    }
}

/// A shop's export that somebody saved in another encoding.
fn a_copy_of_an_export_in_another_encoding_is_imported(shop: &Shop) {
    for (preset, [export, _]) in
        [("colorme", color_me::exports()), ("rakuten", rakuten::exports()), ("base", base::exports())]
    {
        let (text, ..) = encoding_rs::SHIFT_JIS.decode(&export.file);
        let guessed = guessed_and_imported(shop, preset, &export, text.as_bytes());
        assert!(guessed.contains("encoding = \"utf-8\"\npreset"), "{preset}: {guessed}");
    }
}

/// What is proposed for the export of a platform, which it then imports.
fn guessed_and_imported(shop: &Shop, preset: &str, export: &Export, file: &[u8]) -> String {
    let name = format!("{preset}.csv");
    shop.write(&name, file);
    let guessed = guess(shop, &name).succeeds().stdout;
    assert!(guessed.contains(&format!("\npreset = \"{preset}\"\n")), "{preset}: {guessed}");
    assert!(guessed.contains(": all good."), "{preset}: {guessed}");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "0", "nothing is stored");
    shop.write("batchctl.toml", &guessed);
    shop.mall(export.mall, export.time_zone, export.currency);
    import(shop, &["--kind", "orders", "--mall", export.mall, &name]).run().succeeds();
    let (orders, sum) = (export.told.len(), shop.scalar("SELECT COUNT(*) FROM orders"));
    assert_eq!(sum, orders.to_string(), "{preset}");
    for table in ["data_arrivals", "refunds", "order_items", "orders", "malls"] {
        shop.execute(&format!("DELETE FROM {table}"));
    }
    shop.execute("DELETE FROM batch_execution");
    guessed
}

/// Two shops whose columns have the same names and mean something else, so that names alone would make the money wrong.
fn amounts_are_read_in_the_way_in_which_they_add_up(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let japanese = "注文番号,注文日時,入金日時,ステータス,商品コード,単価,数量,小計,送料,ポイント利用額,合計金額,請求金額\n\
                    A1,2026/11/03 10:00,2026/11/03 10:00,入金済,T,1000,2,2500,500,300,3000,2700\n\
                    A1,2026/11/03 10:00,2026/11/03 10:00,入金済,C,500,1,2500,500,300,3000,2700\n\
                    A2,2026/11/03 10:00,2026/11/03 10:00,入金済,C,500,1,500,500,0,1000,1000\n";
    let english = "Order ID,Date,Paid At,Status,Financial Status,SKU,Qty,Price,Total,Shipping,Order Total,Amount Refunded\n\
                   B1,2026-11-13 10:00,2026-11-13 10:00,Shipped,refunded,A,3,3000,3000,500,3500,3500\n\
                   B2,2026-11-13 10:00,2026-11-13 10:00,Shipped,paid,A,2,2000,2000,500,2500,0\n";
    for (name, file, doubts) in [
        (
            "japanese.csv",
            japanese,
            &["`請求金額` is taken for the total; `合計金額` is another amount on 1 of 2 sampled orders"][..],
        ),
        (
            "english.csv",
            english,
            &[
                "`Order Total` is taken for the total, and `Total` for the amount of the line",
                "`Financial Status` is a state too, beside `Status`: it counts where it says that money went back, or is still to come",
            ],
        ),
    ] {
        shop.write(name, file);
        let guessed = guess(shop, name).succeeds().stdout;
        for doubt in doubts {
            assert!(guessed.contains(&format!("# doubt: {doubt}\n")), "{doubt} is not in:\n{guessed}");
        }
        shop.write("batchctl.toml", &guessed);
        import(shop, &["--kind", "orders", "--mall", "main", name]).run().succeeds();
    }
    assert_eq!(
        shop.sql(
            "SELECT order_no, status, total_amount, shipping_amount, discount_amount FROM orders ORDER BY order_no"
        ),
        [
            ["A1", "PAID", "2700", "500", "300"],
            ["A2", "PAID", "1000", "500", "0"],
            ["B1", "REFUNDED", "3500", "500", "0"],
            ["B2", "SHIPPED", "2500", "500", "0"],
        ]
    );
    assert_eq!(
        shop.sql(
            "SELECT o.order_no, i.product_code, i.quantity, i.line_amount
             FROM order_items AS i JOIN orders AS o ON o.id = i.order_id ORDER BY 1, 2"
        ),
        [
            ["A1", "C", "1", "500"],
            ["A1", "T", "2", "2000"],
            ["A2", "C", "1", "500"],
            ["B1", "A", "3", "3000"],
            ["B2", "A", "2", "2000"],
        ]
    );
    assert_eq!(shop.sql("SELECT amount FROM refunds"), [["3500"]]);
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

const HEADER: &str = "order no,status,order date,paid at,sku,qty,price,total\n";

/// What is proposed for some lines, as lines.
fn guessed_lines(file: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    sandbox.write("orders.csv", file);
    guess(&sandbox, "orders.csv").succeeds().stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in:\n{}", lines.join("\n"));
    }
}

#[test]
fn what_could_not_be_told_is_named() {
    let sandbox = Sandbox::new();
    let [export, _] = makeshop::exports();
    let (text, ..) = encoding_rs::SHIFT_JIS.decode(&export.file);
    sandbox.write("makeshop.csv", text.replace("合計金額", "最終額"));
    let guessed = guess(&sandbox, "makeshop.csv")
        .exits(65)
        .says("could not tell which columns of `makeshop.csv` are total_amount");
    assert!(guessed.stdout.contains("preset = \"makeshop\""), "{}", guessed.stdout);
    assert!(
        guessed.stdout.contains("total_amount = \"?\"   # which of the headers below is it?"),
        "{}",
        guessed.stdout
    );

    let lines = guessed_lines(
        "order number,status,order date,total,sku,qty,price\n1,shipped,01/02/2026,10,A,1,10\n2,odd,02/03/2026,-10,A,1,10\n",
    );
    has(
        &lines,
        &[
            "# doubt: `ordered_at`: day or month first? no sampled line tells; `%d/%m/%Y` is assumed, the other is `%m/%d/%Y`",
            "# doubt: what the negative amounts of `total_amount` are",
            "# doubt: what the status `odd` means",
            "# doubt: on which day an order was paid: 1 line of paid orders has no `paid_at`, so that they count on the day of the order",
            "paid_without_time = \"ordered_at\"",
            "#\"odd\" = \"?\"   # 1 line: what does it mean?",
            "\"shipped\" = \"SHIPPED\"   # 1 line",
            "# Tried on all 2 lines: 1 is bad:",
        ],
    );
}

#[test]
fn a_header_that_was_passed_over_is_a_doubt() {
    let file = |header: &str, lines: &str| {
        guessed_lines(&format!("order no,status,order date,paid at,sku,qty,{header}\n{lines}"))
    };
    let order = |amounts: &str| format!("1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,3,{amounts}\n");
    for (header, amounts, told) in [
        (
            "price,total",
            "3000,3000",
            &[
                "# doubt: `price` is taken for the amount of the line: the totals are not the sum of the quantities times it",
                "line_amount = \"price\"",
            ][..],
        ),
        (
            "price,subtotal,total",
            "1000,3000,3000",
            &[
                "# doubt: `subtotal` is of the line or of the order: no sampled order has two lines; it is not used, because the \
                 quantities and prices add up",
                "unit_price_amount = \"price\"",
            ],
        ),
        (
            "price,voucher,total",
            "1000,200,2800",
            &[
                "# doubt: what `voucher` is: the totals add up if it is deducted, so it is taken for `discount_amount`",
                "discount_amount = \"voucher\"",
            ],
        ),
        (
            "price,discount,total",
            "1000,(200),2800",
            &[
                "# doubt: `discount` is not used for `discount_amount`: some of its fields are not amounts",
                "# doubt: the totals of 1 of 1 sampled order are not the sum of lines, shipping, fees and tax less discounts, \
                 such as that of order `1`: an amount may be in a column that is not used, or in the wrong one",
            ],
        ),
        (
            "price,refund memo amount 返金,total",
            "1000,500,3000",
            &["# doubt: whether `refund memo amount 返金` is money that was paid back: it is not used"],
        ),
        (
            "price,item price,total",
            "1000,900,3000",
            &["# doubt: `item price` is another price than `price`, which is taken"],
        ),
    ] {
        has(&file(header, &order(amounts)), told);
    }
}

/// What is said of a header beside those of a file whose amounts add up, with its cells of two orders of 3,000.
fn doubts_beside(header: &str, cells: [&str; 2]) -> Vec<String> {
    let order = |no: u32, cell: &str| {
        format!("{no},入金済,2026-11-03 10:00,2026-11-03 10:00,A,3,1000,3000,\"{cell}\"\n")
    };
    let lines = guessed_lines(&format!(
        "注文番号,ステータス,注文日時,入金日時,商品コード,数量,単価,合計,{header}\n{}{}",
        order(1, cells[0]),
        order(2, cells[1])
    ));
    let doubts = lines.into_iter().filter_map(|line| Some(line.strip_prefix("# doubt: ")?.to_owned()));
    doubts.collect()
}

/// The rule is what cells say and headers are made of, and no list: a shop has names of its own.
#[test]
fn what_was_cancelled_or_went_back_is_a_doubt_under_any_header() {
    let of_amounts = [
        "返品金額",
        "払い戻し",
        "キャンセル金額",
        "返品数",
        "返品数量",
        "キャンセル数量",
        "Returned Amount",
        "Chargeback",
        "Credit",
        "Cancelled Qty",
        "취소금액",
    ];
    let of_flags = [
        "返金状況",
        "返品状況",
        "キャンセル状況",
        "キャンセルフラグ",
        "Refund Status",
        "Return Status",
        "Cancelled",
        "Is Cancelled",
        "テスト注文",
        "Void",
        "削除フラグ",
        "취소여부",
        "取引区分",
        "区分",
        "Type",
        "Transaction Type",
        "Order Type",
    ];
    for header in of_amounts {
        let doubts = doubts_beside(header, ["0", "2"]);
        assert!(doubts.len() == 1 && doubts[0].contains(&format!("`{header}`")), "{header}: {doubts:?}");
        assert_eq!(doubts_beside(header, ["0", ""]), [""; 0], "{header}");
    }
    for header in of_flags {
        let doubts = doubts_beside(header, ["", "○"]);
        assert!(doubts.len() == 1 && doubts[0].contains(&format!("`{header}`")), "{header}: {doubts:?}");
        assert_eq!(doubts_beside(header, ["", "no"]), [""; 0], "{header}");
    }
    for (header, cell, word) in [
        ("明細状態", "返品", "返品"),
        ("商品状態", "ｷｬﾝｾﾙ", "キャンセル"),
        ("Delivery Status", "Returned to sender", "returned"),
        ("備考", "テスト", "テスト"),
        ("x", "부분취소", "취소"),
    ] {
        assert_eq!(
            doubts_beside(header, ["急ぎ", cell]),
            [format!(
                "`{header}` says `{word}` on 1 of 2 sampled lines, but is not used: was something cancelled, returned or paid back?"
            )]
        );
    }
    assert_eq!(doubts_beside("備考", ["返品不可", "コンテスト用"]), [""; 0]);
    assert_eq!(
        doubts_beside("取引区分", ["売上", "赤"]),
        ["`取引区分` is not used, but has words such as `売上`, `赤`: does it tell sales from other lines?"]
    );
}

#[test]
fn an_amount_that_no_used_column_repeats_is_a_doubt() {
    for header in [
        "入金額",
        "決済金額",
        "実支払額",
        "実請求額",
        "差引金額",
        "Paid Amount",
        "Amount Paid",
        "Charged",
        "Net",
    ] {
        assert_eq!(
            doubts_beside(header, ["3000", "2,700"]),
            [format!(
                "`{header}` is an amount that is not used: it differs from `合計`, the total, on 1 of 2 sampled lines"
            )]
        );
        assert_eq!(doubts_beside(header, ["¥3,000", "3000"]), [""; 0], "{header}");
    }
    for header in ["お支払金額", "ご請求額"] {
        let doubts = doubts_beside(header, ["3000", "2700"]);
        assert!(doubts[0].contains("another amount on 1 of 2 sampled orders"), "{doubts:?}");
    }
    assert_eq!(
        doubts_beside("注文_番号", ["1", "7"]),
        [
            "`注文_番号` is not used: its name reads like that of `注文番号`, and it differs on 1 of 2 sampled lines"
        ]
    );
    let file = "order_no,status,ordered_at,paid_at,product_code,quantity,unit_price_amount,total_amount,Total Amount\n\
                1,PAID,2026-11-03 10:00,2026-11-03 10:00,A,1,1000,1000,900\n";
    has(
        &guessed_lines(file),
        &[
            "# doubt: `Total Amount` is not used: its name reads like that of `total_amount`, and it differs on 1 of 1 sampled line",
        ],
    );
    for header in ["税率", "会計番号", "お支払回数", "獲得ポイント"] {
        assert_eq!(doubts_beside(header, ["8", "10"]), [""; 0], "{header}");
    }
}

#[test]
fn a_second_state_is_not_said_to_be_harmless_if_it_is_not() {
    assert_eq!(
        doubts_beside("決済状況", ["決済済", "返金"]),
        [
            "`決済状況` is a state too, beside `ステータス`: it counts where it says that money went back, or is still to come"
        ]
    );
    assert_eq!(
        doubts_beside("配送状況", ["発送済", "返送"]),
        [
            "`配送状況` is a state too, beside `ステータス`: it is not used; is an order that it calls `返送` a sale?"
        ]
    );
}

#[test]
fn usual_names_are_known() {
    for tax in [
        "うち消費税",
        "うち消費税額",
        "(内消費税)",
        "（内消費税）",
        "消費税等",
        "税",
        "合計消費税",
        "消費税(10%)",
        "Tax included",
        "VAT amount",
        "부가세액",
        "부가가치세",
    ] {
        let lines = guessed_lines(&format!(
            "{}{tax}\n1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,1,1100,1100,100\n",
            HEADER.replace('\n', ",")
        ));
        has(&lines, &[&format!("tax_amount = \"{tax}\"")]);
        assert!(!lines.iter().any(|line| line.starts_with("# doubt: `")), "{tax}: {lines:?}");
    }
    let lines = guessed_lines(
        "注文番号,処理ステータス,受付日,ご入金日,お支払方法,商品CD,数量,単価,値引額,ご請求額,Cancellation Date\n\
         1,入金確認済,2026/11/13,2026/11/13,カード,A,1,1000,100,900,\n",
    );
    has(
        &lines,
        &[
            "status = \"処理ステータス\"",
            "ordered_at = \"受付日\"",
            "paid_at = \"ご入金日\"",
            "payment_method = \"お支払方法\"",
            "product_code = \"商品CD\"",
            "discount_amount = \"値引額\"",
            "total_amount = \"ご請求額\"",
            "\"入金確認済\" = \"PAID\"   # 1 line",
            "# Tried on all 1 line: all good.",
        ],
    );
    assert!(lines.iter().any(|line| line.starts_with("cancelled_at = \"Cancellation Date\"")), "{lines:?}");
    for status in ["注文状況", "受注状況"] {
        let lines = guessed_lines(&format!(
            "{}1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,1,10,10\n",
            HEADER.replace("status", status)
        ));
        has(&lines, &[&format!("status = \"{status}\"")]);
    }
}

#[test]
fn a_time_of_day_beside_a_day_is_joined_with_it() {
    let lines = guessed_lines(
        "注文番号,ステータス,注文日,注文時刻,商品コード,数量,単価,合計\n1,入金済,2026/11/03,9:05,A,1,1000,1000\n",
    );
    has(
        &lines,
        &[
            "time_format = [\"%Y/%m/%d %H:%M\"]",
            "ordered_at = { from = [\"注文日\", \"注文時刻\"], join = \" \" }",
            "# Tried on all 1 line: all good.",
        ],
    );
}

/// Read as code page 932, the sign of the yen is a backslash.
#[test]
fn the_yen_of_code_page_932_is_a_sign_of_money() {
    let lines = guessed_lines(&format!(
        "{HEADER}1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,1,\"\\1,200\",\"\\1,200\"\n"
    ));
    has(&lines, &["thousands = \",\"", "currency_signs = [\"\\\\\"]", "# Tried on all 1 line: all good."]);
}

/// A program writes all of its dates alike: one column that tells day from month decides for the others, and no order is read
/// with the one here and the other there.
#[test]
fn day_and_month_are_the_same_way_round_in_all_columns() {
    let file = |lines: &str| guessed_lines(&format!("{HEADER}{lines}"));
    let lines =
        file("1,Paid,11/03/2026,11/04/2026,A,1,1000,1000\n2,Paid,11/04/2026,11/13/2026,A,1,1000,1000\n");
    has(
        &lines,
        &["time_format = [\"%m/%d/%Y\"]", "paid_at = \"paid at\"", "# Tried on all 2 lines: all good."],
    );
    assert!(!lines.iter().any(|line| line.contains("day or month")), "{lines:?}");
    let lines = file("1,Paid,03/11/2026 10:00:00,13/11/2026,A,1,1000,1000\n");
    has(
        &lines,
        &[
            "ordered_at = { from = \"order date\", time_format = \"%d/%m/%Y %H:%M:%S\" }",
            "paid_at = { from = \"paid at\", time_format = \"%d/%m/%Y\" }",
        ],
    );
    let lines = file("1,Paid,2026-11-03 10:00,2026/11/03 10:00,A,1,1000,1000\n");
    has(
        &lines,
        &[
            "ordered_at = \"order date\"",
            "paid_at = { from = \"paid at\", time_format = \"%Y/%m/%d %H:%M\" }",
            "# Tried on all 1 line: all good.",
        ],
    );
    let lines = file("1,Paid,11/03/2026 9:00 AM,11/13/2026 10:30 PM,A,1,1000,1000\n");
    has(&lines, &["time_format = [\"%m/%d/%Y %I:%M %p\"]", "# Tried on all 1 line: all good."]);
}

#[test]
fn points_and_commas_are_what_the_amounts_show() {
    let lines = guessed_lines(
        "order no;status;order date;paid at;sku;qty;price;total\n\
         1;Paid;2026-11-03 10:00;2026-11-03 10:00;A;2;500,00;1.000,00\n",
    );
    has(&lines, &["thousands = \".\"", "decimal = \",\"", "# Tried on all 1 line: all good."]);
    let lines = guessed_lines(&format!("{HEADER}1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,2,1.500,3.000\n"));
    has(
        &lines,
        &[
            "# doubt: `1.500` may be a number of thousands, or have three decimals: a number of thousands is assumed",
            "thousands = \".\"",
            "decimal = \",\"",
        ],
    );
}

/// A preset's rules and patterns know words that are not among its values.
#[test]
fn only_words_that_nothing_of_a_preset_knows_are_doubts() {
    let sandbox = Sandbox::new();
    let changed = |[export, _]: [Export; 2], from: &str, to: &str| {
        let (text, ..) = encoding_rs::UTF_8.decode(&export.file);
        let text = if text.contains(from) { text } else { encoding_rs::SHIFT_JIS.decode(&export.file).0 };
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    for (export, from, to) in [
        (cafe24::exports(), "배송중", "입금전취소 - 구매자"),
        (woocommerce::exports(), "Processing", "Draft"),
    ] {
        sandbox.write("orders.csv", changed(export, from, to));
        let guessed = guess(&sandbox, "orders.csv").succeeds().stdout;
        assert!(!guessed.contains("doubt: what the status"), "{to}: {guessed}");
    }
    sandbox.write("orders.csv", changed(cafe24::exports(), "배송중", "교환완료"));
    let guessed = guess(&sandbox, "orders.csv").succeeds().stdout;
    assert!(guessed.contains("doubt: what the status `교환` means"), "{guessed}");
}

#[test]
fn a_text_that_can_be_read_in_two_encodings_is_in_that_of_its_language() {
    let sandbox = Sandbox::new();
    let file = "order no,status,order date,paid at,sku,name,qty,price,total\n\
                1,Paid,2026-11-03 10:00,2026-11-03 10:00,A,\u{ff94}\u{ff8f}\u{ff80}\u{ff9e}\u{ff76}\u{ff86},1,10,10\n";
    let (japanese, ..) = encoding_rs::SHIFT_JIS.encode(file);
    let korean = file.replace("\u{ff94}\u{ff8f}\u{ff80}\u{ff9e}\u{ff76}\u{ff86}", "홍길동");
    let (korean, ..) = encoding_rs::EUC_KR.encode(&korean);
    for (encoded, taken, other) in [(&japanese, "shift_jis", "euc-kr"), (&korean, "euc-kr", "shift_jis")] {
        sandbox.write("orders.csv", encoded);
        let guessed = guess(&sandbox, "orders.csv").succeeds().stdout;
        assert!(guessed.contains(&format!("encoding = \"{taken}\"")), "{guessed}");
        let doubt =
            format!("# doubt: the encoding: {taken} is assumed, but the file can be read as {other} too");
        assert!(guessed.contains(&doubt), "{guessed}");
    }
}

/// These bytes can be read as code page 932 as well, as a word that nobody wrote.
#[test]
fn lines_in_two_encodings_are_a_doubt() {
    let sandbox = Sandbox::new();
    let header = "注文番号,ステータス,注文日時,入金日時,商品コード,商品名,数量,単価,合計\n";
    let line =
        |no: u32, status: &str| format!("{no},{status},2026-11-03 10:00,2026-11-03 10:00,A,cup,1,10,10\n");
    let shift_jis = |text: &str| encoding_rs::SHIFT_JIS.encode(text).0.into_owned();
    let (of_one, of_other) = (shift_jis(&(header.to_owned() + &line(1, "入金済み"))), line(2, "入金済み"));
    let doubt = "# doubt: the encoding: shift_jis is assumed, but 1 sampled line looks like UTF-8";
    for (name, content, is_doubtful) in [
        ("mixed.csv", [&of_one[..], of_other.as_bytes()].concat(), true),
        ("alike.csv", [&of_one[..], &shift_jis(&of_other)].concat(), false),
    ] {
        sandbox.write(name, &content);
        let guessed = guess(&sandbox, name).succeeds().stdout;
        assert_eq!(guessed.contains(doubt), is_doubtful, "{guessed}");
    }
}

/// Of a file that nothing could be imported of, no success is told; and nothing of a customer's is taken for a name.
#[test]
fn what_would_import_nothing_is_no_success() {
    let sandbox = Sandbox::new();
    sandbox.write("orders.csv", format!("{HEADER}1,Paid,soon,soon,A,1,10,10\n"));
    let guessed =
        guess(&sandbox, "orders.csv").exits(65).says("not one of the sampled lines could be imported");
    assert!(guessed.stdout.contains("# Tried on all 1 line: 1 is bad:"), "{}", guessed.stdout);
    let lines = guessed_lines(HEADER);
    has(&lines, &["# doubt: all of it: the file has a header and no lines to try it on"]);
    sandbox.write(
        "orders.csv",
        "1001,山田花子,hanako@example.jp,2026/11/03,1200\n1002,佐藤,s@example.jp,2026/11/04,800\n",
    );
    let guessed = guess(&sandbox, "orders.csv").exits(65).says("the header seems to be missing");
    assert_eq!(guessed.stdout, "");
    assert!(!guessed.stderr.contains("hanako"), "{}", guessed.stderr);
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
    let guessed = guess(&sandbox, "orders.csv").exits(65);
    let parsed: toml::Table = guessed.stdout.parse().expect("it is TOML");
    assert_eq!(parsed.keys().collect::<Vec<_>>(), ["import"]);
    assert!(!guessed.stdout.contains('\u{1b}'), "{:?}", guessed.stdout);
}

#[test]
fn what_is_no_table_is_refused_as_by_an_import() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.csv", "");
    guess(&sandbox, "empty.csv").exits(65).says("is empty: it has no header");
    // Longer than what is looked at, without an end.
    sandbox.write("long.csv", "x".repeat(5 * 1024 * 1024));
    guess(&sandbox, "long.csv").exits(65).says("line 1: the line is longer than 1 MiB");
    let twice = HEADER.replace("price", "qty,price") + "1,paid,2026-11-19,2026-11-19,A,1,1,10,10\n";
    sandbox.write("twice.csv", twice);
    guess(&sandbox, "twice.csv")
        .exits(65)
        .says("failed to read `twice.csv`: line 1: two columns are named `qty`");
    sandbox.write("book.xlsx", b"PK\x03\x04rest");
    guess(&sandbox, "book.xlsx").exits(65);
    sandbox.write("binary.csv", [0xff, 0xfe, 0x00, 0x41, 0x00]);
    guess(&sandbox, "binary.csv").exits(65);
    guess(&sandbox, "missing.csv").exits(65).says("it does not exist");
}
