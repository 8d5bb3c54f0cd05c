//! Servers that ask for less, refuse everybody, or take too long: a matter of the whole server costs no mail a try.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::post_office::PostOffice;
use crate::support::{Batchctl, Fate, MailServer, Manners, eventually, on_both_databases};

on_both_databases![
    a_server_that_takes_nothing_for_now_leaves_the_mails_as_they_were,
    a_server_that_closes_after_some_mails_gets_all_of_them_over_more_connections,
    a_server_that_is_busy_for_a_moment_is_waited_for,
    a_share_of_refusals_does_not_stop_the_queue,
    a_balancer_with_an_overloaded_machine_gets_all_mails,
    a_server_that_turns_every_connection_away_is_left_alone_soon,
    a_mail_that_is_refused_for_now_while_others_get_through_costs_itself_a_try,
    a_mail_that_is_refused_for_now_until_only_it_is_left_costs_itself_a_try,
    a_server_that_is_full_after_some_mails_costs_the_rest_no_attempt,
    what_the_server_did_not_take_goes_behind_what_else_is_due,
    under_a_block_no_mail_fails_however_many_runs_there_are,
    a_block_that_lets_some_through_fails_no_mail,
    a_block_that_begins_at_the_end_of_a_run_fails_no_mail,
    a_few_mails_that_are_all_refused_stay_and_fail_after_five_runs_that_get_others_through,
    what_the_server_does_to_all_mails_costs_none_an_attempt,
    a_few_mails_that_are_put_off_with_all_others_wait_in_silence_for_a_while,
    a_mail_that_alone_is_not_understood_stops_no_other,
    a_large_group_that_is_refused_keeps_no_other_mail_waiting,
    mails_without_an_answer_are_not_begun_without_end,
    a_run_whose_time_is_over_begins_nothing_more_and_cuts_nothing,
];

fn plain(server: &MailServer) -> String {
    format!("smtp://{}", server.address())
}

fn fill(office: &PostOffice, mails: usize) {
    let series = office.series(mails);
    office.execute(&format!(
        "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
         SELECT 'bulk', 'member' || n || '@example.jp', 'mail ' || n, 'text', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00'
         FROM {series}"
    ));
}

/// Status, attempts and how many mails.
fn counts(office: &PostOffice) -> Vec<String> {
    let rows = office.sql(
        "SELECT status, attempts, COUNT(*) FROM mails GROUP BY status, attempts ORDER BY status, attempts",
    );
    rows.iter().map(|row| row.join(" ")).collect()
}

/// `mail flush` with a deadline.
fn within(office: &PostOffice, time: &str, url: &str) -> Batchctl {
    office
        .batchctl(["--env", "prod", "mail", "flush", "--timeout", time])
        .real_clock()
        .env("BATCHCTL_SMTP_URL", url)
        .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
}

fn untouched(office: &PostOffice, mails: usize) {
    assert_eq!(counts(office), [format!("QUEUED 0 {mails}")]);
    let changed =
        "SELECT COUNT(*) FROM mails WHERE last_reply IS NOT NULL OR claimed_by IS NOT NULL OR is_held";
    assert_eq!(office.scalar(changed), "0");
    assert_eq!(office.scalar("SELECT COUNT(*) FROM mails WHERE take_overs <> 0"), "0");
    assert_eq!(tries(office), [""; 0]);
}

/// What each attempt led to, and how many.
fn tries(office: &PostOffice) -> Vec<String> {
    let rows = office.sql("SELECT status, COUNT(*) FROM mail_attempts GROUP BY status ORDER BY status");
    rows.iter().map(|row| row.join(" ")).collect()
}

fn a_server_that_takes_nothing_for_now_leaves_the_mails_as_they_were(office: &PostOffice) {
    fill(office, 100);
    for line in
        ["452 4.3.1 insufficient system storage", "421 4.3.2 shutting down", "451 4.3.5 misconfigured"]
    {
        let server = MailServer::start(Manners {
            sender: Some(line),
            offers: vec!["PIPELINING"],
            ..Manners::default()
        });
        office.flush(&plain(&server)).run().exits(75).says(line);
        untouched(office, 100);
        // Four refusals, and what was under way meanwhile: not one for each mail.
        assert!(server.connections() <= 8, "{line}: {} connections", server.connections());
    }
    let server = MailServer::start(Manners::default());
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 100"]);
}

fn a_server_that_closes_after_some_mails_gets_all_of_them_over_more_connections(office: &PostOffice) {
    fill(office, 200);
    for offers in [vec![], vec!["PIPELINING"]] {
        office
            .execute("UPDATE mails SET status = 'QUEUED', attempts = 0, last_reply = NULL, ended_at = NULL");
        let server =
            MailServer::start(Manners { mails_per_connection: Some(5), offers, ..Manners::default() });
        office.flush(&plain(&server)).run().succeeds();
        assert_eq!(counts(office), ["SENT 1 200"]);
        assert_eq!(server.count_taken(), 200);
        // 40 are needed; those that were open when the first one was closed had not learned it yet.
        assert!(server.connections() <= 60, "{} connections", server.connections());
    }
}

fn a_server_that_is_busy_for_a_moment_is_waited_for(office: &PostOffice) {
    fill(office, 20);
    let line = "451 4.7.500 server busy";
    let server = MailServer::start(Manners { busy: Some((2, line)), ..Manners::default() });
    office.flush(&plain(&server)).run().succeeds().is_silent();
    assert_eq!(counts(office), ["SENT 1 20"]);
}

fn a_share_of_refusals_does_not_stop_the_queue(office: &PostOffice) {
    for line in ["451 4.3.2 busy, try again", "421 4.7.0 too many"] {
        fill(office, 100);
        let server = MailServer::start(Manners { refuses_every: Some((4, line)), ..Manners::default() });
        within(office, "90s", &plain(&server)).run().succeeds();
        assert_eq!(counts(office), ["SENT 1 100"], "{line}");
        assert_eq!(tries(office), ["SENT 100"], "{line}");
        office.execute("DELETE FROM mails");
    }
}

fn a_balancer_with_an_overloaded_machine_gets_all_mails(office: &PostOffice) {
    fill(office, 300);
    let server = MailServer::start(Manners {
        turns_away_every: Some((4, "421 4.3.2 backend overloaded, try later")),
        hangs_up_after: Some(5),
        ..Manners::default()
    });
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 300"]);
    assert_eq!(tries(office), ["SENT 300"]);
}

fn a_server_that_turns_every_connection_away_is_left_alone_soon(office: &PostOffice) {
    fill(office, 20);
    let line = "421 4.3.2 no more connections";
    let server = MailServer::start(Manners { turns_away_every: Some((1, line)), ..Manners::default() });
    office.flush(&plain(&server)).run().exits(75).says("failed to reach the mail server").says(line);
    untouched(office, 20);
    assert_eq!(server.connections(), 4);
}

/// No time decides this: however slow all of it is, the others get through before each time that the two are begun.
fn a_mail_that_is_refused_for_now_while_others_get_through_costs_itself_a_try(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    let faults = [
        ("recipient@example.jp", Fate::Recipient("452 4.3.1 insufficient system storage")),
        ("data@example.jp", Fate::Data("451 4.3.0 disk full")),
    ];
    for (recipient, fate) in &faults {
        server.fate(recipient, [fate.clone()]);
        office.queue(recipient);
    }
    // A mail that is told to wait goes behind those that are claimed, 500 at a time: it is begun once more after each claim.
    fill(office, 1_600);
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["RETRY 1 2", "SENT 1 1600"]);
    assert_eq!(tries(office), ["RETRY 2", "SENT 1600"]);
    let states = office.states();
    assert_eq!(states[0][3], "452 4.3.1 insufficient system storage");
    assert_eq!(states[1][3], "451 4.3.0 disk full");
    for (recipient, _) in faults {
        office.next_try_is_in_five_minutes(recipient);
        let rcpt = format!("RCPT TO:<{recipient}>");
        let begun = server.commands().iter().filter(|(_, command)| command.starts_with(&rcpt)).count();
        assert!(begun >= 4, "{recipient}: begun {begun} times, three of them after others got through");
    }
}

fn a_mail_that_is_refused_for_now_until_only_it_is_left_costs_itself_a_try(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("big@example.jp", [Fate::Recipient("452 4.3.1 insufficient system storage")]);
    office.queue("big@example.jp");
    fill(office, 2);
    // Half of this is for these few mails and the pauses before each further attempt.
    within(office, "50s", &plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["RETRY 1 1", "SENT 1 2"]);
    assert_eq!(tries(office), ["RETRY 1", "SENT 2"]);
    assert_eq!(office.states()[0][3], "452 4.3.1 insufficient system storage");
}

fn a_server_that_is_full_after_some_mails_costs_the_rest_no_attempt(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    fill(office, 43);
    let line = "452 4.3.1 insufficient system storage";
    for left in [33, 23, 13, 3] {
        let server = MailServer::start(Manners { full_after: Some((10, line)), ..Manners::default() });
        // Far less than all its patience: the deadline says nothing about a mail either.
        let code = within(office, "12s", &plain(&server)).run().code;
        assert!(matches!(code, Some(75 | 124)), "{code:?}");
        assert_eq!(counts(office), [format!("QUEUED 0 {left}"), format!("SENT 1 {}", 43 - left)]);
    }
    let server = MailServer::start(Manners::default());
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 43"]);
}

fn what_the_server_did_not_take_goes_behind_what_else_is_due(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let server = MailServer::start(Manners::default());
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        server.fate(&format!("{name}@example.jp"), [Fate::Recipient("452 4.3.1 no room for this one")]);
        office.queue(&format!("{name}@example.jp"));
    }
    // More than a run tries before it gives up on a server that takes nothing.
    fill(office, 100);
    office.flush(&plain(&server)).run().exits(75);
    assert_eq!(server.count_taken(), 0, "it gave up on the server");
    // It goes on asking for those that are refused.
    let mut running = within(office, "50s", &plain(&server)).spawn();
    let sent = || office.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'") == "100";
    eventually(sent, "all others are sent");
    running.signal(Signal::TERM);
    running.wait();
}

fn under_a_block_no_mail_fails_however_many_runs_there_are(office: &PostOffice) {
    fill(office, 60);
    let line = "554 5.7.1 Service unavailable; client host blocked";
    let blocked = MailServer::start(Manners { sender: Some(line), ..Manners::default() });
    for _ in 0..3 {
        office.flush(&plain(&blocked)).run().exits(1).says(line);
        untouched(office, 60);
    }
    let server = MailServer::start(Manners::default());
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 60"]);
}

fn a_block_that_lets_some_through_fails_no_mail(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let line = "554 5.7.1 blocked by reputation";
    let server = MailServer::start(Manners::default());
    fill(office, 60);
    for number in (1..=60).filter(|number| number % 5 != 0) {
        server.fate(&format!("member{number}@example.jp"), [Fate::Message(line)]);
    }
    for _ in 0..6 {
        office.make_due();
        office.flush(&plain(&server)).run().exits(1).says("refused 20 of 2").says(line);
    }
    // One may have been alone with a mail that got through: that costs it no attempt.
    let waiting = "SELECT COUNT(*) FROM mails WHERE status IN ('QUEUED', 'RETRY') AND attempts = 0 AND untaken_runs <= 2
                                                AND due_at < '2030-01-01'";
    let sent: usize = office.scalar("SELECT COUNT(*) FROM mails WHERE status = 'SENT'").parse().unwrap();
    assert!((1..=12).contains(&sent), "{sent}");
    assert_eq!(office.scalar(waiting), (60 - sent).to_string());
    assert_eq!(tries(office).last(), Some(&format!("SENT {sent}")));
}

fn a_block_that_begins_at_the_end_of_a_run_fails_no_mail(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let server = MailServer::start(Manners::default());
    fill(office, 6);
    for number in 4..=6 {
        let refused = Fate::Message("550 5.7.1 blocked");
        server.fate(&format!("member{number}@example.jp"), [refused, Fate::Accept]);
    }
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["RETRY 0 3", "SENT 1 3"]);
    // While everything is refused, nothing is counted.
    let blocked = MailServer::start(Manners { sender: Some("554 5.7.1 blocked"), ..Manners::default() });
    for _ in 0..6 {
        office.make_due();
        office
            .flush(&plain(&blocked))
            .run()
            .exits(1)
            .says("3 mails wait that the server has not taken, the first since");
    }
    assert_eq!(counts(office), ["RETRY 0 3", "SENT 1 3"]);
    office.make_due();
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 6"]);
}

fn a_few_mails_that_are_all_refused_stay_and_fail_after_five_runs_that_get_others_through(
    office: &PostOffice,
) {
    let server = MailServer::start(Manners::default());
    for name in ["a", "b"] {
        server.fate(&format!("{name}@example.jp"), [Fate::Message("550 5.7.26 unauthenticated")]);
        office.queue(&format!("{name}@example.jp"));
    }
    office.flush(&plain(&server)).run().exits(1).says("refused 2 of 2 mails").says("5.7.26");
    untouched(office, 2);
    let first = office.scalar("SELECT MIN(id) FROM mails");
    let shown = office.sends(["mail", "show", &first], &plain(&server)).run().succeeds();
    assert!(shown.stdout.contains("not taken     since 20"), "{}", shown.stdout);
    for run in 1..=5 {
        fill(office, 5);
        office.make_due();
        office.flush(&plain(&server)).run().exits(if run < 5 { 0 } else { 3 });
        if run < 5 {
            assert_eq!(counts(office), ["RETRY 0 2".to_owned(), format!("SENT 1 {}", run * 5)]);
            assert_eq!(office.states()[0][3], "550 5.7.26 unauthenticated");
        }
    }
    assert_eq!(counts(office), ["FAILED 1 2", "SENT 1 25"]);
    assert_eq!(tries(office), ["FAILED 2", "RETRY 8", "SENT 25"]);
    let reply = "refused in 5 runs that got others through: 550 5.7.26 unauthenticated";
    assert_eq!(office.states()[0][3], reply);
}

fn what_the_server_does_to_all_mails_costs_none_an_attempt(office: &PostOffice) {
    fill(office, 60);
    for fate in [
        Fate::Recipient("451 4.7.1 service unavailable"),
        Fate::Recipient("450 4.4.1 no connection to the directory"),
        Fate::CutAtRecipient,
        Fate::Data("451 try again later"),
        Fate::Message("451 local error"),
        Fate::Recipient("530 5.7.0 log in first"),
        Fate::Data("502 5.5.1 what is DATA?"),
    ] {
        let server = MailServer::start(Manners::default());
        (1..=60).for_each(|n| server.fate(&format!("member{n}@example.jp"), [fate.clone()]));
        let is_for_now = !matches!(
            fate,
            Fate::Recipient("530 5.7.0 log in first") | Fate::Data("502 5.5.1 what is DATA?")
        );
        // More runs than a mail has attempts.
        for _ in 0..4 {
            let ran = office.flush(&plain(&server)).run();
            ran.exits(if is_for_now { 75 } else { 1 }).says("data:  nothing was changed").says(match fate {
                Fate::Recipient("530 5.7.0 log in first") => "which has no user and password (smtp://USER",
                _ if is_for_now => "the next run will try again",
                _ => "ask whoever runs the mail server",
            });
            office.make_due();
        }
        untouched(office, 60);
    }
    let right = MailServer::start(Manners::default());
    office.flush(&plain(&right)).run().succeeds();
    assert_eq!(counts(office), ["SENT 1 60"]);
}

fn a_few_mails_that_are_put_off_with_all_others_wait_in_silence_for_a_while(office: &PostOffice) {
    let server = MailServer::start(Manners::default());
    server.fate("member1@example.jp", [Fate::Recipient("451 4.7.1 greylisted")]);
    server.fate("member2@example.jp", [Fate::Message("451 local error")]);
    fill(office, 2);
    for _ in 0..5 {
        office.flush(&plain(&server)).run().succeeds().is_silent();
        office.make_due();
    }
    assert_eq!(counts(office), ["RETRY 0 2"]);
    assert_eq!(tries(office), ["RETRY 10"]);
    // Not for ever.
    office.execute("UPDATE mails SET untaken_since = queued_at");
    office.flush(&plain(&server)).run().exits(75).says("the server put off 2 of 2 mails, the last with: 451");
    // Once others get through, it is theirs.
    fill(office, 20);
    office.make_due();
    office.flush(&plain(&server)).run().succeeds();
    assert_eq!(counts(office), ["RETRY 1 4", "SENT 1 18"], "two of the new ones have the same addresses");
}

fn a_mail_that_alone_is_not_understood_stops_no_other(office: &PostOffice) {
    for line in
        ["500 what?", "502 5.5.1 no", "530 5.7.0 log in first", "535 5.7.8 no", "555 5.5.4 parameters"]
    {
        office.execute("DELETE FROM mails");
        let server = MailServer::start(Manners::default());
        server.fate("member1@example.jp", [Fate::Recipient(line)]);
        fill(office, 20);
        office.flush(&plain(&server)).run().succeeds();
        assert_eq!(counts(office), ["RETRY 0 1", "SENT 1 19"], "{line}");
        assert_eq!(office.scalar("SELECT recipient FROM mails WHERE status = 'RETRY'"), "member1@example.jp");
    }
}

fn a_large_group_that_is_refused_keeps_no_other_mail_waiting(office: &PostOffice) {
    let add = |name: &str, priority: u8, day: u8, mails: usize| {
        let due = format!("2026-01-0{day}T00:00:00+00:00");
        let series = office.series(mails);
        office.execute(&format!(
            "INSERT INTO mails (kind, recipient, subject, text_body, priority, due_at, queued_at)
             SELECT 'bulk', '{name}' || n || '@example.jp', 'mail', 'text', {priority}, '{due}', '{due}' FROM {series}"
        ));
    };
    let left = |name: &str| {
        office.scalar(&format!(
            "SELECT COUNT(*) FROM mails WHERE recipient LIKE '{name}%' AND status <> 'SENT'"
        ))
    };
    // How many of the group are believed to be at fault depends on what is in transit; all that is not sent stays queued.
    let flush_in_vain = |server: &MailServer| {
        let ran = office.flush(&plain(server)).run();
        assert!(matches!(ran.code, Some(1 | 75)), "{ran:?}");
    };
    for line in ["550 5.7.1 refused by policy", "451 4.7.1 try again later"] {
        office.execute("DELETE FROM mails");
        let server = MailServer::start(Manners::default());
        for number in 1..=300 {
            server
                .fate(&format!("refused{number}@example.jp"), std::iter::repeat_n(Fate::Recipient(line), 50));
        }
        add("refused", 2, 1, 300);
        flush_in_vain(&server);
        for run in 1..=4 {
            // Of the same urgency, and of less.
            add(&format!("later{run}-"), 2, 1 + run, 40);
            add(&format!("bulk{run}-"), 3, 1 + run, 5);
            flush_in_vain(&server);
            assert_eq!(left(&format!("later{run}-")), "0", "{line}, run {run}");
            assert_eq!(left(&format!("bulk{run}-")), "0", "{line}, run {run}");
        }
        assert_eq!(left("refused"), "300", "{line}");
        let failed = "SELECT COUNT(*) FROM mails WHERE status = 'FAILED'";
        assert_eq!(office.scalar(failed), "0", "{line}");
        // Once the reason has passed, all of them go, without anybody's help.
        let server = MailServer::start(Manners::default());
        office.make_due();
        office.flush(&plain(&server)).run().succeeds();
        assert_eq!(left("refused"), "0", "{line}");
    }
}

fn mails_without_an_answer_are_not_begun_without_end(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\nconnections = 1\n");
    let server = MailServer::start(Manners::default());
    fill(office, 30);
    for number in 1..=30 {
        server.fate(&format!("member{number}@example.jp"), [Fate::CutAfterDot { is_taken: true }]);
    }
    office
        .flush(&plain(&server))
        .run()
        .exits(75)
        .says("5 mails since the last accepted one may or may not have arrived");
    assert_eq!(counts(office), ["QUEUED 0 25", "UNKNOWN 1 5"]);
}

fn a_run_whose_time_is_over_begins_nothing_more_and_cuts_nothing(office: &PostOffice) {
    let server = MailServer::start(Manners { offers: vec!["PIPELINING"], ..Manners::default() });
    fill(office, 200);
    for number in 1..=200 {
        server.fate(&format!("member{number}@example.jp"), [Fate::Slowly(Duration::from_millis(400))]);
    }
    let url = plain(&server);
    let started = Instant::now();
    let ran = within(office, "4s", &url).run().exits(124);
    assert!(started.elapsed() < Duration::from_secs(10));
    let sent = server.count_taken();
    assert!((1..200).contains(&sent), "{sent}");
    ran.says(&format!("sent {sent} of {sent} mails, {} more are due", 200 - sent));
    assert_eq!(counts(office), [format!("QUEUED 0 {}", 200 - sent), format!("SENT 1 {sent}")]);
    assert_eq!(office.scalar("SELECT COUNT(*) FROM mails WHERE claimed_by IS NOT NULL"), "0");
    let unfinished = server.commands().iter().filter(|(_, command)| command.starts_with("MAIL")).count();
    // Of a mail that is not begun the server may know the envelope.
    assert!(unfinished <= sent + 8, "{unfinished} envelopes, {sent} mails");
}
