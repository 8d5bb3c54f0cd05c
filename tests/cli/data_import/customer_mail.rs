//! The kinds of data for mails to customers: carts, coupons, subscriptions, articles and consents.

use super::{file, import, item_errors, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    each_kind_is_imported,
    a_complete_card_number_is_neither_stored_nor_quoted,
    a_cart_whose_lines_are_not_consecutive_or_differ_is_refused,
    the_shops_own_headers_and_values_are_mapped,
];

/// What else is stored of them, and when, is tested next to the code, without a process per file.
fn each_kind_is_imported(shop: &Shop) {
    with_tokyo(shop);
    for (kind, table, header, line) in [
        (
            "carts",
            "carts JOIN cart_items ON cart_id = id",
            "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount",
            "tokyo,C1,2026-11-18 21:00,A,1,100",
        ),
        ("coupons", "coupons", "mall,code,description", "tokyo,AAA,10 %"),
        (
            "subscriptions",
            "subscriptions",
            "mall,subscription_no,member_code,plan_name,status,amount",
            "tokyo,S1,M1,Basic,PAUSED,450",
        ),
        (
            "articles",
            "articles",
            "mall,article_key,title,summary,url,published_at",
            "tokyo,A1,t,s,u,2026-11-18 09:00",
        ),
        ("consents", "mail_consents", "mall,member_code,purpose,granted", "tokyo,M1,DIGEST,yes"),
    ] {
        shop.write("file.csv", file(header, &[line]));
        import(shop, &["--kind", kind, "file.csv"]).run().succeeds().is_silent();
        assert_eq!(shop.scalar(&format!("SELECT COUNT(*) FROM {table}")), "1", "{kind}");
    }
}

fn a_cart_whose_lines_are_not_consecutive_or_differ_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount";
    shop.write(
        "carts.csv",
        file(
            header,
            &[
                "tokyo,C1,2026-11-18 21:00,A,1,100",
                "tokyo,C2,2026-11-18 21:00,A,1,100",
                "tokyo,C1,2026-11-18 21:00,B,1,100",
                "tokyo,C3,2026-11-18 21:00,A,1,100",
                "tokyo,C3,2026-11-18 22:00,B,1,100",
                "tokyo,C4,2026-11-18 21:00,A,1,100",
                "tokyo,C4,2026-11-18 21:00,A,2,100",
                "tokyo,C4,2026-11-18 21:00,A,1,100",
            ],
        ),
    );
    import(shop, &["--kind", "carts", "carts.csv"]).run().exits(65);
    let mut errors = item_errors(shop);
    errors.sort();
    assert_eq!(
        errors,
        [
            "1 carts.csv:2 check SKIPPED BAD_INPUT the same cart is also on line 4: its lines have to be consecutive; if it is there twice, delete one",
            "1 carts.csv:4 check SKIPPED BAD_INPUT the same cart is also on line 2: its lines have to be consecutive; if it is there twice, delete one",
            "1 carts.csv:6 check SKIPPED BAD_INPUT `last_activity_at`: `2026-11-18 22:00` differs from \
             `2026-11-18 21:00` on line 5 of the same cart",
            "1 carts.csv:8 check SKIPPED BAD_INPUT `product_code`: `A` occurs twice in the same cart: distinguish its lines \
            with a column `line_no`",
            "1 carts.csv:9 check SKIPPED BAD_INPUT the line is the same as line 7: remove it, or, if the product really is in \
            the cart twice, number both lines in a column `line_no`",
        ]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM carts"), "0");
}

fn a_complete_card_number_is_neither_stored_nor_quoted(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,subscription_no,member_code,plan_name,status,amount,card_last4";
    shop.write("bad.csv", file(header, &["tokyo,S1,M1,Premium,PAUSED,980,4242424242424242"]));
    let ran = import(shop, &["--kind", "subscriptions", "bad.csv"]).run().exits(65);
    assert_eq!(
        item_errors(shop),
        ["1 bad.csv:2 check SKIPPED BAD_INPUT `card_last4`: is not the last four digits of a card"]
    );
    assert!(!ran.stderr.contains("4242424242424242") && !shop.dump().contains("4242424242424242"));
}

fn the_shops_own_headers_and_values_are_mapped(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        "[import.subscriptions]\nmall = 'tokyo'\ntime_format = '%Y/%m/%d'\n\
         [import.subscriptions.columns]\nsubscription_no = '契約番号'\nmember_code = '会員番号'\nplan_name = 'プラン'\n\
         status = '状態'\namount = '金額'\nnext_charge_day = '次回決済日'\n\
         [import.subscriptions.values.status]\n'有効' = 'ACTIVE'\n\
         [import.consents.columns]\ngranted = 'メール可'\n[import.consents.values.granted]\n'可' = 'yes'\n'不可' = 'no'\n\
         [import.carts.columns]\ncart_kee = 'x'\n[import.subscriptions.values.statu]\na = 'b'\n",
    );
    let header = "契約番号,会員番号,プラン,状態,金額,次回決済日";
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().exits(65);
    shop.write("file.csv", file(header, &["S1,M1,プレミアム,有効,980,2027/01/31"]));
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().exits(78).says("names `statu`");
    let config = shop.read("batchctl.toml").replace("[import.subscriptions.values.statu]\na = 'b'\n", "");
    shop.batchctl(["config", "check"]).run().exits(78).prints("did you mean `cart_key`?");
    shop.write("batchctl.toml", config);
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT plan_name, status, next_charge_day FROM subscriptions"),
        [["プレミアム", "ACTIVE", "2027-01-31"]]
    );
    shop.write("consents.csv", file("mall,member_code,purpose,メール可", &["tokyo,M1,DIGEST,不可"]));
    import(shop, &["--kind", "consents", "consents.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT is_granted FROM mail_consents"), "0");
}
