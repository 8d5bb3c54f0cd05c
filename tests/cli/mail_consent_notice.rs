//! `mail consent-notice`: whose consent is confirmed, when, and only once a period whatever happens.

use rustix::process::Signal;

use crate::support::{Batchctl, Customers, Database, UNREACHABLE, on_both_databases, run_on};

on_both_databases![
    a_consent_is_confirmed_a_month_before_two_years_are_over_and_again_two_years_later,
    a_late_notice_begins_a_new_period,
    a_consent_of_the_leap_day_is_confirmed_before_the_last_of_february,
    the_day_is_that_of_the_mall,
    a_consent_that_was_renewed_begins_a_new_period,
    the_time_in_the_shop_counts_before_that_of_the_import,
    both_consents_of_a_member_are_in_one_mail,
    members_who_have_nothing_to_confirm_get_nothing,
    only_korean_readers_are_written_to,
    a_consent_that_was_taken_back_meanwhile_is_not_confirmed,
    a_notice_that_names_only_a_withdrawn_consent_is_not_sent_whatever_else_stands,
    what_a_clock_that_was_ahead_wrote_confirms_nothing,
    an_invalid_address_is_a_skipped_item,
    a_consent_of_a_day_that_cannot_be_is_a_failed_item,
    a_limit_leaves_the_others_to_the_next_run,
    a_shop_without_anybody_to_tell_needs_no_settings,
    a_text_that_hides_what_it_has_to_show_is_not_sent,
    after_a_kill_the_next_run_does_the_rest_without_a_second_notice,
    of_two_simultaneous_runs_one_is_refused,
    the_built_in_text_says_what_the_law_asks_for,
];

const NOTICE: [&str; 3] = ["--verbose", "mail", "consent-notice"];

impl Customers {
    /// A consent given at this time, in tokyo.
    #[track_caller]
    fn agreed(&self, member: &str, purpose: &str, at: &str) {
        self.execute(&format!(
            "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
             VALUES ({}, '{member}', '{purpose}', TRUE, '{at}', '{at}')",
            self.mall.id
        ));
    }

    /// A member who agreed to advertising at this time.
    #[track_caller]
    fn agreeing(&self, member: &str, at: &str) {
        self.member(member);
        self.agreed(member, "MARKETING", at);
    }

    /// The job at ten in the morning, at a shop that has a name and whose members read Korean.
    fn notices(&self, day: &str) -> Batchctl {
        self.with_name(&NOTICE).now(&format!("{day}T10:00:00+09:00"))
    }

    fn with_name(&self, words: &[&str]) -> Batchctl {
        self.job(words)
            .env("BATCHCTL_LOCALE", "ko")
            .env("BATCHCTL_MAIL_FROM", "샘플 쇼핑몰 <shop@example.jp>")
            .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
    }

    /// The ledger.
    fn confirmed(&self) -> Vec<String> {
        let columns = "member_code, purpose, consented_day, due_day, counted_from_day";
        let rows = self.sql(&format!("SELECT {columns} FROM consent_notices"));
        let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
        rows.sort();
        rows
    }
}

/// Two years before 20 December 2026, a month before which is today.
const THEN: &str = "2024-12-20T03:00:00+00:00";
const TODAY: &str = "2026-11-20";

fn a_consent_is_confirmed_a_month_before_two_years_are_over_and_again_two_years_later(shop: &Customers) {
    shop.agreeing("M1", THEN);
    for (day, says) in [
        ("2026-11-19", "no consent to confirm"),
        ("2026-11-20", "queued 1 notice of consent"),
        ("2026-11-21", "no consent to confirm"),
        ("2026-12-20", "no consent to confirm"),
        ("2028-11-19", "no consent to confirm"),
        // Two days late, which changes nothing about the day.
        ("2028-11-22", "queued 1 notice"),
        ("2030-11-19", "no consent to confirm"),
        ("2030-11-20", "queued 1 notice"),
    ] {
        shop.notices(day).run().succeeds().says(says);
        // The ledger knows, whether or not the mails are still there.
        if day.starts_with("2026") {
            continue;
        }
        shop.execute("DELETE FROM mails WHERE id < (SELECT MAX(id) FROM mails)");
    }
    assert_eq!(
        shop.confirmed(),
        [
            "M1 MARKETING 2024-12-20 2026-12-20 2026-12-20",
            "M1 MARKETING 2024-12-20 2028-12-20 2028-12-20",
            "M1 MARKETING 2024-12-20 2030-12-20 2030-12-20",
        ]
    );
    assert_eq!(shop.mails(), ["M1: MARKETING 2024-12-20, 2 years"]);
    assert_eq!(
        shop.sql("SELECT kind, category, locale, mall_id, member_code, priority, dedup_key FROM mails"),
        [["consent-notice", "TRANSACTIONAL", "ko", "1", "M1", "3", "NULL"]]
    );
    assert_eq!(shop.scalar("SELECT DISTINCT command_line FROM batch_execution"), "mail consent-notice");
}

fn a_late_notice_begins_a_new_period(shop: &Customers) {
    shop.agreeing("M1", "2021-03-01T03:00:00+00:00");
    shop.notices(TODAY).run().succeeds().says("queued 1 notice");
    shop.notices("2028-10-20").run().succeeds().says("no consent to confirm");
    shop.notices("2028-10-21").run().succeeds().says("queued 1 notice");
    assert_eq!(
        shop.confirmed(),
        ["M1 MARKETING 2021-03-01 2023-03-01 2026-11-20", "M1 MARKETING 2021-03-01 2028-11-20 2028-11-20",]
    );
}

fn a_consent_of_the_leap_day_is_confirmed_before_the_last_of_february(shop: &Customers) {
    shop.agreeing("M1", "2024-02-29T03:00:00+00:00");
    let run = |day: &str, says: &str| {
        let words = ["--verbose", "mail", "consent-notice", "--days-before", "1"];
        shop.with_name(&words).now(&format!("{day}T10:00:00+09:00")).run().succeeds().says(says);
    };
    run("2026-02-26", "no consent to confirm");
    run("2026-02-27", "queued 1 notice");
    run("2028-02-26", "no consent to confirm");
    run("2028-02-27", "queued 1 notice");
    assert_eq!(
        shop.confirmed(),
        ["M1 MARKETING 2024-02-29 2026-02-28 2026-02-28", "M1 MARKETING 2024-02-29 2028-02-28 2028-02-28",]
    );
}

fn the_day_is_that_of_the_mall(shop: &Customers) {
    let new_york = shop.mall("new-york", "America/New_York", "USD");
    // The 20th in Tokyo, the 19th in New York; the 21st in Tokyo.
    shop.agreeing("M1", "2024-12-19T15:00:00+00:00");
    shop.agreeing("M2", "2024-12-20T15:00:00+00:00");
    shop.member_of(new_york, "N1");
    shop.execute(&format!(
        "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
         VALUES ({}, 'N1', 'MARKETING', TRUE, '2024-12-20T04:59:59+00:00', '{THEN}')",
        new_york.id
    ));
    // Ten in the morning of the 20th in Tokyo is the evening of the 19th in New York.
    shop.notices(TODAY).run().succeeds().says("queued 2 notices");
    assert_eq!(
        shop.confirmed(),
        ["M1 MARKETING 2024-12-20 2026-12-20 2026-12-20", "N1 MARKETING 2024-12-19 2026-12-19 2026-12-19",]
    );
    shop.execute("UPDATE malls SET time_zone = 'Mars/Olympus' WHERE code = 'new-york'");
    shop.notices("2026-11-21").run().exits(3).says("Mars/Olympus");
    assert_eq!(shop.confirmed()[1], "M2 MARKETING 2024-12-21 2026-12-21 2026-12-21");
}

fn a_consent_that_was_renewed_begins_a_new_period(shop: &Customers) {
    shop.agreeing("before", "2021-03-01T03:00:00+00:00");
    shop.agreeing("after", THEN);
    let renew = |member: &str, at: &str| {
        shop.execute(&format!(
            "UPDATE mail_consents SET source_updated_at = '{at}' WHERE member_code = '{member}'"
        ));
    };
    renew("before", "2026-11-01T03:00:00+00:00");
    shop.notices(TODAY).run().succeeds().says("queued 1 notice");
    renew("after", "2026-11-25T03:00:00+00:00");
    shop.notices("2026-12-20").run().succeeds().says("no consent to confirm");
    shop.notices("2028-10-25").run().succeeds().says("queued 1 notice");
    shop.notices("2028-10-26").run().succeeds().says("queued 1 notice");
    assert_eq!(
        shop.confirmed(),
        [
            "after MARKETING 2024-12-20 2026-12-20 2026-12-20",
            "after MARKETING 2026-11-25 2028-11-25 2028-11-25",
            "before MARKETING 2026-11-01 2028-11-01 2028-11-01",
        ]
    );
}

fn the_time_in_the_shop_counts_before_that_of_the_import(shop: &Customers) {
    shop.agreeing("M1", "2026-11-01T03:00:00+00:00");
    shop.execute(&format!("UPDATE mail_consents SET source_updated_at = '{THEN}'"));
    shop.notices(TODAY).run().succeeds();
    assert_eq!(shop.confirmed(), ["M1 MARKETING 2024-12-20 2026-12-20 2026-12-20"]);
}

fn both_consents_of_a_member_are_in_one_mail(shop: &Customers) {
    shop.agreeing("M1", THEN);
    shop.agreed("M1", "DIGEST", "2024-06-01T03:00:00+00:00");
    shop.agreeing("M2", THEN);
    shop.consent("M2", "DIGEST", false);
    shop.agreeing("M3", "2026-01-01T03:00:00+00:00");
    shop.agreed("M3", "DIGEST", THEN);
    shop.notices(TODAY).run().succeeds().says("queued 3 notices");
    assert_eq!(
        shop.mails(),
        [
            "M1: MARKETING 2024-12-20, DIGEST 2024-06-01, 2 years",
            "M2: MARKETING 2024-12-20, 2 years",
            "M3: DIGEST 2024-12-20, 2 years",
        ]
    );
    assert_eq!(shop.confirmed().len(), 4);
}

fn members_who_have_nothing_to_confirm_get_nothing(shop: &Customers) {
    for member in ["agreed"].into_iter().chain(UNREACHABLE) {
        shop.agreeing(member, THEN);
    }
    shop.make_unreachable();
    shop.member("silent");
    shop.member("refused");
    shop.consent("refused", "MARKETING", false);
    shop.agreeing("new", "2026-11-01T00:00:00+00:00");
    shop.agreed("no-member", "MARKETING", THEN);

    shop.notices(TODAY).run().succeeds();

    assert_eq!(shop.recipients(), ["agreed@example.jp"]);
    assert_eq!(shop.confirmed().len(), 1);
}

fn only_korean_readers_are_written_to(shop: &Customers) {
    for (member, locale) in [
        ("ko", "'ko'"),
        ("kr", "'ko_KR'"),
        ("ja", "'ja-JP'"),
        ("en", "'EN'"),
        ("fr", "'fr'"),
        ("none", "NULL"),
    ] {
        shop.agreeing(member, THEN);
        shop.change_member(member, &format!("locale = {locale}"));
    }
    shop.notices(TODAY).env("BATCHCTL_LOCALE", "ja").run().succeeds().says("queued 2 notices");
    assert_eq!(shop.recipients(), ["ko@example.jp", "kr@example.jp"]);
    // Whose language is not known reads that of the shop.
    shop.notices(TODAY).run().succeeds().says("queued 2 notices");
    assert_eq!(shop.recipients(), ["fr@example.jp", "ko@example.jp", "kr@example.jp", "none@example.jp"]);
}

fn a_consent_that_was_taken_back_meanwhile_is_not_confirmed(shop: &Customers) {
    for member in ["kept", "taken-back", "unsubscribed", "withdrawn", "half"] {
        shop.agreeing(member, THEN);
    }
    shop.agreed("half", "DIGEST", THEN);
    shop.notices(TODAY).run().succeeds().says("queued 5 notices");
    shop.execute("UPDATE mail_consents SET is_granted = FALSE WHERE member_code = 'taken-back'");
    shop.execute(
        "UPDATE mail_consents SET is_granted = FALSE WHERE member_code = 'half' AND purpose = 'DIGEST'",
    );
    shop.suppress("unsubscribed@example.jp", "MARKETING");
    shop.change_member("withdrawn", "status = 'WITHDRAWN'");
    shop.with_name(&["mail", "flush"]).now("2026-11-20T10:05:00+09:00").run().succeeds();
    let mut mails: Vec<String> = shop
        .sql("SELECT member_code, status, COALESCE(last_reply, '') FROM mails WHERE status <> 'SENT'")
        .into_iter()
        .map(|row| row.join(" "))
        .collect();
    mails.sort();
    assert_eq!(
        mails,
        [
            "taken-back CANCELLED the member has withdrawn the consent",
            "unsubscribed CANCELLED suppressed: MANUAL",
            "withdrawn CANCELLED the member has withdrawn",
        ]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "2");
}

fn a_notice_that_names_only_a_withdrawn_consent_is_not_sent_whatever_else_stands(shop: &Customers) {
    for member in ["named", "other"] {
        shop.agreeing(member, THEN);
        // Not due for a year.
        shop.agreed(member, "DIGEST", "2026-01-01T00:00:00+00:00");
    }
    shop.notices(TODAY).run().succeeds().says("queued 2 notices");
    let withdraw = |member: &str, purpose: &str| {
        shop.execute(&format!(
            "UPDATE mail_consents SET is_granted = FALSE WHERE member_code = '{member}' AND purpose = '{purpose}'"
        ));
    };
    withdraw("named", "MARKETING");
    withdraw("other", "DIGEST");
    shop.with_name(&["mail", "flush"]).now("2026-11-20T10:05:00+09:00").run().succeeds();
    assert_eq!(
        shop.sql("SELECT member_code, status FROM mails ORDER BY member_code"),
        [["named", "CANCELLED"], ["other", "SENT"]]
    );
}

fn what_a_clock_that_was_ahead_wrote_confirms_nothing(shop: &Customers) {
    shop.agreeing("M1", THEN);
    shop.notices("2036-11-20").run().succeeds().says("queued 1 notice");
    shop.notices(TODAY).run().succeeds().says("queued 1 notice");
    shop.notices("2026-11-21").run().succeeds().says("no consent to confirm");
    shop.notices("2028-11-20").run().succeeds().says("queued 1 notice");
    assert_eq!(
        shop.confirmed(),
        [
            "M1 MARKETING 2024-12-20 2026-12-20 2026-12-20",
            "M1 MARKETING 2024-12-20 2026-12-20 2036-11-20",
            "M1 MARKETING 2024-12-20 2028-12-20 2028-12-20",
        ]
    );
}

fn an_invalid_address_is_a_skipped_item(shop: &Customers) {
    shop.agreeing("M1", THEN);
    shop.agreeing("M2", THEN);
    shop.change_member("M1", "email = 'nowhere'");
    shop.notices(TODAY).run().exits(3).says("1 of 2 items failed");
    assert_eq!(
        shop.sql("SELECT item_key, kind, message FROM batch_error_log"),
        [["tokyo/M1", "SKIPPED", "not a mail address"]]
    );
    shop.notices("2026-11-21").run().succeeds().says("no consent to confirm");
    shop.change_member("M1", "email = 'm1@example.jp'");
    shop.notices("2026-11-22").run().succeeds().says("queued 1 notice");
    assert_eq!(shop.recipients(), ["M2@example.jp", "m1@example.jp"]);
}

fn a_consent_of_a_day_that_cannot_be_is_a_failed_item(shop: &Customers) {
    shop.agreeing("M1", "1970-01-01T00:00:00+00:00");
    shop.agreeing("M2", THEN);
    shop.agreeing("M3", "0001-01-01T00:00:00+00:00");
    shop.notices(TODAY)
        .run()
        .exits(3)
        .says(
            "tokyo/M1: the consent of purpose `MARKETING` is dated 1970-01-01, when nobody can have given it",
        )
        .says("`source_updated_at` of `mail_consents`");
    assert_eq!(shop.recipients(), ["M2@example.jp"]);
    shop.execute(&format!("UPDATE mail_consents SET source_updated_at = '{THEN}' WHERE member_code <> 'M2'"));
    let first = shop.scalar("SELECT MIN(id) FROM batch_execution");
    shop.with_name(&["runs", "retry", &first]).now("2026-11-20T11:00:00+09:00").run().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp", "M2@example.jp", "M3@example.jp"]);
}

fn a_limit_leaves_the_others_to_the_next_run(shop: &Customers) {
    shop.members(600);
    shop.execute(&format!(
        "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
         SELECT mall_id, member_code, 'MARKETING', TRUE, '{THEN}', '{THEN}' FROM members"
    ));
    let run = |limit: &str| {
        let words = ["--verbose", "mail", "consent-notice", "--limit", limit];
        shop.with_name(&words).now("2026-11-20T10:00:00+09:00").run().succeeds()
    };
    run("10").says("queued 10 notices of consent, as many as --limit allows: the next run queues the others");
    assert_eq!(shop.confirmed().len(), 10);
    run("250").says("as many as --limit allows");
    assert_eq!(shop.confirmed().len(), 260);
    run("340").says("queued 340 notices of consent (run");
    assert_eq!(shop.scalar("SELECT COUNT(DISTINCT recipient) FROM mails"), "600");
    run("1").says("no consent to confirm");
}

fn a_shop_without_anybody_to_tell_needs_no_settings(shop: &Customers) {
    shop.write("batchctl.toml", "[mail]\ntemplate_dir = 'mails'\n");
    shop.agreeing("M1", THEN);
    shop.batchctl(NOTICE).env("BATCHCTL_LOCALE", "ja").run().succeeds().says("no consent to confirm");
    let job = || shop.batchctl(NOTICE).env("BATCHCTL_LOCALE", "ko");
    job().run().exits(78).says("`mail.shop.name` is not set: a notice that confirms a consent");
    let named = || job().env("BATCHCTL_MAIL_FROM", "샘플 쇼핑몰 <shop@example.jp>");
    named().run().exits(78).says("`mail.unsubscribe.url` is not set");
    assert_eq!(shop.mails().len() + shop.confirmed().len(), 0);
    shop.configure("");
    named().run().exits(78).says("BATCHCTL_SECRET_KEY");
    shop.notices(TODAY).run().succeeds().says("queued 1 notice");
}

fn a_text_that_hides_what_it_has_to_show_is_not_sent(shop: &Customers) {
    shop.agreeing("M1", THEN);
    let template = "mails/consent-notice.ko.txt";
    let text = shop.read(template);
    // Of the two parts one is enough.
    shop.write("mails/consent-notice.ko.html", "<p>안녕하세요.</p>");
    for (gone, missing) in [
        (
            "{{ shop.name }}",
            "the text does not show the sender's name (`mail.shop.name`), as it has to in Korea",
        ),
        ("수신 거부", "the text does not say how to refuse advertising (`수신거부`)"),
        (
            ", unsubscribe: {{ unsubscribe_url }}",
            "the text does not say how to refuse advertising (`unsubscribe`)",
        ),
    ] {
        shop.write(template, text.replace(gone, ""));
        shop.notices(TODAY).run().exits(65).says(missing);
    }
    assert_eq!(shop.mails().len() + shop.confirmed().len(), 0);
    shop.write(template, text);
    shop.notices(TODAY).run().succeeds().says("queued 1 notice");
}

fn after_a_kill_the_next_run_does_the_rest_without_a_second_notice(shop: &Customers) {
    shop.members(600);
    for purpose in ["MARKETING", "DIGEST"] {
        shop.execute(&format!(
            "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
             SELECT mall_id, member_code, '{purpose}', TRUE, '{THEN}', '{THEN}' FROM members"
        ));
    }
    let counts = || {
        shop.sql(
            "SELECT (SELECT COUNT(*) FROM mails), (SELECT COUNT(DISTINCT recipient) FROM mails),
                    (SELECT COUNT(*) / 2 FROM consent_notices)",
        )
        .concat()
    };
    shop.notices(TODAY).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["250"; 3]);
    shop.notices(TODAY).failpoint("after-chunk=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["500"; 3]);
    shop.notices(TODAY).run().succeeds().says("queued 100 notices");
    assert_eq!(counts(), ["600"; 3]);
}

fn of_two_simultaneous_runs_one_is_refused(shop: &Customers) {
    shop.agreeing("M1", THEN);
    let mut first = shop.notices(TODAY).hold_at("after-lease");
    first.wait_until_reached();
    shop.notices(TODAY).run().exits(75).says("holds it: mail consent-notice");
    first.release().wait().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp"]);
}

fn the_built_in_text_says_what_the_law_asks_for(shop: &Customers) {
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("template_dir = 'mails'", ""));
    shop.agreeing("M1", THEN);
    shop.agreed("M1", "DIGEST", "2024-06-01T03:00:00+00:00");
    shop.notices(TODAY).run().succeeds();
    let row = shop.sql("SELECT subject, text_body, html_body FROM mails").remove(0);
    let [subject, text, html] = row.try_into().unwrap();
    // It is not advertising itself.
    assert_eq!(subject, "[샘플 쇼핑몰] 광고성 정보 수신 동의 확인 안내");
    for part in [&text, &html] {
        for said in [
            "샘플 쇼핑몰",
            "2024년 12월 20일 수신 동의",
            "2024년 6월 1일 수신 동의",
            "별도의 조치가 필요하지 않습니다",
            "무료 수신 거부 및 동의 철회",
            "Unsubscribe and withdraw your consent",
            "https://shop.example.jp/unsubscribe?t=Y29uc2VudC1ub3RpY2U6bTFAZXhhbXBsZS5qcA.",
        ] {
            assert!(part.contains(said), "{said}: {part}");
        }
    }
}

#[test]
fn the_text_reads_well_in_each_language() {
    run_on(Database::Sqlite, |shop: &Customers| {
        shop.write("batchctl.toml", "");
        for (locale, day, nothing_to_do) in [
            ("en", "agreed on 20 December 2024", "nothing you need to do"),
            ("ja", "2024年12月20日にご同意", "お手続きは不要です"),
            ("ko", "2024년 12월 20일 수신 동의", "별도의 조치가 필요하지 않습니다"),
        ] {
            let words = ["mail", "templates", "preview", "consent-notice", "--locale", locale];
            let text = shop.batchctl(words).run().succeeds().stdout;
            let html = shop.read(&format!("consent-notice.{locale}.preview.html"));
            for part in [&text, &html] {
                for said in [day, nothing_to_do, "https://shop.example.com/unsubscribe?t=sample"] {
                    assert!(part.contains(said), "{said}: {part}");
                }
            }
            assert!(!text.contains("(광고)") && !text.contains("None"), "{text}");
        }
    });
}

#[test]
fn the_configuration_is_checked_for_the_link_to_withdraw() {
    run_on(Database::Sqlite, |shop: &Customers| {
        let check = |locale: &str| shop.with_name(&["config", "check"]).env("BATCHCTL_LOCALE", locale).run();
        let shown = "[mail.shop]\naddress = 'Seoul'\nphone = '02-1'\n";
        shop.write("batchctl.toml", format!("[mail]\n{shown}[cart_remind]\n"));
        check("ko").exits(78).prints("`mail.unsubscribe.url` is not set");
        check("en").succeeds();
        shop.write("batchctl.toml", format!("[mail]\n{shown}"));
        check("ko").succeeds();
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    run_on(Database::Sqlite, |shop: &Customers| {
        shop.agreeing("M1", THEN);
        let before = shop.dump();
        shop.with_name(&["mail", "consent-notice", "--dry-run"]).run().succeeds().prints("would run");
        assert_eq!(shop.dump(), before);
    });
}
