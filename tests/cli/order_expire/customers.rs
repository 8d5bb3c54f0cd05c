//! Who is told that an order was cancelled, and how.

use super::Store;
use crate::support::{Line, on_both_databases};

on_both_databases![
    who_may_be_told_is_notified_and_mailed_and_nobody_else,
    a_mail_is_rendered_when_it_is_sent_in_the_members_language,
    nobody_is_told_twice,
];

const ONE: [Line; 1] =
    [Line { key: None, product: "P1", name: "Tea", quantity: 2, unit_price: 500, discount: 0, tax: 0 }];

fn with_mail(store: &Store) {
    store.configure("[order_expire]\nmail = true\n");
}

fn who_may_be_told_is_notified_and_mailed_and_nobody_else(store: &Store) {
    with_mail(store);
    for member in crate::support::UNREACHABLE.into_iter().chain(["active", "refuses", "no-mail-address"]) {
        store.member(member);
        store.order(store.waiting(member, Some(member), &ONE));
    }
    store.make_unreachable();
    store.consent("refuses", "MARKETING", false);
    store.change_member("no-mail-address", "email = 'nonsense'");
    store.order(store.waiting("guest", None, &ONE));
    store.order(store.waiting("unknown", Some("not-in-members"), &ONE));

    store.expire().run().succeeds();

    assert_eq!(store.count("orders WHERE status = 'ORDER_CANCELLED'"), 12);
    let mut notified = store.sql("SELECT member_code FROM notifications").concat();
    notified.sort();
    assert_eq!(
        notified,
        [
            "active",
            "no-mail-address",
            "not-in-members",
            "refuses",
            "suppressed",
            "unconfirmed",
            "unsubscribed",
            "without-address"
        ]
    );
    // It is no advertising: neither consent nor an unsubscription matters.
    assert_eq!(
        store.recipients(),
        ["active@example.jp", "refuses@example.jp", "unconfirmed@example.jp", "unsubscribed@example.jp"]
    );
    assert_eq!(
        store.summary(),
        "cancelled 12 orders; gave back the stock of 0 of 12 lines (0 units); queued 8 notices and 4 mails"
    );
}

fn a_mail_is_rendered_when_it_is_sent_in_the_members_language(store: &Store) {
    with_mail(store);
    store.member("M1");
    store.change_member("M1", "locale = 'ko'");
    store.order(store.waiting("A1", Some("M1"), &ONE));
    store.expire().run().succeeds();
    assert_eq!(
        store.sql(
            "SELECT kind, category, locale, member_code, recipient, dedup_key, subject, status FROM mails"
        ),
        [[
            "order-expired",
            "TRANSACTIONAL",
            "ko",
            "M1",
            "M1@example.jp",
            "order-expired:1/A1",
            "NULL",
            "QUEUED"
        ]]
    );
    store
        .batchctl(["mail", "flush"])
        .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
        .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        .run()
        .succeeds();
    assert_eq!(store.sql("SELECT status FROM mails"), [["SENT"]]);
}

fn nobody_is_told_twice(store: &Store) {
    with_mail(store);
    store.member("M1");
    store.order(store.waiting("A1", Some("M1"), &ONE));
    // The application has told the customer already.
    store.execute(
        "INSERT INTO notifications (mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at)
         VALUES (1, 'M1', 'PUSH', 'order-expired', '{}', 'order-expired:1/A1', '2026-11-19T15:59:00+00:00',
                 '2026-11-19T15:59:00+00:00')",
    );
    store.expire().run().succeeds();
    assert_eq!((store.count("notifications"), store.count("mails")), (1, 1));
    let refused = store.refuses(
        "INSERT INTO notifications (mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at)
         SELECT mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at FROM notifications",
    );
    assert!(refused.to_lowercase().contains("unique"), "{refused}");
}
