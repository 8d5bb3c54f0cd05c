//! `report weekly-signups`: who is counted in which week, and that no small count is disclosed in any way.

use chrono::{DateTime, SecondsFormat};
use rustix::process::Signal;

use crate::support::{Batchctl, Mall, Shop, on_both_databases};

on_both_databases![
    no_small_count_can_be_computed_by_subtraction,
    each_mall_is_reported_for_its_own_last_finished_week,
    a_range_is_one_instance_per_week,
    a_small_mall_is_withheld_and_in_no_total,
    counts_that_a_rerun_failed_to_replace_are_marked,
    no_personal_data_is_stored_printed_or_mailed,
    it_is_mailed_once_and_after_a_kill_too,
    another_minimum_changes_nothing_without_a_rerun,
    a_larger_minimum_than_the_stored_one_shows_and_mails_nothing,
    one_week_has_one_minimum,
    what_is_withheld_is_a_dash_without_a_unit,
    a_minimum_that_protects_nobody_is_wrong_usage,
    a_scheduled_delivery_covers_only_the_last_week,
];

/// Monday morning in Tokyo, when the weekly report of 16 to 22 November runs.
const MONDAY: &str = "2026-11-23T04:00:00+09:00";

fn report(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["report", "weekly-signups"].iter().chain(arguments)).now(MONDAY)
}

/// Adds members with the same status; returns nothing, because no member is identified by an id.
fn members(shop: &Shop, mall: Mall, prefix: &str, count: usize, status: &str, channel: &str, at: &str) {
    let at = DateTime::parse_from_rfc3339(at).unwrap().to_utc().to_rfc3339_opts(SecondsFormat::Secs, false);
    let channel = if channel.is_empty() { "NULL".to_owned() } else { format!("'{channel}'") };
    for number in 0..count {
        shop.execute(&format!(
            "INSERT INTO members (mall_id, member_code, status, channel, signed_up_at, created_at, updated_at)
             VALUES ({}, '{prefix}-{status}-{number}', '{status}', {channel}, '{at}', '{at}', '{at}')",
            mall.id
        ));
    }
}

/// week, mall, sign-ups, active, unconfirmed, withdrawn.
fn stored(shop: &Shop) -> Vec<String> {
    sorted(shop.sql(
        "SELECT week_day, code, signups, active, unconfirmed, withdrawn
         FROM weekly_signups JOIN malls ON malls.id = mall_id",
    ))
}

/// week, mall, channel or "other", sign-ups, active, unconfirmed, withdrawn.
fn groups(shop: &Shop) -> Vec<String> {
    sorted(shop.sql(
        "SELECT week_day, code, CASE WHEN is_other THEN 'other' ELSE channel END, signups, active, unconfirmed, withdrawn
         FROM weekly_signups_by_channel JOIN malls ON malls.id = mall_id",
    ))
}

fn sorted(rows: Vec<Vec<String>>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    rows.sort();
    rows
}

/// Wednesday noon in Tokyo.
const WEDNESDAY: &str = "2026-11-18T12:00:00+09:00";

/// A count as it is published: a number, or withheld.
fn told(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn no_small_count_can_be_computed_by_subtraction(shop: &Shop) {
    let mut rng = fastrand::Rng::with_seed(11);
    for number in 0..25 {
        let mall = shop.mall(&format!("mall-{number:02}"), "Asia/Tokyo", "JPY");
        for channel in 0..rng.usize(1..5) {
            for status in ["ACTIVE", "UNCONFIRMED", "WITHDRAWN"] {
                let (prefix, channel) = (format!("c{channel}"), format!("channel-{channel}"));
                members(shop, mall, &prefix, rng.usize(0..9), status, &channel, WEDNESDAY);
            }
        }
    }
    report(shop, &["--mail-to", "a@example.jp", "--format", "csv"]).run().succeeds();
    let is_small = |count: i64| (1..5).contains(&count);
    let malls = shop.sql("SELECT mall_id, signups, active, unconfirmed, withdrawn FROM weekly_signups");
    let mut withheld = 0;
    for mall in &malls {
        let groups = shop.sql(&format!(
            "SELECT signups, active, unconfirmed, withdrawn FROM weekly_signups_by_channel WHERE mall_id = {}",
            mall[0]
        ));
        let counts: Vec<Option<i64>> = mall[1..].iter().map(|text| told(text)).collect();
        assert!(counts.iter().flatten().all(|count| !is_small(*count)), "{mall:?}");
        let Some(signups) = counts[0] else {
            assert!(counts.iter().all(Option::is_none) && groups.is_empty(), "{mall:?} {groups:?}");
            continue;
        };
        // What remains of the sign-ups after subtracting the disclosed statuses.
        let rest = signups - counts[1..].iter().flatten().sum::<i64>();
        let hidden = counts[1..].iter().filter(|count| count.is_none()).count();
        assert!((hidden == 0 && rest == 0) || (hidden >= 2 && rest >= 5), "{mall:?}");
        withheld += usize::from(hidden > 0);
        let sizes: Vec<i64> = groups.iter().map(|group| told(&group[0]).unwrap()).collect();
        assert!(sizes.iter().all(|size| *size >= 5), "{mall:?} {groups:?}");
        assert_eq!(sizes.iter().sum::<i64>(), signups, "{mall:?} {groups:?}");
        let is_told = groups.iter().filter(|group| told(&group[1]).is_some()).count();
        assert!(is_told == 0 || is_told == groups.len(), "{groups:?}");
        let cells = groups.iter().flat_map(|group| &group[1..]).filter_map(|text| told(text));
        assert!(cells.into_iter().all(|count| !is_small(count)), "{groups:?}");
        // The sum of the named channels never leaves a single unnamed channel: "other" consists of two or more.
        let truth = shop.sql(&format!(
            "SELECT channel, COUNT(*) FROM members WHERE mall_id = {} GROUP BY channel",
            mall[0]
        ));
        let small = truth.iter().filter(|row| is_small(row[1].parse().unwrap())).count();
        let named = groups.len() - usize::from(small > 0);
        assert!(small == 0 || truth.len() - named >= 2 || truth.len() == 1, "{truth:?} {groups:?}");
    }
    assert!(withheld > 3, "there was something to find: {malls:?}");
    // The mail does not say more than the table either.
    let text = shop.scalar("SELECT text_body FROM mails");
    let sum: i64 = malls.iter().filter_map(|mall| told(&mall[1])).sum();
    assert!(text.contains(&format!("Total: {sum} sign-ups")), "{text}");
}

fn each_mall_is_reported_for_its_own_last_finished_week(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("new-york", "America/New_York", "USD");
    report(shop, &["--verbose"]).run().succeeds().says("not over yet: new-york");
    assert_eq!(
        stored(shop),
        ["2026-11-09 new-york 0 0 0 0", "2026-11-09 tokyo 0 0 0 0", "2026-11-16 tokyo 0 0 0 0"]
    );
    report(shop, &[]).now("2026-11-24T04:00:00+09:00").run().succeeds();
    assert_eq!(stored(shop)[2..], ["2026-11-16 new-york 0 0 0 0", "2026-11-16 tokyo 0 0 0 0"]);
}

fn a_range_is_one_instance_per_week(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    report(shop, &["--from", "2026-11-04"]).run().succeeds();
    let runs = shop.sql("SELECT instance_key, command_line FROM batch_execution ORDER BY id");
    let line = |week: &str| format!("report weekly-signups --date {week}");
    let expected = ["2026-11-02", "2026-11-09", "2026-11-16"].map(|week| vec![week.to_owned(), line(week)]);
    assert_eq!(runs, expected);
    report(shop, &["--date", "2026-11-23"]).run().exits(2).says("2026-11-23..2026-11-29 is not over yet");
}

fn a_small_mall_is_withheld_and_in_no_total(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let tiny = shop.mall("tiny", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 20, "ACTIVE", "web", WEDNESDAY);
    members(shop, tiny, "a", 4, "ACTIVE", "web", WEDNESDAY);
    let flags = ["--format", "csv", "--out", "-"];
    let ran = report(shop, &flags).run().succeeds();
    assert_eq!(
        ran.stdout,
        "week_day,mall,channel,is_other,signups,active,unconfirmed,withdrawn,is_final,is_outdated,mall_name\r\n\
         2026-11-16,tiny,,,,,,,true,false,tiny\r\n\
         2026-11-16,tokyo,,,20,20,0,0,true,false,tokyo\r\n\
         2026-11-16,tokyo,web,false,20,20,0,0,true,false,tokyo\r\n"
    );
    for locale in ["en", "ja", "ko"] {
        let flags = ["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale];
        report(shop, &flags).run().succeeds();
    }
    let texts = shop.sql("SELECT subject, text_body, html_body FROM mails ORDER BY id");
    assert_eq!(texts.len(), 3);
    assert!(
        texts[0][1].contains("Total: 20 sign-ups") && texts[0][1].contains("tiny: – sign-ups"),
        "{texts:?}"
    );
    let tells = |text: &String| [": 24", ">24<", " 24名", " 24명"].iter().any(|sum| text.contains(sum));
    assert!(!texts.concat().iter().any(tells), "no total reveals the small mall: {texts:?}");
}

fn counts_that_a_rerun_failed_to_replace_are_marked(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    for mall in [tokyo, osaka] {
        members(shop, mall, "a", 20, "ACTIVE", "web", WEDNESDAY);
    }
    report(shop, &[]).run().succeeds();
    shop.execute("UPDATE malls SET time_zone = 'Asia/Oosaka' WHERE code = 'osaka'");
    let ran = report(shop, &["--rerun", "--format", "csv", "--out", "-"]).run().exits(3);
    assert_eq!(
        ran.stdout,
        "week_day,mall,channel,is_other,signups,active,unconfirmed,withdrawn,is_final,is_outdated,mall_name\r\n\
         2026-11-16,osaka,,,20,20,0,0,true,true,osaka\r\n\
         2026-11-16,tokyo,,,20,20,0,0,true,false,tokyo\r\n\
         2026-11-16,osaka,web,false,20,20,0,0,true,true,osaka\r\n\
         2026-11-16,tokyo,web,false,20,20,0,0,true,false,tokyo\r\n"
    );
    for (locale, words) in
        [("en", "Older figures: osaka"), ("ja", "※osakaは再集計が"), ("ko", "※ osaka: 재집계가")]
    {
        report(shop, &["--mail-to", "a@example.jp", "--format", "csv", "--locale", locale]).run().exits(3);
        let text = shop.scalar(&format!("SELECT text_body FROM mails WHERE locale = '{locale}'"));
        assert!(text.contains(words), "{text}");
    }
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'osaka'");
    let fixed = report(shop, &["--format", "csv", "--out", "-"]).run().succeeds();
    assert!(!fixed.stdout.contains("true,true"), "{fixed:?}");
}

fn no_personal_data_is_stored_printed_or_mailed(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let friend = "canary.friend@example.jp";
    members(shop, tokyo, "canary-code", 30, "ACTIVE", "web", WEDNESDAY);
    members(shop, tokyo, "canary-code-2", 9, "ACTIVE", friend, WEDNESDAY);
    members(shop, tokyo, "canary-code-3", 9, "ACTIVE", "090-1234-5678", WEDNESDAY);
    members(shop, tokyo, "canary-code-4", 2, "ACTIVE", "canary-rare-channel", WEDNESDAY);
    shop.execute(
        "UPDATE members SET email = 'canary@example.jp', name = 'canary hanako', phone = '090-1234-5678'",
    );
    let flags =
        ["--verbose", "--format", "csv,json,xlsx,pdf", "--out", "out", "--mail-to", "boss@example.jp"];
    let ran = report(shop, &flags).run().succeeds();
    let is_clean = |text: &str| !text.to_lowercase().contains("canary") && !text.contains("1234-5678");
    assert!(is_clean(&ran.stdout) && is_clean(&ran.stderr), "{ran:?}");
    for line in shop.dump().lines().filter(|line| !line.starts_with("members:")) {
        assert!(is_clean(line), "{line}");
    }
    let mut files = 0;
    for file in std::fs::read_dir(shop.path("out")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(is_clean(&String::from_utf8_lossy(&bytes)));
        files += 1;
    }
    assert_eq!(files, 4);
    assert_eq!(groups(shop), ["2026-11-16 tokyo other 20 20 0 0", "2026-11-16 tokyo web 30 30 0 0"]);
}

fn it_is_mailed_once_and_after_a_kill_too(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 8, "ACTIVE", "web", WEDNESDAY);
    let flags = ["--mail-to", "a@example.jp", "--format", "csv"];
    report(shop, &flags).failpoint("before-deliver=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "0");
    for _ in 0..2 {
        report(shop, &flags).run().succeeds().is_silent();
        assert_eq!(
            shop.sql("SELECT kind, recipient, subject FROM mails"),
            [["weekly-signups", "a@example.jp", "Sign-ups of 16 November 2026 to 22 November 2026: 8"]]
        );
    }
    report(shop, &[&flags[..], &["--rerun"]].concat()).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1", "the same counts");
    members(shop, tokyo, "b", 1, "ACTIVE", "web", WEDNESDAY);
    report(shop, &[&flags[..], &["--rerun"]].concat()).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "2", "other counts");
}

fn another_minimum_changes_nothing_without_a_rerun(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 20, "ACTIVE", "web", WEDNESDAY);
    members(shop, tokyo, "b", 8, "ACTIVE", "app", WEDNESDAY);
    report(shop, &["--min-cell", "10"]).run().succeeds();
    assert_eq!(groups(shop), ["2026-11-16 tokyo other 28 28 0 0"]);
    report(shop, &["--verbose"]).run().succeeds().says("computed with --min-cell 10: add --rerun");
    assert_eq!(groups(shop), ["2026-11-16 tokyo other 28 28 0 0"]);
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(groups(shop), ["2026-11-16 tokyo app 8 8 0 0", "2026-11-16 tokyo web 20 20 0 0"]);
}

fn a_larger_minimum_than_the_stored_one_shows_and_mails_nothing(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 20, "ACTIVE", "web", WEDNESDAY);
    members(shop, tokyo, "b", 7, "ACTIVE", "app", WEDNESDAY);
    report(shop, &[]).run().succeeds();
    let flags = ["--min-cell", "10", "--mail-to", "a@example.jp", "--format", "csv", "--out", "out"];
    let ran = report(shop, &flags).run().exits(1);
    ran.says("the counts of 2026-11-16..2026-11-22 were computed with --min-cell 5")
        .says("hint: replace them: ")
        .says("batchctl --env dev report weekly-signups --date 2026-11-16 --min-cell 10 --rerun");
    assert_eq!(
        (shop.scalar("SELECT COUNT(*) FROM mails"), shop.path("out").exists()),
        ("0".to_owned(), false)
    );
    report(shop, &[&flags[..], &["--rerun"]].concat()).run().succeeds();
    assert_eq!(groups(shop), ["2026-11-16 tokyo other 27 27 0 0"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1");
}

fn one_week_has_one_minimum(shop: &Shop) {
    let minimums = || shop.sql("SELECT DISTINCT min_cell FROM weekly_signups");
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 20, "ACTIVE", "web", WEDNESDAY);
    report(shop, &["--min-cell", "10"]).run().succeeds();
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    members(shop, osaka, "a", 7, "ACTIVE", "web", WEDNESDAY);
    report(shop, &["--verbose"]).run().succeeds().says("with --min-cell 10 like the rest of the week");
    assert_eq!(minimums(), [["10"]], "a mall that is added later");
    report(shop, &["--mall", "osaka", "--rerun"]).run().succeeds();
    assert_eq!(minimums(), [["10"]], "a mall that is computed again separately");
    report(shop, &["--mall", "osaka", "--min-cell", "20"]).run().exits(1).says("computed with --min-cell 10");
    assert_eq!(minimums(), [["10"]], "a larger one requires all of them");
    report(shop, &["--rerun"]).run().succeeds();
    assert_eq!(minimums(), [["5"]]);
}

fn what_is_withheld_is_a_dash_without_a_unit(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("tiny", "Asia/Tokyo", "JPY");
    members(shop, tokyo, "a", 20, "ACTIVE", "web", WEDNESDAY);
    members(shop, tokyo, "b", 2, "WITHDRAWN", "web", WEDNESDAY);
    for (locale, unit, word) in [("ja", "名", "未確認"), ("ko", "명", "미인증")] {
        report(shop, &["--mail-to", "a@example.jp", "--locale", locale]).run().succeeds();
        let mail =
            shop.sql(&format!("SELECT subject, text_body, html_body FROM mails WHERE locale = '{locale}'"));
        let texts = mail[0].join("\n");
        assert!(texts.contains(&format!("22{unit}")) && texts.contains('–'), "{texts}");
        assert!(!texts.contains(&format!("–{unit}")), "{texts}");
        assert!(texts.contains(word) && !texts.contains("確認待ち"), "{texts}");
    }
}

fn a_minimum_that_protects_nobody_is_wrong_usage(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    for minimum in ["0", "2", "-1"] {
        report(shop, &[&format!("--min-cell={minimum}")]).run().exits(2);
    }
}

fn a_scheduled_delivery_covers_only_the_last_week(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write(
        "batchctl.toml",
        "[[report.delivery]]\nreport = \"weekly-signups\"\nto = [\"a@example.jp\"]\nformat = [\"csv\"]\nlocale = \"ko\"\n",
    );
    report(shop, &["--from", "2026-10-01", "--to", "2026-11-22"]).run().succeeds();
    assert_eq!(shop.sql("SELECT kind, locale, status FROM mails"), [["weekly-signups", "ko", "QUEUED"]]);
    assert_eq!(shop.scalar("SELECT name FROM mail_attachments"), "weekly-signups-2026-11-16_2026-11-22.csv");
    report(shop, &[]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "1");
}
