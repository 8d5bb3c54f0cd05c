//! A day whose data has not come: what is stored, shown, mailed and told.

use super::{daily_sales, export, figures, import, night, orders, subjects, with_tokyo};
use crate::support::{Answer, Member, Order, Ran, Shop, Webhook, on_both_databases};

on_both_databases![
    a_day_whose_file_is_missing_is_provisional_until_it_comes,
    every_form_says_that_figures_are_provisional_and_why,
    every_report_waits_for_its_data,
    provisional_figures_are_compared_with_nothing,
    an_operator_is_told_once,
    a_mall_that_its_application_writes_is_always_final,
    what_is_expected_can_be_declared,
    a_file_is_as_old_as_it_was_when_it_was_written_or_as_somebody_says,
    an_import_that_was_killed_covers_nothing_until_it_is_done,
    a_new_mall_does_not_make_the_others_provisional,
    a_file_that_was_exported_before_the_day_was_over_does_not_cover_it,
    a_file_of_changes_does_not_make_up_for_one_that_never_came,
    a_file_that_was_imported_in_part_covers_nothing_until_that_is_settled,
    the_same_content_of_a_later_night_shows_that_nothing_happened,
    quiet_days_come_with_a_header_alone,
    files_of_two_shops_are_not_older_and_newer_states_of_one,
    a_file_that_is_too_young_in_the_first_night_leaves_the_day_provisional,
    an_announced_file_that_never_came_is_not_made_up_for_by_the_next_one,
    an_announced_mall_without_history_leaves_the_others_and_its_past_alone,
];

const DELIVERY: &str = "
[[report.delivery]]
report = \"daily-sales\"
to = [\"boss@example.jp\"]
format = [\"csv\"]
";

/// Files of the 17th and 18th came, each in its night; that of the 19th did not.
fn without_the_19th(shop: &Shop) {
    with_tokyo(shop);
    for day in [17, 18] {
        let (name, next) = (format!("{day}.csv"), day + 1);
        export(shop, &name, &orders(&[(day, 12, 1000)]), &format!("2026-11-{next}T02:00:00+09:00"));
        import(shop, &name, &night(next)).succeeds();
    }
}

fn a_day_whose_file_is_missing_is_provisional_until_it_comes(shop: &Shop) {
    without_the_19th(shop);
    daily_sales(shop, 19, &[]).run().succeeds().is_silent();
    let ran = daily_sales(shop, 20, &[]).run().exits(3);
    ran.says("1 of 1 mall is provisional: not all data has arrived")
        .says("tokyo: the orders of 2026-11-19 have not arrived; those before are as of 2026-11-19 02:00 JST: its figures are provisional")
        .says("data:  1 mall is computed")
        .says("hint: import or sync the data: the next nightly run makes the figures final");
    assert_eq!(figures(shop), ["2026-11-18 tokyo 1 1000 1", "2026-11-19 tokyo 0 0 0"]);
    // Nothing has come: another run says the same.
    daily_sales(shop, 20, &[]).run().exits(3);
    export(shop, "19.csv", &orders(&[(19, 12, 3000)]), "2026-11-20T04:00:00+09:00");
    import(shop, "19.csv", "2026-11-20T05:00:00+09:00").succeeds();
    daily_sales(shop, 20, &["--date", "2026-11-19"]).run().succeeds().is_silent();
    assert_eq!(figures(shop), ["2026-11-18 tokyo 1 1000 1", "2026-11-19 tokyo 1 3000 1"]);
    let awaited =
        "SELECT COUNT(*) FROM daily_sales WHERE awaited_subject IS NOT NULL OR awaited_since IS NOT NULL";
    assert_eq!(shop.scalar(awaited), "0");
}

fn every_form_says_that_figures_are_provisional_and_why(shop: &Shop) {
    without_the_19th(shop);
    shop.write("batchctl.toml", DELIVERY);
    let reason = "the orders of 2026-11-19 have not arrived; those before are as of 2026-11-19 02:00 JST";
    daily_sales(shop, 20, &["--format", "csv,json,table,pdf,xlsx", "--out", "out"]).run().exits(3);
    let csv = shop.read("out/daily-sales-2026-11-19.csv");
    let row = csv.lines().find(|line| line.contains(",total,")).unwrap();
    assert!(row.ends_with(",false,false,tokyo"), "{row}");
    let json: serde_json::Value =
        serde_json::from_str(&shop.read("out/daily-sales-2026-11-19.json")).unwrap();
    assert_eq!(json["title"], "Daily sales report (provisional)");
    assert_eq!(json["facts"]["Provisional"], format!("tokyo: {reason}"));
    let table = shop.read("out/daily-sales-2026-11-19.txt");
    assert!(table.contains("Daily sales report (provisional)") && table.contains(reason), "{table}");
    let pdf = std::process::Command::new("pdftotext")
        .args(["-layout", "daily-sales-2026-11-19.pdf", "-"])
        .current_dir(shop.path("out"))
        .output()
        .expect("poppler-utils is installed");
    let pdf = String::from_utf8_lossy(&pdf.stdout).into_owned();
    assert!(
        pdf.contains("Daily sales report (provisional)")
            && pdf.contains("the orders of 2026-11-19 have not arrived"),
        "{pdf}"
    );

    assert_eq!(subjects(shop), ["Provisional: Sales of Thu 19 November 2026"]);
    for (locale, subject, text) in [
        ("en", "Provisional: ", format!("tokyo: {reason}\n")),
        ("ja", "【仮】", "tokyo：2026-11-19の注文データが未着です（それ以前は2026-11-19 02:00 JST時点）\n".to_owned()),
        ("ko", "[잠정] ", "tokyo: 2026-11-19 주문 데이터가 아직 들어오지 않았습니다(이전 데이터는 2026-11-19 02:00 JST 기준)\n".to_owned()),
    ] {
        daily_sales(shop, 20, &["--mail-to", "a@example.jp", "--locale", locale, "--format", "csv"])
            .run()
            .exits(3);
        let sql = format!(
            "SELECT subject, text_body, html_body FROM mails WHERE locale = '{locale}' AND recipient = 'a@example.jp'"
        );
        let [mail] = shop.sql(&sql).try_into().unwrap();
        assert!(mail[0].starts_with(subject), "{mail:?}");
        assert!(mail[1].contains(&text) && mail[2].contains(text.trim_end()), "{mail:?}");
    }
    // Whatever a template of one's own says.
    shop.write("batchctl.toml", format!("{DELIVERY}subject = \"Figures of {{day}}\"\n"));
    shop.execute("DELETE FROM mail_attachments");
    shop.execute("DELETE FROM mails");
    shop.execute("DELETE FROM report_mailings");
    daily_sales(shop, 20, &[]).run().exits(3);
    assert_eq!(subjects(shop), ["Provisional: Figures of 2026-11-19"]);
}

fn every_report_waits_for_its_data(shop: &Shop) {
    without_the_19th(shop);
    let cancellations = |day: u32| {
        shop.batchctl(["report", "daily-cancellations", "--format", "csv", "--out", "-"]).now(&night(day))
    };
    cancellations(19).run().succeeds();
    let ran = cancellations(20)
        .run()
        .exits(3)
        .says("the orders of 2026-11-19 have not arrived; those before are as of 2026-11-19 02:00 JST");
    assert!(ran.stdout.contains("2026-11-19,tokyo,JPY,,0,0,false,false"), "{}", ran.stdout);
    daily_sales(shop, 20, &[]).run().exits(3);
    // The report for management shows what is there, and says what it is.
    let executive = shop
        .batchctl(["report", "executive", "--format", "csv", "--out", "-"])
        .now(&night(20))
        .run()
        .succeeds();
    assert!(executive.stdout.contains("2026-11-19,,orders,,0,,,false,false"), "{}", executive.stdout);
    let shown = shop
        .batchctl(["report", "executive", "--format", "table", "--out", "-"])
        .now(&night(20))
        .run()
        .succeeds();
    assert!(shown.stdout.contains("Business figures (provisional)"), "{}", shown.stdout);
    assert!(shown.stdout.contains("tokyo: the orders of 2026-11-19 have not arrived"), "{}", shown.stdout);
    // Members came once, on Thursday: the week is not complete.
    let header = "member_code,status,signed_up_at\n";
    export(
        shop,
        "members.csv",
        &format!("{header}M1,ACTIVE,2026-11-18 10:00\n"),
        "2026-11-19T02:00:00+09:00",
    );
    shop.batchctl(["data", "import", "--kind", "members", "--mall", "tokyo", "members.csv"])
        .now(&night(19))
        .run()
        .succeeds();
    let weekly = shop
        .batchctl(["report", "weekly-signups", "--format", "csv", "--out", "-"])
        .now(&night(23))
        .run()
        .exits(3);
    assert!(weekly.stdout.contains("2026-11-16,tokyo,,,,,,,false,false"), "{}", weekly.stdout);
    weekly.says(
        "tokyo: the members of 2026-11-19 have not arrived; those before are as of 2026-11-19 02:00 JST",
    );
}

fn provisional_figures_are_compared_with_nothing(shop: &Shop) {
    without_the_19th(shop);
    daily_sales(shop, 19, &[]).run().succeeds();
    daily_sales(shop, 20, &[]).run().exits(3);
    let executive = |flags: &[&str]| {
        shop.batchctl(["report", "executive", "--verbose"].iter().chain(flags))
            .now(&night(20))
            .run()
            .succeeds()
    };
    let lines = |ran: Ran| -> Vec<String> {
        ran.stdout.lines().filter(|line| line.contains("net_amount")).map(str::to_owned).collect()
    };
    let csv =
        executive(&["--format", "csv", "--out", "-"]).says("reported 0 orders of 1 mall, provisional: tokyo");
    assert_eq!(
        lines(csv),
        [
            "2026-11-19,,net_amount,JPY,0,,,false,false,",
            "2026-11-19,tokyo,net_amount,JPY,0,,,false,false,tokyo",
        ]
    );
    executive(&["--mail-to", "a@example.jp", "--locale", "en"]);
    let [mail] = shop.sql("SELECT subject, text_body, html_body FROM mails").try_into().unwrap();
    assert!(mail[0].starts_with("Provisional: ") && mail[1].contains("Provisional, not final"), "{mail:?}");
    let percentages = |text: &str| text.matches('%').count();
    assert_eq!(percentages(&mail[1]), 0, "{}", mail[1]);

    export(shop, "19.csv", &orders(&[(19, 12, 1500)]), "2026-11-20T04:00:00+09:00");
    import(shop, "19.csv", "2026-11-20T05:00:00+09:00").succeeds();
    daily_sales(shop, 20, &["--date", "2026-11-19"]).run().succeeds();
    let csv = executive(&["--rerun", "--format", "csv", "--out", "-"]).says("reported 1 order of 1 mall");
    assert_eq!(
        lines(csv),
        [
            "2026-11-19,,net_amount,JPY,1500,1000,,true,false,",
            "2026-11-19,tokyo,net_amount,JPY,1500,1000,,true,false,tokyo",
        ]
    );
    executive(&["--mail-to", "a@example.jp", "--locale", "en"]);
    let last = shop.sql("SELECT subject, text_body FROM mails ORDER BY id").swap_remove(1);
    assert!(last[0].starts_with("Final: ") && percentages(&last[1]) > 0, "{last:?}");
}

fn an_operator_is_told_once(shop: &Shop) {
    without_the_19th(shop);
    let channel = Webhook::start();
    shop.write(
        "batchctl.toml",
        "[alerts]\ndev_channel = \"dev\"\n[[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n",
    );
    channel.answer(Answer::Http(200, Vec::new(), "ok".to_owned()));
    channel.answer(Answer::Http(200, Vec::new(), "ok".to_owned()));
    let url = channel.url("/hook");
    for _ in 0..3 {
        daily_sales(shop, 20, &[]).env("DEV_URL", &url).run().exits(3);
    }
    let texts: Vec<String> = channel.requests().iter().map(|request| request.json().to_string()).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].contains("1 of 1 mall is provisional")
            && texts[0].contains("the orders of 2026-11-19 have not arrived"),
        "{texts:?}"
    );
    assert_eq!(shop.sql("SELECT occurrences, closed_at FROM batch_incident"), [["3", "NULL"]]);
    assert_eq!(
        shop.sql("SELECT DISTINCT item_key, phase, kind, error_class FROM batch_error_log"),
        [["tokyo", "freshness", "SKIPPED", "PROVISIONAL"]]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_retry_request"), "0", "no data comes by trying again");
    export(shop, "19.csv", &orders(&[(19, 12, 3000)]), "2026-11-20T04:00:00+09:00");
    import(shop, "19.csv", "2026-11-20T05:00:00+09:00").succeeds();
    daily_sales(shop, 20, &[]).env("DEV_URL", &url).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_incident WHERE closed_at IS NULL"), "0");
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
}

fn a_mall_that_its_application_writes_is_always_final(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall, ..Order::default() });
    shop.member(Member { mall, ..Member::default() });
    // A Sunday on which nobody bought anything.
    daily_sales(shop, 23, &[]).run().succeeds().is_silent();
    assert_eq!(figures(shop), ["2026-11-22 tokyo 0 0 1"]);
    shop.batchctl(["report", "weekly-signups"]).now(&night(23)).run().succeeds().is_silent();
}

fn what_is_expected_can_be_declared(shop: &Shop) {
    without_the_19th(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.write(
        "batchctl.toml",
        "[freshness.malls.tokyo]\norders = \"never\"\n[freshness.malls.osaka]\norders = \"always\"\n",
    );
    daily_sales(shop, 20, &[])
        .run()
        .exits(3)
        .says("osaka: the orders of 2026-11-19 have not arrived, nor any before: its figures are provisional")
        .says("hint: import or sync the data, or expect none: see [freshness.malls.osaka]");
    assert_eq!(figures(shop), ["2026-11-19 osaka 0 0 0", "2026-11-19 tokyo 0 0 1"]);
    shop.write("batchctl.toml", "[freshness.malls.kobe]\norders = \"never\"\n");
    daily_sales(shop, 20, &[]).run().exits(78).says("`freshness.malls`: unknown mall `kobe`");
}

fn a_file_is_as_old_as_it_was_when_it_was_written_or_as_somebody_says(shop: &Shop) {
    without_the_19th(shop);
    let covered = || shop.sql("SELECT business_day FROM data_arrivals ORDER BY business_day").concat();
    assert_eq!(covered(), ["2026-11-17", "2026-11-18"]);
    // The file of the 18th again, copied since: nothing in it says that the 19th is over.
    export(shop, "again.csv", &orders(&[(18, 12, 1000), (18, 13, 10)]), "2026-11-20T02:30:00+09:00");
    import(shop, "again.csv", &night(20)).succeeds();
    assert_eq!(covered(), ["2026-11-17", "2026-11-18"]);
    // Somebody knows that nothing was sold, and exports both days once more.
    export(shop, "again.csv", &orders(&[(17, 12, 10), (18, 13, 10)]), "2026-11-20T02:30:00+09:00");
    let again = ["data", "import", "--kind", "orders", "--mall", "tokyo", "again.csv", "--rerun", "--as-of"];
    let as_of = |at: &str| shop.batchctl(again.iter().copied().chain([at])).now(&night(20)).run();
    as_of("yesterday").succeeds();
    assert_eq!(covered(), ["2026-11-17", "2026-11-18"]);
    as_of("2026-11-20T02:30:00+09:00").succeeds();
    assert_eq!(covered(), ["2026-11-17", "2026-11-18", "2026-11-19"]);
    as_of("soon").exits(2).says("--as-of");
}

fn an_import_that_was_killed_covers_nothing_until_it_is_done(shop: &Shop) {
    without_the_19th(shop);
    export(shop, "19.csv", &orders(&[(19, 9, 1), (19, 10, 2), (19, 11, 3)]), "2026-11-20T02:00:00+09:00");
    let words = ["data", "import", "--kind", "orders", "--mall", "tokyo", "--chunk-size", "1", "19.csv"];
    let import = || shop.batchctl(words).now(&night(20));
    import().failpoint("after-chunk@2=kill").run().is_killed_by(rustix::process::Signal::KILL);
    daily_sales(shop, 20, &[]).run().exits(3);
    assert_eq!(figures(shop), ["2026-11-19 tokyo 2 3 0"]);
    import().run().succeeds();
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 3 6 1"]);
}

fn a_new_mall_does_not_make_the_others_provisional(shop: &Shop) {
    without_the_19th(shop);
    export(shop, "19.csv", &orders(&[(19, 12, 3000)]), "2026-11-20T02:00:00+09:00");
    import(shop, "19.csv", &night(20)).succeeds();
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 osaka 0 0 1", "2026-11-19 tokyo 1 3000 1"]);
}

fn a_file_that_was_exported_before_the_day_was_over_does_not_cover_it(shop: &Shop) {
    without_the_19th(shop);
    export(shop, "19.csv", &orders(&[(19, 12, 3000)]), "2026-11-19T23:59:00+09:00");
    import(shop, "19.csv", &night(20)).succeeds();
    daily_sales(shop, 20, &[]).run().exits(3).says("as of 2026-11-19 02:00 JST");
    assert_eq!(figures(shop), ["2026-11-19 tokyo 1 3000 0"]);
}

/// The shop exports what changed since: an order of the missing day was paid or shipped a day later.
fn a_file_of_changes_does_not_make_up_for_one_that_never_came(shop: &Shop) {
    without_the_19th(shop);
    let shipped = orders(&[(18, 12, 1000)]).replace("PAID", "SHIPPED");
    let of_the_19th = orders(&[(19, 12, 3000), (20, 12, 500)]);
    let changes = shipped + of_the_19th.split_once('\n').unwrap().1;
    export(shop, "20.csv", &changes, "2026-11-21T02:00:00+09:00");
    import(shop, "20.csv", &night(21)).succeeds();
    daily_sales(shop, 21, &["--from", "2026-11-19", "--to", "2026-11-20"]).run().exits(3).says(
        "tokyo: the orders of 2026-11-19 have not arrived; those before are as of 2026-11-19 02:00 JST",
    );
    assert_eq!(figures(shop), ["2026-11-19 tokyo 1 3000 0", "2026-11-20 tokyo 1 500 1"]);
}

fn a_file_that_was_imported_in_part_covers_nothing_until_that_is_settled(shop: &Shop) {
    without_the_19th(shop);
    let bad = orders(&[(19, 12, 3000), (19, 13, 500)]).replace("19-13,PAID", "19-13,PAYED");
    export(shop, "19.csv", &bad, "2026-11-20T02:00:00+09:00");
    let words = ["data", "import", "--kind", "orders", "--mall", "tokyo", "--skip-limit", "5", "19.csv"];
    shop.batchctl(words).now(&night(20)).run().exits(3);
    daily_sales(shop, 20, &[])
        .run()
        .exits(3)
        .says("tokyo: the orders of 2026-11-19 have been stored only in part (run 3): its figures are provisional")
        .says("runs retry 3; or accept what is missing: ")
        .says("runs dismiss 3 --reason");
    assert_eq!(figures(shop), ["2026-11-19 tokyo 1 3000 0"]);
    export(shop, "19.csv", &bad.replace("PAYED", "PAID"), "2026-11-20T02:00:00+09:00");
    shop.batchctl(["runs", "retry", "3"]).now(&night(20)).run().succeeds();
    daily_sales(shop, 20, &["--date", "2026-11-19"]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 2 3500 1"]);
    // Somebody decides that the line does not matter.
    let bad = orders(&[(20, 12, 3000), (20, 13, 500)]).replace("20-13,PAID", "20-13,PAYED");
    export(shop, "20.csv", &bad, "2026-11-21T02:00:00+09:00");
    let words = words.map(|word| if word == "19.csv" { "20.csv" } else { word });
    shop.batchctl(words).now(&night(21)).run().exits(3);
    let run = shop.scalar("SELECT MAX(id) FROM batch_execution");
    shop.batchctl(["runs", "dismiss", &run, "--reason", "a test order"]).now(&night(21)).run().succeeds();
    daily_sales(shop, 21, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 2 3500 1", "2026-11-20 tokyo 1 3000 1"]);
}

/// A shop that exports everything writes the same bytes after a day without orders.
fn the_same_content_of_a_later_night_shows_that_nothing_happened(shop: &Shop) {
    with_tokyo(shop);
    let all = orders(&[(17, 9, 1), (17, 10, 2), (18, 9, 3), (18, 10, 4)]);
    for next in [19, 20] {
        export(shop, "all.csv", &all, &format!("2026-11-{next}T02:00:00+09:00"));
        import(shop, "all.csv", &night(next)).succeeds();
    }
    daily_sales(shop, 20, &["--from", "2026-11-18", "--to", "2026-11-19"]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-18 tokyo 2 7 1", "2026-11-19 tokyo 0 0 1"]);
    // In the same night it is the same file.
    import(shop, "all.csv", &night(20)).succeeds().is_silent();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE job = 'data import'"), "2");
}

fn quiet_days_come_with_a_header_alone(shop: &Shop) {
    without_the_19th(shop);
    shop.write("batchctl.toml", "[import.orders]\nallow_empty = true\n");
    for day in [19, 20, 22] {
        if day == 22 {
            export(shop, "21.csv", &orders(&[(21, 12, 10)]), "2026-11-22T02:00:00+09:00");
            import(shop, "21.csv", &night(22)).succeeds();
        }
        let next = day + 1;
        export(shop, "quiet.csv", &orders(&[]), &format!("2026-11-{next}T02:00:00+09:00"));
        import(shop, "quiet.csv", &night(next)).succeeds();
        daily_sales(shop, next, &[]).run().succeeds();
    }
    assert_eq!(figures(shop), ["2026-11-19 tokyo 0 0 1", "2026-11-20 tokyo 0 0 1", "2026-11-22 tokyo 0 0 1"]);
}

/// In a folder of several shops, a shop without news exports what it exported before.
fn files_of_two_shops_are_not_older_and_newer_states_of_one(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.write(
        "batchctl.toml",
        "[import.orders.tokyo]\nmall = \"tokyo\"\ninbox_pattern = \"tokyo*\"\n\
         [import.orders.osaka]\nmall = \"osaka\"\ninbox_pattern = \"osaka*\"\n",
    );
    std::fs::create_dir(shop.path("in")).unwrap();
    let all = orders(&[(17, 9, 1), (17, 10, 2), (18, 9, 3), (18, 10, 4)]);
    for (next, more) in [(19, ""), (20, "19-09,PAID,2026-11-19 09:00,2026-11-19 09:00,7,P1,1,7,M7\n")] {
        let at = format!("2026-11-{next}T02:00:00+09:00");
        export(shop, "in/tokyo.csv", &all, &at);
        export(shop, "in/osaka.csv", &(all.clone() + more), &at);
        let nightly = ["data", "import", "--inbox", "in", "--min-age", "0s"];
        shop.batchctl(nightly).now(&night(next)).run().succeeds();
        daily_sales(shop, next, &[]).run().succeeds();
    }
    assert_eq!(
        figures(shop),
        [
            "2026-11-18 osaka 2 7 1",
            "2026-11-18 tokyo 2 7 1",
            "2026-11-19 osaka 1 7 1",
            "2026-11-19 tokyo 0 0 1",
        ]
    );
}

/// An inbox takes the orders of the mall `tokyo`, which was added in the night after the 19th.
fn announced(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        format!("[import.orders]\nmall = \"tokyo\"\ninbox_pattern = \"*.csv\"\n{DELIVERY}"),
    );
    std::fs::create_dir(shop.path("in")).unwrap();
}

/// Imports what waits in the inbox, in the night of this day of November.
fn from_inbox(shop: &Shop, day: u32, flags: &[&str]) -> Ran {
    let nightly = ["data", "import", "--inbox", "in"].iter().chain(flags);
    shop.batchctl(nightly).now(&night(day)).run().succeeds()
}

fn a_file_that_is_too_young_in_the_first_night_leaves_the_day_provisional(shop: &Shop) {
    announced(shop);
    export(shop, "in/19.csv", &orders(&[(19, 12, 3000)]), "2026-11-20T02:00:00+09:00");
    from_inbox(shop, 20, &["--min-age", "1h"]);
    daily_sales(shop, 20, &[]).run().exits(3).says(
        "tokyo: the orders of 2026-11-19 have not arrived, nor any before: its figures are provisional",
    );
    assert_eq!(figures(shop), ["2026-11-19 tokyo 0 0 0"]);
    assert_eq!(subjects(shop), ["Provisional: Sales of Thu 19 November 2026"]);
    export(shop, "in/20.csv", &orders(&[(20, 12, 500)]), "2026-11-21T02:00:00+09:00");
    from_inbox(shop, 21, &["--min-age", "0s"]);
    daily_sales(shop, 21, &[]).run().succeeds().is_silent();
    assert_eq!(figures(shop), ["2026-11-19 tokyo 1 3000 1", "2026-11-20 tokyo 1 500 1"]);
    assert_eq!(
        subjects(shop)[1..],
        ["Sales of Fri 20 November 2026", "Final: Sales of Thu 19 November 2026"]
    );
}

fn an_announced_file_that_never_came_is_not_made_up_for_by_the_next_one(shop: &Shop) {
    announced(shop);
    daily_sales(shop, 21, &[]).run().exits(3);
    export(shop, "in/21.csv", &orders(&[(21, 12, 500)]), "2026-11-22T02:00:00+09:00");
    from_inbox(shop, 22, &["--min-age", "0s"]);
    daily_sales(shop, 22, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-20 tokyo 0 0 0", "2026-11-21 tokyo 1 500 1"]);
    export(shop, "in/20.csv", &orders(&[(20, 12, 800)]), "2026-11-21T02:00:00+09:00");
    from_inbox(shop, 23, &["--min-age", "0s"]);
    daily_sales(shop, 22, &[]).run().succeeds();
    assert_eq!(figures(shop), ["2026-11-20 tokyo 1 800 1", "2026-11-21 tokyo 1 500 1"]);
}

fn an_announced_mall_without_history_leaves_the_others_and_its_past_alone(shop: &Shop) {
    announced(shop);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    for (no, paid_at) in [("18", "2026-11-18T12:00:00+09:00"), ("19", "2026-11-19T12:00:00+09:00")] {
        let paid_at = Some(paid_at);
        shop.order(Order { mall: osaka, order_no: no, paid_at, ..Order::default() });
    }
    let days = ["--from", "2026-11-18", "--to", "2026-11-19", "--format", "csv", "--out", "-"];
    let ran = daily_sales(shop, 20, &days).run().exits(3);
    assert_eq!(ran.stdout.lines().filter(|line| line.contains(",total,")).count(), 4, "{}", ran.stdout);
    assert_eq!(
        figures(shop),
        [
            "2026-11-18 osaka 1 1000 1",
            "2026-11-18 tokyo 0 0 1",
            "2026-11-19 osaka 1 1000 1",
            "2026-11-19 tokyo 0 0 0",
        ]
    );
    let executive = ["report", "executive", "--format", "csv", "--out", "-"];
    let shown = shop.batchctl(executive).now(&night(20)).run().succeeds().stdout;
    assert!(shown.contains("2026-11-19,osaka,net_amount,JPY,1000,"), "{shown}");
    // Nothing is expected before the shop opens.
    shop.write(
        "batchctl.toml",
        "[import.orders]\nmall = \"tokyo\"\ninbox_pattern = \"*.csv\"\n\
         [freshness.malls.tokyo]\norders = \"learned\"\n",
    );
    daily_sales(shop, 20, &[]).run().succeeds();
    assert_eq!(figures(shop)[3], "2026-11-19 tokyo 0 0 1");
}
