//! The table is an interface: what any web application inserts by plain SQL is sent.

use rustix::process::Signal;

use super::{FLUSH, Post, UNSUBSCRIPTION};
use crate::support::{Database, eventually, on_both_databases};

on_both_databases![
    only_the_mails_of_a_kind_or_number_are_sent,
    a_mistyped_number_or_kind_is_no_success_without_a_word,
    a_clock_that_was_set_back_stops_no_mail,
    each_attempt_is_kept_as_a_row,
    a_mail_inserted_by_plain_sql_is_sent,
    a_mail_that_names_a_template_is_rendered_when_it_is_sent,
    a_missing_folder_of_templates_fails_no_mail,
    a_language_without_a_text_falls_back_and_is_reported,
    a_mail_is_not_sent_before_it_is_due,
    urgent_mails_go_first_and_then_the_longest_due,
    a_time_in_another_form_is_refused_by_the_database,
    attachments_are_sent_and_a_missing_one_fails_its_mail,
    a_mail_that_cannot_be_sent_fails_and_the_others_are_sent,
    a_row_with_odd_bytes_fails_alone,
    outside_prod_no_header_and_no_sender_reaches_anybody_else,
    an_address_is_suppressed_however_it_is_written,
    a_held_mail_is_sent_by_a_retry_of_its_run,
    failed_mails_stay_open_for_a_retry_whatever_later_runs_send,
    a_suppressed_address_and_a_member_who_left_get_nothing,
    advertising_without_a_way_to_unsubscribe_is_not_sent,
    advertising_without_what_the_law_of_its_country_requires_is_not_sent,
    advertising_carries_the_headers_of_one_click_unsubscription,
    outside_prod_nobody_but_the_test_address_gets_anything,
    while_the_secret_key_is_replaced_both_keys_of_the_links_are_printed,
    without_a_test_address_nothing_starts_outside_prod,
    an_idle_run_is_silent_and_a_second_flush_sends_nothing_again,
    rates_delay_mails_and_lose_none,
    an_urgent_mail_does_not_wait_behind_a_backlog,
    a_due_time_in_the_year_one_is_due_and_blocks_no_others,
    a_run_ends_cleanly_before_its_deadline,
];

/// The statement from docs/mail.md, on either database.
const INSERT: &str = "INSERT INTO mails (kind, recipient, subject, text_body, html_body, due_at, queued_at)
    VALUES ('order-shipped', '山田 花子 <hanako@example.jp>', 'ご注文の商品を発送しました', '山田様、発送しました。',
            '<p>山田様、発送しました。</p>', '2026-11-19T10:00:00+00:00', '2026-11-19T10:00:00+00:00')";

fn a_mail_inserted_by_plain_sql_is_sent(post: &Post) {
    post.execute(INSERT);
    post.flush().succeeds().is_silent();

    let mail = post.only_file();
    assert!(mail.contains("X-Original-To: hanako@example.jp"), "{mail}");
    let row = post.sql("SELECT status, attempts, claimed_by, message_id, ended_at FROM mails").concat();
    assert_eq!(row[..3], ["SENT", "1", "NULL"]);
    assert!(mail.contains(&format!("Message-ID: {}", row[3])), "{mail}");
    assert_ne!(row[4], "NULL");
}

fn a_mail_that_names_a_template_is_rendered_when_it_is_sent(post: &Post) {
    post.write(
        "texts/order-shipped.ko.txt",
        "+++\nsubject = \"{{ name }}님, 상품을 발송했습니다\"\ndescription = \"d\"\nowner = \"o\"\n+++\n{{ name }}님께 보냈습니다.\n",
    );
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\ntemplate_dir = \"texts\"\n");
    post.execute(
        "INSERT INTO mails (kind, locale, recipient, data, due_at, queued_at)
         VALUES ('order-shipped', 'ko', 'minji@example.kr', '{\"name\": \"김민지\"}', '2026-11-19T10:00:00+00:00', '2026-11-19T10:00:00+00:00'),
                ('order-shipped', 'ko', 'minji@example.kr', '{\"nome\": \"김민지\"}', '2026-11-19T10:00:00+00:00', '2026-11-19T10:00:00+00:00')",
    );
    post.flush().exits(3).says("order-shipped.ko.txt").says("undefined");
    assert_eq!(
        post.sql("SELECT status, subject, text_body FROM mails ORDER BY id"),
        [["SENT", "김민지님, 상품을 발송했습니다", "김민지님께 보냈습니다.\n"], ["FAILED", "NULL", "NULL"]]
    );
    assert_eq!(post.files().len(), 1);
}

fn a_missing_folder_of_templates_fails_no_mail(post: &Post) {
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\ntemplate_dir = \"texts\"\n");
    let data = "{\"title\": \"T\", \"body\": \"B\", \"url\": null, \"url_label\": null}";
    post.mail("hanako@example.jp", &format!("kind = 'notification', subject = NULL, data = '{data}'"));
    post.flush().exits(78).says("`mail.template_dir`: failed to use `").says("nothing was changed");
    assert_eq!(post.sql("SELECT status, attempts FROM mails"), [["QUEUED", "0"]]);
    std::fs::create_dir(post.path("texts")).unwrap();
    post.flush().succeeds();
    assert_eq!(post.scalar("SELECT status FROM mails"), "SENT");
}

fn a_language_without_a_text_falls_back_and_is_reported(post: &Post) {
    let front = "+++\nsubject = \"s\"\ndescription = \"d\"\nowner = \"o\"\n+++\n";
    post.write("texts/hello.en.txt", format!("{front}Hello\n"));
    post.write("texts/hello.ja.txt", format!("{front}こんにちは\n"));
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\ntemplate_dir = \"texts\"\n");
    for locale in ["'ja_JP'", "'fr'", "NULL"] {
        post.mail(
            "hanako@example.jp",
            &format!("kind = 'hello', subject = NULL, data = '{{}}', locale = {locale}"),
        );
    }
    post.batchctl(["-v", "mail", "flush"])
        .run()
        .succeeds()
        .says("sent 3 of 3 mails, 1 in a fallback language");
    assert_eq!(
        post.sql("SELECT locale, text_body FROM mails ORDER BY id"),
        [["ja", "こんにちは\n"], ["en", "Hello\n"], ["en", "Hello\n"]]
    );
}

fn a_mail_is_not_sent_before_it_is_due(post: &Post) {
    post.mail("later@example.jp", "due_at = '2026-11-19T16:30:00+00:00'");
    post.flush().succeeds().is_silent();
    assert_eq!(post.scalar("SELECT status FROM mails"), "QUEUED");
    post.batchctl(FLUSH).now("2026-11-20T01:30:00+09:00").run().succeeds();
    assert_eq!(post.scalar("SELECT status FROM mails"), "SENT");
}

fn urgent_mails_go_first_and_then_the_longest_due(post: &Post) {
    post.mail("bulk@example.jp", "priority = 3, due_at = '2026-11-19T00:00:00+00:00'");
    post.mail("usual-2@example.jp", "due_at = '2026-11-19T02:00:00+00:00'");
    post.mail("usual-1@example.jp", "due_at = '2026-11-19T01:00:00+00:00'");
    post.mail("urgent@example.jp", "priority = 1, due_at = '2026-11-19T03:00:00+00:00'");
    let flush = [&FLUSH[..], &["--connections", "1"]].concat();
    post.batchctl(flush).run().succeeds();
    assert_eq!(
        post.sql("SELECT recipient FROM mails ORDER BY ended_at, id").concat(),
        ["urgent@example.jp", "usual-1@example.jp", "usual-2@example.jp", "bulk@example.jp"]
    );
}

fn a_time_in_another_form_is_refused_by_the_database(post: &Post) {
    // PostgreSQL has a type for it.
    if post.database() == Database::Postgres {
        return;
    }
    for wrong in [
        "2026-02-30T10:00:00+00:00",
        "2026-11-19T10:00:00 nonsense+00:00",
        "2026-11-19T10:00:00.+00:00",
        "2026-11-19 10:00:00",
        "2026-11-19T10:00:00Z",
        "2026-11-19T10:00:00+09:00",
        "1795168800",
    ] {
        let insert = INSERT.replacen("2026-11-19T10:00:00+00:00", wrong, 1);
        assert!(post.refuses(&insert), "{wrong}");
    }
    assert!(!post.refuses(&INSERT.replacen("10:00:00+", "10:00:00.123456+", 1)));
}

fn attachments_are_sent_and_a_missing_one_fails_its_mail(post: &Post) {
    post.execute(INSERT);
    post.execute(INSERT);
    let (some, none) = ("'売上.csv', 'text/csv', ", "'gone.pdf', 'application/pdf', ");
    let bytes = post.pick("CAST('a,b' AS BLOB)", "CAST('a,b' AS BYTEA)");
    post.execute(&format!(
        "INSERT INTO mail_attachments (mail_id, name, content_type, content) VALUES (1, {some}{bytes}), (2, {none}NULL)"
    ));
    post.flush().exits(3).says("mail 2: the attachment `gone.pdf` no longer has any content");
    assert_eq!(post.sql("SELECT status FROM mails ORDER BY id").concat(), ["SENT", "FAILED"]);
    let mail = post.only_file();
    assert!(mail.contains("text/csv") && mail.contains("YSxi"), "{mail}");
}

fn a_mail_that_cannot_be_sent_fails_and_the_others_are_sent(post: &Post) {
    post.mail("right@example.jp", "");
    post.mail("no address", "");
    post.mail("header@example.jp", "headers = '{\"X-Shop\": \"a\\r\\nBcc: all@example.jp\"}'");
    post.mail("list@example.jp", "headers = '[1]'");
    post.mail(
        "subject@example.jp",
        &post.pick("subject = 'a' || char(10) || 'Bcc: b'", "subject = E'a\\nBcc: b'"),
    );
    post.mail(&post.pick("line' || char(13) || '@example.jp", "line' || chr(13) || '@example.jp"), "");
    post.flush().exits(3).says("5 of 6 items failed");
    assert_eq!(
        post.sql("SELECT id, status FROM mails ORDER BY id").concat(),
        ["1", "SENT", "2", "FAILED", "3", "FAILED", "4", "FAILED", "5", "FAILED", "6", "FAILED"]
    );
    assert_eq!(post.files().len(), 1);
    assert!(!post.only_file().contains("Bcc"));

    // `runs retry` tries only what failed.
    post.execute("UPDATE mails SET recipient = 'fixed@example.jp' WHERE id = 2");
    post.batchctl(["runs", "retry", "1"]).run().exits(3);
    assert_eq!(post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "2");
    assert_eq!(post.files().len(), 2);
}

fn a_row_with_odd_bytes_fails_alone(post: &Post) {
    post.write(
        "texts/odd.en.txt",
        "+++\nsubject = \"odd\"\ndescription = \"d\"\nowner = \"o\"\n+++\n{{ name }}\n",
    );
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\ntemplate_dir = \"texts\"\n");
    post.mail("data@example.jp", "kind = 'odd', subject = NULL, data = '{\"name\": \"a\\u0000b\"}'");
    post.mail("header@example.jp", "headers = '{\"a\\u0000\": 1}'");
    post.mail("good@example.jp", "");
    post.flush().exits(3).says("2 of 3 items failed");
    assert_eq!(post.sql("SELECT status FROM mails ORDER BY id").concat(), ["FAILED", "FAILED", "SENT"]);
    post.batchctl(["mail", "list"]).run().succeeds().prints("SENT").never_shows("\0");
}

fn outside_prod_no_header_and_no_sender_reaches_anybody_else(post: &Post) {
    post.mail("hanako@example.jp", "sender = 'Real <real@customer.jp>', headers = '{\"X-SES-MESSAGE-TAGS\": \"a=b\", \"X-Priority\": \"7\"}'");
    post.mail("hanako@example.jp", "reply_to = 'real@customer.jp'");
    let steering = [
        "X-MSYS-API",
        "Disposition-Notification-To",
        "Errors-To",
        "Return-Receipt-To",
        "X-Any",
        "List-Unsubscribe",
        "Feedback-ID",
    ];
    for header in steering {
        post.mail("hanako@example.jp", &format!("headers = '{{\"{header}\": \"real@customer.jp\"}}'"));
    }
    for header in ["Resent-Bcc", "X-SMTPAPI", "Bcc", "Apparently-To"] {
        post.mail("hanako@example.jp", &format!("headers = '{{\"{header}\": \"real@customer.jp\"}}'"));
    }
    post.flush();
    assert_eq!(post.files().len(), 2 + steering.len(), "the others are refused, as in prod");
    for mail in post.files() {
        assert!(!mail.contains("real@customer.jp") && !mail.contains("X-SES"), "{mail}");
    }
    assert!(
        post.files().iter().any(|mail| mail.contains("X-Priority: 7") && mail.contains("<shop@example.jp>"))
    );
}

fn an_address_is_suppressed_however_it_is_written(post: &Post) {
    let suppress = |address: &str| post.batchctl(["mail", "suppress", "add", address]).run().succeeds();
    suppress("a@例え.jp");
    post.mail("A@xn--r8jz45g.jp", "");
    post.flush().succeeds();
    assert_eq!(post.scalar("SELECT status FROM mails"), "CANCELLED");
    // What an application writes is not silently ignored: the table accepts only lower case.
    assert!(post.refuses(
        "INSERT INTO mail_suppressions (address, reason, created_at) VALUES ('Big@example.jp', 'UNSUBSCRIBE', '2026-11-19T00:00:00+00:00')"
    ));
}

fn failed_mails_stay_open_for_a_retry_whatever_later_runs_send(post: &Post) {
    post.mail("no address", "");
    post.flush().exits(1);
    // Another run five minutes later does not affect it.
    post.mail("taro@example.jp", "");
    post.flush().succeeds().is_silent();
    assert_eq!(post.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "1");
    post.execute("UPDATE mails SET recipient = 'fixed@example.jp' WHERE id = 1");
    post.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "2");
    assert_eq!(post.scalar("SELECT COUNT(*) FROM batch_error_log WHERE resolved_at IS NULL"), "0");
}

fn a_held_mail_is_sent_by_a_retry_of_its_run(post: &Post) {
    post.mail("hanako@example.jp", "status = 'SENDING', claimed_by = 999, attempts = 1");
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\non_unknown = \"hold\"\n");
    post.flush().exits(1).says("mail 1: it was being sent when an earlier run died");
    assert_eq!(post.sql("SELECT status, is_held FROM mails").concat(), ["UNKNOWN", "1"]);
    post.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(post.scalar("SELECT status FROM mails"), "SENT");
}

fn a_suppressed_address_and_a_member_who_left_get_nothing(post: &Post) {
    post.set_up_unsubscription();
    let mall = post.mall();
    for (code, status, erasure) in [
        ("M1", "ACTIVE", "NULL"),
        ("M2", "WITHDRAWN", "NULL"),
        ("M3", "ACTIVE", "'2026-11-19T00:00:00+00:00'"),
    ] {
        post.execute(&format!(
            "INSERT INTO members (mall_id, member_code, status, signed_up_at, erasure_requested_at, created_at, updated_at)
             VALUES ({mall}, '{code}', '{status}', '2026-01-01T00:00:00+00:00', {erasure}, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')"
        ));
        for category in ["TRANSACTIONAL", "MARKETING"] {
            post.mail(
                &format!("{code}-{category}@example.jp"),
                &format!("mall_id = {mall}, member_code = '{code}', category = '{category}'"),
            );
        }
    }
    post.execute(&format!(
        "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
         VALUES ({mall}, 'M1', 'MARKETING', FALSE, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')"
    ));
    post.batchctl(["mail", "suppress", "add", "Gone@Example.JP", "--reason", "bounce"]).run().succeeds();
    post.batchctl(["mail", "suppress", "add", "noads@example.jp", "--scope", "marketing"]).run().succeeds();
    post.mail("Somebody <gone@example.jp>", "");
    post.mail("noads@example.jp", "");
    post.mail("NOADS@example.jp", "category = 'MARKETING'");

    post.flush().succeeds().is_silent();
    let reply = |words: &str| words.to_owned();
    assert_eq!(
        post.sql(
            "SELECT recipient, status, COALESCE(last_reply, '') FROM mails WHERE status <> 'SENT' ORDER BY id"
        ),
        [
            ["M1-MARKETING@example.jp", "CANCELLED", "the member has not agreed to advertising"].map(reply),
            ["M2-MARKETING@example.jp", "CANCELLED", "the member has withdrawn"].map(reply),
            ["M3-TRANSACTIONAL@example.jp", "CANCELLED", "the member asked to be forgotten"].map(reply),
            ["M3-MARKETING@example.jp", "CANCELLED", "the member asked to be forgotten"].map(reply),
            ["Somebody <gone@example.jp>", "CANCELLED", "suppressed: BOUNCE"].map(reply),
            ["NOADS@example.jp", "CANCELLED", "suppressed: MANUAL"].map(reply),
        ]
    );
    assert_eq!(post.files().len(), 3);
}

fn advertising_without_a_way_to_unsubscribe_is_not_sent(post: &Post) {
    post.mail("hanako@example.jp", "category = 'MARKETING'");
    post.mail("taro@example.jp", "due_at = '2026-11-19T01:00:00+00:00'");
    post.flush().exits(78).says("`mail.unsubscribe.url` is not set");
    assert_eq!(
        post.sql("SELECT status, attempts, claimed_by FROM mails ORDER BY id"),
        [["QUEUED", "0", "NULL"], ["SENT", "1", "NULL"]],
        "the others do not wait for it"
    );
    assert!(post.only_file().contains("taro@example.jp"));
}

fn advertising_without_what_the_law_of_its_country_requires_is_not_sent(post: &Post) {
    let configure = |shop: &str| {
        let (_, unsubscription) = UNSUBSCRIPTION.split_once("[mail.unsubscribe]").unwrap();
        let shop = format!("[mail.shop]\n{shop}[mail.unsubscribe]{unsubscription}");
        post.write("batchctl.toml", format!("[mail]\ntransport = \"folder\"\n{shop}"));
    };
    post.mail(
        "emma@example.com",
        "category = 'MARKETING', locale = 'en', text_body = '1-2-3 Minatocho, Yokohama'",
    );
    post.mail(
        "minji@example.kr",
        "category = 'MARKETING', locale = 'ko', subject = '(광고) 새 소식', text_body = 'Example Shop, 1-2-3 Minatocho, Yokohama, 02-1234-5678, 무료 수신 거부 / Unsubscribe: https://x'",
    );
    post.mail("jiho@example.kr", "category = 'MARKETING', locale = 'ko', subject = '[광고] 새 소식'");
    post.mail("taro@example.jp", "");
    let states = || post.sql("SELECT status, attempts FROM mails ORDER BY id").concat().join(" ");
    configure("");
    post.flush().exits(78).says("`mail.shop.address` is not set").says("postal address");
    // As they were, and the one that is no advertising does not wait for them.
    assert_eq!(states(), "QUEUED 0 QUEUED 0 QUEUED 0 SENT 1");
    let check = post.batchctl(["config", "check"]).run().exits(78);
    check.prints("`mail.shop.address` is not set");
    configure("address = \"1-2-3 Minatocho, Yokohama\"\n");
    post.flush().exits(78).says("`mail.shop.phone` is not set").says("Korea");
    assert_eq!(states(), "SENT 1 QUEUED 0 QUEUED 0 SENT 1");
    configure("address = \"1-2-3 Minatocho, Yokohama\"\nphone = \"02-1234-5678\"\n");
    post.flush().exits(3).says("does not begin with `(광고)`");
    assert_eq!(states(), "SENT 1 SENT 1 FAILED 0 SENT 1");
    post.batchctl(["config", "check"]).run().succeeds();
}

fn advertising_carries_the_headers_of_one_click_unsubscription(post: &Post) {
    post.set_up_unsubscription();
    post.mail(
        "Hanako@example.jp",
        "category = 'MARKETING', text_body = 'Example Shop, 1-2-3 Minatocho, Yokohama: 配信停止', headers = '{\"List-Unsubscribe\": \"<http://evil.example>\"}'",
    );
    post.mail("taro@example.jp", "");
    post.flush().succeeds();
    let files = post.files();
    let with_headers: Vec<&String> = files.iter().filter(|mail| mail.contains("List-Unsubscribe")).collect();
    let [mail] = with_headers.as_slice() else { panic!("{files:?}") };
    let header = |name: &str| {
        let unfolded = mail.replace("\r\n ", " ");
        let line =
            unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {mail}"))
    };
    // RFC 8058 section 3.1: an HTTPS URI, and exactly this text.
    assert_eq!(header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(header("List-Id"), "<news.shop.example.jp>");
    let links = header("List-Unsubscribe");
    assert!(!links.contains("evil"), "{links}");
    let token =
        links.strip_prefix("<https://shop.example.jp/unsubscribe?t=").unwrap().split('>').next().unwrap();
    assert!(links.contains("<mailto:unsubscribe@shop.example.jp?subject=unsubscribe%20"), "{links}");
    // Checked as docs/mail.md tells applications to do. Outside prod whoever clicks is not the recipient.
    assert_eq!(post.python_checks_token(token), "kind:developer@example.jp");
}

fn while_the_secret_key_is_replaced_both_keys_of_the_links_are_printed(post: &Post) {
    let keys = |current: &str, previous: &str| {
        let command = post.batchctl(["mail", "unsubscribe-key"]).env("BATCHCTL_SECRET_KEY", current);
        command.env("BATCHCTL_SECRET_KEY_PREVIOUS", previous).run().succeeds().stdout
    };
    let (old, new) = ("an old key of this test, 32 bytes long", "a new key of this test, 32 bytes long");
    let (of_old, of_new) = (keys(old, ""), keys(new, ""));
    assert!(of_old != of_new && of_old.trim_end().len() == 43, "{of_old}");
    assert_eq!(keys(new, old), format!("{of_new}{of_old}"));
    let without = post.batchctl(["mail", "unsubscribe-key"]).env("BATCHCTL_SECRET_KEY", "");
    without.run().exits(78).says("`BATCHCTL_SECRET_KEY` is not set: the key of the links is derived from it");
}

fn outside_prod_nobody_but_the_test_address_gets_anything(post: &Post) {
    post.mail(
        "Hanako <hanako@example.jp>",
        "reply_to = 'support@example.jp', headers = '{\"X-Original-To\": \"x@example.jp\"}'",
    );
    post.flush();
    let mail = post.files().concat();
    if mail.is_empty() {
        // The application's own X-Original-To is refused rather than believed.
        assert_eq!(post.scalar("SELECT status FROM mails"), "FAILED");
        return;
    }
    assert!(mail.contains("To: developer@example.jp"), "{mail}");
    assert_eq!(mail.matches("X-Original-To").count(), 1, "{mail}");
    assert!(mail.contains("[to hanako@example.jp]"), "{mail}");
}

fn without_a_test_address_nothing_starts_outside_prod(post: &Post) {
    post.mail("hanako@example.jp", "");
    post.batchctl(FLUSH)
        .env("BATCHCTL_MAIL_REDIRECT_TO", "")
        .run()
        .exits(78)
        .says("BATCHCTL_MAIL_REDIRECT_TO is not set: in `dev` every mail goes to that address");
    assert_eq!(post.sql("SELECT status, claimed_by FROM mails").concat(), ["QUEUED", "NULL"]);
}

fn an_idle_run_is_silent_and_a_second_flush_sends_nothing_again(post: &Post) {
    post.flush().succeeds().is_silent();
    post.mail("hanako@example.jp", "");
    post.flush().succeeds().is_silent();
    let sent = post.dump_of("mails");
    post.flush().succeeds().is_silent();
    assert_eq!(post.dump_of("mails"), sent);
    assert_eq!(post.files().len(), 1);
}

fn rates_delay_mails_and_lose_none(post: &Post) {
    // Two domains: 40 mails at 20 a second to one of them, and nothing that holds the other back.
    post.write(
        "batchctl.toml",
        "[mail]\ntransport = \"folder\"\n[mail.domain_rates]\n\"slow.example\" = 20.0\n",
    );
    for number in 0..40 {
        post.mail(&format!("u{number}@slow.example"), "");
        post.mail(&format!("u{number}@fast.example"), "");
    }
    let started = std::time::Instant::now();
    post.flush().succeeds().is_silent();
    // The last turn is 39/20 of a second after the first; a lower bound never fails on a slow machine.
    assert!(started.elapsed() >= std::time::Duration::from_millis(1900), "{:?}", started.elapsed());
    assert_eq!(post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "80");
    assert_eq!(post.files().len(), 80);
    let last = |domain: &str| {
        let at = post
            .scalar(&format!("SELECT MAX(ended_at) FROM mails WHERE recipient LIKE '%@{domain}.example'"));
        chrono::DateTime::parse_from_rfc3339(&at).unwrap()
    };
    assert!(last("fast") < last("slow"), "the fast ones are not held back by the slow ones");
}

fn an_urgent_mail_does_not_wait_behind_a_backlog(post: &Post) {
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\nrate_per_domain = 0.1\n");
    for number in 0..30 {
        post.mail(&format!("u{number}@example.jp"), "priority = 3");
    }
    // One is sent at once; the others wait for their turns, ten seconds each.
    let mut flush = post.batchctl(FLUSH).spawn();
    eventually(
        || post.scalar("SELECT COUNT(*) FROM mails WHERE is_paced OR status = 'SENT'") == "30",
        "the first is sent, and the others wait",
    );
    flush.signal(Signal::TERM);
    flush.wait().exits(143);
    post.mail("urgent@example.jp", "priority = 1");
    // A moment later by the business clock its turn is the next one.
    let flush = [&FLUSH[..], &["--timeout", "2s"]].concat();
    post.batchctl(flush).now("2026-11-20T01:00:12+09:00").run();
    assert_eq!(post.scalar("SELECT status FROM mails WHERE recipient = 'urgent@example.jp'"), "SENT");
    assert_eq!(post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "2");
}

fn a_due_time_in_the_year_one_is_due_and_blocks_no_others(post: &Post) {
    // What some languages write for "no time".
    post.mail("zero@example.jp", "due_at = '0001-01-01T00:00:00+00:00'");
    post.mail("bulk@example.jp", "priority = 3");
    post.flush().succeeds();
    assert_eq!(post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'"), "2");
}

fn a_run_ends_cleanly_before_its_deadline(post: &Post) {
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\nrate_per_second = 5.0\n");
    for number in 0..100 {
        post.mail(&format!("u{number}@example.jp"), "");
    }
    let flush = [&FLUSH[..], &["--timeout", "3s"]].concat();
    post.batchctl(flush).run().succeeds().is_silent();
    assert_eq!(
        post.scalar(
            "SELECT COUNT(*) FROM mails WHERE status NOT IN ('QUEUED', 'SENT') OR claimed_by IS NOT NULL"
        ),
        "0"
    );
    let sent: usize = post.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'").parse().unwrap();
    assert!((1..100).contains(&sent), "{sent}");
    assert_eq!(post.files().len(), sent);
}

fn only_the_mails_of_a_kind_or_number_are_sent(post: &Post) {
    post.mail("urgent@example.jp", "priority = 1");
    post.mail("digest@example.jp", "kind = 'digest'");
    post.mail("third@example.jp", "");
    post.mail("fourth@example.jp", "take_overs = 1");
    let flush = |arguments: &[&str]| post.batchctl(FLUSH.iter().chain(arguments)).run();
    let states = || post.sql("SELECT status FROM mails ORDER BY id").concat().join(" ");
    flush(&["--kind", "none"]).succeeds();
    assert_eq!(states(), "QUEUED QUEUED QUEUED QUEUED");
    flush(&["--kind", "digest"]).succeeds();
    assert_eq!(states(), "QUEUED SENT QUEUED QUEUED");
    flush(&["--id", "3", "--id", "4"]).succeeds();
    assert_eq!(states(), "QUEUED SENT SENT SENT");
    flush(&["--id", "3", "--kind", "digest"]).exits(2);
}

fn a_mistyped_number_or_kind_is_no_success_without_a_word(post: &Post) {
    post.mail("hanako@example.jp", "");
    let flush = |arguments: &[&str]| post.batchctl(["-v"].iter().chain(&FLUSH).chain(arguments)).run();
    flush(&["--id", "1", "--id", "999"]).exits(1).says("there is no mail 999; nothing was sent");
    assert_eq!(post.files().len(), 0);
    flush(&["--kind", "nonsense"]).succeeds().says("no mail of the kind `nonsense` is in the queue");
    flush(&["--id", "1"]).succeeds();
    flush(&["--id", "1"]).succeeds().says("nothing to send: mail 1 is SENT");
}

fn a_clock_that_was_set_back_stops_no_mail(post: &Post) {
    post.write("batchctl.toml", "[mail]\ntransport = \"folder\"\nrate_per_second = 10.0\n");
    post.execute(
        "INSERT INTO mail_pace (bucket, next_at, deferred_until)
         VALUES ('*', '2027-11-20T00:00:00+00:00', '2027-11-20T00:00:00+00:00')",
    );
    post.mail("hanako@example.jp", "priority = 1");
    post.mail("taro@example.jp", "is_paced = TRUE, due_at = '2027-11-20T00:00:00+00:00'");
    post.flush().succeeds();
    assert_eq!(post.sql("SELECT status FROM mails").concat(), ["SENT", "SENT"]);
}

fn each_attempt_is_kept_as_a_row(post: &Post) {
    post.mail("hanako@example.jp", "");
    post.mail("no address", "");
    post.flush().exits(3);
    let tries = "SELECT mail_id, run_id, status FROM mail_attempts ORDER BY id";
    assert_eq!(post.sql(tries), [["1", "1", "SENT"]], "what was never sent was not tried");
    post.batchctl(["mail", "requeue", "1", "--resend"]).run().succeeds();
    post.flush().succeeds();
    assert_eq!(post.sql(tries), [["1", "1", "SENT"], ["1", "2", "SENT"]]);
    post.batchctl(["mail", "show", "1"]).run().succeeds().prints("run 1 SENT").prints("run 2 SENT");
    post.execute("UPDATE mails SET take_overs = 1 WHERE id = 1");
    post.batchctl(["mail", "show", "1"]).run().succeeds().prints("taken over    from 1 run that died");
    post.execute("DELETE FROM mails WHERE id = 1");
    assert_eq!(post.sql(tries).len(), 0);
}
