//! Mails by Amazon SES and by SendGrid, against servers that refuse what those services refuse.

use base64::Engine as _;
use serde_json::json;

use crate::support::{Answer, Batchctl, Request, Sandbox, Webhook, on_both_databases, sendgrid, ses};

on_both_databases![
    mails_reach_the_service_and_get_its_id,
    outside_prod_nobody_but_the_test_address_is_written_to,
    in_prod_the_recipients_are_written_to,
    a_throttled_mail_stays_as_it_was_and_is_sent_in_the_same_run,
    a_rate_below_ours_is_learned_and_costs_no_mail_a_try,
    a_stated_wait_is_kept_by_all_runs,
    a_page_of_a_proxy_fails_no_mail,
    a_mail_that_alone_is_told_to_wait_stops_no_other_and_fails_after_days,
    a_success_without_the_services_own_words_leaves_the_outcome_unknown,
    a_refused_mail_fails_and_the_others_are_sent,
    a_wrong_key_stops_the_sending_and_is_not_shown,
    what_a_refused_log_in_says_is_not_quoted,
    a_fault_of_the_service_is_waited_out,
    a_truncated_answer_leaves_the_outcome_unknown_and_the_mail_is_sent_once_more,
    an_exhausted_quota_leaves_the_mails_for_another_day,
    an_unreachable_service_leaves_the_mails_for_later,
];

/// The only address that a developer's machine may write to.
const TEST_ADDRESS: &str = "developer@example.jp";

/// A local service, and the settings for it.
struct Service {
    name: &'static str,
    server: Webhook,
    settings: String,
    secrets: Vec<(&'static str, &'static str)>,
    /// The id that it assigns to a mail.
    number: &'static str,
    accepted: Answer,
    throttled: Answer,
    refused: Answer,
    quota_spent: Answer,
    recipients: fn(&Request) -> Vec<String>,
    message_id: fn(&Request) -> String,
}

/// Both services, each with its own server.
fn services() -> [Service; 2] {
    [amazon(), sendgrid()]
}

fn amazon() -> Service {
    let server = ses::start();
    let settings = format!(
        "[mail]\ntransport = \"ses\"\n[mail.ses]\nregion = \"{}\"\nendpoint = \"{}\"\nconfiguration_set = \"{}\"\n",
        ses::REGION,
        server.url(""),
        ses::CONFIGURATION_SET
    );
    Service {
        name: "Amazon SES",
        server,
        settings,
        secrets: vec![
            ("AWS_ACCESS_KEY_ID", ses::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", ses::SECRET),
            ("AWS_SESSION_TOKEN", ses::SESSION_TOKEN),
        ],
        number: "0106018f00000001-000000",
        accepted: Answer::json(200, &json!({ "MessageId": "0106018f00000001-000000" })),
        throttled: ses::error(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
        refused: ses::error(400, "MessageRejected", "Message contains a virus"),
        quota_spent: ses::error(429, "TooManyRequestsException", "Daily message quota exceeded."),
        recipients: |request| {
            let message = ses::message(request);
            let (head, _) = message.split_once("\r\n\r\n").unwrap();
            let in_head = head.lines().filter_map(|line| {
                ["To: ", "Cc: ", "Bcc: "].iter().find_map(|name| line.strip_prefix(name)).map(str::to_owned)
            });
            let listed = request.json()["Destination"]["ToAddresses"].clone();
            let listed = listed.as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned());
            listed.chain(in_head).collect()
        },
        message_id: |request| {
            let message = ses::message(request);
            message.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned()
        },
    }
}

fn sendgrid() -> Service {
    let server = sendgrid::start();
    let settings =
        format!("[mail]\ntransport = \"sendgrid\"\n[mail.sendgrid]\nendpoint = \"{}\"\n", server.url(""));
    Service {
        name: "SendGrid",
        server,
        settings,
        secrets: vec![("SENDGRID_API_KEY", sendgrid::API_KEY)],
        number: "sg-0001",
        accepted: Answer::Http(202, vec![("X-Message-Id", "sg-0001".to_owned())], String::new()),
        throttled: Answer::Http(429, vec![("X-RateLimit-Reset", "1795190460".to_owned())], String::new()),
        refused: sendgrid::error(
            400,
            "Does not contain a valid address.",
            Some("personalizations.0.to.0.email"),
        ),
        quota_spent: sendgrid::error(401, "Maximum credits exceeded", None),
        recipients: |request| {
            let personalization = &request.json()["personalizations"][0];
            let email = |to: &serde_json::Value| to["email"].as_str().unwrap().to_owned();
            let lists = ["to", "cc", "bcc"].iter().filter_map(|list| personalization[*list].as_array());
            lists.flatten().map(email).collect()
        },
        message_id: |request| request.json()["headers"]["Message-ID"].as_str().unwrap().to_owned(),
    }
}

impl Service {
    /// `mail flush` in the sandbox's environment, by this service.
    fn flush(&self, sandbox: &Sandbox) -> Batchctl {
        sandbox.write("batchctl.toml", &self.settings);
        self.told(sandbox.batchctl(["mail", "flush"])).env("BATCHCTL_MAIL_REDIRECT_TO", TEST_ADDRESS)
    }

    /// With the secrets and the sender.
    fn told(&self, command: Batchctl) -> Batchctl {
        let command = command.env("BATCHCTL_MAIL_FROM", "山田商店 <shop@example.jp>");
        self.secrets.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn recipients(&self) -> Vec<String> {
        self.server.requests().iter().flat_map(self.recipients).collect()
    }

    fn message_ids(&self) -> Vec<String> {
        self.server.requests().iter().map(self.message_id).collect()
    }
}

/// Queues a mail to each of these, as any program may.
fn queue(sandbox: &Sandbox, recipients: &[&str]) {
    sandbox.execute("DELETE FROM mails");
    for recipient in recipients {
        let at = "2024-03-05T00:00:00+00:00";
        sandbox.execute(&format!(
            "INSERT INTO mails (kind, recipient, subject, text_body, html_body, due_at, queued_at)
             VALUES ('notice', '{recipient}', 'お知らせ', '本文', '<p>本文</p>', '{at}', '{at}')"
        ));
    }
}

/// The state, the attempts and the last reply of each mail.
fn states(sandbox: &Sandbox) -> Vec<Vec<String>> {
    sandbox.sql("SELECT status, attempts, last_reply FROM mails ORDER BY id")
}

/// Makes every mail that waits for another attempt due.
fn let_time_pass(sandbox: &Sandbox) {
    sandbox.execute("UPDATE mails SET due_at = queued_at");
}

fn mails_reach_the_service_and_get_its_id(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp", "b@example.jp", "花子 <c@example.jp>"]);
        service.flush(sandbox).run().succeeds().is_silent();
        let number = service.number;
        let sent = ["SENT".to_owned(), number.to_owned(), "1".to_owned()].to_vec();
        let rows = sandbox.sql("SELECT status, provider_message_id, attempts FROM mails ORDER BY id");
        assert_eq!(rows, vec![sent; 3], "{}", service.name);
        let mut stored = sandbox.sql("SELECT message_id FROM mails").concat();
        let mut asked = service.message_ids();
        stored.sort();
        asked.sort();
        assert_eq!(asked, stored, "the Message-ID is ours");
        service.flush(sandbox).run().succeeds();
        assert_eq!(service.server.requests().len(), 3, "once");
    }
}

fn outside_prod_nobody_but_the_test_address_is_written_to(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["hanako@example.jp", "taro@example.com"]);
        sandbox.execute("UPDATE mails SET headers = '{\"X-Shop\": \"main\"}'");
        service.flush(sandbox).run().succeeds();
        let recipients = service.recipients();
        assert!(!recipients.is_empty() && recipients.iter().all(|to| to == TEST_ADDRESS), "{recipients:?}");
        for request in service.server.requests() {
            let text = if service.name == "SendGrid" { request.body.clone() } else { ses::message(&request) };
            let original = ["hanako@example.jp", "taro@example.com"].into_iter().find(|to| text.contains(to));
            assert!(original.is_some() && text.contains("X-Original-To"), "{text}");
        }
    }
}

fn in_prod_the_recipients_are_written_to(sandbox: &Sandbox) {
    sandbox.execute("UPDATE batch_environment SET name = 'prod'");
    for service in services() {
        queue(sandbox, &["hanako@例え.jp"]);
        sandbox.write("batchctl.toml", &service.settings);
        let command = sandbox.batchctl(["--env", "prod", "mail", "flush"]).real_clock();
        service.told(command).run().succeeds().is_silent();
        let recipients = service.recipients();
        assert!(
            !recipients.is_empty() && recipients.iter().all(|to| to == "hanako@xn--r8jz45g.jp"),
            "{recipients:?}"
        );
    }
}

fn a_throttled_mail_stays_as_it_was_and_is_sent_in_the_same_run(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp"]);
        service.server.answer(service.throttled.clone());
        service.flush(sandbox).run().succeeds().is_silent();
        // In the same run, and it cost the mail nothing.
        assert_eq!(states(sandbox)[0][..2], ["SENT", "1"], "{}", service.name);
        let ids = service.message_ids();
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "the same mail");
    }
}

fn a_rate_below_ours_is_learned_and_costs_no_mail_a_try(sandbox: &Sandbox) {
    for service in services() {
        let recipients: Vec<String> = (0..20).map(|number| format!("{number}@example.jp")).collect();
        queue(sandbox, &recipients.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..2 {
            service.server.answer(service.throttled.clone());
            for _ in 0..5 {
                service.server.answer(service.accepted.clone());
            }
        }
        service.flush(sandbox).run().succeeds().is_silent();
        assert_eq!(
            sandbox.sql("SELECT status, attempts, COUNT(*) FROM mails GROUP BY status, attempts"),
            [["SENT", "1", "20"]],
            "{}",
            service.name
        );
    }
}

fn a_stated_wait_is_kept_by_all_runs(sandbox: &Sandbox) {
    for (service, header) in [(amazon(), "Retry-After"), (sendgrid(), "Retry-After")] {
        queue(sandbox, &["a@example.jp", "b@example.jp"]);
        sandbox.execute("DELETE FROM mail_pace");
        let wait = vec![(header, "3600".to_owned())];
        service.server.answer(Answer::Http(429, wait, String::new()));
        service.flush(sandbox).run().exits(75).says("HTTP 429");
        let untried: Vec<String> = ["QUEUED", "0", "NULL"].map(str::to_owned).to_vec();
        assert_eq!(states(sandbox), vec![untried.clone(); 2], "{}", service.name);
        let asked = service.server.requests().len();
        service
            .flush(sandbox)
            .run()
            .exits(75)
            .says(service.name)
            .says("told an earlier run to send nothing before");
        assert_eq!(service.server.requests().len(), asked, "no call before the stated time");
        assert_eq!(states(sandbox), vec![untried; 2]);
        sandbox.execute("UPDATE mail_pace SET next_at = '2026-01-01T00:00:00+00:00'");
        service.flush(sandbox).run().succeeds();
        assert!(states(sandbox).iter().all(|row| row[..2] == ["SENT", "1"]), "{:?}", states(sandbox));
    }
}

/// A proxy in front of the service answers everything.
fn a_page_of_a_proxy_fails_no_mail(sandbox: &Sandbox) {
    for mut service in services() {
        let recipients: Vec<String> = (0..30).map(|number| format!("{number}@example.jp")).collect();
        for status in [400, 413] {
            queue(sandbox, &recipients.iter().map(String::as_str).collect::<Vec<_>>());
            let page = move || Answer::Http(status, Vec::new(), "<html>bad request</html>".to_owned());
            let proxy = Webhook::checking(Box::new(move |_| Err(page())));
            let direct = service.server.url("");
            service.settings = service.settings.replace(&direct, &proxy.url(""));
            service.flush(sandbox).run().exits(1).says(&format!("did not come from {}", service.name));
            service.settings = service.settings.replace(&proxy.url(""), &direct);
            assert_eq!(
                sandbox.sql("SELECT status, attempts, COUNT(*) FROM mails GROUP BY status, attempts"),
                [["QUEUED", "0", "30"]],
                "{} {status}",
                service.name
            );
        }
        // If it lets the others through, it may be that mail.
        queue(sandbox, &["a@example.jp", "b@example.jp"]);
        service.server.answer(Answer::Http(413, Vec::new(), "<html>too large</html>".to_owned()));
        service.flush(sandbox).run().succeeds();
        let mut words: Vec<String> = states(sandbox).into_iter().map(|row| row[0].clone()).collect();
        words.sort();
        assert_eq!(words, ["RETRY", "SENT"], "{}", service.name);
    }
}

/// It would stop each run before the others, and the next one would begin with it again.
fn a_mail_that_alone_is_told_to_wait_stops_no_other_and_fails_after_days(sandbox: &Sandbox) {
    let mut service = sendgrid();
    let direct = service.server.url("");
    let partial = Webhook::checking(Box::new(|request| {
        if request.body.contains("lone@example.jp") {
            return Err(Answer::Http(429, vec![("Retry-After", "3600".to_owned())], "slow down".to_owned()));
        }
        Ok(Answer::Http(202, vec![("X-Message-Id", "sg-0001".to_owned())], String::new()))
    }));
    service.settings = service.settings.replace(&direct, &partial.url(""));
    queue(sandbox, &["lone@example.jp", "a@example.jp"]);
    service.flush(sandbox).run().exits(75).says("HTTP 429");
    let waits = "1 mail waits that the server has not taken, the first since 2026-11-20";
    for run in 1..=3 {
        // The service opens again.
        sandbox.execute("DELETE FROM mail_pace");
        if run > 1 {
            sandbox.execute(
                "UPDATE mails SET status = 'QUEUED', ended_at = NULL WHERE recipient = 'a@example.jp'",
            );
        }
        if run == 3 {
            sandbox.execute(
                "UPDATE mails SET untaken_since = '2026-11-10T00:00:00+00:00' WHERE untaken_since IS NOT NULL",
            );
        }
        let mut flushed = service.flush(sandbox).run().exits(75);
        assert_eq!(states(sandbox)[1][0], "SENT", "in run {run} the other one goes first");
        if run < 3 {
            flushed = flushed.says(waits);
            assert_eq!(states(sandbox)[0], ["QUEUED", "0", "NULL"], "{}", flushed.stderr);
        }
    }
    let reply =
        "given up after 9 days in which the server took others: HTTP 429: slow down, retry after 3600";
    assert_eq!(states(sandbox)[0], ["FAILED", "1", reply]);
}

/// Nobody knows whether the service has the mail: it is sent once more, and then a person decides.
fn a_success_without_the_services_own_words_leaves_the_outcome_unknown(sandbox: &Sandbox) {
    for service in services() {
        let pages = [
            Answer::Http(200, Vec::new(), r#"{"MessageId": ""}"#.to_owned()),
            Answer::Http(200, Vec::new(), "<html>sign in</html>".to_owned()),
        ];
        queue(sandbox, &["a@example.jp"]);
        for (answer, code) in pages.into_iter().zip([0, 1]) {
            service.server.answer(answer);
            service.flush(sandbox).run().exits(code);
            assert_eq!(states(sandbox)[0][0], "UNKNOWN", "{}", service.name);
            let_time_pass(sandbox);
        }
        assert_eq!(sandbox.scalar("SELECT is_held FROM mails"), "1");
        service.flush(sandbox).run().succeeds();
        assert_eq!(service.server.requests().len(), 2, "not without limit");
    }
}

fn a_refused_mail_fails_and_the_others_are_sent(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp", "b@example.jp"]);
        service.server.answer(service.refused.clone());
        service.flush(sandbox).run().exits(3);
        let mut words: Vec<String> = states(sandbox).into_iter().map(|row| row[0].clone()).collect();
        words.sort();
        assert_eq!(words, ["FAILED", "SENT"], "{}", service.name);
        let reply = sandbox.scalar("SELECT last_reply FROM mails WHERE status = 'FAILED'");
        let expected = if service.name == "SendGrid" {
            "HTTP 400: Does not contain a valid address. (personalizations.0.to.0.email)"
        } else {
            "HTTP 400: MessageRejected: Message contains a virus"
        };
        assert_eq!(reply, expected);
        assert_eq!(
            sandbox.scalar("SELECT COUNT(*) FROM mail_suppressions"),
            "0",
            "not the recipient's fault"
        );
    }
}

/// A server may repeat the key in a form that no redaction knows.
fn what_a_refused_log_in_says_is_not_quoted(sandbox: &Sandbox) {
    for mut service in services() {
        let secret = if service.name == "SendGrid" { sendgrid::API_KEY } else { ses::SECRET };
        let backwards: String = secret.chars().rev().collect();
        let entities = secret.chars().map(|c| format!("&#{};", u32::from(c))).collect::<Vec<_>>().concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"));
        let words = format!("your key {backwards} or {encoded} or {entities} is wrong");
        let bodies = [
            json!({ "errors": [{ "message": words, "field": null }], "message": words, "__type": backwards }).to_string(),
            json!({ "errors": [{ "message": words, "field": "from" }], "message": "quota of ".to_owned() + &words }).to_string(),
            format!("<html>{words}</html>"),
        ];
        for (status, body) in bodies.iter().flat_map(|body| [(401, body.clone()), (403, body.clone())]) {
            let says = body.clone();
            let echo =
                Webhook::checking(Box::new(move |_| Err(Answer::Http(status, Vec::new(), says.clone()))));
            let direct = service.server.url("");
            service.settings = service.settings.replace(&direct, &echo.url(""));
            queue(sandbox, &["a@example.jp"]);
            sandbox.execute("DELETE FROM mail_pace");
            let ran = service.flush(sandbox).run().says(&format!("HTTP {status}"));
            ran.never_shows(&backwards).never_shows(&encoded).never_shows("&#").never_shows("your key");
            let dump = sandbox.dump();
            assert!(!dump.contains(&backwards) && !dump.contains(&encoded) && !dump.contains("&#"), "{dump}");
            service.settings = service.settings.replace(&echo.url(""), &direct);
        }
    }
}

fn a_wrong_key_stops_the_sending_and_is_not_shown(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp", "b@example.jp", "c@example.jp"]);
        let wrong = match service.name {
            "SendGrid" => ("SENDGRID_API_KEY", "SG.canary.other"),
            _ => ("AWS_SECRET_ACCESS_KEY", "canary-wrong-secret"),
        };
        sandbox.write("batchctl.toml", &service.settings);
        let command = sandbox.batchctl(["mail", "flush", "--connections", "1"]);
        service
            .told(command)
            .env("BATCHCTL_MAIL_REDIRECT_TO", TEST_ADDRESS)
            .env(wrong.0, wrong.1)
            .run()
            .exits(1)
            .says("failed to log in")
            .never_shows("canary");
        assert_eq!(service.server.requests().len(), 1, "nothing more is asked");
        let untried: Vec<String> = ["QUEUED", "0", "NULL"].map(str::to_owned).to_vec();
        assert_eq!(states(sandbox), vec![untried; 3], "{}: as if they had not been tried", service.name);
        assert!(!sandbox.dump().contains("canary"));
    }
}

fn a_fault_of_the_service_is_waited_out(sandbox: &Sandbox) {
    for service in services() {
        for status in [500, 503] {
            queue(sandbox, &["a@example.jp"]);
            service.server.answer(Answer::Http(status, Vec::new(), "<html>\nbusy\n</html>".to_owned()));
            service.flush(sandbox).run().succeeds().is_silent();
            assert_eq!(states(sandbox)[0][..2], ["SENT", "1"], "{} {status}", service.name);
        }
    }
}

#[test]
fn an_endless_error_page_is_not_read_to_its_end() {
    let sandbox = Sandbox::new();
    for service in services() {
        queue(&sandbox, &["a@example.jp"]);
        service.server.answer(Answer::Http(502, Vec::new(), "go away\n".repeat(1 << 20)));
        service.flush(&sandbox).run().succeeds();
        let [row] = states(&sandbox).try_into().unwrap();
        assert_eq!(row[..2], ["UNKNOWN", "1"], "{}", service.name);
        assert!(row[2].contains(": HTTP 502: go away go away") && row[2].len() < 400, "{}", row[2]);
    }
}

#[test]
fn an_answer_that_never_comes_leaves_the_outcome_unknown() {
    let sandbox = Sandbox::new();
    let service = amazon();
    queue(&sandbox, &["a@example.jp"]);
    service.server.answer(Answer::Silence);
    service.flush(&sandbox).run().succeeds();
    assert_eq!(states(&sandbox), [["UNKNOWN", "1", "no answer in time"]]);
}

fn a_truncated_answer_leaves_the_outcome_unknown_and_the_mail_is_sent_once_more(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp"]);
        service.server.answer(Answer::Cut);
        service.flush(sandbox).run().succeeds();
        let [row] = states(sandbox).try_into().unwrap();
        assert_eq!(row[..2], ["UNKNOWN", "1"], "{}", service.name);
        assert!(row[2].starts_with("the connection broke before the answer"), "{}", row[2]);
        let_time_pass(sandbox);
        service.flush(sandbox).run().succeeds();
        assert_eq!(states(sandbox)[0][..2], ["SENT", "2"]);
        let ids = service.message_ids();
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "the same mail");
    }
}

fn an_exhausted_quota_leaves_the_mails_for_another_day(sandbox: &Sandbox) {
    for service in services() {
        queue(sandbox, &["a@example.jp"]);
        service.server.answer(service.quota_spent.clone());
        service.flush(sandbox).run().exits(75);
        assert_eq!(states(sandbox), [["QUEUED", "0", "NULL"]], "{}", service.name);
        service.flush(sandbox).run().succeeds();
        assert_eq!(states(sandbox)[0][..2], ["SENT", "1"]);
    }
}

fn an_unreachable_service_leaves_the_mails_for_later(sandbox: &Sandbox) {
    // Nobody listens there: only root may.
    let port = 1;
    for mut service in services() {
        queue(sandbox, &["a@example.jp"]);
        service.settings =
            service.settings.replace(&service.server.url(""), &format!("http://127.0.0.1:{port}"));
        service.flush(sandbox).run().exits(75).says("failed to connect");
        assert_eq!(states(sandbox), [["QUEUED", "0", "NULL"]], "{}", service.name);
    }
}

#[test]
fn a_forbidden_account_stops_the_sending() {
    let sandbox = Sandbox::new();
    for (answer, code, says) in [
        (
            ses::error(400, "AccountSuspendedException", "Account is suspended"),
            1,
            "AccountSuspendedException",
        ),
        (ses::error(400, "SendingPausedException", "Sending is paused"), 1, "SendingPausedException"),
        (ses::error(400, "MailFromDomainNotVerifiedException", "x"), 1, "MailFromDomainNotVerifiedException"),
        (
            ses::error(403, "ExpiredTokenException", "The security token is expired"),
            1,
            "ExpiredTokenException",
        ),
        (ses::error(403, "AccessDeniedException", "Sending limit exceeded"), 75, "may send no more for now"),
        (ses::error(404, "NotFoundException", "Configuration set"), 78, "mail.ses.configuration_set"),
    ] {
        let service = amazon();
        queue(&sandbox, &["a@example.jp"]);
        service.server.answer(answer);
        service.flush(&sandbox).run().exits(code).says(says);
        assert_eq!(states(&sandbox), [["QUEUED", "0", "NULL"]], "{says}");
    }
    for (answer, code, says) in [
        (
            sendgrid::error(403, "The from address does not match", Some("from")),
            1,
            "sender's address is not verified",
        ),
        (sendgrid::error(403, "access forbidden", None), 1, "failed to log in"),
        (sendgrid::error(404, "not found", None), 78, "mail.sendgrid.endpoint"),
        (sendgrid::error(403, "You have exceeded your sending quota", None), 75, "may send no more for now"),
    ] {
        let service = sendgrid();
        queue(&sandbox, &["a@example.jp"]);
        service.server.answer(answer);
        service.flush(&sandbox).run().exits(code).says(says);
        assert_eq!(states(&sandbox), [["QUEUED", "0", "NULL"]], "{says}");
    }
}

#[test]
fn missing_settings_are_named_before_anything_is_claimed() {
    let sandbox = Sandbox::new();
    for service in services() {
        queue(&sandbox, &["a@example.jp"]);
        let name = service.secrets[0].0;
        service.flush(&sandbox).env(name, "").run().exits(78).says(&format!("variable `{name}` is not set"));
    }
    let mut service = amazon();
    service.settings = service.settings.replace("region", "#region");
    service.flush(&sandbox).run().exits(78).says("`mail.ses.region` is not set");
    let mut service = sendgrid();
    service.settings = service.settings.replace("http://127.0.0.1", "http://mail.example.jp");
    service
        .flush(&sandbox)
        .run()
        .exits(78)
        .says("`mail.sendgrid.endpoint`: the connection would not be encrypted");
    assert_eq!(states(&sandbox), [["QUEUED", "0", "NULL"]]);
}

#[test]
fn an_attachment_and_a_picture_arrive_as_such() {
    let sandbox = Sandbox::new();
    for service in services() {
        queue(&sandbox, &["a@example.jp"]);
        sandbox.execute(
            "INSERT INTO mail_attachments (mail_id, name, content_type, content_id, content)
             SELECT id, 'chart.png', 'image/png', 'chart', x'89504e47' FROM mails
             UNION ALL SELECT id, '売上.csv', 'text/csv', NULL, x'612c62' FROM mails",
        );
        service.flush(&sandbox).run().succeeds();
        let [request] = service.server.requests().try_into().unwrap();
        if service.name == "SendGrid" {
            assert_eq!(
                request.json()["attachments"],
                json!([
                    { "content": "iVBORw==", "type": "image/png", "filename": "chart.png",
                      "disposition": "inline", "content_id": "chart" },
                    { "content": "YSxi", "type": "text/csv", "filename": "売上.csv", "disposition": "attachment" },
                ])
            );
        } else {
            let message = ses::message(&request);
            assert!(message.contains("Content-ID: <chart>") && message.contains("iVBORw=="), "{message}");
        }
    }
}
