//! What proves that a day's data has come: what a file says of a day, and what it does not.

use super::{daily_sales, export, figures, import, night, orders, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    a_day_begins_at_its_midnight_in_every_zone,
    a_day_of_which_the_first_hours_are_in_a_missing_file_is_provisional,
    days_that_were_final_before_the_first_file_are_awaited_once_it_has_come,
    an_export_of_the_running_day_says_nothing_of_the_day_before,
    a_late_file_with_a_header_alone_counts_for_its_day,
    a_mall_whose_first_import_fails_is_waited_for,
];

/// Files of a week from its Monday on, in zones that are half an hour and three quarters off: that of Sunday's end did not come.
fn a_day_begins_at_its_midnight_in_every_zone(shop: &Shop) {
    shop.write("batchctl.toml", "[import.orders]\nholds = \"period\"\n");
    let import = |mall: &str, name: &str, now: &str| {
        shop.batchctl(["data", "import", "--kind", "orders", "--mall", mall, name]).now(now).run().succeeds();
    };
    for (mall, zone, offset) in
        [("delhi", "Asia/Kolkata", "+05:30"), ("kathmandu", "Asia/Kathmandu", "+05:45")]
    {
        shop.mall(mall, zone, "EUR");
        let at = |day: u32, time: &str| format!("2026-11-{day:02}T{time}:00{offset}");
        export(shop, "week.csv", &orders(&[(6, 12, 1), (7, 12, 2)]), &at(8, "01:00"));
        import(mall, "week.csv", &at(8, "02:00"));
        let monday = orders(&[(9, 0, 3), (9, 12, 4)]).replace("09 00:00", "09 00:10");
        export(shop, "next.csv", &monday, &at(10, "01:00"));
        import(mall, "next.csv", &at(10, "02:00"));
        let days = ["report", "daily-sales", "--from", "2026-11-07", "--to", "2026-11-09", "--mall", mall];
        shop.batchctl(days).now(&at(10, "03:00")).run().exits(3);
    }
    assert_eq!(
        figures(shop),
        [
            "2026-11-07 delhi 1 200 1",
            "2026-11-07 kathmandu 1 200 1",
            "2026-11-08 delhi 0 0 0",
            "2026-11-08 kathmandu 0 0 0",
            "2026-11-09 delhi 2 700 1",
            "2026-11-09 kathmandu 2 700 1",
        ]
    );
}

/// At two in the morning a shop exports what was ordered since the last time. The file of the night after the 19th is missing,
/// and with it the first two hours of the 20th.
fn a_day_of_which_the_first_hours_are_in_a_missing_file_is_provisional(shop: &Shop) {
    with_tokyo(shop);
    let bring = |day: u32, now: u32| {
        let (name, next) = (format!("{day}.csv"), day + 1);
        export(
            shop,
            &name,
            &orders(&[(day, 12, 1), (next, 1, 2)]),
            &format!("2026-11-{next}T02:00:00+09:00"),
        );
        import(shop, &name, &night(now)).succeeds();
    };
    for day in [17, 18, 20, 21] {
        bring(day, day + 1);
    }
    let days = ["--from", "2026-11-18", "--to", "2026-11-21"];
    daily_sales(shop, 22, &days)
        .run()
        .exits(3)
        .says("the orders of 2026-11-19 have not arrived")
        .says("the orders of 2026-11-20 have not arrived");
    assert_eq!(
        figures(shop),
        [
            "2026-11-18 tokyo 2 3 1",
            "2026-11-19 tokyo 1 2 0",
            "2026-11-20 tokyo 1 1 0",
            "2026-11-21 tokyo 2 3 1"
        ]
    );
    bring(19, 22);
    daily_sales(shop, 22, &["--only", "stale"]).run().succeeds();
    assert_eq!(
        figures(shop),
        [
            "2026-11-18 tokyo 2 3 1",
            "2026-11-19 tokyo 2 3 1",
            "2026-11-20 tokyo 2 3 1",
            "2026-11-21 tokyo 2 3 1"
        ]
    );
}

/// A mall is reported for two nights before anything comes; then it turns out that files of these days were missing.
fn days_that_were_final_before_the_first_file_are_awaited_once_it_has_come(shop: &Shop) {
    with_tokyo(shop);
    let cancellations = |day: u32| shop.batchctl(["report", "daily-cancellations"]).now(&night(day)).run();
    for day in [17, 18] {
        daily_sales(shop, day, &[]).run().succeeds();
        cancellations(day).succeeds();
    }
    let bring = |day: u32, now: u32| {
        let name = format!("{day}.csv");
        export(shop, &name, &orders(&[(day, 12, 1000)]), &format!("2026-11-{}T00:10:00+09:00", day + 1));
        import(shop, &name, &night(now)).succeeds();
    };
    bring(15, 19);
    bring(18, 19);
    daily_sales(shop, 19, &[]).run().exits(3).says("the orders of 2026-11-16 have not arrived");
    cancellations(19).exits(3);
    let zeros = ["2026-11-16 tokyo 0 0 0", "2026-11-17 tokyo 0 0 0", "2026-11-18 tokyo 1 1000 1"];
    assert_eq!(figures(shop), zeros);
    let cancelled = "SELECT business_day FROM daily_cancellations WHERE awaited_subject = 'ORDER' ORDER BY 1";
    assert_eq!(shop.sql(cancelled).concat(), ["2026-11-16", "2026-11-17"]);
    bring(16, 19);
    bring(17, 19);
    daily_sales(shop, 19, &["--only", "stale"]).run().succeeds();
    let final_ones = ["2026-11-16 tokyo 1 1000 1", "2026-11-17 tokyo 1 1000 1", "2026-11-18 tokyo 1 1000 1"];
    assert_eq!(figures(shop), final_ones);

    // The same of refunds, of which files begin to come.
    let refunds = "order_no,refund_no,amount,refunded_at\n16-12,R1,300,2026-11-17 10:00\n";
    export(shop, "refunds.csv", refunds, "2026-11-18T00:10:00+09:00");
    shop.batchctl(["data", "import", "--kind", "refunds", "--mall", "tokyo", "refunds.csv"])
        .now(&night(20))
        .run()
        .succeeds();
    bring(19, 20);
    daily_sales(shop, 20, &[]).run().exits(3).says("the refunds of 2026-11-18 have not arrived");
    assert_eq!(
        figures(shop),
        [
            "2026-11-16 tokyo 1 1000 1",
            "2026-11-17 tokyo 1 700 1",
            "2026-11-18 tokyo 1 1000 0",
            "2026-11-19 tokyo 1 1000 0",
        ]
    );
}

/// The file of the 19th is missing, and on the next day somebody exports what there is so far.
fn an_export_of_the_running_day_says_nothing_of_the_day_before(shop: &Shop) {
    with_tokyo(shop);
    let import = |name: &str, now: &str, flags: &[&str]| {
        let words = ["data", "import", "--kind", "orders", "--mall", "tokyo", name];
        shop.batchctl(words.iter().chain(flags)).now(now).run().succeeds();
    };
    shop.write("18.csv", orders(&[(17, 12, 1), (18, 12, 2)]));
    import("18.csv", &night(19), &["--as-of", "2026-11-19T00:10:00+09:00"]);
    let (at_noon, in_the_evening) = ("2026-11-20T12:00:00+09:00", "2026-11-20T20:00:00+09:00");
    let is_provisional = || {
        daily_sales(shop, 21, &["--date", "2026-11-19", "--rerun"]).run().exits(3);
        assert_eq!(figures(shop), ["2026-11-19 tokyo 0 0 0"]);
    };
    shop.write("20.csv", orders(&[(20, 9, 3)]));
    import("20.csv", at_noon, &["--as-of", at_noon]);
    is_provisional();
    shop.write("batchctl.toml", "[import.orders]\nholds = \"period\"\n");
    import("20.csv", in_the_evening, &["--as-of", in_the_evening, "--rerun"]);
    is_provisional();
    shop.write("batchctl.toml", "");
    export(shop, "so-far.csv", &orders(&[]), in_the_evening);
    import("so-far.csv", in_the_evening, &["--allow-empty"]);
    is_provisional();
    // The day in the name says of which one it is.
    export(shop, "orders-2026-11-19.csv", &orders(&[]), in_the_evening);
    import("orders-2026-11-19.csv", in_the_evening, &["--allow-empty"]);
    daily_sales(shop, 21, &["--date", "2026-11-19", "--rerun"]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 0 0 1"]);
}

/// Two quiet days, whose files are the same to the byte: that of the first one comes last.
fn a_late_file_with_a_header_alone_counts_for_its_day(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        "[import.orders]\nmall = \"tokyo\"\nallow_empty = true\ninbox_pattern = \"*.csv\"\n",
    );
    std::fs::create_dir(shop.path("in")).unwrap();
    let bring = |day: u32, content: &str, now: u32| {
        let name = format!("in/orders-{day}.csv");
        export(shop, &name, content, &format!("2026-11-{}T01:00:00+09:00", day + 1));
        let nightly = ["data", "import", "--inbox", "in", "--min-age", "0s"];
        shop.batchctl(nightly).now(&night(now)).run().succeeds();
    };
    let runs = || shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE job = 'data import'");
    bring(17, &orders(&[(17, 12, 1)]), 18);
    bring(19, &orders(&[]), 20);
    let days = ["--from", "2026-11-18", "--to", "2026-11-19"];
    daily_sales(shop, 20, &days).run().exits(3);
    bring(18, &orders(&[]), 21);
    assert_eq!(runs(), "3");
    daily_sales(shop, 21, &["--only", "stale"]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-18 tokyo 0 0 1", "2026-11-19 tokyo 0 0 1"]);
    // Once more it is the same file.
    bring(18, &orders(&[]), 21);
    assert_eq!(runs(), "3");
}

/// Whoever imports a file of a mall expects the next ones, even if nothing of the first one was stored.
fn a_mall_whose_first_import_fails_is_waited_for(shop: &Shop) {
    let bad = |day: u32| orders(&[(day, 12, 1000)]).replace("PAID", "PAYED");
    let (tokyo, osaka) = ("mall = \"tokyo\"", "mall = \"osaka\"");
    for mall in ["tokyo", "osaka", "kobe"] {
        shop.mall(mall, "Asia/Tokyo", "JPY");
    }
    shop.write(
        "batchctl.toml",
        format!(
            "[import.orders.tokyo]\n{tokyo}\ninbox_pattern = \"*.csv\"\n[import.orders.osaka]\n{osaka}\n"
        ),
    );
    // A report was made before anybody knew.
    daily_sales(shop, 20, &[]).run().exits(3);
    assert_eq!(figures(shop), ["2026-11-19 kobe 0 0 1", "2026-11-19 osaka 0 0 1", "2026-11-19 tokyo 0 0 0"]);
    std::fs::create_dir(shop.path("in")).unwrap();
    export(shop, "in/19.csv", &bad(19), "2026-11-20T02:00:00+09:00");
    export(shop, "19.csv", &bad(19), "2026-11-20T02:00:00+09:00");
    shop.batchctl(["data", "import", "--inbox", "in", "--min-age", "0s"]).now(&night(20)).run().exits(65);
    let words = ["data", "import", "--kind", "orders", "--section", "osaka", "19.csv"];
    let import = |now: u32| shop.batchctl(words).now(&night(now)).run();
    import(20).exits(65);
    daily_sales(shop, 20, &[])
        .run()
        .exits(3)
        .says("osaka and 1 more: the orders of 2026-11-19 have not arrived, nor any before");
    let provisional = ["2026-11-19 kobe 0 0 1", "2026-11-19 osaka 0 0 0", "2026-11-19 tokyo 0 0 0"];
    assert_eq!(figures(shop), provisional);
    export(shop, "19.csv", &orders(&[(19, 12, 1000)]), "2026-11-20T02:00:00+09:00");
    import(21).succeeds();
    daily_sales(shop, 20, &["--date", "2026-11-19", "--mall", "osaka"]).run().succeeds();
    assert_eq!(figures(shop)[1], "2026-11-19 osaka 1 1000 1");
}
