//! The client against a server that does what real ones do not do on demand.
#![expect(clippy::unnecessary_wraps, reason = "what it is compared with is a result")]

use std::time::Duration;

use lettre::address::Envelope;

use super::fault_server::{Fate, Greeting, MailServer, Manners};
use super::server::{SmtpServer, Timeouts};
use crate::failure::FailureKind;
use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::mail::message::Built;

/// Long enough for two busy cores, short enough for the tests that wait for it.
const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(200);

const PIPELINING: &[&str] = &["PIPELINING", "SIZE 100000", "8BITMIME", "ENHANCEDSTATUSCODES"];

fn offering(offers: &[&'static str]) -> Manners {
    Manners { offers: offers.to_vec(), ..Manners::default() }
}

fn client(server: &MailServer, patience: Duration) -> SmtpServer {
    let url = format!("smtp://{}", server.address());
    SmtpServer::at(&url, Timeouts::default().capped(patience)).unwrap()
}

fn mail(recipient: &str) -> Built {
    with_text(recipient, "text\r\n.\r\n..two dots\r\nend\r\n")
}

fn with_text(recipient: &str, text: &str) -> Built {
    let envelope =
        Envelope::new(Some("shop@example.jp".parse().unwrap()), vec![recipient.parse().unwrap()]).unwrap();
    Built { envelope, bytes: format!("Subject: test\r\n\r\n{text}").into_bytes() }
}

fn deferred(reply: &str) -> Result<Outcome, Stop> {
    Ok(Outcome::Deferred { reply: reply.to_owned(), because: Deferral::Unsaid })
}

/// The same for a reason of this mail's or its recipient's own.
fn own_deferred(reply: &str) -> Result<Outcome, Stop> {
    Ok(Outcome::Deferred { reply: reply.to_owned(), because: Deferral::Mail })
}

fn slowed(reply: &str) -> Result<Outcome, Stop> {
    Ok(Outcome::SlowDown { reply: reply.to_owned(), wait: None })
}

fn rejected(because: Rejection, reply: &str) -> Result<Outcome, Stop> {
    Ok(Outcome::Rejected { reply: reply.to_owned(), because })
}

fn unknown(reply: &str) -> Result<Outcome, Stop> {
    Ok(Outcome::Unknown { reply: reply.to_owned() })
}

fn accepted() -> Result<Outcome, Stop> {
    Ok(Outcome::Accepted { reply: "250 2.0.0 taken".to_owned(), provider_message_id: None })
}

#[tokio::test]
async fn mails_go_over_one_connection_and_arrive_byte_for_byte() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(offering(offers));
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        // Several blocks of 64 KB, and inside the SIZE of the server that announces one.
        let lines = if offers.is_empty() { 20_000 } else { 4_000 };
        server.fate("b@example.jp", [Fate::Slowly(Duration::from_millis(5))]);
        for number in 0..3 {
            assert!(connection.is_usable());
            let long = format!("{number}\r\n.\r\n..\r\n{}", ".line of a long mail\r\n".repeat(lines));
            for mail in [mail("a@example.jp"), with_text("b@example.jp", &long)] {
                assert_eq!(connection.send(&mail).await, accepted());
                assert_eq!(server.taken().last().unwrap().bytes, mail.bytes);
            }
        }
        connection.quit().await;
        assert_eq!(server.connections(), 1);
        assert_eq!((server.reached().len(), server.count_taken()), (6, 6));
        let quits = server.commands().into_iter().filter(|(_, command)| command == "QUIT");
        assert_eq!(quits.count(), 1);
        assert_eq!(server.most_commands_in_a_packet(), if offers.is_empty() { 1 } else { 3 });
        let hello = server.commands()[0].1.clone();
        assert!(hello == "EHLO [127.0.0.1]" || hello.contains('.'), "{hello}");
    }
}

#[tokio::test]
async fn each_reply_means_what_its_phase_and_codes_say_and_the_connection_goes_on() {
    use Fate::{Data, Message, MessageBytes, Recipient};
    use Rejection::{Address, Mail, Policy};
    let cases = [
        (Recipient("450 4.2.0 greylisted"), own_deferred("450 4.2.0 greylisted")),
        (Recipient("451 local error"), deferred("451 local error")),
        (Recipient("452 4.2.2 full"), own_deferred("452 4.2.2 full")),
        (Recipient("550 5.1.1 no such user"), rejected(Address, "550 5.1.1 no such user")),
        (Recipient("550 no such user"), rejected(Policy, "550 no such user")),
        (Recipient("551 gone"), rejected(Policy, "551 gone")),
        (Recipient("553 bad mailbox"), rejected(Policy, "553 bad mailbox")),
        (Recipient("556 5.1.10 null MX"), rejected(Address, "556 5.1.10 null MX")),
        (Recipient("550 5.2.1 disabled"), rejected(Address, "550 5.2.1 disabled")),
        (Recipient("501 5.1.3 bad address"), rejected(Address, "501 5.1.3 bad address")),
        (Recipient("504 5.5.2 need fully-qualified"), rejected(Mail, "504 5.5.2 need fully-qualified")),
        (Recipient("552 5.2.2 full"), own_deferred("552 5.2.2 full")),
        (Recipient("552 too many"), own_deferred("552 too many")),
        (Recipient("550 5.7.1 relaying denied"), rejected(Policy, "550 5.7.1 relaying denied")),
        (Recipient("554 5.7.1 blocked"), rejected(Policy, "554 5.7.1 blocked")),
        (Recipient("554 blocked"), rejected(Policy, "554 blocked")),
        (Recipient("550 5.1.8 bad sender domain"), rejected(Policy, "550 5.1.8 bad sender domain")),
        (Recipient("550 5.1.0 sender unknown"), rejected(Policy, "550 5.1.0 sender unknown")),
        (Recipient("571 not wanted"), rejected(Policy, "571 not wanted")),
        (Data("451 4.3.0 later"), slowed("451 4.3.0 later")),
        // Of the whole server, or of how much it gets from us.
        (Recipient("452 4.3.1 disk full"), slowed("452 4.3.1 disk full")),
        (Recipient("452 no storage"), slowed("452 no storage")),
        (Recipient("452 4.5.3 too many recipients"), slowed("452 4.5.3 too many recipients")),
        (
            Recipient("450 4.7.1 too many recipients from you"),
            slowed("450 4.7.1 too many recipients from you"),
        ),
        (Recipient("451 4.7.500 server busy"), slowed("451 4.7.500 server busy")),
        (Data("451 4.7.1 Rate limit exceeded"), slowed("451 4.7.1 Rate limit exceeded")),
        (Message("451 4.3.5 misconfigured"), slowed("451 4.3.5 misconfigured")),
        // Of this mail, or of its recipient.
        (Message("452 4.3.4 too big for now"), own_deferred("452 4.3.4 too big for now")),
        (
            Recipient("450 4.2.1 too many mails to this one"),
            own_deferred("450 4.2.1 too many mails to this one"),
        ),
        (Recipient("450 4.7.1 greylisted"), deferred("450 4.7.1 greylisted")),
        // Of all mails, or of something in this one: the next one tells.
        (Recipient("500 what?"), rejected(Policy, "the server does not understand RCPT TO: 500 what?")),
        (
            Recipient("555 5.5.4 parameters"),
            rejected(Policy, "the server does not understand RCPT TO: 555 5.5.4 parameters"),
        ),
        (Data("503 5.5.1 no"), rejected(Policy, "the server does not understand DATA: 503 5.5.1 no")),
        (Recipient("530 5.7.0 log in first"), rejected(Policy, "530 5.7.0 log in first")),
        (Recipient("535 5.7.8 hunter2 is wrong"), rejected(Policy, "535 5.7.8")),
        (Message("534 5.7.9 too weak"), rejected(Policy, "534 5.7.9")),
        (Recipient("550 5.3.2 not accepting"), rejected(Policy, "550 5.3.2 not accepting")),
        (Data("554 5.7.1 no"), rejected(Policy, "554 5.7.1 no")),
        (
            Message("250-2.0.0 taken\r\n250 2.0.0 as 4711"),
            Ok(Outcome::Accepted { reply: "250 2.0.0 taken as 4711".to_owned(), provider_message_id: None }),
        ),
        (Message("451 4.7.1 greylisted"), deferred("451 4.7.1 greylisted")),
        (Message("550 5.1.1 no such user"), rejected(Address, "550 5.1.1 no such user")),
        (Message("552 5.2.2 full"), own_deferred("552 5.2.2 full")),
        (Message("552 5.3.4 too big"), rejected(Mail, "552 5.3.4 too big")),
        (Message("552 too big"), rejected(Mail, "552 too big")),
        (Message("554 5.6.0 bad content"), rejected(Mail, "554 5.6.0 bad content")),
        (Message("500 5.5.2 line too long"), rejected(Mail, "500 5.5.2 line too long")),
        (
            Message("550-5.7.26 unauthenticated\r\n550-5.7.26 mail\r\n550 5.7.26 of yours"),
            rejected(Policy, "550 5.7.26 unauthenticated mail of yours"),
        ),
        (Message("550 spam"), rejected(Policy, "550 spam")),
        (Message("554 spam"), rejected(Policy, "554 spam")),
        (
            MessageBytes(b"550 5.7.1 \x83X\x83p\x83\x80\x07\x1b[2J"),
            rejected(Policy, "550 5.7.1 \u{fffd}X\u{fffd}p\u{fffd}\u{fffd} [2J"),
        ),
    ];
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(offering(offers));
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        for (fate, expected) in cases.clone() {
            server.fate("bad@example.jp", [fate.clone()]);
            assert_eq!(connection.send(&mail("bad@example.jp")).await, expected, "{fate:?}");
            assert!(connection.is_usable(), "{fate:?}");
            assert_eq!(connection.send(&mail("good@example.jp")).await, accepted(), "after {fate:?}");
        }
        assert_eq!(server.connections(), 1);
        assert!(server.reached().iter().all(|recipient| recipient == "good@example.jp"));
    }
}

#[tokio::test]
async fn a_refused_sender_is_a_policy_unless_it_says_otherwise() {
    for (line, expected) in [
        ("550 not you", rejected(Rejection::Policy, "550 not you")),
        ("553 5.1.8 no such sender", rejected(Rejection::Policy, "553 5.1.8 no such sender")),
        ("552 5.3.4 too big", rejected(Rejection::Mail, "552 5.3.4 too big")),
        ("451 4.3.0 later", slowed("451 4.3.0 later")),
        ("450 4.7.1 too much mail", slowed("450 4.7.1 too much mail")),
        ("450 4.1.8 domain not found", own_deferred("450 4.1.8 domain not found")),
    ] {
        for (offers, after) in [(&[][..], ""), (PIPELINING, "503 5.5.1 no"), (PIPELINING, "354 go ahead")] {
            let manners = Manners { sender: Some(line), ..offering(offers) };
            let server = MailServer::start(Manners {
                data_without_recipient: if after.is_empty() { manners.data_without_recipient } else { after },
                ..manners
            });
            let mut connection = client(&server, PATIENCE).connect().await.unwrap();
            for _ in 0..2 {
                assert_eq!(connection.send(&mail("a@example.jp")).await, expected);
                assert!(connection.is_usable());
            }
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn a_daily_quota_that_is_used_up_stops_all_mails() {
    let line = "550 5.4.5 daily sending quota exceeded";
    let server = MailServer::start(Manners { sender: Some(line), ..Manners::default() });
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    let stop = Stop::Busy(format!("the server refused MAIL FROM: {line}"));
    assert_eq!(connection.send(&mail("a@example.jp")).await, Err(stop));
}

#[tokio::test]
async fn whatever_data_is_answered_after_a_refused_recipient_the_next_mail_goes_through() {
    for after in ["354 go ahead", "503 5.5.1 need RCPT", "554 5.5.1 no valid recipients", "451 4.0.0 later"] {
        let server = MailServer::start(Manners { data_without_recipient: after, ..offering(PIPELINING) });
        server.fate("bad@example.jp", [Fate::Recipient("550 5.1.1 unknown")]);
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        for _ in 0..2 {
            assert_eq!(
                connection.send(&mail("bad@example.jp")).await,
                rejected(Rejection::Address, "550 5.1.1 unknown"),
                "{after}"
            );
            assert_eq!(connection.send(&mail("good@example.jp")).await, accepted(), "{after}");
        }
        assert_eq!(server.reached(), ["good@example.jp", "good@example.jp"]);
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_does_not_have_the_mail_and_the_connection_is_lost() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(Manners { mails_per_connection: Some(1), ..offering(offers) });
        server.fate("closing@example.jp", [Fate::Recipient("421 4.3.2 closing")]);
        server.fate("after@example.jp", [Fate::Message("421 4.3.2 closing")]);
        server.fate("cut@example.jp", [Fate::CutAtRecipient]);
        server.fate("half@example.jp", [Fate::CutInText]);
        let client = client(&server, PATIENCE);
        for (recipient, begin) in [
            ("closing@example.jp", "421 4.3.2 closing"),
            ("after@example.jp", "421 4.3.2 closing"),
            ("cut@example.jp", "the "),
        ] {
            let mut connection = client.connect().await.unwrap();
            match connection.send(&mail(recipient)).await {
                Ok(Outcome::SlowDown { reply, .. }) if begin.starts_with("421") => assert_eq!(reply, begin),
                Ok(Outcome::Deferred { reply, .. }) => assert!(reply.starts_with(begin), "{reply}"),
                other => panic!("{recipient}: {other:?}"),
            }
            assert!(!connection.is_usable(), "{recipient}");
        }
        // Large enough that the cut is noticed before the final dot is sent.
        let large = with_text("half@example.jp", &"0123456789\r\n".repeat(3_000_000));
        let mut connection = client.connect().await.unwrap();
        let large = if offers.is_empty() {
            large
        } else {
            with_text("half@example.jp", &"0123456789\r\n".repeat(10))
        };
        match connection.send(&large).await {
            Ok(Outcome::Deferred { .. }) if offers.is_empty() => {}
            // A short mail had left as a whole.
            Ok(Outcome::Unknown { .. }) if !offers.is_empty() => {}
            other => panic!("{other:?}"),
        }
        assert!(!connection.is_usable());
        // One mail per connection: the second is refused.
        let mut connection = client.connect().await.unwrap();
        assert_eq!(connection.send(&mail("a@example.jp")).await, accepted());
        assert_eq!(
            connection.send(&mail("b@example.jp")).await,
            slowed("421 4.7.0 too many mails on this connection")
        );
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn a_line_cut_after_the_final_dot_leaves_the_mail_unknown() {
    let server = MailServer::start(Manners::default());
    server.fate("taken@example.jp", [Fate::CutAfterDot { is_taken: true }]);
    server.fate("lost@example.jp", [Fate::CutAfterDot { is_taken: false }]);
    server.fate("silent@example.jp", [Fate::SilentAfterDot]);
    server.fate("odd@example.jp", [Fate::Message("hello?")]);
    for (recipient, patience, reply) in [
        ("taken@example.jp", PATIENCE, "the server closed the connection before it answered the mail"),
        ("lost@example.jp", PATIENCE, "the server closed the connection before it answered the mail"),
        ("silent@example.jp", IMPATIENCE, "the server did not answer the mail within 0.2 s"),
        ("odd@example.jp", PATIENCE, "what the server answered to the mail is not an SMTP reply"),
    ] {
        let mut connection = client(&server, patience).connect().await.unwrap();
        assert_eq!(connection.send(&mail(recipient)).await, unknown(reply));
        assert!(!connection.is_usable());
    }
    assert_eq!(server.reached(), ["taken@example.jp"]);
}

#[tokio::test]
async fn a_server_that_says_more_than_it_was_asked_is_not_believed() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(offering(offers));
        server.fate("early@example.jp", [Fate::Data("354 go ahead\r\n250 2.0.0 taken")]);
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        assert_eq!(
            connection.send(&mail("early@example.jp")).await,
            deferred("what the server answered to DATA is not an SMTP reply")
        );
        assert!(!connection.is_usable());
        server.fate("late@example.jp", [Fate::Message("250 2.0.0 taken\r\n250 2.0.0 taken")]);
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        assert_eq!(connection.send(&mail("late@example.jp")).await, accepted());
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn silence_before_the_mail_is_sent_defers_it() {
    let server = MailServer::start(Manners::default());
    server.fate("silent@example.jp", [Fate::SilentAtRecipient]);
    let mut connection = client(&server, IMPATIENCE).connect().await.unwrap();
    assert_eq!(
        connection.send(&mail("silent@example.jp")).await,
        deferred("the server did not answer RCPT TO within 0.2 s")
    );
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_server_that_closes_while_a_mail_waits_for_clearance_does_not_have_it() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(offering(offers));
        server.fate("a@example.jp", [Fate::Data("354 go ahead")]);
        let client = client(&server, PATIENCE);
        let mut connection = client.connect().await.unwrap();
        let mut witness = client.connect().await.unwrap();
        let clearance = async {
            drop(server);
            // It closes the connections in order.
            let started = std::time::Instant::now();
            while witness.is_usable() && started.elapsed() < PATIENCE {
                tokio::task::yield_now().await;
            }
            true
        };
        let reply = "the server closed the connection before it answered the mail";
        let outcome = connection.send_when(&mail("a@example.jp"), clearance).await;
        assert_eq!(outcome, slowed(reply).map(Some));
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_sender_is_answered_says_nothing_about_the_mail() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(Manners { hangs_up_after: Some(0), ..offering(offers) });
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        let outcome = connection.send(&mail("a@example.jp")).await;
        assert_eq!(outcome, slowed("the server closed the connection before it answered MAIL FROM"));
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn without_clearance_no_mail_leaves() {
    for offers in [&[][..], PIPELINING] {
        let server = MailServer::start(offering(offers));
        let mut connection = client(&server, PATIENCE).connect().await.unwrap();
        let outcome = connection.send_when(&mail("a@example.jp"), std::future::ready(false)).await;
        assert_eq!(outcome, Ok(None));
        assert!(!connection.is_usable());
        assert_eq!(server.reached(), [""; 0]);
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_noticed() {
    let server = MailServer::start(Manners { closes_when_idle: true, ..Manners::default() });
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    assert_eq!(connection.send(&mail("a@example.jp")).await, accepted());
    let started = std::time::Instant::now();
    while connection.is_usable() {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sending_that_is_given_up_midway_spoils_the_connection() {
    let server = MailServer::start(Manners::default());
    server.fate("silent@example.jp", [Fate::SilentAfterDot]);
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    let mail = mail("silent@example.jp");
    assert!(tokio::time::timeout(IMPATIENCE, connection.send(&mail)).await.is_err());
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_or_is_closed_is_worth_another_try_later() {
    use Greeting::{Closes, Says, Silence};
    for (greeting, patience, expected) in [
        (Silence, IMPATIENCE, "the server did not answer the greeting within 0.2 s"),
        (Closes, PATIENCE, "the server closed the connection before it answered the greeting"),
    ] {
        let server = MailServer::start(Manners { greeting, ..Manners::default() });
        let stop = client(&server, patience).connect().await.unwrap_err();
        let expected = format!("failed to connect to `{}`: {expected}", server.address());
        assert_eq!(stop, Stop::Unreachable(expected));
    }
    for (line, stop) in [
        ("554 no service for you", Stop::Unreachable as fn(String) -> Stop),
        ("421 4.3.2 too busy", Stop::TurnedAway),
        ("521 never", Stop::Unreachable),
    ] {
        let server = MailServer::start(Manners { greeting: Says(line), ..Manners::default() });
        let refused = client(&server, PATIENCE).connect().await.unwrap_err();
        assert_eq!(refused, stop(format!("`{}` refused the greeting: {line}", server.address())));
    }
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = SmtpServer::at(&format!("smtp://{closed}"), Timeouts::default()).unwrap();
    let expected = format!("failed to connect to `{closed}`: connection refused");
    assert_eq!(server.connect().await.unwrap_err(), Stop::Unreachable(expected));
    let server = SmtpServer::at("smtp://no-such-host.invalid?tls=none", Timeouts::default()).unwrap();
    match server.connect().await.unwrap_err() {
        Stop::Unreachable(message) => {
            assert!(message.starts_with("failed to connect to `no-such-host.invalid:587`: "), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_a_mail_server_is_refused() {
    let server = MailServer::start(Manners {
        greeting: Greeting::Says("HTTP/1.1 400 Bad Request"),
        ..Manners::default()
    });
    assert!(matches!(client(&server, PATIENCE).connect().await, Err(Stop::Refused(_))));
    for line in ["502 what?", "501 5.5.2 your name?", "550 no"] {
        let server = MailServer::start(Manners { ehlo: Some(line), ..Manners::default() });
        let stop = client(&server, PATIENCE).connect().await.unwrap_err();
        assert_eq!(stop, Stop::Refused(format!("`{}` refused EHLO: {line}", server.address())));
    }
}

#[tokio::test]
async fn a_command_that_is_not_understood_may_be_all_mails_or_this_one() {
    let server = MailServer::start(Manners { sender: Some("555 5.5.4 SIZE?"), ..Manners::default() });
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    let reply = "the server does not understand MAIL FROM: 555 5.5.4 SIZE?";
    assert_eq!(connection.send(&mail("a@example.jp")).await, rejected(Rejection::Policy, reply));
}

#[tokio::test]
async fn the_right_password_lets_us_in_and_a_wrong_one_stops_all() {
    for offer in ["AUTH PLAIN LOGIN", "auth login", "AUTH=LOGIN PLAIN"] {
        let manners = Manners { login: Some(("shop@example.jp", "p@ss:word")), ..offering(&[offer]) };
        let server = MailServer::start(manners.clone());
        let url = format!("smtp://shop%40example.jp:p%40ss%3Aword@{}", server.address());
        let mut connection = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap();
        assert_eq!(connection.send(&mail("a@example.jp")).await, accepted(), "{offer}");

        let url = format!("smtp://shop%40example.jp:hunter2@{}", server.address());
        let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
        let message = format!("`{}` refused AUTH: 535 5.7.8", server.address());
        assert_eq!(stop, Stop::Credentials(message));

        let server = MailServer::start(Manners { wrong_login: "454 4.7.0 try later", ..manners });
        let url = format!("smtp://shop%40example.jp:hunter2@{}", server.address());
        let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
        assert!(matches!(stop, Stop::TurnedAway(_)), "{stop:?}");
    }
    let server = MailServer::start(Manners { login: Some(("a", "b")), ..Manners::default() });
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    let asked = connection.send(&mail("a@example.jp")).await;
    assert!(matches!(asked, Ok(Outcome::Rejected { because: Rejection::Policy, .. })), "{asked:?}");
    let url = format!("smtp://a:b@{}", server.address());
    let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
    assert!(matches!(stop, Stop::Refused(_)), "{stop:?}");
}

#[tokio::test]
async fn what_the_server_cannot_take_is_not_offered_to_it() {
    let server = MailServer::start(offering(&["SIZE 100"]));
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    assert_eq!(
        connection.send(&with_text("a@example.jp", &"x\r\n".repeat(40))).await,
        rejected(Rejection::Mail, "the mail has 137 bytes, the server accepts at most 100 (SIZE)")
    );
    assert_eq!(
        connection.send(&with_text("a@example.jp", "日本語\r\n")).await,
        rejected(Rejection::Mail, "the mail is not ASCII, and the server offers no 8BITMIME")
    );
    assert_eq!(
        connection.send(&mail("花子@example.jp")).await,
        rejected(Rejection::Mail, "the address is not ASCII, and the server offers no SMTPUTF8")
    );
    assert!(connection.is_usable());
    assert_eq!(server.commands().len(), 1);

    let server = MailServer::start(offering(&["SIZE", "8BITMIME", "SMTPUTF8"]));
    let mut connection = client(&server, PATIENCE).connect().await.unwrap();
    assert_eq!(connection.send(&with_text("花子@example.jp", "日本語\r\n")).await, accepted());
    assert_eq!(server.taken()[0].sender, "MAIL FROM:<shop@example.jp> SIZE=28 BODY=8BITMIME SMTPUTF8");
}

#[tokio::test]
async fn a_server_that_offers_no_starttls_gets_nothing() {
    let server = MailServer::start(Manners { login: Some(("a", "b")), ..offering(&["AUTH PLAIN"]) });
    let url = format!("smtp://a:b@{}?tls=required", server.address());
    let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
    assert!(
        matches!(&stop, Stop::Refused(message) if message.contains("does not offer STARTTLS")),
        "{stop:?}"
    );
    assert_eq!(server.commands().len(), 1, "nothing but EHLO");
    // Offered and then refused, or answered by no TLS at all.
    let server = MailServer::start(offering(&["STARTTLS"]));
    let url = format!("smtp://{}?tls=required", server.address());
    let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
    assert_eq!(
        stop,
        Stop::Refused(format!("`{}` refused STARTTLS: 502 5.5.2 unknown command", server.address()))
    );
    let url = format!("smtps://{}", server.address());
    let stop = SmtpServer::at(&url, Timeouts::default()).unwrap().connect().await.unwrap_err();
    assert!(matches!(&stop, Stop::Refused(message) if message.contains("failed to encrypt")), "{stop:?}");
}

#[test]
fn a_url_that_is_wrong_or_unsafe_is_said_without_its_password() {
    for (url, problem) in [
        ("http://mail.example.jp", "is not smtp:// or smtps://"),
        ("smtp://", "has no host"),
        ("smtp://mail.example.jp/hunter2", "has a path"),
        ("smtp://mail.example.jp#hunter2", "has a path"),
        ("smtp://mail.example.jp?tsl=none", "has a parameter other than"),
        ("smtp://mail.example.jp?tls=none&tls=required", "has a parameter other than"),
        ("smtp://mail.example.jp?tls=hunter2", "`tls` is neither"),
        ("smtps://mail.example.jp?tls=none", "contradict"),
        ("smtp://user@mail.example.jp", "has a user but no password"),
        ("smtp://:hunter2@mail.example.jp", "has a password but no user"),
        ("smtp://user:hunter2@mail.example.jp?tls=none", "with `tls=none` the password would cross"),
        ("smtp://user:hunter2%00@mail.example.jp", "the credentials contain a NUL"),
        ("smtp://mail.exa mple.jp", "is not a URL"),
    ] {
        let failure = SmtpServer::at(url, Timeouts::default()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration, "{url}");
        assert!(failure.message.starts_with("BATCHCTL_SMTP_URL: "), "{}", failure.message);
        assert!(failure.message.contains(problem), "{url}: {}", failure.message);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }
}

#[test]
fn ports_have_their_usual_defaults() {
    for (url, name) in [
        ("smtps://mail.example.jp", "mail.example.jp:465"),
        ("smtp://mail.example.jp", "mail.example.jp:587"),
        ("smtp://[::1]", "[::1]:587"),
        ("smtp://127.0.0.9:25", "127.0.0.9:25"),
        ("smtp://user:hunter2@localhost:25", "localhost:25"),
        ("smtp://user:hunter2@127.0.0.1?tls=none", "127.0.0.1:587"),
        ("smtp://メール.example.jp/", "xn--4dkua4c.example.jp:587"),
    ] {
        let server = SmtpServer::at(url, Timeouts::default()).unwrap();
        assert_eq!(server.name(), name);
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
