//! Who was mailed figures that are no longer true is told so: once, with the old ones beside the new.

use rustix::process::Signal;

use super::{add, daily_sales, export, figures, import, night, orders, reported, subjects, with_tokyo};
use crate::support::{Batchctl, Mall, Shop, on_both_databases};

on_both_databases![
    a_correction_shows_old_and_new_side_by_side,
    a_correction_goes_only_to_those_who_were_told_and_still_receive_the_report,
    a_kill_before_the_correction_sends_it_once,
    figures_that_become_true_again_are_corrected_again,
    provisional_figures_are_followed_by_final_ones,
    provisional_mails_can_be_held_back,
    a_mail_that_a_command_asks_for_is_held_back_too,
    the_report_for_management_is_corrected_too,
    a_rerun_by_hand_corrects_at_once,
    a_correction_speaks_the_language_of_its_mail,
    every_daily_report_is_corrected,
    whoever_has_a_line_of_his_own_is_corrected_by_that_line,
    provisional_figures_are_followed_on_a_line_of_its_own_too,
    an_address_that_no_run_names_for_thirty_days_is_not_told_any_more,
    a_kill_at_any_point_of_a_mailing_tells_each_once,
    two_runs_at_once_tell_a_recipient_once,
    a_run_that_was_overtaken_does_not_take_back_what_is_newer,
    a_correction_for_management_waits_for_a_mall_that_is_missing,
    a_mall_that_was_missed_in_a_mail_is_added_for_each_recipient,
    a_total_is_named_in_the_language_of_its_mail,
    a_provisional_mail_corrects_what_was_final_beside_it,
    a_final_mail_tells_what_was_final_from_what_was_provisional,
    every_figure_that_changed_is_shown_side_by_side,
    what_changed_in_the_parts_of_figures_is_named,
];

fn delivery(report: &str) -> String {
    format!("[[report.delivery]]\nreport = \"{report}\"\nto = [\"boss@example.jp\"]\nformat = [\"csv\"]\n")
}

/// Who has to be told of which day again.
fn owed(shop: &Shop) -> Vec<Vec<String>> {
    shop.sql(
        "SELECT m.recipient, m.period_day FROM report_mailings m JOIN report_revisions r
             ON r.report = m.report AND r.period_day = m.period_day AND r.revision > m.revision",
    )
}

/// The subjects of the mails to somebody, in the order of the queueing.
fn subjects_to(shop: &Shop, recipient: &str) -> Vec<String> {
    shop.sql(&format!("SELECT subject FROM mails WHERE recipient = '{recipient}' ORDER BY id")).concat()
}

/// A crontab line for an address that no delivery names.
fn line_for(shop: &Shop, day: u32, address: &str) -> Batchctl {
    daily_sales(shop, day, &["--format", "csv", "--mail-to", address])
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
                    tokyo: Net ¥1,000 → ¥1,500\n  tokyo: Orders 1 → 2\n  tokyo: Gross ¥1,000 → ¥1,500\n  \
                    tokyo: Average order ¥1,000 → ¥750\n\n";
    assert!(text.contains(expected), "{text}");
    let html = shop.sql("SELECT html_body FROM mails ORDER BY id").concat().swap_remove(2);
    assert!(html.contains("¥1,000") && html.contains("¥1,500"), "{html}");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mail_attachments WHERE mail_id = 3"), "1");
    daily_sales(shop, 19, &[]).run().succeeds();
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(subjects(shop).len(), 4, "one for the 19th, and no other correction");
    assert_eq!(owed(shop), [[""; 0]; 0]);
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
    assert!(text(shop, 2).contains("  Total: Net sales ¥1,000 → ¥1,500\n"), "{}", text(shop, 2));
    assert!(text(shop, 2).contains("  tokyo: Net sales ¥1,000 → ¥1,500\n"), "{}", text(shop, 2));
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

fn a_mail_that_a_command_asks_for_is_held_back_too(shop: &Shop) {
    shop.write("batchctl.toml", "[report]\nprovisional = \"hold\"\n");
    without_the_19th(shop);
    line_for(shop, 20, "x@example.jp").run().exits(3);
    let range = ["--from", "2026-11-18", "--to", "2026-11-19", "--mail-to", "y@example.jp"];
    daily_sales(shop, 20, &range)
        .run()
        .exits(3)
        .says("note: report daily-sales 2026-11-18..2026-11-19 is not mailed, because not all of its figures are final");
    assert_eq!(subjects(shop), [""; 0]);
    late_19th(shop);
    line_for(shop, 21, "x@example.jp").run().exits(3);
    assert_eq!(subjects(shop), ["Sales of Thu 19 November 2026"]);
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

fn whoever_has_a_line_of_his_own_is_corrected_by_that_line(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let recipients = ["boss@example.jp", "x@example.jp", "z@example.jp"];
    let crontab = |day: u32| {
        daily_sales(shop, day, &[]).run().succeeds().is_silent();
        for address in &recipients[1..] {
            line_for(shop, day, address).run().succeeds().is_silent();
        }
    };
    add(shop, mall, 17, "17", 1000);
    crontab(18);
    add(shop, mall, 18, "18", 1000);
    add(shop, mall, 17, "late", 500);
    crontab(19);
    crontab(19);
    for recipient in recipients {
        assert_eq!(
            subjects_to(shop, recipient),
            [
                "Sales of Tue 17 November 2026",
                "Sales of Wed 18 November 2026",
                "Correction: Sales of Tue 17 November 2026",
            ],
            "{recipient}"
        );
    }
    let texts = shop.sql("SELECT text_body FROM mails WHERE subject LIKE 'Correction%'").concat();
    assert!(texts.iter().all(|text| text.contains("tokyo: Net ¥1,000 → ¥1,500")), "{texts:?}");
    assert_eq!(owed(shop), [[""; 0]; 0]);
    // A day is computed once, however many lines there are.
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution"), "3");
}

fn provisional_figures_are_followed_on_a_line_of_its_own_too(shop: &Shop) {
    without_the_19th(shop);
    daily_sales(shop, 20, &[]).run().exits(3);
    line_for(shop, 20, "x@example.jp").run().exits(3);
    late_19th(shop);
    daily_sales(shop, 21, &[]).run().exits(3);
    line_for(shop, 21, "x@example.jp").run().exits(3);
    line_for(shop, 21, "x@example.jp").run().exits(3);
    assert_eq!(
        subjects(shop),
        [
            "Provisional: Sales of Thu 19 November 2026",
            "Provisional: Sales of Fri 20 November 2026",
            "Final: Sales of Thu 19 November 2026",
        ]
    );
}

fn an_address_that_no_run_names_for_thirty_days_is_not_told_any_more(shop: &Shop) {
    let mall = reported(shop, [17]);
    for address in ["x@example.jp", "z@example.jp"] {
        line_for(shop, 18, address).run().succeeds();
    }
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(owed(shop).len(), 2);
    // A day that lies so far back that no run looks for changes of it any more.
    line_for(shop, 19, "x@example.jp").now("2026-12-19T02:59:00+09:00").run().succeeds();
    line_for(shop, 19, "z@example.jp").now("2026-12-19T03:01:00+09:00").run().succeeds();
    let corrected = "SELECT recipient FROM mails WHERE subject LIKE 'Correction%'";
    assert_eq!(shop.sql(corrected), [["x@example.jp"]]);
}

fn a_kill_at_any_point_of_a_mailing_tells_each_once(shop: &Shop) {
    let recipients = ["a@example.jp", "b@example.jp", "x@example.jp"];
    shop.write(
        "batchctl.toml",
        "[[report.delivery]]\nreport = \"daily-sales\"\nto = [\"a@example.jp\", \"b@example.jp\"]\nformat = [\"csv\"]\n",
    );
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    add(shop, mall, 17, "17", 1000);
    line_for(shop, 18, "x@example.jp").run().succeeds();
    let points = [
        "at-commit",
        "after-chunk",
        "before-deliver",
        "mails-made",
        "mails-noted",
        "mails-queued",
        "mails-noted@2",
    ];
    for (point, corrections) in points.into_iter().zip(1..) {
        let (day, order_no) = (18 + corrections, format!("late-{corrections}"));
        add(shop, mall, 17, &order_no, 500);
        let killed = line_for(shop, day, "x@example.jp").failpoint(&format!("{point}=kill")).run();
        killed.is_killed_by(Signal::KILL);
        for _ in 0..2 {
            line_for(shop, day, "x@example.jp").run().succeeds();
        }
        for recipient in recipients {
            let of_the_17th: Vec<String> = subjects_to(shop, recipient)
                .into_iter()
                .filter(|subject| subject.contains("Tue 17"))
                .collect();
            assert_eq!(of_the_17th.len(), usize::try_from(1 + corrections).unwrap(), "{recipient}, {point}");
        }
        let last =
            shop.sql("SELECT text_body FROM mails WHERE subject LIKE 'Correction%' ORDER BY id").concat();
        let now = 1000 + 500 * i64::from(corrections);
        let change = format!("Net ¥{} → ¥{}", thousands(now - 500), thousands(now));
        assert!(last.iter().filter(|text| text.contains(&change)).count() == 3, "{point}: {last:?}");
    }
}

fn thousands(amount: i64) -> String {
    format!("{},{:03}", amount / 1000, amount % 1000)
}

fn two_runs_at_once_tell_a_recipient_once(shop: &Shop) {
    let mall = reported(shop, [17]);
    line_for(shop, 18, "x@example.jp").run().succeeds();
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    // Its first mail is that of the 18th, its second one the correction.
    let mut first = line_for(shop, 19, "x@example.jp").hold_at("mails-made@2");
    first.wait_until_reached();
    line_for(shop, 19, "x@example.jp").run().succeeds();
    first.release().wait().succeeds();
    assert_eq!(
        subjects(shop),
        [
            "Sales of Tue 17 November 2026",
            "Sales of Wed 18 November 2026",
            "Correction: Sales of Tue 17 November 2026",
        ]
    );
}

fn a_run_that_was_overtaken_does_not_take_back_what_is_newer(shop: &Shop) {
    let mall = reported(shop, [17]);
    line_for(shop, 18, "x@example.jp").run().succeeds();
    add(shop, mall, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    let mut slow = line_for(shop, 19, "x@example.jp").hold_at("mails-made@2");
    slow.wait_until_reached();
    add(shop, mall, 17, "later", 200);
    line_for(shop, 19, "x@example.jp").run().succeeds();
    slow.release().wait().succeeds();
    let corrections =
        shop.sql("SELECT text_body FROM mails WHERE subject LIKE 'Correction%' ORDER BY id").concat();
    assert_eq!(corrections.len(), 1, "{corrections:?}");
    assert!(corrections[0].contains("Net ¥1,000 → ¥1,700"), "{corrections:?}");
    assert_eq!(owed(shop), [[""; 0]; 0]);

    // The other way round: what is slow tells something that is already replaced, and is followed.
    add(shop, mall, 17, "latest", 100);
    daily_sales(shop, 19, &[]).run().succeeds();
    let mut slow = line_for(shop, 19, "x@example.jp").hold_at("mails-made");
    slow.wait_until_reached();
    add(shop, mall, 17, "last", 50);
    daily_sales(shop, 19, &[]).run().succeeds();
    slow.release().wait().succeeds();
    assert_eq!(owed(shop), [["x@example.jp", "2026-11-17"]]);
    line_for(shop, 19, "x@example.jp").run().succeeds();
    let corrections =
        shop.sql("SELECT text_body FROM mails WHERE subject LIKE 'Correction%' ORDER BY id").concat();
    assert!(corrections[1].contains("Net ¥1,700 → ¥1,800"), "{corrections:?}");
    assert!(corrections[2].contains("Net ¥1,800 → ¥1,850"), "{corrections:?}");
}

fn executive(shop: &Shop, day: u32, flags: &[&str]) -> Batchctl {
    shop.batchctl(["report", "executive"].iter().chain(flags)).now(&night(day))
}

/// The malls tokyo and osaka, of which the 17th and the 18th were reported to management.
fn reported_to_management(shop: &Shop) -> Mall {
    shop.write("batchctl.toml", delivery("executive"));
    let malls = ["tokyo", "osaka"].map(|code| shop.mall(code, "Asia/Tokyo", "JPY"));
    for day in [17, 18] {
        for mall in malls {
            add(shop, mall, day, &day.to_string(), 1000);
        }
        daily_sales(shop, day + 1, &[]).run().succeeds();
        executive(shop, day + 1, &[]).run().succeeds();
    }
    malls[1]
}

fn a_correction_for_management_waits_for_a_mall_that_is_missing(shop: &Shop) {
    let osaka = reported_to_management(shop);
    add(shop, osaka, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    shop.execute(
        "DELETE FROM daily_sales WHERE business_day = '2026-11-17'
             AND mall_id = (SELECT id FROM malls WHERE code = 'tokyo')",
    );
    for _ in 0..2 {
        executive(shop, 19, &[])
            .run()
            .exits(1)
            .says("the new figures of report executive 2026-11-17 are not mailed yet: those of mall `tokyo`")
            .says("batchctl --env dev report daily-sales --date 2026-11-17 --mall tokyo");
    }
    assert_eq!(subjects(shop).len(), 2);
    daily_sales(shop, 19, &["--date", "2026-11-17", "--mall", "tokyo"]).run().succeeds();
    executive(shop, 19, &[]).run().succeeds();
    assert_eq!(subjects(shop)[2..], ["Correction: Business figures of Tue 17 November 2026"]);
    let expected = "mailed before.\n  Total: Net sales ¥2,000 → ¥2,500\n  Total: Average order ¥1,000 → ¥833\n  \
                    Total: Orders 2 → 3\n  osaka: Net sales ¥1,000 → ¥1,500\n  osaka: Orders 1 → 2\n\n";
    assert!(text(shop, 2).contains(expected), "{}", text(shop, 2));
}

fn a_mall_that_was_missed_in_a_mail_is_added_for_each_recipient(shop: &Shop) {
    shop.write("batchctl.toml", delivery("daily-sales"));
    let [tokyo, osaka] = ["tokyo", "osaka"].map(|code| shop.mall(code, "Asia/Tokyo", "JPY"));
    for mall in [tokyo, osaka] {
        add(shop, mall, 17, "17", 1000);
    }
    // What osaka sold is more than there is money.
    add(shop, osaka, 17, "too-much", i64::MAX);
    daily_sales(shop, 18, &[]).run().exits(3);
    line_for(shop, 18, "x@example.jp").run().exits(3);
    assert_eq!(subjects(shop).len(), 2);
    shop.execute("DELETE FROM orders WHERE order_no = 'too-much'");
    daily_sales(shop, 18, &[]).run().succeeds();
    line_for(shop, 19, "x@example.jp").run().succeeds();
    for recipient in ["boss@example.jp", "x@example.jp"] {
        let text = format!(
            "SELECT text_body FROM mails WHERE recipient = '{recipient}' AND subject LIKE 'Correction%'"
        );
        let [text] = shop.sql(&text).concat().try_into().unwrap();
        assert!(text.contains("  osaka: Net – → ¥1,000\n"), "{text}");
    }
}

fn a_total_is_named_in_the_language_of_its_mail(shop: &Shop) {
    let osaka = reported_to_management(shop);
    for locale in ["ja", "ko"] {
        executive(shop, 19, &["--date", "2026-11-17", "--mail-to", "x@example.jp", "--locale", locale])
            .run()
            .succeeds();
    }
    add(shop, osaka, 17, "late", 500);
    daily_sales(shop, 19, &[]).run().succeeds();
    executive(shop, 19, &["--mail-to", "x@example.jp"]).run().succeeds();
    let texts = shop.sql(
        "SELECT text_body FROM mails WHERE recipient = 'x@example.jp' AND (subject LIKE '%訂正%' OR subject LIKE '%정정%')
         ORDER BY locale",
    );
    let texts = texts.concat();
    assert!(texts[0].contains("  合計：純売上 2,000円 → 2,500円\n"), "{texts:?}");
    assert!(texts[1].contains("  합계: 순매출 2,000엔 → 2,500엔\n"), "{texts:?}");
}

/// Orders of tokyo come in files, of which that of the 19th is missing; osaka's application writes its own, and both were
/// mailed in the night after.
fn final_beside_provisional(shop: &Shop, report: &str) -> Mall {
    shop.write("batchctl.toml", delivery(report));
    with_tokyo(shop);
    export(shop, "18.csv", &orders(&[(18, 12, 1000)]), "2026-11-19T02:00:00+09:00");
    import(shop, "18.csv", &night(19)).succeeds();
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    add(shop, osaka, 19, "19", 1000);
    daily_sales(shop, 20, &[]).run().exits(3);
    osaka
}

fn a_provisional_mail_corrects_what_was_final_beside_it(shop: &Shop) {
    let osaka = final_beside_provisional(shop, "daily-sales");
    line_for(shop, 20, "x@example.jp").run().exits(3);
    for locale in ["ja", "ko"] {
        daily_sales(shop, 20, &["--mail-to", "x@example.jp", "--locale", locale]).run().exits(3);
    }
    add(shop, osaka, 19, "late", 500);
    daily_sales(shop, 21, &[]).run().exits(3);
    line_for(shop, 21, "x@example.jp").run().exits(3);
    let of_the_19th: Vec<String> = subjects_to(shop, "boss@example.jp")
        .into_iter()
        .filter(|subject| subject.ends_with("Thu 19 November 2026"))
        .collect();
    assert_eq!(
        of_the_19th,
        [
            "Provisional: Sales of Thu 19 November 2026",
            "Provisional, with a correction: Sales of Thu 19 November 2026"
        ]
    );
    let texts = shop.sql("SELECT locale, subject, text_body FROM mails ORDER BY id");
    let corrected: Vec<&Vec<String>> = texts.iter().filter(|mail| mail[2].contains("1,500")).collect();
    let of = |locale: &str| corrected.iter().find(|mail| mail[0] == locale).unwrap();
    let english = &of("en")[2];
    assert!(
        english.contains("Correction: these figures differ from those that were mailed before.\n  osaka: Net ¥1,000 → ¥1,500\n"),
        "{english}"
    );
    assert!(!english.contains("  tokyo: Net"), "what was provisional is not corrected: {english}");
    assert!(of("ja")[1].starts_with("【仮・訂正あり】"), "{:?}", of("ja"));
    assert!(of("ko")[1].starts_with("[잠정·정정 포함] "), "{:?}", of("ko"));
    // Once.
    daily_sales(shop, 21, &[]).run().exits(3);
    assert_eq!(shop.sql("SELECT id FROM mails").len(), texts.len());
}

fn a_final_mail_tells_what_was_final_from_what_was_provisional(shop: &Shop) {
    let osaka = final_beside_provisional(shop, "daily-sales");
    add(shop, osaka, 19, "late", 500);
    late_19th(shop);
    daily_sales(shop, 21, &[]).run().exits(3);
    let texts = shop.sql("SELECT text_body, html_body FROM mails WHERE subject LIKE 'Final%'");
    let [mail] = <[Vec<String>; 1]>::try_from(texts).unwrap();
    assert!(mail[0].contains("  osaka: Net (reported as final before) ¥1,000 → ¥1,500\n"), "{}", mail[0]);
    assert!(mail[0].contains("  tokyo: Net ¥0 → ¥3,000\n"), "{}", mail[0]);
    assert!(mail[1].contains("Net (reported as final before)"), "{}", mail[1]);
}

/// What the last mail in a language shows as changed.
fn changed_lines(shop: &Shop, locale: &str) -> Vec<String> {
    let texts = shop.sql(&format!("SELECT text_body FROM mails WHERE locale = '{locale}' ORDER BY id DESC"));
    let text = &texts[0][0];
    text.lines().filter(|line| line.contains(" → ")).map(|line| line.trim().to_owned()).collect()
}

fn in_every_language() -> String {
    let of = |locale: &str| format!("{}locale = \"{locale}\"\n", delivery("daily-sales"));
    ["en", "ja", "ko"].map(of).concat()
}

fn every_figure_that_changed_is_shown_side_by_side(shop: &Shop) {
    shop.write("batchctl.toml", in_every_language());
    reported(shop, [17, 18]);
    shop.execute("UPDATE orders SET tax_amount = 90, shipping_amount = 500 WHERE order_no = '17'");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(changed_lines(shop, "en"), ["tokyo: Shipping ¥0 → ¥500", "tokyo: Tax – → ¥90"]);
    assert_eq!(changed_lines(shop, "ja"), ["tokyo：送料 0円 → 500円", "tokyo：消費税 – → 90円"]);
    assert_eq!(changed_lines(shop, "ko"), ["tokyo: 배송비 0엔 → 500엔", "tokyo: 부가세 – → 90엔"]);
}

fn what_changed_in_the_parts_of_figures_is_named(shop: &Shop) {
    shop.write("batchctl.toml", in_every_language());
    reported(shop, [17, 18]);
    shop.execute("UPDATE orders SET payment_method = 'BANK' WHERE order_no = '17'");
    daily_sales(shop, 19, &[]).run().succeeds();
    assert_eq!(
        changed_lines(shop, "en"),
        ["tokyo: Sales by payment method as mailed → changed (see the report)"]
    );
    assert_eq!(changed_lines(shop, "ja"), ["tokyo：支払方法別売上 送付時 → 変更あり（レポート参照）"]);
    assert_eq!(changed_lines(shop, "ko"), ["tokyo: 결제 수단별 매출 발송 시 → 변경됨(보고서 참조)"]);
}
