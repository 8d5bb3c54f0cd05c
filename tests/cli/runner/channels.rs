//! Alert channels other than Slack: Teams, LINE WORKS, Chatwork, Google Chat and mail, against servers that refuse what those services refuse.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{NIGHTLY, TradingShop, runs};
use crate::support::line_works::{self, PRIVATE_KEY};
use crate::support::{
    Answer, Arranged, Batchctl, Database, Sandbox, Webhook, chatwork, google_chat, on_both_databases,
    sendgrid, ses, teams,
};

on_both_databases![
    a_failure_is_posted_to_teams_with_a_mention,
    a_long_message_to_teams_is_several_cards_a_second_apart,
    after_a_fault_in_the_middle_only_the_rest_is_sent_again,
    an_alert_that_a_wrong_clock_has_put_off_is_sent,
    a_failure_is_posted_to_a_line_works_room_with_a_mention,
    a_long_message_to_line_works_is_several_texts,
    a_failure_is_posted_to_a_chatwork_room_with_a_mention,
    a_failure_is_posted_to_a_google_chat_space_with_a_mention,
    a_mail_goes_to_each_recipient_and_after_a_fault_only_to_the_rest,
    recipients_who_change_between_two_attempts_each_get_an_alert_once,
];

const TEAMS: &str = r#"
[[alerts.channel]]
name = "ops"
kind = "teams"
url_variable = "TEAMS_URL"
mention = "Kim <kim@example.com>"
"#;

const LINE_WORKS: &str = r#"
[[alerts.channel]]
name = "ops"
kind = "line_works"
client_id_variable = "WORKS_ID"
client_secret_variable = "WORKS_SECRET"
service_account = "abcde.serviceaccount@example"
private_key_variable = "WORKS_KEY"
bot_id = "2000001"
channel_id = "room/1"
mention = "all"
"#;

const CHATWORK: &str = r#"
[[alerts.channel]]
name = "ops"
kind = "chatwork"
token_variable = "CHATWORK_TOKEN"
room_id = "123456"
mention = "998877"
"#;

const GOOGLE_CHAT: &str = r#"
[[alerts.channel]]
name = "ops"
kind = "google_chat"
url_variable = "CHAT_URL"
mention = "all"
"#;

const MAIL: &str = r#"
[[alerts.channel]]
name = "ops"
kind = "mail"
to = ["ops@example.jp", "Night Shift <night@example.jp>"]
"#;

/// All alerts go to the channel `ops`, which mentions somebody.
fn configure(sandbox: &Sandbox, channel: &str) {
    let routes = "[alerts]\ndev_channel = \"ops\"\n[alerts.routes]\nhigh = [\"ops\"]\n";
    let severity = "[jobs.\"report daily-sales\"]\nseverity = \"high\"\n";
    sandbox.write("batchctl.toml", format!("{routes}{severity}{channel}"));
}

/// With the endpoints of a local LINE WORKS.
fn line_works_at(server: &Webhook) -> String {
    let url = server.url("");
    format!("{LINE_WORKS}auth_endpoint = \"{url}\"\napi_endpoint = \"{url}\"\n")
}

fn with_works_secrets(command: Batchctl) -> Batchctl {
    command
        .env("WORKS_ID", line_works::CLIENT_ID)
        .env("WORKS_SECRET", line_works::CLIENT_SECRET)
        .env("WORKS_KEY", PRIVATE_KEY)
}

/// A nightly report that fails.
fn failing(shop: &TradingShop) -> Batchctl {
    shop.only_mars();
    shop.batchctl(NIGHTLY)
}

/// A command that only sends what is due.
fn sending(sandbox: &Sandbox) -> Batchctl {
    sandbox.execute("UPDATE batch_alert SET next_attempt_at = created_at WHERE delivered_at IS NULL");
    sandbox.batchctl(["runs", "purge"])
}

/// Alerts that are not delivered: the number of attempts of each, and why not.
fn kept(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql("SELECT attempts, last_error FROM batch_alert WHERE delivered_at IS NULL ORDER BY id")
}

const NONE: Vec<Vec<String>> = Vec::new();

/// Stores an alert whose error has these lines, like a command that could not send it.
fn insert_alert(sandbox: &Sandbox, error: &str) {
    let message = json!({
        "kind": "failure", "title": "a job FAILED (dev)", "job": "a job", "instance": "", "run": 7,
        "status": "FAILED", "severity": "high", "environment": "dev", "host": "batch-1", "error": error,
        "occurrences": 1, "commands": ["batchctl --env dev runs show 7"], "at": "2026-11-20T00:00:00Z",
    });
    let at = "2026-11-20T00:00:00+00:00";
    sandbox.execute(&format!(
        "INSERT INTO batch_alert (incident_id, channel, message, created_at, attempts, next_attempt_at)
         VALUES (1, 'ops', '{message}', '{at}', 0, '{at}')"
    ));
}

/// This many lines of this many characters, all different.
fn long_error(lines: usize, length: usize) -> String {
    let line = |number: usize| format!("{number:04} {}", "長".repeat(length - 5));
    (1..=lines).map(line).collect::<Vec<_>>().join("\n")
}

fn a_failure_is_posted_to_teams_with_a_mention(shop: &TradingShop) {
    let teams = teams::start();
    configure(shop, TEAMS);
    failing(shop).env("TEAMS_URL", teams.url(teams::PATH)).run().exits(1);
    let host = shop.scalar("SELECT host FROM batch_execution");
    let [request] = teams.requests().try_into().unwrap();
    assert_eq!(
        teams::texts(&request),
        [
            "report daily-sales 2026-11-19 FAILED (dev)".to_owned(),
            "<at>Kim</at>".to_owned(),
            "1 of 1 items failed".to_owned(),
            "mars: mall `mars` has the time zone `Mars/Base`, which does not exist".to_owned(),
            "nothing was changed".to_owned(),
            format!("hint: {}", shop.command("dev", "mall add mars --time-zone ZONE")),
            format!("run 1 on {host}, severity high"),
            shop.command("dev", "runs show 1"),
            shop.command("dev", "runs retry 1"),
        ]
    );
    let entity = &request.json()["attachments"][0]["content"]["msteams"]["entities"][0];
    assert_eq!(entity["mentioned"], json!({ "id": "kim@example.com", "name": "Kim" }));
    assert_eq!(
        (kept(shop), runs(shop)),
        (NONE, vec![["2026-11-19", "1", "FAILED", "1"].map(str::to_owned).to_vec()])
    );
}

fn a_long_message_to_teams_is_several_cards_a_second_apart(sandbox: &Sandbox) {
    let teams = teams::start();
    configure(sandbox, TEAMS);
    let error = long_error(150, 100);
    insert_alert(sandbox, &error);
    sending(sandbox).env("TEAMS_URL", teams.url(teams::PATH)).run().succeeds().is_silent();
    let requests = teams.requests();
    assert!(requests.len() > 2, "{}", requests.len());
    let mut lines = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let mut texts = teams::texts(request);
        assert_eq!(texts.remove(0), format!("a job FAILED (dev) ({}/{})", index + 1, requests.len()));
        lines.extend(texts);
        assert!(request.body.len() <= 21 * 1024, "{}", request.body.len());
    }
    assert_eq!(lines.remove(0), "<at>Kim</at>", "called once");
    assert_eq!(lines[..150].join("\n"), error);
    for pair in requests.windows(2) {
        // A second between sends, minus the time that the first took to arrive.
        let gap = pair[1].arrived - pair[0].arrived;
        assert!(gap >= Duration::from_millis(500), "{gap:?}");
    }
    assert_eq!(kept(sandbox), NONE);
}

fn after_a_fault_in_the_middle_only_the_rest_is_sent_again(sandbox: &Sandbox) {
    let teams = teams::start();
    teams.answer(Answer::status(202));
    teams.answer(Answer::Http(500, Vec::new(), "busy".to_owned()));
    configure(sandbox, TEAMS);
    insert_alert(sandbox, &long_error(150, 100));
    sending(sandbox).env("TEAMS_URL", teams.url(teams::PATH)).run().succeeds();
    assert_eq!(teams.requests().len(), 2, "messages after a fault wait for their turn");
    assert_eq!(kept(sandbox), [["1", "HTTP 500: busy"]]);

    sending(sandbox).env("TEAMS_URL", teams.url(teams::PATH)).run().succeeds();
    let titles: Vec<String> =
        teams.requests().iter().map(|request| teams::texts(request).remove(0)).collect();
    let numbers: Vec<&str> = titles.iter().map(|title| title.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(numbers[..4], ["(1/4)", "(2/4)", "(2/4)", "(3/4)"], "{titles:?}");
    assert_eq!((numbers.len(), kept(sandbox)), (5, NONE));
}

/// No pause is that long: whoever wrote the time had a clock that has been set back since.
fn an_alert_that_a_wrong_clock_has_put_off_is_sent(sandbox: &Sandbox) {
    let teams = teams::start();
    configure(sandbox, TEAMS);
    insert_alert(sandbox, "broken");
    sandbox.execute("UPDATE batch_alert SET next_attempt_at = '2126-01-01T00:00:00+00:00'");
    for _ in 0..2 {
        let purge = sandbox.batchctl(["runs", "purge"]).env("TEAMS_URL", teams.url(teams::PATH));
        purge.run().succeeds();
    }
    assert_eq!((teams.requests().len(), kept(sandbox)), (1, NONE));
}

#[test]
fn a_refusal_of_the_workflow_keeps_the_alert() {
    let sandbox = Sandbox::new();
    let teams = teams::start();
    configure(&sandbox, TEAMS);
    insert_alert(&sandbox, "broken");
    let url = teams.url("/workflows/0f0e0d0c?sig=canary-old-signature");
    sending(&sandbox).env("TEAMS_URL", url).run().succeeds();
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(
        row[1].starts_with("HTTP 401: ") && row[1].contains("DirectApiAuthorizationRequired"),
        "{}",
        row[1]
    );
    assert!(!sandbox.dump().contains("canary"));
}

/// A server may repeat the signature of the URL in a form that no redaction knows.
#[test]
fn what_a_refused_log_in_says_is_not_quoted() {
    let (_, signature) = teams::PATH.rsplit_once('=').unwrap();
    let backwards: String = signature.chars().rev().collect();
    for (status, body) in [
        (401, json!({ "error": { "code": backwards, "message": format!("no {backwards}") } }).to_string()),
        (403, format!("<html>{backwards}</html>")),
    ] {
        let sandbox = Sandbox::new();
        let teams = teams::start();
        configure(&sandbox, TEAMS);
        insert_alert(&sandbox, "broken");
        teams.answer(Answer::Http(status, Vec::new(), body));
        sending(&sandbox).env("TEAMS_URL", teams.url(teams::PATH)).run().never_shows(&backwards);
        let [row] = kept(&sandbox).try_into().unwrap();
        assert_eq!(row[1], format!("HTTP {status}: the log-in was refused"));
        assert!(!sandbox.dump().contains(&backwards));
    }
}

#[test]
fn a_connector_that_microsoft_has_retired_is_named_and_not_called() {
    let sandbox = Sandbox::new();
    configure(&sandbox, TEAMS);
    insert_alert(&sandbox, "broken");
    let url = "https://contoso.webhook.office.com/webhookb2/canary-canary";
    sending(&sandbox).env("TEAMS_URL", url).run().succeeds().never_shows("canary");
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].contains("webhook.office.com") && row[1].contains("has retired"), "{}", row[1]);
    sandbox
        .batchctl(["config", "check"])
        .env("TEAMS_URL", url)
        .run()
        .exits(78)
        .prints("TEAMS_URL is the URL of an Office 365 connector, which Microsoft has retired")
        .never_shows("canary");
}

fn a_failure_is_posted_to_a_line_works_room_with_a_mention(shop: &TradingShop) {
    let works = line_works::start();
    configure(shop, &line_works_at(&works));
    with_works_secrets(failing(shop)).run().exits(1);
    let host = shop.scalar("SELECT host FROM batch_execution");
    let text = format!(
        "<m userId=\"all\"> report daily-sales 2026-11-19 FAILED (dev)\n1 of 1 items failed\nmars: mall `mars` has the time \
         zone `Mars/Base`, which does not exist\nnothing was changed\n\
         hint: {}\nrun 1 on {host}, severity high\n{}\n{}",
        shop.command("dev", "mall add mars --time-zone ZONE"),
        shop.command("dev", "runs show 1"),
        shop.command("dev", "runs retry 1")
    );
    assert_eq!(line_works::messages(&works), [("channels/room%2F1/messages".to_owned(), text)]);
    assert_eq!((line_works::tokens_asked(&works), kept(shop)), (1, NONE));
    assert!(!shop.dump().contains("canary"));
}

fn a_long_message_to_line_works_is_several_texts(sandbox: &Sandbox) {
    let works = line_works::start();
    configure(
        sandbox,
        &line_works_at(&works).replace("channel_id = \"room/1\"", "user_id = \"kim@example.com\""),
    );
    let error = long_error(40, 100);
    insert_alert(sandbox, &error);
    with_works_secrets(sending(sandbox)).run().succeeds().is_silent();
    let messages = line_works::messages(&works);
    let mut lines = Vec::new();
    for (index, (reader, text)) in messages.iter().enumerate() {
        assert_eq!(reader, "users/kim@example.com/messages");
        let (title, rest) = text.split_once('\n').unwrap();
        assert_eq!(title, format!("a job FAILED (dev) ({}/{})", index + 1, messages.len()));
        lines.extend(rest.lines().map(str::to_owned));
    }
    assert!(messages.len() > 2);
    assert_eq!(lines[..40].join("\n"), error);
    assert_eq!((line_works::tokens_asked(&works), kept(sandbox)), (1, NONE), "one token for all");
}

#[test]
fn a_refused_token_is_requested_once_more() {
    let sandbox = Sandbox::new();
    let works = line_works::start();
    configure(&sandbox, &line_works_at(&works));
    insert_alert(&sandbox, "broken");
    let token = json!({ "access_token": "canary-revoked", "token_type": "Bearer", "expires_in": 86400 });
    works.answer(Answer::json(200, &token));
    with_works_secrets(sending(&sandbox)).run().succeeds();
    assert_eq!((line_works::tokens_asked(&works), kept(&sandbox)), (2, NONE));

    // If it is refused again, a person has to look; the job does not ask endlessly.
    insert_alert(&sandbox, "broken");
    works.answer(Answer::json(200, &token));
    works.answer(Answer::json(200, &token));
    with_works_secrets(sending(&sandbox)).run().succeeds();
    assert_eq!(line_works::tokens_asked(&works), 4);
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].contains("HTTP 401: ") && row[1].contains("UNAUTHORIZED"), "{}", row[1]);
    assert!(!sandbox.dump().contains("canary"));
}

#[test]
fn line_works_is_called_again_when_it_says() {
    let sandbox = Sandbox::new();
    let works = line_works::start();
    configure(&sandbox, &line_works_at(&works));
    insert_alert(&sandbox, "broken");
    let token = json!({ "access_token": "canary-token-1", "token_type": "Bearer", "expires_in": "86400" });
    works.answer(Answer::json(200, &token));
    works.answer(Answer::Http(
        429,
        vec![("ratelimit-reset", "1800".to_owned())],
        json!({ "code": "TOO_MANY_REQUESTS", "description": "API rate limit exceeded" }).to_string(),
    ));
    let before = parsed(&sent_at(&sandbox));
    let pause = (parsed(&sandbox.scalar("SELECT next_attempt_at FROM batch_alert")) - before).num_seconds();
    assert!((1795..1860).contains(&pause), "{pause}");
}

/// Sends what is due, and returns the machine's time of sending.
fn sent_at(sandbox: &Sandbox) -> String {
    with_works_secrets(sending(sandbox)).run().succeeds();
    sandbox.scalar("SELECT MAX(heartbeat_at) FROM batch_execution")
}

fn parsed(instant: &str) -> chrono::DateTime<chrono::FixedOffset> {
    chrono::DateTime::parse_from_rfc3339(instant).unwrap()
}

#[test]
fn a_wrong_key_gets_no_token_and_is_not_shown() {
    let sandbox = Sandbox::new();
    let works = line_works::start();
    configure(&sandbox, &line_works_at(&works));
    insert_alert(&sandbox, "broken");
    with_works_secrets(sending(&sandbox)).env("WORKS_SECRET", "canary-wrong").run().succeeds();
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].starts_with("no token: HTTP 400: ") && row[1].contains("invalid_client"), "{}", row[1]);

    with_works_secrets(sending(&sandbox))
        .env("WORKS_KEY", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----")
        .run()
        .succeeds();
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].starts_with("the private key is not an RS256 key in PEM: "), "{}", row[1]);

    // The same key in a file, or on one line with escaped line breaks.
    sandbox.write("keys/works.pem", PRIVATE_KEY);
    with_works_secrets(sending(&sandbox)).env("WORKS_KEY", "keys/works.pem").run().succeeds();
    assert_eq!(kept(&sandbox), NONE);
    insert_alert(&sandbox, "broken");
    let one_line = PRIVATE_KEY.replace('\n', "\\n");
    with_works_secrets(sending(&sandbox)).env("WORKS_KEY", one_line).run().succeeds();
    assert_eq!(kept(&sandbox), NONE);
    assert!(!sandbox.dump().contains("canary"));
}

fn a_failure_is_posted_to_a_chatwork_room_with_a_mention(shop: &TradingShop) {
    let server = chatwork::start();
    configure(shop, &format!("{CHATWORK}api_endpoint = \"{}\"\n", server.url("")));
    failing(shop).env("CHATWORK_TOKEN", chatwork::TOKEN).run().exits(1);
    let host = shop.scalar("SELECT host FROM batch_execution");
    let text = format!(
        "[To:998877]\n[info][title]report daily-sales 2026-11-19 FAILED (dev)[/title]1 of 1 items failed\nmars: mall `mars` \
         has the time zone `Mars/Base`, which does not exist\nnothing was changed\nhint: {}\nrun 1 on {host}, severity high\n\
         {}\n{}[/info]",
        shop.command("dev", "mall add mars --time-zone ZONE"),
        shop.command("dev", "runs show 1"),
        shop.command("dev", "runs retry 1")
    );
    assert_eq!(chatwork::texts(&server), [text]);
    assert_eq!(kept(shop), NONE);
    assert!(!shop.dump().contains("canary"));

    // A long one is several.
    insert_alert(shop, &long_error(200, 100));
    sending(shop).env("CHATWORK_TOKEN", chatwork::TOKEN).run().succeeds();
    let texts = chatwork::texts(&server);
    assert!(texts.len() > 2 && texts[1].contains("FAILED (dev) (1/2)[/title]0001 長"), "{}", texts[1]);
    assert_eq!(kept(shop), NONE);
}

#[test]
fn chatwork_is_called_again_when_it_says_and_its_refusals_are_told() {
    let sandbox = Sandbox::new();
    let server = chatwork::start();
    configure(&sandbox, &format!("{CHATWORK}api_endpoint = \"{}\"\n", server.url("")));
    insert_alert(&sandbox, "broken");
    let send = |token: &str| sending(&sandbox).env("CHATWORK_TOKEN", token).run().succeeds();
    let headers = vec![
        ("Date", "Fri, 20 Nov 2026 00:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795132980".to_owned()),
    ];
    server.answer(Answer::Http(429, headers, json!({ "errors": ["Rate limit exceeded"] }).to_string()));
    send(chatwork::TOKEN);
    let pause = |name: &str| parsed(&sandbox.scalar(&format!("SELECT MAX({name}) FROM batch_alert")));
    let before = parsed(&sandbox.scalar("SELECT MAX(heartbeat_at) FROM batch_execution"));
    let wait = (pause("next_attempt_at") - before).num_seconds();
    assert!((175..240).contains(&wait), "{wait}");
    // A proxy's page is no delivery.
    server.answer(Answer::Http(200, Vec::new(), "<html>log in</html>".to_owned()));
    send(chatwork::TOKEN);
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].contains("the answer did not come from Chatwork: "), "{}", row[1]);
    send("canary-wrong").never_shows("canary");
    let [row] = kept(&sandbox).try_into().unwrap();
    assert_eq!(row[1], "HTTP 401: the log-in was refused");
    server.answer(chatwork::error(403, "You don't have permission to send messages in this room"));
    send(chatwork::TOKEN);
    let [row] = kept(&sandbox).try_into().unwrap();
    assert_eq!(row[1], "HTTP 403: the log-in was refused");
    send(chatwork::TOKEN);
    assert_eq!(kept(&sandbox), NONE);
}

fn a_failure_is_posted_to_a_google_chat_space_with_a_mention(shop: &TradingShop) {
    let chat = google_chat::start();
    configure(shop, GOOGLE_CHAT);
    failing(shop).env("CHAT_URL", chat.url(google_chat::PATH)).run().exits(1);
    let host = shop.scalar("SELECT host FROM batch_execution");
    let text = format!(
        "<users/all> *report daily-sales 2026-11-19 FAILED (dev)*\n```\n1 of 1 items failed\nmars: mall `mars` has the time \
         zone `Mars/Base`, which does not exist\nnothing was changed\nhint: {}\nrun 1 on {host}, severity high\n{}\n{}\n```",
        shop.command("dev", "mall add mars --time-zone ZONE"),
        shop.command("dev", "runs show 1"),
        shop.command("dev", "runs retry 1")
    );
    let [(told, _)] = google_chat::texts(&chat).try_into().unwrap();
    assert_eq!(told, text);
    assert_eq!(kept(shop), NONE);
    assert!(!shop.dump().contains("canary"));

    // A long one is several, in one thread.
    insert_alert(shop, &long_error(200, 100));
    sending(shop).env("CHAT_URL", chat.url(google_chat::PATH)).run().succeeds();
    let texts = google_chat::texts(&chat);
    assert!(texts.len() > 3 && texts[1].0.contains("FAILED (dev) (1/3)*\n```\n0001 長"), "{texts:?}");
    assert!(texts[2..].iter().all(|(_, thread)| *thread == texts[1].1), "{texts:?}");
    let requests = chat.requests();
    for pair in requests[1..].windows(2) {
        // More than a second between sends, minus the time that the first took to arrive.
        let gap = pair[1].arrived - pair[0].arrived;
        assert!(gap >= Duration::from_millis(600), "{gap:?}");
    }
    assert_eq!(kept(shop), NONE);
}

#[test]
fn a_google_chat_that_refuses_is_told_and_a_url_that_was_copied_wrongly_is_named() {
    let sandbox = Sandbox::new();
    let chat = google_chat::start();
    configure(&sandbox, GOOGLE_CHAT);
    insert_alert(&sandbox, "broken");
    let url = chat.url(google_chat::PATH);
    let send = |url: &str| sending(&sandbox).env("CHAT_URL", url).run().succeeds().never_shows("canary");
    chat.answer(google_chat::error(
        429,
        "RESOURCE_EXHAUSTED",
        "Resource has been exhausted (e.g. check quota).",
    ));
    send(&url);
    let [row] = kept(&sandbox).try_into().unwrap();
    assert!(row[1].starts_with("HTTP 429: Resource has been exhausted"), "{}", row[1]);
    send(&url.replace("canary-token", "canary-old"));
    let [row] = kept(&sandbox).try_into().unwrap();
    assert_eq!(row[1], "HTTP 403: the log-in was refused");
    let wrong = url.replace('&', "&amp;");
    send(&wrong);
    let [row] = kept(&sandbox).try_into().unwrap();
    assert_eq!(row[1], "the URL contains `&amp;`: it was copied from HTML; write `&`");
    sandbox
        .batchctl(["config", "check"])
        .env("CHAT_URL", &wrong)
        .run()
        .exits(78)
        .prints("CHAT_URL, for alerts.channel `ops`, contains `&amp;`: it was copied from HTML; write `&`")
        .never_shows("canary");
    send(&url);
    assert_eq!(kept(&sandbox), NONE);
}

#[test]
fn a_channel_can_be_tried_before_the_first_alert_needs_it() {
    let sandbox = Sandbox::new();
    let (chat, room) = (google_chat::start(), chatwork::start());
    let room_url = room.url("");
    let finance = format!(
        "[[alerts.channel]]\nname = \"finance\"\nkind = \"chatwork\"\ntoken_variable = \"CHATWORK_TOKEN\"\n\
         room_id = \"123456\"\napi_endpoint = \"{room_url}\"\n"
    );
    let file = format!("[alerts.routes]\nhigh = [\"ops\"]\ncritical = [\"ops\"]\n{GOOGLE_CHAT}{finance}");
    sandbox.write("batchctl.toml", &file);
    sandbox.execute("UPDATE batch_environment SET name = 'prod'");
    let test = |arguments: &[&str]| {
        let line = ["--env", "prod", "alerts", "test"].iter().chain(arguments).copied();
        sandbox
            .batchctl(line)
            .real_clock()
            .env("CHAT_URL", chat.url(google_chat::PATH))
            .env("CHATWORK_TOKEN", chatwork::TOKEN)
    };
    let ran = test(&[]).run().succeeds();
    assert_eq!(ran.stdout, "ops (google_chat): delivered\nfinance (chatwork): delivered\n");
    let [(told, _)] = google_chat::texts(&chat).try_into().unwrap();
    assert_eq!(
        told,
        "*Test of the alert channel ˋopsˋ (prod)*\n```\nbatchctl alerts test: nothing is wrong\n\
         in prod `ops` gets alerts of severity high, critical\n```"
    );
    let [told] = chatwork::texts(&room).try_into().unwrap();
    assert!(told.contains("no severity is routed to `finance`: in prod it gets no alerts"), "{told}");
    test(&["ops", "--mention"]).run().succeeds();
    assert!(google_chat::texts(&chat)[1].0.starts_with("<users/all> *Test"));

    // One that cannot be reached does not keep the others from being tried.
    let ran = test(&[])
        .env("CHAT_URL", chat.url("/v1/spaces/AAA/messages?key=canary-key&token=canary-old"))
        .run()
        .exits(1);
    ran.says("1 of 2 channels failed: failed to post to `ops`: HTTP 403")
        .prints("finance (chatwork): delivered");
    test(&["opps"]).run().exits(2).says("there is no alert channel `opps`: did you mean `ops`?");
    test(&["ops"]).unset("CHAT_URL").run().exits(78).says("CHAT_URL");
    sandbox.write("batchctl.toml", "");
    test(&[]).run().exits(78).says("no alert channel is configured");

    // Elsewhere all go to the dev channel, and without one nothing is said to have worked.
    sandbox.execute("UPDATE batch_environment SET name = 'dev'");
    sandbox.write("batchctl.toml", &file);
    let dev = || sandbox.batchctl(["alerts", "test", "finance"]).env("CHAT_URL", chat.url(google_chat::PATH));
    dev()
        .run()
        .exits(78)
        .says("in `dev` alerts go to `alerts.dev_channel` only, which is not set: nothing was posted");
    sandbox.write("batchctl.toml", format!("[alerts]\ndev_channel = \"ops\"\n{file}"));
    dev().run().succeeds().prints("finance (chatwork): delivered to the dev channel `ops`");
}

/// The `.eml` files of the folder, by name.
fn mails(sandbox: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path("mail")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn an_alert_by_mail_is_readable_on_a_phone_and_gets_no_automatic_replies() {
    let shop = TradingShop::on(Database::Sqlite);
    configure(&shop, MAIL);
    failing(&shop)
        .env("BATCHCTL_MAIL_FROM", "Batch <batch@example.jp>")
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .run()
        .exits(1);
    let mails = mails(&shop);
    assert_eq!(mails.len(), 2);
    for intended in ["ops@example.jp", "night@example.jp"] {
        let intended_for = |mail: &&String| mail.contains(&format!("X-Original-To: {intended}\r\n"));
        let (head, body) = mails.iter().find(intended_for).unwrap().split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        for line in [
            "From: Batch <batch@example.jp>",
            "To: developer@example.jp",
            &format!("Subject: [to {intended}] report daily-sales 2026-11-19 FAILED (dev)"),
            "Auto-Submitted: auto-generated",
            "X-Auto-Response-Suppress: All",
            "Importance: high",
        ] {
            assert!(head.lines().any(|known| known == line), "no `{line}` in {head}");
        }
        assert!(!head.contains("multipart"), "one text part: {head}");
        let beginning = "report daily-sales 2026-11-19 FAILED (dev)\r\n\r\n1 of 1 items failed\r\n";
        assert!(body.starts_with(beginning), "{body}");
        assert!(body.contains(&shop.command("dev", "runs retry 1")), "{body}");
    }
    assert_eq!(kept(&shop), NONE);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM mails"), "0", "not through the queue");
}

#[test]
fn without_a_test_address_no_alert_leaves_a_developers_machine() {
    let shop = TradingShop::on(Database::Sqlite);
    configure(&shop, MAIL);
    failing(&shop).env("BATCHCTL_MAIL_FROM", "batch@example.jp").run().exits(1);
    let [row] = kept(&shop).try_into().unwrap();
    assert!(row[1].starts_with("BATCHCTL_MAIL_REDIRECT_TO is not set"), "{}", row[1]);
    assert!(!shop.path("mail").exists() || mails(&shop).is_empty());
    shop.batchctl(["config", "check"])
        .run()
        .exits(78)
        .prints("variable `BATCHCTL_MAIL_FROM` is not set: alerts.channel `ops` needs it")
        .prints("variable `BATCHCTL_MAIL_REDIRECT_TO` is not set: alerts.channel `ops` needs it");
}

fn a_mail_goes_to_each_recipient_and_after_a_fault_only_to_the_rest(sandbox: &Sandbox) {
    let server = sendgrid::start();
    let transport =
        format!("[mail]\ntransport = \"sendgrid\"\n[mail.sendgrid]\nendpoint = \"{}\"\n", server.url(""));
    configure(sandbox, &format!("{transport}{MAIL}"));
    sandbox.execute("UPDATE batch_environment SET name = 'prod'");
    insert_alert(sandbox, "broken");
    server.answer(sendgrid::error(
        400,
        "Does not contain a valid address.",
        Some("personalizations.0.to.0.email"),
    ));
    let send = || {
        sandbox.execute("UPDATE batch_alert SET next_attempt_at = created_at WHERE delivered_at IS NULL");
        let command = sandbox.batchctl(["--env", "prod", "runs", "purge"]).real_clock();
        command
            .env("BATCHCTL_MAIL_FROM", "batch@example.jp")
            .env("SENDGRID_API_KEY", sendgrid::API_KEY)
            .run()
            .succeeds()
            .is_silent();
    };
    send();
    let recipients = || -> Vec<String> {
        let email = |to: &serde_json::Value| to["email"].as_str().unwrap().to_owned();
        server
            .requests()
            .iter()
            .map(|request| email(&request.json()["personalizations"][0]["to"][0]))
            .collect()
    };
    assert_eq!(recipients(), ["ops@example.jp", "night@example.jp"], "one bad address leaves the others");
    let [row] = kept(sandbox).try_into().unwrap();
    assert!(row[1].contains("Does not contain a valid address"), "{}", row[1]);
    send();
    assert_eq!(recipients()[2..], ["ops@example.jp"]);
    let id = |number: usize| server.requests()[number].json()["headers"]["Message-ID"].clone();
    assert_eq!(id(0), id(2), "the same mail");
    assert_eq!(kept(sandbox), NONE);
}

fn recipients_who_change_between_two_attempts_each_get_an_alert_once(sandbox: &Sandbox) {
    let server = sendgrid::start();
    let transport =
        format!("[mail]\ntransport = \"sendgrid\"\n[mail.sendgrid]\nendpoint = \"{}\"\n", server.url(""));
    let configure_recipients = |to: &str| {
        let channel = format!("[[alerts.channel]]\nname = \"ops\"\nkind = \"mail\"\nto = {to}\n");
        configure(sandbox, &format!("{transport}{channel}"));
    };
    sandbox.execute("UPDATE batch_environment SET name = 'prod'");
    insert_alert(sandbox, "broken");
    let send = || {
        sandbox.execute("UPDATE batch_alert SET next_attempt_at = created_at WHERE delivered_at IS NULL");
        let command = sandbox.batchctl(["--env", "prod", "runs", "purge"]).real_clock();
        let command = command.env("BATCHCTL_MAIL_FROM", "batch@example.jp");
        command.env("SENDGRID_API_KEY", sendgrid::API_KEY).run().succeeds();
    };
    configure_recipients(r#"["ops@example.jp", "night@example.jp"]"#);
    server.answer(sendgrid::error(
        400,
        "Does not contain a valid address.",
        Some("personalizations.0.to.0.email"),
    ));
    send();
    configure_recipients(r#"["Night <Night@example.jp>", "new@example.jp"]"#);
    send();
    let email = |request: &serde_json::Value| {
        request["personalizations"][0]["to"][0]["email"].as_str().unwrap().to_owned()
    };
    let asked: Vec<String> = server.requests().iter().map(|request| email(&request.json())).collect();
    assert_eq!(asked, ["ops@example.jp", "night@example.jp", "new@example.jp"]);
    assert_eq!(kept(sandbox), NONE);
}

#[test]
fn an_alert_is_sent_by_amazon_ses_if_mails_are() {
    let sandbox = Sandbox::new();
    let server = ses::start();
    let transport = format!(
        "[mail]\ntransport = \"ses\"\n[mail.ses]\nregion = \"{}\"\nendpoint = \"{}\"\nconfiguration_set = \"{}\"\n",
        ses::REGION,
        server.url(""),
        ses::CONFIGURATION_SET
    );
    configure(&sandbox, &format!("{transport}{MAIL}"));
    insert_alert(&sandbox, "broken");
    sending(&sandbox)
        .env("BATCHCTL_MAIL_FROM", "当番 <batch@example.jp>")
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .env("AWS_ACCESS_KEY_ID", ses::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", ses::SECRET)
        .env("AWS_SESSION_TOKEN", ses::SESSION_TOKEN)
        .run()
        .succeeds()
        .is_silent();
    assert_eq!(kept(&sandbox), NONE);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.json()["Destination"]["ToAddresses"], json!(["developer@example.jp"]));
        assert!(ses::message(&request).contains("\r\nAuto-Submitted: auto-generated\r\n"));
    }
}

#[test]
fn a_silent_mail_server_does_not_hold_up_the_end_of_a_job() {
    let shop = TradingShop::on(Database::Sqlite);
    // It accepts connections, and never sends anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(&shop, MAIL);
    let started = Instant::now();
    failing(&shop)
        .env("BATCHCTL_SMTP_URL", format!("smtp://{}?tls=none", silent.local_addr().unwrap()))
        .env("BATCHCTL_MAIL_FROM", "batch@example.jp")
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .run()
        .exits(1);
    let took = started.elapsed();
    let [row] = kept(&shop).try_into().unwrap();
    assert!(row[1].contains("no answer from the mail server in 15 s"), "{}", row[1]);
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert_eq!(runs(&shop), [["2026-11-19", "1", "FAILED", "1"]]);
}
