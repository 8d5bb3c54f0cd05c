//! `stats refresh`: what is counted, once a day, and that the past is not invented.

use crate::support::{Batchctl, Order, Shop, on_both_databases};

on_both_databases![
    every_state_is_counted_and_an_empty_one_is_zero,
    a_day_has_one_snapshot_and_a_rerun_replaces_it,
    a_past_day_is_refused_with_a_hint,
    the_members_of_a_past_day_can_be_reconstructed,
    a_snapshot_is_not_replaced_by_a_reconstruction,
    a_withdrawal_without_a_time_cannot_be_reconstructed,
    a_new_mall_is_counted_on_the_same_day,
];

fn refresh(shop: &Shop, arguments: &[&str]) -> Batchctl {
    shop.batchctl(["stats", "refresh"].iter().chain(arguments))
}

/// day, mall, subject, status, quantity; zeros are left out.
fn stored(shop: &Shop) -> Vec<String> {
    let rows = shop.sql(
        "SELECT snapshot_day, code, subject, status, quantity FROM statistics_snapshots
         JOIN malls ON malls.id = mall_id WHERE quantity <> 0",
    );
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    rows.sort();
    rows
}

/// Adds a member; the times are of 2026 in UTC.
fn member(shop: &Shop, mall: i64, code: &str, status: &str, times: [Option<&str>; 4]) {
    let [signed_up, confirmed, withdrawn, erasure] =
        times.map(|at| at.map_or("NULL".to_owned(), |at| format!("'2026-{at}:00+00:00'")));
    shop.execute(&format!(
        "INSERT INTO members (mall_id, member_code, status, signed_up_at, confirmed_at, withdrawn_at,
             erasure_requested_at, created_at, updated_at)
         VALUES ({mall}, '{code}', '{status}', {signed_up}, {confirmed}, {withdrawn}, {erasure}, {signed_up}, {signed_up})"
    ));
}

fn every_state_is_counted_and_an_empty_one_is_zero(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.mall("empty", "Asia/Tokyo", "JPY");
    let joined = Some("11-01T00:00");
    for (code, status) in [("1", "ACTIVE"), ("2", "ACTIVE"), ("3", "UNCONFIRMED"), ("4", "WITHDRAWN")] {
        member(shop, tokyo.id, code, status, [joined, None, joined, None]);
    }
    member(shop, tokyo.id, "5", "ACTIVE", [joined, None, None, joined]);
    for (number, status) in [("1", "PAID"), ("2", "PAID"), ("3", "ORDER_CANCELLED")] {
        shop.order(Order { mall: tokyo, order_no: number, status, ..Order::default() });
    }
    for (id, status, stock) in
        [(1, "ON_SALE", 5), (2, "ON_SALE", 0), (3, "SOLD_OUT", 7), (4, "DISCONTINUED", 0), (5, "ON_SALE", 1)]
    {
        shop.execute(&format!(
            "INSERT INTO products (id, mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({id}, {}, 'P{id}', 'P', '{status}', 'JPY', 1, '2026-11-01T00:00:00+00:00', '2026-11-01T00:00:00+00:00')",
            tokyo.id
        ));
        if id != 5 {
            shop.execute(&format!(
                "INSERT INTO stock (product_id, quantity, updated_at) VALUES ({id}, {stock}, '2026-11-01T00:00:00+00:00')"
            ));
        }
    }
    for (key, ordered) in [("1", "NULL"), ("2", "NULL"), ("3", "'2026-11-02T00:00:00+00:00'")] {
        shop.execute(&format!(
            "INSERT INTO carts (mall_id, cart_key, currency, last_activity_at, ordered_at, created_at, updated_at)
             VALUES ({}, '{key}', 'JPY', '2026-11-01T00:00:00+00:00', {ordered}, '2026-11-01T00:00:00+00:00',
                     '2026-11-01T00:00:00+00:00')",
            tokyo.id
        ));
    }
    refresh(shop, &[]).run().succeeds().is_silent();
    assert_eq!(
        stored(shop),
        [
            "2026-11-20 tokyo CART OPEN 2",
            "2026-11-20 tokyo MEMBER ACTIVE 2",
            "2026-11-20 tokyo MEMBER UNCONFIRMED 1",
            "2026-11-20 tokyo MEMBER WITHDRAWN 1",
            "2026-11-20 tokyo ORDER ORDER_CANCELLED 1",
            "2026-11-20 tokyo ORDER PAID 2",
            "2026-11-20 tokyo PRODUCT ON_SALE 2",
            "2026-11-20 tokyo PRODUCT SOLD_OUT 2",
        ]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "24", "zeros are rows too");
}

fn a_day_has_one_snapshot_and_a_rerun_replaces_it(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    refresh(shop, &[]).run().succeeds();
    shop.order(Order { mall: tokyo, ..Order::default() });
    refresh(shop, &["--verbose"]).run().succeeds().says("already completed by run 1");
    assert_eq!(stored(shop).len(), 0);
    refresh(shop, &["--rerun"]).run().succeeds();
    assert_eq!(stored(shop), ["2026-11-20 tokyo ORDER PAID 1"]);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "12");
}

fn a_past_day_is_refused_with_a_hint(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let ran = refresh(shop, &["--date", "yesterday"]).run().exits(2);
    ran.says("a snapshot of 2026-11-19 can no longer be taken").says("hint: add --reconstruct");
    refresh(shop, &["--date", "2026-11-21"]).run().exits(2).says("2026-11-21 is in the future");
    refresh(shop, &["--date", "today", "--reconstruct"]).run().exits(2);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "0");
    refresh(shop, &["--date", "today"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "12");
}

fn the_members_of_a_past_day_can_be_reconstructed(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    // The 11th begins at 15:00 UTC of the 10th: its snapshot shows the state at the end of the 10th, like one taken.
    let add = |code, status, times| member(shop, tokyo.id, code, status, times);
    add("active then", "WITHDRAWN", [Some("11-01T00:00"), Some("11-02T00:00"), Some("11-10T15:00"), None]);
    add("withdrawn then", "WITHDRAWN", [Some("11-01T00:00"), None, Some("11-10T14:59"), None]);
    add("unconfirmed then", "ACTIVE", [Some("11-01T00:00"), Some("11-10T15:00"), None, None]);
    add("never asked to confirm", "ACTIVE", [Some("11-01T00:00"), None, None, None]);
    add("not there yet", "ACTIVE", [Some("11-10T15:00"), None, None, None]);
    refresh(shop, &["--date", "2026-11-11", "--reconstruct"]).run().succeeds();
    assert_eq!(
        stored(shop),
        [
            "2026-11-11 tokyo MEMBER ACTIVE 2",
            "2026-11-11 tokyo MEMBER UNCONFIRMED 1",
            "2026-11-11 tokyo MEMBER WITHDRAWN 1",
        ]
    );
    let others =
        "SELECT COUNT(*) FROM statistics_snapshots WHERE subject <> 'MEMBER' OR NOT is_reconstructed";
    assert_eq!(shop.scalar(others), "0", "nothing is stored that cannot be known");
}

fn a_snapshot_is_not_replaced_by_a_reconstruction(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.order(Order { mall: tokyo, ..Order::default() });
    refresh(shop, &[]).run().succeeds();
    let before = stored(shop);
    refresh(shop, &["--date", "2026-11-20", "--reconstruct", "--rerun"])
        .now("2026-11-21T01:00:00+09:00")
        .run()
        .exits(2)
        .says("2026-11-20 already has a snapshot, taken on that day");
    assert_eq!(stored(shop), before);
}

fn a_withdrawal_without_a_time_cannot_be_reconstructed(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    member(shop, tokyo.id, "1", "WITHDRAWN", [Some("11-01T00:00"), None, None, None]);
    refresh(shop, &["--date", "2026-11-10", "--reconstruct"])
        .run()
        .exits(1)
        .says("failed to reconstruct the members of mall `tokyo`: 1 withdrew at an unknown time")
        .says("hint: import them again with their `withdrawn_at`: batchctl data import");
    assert_eq!(stored(shop).len(), 0);
}

fn a_new_mall_is_counted_on_the_same_day(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    refresh(shop, &[]).run().succeeds();
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    refresh(shop, &[]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "24");
}
