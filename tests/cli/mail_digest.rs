//! `mail digest`: who gets which articles, and that nobody gets one twice whatever happens.

use rustix::process::Signal;

use crate::support::{Customers, Database, UNREACHABLE, on_both_databases, run_on};

on_both_databases![
    subscribers_get_the_summary_and_free_members_the_free_one,
    nobody_gets_an_article_twice,
    a_digest_contains_the_newest_articles_and_the_rest_is_never_sent,
    articles_before_the_day_and_in_the_future_are_left_out,
    each_reader_gets_the_articles_of_their_language,
    members_who_must_not_be_written_to_are_not,
    under_opt_in_only_members_who_agreed_get_it,
    an_invalid_address_is_a_skipped_item,
    after_a_kill_the_next_run_does_the_rest_without_sending_an_article_twice,
    of_two_simultaneous_runs_one_is_refused,
    the_articles_of_a_mall_go_to_its_own_members,
    the_built_in_template_renders_for_subscribers_and_free_members,
];

const DIGEST: [&str; 3] = ["--verbose", "mail", "digest"];

impl Customers {
    /// An article for everybody.
    #[track_caller]
    pub(crate) fn article(&self, key: &str, published_at: &str) {
        self.execute(&format!(
            "INSERT INTO articles (mall_id, article_key, title, summary, free_summary, url, published_at, created_at,
                                   updated_at)
             VALUES ({}, '{key}', '{key}', 'all of {key}', 'some of {key}', 'https://news/{key}', '{published_at}',
                     '{published_at}', '{published_at}')",
            self.mall.id
        ));
    }

    #[track_caller]
    fn subscribes(&self, member: &str, status: &str) {
        self.execute(&format!(
            "INSERT INTO subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount,
                                        created_at, updated_at)
             VALUES ({}, 'S-{member}', '{member}', 'Premium', '{status}', 'JPY', 980, '2020-01-01T00:00:00+00:00',
                     '2020-01-01T00:00:00+00:00')",
            self.mall.id
        ));
    }
}

const MONDAY: &str = "2026-11-16T00:00:00+00:00";
const TUESDAY: &str = "2026-11-17T00:00:00+00:00";

fn subscribers_get_the_summary_and_free_members_the_free_one(shop: &Customers) {
    for member in ["subscriber", "paused", "free"] {
        shop.member(member);
    }
    shop.subscribes("subscriber", "ACTIVE");
    shop.subscribes("paused", "PAUSED");
    shop.article("A1", MONDAY);
    shop.article("A2", TUESDAY);
    shop.execute("UPDATE articles SET free_summary = NULL WHERE article_key = 'A2'");

    shop.job(&DIGEST).run().succeeds().says("queued 3 digests: 1 to a subscriber and 2 to free members");

    assert_eq!(
        shop.mails(),
        [
            "free: A1 = some of A1 https://news/A1, https://shop.example.jp/subscribe",
            "paused: A1 = some of A1 https://news/A1, https://shop.example.jp/subscribe",
            "subscriber: A2 = all of A2 https://news/A2, A1 = all of A1 https://news/A1, subscriber",
        ]
    );
    assert_eq!(
        shop.sql("SELECT DISTINCT kind, category, priority, mall_id, dedup_key FROM mails"),
        [["digest", "MARKETING", "3", "1", "NULL"]]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails WHERE text_body LIKE '%unsubscribe?t=%'"), "3");
    assert_eq!(
        shop.scalar("SELECT command_line FROM batch_execution"),
        "mail digest --since 2026-11-13",
        "the day is resolved"
    );
}

fn nobody_gets_an_article_twice(shop: &Customers) {
    shop.member("M1");
    shop.article("A1", MONDAY);
    shop.job(&DIGEST).run().succeeds().says("queued 1 digest");
    shop.job(&DIGEST).run().succeeds().says("nothing new to send");

    // A new article and a new member: each gets what is new to them, even when the mails are purged.
    shop.execute("DELETE FROM mails");
    shop.article("A2", TUESDAY);
    shop.member("M2");
    shop.job(&DIGEST).run().succeeds().says("queued 2 digests");
    assert_eq!(
        shop.mails(),
        [
            "M1: A2 = some of A2 https://news/A2, https://shop.example.jp/subscribe",
            "M2: A2 = some of A2 https://news/A2, A1 = some of A1 https://news/A1, https://shop.example.jp/subscribe",
        ]
    );
    shop.job(&DIGEST).run().succeeds().says("nothing new to send");
}

fn a_digest_contains_the_newest_articles_and_the_rest_is_never_sent(shop: &Customers) {
    shop.member("M1");
    for day in 14..=18 {
        shop.article(&format!("A{day}"), &format!("2026-11-{day}T00:00:00+00:00"));
    }
    let mut words = DIGEST.to_vec();
    words.extend(["--most-articles", "2"]);
    shop.job(&words).run().succeeds().says("queued 1 digest");
    assert_eq!(
        shop.mails(),
        [
            "M1: A18 = some of A18 https://news/A18, A17 = some of A17 https://news/A17, https://shop.example.jp/subscribe"
        ]
    );
    shop.job(&words).run().succeeds().says("nothing new to send");
}

fn articles_before_the_day_and_in_the_future_are_left_out(shop: &Customers) {
    shop.member("M1");
    // The 13th begins in Tokyo at 15:00 UTC of the 12th; now is 16:00 UTC of the 19th.
    for (key, published_at) in [
        ("before", "2026-11-12T14:59:59+00:00"),
        ("first", "2026-11-12T15:00:00+00:00"),
        ("now", "2026-11-19T16:00:00+00:00"),
        ("future", "2026-11-19T16:00:01+00:00"),
    ] {
        shop.article(key, published_at);
    }
    shop.job(&DIGEST).run().succeeds();
    assert_eq!(
        shop.mails(),
        ["M1: now = some of now https://news/now, first = some of first https://news/first, \
          https://shop.example.jp/subscribe"]
    );
    let mut words = DIGEST.to_vec();
    words.extend(["--since", "2026-11-12"]);
    shop.job(&words).run().succeeds().says("queued 1 digest");
    words[4] = "2026-11-21";
    shop.job(&words).run().exits(2).says("2026-11-21 is in the future");
}

fn each_reader_gets_the_articles_of_their_language(shop: &Customers) {
    for (member, locale) in [("ja", "'ja-JP'"), ("ko", "'ko'"), ("en", "'en'"), ("silent", "NULL")] {
        shop.member(member);
        shop.change_member(member, &format!("locale = {locale}"));
    }
    for (key, locale) in [("all", "NULL"), ("japanese", "'ja'"), ("korean", "'ko_KR'")] {
        shop.article(key, MONDAY);
        shop.execute(&format!("UPDATE articles SET locale = {locale} WHERE article_key = '{key}'"));
    }
    shop.job(&DIGEST).env("BATCHCTL_LOCALE", "ja").run().succeeds();
    let mut got: Vec<String> = shop
        .sql(
            "SELECT m.member_code, x.subject, a.article_key FROM article_deliveries d
             JOIN members m ON m.id = d.member_id JOIN articles a ON a.id = d.article_id
             JOIN mails x ON x.member_code = m.member_code",
        )
        .into_iter()
        .map(|row| row.join(" | "))
        .collect();
    got.sort();
    assert_eq!(
        got,
        [
            "en | digest in en | all",
            "ja | digest in ja | all",
            "ja | digest in ja | japanese",
            "ko | digest in ko | all",
            "ko | digest in ko | korean",
            "silent | digest in ja | all",
            "silent | digest in ja | japanese",
        ]
    );
}

fn members_who_must_not_be_written_to_are_not(shop: &Customers) {
    for member in ["reader", "marketing-refused", "refused"].into_iter().chain(UNREACHABLE) {
        shop.member(member);
    }
    shop.make_unreachable();
    shop.article("A1", MONDAY);
    shop.consent("marketing-refused", "MARKETING", false);
    shop.consent("refused", "DIGEST", false);

    shop.job(&DIGEST).run().succeeds();

    assert_eq!(shop.recipients(), ["marketing-refused@example.jp", "reader@example.jp"]);
}

fn under_opt_in_only_members_who_agreed_get_it(shop: &Customers) {
    for member in ["silent", "agreed", "refused", "agreed-to-marketing"] {
        shop.member(member);
    }
    shop.article("A1", MONDAY);
    shop.consent("agreed", "DIGEST", true);
    shop.consent("refused", "DIGEST", false);
    shop.consent("agreed-to-marketing", "MARKETING", true);
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("[mail]", "[mail]\nconsent = 'opt-in'"));
    shop.job(&DIGEST).run().succeeds();
    assert_eq!(shop.recipients(), ["agreed@example.jp"]);
}

fn an_invalid_address_is_a_skipped_item(shop: &Customers) {
    for member in ["M1", "M2"] {
        shop.member(member);
    }
    shop.change_member("M1", "email = 'a@example.jp, b@example.jp'");
    shop.article("A1", MONDAY);
    shop.job(&DIGEST).run().exits(3).says("1 of 2 items failed");
    assert_eq!(shop.recipients(), ["M2@example.jp"]);
    assert_eq!(
        shop.sql("SELECT item_key, kind, message FROM batch_error_log"),
        [["tokyo/M1", "SKIPPED", "not a mail address"]]
    );
    shop.job(&DIGEST).run().succeeds().says("nothing new to send");
    shop.change_member("M1", "email = 'm1@example.jp'");
    shop.job(&["runs", "retry", "1"]).run().succeeds();
    assert_eq!(shop.recipients(), ["M2@example.jp", "m1@example.jp"]);
}

fn after_a_kill_the_next_run_does_the_rest_without_sending_an_article_twice(shop: &Customers) {
    shop.members(600);
    shop.article("A1", MONDAY);
    shop.article("A2", TUESDAY);
    let counts = || {
        shop.sql(
            "SELECT (SELECT COUNT(*) FROM mails), (SELECT COUNT(DISTINCT recipient) FROM mails),
                    (SELECT COUNT(*) / 2 FROM article_deliveries)",
        )
        .concat()
    };
    shop.job(&DIGEST).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["250"; 3]);
    shop.job(&DIGEST).failpoint("after-chunk=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["500"; 3]);
    shop.job(&DIGEST).run().succeeds().says("queued 100 digests");
    assert_eq!(counts(), ["600"; 3]);
}

fn of_two_simultaneous_runs_one_is_refused(shop: &Customers) {
    shop.member("M1");
    shop.article("A1", MONDAY);
    let mut first = shop.job(&DIGEST).hold_at("after-lease");
    first.wait_until_reached();
    shop.job(&DIGEST).run().exits(75).says("holds it: mail digest");
    first.release().wait().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp"]);
}

fn the_articles_of_a_mall_go_to_its_own_members(shop: &Customers) {
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.member("M1");
    shop.member_of(osaka, "O1");
    shop.article("A1", MONDAY);
    shop.job(&DIGEST).run().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp"]);
}

fn the_built_in_template_renders_for_subscribers_and_free_members(shop: &Customers) {
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("template_dir = 'mails'", ""));
    for member in ["subscriber", "free"] {
        shop.member(member);
    }
    shop.change_member("free", "name = NULL");
    shop.subscribes("subscriber", "ACTIVE");
    shop.article("A1", MONDAY);
    shop.job(&DIGEST).run().succeeds().says("queued 2 digests");
    for text in shop.sql("SELECT text_body || html_body FROM mails").concat() {
        assert!(text.contains("of A1") && text.contains("unsubscribe"), "{text}");
    }
}

#[test]
fn statistics_are_taken_of_tables_of_which_there_are_none() {
    // As after a dump was restored. SQLite plans by the indexes.
    run_on(Database::Postgres, |shop: &Customers| {
        shop.member("emma");
        shop.article("A1", MONDAY);
        let known = "SELECT reltuples FROM pg_class WHERE oid = to_regclass('members')";
        assert_eq!(shop.scalar(known), "-1");
        shop.job(&DIGEST).run().succeeds();
        assert_eq!(shop.scalar(known), "1");
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    run_on(Database::Sqlite, |shop: &Customers| {
        shop.member("M1");
        shop.article("A1", MONDAY);
        let before = shop.dump();
        shop.job(&["mail", "digest", "--dry-run"]).run().succeeds().prints("would run");
        assert_eq!(shop.dump(), before);
    });
}
