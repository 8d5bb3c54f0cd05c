//! The operators' commands of the mail queue: list, show, requeue, cancel, suppress, purge.

use crate::support::{Sandbox, on_both_databases};

on_both_databases![
    a_list_is_newest_first_masked_and_filtered,
    a_list_for_programs_contains_everything,
    a_mail_is_shown_with_everything_known_about_it,
    failed_mails_are_requeued_and_sent_ones_only_when_asked_for,
    every_failed_mail_of_a_kind_is_requeued_at_once,
    a_waiting_mail_is_cancelled_and_an_ended_one_is_not,
    one_wrong_id_changes_nothing,
    a_mail_claimed_by_a_run_is_left_alone,
    an_address_is_suppressed_listed_and_released,
    an_unsubscription_outlives_a_bounce,
    a_suppression_is_found_however_its_domain_is_written,
    suppressions_are_removed_in_bulk,
    mails_that_were_cancelled_as_suppressed_are_queued_again_once_they_no_longer_are,
    mails_are_filtered_and_paged,
    mails_are_counted_by_state_kind_and_domain,
    what_comes_first_of_what_is_alike_is_the_same_on_both_databases,
    many_mails_are_requeued_by_filter_and_the_unwanted_are_told,
    old_mails_are_purged_with_their_files_and_waiting_ones_never,
];

/// Queues a mail and returns its id.
#[track_caller]
fn mail(sandbox: &Sandbox, recipient: &str, set: &str) -> String {
    let id = sandbox.scalar(&format!(
        "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
         VALUES ('cart-reminder', '{recipient}', 'カートに商品が残っています', '本文です', '2026-11-19T00:00:00+00:00', '2026-11-19T00:00:00+00:00')
         RETURNING id"
    ));
    if !set.is_empty() {
        sandbox.execute(&format!("UPDATE mails SET {set} WHERE id = {id}"));
    }
    id
}

fn states(sandbox: &Sandbox) -> Vec<String> {
    sandbox.sql("SELECT status FROM mails ORDER BY id").concat()
}

fn a_list_is_newest_first_masked_and_filtered(sandbox: &Sandbox) {
    sandbox.batchctl(["mail", "list"]).run().succeeds().prints("no mails");
    mail(sandbox, "hanako@example.jp", "status = 'FAILED', last_reply = '550 5.1.1 no such user'");
    mail(sandbox, "山田 太郎 <taro_y@example.jp>", "kind = 'digest'");
    mail(sandbox, "taroxy@example.jp", "status = 'UNKNOWN', is_held = TRUE");

    let list = |arguments: &[&str]| {
        let ran = sandbox.batchctl(["mail", "list"].iter().chain(arguments)).run().succeeds();
        ran.stdout
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| word.parse::<u32>().is_ok())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["3", "2", "1"]);
    assert_eq!(list(&["--limit", "1"]), ["3"]);
    assert_eq!(list(&["--status", "failed"]), ["1"]);
    assert_eq!(list(&["--kind", "digest"]), ["2"]);
    // The `_` of an address is not a wildcard.
    assert_eq!(list(&["--to", "Taro_Y@example.jp"]), ["2"]);
    assert_eq!(list(&["--to", "hanako@example.jp", "--status", "sent"]), Vec::<String>::new());
    let all = sandbox.batchctl(["mail", "list"]).run().succeeds();
    all.prints("h*****@example.jp").prints("UNKNOWN (held)").never_shows("hanako@").never_shows("taro_y@");
    sandbox.batchctl(["mail", "list", "--status", "lost"]).run().exits(2);
}

fn a_list_for_programs_contains_everything(sandbox: &Sandbox) {
    mail(sandbox, "hanako@example.jp", "status = 'RETRY', attempts = 2, last_reply = '450 4.2.0 later'");
    let ran = sandbox.batchctl(["mail", "list", "--format", "json"]).run().succeeds();
    let listed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let mail = &listed[0];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (mail["id"].as_i64(), mail["status"].as_str(), mail["attempts"].as_i64(), mail["recipient"].as_str()),
        (Some(1), Some("RETRY"), Some(2), Some("hanako@example.jp"))
    );
    assert_eq!(mail["last_reply"], "450 4.2.0 later");
}

fn a_mail_is_shown_with_everything_known_about_it(sandbox: &Sandbox) {
    let id = mail(
        sandbox,
        "hanako@example.jp",
        "status = 'FAILED', attempts = 1, last_reply = '550 5.1.1 no such user', ended_at = '2026-11-19T01:00:00+00:00', dedup_key = 'cart/1'",
    );
    sandbox.execute("INSERT INTO mail_attachments (mail_id, name, content_type) VALUES (1, '売上.pdf', 'application/pdf')");
    let show =
        |full: &[&str]| sandbox.batchctl(["mail", "show", id.as_str()].iter().chain(full)).run().succeeds();
    show(&[])
        .prints("status        FAILED")
        .prints("h*****@example.jp")
        .prints("ended         2026-11-19 10:00:00 JST")
        .prints("last reply    550 5.1.1 no such user")
        .prints("dedup key     cart/1")
        .prints("file          売上.pdf (application/pdf, 0 bytes)")
        .never_shows("hanako@example.jp")
        .never_shows("本文です");
    show(&["--full"]).prints("hanako@example.jp").prints("本文です");
    sandbox.batchctl(["mail", "show", "99"]).run().exits(1).says("there is no mail 99");
}

fn failed_mails_are_requeued_and_sent_ones_only_when_asked_for(sandbox: &Sandbox) {
    let failed = mail(
        sandbox,
        "a@example.jp",
        "status = 'FAILED', attempts = 3, ended_at = '2026-11-19T01:00:00+00:00'",
    );
    let held = mail(
        sandbox,
        "b@example.jp",
        "status = 'UNKNOWN', is_held = TRUE, unknown_attempts = 2, message_id = '<1@x>'",
    );
    let sent = mail(sandbox, "c@example.jp", "status = 'SENT', ended_at = '2026-11-19T01:00:00+00:00'");
    sandbox.batchctl(["-v", "mail", "requeue", &failed, &held]).run().succeeds().says("Requeued 2 mails");
    assert_eq!(
        sandbox.sql(
            "SELECT status, attempts, unknown_attempts, is_held, ended_at, due_at FROM mails ORDER BY id"
        )[..2],
        [["QUEUED", "0", "0", "0", "NULL", "2026-11-19T16:00:00+00:00"]; 2]
    );
    // A recipient who already has it can tell that it is the same mail.
    assert_eq!(sandbox.scalar(&format!("SELECT message_id FROM mails WHERE id = {held}")), "<1@x>");

    sandbox.batchctl(["mail", "requeue", &sent]).run().exits(1).says("was already sent").says("--resend");
    sandbox.batchctl(["mail", "requeue", &sent, "--resend"]).run().succeeds().is_silent();
    assert_eq!(states(sandbox), ["QUEUED"; 3]);
    sandbox.batchctl(["mail", "requeue", &sent]).run().exits(1).says("is already queued");
}

fn every_failed_mail_of_a_kind_is_requeued_at_once(sandbox: &Sandbox) {
    mail(sandbox, "a@example.jp", "status = 'FAILED'");
    mail(sandbox, "b@example.jp", "status = 'FAILED', kind = 'digest'");
    mail(sandbox, "c@example.jp", "status = 'CANCELLED', kind = 'digest'");
    sandbox
        .batchctl(["-v", "mail", "requeue", "--failed", "--kind", "digest"])
        .run()
        .succeeds()
        .says("Requeued 1 mail");
    assert_eq!(states(sandbox), ["FAILED", "QUEUED", "CANCELLED"]);
    sandbox.batchctl(["mail", "requeue", "--failed"]).run().succeeds();
    sandbox.batchctl(["-v", "mail", "requeue", "--failed"]).run().succeeds().says("Nothing to requeue");
    assert_eq!(states(sandbox), ["QUEUED", "QUEUED", "CANCELLED"]);
    sandbox.batchctl(["mail", "requeue"]).run().exits(2).says("<IDS|--failed|--unknown|--suppressed>");
    sandbox.batchctl(["mail", "cancel"]).run().exits(2).says("<IDS|--kind <KIND>>");
}

fn a_waiting_mail_is_cancelled_and_an_ended_one_is_not(sandbox: &Sandbox) {
    let waiting = mail(sandbox, "a@example.jp", "");
    let sent = mail(sandbox, "b@example.jp", "status = 'SENT'");
    let sending = mail(sandbox, "c@example.jp", "status = 'SENDING', claimed_by = 7");
    mail(sandbox, "d@example.jp", "kind = 'digest', status = 'RETRY'");
    sandbox.batchctl(["mail", "cancel", &waiting]).run().succeeds().is_silent();
    sandbox.batchctl(["mail", "cancel", &sent]).run().exits(1).says("is already SENT");
    sandbox.batchctl(["mail", "cancel", &sending]).run().exits(75).says("being sent right now");
    sandbox.batchctl(["-v", "mail", "cancel", "--kind", "digest"]).run().succeeds().says("Cancelled 1 mail");
    assert_eq!(states(sandbox), ["CANCELLED", "SENT", "SENDING", "CANCELLED"]);
}

fn one_wrong_id_changes_nothing(sandbox: &Sandbox) {
    let first = mail(sandbox, "a@example.jp", "");
    let before = sandbox.dump();
    sandbox.batchctl(["mail", "cancel", &first, "99"]).run().exits(1).says("there is no mail 99");
    sandbox.batchctl(["mail", "requeue", "98"]).run().exits(1).says("there is no mail 98");
    assert_eq!(sandbox.dump(), before);
}

fn a_mail_claimed_by_a_run_is_left_alone(sandbox: &Sandbox) {
    let id = mail(sandbox, "a@example.jp", "status = 'RETRY', claimed_by = 7");
    sandbox.batchctl(["mail", "requeue", &id]).run().exits(75).says("being sent by run 7");
    // Cancelling wins over a run that has only claimed it.
    sandbox.batchctl(["mail", "cancel", &id]).run().succeeds();
    assert_eq!(sandbox.sql("SELECT status, claimed_by FROM mails").concat(), ["CANCELLED", "NULL"]);
}

fn an_address_is_suppressed_listed_and_released(sandbox: &Sandbox) {
    let suppress = |arguments: &[&str]| sandbox.batchctl(["mail", "suppress"].iter().chain(arguments)).run();
    suppress(&["list"]).succeeds().prints("no suppressed addresses");
    suppress(&["add", "Hanako <Hanako@Example.jp>", "--reason", "complaint", "--detail", "ticket 12"])
        .succeeds()
        .is_silent();
    suppress(&["add", "hanako@example.jp", "--scope", "marketing"]).succeeds();
    // A reason beside the other, which it neither replaces nor weakens.
    assert_eq!(
        sandbox.sql("SELECT scope, reason, detail FROM mail_suppressions ORDER BY reason"),
        [["ALL", "COMPLAINT", "ticket 12"], ["MARKETING", "MANUAL", "NULL"]]
    );
    suppress(&["list"]).succeeds().prints("h*****@example.jp").never_shows("hanako@");
    suppress(&["list", "--limit", "1"]).succeeds().prints("1 to 1 of 2 suppressions");
    suppress(&["list", "--format", "json"]).succeeds().prints("hanako@example.jp");
    suppress(&["add", "hanako"]).exits(2).says("not a mail address");
    suppress(&["remove", "HANAKO@example.jp"])
        .succeeds()
        .prints("h*****@example.jp is still suppressed: COMPLAINT");
    suppress(&["remove", "hanako@example.jp"])
        .exits(1)
        .says("h*****@example.jp is suppressed for another reason: COMPLAINT")
        .says("--reason lifts");
    suppress(&["remove", "hanako@example.jp", "--reason", "complaint"]).succeeds().is_silent();
    suppress(&["remove", "hanako@example.jp"]).exits(1).says("h*****@example.jp is not suppressed");
}

/// What docs/mail.md tells the shop's web application to do on an unsubscription.
fn unsubscribe(sandbox: &Sandbox, address: &str) {
    sandbox.execute(&format!(
        "INSERT INTO mail_suppressions (address, scope, reason, created_at)
         VALUES ('{address}', 'MARKETING', 'UNSUBSCRIBE', '2026-11-19T00:00:00+00:00') ON CONFLICT DO NOTHING"
    ));
}

fn an_unsubscription_outlives_a_bounce(sandbox: &Sandbox) {
    sandbox.batchctl(["mail", "suppress", "add", "a@example.jp", "--reason", "bounce"]).run().succeeds();
    unsubscribe(sandbox, "a@example.jp");
    // And the other way round.
    unsubscribe(sandbox, "b@example.jp");
    sandbox.batchctl(["mail", "suppress", "add", "b@example.jp", "--reason", "bounce"]).run().succeeds();
    for address in ["a@example.jp", "b@example.jp"] {
        unsubscribe(sandbox, address);
        sandbox
            .batchctl(["mail", "suppress", "remove", address])
            .run()
            .succeeds()
            .prints("@example.jp is still suppressed: UNSUBSCRIBE (advertising)");
    }
    assert_eq!(
        sandbox.sql("SELECT address, scope, reason FROM mail_suppressions ORDER BY address"),
        [["a@example.jp", "MARKETING", "UNSUBSCRIBE"], ["b@example.jp", "MARKETING", "UNSUBSCRIBE"]]
    );
}

fn a_suppression_is_found_however_its_domain_is_written(sandbox: &Sandbox) {
    unsubscribe(sandbox, "one@日本.jp");
    sandbox
        .batchctl(["mail", "suppress", "list", "--to", "one@日本.jp"])
        .run()
        .succeeds()
        .prints("UNSUBSCRIBE");
    let remove = |address: &str| {
        sandbox.batchctl(["mail", "suppress", "remove", address, "--reason", "unsubscribe"]).run()
    };
    sandbox
        .batchctl(["mail", "suppress", "remove", "one@xn--wgv71a.jp"])
        .run()
        .exits(1)
        .says("is suppressed for another reason: UNSUBSCRIBE");
    remove("one@xn--wgv71a.jp").succeeds();
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM mail_suppressions"), "0");
}

fn suppressions_are_removed_in_bulk(sandbox: &Sandbox) {
    for (address, reason, run, created_at) in [
        ("old@example.jp", "BOUNCE", "7", "2026-11-01T00:00:00+00:00"),
        ("new@example.jp", "BOUNCE", "8", "2026-11-19T00:00:00+00:00"),
        ("hand@example.jp", "MANUAL", "NULL", "2026-11-19T00:00:00+00:00"),
        ("spam@example.jp", "COMPLAINT", "NULL", "2026-11-19T00:00:00+00:00"),
    ] {
        sandbox.execute(&format!(
            "INSERT INTO mail_suppressions (address, reason, run_id, created_at) VALUES ('{address}', '{reason}', {run}, '{created_at}')"
        ));
    }
    unsubscribe(sandbox, "new@example.jp");
    let remove =
        |arguments: &[&str]| sandbox.batchctl(["mail", "suppress", "remove"].iter().chain(arguments)).run();
    let left = || sandbox.sql("SELECT address FROM mail_suppressions ORDER BY address, reason").concat();
    remove(&[]).exits(2);
    remove(&["--reason", "unsubscribe"]).exits(2).says("one address at a time");
    remove(&["--since", "2026-11-18", "--dry-run"]).succeeds().prints("Would remove 2 suppressions");
    assert_eq!(left().len(), 5);
    remove(&["--run", "7"]).succeeds().prints("Removed 1 suppression");
    remove(&["--run", "7"]).succeeds().prints("Removed 0 suppressions");
    remove(&["--reason", "bounce", "--since", "2026-11-18", "--until", "2026-11-20"])
        .succeeds()
        .prints("Removed 1");
    assert_eq!(left(), ["hand@example.jp", "new@example.jp", "spam@example.jp"]);
    remove(&["--since", "30d"]).succeeds().prints("Removed 1 suppression");
    assert_eq!(left(), ["new@example.jp", "spam@example.jp"], "what recipients have said stays");
}

fn mails_that_were_cancelled_as_suppressed_are_queued_again_once_they_no_longer_are(sandbox: &Sandbox) {
    let cancelled = |address: &str, because: &str, ended_at: &str| {
        mail(
            sandbox,
            address,
            &format!("status = 'CANCELLED', last_reply = '{because}', ended_at = '{ended_at}'"),
        )
    };
    cancelled("a@example.jp", "suppressed: BOUNCE", "2026-11-19T03:00:00+00:00");
    cancelled("b@example.jp", "suppressed: BOUNCE", "2026-11-19T03:00:00+00:00");
    cancelled("a@example.jp", "suppressed: BOUNCE", "2026-10-01T00:00:00+00:00");
    cancelled("a@example.jp", "cancelled by hand", "2026-11-19T03:00:00+00:00");
    for address in ["a", "b"] {
        sandbox.execute(&format!(
            "INSERT INTO mail_suppressions (address, reason, run_id, created_at)
             VALUES ('{address}@example.jp', 'BOUNCE', 7, '2026-11-19T02:00:00+00:00')"
        ));
    }
    sandbox.batchctl(["mail", "suppress", "add", "b@example.jp", "--reason", "complaint"]).run().succeeds();
    let requeue = "mail requeue --suppressed --since 2026-11-19T02:00:00Z";
    sandbox
        .batchctl(["mail", "suppress", "remove", "--run", "7"])
        .run()
        .succeeds()
        .prints("Removed 2 suppressions")
        .prints(&format!(
            "1 mail that would be sent now was cancelled since then; to queue it again: `batchctl {requeue}`"
        ));
    assert_eq!(states(sandbox), ["CANCELLED"; 4], "they may be out of date: a person decides");
    let dry_run = requeue.split(' ').chain(["--dry-run"]);
    sandbox.batchctl(dry_run).run().succeeds().prints("Would requeue 1 mail");
    sandbox.batchctl(requeue.split(' ')).run().succeeds().prints("Requeued 1 mail");
    assert_eq!(states(sandbox), ["QUEUED", "CANCELLED", "CANCELLED", "CANCELLED"]);
    sandbox
        .batchctl(["mail", "suppress", "remove", "b@example.jp", "--reason", "complaint"])
        .run()
        .succeeds()
        .never_shows("requeue");
}

/// The numbers of the mails that a list has.
fn listed(sandbox: &Sandbox, arguments: &[&str]) -> Vec<i64> {
    let ran = sandbox.batchctl(["mail", "list", "--format", "json"].iter().chain(arguments)).run().succeeds();
    let mails: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    mails.as_array().unwrap().iter().map(|mail| mail["id"].as_i64().unwrap()).collect()
}

fn mails_are_filtered_and_paged(sandbox: &Sandbox) {
    mail(
        sandbox,
        "a@example.jp",
        "status = 'FAILED', last_reply = '550 5.7.1 Blocked', ended_at = '2026-11-19T03:00:00+00:00'",
    );
    mail(sandbox, "B <b@Example.JP>", "status = 'UNKNOWN', is_held = TRUE");
    mail(
        sandbox,
        "c@shop.example.jp",
        "status = 'FAILED', last_reply = '100% gone', ended_at = '2026-11-19T05:00:00+00:00'",
    );
    sandbox.execute(
        "INSERT INTO mail_attempts (mail_id, run_id, status, reply, attempted_at)
         VALUES (1, 7, 'FAILED', '550 5.7.1 Blocked', '2026-11-19T03:00:00+00:00')",
    );
    assert_eq!(listed(sandbox, &["--domain", "example.jp"]), [2, 1], "not its subdomains");
    assert_eq!(listed(sandbox, &["--reply", "blocked"]), [1]);
    assert_eq!(listed(sandbox, &["--reply", "0% g"]), [3], "a % is a %");
    assert_eq!(listed(sandbox, &["--held"]), [2]);
    assert_eq!(listed(sandbox, &["--run", "7"]), [1]);
    assert_eq!(listed(sandbox, &["--since", "2026-11-19T04:00:00Z"]), [3]);
    assert_eq!(listed(sandbox, &["--until", "2026-11-19T04:00:00Z", "--status", "failed"]), [1]);
    assert_eq!(listed(sandbox, &["--before", "3", "--limit", "1"]), [2]);
    let list =
        |arguments: &[&str]| sandbox.batchctl(["mail", "list"].iter().chain(arguments)).run().succeeds();
    list(&["--limit", "2"]).prints("there are more: --before 2 lists the next");
    list(&["--before", "2"]).never_shows("--before");
    sandbox.batchctl(["mail", "list", "--since", "soon"]).run().exits(2).says("--since");
    sandbox
        .batchctl(["mail", "show", "1"])
        .run()
        .succeeds()
        .prints("attempt       2026-11-19 12:00:00 JST run 7 FAILED 550 5.7.1 Blocked");
}

fn what_comes_first_of_what_is_alike_is_the_same_on_both_databases(sandbox: &Sandbox) {
    for name in ["a_b", "B", "a1"] {
        mail(sandbox, "a@example.jp", &format!("kind = '{name}'"));
        sandbox.batchctl(["mail", "suppress", "add", &format!("{name}@example.jp")]).run().succeeds();
    }
    let values = |words: &[&str], field: &str| {
        let ran = sandbox.batchctl(words.iter().chain(&["--format", "json"])).run().succeeds();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
        rows.iter().filter_map(|row| row[field].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(values(&["mail", "stats"], "name"), ["B", "a1", "a_b"]);
    let addresses = values(&["mail", "suppress", "list"], "address");
    assert!(addresses.is_sorted() && addresses.len() == 3, "{addresses:?}");
}

fn mails_are_counted_by_state_kind_and_domain(sandbox: &Sandbox) {
    sandbox.batchctl(["mail", "stats"]).run().succeeds().prints("no mails");
    mail(sandbox, "a@example.jp", "due_at = '2026-11-18T00:00:00+00:00'");
    mail(
        sandbox,
        "\"a@b\" <b@Example.JP>",
        "status = 'UNKNOWN', is_held = TRUE, due_at = '2026-11-01T00:00:00+00:00'",
    );
    mail(sandbox, "c@other.jp", "kind = 'digest', status = 'SENT'");
    let stats = |arguments: &[&str]| {
        let ran =
            sandbox.batchctl(["mail", "stats", "--format", "json"].iter().chain(arguments)).run().succeeds();
        let groups: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
        groups
            .iter()
            .map(|group| {
                let count = |state: &str| group[state].as_i64().unwrap();
                let name = group["name"].as_str().unwrap_or("-");
                format!(
                    "{name} {} {} {} {} {}",
                    count("queued"),
                    count("unknown"),
                    count("held"),
                    count("sent"),
                    group["oldest_due_at"]
                )
            })
            .collect::<Vec<_>>()
    };
    let due = "\"2026-11-18T00:00:00Z\"";
    assert_eq!(
        stats(&[]),
        [
            format!("- 1 1 1 1 {due}"),
            format!("cart-reminder 1 1 1 0 {due}"),
            "digest 0 0 0 1 null".to_owned()
        ]
    );
    assert_eq!(
        stats(&["--by", "domain"])[1..],
        [format!("example.jp 1 1 1 0 {due}"), "other.jp 0 0 0 1 null".to_owned()]
    );
    assert_eq!(stats(&["--kind", "digest"]), ["- 0 0 0 1 null", "digest 0 0 0 1 null"]);
    sandbox.batchctl(["mail", "stats"]).run().succeeds().prints("(all)").prints("2026-11-18 09:00:00 JST");
}

fn many_mails_are_requeued_by_filter_and_the_unwanted_are_told(sandbox: &Sandbox) {
    mail(sandbox, "a@example.jp", "status = 'FAILED', last_reply = 'policy'");
    mail(sandbox, "b@example.jp", "status = 'FAILED', last_reply = 'policy'");
    mail(sandbox, "c@example.jp", "status = 'FAILED', last_reply = 'other'");
    mail(sandbox, "d@other.jp", "status = 'UNKNOWN', is_held = TRUE");
    mail(sandbox, "e@other.jp", "status = 'UNKNOWN'");
    sandbox.batchctl(["mail", "suppress", "add", "b@example.jp", "--reason", "bounce"]).run().succeeds();
    let requeue = |arguments: &[&str]| sandbox.batchctl(["mail", "requeue"].iter().chain(arguments)).run();
    requeue(&["1", "--domain", "example.jp"]).exits(2).says("filters go with --failed");
    requeue(&["--failed", "--reply", "policy", "--dry-run"]).succeeds().prints("Would requeue 2 mails");
    assert_eq!(states(sandbox), ["FAILED", "FAILED", "FAILED", "UNKNOWN", "UNKNOWN"]);
    requeue(&["--failed", "--reply", "policy"])
        .succeeds()
        .prints("Requeued 2 mails")
        .prints("1 of 2 is not wanted and will be cancelled: suppressed: BOUNCE (1)");
    assert_eq!(states(sandbox), ["QUEUED", "QUEUED", "FAILED", "UNKNOWN", "UNKNOWN"]);
    requeue(&["--unknown", "--held", "--domain", "other.jp"]).succeeds().prints("Requeued 1 mail");
    assert_eq!(states(sandbox), ["QUEUED", "QUEUED", "FAILED", "QUEUED", "UNKNOWN"]);
    // One by its number, too.
    sandbox.execute("UPDATE mails SET status = 'FAILED' WHERE id = 2");
    requeue(&["2"]).succeeds().prints("1 of 1 is not wanted");
}

fn old_mails_are_purged_with_their_files_and_waiting_ones_never(sandbox: &Sandbox) {
    let old = "queued_at = '2026-05-01T00:00:00+00:00'";
    let ended = |at: &str, status: &str| format!("{old}, status = '{status}', ended_at = '{at}'");
    // 180 days before 2026-11-19T16:00Z is 2026-05-23T16:00Z.
    mail(sandbox, "1@example.jp", &ended("2026-05-23T15:59:59+00:00", "SENT"));
    mail(sandbox, "2@example.jp", &ended("2026-05-23T16:00:01+00:00", "SENT"));
    mail(sandbox, "3@example.jp", &ended("2026-05-02T00:00:00+00:00", "FAILED"));
    mail(sandbox, "4@example.jp", &ended("2026-05-02T00:00:00+00:00", "CANCELLED"));
    mail(sandbox, "5@example.jp", &format!("{old}, status = 'RETRY'"));
    mail(sandbox, "6@example.jp", &format!("{old}, status = 'UNKNOWN', is_held = TRUE"));
    mail(sandbox, "7@example.jp", "");
    sandbox.execute("INSERT INTO mail_attachments (mail_id, name, content_type) VALUES (1, 'a', 'text/csv'), (7, 'b', 'text/csv')");

    sandbox.execute(
        "INSERT INTO mail_bounce_counts (run_id, recipients, bounced, is_tripped, counted_at)
         VALUES (1, 9, 1, FALSE, '2026-05-02T00:00:00+00:00'), (2, 9, 1, FALSE, '2026-11-19T00:00:00+00:00')",
    );

    sandbox.batchctl(["mail", "purge"]).run().succeeds().is_silent();
    assert_eq!(sandbox.sql("SELECT run_id FROM mail_bounce_counts").concat(), ["2"]);
    assert_eq!(sandbox.sql("SELECT id FROM mails ORDER BY id").concat(), ["2", "5", "6", "7"]);
    assert_eq!(sandbox.scalar("SELECT name FROM mail_attachments"), "b");
    sandbox.batchctl(["-v", "mail", "purge"]).run().succeeds().says("nothing to purge");
    sandbox.batchctl(["-v", "mail", "purge", "--keep-days", "1"]).run().succeeds().says("purged 1 mail");
    assert_eq!(sandbox.sql("SELECT id FROM mails ORDER BY id").concat(), ["5", "6", "7"]);
}
