//! Addresses that do not exist, and a server that says so of everybody.

use super::post_office::PostOffice;
use crate::support::{Fate, MailServer, Manners, on_both_databases};

on_both_databases![
    a_server_that_knows_nobody_suppresses_nobody_until_it_is_confirmed,
    what_was_cancelled_before_the_breaker_tripped_comes_back,
    a_few_mails_a_run_add_up,
    a_bounce_leaves_an_unsubscription_as_it_is,
];

/// Over one connection, so that no other mails are in transit.
const ONE_BY_ONE: [&str; 4] = ["mail", "flush", "--connections", "1"];

const GONE: Fate = Fate::Recipient("550 5.1.1 no such user");

/// A server that knows none of these numbers of recipients, and their mails.
fn stranger(office: &PostOffice, numbers: std::ops::Range<usize>, server: &MailServer) {
    for number in numbers {
        let address = format!("u{number}@example.jp");
        server.fate(&address, [GONE]);
        office.queue(&address);
    }
}

fn url(server: &MailServer) -> String {
    format!("smtp://{}", server.address())
}

fn held(office: &PostOffice) -> Vec<String> {
    office.sql("SELECT is_held, COUNT(*) FROM mail_suppressions GROUP BY is_held").concat()
}

fn count(office: &PostOffice, status: &str) -> usize {
    office.scalar(&format!("SELECT COUNT(*) FROM mails WHERE status = '{status}'")).parse().unwrap()
}

fn a_server_that_knows_nobody_suppresses_nobody_until_it_is_confirmed(office: &PostOffice) {
    let wrong = MailServer::start(Manners::default());
    stranger(office, 0..60, &wrong);
    office
        .flush(&url(&wrong))
        .run()
        .exits(1)
        .says("recipients as unknown, which is implausible")
        .says("mail suppress remove --held`, and the next run sends them");
    let refused: usize = held(office)[1].parse().unwrap();
    // Ten, and those that were in transit on other connections.
    assert!((10..=26).contains(&refused), "{refused}");
    assert_eq!(held(office)[0], "1");
    assert_eq!(count(office, "QUEUED"), 60, "nobody's mail is lost");
    assert_eq!(
        office.sql("SELECT DISTINCT status, reply FROM mail_attempts"),
        [["FAILED", "550 5.1.1 no such user"]],
        "each try is kept"
    );
    // While nobody has decided, a run learns it from its first mail, which stays too.
    for _ in 0..3 {
        office.sends(ONE_BY_ONE, &url(&wrong)).run().exits(1);
    }
    assert_eq!(count(office, "QUEUED"), 60);
    assert!(held(office)[1].parse::<usize>().unwrap() <= refused + 3 * 2, "{refused}");

    // The relay is corrected.
    let right = MailServer::start(Manners::default());
    let suppressed = held(office)[1].clone();
    office
        .sends(["mail", "suppress", "remove", "--held"], &url(&wrong))
        .run()
        .succeeds()
        .prints(&format!("Removed {suppressed} suppressions"));
    // What the wrong one said is forgotten: an address that really does not exist stops nothing.
    right.fate("gone@example.jp", [GONE]);
    office.queue("gone@example.jp");
    office.execute("UPDATE mails SET priority = 1 WHERE recipient = 'gone@example.jp'");
    office.flush(&url(&right)).run().succeeds();
    assert_eq!((count(office, "SENT"), count(office, "FAILED")), (60, 1));
    assert_eq!(right.reached().len(), 60);
}

/// Of two mails to an address the second one is cancelled once the first one has bounced.
fn what_was_cancelled_before_the_breaker_tripped_comes_back(office: &PostOffice) {
    for is_relay_wrong in [true, false] {
        office.execute("DELETE FROM mails");
        office.execute("DELETE FROM mail_suppressions");
        office.execute("DELETE FROM mail_bounce_counts");
        let wrong = MailServer::start(Manners::default());
        // The second one comes later than a connection has mails in hand.
        for number in 0..12 + 3 {
            if number < 12 {
                stranger(office, number..number + 1, &wrong);
            }
            if let Some(number) = number.checked_sub(3) {
                office.queue(&format!("花子 <u{number}@example.jp>"));
            }
        }
        office.execute("INSERT INTO mail_suppressions (address, reason, created_at) VALUES ('other@example.jp', 'BOUNCE', '2026-11-19T00:00:00+00:00')");
        office.queue("other@example.jp");
        office.execute(
            "UPDATE mails SET due_at = '2025-01-01T00:00:00+00:00' WHERE recipient = 'other@example.jp'",
        );
        office.sends(ONE_BY_ONE, &url(&wrong)).run().exits(1);
        let tried: usize = office.scalar("SELECT COUNT(*) FROM mail_attempts").parse().unwrap();
        assert!((10..=13).contains(&tried), "{tried}: the others were cancelled");
        assert_eq!(
            (count(office, "QUEUED"), count(office, "CANCELLED")),
            (24, 1),
            "another suppression stays"
        );
        if is_relay_wrong {
            let right = MailServer::start(Manners::default());
            office.sends(["mail", "suppress", "remove", "--held"], &url(&right)).run().succeeds();
            office.flush(&url(&right)).run().succeeds();
            assert_eq!((count(office, "SENT"), right.reached().len()), (24, 24));
        } else {
            office.sends(["mail", "suppress", "confirm"], &url(&wrong)).run().succeeds();
            office.flush(&url(&wrong)).run();
            assert_eq!((count(office, "QUEUED"), count(office, "SENT")), (0, 0));
            // Only addresses that no run had tried bounce now.
            assert!(count(office, "CANCELLED") >= 21, "{}", count(office, "CANCELLED"));
        }
    }
}

fn a_few_mails_a_run_add_up(office: &PostOffice) {
    let wrong = MailServer::start(Manners::default());
    for run in 0..3 {
        stranger(office, run * 4..run * 4 + 4, &wrong);
        let code = i32::from(run >= 2);
        office.sends(ONE_BY_ONE, &url(&wrong)).run().exits(code);
    }
    // Those of the runs before are held too: they were not too many to be true yet.
    assert_eq!(held(office)[0], "1");
    assert_eq!(held(office).len(), 2);
    assert_eq!((count(office, "QUEUED"), count(office, "FAILED")), (12, 0), "nor are their mails lost");
    let bounced = held(office)[1].clone();
    // They really do not exist.
    office
        .sends(["mail", "suppress", "confirm"], &url(&wrong))
        .run()
        .succeeds()
        .prints(&format!("Confirmed {bounced} suppressions"));
    assert_eq!(held(office), ["0".to_owned(), bounced]);
    // What was decided does not stop the next run.
    wrong.fate("other@example.jp", [GONE]);
    office.queue("other@example.jp");
    office.queue("u0@example.jp");
    office.execute("UPDATE mails SET status = 'CANCELLED' WHERE status = 'QUEUED' AND recipient NOT IN ('other@example.jp', 'u0@example.jp')");
    office.flush(&url(&wrong)).run().succeeds();
    let last = office.sql("SELECT status, last_reply FROM mails ORDER BY id DESC LIMIT 2");
    assert_eq!(last, [["CANCELLED", "suppressed: BOUNCE"], ["FAILED", "550 5.1.1 no such user"]]);
}

fn a_bounce_leaves_an_unsubscription_as_it_is(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    office.execute(
        "INSERT INTO mail_suppressions (address, scope, reason, created_at)
         VALUES ('u0@example.jp', 'MARKETING', 'UNSUBSCRIBE', '2026-11-19T00:00:00+00:00')",
    );
    stranger(office, 0..1, &server);
    office.flush(&url(&server)).run().succeeds();
    assert_eq!(
        office.sql("SELECT scope, reason FROM mail_suppressions ORDER BY reason"),
        [["ALL", "BOUNCE"], ["MARKETING", "UNSUBSCRIBE"]]
    );
}
