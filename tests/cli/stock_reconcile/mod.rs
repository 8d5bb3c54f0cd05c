//! `stock reconcile`: each cause is recognised and repaired, what moves is not touched, and what cannot be true repairs nothing.

mod faults;
mod malls;
mod movements;
mod reservations;

use serde_json::Value;

use crate::support::redis::Redis;
use crate::support::{Batchctl, Database, Mall, Shop, Webhook, on_both_databases};

on_both_databases![
    each_cause_is_recognised_and_repaired,
    a_dry_run_shows_each_difference_and_changes_nothing,
    redis_can_be_the_one_that_is_believed,
    more_than_ten_differences_are_an_urgent_message_once,
    an_empty_redis_is_not_believed,
    what_is_not_compared_does_not_make_an_empty_redis_credible,
    keys_of_another_pattern_are_not_believed,
    products_that_differ_and_keys_without_a_product_are_both_named,
    a_product_may_have_any_number,
    the_list_of_differences_can_be_narrowed,
    only_malls_whose_orders_are_here_are_compared,
    hostile_codes_and_keys_stop_no_other,
];

/// A mall of our own, and its Redis.
pub(super) struct Stock<'s> {
    pub(super) shop: &'s Shop,
    pub(super) redis: Redis,
    pub(super) mall: Mall,
}

const CHANNEL: &str = "[alerts]\ndev_channel = \"dev\"\n\
    [[alerts.channel]]\nname = \"dev\"\nkind = \"webhook\"\nurl_variable = \"DEV_URL\"\n";

impl<'s> Stock<'s> {
    /// `None` without a Redis.
    pub(super) fn of(shop: &'s Shop) -> Option<Self> {
        let redis = Redis::start()?;
        let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
        shop.execute("UPDATE malls SET platform = 'app'");
        let stock = Self { shop, redis, mall };
        stock.configure("");
        Some(stock)
    }

    /// Sets keys of `[stock.reconcile]`. A difference settles fast: a test need not wait for an order.
    pub(super) fn configure(&self, more: &str) {
        self.configure_settling("100ms", more);
    }

    /// The same with how long a difference has to stay the same.
    pub(super) fn configure_settling(&self, settle: &str, more: &str) {
        let text = format!("{CHANNEL}[stock.reconcile]\nsettle = \"{settle}\"\n{more}\n");
        self.shop.write("batchctl.toml", text);
    }

    pub(super) fn job(&self, words: &[&str]) -> Batchctl {
        self.shop.batchctl(words).env("BATCHCTL_REDIS_URL", self.redis.url())
    }

    pub(super) fn reconcile(&self, arguments: &[&str]) -> Batchctl {
        self.job(&[&["stock", "reconcile"], arguments].concat())
    }

    /// Another mall of our own.
    pub(super) fn another_mall(&self, code: &str) -> Mall {
        let mall = self.shop.mall(code, "Asia/Tokyo", "JPY");
        self.shop.execute(&format!("UPDATE malls SET platform = 'app' WHERE id = {}", mall.id));
        mall
    }

    /// A product with this quantity in the database.
    pub(super) fn product(&self, code: &str, quantity: i64) {
        self.product_of(self.mall, code, quantity);
    }

    /// The same of another mall.
    pub(super) fn product_of(&self, mall: Mall, code: &str, quantity: i64) {
        let at = "'2026-11-01T00:00:00+00:00'";
        let code = code.replace('\'', "''");
        self.shop.execute(&format!(
            "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({}, '{code}', 'Tea', 'ON_SALE', 'JPY', 100, {at}, {at})",
            mall.id
        ));
        self.shop.execute(&format!(
            "INSERT INTO stock (product_id, quantity, updated_at) SELECT MAX(id), {quantity}, {at} FROM products"
        ));
    }

    /// The same in Redis.
    pub(super) fn set(&self, code: &str, number: i64) {
        self.redis.command::<()>(&["SET", &key(code), &number.to_string()]);
    }

    pub(super) fn get(&self, code: &str) -> Option<String> {
        self.redis.command(&["GET", &key(code)])
    }

    pub(super) fn quantity(&self, code: &str) -> String {
        self.shop.scalar(&format!(
            "SELECT quantity FROM stock JOIN products p ON p.id = product_id WHERE product_code = '{code}'"
        ))
    }

    /// Each difference: product, database, Redis, cause, what it became, repair.
    pub(super) fn differences(&self) -> Vec<String> {
        let rows = self.shop.sql(
            "SELECT product_code, quantity, stored, cause, target, repair FROM stock_differences ORDER BY id",
        );
        let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
        rows.sort();
        rows
    }

    /// The payloads of the events.
    pub(super) fn events(&self) -> Vec<Value> {
        let sql = "SELECT payload FROM outbox_events WHERE event_type = 'stock.sync.alert' ORDER BY id";
        let payloads = self.shop.sql(sql).concat();
        payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
    }
}

pub(super) fn key(code: &str) -> String {
    format!("stock:tokyo:{code}")
}

fn each_cause_is_recognised_and_repaired(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    for (code, quantity, in_redis) in [
        ("EQUAL", 10, Some(10)),
        ("SOLDOUT", 0, Some(0)),
        ("MISSING", 5, None),
        ("LEAKED", 10, Some(7)),
        ("LATE", 10, Some(12)),
        ("NEGATIVE", 3, Some(-2)),
        ("HASH", 4, None),
        ("TEXT", 4, None),
        ("OLD", 4, None),
    ] {
        stock.product(code, quantity);
        if let Some(number) = in_redis {
            stock.set(code, number);
        }
    }
    shop.execute("UPDATE products SET status = 'DISCONTINUED' WHERE product_code = 'OLD'");
    stock.redis.command::<()>(&["HSET", &key("HASH"), "a", "1"]);
    stock.redis.command::<()>(&["SET", &key("TEXT"), "many"]);
    stock.set("GONE", 9);
    // Another program's, under a name that our products might have.
    stock.redis.command::<()>(&["RPUSH", &key("queue"), "1"]);
    stock.redis.command::<()>(&["SET", "stock:osaka:LEAKED", "1"]);
    let ran = stock.reconcile(&["--verbose"]).run().exits(3);
    ran.says("tokyo/HASH: Redis has a hash at the key `stock:tokyo:HASH` (wrong type); it is left as it is");
    let left = ["HASH 4 a hash WRONG_TYPE NULL LEFT", "TEXT 4 \"many\" WRONG_TYPE NULL LEFT"];
    let repaired = [
        "GONE NULL 9 KEY_WITHOUT_PRODUCT NULL REPAIRED",
        "LATE 10 12 LATE_DECREMENT 10 REPAIRED",
        "LEAKED 10 7 RESERVATION_LEAKED 10 REPAIRED",
        "MISSING 5 NULL MISSING_IN_REDIS 5 REPAIRED",
        "NEGATIVE 3 -2 NEGATIVE 3 REPAIRED",
    ];
    let mut all = [&left[..], &repaired[..]].concat();
    all.sort_unstable();
    assert_eq!(stock.differences(), all);
    let now = ["EQUAL", "SOLDOUT", "MISSING", "LEAKED", "LATE", "NEGATIVE", "TEXT", "GONE", "OLD"]
        .map(|code| stock.get(code).unwrap_or_default());
    assert_eq!(now, ["10", "0", "5", "10", "10", "3", "many", "", ""]);
    let others: (i64, String) =
        (stock.redis.command(&["LLEN", &key("queue")]), stock.redis.command(&["GET", "stock:osaka:LEAKED"]));
    assert_eq!(others, (1, "1".to_owned()));
    let [event] = stock.events().try_into().unwrap();
    assert_eq!(
        (&event["differences"], &event["repaired"], &event["compared_products"]),
        (&7.into(), &5.into(), &8.into())
    );
    assert_eq!(event["is_urgent"], false);
    assert_eq!(event["causes"].as_array().unwrap().len(), 6);
    let compared =
        "SELECT source, compared, differences, repaired, unsettled, day FROM stock_reconciliations";
    assert_eq!(shop.sql(compared), [["DB", "8", "7", "5", "0", "2026-11-20"]]);
    // What is repaired is not found again; what a person has to repair is.
    stock.reconcile(&[]).run().exits(3);
    assert_eq!(stock.differences().len(), 9);
    stock.redis.command::<()>(&["DEL", &key("HASH"), &key("TEXT")]);
    stock.reconcile(&[]).run().succeeds().is_silent();
    assert_eq!([stock.get("HASH"), stock.get("TEXT")], [Some("4".to_owned()), Some("4".to_owned())]);
    stock.reconcile(&["--verbose"]).run().succeeds().says("compared 8 products: no differences");
    assert_eq!(stock.events().len(), 3, "nothing found is no event");
}

fn a_dry_run_shows_each_difference_and_changes_nothing(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("LEAKED", 10);
    stock.set("LEAKED", 7);
    stock.product("MISSING", 5);
    stock.set("GONE", 9);
    let before = shop.dump();
    let ran = stock.reconcile(&["--dry-run"]).run().succeeds();
    for words in
        [["LEAKED", "Redis becomes 10"], ["MISSING", "Redis becomes 5"], ["GONE", "the key is deleted"]]
    {
        let line = ran.stdout.lines().find(|line| line.contains(words[0])).unwrap_or_default();
        assert!(line.contains(words[1]), "{}", ran.stdout);
    }
    assert_eq!(shop.dump(), before);
    assert_eq!([stock.get("LEAKED"), stock.get("GONE")], [Some("7".to_owned()), Some("9".to_owned())]);
    stock.reconcile(&["--dry-run", "--source", "redis"]).run().prints("the database becomes 7");
    stock.reconcile(&["--source", "cache"]).run().exits(2).says("cache");
}

fn redis_can_be_the_one_that_is_believed(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    for (code, number) in [("LEAKED", Some(7)), ("LATE", Some(12)), ("MISSING", None), ("NEGATIVE", Some(-1))]
    {
        stock.product(code, 10);
        if let Some(number) = number {
            stock.set(code, number);
        }
    }
    stock.reconcile(&["--source", "redis"]).run().exits(3);
    stock
        .reconcile(&["--source", "redis", "--verbose"])
        .run()
        .exits(3)
        .says("tokyo/MISSING: Redis has nothing at the key `stock:tokyo:MISSING` (missing in Redis); it is left as it is: Redis has no number to take over")
        .says("tokyo/NEGATIVE: Redis has -1 at the key `stock:tokyo:NEGATIVE` (negative); it is left as it is: a negative number is not taken over")
        // All four were compared, whatever became of them.
        .says("data:  4 products are compared\n");
    shop.execute("DELETE FROM stock_differences WHERE execution_id = 2");
    assert_eq!(
        stock.differences(),
        [
            "LATE 10 12 LATE_DECREMENT 12 REPAIRED",
            "LEAKED 10 7 RESERVATION_LEAKED 7 REPAIRED",
            "MISSING 10 NULL MISSING_IN_REDIS NULL LEFT",
            "NEGATIVE 10 -1 NEGATIVE NULL LEFT",
        ]
    );
    assert_eq!(
        ["LEAKED", "LATE", "MISSING", "NEGATIVE"].map(|code| stock.quantity(code)),
        ["7", "12", "10", "10"]
    );
    assert_eq!([stock.get("LEAKED"), stock.get("MISSING")], [Some("7".to_owned()), None]);
}

fn more_than_ten_differences_are_an_urgent_message_once(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let hook = Webhook::start();
    let spoil = |count: i64| {
        for number in 1..=count {
            stock.set(&format!("P{number:02}"), number - 1);
        }
    };
    for number in 1..=30 {
        stock.product(&format!("P{number:02}"), number);
        stock.set(&format!("P{number:02}"), number);
    }
    spoil(10);
    stock.reconcile(&[]).env("DEV_URL", hook.url("/dev")).run().succeeds();
    assert_eq!((stock.differences().len(), hook.requests().len()), (10, 0));
    spoil(11);
    for _ in 0..2 {
        stock.reconcile(&[]).env("DEV_URL", hook.url("/dev")).run().succeeds().is_silent();
    }
    let [message] = hook.requests().try_into().unwrap_or_else(|all| panic!("{all:#?}"));
    let message = message.json();
    assert_eq!(message["severity"], "high");
    assert_eq!(message["title"], "11 products differ between Redis and the database; 11 were repaired (dev)");
    let text = message["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..2],
        ["tokyo: reservation leaked 11, repaired 11", "tokyo/P01: database 1, Redis 0 (reservation leaked)"]
    );
    assert_eq!(lines.len(), 1 + 11 + 1);
    let urgent: Vec<Value> = stock.events().into_iter().map(|event| event["is_urgent"].clone()).collect();
    assert_eq!(urgent, [false, true]);
}

fn an_empty_redis_is_not_believed(shop: &Shop) {
    let Some(mut stock) = Stock::of(shop) else { return };
    for number in 1..=25 {
        stock.product(&format!("P{number}"), number);
        stock.set(&format!("P{number}"), number);
    }
    stock.reconcile(&[]).run().succeeds();
    stock.redis.restart();
    let ran = stock.reconcile(&[]).run().exits(1);
    ran.says("25 of 25 products compared have no key; nothing was repaired")
        .says("was Redis emptied or restarted")
        .says("stock reconcile --mall tokyo --accept-all");
    assert_eq!(stock.differences().len(), 0);
    assert_eq!(stock.redis.command::<i64>(&["DBSIZE"]), 0);
    stock.reconcile(&["--dry-run"]).run().exits(1).says("have no key");
    stock.reconcile(&["--mall", "tokyo", "--accept-all"]).run().succeeds();
    assert_eq!(stock.get("P25").unwrap(), "25");
    assert_eq!(stock.differences().len(), 25);
    // Half of them restored from an old copy.
    for number in 1..=21 {
        stock.set(&format!("P{number}"), number + 1);
    }
    stock.reconcile(&[]).run().exits(1).says("21 of 25 products compared differ, 0 of them without a key");
    stock.configure("percent = 90");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("P1").unwrap(), "1");
}

fn what_is_not_compared_does_not_make_an_empty_redis_credible(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    // A hundred products, most of which are not compared: 20 % of the others are less than 21.
    for number in 1..=30 {
        stock.product(&format!("P{number}"), number);
    }
    let at = "'2026-11-01T00:00:00+00:00'";
    shop.execute(&format!(
        "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
         SELECT {}, 'OLD' || n, 'Tea', 'DISCONTINUED', 'JPY', 100, {at}, {at} FROM {}",
        stock.mall.id,
        shop.series(200)
    ));
    stock.reconcile(&[]).run().exits(1).says("30 of 30 products compared have no key");
    assert_eq!(stock.redis.command::<i64>(&["DBSIZE"]), 0);
    // One without a row in `stock` is not compared either.
    shop.execute("UPDATE products SET status = 'ON_SALE'");
    stock.reconcile(&[]).run().exits(1).says("30 of 30 products compared have no key");
    assert_eq!(stock.differences().len(), 0);
}

fn keys_of_another_pattern_are_not_believed(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 1);
    stock.set("P1", 1);
    for number in 1..=21 {
        stock.set(&format!("OTHER{number}"), number);
    }
    let ran = stock.reconcile(&[]).run().exits(1);
    ran.says("21 keys have no product beside 1 product")
        .says("is `stock` of `[stock.redis]` the right pattern?");
    assert_eq!(stock.get("OTHER1").unwrap(), "1");
    stock.reconcile(&["--accept-all"]).run().succeeds();
    assert_eq!(stock.get("OTHER1"), None);
}

fn products_that_differ_and_keys_without_a_product_are_both_named(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    for number in 1..=20 {
        stock.product(&format!("P{number}"), number);
        stock.set(&format!("P{number}"), number + 1);
    }
    stock.set("GONE", 1);
    stock.reconcile(&[]).run().exits(1).says(
        "20 of 20 products compared differ, 0 of them without a key, and 1 key has no product; nothing was repaired",
    );
    assert_eq!(stock.get("GONE").unwrap(), "1");
}

fn a_product_may_have_any_number(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let at = "'2026-11-01T00:00:00+00:00'";
    for id in [-7, 0] {
        shop.execute(&format!(
            "INSERT INTO products (id, mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({id}, {}, 'P{id}', 'Tea', 'ON_SALE', 'JPY', 100, {at}, {at})",
            stock.mall.id
        ));
        shop.execute(&format!(
            "INSERT INTO stock (product_id, quantity, updated_at) VALUES ({id}, 10, {at})"
        ));
        stock.set(&format!("P{id}"), 7);
    }
    stock.reconcile(&["--verbose"]).run().succeeds().says("compared 2 products: 2 differences, 2 repaired");
    assert_eq!([stock.get("P-7"), stock.get("P0")], [Some("10".to_owned()), Some("10".to_owned())]);
}

fn the_list_of_differences_can_be_narrowed(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let list = |arguments: &[&str]| {
        shop.batchctl(["stock", "differences"].iter().chain(arguments)).run().succeeds().stdout
    };
    assert_eq!(list(&[]), "no differences\n");
    stock.product("P1", 3);
    stock.set("P1", 1);
    stock.product("P2", 3);
    stock.redis.command::<()>(&["SET", &key("P2"), "\u{1b}[31m"]);
    stock.reconcile(&[]).run().exits(3);
    let all = list(&[]);
    assert!(all.contains("P1") && all.contains("P2") && !all.contains('\u{1b}'), "{all}");
    let open = list(&["--open", "--format", "csv"]);
    assert_eq!(open.lines().count(), 2, "{open}");
    assert!(open.contains(",tokyo,P2,3,") && open.contains(",WRONG_TYPE,"), "codes, not words: {open}");
    assert!(all.contains("wrong type"), "{all}");
    let json: Value = serde_json::from_str(&list(&["--run", "1", "--format", "json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(list(&["--run", "99"]), "no differences\n");
    // What the next run does not find any more is not open; what it finds again is open once.
    stock.reconcile(&[]).run().exits(3);
    assert_eq!(list(&["--open", "--format", "csv"]).lines().count(), 2);
    stock.redis.command::<()>(&["DEL", &key("P2")]);
    stock.set("P1", 2);
    let mut held = stock.reconcile(&[]).hold_at("reconcile-planned");
    held.wait_until_reached();
    stock.set("P1", 3);
    held.release().wait().succeeds();
    let open = list(&["--open", "--format", "csv"]);
    assert!(open.lines().count() == 2 && open.contains(",P1,3,2,") && open.contains("MOVED"), "{open}");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(list(&["--open"]), "no differences\n");
    assert_eq!(list(&["--format", "csv"]).lines().count(), 6);
}

fn only_malls_whose_orders_are_here_are_compared(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    shop.mall("seoul", "Asia/Seoul", "KRW");
    stock.set("GONE", 1);
    stock
        .reconcile(&["--mall", "seoul"])
        .run()
        .exits(77)
        .says("the orders of mall `seoul` are not kept in this database");
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["GONE NULL 1 KEY_WITHOUT_PRODUCT NULL REPAIRED"]);
    shop.batchctl(["stock", "reconcile"])
        .run()
        .exits(78)
        .says("BATCHCTL_REDIS_URL is not set")
        .says("`enabled = false` in [jobs.\"stock reconcile\"] of ");
    shop.write("batchctl.toml", "[stock.redis]\nstock = \"stock:{mall}\"\n");
    stock.reconcile(&[]).run().exits(78).says("`stock.redis.stock` has no {product}");
    shop.write("batchctl.toml", "[stock.redis]\nstock = \"stock:{product}\"\n");
    shop.execute("UPDATE malls SET platform = 'app'");
    stock
        .reconcile(&[])
        .run()
        .exits(78)
        .says("`stock.redis.stock` has no {mall}, but 2 malls have orders here");
    shop.execute("UPDATE malls SET platform = 'csv'");
    shop.batchctl(["stock", "reconcile", "--verbose"]).run().succeeds().says("nothing to compare with Redis");
}

fn hostile_codes_and_keys_stop_no_other(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let codes = ["*", "[a-z]?", "a b:c", "{mall}", "雪", "\u{1b}[31m", "'; DROP TABLE stock"];
    for code in codes {
        stock.product(code, 5);
        stock.set(code, 3);
    }
    stock.product(&"x".repeat(1001), 5);
    stock.product("LONG", 5);
    stock.redis.command::<()>(&["SETRANGE", &key("LONG"), "10000000", "x"]);
    stock.product("HUGE", 5);
    stock.redis.command::<()>(&["SET", &key("HUGE"), "9223372036854775808"]);
    // No text of PostgreSQL has a NUL.
    stock.set("\0", 1);
    if shop.database() == Database::Sqlite {
        stock.product("BYTES", 5);
        shop.execute("UPDATE products SET product_code = CAST(x'ff80' AS TEXT) WHERE product_code = 'BYTES'");
    }
    let ran = stock.reconcile(&[]).run().exits(3);
    if shop.database() == Database::Sqlite {
        assert!(
            ran.stderr.contains("the column `product_code` holds a text that is not UTF-8"),
            "{}",
            ran.stderr
        );
    }
    ran.says("is empty or longer than 1000 bytes")
        .says("tokyo/LONG: Redis has a long text")
        .says("tokyo/HUGE");
    for code in codes {
        assert_eq!(stock.get(code).unwrap(), "5", "{code:?}");
    }
    assert_eq!(stock.get("\0"), None);
    assert_eq!(stock.differences().len(), codes.len() + 3);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM stock_differences WHERE repair = 'LEFT'"), "2");
}
