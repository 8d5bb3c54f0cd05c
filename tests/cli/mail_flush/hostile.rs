//! Rows that no program should write, and that some program will: each fails by itself, by name.

use crate::support::{Database, on_both_databases};

use super::Post;

on_both_databases![
    a_row_that_cannot_be_read_fails_by_name_and_the_others_are_sent,
    a_time_that_does_not_exist_is_refused_by_the_table,
    a_mail_that_is_too_large_fails_before_anything_of_it_is_read,
    a_mail_whose_text_is_too_large_fails_before_anything_of_it_is_read,
];

/// The bytes `61 ff`, which are no text.
const NOT_TEXT: &str = "CAST(x'61ff' AS TEXT)";

fn a_row_that_cannot_be_read_fails_by_name_and_the_others_are_sent(post: &Post) {
    if post.database() == Database::Postgres {
        // The server accepts neither the bytes nor, by our CHECKs, the times.
        post.mail("ended@example.jp", "");
        for column in ["due_at", "queued_at", "ended_at"] {
            assert!(post.refuses(&format!("UPDATE mails SET {column} = 'infinity'")), "{column}");
        }
        return;
    }
    // As rows that another program's older SQLite let through before the triggers were there.
    for trigger in ["mails_insert_times", "mails_update_due_at", "mails_update_queued_at"] {
        post.execute(&format!("DROP TRIGGER {trigger}"));
    }
    let unchecked = |set: &str| {
        post.mail("time@example.jp", "");
        post.execute(&format!(
            "PRAGMA ignore_check_constraints = ON; UPDATE mails SET {set} WHERE id = (SELECT MAX(id) FROM mails)"
        ));
    };
    let texts = [
        "kind",
        "locale",
        "sender",
        "recipient",
        "reply_to",
        "headers",
        "message_id",
        "subject",
        "text_body",
        "html_body",
    ];
    for column in texts {
        post.mail("hanako@example.jp", &format!("{column} = {NOT_TEXT}"));
    }
    post.mail("data@example.jp", &format!("subject = NULL, data = {NOT_TEXT}"));
    unchecked("due_at = '2026-02-30T00:00:00+00:00'");
    unchecked("queued_at = '2026-11-18T24:00:00+00:00'");
    unchecked("is_paced = TRUE, due_at = '2026-11-20T24:00:00+00:00'");
    for column in ["name", "content_type", "content_id"] {
        post.mail("file@example.jp", "");
        post.execute(
            "INSERT INTO mail_attachments (mail_id, name, content_type, content) SELECT MAX(id), 'a', 'text/csv', x'61' FROM mails",
        );
        post.execute(&format!(
            "UPDATE mail_attachments SET {column} = {NOT_TEXT} WHERE id = (SELECT MAX(id) FROM mail_attachments)"
        ));
    }
    post.mail(
        "good@example.jp",
        &format!("dedup_key = {NOT_TEXT}, provider_message_id = {NOT_TEXT}, last_reply = {NOT_TEXT}"),
    );

    post.flush().exits(3).says("16 of 17 items failed");
    assert_eq!(
        post.sql("SELECT status, last_reply FROM mails WHERE status <> 'SENT' ORDER BY id")
            .iter()
            .map(|row| row.join(" "))
            .collect::<Vec<_>>(),
        [
            "FAILED kind: the text is not UTF-8",
            "FAILED locale: the text is not UTF-8",
            "FAILED sender: the text is not UTF-8",
            "FAILED recipient: the text is not UTF-8",
            "FAILED reply_to: the text is not UTF-8",
            "FAILED headers: the text is not UTF-8",
            "FAILED message_id: the text is not UTF-8",
            "FAILED subject: the text is not UTF-8",
            "FAILED text_body: the text is not UTF-8",
            "FAILED html_body: the text is not UTF-8",
            "FAILED data: the text is not UTF-8",
            "FAILED due_at: `2026-02-30T00:00:00+00:00` is not a time",
            "FAILED queued_at: `2026-11-18T24:00:00+00:00` is not a time",
            "QUEUED NULL",
            "FAILED the name of an attachment: the text is not UTF-8",
            "FAILED content_type of the attachment `a`: the text is not UTF-8",
            "FAILED content_id of the attachment `a`: the text is not UTF-8",
        ]
    );
    assert_eq!(post.files().len(), 1);
    assert!(post.only_file().contains("good@example.jp"));
    let listed = post.batchctl(["mail", "list", "--limit", "50"]).run().succeeds();
    listed.prints("g*****@example.jp").prints("2026-11-20T24:00:00+00:00 (not a time)");
    post.batchctl(["mail", "list", "--format", "json"]).run().succeeds().prints("2026-11-20T24:00:00+00:00");
    for id in post.sql("SELECT id FROM mails").concat() {
        post.batchctl(["mail", "show", "--full", &id]).run().succeeds();
    }
    post.batchctl(["mail", "show", "13"])
        .run()
        .succeeds()
        .prints("queued        2026-11-18T24:00:00+00:00 (not a time)");
    // A person can correct it and send it again.
    post.execute("UPDATE mails SET recipient = 'fixed@example.jp' WHERE id = 4");
    post.batchctl(["mail", "requeue", "4"]).run().succeeds();
    post.flush().succeeds();
    assert_eq!(post.files().len(), 2);
}

fn a_time_that_does_not_exist_is_refused_by_the_table(post: &Post) {
    for impossible in
        ["2026-02-30T00:00:00+00:00", "2026-11-31T00:00:00.5+00:00", "2026-11-20T25:00:00+00:00"]
    {
        for (due_at, queued_at) in
            [(impossible, "2026-11-19T00:00:00+00:00"), ("2026-11-19T00:00:00+00:00", impossible)]
        {
            let sql = format!(
                "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
                 VALUES ('kind', 'a@example.jp', 's', 't', '{due_at}', '{queued_at}')"
            );
            assert!(refuses_time(post, &sql), "{impossible}");
        }
    }
    post.mail("a@example.jp", "");
    assert!(refuses_time(post, "UPDATE mails SET due_at = '2026-02-30T00:00:00+00:00'"));
    assert!(refuses_time(post, "UPDATE mails SET queued_at = '2026-02-30T00:00:00+00:00'"));
    if post.database() == Database::Sqlite {
        // PostgreSQL takes it for the next midnight; as text it would be due when neither day is.
        assert!(refuses_time(post, "UPDATE mails SET due_at = '2026-11-20T24:00:00+00:00'"));
        // A text ends at a NUL for SQLite's own functions, and not for those that read it.
        assert!(refuses_time(
            post,
            "UPDATE mails SET due_at = '2026-11-19T00:00:00+00:00' || char(0) || 'x'"
        ));
    }
    // Every time that exists is accepted.
    post.execute("UPDATE mails SET due_at = '2028-02-29T23:59:59.123456+00:00', queued_at = '0001-01-01T00:00:00+00:00'");
}

/// Whether the database refuses a statement because of its time.
fn refuses_time(post: &Post, sql: &str) -> bool {
    let executed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| post.execute(sql)));
    let Err(panic) = executed else { return false };
    let error = panic.downcast_ref::<String>().expect("a message").to_lowercase();
    assert!(
        error.contains("constraint") || error.contains("out of range"),
        "refused for another reason: {error}"
    );
    true
}

fn a_mail_that_is_too_large_fails_before_anything_of_it_is_read(post: &Post) {
    post.mail("big@example.jp", "priority = 1");
    for number in 0..5 {
        post.mail(&format!("u{number}@example.jp"), "");
    }
    let content = post.pick("ZEROBLOB(60000000)", "CAST(REPEAT('a', 60000000) AS BYTEA)");
    post.execute(&format!(
        "INSERT INTO mail_attachments (mail_id, name, content_type, content) VALUES (1, 'video.mp4', 'video/mp4', {content})"
    ));
    post.flush().exits(3).says("mail 1: too large: the attachments: 60000218 bytes, of at most 50331648");
    assert_eq!(
        post.sql("SELECT status FROM mails ORDER BY id").concat().join(" "),
        "FAILED SENT SENT SENT SENT SENT"
    );
    let peak: u64 = post.scalar("SELECT peak_memory_bytes FROM batch_execution").parse().unwrap();
    assert!(peak < 120_000_000, "{peak}");
}

fn a_mail_whose_text_is_too_large_fails_before_anything_of_it_is_read(post: &Post) {
    let text = post.pick("HEX(ZEROBLOB(100000000))", "REPEAT('a', 200000000)");
    post.mail("big@example.jp", &format!("priority = 1, text_body = {text}"));
    for number in 0..5 {
        post.mail(&format!("u{number}@example.jp"), "");
    }
    post.flush().exits(3).says("mail 1: too large: subject, bodies and data: 2000000");
    let statuses = || post.sql("SELECT status FROM mails ORDER BY id").concat().join(" ");
    // On SQLite its row cannot be changed without reading and writing all of it.
    assert_eq!(statuses(), post.pick("QUEUED SENT SENT SENT SENT SENT", "FAILED SENT SENT SENT SENT SENT"));
    let peak: u64 = post.scalar("SELECT peak_memory_bytes FROM batch_execution").parse().unwrap();
    assert!(peak < 120_000_000, "{peak}");
    // It is named once, and keeps nothing waiting.
    post.mail("late@example.jp", "");
    post.flush().succeeds();
    post.execute("UPDATE mails SET text_body = 'shorter' WHERE id = 1");
    if post.database() == Database::Postgres {
        post.batchctl(["mail", "requeue", "1"]).run().succeeds();
    }
    post.flush().succeeds();
    assert_eq!(statuses(), "SENT SENT SENT SENT SENT SENT SENT");
}
