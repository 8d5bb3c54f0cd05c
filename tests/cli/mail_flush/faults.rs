//! What real servers sometimes do, and the resulting state of the mail.

use std::time::Duration;

use super::post_office::PostOffice;
use crate::support::{Database, Fate, Greeting, MailServer, Manners, Webhook, on_both_databases};

on_both_databases![
    each_fault_leads_to_its_state_with_its_next_attempt,
    a_greylisted_mail_is_accepted_at_the_next_attempt,
    a_mail_is_given_up_on_after_its_last_attempt,
    a_mail_without_a_reply_is_sent_once_more_with_the_same_id,
    wrong_credentials_stop_the_sending_and_are_alerted_once,
    a_server_that_quotes_the_password_does_not_reveal_it,
    a_second_mail_to_an_address_that_just_bounced_is_not_sent,
    an_unreachable_server_means_try_later,
    a_server_without_starttls_gets_nothing,
    injected_headers_are_refused_and_the_other_mails_are_sent,
    a_mail_larger_than_the_server_accepts_fails_alone,
    a_connection_that_breaks_within_a_mail_defers_it,
];

fn plain(server: &MailServer) -> String {
    format!("smtp://{}", server.address())
}

fn pipelining() -> Manners {
    Manners { offers: vec!["PIPELINING", "SIZE 10485760", "8BITMIME"], ..Manners::default() }
}

fn each_fault_leads_to_its_state_with_its_next_attempt(office: &PostOffice) {
    // Long enough for a busy machine: only the two mails that are not answered at all take it.
    office.write("batchctl.toml", "[mail]\nsmtp_timeout = \"5s\"\n");
    let server = MailServer::start(pipelining());
    let no_reply = "the server closed the connection before it answered the mail";
    let faults = [
        ("ok@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        ("grey@example.jp", Fate::Recipient("450 4.2.0 greylisted"), "RETRY", "450 4.2.0 greylisted"),
        ("Gone@Example.JP", Fate::Recipient("550 5.1.1 no such user"), "FAILED", "550 5.1.1 no such user"),
        ("bare@example.jp", Fate::Recipient("550 no such user"), "RETRY", "550 no such user"),
        ("full@example.jp", Fate::Recipient("552 5.2.2 mailbox full"), "RETRY", "552 5.2.2 mailbox full"),
        ("policy@example.jp", Fate::Message("554 5.7.1 blocked"), "RETRY", "554 5.7.1 blocked"),
        ("spam@example.jp", Fate::Message("554 not wanted"), "RETRY", "554 not wanted"),
        ("big@example.jp", Fate::Message("552 5.3.4 too big"), "FAILED", "552 5.3.4 too big"),
        ("taken@example.jp", Fate::CutAfterDot { is_taken: true }, "UNKNOWN", no_reply),
        ("lost@example.jp", Fate::CutAfterDot { is_taken: false }, "UNKNOWN", no_reply),
        ("data@example.jp", Fate::Data("451 4.2.0 mailbox busy"), "RETRY", "451 4.2.0 mailbox busy"),
        (
            "cut@example.jp",
            Fate::CutAtRecipient,
            "RETRY",
            "the server closed the connection before it answered RCPT TO",
        ),
        // "거부" in EUC-KR.
        (
            "korean@example.jp",
            Fate::MessageBytes(b"550 5.7.1 \xb0\xc5\xba\xce"),
            "RETRY",
            "550 5.7.1 \u{fffd}\u{17a}\u{fffd}",
        ),
        // A mail that waits behind one of these ends last: it has to be one that is accepted, since refusals at the end of a
        // run look like the beginning of a block.
        ("deaf@example.jp", Fate::SilentAtRecipient, "RETRY", "the server did not answer RCPT TO within 5 s"),
        ("mute@example.jp", Fate::SilentAfterDot, "UNKNOWN", "the server did not answer the mail within 5 s"),
        ("slow@example.jp", Fate::Slowly(Duration::from_millis(100)), "SENT", "250 2.0.0 taken"),
        ("last@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        ("more@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        ("most@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        // As many as are refused, or nothing would be known of those.
        ("next@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        ("other@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
        ("plain@example.jp", Fate::Accept, "SENT", "250 2.0.0 taken"),
    ];
    for (recipient, fate, ..) in &faults {
        server.fate(recipient, [fate.clone()]);
        office.queue(recipient);
    }
    office.flush(&plain(&server)).run().exits(3);
    let expected = faults.each_ref().map(|(recipient, _, status, reply)| {
        // A refusal by policy is not counted as an attempt.
        let attempts = if ["bare@example.jp", "policy@example.jp", "spam@example.jp", "korean@example.jp"]
            .contains(recipient)
        {
            "0"
        } else {
            "1"
        };
        [(*recipient).to_owned(), (*status).to_owned(), attempts.to_owned(), (*reply).to_owned()]
    });
    assert_eq!(office.states(), expected);
    for (recipient, _, status, _) in &faults {
        if matches!(*status, "RETRY" | "UNKNOWN") {
            office.next_try_is_in_five_minutes(recipient);
        }
    }
    // Only addresses that do not exist are suppressed.
    assert_eq!(
        office.suppressions(),
        [["gone@example.jp", "ALL", "BOUNCE"]],
        "a 550 that does not say what it is about suppresses nobody"
    );
    let mut reached = server.reached();
    reached.sort();
    let taken = ["last", "more", "most", "next", "ok", "other", "plain", "slow", "taken"];
    assert_eq!(reached, taken.map(|name| format!("{name}@example.jp")));
    assert_eq!(server.most_commands_in_a_packet(), 3);
}

fn a_greylisted_mail_is_accepted_at_the_next_attempt(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("grey@example.jp", [Fate::Recipient("450 4.2.0 greylisted"), Fate::Accept]);
    office.queue("grey@example.jp");
    office.flush(&plain(&server)).run().succeeds();
    // Not before its time.
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(office.states(), [["grey@example.jp", "RETRY", "1", "450 4.2.0 greylisted"]]);
    office.make_due();
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(office.states(), [["grey@example.jp", "SENT", "2", "250 2.0.0 taken"]]);
    assert_eq!(server.reached(), ["grey@example.jp"]);
}

fn a_mail_is_given_up_on_after_its_last_attempt(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("full@example.jp", [Fate::Recipient("452 4.2.2 full")]);
    office.queue("full@example.jp");
    // If every item failed, so did the run.
    for code in [0, 0, 1] {
        office.make_due();
        office.flush(&plain(&server)).run().exits(code);
    }
    assert_eq!(
        office.states(),
        [["full@example.jp", "FAILED", "3", "given up after 3 attempts: 452 4.2.2 full"]]
    );
    assert_eq!(office.suppressions(), [[""; 0]; 0]);
}

fn a_mail_without_a_reply_is_sent_once_more_with_the_same_id(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("taken@example.jp", [Fate::CutAfterDot { is_taken: true }, Fate::Accept]);
    office.queue("taken@example.jp");
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(office.states()[0][1], "UNKNOWN");
    office.make_due();
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(office.states()[0][1], "SENT");
    let ids: Vec<String> = server
        .taken()
        .iter()
        .map(|mail| {
            let text = String::from_utf8_lossy(&mail.bytes).into_owned();
            text.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(office.scalar("SELECT 'Message-ID: ' || message_id FROM mails"), ids[0]);
}

fn a_server_that_quotes_the_password_does_not_reveal_it(office: &PostOffice) {
    // AUTH PLAIN with shop and hunter2!hunter2.
    const QUOTED: &str = "AHNob3AAaHVudGVyMiFodW50ZXIy";
    // The password in another case and as entities, and the base64 of user:password.
    const OTHERWISE: [&str; 3] = ["HUNTER2", "&#104;unter2", "c2hvcDpodW50ZXIyIWh1bnRlcjI="];
    let server = MailServer::start(Manners {
        login: Some(("shop", "right")),
        offers: vec!["AUTH PLAIN"],
        wrong_login: "535 5.7.8 refused: AUTH PLAIN AHNob3AAaHVudGVyMiFodW50ZXIy HUNTER2!HUNTER2 &#104;unter2 \
                      c2hvcDpodW50ZXIyIWh1bnRlcjI=",
        ..Manners::default()
    });
    office.queue("hanako@example.jp");
    let url = format!("smtp://shop:hunter2%21hunter2@{}", server.address());
    let mut flushed = office.flush(&url).run().exits(1).says("refused AUTH: 535 5.7.8").never_shows(QUOTED);
    assert!(!office.dump().contains(QUOTED));
    for spelling in OTHERWISE {
        flushed = flushed.never_shows(spelling);
        assert!(!office.dump().contains(spelling), "{spelling}");
    }
}

fn a_second_mail_to_an_address_that_just_bounced_is_not_sent(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let server = MailServer::start(pipelining());
    server.fate("gone@example.jp", [Fate::Recipient("550 5.1.1 no such user")]);
    office.queue("gone@example.jp");
    for number in 0..5 {
        office.queue(&format!("{number}@example.jp"));
    }
    office.queue("Gone@example.jp");
    // An address that is gone is settled by its suppression.
    office.flush(&plain(&server)).run().succeeds().is_silent();
    let states = office.states();
    assert_eq!(states[0][1], "FAILED");
    assert_eq!(states[6][1..], ["CANCELLED", "0", "suppressed: BOUNCE"]);
    let asked =
        server.commands().iter().filter(|(_, command)| command.to_lowercase().contains("gone@")).count();
    assert_eq!(asked, 1);
}

fn wrong_credentials_stop_the_sending_and_are_alerted_once(office: &PostOffice) {
    let alerts = Webhook::start();
    office.write(
        "batchctl.toml",
        "[alerts.routes]\nhigh = [\"ops\"]\n\n[[alerts.channel]]\nname = \"ops\"\nkind = \"webhook\"\nurl_variable = \"OPS_URL\"\n",
    );
    let server = MailServer::start(Manners {
        login: Some(("shop", "right")),
        offers: vec!["AUTH PLAIN LOGIN"],
        ..Manners::default()
    });
    for number in 0..20 {
        office.queue(&format!("{number}@example.jp"));
    }
    let url = |password: &str| format!("smtp://shop:{password}@{}", server.address());
    for _ in 0..2 {
        let flush = office.flush(&url("hunter2%21hunter2")).env("OPS_URL", alerts.url("/ops"));
        flush.run().exits(1).says("refused AUTH: 535 5.7.8").never_shows("hunter2");
    }
    assert!(
        office.states().iter().all(|state| state[1..] == ["QUEUED", "0", "NULL"]),
        "{:?}",
        office.states()
    );
    assert_eq!(server.connections(), 2, "one per run");
    assert!(server.commands().iter().all(|(_, command)| !command.starts_with("MAIL")));
    assert_eq!(alerts.requests().len(), 1, "the second failure is the same incident");
    assert!(!alerts.requests()[0].body.contains("hunter2"));
    assert!(!office.dump().contains("hunter2"));

    office.flush(&url("right")).env("OPS_URL", alerts.url("/ops")).run().succeeds();
    assert_eq!(server.reached().len(), 20);
    // A server that asks for a password when none is set.
    office.queue("late@example.jp");
    office
        .flush(&plain(&server))
        .env("OPS_URL", alerts.url("/ops"))
        .run()
        .exits(1)
        .says("530 5.7.0 authentication required");
    let late = office.sql("SELECT status, attempts FROM mails WHERE recipient = 'late@example.jp'");
    assert_eq!(late, [["QUEUED", "0"]]);
}

fn an_unreachable_server_means_try_later(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nsmtp_timeout = \"300ms\"\n");
    office.queue("a@example.jp");
    // Nobody listens there: only root may.
    office.flush("smtp://127.0.0.1:1").run().exits(75).says("connection refused");
    for (greeting, says) in [
        (Greeting::Silence, "did not answer the greeting within 0.3 s"),
        (Greeting::Closes, "closed the connection before it answered the greeting"),
        (Greeting::Says("554 5.3.2 no service"), "554 5.3.2 no service"),
    ] {
        let server = MailServer::start(Manners { greeting, ..Manners::default() });
        office.flush(&plain(&server)).run().exits(75).says(says);
    }
    assert_eq!(office.states(), [["a@example.jp", "QUEUED", "0", "NULL"]]);
}

fn a_server_without_starttls_gets_nothing(office: &PostOffice) {
    let server = MailServer::start(Manners {
        login: Some(("shop", "hunter2hunter2")),
        offers: vec!["AUTH PLAIN LOGIN"],
        ..Manners::default()
    });
    office.queue("a@example.jp");
    let url = format!("smtp://shop:hunter2hunter2@{}?tls=required", server.address());
    office.flush(&url).run().exits(1).says("does not offer STARTTLS").never_shows("hunter2");
    assert_eq!(office.states(), [["a@example.jp", "QUEUED", "0", "NULL"]]);
    let commands: Vec<String> = server.commands().into_iter().map(|(_, command)| command).collect();
    assert!(commands.iter().all(|command| command.starts_with("EHLO") || command == "QUIT"), "{commands:?}");
}

fn injected_headers_are_refused_and_the_other_mails_are_sent(office: &PostOffice) {
    let server = MailServer::start(pipelining());
    let rendered = "subject, text_body, headers";
    let break_ = match office.database() {
        Database::Sqlite => "char(13, 10)",
        Database::Postgres => "chr(13) || chr(10)",
    };
    office.queue_with(
        "subject@example.jp",
        rendered,
        &format!("'a' || {break_} || 'Bcc: all@example.jp', 'text', NULL"),
    );
    for headers in [
        r#"{"X-Tag": "a\r\nBcc: all@example.jp"}"#,
        r#"{"X-Tag\r\nBcc": "all@example.jp"}"#,
        r#"{"Bcc": "all@example.jp"}"#,
        r#"{"Content-Type": "text/html"}"#,
        r#"{"X-Original-To": "all@example.jp"}"#,
    ] {
        office.queue_with("headers@example.jp", rendered, &format!("'a', 'text', '{headers}'"));
    }
    let recipient = format!("a@example.jp' || {break_} || 'RCPT TO:<all@example.jp>");
    office.queue(&recipient);
    office.queue_with(
        "sender@example.jp",
        "subject, text_body, sender",
        &format!("'a', 'text', 'Shop' || {break_} || ' <shop@example.jp>'"),
    );
    // A text may contain anything: it cannot break out of its place.
    office.queue_with(
        "good@example.jp",
        "subject, text_body, headers",
        &format!("'a', 'x' || {break_} || '.' || {break_} || 'MAIL FROM:<evil@example.jp>', '{{\"X-Tag\": \"fine\"}}'"),
    );
    office.flush(&plain(&server)).run().exits(3);
    let statuses: Vec<String> = office.states().into_iter().map(|state| state[1].clone()).collect();
    assert_eq!(statuses, [["FAILED"; 8].as_slice(), &["SENT"]].concat());
    assert_eq!(server.reached(), ["good@example.jp"]);
    let senders = server.commands().into_iter().filter(|(_, command)| command.starts_with("MAIL"));
    assert_eq!(senders.count(), 1);
    let taken = String::from_utf8(server.taken()[0].bytes.clone()).unwrap();
    assert!(
        taken.contains("\r\nX-Tag: fine\r\n") && taken.ends_with("x\r\n.\r\nMAIL FROM:<evil@example.jp>\r\n"),
        "{taken}"
    );
    assert_eq!(office.suppressions(), [[""; 0]; 0]);
}

fn a_mail_larger_than_the_server_accepts_fails_alone(office: &PostOffice) {
    let server = MailServer::start(pipelining());
    let big = office.queue("big@example.jp");
    let content = match office.database() {
        Database::Sqlite => "zeroblob(41943040)",
        Database::Postgres => "decode(repeat('00', 41943040), 'hex')",
    };
    office.execute(&format!(
        "INSERT INTO mail_attachments (mail_id, name, content_type, content)
         VALUES ({big}, 'video.mp4', 'video/mp4', {content})"
    ));
    office.queue("small@example.jp");
    office.flush(&plain(&server)).run().exits(3);
    let [big, small] = office.states().try_into().unwrap();
    assert_eq!((big[1].as_str(), small[1].as_str()), ("FAILED", "SENT"));
    assert!(big[3].ends_with("the server accepts at most 10485760 (SIZE)"), "{big:?}");
    assert_eq!(server.reached(), ["small@example.jp"]);
}

fn a_connection_that_breaks_within_a_mail_defers_it(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("half@example.jp", [Fate::CutInText, Fate::Accept]);
    // More than the buffers of both sides hold, so that the final dot cannot have left.
    let text = match office.database() {
        Database::Sqlite => {
            "replace(printf('%.500000c', 'x'), 'x', '0123456789 0123456789 0123456789' || char(10))"
        }
        Database::Postgres => "repeat('0123456789 0123456789 0123456789' || chr(10), 500000)",
    };
    office.queue_with("half@example.jp", "subject, text_body", &format!("'a', {text}"));
    office.flush(&plain(&server)).run().succeeds();
    // Nothing else went either, so that it may be the server's fault.
    assert_eq!(office.states()[0][1..3], ["RETRY", "0"], "{:?}", office.states());
    office.make_due();
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(office.states()[0][1..3], ["SENT", "1"]);
    assert_eq!(server.reached(), ["half@example.jp"]);
}

#[test]
fn a_url_that_is_wrong_is_named_and_its_password_not_shown() {
    crate::support::run_on(Database::Sqlite, |office: &PostOffice| {
        for (url, says) in [
            ("smtp://shop:hunter2@mail.example.jp?tls=none", "plain text"),
            ("smtp://shop:hunter2@mail.example.jp?verify=none", "other than one `tls=required`"),
            ("smtp://shop:hunter2@mail.example.jp/path", "has a path"),
        ] {
            office.flush(url).run().exits(78).says("BATCHCTL_SMTP_URL").says(says).never_shows("hunter2");
        }
    });
}
