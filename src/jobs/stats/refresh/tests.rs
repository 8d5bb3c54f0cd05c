//! What is counted.

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::{count_present, reconstruct_members};
use crate::db::testing::{TestDb, now, on_both_databases};
use crate::failure::Failure;
use crate::shop::testing::{Member, Order};

on_both_databases![
    every_state_is_counted_and_an_empty_one_is_zero,
    a_withdrawal_without_a_time_cannot_be_reconstructed,
    who_requested_erasure_is_counted_neither_now_nor_in_a_reconstruction,
];

/// day, mall, subject, status, quantity; without the rows of zero.
async fn stored(db: &mut TestDb) -> Vec<String> {
    db.lines(
        "SELECT snapshot_day, code, subject, status, quantity FROM statistics_snapshots
         JOIN malls ON malls.id = mall_id WHERE quantity <> 0",
    )
    .await
}

async fn every_state_is_counted_and_an_empty_one_is_zero(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.mall("empty", "Asia/Tokyo", "JPY").await;
    let joined = Some("2026-11-01T00:00:00Z");
    for (code, status) in [("1", "ACTIVE"), ("2", "ACTIVE"), ("3", "UNCONFIRMED"), ("4", "WITHDRAWN")] {
        db.member(Member { mall: tokyo, code, status, withdrawn_at: joined, ..Member::default() }).await;
    }
    db.member(Member { mall: tokyo, code: "5", erasure_requested_at: joined, ..Member::default() }).await;
    for (number, status) in [("1", "PAID"), ("2", "PAID"), ("3", "ORDER_CANCELLED")] {
        db.order(Order { mall: tokyo, order_no: number, status, ..Order::default() }).await;
    }
    for (id, status, stock) in
        [(1, "ON_SALE", 5), (2, "ON_SALE", 0), (3, "SOLD_OUT", 7), (4, "DISCONTINUED", 0), (5, "ON_SALE", 1)]
    {
        db.sql(&format!(
            "INSERT INTO products (id, mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({id}, {}, 'P{id}', 'P', '{status}', 'JPY', 1, '2026-11-01T00:00:00+00:00', '2026-11-01T00:00:00+00:00')",
            tokyo.id
        )).await;
        if id != 5 {
            db.sql(&format!(
                "INSERT INTO stock (product_id, quantity, updated_at) VALUES ({id}, {stock}, '2026-11-01T00:00:00+00:00')"
            )).await;
        }
    }
    for (key, ordered) in [("1", "NULL"), ("2", "NULL"), ("3", "'2026-11-02T00:00:00+00:00'")] {
        db.sql(&format!(
            "INSERT INTO carts (mall_id, cart_key, currency, last_activity_at, ordered_at, created_at, updated_at)
             VALUES ({}, '{key}', 'JPY', '2026-11-01T00:00:00+00:00', {ordered}, '2026-11-01T00:00:00+00:00',
                     '2026-11-01T00:00:00+00:00')",
            tokyo.id
        )).await;
    }
    let malls = db.malls().await;
    count_present(db, 1, "2026-11-20".parse().unwrap(), &malls, now()).await.unwrap();
    assert_eq!(
        stored(db).await,
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
    assert_eq!(db.scalar("SELECT COUNT(*) FROM statistics_snapshots").await, "24", "zeros are rows too");
}

async fn a_withdrawal_without_a_time_cannot_be_reconstructed(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    db.member(Member { mall: tokyo, status: "WITHDRAWN", ..Member::default() }).await;
    let (malls, day) = (db.malls().await, NaiveDate::from_ymd_opt(2026, 11, 10).unwrap());
    let error = reconstruct_members(db, 1, day, &malls, Tz::Asia__Tokyo, now()).await.unwrap_err();
    let failure = error.downcast::<Failure>().unwrap();
    assert_eq!(
        failure.message,
        "failed to reconstruct the members of mall `tokyo`: 1 withdrew at an unknown time"
    );
    assert_eq!(failure.hint.unwrap(), "import them again with their `withdrawn_at`: batchctl data import");
    assert_eq!(stored(db).await.len(), 0);
}

/// As `docs/statistics.md` says: whatever the status, and even if the request came after the reconstructed day.
async fn who_requested_erasure_is_counted_neither_now_nor_in_a_reconstruction(db: &mut TestDb) {
    let tokyo = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    let withdrawn_at = Some("2026-11-05T00:00:00Z");
    for (code, status, withdrawn_at) in
        [("1", "ACTIVE", None), ("2", "UNCONFIRMED", None), ("3", "WITHDRAWN", withdrawn_at)]
    {
        let member = Member { mall: tokyo, code, status, withdrawn_at, ..Member::default() };
        db.member(Member { signed_up_at: "2026-11-01T00:00:00Z", ..member }).await;
    }
    let kept = Member { mall: tokyo, code: "kept", status: "WITHDRAWN", withdrawn_at, ..Member::default() };
    db.member(Member { signed_up_at: "2026-11-01T00:00:00Z", ..kept }).await;
    let (malls, past) = (db.malls().await, NaiveDate::from_ymd_opt(2026, 11, 10).unwrap());

    reconstruct_members(db, 1, past, &malls, Tz::Asia__Tokyo, now()).await.unwrap();
    assert_eq!(
        stored(db).await,
        [
            "2026-11-10 tokyo MEMBER ACTIVE 1",
            "2026-11-10 tokyo MEMBER UNCONFIRMED 1",
            "2026-11-10 tokyo MEMBER WITHDRAWN 2",
        ]
    );

    let at = "2026-11-18T00:00:00+00:00";
    db.sql("DELETE FROM statistics_snapshots").await;
    db.sql(&format!("UPDATE members SET erasure_requested_at = '{at}' WHERE member_code <> 'kept'")).await;
    reconstruct_members(db, 1, past, &malls, Tz::Asia__Tokyo, now()).await.unwrap();
    count_present(db, 1, "2026-11-20".parse().unwrap(), &malls, now()).await.unwrap();
    assert_eq!(
        stored(db).await,
        ["2026-11-10 tokyo MEMBER WITHDRAWN 1", "2026-11-20 tokyo MEMBER WITHDRAWN 1"]
    );
}
