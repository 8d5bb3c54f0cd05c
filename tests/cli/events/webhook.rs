//! A webhook: what it gets, whose matter its answers are, and which addresses are refused.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use batchctl::digest::hmac_sha256;
use rustix::process::Signal;

use super::{counts, event, publish};
use crate::support::{
    Answer, Batchctl, Database, Held, Sandbox, Webhook, eventually, machine_time, on_both_databases,
};

on_both_databases![
    each_event_is_a_signed_request,
    an_event_that_is_refused_again_and_again_is_given_up_and_its_aggregate_goes_on,
    a_webhook_that_takes_nothing_for_now_costs_no_event_anything,
    a_webhook_whose_settings_are_wrong_costs_no_event_anything,
    a_webhook_that_refuses_everything_is_not_believed,
    while_refused_events_pause_nobody_is_told_that_the_webhook_has_recovered,
    events_behind_many_that_are_refused_are_reached,
    several_processes_post_each_aggregate_in_order,
    what_one_run_lets_go_is_not_overtaken_by_another,
    runs_do_not_pile_up_behind_a_slow_webhook,
    without_proof_that_the_webhook_takes_any_no_event_is_given_up,
    a_stop_is_heard_between_two_events_and_what_was_sent_is_marked,
    a_server_that_says_continue_without_end_keeps_nobody_from_stopping,
    a_stop_does_not_wait_for_an_answer_that_does_not_come,
];

const SECRET: &str = "whsec_4f1c9a7e2b";
const SETTINGS: &str = "[events]\nsink = \"webhook\"\nurl_variable = \"EVENTS_URL\"\nsecret_variable = \"EVENTS_SECRET\"\n\
                        attempts = 2\n";

fn post_to(sandbox: &Sandbox, url: &str) -> Batchctl {
    sandbox.write("batchctl.toml", SETTINGS);
    publish(sandbox).env("EVENTS_URL", url).env("EVENTS_SECRET", SECRET)
}

/// The same with more arguments.
fn post_with(sandbox: &Sandbox, url: &str, more: &[&str]) -> Batchctl {
    sandbox.write("batchctl.toml", SETTINGS);
    let publish = sandbox.batchctl(["events", "publish"].iter().chain(more));
    publish.env("EVENTS_URL", url).env("EVENTS_SECRET", SECRET)
}

/// A webhook that refuses events whose payload has the word.
fn refusing(word: &'static str, status: u16) -> Webhook {
    Webhook::checking(Box::new(move |request| {
        if request.body.contains(word) {
            let body = serde_json::json!({ "message": "we do not know this order" });
            return Err(Answer::json(status, &body));
        }
        Ok(Answer::status(200))
    }))
}

fn numbers(webhook: &Webhook) -> Vec<i64> {
    webhook.requests().iter().map(|request| request.json()["payload"]["n"].as_i64().unwrap()).collect()
}

fn each_event_is_a_signed_request(sandbox: &Sandbox) {
    let webhook = Webhook::start();
    let id = event(sandbox, "1", "{\"n\": 1, \"name\": \"하나\"}");
    post_to(sandbox, &webhook.url("/hooks/events")).run().succeeds().is_silent();
    let [request] = webhook.requests().try_into().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hooks/events"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let event_id = sandbox.scalar(&format!("SELECT event_id FROM outbox_events WHERE id = {id}"));
    assert_eq!(request.header("batchctl-event-id"), Some(event_id.as_str()));
    let envelope = request.json();
    assert_eq!((&envelope["event_id"], &envelope["payload"]["name"]), (&event_id.into(), &"하나".into()));
    let (time, mac) = request.header("batchctl-signature").unwrap().split_once(",v1=").unwrap();
    let seconds = time.strip_prefix("t=").unwrap();
    let age = machine_time().timestamp() - seconds.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age}");
    let expected = hmac_sha256(SECRET.as_bytes(), format!("{seconds}.{}", request.body).as_bytes());
    assert_eq!(mac, hex::encode(expected));
    assert_eq!(counts(sandbox), ["1", "0"]);
}

fn an_event_that_is_refused_again_and_again_is_given_up_and_its_aggregate_goes_on(sandbox: &Sandbox) {
    let webhook = refusing("poison", 422);
    let poison = event(sandbox, "1", "{\"n\": 1, \"poison\": true}");
    event(sandbox, "1", "{\"n\": 2}");
    event(sandbox, "2", "{\"n\": 3}");
    let run = |now: &str| post_to(sandbox, &webhook.url("/")).now(now).run();
    run("2026-11-20T01:00:00+09:00").succeeds();
    let mut sent = numbers(&webhook);
    sent.sort_unstable();
    assert_eq!(sent, [1, 3], "what comes after it in its aggregate waits");
    let row = format!("SELECT attempts, next_attempt_at, dead_at FROM outbox_events WHERE id = {poison}");
    assert_eq!(sandbox.sql(&row), [["1", "2026-11-19T16:01:00+00:00", "NULL"]]);
    // It is not due yet.
    run("2026-11-20T01:00:59+09:00").succeeds();
    assert_eq!(numbers(&webhook).len(), 2);
    let ran = run("2026-11-20T01:01:00+09:00").exits(3);
    ran.says(&format!("event {poison}: given up (order.paid): HTTP 422: we do not know this order"))
        .says(&sandbox.command("dev", &format!("events show {poison}")))
        .says(&sandbox.command("dev", &format!("events replay {poison}")));
    assert_eq!(numbers(&webhook)[2..], [1, 2]);
    assert_eq!(sandbox.sql(&row), [["2", "NULL", "2026-11-19T16:01:00+00:00"]]);
    // Once it is corrected.
    sandbox.execute(&format!("UPDATE outbox_events SET payload = '{{\"n\": 4}}' WHERE id = {poison}"));
    let failed = sandbox.scalar("SELECT MAX(id) FROM batch_execution");
    let retry = sandbox.batchctl(["runs", "retry", &failed]);
    retry.env("EVENTS_URL", webhook.url("/")).env("EVENTS_SECRET", SECRET).run().succeeds();
    assert_eq!(numbers(&webhook)[4..], [4]);
    assert_eq!(counts(sandbox), ["3", "0"]);
}

fn a_webhook_that_takes_nothing_for_now_costs_no_event_anything(sandbox: &Sandbox) {
    for (aggregate, number) in [("1", 1), ("1", 2), ("2", 3)] {
        event(sandbox, aggregate, &format!("{{\"n\": {number}}}"));
    }
    let before = sandbox.sql("SELECT * FROM outbox_events ORDER BY id");
    for answer in
        [Answer::status(503), Answer::status(500), Answer::status(429), Answer::status(408), Answer::Cut]
    {
        let webhook = Webhook::checking({
            let answer = answer.clone();
            Box::new(move |_| Err(answer.clone()))
        });
        let ran = post_to(sandbox, &webhook.url("/")).run().exits(75);
        ran.says("the events stay in the outbox; the next run tries again");
        assert!(webhook.requests().len() <= 2, "{answer:?}");
        assert_eq!(sandbox.sql("SELECT * FROM outbox_events ORDER BY id"), before, "{answer:?}");
    }
    post_to(sandbox, "http://127.0.0.1:1/").run().exits(75).says("the events stay in the outbox");
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events ORDER BY id"), before);
    // In the middle: what was taken is marked, and the rest waits. Events of other aggregates are posted at the same time, so
    // that they may be taken or not.
    sandbox.execute("DELETE FROM outbox_events WHERE aggregate_id = '2'");
    let webhook = Webhook::checking(Box::new(|request| {
        if request.body.contains("\"n\": 2") { Err(Answer::status(503)) } else { Ok(Answer::status(204)) }
    }));
    post_to(sandbox, &webhook.url("/")).run().exits(75).says("HTTP 503");
    assert_eq!(counts(sandbox), ["1", "1"]);
    let webhook = Webhook::start();
    post_to(sandbox, &webhook.url("/")).run().succeeds();
    assert_eq!(numbers(&webhook), [2]);
}

fn while_refused_events_pause_nobody_is_told_that_the_webhook_has_recovered(sandbox: &Sandbox) {
    let (refusing, taking, people) = (refusing("n", 422), Webhook::start(), Webhook::start());
    let run = |webhook: &Webhook, minute: &str| {
        let publish = post_with(sandbox, &webhook.url("/"), &["--verbose"]);
        let channel = "[[alerts.channel]]\nname = 'dev'\nkind = 'webhook'\nurl_variable = 'PEOPLE_URL'\n";
        sandbox.write("batchctl.toml", format!("{SETTINGS}[alerts]\ndev_channel = 'dev'\n{channel}"));
        publish.env("PEOPLE_URL", people.url("/")).now(&format!("2026-11-20T01:{minute}:00+09:00")).run()
    };
    let told = || -> Vec<(String, i64)> {
        let told = people.requests().into_iter().map(|request| request.json());
        told.map(|told| (told["kind"].as_str().unwrap().to_owned(), told["occurrences"].as_i64().unwrap()))
            .collect()
    };
    let open = || -> Vec<String> {
        let listed = sandbox.batchctl(["runs", "list", "--open", "--format", "json"]).run().succeeds().stdout;
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
        listed.iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect()
    };
    for order in 1..=5 {
        event(sandbox, &order.to_string(), "{\"n\": 1}");
    }
    run(&refusing, "00").exits(75);
    assert_eq!(told(), [("failure".to_owned(), 1)]);
    for minute in ["01", "04"] {
        run(&refusing, minute)
            .succeeds()
            .says("published 0 events; 5 events wait, the first until 2026-11-20 01:05:00 JST");
    }
    run(&refusing, "05").exits(75);
    // What is taken meanwhile says nothing about those five.
    event(sandbox, "6", "{\"n\": 1}");
    run(&taking, "06").succeeds().says("published 1 event");
    assert_eq!((told().len(), open()), (1, vec!["FAILED".to_owned(); 2]));
    run(&taking, "10").succeeds().says("published 5 events");
    assert_eq!(told(), [("failure".to_owned(), 1), ("recovery".to_owned(), 2)]);
    assert_eq!(open(), [""; 0]);
}

fn a_webhook_whose_settings_are_wrong_costs_no_event_anything(sandbox: &Sandbox) {
    event(sandbox, "1", "{\"n\": 1}");
    let before = sandbox.sql("SELECT * FROM outbox_events");
    for status in [401, 403, 407] {
        let echo = Answer::Http(status, Vec::new(), format!("no: {SECRET}"));
        let webhook = Webhook::checking(Box::new(move |_| Err(echo.clone())));
        let ran = post_to(sandbox, &webhook.url("/")).run().exits(78);
        ran.says(&format!("HTTP {status}; check EVENTS_SECRET")).never_shows(SECRET);
    }
    for status in [404, 405, 410] {
        let webhook = Webhook::checking(Box::new(move |_| Err(Answer::status(status))));
        let ran = post_to(sandbox, &webhook.url("/")).run().exits(78);
        ran.says(&format!("does not exist or accepts no POST: HTTP {status}")).says("check EVENTS_URL");
    }
    let elsewhere = Webhook::start();
    let redirect = Answer::Http(307, vec![("Location", elsewhere.url("/"))], String::new());
    let webhook = Webhook::checking(Box::new(move |_| Err(redirect.clone())));
    post_to(sandbox, &webhook.url("/"))
        .run()
        .exits(78)
        .says("answers with a redirect, which is not followed");
    assert_eq!(elsewhere.requests().len(), 0);
    for (url, code, problem) in [
        ("https://events.example.jp/hook", 77, "which is not among the hosts for the environment `dev`"),
        ("http://events.example.jp/hook", 78, "the URL is not encrypted"),
        ("events", 78, "the URL is not valid"),
    ] {
        post_to(sandbox, url).run().exits(code).says(problem);
    }
    post_to(sandbox, &webhook.url("/")).unset("EVENTS_SECRET").run().exits(78).says("EVENTS_SECRET");
    assert_eq!(sandbox.sql("SELECT * FROM outbox_events"), before);
}

/// A run that is asked to stop lets an event go that it has claimed, while another run is past it.
fn what_one_run_lets_go_is_not_overtaken_by_another(sandbox: &Sandbox) {
    // Nothing outside shows when a process has heard a signal: it may have sent its event by then, and let nothing go.
    let lets_go = (0..20).any(|_| !lets_go_while_another_is_past_it(sandbox).contains(&0));
    assert!(lets_go, "the first run stopped in time once");
}

/// What the first run has sent; what both have is checked.
fn lets_go_while_another_is_past_it(sandbox: &Sandbox) -> Vec<i64> {
    let webhook = Webhook::start();
    sandbox.execute("DELETE FROM outbox_events");
    for number in 0..250 {
        let aggregate = if number == 0 || number == 200 { "X".to_owned() } else { number.to_string() };
        event(sandbox, &aggregate, &format!("{{\"n\": {number}}}"));
    }
    let mut first = post_with(sandbox, &webhook.url("/"), &["--limit=1"]).hold_at("events-claimed");
    first.wait_until_reached();
    let mut second = post_to(sandbox, &webhook.url("/")).hold_at("events-claimed");
    second.wait_until_reached();
    first.process().signal(Signal::TERM);
    first.release().wait().exits(143);
    let by_first = numbers(&webhook);
    second.release().wait().succeeds();
    let sent = numbers(&webhook);
    assert_eq!(sent.len(), 250);
    let place = |number| sent.iter().position(|sent| *sent == number).unwrap();
    assert!(place(0) < place(200), "{} {}", place(0), place(200));
    by_first
}

fn runs_do_not_pile_up_behind_a_slow_webhook(sandbox: &Sandbox) {
    let webhook = Webhook::start();
    for number in 0..3 {
        event(sandbox, &number.to_string(), &format!("{{\"n\": {number}}}"));
    }
    // Once: nobody writes it while another process reads it.
    sandbox.write("batchctl.toml", format!("{SETTINGS}processes = 2\n"));
    let publish = |more: &[&str]| {
        let publish = sandbox.batchctl(["events", "publish"].iter().chain(more));
        publish.env("EVENTS_URL", webhook.url("/")).env("EVENTS_SECRET", SECRET)
    };
    let mut held: Vec<Held> = (0..2).map(|_| publish(&["--limit=1"]).hold_at("events-claimed")).collect();
    held.iter_mut().for_each(Held::wait_until_reached);
    publish(&["--verbose"]).run().succeeds().says("left to 2 other runs");
    assert_eq!(numbers(&webhook).len(), 0);
    for held in held {
        held.release().wait().succeeds();
    }
    publish(&[]).run().succeeds();
    assert_eq!(numbers(&webhook).len(), 3);
}

/// The only event of the night, and a proxy that refuses everything: no number of attempts says whose fault it is.
fn without_proof_that_the_webhook_takes_any_no_event_is_given_up(sandbox: &Sandbox) {
    let webhook = refusing("event_id", 400);
    let poison = event(sandbox, "1", "{\"n\": 1}");
    let row = format!("SELECT attempts, dead_at FROM outbox_events WHERE id = {poison}");
    let run =
        |now: &str| post_to(sandbox, &webhook.url("/")).now(&format!("2026-11-20T{now}:00+09:00")).run();
    run("01:00").succeeds();
    for now in ["01:01", "01:30", "02:40"] {
        run(now).exits(75).says("the sink accepted none of 1 event; last reason: HTTP 400");
        assert_eq!(sandbox.sql(&row), [["1", "NULL"]]);
    }
    // What it takes is the proof.
    let works = refusing("poison", 400);
    sandbox.execute(&format!("UPDATE outbox_events SET payload = '{{\"poison\": 1}}' WHERE id = {poison}"));
    event(sandbox, "2", "{\"n\": 2}");
    post_to(sandbox, &works.url("/")).now("2026-11-20T03:00:00+09:00").run().exits(3);
    assert_ne!(sandbox.scalar(&format!("SELECT dead_at FROM outbox_events WHERE id = {poison}")), "NULL");
}

fn a_webhook_that_refuses_everything_is_not_believed(sandbox: &Sandbox) {
    let webhook = refusing("event_id", 422);
    for number in 0..60 {
        event(sandbox, &number.to_string(), &format!("{{\"n\": {number}}}"));
    }
    let ran = post_to(sandbox, &webhook.url("/")).run().exits(75);
    ran.says("the sink accepted none of ").says("HTTP 422: we do not know this order");
    let offered = webhook.requests().len();
    assert!((20..30).contains(&offered), "after twenty nothing more is offered: {offered}");
    assert_eq!(sandbox.sql("SELECT DISTINCT attempts, dead_at FROM outbox_events"), [["0", "NULL"]]);
    let webhook = Webhook::start();
    post_to(sandbox, &webhook.url("/")).run().succeeds();
    post_to(sandbox, &webhook.url("/")).now("2026-11-20T01:05:00+09:00").run().succeeds();
    assert_eq!(counts(sandbox), ["60", "0"]);
}

fn events_behind_many_that_are_refused_are_reached(sandbox: &Sandbox) {
    let webhook = refusing("poison", 400);
    for number in 0..50 {
        event(sandbox, &format!("poison-{number}"), "{\"n\": 0}");
    }
    event(sandbox, "good", "{\"n\": 1}");
    let mut now = 0;
    while sandbox
        .scalar("SELECT COUNT(*) FROM outbox_events WHERE aggregate_id = 'good' AND published_at IS NULL")
        == "1"
    {
        assert!(now < 4, "it is reached in a few runs");
        let ran = post_to(sandbox, &webhook.url("/")).now(&format!("2026-11-20T01:0{now}:00+09:00")).run();
        assert!(matches!(ran.code, Some(0 | 75)), "{ran:?}");
        now += 1;
    }
    // What is refused while others are taken is at fault, and is given up in the end.
    for minute in 10..40 {
        event(sandbox, "good", "{\"n\": 2}");
        post_to(sandbox, &webhook.url("/")).now(&format!("2026-11-20T01:{minute}:00+09:00")).run();
    }
    assert_eq!(
        sandbox.scalar(
            "SELECT COUNT(*) FROM outbox_events WHERE aggregate_id = 'good' AND published_at IS NULL"
        ),
        "0"
    );
    let dead = "SELECT COUNT(*) FROM outbox_events WHERE dead_at IS NOT NULL AND aggregate_id LIKE 'poison%'";
    assert_eq!(sandbox.scalar(dead), "50");
}

fn several_processes_post_each_aggregate_in_order(sandbox: &Sandbox) {
    let webhook = Webhook::start();
    let per_aggregate = if sandbox.database() == Database::Sqlite { 20 } else { 30 };
    for number in 0..per_aggregate {
        for aggregate in 0..10 {
            event(sandbox, &aggregate.to_string(), &format!("{{\"n\": {number}}}"));
        }
    }
    // All of them before the first one reads the settings, which each of these writes.
    let commands: Vec<_> = (0..3).map(|_| post_to(sandbox, &webhook.url("/"))).collect();
    let running: Vec<_> = commands.into_iter().map(Batchctl::spawn).collect();
    for running in running {
        running.wait().succeeds();
    }
    post_to(sandbox, &webhook.url("/")).run().succeeds();
    let log: Vec<serde_json::Value> = webhook.requests().iter().map(|request| request.json()).collect();
    assert_eq!(log.len(), 10 * per_aggregate);
    let numbers: Vec<i64> = (0..i64::try_from(per_aggregate).unwrap()).collect();
    assert!(super::by_aggregate(&log).values().all(|found| *found == numbers));
}

/// The port of a server that sends interim responses and never a last one, on each connection.
fn endless_continue() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // An answer to nothing breaks the connection.
                let Ok(1..) = stream.read(&mut [0; 1]) else { return };
                let block = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(4000);
                while stream.write_all(&block).is_ok() {}
            });
        }
    });
    port
}

fn a_server_that_says_continue_without_end_keeps_nobody_from_stopping(sandbox: &Sandbox) {
    let url = format!("http://127.0.0.1:{}/", endless_continue());
    for aggregate in 1..=8 {
        event(sandbox, &aggregate.to_string(), "{\"n\": 1}");
    }
    let began = Instant::now();
    post_with(sandbox, &url, &["--timeout", "2s"]).run().exits(124);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    let mut running = post_with(sandbox, &url, &["--grace", "1s"]).env("BATCHCTL_LEASE_SECONDS", "2").spawn();
    let beat = "SELECT heartbeat_at FROM batch_execution WHERE id = 2";
    eventually(|| !sandbox.sql(beat).is_empty(), "it runs");
    let first = sandbox.scalar(beat);
    eventually(|| sandbox.scalar(beat) != first, "its heart beats");
    let began = Instant::now();
    running.signal(Signal::TERM);
    running.wait().exits(143);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM outbox_events WHERE attempts > 0"), "0");
}

fn a_stop_does_not_wait_for_an_answer_that_does_not_come(sandbox: &Sandbox) {
    let webhook = Webhook::checking(Box::new(|request| {
        Ok(if request.body.contains("silence") { Answer::Silence } else { Answer::status(200) })
    }));
    event(sandbox, "silent", "{\"n\": 0, \"is\": \"silence\"}");
    for number in 1..=5 {
        event(sandbox, &number.to_string(), &format!("{{\"n\": {number}}}"));
    }
    let mut running = post_to(sandbox, &webhook.url("/")).spawn();
    eventually(|| webhook.requests().len() == 6, "all are sent");
    running.signal(Signal::TERM);
    running.wait().exits(143);
    assert_eq!(counts(sandbox), ["5", "1"]);
}

fn a_stop_is_heard_between_two_events_and_what_was_sent_is_marked(sandbox: &Sandbox) {
    let webhook = Webhook::checking(Box::new(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(Answer::status(200))
    }));
    let series = sandbox.series(90);
    sandbox.execute(&format!(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload)
         SELECT 'order', CAST(n % 3 AS TEXT), 'order.paid', '{{\"n\": ' || n || '}}' FROM {series}"
    ));
    let mut running = post_to(sandbox, &webhook.url("/")).spawn();
    eventually(|| webhook.requests().len() > 10, "it posts");
    running.signal(Signal::TERM);
    running.wait().exits(143);
    let sent = webhook.requests().len();
    assert!(sent < 90, "{sent}");
    assert_eq!(counts(sandbox), [sent.to_string(), (90 - sent).to_string()], "and the others are free");
    post_to(sandbox, &webhook.url("/")).run().succeeds();
    assert_eq!(webhook.requests().len(), 90, "none is sent twice");
}
