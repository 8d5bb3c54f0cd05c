//! `stock alert`: each product is told of once until it has recovered, a message is neither lost nor sent twice, and a feed
//! that is broken is one alert.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Answer, Batchctl, Database, Mall, Request, Shop, Webhook, eventually, on_both_databases,
};

on_both_databases![
    a_product_is_told_of_once_until_its_stock_is_above_its_threshold,
    a_product_recovers_only_as_far_above_as_is_asked_for,
    only_products_that_are_made_of_active_malls_are_watched,
    a_product_that_is_sold_out_between_two_runs_is_told_of,
    an_alert_ends_with_its_stock_and_its_mall,
    one_message_names_the_forty_most_urgent_and_says_how_to_list_the_others,
    without_a_channel_the_alerts_wait_and_cron_is_silent,
    of_products_with_the_same_stock_the_oldest_is_named_first,
    stock_and_threshold_are_those_of_the_same_moment,
    the_list_is_a_table_csv_or_json,
    a_message_that_could_not_be_posted_is_sent_later_and_once,
    a_message_to_a_channel_that_was_renamed_is_given_up_and_told_anew,
    whatever_is_killed_each_alert_is_told_once,
    a_run_killed_while_the_channel_answers_sends_the_same_message_again,
    two_runs_at_once_tell_of_each_product_once,
    a_mall_that_becomes_low_at_once_is_one_alert_of_its_feed,
    a_feed_in_doubt_is_accepted_by_a_person,
    the_messages_are_in_the_language_of_the_shop,
    mails_are_queued_with_the_alerts,
    a_mail_that_cannot_be_written_keeps_no_channel_from_being_told,
    outside_prod_the_named_channel_is_the_dev_channel,
    numbers_at_their_limits_and_hostile_names_are_one_line_each,
    recovered_alerts_and_old_messages_are_purged,
];

const CHANNEL: &str = "[alerts]\ndev_channel = \"dev\"\n\
    [[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n\
    [[alerts.channel]]\nname = \"buyers\"\nkind = \"webhook\"\nurl_variable = \"BUYERS_URL\"\n";

/// A shop with a channel, and what it is told.
struct Told<'s> {
    shop: &'s Shop,
    hook: Webhook,
}

impl<'s> Told<'s> {
    /// Everybody is told through one webhook; `stock` are the keys of `[stock]`.
    fn by(shop: &'s Shop, stock: &str) -> Self {
        shop.write("batchctl.toml", format!("[stock]\n{stock}\n{CHANNEL}"));
        Self { shop, hook: Webhook::start() }
    }

    fn job(&self, words: &[&str]) -> Batchctl {
        self.shop
            .batchctl(words)
            .env("DEV_URL", self.hook.url("/dev"))
            .env("BUYERS_URL", self.hook.url("/buyers"))
    }

    fn alert(&self, arguments: &[&str]) -> Batchctl {
        self.job(&[&["stock", "alert"], arguments].concat())
    }

    /// The requests up to now that are the job's own, and not alerts about its runs.
    fn requests(&self) -> Vec<Value> {
        let requests = self.hook.requests();
        requests.iter().map(Request::json).filter(|message| message["text"].is_string()).collect()
    }

    /// The messages in them: each its title and its lines, without the time at its end.
    fn messages(&self) -> Vec<Vec<String>> {
        self.requests().iter().map(lines).collect()
    }
}

fn lines(message: &Value) -> Vec<String> {
    let text = message["text"].as_str().unwrap();
    let mut lines = vec![message["title"].as_str().unwrap().to_owned()];
    lines.extend(text.lines().map(str::to_owned));
    assert!(lines.pop().unwrap().contains("2026-11-20 01:00:00 JST"), "{lines:?}");
    lines
}

/// Adds products `P1`, `P2`, … to a mall, each with this quantity and threshold, in SQL.
fn products(shop: &Shop, mall: Mall, count: usize, quantity: &str, threshold: &str) {
    let at = "'2026-11-01T00:00:00+00:00'";
    let series = shop.series(count);
    let id = format!("{} + n", mall.id * 1_000_000);
    shop.execute(&format!(
        "INSERT INTO products (id, mall_id, product_code, name, status, currency, price_amount, stock_alert_threshold,
             created_at, updated_at)
         SELECT {id}, {}, 'P' || n, 'Tea ' || n, 'ON_SALE', 'JPY', 100, {threshold}, {at}, {at} FROM {series}",
        mall.id
    ));
    shop.execute(&format!(
        "INSERT INTO stock (product_id, quantity, updated_at) SELECT {id}, {quantity}, {at} FROM {series}"
    ));
}

fn set(shop: &Shop, product: &str, quantity: i64) {
    shop.execute(&format!(
        "UPDATE stock SET quantity = {quantity}
         WHERE product_id IN (SELECT id FROM products WHERE product_code = '{product}')"
    ));
}

/// Each alert: product, quantity and threshold then, whether it is told, whether it is over.
fn stored(shop: &Shop) -> Vec<String> {
    let rows = shop.sql(
        "SELECT p.product_code, a.quantity, a.threshold, CASE WHEN told_at IS NULL THEN 'waits' ELSE 'told' END,
                CASE WHEN recovered_at IS NULL THEN 'open' ELSE 'recovered' END
         FROM stock_alerts a JOIN products p ON p.id = a.product_id ORDER BY a.id",
    );
    rows.into_iter().map(|row| row.join(" ")).collect()
}

fn tokyo(shop: &Shop) -> Mall {
    shop.mall("tokyo", "Asia/Tokyo", "JPY")
}

fn a_product_is_told_of_once_until_its_stock_is_above_its_threshold(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 3, "6", "CASE n WHEN 3 THEN NULL ELSE 5 END");
    told.alert(&[]).run().succeeds().is_silent();
    assert_eq!(told.messages().len(), 0);
    set(shop, "P1", 5);
    told.alert(&["--verbose"]).run().succeeds().says("1 product is newly low on stock");
    let message = ["1 product is low on stock (dev)", "tokyo/P1 Tea 1: 5 left (alert at 5)"];
    assert_eq!(told.messages(), [message]);
    assert_eq!(stored(shop), ["P1 5 5 told open"]);
    // Neither the same, nor less, nor a little more is told again.
    for quantity in [5, 0, -3, 4] {
        set(shop, "P1", quantity);
        told.alert(&[]).run().succeeds().is_silent();
    }
    assert_eq!(told.messages().len(), 1);
    set(shop, "P1", 6);
    told.alert(&["--verbose"]).run().succeeds().says("1 product has recovered");
    assert_eq!(stored(shop), ["P1 5 5 told recovered"]);
    set(shop, "P1", 0);
    set(shop, "P2", -2);
    told.alert(&[]).run().succeeds();
    assert_eq!(
        told.messages()[1..],
        [[
            "2 products are low on stock (dev)",
            "tokyo/P2 Tea 2: stock -2 (alert at 5)",
            "tokyo/P1 Tea 1: sold out (alert at 5)"
        ]]
    );
    assert_eq!(stored(shop), ["P1 5 5 told recovered", "P1 0 5 told open", "P2 -2 5 told open"]);
}

fn a_product_recovers_only_as_far_above_as_is_asked_for(shop: &Shop) {
    let told = Told::by(shop, "alert_threshold = 10\nrecover_above = 5");
    products(shop, tokyo(shop), 2, "10", "CASE n WHEN 2 THEN 3 ELSE NULL END");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 10 10 told open"], "its own threshold wins over the default");
    for (quantity, then) in [(11, "open"), (15, "open"), (16, "recovered")] {
        set(shop, "P1", quantity);
        told.alert(&[]).run().succeeds();
        assert_eq!(stored(shop), [format!("P1 10 10 told {then}")], "{quantity}");
    }
    assert_eq!(told.messages().len(), 1);
}

fn only_products_that_are_made_of_active_malls_are_watched(shop: &Shop) {
    let told = Told::by(shop, "");
    let tokyo = tokyo(shop);
    products(shop, tokyo, 3, "0", "1");
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    products(shop, osaka, 1, "0", "1");
    shop.execute(&format!("UPDATE malls SET is_active = FALSE WHERE id = {}", osaka.id));
    let set_status = |product: &str, status: &str| {
        shop.execute(&format!(
            "UPDATE products SET status = '{status}' WHERE product_code = '{product}' AND mall_id = {}",
            tokyo.id
        ));
    };
    set_status("P2", "DISCONTINUED");
    set_status("P3", "DISCONTINUED");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 0 1 told open"]);
    // A shop that marks what is sold out does not end its alert; one that makes it no more does.
    set_status("P1", "SOLD_OUT");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 0 1 told open"]);
    set_status("P1", "DISCONTINUED");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 0 1 told recovered"]);
    told.alert(&["--mall", "osaka"]).run().succeeds();
    assert_eq!(stored(shop).len(), 2, "a mall that is named is looked at");
}

fn a_product_that_is_sold_out_between_two_runs_is_told_of(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 2, "6", "5");
    told.alert(&[]).run().succeeds();
    set(shop, "P1", 0);
    shop.execute("UPDATE products SET status = 'SOLD_OUT' WHERE product_code = 'P1'");
    told.alert(&[]).run().succeeds();
    let message = ["1 product is low on stock (dev)", "tokyo/P1 Tea 1: sold out (alert at 5)"];
    assert_eq!(told.messages(), [message]);
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages().len(), 1);
}

fn an_alert_ends_with_its_stock_and_its_mall(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 2, "0", "5");
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    products(shop, osaka, 25, "0", "5");
    told.alert(&["--accept-all"]).run().succeeds();
    assert_eq!(stored(shop).len(), 27);
    let open = || shop.scalar("SELECT COUNT(*) FROM stock_alerts WHERE recovered_at IS NULL");
    shop.execute("DELETE FROM stock WHERE product_id = (SELECT MIN(id) FROM products)");
    told.alert(&[]).run().succeeds();
    assert_eq!((open().as_str(), stored(shop)[0].as_str()), ("26", "P1 0 5 told recovered"));
    shop.execute(&format!("UPDATE malls SET is_active = FALSE WHERE id = {}", osaka.id));
    told.alert(&[]).run().succeeds();
    assert_eq!(open(), "1");
    // Active again, it is told of anew; its feed, which is in doubt now, is not once it is inactive.
    shop.execute(&format!("UPDATE malls SET is_active = TRUE WHERE id = {}", osaka.id));
    told.alert(&[]).run().succeeds();
    let doubts = || shop.scalar("SELECT COUNT(*) FROM stock_feed_alerts WHERE closed_at IS NULL");
    assert_eq!((open().as_str(), doubts().as_str()), ("1", "1"));
    shop.execute(&format!("UPDATE malls SET is_active = FALSE WHERE id = {}", osaka.id));
    told.alert(&[]).run().succeeds();
    assert_eq!(doubts(), "0");
}

fn one_message_names_the_forty_most_urgent_and_says_how_to_list_the_others(shop: &Shop) {
    let told = Told::by(shop, "");
    // Half of them low: not yet too many to be true.
    products(shop, tokyo(shop), 2_000, "n", "1000");
    told.alert(&[]).run().succeeds();
    let messages = told.messages();
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(message[0], "1,000 products are low on stock (dev)");
    assert_eq!(message[1], "tokyo/P1 Tea 1: 1 left (alert at 1,000)");
    assert_eq!(message[40], "tokyo/P40 Tea 40: 40 left (alert at 1,000)");
    assert_eq!(message[41..], [format!("and 960 more: {}", shop.command("dev", "stock alerts"))]);
    let untold = "SELECT COUNT(*) FROM stock_alerts WHERE told_at IS NULL";
    assert_eq!(shop.scalar(untold), "0");
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages().len(), 1);
}

fn without_a_channel_the_alerts_wait_and_cron_is_silent(shop: &Shop) {
    products(shop, tokyo(shop), 2, "0", "1");
    shop.batchctl(["stock", "alert"]).run().succeeds().is_silent();
    shop.batchctl(["stock", "alert"]).run().succeeds().is_silent();
    assert_eq!(stored(shop), ["P1 0 1 waits open", "P2 0 1 waits open"]);
    shop.batchctl(["stock", "alerts"]).run().succeeds().prints("P1").prints("P2");
    // One of them is no news any more once there is a channel.
    set(shop, "P1", 9);
    let told = Told::by(shop, "");
    told.alert(&[]).run().succeeds().is_silent();
    assert_eq!(
        told.messages(),
        [["1 product is low on stock (dev)", "tokyo/P2 Tea 2: sold out (alert at 1)"]]
    );
    assert_eq!(stored(shop), ["P1 0 1 waits recovered", "P2 0 1 told open"]);
}

fn of_products_with_the_same_stock_the_oldest_is_named_first(shop: &Shop) {
    products(shop, tokyo(shop), 3, "9", "1");
    // They become low in another order than that of their numbers.
    for product in ["P3", "P1", "P2"] {
        set(shop, product, 0);
        shop.batchctl(["stock", "alert"]).run().succeeds();
    }
    let list = shop.batchctl(["stock", "alerts", "--format", "csv"]).run().succeeds().stdout;
    let listed: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(listed, ["P1", "P2", "P3"]);
    let told = Told::by(shop, "");
    told.alert(&[]).run().succeeds();
    let [message] = told.messages().try_into().unwrap();
    let named = [1, 2, 3].map(|number| format!("tokyo/P{number} Tea {number}: sold out (alert at 1)"));
    assert_eq!(message[1..], named);
}

fn stock_and_threshold_are_those_of_the_same_moment(shop: &Shop) {
    products(shop, tokyo(shop), 1, "0", "0");
    shop.batchctl(["stock", "alert"]).run().succeeds();
    set(shop, "P1", 50);
    shop.execute("UPDATE products SET stock_alert_threshold = 100");
    let list = |format| shop.batchctl(["stock", "alerts", "--format", format]).run().succeeds().stdout;
    assert!(list("csv").contains("tokyo,P1,Tea 1,50,100,"), "{}", list("csv"));
    let json: Value = serde_json::from_str(&list("json")).unwrap();
    let figures =
        ["quantity", "threshold", "quantity_then", "threshold_then"].map(|key| json[0][key].clone());
    assert_eq!(figures, [50, 100, 0, 0]);
    let told = Told::by(shop, "");
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages()[0][1], "tokyo/P1 Tea 1: 50 left (alert at 100)");
    // The default holds for a product that has none of its own any more.
    shop.execute("UPDATE products SET stock_alert_threshold = NULL");
    shop.write("batchctl.toml", "[stock]\nalert_threshold = 60\n");
    assert!(list("csv").contains("tokyo,P1,Tea 1,50,60,"), "{}", list("csv"));
}

fn the_list_is_a_table_csv_or_json(shop: &Shop) {
    shop.batchctl(["stock", "alerts"]).run().succeeds().prints("no product is low on stock");
    products(shop, tokyo(shop), 3, "3 - n", "1");
    shop.execute("UPDATE products SET name = '=cmd|x' WHERE product_code = 'P3'");
    shop.batchctl(["stock", "alert"]).run().succeeds();
    let list = |arguments: &[&str]| {
        shop.batchctl(["stock", "alerts"].iter().chain(arguments)).run().succeeds().stdout
    };
    let csv = list(&["--format", "csv"]);
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0], "mall,product,name,quantity,threshold,opened_at,told_at");
    assert_eq!(rows[1], "tokyo,P3,'=cmd|x,0,1,2026-11-20 01:00:00 JST,");
    assert_eq!(rows.len(), 3, "{csv}");
    let json: Value = serde_json::from_str(&list(&["--format", "json"])).unwrap();
    assert_eq!(json[1]["product"], "P2");
    assert_eq!(json[1]["quantity"], 1);
    assert_eq!(json[1]["told_at"], Value::Null);
    let table = list(&["--limit", "1"]);
    assert!(table.contains("P3") && !table.contains("P2"), "{table}");
    assert!(table.contains("there are more"), "{table}");
    shop.batchctl(["stock", "alerts", "--mall", "nowhere"]).run().exits(2);
}

fn a_message_that_could_not_be_posted_is_sent_later_and_once(shop: &Shop) {
    let told = Told::by(shop, "");
    let mall = tokyo(shop);
    products(shop, mall, 1, "0", "1");
    told.hook.answer(Answer::status(500));
    told.alert(&["--verbose"]).run().succeeds().says("the message is kept and sent later");
    assert_eq!(stored(shop), ["P1 0 1 waits open"]);
    let kept = || shop.scalar("SELECT COUNT(*) FROM channel_messages WHERE delivered_at IS NULL");
    assert_eq!(kept(), "1");
    // Not before its time: a channel that is down is not asked by each command.
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages().len(), 1);
    // Any command sends it.
    due(shop);
    told.job(&["runs", "purge"]).run().succeeds();
    assert_eq!((told.messages().len(), kept().as_str()), (2, "0"));
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 0 1 told open"]);
    assert_eq!(told.messages().len(), 2);
    assert_eq!(told.messages()[0], told.messages()[1]);
}

/// Lets the pause of what is kept be over.
fn due(shop: &Shop) {
    shop.execute("UPDATE channel_messages SET next_attempt_at = '2026-11-01T00:00:00+00:00'");
}

fn whatever_is_killed_each_alert_is_told_once(shop: &Shop) {
    let told = Told::by(shop, "");
    let mall = tokyo(shop);
    products(shop, mall, 1, "0", "1");
    // The first chunk opens the alerts, the second keeps the message, the third notes that it is told.
    for point in [
        "in-chunk",
        "at-commit",
        "in-chunk@2",
        "at-commit@2",
        "stock-message-kept",
        "in-chunk@3",
        "at-commit@3",
    ] {
        shop.execute("DELETE FROM stock_alerts");
        shop.execute("DELETE FROM channel_messages");
        let before = told.messages().len();
        told.alert(&[]).failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        told.alert(&[]).run().succeeds();
        told.alert(&[]).run().succeeds();
        assert_eq!(stored(shop), ["P1 0 1 told open"], "{point}");
        assert_eq!(told.messages().len(), before + 1, "{point}");
    }
}

fn a_run_killed_while_the_channel_answers_sends_the_same_message_again(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 1, "0", "1");
    told.hook.answer(Answer::Silence);
    let mut running = told.alert(&[]).spawn();
    eventually(|| told.hook.requests().len() == 1, "the message arrives");
    running.signal(Signal::KILL);
    running.wait().is_killed_by(Signal::KILL);
    due(shop);
    told.alert(&[]).run().succeeds();
    told.alert(&[]).run().succeeds();
    let requests = told.requests();
    assert_eq!(requests.len(), 2, "nobody knows whether the first one was read");
    assert_eq!(requests[0]["id"], requests[1]["id"], "but it is recognised as the same");
    assert_eq!(stored(shop), ["P1 0 1 told open"]);
}

fn two_runs_at_once_tell_of_each_product_once(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 10, "0", "1");
    let mut held = told.alert(&[]).hold_at("in-chunk");
    held.wait_until_reached();
    let second = told.alert(&[]).spawn();
    let first = held.release();
    let codes = [first.wait().code, second.wait().code];
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| matches!(code, Some(0 | 75))), "{codes:?}");
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages().len(), 1);
    assert_eq!(stored(shop).len(), 10);
}

fn a_mall_that_becomes_low_at_once_is_one_alert_of_its_feed(shop: &Shop) {
    let told = Told::by(shop, "");
    let mall = tokyo(shop);
    products(shop, mall, 40, "n + 10", "10");
    let osaka = shop.mall("osaka", "Asia/Tokyo", "JPY");
    products(shop, osaka, 19, "0", "1");
    told.alert(&[]).run().succeeds();
    assert_eq!(told.messages().len(), 1, "19 are too few to doubt");
    shop.execute("UPDATE stock SET quantity = 0 WHERE quantity <= 30 AND quantity > 0");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop).len(), 19 + 20, "half of them may be true");
    shop.execute("DELETE FROM stock_alerts");
    shop.execute("UPDATE stock SET quantity = 0 WHERE quantity <= 31");
    let accept = shop.command("dev", "stock alert --mall tokyo --accept-all");
    for _ in 0..3 {
        told.alert(&["--verbose", "--mall", "tokyo"])
            .run()
            .succeeds()
            .says("no alert was raised; the stock of mall `tokyo` is in doubt: 21 of 40 products became low at once")
            .says(&format!("if it is true: {accept}"));
    }
    assert_eq!(stored(shop).len(), 0);
    let list = shop.batchctl(["stock", "alerts"]).run().succeeds().prints("no alert is open");
    list.says("note: the stock of mall `tokyo` is in doubt: 21 of 40 products").says(&accept);
    let messages = told.messages();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    assert_eq!(
        messages[2],
        [
            "The stock of mall tokyo is in doubt: 21 of 40 products became low at once (dev)".to_owned(),
            "No alert is opened for its products: check what writes the table `stock`".to_owned(),
            format!("If it is true: {accept}"),
        ]
    );
    // The feed is repaired, and only what is really low is told of.
    shop.execute(&format!("UPDATE stock SET quantity = 99 WHERE product_id > {}", mall.id * 1_000_000 + 1));
    set(shop, "P1", 0);
    shop.execute(&format!("UPDATE stock SET quantity = 99 WHERE product_id > {}", osaka.id * 1_000_000));
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop), ["P1 0 10 told open"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_feed_alerts WHERE closed_at IS NULL"), "0");
    assert_eq!(told.messages().len(), 4);
}

fn a_feed_in_doubt_is_accepted_by_a_person(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 30, "0", "1");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop).len(), 0);
    told.alert(&["--mall", "tokyo", "--accept-all"]).run().succeeds();
    shop.batchctl(["stock", "alerts"]).run().succeeds().never_shows("in doubt");
    assert_eq!(stored(shop).len(), 30);
    told.alert(&[]).run().succeeds();
    let titles: Vec<String> = told.messages().into_iter().map(|mut message| message.remove(0)).collect();
    assert_eq!(
        titles,
        [
            "The stock of mall tokyo is in doubt: 30 of 30 products became low at once (dev)",
            "30 products are low on stock (dev)"
        ]
    );
    assert_eq!(
        shop.scalar("SELECT COUNT(*) FROM stock_feed_alerts WHERE told_at IS NULL OR closed_at IS NULL"),
        "0"
    );
    // A shop may have few products and large swings.
    shop.execute("DELETE FROM stock_alerts");
    let told = Told::by(shop, "feed = { percent = 100 }");
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop).len(), 30);
}

fn the_messages_are_in_the_language_of_the_shop(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 3, "n - 2", "1");
    for (language, message) in [
        (
            "ja",
            [
                "在庫が少ない商品：3件（dev）",
                "tokyo/P1 Tea 1：在庫 -1（基準 1）",
                "tokyo/P2 Tea 2：在庫切れ（基準 1）",
                "tokyo/P3 Tea 3：残り1点（基準 1）",
            ],
        ),
        (
            "ko",
            [
                "재고 부족 상품 3개 (dev)",
                "tokyo/P1 Tea 1: 재고 -1 (기준 1)",
                "tokyo/P2 Tea 2: 품절 (기준 1)",
                "tokyo/P3 Tea 3: 1개 남음 (기준 1)",
            ],
        ),
    ] {
        shop.execute("DELETE FROM stock_alerts");
        told.alert(&[]).env("BATCHCTL_LOCALE", language).run().succeeds();
        assert_eq!(told.messages().pop().unwrap(), message);
    }
}

fn mails_are_queued_with_the_alerts(shop: &Shop) {
    let told = Told::by(shop, "mail_to = [\"buyer@example.jp\", \"Chief <chief@example.jp>\"]");
    products(shop, tokyo(shop), 1, "0", "1");
    told.hook.answer(Answer::status(500));
    told.alert(&[]).run().succeeds();
    due(shop);
    told.alert(&[]).run().succeeds();
    let mails = shop.sql("SELECT recipient, subject, text_body FROM mails ORDER BY id");
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0][..2], ["buyer@example.jp", "1 product is low on stock (dev)"]);
    assert!(
        mails[0][2].contains("tokyo/P1 Tea 1: sold out (alert at 1)\nas of 2026-11-20"),
        "{}",
        mails[0][2]
    );
    assert_eq!(told.messages().len(), 2);
}

fn a_mail_that_cannot_be_written_keeps_no_channel_from_being_told(shop: &Shop) {
    let told = Told::by(shop, "mail_to = [\"buyer@example.jp\"]\n[mail]\ntemplate_dir = \"texts\"");
    let text = "+++\nsubject = \"{{ no_such }}\"\ndescription = \"x\"\nowner = \"x\"\n+++\nx\n";
    shop.write("texts/notification.en.txt", text);
    products(shop, tokyo(shop), 1, "0", "1");
    told.alert(&[]).run().exits(3).says("notification.en.txt");
    assert_eq!(told.messages().len(), 1);
    assert_eq!(stored(shop), ["P1 0 1 told open"]);
}

fn outside_prod_the_named_channel_is_the_dev_channel(shop: &Shop) {
    let told = Told::by(shop, "channel = \"buyers\"");
    products(shop, tokyo(shop), 1, "0", "1");
    told.alert(&[]).run().succeeds();
    let requests = told.hook.requests();
    assert_eq!(requests.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/dev"]);
    assert_eq!(told.messages()[0][0], "[to buyers] 1 product is low on stock (dev)");
    // Without one nobody is told.
    shop.execute("DELETE FROM stock_alerts");
    let without = CHANNEL.replace("dev_channel = \"dev\"\n", "");
    shop.write("batchctl.toml", format!("[stock]\nchannel = \"buyers\"\n{without}"));
    told.alert(&[]).run().succeeds();
    assert_eq!((told.messages().len(), stored(shop)), (1, vec!["P1 0 1 waits open".to_owned()]));
}

fn numbers_at_their_limits_and_hostile_names_are_one_line_each(shop: &Shop) {
    let told = Told::by(shop, "recover_above = 1000");
    let (most, least) = (i64::MAX, i64::MIN + 1);
    products(
        shop,
        tokyo(shop),
        5,
        &format!("CASE n WHEN 1 THEN {least} - 1 WHEN 2 THEN {most} ELSE 0 END"),
        &format!("CASE n WHEN 3 THEN {least} - 1 WHEN 4 THEN NULL ELSE {most} END"),
    );
    shop.execute(
        "UPDATE products SET name = '@channel <!here> a\u{1b}[31mb\nc\u{202e}d' WHERE product_code = 'P1'",
    );
    let long = match shop.database() {
        Database::Sqlite => "CAST(x'ff80' AS TEXT) || hex(zeroblob(2500000))",
        Database::Postgres => "repeat('雪', 5000000)",
    };
    shop.execute(&format!("UPDATE products SET name = {long} WHERE product_code = 'P2'"));
    for _ in 0..2 {
        told.alert(&[]).run().succeeds().is_silent();
    }
    assert_eq!(stored(shop).len(), 3);
    let messages = told.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].len(), 4);
    assert_eq!(
        messages[0][1],
        "tokyo/P1 @channel <!here> a [31mb c d: stock -9,223,372,036,854,775,808 (alert at 9,223,372,036,854,775,807)"
    );
    assert!(messages[0].iter().all(|line| line.chars().count() < 200), "{messages:?}");
    let list = told.job(&["stock", "alerts"]).run().succeeds();
    assert!(!list.stdout.contains('\u{1b}') && list.stdout.len() < 10_000, "{}", list.stdout);
    // The largest threshold there is: never above it, and no overflow.
    set(shop, "P1", most);
    told.alert(&[]).run().succeeds();
    assert_eq!(stored(shop).len(), 3);
}

fn recovered_alerts_and_old_messages_are_purged(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 2, "0", "1");
    told.alert(&[]).run().succeeds();
    set(shop, "P1", 9);
    told.alert(&[]).run().succeeds();
    for (table, column) in [("stock_alerts", "recovered_at"), ("channel_messages", "delivered_at")] {
        let old = "2020-01-01T00:00:00+00:00";
        shop.execute(&format!("UPDATE {table} SET {column} = '{old}' WHERE {column} IS NOT NULL"));
    }
    told.job(&["runs", "purge"]).run().succeeds();
    assert_eq!(stored(shop), ["P2 0 1 told open"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM channel_messages"), "0");
}

#[test]
fn a_threshold_that_is_no_number_and_a_channel_that_is_not_there_are_named() {
    for (text, problem) in [
        (
            "[stock]\nalert_threshold = \"few\"\n",
            "`stock.alert_threshold`: write a whole number, without quotes",
        ),
        ("[stock]\nalert_threshold = 2.5\n", "`stock.alert_threshold`: write a whole number"),
        ("[stock]\nchannel = \"bayers\"\n", "`stock.channel` is not the name of an [[alerts.channel]]"),
    ] {
        let shop = crate::support::Sandbox::new();
        shop.write("batchctl.toml", format!("{text}{CHANNEL}"));
        shop.batchctl(["stock", "alert"]).run().exits(78).says(problem);
    }
}

fn a_message_to_a_channel_that_was_renamed_is_given_up_and_told_anew(shop: &Shop) {
    let told = Told::by(shop, "");
    products(shop, tokyo(shop), 1, "1", "5");
    told.hook.answer(Answer::status(503));
    told.alert(&[]).run().succeeds();
    assert_eq!(told.requests().len(), 1);
    let rename = |from: &str, to: &str| {
        let text = shop.read("batchctl.toml").replace(&format!("\"{from}\""), &format!("\"{to}\""));
        shop.write("batchctl.toml", text);
    };
    let rows = || {
        shop.sql(
            "SELECT channel, CASE WHEN delivered_at IS NULL THEN '-' ELSE 'delivered' END,
                    CASE WHEN given_up_at IS NULL THEN '-' ELSE 'given up' END, last_error
             FROM channel_messages ORDER BY id",
        )
    };
    rename("dev", "stock-dev");
    due(shop);
    // The name may be a slip of the pen.
    told.alert(&[]).run().succeeds();
    let missing = "the channel is not configured any more";
    assert_eq!(rows(), [["dev", "-", "-", missing]]);
    assert_eq!(stored(shop), ["P1 1 5 waits open"]);
    shop.execute("UPDATE channel_messages SET created_at = '2026-11-01T00:00:00+00:00'");
    due(shop);
    told.alert(&[]).run().succeeds().says(&format!("note: a message to `dev` is given up: {missing}"));
    assert_eq!(rows(), [["dev", "-", "given up", missing]]);
    // Nobody was told: the channel that there is now is.
    told.alert(&[]).run().succeeds().is_silent();
    assert_eq!(rows(), [["dev", "-", "given up", missing], ["stock-dev", "delivered", "-", "NULL"]]);
    assert_eq!(stored(shop), ["P1 1 5 told open"]);
    assert_eq!(told.requests().len(), 2);
    told.alert(&[]).run().succeeds().is_silent();
    for column in ["given_up_at", "delivered_at"] {
        let old = "2020-01-01T00:00:00+00:00";
        shop.execute(&format!("UPDATE channel_messages SET {column} = '{old}' WHERE {column} IS NOT NULL"));
    }
    told.job(&["runs", "purge"]).run().succeeds();
    assert_eq!(rows().len(), 0);
}
