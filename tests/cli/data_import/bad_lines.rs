//! An invalid field is reported with its line and its column, and without a skip limit nothing of its file is stored.

use super::{file, import, item_errors, runs, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    an_invalid_field_is_named,
    a_negative_amount_of_an_order_is_said_to_be_a_refund_and_a_discount_is_not,
    another_malls_unknown_time_zone_does_not_matter,
    a_state_that_lacks_its_time_is_named,
    lines_that_disagree_about_their_order_are_named,
    a_product_twice_in_an_order_needs_line_numbers,
    a_line_that_is_there_twice_is_to_be_removed_rather_than_numbered,
    an_order_whose_lines_are_not_consecutive_is_refused,
    a_duplicate_record_is_refused,
    two_keys_that_mean_the_same_record_are_refused,
    members_and_products_are_checked_too,
    a_refund_has_to_match_a_stored_order,
    a_quantity_of_zero_is_stored_and_a_negative_one_is_refused,
    every_bad_line_is_a_row_and_five_problems_are_quoted,
    a_time_that_is_none_is_an_error_of_its_line_in_every_column,
];

const ORDERS: &str = "mall,order_no,status,ordered_at,paid_at,cancelled_at,total_amount,currency,tax_amount,product_code,\
                      quantity,unit_price_amount";

/// The problem of a line of a file, as in its row; the file has a good line before it, and nothing of it is stored.
#[track_caller]
fn problem(shop: &Shop, kind: &str, header: &str, good: &str, line: &str) -> String {
    shop.write("bad.csv", file(header, &[good, line]));
    let before = shop_rows(shop);
    let ran = import(shop, &["--kind", kind, "bad.csv"])
        .run()
        .exits(65)
        .says("1 of 2 lines is bad, more than the skip limit of 0; nothing was imported")
        .says("hint: fix the file, or ")
        .says("skip bad lines with --skip-limit N");
    assert_eq!(shop_rows(shop), before, "{line}");
    let last = item_errors(shop).pop().unwrap_or_default();
    let (_run, error) = last.split_once(' ').unwrap_or_default();
    let problem = error.strip_prefix("bad.csv:3 check SKIPPED BAD_INPUT ").unwrap_or(error).to_owned();
    assert!(ran.stderr.contains(&format!("  bad.csv:3: {problem}\n")), "{problem}\n{}", ran.stderr);
    problem
}

const GOOD_ORDER: &str = "tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,,1200,,,P1,1,1200";

#[track_caller]
fn order_problem(shop: &Shop, line: &str) -> String {
    problem(shop, "orders", ORDERS, GOOD_ORDER, line)
}

fn another_malls_unknown_time_zone_does_not_matter(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("mars", "Mars/Olympus", "JPY");
    let line = GOOD_ORDER.replace("tokyo", "mars").replace("A-1", "A-2");
    let problem = order_problem(shop, &line);
    assert!(problem.starts_with("`mall`: ") && problem.contains("Mars/Olympus"), "{problem}");
    shop.write("good.csv", file(ORDERS, &[GOOD_ORDER]));
    import(shop, &["--kind", "orders", "good.csv"]).run().succeeds();
}

fn an_invalid_field_is_named(shop: &Shop) {
    with_tokyo(shop);
    let line = |from: &str, to: &str| GOOD_ORDER.replace("A-1", "A-2").replacen(from, to, 1);
    let cases = [
        (line("tokyo", "osaka"), "`mall`: unknown mall `osaka`: correct the code; the malls are tokyo"),
        (line("tokyo", ""), "`mall`: is empty"),
        (line("A-2", ""), "`order_no`: is empty"),
        (
            line("PAID", "paid"),
            "`status`: `paid` is not one of PAYMENT_WAIT, PAID, SHIPPED, DELIVERED, ORDER_CANCELLED, REFUNDED: map it in \
             batchctl.toml, [import.orders.values.status]",
        ),
        (line("2026-11-19", "2026-02-30"), "`ordered_at`: `2026-02-30 10:00` is not a time that exists"),
        (
            line("2026-11-19 10:00", "19.11.2026 10:00"),
            "`ordered_at`: `19.11.2026 10:00` is not a time: write YYYY-MM-DD HH:MM:SS (local), or RFC 3339 with its \
             offset, or set time_format",
        ),
        (
            line("2026-11-19 10:00", "0026-11-19 10:00"),
            "`ordered_at`: `0026-11-19 10:00` has an implausible year: write four digits",
        ),
        (
            line(",1200,", ",\"1,200\","),
            "`total_amount`: `1,200` is not a number: write `1200`, or set thousands = ','",
        ),
        (line(",1200,", ",1200.5,"), "`total_amount`: `1200.5` has too many decimals: JPY has 0"),
        (line(",1200,,", ",12.345,USD,"), "`total_amount`: `12.345` has too many decimals: USD has 2"),
        (line(",1200,", ",１２００,"), "`total_amount`: `１２００` is not a number: write `1200`"),
        (
            line(",1200,", ",¥1200,"),
            "`total_amount`: `¥1200` is not a number: use only digits, one `.` and a leading `-`, or set currency_signs = ['¥']",
        ),
        (
            line(",1200,", ",9223372036854775808,"),
            "`total_amount`: `9223372036854775808` is too large an amount",
        ),
        (line(",1200,", ",,"), "`total_amount`: is empty"),
        (
            line(",1200,,", ",1200,YEN,"),
            "`currency`: `YEN` is not a currency: write an ISO 4217 code such as JPY",
        ),
        (
            line("P1,1,1200", "P1,2,1000000000000000"),
            "`quantity` times `unit_price_amount` is too large an amount: 2 × 1000000000000000 minor units",
        ),
        (line("P1,1,", "P1,1.5,"), "`quantity`: `1.5` has decimals"),
        (line("P1,", ","), "`product_code`: is empty"),
    ];
    for (line, expected) in cases {
        assert_eq!(order_problem(shop, &line), expected);
    }
}

/// What a negative order most likely is: without its sign it would be a sale.
const REFUND: &str = "most likely a refund or a cancellation; import a refund with --kind refunds, and a cancelled order \
                      with its amount and the status ORDER_CANCELLED (see docs/import.md)";

fn a_negative_amount_of_an_order_is_said_to_be_a_refund_and_a_discount_is_not(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,order_no,status,ordered_at,paid_at,total_amount,discount_amount,shipping_amount,tax_amount,\
                  product_code,quantity,unit_price_amount,line_discount_amount,line_tax_amount";
    let good = "tokyo,A-1,PAID,2026-11-19 10:00,2026-11-19 10:05,1200,1,2,3,P1,1,1200,4,5";
    let negative = |from: &str, to: &str| {
        problem(shop, "orders", header, good, &good.replace("A-1", "A-2").replace(from, to))
    };
    for (from, to, field) in [
        (",1200,1,", ",-1200,1,", "`total_amount`: `-1200`"),
        (",2,3,P1", ",-2,3,P1", "`shipping_amount`: `-2`"),
        (",3,P1", ",-3,P1", "`tax_amount`: `-3`"),
        (",4,5", ",4,-5", "`line_tax_amount`: `-5`"),
    ] {
        assert_eq!(negative(from, to), format!("{field} is negative: {REFUND}"));
    }
    let discount = "the column is how much was deducted; export the discount like that, and a surcharge as a line of its \
                    own";
    for (from, to, field) in
        [(",1,2,3", ",-1,2,3", "`discount_amount`: `-1`"), (",4,5", ",-4,5", "`line_discount_amount`: `-4`")]
    {
        assert_eq!(negative(from, to), format!("{field} is negative: {discount}"));
    }
    // A line that takes something off, such as a coupon, is a line like any other.
    shop.write("orders.csv", file(ORDERS, &[&GOOD_ORDER.replace("P1,1,1200", "COUPON,1,-300")]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(shop.sql("SELECT product_code, line_amount FROM order_items"), [["COUPON", "-300"]]);
}

fn a_state_that_lacks_its_time_is_named(shop: &Shop) {
    with_tokyo(shop);
    for status in ["PAID", "SHIPPED", "DELIVERED", "REFUNDED"] {
        let line = format!("tokyo,A-2,{status},2026-11-19 10:00,,,1200,,,P1,1,1200");
        assert_eq!(order_problem(shop, &line), format!("`paid_at`: is empty, but the order is {status}"));
    }
    let line = "tokyo,A-2,ORDER_CANCELLED,2026-11-19 10:00,,,1200,,,P1,1,1200";
    assert_eq!(order_problem(shop, line), "`cancelled_at`: is empty, but the order is ORDER_CANCELLED");
}

fn lines_that_disagree_about_their_order_are_named(shop: &Shop) {
    with_tokyo(shop);
    let cases = [
        (",1200,,", ",1300,,", "`total_amount`: `1300` differs from `1200` on line 2 of the same order"),
        ("PAID", "SHIPPED", "`status`: `SHIPPED` differs from `PAID` on line 2 of the same order"),
        (
            "10:05",
            "10:06",
            "`paid_at`: `2026-11-19 10:06` differs from `2026-11-19 10:05` on line 2 of the same order",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(order_problem(shop, &GOOD_ORDER.replacen(from, to, 1).replace("P1", "P2")), expected);
    }
}

fn a_product_twice_in_an_order_needs_line_numbers(shop: &Shop) {
    with_tokyo(shop);
    let more = GOOD_ORDER.replace("P1,1,", "P1,2,");
    assert_eq!(
        order_problem(shop, &more),
        "`product_code`: `P1` occurs twice in the same order: distinguish its lines with a column `line_no`"
    );
    let numbered = format!("{ORDERS},line_no");
    let line = |number: &str| format!("{GOOD_ORDER},{number}");
    assert_eq!(
        problem(shop, "orders", &numbered, &line("1"), &format!("{more},1")),
        "`line_no`: `1` occurs twice in the same order"
    );
    shop.write("orders.csv", file(&numbered, &[&line("1"), &line("2")]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT line_key, product_code FROM order_items ORDER BY line_key"),
        [["1", "P1"], ["2", "P1"]]
    );
}

fn a_line_that_is_there_twice_is_to_be_removed_rather_than_numbered(shop: &Shop) {
    with_tokyo(shop);
    let same = "the line is the same as line 2: remove it, or, if the product really is in the order twice, number both \
                lines in a column `line_no`";
    assert_eq!(order_problem(shop, GOOD_ORDER), same);
    // A column that we do not read, and the way in which a field is written, make no difference.
    let noted = format!("{ORDERS},note,line_no");
    let good = format!("{GOOD_ORDER},a,7");
    let again = format!("{},b,7", GOOD_ORDER.replace("P1", "\" P1\""));
    assert_eq!(problem(shop, "orders", &noted, &good, &again), same);
    // Either remedy leads to what it says.
    shop.write("orders.csv", file(ORDERS, &[GOOD_ORDER]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT CAST(SUM(quantity) AS BIGINT) FROM order_items"), "1");
    let lines = [format!("{GOOD_ORDER},1"), format!("{GOOD_ORDER},2")];
    shop.write("orders.csv", file(&format!("{ORDERS},line_no"), &lines.each_ref().map(String::as_str)));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT CAST(SUM(quantity) AS BIGINT) FROM order_items"), "2");
}

fn an_order_whose_lines_are_not_consecutive_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let other = GOOD_ORDER.replace("A-1", "A-2");
    let more = GOOD_ORDER.replace("P1", "P2");
    shop.write("orders.csv", file(ORDERS, &[GOOD_ORDER, &other, &more]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65).says("2 of 3 lines are bad");
    assert_eq!(shop_rows(shop), before);
    assert_eq!(
        item_errors(shop),
        [
            "1 orders.csv:2 check SKIPPED BAD_INPUT the same order is also on line 4: its lines have to be consecutive; if it is there twice, delete one",
            "1 orders.csv:4 check SKIPPED BAD_INPUT the same order is also on line 2: its lines have to be consecutive; if it is there twice, delete one",
        ]
    );
}

fn a_duplicate_record_is_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("ny", "America/New_York", "USD");
    // The same code in another mall is another product.
    let lines = ["tokyo,P1,a,1", "ny,P1,a,1", "tokyo,P2,a,1", "tokyo,P1,b,2"];
    shop.write("products.csv", file("mall,product_code,name,price_amount", &lines));
    let before = shop_rows(shop);
    import(shop, &["--kind", "products", "products.csv"]).run().exits(65).says("2 of 4 lines are bad");
    assert_eq!(shop_rows(shop), before);
    assert_eq!(
        item_errors(shop),
        [
            "1 products.csv:2 check SKIPPED BAD_INPUT the same product is also on line 5",
            "1 products.csv:5 check SKIPPED BAD_INPUT the same product is also on line 2",
        ]
    );
}

fn members_and_products_are_checked_too(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,member_code,status,signed_up_at,confirmed_at";
    let good = "tokyo,M1,ACTIVE,2026-11-19 10:00,";
    let member = |line| problem(shop, "members", header, good, line);
    assert_eq!(
        member("tokyo,M2,active,2026-11-19 10:00,"),
        "`status`: `active` is not one of UNCONFIRMED, ACTIVE, WITHDRAWN: map it in batchctl.toml, \
         [import.members.values.status]"
    );
    assert_eq!(member("tokyo,,ACTIVE,2026-11-19 10:00,"), "`member_code`: is empty");
    assert_eq!(member("tokyo,M2,ACTIVE,,"), "`signed_up_at`: is empty");
    assert_eq!(
        member("tokyo,M2,ACTIVE,2026-11-19 10:00,2026-11-31 10:00"),
        "`confirmed_at`: `2026-11-31 10:00` is not a time that exists"
    );
    let header = "mall,product_code,name,price_amount,status,stock_quantity";
    let good = "tokyo,P1,a,1200,,";
    let product = |line| problem(shop, "products", header, good, line);
    assert_eq!(product("tokyo,P2,,1200,,"), "`name`: is empty");
    assert_eq!(
        product("tokyo,P2,a,-1,,"),
        "`price_amount`: `-1` is negative: most likely a discount that the shop keeps as a product; leave out what is not \
         for sale"
    );
    assert_eq!(product("tokyo,P2,a,1,,2.5"), "`stock_quantity`: `2.5` has decimals");
    assert_eq!(
        product("tokyo,P2,a,1,NEW,2"),
        "`status`: `NEW` is not one of ON_SALE, SOLD_OUT, DISCONTINUED: map it in batchctl.toml, \
         [import.products.values.status]"
    );
}

fn a_refund_has_to_match_a_stored_order(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("ny", "America/New_York", "USD");
    shop.write("orders.csv", file(ORDERS, &[GOOD_ORDER]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let header = "mall,order_no,refund_no,amount,refunded_at,currency";
    let good = "tokyo,A-1,R1,1200,2026-11-19 18:00,";
    let refund = |line| problem(shop, "refunds", header, good, line);
    assert_eq!(
        refund("tokyo,A-9,R1,1200,2026-11-19 18:00,"),
        "`order_no`: unknown order `A-9`: import its orders first"
    );
    assert_eq!(
        refund("ny,A-1,R1,12,2026-11-19 18:00,"),
        "`order_no`: unknown order `A-1`: import its orders first"
    );
    assert_eq!(
        refund("tokyo,A-1,R2,12.00,2026-11-19 18:00,USD"),
        "`currency`: the refund is in USD, its order in JPY"
    );
    assert_eq!(
        refund("tokyo,A-1,R2,-5,2026-11-19 18:00,"),
        "`amount`: `-5` is negative: the column is how much was paid back to the buyer; export refunds like that, and leave \
         out one that was reversed"
    );
}

fn a_quantity_of_zero_is_stored_and_a_negative_one_is_refused(shop: &Shop) {
    with_tokyo(shop);
    assert_eq!(
        order_problem(shop, "tokyo,A-2,PAID,2026-11-19 10:00,2026-11-19 10:05,,1200,,,P1,-1,1200"),
        format!("`quantity`: `-1` is negative: {REFUND}")
    );
    let free = "tokyo,A-2,PAID,2026-11-19 10:00,2026-11-19 10:05,,0,,,P1,0,1200";
    shop.write("orders.csv", file(ORDERS, &[free]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(shop.sql("SELECT quantity, line_amount FROM order_items"), [["0", "0"]]);
}

fn every_bad_line_is_a_row_and_five_problems_are_quoted(shop: &Shop) {
    with_tokyo(shop);
    let mut lines: Vec<String> =
        (0..40).map(|number| GOOD_ORDER.replace("A-1,PAID", &format!("A-{number},NEW"))).collect();
    // Seven problems, of which the first one is that of forty lines.
    lines.extend((40..46).map(|number| GOOD_ORDER.replace("A-1,PAID", &format!("A-{number},S{number}"))));
    lines.push(lines[0].replace("A-0", "A-46"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shop.write("orders.csv", file(ORDERS, &lines));
    let ran = import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65);
    let quoted: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("  orders.csv:"))
        .map(|line| line.split(" is not one of").next().unwrap_or_default())
        .collect();
    assert_eq!(
        quoted,
        [
            "  orders.csv:2 and 40 more: `status`: `NEW`",
            "  orders.csv:42: `status`: `S40`",
            "  orders.csv:43: `status`: `S41`",
            "  orders.csv:44: `status`: `S42`",
            "  orders.csv:45: `status`: `S43`",
        ]
    );
    assert!(ran.stderr.lines().count() <= 20, "{}", ran.stderr);
    assert_eq!(item_errors(shop).len(), 47);
    assert_eq!(runs(shop), ["1 FAILED 65 47 0 47"]);
}

fn two_keys_that_mean_the_same_record_are_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[import.products.values.product_code]\na = \"X\"\nb = \"X\"\n");
    let header = "mall,product_code,name,price_amount";
    shop.write("twice.csv", file(header, &["tokyo,a,Tea,100", "tokyo,b,Tea,200"]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "products", "twice.csv"])
        .run()
        .exits(65)
        .says("twice.csv:2: the same product is also on line 3")
        .says("twice.csv:3: the same product is also on line 2");
    assert_eq!(shop_rows(shop), before);
}

/// Each kind with a time or a day: its header, a good line with `KEY` for its key, and those columns.
const TIMED: [(&str, &str, &str, &[&str]); 7] = [
    (
        "orders",
        ORDERS,
        "tokyo,KEY,PAID,2026-11-19 10:00,2026-11-19 10:05,,1200,,,P1,1,1200",
        &["ordered_at", "paid_at", "cancelled_at"],
    ),
    (
        "members",
        "mall,member_code,status,signed_up_at,confirmed_at,withdrawn_at,erasure_requested_at,updated_at",
        "tokyo,KEY,WITHDRAWN,2026-11-01 10:00,2026-11-01 11:00,2026-11-02 10:00,2026-11-03 10:00,2026-11-04 10:00",
        &["signed_up_at", "confirmed_at", "withdrawn_at", "erasure_requested_at", "updated_at"],
    ),
    (
        "carts",
        "mall,cart_key,last_activity_at,ordered_at,updated_at,product_code,quantity,unit_price_amount",
        "tokyo,KEY,2026-11-01 10:00,2026-11-01 11:00,2026-11-01 11:00,P1,1,100",
        &["last_activity_at", "ordered_at", "updated_at"],
    ),
    (
        "subscriptions",
        "mall,subscription_no,member_code,plan_name,status,amount,next_charge_day,cancel_by_day,updated_at",
        "tokyo,KEY,M1,Premium,ACTIVE,980,2026-12-01,2026-11-30,2026-11-01 10:00",
        &["next_charge_day", "cancel_by_day", "updated_at"],
    ),
    (
        "articles",
        "mall,article_key,title,summary,url,published_at,updated_at",
        "tokyo,KEY,a title,a summary,https://news/a,2026-11-01 10:00,2026-11-01 10:00",
        &["published_at", "updated_at"],
    ),
    (
        "coupons",
        "mall,code,description,expires_day,updated_at",
        "tokyo,KEY,10 %,2026-12-31,2026-11-01 10:00",
        &["expires_day", "updated_at"],
    ),
    (
        "products",
        "mall,product_code,name,price_amount,updated_at",
        "tokyo,KEY,Tea,100,2026-11-01 10:00",
        &["updated_at"],
    ),
];

/// What an export of a damaged table may hold.
const NOT_TIMES: [&str; 9] = [
    "infinity",
    "-infinity",
    "garbage",
    "now",
    "2026-02-30",
    "2026-02-30T10:00:00+00:00",
    "2026-11-20T24:00:00+00:00",
    "294276-12-31 00:00:00",
    "0000-00-00 00:00:00",
];

fn a_time_that_is_none_is_an_error_of_its_line_in_every_column(shop: &Shop) {
    with_tokyo(shop);
    for (kind, header, good, columns) in TIMED {
        let mut lines = vec![good.replace("KEY", "good")];
        let mut expected = Vec::new();
        for column in columns {
            let place = header.split(',').position(|name| name == *column).unwrap();
            for bad in NOT_TIMES {
                let line = good.replace("KEY", &format!("K{}", lines.len()));
                let mut fields: Vec<&str> = line.split(',').collect();
                fields[place] = bad;
                lines.push(fields.join(","));
                expected.push((format!("bad.csv:{} ", lines.len() + 1), format!("`{column}`: ")));
            }
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        shop.write("bad.csv", file(header, &lines));
        let before = shop_rows(shop);
        import(shop, &["--kind", kind, "bad.csv"]).run().exits(65);
        assert_eq!(shop_rows(shop), before, "{kind}");
        let errors = item_errors(shop);
        let errors = &errors[errors.len() - expected.len()..];
        for (error, (line, column)) in errors.iter().zip(&expected) {
            assert!(error.contains(line) && error.contains(column), "{kind} {line}{column}: {error}");
        }
        // The one good line is stored where the others may be skipped.
        import(shop, &["--kind", kind, "bad.csv", "--skip-limit", "100"]).run().exits(3);
        assert_ne!(shop_rows(shop), before, "{kind}");
        assert!(!shop_rows(shop).contains("infinity"), "{kind}");
        // Bytes that are not UTF-8, in the key as anywhere.
        let text = file(header, &[good]).replace("KEY", "K\u{1}");
        let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
        shop.write("bytes.csv", bytes);
        let before = shop_rows(shop);
        import(shop, &["--kind", kind, "bytes.csv"]).run().exits(65).says("UTF-8");
        assert_eq!(shop_rows(shop), before, "{kind}");
    }
}
