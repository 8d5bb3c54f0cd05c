//! The report by mail: its recipients, its attachments, and that each recipient gets the same figures once.

use rustix::process::Signal;

use super::report;
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![
    mail_to_queues_one_mail_for_each_recipient_with_the_files_attached,
    an_invalid_address_is_refused_before_anything_is_done,
    a_wrong_address_in_the_file_is_refused_with_its_key_and_line,
    a_delivery_that_names_an_unknown_mall_is_a_wrong_configuration,
    the_nightly_run_delivers_without_a_flag_and_only_once,
    a_run_that_is_killed_before_its_delivery_delivers_at_the_next_start,
    changed_figures_are_mailed_again_and_the_same_ones_are_not,
    a_range_is_one_mail_and_its_scheduled_delivery_covers_only_the_last_day,
    provisional_figures_are_mailed_on_request_only,
    each_mall_is_delivered_on_its_own_last_finished_day,
    a_mall_whose_day_is_not_over_is_named_as_missing,
    an_empty_column_and_redundant_totals_are_left_out,
    a_run_of_one_mall_does_not_deliver_for_all,
    a_csv_is_attached_in_the_encoding_asked_for,
    a_mail_says_on_which_day_a_sale_counts_of_a_shop_that_does_not_state_it,
];

const DELIVERY: &str = r#"
[[report.delivery]]
report = "daily-sales"
to = ["Sales <sales@example.jp>", "boss@example.jp"]
format = ["csv", "json"]
subject = "Figures of {day}"
"#;

/// A shop in Tokyo with an order of 1,000 on each of four days.
fn tokyo(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in ["16", "17", "18", "19"] {
        let at = format!("2026-11-{day}T12:00:00+09:00");
        shop.order(Order { mall, order_no: day, ordered_at: &at, paid_at: Some(&at), ..Order::default() });
    }
}

/// The queue: kind, recipient, subject and priority, in the order of the queueing.
fn mails(shop: &Shop) -> Vec<String> {
    let rows = shop.sql("SELECT kind, recipient, subject, priority FROM mails ORDER BY id");
    rows.into_iter().map(|row| row.join(" | ")).collect()
}

fn attachments(shop: &Shop) -> Vec<String> {
    let rows = shop.sql("SELECT mail_id, name, content_type, content_id FROM mail_attachments ORDER BY id");
    rows.into_iter().map(|row| row.join(" | ")).collect()
}

fn mail_to_queues_one_mail_for_each_recipient_with_the_files_attached(shop: &Shop) {
    tokyo(shop);
    let flags =
        ["--mail-to", "a@example.jp,b@example.jp", "--mail-to", "A@example.jp", "--format", "csv,xlsx"];
    report(shop, &flags).run().succeeds().is_silent();
    assert_eq!(
        mails(shop),
        [
            "daily-sales | a@example.jp | Sales of Thu 19 November 2026 | 2",
            "daily-sales | b@example.jp | Sales of Thu 19 November 2026 | 2",
        ]
    );
    let xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    assert_eq!(
        attachments(shop),
        [
            "1 | daily-sales-2026-11-19.csv | text/csv; charset=utf-8 | NULL".to_owned(),
            format!("1 | daily-sales-2026-11-19.xlsx | {xlsx} | NULL"),
            "2 | daily-sales-2026-11-19.csv | text/csv; charset=utf-8 | NULL".to_owned(),
            format!("2 | daily-sales-2026-11-19.xlsx | {xlsx} | NULL"),
        ]
    );
    let text = shop.scalar("SELECT text_body FROM mails WHERE id = 1");
    // The day before is not reported, so there is nothing to compare with.
    assert!(text.contains("  Net:      ¥1,000\n"), "{text}");
    assert!(text.contains("Attached: daily-sales-2026-11-19.csv, daily-sales-2026-11-19.xlsx"), "{text}");
}

fn an_invalid_address_is_refused_before_anything_is_done(shop: &Shop) {
    tokyo(shop);
    let before = shop.dump();
    let ran = report(shop, &["--mail-to", "a@example.jp,hunter22"]).run().exits(2);
    ran.says("--mail-to, address 2: not a mail address").never_shows("hunter22");
    assert_eq!(shop.dump(), before);
}

fn a_wrong_address_in_the_file_is_refused_with_its_key_and_line(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", DELIVERY.replace("boss@example.jp", "boss"));
    report(shop, &[])
        .run()
        .exits(78)
        .says("/batchctl.toml line 4: `report.delivery.to`: entry 2 is not a mail address");
}

fn a_delivery_that_names_an_unknown_mall_is_a_wrong_configuration(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", format!("{DELIVERY}mall = [\"osaka\"]\n"));
    report(shop, &[])
        .run()
        .exits(78)
        .says("`report.delivery.mall` of a delivery of daily-sales: unknown mall `osaka`");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM daily_sales"), "0");
}

fn the_nightly_run_delivers_without_a_flag_and_only_once(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", DELIVERY);
    report(shop, &[]).run().succeeds().is_silent();
    let expected = [
        "daily-sales | Sales <sales@example.jp> | Figures of 2026-11-19 | 2",
        "daily-sales | boss@example.jp | Figures of 2026-11-19 | 2",
    ];
    assert_eq!(mails(shop), expected);
    report(shop, &[]).run().succeeds().is_silent();
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(mails(shop), expected);
}

fn a_run_that_is_killed_before_its_delivery_delivers_at_the_next_start(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", DELIVERY);
    report(shop, &[]).failpoint("before-deliver=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(shop.sql("SELECT status FROM batch_execution"), [["COMPLETED"]]);
    assert_eq!(mails(shop).len(), 0);
    report(shop, &[]).run().succeeds().is_silent();
    assert_eq!(mails(shop).len(), 2);
    assert_eq!(attachments(shop).len(), 4);
    report(shop, &[]).run().succeeds();
    assert_eq!(mails(shop).len(), 2);
}

fn changed_figures_are_mailed_again_and_the_same_ones_are_not(shop: &Shop) {
    tokyo(shop);
    let flags = ["--mail-to", "a@example.jp", "--format", "csv"];
    report(shop, &flags).run().succeeds();
    report(shop, &[&flags[..], &["--rerun"]].concat()).run().succeeds();
    assert_eq!(mails(shop).len(), 1);
    shop.execute("UPDATE orders SET total_amount = 2000 WHERE order_no = '19'");
    report(shop, &[&flags[..], &["--date", "2026-11-19"]].concat()).run().succeeds();
    assert_eq!(mails(shop).len(), 1, "what is stored has not changed yet");
    report(shop, &[&flags[..], &["--rerun"]].concat()).run().succeeds();
    assert_eq!(mails(shop).len(), 2);
    assert!(shop.scalar("SELECT text_body FROM mails WHERE id = 2").contains("  Net:      ¥2,000\n"));
}

fn a_range_is_one_mail_and_its_scheduled_delivery_covers_only_the_last_day(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", DELIVERY);
    let range = ["--from", "2026-11-16", "--to", "2026-11-18"];
    report(shop, &range).run().succeeds();
    assert_eq!(mails(shop).len(), 0, "a backfill mails nothing automatically");
    report(shop, &[&range[..], &["--mail-to", "a@example.jp", "--format", "csv"]].concat()).run().succeeds();
    assert_eq!(
        mails(shop),
        ["daily-sales | a@example.jp | Sales of 16 November 2026 to 18 November 2026 | 2"]
    );
    assert_eq!(
        attachments(shop),
        ["1 | daily-sales-2026-11-16_2026-11-18.csv | text/csv; charset=utf-8 | NULL"]
    );
    report(shop, &["--from", "2026-11-16", "--to", "2026-11-19"]).run().succeeds();
    let subjects = shop.sql("SELECT subject FROM mails WHERE id > 1 ORDER BY id");
    assert_eq!(subjects, [["Figures of 2026-11-19"], ["Figures of 2026-11-19"]]);
}

fn provisional_figures_are_mailed_on_request_only(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", DELIVERY);
    let so_far = ["--date", "2026-11-20", "--so-far"];
    report(shop, &so_far).run().succeeds();
    assert_eq!(mails(shop).len(), 0);
    report(shop, &[&so_far[..], &["--mail-to", "a@example.jp", "--format", "csv"]].concat()).run().succeeds();
    assert_eq!(mails(shop), ["daily-sales | a@example.jp | Sales of Fri 20 November 2026 (provisional) | 2"]);
}

fn each_mall_is_delivered_on_its_own_last_finished_day(shop: &Shop) {
    tokyo(shop);
    shop.mall("new-york", "America/New_York", "USD");
    shop.write("batchctl.toml", DELIVERY.replace(r#", "boss@example.jp""#, ""));
    report(shop, &[]).run().succeeds();
    let texts = shop.sql("SELECT subject, text_body FROM mails ORDER BY id");
    let about: Vec<(&str, bool, bool)> = texts
        .iter()
        .map(|row| (row[0].as_str(), row[1].contains("\ntokyo\n"), row[1].contains("\nnew-york\n")))
        .collect();
    assert_eq!(about, [("Figures of 2026-11-18", false, true), ("Figures of 2026-11-19", true, false)]);
}

fn a_mall_whose_day_is_not_over_is_named_as_missing(shop: &Shop) {
    tokyo(shop);
    shop.mall("new-york", "America/New_York", "USD");
    for (locale, words) in [
        ("en", "Not included yet: new-york"),
        ("ja", "未集計の店舗：new-york"),
        ("ko", "아직 집계되지 않은 쇼핑몰: new-york"),
    ] {
        shop.write(
            "batchctl.toml",
            format!("{}locale = \"{locale}\"\n", DELIVERY.replace(r#", "boss@example.jp""#, "")),
        );
        report(shop, &[]).run().succeeds();
        let mails = shop
            .sql(&format!("SELECT text_body, html_body FROM mails WHERE locale = '{locale}' ORDER BY id"));
        let names = |mail: &Vec<String>| mail.iter().map(|body| body.contains(words)).collect::<Vec<_>>();
        let told: Vec<Vec<bool>> = mails.iter().map(names).collect();
        assert_eq!(told, [[false, false], [true, true]], "{mails:?}");
    }
}

fn an_empty_column_and_redundant_totals_are_left_out(shop: &Shop) {
    // A heading is broken between its words, so that this is one of them.
    let words = [("en", ">before</span>", "Total"), ("ja", "前日比", "合計"), ("ko", "전일", "합계")];
    tokyo(shop);
    let range = ["--from", "2026-11-17", "--to", "2026-11-18"];
    let send = |flags: &[&str]| {
        let mail = |(locale, change, total): (&str, &str, &str)| {
            shop.execute("DELETE FROM mail_attachments");
            shop.execute("DELETE FROM mails");
            report(shop, &[flags, &["--mail-to", "a@example.jp", "--locale", locale]].concat())
                .run()
                .succeeds();
            let [bodies] = shop.sql("SELECT text_body, html_body FROM mails").try_into().unwrap();
            [bodies[1].contains(change), bodies[1].contains(total), bodies[0].contains(total)]
        };
        words.map(mail)
    };
    assert_eq!(send(&range), [[false, false, false]; 3], "several days of one mall");
    assert_eq!(send(&["--date", "2026-11-18"]), [[true, false, false]; 3], "a day with the day before");
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    report(shop, &range).run().succeeds();
    assert_eq!(send(&range), [[false, true, true]; 3], "two malls of a currency");
}

fn a_run_of_one_mall_does_not_deliver_for_all(shop: &Shop) {
    tokyo(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.write("batchctl.toml", DELIVERY);
    report(shop, &["--mall", "tokyo"]).run().succeeds();
    assert_eq!(mails(shop).len(), 0);
    report(shop, &[]).run().succeeds();
    assert_eq!(mails(shop).len(), 2);
}

fn a_csv_is_attached_in_the_encoding_asked_for(shop: &Shop) {
    tokyo(shop);
    let flags = ["--mail-to", "a@example.jp", "--format", "csv", "--locale", "ja", "--encoding", "shift_jis"];
    report(shop, &flags).run().succeeds();
    assert_eq!(attachments(shop), ["1 | daily-sales-2026-11-19.csv | text/csv; charset=shift_jis | NULL"]);
    let content = shop.scalar("SELECT content FROM mail_attachments");
    // 対象日
    assert!(content.starts_with("\\x91ce8fdb93fa"), "{content}");
    report(shop, &["--mail-to", "b@example.jp", "--format", "csv", "--locale", "ja"]).run().succeeds();
    let content = shop.scalar("SELECT content FROM mail_attachments WHERE mail_id = 2");
    assert!(content.starts_with("\\xefbbbf"), "Excel recognises UTF-8 by its mark: {content}");
}

fn a_mail_says_on_which_day_a_sale_counts_of_a_shop_that_does_not_state_it(shop: &Shop) {
    tokyo(shop);
    for (locale, words) in [
        ("en", "its import settings name"),
        ("ja", "取込設定で定めた日"),
        ("ko", "가져오기 설정에서 정한 날"),
    ] {
        for job in ["daily-sales", "daily-cancellations"] {
            let flags =
                ["--date", "2026-11-18", "--mail-to", "a@example.jp", "--format", "json", "--locale", locale];
            shop.batchctl(["report", job].iter().chain(&flags)).run().succeeds();
        }
        let mails = shop.sql(&format!(
            "SELECT m.text_body, m.html_body, a.content FROM mails m JOIN mail_attachments a ON a.mail_id = m.id
             WHERE m.locale = '{locale}'"
        ));
        let bytes: Vec<String> = words.bytes().map(|byte| format!("{byte:02x}")).collect();
        let in_hexadecimal = bytes.concat();
        let says = |mail: &Vec<String>| {
            mail[0].contains(words) && mail[1].contains(words) && mail[2].contains(&in_hexadecimal)
        };
        assert_eq!(mails.iter().map(says).collect::<Vec<_>>(), [true, true], "{locale}: {mails:?}");
    }
}
