//! Several processes sharing one queue, and processes that die: nothing is lost, and nothing is sent twice except mails
//! in transit.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::post_office::PostOffice;
use crate::support::{Database, Fate, MailServer, Manners, eventually, on_both_databases, run_on};

on_both_databases![
    of_three_runs_one_is_killed_and_one_is_stopped_and_every_mail_arrives,
    a_mail_is_sending_before_the_server_can_have_it,
    killed_again_and_again_it_finally_sends_everything,
    with_hold_the_mail_in_transit_waits_for_a_person,
    a_stop_finishes_what_was_started_and_releases_the_rest,
    a_run_frozen_past_its_lease_writes_nothing_more_and_does_not_block_others,
    urgent_mails_of_a_dead_run_do_not_wait_for_the_rest_of_the_queue,
];

/// Only PostgreSQL can lose its connections.
#[test]
fn a_run_that_loses_the_database_ends_at_once_and_the_next_one_continues() {
    run_on(Database::Postgres, |office: &PostOffice| {
        let server = server();
        fill(office, 1_000);
        server.fate("member500@example.jp", [Fate::SilentAfterDot]);
        let url = format!("smtp://{}", server.address());
        let flush = office.flush(&url).spawn();
        eventually(|| server.count_taken() > 100, "it sends");
        office.execute(&format!(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'batchctl {}.%'",
            flush.pid()
        ));
        flush.wait().exits(75).says("lost the connection to the database");
        server.fate("member500@example.jp", [Fate::Accept]);
        office.flush(&url).run().succeeds();
        assert_eq!(arrivals(&server).len(), 1_000);
        assert!(duplicates(&server) <= CONNECTIONS, "{}", duplicates(&server));
    });
}

fn a_run_frozen_past_its_lease_writes_nothing_more_and_does_not_block_others(office: &PostOffice) {
    let server = server();
    fill(office, 2_000);
    let url = format!("smtp://{}", server.address());
    let mut frozen = office.flush(&url).spawn();
    eventually(|| server.count_taken() > 200, "it sends");
    frozen.signal(Signal::STOP);
    // On SQLite a process that is frozen inside a commit keeps the file's lock until it continues.
    if office.database() == Database::Postgres {
        office.execute("UPDATE batch_execution SET lease_expires_at = '2026-01-01T00:00:00+00:00'");
        office.flush(&url).run().succeeds();
        assert_eq!(count(office, "status = 'SENT'"), "2000", "the next one sends everything");
        let before = office.dump();
        frozen.signal(Signal::CONT);
        frozen.wait().exits(1).says("the lease was lost");
        assert_eq!(office.dump(), before, "the late owner writes nothing");
    } else {
        frozen.signal(Signal::CONT);
        frozen.wait().succeeds();
    }
    office.flush(&url).run().succeeds();
    assert_eq!(arrivals(&server).len(), 2_000);
    assert!(duplicates(&server) <= CONNECTIONS, "{}", duplicates(&server));
    assert_eq!(count(office, "status = 'SENT' AND claimed_by IS NULL"), "2000");
}

const MAILS: usize = 5_000;
const CONNECTIONS: usize = 8;

fn server() -> MailServer {
    MailServer::start(Manners { offers: vec!["PIPELINING", "SIZE 100000"], ..Manners::default() })
}

/// Queues mails to member1@example.jp, member2@example.jp, …
fn fill(office: &PostOffice, mails: usize) {
    let series = office.series(mails);
    office.execute(&format!(
        "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
         SELECT 'bulk', 'member' || n || '@example.jp', 'mail ' || n, 'text', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00'
         FROM {series}"
    ));
}

/// How many times each recipient's mail arrived.
fn arrivals(server: &MailServer) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for mail in server.taken() {
        *arrivals.entry(mail.recipients.concat()).or_default() += 1;
    }
    arrivals
}

fn duplicates(server: &MailServer) -> usize {
    arrivals(server).values().map(|times| times - 1).sum()
}

fn count(office: &PostOffice, condition: &str) -> String {
    office.scalar(&format!("SELECT COUNT(*) FROM mails WHERE {condition}"))
}

fn of_three_runs_one_is_killed_and_one_is_stopped_and_every_mail_arrives(office: &PostOffice) {
    let server = server();
    fill(office, MAILS);
    let url = format!("smtp://{}", server.address());
    let mut killed = office.flush(&url).spawn();
    let mut stopped = office.flush(&url).spawn();
    let survivor = office.flush(&url).spawn();
    // In the middle: by now each of them is sending.
    let at_work = || office.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'RUNNING'") == "3";
    eventually(|| server.count_taken() > MAILS / 5 && at_work(), "a fifth of the mails has arrived");
    killed.signal(Signal::KILL);
    stopped.signal(Signal::TERM);
    killed.wait().is_killed_by(Signal::KILL);
    stopped.wait().exits(143);
    survivor.wait().succeeds();
    // The next run reclaims what the killed one held.
    office.flush(&url).run().succeeds();

    let arrivals = arrivals(&server);
    assert_eq!(arrivals.len(), MAILS, "every mail reached the server");
    assert!(duplicates(&server) <= CONNECTIONS, "{} duplicates", duplicates(&server));
    assert_eq!(count(office, "status = 'SENT' AND claimed_by IS NULL"), MAILS.to_string());
    // A mail keeps its id, however many times it was sent.
    for mail in server.taken().iter().filter(|mail| arrivals[&mail.recipients.concat()] > 1).take(3) {
        let id = office.scalar(&format!(
            "SELECT message_id FROM mails WHERE recipient = '{}'",
            mail.recipients.concat()
        ));
        assert!(String::from_utf8_lossy(&mail.bytes).contains(&id));
    }
}

fn a_mail_is_sending_before_the_server_can_have_it(office: &PostOffice) {
    let server = server();
    server.fate("slow@example.jp", [Fate::SilentAfterDot]);
    office.queue("slow@example.jp");
    let mut flush = office.flush(&format!("smtp://{}", server.address())).spawn();
    eventually(|| count(office, "status = 'SENDING'") == "1", "the mail is in transit");
    assert_eq!(office.sql("SELECT attempts, claimed_by FROM mails").concat(), ["1", "1"]);
    flush.signal(Signal::KILL);
    flush.wait().is_killed_by(Signal::KILL);
    assert_eq!(count(office, "status = 'SENDING'"), "1");
}

fn killed_again_and_again_it_finally_sends_everything(office: &PostOffice) {
    let server = server();
    fill(office, 1_000);
    let url = format!("smtp://{}", server.address());
    let mut kills = 0;
    for round in 1..=6 {
        let mut flush = office.flush(&url).spawn();
        // The first mails are in transit at each kill: they too are finally sent.
        eventually(|| server.count_taken() >= round * 100 || flush.has_ended(), "some more have arrived");
        if flush.has_ended() {
            flush.wait().succeeds();
            break;
        }
        flush.signal(Signal::KILL);
        flush.wait().is_killed_by(Signal::KILL);
        kills += 1;
    }
    assert!(kills > 0, "it was too fast to be killed");
    office.flush(&url).run().succeeds();
    assert_eq!(arrivals(&server).len(), 1_000);
    assert!(duplicates(&server) <= kills * CONNECTIONS, "{} after {kills} kills", duplicates(&server));
    assert_eq!(count(office, "status = 'SENT'"), "1000");
}

fn with_hold_the_mail_in_transit_waits_for_a_person(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\non_unknown = \"hold\"\nconnections = 1\n");
    let server = server();
    server.fate("b@example.jp", [Fate::SilentAfterDot]);
    for recipient in ["a@example.jp", "b@example.jp", "c@example.jp", "d@example.jp", "e@example.jp"] {
        office.queue(recipient);
    }
    let url = format!("smtp://{}", server.address());
    let mut flush = office.flush(&url).spawn();
    eventually(|| server.count_taken() == 1 && count(office, "status = 'SENT'") == "1", "the first is sent");
    let envelopes = || server.commands().iter().filter(|(_, command)| command.starts_with("MAIL")).count();
    // The envelope of the third one goes out only after the second one's mail, which is not answered.
    eventually(|| count(office, "status = 'SENDING'") == "1" && envelopes() >= 2, "one is in transit");
    flush.signal(Signal::KILL);
    flush.wait().is_killed_by(Signal::KILL);

    office.flush(&url).run().exits(3).says("it was being sent when an earlier run died");
    // Only the one that the server may have. The one that its sender had next had not left.
    assert_eq!(
        office.sql("SELECT recipient FROM mails WHERE status = 'UNKNOWN' AND is_held"),
        [["b@example.jp"]]
    );
    assert_eq!(count(office, "status = 'SENT' AND attempts = 1"), "4");
    // The dead run may have died of any that it held, but the server may have only one of them.
    assert_eq!(count(office, "take_overs = 1"), "4");
    assert_eq!(count(office, "unknown_attempts = 1"), "1");
    assert_eq!(office.scalar("SELECT COUNT(*) FROM mail_attempts WHERE status = 'SENT'"), "4");
    let before = server.count_taken();
    office.flush(&url).run().succeeds();
    assert_eq!(server.count_taken(), before);
    server.fate("b@example.jp", [Fate::Accept]);
    let ids = office.sql("SELECT id FROM mails WHERE is_held").concat();
    office
        .batchctl(["--env", "prod", "mail", "requeue"].into_iter().chain(ids.iter().map(String::as_str)))
        .real_clock()
        .run()
        .succeeds();
    office.flush(&url).run().succeeds();
    assert_eq!(count(office, "status = 'SENT'"), "5");
}

fn a_stop_finishes_what_was_started_and_releases_the_rest(office: &PostOffice) {
    let server = server();
    fill(office, MAILS);
    let url = format!("smtp://{}", server.address());
    let mut flush = office.flush(&url).spawn();
    eventually(|| server.count_taken() > 100, "it sends");
    flush.signal(Signal::TERM);
    flush.wait().exits(143).says("stopped by SIGTERM");
    let sent = server.count_taken();
    assert!(sent < MAILS, "it was stopped in the middle");
    assert_eq!(count(office, "status = 'SENT'"), sent.to_string());
    assert_eq!(count(office, "claimed_by IS NOT NULL OR status NOT IN ('SENT', 'QUEUED')"), "0");
    assert_eq!(
        count(office, "status = 'QUEUED' AND attempts > 0"),
        "0",
        "mails that were not started are unchanged"
    );
    office.flush(&url).run().succeeds();
    assert_eq!((arrivals(&server).len(), duplicates(&server)), (MAILS, 0));
}

fn urgent_mails_of_a_dead_run_do_not_wait_for_the_rest_of_the_queue(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let server = server();
    fill(office, 300);
    office.execute("UPDATE mails SET priority = 3");
    for _ in 0..3 {
        office.queue("urgent@example.jp");
    }
    office.execute("UPDATE mails SET priority = 1, take_overs = 1 WHERE recipient = 'urgent@example.jp'");
    office.flush(&format!("smtp://{}", server.address())).run().succeeds();
    let order = server.reached();
    let urgent: Vec<usize> = (0..order.len()).filter(|place| order[*place] == "urgent@example.jp").collect();
    // Others go before each of them: one of these mails may be what runs die of.
    assert_eq!(urgent, [50, 101, 152]);
    assert_eq!(order.len(), 303);
}
