//! What the forms of the mapping language make of a file: orders, their lines and the refunds that follow from them.

use super::{IMPORTED, LATER, file, import, import_as, import_good, rows, with_tokyo};
use crate::config::ImportSection;
use crate::db::testing::{TestDb, on_both_databases};

on_both_databases![
    blank_cells_below_an_orders_first_line_mean_the_same,
    columns_fall_back_join_cut_and_default,
    amounts_are_added_up_over_fields_lines_and_destinations,
    a_lines_total_becomes_its_price_and_an_orders_parts_its_total,
    an_order_has_the_first_of_the_words_that_its_items_have,
    lines_that_are_no_products_count_for_their_order,
    rules_set_columns_and_leave_out_lines_and_orders,
    numbers_and_times_are_read_as_they_are_written,
    a_refunded_amount_is_a_refund_that_follows_the_file,
    a_later_change_of_a_cancelled_order_does_not_move_its_cancellation,
    an_order_whose_money_went_back_counts_as_refunded_until_its_refunds_come,
    what_was_cancelled_of_an_order_that_stands_goes_back_or_is_not_paid,
    a_state_without_its_day_has_the_day_of_the_rule,
    an_order_is_filled_from_its_own_first_line_alone,
    a_rule_goes_before_an_amount_that_is_made_of_others,
    an_order_of_which_no_line_is_left_becomes_what_the_rule_sets,
    an_amount_of_a_destination_may_be_blank_on_some_of_its_lines,
    our_own_names_are_found_in_capitals_and_blank_cells_of_other_lines_are_blank,
];

fn section(keys: &str) -> ImportSection {
    let section: ImportSection = toml::from_str(keys).unwrap();
    assert_eq!(section.fault(), None);
    section
}

async fn import_mapped(
    db: &mut TestDb,
    keys: &str,
    header: &str,
    lines: &[&str],
) -> Result<String, Vec<String>> {
    import_as(db, "orders", &section(keys), &file(header, lines), IMPORTED).await
}

async fn orders(db: &mut TestDb, columns: &str) -> Vec<String> {
    rows(db, &format!("SELECT {columns} FROM orders")).await
}

async fn items(db: &mut TestDb, columns: &str) -> Vec<String> {
    rows(db, &format!("SELECT order_no, {columns} FROM orders JOIN order_items ON order_id = id")).await
}

async fn refunds(db: &mut TestDb) -> Vec<String> {
    rows(
        db,
        "SELECT order_no, refund_key, amount, refunded_at FROM orders JOIN refunds ON order_id = orders.id",
    )
    .await
}

async fn blank_cells_below_an_orders_first_line_mean_the_same(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "fill_down = true\n[columns]\norder_no = 'Name'\npaid_at = ['Paid at', 'Created at']\nordered_at = 'Created at'\n\
                total_amount = 'Total'\nmember_code = 'Email'\nproduct_code = 'Lineitem sku'\nquantity = 'Lineitem quantity'\n\
                unit_price_amount = 'Lineitem price'\nline_no = { position = true }\ntax_amount = { from = 'Lineitem tax', per = 'order' }\n\
                [[rules]]\nwhen = { 'Financial Status' = 'paid' }\nset = { status = 'PAID' }";
    let header = "Name,Email,Financial Status,Paid at,Created at,Total,Lineitem sku,Lineitem quantity,Lineitem price,Lineitem tax";
    let lines = [
        "#1,a@b.c,paid,2026-11-19 10:00,2026-11-19 09:00,300,A,1,100,5",
        "#1,,,,2026-11-19 09:00,,A,1,100,",
        ",,,,,,B,1,100,7",
        "#2,,paid,,2026-11-19 12:00,50,A,1,50,",
    ];
    import_mapped(db, keys, header, &lines).await.unwrap();
    assert_eq!(
        orders(db, "order_no, member_code, status, paid_at, total_amount, tax_amount").await,
        [
            "#1 | a@b.c | PAID | 2026-11-19T01:00:00+00:00 | 300 | 12",
            // Blank on its own first line: nobody's cell goes from one order to the next.
            "#2 | NULL | PAID | 2026-11-19T03:00:00+00:00 | 50 | 0"
        ]
    );
    assert_eq!(
        items(db, "line_key, product_code").await,
        ["#1 | 1 | A", "#1 | 2 | A", "#1 | 3 | B", "#2 | 1 | A"]
    );
}

async fn columns_fall_back_join_cut_and_default(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { constant = 'PAID' }\nordered_at = { from = ['日付', '時刻'], join = ' ', time_format = '%Y/%m/%d %H%M%S' }\n\
                paid_at = { from = '日付', time_format = ['%Y-%m-%d', '%Y/%m/%d'] }\n\
                order_no = { from = '注文番号', pattern = '^(\\d+)-(\\d+)', replace = '$2/$1' }\n\
                member_code = { from = '会員', strip = \"'0\", optional = true }\n\
                payment_method = { from = '支払', default = 'unknown' }\n\
                product_code = ['SKU', '商品名']\nproduct_name = { from = '商品名', pattern = '^(.+?) / ', or_whole = true }\n\
                cancel_reason = { from = 'no such column', optional = true }\n[values.payment_method]\n'ｶｰﾄﾞ' = 'card'\n'*' = 'other'";
    let header = "注文番号,日付,時刻,会員,支払,total_amount,SKU,商品名,quantity,unit_price_amount";
    let lines = [
        "26-001,2026/11/19,093005,'0077,カード,100,A,湯呑 / 青,1,100",
        "26-002,2026/11/20,000000,,,100,,湯呑,1,100",
        "26-003,2026/11/20,000000,5,代引,100,C,湯呑,1,100",
    ];
    import_mapped(db, keys, header, &lines).await.unwrap();
    assert_eq!(
        orders(db, "order_no, ordered_at, paid_at, member_code, payment_method").await,
        [
            "001/26 | 2026-11-19T00:30:05+00:00 | 2026-11-18T15:00:00+00:00 | 77 | card",
            "002/26 | 2026-11-19T15:00:00+00:00 | 2026-11-19T15:00:00+00:00 | NULL | unknown",
            "003/26 | 2026-11-19T15:00:00+00:00 | 2026-11-19T15:00:00+00:00 | 5 | other",
        ]
    );
    assert_eq!(
        items(db, "product_code, product_name").await,
        ["001/26 | A | 湯呑", "002/26 | 湯呑 | 湯呑", "003/26 | C | 湯呑"]
    );
}

async fn amounts_are_added_up_over_fields_lines_and_destinations(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { constant = 'PAID' }\ndiscount_amount = { from = 'points', add = ['coupon', 'gmo'] }\n\
                shipping_amount = { from = 'postage', once_per = 'to' }\ntax_amount = { from = 'tax', per = 'order' }\n\
                fee_amount = { add = ['cod', 'wrap'], subtract = ['rebate'] }\n[values.discount_amount]\n'-9999' = ''";
    let header = "order_no,ordered_at,paid_at,total_amount,points,coupon,gmo,postage,to,tax,cod,wrap,rebate,product_code,\
                  quantity,unit_price_amount";
    let at = "2026-11-19 10:00,2026-11-19 10:00";
    let lines = [
        format!("1,{at},900,10,,5,500,tokyo,7,300,50,20,A,1,100"),
        format!("1,{at},900,10,,5,500,tokyo,8,300,50,20,B,1,100"),
        format!("1,{at},900,10,,5,700,osaka,9,300,50,20,C,1,100"),
        format!("2,{at},100,-9999,,,,,,,,,A,1,100"),
    ];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "order_no, discount_amount, shipping_amount, tax_amount, fee_amount").await,
        ["1 | 15 | 1200 | 24 | 330", "2 | 0 | 0 | 0 | 0"]
    );
}

async fn a_lines_total_becomes_its_price_and_an_orders_parts_its_total(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "tax_included = false\n[columns]\nstatus = { constant = 'PAID' }\ntotal_amount = { computed = true }\n\
                line_amount = 'line total'";
    let header = "order_no,ordered_at,paid_at,shipping_amount,discount_amount,tax_amount,product_code,quantity,line total,line_discount_amount";
    let at = "2026-11-19 10:00,2026-11-19 10:00";
    let lines = [format!("1,{at},500,30,100,A,3,1000,5"), format!("1,{at},500,30,100,B,2,400,")];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(orders(db, "order_no, total_amount").await, ["1 | 1970"]);
    assert_eq!(
        items(db, "product_code, quantity, unit_price_amount, order_items.discount_amount, line_amount")
            .await,
        ["1 | A | 3 | 335 | 5 | 1000", "1 | B | 2 | 200 | 0 | 400"]
    );
    // The default is that of an empty `from`, and a part of the sum like any other.
    let keys = "[columns]\nstatus = { constant = 'PAID' }\ntotal_amount = { computed = true }\n\
                line_amount = { from = 'line total', default = '0', subtract = ['promotion'] }";
    let header = "order_no,ordered_at,paid_at,product_code,quantity,line total,promotion";
    let lines = [format!("2,{at},A,2,1000,100"), format!("2,{at},B,1,,"), format!("2,{at},C,1,,-7")];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(orders(db, "order_no, total_amount").await[1], "2 | 907");
    assert_eq!(items(db, "product_code, line_amount").await[2..], ["2 | A | 900", "2 | B | 0", "2 | C | 7"]);
}

async fn an_order_has_the_first_of_the_words_that_its_items_have(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { from = 'state', first_of = ['SHIPPED', 'PAID', 'ORDER_CANCELLED'] }\n\
                total_amount = { computed = true, add = ['adjustment'], subtract = ['voucher'] }\n\
                [values.status]\nsent = 'SHIPPED'\nnew = 'PAID'\ngone = 'ORDER_CANCELLED'\n\
                [lines]\ncolumn = 'kind'\nproduct = ['T']\nskip = ['F']";
    let header = "order_no,state,ordered_at,paid_at,cancelled_at,adjustment,voucher,product_code,quantity,unit_price_amount,kind";
    let at = "2026-11-19 10:00";
    let line = |order: &str, state: &str, product: &str, kind: &str| {
        format!("{order},{state},{at},{at},{at},-30,5,{product},1,100,{kind}")
    };
    let lines = [
        line("1", "gone", "A", "T"),
        line("1", "sent", "B", "T"),
        line("1", "new", "C", "T"),
        line("2", "gone", "A", "T"),
        line("2", "gone", "B", "T"),
        // No item of the order.
        line("2", "sent", "A", "F"),
    ];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "order_no, status, total_amount").await,
        ["1 | SHIPPED | 265", "2 | ORDER_CANCELLED | 165"]
    );
}

async fn lines_that_are_no_products_count_for_their_order(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { constant = 'PAID' }\nunit_price_amount = '価格'\n[lines]\ncolumn = '明細区分'\n\
                product = ['1']\nshipping = ['2']\nfee = ['3']\ndiscount = ['4', '6']\ntax = ['5']\ngift = ['景品']\nrefund = ['F']\nskip = ['0']";
    let header = "order_no,ordered_at,paid_at,total_amount,明細区分,product_code,quantity,価格";
    let at = "2026-11-19 10:00,2026-11-19 10:00";
    let lines = [
        // The order's own fields are those of its first product.
        "1,,,,2,,1,500".to_owned(),
        format!("1,{at},1490,1,A,2,600"),
        format!("1,{at},1490,景品,G,1,"),
        "1,,,,3,,,330".to_owned(),
        "1,,,,4,,1,-300".to_owned(),
        "1,,,,6,,1,240".to_owned(),
        "1,,,,5,,1,100".to_owned(),
        "1,,,,F,,1,-90".to_owned(),
        "1,,,,0,,,".to_owned(),
    ];
    let said = import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await;
    assert_eq!(said.unwrap(), "read 9 lines, 1 order new, 0 changed, 0 unchanged");
    assert_eq!(
        orders(db, "total_amount, shipping_amount, fee_amount, discount_amount, tax_amount").await,
        ["1490 | 500 | 330 | 540 | 100"]
    );
    assert_eq!(items(db, "product_code, quantity, line_amount").await, ["1 | A | 2 | 1200", "1 | G | 1 | 0"]);
    assert_eq!(refunds(db).await, ["1 | (total) | 90 | 2026-11-19T01:00:00+00:00"]);
}

async fn rules_set_columns_and_leave_out_lines_and_orders(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "cancelled_without_time = 'ordered_at'\n[columns]\nproduct_code = 'sku'\nquantity = 'count'\n\
                [values.status]\n'*' = 'PAID'\n\
                [[rules]]\nwhen = { status = '下書き' }\nskip = 'order'\n\
                [[rules]]\nname = 'cancelled items'\nwhen = { item = ['cancelled', 'voided'] }\nskip = 'line'\n\
                [[rules]]\nwhen = { 'paid_at' = '', status = '*' }\nset = { status = 'PAYMENT_WAIT' }\n\
                [[rules]]\nwhen = { 'paid_at' = '*', shipped = '*' }\nset = { status = 'SHIPPED', payment_method = 'card' }\n\
                [[rules]]\nwhen = { nowhere = '*' }\noptional = true\nset = { status = 'REFUNDED' }";
    let header = "order_no,ordered_at,paid_at,status,shipped,item,total_amount,sku,count,unit_price_amount";
    let lines = [
        "1,2026-11-19 10:00,,新規,,,100,A,1,100",
        "2,2026-11-19 10:00,2026-11-19 11:00,新規,2026-11-20,,100,A,1,100",
        "2,2026-11-19 10:00,2026-11-19 11:00,新規,2026-11-20,VOIDED,100,B,1,100",
        "3,2026-11-19 10:00,2026-11-19 11:00,新規,,,100,A,1,100",
        "4,2026-11-19 10:00,2026-11-19 11:00,下書き,,,100,A,1,100",
        "5,2026-11-19 10:00,2026-11-19 11:00,新規,,cancelled,100,A,1,100",
    ];
    import_mapped(db, keys, header, &lines).await.unwrap();
    assert_eq!(
        orders(db, "order_no, status, payment_method").await,
        ["1 | PAYMENT_WAIT | NULL", "2 | SHIPPED | card", "3 | PAID | NULL"]
    );
    assert_eq!(items(db, "product_code").await, ["1 | A", "2 | A", "3 | A"]);
}

async fn numbers_and_times_are_read_as_they_are_written(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "thousands = ','\ncurrency_signs = ['¥', '円']\ntime_format = ['%Y-%m-%d %H:%M:%S %z', '%Y/%m/%d']\n\
                [columns]\nstatus = { constant = 'PAID' }";
    let header = "order_no,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount";
    let lines = [
        "1,2026/11/19,2026-11-19 09:05:00 +0900,\"¥1,200,000\",A,\"1,000\",\"1,200円\"",
        "2,2026/11/19,2026/11/20,1200,A,1,\"-¥1,200\"",
    ];
    import_mapped(db, keys, header, &lines).await.unwrap();
    assert_eq!(
        orders(db, "order_no, ordered_at, paid_at, total_amount").await,
        [
            "1 | 2026-11-18T15:00:00+00:00 | 2026-11-19T00:05:00+00:00 | 1200000",
            "2 | 2026-11-18T15:00:00+00:00 | 2026-11-19T15:00:00+00:00 | 1200",
        ]
    );
    assert_eq!(items(db, "quantity, line_amount").await, ["1 | 1000 | 1200000", "2 | 1 | -1200"]);
}

const REFUNDED: &str = "order_no,status,ordered_at,paid_at,updated_at,total_amount,refunded_amount,product_code,quantity,\
                        unit_price_amount";

async fn a_refunded_amount_is_a_refund_that_follows_the_file(db: &mut TestDb) {
    with_tokyo(db).await;
    let line = |day: &str, refunded: &str| {
        format!("1,PAID,2026-11-01 10:00,2026-11-01 10:00,2026-11-{day} 10:00,1000,{refunded},A,1,1000")
    };
    import_good(db, "orders", REFUNDED, &[&line("02", "300")]).await;
    assert_eq!(refunds(db).await, ["1 | (total) | 300 | 2026-11-02T01:00:00+00:00"]);
    // The same amount stays on its day, although the order changed later.
    import_good(db, "orders", REFUNDED, &[&line("03", "300")]).await;
    assert_eq!(refunds(db).await, ["1 | (total) | 300 | 2026-11-02T01:00:00+00:00"]);
    // What is more of it went back later; an older file does not take it back.
    for (day, amount) in [("04", "500"), ("02", "300"), ("05", "500")] {
        import_good(db, "orders", REFUNDED, &[&line(day, amount)]).await;
        assert_eq!(
            refunds(db).await,
            [
                "1 | (total) 2 | 200 | 2026-11-04T01:00:00+00:00",
                "1 | (total) | 300 | 2026-11-02T01:00:00+00:00",
            ]
        );
    }
    import_good(db, "orders", REFUNDED, &[&line("06", "600")]).await;
    assert_eq!(
        refunds(db).await,
        [
            "1 | (total) 2 | 200 | 2026-11-04T01:00:00+00:00",
            "1 | (total) 3 | 100 | 2026-11-06T01:00:00+00:00",
            "1 | (total) | 300 | 2026-11-02T01:00:00+00:00",
        ]
    );
    // An amount that was too large is one refund, on the first day.
    import_good(db, "orders", REFUNDED, &[&line("07", "450")]).await;
    assert_eq!(refunds(db).await, ["1 | (total) | 450 | 2026-11-02T01:00:00+00:00"]);
    import_good(db, "orders", REFUNDED, &[&line("08", "500")]).await;
    import_good(db, "orders", REFUNDED, &[&line("09", "0")]).await;
    assert_eq!(refunds(db).await, [""; 0]);
    // A day that the file states is that day, whatever it was before.
    let stated = format!("{REFUNDED},refunded_at");
    import_good(db, "orders", &stated, &[&format!("{},2026-11-06 10:00", line("10", "500"))]).await;
    import_good(db, "orders", &stated, &[&format!("{},2026-11-05 10:00", line("11", "500"))]).await;
    assert_eq!(refunds(db).await, ["1 | (total) | 500 | 2026-11-05T01:00:00+00:00"]);
    // More on the day that is stored already is the same refund.
    import_good(db, "orders", &stated, &[&format!("{},2026-11-05 10:00", line("12", "600"))]).await;
    assert_eq!(refunds(db).await, ["1 | (total) | 600 | 2026-11-05T01:00:00+00:00"]);
}

async fn a_later_change_of_a_cancelled_order_does_not_move_its_cancellation(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "order_no,status,ordered_at,paid_at,updated_at,total_amount,product_code,quantity,unit_price_amount,payment_method";
    let line = |status: &str, day: &str, method: &str| {
        format!("1,{status},2026-11-01 10:00,2026-11-01 10:00,2026-11-{day} 10:00,1000,A,1,1000,{method}")
    };
    let days = "status, cancelled_at, payment_method";
    import_good(db, "orders", header, &[&line("ORDER_CANCELLED", "02", "card")]).await;
    import_good(db, "orders", header, &[&line("ORDER_CANCELLED", "03", "bank")]).await;
    assert_eq!(orders(db, days).await, ["ORDER_CANCELLED | 2026-11-02T01:00:00+00:00 | bank"]);
    assert_eq!(refunds(db).await, ["1 | (assumed) | 1000 | 2026-11-02T01:00:00+00:00"]);
    // It was taken back, and cancelled once more.
    import_good(db, "orders", header, &[&line("PAID", "04", "bank")]).await;
    import_good(db, "orders", header, &[&line("ORDER_CANCELLED", "05", "bank")]).await;
    assert_eq!(orders(db, days).await, ["ORDER_CANCELLED | 2026-11-05T01:00:00+00:00 | bank"]);
    assert_eq!(refunds(db).await, ["1 | (assumed) | 1000 | 2026-11-05T01:00:00+00:00"]);
}

async fn an_order_whose_money_went_back_counts_as_refunded_until_its_refunds_come(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "order_no,status,ordered_at,paid_at,cancelled_at,updated_at,total_amount,product_code,quantity,unit_price_amount";
    let refunded = "1,REFUNDED,2026-11-19 10:00,2026-11-19 10:00,,2026-11-20 10:00,1000,A,1,1000";
    let cancelled =
        "2,ORDER_CANCELLED,2026-11-19 10:00,2026-11-19 10:00,2026-11-21 10:00,2026-11-22 10:00,700,A,1,700";
    let unpaid = "3,ORDER_CANCELLED,2026-11-19 10:00,,2026-11-21 10:00,2026-11-22 10:00,700,A,1,700";
    let assumed = [
        "1 | (assumed) | 1000 | 2026-11-20T01:00:00+00:00",
        "2 | (assumed) | 700 | 2026-11-21T01:00:00+00:00",
    ];
    for _ in 0..2 {
        import_good(db, "orders", header, &[refunded, cancelled, unpaid]).await;
        assert_eq!(refunds(db).await, assumed);
    }
    // Its refunds are what was paid back, from then on.
    import_good(db, "refunds", "order_no,refund_no,amount,refunded_at", &["1,R-1,900,2026-11-23 10:00"])
        .await;
    let known = ["1 | R-1 | 900 | 2026-11-23T01:00:00+00:00", assumed[1]];
    assert_eq!(refunds(db).await, known);
    import_good(db, "orders", header, &[refunded, cancelled, unpaid]).await;
    assert_eq!(refunds(db).await, known);
    // Nobody's money went back after all.
    let delivered = cancelled
        .replace("ORDER_CANCELLED", "DELIVERED")
        .replace("2026-11-21 10:00", "")
        .replace("11-22", "11-25");
    import(db, "orders", &file(header, &[&delivered]), LATER).await.unwrap();
    assert_eq!(refunds(db).await, &known[..1]);

    let policy = |policy: &str| format!("refunded_without_amount = '{policy}'");
    let other = refunded.replacen('1', "9", 1);
    import_good(db, "orders", header, &[&other]).await;
    assert_eq!(refunds(db).await.len(), 2);
    // Nothing is assumed any more, of an order that is as it was.
    import_mapped(db, &policy("keep"), header, &[&other]).await.unwrap();
    assert_eq!(refunds(db).await, &known[..1]);
    assert_eq!(
        import_mapped(db, &policy("refuse"), header, &[&other, cancelled]).await.unwrap_err(),
        [
            "2: `refunded_amount`: is empty, but the order is REFUNDED",
            "3: `refunded_amount`: is empty, but the order was paid and is ORDER_CANCELLED",
        ]
    );
    // The shop kept the money of a cancellation: it says so.
    let kept = "4,ORDER_CANCELLED,2026-11-19 10:00,2026-11-19 10:00,2026-11-22 10:00,700,0,A,1,700";
    import_good(db, "orders", &REFUNDED.replace("updated_at", "cancelled_at"), &[kept]).await;
    assert_eq!(refunds(db).await, &known[..1]);
}

async fn what_was_cancelled_of_an_order_that_stands_goes_back_or_is_not_paid(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "order_no,status,ordered_at,paid_at,cancelled_at,total_amount,cancelled_amount,product_code,quantity,unit_price_amount";
    let lines = [
        "1,PAID,2026-11-19 10:00,2026-11-19 10:00,2026-11-21 10:00,1000,300,A,1,1000",
        "2,PAYMENT_WAIT,2026-11-19 10:00,,2026-11-21 10:00,1000,300,A,1,1000",
        "3,ORDER_CANCELLED,2026-11-19 10:00,,2026-11-21 10:00,1000,1000,A,1,1000",
    ];
    import_good(db, "orders", header, &lines).await;
    assert_eq!(
        orders(db, "order_no, total_amount, cancelled_at").await,
        // Only the third one is cancelled, and counted as such.
        ["1 | 1000 | NULL", "2 | 700 | NULL", "3 | 1000 | 2026-11-21T01:00:00+00:00"]
    );
    assert_eq!(refunds(db).await, ["1 | (cancelled) | 300 | 2026-11-21T01:00:00+00:00"]);
    let more = lines[1].replace(",300,", ",1001,");
    assert_eq!(
        import(db, "orders", &file(header, &[&more]), LATER).await.unwrap_err(),
        ["2: `cancelled_amount`: is more than the order's total"]
    );
}

async fn a_state_without_its_day_has_the_day_of_the_rule(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "order_no,status,ordered_at,updated_at,total_amount,product_code,quantity,unit_price_amount";
    let lines = [
        "1,SHIPPED,2026-11-19 10:00,2026-11-21 10:00,100,A,1,100",
        "2,PAYMENT_WAIT,2026-11-19 10:00,2026-11-21 10:00,100,A,1,100",
        "3,ORDER_CANCELLED,2026-11-19 10:00,2026-11-21 10:00,100,A,1,100",
    ];
    let (ordered, updated) = ("2026-11-19T01:00:00+00:00", "2026-11-21T01:00:00+00:00");
    for (paid, cancelled, expected) in [
        ("ordered_at", "updated_at", [ordered, updated]),
        ("updated_at", "ordered_at", [updated, ordered]),
        ("updated_at", "paid_at", [updated, ordered]),
    ] {
        let keys = format!("paid_without_time = '{paid}'\ncancelled_without_time = '{cancelled}'");
        import_mapped(db, &keys, header, &lines).await.unwrap();
        assert_eq!(
            orders(db, "order_no, paid_at, cancelled_at").await,
            [
                format!("1 | {} | NULL", expected[0]),
                "2 | NULL | NULL".to_owned(),
                format!("3 | NULL | {}", expected[1])
            ]
        );
    }
    // A day of the last change that there is not is nobody's day.
    let without = header.replace("updated_at", "note");
    let refused = import_mapped(db, "paid_without_time = 'updated_at'", &without, &lines);
    assert_eq!(
        refused.await.unwrap_err(),
        [
            "2: `paid_at`: is empty, but the order is SHIPPED",
            "4: `cancelled_at`: is empty, but the order is ORDER_CANCELLED"
        ]
    );
}

/// The key of an order may be made of several headers, and is another as soon as one of them is.
async fn an_order_is_filled_from_its_own_first_line_alone(db: &mut TestDb) {
    with_tokyo(db).await;
    let header = "store,no,status,ordered_at,paid_at,member_code,refunded_amount,total_amount,product_code,quantity,unit_price_amount";
    let at = "2026-11-19 10:00";
    let keys = |order_no: &str| format!("fill_down = true\n[columns]\norder_no = {order_no}");
    let order = |cells: &str| cells.replace("AT", at);
    let lines = [
        order("S,1,PAID,AT,AT,M1,40,300,A,1,100"),
        order("S,,,,,,,,B,1,200"),
        order("S,2,PAYMENT_WAIT,AT,,,,50,A,1,50"),
        order(",,,,,,,,B,1,0"),
        order("T,2,PAYMENT_WAIT,AT,,,,70,A,1,70"),
    ];
    let joined = keys("{ from = ['store', 'no'], join = '-' }");
    import_mapped(db, &joined, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "order_no, status, paid_at, member_code, total_amount").await,
        [
            "S-1 | PAID | 2026-11-19T01:00:00+00:00 | M1 | 300",
            "S-2 | PAYMENT_WAIT | NULL | NULL | 50",
            "T-2 | PAYMENT_WAIT | NULL | NULL | 70",
        ]
    );
    assert_eq!(refunds(db).await, ["S-1 | (total) | 40 | 2026-11-19T01:00:00+00:00"]);
    assert_eq!(items(db, "product_code").await, ["S-1 | A", "S-1 | B", "S-2 | A", "S-2 | B", "T-2 | A"]);

    // A header of which the first that is not blank counts.
    let lines = [
        order("N1,O1,PAID,AT,AT,M1,,300,A,1,300"),
        order(",O2,PAYMENT_WAIT,AT,,,,50,A,1,50"),
        order(",,,,,,,,B,1,0"),
        order("N3,,PAYMENT_WAIT,AT,,,,70,A,1,70"),
    ];
    let either = keys("['store', 'no']");
    import_mapped(db, &either, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "order_no, member_code, total_amount").await[..3],
        ["N1 | M1 | 300", "N3 | NULL | 70", "O2 | NULL | 50"]
    );
    // The same order, whose items the file tells apart in the same cell.
    let lines = [order("U1-1,,PAID,AT,AT,M1,,300,A,1,300"), order("U1-2,,,,,,,,B,1,0")];
    let cut = keys("{ from = 'store', pattern = '^(.+)-' }");
    import_mapped(db, &cut, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(items(db, "product_code").await[9..], ["U1 | A", "U1 | B"]);
}

async fn a_rule_goes_before_an_amount_that_is_made_of_others(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { constant = 'PAID' }\nshipping_amount = { add = ['postage', 'island'] }\n\
                fee_amount = { from = 'fee', per = 'order' }\ntax_amount = { from = 'tax', once_per = 'to' }\n\
                total_amount = { computed = true }\nline_amount = { from = 'price', subtract = ['rebate'] }\n\
                [[rules]]\nwhen = { free = 'yes' }\nset = { shipping_amount = '0', total_amount = '7' }\n\
                [[rules]]\nwhen = { item = 'gone' }\nset = { fee_amount = '', tax_amount = '0', line_amount = '1' }";
    let header =
        "order_no,ordered_at,paid_at,postage,island,free,fee,tax,to,item,product_code,quantity,price,rebate";
    let at = "2026-11-19 10:00,2026-11-19 10:00";
    let lines = [
        format!("1,{at},500,30,yes,5,10,x,,A,1,100,10"),
        format!("1,{at},500,30,yes,6,20,y,gone,B,1,100,10"),
        format!("2,{at},500,30,,5,10,x,,A,1,100,10"),
    ];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "order_no, total_amount, shipping_amount, fee_amount, tax_amount").await,
        ["1 | 7 | 0 | 5 | 10", "2 | 625 | 530 | 5 | 10"]
    );
    assert_eq!(items(db, "product_code, line_amount").await, ["1 | A | 90", "1 | B | 1", "2 | A | 90"]);
}

async fn an_order_of_which_no_line_is_left_becomes_what_the_rule_sets(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "cancelled_without_time = 'ordered_at'\n\
                [[rules]]\nwhen = { item = 'gone' }\nset = { status = 'ORDER_CANCELLED' }\nskip = 'line'";
    let header =
        "order_no,status,ordered_at,paid_at,total_amount,item,product_code,quantity,unit_price_amount";
    let at = "2026-11-19 10:00";
    let lines = [
        format!("1,PAID,{at},{at},300,gone,A,1,100"),
        format!("1,PAID,{at},{at},300,,B,1,300"),
        format!("2,PAYMENT_WAIT,{at},,300,gone,A,1,100"),
        format!("2,PAYMENT_WAIT,{at},,300,gone,B,1,200"),
    ];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(orders(db, "order_no, status").await, ["1 | PAID", "2 | ORDER_CANCELLED"]);
    assert_eq!(items(db, "product_code").await, ["1 | B", "2 | A", "2 | B"]);
}

async fn an_amount_of_a_destination_may_be_blank_on_some_of_its_lines(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\nstatus = { constant = 'PAID' }\nshipping_amount = { from = 'postage', add = ['wrap'], once_per = 'to' }";
    let header =
        "order_no,ordered_at,paid_at,total_amount,postage,wrap,to,product_code,quantity,unit_price_amount";
    let at = "2026-11-19 10:00,2026-11-19 10:00";
    let lines = [
        format!("1,{at},900,,5,tokyo,A,1,100"),
        format!("1,{at},900,500,0,tokyo,B,1,100"),
        format!("1,{at},900,0,,osaka,C,1,100"),
        format!("1,{at},900,700,7,osaka,D,1,100"),
    ];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(orders(db, "shipping_amount").await, ["1212"]);
}

async fn our_own_names_are_found_in_capitals_and_blank_cells_of_other_lines_are_blank(db: &mut TestDb) {
    with_tokyo(db).await;
    let keys = "[columns]\npayment_method = { from = 'pay', default = 'card' }\n[values.status]\n'' = 'PAYMENT_WAIT'\npaid = 'PAID'\n\
                [values.discount_amount]\n'' = '0'\n[lines]\ncolumn = 'kind'\nproduct = ['1']\nshipping = ['2']";
    let header = "Order_No,STATUS,ordered_at,paid_at,total_amount,discount_amount,pay,Refunded_Amount,kind,product_code,quantity,unit_price_amount";
    let at = "2026-11-19 10:00";
    let lines = [format!("1,paid,{at},{at},500,10,cash,40,1,A,1,100"), "1,,,,,,,,2,,1,400".to_owned()];
    import_mapped(db, keys, header, &lines.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(
        orders(db, "status, payment_method, shipping_amount, discount_amount").await,
        ["PAID | cash | 400 | 10"]
    );
    assert_eq!(refunds(db).await, ["1 | (total) | 40 | 2026-11-19T01:00:00+00:00"]);
}
