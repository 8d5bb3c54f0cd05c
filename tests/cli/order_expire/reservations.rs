//! The reservations of cancelled orders in Redis: each is given back exactly once, whatever happens to Redis or to the run.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;

use super::{Store, assert_adds_up, ends};
use crate::support::redis::{Redis, free_port, run, slow_way_to};
use crate::support::{Arranged, Batchctl, Database, Line, Sandbox, on_both_databases, run_on};

on_both_databases![
    a_reservation_is_given_back_with_its_order,
    a_thousand_orders_are_paid_while_they_expire_and_reservations_add_up,
    killed_anywhere_reservations_are_given_back_once,
    killed_in_the_middle_redis_gets_the_rest_from_the_next_run,
    a_redis_that_was_emptied_is_given_nothing,
    a_replica_a_wrong_password_and_a_silent_server_lose_nothing,
    a_key_of_another_type_fails_its_own_order,
    what_redis_does_not_count_with_is_given_back_by_no_attempt,
    a_script_that_redis_refuses_in_the_middle_changes_nothing,
    a_redis_that_is_stopped_for_two_seconds_is_waited_for,
    an_own_layout_of_keys_is_followed,
    a_redis_that_was_forgotten_is_missed,
    without_redis_nothing_is_noted,
];

const ORDERS: usize = 30;
/// Enough of them for payments and expiry to meet.
const MANY: usize = 1_000;
/// What both products have in stock, in the database and in Redis.
const STOCK: usize = 100;

/// `ORDERS` orders that wait, and their reservations: as the application has made them, which took their units from Redis.
fn reserved(store: &Store, redis: &Redis, orders: usize) {
    store.product("P1", Some(STOCK.try_into().unwrap()));
    store.product("P2", Some(STOCK.try_into().unwrap()));
    store.many_waiting(orders);
    reserve(redis, orders);
}

fn reserve(redis: &Redis, orders: usize) {
    let stock = STOCK.to_string();
    let (): () = redis.command(&["MSET", "stock:tokyo:P1", &stock, "stock:tokyo:P2", &stock]);
    let script = "for n = 1, ARGV[1] do redis.call('HSET', 'reservation:tokyo:A' .. n, 'P1', 2, 'P2', 1) end";
    let (): () = redis.command(&["EVAL", script, "0", &orders.to_string()]);
}

fn expire(store: &Store, redis: &Redis) -> Batchctl {
    store.expire().env("BATCHCTL_REDIS_URL", redis.url())
}

fn left(redis: &Redis) -> Vec<i64> {
    redis.command(&["MGET", "stock:tokyo:P1", "stock:tokyo:P2"])
}

fn reservations(redis: &Redis) -> usize {
    redis.command::<Vec<String>>(&["KEYS", "reservation:*"]).len()
}

fn waiting(store: &Store) -> usize {
    store.count("stock_releases WHERE state = 'WAITING'")
}

/// Redis has the units of so many cancelled orders more than before, and no more reservations than those of the others.
#[track_caller]
fn assert_released(redis: &Redis, cancelled: usize, others: usize) {
    let units = |each: usize| i64::try_from(STOCK + each * cancelled).unwrap();
    assert_eq!(left(redis), [units(2), units(1)]);
    assert_eq!(reservations(redis), others);
}

fn a_reservation_is_given_back_with_its_order(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    // One that nobody has reserved anything for, and one of a product that Redis knows nothing of.
    let (): () = redis.command(&["DEL", "reservation:tokyo:A1"]);
    let (): () = redis.command(&["HSET", "reservation:tokyo:A2", "P3", "4"]);
    expire(store, &redis).run().succeeds().is_silent();
    assert_released(&redis, ORDERS - 1, 0);
    assert_eq!(redis.command::<i64>(&["EXISTS", "stock:tokyo:P3"]), 0, "a stock of just 4 would be a lie");
    assert_eq!(
        store.summary(),
        "cancelled 30 orders; gave back the stock of 60 of 60 lines (90 units); queued 30 notices; released 29 reservations \
         (87 units), 1 order had no reservation, 1 product without a stock in Redis"
    );
    let rows = "SELECT state, attempts, units, last_error, COUNT(*) FROM stock_releases GROUP BY 1, 2, 3, 4 ORDER BY units";
    assert_eq!(store.sql(rows), [["RELEASED", "1", "0", "NULL", "1"], ["RELEASED", "1", "3", "NULL", "29"]]);
    // Nothing more to do, and a row is kept for a month.
    expire(store, &redis).run().succeeds();
    assert_released(&redis, ORDERS - 1, 0);
    store.order(store.waiting("B1", None, &[]));
    expire(store, &redis).now("2026-12-21T01:00:00+09:00").run().succeeds();
    assert_eq!(store.sql("SELECT order_no FROM stock_releases"), [["B1"]]);
}

fn a_thousand_orders_are_paid_while_they_expire_and_reservations_add_up(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, MANY);
    // They have not been due for long: of one that a slow payment holds until the end nobody has to hear yet.
    let words = ["order", "expire", "--accept-silence", "--chunk-size", "10", "--older-than", "40m"];
    let mut expiring = store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url()).hold_at("after-chunk");
    expiring.wait_until_reached();
    let expiring = expiring.release();
    let mut paid = 0;
    for id in (1..=MANY).rev() {
        let rows = store.sql(&super::payments::pay(&format!("id = {id}")));
        if !rows.is_empty() {
            paid += 1;
            // What was paid is sold: the reservation goes, and its units stay gone.
            let (): () = redis.command(&["DEL", &format!("reservation:tokyo:A{id}")]);
        }
    }
    expiring.wait().succeeds();
    expire(store, &redis).run().succeeds();
    let cancelled = assert_adds_up(store, STOCK);
    assert!(paid > 0 && cancelled > 0 && paid + cancelled == MANY, "{paid} {cancelled}");
    assert_released(&redis, cancelled, 0);
    assert_eq!((waiting(store), store.count("stock_releases")), (0, cancelled));
}

fn killed_anywhere_reservations_are_given_back_once(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    let words = ["order", "expire", "--accept-silence", "--chunk-size", "10"];
    let again = || store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url());
    // Three chunks and the release: `released` is between Redis and the row that says so, `in-chunk@4` in that row's commit.
    for point in ["in-chunk@2", "at-commit@2", "released", "in-chunk", "before-finish"] {
        again().failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        assert_adds_up(store, STOCK);
        let given_back = left(&redis)[1] - i64::try_from(STOCK).unwrap();
        let still = reservations(&redis);
        assert_eq!(
            usize::try_from(given_back).unwrap() + still,
            ORDERS,
            "{point}: given back twice, or lost"
        );
    }
    again().run().succeeds().is_silent();
    assert_eq!(assert_adds_up(store, STOCK), ORDERS);
    assert_released(&redis, ORDERS, 0);
    assert_eq!((waiting(store), store.count("stock_releases")), (0, ORDERS));
}

fn killed_in_the_middle_redis_gets_the_rest_from_the_next_run(store: &Store) {
    let Some(mut redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    let mut held = expire(store, &redis).hold_at("after-chunk");
    held.wait_until_reached();
    redis.kill();
    let ran = held.release().wait().exits(75);
    ran.says(&format!("Redis at `127.0.0.1:{}/0` does not answer", redis.port()))
        .says("cancelled 30 orders")
        .says("30 reservations left to the next run");
    assert_eq!(assert_adds_up(store, STOCK), ORDERS, "what the database has done stands");
    assert_eq!((waiting(store), ends(store)), (ORDERS, vec!["FAILED".to_owned()]));
    assert_eq!(
        store.scalar("SELECT MAX(attempts) FROM stock_releases"),
        "0",
        "it costs no reservation an attempt"
    );
    // Still down, and nothing new: it is still not done.
    expire(store, &redis).run().exits(75);
    redis.restart();
    reserve(&redis, ORDERS);
    expire(store, &redis).run().succeeds().is_silent();
    assert_released(&redis, ORDERS, 0);
    assert_eq!(waiting(store), 0);
}

fn a_redis_that_was_emptied_is_given_nothing(store: &Store) {
    let Some(mut redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    redis.restart();
    let ran = expire(store, &redis).run().exits(1);
    ran.says("mall `tokyo` (30 reservations, and no product's stock either)");
    assert_eq!(waiting(store), ORDERS, "it may as well be another Redis");
    let words = ["order", "expire", "--accept-silence", "--accept-missing"];
    store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url()).run().succeeds();
    assert_eq!(redis.command::<i64>(&["DBSIZE"]), 0, "a stock made of what is given back would be wrong");
    assert_eq!(waiting(store), 0);
    assert_eq!(store.summary(), "30 orders had no reservation");
}

fn a_replica_a_wrong_password_and_a_silent_server_lose_nothing(store: &Store) {
    let Some(primary) = Redis::start_with(&["--requirepass", "open-sesame"]) else { return };
    let login = |password: &str| format!("redis://:{password}@127.0.0.1:{}", primary.port());
    let redis = Redis::start().unwrap();
    let port = redis.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).unwrap();
    reserved(store, &redis, ORDERS);
    crate::support::eventually(|| reservations(&replica) == ORDERS, "the replica has caught up");

    let with = |url: &str| store.expire().env("BATCHCTL_REDIS_URL", url).run();
    with(&replica.url())
        .exits(75)
        .says("is a read-only replica")
        .says("name the primary in BATCHCTL_REDIS_URL");
    assert_eq!(assert_adds_up(store, STOCK), ORDERS);
    assert_released(&redis, 0, ORDERS);
    with(&login("guess-and-guess")).exits(78).says("refuses the login").never_shows("guess-and-guess");
    with(&primary.url()).exits(78).says("refuses the login");
    with(&format!("redis://127.0.0.1:{}", free_port())).exits(75).says("does not answer");
    assert_eq!(waiting(store), ORDERS);
    assert_eq!(store.scalar("SELECT MAX(attempts) FROM stock_releases"), "0");
    with(&redis.url()).succeeds();
    assert_released(&redis, ORDERS, 0);
}

/// It takes as long as a server is waited for.
#[test]
fn a_server_that_accepts_and_never_answers_is_given_up() {
    run_on(Database::Sqlite, |store: &Store| {
        store.order(store.waiting("A1", None, &[]));
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("redis://127.0.0.1:{}", silent.local_addr().unwrap().port());
        store.expire().env("BATCHCTL_REDIS_URL", url).run().exits(75).says("does not answer");
        assert_eq!(store.sql("SELECT status FROM orders"), [["ORDER_CANCELLED"]]);
        assert_eq!(waiting(store), 1);
    });
}

fn a_key_of_another_type_fails_its_own_order(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 10);
    store.product("list", Some(0));
    let one = [Line { product: "list", ..Line::default() }];
    for number in ["as-list", "of-list", "of-text", "negative", "huge"] {
        store.order(store.waiting(number, None, &one));
    }
    let set = |words: &[&str]| redis.command::<()>(words);
    set(&["RPUSH", "reservation:tokyo:as-list", "1"]);
    set(&["RPUSH", "stock:tokyo:list", "1"]);
    set(&["SET", "stock:tokyo:text", "many"]);
    set(&["HSET", "reservation:tokyo:of-list", "P1", "1", "list", "1"]);
    set(&["HSET", "reservation:tokyo:of-text", "P1", "1", "text", "1"]);
    set(&["HSET", "reservation:tokyo:negative", "P1", "-1"]);
    set(&["HSET", "reservation:tokyo:huge", "P1", "99999999999999999999"]);

    let ran = expire(store, &redis).run().exits(3);
    ran.says("tokyo/as-list: the key `reservation:tokyo:as-list` of Redis is a list, not a hash")
        .says("tokyo/of-list: the key `stock:tokyo:list` of Redis is a list, not a number")
        .says("tokyo/of-text: the key `stock:tokyo:text` of Redis is not a number");
    assert_eq!(store.count("orders WHERE status = 'ORDER_CANCELLED'"), 15, "the orders are cancelled");
    assert_eq!(
        left(&redis),
        [i64::try_from(STOCK).unwrap() + 20, i64::try_from(STOCK).unwrap() + 10],
        "nothing in part"
    );
    assert_eq!(
        store.sql("SELECT attempts, last_error IS NULL FROM stock_releases WHERE state = 'WAITING'"),
        [["1", "0"]; 5]
    );

    // They wait for somebody to correct them, and are not told of again at once.
    expire(store, &redis).now("2026-11-20T01:05:00+09:00").run().succeeds();
    let open = "SELECT COUNT(*) FROM batch_execution WHERE status = 'PARTIAL' AND settled_by IS NULL";
    assert_eq!(store.scalar(open), "1", "between two attempts nothing has recovered");
    set(&["DEL", "reservation:tokyo:as-list", "stock:tokyo:list"]);
    set(&["SET", "stock:tokyo:list", "5"]);
    let failed = store.scalar("SELECT MIN(id) FROM batch_execution");
    let retry = store.batchctl(["runs", "retry", &failed]).env("BATCHCTL_REDIS_URL", redis.url());
    retry
        .run()
        .exits(1)
        .says("3 of 3 items failed")
        .says("released 1 reservation (2 units), 1 order had no reservation");
    assert_eq!(redis.command::<i64>(&["GET", "stock:tokyo:list"]), 6);
    assert_eq!(waiting(store), 3);
    // Ten minutes later the next run tries by itself.
    set(&["SET", "stock:tokyo:text", "7"]);
    expire(store, &redis).now("2026-11-20T02:30:00+09:00").run();
    assert_eq!(redis.command::<i64>(&["GET", "stock:tokyo:text"]), 8);
    assert_eq!(waiting(store), 2);
}

/// `INCRBY` refuses some numbers that look like ones, after others were added.
fn what_redis_does_not_count_with_is_given_back_by_no_attempt(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    store.product("first", Some(0));
    let one = [Line { product: "first", ..Line::default() }];
    let set = |words: &[&str]| redis.command::<()>(words);
    set(&["SET", "stock:tokyo:first", "10"]);
    let stocks = [
        "007",
        "-0",
        "00",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "",
        "-",
        "1\x002",
        "1000000000000000",
        "9223372036854775807",
    ];
    let units = ["01", "00", "-0", "+1", "-1", " 1", "1.0", "1e3", "", "1000000000"];
    for (place, stock) in stocks.iter().enumerate() {
        let number = format!("stock-{place}");
        set(&["SET", &format!("stock:tokyo:{number}"), stock]);
        set(&["HSET", &format!("reservation:tokyo:{number}"), "first", "2", &number, "1"]);
        store.order(store.waiting(&number, None, &one));
    }
    set(&["SET", "stock:tokyo:second", "5"]);
    for (place, units) in units.iter().enumerate() {
        let number = format!("units-{place}");
        set(&["HSET", &format!("reservation:tokyo:{number}"), "first", "2", "second", units]);
        store.order(store.waiting(&number, None, &one));
    }
    set(&["HSET", "reservation:tokyo:long", "first", "2", &"x".repeat(1001), "1"]);
    store.order(store.waiting("long", None, &one));
    let bad = stocks.len() + units.len() + 1;
    for hour in 1..=3 {
        let ran = expire(store, &redis).now(&format!("2026-11-20T0{hour}:00:00+09:00")).run();
        if hour == 1 {
            ran.exits(3).says("of Redis is not a number of up to 15 digits");
        }
        assert_eq!(waiting(store), bad);
        assert_eq!(
            redis.command::<i64>(&["GET", "stock:tokyo:first"]),
            10,
            "attempt {hour} added to the stock"
        );
        assert_eq!(redis.command::<i64>(&["GET", "stock:tokyo:second"]), 5);
        assert_eq!(reservations(&redis), bad);
    }
    // The largest and smallest that are, and none of a product.
    for number in ["good", "none"] {
        store.order(store.waiting(number, None, &one));
    }
    set(&["SET", "stock:tokyo:large", "999999999999999"]);
    set(&["SET", "stock:tokyo:small", "-99999999999999"]);
    set(&["HSET", "reservation:tokyo:good", "large", "999999999", "small", "1"]);
    set(&["HSET", "reservation:tokyo:none", "first", "0", "second", "1"]);
    expire(store, &redis).now("2026-11-20T04:00:00+09:00").run();
    let left: Vec<i64> = redis.command(&[
        "MGET",
        "stock:tokyo:large",
        "stock:tokyo:small",
        "stock:tokyo:first",
        "stock:tokyo:second",
    ]);
    assert_eq!(left, [1_000_000_999_999_998, -99_999_999_999_998, 10, 6]);
    assert_eq!(reservations(&redis), bad);
}

/// A user who may add and not delete, or not add to all keys, is noticed by Redis after the first step.
fn a_script_that_redis_refuses_in_the_middle_changes_nothing(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    let url = redis.url().replace("redis://", "redis://batch:open-sesame@");
    let allow = |rules: &[&str]| {
        let words = ["ACL", "SETUSER", "batch", "reset", "on", ">open-sesame"];
        redis.command::<()>(&[&words[..], rules].concat());
    };
    for (rules, times) in [
        (&["~*", "+@all", "-del"][..], ["01", "03"]),
        (&["~reservation:*", "~stock:tokyo:P1", "%R~*", "+@all"], ["05", "07"]),
    ] {
        allow(rules);
        for time in times {
            let ran = store
                .expire()
                .env("BATCHCTL_REDIS_URL", &url)
                .now(&format!("2026-11-20T{time}:00:00+09:00"))
                .run();
            assert_ne!(ran.code, Some(0), "{rules:?}");
            assert_released(&redis, 0, ORDERS);
        }
        assert_eq!(waiting(store), ORDERS);
    }
    allow(&["~*", "+@all"]);
    store.expire().env("BATCHCTL_REDIS_URL", &url).now("2026-11-20T09:00:00+09:00").run().succeeds();
    assert_released(&redis, ORDERS, 0);
}

fn a_redis_that_is_stopped_for_two_seconds_is_waited_for(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, 3);
    let slow = slow_way_to(redis.port(), Duration::from_secs(2));
    let url = format!("redis://127.0.0.1:{slow}");
    store.expire().env("BATCHCTL_REDIS_URL", url).run().succeeds();
    assert_released(&redis, 3, 0);
    assert_eq!(waiting(store), 0);
}

fn an_own_layout_of_keys_is_followed(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    store.configure("[stock.redis]\nstock = 'p/{product}/left'\nreservation = '{order}@held'\n");
    store.order(store.waiting("{mall}", None, &[]));
    let url = format!("{}/3", redis.url());
    let mut connection = redis.connect(3);
    run::<()>(&mut connection, &["SET", "p/x:y/left", "1"]).unwrap();
    run::<()>(&mut connection, &["HSET", "{mall}@held", "x:y", "4"]).unwrap();
    store.expire().env("BATCHCTL_REDIS_URL", &url).run().succeeds();
    assert_eq!(run::<Vec<String>>(&mut connection, &["KEYS", "*"]).unwrap(), ["p/x:y/left"]);
    assert_eq!(run::<i64>(&mut connection, &["GET", "p/x:y/left"]).unwrap(), 5);
    // With a second mall the keys of both would be the same.
    let osaka = store.0.mall("osaka", "Asia/Tokyo", "JPY");
    store.execute(&format!("UPDATE malls SET platform = 'app' WHERE id = {}", osaka.id));
    store
        .expire()
        .env("BATCHCTL_REDIS_URL", &url)
        .run()
        .exits(78)
        .says("`stock.redis.stock` has no {mall}, but 2 malls have orders here: they would share their keys");
}

fn a_redis_that_was_forgotten_is_missed(store: &Store) {
    let Some(redis) = Redis::start() else { return };
    reserved(store, &redis, ORDERS);
    store.configure("[stock.redis]\nstock = 'stock:{mall}:{product}'\n");
    store.expire().run().exits(78).says("BATCHCTL_REDIS_URL is not set, but `[stock.redis]` in");
    assert_eq!(assert_adds_up(store, STOCK), 0, "nothing was cancelled");
    store.configure("");
    // Without any settings the rows that wait tell of it.
    let words = ["order", "expire", "--accept-silence", "--limit", "10"];
    let down = format!("redis://127.0.0.1:{}", free_port());
    store.batchctl(words).env("BATCHCTL_REDIS_URL", &down).run().exits(75);
    store
        .batchctl(words)
        .run()
        .exits(78)
        .says("reservations of cancelled orders wait to be given back there");
    assert_eq!(assert_adds_up(store, STOCK), 10);
    store.batchctl(words).env("BATCHCTL_REDIS_URL", redis.url()).run().succeeds();
    assert_released(&redis, 20, 10);
}

fn without_redis_nothing_is_noted(store: &Store) {
    store.order(store.waiting("A1", None, &[]));
    store.expire().run().succeeds();
    assert_eq!(store.count("stock_releases"), 0);
}

#[test]
fn a_cluster_is_refused_by_its_url_and_by_what_it_says() {
    let Some(redis) = Redis::start_with(&["--cluster-enabled", "yes"]) else { return };
    let store = Store::on(Database::Sqlite);
    store.order(store.waiting("A1", None, &[]));
    let with = |url: &str| store.expire().env("BATCHCTL_REDIS_URL", url).run();
    with(&redis.url())
        .exits(78)
        .says("is a cluster, which is not supported")
        .says("name one server that has all keys");
    with("redis-cluster://127.0.0.1:7000").exits(78).says("BATCHCTL_REDIS_URL").says("names a cluster");
    with("redis://a:6379,b:6379").exits(78).says("names several hosts");
}

#[test]
fn a_pattern_without_its_product_is_refused_by_name() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("batchctl.toml", "[stock.redis]\nstock = 'stock:{mall}'\n");
    sandbox
        .batchctl(["order", "expire"])
        .run()
        .exits(78)
        .says("`stock.redis.stock` has no {product}")
        .says("batchctl.toml");
    assert_eq!(sandbox.dump(), "");
}

#[test]
fn a_password_goes_only_to_a_server_whose_certificate_is_verified() {
    let Some((redis, authority)) = Redis::start_with_tls(&["--requirepass", "open-sesame"]) else { return };
    let store = Store::on(Database::Sqlite);
    store.order(store.waiting("A1", None, &[]));
    let with = |url: &str| store.expire().env("BATCHCTL_REDIS_URL", url);
    let url = |host: &str| format!("rediss://default:open-sesame@{host}:{}/2", redis.port());
    with(&url("localhost"))
        .run()
        .exits(78)
        .says("has a certificate that cannot be verified")
        .never_shows("open-sesame");
    // It is for another name.
    with(&url("127.0.0.1")).env("SSL_CERT_FILE", &authority).run().exits(78).says("cannot be verified");
    assert_eq!(waiting(&store), 1);
    with(&url("localhost")).env("SSL_CERT_FILE", &authority).run().succeeds();
    assert_eq!(waiting(&store), 0);
    // Without TLS it is not sent at all.
    with("redis://:open-sesame@cache.example.jp/0")
        .run()
        .exits(78)
        .says("would send its password unencrypted")
        .never_shows("open-sesame");
}
