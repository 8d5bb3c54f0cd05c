//! `mail payment-notice`: who is told about which charge, once before and once on the day, whatever happens.

use rustix::process::Signal;

use crate::support::{Customers, Database, Mall, on_both_databases, run_on};

on_both_databases![
    a_charge_is_announced_three_days_before_and_on_its_day,
    the_last_day_of_a_month_is_three_days_away_across_the_month,
    a_missed_day_is_caught_up_on_while_the_charge_is_in_the_future,
    a_run_for_an_earlier_day_announces_only_future_charges,
    a_moved_charge_is_announced_again,
    members_who_must_not_be_written_to_are_not,
    each_mall_has_its_own_day,
    each_subscriber_is_written_to_in_their_language,
    a_second_run_of_a_day_finds_nothing_new,
    an_invalid_address_is_a_skipped_item,
    an_invalid_address_is_reported_only_on_the_first_day,
    after_a_kill_the_next_run_does_the_rest_without_a_second_notice,
    of_two_simultaneous_runs_the_second_waits_and_finds_everything_done,
    the_built_in_template_renders_a_full_and_a_minimal_subscription,
];

const NOTICE: [&str; 3] = ["--verbose", "mail", "payment-notice"];

impl Customers {
    /// An active subscription of 980 a month.
    #[track_caller]
    fn subscription(&self, mall: Mall, member: &str, next_charge_day: &str) {
        self.execute(&format!(
            "INSERT INTO subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount,
                                        next_charge_day, cancel_by_day, payment_method, card_last4, manage_url,
                                        created_at, updated_at)
             VALUES ({}, 'S-{member}', '{member}', 'Premium', 'ACTIVE', 'JPY', 980, '{next_charge_day}', NULL, NULL,
                     '4242', 'https://shop/plan', '2020-01-01T00:00:00+00:00', '2020-01-01T00:00:00+00:00')",
            mall.id
        ));
    }

    /// The ledger: subscription, charge and kind.
    fn noticed(&self) -> Vec<String> {
        let mut rows: Vec<String> = self
            .sql(
                "SELECT subscription_no, charge_day, kind FROM payment_notices
                 JOIN subscriptions ON subscriptions.id = subscription_id",
            )
            .into_iter()
            .map(|row| row.join(" "))
            .collect();
        rows.sort();
        rows
    }
}

/// Nine in the morning in Tokyo.
fn morning(day: &str) -> String {
    format!("{day}T09:00:00+09:00")
}

fn a_charge_is_announced_three_days_before_and_on_its_day(shop: &Customers) {
    shop.member("M1");
    shop.subscription(shop.mall, "M1", "2026-11-23");
    shop.execute("UPDATE subscriptions SET cancel_by_day = '2026-11-22'");
    let run = |day: &str, says: &str| {
        drop(shop.job(&NOTICE).now(&morning(day)).run().succeeds().says(says));
    };

    run("2026-11-19", "nothing new to announce");
    run("2026-11-20", "queued 1 notice of upcoming charges and 0 of today's");
    run("2026-11-21", "nothing new to announce");
    run("2026-11-22", "nothing new to announce");
    run("2026-11-23", "queued 0 notices of upcoming charges and 1 of today's");
    run("2026-11-24", "nothing new to announce");

    assert_eq!(
        shop.mails(),
        [
            "M1: Premium, 980 JPY on 2026-11-23, 0 left, 4242 -, https://shop/plan -",
            "M1: Premium, 980 JPY on 2026-11-23, 3 left, 4242 -, https://shop/plan 2026-11-22",
        ]
    );
    assert_eq!(
        shop.sql("SELECT kind, category, member_code, priority, dedup_key FROM mails ORDER BY id"),
        [
            ["payment-notice", "TRANSACTIONAL", "M1", "2", "payment-notice:1/S-M1/2026-11-23/BEFORE"],
            ["payment-notice", "TRANSACTIONAL", "M1", "2", "payment-notice:1/S-M1/2026-11-23/ON_DAY"],
        ]
    );
    assert_eq!(shop.noticed(), ["S-M1 2026-11-23 BEFORE", "S-M1 2026-11-23 ON_DAY"]);
}

fn the_last_day_of_a_month_is_three_days_away_across_the_month(shop: &Customers) {
    for (member, day) in
        [("M1", "2027-01-31"), ("M2", "2027-02-28"), ("M3", "2027-03-01"), ("M4", "2028-02-29")]
    {
        shop.member(member);
        shop.subscription(shop.mall, member, day);
    }
    for (day, sum) in
        [("2027-01-27", 0), ("2027-01-28", 1), ("2027-02-25", 2), ("2027-02-26", 3), ("2028-02-26", 4)]
    {
        shop.job(&NOTICE).now(&morning(day)).run().succeeds();
        assert_eq!(shop.noticed().len(), sum, "{day}");
    }
    assert!(shop.noticed().iter().all(|row| row.ends_with(" BEFORE")));
}

fn a_missed_day_is_caught_up_on_while_the_charge_is_in_the_future(shop: &Customers) {
    for (member, day) in
        [("M1", "2026-11-23"), ("M2", "2026-11-22"), ("M3", "2026-11-21"), ("M4", "2026-11-20")]
    {
        shop.member(member);
        shop.subscription(shop.mall, member, day);
    }
    // Nothing ran on the 20th: its notices are sent on the 21st, and the notice of the day itself on that day.
    shop.job(&NOTICE).now(&morning("2026-11-21")).run().succeeds();
    assert_eq!(
        shop.noticed(),
        ["S-M1 2026-11-23 BEFORE", "S-M2 2026-11-22 BEFORE", "S-M3 2026-11-21 ON_DAY"]
    );
    assert!(shop.mails()[0].contains("2 left") && shop.mails()[1].contains("1 left"), "{:?}", shop.mails());
}

fn a_run_for_an_earlier_day_announces_only_future_charges(shop: &Customers) {
    for (member, day) in
        [("M1", "2026-11-20"), ("M2", "2026-11-21"), ("M3", "2026-11-23"), ("M4", "2026-11-24")]
    {
        shop.member(member);
        shop.subscription(shop.mall, member, day);
    }
    let mut words = NOTICE.to_vec();
    words.extend(["--date", "yesterday"]);
    shop.job(&words).now(&morning("2026-11-21")).run().succeeds();
    assert_eq!(shop.noticed(), ["S-M3 2026-11-23 BEFORE"]);
    words[4] = "2026-11-22";
    shop.job(&words).now(&morning("2026-11-21")).run().exits(2).says("2026-11-22 is in the future");
}

fn a_moved_charge_is_announced_again(shop: &Customers) {
    shop.member("M1");
    shop.subscription(shop.mall, "M1", "2026-11-22");
    shop.job(&NOTICE).now(&morning("2026-11-20")).run().succeeds();
    shop.execute("UPDATE subscriptions SET next_charge_day = '2026-12-22'");
    shop.job(&NOTICE).now(&morning("2026-12-19")).run().succeeds();
    assert_eq!(shop.noticed(), ["S-M1 2026-11-22 BEFORE", "S-M1 2026-12-22 BEFORE"]);
}

fn members_who_must_not_be_written_to_are_not(shop: &Customers) {
    for member in [
        "charged",
        "refused-advertising",
        "unsubscribed",
        "unconfirmed",
        "paused",
        "cancelled",
        "free-month",
        "withdrawn",
        "withdrawn-at",
        "to-be-forgotten",
        "suppressed",
        "without-address",
    ] {
        shop.member(member);
        shop.subscription(shop.mall, member, "2026-11-20");
    }
    shop.subscription(shop.mall, "no-member", "2026-11-20");
    // Members have to be told, whatever they said about advertising.
    shop.consent("refused-advertising", "MARKETING", false);
    shop.suppress("unsubscribed@example.jp", "MARKETING");
    shop.change_member("unconfirmed", "status = 'UNCONFIRMED'");
    shop.execute("UPDATE subscriptions SET status = 'PAUSED' WHERE member_code = 'paused'");
    shop.execute("UPDATE subscriptions SET status = 'CANCELLED' WHERE member_code = 'cancelled'");
    shop.execute("UPDATE subscriptions SET amount = 0 WHERE member_code = 'free-month'");
    shop.change_member("withdrawn", "status = 'WITHDRAWN'");
    shop.change_member("withdrawn-at", "withdrawn_at = '2026-11-01T00:00:00+00:00'");
    shop.change_member("to-be-forgotten", "erasure_requested_at = '2026-11-01T00:00:00+00:00'");
    shop.suppress("suppressed@example.jp", "ALL");
    shop.change_member("without-address", "email = ''");
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("[mail]", "[mail]\nconsent = 'opt-in'"));

    shop.job(&NOTICE).run().succeeds();

    assert_eq!(
        shop.recipients(),
        [
            "charged@example.jp",
            "refused-advertising@example.jp",
            "unconfirmed@example.jp",
            "unsubscribed@example.jp"
        ]
    );
}

fn each_mall_has_its_own_day(shop: &Customers) {
    let new_york = shop.mall("new-york", "America/New_York", "USD");
    shop.member("tokyo-20");
    shop.member_of(new_york, "york-19");
    shop.member_of(new_york, "york-23");
    shop.subscription(shop.mall, "tokyo-20", "2026-11-20");
    shop.subscription(new_york, "york-19", "2026-11-19");
    shop.subscription(new_york, "york-23", "2026-11-23");

    // Nine in the morning of the 20th in Tokyo is seven in the evening of the 19th in New York.
    shop.job(&NOTICE).now(&morning("2026-11-20")).run().succeeds();
    assert_eq!(shop.noticed(), ["S-tokyo-20 2026-11-20 ON_DAY", "S-york-19 2026-11-19 ON_DAY"]);
    shop.job(&NOTICE).now(&morning("2026-11-21")).run().succeeds();
    assert_eq!(shop.noticed()[2], "S-york-23 2026-11-23 BEFORE");

    shop.execute("UPDATE malls SET time_zone = 'Mars/Olympus' WHERE code = 'new-york'");
    shop.member("tokyo-22");
    shop.subscription(shop.mall, "tokyo-22", "2026-11-22");
    shop.job(&NOTICE).now(&morning("2026-11-22")).run().exits(3).says("Mars/Olympus");
    assert_eq!(shop.noticed()[1], "S-tokyo-22 2026-11-22 ON_DAY", "the other mall is processed");
    shop.member_of(new_york, "york-21");
    shop.subscription(new_york, "york-21", "2026-11-21");
    shop.execute("UPDATE malls SET time_zone = 'America/New_York' WHERE code = 'new-york'");
    shop.job(&["runs", "retry", "3"]).now(&morning("2026-11-22")).run().succeeds();
    assert_eq!(shop.noticed()[3], "S-york-21 2026-11-21 ON_DAY", "the whole mall is retried");
}

fn each_subscriber_is_written_to_in_their_language(shop: &Customers) {
    for (member, locale) in [("ja", "'ja'"), ("ko", "'ko-KR'"), ("en", "'en_US'"), ("silent", "NULL")] {
        shop.member(member);
        shop.change_member(member, &format!("locale = {locale}"));
        shop.subscription(shop.mall, member, "2026-11-20");
    }
    shop.job(&NOTICE).env("BATCHCTL_LOCALE", "ko").run().succeeds();
    let mut languages: Vec<String> =
        shop.sql("SELECT member_code, subject FROM mails").into_iter().map(|row| row.join(": ")).collect();
    languages.sort();
    assert_eq!(
        languages,
        [
            "en: payment-notice in en",
            "ja: payment-notice in ja",
            "ko: payment-notice in ko",
            "silent: payment-notice in ko"
        ]
    );
}

fn a_second_run_of_a_day_finds_nothing_new(shop: &Customers) {
    shop.member("M1");
    shop.subscription(shop.mall, "M1", "2026-11-20");
    shop.job(&NOTICE).run().succeeds();
    let before = shop.mails();
    shop.job(&NOTICE).run().succeeds().says("already completed by run 1");
    let mut again = NOTICE.to_vec();
    again.push("--rerun");
    shop.job(&again).run().succeeds().says("nothing new to announce");
    shop.execute("DELETE FROM mails");
    shop.job(&again).run().succeeds().says("nothing new to announce");
    assert_eq!((before.len(), shop.mails().len()), (1, 0));

    // A subscription that arrived later on the same day.
    shop.member("M2");
    shop.subscription(shop.mall, "M2", "2026-11-20");
    shop.job(&again).run().succeeds().says("queued 0 notices of upcoming charges and 1 of today's");
    assert_eq!(
        shop.scalar("SELECT DISTINCT command_line FROM batch_execution"),
        "mail payment-notice --date 2026-11-20"
    );
}

fn an_invalid_address_is_a_skipped_item(shop: &Customers) {
    for member in ["M1", "M2"] {
        shop.member(member);
        shop.subscription(shop.mall, member, "2026-11-20");
    }
    shop.change_member("M1", "email = 'nowhere'");
    shop.job(&NOTICE).run().exits(3).says("1 of 2 items failed");
    assert_eq!(shop.recipients(), ["M2@example.jp"]);
    assert_eq!(shop.noticed(), ["S-M2 2026-11-20 ON_DAY"]);
    assert_eq!(
        shop.sql("SELECT item_key, kind, message FROM batch_error_log"),
        [["tokyo/S-M1", "SKIPPED", "not a mail address"]]
    );

    shop.change_member("M1", "email = 'm1@example.jp'");
    shop.job(&["runs", "retry", "1"]).run().succeeds();
    assert_eq!(shop.recipients(), ["M2@example.jp", "m1@example.jp"]);
}

fn an_invalid_address_is_reported_only_on_the_first_day(shop: &Customers) {
    shop.member("M1");
    shop.subscription(shop.mall, "M1", "2026-11-23");
    shop.change_member("M1", "email = 'nowhere'");
    shop.job(&NOTICE).now(&morning("2026-11-20")).run().exits(1).says("1 of 1 items failed");
    // The day is not complete, and a command that asks for it again reports that.
    shop.job(&NOTICE).now(&morning("2026-11-20")).run().exits(1);

    shop.job(&NOTICE).now(&morning("2026-11-21")).run().succeeds().says("nothing new to announce");

    shop.change_member("M1", "email = 'm1@example.jp'");
    shop.job(&["runs", "retry", "1"]).now(&morning("2026-11-21")).run().succeeds();
    assert_eq!(shop.recipients(), ["m1@example.jp"]);
}

fn after_a_kill_the_next_run_does_the_rest_without_a_second_notice(shop: &Customers) {
    shop.members(600);
    shop.execute(
        "INSERT INTO subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount,
                                    next_charge_day, created_at, updated_at)
         SELECT mall_id, 'S' || id, member_code, 'Premium', 'ACTIVE', 'JPY', 980, '2026-11-20', created_at, created_at
         FROM members",
    );
    let counts = || {
        shop.sql(
            "SELECT (SELECT COUNT(*) FROM mails), (SELECT COUNT(DISTINCT recipient) FROM mails),
                    (SELECT COUNT(*) FROM payment_notices)",
        )
        .concat()
    };
    shop.job(&NOTICE).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["250"; 3]);
    shop.job(&NOTICE).failpoint("after-chunk=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["500"; 3]);
    shop.job(&NOTICE).run().succeeds().says("and 100 of today's");
    assert_eq!(counts(), ["600"; 3]);
}

fn of_two_simultaneous_runs_the_second_waits_and_finds_everything_done(shop: &Customers) {
    shop.member("M1");
    shop.subscription(shop.mall, "M1", "2026-11-20");
    let mut first = shop.job(&NOTICE).hold_at("after-lease");
    first.wait_until_reached();
    let mut impatient = NOTICE.to_vec();
    impatient.extend(["--on-overlap", "fail"]);
    shop.job(&impatient).run().exits(75).says("holds it: mail payment-notice");
    let second = shop.job(&NOTICE).spawn();
    first.release().wait().succeeds();
    second.wait().succeeds().says("already completed by run 1");
    assert_eq!(shop.recipients(), ["M1@example.jp"]);
}

fn the_built_in_template_renders_a_full_and_a_minimal_subscription(shop: &Customers) {
    shop.write("batchctl.toml", "");
    for member in ["bare", "full"] {
        shop.member(member);
        shop.subscription(shop.mall, member, "2026-11-22");
    }
    shop.change_member("bare", "name = NULL");
    shop.execute("UPDATE subscriptions SET card_last4 = NULL, manage_url = NULL WHERE member_code = 'bare'");
    shop.execute("UPDATE subscriptions SET cancel_by_day = '2026-11-21' WHERE member_code = 'full'");
    // Part of a contract: it needs neither consent nor a way to unsubscribe.
    shop.batchctl(NOTICE).run().succeeds().says("queued 2 notices");
    for text in shop.sql("SELECT text_body || html_body FROM mails").concat() {
        assert!(text.contains("Premium") && text.contains("980"), "{text}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    run_on(Database::Sqlite, |shop: &Customers| {
        shop.member("M1");
        shop.subscription(shop.mall, "M1", "2026-11-20");
        let before = shop.dump();
        shop.job(&["mail", "payment-notice", "--dry-run"]).run().succeeds().prints("would run");
        assert_eq!(shop.dump(), before);
    });
}
