//! `stock summary`: each difference is in one summary, and a mall that was not compared is named.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Answer, Batchctl, Mall, Shop, Webhook, on_both_databases};

on_both_databases![
    a_summary_counts_differences_by_mall_and_cause,
    nothing_to_report_is_one_line_or_none,
    a_quiet_morning_is_a_mail_too,
    one_is_singular,
    what_is_found_later_is_in_the_next_summary,
    a_summary_is_told_once_whatever_is_killed,
    a_summary_that_could_not_be_posted_is_sent_later,
    the_summary_is_in_the_language_of_the_shop,
    who_compares_nothing_hears_nothing,
];

const CHANNEL: &str = "[alerts]\ndev_channel = \"dev\"\n\
    [[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n";

struct Told<'s> {
    shop: &'s Shop,
    hook: Webhook,
    mall: Mall,
}

impl<'s> Told<'s> {
    fn by(shop: &'s Shop) -> Self {
        let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
        shop.execute("UPDATE malls SET platform = 'app'");
        shop.write("batchctl.toml", CHANNEL);
        Self { shop, hook: Webhook::start(), mall }
    }

    /// The summary at nine in the morning of the 20th.
    fn summary(&self, arguments: &[&str]) -> Batchctl {
        let job = self.shop.batchctl(["stock", "summary"].iter().chain(arguments));
        // Nothing is asked of it.
        job.env("BATCHCTL_REDIS_URL", "redis://127.0.0.1:1")
            .env("DEV_URL", self.hook.url("/dev"))
            .now("2026-11-20T09:00:00+09:00")
    }

    fn compared(&self, run: i64, mall: Mall, at: &str) {
        self.shop.execute(&format!(
            "INSERT INTO stock_reconciliations (execution_id, mall_id, day, source, compared, differences, repaired,
                 unsettled, completed_at)
             VALUES ({run}, {}, '2026-11-20', 'DB', 1200, 0, 0, 0, '{at}')",
            mall.id
        ));
    }

    fn found(&self, mall: Mall, cause: &str, repair: &str, at: &str) {
        self.shop.execute(&format!(
            "INSERT INTO stock_differences (execution_id, day, mall_id, product_code, stock_key, cause, repair, found_at)
             VALUES (900, '2026-11-20', {}, 'P', 'stock:P', '{cause}', '{repair}', '{at}')",
            mall.id
        ));
    }

    fn messages(&self) -> Vec<Vec<String>> {
        let requests = self.hook.requests();
        let messages = requests.iter().map(crate::support::Request::json);
        messages
            .filter(|message| message["text"].is_string())
            .map(|message: Value| {
                let title = message["title"].as_str().unwrap().to_owned();
                let text = message["text"].as_str().unwrap().to_owned();
                std::iter::once(title).chain(text.lines().map(str::to_owned)).collect()
            })
            .collect()
    }
}

/// Two in the morning of the 20th.
const NIGHT: &str = "2026-11-19T17:00:00+00:00";

fn a_summary_counts_differences_by_mall_and_cause(shop: &Shop) {
    let told = Told::by(shop);
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.mall("seoul", "Asia/Seoul", "KRW");
    shop.execute("UPDATE malls SET platform = 'app' WHERE code = 'osaka'");
    shop.write("batchctl.toml", format!("[stock]\nmail_to = [\"buyer@example.jp\"]\n{CHANNEL}"));
    told.compared(900, told.mall, NIGHT);
    for (mall, cause, repair) in [
        (told.mall, "MISSING_IN_REDIS", "REPAIRED"),
        (told.mall, "MISSING_IN_REDIS", "REPAIRED"),
        (told.mall, "WRONG_TYPE", "LEFT"),
        (osaka, "LATE_DECREMENT", "MOVED"),
    ] {
        told.found(mall, cause, repair, NIGHT);
    }
    told.summary(&[]).run().succeeds().is_silent();
    let message = [
        "Stock of 19 November 2026: Redis and the database differed 4 times, 2 repaired, 1,200 products compared (dev)",
        "osaka: late decrement 1, repaired 0",
        "tokyo: missing in Redis 2, repaired 2",
        "tokyo: wrong type 1, repaired 0",
        "Not compared: osaka",
    ];
    assert_eq!(told.messages(), [message]);
    let mail = shop.sql("SELECT recipient, subject, text_body FROM mails");
    assert_eq!((mail.len(), mail[0][1].as_str()), (1, message[0]));
    assert!(mail[0][2].contains("tokyo: wrong type 1, repaired 0"), "{mail:?}");
    told.summary(&["--verbose"]).run().succeeds().says("already completed");
    assert_eq!(told.messages().len(), 1);
    // Whoever wants it again gets it again.
    told.summary(&["--rerun"]).run().succeeds();
    assert_eq!(told.messages(), [message, message]);
}

fn nothing_to_report_is_one_line_or_none(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    told.summary(&[]).run().succeeds().is_silent();
    let quiet = "Stock of 19 November 2026: no differences between Redis and the database, 1,200 products compared (dev)";
    assert_eq!(told.messages(), [[quiet]]);
    shop.write("batchctl.toml", format!("[stock.reconcile]\nquiet_summary = true\n{CHANNEL}"));
    told.summary(&["--rerun"]).run().succeeds().is_silent();
    assert_eq!(told.messages().len(), 1);
    // That nothing was compared is news.
    shop.execute("DELETE FROM stock_reconciliations");
    told.summary(&["--rerun"]).run().succeeds();
    assert_eq!(told.messages()[1][1..], ["Not compared: tokyo"]);
}

fn a_quiet_morning_is_a_mail_too(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    shop.write("batchctl.toml", format!("[stock]\nmail_to = [\"buyer@example.jp\"]\n{CHANNEL}"));
    for (language, quiet) in [
        ("en", "no differences between Redis and the database, 1,200 products compared"),
        ("ja", "Redis と DB の差異なし（商品1,200件を照合）"),
        ("ko", "Redis와 DB 불일치 없음 (상품 1,200개 대조)"),
    ] {
        shop.execute("DELETE FROM mails");
        told.summary(&["--rerun"]).env("BATCHCTL_LOCALE", language).run().succeeds();
        let [mail] = shop.sql("SELECT subject, text_body, html_body FROM mails").try_into().unwrap();
        assert!(mail.iter().all(|part| part.contains(quiet)), "{language}: {mail:?}");
    }
}

fn one_is_singular(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    shop.execute("UPDATE stock_reconciliations SET compared = 1, unsettled = 1");
    told.summary(&[]).run().succeeds();
    told.found(told.mall, "NEGATIVE", "REPAIRED", NIGHT);
    told.summary(&["--rerun"]).run().succeeds();
    let moved = "Moved all the time and was not compared: 1 product";
    assert_eq!(
        told.messages(),
        [
            vec![
                "Stock of 19 November 2026: no differences between Redis and the database, 1 product compared (dev)",
                moved,
            ],
            vec![
                "Stock of 19 November 2026: Redis and the database differed once, 1 repaired, 1 product compared (dev)",
                "tokyo: negative 1, repaired 1",
                moved,
            ],
        ]
    );
}

fn what_is_found_later_is_in_the_next_summary(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    told.found(told.mall, "NEGATIVE", "REPAIRED", NIGHT);
    told.summary(&[]).run().succeeds();
    // In the afternoon somebody compares again.
    told.found(told.mall, "LATE_DECREMENT", "REPAIRED", "2026-11-20T06:00:00+00:00");
    told.compared(901, told.mall, "2026-11-20T17:00:00+00:00");
    told.summary(&[]).now("2026-11-21T09:00:00+09:00").run().succeeds();
    let messages = told.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0][1..], ["tokyo: negative 1, repaired 1"]);
    assert_eq!(messages[1][1..], ["tokyo: late decrement 1, repaired 1"]);
    // What is found after its day is not yet part of it.
    told.found(told.mall, "NEGATIVE", "REPAIRED", "2026-11-21T16:00:00+00:00");
    told.summary(&["--date", "2026-11-20", "--rerun"]).now("2026-11-22T09:00:00+09:00").run().succeeds();
    assert_eq!(told.messages()[2][1..], ["tokyo: late decrement 1, repaired 1"]);
    told.summary(&["--date", "today"]).run().exits(2).says("2026-11-20 is not over");
}

fn a_summary_is_told_once_whatever_is_killed(shop: &Shop) {
    let told = Told::by(shop);
    for point in ["in-chunk", "at-commit", "in-chunk@2", "at-commit@2", "stock-message-kept"] {
        for table in ["stock_differences", "stock_reconciliations", "channel_messages", "batch_execution"] {
            shop.execute(&format!("DELETE FROM {table}"));
        }
        told.compared(900, told.mall, NIGHT);
        told.found(told.mall, "NEGATIVE", "REPAIRED", NIGHT);
        let before = told.messages().len();
        told.summary(&[]).failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        told.summary(&[]).run().succeeds();
        told.summary(&[]).run().succeeds();
        assert_eq!(told.messages()[before..].len(), 1, "{point}");
        assert_eq!(told.messages()[before][1..], ["tokyo: negative 1, repaired 1"], "{point}");
    }
}

fn a_summary_that_could_not_be_posted_is_sent_later(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    told.hook.answer(Answer::status(503));
    told.summary(&["--verbose"]).run().succeeds().says("the message is kept and sent later");
    shop.execute("UPDATE channel_messages SET next_attempt_at = '2026-11-01T00:00:00+00:00'");
    let purge = shop.batchctl(["runs", "purge"]).env("DEV_URL", told.hook.url("/dev"));
    purge.run().succeeds();
    let messages = told.messages();
    assert_eq!((messages.len(), &messages[0]), (2, &messages[1]));
}

fn the_summary_is_in_the_language_of_the_shop(shop: &Shop) {
    let told = Told::by(shop);
    told.compared(900, told.mall, NIGHT);
    told.found(told.mall, "RESERVATION_LEAKED", "REPAIRED", NIGHT);
    for (language, title, line) in [
        (
            "ja",
            "2026年11月19日の在庫：Redis と DB の差異1件、修復済み1件（商品1,200件を照合）",
            "tokyo：予約の解放漏れ 1件、修復済み1件",
        ),
        (
            "ko",
            "2026년 11월 19일 재고: Redis와 DB 불일치 1건, 복구 1건 (상품 1,200개 대조)",
            "tokyo: 예약 누수 1건, 복구 1건",
        ),
    ] {
        told.summary(&["--rerun"]).env("BATCHCTL_LOCALE", language).run().succeeds();
        let message = told.messages().pop().unwrap();
        assert!(message[0].starts_with(title), "{message:?}");
        assert_eq!(message[1..], [line]);
    }
}

fn who_compares_nothing_hears_nothing(shop: &Shop) {
    let told = Told::by(shop);
    let without = told.summary(&["--verbose"]).unset("BATCHCTL_REDIS_URL");
    without.run().succeeds().says("BATCHCTL_REDIS_URL is not set");
    shop.execute("UPDATE malls SET platform = 'csv'");
    told.summary(&["--verbose"]).run().succeeds().says("nothing to summarise");
    assert_eq!(told.messages().len(), 0);
}
