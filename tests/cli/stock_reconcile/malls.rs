//! Several malls, and other environments: what is not ours is neither changed nor deleted, and one mall stops no other.

use super::{CHANNEL, Stock};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    keys_that_several_malls_share_are_refused_whichever_is_compared,
    a_key_that_another_mall_could_have_is_not_touched,
    a_mall_in_doubt_stops_no_other,
    outside_prod_only_this_machine_and_listed_hosts_are_reached,
];

/// How keys are named.
fn name_keys(shop: &Shop, keys: &str) {
    shop.write(
        "batchctl.toml",
        format!("{CHANNEL}[stock.reconcile]\nsettle = \"100ms\"\n[stock.redis]\n{keys}\n"),
    );
}

fn keys_that_several_malls_share_are_refused_whichever_is_compared(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let osaka = stock.another_mall("tokyo-b");
    stock.product_of(osaka, "Q1", 5);
    for (keys, key, problem) in [
        (
            "stock = \"stock:{product}\"",
            "stock:Q1",
            "`stock.redis.stock` has no {mall}, but 2 malls have orders here",
        ),
        (
            "stock = \"s-{mall}-{product}\"",
            "s-tokyo-b-Q1",
            "a key of mall `tokyo` can be one of mall `tokyo-b` too",
        ),
        (
            "reservation = \"r-{mall}-{order}\"",
            "r-tokyo-b-1",
            "`stock.redis.reservation` is `r-{mall}-{order}`",
        ),
    ] {
        name_keys(shop, keys);
        stock.redis.command::<()>(&["SET", key, "5"]);
        for is_active in ["TRUE", "FALSE"] {
            shop.execute(&format!("UPDATE malls SET is_active = {is_active} WHERE id = {}", osaka.id));
            for arguments in [&["--mall", "tokyo"][..], &[]] {
                stock.reconcile(arguments).run().exits(78).says(problem);
            }
        }
        stock.job(&["order", "expire"]).run().exits(78).says(problem);
        assert_eq!(stock.redis.command::<String>(&["GET", key]), "5", "{keys}");
    }
    assert_eq!(stock.differences().len(), 0);
}

fn a_key_that_another_mall_could_have_is_not_touched(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    // Not ours to compare, and still not ours to delete.
    let copy = shop.mall("tokyo-b", "Asia/Tokyo", "JPY");
    stock.product_of(copy, "Q1", 5);
    name_keys(shop, "stock = \"s-{mall}-{product}\"");
    for key in ["s-tokyo-b-Q1", "s-tokyo-GONE"] {
        stock.redis.command::<()>(&["SET", key, "5"]);
    }
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.differences(), ["GONE NULL 5 KEY_WITHOUT_PRODUCT NULL REPAIRED"]);
    assert_eq!(stock.redis.command::<Vec<String>>(&["KEYS", "*"]), ["s-tokyo-b-Q1"]);
    // Where keys do not say which mall they are of, a product of any mall has one.
    name_keys(shop, "stock = \"s:{product}\"");
    for key in ["s:Q1", "s:GONE"] {
        stock.redis.command::<()>(&["SET", key, "5"]);
    }
    stock.reconcile(&[]).run().succeeds();
    let mut left = stock.redis.command::<Vec<String>>(&["KEYS", "*"]);
    left.sort();
    assert_eq!(left, ["s-tokyo-b-Q1", "s:Q1"]);
}

fn a_mall_in_doubt_stops_no_other(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    let osaka = stock.another_mall("osaka");
    for number in 1..=25 {
        stock.product_of(osaka, &format!("P{number}"), number);
    }
    stock.product("P1", 10);
    stock.set("P1", 7);
    let doubt = "the stock of mall `osaka` in Redis is in doubt: 25 of 25 products compared have no key";
    let ran = stock.reconcile(&["--dry-run"]).run().exits(1);
    ran.says(doubt).prints("Redis becomes 10");
    let ran = stock.reconcile(&["--verbose"]).run().exits(3);
    ran.says(doubt).says("1 difference, 1 repaired; 1 mall is in doubt").says("--mall osaka --accept-all");
    assert_eq!(stock.differences(), ["P1 10 7 RESERVATION_LEAKED 10 REPAIRED"]);
    assert_eq!(stock.get("P1").unwrap(), "10");
    assert_eq!(stock.redis.command::<i64>(&["DBSIZE"]), 1);
    let compared = "SELECT m.code, r.compared FROM stock_reconciliations r JOIN malls m ON m.id = r.mall_id";
    assert_eq!(shop.sql(compared), [["tokyo", "1"]], "the other one was not compared");
    // Once nothing can be believed, it is not one mall that is wrong.
    for number in 2..=25 {
        stock.product(&format!("P{number}"), number);
    }
    stock.reconcile(&[]).run().exits(1).says("the stock of all 2 malls in Redis is in doubt");
    stock.reconcile(&["--mall", "osaka", "--accept-all"]).run().succeeds();
    assert_eq!(stock.redis.command::<String>(&["GET", "stock:osaka:P25"]), "25");
}

fn outside_prod_only_this_machine_and_listed_hosts_are_reached(shop: &Shop) {
    let Some(stock) = Stock::of(shop) else { return };
    stock.product("P1", 10);
    let url = "redis://redis.example.invalid:6379";
    for words in [&["stock", "reconcile"][..], &["stock", "reconcile", "--dry-run"], &["order", "expire"]] {
        stock
            .job(words)
            .env("BATCHCTL_REDIS_URL", url)
            .run()
            .exits(77)
            .says("`redis.example.invalid:6379/0` is not among the hosts for the environment `dev`")
            .says("hosts_outside_prod");
    }
    // Nobody is there; but it is tried.
    name_keys(shop, "hosts_outside_prod = [\"Redis.example.invalid\"]");
    stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", url).run().exits(75).says("does not answer");
    let other = "redis://redis.example.invalid.example.jp:6379";
    stock.reconcile(&[]).env("BATCHCTL_REDIS_URL", other).run().exits(77);
    stock.reconcile(&[]).run().succeeds();
    assert_eq!(stock.get("P1").unwrap(), "10");
}
