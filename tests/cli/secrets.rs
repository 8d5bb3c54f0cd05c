//! Secrets stay out of arguments, history, logs, alerts and errors: some are planted here and searched for in
//! everything that is printed, posted and stored.

use rustix::process::Signal;

use crate::runner::{NIGHTLY, TradingShop};
use crate::support::{Answer, Batchctl, Database, Webhook, on_both_databases, run_on};

on_both_databases![no_planted_secret_is_printed_posted_or_stored];

/// The planted secrets: recognisable, and with characters that are written differently in URLs and in JSON.
const DATABASE_PASSWORD: &str = "canary-database-p/w\"1";
const SMTP_PASSWORD: &str = "canary-smtp-pässword 2";
const REDIS_PASSWORD: &str = "canary-redis-password-3";
const SECRET_KEY: &str = "canary-secret-key-4-of-32-characters-and-more";
const WEBHOOK_PATH: &str = "/services/T000CANARY5/B000CANARY5/canary5webhook";
const OTHER_TOKEN: &str = "canary-token-of-another-tool-6";

/// A part that all of them contain, however they are spelled.
const MARK: &str = "canary";

const CHANNELS: &str = r#"
[alerts]
dev_channel = "chat"
slow_floor = "0ms"

[[alerts.channel]]
name = "chat"
kind = "slack"
url_variable = "CHAT_URL"

[[alerts.channel]]
name = "unused"
kind = "webhook"
url_variable = "UNUSED_URL"
"#;

fn encoded(password: &str) -> String {
    url::form_urlencoded::byte_serialize(password.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The URL of the sandbox's database with a password, which PostgreSQL does not ask for and SQLite's URLs cannot have.
fn database_url(shop: &TradingShop) -> String {
    if shop.database() == Database::Sqlite {
        return shop.database_url().to_owned();
    }
    let mut url = url::Url::parse(shop.database_url()).unwrap();
    url.set_password(Some(&encoded(DATABASE_PASSWORD))).unwrap();
    url.to_string()
}

/// A command with all the secrets in its environment.
fn planted(shop: &TradingShop, webhook: &Webhook, arguments: &[&str]) -> Batchctl {
    shop.batchctl(arguments)
        .env("BATCHCTL_DATABASE_URL", database_url(shop))
        .env("BATCHCTL_SMTP_URL", format!("smtps://mailer:{}@smtp.example.jp", encoded(SMTP_PASSWORD)))
        .env("BATCHCTL_REDIS_URL", format!("redis://:{REDIS_PASSWORD}@localhost:6379/0"))
        .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .env("BATCHCTL_SECRET_KEY", SECRET_KEY)
        .env("CHAT_URL", webhook.url(WEBHOOK_PATH))
        .env("UNUSED_URL", format!("https://hooks.slack.com{WEBHOOK_PATH}"))
        .env("OTHER_API_TOKEN", OTHER_TOKEN)
}

fn is_free_of_secrets(text: &str) -> bool {
    !text.to_lowercase().contains(MARK)
}

fn no_planted_secret_is_printed_posted_or_stored(shop: &TradingShop) {
    let webhook = Webhook::start();
    shop.write("batchctl.toml", CHANNELS);
    let check = |arguments: &[&str], code: i32| {
        for format in ["text", "json"] {
            let arguments: Vec<&str> =
                ["--verbose", "--log-format", format].iter().chain(arguments).copied().collect();
            let ran = planted(shop, &webhook, &arguments).run().exits(code);
            assert!(is_free_of_secrets(&ran.stdout), "{ran:?}");
            assert!(is_free_of_secrets(&ran.stderr), "{ran:?}");
        }
    };

    // Successes, and commands that show settings.
    check(&NIGHTLY, 0);
    check(&["report", "daily-sales", "--rerun", "--format", "json"], 0);
    check(&["env", "show"], 0);
    check(&["config", "check"], 0);
    check(&["db", "check"], 0);
    check(&["schedule", "crontab"], 0);
    check(&["runs", "purge"], 0);

    // Failures, with secrets where somebody may put them by mistake.
    check(&["report", "daily-sales", "--date", "2026-99-99"], 2);
    check(&["report", "daily-sales", "--mall", OTHER_TOKEN], 2);
    check(&["report", "daily-sales", "--format", "csv", "--out", &format!("/proc/{SECRET_KEY}")], 1);
    check(&["runs", "list", "--since", SECRET_KEY], 2);
    check(&["runs", "list", "--job", REDIS_PASSWORD], 2);
    check(&["runs", "request-retry", "1", "--reason", "x"], 0);
    check(&["runs", "process-requests"], 0);
    shop.mall("mars", &format!("Mars/{SMTP_PASSWORD}"), "JPY");
    check(&["report", "daily-sales", "--rerun"], 3);
    shop.execute("DELETE FROM batch_incident");

    // The chat service echoes what it was sent, and where to.
    for status in [500, 400] {
        webhook.answer(Answer::Http(
            status,
            Vec::new(),
            format!("no such hook: {}", webhook.url(WEBHOOK_PATH)),
        ));
    }
    check(&["report", "daily-sales", "--rerun"], 3);
    assert!(!webhook.requests().is_empty(), "an alert was tried");
    for request in webhook.requests() {
        assert!(is_free_of_secrets(&request.body), "{}", request.body);
    }

    planted(shop, &webhook, &["report", "daily-sales", "--rerun"])
        .failpoint("in-chunk=kill")
        .run()
        .is_killed_by(Signal::KILL);
    check(&["report", "daily-sales"], 3);
    for number in ["1", "2", "3"] {
        check(&["runs", "show", number], 0);
        check(&["runs", "errors", number], 0);
    }
    check(&["runs", "list", "--format", "json"], 0);

    let dump = shop.dump();
    // A mall's time zone is the shop's own data, into which this test put the secret.
    let found: Vec<&str> =
        dump.lines().filter(|line| !line.starts_with("malls: ") && !is_free_of_secrets(line)).collect();
    assert_eq!(found, Vec::<&str>::new());
    assert!(dump.contains("***"), "the redactor was at work:\n{dump}");
}

#[test]
fn a_wrong_database_password_is_not_shown() {
    run_on(Database::Postgres, |shop: &TradingShop| {
        let webhook = Webhook::start();
        let mut url = url::Url::parse(&database_url(shop)).unwrap();
        // scripts/servers creates this user; on a server without it, the user name is what is wrong.
        url.set_username("with_password").unwrap();
        for arguments in [&NIGHTLY[..], &["runs", "list"], &["db", "migrate"], &["mall", "list"]] {
            let ran = planted(shop, &webhook, arguments)
                .env("BATCHCTL_DATABASE_URL", url.as_str())
                .run()
                .exits(78)
                .says("with_password");
            assert!(is_free_of_secrets(&ran.stdout) && is_free_of_secrets(&ran.stderr), "{ran:?}");
        }
        // An unreachable server, and a URL that cannot be parsed.
        let unreachable = url.as_str().replace(&format!(":{}", url.port().unwrap()), ":1");
        let unreadable = format!("postgres://shop:{DATABASE_PASSWORD}@db.example.jp/shop");
        for (url, code) in [(unreachable, 75), (unreadable, 78)] {
            let ran = planted(shop, &webhook, &NIGHTLY).env("BATCHCTL_DATABASE_URL", url).run().exits(code);
            assert!(is_free_of_secrets(&ran.stdout) && is_free_of_secrets(&ran.stderr), "{ran:?}");
        }
    });
}
