//! `--check` and `--dry-run` show all that is wrong with a file and store nothing; a refused file leaves its errors by kind;
//! sections and presets are chosen by name; figures hold where status and money disagree.

use super::{ORDERS, file, import, item_errors, order_line, orders_file, rows, runs, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    a_check_reads_the_whole_file_and_stores_nothing,
    a_dry_run_checks_the_file_too,
    of_many_bad_lines_a_hundred_are_named_and_all_are_counted_by_kind,
    a_section_is_chosen_by_name_or_by_mall,
    a_preset_or_section_that_there_is_not_is_refused,
    an_order_whose_money_went_back_is_not_counted_in_full,
    an_encoding_is_found_among_several,
];

fn a_check_reads_the_whole_file_and_stores_nothing(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(3));
    let before = shop.dump();
    import(shop, &["--check", "--kind", "orders", "orders.csv"])
        .run()
        .succeeds()
        .prints("orders.csv: 3 lines, all good; nothing was stored");
    let bad = order_line(4).replace("PAID", "返品").replace("1200,P1,1", "1200,,one");
    shop.write("bad.csv", orders_file(3) + &bad + "\n" + &order_line(5).replace("PAID", "返品") + "\n");
    let ran = import(shop, &["--check", "--kind", "orders", "bad.csv"])
        .run()
        .exits(65)
        .says("2 of 5 lines are bad, nothing was stored")
        .prints("`status`: … is not one of PAYMENT_WAIT")
        .prints("`返品` 2×")
        .prints("`product_code`: is empty")
        .prints("`quantity`: … is not a number")
        .prints("line 5, its values masked:")
        .prints("  ordered_at: 9999-99-99 99:99");
    assert!(!ran.stdout.contains("A000004"), "{}", ran.stdout);
    // Not even a run: whoever checks a file a hundred times has no history of it.
    assert_eq!(shop.dump(), before);
}

fn a_dry_run_checks_the_file_too(shop: &Shop) {
    with_tokyo(shop);
    shop.write("bad.csv", orders_file(3).replace("1200,P1", "x,P1"));
    let before = shop.dump();
    import(shop, &["--dry-run", "--kind", "orders", "bad.csv"])
        .run()
        .exits(65)
        .prints("would run")
        .prints("`total_amount`: … is not a number");
    assert_eq!(shop.dump(), before);
}

fn of_many_bad_lines_a_hundred_are_named_and_all_are_counted_by_kind(shop: &Shop) {
    with_tokyo(shop);
    let text = orders_file(150).replace("PAID", "NEW").replace("1200,P1", "1200,");
    shop.write("orders.csv", &text);
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65);
    let errors = item_errors(shop);
    assert_eq!(errors.len(), 102);
    assert!(
        errors[99].starts_with("1 orders.csv:101 check SKIPPED BAD_INPUT `status`: `NEW` is not one of"),
        "{}",
        errors[99]
    );
    assert!(
        errors[99].ends_with("[import.orders.values.status]; `product_code`: is empty"),
        "{}",
        errors[99]
    );
    assert_eq!(
        errors[100],
        "1 orders.csv check SKIPPED BAD_INPUT 150 lines in all: `product_code`: is empty"
    );
    assert!(
        errors[101]
            .starts_with("1 orders.csv check SKIPPED BAD_INPUT 150 lines in all: `status`: … is not one of")
    );
    assert!(errors[101].ends_with("(`NEW` 150×)"), "{}", errors[101]);
    assert_eq!(runs(shop), ["1 FAILED 65 150 0 150"]);
    // Corrected, all of it is read again, however few of its lines had rows of their own.
    shop.write("orders.csv", orders_file(150));
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM orders"), "150");
}

fn a_section_is_chosen_by_name_or_by_mall(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.mall("kobe", "Asia/Tokyo", "JPY");
    shop.write(
        "batchctl.toml",
        "[import.orders.columns]\norder_no = 'A'\n[import.orders.osaka.columns]\norder_no = 'B'\n\
         [import.orders.west]\nmall = 'kobe'\n[import.orders.west.columns]\norder_no = 'C'\n",
    );
    let header = "A,B,C,status,ordered_at,total_amount,product_code,quantity,unit_price_amount";
    shop.write("orders.csv", file(header, &["a,b,c,PAYMENT_WAIT,2026-11-19 10:00,100,P,1,100"]));
    for flags in [["--mall", "tokyo"].as_slice(), &["--mall", "osaka"], &["--mall", "kobe"]] {
        import(shop, &[flags, &["--kind", "orders", "orders.csv"]].concat()).run().succeeds();
    }
    let stored = "SELECT code, order_no FROM orders JOIN malls ON malls.id = mall_id";
    assert_eq!(rows(shop, stored), ["kobe | c", "osaka | b", "tokyo | a"]);
    // A section has its mall, and a section by name goes before that of the mall.
    import(shop, &["--section", "west", "--kind", "orders", "orders.csv"]).run().succeeds();
    import(shop, &["--section", "osaka", "--mall", "tokyo", "--kind", "orders", "orders.csv"])
        .run()
        .succeeds();
    assert_eq!(rows(shop, stored), ["kobe | c", "osaka | b", "tokyo | a", "tokyo | b"]);
}

fn a_preset_or_section_that_there_is_not_is_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", orders_file(1));
    import(shop, &["--preset", "shopfiy", "--kind", "orders", "orders.csv"])
        .run()
        .exits(2)
        .says("unknown preset `shopfiy`");
    import(shop, &["--section", "osaka", "--kind", "orders", "orders.csv"])
        .run()
        .exits(2)
        .says("there is no section [import.orders.osaka] in batchctl.toml")
        .says("hint: without --section, [import.orders] is used");
    shop.batchctl(["data", "presets", "show", "shopfiy"]).run().exits(2).says("unknown preset `shopfiy`");
    shop.batchctl(["data", "presets", "list"]).run().succeeds();
    shop.write("batchctl.toml", "[import.orders.osaka]\npreset = 'shopfiy'\n");
    import(shop, &["--kind", "orders", "orders.csv"])
        .run()
        .exits(78)
        .says("batchctl.toml line 2: `import.orders.osaka.preset` is not the name of a preset");
}

/// 26 orders that said REFUNDED or `ORDER_CANCELLED` were counted in full, without a word.
fn an_order_whose_money_went_back_is_not_counted_in_full(shop: &Shop) {
    with_tokyo(shop);
    let header = format!("{ORDERS},cancelled_at,updated_at");
    let lines = [
        format!("{},,", order_line(1)),
        format!("{},,2026-11-19 20:00", order_line(2).replace("PAID", "REFUNDED")),
        format!("{},2026-11-19 21:00,", order_line(3).replace("PAID", "ORDER_CANCELLED")),
    ];
    shop.write("orders.csv", file(&header, &lines.each_ref().map(String::as_str)));
    import(shop, &["--verbose", "--kind", "orders", "orders.csv"]).run().succeeds().says(
        "2 orders count as refunded in full: they are REFUNDED, or were cancelled after they were paid, without an amount \
         (2,400 JPY): line 3, order A000002; line 4, order A000003",
    );
    // In a night that nobody watches it is said once, and stays in the history.
    let summary = "summary       read 3 lines, 0 orders new, 1 changed, 2 unchanged; 2 orders count as refunded in full";
    for (run, is_news) in [(2, false), (3, true)] {
        let mut all = lines.clone();
        all[0] = format!("{},,2026-11-19 2{run}:00", order_line(1));
        if is_news {
            all[1] = all[1].replace("1200", "1100");
        }
        shop.write("orders.csv", file(&header, &all.each_ref().map(String::as_str)));
        let ended = import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
        if is_news {
            ended.says("note: orders.csv: 2 orders count as refunded in full").says("(2,300 JPY)");
        } else {
            ended.is_silent();
            shop.batchctl(["runs", "show", &run.to_string()]).run().succeeds().prints(summary);
        }
    }
    shop.write("orders.csv", file(&header, &lines.each_ref().map(String::as_str)).replace("20:00", "21:30"));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    let report = || {
        shop.batchctl(["report", "daily-sales", "--date", "2026-11-19", "--rerun"]).run().succeeds();
        shop.sql(
            "SELECT orders, gross_amount, cancelled_orders, refunded_amount, net_amount FROM daily_sales",
        )
        .concat()
    };
    assert_eq!(report(), ["3", "3600", "1", "2400", "1200"]);
    shop.batchctl(["report", "daily-cancellations", "--date", "2026-11-19"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT cancelled_orders, cancelled_amount FROM daily_cancellations").concat(),
        ["1", "1200"]
    );
    // What was really paid back takes the place of what was assumed.
    shop.write("refunds.csv", "order_no,refund_no,amount,refunded_at\nA000002,1,500,2026-11-19 22:00\n");
    import(shop, &["--kind", "refunds", "--mall", "tokyo", "refunds.csv"]).run().succeeds();
    assert_eq!(report(), ["3", "3600", "1", "1700", "1900"]);
}

fn an_encoding_is_found_among_several(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[import.orders]\nencoding = ['utf-8', 'shift_jis', 'euc-kr']\n");
    let text = |number: usize| {
        file(&format!("{ORDERS},product_name"), &[&format!("{},①湯呑ｶﾅ", order_line(number))])
    };
    shop.write("utf8.csv", text(1));
    shop.write("bom.csv", format!("\u{feff}{}", text(2)));
    shop.write("sjis.csv", encoding_rs::SHIFT_JIS.encode(&text(3)).0);
    for name in ["utf8.csv", "bom.csv", "sjis.csv"] {
        import(shop, &["--kind", "orders", name]).run().succeeds();
    }
    assert_eq!(rows(shop, "SELECT product_name FROM order_items"), ["①湯呑ｶﾅ"; 3]);
    let mut broken = text(4).into_bytes();
    broken.push(0xff);
    shop.write("broken.csv", broken);
    import(shop, &["--kind", "orders", "broken.csv"]).run().exits(65).says("is not valid utf-8");
}
