//! The formats of a shop's files: encodings, headers, values, delimiters, times, and their mall.

use encoding_rs::{EUC_KR, SHIFT_JIS};

use super::{ORDERS, file, import, order_line, rows, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    a_japanese_file_in_shift_jis_is_understood_by_its_configuration,
    a_korean_file_in_euc_kr_is_understood_by_its_flags,
    a_flag_goes_before_the_configuration,
    the_mall_is_a_column_a_flag_or_configured,
    a_line_of_another_mall_than_the_flags_is_bad,
    a_mall_that_does_not_exist_is_named,
    a_mapped_column_that_we_do_not_have_is_bad_configuration,
    a_header_that_lacks_columns_names_them_and_what_is_there,
    a_wrong_delimiter_is_guessed_in_the_hint,
];

fn a_japanese_file_in_shift_jis_is_understood_by_its_configuration(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        r#"
        [import.orders]
        encoding = "shift_jis"
        delimiter = "\t"
        time_format = "%Y/%m/%d %H:%M"
        [import.orders.columns]
        mall = "店舗"
        order_no = "注文番号"
        status = "ステータス"
        ordered_at = "注文日時"
        paid_at = "入金日時"
        total_amount = "合計"
        product_code = "商品番号"
        product_name = "商品名"
        quantity = "数量"
        unit_price_amount = "単価"
        [import.orders.values]
        mall = { "本店" = "tokyo" }
        status = { "支払済" = "PAID", "入金待ち" = "PAYMENT_WAIT" }
        "#,
    );
    let text = "店舗\t注文番号\tステータス\t注文日時\t入金日時\t合計\t商品番号\t商品名\t数量\t単価\t備考\r\n\
                本店\t注-1\t支払済\t2026/11/19 10:00\t2026/11/19 10:05\t2400\tP1\t①表～ソ能\t2\t1200\tなし\r\n\
                本店\t注-2\t入金待ち\t2026/11/19 11:00\t\t500\tP2\tﾃｽﾄ\t1\t500\t\r\n";
    shop.write("orders.csv", SHIFT_JIS.encode(text).0);

    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds().is_silent();

    assert_eq!(
        rows(
            shop,
            "SELECT order_no, status, ordered_at, paid_at, total_amount, product_name, line_amount
             FROM orders JOIN order_items ON order_id = id"
        ),
        [
            "注-1 | PAID | 2026-11-19T01:00:00+00:00 | 2026-11-19T01:05:00+00:00 | 2400 | ①表～ソ能 | 2400",
            "注-2 | PAYMENT_WAIT | 2026-11-19T02:00:00+00:00 | NULL | 500 | ﾃｽﾄ | 500",
        ]
    );
}

fn a_korean_file_in_euc_kr_is_understood_by_its_flags(shop: &Shop) {
    shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.write(
        "batchctl.toml",
        "[import.members.columns]\nmember_code = \"회원번호\"\nname = \"이름\"\nstatus = \"상태\"\nsigned_up_at = \"가입일\"\n\
         [import.members.values.status]\n\"정상\" = \"ACTIVE\"\n",
    );
    let text = "회원번호;이름;상태;가입일\n회-1;똠방각하 펲시;정상;2026-11-19 10:00\n";
    shop.write("members.csv", EUC_KR.encode(text).0);

    let words =
        ["--kind", "members", "--mall", "seoul", "--encoding", "euc-kr", "--delimiter", ";", "members.csv"];
    import(shop, &words).run().succeeds().is_silent();

    assert_eq!(
        rows(
            shop,
            "SELECT code, member_code, m.name, status, signed_up_at FROM members m JOIN malls ON malls.id = mall_id"
        ),
        ["seoul | 회-1 | 똠방각하 펲시 | ACTIVE | 2026-11-19T01:00:00+00:00"]
    );
}

fn a_flag_goes_before_the_configuration(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("ny", "America/New_York", "USD");
    shop.write(
        "batchctl.toml",
        "[import.members]\nencoding = \"euc-kr\"\ndelimiter = \";\"\nmall = \"tokyo\"\n",
    );
    shop.write(
        "members.csv",
        file("member_code\tname\tstatus\tsigned_up_at", &["M1\t花子\tACTIVE\t2026-11-19 10:00"]),
    );
    let words =
        ["--kind", "members", "--mall", "ny", "--encoding", "utf-8", "--delimiter", "tab", "members.csv"];
    import(shop, &words).run().succeeds().is_silent();
    assert_eq!(
        rows(shop, "SELECT code, m.name, signed_up_at FROM members m JOIN malls ON malls.id = mall_id"),
        ["ny | 花子 | 2026-11-19T15:00:00+00:00"]
    );
}

fn the_mall_is_a_column_a_flag_or_configured(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("ny", "America/New_York", "USD");
    let product = "product_code,name,price_amount";
    shop.write("column.csv", file(&format!("mall,{product}"), &["ny,P1,a,1.50"]));
    shop.write("none.csv", file(product, &["P2,a,150"]));
    import(shop, &["--kind", "products", "column.csv"]).run().succeeds();
    import(shop, &["--kind", "products", "none.csv"])
        .run()
        .exits(65)
        .says("missing column `mall`")
        .says("hint: name the mall of the whole file with --mall CODE");
    import(shop, &["--kind", "products", "--mall", "ny", "none.csv"]).run().succeeds();
    shop.write("batchctl.toml", "[import.products]\nmall = \"tokyo\"\n");
    import(shop, &["--kind", "products", "none.csv"]).run().succeeds();
    // An empty field of the column is the mall of the whole file.
    shop.write("column.csv", file(&format!("mall,{product}"), &[",P3,a,150"]));
    import(shop, &["--kind", "products", "column.csv"]).run().succeeds();
    assert_eq!(
        rows(
            shop,
            "SELECT code, product_code, price_amount FROM products p JOIN malls ON malls.id = mall_id"
        ),
        ["ny | P1 | 150", "ny | P2 | 15000", "tokyo | P2 | 150", "tokyo | P3 | 150"]
    );
}

fn a_line_of_another_mall_than_the_flags_is_bad(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("ny", "America/New_York", "USD");
    shop.write("orders.csv", file(ORDERS, &[&order_line(1)]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "--mall", "ny", "orders.csv"])
        .run()
        .exits(65)
        .says("orders.csv:2: `mall`: `tokyo` is not the mall of this import, `ny`");
    assert_eq!(shop_rows(shop), before);
}

fn a_mall_that_does_not_exist_is_named(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", file(ORDERS, &[&order_line(1)]));
    import(shop, &["--kind", "orders", "--mall", "tokio", "orders.csv"]).run().exits(2).says("`tokio`");
    shop.write("batchctl.toml", "[import.orders]\nmall = \"tokio\"\n");
    import(shop, &["--kind", "orders", "orders.csv"])
        .run()
        .exits(78)
        .says("[import.orders] mall: ")
        .says("`tokio`");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "0");
}

fn a_mapped_column_that_we_do_not_have_is_bad_configuration(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("batchctl.toml", "[import.orders.columns]\norder_number = \"注文番号\"\n");
    import(shop, &["--kind", "orders", "orders.csv"])
        .run()
        .exits(78)
        .says("[import.orders.columns] names `order_number`, which is not a column of orders")
        .says("hint: the columns are mall, order_no, ");
    shop.write("batchctl.toml", "[import.orders.values.state]\na = \"PAID\"\n");
    import(shop, &["--kind", "orders", "orders.csv"])
        .run()
        .exits(78)
        .says("[import.orders.values] names `state`, which is not a column of orders");
}

fn a_header_that_lacks_columns_names_them_and_what_is_there(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[import.products.columns]\nproduct_code = \"商品番号\"\n");
    shop.write("products.csv", file("mall,商品コード,name", &["tokyo,P1,a"]));
    import(shop, &["--kind", "products", "products.csv"])
        .run()
        .exits(65)
        .says(
            "line 1: missing column `product_code` (looked for as `商品番号`), `price_amount`; the header has \
             `mall`, `商品コード`, `name`\n",
        )
        .says("hint: correct the names in ")
        .says("/batchctl.toml, [import.products.columns], or remove the columns that");
    // An optional one that was mapped is expected too: as empty values it would make wrong figures without a word.
    shop.write("batchctl.toml", "[import.products.columns]\nstock_quantity = \"在庫数\"\n");
    shop.write("products.csv", file("mall,product_code,name,price_amount,在庫", &["tokyo,P1,a,1,2"]));
    import(shop, &["--kind", "products", "products.csv"])
        .run()
        .exits(65)
        .says("line 1: missing column `stock_quantity` (looked for as `在庫数`); the header has");
    shop.write("batchctl.toml", "");
    shop.write("products.csv", file("mall,code", &["tokyo,P1"]));
    import(shop, &["--kind", "products", "products.csv"])
        .run()
        .exits(65)
        .says("/batchctl.toml: [import.products.columns] ours = \"theirs\"");
}

fn a_wrong_delimiter_is_guessed_in_the_hint(shop: &Shop) {
    with_tokyo(shop);
    shop.write("products.csv", file("mall;product_code;name;price_amount", &["tokyo;P1;a;1"]));
    import(shop, &["--kind", "products", "products.csv"])
        .run()
        .exits(65)
        .says("hint: the fields seem to be separated by ';': add --delimiter ';'");
    import(shop, &["--kind", "products", "--delimiter", "€", "products.csv"])
        .run()
        .exits(2)
        .says("write one ASCII character such as `;`, or `tab`");
}
