//! `stats refresh`: what is counted, once a day, and that the past is not invented.

use crate::support::{Batchctl, Member, Order, Shop, on_both_databases};

on_both_databases![
    a_day_has_one_snapshot_and_a_rerun_replaces_it,
    a_past_day_is_refused_with_a_hint,
    the_members_of_a_past_day_can_be_reconstructed,
    a_snapshot_is_not_replaced_by_a_reconstruction,
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
    let add = |code, status, signed_up_at, confirmed_at, withdrawn_at| {
        let times = Member { signed_up_at, confirmed_at, withdrawn_at, ..Member::default() };
        shop.member(Member { mall: tokyo, code, status, ..times });
    };
    let (first, second) = ("2026-11-01T00:00:00Z", Some("2026-11-02T00:00:00Z"));
    let (before, then) = (Some("2026-11-10T14:59:00Z"), "2026-11-10T15:00:00Z");
    add("active then", "WITHDRAWN", first, second, Some(then));
    add("withdrawn then", "WITHDRAWN", first, None, before);
    add("unconfirmed then", "ACTIVE", first, Some(then), None);
    add("never asked to confirm", "ACTIVE", first, None, None);
    add("not there yet", "ACTIVE", then, None, None);
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

fn a_new_mall_is_counted_on_the_same_day(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    refresh(shop, &[]).run().succeeds();
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    refresh(shop, &[]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM statistics_snapshots"), "24");
}
