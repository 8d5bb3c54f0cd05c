//! `stats daily`: a day's row and its event, both or none of them, once, and only when the data is there.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Batchctl, Mall, Order, Refund, Sandbox, Shop, on_both_databases};

on_both_databases![
    a_day_is_a_row_and_an_event_for_each_mall_and_currency,
    a_day_that_is_there_is_passed_over,
    a_rerun_tells_of_what_has_changed_and_of_nothing_else,
    a_row_and_its_event_are_there_together_or_not_at_all,
    a_day_whose_data_has_not_come_is_told_of_once_it_has,
    a_mall_elsewhere_is_done_when_its_own_day_is_over,
    what_is_committed_just_after_midnight_is_told_the_next_night,
    what_was_told_before_a_day_became_provisional_is_corrected,
    a_mall_that_fails_keeps_no_other_from_its_statistics,
    days_of_the_past_are_stored_by_range_and_mall,
    a_day_of_which_nothing_is_known_has_no_figures,
];

fn daily(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["stats", "daily"].iter().chain(arguments))
}

/// day, mall, currency, orders, sales, average, cancelled, refunded and what is awaited.
fn stored(shop: &Sandbox) -> Vec<String> {
    let rows = shop.sql(
        "SELECT business_day, code, s.currency, orders, sales_amount, average_order_amount, cancelled_orders,
                refunded_amount, awaited_subject
         FROM daily_statistics s JOIN malls ON malls.id = mall_id",
    );
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    rows.sort();
    rows
}

/// What the events are about.
fn told(shop: &Sandbox) -> Vec<String> {
    let sql = "SELECT aggregate_id FROM outbox_events
               WHERE aggregate_type = 'daily_statistics' AND event_type = 'daily.statistics' ORDER BY id";
    shop.sql(sql).concat()
}

fn payload(shop: &Sandbox, about: &str) -> Value {
    let sql =
        format!("SELECT payload FROM outbox_events WHERE aggregate_id = '{about}' ORDER BY id DESC LIMIT 1");
    serde_json::from_str(&shop.scalar(&sql)).unwrap()
}

fn a_day_is_a_row_and_an_event_for_each_mall_and_currency(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("seoul", "Asia/Seoul", "KRW");
    let paid = |mall, order_no, total| Order { mall, order_no, total, ..Order::default() };
    let first = shop.order(paid(tokyo, "1", 1000));
    shop.order(paid(tokyo, "2", 1));
    // The day of its payment counts, and of its cancellation.
    let cancelled_at = Some("2026-11-19T23:59:59+09:00");
    shop.order(Order { paid_at: None, cancelled_at, ..paid(tokyo, "3", 500) });
    shop.order(Order { paid_at: Some("2026-11-20T00:00:00+09:00"), ..paid(tokyo, "4", 9000) });
    shop.order(paid(Mall { currency: "USD", ..tokyo }, "5", 1999));
    shop.refund(Refund { order: first, amount: 300, ..Refund::default() });
    daily(shop, &[]).run().succeeds().is_silent();
    assert_eq!(
        stored(shop),
        [
            "2026-11-19 seoul KRW 0 0 0 0 0 NULL",
            "2026-11-19 tokyo JPY 2 1001 501 1 300 NULL",
            "2026-11-19 tokyo USD 1 1999 1999 0 0 NULL",
        ]
    );
    let mut about = told(shop);
    about.sort();
    assert_eq!(about, ["seoul/2026-11-19/KRW", "tokyo/2026-11-19/JPY", "tokyo/2026-11-19/USD"]);
    assert_eq!(
        payload(shop, "tokyo/2026-11-19/JPY"),
        json!({
            "business_day": "2026-11-19", "mall": "tokyo", "time_zone": "Asia/Tokyo", "currency": "JPY", "orders": 2,
            "sales_amount": 1001, "average_order_amount": 501, "cancelled_orders": 1, "refunded_amount": 300,
        })
    );
    let times = "SELECT DISTINCT occurred_at, created_at FROM outbox_events";
    assert_eq!(shop.sql(times), [["2026-11-19T16:00:00+00:00", "2026-11-19T16:00:00+00:00"]]);
}

fn a_day_that_is_there_is_passed_over(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    daily(shop, &[]).run().succeeds();
    shop.order(Order { mall: tokyo, ..Order::default() });
    daily(shop, &["--verbose"]).run().succeeds().says("already completed by run 1");
    // By another instance too.
    daily(shop, &["--verbose", "--mall", "tokyo"]).run().succeeds().says("1 was there already");
    assert_eq!(stored(shop), ["2026-11-19 tokyo JPY 0 0 0 0 0 NULL"]);
    assert_eq!(told(shop).len(), 1);
    // A mall that is added later is not passed over with it.
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    daily(shop, &[]).run().succeeds();
    assert_eq!(told(shop), ["tokyo/2026-11-19/JPY", "osaka/2026-11-19/JPY"]);
}

fn a_rerun_tells_of_what_has_changed_and_of_nothing_else(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let dollars = Mall { currency: "USD", ..tokyo };
    let order = shop.order(Order { mall: dollars, ..Order::default() });
    daily(shop, &[]).run().succeeds();
    daily(shop, &["--rerun"]).run().succeeds();
    assert_eq!(told(shop).len(), 2, "nothing has changed");
    shop.execute(&format!("UPDATE orders SET currency = 'JPY', total_amount = 700 WHERE id = {order}"));
    daily(shop, &["--rerun"]).run().succeeds();
    assert_eq!(
        stored(shop),
        ["2026-11-19 tokyo JPY 1 700 700 0 0 NULL", "2026-11-19 tokyo USD 0 0 0 0 0 NULL"]
    );
    assert_eq!(told(shop).len(), 4);
    assert_eq!(payload(shop, "tokyo/2026-11-19/JPY")["sales_amount"], 700);
    assert_eq!(payload(shop, "tokyo/2026-11-19/USD")["sales_amount"], 0);
}

fn a_row_and_its_event_are_there_together_or_not_at_all(shop: &Shop) {
    for mall in ["tokyo", "osaka"] {
        shop.mall(mall, "Asia/Tokyo", "JPY");
    }
    for point in ["in-chunk@2=kill", "at-commit@2=kill", "after-chunk@1=kill"] {
        shop.execute("DELETE FROM daily_statistics");
        shop.execute("DELETE FROM daily_statistics_told");
        shop.execute("DELETE FROM outbox_events");
        shop.execute("DELETE FROM batch_execution");
        daily(shop, &[]).failpoint(point).run().is_killed_by(Signal::KILL);
        assert_eq!((stored(shop).len(), told(shop)), (1, vec!["osaka/2026-11-19/JPY".to_owned()]), "{point}");
        daily(shop, &[]).run().succeeds();
        assert_eq!(told(shop), ["osaka/2026-11-19/JPY", "tokyo/2026-11-19/JPY"], "{point}");
        assert_eq!(stored(shop).len(), 2, "{point}");
    }
}

/// Notes that a mall's orders of a day have come.
fn come(shop: &Shop, day: &str) {
    shop.execute(&format!(
        "INSERT INTO data_arrivals (mall_id, subject, business_day, source, as_of, execution_id, arrived_at)
         SELECT id, 'ORDER', '{day}', 'SYNC', '{day}T18:00:00+00:00', 0, '{day}T18:00:00+00:00' FROM malls
         WHERE code = 'tokyo'"
    ));
}

fn a_day_whose_data_has_not_come_is_told_of_once_it_has(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    come(shop, "2026-11-18");
    daily(shop, &[]).run().exits(3).says("the orders of 2026-11-19 have not arrived");
    // Counted as in the row.
    let counts = shop.sql("SELECT items_failed, items_skipped FROM batch_execution");
    assert_eq!(counts, [["0", "1"]]);
    let shown = "2 read, 2 written, 0 failed, 1 skipped because of its data";
    shop.batchctl(["runs", "show", "1"]).run().succeeds().prints(shown);
    assert_eq!(stored(shop), ["2026-11-19 osaka JPY 0 0 0 0 0 NULL", "2026-11-19 tokyo JPY 0 0 0 0 0 ORDER"]);
    assert_eq!(told(shop), ["osaka/2026-11-19/JPY"], "nobody is told of a ¥0 that is none");
    // It has not come in the next night either: that day is left alone, and the next one waits too.
    let next_night = "2026-11-21T00:00:00+09:00";
    daily(shop, &[]).now(next_night).run().exits(3).never_shows("of 2026-11-19 have not");
    shop.order(Order { mall: tokyo, ..Order::default() });
    come(shop, "2026-11-19");
    come(shop, "2026-11-20");
    daily(shop, &[]).now("2026-11-22T00:00:00+09:00").run().exits(3);
    assert_eq!(
        stored(shop).into_iter().filter(|row| row.contains("tokyo")).collect::<Vec<_>>(),
        [
            "2026-11-19 tokyo JPY 1 1000 1000 0 0 NULL",
            "2026-11-20 tokyo JPY 0 0 0 0 0 NULL",
            "2026-11-21 tokyo JPY 0 0 0 0 0 ORDER",
        ]
    );
    let of_tokyo: Vec<String> = told(shop).into_iter().filter(|about| about.starts_with("tokyo")).collect();
    assert_eq!(of_tokyo, ["tokyo/2026-11-19/JPY", "tokyo/2026-11-20/JPY"]);
    assert_eq!(payload(shop, "tokyo/2026-11-19/JPY")["sales_amount"], 1000);
}

/// At midnight the last sales of a day are not all there.
fn what_is_committed_just_after_midnight_is_told_the_next_night(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    let midnight = |day: &str| daily(shop, &[]).now(&format!("2026-11-{day}T00:00:00+09:00"));
    let late =
        |order_no, paid_at| Order { mall: tokyo, order_no, paid_at: Some(paid_at), ..Order::default() };
    midnight("20").run().succeeds();
    assert_eq!(told(shop), ["osaka/2026-11-19/JPY", "tokyo/2026-11-19/JPY"]);
    shop.order(late("1", "2026-11-19T23:59:59.900+09:00"));
    // Not in the same night: others have just been told.
    midnight("20").run().succeeds();
    assert_eq!(told(shop).len(), 2);
    midnight("21").run().succeeds().is_silent();
    let mut news = told(shop).split_off(2);
    news.sort();
    assert_eq!(news, ["osaka/2026-11-20/JPY", "tokyo/2026-11-19/JPY", "tokyo/2026-11-20/JPY"]);
    assert_eq!(payload(shop, "tokyo/2026-11-19/JPY")["sales_amount"], 1000);
    assert!(stored(shop).contains(&"2026-11-19 tokyo JPY 1 1000 1000 0 0 NULL".to_owned()));
    // Once, and also if a night had no run.
    shop.order(late("2", "2026-11-20T23:59:59.900+09:00"));
    midnight("23").run().succeeds();
    let corrected = |about: &str| told(shop).iter().filter(|told| *told == about).count();
    assert_eq!(corrected("tokyo/2026-11-19/JPY"), 2);
    assert_eq!(corrected("tokyo/2026-11-20/JPY"), 2);
    // After that a day stays as it was told; somebody may ask for it.
    shop.order(late("3", "2026-11-19T12:00:00+09:00"));
    midnight("24").run().succeeds();
    assert_eq!(corrected("tokyo/2026-11-19/JPY"), 2);
    daily(shop, &["--date", "2026-11-19", "--rerun"]).now("2026-11-24T09:00:00+09:00").run().succeeds();
    assert_eq!(corrected("tokyo/2026-11-19/JPY"), 3);
}

fn what_was_told_before_a_day_became_provisional_is_corrected(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let order = shop.order(Order { mall: Mall { currency: "USD", ..tokyo }, total: 500, ..Order::default() });
    daily(shop, &[]).run().succeeds();
    assert_eq!(told(shop), ["tokyo/2026-11-19/JPY", "tokyo/2026-11-19/USD"]);
    shop.execute(&format!("UPDATE orders SET currency = 'JPY' WHERE id = {order}"));
    // From now on it is known that this mall's data comes, and that of this day has not.
    come(shop, "2026-11-18");
    daily(shop, &["--rerun"]).run().exits(3);
    assert_eq!(told(shop).len(), 2, "nobody is told of what is provisional");
    come(shop, "2026-11-19");
    daily(shop, &["--rerun"]).run().succeeds();
    assert_eq!(told(shop).split_off(2), ["tokyo/2026-11-19/JPY", "tokyo/2026-11-19/USD"]);
    assert_eq!(payload(shop, "tokyo/2026-11-19/JPY")["sales_amount"], 500);
    assert_eq!(payload(shop, "tokyo/2026-11-19/USD")["sales_amount"], 0);
    daily(shop, &["--rerun"]).run().succeeds();
    assert_eq!(told(shop).len(), 4);
}

fn a_mall_elsewhere_is_done_when_its_own_day_is_over(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("new-york", "America/New_York", "USD");
    // Midnight in Tokyo is ten in the morning of the 19th in New York.
    let midnight = |day: &str| format!("2026-11-{day}T00:00:00+09:00");
    daily(shop, &[]).now(&midnight("20")).run().succeeds();
    // Whoever asks for a day asks for all malls in which it is over.
    assert_eq!(told(shop), ["new-york/2026-11-18/USD", "tokyo/2026-11-18/JPY", "tokyo/2026-11-19/JPY"]);
    daily(shop, &[]).now(&midnight("21")).run().succeeds();
    let mut about = told(shop).split_off(3);
    about.sort();
    assert_eq!(about, ["new-york/2026-11-19/USD", "tokyo/2026-11-20/JPY"]);
    let not_over = |days: &[&str]| daily(shop, days).run().exits(2).says("2026-11-20 is not over yet");
    not_over(&["--date", "today"]).says("hint: omit --date for the last finished one");
    not_over(&["--from", "2026-11-18", "--to", "today"])
        .says("hint: write --to 2026-11-19, the last finished day");
    not_over(&["--from", "today", "--to", "today"])
        .says("hint: omit --from and --to for the last finished one");
}

fn a_mall_that_fails_keeps_no_other_from_its_statistics(shop: &Shop) {
    let big = shop.mall("big", "Asia/Tokyo", "JPY");
    shop.mall("lost", "Asia/Tokyo", "JPY");
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokio' WHERE code = 'lost'");
    for order_no in ["1", "2"] {
        shop.order(Order { mall: big, order_no, total: i64::MAX, ..Order::default() });
    }
    daily(shop, &[]).run().exits(3).says("lost: ").says("big: ");
    assert_eq!(told(shop), ["tokyo/2026-11-19/JPY"]);
    shop.execute("UPDATE malls SET time_zone = 'Asia/Tokyo' WHERE code = 'lost'");
    shop.execute("UPDATE orders SET total_amount = 7");
    let run = shop.scalar("SELECT MAX(id) FROM batch_execution");
    shop.batchctl(["runs", "retry", &run]).run().succeeds();
    assert_eq!(told(shop), ["tokyo/2026-11-19/JPY", "big/2026-11-19/JPY", "lost/2026-11-19/JPY"]);
}

fn days_of_the_past_are_stored_by_range_and_mall(shop: &Shop) {
    for mall in ["tokyo", "osaka"] {
        shop.mall(mall, "Asia/Tokyo", "JPY");
    }
    daily(shop, &["--mall", "osaka", "--from", "2026-11-17", "--to", "2026-11-18"]).run().succeeds();
    assert_eq!(told(shop), ["osaka/2026-11-17/JPY", "osaka/2026-11-18/JPY"]);
    daily(shop, &["--date", "2026-11-18"]).run().succeeds();
    assert_eq!(told(shop), ["osaka/2026-11-17/JPY", "osaka/2026-11-18/JPY", "tokyo/2026-11-18/JPY"]);
    daily(shop, &["--mall", "kobe"]).run().exits(2).says("unknown mall `kobe`");
}

fn a_day_of_which_nothing_is_known_has_no_figures(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("seoul", "Asia/Seoul", "KRW");
    for day in ["0000-01-01", "0001-01-01", "2016-11-19"] {
        daily(shop, &["--date", day]).run().exits(2);
    }
    daily(shop, &["--date", "9999-12-31"]).run().exits(2).says("is in the future");
    daily(shop, &["--date", "2016-11-19"])
        .run()
        .exits(2)
        .says("2016-11-19 is before anything that is known of seoul, tokyo")
        .says("is the year right?");
    assert_eq!((stored(shop), told(shop)), (vec![], vec![]));
    // An order of long before the mall was added: its shop was there.
    let at = "2016-10-15T12:00:00+09:00";
    let order = Order { mall: tokyo, order_no: "1", total: 500, ..Order::default() };
    shop.order(Order { ordered_at: at, paid_at: Some(at), ..order });
    daily(shop, &["--from", "2016-10-14", "--to", "2016-10-16"]).run().succeeds();
    assert_eq!(
        stored(shop),
        ["2016-10-15 tokyo JPY 1 500 500 0 0 NULL", "2016-10-16 tokyo JPY 0 0 0 0 0 NULL"]
    );
    let summary = shop.scalar("SELECT summary FROM batch_execution ORDER BY id DESC LIMIT 1");
    assert!(summary.ends_with(", nothing is known of that day: seoul"), "{summary}");
    daily(shop, &["--date", "2016-10-16", "--verbose"]).run().succeeds().says("already completed");
}
