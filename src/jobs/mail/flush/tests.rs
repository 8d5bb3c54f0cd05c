//! The states of rows: claims, changes and recovery.

use serde_json::json;

use crate::config::OnUnknown;
use crate::db::testing::{TestDb, at, now, on_both_databases};
use crate::db::{Db, Kind};
use crate::runner::history::Status;
use crate::values;

use super::changes::{
    Change, QUEUED, SENDING, SENT, Untaken, WRITE_POSTGRES, WRITE_SQLITE, fail_unreadable, write,
};
use super::claims::{
    MAX_HEAD_BYTES, MAX_HEADERS_BYTES, MAX_MAIL_BYTES, Only, claim, claim_suspect, is_any_due, most_urgent,
    most_urgent_suspect, oversized,
};
use super::recovery::{MAX_TAKE_OVERS, Recovered, recover};

on_both_databases![
    the_longest_due_of_a_priority_are_claimed_first,
    the_most_urgent_priority_is_that_of_a_due_mail,
    what_another_run_holds_is_skipped,
    a_run_that_has_ended_claims_nothing_and_writes_nothing,
    a_mail_that_the_run_does_not_hold_is_left_alone,
    what_a_dead_run_held_is_reclaimed_and_what_it_was_sending_is_unknown,
    a_mail_that_may_have_arrived_twice_waits_for_a_person,
    a_mail_that_many_processes_died_over_waits_for_a_person,
    a_mail_that_runs_die_of_fails_and_the_others_do_not_wait_for_it,
    a_run_that_ended_by_itself_died_of_no_mail,
    a_mail_that_may_have_arrived_is_held_and_not_failed_when_runs_die_of_it,
    a_mail_that_the_server_had_answered_is_not_what_a_run_died_of,
    what_is_too_large_or_no_count_is_known_before_it_is_read,
    a_value_that_a_column_of_ours_cannot_have_hides_no_mail,
    a_changed_mail_is_found_by_its_number,
];

const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const EARLIER: &str = "2026-02-01T00:00:00Z";
const NONE: [i64; 0] = [];
const TOMORROW: &str = "2026-11-21T00:00:00Z";

/// Queues a mail and returns its id.
async fn queue(db: &mut TestDb, priority: i64, due_at: &str) -> i64 {
    let sql = "INSERT INTO mails (kind, recipient, subject, text_body, priority, due_at, queued_at)
               VALUES ('test', 'a@example.jp', 'subject', 'text', $1, $2, $2) RETURNING id";
    db.fetch_one::<(i64,)>(sql, values![priority, at(due_at)]).await.unwrap().0
}

async fn claim_as(db: &mut Db, run: i64, most: i64) -> Vec<i64> {
    let claimed = claim(db, run, &Only::All, 2, now(), None, most).await.unwrap();
    claimed.mails.into_iter().map(|mail| mail.id).collect()
}

/// Id, status, attempts, attempts with unknown outcome, holder, and whether it waits for a person.
async fn states(db: &mut TestDb) -> Vec<String> {
    db.lines("SELECT id, status, attempts, unknown_attempts, claimed_by, is_held FROM mails").await
}

async fn a_changed_mail_is_found_by_its_number(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    let queued = "mails (kind, recipient, subject, text_body, due_at, queued_at, claimed_by)
                  SELECT 'test', 'a@example.jp', 'subject', 'text', {at}, {at}, 1";
    db.fill(4_000, &queued.replace("{at}", "'2026-01-01T00:00:00+00:00'")).await;
    let changes = json!([[1, SENT, null, 0, 0, 0, 0, null, null, null, 0, 1]]);
    let sql = db.pick(WRITE_SQLITE, WRITE_POSTGRES);
    assert_eq!(db.found_by("mails", sql, values![run, now(), changes]).await, ["id"]);
}

async fn the_longest_due_of_a_priority_are_claimed_first(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    let due = [EARLIER, LONG_AGO, LONG_AGO, TOMORROW, EARLIER];
    for due_at in due {
        queue(db, 2, due_at).await;
    }
    queue(db, 1, LONG_AGO).await;
    let mut position = None;
    let mut claims = Vec::new();
    for _ in 0..3 {
        let claimed = claim(db, run, &Only::All, 2, now(), position, 3).await.unwrap();
        claims.push(claimed.mails.into_iter().map(|mail| mail.id).collect::<Vec<_>>());
        position = claimed.position;
    }
    assert_eq!(claims, [vec![2, 3, 1], vec![5], vec![]]);
}

async fn the_most_urgent_priority_is_that_of_a_due_mail(db: &mut TestDb) {
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), None);
    queue(db, 1, TOMORROW).await;
    queue(db, 3, LONG_AGO).await;
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(3));
    queue(db, 2, LONG_AGO).await;
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(2));
    db.sql("UPDATE mails SET is_held = TRUE WHERE priority = 2").await;
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(3));
}

async fn what_another_run_holds_is_skipped(db: &mut TestDb) {
    let (first, second) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
    for _ in 0..4 {
        queue(db, 2, LONG_AGO).await;
    }
    let mut other = db.another().await;
    // On PostgreSQL locked rows are skipped; SQLite has one writer at a time.
    let (begin, end) = db.pick(("", ""), ("BEGIN", "COMMIT"));
    other.script(begin).await.unwrap();
    assert_eq!(claim_as(&mut other, first, 2).await, [1, 2]);
    assert_eq!(claim_as(db, second, 3).await, [3, 4]);
    other.script(end).await.unwrap();
    assert_eq!(claim_as(db, second, 3).await, NONE);
    other.close().await;
    let held = format!("{first} {first} {second} {second}");
    assert_eq!(db.sql("SELECT claimed_by FROM mails ORDER BY id").await.concat().join(" "), held);
}

async fn a_run_that_has_ended_claims_nothing_and_writes_nothing(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    let mail = queue(db, 2, LONG_AGO).await;
    queue(db, 2, LONG_AGO).await;
    assert_eq!(claim_as(db, run, 1).await, [mail]);
    db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
    assert_eq!(claim_as(db, run, 1).await, NONE);
    assert_eq!(write(db, run, now(), &[Change::to(mail, SENDING)]).await.unwrap(), NONE);
    assert_eq!(states(db).await, ["1 QUEUED 0 0 1 0", "2 QUEUED 0 0 NULL 0"]);
}

async fn a_mail_that_the_run_does_not_hold_is_left_alone(db: &mut TestDb) {
    let (run, other) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
    for _ in 0..3 {
        queue(db, 2, LONG_AGO).await;
    }
    assert_eq!(claim_as(db, run, 1).await, [1]);
    assert_eq!(claim_as(db, other, 1).await, [2]);
    let changes = [1, 2, 3].map(|mail| Change { attempts: 1, ..Change::to(mail, SENDING) });
    assert_eq!(write(db, run, now(), &changes).await.unwrap(), [1]);
    assert_eq!(states(db).await, ["1 SENDING 1 0 1 0", "2 QUEUED 0 0 2 0", "3 QUEUED 0 0 NULL 0"]);
    // Once is enough: it is already being sent.
    assert_eq!(write(db, run, now(), &changes).await.unwrap(), NONE);
    let sent = Change { reply: Some("250 a\0b".to_owned()), ..Change::to(1, SENT) };
    assert_eq!(write(db, run, now(), &[sent]).await.unwrap(), [1]);
    assert_eq!(
        db.sql("SELECT status, claimed_by, last_reply, ended_at FROM mails WHERE id = 1").await,
        [["SENT", "NULL", "250 a␀b", "2026-11-19T16:00:00+00:00"]]
    );
}

async fn what_a_dead_run_held_is_reclaimed_and_what_it_was_sending_is_unknown(db: &mut TestDb) {
    let (dead, alive) = (db.run_that_is(Status::Running).await, db.run_that_is(Status::Running).await);
    for _ in 0..3 {
        queue(db, 2, LONG_AGO).await;
    }
    assert_eq!(claim_as(db, dead, 2).await, [1, 2]);
    assert_eq!(claim_as(db, alive, 1).await, [3]);
    let begun = |mail| Change { attempts: 1, ..Change::to(mail, SENDING) };
    write(db, dead, now(), &[begun(1)]).await.unwrap();
    write(db, alive, now(), &[begun(3)]).await.unwrap();
    db.sql("UPDATE batch_execution SET status = 'CRASHED' WHERE id = 1").await;

    let recovered = Recovered { unknown: vec![(1, false)], failed: Vec::new() };
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), recovered);

    assert_eq!(states(db).await, ["1 UNKNOWN 1 1 NULL 0", "2 QUEUED 0 0 NULL 0", "3 SENDING 1 0 2 0"]);
    assert_eq!(
        db.scalar("SELECT last_reply FROM mails WHERE id = 1").await,
        "run 1 ended while it was sending"
    );
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
}

async fn a_mail_that_may_have_arrived_twice_waits_for_a_person(db: &mut TestDb) {
    queue(db, 2, LONG_AGO).await;
    for is_held in [false, true] {
        die_with(db, 1, true).await;
        let recovered = recover(db, now(), OnUnknown::Resend).await.unwrap();
        assert_eq!(recovered.unknown, [(1, is_held)]);
    }
    // The first time it was no run that died, but an answer that did not come.
    db.sql("UPDATE mails SET unknown_attempts = 1, take_overs = 0, is_held = FALSE").await;
    die_with(db, 1, true).await;
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap().unknown, [(1, true)]);
}

async fn a_mail_that_many_processes_died_over_waits_for_a_person(db: &mut TestDb) {
    queue(db, 2, LONG_AGO).await;
    for _ in 1..MAX_TAKE_OVERS {
        die_with(db, 1, false).await;
        assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
    }
    die_with(db, 1, true).await;
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap().unknown, [(1, true)]);
    // With `on_unknown = "hold"` the first death is enough.
    db.sql("UPDATE mails SET unknown_attempts = 0, take_overs = 0, is_held = FALSE").await;
    die_with(db, 1, true).await;
    assert_eq!(recover(db, now(), OnUnknown::Hold).await.unwrap().unknown, [(1, true)]);
}

/// A run claims at most so many mails, starts to send them or not, and dies.
async fn die_with(db: &mut TestDb, most: i64, is_sending: bool) {
    let run = db.run_that_is(Status::Running).await;
    let mut mails = claim_as(db, run, most).await;
    if mails.is_empty() {
        let suspect = claim_suspect(db, run, &Only::All, now()).await.unwrap();
        mails = suspect.mails.into_iter().map(|mail| mail.id).collect();
    }
    if is_sending {
        let begun: Vec<Change> =
            mails.into_iter().map(|mail| Change { attempts: 1, ..Change::to(mail, SENDING) }).collect();
        write(db, run, now(), &begun).await.unwrap();
    }
    db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
}

async fn a_mail_that_runs_die_of_fails_and_the_others_do_not_wait_for_it(db: &mut TestDb) {
    for _ in 0..3 {
        queue(db, 2, LONG_AGO).await;
    }
    // Which of the three it was, nobody knows yet.
    die_with(db, 3, false).await;
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
    let late = queue(db, 3, EARLIER).await;
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(3), "of those that no run died of");
    assert_eq!(most_urgent_suspect(db, &Only::All, now()).await.unwrap(), Some(2));
    db.sql(&format!("DELETE FROM mails WHERE id = {late}")).await;
    assert!(is_any_due(db, &Only::All, now()).await.unwrap());
    die_with(db, 3, false).await;
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
    assert_eq!(db.lines("SELECT id, take_overs FROM mails").await, ["1 2", "2 1", "3 1"], "one by one");
    die_with(db, 3, false).await;
    let problem = "3 runs died while they held this mail, the last one was run 3".to_owned();
    let recovered = Recovered { unknown: Vec::new(), failed: vec![(1, problem)] };
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), recovered);
    assert_eq!(states(db).await, ["1 FAILED 0 0 NULL 0", "2 QUEUED 0 0 NULL 0", "3 QUEUED 0 0 NULL 0"]);
}

async fn a_run_that_ended_by_itself_died_of_no_mail(db: &mut TestDb) {
    queue(db, 2, LONG_AGO).await;
    let run = db.run_that_is(Status::Running).await;
    assert_eq!(claim_as(db, run, 1).await, [1]);
    db.sql("UPDATE batch_execution SET status = 'FAILED'").await;
    recover(db, now(), OnUnknown::Resend).await.unwrap();
    assert_eq!(db.scalar("SELECT take_overs FROM mails").await, "0");
}

async fn a_mail_that_may_have_arrived_is_held_and_not_failed_when_runs_die_of_it(db: &mut TestDb) {
    queue(db, 2, LONG_AGO).await;
    db.sql("UPDATE mails SET status = 'UNKNOWN', unknown_attempts = 1, attempts = 1").await;
    let mut failed = Vec::new();
    for _ in 0..MAX_TAKE_OVERS {
        die_with(db, 1, false).await;
        failed.extend(recover(db, now(), OnUnknown::Resend).await.unwrap().failed);
    }
    let problem =
        "3 runs died while they held this mail, the last one was run 3; an earlier attempt may have arrived";
    assert_eq!(failed, [(1, problem.to_owned())]);
    assert_eq!(states(db).await, ["1 UNKNOWN 1 1 NULL 1"]);
}

async fn a_mail_that_the_server_had_answered_is_not_what_a_run_died_of(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    for _ in 0..2 {
        queue(db, 2, LONG_AGO).await;
    }
    assert_eq!(claim_as(db, run, 2).await, [1, 2]);
    // It was refused by policy, and the run kept it until it knew what that meant.
    let noted = Change { untaken: Untaken::Noted, keeps_claim: true, ..Change::to(1, QUEUED) };
    assert_eq!(write(db, run, now(), &[noted]).await.unwrap(), [1]);
    db.sql("UPDATE batch_execution SET status = 'CRASHED'").await;
    assert_eq!(recover(db, now(), OnUnknown::Resend).await.unwrap(), Recovered::default());
    assert_eq!(db.lines("SELECT id, take_overs, claimed_by FROM mails").await, ["1 0 NULL", "2 1 NULL"]);
    // Another run dies while it holds it: of that one it may be the cause.
    die_with(db, 1, false).await;
    recover(db, now(), OnUnknown::Resend).await.unwrap();
    assert_eq!(db.lines("SELECT id, take_overs FROM mails").await, ["1 1", "2 1"]);
}

async fn what_is_too_large_or_no_count_is_known_before_it_is_read(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    for _ in 0..6 {
        queue(db, 2, LONG_AGO).await;
    }
    let (fill, zeros) = db.pick(
        ("REPLACE(HEX(ZEROBLOB($n / 2)), '00', 'ab')", "ZEROBLOB($n)"),
        ("REPEAT('a', $n)", "CAST(REPEAT('a', $n) AS BYTEA)"),
    );
    let text = |bytes: i64| fill.replace("$n", &bytes.to_string());
    let content = |bytes: i64| zeros.replace("$n", &bytes.to_string());
    let half = MAX_MAIL_BYTES / 2;
    db.sql(&format!("UPDATE mails SET text_body = {}, html_body = {} WHERE id = 1", text(half), text(half)))
        .await;
    db.sql(&format!("UPDATE mails SET headers = {} WHERE id = 2", text(MAX_HEADERS_BYTES + 2))).await;
    db.sql(&format!("UPDATE mails SET recipient = {} WHERE id = 3", text(MAX_HEAD_BYTES + 2))).await;
    db.sql(&format!("UPDATE mails SET attempts = {} WHERE id = 4", i64::MAX)).await;
    for name in ["a", "b"] {
        db.sql(&format!(
            "INSERT INTO mail_attachments (mail_id, name, content_type, content) VALUES (5, '{name}', 'text/csv', {})",
            content(half)
        ))
        .await;
    }
    db.sql("INSERT INTO mail_attachments (mail_id, name, content_type) VALUES (6, 'c', 'text/csv')").await;
    let untouched = oversized(db, &Only::All, now()).await.unwrap();
    assert_eq!(untouched.len(), db.pick(1, 0));
    let claimed = claim(db, run, &Only::All, 2, now(), None, 10).await.unwrap();
    let mut problems: Vec<String> = claimed
        .unreadable
        .into_iter()
        .chain(untouched)
        .map(|row| format!("{}: {}", row.id, row.problem))
        .collect();
    problems.sort();
    assert_eq!(
        problems,
        [
            "1: too large: subject, bodies and data: 50331655 bytes, of at most 50331648",
            "2: too large: headers: 65538 bytes, of at most 65536",
            "3: too large: the longest of kind, locale, addresses and message_id: 4098 bytes, of at most 4096",
            "4: attempts: 9223372036854775807 is not a count of attempts",
            "5: too large: the attachments: 50332066 bytes, of at most 50331648",
        ]
    );
    let sizes: Vec<_> = claimed.mails.iter().map(|mail| (mail.id, mail.bytes, mail.file_bytes)).collect();
    assert_eq!(sizes, [(6, 220, Some(209))]);
}

async fn a_value_that_a_column_of_ours_cannot_have_hides_no_mail(db: &mut TestDb) {
    let run = db.run_that_is(Status::Running).await;
    for _ in 0..3 {
        queue(db, 2, LONG_AGO).await;
    }
    db.sql("UPDATE mails SET take_overs = -1 WHERE id = 1").await;
    let mut expected = vec!["1: take_overs: -1 is not a count of runs"];
    if db.kind() == Kind::Sqlite {
        db.sql("UPDATE mails SET is_held = -1 WHERE id = 2").await;
        expected.push("2: is_held: -1 is neither 0 nor 1");
    }
    db.sql("UPDATE mails SET status = 'CANCELLED' WHERE id = 3").await;
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), Some(2));
    let claimed = claim(db, run, &Only::All, 2, now(), None, 10).await.unwrap();
    let mut problems: Vec<String> =
        claimed.unreadable.iter().map(|row| format!("{}: {}", row.id, row.problem)).collect();
    problems.sort();
    assert_eq!(problems, expected);
    fail_unreadable(db, run, now(), &claimed.unreadable).await.unwrap();
    assert_eq!(most_urgent(db, &Only::All, now()).await.unwrap(), None);
    assert_eq!(db.scalar("SELECT status FROM mails WHERE id = 1").await, "FAILED");
}
