//! `report executive`: figures from what other jobs stored, correct changes, and the picture inside the mail.

use rustix::process::Signal;

use crate::support::{Batchctl, Mall, Member, Order, Shop, on_both_databases};

on_both_databases![
    the_figures_are_those_of_the_reports_with_true_changes,
    a_missing_comparison_is_a_dash_and_not_zero,
    without_the_days_sales_it_says_so_and_sends_nothing,
    a_mall_that_is_not_reported_yet_is_left_out_and_named,
    what_was_counted_before_a_malls_day_was_over_is_left_out,
    the_chart_is_inside_the_mail_and_named_by_its_html,
    it_is_mailed_once_and_after_a_kill_too,
    a_sum_that_lacks_a_mall_is_compared_with_nothing,
    a_mall_that_is_new_is_compared_with_the_time_before_it,
    a_figure_without_a_source_is_a_dash,
    each_language_has_its_own_labels,
    figures_that_a_rerun_failed_to_replace_are_marked,
    a_mall_whose_day_is_not_over_is_reported_on_its_own_day,
    a_day_that_is_not_reported_does_not_hold_up_another,
    malls_whose_days_end_at_different_hours_are_each_mailed_once,
];

const MORNING: &str = "2026-11-20T10:00:00+09:00";

fn report(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["report", "executive"].iter().chain(arguments)).now(MORNING)
}

fn sell(shop: &Shop, mall: Mall, number: &str, day: &str, total: i64) {
    let at = format!("2026-11-{day}T12:00:00+09:00");
    let order = Order { mall, order_no: number, total, member: Some(number), ..Order::default() };
    shop.order(Order { ordered_at: &at, paid_at: Some(&at), ..order });
}

/// Sales of 12 to 19 November: 1,000 a day, 1,500 on the 18th, two orders of 900 on the 19th.
fn tokyo(shop: &Shop) -> Mall {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in 12..=17 {
        sell(shop, mall, &day.to_string(), &day.to_string(), 1000);
    }
    sell(shop, mall, "18", "18", 1500);
    sell(shop, mall, "19a", "19", 900);
    sell(shop, mall, "19b", "19", 900);
    mall
}

fn run_reports(shop: &Shop) {
    let range = ["--from", "2026-11-12", "--to", "2026-11-19"];
    for job in ["daily-sales", "daily-cancellations"] {
        shop.batchctl(["report", job].iter().chain(&range)).run().succeeds();
    }
}

const CSV: [&str; 4] = ["--format", "csv", "--out", "-"];

fn the_figures_are_those_of_the_reports_with_true_changes(shop: &Shop) {
    let mall = tokyo(shop);
    let (ordered, cancelled) = ("2026-11-10T12:00:00+09:00", Some("2026-11-19T13:00:00+09:00"));
    let order =
        Order { mall, order_no: "c", total: 700, paid_at: None, ordered_at: ordered, ..Order::default() };
    shop.order(Order { cancelled_at: cancelled, ..order });
    run_reports(shop);
    shop.batchctl(["stats", "refresh"]).run().succeeds();
    let ran = report(shop, &CSV).run().succeeds();
    assert_eq!(
        ran.stdout,
        "business_day,mall,figure,currency,value,day_before,week_before,is_final,is_outdated,mall_name\r\n\
         2026-11-19,,net_amount,JPY,1800,1500,1000,true,false,\r\n\
         2026-11-19,,average_order_amount,JPY,900,1500,1000,true,false,\r\n\
         2026-11-19,,cancelled_amount,JPY,700,0,0,true,false,\r\n\
         2026-11-19,,orders,,2,1,1,true,false,\r\n\
         2026-11-19,,cancelled_orders,,1,0,0,true,false,\r\n\
         2026-11-19,,new_customers,,2,1,1,true,false,\r\n\
         2026-11-19,,active_members,,,,,true,false,\r\n\
         2026-11-19,,open_carts,,,,,true,false,\r\n\
         2026-11-19,,sold_out_products,,,,,true,false,\r\n\
         2026-11-19,tokyo,net_amount,JPY,1800,1500,,true,false,tokyo\r\n"
    );
    report(shop, &["--mail-to", "boss@example.jp"]).run().succeeds().is_silent();
    let text = shop.scalar("SELECT text_body FROM mails");
    for part in [
        "Net sales: ¥1,800\n  day before +20.0%, week before +80.0%",
        "Average order: ¥900\n  day before -40.0%, week before -10.0%",
        // There is no percentage from zero.
        "Cancelled amount: ¥700\nOrders: 2\n  day before +100.0%",
        "tokyo: ¥1,800 net, 2 orders, +20.0% on the day before",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn a_missing_comparison_is_a_dash_and_not_zero(shop: &Shop) {
    tokyo(shop);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run().succeeds();
    let ran = report(shop, &CSV).run().succeeds();
    assert!(ran.stdout.contains("net_amount,JPY,1800,,,true,false,\r\n"), "{ran:?}");
    assert!(!ran.stdout.contains("cancelled_amount"), "never reported, so not shown: {ran:?}");
    assert!(!ran.stdout.contains("open_carts"), "{ran:?}");
    let shown = report(shop, &["--format", "table", "--out", "-"]).run().succeeds();
    let line = shown.stdout.lines().find(|line| line.starts_with("Net sales")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["Net", "sales", "JPY", "1,800", "–", "–"]);
    report(shop, &["--mail-to", "boss@example.jp"]).run().succeeds();
    let (text, html) =
        (shop.scalar("SELECT text_body FROM mails"), shop.scalar("SELECT html_body FROM mails"));
    assert!(!text.contains('%') && html.contains('–'), "{text}");
}

fn without_the_days_sales_it_says_so_and_sends_nothing(shop: &Shop) {
    tokyo(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.execute("UPDATE malls SET created_at = '2026-11-01T00:00:00+00:00'");
    let flags = ["--mail-to", "boss@example.jp"];
    report(shop, &flags)
        .run()
        .exits(1)
        .says("the sales of 2026-11-19 are not reported yet for osaka, tokyo")
        .says(&format!("hint: {}", shop.command("dev", "report daily-sales --date 2026-11-19")));
    shop.batchctl(["report", "daily-sales", "--mall", "tokyo"]).run().succeeds();
    for asked in [["--mall", "osaka"], ["--mall", "osaka,tokyo"], ["--date", "2026-11-19"]] {
        let ran = report(shop, &[&asked[..], &flags].concat()).run().exits(1);
        ran.says("not reported yet for osaka\n");
    }
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "0");
    shop.batchctl(["report", "daily-sales"]).run().succeeds();
    report(shop, &flags).run().succeeds().is_silent();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1");
}

fn a_mall_that_is_not_reported_yet_is_left_out_and_named(shop: &Shop) {
    tokyo(shop);
    let bangkok = shop.mall("bkk", "Asia/Bangkok", "JPY");
    sell(shop, bangkok, "b", "19", 70_000);
    sell(shop, bangkok, "c", "18", 30_000);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run().succeeds();
    // As in the crontab: at one in Tokyo it is eleven in the evening there.
    shop.batchctl(["report", "daily-sales"]).now("2026-11-20T01:00:00+09:00").run().succeeds();
    shop.write(
        "batchctl.toml",
        "[[report.delivery]]\nreport = \"executive\"\nto = [\"a@example.jp\"]\nlocale = \"en\"\n",
    );
    report(shop, &["--verbose"]).run().succeeds().says("reported 2 orders of 1 mall, not included: bkk");
    // With its day it would insist on all malls; a retry means what the schedule meant.
    let line = shop.scalar("SELECT command_line FROM batch_execution WHERE job = 'report executive'");
    assert_eq!(line, "report executive --date 2026-11-19 --leave-out-missing");
    report(shop, &["--date", "2026-11-19", "--leave-out-missing", "--rerun"]).run().succeeds();
    let shown = report(shop, &["--format", "table", "--out", "-"]).run().succeeds();
    assert!(shown.stdout.contains("Not included") && shown.stdout.contains("bkk"), "{shown:?}");
    let csv = report(shop, &CSV).run().succeeds();
    assert!(csv.stdout.contains("2026-11-19,,net_amount,JPY,1800,1500,"), "of Tokyo alone: {csv:?}");
    let mails = || shop.sql("SELECT text_body, html_body FROM mails ORDER BY id");
    let [mail] = mails().try_into().unwrap();
    assert!(mail.iter().all(|body| body.contains("Not included: bkk")), "{mail:?}");
    shop.batchctl(["report", "daily-sales"]).now(MORNING).run().succeeds();
    report(shop, &[]).run().succeeds();
    let mails = mails();
    assert_eq!(mails.len(), 2, "complete, it is another report");
    assert!(mails[1].iter().all(|body| !body.contains("Not included")), "{mails:?}");
}

fn what_was_counted_before_a_malls_day_was_over_is_left_out(shop: &Shop) {
    let mall = shop.mall("new-york", "America/New_York", "USD");
    shop.member(Member { mall, status: "WITHDRAWN", ..Member::default() });
    // One in the morning of the 19th in Tokyo is eleven in the morning of the 18th in New York.
    shop.batchctl(["stats", "refresh"]).now("2026-11-19T01:00:00+09:00").run().succeeds();
    shop.batchctl(["report", "daily-sales"]).now(MORNING).run().succeeds();
    let early = report(shop, &CSV).run().succeeds();
    assert!(early.stdout.contains("2026-11-18,,orders,,0,,"), "{early:?}");
    assert!(!early.stdout.contains("active_members") && !early.stdout.contains("open_carts"), "{early:?}");
    // Two in the afternoon is midnight there.
    shop.batchctl(["stats", "refresh", "--rerun"]).now("2026-11-19T14:00:00+09:00").run().succeeds();
    let late = report(shop, &CSV).run().succeeds();
    assert!(late.stdout.contains("2026-11-18,,active_members,,0,,"), "{late:?}");
    shop.execute("UPDATE statistics_snapshots SET is_reconstructed = TRUE");
    let made = report(shop, &CSV).run().succeeds();
    assert!(!made.stdout.contains("active_members"), "of the beginning of its day: {made:?}");
}

/// Bytes of a `\x…` text.
fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("\\x")).unwrap()
}

fn the_chart_is_inside_the_mail_and_named_by_its_html(shop: &Shop) {
    tokyo(shop);
    run_reports(shop);
    report(shop, &["--mail-to", "boss@example.jp", "--locale", "ja"]).run().succeeds();
    let rows = shop.sql("SELECT name, content_type, content_id, content FROM mail_attachments");
    let html = shop.scalar("SELECT html_body FROM mails");
    let [row] = rows.as_slice() else { panic!("one picture and nothing else: {}", rows.len()) };
    assert_eq!(row[..3], ["chart.png", "image/png", "chart"]);
    assert!(html.contains("<img src=\"cid:chart\"") && html.contains(" alt=\""), "{html}");
    let picture = bytes(&row[3]);
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(picture.len() < 100_000, "{} bytes", picture.len());
    let width = u32::from_be_bytes(picture[16..20].try_into().unwrap());
    assert_eq!(width, 2 * 534, "twice the width it is shown at");
}

fn it_is_mailed_once_and_after_a_kill_too(shop: &Shop) {
    tokyo(shop);
    run_reports(shop);
    shop.write(
        "batchctl.toml",
        "[[report.delivery]]\nreport = \"executive\"\nto = [\"a@example.jp\", \"b@example.jp\"]\nlocale = \"ko\"\n",
    );
    report(shop, &[]).failpoint("before-deliver=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "0");
    for _ in 0..2 {
        report(shop, &[]).run().succeeds().is_silent();
        assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "2");
    }
    report(shop, &["--from", "2026-11-12", "--to", "2026-11-18"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "2", "older days are not delivered by themselves");
}

fn a_sum_that_lacks_a_mall_is_compared_with_nothing(shop: &Shop) {
    tokyo(shop);
    run_reports(shop);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    // It was there before, but nobody reported it.
    sell(shop, osaka, "0", "10", 5000);
    sell(shop, osaka, "1", "19", 5000);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run().succeeds();
    let ran = report(shop, &CSV).run().succeeds();
    assert!(ran.stdout.contains("2026-11-19,,net_amount,JPY,6800,,,true,false,\r\n"), "{ran:?}");
    assert!(
        ran.stdout.contains("2026-11-19,tokyo,net_amount,JPY,1800,1500,,true,false,tokyo\r\n"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("2026-11-19,osaka,net_amount,JPY,5000,,,true,false,osaka\r\n"), "{ran:?}");
}

fn a_mall_that_is_new_is_compared_with_the_time_before_it(shop: &Shop) {
    tokyo(shop);
    run_reports(shop);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    sell(shop, osaka, "1", "19", 5000);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run().succeeds();
    let ran = report(shop, &CSV).run().succeeds();
    assert!(ran.stdout.contains("2026-11-19,,net_amount,JPY,6800,1500,1000,true,false,\r\n"), "{ran:?}");
    assert!(ran.stdout.contains("2026-11-19,osaka,net_amount,JPY,5000,,,true,false,osaka\r\n"), "{ran:?}");
    // Of a day before it, nothing is missing.
    let before = report(shop, &[&CSV[..], &["--date", "2026-11-18"]].concat()).run().succeeds();
    assert!(before.stdout.contains("2026-11-18,,net_amount,JPY,1500,1000,,true,false,\r\n"), "{before:?}");
}

fn a_figure_without_a_source_is_a_dash(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall, ..Order::default() });
    run_reports(shop);
    shop.batchctl(["stats", "refresh"]).run().succeeds();
    let shown = report(shop, &["--format", "table", "--out", "-"]).run().succeeds().stdout;
    let line = |label: &str| {
        let line = shown.lines().find(|line| line.starts_with(label)).unwrap();
        line[label.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for label in ["New customers", "Active members", "Open carts", "Products sold out"] {
        assert_eq!(line(label), ["–", "–", "–"], "{shown}");
    }
    assert_eq!(line("Cancelled orders")[0], "0", "{shown}");
    report(shop, &["--mail-to", "boss@example.jp"]).run().succeeds();
    let text = shop.scalar("SELECT text_body FROM mails");
    assert!(text.contains("Active members: –\n") && text.contains("Orders: 1\n"), "{text}");
    let daily = shop.batchctl(["report", "daily-sales", "--format", "csv,table", "--out", "out"]).run();
    daily.succeeds();
    let csv = shop.read("out/daily-sales-2026-11-19.csv");
    assert!(csv.lines().nth(1).unwrap().ends_with(",1000,,,true,false,tokyo"), "{csv}");
    // Once there is one, none is none.
    shop.member(Member { mall, status: "WITHDRAWN", ..Member::default() });
    shop.order(Order { mall, order_no: "2", member: Some("M1"), ..Order::default() });
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19", "--rerun"]).run().succeeds();
    let csv = report(shop, &CSV).run().succeeds().stdout;
    assert!(csv.contains("2026-11-19,,new_customers,,1,0,0,true,false"), "{csv}");
    assert!(csv.contains("2026-11-19,,active_members,,0,,,true,false"), "{csv}");
    assert!(csv.contains("2026-11-19,,open_carts,,,,,true,false"), "{csv}");
}

fn each_language_has_its_own_labels(shop: &Shop) {
    tokyo(shop);
    run_reports(shop);
    for (locale, label) in [("en", "Net sales"), ("ja", "純売上"), ("ko", "순매출")] {
        report(shop, &["--mail-to", "a@example.jp", "--locale", locale]).run().succeeds();
        let text = shop.scalar(&format!("SELECT text_body FROM mails WHERE locale = '{locale}'"));
        assert!(text.contains(label), "{text}");
    }
}

fn a_mall_whose_day_is_not_over_is_reported_on_its_own_day(shop: &Shop) {
    tokyo(shop);
    shop.mall("new-york", "America/New_York", "USD");
    run_reports(shop);
    report(shop, &["--mail-to", "a@example.jp"]).run().succeeds();
    let texts = shop.sql("SELECT subject, text_body FROM mails ORDER BY id");
    let about: Vec<(&str, bool, bool)> = texts
        .iter()
        .map(|row| (row[0].as_str(), row[1].contains("tokyo:"), row[1].contains("new-york:")))
        .collect();
    assert_eq!(
        about,
        [
            ("Business figures of Wed 18 November 2026", false, true),
            ("Business figures of Thu 19 November 2026", true, false)
        ]
    );
}

fn a_day_that_is_not_reported_does_not_hold_up_another(shop: &Shop) {
    tokyo(shop);
    shop.mall("new-york", "America/New_York", "USD");
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-19"]).run().succeeds();
    let flags = ["--mail-to", "a@example.jp"];
    report(shop, &flags).run().exits(1).says("the sales of 2026-11-18 are not reported yet for new-york");
    assert_eq!(shop.sql("SELECT subject FROM mails"), [["Business figures of Thu 19 November 2026"]]);
    shop.batchctl(["report", "daily-sales", "--date", "2026-11-18"]).run().succeeds();
    report(shop, &flags).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "2");
}

/// The rows that are marked as older: mall, figure and value.
fn outdated(shop: &Shop) -> Vec<String> {
    let csv = report(shop, &CSV).run().succeeds().stdout;
    let older = csv.lines().filter(|line| line.contains(",true,true,"));
    older.map(|line| line.split(',').skip(1).take(4).collect::<Vec<_>>().join(" ")).collect()
}

fn figures_that_a_rerun_failed_to_replace_are_marked(shop: &Shop) {
    tokyo(shop);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    sell(shop, osaka, "1", "19", 5000);
    run_reports(shop);
    shop.batchctl(["stats", "refresh"]).run().succeeds();
    assert_eq!(outdated(shop), [""; 0]);
    let set_zone =
        |zone| shop.execute(&format!("UPDATE malls SET time_zone = '{zone}' WHERE code = 'osaka'"));
    let rerun = |job| shop.batchctl(["report", job, "--date", "2026-11-19", "--rerun"]).now(MORNING).run();
    set_zone("Asia/Oosaka");
    rerun("daily-cancellations").exits(3);
    assert_eq!(outdated(shop), [" cancelled_amount JPY 0"]);
    shop.execute("UPDATE orders SET total_amount = total_amount + 100 WHERE paid_at IS NOT NULL");
    rerun("daily-sales").exits(3);
    assert_eq!(
        outdated(shop),
        [
            // Two of Tokyo's orders are 100 more now, Osaka's is not.
            " net_amount JPY 7000",
            " average_order_amount JPY 2333",
            " cancelled_amount JPY 0",
            " orders  3",
            " cancelled_orders  0",
            " new_customers  3",
            "osaka net_amount JPY 5000",
        ]
    );
    let shown = report(shop, &["--format", "table", "--out", "-"]).run().succeeds();
    // One in the morning, when the first run computed them.
    assert!(
        shown.stdout.contains("Older figures") && shown.stdout.contains("osaka (2026-11-20 01:00 JST)"),
        "{shown:?}"
    );
    for (locale, text, html) in [
        (
            "en",
            "\nOlder figures: osaka. Their recomputation has not completed.\n",
            "<strong>Older figures:</strong> osaka.",
        ),
        (
            "ja",
            "\n※osakaは再集計が完了していないため、以前の数値を掲載しています。\n",
            "<strong>osaka</strong>は再集計が",
        ),
        (
            "ko",
            "\n※ osaka: 재집계가 완료되지 않아 이전 수치를 표시합니다.\n",
            "<strong>osaka:</strong> 재집계가",
        ),
    ] {
        report(shop, &["--mail-to", "a@example.jp", "--locale", locale]).run().succeeds();
        let sql = format!("SELECT text_body, html_body FROM mails WHERE locale = '{locale}'");
        let [mail] = shop.sql(&sql).try_into().unwrap();
        assert!(mail[0].contains(text) && mail[1].contains(html), "{mail:?}");
    }
    set_zone("Asia/Tokyo");
    for job in ["daily-sales", "daily-cancellations"] {
        rerun(job).succeeds();
    }
    assert_eq!(outdated(shop), [""; 0]);
    report(shop, &["--mail-to", "a@example.jp", "--locale", "en"]).run().succeeds();
    let texts = shop.sql("SELECT text_body FROM mails WHERE locale = 'en' ORDER BY id").concat();
    assert_eq!(texts.len(), 2, "what was older is told again once it is not");
    assert!(!texts[1].contains("Older figures"), "{texts:?}");
}

fn malls_whose_days_end_at_different_hours_are_each_mailed_once(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let new_york = shop.mall("new-york", "America/New_York", "USD");
    for day in 15..=18 {
        sell(shop, tokyo, &format!("t{day}"), &day.to_string(), 1000);
        sell(shop, new_york, &format!("n{day}"), &day.to_string(), 1000);
    }
    for day in 17..=19 {
        for job in ["daily-sales", "daily-cancellations"] {
            let at = format!("2026-11-{day}T02:00:00+09:00");
            shop.batchctl(["report", job]).now(&at).run().succeeds().is_silent();
        }
        let morning = format!("2026-11-{day}T10:00:00+09:00");
        let report = shop.batchctl(["report", "executive", "--mail-to", "boss@example.jp"]);
        report.now(&morning).run().succeeds().is_silent();
    }
    let mailed = shop.sql("SELECT subject, text_body FROM mails ORDER BY id");
    let mailed: Vec<(&str, bool, bool)> = mailed
        .iter()
        .map(|mail| (mail[0].as_str(), mail[1].contains("tokyo"), mail[1].contains("new-york")))
        .collect();
    assert_eq!(
        mailed,
        [
            ("Business figures of Sun 15 November 2026", false, true),
            ("Business figures of Mon 16 November 2026", true, false),
            ("Business figures of Mon 16 November 2026", false, true),
            ("Business figures of Tue 17 November 2026", true, false),
            ("Business figures of Tue 17 November 2026", false, true),
            ("Business figures of Wed 18 November 2026", true, false),
        ]
    );
}
