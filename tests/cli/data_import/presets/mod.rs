//! Files as shops' platforms export them are imported by a preset alone, and the reports show what they amount to.

mod members_and_products;

use encoding_rs::SHIFT_JIS;

use super::import;
use crate::support::exports::{
    Export, FIRST_DAY, Figures, LAST_DAY, ORDERS, amazon_jp, base, cafe24, color_me, ec_cube, makeshop,
    rakuten, shopify, woocommerce, woocommerce_skyverge,
};
use crate::support::{Batchctl, Sandbox, Shop, on_both_databases};

on_both_databases![
    shopify_orders,
    woocommerce_orders,
    woocommerce_orders_by_skyverge,
    color_me_orders,
    ec_cube_orders,
    base_orders,
    makeshop_orders,
    rakuten_orders,
    amazon_jp_orders,
    cafe24_orders,
    a_template_with_the_necessary_columns_is_enough,
    makeshop_orders_need_columns_of_the_shop,
    a_state_that_somebody_has_to_look_at_is_a_bad_line,
    a_name_may_begin_with_a_quotation_mark_where_fields_are_not_quoted,
    a_sale_that_was_thrown_away_or_cancelled_item_by_item_is_none_any_more,
    a_stored_sale_that_a_rule_leaves_out_is_said,
    what_a_platform_may_write_is_read,
    a_refund_that_cafe24_repeats_on_the_items_counts_once,
    an_amazon_order_without_a_price_is_no_sale_of_nothing,
    a_line_of_base_that_is_not_its_price_times_its_quantity_is_said,
    a_header_that_a_rule_of_a_preset_reads_is_renamed_in_a_copy,
];

fn shopify_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "shopify", &shopify::exports());
}

fn woocommerce_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "woocommerce", &woocommerce::exports());
}

fn woocommerce_orders_by_skyverge(shop: &Shop) {
    are_reported_as_they_were(shop, "woocommerce-skyverge", &woocommerce_skyverge::exports());
}

fn color_me_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "colorme", &color_me::exports());
}

fn ec_cube_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "ec-cube", &ec_cube::exports());
}

fn base_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "base", &base::exports());
}

/// The template is the shop's own, so that the shop has to name its columns.
fn makeshop_orders(shop: &Shop) {
    shop.write("batchctl.toml", makeshop::SECTION);
    are_reported_as_they_were(shop, "makeshop", &makeshop::exports());
}

/// Shops choose the columns of some platforms' files.
fn a_template_with_the_necessary_columns_is_enough(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    for (preset, header, line) in [
        (
            "ec-cube",
            "注文番号,対応状況(ID),受注日,入金日,支払合計,明細区分(ID),商品コード,商品名,価格,個数",
            "1,6,2026-11-19 10:00:00,2026-11-19 10:05:00,1100.00,1,TEA,煎茶,1000.00,1",
        ),
        (
            "rakuten",
            "注文番号,ステータス,注文日時,請求金額,商品管理番号,商品名,単価,個数",
            "2,発送待ち,2026/11/19 10:05:00,1100,TEA,煎茶,1100,1",
        ),
        (
            "cafe24",
            "주문번호,주문상태,주문일시,결제일시(입금확인일),결제구분,총결제금액,자체상품코드,주문상품명(옵션포함),수량,판매가",
            "3,배송 준비중,2026-11-19 10:00:00,2026-11-19 10:05:00,T,\"1,100\",TEA,煎茶,1,\"1,100\"",
        ),
    ] {
        let text = format!("{header}\n{line}\n");
        let is_japanese_only = preset == "rakuten";
        let file = if is_japanese_only { SHIFT_JIS.encode(&text).0.into_owned() } else { text.into_bytes() };
        shop.write("orders.csv", file);
        import(shop, &["--kind", "orders", "--preset", preset, "--mall", "main", "orders.csv"])
            .run()
            .succeeds()
            .is_silent();
    }
    let orders = "SELECT order_no, status, paid_at, total_amount, product_code, product_name
                  FROM orders JOIN order_items ON order_id = id ORDER BY order_no";
    let at = "2026-11-19T01:05:00+00:00";
    assert_eq!(
        shop.sql(orders),
        ["1", "2", "3"].map(|order_no| [order_no, "PAID", at, "1100", "TEA", "煎茶"])
    );
}

fn makeshop_orders_need_columns_of_the_shop(shop: &Shop) {
    let [export, _] = makeshop::exports();
    shop.mall(export.mall, export.time_zone, export.currency);
    shop.write("orders.csv", &export.file);
    let words = ["--kind", "orders", "--preset", "makeshop", "--mall", export.mall, "orders.csv"];
    import(shop, &words)
        .run()
        .exits(65)
        .says("missing column `total_amount`, `product_code`, `quantity`, `unit_price_amount`; the header has `日付`")
        .says("preset = \"makeshop\"");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "0");
}

fn rakuten_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "rakuten", &rakuten::exports());
}

fn amazon_jp_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "amazon-jp", &amazon_jp::exports());
}

fn cafe24_orders(shop: &Shop) {
    are_reported_as_they_were(shop, "cafe24", &cafe24::exports());
}

/// A parcel that came back, an exchange: neither a sale nor a refund until somebody says so.
fn a_state_that_somebody_has_to_look_at_is_a_bad_line(shop: &Shop) {
    for (preset, [export, _], from, to) in [
        ("amazon-jp", amazon_jp::exports(), "Shipped - Picked Up", "Shipped - Returned to Seller"),
        ("cafe24", cafe24::exports(), "거래종료", "교환완료"),
    ] {
        shop.mall(export.mall, export.time_zone, export.currency);
        let place = export.file.windows(from.len()).position(|bytes| bytes == from.as_bytes());
        let (before, after) = export.file.split_at(place.expect("an order with this state"));
        shop.write("orders.csv", [before, to.as_bytes(), &after[from.len()..]].concat());
        let words = ["--kind", "orders", "--preset", preset, "--mall", export.mall, "orders.csv"];
        let status = if preset == "cafe24" { "교환" } else { to };
        import(shop, &words)
            .run()
            .exits(65)
            .says("1 of ")
            .says(&format!("`status`: `{status}` is not one of PAYMENT_WAIT, "))
            .says("[import.orders.values.status]");
    }
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "0");
}

/// A file of a preset's, in code page 932 if it is one of a Japanese platform.
fn write(shop: &Shop, preset: &str, lines: &[&str]) {
    let text = lines.join("\n") + "\n";
    let is_japanese = matches!(preset, "colorme" | "base" | "rakuten");
    shop.write(
        "orders.csv",
        if is_japanese { SHIFT_JIS.encode(&text).0.into_owned() } else { text.into_bytes() },
    );
}

fn with_preset(shop: &Shop, preset: &str) -> Batchctl {
    import(
        shop,
        &["--kind", "orders", "--preset", preset, "--mall", "main", "--verbose", "--rerun", "orders.csv"],
    )
}

/// Between two names that begin or end with one, four orders would become two.
fn a_name_may_begin_with_a_quotation_mark_where_fields_are_not_quoted(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let header = "売上ID,受注日,購入者 顧客ID,消費税(商品合計に対する),送料合計,決済手数料,熨斗手数料合計,メッセージカード手数料合計,\
                  ラッピング手数料合計,ショップポイントによる割引金額,外部ポイントによる割引金額,割引金額,総合計金額,決済方法,入金状態,\
                  発送状態,売上詳細ID,購入商品 型番,購入商品 商品ID,購入商品 商品名,購入商品 販売価格(消費税込),購入商品 販売個数";
    let order = |no: u32, name: &str| {
        format!("{no},2026/11/19,9,0,0,0,0,0,0,0,0,0,100,代引,入金済,発送済,{no}1,X{no},{no},{name},100,1")
    };
    let lines = [order(1, "\"限定マグ"), order(2, "皿"), order(3, "モニター27\""), order(4, "\"茶, 緑\"")];
    let lines: Vec<&str> = std::iter::once(header).chain(lines.iter().map(String::as_str)).collect();
    write(shop, "colorme", &lines);
    with_preset(shop, "colorme").run().succeeds().says("4 orders new");
    let names = shop.sql("SELECT product_name FROM order_items ORDER BY product_code");
    assert_eq!(names, [["\"限定マグ"], ["皿"], ["モニター27\""], ["茶, 緑"]]);
    // Where fields are quoted, such a file is refused: what is between the two would be gone.
    shop.write("batchctl.toml", "[import.orders]\npreset = \"colorme\"\nquotes = true\n");
    with_preset(shop, "colorme")
        .run()
        .exits(65)
        .says("line 2: a quoted field goes on to line 4")
        .says("quotes = false");
}

const WOOCOMMERCE: &str = "Order Number,Order Status,Order Date,Order Total Amount,Order Refund Amount,SKU,Item #,Item Name,Quantity,Item Cost";
const AMAZON: &str = "amazon-order-id\tpurchase-date\tlast-updated-date\torder-status\tsku\tasin\tproduct-name\titem-status\t\
                      quantity\tcurrency\titem-price\titem-tax\tshipping-price\tshipping-tax\tgift-wrap-price\tgift-wrap-tax\t\
                      item-promotion-discount\tship-promotion-discount";

fn a_sale_that_was_thrown_away_or_cancelled_item_by_item_is_none_any_more(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let amazon = |item: &str, price: &str| {
        format!(
            "A1\t2026-11-18T01:00:00+00:00\t2026-11-18T02:00:00+00:00\tUnshipped\tS\tB\tTV\t{item}\t1\tJPY\t{price}{}",
            "\t".repeat(7)
        )
    };
    for (preset, header, before, after) in [
        (
            "woocommerce",
            WOOCOMMERCE,
            "501,Processing,2026-11-18 10:00,1000,0,M,1,Mug,1,1000".to_owned(),
            "501,Trash,2026-11-18 10:00,1000,0,M,1,Mug,1,1000".to_owned(),
        ),
        ("amazon-jp", AMAZON, amazon("Unshipped", "1000"), amazon("Cancelled", "")),
    ] {
        for (line, expected) in [(before, ["1", "0"]), (after, ["0", "1"])] {
            write(shop, preset, &[header, &line]);
            with_preset(shop, preset).run().succeeds().says("read 1 line,");
            let counted = "SELECT COUNT(paid_at), COUNT(cancelled_at) FROM orders";
            assert_eq!(shop.sql(counted), [expected], "{preset}: {line}");
        }
        shop.execute("DELETE FROM order_items");
        shop.execute("DELETE FROM orders");
    }
}

fn a_stored_sale_that_a_rule_leaves_out_is_said(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let line = |no: u32, status: &str| format!("{no},{status},2026-11-18 10:00,1000,0,M,1,Mug,1,1000");
    write(shop, "woocommerce", &[WOOCOMMERCE, &line(501, "Processing"), &line(502, "Pending payment")]);
    with_preset(shop, "woocommerce").run().succeeds().never_shows("left out");
    // One was a sale, one was not, one is new.
    let drafts = [501, 502, 503].map(|no| line(no, "Draft"));
    let lines: Vec<&str> = std::iter::once(WOOCOMMERCE).chain(drafts.iter().map(String::as_str)).collect();
    write(shop, "woocommerce", &lines);
    let note = "1 order that a rule leaves out was stored earlier as a sale, and stays one (1,000 JPY): line 2, order 501";
    import(shop, &["--kind", "orders", "--preset", "woocommerce", "--mall", "main", "--check", "orders.csv"])
        .run()
        .succeeds()
        .prints(note);
    with_preset(shop, "woocommerce").run().succeeds().says(note);
}

/// Items in different states, amounts that are not fixed yet, what was withdrawn: figures, or a line that names it.
fn what_a_platform_may_write_is_read(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let totals =
        "SELECT order_no, status, total_amount, shipping_amount, fee_amount FROM orders ORDER BY order_no";
    write(
        shop,
        "base",
        &[
            "注文ID,注文日時,メールアドレス(請求先),商品名,価格,数量,送料,支払い方法,代引き手数料,発送状況,商品ID,種類ID,商品コード,調整金額",
            "B1,2026-11-18 10:00:00,a@example.com,皿,1000,1,500,card,0,未発送,1,,,0",
            "B1,2026-11-18 10:00:00,a@example.com,商品オプション「名入れ」,300,,500,card,0,発送済み,,,,0",
            "B1,2026-11-18 10:00:00,a@example.com,椀,700,1,500,card,0,キャンセル,2,,,0",
            "B2,2026-11-18 10:00:00,a@example.com,椀,700,1,500,card,0,キャンセル,2,,,0",
        ],
    );
    with_preset(shop, "base").run().succeeds();
    write(
        shop,
        "rakuten",
        &[
            "注文番号,ステータス,注文日時,請求金額,送料合計,消費税合計,代引料合計,決済手数料,ラッピング料金1,ラッピング料金2,ポイント利用額,\
         クーポン利用総額,商品管理番号,商品名,単価,個数,商品明細ID,送付先ID",
            "R1,300,2026-11-18 10:00:00,2600,500,-9999,-9999,0,100,0,0,0,TEA,茶,1000,1,1,1",
            "R1,300,2026-11-18 10:00:00,2600,500,-9999,-9999,0,0,0,0,0,TEA,茶,1000,1,2,1",
        ],
    );
    with_preset(shop, "rakuten").run().succeeds();
    let rows = shop.sql(totals).into_iter().map(|row| row.join(" ")).collect::<Vec<_>>();
    assert_eq!(rows, ["B1 SHIPPED 1800 500 0", "B2 ORDER_CANCELLED 1200 500 0", "R1 PAID 2600 500 100"]);
    write(
        shop,
        "cafe24",
        &[
            "주문번호,주문 상태,주문일시,결제일시(입금확인일),결제구분,총 결제금액,자체상품코드,주문상품명(옵션포함),수량,판매가",
            "C1,반품 철회,2026-11-19 10:00:00,2026-11-19 10:05:00,T,1000,TEA,차,1,1000",
        ],
    );
    with_preset(shop, "cafe24").run().exits(65).says("`status`: `반품 철회` is not one of");
}

fn a_refund_that_cafe24_repeats_on_the_items_counts_once(shop: &Shop) {
    shop.mall("main", "Asia/Seoul", "KRW");
    let header = "주문번호,주문 상태,주문일시,결제일시(입금확인일),결제구분,총 결제금액,자체상품코드,주문상품명(옵션포함),수량,판매가,실제 환불금액";
    let line = |no: &str, kind: &str, code: &str, refund: &str| {
        let (state, paid_at) =
            if kind == "F" { ("취소완료", "") } else { ("배송완료", "2026-11-19 10:05:00") };
        format!("{no},{state},2026-11-19 10:00:00,{paid_at},{kind},3000,{code},차,1,1500,{refund}")
    };
    let lines = [
        line("C1", "T", "A", "500"),
        line("C1", "T", "B", "500"),
        line("C1", "F", "A", "500"),
        // The refund's line comes first.
        line("C2", "F", "A", "700"),
        line("C2", "T", "A", ""),
        line("C2", "T", "B", ""),
        line("C3", "T", "A", "100"),
        line("C3", "T", "B", ""),
        line("C3", "F", "A", "700"),
    ];
    let lines: Vec<&str> = std::iter::once(header).chain(lines.iter().map(String::as_str)).collect();
    write(shop, "cafe24", &lines);
    with_preset(shop, "cafe24")
        .run()
        .succeeds()
        .says("1 order has what was paid back on a line of its own and again on its items, and counts it once (500 KRW): line 2, order C1")
        .says("1 order has amounts that were paid back on a line of its own and other ones on its items: they are added up (800 KRW): line 8, order C3");
    let refunds = "SELECT order_no, amount, refunded_at FROM refunds AS r JOIN orders AS o ON o.id = r.order_id ORDER BY order_no";
    let at = "2026-11-19T01:05:00+00:00";
    assert_eq!(shop.sql(refunds), [["C1", "500", at], ["C2", "700", at], ["C3", "800", at]]);
}

fn an_amazon_order_without_a_price_is_no_sale_of_nothing(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let line = |no: u32, status: &str, price: &str, discount: &str| {
        format!(
            "A{no}\t2026-11-18T01:00:00+00:00\t2026-11-18T02:00:00+00:00\t{status}\tS\tB\tTV\t{status}\t1\tJPY\t{price}\t\t\t\t\t\t{discount}\t"
        )
    };
    for (status, discount) in [("Shipped", ""), ("Unshipped", ""), ("Shipped", "100")] {
        write(shop, "amazon-jp", &[AMAZON, &line(1, status, "", discount)]);
        with_preset(shop, "amazon-jp").run().exits(65).says("`line_amount`: is empty");
    }
    write(
        shop,
        "amazon-jp",
        &[
            AMAZON,
            &line(1, "Pending", "", ""),
            &line(2, "Cancelled", "", ""),
            &line(3, "Shipped", "900.00", "100.00"),
        ],
    );
    with_preset(shop, "amazon-jp").run().succeeds();
    assert_eq!(
        shop.sql("SELECT order_no, status, total_amount FROM orders ORDER BY order_no"),
        [["A1", "PAYMENT_WAIT", "0"], ["A2", "ORDER_CANCELLED", "0"], ["A3", "SHIPPED", "800"]]
    );
}

fn a_line_of_base_that_is_not_its_price_times_its_quantity_is_said(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let header = "注文ID,注文日時,メールアドレス(請求先),商品名,価格,数量,合計金額,送料,支払い方法,代引き手数料,発送状況,商品ID,種類ID,商品コード,調整金額";
    let line = |no: u32, total: &str| {
        format!("B{no},2026-11-18 10:00:00,a@example.com,皿,1000,2,{total},500,card,0,未発送,1,,,0")
    };
    write(shop, "base", &[header, &line(1, "2000"), &line(2, "1800"), &line(3, "")]);
    with_preset(shop, "base").run().succeeds().says(
        "1 order has a line whose amount is not its quantity times its price: the amount counts (-200 JPY): line 3, order B2: \
         1,800 instead of 2,000 JPY",
    );
    assert_eq!(
        shop.sql("SELECT order_no, total_amount FROM orders ORDER BY order_no"),
        [["B1", "2500"], ["B2", "2300"], ["B3", "2500"]]
    );
}

/// To name a column of ours in `columns` would change nothing about what a rule reads.
fn a_header_that_a_rule_of_a_preset_reads_is_renamed_in_a_copy(shop: &Shop) {
    shop.mall("main", "Asia/Tokyo", "JPY");
    let [export, _] = color_me::exports();
    let (text, ..) = SHIFT_JIS.decode(&export.file);
    let renamed = text.replace("発送状態", "発送の状態");
    assert_ne!(text, renamed);
    shop.write("orders.csv", SHIFT_JIS.encode(&renamed).0);
    with_preset(shop, "colorme")
        .run()
        .exits(65)
        .says("missing column `発送状態` (read by a rule)")
        .says("data presets show colorme` prints into [import.orders] of ")
        .says("without `preset`, and rename the header there");
    // As it says.
    let preset = shop.batchctl(["data", "presets", "show", "colorme"]).run().succeeds().stdout;
    shop.write("batchctl.toml", preset.replace("発送状態", "発送の状態"));
    import(shop, &["--kind", "orders", "--mall", "main", "orders.csv"]).run().succeeds();
}

/// Imports the files of the malls and compares every figure of every day.
#[track_caller]
fn are_reported_as_they_were(shop: &Shop, preset: &str, exports: &[Export]) {
    for Export { mall, time_zone, currency, file, told } in exports {
        assert!(told.len() * 10 > ORDERS * 9, "{mall}: {} orders", told.len());
        shop.mall(mall, time_zone, currency);
        let name = format!("{mall}.csv");
        shop.write(&name, file);
        let words = ["--kind", "orders", "--preset", preset, "--mall", mall, &name];
        // Lines, discounts, shipping, fees and taxes add up to the totals.
        import(shop, &words).run().succeeds().never_shows("not the sum");
    }
    for report in ["daily-sales", "daily-cancellations"] {
        let (first, last) = (FIRST_DAY.to_string(), LAST_DAY.to_string());
        shop.batchctl(["report", report, "--from", &first, "--to", &last]).run().succeeds();
    }
    let expected = Figures::of(exports);
    let reported = reported(shop);
    for (what, reported, expected) in [
        ("days", &reported.days, &expected.days),
        ("cancellations", &reported.cancellations, &expected.cancellations),
        ("reasons", &reported.reasons, &expected.reasons),
        ("breakdowns", &reported.breakdowns, &expected.breakdowns),
    ] {
        let differs = reported.iter().zip(expected).find(|(reported, expected)| reported != expected);
        assert_eq!(differs, None, "{preset}: {what}: reported, expected");
        assert_eq!(reported.len(), expected.len(), "{preset}: {what}");
    }
}

/// The figures as the reports stored them.
fn reported(shop: &Shop) -> Figures {
    let rows = |sql: &str| {
        let mut rows: Vec<String> = shop.sql(sql).into_iter().map(|row| row.join(" ")).collect();
        rows.sort();
        rows
    };
    Figures {
        days: rows(
            "SELECT business_day, code, s.currency, orders, items, gross_amount, discount_amount, shipping_amount,
                    tax_amount, cancelled_orders, refunds, refunded_amount, net_amount, average_order_amount,
                    new_customers, returning_customers
             FROM daily_sales s JOIN malls ON malls.id = mall_id",
        ),
        breakdowns: rows(
            "SELECT business_day, code, s.currency, breakdown, breakdown_key, s.name, orders, items, gross_amount,
                    discount_amount, shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount,
                    new_customers, returning_customers
             FROM daily_sales_breakdown s JOIN malls ON malls.id = mall_id",
        ),
        cancellations: rows(
            "SELECT business_day, code, s.currency, cancelled_orders, cancelled_amount
             FROM daily_cancellations s JOIN malls ON malls.id = mall_id",
        ),
        reasons: rows(
            "SELECT business_day, code, s.currency, reason, cancelled_orders, cancelled_amount
             FROM daily_cancellations_by_reason s JOIN malls ON malls.id = mall_id",
        ),
    }
}

#[test]
fn every_platform_has_a_preset_that_says_how_sure_it_is() {
    let sandbox = Sandbox::new();
    let list = sandbox.batchctl(["data", "presets", "list"]).run().succeeds().stdout;
    let platforms = [
        "amazon-jp",
        "base",
        "cafe24",
        "colorme",
        "ec-cube",
        "makeshop",
        "rakuten",
        "shopify",
        "woocommerce",
        "woocommerce-skyverge",
    ];
    for preset in platforms {
        assert!(list.lines().any(|line| line.starts_with(preset)), "{preset}: {list}");
        let shown = sandbox.batchctl(["data", "presets", "show", preset]).run().succeeds().stdout;
        assert!(shown.contains("\n[import.orders.columns]\n"), "{shown}");
        // The marks of where each statement comes from.
        assert!(["[C]", "[D]", "[S]"].iter().any(|mark| shown.contains(mark)), "{shown}");
    }
}
