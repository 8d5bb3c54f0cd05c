//! Who was mailed figures that are no longer true is told so: once, with the old ones beside the new.

use rustix::process::Signal;

use super::{daily_sales, export, figures, import, night, orders, subjects, with_tokyo};
use crate::support::{Mall, Order, Shop, on_both_databases};

on_both_databases![
    a_correction_shows_old_and_new_side_by_side,
    a_correction_goes_only_to_those_who_were_told_and_still_receive_the_report,
    a_kill_before_the_correction_sends_it_once,
    a_kill_while_it_is_queued_sends_it_once,
    figures_that_become_true_again_are_corrected_again,
    provisional_figures_are_followed_by_final_ones,
    provisional_mails_can_be_held_back,
    the_report_for_management_is_corrected_too,
    a_rerun_by_hand_corrects_at_once,
    a_correction_speaks_the_language_of_its_mail,
    every_daily_report_is_corrected,
];

fn delivery(report: &str) -> String {
    format!("[[report.delivery]]\nreport = \"{report}\"\nto = [\"boss@example.jp\"]\nformat = [\"csv\"]\n")
}

fn reported(shop: &Shop, days: impl IntoIterator<Item = u32>) -> Mall {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for day in days {
        add(shop, mall, day, &day.to_string(), 1000);
        daily_sales(shop, day + 1, &[]).run().succeeds().is_silent();
    }
    mall
}

fn add(shop: &Shop, mall: Mall, day: u32, order_no: &str, total: i64) {
    let at = format!("2026-11-{day}T12:00:00+09:00");
    shop.order(Order {
        mall,
        order_no,
        total,
        ordered_at: &at,
        paid_at: Some(&at),
        updated_at: &at,
        ..Order::default()
    });
}

fn text(shop: &Shop, mail: usize) -> String {
    shop.sql("SELECT text_body FROM mails ORDER BY id").concat().swap_remove(mail)
}

fn a_correction_shows_old_and_new_side_by_side(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    assert_eq!(
        subjects(shop),
        [
            "Sales of Tue 17 November 2026",
            "Sales of Wed 18 November 2026",
            "Correction: Sales of Tue 17 November 2026",
        ]
    );
    let text = text(shop, 2);
    let expected = "Correction: these figures differ from those that were mailed before.\n  \
                    tokyo: Net ¥1,000 → ¥1,500\n  tokyo: Gross ¥1,000 → ¥1,500\n  tokyo: Orders 1 → 2\n";
    assert!(text.contains(expected), "{text}");
    let html = shop.sql("SELECT html_body FROM mails ORDER BY id").concat().swap_remove(2);
    assert!(html.contains("¥1,000") && html.contains("¥1,500"), "{html}");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mail_attachments WHERE mail_id = 3"), "1");
    daily_sales(shop, 19, &[]).run().succeeds();
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(subjects(shop).len(), 4, "one for the 19th, and no other correction");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM report_followups"), "0");
}

fn a_correction_goes_only_to_those_who_were_told_and_still_receive_the_report(shop: &Shop) {
    let to = |addresses: &str| {
        let text = format!(
            "[[report.delivery]]\nreport = \"daily-sales\"\nto = [{addresses}]\nformat = [\"csv\"]\n"
        );
        shop.write("batchctl.toml", text);
    };
    to("\"left@example.jp\", \"stays@example.jp\"");
    let mall = reported(shop, [17, 18]);
    daily_sales(shop, 19, &["--date", "2026-11-17", "--mail-to", "once@example.jp", "--format", "csv"])
        .run()
        .succeeds();
    to("\"stays@example.jp\", \"new@example.jp\"");
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    let corrected = "SELECT recipient FROM mails WHERE subject LIKE 'Correction%'";
    assert_eq!(shop.sql(corrected), [["stays@example.jp"]]);
}

fn a_kill_before_the_correction_sends_it_once(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).failpoint("before-deliver=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(figures(shop)[0], "2026-11-17 tokyo 2 1500 1");
    assert_eq!(subjects(shop).len(), 2);
    // Even if it is the next night before somebody starts it again.
    add(shop, mall, 19, "19", 1000);
    daily_sales(shop, 20, &[]).run().succeeds();
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(
        subjects(shop)[2..],
        ["Sales of Thu 19 November 2026", "Correction: Sales of Tue 17 November 2026"]
    );
}

fn a_kill_while_it_is_queued_sends_it_once(shop: &Shop) {
    let to = "[[report.delivery]]\nreport = \"daily-sales\"\nto = [\"a@example.jp\", \"b@example.jp\"]\nformat = [\"csv\"]\n";
    shop.write("batchctl.toml", to);
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    // The mails and the note of them are one commit: what is repeated here is all after it.
    daily_sales(shop, 19, &[]).run().succeeds();
    shop.execute("INSERT INTO report_followups (report, period_day, noted_at) VALUES ('daily-sales', '2026-11-17', '2026-11-18T18:00:00+00:00')");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(subjects(shop).len(), 6);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM report_followups"), "0");
}

fn figures_that_become_true_again_are_corrected_again(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = reported(shop, [17, 18]);
    for _ in 0..2 {
        add(shop, mall, 17, "late", 500);
        daily_sales(shop, 19, &[]).run().succeeds();
        shop.execute("DELETE FROM orders WHERE order_no = 'late'");
        daily_sales(shop, 19, &[]).run().succeeds();
    }
    let corrections: Vec<String> =
        subjects(shop).into_iter().filter(|subject| subject.starts_with("Correction")).collect();
    assert_eq!(corrections.len(), 4);
    assert!(text(shop, 5).contains("Net ¥1,500 → ¥1,000"), "{}", text(shop, 5));
}

fn provisional_figures_are_followed_by_final_ones(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    without_the_19th(shop);
    daily_sales(shop, 20, &[]).run().exits(3);
    late_19th(shop);
    daily_sales(shop, 21, &[]).run().exits(3);
    assert_eq!(
        subjects(shop),
        [
            "Sales of Wed 18 November 2026",
            "Provisional: Sales of Thu 19 November 2026",
            "Provisional: Sales of Fri 20 November 2026",
            "Final: Sales of Thu 19 November 2026",
        ]
    );
    let text = text(shop, 3);
    assert!(text.contains("Now final: these figures replace the provisional ones"), "{text}");
    assert!(text.contains("tokyo: Net ¥0 → ¥3,000"), "{text}");
}

fn without_the_19th(shop: &Shop) {
    with_tokyo(shop);
    for day in [17, 18] {
        let (name, next) = (format!("{day}.csv"), day + 1);
        export(shop, &name, &orders(&[(day, 12, 1000)]), &format!("2026-11-{next}T02:00:00+09:00"));
        import(shop, &name, &night(next)).succeeds();
    }
    daily_sales(shop, 19, &[]).run().succeeds();
}

fn late_19th(shop: &Shop) {
    export(shop, "19.csv", &orders(&[(19, 12, 3000)]), "2026-11-20T04:00:00+09:00");
    import(shop, "19.csv", "2026-11-20T05:00:00+09:00").succeeds();
}

fn provisional_mails_can_be_held_back(shop: &Shop) {
    shop.write("batchctl.toml", format!("[report]\nprovisional = \"hold\"\n{}", delivery("daily-sales")));
    without_the_19th(shop);
    daily_sales(shop, 20, &["--verbose"]).run().exits(3).says("is held back until its figures are final");
    assert_eq!(subjects(shop), ["Sales of Wed 18 November 2026"]);
    late_19th(shop);
    daily_sales(shop, 21, &[]).run().exits(3);
    assert_eq!(subjects(shop), ["Sales of Wed 18 November 2026", "Sales of Thu 19 November 2026"]);
    assert!(text(shop, 1).contains("Net:      ¥3,000"), "{}", text(shop, 1));
    assert!(!text(shop, 1).contains("differ"), "nobody was told anything else");
}

fn the_report_for_management_is_corrected_too(shop: &Shop) {
    shop.write("batchctl.toml", delivery("executive"));
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let executive = |day: u32| shop.batchctl(["report", "executive"]).now(&night(day)).run().succeeds();
    for day in [17, 18] {
        add(shop, mall, day, &day.to_string(), 1000);
        daily_sales(shop, day + 1, &[]).run().succeeds();
        executive(day + 1);
    }
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    executive(19);
    executive(19);
    assert_eq!(
        subjects(shop),
        [
            "Business figures of Tue 17 November 2026",
            "Business figures of Wed 18 November 2026",
            "Correction: Business figures of Tue 17 November 2026",
        ]
    );
    assert!(text(shop, 2).contains("Net sales ¥1,000 → ¥1,500"), "{}", text(shop, 2));
    // Killed between the figures and the mail.
    shop.execute("DELETE FROM orders WHERE order_no = 'late'");
    daily_sales(shop, 19, &[]).run().succeeds();
    let killed =
        shop.batchctl(["report", "executive"]).now(&night(19)).failpoint("before-deliver=kill").run();
    killed.is_killed_by(Signal::KILL);
    executive(19);
    executive(19);
    assert_eq!(subjects(shop).len(), 4);
}

fn a_rerun_by_hand_corrects_at_once(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &["--date", "2026-11-17", "--rerun"]).run().succeeds();
    assert_eq!(subjects(shop)[2..], ["Correction: Sales of Tue 17 November 2026"]);
    daily_sales(shop, 19, &["--date", "2026-11-16"]).run().succeeds();
    assert_eq!(subjects(shop).len(), 3, "a backfill mails nothing");
}

fn a_correction_speaks_the_language_of_its_mail(shop: &Shop) {
    let mut text = String::new();
    for locale in ["ja", "ko"] {
        text.push_str(&format!("{}locale = \"{locale}\"\n", delivery("daily-sales")));
    }
    shop.write("batchctl.toml", text);
    let mall = reported(shop, [17, 18]);
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    let subjects = subjects(shop);
    assert!(subjects[4].starts_with("【訂正】") && subjects[5].starts_with("[정정] "), "{subjects:?}");
    let texts = shop.sql("SELECT text_body FROM mails WHERE id > 4 ORDER BY id").concat();
    assert!(texts[0].contains("純売上（税込） 1,000円 → 1,500円"), "{}", texts[0]);
    assert!(texts[1].contains("순매출 1,000엔 → 1,500엔"), "{}", texts[1]);
}

fn every_daily_report_is_corrected(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-cancellations"));
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    add(shop, mall, 17, "17", 1000);
    let report =
        |day: u32| shop.batchctl(["report", "daily-cancellations"]).now(&night(day)).run().succeeds();
    report(18);
    shop.execute("UPDATE orders SET cancelled_at = paid_at");
    report(19);
    assert_eq!(
        subjects(shop),
        [
            "Cancellations of 17 November 2026",
            "Cancellations of 18 November 2026",
            "Correction: Cancellations of 17 November 2026",
        ]
    );
    assert!(text(shop, 2).contains("tokyo: Amount ¥0 → ¥1,000"), "{}", text(shop, 2));
}
